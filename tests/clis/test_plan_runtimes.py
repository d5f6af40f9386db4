"""A plan whose batches run on three real agent CLIs, with the scripted model."""

from __future__ import annotations

import json

from support.clis import CLIS
from support.judged import call, claim, says
from support.repo import Repo
from support.waves import batch, ledger, prepares, start_words, starts, unit_of

MODELS = {"claude": "opus", "gemini": "gemini-2.5-flash"}


def work_on(*modules: int) -> str:
    """The play of a batch that says to have done these modules."""
    lines = [f"sed -i 's/^x = .*/x = {n}/' src/m{n}.py; echo 'by {n}' >> src/m{n}.py" for n in modules]
    return "".join(map(call, lines)) + says(claim(files=[f"src/m{n}.py" for n in modules]))


def test_six_units_on_three_runtimes_are_verified_each_by_itself(repo: Repo) -> None:
    for name in MODELS:
        (repo.bin / name).symlink_to(CLIS / name)
    of = {1: "", 2: "claude", 3: "gemini", 4: "", 5: "claude", 6: "gemini"}
    units = [unit_of(n) + (f'\nmodel = "{name}"' if name else "") for n, name in of.items()]
    plays = [work_on(1, 4), work_on(2, 5), work_on(3)]
    task = ('workspace = "worktree"',)
    prepares(repo, plays, "soft_cap = 2", "max_parallel = 3", task=task, units=units)
    config = repo.root / "delegate.toml"
    tables = "".join(
        f'[models.{name}]\nruntime = "{name}"\nmodel = "{id_}"\n' for name, id_ in MODELS.items()
    )
    config.write_text(config.read_text().replace("soft_cap = 1\n", "") + tables)
    for n in (4, 5, 6):
        (repo.root / f"src/m{n}.py").write_text("x = 0\n")
    repo.git("add", "-A")
    repo.git("commit", "-qm", "models")

    dry = repo.cli(*start_words(repo, "--dry-run"))
    assert dry.status == 0, dry.stderr + dry.stdout
    shown = dry.json()["runs"]
    told = [(one["invocation"]["runtime"], one["invocation"]["model_name"]) for one in shown]
    assert told == [("codex", None), ("claude", "claude"), ("gemini", "gemini")]

    run = starts(repo)
    end = run.wait()
    assert (end["status"], end["reason"]["code"]) == ("failed", "batches_left")
    runs = [batch(run, n) for n in (1, 2, 3)]
    assert [one.on_disk()["runtime"]["name"] for one in runs] == ["codex", "claude", "gemini"]
    assert [one.on_disk()["status"] for one in runs] == ["succeeded", "succeeded", "rejected"]
    assert [one["status"] for one in ledger(run)["steps"]] == ["succeeded", "succeeded", "failed"]
    texts = [(repo.root / f"src/m{n}.py").read_text() for n in range(1, 7)]
    done = [f"x = {n}\nby {n}\n" for n in range(1, 7)]
    assert texts == [done[0], done[1], "x = 0\n", done[3], done[4], "x = 0\n"], "nothing of what was rejected"
    efforts = {json.loads(one.file("rehearsal.jsonl").splitlines()[0])["effort"] for one in runs}
    assert efforts == {"medium", "8192"}
