"""A manifest made again from the events."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.values import a_manifest, an_identity, an_invocation

from runner.model import Identity, Outcome, Phase, Reason
from runner.state.events import EventLog
from runner.state.manifest import Attempt
from runner.state.store import RunDir, new_run_id
from runner.supervise.recover import rebuild
from runner.supervise.takeover import read_or_rebuild


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(str(tmp_path), "hello", new_run_id())
    Path(run.path).mkdir(parents=True)
    return run


def written(run: RunDir, *events: tuple[str, dict[str, object]]) -> EventLog:
    log = EventLog(run.events)
    for kind, fields in events:
        log.append(kind, **fields)  # type: ignore[arg-type]
    return log


ME: Identity = an_identity(77)
CREATED = ("created", {"actor": "user", "task_id": "hello", "run_id": "x"})
STARTED = ("started", {"process": ME.to_json(), "attempt": 1})
EXITED = ("exited", {"exit_code": 3, "signal": None})


def test_without_events_the_run_is_queued(run: RunDir) -> None:
    manifest = rebuild(run, an_invocation(run.repo, run.task_id, run.run_id))
    assert (manifest.phase, manifest.process, manifest.run_id) == (Phase.QUEUED, None, run.run_id)


def test_a_started_run_has_its_process_and_its_times_back(run: RunDir) -> None:
    written(run, CREATED, STARTED)
    lines = Path(run.events).read_text().replace('"at":"20', '"at":"19')  # a century ago: nothing is "now"
    Path(run.events).write_text(lines)
    manifest = rebuild(run, an_invocation())
    assert (manifest.phase, manifest.process, manifest.attempt) == (Phase.RUNNING, ME, 1)
    assert manifest.started_at is not None
    assert {manifest.created_at[:2], manifest.started_at[:2], manifest.updated_at[:2]} == {"19"}
    assert (manifest.attempts[0].process, manifest.attempts[0].started_at) == (ME, manifest.started_at)


def test_a_pause_counts_as_long_as_the_events_say(run: RunDir) -> None:
    written(run, CREATED, STARTED, ("paused", {}), ("resumed", {"still_stopped": []}))
    text = Path(run.events).read_text().splitlines()
    for n, at in ((2, "2026-01-01T00:00:10.000Z"), (3, "2026-01-01T00:00:40.500Z")):
        before = text[n].split('"at":"')[1][:24]
        text[n] = text[n].replace(before, at)
    Path(run.events).write_text("\n".join(text) + "\n")
    manifest = rebuild(run, an_invocation())
    assert (manifest.phase, manifest.paused_seconds, manifest.paused_at) == (Phase.RUNNING, 30.5, None)


def test_gaps_are_added_up(run: RunDir) -> None:
    gaps = [("suspended", {"seconds": seconds}) for seconds in (4.5, 60, -1, "x")]
    gaps.append(("suspended", {"seconds": 9, "paused": True}))
    written(run, CREATED, STARTED, *gaps)
    assert rebuild(run, an_invocation()).suspended_seconds == 64.5


@pytest.mark.parametrize(
    ("seen", "failed"), [({"a": 1, "b": 0, "c": None}, (("a",), ("c",))), ({"b": 0}, ()), ({}, None)]
)
def test_the_checks_that_failed_before_the_agent_are_known_again(
    run: RunDir, seen: dict[str, int | None], failed: tuple[tuple[str, ...], ...] | None
) -> None:
    told = [("baseline", {"argv": [name], "exit_code": code}) for name, code in seen.items()]
    written(run, CREATED, *told, ("baseline", {"argv": 5}), STARTED)
    assert rebuild(run, an_invocation()).failed_before == failed


def test_a_paused_run_is_paused(run: RunDir) -> None:
    written(run, CREATED, STARTED, ("paused", {}))
    assert rebuild(run, an_invocation()).phase is Phase.PAUSED


@pytest.mark.parametrize(
    ("event", "code", "message"),
    [
        (
            ("cancel_requested", {"actor": "user", "reason": "enough"}),
            "cancelled",
            "cancelled by user: enough",
        ),
        (("cancel_requested", {"actor": "user", "reason": ""}), "cancelled", "cancelled by user"),
        (("limit", {"code": "timeout", "message": "ran longer"}), "timeout", "ran longer"),
    ],
)
def test_the_wish_for_a_stop_is_not_forgotten(
    event: tuple[str, dict[str, object]], code: str, message: str, run: RunDir
) -> None:
    written(run, CREATED, STARTED, event)
    manifest = rebuild(run, an_invocation())
    assert (manifest.phase, manifest.reason) == (Phase.STOPPING, Reason(code, message))
    written(run, EXITED)
    manifest = rebuild(run, an_invocation())
    assert (manifest.phase, manifest.reason, manifest.exit_code) == (
        Phase.VERIFYING,
        Reason(code, message),
        3,
    )
    assert manifest.attempts[0].exit_code == 3


def test_a_finished_run_is_finished_in_the_same_way(run: RunDir) -> None:
    reason = Reason("verify_failed", "no", None, "tail")
    ended = ("ended", {"outcome": "rejected", "reason": reason.to_json()})
    written(run, CREATED, STARTED, EXITED, ended, ("sealed", {"redactions": 0}))
    manifest = rebuild(run, an_invocation())
    assert (manifest.phase, manifest.outcome, manifest.reason) == (Phase.DONE, Outcome.REJECTED, reason)
    assert manifest.ended_at is not None


@pytest.mark.parametrize(
    "odd",
    [STARTED, ("resumed", {}), ("exited", {}), ("ended", {"outcome": "splendid"}), ("unheard_of", {"x": 1})],
    ids=lambda event: event[0],
)
def test_events_that_do_not_fit_are_passed_over(odd: tuple[str, dict[str, object]], run: RunDir) -> None:
    written(run, CREATED, STARTED, odd, odd, ("paused", {}))
    with open(run.events, "ab") as file:
        file.write(b'{"type": "paused"}\nno event\n')
    manifest = rebuild(run, an_invocation())
    assert (manifest.phase, manifest.process) == (Phase.PAUSED, ME)


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.PAUSED, Phase.VERIFYING])
@pytest.mark.parametrize("without", ["attempts", "process"])
def test_a_manifest_that_is_at_work_without_a_process_or_an_attempt_is_made_again(
    run: RunDir, phase: Phase, without: str
) -> None:
    log = written(run, CREATED, STARTED)
    whole = a_manifest(run, phase=phase, process=ME, attempt=1, attempts=(Attempt(1, ME),))
    invocation = an_invocation(run.repo, run.task_id, run.run_id)
    run.write_manifest(whole)
    assert read_or_rebuild(run, invocation, log) == (whole, False)
    run.write_manifest(whole.replace(**{without: () if without == "attempts" else None}))
    manifest, is_rebuilt = read_or_rebuild(run, invocation, log)
    assert is_rebuilt and (manifest.process, len(manifest.attempts)) == (ME, 1)
    assert len([*Path(run.path).glob("manifest.json.broken-*")]) == 1
