"""Reads rehearsal scripts (TOML): values, or all problems of the script. Edge: disk."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runner.disk import files
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
from runner.text import toml
from runner.text.durations import parse_duration, seconds_of
from runner.text.tables import (
    array,
    checked,
    complain,
    flag,
    format_version,
    one_or_more,
    string,
    table,
    text,
    whole,
    wrong,
)
from runner.text.words import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.text import positions
    from runner.text.tables import Found

BUILT_IN_NAMES = ("task", "last_output")
"""What `{...}` always stands for; a capture may not take these names."""

_LONGEST_DELAY = "24h"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CALLS = ("shell", "tool", "patch")
_BREAKS = ("cut", "hang", "error")


class ScriptError(Exception):
    """Every problem of one script, each with its place and what would be right."""

    def __init__(self, problems: Iterable[object]) -> None:
        self.problems = tuple(map(str, problems))
        super().__init__("\n".join(self.problems))


def default(task: str, contract: str | None = None) -> Script:
    """The script of a rehearsal without one: a short answer that says what it is, in the form that the task's
    `output_contract` asks for.
    """
    said = f"Rehearsal of task `{task}`: no model was asked. All else was real."
    if contract == "status-block":
        lines = ("STATUS: SUCCESS", "FILES_CHANGED: []", "TESTS_RUN: []", f"NOTES: {said}")
        return Script((Turn("\n".join((*lines, "ASSUMPTIONS: []", "PATTERNS_DISCOVERED: []"))),))
    result = {"status": "completed", "files_modified": [], "issues": [], "summary": said}
    closing = Turn(json.dumps({**result, "verification_summary": "Nothing was run."}))
    review: dict[str, object] = {"summary": said, "findings": []}
    both = {name: list[object]() for name in ("off_topic", "differences", "steelman", "rebuttals")} | review
    turns = {"final": (closing,), "closing-turn": (Turn(said), closing)}
    turns["findings"] = (Turn(json.dumps({"status": "completed", **review})),)
    turns["synthesis"] = turns["advocacy"] = (Turn(json.dumps(both)),)
    return Script(turns.get(contract or "", (Turn(said),)))


def load(path: Path) -> Script:
    """The script in this file; all its problems together as one `ScriptError`."""
    try:
        source = files.read(str(path), follows_links=True).decode()
    except files.NoFile as error:
        raise ScriptError([f"{path}: {error.strerror}; expected a script"]) from error
    except OSError as error:
        raise ScriptError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ScriptError([f"{path}: is not UTF-8: {error}"]) from error
    data, place, problems = toml.parse(source)
    read: Any = None if problems else _SCRIPT(data, (), problems)
    if read is None:
        raise ScriptError(toml.located(str(path), problems, place))
    more = read.get("retries", 0), read.get("literal", False), read.get("begins_with", ())
    return Script(read["turns"], read.get("captures", ()), *more)


def begin(script: Script, root: str) -> None:
    """ScriptError where a file in this folder is not the one that the script begins with."""
    for path, digest in script.begins_with:
        if _digest(root, path) != digest:
            raise ScriptError([f"{one_line(path)} is not the file that it begins with"])


def _digest(root: str, path: str) -> str:
    """As git sees it: a folder is no file, nor is what only a link leads to."""
    at = f"{root}/{path}"
    if any(os.path.islink(f"{root}/{path[:n]}") for n, letter in enumerate(path) if letter == "/"):
        return ""
    try:
        data = os.fsencode(os.readlink(at)) if os.path.islink(at) else files.read(at)
    except (OSError, ValueError):  # a name that none can have
        return "unreadable" if os.path.lexists(at) and not os.path.isdir(at) else ""
    return hashlib.sha256(data).hexdigest()


def unplayed(script_path: str, log_path: str) -> str | None:
    """`1 of 3 turns of the script were played`, as a run can succeed after half of it; None when all were, or
    it is unknown. A turn with `times` counts that often.
    """
    try:
        turns = load(Path(script_path)).turns
        lines = Path(log_path).read_text(encoding="utf-8").splitlines()
        answers = [json.loads(line).get("turn") for line in lines]
    except (OSError, ValueError, AttributeError, ScriptError):
        return None
    total = sum(turn.times for turn in turns)
    played = sum(min(answers.count(number), turn.times) for number, turn in enumerate(turns, 1))
    return None if played >= total else f"{played} of {total} turns of the script were played"


def _turn(value: Any, path: positions.Path, problems: Found) -> Any:
    read, before = _TURN(value, path, problems), len(problems)
    if isinstance(value, dict):
        _combination(value, path, problems)
    if read is None or len(problems) > before:
        return None
    calls: tuple[Call, ...] = (
        *map(ShellCall, read.get("shell", ())),
        *read.get("tool", ()),
        *map(PatchCall, read.get("patch", ())),
    )
    ending: Ending = "hang" if read.get("hang") else "cut" if read.get("cut") else "complete"
    return Turn(
        message=read.get("message"),
        repeat=read.get("repeat", 1),
        calls=calls,
        failure=read.get("error"),
        ending=ending,
        delay_s=read.get("delay", 0.0),
        times=read.get("times", 1),
        usage=read.get("usage", TurnUsage()),
    )


def _combination(turn: dict[str, Any], path: positions.Path, problems: Found) -> None:
    """One turn does one thing; text may come before calls, and before the stream breaks off."""
    has = {key for key in _TURN_KEYS if turn.get(key, False) is not False}
    calls, breaks = has & {*_CALLS}, has & {*_BREAKS}
    if not (calls or breaks or "message" in has):
        what = ", ".join(("message", *_CALLS, *_BREAKS))
        complain(f"does nothing; expected one of {what}", path, problems)
    if len(breaks) > 1:
        complain(f"can have only one of {' and '.join(sorted(breaks))}", path, problems)
    for key in sorted(breaks):
        excluded = calls | (has & {"usage"} if key != "error" else has & {"usage", "message"})
        for other in sorted(excluded):
            message = f"cannot be combined with {key}; make it a turn of its own"
            complain(message, (*path, other), problems)
    if "repeat" in has and "message" not in has:
        complain("repeats a message; there is none", (*path, "repeat"), problems)


def _begins_with(value: Any) -> Any:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise ValueError('expected the SHA-256 of each file, or "" where there is none')
    if any(
        name[:1] == "/" or ".." in name.split("/") for name in value
    ):  # it would tell of any file there is
        raise ValueError("expected paths inside of the folder, without `..`")
    return tuple(value.items())


def _captures(value: Any, path: positions.Path, problems: Found) -> Any:
    if not isinstance(value, dict):
        return wrong(value, "a table", path, problems)
    made = []
    for name, item in value.items():
        if not _NAME.fullmatch(name) or name in BUILT_IN_NAMES:
            message = f"is no name for a capture; {', '.join(BUILT_IN_NAMES)} are taken"
            complain(message, (*path, name), problems)
        else:
            made.append(Capture(name, _PATTERN(item, (*path, name), problems)))
    return tuple(made)


def _pattern(value: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise ValueError(f"expected a regular expression ({error})") from None
    if pattern.groups != 1:
        raise ValueError(f"expected exactly one group, not {pattern.groups}")
    return pattern


def _tool(value: Any, path: positions.Path, problems: Found) -> Any:
    read = _TOOL(value, path, problems)
    if read is None:
        return None
    return ToolCall(read["server"], read["name"], read.get("arguments", {}))


def _arguments(value: Any, path: positions.Path, problems: Found) -> Any:
    """Dates and numbers that are not finite are TOML but not JSON, and arguments travel as JSON."""
    if not isinstance(value, dict):
        return wrong(value, "a table", path, problems)
    _json_only(value, path, problems)
    return value


def _json_only(value: Any, path: positions.Path, problems: Found) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _json_only(item, (*path, key), problems)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            _json_only(item, (*path, at), problems)
    elif not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        complain(f"has no form in JSON: {value}; write it as a text", path, problems)


def _patch(value: str) -> str:
    if not value.lstrip().startswith("*** Begin Patch") or "*** End Patch" not in value:
        raise ValueError('expected a text from "*** Begin Patch" to "*** End Patch"')
    return value.strip() + "\n"


def _failure(value: Any, path: positions.Path, problems: Found) -> Any:
    read = _ERROR(value, path, problems)
    if read is None:
        return None
    if not read.keys() & {"status", "code"}:
        return complain("needs a status (HTTP error) or a code (failure inside the stream)", path, problems)
    said = read.get("message") or "an error of the rehearsal script"
    return Failure(said, read.get("status"), read.get("code"), read.get("resets_at"))


def _delay(value: Any) -> float:
    seconds = seconds_of(value)
    if not 0 <= seconds <= parse_duration(_LONGEST_DELAY):
        raise ValueError(f"expected a delay of at most {_LONGEST_DELAY}")
    return seconds


def _usage(value: Any, path: positions.Path, problems: Found) -> Any:
    read = _USAGE(value, path, problems)
    return TurnUsage() if read is None else TurnUsage(**read)


_PATTERN = checked(_pattern, string)
_USAGE = table(dict.fromkeys(TurnUsage._fields, whole(0)))
_TOOL = table(
    {"server": text, "name": text, "arguments": _arguments},
    required={key: f"`{key}` is missing; every tool call needs one" for key in ("server", "name")},
)
_ERROR = table({"status": whole(400, 599), "message": string, "code": string, "resets_at": whole(0)})
_TURN_KEYS = {
    "message": string,
    "repeat": whole(1),
    "shell": one_or_more(text),
    "tool": one_or_more(_tool),
    "patch": one_or_more(checked(_patch, text)),
    "error": _failure,
    "cut": flag,
    "hang": flag,
    "delay": checked(_delay),
    "times": whole(1),
    "usage": _usage,
}
_TURN = table(_TURN_KEYS)
_SCRIPT = table(
    {
        "schema_version": checked(format_version),
        "retries": whole(0, 100),
        "captures": _captures,
        "literal": flag,
        "begins_with": checked(_begins_with),
        "turns": array(_turn, "at least one turn ([[turns]])", least=1),
    },
    required={
        "schema_version": "`schema_version = 1` is missing",
        "turns": "`[[turns]]` is missing; a script has at least one turn",
    },
)
