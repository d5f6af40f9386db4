"""Turns a plan in Markdown into the tables of a TOML plan. Pure.

A unit begins with a heading or a list item that starts with `Unit 1:`, `U1.`, `Task 1:` or the like; its id
is `U1`, or `T1` for a task. Below it stand the fields, each with a label (`labels.py`) and its text or items.
All else in a unit is prose, which becomes its approach; what may be more than prose is `unclear`.
"""

from __future__ import annotations

import re
import textwrap

from runner.plan import dropped
from runner.plan.fields import Field, FieldReader, is_command
from runner.plan.filelist import files_in, kind_of_list, with_kind
from runner.plan.labels import (
    DECISIVE,
    arrows,
    boxed,
    field_of,
    label_of,
    labels_inside,
    near_field,
    order_said,
    references,
    start_of,
    without_references,
)
from runner.plan.page import LineKind, PageLine, page_of
from runner.plan.starts import Starts
from runner.text.problems import found

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.plan.labels import Label

HINT = "docs/plans.md says how units and their fields are written"
_SESSIONS = ("console", "shell-session", "terminal")
_SHELLS = ("", "bash", "sh", "shell", "zsh", *_SESSIONS)
_DATA = ("", "yaml", "yml", "toml", "json")
_IS_DONE = r"(?:done|completed?|finished|merged|shipped)\b"
_WHERE_AND_WHEN = (
    rf"(?:in|by|on|at|via|with|see|and|PR|MR|commit|main|{_IS_DONE}|\w*\d\w*"
    r"|(?:jan|feb|mar|apr|may|june?|july?|aug|sep|oct|nov|dec)[a-z]*)"
)
_DONE = re.compile(
    rf"^(?!.*(?:[%?\u274c\u2717\u2718]|~~|(?<!/)\b\d+/\d+\b(?!/)))(?:[\u2705\u2714\u2611]\W*+(?:{_IS_DONE})?|\W*+{_IS_DONE})"
    rf"(?:\W|\b{_WHERE_AND_WHEN}\b)*+$",
    re.IGNORECASE,
)
"""`Done when the tests pass`, `Done, but to be revised` and `Completed 3/5` are not."""
_OPEN = re.compile(
    r"^\W*+(?:to[- ]?do|pending|not[ _-]started|open|ready|planned|draft|new|queued|backlog|waiting)?\W*$",
    re.IGNORECASE,
)


def parse(text: str) -> UnitReader:
    """The reader when it has read the whole page."""
    page = page_of(text)
    reader = UnitReader(Starts.found_in(page.lines), page.rows)
    for line in page.lines:
        reader.line(line)
    reader.end_unit()
    reader.compare_order()
    reader.compare_gone()
    reader.compare_spared(reader.units, reader.spared_by_all)
    reader.compare_placed()
    reader.unclear += page.open_ends
    if not reader.units:
        reader.problems.append((("at", reader.starts.pointer[0], 1), reader.starts.none_found()))
    return reader


