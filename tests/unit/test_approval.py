"""Approvals: what a stage of a pipeline asks of a person, and that nobody else can settle it."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from support.ended import an_ended_run
from support.stages import PLAN

from runner.conduct import stage_plan
from runner.errors import RunnerError
from runner.ledger.entry import HUMAN, OWNER, EntryType, NewEntry
from runner.ledger.file import Ledger
from runner.model import Lineage
from runner.state.authentic import write_record
from runner.state.plan_ledger import Breaker, PlanLedger, Step, StepKind
from runner.state.store import RunDir, new_run_id
from runner.usecases import approval, inbox
from runner.usecases import ledger as ledgers
from runner.usecases.ledger import Author

PERSON = Author(HUMAN)
DOCUMENT = "docs/prd.md"


def a_pipeline(root: Path, at: float | None = None, after: RunDir | None = None) -> RunDir:
    """A run of a pipeline, perhaps one that goes on with another one."""
    run = an_ended_run(root, task="feature", runtime="plan", run_id=None if at is None else new_run_id(at))
    lineage = None if after is None else Lineage(after.task_id, after.run_id, after.manifest)
    progress = PlanLedger(
        "pipeline feature", None, (), Breaker(3), resumed_from=lineage, stages=("prd", "then")
    )
    write_record(run.ledger, progress.to_json())
    return run


def write(root: Path, text: str = "What is wanted.\n") -> None:
    (root / "docs").mkdir(exist_ok=True)
    (root / DOCUMENT).write_text(text)


def decide(run: RunDir, stage: str | None = None, *, approves: bool = True, note: str | None = None) -> Any:
    ledger = ledgers.ledger_of(run)
    asked = approval.meant(ledger, stage)
    shown = approval.document(run.repo, asked.text("file")) if asked.text("file") else None
    return approval.decide(ledger, PERSON, asked, shown, approves, note)


def refused(call: Any, *args: Any, **named: Any) -> RunnerError:
    with pytest.raises(RunnerError) as found:
        call(*args, **named)
    return found.value


def test_a_decision_is_none_until_a_person_has_made_it(tmp_path: Path) -> None:
    run = a_pipeline(tmp_path)
    write(tmp_path)
    entry = approval.ask(run, "prd", "Is this what we want?", DOCUMENT)
    assert approval.decision(run, entry) is None
    (asked,) = approval.pending(ledgers.ledger_of(run))
    assert (asked.id, asked.text("file"), asked.run_id) == (entry, DOCUMENT, run.run_id)
    decide(run, "prd", note="Yes.")
    found = approval.decision(run, entry)
    assert found is not None and found.approved and found.note == "Yes."
    assert found.digest == asked.text("digest") == approval.document(run.repo, DOCUMENT).digest
    assert approval.pending(ledgers.ledger_of(run)) == ()


def test_an_approval_is_bound_to_the_bytes_of_its_document(tmp_path: Path) -> None:
    run = a_pipeline(tmp_path)
    write(tmp_path)
    approval.ask(run, "prd", "Is it?", DOCUMENT)
    ledger = ledgers.ledger_of(run)
    asked, shown = approval.meant(ledger, "prd"), approval.document(run.repo, DOCUMENT)
    write(tmp_path, "Something else.\n")
    error = refused(approval.decide, ledger, PERSON, asked, shown, True, None)
    assert error.code == "proposal_outdated"
    assert approval.pending(ledger) == (asked,)
    os.remove(tmp_path / DOCUMENT)
    assert refused(approval.decide, ledger, PERSON, asked, shown, True, None).code == "conflict"
    assert refused(approval.decide, ledger, PERSON, asked, None, True, None).code == "conflict"
    approval.decide(ledger, PERSON, asked, None, False, "It is gone.")
    found = approval.decision(run, asked.id)
    assert found is not None and (found.approved, found.note, found.digest) == (False, "It is gone.", None)


@pytest.mark.parametrize(
    "what", ["link out", "folder behind a link", "fifo", "folder", "too large", "missing", "empty", "blank"]
)
def test_what_is_no_plain_file_of_the_repository_cannot_be_approved(what: str, tmp_path: Path) -> None:
    root, outside = tmp_path / "repo", tmp_path / "outside"
    outside.mkdir()
    (outside / "prd.md").write_text("Not of the repository.")
    root.mkdir()
    run = a_pipeline(root)
    if what == "folder behind a link":
        (root / "docs").symlink_to(outside)
    else:
        (root / "docs").mkdir()
    place = root / DOCUMENT
    if what == "link out":
        place.symlink_to(outside / "prd.md")
    elif what == "fifo":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    elif what == "too large":
        with place.open("wb") as file:
            file.truncate((16 << 20) + 1)
    elif what in ("empty", "blank"):
        place.write_text("" if what == "empty" else "\ufeff \n\t\n\u00a0\n")
    approval.ask(run, "prd", "Is it?", DOCUMENT)
    (asked,) = approval.pending(ledgers.ledger_of(run))
    assert not asked.text("digest")
    assert refused(decide, run).code == "conflict"
    assert approval.pending(ledgers.ledger_of(run)) == (asked,)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("\u200b\u200b".encode(), "is empty"),
        ("\ufeff\u2800\u3164\ufe0f\u200d\u00ad\n".encode(), "is empty"),
        (b"\x1b[2J\x1b]0;title\x07 \n", "is empty"),
        (b"\0" * 50, "is no UTF-8 text"),
        ("   \n".encode("utf-16"), "is no UTF-8 text"),
        ("What is wanted.".encode("utf-16-le"), "is no UTF-8 text"),
        ("Größe".encode("latin-1"), "is no UTF-8 text"),
        (b"What\0is wanted.", "is no UTF-8 text"),
        ("\ufeffGröße \u200b\ufffd".encode(), None),
        ("\U0001f468\u200d\U0001f469".encode(), None),
    ],
    ids=str,
)
def test_what_nobody_could_read_is_no_document(data: bytes, why: str | None, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / DOCUMENT).write_bytes(data)
    assert (approval.legible(str(tmp_path), DOCUMENT) is None) == (why is not None)
    if why is not None:
        assert why in refused(approval.document, str(tmp_path), DOCUMENT).message


@pytest.mark.parametrize("place", [".git/x.md", ".runs/feature/ledger.json", "sub/.Git/x.md"])
def test_what_git_or_runner_keeps_for_itself_is_no_document(place: str, tmp_path: Path) -> None:
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text("What an agent has said.\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / DOCUMENT).symlink_to(f"../{place}")
    (tmp_path / "behind").symlink_to(tmp_path)
    for root in (tmp_path, tmp_path / "behind"):
        for file in (place, DOCUMENT):
            assert "keeps its own" in refused(approval.document, str(root), file).message
        write(tmp_path / "behind" / "docs", "A real one.\n")
        assert approval.document(str(root), "docs/docs/prd.md").lines == 1


def test_a_stage_that_is_called_as_an_entry_is_not_that_entry(tmp_path: Path) -> None:
    run = a_pipeline(tmp_path)
    first = approval.ask(run, "one", "Is it?", None)
    decide(run, "one")
    second = approval.ask(run, first, "Is it?", None)
    assert second != first and approval.decision(run, second) is None
    ledger = ledgers.ledger_of(run)
    assert approval.meant(ledger, first).id == second
    assert refused(approval.meant, ledger, first, is_id=True).code == "already_decided"
    asked = approval.meant(ledger, second, is_id=True)
    decide(run, first)
    late = refused(approval.decide, ledger, PERSON, asked, None, False, None)
    assert late.message.startswith(f"{first} was approved")
    third = approval.ask(run, "e-0006", "Is it?", None)
    fourth = approval.ask(run, third, "Is it?", None)
    assert (third, fourth) == ("e-0005", "e-0006"), "each stage is called as what the other one is asked by"
    assert [approval.meant(ledger, one).id for one in (third, fourth)] == [fourth, third]
    assert refused(approval.meant, ledger, first).code == "already_decided", "and not what has its id"


def test_a_link_inside_of_the_repository_leads_to_a_document(tmp_path: Path) -> None:
    run = a_pipeline(tmp_path)
    write(tmp_path)
    (tmp_path / "docs/newest.md").symlink_to("prd.md")
    entry = approval.ask(run, "prd", "Is it?", "docs/newest.md")
    decide(run)
    assert approval.decision(run, entry) is not None


def test_of_two_people_at_once_one_decides_and_the_other_is_told_who(tmp_path: Path) -> None:
    run = a_pipeline(tmp_path)
    write(tmp_path)
    entry = approval.ask(run, "prd", "Is it?", DOCUMENT)
    asked, shown = approval.meant(ledgers.ledger_of(run), None), approval.document(run.repo, DOCUMENT)
    codes: list[str] = []
    together = threading.Barrier(8)

    def one(n: int) -> None:
        together.wait()
        try:
            ledger = Ledger(run.repo, "feature")
            approval.decide(ledger, PERSON, asked, shown, bool(n % 2), f"{n}")
            codes.append("done")
        except RunnerError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == ["already_decided"] * 7 + ["done"]
    found = approval.decision(run, entry)
    assert found is not None and found.approved is bool(int(found.note or "") % 2)
    assert refused(decide, run, "prd").code == "already_decided"


# -- who may not ---------------------------------------------------------------------------------------------

SPEAKERS = {
    "owner": {"actor": OWNER},
    "runner": {"actor": "runner"},
    "another task": {"actor": "build", "run_id": "r1", "runtime": "codex"},
    "a task with the name of the pipeline": {"actor": "feature", "run_id": "r2", "runtime": "claude"},
    "a task that is called human": {"actor": "human", "run_id": "r3", "runtime": "codex"},
}
T = EntryType
SETTLING: dict[str, tuple[EntryType, dict[str, Any], str | None]] = {
    "approve": (T.REPLY, {"text": "yes", "decision": "approved", "signer": "me"}, None),
    "reply": (T.REPLY, {"text": "fine"}, None),
    "note": (T.NOTE, {"text": "fine"}, None),
    "take": (T.HANDOFF_TAKEN, {}, None),
    "propose": (T.FINALITY_PROPOSED, {"summary": "s", "evidence": "e"}, None),
    "hand on": (T.HANDOFF, {"reason": "r", "ask": "a"}, "build"),
    "supersede": (T.HANDOFF, {"reason": "r", "ask": "a", "supersedes": "e-0001"}, "build"),
    "ask anew": (T.HANDOFF, {"reason": "r", "ask": "a", "supersedes": "e-0001", "approval": "prd"}, "human"),
    "on its lane": (T.HANDOFF, {"reason": "r", "ask": "a", "lane": "prd"}, "build"),
}


@pytest.mark.parametrize("who", SPEAKERS)
@pytest.mark.parametrize("how", SETTLING)
def test_no_agent_settles_an_approval(who: str, how: str, tmp_path: Path) -> None:
    run = a_pipeline(tmp_path)
    entry = approval.ask(run, "prd", "Is it?", None)
    assert entry == "e-0001"
    kind, payload, to = SETTLING[how]
    handles = () if how == "on its lane" else (entry,)
    draft = NewEntry(kind, payload=payload, to=to, handles=handles, **SPEAKERS[who])  # type: ignore[arg-type]
    ledger = ledgers.ledger_of(run)
    assert refused(ledger.append, draft, str).code in ("people_only", "entry_invalid", "not_your_turn")
    assert [one.id for one in approval.pending(ledger)] == [entry]


@pytest.mark.parametrize("how", [how for how in SETTLING if how != "approve"])
def test_a_person_settles_an_approval_by_a_decision_alone(how: str, tmp_path: Path) -> None:
    run = a_pipeline(tmp_path)
    entry = approval.ask(run, "prd", "Is it?", None)
    kind, payload, to = SETTLING[how]
    handles = () if how == "on its lane" else (entry,)
    ledger = ledgers.ledger_of(run)
    error = refused(ledger.append, NewEntry(kind, HUMAN, payload, to, handles), str)
    assert error.code == ("not_your_turn" if how == "take" else "entry_invalid")
    assert how in ("ask anew", "take") or "runner approve TASK prd" in (error.hint or "")
    assert [one.id for one in approval.pending(ledger)] == [entry]


def test_a_reply_that_names_nothing_is_no_approval_and_a_handoff_goes_elsewhere(tmp_path: Path) -> None:
    run = a_pipeline(tmp_path)
    approval.ask(run, "prd", "Is it?", None)
    ledger = ledgers.ledger_of(run)
    error = refused(ledgers.append, ledger, PERSON, EntryType.REPLY, {"text": "Looks fine."})
    assert (error.code, error.hint) == (
        "entry_invalid",
        "`runner approve feature prd`, perhaps with --reject",
    )
    handed = ledgers.append(ledger, PERSON, EntryType.HANDOFF, {"reason": "r", "ask": "a"}, to="build")
    assert handed.text("lane") == "main" and len(approval.pending(ledger)) == 1
    ledgers.append(ledger, PERSON, EntryType.FINALITY_PROPOSED, {"summary": "s", "evidence": "e"})
    signed = ledgers.decide(ledger, PERSON, signs=True)
    assert signed.handles == (handed.id,)
    assert [one.text("approval") for one in approval.pending(ledger)] == ["prd"], (
        "no signature of something else ends it"
    )


def test_nobody_but_the_run_of_a_pipeline_asks(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    assert refused(approval.ask, run, "prd", "Is it?", None).code == "entry_invalid"
    asker = a_pipeline(tmp_path)
    approval.ask(asker, "prd", "Is it?", None)
    ledger, asked = ledgers.ledger_of(asker), approval.meant(ledgers.ledger_of(asker), None)
    author = ledgers.of_run(asker)
    error = refused(approval.decide, ledger, author, asked, None, True, None)
    assert error.code == "people_only"


# -- asked again ---------------------------------------------------------------------------------------------


def test_while_it_is_open_it_counts_for_the_file_whatever_becomes_of_it(tmp_path: Path) -> None:
    run = a_pipeline(tmp_path)
    first = approval.ask(run, "prd", "Write it.", DOCUMENT)
    for text in ("One.\n", "Another one.\n"):
        write(tmp_path, text)
        assert approval.ask(run, "prd", "Is it?", DOCUMENT) == first
    decide(run)
    found = approval.decision(run, first)
    assert found is not None and found.digest == approval.document(run.repo, DOCUMENT).digest
    assert approval.ask(run, "prd", "Is it?", DOCUMENT) == first


def test_what_was_asked_before_it_was_there_and_approved_while_nobody_lived_is_not_asked_again(
    tmp_path: Path,
) -> None:
    killed = a_pipeline(tmp_path, 1_000_000.0)
    entry = approval.ask(killed, "prd", "Write it, and approve it.", DOCUMENT)
    write(tmp_path)
    decide(killed)
    resumed = a_pipeline(tmp_path, 2_000_000.0, killed)
    assert approval.ask(resumed, "prd", "Is it?", DOCUMENT) == entry
    write(tmp_path, "Not what was approved.\n")
    assert approval.ask(resumed, "prd", "Is it?", DOCUMENT) != entry


def test_a_rejection_counts_for_the_document_that_was_rejected(tmp_path: Path) -> None:
    run = a_pipeline(tmp_path)
    write(tmp_path)
    entry = approval.ask(run, "prd", "Is it?", DOCUMENT)
    decide(run, approves=False, note="No.")
    assert approval.ask(run, "prd", "Is it?", DOCUMENT) == entry
    write(tmp_path, "More.\n")
    again = approval.ask(run, "prd", "Is it?", DOCUMENT)
    assert again != entry and approval.decision(run, again) is None
    os.remove(tmp_path / DOCUMENT)
    decided = approval.meant(ledgers.ledger_of(run), "prd")
    approval.decide(ledgers.ledger_of(run), PERSON, decided, None, False, "It is gone.")
    assert approval.ask(run, "prd", "Is it?", DOCUMENT) == again
    write(tmp_path, "Back.\n")
    assert approval.ask(run, "prd", "Is it?", DOCUMENT) not in (entry, again)


@pytest.mark.parametrize("stage", ["prd", "p" * 64])
@pytest.mark.parametrize("to", ["human", "build"])
def test_a_lane_of_the_name_of_the_stage_may_be_taken(stage: str, to: str, tmp_path: Path) -> None:
    run = a_pipeline(tmp_path)
    ledger, told = ledgers.ledger_of(run), {"reason": "r", "ask": "a", "lane": stage}
    ledgers.append(ledger, PERSON, EntryType.HANDOFF, told, to=to)
    ledgers.append(ledger, PERSON, EntryType.HANDOFF, told | {"lane": f"{stage[:56]}-2"}, to=to)
    entry = approval.ask(run, stage, "Is it?", None)
    assert ledger.entry(entry).text("lane") == f"{stage[:56]}-3" and len(ledger.state().open) == 3
    assert approval.ask(run, stage, "Is it?", None) == entry
    ledgers.append(ledger, PERSON, EntryType.REPLY, {"text": "Done."}, handles=("e-0001",))
    entry = approval.ask(run, stage, "Is it?", DOCUMENT)
    assert [one.id for one in approval.pending(ledger)] == [entry], "the other one is replaced where it is"
    write(tmp_path)
    decide(run, stage)
    found = approval.decision(run, entry)
    assert found is not None and found.approved and len(ledger.state().open) == 1


def test_another_document_is_asked_for_anew(tmp_path: Path) -> None:
    run = a_pipeline(tmp_path)
    first = approval.ask(run, "prd", "Is it?", "docs/other.md")
    asked = approval.meant(ledgers.ledger_of(run), "prd")
    write(tmp_path)
    second = approval.ask(run, "prd", "Is it?", DOCUMENT)
    assert second != first and [one.id for one in approval.pending(ledgers.ledger_of(run))] == [second]
    assert approval.decision(run, first) is None
    late = refused(approval.decide, ledgers.ledger_of(run), PERSON, asked, None, False, None)
    assert late.code == "approval_not_found" and late.hint == "what waits: prd"
    decide(run)
    assert approval.ask(run, "prd", "Is it?", DOCUMENT) == second, "as the owner may have been killed"
    write(tmp_path, "More.\n")
    third = approval.ask(run, "prd", "Is it?", DOCUMENT)
    assert third not in (first, second) and approval.decision(run, third) is None


def test_an_approval_waits_as_long_as_its_pipeline_can_heed_it(tmp_path: Path) -> None:
    run = a_pipeline(tmp_path, 1_000_000.0)
    approval.ask(run, "prd", "Is it?", DOCUMENT)
    (item,) = inbox.waiting(str(tmp_path))
    assert "(still to be written)" in item.text and "has stopped" in item.text
    assert item.commands[-1] == "runner start --pipeline feature --resume"
    write(tmp_path)
    (item,) = inbox.waiting(str(tmp_path))
    assert "still to be written" not in item.text
    resumed = a_pipeline(tmp_path, 2_000_000.0, run)
    assert len(inbox.waiting(str(tmp_path))) == 1
    for gone in (resumed, run):
        shutil.rmtree(gone.path)
    assert inbox.waiting(str(tmp_path)) == []
    a_pipeline(tmp_path, 3_000_000.0)
    assert inbox.waiting(str(tmp_path)) == [], "what begins anew asks anew"


def test_an_approval_is_nobodys_question_where_the_progress_of_its_pipeline_was_not_written_here(
    tmp_path: Path,
) -> None:
    run = a_pipeline(tmp_path)
    approval.ask(run, "prd", "Is it?", None)
    before = Path(run.ledger).read_text()
    Path(run.ledger).write_text(before.replace("pipeline feature", "elsewhere"))
    assert inbox.waiting(str(tmp_path)) == [] and approval.pending(ledgers.ledger_of(run)) == ()
    assert refused(decide, run).code == "approval_not_found"
    Path(run.ledger).write_text(before)
    assert len(inbox.waiting(str(tmp_path))) == 1


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_commands_that_are_shown_are_those_of_the_plan_that_is_approved(
    tmp_path: Path, mark: str
) -> None:
    run, plan = a_pipeline(tmp_path), tmp_path / "plan.toml"
    steps = (Step(1, (), stage="build", kind=StepKind.GATE, title=stage_plan.THE_PLAN),)
    progress = PlanLedger("pipeline feature", None, steps, Breaker(3), stages=("build",))
    write_record(run.ledger, progress.to_json())
    plan.write_text(mark + PLAN)
    approval.ask(run, "build", "Carry it out?", "plan.toml")
    ledger = ledgers.ledger_of(run)
    asked, shown = approval.meant(ledger, "build"), approval.document(run.repo, "plan.toml")
    plan.write_text(PLAN.replace("grep", "curl"))
    assert stage_plan.executed(run.repo, asked, shown.text) == tuple(
        f"grep -qx 'x = {n}' src/m{n}.py" for n in (1, 2)
    )
    assert refused(approval.decide, ledger, PERSON, asked, shown, True, None).code == "proposal_outdated"


def test_what_was_decided_after_the_conductor_was_killed_counts_when_it_is_resumed(tmp_path: Path) -> None:
    write(tmp_path)
    killed = a_pipeline(tmp_path, 1_000_000.0)
    entry = approval.ask(killed, "prd", "Is it?", DOCUMENT)
    assert [item.kind for item in inbox.waiting(str(tmp_path))] == ["approval"]
    decide(killed)
    assert inbox.waiting(str(tmp_path)) == []
    between = a_pipeline(tmp_path, 2_000_000.0, killed)
    resumed = a_pipeline(tmp_path, 3_000_000.0, between)
    assert approval.ask(resumed, "prd", "Is it?", DOCUMENT) == entry
    found = approval.decision(resumed, entry)
    assert found is not None and found.approved
    anew = a_pipeline(tmp_path, 4_000_000.0)
    assert approval.ask(anew, "prd", "Is it?", DOCUMENT) != entry, "a pipeline that begins anew asks anew"


@pytest.mark.parametrize("file", [None, DOCUMENT])
def test_a_rejection_while_nobody_lived_counts_until_it_was_told(file: str | None, tmp_path: Path) -> None:
    write(tmp_path)
    killed = a_pipeline(tmp_path, 1_000_000.0)
    first = approval.ask(killed, "prd", "Go on?", file)
    decide(killed, approves=False, note="Not yet.")
    resumed = a_pipeline(tmp_path, 2_000_000.0, killed)
    assert approval.ask(resumed, "prd", "Go on?", file) == first
    found = approval.decision(resumed, first)
    assert found is not None and (found.approved, found.note) == (False, "Not yet.")
    second = approval.ask(resumed, "prd", "Go on?", file, told=first)
    assert [one.id for one in approval.pending(Ledger(killed.repo, "feature"))] == [second] != [first]
    decide(resumed, approves=False)
    again = a_pipeline(tmp_path, 3_000_000.0, resumed)
    assert approval.ask(again, "prd", "Go on?", file, told=first) == second, "that one was not told yet"
    third = approval.ask(again, "prd", "Go on?", file, told=second)
    decide(again)
    assert approval.ask(again, "prd", "Go on?", file, told=second) == third
    found = approval.decision(again, third)
    assert found is not None and found.approved


def test_whoever_approved_what_has_changed_since_is_told_so_after_a_kill_too(tmp_path: Path) -> None:
    write(tmp_path)
    killed, ledger = a_pipeline(tmp_path, 1_000_000.0), Ledger(str(tmp_path), "feature")
    approval.ask(killed, "prd", "Is it?", DOCUMENT)
    decide(killed)
    write(tmp_path, "Something else.\n")
    approval.ask(a_pipeline(tmp_path, 2_000_000.0, killed), "prd", "Is it?", DOCUMENT)
    (asked,) = approval.pending(ledger)
    assert asked.text("ask") == "Is it?\n(it has changed since it was approved)"


def test_what_a_run_has_asked_is_nobodys_question_once_the_pipeline_begins_anew(tmp_path: Path) -> None:
    cancelled, ledger = a_pipeline(tmp_path, 1_000_000.0), Ledger(str(tmp_path), "feature")
    entry = approval.ask(cancelled, "prd", "Go on?", None)
    assert [one.id for one in approval.pending(ledger)] == [entry], "it can be resumed"
    anew = a_pipeline(tmp_path, 2_000_000.0)
    assert approval.pending(ledger) == () and inbox.waiting(str(tmp_path)) == []
    told = ledgers.state(ledger)
    assert told["next_speaker"] is None and [lane["handoff"] for lane in told["lanes"]] == [None]
    for named in (None, "prd", entry):
        error = refused(decide, anew, named)
        assert (error.code, cancelled.run_id in error.message) == ("approval_not_found", True)
    second = approval.ask(anew, "prd", "Go on?", None)
    assert [one.id for one in approval.pending(ledger)] == [second] != [entry]
    decide(anew)
    found = approval.decision(anew, second)
    assert found is not None and found.approved


def test_several_stages_wait_side_by_side_and_each_is_decided_by_its_name(tmp_path: Path) -> None:
    run = a_pipeline(tmp_path)
    ledger = ledgers.ledger_of(run)
    assert refused(approval.meant, ledger, None).code == "approval_not_found"
    for stage in ("prd", "release"):
        approval.ask(run, stage, f"{stage}?", None)
    error = refused(approval.meant, ledger, None)
    assert error.code == "usage" and error.hint == "what waits: release, prd"
    error = refused(approval.meant, ledger, "relaese")
    assert error.code == "approval_not_found" and error.hint == "what waits: release, prd"
    decide(run, "release")
    assert approval.meant(ledger, None).text("approval") == "prd"
    assert refused(approval.meant, ledger, "release").code == "already_decided"


def test_nothing_but_a_decision_of_a_person_closes_it(tmp_path: Path) -> None:
    run = a_pipeline(tmp_path)
    entry = approval.ask(run, "prd", "Write it.", DOCUMENT)
    ledger = ledgers.ledger_of(run)
    told = {"text": "no", "decision": "later"}
    agent = Author("feature", an_ended_run(tmp_path, task="feature"), "codex")
    for who in (PERSON, agent, ledgers.of_run(run)):
        error = refused(ledgers.append, ledger, who, EntryType.REPLY, told, handles=(entry,))
        assert error.code in ("people_only", "entry_invalid")
    plain = refused(
        ledgers.append, ledger, ledgers.of_run(run), EntryType.REPLY, {"text": "x"}, handles=(entry,)
    )
    assert plain.code == "people_only", "what speaks inside of its program has not the words for it"
    assert [one.id for one in approval.pending(ledger)] == [entry] and approval.decision(run, entry) is None


def test_what_was_written_after_the_question_and_approved_is_not_asked_again(tmp_path: Path) -> None:
    run = a_pipeline(tmp_path)
    entry = approval.ask(run, "prd", "Write it.", DOCUMENT)
    write(tmp_path)
    decide(run, "prd")
    assert approval.ask(run, "prd", "Write it.", DOCUMENT) == entry
    write(tmp_path, "Something else.\n")
    assert approval.ask(run, "prd", "Write it.", DOCUMENT) != entry
