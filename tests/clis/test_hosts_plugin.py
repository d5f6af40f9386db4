"""The real Claude Code and Codex install the plugin, say what they make of it, and take it out again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.clis import CLIS, add
from support.codex import codex_path
from support.hosts import Claude, Codex, Host, Screen, patch, says, shell
from support.imports import ROOT
from support.repo import RUNNER, Repo
from support.waiting import wait_until

from runner.rehearsal.turns import Turn

HOSTS = ("claude", "codex", "codex of PyPI")
OPEN = {"delegate", "runs", "answer", "plan", "pipeline"}
"""The skills that a model may use itself."""

Hosts = Callable[..., Host]


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest, repo: Repo, hosts: Hosts) -> Host:
    return opened(repo, hosts, request.param)


@pytest.fixture
def claude(repo: Repo, hosts: Hosts) -> Host:
    return opened(repo, hosts, "claude")


@pytest.fixture(params=HOSTS[1:])
def codex(request: pytest.FixtureRequest, repo: Repo, hosts: Hosts) -> Host:
    return opened(repo, hosts, request.param)


def opened(repo: Repo, hosts: Hosts, which: str, *turns: Turn) -> Host:
    """A host that the `runner` of this repository finds on its PATH."""
    found = hosts(which.split()[0], *turns)
    if which == HOSTS[2]:
        found.program = codex_path()
    found.put_on_path()
    repo.env.update({name: value for name, value in found.env.items() if name.startswith(("CLAUDE", "DIS"))})
    return found


def plugin(host: Host, verb: str, *words: str) -> Any:
    """What the command says in JSON; its exit status is looked at where it means something."""
    yes = () if verb == "doctor" else ("--yes",)
    done = host.repo.cli("plugin", verb, "--host", host.name, "--json", *yes, *words)
    assert done.stdout, done.stderr
    told = done.json()
    assert done.status == (0 if told.get("ready", "error" not in told) else 8 if "ready" in told else 9)
    return told


def checks(host: Host) -> dict[str, tuple[str, str]]:
    return {one["name"]: (one["verdict"], one["message"]) for one in plugin(host, "doctor")["checks"]}


def folder_of(host: Host) -> Path:
    return host.repo.home / ".local/state/runner/plugin" / host.name


def validated(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [str(CLIS / "claude"), "plugin", "validate", str(path), "--strict", "--json", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def test_claude_finds_nothing_to_mend_in_the_plugin(claude: Host) -> None:
    plugin(claude, "install")
    for place in (ROOT, folder_of(claude)):
        assert validated(place).returncode == 0
        done = validated(place / "plugins/runner", "--profile", "directory")
        assert (done.returncode, json.loads(done.stdout)["directory"]["findings"]) == (0, []), done.stdout


def test_a_plugin_is_installed_and_removed_and_both_twice(host: Host) -> None:
    assert plugin(host, "remove") == {"host": host.name, "removed": False}
    for _ in range(2):
        told = plugin(host, "install")
        assert told["installed"] is True
        assert (Path(told["folder"]) / "hooks/claude.json").exists()
        assert checks(host)["plugin"][0] == checks(host)["hook"][0] == "ok"
    assert plugin(host, "remove")["removed"] is True
    assert plugin(host, "remove")["removed"] is False
    assert checks(host)["plugin"] == ("fail", checks(host)["plugin"][1])
    assert "missing" in checks(host)["plugin"][1]
    assert not folder_of(host).exists()
    assert "runner@runner" not in host.cli("plugin", "list", "--json").stdout


def test_an_installed_plugin_that_was_changed_is_told_and_installed_again(host: Host) -> None:
    read = Path(plugin(host, "install")["folder"])
    skill = read / "skills/delegate/SKILL.md"
    skill.chmod(0o600)
    skill.write_text(skill.read_text() + "Do as I say.\n")
    verdict, message = checks(host)["plugin"]
    assert (verdict, "modified" in message, "skills/delegate/SKILL.md" in message) == ("fail", True, True)
    plugin(host, "install")
    assert checks(host)["plugin"][0] == "ok"


def test_a_hook_whose_program_is_gone_is_told(host: Host) -> None:
    read = Path(plugin(host, "install")["folder"])
    hooks = read / f"hooks/{host.name}.json"
    hooks.chmod(0o600)
    hooks.write_text(hooks.read_text().replace("/hosts/__main__.py", "/gone/__main__.py"))
    verdict, message = checks(host)["plugin"]
    assert verdict == "fail"
    assert "/gone/__main__.py, which is not there" in message


def test_another_marketplace_of_that_name_is_a_conflict_and_stays(host: Host, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["cp", "-r", folder_of_checkout(tmp_path), other], check=True)
    assert host.cli("plugin", "marketplace", "add", str(other)).returncode == 0
    told = plugin(host, "install")["error"]
    assert (told["code"], str(other) in told["message"]) == ("conflict", True)
    assert plugin(host, "remove")["removed"] is False
    assert str(other) in host.cli("plugin", "marketplace", "list", "--json").stdout
    host.cli("plugin", "install" if host.name == "claude" else "add", "runner@runner")
    verdict, message = checks(host)["plugin"]  # it names `runner`, not this one
    assert (verdict, "another one" in message) == ("fail", True)


def folder_of_checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    for name in ("plugins", ".claude-plugin", ".agents"):
        folder.mkdir(exist_ok=True)
        subprocess.run(["cp", "-r", ROOT / name, folder], check=True)
    return folder


def test_codex_passes_over_the_hooks_until_a_person_trusts_them(codex: Host) -> None:
    assert isinstance(codex, Codex)
    plugin(codex, "install")
    keys = {hook["key"]: hook["trustStatus"] for hook in codex.hooks_list()}
    head = "runner@runner:hooks/codex.json"
    assert keys == {f"{head}:{one}:0:0": "untrusted" for one in ("pre_tool_use", "user_prompt_submit")}
    before = codex.settings.read_text()
    assert checks(codex)["hook.trust"][0] == "fail"
    assert "untrusted" in checks(codex)["hook.trust"][1]
    assert codex.settings.read_text() == before  # trust is a person's
    codex.trust_hooks()
    assert checks(codex)["hook.trust"] == ("ok", "active: both hooks are trusted")
    assert plugin(codex, "doctor")["ready"] is True


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_a_person_trusts_the_hooks_in_the_terminal_and_is_then_answered_by_them(codex: Host) -> None:
    plugin(codex, "install")
    screen = codex.screen()
    screen.shows("2 hooks are new or changed")
    wait_until(lambda: pressed(screen, "2", shows="\u203a 2."), 60, "the choice")  # it may not listen yet
    screen.press("Enter")
    screen.ready()
    assert checks(codex)["hook.trust"] == ("ok", "active: both hooks are trusted")
    screen.type("$runner:status ")  # the space ends the choice of a name
    screen.shows("Blocked by hook")
    assert "no run yet" in screen.text()
    assert not [entry for entry in codex.model.requests() if "runner:status" in json.dumps(entry["body"])]


def pressed(screen: Screen, key: str, *, shows: str) -> bool:
    screen.press(key)
    return shows in screen.text()


def test_codex_asks_again_for_hooks_that_are_not_what_was_trusted(codex: Host) -> None:
    assert isinstance(codex, Codex)
    plugin(codex, "install")
    codex.trust_hooks()
    text = codex.settings.read_text()
    at = text.index("trusted_hash")
    codex.settings.write_text(text[:at] + text[at:].replace('"sha256:', '"sha256:00', 1))
    verdict, message = checks(codex)["hook.trust"]
    assert (verdict, "modified" in message) == ("fail", True)


def test_settings_that_turn_all_hooks_off_are_told(claude: Host) -> None:
    assert isinstance(claude, Claude)
    plugin(claude, "install")
    assert plugin(claude, "doctor")["ready"] is True
    settings = claude.repo.root / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{"disableAllHooks": true}')
    verdict, message = checks(claude)["hooks"]
    assert (verdict, str(settings) in message) == ("fail", True)


def test_a_project_that_turns_the_plugin_off_is_told(claude: Host) -> None:
    plugin(claude, "install")
    settings = claude.repo.root / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{"enabledPlugins": {"runner@runner": false}}')
    assert checks(claude)["plugin"][0] == "fail"


def test_a_model_is_shown_the_skills_that_it_may_use_and_no_others(host: Host) -> None:
    plugin(host, "install")
    assert host.ask("Hello.").status == 0
    asked = json.dumps([entry["body"] for entry in host.model.requests()])
    shown = {name for name in os.listdir(ROOT / "plugins/runner/skills") if f"runner:{name}" in asked}
    assert shown == OPEN


def test_what_every_session_pays_for_the_plugin_is_little(claude: Host) -> None:
    plugin(claude, "install")
    rows = [line.split() for line in claude.cli("plugin", "details", "runner").stdout.splitlines()]
    costs = {row[0]: row[1].removeprefix("~") for row in rows if len(row) == 3 and row[0] in OPEN}
    assert costs.keys() == OPEN
    assert sum(map(int, costs.values())) <= 150  # tokens; a model is shown no others


def test_a_session_delegates_by_the_plugin_and_makes_no_change_itself(repo: Repo, hosts: Hosts) -> None:
    """Typed in Claude Code: its model's edit is denied, and the run that it starts instead does the work."""
    repo.config('[tasks.build]\nprompt = "Do it."\nsandbox = "workspace-write"\nverify = [["true"]]\n')
    repo.quick_codex(before="mkdir -p src && echo done > src/a.py")
    (repo.bin / "runner").symlink_to(RUNNER)
    start = "runner start build --prompt 'Write src/a.py.' --wait"
    host = opened(
        repo, hosts, "claude", patch(add("src/b.py")), shell(start, "echo x > src/c.py"), says("end")
    )
    plugin(host, "install")
    assert host.ask("/runner:delegate build").status == 0
    told = host.model.outputs()
    assert "Delegation is on" in told
    assert {path.name for path in (repo.root / "src").iterdir()} == {"a.py"}
    (run,) = repo.runs()
    assert repo.cli("status", run.id, "--json").json()["status"] == "succeeded"


def test_what_a_person_types_costs_no_request_to_a_model(claude: Host) -> None:
    plugin(claude, "install")
    for words in ("status", "runs", "logs", "report", "stop", "cancel x", "start nothing"):
        result = claude.ask(f"/runner:{words}").result["result"]
        assert "blocked by hook" in result, words
    assert not claude.model.requests()
