"""One owner writes git: what another run does there is named and put back, and no person is accused."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.doubles import FINISHED, THREAD, said
from support.judged import commit
from support.processes import below, kill
from support.repo import Repo, Run
from support.waiting import wait_until

from runner.state.authentic import write_record

WILD = '[sandboxes.wild]\nlevel = "danger-full-access"\nallow_danger = true\n'
ALL = ("--sandbox", "wild", "--allow-danger")
PASSED = '[runtimes.codex]\nenv = ["GIT_COMMITTER_EMAIL", "GIT_COMMITTER_NAME"]\n'
OTHER = '[tasks.other]\nprompt = "x"\nworkspace = "worktree"\nexpects_change = false\nsandbox = "wild"\n'
BESIDE = """case "$PWD" in
  *worktrees*) touch "$HOME/beside"; until [ -e "$HOME/gate" ]; do sleep 0.05; done;;
  *) touch "$HOME/begun"; until [ -e "$HOME/go" ]; do sleep 0.05; done; git tag made;;
esac"""
"""One in a tree of its own works until the gate is open."""
STAGED = "index: nothing shows who staged it, so only a rollback of the files puts it back"
CHECKED = 'verify = [["sh", "check.sh"]]'
WHO = "-c user.name=a -c user.email=a@b"


def prepared(repo: Repo, script: str, *keys: str, owner: str = "human", more: str = "", **files: str) -> Repo:
    repo.codex(f"cat > /dev/null\n{THREAD}{script}\n{said('done')}{FINISHED}")
    repo.task(*keys, more=f'{WILD}[git]\nowner = "{owner}"\n{more}')
    commit(repo, **files)
    return repo


def result(run: Run) -> Any:
    return json.loads(run.file("result.json"))


def violations(run: Run) -> list[tuple[str, list[str]]]:
    return [
        (one["severity"], one["evidence"])
        for one in result(run)["findings"]
        if one["code"] == "policy_violation"
    ]


def artifact(repo: Repo, kind: str) -> Any:
    """The payload of the one of that kind that runner has told."""
    lines = (repo.runs_folder / "work" / "ledger.jsonl").read_text().splitlines()
    told = [json.loads(line)["payload"] for line in lines]
    (found,) = [one for one in told if one.get("kind") == kind]
    return found


def git(repo: Repo, *words: str) -> str:
    return repo.says(*words).strip()


def test_a_commit_of_a_run_that_is_not_the_owner_is_rejected_and_put_back(repo: Repo) -> None:
    script = (
        f"echo more > new; echo x >> src/app.py; git add -A; git {WHO} commit -qm theirs; git tag -a -m x v1"
    )
    prepared(repo, script)
    before, staged = git(repo, "rev-parse", "HEAD"), git(repo, "ls-files", "-s")
    run = repo.start(*ALL)
    done = run.ask("wait")
    assert done.status == 6
    manifest = run.wait()
    assert (manifest["status"], manifest["reason"]["code"]) == ("rejected", "policy_violation")
    assert "only human may: " in manifest["reason"]["message"]
    branch = git(repo, "symbolic-ref", "HEAD")
    kept = f"refs/runner/rejected/{run.id}/{branch.removeprefix('refs/')}"
    ((severity, evidence), (_, unclear)) = violations(run)
    assert {one.partition(": ")[0] for one in unclear} == {"index new", "index src/app.py"}
    theirs = git(repo, "rev-parse", kept)
    assert severity == "error" and f"{branch}: {before} -> {theirs}" in evidence
    assert (git(repo, "rev-parse", "HEAD"), git(repo, "ls-files", "-s")) == (before, staged)
    assert git(repo, "status", "--porcelain") == "" and not (repo.root / "new").exists()
    assert git(repo, "tag") == "" and git(repo, "show", f"{kept}:new") == "more"
    detail = manifest["reason"]["detail"].splitlines()
    assert f"{branch}: {before} -> {theirs}; put back" in detail and f"kept as {kept}" in detail
    (event,) = run.events("git_put_back")
    assert event["left"] == [STAGED] and {branch, "refs/tags/v1"} == {*event["put"]}
    assert result(run)["put_back"]["kept"] == event["kept"]
    assert "policy_violation" in run.ask("report").stdout


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("echo x > new; git add new", "index new"),
        ("git config core.editor vi", "config core.editor"),
        ("git tag light", "refs/tags/light"),
        ("git branch -D side", "refs/heads/side"),
        ("GIT_COMMITTER_EMAIL=a@b git branch new", "refs/heads/new"),
    ],
)
def test_what_nothing_shows_to_be_the_runs_is_rejected_and_left(repo: Repo, script: str, what: str) -> None:
    prepared(repo, script, 'on_failure = "keep"')
    git(repo, "branch", "side")
    run = repo.start(*ALL)
    manifest = run.wait()
    assert (manifest["status"], manifest["reason"]["code"]) == ("rejected", "policy_violation")
    assert "nothing shows by whom" in manifest["reason"]["message"]
    ((_, (evidence,)),) = violations(run)
    assert evidence.startswith(f"{what}: ")
    (event,) = run.events("git_put_back")
    left = STAGED if what.startswith("index") else f"{what}: nothing shows who did it"
    assert event["put"] == [] and event["left"] == [left]


@pytest.mark.parametrize(
    "script", ["", "git branch x; git branch -D x", "git status; git gc -q; git stash list"]
)
def test_a_run_that_leaves_git_as_it_was_is_not_rejected(repo: Repo, script: str) -> None:
    run = prepared(repo, f"echo x > new; {script}").start(*ALL)
    assert run.wait()["status"] == "succeeded"
    assert violations(run) == [] and not run.events("git_put_back")


@pytest.mark.parametrize("workspace", ["in-place", "worktree"])
def test_a_person_may_commit_while_a_run_works_that_cannot_write_git(repo: Repo, workspace: str) -> None:
    prepared(repo, "", f'workspace = "{workspace}"', 'scope = ["new"]')
    repo.waiting_codex(after="echo x > new")
    run = repo.start("--sandbox", "workspace-write")
    repo.begun()
    (repo.root / "mine").write_text("mine\n")
    git(repo, "add", "mine")
    git(repo, "commit", "-qm", "mine", "--", "mine")
    git(repo, "config", "core.editor", "vi")
    git(repo, "tag", "mine")
    if workspace == "in-place":
        git(repo, "rm", "-q", "--cached", "mine")
        git(repo, "commit", "-qm", "not")
        (repo.root / "mine").unlink()
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"
    found = {one["code"]: one for one in result(run)["findings"]}
    moved = found["refs_moved"]
    assert moved["severity"] == "info" and "keeps the commands of the run from there" in moved["message"]
    assert "policy_violation" not in found and git(repo, "tag") == "mine"
    assert not (run.folder / "git.json").exists()


@pytest.mark.parametrize("caller", ["a@b", "20260101T000000000Z-00000000@runner.invalid"])
def test_whoever_starts_it_a_run_is_itself_for_git(repo: Repo, caller: str) -> None:
    """A run that starts another one has its own mark in its environment."""
    repo.env |= {"GIT_COMMITTER_NAME": "x", "GIT_COMMITTER_EMAIL": caller}
    prepared(repo, 'printenv GIT_COMMITTER_EMAIL > "$HOME/mark"', more=PASSED)
    marks = []
    for options in (ALL, ("--sandbox", "workspace-write")):
        repo.start(*options).wait()
        marks.append(repo.note("mark").read_text().strip())
        repo.note("mark").unlink()
    assert marks == [f"{repo.runs()[0].id}@runner.invalid", caller if caller == "a@b" else ""]


def test_what_runner_starts_for_a_run_is_not_the_run_for_git(repo: Repo) -> None:
    """Its checks before and after it, also under another owner, and those that are asked for later."""
    prepared(repo, "", """verify = [["sh", "-c", "printenv GIT_COMMITTER_EMAIL >> $HOME/checks"]]""")
    repo.waiting_codex(before='printenv GIT_COMMITTER_EMAIL > "$HOME/agent"')
    repo.env |= {"GIT_COMMITTER_EMAIL": "a@b"}
    run = repo.start(*ALL, "--baseline")
    repo.begun()
    kill(run.supervisor())
    repo.env |= {"GIT_COMMITTER_EMAIL": "20260101T000000000Z-00000000@runner.invalid"}
    run.status()
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"
    assert repo.note("agent").read_text() == f"{run.id}@runner.invalid\n"
    assert repo.cli("verify", run.id).status == 0
    assert repo.note("checks").read_text() == "a@b\n" * 3


@pytest.mark.parametrize("owner", ["work", "human"])
def test_the_owner_may_commit_under_a_scope_too(repo: Repo, owner: str) -> None:
    script = (
        f"echo x > new; git add new; git {WHO} commit -qm mine; printenv GIT_COMMITTER_EMAIL > $HOME/mark"
    )
    prepared(repo, script, 'scope = ["new"]', owner=owner)
    run = repo.start(*ALL)
    assert run.wait()["status"] == ("succeeded" if owner == "work" else "rejected")
    mark = (repo.note("mark")).read_text().strip()
    assert mark == ("" if owner == "work" else f"{run.id}@runner.invalid")


def test_a_run_without_a_sandbox_in_a_tree_of_its_own_is_compared_too(repo: Repo) -> None:
    script = f"git {WHO} commit -q --allow-empty -m x; git -C {repo.root} branch made; git add -A"
    prepared(repo, script, 'workspace = "worktree"')
    run = repo.start(*ALL)
    manifest = run.wait()
    assert manifest["reason"]["code"] == "policy_violation"
    ((_, evidence),) = violations(run)
    assert [one.partition(":")[0] for one in evidence] == ["refs/heads/made", "HEAD"]
    assert "made" not in git(repo, "branch")
    kept = f"refs/runner/rejected/{run.id}"
    assert git(repo, "for-each-ref", "--format=%(refname)", kept).splitlines() == [
        f"{kept}/HEAD",
        f"{kept}/heads/made",
    ]


@pytest.mark.parametrize("sandbox", ["wild", "workspace-write", "read-only"])
def test_a_change_is_excused_while_a_run_of_the_owner_works_that_can_write_git(
    repo: Repo, sandbox: str
) -> None:
    prepared(repo, "", owner="other", more=OTHER)
    repo.start("--allow-danger", task="other").wait()
    repo.quick_codex(before="git tag made")
    first = repo.start(*ALL)
    assert first.wait()["status"] == "rejected"
    git(repo, "tag", "-d", "made")
    repo.codex(f"cat > /dev/null\n{THREAD}{BESIDE}\n{said('done')}{FINISHED}")
    other = repo.start("--sandbox", sandbox, "--allow-danger", task="other")
    wait_until(repo.note("beside").exists)
    repo.note("go").touch()
    second = repo.start(*ALL)
    assert second.wait()["status"] == ("succeeded" if sandbox == "wild" else "rejected")
    repo.open_gate()
    assert violations(second)[0][0] == ("warning" if sandbox == "wild" else "error")
    assert git(repo, "tag") == "made"
    other.wait()


@pytest.mark.parametrize("above", ["this run", "a run that is gone", "nobody"])
def test_a_run_of_the_owner_that_this_run_may_have_started_excuses_nothing(
    repo: Repo, above: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(repo, "", owner="other", more=OTHER)
    repo.codex(f"cat > /dev/null\n{THREAD}{BESIDE}\n{said('done')}{FINISHED}")
    other = repo.start("--allow-danger", task="other")
    wait_until(repo.note("beside").exists)
    run = repo.start(*ALL)
    repo.begun()
    monkeypatch.setenv("HOME", repo.env["HOME"])
    names = {"task_id": "work", "run_id": run.id, "manifest_path": run.on_disk()["manifest_path"]}
    parent = {"this run": names, "a run that is gone": {**names, "run_id": f"{run.id[:-8]}00000000"}}
    declared = json.loads(other.file("invocation.json")) | {"parent": parent.get(above)}
    del declared["mac"]
    write_record(str(other.folder / "invocation.json"), declared)
    repo.note("go").touch()
    assert run.wait()["status"] == ("succeeded" if above == "nobody" else "rejected")
    assert violations(run)[0][0] == ("warning" if above == "nobody" else "error")
    repo.open_gate()
    other.wait()


def test_a_run_of_the_owner_that_nobody_made_here_or_that_was_killed_excuses_nothing(repo: Repo) -> None:
    prepared(repo, "", owner="other", more=OTHER)
    repo.waiting_codex()
    other = repo.start("--allow-danger", task="other")
    repo.begun()
    for process in (supervisor := other.supervisor(), *below(supervisor.pid)):
        kill(process)
    stranger = other.folder.with_name(f"{other.id[:-8]}00000000")
    stranger.mkdir()
    told = {**other.on_disk(), "run_id": stranger.name}
    (stranger / "manifest.json").write_text(json.dumps(told).replace(other.id, stranger.name))
    lock = (stranger / "run.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    repo.codex(f"cat > /dev/null\n{THREAD}git tag made\n{said('done')}{FINISHED}")
    run = repo.start(*ALL)
    assert run.wait()["status"] == "rejected" and violations(run)[0][0] == "error"
    assert other.on_disk()["ended_at"] is None, "nobody has looked after it meanwhile"
    lock.close()
    git(repo, "tag", "-d", "made")
    repo.note("begun").unlink()
    repo.waiting_codex(before="git tag made")
    late = repo.start(*ALL)
    repo.begun()
    assert other.wait()["status"] == "lost"
    repo.open_gate()
    assert late.wait()["status"] == "rejected"


def test_with_a_broken_ledger_of_ours_no_run_of_its_task_starts(repo: Repo) -> None:
    prepared(repo, "", owner="work")
    assert repo.cli("ledger", "coordinator", "work", "human").status == 0
    assert repo.start(*ALL).wait()["status"] == "succeeded"
    ledger = repo.root / ".runs" / "work" / "ledger.jsonl"
    with ledger.open("a") as file:
        file.write("x\n")
    refused = repo.cli("start", "--task", "work", *ALL, "--format", "json")
    assert refused.status == 9 and refused.error["code"] == "ledger_broken"
    assert "--set-aside" in refused.error["hint"] and len(repo.runs()) == 1
    assert repo.cli("ledger", "verify", "work", "--set-aside").status == 0
    assert repo.start(*ALL).wait()["status"] == "succeeded"


def test_what_a_check_writes_of_git_is_told_as_a_doubt_and_nobody_is_rejected(repo: Repo) -> None:
    prepared(
        repo,
        f"echo 'git {WHO} commit -q --allow-empty -m x; git tag made' > called",
        CHECKED,
        **{"check.sh": "git config core.editor vi; git add -A; sh called"},
    )
    run = repo.start("--sandbox", "workspace-write")
    assert run.wait()["status"] == "succeeded"
    ((severity, evidence),) = violations(run)
    branch = git(repo, "symbolic-ref", "HEAD")
    names = ["config core.editor", "index", branch, "refs/tags/made"]
    assert severity == "warning" and [one.partition(": ")[0] for one in evidence] == names
    assert not run.events("git_put_back") and git(repo, "tag") == "made"
    told = artifact(repo, "test_report")
    assert told["status"] == "unknown" and "git was written while its checks ran" in told["title"]


@pytest.mark.parametrize("write", ["git tag made", "true"])
@pytest.mark.parametrize("end", ["exit 1", 'until [ -e "$HOME/gate" ]; do sleep 0.05; done'])
def test_what_earlier_checks_wrote_of_git_stays_a_doubt(repo: Repo, write: str, end: str) -> None:
    check = f'[ -e "$HOME/begun" ] && exit 0; {write}; touch "$HOME/begun"; {end}'
    prepared(repo, "echo x > new", CHECKED, "retries = 1", **{"check.sh": check})
    run = repo.start("--sandbox", "workspace-write")
    if end != "exit 1":
        repo.begun()
        run.kill_supervisor()
    assert run.wait()["status"] == "succeeded" and run.events("checked")[-1]["exit_code"] == 0
    is_written = write != "true"
    assert [severity for severity, _ in violations(run)] == ["warning"] * is_written
    assert artifact(repo, "test_report")["status"] == ("unknown" if is_written else "passed")


@pytest.mark.parametrize("check", ["git status", "git fetch -q", "git stash list; git gc -q", "false"])
def test_a_check_that_leaves_git_as_it_was_is_no_doubt(repo: Repo, check: str) -> None:
    prepared(repo, "echo x > new", CHECKED, **{"check.sh": check})
    git(repo, "remote", "add", "origin", str(repo.root))
    run = repo.start(*ALL)
    assert run.wait()["status"] == ("rejected" if check == "false" else "succeeded")
    assert violations(run) == [] and artifact(repo, "test_report")["status"] != "unknown"


def test_a_check_that_takes_git_away_leaves_it_unknown(repo: Repo) -> None:
    prepared(repo, "", CHECKED, **{"check.sh": "mv .git/HEAD .git/gone"})
    run = repo.start(*ALL)
    assert run.wait()["status"] == "succeeded"
    found = {one["code"]: one for one in result(run)["findings"]}
    assert found["not_observed"]["severity"] == "warning" and violations(run) == []
    assert artifact(repo, "test_report")["status"] == "unknown"


@pytest.mark.parametrize("name", ["git.json", "workspace.json"])
def test_a_run_that_removes_the_record_of_before_has_no_success(repo: Repo, name: str) -> None:
    script = f"git {WHO} commit -q --allow-empty -m x; rm {repo.root}/.runs/work/cli/*/{name}"
    prepared(repo, script, "expects_change = false")
    run = repo.start(*ALL)
    manifest = run.wait()
    assert (manifest["status"], manifest["reason"]["code"]) == ("rejected", "verify_failed")
    assert "the record of before is missing" in manifest["reason"]["message"]
    (found,) = [one for one in result(run)["findings"] if one["code"] == "not_observed"]
    assert found["severity"] == "error"
    patch = artifact(repo, "patch_summary")
    seen = [("0 files changed", "skipped"), ("what was changed is not known", "failed")]
    assert (patch["title"], patch["status"]) == seen[name == "workspace.json"]
    assert "not_observed" in patch["summary"]


@pytest.mark.parametrize(("sandbox", "told"), [("workspace-write", "unknown"), ("read-only", "passed")])
def test_a_tag_that_a_fetch_brings_during_the_checks_is_a_doubt_but_of_a_reader(
    repo: Repo, tmp_path: Path, sandbox: str, told: str
) -> None:
    prepared(repo, "", CHECKED, "expects_change = false", **{"check.sh": "git fetch -q origin"})
    git(repo, "clone", "-q", "--bare", ".", str(tmp_path / "theirs"))
    git(repo, "remote", "add", "origin", str(tmp_path / "theirs"))
    git(repo, "-C", str(tmp_path / "theirs"), "tag", "v1")
    run = repo.start("--sandbox", sandbox)
    assert run.wait()["status"] == "succeeded" and git(repo, "tag") == "v1"
    assert artifact(repo, "test_report")["status"] == told
    assert len(violations(run)) == (told == "unknown")


def test_outside_of_git_nothing_was_in_reach(repo: Repo) -> None:
    repo.codex(f"cat > /dev/null\n{THREAD}{said('done')}{FINISHED}")
    repo.task(more=f'{WILD}[git]\nowner = "human"\n')
    assert repo.start(*ALL).wait()["status"] == "succeeded"


def test_of_each_thing_that_is_left_the_reason_says_why(repo: Repo) -> None:
    prepared(repo, "git config 'a.b: c.d' v; git tag made")
    run = repo.start(*ALL)
    detail = run.wait()["reason"]["detail"].splitlines()
    assert "refs/tags/made: none -> " in detail[0] and detail[0].endswith("; left: nothing shows who did it")
    assert detail[1:] == ["config a.b: c.d: none -> v", "config a.b: c.d: left: nothing shows who did it"]


@pytest.mark.parametrize("name", ["git-after.json", "workspace.json"])
def test_where_nothing_can_be_put_back_the_reason_says_why(repo: Repo, name: str) -> None:
    prepared(repo, "git tag made", CHECKED, **{"check.sh": f"rm .runs/work/cli/*/{name}"})
    run = repo.start(*ALL)
    left = run.wait()["reason"]["detail"].splitlines()[1]
    assert left.startswith("git: left: ") and left != "git: left: "


def test_a_cancelled_run_stays_cancelled_and_its_commit_is_put_back(repo: Repo) -> None:
    prepared(repo, "")
    repo.waiting_codex(before=f"git {WHO} commit -q --allow-empty -m theirs")
    head = git(repo, "rev-parse", "HEAD")
    run = repo.start(*ALL)
    repo.begun()
    assert run.ask("cancel").status == 0
    manifest = run.wait()
    assert (manifest["status"], manifest["reason"]["code"]) == ("cancelled", "cancelled")
    assert ": put back\nkept as refs/runner/rejected/" in manifest["reason"]["detail"]
    assert git(repo, "rev-parse", "HEAD") == head and len(violations(run)) == 1


def test_nothing_is_recorded_where_nobody_owns_git(repo: Repo) -> None:
    repo.codex(f"cat > /dev/null\n{THREAD}git tag x\n{said('done')}{FINISHED}")
    repo.task(more=WILD)
    commit(repo)
    run = repo.start(*ALL)
    assert run.wait()["status"] == "succeeded"
    assert result(run)["observed"]["git"] is None and not (run.folder / "git.json").exists()


def test_who_a_person_names_in_the_ledger_is_the_owner(repo: Repo) -> None:
    prepared(repo, "git tag made", owner="work")
    assert repo.start(*ALL).wait()["status"] == "succeeded"
    git(repo, "tag", "-d", "made")
    words = (
        "from runner.ledger.file import Ledger\nfrom runner.usecases.ledger import Author, set_coordinator\n"
        f"set_coordinator(Ledger({str(repo.root)!r}, 'work'), Author('human'), 'human')"
    )
    subprocess.run([sys.executable, "-c", words], env=repo.env, check=True)
    run = repo.start(*ALL)
    assert run.wait()["reason"]["code"] == "policy_violation"
    assert json.loads(run.file("invocation.json"))["git_owner"] == "human"


SLOW = """#!/bin/sh
case "$*" in *"{step}"*)
  touch "$HOME/putting"
  until [ -e "$HOME/go" ]; do sleep 0.05; done ;;
