"""What Slurm says of the jobs of this user: one question for all runs and all callers. Edge: processes, disk.

`squeue` is asked at most every two seconds, whoever wants to know, and its answer is kept in a file of this
machine below the user's cache folder. What it prints can be written by strangers (names, reasons), so it is
read strictly: what does not fit is not known, and what is shown is cleaned and cut.
"""

from __future__ import annotations

import os
import time

from runner.disk import home, programs
from runner.disk.digest import sha256
from runner.disk.files import private_folder, read, replace_bytes, withdraw
from runner.disk.locks import Lock
from runner.errors import EngineSilent
from runner.executors.base import Job, JobState
from runner.processes.proc import boot_id
from runner.runtimes.shortrun import Ran, run
from runner.state.manifest import parse_timestamp, timestamp
from runner.text.words import one_line
from runner.value import Value, json_bytes, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OURS = "runner:"
"""How the names of our jobs begin."""
FRESH_S = 2.0
ANSWER_S = 8.0
"""So long one command may take: a controller that is busy answers late, and one that is gone never."""
_NAME_FOR_S = 60.0
_MOST = 16 << 20
_LARGEST = 32 << 20
_LONGEST = 200
_MOST_UNLISTED = 16
"""So many jobs that are not listed are asked about at one look; the others at the next."""
_KEPT = (
    "HOME",
    "USER",
    "LOGNAME",
    "LD_LIBRARY_PATH",
    "SLURM_CONF",
    "SLURM_CONF_SERVER",
    "SLURM_JWT",
    "KRB5CCNAME",
)
_SETTINGS = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/run/slurm/conf/slurm.conf")
_FIELDS = (
    "JobID",
    "State",
    "Reason",
    "NodeList",
    "StartTime",
    "EndTime",
    "exit_code",
    "RestartCnt",
    "Name",
)
_STATES = {
    **dict.fromkeys(("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED"), JobState.PENDING),
    **dict.fromkeys(("RESV_DEL_HOLD", "SPECIAL_EXIT"), JobState.PENDING),
    **dict.fromkeys(("RUNNING", "RESIZING", "SIGNALING"), JobState.RUNNING),
    **dict.fromkeys(("SUSPENDED", "STOPPED"), JobState.SUSPENDED),
    **dict.fromkeys(("COMPLETING", "STAGE_OUT"), JobState.ENDING),
    **dict.fromkeys(
        ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED"), JobState.ENDED
    ),
    **dict.fromkeys(("BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY", "LAUNCH_FAILED"), JobState.ENDED),
}


class JobRow(Value):
    """One job, and its name: numbers of jobs come again."""

    job: Job
    name: str


class Heard(Value):
    """One answer. `why` is set where there was none that can be used."""

    at: float
    cluster: str | None = None
    named_at: float = 0.0
    """When the cluster was asked for its name."""
    rows: Mapping[str, JobRow] = {}
    gone: tuple[str, ...] = ()
    """Numbers of jobs that the cluster said it does not know."""
    why: str | None = None


_known: dict[str, Heard] = {}
_places: dict[tuple[str | None, ...], tuple[str, float]] = {}


def program(name: str, env: Mapping[str, str]) -> str | None:
    """Its absolute path, outside of every work tree: an agent may have put one there. None: there is none."""
    return programs.outside_work_trees(name, env)


def ask(argv: Sequence[str], env: Mapping[str, str], seconds: float = ANSWER_S) -> Ran:
    """Runs a command of Slurm, without what could change its meaning: SLURM_*, SBATCH_*, SQUEUE_*."""
    own = {name: env[name] for name in _KEPT if name in env}
    own |= {"PATH": programs.work_trees_last(env), "LANG": "C", "LC_ALL": "C", "TZ": "UTC"}
    return run(argv, own, seconds=seconds, grace_s=1.0, most=_MOST)


