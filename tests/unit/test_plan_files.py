"""Plan files: TOML and Markdown, what is wrong with them and where, and the schema that says the same."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.plans import tables, toml

from runner.cli import app
from runner.errors import PlanInvalid
from runner.plan import load
from runner.plan.shape import plan_of
from runner.plan.units import Files, Plan, Unit

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "schemas" / "plan.schema.json").read_text(encoding="utf-8"))
WHOLE = """\
schema_version = 1
title = "Shop"
[[units]]
id = "U1"
goal = "Make the table"
files = { create = ["db/1.sql"], modify = ["src/./a.py", "src/lib/"], read = ["docs/**"] }
trivial = false
tests = ["empty table"]
verify = ["pytest -q tests/db", ["make", "lint"]]
patterns = ["db/0.sql"]
approach = "one statement"
execution_note = "test first"
phase = 1
risk = ["migrations"]
effort = "high"
model = "deep"
[[units]]
id = "U2"
goal = "Use it"
files = ["src/b.py"]
depends_on = ["U1"]
phase = "late"
"""


def problems(text: str, name: str = "plan.toml") -> list[str]:
    """What is wrong with `text`; every line without the file's name."""
    with pytest.raises(PlanInvalid) as error:
        load.read(text, name)
    assert all(one.startswith(f"{name}:") for one in error.value.problems)
    return [one.removeprefix(f"{name}:") for one in error.value.problems]


# -- TOML ----------------------------------------------------------------------------------------------


def test_every_key_of_a_unit_arrives() -> None:
    plan = load.read(WHOLE, "plan.toml")
    assert plan == Plan(
        (
            Unit(
                "U1",
                "Make the table",
                Files(("db/1.sql",), ("src/a.py", "src/lib"), ("docs/**",)),
                (),
                False,
                ("empty table",),
                (("pytest", "-q", "tests/db"), ("make", "lint")),
                ("db/0.sql",),
                "one statement",
                "test first",
                1,
                ("migrations",),
                "high",
                "deep",
            ),
            Unit("U2", "Use it", Files(modify=("src/b.py",)), ("U1",), phase="late"),
        ),
        "Shop",
    )


def test_a_model_that_the_settings_do_not_have_is_refused_at_its_place() -> None:
    units = [f'id = "U{n}"\ngoal = "g"\nmodel = "{name}"' for n, name in enumerate(("deep", "gemnii"))]
    with pytest.raises(PlanInvalid) as error:
        load.examined(toml(*units), "plan.toml", {"deep": 1, "gemini": 1})
    (told,) = error.value.problems
    assert told.startswith("plan.toml:9:1: units[1].model") and 'did you mean "gemini"' in told
    assert [unit.model for unit in load.read(toml(*units), "plan.toml").units] == ["deep", "gemnii"]


