"""What is run before there is an agent, or without one: `prepare`, `start --baseline` and `verify`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.doubles import FINISHED, THREAD, said
from support.ended import commit
from support.processes import look
from support.repo import RUNNER, Repo, Run
from support.waiting import wait_until

from runner.processes.proc import boottime

MAKES = "mkdir out; echo $RUNNER_RUN_ID > out/made; echo $SERVICE_WORD; (sleep 300 & echo $! > $HOME/left)"


def prepared(repo: Repo, *commands: list[str] | str, workspace: str = "worktree", more: str = "") -> Repo:
    commit(repo.root, **{".gitignore": ".runs/\nout/\n"})
    repo.quick_codex(before='echo agent >> "$HOME/agents"; cat out/made > "$HOME/seen"')
    keys = (f"prepare = {json.dumps(commands)}", f'workspace = "{workspace}"', 'prepare_timeout = "20s"')
    return repo.task(*keys, 'verify = [["test", "-s", "out/made"]]', more=more)


def trees(repo: Repo) -> int:
    told = subprocess.run(["git", "worktree", "list"], cwd=repo.root, capture_output=True, check=True)
    return len(told.stdout.splitlines()) - 1


def has_ended(repo: Repo, note: str) -> bool:
    seen = look(int(repo.note(note).read_text()))
    return seen is None or not seen.is_alive


def only_run(repo: Repo) -> Run:
    (run,) = repo.runs()
    return run


def test_a_work_tree_is_prepared_before_the_agent_and_its_logs_are_sealed(repo: Repo) -> None:
    prepared(repo, ["sh", "-c", MAKES], "true", more='[runtimes.codex]\nenv = ["SERVICE_WORD"]\n')
    word = "a-long-word-that-is-a-secret-0123456789"
    run = repo.start(env={"SERVICE_WORD": word})
    assert run.ask("wait").json()["status"] == "succeeded"
    assert repo.note("seen").read_text().strip() == run.id
    assert [event["argv"][0] for event in run.events("prepared")] == ["sh", "true"]
    wait_until(lambda: run.events("sealed"))  # after the end, when nobody waits any more
    assert word not in run.file("prepare-1.log")
    assert has_ended(repo, "left")
    assert run.ask("diff").json()["files"] == []


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["sh", "-c", "echo why; exit 3"], "exited with 3"),
        (["sh", "-c", "echo > new"], "files that git does not ignore: new"),
        (["sh", "-c", "echo >> .gitignore"], "files that git does not ignore: .gitignore"),
        (["./not-there"], "could not be run"),
        (
            ["sh", "-c", "git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x"],
            "HEAD, which moved",
        ),
    ],
)
def test_no_agent_starts_where_the_work_tree_could_not_be_prepared(
    repo: Repo, command: list[str], told: str
) -> None:
    prepared(
        repo, ["sh", "-c", "echo $SERVICE_WORD"], command, more='[runtimes.codex]\nenv = ["SERVICE_WORD"]\n'
    )
    word = "a-long-word-that-is-a-secret-0123456789"
    refused = repo.cli("start", "--task", "work", "--format", "json", env={"SERVICE_WORD": word})
    assert (refused.status, refused.error["code"]) == (8, "prepare_failed")
    manifest = only_run(repo).on_disk()
    assert word not in only_run(repo).file("prepare-1.log")
    assert (manifest["outcome"], manifest["reason"]["code"]) == ("failed", "prepare_failed")
    assert told in manifest["reason"]["message"]
    assert not repo.note("agents").exists()
    assert trees(repo) == 0


@pytest.mark.parametrize("does", ["nothing", "edits", "adds"])
def test_what_was_prepared_is_no_change_of_the_agent_and_what_it_does_to_it_is(repo: Repo, does: str) -> None:
    commit(repo.root, **{".gitignore": ".runs/\n.venv/\n"})
    work = {"nothing": "", "edits": "echo >> .venv/bin/check", "adds": "echo > .venv/bin/other"}[does]
    repo.quick_codex(before=work)
    makes = "mkdir -p .venv/bin; echo exit 0 > .venv/bin/check; chmod +x .venv/bin/check"
    keys = (f"prepare = {json.dumps([['sh', '-c', makes]])}", 'verify = [["sh", ".venv/bin/check"]]')
    repo.task(*keys, 'workspace = "worktree"', 'protect = [".venv/bin/check"]' if does == "nothing" else "")
    run = repo.start()
    assert run.wait()["status"] == "succeeded"
    found = {one["code"]: one["evidence"] for one in run.ask("report").json()["findings"]}
    changed = {"nothing": None, "edits": [".venv/bin/check"], "adds": [".venv/bin/other"]}[does]
    assert found.get("changed_ignored") == changed
    assert ("check_changed" in found) is (does == "edits")


@pytest.mark.parametrize(
    ("before", "agent", "moved"),
    [
        ("git tag made", "", None),
        ("git branch made", "git tag other", ["refs/tags/other"]),
        ("git update-ref refs/remotes/origin/made HEAD", "git tag -d made 2>&1", None),
        ("git tag made", "git tag -d made", ["refs/tags/made"]),
    ],
)
@pytest.mark.parametrize("when", ["prepare", "baseline"])
def test_refs_that_moved_before_the_agent_are_no_change_of_it(
    repo: Repo, when: str, before: str, agent: str, moved: list[str] | None
) -> None:
    commit(repo.root, **{".gitignore": ".runs/\n"})
    repo.quick_codex(before=f"{agent}\n")
    once = json.dumps([["sh", "-c", f'[ -e "$HOME/once" ] || {{ touch "$HOME/once"; {before}; }}']])
    key = f"prepare = {once}" if when == "prepare" else f"verify = {once}"
    wild = '[sandboxes.wild]\nlevel = "danger-full-access"\nallow_danger = true\n'
    repo.task(key, 'workspace = "worktree"', more=wild)
    words = ("--sandbox", "wild", "--allow-danger")  # nothing keeps it from git
    run = repo.start(*words, *(["--baseline"] if when == "baseline" else []))
    assert run.wait()["status"] == ("rejected" if moved else "succeeded")
    found = {one["code"]: one["evidence"] for one in run.ask("report").json()["findings"]}
    assert found.get("refs_moved") == moved


def test_the_users_own_tree_is_not_prepared(repo: Repo) -> None:
    prepared(repo, ["false"], workspace="in-place")
    (repo.root / "out").mkdir()
    (repo.root / "out" / "made").write_text("by hand\n")
    assert repo.start().ask("wait").json()["status"] == "succeeded"
    assert repo.runs()[0].events("prepared") == []


@pytest.mark.parametrize("dies", ["other", "starter", "term"])
def test_a_preparation_ends_with_the_process_that_its_run_is_tied_to(repo: Repo, dies: str) -> None:
    prepared(repo, ["sh", "-c", "echo $PPID > $HOME/owner; echo $$ > $HOME/slow; sleep 300"])
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
        words = ["start", "--task", "work", *(("--wait",) if dies == "starter" else ())]
        words += [] if dies == "starter" else ["--tie-pid", str(other.pid)]
        with repo.process(*words, "--format", "json", env={"CI": "true"}) as start:
            wait_until(lambda: repo.note("slow").exists() and repo.note("slow").read_text().strip())
            if dies == "term":
                os.kill(int(repo.note("owner").read_text()), signal.SIGTERM)
            else:
                (start if dies == "starter" else other).kill()
            wait_until(lambda: only_run(repo).on_disk()["phase"] == "done")
            start.communicate(timeout=60)
        other.kill()
    manifest = only_run(repo).on_disk()
    assert (manifest["outcome"], manifest["reason"]["code"]) == ("cancelled", "cancelled")
    assert has_ended(repo, "slow")
    assert not repo.note("agents").exists()
    assert trees(repo) == 0, "also where nobody is left who has started it"


@pytest.mark.parametrize("ends", ["cancel", "limit", "kill"])
def test_a_preparation_that_takes_too_long_is_ended_with_all_it_started(repo: Repo, ends: str) -> None:
    prepared(repo, ["sh", "-c", "echo $PPID > $HOME/owner; echo $$ > $HOME/slow; sleep 300"])
    if ends == "limit":
        repo.task(
            "prepare = [\"sh -c 'echo $$ > $HOME/slow; sleep 300'\"]",
            'workspace = "worktree"',
            'prepare_timeout = "500ms"',
        )
    with repo.process("start", "--task", "work", "--format", "json") as start:
        wait_until(lambda: repo.note("slow").exists() and repo.note("slow").read_text().strip())
        if ends == "cancel":
            cancelled = repo.cli("cancel", only_run(repo).id, "--reason", "lunch")
            assert (cancelled.status, len(cancelled.stdout.splitlines())) == (0, 1), (
                "nothing is to be decided"
            )
        elif ends == "kill":
            os.kill(int(repo.note("owner").read_text()), signal.SIGKILL)
        out, _ = start.communicate(timeout=60)
    code = json.loads(out)["error"]["code"]
    manifest = only_run(repo).ask("status").json()
    outcome, reason = {
        "cancel": ("cancelled", "cancelled"),
        "limit": ("failed", "prepare_failed"),
        "kill": ("failed", "never_started"),
    }[ends]
    assert (manifest["outcome"], manifest["reason"]["code"]) == (outcome, reason)
    assert code == ("prepare_failed" if ends == "limit" else "start_failed")
    told = "cancelled by user before its agent was started: lunch"
    assert (manifest["reason"]["message"] == told) == (ends == "cancel")
    assert has_ended(repo, "slow")
    assert not repo.note("agents").exists()
    assert trees(repo) == 0


@pytest.mark.parametrize("ends", ["interrupt", "kill"])
def test_who_leaves_a_start_is_told_of_its_run_whose_gaps_are_counted(repo: Repo, ends: str) -> None:
    prepared(repo, ["sh", "-c", "echo $PPID > $HOME/owner; until [ -e $HOME/gate ]; do sleep 0.05; done"])
    with repo.process("start", "--task", "work") as start:
        owner, since = repo.pid_in("owner"), boottime()
        start.send_signal(signal.SIGINT if ends == "interrupt" else signal.SIGKILL)
        told = start.communicate(timeout=60)[1].decode()
    run = only_run(repo)
    assert ends == "kill" or told.splitlines()[-1] == (
        f"interrupted: `runner cancel {run.id}` ends the run that was begun"
    )
    if ends == "kill":  # nobody wakes it
        os.kill(owner.pid, signal.SIGSTOP)
        wait_until(lambda: boottime() - since > 4.5)
        os.kill(owner.pid, signal.SIGCONT)
        wait_until(lambda: (run.folder / "events.jsonl").exists() and run.events("suspended"))
    repo.note("gate").touch()
    wait_until(lambda: run.on_disk()["started_at"])
    gaps = sum(event["seconds"] for event in run.events("suspended"))
    assert (run.on_disk()["suspended_seconds"], gaps > 3.0) == (gaps, ends == "kill")
    run.ask("cancel")


@pytest.mark.parametrize("dies", ["owner", "both"])
def test_the_tree_of_a_run_whose_owner_died_over_its_preparation_is_removed(repo: Repo, dies: str) -> None:
    prepared(repo, ["sh", "-c", "echo $PPID > $HOME/owner; sleep 300"])
    with repo.process("start", "--task", "work") as start:
        owner = repo.pid_in("owner")
        if dies == "both":
            start.kill()
        os.kill(owner.pid, signal.SIGKILL)
        start.communicate(timeout=60)
    assert only_run(repo).ask("status").json()["reason"]["code"] == "never_started"
    assert trees(repo) == 0


@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_a_preparation_is_of_the_run_that_it_is_for_and_not_of_its_parent(repo: Repo, verb: str) -> None:
    """Its owner is a fork of who starts it, below the parent's agent, with the marker of the parent."""
    commit(repo.root, **{".gitignore": ".runs/\n"})
    start = f'"{RUNNER}" start --task kid --parent ".runs${{RUNNER_MANIFEST#*/.runs}}" > "$HOME/said" 2>&1 &'
    repo.codex(
        f"""prompt=$(cat)\n{THREAD}case $prompt in kid*) ;; *) {start}\n"""
        f"""until [ -e "$HOME/gate" ]; do sleep 0.05; done ;; esac\n{said("done")}{FINISHED}"""
    )
    waits = json.dumps([["sh", "-c", "touch $HOME/begun; until [ -e $HOME/ready ]; do sleep 0.05; done"]])
    write = 'grace = "300ms"\nsandbox = "workspace-write"'
    repo.config(
        f'[delegation]\ntasks = ["kid"]\n[tasks.work]\nprompt = "x"\ndelegation = true\n{write}\n'
        f'[tasks.kid]\nprompt = "kid"\n{write}\nworkspace = "worktree"\nprepare = {waits}\n'
    )
    parent = repo.start()
    repo.begun()
    kid = repo.runs()[-1] if repo.runs()[-1].id != parent.id else repo.runs()[0]
    if verb == "pause":
        assert parent.told("pause", "--only")["status"] == "paused"
        repo.note("ready").touch()  # its own preparation goes on
        assert kid.ask("wait").json()["status"] == "succeeded"
        parent.told("resume", "--only")
    else:
        parent.told("cancel")
        told = f"cancelled by run {parent.id} before its agent was started"
        assert kid.ask("status").json()["reason"]["message"] == told
        assert trees(repo) == 0
    repo.end_all()


