"""The rehearsal of the pipeline `factory` fits what it rehearses."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.factory import BUILT, INJECTED, PLACE, REPAIRED, prepare

from runner.config.find import shipped
from runner.plan import load
from runner.rehearsal import script

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


@pytest.mark.parametrize("codex", [0, 1])
def test_the_synthesis_keeps_every_finding_whoever_is_alpha(tmp_path: Path, codex: int) -> None:
    import shlex

    said = tomllib.loads((prepare(tmp_path / "shop") / "second-opinion.synthesis.toml").read_text())
    words = shlex.split(said["turns"][0]["shell"].replace(";", " ; "))
    texts: list[dict[str, Any]] = [json.loads(word) for word in words if word.startswith('{"')]
    kept = [source for one in texts[codex]["findings"] for source in one["sources"]]
    assert sorted(kept) == ["A1", "A2", "B1", "B2"]
