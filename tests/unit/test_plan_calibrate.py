"""The economics fitted again: the line, and what is said where there is none."""

from __future__ import annotations

import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from runner.errors import Conflict, ExitStatus
from runner.model import Delegate, Economics
from runner.plan.calibrate import MOST, Sample, fit, line
from runner.plan.units import Rules, rules_of

SIZES = st.lists(st.integers(1, 1000), min_size=3, max_size=30)
AMOUNT = st.integers(0, MOST)
POINTS = st.lists(st.tuples(st.integers(1, 100), st.integers(0, 10**6)), min_size=3, max_size=20)


def samples(*points: tuple[int, int], seconds: float | None = None) -> list[Sample]:
    return [Sample(units, tokens, seconds) for units, tokens in points]


def squares(points: list[tuple[int, int]], batch: float, unit: float) -> float:
    return sum((tokens - batch - unit * units) ** 2 for units, tokens in points)


@given(SIZES, AMOUNT, AMOUNT)
def test_tokens_that_lie_on_a_line_give_exactly_this_line(sizes: list[int], batch: int, unit: int) -> None:
    assume(len(set(sizes)) > 1)
    found = fit(samples(*((size, batch + unit * size) for size in sizes)), Economics())

    assert found.economics == Economics(Economics().fixed, batch, unit)
    assert (found.runs, found.sizes) == (len(sizes), (min(sizes), max(sizes)))
    assert (found.residual_tokens, found.warnings) == (0, ())


@given(POINTS)
def test_no_other_line_that_falls_nowhere_below_zero_fits_better(points: list[tuple[int, int]]) -> None:
    assume(len({units for units, _ in points}) > 1)
    found = line(points)
    best = squares(points, found.batch, found.unit)
    pick = random.Random(1)

    assert found.batch >= 0 and found.unit >= 0
    for step in (1.0, 100.0, 10_000.0):
        for _ in range(20):
            batch = max(0.0, found.batch + pick.uniform(-step, step))
            unit = max(0.0, found.unit + pick.uniform(-step, step))
            assert squares(points, batch, unit) >= best * (1 - 1e-9) - 1e-3


@given(POINTS)
def test_no_run_is_further_off_than_the_residual(points: list[tuple[int, int]]) -> None:
    assume(len({units for units, _ in points}) > 1)
    found = line(points)

    assert all(
        abs(tokens - found.batch - found.unit * units) <= found.residual + 1e-6 for units, tokens in points
    )


@given(POINTS)
def test_the_order_of_the_runs_does_not_matter(points: list[tuple[int, int]]) -> None:
    assume(len({units for units, _ in points}) > 1)

    assert fit(samples(*points), Economics()) == fit(samples(*reversed(points)), Economics())


def test_the_numbers_are_those_of_least_squares() -> None:
    found = fit(samples((1, 9_000), (2, 12_000), (3, 18_000), (4, 21_000)), Economics())

    assert found.economics == Economics(15_300, 4_500, 4_200)
    assert found.residual_tokens == 900


def test_what_is_fixed_is_kept_as_it_was() -> None:
    found = fit(samples((1, 2), (2, 3), (3, 4)), Economics(7, 8, 9))

    assert (found.before, found.economics) == (Economics(7, 8, 9), Economics(7, 1, 1))


def test_a_slope_below_zero_is_set_to_zero_with_a_warning() -> None:
    found = fit(samples((1, 300), (2, 200), (3, 100)), Economics())

    assert (found.economics.batch, found.economics.unit) == (200, 0)
    (warning,) = found.warnings
    assert warning.code == "clamped" and "`unit` came out below 0" in warning.message


def test_an_intercept_below_zero_is_set_to_zero_with_a_warning() -> None:
    found = fit(samples((1, 0), (2, 100), (3, 200)), Economics())

    assert (found.economics.batch, found.economics.unit) == (0, round(800 / 14))
    (warning,) = found.warnings
    assert warning.code == "clamped" and "`batch` came out below 0" in warning.message


def test_a_number_that_the_settings_would_not_take_is_not_given() -> None:
    found = fit(samples((1, 2 * MOST), (2, 4 * MOST), (3, 6 * MOST)), Economics())

    assert found.economics.unit == MOST
    assert "above 1,000,000,000" in found.warnings[0].message


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ((), (0, 0)),
        (((1, 5), (2, 6)), (2, 2)),
        (((4, 5), (4, 6), (4, 7)), (3, 1)),
    ],
)
def test_too_few_runs_are_an_error_that_says_how_many_are_needed(
    points: tuple[tuple[int, int], ...], told: tuple[int, int]
) -> None:
    with pytest.raises(Conflict) as error:
        fit(samples(*points), Economics())

    assert error.value.exit_status is ExitStatus.CONFLICT
    assert f"runs of batches: {told[0]}, and at least 3 are needed" in error.value.message
    assert f"units in them: {told[1]}, and at least 2 are needed" in error.value.message


def test_the_time_is_fitted_where_enough_runs_tell_theirs() -> None:
    points = [(1, 10), (2, 20), (3, 30)]
    timed = [Sample(units, tokens, 100.0 + 40 * units) for units, tokens in points]
    found = fit(timed, Economics()).seconds

    assert found is not None and (found.batch, found.unit, found.residual) == (100.0, 40.0, 0.0)
    assert fit([*timed[:2], *samples((3, 30))], Economics()).seconds is None
    same = [Sample(2, 5, 9.0), Sample(2, 5, 9.0), Sample(2, 5, 9.0), *samples((3, 30))]
    assert fit(same, Economics()).seconds is None


# -- settings -> rules ---------------------------------------------------------------------------------


def test_the_rules_are_what_the_settings_say() -> None:
    chosen = Delegate(soft_cap=3, trivial="local", hub_files=("a",), max_parallel=2, commit=True)
    rules = rules_of(chosen, Economics(1, 2, 3), forced=True)

    assert {name: getattr(rules, name) for name in vars(chosen)} == vars(chosen)
    assert (rules.economics, rules.forced, rules.widest_wave) == (Economics(1, 2, 3), True, 2)


def test_where_nothing_runs_side_by_side_a_wave_shows_what_may() -> None:
    rules = rules_of(Delegate(), Economics(), forced=False)

    assert rules == Rules()
    assert (rules.max_parallel, rules.widest_wave) == (1, 4)
