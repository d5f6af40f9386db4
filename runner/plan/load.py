"""Plan files: `load` gives the plan of a TOML or Markdown file, or all its problems. Edge: disk, reading."""

from __future__ import annotations

from runner.disk import files
from runner.errors import PlanInvalid
from runner.plan import shape
from runner.plan.decision import Warn
from runner.plan.units import Files, Plan, doubt
from runner.text import toml
from runner.text.problems import Problem, as_error
from runner.text.problems import found as shown
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any

    from runner.text.positions import Path

MAX_BYTES = 64 * 1024 * 1024
_MARKDOWN = (".md", ".markdown")


class PlanReading(Value):
    """A plan, and what of its file may have been meant otherwise. Each line has its place."""

    plan: Plan
    unclear: tuple[str, ...] = ()
    """What could be read in another way, or not at all: a plan that has such lines is not carried out."""
    adjusted: tuple[str, ...] = ()
    """What was understood, and is not what stands there: a place in a file, cut off."""

    @property
    def warnings(self) -> tuple[Warn, ...]:
        return (
            *(Warn("unclear", line) for line in self.unclear),
            *(Warn("adjusted", line) for line in self.adjusted),
        )


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
    """The plan alone. As `examined`."""
    return examined(text, source).plan


def examined(text: str, source: str, models: Collection[str] | None = None) -> PlanReading:
    """The plan that `text` says; `source` is its file, and Markdown where it ends in `.md`. As `load`. It may
    name these `models`, or any where that is None.
    """
    if not source.lower().endswith(_MARKDOWN):
        data, place, found = toml.parse(text)
        plan = _checked(data, found, place, source, models)
        doubts = [(path, f"{shown(one)} {why}") for path, one in _paths(plan) if (why := doubt(one))]
        return PlanReading(plan, _lines(source, doubts, place))
    from runner.plan import markdown  # a plan in TOML need not pay for its parser

    page = markdown.parse(text)

    def at(path: Path) -> tuple[int, int]:
        return toml.nearest_place(page.places, path)

    plan = _checked(page.data, page.problems, at, source, models, hint=markdown.HINT)
    unclear, adjusted = (
        _lines(source, [(("at", line, 1), message) for line, message in notes], at)
        for notes in (page.unclear, page.adjusted)
    )
    return PlanReading(plan, unclear, adjusted)


def _checked(
    data: dict[str, Any],
    found: list[tuple[Any, str]],
    place: toml.Place,
    source: str,
    models: Collection[str] | None,
    hint: str | None = None,
) -> Plan:
    plan, more = shape.plan_of(data) if not found else (None, [])
    found = [*found, *more]
    if plan is not None:
        found += shape.references(plan, models)
    if plan is None or found:
        raise _invalid(toml.located(source, found, place), hint)
    return plan


def _lines(source: str, found: list[tuple[Any, str]], place: toml.Place) -> tuple[str, ...]:
    return tuple(map(str, toml.located(source, found, place)))


def _paths(plan: Plan) -> Iterator[tuple[Path, str]]:
    """The paths of all units with their places."""
    for at, unit in enumerate(plan.units):
        for kind in Files._fields:
            for number, path in enumerate(getattr(unit.files, kind)):
                yield ("units", at, "files", kind, number), path


def _invalid(problems: list[Problem], hint: str | None = None) -> PlanInvalid:
    error = as_error(problems)
    return PlanInvalid(error["message"], problems=error["problems"], hint=hint)
