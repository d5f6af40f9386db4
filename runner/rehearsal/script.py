"""A rehearsal script: a TOML file becomes frozen turns, or all its problems. Reads one file."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from runner.rehearsal.checks import Problems, Table, described
from runner.rehearsal.turns import (
    Call,
    Capture,
    Ending,
    Failure,
    PatchCall,
    Script,
    ShellCall,
    ToolCall,
    Turn,
    TurnUsage,
)

SCHEMA_VERSION = 1
BUILT_IN_NAMES = ("task", "last_output")
"""What `{...}` always stands for; a capture may not take these names."""

_TURN_KEYS = (
    *("message", "repeat", "shell", "tool", "patch", "error", "cut", "hang"),
    *("delay", "times", "usage"),
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_LONGEST_S = 24 * 3600
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ScriptError(Exception):
    """Every problem of one script, each with its place and what would be right."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def default(task: str) -> Script:
    """The script of a rehearsal without one: a short answer that says what it is."""
    text = f"Rehearsal of task `{task}`: no model was asked. Codex and its sandbox were real."
    return Script(turns=(Turn(message=text),))


def load(path: Path) -> Script:
    """The script in this file; all its problems together as one `ScriptError`."""
    if path.exists() and not path.is_file():  # a FIFO would be waited for, /dev/zero read for ever
        raise ScriptError((f"{path}: is not a plain file",))
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScriptError((f"{path}: cannot be read: {error.strerror}",)) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScriptError((f"{path}: is not TOML: {error}",)) from error
    problems = Problems()
    script = _script(Table(values, "", problems))
    if problems.lines:
        raise ScriptError(tuple(f"{path}: {line}" for line in problems.lines))
    return script


def _script(table: Table) -> Script:
    table.only(("schema_version", "retries", "captures", "turns"))
    if "schema_version" not in table.values:
        table.wrong("schema_version", f"is missing; must be {SCHEMA_VERSION}")
    table.integer("schema_version", SCHEMA_VERSION, least=SCHEMA_VERSION, most=SCHEMA_VERSION)
    turns: list[Turn] = []
    listed = table.values.get("turns")
    if not isinstance(listed, list) or not listed:
        table.wrong("turns", "is missing; write at least one [[turns]] table")
        listed = []
    for number, value in enumerate(listed, start=1):
        entry = table.as_table(value, f"turns[{number}]")
        if entry is not None:
            turns.append(_turn(entry))
    return Script(tuple(turns), _captures(table), table.integer("retries", 0, most=100))


def _captures(parent: Table) -> tuple[Capture, ...]:
    table = parent.table("captures")
    found: list[Capture] = []
    for name in table.values if table is not None else ():
        assert table is not None
        if not _NAME.fullmatch(name) or name in BUILT_IN_NAMES:
            table.wrong(name, f"is no name for a capture; {', '.join(BUILT_IN_NAMES)} are taken")
            continue
        text = table.text(name)
        if text is None:
            continue
        try:
            pattern = re.compile(text)
        except re.error as error:
            table.wrong(name, f"is not a regular expression: {error}")
            continue
        if pattern.groups != 1:
            table.wrong(name, f"must have exactly one group, has {pattern.groups}")
        found.append(Capture(name, pattern))
    return tuple(found)


def _turn(table: Table) -> Turn:
    table.only(_TURN_KEYS)
    _combination(table)
    ending: Ending = "complete"
    if table.flag("cut"):
        ending = "cut"
    if table.flag("hang"):
        ending = "hang"
    return Turn(
        message=table.text("message"),
        repeat=table.integer("repeat", 1, least=1),
        calls=_calls(table),
        failure=_failure(table),
        ending=ending,
        delay_s=_duration(table, "delay"),
        times=table.integer("times", 1, least=1),
        usage=_usage(table),
    )


