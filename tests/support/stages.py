"""A repository with a pipeline whose runs are played by the real Codex, and what is to be seen of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from support.judged import call, claim, commit, says
from support.repo import Completed, Repo, Run
from support.waiting import wait_until

__all__ = [
    "PLAN",
    "PRD",
    "THEN",
    "approve",
    "asks",
    "builds",
    "ends",
    "finding",
    "finds",
    "in_folder",
    "ledger",
    "plays",
    "prepares",
    "reason_of",
    "refused",
    "resumes",
    "run_of",
    "shown",
    "stage",
    "start_words",
    "starts",
    "step",
    "steps",
    "unit",
    "writes",
]

WITHIN_S = 60.0
NAME = "feature"
TASKS = {
    "look": ("Look.", "read-only", ""),
    "also": ("Look as well.", "read-only", ""),
    "fix": ("Fix it.", "workspace-write", 'verify = [["test", "!", "-e", "bad"]]'),
    "build": ("Build.", "workspace-write", ""),
}


# -- the pipeline --------------------------------------------------------------------------------------


def stage(name: str, *lines: str) -> str:
    return "\n".join((f"[[pipelines.{NAME}.stages]]", f'name = "{name}"', *lines, ""))


PRD = stage("prd", 'person = "docs/prd.md"', 'gate = "approve"')
THEN = stage("then", 'tasks = ["look"]')


def settings(*stages: str, input: Sequence[str] = (), delegate: Sequence[str] = (), more: str = "") -> str:
    """The text of delegate.toml, without its version."""
    tables = [
        f'[tasks.{name}]\nprompt = "{prompt}"\nsandbox = "{sandbox}"\ngrace = "1s"\n{keys}\n'
        for name, (prompt, sandbox, keys) in TASKS.items()
    ]
    lines = "\n".join(delegate)
    head = f'[delegate]\n{lines}\n[pipelines.{NAME}]\ntitle = "Feature"\ninput = {json.dumps([*input])}\n'
    return "\n".join((*tables, more, head, *stages))


def prepares(
    repo: Repo,
    *stages: str,
    input: Sequence[str] = (),
    delegate: Sequence[str] = (),
    more: str = "",
    files: dict[str, str] | None = None,
    **scripts: str,
) -> Repo:
    """The pipeline, the scripts of its runs (`research_look` is that of `research.look`), and a commit."""
    (repo.home / "plays").mkdir()
    for name, text in scripts.items():
        plays(repo, name.replace("_", ".", 1), text)
    (repo.root / ".gitignore").write_text(".runs/\n")
    repo.config(settings(*stages, input=input, delegate=delegate, more=more))
    for name, value in (("user.name", "Me"), ("user.email", "me@example.org")):
        repo.says("config", name, value)
    commit(repo, **(files or {}))
    return repo


def plays(repo: Repo, name: str, text: str) -> None:
    """From now on the run `name` does this."""
    (repo.home / "plays" / f"{name}.toml").write_text(f"schema_version = 1\n{text}")


def writes(path: str, text: str = "x", *, before: str = "", **more: object) -> str:
    """Puts a line into a file and says so."""
    return call(f"{before}mkdir -p $(dirname {path}); echo '{text}' >> {path}") + says(
        claim(files=[path], **more)
    )


def finding(severity: str = "critical", title: str = "It is wrong", **more: Any) -> dict[str, Any]:
    """In a file that is there."""
    place = {"file": "src/app.py", "line": 1, "detail": f"{title}, really.", "evidence": "answer = 41"}
    return {"severity": severity, "title": title, **place, **more}


def finds(*findings: dict[str, Any], summary: str = "I have looked.", before: str = "") -> str:
    """The play of a review."""
    said = {"status": "completed", "summary": summary, "findings": findings}
    return (call(before) if before else "") + says(json.dumps(said))


def unit(n: int) -> str:
    """Of a plan: module `n`, with a check that only its own work passes."""
    return f"""[[units]]
