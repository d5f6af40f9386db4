"""Our side on a host that is reached by ssh: `serve` answers one request. Edges: disk, processes.

A request is a JSON object on stdin. The answer is the line that begins with the request's token, so nothing
that a login prints is taken for one. A run that is placed here waits for its slot in the process that then
becomes its job by exec, so it has one identity from its first moment on.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback

from runner.disk.files import publish, read
from runner.errors import ForeignRun, RunnerError
from runner.executors.base import Job, JobState
from runner.executors.slots import Slots, Ticket
from runner.model import VERSION, Identity, Reason
from runner.processes.proc import (
    Process,
    boot_id,
    boottime,
    everything,
    find_process,
    identify,
    is_here,
    marker,
    send,
)
from runner.processes.tree import Tree
from runner.state.authentic import mac
from runner.state.manifest import timestamp
from runner.state.store import RunDir
from runner.value import json_bytes, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

    Request = dict[str, Any]
    Answer = dict[str, Any]

NOWHERE = "nowhere"
STATE = ("HOME", "XDG_STATE_HOME")
"""The variables that say where the user's state is."""
LOG = "job.log"
SCRIPT = "job.sh"
_JOB = "RUNNER_SSH_JOB"
"""The variable that tells a job which one it is."""
_PLACED = "placed"
"""The file in a run's folder that says which job it became: whoever creates it decides, once."""
_LARGEST = 8 << 20
_LOOK_S = 0.5


def serve() -> None:
    request = json_value(sys.stdin.buffer.read(_LARGEST))
    for name in STATE:
        os.environ.pop(name, None)
    os.environ.update(request["env"])
    os.umask(0o077)
    try:
        answer = _VERBS[request["verb"]](request)
    except (OSError, RunnerError, ValueError) as error:
        answer = {"error": str(error)}
    sys.stdout.write(f"\n{request['token']} {json_bytes(answer, compact=True).decode()}\n")


class SshJob:
    """See `base.OwnJob`."""

    restarts = 0

    def __init__(self, env: Mapping[str, str]) -> None:
        self.job_id = env.get(_JOB) or None
        self.cluster = None if self.job_id is None else self.job_id.partition("/")[0]

    def is_put_back(self) -> bool:
        """No host begins a run again."""
        return False

    def why_ended(self, log: str, warning_s: float) -> tuple[Reason, float]:
        """Nothing on a host ends a job for good behind a SIGTERM."""
        return Reason("engine_cancelled", "its job was ended on its host"), float("inf")


# -- what both sides know ----------------------------------------------------------------------------------


def claim(folder: str, job_id: str) -> bool:
    """Says once and for all which job the run became; False where that was said before."""
    body = job_id.encode()
    try:
        publish(folder, _PLACED, mac(f"{_PLACED} {folder}", body).encode() + b" " + body)
    except FileExistsError:
        return False
    return True


def claimed(folder: str) -> str | None:
    """What was said; None where nothing was. ForeignRun for what we have not written."""
    try:
        told, _, body = read(f"{folder}/{_PLACED}", 4096).partition(b" ")
    except FileNotFoundError:
        return None
    if told != mac(f"{_PLACED} {folder}", body).encode():
        raise ForeignRun(f"{folder}/{_PLACED} was not written here by runner")
    return body.decode()


def proof(path: str) -> str:
    """That who answers sees this file, and has our key."""
    return mac("seen by a host", read(path, 4096))


# -- what is asked -----------------------------------------------------------------------------------------


def _ask(request: Request) -> Answer:
    """Whether runs can live here, and how many slots are left."""
    return {"version": VERSION, "proof": proof(request["probe"]), "free": Slots().free(request["slots"])}


def _start(request: Request) -> Answer:
    """The job is the child of a process that does nothing but write down how it ends."""
    ready = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        try:
            _detach(request)
            if (pid := os.fork()) == 0:
                os.setsid()
                _become_job(request, ready[1])
            os.close(ready[1])
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            Slots().alter(request["run_id"], lambda ticket: _ended(ticket, pid, status))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(70)
    os.close(ready[1])
    with open(ready[0], "rb") as pipe:
        told = pipe.read()
    return json_value(told) if told else {"error": f"it ended before it had a place: see its {LOG}"}


def _detach(request: Request) -> None:
    """From the connection, in the folder and with the output of the job."""
    os.setsid()
    os.chdir(request["cwd"])
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    log = os.open(f"{request['folder']}/{LOG}", flags, 0o600)
    for fd, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
        os.dup2(fd, target)


def _ended(ticket: Ticket, pid: int, status: int) -> Ticket:
    word = ticket.end or ("FAILED" if status else "COMPLETED")
    return ticket.replace(end=word, status=status, ended_at=timestamp()) if ticket.pid == pid else ticket


