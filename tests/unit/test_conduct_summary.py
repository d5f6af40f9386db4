"""What a plan came to, in words, and on its way through the lines of the conductor."""

from __future__ import annotations

import json
import os
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.cli.app import arguments
from runner.conduct.summary import Ended, ended
from runner.model import Lineage, Outcome, Reason
from runner.runtimes.base import Activity, End, Kind
from runner.runtimes.plan import ENDED, RUNTIME
from runner.state.plan_ledger import Breaker, PlanLedger, Step, StepKind

RUN = Lineage(
    "work", "20261120T101504438Z-50151d5c", ".runs/work/cli/20261120T101504438Z-50151d5c/manifest.json"
)
STEPS = (
    Step(1, ("U1", "U2")),
    Step(2, ("U3",)),
    Step(3, ("U4",), (1, 2)),
    Step(4, ("U5",), local=("L1", "L2")),
    Step(5, ("U6",)),
)
PLAN = PlanLedger("my plan.toml", "Shop", STEPS, Breaker(3), ("L1", "L2"), done=("L2",))
WHY = Reason("verify_failed", "`pytest` failed")


def run(ledger: PlanLedger, n: int) -> PlanLedger:
    return ledger.began(n, RUN)


def test_a_plan_of_which_nothing_is_left_is_completed() -> None:
    ledger = PLAN.replace(local=())
    for n in range(1, 6):
        ledger = run(ledger, n).succeeded(n, changed=())
    assert ended(ledger, "work") == Ended(
        "completed", "nothing is left", None, "5 of 5 batches done: nothing is left"
    )


def test_units_that_nobody_was_to_do_are_named_and_hold_up_nothing() -> None:
    one = run(PLAN.replace(steps=STEPS[:1]), 1).succeeded(1, changed=())
    end = ended(one, "work")
    assert (end.code, end.text) == (
        "completed",
        "1 of 1 batch done: nothing is left\nnot delegated, left to you: L1",
    )


def test_what_is_left_is_told_with_the_reason_of_every_batch() -> None:
    ledger = run(PLAN, 1).succeeded(1, changed=())
    ledger = run(run(ledger, 2).failed(2, WHY), 5)
    end = ended(ledger, "work")
    assert (end.code, end.message) == ("batches_left", "left: U3, U4, U5, U6")
    assert end.text.splitlines() == [
        "1 of 5 batches done: left: U3, U4, U5, U6",
        f"- batch 2 (U3): failed, verify_failed: `pytest` failed (run {RUN.run_id})",
        "- batch 3 (U4): waits for batch 2",
        "- batch 4 (U5): waits for L1, not delegated",
        "- batch 5 (U6): running",
        "not delegated, left to you: L1",
    ]


def test_the_end_of_a_pipeline_says_which_step_is_in_the_way_and_what_a_person_can_do() -> None:
    steps = (
        Step(1, (), stage="duo", kind=StepKind.COMPARE, title="b", task="audit"),
        Step(2, (), stage="duo", kind=StepKind.REVIEW, title="look", task="look", turn=2),
        Step(3, (), (2,), stage="duo", kind=StepKind.GATE, title="gate"),
    )
    ledger = PlanLedger("pipeline p", None, steps, Breaker(3), stages=("duo",))
    parked = ended(ledger.parked(1, Reason("auth_or_quota", "API Error: 529")), "p")
    assert parked.message == "duo: b (audit): API Error: 529"
    assert ended(ledger.parked(2, WHY), "p").message == "duo: look, round 2: `pytest` failed"
    for code, hint in (
        ("no_progress", "repair it yourself; then `runner start --pipeline p --resume` looks again"),
        ("plan_invalid", "mend the plan; then `runner start --pipeline p --resume` asks you about it"),
        ("verify_failed", "`runner start --pipeline p --resume` tries the rest"),
    ):
        assert ended(ledger.not_passed(3, Reason(code, "1 finding")), "p").hint == hint


def test_several_batches_in_the_way_are_all_named() -> None:
    ledger = run(run(PLAN, 1).failed(1, WHY), 2).failed(2, WHY)
    assert "- batch 3 (U4): waits for batches 1, 2" in ended(ledger, "work").text


