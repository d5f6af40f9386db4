"""What a shell is told at a Tab: by the hidden verb itself, and by bash, zsh and fish with our scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.repo import RUNNER, Repo
from support.trusting import withdraw_trust

from runner.usecases.find import NEWEST

SETTINGS = """\
[tasks.look]
prompt = "p"
title = "Look: at $(touch ran) `touch ran` %F{red}\\u001b[2J\\ttwice"
[tasks."a.b"]
prompt = "p"
[models.deep]
runtime = "codex"
model = "m"
[sandboxes.build]
level = "workspace-write"
"""
HOSTILE = """\
[tasks.good]
[tasks."$(touch ran)"]
[tasks."`touch ran`"]
[tasks."-x"]
[tasks."a b"]
[tasks.'x;touch ran']
[tasks.good.limits]
"""


def told(repo: Repo, *words: str, shell: str = "zsh", **options: Path) -> dict[str, str]:
    """The words that this one can become, with what is said of each."""
    done = repo.cli("__complete", shell, *words, **options)
    assert (done.status, done.stderr) == (0, ""), done
    lines = [line.partition("\t") for line in done.stdout.splitlines()]
    return {word: text for word, _, text in lines}


def test_commands_options_and_values_are_told_with_a_word_on_each(repo: Repo) -> None:
    repo.config(SETTINGS)
    assert told(repo, "pau") == {"pause": "stop every process of a run"}
    assert {"init", "tasks", "completion"} <= told(repo, "").keys() and "__complete" not in told(repo, "")
    assert {"--task", "--rehearse", "--format"} <= told(repo, "start", "--").keys()
    assert told(repo, "list", "--al").keys() == {"--all"}
    for words in (("start", "--task", ""), ("start", ""), ("resolve", "--wait", ""), ("list", "--task", "")):
        assert told(repo, *words) == {"look": "", "a.b": ""}
    assert told(repo, "start", "--sandbox", "").keys() == {
        *("build", "read-only", "workspace-write", "danger-full-access")
    }
    assert told(repo, "start", "x", "--model", "").keys() == {"deep"}
    assert told(repo, "start", "x", "-m", "").keys() == {"deep"}
    assert (
        {"low", "xhigh"} <= told(repo, "retry", "-r", "").keys() == told(repo, "start", "--effort", "").keys()
    )
    assert told(repo, "doctor", "--runtime", "k").keys() == {"kay"}
    assert told(repo, "mode", "").keys() == {"on", "off", "show"}
    assert {"look", "a.b", "kay"} <= told(repo, "mode", "on", "").keys()
    assert told(repo, "mode", "off", "--of", "k").keys() == {"kay"}
    assert told(repo, "audit", "").keys() == {"show", "verify", "export"}
    assert "look" in told(repo, "audit", "show", "--task", "")
    assert {"text", "json", "markdown"} <= told(repo, "report", "--format", "").keys()
    assert told(repo, "start", "--prompt", "--task", "--sandbox=b").keys() == {"--sandbox=build"}
    assert told(repo, "start", "--sandbox", "=", "b", shell="bash").keys() == {"build"}
    assert {"running", "succeeded"} <= told(repo, "ls", "--status", "").keys()
    assert told(repo, "schema", "man").keys() == {"manifest"}
    assert told(repo, "help", "che").keys() == {"check"}


def test_runs_are_told_newest_first_with_their_task_and_how_they_ended(repo: Repo) -> None:
    repo.task()
    repo.quick_codex()
    assert told(repo, "status", "") == {}
    for _ in range(2):
        repo.cli("start", "--task", "work", "--wait")
    first, second = repo.runs()
    forged = Path(shutil.copytree(first.folder, first.folder.parent / f"20991231{first.id[8:]}"))
    whole = told(repo, "status", "20")
    assert list(whole) == [forged.name, second.id, first.id]
    assert (whole[second.id], whole[forged.name]) == ("work, succeeded", "work")
    short = told(repo, "stop", "")
    assert short[second.id[20:24]] == "work, succeeded"
    assert short["@latest"] == "the newest run" and {*NEWEST} <= short.keys()
    assert list(told(repo, "wait", first.id, second.id[:-1])) == [second.id]
    assert list(told(repo, "status", "@", "la", shell="bash")) == ["@latest"]
    assert told(repo, "pause", first.id, "2") == {}
    assert {"work", "@latest"} <= told(repo, "verify", "").keys()


def test_the_snapshot_tells_titles_until_the_settings_change(repo: Repo) -> None:
    repo.config(SETTINGS)
    repo.cli("tasks")
    assert told(repo, "start", "") == {"look": "Look: at $(touch ran) `touch ran` %F{red} twice", "a.b": ""}
    repo.config(SETTINGS.replace("tasks.look", "tasks.see"))
    assert told(repo, "start", "").keys() == {"see", "a.b"}
    other = repo.root / "other.toml"
    other.write_text("[tasks.other]\n")
    assert told(repo, "start", "--config", "other.toml", "--task", "").keys() == {"other"}
    assert told(repo, "start", "--config", "missing.toml", "--task", "") == {}


def test_what_is_no_name_is_left_out_and_nothing_is_asked_executed_or_said(
    repo: Repo, tmp_path: Path
) -> None:
    withdraw_trust(repo.root, repo.env)
    settings = repo.root / "delegate.toml"
    settings.write_text(HOSTILE)
    (repo.root / ".runs" / "$(touch ran)" / "cli" / "20260101T000000000Z-00000000").mkdir(parents=True)
    (repo.root / ".runs" / "t" / "cli" / "`touch ran`").mkdir(parents=True)
    assert told(repo, "start", "").keys() == {"good"}
    assert told(repo, "status", "") == {}
    settings.unlink()
    os.mkfifo(settings)
    assert told(repo, "start", "--task", "") == {}
    settings.unlink()
    settings.mkdir()
    assert told(repo, "start", "--task", "") == {}
    outside = tmp_path / "outside"
    outside.mkdir()
    for words in (("start", ""), ("status", ""), ("nonsense", ""), ("start", "--none=", ""), ("--", "x"), ()):
        assert told(repo, *words, cwd=outside) == {}
    assert list(outside.iterdir()) == [] and not (repo.root / "ran").exists()


def test_only_where_a_file_is_meant_the_word_is_left_to_the_shell(repo: Repo) -> None:
    repo.config(SETTINGS)
    words = (("plan", ""), ("check", "--config", ""), ("start", "--map=x"), ("status", ".runs/l"))
    words = (*words, ("start", "--paste", ""), ("resolve", "--file", "sr"), ("start", "x", "--map", ""))
    assert {repo.cli("__complete", "fish", *one).status for one in words} == {1}
    assert [repo.cli("__complete", "fish", *one).status for one in (("status", ""), ("answer", "x", ""))] == [
        0,
        0,
    ]


# -- real shells ------------------------------------------------------------------------------------

BASH = """
source <("{runner}" completion bash)
COMP_WORDS=({words}) COMP_CWORD=$(({count} - 1))
compopt() {{ echo "files: $*"; }}
_runner
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
ZSH = """
compdef() {{ }}
source <("{runner}" completion zsh)
compadd() {{ print -rl -- $shown }}
_files() {{ print files: -o default }}
words=({words}) CURRENT={count}
_runner
"""
FISH = """
function __fish_complete_path; echo files: -o default; end
"{runner}" completion fish | source
complete -C {line}
"""


