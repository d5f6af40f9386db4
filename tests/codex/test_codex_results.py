"""The real Codex against a scripted model: every way in which a run can end, as it is judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from altering_codex import install_altering_codex
from support.codex import codex_path
from support.judged import (
    Tree,
    call,
    checks,
    claim,
    failed_with,
    hung,
    prepares,
    result,
    says,
    spends,
    starts,
)
from support.processes import kill
from support.repo import Repo, Run
from support.waiting import wait_until

FINAL = 'output_contract = "final"'
WORK = call("echo 'answer = 42' > src/app.py; echo new > src/new.txt")
CLAIM = ("src/app.py", "src/new.txt")
DONE = claim(files=CLAIM)


def is_kept(repo: Repo) -> bool:
    """Whether all of WORK is there; not all and not nothing is neither."""
    found = ((repo.root / "src/new.txt").exists(), (repo.root / "src/app.py").read_text() == "answer = 42\n")
    assert found[0] == found[1], found
    return found[0]


def judged(run: Run, exit_status: int, status: str, row: str, code: str) -> dict[str, Any]:
    """The end is this one, wherever it is told; its result."""
    waited = run.ask("wait")
    manifest = waited.json()
    found = result(run)
    seen = (waited.status, manifest["status"], found["row"], found["class"])
    assert seen == (exit_status, status, row, code), (manifest["reason"], run.file("supervisor.log"))
    assert run.events("ended")[-1]["outcome"] == status
    return found


ROWS = {
    "completed": (WORK + says(DONE), 0, "succeeded", "completed", True),
    "completed in a fence": (WORK + says(f"```json\n{DONE}\n```"), 0, "succeeded", "completed", True),
    "nothing": (WORK + says(" "), 1, "failed", "result_missing", False),
    "prose": (WORK + says("All done, boss."), 1, "failed", "result_invalid", False),
    "cut off": (WORK + says(DONE[:-9]), 1, "failed", "result_invalid", False),
    "a field too many": (WORK + says(claim(files=CLAIM, mood="good")), 1, "failed", "result_invalid", False),
    "in a quotation": (WORK + says(f"As asked: {DONE} Bye."), 1, "failed", "result_invalid", False),
    "failed": (WORK + says(claim("failed", CLAIM)), 1, "failed", "task_failed", False),
    "partial": (WORK + says(claim("partial", CLAIM)), 1, "failed", "partial", True),
    "wider scope": (
        WORK + says(claim("partial", CLAIM, issues=["Scope expansion: lib/x.py has to change"])),
        1,
        "failed",
        "scope_expansion",
        True,
    ),
    "no change": (call("cat src/app.py") + says(claim(files=())), 6, "rejected", "empty_diff", False),
    "500": (WORK + failed_with(500), 1, "failed", "cli_failure", False),
    "401": (WORK + failed_with(401, "no such key"), 1, "failed", "auth_or_quota", False),
    "429": (WORK + failed_with(429), 1, "failed", "auth_or_quota", False),
}
NAMES = {
    "result_missing": "no_result",
    "result_invalid": "bad_result",
    "scope_expansion": "narrow_scope",
    "empty_diff": "nothing_done",
}
OTHERS = {"500": "provider", "401": "no_access", "429": "rate_limited"}


@pytest.mark.parametrize("case", ROWS)
def test_what_the_agent_ends_with_decides_the_row_and_the_fate_of_its_change(repo: Repo, case: str) -> None:
    script, exit_status, status, code, kept = ROWS[case]
    before = Tree.of(prepares(repo, script, FINAL))
    run = repo.start()
    found = judged(run, exit_status, status, OTHERS.get(case) or NAMES.get(code, code), code)
    assert run.on_disk()["reason"]["code"] == code
    assert is_kept(repo) is kept
    changed = [] if case == "no change" else list(CLAIM)
    assert found["observed"]["changed"] == changed
    if not kept:
        assert Tree.of(repo) == before
        patch = run.folder / "discarded.patch"
        assert patch.exists() == bool(changed)
        assert not changed or b"+answer = 42" in patch.read_bytes()


def test_a_run_that_lies_about_its_tests_is_rejected_and_its_change_taken_back(repo: Repo) -> None:
    lie = claim(files=CLAIM, verification_summary="python test_app.py: passed")
    test = "test -e src/new.txt && { echo 'AssertionError: 1'; exit 3; }"
    before = Tree.of(prepares(repo, WORK + says(lie), FINAL, checks("true", test, "touch never")))
    run = repo.start()
    found = judged(run, 6, "rejected", "refuted", "verify_failed")
    assert Tree.of(repo) == before
    assert [check["exit_code"] for check in found["checks"]] == [0, 3], "no check after the first that fails"
    assert "AssertionError: 1" in run.file("verify-2.log")
    assert found["claim"]["verification_summary"] == "python test_app.py: passed"
    assert "claim_contradicted" in [finding["code"] for finding in found["findings"]]
    assert found["failure_codes"] == ["WRONG_LOGIC", "UNVERIFIED_ASSUMPTION"]
    assert found["rolled_back"]["restored"] == ["src/app.py"]
    assert found["rolled_back"]["removed"] == ["src/new.txt"]
    repo.says("apply", str(run.folder / "discarded.patch"))
    assert is_kept(repo), "what was taken back is not lost"
    report = run.ask("report").json()
    assert report["run_id"] == run.id


def test_a_change_outside_the_scope_is_a_violation_and_one_inside_is_not(repo: Repo) -> None:
    outside = call("echo x >> keep.txt; echo y > 'docs/a b.md'; echo z >> src/app.py")
    before = Tree.of(prepares(repo, outside + says(claim()), FINAL, 'scope = ["src/**"]', checks("true")))
    run = repo.start()
    found = judged(run, 6, "rejected", "out_of_scope", "scope_violation")
    (violation,) = (one for one in found["findings"] if one["code"] == "scope_violation")
    assert violation["evidence"] == ["docs/a b.md", "keep.txt"]
    assert found["failure_codes"] == ["WRONG_FILE"]
    assert Tree.of(repo) == before
    repo.script(call("echo z >> src/app.py") + says(claim()))
    repo.says("commit", "-qam", "another script")
    judged(repo.start(), 0, "succeeded", "completed", "completed")


def test_a_status_block_is_read_from_the_last_message_alone(repo: Repo) -> None:
    first = '[[turns]]\nmessage = "STATUS: SUCCESS"\nshell = "echo new > src/new.txt"\n'
    block = "I stop.\n\nSTATUS: BLOCKED\nFILES_CHANGED: [src/new.txt]\nBLOCKER: the database has no schema\n"
    run = starts(repo, first + says(block), 'output_contract = "status-block"')
    found = judged(run, 1, "failed", "blocked", "blocked")
    assert "the database has no schema" in run.on_disk()["reason"]["message"]
    assert found["claim"]["files_modified"] == ["src/new.txt"]
    assert (repo.root / "src/new.txt").exists(), "what a person has to look at is there"
    assert "STATUS" in run.file("prompt.md")


@pytest.mark.parametrize(
    ("last", "word"), [("STATUS: SUCCESS | PARTIAL | FAILED", "template"), ("All done.", "no STATUS block")]
)
def test_a_template_and_a_missing_block_are_no_report(repo: Repo, last: str, word: str) -> None:
    run = starts(repo, call("echo n > n") + says(last), 'output_contract = "status-block"')
    judged(run, 1, "failed", "bad_result", "result_invalid")
    assert word in run.on_disk()["reason"]["message"]
    assert not (repo.root / "n").exists()


def test_a_closing_turn_asks_for_the_result_and_the_last_message_stays_that_of_the_work(repo: Repo) -> None:
    script = WORK + says("The answer is 42 now.", spends(70)) + says(DONE, spends(30))
    run = starts(repo, script, 'output_contract = "closing-turn"', checks("grep 42 src/app.py"))
    found = judged(run, 0, "succeeded", "completed", "completed")
    manifest = run.on_disk()
    assert manifest["last_message"] == run.file("last-message.md") == "The answer is 42 now."
    assert found["claim"]["files_modified"] == list(CLAIM)
    assert [one["how"] for one in manifest["attempts"]] == ["first", "closing"]
    assert len({one["thread_id"] for one in manifest["attempts"]}) == 1
    assert "--output-schema" not in json.loads(run.file("invocation.json"))["argv"]
    assert "--output-schema" in manifest["attempts"][1]["argv"]
    assert manifest["usage"]["input_tokens"] == 100
    assert "output contract" in run.file("prompt-2.md")


def test_a_closing_turn_that_brings_nothing_leaves_a_run_without_a_result(repo: Repo) -> None:
    script = WORK + says("The answer is 42 now.") + failed_with(500)
    run = starts(repo, script, 'output_contract = "closing-turn"')
    judged(run, 1, "failed", "no_result", "result_missing")
    assert not is_kept(repo)
    assert run.on_disk()["last_message"] == "The answer is 42 now."


# -- ends that somebody or something else brings about ----------------------------------------------------


def worked(run: Run) -> None:
    """Until WORK is done."""
    wait_until((run.repo.root / "src/new.txt").exists, 20, "the work")


def test_a_cancelled_run_has_its_change_taken_back(repo: Repo) -> None:
    run = starts(repo, WORK + hung, FINAL)
    worked(run)
    run.told("cancel")
    judged(run, 1, "cancelled", "cancelled", "cancelled")
    assert not is_kept(repo)


@pytest.mark.parametrize(
    ("limit", "code"), [('timeout = "2500ms"', "timeout"), ('idle_timeout = "1500ms"', "stalled")]
)
def test_a_run_without_an_end_is_ended(repo: Repo, limit: str, code: str) -> None:
    run = starts(repo, WORK + hung, FINAL, limit)
    judged(run, 3, "timed_out", code, code)
    assert not is_kept(repo)
    warned = [event["code"] for event in run.events("warning")]
    assert warned == (["timeout"] if code == "timeout" else [])


def test_an_end_that_nobody_saw_is_lost_and_the_change_is_kept(repo: Repo) -> None:
    run = starts(repo, WORK + hung, FINAL)
    worked(run)
    child = run.child()
    run.kill_supervisor()
    kill(child)
    wait_until(lambda: not child.is_still_there(), what="the child's death")
    judged(run, 1, "lost", "lost", "lost")
    assert is_kept(repo)


@pytest.mark.parametrize(
    ("keys", "code", "used", "most"),
    [
        ("limits = { tokens = 1000 }", "tokens", 800, 1000),
        (
            'limits.price = 1.0\nmodel = "priced"\n[models.priced]\nmodel = "gpt-5"\n'
            "price = { input = 1000, cached = 0, output = 0 }",
            *("price", 0.8, 1.0),
        ),
    ],
)
def test_a_spent_budget_warns_and_then_ends_the_run_and_the_tokens_are_known_after_the_kill(
    repo: Repo, keys: str, code: str, used: float, most: float
) -> None:
    told = f"until grep -qs warning '{repo.runs_folder}'/work/cli/*/events.jsonl; do sleep 0.05; done"
    turns = WORK + "".join(call(text, spends(400)) for text in ("echo 1", told, "echo 3")) + hung
    run = starts(repo, turns, FINAL, keys)
    found = judged(run, 7, "failed", "over_budget", "budget_exceeded")
    assert not is_kept(repo)
    manifest = run.on_disk()
    assert manifest["usage"]["input_tokens"] == manifest["attempts"][0]["usage"]["input_tokens"] == 1200
    assert "turn.completed" not in run.file("stdout.jsonl"), "the stream itself never told"
    (warning,) = run.events("warning")
    assert (warning["code"], warning["used"], warning["limit"]) == (code, used, most)
    (limit,) = run.events("limit")
    assert limit["seq"] > warning["seq"]
    assert found["failure_codes"] == ["TRIAL_INCOMPLETE"]


@pytest.mark.parametrize("how", ["enforce", "report"])
def test_a_read_only_run_that_is_made_to_write_is_stopped_or_told(repo: Repo, how: str) -> None:
    install_altering_codex(repo.bin, codex_path(), {"read-only": "workspace-write"})
    turns = "[[turns]]\ndelay = '8s'\nshell = 'touch written'\n" + says("Looked.")
    if how == "report":
        turns = turns.replace("8s", "1500ms")
    run = starts(repo, turns, f'conformance = "{how}"', sandbox="read-only")
    manifest = run.wait()
    assert manifest["conformance"]["sandbox"] == {
        "declared": "read-only",
        "observed": "workspace-write",
        "verdict": "drift",
    }
    (finding,) = (one for one in result(run)["findings"] if one["code"] == "config_drift")
    assert (repo.root / "written").exists() is (how == "report")
    assert [event["code"] for event in run.events("warning")] == ["config_drift"]
    if how == "enforce":
        assert judged(run, 1, "failed", "drifted", "config_drift")
        assert "workspace-write" in manifest["reason"]["message"]
    else:
        assert finding["severity"] == "warning"
        assert manifest["status"] == "succeeded"


# -- the tree of the user ---------------------------------------------------------------------------------


def dirty(repo: Repo) -> Tree:
    """Staged, changed, untracked, odd names: all the user's."""
    for name, text in {"untracked.txt": "u", "src/mine new.py": "m", "-rf": "r", "src/a\nb": "n"}.items():
        (repo.root / name).write_text(text)
    (repo.root / "src/mine new.py").chmod(0o755)
    (repo.root / "staged.txt").write_text("staged")
    repo.says("add", "staged.txt")
    (repo.root / "keep.txt").write_text("edited and not staged")
    return Tree.of(repo)