def test_all_problems_are_told_at_once_each_with_its_place() -> None:
    text = """\
schema_version = 1
titel = "x"
[[units]]
id = "U 1"
goal = ""
files = { create = ["**"], modfy = ["a"] }
depends_on = "U2"
effort = "hihg"
[[units]]
goal = "x"
files = ["ok",
  "a\\u0000"]
"""
    found = problems(text)
    places = [one.split(" ")[0] for one in found]
    assert places == ["2:1:", "4:1:", "5:1:", "6:21:", "6:28:", "7:1:", "8:1:", "9:3:", "12:3:"]
    assert 'did you mean "title"' in found[0]
    assert 'did you mean "modify"' in found[4]
    assert 'did you mean "high"' in found[6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: `[[units]]` is missing; a plan needs at least one unit"),
        ("schema_version = 1\nunits = []", "2:1: units: found an empty array; expected at least one unit"),
        ("schema_version = 2\n[[units]]\nid='a'\ngoal='g'", "1:1: schema_version: found 2"),
        ("schema_version = true\n[[units]]\nid='a'\ngoal='g'", "1:1: schema_version: found true"),
        ("a = \n", "1:5: not valid TOML: invalid value"),
        ("a = 1\na = 2", "2:6: not valid TOML: cannot overwrite a value"),
        ("a = " + "[" * 100_000, "1:100005: not valid TOML"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, message: str) -> None:
    assert any(one.startswith(message) for one in problems(text)), problems(text)


def test_ids_that_exist_twice_or_not_at_all_are_named() -> None:
    text = toml(
        'id = "A"\ngoal = "g"', 'id = "B"\ngoal = "g"\ndepends_on = ["A", "Aa"]', 'id = "A"\ngoal = "g"'
    )
    assert problems(text) == [
        '8:20: units[1].depends_on[1]: found "Aa"; no unit has this id (did you mean "A"?)',
        '10:1: units[2].id: found "A", which is the id of unit 1 already',
    ]


def test_a_cycle_is_printed() -> None:
    text = toml(*(f'id = "{a}"\ngoal = "g"\ndepends_on = ["{b}"]' for a, b in ("AB", "BC", "CA", "DD")))
    assert problems(text) == [
        "5:1: units[0].depends_on: A depends on itself: A -> B -> C -> A",
        "17:1: units[3].depends_on: D depends on itself",
    ]


@pytest.mark.parametrize("glob", ["**", "**/*", "*/**", ".", "./", "**/**", "**/?*", "***/**"])
def test_a_unit_that_may_write_everything_is_a_problem(glob: str) -> None:
    for files in (f'["{glob}"]', f'{{ create = ["{glob}"] }}'):
        (problem,) = problems(toml(f'id = "A"\ngoal = "g"\nfiles = {files}'))
        assert "every file" in problem
    assert load.read(toml(f'id = "A"\ngoal = "g"\nfiles = {{ read = ["{glob}"] }}'), "plan.toml")


def test_a_path_outside_is_no_problem_of_the_file() -> None:
    plan = load.read(toml('id = "A"\ngoal = "g"\nfiles = ["/etc/x", "../y/./z"]'), "plan.toml")
    assert plan.units[0].files.modify == ("/etc/x", "../y/./z")


def test_ten_thousand_unknown_ids_are_told_within_seconds() -> None:
    text = toml(*(f'id = "unit-{n}"\ngoal = "g"\ndepends_on = ["unti-{n}"]' for n in range(10_000)))
    assert len(problems(text)) == 10_000


def test_a_file_that_is_not_one_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bytes.toml").write_bytes(b"schema_version = 1\n\xff")
    (tmp_path / "bom.toml").write_text("\ufeff" + WHOLE, encoding="utf-8")
    for name, message in (
        ("none.toml", "no such file"),
        ("pipe", "not a regular file"),
        (".", "is a folder"),
        ("bytes.toml", ":2:1: is not UTF-8: byte 0xff"),
        ("a\0b", "null byte"),
    ):
        with pytest.raises(PlanInvalid, match=message):
            load.load(os.path.join(tmp_path, name))
    assert len(load.load(str(tmp_path / "bom.toml")).units) == 2


# -- Markdown ------------------------------------------------------------------------------------------

PAGE = """\
# The shop

**Goal:** prose before any unit

## Implementation Units

### Phase 1: Base

- [ ] **Unit 1: Schema**

**Goal:** Make the schema

**Requirements:** R1

**Dependencies:** None

**Files:**
- Create: `db/001.sql`
- Modify: `src/a.py`, `src/b.py`
- Test: `tests/test_db.py`

**Approach:**
- Do it
  in one go

```
**Goal:** code
### U9. not a unit
```

**Patterns to follow:**
- `db/000.sql`

**Test scenarios:**
- Empty table
- Full table

**Verification:**
- `pytest -q tests/test_db.py`
- The table exists

### U2: Use it
**Execution note:** test-first
**Dependencies:** Unit 1
**Files:** `src/c.py`

### Phase 2: Ship

#### U3. Ship it
**Dependencies:** Units 1-2
**Files:**
- src/d.py

## Notes

**Goal:** not of a unit
"""


def test_a_markdown_plan_becomes_the_same_units() -> None:
    plan = load.read(PAGE, "plan.md")
    first, second, third = plan.units
    assert plan.title == "The shop"
    assert first == Unit(
        "U1",
        "Make the schema",
        Files(("db/001.sql",), ("src/a.py", "src/b.py", "tests/test_db.py"), ()),
        tests=("Empty table", "Full table", "The table exists"),
        verify=(("pytest", "-q", "tests/test_db.py"),),
        patterns=("`db/000.sql`",),
        approach="**Requirements:** R1\n\n- Do it\n  in one go\n\n"
        "```\n**Goal:** code\n### U9. not a unit\n```",
        phase="Phase 1: Base",
    )
    assert (second.goal, second.depends_on, second.files.modify) == ("Use it", ("U1",), ("src/c.py",))
    assert (second.execution_note, second.phase) == ("test-first", "Phase 1: Base")
    assert (third.goal, third.depends_on, third.phase) == ("Ship it", ("U1", "U2"), "Phase 2: Ship")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Unit 1, Unit 2", ["U1", "U2"]),
        ("Units 1, 2 and 4", ["U1", "U2", "U4"]),
        ("U1-U3 (the base)", ["U1", "U2", "U3"]),
        ("U1 \u2013 3; U4", ["U1", "U2", "U3", "U4"]),
        ("None.", []),
        ("n/a", []),
    ],
)
def test_dependencies_are_written_in_many_ways(text: str, ids: list[str]) -> None:
    page = "".join(f"### U{n}. Name\n" for n in range(1, 5)) + f"### U5. Last\n**Dependencies:** {text}\n"
    assert list(load.read(page, "plan.md").units[-1].depends_on) == ids


