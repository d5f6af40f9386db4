"""Writes a script as TOML, which `script.load` reads as the same script. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tomlkit

from runner.rehearsal.turns import PatchCall, Script, ShellCall, ToolCall, Turn


def written(script: Script, comments: Iterable[str] = ()) -> str:
    """A script whose texts stand for themselves, with these comments at its top, a line each."""
    document = tomlkit.document()
    for comment in comments:
        document.add(tomlkit.comment(comment))
    document.add("schema_version", tomlkit.item(1))
    document.add("literal", tomlkit.item(True))
    tables = tomlkit.aot()
    for turn in script.turns:
        table = tomlkit.table()
        for key, value in _keys(turn).items():
            if value:
                table.add(key, _item(value))
        tables.append(table)
    if script.begins_with:
        document.add("begins_with", tomlkit.table())
        for path, digest in script.begins_with:
            document["begins_with"].add(tomlkit.key([path]), digest)
    document.add("turns", tables)
    return tomlkit.dumps(document)


def _keys(turn: Turn) -> dict[str, Any]:
    """What the table of a turn says. What is nothing goes without saying."""
    tools = [call._asdict() for call in turn.calls if isinstance(call, ToolCall)]
    told = {
        "delay": f"{turn.delay_s:.12g}s" if turn.delay_s else None,
        "times": turn.times if turn.times > 1 else None,
        "message": turn.message,
        "repeat": turn.repeat if turn.repeat > 1 else None,
        "shell": [call.command for call in turn.calls if isinstance(call, ShellCall)],
        "tool": tools,
        "patch": [call.text for call in turn.calls if isinstance(call, PatchCall)],
        "error": {} if turn.failure is None else turn.failure._asdict(),
        "usage": {name: number or None for name, number in turn.usage._asdict().items()},
    }
    told |= {} if turn.ending == "complete" else {turn.ending: True}
    return {key: _short(value) for key, value in told.items()}


def _short(value: Any) -> Any:
    """A single one needs no list, and what is not known no key."""
    if isinstance(value, dict):
        return {key: one for key, one in value.items() if one is not None}
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _item(value: Any) -> Any:
    """As TOML: a text with several lines keeps them, unless its line ends are not all of one kind."""
    if type(value) is str:
        return tomlkit.string(value, multiline="\n" in value.rstrip("\n") and "\r" not in value)
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        for key, one in value.items():
            table.add(tomlkit.key([key]), _item(one))
        return table
    if isinstance(value, list):
        array = tomlkit.array()
        for one in value:
            array.append(_item(one))
        return array.multiline(len(value) > 1)
    return tomlkit.item(value)
