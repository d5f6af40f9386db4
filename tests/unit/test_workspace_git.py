"""Asking git: what comes back when it refuses, is killed or is not there."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import processes
from support.waiting import wait_until
from support.work import Work

from runner.disk import git_env, home
from runner.workspace.changes import changed
from runner.workspace.git import Git, GitFailed
from runner.workspace.repository import find
from runner.workspace.worktree import create, load, place


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def git_that_does(programs: Path, body: str) -> None:
    (programs / "git").write_text(f"#!/bin/sh\n{body}\n")
    (programs / "git").chmod(0o755)


def test_what_git_refuses_is_told_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(GitFailed, match=r"`git rev-parse` failed in .*: fatal: not a git repository"):
        Git(str(tmp_path)).run("rev-parse", "HEAD")


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(GitFailed, match="cannot change to"):
        Git(f"{tmp_path}/gone").run("status")


def test_git_that_is_killed_has_failed(tmp_path: Path, programs: Path) -> None:
    git_that_does(programs, "kill -9 $$")
    with pytest.raises(GitFailed, match="`git status` did not end by itself: -9"):
        Git(str(tmp_path)).ask("status")


def test_a_machine_without_git_is_told_so(tmp_path: Path, programs: Path) -> None:
    with pytest.raises(GitFailed, match="there is no git on PATH"):
        Git(str(tmp_path)).run("status")
    (programs / "git").write_text("no program")
    with pytest.raises(GitFailed, match="there is no git on PATH"):
        Git(str(tmp_path)).run("status")


def test_git_gets_and_gives_any_bytes_however_many(tmp_path: Path, programs: Path) -> None:
    git_that_does(programs, '/bin/cat; printf %s "$4"')
    data = bytes(range(256)) * 4096
    name = os.fsdecode(b"\xff\n")
    assert Git(str(tmp_path)).ask("x", name, stdin=data) == (0, data + b"\xff\n", "")


def test_git_dies_of_a_closed_pipe_as_in_a_shell(tmp_path: Path, programs: Path) -> None:
    """Python ignores SIGPIPE, and what is ignored is inherited."""
    git_that_does(programs, "/bin/sh -c 'kill -13 $$'; echo $?")
    assert Git(str(tmp_path)).run("x") == b"141\n"


def test_an_output_file_is_private_and_replaces_nothing(tmp_path: Path, programs: Path) -> None:
    git_that_does(programs, "echo said")
    path = tmp_path / "out"
    Git(str(tmp_path)).into(str(path), "x")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"said\n", 0o600)
    with pytest.raises(FileExistsError):
        Git(str(tmp_path)).into(str(path), "x")


@pytest.mark.parametrize("path", [".:{}", ":{}", "{}:", "sub:{}"])
def test_no_git_of_the_present_folder_is_started(
    path: str, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git_that_does(programs, "echo ours $PATH")
    agent = tmp_path / "agent"
    for folder in (agent, agent / "sub"):
        folder.mkdir()
        (folder / "git").write_text("#!/bin/sh\necho the agent\n")
        (folder / "git").chmod(0o755)
    monkeypatch.chdir(agent)
    monkeypatch.setenv("PATH", path.format(programs))
    assert Git(str(agent)).run("status") == b"ours %s\n" % os.fsencode(programs)


def test_git_stays_the_one_that_was_found_first(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = tmp_path / "early"
    early.mkdir()
    git_that_does(programs, "echo first")
    monkeypatch.setenv("PATH", f"{early}:{programs}")
    assert Git(str(tmp_path)).run("x") == b"first\n"
    git_that_does(early, "echo second")
    assert Git(str(tmp_path)).run("x") == b"first\n"


@pytest.fixture
def old_git(programs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git that knows no GIT_NO_LAZY_FETCH, and a helper for every protocol that leaves a mark beside it."""
    real = shutil.which("git", path=os.defpath)
    git_that_does(programs, f'unset GIT_NO_LAZY_FETCH; exec {real} "$@"')
    for name in ("none", "x", "evil"):
        (programs / f"git-remote-{name}").write_text(f"#!/bin/sh\ntouch {programs}/ran\n")
        (programs / f"git-remote-{name}").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.defpath}")
    return programs / "ran"


