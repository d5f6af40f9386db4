"""Plans with the real Codex: what batches do, how a plan is begun, and what is to be seen of its end."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.judged import call, claim, says, spends
from support.repo import Completed, Repo, Run
from support.waves import start_words, unit_of

__all__ = [
    "argv_of",
    "batches_of",
    "committed",
    "disk",
    "ends",
    "fails",
    "has_had_runs_before",
    "in_words",
    "lies",
    "of_plan",
    "plays",
    "prompt_of",
    "run_of",
    "same",
    "shown",
    "unit",
]


def unit(n: int, *lines: str, after: Sequence[str] = ()) -> str:
    """The unit of module `n` with these keys besides; it waits for `after`."""
    waits = [f"depends_on = {json.dumps([*after])}"] if after else []
    return "\n".join((unit_of(n), *waits, *lines))


def lies(n: int) -> str:
    """The agent says completed; the unit's own check says no."""
    work = call(f"echo 'x = 99' > src/m{n}.py; chmod +x src/m{n}.py; echo junk > src/junk{n}.txt")
    return work + says(claim(files=[f"src/m{n}.py", f"src/junk{n}.txt"]))


def fails(work: str = "") -> str:
    """The agent says failed, with this work done."""
    return work + says(claim("failed", files=()), spends(7))


def plays(repo: Repo, n: int, script: str) -> None:
    """From now on batch `n` does this."""
    (repo.home / "plays" / f"batch-{n}.toml").write_text(f"schema_version = 1\n{script}")


def has_had_runs_before(repo: Repo) -> None:
    """And nobody has ignored `.runs`: what is in there makes no tree a dirty one."""
    repo.says("rm", "-q", ".gitignore")
    repo.says("commit", "-q", "--amend", "-m", "ignore nothing")
    repo.runs_folder.mkdir()
    (repo.runs_folder / ".gitignore").write_text("*\n!.gitignore\n")
    assert repo.says("status", "--porcelain", "-uall") == "?? .runs/.gitignore\n"


# -- beginning, and the end ----------------------------------------------------------------------------


def ends(repo: Repo, *words: str, status: int = 1) -> Run:
    """The run of the plan once it is over; with what status `start --wait` told of it."""
    done = repo.cli(*start_words(repo, *words, "--wait"))
    assert done.status == status, f"{done.status}\n{done.stdout}{done.stderr}"
    return Run(repo, done.json()["run_id"])


def in_words(repo: Repo, *words: str, **options: Any) -> Completed:
    """As it is said to people."""
    asked = [word for word in start_words(repo) if word not in ("--format", "json")]
    return repo.cli(*asked, *words, **options)


def of_plan(run: Run) -> dict[str, Any]:
    """`manifest.plan` of a run that is over, as it lies on the disk: each question to `status` costs time."""
    found: dict[str, Any] = run.on_disk()["plan"]
    return found


def shown(run: Run) -> list[str]:
    """`U1 U2: failed` of each batch."""
    return [f"{' '.join(one['units'])}: {one['status']}" for one in of_plan(run)["batches"]]


def run_of(run: Run, n: int) -> Run:
    """The latest run of batch `n`."""
    return Run(run.repo, of_plan(run)["batches"][n - 1]["run_id"])


def prompt_of(run: Run, n: int) -> str:
    """What the latest run of batch `n` got on stdin."""
    return run_of(run, n).file("prompt.md")


def batches_of(run: Run) -> list[Run]:
    """The runs that name it as their parent, which are its children and no others."""
    own = {name: run.on_disk()[name] for name in ("task_id", "run_id", "manifest_path")}
    found = [other for other in run.repo.runs() if other.on_disk()["parent"] == own]
    assert [one["run_id"] for one in run.on_disk()["children"]] == [other.id for other in found]
    return found


def argv_of(invocation: dict[str, Any]) -> list[str]:
    """What is executed, without what every start has of its own."""
    return [same(word) for word in invocation["argv"]]


def same(text: str) -> str:
    """Without ids of runs and the ports of rehearsals: every start has its own."""
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", re.sub(r"\b\d{8}T\d{9}Z-[0-9a-f]{8}\b", "RUN", text))


def committed(repo: Repo, where: str = "HEAD") -> list[tuple[str, list[str]]]:
    """Subject and files of each commit above the first, oldest first."""
    found = []
    for sha in repo.says("rev-list", "--reverse", where).split()[1:]:
        subject, _, names = repo.says("show", "--format=%s", "--name-only", sha).partition("\n")
        found.append((subject, names.split()))
    return found


def disk(repo: Repo) -> dict[str, tuple[int, int, bytes]]:
    """All that is there, `.git`, `.runs` and the home too: mode, time of the last change, content. Not what
    is remembered of settings and programs, nor the folder for indexes of the moment.
    """
    state = repo.home / ".local/state/runner"
    found = {}
    for place, folders, names in os.walk(repo.base):
        folders[:] = sorted({*folders} - {".cache", "scratch"})
        for path in (Path(place, name) for name in (*folders, *names)):
            if path not in (repo.home, state):  # `.cache` and `scratch` are made in them
                seen = path.lstat()
                content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
                found[str(path)] = (seen.st_mode, seen.st_mtime_ns, content)
    return found
