"""USE CASES on an existing run: wait, pause, resume, cancel, answer. They never need the config.

Their answers come from `look`, so none is older than the check. Standard library only.
"""

from __future__ import annotations

import os
import select
import time

from runner.errors import (
    Conflict,
    EngineSilent,
    GaveUpWaiting,
    OwnerStopped,
    RunnerError,
    RunNotFound,
    UsageError,
)
from runner.model import Phase
from runner.processes.proc import RUN_MANIFEST, environment, find_process, identify, open_pidfd, process_at
from runner.processes.renames import Renames
from runner.state.authentic import refuse_foreign
from runner.state.manifest import Manifest
from runner.state.store import RunDir
from runner.usecases.look import ask, is_placed, look, to_end, wake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from runner.model import Identity
    from runner.processes.proc import Process
    from runner.state.questions import Question

_SUPERVISE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "supervise")
_LOOK_S = 1.0
_LOOK_TOLD_S = 3.0
_FAR_S, _FARTHEST_S = 2.0, 15.0
"""Between two questions to an engine, at first and where nothing changes."""
_FAR_POLL_S = 0.25
_FAR_END_S = 45.0
"""For an engine to end a job and for the node to be silent so long that it counts."""
_FIRST_POLL_S = 0.002
_POLL_S = 0.02
_AT_REST = (Phase.PAUSED, Phase.WAITING, Phase.DONE)
_WITHIN_S = 70.0
"""For a pause or a resume of a run and of everything below it."""
_PAUSE_WITHIN_S = 30.0
_STOP_SLACK_S = 30.0
_BELOW_WITHIN_S = 40.0
_WISH_STAYS = (
    "the request stays, and the supervisor acts on it as soon as it can; `runner wait RUN` waits for that"
)


def living(pid: int) -> Identity:
    """The process with that number, which another cannot take over. UsageError where there is none."""
    found = identify(pid) if pid > 0 else None
    if found is None:
        raise UsageError(
            f"there is no process {pid}", hint="--tie-pid takes the number of a process that lives"
        )
    return found


# -- waiting -----------------------------------------------------------------------------------