MESS = call(
    "echo 'answer = 42' > src/app.py; echo new > src/new.txt; echo x > keep.txt; rm untracked.txt ./-rf;"
    " echo y >> staged.txt; chmod 644 'src/mine new.py'; mkdir deep; echo z > 'deep/a b'; rm docs/*"
)


@pytest.mark.parametrize("on_failure", ["rollback", "keep", None])
def test_a_rollback_restores_what_the_user_had_and_by_default_nothing_dirty_is_touched(
    repo: Repo, on_failure: str | None
) -> None:
    lines = [] if on_failure is None else [f'on_failure = "{on_failure}"']
    prepares(repo, MESS + says(claim("failed")), FINAL, *lines)
    before = dirty(repo)
    run = repo.start()
    judged(run, 1, "failed", "task_failed", "task_failed")
    if on_failure == "rollback":
        assert Tree.of(repo) == before
        assert len(run.events("rolled_back")) == 1
    else:
        assert is_kept(repo)
        assert not (repo.root / "-rf").exists()
        assert run.events("rolled_back") == []


def test_a_commit_that_was_not_allowed_is_a_violation_and_head_stays_where_it_is(repo: Repo) -> None:
    wild = '[sandboxes.wild]\nlevel = "danger-full-access"\nallow_danger = true\n'
    script = call("echo x > src/app.py; git -c user.name=a -c user.email=b@c commit -qam sneaky")
    prepares(repo, script + says(claim()), FINAL, more=wild, sandbox="wild")
    base = repo.says("rev-parse", "HEAD")
    run = repo.start("--allow-danger")
    found = judged(run, 6, "rejected", "out_of_scope", "scope_violation")
    assert {one["code"] for one in found["findings"]} >= {"head_moved"}
    assert repo.says("rev-parse", "HEAD^") == base, "a rollback does not move HEAD"
    assert found["rolled_back"]["refused"]


