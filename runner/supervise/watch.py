"""Watches the process of a run until it ends: follows its output, enforces the limits. Edges: disk,
processes.

It sleeps in poll(2) on the process's pidfd and the wake FIFO, and checks the size of two files four times a
second, once a second when all is quiet.
"""

from __future__ import annotations

import os
import select
import time

from runner.disk.files import make_plain_folder
from runner.model import Phase
from runner.processes.proc import Absence, age, boottime, find_process, open_pidfd
from runner.processes.renames import Renames
from runner.state.manifest import parse_timestamp
from runner.state.spent import tokens
from runner.supervise import news, turns
from runner.supervise.intents import Intents
from runner.supervise.progress import Progress, Timeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.state.questions import Question
    from runner.supervise.owner import Owner

TICK_S = 0.25
_QUIET_TICK_S = 1.0
_SOON_TICK_S = 0.02
_WAITING_TICK_S = 30.0
"""Between two turns, where the FIFO and the folders tell of all that comes."""
_LIVELY_S = 5.0
_REFRESH_S = 1.0


class Watch:
    """Of one run, over all its attempts."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.intents = Intents(owner)
        self._errors = Progress(owner.run.stderr, None)
        self._timeline = Timeline(owner.run.timeline)
        self._last_refresh = 0.0
        self._is_behind = False
        self._shown: tuple[object, ...] = ()
        self._approvals: set[int] = set()

    def take_over(self) -> None:
        """Catches up with what another owner has seen."""
        manifest = self._owner.manifest
        if manifest.paused_at is not None:
            since = manifest.paused_uptime
            # An older manifest has the time of day alone, by which a pause may seem older than its run.
            for_s = time.time() - parse_timestamp(manifest.paused_at) if since is None else boottime() - since
            self._owner.limits.pause(max(0.0, min(for_s, age(manifest.process))))
        if manifest.phase is Phase.WAITING:
            begun = manifest.waiting_uptime
            self._owner.limits.wait(0.0 if begun is None else max(0.0, boottime() - begun))
        self._owner.progress.grown()
        self._is_behind = self._owner.progress.read()

    def until_ended(self, since: float | None = None) -> None:
        """A pidfd tells that the process has ended, never the end of its output. `since`: when, by the clock
        since the boot, we were to begin, if that was before now.
        """
        owner = self._owner
        assert owner.manifest.process is not None
        found = find_process(owner.manifest.process)
        pidfd = None if found is None else open_pidfd(found)
        if pidfd is None:
            owner.reap()
            return
        try:
            self._until(pidfd, Absence(since))
        except FileNotFoundError:
            if not os.path.isdir(owner.run.path):
                owner.tree.stop(owner.invocation.limits.grace_s, lambda: False)
            raise
        if owner.progress.grown():
            self._timeline.note(owner.progress.size)
        os.close(pidfd)
        owner.reap()

    def until_sent(self) -> None:
        """The run waits for a message. Returns when one is there, or when the run does not wait any more."""
        owner = self._owner
        poll, files = select.poll(), [owner.run.open_wake(), owner.tie.open_pidfd()]
        try:
            make_plain_folder(owner.run.messages)
        except OSError:
            pass  # the FIFO tells of it
        # A sandboxed agent of another run can open the FIFO, and read what is meant for us.
        told = (renames := Renames()).watch((owner.run.messages, owner.run.control))
        if told is not None:
            poll.register(told, select.POLLIN)
        limit_s = owner.invocation.open_timeout_s or 0.0
        until = time.monotonic() + limit_s - owner.limits.waits_s  # the machine may sleep meanwhile
        for file in files:
            if file is not None:
                poll.register(file, select.POLLIN)
        try:
            while not owner.queue.pending(owner.manifest.messages_given):
                owner.tie.heed()  # that process may have ended before we had its pidfd
                self.intents.obey()
                if owner.manifest.phase is not Phase.WAITING:
                    return
                end, left_s = owner.queue.end, until - time.monotonic()
                if end is not None:
                    return turns.close(owner, f"ended by {end.actor}", end.actor)
                if left_s <= 0:
                    return turns.close(owner, f"no message came within {limit_s:g} s")
                self._observe()
                is_behind = not self._shown  # what was found is not in the manifest yet
                is_busy = is_behind or owner.has_notices or owner.manifest.questions_open or files[0] is None
                ready = poll.poll(1000 * min(left_s, _QUIET_TICK_S if is_busy else _WAITING_TICK_S))
                for file, _ in ready:
                    if file in (files[0], told):
                        _drain(file)
                    else:
                        poll.unregister(file)  # it has ended, whether that could be heeded or not
        finally:
            renames.close()
            for file in files:
                if file is not None:
                    os.close(file)

    def _until(self, pidfd: int, absence: Absence) -> None:
        limits = self._owner.limits
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        wake = self._owner.run.open_wake()
        if wake is not None:
            poll.register(wake, select.POLLIN)
        is_to_interrupt = False
        while True:
            tick_s = TICK_S if limits.quiet_s < _LIVELY_S else _QUIET_TICK_S
            tick_s = 0.0 if self._is_behind else _SOON_TICK_S if is_to_interrupt else tick_s
            ready = dict(poll.poll(tick_s * 1000))
            if missed_s := absence.missed_s(tick_s):
                self._owner.missed(missed_s)
            if pidfd in ready:
                break
            if wake is not None and wake in ready:
                _drain(wake)
            self._owner.tie.heed()
            self.intents.obey()
            absence.mark()
            phase = self._owner.manifest.phase
            self._observe()
            is_to_interrupt = self.intents.interrupt()
            self._enforce()
            if self._owner.manifest.phase is not phase:
                absence.mark()  # to end or to pause it took the time that its processes took
            import runner.redact.redactor  # noqa: F401 - while there is time: the end needs it at once
        if wake is not None:
            os.close(wake)

    def _observe(self) -> None:
        owner = self._owner
        seen, limits = owner.progress, owner.limits
        out, err = seen.grown(), self._errors.grown()
        if out:
            self._timeline.note(seen.size)
        if out or err or owner.manifest.phase is Phase.PAUSED:
            limits.note_life()
        if out or self._is_behind:
            self._is_behind = seen.read()
        session = owner.session
        if session.look(seen.thread_id, owner.env):
            limits.note_life()
        children, asked = owner.children.found(), owner.children.questions(self.intents.expired, self._told)
        if (children, asked) != (owner.manifest.children, owner.manifest.questions_open):
            self._shown = ()  # who writes the manifest before the next refresh shows what is no more
        owner.manifest = owner.manifest.replace(children=children, questions_open=asked)
        news.started(owner.run, owner.manifest)
        owner.witness.look(owner.manifest)
        owner.start_notices()
        told = (seen.thread_id, seen.usage, seen.last_message, seen.last_activity)
        queued = owner.queue.look()
        filled = (seen.context, session.context)
        shown = (*told, session.usage, session.contexts, children, asked, len(queued), filled)
        if shown != self._shown and time.monotonic() - self._last_refresh > _REFRESH_S:
            self._shown, self._last_refresh = shown, time.monotonic()
            owner.write(owner.observed())
            news.approvals(owner.run, owner.manifest, owner.notify, self._approvals)
        elif not os.path.isdir(owner.run.path):
            raise FileNotFoundError(owner.run.path)

    def _told(self, question: Question) -> bool:
        owner = self._owner
        return news.question(owner.run, owner.manifest, owner.cleaner(), question, owner.notify)

    def _enforce(self) -> None:
        owner = self._owner
        if owner.manifest.phase is not Phase.RUNNING:
            return
        conformance = owner.conformance() if owner.session.contexts else None
        output_bytes = owner.progress.size - owner.progress.start
        spent = (tokens(owner.usage()), owner.cost())
        reason = owner.limits.breach(owner.manifest, spent, output_bytes, conformance)
        if reason is not None:
            owner.log.note("limit", code=reason.code, message=reason.message)
            self.intents.request_stop(reason)


def _drain(fifo: int) -> None:
    try:
        os.read(fifo, 4096)
    except BlockingIOError:
        pass  # another process that has it open was quicker