@pytest.mark.parametrize(
    "settings",
    [
        ("remote.origin.url=ext::sh -c touch% {}", "protocol.ext.allow=always"),
        ("remote.origin.url=none::x", "protocol.allow=always"),
        ("remote.origin.url=/x", "remote.origin.uploadpack=touch {} #", "protocol.file.allow=always"),
        ("remote.origin.url=ssh://x/y", "core.sshCommand=touch {} #", "protocol.ssh.allow=always"),
        ("remote.origin.url=x://x.invalid/y", "protocol.allow=always"),
        ("remote.origin.url=y", "remote.origin.vcs=evil", "protocol.evil.allow=always"),
    ],
    ids=lambda settings: settings[0],
)
def test_nothing_is_fetched_in_a_repository_that_an_agent_made(
    settings: tuple[str, ...], tmp_path: Path, old_git: Path
) -> None:
    """Its settings say what a fetch runs. Any git does without one, not only one that can be told so."""
    work = Work(tmp_path)
    work.write("a")
    work.commit()
    taken = work.take()
    inner = work.root / "inner"
    work.git("init", "-q", str(inner))
    for line in ("core.repositoryFormatVersion=1", "extensions.partialClone=origin", *settings):
        name, _, value = line.format(old_git).partition("=")
        work.git("config", name, value, cwd=inner)
    (inner / ".git" / "HEAD").write_text("1" * 40 + "\n")
    work.git("rev-parse", "HEAD^{commit}", cwd=inner, ok=False)
    assert old_git.exists(), "else this shows nothing"
    old_git.unlink()
    assert "inner" in changed(taken).names
    with contextlib.suppress(GitFailed):  # a fetch that is refused may end git by SIGPIPE
        Git(str(inner), {"GIT_DIR": f"{inner}/.git"}).ask("rev-parse", "HEAD^{commit}")
    assert not old_git.exists()


def test_a_work_tree_of_a_partial_clone_that_lacks_contents_is_refused_with_what_to_do(
    tmp_path: Path, old_git: Path
) -> None:
    work = Work(tmp_path)
    work.write("a", "1\n")
    first = work.commit()
    work.write("a", "2\n")
    work.commit()
    work.git("config", "uploadpack.allowFilter", "true")
    clone, folder = tmp_path / "clone", tmp_path / "run"
    work.git("clone", "-q", "--filter=blob:none", f"file://{work.root}", str(clone))
    folder.mkdir()
    with pytest.raises(GitFailed) as caught:
        create(str(clone), first, place(str(clone), "r", os.environ), str(folder))
    assert "partial clone" in str(caught.value.hint) and load(str(folder)) is None


def test_of_a_long_answer_only_the_beginning_is_made(tmp_path: Path, programs: Path) -> None:
    git_that_does(programs, "/usr/bin/yes flood")
    assert Git(str(tmp_path)).beginning(100_000, "x") == (b"flood\n" * 20_000)[:100_000]
    git_that_does(programs, "echo short")
    assert Git(str(tmp_path)).beginning(100_000, "x") == b"short\n"
    git_that_does(programs, "echo no >&2; exit 3")
    with pytest.raises(GitFailed, match="no"):
        Git(str(tmp_path)).beginning(100_000, "x")