id = "U{n}"
goal = "Module {n}"
files = ["src/m{n}.py"]
tests = ["it"]
verify = [["grep", "-qx", "x = {n}", "src/m{n}.py"]]
"""


PLAN = f'schema_version = 1\ntitle = "Modules"\n{unit(1)}{unit(2)}'


def builds(n: int) -> str:
    """The play of its batch `n`, where each has one unit."""
    return call(f"echo 'x = {n}' > src/m{n}.py") + says(claim(files=[f"src/m{n}.py"]))


# -- beginning and the end -----------------------------------------------------------------------------


def start_words(repo: Repo, *words: str) -> tuple[str, ...]:
    plays = str(repo.home / "plays")
    return ("start", "--pipeline", NAME, "--rehearse", plays, "--format", "json", *words)


def starts(repo: Repo, *words: str) -> Run:
    """The run of the pipeline, in the background."""
    done = repo.cli(*start_words(repo, *words))
    assert done.status == 0, f"{done.status}\n{done.stdout}{done.stderr}"
    return Run(repo, done.json()["run_id"], NAME)


def resumes(repo: Repo, *words: str) -> Run:
    return starts(repo, "--resume", *words)


def refused(repo: Repo, *words: str) -> Completed:
    """The command, which must not have begun a run."""
    before = [run.id for run in repo.runs()]
    done = repo.cli(*start_words(repo, *words))
    assert done.status not in (0, 1), done.stdout
    assert [run.id for run in repo.runs()] == before
    return done


def ends(run: Run, outcome: str = "succeeded") -> dict[str, Any]:
    """The manifest once it is over."""
    manifest = run.wait(within=WITHIN_S)
    told = f"{manifest['reason']}\n{shown(run)}\n{run.file('stderr.log')}"
    assert manifest["outcome"] == outcome, told
    return manifest


# -- what is to be seen --------------------------------------------------------------------------------


def ledger(run: Run) -> dict[str, Any]:
    """As it lies in the folder of the pipeline's run."""
    found: dict[str, Any] = json.loads(run.file("ledger.json"))
    return found


def steps(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ledger(run)["steps"]
    return found


def shown(run: Run) -> list[str]:
    """`stage kind title: status` of each step."""
    return [f"{one['stage']} {one['kind']} {one['title']}: {one['status']}" for one in steps(run)]


def step(run: Run, stage: str, title: str) -> dict[str, Any]:
    """The newest one that is called so."""
    return [one for one in steps(run) if (one["stage"], one["title"]) == (stage, title)][-1]


def reason_of(run: Run, stage: str, kind: str = "gate") -> str | None:
    """The code of why its newest step of this kind is as it is."""
    why = [one for one in steps(run) if (one["stage"], one["kind"]) == (stage, kind)][-1]["why"]
    return None if why is None else str(why["code"])


def run_of(run: Run, stage: str, title: str) -> Run:
    """The latest run of this step, as soon as there is one."""

    def look() -> dict[str, Any] | None:
        found = [one for one in steps(run) if (one["stage"], one["title"]) == (stage, title) and one["run"]]
        return found[-1]["run"] if found else None

    named = wait_until(look, WITHIN_S, f"a run of {stage}: {title}")
    return Run(run.repo, named["run_id"], named["task_id"])


# -- people --------------------------------------------------------------------------------------------


def asks(run: Run, stage: str, *, other_than: str = "") -> str:
    """The entry by which a person is asked, as soon as it is there."""

    def look() -> str | None:
        if not (run.folder / "ledger.json").exists():
            return None
        found = [one for one in steps(run) if one["stage"] == stage and one["kind"] == "person"]
        entry = found[-1]["asked"] if found and found[-1]["status"] == "waiting" else None
        return None if entry == other_than else entry

    return str(wait_until(look, WITHIN_S, f"the question of stage {stage}"))


def approve(run: Run, stage: str, *words: str) -> Completed:
    """As soon as it is asked for."""
    asks(run, stage)
    done = run.repo.cli("approve", NAME, stage, "--yes", *words)
    assert done.status == 0, done.stderr
    return done


def in_folder(run: Run, pattern: str) -> list[str]:
    """What was read of the words of a run."""
    return sorted(path.name for path in run.folder.glob(pattern))
