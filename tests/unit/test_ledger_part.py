"""What `status`, `report` and `inbox` say of ledgers: derived when they are asked, and nothing unproven."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.ended import an_ended_run
from support.imports import ROOT
from support.waiting import ends_within

from runner.cli.app import main
from runner.errors import RunnerError
from runner.ledger.entry import HUMAN, RUNNER, EntryType, NewEntry
from runner.ledger.file import Ledger
from runner.ledger.lanes import State, advance
from runner.model import Outcome
from runner.state.store import RunDir
from runner.usecases import inbox, ledger_part
from runner.usecases import ledger as usecases
from runner.usecases.inbox import Item
from runner.usecases.ledger import next_speaker
from runner.verify.report_text import ledger_lines

HANDOFF = {"reason": "it is focused work", "ask": "refuse an expired token"}
LATER = "2999-01-01T00:00:00.000Z"
PROPOSAL = {"summary": "expired tokens are refused", "evidence": "make test passed"}
REPORT = {"kind": "test_report", "title": "make test", "summary": "all green", "status": "passed"}


def tell(ledger: Ledger, kind: EntryType, actor: str, payload: dict[str, Any], **more: Any) -> str:
    return ledger.append(NewEntry(kind, actor, payload, **more), str).id


def a_run_with_a_story(root: Path) -> tuple[RunDir, Ledger]:
    """A person has handed over to a run, which has recorded something and handed over to `review`."""
    run = an_ended_run(root)
    ledger, own = Ledger(str(root), "work"), {"run_id": run.run_id}
    first = tell(ledger, EntryType.HANDOFF, HUMAN, HANDOFF, to="work")
    tell(ledger, EntryType.HANDOFF_TAKEN, "work", {}, handles=(first,), **own)
    tell(ledger, EntryType.ARTIFACT, "work", REPORT, **own)
    seen = {**REPORT, "kind": "patch_summary", "title": "1 file", "status": "failed"}
    tell(ledger, EntryType.ARTIFACT, RUNNER, seen, key=f"{run.run_id}:patch", **own)
    asked = {"reason": "it needs a review", "ask": "look at the edge cases"}
    tell(ledger, EntryType.HANDOFF, "work", asked, to="review", **own)
    return run, ledger


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 0
    return capsys.readouterr().out


def test_a_run_that_is_over_is_not_next_although_its_question_was_answered(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    ledger = Ledger(str(tmp_path), "work")
    asked = tell(ledger, EntryType.HANDOFF, "work", HANDOFF, to=HUMAN, run_id=run.run_id)
    before = ledger_part.brief(run)
    assert before is not None and before["next_speaker"] == {"actor": HUMAN, "run_id": None}
    tell(ledger, EntryType.REPLY, HUMAN, {"text": "Fine."}, handles=(asked,))
    assert usecases.state(ledger)["next_speaker"] == {"actor": "work", "run_id": run.run_id}
    for told in (ledger_part.brief(run), ledger_part.part(run)):
        assert told is not None and told["next_speaker"] is None


# -- whose turn it is ------------------------------------------------------------------------------------

ACTORS = st.sampled_from([("human", None), ("owner", None), ("work", "r1"), ("review", "r2"), (RUNNER, "r1")])
MOVES = st.lists(
    st.tuples(ACTORS, st.sampled_from([*EntryType]), st.sampled_from(["work", "review", "human", "owner"])),
    max_size=12,
)
PAYLOADS: dict[EntryType, dict[str, Any]] = {
    EntryType.NOTE: {"text": "a note"},
    EntryType.MESSAGE: {"text": "a word"},
    EntryType.REPLY: {"text": "done"},
    EntryType.HANDOFF: HANDOFF,
    EntryType.HANDOFF_TAKEN: {},
    EntryType.ARTIFACT: REPORT,
    EntryType.FINALITY_PROPOSED: PROPOSAL,
    EntryType.FINALITY_SIGNED: {"signer": "ada"},
    EntryType.FINALITY_REJECTED: {"signer": "ada"},
    EntryType.RUN_STARTED: {"task": "work", "runtime": "codex", "sandbox": "read-only"},
    EntryType.RUN_ENDED: {"status": "succeeded"},
    EntryType.COORDINATOR_CHANGED: {"owner": "human"},
    EntryType.MARKER_ERROR: {"message": "no such kind"},
    EntryType.RESTARTED: {"former": "x", "problem": "y"},
}
TO = (EntryType.HANDOFF, EntryType.MESSAGE)


@settings(max_examples=60, deadline=None)
@given(MOVES)
def test_the_next_speaker_of_status_is_the_one_that_the_entries_give(moves: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run, ledger = an_ended_run(Path(folder)), Ledger(folder, "work")
        for (actor, run_id), kind, to in moves:
            handles = (
                tuple(one.id for one in ledger.state().open[:1]) if kind is EntryType.HANDOFF_TAKEN else ()
            )
            draft = NewEntry(kind, actor, PAYLOADS[kind], to if kind in TO else None, handles, run_id)
            with contextlib.suppress(RunnerError):  # it was not its turn
                ledger.append(draft, str)
        told, state = ledger_part.brief(run), State()  # which tells the end of a run that is gone
        for entry in ledger.unproven():
            state = advance(state, entry)
        speaker = next_speaker(state)
        assert (told is None) is (state.seq == 0)
        if told is not None:
            is_there = speaker is not None and speaker.run_id is None  # each of these runs is gone
            assert told["next_speaker"] == (speaker.to_json() if speaker and is_there else None)
            assert [one["id"] for one in told["open_handoffs"]] == [one.id for one in state.open]


def test_a_status_shows_the_open_handoff_and_who_speaks_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, _ = a_run_with_a_story(tmp_path)
    text = answer(capsys, "status")
    assert "handoff   e-0005 of work to review on lane main\n          it needs a review\n" in text
    assert "next      review\n" in text
    told = json.loads(answer(capsys, "status", "--format", "json"))
    Draft202012Validator(json.loads((ROOT / "schemas" / "manifest.schema.json").read_text())).validate(told)
    assert told["ledger"]["next_speaker"] == {"actor": "review", "run_id": None}
    assert [one["id"] for one in told["ledger"]["open_handoffs"]] == ["e-0005"]
    assert told["ledger"]["open_handoffs"][0]["maker_run"] == run.run_id


def test_a_run_without_a_ledger_says_nothing_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = an_ended_run(tmp_path)
    assert json.loads(answer(capsys, "status", "--format", "json"))["ledger"] is None
    assert json.loads(answer(capsys, "report", "--format", "json"))["ledger"] is None
    assert "ledger" not in answer(capsys, "status") + answer(capsys, "report")
    assert not os.path.exists(Ledger(str(tmp_path), run.task_id).path)


# -- a report --------------------------------------------------------------------------------------------


def test_a_report_tells_what_a_run_took_made_and_recorded_and_what_runner_saw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    a_run_with_a_story(tmp_path)
    data = json.loads(answer(capsys, "report", "--format", "json"))
    Draft202012Validator(json.loads((ROOT / "schemas" / "report.schema.json").read_text())).validate(data)
    part = data["ledger"]
    assert [part[name][0]["id"] for name in ("taken", "made", "recorded", "seen")] == [
        *("e-0001", "e-0005", "e-0003", "e-0004")
    ]
    assert [(lane["lane"], lane["status"], lane["next"]) for lane in part["lanes"]] == [
        ("main", "open", "review")
    ]
    assert part["finality"] is None
    text = answer(capsys, "report")
    assert "took e-0001: human to work, lane main: it is focused work refuse an expired token" in text
    assert "recorded e-0003: test_report passed: make test" in text
    assert "runner saw e-0004: patch_summary failed: 1 file" in text
    assert "next: review" in text


def test_a_report_says_what_was_proposed_as_final_and_how_it_was_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, ledger = a_run_with_a_story(tmp_path)
    tell(ledger, EntryType.FINALITY_PROPOSED, "review", PROPOSAL, run_id="r2", handles=("e-0005",))
    tell(ledger, EntryType.FINALITY_SIGNED, HUMAN, {"signer": "ada"})
    assert "proposed as final by review, e-0006: signed" in answer(capsys, "report")
    assert "- lane `main`: finalized" in answer(capsys, "report", "--format", "markdown")


def test_other_runs_of_the_ledger_are_no_part_of_a_report(tmp_path: Path) -> None:
    run, ledger = a_run_with_a_story(tmp_path)
    other = {**REPORT, "title": f'"run_id":"{run.run_id}"'}
    tell(ledger, EntryType.ARTIFACT, "review", other, run_id="r2")
    part = ledger_part.part(run)
    assert part is not None and [one["id"] for one in part["recorded"]] == ["e-0003"]


# -- what is not believed --------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["status", "report"])
def test_a_changed_ledger_is_said_and_nothing_of_it_is_shown(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, ledger = a_run_with_a_story(tmp_path)
    path = Path(ledger.path)
    path.write_bytes(path.read_bytes().replace(b"it needs a review", b"it needs a Review"))
    text = answer(capsys, verb)
    assert "not believed" in text and "e-0005 was changed" in text and "focused" not in text
    part = json.loads(answer(capsys, verb, "--format", "json"))["ledger"]
    assert list(part) == ["path", "problem"]


def test_a_ledger_that_was_removed_is_said(tmp_path: Path) -> None:
    run, ledger = a_run_with_a_story(tmp_path)
    os.unlink(ledger.path)
    part = ledger_part.brief(run)
    assert part is not None and "it was cut" in part["problem"]


# -- the inbox -------------------------------------------------------------------------------------------


def waits(root: Path) -> list[Item]:
    return [item for item in inbox.waiting(str(root)) if item.kind != "trust"]


def test_what_comes_back_to_a_person_waits_until_it_goes_on(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    payload = {"reason": "it is focused work", "ask": "do it"}
    tell(ledger, EntryType.HANDOFF, HUMAN, payload, to="implement")
    tell(ledger, EntryType.HANDOFF_TAKEN, "implement", {}, handles=("e-0001",), run_id="r2")
    tell(ledger, EntryType.REPLY, "implement", {"text": "which one?"}, run_id="r2")
    (item,) = inbox.waiting(str(tmp_path))
    assert (item.kind, item.text, item.entry) == (
        "handoff",
        "implement has answered you: which one?",
        "e-0003",
    )
    tell(ledger, EntryType.HANDOFF, HUMAN, payload, to="implement")
    tell(ledger, EntryType.HANDOFF_TAKEN, "implement", {}, handles=("e-0004",), run_id="r3")
    tell(ledger, EntryType.RUN_ENDED, "runner", {"status": "failed", "message": "no network"}, run_id="r3")
    (item,) = inbox.waiting(str(tmp_path))
    assert item.text == "implement has left e-0004 of yours open: no network"


def test_what_comes_back_without_words_or_cannot_be_written_down_is_told_in_some(tmp_path: Path) -> None:
    ledger, maker = Ledger(str(tmp_path), "work"), an_ended_run(tmp_path)
    makers = ((HUMAN, None), ("work", maker.run_id))
    for actor, run_id in makers:
        tell(ledger, EntryType.HANDOFF, actor, {**HANDOFF, "lane": actor}, to="review", run_id=run_id)
    for name in ("e-0001", "e-0002"):
        tell(ledger, EntryType.HANDOFF_TAKEN, "review", {}, handles=(name,), run_id="r2")
    with open(ledger._lock, "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert [item.text for item in waits(tmp_path)] == [
            "review has left e-0001 of yours open: the run of review is over",
            "work is next on lane work, and no run of it is there: the run of review is over",
        ]
    assert [item.text.rpartition(": ")[2] for item in waits(tmp_path)] == ["its folder is gone"] * 2
    tell(ledger, EntryType.HANDOFF, HUMAN, {**HANDOFF, "lane": "docs"}, to="review")
    tell(ledger, EntryType.ARTIFACT, "review", REPORT, run_id="r3", handles=("e-0006",))
    assert waits(tmp_path)[-1].text == f"review has answered you: {REPORT['summary']}"


def test_a_handoff_to_a_person_waits_until_it_is_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = Ledger(str(tmp_path), "work")
    tell(ledger, EntryType.HANDOFF, "work", HANDOFF, to=HUMAN, run_id="r1")
    tell(ledger, EntryType.HANDOFF, "work", {**HANDOFF, "lane": "docs"}, to="owner", run_id="r1")
    (item,) = waits(tmp_path)
    assert (item.kind, item.task_id, item.entry, item.run_id) == ("handoff", "work", "e-0001", "r1")
    assert item.commands == (
        "runner ledger show work",
        "runner ledger reply work TEXT --handles e-0001",
    )
    text = answer(capsys, "inbox")
    assert text.startswith("handoff   r1  work  work hands over to you: it is focused work refuse an")
    tell(ledger, EntryType.REPLY, HUMAN, {"text": "I did it"})
    assert waits(tmp_path) == []


def test_a_handoff_to_a_task_waits_for_a_person_where_nothing_starts_it(
    tmp_path: Path, own_home: Path
) -> None:
    ledger = Ledger(str(tmp_path), "work")
    settings = tmp_path / "delegate.toml"
    task = '[tasks.review]\nprompt = "Look."\nruntime = "codex"\n'
    settings.write_text(f"schema_version = 1\n{task}")
    for to in ("review", "gone"):
        tell(ledger, EntryType.HANDOFF, HUMAN, {**HANDOFF, "lane": to}, to=to)
    review, gone = waits(tmp_path)
    start = "runner start --task review --ledger work"
    assert (review.kind, review.entry) == ("handoff", "e-0001")
    assert review.commands == (start, "runner ledger show work")
    assert review.text.startswith("no run has begun for what human hands over to review: it is focused")
    assert gone.commands == ("runner ledger show work",), "no task is certain"
    tell(ledger, EntryType.HANDOFF, HUMAN, {**HANDOFF, "lane": "more"}, to="review")
    assert [item.commands[0] for item in waits(tmp_path) if item.entry == "e-0003"] == [
        f"{start} --handoff e-0003"
    ]
    settings.write_text(f'schema_version = 1\n{task}start = "on_handoff"\n')
    assert [item.entry for item in waits(tmp_path)] == ["e-0002"], "a run may be on its way"


def test_an_answer_that_no_run_was_there_to_hear_waits_for_a_person(tmp_path: Path) -> None:
    run, ledger = an_ended_run(tmp_path), Ledger(str(tmp_path), "work")
    tell(ledger, EntryType.HANDOFF, "work", HANDOFF, to="review", run_id=run.run_id)
    tell(ledger, EntryType.REPLY, "review", {"text": "It fails."}, run_id="r2")
    (item,) = waits(tmp_path)
    assert (item.kind, item.entry) == ("handoff", "e-0002")
    assert item.text == "work is next on lane main, and no run of it is there: It fails."
    assert item.commands == ("runner start --task work --ledger work", "runner ledger show work")
    later = run.read_manifest().replace(ended_at=LATER)
    run.write_manifest(later.replace(outcome=Outcome.FAILED))
    assert [item.entry for item in waits(tmp_path)] == ["e-0002"], "nobody goes on with it"
    run.write_manifest(later)
    assert waits(tmp_path) == [], "it was there, and could read it"


def test_work_that_was_left_waits_for_a_person_until_a_run_begins(tmp_path: Path) -> None:
    run, ledger = an_ended_run(tmp_path, ended_at=LATER), Ledger(str(tmp_path), "work")
    tell(ledger, EntryType.HANDOFF, "work", HANDOFF, to="review", run_id=run.run_id)
    tell(ledger, EntryType.HANDOFF_TAKEN, "review", {}, handles=("e-0001",), run_id="r2")
    tell(ledger, EntryType.RUN_ENDED, RUNNER, {"status": "failed", "message": "no network"}, run_id="r2")
    (item,) = waits(tmp_path)
    assert item.text == "work is next on lane main, and no run of it is there: no network"
    run.write_manifest(run.read_manifest().replace(created_at=LATER))
    assert waits(tmp_path) == []


def test_a_proposal_that_answers_a_person_waits_once_and_once_more_when_it_is_rejected(
    tmp_path: Path,
) -> None:
    ledger = Ledger(str(tmp_path), "work")
    tell(ledger, EntryType.HANDOFF, HUMAN, HANDOFF, to="work")
    tell(ledger, EntryType.FINALITY_PROPOSED, "work", PROPOSAL, run_id="r1", handles=("e-0001",))
    assert [(item.kind, item.entry) for item in waits(tmp_path)] == [("proposal", "e-0002")]
    tell(ledger, EntryType.FINALITY_REJECTED, HUMAN, {"signer": "ada"})
    assert [(item.kind, item.entry) for item in waits(tmp_path)] == [("handoff", "e-0002")], (
        "a person is next"
    )
    tell(ledger, EntryType.FINALITY_PROPOSED, "work", PROPOSAL, run_id="r1")
    tell(ledger, EntryType.FINALITY_SIGNED, HUMAN, {"signer": "ada"})
    assert waits(tmp_path) == []


@pytest.mark.parametrize("kind", [EntryType.NOTE, EntryType.ARTIFACT])
def test_work_that_comes_back_by_any_entry_waits_for_a_person_where_no_run_hears_it(
    kind: EntryType, tmp_path: Path
) -> None:
    ledger = Ledger(str(tmp_path), "work")
    asked = tell(ledger, EntryType.HANDOFF, "make", HANDOFF, to="look", run_id="r1")
    said = REPORT if kind is EntryType.ARTIFACT else {"text": "It is done."}
    back = tell(ledger, kind, "look", said, run_id="r2", handles=(asked,))
    assert [(item.kind, item.entry) for item in waits(tmp_path)] == [("handoff", back)]


def test_what_was_said_to_a_person_waits_until_a_person_writes(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    for to in (HUMAN, "owner", "review"):
        tell(ledger, EntryType.MESSAGE, "work", {"text": f"For {to}."}, to=to, run_id="r1")
    (item,) = waits(tmp_path)
    assert (item.kind, item.entry, item.text) == ("message", "e-0001", "work says to you: For human.")
    assert item.commands == ("runner ledger show work", "runner ledger send work TEXT --to work")
    tell(ledger, EntryType.NOTE, "work", {"text": "Going on."}, run_id="r1")
    assert len(waits(tmp_path)) == 1
    tell(ledger, EntryType.NOTE, HUMAN, {"text": "Read."})
    assert waits(tmp_path) == []


def test_a_proposal_waits_until_a_person_decides_or_work_goes_on(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    for decision in (EntryType.FINALITY_REJECTED, EntryType.HANDOFF, EntryType.FINALITY_SIGNED):
        proposal = tell(ledger, EntryType.FINALITY_PROPOSED, "review", PROPOSAL, run_id="r2")
        (item,) = waits(tmp_path)
        assert (item.kind, item.entry) == ("proposal", proposal)
        assert item.commands[0] == f"runner ledger sign work --proposal {proposal}"
        if decision is EntryType.HANDOFF:
            tell(ledger, decision, HUMAN, HANDOFF, to="owner")
        else:
            tell(ledger, decision, HUMAN, {"signer": "ada"})
        assert waits(tmp_path) == []


def test_files_that_change_after_a_signature_are_told_until_a_person_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = Ledger(str(tmp_path), "work")
    tell(ledger, EntryType.FINALITY_PROPOSED, "review", PROPOSAL, run_id="r2")
    tell(ledger, EntryType.FINALITY_SIGNED, HUMAN, {"signer": "ada"})
    patch = {**REPORT, "kind": "patch_summary", "title": "1 file changed", "files": ["a.py"]}
    late = tell(ledger, EntryType.ARTIFACT, RUNNER, patch, key="r3:patch", run_id="r3")
    (item,) = waits(tmp_path)
    assert (item.kind, item.entry) == ("message", late)
    assert item.text == "changed files were seen after a signature: 1 file changed"
    tell(ledger, EntryType.NOTE, HUMAN, {"text": "Seen."})
    assert waits(tmp_path) == []
    assert f"changed files were seen since ({late})" in answer(capsys, "ledger", "show", "work")


@pytest.mark.parametrize("how", ["writable by others", "a second name", "gone"])
def test_a_ledger_of_ours_that_is_not_believed_is_listed_and_waits(how: str, tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    tell(ledger, EntryType.NOTE, HUMAN, {"text": "mine"})
    path = Path(ledger.path)
    if how == "writable by others":
        path.chmod(0o666)
    elif how == "gone":
        path.unlink()
    else:
        os.link(path, tmp_path / "second")
    (item,) = waits(tmp_path)
    assert item.kind == "ledger"
    (listed,) = usecases.every(str(tmp_path))
    assert listed["problem"]["message"] == item.text


def test_a_report_names_the_markers_that_were_not_taken(tmp_path: Path) -> None:
    run, ledger = a_run_with_a_story(tmp_path)
    wrong = {"message": "there is no marker `NOTES`", "marker": "[IMPORTANT] RUNNER_NOTES: x"}
    tell(ledger, EntryType.MARKER_ERROR, RUNNER, wrong, run_id=run.run_id)
    part = ledger_part.part(run)
    assert part is not None and [one["message"] for one in part["refused"]] == [wrong["message"]]
    assert "a marker was not taken (e-0006): there is no marker `NOTES`" in ledger_lines(part, str)


def test_a_broken_ledger_waits_and_one_from_elsewhere_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, ledger = a_run_with_a_story(tmp_path)
    tell(ledger, EntryType.HANDOFF, HUMAN, {**HANDOFF, "lane": "mine"}, to=HUMAN)
    path = Path(ledger.path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"make test", b"make lint"))
    (item,) = waits(tmp_path)
    assert (item.kind, item.commands[1]) == ("ledger", "runner ledger verify work --set-aside")
    path.write_bytes(whole)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of-another"))
    assert waits(tmp_path) == []


def test_who_waits_wakes_up_on_an_entry_for_people_and_on_no_other(tmp_path: Path) -> None:
    ledger, polls = Ledger(str(tmp_path), "new"), 0

    def pause(_: float) -> None:
        nonlocal polls
        polls += 1
        if polls in (2, 4):
            tell(ledger, EntryType.NOTE, HUMAN, {"text": "for all"})
        if polls == 6:
            tell(ledger, EntryType.HANDOFF, "work", HANDOFF, to=HUMAN, run_id="r1")

    an_ended_run(tmp_path)
    with ends_within(20):
        assert [item.kind for item in inbox.wait(str(tmp_path), pause)] == ["handoff"]
    assert polls == 6


def test_a_list_does_not_open_a_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, ledger = a_run_with_a_story(tmp_path)
    os.unlink(ledger.path)
    os.mkfifo(ledger.path)  # who opens it is refused, or waits
    os.chdir(tmp_path)
    with ends_within(20):
        assert "work" in answer(capsys, "list", "--all")


def test_a_page_has_the_lane_and_no_text_of_it_is_markup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, ledger = a_run_with_a_story(tmp_path)
    sly = {"reason": "<b>bold</b>", "ask": "<script>x</script>", "lane": "docs"}
    tell(ledger, EntryType.HANDOFF, "work", sly, to="review", run_id=run.run_id)
    page = answer(capsys, "report", "--format", "html")
    assert "<h2>Ledger</h2>" in page and "lane <code>docs</code>: open" in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page and "<script>" not in page and "<b>bold" not in page
