"""Plans in batches with the real Codex: what is carried out, what stops a plan, what goes on afterwards."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from support.batches import (
    argv_of,
    batches_of,
    committed,
    disk,
    ends,
    fails,
    has_had_runs_before,
    in_words,
    lies,
    of_plan,
    plays,
    prompt_of,
    run_of,
    same,
    shown,
    unit,
)
from support.judged import Tree, asked, call, claim, failed_with, hung, says
from support.repo import Repo, Run
from support.terminal import Terminal
from support.waiting import wait_until
from support.waves import batch, prepares, refused, start_words, starts, writes

from runner.ledger.file import Ledger

PLAN = ("start", "--plan", "plan.toml", "--task", "work")


def file_of(n: int) -> bytes:
    """Module `n` once its batch is done."""
    return f"x = {n}\nby {n}\n".encode()


LEFT = ["U1", "U3", "U4", "U5", "U6", "U7"]


def test_seven_units_fail_until_the_breaker_opens_and_go_on_once_a_person_resets_it(repo: Repo) -> None:
    units = [unit(1, 'effort = "high"'), unit(2, 'effort = "default"'), *map(unit, range(3, 8))]
    prepares(repo, [lies(1), writes(2), *[fails()] * 3, writes(6), writes(7)], units=units)
    before = Tree.of(repo)
    forecast = repo.cli(*start_words(repo, "--dry-run")).json()["runs"]
    done = in_words(repo, "--wait")
    assert done.status == 1
    assert f"1 of 7 batches done: 3 batches in a row have failed; left: {', '.join(LEFT)}" in done.stdout
    assert "- batch 1 (U1): failed, verify_failed: `grep -qx 'x = 1' src/m1.py` exited with 1" in done.stdout
    assert "- batch 5 (U5): failed, task_failed" in done.stdout
    assert "- batch 7 (U7): not started" in done.stdout
    assert "--resume --reset-breaker" in done.stderr
    files = {**before.files, "src/m2.py": (before.files["src/m2.py"][0], file_of(2))}
    assert Tree.of(repo).files == files, "of the batches that failed, nothing is left"
    assert (Tree.of(repo).index, Tree.of(repo).head) == (before.index, before.head)
    first = repo.runs()[0]
    breaker_is_told(first)
    for words in ((), ("--resume",)):
        no = refused(repo, *words)
        assert (no.status, no.error["code"]) == (9, "breaker_open")
        assert ", ".join(LEFT) in no.error["message"]

    for n in (1, 3, 4, 5):
        plays(repo, n, writes(n))
    second = ends(repo, "--resume", "--reset-breaker", status=0)
    assert shown(second) == [f"U{n}: succeeded" for n in range(1, 8)]
    plan = of_plan(second)
    assert (plan["resumed_from"], plan["left"]) == (first.on_disk()["manifest_path"], [])
    assert [one["tries"] for one in plan["batches"]] == [2, 1, 2, 2, 2, 1, 1]
    assert [(repo.root / f"src/m{n}.py").read_bytes() for n in range(1, 8)] == [*map(file_of, range(1, 8))]
    assert Tree.of(repo).files.keys() == before.files.keys()
    assert len(repo.runs()) == 2 + len(batches_of(first)) + len(batches_of(second)) == 2 + 5 + 6
    spent = [one.on_disk()["usage"]["input_tokens"] for one in (*batches_of(first), *batches_of(second))]
    assert (sum(spent), sum(spent[5:])) == (21, 0)
    told = repo.cli("report", second.id, "--format", "json")
    assert told.json()["usage"]["input_tokens"] == 21, "failed tries included"
    assert "earlier" not in told.stderr
    was_told_as_forecast(batches_of(first), [one["invocation"] for one in forecast])
    shutil.rmtree(batches_of(first)[2].folder)
    told = repo.cli("report", second.id, "--format", "json")
    assert told.json()["usage"]["input_tokens"] == 14
    assert "1 earlier try is gone, with its tokens" in told.stderr + told.stdout


def breaker_is_told(run: Run) -> None:
    manifest = run.status()
    assert (manifest["status"], manifest["reason"]["code"]) == ("failed", "breaker_open")
    failed = [f"U{n}: {'succeeded' if n == 2 else 'failed'}" for n in range(1, 6)]
    assert shown(run) == [*failed, "U6: waiting", "U7: waiting"]
    assert manifest["plan"]["breaker"] == {"limit": 3, "failures": 3, "open": True, "parked": None}
    assert manifest["plan"]["left"] == LEFT
    assert manifest["rehearsal"] is True, "of its batches no model was asked"
    text = run.repo.cli("status", run.id).stdout
    assert "plan.toml: 1 of 7 batches done" in text
    assert "breaker: open, 3 of 3 failures in a row" in text
    assert f"left: {', '.join(LEFT)}" in text


def was_told_as_forecast(runs: list[Run], forecast: list[dict[str, Any]]) -> None:
    """A dry run shows what is executed then, the effort of each batch included."""
    executed = [json.loads(run.file("invocation.json")) for run in runs]
    assert [argv_of(one) for one in executed] == [argv_of(one) for one in forecast[: len(runs)]]
    assert runs[0].file("prompt.md") == forecast[0]["prompt"]
    efforts = [[word for word in one["argv"] if "effort" in word] for one in executed[:3]]
    assert efforts == [['model_reasoning_effort="high"'], [], ['model_reasoning_effort="medium"']]
    assert asked(runs[0])[0]["effort"] == "high", "and so the model was asked"


# -- commits -------------------------------------------------------------------------------------------


def test_a_plan_tells_its_begin_and_end_and_each_batch_what_it_came_to(repo: Repo) -> None:
    prepares(repo, [writes(1), fails()], units=[unit(1), unit(2)])
    plan = ends(repo)
    told = [*Ledger(str(repo.root), "work").unproven()]
    own = [one for one in told if one.run_id == plan.id]
    assert [one.type for one in own] == ["run_started", "run_ended"]
    assert (own[0], own[1]) == (told[0], told[-1]), "its batches are told in between"
    artifacts = [one.payload for one in told if one.type == "artifact"]
    assert [(one["kind"], one["status"], one.get("files", [])) for one in artifacts] == [
        ("patch_summary", "passed", ["src/m1.py"]),
        ("test_report", "unknown", []),  # the check reads the file that the batch changed
        ("patch_summary", "failed", []),
        ("test_report", "skipped", []),
    ]


def test_only_what_was_verified_is_committed_and_never_what_is_the_users(repo: Repo) -> None:
    half = fails(call("echo 'x = 1' > src/m2.py; echo junk > src/junk2.txt"))
    greedy = writes(3, after="; echo mine >> notes.txt")
    prepares(repo, [writes(1), half, greedy], "commit = true")
    (repo.root / "notes.txt").write_text("of the user\n")
    plan = ends(repo)
    assert shown(plan) == ["U1: succeeded", "U2: failed", "U3: succeeded"]
    assert committed(repo) == [("Modules: batch 1 of 3 (U1)", ["src/m1.py"])]
    message = repo.says("log", "-1", "--format=%an <%ae>%n%B").strip()
    assert message.split("\n") == [
        "Me <me@example.org>",
        "Modules: batch 1 of 3 (U1)",
        "",
        "- U1: Module 1",
        "",
        "Runner-Task: work",
        f"Runner-Run: {run_of(plan, 1).id}",
        "Runner-Units: U1",
        f"Delegated-To: codex {run_of(plan, 1).on_disk()['runtime']['version']}",
    ]
    assert of_plan(plan)["batches"][0]["commit"] == repo.says("rev-parse", "HEAD").strip()
    reason = plan.on_disk()["reason"]
    assert reason["code"] == "commit_refused" and "notes.txt" in reason["message"]
    assert repo.says("diff", "--cached", "--name-only") == ""
    kept = repo.says("status", "--porcelain", "-uall").splitlines()
    assert kept == [" M src/m2.py", " M src/m3.py", "?? notes.txt", "?? src/junk2.txt"]


def test_a_named_branch_gets_the_commits_and_what_is_checked_out_stays(repo: Repo) -> None:
    prepares(repo, [writes(1), lies(2)], 'commit = "plan/modules"')
    has_had_runs_before(repo)
    before = Tree.of(repo)
    ends(repo)
    assert committed(repo, "plan/modules") == [("Modules: batch 1 of 2 (U1)", ["src/m1.py"])]
    assert Tree.of(repo).index == before.index
    assert repo.says("rev-parse", "HEAD") == repo.says("rev-parse", "plan/modules^")
    assert repo.says("status", "--porcelain", "src") == " M src/m1.py\n", "what failed was taken back"


def test_where_batches_are_committed_a_change_of_the_user_refuses_the_start(repo: Repo) -> None:
    prepares(repo, [writes(1)], "commit = true")
    (repo.root / "keep.txt").write_text("edited")
    repo.says("add", "keep.txt")
    before = Tree.of(repo)
    no = refused(repo)
    assert (no.status, no.error["code"]) == (9, "conflict")
    assert "keep.txt" in no.error["message"]
    assert repo.no_runs() and Tree.of(repo) == before


def test_a_chain_of_batches_on_one_file_is_committed_link_by_link(repo: Repo) -> None:
    units = [
        f'id = "U{n}"\ngoal = "Line {n}"\nfiles = ["src/shared.py"]\ntests = ["it"]\n'
        f'verify = [["grep", "-qx", "line {n}", "src/shared.py"]]'
        for n in range(1, 13)
    ]
    script = [
        call("".join(f"echo line {n} >> src/shared.py; " for n in range(first, first + 4)))
        + says(claim(files=["src/shared.py"]))
        for first in (1, 5, 9)
    ]
    prepares(repo, script, "commit = true", units=units)
    plan = ends(repo, "--set", "delegate.soft_cap=4", status=0)
    parts = ["U1, U2, U3, U4", "U5, U6, U7, U8", "U9, U10, U11, U12"]
    assert [", ".join(one["units"]) for one in of_plan(plan)["batches"]] == parts
    subjects = [f"Modules: batch {n} of 3 ({names})" for n, names in enumerate(parts, 1)]
    assert committed(repo) == [(subject, ["src/shared.py"]) for subject in subjects]
    told = [prompt_of(plan, n).partition("## Earlier batches\n")[2] for n in (1, 2, 3)]
    assert told[0] == ""
    assert f"- {parts[0]}: `src/shared.py`\n" in told[1] and parts[1] not in told[1]
    assert f"- {parts[0]}: `src/shared.py`\n- {parts[1]}: `src/shared.py`\n" in told[2]
    assert repo.says("status", "--porcelain") == ""


# -- what is left --------------------------------------------------------------------------------------


def test_a_partial_batch_keeps_its_change_for_its_next_try_and_holds_up_only_what_waits_for_it(
    repo: Repo,
) -> None:
    part = call("echo 'x = 7' > src/m1.py; echo half > src/half.txt") + says(claim("partial"))
    units = [
        unit(1).replace(
            'files = ["src/m1.py"]', 'files = { create = ["src/half.txt"], modify = ["src/m1.py"] }'
        ),
        unit(2, after=["U1"]),
        unit(3, after=["U2"]),
        unit(4),
    ]
    prepares(repo, [part, writes(2), writes(3), writes(4)], "commit = true", units=units)
    first = ends(repo)
    assert first.on_disk()["reason"]["code"] == "batches_left"
    assert shown(first) == ["U1: failed", "U2: blocked", "U3: blocked", "U4: succeeded"]
    assert [one["waits_for"] for one in of_plan(first)["batches"]] == [[], [1], [2], []]
    assert committed(repo) == [("Modules: batch 4 of 4 (U4)", ["src/m4.py"])]
    assert repo.says("status", "--porcelain") == " M src/m1.py\n?? src/half.txt\n"

    plays(repo, 1, writes(1))
    second = ends(repo, "--resume", "--done", "U2", status=0)
    assert shown(second) == ["U1: succeeded", "U2: done", "U3: succeeded", "U4: succeeded"]
    kept = prompt_of(second, 1).partition("## An earlier try\n")[2]
    assert "- `src/half.txt`\n- `src/m1.py`\n" in kept
    assert committed(repo)[1:] == [
        ("Modules: batch 1 of 4 (U1)", ["src/half.txt", "src/m1.py"]),
        ("Modules: batch 3 of 4 (U3)", ["src/m3.py"]),
    ]
    assert repo.says("status", "--porcelain") == ""


def test_what_a_person_has_done_is_left_out_and_lets_go_on_what_waited_for_it(repo: Repo) -> None:
    both = unit(1).replace('"U1"', '"U2"').replace("Module 1", "The rest of module 1")
    here = 'id = "L"\ngoal = "Done at home"\nfiles = ["/etc/shop.conf"]\ntests = ["it"]\nverify = [["true"]]'
    units = [unit(1), both, here, unit(2, after=["L"]).replace('"U2"', '"U3"')]
    prepares(repo, [fails(), writes(2)], units=units)
    first = ends(repo)
    assert shown(first) == ["U1 U2: failed", "U3: blocked"]
    assert of_plan(first)["batches"][1]["waits_for"] == of_plan(first)["local"] == ["L"]
    assert "waits for L, not delegated" in first.file("last-message.md")
    assert "not delegated, left to you: L" in first.file("last-message.md")

    plays(repo, 1, writes(1))
    assert refused(repo, "--resume", "--done", "U9").status == 2
    second = ends(repo, "--resume", "--done", "U1", "--done", "L", status=0)
    assert shown(second) == ["U1 U2: succeeded", "U3: succeeded"]
    assert "The rest of module 1" in prompt_of(second, 1) and "U1" not in prompt_of(second, 1)
    assert "nothing of" in refused(repo, "--resume").error["message"]


def test_what_is_no_fault_of_the_batch_parks_the_plan_and_counts_for_nothing(repo: Repo) -> None:
    prepares(repo, [fails(), failed_with(429, "usage limit reached"), writes(3)])
    first = ends(repo)
    is_parked(first, "auth_or_quota", "U1: failed")
    assert "breaker: parked, auth_or_quota: " in repo.cli("status", first.id).stdout
    plays(repo, 2, failed_with(500))
    is_parked(ends(repo, "--resume", "--done", "U1"), "cli_failure", "U1: done")
    plays(repo, 2, failed_with(404, "The model does not exist"))
    is_parked(ends(repo, "--resume"), "request_refused", "U1: done")
    plays(repo, 2, writes(2))
    third = ends(repo, "--resume", "--done", "U3", status=0)
    assert shown(third) == ["U1: done", "U2: succeeded", "U3: done"]
    assert [one["tries"] for one in of_plan(third)["batches"]] == [1, 4, 0]


def is_parked(run: Run, code: str, first: str) -> None:
    """Over the second of three batches, after one failure."""
    reason = run.on_disk()["reason"]
    assert reason["code"] == code
    assert reason["hint"].startswith("correct that; then `runner start --plan plan.toml")
    assert shown(run) == [first, "U2: parked", "U3: waiting"]
    breaker = of_plan(run)["breaker"]
    assert (breaker["failures"], breaker["open"], breaker["parked"]["code"]) == (1, False, code)


def test_a_plan_that_says_something_else_by_now_is_not_gone_on_with_nor_a_batch_retried_alone(
    repo: Repo,
) -> None:
    prepares(repo, [says(claim("partial", files=()))])
    plan = ends(repo)
    assert of_plan(plan)["breaker"]["failures"] == 1, "a partial result counts"
    for run, what in ((plan, "the run of a plan"), (run_of(plan, 1), "a batch of a plan")):
        no = run.ask("retry")
        assert (no.status, no.error["code"]) == (9, "conflict")
        assert what in no.error["message"]
    file = repo.root / "plan.toml"
    text = file.read_text()
    file.write_text(text.replace("Module 1", "Module one"))
    no = refused(repo, "--resume")
    assert (no.status, no.error["code"]) == (9, "plan_changed")
    said = in_words(repo, "--resume")
    assert "U1: goal changed" in said.stderr and '+goal = "Module one"' in said.stderr
    file.write_text(f"# nothing else\n\n{text}")
    assert repo.cli(*start_words(repo, "--resume", "--dry-run")).json()["left"] == ["U1"]
    assert len(repo.runs()) == 2

    plays(repo, 1, writes(1))
    (item,) = repo.json("inbox")["items"]
    assert (item["kind"], item["run_id"]) == ("plan", plan.id)
    assert repo.cli(*shlex.split(item["commands"][0])[1:], "--wait").status == 0
    assert [run.on_disk()["rehearsal"] for run in repo.runs()] == [True] * 4, "it goes on as it began"
    assert repo.json("inbox") == {"items": []}


# -- a person at the wheel -----------------------------------------------------------------------------


def test_a_plan_is_paused_and_cancelled_with_its_batch_which_is_tried_again_afterwards(repo: Repo) -> None:
    prepares(repo, [call("echo 'x = 5' > src/m1.py") + hung, writes(2)])
    plan = starts(repo)
    one = batch(plan, 1)
    wait_until(lambda: "5" in (repo.root / "src/m1.py").read_text(), 20, "the work")
    assert plan.told("pause")["status"] == "paused"
    assert one.status()["status"] == "paused"
    assert plan.told("resume")["status"] == "running"
    assert one.status()["status"] == "running"
    ended = plan.told("cancel")
    assert (ended["status"], ended["survivors"]) == ("cancelled", [])
    assert one.status()["status"] == "cancelled"
    assert (repo.root / "src/m1.py").read_text() == "x = 0\n"
    assert shown(plan)[0] in ("U1: interrupted", "U1: parked"), "whether or not the conductor saw its end"
    assert shown(plan)[1] == "U2: waiting"

    plays(repo, 1, writes(1))
    again = ends(repo, "--resume", "--done", "U2", status=0)
    assert shown(again) == ["U1: succeeded", "U2: done"]
    assert [one["tries"] for one in of_plan(again)["batches"]] == [2, 0]
    assert of_plan(again)["breaker"]["failures"] == 0


# -- what is refused before anything begins ------------------------------------------------------------


def test_a_dry_run_shows_every_batch_as_it_would_be_run_and_touches_nothing(repo: Repo) -> None:
    prepares(repo, [writes(1), writes(2)], "commit = true")
    before = disk(repo)
    said = in_words(repo, "--dry-run", env={"CODEX_SANDBOX": "1"})
    forecast = repo.cli(*start_words(repo, "--dry-run")).json()
    assert disk(repo) == before
    assert said.status == 0
    assert "each batch is committed to the current branch; 3 failures in a row" in said.stdout
    assert [one["n"] for one in forecast["runs"]] == [1, 2]
    assert (forecast["decision"]["decision"], forecast["left"]) == ("delegate", ["U1", "U2"])
    for one in forecast["runs"]:
        n, invocation = one["n"], one["invocation"]
        assert f"Module {n}" in invocation["prompt"] and f"Module {3 - n}" not in invocation["prompt"]
        assert invocation["verify"] == [["grep", "-qx", f"x = {n}", f"src/m{n}.py"]]
        assert shlex.join(argv_of(invocation)) in same(said.stdout)
        assert invocation["prompt"] in said.stdout


TRIVIAL = (unit(1, "trivial = true"), unit(2, "trivial = true"))
ELSEWHERE = (unit(1).replace("src/m1.py", "/etc/shop.conf", 1),)


@pytest.mark.parametrize(
    ("units", "decision", "words", "reason"),
    [
        (TRIVIAL, "auto", (), "skip: all 2 units are trivial"),
        ((), "auto", (), "not_worth: fewer than 5 units"),
        ((), "ask", (), "there is no terminal to ask at"),
        (ELSEWHERE, "auto", ("--force-delegate",), "no unit can be delegated"),
    ],
)
def test_a_plan_that_is_not_to_be_delegated_leaves_nothing_on_disk(
    repo: Repo, units: Sequence[str], decision: str, words: Sequence[str], reason: str
) -> None:
    prepares(repo, [writes(1), writes(2)], f'decision = "{decision}"', units=units)
    before = Tree.of(repo)
    no = repo.cli(*PLAN, "--rehearse", str(repo.home / "plays"), *words, "--format", "json")
    assert (no.status, no.error["code"]) == (5, "not_delegated")
    assert reason in no.error["message"]
    assert ("--force-delegate" in no.error["hint"]) is not bool(words)
    assert repo.no_runs() and not repo.runs_folder.exists()
    assert Tree.of(repo) == before


@pytest.fixture
def terminal(repo: Repo) -> Iterator[Terminal]:
    prepares(repo, [fails()], 'decision = "ask"')
    seen = Terminal(repo, *PLAN, "--rehearse", str(repo.home / "plays"))
    yield seen
    seen.close()


def test_a_person_is_asked_and_a_no_starts_nothing_while_a_yes_does(repo: Repo, terminal: Terminal) -> None:
    terminal.asks()
    assert "not worth" in terminal.text and "Delegate this plan?" in terminal.text
    assert terminal.type(b"n\n") == 1
    assert "nothing was started" in terminal.text
    assert repo.no_runs()
    second = Terminal(repo, *PLAN, "--rehearse", str(repo.home / "plays"))
    try:
        second.asks()
        assert second.type(b"y\n") == 0
    finally:
        second.close()
    assert repo.runs()[0].wait()["reason"]["code"] == "batches_left"
    done = repo.cli(*PLAN, "--rehearse", str(repo.home / "plays"), "--yes", "--wait")
    assert "0 of 1 batch done" in done.stdout, "where nobody can be asked, --yes answers"
    assert len([run for run in repo.runs() if run.on_disk()["runtime"]["name"] == "plan"]) == 2


@pytest.mark.parametrize(("env", "code"), [({}, "consent_missing"), ({"CODEX_SANDBOX": "1"}, "nested")])
def test_without_a_persons_consent_or_inside_an_agent_no_program_is_started(
    repo: Repo, env: dict[str, str], code: str
) -> None:
    prepares(repo, [writes(1)])
    spy = repo.bin / "codex"
    spy.write_text('#!/bin/sh\necho "$@" >> "$HOME/called"\n')
    spy.chmod(0o755)
    no = repo.cli(*PLAN, "--force-delegate", "--yes", "--format", "json", env=env)
    assert (no.status, no.error["code"]) == (5, code)
    assert repo.no_runs() and not repo.runs_folder.exists()
    assert not repo.note("called").exists()
