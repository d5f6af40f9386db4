"""What a run's owner tells in the ledger by itself: once, whatever happens, and no run waits for it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.disks import fill, small_disk
from support.ended import an_ended_run
from support.values import a_manifest, an_invocation

from runner.conformance import Agreement, Conformance, Conformity
from runner.invocation import Rehearsal
from runner.ledger.entry import EntryInvalid, EntryType, LedgerEntry, NewEntry, checked
from runner.ledger.file import Ledger
from runner.model import Level, Lineage, Outcome, Reason, Sandbox, Terms, Usage
from runner.runtimes import PLAN
from runner.state.fingerprints import Known
from runner.state.manifest import CLOSING, Attempt
from runner.state.store import RunDir
from runner.supervise.sealing import Cleaner
from runner.supervise.witness import Witness, patch
from runner.supervise.witness import tests as checked_by
from runner.verify.checks import Check
from runner.verify.evidence import Fate, Next, Retry, Verdict
from runner.verify.inspect import Finding, Observed, Severity
from runner.verify.record import Record, RolledBack

READ_ONLY = Sandbox("look", Level.READ_ONLY)
SECRET = "hunter2-correct-horse-battery"
PASSES, FAILS = (Check((word,), code, False, 0.1, "") for word, code in (("true", 0), ("false", 1)))
HANGS, IS_CUT = (Check(("sleep",), None, is_late, 9.0, "") for is_late in (True, False))
IS_MISSING = Check(("sleep",), None, False, 0.0, "")


def a_witness(run: RunDir, *secrets: str) -> Witness:
    return Witness(run, run.read_invocation(), lambda: Cleaner(Known(secrets, ())))


def ends(run: RunDir, witness: Witness | None = None, found: Record | None = None) -> bool:
    return (witness or a_witness(run)).end(run.read_manifest(), found)


def ledger(root: Path, task: str = "work") -> Ledger:
    return Ledger(str(root), task)


def entries(root: Path) -> list[LedgerEntry]:
    assert ledger(root).look(all_of_it=True).is_whole
    return ledger(root).entries()


def types(root: Path) -> list[str]:
    return [str(entry.type) for entry in entries(root)]


def said(run: RunDir, *messages: str) -> None:
    """These are the final messages of its turns."""
    os.makedirs(run.turns, exist_ok=True)
    for n, message in enumerate(messages, 1):
        Path(run.turn(n)).write_text(json.dumps({"turn": n, "status": "completed", "message": message}))
    run.write_manifest(run.read_manifest().replace(turns=len(messages)))


def found(
    changed: Sequence[str] | None = (),
    checks: Sequence[Check] = (),
    code: str = "completed",
    rolled_back: RolledBack | None = None,
) -> Record:
    verdict = Verdict(
        "row", code, Outcome.FAILED, Reason(code, "so it was"), Next(Fate.KEEP, False, Retry.NO)
    )
    observed = None if changed is None else Observed(tuple(changed))
    return Record.unjudged(1, tuple(checks), len(checks)).replace(
        observed=observed, verdict=verdict, rolled_back=rolled_back
    )


ALL = ["run_started", "artifact", "artifact", "run_ended"]


# -- what is told --------------------------------------------------------------------------------------


def test_a_run_is_told_from_its_begin_to_its_end(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path, outcome=Outcome.REJECTED, code="verify_failed")
    assert ends(run, found=found(["a.py", "b.py"], [PASSES, FAILS], "verify_failed"))
    begun, changed, tested, ended = entries(tmp_path)
    assert {entry.actor for entry in entries(tmp_path)} == {"runner"}
    assert {entry.run_id for entry in entries(tmp_path)} == {run.run_id}
    assert begun.payload == {"task": "work", "runtime": "codex", "model": "gpt-5", "sandbox": "build"}
    assert changed.payload == {
        "kind": "patch_summary",
        "title": "2 files changed",
        "summary": "rejected: so it was",
        "status": "failed",
        "evidence": [f".runs/work/cli/{run.run_id}/result.json"],
        "files": ["a.py", "b.py"],
    }
    assert tested.payload == {
        "kind": "test_report",
        "title": "`false` exited with 1",
        "summary": "runner ran 2 of 1 declared check",
        "status": "failed",
        "evidence": [
            f"`true` exited with 0: .runs/work/cli/{run.run_id}/verify-1.log",
            f"`false` exited with 1: .runs/work/cli/{run.run_id}/verify-2.log",
        ],
    }
    told = {"status": "rejected", "outcome": "rejected", "code": "verify_failed", "message": "so it was"}
    nothing = {"tokens": {"input": None, "cached": None, "output": None}}
    took_s = ended.payload["duration_s"]
    assert ended.payload == {**told, **nothing, "verdict": "failed: verify_failed", "duration_s": took_s}


def test_the_end_has_what_was_seen_of_the_run_and_its_begin_where_it_came_from(tmp_path: Path) -> None:
    seen = Conformance(model=Conformity("gpt-5", "gpt-5-mini", Agreement.DRIFT))
    run = an_ended_run(
        tmp_path,
        host="claude",
        sessions=("the-session", "another"),
        started_at="2026-11-27T20:30:00.000Z",
        ended_at="2026-11-27T20:31:01.500Z",
        exit_code=0,
        usage=Usage(1200, 1000, 34, None),
        conformance=seen,
    )
    run.write_manifest(run.read_manifest().replace(thread_id="thread-1"))
    Path(run.prompt).write_text("Say hello.\n")
    assert ends(run, found=found([], code="completed"))
    begun, ended = entries(tmp_path)[0].payload, entries(tmp_path)[-1].payload
    assert (begun["host"], begun["session"], begun["hint"]) == ("claude", "the-session", "Say hello.")
    assert (ended["exit_code"], ended["model"], ended["thread"]) == (0, "gpt-5-mini", "thread-1")
    assert ended["tokens"] == {"input": 1200, "cached": 1000, "output": 34}
    assert (ended["verdict"], ended["duration_s"]) == ("failed: completed", 61.5)


def test_a_run_of_no_host_or_of_nobody_knows_which_names_no_session(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path, sessions=("one", "another"))
    assert ends(run)
    assert {"host", "session", "hint"}.isdisjoint(entries(tmp_path)[0].payload)


@pytest.mark.parametrize(
    ("request_text", "hint"),
    [
        ("one\n\ttwo\r\nthree", "one two three"),
        ("\x1b[31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07 \u202eback", None),
        ("x" * 81, "x" * 77 + "..."),
        ("y" * 80, "y" * 80),
        (f"log in with {SECRET} and go on", "log in with [redacted] and go on"),
        ("z" * 70 + f" {SECRET}", None),
        (" \n" * 40_000 + "far below", None),
        ("", None),
    ],
)
def test_a_hint_is_the_beginning_of_the_request_on_one_line_without_secrets(
    request_text: str, hint: str | None, tmp_path: Path
) -> None:
    run = an_ended_run(tmp_path)
    Path(run.prompt).write_text(request_text)
    assert ends(run, a_witness(run, SECRET))
    told = entries(tmp_path)[0].payload.get("hint")
    assert hint is None or told == hint
    if told is not None:
        assert len(told) <= 80 and told.isprintable() and SECRET[:8] not in told


@pytest.mark.parametrize(
    ("asked", "prompt", "hint"),
    [
        (None, "Do it.\n\n## Constraints\n- Change only what matches.\n", "Do it."),
        (None, "\n\n## Goal\nAll of it.\n\n## Verify\nmake test\n", "## Goal All of it."),
        ("Fix\nthat.", "Fix\nthat.\n\n## Output contract\nSay so.\n", "Fix that."),
        ("Fix that.\n\n## How\nSlowly.", "Before: it failed.\nFix that.", "Fix that. ## How Slowly."),
    ],
)
def test_a_hint_has_the_words_of_the_request_and_none_that_runner_adds(
    asked: str | None, prompt: str, hint: str, tmp_path: Path
) -> None:
    run = an_ended_run(tmp_path)
    Path(run.prompt).write_text(prompt)
    if asked is not None:
        Path(run.asked).write_text(asked)
    assert ends(run)
    assert entries(tmp_path)[0].payload["hint"] == hint


def test_the_hint_of_a_run_that_goes_on_in_a_session_is_what_was_sent(tmp_path: Path) -> None:
    before = an_ended_run(tmp_path, task="before")
    above = Lineage(before.task_id, before.run_id, before.read_manifest().manifest_path)
    run = an_ended_run(tmp_path, continues=above)
    Path(run.prompt).write_text("And the other one?")
    Path(run.asked).write_text("Look at one.")
    assert ends(run)
    assert entries(tmp_path)[0].payload["hint"] == "And the other one?"


@pytest.mark.parametrize("secret", [SECRET, "correct horse\nbattery staple", "k\u00e9y" * 300])
def test_no_part_of_a_secret_that_the_limit_of_reading_cuts_is_told(secret: str, tmp_path: Path) -> None:
    for before in range(0, 60, 7):
        run = an_ended_run(tmp_path, task=f"t{before}")
        request = " " * ((1 << 16) - before) + f"log in with {secret} and go on"
        Path(run.prompt).write_text(request, encoding="utf-8")
        assert ends(run, a_witness(run, secret))
        told = ledger(tmp_path, run.task_id).entries()[0].payload.get("hint") or ""
        assert all(word not in told for word in ("hunter2", "correct", "k\u00e9"))


@pytest.mark.parametrize("gap", ["", "x" * 70_000])
def test_a_secret_of_several_lines_is_found_before_the_hint_is_one_line(gap: str, tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    key = "-----BEGIN KEY-----\n" + "abcdefgh ijklmnop\n" * 8 + "-----END"
    Path(run.prompt).write_text(f"Use {key} {gap}")
    assert ends(run, a_witness(run, key))
    assert entries(tmp_path)[0].payload["hint"].startswith("Use [redacted]")


def test_of_a_request_whose_secrets_nobody_knows_any_more_no_hint_is_told(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    Path(run.prompt).write_text("log in with something\n")
    witness = Witness(run, run.read_invocation(), lambda: Cleaner(Known((), ("TOKEN",))))
    assert ends(run, witness)
    assert entries(tmp_path)[0].payload["hint"] == "[withheld]"


@pytest.mark.parametrize("wrong", ["text", True, [1], {"input": 1}])
def test_what_was_measured_is_a_number(wrong: object) -> None:
    with pytest.raises(EntryInvalid, match="expected a number"):
        checked(NewEntry(EntryType.RUN_ENDED, "runner", {"status": "succeeded", "exit_code": wrong}))
    with pytest.raises(EntryInvalid, match="a table of numbers"):
        checked(
            NewEntry(EntryType.RUN_ENDED, "runner", {"status": "succeeded", "tokens": {"input": str(wrong)}})
        )


def test_of_a_run_that_only_reads_no_evidence_is_told_without_any(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path, outcome=Outcome.SUCCEEDED, sandbox=READ_ONLY)
    assert ends(run, found=found([]))
    assert types(tmp_path) == ["run_started", "run_ended"]


def test_what_a_run_that_only_reads_changed_and_passed_is_told(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path, outcome=Outcome.SUCCEEDED, sandbox=READ_ONLY)
    assert ends(run, found=found(["a.py"], [PASSES]))
    assert types(tmp_path) == ALL


def test_each_thing_is_told_once_also_by_a_later_owner(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    said(run, "[IMPORTANT] RUNNER_NOTE: one")
    witness = a_witness(run)
    witness.look(run.read_manifest())
    assert types(tmp_path) == ["run_started", "note"]
    for owner in (witness, witness, a_witness(run), a_witness(run)):
        owner.look(run.read_manifest())
        assert ends(run, owner)
    assert types(tmp_path) == ["run_started", "note", *ALL[1:]]


def test_the_end_of_a_run_is_one_write_and_a_look_without_news_is_none(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    witness = a_witness(run)
    witness.look(run.read_manifest())
    assert types(tmp_path) == ["run_started"]
    stamp = ledger(tmp_path).stamp()
    for _ in range(3):
        witness.look(run.read_manifest())
    assert ledger(tmp_path).stamp() == stamp


def test_a_turn_without_a_marker_asks_nothing_of_the_ledger(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    witness = a_witness(run)
    witness.look(run.read_manifest())
    said(run, "Done.")
    with held(tmp_path):
        witness.look(run.read_manifest())
        said(run, "Done.", "[IMPORTANT] RUNNER_NOTE: x")
        witness.look(run.read_manifest())
    assert types(tmp_path) == ["run_started"]
    assert ends(run, witness)
    assert types(tmp_path) == ["run_started", "note", *ALL[1:]]


def test_what_is_told_after_the_fact_is_read_from_the_result(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    Path(run.result).write_text(json.dumps(found(["a.py"]).to_json()))
    assert ends(run)
    assert entries(tmp_path)[1].payload["files"] == ["a.py"]


def test_the_result_of_an_earlier_attempt_says_nothing_of_the_end(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path, outcome=Outcome.LOST, code="lost", attempt=2)
    assert ends(run, found=found(["a.py"]))
    assert entries(tmp_path)[1].payload["status"] == "unknown"
    assert "files" not in entries(tmp_path)[1].payload


def test_of_a_run_that_never_began_only_the_end_is_told(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path, outcome=Outcome.FAILED, code="runtime_missing", started_at=None)
    assert ends(run)
    assert types(tmp_path) == ["run_ended"]


def test_of_a_plan_begin_and_end_are_told(tmp_path: Path) -> None:
    assert ends(an_ended_run(tmp_path, runtime=PLAN))
    assert types(tmp_path) == ["run_started", "run_ended"]


def test_a_plan_whose_batches_are_rehearsed_says_so(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path, runtime=PLAN)
    run.write_manifest(run.read_manifest().replace(rehearsal=True))
    assert ends(run)
    assert entries(tmp_path)[0].payload["rehearsal"] == "its model is scripted"


def test_a_rehearsal_says_that_it_is_one(tmp_path: Path) -> None:
    assert ends(an_ended_run(tmp_path, rehearsal=Rehearsal(None, 1, ("model",))))
    begun, changed, tested, _ = entries(tmp_path)
    assert begun.payload["rehearsal"] == "its model is scripted"
    for entry in (changed, tested):
        assert entry.payload["title"].startswith("rehearsed: ")


def test_a_run_whose_folder_is_gone_makes_no_ledger(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    manifest, witness = run.read_manifest(), a_witness(run)
    run.discard()
    assert witness.end(manifest)
    assert not (tmp_path / ".runs" / "work").exists()


# -- its statuses --------------------------------------------------------------------------------------

_O = Outcome


@pytest.mark.parametrize(
    ("outcome", "code", "changed", "status"),
    [
        (_O.SUCCEEDED, "completed", ["a"], "passed"),
        (_O.SUCCEEDED, "completed", [], "skipped"),
        (_O.SUCCEEDED, "completed", None, "unknown"),
        (_O.FAILED, "task_failed", ["a"], "failed"),
        (_O.FAILED, "task_failed", [], "failed"),
        (_O.FAILED, "cli_failure", None, "failed"),
        (_O.FAILED, "blocked", ["a"], "blocked"),
        (_O.FAILED, "scope_expansion", ["a"], "blocked"),
        (_O.FAILED, "auth_or_quota", None, "blocked"),
        (_O.REJECTED, "verify_failed", ["a"], "failed"),
        (_O.REJECTED, "scope_violation", ["a"], "failed"),
        (_O.TIMED_OUT, "stalled", ["a"], "timed_out"),
        (_O.CANCELLED, "cancelled", ["a"], "unknown"),
        (_O.LOST, "lost", None, "unknown"),
    ],
)
def test_the_status_of_a_change_is_that_of_the_verdict(
    outcome: Outcome, code: str, changed: list[str] | None, status: str, tmp_path: Path
) -> None:
    run = an_ended_run(tmp_path, outcome=outcome, code=code)
    own, manifest = run.read_invocation(), run.read_manifest()
    assert patch(own, manifest, found(changed, code=code))["status"] == status
    if changed is None:
        assert patch(own, manifest, None)["status"] == status


@pytest.mark.parametrize("outcome", [*Outcome])
@pytest.mark.parametrize(
    "declared",
    [{"sandbox": READ_ONLY}, {"terms": Terms(expects_change=False)}],
    ids=["read-only", "no change"],
)
def test_where_nothing_was_to_be_changed_a_change_is_skipped(
    outcome: Outcome, declared: dict[str, Any], tmp_path: Path
) -> None:
    run = an_ended_run(tmp_path, outcome=outcome, **declared)
    own, manifest = run.read_invocation(), run.read_manifest()
    for record in (None, found(None), found([])):
        told = patch(own, manifest, record)
        is_known = own.sandbox == READ_ONLY or record == found([])
        assert (told["status"] == "skipped") is is_known
        assert is_known or told["title"] == "what was changed is not known"
    assert patch(own, manifest, found(["a"]))["status"] != "skipped", "it was changed all the same"


def test_a_change_that_was_taken_back_is_none_of_the_files_any_more(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path, outcome=Outcome.REJECTED)
    own, manifest = run.read_invocation(), run.read_manifest()
    told = patch(own, manifest, found(["a"], rolled_back=RolledBack(("a",))))
    assert (told["title"], told["files"]) == ("1 file changed, and taken back", [])
    told = patch(own, manifest, found(["a"], rolled_back=RolledBack((), left=("a",))))
    assert (told["title"], told["files"]) == ("1 file changed", ["a"])


@pytest.mark.parametrize(
    ("declared", "checks", "outcome", "status", "title"),
    [
        (0, [], _O.SUCCEEDED, "unknown", "no checks were declared"),
        (1, [PASSES], _O.SUCCEEDED, "passed", "1 check passed"),
        (2, [PASSES, PASSES], _O.REJECTED, "passed", "2 checks passed"),
        (2, [PASSES], _O.CANCELLED, "unknown", "1 check passed"),
        (2, [], _O.FAILED, "skipped", "2 checks declared, none was run"),
        (2, [PASSES, FAILS], _O.REJECTED, "failed", "`false` exited with 1"),
        (2, [HANGS], _O.REJECTED, "timed_out", "`sleep` did not end within its limit (9 s)"),
        (1, [IS_MISSING], _O.REJECTED, "blocked", "`sleep` could not be run"),
        (1, [IS_MISSING], _O.CANCELLED, "blocked", "`sleep` could not be run"),
        (1, [IS_CUT], _O.CANCELLED, "unknown", "`sleep` was ended with the run, after 9 s"),
        (1, [IS_CUT], _O.TIMED_OUT, "unknown", "`sleep` was ended with the run, after 9 s"),
    ],
)
def test_the_status_of_the_tests_is_that_of_the_checks(
    declared: int, checks: list[Check], outcome: Outcome, status: str, title: str, tmp_path: Path
) -> None:
    run = an_ended_run(tmp_path, outcome=outcome, verify=(("true",),) * declared)
    told = checked_by(run.read_invocation(), run.read_manifest(), found(checks=checks))
    assert (told["status"], told["title"]) == (status, title)


CHANGED = Finding("check_changed", Severity.WARNING, "1 file changed that its own checks read", ("check.sh",))


@pytest.mark.parametrize(
    ("finding", "verify_from", "status"),
    [
        (CHANGED, "run", "unknown"),
        (CHANGED.replace(severity=Severity.ERROR), "run", "unknown"),
        (CHANGED, "base", "passed"),
        (CHANGED.replace(severity=Severity.ERROR), "base", "unknown"),
        (CHANGED.replace(code="checks_elsewhere"), "base", "unknown"),
        (CHANGED.replace(code="changed_dirty", severity=Severity.INFO), "run", "passed"),
        (CHANGED.replace(code="changed_not_claimed"), "run", "passed"),
    ],
)
def test_a_check_that_the_run_has_changed_has_passed_for_nothing(
    finding: Finding, verify_from: str, status: str, tmp_path: Path
) -> None:
    run = an_ended_run(tmp_path, verify=(("true",),), terms=Terms(verify_from=verify_from))
    record = found(["check.sh"], [PASSES]).replace(findings=(finding,))
    told = checked_by(run.read_invocation(), run.read_manifest(), record)
    assert told["status"] == status
    doubt = ", but 1 file changed that its own checks read" if status == "unknown" else ""
    assert told["title"] == f"1 check passed{doubt}"
    seen = f"\n{finding.code}: 1 file changed that its own checks read: check.sh"
    is_doubt = finding.code in ("check_changed", "checks_elsewhere")
    assert told["summary"].endswith(seen if is_doubt else "declared check")
    summary = patch(run.read_invocation(), run.read_manifest(), record)["summary"]
    assert summary.endswith(seen) is (finding.severity is not Severity.INFO)
    failed = record.replace(checks=(FAILS,))
    assert checked_by(run.read_invocation(), run.read_manifest(), failed)["status"] == "failed"


@given(
    st.lists(st.text(min_size=1), max_size=300),
    st.lists(st.tuples(st.lists(st.text(), min_size=1), st.sampled_from([0, 1, None])), max_size=120),
    st.text(min_size=1),
)
def test_whatever_the_names_and_words_are_the_entry_is_one(
    names: list[str], checks: list[tuple[list[str], int | None]], reason: str
) -> None:
    run = RunDir("/repo", "work", "20260101T000000000Z-00000000")
    own = an_invocation(run.repo, run.task_id, run.run_id)
    clean = Cleaner(Known((), ())).word
    manifest = a_manifest(run, outcome=Outcome.FAILED, reason=Reason("failed", clean(reason)))
    record = found(names, [Check(tuple(argv), code, False, 0.0, "") for argv, code in checks])
    findings = (Finding("check_changed", Severity.WARNING, reason, tuple(names)),) * 20
    record = record.replace(findings=findings)
    for payload in (patch(own, manifest, record), checked_by(own, manifest, record)):
        checked(NewEntry(EntryType.ARTIFACT, "runner", payload))


def test_a_model_whose_name_is_no_line_hides_nothing_else(tmp_path: Path) -> None:
    assert ends(an_ended_run(tmp_path, model="gpt\n\x1b[2J5" + "x" * 9000))
    assert types(tmp_path) == ALL


def test_ten_thousand_long_names_are_an_entry(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    names = [f"{n}/" + "\n" * 10 + "x" * 4000 for n in range(10_000)]
    assert ends(run, found=found(names, [Check(("y" * 100_000,), 0, False, 0.0, "")] * 1000))
    changed = entries(tmp_path)[1].payload
    assert changed["title"] == "10000 files changed"
    assert len(changed["files"]) == 100


# -- markers -------------------------------------------------------------------------------------------


def test_the_marker_of_each_turn_is_said_by_the_run_before_its_end(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    said(
        run,
        "[IMPORTANT] RUNNER_NOTE: first",
        "Nothing to record.",
        "[IMPORTANT] CONTEXTRELAY_HANDOFF_TO_CLAUDE: review it",
    )
    assert ends(run)
    assert types(tmp_path) == ["run_started", "note", "handoff", *ALL[1:]]
    _, note, handoff, *_ = entries(tmp_path)
    assert (note.actor, note.run_id, note.payload) == ("work", run.run_id, {"text": "first"})
    assert (handoff.actor, handoff.to, handoff.payload["ask"]) == ("work", "claude", "review it")


def test_the_marker_of_an_attempt_that_was_tried_again_is_nothing(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    said(run, *(f"[IMPORTANT] RUNNER_NOTE: {n}" for n in range(1, 5)))
    first, spoken = Attempt(1), {"messages": ("m-0001",)}
    attempts = (first, Attempt(2), Attempt(3, **spoken), Attempt(4, how=CLOSING), Attempt(5, **spoken))
    run.write_manifest(run.read_manifest().replace(attempts=(*attempts, Attempt(6, how=CLOSING))))
    assert ends(run)
    notes = [entry.text("text") for entry in entries(tmp_path) if entry.type == "note"]
    assert notes == ["2", "3", "4"], "each of these was heard by somebody"


def test_a_marker_that_the_rules_of_lanes_refuse_is_told_and_all_else_too(tmp_path: Path) -> None:
    payload = {"reason": "r", "ask": "a"}
    taken = ledger(tmp_path).append(NewEntry(EntryType.HANDOFF, "human", payload, "other"), str)
    run = an_ended_run(tmp_path)
    said(run, "[IMPORTANT] RUNNER_HANDOFF:\nto: third\nask: take it from them", "[IMPORTANT] RUNNER_SIGN: it")
    assert ends(run)
    assert types(tmp_path) == ["handoff", "run_started", "marker_error", "marker_error", *ALL[1:]]
    refused, unknown = entries(tmp_path)[2:4]
    assert (refused.actor, refused.run_id) == ("runner", run.run_id)
    assert f"{taken.id} is for other" in refused.payload["message"]
    assert "ask: take it from them" in refused.payload["marker"]
    assert "no marker `SIGN`" in unknown.payload["message"]
    assert ledger(tmp_path).state().open[0].id == taken.id
    assert ends(run)
    assert len(entries(tmp_path)) == 7


def test_the_run_that_has_taken_a_handoff_hands_it_back_by_a_marker(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    payload = {"reason": "r", "ask": "a"}
    handoff = ledger(tmp_path).append(NewEntry(EntryType.HANDOFF, "human", payload, "work"), str)
    taken = NewEntry(
        EntryType.HANDOFF_TAKEN, "runner", {}, handles=(handoff.id,), run_id=run.run_id, runtime="codex"
    )
    with contextlib.suppress(Exception):
        ledger(tmp_path).append(taken, str)
    said(run, "[IMPORTANT] RUNNER_HANDOFF:\nto: human\nreason: done\nask: look at it")
    assert ends(run)
    assert "marker_error" not in types(tmp_path)
    assert [(one.to, one.maker_run) for one in ledger(tmp_path).state().open] == [("human", run.run_id)]


def test_a_marker_that_refers_to_what_is_not_in_the_repository_is_told(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    (tmp_path / "link").symlink_to("/etc")
    head = "[IMPORTANT] RUNNER_HANDOFF_TO_CODEX:\nask: look\nlane: {}\ncontext_refs:\n- {}"
    said(run, *(head.format(f"l{n}", ref) for n, ref in enumerate(("./a.py:3", "../b.py", "link/passwd"))))
    assert ends(run)
    assert types(tmp_path)[1:4] == ["handoff", "marker_error", "marker_error"]
    assert entries(tmp_path)[1].payload["context_refs"] == ["a.py:3"]
    assert "leads out of the repository" in entries(tmp_path)[2].payload["message"]


def test_a_secret_in_a_marker_or_in_a_name_is_not_written(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    said(run, f"[IMPORTANT] RUNNER_NOTE: it is {SECRET}", f"[IMPORTANT] RUNNER_SIGN: {SECRET}")
    assert ends(run, a_witness(run, SECRET), found([f"{SECRET}.txt"]))
    assert SECRET.encode() not in Path(ledger(tmp_path).path).read_bytes()
    assert entries(tmp_path)[1].payload == {"text": "it is [redacted]"}
    assert entries(tmp_path)[3].payload["files"] == ["[redacted].txt"]


@pytest.mark.parametrize(
    "record",
    [
        *("", "[]", "{}", "{", "\0", '{"status": "completed"}', '{"status": "completed", "message": 1}'),
        *('{"status": "completed", "message": null}', '{"message": "[IMPORTANT] RUNNER_NOTE: x"}'),
        '{"status": "failed", "message": "[IMPORTANT] RUNNER_NOTE: x"}',
    ],
)
def test_a_turn_whose_record_is_no_record_has_said_nothing(record: str, tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    said(run, "x")
    Path(run.turn(1)).write_text(record)
    assert ends(run)
    assert types(tmp_path) == ALL


# -- what stands in its way ----------------------------------------------------------------------------


@contextlib.contextmanager
def held(root: Path) -> Iterator[None]:
    """As by a writer that was stopped."""
    with (root / ".runs" / "work" / ".ledger.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_while_another_one_writes_it_is_told_later(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = an_ended_run(tmp_path)
    witness = a_witness(run)
    with held(tmp_path):
        witness.look(run.read_manifest())
        witness.look(run.read_manifest())
        assert not ends(run, witness)
        assert not ends(run, witness)
    assert capfd.readouterr().err.count("not in the ledger yet") == 1
    assert not ledger(tmp_path).exists
    assert ends(run, witness)
    assert types(tmp_path) == ALL


def test_on_a_full_disk_it_is_told_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1024) as disk:
        run = an_ended_run(disk)
        said(run, "[IMPORTANT] RUNNER_NOTE: " + "x" * 5000)
        ballast = fill(disk)
        witness = a_witness(run)
        witness.look(run.read_manifest())
        assert not ends(run, witness)
        ballast.unlink()
        assert ends(run, witness)
        assert types(disk) == ["run_started", "note", *ALL[1:]]


def _broken(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"a note", b"a vote"))


def _foreign(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'{"mac":"', b'{"mac":"0')[:-1])
    path.write_bytes(b'{"mac":"' + b"0" * 64 + path.read_bytes()[73:])


def _cut(path: Path) -> None:
    path.write_bytes(b"")


def _gone(path: Path) -> None:
    path.unlink()


def _link(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _writable(path: Path) -> None:
    path.chmod(0o666)


@pytest.mark.parametrize("spoil", [_broken, _foreign, _cut, _gone, _link, _folder, _fifo, _writable])
def test_a_ledger_that_is_not_believed_keeps_no_run_from_ending(
    spoil: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = an_ended_run(tmp_path)
    for text in ("a note", "another"):
        ledger(tmp_path).append(NewEntry(EntryType.NOTE, "human", {"text": text}), str)
    path = Path(ledger(tmp_path).path)
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    witness = a_witness(run)
    witness.look(run.read_manifest())
    ends(run, witness)
    ends(run, witness)
    assert (path.read_bytes() if path.is_file() else None) == before, "what is not believed is not touched"
    assert capfd.readouterr().err.count("not in the ledger") == 1, "it is complained of once"


_KILLED = """
import os, signal, sys
sys.path[:0] = sys.argv[3:]
from runner.state.fingerprints import Known
from runner.state.store import RunDir
from runner.supervise.sealing import Cleaner
from runner.supervise.witness import Witness
import runner.ledger.file, runner.verify.markers, runner.redact.redactor

run, left = RunDir.from_path(sys.argv[1]), [int(sys.argv[2])]
witness = Witness(run, run.read_invocation(), lambda: Cleaner(Known((), ())))
manifest = run.read_manifest()

def step(frame, event, argument):
    if event == "c_call" and argument.__name__ in NAMES:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

NAMES = {"open", "write", "pwrite", "fsync", "ftruncate", "flock", "lstat", "fstat", "close", "readline"}
sys.setprofile(step)
witness.look(manifest)
witness.end(manifest)
os._exit(0)
"""


def test_killed_before_any_of_its_steps_each_thing_is_there_once(tmp_path: Path) -> None:
    steps = 0
    for n in range(1, 400):
        root = tmp_path / str(n)
        root.mkdir()
        run = an_ended_run(root)
        said(run, "[IMPORTANT] RUNNER_NOTE: one")
        words = [sys.executable, "-c", _KILLED, run.path, str(n), *sys.path]
        done = subprocess.run(words, check=False, stderr=subprocess.DEVNULL)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        steps += 1
        assert ends(run)
        assert types(root) == ["run_started", "note", *ALL[1:]]
    assert 10 < steps < 399
