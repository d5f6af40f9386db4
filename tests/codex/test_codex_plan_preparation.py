"""A plan whose second batch cannot be prepared or checked stops, says why, and goes on when it is mended."""

from __future__ import annotations

import pytest
from support.repo import Repo
from support.waves import prepares, refused, resumes, starts, work_trees, writes


@pytest.mark.parametrize("lacks", ["prepare", "program"])
def test_a_plan_stops_where_a_batch_cannot_be_prepared_or_checked(repo: Repo, lacks: str) -> None:
    tool, broken = repo.bin / "tool", repo.home / "broken"
    tool.write_text(f"#!/bin/sh\n{f'touch {broken}' if lacks == 'prepare' else f'rm {tool}'}\n")
    tool.chmod(0o755)
    keys = f'prepare = [["test", "!", "-e", "{broken}"]]\nverify = [["tool"]]\nworkspace = "worktree"'
    prepares(repo, [writes(1), writes(2)], task=(keys,))
    run = starts(repo)
    manifest = run.wait(within=60)
    code = {"prepare": "prepare_failed", "program": "check_missing"}[lacks]
    assert (manifest["status"], manifest["reason"]["code"]) == ("failed", code)
    assert "--resume` continues" in manifest["reason"]["hint"]
    assert [one["status"] for one in manifest["plan"]["batches"]] == ["succeeded", "parked"]
    assert manifest["plan"]["breaker"]["failures"] == 0, "no agent failed"
    assert work_trees(repo) == []
    assert (repo.root / "src/m2.py").read_text() == "x = 0\n"

    broken.unlink(missing_ok=True)
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    assert resumes(repo).wait(within=60)["status"] == "succeeded"
    assert [(repo.root / f"src/m{n}.py").read_text() for n in (1, 2)] == ["x = 1\nby 1\n", "x = 2\nby 2\n"]

    tool.unlink()
    assert refused(repo).error["code"] == "check_missing", "before there is a plan's run"
