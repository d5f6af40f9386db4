"""A plan as it was begun, and as its file is now."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.plans import a_unit, tables, toml

from runner.conduct.difference import difference
from runner.plan.shape import plan_of
from runner.plan.units import Files, Plan, Unit

THREE = [f'id = "U{n}"\ngoal = "do U{n}"\nfiles = ["src/m{n}.py"]' for n in range(1, 4)]


def of(then: str, now: str) -> tuple[str, ...]:
    plans = [plan_of(tables(text))[0] for text in (then, now)]
    assert plans[0] is not None and plans[1] is not None
    return difference("plan.toml", then, now, plans[0], plans[1])


def test_comments_layout_and_the_order_of_keys_are_no_difference() -> None:
    then = toml(*THREE)
    now = "# a comment\n\n" + toml('goal="do U1"\n\nid = "U1" # first\nfiles = ["./src//m1.py"]', *THREE[1:])
    assert of(then, now) == ()


def test_what_changed_in_meaning_is_said_before_the_texts_are_compared() -> None:
    now = toml(
        THREE[2],
        'id = "U1"\ngoal = "do it"\nfiles = ["src/x.py"]\ntrivial = true',
        'id = "U4"\ngoal = "more"',
    )
    lines = of(toml(*THREE), f'title = "Shop"\n{now}')
    assert lines[:5] == (
        "the title of the plan changed",
        "U3: moved",
        "U1: goal, files and trivial changed",
        "U4: added",
        "U2: removed",
    )
    assert lines[5:7] == ("--- plan.toml (as it was begun)", "+++ plan.toml (now)")
    assert '-goal = "do U1"' in lines and '+goal = "do it"' in lines


def test_of_units_that_changed_places_the_fewest_are_named() -> None:
    units = tuple(a_unit(f"U{n}") for n in range(1, 7))
    moved = Plan((*units[1:4], units[0], *units[4:]))
    assert difference("p", "a", "a", Plan(units), moved) == ("U1: moved",)


def test_a_long_comparison_says_how_much_is_left_out() -> None:
    then = toml(*(f'id = "U{n}"\ngoal = "one"' for n in range(300)))
    lines = of(then, then.replace("one", "two"))
    assert lines[0] == "U0: goal changed" and lines[100] == "... and 200 more lines"
    assert len(lines) == 101 + 61
    assert lines[-1].startswith("... and ") and lines[-1].endswith(" more lines")


def test_texts_that_are_too_long_are_not_compared_line_by_line() -> None:
    then, now = Plan((a_unit("U1"),)), Plan((a_unit("U2"),))
    lines = difference("p.toml", "x\n" * 20_000, "y\n" * 20_000, then, now)
    assert lines == ("U2: added", "U1: removed", "p.toml is too long to be compared here line by line")
    wide = difference("p.toml", "x" * 10**6, "y", then, now)
    assert max(map(len, wide)) <= 403


def test_no_control_character_of_a_plan_reaches_a_terminal() -> None:
    then, now = Plan((Unit("U1", "a"),)), Plan((Unit("U1", "b"),))
    lines = difference("p\x1b[2J\n.md", "\x1b]0;title\x07a\u202e\r", "b\x00\u2028c\x9b1m", then, now)
    assert all(line.isprintable() for line in lines)
    assert lines == (
        "U1: goal changed",
        "--- p .md (as it was begun)",
        "+++ p .md (now)",
        "@@ -1 +1,2 @@",
        "-a",
        "+b",
        "+c",
    )


names = st.sampled_from("abcdefgh")
units = st.lists(
    st.builds(
        Unit,
        names,
        names,
        st.builds(Files, modify=st.lists(names, max_size=2).map(tuple)),
        phase=st.none() | st.integers(0, 2),
        effort=st.none() | st.sampled_from(("low", "high")),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda unit: unit.id,
)
plans = st.builds(Plan, units.map(tuple), st.none() | names)


@given(plans, plans, st.text(), st.text())
def test_plans_that_mean_the_same_have_no_difference(one: Plan, other: Plan, then: str, now: str) -> None:
    assert difference("p", then, now, one, one.replace(units=(*one.units,))) == ()
    assert (difference("p", then, now, one, other) == ()) == (one == other)


@given(plans, plans)
def test_every_unit_that_is_not_what_it_was_is_named(one: Plan, other: Plan) -> None:
    lines = difference("p", "", "", one, other)
    before, after = ({unit.id: unit for unit in plan.units} for plan in (one, other))
    told = {name for line in lines for name, colon, _ in [line.partition(": ")] if colon}
    differing = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert differing <= told <= {*before, *after}
    for name in differing:
        line = next(line for line in lines if line.startswith(f"{name}: "))
        assert ("added" in line) == (name not in before) and ("removed" in line) == (name not in after)
    moved = {line.partition(":")[0] for line in lines if "moved" in line}
    still = [name for name in before if name in after and name not in moved]
    assert still == [name for name in after if name in still]
