"""A start without a login is refused before anything is made, and where nobody is sure it goes on."""

from __future__ import annotations

import json

import pytest
from support.doubles import FINISHED, THREAD, said
from support.repo import Repo

LOGGED_OUT = (
    'if [ "$1" = login ]; then touch "$HOME/asked"; exit 1; fi\n'
    f"cat > /dev/null\n{THREAD}{said('done')}{FINISHED}"
)


@pytest.fixture
def logged_out(repo: Repo) -> Repo:
    (repo.home / ".codex" / "auth.json").unlink()
    repo.codex(LOGGED_OUT)
    return repo


def test_a_start_that_nobody_has_logged_in_for_leaves_nothing(logged_out: Repo) -> None:
    logged_out.task()
    done = logged_out.cli("start", "--task", "work", "--format", "json")
    assert (done.status, done.error["code"]) == (8, "not_ready")
    assert "codex login" in done.error["hint"]
    assert logged_out.no_runs()


@pytest.mark.parametrize("place", ["auth", "provider", "own", "keyring", "variable"])
def test_where_a_login_could_be_elsewhere_the_run_is_started_unasked(logged_out: Repo, place: str) -> None:
    own, more = logged_out.home / ".codex" / "config.toml", ""
    if place == "auth":
        (own.parent / "auth.json").symlink_to("elsewhere")
    elif place == "provider":
        more = '[runtimes.codex.config]\nmodel_provider = "mine"\nmodel_providers.mine.name = "x"'
    elif place == "own":
        own.write_text('profile = "p"\n[profiles.p]\nmodel_provider = "mine"\n')
    elif place == "keyring":
        own.write_text('cli_auth_credentials_store = "keyring"\n')
    else:
        more = '[runtimes.codex]\nenv = ["SOME_KEY"]'
    logged_out.task(more=more)
    run = logged_out.start(env={"SOME_KEY": "a-key-of-somebody"})
    run.wait()
    assert not (logged_out.home / "asked").exists()


def test_what_the_login_shell_would_lose_is_passed_said_and_the_own_setting_counts(repo: Repo) -> None:
    repo.quick_codex()
    (repo.bin / "checker").write_text("#!/bin/sh\n")
    (repo.bin / "checker").chmod(0o755)
    (repo.home / ".profile").write_text('echo x >> "$HOME/executed"; PATH=/usr/bin:/bin\n')
    repo.task('verify = ["checker"]')
    run = repo.start()
    assert run.wait()["login_shell_loses"] == ["checker"]
    assert "allow_login_shell=false" in json.loads(run.file("invocation.json"))["argv"]
    assert "it would lose checker" in repo.cli("resolve", "--task", "work").stdout
    assert "it would lose checker" in repo.cli("status", run.id).stdout
    assert (repo.home / "executed").read_text() == "x\n", "once, and then from the cache"
    mine = repo.start("--set", "runtimes.codex.config.allow_login_shell=true")
    assert mine.wait()["login_shell_loses"] == []
    assert "allow_login_shell=true" in json.loads(mine.file("invocation.json"))["argv"]


CROSSES = """if [ "$1" = sandbox ]; then
touch "$HOME/tried"
case "$*" in *workspace-write*) [ ! -L .agents ] || { echo "it crosses a link" >&2; exit 1; } ;; esac
exit 0
fi
"""


@pytest.mark.parametrize("workspace", ["in-place", "worktree"])
@pytest.mark.parametrize("link", [".agents", ".claude", "agents"])
def test_a_start_is_refused_where_a_link_keeps_every_command_from_running(
    repo: Repo, workspace: str, link: str
) -> None:
    repo.codex(f"{CROSSES}cat > /dev/null\n{THREAD}{said('done')}{FINISHED}")
    repo.task(f'workspace = "{workspace}"')
    writing = ("--sandbox", "workspace-write")
    (repo.root / link).symlink_to("nowhere")
    repo.commit()
    if link != ".agents":
        assert repo.start(*writing).wait()["status"] == "succeeded"
        assert (repo.home / "tried").exists() is link.startswith(".")
        return
    done = repo.cli("start", "--task", "work", *writing, "--format", "json")
    assert (done.status, done.error["code"]) == (8, "not_ready")
    assert "it crosses a link" in done.error["message"] and "in the place of the link" in done.error["hint"]
    assert repo.no_runs()
    assert repo.start("--sandbox", "read-only").wait()["status"] == "succeeded"
    (repo.root / link).unlink()
    refused = repo.cli("start", "--task", "work", *writing)
    assert (refused.status == 8) is (workspace == "worktree"), "there it is as long as it is committed"
    repo.end_all()


