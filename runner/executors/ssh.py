"""Runs on hosts that are reached by ssh, each with so many slots. Edges: disk; processes in `ssh_call`.

All hosts see the repository, its runs and the user's state at the paths that they have here. Which host a run
became a job of is decided by one file of the run's folder (`ssh_host.claim`), so no lost answer starts it
twice.
"""

from __future__ import annotations

import os
import time

from runner.disk import home
from runner.disk.digest import sha256
from runner.disk.files import create, private_folder, read, replace_json, unwritable, withdraw
from runner.disk.programs import outside_work_trees
from runner.errors import Conflict, EngineSilent, PlacingRefused
from runner.executors.base import EngineFact, Job, JobState, Placed, Submission
from runner.executors.script import job_script, node_command
from runner.executors.ssh_call import Unreachable, argv, call
from runner.executors.ssh_host import LOG, NOWHERE, SCRIPT, claim, claimed, proof
from runner.executors.truth import UNPLACED_S
from runner.model import VERSION, Identity
from runner.processes.proc import boot_id
from runner.state.manifest import parse_timestamp, timestamp
from runner.state.placement import Placement, load
from runner.state.store import RunDir
from runner.text.terminal import clean_terminal
from runner.value import Value, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from runner.invocation import Invocation
    from runner.model import ExecutorSettings

    Answer = dict[str, Any] | Unreachable

_HOST = "HOST"
"""The place of the host in the command that is shown."""
_FRESH_S, _AWAY_S = 2.0, 10.0


class Glance(Value):
    """What a host said of its jobs, or why nothing is known of them."""

    at: float
    why: str | None = None
    jobs: Mapping[str, Job] = {}


class Ssh:
    """See `base.Executor`."""

    kind, log = "ssh", LOG

    def command(self, invocation: Invocation) -> Submission:
        path = RunDir.of(invocation.repo, invocation).path
        return Submission(argv(_HOST), job_script(os.environ, node_command(path)))

    def behind(self, command: Submission, jobs: Sequence[str]) -> Submission:
        raise PlacingRefused("no run waits for another one there: `slots` says how many may be at work")

    def submit(self, invocation: Invocation, command: Submission) -> Placed:
        settings = invocation.executor
        assert settings is not None, "a run that lives here is not placed"
        run = RunDir.of(invocation.repo, invocation)
        names = {"run_id": run.run_id, "task_id": run.task_id, "folder": run.path, "cwd": run.repo}
        return _start(settings, names, command.script)

    def trial(self, settings: ExecutorSettings, folder: str, words: Sequence[str]) -> Placement:
        nonce = os.path.basename(folder)
        names = {"run_id": nonce, "task_id": nonce, "folder": folder, "cwd": folder}
        placed = _start(settings, names, job_script(os.environ, words))
        asked = Placement(settings.name, self.kind, nonce, timestamp(), argv(placed.cluster))
        return asked.replace(job_id=placed.job_id, cluster=placed.cluster)

    def facts(self) -> tuple[EngineFact, ...]:
        return (EngineFact("ssh", outside_work_trees("ssh", os.environ)),)

    def find(self, invocation: Invocation, cluster: str | None) -> Placed | None:
        """No host is asked for that."""
        run = RunDir.of(invocation.repo, invocation)
        placement = load(run)
        asked_at = 0.0 if placement is None else parse_timestamp(placement.submitted_at)
        if claimed(run.path) is None and time.time() - asked_at < UNPLACED_S:
            raise EngineSilent("there is no job of it yet, and there may still come one")
        return _settled(run.path)

    def look(self, placements: Sequence[Placement]) -> Mapping[str, Job]:
        unplaced = Job(JobState.UNSEEN, why="which job it became was not written down")
        jobs = {p.run_id: unplaced for p in placements if p.job_id is None}
        of_host: dict[str, dict[str, Any]] = {}
        for placement in placements:
            if placement.job_id is not None:
                identity = _identity(placement)
                of_host.setdefault(identity.host, {})[placement.run_id] = identity.to_json()
        seen = {host: _fresh(host, ids) for host, ids in of_host.items()}
        asked = {
            h: {"verb": "look", "host": h, "jobs": of_host[h]} for h, known in seen.items() if known is None
        }
        for host, answer in call(asked).items():
            seen[host] = _keep(host, answer)
        for host, ids in of_host.items():
            jobs |= {run_id: _job(seen[host], run_id) for run_id in ids}
        return jobs

    def tell(self, placement: Placement, run_path: str) -> bool:
        host = _identity(placement).host
        return isinstance(call({host: {"verb": "tell", "run": run_path}})[host], dict)

    def end(self, placement: Placement, *, force: bool, at_work: bool = True) -> None:
        _change(placement, {"verb": "end", "force": force, "at_work": at_work})

    def hold(self, placement: Placement, *, release: bool) -> None:
        if not _change(placement, {"verb": "hold", "release": release}).get("waits"):
            raise Conflict(f"run `{placement.run_id}` does not wait for a slot")