def test_a_filter_of_the_user_is_no_program_that_an_agent_put_in_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`git status` runs filters, by names that it looks for on PATH: before a run, and in no sandbox."""
    work = Work(tmp_path)
    usual, planted = tmp_path / "bin", work.root / ".venv" / "bin"
    for folder, text in ((usual, "usual"), (planted, "planted")):
        folder.mkdir(parents=True)
        (folder / "my-lfs").write_text(f"#!/bin/sh\ntouch {tmp_path}/{text}\ncat\n")
        (folder / "my-lfs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{planted}:{usual}:{os.defpath}")
    work.git("config", "filter.lfs.clean", "my-lfs")
    work.write(".gitattributes", "*.bin filter=lfs\n")
    work.write(".gitignore", ".venv/\n")
    work.write("a.bin", "1\n")
    work.commit()
    (tmp_path / "planted").unlink()
    work.write("a.bin", "2\n")
    work.take()
    assert (tmp_path / "usual").exists() and not (tmp_path / "planted").exists()


def waiting_git(tmp_path: Path, programs: Path) -> Path:
    """A git that says who it is and then waits for a FIFO. The file with its pid."""
    os.mkfifo(tmp_path / "fifo")
    git_that_does(
        programs,
        f"echo $$ > {tmp_path}/pid.new\n/bin/mv {tmp_path}/pid.new {tmp_path}/pid\nread x < {tmp_path}/fifo",
    )
    return tmp_path / "pid"


def test_git_that_waits_without_end_is_ended(tmp_path: Path, programs: Path) -> None:
    pid = waiting_git(tmp_path, programs)
    git = Git(str(tmp_path))
    git.patience_s = 0.3
    with pytest.raises(GitFailed, match="`git status` waited without end"):
        git.run("status")
    assert not Path(f"/proc/{int(pid.read_text())}").exists()


def test_git_that_is_at_work_or_has_somebody_at_work_is_waited_for(tmp_path: Path, programs: Path) -> None:
    git = Git(str(tmp_path))
    git.patience_s = 0.05
    git_that_does(programs, "n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done; echo done")
    assert git.run("status") == b"done\n"
    git_that_does(programs, "/bin/sleep 1; echo done")
    assert git.run("status") == b"done\n"


INTERRUPTED = """
import os, sys
from runner.workspace.git import Git
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # now and then git is quicker than who has begun it
git = Git(sys.argv[1])
for _ in range(int(sys.argv[3])):
    try:
        git.run("status") if sys.argv[2] == "all" else git.beginning(5, "status")
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def interrupted(folder: Path, what: str, times: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", INTERRUPTED, str(folder), what, str(times)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("what", ["all", "the beginning"])
def test_git_does_not_outlive_an_interrupted_call(tmp_path: Path, programs: Path, what: str) -> None:
    pid = waiting_git(tmp_path, programs)
    with interrupted(tmp_path, what, 1) as caller:
        wait_until(pid.exists)
        caller.send_signal(signal.SIGINT)
        assert caller.communicate(timeout=30)[0] == "interrupted\n"
    wait_until(lambda: not Path(f"/proc/{int(pid.read_text())}").exists())


@pytest.mark.parametrize("what", ["all", "the beginning"])
def test_git_does_not_outlive_a_call_that_is_interrupted_the_moment_it_begins(
    tmp_path: Path, programs: Path, what: str
) -> None:
    os.mkfifo(tmp_path / "fifo")
    git_that_does(programs, f"kill -INT $PPID; read x < {tmp_path}/fifo")
    with interrupted(tmp_path, what, 300) as caller:
        assert caller.communicate(timeout=60)[0] == "interrupted\n" * 300
    assert [seen for seen in processes.of_folder(tmp_path) if "status" in seen.words] == []


TRUST = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "/trusted"}


def told(programs: Path, tmp_path: Path) -> dict[str, str]:
    """The environment that git gets from us."""
    git_that_does(programs, "exec /usr/bin/env -0")
    lines = Git(str(tmp_path)).run("x").decode().split("\0")[:-1]
    return dict(line.split("=", 1) for line in lines)


def settings_in(env: dict[str, str]) -> list[tuple[str, str]]:
    count = int(env["GIT_CONFIG_COUNT"])
    return [(env[f"GIT_CONFIG_KEY_{n}"], env[f"GIT_CONFIG_VALUE_{n}"]) for n in range(count)]


