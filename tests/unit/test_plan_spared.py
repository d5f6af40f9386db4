"""What a list of files leaves out, and the prose around it: neither may become a file that is written."""

from __future__ import annotations

import pytest

from runner.errors import PlanInvalid
from runner.plan import load


def read(text: str) -> tuple[str, list[int]]:
    """The paths that the unit may write, and the lines that are not clear."""
    found = load.examined(f"### U1. A\n{text}\n", "plan.md")
    files = found.plan.units[0].files
    lines = sorted({int(one.split(":")[1]) for one in found.unclear})
    return " ".join((*files.create, *files.modify)), lines


@pytest.mark.parametrize(
    "item",
    [
        *("everything in `src/` except `src/gen/`", "all of src/ but not src/gen/"),
        *("src/** excluding src/gen/**", "src/ (without src/gen)", "`src/` other than `src/gen`"),
        *("`src/` (not `src/gen`)", "`src/`, minus `src/gen`", "everything in `src` but `src/gen`"),
        *(
            "`src/**/*.py` apart from `src/gen/a.py`",
            "`src/`, `!src/gen`",
            "every file of `src/` not in `src/x`",
        ),
        *("`src/` except generated files", "`src/*.py`, excluding the tests", "`src/` save for what is made"),
        *(
            "`src/`\n- Do not touch `src/gen/`",
            "`src/`\n- `src/gen` (read-only)",
            "`src`\n- Unchanged: `src/a.py`",
        ),
        *(
            "`src/`\n- Frozen:\n  - `src/a.py`",
            "`src`\n- except the tests",
        ),
        *("nothing but `src/a.py`",),
        *("`src/`\n- Ignore `src/gen/`", "Leave all except `src/a.py` alone", "outside `lib/`: `src/`"),
    ],
)
def test_a_list_of_files_with_an_exception_is_told(item: str) -> None:
    """No entry can take anything out of another one."""
    for text in (
        (f"**Files:**\n- {item}", f"**Files:** {item}") if "\n-" not in item else (f"**Files:**\n- {item}",)
    ):
        try:
            assert read(text)[1], text
        except PlanInvalid as error:
            assert "!src" in item and "!src/gen" in str(error)


@pytest.mark.parametrize(
    ("item", "written"),
    [
        ("`src/` (not `lib/`)", "src"),
        ("Unchanged: `t.py`", ""),
        ("Frozen `t.py`", ""),
        ("Read-only: `t.py`", ""),
        ("`src/except/`, src/excluded", "src/except src/excluded"),
        ("`src/a.py` except its last class", "src/a.py"),
        ("`src/`\n- Read: `src/a.py`", "src"),
        ("`src/`\n\nDo not change the names in `src/a.py`. Don't touch `lib`.", "src"),
        ("`src/a.py`\n- don't touch `src/b.py`", "src/a.py"),
        ("`a~~b.py`, `~~c`", "a~~b.py"),
    ],
)
def test_what_is_spared_beside_the_files_takes_nothing_out(item: str, written: str) -> None:
    assert read(f"**Files:**\n- {item}") == (written, [] if "~~c" not in item else [3])


@pytest.mark.parametrize(
    ("text", "written", "told"),
    [
        ("**Files:** `a.py`\n\n- Add the function\n- Call `run()`", "a.py", []),
        ("**Files:**\n- `a.py`\n\n1. Add the function\n2. Test it", "a.py", []),
        ("**Files:**\n- `a.py`\n  - add `x()` as in `lib/z.py`\n    or so\n- `b.py`", "a.py b.py", []),
        ("**Files:**\n- Create:\n  - `a.py`\n    - with a class\n  - `b.py`", "a.py b.py", []),
        ("**Files:**\n- `a.py`\n  - `Token.kind` becomes an enum", "a.py", []),
        ("**Files:** `a.py`\n- [ ] Step 1: wire `b.py`", "a.py", []),
        ("**Files:** `a.py`\n- `b.py`\n- Create: `c.py`", "c.py a.py b.py", []),
        ("**Files:**\n- `a.py`\n\n* `b.py`", "a.py b.py", []),
        ("**Files:**\n- `a.py`\n  ```py\n  x = 1\n  ```\n- `b.py`", "a.py b.py", []),
        ("- **Files:** `a.py`\n- Adds x\n- **Tests:** y", "a.py", []),
        ("**Files:** `a.py`\n\n- The config in `b.json`", "a.py", [4]),
        ("**Files:** `a.py`\n\n- Add x\n- `b.py`: call it", "a.py", [5]),
        ("**Files:**\n- `src/`\n  - `a.py`", "src", [4]),
        ("**Files:**\n- `a.py`\n  - Create `b.py`", "a.py", [4]),
        ("**Files:**\n- `a.py`\n- Also the docs", "a.py", [4]),
        ("**Files:** `a.py`\n- Also the docs", "a.py", [3]),
        ("**Depends on:** None\n\n- Add x", "", []),
        ("**Depends on:** None\n- the API", "", [3]),
        ("**Depends on:**\n- None\n  - it is the first", "", []),
        ("**Depends on:**\n- None\n\n1. Add x", "", []),
        ("**Depends on:**\n- None\n  - U1 goes beside it", "", [4]),
        ("**Files:**\n- `a.py`\n  - `b.py` too", "a.py", [4]),
        ("**Files:**\n- `a.py`\n  ```\n  b.py\n  ```", "a.py", [4]),
    ],
)
def test_prose_below_a_list_of_files_is_prose_unless_it_names_files(
    text: str, written: str, told: list[int]
) -> None:
    assert read(text) == (written, told)


