"""The supervisor: owns a run from its start, or from a takeover, to its end. Edges: disk, processes.

It does not relay data: the child writes its own files. `owner` has what it knows, `watch`, `intents` and
`ending` what it does; here is the order of it, over all attempts.
"""

from __future__ import annotations

import os
import time

from runner.disk import git_env
from runner.disk.files import replace_bytes
from runner.model import Outcome, Phase, Reason
from runner.processes import spawn
from runner.processes.proc import Absence, age, boottime, identify
from runner.runtimes import get
from runner.state import temp
from runner.state.lifecycle import Event
from runner.state.manifest import CLOSING, continued, retried, started
from runner.supervise import ending, takeover, turns
from runner.supervise.begin import report_looked, start_failure
from runner.supervise.owner import Owner
from runner.supervise.takeover import Action
from runner.supervise.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.state.store import RunDir
    from runner.supervise.attempts import NextAttempt

_LOOK_S = 0.25
_CHANGED = "if you have changed it yourself, `runner retry RUN` starts it"


class Supervisor:
    """Of one run. `ready_fd`: whoever handed the run over waits there until we have looked at it."""

    def __init__(
        self,
        run: RunDir,
        lease_fd: int | None = None,
        ready_fd: int | None = None,
        copy: int | None = None,
    ) -> None:
        self._owner = Owner(run, lease_fd, takes_over=ready_fd is not None, copy=copy)
        self._watch = Watch(self._owner)
        self._ready_fd = ready_fd

    def supervise(self) -> None:
        """Until the run is done and sealed."""
        owner = self._owner
        owner.tie.listen()
        action, owner.manifest = takeover.find_action(owner.run, owner.invocation, owner.manifest)
        if action is Action.NOTHING:
            owner.copy = None  # whoever has it, its end stands
            self._seal_again()
        elif owner.is_placed and self._is_elsewhere():
            self._looked()
        elif action in (Action.LOSE, Action.NEVER_STARTED):
            self._lose(action)
        else:
            self._take_over()
            has_ended = action in (Action.CONCLUDE, Action.WAIT)
            # Under another owner; the one that has started the run has held the lease all the time.
            is_alone = has_ended and not owner.is_starter
            if has_ended:
                self._record_exit()
            else:
                self._looked()
                born: float | None = boottime() - age(identify(os.getpid()))
                if action is Action.KEEP_STOPPING:
                    self._watch.intents.stop()
                    born = None  # the stop took its time
                self._watch.until_ended(born)
            self._conclude(is_alone=is_alone)

    def _is_elsewhere(self) -> bool:
        """Whether it does not live here, or not any more: then its end is written, where there is one."""
        from runner.supervise.job_end import again, of_job  # hardly any run is placed

        found = of_job(self._owner)
        if found is not None and found.again:
            try:
                following = again(self._owner)
            except OSError as error:
                text = f"its job was started again, and it could not be: {error.strerror}"
                ending.lose(self._owner, (Outcome.LOST, Reason("requeued", text)))
            else:
                self._looked()
                self._conclude(is_alone=False, following=following)
        elif found is not None and found.end is not None:
            ending.lose(self._owner, found.end)
        return found is not None

    def _looked(self) -> None:
        report_looked(self._ready_fd)
        self._ready_fd = None

    def _seal_again(self) -> None:
        """The run is done, but its owner may have ended before all was written and sealed."""
        owner = self._owner
        if owner.is_rebuilt:
            owner.progress.finish()
            owner.write(owner.observed())
        self._looked()
        if os.path.exists(owner.run.wake_fifo) or os.path.exists(owner.run.unsealed):
            ending.seal(owner)  # its owner ended in the middle of it, or had not what it needs

    def _lose(self, action: Action) -> None:
        owner = self._owner
        is_known = owner.manifest.process is not None
        if not is_known and (me := identify(os.getpid())) is not None:
            # What was started and never written down carries our marker.
            owner.tree_of(me).sweep(1.0)
        ending.lose(owner, takeover.unseen_end(action, owner.manifest.phase, process_known=is_known))
        self._looked()

    def _take_over(self) -> None:
        owner = self._owner
        assert owner.manifest.process is not None
        owner.attend(owner.manifest.process)
        spawn.become_subreaper()
        owner.children.begin(is_new=owner.is_starter)
        if owner.is_starter:
            # Notes what the secrets can be known by, before we can die, and compiles while there is time.
            owner.cleaner().word("-")
            owner.witness.look(owner.manifest)
            return
        former = owner.manifest.supervisor
        owner.write(owner.manifest.replace(supervisor=identify(os.getpid())))
        owner.log.note("adopted", former=None if former is None else former.to_json())
        owner.take_lease()
        self._watch.take_over()

    def _record_exit(self) -> None:
        """Of a child that had ended before we came."""
        if self._owner.manifest.phase not in (Phase.VERIFYING, Phase.WAITING):
            self._owner.reap()
            ending.record_exit(self._owner)
        if self._owner.invocation.verify:
            self._looked()  # checks may take long, and the reader sees them running

    def _conclude(self, *, is_alone: bool, following: NextAttempt | None = None) -> None:
        """The end of the run, after as many attempts as it takes. `following` is the one to begin with."""
        try:
            while not self._owner.manifest.is_done:
                following = following or ending.conclude(self._owner, is_alone=is_alone)
                self._looked()
                if following is not None:
                    is_alone = False
                    if self._begin_again(following):
                        self._watch.until_ended()
                    following = None
                elif self._owner.manifest.phase is Phase.WAITING:
                    self._watch.until_sent()
                    following = ending.heard(self._owner)
        except Exception as error:
            ending.fail(self._owner, error)
            raise
        finally:
            self._looked()

    # -- another attempt -------------------------------------------------------------------------------

    def _begin_again(self, following: NextAttempt) -> bool:
        """Waits if it has to, and starts the attempt; False: the run has ended instead, or has to."""
        owner, n, absence = self._owner, self._owner.manifest.attempt + 1, Absence()
        waiting = owner.manifest.with_last_attempt(reason=following.code, counts=following.counts)
        if following.messages:
            owner.manifest = waiting
            return self._begin_turn(following, n)
        if following.wait_s:
            owner.log.note("backing_off", seconds=following.wait_s, code=following.code, attempt=n)
            text = f"waits {following.wait_s:g} s before attempt {n} ({following.code})"
            waiting = waiting.replace(last_activity=text)
        owner.write_or_fail(waiting)
        if not self._waited(following.wait_s, absence):
            # Judged anew under this wish: the change of the former attempt is taken back, the result written.
            wish = owner.asked("while waiting for its next attempt")
            owner.manifest = owner.manifest.replace(reason=wish)
            ending.conclude(owner)
            return False
        prompt = self._write_prompt(following, n)
        if following.how != CLOSING and owner.invocation.open_timeout_s is None:
            owner.queue.reopen(turns.SUPERVISOR)
        owner.write_or_fail(retried(owner.manifest, n))
        how = {"how": following.how, "code": following.code, "counts": following.counts}
        owner.log.note(Event.RETRIED, attempt=n, waited_s=following.wait_s, **how)
        return self._start(following, prompt)

    def _begin_turn(self, following: NextAttempt, n: int) -> bool:
        """As `_begin_again`, with messages, which nothing is waited for."""
        owner = self._owner
        waited_s = owner.limits.go_on()
        begun = continued(owner.manifest, n)
        begun = begun.replace(waiting_seconds=round(owner.limits.waited_s, 3))
        try:
            prompt = self._write_prompt(following, n)
            owner.write_or_fail(begun, durable=False)  # the next one, which follows at once, is durable
        except OSError as error:
            owner.log.note("not_retried", message=f"no further turn can begin: {error.strerror}")
            owner.queue.close(owner.manifest.messages_given, actor=turns.SUPERVISOR, leaves=True)
            return False
        sent = {"messages": [*following.messages], "actor": following.actor, "turn": begun.turns_begun + 1}
        owner.log.note(Event.CONTINUED, attempt=n, waited_s=waited_s, **sent)
        return self._start(following, prompt)

    def _write_prompt(self, following: NextAttempt, n: int) -> str:
        """The name of its file."""
        owner, prompt = self._owner, f"prompt-{n}.md"
        text = get(owner.invocation.runtime).prepare_prompt(following.prompt)
        # An owner before us may have been killed over it, with other messages.
        replace_bytes(f"{owner.run.path}/{prompt}", text.encode(), durable=False)
        return prompt

    def _start(self, following: NextAttempt, prompt: str) -> bool:
        owner = self._owner
        run, invocation = owner.run, owner.invocation
        begins: dict[str, Any] = {
            "prompt": prompt,
            "stdout_from": owner.progress.size,
            "stderr_from": _size(run.stderr),
            "thread_id": None if following.how == "fresh" else owner.manifest.thread_id,
        }
        if following.messages:
            begins["messages"] = following.messages
        if (other := ending.other_program(owner)) is not None:
            reason = Reason("program_changed", f"{other} is not what it was at the start", _CHANGED)
            ending.close(owner, Event.START_FAILED, (Outcome.FAILED, reason), reason)
            return False
        if following.how != CLOSING:
            turns.begins(owner)
        os.umask(umask := os.umask(0o077))  # that of who has started the run, or has given it to us
        try:
            if invocation.home and invocation.temp is not None:
                temp.renew(invocation.temp, invocation.home, get(invocation.runtime).home_kept)
            process = spawn.spawn(
                following.argv[0],
                following.argv,
                cwd=invocation.cwd,
                env={**owner.env, **git_env.of_agent(invocation)},
                streams=spawn.Streams(f"{run.path}/{prompt}", run.stdout, run.stderr, owner.lease_fd),
                umask=umask,
                cgroup=owner.cgroup,
            )
        except OSError as error:
            reason = start_failure(error, invocation)
            ending.close(owner, Event.START_FAILED, (Outcome.FAILED, reason), reason)
            return False
        if owner.cgroup is None or not owner.cgroup.has_all:
            owner.manifest = owner.manifest.replace(cgroup=None)
        argv = None if following.argv == invocation.argv else following.argv
        owner.attend_next(started(owner.manifest, process, how=following.how, argv=argv, **begins))
        told = {"process": process.to_json(), "attempt": owner.manifest.attempt, "how": following.how}
        owner.log.note(Event.STARTED, **told, **begins, cgroup=owner.manifest.cgroup)
        return True

    def _waited(self, seconds: float, absence: Absence) -> bool:
        """False: it was cancelled meanwhile."""
        deadline = time.monotonic() + seconds
        while not self._owner.is_to_end:
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            time.sleep(min(_LOOK_S, left))
            if missed_s := absence.missed_s(min(_LOOK_S, left)):
                self._owner.missed(missed_s)
        return False


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
