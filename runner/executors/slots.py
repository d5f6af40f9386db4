"""The runs of a host that has no engine: which wait there for a slot, and which are at work. Edge: disk.

They stand in one file of the host's own, in a folder named after its boot and its process numbers: it never
speaks of processes of another machine, and a reboot forgets it. It lies where no sandbox lets an agent write,
and has a MAC. A run is there by the identity of its process, so the kernel frees the slot of one that dies.
"""

from __future__ import annotations

import os

from runner.disk.files import private_folder, read
from runner.disk.locks import Lock
from runner.processes.proc import boot_id, namespace, process_at
from runner.state.authentic import refuse_forged, write_record
from runner.state.manifest import timestamp
from runner.value import Count, Timestamp, Value, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TOP = "/var/tmp"
_LARGEST = 4 << 20
_KEPT = 200
_WITHIN_S = 10.0


class Ticket(Value):
    """One run on this host, in the order in which they came."""

    run_id: str
    task_id: str
    pid: Count
    start_time: Count
    number: Count
    slots: Count
    """How many runs may be at work here, as its settings say."""
    began: Count | None = None
    """Its place among those that were let in; None while it waits."""
    began_at: Timestamp | None = None
    is_held: bool = False
    end: str | None = None
    """How it ended, in an engine's word: asked for, or seen."""
    ended_at: Timestamp | None = None
    status: int | None = None
    """Its exit status, negative for a signal; None while nobody has seen one."""

    @property
    def is_alive(self) -> bool:
        process = process_at(self.pid)
        return process is not None and process.is_alive and process.start_time == self.start_time


class SlotQueue(Value):
    """All tickets of a host, and the number of the next one."""

    tickets: tuple[Ticket, ...] = ()
    next: Count = 0

    def ticket_of(self, run_id: str) -> Ticket | None:
        return next((ticket for ticket in self.tickets if ticket.run_id == run_id), None)

    def with_ticket(self, ticket: Ticket) -> SlotQueue:
        """With it in the place of the one that its run had. Only the newest dead ones are kept."""
        dead = [t.run_id for t in self.tickets if not t.is_alive][:-_KEPT]
        others = [t for t in self.tickets if t.run_id not in (ticket.run_id, *dead)]
        return SlotQueue((*others, ticket), self.next + 1)


def admitted(tickets: Sequence[Ticket], alive: Sequence[Ticket]) -> Ticket | None:
    """Which of those that are alive begins next; None where none may. Pure.

    The task whose last begin is the longest ago comes first, and within a task who came first. A run that
    allows fewer at once keeps those behind it waiting, so it is not overtaken for ever.
    """
    served: dict[str, int] = {}
    for ticket in tickets:
        if ticket.began is not None:
            served[ticket.task_id] = max(ticket.began, served.get(ticket.task_id, -1))
    waiting = [t for t in alive if t.began is None and not t.is_held and t.end is None]
    if not waiting:
        return None
    first = min(waiting, key=lambda t: (served.get(t.task_id, -1), t.number))
    at_work = sum(1 for t in alive if t.began is not None)
    return first if at_work < first.slots else None


class Slots:
    """The file of this host. OSError, or a RunnerError, where it cannot be kept or is not ours."""

    def __init__(self, top: str = _TOP) -> None:
        name = f"{boot_id()}-{namespace()}"
        self._folder = private_folder(f"{top}/runner-{os.geteuid()}", name)
        self._path = f"{self._folder}/queue.json"

    def queue(self) -> SlotQueue:
        try:
            data = read(self._path, _LARGEST)
        except FileNotFoundError:
            return SlotQueue()
        refuse_forged(self._path, data)
        return SlotQueue.from_json(json_value(data))

    def change(self, made: Callable[[SlotQueue], SlotQueue | None]) -> None:
        """Nobody else changes it meanwhile; None leaves it."""
        with Lock(f"{self._folder}/lock", _WITHIN_S):
            if (queue := made(self.queue())) is not None:
                write_record(self._path, queue.to_json(), durable=False)

    def draw(self, ticket: Ticket) -> None:
        self.change(lambda queue: queue.with_ticket(ticket.replace(number=queue.next)))

    def alter(self, run_id: str, made: Callable[[Ticket], Ticket]) -> Ticket | None:
        """The ticket of a run as it is afterwards; None where it has none."""
        found: list[Ticket] = []

        def altered(queue: SlotQueue) -> SlotQueue | None:
            if (ticket := queue.ticket_of(run_id)) is None:
                return None
            found.append(made(ticket))
            rest = (found[0] if t is ticket else t for t in queue.tickets)
            return queue.replace(tickets=tuple(rest))

        self.change(altered)
        return found[0] if found else None

    def begins(self, run_id: str) -> bool:
        """Whether it is let in now. It counts as at work from then on."""
        if not _is_next(self.queue(), run_id):
            return False
        begun: list[bool] = []

        def let_in(queue: SlotQueue) -> SlotQueue | None:
            if not _is_next(queue, run_id):
                return None
            begun.append(True)
            now = timestamp()
            rest = (
                t.replace(began=queue.next, began_at=now) if t.run_id == run_id else t for t in queue.tickets
            )
            return SlotQueue(tuple(rest), queue.next + 1)

        self.change(let_in)
        return bool(begun)

    def free(self, slots: int) -> int:
        """How many slots are left when all that wait have one; below 0 where they have not."""
        return slots - sum(1 for ticket in self.queue().tickets if ticket.is_alive)


def _is_next(queue: SlotQueue, run_id: str) -> bool:
    first = admitted(queue.tickets, [ticket for ticket in queue.tickets if ticket.is_alive])
    return first is not None and first.run_id == run_id