CLEAN = "sed s/^REAL/STORED/"
SMUDGE = "[ -e $HOME/pulled ] && sed s/^STORED/REAL/ || cat"
PULL = "touch $HOME/pulled; rm big.bin; git checkout -q -- big.bin; grep -q REAL big.bin"


@pytest.mark.parametrize(
    ("workspace", "more", "does", "changed"),
    [
        ("worktree", "", "true", []),
        ("worktree", "", "echo agent >> big.bin", ["big.bin"]),
        ("worktree", "", "sed -i s/REAL/STORED/ big.bin", ["big.bin"]),
        ("worktree", "; chmod 600 big.bin", "true", []),
        ("in-place", "", "true", []),
        ("worktree", "; echo user >> big.bin", None, None),
        ("worktree", "; chmod +x big.bin", None, None),
        ("in-place", "; git checkout -q -- dirty.txt", None, None),
    ],
)
def test_another_form_of_what_is_committed_is_as_it_was_prepared(
    repo: Repo, workspace: str, more: str, does: str | None, changed: list[str] | None
) -> None:
    """As `git lfs pull` makes it. What was uncommitted is the user's in whatever form."""
    for name, program in (("clean", CLEAN), ("smudge", SMUDGE)):
        repo.git("config", f"filter.big.{name}", program)
    commit(repo.root, **{".gitattributes": "*.bin filter=big\n", "big.bin": "STORED\n", "dirty.txt": "old\n"})
    repo.write("dirty.txt", "edited by the user\n")
    repo.quick_codex(before=does or "touch $HOME/agents")
    key = "prepare" if workspace == "worktree" else "verify"
    command = json.dumps(["sh", "-c", f"[ -e $HOME/pulled ] || {{ {PULL}{more}; }}"])
    keys = (
        'prompt = "x"',
        'sandbox = "workspace-write"',
        f'workspace = "{workspace}"',
        f"{key} = [{command}]",
    )
    repo.config("\n".join(("[tasks.work]", *keys)))
    words = ("--baseline",) if workspace == "in-place" else ()
    if changed is None:
        refused = repo.cli("start", "--task", "work", *words, "--format", "json")
        assert (refused.status, refused.error["code"]) == (8, "prepare_failed")
        assert not repo.note("agents").exists()
        return
    run = repo.start(*words)
    run.ask("wait")
    assert [file["path"] for file in run.ask("diff").json()["files"]] == changed


