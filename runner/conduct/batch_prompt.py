"""The prompt of a batch. Pure: the same order gives the same text.

What all units share goes into the usual sections of a prompt (`resolve.prompt`); what belongs to one unit
goes into a section of that unit.
"""

from __future__ import annotations

import json

from runner.text.words import few, one_line
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runner.plan.units import Unit

_LONGEST_TITLE = 80
"""Characters of a run's title, and of the plan's title in the prompt."""
_MOST_PATHS = 200
"""The most paths of earlier work in a prompt: a model would not read more of them again."""

_REREAD = (
    "Earlier batches of the plan changed these files. Read them again before you rely on what the plan or "
    "you take them to be:"
)
_KEPT = (
    "An earlier try of this batch did not succeed, and what it changed in these files is still there. Look "
    "at them first; keep what is right and do the rest again:"
)
_NOTES = (
    "Such a note says how to work. It takes nothing away from the tests, from the commands to verify with, "
    "from the limits of what may change, or from the report: where it seems to, keep to these and name the "
    "conflict in your report."
)
_COMPLETE = (
    "whatever is added or changed here in behaviour, where the other scenarios leave it open: the usual "
    "case, edge cases, errors and failures, and the parts working together; each with definite inputs and "
    "results"
)
_CHAINS = (
    "where callbacks, middleware or event handlers change: the whole chain of calls, from what sets it off "
    "to its last effect"
)
_FINISH = (
    "Finish all that is asked for here. Where a part of it needs a change outside the repository, leave that "
    "change, do the rest, and name it in your report."
)
_NO_COMMIT = "Do not commit, and move no branch or tag."


class Order(Value):
    """One batch as it is to be carried out."""

    n: int
    """From 1 on, of `batches`."""
    batches: int
    title: str | None
    """Of the plan."""
    units: tuple[Unit, ...]
    """In the order of their dependencies."""
    verify: tuple[tuple[str, ...], ...]
    """The commands of all units, already joined."""
    effort: str | None
    """None is the runtime's own: no flag is passed for it."""
    strict: bool = False
    """Only files that the units name may change."""
    earlier: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What earlier batches did, the first one first: their units and the paths that they changed."""
    kept: tuple[str, ...] = ()
    """Files that an earlier try of this batch changed and that are still changed."""
    on_failure: str | None = None
    """Instead of the template's, where given."""
    worktree: bool = False
    """Whether it gets a work tree of its own, whatever the template says."""


def title(order: Order) -> str:
    """Of the run: `batch 2 of 3: U3, U4`."""
    start, ids = f"batch {order.n} of {order.batches}: ", [unit.id for unit in order.units]
    for count in range(len(ids), 1, -1):
        whole = start + few(ids, count)
        if len(whole) <= _LONGEST_TITLE:
            return whole
    return start + few(ids, 1)


def prompt(order: Order, own_text: str) -> str:
    """The template's own text, the units, and what is known of earlier work."""
    parts = [own_text, _units(order), _earlier(order.earlier), _kept(order.kept)]
    return "\n\n".join(part.rstrip() for part in parts if part.strip()) + "\n"


def approach(order: Order, own: str | None) -> str | None:
    """The template's, and that of a unit that is alone: several have theirs in their sections."""
    its = order.units[0].approach if len(order.units) == 1 else None
    return own if its is None else _together(own, its)


def execution_note(order: Order, own: str | None) -> str | None:
    """The template's, that of a unit that is alone, and what no unit's note may do."""
    if not any(unit.execution_note for unit in order.units):
        return own
    if len(order.units) == 1:
        return _together(own, order.units[0].execution_note, _NOTES)
    theirs = "Where a unit has an execution note of its own, that one counts for the unit."
    return _together(own, f"{theirs} {_NOTES}")


def testing(order: Order) -> tuple[str, ...]:
    """The scenarios of all units, each with its unit where there are several, and what plans leave out."""
    several = len(order.units) > 1
    scenarios = (f"{unit.id}: {test}" if several else test for unit in order.units for test in unit.tests)
    return (*scenarios, _COMPLETE, _CHAINS)


def constraints(*, free: bool) -> tuple[str, ...]:
    """`free`: under no terms at all."""
    return (_FINISH, *((_NO_COMMIT,) if free else ()))


def _units(order: Order) -> str:
    units = order.units
    of_plan = f" of the plan {_shortened(order.title)}" if order.title and order.title.strip() else ""
    others = " The other batches are not part of this task." if order.batches > 1 else ""
    batch = f"Batch {order.n} of {order.batches}{of_plan}"
    if len(units) == 1:
        head = f"{batch}: unit {units[0].id}" if others else f"Unit {units[0].id}{of_plan}"
        return f"## {head}\n" + "\n\n".join(filter(None, (others.strip(), _unit(units[0], units))))
    ids = ", ".join(unit.id for unit in units)
    sections = (f"### Unit {unit.id}\n{_unit(unit, units)}" for unit in units)
    return "\n\n".join((f"## {batch}\nDo these units, in this order: {ids}.{others}", *sections))


def _unit(unit: Unit, batch: Sequence[Unit]) -> str:
    """The goal, and what the common sections could not attribute to this unit."""
    inside = {other.id for other in batch}
    builds_on = [name for name in dict.fromkeys(unit.depends_on) if name in inside]
    alone = len(batch) == 1
    facts = (
        ("Create", _paths(unit.files.create)),
        ("Modify", _paths(unit.files.modify)),
        ("Read", _paths(unit.files.read)),
        ("Builds on", ", ".join(builds_on)),
        ("Follow", "" if alone else _paths(unit.patterns)),
        ("Approach", "" if alone else _indented(unit.approach)),
        ("Execution note", "" if alone else _indented(unit.execution_note)),
    )
    lines = "\n".join(f"- {name}: {text}" for name, text in facts if text)
    return "\n\n".join(filter(None, (unit.goal.strip(), lines)))


def _earlier(done: Sequence[tuple[str, Sequence[str]]]) -> str:
    """The newest have the room that there is."""
    lines, left, cut = [], _MOST_PATHS, 0
    for units, paths in reversed(done):
        shown = paths[:left]
        left -= len(shown)
        cut += len(paths) - len(shown)
        if shown:
            lines.append(f"- {units}: {_paths(shown)}")
    if not lines:
        return ""
    rest = [f"- and {cut} more; git shows them"] if cut else []
    return "\n".join(("## Earlier batches", _REREAD, *reversed(lines), *rest))


def _kept(paths: Sequence[str]) -> str:
    if not paths:
        return ""
    cut = len(paths) - _MOST_PATHS
    rest = [f"- and {cut} more; git shows them"] if cut > 0 else []
    lines = (f"- {_path(path)}" for path in paths[:_MOST_PATHS])
    return "\n".join(("## An earlier try", _KEPT, *lines, *rest))


def _together(*texts: str | None) -> str | None:
    return "\n\n".join(text.strip() for text in texts if text and text.strip()) or None


def _indented(text: str | None) -> str:
    """The further lines of an item stay with it."""
    return "" if text is None else text.strip().replace("\n", "\n  ")


def _paths(paths: Iterable[str]) -> str:
    return ", ".join(map(_path, paths))


def _path(path: str) -> str:
    """A name on disk may have line breaks, or bytes that are no text: it must neither look like ours nor be
    what cannot be sent.
    """
    return f"`{path}`" if path.isprintable() else f"`{json.dumps(path)}`"


def _shortened(text: str) -> str:
    return f'"{one_line(text, _LONGEST_TITLE)}"'
