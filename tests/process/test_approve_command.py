"""`runner approve`, in processes of their own: a person decides what a stage of a pipeline waits for."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from typing import Any

import pytest
from support.ended import an_ended_run
from support.repo import RUNNER, Repo
from support.stages import PLAN
from support.terminal import Terminal

from runner.conduct.plan_record import keep
from runner.conduct.stage_plan import THE_PLAN
from runner.state.plan_ledger import Breaker, PlanLedger, Step, StepKind
from runner.state.store import RunDir
from runner.text.terminal import plain
from runner.usecases import approval

DOCUMENT = "docs/prd.md"


@pytest.fixture
def run(repo: Repo) -> RunDir:
    """Of a pipeline that asks for an approval of its document."""
    repo.task()
    (repo.root / "docs").mkdir()
    (repo.root / DOCUMENT).write_text("Invoices.\nWho may see them?\n")
    made = an_ended_run(repo.root, task="feature", runtime="plan")
    keep(made, PlanLedger("pipeline feature", None, (), Breaker(3), stages=("prd", "release")))
    approval.ask(made, "prd", "Is this what we want?", DOCUMENT)
    return made


def inbox(repo: Repo) -> list[Any]:
    return [one for one in repo.json("inbox")["items"] if one["kind"] == "approval"]


def test_without_a_terminal_it_needs_yes_and_comes_once(repo: Repo, run: RunDir) -> None:
    (item,) = inbox(repo)
    approve = "runner approve feature prd"
    assert item["commands"] == [approve, f"{approve} --reject", "runner start --pipeline feature --resume"]
    assert DOCUMENT in item["text"] and "Is this what we want?" in item["text"]
    words = item["commands"][0].split()[1:]
    for sure in (words, ["ledger", "sign", "feature", "--proposal", "e-0001"], [*words, "--reject"]):
        unasked = repo.cli(*sure)
        assert unasked.status == 2 and "there is no terminal to ask at" in unasked.stderr
        in_json = repo.cli(*sure, "--json")
        assert (in_json.status, in_json.error["code"]) == (2, "usage") and "--yes" in in_json.error["hint"]
    assert inbox(repo) == [item]
    done = repo.cli(*words, "--yes", "--note", "As we said.")
    assert done.status == 0 and "prd is approved by" in done.stdout
    assert f"{DOCUMENT}, 2 lines, sha256 {approval.document(run.repo, DOCUMENT).digest}" in done.stderr
    found = approval.decision(run, item["entry"])
    assert found is not None and found.approved and found.note == "As we said."
    assert inbox(repo) == []
    again = repo.cli("approve", run.run_id, "prd", "--reject", "--json")
    assert (again.status, again.error["code"]) == (9, "already_decided")
    shown = repo.cli("ledger", "show", "feature").stdout
    assert "approved" in shown and f"{DOCUMENT}, sha256" in shown


def test_a_stage_may_be_left_out_where_one_waits_and_a_wrong_one_is_told_which_do(
    repo: Repo, run: RunDir
) -> None:
    wrong = repo.cli("approve", "@latest", "prt", "--json")
    assert (wrong.status, wrong.error["code"]) == (2, "approval_not_found")
    assert wrong.error["hint"] == "what waits: prd"
    nobody = repo.cli("approve", "zzz", "--json")
    assert (nobody.error["code"], "`runner inbox`" in nobody.error["hint"]) == ("task_not_found", True)
    approval.ask(run, "release", "Release it?", None)
    assert repo.cli("approve", "feature", "--json").error["code"] == "usage"
    told = repo.json("approve", "feature", "release", "--reject", "--yes")
    assert (told["payload"]["decision"], told["payload"]["lane"]) == ("rejected", "release")
    assert repo.json("approve", "feature", "--yes")["payload"]["decision"] == "approved"


def test_an_agent_decides_nothing(repo: Repo, run: RunDir) -> None:
    proposed = repo.json("ledger", "propose", "feature", "--summary", "s", "--evidence", "e")["id"]
    ways = [
        ("approve", "feature", "prd", "--yes"),
        ("ledger", "sign", "feature", "--proposal", "e-0001", "--yes"),
        ("ledger", "sign", "feature", "--proposal", proposed),
        ("ledger", "reject", "feature", "--proposal", proposed),
        ("ledger", "coordinator", "feature", "feature"),
        ("ledger", "verify", "feature", "--set-aside"),
    ]
    for words in ways:
        inside = repo.cli(*words, "--json", env={"RUNNER_MANIFEST": run.manifest})
        assert (inside.status, inside.error["code"]) == (9, "people_only")
        of_host = repo.cli(*words, "--json", env={"CLAUDECODE": "1"})
        assert (of_host.status, of_host.error["code"]) == (5, "nested")
        assert "delegate.spawn" not in of_host.error["hint"]
        line = shlex.join(["env", "-u", "CLAUDECODE", str(RUNNER), *words])
        unset = subprocess.run(
            ["bash", "-c", f"{line}; exit $?"],
            cwd=repo.root,
            env={**repo.env, "CLAUDECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert unset.returncode == 5 and b"CLAUDECODE is set in process" in unset.stderr
    plain = repo.cli("ledger", "reply", "feature", "Fine.", "--json")
    assert (plain.status, plain.error["hint"]) == (2, "`runner approve feature prd`, perhaps with --reject")
    assert len(inbox(repo)) == 1


@pytest.mark.parametrize(("verb", "decision"), [("sign", "approved"), ("reject", "rejected")])
def test_a_ledger_is_signed_with_the_same_effect(repo: Repo, run: RunDir, verb: str, decision: str) -> None:
    told = repo.json("ledger", verb, "feature", "--proposal", "e-0001", "--yes")
    assert (told["type"], told["payload"]["decision"], told["handles"]) == ("reply", decision, ["e-0001"])


def test_on_a_terminal_the_question_is_for_the_document_as_it_was_shown(repo: Repo, run: RunDir) -> None:
    seen = Terminal(repo, "approve", "feature")
    try:
        seen.asks()
        assert "Is this what we want?" in seen.text and f"{DOCUMENT}, 2 lines" in seen.text
        assert seen.type(b"n\n") == 1 and "nothing was decided" in seen.text
    finally:
        seen.close()
    seen = Terminal(repo, "approve", "feature")
    try:
        seen.asks()
        (repo.root / DOCUMENT).write_text("Everybody may see them.\n")
        assert seen.type(b"y\n") == 9 and "is not as it was" in seen.text
    finally:
        seen.close()
    assert len(inbox(repo)) == 1
    seen = Terminal(repo, "approve", "feature", "--yes")
    try:
        assert seen.type(b"") == 0 and "prd is approved" in seen.text
    finally:
        seen.close()


def test_a_document_that_is_gone_or_leads_away_is_not_approved_but_can_be_rejected(
    repo: Repo, run: RunDir
) -> None:
    os.remove(repo.root / DOCUMENT)
    assert repo.cli("approve", "feature").status == 9
    (repo.root / DOCUMENT).symlink_to("/etc/hostname")
    assert "outside of the repository" in repo.cli("approve", "feature").stderr
    assert repo.json("approve", "feature", "--reject", "--yes")["payload"]["decision"] == "rejected"


def test_a_document_is_shown_as_it_begins_and_no_line_of_it_looks_like_ours(repo: Repo, run: RunDir) -> None:
    lines = ["\x1b[2Jfirst", "x" * 300, f"{DOCUMENT}, 1 line", *(f"line {n}" for n in range(4, 60))]
    (repo.root / DOCUMENT).write_text("\n".join(lines) + "\n")
    done = repo.cli("approve", "feature")
    assert done.status == 2 and "\x1b[2J" not in done.stderr and "first" in done.stderr
    assert f"        | {'x' * 200}...\n" in done.stderr
    assert f"        | {DOCUMENT}, 1 line\n" in done.stderr and f"        {DOCUMENT}, 59 lines" in done.stderr
    assert "| line 40\n" in done.stderr and "line 41" not in done.stderr
    assert f"        ... 19 more lines: {DOCUMENT}\n" in done.stderr
    assert repo.cli("approve", "feature", "--yes", "--json").stderr == ""


@pytest.mark.parametrize("text", ["", " \n\n"])
def test_an_empty_document_is_not_approved(repo: Repo, run: RunDir, text: str) -> None:
    (repo.root / DOCUMENT).write_text(text)
    done = repo.cli("approve", "feature", "--yes", "--json")
    assert (done.status, done.error["code"]) == (9, "conflict") and "is empty" in done.error["message"]


def test_of_a_plan_each_command_is_shown_and_one_that_nobody_can_read_is_not_asked_about(
    repo: Repo,
) -> None:
    repo.task()
    steps = (
        Step(1, (), stage="build", kind=StepKind.PERSON, title="plan.toml"),
        Step(2, (), (1,), stage="build", kind=StepKind.GATE, title=THE_PLAN),
    )
    made = an_ended_run(repo.root, task="feature", runtime="plan")
    keep(made, PlanLedger("pipeline feature", None, steps, Breaker(3), stages=("build",)))
    (repo.root / "plan.toml").write_text("schema_version = 1\ntitle = 1\n")
    approval.ask(made, "build", "Carry it out?", "plan.toml")
    refused = repo.cli("approve", "feature", "build", "--yes", "--json")
    assert (refused.status, refused.error["code"]) == (2, "plan_invalid") and len(inbox(repo)) == 1
    long = "".join(f"# {n}\n" for n in range(60)) + PLAN
    (repo.root / "plan.toml").write_text(long)
    done = repo.cli("approve", "feature", "build", "--yes")
    assert done.status == 0, done.stderr
    for n in (1, 2):
        assert f"| grep -qx 'x = {n}' src/m{n}.py\n" in done.stderr


HIDDEN = "\x1b]0; touch x; : \x07", "\x1bP; touch x; : \x1b\\", "\x9d; touch x; \x9c", "\x85touch x", "\u3164"


@pytest.mark.parametrize("hidden", HIDDEN, ids=ascii)
def test_what_a_terminal_would_obey_or_hide_is_shown_of_a_document_and_of_each_command(
    repo: Repo, run: RunDir, hidden: str
) -> None:
    (repo.root / DOCUMENT).write_text(f"First\t.\nA{hidden}B\n")
    shown = f"A{plain(hidden)}B"
    done = repo.cli("approve", "feature", "prd")
    assert f"        | {shown}\n" in done.stderr and "| First\t.\n" in done.stderr
    steps = (
        Step(1, (), stage="release", kind=StepKind.PERSON, title="plan.toml"),
        Step(2, (), (1,), stage="release", kind=StepKind.GATE, title=THE_PLAN),
    )
    keep(run, PlanLedger("pipeline feature", None, steps, Breaker(3), stages=("prd", "release")))
    command = json.dumps(["sh", "-c", f"A{hidden}B"])
    (repo.root / "plan.toml").write_text(PLAN.replace("verify = [[", f"verify = [{command}, [", 1))
    approval.ask(run, "release", "Carry it out?", "plan.toml")
    done = repo.cli("approve", "feature", "release")
    assert f"        | sh -c '{shown}'\n" in done.stderr, done.stderr