def test_a_markdown_plan_has_its_problems_with_their_lines() -> None:
    page = "### U1. A\n**Dependencies:** Unit 7\n\n### U1. B\n**Files:**\n- `**`\n"
    assert problems(page, "plan.md")[0].startswith("6:1: units[1].files.modify[0]: ")
    page = "### U1. A\n**Dependencies:** Unit 7\n\n### U1. B\n"
    assert [one.split(" ")[0] for one in problems(page, "plan.md")] == ["2:1:", "4:1:"]


def test_markdown_without_units_is_an_empty_plan() -> None:
    assert "no unit found; a unit begins" in problems("# A page\n\nIt mentions Unit 1.\n", "plan.md")[0]


@given(st.text(alphabet="#U1:.*-` \nFilesGoalDpnc[x]<!>|()/", max_size=200))
def test_no_text_breaks_the_readers(text: str) -> None:
    for name in ("plan.md", "plan.toml"):
        try:
            load.read(text, name)
        except PlanInvalid as error:
            assert error.problems


# -- the schema, both ways -----------------------------------------------------------------------------


def is_valid(data: object) -> bool:
    return bool(Draft202012Validator(SCHEMA).is_valid(data))


def test_the_schema_is_one_and_explains_every_key() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert list(SCHEMA["$defs"]["Unit"]["properties"]) == list(Unit._fields)
    kinds = SCHEMA["$defs"]["Files"]["anyOf"][1]["properties"]
    assert list(kinds) == list(Files._fields)
    for one in (
        *SCHEMA["properties"].values(),
        *SCHEMA["$defs"]["Unit"]["properties"].values(),
        *kinds.values(),
    ):
        assert one["description"]


def test_the_plan_of_these_tests_is_valid() -> None:
    assert is_valid(tables(WHOLE))


VALUES = st.sampled_from(
    [
        *(None, True, 0, 1, -1, 1.5, 10**6, "", " ", "x", "a b", "-x", "high", "default", "..", "a..b", "!x"),
        *("a\nb", [], [""], ["x"], [1], [["x"]], [[]], [["", "x"]], ["-x"], {}, {"create": ["a"]}),
        *(
            {"create": "a"},
            {"wrong": []},
            {"read": ["**"], "modify": []},
            ["/etc/x"],
            ["x", "x"],
            ["a\0b"],
            "a\0b",
            [["a", "b\0"]],
            ["a" * 4096],
            ["a" * 4097],
        ),
    ]
)


@given(st.sampled_from([*Unit._fields, "wrong"]), VALUES)
def test_a_unit_is_right_for_the_reader_when_it_is_for_the_schema(key: str, value: Any) -> None:
    data = copy.deepcopy(tables(WHOLE))
    data["units"][0][key] = value
    assume((key, value) != ("verify", "a\nb"))  # for a shell: more than a schema can say
    assert (plan_of(data)[0] is not None) == is_valid(data), (key, value)


@given(st.sampled_from(["schema_version", "title", "units", "wrong"]), VALUES)
def test_a_file_is_right_for_the_reader_when_it_is_for_the_schema(key: str, value: Any) -> None:
    data = {**tables(WHOLE), key: value}
    assert (plan_of(data)[0] is not None) == is_valid(data), (key, value)


@pytest.mark.parametrize("key", ["id", "goal"])
def test_a_unit_without_what_it_needs_is_wrong_for_both(key: str) -> None:
    data = tables(WHOLE)
    del data["units"][1][key]
    assert not is_valid(data) and plan_of(data)[0] is None


