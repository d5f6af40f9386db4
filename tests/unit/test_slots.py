"""Which run of a host begins next, and what its queue keeps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.errors import ForeignRun
from runner.executors.slots import SlotQueue, Slots, Ticket, admitted
from runner.processes.proc import identify

_ME = identify(os.getpid())
assert _ME is not None


def ticket(name: str, number: int = 0, **changes: object) -> Ticket:
    """`a1` is a run of task `a`; it is alive, as we are."""
    assert _ME is not None
    return Ticket(name, name[0], _ME.pid, _ME.start_time, number, 1).replace(**changes)


def order(*tickets: Ticket) -> list[str]:
    """In which order they begin, when each one ends before the next begins."""
    known, names = [*tickets], []
    while (following := admitted(known, [t for t in known if t.began is None])) is not None:
        names.append(following.run_id)
        known[known.index(following)] = following.replace(began=100 + len(names))
    return names


@pytest.fixture
def slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slots:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Slots(str(tmp_path))


def test_runs_of_one_task_begin_as_they_came() -> None:
    assert order(ticket("a2", 2), ticket("a1", 1), ticket("a3", 3)) == ["a1", "a2", "a3"]


def test_tasks_take_turns() -> None:
    came = [ticket(name, number) for number, name in enumerate(("a1", "a2", "a3", "b1", "c1", "b2"))]
    assert order(*came) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_task_that_has_just_begun_one_waits_for_the_others() -> None:
    assert order(ticket("a0", 0, began=1), ticket("a1", 1), ticket("b1", 2)) == ["b1", "a1"]


def test_no_more_are_at_work_than_there_are_slots() -> None:
    works, waits = ticket("a1", 1, began=2, slots=2), ticket("b1", 3, slots=2)
    assert admitted([works, waits], [works, waits]) == waits
    full = [works, ticket("a2", 2, began=4, slots=2), waits]
    assert admitted(full, full) is None


def test_a_run_that_wants_the_host_for_itself_is_not_overtaken() -> None:
    works, alone, other = ticket("a1", 1, began=2, slots=4), ticket("b1", 3), ticket("c1", 4, slots=4)
    assert admitted([works, alone, other], [works, alone, other]) is None


@pytest.mark.parametrize("changes", [{"is_held": True}, {"end": "CANCELLED"}])
def test_what_is_held_or_ended_lets_others_pass(changes: dict[str, object]) -> None:
    first, second = ticket("a1", 1, **changes), ticket("a2", 2)
    assert admitted([first, second], [first, second]) == second


def test_the_slot_of_a_dead_run_is_free(slots: Slots) -> None:
    slots.draw(ticket("a1", start_time=1))
    slots.draw(ticket("b1"))
    slots.change(
        lambda queue: SlotQueue(
            tuple(t.replace(began=t.number) for t in queue.tickets[:1]) + queue.tickets[1:], 9
        )
    )
    assert slots.free(2) == 1
    assert slots.begins("b1")
    assert not slots.begins("b1")
    found = slots.queue().ticket_of("b1")
    assert found is not None
    assert found.began == 9


def test_a_queue_that_somebody_else_wrote_is_refused(slots: Slots, tmp_path: Path) -> None:
    slots.draw(ticket("a1"))
    (path,) = tmp_path.glob("runner-*/*/queue.json")
    path.write_text(path.read_text().replace('"slots": 1', '"slots": 9'))
    with pytest.raises(ForeignRun):
        slots.queue()


def test_only_the_newest_dead_runs_are_kept() -> None:
    queue = SlotQueue()
    for number in range(300):
        queue = queue.with_ticket(ticket(f"a{number}", number, start_time=1))
    assert 200 <= len(queue.tickets) <= 201
    assert queue.ticket_of("a299") is not None
