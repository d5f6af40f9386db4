"""Words of planners: what says something else than was read is told, and what is plain is read."""

from __future__ import annotations

import pytest

from runner.plan import load


def lines_of(text: str) -> list[int]:
    """The lines that are not clear, each once."""
    return sorted({int(one.split(":")[1]) for one in load.examined(text, "plan.md").unclear})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- [ ] **Unit 1: A**\n- \u2705 **Unit 2: B**\n- \u2b1c U3: C\n", [2, 3]),
        ("- \u2b1c **Unit 1: A**\n- \u2705 **Unit 2: B**\n", [2]),
        ("### U1. A\n### U7-U8: both\n", [2]),
        ("---\nstatus: completed\n---\n### U1. A\n", [2]),
        ("---\nstatus: 'abandoned'\n---\n### U1. A\n", [2]),
        ("---\nstatus: active\n---\n### U1. A\n", []),
        *((f"### U1. A ({why})\n", [1]) for why in ("blocked", "do not implement yet", "manual", "not yet")),
        *(
            (f"## {heading}\n### U1. A\n", [2])
            for heading in ("Optional", "Do not do", "Parking lot", "Stretch goals", "Phase 2 (later)")
        ),
        *(
            (f"## {heading}\n### U1. A\n", [])
            for heading in ("Optional arguments", "Ideas page", "Manual")[:2]
        ),
        ("## Phase 2: B (depends on Phase 1)\n### U1. A\n", [1]),
        ("> Do not implement U1 until July.\n\n### U1. A\n", [1]),
        ("Skip Unit 1 for now.\n\n### U1. A\n", [1]),
        ("U2 does not skip U3.\n\nDo not touch U1's table.\n\n### U1. A\n", []),
        ("### U1. A\n**Completed**\n", [2]),
        ("### U1. A\n\u2705 Completed 2026-01-01\n", [2]),
        ("### U1. A\nCompleted orders are shown.\n", []),
        ("### U1. A\n### 2. B\nDepends on: U1\n", [3]),
    ],
)
def test_what_may_not_be_meant_to_be_done_is_told(text: str, told: list[int]) -> None:
    assert lines_of(text) == told


@pytest.mark.parametrize(
    "said",
    [
        *(
            "Wait for U1.",
            "Do not start until U1 is green.",
            "Start when U1 lands.",
            "Follows U1.",
            "> Needs U1",
        ),
        *("Stacked on U1", "This precedes U1.", "Prior to U1.", "H\u00e4ngt von U1 ab.", "Apr\u00e8s U1"),
        *("Nachher: U1", "prose\nVorher: U1"),
        *(
            "## Order\nU1 --> U2",
            "## Order\nU1 \u2192 U2",
            "## Graph\n```mermaid\ngraph TD\n  U1[A] --> U2[B]\n```",
        ),
    ],
)
def test_an_order_that_no_dependency_has_is_told(said: str) -> None:
    page = f"### U1. A\n### U2. B\n{said}\n"
    assert lines_of(page)
    if "Nachher" not in said and "Vorher" not in said:
        assert not lines_of(page.replace("### U2. B", "### U2. B\n**Depends on:** U1\n"))


def test_an_arrow_between_other_things_is_no_order() -> None:
    assert not lines_of("### U1. A\n### U2. B\n## Flow\nU1 maps input -> output for U2 there\n\na -> b\n")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("- Files - `a.py`", "a.py"),
        ("- Files\n  - `a.py`", "a.py"),
        ("**Files: `a.py`**", "a.py"),
        ("**Dateien:** `a.py`", "a.py"),
        ("Fichiers : `a.py`", "a.py"),
        ("**Files:** \u201ca.py\u201d, \u2018b.py\u2019", "a.py b.py"),
        ("**Files:** `a.py`[^1], `b.py`", "a.py b.py"),
        ("**Files:** `src/[^1].py`", "src/[^1].py"),
        ("**Files:** `a.py` -> `b.py`", "a.py b.py"),
        ("**Files:**\n- Rename: `a.py` \u2192 `b.py`", "a.py b.py"),
        ("**Files:**\n- `a.py` (renamed from `b.py`)", "a.py b.py"),
        ("**Files:**\n- `a.py` \u2014 *new file*", "a.py"),
        ("**Files:**\n- `a.py`, which imports `b.py`", "a.py"),
        ("**Verify: `make a`**", "| make a"),
        ("**Verify:**\n```bash\nmake a  # fast\nmake 'b # c'\n```", "| make a | make b # c"),
        *(
            (f"**Verify:**\n- {said}", "| make a")
            for said in (
                *(
                    "`make a` (must succeed)",
                    "`make a` \u2192 no errors",
                    "All tests pass: `make a`",
                    "Lint: `make a`",
                ),
                *("`make a` exits with code 0", "Ensure that `make a` passes", "Tests pass (`make a`)"),
                *(
                    "`make a` completes without errors",
                    "Run `make a` - expect PASS",
                    "`make a` \u2014 all tests pass",
                ),
            )
        ),
    ],
)
def test_what_a_reader_has_no_doubt_about_is_read(line: str, shown: str) -> None:
    found = load.examined(f"### \U0001f680 Unit 1 [P1]: A\n{line}\n", "plan.md")
    (unit,) = found.plan.units
    files = " ".join((*unit.files.create, *unit.files.modify))
    commands = " ".join(f"| {' '.join(one)}" for one in unit.verify)
    assert (unit.id, unit.goal, f"{files}{commands}", found.unclear) == ("U1", "A [P1]", shown, ())