def wait(
    runs: Sequence[RunDir],
    *,
    any_of_them: bool = False,
    timeout_s: float | None = None,
    until: Callable[[Manifest], bool] = lambda manifest: manifest.is_done,
    tick: Callable[[RunDir, Manifest], None] | None = None,
    hint: str | None = None,
    insists: bool = False,
) -> list[Manifest]:
    """Returns the manifests, in the order of `runs`, the moment that all (or any) are done.

    GaveUpWaiting (with that `hint`) after `timeout_s`; the runs continue. Sleeps on the supervisors' pidfds,
    so the death of an owner is seen at once and the run gets another one. `tick` is called with each fresh
    manifest. OwnerStopped at once, unless it `insists`: then a stopped owner is woken again and again.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    latest: dict[str, Manifest] = {}
    stamps: dict[str, object] = {}
    far_s = _FAR_S

    def see(run: RunDir) -> None:
        stamps[run.path] = _stamp(run)  # before the look: what changes after it is a change
        try:
            latest[run.path] = look(run)
        except OwnerStopped:
            if not insists:
                raise
            latest[run.path] = run.read_manifest()

    for run in runs:
        see(run)
    while True:
        for run in runs:
            if tick is not None:
                tick(run, latest[run.path])
        met = [until(latest[run.path]) for run in runs]
        if all(met) or (any_of_them and any(met)):
            return [latest[run.path] for run in runs]
        pending = [run for run, is_met in zip(runs, met, strict=True) if not is_met]
        if deadline is not None and time.monotonic() > deadline:
            names = ", ".join(run.run_id for run in pending)
            states = " or ".join({latest[run.path].status: None for run in pending})
            raise GaveUpWaiting(f"still {states} after {timeout_s:g} s: {names}", hint=hint)
        before = {run.path: latest[run.path] for run in pending}
        for run in _changed(pending, latest, stamps, deadline, far_s):
            see(run)
        is_still = all(latest[path].status == one.status for path, one in before.items())
        far_s = min(_FARTHEST_S, 1.3 * far_s) if is_still else _FAR_S


def _changed(
    pending: Sequence[RunDir],
    latest: Mapping[str, Manifest],
    stamps: Mapping[str, object],
    deadline: float | None,
    far_s: float,
) -> list[RunDir]:
    """Sleeps until a manifest was replaced, an owner ended or a few seconds have passed; who it was. Of a run
    on another machine neither is told, so its manifest is looked at, and after `far_s` its engine asked.
    """
    poll, owners, renames, is_far = select.poll(), {}, Renames(), False
    try:
        for run in pending:
            supervisor = latest[run.path].supervisor
            process = None if supervisor is None else find_process(supervisor)
            fd = None if process is None else open_pidfd(process)
            if fd is None and latest[run.path].engine is not None:
                is_far = True
                continue
            if fd is None:
                time.sleep(_POLL_S / 4)  # it is just being started, or has just ended
                return list(pending)
            owners[fd] = run
            poll.register(fd, select.POLLIN)
        told = renames.watch(run.path for run in pending)
        if told is not None:
            poll.register(told, select.POLLIN)
        until = time.monotonic() + (far_s if is_far else _LOOK_S if told is None else _LOOK_TOLD_S)
        if deadline is not None:
            until = min(until, deadline)
        pause_s = _FIRST_POLL_S  # what was just asked for may be done at once
        while True:
            ready = [fd for fd, _ in poll.poll(pause_s * 1000)]
            if told in ready:
                os.read(told, 4096)
            ended = [owners[fd] for fd in ready if fd != told]
            pause_s = min(_POLL_S, 1.5 * pause_s) if told is None else max(0.0, until - time.monotonic())
            pause_s = min(_FAR_POLL_S, far_s / 8) if is_far else pause_s
            moved = [run for run in pending if _stamp(run) != stamps[run.path]]
            if ended or moved:
                return [run for run in pending if run in ended or run in moved]
            if time.monotonic() > until:
                return list(pending)
    finally:
        renames.close()
        for fd in owners:
            os.close(fd)


def _stamp(run: RunDir) -> tuple[int, int] | None:
    try:
        found = os.stat(run.manifest)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


# -- requests ----------------------------------------------------------------------------------


def pause(run: RunDir, *, actor: str, only: bool = False, within_s: float = _WITHIN_S) -> Manifest:
    """Returns when every process of the run, and of its child runs unless `only`, was seen stopped.

    Conflict if it failed; GaveUpWaiting if the result is unknown after `within_s`.
    """
    deadline = time.monotonic() + within_s
    manifest = look(run)
    if (held := _held(run, manifest, release=False)) is not None:
        return held
    if manifest.phase is not Phase.PAUSED:
        _refuse(manifest, "paused", (Phase.QUEUED, Phase.STARTING, Phase.RUNNING))
        ask(run, "pause", actor, _PAUSE_WITHIN_S, only=only)
        manifest = look(run)
        if manifest.phase is not Phase.PAUSED:
            raise Conflict(f"not paused: the run is `{manifest.status}`", hint=_why_not_paused(run))
    if not only:
        _all_below(run, "pause", lambda child: child.phase in _AT_REST, deadline)
    return manifest


def resume(run: RunDir, *, actor: str, only: bool = False, within_s: float = _WITHIN_S) -> Manifest:
    """Returns when the run continues, and its child runs unless `only`; at once if it is not paused."""
    deadline = time.monotonic() + within_s
    manifest = look(run)
    if (held := _held(run, manifest, release=True)) is not None:
        return held
    if manifest.phase is not Phase.RUNNING:
        _refuse(manifest, "resumed", (Phase.PAUSED,))
        ask(run, "resume", actor, _PAUSE_WITHIN_S, only=only)
        manifest = look(run)
        if manifest.phase is Phase.PAUSED:
            raise Conflict("the run is still paused")
    if not only:
        _all_below(run, "resume", lambda child: child.phase is not Phase.PAUSED, deadline)
    return manifest


def cancel(
    run: RunDir,
    *,
    actor: str,
    grace_s: float | None,
    reason: str | None,
    only: bool = False,
    within_s: float | None = None,
) -> Manifest:
    """Returns when nothing of the run is left, nor of its child runs unless `only`. A run of ours that is
    done already is returned as it is.

    ForeignRun; GaveUpWaiting if its owner needs longer than the graces (or `within_s`); the request stays.
    """
    try:
        is_done = (manifest := look(run)).is_done
    except OwnerStopped:
        is_done = False  # what stopped it may be what is to be cancelled
    if is_done:
        refuse_foreign(run)  # what its record says of survivors is not known
    else:
        run.leave_intent("cancel", actor, grace_s=grace_s, reason=reason, only=only)
        wake(run)
        bound = 3 * (grace_s if grace_s is not None else 60.0) + _STOP_SLACK_S
        bound = bound if within_s is None else within_s
        begun = time.monotonic()
        try:
            manifest = wait([run], timeout_s=bound, hint=_WISH_STAYS, insists=True)[0]
        except GaveUpWaiting:
            if within_s is not None or not is_placed(run):
                raise
            manifest = _ended_by_engine(run)
        if not only:
            after = _BELOW_WITHIN_S if within_s is None else 0.0
            _all_below(run, "cancel", lambda child: child.is_done, begun + bound + after)
    return manifest


def answer(run: RunDir, question_id: str, text: str, *, actor: str) -> Question:
    """Answers a question that `run` asked. QuestionClosed, QuestionNotFound."""
    from runner.state import questions  # the verbs that are asked for most need neither this nor lineage

    if look(run).is_done:
        refuse_foreign(run)
    question = questions.answer(run, question_id, text, by=actor)
    wake(run)
    return question


def around(env: Mapping[str, str]) -> str | None:
    """The manifest of the run in which this process was started: by its own marker, else by that of the
    nearest process above it (a host may give what it starts a short environment).
    """
    return next(markers(env), None)


def markers(env: Mapping[str, str]) -> Iterator[str]:
    """The manifests that this process and those above it name, the nearest first: each may name what it
    wants, but not for what is above it.
    """
    return (manifest for _, manifest in marked(env))


def marked(env: Mapping[str, str]) -> Iterator[tuple[Process, str]]:
    """As `markers`, each with the process that names it."""
    return ((process, one[RUN_MANIFEST]) for process, one in upwards(env) if one.get(RUN_MANIFEST))


def upwards(env: Mapping[str, str]) -> Iterator[tuple[Process, Mapping[str, str]]]:
    """This process, with `env`, and those above it, each with its own: empty where it cannot be read."""
    process = process_at(os.getpid())
    while process is not None:
        yield process, env
        if process.parent <= 1 or _told_of(process) is not None:
            return
        env, process = environment(process.parent), process_at(process.parent)


def notice_around() -> Manifest | None:
    """The run whose supervisor seems to have begun the command of `[notify]` that this process is a part of.
    What an agent leaves to its supervisor can look the same.
    """
    process = process_at(os.getpid())
    while process is not None and process.parent > 1:
        if (told := _told_of(process)) is not None:
            return told
        process = process_at(process.parent)
    return None


def _told_of(process: Process) -> Manifest | None:
    """Of which run it tells, if it has started a command of `[notify]`: that is the user's, and in no run.
    The supervisor of a run, which the run itself names, has begun it, in a session of its own and in no group
    of a run.
    """
    from runner.processes.cgroup import run_of_ours
    from runner.processes.proc import command_line

    words, above = command_line(process.pid), command_line(process.parent)
    is_notice = f"{_SUPERVISE}/notices.py" in words[:4] and process.session == process.pid
    if not is_notice or f"{_SUPERVISE}/__main__.py" not in above[:4] or run_of_ours() is not None:
        return None
    folder = os.path.dirname(environment(process.parent).get(RUN_MANIFEST, ""))
    try:
        manifest = RunDir.from_path(folder).read_manifest()
    except (ValueError, RunnerError):
        return None
    found = None if manifest.supervisor is None else find_process(manifest.supervisor)
    return manifest if found is not None and found.pid == process.parent else None


def _held(run: RunDir, manifest: Manifest, *, release: bool) -> Manifest | None:
    """A run whose job waits is kept from beginning, or let begin; None for any other."""
    if manifest.engine is None or manifest.engine.state not in ("pending", "suspended"):
        return None
    from runner.usecases import away

    return away.hold(run, manifest, release=release)


def _ended_by_engine(run: RunDir) -> Manifest:
    """Of a run that has not obeyed on its node: its job is asked to end, and then ended. GaveUpWaiting."""
    from runner.usecases import away

    for force in (False, True):
        try:
            within_s = _FAR_END_S if away.end_job(run, force=force) else 0.0
            return wait([run], timeout_s=within_s, hint=_WISH_STAYS, insists=True)[0]
        except (EngineSilent, GaveUpWaiting):
            if force:
                raise
    raise AssertionError


def _all_below(run: RunDir, kind: str, until: Callable[[Manifest], bool], deadline: float) -> None:
    """Returns when all child runs are in the state that `kind` requests. GaveUpWaiting names those that are
    not.

    Their parents' owners pass the request on; a run that gets none (its parent is in that state already) gets
    it here.
    """
    from runner.state.lineage import descendants

    hint = _WISH_STAYS if kind == "cancel" else None
    while True:
        below = [child for child in descendants(run) if os.path.exists(child.manifest)]
        try:
            for child in below:
                manifest = look(child)
                if not until(manifest) and manifest.phase is not Phase.STOPPING and not child.is_told(kind):
                    child.leave_intent(kind, f"run {run.run_id}")
                    wake(child)
            wait(below, until=until, timeout_s=max(0.0, deadline - time.monotonic()), hint=hint)
            return
        except RunNotFound:  # a refused start has taken its folder back, or somebody removed it
            if time.monotonic() > deadline:
                raise


def _refuse(manifest: Manifest, wish: str, possible: Sequence[Phase]) -> None:
    if manifest.phase not in possible:
        hint = to_end(manifest) if manifest.phase is Phase.WAITING else None
        raise Conflict(f"a run that is `{manifest.status}` cannot be {wish}", hint=hint)


def _why_not_paused(run: RunDir) -> str | None:
    from runner.state.events import read_events

    for event in reversed(list(read_events(run.events))):
        if event.get("type") == "pause_failed":
            return f"still running: {', '.join(map(str, event['still_running']))}"
        if event.get("type") == "started":
            break
    return None
