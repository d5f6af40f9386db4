"""Pipelines with the real Codex: kills, commits, and runs that write side by side."""

from __future__ import annotations

import json

import pytest
from support.judged import call, claim, says
from support.repo import Repo, Run
from support.stages import (
    THEN,
    WITHIN_S,
    approve,
    asks,
    ends,
    finding,
    finds,
    prepares,
    resumes,
    run_of,
    stage,
    starts,
    steps,
    writes,
)
from support.waiting import wait_until
from support.waves import commits, conductor_of, gated, kills, opens, waits_at_gate, work_trees

pytestmark = pytest.mark.usefixtures("over")


def test_a_conductor_that_is_killed_while_a_person_is_asked_is_followed_by_one_that_goes_on(
    repo: Repo,
) -> None:
    prepares(
        repo,
        stage("prd", 'person = "docs/prd.md"', 'gate = "approve"'),
        stage("then", 'tasks = ["look"]'),
        files={"docs/prd.md": "One.\n"},
    )
    run = starts(repo)
    entry = asks(run, "prd")
    kills(conductor_of(run))
    ends(run, "failed")
    approve(run, "prd")
    again = resumes(repo)
    ends(again)
    assert steps(again)[0]["asked"] == entry, "nobody is asked twice"


def test_a_conductor_that_is_killed_during_a_repair_is_followed_by_one_that_asks_it_how_it_ended(
    repo: Repo,
) -> None:
    mends = call(f"{gated(repo)}sed -i s/41/42/ src/app.py") + says(claim())
    prepares(
        repo,
        stage(
            "review", 'tasks = ["look"]', 'gate = { no_findings = "critical" }', 'repair = { task = "fix" }'
        ),
        review_look=finds(finding()),
        **{"review_repair-1-1": mends, "review_look.2": finds()},
    )
    run = starts(repo)
    repair = run_of(run, "review", "repair 1-1")
    waits_at_gate(repair)
    kills(conductor_of(run))
    ends(run, "failed")
    opens(repo)
    again = resumes(repo)
    ends(again)
    found = [one for one in steps(again) if one["kind"] == "repair"]
    assert len(found) == 1 and found[0]["status"] == "succeeded"
    assert (repo.root / "src/app.py").read_text() == "answer = 42\n"


def test_a_gate_whose_commands_run_says_so_and_is_looked_at_anew_after_a_kill(repo: Repo) -> None:
    command = json.dumps(["sh", "-c", f"{gated(repo)}true"])
    prepares(repo, stage("look", 'tasks = ["look"]', f"gate = [{command}]"), THEN)

    def is_running(run: Run) -> bool:
        plan = run.on_disk()["plan"]
        at_work = [one for one in plan["batches"] if (one["kind"], one["status"]) == ("gate", "running")]
        return [one["title"][:12] for one in at_work] == ["gate: sh -c "]

    run = starts(repo)
    wait_until(lambda: is_running(run), WITHIN_S, "a gate at work")
    kills(conductor_of(run))
    ends(run, "failed")
    again = resumes(repo)
    wait_until(lambda: is_running(again), WITHIN_S, "a gate at work again")
    opens(repo)
    ends(again)
    assert [one["status"] for one in steps(again)] == ["succeeded"] * 4


def test_what_runs_change_is_committed_a_commit_for_each(repo: Repo) -> None:
    play = {f"{name}_fix": call(f"echo x > {name}") + says(claim(files=[name])) for name in ("one", "two")}
    prepares(
        repo,
        stage("one", 'tasks = ["fix"]'),
        stage("look", 'tasks = ["look"]'),
        stage("two", 'tasks = ["fix"]'),
        delegate=("commit = true",),
        **play,
    )
    run = starts(repo)
    ends(run)
    assert commits(repo) == ["Feature: one: fix", "Feature: two: fix"]
    assert repo.says("status", "--porcelain") == ""


def test_writers_side_by_side_have_trees_of_their_own_that_come_back_in_order(repo: Repo) -> None:
    play = {
        f"{name}_fix": call(f"{gated(repo)}echo {name} > {name}") + says(claim(files=[name]))
        for name in ("one", "two")
    }
    prepares(
        repo,
        stage("one", 'tasks = ["fix"]'),
        stage("two", "needs = []", 'tasks = ["fix"]'),
        delegate=("max_parallel = 2", "commit = true"),
        **play,
    )
    run = starts(repo)
    for name in ("one", "two"):
        waits_at_gate(run_of(run, name, "fix"))
    assert len(work_trees(repo)) == 2 and not (repo.root / "one").exists()
    opens(repo)
    ends(run)
    assert commits(repo) == ["Feature: one: fix", "Feature: two: fix"]
    assert work_trees(repo) == []


def test_each_run_may_what_its_own_task_may_whatever_the_others_may(repo: Repo) -> None:
    folders = [repo.base / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    sandboxes = "".join(
        f'[sandboxes.{folder.name}]\nlevel = "workspace-write"\nwritable = ["{folder}"]\n'
        f'[tasks.in-{folder.name}]\nprompt = "Write."\nsandbox = "{folder.name}"\n'
        for folder in folders
    )
    boss = '[tasks.boss]\nprompt = "Spread it."\nsandbox = "read-only"\ndelegation = true\n'
    spawns = '[[turns]]\ntool = { server = "delegation", name = "delegate.spawn", arguments = {} }\n'
    spawns = spawns.replace("{}", '{ task_id = "look" }')
    prepares(
        repo,
        stage("first", 'tasks = ["boss"]'),
        stage("second", 'tasks = ["in-one"]'),
        stage("third", 'tasks = ["in-two"]'),
        more=sandboxes + boss,
        first_boss=spawns + says("It is begun."),
        **{
            f"{name}_in-{to.name}": writes(f"{to}/x")
            for name, to in zip(("second", "third"), folders, strict=True)
        },
    )
    ends(starts(repo))
    assert all((folder / "x").exists() for folder in folders)
    assert [run.task for run in repo.runs()].count("look") == 1