def test_no_agent_starts_where_a_check_fails_already(repo: Repo) -> None:
    prepared(repo, ["sh", "-c", "mkdir out"])
    refused = repo.cli("start", "--task", "work", "--baseline", "--format", "json")
    assert (refused.status, refused.error["code"]) == (8, "baseline_failed")
    assert "`test -s out/made` exited with 1" in refused.error["message"]
    assert not repo.note("agents").exists()
    assert trees(repo) == 0

    prepared(repo, ["sh", "-c", "mkdir out; echo > out/made"])
    run = repo.start("--baseline")
    assert run.ask("wait").json()["status"] == "succeeded"
    assert [event["exit_code"] for event in run.events("baseline")] == [0]
    assert run.on_disk()["failed_before"] == []
    assert "no check failed before the run began" in repo.cli("status", run.id).stdout


def test_what_failed_before_the_agent_can_be_recorded_instead(repo: Repo) -> None:
    repo.quick_codex(before='echo > "$HOME/agents"')
    checks = [["test", "-e", f"{repo.home}/agents"], ["true"], ["sh", "-c", "test -e $HOME/agents"]]
    repo.task(f"verify = {json.dumps(checks)}")
    run = repo.start("--baseline", "record")
    assert run.ask("wait").json()["status"] == "succeeded"
    assert run.on_disk()["failed_before"] == [checks[0], checks[2]]
    assert [event["exit_code"] for event in run.events("baseline")] == [1, 0, 1]
    told = f"2 checks failed before the run began: `test -e {repo.home}/agents`, `sh -c"
    assert told in repo.cli("status", run.id).stdout
    assert told in repo.cli("report", run.id).stdout.replace("\n", " ")
    assert run.ask("report").json()["failed_before"] == [checks[0], checks[2]]

    (repo.root / "agents").touch()
    repo.task("verify = [['test', '-e', 'agents']]")
    repo.quick_codex(before="rm agents")
    broken = repo.start("--baseline")
    assert broken.ask("wait").json()["status"] == "rejected"
    assert "REGRESSION" in json.loads(broken.file("result.json"))["failure_codes"]

    assert repo.cli("start", "--task", "work", "--baseline", "later").status == 2
    assert repo.start().wait()["failed_before"] is None


