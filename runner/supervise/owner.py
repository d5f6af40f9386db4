"""All that a supervisor knows of its run, and the only writer of its manifest. Edges: disk, processes.

Watching, acting on intents, ending and trying again are separate modules. All of them use this one state:
there is no second copy that could differ.
"""

from __future__ import annotations

import errno
import os

from runner import runtimes
from runner.conformance import Agreement, Conformance, Conformity
from runner.disk import git_env
from runner.disk.files import make_durable
from runner.errors import RunnerError
from runner.model import Level
from runner.processes import cgroup
from runner.processes.proc import age, command_line, environment, find_process, identify, is_alive
from runner.processes.tree import Tree
from runner.runtimes import PLAN
from runner.runtimes.base import UsageScope
from runner.state import feed, fingerprints, spent
from runner.state.authentic import own_invocation
from runner.state.events import EventLog, complain
from runner.state.manifest import CLOSING, Attempt, Manifest, Proof, counted, timestamp
from runner.state.messages import Queue
from runner.state.spent import larger
from runner.state.store import RunDir, thread_of
from runner.supervise import notices, takeover, tie
from runner.supervise.children import Children
from runner.supervise.conformance import compare, declared
from runner.supervise.limits import LimitMonitor
from runner.supervise.others import Others
from runner.supervise.progress import Progress
from runner.supervise.sealing import Cleaner, known_by
from runner.supervise.session import Session
from runner.supervise.witness import Witness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.model import Identity, Json, Reason, Usage
    from runner.processes.proc import Process
    from runner.runtimes.base import Activity
    from runner.state.fingerprints import Known
    from runner.verify.record import Record

_MESSAGE_KEPT = 16 * 1024
_MOST_NOTICES = 8
"""Commands of the user at once: an agent can ask very many questions in an instant."""