esac
exec /usr/bin/git "$@"
"""


@pytest.mark.parametrize("step", ["update-ref --no-deref refs/runner/rejected", "runner: put back"])
def test_killed_while_it_puts_back_another_owner_goes_on(repo: Repo, step: str) -> None:
    prepared(repo, f"echo more > new; git switch -q -c side; git add -A; git {WHO} commit -qm theirs")
    before = (git(repo, "for-each-ref"), git(repo, "symbolic-ref", "HEAD"))
    slow = repo.bin / "git"
    slow.write_text(SLOW.format(step=step))
    slow.chmod(0o755)
    run = repo.start(*ALL)
    wait_until(repo.note("putting").exists)
    supervisor = run.supervisor()
    for process in (supervisor, *below(supervisor.pid)):
        kill(process)
    repo.note("go").touch()
    reason = run.wait()["reason"]
    assert reason["code"] == "policy_violation"
    assert "not all was rolled back" not in reason["message"]
    assert git(repo, "status", "--porcelain") == "" and not (repo.root / "new").exists()
    for name in (done := result(run)["put_back"])["kept"]:
        git(repo, "update-ref", "-d", name)
    assert done["left"] == [STAGED] and {*done["put"]} == {"HEAD", "refs/heads/side"}
    after = (git(repo, "for-each-ref"), git(repo, "symbolic-ref", "HEAD"))
    assert after == before
    assert [path.name for path in (repo.root / ".git").rglob("*.lock")] == ["runner-writer.lock"]
