"""The ledger of a task: a chain of entries, whose turn it is, and what is never believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.errors import RunnerError
from runner.ledger.entry import EntryType, NewEntry
from runner.ledger.file import Ledger
from runner.ledger.lanes import HandleNotFound, LaneStatus, ProposalStatus
from runner.usecases import ledger as use
from runner.usecases.ledger import next_speaker


def same(text: str) -> str:
    return text


def said(ledger: Ledger, text: str = "a note", actor: str = "human", run_id: str | None = None) -> str:
    return ledger.append(NewEntry(EntryType.NOTE, actor, {"text": text}, run_id=run_id), same).id


def handed(ledger: Ledger, to: str, actor: str = "human", run_id: str | None = None, **more: str) -> str:
    payload = {"reason": "it fits", "ask": "do it", **more}
    return ledger.append(NewEntry(EntryType.HANDOFF, actor, payload, to, run_id=run_id), same).id


def refused(ledger: Ledger, entry: NewEntry) -> str:
    with pytest.raises(RunnerError) as found:
        ledger.append(entry, same)
    return found.value.code


def test_entries_are_numbered_and_each_names_the_one_before(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    assert [said(ledger), said(ledger)] == ["e-0001", "e-0002"]
    first, second = ledger.entries()
    assert (first.prev, second.prev) == ("0" * 64, first.hash)
    assert ledger.look(all_of_it=True).is_whole


def test_a_handoff_is_open_until_its_receiver_answers(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    handoff = handed(ledger, "implement")
    speaker = next_speaker(ledger.state())
    assert speaker is not None and speaker.actor == "implement"
    reply = NewEntry(EntryType.REPLY, "implement", {"text": "done"}, run_id="r1")
    assert ledger.append(reply, same).handles == (handoff,)
    assert ledger.state().lanes[0].status is LaneStatus.HANDLED
    assert next_speaker(ledger.state()) is not None and next_speaker(ledger.state()).actor == "human"  # type: ignore[union-attr]


def test_who_does_not_own_a_lane_cannot_hand_it_on(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    handed(ledger, "implement")
    other = NewEntry(EntryType.HANDOFF, "review", {"reason": "r", "ask": "a"}, "test", run_id="r2")
    assert refused(ledger, other) == "not_your_turn"


def test_only_a_person_signs_and_only_once(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    proposal = {"summary": "it works", "evidence": "tests"}
    ledger.append(NewEntry(EntryType.FINALITY_PROPOSED, "review", proposal, run_id="r1"), same)
    sign = {"signer": "ada"}
    assert refused(ledger, NewEntry(EntryType.FINALITY_SIGNED, "review", sign, run_id="r1")) == "people_only"
    ledger.append(NewEntry(EntryType.FINALITY_SIGNED, "human", sign), same)
    assert refused(ledger, NewEntry(EntryType.FINALITY_SIGNED, "human", sign)) == "already_decided"
    found = ledger.state().proposal
    assert found is not None and found.status is ProposalStatus.SIGNED


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_changed_entry_is_named_and_nothing_is_appended_behind_it(tmp_path: Path, at: int) -> None:
    ledger = Ledger(str(tmp_path), "work")
    for text in ("first word", "second word", "third word"):
        said(ledger, text)
    path = Path(ledger.path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[at - 1] = lines[at - 1].replace(b"word", b"w0rd")
    path.write_bytes(b"".join(lines))
    found = ledger.look(all_of_it=True)
    assert (found.is_whole, found.broken_at, found.state.seq) == (False, at, at - 1)
    assert refused(ledger, NewEntry(EntryType.NOTE, "human", {"text": "more"})) == "ledger_broken"


def test_a_cut_ledger_is_broken(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    for _ in range(3):
        said(ledger)
    path = Path(ledger.path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    found = ledger.look(all_of_it=True)
    assert (found.is_whole, found.is_complete, found.broken_at) == (False, False, 3)


def test_a_torn_last_line_is_told_and_the_next_writer_cuts_it_off(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    said(ledger)
    with open(ledger.path, "ab") as file:
        file.write(b'{"mac":"')
    assert ledger.look(all_of_it=True).torn == 8
    assert said(ledger) == "e-0002"
    assert ledger.look(all_of_it=True).torn == 0


def test_a_ledger_of_another_account_is_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(str(tmp_path), "work")
    said(ledger)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    os.makedirs(tmp_path / "other", mode=0o700)
    other = Ledger(str(tmp_path), "work")
    assert refused(other, NewEntry(EntryType.NOTE, "human", {"text": "x"})) == "foreign_ledger"
    assert [entry.text("text") for entry in other.unproven()] == ["a note"]


def test_a_head_that_others_wrote_on_is_not_believed_and_the_next_append_makes_it_whole(
    tmp_path: Path,
) -> None:
    ledger = Ledger(str(tmp_path), "work")
    said(ledger)
    said(ledger)
    with open(Path(ledger.path).with_name(".ledger.head"), "ab") as file:
        file.write(b" " * 500)
    assert ledger.look().is_complete is None
    said(ledger)
    assert ledger.look().is_complete is True


def test_an_entry_is_given_back_as_it_is_read_later(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    payload = {"reason": "it fits", "ask": "do it", "context_refs": ("a.py",)}
    made = ledger.append(NewEntry(EntryType.HANDOFF, "human", payload, "implement"), same)
    assert [made] == ledger.entries()
    assert Ledger(str(tmp_path), "work").state() == ledger.look(all_of_it=True).state


def test_an_entry_is_found_by_its_id_wherever_it_stands(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    names = [said(ledger, "x" * (number * 997 % 5000 + 1)) for number in range(60)]
    assert [ledger.entry(name).id for name in names] == names
    for name in ("e-0061", "e-0000", "e-1", "e-", "0001", f"e-{'9' * 5000}"):
        with pytest.raises(HandleNotFound):
            ledger.entry(name)


def test_waiting_on_a_ledger_that_nobody_has_begun_ends_without_an_entry(tmp_path: Path) -> None:
    found = use.wait(Ledger(str(tmp_path), "work"), 0, 0)
    assert (found["entries"], found["seq"], found["timed_out"]) == ([], 0, True)


def test_entries_of_some_kinds_or_of_a_run_are_those_whatever_their_texts_say(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    handoff = handed(ledger, "implement", run_id="r1", actor="review")
    sly = said(ledger, '"type":"handoff", "run_id":"r1"')
    reply = NewEntry(EntryType.REPLY, "implement", {"text": "done"}, run_id="r2")
    answer = ledger.append(reply, same).id
    kinds = (EntryType.HANDOFF, EntryType.REPLY)
    assert [one.id for one in ledger.entries(kinds=kinds)] == [handoff, answer]
    assert [one.id for one in ledger.entries(since=1, kinds=kinds)] == [answer]
    assert [one.id for one in ledger.entries(limit=1, kinds=[EntryType.NOTE])] == [sly]
    assert [one.id for one in ledger.entries(run_id="r1")] == [handoff]
    assert ledger.entries(kinds=kinds, run_id="r3") == []


def test_a_ledger_is_set_aside_also_where_a_folder_stands_for_its_head(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    said(ledger)
    path = Path(ledger.path)
    path.write_bytes(path.read_bytes().replace(b"a note", b"a n0te"))
    head = path.parent / ".ledger.head"
    head.unlink()
    head.mkdir()
    ledger.set_aside("human")
    assert [entry.type for entry in ledger.entries()] == ["restarted"]
    assert head.is_file()
