"""The process tree of a run: its members, and how to stop or end them all. Edge: processes.

Codex gives every shell command its own session and every MCP server its own group (measured on 0.163.0 and
0.169.0), so neither a group nor a session covers a run. The walk goes from parent to child, starting at the
supervisor, which inherits every orphan as a subreaper (prctl(2)). It stops at a process of another run, as a
child run has its own supervisor. After an owner has died, its orphans are elsewhere: then all of /proc is
searched for the session of the root, for processes seen before, and for the run's marker in the environment.
Where the run has a control group, all that is in it is the run's, and the kernel freezes and kills it as one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from runner.model import Identity
from runner.processes.cgroup import Cgroup
from runner.processes.proc import (
    Process,
    children,
    command_line,
    everything,
    find_process,
    is_alive,
    lists_children,
    marker,
    process_at,
    send,
)

_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.05
_SWEEP_S = 10.0
_STOPPED_S = 2.0


class Tree:
    """The tree below one run's process. `reap` is called while waiting, to collect ended children.

    `is_whole`: we have started everything of the run, as a subreaper, so all of it is below us. A walk then
    costs what the run has; else it costs what the machine has. `is_others` says whether a process belongs to
    another run, whose id it carries. That id alone hides nothing: whoever started it may have made it up.
    `cgroup` is the group in which the run's processes are born.
    """

    def __init__(
        self,
        run_id: str,
        root: Identity,
        *,
        reap: Callable[[], None],
        is_whole: bool = False,
        is_others: Callable[[Process, str | None], bool] = lambda process, run_id: False,
        cgroup: Cgroup | None = None,
    ) -> None:
        self._run_id = run_id
        self._root = root
        self._reap = reap
        self._is_whole = is_whole and lists_children()
        self._seen: set[tuple[int, int]] = {(root.pid, root.start_time)}
        self._is_others = is_others
        self._cgroup = cgroup
        self._pause_s = _FIRST_PAUSE_S
        self._is_spared: Callable[[Process], bool] = lambda process: False

    def spare(self, is_spared: Callable[[Process], bool]) -> None:
        """What is no member from now on, with all below it, although it is of this run."""
        self._is_spared = is_spared

    def members(self) -> list[Process]:
        """Everything of this run that is alive now, parents before their children."""
        me = os.getpid()
        queue, below = (children(me), children) if self._is_whole else self._found_anywhere(me)
        members: dict[int, Process] = {}
        for process in queue:
            if process.pid in members or process.pid == me or self._is_foreign(process):
                continue
            if self._is_spared(process):
                continue
            members[process.pid] = process
            queue += below(process.pid)
        for pid in [] if self._cgroup is None else self._cgroup.pids():
            if pid != me and (of_group := process_at(pid)) is not None:
                members.setdefault(pid, of_group)
        self._seen.update((p.pid, p.start_time) for p in members.values())
        alive = (p for p in members.values() if p.is_alive and not self._is_spared(p))
        return sorted(alive, key=lambda p: p.start_time)

    def _found_anywhere(self, me: int) -> tuple[list[Process], Callable[[int], list[Process]]]:
        """What a look at all of /proc finds of the run, and what it found below each process."""
        processes = everything()
        listed: dict[int, list[Process]] = {}
        for process in processes.values():
            listed.setdefault(process.parent, []).append(process)
        queue = [p for p in processes.values() if (p.pid, p.start_time) in self._seen]
        marked = [p for p in processes.values() if marker(p.pid) == self._run_id]
        queue += [*self._in_session(processes, {p.pid for p in marked}), *listed.get(me, []), *marked]
        return queue, lambda pid: listed.get(pid, [])

    def _in_session(self, processes: Mapping[int, Process], marked: set[int]) -> list[Process]:
        """The root's own session, where Codex keeps an MCP server, which has no marker.

        Its number is not reused while it has members. So it is known by one of them that is ours: one that
        was seen before, as the root itself, or that has the marker. Without one, it may be that of a daemon
        which got the number of the root when nothing of the run was left.
        """
        root = self._root
        leader = processes.get(root.pid)
        if leader is not None and leader.start_time != root.start_time:
            return []
        inside = [p for p in processes.values() if p.session == root.pid and p.start_time >= root.start_time]
        is_ours = any(p.pid in marked or (p.pid, p.start_time) in self._seen for p in inside)
        return inside if is_ours else []

    def _strays(self) -> list[Process]:
        """Our own children of this run, right after a walk: a slow walk never meets short-lived processes.
        One that has just ended counts too: it may have left another one behind.
        """
        self._reap()
        known = [process for process in children(os.getpid()) if not self._is_foreign(process)]
        return [process for process in known if not self._is_spared(process)]

    def _is_foreign(self, process: Process) -> bool:
        """Whether it is of another run, or only has the root's reused number.

        It is asked anew at each walk: one of ours may become the supervisor of another run by exec, and what
        another run leaves behind at its end is given to us.
        """
        if process.pid == self._root.pid and process.start_time != self._root.start_time:
            return True
        other = marker(process.pid)
        return self._is_others(process, None if other == self._run_id else other)

    def freeze(self, within_s: float) -> list[Process]:
        """Stops the whole tree. Returns what was still seen running at the end: empty is success.

        What is in the group is frozen, too: else another process could continue it, and what starts processes
        faster than a walk finds them would never be stopped. The signals come first, as a frozen process
        takes none, and `ps` shows a stopped process as `T` and a frozen one as sleeping.
        """
        if self._cgroup is None:
            return self._stop_all(within_s)
        running = self._stop_all(min(within_s, _STOPPED_S))
        if self._cgroup.freeze(within_s):
            frozen = {*self._cgroup.pids()}
            running = [process for process in running if process.pid not in frozen]
        return running

    def _stop_all(self, within_s: float) -> list[Process]:
        """Parents are stopped before their children, so that no unseen process is started; a walk that finds
        everything stopped counts only when the next one finds the same.
        """
        deadline = self._deadline(within_s)
        settled: list[Process] | None = None
        while True:
            members = self.members()
            running = _moving(members) or _moving(self._strays())
            if not running and settled is not None and _same(members, settled):
                return []
            settled = members if not running else None
            for process in running:
                send(process, signal.SIGSTOP)
            if time.monotonic() > deadline:
                return running
            self._wait()

    def thaw(self, within_s: float) -> list[Process]:
        """Continues the whole tree, children first. Returns what is still stopped at the end."""
        if self._cgroup is not None:
            self._cgroup.thaw()
        deadline = self._deadline(within_s)
        while True:
            stopped = [process for process in self.members() if process.is_stopped]
            if not stopped or time.monotonic() > deadline:
                return stopped
            for process in reversed(stopped):
                send(process, signal.SIGCONT)
            self._wait()

    def stop(self, grace_s: float, hurry: Callable[[], bool]) -> list[Process]:
        """Ends the whole tree: SIGINT to the root, SIGTERM to all, SIGKILL with a sweep.

        SIGINT first because Codex then closes its own children and writes `turn_aborted`; after SIGTERM
        it leaves orphans (measured). Each step has `grace_s`; `hurry()` cuts the step short. Returns
        the survivors that were seen at the end: empty is the proof.
        """
        if not self._is_whole:
            self.members()  # what the end of the root leaves behind is found by having been seen
        root = find_process(self._root)
        is_told = root is not None and root.is_alive and send(root, signal.SIGINT)
        self.thaw(1.0)
        if is_told and not self._wait_until(lambda: not is_alive(self._root), grace_s, hurry):
            grace_s = min(grace_s, 2.0) if hurry() else grace_s
        return self.sweep(grace_s, hurry)

    def sweep(self, grace_s: float, hurry: Callable[[], bool] = lambda: False) -> list[Process]:
        """Ends whatever is left: SIGTERM, `grace_s`, SIGKILL until nothing new is found."""
        members = self.members()
        if members:
            self._signal(members, signal.SIGTERM)
            self.thaw(1.0)
            self._wait_until(lambda: not self.members(), grace_s, hurry)
        deadline, is_killed = self._deadline(_SWEEP_S), False
        while (members := self.members() or self._strays()) or not self._is_group_empty():
            if time.monotonic() > deadline:
                return members
            if self._cgroup is not None:
                self._cgroup.kill()
                is_killed = True
            self._signal(members, signal.SIGKILL)
            self._wait()
        if self._cgroup is not None and is_killed:
            self._cgroup.renew()
        return []

    def is_proved_empty(self) -> bool:
        """Whether the kernel itself says that nothing is left. False without a group that had all of it."""
        return self._cgroup is not None and self._cgroup.has_all and self._cgroup.is_empty()

    def _is_group_empty(self) -> bool:
        return self._cgroup is None or self._cgroup.is_empty()

    def _deadline(self, within_s: float) -> float:
        self._pause_s = _FIRST_PAUSE_S
        return time.monotonic() + within_s

    def _wait_until(self, condition: Callable[[], bool], within_s: float, hurry: Callable[[], bool]) -> bool:
        deadline = self._deadline(within_s)
        while not condition():
            if time.monotonic() > deadline or hurry():
                return False
            self._wait()
        return True

    def _wait(self) -> None:
        """Waits a moment, and less if a child of ours ends."""
        former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        try:
            if not _has_ended_child():
                signal.sigtimedwait({signal.SIGCHLD}, self._pause_s)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
        self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 1.5)
        self._reap()

    @staticmethod
    def _signal(processes: Iterable[Process], number: int) -> None:
        for process in processes:
            send(process, number)


def _has_ended_child() -> bool:
    """Whether one waits to be collected: of its end no signal will tell any more."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _moving(processes: Iterable[Process]) -> list[Process]:
    return [process for process in processes if not process.is_stopped]


def _same(a: list[Process], b: list[Process]) -> bool:
    return {(p.pid, p.start_time) for p in a} == {(p.pid, p.start_time) for p in b}


def marked(run_id: str, argv: Sequence[str]) -> Process | None:
    """The living process with this run's marker that was started as `argv`: an unrecorded root. The
    interpreter of a script may come before it (the npm package has such a launcher).
    """
    wanted = list(argv[1:])
    for process in everything().values():
        if process.is_alive and marker(process.pid) == run_id:
            words = command_line(process.pid)
            if words[-len(wanted) :] == wanted and len(words) <= len(argv) + 2:
                return process
    return None
