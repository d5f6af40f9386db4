"""Economics, effort, joined commands, graphs: the parts of a decision."""

from __future__ import annotations

import json
from graphlib import CycleError, TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.plans import a_unit, decided, disjoint

from runner.model import Economics
from runner.plan import economics
from runner.plan.checks import joined
from runner.plan.effort import of_batch, of_unit
from runner.plan.graph import cycles, ordered, strong
from runner.plan.overview import as_text
from runner.plan.units import EFFORTS, Files, normal_path
from runner.text import globs

# -- economics -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4, 7, 10])
def test_the_tokens_are_those_of_the_three_terms(count: int) -> None:
    given_ = Economics(fixed=1000, batch=200, unit=30)
    verdict = decided(disjoint(count), economics=given_).verdict
    assert verdict.net_tokens == 1000 + 200 * verdict.batches - 30 * count


@pytest.mark.parametrize(("count", "net"), [(1, 16_000), (4, 4_800), (7, -1_900), (10, -13_100)])
def test_the_defaults_give_the_fitted_rows_of_the_measurements(count: int, net: int) -> None:
    assert decided(disjoint(count)).verdict.net_tokens == pytest.approx(net, abs=500)


@pytest.mark.parametrize(
    ("count", "decision"),
    [(4, "not_worth"), (5, "break_even"), (7, "break_even"), (8, "delegate"), (30, "delegate")],
)
def test_the_verdict_goes_by_the_number_of_units(count: int, decision: str) -> None:
    assert decided(disjoint(count)).decision == decision


def test_many_small_batches_are_not_worth_it() -> None:
    decision = decided(disjoint(20), soft_cap=1)
    assert decision.verdict.net_tokens > 0
    assert decision.decision == "not_worth"


def test_a_difference_below_a_tenth_of_the_whole_is_within_noise() -> None:
    assert decided(disjoint(7)).verdict.within_noise
    assert "within noise" in decided(disjoint(7)).reason
    assert not decided(disjoint(10)).verdict.within_noise
    assert not decided(disjoint(1)).verdict.within_noise


def test_the_time_is_that_of_the_measurements() -> None:
    for count, measured in ((4, 353), (7, 569), (10, 574)):
        assert economics.delegated_seconds(count) == pytest.approx(measured, rel=0.15)
    assert "1.7 to 2.2 times" in as_text(decided(disjoint(8)))


# -- effort --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "more", "effort"),
    [
        (["README.md"], {}, "default"),
        (["src/a.py"], {"trivial": True}, "default"),
        (["src/a.py"], {}, "medium"),
        ([], {}, "medium"),
        (["src/auth/login.py"], {}, "high"),
        (["src/authors.py"], {}, "medium"),
        (["db/migrations/1.sql"], {}, "high"),
        (["src/payment_form.ts"], {}, "high"),
        ([f"src/{n}" for n in range(8)], {}, "high"),
        (["src/a.py"], {"risk": ("external",)}, "high"),
        (["src/a.py"], {"risk": ("auth", "payments")}, "xhigh"),
        (["src/a.py"], {"risk": ("architecture",)}, "xhigh"),
        (["src/auth.py"], {"effort": "low"}, "low"),
    ],
)
def test_a_unit_without_an_effort_gets_one_from_what_it_touches(files, more, effort) -> None:
    assert of_unit(a_unit("U", files=Files(modify=tuple(files)), **more)) == effort


@pytest.mark.parametrize(
    ("picks", "floor", "effort"),
    [
        (["default"], None, None),
        (["default"], "high", "high"),
        (["default"], "low", "medium"),
        (["default"], "minimal", "medium"),
        (["minimal"], "low", "low"),
        (["high"], "low", "high"),
        (["minimal", "default"], None, None),
        (["low", "medium", "xhigh"], None, "xhigh"),
    ],
)
def test_a_batch_gets_the_highest_effort_and_at_least_the_floor(picks, floor, effort) -> None:
    units = [a_unit(f"U{n}", effort=pick) for n, pick in enumerate(picks)]
    assert of_batch(units, floor) == effort