def test_checks_run_alone_before_a_run_and_again_after_it(repo: Repo) -> None:
    prepared(repo, ["sh", "-c", "mkdir out; echo > out/made"])
    before = repo.cli("verify", "work", "--format", "json")
    assert (before.status, before.json()["passed"]) == (6, False)

    run = repo.start()
    assert run.ask("wait").json()["status"] == "succeeded"
    assert run.ask("verify").json()["passed"] is True
    tree = run.on_disk()["workspace"]["path"]
    (Path(tree) / "out" / "made").unlink()
    (Path(tree) / "new").touch()
    again = repo.cli("verify", "@latest", "--format", "json")
    assert again.status == 6
    assert "1 path changed since it was judged" in again.json()["verified"][0]["notes"][0]
    assert run.on_disk()["outcome"] == "succeeded"

    run.ask("discard")
    assert repo.cli("verify", run.id, "--format", "json").status == 9


def test_verify_runs_nothing_that_the_policy_of_today_forbids_and_says_one_thing(repo: Repo) -> None:
    repo.quick_codex()
    repo.task('verify = [["touch", "made"]]', more='[tasks.bare]\nprompt = "x"\n')
    run = repo.start()
    assert run.wait()["status"] == "succeeded"
    (repo.root / "made").unlink()
    policy = repo.home / ".config" / "runner" / "policy.toml"
    policy.parent.mkdir(parents=True, exist_ok=True)
    policy.write_text('verify = ["make"]\n')
    for name in (run.id, "work"):
        done = repo.cli("verify", name, "--format", "json")
        assert (done.status, done.error["code"]) == (5, "policy_refused")
    assert not (repo.root / "made").exists()
    policy.write_text('verify = ["tou*"]\n')
    assert repo.cli("verify", run.id).status == 0

    nothing = repo.cli("verify", "bare", "--format", "json")
    assert (nothing.status, list(nothing.json())) == (2, ["error"])


