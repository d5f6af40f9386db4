"""Plan files: `load` gives the plan of a TOML or Markdown file, or all its problems. Edge: the disk (reads).

The standard library's TOML reader takes a large plan in a twentieth of the time of the one that the settings
use. Positions are looked for only when there is a problem.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib

from runner.errors import PlanInvalid
from runner.plan import markdown, shape
from runner.plan.references import references
from runner.text.positions import positions
from runner.text.problems import Problem, as_error, dotted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runner.plan.units import Plan
    from runner.text.positions import Path

    Place = Callable[[Path], tuple[int, int]]

__all__ = ["load", "read", "text_of"]

MAX_BYTES = 64 * 1024 * 1024
_MARKDOWN = (".md", ".markdown")
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def load(path: str) -> Plan:
    """The plan in this file; PlanInvalid lists every problem with its place."""
    return read(text_of(path), path)


def text_of(path: str) -> str:
    """The text of a plan file, unread. PlanInvalid where it cannot be one."""
    try:
        # Not blocking: somebody may have put a named pipe there.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise PlanInvalid(f"{path}: cannot be read: {why.lower()}", hint="name a plan file") from None
    with os.fdopen(descriptor, "rb") if _is_file(descriptor) else _refused(descriptor, path) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _invalid([Problem(path, None, None, "", f"is larger than {MAX_BYTES // 1024**2} MiB")])
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8: byte 0x{data[error.start]:02x}; save the file as UTF-8"
        raise _invalid([Problem(path, line, 1, "", message)]) from None


def read(text: str, source: str) -> Plan:
    """The plan that `text` says; `source` is its file, and Markdown where it ends in `.md`. As `load`."""
    data, place, found = _markdown(text) if source.lower().endswith(_MARKDOWN) else _toml(text)
    plan, more = shape.plan_of(data) if not found else (None, [])
    found = [*found, *more]
    if plan is not None:
        found += references(plan)
    if plan is None or found:
        problems = {
            Problem(source, path[1], path[2], "", message)
            if path[:1] == ("at",)
            else Problem(source, *place(path), dotted(path)[:200], message)
            for path, message in found
        }
        raise _invalid(sorted(problems, key=lambda one: (one.line or 0, one.column or 0, str(one))))
    return plan


def _markdown(text: str) -> tuple[dict[str, Any], Place, list[tuple[Any, str]]]:
    data, places, found = markdown.parse(text)
    return data, lambda path: _nearest(places, path), found


def _toml(text: str) -> tuple[dict[str, Any], Place, list[tuple[Any, str]]]:
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError, OverflowError) as error:
        said = _AT.search(str(error))
        what = _AT.sub("", str(error)) or "nested too deeply"
        line, column = (int(said[1]), int(said[2])) if said and said[1] else _end(text)
        message = f"not valid TOML: {what[:1].lower()}{what[1:]}"
        return {}, lambda _: (line, column), [(("at", line, column), message)]
    known: dict[Path, tuple[int, int]] = {}

    def place(path: Path) -> tuple[int, int]:
        if not known:
            known.update(positions(text).at or {(): (1, 1)})
        return _nearest(known, path)

    return data, place, []


def _nearest(known: dict[Path, tuple[int, int]], path: Path) -> tuple[int, int]:
    """The place of a key, or of the nearest table around it."""
    while path and path not in known:
        path = path[:-1]
    return known.get(path, (1, 1))


def _end(text: str) -> tuple[int, int]:
    return text.count("\n") + 1, len(text.rpartition("\n")[2]) + 1


def _invalid(problems: list[Problem]) -> PlanInvalid:
    error = as_error(problems)
    return PlanInvalid(error["message"], problems=error["problems"])


def _is_file(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _refused(descriptor: int, path: str) -> Any:
    os.close(descriptor)
    kind = "a folder" if os.path.isdir(path) else "not a regular file"
    raise PlanInvalid(f"{path}: is {kind}; expected a plan file")
