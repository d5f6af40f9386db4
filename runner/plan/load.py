"""Plan files: `load` gives the plan of a TOML or Markdown file, or all its problems. Edge: disk, reading."""

from __future__ import annotations

from runner.disk import files
from runner.errors import PlanInvalid
from runner.plan import markdown, shape
from runner.plan.references import references
from runner.text import toml
from runner.text.problems import Problem, as_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.plan.units import Plan

__all__ = ["load", "read", "text_of"]

MAX_BYTES = 64 * 1024 * 1024
_MARKDOWN = (".md", ".markdown")


def load(path: str) -> Plan:
    """The plan in this file; PlanInvalid lists every problem with its place."""
    return read(text_of(path), path)


def text_of(path: str) -> str:
    """The text of a plan file, unread. PlanInvalid where it cannot be one."""
    try:
        data = files.read(path, MAX_BYTES + 1, follows_links=True)
    except files.NoFile as error:
        raise PlanInvalid(f"{path}: {error.strerror}; expected a plan file") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise PlanInvalid(f"{path}: cannot be read: {why.lower()}", hint="name a plan file") from None
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
    is_page = source.lower().endswith(_MARKDOWN)
    data, place, found = _markdown(text) if is_page else toml.parse(text)
    plan, more = shape.plan_of(data) if not found else (None, [])
    found = [*found, *more]
    if plan is not None:
        found += references(plan)
    if plan is None or found:
        raise _invalid(toml.located(source, found, place))
    return plan


def _markdown(text: str) -> tuple[dict[str, Any], toml.Place, list[tuple[Any, str]]]:
    data, places, found = markdown.parse(text)
    return data, lambda path: toml.nearest_place(places, path), found


def _invalid(problems: list[Problem]) -> PlanInvalid:
    error = as_error(problems)
    return PlanInvalid(error["message"], problems=error["problems"])
