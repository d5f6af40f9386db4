"""What the end of a batch's run means for its plan: success, a failure that counts, or a reason to park."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.ended import a_result, write_result
from support.values import a_manifest, an_invocation

from runner.conduct.outcome import KEEPING, Meaning, end_of
from runner.model import Outcome, Phase, Reason
from runner.state.manifest import Manifest
from runner.state.placement import ENDS
from runner.state.store import RunDir
from runner.supervise.begin import start_failure
from runner.supervise.takeover import Action, unseen_end
from runner.verify.checks import Check
from runner.verify.classify import ROWS, Row
from runner.verify.evidence import CODES, Evidence, Fate, Verdict
from runner.verify.record import Record, load
from runner.verify.taxonomy import failure_codes

PARKED = {"lost", "cancelled", "was_cancelled", "drifted", "drift_found", "survivors", "machine"} | {
    *("job_cancelled", "unreachable", "shut_out", "rate_limited", "no_access", "provider", "refused")
}
"""Rows of the table of docs/results.md: a person's wish, the machine, the provider, what nobody saw."""
FINER = {
    "survivors": ("survivors",),
    "machine": ("flag_refused", "misconfigured", "disk_full"),
    "refused": ("request_refused",),
    "no_progress": ("no_progress",),
    "full": ("context_full",),
    "lost": ("lost", "supervisor_failed"),
    "stalled": ("stalled", "no_first_event"),
    "unanswered": ("question_expired",),
    "was_unanswered": ("question_expired",),
    "cli_failure": ("cli_failure", "killed"),
    "stopped": ("repeats",),
    "job_cancelled": ("engine_cancelled",),
    "job_preempted": ("engine_preempted",),
    "job_timeout": ("engine_time_limit",),
}
"""Where the reason of the manifest does not have the code of the class."""


def done(outcome: Outcome, code: str) -> Manifest:
    reason = Reason(code, "so it was", "a hint", "a detail")
    return a_manifest(phase=Phase.DONE, outcome=outcome, reason=reason)


def recorded(**changes: Any) -> Record:
    return Record.from_json(a_result(**changes))


def ended(row: Row, code: str) -> tuple[Manifest, Record]:
    """The manifest and the record that a run leaves to which this row of the table applies."""
    found = Verdict(row.name, row.code, row.outcome, Reason(code, "so it was"), row.next)
    codes = failure_codes(Evidence(row.outcome, found.reason), found)
    return done(row.outcome, code), recorded(failure_codes=[str(one) for one in codes])


EVERY_END = [(row, code) for row in ROWS for code in FINER.get(row.name, (row.code,))]


@pytest.mark.parametrize(("row", "code"), EVERY_END, ids=lambda one: getattr(one, "name", one))
def test_every_row_of_the_table_is_a_success_a_failure_or_a_reason_to_park(row: Row, code: str) -> None:
    end = end_of(*ended(row, code))
    expected = Meaning.PARK if row.name in PARKED else Meaning.FAILURE
    assert end.meaning is (Meaning.SUCCESS if row.name == "completed" else expected)
    assert end.why == (None if row.name == "completed" else Reason(code, "so it was"))


def test_the_rows_have_every_class_and_the_names_that_are_expected_here() -> None:
    assert {row.code for row in ROWS} == {*CODES}
    assert PARKED | {*FINER} <= {row.name for row in ROWS}


def test_what_counts_for_the_task_never_parks_a_plan() -> None:
    """The breaker counts more than `retries` do, and nothing less."""
    for row in ROWS:
        assert not (row.next.counts and row.name in PARKED), row.name


def test_a_failure_of_the_program_is_the_providers_only_where_the_record_says_so() -> None:
    manifest = done(Outcome.FAILED, "cli_failure")
    assert end_of(manifest, recorded(failure_codes=["API_FAILURE"])).meaning is Meaning.PARK
    assert end_of(manifest, recorded(failure_codes=["EXECUTION_ERROR_EXTERNAL"])).meaning is Meaning.FAILURE
    assert end_of(manifest, recorded(failure_codes=[])).meaning is Meaning.FAILURE
    assert end_of(manifest, None).meaning is Meaning.FAILURE


def test_a_success_stays_one_whatever_the_record_says() -> None:
    end = end_of(done(Outcome.SUCCEEDED, "completed"), recorded(failure_codes=["API_FAILURE"]))
    assert (end.meaning, end.why) == (Meaning.SUCCESS, None)


def test_a_success_of_which_no_record_says_what_it_changed_parks() -> None:
    """A full disk may have taken it: a plan builds on what was seen, and commits nothing else."""
    end = end_of(done(Outcome.SUCCEEDED, "completed"), None)
    assert end.meaning is Meaning.PARK and end.why is not None and end.why.code == "lost"
    assert "result.json" in end.why.message and not end.is_observed


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.LOST])
@pytest.mark.parametrize("code", ["cancelled", "something_new"])
def test_a_run_that_was_cancelled_or_lost_parks_whatever_its_reason_is_called(
    outcome: Outcome, code: str
) -> None:
    assert end_of(done(outcome, code), None).meaning is Meaning.PARK


def test_a_run_without_a_reason_is_called_lost() -> None:
    end = end_of(a_manifest(phase=Phase.DONE, outcome=Outcome.LOST), None)
    assert (end.meaning, end.why) == (Meaning.PARK, Reason("lost", ""))


@pytest.mark.parametrize(
    ("number", "where"),
    [
        (errno.ENOSPC, "/repo/.runs/x"),
        (errno.ENOENT, "/repo"),
        (errno.ENOENT, "/usr/bin/codex"),
        (errno.EACCES, "/repo/.runs/x"),
    ],
)
def test_a_run_whose_program_could_not_be_started_parks(number: int, where: str) -> None:
    reason = start_failure(OSError(number, os.strerror(number), where), an_invocation())
    assert end_of(done(Outcome.FAILED, reason.code), None).meaning is Meaning.PARK, reason.code


