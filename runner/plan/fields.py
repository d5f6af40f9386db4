"""The fields of units in a Markdown plan: what their texts and items become in the tables. Pure."""

from __future__ import annotations

import re
from itertools import pairwise
from operator import itemgetter

from runner.plan.dropped import struck
from runner.plan.filelist import FileItem, files_in, named_in
from runner.plan.labels import references, without_references
from runner.text import globs
from runner.text.problems import found

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.plan.page import PageLine
    from runner.text.positions import Path

    Problems = list[tuple[Any, str]]
    Places = dict[Path, tuple[int, int]]
    Note = tuple[int, str]
    Spared = tuple[int, str, bool]
    """Line, path, and whether all of it is spared: in `renaming in a.py` it is not."""

# Where two parts could share a run of blanks, the first one keeps it (`*+`): else a long line takes for ever.
_CODE = re.compile(r"`([^`]+)`")
_NOTHING = re.compile(
    r"^(?:none|n/a|n\.a\.|no|keine|aucune?|no dependencies|nothing|-|\u2014)?\s*+"
    r"(?:\([^)]*\)|[-\u2013\u2014,;:.].*)?[.\s]*$",
    re.IGNORECASE,
)
_HEDGED = re.compile(
    r"\b(?:not|no|except|without|optional|optionally|parallel|independent|independently|recommended|soft|or|either|if"
    r"|phases?|all|every|previous|above|preceding|same)\b",
    re.IGNORECASE,
)
_CHECKS = r"(?:tests?|lint(?:er|ing)?|types?|type ?checks?|build|checks?)"
_RUNS = re.compile(
    r"^[^\w`]*+(?:(?:(?:please|ensure|verify|confirm|check|expect|make sure|that|run|execute|running"
    r"|command)\b"
    rf"|(?:(?:all|unit|the|type)\W)?{_CHECKS}(?: pass)?\s*(?::|with\b|\())[^\w`]*+)*+"
    r"(?:(?:`[^`]+`)\s*+(?:,|;|and|&|then)?+\s*+)++"
    r"(?:\W*+(?:(?:all|the|must|should|to|expect(?:ed)?|is|are|stays?|runs?|completes?|and|with|pass(?:es)?"
    r"|green|clean(?:ly)?|succeeds?|successfully|works|exit 0"
    r"|(?:exits?|returns?)(?:\s+with)?(?:\s+(?:code|status))?\s+0"
    r"|(?:reports? |shows? )?(?:without|no|zero|0)(?: any)? (?:errors?|warnings?|failures?|issues)"
    rf"|{_CHECKS})\b))*+\W*+$",
    re.IGNORECASE,
)
_CROSSED = re.compile(r"[?\u274c\u2716-\u2718\u26d4\U0001f6ab]|^\[[^\sxX\u2713\u2714]\]")
_BARE_COMMAND = re.compile(
    r"(?:\$ |(?:[Rr]un|[Ee]xecute):? )?"
    r"(?:\./\S+|pytest|python3?|npm|npx|yarn|pnpm|make(?! sure)|cargo|go (?:test|vet|build)|ruff|mypy"
    r"|bun|uv|tox|node|bash|sh|dart|mvn|gradle|dotnet|rspec|bundle|rake|composer|jest|vitest|tsc|eslint)(?:\s|$)"
)
_COMPARED = 100_000
"""So many pairs of files take a second or two; of more pairs one is taken to be the same."""


class Field:
    """A label and what stands below it, until it ends."""

    def __init__(self, name: str, kind: str, line: PageLine) -> None:
        self.name, self.kind, self.depth = name, kind, 0 if line.is_lazy else line.depth
        self.number = line.number
        self.is_item = line.is_item
        self.items: list[tuple[int, str]] = []
        self.commands: list[tuple[int, str]] = []
        """The lines of a shell's code block."""
        self.has_list = False
        self.has_boxes = False
        self.is_over = False
        """Whether another list has begun below it."""
        self.below: tuple[int, str] | None = None
        """An item such as `Create:` in a file list: its depth, and the kind of what is in its own list."""


