"""`runner ci report` on rehearsals with the real Codex: a plan of two batches, one of which was rejected."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import xmlschema
from support.batches import ends, lies
from support.imports import ROOT
from support.repo import Repo, Run
from support.waves import prepares, writes

JENKINS = ROOT / "tests" / "data" / "published" / "junit-10.xsd"


def suites_in(path: Path) -> dict[str, dict[str, str]]:
    """suite -> case -> what became of it; the file is as Jenkins wants it."""
    xmlschema.XMLSchema(str(JENKINS)).validate(str(path))
    return {
        suite.attrib["name"]: {
            case.attrib["name"]: next((part.tag for part in case if part.tag != "system-out"), "passed")
            for case in suite.iter("testcase")
        }
        for suite in ElementTree.parse(path).getroot()
    }


def test_a_plan_has_a_suite_of_its_end_and_one_for_each_batch(repo: Repo) -> None:
    run = ends(prepares(repo, [writes(1), lies(2)]))
    files = ("--junit", "j.xml", "--summary", "s.md", "--dotenv", "r.env")
    done = repo.cli("ci", "report", run.id, *files, "--annotations")
    assert done.status == 1 and done.stdout.startswith("::error title=work%3A failed::")
    made = suites_in(repo.root / "j.xml")
    assert [*made] == ["work", "work batch 1", "work batch 2"]
    assert made["work"] == {"outcome": "error"}
    assert set(made["work batch 1"].values()) <= {"passed", "skipped"}
    assert made["work batch 1"]["conformance"] == made["work batch 1"]["contract"] == "passed"
    assert made["work batch 2"]["outcome"] == made["work batch 2"]["contract"] == "failure"
    env = dict(line.split("=", 1) for line in (repo.root / "r.env").read_text().splitlines())
    assert (env["outcome"], json.loads(env["changed_files"])) == ("failed", ["src/m1.py"])
    assert "grep -qx" in (repo.root / "s.md").read_text()


def test_of_steps_that_are_gone_or_not_ours_nothing_is_green(repo: Repo) -> None:
    run = ends(prepares(repo, [writes(1), writes(2)]), status=0)
    assert repo.cli("ci", "report", run.id).status == 0
    ledger, step = run.folder / "ledger.json", json.loads(run.file("ledger.json"))["steps"][0]["run"]
    folder = Run(repo, step["run_id"], step["task_id"]).folder
    files = ("--junit", "j.xml", "--sarif", "s.sarif")

    folder.rename(repo.note("gone"))
    done = repo.cli("ci", "report", run.id, *files, "--annotations", "--fail-on", "failed")
    assert done.status == 75 and done.stdout.startswith("::error title=batch 1%3A the run is gone")
    assert repo.cli("ci", "report", run.id, "--fail-on", "none").status == 0
    assert suites_in(repo.root / "j.xml")["work batch 1"] == {"outcome": "error"}
    (invocation,) = json.loads((repo.root / "s.sarif").read_bytes())["runs"][0]["invocations"]
    assert invocation["executionSuccessful"] is False and "batch 1" in str(invocation)
    told = repo.cli("report", run.id, "--format", "sarif").json()
    assert told["runs"][0]["invocations"] == [invocation]
    repo.note("gone").rename(folder)

    for name in (folder / "invocation.json", ledger):
        was = name.read_bytes()
        for text in (was + b" ", b"{"):
            name.write_bytes(text)
            done = repo.cli("ci", "report", run.id, *files, "--fail-on", "none", "--json")
            assert (done.status, done.error["code"]) == (9, "foreign_run"), name
        shown = repo.cli("report", run.id)
        assert shown.status == 0 and ("was not written here" in shown.stderr or "is foreign" in shown.stdout)
        name.write_bytes(was)
    assert repo.cli("ci", "report", run.id, *files).status == 0