class Owner:
    """The one state of a run. `manifest` is what is known now; `write` makes it known to everybody."""

    def __init__(
        self,
        run: RunDir,
        lease_fd: int | None = None,
        *,
        takes_over: bool = False,
        copy: int | None = None,
    ) -> None:
        self.run = run
        self.invocation = own_invocation(run) if takes_over else run.read_invocation()
        self.is_placed = self.invocation.executor is not None
        self.log = EventLog(run.events, lambda kind, fields: self.cleaner().event(kind, fields))
        self._runtime = runtimes.get(self.invocation.runtime)
        self._lease_fd = lease_fd
        self._child_env: Mapping[str, str] = {}
        self._cleaner: Cleaner | None = None
        self.is_starter = False
        """Whether we have started the run: then we are the parent of its process."""
        self.manifest, self.is_rebuilt = takeover.read_or_rebuild(run, self.invocation, self.log)
        engine = self.manifest.engine
        self.copy = engine.restarts if copy is None and engine is not None else copy
        """For which copy of its job we have it; None where there is none. Who looks has it for the one that
        had it, and never for another one that a file may name.
        """
        self.cgroup = cgroup.find(run.run_id, self.manifest.cgroup)
        """The control group of the run's processes, where there is one."""
        if self.is_rebuilt:
            self.write(self.manifest)
        me = self.manifest.supervisor
        self.is_starter = me is not None and me.pid == os.getpid() and is_alive(me)
        self.status: int | None = None
        """Wait status of the run's process, once we as its parent have seen it."""
        self.tie = tie.Tie(run, self.log, self.invocation.tied_to, is_placed=self.is_placed)
        self.children = Children(run, self.invocation, self.log, lambda text: self.cleaner().text(text))
        self.limits = LimitMonitor(run, self.invocation, self.log, self.manifest)
        self.session = Session(self._runtime, _thread_since(self.manifest))
        self.progress = self._new_progress()
        self.queue = Queue(run)
        """The messages that were sent to its agent."""
        self.witness = Witness(run, self.invocation, self.cleaner)
        self.found: Record | None = None
        """What the last attempt was judged by, as its result says it."""
        self.kept_message: tuple[int, str] | None = None
        """The attempt whose last message is on the disk, and that."""
        self.tree: Tree
        self._notices: list[Identity] = []
        self._unnoticed: list[int] = []
        """The numbers of the events whose notices wait for others to end."""

    # -- the manifest ------------------------------------------------------------------------------

    def write(self, manifest: Manifest, *, durable: bool = True) -> bool:
        """Makes this the manifest; whether it is on disk. A disk that refuses gets it with the next change.

        FileNotFoundError where the run's folder is gone, and with it the run.
        """
        self.manifest = manifest
        if self.is_placed:
            self._leave_if_fenced()
        try:
            self.run.write_manifest(manifest, durable=durable)
        except OSError as error:
            complain(f"manifest not written: {error}")
            if not os.path.isdir(self.run.path):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.run.path) from error
            return False
        return True

    def missed(self, seconds: float) -> None:
        """For so long we did not run ourselves, which counts for no limit."""
        told = {"seconds": round(seconds, 3)}
        if not self.limits.suspend(seconds):
            self.log.note("suspended", **told, paused=True)
        else:
            self.log.note("suspended", **told)
            self.write(self.manifest.replace(suspended_seconds=round(self.limits.suspended_s, 3)))

    def write_or_fail(self, manifest: Manifest, *, durable: bool = True) -> None:
        """As `write`, before a step that whoever takes over could not know of otherwise. OSError."""
        if self.is_placed:
            self._leave_if_fenced()
        self.run.write_manifest(manifest, durable=durable)
        self.manifest = manifest

    def _leave_if_fenced(self) -> None:
        """Ends what is left of the run here, and us, once another copy of its job has the run."""
        from runner.state.placement import is_fenced  # hardly any run is placed

        if self.copy is None or not is_fenced(self.run, self.copy) or (me := identify(os.getpid())) is None:
            return
        complain("another copy of the job has the run now")
        self.tree_of(self.manifest.process or me).stop(0.0, lambda: True)
        os._exit(75)  # `NOT_BEGUN` of an executor

    def observed(self) -> Manifest:
        """The manifest with the content of the stream and the program's own record so far, redacted."""
        seen, cleaner, manifest = self.progress, self.cleaner(), self.manifest
        changes: dict[str, object] = {"updated_at": timestamp()}
        if seen.thread_id is not None:
            changes["thread_id"] = cleaner.word(seen.thread_id)
        if manifest.attempts:
            last = self._last_attempt()
            manifest = manifest.with_last_attempt(**last.__dict__)
            if seen.cost_before is not None and self.invocation.fresh_argv is None:  # a session of its own
                manifest = manifest.replace(attempts=spent.costed(manifest.attempts, seen.cost_before))
            if (usage := spent.of_attempts(manifest.attempts)) is not None:
                changes["usage"] = usage
            if seen.last_message is not None and last.how != CLOSING:
                changes["last_message"] = _shortened(cleaner.text(seen.last_message))
        if (context := seen.context or self.session.context) is not None:
            changes["context"] = context.after(manifest.context)
        if self.session.contexts:
            told = self.conformance().to_json()
            changes["conformance"] = Conformance.from_json(cleaner.record(told))
        if seen.last_activity is not None:
            changes["last_activity"] = cleaner.text(seen.last_activity)
        if self.queue.look():
            changes["messages_queued"] = len(self.queue.pending(manifest.messages_given))
        if (plan := self.plan()) is not None:
            changes["plan"] = cleaner.record(plan)
        return manifest.replace(**changes)

    @property
    def is_to_end(self) -> bool:
        """Whether a request to cancel waits, which the process that it is tied to can be the reason of."""
        self.tie.heed()
        self.start_notices()  # this is asked again and again while no agent runs
        return self.run.is_told("cancel")

    def asked(self, when: str) -> Reason:
        """Who has cancelled it, and why."""
        return self.redacted(tie.asked(self.run, when))

    # -- what was seen -----------------------------------------------------------------------------

    def usage(self) -> Usage | None:
        """Of the whole run: what its threads have spent, without what was spent in them before it."""
        return spent.of_attempts((*self.manifest.attempts[:-1], self._last_attempt()))

    def cost(self) -> float | None:
        """What the run has cost so far: by the price of its model, or as its program counts it."""
        usage, price = self.usage(), self.invocation.price
        told = counted((*self.manifest.attempts[:-1], self._last_attempt()))
        if price is None or usage is None:
            return told
        by_price = price.total(usage.replace(cached_input_tokens=usage.cached_input_tokens or 0))
        return max(by_price or 0.0, told or 0.0)

    def _last_attempt(self) -> Attempt:
        """With what is known of its thread. What was spent in that of another run does not count before it is
        known how much of it was spent before.
        """
        seen, session, last = self.progress, self.session, self.manifest.attempts[-1]
        changes: dict[str, object] = {}
        if seen.thread_id is not None:
            changes["thread_id"] = self.cleaner().word(seen.thread_id)
        if seen.cost is not None:
            changes["cost"] = seen.cost
        told, counts_itself = seen.usage, self._runtime.usage_scope is UsageScope.ATTEMPT
        if counts_itself and told is not None:
            thread = changes.get("thread_id", last.thread_id)
            told = spent.in_thread(told, self.manifest.attempts[:-1], thread)
        is_known = session.has_start or last.usage_before is not None or counts_itself
        if is_known or not self._resumes_another(last):
            changes["usage"] = larger(larger(told, session.usage), last.usage)
            changes["usage_before"] = larger(session.before, last.usage_before)
        return last.replace(**changes)

    def _resumes_another(self, last: Attempt) -> bool:
        """Whether it is in the thread of another run, as the first attempt of a retry is."""
        return self.invocation.fresh_argv is not None and last.how != "fresh"

    def conformance(self) -> Conformance:
        """What was declared against what the program says of every turn so far."""
        runtime = self._runtime
        wanted = declared(self.invocation, runtime.approval(self.invocation.sandbox.level))
        told = compare(wanted, self.session.contexts, runtime.same_model)
        thread, seen = self._declared_thread(), self.progress.thread_id
        is_other = None not in (thread, seen) and thread != seen
        return told.replace(thread=Conformity(thread, seen, Agreement.DRIFT)) if is_other else told

    def _declared_thread(self) -> str | None:
        """The session that the command of the present attempt names, if it does."""
        (*former, last), invocation = self.manifest.attempts, self.invocation
        own = thread_of(invocation.run_id, last.n)
        known = (invocation.thread_id, own, *(one.thread_id for one in former))
        return next((one for one in known if one in (last.argv or invocation.argv)), None)

    def plan(self, *, is_over: bool = False) -> dict[str, Any] | None:
        """How far a plan is; None for a run that carries out none, and where its ledger cannot be read."""
        if self.invocation.runtime != PLAN:
            return None
        try:
            return self.run.read_ledger().shown(is_over=is_over)
        except ValueError:
            return None

    def _new_progress(self) -> Progress:
        start = self.manifest.attempts[-1].stdout_from if self.manifest.attempts else 0
        return Progress(self.run.stdout, self._runtime, self._hear, start)

    def _hear(self, activity: Activity) -> None:
        self.limits.signals.note(activity)
        if activity.observed is not None:
            self.session.take(activity.observed)

    # -- the process of the run --------------------------------------------------------------------

    def attend(self, process: Identity) -> None:
        """This is the process of the present attempt."""
        self.status = None
        self.tree = self.tree_of(process, is_whole=self.is_starter)
        if not self.is_starter and find_process(process) is not None:
            self._child_env = git_env.unmarked(environment(process.pid)) or self._child_env
            self._cleaner = None

    def tree_of(self, process: Identity, *, is_whole: bool = False) -> Tree:
        """What stands below `process`, the agent's or our own, and what is in the group of the run."""
        tree = Tree(
            self.run.run_id,
            process,
            reap=self.reap,
            is_whole=is_whole,
            is_others=Others(self.run).have,
            cgroup=self.cgroup,
        )
        tree.spare(self.is_notice)
        return tree

    def proof(self) -> Proof:
        """How it is known that nothing of the agent is left. Who is in no sandbox may be able to leave its
        group, as we were able to make it.
        """
        is_confined = self._runtime.confines and self.invocation.sandbox.level is not Level.DANGER
        is_proved = is_confined and self.manifest.cgroup is not None and self.tree.is_proved_empty()
        return Proof.PROVED if is_proved else Proof.SEEN

    def attend_next(self, manifest: Manifest) -> None:
        """The process of another attempt is there, as `manifest` says."""
        assert manifest.process is not None
        is_fresh = manifest.attempts[-1].how == "fresh"
        # Until this is there, whoever takes over knows of no process: that does not wait for the disk.
        if self.write(manifest.replace(context=None) if is_fresh else manifest, durable=False):
            make_durable(self.run.manifest)
        self.attend(manifest.process)
        self.limits.begin_again()
        if is_fresh:
            self.session = Session(self._runtime, timestamp())
        self.progress = self._new_progress()

    def reap(self) -> None:
        """Collects every ended child of ours; remembers how the run's own process ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self.manifest.process is not None and pid == self.manifest.process.pid:
                self.status = status

    def is_companion(self, process: Process) -> bool:
        """Whether it is the scripted model of a rehearsal, which lives as long as the run."""
        argv = [] if self.invocation.rehearsal is None else [*self.invocation.rehearsal.argv]
        is_model = argv != [] and command_line(process.pid)[: len(argv)] == argv
        return is_model or self.is_notice(process)

    def is_notice(self, process: Process) -> bool:
        """Whether it tells the user something: it is in the session of such a process that we have started,
        which no other one can enter.
        """
        return any(process.session == one.pid and is_alive(one) for one in self._notices)

    def notify(self, event: Json) -> None:
        """Runs the command that the user has for this event, if there is one. Nobody waits for it."""
        hook = feed.hook_of(event)
        if hook is not None and getattr(self.invocation.notify, hook):
            self._unnoticed.append(event["seq"])
            self.start_notices()

    @property
    def has_notices(self) -> bool:
        """Whether the user is still to be told something."""
        return bool(self._unnoticed) or any(map(is_alive, self._notices))

    def start_notices(self, *, is_last: bool = False) -> None:
        """Of the events that wait, as many as may begin now; with `is_last` all, some one after the other.
        What a command has left behind keeps no other one waiting.
        """
        if not self._unnoticed:
            return
        self._notices = [one for one in self._notices if is_alive(one)]
        busy = [one for one in self._notices if age(one) < 2 * notices.WITHIN_S]
        free = _MOST_NOTICES if is_last else max(0, _MOST_NOTICES - len(busy))
        begun = self._unnoticed if is_last else self._unnoticed[:free]
        self._unnoticed = self._unnoticed[len(begun) :]
        for numbers in filter(None, (begun[n::free] for n in range(free))):
            try:
                self._notices.append(notices.start(self.run, numbers))
            except OSError as error:
                complain(f"no notice of {numbers} started: {error}")

    @property
    def env(self) -> Mapping[str, str]:
        """That of the run's process, for redaction and checks.

        Who started it has the same, and a little more. Who took over has that of whoever looked at the run
        last, with names that the child never got and without values that it has: the child's own counts, if
        it lived then.
        """
        names = self.invocation.env_names
        if self.is_placed:
            from runner.state.placement import DEVICES

            names = (*names, *DEVICES)
        ours = {name: os.environ[name] for name in names if name in os.environ}
        return {**ours, **self.invocation.env_set, **self._child_env}

    def cleaner(self) -> Cleaner:
        """Takes the secrets of this run out of what goes to disk."""
        if self._cleaner is None:
            self._cleaner = Cleaner(self._known_secrets())
        return self._cleaner

    def _known_secrets(self) -> Known:
        """Who started the run has what its process got, and notes what that can be known by."""
        from runner.redact.exact import is_findable
        from runner.state.fingerprints import Known

        names = self.invocation.secret_names
        given = self.env if self.is_starter else self._child_env
        values = {name: value for name in names if (value := given.get(name))}
        if self.is_starter or values:
            try:
                fingerprints.note(self.run, {name: v for name, v in values.items() if is_findable(v)})
            except (RunnerError, OSError) as error:
                complain(f"the secrets of this run will be known to nobody else: {error}")
        if self.is_starter:
            return Known(tuple(values.values()), ())
        return known_by(self.run, names, self.env, os.environ)

    def redacted(self, reason: Reason) -> Reason:
        return type(reason)(**self.cleaner().record(reason.to_json()))

    # -- the lease of the work tree ----------------------------------------------------------------

    @property
    def lease_fd(self) -> int | None:
        """The right to write in the run's work tree, where it shares one."""
        return self._lease_fd

    @property
    def shares_tree(self) -> bool:
        """Whether it writes where others may want to write."""
        place = self.manifest.workspace
        return place is not None and place.kind == "in-place"

    def take_lease(self) -> bool:
        """Takes it if it is free; whether we have it now. The run's own processes may have it, if we took the
        run over from who started them, or another run that found the tree free.
        """
        place = self.manifest.workspace
        if self._lease_fd is None and place is not None and self.shares_tree:
            from runner.workspace.lease import Holder, acquire  # only a run that may write pays for it

            holder = Holder(self.manifest.run_id, self.manifest.manifest_path)
            try:
                self._lease_fd = acquire(place.path, holder).fd
            except (RunnerError, OSError):
                pass
        return self._lease_fd is not None

    def leave_lease(self) -> None:
        """Who waits for the end of this run may want to write there at once."""
        if self._lease_fd is not None:
            os.close(self._lease_fd)
            self._lease_fd = None


def _thread_since(manifest: Manifest) -> str | None:
    """When the first attempt in the present thread began."""
    former = [one for one in manifest.attempts if one.thread_id == manifest.thread_id]
    return former[0].started_at if former else manifest.created_at


def _shortened(text: str) -> str:
    """The whole text stays in last-message.md."""
    return text if len(text) <= _MESSAGE_KEPT else text[:_MESSAGE_KEPT] + " [...]"
