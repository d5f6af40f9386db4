"""USE CASES on a run that exists: look, list, wait, pause, resume, cancel, answer.

They never need the config. Whoever looks at a run that nobody owns takes its free lock and has the truth
written before answering, so no answer is older than the look. Standard library only.
"""

from __future__ import annotations

import os
import select
import time

from runner.errors import Conflict, GaveUpWaiting, ManifestBroken, RunnerError, RunNotFound, Unwritable
from runner.executors.processes import environment, is_alive, open_pidfd
from runner.executors.processes import find as find_process
from runner.executors.processes import look as look_at
from runner.model import Phase
from runner.state import index
from runner.state.events import read as read_events
from runner.state.files import withdraw
from runner.state.index import Row, row_of
from runner.state.manifest import Manifest
from runner.state.store import RunDir
from runner.supervise import adopt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runner.state.questions import Question

_POLL_S = 0.02
_WITHIN_S = 70.0
"""For a pause or a resume of a run and of everything below it."""
_PAUSE_WITHIN_S = 30.0
_STOP_SLACK_S = 30.0
_TAKE_OVER_S = 10.0
_BELOW_WITHIN_S = 40.0
_MANIFEST = "RUNNER_MANIFEST"


# -- looking -----------------------------------------------------------------------------------


def look(run: RunDir, env: Mapping[str, str]) -> Manifest:
    """The manifest, reconciled with reality: a run without an owner gets one, or its end, first."""
    try:
        manifest = run.read_manifest()
        if manifest.is_done:
            finish_sealing(run, env)
            return manifest
    except (ManifestBroken, RunNotFound):
        if not _can_be_made_again(run):
            raise
        if run.is_locked():
            _ask(run, "rewrite", "user", _PAUSE_WITHIN_S, env)
            return run.read_manifest()
    lock_fd = _lock_of_ownerless(run)
    if lock_fd is None:
        return run.read_manifest()
    try:
        manifest = run.read_manifest()
        if manifest.is_done:
            os.close(lock_fd)
            return manifest
    except (ManifestBroken, RunNotFound):
        if not _can_be_made_again(run):
            os.close(lock_fd)
            raise
        # Its new owner makes it again.
    except RunnerError:
        os.close(lock_fd)
        raise
    if not os.access(run.path, os.W_OK):
        os.close(lock_fd)
        raise Unwritable(
            f"nobody owns run `{run.run_id}` and its folder cannot be written: its state is unknown"
        )
    adopt(run, lock_fd, env)
    return run.read_manifest()


def _can_be_made_again(run: RunDir) -> bool:
    """Whether it is known what was started: a manifest that is broken or missing can be written again."""
    return os.path.exists(run.invocation)


def finish_sealing(run: RunDir, env: Mapping[str, str]) -> None:
    """Of a run that is done: its owner takes the FIFO away last, so one that is there was cut short.

    What cannot be sealed now is tried again by the next look; reading redacts in any case.
    """
    if not os.path.exists(run.wake_fifo) or not os.access(run.path, os.W_OK):
        return
    try:
        lock_fd = run.try_lock()
        if lock_fd is not None:
            adopt(run, lock_fd, env)
    except RunnerError:
        return


def is_done(run: RunDir, env: Mapping[str, str]) -> bool:
    """Whether nothing more will come from this run; a folder that is gone will say nothing more."""
    try:
        return look(run, env).is_done
    except RunNotFound:
        return True


def _lock_of_ownerless(run: RunDir) -> int | None:
    """The lock, or None where a living owner has it.

    A lock that is held although the owner on record is dead belongs to somebody who is just looking or
    taking over: that takes milliseconds, and answering before would repeat what may no longer be true.
    """
    deadline = time.monotonic() + _TAKE_OVER_S
    while (lock_fd := run.try_lock()) is None:
        try:
            manifest = run.read_manifest()
        except RunnerError:
            return None
        owner = manifest.supervisor
        if manifest.is_done or owner is None or is_alive(owner):
            return None
        if time.monotonic() > deadline:
            return None
        time.sleep(_POLL_S / 4)
    return lock_fd


def runs(root: str, env: Mapping[str, str], *, task: str | None, everything: bool) -> list[Row]:
    """A row per run, newest first: those that are not done, or all."""
    done, others = index.scan(root)
    rows = []
    for run in others:
        try:
            manifest = look(run, env)
        except RunNotFound:
            continue  # being made right now, or whoever made it was killed over it
        except RunnerError:
            rows.append(unknown(run))
            continue
        if everything or not manifest.is_done:
            rows.append(row_of(manifest))
    rows.reverse()
    if everything:
        rows = sorted([*rows, *done], key=lambda row: row.run_id, reverse=True) if rows else done
    return rows if task is None else [row for row in rows if row.task_id == task]


