"""Verify commands: our own checks, run by us, decide; whatever they do, nothing of them stays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from support.ended import commit
from support.processes import look
from support.repo import Repo, Run
from support.waiting import wait_until


def ended(repo: Repo, *commands: list[str], timeout: str = "10s") -> tuple[int, dict]:
    repo.quick_codex()
    run = repo.task(f"verify = {json.dumps(commands)}", f'verify_timeout = "{timeout}"').start()
    waited = run.ask("wait")
    return waited.status, waited.json()


def bash(script: str) -> list[str]:
    return ["bash", "-c", script]


def test_checks_that_pass_make_a_success(repo: Repo) -> None:
    status, manifest = ended(repo, ["true"], bash("echo fine; pwd > $HOME/where"))
    assert (status, manifest["status"]) == (0, "succeeded")
    assert repo.note("where").read_text() == f"{repo.root}\n"
    assert [event["exit_code"] for event in repo.runs()[0].events("checked")] == [0, 0]


def test_a_check_that_fails_rejects_the_run_and_shows_why(repo: Repo) -> None:
    status, manifest = ended(repo, bash("echo 'two tests failed'; exit 3"), bash("touch $HOME/second"))
    assert (status, manifest["status"]) == (6, "rejected")
    assert manifest["reason"]["code"] == "verify_failed"
    assert "exited with 3" in manifest["reason"]["message"]
    assert "two tests failed" in manifest["reason"]["detail"]
    assert manifest["exit_code"] == 0, "the child itself ended well"
    assert not repo.note("second").exists(), "the first failure is enough"


def test_a_check_that_does_not_exist_rejects_the_run(repo: Repo) -> None:
    status, manifest = ended(repo, ["./no-such-check-anywhere"])
    assert (status, manifest["status"]) == (6, "rejected")
    assert "no-such-check-anywhere" in manifest["reason"]["message"]


def test_a_check_whose_program_is_not_there_is_refused_before_there_is_an_agent(repo: Repo) -> None:
    repo.quick_codex()
    repo.task('verify = [["true"], ["no-such-check-anywhere"]]')
    refused = repo.cli("start", "--task", "work", "--format", "json")
    assert (refused.status, refused.error["code"]) == (8, "check_missing")
    assert "no-such-check-anywhere" in refused.error["message"]
    assert repo.runs() == []


def test_a_check_that_takes_too_long_is_ended_with_all_it_started(repo: Repo) -> None:
    script = "trap '' INT TERM; sleep 300 & echo $! > $HOME/slow; wait; sleep 300"
    status, manifest = ended(repo, bash(script), timeout="500ms")
    assert (status, manifest["status"]) == (6, "rejected")
    assert "limit" in manifest["reason"]["message"]
    assert look(int(repo.note("slow").read_text())) is None


def test_a_check_that_leaves_a_daemon_behind_passes_and_the_daemon_is_ended(repo: Repo) -> None:
    daemon = 'trap "" TERM; echo $BASHPID > $HOME/daemon; while :; do sleep 0.1; done'
    script = f"(setsid bash -c '{daemon}' &) ; until [ -s $HOME/daemon ]; do sleep 0.02; done"
    status, manifest = ended(repo, bash(script))
    assert (status, manifest["status"]) == (0, "succeeded")
    assert look(int(repo.note("daemon").read_text())) is None
    assert repo.runs()[0].tree() == []


def test_a_check_gets_no_terminal_no_input_and_no_undeclared_variable(repo: Repo) -> None:
    repo.quick_codex()
    script = "cat > $HOME/input; env > $HOME/environment; ls -l /proc/$$/fd > $HOME/descriptors"
    run = repo.task(f"verify = {json.dumps([bash(script)])}").start(env={"CANARY": "no"}, stdin="typed")
    assert run.wait()["status"] == "succeeded"
    assert repo.note("input").read_text() == ""
    assert "CANARY" not in repo.note("environment").read_text()
    assert "run.lock" not in repo.note("descriptors").read_text()


def test_a_child_that_failed_is_not_verified(repo: Repo) -> None:
    repo.codex("exit 1")
    run = repo.task(f"verify = {json.dumps([bash('touch $HOME/checked')])}").start()
    assert run.wait()["status"] == "failed"
    assert not repo.note("checked").exists()


def test_a_check_whose_output_is_a_flood_is_kept_in_the_folder_not_in_the_manifest(repo: Repo) -> None:
    status, _ = ended(repo, bash("yes flood | head -c 20000000; echo the end; exit 1"))
    assert status == 6
    run = repo.runs()[0]
    assert len(run.file("manifest.json")) < 20_000
    assert "the end" in run.on_disk()["reason"]["detail"]
    assert (run.folder / "verify-1.log").stat().st_size > 19_000_000


def test_a_secret_that_a_check_prints_is_not_shown(repo: Repo) -> None:
    word = "hunter2-correct-horse-battery"
    repo.quick_codex()
    check = json.dumps([bash("echo it is $SERVICE_WORD; exit 1")])
    run = repo.task(f"verify = {check}", more='[runtimes.codex]\nenv = ["SERVICE_WORD"]\n').start(
        env={"SERVICE_WORD": word}
    )
    manifest = run.wait()
    assert "it is" in manifest["reason"]["detail"]
    assert word not in json.dumps(manifest)
    wait_until(lambda: run.events("sealed"))
    assert word not in run.file("verify-1.log")
    assert word not in run.file("events.jsonl")


def test_a_run_that_rewrites_its_own_check_is_told_and_with_protect_rejected(repo: Repo) -> None:
    (repo.root / "ci").mkdir()
    (repo.root / "ci/test.sh").write_text("exit 1\n")
    repo.commit()
    repo.quick_codex(before="echo exit 0 > ci/test.sh")
    keys = ('verify = [["sh", "ci/test.sh"]]', 'on_failure = "keep"')
    for protect, status in (((), "succeeded"), (('protect = ["ci/**"]',), "rejected")):
        repo.git("checkout", "-q", "ci/test.sh")
        run = repo.task(*keys, *protect).start("--sandbox", "workspace-write")
        assert run.wait()["status"] == status
        report = run.ask("report").json()
        (found,) = [one for one in report["findings"] if one["code"] == "check_changed"]
        assert found["evidence"] == ["ci/test.sh"]
        assert found["severity"] == ("error" if protect else "warning")
        assert any("its own checks" in risk for risk in report["residual_risk"])


def with_a_check(repo: Repo, *keys: str) -> str:
    """A repository whose check the agent rewrites, with its work."""
    (repo.root / "ci").mkdir()
    (repo.root / "ci/test.sh").write_text('[ "$(cat answer)" = 42 ]\n')
    repo.task('verify = [["sh", "ci/test.sh"]]', 'on_failure = "keep"', 'verify_from = "base"', *keys)
    repo.commit()
    return "exit 0\n"


@pytest.mark.parametrize(("answer", "status"), [("41", "rejected"), ("42", "succeeded")])
def test_checks_from_the_base_are_those_of_before_and_the_work_is_that_of_the_run(
    repo: Repo, answer: str, status: str
) -> None:
    rewritten = with_a_check(repo)
    repo.quick_codex(before=f"echo exit 0 > ci/test.sh; echo {answer} > answer")
    run = repo.start("--sandbox", "workspace-write")
    assert run.wait()["status"] == status
    assert (repo.root / "ci/test.sh").read_text() == rewritten
    assert "as before the run" in run.ask("report").json()["findings"][0]["message"]


def test_an_owner_that_is_killed_over_such_a_check_has_the_files_put_back_by_the_next(repo: Repo) -> None:
    rewritten = with_a_check(repo)
    (repo.root / "ci/test.sh").write_text(
        'echo $$ > "$HOME/check"; until [ -e "$HOME/gate" ]; do sleep 0.05; done\n'
    )
    repo.commit()
    repo.quick_codex(before="echo exit 0 > ci/test.sh")
    run = repo.start("--sandbox", "workspace-write")
    check = repo.pid_in("check")
    assert "gate" in (repo.root / "ci/test.sh").read_text()
    run.kill_supervisor()
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"
    assert not check.is_still_there()
    assert (repo.root / "ci/test.sh").read_text() == rewritten


def test_a_check_that_cannot_be_run_from_the_base_has_not_passed(repo: Repo) -> None:
    """No git, so nobody knows what they were."""
    repo.task('verify = [["true"]]', 'verify_from = "base"')
    shutil.rmtree(repo.root / ".git")
    repo.quick_codex()
    ended = repo.start("--sandbox", "workspace-write").wait()
    assert (ended["status"], ended["reason"]["code"]) == ("rejected", "verify_failed")


@pytest.mark.parametrize(
    "verify",
    [["./check"], ["sh", "ci/test.sh"], ["sh", "{root}/tools/test.sh"], ["linked-on-path"], ["hard-linked"]],
)
@pytest.mark.parametrize("since", ["run", "base"])
def test_a_check_is_what_its_name_leads_to(repo: Repo, verify: list[str], since: str) -> None:
    (repo.root / "tools").mkdir()
    (repo.root / "tools/test.sh").write_text("#!/bin/sh\nexit 1\n")
    (repo.root / "tools/test.sh").chmod(0o755)
    (repo.root / "ci").symlink_to("tools")
    (repo.root / "check").symlink_to("ci/test.sh")
    (repo.bin / "linked-on-path").symlink_to(repo.root / "check")  # as `npm link` does
    os.link(repo.root / "tools/test.sh", repo.bin / "hard-linked")
    repo.quick_codex(before="echo '#!/bin/sh' > tools/test.sh")
    argv = [word.format(root=repo.root) for word in verify]
    repo.task(f"verify = {json.dumps([argv])}", 'on_failure = "keep"', f'verify_from = "{since}"')
    repo.commit()
    run = repo.start("--sandbox", "workspace-write")
    assert run.wait()["status"] == ("succeeded" if since == "run" else "rejected")
    found = {one["code"]: one for one in json.loads(run.file("result.json"))["findings"]}
    assert found["check_changed"]["evidence"] == ["tools/test.sh"]


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ('verify_from = "run"', "succeeded"),
        ('verify_from = "base"', "rejected"),
        ('protect = ["out"]', "rejected"),
    ],
)
def test_a_check_that_git_ignores_is_a_check(repo: Repo, key: str, status: str) -> None:
    (repo.root / ".gitignore").write_text(".runs/\nout/\n")
    (repo.root / "out").mkdir()
    (repo.root / "out/test.sh").write_text("exit 1\n")
    repo.quick_codex(before="echo true > out/test.sh")
    repo.task('verify = [["sh", "out/test.sh"]]', 'on_failure = "keep"', key)
    repo.commit()
    run = repo.start("--sandbox", "workspace-write")
    assert run.wait()["status"] == status
    found = {one["code"]: one for one in json.loads(run.file("result.json"))["findings"]}
    assert found["check_changed"]["evidence"] == ["out/test.sh"]


@pytest.mark.parametrize("since", ["run", "base"])
def test_a_folder_or_link_in_the_place_of_a_script_is_taken_for_it(repo: Repo, since: str) -> None:
    (repo.root / ".gitignore").write_text(".runs/\nout/\n")
    for name in ("out/replaced", "tests/test_old"):
        (repo.root / name).parent.mkdir()
        (repo.root / name).write_text("exit 1\n")
    places = ("ci/e", "out/new", "out/replaced", "tests/filled", "tests/link", "tests/run")
    repo.quick_codex(
        before="mkdir -p tests/run tests/filled tests/added out/new ci; ln -s /dev/null tests/link; "
        "rm out/replaced; mkdir out/replaced; "
        "echo > tests/filled/test_a.py; echo > tests/added/test_b.py; git init -q ci/e; echo > ci/e/x"
    )
    checks = json.dumps([["true", "tests/added"], *(["sh", place] for place in places)])
    repo.task(f"verify = {checks}", 'on_failure = "keep"', f'verify_from = "{since}"')
    repo.commit()
    run = repo.start("--sandbox", "workspace-write")
    is_passed = since == "run" and os.path.basename(os.path.realpath("/bin/sh")) == "dash"
    assert run.wait()["status"] == ("succeeded" if is_passed else "rejected")
    found = {one["code"]: one for one in json.loads(run.file("result.json"))["findings"]}
    assert sorted(found["check_changed"]["evidence"]) == [*places]


def test_what_is_protected_where_git_records_nothing_is_protected_all_the_same(repo: Repo) -> None:
    (repo.root / ".gitignore").write_text(".runs/\nout/\n")
    for folder in ("out/deep", "sub"):
        (repo.root / folder).mkdir(parents=True)
    (repo.root / "out/deep/golden").write_text("before")
    (repo.root / "out/deep/replaced").write_text("before")
    repo.git("init", "-q", "sub")
    (repo.root / "sub/ci.sh").write_text("before")
    repo.quick_codex(
        before="rm out/deep/*; mkdir out/deep/replaced; echo after > sub/ci.sh; echo new > sub/other; "
        "echo x > out/x"
    )
    repo.task('protect = ["out/deep/*", "sub/ci.sh"]', 'on_failure = "keep"')
    run = repo.start("--sandbox", "workspace-write")
    assert run.wait()["status"] == "rejected"
    (found,) = [one for one in run.ask("report").json()["findings"] if one["code"] == "check_changed"]
    assert (found["severity"], found["evidence"]) == (
        "error",
        ["out/deep/golden", "out/deep/replaced", "sub/ci.sh"],
    )


def test_git_of_an_agent_and_of_its_checks_obeys_what_the_caller_said_of_it(repo: Repo) -> None:
    repo.quick_codex(before='git config user.name > "$HOME/agent"')
    given = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "It's me"}
    task = repo.task(f"verify = {json.dumps([bash('git config user.name > $HOME/check')])}")
    run = task.start(env={**given, "GIT_DIR": "/elsewhere"})
    assert run.wait()["status"] == "succeeded"
    assert [repo.note(name).read_text() for name in ("agent", "check")] == ["It's me\n"] * 2


def test_a_check_that_imports_from_your_checkout_is_said_before_a_run_and_of_it(repo: Repo) -> None:
    (repo.root / "src").mkdir()
    commit(repo.root, **{".gitignore": ".runs/\n", "src/pkg.py": "", "ok.py": "import pkg\n"})
    venv = repo.home / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = venv.glob("lib/python3*/site-packages")
    (site / "__editable__.pkg-1.pth").write_text(f"{repo.root}/src\n")
    command = [f"{venv}/bin/python", "ok.py"]
    repo.quick_codex()
    repo.task(f"verify = {json.dumps([command])}", 'workspace = "worktree"')
    led = f"imports from {repo.root}/src, which {site}/__editable__.pkg-1.pth names"

    noted = repo.cli("check", "--format", "json").json()["notes"]
    assert [led in note["message"] and "(checks_elsewhere)" in note["message"] for note in noted] == [True]
    checks = {one["name"]: one for one in repo.cli("doctor", "--format", "json").json()["checks"]}
    assert checks["checks"]["verdict"] == "warn" and led in checks["checks"]["message"]

    begun = repo.cli("start", "--task", "work", "--format", "json")
    assert led in begun.stderr, "while it can still be cancelled"
    run = Run(repo, begun.json()["run_id"])
    manifest = run.wait()
    assert manifest["status"] == "succeeded"
    assert led in manifest["reason"]["message"] and "PYTHONPATH" in manifest["reason"]["hint"]
    told = run.ask("report").json()
    assert [(one["code"], one["severity"]) for one in told["findings"]] == [("checks_elsewhere", "warning")]
    assert any("another checkout" in risk for risk in told["residual_risk"])
    assert [led in note for note in run.ask("verify").json()["verified"][0]["notes"]] == [True]

    assert "but `" in repo.cli("accept", run.id).stderr

    command = ["env", "PYTHONPATH=src", *command]
    repo.task(f"verify = {json.dumps([command])}", 'workspace = "worktree"')
    assert repo.cli("check", "--format", "json").json()["notes"] == []
    run = repo.start()
    assert run.wait()["reason"]["hint"] is None
    assert run.ask("report").json()["findings"] == []
