"""The real Codex against a scripted model: what follows an attempt that failed, and who is killed over it."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from support.judged import (
    Tree,
    asked,
    call,
    checks,
    claim,
    events_of,
    failed_with,
    hung,
    prepares,
    prompt,
    result,
    says,
    spends,
    starts,
    told,
)
from support.processes import kill, of_folder
from support.repo import Repo, Run
from support.waiting import wait_until

FINAL = 'output_contract = "final"'
QUICK = '[recovery]\nbackoff = "100ms"\n'
FRESH = '[recovery]\nbackoff = "100ms"\nladder = ["fresh"]\n'
CHECK = checks("grep -q 'answer = 42' src/app.py || { echo \"AssertionError: $(cat src/app.py)\"; exit 3; }")


def answers(number: int, tokens: int = 0) -> str:
    """An attempt that writes this answer, and says that all is well."""
    cost = spends(tokens)
    return call(f"echo 'answer = {number}' > src/app.py", cost) + says(claim(), spends(0))


def hows(run: Run) -> list[str]:
    return [attempt["how"] for attempt in run.on_disk()["attempts"]]


def prompts(run: Run) -> list[str]:
    """All that were sent, no two of them the same."""
    found = [prompt(run, n) for n in range(1, run.on_disk()["attempt"] + 1)]
    assert len(set(found)) == len(found)
    return found


def test_a_retry_succeeds_with_the_evidence_in_its_prompt(repo: Repo) -> None:
    captured = "[captures]\nproof = 'AssertionError: (answer = \\d+)'\n"
    second = call("echo '{proof}' > proof.txt; echo 'answer = 42' > src/app.py", spends(50))
    last = says(claim(files=["src/app.py", "proof.txt"]))
    run = starts(repo, captured + answers(43, 100) + second + last, FINAL, CHECK, "retries = 1")
    manifest = run.wait()
    assert manifest["status"] == "succeeded", manifest["reason"]
    assert (repo.root / "proof.txt").read_text() == "answer = 43\n", "the model itself was told"
    first, follow_up = prompts(run)
    assert "AssertionError: answer = 43" in follow_up and "exited with 3" in follow_up
    assert "Make the answer 42." in first and "UNVERIFIED_ASSUMPTION" in follow_up
    one, two = manifest["attempts"]
    assert (one["how"], one["reason"], one["counts"]) == ("first", "verify_failed", True)
    assert (two["how"], two["reason"], two["prompt"]) == ("resume", None, "prompt-2.md")
    assert one["thread_id"] == two["thread_id"] == manifest["thread_id"]
    assert one["usage"]["input_tokens"] == 100
    assert two["usage"]["input_tokens"] == manifest["usage"]["input_tokens"] == 150
    assert len(asked(run)) == 4
    assert [check["exit_code"] for check in result(run)["checks"]] == [0]
    assert events_of(run, "started", "checked", "retried", "rolled_back", "ended", "escalated") == [
        *("started", "checked", "retried", "started", "checked", "ended"),
    ]


def test_the_ladder_resumes_and_then_begins_afresh_in_the_tree_as_it_was(repo: Repo) -> None:
    lists = "ls src docs > keep.txt; "
    script = (
        call("echo 'answer = 43' > src/app.py; echo 1 > src/one.txt; rm -r docs", spends(100))
        + says(claim())
        + call("test -e src/one.txt && echo 'answer = 44' > src/app.py", spends(20))
        + says(claim())
        + call(lists + "echo 'answer = 42' > src/app.py", spends(7))
        + says(claim())
    )
    run = starts(repo, script, FINAL, CHECK, "retries = 2")
    manifest = run.wait()
    assert manifest["status"] == "succeeded", manifest["reason"]
    assert (repo.root / "keep.txt").read_text() == "docs:\nread me.md\n\nsrc:\napp.py\n"
    assert hows(run) == ["first", "resume", "fresh"]
    one, two, three = manifest["attempts"]
    assert one["thread_id"] == two["thread_id"] != three["thread_id"] == manifest["thread_id"]
    spent = [attempt["usage"]["input_tokens"] for attempt in manifest["attempts"]]
    assert spent == [100, 120, 7]
    assert manifest["usage"]["input_tokens"] == 127
    original, resumed, fresh = prompts(run)
    assert "answer = 43" in resumed and "still in the workspace" in resumed
    assert fresh.startswith(original.rstrip()) and "That change was taken back" in fresh
    assert "answer = 44" in fresh and "src/one.txt" in fresh
    assert len(run.events("rolled_back")) == 1
    assert result(run)["observed"]["changed"] == ["keep.txt", "src/app.py"]


@pytest.mark.parametrize(
    ("ladder", "used"),
    [
        pytest.param('[recovery]\nladder = ["resume"]\n', 100, id="resumed"),
        pytest.param('[recovery]\nladder = ["resume", "fresh"]\n', None, id="afresh"),
    ],
)
def test_the_end_of_the_ladder_is_an_escalation_and_the_tree_is_as_before(
    repo: Repo, ladder: str, used: int | None
) -> None:
    tries = answers(43, 100) + answers(44) + answers(45)
    before = Tree.of(prepares(repo, tries, FINAL, CHECK, "retries = 2", more=ladder))
    run = repo.start()
    waited = run.ask("wait")
    assert waited.status == 6
    reason = waited.json()["reason"]
    assert waited.json()["context"]["used"] == used, "of the last thread"
    assert "after 3 attempts" in reason["message"] and reason["hint"]
    (escalated,) = run.events("escalated")
    assert (escalated["attempts"], escalated["code"]) == (3, "verify_failed")
    assert "failed in the same way" in prompts(run)[2]
    assert Tree.of(repo) == before
    report = run.ask("report")
    assert report.status == 0 and "verify_failed" in report.stdout


@pytest.mark.parametrize("ladder", ["fresh", "resume"])
def test_the_same_change_with_the_same_failing_check_is_no_progress(repo: Repo, ladder: str) -> None:
    script = answers(43) + answers(44) + answers(43) + answers(42)
    lines = (FINAL, CHECK, "retries = 5")
    run = starts(repo, script, *lines, more=f'[recovery]\nladder = ["{ladder}"]\n')
    assert run.ask("wait").status == 6
    manifest = run.on_disk()
    assert (manifest["reason"]["code"], manifest["attempt"]) == ("no_progress", 3)
    assert "with the same change as attempt 1" in manifest["reason"]["message"]
    one, two, three = manifest["attempts"]
    assert one["tree"] == three["tree"] != two["tree"]
    assert "exited with 3" in one["failed_check"]
    assert (repo.root / "src/app.py").read_text() == "answer = 41\n"


def test_a_failure_of_the_service_is_waited_for_and_is_none_of_the_tasks(repo: Repo) -> None:
    script = call("echo 'answer = 42' > src/app.py") + failed_with(500) * 2 + says(claim())
    run = starts(repo, script, FINAL, CHECK, "retries = 1", more=QUICK)
    manifest = run.wait()
    assert manifest["status"] == "succeeded", manifest["reason"]
    assert [event["seconds"] for event in run.events("backing_off")] == [0.1, 0.2]
    assert [one["counts"] for one in manifest["attempts"]] == [False] * 3
    assert [one["reason"] for one in manifest["attempts"]] == ["cli_failure", "cli_failure", None]
    assert "API_FAILURE" in prompts(run)[1]


def test_a_service_that_does_not_come_back_is_left_after_as_many_waits_as_were_set(repo: Repo) -> None:
    script = "[[turns]]\nerror = { status = 500 }\ntimes = 9\n"
    run = starts(repo, script, FINAL, "retries = 5", more=QUICK + "api_retries = 2\n")
    manifest = run.wait()
    assert (manifest["status"], manifest["reason"]["code"]) == ("failed", "cli_failure")
    assert manifest["attempt"] == 3 == len(prompts(run))
    assert len(run.events("escalated")) == 1


def test_a_session_that_is_full_is_followed_by_a_new_one_that_finds_the_work(repo: Repo) -> None:
    full = '[[turns]]\nerror = { code = "context_length_exceeded", message = "full" }\n'
    script = call("echo 'answer = 4' > src/app.py") + full
    script += call("grep -q 4 src/app.py && echo 'answer = 42' > src/app.py") + says(claim())
    run = starts(repo, script, FINAL, CHECK, "retries = 1", more='[recovery]\nbackoff = "10m"\n')
    manifest = run.wait()
    assert manifest["status"] == "succeeded", manifest["reason"]
    assert hows(run) == ["first", "fresh"]
    one, two = manifest["attempts"]
    assert one["thread_id"] != two["thread_id"] and one["counts"] is True
    original, fresh = prompts(run)
    assert fresh.startswith(original.rstrip()) and "still in the workspace" in fresh
    assert events_of(run, "rolled_back", "backing_off") == []


def test_a_wait_is_as_long_as_the_service_asks_for(repo: Repo) -> None:
    def limited(told: str) -> str:
        text = f"Rate limit reached. Please try again in {told}."
        return f'[[turns]]\nerror = {{ code = "rate_limit_exceeded", message = "{text}" }}\n'

    script = call("echo 'answer = 42' > src/app.py") + limited("1.5s") + limited("1h2m0s") + says(claim())
    run = starts(repo, script, FINAL, CHECK, "retries = 1", more=QUICK)
    manifest = run.wait()
    assert [event["seconds"] for event in run.events("backing_off")] == [1.5]
    assert (manifest["reason"]["code"], manifest["attempt"]) == ("auth_or_quota", 2)


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (failed_with(401), "auth_or_quota"),
        (failed_with(400), "request_refused"),
        (failed_with(404, "The model `x` does not exist"), "request_refused"),
        (says(claim("partial", issues=["Scope expansion: lib"])), "scope_expansion"),
    ],
)
def test_what_no_attempt_can_mend_is_not_tried_again(repo: Repo, last: str, code: str) -> None:
    run = starts(repo, call("echo x > x") + last + answers(42), FINAL, "retries = 3", more=QUICK)
    manifest = run.wait()
    assert (manifest["reason"]["code"], manifest["attempt"]) == (code, 1)
    assert events_of(run, "escalated", "retried", "backing_off") == []


def test_without_retries_nothing_is_tried_again(repo: Repo) -> None:
    run = starts(repo, failed_with(500) + says(claim()), FINAL, more=QUICK)
    assert run.wait()["attempt"] == 1


def test_a_stalled_attempt_is_followed_by_one_that_is_not_stopped_for_it(repo: Repo) -> None:
    script = call("echo 'answer = 42' > src/app.py") + hung + says(claim())
    lines = (FINAL, CHECK, 'idle_timeout = "1500ms"', "retries = 1")
    run = starts(repo, script, *lines, more=QUICK)
    manifest = run.wait()
    assert manifest["status"] == "succeeded", manifest["reason"]
    assert [one["reason"] for one in manifest["attempts"]] == ["stalled", None]


def test_a_thread_that_is_gone_is_followed_by_a_new_one(repo: Repo) -> None:
    forgets = checks('find "$HOME/.codex/sessions" -type f -delete; grep 42 src/app.py')
    run = starts(repo, answers(43) + answers(42), FINAL, forgets, "retries = 1")
    manifest = run.wait()
    assert manifest["status"] == "succeeded", manifest["reason"]
    assert hows(run) == ["first", "resume", "fresh"]


def test_the_timeout_is_of_the_whole_run_and_nothing_follows_it(repo: Repo) -> None:
    script = call("echo 'answer = 43' > src/app.py") + hung + answers(42)
    run = starts(repo, script, FINAL, CHECK, 'timeout = "3s"', "retries = 1", more=QUICK)
    manifest = run.wait()
    assert manifest["reason"]["code"] == "timeout"
    assert hows(run) == ["first"]


def test_each_attempt_of_a_run_with_a_closing_turn_has_its_own(repo: Repo) -> None:
    def attempt(number: int) -> str:
        work = call(f"echo 'answer = {number}' > src/app.py", spends(10))
        return work + says(f"It is {number}.", spends(10)) + says(claim(), spends(10))

    lines = ('output_contract = "closing-turn"', CHECK, "retries = 1")
    run = starts(repo, attempt(43) + attempt(42), *lines)
    manifest = run.wait()
    assert manifest["status"] == "succeeded", manifest["reason"]
    assert hows(run) == ["first", "closing", "resume", "closing"]
    assert manifest["last_message"] == run.file("last-message.md") == "It is 42."
    assert manifest["usage"]["input_tokens"] == 60
    assert "AssertionError: answer = 43" in prompt(run, 3)


def test_a_budget_is_one_for_all_attempts(repo: Repo) -> None:
    script = answers(43, 600) + call("true", spends(600)) + hung
    lines = (FINAL, CHECK, "limits = { tokens = 1000 }", "retries = 1")
    run = starts(repo, script, *lines, more=FRESH)
    waited = run.ask("wait")
    assert waited.status == 7
    manifest = waited.json()
    assert [one["usage"]["input_tokens"] for one in manifest["attempts"]] == [600, 600]
    assert manifest["usage"]["input_tokens"] == 1200


def test_a_resumed_thread_is_counted_once_from_the_first_look_on(repo: Repo) -> None:
    lines = (FINAL, CHECK, "limits = { tokens = 1000 }", "retries = 1")
    run = starts(repo, answers(43, 600) + answers(42, 100), *lines)
    shown: list[int] = []

    def is_done() -> bool:
        manifest = run.on_disk()
        shown.append(manifest["usage"]["input_tokens"] or 0)
        return manifest["phase"] == "done"

    wait_until(is_done, 40, "the end of the run")
    manifest = run.wait()
    assert manifest["status"] == "succeeded", manifest["reason"]
    assert shown == sorted(shown) and shown[-1] == 700
    assert hows(run) == ["first", "resume"] and run.events("warning") == []


def test_a_budget_holds_for_a_run_that_is_quicker_than_the_next_look(repo: Repo) -> None:
    prepares(repo, says(claim(files=[]), spends(900)), FINAL, "limits = { tokens = 800, warn_at = 0.5 }")
    run = repo.start()
    assert run.ask("wait").status == 7
    assert result(run)["row"] == "over_budget"
    assert len(run.events("limit")) == len(run.events("warning")) == 1


def test_a_check_that_passed_in_an_earlier_attempt_and_fails_now_is_a_regression(repo: Repo) -> None:
    breaks = call("rm keep.txt; echo 'answer = 42' > src/app.py") + says(claim())
    both = checks("test -e keep.txt", "grep -q 42 src/app.py")
    run = starts(repo, answers(43) + breaks, FINAL, both, "retries = 1")
    assert run.wait()["status"] == "rejected"
    assert "REGRESSION" in result(run)["failure_codes"]


# -- cancelled and killed --------------------------------------------------------------------------------


def test_a_cancel_while_it_waits_for_its_next_attempt_ends_it_with_its_change_taken_back(repo: Repo) -> None:
    script = call("echo 'answer = 43' > src/app.py") + failed_with(500) + says(claim())
    run = starts(repo, script, FINAL, "retries = 1", more='[recovery]\nbackoff = "60s"\n')
    told(run, "backing_off")
    assert "waits 60 s before attempt 2" in run.status()["last_activity"]
    manifest = run.told("cancel")
    assert (manifest["status"], manifest["reason"]["code"]) == ("cancelled", "cancelled")
    assert manifest["attempt"] == 1
    assert (repo.root / "src/app.py").read_text() == "answer = 41\n"
    assert result(run)["row"] == "cancelled"


def gated(repo: Repo) -> str:
    """Shell text that tells that it runs, and goes on once the gate is open."""
    return f"touch '{repo.home}/begun'; until test -e '{repo.home}/gate'; do sleep 0.05; done"


def held(repo: Repo) -> str:
    """As `gated`, from inside the sandbox: it tells and waits in the repository."""
    return "touch begun; until test -e gate; do sleep 0.05; done"


def test_a_cancel_while_a_check_runs_ends_the_check_and_takes_the_change_back(repo: Repo) -> None:
    run = starts(repo, answers(42), FINAL, checks(gated(repo)), "retries = 1")
    repo.begun(20)
    manifest = run.told("cancel")
    assert (manifest["status"], manifest["attempt"]) == ("cancelled", 1)
    assert (repo.root / "src/app.py").read_text() == "answer = 41\n"


@pytest.mark.parametrize("number", [42, 43])
def test_a_supervisor_that_is_killed_during_a_check_has_a_successor_that_checks_again(
    repo: Repo, number: int
) -> None:
    run = starts(repo, answers(number), FINAL, checks(gated(repo) + "; grep 42 src/app.py"))
    repo.begun(20)
    run.kill_supervisor()
    repo.note("begun").unlink()
    with repo.process("wait", run.id) as waiting:
        repo.begun(20)
        repo.open_gate()
        assert waiting.wait(30) == (0 if number == 42 else 6)
    manifest = run.on_disk()
    assert manifest["status"] == ("succeeded" if number == 42 else "rejected")
    # Nobody watched the tree meanwhile: others may have worked there, so nothing is taken back.
    assert (repo.root / "src/app.py").read_text() == f"answer = {number}\n"
    assert number == 42 or "had no owner for a while" in manifest["reason"]["message"]
    assert len(run.events("ended")) == 1
    wait_until(
        lambda: not any("begun" in " ".join(p.words) for p in of_folder(repo.base)), what="both checks"
    )


@pytest.mark.parametrize("moment", ["plan", "result"])
def test_a_crash_in_the_middle_of_a_rollback_changes_neither_verdict_nor_tree(
    repo: Repo, moment: str
) -> None:
    """Whoever comes next finishes the rollback, and never judges the tree that it has made."""
    many = "for n in $(seq 1500); do echo $n > src/many-$n.txt; done"
    prepares(repo, call(many) + says("Done."), 'verify = [["test", "!", "-e", "src/many-1.txt"]]')
    before = Tree.of(repo)
    run = repo.start()
    journal = run.folder / "rollback.json"
    wait_until(
        lambda: journal.exists() and (moment == "plan" or json.loads(journal.read_bytes())["result"]), 40
    )
    run.kill_supervisor()
    for helper in of_folder(run.folder):
        if "workspace/__main__.py" in " ".join(helper.words):
            kill(helper)
    manifest = run.wait()
    assert (manifest["status"], manifest["reason"]["code"]) == ("rejected", "verify_failed")
    assert Tree.of(repo) == before


def test_a_successor_leaves_alone_what_others_have_done_since(repo: Repo) -> None:
    """The run had no owner when its program ended, and its tree was nobody's: a late rollback would take the
    work of others away.
    """
    script = call(held(repo) + "; echo 'answer = 43' > src/app.py") + says("Done.")
    run = starts(repo, script, CHECK, 'on_failure = "rollback"')
    wait_until((repo.root / "begun").exists, 20)
    child = run.child()
    run.kill_supervisor()
    refused = repo.cli("start", "--task", "work", "--format", "json")
    assert (refused.status, refused.error["code"]) == (9, "workspace_busy"), "the child still has the tree"
    (repo.root / "gate").touch()
    wait_until(lambda: not child.is_still_there(), 20)
    (repo.root / "mine.txt").write_text("mine")
    assert [row["status"] for row in repo.json("list")] in ([], ["verifying"])
    assert run.wait()["status"] == "rejected"
    assert (repo.root / "mine.txt").read_text() == "mine"
    assert (repo.root / "src/app.py").read_text() == "answer = 43\n"


@pytest.mark.parametrize("moment", ["goes on", "has ended"])
def test_a_supervisor_that_is_killed_during_the_second_attempt_has_a_successor(
    repo: Repo, moment: str
) -> None:
    second = call(held(repo) + "; echo 'answer = 42' > src/app.py", spends(30)) + says(claim())
    run = starts(repo, answers(43, 100) + second, FINAL, CHECK, "retries = 1")
    wait_until((repo.root / "begun").exists, 20, "the second attempt")
    child = run.child()
    run.kill_supervisor()
    if moment == "goes on":
        assert run.status()["status"] == "running"
        (repo.root / "gate").touch()
    else:
        (repo.root / "gate").touch()
        wait_until(lambda: not child.is_still_there(), 20, "the end of the second attempt")
    manifest = run.wait()
    assert manifest["status"] == "succeeded", manifest["reason"]
    assert hows(run) == ["first", "resume"]
    assert manifest["usage"]["input_tokens"] == 130
    assert events_of(run, "ended", "escalated") == ["ended"]


def test_a_supervisor_that_is_killed_while_it_waits_has_a_successor_that_waits(repo: Repo) -> None:
    script = call("echo 'answer = 42' > src/app.py") + failed_with(500) + says(claim())
    run = starts(repo, script, FINAL, CHECK, "retries = 1", more='[recovery]\nbackoff = "3s"\n')
    told(run, "backing_off")
    run.kill_supervisor()
    manifest = run.wait()
    assert manifest["status"] == "succeeded", manifest["reason"]
    assert [one["reason"] for one in manifest["attempts"]] == ["cli_failure", None]
    assert all(one["seq"] < other["seq"] for one, other in pairwise(run.events()))
