"""The manifest: JSON in both directions, what an event does to it, and the samples of old versions."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import a_manifest, an_identity, an_invocation

from runner.conformance import Agreement, Conformance, Conformity
from runner.errors import IllegalTransition, ManifestNewer
from runner.invocation import Invocation, Rehearsal
from runner.model import Identity, Level, Lineage, Outcome, Phase, Price, Reason, Usage
from runner.state.lifecycle import FINAL_EVENTS, Event
from runner.state.manifest import (
    Attempt,
    DelegationDeclared,
    Manifest,
    RuntimeFound,
    SandboxDeclared,
    Survivor,
    Workspace,
    advance,
    first,
    parse_timestamp,
    timestamp,
)

SAMPLE = Path(__file__).parents[1] / "data" / "manifest-v1.json"

TEXTS = "task_id run_id manifest_path repo config_digest prompt_digest"
MAYBE_TEXTS = "title model reasoning_effort thread_id last_message last_activity"

text = st.text(max_size=20)
maybe_text = st.none() | text
count = st.none() | st.integers(0, 2**40)
times = st.floats(0, 4e9).map(timestamp)
identities = st.builds(Identity, text, text, st.integers(1, 2**22), st.integers(0, 2**63 - 1))
lineages = st.builds(Lineage, text, text, text)
usages = st.builds(Usage, count, count, count, count)
attempts = st.builds(
    Attempt,
    n=st.integers(1, 99),
    process=st.none() | identities,
    started_at=st.none() | times,
    ended_at=st.none() | times,
    exit_code=count,
    signal=count,
    how=st.sampled_from(["first", "resume", "fresh", "closing"]),
    argv=st.none() | st.lists(text, max_size=2).map(tuple),
    prompt=text,
    stdout_from=st.integers(0, 2**40),
    stderr_from=st.integers(0, 2**40),
    thread_id=maybe_text,
    usage=st.none() | usages,
    reason=maybe_text,
    counts=st.booleans(),
)
compared = st.builds(Conformity, maybe_text, maybe_text, st.sampled_from(tuple(Agreement)))
manifests = st.builds(
    Manifest,
    schema_version=st.just(1),
    phase=st.sampled_from(tuple(Phase)),
    outcome=st.none() | st.sampled_from(tuple(Outcome)),
    reason=st.none() | st.builds(Reason, text, text, maybe_text, maybe_text),
    rehearsal=st.booleans(),
    parent=st.none() | lineages,
    children=st.lists(lineages, max_size=2).map(tuple),
    runtime=st.builds(RuntimeFound, text, text, text),
    sandbox=st.builds(SandboxDeclared, text, st.sampled_from(tuple(Level)), st.booleans()),
    delegation=st.builds(DelegationDeclared, st.booleans(), text, st.lists(text, max_size=2).map(tuple)),
    attempt=st.integers(0, 99),
    attempts=st.lists(attempts, max_size=2).map(tuple),
    process=st.none() | identities,
    supervisor=st.none() | identities,
    paused_seconds=st.floats(0, 1e9),
    exit_code=count,
    signal=count,
    survivors=st.lists(
        st.builds(Survivor, st.integers(1, 2**22), st.integers(0, 2**40), text), max_size=2
    ).map(tuple),
    usage=usages,
    questions_open=st.integers(0, 9999),
    artifacts=st.dictionaries(text, text, max_size=2),
    workspace=st.none() | st.builds(Workspace, text, text, maybe_text),
    conformance=st.none() | st.builds(Conformance, compared, compared, compared, compared),
    retry_of=st.none() | lineages,
    created_at=times,
    updated_at=times,
    **dict.fromkeys(("started_at", "paused_at", "ended_at"), st.none() | times),
    **dict.fromkeys(TEXTS.split(), text),
    **dict.fromkeys(MAYBE_TEXTS.split(), maybe_text),
)


@given(manifests)
def test_a_manifest_comes_back_from_its_json(manifest: Manifest) -> None:
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest


@given(
    st.booleans(),
    st.none() | st.builds(Rehearsal, maybe_text, st.integers(0, 65535), st.just(("x", "y"))),
    text,
)
def test_an_invocation_comes_back_from_its_json_and_its_prompt(
    child: bool, rehearsal: Rehearsal | None, prompt: str
) -> None:
    parent = Lineage("a", "b", "c") if child else None
    invocation = an_invocation(parent=parent, rehearsal=rehearsal, prompt=prompt)
    data = json.loads(json.dumps(invocation.to_json()))
    assert "prompt" not in data
    assert Invocation.from_json(data, prompt) == invocation


LATER = {
    "workspace": None,
    "conformance": None,
    "retry_of": None,
    "plan": None,
    "cgroup": None,
    "suspended_seconds": 0.0,
    "paused_uptime": None,
    "proof": None,
    "login_shell_loses": [],
    "failed_before": None,
    "sessions": [],
    "price": None,
    "open": False,
    "turns": 0,
    "messages_queued": 0,
    "waiting_seconds": 0.0,
    "waiting_uptime": None,
    "continues": None,
    "context": None,
    "engine": None,
}
LATER_OF_AN_ATTEMPT = {
    "how": "first",
    "argv": None,
    "prompt": "prompt.md",
    "stdout_from": 0,
    "stderr_from": 0,
    "thread_id": None,
    "usage": None,
    "usage_before": None,
    "cost": None,
    "reason": None,
    "counts": False,
    "tree": None,
    "failed_check": None,
    "messages": [],
}
"""What the sample of version 1 does not have yet, and what it is then. Never put it into the sample."""


def test_the_sample_of_version_1_stays_readable_and_later_fields_get_their_defaults() -> None:
    data = json.loads(SAMPLE.read_text(encoding="utf-8"))
    manifest = Manifest.from_json(data)
    nobody = {"namespace": None}
    attempts = [
        attempt | LATER_OF_AN_ATTEMPT | {"process": attempt["process"] | nobody}
        for attempt in data["attempts"]
    ]
    processes = {name: data[name] | nobody for name in ("process", "supervisor")}
    sandbox = data["sandbox"] | {"isolation": None, "hosts": [], "deny_read": []}
    assert manifest.to_json() == data | LATER | {"sandbox": sandbox, "attempts": attempts} | processes
    assert list(manifest.to_json()) == [*data, *LATER]
    assert list(manifest.attempts[0].to_json()) == [*data["attempts"][0], *LATER_OF_AN_ATTEMPT]
    assert manifest.status == "timed_out"
    assert manifest.attempts[1].signal == 2
    assert manifest.survivors == (Survivor(811, 245100, "node"),)


def test_a_newer_schema_version_is_refused_by_name() -> None:
    data = json.loads(SAMPLE.read_text(encoding="utf-8")) | {"schema_version": 2, "whatever": 1}
    with pytest.raises(ManifestNewer, match="schema_version 2 is newer"):
        Manifest.from_json(data)


def test_unknown_keys_are_passed_over_and_late_ones_may_lack() -> None:
    data = a_manifest().to_json() | {"added_later": True}
    del data["questions_open"], data["paused_seconds"], data["last_activity"]
    manifest = Manifest.from_json(data)
    assert (manifest.questions_open, manifest.paused_seconds, manifest.last_activity) == (0, 0.0, None)


@pytest.mark.parametrize(
    "name", ["schema_version", "phase", "runtime", "sandbox", "usage", "process", "artifacts"]
)
def test_what_is_no_manifest_is_a_value_error_that_names_the_place(name: str) -> None:
    data = a_manifest().to_json()
    for broken in ({k: v for k, v in data.items() if k != name}, data | {name: "wrong"}):
        with pytest.raises(ValueError, match=f"`{name}`: (missing|found 'wrong'; expected)"):
            Manifest.from_json(broken)


@pytest.mark.parametrize("name", Usage._fields)
def test_no_manifest_has_spent_less_than_nothing(name: str) -> None:
    data = a_manifest().to_json()
    with pytest.raises(ValueError, match=f"`usage.{name}`: found -1; expected a whole number from 0 on"):
        Manifest.from_json(data | {"usage": data["usage"] | {name: -1}})


@pytest.mark.parametrize("name", Price._fields)
def test_no_manifest_has_a_price_below_nothing(name: str) -> None:
    given = {"input": 0, "cached": 0.5, "output": 2}
    assert Manifest.from_json(a_manifest().to_json() | {"price": given}).price == Price(0, 0.5, 2)
    with pytest.raises(
        ValueError, match=f"`price.{name}`: found -0.5; expected a number that is not below 0"
    ):
        Manifest.from_json(a_manifest().to_json() | {"price": given | {name: -0.5}})


def test_the_first_manifest_claims_nothing() -> None:
    invocation = an_invocation()
    manifest = first(invocation, {"prompt": "prompt.md"})
    assert (manifest.phase, manifest.status, manifest.outcome) == (Phase.QUEUED, "queued", None)
    assert manifest.process is manifest.supervisor is manifest.started_at is manifest.exit_code is None
    assert manifest.usage == Usage()
    assert manifest.attempts == manifest.survivors == manifest.children == ()


def a_running() -> Manifest:
    return advance(advance(a_manifest(), Event.LAUNCHED, attempt=1), Event.STARTED, process=an_identity())


def test_advance_notes_when_the_run_started_paused_and_ended() -> None:
    running = a_running()
    assert (running.phase, running.attempt) == (Phase.RUNNING, 1)
    assert running.started_at == running.updated_at
    verifying = advance(running, Event.EXITED, exit_code=0)
    done = advance(verifying, Event.ENDED, outcome=Outcome.SUCCEEDED, reason=Reason("completed", "ok"))
    assert (done.status, done.exit_code) == ("succeeded", 0)
    assert done.ended_at == done.updated_at


def test_the_first_start_stays_the_start_of_the_run() -> None:
    again = advance(advance(a_running(), Event.EXITED), Event.RETRIED)
    assert advance(again, Event.STARTED, at="2030-01-01T00:00:00.000Z").started_at == again.started_at


def test_pauses_are_summed_up_when_they_end() -> None:
    manifest = a_running()
    for n in (10, 20):
        manifest = advance(manifest, Event.PAUSED, at=f"2026-01-01T00:00:{n}.000Z")
        assert manifest.paused_at == f"2026-01-01T00:00:{n}.000Z"
        manifest = advance(manifest, Event.RESUMED, at=f"2026-01-01T00:00:{n + 2}.250Z")
    assert (manifest.paused_seconds, manifest.paused_at) == (4.5, None)


@pytest.mark.parametrize("event", [Event.STOP_REQUESTED, Event.EXITED, Event.LOST])
def test_a_pause_also_ends_with_a_stop_an_exit_or_a_loss(event: Event) -> None:
    paused = advance(a_running(), Event.PAUSED, at="2026-01-01T00:00:00.000Z")
    final: dict[str, Any] = {"outcome": Outcome.LOST} if event in FINAL_EVENTS else {}
    after = advance(paused, event, at="2026-01-01T00:01:00.000Z", **final)
    assert (after.paused_seconds, after.paused_at) == (60.0, None)


def test_a_clock_that_was_set_back_makes_no_negative_pause() -> None:
    paused = advance(a_running(), Event.PAUSED, at="2026-01-01T00:01:00.000Z")
    assert advance(paused, Event.RESUMED, at="2026-01-01T00:00:00.000Z").paused_seconds == 0.0


@pytest.mark.parametrize("event", list(Event))
def test_an_outcome_comes_with_a_final_event_and_with_no_other(event: Event) -> None:
    outcome = None if event in FINAL_EVENTS else Outcome.FAILED
    with pytest.raises(ValueError, match="do not go together"):
        advance(a_running(), event, outcome=outcome)


def test_a_forbidden_event_changes_nothing() -> None:
    manifest = a_manifest()
    with pytest.raises(IllegalTransition):
        advance(manifest, Event.RESUMED)
    assert manifest.phase is Phase.QUEUED


@given(st.integers(0, 4_000_000_000_000))
def test_a_timestamp_comes_back_to_the_millisecond(milliseconds: int) -> None:
    shown = timestamp(milliseconds / 1000)
    assert len(shown) == 24
    assert round(parse_timestamp(shown) * 1000) == milliseconds
    assert timestamp(parse_timestamp(shown)) == shown


@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_timestamps_sort_as_times_do(one: float, other: float) -> None:
    if round(one * 1000) < round(other * 1000):
        assert timestamp(one) < timestamp(other)


def test_now_is_utc() -> None:
    assert abs(parse_timestamp(timestamp()) - time.time()) < 5


@pytest.mark.parametrize("wrong", ["", "yesterday", "2026-11-20", "2026-11-20T10:15:xx.000Z"])
def test_what_is_no_timestamp_is_a_value_error(wrong: str) -> None:
    with pytest.raises(ValueError):
        parse_timestamp(wrong)