def test_an_open_breaker_is_told_before_anything_else() -> None:
    ledger = PLAN.replace(breaker=Breaker(2))
    ledger = run(run(run(ledger, 1).failed(1, WHY), 2).failed(2, WHY), 5).parked(5, Reason("lost", "gone"))
    end = ended(ledger, "work")
    assert (end.code, end.message) == (
        "breaker_open",
        "2 batches in a row have failed; left: U1, U2, U3, U4, U5, U6",
    )
    assert "--reset-breaker" in (end.hint or "")


def test_a_parked_plan_has_the_code_of_what_parked_it() -> None:
    ledger = run(PLAN, 1).parked(1, Reason("auth_or_quota", "not\nlogged\tin"))
    end = ended(ledger, "work")
    assert (end.code, end.message) == ("auth_or_quota", "not logged in")
    assert "--reset-breaker" not in (end.hint or "")


def test_a_batch_that_never_became_a_run_names_none() -> None:
    ledger = run(PLAN, 1).refused(1, Reason("runtime_missing", "no codex"))
    assert "- batch 1 (U1, U2): parked, runtime_missing: no codex\n" in ended(ledger, "work").text
    assert "- batch 2 (U3): not started\n" in ended(ledger, "work").text


WAYS = {
    "left": run(PLAN, 1).failed(1, WHY),
    "open": run(PLAN.replace(breaker=Breaker(1)), 1).failed(1, WHY),
    "parked": PLAN.stops(Reason("commit_refused", "the branch has moved")),
}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("file", ["plan.toml", "my plan.md", "it's `odd`; $HOME", "/elsewhere/plan.md", "-x"])
def test_the_way_on_is_a_command_that_can_be_typed(name: str, file: str) -> None:
    hint = ended(WAYS[name].replace(file=file), "work").hint or ""
    start = hint.index("runner start")
    stop = hint.index(" --resume", start) + len(" --resume")
    words = shlex.split(hint[start:stop] + " --reset-breaker" * ("--reset-breaker" in hint))
    args = arguments("start", words[2:])
    assert os.path.normpath(args.plan) == file
    assert (args.task, args.resume, args.reset_breaker) == ("work", True, name == "open")


# -- through the conductor's stdout --------------------------------------------------------------------


def concluded(record: dict[str, Any], exit_code: int = 1) -> tuple[Outcome, Reason, str]:
    """What the supervisor makes of a last line, and the message of the run."""
    said, turn = RUNTIME.reader()(json.loads(json.dumps(record)))
    end = End(exit_code, None, turn.kind, turn.text, said.text, True, "")
    outcome, reason = RUNTIME.conclude(end)
    return outcome, reason, said.text


@pytest.mark.parametrize("name", WAYS)
def test_the_end_of_a_plan_reaches_its_run_as_it_was_said(name: str) -> None:
    end = ended(WAYS[name], "work")
    outcome, reason, text = concluded({"type": ENDED, **end.to_json()})
    assert outcome is Outcome.FAILED
    assert (reason.code, reason.message, reason.hint, text) == (end.code, end.message, end.hint, end.text)


@given(st.text(min_size=1, max_size=40), st.text(alphabet="ab: \n\r\u2028\x85\x0b", max_size=12))
def test_whatever_words_park_a_plan_its_reason_is_one_line(file: str, message: str) -> None:
    end = ended(PLAN.replace(file=file).stops(Reason("not_ready", message)), "work")
    assert len(end.message.splitlines()) <= 1
    _, reason, _ = concluded({"type": ENDED, **end.to_json()})
    assert (reason.code, reason.message, reason.hint) == ("not_ready", end.message, end.hint)


def test_a_plan_that_is_done_is_a_success() -> None:
    one = run(PLAN.replace(steps=STEPS[:1]), 1).succeeded(1, changed=())
    end = ended(one, "work")
    said, turn = RUNTIME.reader()({"type": ENDED, **end.to_json()})
    assert (said, turn) == (Activity(Kind.MESSAGE, end.text), Activity(Kind.TURN_COMPLETED))
    done = End(0, None, turn.kind, None, said.text, True, "")
    assert RUNTIME.conclude(done)[0] is Outcome.SUCCEEDED