MISSES = """if [ "$1" = sandbox ]; then
touch "$HOME/tried"
given=$(printf '%s\\n' "$@" | sed -n 's/.*writable_roots=\\[\\(.*\\)\\]/\\1/p' | tr -d '",')
for folder in $given; do
  [ -d "$folder" ] && [ ! -L "$folder" ] && [ ! -L "$folder/.agents" ] && continue
  echo "no sandbox: $folder" >&2
  exit 1
done
exit 0
fi
"""


@pytest.mark.parametrize("workspace", ["in-place", "worktree"])
@pytest.mark.parametrize("odd", ["nothing", "link", "hidden", ""])
def test_a_start_tries_the_folders_that_it_gives_where_one_is_odd(
    repo: Repo, workspace: str, odd: str
) -> None:
    repo.codex(f"{MISSES}cat > /dev/null\n{THREAD}{said('done')}{FINISHED}")
    given = repo.home / "given"
    if odd != "nothing":
        given.mkdir()
    if odd == "link":
        given.rename(repo.home / "elsewhere")
        given.symlink_to("elsewhere")
    elif odd == "hidden":
        (given / ".agents").symlink_to("/etc")
    repo.config(
        f'[sandboxes.wide]\nlevel = "workspace-write"\nwritable = ["{given}"]\n'
        f'[tasks.work]\nprompt = "x"\nsandbox = "wide"\nworkspace = "{workspace}"\n'
    ).commit()
    done = repo.cli("start", "--task", "work", "--wait", "--format", "json")
    assert (repo.home / "tried").exists() is bool(odd)
    if not odd:
        assert done.json()["status"] == "succeeded"
        return
    assert (done.status, done.error["code"]) == (8, "not_ready")
    assert f"no sandbox: {given}" in done.error["message"]
    assert repo.no_runs()
    checks = {one["name"]: one for one in repo.cli("doctor", "--format", "json").json()["checks"]}
    assert checks["codex.sandbox"]["verdict"] == "fail"
    assert f"no sandbox: {given}" in checks["codex.sandbox"]["message"]


def test_a_folder_that_a_start_makes_itself_is_not_missed(repo: Repo) -> None:
    repo.codex(f"{MISSES}cat > /dev/null\n{THREAD}{said('done')}{FINISHED}")
    repo.config(
        f'[sandboxes.wide]\nlevel = "workspace-write"\nwritable = ["{repo.home}"]\n'
        '[tasks.work]\nprompt = "x"\nsandbox = "wide"\n'
    ).commit()
    (repo.home / ".link").symlink_to("nowhere")
    assert not (repo.home / ".config").exists()
    checks = {one["name"]: one for one in repo.json("doctor")["checks"]}
    assert checks["codex.sandbox"]["verdict"] == "ok"
    assert repo.cli("start", "--task", "work", "--wait", "--format", "json").json()["status"] == "succeeded"
    assert (repo.home / ".config").is_dir() and (repo.home / "tried").exists()


def test_a_start_tries_the_folders_above_a_path_entry_in_the_repository(repo: Repo) -> None:
    repo.codex(f"{MISSES}cat > /dev/null\n{THREAD}{said('done')}{FINISHED}")
    (repo.root / "packages/a/bin").mkdir(parents=True)
    (repo.root / "packages/a/.agents").symlink_to("../../.agents")
    repo.task()
    path = f"{repo.bin}:{repo.root}/packages/a/bin:/usr/bin:/bin"
    writing = ("start", "--task", "work", "--sandbox", "workspace-write", "--wait", "--format", "json")
    done = repo.cli(*writing, env={"PATH": path})
    assert done.error["code"] == "not_ready" and "packages/a" in done.error["message"]
    (repo.root / "packages/a/.agents").unlink()
    assert repo.cli(*writing, env={"PATH": path}).json()["status"] == "succeeded"
    repo.end_all()


def test_a_program_that_knows_no_trial_of_its_sandbox_refuses_no_start(repo: Repo) -> None:
    unknown = 'if [ "$1" = sandbox ]; then echo "error: unrecognized subcommand" >&2; exit 2; fi\n'
    repo.codex(f"{unknown}cat > /dev/null\n{THREAD}{said('done')}{FINISHED}")
    (repo.root / ".env").symlink_to("nowhere")
    repo.task()
    assert repo.start("--sandbox", "workspace-write").wait()["status"] == "succeeded"
    repo.end_all()
