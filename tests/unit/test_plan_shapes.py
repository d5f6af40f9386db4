"""Plans as people and models write them: what is made of each; nothing of them is lost without a word.

The files in `tests/data/plans` have the shapes of public planners, in our own words.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.waiting import ends_within

from runner.errors import PlanInvalid
from runner.plan import load
from runner.plan.markdown import parse
from runner.plan.units import Files, Unit

FOLDER = Path(__file__).parents[1] / "data" / "plans"

READ: dict[str, tuple[list[str], list[int], list[int]]] = {
    # file: the units, the lines that are not clear (`start --plan` refuses them), those that were adjusted
    "units-with-boxes.md": (
        [
            "U1 done: +db/migrations/007_imports.sql tests/test_imports_table.py",
            "U2 after U1: +src/imports/csv_reader.py src/imports/__init__.py tests/test_csv_reader.py"
            " | pytest -q tests/test_csv_reader.py",
        ],
        [],
        [43],
    ),
    "units-as-headings.md": (
        [
            "U1: +extension/recorder.ts extension/offscreen.html extension/recorder.test.ts",
            r"U2 after U1: extension/events.ts extension/\[tab\]/view.tsx"
            " | npx vitest run extension/events.test.ts",
            "U3 after U1, U2: server/upload.ts server/store.ts",
        ],
        [32],
        [],
    ),
    "steps-with-code.md": (
        [
            "T1 done: +src/limits/bucket.py tests/limits/test_bucket.py",
            "T2 after T1: src/app.py tests/test_app.py",
        ],
        [],
        [13, 31, 34],
    ),
    "tickets.md": (
        ["T1 done:", "T2 after T1: src/query.py tests/test_query.py", "T3 after T1:"],
        [37, 41, 48],
        [],
    ),
    "lesson-units.md": (
        [
            "U1: lib/lesson.dart lib/index.dart",
            "U2 after U1: lib/view.dart lib/lesson.dart | dart test test/view_test.dart",
            "U3 after U1, U2:",
        ],
        [],
        [10, 21, 21],
    ),
    "fields-in-a-table.md": (["U1:", "U2:"], [8, 9, 15, 16], []),
    "blocked-by.md": (
        [
            "T1.1: +config/settings.json",
            "T2.1 after T1.1: commands/create.md",
            "T2.2 after T1.1: skills/promote.md | ./check.sh docs",
        ],
        [],
        [],
    ),
    "plain-labels.md": (
        [
            "U1: +sqlparse/dialects.py +tests/test_dialects.py | python -m pytest -q tests/test_dialects.py",
            "U2 after U1: sqlparse/lexer.py | python -m pytest -q tests/test_lexer.py",
            "U3 after U1, U2: sqlparse/cli.py tests/test_cli.py",
            "U4: docs/api.md README.md",
        ],
        [44, 48],
        [39],
    ),
    "one-line-tasks.md": (["T1:", "T2 after T1:", "T3 after T2:"], [], [5, 6]),
    "nested-fields.md": (
        [
            "T1.1: db/audit.sql",
            "T1.2 done after T1.1: src/audit/writer.py",
            "T2.1 after T1.1, T1.2: src/audit/page.py | pytest -q tests/audit",
        ],
        [],
        [],
    ),
    "quoted-units.md": (
        ["U1: src/read.py", "U2 after U1: src/write.py", "U3 after U1, U2: src/both.py"],
        [30, 37],
        [],
    ),
}
REFUSED = {
    # file: the line that looks like a unit, and what it is called
    "story-tasks.md": (16, '"[ ] T001 Create the folders of the project" looks like a task of spec-kit'),
    "change-tasks.md": (3, "looks like a task of OpenSpec or Kiro"),
    "numbered-boxes.md": (3, "looks like a task of OpenSpec or Kiro"),
    "task-groups.md": (10, '"Task Group 1: Queries" looks like a unit'),
    "tasks-in-xml.md": (12, "looks like a task in XML"),
}


def shown(unit: Unit) -> str:
    """`U2 done after U1: +new.py old.py | command`."""
    files = [*(f"+{path}" for path in unit.files.create), *unit.files.modify]
    after = f" after {', '.join(unit.depends_on)}" if unit.depends_on else ""
    verify = "".join(f" | {' '.join(command)}" for command in unit.verify)
    return f"{unit.id}{' done' * unit.done}{after}: {' '.join(files)}".rstrip(" ") + verify


def reading(text: str) -> load.PlanReading:
    return load.examined(text, "plan.md")


def lines_of(found: tuple[str, ...]) -> list[int]:
    return [int(one.split(":")[1]) for one in found]


def unclear(text: str) -> list[str]:
    """What is not clear, without the file and the column: `3: ...`."""
    return [one.removeprefix("plan.md:").replace(":1: ", ": ", 1) for one in reading(text).unclear]


def test_every_plan_of_the_folder_is_in_the_table() -> None:
    assert {path.name for path in FOLDER.iterdir()} == READ.keys() | REFUSED.keys()
    assert len(READ) + len(REFUSED) >= 15


@pytest.mark.parametrize("name", READ)
def test_a_plan_in_the_shape_of_a_public_planner_is_read(name: str) -> None:
    units, open_lines, adjusted = READ[name]
    found = load.examined((FOLDER / name).read_text(encoding="utf-8"), name)
    assert [shown(unit) for unit in found.plan.units] == units
    assert lines_of(found.unclear) == open_lines, found.unclear
    assert lines_of(found.adjusted) == adjusted, found.adjusted


@pytest.mark.parametrize("name", REFUSED)
def test_a_plan_without_units_is_refused_with_the_line_that_looks_like_one(name: str) -> None:
    line, words = REFUSED[name]
    with pytest.raises(PlanInvalid) as error:
        load.examined((FOLDER / name).read_text(encoding="utf-8"), name)
    (problem,) = error.value.problems
    assert problem.startswith(f"{name}:{line}:1: no unit found; ") and words in problem
    assert "`### U1. Name`" in problem and "docs/plans.md" in (error.value.hint or "")


# -- where units begin ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "quoted",
    [
        "```\n### U7. X\n```",
        "~~~md\n```\n### U7. X\n~~~",
        "````\n```\n### U7. X\n````",
        "- a list\n\n  ```\n  ### U7. X\n  ```",
        "<!--\n### U7. X\n-->",
        "<!-- a --> <!-- ### U7. X -->",
        "```npm run build```",
        "    ```\n    code",
        "text ``` text",
        "```yaml\nfiles: [a]\ndepends_on:\n  - db\nneeds: build\n```",
    ],
)
def test_what_is_quoted_is_no_unit_and_hides_none(quoted: str) -> None:
    found = reading(f"### U1. A\n\nprose\n\n{quoted}\n\n### U2. B\n")
    assert [unit.id for unit in found.plan.units] == ["U1", "U2"] and not found.unclear


@pytest.mark.parametrize(
    ("hidden", "line"),
    [
        ("```\n### U2. B\n", 3),
        ("~~~~\n### U2. B\n~~~\n", 3),
        ("<!--\n### U2. B\n", 3),
        ("> ### U2. B\n", 3),
        ("    ### U2. B\n", 3),
        ("<details>\n### U2. B\n</details>\n", 4),
        ("| U2 | B |\n", 3),
        ("### U2 B\n", 3),
        ("###U2. B\n", 3),
        ("#U2. B\n", 3),
        ("###\u00a0U2. B\n", 3),
        ("####### U2. B\n", 3),
        ("prose\n###U2. B\n", 4),
        ("U2. B\n-----\n", 3),
        ("**Files:** `a.py`\n\nUnit 2: B\n\n**Files:** `b.py`\n", 5),
        ("**U2.** B\n", 3),
        ("U2\n", 3),
        ("<h3>Unit 2: B</h3>\n", 3),
        ("\\### U2. B\n", 3),
        ("### Unit B: B\n", 3),
        ("### Implementation Unit 2: B\n", 3),
        ("### [U2] B\n", 3),
        ("### Task 2: B\n", 3),
        ("- [ ] Task 2: B\n", 3),
        ("- U2: B\n", 3),
        ("- **U2: B**\n", 3),
        ("# U2. B\n", 3),
        ("#### U1.1: B\n", 3),
        (f"{'> ' * 120}### U2. B\n", 3),
    ],
)
def test_a_unit_that_may_have_been_lost_is_told_with_its_line(hidden: str, line: int) -> None:
    found = reading(f"### U1. A\n\n{hidden}")
    assert [unit.id for unit in found.plan.units] == ["U1"]
    assert lines_of(found.unclear) == [line], found.unclear


@pytest.mark.parametrize(
    "start",
    [
        *("## U1. A", "### Unit 1: A", "#### U1 - A", "### Unit 1 \u2014 A", "### [ ] U1. A", "### IU-1: A"),
        *(
            "- [ ] **Unit 1: A**",
            "* [ ] U1. A",
            "1. [ ] **U1:** A",
            "- **Unit 1**: A",
            "- U1: A",
            "**Unit 1: A**",
        ),
    ],
)
def test_a_unit_begins_in_many_ways(start: str) -> None:
    (unit,) = reading(f"# Plan\n\n{start}\n\n**Files:** `a.py`\n").plan.units
    assert (unit.id, unit.goal, unit.files.modify) == ("U1", "A", ("a.py",))


def test_a_list_of_units_beside_them_names_them_and_ticks_them() -> None:
    page = "- [x] U1: A\n- [ ] U2: B\n\n| U1 | small |\n\n### U1. A\n- **U2:** needs it\n### U2. B\n\n"
    page += "## Risks\n- U1: alone\n\n### U2 may be slow\n"
    found = reading(page)
    assert [shown(unit) for unit in found.plan.units] == ["U1 done:", "U2:"] and not found.unclear


@pytest.mark.parametrize("twice", ["### U1. A\n### U1. B\n", "- [ ] U1: A\n- [ ] Unit 1: B\n"])
def test_two_units_of_one_id_are_a_problem(twice: str) -> None:
    with pytest.raises(PlanInvalid, match="which is the id of unit 1 already"):
        reading(twice)


# -- what is done --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "done", "doubts"),
    [
        ("- [x] **Unit 1: A**", True, 0),
        ("- [X] **Unit 1: A**\n  - Files: `a.py`", True, 0),
        ("### [x] U1. A", True, 0),
        ("### U1. A [x]", True, 0),
        ("### U1. A\n- [x] one\n- [x] two", True, 0),
        ("### U1. A\n- [x] one\n- [ ] two", False, 0),
        ("### U1. A\n**Status:** \u2705 Done (May)", True, 0),
        ("### U1. A\n**Status:** \u2705", True, 0),
        ("### U1. A\n**Status:** merged in PR #12 (abc1234), 2024-05-01", True, 0),
        ("### U1. A\nStatus: Done when the tests pass", False, 1),
        ("### U1. A\n**Status:** Done, but needs rework", False, 1),
        ("### U1. A\n**Status:** \u2705 Ready for review", False, 1),
        ("### U1. A\n**Status:** Completed 3/5", False, 1),
        ("### U1. A\n**Status:** done 50%", False, 1),
        ("### U1. A\n**Status:** finished 2024/05/01", True, 0),
        ("### U1. A\n**Status:** ~~Done~~", False, 1),
        ("### U1. A\n**Status:** Done?", False, 1),
        ("### U1. A\n**Status:** \u274c Done", False, 1),
        ("### U1. [x] A", True, 0),
        ("### U1. [ ] A", False, 0),
        ("### U1. A\nStatus: pending", False, 0),
        ("### U1. A\n**Status:** blocked by the vendor", False, 1),
        ("### U1. A \u2705", False, 1),
        ("### U1. ~~A~~", False, 1),
        ("### U1. A (cancelled)", False, 1),
        ("### U1. A [wontfix]", False, 1),
        ("### U1. A (deferred to v2)", False, 1),
        ("### U1. \u274c A", False, 1),
        ("### U1. Skip (and log) what is dropped", False, 0),
        ("### U1. A (removed files are listed)", False, 1),
        ("### U1. A (optional)", False, 0),
        ("- [-] **Unit 1: A**", False, 1),
        ("- [x] **Unit 1: A**\n  - [ ] one", True, 1),
        ("- [x] U1: A\n\n### [ ] U1. A", True, 1),
    ],
)
def test_a_ticked_unit_is_done_and_what_only_looks_so_is_told(unit: str, done: bool, doubts: int) -> None:
    found = reading(f"{unit}\n")
    assert (found.plan.units[0].done, len(found.unclear)) == (done, doubts), found.unclear


@pytest.mark.parametrize(
    ("above", "doubts"),
    [
        ("## Out of scope", 1),
        ("## Non-goals", 1),
        ("## Deferred to follow-up work", 1),
        ("## Appendix: the old plan", 1),
        ("## Out of scope\n### Details", 1),
        ("## Out of scope\n\n## Units", 0),
        ("## Laterality", 0),
        ("# Backlog", 0),
    ],
)
def test_a_unit_below_a_heading_that_puts_it_off_is_not_clear(above: str, doubts: int) -> None:
    found = reading(f"# P\n### U1. A\n{above}\n### U2. B\n")
    assert len(found.unclear) == doubts and all("U2 stands below" in one for one in found.unclear)


# -- fields --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "label",
    [
        *(
            "**Files:**",
            "**Files**:",
            "Files:",
            "- **Files:**",
            "- Files:",
            "#### Files",
            "**File:**",
            "__Files:__",
        ),
        *(
            *("**Files** \u2014", "Files \u2014", "files:", "**FILES:**", "**\U0001f4c1 Files:**"),
            "**Files to modify:**",
            "*Files:*",
            "- [ ] **Files:**",
            "  - **Files:**",
            "**Files (all):**",
            "**Files**",
        ),
    ],
)
@pytest.mark.parametrize("value", [" `src/a.py`", "\n\n- `src/a.py`", "\n- `src/a.py`\n"])
def test_a_label_is_written_in_many_ways(label: str, value: str) -> None:
    if label in ("#### Files", "**Files**") and value == " `src/a.py`":
        value = f"\n\n{value.strip()}"
    elif label.lstrip().startswith("- "):
        value = value.replace("\n- ", "\n    - ")
    found = reading(f"### U1. A\n\n{label}{value}\n")
    assert (found.plan.units[0].files.modify, found.unclear) == (("src/a.py",), ())


@pytest.mark.parametrize(
    "label", ["Depends on", "Dependencies", "Blocked by", "Requires", "Needs", "Prerequisites", "depends_on"]
)
def test_what_a_unit_waits_for_has_many_names(label: str) -> None:
    for page in (
        f"**{label}:** U1",
        f"- {label}: Unit 1",
        f"  {label}: 1",
        f"**{label}:**\n- U1 (the table)",
    ):
        found = reading(f"### U1. A\n### U2. B\n{page}\n")
        assert (found.plan.units[1].depends_on, found.unclear) == (("U1",), ()), page


@pytest.mark.parametrize(
    "value",
    [
        "the API",
        "None (U1 can go beside it)",
        "U1 (not U3)",
        "U1 or U3",
        "all units above",
        "Phase 1",
        "U1 is optional",
    ],
)
def test_dependencies_that_can_be_read_in_two_ways_are_told(value: str) -> None:
    page = f"### U1. A\n### U3. C\n### U2. B\n**Depends on:** {value}\n"
    assert {one.split(":")[0] for one in unclear(page)} == {"4"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("**Depnds on:** U1", 'did you mean "Depends on"?'),
        ("Depend of: U1", 'did you mean "Depends on"?'),
        ("- **Rollout:** slowly", "`Rollout` is no known label"),
        ("**\u041f\u043e\u0441\u043b\u0435:** U1", "is no known label"),
        ("#### Filez", 'did you mean "File"?'),
        ("This one depends on U1.", "it speaks of an order of U2 and U1"),
        ("**Blocks:** U1", "it speaks of an order of U2 and U1"),
        ("**Approach:**\n- **Files:** `a.py`", "`Files` stands inside of another field"),
        ("> **Files:** `a.py`", "`Files` is not read in a quotation"),
        ("**Files:**\n\n| Path |\n|---|\n| a.py |", "is not read as `files`"),
        ("**Files:**\n```\na.py\n```", "a code block is not read as `files`"),
        ("**Tests:** `tests/test_b.py`", "is a path among the tests"),
        ("**Verify:** pytest -q tests", "is not run"),
        ("**Verify:**\n\n    pytest -q", "is not read as `verify`"),
        ("```yaml\nfiles: [a.py]\ndepends_on: [U1]\n```", "`depends_on` is not read in a code block"),
        ("- Files: `a.py`; depends on U1", "it speaks of an order of U2 and U1"),
        ("**Depends on:** U1 | **Verify:** `make`", "`Verify` stands behind another label"),
        ("`Depends on:` U1", "it speaks of an order of U2 and U1"),
        ("**Files (read-only):** `a.py`", "no known label"),
        ("**Files (do not modify):**\n- `a.py`", "no known label"),
        ("**Files to leave alone:** `a.py`", "no known label"),
        ("**Verify:** ~~`make deploy`~~", "is not run"),
        ("**Verify:** ~~`tox`~~", "is not run"),
        ("**Verify:**\n- \u274c `make deploy`", "is not run"),
        ("**Verify:**\n- `make deploy` \u2717", "is not run"),
        ("**Verify:**\n- [-] `make deploy`", "is not run"),
        ("**Verify:** `make deploy`?", "is not run"),
        ("**Verify:** never `make deploy`", "is not run"),
        ("**Verify:** `make deploy` (do not run)", "is not run"),
        ("**Verify (manual):** `make deploy`", "no known label"),
        ("**Verify:** all of it, e.g. with `pytest -q tests`", "is not run"),
    ],
)
def test_what_was_not_understood_in_a_unit_is_told(line: str, told: str) -> None:
    found = unclear(f"### U1. A\n### U2. B\n{line}\n")
    assert found and told in found[0], found


def test_a_word_with_a_colon_in_prose_refuses_nothing() -> None:
    page = "### U1. A\n\nReplace it with:\n\n```\nx\n```\n\nDefault value: 5\n\n1. In the handler: add `x`\n"
    found = reading(page)
    assert not found.unclear and lines_of(found.adjusted) == [9]
    assert "no known label" in found.adjusted[0] and "Default value: 5" in (
        found.plan.units[0].approach or ""
    )
    assert unclear(f"{page}Follows: U1\n\nTestz: it works\n")[0].startswith("12: `Follows` is no known label")


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ("## Order\nU2 depends on U1.", "4: it speaks of an order"),
        ("## Dependencies\n- U2 -> U1", "4: it speaks of an order"),
        ("## Verification\n- `make test`", "4: "),
        ("| Unit | After |\n|---|---|\n| U2 | U1 |", "5: it speaks of an order"),
        ("## Phase 2\n**Depends on:** Phase 1", "4: `Depends on` stands in no unit"),
    ],
)
def test_what_only_a_unit_can_say_is_told_where_it_stands_in_none(after: str, told: str) -> None:
    (found,) = unclear(f"### U1. A\n### U2. B\n{after}\n")
    assert found.startswith(told)


def test_the_prose_of_a_unit_reaches_the_agent_as_it_stands() -> None:
    page = (
        "### U1. A\nA is old.\n\n**Files:**\n- `a.py`\n\nLeave `b.py` alone.\n\n**Owner:** me\n\n"
        "**Approach:** slowly\n\n```py\n  x = 1\n```\n\n<!-- not this -->\n"
    )
    (unit,) = reading(page).plan.units
    assert unit.files == Files(modify=("a.py",))
    assert (
        unit.approach == "A is old.\n\nLeave `b.py` alone.\n\n**Owner:** me\n\nslowly\n\n```py\n  x = 1\n```"
    )


def test_a_comment_in_a_line_hides_what_is_in_it_and_nothing_else() -> None:
    page = "### U1. A <!-- x -->\n### U2. B\n**Depends on:** U1 <!-- and\nU3 -->\n"
    found = reading(page)
    assert [shown(unit) for unit in found.plan.units] == ["U1:", "U2 after U1:"] and not found.unclear
    page = "### U1. A\n### U2. B\nIt is <!-- open\n**Depends on:** U1\n"
    assert [shown(unit) for unit in reading(page).plan.units] == ["U1:", "U2 after U1:"]


def test_the_name_of_a_unit_stands_before_its_goal() -> None:
    (unit,) = reading("### U1. Dialects\n\n**Goal:** A registry\nof them.\n").plan.units
    assert unit.goal == "Dialects:\nA registry of them."


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("**Verify:** `pytest -q`", ["pytest -q"]),
        ("Verify: run `pytest -q`.", ["pytest -q"]),
        (
            "**Validation:**\n- `pytest -q` passes\n- `make lint`, `make docs`",
            ["pytest -q", "make lint", "make docs"],
        ),
        ("**Acceptance criteria:**\n- [ ] `make check` is green\n- [ ] it works", ["make check"]),
        ("**Tests:** `pytest -q tests`", ["pytest -q tests"]),
        ("**Tests:**\n```sh\npytest -q\n```", ["pytest -q"]),
        ("**Verification:**\n```bash\n$ make a\n# b\n$ make \\\n  c\n```", ["make a", "make c"]),
        ("**Verification:**\n```bash\nmake a\n# b\nmake \\\n  c\n```", ["make a", "make c"]),
        ("**Verify:**\n```console\n$ make a\nok\n\n$ make \\\n  c\ntest: ok\n```", ["make a", "make c"]),
        ("**Verify:**\n```console\nmake a\nmake c\n```", ["make a", "make c"]),
        ("**Verification:**\n- The table exists", []),
    ],
)
def test_commands_are_found_where_checks_are_listed(text: str, commands: list[str]) -> None:
    found = reading(f"### U1. A\n\n{text}\n")
    assert [" ".join(one) for one in found.plan.units[0].verify] == commands and not found.unclear


@pytest.mark.parametrize("info", ["bash", "", "sh"])
def test_what_a_command_printed_is_none_and_in_a_script_a_doubt(info: str) -> None:
    found = reading(f"### U1. A\n**Verify:**\n```{info}\n$ make a\ntrue is printed\n```\n")
    assert found.plan.units[0].verify == (("make", "a"),)
    assert [one.split(":")[1] for one in found.unclear] == ["5"]


def test_a_command_that_needs_a_shell_is_a_problem_in_its_own_line() -> None:
    for command in ("cd web", "echo `date`", "a && b"):
        with pytest.raises(PlanInvalid) as error:
            reading(f"### U1. A\n**Verify:**\n```bash\nmake \\\n  all\n{command}\n```\n")
        assert [one.split(" ")[0] for one in error.value.problems] == ["plan.md:6:1:"]


# -- paths ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "create", "modify"),
    [
        ("`a.py` (new), `b.py`", "a.py", "b.py"),
        ("Create: `a.py`, `b.py`", "a.py b.py", ""),
        ("**Create** `a.py`", "a.py", ""),
        ("[NEW] `a.py`", "a.py", ""),
        ("`a.py` and `b.py` - both change, as `C` does", "", "a.py b.py"),
        ("`lib/a.dart:5-9` (export `Type`)", "", "lib/a.dart"),
        ("`a.ts:12,30-40`, `b.ts#L10-L20`, `t.py::test_x`", "", "a.ts b.ts t.py"),
        ("[src/b.py](../src/b.py)", "", "src/b.py"),
        ("[b.py](src/b.py)", "", "src/b.py"),
        ("`src/{x,y}.{py,pyi}`", "", "src/x.py src/x.pyi src/y.py src/y.pyi"),
        ("`src/a.py` (not `src/legacy.py`)", "", "src/a.py"),
        ("src/__init__.py, src/*_test.py", "", "src/__init__.py src/*_test.py"),
        ("`app/[id]/[...rest]/page.tsx`", "", r"app/\[id\]/\[...rest\]/page.tsx"),
        ("`src/[a-c].py`", "", "src/[a-c].py"),
        ("Makefile", "", "Makefile"),
        ("`src`", "", "src"),
        ("None", "", ""),
        ("(none)", "", ""),
        ("*None*", "", ""),
        ("**`src/a.py`**, __src/b.py__", "", "src/a.py src/b.py"),
        ("**/a.py, src/**", "", "**/a.py src/**"),
        ("`a.py` / `b.py`, 'c.py'", "", "a.py b.py c.py"),
        ("src/a.py: add x.", "", "src/a.py"),
        ("`a.py` **(new)**, *`b.py`* *(new)*", "a.py b.py", ""),
        ("`a.py:L12`, `b.py#7`", "", "a.py b.py"),
        ("Update the parser in `src/a.py`", "", "src/a.py"),
        ("N/A - documentation only", "", ""),
        ("Leave `a.py` alone", "", ""),
        ("Do not touch `a.py`", "", ""),
    ],
)
def test_an_entry_of_a_file_list_gives_its_paths_and_nothing_else(
    item: str, create: str, modify: str
) -> None:
    for page in (f"**Files:** {item}\n", f"**Files:**\n- {item}\n"):
        found = reading(f"### U1. A\n\n{page}")
        files = found.plan.units[0].files
        assert (files.create, files.modify) == (tuple(create.split()), tuple(modify.split()))
        assert not found.unclear


@pytest.mark.parametrize(
    ("item", "modify", "read"),
    [
        ("`x.py` (do not modify)", "", "x.py"),
        ("`x.py` (don\u2019t edit)", "", "x.py"),
        ("`x.py` \u2014 DO NOT EDIT", "", "x.py"),
        ("`x.py` (unchanged)", "", "x.py"),
        ("`x.py` must stay unchanged", "", "x.py"),
        ("`x.py` is frozen", "", "x.py"),
        ("`x.py` is not to be modified here", "", "x.py"),
        ("`x.py` stays as it is", "", "x.py"),
        ("`x.py`: no changes", "", "x.py"),
        ("`x.py` (read-only)", "", "x.py"),
        ("`x.py` - reference only", "", "x.py"),
        ("src/x.py (left alone)", "", "src/x.py"),
        ("**`x.py`** *(do not modify)*", "", "x.py"),
        ("Reference: `x.py`", "", "x.py"),
        ("Context: `x.py`, `y.py`", "", "x.py y.py"),
        ("`x.py` (unchanged), `a.py`", "a.py", "x.py"),
        ("`a.py`; don't touch `x.py`", "a.py", ""),
        ("Don\u2019t touch `x.py`", "", ""),
        ("Avoid `x.py`", "", ""),
        ("No changes to `x.py`", "", ""),
        ("no other edits in `x.py`", "", ""),
        ("Nothing in `x.py`", "", ""),
        ("`x.py` (leave as is)", "", "x.py"),
        ("`x.py` (leave alone)", "", "x.py"),
        ("`x.py` (please leave unchanged)", "", "x.py"),
        ("`x.py`: no change needed", "", "x.py"),
        ("`x.py` \u2014 no edits required", "", "x.py"),
        ("`x.py` must stay the same", "", "x.py"),
        ("`s.py` standalone", "s.py", ""),
        ("`s.py` the same as in `other`", "s.py", ""),
        ("`a.py` - do not change its public names", "a.py", ""),
        ("`a.py` (read-only mode comes to it)", "a.py", ""),
        ("`a.py` without a change of its output", "a.py", ""),
        ("`src/frozen.py`, `src/read-only.py`", "src/frozen.py src/read-only.py", ""),
    ],
)
def test_a_file_that_is_not_to_be_changed_is_none_that_may_be_written(
    item: str, modify: str, read: str
) -> None:
    found = reading(f"### U1. A\n\n**Files:**\n- {item}\n")
    files = found.plan.units[0].files
    assert (files.create, files.modify, files.read) == ((), tuple(modify.split()), tuple(read.split()))
    assert not found.unclear


def test_a_list_in_a_file_list_has_the_kind_of_its_item() -> None:
    page = (
        "### U1. A\n**Files:**\n- Create:\n  - `a.py`\n  - Read: `r.py`\n- **Read:**\n  - `b.py`\n- `c.py`\n"
    )
    for text in (page, page.replace("- Create", "- *Create*"), f"{page}\nRead:\n- `d.py`\n"):
        files = reading(text).plan.units[0].files
        assert (files.create, files.modify) == (("a.py",), ("c.py",)) and files.read[:2] == ("r.py", "b.py")


@pytest.mark.parametrize(
    "head", ["Do not touch:", "**Don't modify:**", "Unchanged:", "*Read-only*:", "Frozen:"]
)
def test_what_stands_below_a_heading_of_a_list_that_spares_it_may_not_be_written(head: str) -> None:
    page = f"### U1. A\n**Files:**\n- Modify:\n  - `a.py`\n- {head}\n  - `x.py`\n- `b.py`\n"
    files = reading(page).plan.units[0].files
    assert (files.modify, files.read) == (("a.py", "b.py"), ("x.py",))


@pytest.mark.parametrize(
    "item",
    [
        *("the parser", "`String type`", "`LessonType`", "`src/.../a.py`", r"`src\a.py`", "`src/{x,{y}}.py`"),
        *(
            "`a.py` and the helper `b.py`",
            "`render()`",
            "TBD",
            "[MODIFY] [a.py](file:///home/me/a.py)",
            "~~`a.py`~~",
            "See `docs/x.md`",
            "Everything except `a.py`",
            "All but `a.py`",
            "Out of scope: `a.py`",
            "Excluded: `a.py`",
            "Look at `a.py`",
            "`a.py`, `b.py` (both frozen)",
            "`a.py` - do not change, only add to it",
            "`@/lib/a`",
            "`C:/a.py`",
        ),
    ],
)
def test_an_entry_that_may_be_no_path_or_more_is_told(item: str) -> None:
    assert [one.split(":")[0] for one in unclear(f"### U1. A\n\n**Files:**\n- {item}\n")] == ["4"]


@pytest.mark.parametrize("path", ["lib/a.dart:5-9", "src/{x,y}.py", "None", "t.py::test_x"])
def test_a_path_in_toml_that_may_be_none_is_told(path: str) -> None:
    text = f'schema_version = 1\n[[units]]\nid = "A"\ngoal = "g"\nfiles = ["{path}"]\n'
    found = load.examined(text, "plan.toml")
    assert lines_of(found.unclear) == [5] and found.plan.units[0].files.modify == (path,)


@pytest.mark.parametrize(
    "line",
    [
        f"## U1{' ' * 100_000}x",
        f"- **Verify:** {'`a`  ' * 40}!x",
        f"- **Verify:** run {'`a` and  ' * 3000}?x",
        f"- **Depends on:** none{' ' * 100_000}x",
        f"- **Status:** {'. ' * 50_000}x",
        f"**Files{' ' * 100_000}x:** a",
        f"- **Files:** {'(a ' * 20_000}",
        f"- **Files:** none{' ' * 100_000}x",
        f"- **Files:** none {'-' * 100_000}x",
        f"- **Depends on:** U1{' ' * 100_000}U2",
        f"{'a ' * 50_000}x",
        f"- **Verify:** {'ensure that ' * 7_000}x",
        f"- **Verify:** {'all tests pass: ' * 7_000}x",
        f"- {'a ' * 50_000}x",
        f"**{'a ' * 50_000}x",
        f"- **Files:** *{'a ' * 50_000}x",
        f"- **Status:** `{'a ' * 50_000}x",
    ],
)
def test_no_line_of_a_plan_takes_for_ever(line: str) -> None:
    """The plan of a stranger is read before anybody trusts it."""
    with ends_within(20, "the reading"):
        found = parse(f"### U1. A\n\n{line}\n")
    assert found.units, "and it hides no unit"


@pytest.mark.parametrize("ending", ["\r\n", "\r"])
def test_the_ends_of_lines_make_no_other_plan(ending: str) -> None:
    for name in READ:
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert load.examined(text.replace("\n", ending), name) == load.examined(text, name)


@pytest.mark.parametrize("listed", ['"src/c d.py"', "`a.py`, 'src/c d.py'", '- "src/c d.py" (new)'])
def test_a_quoted_path_with_blanks_is_not_taken_for_several(listed: str) -> None:
    assert unclear(f"### U1. A\n**Files:**\n\n{listed}\n"), listed
    assert not unclear("### U1. A\n**Files:** \"a.py\", 'src/b.py'; don't touch the others' files\n")