class FieldReader:
    """`data` has the tables, `places` where each key stands, `problems` what is wrong; `unclear` has lines
    whose meaning is open, `adjusted` those that were cut.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        """Of the units: `U` or `T`."""
        self.units: list[dict[str, Any]] = []
        self.data: dict[str, Any] = {"schema_version": 1, "units": self.units}
        self.places: Places = {(): (1, 1)}
        self.problems: Problems = []
        self.unclear: list[Note] = []
        self.adjusted: list[Note] = []
        self.field: Field | None = None
        self.prose: dict[int, tuple[int, str | None]] = {}
        """First line -> last line, and the text where it is not the whole line."""
        self.tested: list[Note] = []
        """Paths among the tests of the unit."""
        self.spared: list[Spared] = []
        """Paths that the unit may not change."""
        self.spared_by_all: list[Spared] = []
        self.placed: list[tuple[int, str, str]] = []
        """Units that are said to come `first` or `last`, each with the line."""
        self.order: list[tuple[int, list[str], list[str]]] = []
        """What sentences say: these units come before or after those."""
        self.level: int | None = None
        """Of the heading that the unit began with, 0 for an item; None outside of units."""
        self.name = ""
        """Of the unit."""

    @property
    def path(self) -> Path:
        return ("units", len(self.units) - 1)

    def doubt(self, at: PageLine | int, message: str) -> None:
        """What this line means is open."""
        self.unclear.append((at if isinstance(at, int) else at.number, message))

    def end_field(self) -> None:
        """The field that was read so far goes into its unit."""
        field, self.field = self.field, None
        if field is None or not (field.items or field.commands) or field.name in ("", "status", "approach"):
            return
        unit = self.units[-1]
        if field.name == "blocks":
            named = [one for _, text in field.items for one in references(text, self.kind)]
            self.order.append((field.number, [unit["id"]], named))
            return
        self.places.setdefault((*self.path, field.name), ((field.items or field.commands)[0][0], 1))
        if field.name == "files":
            self.files(unit, field)
        elif field.name == "depends_on":
            self.dependencies(unit, field.items)
        elif field.name == "verify" or field.name == "tests":
            self.checks(unit, field)
        elif field.name == "patterns":
            unit["patterns"] = [*unit.get("patterns", ()), *(text for _, text in field.items)]
        else:
            texts = [text for _, text in field.items]
            told = unit.get(field.name)
            if told and told == self.name:
                told = None if told.lower() in texts[0].lower() else f"{told}:"
            unit[field.name] = "\n".join(([told] if told else []) + texts)

    def files(self, unit: dict[str, Any], field: Field) -> None:
        files: dict[str, list[str]] = unit.setdefault("files", {})
        for number, text in field.items:
            item = FileItem(text, field.kind or "modify")
            self.unclear += [(number, message) for message in item.unclear]
            self.adjusted += [(number, message) for message in item.adjusted]
            if item.has_remark or item.unclear:
                self.prose[number] = number, None
            self.spared += [(number, path, True) for path in item.spared]
            for path, kind in item.paths:
                listed = files.setdefault(kind, [])
                self.places[(*self.path, "files", kind, len(listed))] = (number, 1)
                listed.append(path)

    def spare(self, line: PageLine, text: str) -> None:
        """Takes the paths in a text below a label such as `Do not touch`."""
        if text and self.field is not None and self.field.kind == "spared":
            self.field.items.append((line.number, text))
            spared = self.spared_by_all if self.level is None else self.spared
            is_whole = files_in(text) == "is"
            spared += [(line.number, path, is_whole) for path in named_in(text)]

    def dependencies(self, unit: dict[str, Any], items: list[tuple[int, str]]) -> None:
        names: dict[str, None] = dict.fromkeys(unit.get("depends_on", ()))
        for number, text in items:
            named = references(text, self.kind)
            rest = without_references(text)
            if _NOTHING.match(text) and not named:
                continue
            if not named or _NOTHING.match(text.split("(")[0]) or _HEDGED.search(rest):
                self.doubt(number, f"found {found(text)}; expected units (`Unit 1, Unit 2`) or `None`")
            if re.search(r"[^\W\d_]{3}", rest):
                self.prose[number] = number, None
            if not _NOTHING.match(text.split("(")[0]):
                names |= dict.fromkeys(named)
        unit["depends_on"] = list(names)
        first = self.places[(*self.path, "depends_on")]
        self.places |= {(*self.path, "depends_on", at): first for at in range(len(names))}

    def checks(self, unit: dict[str, Any], field: Field) -> None:
        """What is code alone is a command; a sentence says what has to be true, as a test scenario does."""
        for number, text in field.items:
            spans = [span.strip() for span in _CODE.findall(text)] or [""]
            is_crossed = bool(struck(text) or _CROSSED.search(_CODE.sub("", text)))
            is_code = _RUNS.match(text) and not is_crossed
            commands = spans if is_code and (field.name == "verify" or " " in spans[0]) else []
            field.commands += [(number, command) for command in commands]
            if commands:
                continue
            if text.endswith(":"):  # of what follows in a block of code
                self.prose[number] = number, None
                continue
            unit.setdefault("tests", []).append(text)
            if field.name == "verify" and (
                (is_crossed and spans[0])
                or any(re.match(r"[a-z./][\w./-]* \S", span) for span in spans)
                or _BARE_COMMAND.match(text)
            ):
                shown = found(text)
                self.doubt(
                    number, f"the command in {shown} is not run; write it in backticks, as an item of its own"
                )
            elif text.startswith("`") and spans[0][0] != "<" and "/" in spans[0] and " " not in spans[0]:
                self.tested.append((number, spans[0]))
        for number, command in sorted(field.commands, key=itemgetter(0)):
            listed = unit.setdefault("verify", [])
            self.places[(*self.path, "verify", len(listed))] = (number, 1)
            listed.append(command)

    # -- between units ---------------------------------------------------------------------------------

    def compare_order(self) -> None:
        """Sentences about an order of units, where no dependency of the units says so."""
        if self.kind == "T" and not any("depends_on" in one for one in self.units):
            self.in_a_row()
            return
        known = {one["id"]: one.get("depends_on", ()) for one in self.units}
        for number, before, after in self.order:
            pairs = ((one, other) for one in before for other in after if one != other)
            lost = [(one, other) for one, other in pairs if not _linked(known, one, other)]
            if lost:
                one, other = lost[0]
                self.doubt(number, f"it speaks of an order of {one} and {other} that no `Depends on` has")

    def compare_spared(self, units: list[dict[str, Any]], spared: list[Spared]) -> None:
        files = [one["files"] for one in units if "files" in one and not one.get("done")]
        written = [path for one in files for kind in ("create", "modify") for path in one.get(kind, ())]
        listed = {path.rstrip("/") for path in written}
        is_long = len(written) * len(spared) > _COMPARED
        for number, path, is_whole in spared[:1] if is_long else spared:
            is_meant = is_whole or path.rstrip("/") not in listed
            if is_long or (is_meant and globs.covers(written, path)):
                self.doubt(number, f"{found(path)} is not to be changed, and is part of what `Files` lists")

    def compare_placed(self) -> None:
        """Where one unit alone waits for none, all others come after it; the same from the end."""
        waiting = {one["id"] for one in self.units if one.get("depends_on")}
        awaited = {name for one in self.units for name in one.get("depends_on", ())}
        for number, name, place in self.placed:
            told = {name, *(waiting if place == "first" else awaited)}
            if free := [one["id"] for one in self.units if one["id"] not in told]:
                self.doubt(number, f"{name} is to come {place}, and no `Depends on` says so of {free[0]}")

    def in_a_row(self) -> None:
        """Plans of tasks that name no dependency are written to be done from the first to the last."""
        for former, unit in pairwise(self.units):
            unit["depends_on"] = [former["id"]]
            message = f"no task says what it depends on, so {unit['id']} follows {former['id']}"
            self.adjusted.append((self.places[("units", self.units.index(unit))][0], message))


def is_command(text: str) -> bool:
    """Whether a text is nothing but commands in backticks, as in ``run `make` ``."""
    return bool(_RUNS.match(text))


def _linked(known: dict[str, Any], one: str, other: str) -> bool:
    if one not in known or other not in known:
        return True
    return one in known[other] or other in known[one]
