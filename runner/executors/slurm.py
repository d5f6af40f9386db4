"""Slurm: a run is the batch process of a job. Edge: processes, disk.

Whatever changes a job is done only where the cluster that answers is the one that has it, and where its job
still has the name of the run: numbers of jobs come again.
"""

from __future__ import annotations

import os
import sys
import time

from runner.disk.files import replace_bytes, unwritable
from runner.errors import Conflict, EngineSilent, PlacingRefused
from runner.executors import squeue
from runner.executors.base import EngineFact, Job, JobState, Placed, Submission
from runner.executors.script import job_script, node_command
from runner.executors.truth import UNPLACED_S
from runner.state.manifest import parse_timestamp, timestamp
from runner.state.placement import Placement, load
from runner.state.store import RunDir
from runner.text.words import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.executors.squeue import Heard
    from runner.invocation import Invocation
    from runner.model import ExecutorSettings
    from runner.runtimes.shortrun import Ran

_NODE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "supervise", "node.py")
_SUBMIT_S = 30.0
_TELL_S = 5.0
_TRIAL_S = 180.0
_END_MARGIN_S = 30
_NAME = "--job-name="
_UNANSWERED = ("timed out", "contact slurm controller", "connect", "communication", "zero bytes", "retrying")
"""What sbatch says, in small letters, where nobody knows whether there is a job."""
_KEPT = "JOB_ID|JOB_END_TIME|RESTART_COUNT|CLUSTER_NAME|NODELIST|JOB_NODELIST|CONF"
"""Of Slurm's variables, what our program on the node reads before it makes the agent's environment."""
_FORGET = """# What Slurm has put into the environment is not for the agent.
for name in $(env | sed -n 's/^\\(S[A-Z]*_[A-Za-z0-9_]*\\)=.*/\\1/p'); do
    case "$name" in
        {kept}) ;;
        SLURM*_*|SBATCH_*|SRUN_*) unset "$name" ;;
    esac
done
"""
_WAKE = (
    "import os, stat, sys; sys.path.insert(0, sys.argv[2]); "
    "from runner.state.store import RunDir; RunDir.from_path(sys.argv[1]).wake()"
)


