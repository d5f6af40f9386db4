"""What there is on a machine that runner obeys, and what is made to keep an agent from it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from support.values import a_config

import runner
from runner import runtimes
from runner.disk import interpreter
from runner.errors import InReach
from runner.model import Level, Notify, Program, Sandbox
from runner.resolve.invocation import Found
from runner.resolve.reach import Shield, is_inside
from runner.runtimes.base import Runtime
from runner.state import guard
from runner.usecases.protection import (
    Protection,
    fence_of,
    look,
    noticing,
    protection,
    reaches_git,
    refuse_exposed,
    seen,
)

CODEX, KAY, CLAUDE = map(runtimes.get, ("codex", "kay", "claude"))
WRITES = Sandbox("w", Level.WORKSPACE_WRITE)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    return folder


def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin", "TMPDIR": "/nowhere"}


def looked(repo: Path, program: str, sandbox: Sandbox = WRITES) -> Shield:
    return look(str(repo), str(repo), sandbox, CODEX, program, env(repo.parent))


def paths(found: Shield) -> list[str]:
    return [one.path for one in found.read_only]


def kept(asked: Notify, repo: Path, sandbox: Sandbox = WRITES, runtime: Runtime = CODEX) -> Notify:
    return noticing(asked, str(repo), str(repo), sandbox, runtime, env(repo.parent))


def a_program(path: Path) -> str:
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


EVERYWHERE = WRITES.replace(writable=("/",))
PACKAGE = os.path.dirname(os.path.abspath(runner.__file__))


def is_kept(found: Shield, path: str) -> bool:
    """Whether the agent is kept from it, or the run from its start."""
    real = os.path.realpath(path)
    return any(is_inside(real, one.path) for one in (*found.read_only, *found.exposed))


@pytest.mark.parametrize(
    "path",
    [
        *("{base}/repo/.runs", "{base}/repo/.git/config", "{base}/repo/tools/codex"),
        *("{base}/state/runner/key", "{base}/state/runner/trust", "{base}/state/runner/scratch"),
        *("{base}/config/runner/config.toml", "{base}/config/runner/policy.toml", "/etc/runner/policy.toml"),
        *("{base}/cache/runner/config", "{base}/own/config.toml", "{base}/own/hooks.json"),
        *("{base}/home/.gitconfig", "{base}/config/git/config", "{base}/config/git/attributes"),
        *("{base}/repo/ci.gitconfig", "{base}/repo/system.gitconfig"),
        *("{base}/bin/git", f"{PACKAGE}/supervise/__main__.py", sys.executable, os.__file__),
        os.path.realpath(sys.executable),
    ],
)
def test_whatever_runner_obeys_is_kept_from_an_agent_that_may_write_everywhere(
    repo: Path, tmp_path: Path, path: str
) -> None:
    a_program(repo / "tools/codex")
    own = {name: f"{tmp_path}/{name}" for name in ("state", "config", "cache", "own", "bin")}
    searched = {
        **env(tmp_path),
        "PATH": f"{own['bin']}:/usr/bin",
        "XDG_STATE_HOME": own["state"],
        "XDG_CONFIG_HOME": own["config"],
        "XDG_CACHE_HOME": own["cache"],
        "CODEX_HOME": own["own"],
        "GIT_CONFIG_GLOBAL": f"{repo}/ci.gitconfig",
        "GIT_CONFIG_SYSTEM": f"{repo}/system.gitconfig",
    }
    found = look(str(repo), str(tmp_path / "tree"), EVERYWHERE, CODEX, f"{repo}/tools/codex", searched)
    assert is_kept(found, path.format(base=tmp_path))
    assert not is_kept(found, f"{repo}/src/app.py") and not is_kept(found, str(tmp_path / "tree"))


@pytest.mark.skipif(interpreter.environment() is None, reason="no virtual environment")
def test_of_an_environment_that_the_agent_is_to_work_in_what_runner_runs_from_is_kept(repo: Path) -> None:
    prefix = os.path.realpath(interpreter.environment() or "")
    found = looked(repo, "/usr/bin/codex", WRITES.replace(writable=("/", f"{prefix}/share")))
    packages = next(entry for entry in sys.path if entry.endswith("-packages"))
    for path in (f"{packages}/evil.pth", f"{prefix}/pyvenv.cfg", os.path.realpath(sys.executable)):
        assert is_kept(found, path), path
    assert not is_kept(found, f"{prefix}/share/doc")
    assert is_kept(looked(repo, "/usr/bin/codex", EVERYWHERE), f"{prefix}/share/doc"), "else all of it is"


@pytest.mark.skipif(PACKAGE.startswith("/tmp/"), reason="runner itself is where everybody has files")
@pytest.mark.parametrize(
    ("tmpdir", "is_own"), [("/n/h", True), ("/n", True), ("/n/other", False), ("n", False), ("", False)]
)
def test_the_folder_that_a_variable_names_for_temporary_files_is_one(tmpdir: str, is_own: bool) -> None:
    variables = {"HOME": "/n/h", "PATH": "/usr/bin", "TMPDIR": tmpdir}
    assert look("/repo", "/repo", WRITES, CODEX, "/usr/bin/codex", variables).own_temp is is_own


@pytest.mark.parametrize(
    ("program", "whole"),
    [
        ("node_modules/@openai/codex/bin/codex.js", "node_modules"),
        ("node_modules/.pnpm/codex@1/node_modules/@openai/codex/bin/codex.js", "node_modules"),
        (
            "v/lib/python3.11/site-packages/codex_cli_bin/bin/codex",
            "v/lib/python3.11/site-packages/codex_cli_bin",
        ),
        ("tools/bin/codex", "tools/bin/codex"),
    ],
)
def test_all_that_a_program_consists_of_is_protected(repo: Path, program: str, whole: str) -> None:
    assert f"{repo}/{whole}" in paths(looked(repo, a_program(repo / program)))


def test_a_program_of_a_virtual_environment_is_all_of_it(repo: Path) -> None:
    program = a_program(repo / "v/bin/codex")
    (repo / "v/pyvenv.cfg").touch()
    assert f"{repo}/v" in paths(looked(repo, program))


def test_a_link_of_links_is_followed_to_each_of_them(repo: Path) -> None:
    program = a_program(repo.parent / "elsewhere/bin/codex")
    (repo / "one").symlink_to("./two")
    (repo / "two").symlink_to(repo.parent / "elsewhere")
    found = looked(repo, f"{repo}/one/bin/codex")
    (one,) = found.exposed
    assert (one.path, set(one.links)) == (program, {f"{repo}/one", f"{repo}/two"})


def test_what_is_missing_is_made_where_an_agent_could_make_it_itself(repo: Path, tmp_path: Path) -> None:
    wide = WRITES.replace(writable=(str(tmp_path / "given"),))
    program = Program(a_program(tmp_path / "bin/codex"), "0.163.0", frozenset())
    found = Found(run_id="r", cwd=str(repo), program=program, text="x")
    settings = tmp_path / "given/settings-of-git"
    made = protection(str(repo), wide, CODEX, found, env(tmp_path) | {"GIT_CONFIG_GLOBAL": str(settings)})
    made.make()
    assert isinstance(made, Protection)
    for place, one in zip(made.fence.guards, made.shield.read_only, strict=True):
        assert Path(one.path).exists()
        assert (Path(place) / ".git").read_text() == f"gitdir: {one.path}\n"
    assert settings.read_bytes() == b""
    assert made.fence.temp is not None and Path(made.fence.temp).is_dir(), "it all lies below /tmp"
    made.undo()
    assert not Path(made.fence.temp).exists()


def test_a_program_that_can_be_told_so_is_told_what_is_read_only(repo: Path, tmp_path: Path) -> None:
    main, own = tmp_path / "main/.git", tmp_path / "main/.git/worktrees/repo"
    own.mkdir(parents=True)
    (own / "commondir").write_text("../..\n")
    (repo / ".git").write_text(f"gitdir: {own}\n")
    found = Found(run_id="r", cwd=str(repo), program=Program("/usr/bin/codex", "1", frozenset()), text="")
    kept = protection(str(repo), WRITES, CODEX, found, env(tmp_path)).fence.read_only
    assert {str(repo / ".runs"), str(own), str(main)} <= {*kept}
    (repo / ".git").unlink()
    assert str(repo / ".git") in protection(str(repo), WRITES, CODEX, found, env(tmp_path)).fence.read_only


def test_the_programs_own_folder_is_read_only_wherever_it_is(repo: Path, tmp_path: Path) -> None:
    program = Program(a_program(tmp_path / "bin/claude"), "2.1.332", frozenset())
    found = Found(run_id="r", cwd=str(repo), program=program, text="")
    (tmp_path / "link").symlink_to("/opt/of-the-user")
    for name, real in (("/opt/own", "/opt/own"), (str(tmp_path / "link"), "/opt/of-the-user")):
        about = {**env(tmp_path), "CLAUDE_CONFIG_DIR": name}
        assert {name, real} <= {*protection(str(repo), WRITES, CLAUDE, found, about).fence.read_only}


def test_who_knows_no_guards_may_write_only_where_nothing_needs_one(repo: Path, tmp_path: Path) -> None:
    program = Program(a_program(tmp_path / "bin/kay"), "0.9.46", frozenset())
    found = Found(run_id="r", cwd=str(tmp_path / "tree"), program=program, text="x")
    assert protection(str(repo), WRITES, KAY, found, env(tmp_path)).fence.guards == ()
    with pytest.raises(InReach, match="Kay cannot make it read-only"):
        protection(str(repo), WRITES, KAY, found.replace(cwd=str(repo)), env(tmp_path))


def test_a_refusal_names_what_is_open_and_what_to_change(repo: Path, tmp_path: Path) -> None:
    a_program(tmp_path / "bin/codex")
    wide = WRITES.replace(writable=(str(tmp_path / "home/.codex"),))
    with pytest.raises(InReach) as refused:
        seen(
            a_config(root=str(repo)), CODEX, wide, str(repo), {**env(tmp_path), "PATH": str(tmp_path / "bin")}
        )
    assert refused.value.code == "in_reach" and refused.value.exit_status == 5
    assert f"{tmp_path}/home/.codex" in refused.value.message
    assert refused.value.hint is not None and "`writable`" in refused.value.hint


def test_programs_that_the_agents_program_finds_on_path_are_protected(repo: Path, tmp_path: Path) -> None:
    (repo / "v/bin").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    searched = {**env(tmp_path), "PATH": f"{repo}/v/bin:bin:{tmp_path}/elsewhere:{repo}/node_modules/.bin"}
    found = look(str(repo), str(repo), WRITES, CODEX, "/usr/bin/codex", searched)
    assert {f"{repo}/v/bin", f"{repo}/node_modules/.bin"} < {*paths(found)}
    assert f"{tmp_path}/elsewhere" not in paths(found), "it is out of reach"


@pytest.mark.parametrize("name", ["git", "bwrap", "socat"])
def test_a_program_that_path_names_by_a_link_into_the_repository_is_protected(
    repo: Path, tmp_path: Path, name: str
) -> None:
    runtime = runtimes.get("claude") if name == "socat" else CODEX
    program = a_program(repo / "tools" / name)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / name).symlink_to(program)
    codex = a_program(tmp_path / "bin/codex")
    for path in (f"{tmp_path}/linked:/usr/bin", f"/nowhere:{tmp_path}/linked"):
        found = look(str(repo), str(repo), WRITES, runtime, codex, {**env(tmp_path), "PATH": path})
        assert program in paths(found)


def test_a_program_that_has_another_name_in_the_work_tree_is_kept_from_the_agent(
    repo: Path, tmp_path: Path
) -> None:
    """By a hard link; not one with the same content, nor in what is protected anyhow."""
    for name in ("git", "codex"):
        program = a_program(tmp_path / f"of-{name}" / name)
        (repo / name / "deep").mkdir(parents=True)
        os.link(program, repo / name / "deep" / "other")
        (repo / name / "copy").write_bytes(Path(program).read_bytes())
    (repo / ".git").mkdir()
    os.link(tmp_path / "of-git/git", repo / ".git/linked")
    (repo / "link").symlink_to("git/deep/other")
    more = {**env(tmp_path), "PATH": f"{tmp_path}/of-git:/usr/bin"}
    found = look(str(repo), str(repo), WRITES, CODEX, f"{tmp_path}/of-codex/codex", more)
    kept = {one.path for one in found.read_only if is_inside(one.path, str(repo))}
    assert kept == {f"{repo}/.runs", f"{repo}/git/deep/other", f"{repo}/codex/deep/other"}
    assert all(one.is_file for one in found.read_only if one.path.endswith("other"))


def test_no_run_starts_where_its_agent_could_put_programs_right_on_path(repo: Path, tmp_path: Path) -> None:
    searched = {**env(tmp_path), "PATH": f"{repo}:/usr/bin"}
    found = look(str(repo), str(repo), WRITES, CODEX, "/usr/bin/codex", searched)
    with pytest.raises(InReach, match="programs of PATH"):
        refuse_exposed(found, CODEX)


@pytest.mark.parametrize("what", [".", ".git", "..", "../..", ".codex", "no .codex"])
def test_a_guard_that_others_could_have_changed_is_closed_again(tmp_path: Path, what: str) -> None:
    named, made = tmp_path / "named", guard.guard_of(str(tmp_path / "named"), "/nowhere", env(tmp_path))
    guard.make_guard(made, str(named), CODEX.made_folders)
    opened = Path(made, what)
    if what == "no .codex":
        Path(made, ".codex").rmdir()
        opened = Path(made, ".codex")
    else:
        opened.chmod(0o777)
    guard.make_guard(made, str(named), CODEX.made_folders)
    assert opened.stat().st_mode & 0o077 == 0
    assert Path(made, ".git").read_text() == f"gitdir: {named}\n"


def test_what_tells_the_user_is_kept_from_the_agent(repo: Path) -> None:
    own, script = a_program(repo.parent / "repo/bin/tell"), a_program(repo / "tools/tell.py")
    turn = a_program(repo / "other/turn")
    told = Notify(on_end=(own, "x"), on_attention=("/usr/bin/python3", "tools/tell.py"), on_turn=(turn,))
    found = look(str(repo), str(repo), WRITES, CODEX, "/usr/bin/codex", env(repo.parent), told)
    assert is_kept(found, own) and is_kept(found, script) and is_kept(found, turn)


@pytest.mark.parametrize(
    "before",
    [(), ("/usr/bin/sh",), ("/usr/bin/sh", "-c"), ("/usr/bin/flock", "/tmp"), ("/usr/bin/make", "-f")],
)
def test_a_file_that_a_notice_names_is_kept_from_an_agent_and_one_that_is_missing_is_not_started(
    repo: Path, before: tuple[str, ...]
) -> None:
    script = repo / "tools" / "tell"
    asked = Notify(on_end=("/usr/bin/true",), on_turn=(*before, str(script)))
    if before[:1] not in (("/usr/bin/flock",), ("/usr/bin/make",)):  # where no word is known to be a script
        assert kept(asked, repo) == asked.replace(on_turn=(str(script).lstrip("/"),))
    a_program(script)
    assert kept(asked, repo) == asked
    found = look(str(repo), str(repo), WRITES, CODEX, "/usr/bin/codex", env(repo.parent), asked)
    assert is_kept(found, str(script))


def test_a_notice_may_try_programs_that_no_agent_can_make(repo: Path) -> None:
    asked = Notify(on_end=("/usr/bin/sh", "-c", "/opt/none/tell || /usr/bin/none || cat > $HOME/told"))
    assert kept(asked, repo) == asked
    given = WRITES.replace(writable=("/opt/none",))
    assert kept(asked, repo, given) == asked.replace(on_end=("opt/none/tell",))
    assert kept(asked, repo, runtime=runtimes.get("gemini")) != asked  # it has no sandbox
    there = repo / "there"
    there.symlink_to(repo / "made-later")
    (repo.parent / "out").symlink_to(there)
    for missing in (str(repo / "x"), str(repo.parent / "out"), "/tmp/none/tell"):
        assert kept(Notify(on_end=(missing,)), repo).on_end == (missing.lstrip("/"),)
        reads = Sandbox("r", Level.READ_ONLY)
        assert kept(Notify(on_end=(missing,)), repo, reads).on_end == (missing,)


def test_no_run_may_write_in_the_home_of_its_user_as_its_own_folder(repo: Path, tmp_path: Path) -> None:
    def made(home: Path, cwd: Path = repo) -> Protection:
        places = {f"XDG_{name}_HOME": str(tmp_path / name) for name in ("STATE", "CONFIG", "CACHE")}
        program = Program("/usr/bin/codex", "1", frozenset())
        found = Found(run_id="r", cwd=str(cwd), program=program, text="")
        return protection(str(repo), WRITES, CODEX, found, {"HOME": str(home), **places})

    (repo / "user").mkdir()
    (tmp_path / "link").symlink_to(repo)
    for home in (repo, repo / "user", tmp_path / "link"):
        with pytest.raises(InReach, match="what your shell starts with"):
            made(home)
    assert made(repo, repo / "user") and made(tmp_path / "home") and made(tmp_path)


@pytest.mark.parametrize(
    ("denied", "left"),
    [
        (["a", "a/b", "a/b/c"], ["a"]),
        (["a/b", "ab", "a/b/c"], ["a/b", "ab"]),
        (["none", "a/none", "link"], ["other"]),
        (["link", "other"], ["other"]),
        (["..", "a", "a/b"], ["..", "a"]),
        (["../beside/in", "../beside", "w/in"], ["../beside", "w/in"]),
        ([], []),
    ],
)
def test_what_must_not_be_read_is_named_once_with_links_followed(
    repo: Path, denied: list[str], left: list[str]
) -> None:
    """A folder above the repository does not cover what lies in it: to work there opens it again."""
    for name in ("a/b/c", "ab", "other", "../beside/in", "w/in"):
        (repo / name).mkdir(parents=True)
    (repo / "link").symlink_to("other")
    sandbox = WRITES.replace(deny_read=tuple(os.path.normpath(repo / name) for name in denied))
    found = fence_of(a_config(root=str(repo)), CODEX, sandbox, env(repo.parent), is_apart=False)
    assert found.unread is not None
    assert sorted(found.unread) == sorted(os.path.normpath(repo / name) for name in left)


@pytest.mark.parametrize("level", [Level.READ_ONLY, Level.WORKSPACE_WRITE])
def test_the_records_must_not_be_read_either_where_there_are_none_yet(repo: Path, level: Level) -> None:
    """The first run of a repository makes them."""
    (repo / "secret").mkdir()
    sandbox = Sandbox("s", level, deny_read=(str(repo / "secret"),))
    found = Found(run_id="r", cwd=str(repo), program=Program("/usr/bin/codex", "1", frozenset()), text="")
    made = protection(str(repo), sandbox, CODEX, found, env(repo.parent))
    assert made.fence.unread == (str(repo / ".runs"), str(repo / "secret"))


# -- the folder of git -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        *((name, Level.DANGER, True) for name in ("codex", "claude", "kay", "gemini", "acp")),
        *((name, Level.READ_ONLY, False) for name in ("codex", "claude", "kay", "gemini", "acp")),
        *((name, Level.WORKSPACE_WRITE, False) for name in ("codex", "claude", "kay")),
        *((name, Level.WORKSPACE_WRITE, True) for name in ("gemini", "acp")),
    ],
)
def test_who_could_write_the_folder_of_git_is_known(
    repo: Path, tmp_path: Path, name: str, level: Level, expected: bool
) -> None:
    a_git(repo / ".git")
    tree = "/nowhere/tree" if name in ("kay", "gemini", "acp") else str(repo)
    assert reaches(repo, Sandbox("x", level), name, tree) is expected
    below = repo / "below"
    below.mkdir()
    assert reaches(below, Sandbox("x", level), name, tree if tree != str(repo) else str(below)) is expected


@pytest.mark.parametrize(
    ("given", "codex", "claude"),
    [
        ("{base}", True, False),
        ("{base}/main", False, False),
        ("{base}/main/.git", True, False),
        ("{base}/x", False, False),
    ],
)
def test_of_a_linked_work_tree_what_writable_opens_counts(
    tmp_path: Path, given: str, codex: bool, claude: bool
) -> None:
    repo, git = tmp_path / "repo", tmp_path / "main/.git/worktrees/repo"
    a_git(tmp_path / "main/.git")
    git.mkdir(parents=True)
    repo.mkdir()
    (repo / ".git").write_text(f"gitdir: {git}\n")
    (git / "commondir").write_text("../..\n")
    sandbox = WRITES.replace(writable=(given.format(base=tmp_path),))
    assert reaches(repo, sandbox, "codex", str(repo)) is codex
    assert reaches(repo, sandbox, "claude", str(repo)) is claude


def a_git(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "HEAD").write_text("ref: refs/heads/main\n")


def reaches(repo: Path, sandbox: Sandbox, name: str, cwd: str) -> bool:
    runtime, variables = runtimes.get(name), env(repo.parent)
    made = None
    if sandbox.level is Level.WORKSPACE_WRITE and runtime.has_sandbox:
        found = Found("r", cwd, Program("/usr/bin/program", "1", frozenset()), "x")
        made = protection(str(repo), sandbox, runtime, found, variables)
    return reaches_git(str(repo), sandbox, runtime, cwd, made, variables)