def said(ran: Ran) -> str:
    """What it said of its failure, on one line."""
    lines = [line for line in ran.stderr.splitlines() if line.strip()]
    return ran.why or one_line(lines[-1] if lines else f"status {ran.exit_code}", _LONGEST)


def heard(env: Mapping[str, str]) -> Heard:
    """What the cluster of these variables says, at most FRESH_S old. Never fails."""
    place = _place(env)
    if (found := _fresh(place)) is not None:
        return found
    cache = home.cache(env)
    try:
        if cache is not None:
            private_folder(cache, "slurm")
            with Lock(f"{place}.lock", 3 * ANSWER_S):
                return _fresh(place) or _keep(place, _asked(env, _latest(place)))
    except (OSError, NotImplementedError):
        pass  # a full disk, no locks there, or others ask for too long
    _known[place] = _asked(env, _known.get(place))
    return _known[place]


def cluster(env: Mapping[str, str]) -> str:
    """The name of the cluster that answers. EngineSilent."""
    latest = _latest(_place(env))
    if latest is not None and latest.cluster is not None and 0 <= time.time() - latest.named_at < _NAME_FOR_S:
        return latest.cluster
    found = heard(env)
    if found.cluster is None:
        raise EngineSilent(f"Slurm does not answer: {found.why}")
    return found.cluster


def unlisted(found: Heard, job_ids: Sequence[str], env: Mapping[str, str]) -> frozenset[str]:
    """Which of these, that squeue does not list, the cluster says that it does not know."""
    gone, asked = {*found.gone}, 0
    for job_id in job_ids:
        if job_id in gone or asked >= _MOST_UNLISTED:
            continue
        asked += 1
        if (scontrol := program("scontrol", env)) is None:
            break
        ran = ask((scontrol, "show", "job", "-o", job_id), env)
        if ran.exit_code not in (None, 0) and "Invalid job id" in ran.stderr:
            gone.add(job_id)
    if len(gone) > len(found.gone):
        _keep(_place(env), found.replace(gone=tuple(sorted(gone))))
    return frozenset(gone)


def forget(env: Mapping[str, str]) -> None:
    """The next question is asked anew: something was changed."""
    place = _place(env)
    latest = _latest(place)
    _known.pop(place, None)
    if latest is None or latest.cluster is None:
        withdraw(place)
    else:
        _keep(place, latest.replace(at=0.0))


def row_of(line: str) -> tuple[str, JobRow] | None:
    """One line of the answer, with the number of its job; None for what cannot be read."""
    words = line.split("|", len(_FIELDS) - 1)
    if len(words) != len(_FIELDS) or not words[-1].endswith("|") or not _is_number(words[0]):
        return None
    job_id, state, reason, nodes, starts, ends, status, restarts, name = words
    code, number = _status(status), _STATES.get(state)
    if code is None or not restarts.isdigit() or not (state.isascii() and state.replace("_", "").isupper()):
        return None
    is_over = number is JobState.ENDED
    job = Job(
        number or JobState.UNSEEN,
        engine_state=state[:40],
        why=None
        if reason == "None"
        else one_line(reason, _LONGEST)
        if number
        else f"the cluster says {state[:40]}, which is unknown here",
        node=one_line(nodes, _LONGEST) or None,
        starts_at=_time(starts),
        ended_at=_time(ends) if is_over else None,
        exit_code=code >> 8 if is_over and not code & 127 else None,
        signal=code & 127 or None if is_over else None,
        restarts=int(restarts[:9]),
    )
    return job_id, JobRow(job, name[:-1][:_LONGEST])


def rows_of(text: str) -> dict[str, JobRow]:
    """The jobs of runs in an answer, as far as it can be read. A number that comes twice is not known."""
    rows: dict[str, JobRow] = {}
    for job_id, row in filter(None, map(row_of, text.splitlines())):
        if not row.name.startswith(OURS):
            continue
        if job_id in rows:
            row = row.replace(job=Job(JobState.UNSEEN, why="squeue lists its number twice"))
        rows[job_id] = row
    return rows