@pytest.mark.parametrize(
    "said",
    [
        *("`make a` fails", "`make a` reports errors", "`make a` exits with 1", "`make a` must not pass"),
        *("Manual: `make a`", "Do not run: `make a`", "`make a` (optional)", "run make a", "Run: pytest -q"),
    ],
)
def test_a_command_that_is_not_to_succeed_or_bare_is_told(said: str) -> None:
    assert lines_of(f"### U1. A\n**Verify:**\n- {said}\n") == [3]


@pytest.mark.parametrize(
    "item",
    [
        *(
            "`x.py` (generated; never edit by hand)",
            "`x.py` (existing, no changes expected)",
            "`x.py` (read)",
        ),
        *("For reference: `x.py`", "View: `x.py`", "`x.py` \u2014 hands off", "`x.py` (unmodified)"),
    ],
)
def test_more_words_that_spare_a_file(item: str) -> None:
    found = load.examined(f"### U1. A\n**Files:**\n- {item}\n", "plan.md")
    assert (found.plan.units[0].files.read, found.plan.units[0].files.modify) == (("x.py",), ())


@pytest.mark.parametrize("item", ["\u274c `x.py`", "`x.py` \U0001f512", "`x.py`?"])
def test_a_sign_at_a_file_that_may_forbid_it_is_told(item: str) -> None:
    assert lines_of(f"### U1. A\n**Files:**\n- {item}\n") == [3]


@pytest.mark.parametrize(
    ("value", "after"), [("[1, 2]", "U1 U2"), ("1 (done)", "U1"), ("no", ""), ("n.a.", ""), ("keine", "")]
)
def test_more_ways_to_say_what_a_unit_waits_for(value: str, after: str) -> None:
    found = load.examined(f"### U1. A\n### U2. B\n### U3. C\n**Depends on:** {value}\n", "plan.md")
    assert (" ".join(found.plan.units[2].depends_on), found.unclear) == (after, ())


@pytest.mark.parametrize(
    "said",
    [
        *(
            "Only do U1.",
            "For now implement only unit 1.",
            "Run U1 only.",
            "We only build Units 1 and 2 now.",
        ),
        *("Run this unit last.", "- This unit must be done last, as it deletes.", "**Note:** Do U3 last."),
        *(
            "U3 must be finished first.",
            "Unit 3 has to land first because of the lock.",
            "Do U3 first, then U2",
        ),
        *("Unit 2 is optional.", "Units 1 and 2 are optional", "> U2 is optional", "This unit is optional."),
    ],
)
def test_prose_that_orders_or_leaves_out_units_is_told(said: str) -> None:
    assert lines_of(f"### U1. A\n\n{said}\n\n### U2. B\n\n### U3. C\n") == [3]
    if "his unit" not in said:
        assert lines_of(f"{said}\n\n### U1. A\n\n### U2. B\n\n### U3. C\n") == [1]


@pytest.mark.parametrize(
    "said",
    [
        *("This is optional.", "The second parameter is optional.", "The limit of U2 is optional."),
        *("U2 is optional in the form only for guests", "`U2` is optional.", "Optional: a cache."),
        *(
            "At last the table is read.",
            "The last item goes first.",
            "Run the tests of U1 first.",
            "Do it last.",
        ),
        *(
            "This unit must validate the input first.",
            "U1 reads the last row.",
            "Only do this where it is set.",
        ),
        *("Only U1 needs a migration.", "This task is only for admins.", "Run this unit's tests last."),
    ],
)
def test_prose_with_such_words_that_says_nothing_of_units_is_not_told(said: str) -> None:
    assert not lines_of(f"{said}\n\n### U1. A\n\n{said}\n\n- {said}\n\n### U2. B\n")


def test_a_first_or_last_unit_is_as_the_dependencies_say() -> None:
    page = "U1 must be done first. Run U3 last.\n\n### U1. A\n### U2. B\n{}\n### U3. C\nDepends on: U2\n{}"
    assert not lines_of(page.format("Depends on: U1", "\nU2 must land first.\n\nRun this unit last.\n"))
    assert lines_of(page.format("", "")) == [1]
    assert not lines_of("Task 1 must be done first.\n\n### Task 1: A\n### Task 2: B\n")