@pytest.mark.parametrize("workspace", ["worktree", "in-place"])
@pytest.mark.parametrize(
    ("key", "kept", "told"),
    [
        ('verify_from = "base"', True, "which ran as they were before: check.sh"),
        ('verify_from = "run"', True, None),
        ('scope = ["other"]', False, "was rolled back"),
    ],
)
def test_checks_run_again_say_nothing_else_of_a_change_than_what_holds(
    repo: Repo, workspace: str, key: str, kept: bool, told: str | None
) -> None:
    commit(repo.root, **{".gitignore": ".runs/\n", "check.sh": "grep -q fixed a.txt\n", "a.txt": "old\n"})
    repo.quick_codex(before="echo exit 0 > check.sh")
    keys = (f'workspace = "{workspace}"', f'on_failure = "{"keep" if kept else "rollback"}"', key)
    lines = ('prompt = "x"', 'sandbox = "workspace-write"', 'verify = [["sh", "check.sh"]]', *keys)
    repo.config("\n".join(("[tasks.work]", *lines)))
    run = repo.start()
    run.ask("wait")
    again = repo.cli("verify", run.id, "--format", "json")
    if told is None or (workspace == "worktree" and not kept):
        assert again.status == 0
        assert "changed what its checks execute or read: check.sh" in again.json()["verified"][0]["notes"][0]
    else:
        assert (again.status, told in again.error["message"]) == (9, True)
    assert (b"exit 0" in repo.read("check.sh")) == (workspace == "in-place" and kept)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM])