def test_a_run_that_never_started_parks() -> None:
    outcome, reason = unseen_end(Action.NEVER_STARTED, Phase.STARTING, process_known=False)
    assert end_of(done(outcome, reason.code), None).meaning is Meaning.PARK


def test_the_work_of_every_end_that_is_kept_in_place_is_kept_in_a_tree_of_its_own_too() -> None:
    """`KEEPING` is about work trees; what the table keeps in place is in it, by the code of its reason."""
    kept = {code for row, code in EVERY_END if row.next.changes is Fate.KEEP and row.name != "completed"}
    unseen = {code for code, outcome in ENDS.items() if outcome is Outcome.LOST} | {"out_of_memory"}
    assert kept | unseen | {"fold_conflict"} == KEEPING


# -- what it changed -----------------------------------------------------------------------------------

BACK: dict[str, Any] = {"restored": ["a"], "removed": [], "kept": [], "left": [], "unequal": []}
SEEN = {
    "changed": ["a.txt", "b.txt"],
    "absent": [],
    "head_moved": False,
    "moved_refs": [],
    "dirty_before": ["a.txt"],
    "unknown": [],
}


def test_the_files_come_from_what_was_seen_and_not_from_what_was_said() -> None:
    end = end_of(done(Outcome.REJECTED, "verify_failed"), recorded(observed=SEEN))
    assert (end.changed, end.dirty_before, end.is_observed) == (("a.txt", "b.txt"), ("a.txt",), True)


@pytest.mark.parametrize("record", [None, recorded(observed=None)], ids=["no record", "nobody looked"])
def test_where_nobody_looked_nothing_is_known_of_the_files(record: Record | None) -> None:
    end = end_of(done(Outcome.FAILED, "partial"), record)
    assert (end.changed, end.dirty_before, end.is_observed, end.is_back) == ((), (), False, False)


@pytest.mark.parametrize(
    ("rolled_back", "is_back"),
    [
        (None, False),
        (BACK, True),
        ({**BACK, "restored": [], "kept": ["a.txt.1"]}, True),
        ({**BACK, "left": ["b.txt: Permission denied"]}, False),
        ({**BACK, "unequal": ["modified: b.txt"]}, False),
        ({"refused": "HEAD moved"}, False),
    ],
    ids=["never tried", "all", "all, with a copy", "something is left", "something differs", "refused"],
)
def test_a_change_is_back_only_where_all_of_it_was_seen_to_be(
    rolled_back: dict[str, Any] | None, is_back: bool
) -> None:
    end = end_of(done(Outcome.REJECTED, "verify_failed"), recorded(rolled_back=rolled_back))
    assert end.is_back is is_back


# -- the record ----------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = RunDir(str(tmp_path), "work", "20261120T101504438Z-50151d5c")
    os.makedirs(made.path)
    return made


def test_the_record_of_a_run_is_read_from_its_folder(run: RunDir) -> None:
    assert load(run.result) is None
    write_result(run, a_result(observed=SEEN))
    found = load(run.result)
    assert found == recorded(observed=SEEN)


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b'"record"', b"\xff\xfe", b"[" * 100_000, b'{"schema_version": 1', b"9" * 5000],
    ids=["empty", "null", "list", "text", "no text", "deep", "cut", "huge"],
)
def test_what_is_no_record_is_none(run: RunDir, data: bytes) -> None:
    Path(run.result).write_bytes(data)
    assert load(run.result) is None


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 99},
        {"schema_version": "1"},
        {"attempt": True},
        {"failure_codes": ["BAD_LUCK"]},
        {"failure_codes": [[]]},
        {"observed": {"changed": "a.txt"}},
        {"observed": {"changed": [7]}},
        {"observed": []},
        {"rolled_back": {}},
        {"rolled_back": {"refused": None}},
        {"rolled_back": "all"},
        {"checks": [{**a_result()["checks"][0], "duration_s": 10**400}]},
        {"checks": [{**a_result()["checks"][0], "duration_s": float("inf")}]},
    ],
    ids=lambda change: str(change)[:60],
)
def test_a_record_that_says_something_impossible_is_none(run: RunDir, change: dict[str, Any]) -> None:
    write_result(run, a_result(**change))
    assert load(run.result) is None


def test_a_pipe_or_a_link_in_the_place_of_the_record_is_not_waited_for(run: RunDir, tmp_path: Path) -> None:
    os.mkfifo(run.result)
    assert load(run.result) is None
    os.unlink(run.result)
    (tmp_path / "other.json").write_text(json.dumps(a_result()), encoding="utf-8")
    os.symlink(tmp_path / "other.json", run.result)
    assert load(run.result) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(sorted(a_result())), JSON, min_size=1, max_size=3))
def test_whatever_lies_there_is_a_record_that_ends_a_batch_or_none(run: RunDir, change: Any) -> None:
    write_result(run, a_result(**change))
    end = end_of(done(Outcome.REJECTED, "verify_failed"), load(run.result))
    assert end.meaning in (Meaning.FAILURE, Meaning.PARK)


@pytest.mark.parametrize(("codes", "expected"), [((), False), ((1,), False), ((0,), True)])
def test_a_run_was_checked_only_if_a_command_of_ours_has_passed(
    codes: tuple[int, ...], expected: bool
) -> None:
    checks = tuple(Check(("pytest",), code, False, 0.1, "") for code in codes)
    manifest = done(Outcome.SUCCEEDED, "completed")
    assert end_of(manifest, recorded().replace(checks=checks)).is_checked is expected
    assert end_of(manifest, None).is_checked is False