def _become_job(request: Request, ready_fd: int) -> NoReturn:
    """Takes a place in the queue, says so, waits for the slot, and becomes the job."""
    me, slots, since, most = identify(os.getpid()), Slots(), boottime(), request["max_pending_s"]
    assert me is not None
    folder, run_id = request["folder"], request["run_id"]
    job_id = f"{request['host']}/{me.boot_id}/{me.pid}/{me.start_time}/{me.namespace}"
    if not claim(folder, job_id):
        os.write(ready_fd, b'{"error": "it has been placed before"}')
        os._exit(0)
    slots.draw(Ticket(run_id, request["task_id"], me.pid, me.start_time, 0, request["slots"]))
    os.write(ready_fd, json_bytes({"job_id": job_id}))
    os.close(ready_fd)
    while not slots.begins(run_id):
        if most is not None and boottime() - since > most:
            slots.alter(run_id, lambda ticket: ticket.replace(end="DEADLINE"))
            os._exit(0)
        time.sleep(_LOOK_S)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and exec would keep that
    env = {name: value for name, value in os.environ.items() if not name.startswith("SSH_")}
    os.execve("/bin/sh", ["/bin/sh", f"{folder}/{SCRIPT}"], {**env, _JOB: job_id})


def _look(request: Request) -> Answer:
    """The state of each job that is asked for, and of all others of this host, by run id."""
    queue, me = Slots().queue(), identify(os.getpid())
    assert me is not None
    here = me.replace(host=request["host"])
    jobs = {t.run_id: here.replace(pid=t.pid, start_time=t.start_time) for t in queue.tickets}
    jobs |= {run_id: Identity.from_json(one) for run_id, one in request["jobs"].items()}
    marked = {marker(process.pid) for process in everything().values() if process.is_alive}
    return {
        run_id: _job(identity, queue.ticket_of(run_id), has_marked=run_id in marked).to_json()
        for run_id, identity in jobs.items()
    }


def _job(identity: Identity, ticket: Ticket | None, *, has_marked: bool) -> Job:
    if identity.boot_id != boot_id():
        return Job(JobState.ENDED, "NODE_FAIL", node=identity.host)
    if not is_here(identity):
        return Job(JobState.UNSEEN, why="another container answers in the place of the host")
    if ticket is None:
        ticket = Ticket("", "", identity.pid, identity.start_time, 0, 0, began=0)
    node = None if ticket.began is None else identity.host
    job = Job(JobState.GONE, node=node, starts_at=ticket.began_at, ended_at=ticket.ended_at)
    if _process(identity) is not None:
        if ticket.began is None:
            return job.replace(state=JobState.PENDING, why="held" if ticket.is_held else "slots")
        return job.replace(state=JobState.RUNNING)
    if has_marked:
        return job.replace(state=JobState.ENDING, why="its job has ended, and processes of the run have not")
    if ticket.end is None and ticket.began is not None:
        return job
    code = ticket.status
    return job.replace(
        state=JobState.ENDED,
        engine_state=ticket.end or "FAILED",
        exit_code=code if code is not None and code >= 0 else None,
        signal=-code if code is not None and code < 0 else None,
    )


def _tell(request: Request) -> Answer:
    RunDir.from_path(request["run"]).wake()
    return {}


def _end(request: Request) -> Answer:
    """SIGTERM for the job; by force, or where it only waits, the end of all that is marked as of the run."""
    ((run_id, one),) = request["jobs"].items()
    identity = Identity.from_json(one)
    if not is_here(identity):
        return {}
    at_work = request["at_work"]
    ticket = Slots().alter(
        run_id, lambda t: t.replace(end=t.end or "CANCELLED") if at_work or t.began is None else t
    )
    waits = ticket is not None and ticket.began is None
    if not (waits or at_work):
        return {}
    if request["force"] or waits:
        Tree(run_id, identity, reap=lambda: None).sweep(0.0)
    elif (process := _process(identity)) is not None:
        send(process, signal.SIGTERM)
    return {}


def _hold(request: Request) -> Answer:
    """Whether it waits: nothing is changed of a run that does not."""
    (run_id,) = request["jobs"]
    is_held = not request["release"]
    ticket = Slots().alter(run_id, lambda t: t.replace(is_held=is_held and t.began is None))
    return {"waits": ticket is not None and ticket.began is None and ticket.is_alive}


def _process(identity: Identity) -> Process | None:
    """That one, if it is alive."""
    process = find_process(identity)
    return process if process is not None and process.is_alive else None


_VERBS = {"ask": _ask, "start": _start, "look": _look, "tell": _tell, "end": _end, "hold": _hold}