# -- the command ---------------------------------------------------------------------------------------


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in where no settings are, with a home of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.usefixtures("nowhere")
def test_the_command_prints_the_decision_as_one_document(tmp_path: Path, capsys) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(WHOLE, encoding="utf-8")
    assert app.main(["plan", str(file), "--format", "json", "--force-delegate"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["decision"], shown["batches"][0]["units"]) == ("delegate", ["U1"])
    assert shown["batches"][0]["effort"] == "high"
    assert app.main(["plan", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("not worth: fewer than 5 units") and "wave 1  [1]" in out


def test_a_command_for_a_shell_is_refused_in_a_plan_with_its_line() -> None:
    unit = 'id = "A"\ngoal = "g"\nfiles = ["a"]\nverify = '
    (array,) = problems(toml(unit + '["make", "a && b", ["a", "&&"]]'))
    (whole,) = problems(toml(unit + '"a > b"'))
    heading = "### U1. One\n**Goal:** g\n**Files:**\n- Modify: `a`\n\n**Verification:**\n"
    (span,) = problems(heading + "- `sh -c 'a && b'`\n- `true && false`\n", "plan.md")
    (fence,) = problems(heading + "```sh\ncd web\n```\n", "plan.md")

    assert "units[0].verify[1]" in array and array.startswith("6:")
    assert "units[0].verify[0]" in whole and "`>` is for a shell" in whole
    assert span.startswith("8:1: ") and "sh -c 'true && false'" in span
    assert "`cd` is for a shell" in fence


@pytest.mark.usefixtures("nowhere")
def test_the_command_refuses_a_wrong_plan_with_exit_2(tmp_path: Path, capsys) -> None:
    file = tmp_path / "plan.toml"
    file.write_text("schema_version = 1\n", encoding="utf-8")
    assert app.main(["plan", str(file), "--format", "json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "plan_invalid"


@pytest.mark.parametrize(
    "words",
    [
        ("--soft-cap", "0"),
        ("--hard-cap", "x"),
        ("--economics", "1,2"),
        ("--effort-floor", "default"),
        ("--trivial", "x"),
    ],
)
def test_the_command_refuses_wrong_options(words: tuple[str, ...], capsys) -> None:
    assert app.main(["plan", "plan.toml", *words]) == 2
    assert words[0] in capsys.readouterr().err


@pytest.mark.usefixtures("nowhere")
def test_the_options_of_the_command_reach_the_decision(tmp_path: Path, capsys) -> None:
    lines = [
        f'id = "U{n}"\ngoal = "g"\nfiles = ["src/one", "src/{n}"]\ntrivial = {str(n == 1).lower()}'
        for n in range(12)
    ]
    file = tmp_path / "plan.toml"
    file.write_text(toml(*lines), encoding="utf-8")

    def sizes(*words: str) -> list[int]:
        assert app.main(["plan", str(file), "--format", "json", *words]) == 0
        return [len(batch["units"]) for batch in json.loads(capsys.readouterr().out)["batches"]]

    assert sizes() == [5, 5, 2]
    assert sizes("--oversize", "keep") == [12]
    assert sizes("--hard-cap", "12") == [12]
    assert sizes("--hub", "src/one", "--balance") == [4, 4, 4]
    assert sizes("--hub", "src/one", "--trivial", "local") == [5, 6]
    assert sizes("--soft-cap", "12") == [12]
    assert app.main(["plan", str(file), "--oversize", "error"]) == 2
    assert "src/one" in capsys.readouterr().err


def test_the_settings_of_the_repository_count_and_the_options_win(nowhere: Path, capsys) -> None:
    lines = [f'id = "U{n}"\ngoal = "g"\nfiles = ["src/one", "src/{n}"]' for n in range(12)]
    (nowhere / "plan.toml").write_text(toml(*lines), encoding="utf-8")
    (nowhere / "delegate.toml").write_text(
        '[delegate]\nsoft_cap = 6\nbalance = true\nhub_files = ["src/one"]\n'
        "[economics]\nfixed = 1\nbatch = 0\nunit = 0\n",
        encoding="utf-8",
    )

    def planned(*words: str) -> dict[str, Any]:
        assert app.main(["plan", "plan.toml", "--format", "json", *words]) == 0
        shown: dict[str, Any] = json.loads(capsys.readouterr().out)
        return shown

    def sizes(*words: str) -> list[int]:
        return [len(batch["units"]) for batch in planned(*words)["batches"]]

    assert sizes() == [6, 6]
    assert planned()["verdict"]["net_tokens"] == 1
    assert sizes("--soft-cap", "5") == [4, 4, 4]
    assert sizes("--soft-cap", "5", "--set", "delegate.balance=false") == [5, 5, 2]
    assert sizes("--hub", "other", "--oversize", "keep") == [12]
    assert planned("--economics", "2,0,0")["verdict"]["net_tokens"] == 2
    other = nowhere / "other.toml"
    other.write_text("[delegate]\nsoft_cap = 12\nhard_cap = 12\n", encoding="utf-8")
    assert sizes("--config", "other.toml") == [12]


def test_broken_settings_are_the_usual_error(nowhere: Path, capsys) -> None:
    (nowhere / "plan.toml").write_text(WHOLE, encoding="utf-8")
    (nowhere / "delegate.toml").write_text("[delegate]\nsoft_cap = 0\n", encoding="utf-8")
    assert app.main(["plan", "plan.toml", "--format", "json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "config_invalid" and "delegate.soft_cap" in error["message"]
