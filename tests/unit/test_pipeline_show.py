"""`runner pipeline list` and `show`: what a pipeline does, in which order, and what that took so far."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.ended import an_ended_run

from runner.cli.app import main
from runner.model import Outcome, Usage
from runner.plan.pipeline import Pipeline, Stage, steps

SETTINGS = r"""
schema_version = 1
[tasks.look]
prompt = "x"
sandbox = "read-only"
[tasks.other]
prompt = "x"
sandbox = "read-only"
runtime = "claude"
[tasks.build]
prompt = "x"
sandbox = "workspace-write"
workspace = "worktree"
[pipelines.feature]
title = "A \u001b[2Jhostile \u202etitle"
input = ["name"]
[[pipelines.feature.stages]]
name = "last"
needs = ["left", "right"]
plan = "plan.toml"
task = "build"
gate = [["make", "a b"], ["true"], ["sh", "-c", "true \u001b]0; touch x\u0007"]]
[[pipelines.feature.stages]]
name = "left"
needs = []
tasks = ["look"]
[[pipelines.feature.stages]]
name = "right"
needs = []
compare = { a = "look", b = "other", task = "look" }
[[pipelines.feature.stages]]
name = "sign"
person = "docs/{name}.md"
prompt = "Is it\nright?"
gate = "approve"
"""


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "delegate.toml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def ran(root: Path, seconds: int, tokens: int, task: str = "look", **changes: Any) -> None:
    outcome = changes.pop("outcome", Outcome.SUCCEEDED)
    code = {} if outcome is Outcome.SUCCEEDED else {"code": "turn_failed"}
    run = an_ended_run(root, task=task, outcome=outcome, **code)
    times = {"started_at": "2026-11-20T10:15:00.000Z", "ended_at": f"2026-11-20T10:15:{seconds:02d}.000Z"}
    run.write_manifest(run.read_manifest().replace(**times, usage=Usage(tokens, 0, 0, 0), **changes))


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["pipeline", "show", "feature", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def picture(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["pipeline", "show", "feature"]) == 0
    return capsys.readouterr().out


def test_stages_stand_in_the_order_of_their_needs_and_one_number_is_side_by_side(
    capsys: pytest.CaptureFixture[str],
) -> None:
    heads = [line for line in picture(capsys).splitlines() if line[:1].isdigit()]

    assert heads == ["1. left", "1. right", "2. last", "2. sign"]
    assert shown(capsys)["steps"] == {"left": 1, "right": 1, "last": 2, "sign": 2}


def test_each_run_says_what_it_may_and_by_whom_it_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    text = picture(capsys)

    assert "   task       look: read-only, codex, time unknown\n" in text
    assert "   parallel   other: read-only, claude, time unknown\n" in text
    assert "   batch      build: workspace-write, codex, time unknown, own tree\n" in text
    assert "   gate       `make 'a b'`, `true`, `sh -c 'true \\u001b]0; touch x\\u0007'`\n" in text
    assert (
        "   person     docs/{name}.md\n              Is it right?\n   gate       a person approves\n" in text
    )


def test_each_role_and_each_severity_is_in_words(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = """
[[pipelines.feature.stages]]
name = "duo"
compare = { a = "look", b = "other", task = "look", pattern = "adversarial", passes = 2 }
[[pipelines.feature.stages]]
name = "review"
tasks = ["look", "other"]
gate = { no_findings = "important" }
repair = { task = "build", severity = "important", max_rounds = 1 }
"""
    settings = SETTINGS.replace('title = "A', '# "A')
    (repository / "delegate.toml").write_text(settings + more)
    text = picture(capsys)
    assert text.startswith("feature\n")
    assert "   adversarial look: " in text and "   advocacy   look: " in text
    assert "time unknown\n              side by side\n   repair     build: " in text
    assert "each finding that is important or graver, 1 round at most\n" in text
    assert "   gate       no finding that is important or graver\n" in text


def test_what_a_repository_wrote_moves_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    text = picture(capsys)

    assert text.startswith("feature: A ") and "hostile" in text.splitlines()[0]
    assert not {"\x1b", "\u202e"} & {*text}


def test_no_line_is_wider_than_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")

    assert max(map(len, picture(capsys).splitlines())) <= 30


def test_time_and_tokens_are_the_medians_of_what_has_succeeded_with_a_model(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seconds, tokens in ((10, 100), (20, 3000), (50, 200)):
        ran(repository, seconds, tokens)
    ran(repository, 59, 9000, outcome=Outcome.FAILED)
    ran(repository, 59, 9000, rehearsal=True)
    ran(repository, 59, 9000, task="other", outcome=Outcome.FAILED)

    tasks = shown(capsys)["tasks"]
    assert (tasks["look"]["seconds"], tasks["look"]["tokens"]) == (20.0, 200)
    assert (tasks["other"]["seconds"], tasks["other"]["tokens"]) == (None, None)
    assert "look: read-only, codex, 20s, 200 tokens" in picture(capsys)


def test_a_plan_is_estimated_once_its_file_can_be_read(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys)["plans"] == {"last": None}
    (repository / "plan.toml").write_text("broken")
    assert shown(capsys)["plans"] == {"last": None}
    (repository / "plan.toml").write_text("schema_version = 1\n[[units]]\nid = 'U1'\ngoal = 'x'\n")

    assert shown(capsys)["plans"]["last"]["batches"] == 1
    assert "plan       plan.toml: 1 batch, 4m" in picture(capsys)


def test_a_name_that_is_none_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pipeline", "show", "featur", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]

    assert (error["code"], error["hint"]) == ("pipeline_not_found", "perhaps you meant `feature`")
    assert main(["pipeline", "show", "zzz"]) == 2
    assert "known: feature" in capsys.readouterr().err


def test_the_list_has_those_of_the_settings(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pipeline", "list"]) == 0
    assert capsys.readouterr().out.startswith("feature  4 stages  A ")
    assert main(["pipeline", "list", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["feature"]

    (repository / "delegate.toml").write_text("schema_version = 1\n")
    assert main(["pipeline", "list"]) == 0
    assert "runner init --pipeline factory" in capsys.readouterr().out


def test_a_stage_begins_when_the_last_that_it_needs_has_ended() -> None:
    stages = (Stage("d", ("b", "a")), Stage("a", ()), Stage("b", ("a",)), Stage("c", ()))

    assert steps(Pipeline("p", stages)) == {"a": 1, "c": 1, "b": 2, "d": 3}
