"""`compare`: two real agent CLIs with scripted models, and what a synthesis of them is held to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.clis import CLIS
from support.judged import call, says
from support.repo import Repo, Run
from support.stages import (
    ends,
    finding,
    finds,
    plays,
    prepares,
    reason_of,
    resumes,
    run_of,
    stage,
    starts,
    step,
)
from support.waves import gated, opens, waits_at_gate

_OTHER = """
[tasks.other]
prompt = "Look."
runtime = "claude"
"""
_A = finding("critical", "It is wrong")
_B = finding("critical", "It has no name", line=1)


@pytest.fixture
def two(repo: Repo) -> Repo:
    """Codex reports `_A` and Claude Code `_B`, and both findings stay."""
    (repo.bin / "claude").symlink_to(CLIS / "claude")
    return prepares(
        repo,
        stage("both", 'compare = { a = "look", b = "other", task = "also" }'),
        more=_OTHER,
        files={"src/app.py": "answer = 41\n"},
        both_a=finds(_A),
        both_b=finds(_B, summary="I have looked too."),
        both_synthesis=_synthesis("A1", "B1"),
    )


def _synthesis(*kept: str, **more: Any) -> str:
    """Which of the two is Alpha is not known, and both are about the same file."""
    known = {"A1", "B1"}
    said = {
        "off_topic": [],
        "differences": [{"alpha": "one thing", "beta": "another", "findings": sorted(known)}],
        "steelman": [
            {"finding": name, "argument": "It is so.", "file": "src/app.py", "line": 1}
            for name in sorted(known)
        ],
        "rebuttals": [],
        "findings": [{**_A, "sources": [name]} for name in kept],
        "summary": "Two findings.",
    }
    return says(json.dumps({**said, **more}))


def test_a_synthesis_keeps_each_finding_and_names_nobody_before_it_has_passed(two: Repo) -> None:
    run = starts(two)
    ends(run)
    (told,) = run.folder.glob("synthesis-*.md")
    assert "It is wrong" in told.read_text() and "It has no name" in told.read_text()
    asked = step(run, "both", "synthesis")["run"]
    prompt = (two.root / asked["manifest_path"]).with_name("prompt.md").read_text()
    others = [step(run, "both", title)["run"]["run_id"] for title in ("a", "b")]
    assert not any(word in prompt for word in (*others, "codex", "claude", "tasks.other"))


def test_a_synthesis_that_drops_a_finding_is_rejected_and_tried_again(two: Repo) -> None:
    plays(two, "both.synthesis", _synthesis("A1"))
    run = starts(two)
    ends(run, "failed")
    assert reason_of(run, "both", "synthesis") == "synthesis_rejected"
    plays(two, "both.synthesis", _synthesis("A1", "B1"))
    again = resumes(two)
    ends(again)
    assert [step(again, "both", title)["tries"] for title in ("a", "b", "synthesis")] == [1, 1, 2]


def lines(repo: Repo, run: Run) -> list[tuple[str, str]]:
    """Which step the report names for what was found."""
    report = repo.cli("report", run.id, "--format", "json").json()
    return sorted((one["step"], one["title"]) for one in report["review_findings"])


def test_what_both_have_found_is_told_until_a_synthesis_was_accepted_also_after_an_advocacy(
    two: Repo,
) -> None:
    twice = (two.root / "delegate.toml").read_text().replace('task = "also" }', 'task = "also", passes = 2 }')
    two.write("delegate.toml", twice)
    two.says("commit", "-qam", "two passes")
    plays(two, "both.advocacy", _synthesis())
    plays(two, "both.synthesis", _synthesis("A1"))
    run = starts(two)
    ends(run, "failed")
    assert lines(two, run) == [("both: a", "It is wrong"), ("both: b", "It has no name")]
    assert "It is gone" not in two.cli("report", run.id).stdout
    plays(two, "both.synthesis", _synthesis("A1", "B1"))
    again = resumes(two)
    ends(again)
    assert lines(two, again) == [("both: synthesis", "It has no name"), ("both: synthesis", "It is wrong")]


def test_what_a_side_found_that_failed_is_told_though_it_finds_something_else_when_run_anew(
    two: Repo,
) -> None:
    text = (two.root / "delegate.toml").read_text()
    two.write(
        "delegate.toml", text.replace("[tasks.look]\n", '[tasks.look]\nverify = [["test", "-e", "ok"]]\n')
    )
    two.says("commit", "-qam", "with a check")
    run = starts(two)
    ends(run, "failed")
    two.write("ok", "1\n")
    plays(two, "both.a", finds(finding("critical", "Style")))
    again = resumes(two)
    ends(again)
    assert ("both: a", "It is wrong") in lines(two, again)


def test_only_what_git_has_rebuts(two: Repo) -> None:
    (two.root / "note.py").write_text("answer = 41\n")
    rebuttal = {"finding": "B1", "line": 1, "quote": "answer = 41", "reasoning": "It is right."}
    plays(two, "both.synthesis", _synthesis("A1", rebuttals=[{**rebuttal, "file": "note.py"}]))
    run = starts(two)
    ends(run, "failed")
    assert "`note.py` is not in git (commit it first)" in step(run, "both", "synthesis")["why"]["message"]
    plays(two, "both.synthesis", _synthesis("A1", rebuttals=[{**rebuttal, "file": "src/app.py"}]))
    ends(resumes(two))


def test_an_analysis_that_is_not_as_it_was_written_fails_the_synthesis_and_nothing_more(two: Repo) -> None:
    plays(two, "both.synthesis", call(f"{gated(two)}true") + _synthesis("A1", "B1"))
    run = starts(two)
    waits_at_gate(run_of(run, "both", "synthesis"))
    record = two.root / step(run, "both", "a")["run"]["manifest_path"].replace("manifest", "invocation")
    written = record.read_bytes()
    record.write_text("{}")
    opens(two)
    ends(run, "failed")
    assert reason_of(run, "both", "synthesis") in ("invocation_broken", "foreign_run")
    assert run.on_disk()["reason"]["code"] != "invocation_broken", "the conductor has come to its end"
    record.write_bytes(written)
    ends(resumes(two))


def test_nothing_is_made_of_one_opinion_where_the_other_provider_failed(two: Repo) -> None:
    plays(two, "both.b", says("I am no JSON."))
    run = starts(two)
    ends(run, "failed")
    assert reason_of(run, "both", "compare") == "result_invalid"
    assert step(run, "both", "synthesis")["run"] is None and not [*run.folder.glob("alpha-*")]


def test_two_outputs_that_are_the_same_are_one_opinion(two: Repo) -> None:
    plays(two, "both.b", finds(_A))
    run = starts(two)
    ends(run, "failed")
    assert reason_of(run, "both", "compare") == "outputs_equal"


def test_a_finding_about_files_that_are_not_here_is_off_topic(two: Repo) -> None:
    plays(two, "both.b", finds(finding(file="elsewhere/x.py")))
    run = starts(two)
    ends(run, "failed")
    assert reason_of(run, "both", "compare") == "off_topic"
