"""The rehearsal of the pipeline `factory` fits what it rehearses."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path

import pytest
from support.factory import BUILT, INJECTED, PLACE, REPAIRED, prepare

from runner.config.find import shipped
from runner.plan import load
from runner.rehearsal import script
from runner.verify.claim import Claim, read_claim
from runner.verify.synthesis import check

TABLES = tomllib.loads(Path(shipped("pipelines/factory"), "delegate.toml").read_text())


def test_every_run_of_every_stage_has_its_script_and_each_can_be_played(tmp_path: Path) -> None:
    scripts = prepare(tmp_path / "shop")

    names = {path.stem for path in scripts.iterdir()}
    wanted = set()
    for stage in TABLES["pipelines"]["factory"]["stages"]:
        titles = [*stage.get("tasks", ()), *(("a", "b", "synthesis") if "compare" in stage else ())]
        titles += ["batch-1", "batch-2"] if "plan" in stage else []
        titles += ["repair-1-1"] if "repair" in stage else []
        wanted |= {f"{stage['name']}.{title}" for title in titles}
    assert {name.removesuffix(".2") for name in names} == wanted
    for path in scripts.iterdir():
        script.load(path)


def test_the_plan_has_seven_clear_units() -> None:
    path = str(BUILT / "docs/plans/csv-export.md")

    reading = load.examined(load.text_of(path), path)
    assert (len(reading.plan.units), reading.unclear, reading.adjusted) == (7, (), ())
    assert all(unit.verify and unit.files.create for unit in reading.plan.units)


def test_the_finding_stands_where_the_injection_is_and_the_repair_takes_it_out(tmp_path: Path) -> None:
    file, line = PLACE
    lines = (BUILT / file).read_text().splitlines()
    assert lines[line - 1] == INJECTED[0] and "'{customer}'" in INJECTED[0]
    assert "{customer}" not in "".join(REPAIRED)

    said = tomllib.loads((prepare(tmp_path / "shop") / "review.review-security.toml").read_text())
    (found,) = json.loads(said["turns"][-1]["message"])["findings"]
    assert (found["severity"], found["file"], found["line"]) == ("critical", file, line)


@pytest.mark.parametrize("is_codex_alpha", [True, False])
def test_the_synthesis_keeps_to_the_protocol_whoever_is_alpha(tmp_path: Path, is_codex_alpha: bool) -> None:
    scripts = prepare(tmp_path / "shop")
    script_text = tomllib.loads((scripts / "second-opinion.synthesis.toml").read_text())
    words = shlex.split(script_text["turns"][0]["shell"].replace(";", " ; "))
    texts = [word for word in words if word.startswith('{"')]
    said = claimed(texts[0 if is_codex_alpha else 1], "synthesis")
    codex, claude = (claimed(last_of(scripts / f"second-opinion.{side}.toml")) for side in "ab")
    alpha, beta = (codex, claude) if is_codex_alpha else (claude, codex)

    assert not check(said, alpha.findings, beta.findings, in_built)
    fewer = said.replace(findings=said.findings[:-1])
    assert "has vanished" in check(fewer, alpha.findings, beta.findings, in_built)[0]


def test_each_review_can_be_read_and_points_at_lines_that_are_there(tmp_path: Path) -> None:
    scripts = prepare(tmp_path / "shop")
    for path in (*scripts.glob("review.review-*.toml"), *scripts.glob("second-opinion.[ab].toml")):
        for one in claimed(last_of(path)).findings:
            lines = (BUILT / one.file).read_text().splitlines()
            assert one.line is not None and lines[one.line - 1].strip() == one.evidence, path


def last_of(path: Path) -> str:
    text: str = tomllib.loads(path.read_text())["turns"][-1]["message"]
    return text


def claimed(text: str, form: str = "findings") -> Claim:
    claim = read_claim(text, form)
    assert isinstance(claim, Claim), claim
    return claim


def in_built(path: str) -> str | None:
    return (BUILT / path).read_text() if (BUILT / path).is_file() else None