def test_a_worktree_run_leaves_the_users_tree_alone_until_somebody_accepts_it(repo: Repo) -> None:
    prepares(repo, WORK + says(DONE), FINAL, 'workspace = "worktree"', checks("grep 42 src/app.py"))
    before = dirty(repo)
    run = repo.start()
    found = judged(run, 0, "succeeded", "completed", "completed")
    assert Tree.of(repo).files == before.files and Tree.of(repo).index == before.index
    place = run.on_disk()["workspace"]
    assert place["kind"] == "worktree" and not place["path"].startswith(str(repo.root))
    assert found["observed"]["changed"] == list(CLAIM)
    assert (repo.base / place["path"] / "src/app.py").read_text() == "answer = 42\n"
    assert (repo.base / place["path"] / "keep.txt").read_text() == "kept\n", "of the commit"
    repo.cli("discard", run.id)


# -- two writers ------------------------------------------------------------------------------------------


def is_asleep(pid: int) -> bool:
    """Whether it waits for a time and not for a file, a pipe or a lock."""
    return "nanosleep" in Path(f"/proc/{pid}/wchan").read_text()


def test_a_second_writer_is_refused_and_told_who_the_first_is(repo: Repo) -> None:
    first = starts(repo, WORK + hung)
    worked(first)
    refused = repo.cli("start", "--task", "work", "--format", "json")
    assert refused.status == 9
    assert first.id in refused.error["message"]
    assert len(repo.runs()) == 1
    first.told("cancel")


