"""Where the units of a Markdown plan begin, and where they are only named. Pure.

Units are headings or list items with a box; items in bold or plain where the plan has nothing better. A line
in a lesser form names a unit that stands elsewhere: in a list of what is done, in a section about risks.
"""

from __future__ import annotations

import re

from runner.plan.dropped import bare
from runner.plan.labels import boxed, looks_like_a_unit, references, start_of
from runner.plan.page import LineKind
from runner.text.problems import found
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.plan.labels import Start
    from runner.plan.page import PageLine

    Candidate = tuple[PageLine, Start, int]

_HEADING, _BOX, _BOLD, _PLAIN = range(4)
_POINTERS = (
    (r"\[.\]\s+(?:\*\*)?T\d{3}", "a task of spec-kit"),
    (r"\W{0,4}(?:step|story|user story|issue|ticket|milestone|task group|work package|slice)\b", "a unit"),
    (r"\[.\]\s+(?:\*\*)?\d+(?:\.\d+)*\.?\s", "a task of OpenSpec or Kiro"),
    (r"<task\b", "a task in XML"),
    (r"\[.\]\s", "a unit"),
    (r"(?:\*\*)?\d+(?:\.\d+)*[.):]?\s", "a unit"),
)
_WANTED = "a unit begins with a line such as `### U1. Name`, `### Task 1: Name` or `- [ ] **Unit 1: Name**`"


class Starts(Value):
    """`roles` says of a line (by its number) whether it is a `unit`, a `mention`, or `unclear`."""

    roles: dict[int, str]
    ticks: dict[str, tuple[str, ...]]
    """Unit -> the marks of the boxes before mentions of it."""
    kind: str
    """`T` where the plan has tasks, else `U`."""
    first: int
    """The line of the first unit."""
    pointer: tuple[int, str, str]
    """Where there is no unit: the line that looks most like one, its text, and what it looks like."""

    @classmethod
    def found_in(cls, lines: Sequence[PageLine]) -> Starts:
        seen = [one for line in lines if (one := _candidate(line)) is not None]
        main = min(seen, key=lambda one: one[2], default=None)
        best: dict[str, int] = {}
        for _, start, rank in seen:
            best[start.id] = min(rank, best.get(start.id, rank))
        roles: dict[int, str] = {}
        ticks: dict[str, tuple[str, ...]] = {}
        fitting = {one[0].number: one[1].id for one in seen if main and _fits(one, main, best)}
        ids = {*fitting.values()}
        for line, start, _ in seen:
            is_unit = line.number in fitting and _parent(start.id) not in ids
            named = start.id in ids
            is_mention = named and line.number not in fitting
            roles[line.number] = "unit" if is_unit else "mention" if is_mention else "unclear" if ids else ""
            box = boxed(line.text)[0]
            if named and not is_unit and box is not None:
                ticks[start.id] = (*ticks.get(start.id, ()), box)
        if ids:
            for line in lines:
                if line.number not in roles and _is_like(line):
                    first_one = references(line.text.strip("| ").split("|")[0], "")[:1]
                    is_known = bool(first_one) and ids.issuperset(first_one)
                    roles[line.number] = "mention" if is_known else "unclear"
        first = min((number for number, role in roles.items() if role == "unit"), default=0)
        return cls(
            roles, ticks, main[1].id[0] if main else "U", first, (1, "", "") if ids else _pointer(lines)
        )

    def none_found(self) -> str:
        """What to say of a plan without units."""
        _, text, what = self.pointer
        like = f"; {found(text)} looks like {what}, which is not read" if text else ""
        return f"no unit found{like}; {_WANTED}"


def _candidate(line: PageLine) -> Candidate | None:
    if line.kind not in (LineKind.HEADING, LineKind.TEXT) or line.level == 1:
        return None
    box, text = boxed(line.text)
    start = start_of(text)
    if start is None or not (line.is_item or line.is_first):
        return None
    if line.kind is LineKind.HEADING:
        return line, start, _HEADING
    is_whole = text.endswith(("**", "__"))
    if not start.name or not (line.is_item or (start.is_strong and is_whole)):
        return None
    return line, start, _BOX if box is not None else _BOLD if start.is_strong else _PLAIN


def _fits(one: Candidate, main: Candidate, best: Mapping[str, int]) -> bool:
    """Whether it is written as units are in this plan, of which `main` is the first one in the best form."""
    (line, start, rank), (first, its, form) = one, main
    forms = {_HEADING: (_HEADING, _BOX), _BOX: (_BOX, _BOLD)}.get(form, (form,))
    is_as_deep = line.kind is LineKind.HEADING or line.depth <= max(first.depth, 1)
    return start.id[0] == its.id[0] and rank in forms and rank == best[start.id] and is_as_deep


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _is_like(line: PageLine) -> bool:
    if line.kind is LineKind.FENCE:
        return False
    text = bare(line.text)
    if line.kind is LineKind.TEXT and not (line.is_item and boxed(line.text)[0] is not None):
        if text.startswith(("#", "\\#")):  # `###U2. B` is no heading
            return looks_like_a_unit(text)
        return ((line.is_first and not line.is_item) or text != line.text) and start_of(text) is not None
    return looks_like_a_unit(text)


def _pointer(lines: Sequence[PageLine]) -> tuple[int, str, str]:
    """The line that looks most like a unit in a plan that has none."""
    for line in lines:
        if _is_like(line) and (line.kind is LineKind.HEADING or not line.text.startswith(("[", "<"))):
            return line.number, line.text, "a unit"
    for pattern, what in _POINTERS:
        for line in lines:
            shown = line.text.lstrip("| ")
            if (
                line.kind is not LineKind.FENCE
                and line.level != 1
                and re.match(pattern, shown, re.IGNORECASE)
            ):
                return line.number, line.text, what
    return 1, "", ""
