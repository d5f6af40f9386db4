"""How far a plan is, for people: also where somebody else has written what stands in the manifest."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import a_manifest

from runner.cli.pen import cleaned
from runner.cli.plan_status import plan_text
from runner.cli.render import manifest_text
from runner.model import Lineage, Reason
from runner.state.plan_ledger import Breaker, PlanLedger, Step, StepKind

RUN = Lineage(
    "work", "20261120T101504438Z-50151d5c", ".runs/work/cli/20261120T101504438Z-50151d5c/manifest.json"
)
STEPS = (
    Step(1, ("U1", "U2")),
    Step(2, ("U3",)),
    Step(3, ("U4",), (2,)),
    Step(4, ("U5",), local=("L1",)),
    Step(5, ("U6",)),
    Step(6, ("U7",)),
)
LEDGER = (
    PlanLedger("plan.toml", "Shop", STEPS, Breaker(3), ("L1",))
    .began(1, RUN)
    .succeeded(1, changed=("a", "b"), outside=("b", "c", "d", "e"), commit="0123456789abcdef" * 2)
    .began(2, RUN)
    .failed(2, Reason("verify_failed", "`pytest` failed\nwith 1"))
    .began(5, RUN)
)


def test_every_batch_has_a_line_with_what_became_of_it() -> None:
    assert plan_text(LEDGER.shown()).splitlines() == [
        "plan.toml: 1 of 6 batches done",
        f"   1  U1, U2  succeeded    {RUN.run_id}  commit 0123456789ab  also changed b, c, d",
        f"   2  U3      failed       {RUN.run_id}  verify_failed: `pytest` failed with 1",
        "   3  U4      blocked      waits for 2",
        "   4  U5      blocked      waits for L1",
        f"   5  U6      running      {RUN.run_id}",
        "   6  U7      waiting",
        "breaker: closed, 1 of 3 failures in a row",
        "left: U3, U4, U5, U6, U7",
        "not delegated: L1",
    ]
    assert "   5  U6      interrupted  " in plan_text(LEDGER.shown(is_over=True))


def test_its_batches_are_called_by_their_short_names() -> None:
    lines = plan_text(LEDGER.shown(), lambda run_id: run_id[20:24]).splitlines()
    assert lines[1].startswith(f"   1  U1, U2  succeeded    {RUN.run_id[20:24]}  commit ")
    assert RUN.run_id not in "".join(lines)


def test_the_breaker_says_why_nothing_more_begins() -> None:
    one = PlanLedger("plan.toml", None, STEPS[:1], Breaker(1)).began(1, RUN)
    opened = one.failed(1, Reason("partial", "only a part is done"))
    assert "breaker: open, 1 of 1 failures in a row" in plan_text(opened.shown())
    parked = one.parked(1, Reason("auth_or_quota", "not logged in\n401"))
    assert "breaker: parked, auth_or_quota: not logged in 401" in plan_text(parked.shown()).splitlines()


def test_steps_of_a_pipeline_are_named_where_others_wait_for_them() -> None:
    command = f"gate: {'pytest tests ' * 7}"
    steps = (
        Step(1, (), stage="duo", kind=StepKind.SYNTHESIS, title="synthesis", task="join"),
        Step(2, (), (1,), stage="duo", kind=StepKind.GATE, title=command, is_last=True),
        Step(3, (), (1,), stage="then", kind=StepKind.TASK, title="look", task="look"),
    )
    ledger = PlanLedger("pipeline p", None, steps, Breaker(3), stages=("duo", "then"))
    text = plan_text(ledger.failed(1, Reason("synthesis_rejected", "A1 is gone")).shown())
    assert text.startswith("pipeline p: 0 of 2 stages passed\n")
    assert f"blocked      {command.strip()}  waits for synthesis\n" in text
    assert "blocked      look  waits for duo: synthesis\n" in text
    one = PlanLedger("pipeline p", None, (), Breaker(3), stages=("duo",))
    assert plan_text(one.shown()).startswith("pipeline p: 0 of 1 stage passed\n")


def test_a_plan_that_is_done_lists_nothing_as_left() -> None:
    done = PlanLedger("plan.toml", None, STEPS[:1], Breaker(1)).began(1, RUN).succeeded(1, changed=())
    shown = done.again(RUN).shown()
    assert plan_text(shown).splitlines()[2:] == [
        "breaker: closed, 0 of 1 failures in a row",
        f"continues {RUN.manifest_path}",
    ]


def test_a_reason_without_words_is_its_code() -> None:
    """That of a run that is gone: nobody knows more of it."""
    lost = PlanLedger("plan.toml", None, STEPS[:1], Breaker(1)).began(1, RUN).parked(1, Reason("lost", ""))
    lines = plan_text(lost.shown()).splitlines()
    assert lines[1].endswith("  lost") and lines[2] == "breaker: parked, lost"


def test_what_is_long_is_cut_and_what_has_lines_is_one() -> None:
    units = tuple(f"a-rather-long-name-{n}" for n in range(9))
    long = PlanLedger("plan.toml", None, (Step(1, units), Step(2, ("U",))), Breaker(3)).began(1, RUN)
    long = long.failed(1, Reason("verify_failed", "x" * 5000)).began(2, RUN)
    long = long.succeeded(2, changed=("a\nleft: nothing",), outside=("a\nleft: nothing",))
    lines = plan_text(long.shown()).splitlines()
    assert len(lines) == 5 and max(map(len, lines[:4])) < 250
    assert lines[1].startswith("   1  a-rather-long-name-0, a-rather-long-n...  failed ")
    assert lines[2].startswith(f"   2  U{' ' * 39}  succeeded ")
    assert lines[2].endswith("also changed a left: nothing")


def test_columns_are_as_wide_as_the_longest_line_of_units_needs() -> None:
    for line in plan_text(LEDGER.shown()).splitlines()[1:7]:
        assert re.match(r" {3}\d  .{6}  \w+", line)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_there_is_colour_on_a_terminal_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = plan_text(LEDGER.shown())
    assert "\x1b" not in plain
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal())
    coloured = cleaned(plan_text(LEDGER.shown()))
    assert "\x1b[32msucceeded  \x1b[0m" in coloured and "\x1b[31mfailed     \x1b[0m" in coloured
    bare = re.sub(r"\x1b\[\d+m", "", coloured)
    assert [line.rstrip() for line in bare.splitlines()] == plain.splitlines()


def test_the_status_of_a_run_shows_the_plan_that_it_carries_out() -> None:
    text = manifest_text(a_manifest(plan=LEDGER.shown()))
    assert "plan      plan.toml: 1 of 6 batches done\n" in text
    assert f"\n{' ' * 10}left: U3, U4, U5, U6, U7\n" in text
    assert "of 6 batches" not in manifest_text(a_manifest())


# -- what nobody of us has written ---------------------------------------------------------------------

BATCH = LEDGER.shown()["batches"][0]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def forged(draw: st.DrawFn) -> dict[str, Any]:
    plan = LEDGER.shown()
    place = draw(st.sampled_from([plan, plan["breaker"], *plan["batches"]]))
    key = draw(st.sampled_from(sorted(place)))
    if draw(st.booleans()):
        place[key] = draw(JSON)
    else:
        del place[key]
    return plan


@given(st.dictionaries(st.text(max_size=5), JSON) | forged())
def test_whatever_stands_there_is_shown_or_said_to_be_unreadable(plan: dict[str, Any]) -> None:
    assert plan_text(plan)


@pytest.mark.parametrize(
    "plan",
    [
        {"batches": []},
        LEDGER.shown() | {"batches": None},
        LEDGER.shown() | {"batches": [None]},
        LEDGER.shown() | {"breaker": []},
        LEDGER.shown() | {"left": [1]},
        LEDGER.shown() | {"local": 7},
        LEDGER.shown() | {"batches": [BATCH | {"status": []}]},
        LEDGER.shown() | {"batches": [BATCH | {"units": "U1", "n": {}}]},
        LEDGER.shown() | {"batches": [BATCH | {"reason": {"code": "x"}}]},
        LEDGER.shown() | {"batches": [BATCH | {"reason": "x"}]},
        LEDGER.shown() | {"batches": [BATCH | {"commit": 7}]},
    ],
    ids=range(11),
)
def test_a_plan_that_cannot_be_read_is_said_to_be_so(plan: dict[str, Any]) -> None:
    assert plan_text(plan) == "cannot be read"
    assert "plan      cannot be read" in manifest_text(a_manifest(plan=plan))
