"""How far a plan is: the algebra of its ledger, over random plans and whatever happens to their batches."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.model import Lineage, Reason
from runner.state.plan_ledger import Breaker, PlanLedger, Status, Step, StepKind
from runner.value import Value

OVER = (Status.SUCCEEDED, Status.DONE)
STOPPED = (Status.FAILED, Status.PARKED)
WHY = Reason("verify_failed", "`pytest` failed")
PARKING = (Reason("auth_or_quota", "not logged in"), Reason("lost", "it is gone"))
LOCAL = ("L1", "L2")
NAMES = st.sampled_from(("a.py", "b.py", "line\nbreak", "half \udcff", "ünder"))
PATHS = st.lists(NAMES, max_size=3)
PROPERTY = settings(max_examples=40)
ENDS = ("succeeded", "failed", "parked", "refused", "waits")


class Move(Value):
    """What happens to a plan: `n` is the batch, where it is about one."""

    kind: str
    n: int = 0
    limit: int | None = None
    reset: bool = False
    done: tuple[str, ...] = ()
    why: Reason = PARKING[0]
    """What parks it."""


class Told(Value):
    """A move, and the ledger before and after it."""

    move: Move
    before: PlanLedger
    after: PlanLedger


def run_of(n: int) -> Lineage:
    run = f"20261120T101504438Z-{n:08x}"
    return Lineage("work", run, f".runs/work/cli/{run}/manifest.json")


@st.composite
def plans(draw: st.DrawFn) -> PlanLedger:
    """A plan that nobody has begun: batches wait for batches before them, and for units of nobody."""
    steps = []
    for n in range(1, draw(st.integers(1, 6)) + 1):
        after = draw(st.lists(st.integers(1, n - 1), unique=True, max_size=3)) if n > 1 else []
        units = tuple(f"U{n}.{at}" for at in range(draw(st.integers(1, 2))))
        local = draw(st.lists(st.sampled_from(LOCAL), unique=True)) if draw(st.integers(0, 3)) == 0 else []
        steps.append(Step(n, units, tuple(sorted(after)), tuple(sorted(local)), draw(st.integers(1, 3))))
    title = draw(st.sampled_from((None, "Shop", "half \udcff")))
    return PlanLedger("plan.toml", title, tuple(steps), Breaker(draw(st.integers(1, 3))), LOCAL)


@st.composite
def lives(draw: st.DrawFn) -> list[Told]:
    """What became of a plan, one move after the other; nothing begins that may not."""
    ledger, told = draw(plans()), []
    for _ in range(draw(st.integers(1, 20))):
        move = draw(moves(ledger))
        after = moved(draw, ledger, move)
        told.append(Told(move, ledger, after))
        ledger = after
    return told


@st.composite
def moves(draw: st.DrawFn, ledger: PlanLedger) -> Move:
    ready = [step.n for step in ledger.runnable()]
    running = [step.n for step in ledger.steps if step.status is Status.RUNNING]
    kinds = ["stops", "again", *(["began"] * 6 if ready else []), *(ENDS * 2 if running else ())]
    kind = draw(st.sampled_from(kinds))
    if kind == "again":
        units = [(unit,) for unit in LOCAL] + [step.units[at:] for step in ledger.steps for at in (0, -1)]
        done = {unit for one in draw(st.lists(st.sampled_from(units), max_size=2)) for unit in one}
        limit = draw(st.sampled_from((None, 1, 2, 3)))
        return Move(kind, limit=limit, reset=draw(st.booleans()), done=tuple(sorted(done)))
    n = 0 if kind == "stops" else draw(st.sampled_from(ready if kind == "began" else running))
    return Move(kind, n, why=draw(st.sampled_from(PARKING)))


def moved(draw: st.DrawFn, ledger: PlanLedger, move: Move) -> PlanLedger:
    n = move.n
    match move.kind:
        case "began":
            return ledger.began(n, run_of(n))
        case "succeeded":
            return ledger.succeeded(n, changed=draw(PATHS), outside=draw(PATHS), commit="0" * 40)
        case "failed":
            return ledger.failed(n, WHY, kept=draw(PATHS))
        case "parked":
            return ledger.parked(n, move.why, kept=draw(PATHS))
        case "refused":
            return ledger.refused(n, move.why)
        case "waits":
            return ledger.waits(n, kept=draw(PATHS))
        case "stops":
            return ledger.stops(move.why)
        case _:
            return ledger.again(run_of(0), done=move.done, reset=move.reset, limit=move.limit)


def stands_in_the_way(ledger: PlanLedger, n: int) -> bool:
    """Read from the words: it stopped, or it waits for what will not come."""
    step = ledger.steps[n - 1]
    if step.status is not Status.WAITING:
        return step.status in STOPPED
    lacks = any(unit not in ledger.done for unit in step.local)
    return lacks or any(stands_in_the_way(ledger, other) for other in step.after)


# -- the breaker -------------------------------------------------------------------------------------


@PROPERTY
@given(lives())
def test_the_breaker_opens_with_the_last_of_so_many_failures_in_a_row(life: list[Told]) -> None:
    in_a_row, is_open, limit = 0, False, life[0].before.breaker.limit
    for told in life:
        if told.move.kind == "failed":
            in_a_row += 1
            is_open = is_open or in_a_row >= limit
        elif told.move.kind == "succeeded":
            in_a_row = 0
        elif told.move.kind == "again":
            limit = told.move.limit or limit
            in_a_row, is_open = (0, False) if told.move.reset else (in_a_row, is_open)
        breaker = told.after.breaker
        assert (breaker.failures, breaker.is_open, breaker.limit) == (in_a_row, is_open, limit)


@PROPERTY
@given(lives())
def test_what_parks_a_plan_stands_until_it_is_gone_on_with(life: list[Told]) -> None:
    for told in life:
        parks = told.move.kind in ("parked", "refused", "stops")
        was, now = told.before.breaker.parked, told.after.breaker.parked
        expected = was or told.move.why if parks else was  # what came first is told
        assert now == (None if told.move.kind == "again" else expected)


@PROPERTY
@given(lives())
def test_nothing_may_begin_once_the_breaker_is_open_or_the_plan_is_parked(life: list[Told]) -> None:
    for told in life:
        if told.after.breaker.is_open or told.after.breaker.parked is not None:
            assert told.after.runnable() == () and not told.after.breaker.lets_through


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_so_many_failures_in_a_row_and_not_one_less_open_the_breaker(limit: int) -> None:
    steps = tuple(Step(n, (f"U{n}",)) for n in range(1, limit + 2))
    ledger = PlanLedger("plan.toml", None, steps, Breaker(limit))
    for n in range(1, limit + 1):
        assert [step.n for step in ledger.runnable()] == [*range(n, limit + 2)]
        ledger = ledger.began(n, run_of(n)).failed(n, WHY)
    assert ledger.breaker == Breaker(limit, limit, True)
    assert ledger.again(run_of(0)).runnable() == ledger.again(run_of(0), limit=99).runnable() == ()
    assert ledger.again(run_of(0), reset=True).breaker == Breaker(limit)
    assert len(ledger.again(run_of(0), reset=True).runnable()) == limit + 1


def test_batches_that_were_running_when_the_breaker_opened_do_not_close_it() -> None:
    ledger = PlanLedger("plan.toml", None, (Step(1, ("U1",)), Step(2, ("U2",))), Breaker(1))
    ledger = ledger.began(1, run_of(1)).began(2, run_of(2)).failed(1, WHY).succeeded(2, changed=())
    assert ledger.breaker == Breaker(1, 0, True)
    assert ledger.shown()["breaker"] == {"limit": 1, "failures": 0, "open": True, "parked": None}


# -- what may begin ----------------------------------------------------------------------------------


@PROPERTY
@given(lives())
def test_a_batch_may_begin_exactly_when_all_that_it_waits_for_is_done(life: list[Told]) -> None:
    for told in life:
        ledger = told.after
        over = {step.n for step in ledger.steps if step.status in OVER}
        ready = [
            step.n
            for step in ledger.steps
            if step.status is Status.WAITING
            and {*step.after} <= over
            and {*step.local} <= {*ledger.done}
            and ledger.breaker.lets_through
        ]
        assert [step.n for step in ledger.runnable()] == ready


@PROPERTY
@given(lives())
def test_no_batch_whose_units_a_person_has_done_begins(life: list[Told]) -> None:
    for told in life:
        assert all({*step.units} - {*told.after.done} for step in told.after.runnable())


@PROPERTY
@given(lives())
def test_where_nothing_runs_and_nothing_may_begin_every_batch_that_is_left_says_why(life: list[Told]) -> None:
    for told in life:
        ledger = told.after
        runs = any(step.status is Status.RUNNING for step in ledger.steps)
        if runs or ledger.runnable() or not ledger.breaker.lets_through:
            continue
        words = {one["status"] for one in ledger.shown()["batches"]}
        assert words <= {"succeeded", "done", "failed", "parked", "blocked"}
        assert ledger.is_complete == (words <= {"succeeded", "done"})


# -- what is done, what is left ------------------------------------------------------------------------


@PROPERTY
@given(lives())
def test_every_unit_is_either_left_or_done(life: list[Told]) -> None:
    for told in life:
        ledger = told.after
        over = {unit for step in ledger.steps if step.status in OVER for unit in step.units}
        every = [unit for step in ledger.steps for unit in step.units]
        assert [*ledger.left] == [unit for unit in every if unit not in over | {*ledger.done}]
        assert not ledger.is_complete or ledger.left == ()


@PROPERTY
@given(lives())
def test_what_is_done_stays_done_and_what_a_person_did_is_not_forgotten(life: list[Told]) -> None:
    for told in life:
        for was, now in zip(told.before.steps, told.after.steps, strict=True):
            assert was.status not in OVER or now == was
        assert [*told.after.done] == [*dict.fromkeys((*told.before.done, *told.move.done))]
        assert told.after.shown()["local"] == [unit for unit in LOCAL if unit not in told.after.done]


@PROPERTY
@given(lives())
def test_a_move_is_about_its_batch_alone_and_only_going_on_is_about_all(life: list[Told]) -> None:
    for told in life:
        changed = [was.n for was, now in zip(told.before.steps, told.after.steps, strict=True) if was != now]
        assert told.move.kind == "again" or {*changed} <= {told.move.n}
        for was, now in zip(told.before.steps, told.after.steps, strict=True):
            same = {name: getattr(was, name) for name in ("n", "units", "after", "local", "wave")}
            assert now == now.replace(**same)


@PROPERTY
@given(lives())
def test_only_tries_that_became_runs_are_counted(life: list[Told]) -> None:
    tries = dict.fromkeys((step.n for step in life[0].before.steps), 0)
    for told in life:
        if told.move.kind in ("began", "refused"):
            tries[told.move.n] += 1 if told.move.kind == "began" else -1
        assert {step.n: step.tries for step in told.after.steps} == tries


@PROPERTY
@given(lives())
def test_what_tries_have_left_is_known_until_one_succeeds(life: list[Told]) -> None:
    for told in life:
        for was, now in zip(told.before.steps, told.after.steps, strict=True):
            assert {*was.kept} <= {*now.kept} or (now.status is Status.SUCCEEDED and now.kept == ())
            assert [*now.kept] == sorted({*now.kept}) and [*now.changed] == sorted({*now.changed})


@PROPERTY
@given(lives())
def test_going_on_lets_all_be_tried_again_that_stopped(life: list[Told]) -> None:
    for was, now in pairwise([life[0].before, *(told.after for told in life)]):
        if now.resumed_from is None or was.resumed_from is now.resumed_from:
            continue
        assert not [step for step in now.steps if step.status in STOPPED]
        for step in now.steps:
            is_done = {*step.units} <= {*now.done}
            assert step.status is not Status.WAITING or not is_done
            assert step.status is not Status.DONE or is_done


@pytest.mark.parametrize("kept", [(), ("a.py",)])
def test_a_batch_that_came_to_nothing_and_that_a_person_did_meanwhile_is_done(kept: tuple[str, ...]) -> None:
    ledger = PlanLedger("plan.toml", None, (Step(1, ("U1", "U2")), Step(2, ("U3",), (1,))), Breaker(3))
    ledger = ledger.began(1, run_of(1)).again(run_of(0), done=("U1", "U2"))
    assert ledger.step(1).status is Status.RUNNING  # its run is asked first
    ledger = ledger.waits(1, kept=kept)
    assert (ledger.step(1).status, ledger.step(1).kept) == (Status.DONE, kept)
    assert [step.n for step in ledger.runnable()] == [2]
    half = ledger.replace(done=("U1",)).began(2, run_of(2)).waits(2)
    assert half.step(2).status is Status.WAITING


# -- what is owed --------------------------------------------------------------------------------------


def test_a_plan_whose_batches_are_done_and_were_not_seen_to_pass_together_is_not_complete() -> None:
    ledger = PlanLedger("plan.toml", None, (Step(1, ("U1",)), Step(2, ("U2",))), Breaker(3))
    for n in (1, 2):
        ledger = ledger.began(n, run_of(n)).succeeded(n, changed=())
    assert ledger.is_complete and ledger.left == ()
    owed = ledger.replace(together=(1, 2)).stops(WHY)
    assert not owed.is_complete and owed.left == () and owed.runnable() == ()
    again = owed.again(run_of(0))
    assert (again.together, again.is_complete, again.breaker.parked) == ((1, 2), False, None)
    assert owed.again(run_of(0), reset=True, done=("U1", "U2")).together == (1, 2), "nobody can say it away"
    assert PlanLedger.from_json(json.loads(json.dumps(again.to_json()))) == again
    assert again.replace(together=()).is_complete


@pytest.mark.parametrize("together", [[0], [3], [-1], [1.0], ["1"], [True], [None], 1, None, [[1]]], ids=str)
def test_what_is_owed_together_is_of_batches_that_there_are(together: object) -> None:
    assert PlanLedger.from_json({**ONE, "together": [1, 2]}).together == (1, 2)
    with pytest.raises(ValueError, match=r"."):
        PlanLedger.from_json({**ONE, "together": together})


# -- what is shown -------------------------------------------------------------------------------------


@PROPERTY
@given(lives())
def test_what_stands_in_the_way_is_told_over_as_many_batches_as_there_are(life: list[Told]) -> None:
    for told in life:
        for step in told.after.steps:
            expected = tuple(n for n in step.after if stands_in_the_way(told.after, n))
            assert told.after.blocking(step) == expected


@PROPERTY
@given(lives())
def test_a_batch_is_shown_with_the_batches_and_units_that_it_waits_for(life: list[Told]) -> None:
    for told in life:
        shown = told.after.shown()
        for step, one in zip(told.after.steps, shown["batches"], strict=True):
            is_blocked = step.status is Status.WAITING and stands_in_the_way(told.after, step.n)
            assert one["status"] == ("blocked" if is_blocked else step.status)
            waits = [n for n in step.after if stands_in_the_way(told.after, n)]
            lacks = [unit for unit in step.local if unit not in told.after.done]
            assert one["waits_for"] == ([*waits, *lacks] if is_blocked else [])
            assert (one["run_id"] is None) == (step.run is None) == (one["manifest_path"] is None)
        assert shown["left"] == [*told.after.left]


@PROPERTY
@given(lives())
def test_a_plan_whose_conductor_has_ended_shows_no_batch_as_running(life: list[Told]) -> None:
    for told in life:
        now, over = (told.after.shown(is_over=is_over)["batches"] for is_over in (False, True))
        changed = [{**one, "status": "interrupted"} if one["status"] == "running" else one for one in now]
        assert over == changed
        running = [step.n for step in told.after.steps if step.status is Status.RUNNING]
        assert [one["n"] for one in now if one["status"] == "running"] == running


def test_a_stage_that_was_at_work_when_its_pipeline_ended_is_interrupted() -> None:
    """With what ran and whoever was asked; what it waits for goes on waiting."""
    run = Step(1, (), stage="a", kind=StepKind.TASK, title="look")
    asked = Step(2, (), stage="b", kind=StepKind.PERSON, title="docs/prd.md", is_last=True)
    ledger = PlanLedger("pipeline p", None, (run, asked), Breaker(3), stages=("a", "b", "c"))
    ledger = ledger.began(1, run_of(1)).asking(2, "L-1")
    for is_over, steps, stages in (
        (False, ["running", "asked"], ["running", "running", "waiting"]),
        (True, ["interrupted", "interrupted"], ["interrupted", "interrupted", "waiting"]),
    ):
        shown = ledger.shown(is_over=is_over)
        assert [one["status"] for one in shown["batches"]] == steps
        assert [one["status"] for one in shown["stages"]] == stages
    assert ledger.called((1, 2)) == "a: look, b: docs/prd.md"


# -- on disk -------------------------------------------------------------------------------------------


@PROPERTY
@given(lives())
def test_a_ledger_comes_back_from_the_disk_as_it_was(life: list[Told]) -> None:
    for told in life:
        assert PlanLedger.from_json(json.loads(json.dumps(told.after.to_json()))) == told.after


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def every_place(data: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all that is inside."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [found for key, value in inner for found in ((*way, key), *every_place(value, (*way, key)))]


@st.composite
def broken(draw: st.DrawFn) -> Any:
    """What was a ledger, with something in it gone or of any other kind."""
    data = json.loads(json.dumps(draw(lives())[-1].after.to_json()))
    for _ in range(draw(st.integers(1, 2))):
        *way, key = draw(st.sampled_from(every_place(data)))
        inner = data
        for part in way:
            inner = inner[part]
        if draw(st.booleans()):
            inner[key] = draw(JSON)
        else:
            del inner[key]
    return data


@given(JSON | broken())
def test_whatever_lies_there_is_a_ledger_that_can_be_used_or_a_value_error(data: Any) -> None:
    try:
        ledger = PlanLedger.from_json(data)
    except ValueError:
        return
    assert PlanLedger.from_json(json.loads(json.dumps(ledger.to_json()))) == ledger
    ledger.again(run_of(0), done=ledger.left).runnable()
    json.dumps(ledger.shown(is_over=True))


ONE = PlanLedger("p", None, (Step(1, ("U1",)), Step(2, ("U2",), (1,))), Breaker(3)).to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"after": [2]},
        {"after": [3]},
        {"after": [0]},
        {"after": [-1]},
        {"after": [True]},
        {"after": ["1"]},
        {"after": 1},
        {"n": 1},
        {"n": 2.5},
        {"n": "2"},
        {"tries": True},
        {"tries": -1},
        {"tries": 1.5},
        {"wave": None},
        {"units": "U2"},
        {"units": [2]},
        {"units": {"U2": 1}},
        {"status": "asleep"},
        {"status": []},
        {"status": None},
        {"run": "20261120T101504438Z-50151d5c"},
        {"run": {"task_id": "a"}},
        {"why": {"code": "x", "message": None}},
        {"why": []},
        {"commit": 7},
        {"changed": None},
        {"kept": [None]},
    ],
    ids=str,
)
def test_a_batch_that_says_something_impossible_is_a_value_error(change: dict[str, Any]) -> None:
    assert PlanLedger.from_json(ONE).steps[1].after == (1,)
    with pytest.raises(ValueError, match=r"."):
        PlanLedger.from_json({**ONE, "steps": [ONE["steps"][0], {**ONE["steps"][1], **change}]})


def test_two_batches_that_wait_for_each_other_are_a_value_error() -> None:
    first, second = ONE["steps"]
    with pytest.raises(ValueError, match="batch 1 waits for one that is not before it"):
        PlanLedger.from_json({**ONE, "steps": [{**first, "after": [2]}, second]})


@pytest.mark.parametrize("key", ["file", "title", "steps", "breaker"])
def test_no_part_of_a_ledger_may_lack(key: str) -> None:
    with pytest.raises(ValueError, match=f"`{key}`: missing"):
        PlanLedger.from_json({name: value for name, value in ONE.items() if name != key})


@pytest.mark.parametrize("value", [None, 0, 1, "false", [], {}])
def test_a_breaker_of_which_nobody_can_tell_whether_it_is_open_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match=r"`breaker\.is_open`: found .*; expected true or false"):
        PlanLedger.from_json({**ONE, "breaker": {**ONE["breaker"], "is_open": value}})