class UnitReader(FieldReader):
    """Takes the lines of a page one after the other."""

    def __init__(self, starts: Starts, rows: tuple[str, ...]) -> None:
        super().__init__(starts.kind)
        self.starts, self.rows = starts, rows
        self.phase: str | None = None
        self.not_now: PageLine | None = None
        """The heading above, where it says so of what stands below it."""
        self.boxes: list[str] = []
        self.outer = ""
        """The field that the heading outside of units names."""
        self.around = [("", "")]
        self.around_unit = self.around_line = ""
        """The element of HTML, if any, that says of what stands in it that it is not to be done."""
        self.against: list[str] = []
        """What speaks against doing the unit, if it is not done."""
        self.gone: dict[str, int] = {}
        """Units that are struck out or dropped somewhere, each with the line."""

    def line(self, line: PageLine) -> None:
        role = self.starts.roles.get(line.number)
        self.around_line = self.around[-1][1]
        if line.kind is not LineKind.FENCE and line.info != "indented":
            dropped.follow(self.around, line.number, line.text)
        if role == "unit":
            self.begin(line)
            return
        if role == "unclear":
            self.doubt(line, f"{found(line.text)} looks like a unit, but is not written as the others are")
        if line.kind is not LineKind.FENCE:
            self.whether_dropped(line)
        if role == "mention" and line.text.startswith("|"):
            named = references(line.text, "")
            self.order.append((line.number, named[:1], named[1:]))
        if line.kind is LineKind.HEADING:
            self.heading(line)
        elif self.level is None:
            self.outside(line)
        elif line.kind is LineKind.FENCE:
            self.fence(line)
        elif line.kind is LineKind.OTHER:
            self.other(line)
        else:
            self.text(line)

    # -- units -----------------------------------------------------------------------------------------

    def begin(self, line: PageLine) -> None:
        self.end_unit()
        box, text = boxed(line.text)
        start = start_of(text)
        assert start is not None
        name = start.name
        if name.lower().endswith(("[x]", "[ ]")):
            box, name = name[-2].lower(), name[:-3].rstrip()
        elif box is None:
            box, name = boxed(name)
        made: dict[str, Any] = {"id": start.id, "goal": name or start.id}
        self.name = name
        if self.phase is not None:
            made["phase"] = self.phase
        self.places[("units", len(self.units))] = (line.number, 1)
        self.units.append(made)
        self.level, self.around_unit = line.level, self.around_line
        ticks = {*self.starts.ticks.get(start.id, ()), *([box] if box else [])}
        if "x" in ticks:
            made["done"] = True
        if len(ticks) > 1 or ticks - {"x", " "}:
            self.doubt(line, f"{start.id} is ticked in one place and not in another, or with an unknown mark")
        self.against = []
        say = self.against.append
        if any(map(dropped.is_title, (text, name))):
            say(f"{found(line.text)} looks done or dropped; what is not to be done has the box [x]")
        if self.not_now is not None and (line.level or 9) > self.not_now.level:
            say(f"{start.id} stands below {found(self.not_now.text)}; move it, or tick its box")
        if self.around_line:
            say(f"{start.id} stands in {self.around_line}; move it, or tick its box")
        self.says_order(line, [start.id], name)

    def end_unit(self) -> None:
        self.end_field()
        if self.level is None:
            return
        unit = self.units[-1]
        number = self.places[self.path][0]
        if self.boxes and "done" not in unit and set(self.boxes) == {"x"}:
            unit["done"] = True
            self.adjusted.append((number, f"all boxes of {unit['id']} are ticked, so it is taken as done"))
        elif unit.get("done") and " " in self.boxes:
            self.doubt(number, f"{unit['id']} is ticked as done, but not all boxes in it are")
        if not unit.get("done"):
            self.unclear += [(number, message) for message in self.against]
        files = [path for listed in unit.get("files", {}).values() for path in listed]
        self.compare_spared([unit], self.spared)
        for number, path in self.tested:
            if path not in files:
                self.doubt(number, f"{found(path)} is a path among the tests, but not in `Files`")
        if text := self.told():
            unit["approach"] = text
        self.level, self.prose, self.boxes = None, {}, []
        self.tested, self.spared = [], []

    def whether_dropped(self, line: PageLine) -> None:
        """What a line says of units that are not to be done, this one or those that it names."""
        text = dropped.without_code(line.text)
        is_inside = self.level is not None and (not line.level or 0 < self.level < line.level)
        for part in dropped.listed(text):
            for name in references(f"({part})", ""):
                self.gone.setdefault(name, line.number)
        unit = self.units[-1]["id"] if is_inside else ""
        for said in dropped.PLACED.finditer(text):
            named = references(f"({said[0]})", "")
            if unit and named:
                self.order.append((line.number, [unit], named))
            elif named or unit:
                self.placed += [(line.number, name, said[1].lower()) for name in named or [unit]]
        if dropped.ALONE.search(text):
            self.doubt(line, f"{found(line.text)} leaves other units out; tick the boxes of those")
        if text.count("~~") % 2:
            self.doubt(line, f"{found(line.text)} has `~~` once, so it is open what is struck out")
        is_alone = is_inside and (line.kind is LineKind.OTHER or line.is_first) and not line.is_item
        is_said = bool(dropped.SENTENCE.match(text) or _DONE.match(text))
        if is_alone and "done" not in self.units[-1] and is_said:
            self.doubt(line, f"{found(line.text)} says of {self.units[-1]['id']} that it is done or dropped")

    def compare_gone(self) -> None:
        for name in [one["id"] for one in self.units if not one.get("done")]:
            if name in self.gone:
                self.doubt(self.gone[name], f"{name} is dropped or optional here, and its box is not ticked")

    def told(self) -> str:
        """The prose of the unit as it stands in the file."""
        rows: list[str] = []
        after = None
        for first, (last, text) in sorted(self.prose.items()):
            rows += [""] * (after is not None and first > after)
            rows += self.rows[first - 1 : last] if text is None else [text]
            after = last + 1
        return textwrap.dedent("\n".join(rows)).strip()

    # -- lines -----------------------------------------------------------------------------------------

    def heading(self, line: PageLine) -> None:
        self.end_field()
        key = field_of(line.text)
        is_inside = self.level is not None and (
            line.level > self.level if self.level else key not in (None, "", ":spared")
        )
        if not is_inside:
            self.end_unit()
            self.outer = key or ""
            if self.not_now is None or line.level <= self.not_now.level:
                is_late = dropped.is_title(line.text) or (line.level > 1 and dropped.HEADING.match(line.text))
                self.not_now = line if is_late else None
            if line.level == 1 and "title" not in self.data:
                self.data["title"] = line.text
            elif line.text.lower().startswith("phase"):
                self.phase = line.text
                if order_said(re.sub(r"(?i)\bphase\s+", "U", line.text))[1]:
                    self.doubt(
                        line, f"{found(line.text)} speaks of an order of phases, which orders no units"
                    )
            if key == ":spared":
                self.open(key, line)
            return
        if key:
            self.open(key, line)
            if key != ":spared":
                return
        hidden = (field_of(dropped.unmarked(line.text)) or "").partition(":")[0] in DECISIVE
        if key is None and (hidden or (near_field(line.text) and len(line.text.split()) <= 3)):
            self.doubt(line, f"{found(line.text)} is no known field{near_field(line.text)}")
        self.prose[line.number] = line.number, None

    def outside(self, line: PageLine) -> None:
        """Prose of the plan, unless it says something that only a unit can say."""
        for number, row in enumerate(line.text.split("\n"), line.number + (line.kind is LineKind.FENCE)):
            self.order += [(number, *both) for both in arrows(row)]
        if line.kind is LineKind.FENCE:
            return
        _, text = boxed(line.text)
        label = label_of(text) if line.kind is LineKind.TEXT else None
        if label is not None and label.kind == "spared":
            self.open(":spared", line)
        elif self.field is not None and not self.belongs(self.field, line, line.depth, None):
            self.end_field()
        self.spare(line, text if label is None or label.kind != "spared" else label.rest)
        said = [order_said(part) for part in re.split(r"[.;]\s", text)]
        is_said = label is not None and (label.is_marked or bool(references(label.rest, "")))
        is_late = is_said and line.number > self.starts.first
        if label is not None and is_late and label.field in DECISIVE:
            self.doubt(line, f"`{label.name}` stands in no unit, so nothing comes of it")
        elif self.outer == "verify" and self.units and is_command(text) and " " in text:
            self.doubt(line, f"{found(text)} stands in no unit, so it is not run")
        elif any(before and after for before, after in said):
            self.order += [(line.number, *both) for both in said]
        elif self.outer == "depends_on" and len(named := references(text, self.kind)) > 1:
            self.order.append((line.number, named[:1], named[1:]))

    def fence(self, line: PageLine) -> None:
        field = self.field
        if field is not None and self.awaits(field, line):
            self.doubt_enclosed(field, line, "a code block")
            if field.name != "files" and line.info in _SHELLS:
                commands, printed = _typed(line)
                field.commands += commands
                for number, row in () if line.info in _SESSIONS else printed:
                    self.doubt(number, f"{found(row)} has no `$`, so it is taken for what a command printed")
                return
            self.doubt(line, f"a code block is not read as `{field.name}`")
        elif line.info in _DATA and (
            label := next(filter(None, map(_dependency, line.text.split("\n"))), None)
        ):
            self.doubt(line, f"`{label}` is not read in a code block")
        self.prose[line.number] = line.last, None

    def other(self, line: PageLine) -> None:
        """What is quoted, in a table, in HTML or indented as code."""
        row, field = dropped.unmarked(line.text, "|").strip(), self.field
        if row.startswith("|"):
            row = row.strip("| ").split("|")[0].strip(": ") + ":"
            row = "Files:" if row.lower() == "path:" and field is None else row
        label = label_of(row)
        if "<summary" in line.text.lower() and field is not None and (field.items or field.commands):
            self.end_field()
        if label is not None and label.field in DECISIVE:
            self.doubt(line, f"`{label.name}` is not read in a quotation, a table, HTML or indented code")
        elif row != ":" and self.field is not None and self.awaits(self.field, line):
            self.doubt(line, f"{found(line.text)} is not read as `{self.field.name}`: it is no plain text")
        self.tell(line, row if label is None else "")

    def awaits(self, field: Field, line: PageLine) -> bool:
        """Whether a block that is no text stands where something that decides should be."""
        if line.depth < field.depth:
            return False
        if field.name == "tests":
            return line.info in _SHELLS[1:]
        if field.is_over or (
            field.name == "files" and field.items and line.info not in (*_SHELLS, "text", "indented")
        ):
            return False
        return field.name == "verify" or (
            field.name in DECISIVE and (not field.items or line.depth > field.depth)
        )

    def text(self, line: PageLine) -> None:
        box, text = boxed(line.text)
        if box is not None and line.is_item:
            self.boxes.append(box)
        label, field = label_of(text), self.field
        plain = text if label is not None else dropped.unmarked(text)
        hidden = label_of(plain) if plain != text else None
        if hidden is not None and hidden.field in DECISIVE:
            self.doubt(line, f"`{hidden.name}` is struck out or in HTML, so it is not read")
        depth = 0 if line.is_lazy and label is not None else line.depth
        if label is not None:
            if (
                field is None or depth <= field.depth or self.is_beside(field, line, label)
            ) and self.labelled(line, label):
                return
            if field is not None and label.field in DECISIVE and label.field != field.name:
                self.doubt(line, f"`{label.name}` stands inside of another field and is a part of its text")
        if field is not None and line.depth > field.depth and self.is_aside(field, line, box, text):
            self.tell(line, text)
            return
        if field is not None and self.belongs(field, line, depth, box):
            field.has_boxes = field.has_boxes or box is not None
            is_dropped = box not in (None, " ", "x")  # `[-]`: what that says of a command is for the field
            self.add(field, line, line.text if is_dropped and field.name == "verify" else text)
            return
        if field is not None and (depth <= field.depth or field.name in DECISIVE):
            self.end_field()
        self.tell(line, text)

    def is_beside(self, field: Field, line: PageLine, label: Label) -> bool:
        """Whether a label in a list is one of its own: the text of the field stands beside the field's."""
        if field.has_list or not field.items or not line.is_item:
            return False
        return bool(label.field) or field.name in ("goal", "depends_on", "files", "execution_note")

    def labelled(self, line: PageLine, label: Label) -> bool:
        """A label at the place of one: whether the line is done with."""
        if label.field is None and not self.told_unknown(line, label):
            return False
        if inner := labels_inside(label.rest):
            self.doubt(line, f"`{inner[0]}` stands behind another label, so it is a part of its text")
        field = self.open(f"{label.field or ''}:{label.kind}", line)
        if label.field == "status":
            self.status(line, label.rest)
        elif label.field == "approach":
            if label.rest:
                self.prose[line.number] = line.number, label.rest
                field.items.append((line.number, ""))
        elif label.rest and label.field:
            self.add(field, line, label.rest)
        if not label.field or label.field == "status":
            self.tell(line, label.rest)
        return True

    def told_unknown(self, line: PageLine, label: Label) -> bool:
        """Says that a label is not known. Without emphasis it may be a sentence: `Replace it with:`."""
        is_listed = self.field is not None and self.field.name in DECISIVE
        rest = without_references(label.rest)
        is_order = rest != label.rest and not re.search(r"\w{3}", rest)
        if not (line.is_first or line.is_item or line.is_lazy or label.is_marked or is_listed or is_order):
            return False
        near = near_field(label.name, closely=not label.is_marked)
        notes = self.unclear if label.is_marked or near or is_order else self.adjusted
        if notes is self.unclear or label.rest:
            message = f"`{label.name}` is no known label{near}; its text is passed on as prose"
            notes.append((line.number, message))
        return notes is self.unclear or bool(label.rest)

    def open(self, key: str, line: PageLine) -> Field:
        self.end_field()
        name, _, kind = key.partition(":")
        self.field = Field(name, kind, line)
        return self.field

    def belongs(self, field: Field, line: PageLine, depth: int, box: str | None) -> bool:
        """Whether a line is of this field: what is in its list, or its paragraph. A list of paths that goes
        on as a list of boxes is another list: Markdown cannot keep two lists apart.
        """
        if depth > field.depth:
            return field.name not in DECISIVE or not field.has_list or box is None or field.has_boxes
        if line.is_item or (field.has_list and not field.is_item):
            return False
        return depth == field.depth and (not field.items or not line.is_first)

    def is_aside(self, field: Field, line: PageLine, box: str | None, text: str) -> bool:
        """Whether a line is prose: what an item says below its file, or a list of its own behind a gap."""
        below = field.below[0] if field.below is not None and line.depth > field.below[0] else field.depth
        is_below = field.is_over or (field.has_list and line.depth > below + 1)
        is_apart = line.begins_list and (box is not None or not self.rows[line.number - 2].strip())
        if field.name not in ("files", "depends_on") or not (is_below or (is_apart and field.items)):
            return False
        files = files_in(text) if field.name == "files" else "is" if references(text, self.kind) else ""
        if files == "exception" or (files == "is" and not is_below):
            return False
        if files == "is" or (files and box is None and not is_below):
            self.doubt(line, f"{found(text)} stands below `{field.name}`: is it one of them?")
        if is_below and not field.is_over and field.items:
            self.prose[field.items[-1][0]] = field.items[-1][0], None
        field.is_over = field.is_over or not is_below
        return True

    def add(self, field: Field, line: PageLine, text: str) -> None:
        self.doubt_enclosed(field, line, found(text))
        field.has_list = field.has_list or (line.is_item and line.depth > field.depth)
        if field.name == "files" and line.is_item:
            if field.below is not None and line.depth > field.below[0]:
                text = with_kind(text, field.below[1])
            else:
                kind = kind_of_list(text)
                field.below = None if kind is None else (line.depth, kind)
        if field.name in ("", "status", "approach"):
            self.tell(line, text)
            return
        if field.name not in ("depends_on", "blocks"):
            self.says_order(line, [self.units[-1]["id"]], text)
        if line.is_item or not field.items:
            field.items.append((line.number, text))
        else:
            field.items[-1] = (field.items[-1][0], f"{field.items[-1][1]} {text}")

    def doubt_enclosed(self, field: Field, line: PageLine, shown: str) -> None:
        if field.name in DECISIVE and self.around_line not in ("", self.around_unit):
            self.doubt(line, f"{shown} stands in {self.around_line}")

    def tell(self, line: PageLine, text: str) -> None:
        self.prose[line.number] = line.number, None
        self.spare(line, text)
        self.says_order(line, [self.units[-1]["id"]], text)

    def says_order(self, line: PageLine, subject: list[str], text: str) -> None:
        self.order += [(line.number, subject, order_said(part)[1]) for part in re.split(r"[.;]\s", text)]

    def status(self, line: PageLine, text: str) -> None:
        if _DONE.match(text):
            self.units[-1]["done"] = True
        elif not _OPEN.match(text):
            self.doubt(line, f"found the status {found(text)}; a unit that is done has the box [x]")


def _typed(line: PageLine) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """The commands of a block of code and, where some have a prompt, the other lines: one printed these."""
    commands, printed, command = [], [], ""
    rows = [row.strip() for row in line.text.split("\n")]
    has_prompt = any(row.startswith("$ ") for row in rows)
    for number, row in enumerate(rows, line.number + 1):
        if has_prompt and row and not command and not row.startswith(("$ ", "#")):
            printed.append((number, row))
            continue
        command += row.removeprefix("$ ")
        if command.endswith("\\"):
            command = command[:-1]
            continue
        if command and not command.startswith("#"):
            commands.append((number, re.sub(r"\s+#\s[^'\"\\]*$", "", command)))
        command = ""
    return commands, printed


def _dependency(row: str) -> str | None:
    """The label of a line of data that names units: `depends_on: [U1]`, and not what a container needs."""
    label = label_of(row.strip(' "-'))
    is_one = label is not None and label.field == "depends_on" and references(label.rest, "")
    return label.name if label is not None and is_one else None