def examine(folder: str, hosts: Sequence[str], slots: int) -> dict[str, int | str]:
    """Of each host how many slots are free, or why no run of this folder can live there."""
    probe = f"{folder}/.probe-{os.urandom(8).hex()}"
    try:
        create(probe, os.urandom(16).hex().encode())
    except OSError as error:
        raise unwritable(error) from error
    try:
        wanted = proof(probe)
        answers = call({host: {"verb": "ask", "probe": probe, "slots": slots} for host in hosts})
    finally:
        os.unlink(probe)
    return {host: _free(answer, wanted) for host, answer in answers.items()}


def _free(answer: Answer, wanted: str) -> int | str:
    if isinstance(answer, Unreachable):
        return answer
    if "error" in answer:
        return f"it cannot use what is shared: {_why(answer)}"
    if answer.get("version") != VERSION:
        return f"its runner has another version than {VERSION}"
    if answer.get("proof") != wanted:
        return "it does not have our key: its state folder is another one"
    free = answer.get("free")
    return free if isinstance(free, int) else "it does not say what is free"


def _choose(folder: str, hosts: Sequence[str], slots: int) -> str:
    """The first of those that have the most free slots."""
    found = examine(folder, hosts, slots)
    fit = {host: free for host, free in found.items() if isinstance(free, int)}
    if not fit:
        problems = [f"{host}: {why}" for host, why in found.items()]
        one = problems[0] if len(problems) == 1 else "no host can take it"
        raise PlacingRefused(one, problems=problems[1:] and problems)
    return max(fit, key=lambda host: fit[host])


def _start(settings: ExecutorSettings, names: dict[str, str], script: str) -> Placed:
    """On the host with the most free slots. PlacingRefused."""
    folder, limits = names["folder"], {"slots": settings.slots, "max_pending_s": settings.max_pending_s}
    host = _choose(folder, settings.hosts, settings.slots)
    try:
        create(f"{folder}/{SCRIPT}", script.encode())
    except OSError as error:
        raise unwritable(error) from error
    answer = call({host: {"verb": "start", "host": host, **names, **limits}})[host]
    withdraw(_kept(host))
    # Whatever it said, and where it said nothing: the folder has the answer.
    if (placed := _settled(folder)) is None:
        raise PlacingRefused(f"{host} did not start it: {_why(answer)}")
    return placed


def _settled(folder: str) -> Placed | None:
    """The job that it became. None: it is none, and from now on it cannot become one."""
    claim(folder, NOWHERE)
    job_id = claimed(folder)
    return None if job_id in (None, NOWHERE) else Placed(job_id, job_id.partition("/")[0])


def _job(glance: Glance | None, run_id: str) -> Job:
    why = "it was not asked" if glance is None else glance.why or "its answer says nothing of the job"
    found = None if glance is None else glance.jobs.get(run_id)
    return Job(JobState.UNSEEN, why=why) if found is None else found


def _kept(host: str) -> str:
    """The file with what a host said last."""
    key = sha256(f"{boot_id()} {os.geteuid()} {host}".encode()).hexdigest()[:16]
    return f"{home.cache(os.environ) or '/dev/null'}/ssh/{key}.json"


def _fresh(host: str, ids: Iterable[str]) -> Glance | None:
    """That, where nothing has to be asked; never what others could have written."""
    try:
        glance = Glance.from_json(json_value(read(_kept(host), is_private=True)))
    except (OSError, ValueError):
        return None
    limit = _FRESH_S if glance.why is None else _AWAY_S  # to wait in vain takes its time, too
    is_fresh = 0 <= time.time() - glance.at < limit
    return glance if is_fresh and (glance.why or all(run_id in glance.jobs for run_id in ids)) else None


def _keep(host: str, answer: Answer) -> Glance:
    try:
        if isinstance(answer, Unreachable) or "error" in answer:
            raise ValueError(f"unreachable: {_why(answer)}")
        glance = Glance(time.time(), jobs={run_id: Job.from_json(one) for run_id, one in answer.items()})
    except ValueError as error:
        glance = Glance(time.time(), why=str(error))
    try:
        private_folder(os.path.dirname(_kept(host)))
        replace_json(_kept(host), glance.to_json(), durable=False)
    except OSError:
        pass  # others ask for themselves
    return glance


def _change(placement: Placement, request: dict[str, Any]) -> dict[str, Any]:
    """EngineSilent where the host did not say that it was done."""
    identity = _identity(placement)
    jobs = {placement.run_id: identity.to_json()}
    answer = call({identity.host: {**request, "jobs": jobs}})[identity.host]
    withdraw(_kept(identity.host))
    if isinstance(answer, Unreachable) or "error" in answer:
        raise EngineSilent(f"{identity.host} did not do it: {_why(answer)}")
    return answer


def _why(answer: Answer) -> str:
    if isinstance(answer, Unreachable):
        return answer
    return clean_terminal(str(answer.get("error", "it did not say why")))[:400]


def _identity(placement: Placement) -> Identity:
    """Of the process that a job is; its host as the settings name it."""
    if placement.job_id is None:
        raise EngineSilent("which job it became was not written down")
    host, boot_id, pid, start_time, namespace = placement.job_id.split("/")
    return Identity(host, boot_id, int(pid), int(start_time), int(namespace))
