"""Could a run start at an executor? A job of one processor looks there, as `doctor` does here.

Whatever the engine does, this takes no longer than WAITS_S and LOOKS_S, and leaves neither job nor file.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence

from runner import executors
from runner.disk import interpreter
from runner.disk.files import make_plain_folder, read, read_text, replace_json, unwritable
from runner.errors import ConfigInvalid, Interrupted, RunnerError
from runner.executors import probe
from runner.executors.base import UNUSABLE, Job, JobState
from runner.model import Config, ExecutorSettings
from runner.runtimes.exam import Examined, Fitness
from runner.state.authentic import refuse_forged, write_record
from runner.state.store import RUNS
from runner.text.words import one_line
from runner.value import json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.executors.base import Executor
    from runner.state.placement import Placement

WAITS_S = 45.0
"""So long its job may wait for a place."""
LOOKS_S = 90.0
"""And so long it may be at work."""
_POLL_S = 1.0
_LATE_S = 10.0
"""A network file system shows late what a node has written."""
_LARGEST = 4 << 20
_ENGINES = ("SLURM", "SBATCH_", "SRUN_")
_MAIN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "__main__.py")


def examine(
    config: Config,
    name: str,
    env: Mapping[str, str],
    here: Sequence[Examined],
    words: Sequence[str] = (),
    *,
    waits_s: float = WAITS_S,
) -> Iterator[Examined]:
    """`here` is what was examined on this machine, with `doctor` and `words`. ConfigInvalid for a name that
    the settings do not have.
    """
    settings = config.executors.get(name)
    if settings is None:
        known = ", ".join(config.executors) or "none"
        raise ConfigInvalid(f"unknown executor `{one_line(name, 80)}`", hint=f"the settings have: {known}")
    engine = executors.get(settings.kind)
    for fact in engine.facts():
        verdict = Fitness.UNKNOWN if fact.value is None else Fitness.WARN if fact.warning else Fitness.OK
        said = fact.value or "not known"
        yield Examined(f"{name}.{fact.name}", verdict, f"{said}: {fact.warning}" if fact.warning else said)
    each = [settings.replace(name=f"{name}.{host}", hosts=(host,)) for host in settings.hosts]
    for place in each or [settings]:
        try:
            yield from _tried(_Trial(config.root, place, engine, waits_s), env, here, words)
        except Interrupted:
            raise
        except RunnerError as error:
            yield Examined(f"{place.name}.job", Fitness.FAIL, error.message, error.hint)


class _Trial:
    """A job that looks at its node, and the folder in which it answers."""

    def __init__(self, root: str, settings: ExecutorSettings, engine: Executor, waits_s: float) -> None:
        self.waits_s = waits_s
        self.root, self.settings, self.engine = root, settings, engine
        self.runs, self.nonce = f"{root}/{RUNS}", f".probe-{os.urandom(16).hex()}"
        self.folder = f"{self.runs}/{self.nonce}"
        self.placed: Placement | None = None
        self._made_runs = False

    def begin(self, env: Mapping[str, str], words: Sequence[str]) -> None:
        argv = interpreter.command(_MAIN, "doctor", "--format", "json", *words)
        given = {key: value for key, value in env.items() if not key.startswith(_ENGINES)}
        try:
            self._made_runs = not os.path.isdir(self.runs)
            make_plain_folder(self.runs)
            os.mkdir(self.folder, 0o700)
            write_record(f"{self.folder}/ask.json", {"nonce": self.nonce, "root": self.root, "argv": argv})
            replace_json(f"{self.folder}/env.json", given, durable=False)
        except OSError as error:
            raise unwritable(error) from error
        told = interpreter.command(os.path.abspath(probe.__file__), self.folder)
        self.placed = self.engine.trial(self.settings, self.folder, told)

    def end(self) -> None:
        """Cancels the job, and removes what was made for it."""
        try:
            if self.placed is not None:
                self.engine.end(self.placed, force=True)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            if self._made_runs:
                try:
                    os.rmdir(self.runs)
                except OSError:
                    pass  # a run was started meanwhile

    def wait(self) -> Job:
        """The job when it has ended, or as it is when it was waited for long enough."""
        assert self.placed is not None
        began, deadline = False, time.monotonic() + self.waits_s
        while True:
            job = self.engine.look([self.placed])[self.placed.run_id]
            if not began and job.state is JobState.RUNNING:
                began, deadline = True, time.monotonic() + LOOKS_S
            if job.state in (JobState.ENDED, JobState.GONE) or time.monotonic() > deadline:
                return job
            time.sleep(_POLL_S)

    def answer(self) -> dict[str, Any] | None:
        """What the node wrote; None where nothing of ours arrived."""
        path, deadline = f"{self.folder}/answer.json", time.monotonic() + _LATE_S
        while True:
            try:
                data = read(path, _LARGEST)
                refuse_forged(path, data)
                found = json_value(data)
                return found if found.get("nonce") == self.nonce else None
            except FileNotFoundError:
                if time.monotonic() > deadline:
                    return None
                time.sleep(_POLL_S / 4)
            except (OSError, ValueError, RunnerError):
                return None

    def log(self) -> str:
        lines = (read_text(f"{self.folder}/{self.engine.log}", _LARGEST) or "").strip().splitlines()
        return one_line(lines[-1], 200) if lines else "it wrote nothing"


def _tried(
    trial: _Trial, env: Mapping[str, str], here: Sequence[Examined], words: Sequence[str]
) -> Iterator[Examined]:
    name = trial.settings.name
    try:
        trial.begin(env, words)
        job = trial.wait()
        if job.state not in (JobState.ENDED, JobState.GONE):
            yield _unfinished(f"{name}.job", job, trial.waits_s)
            return
        if job.exit_code == UNUSABLE or (answer := trial.answer()) is None:
            yield _unusable(name, job, trial)
            return
        yield Examined(f"{name}.job", Fitness.OK, f"a job of one processor ran on {job.node or 'a node'}")
        yield Examined(f"{name}.shared", Fitness.OK, f"{trial.runs} and the key are the same there")
        yield from _as_here(name, answer, here)
    finally:
        trial.end()


def _unfinished(name: str, job: Job, waits_s: float) -> Examined:
    why = f" ({job.why})" if job.why else ""
    if job.state is JobState.PENDING:
        said, repair = (
            f"its job waited for {waits_s:g} s{why}, and was cancelled",
            "try again when there is room",
        )
        return Examined(name, Fitness.UNKNOWN, said, repair)
    return Examined(
        name, Fitness.UNKNOWN, f"its job was {job.state}{why} after {LOOKS_S:g} s, and was cancelled"
    )


def _unusable(name: str, job: Job, trial: _Trial) -> Examined:
    """A job that did not answer, and what its node cannot do."""
    how = f"signal {job.signal}" if job.signal else f"status {job.exit_code}"
    if job.exit_code == UNUSABLE:
        said = f"{job.node} cannot use the folder or the key: {trial.log()}"
        return Examined(f"{name}.shared", Fitness.FAIL, said, "XDG_STATE_HOME names a folder that both share")
    said = f"{job.node} gave no answer ({how}): {trial.log()}"
    repair = f"{trial.runs}, runner and its Python have to be the same on the nodes"
    return Examined(f"{name}.shared", Fitness.FAIL, said, repair)


def _as_here(name: str, answer: Mapping[str, Any], here: Sequence[Examined]) -> Iterator[Examined]:
    """What `doctor` says on the node, where that is of agents, and whether they are the same as here."""
    try:
        checks = [Examined.from_json(one) for one in json.loads(str(answer.get("out")))["checks"]]
    except (ValueError, KeyError, TypeError):
        said = f"doctor did not work there: {one_line(str(answer.get('why')), 200)}"
        yield Examined(f"{name}.agents", Fitness.FAIL, said, "`srun runner doctor` shows it")
        return
    known = {check.name: check for check in here}
    for check in checks:
        part = check.name.rpartition(".")[2]
        ours = known.get(check.name)
        if part == check.name or ours is None:
            continue  # not of an agent
        told = check.replace(name=f"{name}.{check.name}", message=one_line(check.message, 400))
        if part == "identity" and check.verdict is Fitness.OK and check.message != ours.message:
            said = f"{told.message} there, and {ours.message} here"
            told = told.replace(verdict=Fitness.FAIL, message=said, repair="install the same one on both")
        yield told
