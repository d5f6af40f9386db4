"""The action carried out whole with the real Codex: every way in which a job can end."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.action_job import ACTION, Scene, scene
from support.action_service import Played, Service
from support.batches import unit
from support.codex import codex_path
from support.judged import call, claim, commit, hung, says, spends
from support.repo import Repo
from support.waves import prepares

HOSTILE = (
    "Done.\n::error file=a,title=b::from the agent\n::add-mask::e\n::stop-commands::x\n##[group]x\n"
    "::set-output name=status::succeeded\n%0A::warning::y\nstatus=succeeded"
)
INDEX = ("PIP_", "SSL_", "REQUESTS_", "http_", "https_", "no_", "HTTP_", "HTTPS_", "NO_")
"""Variables that say how the package index is reached from here."""
WORK = call("echo 'answer = 42' > src/app.py")


@pytest.fixture
def use(repo: Repo) -> Iterator[Scene]:
    with scene(repo) as it:
        yield it
    repo.end_all()


def prepared(use: Scene, script: str, *lines: str) -> None:
    """A repository with a committed task, as a job finds it, and the digest that the job trusts."""
    repo = use.repo
    repo.script(script)
    keys = "\n".join(('prompt = "Do it."', 'sandbox = "workspace-write"', 'grace = "1s"', *lines))
    repo.config(f'[runtimes.codex]\nenv = ["CODEX_API_KEY"]\n[tasks.work]\n{keys}\n')
    commit(repo)
    use.env["CODEX_API_KEY"] = "key-of-the-job"
    use.trust()


def told(played: Played) -> tuple[str, str, str]:
    """The end as outputs say it; none of them can be missing."""
    assert all(name in played.steps["report"].outputs for name in played.outputs)
    outputs = played.outputs
    return played.conclusion, outputs["status"], outputs["reason"]


def apart(played: Played) -> None:
    """Nothing was obeyed that runner did not say, and the key is nowhere."""
    assert played.obeyed == []
    assert played.env == {}
    assert "key-of-the-job" not in played.log + played.summary + json.dumps(played.outputs)
    for artifact in played.artifacts.values():
        for path in filter(Path.is_file, artifact.rglob("*")):
            assert b"key-of-the-job" not in path.read_bytes(), path


def test_a_job_whose_run_succeeds_has_everything_in_its_outputs(use: Scene) -> None:
    prepared(use, WORK + says(HOSTILE), 'verify = [["grep", "-q", "42", "src/app.py"]]')
    played = use.use(task="work", rehearse="play.toml", token_limit="100_000", timeout="5m")
    assert told(played) == ("success", "succeeded", "completed"), played.log
    apart(played)
    outputs = played.outputs
    assert json.loads(outputs["changed-files"]) == ["src/app.py"]
    assert outputs["exit-code"] == "0" and outputs["session-id"]
    assert (use.repo.root / outputs["manifest"]).is_file()
    assert ElementTree.parse(outputs["junit"]).getroot().tag == "testsuites"
    assert json.loads(Path(outputs["sarif"]).read_bytes())["version"] == "2.1.0"
    assert "## `work`: succeeded" in played.summary == Path(outputs["report"]).read_text()
    assert played.masks == ["key-of-the-job"]
    record = played.artifacts["runner"]
    assert (record / "runs/work/cli" / outputs["run-id"] / "manifest.json").is_file()
    assert (record / "runs/.feed.jsonl").is_file()
    use.repo.says("checkout", "-q", "--", "src/app.py")  # as a second job, that may write
    subprocess.run(["git", "apply", record / "report/change.patch"], cwd=use.repo.root, check=True)
    assert (use.repo.root / "src/app.py").read_text() == "answer = 42\n"


def test_a_job_whose_run_is_rejected_fails_with_the_check_beside_it(use: Scene) -> None:
    prepared(use, WORK + says(HOSTILE), 'verify = [["sh", "-c", "echo \'::error::x\'; false"]]')
    played = use.use(task="work", rehearse="play.toml")
    assert told(played)[:2] == ("failure", "rejected"), played.log
    apart(played)
    assert {kind for kind, _, _ in played.annotations} == {"error"}
    assert ElementTree.parse(played.outputs["junit"]).getroot().findall(".//failure")


def test_which_ends_fail_a_job_is_for_its_workflow_to_say(use: Scene) -> None:
    prepared(use, WORK + says("Done."), 'verify = [["false"]]')
    played = use.use(task="work", rehearse="play.toml", fail_on="failed,budget", report="summary")
    assert told(played)[:2] == ("success", "rejected")
    wrong = use.use(task="work", rehearse="play.toml", fail_on="everything")
    assert told(wrong) == ("failure", "not-started", "usage")


def test_a_job_whose_run_spends_too_much_fails(use: Scene) -> None:
    prepared(use, call("true", spends(5000)) + call("true", spends(5000)) + call("sleep 60") + says("Done."))
    played = use.use(task="work", rehearse="play.toml", token_limit="8000", fail_on="budget")
    assert told(played)[0] == "failure" and "budget" in told(played)[2], told(played)
    assert int(played.outputs["tokens-in"]) > 0


def test_a_job_that_is_cancelled_still_reports_and_uploads(use: Scene) -> None:
    prepared(use, WORK + hung)
    begun = use.repo.root / "src/app.py"
    played = use.use(lambda: begun.read_text() == "answer = 42\n", task="work", rehearse="play.toml")
    assert told(played) == ("cancelled", "cancelled", "cancelled"), played.log
    apart(played)
    (run,) = use.repo.runs()
    assert played.outputs["run-id"] == run.id
    assert (played.artifacts["runner"] / "report/report.md").is_file()
    assert run.events("sealed")


def test_a_job_without_a_login_starts_nothing_and_says_so(use: Scene) -> None:
    prepared(use, says("Done."))
    del use.env["CODEX_API_KEY"]
    played = use.use(task="work")
    assert told(played) == ("failure", "not-started", "not_ready")
    assert "codex.login" in played.annotations[0][2]
    assert use.repo.no_runs()


def test_a_key_in_the_change_keeps_the_change_out_of_the_artifact(use: Scene) -> None:
    prepared(use, call("echo key-of-the-job > src/app.py") + says("Done."))
    played = use.use(task="work", rehearse="play.toml")
    assert told(played) == ("success", "succeeded", "completed")
    apart(played)
    assert "key-of-the-job" in Path(played.outputs["patch"]).read_text()


def test_a_plan_is_run_in_batches_and_told_as_one(repo: Repo, use: Scene) -> None:
    numbers = range(1, 6)
    files = [f"src/m{n}.py" for n in numbers]
    work = call('for n in 1 2 3 4 5; do echo "x = $n" > src/m$n.py; done') + says(claim(files=files))
    prepares(repo, [work], units=[*map(unit, numbers)])
    use.trust()
    more = "economics.fixed=0\neconomics.batch=0\ndelegate.soft_cap=5"
    played = use.use(task="work", plan="plan.toml", rehearse=str(repo.home / "plays"), set=more)
    assert told(played) == ("success", "succeeded", "completed"), played.log
    assert len(ElementTree.parse(played.outputs["junit"]).getroot()) == 2
    assert len([*(played.artifacts["runner"] / "runs").glob("*/cli/*/manifest.json")]) == 2


def test_the_action_installs_itself_by_hashes_and_what_it_installed_runs(use: Scene) -> None:
    """Without Codex, which is large: the run has that of the tests."""
    prepared(use, says("Done."))
    use.env["PATH"] = f"{codex_path().parent}:/usr/local/bin:/usr/bin:/bin"
    use.env |= {name: value for name, value in os.environ.items() if name.startswith(INDEX)}
    played = Service(ACTION).use(use.job(given={}), task="work", rehearse="play.toml", codex_version="none")
    if "No matching distribution" in played.log or "Connection" in played.log:
        pytest.skip("there is no package index here")
    assert told(played) == ("success", "succeeded", "completed"), played.log
    program = Path(played.steps["install"].outputs["program"])
    assert program.is_relative_to(use.repo.base / "temp") and program.is_file()