SECOND = "schema_version = 1\n" + call("echo two > src/two.txt") + says("done")


def test_a_second_writer_may_have_a_tree_of_its_own(repo: Repo) -> None:
    first = starts(repo, WORK + hung, 'on_conflict = "worktree"', **{"second.toml": SECOND})
    worked(first)
    second = repo.start("--rehearse", "second.toml")
    assert second.wait()["workspace"]["kind"] == "worktree"
    assert not (repo.root / "src/two.txt").exists()
    assert first.status()["status"] == "running"
    repo.cli("discard", second.id)
    first.told("cancel")


def test_a_second_writer_may_wait_for_the_first(repo: Repo) -> None:
    first = starts(repo, WORK + hung, 'on_conflict = "queue"', **{"second.toml": SECOND})
    worked(first)
    words = ("start", "--task", "work", "--rehearse", "second.toml", "--format", "json")
    with repo.process(*words) as waiting:
        wait_until(lambda: is_asleep(waiting.pid), what="the wait for the lease")
        assert waiting.poll() is None and not (repo.root / "src/two.txt").exists()
        first.told("cancel")
        out, _ = waiting.communicate(timeout=30)
    second = Run(repo, json.loads(out)["run_id"])
    ended = second.wait()
    assert ended["status"] == "succeeded"
    assert ended["workspace"]["kind"] == "in-place"
    assert (repo.root / "src/two.txt").exists()
    assert ended["started_at"] >= first.on_disk()["ended_at"]


def test_a_review_ends_with_findings_whose_places_are_looked_up(repo: Repo) -> None:
    """A task that looks and writes nothing is not missed a change, whatever its sandbox lets it do."""
    one = {
        "severity": "minor",
        "file": "src/app.py",
        "line": 99,
        "title": "x",
        "detail": "d",
        "evidence": "e",
    }
    found = [one, one | {"severity": "critical", "file": "./src/app.py", "line": 1}]
    last = json.dumps({"status": "completed", "summary": "Looked.", "findings": found})
    run = starts(repo, call("cat src/app.py") + says(last), 'output_contract = "findings"')
    judged(run, 0, "succeeded", "completed", "completed")
    report = run.ask("report").json()
    places = [(one["file"], one["place"]) for one in report["review_findings"]]
    assert places == [("src/app.py", "found"), ("src/app.py", "no_line")]
    assert [one["code"] for one in report["findings"]] == ["place_missing"]
    assert "`severity`" in run.file("prompt.md")


def test_findings_that_are_no_json_are_no_review(repo: Repo) -> None:
    run = starts(repo, call("true") + says("Nothing found."), 'output_contract = "findings"')
    judged(run, 1, "failed", "bad_result", "result_invalid")
    assert run.ask("report").json()["review_findings"] is None