@pytest.mark.parametrize(
    "given",
    [
        {},
        TRUST,
        {"GIT_CONFIG_PARAMETERS": "'safe.directory'='/trusted' 'core.hooksPath'='/evil'"},
        {"GIT_CONFIG_PARAMETERS": "'safe.directory=/trusted'"},
        {"GIT_CONFIG_PARAMETERS": "'torn"},
        {
            **TRUST,
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_1": "core.hooksPath",
            "GIT_CONFIG_VALUE_1": "/evil",
        },
        {**TRUST, "GIT_CONFIG_COUNT": "99999999999999999999"},
        {**TRUST, "GIT_CONFIG_COUNT": "999999"},
        {"GIT_CONFIG_COUNT": "many"},
    ],
)
def test_settings_of_the_caller_are_passed_on_below_our_own(
    given: dict[str, str], tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    env = told(programs, tmp_path)
    found = settings_in(env)
    is_whole = "99999999999" not in given.get("GIT_CONFIG_COUNT", "")
    assert (("safe.directory", "/trusted") in found) is ("/trusted" in str(given) and is_whole)
    assert [value for name, value in found if name == "core.hooksPath"][-1] == os.devnull
    assert "GIT_CONFIG_PARAMETERS" not in env


def test_what_turns_git_elsewhere_or_is_for_remotes_is_dropped(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = ("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "COMMON_DIR", "NAMESPACE", "EXEC_PATH")
    for name in (*dropped, "PREFIX", "EXTERNAL_DIFF", "SSH_COMMAND", "TRACE", "AUTHOR_DATE", "ATTR_SOURCE"):
        monkeypatch.setenv(f"GIT_{name}", "/elsewhere")
    names = ("core.worktree", "CORE.BARE", "http.https://x/.extraheader", "include.path", "credential.helper")
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(names)))
    for number, name in enumerate(names):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", name)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", "/elsewhere")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "in-the-repository")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/etc/of-this-job")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", "/srv")
    env = told(programs, tmp_path)
    assert "/elsewhere" not in env.values() and "GIT_CONFIG_GLOBAL" not in env
    assert (env["GIT_CONFIG_SYSTEM"], env["GIT_CEILING_DIRECTORIES"]) == ("/etc/of-this-job", "/srv")


def test_a_process_of_ours_gets_the_same_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    env = {**TRUST, "HOME": "/h", "XDG_CONFIG_HOME": "/c", "GIT_DIR": "/elsewhere", "TOKEN": "secret"}
    trust = {"GIT_CONFIG_PARAMETERS": "'safe.directory'='/trusted'"}
    assert home.named(env) == {**trust, "HOME": "/h", "XDG_CONFIG_HOME": "/c"}


@pytest.mark.parametrize("value", ["it's", "a'b''c", "!x", "two words", "", 'ü=\\ "q"'])
def test_any_value_comes_through_as_it_was(value: str) -> None:
    env = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": value}
    passed = git_env.passed_on(env)
    assert git_env.settings(passed) == [("user.name", value)] and git_env.passed_on(passed) == passed
    words = ("git", "config", "--get", "user.name")
    told = subprocess.run(words, env={**passed, "HOME": "/"}, capture_output=True, check=True)
    assert told.stdout.decode() == f"{value}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_user_is_a_matter_of_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(tmp_path)
    work.write("a")
    work.commit()
    for path in (work.root, work.root / ".git"):
        os.chown(path, 1234, 1234)
    with pytest.raises(GitFailed, match="dubious ownership") as caught:
        find(str(work.root))
    assert "safe.directory" in caught.value.hint and "b'" not in caught.value.message
    for name, value in {**TRUST, "GIT_CONFIG_VALUE_0": str(work.root)}.items():
        monkeypatch.setenv(name, value)
    found = find(str(work.root))
    assert found is not None and found.root == str(work.root)
    tree = create(found, found.commit_of("HEAD"), place(str(work.root), "r", os.environ), str(work.folder))
    assert tree.is_there()


def test_whoever_a_run_starts_is_not_the_run_for_git() -> None:
    who = {"GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "runner", "GIT_COMMITTER_EMAIL": "a@b"}
    assert git_env.passed_on(who) == who
    assert git_env.passed_on({**who, "GIT_COMMITTER_EMAIL": git_env.mark("r")}) == {"GIT_AUTHOR_EMAIL": "a@b"}
