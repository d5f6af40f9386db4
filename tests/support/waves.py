"""A plan whose batches wait for a gate, and what is to be seen of it meanwhile and afterwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support import processes
from support.judged import call, claim, commit, says
from support.processes import Seen
from support.repo import Completed, Repo, Run
from support.waiting import wait_until

__all__ = [
    "batch",
    "blocks_git",
    "commits",
    "conductor_of",
    "gated",
    "kills",
    "ledger",
    "opens",
    "prepares",
    "refused",
    "resumes",
    "start_words",
    "starts",
    "step",
    "waits_at_gate",
    "work_trees",
    "writes",
]

WITHIN_S = 60.0


# -- what the batches do -------------------------------------------------------------------------------


def writes(n: int, *, before: str = "", after: str = "", usage: str = "") -> str:
    """The play of batch `n`: module `n` says `n`, once; a second time would be seen."""
    work = f"{before}sed -i 's/^x = .*/x = {n}/' src/m{n}.py; echo 'by {n}' >> src/m{n}.py{after}"
    return call(work, usage) + says(claim(files=[f"src/m{n}.py"]))


def gated(repo: Repo, name: str = "gate") -> str:
    """Shell text that waits for `opens`, from inside a sandbox too: reading is free."""
    return f"until test -e '{repo.home}/{name}'; do sleep 0.05; done; "


def opens(repo: Repo, name: str = "gate") -> None:
    (repo.home / name).touch()


def waits_at_gate(run: Run, name: str = "gate") -> None:
    """Until the agent of the run stands at its gate."""
    wait_until(lambda: _at_gate(run, name), WITHIN_S, f"batch {run.id} at the gate")


def _at_gate(run: Run, name: str) -> bool:
    if not (run.folder / "manifest.json").exists() or run.on_disk()["phase"] != "running":
        return False
    return any(f"/home/{name}" in word for process in run.tree() for word in process.words)


def prepares(
    repo: Repo, plays: Sequence[str], *delegate: str, task: Sequence[str] = (), units: Sequence[str] = ()
) -> Repo:
    """A plan with one batch for each play, committed with all the rest: the tree is clean."""
    folder = repo.home / "plays"
    folder.mkdir()
    for n, play in enumerate(plays, 1):
        (folder / f"batch-{n}.toml").write_text(f"schema_version = 1\n{play}")
    names = range(1, len(plays) + 1)
    text = "".join(f"[[units]]\n{unit}\n" for unit in units or map(unit_of, names))
    (repo.root / "plan.toml").write_text(f'schema_version = 1\ntitle = "Modules"\n{text}')
    (repo.root / ".gitignore").write_text(".runs/\n")
    keys = "\n".join(('prompt = "Do it."', 'sandbox = "workspace-write"', 'grace = "1s"', *task))
    lines = "\n".join(("soft_cap = 1", *delegate))
    repo.config(f"[delegate]\n{lines}\n[tasks.work]\n{keys}\n")
    for name, value in (("user.name", "Me"), ("user.email", "me@example.org")):
        repo.says("config", name, value)
    commit(
        repo,
        **{f"src/m{n}.py": "x = 0\n" for n in names},
        **{"src/shared.py": "one\ntwo\nthree\nfour\nfive\n"},
    )
    return repo


def unit_of(n: int) -> str:
    """The unit of one batch, with a check that only its own work passes."""
    check = f'[["grep", "-qx", "x = {n}", "src/m{n}.py"]]'
    return f'id = "U{n}"\ngoal = "Module {n}"\nfiles = ["src/m{n}.py"]\ntests = ["it"]\nverify = {check}'


# -- the plan ------------------------------------------------------------------------------------------


def start_words(repo: Repo, *words: str) -> tuple[str, ...]:
    plays = str(repo.home / "plays")
    return (
        *("start", "--plan", "plan.toml", "--task", "work", "--force-delegate"),
        *("--rehearse", plays, "--format", "json", *words),
    )


def starts(repo: Repo, *words: str) -> Run:
    """The run of the plan, in the background."""
    done = repo.cli(*start_words(repo, *words))
    assert done.status == 0, f"{done.status}\n{done.stdout}{done.stderr}"
    return Run(repo, done.json()["run_id"])


def resumes(repo: Repo, *words: str) -> Run:
    return starts(repo, "--resume", *words)


def refused(repo: Repo, *words: str) -> Completed:
    """The command, which must not have begun a run."""
    before = [run.id for run in repo.runs()]
    done = repo.cli(*start_words(repo, *words))
    assert done.status not in (0, 1), done.stdout
    assert [run.id for run in repo.runs()] == before
    return done


def ledger(run: Run) -> dict[str, Any]:
    """As it lies in the folder of the plan's run."""
    found: dict[str, Any] = json.loads(run.file("ledger.json"))
    return found


def step(run: Run, n: int) -> dict[str, Any]:
    found: dict[str, Any] = ledger(run)["steps"][n - 1]
    return found


def batch(run: Run, n: int, *, not_run: str = "") -> Run:
    """The run of batch `n` as soon as the ledger names one, other than `not_run`."""

    def look() -> str | None:
        named = step(run, n)["run"]
        return None if named is None or named["run_id"] == not_run else str(named["run_id"])

    return Run(run.repo, wait_until(look, WITHIN_S, f"a run of batch {n}"))


def conductor_of(run: Run) -> Seen:
    """The process of the plan's run; it starts at once and is written down at once."""
    return run.child()


# -- git -----------------------------------------------------------------------------------------------


def blocks_git(repo: Repo, word: str, *, when: str, nth: int = 1) -> None:
    """From now on the `nth` git command that has `word` among its arguments stops the work of the conductor
    until `gate` is there, `before` or `after` it is done: that is told by the file `at-git`.
    """
    home = repo.home
    hold = f"touch '{home}/at-git'; until test -e '{home}/gate'; do sleep 0.02; done"
    ours = f"""case " $* " in *" {word} "*)
        echo x >> '{home}/git-count'
        if [ "$(wc -l < '{home}/git-count')" -eq {nth} ]; then hold=1; fi ;;
    esac"""
    before, after = (hold, ":") if when == "before" else (":", hold)
    text = f"""#!/bin/bash
hold=
{ours}
if [ -n "$hold" ]; then {before}; fi
/usr/bin/git "$@"
status=$?
if [ -n "$hold" ]; then {after}; fi
exit $status
"""
    path = repo.bin / "git"
    path.write_text(text)
    path.chmod(0o755)


def commits(repo: Repo, where: str = "HEAD") -> list[str]:
    """The subjects above the first commit, oldest first."""
    return repo.says("log", "--reverse", "--format=%s", where).splitlines()[1:]


def work_trees(repo: Repo) -> list[Path]:
    """Of runs: what stands on the disk and what git knows of."""
    listed = repo.says("worktree", "list", "--porcelain").splitlines()
    known = [Path(line.removeprefix("worktree ")) for line in listed if line.startswith("worktree ")]
    standing = (repo.home / ".local/state/runner/worktrees").glob("*/*")
    return sorted({*known, *standing} - {repo.root})


def kills(*processes_: Seen) -> None:
    """SIGKILL to all of them, and gone."""
    for process in processes_:
        processes.kill(process)
    for process in processes_:
        wait_until(lambda seen=process: not seen.is_still_there(), what=f"the death of {process.pid}")
