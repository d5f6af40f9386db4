"""What becomes of the change of a rejected run where its end is fast, or its change cannot be told."""

from __future__ import annotations

import json

import pytest
from support.doubles import FINISHED, THREAD, said
from support.judged import commit
from support.repo import Repo, Run
from support.waiting import wait_until

WRITING = ("--sandbox", "workspace-write")
CHANGE = 'echo "answer = 40" > src/app.py; echo more > new\n'
WRONG = 'verify = [["grep", "-q", "42", "src/app.py"]]'


def rejected(repo: Repo, before: str, *keys: str) -> Run:
    """A run whose agent changes a file wrongly, after `before`, and ends at once."""
    repo.codex(f"cat > /dev/null\n{THREAD}{before}\n{CHANGE}{said('done')}{FINISHED}")
    repo.task(WRONG, *keys)
    if not (repo.root / "keep.txt").exists():
        commit(repo)
    return repo.start(*WRITING)


@pytest.mark.parametrize(
    "before",
    ["", "kill -STOP $PPID; until grep -q '^State:.T' /proc/$PPID/status; do :; done"],
    ids=["fast", "supervisor stopped"],
)
def test_the_change_of_an_agent_that_ends_before_its_supervisor_is_up_is_taken_back(
    repo: Repo, before: str
) -> None:
    manifest = rejected(repo, before).wait()
    assert manifest["status"] == "rejected"
    assert "not all" not in manifest["reason"]["message"]
    assert (repo.root / "src/app.py").read_text() == "answer = 41\n" and not (repo.root / "new").exists()


def test_a_change_that_cannot_be_told_is_said_to_be_still_there(repo: Repo) -> None:
    run = rejected(repo, "mv .git elsewhere")
    manifest = run.wait()
    assert manifest["status"] == "rejected"
    assert "not all was rolled back" in manifest["reason"]["message"]
    (event,) = run.events("rolled_back")
    assert event["refused"]
    assert json.loads(run.file("result.json"))["rolled_back"]["refused"]


def test_a_retry_does_not_answer_for_what_was_taken_back(repo: Repo) -> None:
    """The user has made a file of that name since then."""
    first = rejected(repo, "", 'scope = ["src/**"]')
    assert first.wait()["reason"]["code"] == "scope_violation" and not (repo.root / "new").exists()
    (repo.root / "new").write_text("the user's\n")
    right = 'echo "answer = 42" > src/app.py\n'
    repo.codex(f"cat > /dev/null\n{THREAD}{right}{said('done')}{FINISHED}")
    second = Run(repo, repo.json("retry", first.id)["run_id"], "work")
    assert second.wait()["status"] == "succeeded"
    assert json.loads(second.file("result.json"))["observed"]["changed"] == ["src/app.py"]


def test_what_was_uncommitted_before_is_kept_although_the_change_cannot_be_told(repo: Repo) -> None:
    commit(repo)
    (repo.root / "keep.txt").write_text("edited\n")
    run = rejected(repo, "mv .git elsewhere")
    assert run.wait()["status"] == "rejected"
    assert not run.events("rolled_back"), "without `on_failure` a dirty tree is kept as it is"
    assert (repo.root / "keep.txt").read_text() == "edited\n"


def test_a_fifo_and_a_file_without_an_end_are_told_and_taken_back(repo: Repo) -> None:
    run = rejected(repo, "mkfifo pipe; truncate -s 1T huge; truncate -s 1T keep.txt", 'scope = ["src/**"]')
    manifest = run.wait()
    assert (manifest["status"], manifest["reason"]["code"]) == ("rejected", "scope_violation")
    assert not (repo.root / "pipe").exists() and not (repo.root / "huge").exists()
    assert (repo.root / "keep.txt").stat().st_size < 100
    result = json.loads(run.file("result.json"))
    assert {"pipe", "huge", "keep.txt"} <= {*result["observed"]["changed"]}
    findings = {finding["code"]: finding for finding in result["findings"]}
    assert findings["too_large"]["evidence"] == ["huge", "keep.txt"]
    assert any("pipe" in line for line in findings["not_observed"]["evidence"])


@pytest.mark.parametrize("bound", ['scope = ["docs/**"]', 'protect = ["src/**"]'])
@pytest.mark.parametrize(
    "blind",
    [
        "mkfifo src/.gitattributes",
        "truncate -s 1T src/.gitattributes",
        "git init -q n; rm n/.git/HEAD; mkfifo n/.git/HEAD",
        "d=$(printf %0250d 0); (for n in $(seq 20); do mkdir $d; cd -P $d || exit; done; touch x)",
    ],
)
def test_who_keeps_others_from_a_look_at_his_change_has_not_kept_to_his_bounds(
    repo: Repo, bound: str, blind: str
) -> None:
    repo.codex(f"cat > /dev/null\n{THREAD}{blind}\n{said('done')}{FINISHED}")
    repo.task('verify = [["true"]]', bound)
    commit(repo)
    run = repo.start(*WRITING)
    assert run.wait()["status"] == "rejected"
    (found,) = json.loads(run.file("result.json"))["findings"]
    assert (found["code"], found["severity"]) == ("not_observed", "error")


def test_without_a_scope_a_file_without_an_end_allows_no_success(repo: Repo) -> None:
    repo.quick_codex(before="truncate -s 1T huge")
    repo.task("verify = []")
    commit(repo)
    manifest = repo.start(*WRITING).wait()
    assert manifest["status"] == "rejected" and "too large" in manifest["reason"]["message"]


def test_a_cancel_is_heard_while_the_tree_is_looked_at_and_then_the_change_stays(repo: Repo) -> None:
    git = repo.bin / "git"
    slow = 'case " $* " in *" write-tree "*) touch "$HOME/looking"; exec sleep 600;; esac'
    git.write_text(f'#!/bin/sh\n[ -e "$HOME/slow" ] && {slow}\nexec /usr/bin/git "$@"\n')
    run = rejected(repo, f"cp /bin/true {repo.home}/slow; chmod 755 {git}")
    wait_until(lambda: (repo.home / "looking").exists(), 30, "git is at work")
    manifest = run.told("cancel")
    assert manifest["status"] == "cancelled" and manifest["survivors"] == []
    assert run.tree() == [] and not run.events("rolled_back")
    assert "cancelled while" in run.events("tree_unknown")[0]["message"]
    assert (repo.root / "new").read_text() == "more\n"


def test_a_check_is_no_program_that_the_agent_put_before_it_on_path(repo: Repo) -> None:
    early = repo.root / "node_modules" / ".bin"
    early.mkdir(parents=True)
    (repo.root / ".gitignore").write_text(".runs/\nnode_modules/\n")
    repo.env["PATH"] = f"{early}:{repo.env['PATH']}"
    fake = 'for name in grep git; do printf "#!/bin/sh\\nexit 0\\n" > node_modules/.bin/$name; done'
    run = rejected(repo, f"{fake}; chmod 755 node_modules/.bin/*")
    assert run.wait()["status"] == "rejected", "the real `grep` says no, and the real git takes it back"
    assert (repo.root / "src/app.py").read_text() == "answer = 41\n"
    result = json.loads(run.file("result.json"))
    told = {name for finding in result["findings"] for name in finding["evidence"]}
    assert {"node_modules/.bin/git", "node_modules/.bin/grep"} <= told