def test_a_check_ends_with_whoever_runs_it_alone(repo: Repo, number: int) -> None:
    repo.task("verify = [['sh', '-c', 'echo $$ > $HOME/slow; sleep 300']]")
    with repo.process("verify", "work") as verify:
        repo.pid_in("slow")
        verify.send_signal(number)
        verify.communicate(timeout=60)
    assert verify.returncode == 130
    assert has_ended(repo, "slow")


def test_a_secret_that_a_check_prints_is_not_shown_by_verify(repo: Repo) -> None:
    word = "a-long-word-that-is-a-secret-0123456789"
    repo.quick_codex()
    check = ["sh", "-c", "echo $SERVICE_WORD; exit 4"]
    repo.task(f"verify = {json.dumps([check])}", more='[runtimes.codex]\nenv = ["SERVICE_WORD"]\n')
    told = repo.cli("verify", env={"SERVICE_WORD": word})
    assert told.status == 6
    assert "exited with 4" in told.stdout and word not in told.stdout


def test_what_a_passing_check_leaves_running_is_ended_by_verify_and_nothing_else(repo: Repo) -> None:
    daemon = 'trap "" TERM HUP; echo $$ > $HOME/daemon; exec sleep 300'
    script = f"(setsid bash -c '{daemon}' &) ; until [ -s $HOME/daemon ]; do sleep 0.02; done"
    repo.quick_codex()
    repo.task(f"verify = {json.dumps([['bash', '-c', script]])}")
    runner = Path(sys.executable).parent / "runner"
    words = (
        f"sleep 300 >/dev/null 2>&1 & echo $! > $HOME/before; exec {runner} verify work --trust --format json"
    )
    argv = ["bash", "-c", words]
    done = subprocess.run(argv, cwd=repo.root, env=repo.env, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert has_ended(repo, "daemon")
    assert not has_ended(repo, "before"), "what the shell had started before it became runner"
    os.kill(int(repo.note("before").read_text()), signal.SIGKILL)