def _combination(table: Table) -> None:
    """One turn does one thing; text may come before calls, and before the stream breaks off."""
    has = {key for key in _TURN_KEYS if table.values.get(key, False) is not False}
    calls = has & {"shell", "tool", "patch"}
    breaks = has & {"cut", "hang", "error"}
    if not (calls or breaks or "message" in has):
        table.problems.add(
            table.place, "does nothing; give it message, shell, tool, patch, error, cut or hang"
        )
    if len(breaks) > 1:
        table.problems.add(table.place, f"can have only one of {' and '.join(sorted(breaks))}")
    for key in sorted(breaks):
        excluded = calls | (has & {"usage"})
        if key == "error":
            excluded |= has & {"message"}
        for other in sorted(excluded):
            table.wrong(other, f"cannot be combined with {key}; make it a turn of its own")
    if "repeat" in has and "message" not in has:
        table.wrong("repeat", "repeats a message; there is none")


def _calls(table: Table) -> tuple[Call, ...]:
    calls: list[Call] = []
    for value in table.one_or_more("shell"):
        if _is_text(table, "shell", value):
            calls.append(ShellCall(str(value)))
    tools = table.one_or_more("tool")
    for number, value in enumerate(tools, start=1):
        entry = table.as_table(value, "tool" if len(tools) == 1 else f"tool[{number}]")
        if entry is not None:
            calls.append(_tool(entry))
    for value in table.one_or_more("patch"):
        if _is_text(table, "patch", value):
            calls.append(_patch(table, str(value)))
    return tuple(calls)


def _is_text(table: Table, key: str, value: object) -> bool:
    if isinstance(value, str) and value:
        return True
    table.wrong(key, f"must be a text or a list of texts, not empty, is {described(value)}")
    return False


def _tool(table: Table) -> ToolCall:
    table.only(("server", "name", "arguments"))
    arguments = table.table("arguments")
    if arguments is not None:
        for key, value in arguments.values.items():
            _json_only(arguments, key, value)
    values: Mapping[str, object] = arguments.values if arguments is not None else {}
    return ToolCall(table.required_text("server"), table.required_text("name"), values)


def _json_only(table: Table, key: str, value: object) -> None:
    """Dates and non-finite numbers are TOML but not JSON, and arguments travel as JSON."""
    if isinstance(value, dict):
        for inner, item in value.items():
            _json_only(Table(value, table.where(key), table.problems), inner, item)
    elif isinstance(value, list):
        for number, item in enumerate(value, start=1):
            _json_only(table, f"{key}[{number}]", item)
    elif not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        table.wrong(key, f"has no form in JSON: {value}; write it as a text")


def _patch(table: Table, text: str) -> PatchCall:
    if not text.lstrip().startswith("*** Begin Patch") or "*** End Patch" not in text:
        table.wrong("patch", 'must go from "*** Begin Patch" to "*** End Patch"')
    return PatchCall(text.strip() + "\n")


def _failure(parent: Table) -> Failure | None:
    table = parent.table("error")
    if table is None:
        return None
    table.only(("status", "message", "code", "resets_at"))
    if not table.values.keys() & {"status", "code"}:
        table.problems.add(table.place, "needs a status (HTTP error) or a code (failure inside the stream)")
    return Failure(
        message=table.text("message") or "an error of the rehearsal script",
        status=table.integer("status", 500, least=400, most=599) if "status" in table.values else None,
        code=table.text("code"),
        resets_at=table.integer("resets_at", 0) if "resets_at" in table.values else None,
    )


def _duration(table: Table, key: str) -> float:
    value = table.values.get(key, "0s")
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        table.wrong(key, f'must be a duration like "500ms", "2s" or "5m", is {described(value)}')
        return 0.0
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST_S:
        table.wrong(key, f'must be at most "24h", is {described(value)}')
    return seconds


def _usage(parent: Table) -> TurnUsage:
    table = parent.table("usage")
    if table is None:
        return TurnUsage()
    table.only(TurnUsage._fields)
    return TurnUsage(*(table.integer(name, 0) for name in TurnUsage._fields))
