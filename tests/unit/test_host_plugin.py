"""The plugin of the hosts: its files in the repository, and those that a runner writes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.imports import ROOT

from runner import runtimes
from runner.errors import Conflict, RunnerError, Unwritable
from runner.hosts import guard, plugin, typed
from runner.model import VERSION
from runner.resolve.invocation import DEFAULT_ENV
from runner.runtimes.kay import PROVIDER_KEYS
from runner.usecases.plugin import ours, wanted

DATA = ROOT / "plugins" / "runner"
SKILLS = sorted(path.parent.name for path in DATA.glob("skills/*/SKILL.md"))
MARKETS = [str(ROOT / name) for name in plugin.MARKETS]
NAMED = ("hooks/claude.json", "hooks/codex.json", "mcp/codex.json", "monitors/monitors.json")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home"), "XDG_STATE_HOME": str(tmp_path / "state")}


def written(env: dict[str, str]) -> Path:
    return Path(plugin.write("codex", wanted(), env))


def front_matter(skill: str) -> tuple[dict[str, str], list[str]]:
    _, head, body = (DATA / "skills" / skill / "SKILL.md").read_text().split("---\n", 2)
    return dict(line.split(": ", 1) for line in head.splitlines()), body.splitlines()


def test_the_files_in_the_repository_are_those_that_name_the_runner_on_path() -> None:
    made = plugin.made(str(DATA), MARKETS, ("runner",), ("runner", "__hook"))
    for (
        name
    ) in NAMED:  # written by hand, or an older one, it would be another plugin than that which is tested
        assert (DATA / name).read_bytes() == made[plugin.BELOW + name], name


def test_an_installed_plugin_differs_from_them_by_the_command_of_this_runner_alone() -> None:
    committed = plugin.made(str(DATA), MARKETS, ("runner",), ("runner", "__hook"))
    other = {name for name, data in wanted().items() if data != committed[name]}
    assert other == {plugin.BELOW + name for name in NAMED}
    program, hook = ours()
    assert all(os.path.isabs(word) for words in ours() for word in (words[0], words[-1]))
    assert program[0] == hook[0]
    for name in NAMED:
        assert "runner __hook" not in wanted()[plugin.BELOW + name].decode()


def test_a_guard_stands_before_each_hook_and_looks_for_a_mode_where_one_can_deny() -> None:
    claude = json.loads(wanted()[plugin.BELOW + "hooks/claude.json"])["hooks"]
    guarded = [claude[event][0]["hooks"][0]["args"] for event in ("PreToolUse", "SessionStart", "SessionEnd")]
    assert {words[1] for words in guarded} == {guard.CLAUDE}
    assert claude["PreToolUse"][0]["hooks"][0]["onFailure"] == "block"
    assert claude["UserPromptExpansion"][0]["hooks"][0]["args"][1] == guard.CLAUDE_TYPED
    codex = json.loads(wanted()[plugin.BELOW + "hooks/codex.json"])["hooks"]
    assert codex.keys() == {"PreToolUse", "UserPromptSubmit"}  # each hook has to be trusted by a person
    assert guard.CODEX in codex["PreToolUse"][0]["hooks"][0]["command"]
    assert guard.CODEX_TYPED in codex["UserPromptSubmit"][0]["hooks"][0]["command"]


GONE = ("/nonexistent/bin/python", "-I", "/nonexistent/hosts/__main__.py")
BROKEN = (sys.executable, "-I", "/nonexistent/hosts/__main__.py")  # Python ends with 2, which would block


@pytest.mark.parametrize("hook", [GONE, BROKEN])
def test_who_removes_runner_goes_on_in_codex_and_is_told_in_claude_code_what_to_do(
    hook: tuple[str, ...], env: dict[str, str]
) -> None:
    made = plugin.commands(("runner",), hook)
    (typed,) = made["hooks/codex.json"]["hooks"]["UserPromptSubmit"][0]["hooks"]
    done = subprocess.run(["/bin/sh", "-c", typed["command"]], env=env, input=b"{}", capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    (typed,) = made["hooks/claude.json"]["hooks"]["UserPromptExpansion"][0]["hooks"]
    argv, own = [typed["command"], *typed["args"]], env | {"CLAUDE_CODE_SESSION_ID": "s1"}
    done = subprocess.run(argv, env=own, input=b"{}", capture_output=True)
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"runner: {hook[-1]} does not start")
    assert f"`rm '{env['XDG_STATE_HOME']}/runner/hosts/claude/s1.json'`" in line
    assert "`claude plugin uninstall runner@runner`" in line


def test_the_server_of_codex_is_handed_all_that_a_run_is_given_where_it_is_set() -> None:
    """Codex hands on no other variable than a few of its own."""
    by_itself = {"HOME", "PATH", "SHELL", "USER", "LOGNAME", "TERM", "LANG", "LC_*", "TZ", "TMPDIR"}
    keys = {name for which in runtimes.NAMES for name in runtimes.get(which).key_env}
    keys |= {name for name in PROVIDER_KEYS.values() if name}
    state = {"XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"}
    assert {*plugin.VARIABLES} == ({*DEFAULT_ENV} - by_itself) | keys | state
    (serve,) = json.loads(wanted()[plugin.BELOW + "mcp/codex.json"])["mcpServers"].values()
    assert serve["env_vars"] == [*plugin.VARIABLES]
    assert "required" not in serve  # no session would begin without it


def test_no_manifest_lies_where_it_would_take_the_hooks_from_codex() -> None:
    """With a portable `plugin.json` at the root, Codex 0.163 and 0.171 do not look at `.codex-plugin`."""
    assert not (DATA / "plugin.json").exists()
    assert "agent-plugins.org" in (DATA / "portable" / "plugin.json").read_text()


def test_all_manifests_say_the_version_of_the_package() -> None:
    for folder in (".claude-plugin", ".codex-plugin", "portable"):
        assert json.loads((DATA / folder / "plugin.json").read_text())["version"] == VERSION


def test_a_wheel_has_the_plugin_where_an_installed_runner_looks_for_it() -> None:
    include = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    of_wheel = include["wheel"]["force-include"]
    for name in ("plugins", *(market.partition("/")[0] for market in plugin.MARKETS)):
        assert of_wheel[name] == f"runner/{name}"


@pytest.mark.parametrize("skill", SKILLS)
def test_a_skill_is_short_for_it_is_paid_for_at_every_call(skill: str) -> None:
    head, body = front_matter(skill)
    assert head["name"] == skill
    assert len(head["description"]) <= 110
    assert len(body) <= 25
    is_for_people = head.get("disable-model-invocation") == "true"
    assert (DATA / "skills" / skill / "agents" / "openai.yaml").exists() is is_for_people


def test_each_name_that_the_hook_answers_has_a_skill_and_each_skill_is_known() -> None:
    assert {*SKILLS} == typed._WORDS.keys() | {"plan", "pipeline"}


def test_each_command_in_a_skill_is_a_command_of_runner() -> None:
    from runner.cli.app import COMMANDS

    pages = [*DATA.glob("skills/*/*.md"), DATA / "snippet.md", DATA / "README.md"]
    verbs = {verb for page in pages for verb in re.findall(r"`runner ([a-z-]+)", page.read_text())}
    assert verbs - COMMANDS.keys() == set()
    assert {"start", "retry", "report", "accept", "plan", "consent"} <= verbs


def test_the_same_runner_writes_the_same_bytes_and_leaves_a_file_that_has_them(env: dict[str, str]) -> None:
    folder = written(env)
    before = {path: path.stat().st_ino for path in folder.rglob("*")}
    (folder / "plugins/runner/README.md").write_text("edited")
    (folder / "plugins/runner/more.sh").write_text("added")
    assert sorted(plugin.differing(str(folder), wanted())) == [
        "plugins/runner/README.md",
        "plugins/runner/more.sh",
    ]
    assert written(env) == folder
    after = {path: path.stat().st_ino for path in folder.rglob("*")}
    assert after.keys() == before.keys()  # Codex's trust is in the folder as a whole
    assert [path.name for path in after if after[path] != before[path]] == ["README.md"]
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["plugins/runner/hooks", "plugins/runner/hooks/claude.json", "plugins"])
def test_what_others_may_write_is_not_as_it_was_written(env: dict[str, str], name: str) -> None:
    folder = written(env)
    mode = (folder / name).stat().st_mode
    (folder / name).chmod(0o777)
    assert plugin.differing(str(folder), wanted()) == [name]
    written(env)
    assert plugin.differing(str(folder), wanted()) == []
    assert (folder / name).stat().st_mode == mode


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_written_through(
    env: dict[str, str], tmp_path: Path
) -> None:
    folder = written(env)
    (tmp_path / "mine").write_text("mine")
    (folder / "plugins/runner/README.md").unlink()
    (folder / "plugins/runner/README.md").symlink_to(tmp_path / "mine")
    written(env)
    assert not (folder / "plugins/runner/README.md").is_symlink()
    assert (tmp_path / "mine").read_text() == "mine"


def test_an_installation_repairs_what_has_another_kind(env: dict[str, str], tmp_path: Path) -> None:
    folder = written(env)
    (tmp_path / "elsewhere").mkdir()
    (folder / "plugins/runner/more").symlink_to(tmp_path / "elsewhere")
    (folder / "plugins/runner/README.md").unlink()
    (folder / "plugins/runner/README.md/inner").mkdir(parents=True)
    written(env)
    assert plugin.differing(str(folder), wanted()) == []
    assert (tmp_path / "elsewhere").is_dir()


@pytest.mark.parametrize("place", ["plugin", "plugin/codex"])
def test_a_link_in_the_place_of_a_folder_is_refused(env: dict[str, str], tmp_path: Path, place: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "state" / "runner" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(Conflict):
        written(env)
    elsewhere.joinpath("codex").mkdir()
    with pytest.raises(Conflict):
        plugin.remove("codex", env)
    assert not [path for path in elsewhere.rglob("*") if path.is_file()]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_the_folder_of_another_user_is_refused(env: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "state" / "runner" / "plugin" / "codex"
    folder.mkdir(parents=True)
    os.chown(folder, 65534, 65534)
    for act in (lambda: written(env), lambda: plugin.remove("codex", env)):
        with pytest.raises(RunnerError):
            act()
    assert not [*folder.iterdir()]


def test_no_plugin_is_written_where_others_could_replace_it(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o777)
    (tmp_path / "state").chmod(0o777)
    with pytest.raises(Unwritable, match="others"):
        written(env)


def test_to_remove_twice_is_no_error_and_leaves_the_plugin_of_the_other_host(env: dict[str, str]) -> None:
    folder, other = written(env), Path(plugin.write("claude", wanted(), env))
    assert [plugin.remove("codex", env), plugin.remove("codex", env)] == [True, False]
    assert not folder.exists()
    assert other.exists()