def unknown(run: RunDir) -> Row:
    """The row of a run that nobody can tell anything of."""
    return Row(run.run_id, run.task_id, "unknown", None, None, None, None, None)


# -- waiting -----------------------------------------------------------------------------------


def wait(
    runs: Sequence[RunDir],
    env: Mapping[str, str],
    *,
    any_of_them: bool = False,
    timeout_s: float | None = None,
    until: Callable[[Manifest], bool] = lambda manifest: manifest.is_done,
    tick: Callable[[RunDir, Manifest], None] | None = None,
) -> list[Manifest]:
    """Returns the manifests, in the order of `runs`, the moment that all (or any) are done.

    GaveUpWaiting after `timeout_s`; the runs go on. Sleeps on the supervisors' pidfds, so the death of
    an owner is seen at once and the run gets another one. `tick` is called with each fresh manifest.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    latest: dict[str, Manifest] = {}
    stamps: dict[str, object] = {}

    def see(run: RunDir) -> None:
        stamps[run.path] = _stamp(run)  # before the look: what changes after it is a change
        latest[run.path] = look(run, env)

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
            raise GaveUpWaiting(f"still going on after {timeout_s:g} s: {names}")
        for run in _changed(pending, latest, stamps, deadline):
            see(run)


def _changed(
    pending: Sequence[RunDir],
    latest: Mapping[str, Manifest],
    stamps: Mapping[str, object],
    deadline: float | None,
) -> list[RunDir]:
    """Sleeps until a manifest was replaced, an owner ended or a second has passed; who it was."""
    poll, owners = select.poll(), {}
    until = time.monotonic() + 1.0
    if deadline is not None:
        until = min(until, deadline)
    try:
        for run in pending:
            supervisor = latest[run.path].supervisor
            process = None if supervisor is None else find_process(supervisor)
            fd = None if process is None else open_pidfd(process)
            if fd is None:
                time.sleep(_POLL_S / 4)  # it is just being started, or has just ended
                return list(pending)
            owners[fd] = run
            poll.register(fd, select.POLLIN)
        while True:
            ended = [owners[fd] for fd, _ in poll.poll(_POLL_S * 1000)]
            moved = [run for run in pending if _stamp(run) != stamps[run.path]]
            if ended or moved:
                return [run for run in pending if run in ended or run in moved]
            if time.monotonic() > until:
                return list(pending)
    finally:
        for fd in owners:
            os.close(fd)


def _stamp(run: RunDir) -> tuple[int, int] | None:
    try:
        found = os.stat(run.manifest)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


# -- wishes ------------------------------------------------------------------------------------


def pause(
    run: RunDir, env: Mapping[str, str], *, actor: str, only: bool = False, within_s: float = _WITHIN_S
) -> Manifest:
    """Returns when every process of the run, and of its child runs unless `only`, was seen stopped.

    Conflict if that did not come true; GaveUpWaiting if nobody knows after `within_s`.
    """
    deadline = time.monotonic() + within_s
    manifest = look(run, env)
    if manifest.phase is not Phase.PAUSED:
        _refuse(manifest, "paused", (Phase.QUEUED, Phase.STARTING, Phase.RUNNING))
        _ask(run, "pause", actor, _PAUSE_WITHIN_S, env, only=only)
        manifest = look(run, env)
        if manifest.phase is not Phase.PAUSED:
            raise Conflict(f"not paused: the run is `{manifest.status}`", hint=_why_not_paused(run))
    if not only:
        _all_below(run, env, "pause", lambda child: child.is_done or child.phase is Phase.PAUSED, deadline)
    return manifest


def resume(
    run: RunDir, env: Mapping[str, str], *, actor: str, only: bool = False, within_s: float = _WITHIN_S
) -> Manifest:
    """Returns when the run goes on, and its child runs unless `only`. One not paused does so already."""
    deadline = time.monotonic() + within_s
    manifest = look(run, env)
    if manifest.phase is not Phase.RUNNING:
        _refuse(manifest, "resumed", (Phase.PAUSED,))
        _ask(run, "resume", actor, _PAUSE_WITHIN_S, env, only=only)
        manifest = look(run, env)
        if manifest.phase is Phase.PAUSED:
            raise Conflict("the run is still paused")
    if not only:
        _all_below(run, env, "resume", lambda child: child.phase is not Phase.PAUSED, deadline)
    return manifest


def cancel(
    run: RunDir,
    env: Mapping[str, str],
    *,
    actor: str,
    grace_s: float | None,
    reason: str | None,
    only: bool = False,
    within_s: float | None = None,
) -> Manifest:
    """Returns when nothing of the run is left, nor of its child runs unless `only`. A run that is done
    already is returned as it is.

    GaveUpWaiting if its owner needs longer than the graces (or `within_s`); the wish stays.
    """
    manifest = look(run, env)
    if not manifest.is_done:
        wish = {"grace_s": grace_s, "reason": reason, "only": only or None}
        run.leave_intent("cancel", actor, **{k: v for k, v in wish.items() if v is not None})
        run.wake()
        bound = 3 * (grace_s if grace_s is not None else 60.0) + _STOP_SLACK_S
        bound = bound if within_s is None else within_s
        begun = time.monotonic()
        manifest = wait([run], env, timeout_s=bound)[0]
        if not only:
            after = _BELOW_WITHIN_S if within_s is None else 0.0
            _all_below(run, env, "cancel", lambda child: child.is_done, begun + bound + after)
    return manifest


def answer(run: RunDir, question_id: str, text: str, *, actor: str) -> Question:
    """Answers a question that `run` asked. QuestionClosed, QuestionNotFound."""
    from runner.state import questions  # the verbs that are asked for most need neither this nor lineage

    question = questions.answer(run, question_id, text, by=actor)
    run.wake()
    return question


def around(env: Mapping[str, str]) -> str | None:
    """The manifest of the run in which this process was started: by its own marker, else by that of the
    nearest process above it (a host may give what it starts a short environment).
    """
    if env.get(_MANIFEST):
        return env[_MANIFEST]
    process = look_at(os.getpid())
    while process is not None and process.parent > 1:
        if manifest := environment(process.parent).get(_MANIFEST):
            return manifest
        process = look_at(process.parent)
    return None


def look_below(run: RunDir, env: Mapping[str, str]) -> None:
    """Has the truth written of every run that this one has started."""
    from runner.state.lineage import children

    for child in children(run):
        try:
            look(child, env)
        except RunnerError:
            continue  # it is gone, or being made right now


def _all_below(
    run: RunDir,
    env: Mapping[str, str],
    kind: str,
    until: Callable[[Manifest], bool],
    deadline: float,
) -> None:
    """Returns when all child runs are where `kind` wants them. GaveUpWaiting names who is not there.

    Their parents' owners hand the wish on; who was not told so (its parent was there already) is told here.
    """
    from runner.state.lineage import descendants

    below = [child for child in descendants(run) if os.path.exists(child.manifest)]
    for child in below:
        manifest = look(child, env)
        if not until(manifest) and manifest.phase is not Phase.STOPPING and not child.is_told(kind):
            child.leave_intent(kind, f"run {run.run_id}")
            child.wake()
    wait(below, env, until=until, timeout_s=max(0.0, deadline - time.monotonic()))


def _refuse(manifest: Manifest, wish: str, possible: Sequence[Phase]) -> None:
    if manifest.phase not in possible:
        raise Conflict(f"a run that is `{manifest.status}` cannot be {wish}")


def _ask(
    run: RunDir, kind: str, actor: str, within_s: float, env: Mapping[str, str], *, only: bool = False
) -> None:
    """Leaves an intent and returns when its owner has taken it, or the run is done.

    An owner that dies meanwhile gets a successor, which takes it.
    """
    path = run.leave_intent(kind, actor, **({"only": True} if only else {}))
    run.wake()
    deadline = time.monotonic() + within_s
    while os.path.exists(path):
        if not run.is_locked() and look(run, env).is_done:
            withdraw(path)
            return
        if time.monotonic() > deadline:
            withdraw(path)
            raise GaveUpWaiting(
                f"the supervisor did not take `{kind}` within {within_s:g} s, the wish is withdrawn",
                hint="`runner status RUN` shows the state it is in; `runner cancel RUN` ends it",
            )
        time.sleep(_POLL_S / 4)


def _why_not_paused(run: RunDir) -> str | None:
    for event in reversed(list(read_events(run.events))):
        if event.get("type") == "pause_failed":
            return f"still running: {', '.join(map(str, event['still_running']))}"
        if event.get("type") == "started":
            break
    return None
