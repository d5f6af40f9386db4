"""Runs a plan or a pipeline: which step begins when, what its end means, when to stop. Edges: as its work.

Every step is in the ledger before the next one depends on it. So another conductor can continue after one
that was killed at any point: it asks the runs how they ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import time

from runner.conduct import commits, merge_back
from runner.conduct import plan_record as assignments
from runner.conduct.conductor_run import READERS
from runner.conduct.outcome import FOLD_CONFLICT, KEEPING, BatchEnd, Meaning, came_to_nothing, end_of, said_of
from runner.conduct.summary import in_a_row
from runner.conduct.verify_together import verify_together
from runner.conduct.work import redactor
from runner.errors import Conflict, GaveUpWaiting, RunnerError, RunNotFound, WorkspaceBusy
from runner.invocation import Earlier
from runner.model import Reason
from runner.processes.proc import Uninterrupted
from runner.state.authentic import next_run_id, refuse_foreign
from runner.state.lineage import lineage_of
from runner.state.plan_ledger import PlanLedger, Status, StepKind
from runner.state.store import RunDir
from runner.text.words import few
from runner.usecases import accept, control, start
from runner.usecases.look import look
from runner.usecases.review import left_by
from runner.verify import record
from runner.verify.inspect import relative

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runner.conduct.work import Work
    from runner.state.manifest import Manifest
    from runner.state.plan_ledger import Step

    Ended = list[tuple[int, RunDir, Manifest]]

_MAY_NOT_COMMIT = "commit_refused"
_POLL_S = 0.5
"""Between two looks at what a person is waited for with."""


class Conductor:
    """Of one run of a plan or a pipeline. `say` gets a line for people whenever something is worth one."""

    def __init__(
        self, run: RunDir, work: Work, ledger: PlanLedger, env: Mapping[str, str], say: Callable[[str], None]
    ) -> None:
        self._run, self._work, self._config = run, work, work.config
        self._env, self._say = env, say
        self._commits = self._config.delegate.commit is not False
        self._base: commits.Base | None = None
        self._is_refused = False
        self._redactor = redactor(self._config, env)
        self._edited: dict[int, tuple[str, ...]] = {}
        """Batch -> the files that had changes which are not of the plan when it began."""
        self._recalled: set[int] = set()
        """Batches of a conductor before this one: others may have been at work since."""
        self._made: dict[int, str] = {}
        """Batch of a wave -> its commit, of the files as they were before another one was folded in."""
        self._at_work: dict[int, RunDir] = {}
        """Step -> its run: either some that only read, or a wave of those that write."""
        self._ended: Ended = []
        """Those of the wave that are done, until all are."""
        self.ledger = ledger

    def carry_out(self) -> PlanLedger:
        """From where the ledger is, as far as it comes; the ledger then."""
        if self._work.may_be_apart or self._commits:
            self._base = commits.base(self._config, self._settled(), self.ledger.base)
            self._keep(self.ledger.replace(base=self.ledger.base or self._base.tip, tip=self._base.tip))
        self._forget_gone()
        self._recall()
        while not self._reads():
            if not self._look() and (ended := self._await()):
                self._finish(ended)
        self._see_to_owed()
        while True:
            self._keep(self._work.grown(self.ledger))
            if self._look():
                continue
            for step in self._next():
                if self._work.grown(self.ledger) is not self.ledger:
                    break  # a document has changed: who approves it is asked before anything reads it
                self._begin(step)
            else:
                if self._at_work:
                    if ended := self._await():
                        self._finish(ended)
                elif any(not step.has_run for step in self.ledger.runnable()):
                    time.sleep(_POLL_S)
                else:
                    return self.ledger

    def _settled(self) -> set[str]:
        """What finished batches have changed, without what is still to be committed."""
        if self._commits:
            return commits.settled(self.ledger) - commits.unsettled(self._run.repo, self.ledger)
        return {path for step in self.ledger.steps for path in step.changed}

    def _look(self) -> bool:
        """At the steps that have no run; whether one of them is settled now. Nobody is asked while a run
        writes in the same tree: what a person writes there would count as its own.
        """
        writes_here = any(not self._is_apart(n) and not self.ledger.step(n).is_reader for n in self._at_work)
        for step in [step for step in self.ledger.runnable() if not step.has_run]:
            if writes_here and step.kind is StepKind.PERSON:
                continue
            self._keep(self._work.looked(self.ledger, step, self._env, is_quiet=not self._at_work))
            now = self.ledger.step(step.n)
            if now.asked != step.asked:
                self._tell(step.n, "waits for a person: `runner inbox` says how to answer")
            if now.status is not step.status:
                self._tell(step.n, now.status if now.why is None else f"{now.status}: {now.why.message}")
                return True
        return False

    def _see_to_owed(self) -> None:
        """What a conductor before this one has folded in and not seen to pass."""
        owed = self.ledger.together
        if not owed or not self._holds_together(()):
            return
        for n in owed:
            step = self.ledger.step(n)
            if self._commits and step.commit is None and step.run is not None:
                run = RunDir.of(self._run.repo, step.run)
                manifest = _end_of_ours(run)
                end = end_of(manifest, record.load(run.result)).replace(is_checked=True)
                self._recalled.add(n)
                self._close(n, manifest, end, passes=True)
        self._keep(self.ledger.replace(together=()))

    def _forget_gone(self) -> None:
        """What somebody removed before it was seen to pass: a person has to look, once."""
        runs = {n: self.ledger.step(n).run for n in self.ledger.together}
        gone = [
            n for n, run in runs.items() if run is None or not RunDir.of(self._run.repo, run).is_described()
        ]
        if gone:
            text = f"of {self.ledger.called(gone)}, whose changes nothing has verified, the runs are gone"
            left = tuple(n for n in self.ledger.together if n not in gone)
            self._keep(self.ledger.replace(together=left).stops(Reason("lost", text)))
            self._say(text)

    # -- what begins ---------------------------------------------------------------------------------

    def _next(self) -> tuple[Step, ...]:
        """The steps that begin now: those that only read, else one, or those of a wave that can, each in a
        tree of its own. What writes begins when nothing is at work, and nothing begins beside it; it is not
        where somebody is asked for a document, unless it has a tree of its own.
        """
        runnable, most = self.ledger.runnable(), self._config.delegate.max_parallel
        readers = tuple(step for step in runnable if step.has_run and step.is_reader)
        if self._at_work and not self._reads():
            return ()
        if readers or self._at_work:
            return readers[: max(0, max(most, READERS) - len(self._at_work))]
        is_written = any(step.document is not None for step in runnable)
        ready = [step for step in runnable if step.has_run and (self._is_apart(step.n) or not is_written)]
        if not ready or not self._is_on_its_branch():
            return ()
        if most == 1:
            return (ready[0],)
        wave = min(step.wave for step in ready)
        return tuple(step for step in ready if step.wave == wave)[:most]

    def _is_on_its_branch(self) -> bool:
        """Whether what begins now could be committed; people may have committed a document."""
        try:
            if self._base is not None:
                self._base = commits.followed(self._config, self._base, self._settled(), self.ledger.base)
        except RunnerError as error:
            self._keep(self.ledger.stops(Reason(_MAY_NOT_COMMIT, _told(error))))
        return self.ledger.breaker.lets_through

    def _reads(self) -> bool:
        """Whether all that is at work only reads."""
        return all(self.ledger.step(n).is_reader for n in self._at_work)

    def _begin(self, step: Step) -> None:
        """Its run is at work then, unless it could not even be started, which stops the plan."""
        run_id, task_id = next_run_id(self._run.repo), self._work.task_of(step)
        child = RunDir(self._run.repo, task_id, run_id)
        self._recalled.discard(step.n)  # what is verified of it now is ours
        self._keep(self.ledger.began(step.n, lineage_of(child)))
        try:
            config = self._work.config_of(self.ledger, step)
            request = self._work.request_of(step).replace(
                parent=self._run.manifest,
                run_id=run_id,
                base=None if self._base is None else self._base.tip,
                earlier=self._earlier(step),
            )
            if self._commits and self._base is not None and not self._is_apart(step.n):
                self._edited[step.n] = commits.edited(self._config, self._base.tip, None)
            start.start(config, request, self._env)
        except RunnerError as error:
            if not os.path.exists(child.manifest):
                why = Reason(error.code, _told(error))
                self._keep(self.ledger.refused(step.n, why))
                self._tell(step.n, f"not started: {why.message}")
                return
        units = f"{', '.join(step.units)} " if step.units else ""
        self._tell(step.n, f"{units}started as {run_id}")
        self._at_work[step.n] = child

    def _earlier(self, step: Step) -> Earlier | None:
        """What tries that came to nothing have left, against the state before the first of them."""
        first = step.first or step.run
        if first is None or not step.kept:
            return None
        return Earlier(RunDir.of(self._run.repo, first).path, step.kept)

    # -- what ended ----------------------------------------------------------------------------------

    def _await(self) -> Ended:
        """Those that are done and count now, in the order of the batches: of a wave all or none. It waits no
        longer than until people have to be looked for again.
        """
        for n, run in [*self._at_work.items()]:
            if not run.is_described():
                del self._at_work[n]
                why = Reason("lost", f"the folder of run {run.run_id} is gone")
                self._keep(self.ledger.parked(n, why))
        runs, is_wave = [*self._at_work.items()], not self._reads()
        timeout_s = _POLL_S if any(not step.has_run for step in self.ledger.runnable()) else None
        with contextlib.suppress(RunNotFound, GaveUpWaiting):
            found = control.wait([run for _, run in runs], any_of_them=True, timeout_s=timeout_s)
            for (n, run), manifest in zip(runs, found, strict=True):
                if manifest.is_done:
                    del self._at_work[n]
                    self._ended.append((n, run, manifest))
                    self._tell(n, said_of(manifest))
        if is_wave and self._at_work:
            return []
        ended, self._ended = sorted(self._ended, key=lambda one: one[0]), []
        return ended

    def _finish(self, ended: Ended) -> None:
        """What their ends mean. Nothing is committed before all that is new in the work tree was verified
        there, and they count in the order of the batches.
        """
        again = [one for one in ended if one[0] in self._recalled and came_to_nothing(one[2])]
        for n, run, _ in again:
            kept = () if self._is_apart(n) else self._own(n, left_by(run))
            merge_back.put_away(run)
            self._keep(self.ledger.waits(n, kept=kept))
        foreign = []
        for one in ended:
            try:
                refuse_foreign(one[1])
            except RunnerError as error:
                foreign.append(one)
                self._keep(self.ledger.failed(one[0], Reason(error.code, error.message)))
        self._judge([one for one in ended if one not in (*again, *foreign)])

    def _judge(self, ended: Ended) -> None:
        ends = []
        if self._commits and (apart := [one for one in ended if self._is_apart(one[0])]):
            self._note_edits(apart)
        tip = None if self._base is None else self._base.tip
        is_fresh = self._recalled.isdisjoint(n for n, _, _ in ended)
        for n, run, manifest in ended:
            end = end_of(manifest, record.load(run.result))
            end = end.replace(dirty_before=self._edited.get(n, end.dirty_before))
            try:
                end = self._work.judged(self.ledger, self.ledger.step(n), run, end)
            except RunnerError as error:  # a result that it stands on is gone, or not as it was written
                end = end.replace(meaning=Meaning.FAILURE, why=Reason(error.code, _told(error)))
            if end.meaning is Meaning.SUCCESS and self._is_apart(n):
                end = self._taken_over(run, end)
                if end.meaning is Meaning.SUCCESS and tip is not None and is_fresh:
                    tip = self._make(n, manifest, end, tip)
            ends.append((n, run, manifest, end))
        fine = [n for n, _, _, end in ends if end.meaning is Meaning.SUCCESS]
        passes = self._holds_together([n for n in fine if not self.ledger.step(n).is_reader])
        for n, run, manifest, end in ends:
            if end.meaning is Meaning.SUCCESS:
                self._close(n, manifest, end, passes=passes)
            elif end.meaning is not Meaning.LATER:
                self._give_up(n, run, end)
        if passes:
            self._keep(self.ledger.replace(together=()))

    def _note_edits(self, ended: Ended) -> None:
        """Which files that these batches changed in their work trees have foreign changes in the user's,
        before any merge. A file that a killed conductor was merging does not count.
        """
        assert self._base is not None
        fresh: set[str] = set()
        begun: set[str] = set()
        for _, run, manifest in ended:
            changed = end_of(manifest, record.load(run.result)).changed
            (begun if merge_back.is_begun(run) else fresh).update(changed)
        found = commits.edited(self._config, self._base.tip, sorted(fresh - begun))
        self._edited.update((n, found) for n, _, _ in ended)

    def _give_up(self, n: int, run: RunDir, end: BatchEnd) -> None:
        """The batch did not succeed; what is left of it in the tree is noted."""
        assert end.why is not None
        kept: tuple[str, ...] = ()
        if self._is_apart(n):
            task = self._config.tasks[run.task_id]
            if end.why.code not in KEEPING and task.on_failure != "keep":
                merge_back.put_away(run)
        elif not end.is_back:
            kept = end.changed if end.is_observed else self._own(n, left_by(run))
        counts = end.meaning is Meaning.FAILURE
        change = self.ledger.failed if counts else self.ledger.parked
        given_up = change(n, end.why, kept=kept)
        if counts and not kept and self.ledger.step(n).kind is StepKind.REPAIR:  # what is left is reviewed
            given_up = given_up.replaced(n, end.why)
        self._keep(given_up)
        if end.why.code == FOLD_CONFLICT:
            self._tell(n, f"{end.why.code}: {end.why.message}")
        if counts and self.ledger.breaker.is_open:
            self._say(f"{in_a_row(self.ledger)}: no other one starts")

    def _taken_over(self, run: RunDir, end: BatchEnd) -> BatchEnd:
        """The end once the change of its own work tree is in the user's, or why it is not."""
        try:
            with Uninterrupted():
                merge_back.take_over(run)
        except WorkspaceBusy as error:
            self._keep(self.ledger.stops(Reason(error.code, error.message)))
            return end.replace(meaning=Meaning.LATER)  # the run that resumes the plan takes it over
        except RunnerError as error:
            why = Reason(FOLD_CONFLICT, f"its changes do not apply: {_told(error)}")
            return end.replace(meaning=Meaning.FAILURE, why=why)
        return end

    def _holds_together(self, fresh: Sequence[int]) -> bool:
        """Whether what was verified apart passes side by side too. That it is to be looked at is in the
        ledger until all of it is seen through.
        """
        owed = sorted({*self.ledger.together, *fresh})
        if not self.ledger.together and len(owed) < 2:
            return True  # it was verified in a tree that was the same
        self._keep(self.ledger.replace(together=tuple(owed)))
        runs = [self.ledger.step(n).run for n in owed]
        folders = [RunDir.of(self._run.repo, run) for run in runs if run is not None]
        failed = verify_together(self._run, self._config.root, folders, self._env, self._redactor)
        if failed is None:
            return True
        names = self.ledger.called(owed)
        self._keep(self.ledger.stops(Reason("verify_failed", f"{names} together: {failed}")))
        self._say(f"{names} do not pass together: {failed}")
        return False

    def _close(self, n: int, manifest: Manifest, end: BatchEnd, *, passes: bool) -> None:
        """The batch is done: its commit, if it is to have one, and the ledger."""
        step = self.ledger.step(n)
        found = self._work.outside(step, end.changed)
        sha = None
        if self._base is not None and passes and not self._is_refused and not step.is_reader:
            try:
                sha = self._commit(step, manifest, end)
            except RunnerError as error:
                self._is_refused = True  # one after it would be out of its order
                self._keep(self.ledger.stops(Reason(_MAY_NOT_COMMIT, f"{step.called}: {_told(error)}")))
                self._tell(n, f"not committed: {_told(error)}")
        done = self.ledger.succeeded(n, changed={*end.changed, *step.kept}, outside=found, commit=sha)
        self._keep(done if self._base is None else done.replace(tip=self._base.tip))
        if found and self._config.delegate.files != "off":
            self._tell(n, f"changed files that none of its units names: {_few(found)}")

    def _commit(self, step: Step, manifest: Manifest, end: BatchEnd) -> str | None:
        """The commit that stands in the ledger; None where commits are not wanted, or there is no change."""
        assert self._base is not None
        paths = sorted({*end.changed, *step.kept})
        before = self._base
        if self._commits and (
            made := commits.committed(self._config, before, manifest.run_id, self.ledger.base)
        ):
            commits.see_to_index(self._config, before, paths)
            return made  # by a conductor that was killed before it could write that down
        foreign = ({*end.dirty_before} & {*end.changed}) - {*step.kept}
        if self._commits and foreign:
            raise Conflict(f"these files already had changes of others: {_few(foreign)}")
        if self._commits and not end.is_checked:
            raise Conflict("no command verified it")
        if self._commits and (odd := self._nobodys(step.n, end, paths)):
            raise Conflict(f"these files are named neither by a unit nor by the agent: {_few(odd)}")
        made = self._made.get(step.n) or commits.make(
            self._config,
            before.tip,
            paths,
            self._work.message(self.ledger, step, manifest),
            manifest.ended_at,
        )
        if self._commits and (not self._is_apart(step.n) or step.n in self._recalled):
            run = RunDir.of(self._run.repo, manifest)
            if other := merge_back.strayed(run, commits.repository_root(self._config), end.tree, paths):
                raise Conflict(f"these files changed after they were verified: {_few(other)}")
        self._base = commits.move(self._config, before, made, paths, is_wanted=self._commits)
        if self._commits and self._base.tip != before.tip:
            self._tell(step.n, f"committed as {self._base.tip[:12]}")
            return self._base.tip
        return None

    def _make(self, n: int, manifest: Manifest, end: BatchEnd, tip: str) -> str:
        """The commit of a batch whose change is now in the tree, before the next one comes there; no branch
        names it before all were verified together.
        """
        step = self.ledger.step(n)
        paths = sorted({*end.changed, *step.kept})
        with contextlib.suppress(RunnerError):  # it is reported when the branch has to move
            text = self._work.message(self.ledger, step, manifest)
            self._made[n] = commits.make(self._config, tip, paths, text, manifest.ended_at)
        return self._made.get(n, tip)

    def _nobodys(self, n: int, end: BatchEnd, paths: Sequence[str]) -> tuple[str, ...]:
        """What may be foreign, from work in the same tree; a run's own tree has none."""
        if self._is_apart(n) or self._config.delegate.files == "off":
            return ()
        root = self._config.root
        said = {relative(path, top) for path in end.claimed for top in (root, os.path.realpath(root))}
        odd = self._work.outside(self.ledger.step(n), paths)
        return tuple(path for path in odd if path not in said)

    def _own(self, n: int, left: Sequence[str]) -> tuple[str, ...]:
        """The changed files of a run whose end was not seen: those that its units name."""
        other = {*self._work.outside(self.ledger.step(n), left)}
        return tuple(path for path in left if path not in other)

    def _is_apart(self, n: int) -> bool:
        return self._work.is_apart(self.ledger.step(n))

    # -- after another conductor ---------------------------------------------------------------------

    def _recall(self) -> None:
        """The batches that an earlier conductor started are at work, or have come to nothing."""
        for step in self.ledger.steps:
            if step.run is None or step.status not in (Status.RUNNING, Status.WAITING):
                continue
            run = RunDir.of(self._run.repo, step.run)
            if step.status is Status.WAITING:
                self._recall_decided(step, run)
            elif not run.is_described():
                self._keep(self.ledger.waits(step.n))
            else:
                self._at_work[step.n] = run
                self._recalled.add(step.n)

    def _recall_decided(self, step: Step, run: RunDir) -> None:
        """A person may have accepted by hand what did not apply; an unwanted work tree is removed."""
        if merge_back.is_begun(run):  # what is half in place is to be all there, or none begins
            with contextlib.suppress(RunnerError), Uninterrupted():
                merge_back.take_over(run)
        if accept.decided(run) == "accepted":
            manifest = _end_of_ours(run)
            self._recalled.add(step.n)
            self._keep(self.ledger.replace(together=(*self.ledger.together, step.n)))
            passes = self._holds_together(())
            end = end_of(manifest, record.load(run.result)).replace(is_checked=passes)
            self._close(step.n, manifest, end, passes=passes)
            if passes:
                self._keep(self.ledger.replace(together=()))
        else:
            merge_back.put_away(run)

    # -- words ---------------------------------------------------------------------------------------

    def _keep(self, ledger: PlanLedger) -> None:
        """It is read by others: what a reason says may quote anything."""
        if ledger is not self.ledger:
            self.ledger = assignments.keep(self._run, ledger, self._redactor.redact_text)

    def _tell(self, n: int, text: str) -> None:
        step = self.ledger.step(n)
        of = "" if step.stage else f" of {len(self.ledger.steps)}"
        self._say(f"{step.called}{of}: {text}")


def _end_of_ours(run: RunDir) -> Manifest:
    """Its manifest, which is believed."""
    refuse_foreign(run)
    return look(run)


def _told(error: RunnerError) -> str:
    return f"{error.message}: {_few(error.problems)}" if error.problems else error.message


def _few(names: Sequence[str] | set[str]) -> str:
    shown = [name if name.isprintable() else json.dumps(name) for name in sorted(names)]
    return few(shown)
