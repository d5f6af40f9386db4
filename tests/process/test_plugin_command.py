"""`runner plugin` with hosts that are stand-ins: what it asks before, and what it says where one fails."""

from __future__ import annotations

import json

import pytest
from support.repo import RUNNER, Repo

LISTS = """#!/bin/sh
echo "$*" >> "$HOME/asked"
case "$*" in *"list --json") echo '[]';; *) echo "not today" >&2; exit 3;; esac
"""


@pytest.fixture
def hosted(repo: Repo) -> Repo:
    """With a Claude Code that lists nothing and installs nothing."""
    return says(repo, LISTS)


def says(repo: Repo, program: str) -> Repo:
    (repo.bin / "claude").write_text(program)
    (repo.bin / "claude").chmod(0o755)
    return repo


def asked(repo: Repo) -> list[str]:
    return repo.note("asked").read_text().splitlines()


def test_nothing_is_installed_without_a_yes(hosted: Repo) -> None:
    done = hosted.cli("plugin", "install", "--host", "claude")
    assert done.status == 2
    assert "plugin install runner@runner" in done.stderr
    assert all(line.endswith("list --json") for line in asked(hosted))
    assert not (hosted.home / ".local/state/runner/plugin").exists()


def test_a_command_of_the_host_that_fails_is_told(hosted: Repo) -> None:
    done = hosted.cli("plugin", "install", "--host", "claude", "--yes", "--json")
    assert (done.status, done.error["code"]) == (8, "plugin_failed")
    assert "not today" in done.stderr
    assert "ended with 3" in done.error["message"]


@pytest.mark.parametrize(
    "said", ["echo hello", "echo '{\"a\": 1}'", "echo 3", "exit 1", "yes | head -c 900000"]
)
def test_a_host_that_answers_in_no_way_of_ours_is_told(repo: Repo, said: str) -> None:
    says(repo, f"#!/bin/sh\n{said}\n")
    done = repo.cli("plugin", "install", "--host", "claude", "--yes", "--json")
    assert (done.status, done.error["code"]) == (8, "plugin_failed")
    doctor = repo.cli("plugin", "doctor", "--host", "claude", "--json")
    assert doctor.status == 8
    assert doctor.json()["checks"][0]["verdict"] == "fail"


def test_a_host_that_is_not_there_is_told(repo: Repo) -> None:
    done = repo.cli("plugin", "doctor", "--host", "claude", "--json")
    assert (done.status, done.json()["ready"]) == (8, False)
    assert repo.cli("plugin", "install", "--host", "claude", "--yes").status == 8
    assert repo.cli("plugin", "install", "--yes").status == 2


def test_what_is_printed_is_what_would_be_written(repo: Repo) -> None:
    files = repo.cli("plugin", "print", "--json").json()["files"]
    assert "plugins/runner/skills/delegate/SKILL.md" in files
    assert "hosts/__main__.py" in files["plugins/runner/hooks/codex.json"]
    snippet = repo.cli("plugin", "print", "--snippet")
    assert snippet.stdout.startswith("## Delegation")
    assert len(snippet.stdout.splitlines()) <= 15
    assert not (repo.home / ".local/state/runner/plugin").exists()


def test_an_agent_of_a_run_installs_and_removes_no_plugin(hosted: Repo) -> None:
    lines = [
        f'"{RUNNER}" plugin {verb} --host claude --yes --json > "$HOME/{verb}" 2>&1'
        for verb in ("install", "remove")
    ]
    hosted.task().quick_codex(before=f'cd "{hosted.root}"\n' + "\n".join(lines))
    assert hosted.cli("start", "work", "--wait").status == 0
    for verb in ("install", "remove"):
        assert json.loads(hosted.note(verb).read_text())["error"]["code"] == "people_only"
    assert not hosted.note("asked").exists()


@pytest.mark.parametrize("verb", ["install", "remove", "doctor"])
def test_no_host_is_started_that_lies_in_a_work_tree(hosted: Repo, verb: str) -> None:
    """An agent that works there may have put it there, or on PATH by a link."""
    planted = hosted.root / "bin"
    planted.mkdir()
    (hosted.bin / "claude").rename(planted / "claude")
    (hosted.bin / "claude").symlink_to(planted / "claude")
    for path in (f"{planted}:{hosted.env['PATH']}", hosted.env["PATH"]):
        done = hosted.cli("plugin", verb, "--host", "claude", "--json", env={"PATH": path})
        assert done.status == 8
        assert "is in a work tree of git" in done.stdout
    assert not hosted.note("asked").exists()


def test_a_host_outside_of_work_trees_is_taken_before_one_within(hosted: Repo) -> None:
    planted = hosted.root / "bin"
    planted.mkdir()
    (planted / "claude").write_text('#!/bin/sh\ntouch "$HOME/planted"\n')
    (planted / "claude").chmod(0o755)
    within = {"PATH": f"{planted}:{hosted.env['PATH']}"}
    done = hosted.cli("plugin", "remove", "--host", "claude", "--json", env=within)
    assert done.json() == {"host": "claude", "removed": False}
    assert not hosted.note("planted").exists()
