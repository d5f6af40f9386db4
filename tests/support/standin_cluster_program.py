"""One of the commands of the stand-in: FOLDER NAME ARGUMENTS. See `standin_cluster`."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_INVALID = "slurm_load_jobs error: Invalid job id specified"
_OVER = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "DEADLINE", "OUT_OF_MEMORY", "PREEMPTED")


def main(folder: Path, name: str, words: list[str]) -> int:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (folder / "calls").open("a") as calls:
            calls.write(json.dumps([name, *words]) + "\n")
    say = folder / f"say-{name}"
    told = json.loads(say.read_text()) if say.exists() else None
    if told is not None and told["only"] and told["only"] not in words:
        told = None
    if told is None:
        return int(_ACTS[name](folder, words))
    if told["acts"]:
        stdout, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115
        _ACTS[name](folder, words)
        sys.stdout = stdout
    if told["hangs"]:
        os.mkfifo(fifo := folder / f"hangs-{os.getpid()}")
        os.open(fifo, os.O_RDONLY)  # until it is killed
    sys.stdout.write(told["stdout"])
    sys.stderr.write(told["stderr"])
    return int(told["status"])


def _value(words: list[str], option: str) -> str:
    return next((word.partition("=")[2] for word in words if word.startswith(f"--{option}=")), "")


def sbatch(folder: Path, words: list[str]) -> int:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        number = 100 + int((folder / "count").read_text() if (folder / "count").exists() else 0)
        (folder / "count").write_text(str(number - 99))
    job = {
        "id": str(number),
        "state": "PENDING",
        "reason": "Priority",
        "node": "",
        "status": 0,
        "start": "N/A",
        "end": "N/A",
        "restarts": 0,
        "name": _value(words, "job-name"),
        "comment": _value(words, "comment"),
        "script": words[-1],
        "argv": words,
    }
    _write(folder, job)
    print(number)
    return 0


def squeue(folder: Path, words: list[str]) -> int:
    fields = words[words.index("-O") + 1] if "-O" in words else words[-1]
    only = _value(words, "jobs")
    for job in _jobs(folder):
        if only in ("", job["id"]):
            print("".join(f"{_field(job, one.rstrip('|').rstrip(':'))}|" for one in fields.split(",")))
    return 0


def _field(job: dict[str, Any], name: str) -> str:
    names = {
        "JobID": "id",
        "State": "state",
        "Reason": "reason",
        "NodeList": "node",
        "StartTime": "start",
        "EndTime": "end",
        "exit_code": "status",
        "RestartCnt": "restarts",
        "Name": "name",
        "Comment": "comment",
    }
    return str(job[names[name]])


def scontrol(folder: Path, words: list[str]) -> int:
    if words[:2] == ["show", "config"]:
        print(f"Configuration data\nClusterName             = {(folder / 'cluster').read_text()}")
        return 0
    job = next((one for one in _jobs(folder) if one["id"] == words[-1]), None)
    if job is None:
        print(_INVALID, file=sys.stderr)
        return 1
    if words[0] in ("hold", "release"):
        job["reason"] = "JobHeldUser" if words[0] == "hold" else "Priority"
        _write(folder, job)
    else:
        print(f"JobId={job['id']} JobState={job['state']} Restarts={job['restarts']}")
    return 0


def scancel(folder: Path, words: list[str]) -> int:
    for job in _jobs(folder):
        is_named = _value(words, "name") in ("", job["name"]) and _value(words, "state") in ("", job["state"])
        if job["id"] in words and is_named and job["state"] not in _OVER and "--batch" not in words:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
            _write(folder, {**job, "state": "CANCELLED", "reason": "None", "end": now})
    return 0


def srun(folder: Path, words: list[str]) -> int:
    del folder, words
    return 0


def _jobs(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("job-*.json"))]


def _write(folder: Path, job: dict[str, Any]) -> None:
    path = folder / f"job-{job['id']}.json"
    draft = folder / f".{os.getpid()}"
    draft.write_text(json.dumps(job))
    draft.rename(path)


_ACTS = {"sbatch": sbatch, "squeue": squeue, "scontrol": scontrol, "scancel": scancel, "srun": srun}

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