def test_prose_below_a_file_reaches_the_agent() -> None:
    text = "### U1. A\n**Files:**\n- `a.py`\n  - add `x()`\n    at last\n\n1. Test it\n"
    assert (
        load.read(text, "plan.md").units[0].approach == "- `a.py`\n  - add `x()`\n    at last\n\n1. Test it"
    )


@pytest.mark.parametrize("label", ["Files NOT to modify", "Files to leave alone", "Unchanged files"])
def test_a_label_that_spares_files_is_not_said_to_be_one_that_changes_them(label: str) -> None:
    (found,) = load.examined(f"### U1. A\n**{label}:** `a.py`\n", "plan.md").unclear
    assert 'did you mean "Files to read"?' in found


@pytest.mark.parametrize(
    ("line", "repair"),
    [
        ("cd web", "sh -c 'cd ... && COMMAND'"),
        ("export A=1", "sh -c 'export ... && COMMAND'"),
        ("for f in a b; do", "sh -c 'for ...; done'"),
        ("if true; then", "sh -c 'if ...; fi'"),
        ("cd web && make", "sh -c 'cd web && make'"),
        ("for f in a; do cat b; done", "sh -c 'for f in a; do cat b; done'"),
    ],
)
def test_the_repair_of_a_line_of_a_script_is_no_command_that_does_nothing(line: str, repair: str) -> None:
    with pytest.raises(PlanInvalid) as error:
        read(f"**Verify:**\n```bash\n{line}\n```")
    (problem,) = error.value.problems
    assert repair in problem and problem.startswith("plan.md:4:1: ")
    assert f"sh -c '{line}'" == repair or line not in problem.partition("given to none")[2]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        *(
            (f"**{label}:** `src/gen/`", True)
            for label in ("Out of scope", "Do not touch", "Don\u2019t modify")
        ),
        *(
            (f"{label}: src/gen/a.py", True)
            for label in ("Non-goals", "Off limits", "Do not modify", "Frozen")
        ),
        ("**Out of scope:**\n- the docs\n- `lib/`, `src/gen/`", True),
        ("Do not touch:\n\n- Generated: `src/gen/`", True),
        ("#### Out of scope\n\n- anything below `src/gen/`", True),
        ("**Do not touch:** `src/`", True),
        ("**Out of scope:** renaming things in `src/`", False),
        ("**Out of scope:** `lib/`, docs/ and `source/a.py`", False),
        ("**Out of scope:** the generated code, and/or its tests", False),
        ("**Non-goals:** speed\n\nIt calls `src/gen/a.py`.", False),
        ("- **Non-goals:** speed\n- It calls `src/gen/a.py`.", False),
        ("**Notes:** `src/gen/` is made by a tool", False),
    ],
)
def test_a_path_that_a_label_spares_inside_of_a_written_one_is_told(said: str, told: bool) -> None:
    number = next(at for at, row in enumerate(said.split("\n")) if not told or "src/" in row)
    for heading in ("### U1. A", "### [x] U1. A"):
        for before, after in (("", f"\n{said}"), (f"{said}\n\n", "")):
            if before and "####" in before:
                before = f"##{before[4:]}## Units\n"
            page = f"{before}{heading}\n**Files:** `src/`\n{after}\n\n### U2. B\n**Files:** `b.py`\n"
            line = number + (1 if before else 4)
            lines = sorted({int(one.split(":")[1]) for one in load.examined(page, "plan.md").unclear})
            assert lines == ([line] if told and "x" not in heading else []), page


def test_what_one_unit_is_to_spare_another_one_may_write() -> None:
    page = "### U1. A\n**Files:** `a.py`\n\nOut of scope: `src/gen/`\n\n### U2. B\n**Files:** `src/`\n"
    assert not load.examined(page, "plan.md").unclear
    assert "Out of scope: `src/gen/`" in (load.read(page, "plan.md").units[0].approach or "")
    below = "- **Unit 1: A**\n  **Files:** `src/`\n\n## Non-goals\n\n- `src/gen/`\n\n## Notes\n- `src/a.py`\n"
    assert [one.split(":")[1] for one in load.examined(below, "plan.md").unclear] == ["6"]


@pytest.mark.parametrize(
    ("item", "written", "told"),
    [
        *((item, "", [3]) for item in ("[a.py][1]", "[`a.py`][1]", "[a.py][]", "[a.py]", "[`src/a.py`]")),
        ("`b.py`, [the store][db]", "b.py", [3]),
        ("[a.py](src/a.py)", "src/a.py", []),
        ("`src/[id].tsx`, src/[...slug].tsx", "src/\\[id\\].tsx src/\\[...slug\\].tsx", []),
        ("`[a-c].py`, `x/[a][b].py`", "[a-c].py x/[a][b].py", []),
        ("`a.py` (see [x](y.md))", "a.py", []),
    ],
)
def test_a_link_whose_target_stands_elsewhere_is_told(item: str, written: str, told: list[int]) -> None:
    """What it leads to may be another file than its text says."""
    found, lines = read(f"**Files:**\n- {item}")
    assert lines == told and (told or found == written)
