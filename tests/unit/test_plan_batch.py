"""A plan becomes batches: the seed's own examples, and what must hold of every plan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plans import a_plan, a_unit, batches, decided, disjoint

from runner.errors import PlanInvalid
from runner.plan.overlap import meet
from runner.plan.overview import as_text
from runner.plan.units import Files, Plan, Rules, Unit
from runner.text import globs

# -- the seed's examples -----------------------------------------------------------------------------


def test_three_units_are_not_worth_it() -> None:
    decision = decided(disjoint(3))
    assert decision.decision == "not_worth"
    assert decision.reason.startswith("fewer than 5 units")
    assert decision.reason.endswith("delegates anyway, for price, preference or quota")


def test_eight_units_are_delegated_as_five_and_three() -> None:
    assert decided(disjoint(8)).decision == "delegate"
    assert batches(disjoint(8)) == ["U1 U2 U3 U4 U5", "U6 U7 U8"]


def test_all_trivial_units_are_skipped() -> None:
    decision = decided(disjoint(4, trivial=True))
    assert (decision.decision, decision.batches) == ("skip", ())
    assert [local.to_json() for local in decision.local] == [
        {"unit": f"U{n}", "reason": "trivial"} for n in range(1, 5)
    ]


@pytest.mark.parametrize("trivial", [False, True])
def test_four_units_are_one_batch_when_they_are_asked_for(trivial: bool) -> None:
    plan = disjoint(4, trivial=trivial)
    assert decided(plan, forced=True).decision == "delegate"
    assert batches(plan, forced=True) == ["U1 U2 U3 U4"]


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(1, [1]), (5, [5]), (6, [6]), (7, [5, 2]), (10, [5, 5]), (11, [5, 6]), (12, [5, 5, 2])],
)
def test_a_last_batch_of_one_unit_goes_into_the_one_before(count: int, sizes: list[int]) -> None:
    assert [len(batch.units) for batch in decided(disjoint(count)).batches] == sizes


def test_balance_makes_batches_of_about_the_same_size() -> None:
    sizes = [len(batch.units) for batch in decided(disjoint(12), balance=True).batches]
    assert sizes == [4, 4, 4]


# -- shared files ------------------------------------------------------------------------------------


def test_units_that_write_the_same_file_are_in_one_batch() -> None:
    units = [a_unit(f"U{n}", "src/one.py" if n in (1, 6) else f"src/m{n}.py") for n in range(1, 9)]
    assert batches(Plan(tuple(units)))[0] == "U1 U6 U2 U3 U4"


def test_units_that_only_read_the_same_file_are_not_kept_together() -> None:
    files = Files(read=("docs/api.md",))
    plan = Plan(tuple(Unit(f"U{n}", "g", files) for n in range(10)))
    assert [len(batch.units) for batch in decided(plan).batches] == [5, 5]


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("src/auth", "src/auth/login.py", True),
        ("src/auth", "src/authors.py", False),
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "src/lib/a.py", False),
        ("src/**/*.py", "src/lib/a.py", True),
        ("src/**", "src/lib", True),
        ("*.md", "docs/a.md", False),
        ("**/*.py", "README.md", False),
        ("**/*.py", "lib/a.py", True),
        ("src/*.py", "src/*.ts", False),
        ("src/a*", "src/*b", True),
        ("src/a*", "src/b*", False),
        ("**/x.py", "lib", True),
        ("src/[ab].py", "src/a.py", True),
        ("src/[ab].py", "src/c.py", False),
        ("lib/?.py", "lib/ab.py", False),
    ],
)
def test_folders_and_globs_that_overlap_keep_units_together(one: str, other: str, together: bool) -> None:
    apart = [a_unit(f"B{n}") for n in range(4)]
    for pair in ((one, other), (other, one)):
        plan = a_plan(a_unit("A1", pair[0]), *apart, a_unit("A2", pair[1]), a_unit("C"))
        assert ("A1 A2" in batches(plan)[0]) == together


def test_a_hub_file_keeps_nothing_together_and_is_listed() -> None:
    units = [a_unit(f"U{n}", f"src/{n}.py", "CHANGELOG.md", "src/routes.ts") for n in range(1, 13)]
    assert len(decided(Plan(tuple(units))).batches) == 3
    decision = decided(Plan(tuple(units)), hub_files=("src/routes.ts",))
    assert [len(batch.units) for batch in decision.batches] == [5, 5, 2]
    assert not any(batch.chained for batch in decision.batches)
    assert [warn.message.split()[0] for warn in decision.warnings if warn.code == "hub_file"] == [
        "CHANGELOG.md",
        "src/routes.ts",
    ]
    assert [batch.wave for batch in decision.batches] == [1, 2, 3]  # all write the hub files


def test_seven_units_on_one_file_are_one_batch_with_a_warning_that_names_it() -> None:
    decision = decided(Plan(tuple(a_unit(f"U{n}", "src/one.py") for n in range(7))))
    assert [len(batch.units) for batch in decision.batches] == [7]
    assert decision.glue_files == ("src/one.py",)
    assert [warn.code for warn in decision.warnings] == ["oversize", "hub_candidate"]


def test_twelve_units_on_one_file_are_a_chain_that_never_runs_side_by_side() -> None:
    shared = [a_unit(f"U{n}", "src/one.py") for n in range(12)]
    decision = decided(Plan((*shared, a_unit("X", "src/x.py"))))
    chain = [batch for batch in decision.batches if batch.chained]
    assert [len(batch.units) for batch in chain] == [5, 5, 2]
    waves = [batch.wave for batch in decision.batches]
    assert len({batch.wave for batch in chain}) == 3
    assert all(waves.count(batch.wave) == 1 for batch in chain)
    assert [batch.after for batch in chain] == [(), (1,), (2,)]


def test_a_chain_is_cut_where_the_fewest_files_cross() -> None:
    units = [
        a_unit(f"U{n}", f"src/{n}", f"src/{n + 1}", after=(f"U{n - 1}",) if n else ()) for n in range(10)
    ]
    extra = [
        unit.replace(files=Files(modify=(*unit.files.modify, "a" if at < 4 else "b")))
        for at, unit in enumerate(units)
    ]
    assert [len(batch.units) for batch in decided(Plan(tuple(extra[:9]))).batches] == [4, 5]


def test_oversize_can_be_kept_or_refused() -> None:
    plan = Plan(tuple(a_unit(f"U{n}", "src/one.py") for n in range(12)))
    assert [len(batch.units) for batch in decided(plan, oversize="keep").batches] == [12]
    with pytest.raises(PlanInvalid, match="12 units have to stay together") as error:
        decided(plan, oversize="error")
    assert "src/one.py" in (error.value.hint or "")


# -- models ------------------------------------------------------------------------------------------


def with_models(*models: str | None, **more: Any) -> Plan:
    return Plan(
        tuple(a_unit(f"U{n}", f"src/m{n}.py", model=name, **more) for n, name in enumerate(models, 1))
    )


def test_units_of_one_model_are_in_batches_of_their_own_and_no_last_one_goes_into_another() -> None:
    plan = with_models(None, "claude", None, "gemini", "claude", "gemini", "deep")
    assert [(" ".join(batch.units), batch.model) for batch in decided(plan).batches] == [
        ("U1 U3", None),
        ("U2 U5", "claude"),
        ("U4 U6", "gemini"),
        ("U7", "deep"),
    ]


def test_units_of_different_models_that_share_a_file_are_a_chain() -> None:
    plan = Plan(tuple(a_unit(f"U{n}", "src/a.py", model=name) for n, name in enumerate("aab", 1)))
    decision = decided(plan, oversize="error")
    assert [(batch.units, batch.chained, batch.after) for batch in decision.batches] == [
        (("U1", "U2"), True, ()),
        (("U3",), True, (1,)),
    ]
    warning, *_ = decision.warnings
    assert (warning.code, warning.units) == ("models", ("U1", "U2", "U3"))
    assert "share src/a.py and name different models, so they are batches in a row" in warning.message
    assert " model  " in as_text(decision) and " model  " not in as_text(decided(with_models(None)))


def test_a_dependency_counts_more_than_that_the_model_is_the_same() -> None:
    plan = a_plan(
        *(a_unit("A", "a.py", model="a"), a_unit("B", "b.py", model="b", after=("A",))),
        a_unit("C", "c.py", model="a", after=("B",)),
    )
    assert batches(plan) == ["A", "B", "C"]


# -- order -------------------------------------------------------------------------------------------


def test_a_cycle_that_only_shared_files_make_is_one_batch() -> None:
    plan = a_plan(
        a_unit("U1", "a"),
        a_unit("U2", "b", after=("U1",)),
        a_unit("U3", "a", after=("U2",)),
        a_unit("U4", "d"),
    )
    assert batches(plan, soft_cap=2) == ["U1 U2 U3", "U4"]


def test_a_batch_prefers_to_end_with_its_phase() -> None:
    units = [a_unit(f"U{n}", f"src/{n}", phase="build" if n < 3 else "ship") for n in range(8)]
    assert [len(batch.units) for batch in decided(Plan(tuple(units))).batches] == [3, 5]


def test_phases_are_ordered_by_number_and_else_by_their_place() -> None:
    units = [a_unit(f"U{n}", f"src/{n}", phase=9 - n) for n in range(6)]
    assert batches(Plan(tuple(units)), soft_cap=10) == ["U5 U4 U3 U2 U1 U0"]
    units = [a_unit("B", "b", phase="build"), a_unit("S", "s", phase="ship"), a_unit("C", "c", phase="build")]
    assert batches(Plan(tuple(units))) == ["B C S"]


def test_units_in_a_batch_are_in_the_order_of_their_dependencies() -> None:
    assert batches(a_plan(a_unit("U1", "a", after=("U2",)), a_unit("U2", "b"))) == ["U2 U1"]


# -- what is not delegated ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/etc/hosts", "../other/a.py", "src/../../a", "~/notes"])
def test_a_unit_with_a_path_outside_is_not_delegated(path: str) -> None:
    decision = decided(Plan((a_unit("Out", path), *disjoint(5).units)))
    assert [local.to_json() for local in decision.local] == [{"unit": "Out", "reason": "outside_repo"}]
    assert "outside_repo" in [warn.code for warn in decision.warnings]
    assert decision.verdict.units == 5


def test_what_waits_for_a_unit_that_is_not_delegated_is_in_a_later_batch_than_what_that_waits_for() -> None:
    plan = a_plan(
        a_unit("A", "a"),
        a_unit("Out", "/x", after=("A",)),
        a_unit("B", "b", after=("Out",)),
        a_unit("C", "c"),
    )
    assert batches(plan, forced=True) == ["A", "B C"]
    first, second = decided(plan, forced=True).batches
    assert first.wave < second.wave and second.after == (1,)


def test_units_that_share_files_around_one_that_is_not_delegated_are_not_delegated_either() -> None:
    plan = a_plan(a_unit("A", "a"), a_unit("Out", "/x", after=("A",)), a_unit("B", "a", after=("Out",)))
    decision = decided(plan)
    assert {local.unit: local.reason for local in decision.local} == {
        "A": "tied_to_local",
        "Out": "outside_repo",
        "B": "tied_to_local",
    }
    assert decision.decision == "skip"


def test_trivial_units_can_stay_local() -> None:
    plan = Plan((*disjoint(5).units, a_unit("T", "t", trivial=True)))
    assert decided(plan).local == ()
    assert [local.unit for local in decided(plan, trivial="local").local] == ["T"]


# -- what must hold of every plan ---------------------------------------------------------------------

PATHS = st.sampled_from(
    [*(f"src/{n}.py" for n in range(12)), "src", "src/lib", "src/lib/a.py", "src/*.py", "**/a.py", "docs/*"]
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    count = draw(st.integers(1, 24))
    units = []
    for n in range(count):
        earlier = [f"U{at}" for at in range(n)]
        after = draw(st.lists(st.sampled_from(earlier), max_size=2, unique=True)) if earlier else []
        written = draw(st.lists(PATHS, max_size=2, unique=True))
        outside = ["/x"] if draw(st.integers(0, 11)) == 0 else []
        units.append(
            a_unit(
                f"U{n}",
                after=tuple(after),
                files=Files(modify=tuple(written + outside), read=tuple(draw(st.lists(PATHS, max_size=1)))),
                phase=draw(st.sampled_from([None, 1, 2, "late"])),
                model=draw(st.sampled_from([None, "one", "two"])),
                trivial=draw(st.booleans()),
            )
        )
    return Plan(tuple(draw(st.permutations(units))))


RULES = st.builds(
    lambda **given: Rules(**given),
    soft_cap=st.integers(1, 6),
    hard_cap=st.integers(1, 9),
    balance=st.booleans(),
    oversize=st.sampled_from(["chain", "keep"]),
    trivial=st.sampled_from(["keep", "local"]),
    forced=st.booleans(),
    max_parallel=st.integers(1, 3),
)


def overlapping(plan: Plan) -> Iterator[tuple[str, str]]:
    """Ids of units that both write a path, by the slow and plain way."""
    for one in plan.units:
        for other in plan.units:
            paths = ((a, b) for a in one.files.modify for b in other.files.modify)
            if one.id < other.id and any(
                a == b or globs.matches(a, b) or globs.matches(b, a) for a, b in paths
            ):
                yield one.id, other.id


@settings(max_examples=40)
@given(plans(), RULES)
def test_every_unit_is_in_exactly_one_batch_or_not_delegated(plan: Plan, rules: Rules) -> None:
    decision = decided(plan, **rules.to_json() | {"economics": rules.economics})
    named = [name for batch in decision.batches for name in batch.units] + [
        one.unit for one in decision.local
    ]
    assert sorted(named) == sorted(unit.id for unit in plan.units)
    assert [batch.n for batch in decision.batches] == list(range(1, len(decision.batches) + 1))
    assert all(batch.units for batch in decision.batches)
    models = {unit.id: unit.model for unit in plan.units}
    assert all({models[name] for name in batch.units} == {batch.model} for batch in decision.batches)


@settings(max_examples=40)
@given(plans(), RULES)
def test_no_batch_splits_a_shared_file_unless_as_a_chain(plan: Plan, rules: Rules) -> None:
    decision = decided(plan, **rules.to_json() | {"economics": rules.economics})
    batch = {name: batch for batch in decision.batches for name in batch.units}
    for one, other in overlapping(plan):
        if one in batch and other in batch and batch[one].n != batch[other].n:
            assert batch[one].chained and batch[other].chained and batch[one].wave != batch[other].wave


@settings(max_examples=40)
@given(plans(), RULES)
def test_every_dependency_lies_in_the_same_batch_or_before(plan: Plan, rules: Rules) -> None:
    decision = decided(plan, **rules.to_json() | {"economics": rules.economics})
    place = {name: (batch.n, at) for batch in decision.batches for at, name in enumerate(batch.units)}
    wave = {batch.n: batch.wave for batch in decision.batches}
    needs = {unit.id: unit.depends_on for unit in plan.units}

    def before(name: str) -> Iterator[tuple[str, bool]]:
        """What is delegated before it, and whether somebody else has to do something in between."""
        for other in needs[name]:
            if other in place:
                yield other, False
            else:
                yield from ((further, True) for further, _ in before(other))

    for name in place:
        for other, between in before(name):
            assert place[other] < place[name]
            assert not between or place[other][0] < place[name][0]
            assert place[other][0] == place[name][0] or wave[place[other][0]] < wave[place[name][0]]


@settings(max_examples=40)
@given(plans(), RULES)
def test_batches_of_one_wave_write_nothing_that_the_others_write_or_read(plan: Plan, rules: Rules) -> None:
    decision = decided(plan, **rules.to_json() | {"economics": rules.economics})
    reads = {unit.id: unit.files.read for unit in plan.units}
    for one in decision.batches:
        assert sum(other.wave == one.wave for other in decision.batches) <= (
            rules.max_parallel if rules.max_parallel > 1 else 4
        )
        for other in decision.batches:
            if one.n != other.n and one.wave == other.wave:
                assert not set(one.files) & {*other.files, *(p for name in other.units for p in reads[name])}


@settings(max_examples=40)
@given(plans(), RULES)
def test_the_batches_add_up_to_the_verdict(plan: Plan, rules: Rules) -> None:
    decision = decided(plan, **rules.to_json() | {"economics": rules.economics})
    verdict = decision.verdict
    if decision.batches:
        assert rules.economics.fixed + sum(b.est_tokens for b in decision.batches) == verdict.net_tokens
    assert sum(batch.est_seconds for batch in decision.batches) == verdict.seconds


SEGMENT = st.sampled_from(["a", "b", "ab", "*", "a*", "*b", "?", "[ab]", "**"])
PATTERN = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)
NAMES = st.lists(st.sampled_from(["a", "b", "ab", "ba"]), min_size=1, max_size=5).map("/".join)


@given(PATTERN, PATTERN, NAMES)
def test_patterns_that_cover_one_path_are_said_to_meet(one: str, other: str, path: str) -> None:
    if globs.matches(one, path) and globs.matches(other, path):
        assert meet(one, other)


def test_too_many_globs_count_as_their_folders_and_are_named() -> None:
    units = [a_unit(f"U{n}", f"src/**/{n}-*.py", f"lib/{n}.py") for n in range(300)]
    decision = decided(Plan(tuple(units)))
    coarse = [warn for warn in decision.warnings if warn.code == "coarse_glob"]
    assert len(coarse) == 1 and "more count as the whole folder" in coarse[0].message
    assert sum(len(batch.units) for batch in decision.batches) == 300


CODE = """
import json, sys
from runner.plan import load
from runner.plan.batch import decide
print(json.dumps(decide(load.load(sys.argv[1])).to_json()))
"""


def test_the_same_file_gives_the_same_bytes_whatever_the_hash_seed(tmp_path) -> None:
    lines = ["schema_version = 1"]
    for n in range(40):
        lines += ["[[units]]", f'id = "U{n}"', 'goal = "g"', f'files = ["src/{n % 13}", "lib/*{n % 7}.py"]']
        lines += [f'depends_on = ["U{n // 2}"]' if n > 1 else "", f'phase = "p{n % 3}"']
    file = tmp_path / "plan.toml"
    file.write_text("\n".join(lines))
    told = {
        subprocess.run(
            [sys.executable, "-c", CODE, str(file)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(told) == 1
    assert json.loads(told.pop())["batches"]


def test_a_chain_of_ten_thousand_units_needs_no_recursion() -> None:
    units = [a_unit(f"U{n}", f"src/{n}", after=(f"U{n - 1}",) if n else ()) for n in range(10_000)]
    assert len(decided(Plan(tuple(units))).batches) == 2000
