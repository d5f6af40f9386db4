"""The conductor as a program: what its lines mean, how it ended, and that no task can name it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import program

from runner import runtimes
from runner.errors import ConfigInvalid
from runner.model import Level, Outcome, Reason, RuntimeSettings, Sandbox
from runner.runtimes.base import Activity, CommandRequest, End, Kind
from runner.runtimes.plan import ENDED, PROGRESS, RUNTIME
from runner.supervise.ending import _with_way_on

NO_END = End(0, None, None, None, None, True, "")
DONE = NO_END.replace(turn=Kind.TURN_COMPLETED, last_message="all of it")
LEFT = NO_END.replace(exit_code=1, turn=Kind.TURN_FAILED, failure="batches_left: left: U3\n`again` goes on")


def test_a_line_of_progress_is_told_as_it_is() -> None:
    text = "batch 1 of 2: U1 started\nas x"
    assert RUNTIME.reader()({"type": PROGRESS, "text": text}) == (Activity(Kind.PROGRESS, text),)


def test_the_last_line_is_the_message_and_how_it_ended() -> None:
    line = {"type": ENDED, "code": "batches_left", "message": "left: U3", "hint": "go on", "text": "1 of 2"}
    assert RUNTIME.reader()(line) == (
        Activity(Kind.MESSAGE, "1 of 2"),
        Activity(Kind.TURN_FAILED, "batches_left: left: U3\ngo on"),
    )
    assert RUNTIME.reader()({**line, "code": "completed"})[1] == Activity(Kind.TURN_COMPLETED)


@pytest.mark.parametrize("line", [{}, {"type": None}, {"type": "later"}, {"type": [PROGRESS]}, {"text": "x"}])
def test_any_other_line_is_nothing(line: dict[str, Any]) -> None:
    assert RUNTIME.reader()(line) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(("type", "code", "message", "hint", "text"))


@given(st.sampled_from((PROGRESS, ENDED, "x")), st.dictionaries(KEYS, JSON))
def test_whatever_a_line_says_it_has_texts_and_an_end_that_is_no_success(kind: str, line: Any) -> None:
    found = RUNTIME.reader()({**line, "type": kind})
    assert all(isinstance(one.text, str) for one in found)
    if kind == ENDED and line.get("code") != "completed":
        outcome, reason = RUNTIME.conclude(LEFT.replace(failure=found[-1].text))
        assert outcome is Outcome.FAILED and isinstance(reason.message, str)
        json.dumps(reason.to_json())


# -- how it ended --------------------------------------------------------------------------------------


def test_every_batch_done_and_status_0_are_a_success() -> None:
    outcome, reason = RUNTIME.conclude(DONE)
    assert (outcome, reason.code) == (Outcome.SUCCEEDED, "completed")
    assert RUNTIME.conclude(DONE.replace(exit_code=None))[0] is Outcome.SUCCEEDED  # nobody saw the status


def test_what_it_says_at_its_end_is_the_reason() -> None:
    outcome, reason = RUNTIME.conclude(LEFT)
    assert outcome is Outcome.FAILED
    assert (reason.code, reason.message, reason.hint) == ("batches_left", "left: U3", "`again` goes on")


def test_an_end_without_a_hint_has_none() -> None:
    assert RUNTIME.conclude(LEFT.replace(failure="x_y: z\n"))[1].hint is None


@pytest.mark.parametrize("end", [DONE, LEFT, NO_END], ids=["done", "left", "no last line"])
@pytest.mark.parametrize(
    ("code", "signal", "name"), [(None, 9, "SIGKILL"), (None, 15, "SIGTERM"), (130, None, "SIGINT")]
)
def test_a_conductor_that_was_killed_has_not_ended_by_itself(
    end: End, code: int | None, signal: int | None, name: str
) -> None:
    outcome, reason = RUNTIME.conclude(end.replace(exit_code=code, signal=signal))
    assert (outcome, reason.code) == (Outcome.FAILED, "killed") and name in reason.message


@pytest.mark.parametrize("status", [0, 1, 2, 70])
def test_without_a_last_line_it_has_failed_whatever_its_status_is(status: int) -> None:
    outcome, reason = RUNTIME.conclude(
        NO_END.replace(exit_code=status, stderr_tail="Traceback\nKeyError: 'x'")
    )
    assert (outcome, reason.code) == (Outcome.FAILED, "cli_failure")
    assert f"status {status}" in reason.message and reason.hint == "start it again"
    assert "KeyError: 'x'" in (reason.detail or "")


def test_without_a_last_line_and_a_status_nobody_knows_its_end() -> None:
    outcome, reason = RUNTIME.conclude(NO_END.replace(exit_code=None))
    assert (outcome, reason.code) == (Outcome.LOST, "lost")


def test_a_status_against_its_own_word_is_a_failure() -> None:
    assert RUNTIME.conclude(DONE.replace(exit_code=1))[0] is Outcome.FAILED
    assert RUNTIME.conclude(LEFT.replace(exit_code=0))[0] is Outcome.FAILED


# -- a program of our own ------------------------------------------------------------------------------


def test_it_can_be_had_by_name_and_is_none_of_those_that_a_task_can_have() -> None:
    assert runtimes.get("plan") is RUNTIME
    assert runtimes.PLAN not in runtimes.NAMES
    with pytest.raises(ConfigInvalid) as refused:
        runtimes.get("plans")
    assert "plan" not in (refused.value.hint or "").split(": ")[1].split(", ")


def test_no_task_can_be_run_by_it() -> None:
    settings = RuntimeSettings("plan", "plan", None, (), {}, None)
    sandbox = Sandbox("look", Level.READ_ONLY)
    with pytest.raises(ConfigInvalid, match="no task can be run by the conductor") as refused:
        RUNTIME.command(
            CommandRequest(program(), settings, None, sandbox, "/repo", "/repo/last.md", skills=True)
        )
    assert "--plan" in (refused.value.hint or "")


def test_it_has_no_login_no_secrets_and_nothing_of_its_own_to_look_at() -> None:
    settings = RuntimeSettings("plan", "plan", None, (), {}, None)
    nothing = (
        RUNTIME.login_check(program()),
        RUNTIME.mcp_check(program()),
        RUNTIME.own_config({}),
        RUNTIME.sandbox_check(program(), Level.READ_ONLY),
        RUNTIME.provider(settings, None),
        RUNTIME.stored_key(settings, None, {}),
        RUNTIME.session_record({}),
    )
    assert {*nothing} == {None}
    assert RUNTIME.secret_env(settings, None) == RUNTIME.session_folders({}, "x") == ()


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        (None, "`WAY` goes on with it"),
        ("see `dmesg`", "see `dmesg`; `WAY` goes on with it"),
        ("check its output, then start it again", "check its output, then `WAY` goes on with it"),
        ("correct that; then `runner start --plan p --resume` continues", None),
    ],
)
@pytest.mark.parametrize(
    ("file", "way"),
    [("pipeline work", "--pipeline work"), ("a plan.toml", "--plan 'a plan.toml' --task work")],
)
def test_whoever_killed_a_conductor_is_told_how_its_plan_is_resumed(
    hint: str | None, told: str | None, file: str, way: str
) -> None:
    reason = Reason("killed", "it was", hint)
    now = _with_way_on(reason, {"file": file, "left": ["a"]}, "work")
    assert now.hint == (told or hint or "").replace("WAY", f"runner start {way} --resume")
    assert _with_way_on(reason, {"file": file, "left": []}, "work") == reason