def shown(repo: Repo, shell: str, *words: str) -> list[str]:
    """What a person would be offered behind these words."""
    quoted = " ".join(f"'{word}'" for word in ("runner", *words))
    line = "'" + " ".join(("runner", *words)) + "'"
    texts = {"bash": BASH, "zsh": ZSH, "fish": FISH}
    script = texts[shell].format(runner=RUNNER, words=quoted, count=len(words) + 1, line=line)
    argv = [shell, *{"bash": ("--norc",), "zsh": ("-f",), "fish": ("-N",)}[shell], "-c", script]
    env = {**repo.env, "PATH": f"{RUNNER.parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, cwd=repo.root, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_real_shell_offers_it_and_executes_nothing_of_it(repo: Repo, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    repo.config(SETTINGS)
    repo.cli("tasks")
    offered = shown(repo, shell, "start", "--task", "")
    assert [line.split()[0] for line in offered] == ["look", "a.b"]
    if shell != "bash":
        assert "Look: at $(touch ran) `touch ran` %F{red} twice" in offered[0]
    assert [line.split()[0] for line in shown(repo, shell, "pau")] == ["pause"]
    assert shown(repo, shell, "list", "--task", "none") in ([], [""])
    assert shown(repo, shell, "check", "--config", "d")[0] == "files: -o default"
    (repo.root / "runner").write_text("#!/bin/sh\ntouch ran\n")
    (repo.root / "runner").chmod(0o755)
    assert shown(repo, shell, "start", "$(touch ran)") in ([], [""])
    assert not (repo.root / "ran").exists()
