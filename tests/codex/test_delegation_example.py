"""The example of docs/delegation.md, as somebody would copy it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.pages import example_files
from support.repo import Repo

PAGE = Path(__file__).parents[2] / "docs" / "delegation.md"


def test_the_example_starts_two_reviewers_and_collects_their_answers(repo: Repo) -> None:
    for name, content in example_files(PAGE).items():
        path = repo.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("add", "-A"), (*who, "commit", "-qm", "First")):
        subprocess.run(["git", *words], cwd=repo.root, check=True, env=repo.env)
    done = repo.cli("start", "--task", "review", "--rehearse", "rehearse/review.toml", "--wait")
    assert (done.status, done.stdout.strip()) == (
        0,
        "says       Both are done. security: nothing to report. tests: nothing to report.",
    ), done.stderr
    runs = {run.task: run for run in repo.runs()}
    assert sorted(runs) == ["review", "security", "tests"]
    review = runs.pop("review").wait()
    assert {child["run_id"] for child in review["children"]} == {run.id for run in runs.values()}
    for run in runs.values():
        manifest = run.wait()
        assert (manifest["status"], manifest["parent"]["run_id"]) == ("succeeded", review["run_id"])
        assert manifest["survivors"] == []
