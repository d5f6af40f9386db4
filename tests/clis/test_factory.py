"""The pipeline `factory`, whole: the real Codex and the real Claude Code with scripted models."""

from __future__ import annotations

from support.clis import CLIS
from support.factory import INPUT, PLACE, REPAIRED, prepare
from support.repo import Repo, Run
from support.stages import ends, steps
from support.waiting import wait_until


def test_the_factory_goes_from_a_question_to_tested_code(repo: Repo) -> None:
    (repo.bin / "claude").symlink_to(CLIS / "claude")
    scripts = prepare(repo.root)
    done = repo.cli("init", "--pipeline", "factory")
    assert done.status == 0, done.stderr
    repo.git("add", "-A")
    repo.git("commit", "-qm", "shop")
    given = [word for name, text in INPUT.items() for word in ("--set", f"{name}={text}")]
    told = repo.json("start", "--pipeline", "factory", *given, "--rehearse", str(scripts))
    run = Run(repo, told["run_id"], "factory")
    for stage in ("prd", "implement"):
        wait_until(
            lambda name=stage: repo.cli("approve", "factory", name, "--yes").status == 0,
            60,
            f"{stage} to sign",
        )
    manifest = ends(run)
    assert {one["status"] for one in manifest["plan"]["stages"]} == {"passed"}
    assert [one["status"] for one in steps(run) if one["kind"] == "repair"] == ["succeeded"]
    assert REPAIRED[0] in (repo.root / PLACE[0]).read_text()
    assert (repo.root / "tests/test_export.py").exists()
    (synthesis,) = run.folder.glob("synthesis-*.md")
    assert "formula in a spreadsheet" in synthesis.read_text()