@given(st.lists(st.sampled_from(EFFORTS), min_size=1), st.sampled_from([None, *EFFORTS]))
def test_the_word_default_never_comes_out(picks: list[str], floor: str | None) -> None:
    floor = None if floor == "default" else floor
    assert of_batch([a_unit("U", effort=pick) for pick in picks], floor) != "default"


# -- verify commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (["pytest -q a", "pytest -q b", "pytest -q a"], ["pytest -q a b"]),
        (["python -m pytest a", "ruff check", "python -m pytest b"], ["python -m pytest a b", "ruff check"]),
        (["pytest a", "pytest"], ["pytest"]),
        (["pytest", "pytest a"], ["pytest"]),
        (["pytest a", "pytest -q b"], ["pytest a", "pytest -q b"]),
        (["pytest a -k x", "pytest b -k x"], ["pytest a -k x", "pytest b -k x"]),
        (["pytest -k x a", "pytest -k y b"], ["pytest -k x a", "pytest -k y b"]),
        (["make a", "make b"], ["make a", "make b"]),
        (["make", "make"], ["make"]),
    ],
)
def test_commands_of_one_runner_become_one(commands: list[str], expected: list[str]) -> None:
    assert joined(tuple(one.split()) for one in commands) == tuple(tuple(one.split()) for one in expected)


# -- graphs --------------------------------------------------------------------------------------------

GRAPHS = st.integers(1, 9).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, n - 1), max_size=3), min_size=n, max_size=n)
)


def reached(edges: list[list[int]], start: int) -> set[int]:
    seen: set[int] = set()
    queue = [start]
    while queue:
        for target in edges[queue.pop()]:
            if target not in seen:
                seen.add(target)
                queue.append(target)
    return seen


@given(GRAPHS)
def test_strongly_connected_nodes_are_those_that_reach_each_other(edges: list[list[int]]) -> None:
    part = strong(edges)
    far = [reached(edges, node) | {node} for node in range(len(edges))]
    for one in range(len(edges)):
        same = [other for other in range(len(edges)) if other in far[one] and one in far[other]]
        assert part[one] == min(same)


@given(GRAPHS)
def test_a_cycle_is_told_for_every_part_that_has_one(edges: list[list[int]]) -> None:
    found = cycles(edges)
    for way in found:
        assert all(after in edges[node] for node, after in zip(way, [*way[1:], way[0]], strict=True))
    try:
        order = list(TopologicalSorter(dict(enumerate(edges))).static_order())
    except CycleError:
        assert found
    else:
        assert not found and sorted(order) == sorted(ordered(edges, range(len(edges))))


# -- paths ---------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["a", "b.py", ".", "", "*", ".git"]), min_size=1, max_size=5).map("/".join))
def test_a_path_in_its_one_form_means_the_same(path: str) -> None:
    normal = normal_path(path)
    assert normal_path(normal) == normal
    if not path.startswith("/") and normal and "*" not in path:
        for name in ("a", "a/b.py", ".git/x", "b.py"):
            assert globs.matches(path, name) == globs.matches(normal, name)


# -- for people ----------------------------------------------------------------------------------------


def test_the_text_has_a_row_for_every_batch_and_a_line_for_every_wave() -> None:
    text = as_text(decided(disjoint(24)))
    assert text.startswith("delegate: 24 units in 5 batches cost about")
    assert "wave 1  [1]   [2]   [3]   [4]\n" in text
    assert "wave 2  [5]\n" in text
    assert text.count("U24") == 1


def test_the_json_has_the_keys_of_the_contract_and_no_others() -> None:
    shown = json.loads(json.dumps(decided(disjoint(8)).to_json()))
    assert list(shown) == [
        *("decision", "reason", "verdict", "batches", "local", "warnings", "glue_files"),
    ]
    assert list(shown["verdict"]) == ["units", "batches", "net_tokens", "within_noise", "seconds"]
    assert list(shown["batches"][0]) == [
        *("n", "units", "files", "effort", "verify", "chained", "wave", "est_tokens", "est_seconds"),
        "model",
    ]
