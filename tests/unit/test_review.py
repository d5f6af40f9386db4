"""The report and the change of a run that is over, from what lies in its folder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.ended import a_result, a_worktree, an_ended_run, write_result
from support.imports import ROOT
from support.work import Work

from runner.cli.end import end_text
from runner.errors import Conflict
from runner.model import Level, Outcome, Phase, Price, Reason, Terms, Usage
from runner.runtimes import PLAN
from runner.state.authentic import write_record
from runner.state.events import EventLog
from runner.state.lineage import lineage_of
from runner.state.manifest import RuntimeFound, Workspace
from runner.state.plan_ledger import Breaker, PlanLedger, Step
from runner.state.store import RunDir
from runner.usecases import review
from runner.usecases.fate import in_words
from runner.usecases.review import Reviewed
from runner.verify.record import LARGEST, Record
from runner.workspace import rollback, snapshot

SCHEMA = json.loads((ROOT / "schemas" / "report.schema.json").read_text(encoding="utf-8"))
CONTRACT = Terms(output_contract="final", scope=("a.txt",))


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path)
    made.write("a.txt", "a\n")
    made.commit()
    return made


@pytest.fixture
def run(work: Work) -> RunDir:
    refused = {"outcome": Outcome.REJECTED, "code": "verify_failed"}
    return an_ended_run(work.root, terms=CONTRACT, verify=(("pytest",),), **refused)


def reviewed(run: RunDir) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The JSON as a script gets it, and the notes."""
    found: Reviewed = review.report(run)
    data: dict[str, Any] = json.loads(json.dumps(found.report.to_json()))
    Draft202012Validator(SCHEMA).validate(data)
    return data, found.notes


# -- the report ------------------------------------------------------------------------------------


def test_a_report_puts_claims_beside_what_was_found(run: RunDir) -> None:
    write_result(run, a_result())
    data, notes = reviewed(run)
    assert notes == ()
    assert (data["outcome"], data["reason"]["code"]) == ("rejected", "verify_failed")
    assert data["files"] == {
        "claimed": ["a.txt"],
        "observed": ["a.txt", "b.txt"],
        "outside_scope": ["b.txt"],
        "lines": None,
    }
    assert data["claims"]["status"] == "completed" and data["assumptions"] == ["port 80"]
    assert [check["exit_code"] for check in data["checks"]] == [1]
    assert [finding["code"] for finding in data["findings"]] == ["claim_contradicted"]
    assert data["failure_codes"] == ["WRONG_LOGIC"]
    assert data["conformance"]["model"]["verdict"] == "drift"
    assert data["conformance"]["sandbox"]["verdict"] == "unverified"


def test_without_a_result_only_the_manifest_speaks(run: RunDir) -> None:
    data, notes = reviewed(run)
    assert notes == ()
    assert data["files"] == {"claimed": None, "observed": None, "outside_scope": None, "lines": None}
    assert data["claims"]["status"] is None and data["findings"] == [] and data["checks"] == []
    assert "1 of 1 verify commands were not run" in data["residual_risk"]


def test_without_a_result_the_checks_are_those_that_the_events_tell_of(run: RunDir) -> None:
    log = EventLog(run.events)
    check = {"argv": ["pytest"], "exit_code": 1, "timed_out": False, "duration_s": 1, "tail": ""}
    log.append("started", attempt=1)
    log.append("checked", **check)
    log.append("started", attempt=2)
    log.append("checked", **{**check, "exit_code": 0})
    log.append("checked", argv="no list")
    data, _ = reviewed(run)
    assert [one["exit_code"] for one in data["checks"]] == [0], "of the last attempt"
    assert "1 of 1 verify commands were not run" not in data["residual_risk"]


def test_a_run_that_is_not_done_has_a_report_and_no_result_yet(run: RunDir, work: Work) -> None:
    write_result(run, a_result())
    lock_fd = run.try_lock()
    assert lock_fd is not None
    running = run.read_manifest().replace(phase=Phase.RUNNING, outcome=None, reason=None, ended_at=None)
    run.write_manifest(running)
    data, notes = reviewed(run)
    os.close(lock_fd)
    assert (data["outcome"], data["claims"]["status"], notes) == (None, None, ())