def _asked(env: Mapping[str, str], latest: Heard | None) -> Heard:
    now = time.time()
    squeue, scontrol = program("squeue", env), program("scontrol", env)
    if squeue is None or scontrol is None:
        return Heard(now, why="there is no squeue on PATH")
    name, named_at = (None, 0.0) if latest is None else (latest.cluster, latest.named_at)
    if name is None or not 0 <= now - named_at < _NAME_FOR_S:
        ran, named_at = ask((scontrol, "show", "config"), env), now
        name = _cluster_of(ran.stdout) if ran.exit_code == 0 else None
        if name is None:
            return Heard(now, why=said(ran) if ran.exit_code != 0 else "the cluster does not say its name")
    fields = ",".join(f"{field}:|" for field in _FIELDS)
    ran = ask((squeue, "--me", "-h", "-a", "-t", "all", "-O", fields), env)
    if ran.exit_code != 0:
        return Heard(time.time(), name, named_at, why=said(ran))
    rows = rows_of(ran.stdout)
    gone = () if latest is None or latest.cluster != name else tuple(j for j in latest.gone if j not in rows)
    return Heard(time.time(), name, named_at, rows, gone)


def _cluster_of(text: str) -> str | None:
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "ClusterName":
            return one_line(value, 80).strip() or None
    return None


def _place(env: Mapping[str, str]) -> str:
    """The file that keeps what this cluster says to this user on this machine. Without a cache folder: a name
    that no file can have.
    """
    named, told = (
        env.get("SLURM_CONF", ""),
        (home.cache(env), env.get("PATH"), env.get("SLURM_CONF_SERVER", "")),
    )
    found, at = _places.get((named, *told), ("", 0.0))
    if found and time.monotonic() - at < FRESH_S:  # a thousand runs are looked at one by one
        return found
    settings = [f"{path} {programs.identity(path)}" for path in ((named,) if named else _SETTINGS)]
    words = [boot_id(), str(os.geteuid()), told[2] or "", program("squeue", env) or "", *settings]
    key = sha256("\0".join(words).encode(errors="replace")).hexdigest()[:16]
    place = f"{told[0] or '/dev/null'}/slurm/{key}.json"
    _places[named, *told] = place, time.monotonic()
    return place


def _latest(place: str) -> Heard | None:
    """What was heard last; never what others could have written."""
    try:
        return Heard.from_json(json_value(read(place, _LARGEST, is_private=True)))
    except (OSError, ValueError):
        return _known.get(place)


def _fresh(place: str) -> Heard | None:
    found = _known.get(place)
    if found is None or not _is_fresh(found):
        found = _latest(place)  # others may have asked since
    if found is None or not _is_fresh(found):
        return None
    _known[place] = found
    return found


def _is_fresh(found: Heard) -> bool:
    # An answer that did not come took its time, too: the next one is not waited for at once.
    return 0 <= time.time() - found.at < (FRESH_S if found.why is None else ANSWER_S)


def _keep(place: str, found: Heard) -> Heard:
    _known[place] = found
    try:
        replace_bytes(place, json_bytes(found.to_json(), compact=True), durable=False)
    except OSError:
        pass  # others ask for themselves
    return found


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and 0 < len(word) <= 10


def _status(word: str) -> int | None:
    """As wait(2) has it; newer versions print `code:signal`."""
    code, colon, signal = word.partition(":")
    if colon and _is_number(code) and _is_number(signal):
        return (int(code) & 255) << 8 | (int(signal) & 127)
    return int(code) if not colon and _is_number(code) else None


def _time(word: str) -> str | None:
    """As our own timestamps; squeue was asked for UTC. None where it says no time."""
    if (
        len(word) != 19
        or word[10] != "T"
        or not word.replace("-", "").replace(":", "").replace("T", "").isdigit()
    ):
        return None
    try:
        return timestamp(parse_timestamp(f"{word}Z"))
    except ValueError:
        return None