class Slurm:
    """See `base.Executor`."""

    kind, log = "slurm", "slurm.log"

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self._env = os.environ if env is None else env

    def command(self, invocation: Invocation) -> Submission:
        settings = invocation.executor
        assert settings is not None, "a run that lives here is not placed"
        run = RunDir.of(invocation.repo, invocation)
        if "\\" in run.path:  # in the name of the log it would be taken away: filename pattern, sbatch(1)
            raise PlacingRefused(
                f"Slurm writes no log into a folder with a backslash: {run.path}",
                hint="give the folder another name",
            )
        name = f"{squeue.OURS}{invocation.task_id}:{invocation.run_id[-8:]}"
        margin = int(-(-invocation.limits.grace_s // 1)) + _END_MARGIN_S
        words = (f"--signal=B:TERM@{margin}", f"--chdir={invocation.repo}")
        options = (*_options(settings, name, invocation.run_id, run.path), *words)
        argv = (self._program("sbatch"), *options, f"{run.path}/job.sh")
        return Submission(argv, self._script(node_command(run.path)))

    def trial(self, settings: ExecutorSettings, folder: str, words: Sequence[str]) -> Placement:
        small = settings.replace(cpus=1, gpus=0, time_s=_TRIAL_S, max_pending_s=None, requeue=False)
        nonce = os.path.basename(folder)
        options = (*_options(small, f"{squeue.OURS}trial:{nonce[-8:]}", nonce, folder), f"--chdir={folder}")
        argv = (self._program("sbatch"), *options, f"{folder}/job.sh")
        made = self._submit(folder, nonce, Submission(argv, self._script(words)))
        asked = Placement(settings.name, self.kind, nonce, timestamp(), argv)
        return asked.replace(job_id=made.job_id, cluster=made.cluster)

    def facts(self) -> tuple[EngineFact, ...]:
        config = squeue.ask((self._program("scontrol"), "show", "config"), self._env)
        lines = (line.partition("=") for line in config.stdout.splitlines())
        said = {key.strip(): one_line(value, 80) for key, _, value in lines}
        tracker = said.get("ProctrackType")
        leaves = None if tracker != "proctrack/linuxproc" else "what leaves its session outlives its job"
        helped = squeue.ask((self._program("srun"), "--help"), self._env)
        has = "--overlap" in helped.stdout
        slow = None if has else "a request is seen within a second, and not at once"
        return (
            EngineFact("cluster", said.get("ClusterName")),
            EngineFact("version", said.get("SLURM_VERSION")),
            EngineFact("tracker", tracker, leaves),
            EngineFact("overlap", "srun --overlap" if has else None, slow),
        )

    def _script(self, words: Sequence[str]) -> str:
        kept = "|".join(f"SLURM_{name}" for name in _KEPT.split("|"))
        return job_script(self._env, words, _FORGET.format(kept=kept))

    def behind(self, command: Submission, jobs: Sequence[str]) -> Submission:
        *words, script = command.argv
        return command.replace(argv=(*words, f"--dependency=afterany:{':'.join(jobs)}", script))

    def submit(self, invocation: Invocation, command: Submission) -> Placed:
        return self._submit(RunDir.of(invocation.repo, invocation).path, invocation.run_id, command)

    def _submit(self, folder: str, comment: str, command: Submission) -> Placed:
        if not os.path.isabs(command.argv[0]):
            raise PlacingRefused("there is no sbatch on PATH", hint="start it where Slurm's commands are")
        try:
            cluster = squeue.cluster(self._env)  # before there is a job
        except EngineSilent as error:
            raise PlacingRefused(f"it was not placed: {error.message}", hint="try again later") from error
        try:
            replace_bytes(f"{folder}/job.sh", command.script.encode())
        except OSError as error:
            raise unwritable(error) from error
        try:
            ran = squeue.ask(command.argv, self._env, _SUBMIT_S)
        finally:
            squeue.forget(self._env)
        job_id = ran.stdout.strip().partition(";")[0]
        if ran.exit_code == 0 and job_id.isascii() and job_id.isdigit():
            return Placed(job_id, cluster)
        if (found := self._named(comment)) is not None:
            return Placed(found, cluster)
        if _is_unanswered(ran):
            raise EngineSilent(f"whether the job was submitted is not known: {squeue.said(ran)}")
        raise PlacingRefused(f"sbatch: {squeue.said(ran)}")

    def find(self, invocation: Invocation, cluster: str | None) -> Placed | None:
        answers = squeue.cluster(self._env)
        if cluster not in (None, answers):
            raise EngineSilent(_another(answers, cluster))
        if (job_id := self._named(invocation.run_id)) is not None:
            return Placed(job_id, answers)
        placement = load(RunDir.of(invocation.repo, invocation))
        if placement is not None and time.time() - parse_timestamp(placement.submitted_at) < UNPLACED_S:
            raise EngineSilent("there is no job of it yet, and there may still come one")
        return None

    def look(self, placements: Sequence[Placement]) -> Mapping[str, Job]:
        if not placements:
            return {}
        heard = squeue.heard(self._env)
        missing = [p for p in placements if _job(heard, p) is None]
        known = [p.job_id for p in missing if p.job_id is not None]
        gone = squeue.unlisted(heard, known, self._env) if known else frozenset()
        unknown = Job(
            JobState.UNSEEN,
            why="squeue lists no such job of a run, and the cluster does not say that it has none",
        )
        return {
            p.run_id: _job(heard, p) or (Job(JobState.GONE) if p.job_id in gone else unknown)
            for p in placements
        }

    def tell(self, placement: Placement, run_path: str) -> bool:
        srun = self._program("srun")
        job = self.look([placement])[placement.run_id]
        if job.state is not JobState.RUNNING or not os.path.isabs(srun):
            return False
        package = os.path.dirname(os.path.dirname(os.path.dirname(_NODE)))
        words = (sys.executable, "-I", "-S", "-c", _WAKE, run_path, package)
        options = ("--overlap", f"--jobid={placement.job_id}", "-n1", "--quiet", "--export=NONE", "--chdir=/")
        return squeue.ask((srun, *options, "--input=none", *words), self._env, _TELL_S).exit_code == 0

    def end(self, placement: Placement, *, force: bool, at_work: bool = True) -> None:
        job = self._own(placement)
        is_idle = job.state in (JobState.PENDING, JobState.SUSPENDED)
        if job.state in (JobState.ENDED, JobState.GONE) or not (is_idle or at_work):
            return
        # A signal for the script of a suspended job alone is waited for in vain.
        words: tuple[str, ...] = () if force or is_idle else ("--batch", "--signal=TERM")
        if not at_work and job.engine_state == "PENDING":
            words = ("--state=PENDING",)  # it may begin just now
        # The name as well: should the number be another job's by now, nothing happens.
        self._change("scancel", f"--name={_name_of(placement)}", *words, str(placement.job_id))

    def hold(self, placement: Placement, *, release: bool) -> None:
        job = self._own(placement)
        if job.state is not JobState.PENDING:
            raise Conflict(f"job {placement.job_id} does not wait: it is {job.state}")
        self._change("scontrol", "release" if release else "hold", str(placement.job_id))

    def _own(self, placement: Placement) -> Job:
        """Its job, asked anew. EngineSilent where it is not known what it is."""
        squeue.forget(self._env)
        job = self.look([placement])[placement.run_id]
        if job.state is JobState.UNSEEN:
            raise EngineSilent(f"job {placement.job_id or 'unknown'}: {job.why}")
        return job

    def _change(self, name: str, *words: str) -> None:
        try:
            ran = squeue.ask((self._program(name), *words), self._env)
        finally:
            squeue.forget(self._env)
        if ran.exit_code != 0 and _is_unanswered(ran):
            raise EngineSilent(f"{name}: {squeue.said(ran)}")
        if ran.exit_code != 0 and "already" not in ran.stderr and "Invalid job id" not in ran.stderr:
            raise Conflict(f"{name}: {squeue.said(ran)}")

    def _named(self, comment: str) -> str | None:
        """The number of the job with that comment. EngineSilent."""
        mine = ("--me", "-h", "-a", "-t", "all", "-O")
        ran = squeue.ask((self._program("squeue"), *mine, "JobID:|,Comment:|"), self._env)
        if ran.exit_code != 0:
            raise EngineSilent(f"whether there is a job of it is not known: {squeue.said(ran)}")
        for line in ran.stdout.splitlines():
            job_id, _, rest = line.partition("|")
            if rest == f"{comment}|" and job_id.isascii() and job_id.isdigit():
                # A comment with a line break could look like a line of its own.
                one = squeue.ask((self._program("squeue"), *mine, "Comment:|", f"--jobs={job_id}"), self._env)
                if one.exit_code == 0 and one.stdout.splitlines()[:1] == [f"{comment}|"]:
                    return job_id
        return None

    def _program(self, name: str) -> str:
        """Where it is; its name alone where it is not there."""
        return squeue.program(name, self._env) or name


def _options(settings: ExecutorSettings, name: str, comment: str, folder: str) -> tuple[str, ...]:
    seconds = settings.time_s
    words = [
        "--parsable",
        "--requeue" if settings.requeue else "--no-requeue",
        "--export=NONE",
        f"{_NAME}{name}",
        f"--comment={comment}",
        *("--nodes=1", "--ntasks=1", f"--cpus-per-task={settings.cpus}"),
        "--kill-on-invalid-dep=yes",
        # `%` begins what sbatch puts in: filename pattern, sbatch(1).
        f"--output={folder.replace('%', '%%')}/slurm.log",
        "--open-mode=append",
    ]
    if seconds is not None:
        minutes = int(-(-seconds // 60))
        words.append(f"--time={minutes}")
        if settings.max_pending_s is not None:
            # Slurm removes a job that cannot end before its deadline any more.
            words.append(f"--deadline=now+{int(settings.max_pending_s) + 60 * minutes}")
    for name in ("partition", "account", "qos", "constraint"):
        if (value := getattr(settings, name)) is not None:
            words.append(f"--{name}={value}")
    if settings.memory is not None:
        words.append(f"--mem={settings.memory}")
    if settings.gpus:
        words.append(f"--gres=gpu:{settings.gpus}")
    words += [
        f"--{name}={value}" if value else f"--{name}" for name, value in sorted(settings.options.items())
    ]
    return tuple(words)


def _job(heard: Heard, placement: Placement) -> Job | None:
    """What was heard of its job; None where the cluster that has it does not list it."""
    if heard.why is not None:
        return Job(JobState.UNSEEN, why=heard.why)
    if placement.cluster not in (None, heard.cluster):
        return Job(JobState.UNSEEN, why=_another(heard.cluster, placement.cluster))
    if placement.job_id is None:
        return Job(JobState.UNSEEN, why="which job it became was not written down")
    row = heard.rows.get(placement.job_id)
    if row is not None and row.name != _name_of(placement):
        return Job(JobState.UNSEEN, why=f"job {placement.job_id} has another name than this run gave it")
    return None if row is None else row.job


def _another(answers: str | None, has: str | None) -> str:
    return f"cluster `{answers}` answers, and its job is one of cluster `{has}`"


def _name_of(placement: Placement) -> str:
    return next((word.removeprefix(_NAME) for word in placement.argv if word.startswith(_NAME)), "")


def _is_unanswered(ran: Ran) -> bool:
    if ran.exit_code is None or ran.exit_code < 0:
        return True
    said = ran.stderr.lower()
    return ran.exit_code == 0 or any(word in said for word in _UNANSWERED)