BROKEN: dict[str, object] = {
    "empty": b"",
    "cut off": json.dumps(a_result())[:200].encode(),
    "not UTF-8": b"\xff\xfe{",
    "deep": b"[" * 200_000,
    "another thing": b"[]",
    "a number": b"7",
    "a check that took for ever": json.dumps(a_result()).replace("1.5", "Infinity").encode(),
    "a check that took too long": json.dumps(a_result()).replace("1.5", "1e999").encode(),
    "a newer version": a_result(schema_version=2),
    "an unknown status": a_result(claim={**a_result()["claim"], "status": "great"}),
    "an unknown severity": a_result(findings=[{**a_result()["findings"][0], "severity": "bad"}]),
    "an unstable code": a_result(findings=[{**a_result()["findings"][0], "code": "\x1b[2J"}]),
    "an unknown kind of failure": a_result(failure_codes=["OTHER"]),
    "an unknown verdict": a_result(conformance={"model": {"declared": 1, "observed": 2, "verdict": "x"}}),
    "paths that are none": a_result(observed={"changed": [1]}),
    "a field less": {key: value for key, value in a_result().items() if key != "checks"},
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_result_that_is_none_is_a_note_and_no_error(name: str, run: RunDir) -> None:
    value = BROKEN[name]
    Path(run.result).write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    data, (note,) = reviewed(run)
    assert note.startswith("result.json cannot be used") and len(note) < 300 and "\x1b" not in note
    assert data["outcome"] == "rejected" and data["claims"]["status"] is None


def test_a_result_that_is_a_link_a_fifo_a_folder_or_huge_is_not_read(run: RunDir, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(json.dumps(a_result()))

    def huge() -> None:
        with open(run.result, "wb") as file:
            file.truncate(LARGEST * 1000)

    for make in (
        lambda: os.symlink(elsewhere, run.result),
        lambda: os.mkfifo(run.result),
        lambda: os.mkdir(run.result),
        huge,
    ):
        make()
        data, (note,) = reviewed(run)
        assert note.startswith("result.json cannot be used"), note
        assert data["claims"]["status"] is None
        os.rmdir(run.result) if os.path.isdir(run.result) else os.unlink(run.result)


def test_a_result_of_another_attempt_says_nothing_of_this_one(run: RunDir) -> None:
    write_result(run, a_result(attempt=2))
    data, (note,) = reviewed(run)
    assert "of attempt 2" in note and data["claims"]["status"] is None


def test_without_an_invocation_it_says_that_nobody_knows_what_was_allowed(run: RunDir) -> None:
    write_result(run, a_result())
    os.unlink(run.invocation)
    data, (note,) = reviewed(run)
    assert "the terms of the run are not known" in note
    assert data["files"]["outside_scope"] is None and data["claims"]["status"] == "completed"


def test_secrets_and_escape_sequences_do_not_get_into_a_report(run: RunDir) -> None:
    secret = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"
    claim = {**a_result()["claim"], "summary": f"\x1b[2Jkey {secret}", "issues": [f"see {secret}"]}
    write_result(run, a_result(claim=claim))
    data, _ = reviewed(run)
    text = json.dumps(data)
    assert secret not in text and "\\u001b" not in text and "[redacted]" in text


def test_it_says_what_became_of_the_changes(work: Work) -> None:
    place = Workspace("in-place", str(work.root), None)
    run = an_ended_run(work.root, outcome=Outcome.REJECTED, workspace=place)
    rolled = {"restored": ["a"], "removed": ["b"], "kept": ["k"], "left": ["x"], "unequal": ["y"]}
    write_result(run, a_result(rolled_back={**rolled, "tree": "0", "patch": "p", "index_restored": True}))
    found = review.report(run)
    assert "rolled back (2 files)" in found.change[0] and [n[-1] for n in found.notes[:2]] == ["x", "y"]
    assert found.notes[2] == f"1 file was edited meanwhile and kept in {run.path}/kept"
    write_result(run, a_result(rolled_back={"refused": "HEAD moved", "hint": None}))
    found = review.report(run)
    (kept,), (why,) = found.change, found.notes
    assert "2 files kept in your tree (its rollback was refused)" in kept and "HEAD moved" in why


def test_a_record_comes_back_as_it_was_written() -> None:
    found = Record.from_json(a_result())
    assert found.claim is not None and found.observed is not None
    assert found.claim.to_json() == a_result()["claim"] | {"findings": [], "synthesis": None}
    assert found.observed.to_json() == a_result()["observed"]
    assert [check.to_json() for check in found.checks] == a_result()["checks"]
    assert [finding.to_json() for finding in found.findings] == a_result()["findings"]


# -- the change ------------------------------------------------------------------------------------


def in_place(work: Work, run: RunDir) -> None:
    """What a run in place leaves: a record, and then its changes."""
    assert snapshot.take(str(work.root), run.path) is not None
    work.write("a.txt", "changed\n")
    work.write("blob", bytes(range(256)))
    work.write(b"w\xe9ird \n\xff", "new\n")


def test_the_change_of_a_run_is_a_patch_that_git_takes(work: Work, run: RunDir, tmp_path: Path) -> None:
    in_place(work, run)
    patch = review.diff(run)
    assert {one.path: (one.added, one.removed) for one in patch.files} == {
        "a.txt": (1, 1),
        "blob": (None, None),
        os.fsdecode(b"w\xe9ird \n\xff"): (1, 0),
    }
    assert patch.kept is None and "all changes since the run began" in patch.notes[0]
    other = Work(tmp_path, "other")
    other.write("a.txt", "a\n")
    other.git("apply", "-", stdin=patch.data)
    assert other.read("blob") == bytes(range(256)) and other.read(b"w\xe9ird \n\xff") == b"new\n"


def test_after_a_rollback_the_change_is_what_was_taken_away(work: Work, run: RunDir) -> None:
    in_place(work, run)
    before = review.diff(run)
    taken = snapshot.load(run.path)
    assert taken is not None
    rollback.roll_back(taken)
    after = review.diff(run)
    assert (after.data, after.files) == (before.data, before.files)
    assert after.kept == f"{run.path}/discarded.patch" and "rolled back" in after.notes[0]


def test_a_patch_in_another_encoding_has_no_text(work: Work, run: RunDir) -> None:
    assert snapshot.take(str(work.root), run.path) is not None
    assert review.diff(run).text == "" and review.diff(run).files == ()
    work.write("a.txt", b"caf\xe9\n")
    assert review.diff(run).text is None


def test_of_a_run_that_was_not_recorded_there_is_no_change_to_show(work: Work) -> None:
    run = an_ended_run(work.root)
    declared = run.read_manifest().sandbox.replace(level=Level.READ_ONLY)
    run.write_manifest(run.read_manifest().replace(sandbox=declared))
    with pytest.raises(Conflict, match="was read-only: its files were not recorded"):
        review.diff(run)
    with pytest.raises(Conflict, match="nothing was recorded before") as error:
        review.diff(an_ended_run(work.root))
    assert "outside git" in (error.value.hint or "")


def test_a_snapshot_that_is_broken_or_of_another_run_is_refused(work: Work, run: RunDir) -> None:
    in_place(work, run)
    other = an_ended_run(work.root)
    record = Path(run.path, "workspace.json").read_text()
    for text, why in ((record, "was not written here"), ("{", "cannot be read"), ("[]", "cannot be read")):
        Path(other.path, "workspace.json").write_text(text)
        with pytest.raises(Conflict, match=why):
            review.diff(other)
    os.unlink(f"{other.path}/workspace.json")
    os.mkfifo(f"{other.path}/workspace.json")
    with pytest.raises(Conflict, match="cannot be read"):
        review.diff(other)


@pytest.mark.parametrize("name", ["HEAD", "config", "ignore", "index.base", "objects/info/alternates"])
def test_a_fifo_in_the_place_of_a_recorded_file_holds_nobody_up(work: Work, run: RunDir, name: str) -> None:
    in_place(work, run)
    os.unlink(f"{run.path}/workspace/{name}")
    os.mkfifo(f"{run.path}/workspace/{name}")
    with pytest.raises(Conflict, match="not a regular file"):
        review.diff(run)


@pytest.mark.parametrize("kind", ["empty folder", "file", "link to itself"])
def test_a_record_that_is_not_there_any_more_is_said_to_be_so(work: Work, run: RunDir, kind: str) -> None:
    in_place(work, run)
    record = Path(run.path, "workspace")
    shutil.rmtree(record)
    if kind == "empty folder":
        record.mkdir()
    elif kind == "file":
        record.write_text("")
    else:
        record.symlink_to(record)
    with pytest.raises(Conflict, match=r"cannot be read|is not whole"):
        review.diff(run)


def test_the_change_of_a_run_in_its_own_tree_is_told_without_the_users(work: Work, run: RunDir) -> None:
    tree = a_worktree(run, work.head())
    work.write("a.txt", "the user's\n")
    Path(tree.path, "new").write_text("the run's\n")
    patch = review.diff(run)
    assert [one.path for one in patch.files] == ["new"] and patch.notes == ()
    (note,) = review.report(run).change
    assert "waits for your decision" in note and tree.path in note


# -- of a plan -------------------------------------------------------------------------------------


@pytest.fixture
def batches(work: Work) -> tuple[RunDir, RunDir]:
    """One that succeeded, and one that was refused."""
    made = (
        an_ended_run(work.root, terms=CONTRACT),
        an_ended_run(work.root, terms=CONTRACT, outcome=Outcome.REJECTED, code="verify_failed"),
    )
    write_result(made[0], a_result(failure_codes=[], findings=[]))
    write_result(made[1], a_result())
    return made


@pytest.fixture
def plan(work: Work, batches: tuple[RunDir, RunDir]) -> RunDir:
    """The run of a plan of three batches, of which the last one was never begun."""
    steps = tuple(Step(n, (f"U{n}",)) for n in (1, 2, 3))
    ledger = PlanLedger("plan.toml", "Shop", steps, Breaker(3))
    ledger = ledger.began(1, lineage_of(batches[0])).succeeded(1, changed=("a.txt",))
    ledger = ledger.began(2, lineage_of(batches[1])).failed(2, Reason("verify_failed", "no"))
    program = RuntimeFound(PLAN, "/usr/bin/python3", "1")
    ended = {"outcome": Outcome.FAILED, "code": "batches_left", "runtime": PLAN}
    run = an_ended_run(work.root, plan=ledger.shown(is_over=True), **ended)
    run.write_manifest(run.read_manifest().replace(runtime=program))
    write_record(run.ledger, ledger.to_json())
    return run


def test_a_plan_says_of_each_batch_that_did_not_succeed_where_its_change_is(
    plan: RunDir, batches: tuple[RunDir, RunDir], work: Work
) -> None:
    assert in_words(plan, plan.read_manifest(), "x") is None, "nothing was recorded of their changes"
    for batch in batches:
        in_place = Workspace("in-place", str(work.root), None)
        batch.write_manifest(batch.read_manifest().replace(workspace=in_place))
    told = f"batch 2: 2 files kept in your tree: runner diff {batches[1].run_id[20:24]}"
    assert in_words(plan, plan.read_manifest(), "x") == told
    shutil.rmtree(batches[1].path)
    assert in_words(plan, plan.read_manifest(), "x") is None
    for spoilt in ({}, {"batches": 5}, {"batches": [{"n": 1, "status": "failed", "run_id": 5}]}):
        assert in_words(plan, plan.read_manifest().replace(plan=spoilt), "x") is None


def test_the_last_lines_on_a_plan_say_what_all_its_batches_have_cost(
    plan: RunDir, batches: tuple[RunDir, RunDir]
) -> None:
    def took() -> str:
        return next(line for line in end_text(plan, plan.read_manifest()).split("\n") if "took" in line)

    assert "price" not in took(), "no batch is a child of it"
    Path(plan.control, "children").mkdir(exist_ok=True)
    for batch in batches:
        Path(plan.control, "children", f"{batch.task_id}@{batch.run_id}").touch()
        known = {"usage": Usage(1_000_000, 400_000, 100_000), "price": Price(2.0, 0.5, 10.0)}
        batch.write_manifest(batch.read_manifest().replace(parent=lineage_of(plan), **known))
    assert took().endswith(" 2,200,000 tokens of its runs, price 4.8000")
    batches[1].write_manifest(batches[1].read_manifest().replace(price=None))
    assert took().endswith(", price 2.4000 (without 1 run whose price is not known)")
    Path(plan.ledger).write_text("no ledger")
    assert "price" not in took()


def test_the_report_of_a_plan_is_that_of_its_batches_with_what_is_left(plan: RunDir) -> None:
    data, notes = reviewed(plan)
    assert (data["run_id"], data["outcome"], data["reason"]["code"]) == (
        plan.run_id,
        "failed",
        "batches_left",
    )
    assert data["files"]["observed"] == ["a.txt", "b.txt"], "of the one that succeeded"
    assert [finding["message"] for finding in data["findings"]] == ["batch 2: it lies"]
    assert data["failure_codes"] == ["WRONG_LOGIC"] and len(data["checks"]) == 2
    assert data["assumptions"] == ["batch 1: port 80", "batch 2: port 80"]
    assert data["summary"] == "batch 1: Did it.\nbatch 2: Did it."
    assert data["residual_risk"][0] == "not done: U2, U3" and notes == ()


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", '{"steps": 1}', "[" * 200_000], ids=lambda t: str(t)[:9]
)
def test_a_ledger_that_cannot_be_read_is_a_note_and_no_error(plan: RunDir, text: str | None) -> None:
    path = Path(plan.ledger)
    path.unlink() if text is None else path.write_text(text, encoding="utf-8")
    data, (note,) = reviewed(plan)
    assert note.startswith("the results of its runs are not known: ledger.json") and len(note) < 600
    assert (data["outcome"], data["checks"], data["findings"]) == ("failed", [], [])


@pytest.mark.parametrize("run_id", ["../../../etc", "", "20261120T101504438Z-50151d5c"])
def test_a_batch_whose_run_is_gone_or_none_is_left_out(plan: RunDir, run_id: str) -> None:
    found = json.loads(Path(plan.ledger).read_bytes())
    found["steps"][1]["run"]["run_id"] = run_id
    write_record(plan.ledger, {key: value for key, value in found.items() if key != "mac"})
    data, notes = reviewed(plan)
    assert data["summary"] == "batch 1: Did it." and data["findings"] == []
    assert [note.startswith("batch 2 is not in this report") for note in notes] == [True] * (len(run_id) > 20)


def test_what_is_wrong_with_the_result_of_a_batch_names_it(
    plan: RunDir, batches: tuple[RunDir, RunDir]
) -> None:
    Path(batches[0].result).write_text("{", encoding="utf-8")
    data, (note,) = reviewed(plan)
    assert note.startswith("batch 1: result.json cannot be used")
    assert data["files"]["observed"] is None, "what one does not know, the plan does not know either"


@pytest.mark.parametrize("ledger", ["whole", "broken"])
def test_a_plan_has_no_change_of_its_own_and_says_who_has(plan: RunDir, ledger: str) -> None:
    if ledger == "broken":
        Path(plan.ledger).write_text("{", encoding="utf-8")
    with pytest.raises(Conflict, match="is the run of a plan") as error:
        review.diff(plan)
    assert "runner status RUN" in (error.value.hint or "")
