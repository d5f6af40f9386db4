"""What the user wants to be told with: who may say it, what is run, and of which events."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.ended import an_ended_run

from runner.config import policy
from runner.disk import programs
from runner.errors import ConfigInvalid
from runner.model import Notify, Policy
from runner.state import feed
from runner.state.store import RunDir
from runner.supervise import news, notices


@pytest.mark.parametrize(
    ("event", "hook"),
    [
        ({"event": "ended", "parent": None}, "on_end"),
        ({"event": "ended", "parent": ".runs/a/cli/b/manifest.json"}, None),
        ({"event": "turn", "parent": None}, "on_turn"),
        ({"event": "turn", "parent": ".runs/a/cli/b/manifest.json"}, None),
        ({"event": "asked", "to": "owner", "parent": ".runs/a/cli/b/manifest.json"}, "on_attention"),
        ({"event": "asked", "to": "20261120T101504438Z-50151d5c"}, None),
        ({"event": "parked"}, "on_attention"),
        ({"event": "undecided"}, "on_attention"),
        ({"event": "started", "parent": None}, None),
        ({"event": "settled", "to": "owner"}, None),
        ({"event": "notice_failed"}, None),
    ],
    ids=lambda one: one if isinstance(one, str) else None,
)
def test_a_person_is_told_of_runs_that_he_started_and_of_what_waits_for_him(
    event: dict[str, Any], hook: str | None
) -> None:
    assert feed.hook_of(event) == hook


def test_a_program_is_the_one_of_the_start_and_not_what_lies_in_a_work_tree(tmp_path: Path) -> None:
    for folder in ("tree/bin", "tree/.git", "mine"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tree/.git/HEAD").touch()
    for folder in ("tree/bin", "mine"):
        path = tmp_path / folder / "tell"
        path.touch(0o755)
        path.chmod(0o755)
    env = {"PATH": f"{tmp_path}/tree/bin:{tmp_path}/mine"}
    asked = Notify(on_end=("tell", "x"), on_attention=("/opt/other",), on_turn=("tell",))
    placed = programs.placed(asked, env)
    mine = f"{tmp_path}/mine/tell"
    assert placed == Notify(on_end=(mine, "x"), on_attention=("/opt/other",), on_turn=(mine,))
    assert programs.placed(Notify(on_end=("absent",)), env).on_end == ("absent",)


def test_a_policy_says_which_commands_may_tell() -> None:
    allowed = Policy(verify=(("make",),), sources={"verify": ("policy.toml",)})
    assert policy.check_breaches(allowed, [("make", "x")], "command of [notify]") == ()
    (breach,) = policy.check_breaches(allowed, [("curl", "x")], "command of [notify]")
    assert breach.startswith('command of [notify] "curl" is not among')


TASK = '[tasks.hello]\nprompt = "x"\n'
ON_END = '[notify]\non_end = ["tell", "me"]\n'


def test_your_own_settings_a_variable_and_an_option_say_how_you_are_told(repo: Any) -> None:
    repo.write(TASK)
    assert repo.load().notify == Notify()
    repo.write(ON_END + "bell = true\n", repo.user_folder / "config.toml")
    assert repo.load().notify == Notify(on_end=("tell", "me"), bell=True)
    repo.env["RUNNER_NOTIFY__ON_ATTENTION"] = '["beep"]'
    told = repo.load(sets=["notify.on_end=[]", 'notify.on_turn=["turn"]']).notify
    assert told == Notify(on_attention=("beep",), on_turn=("turn",), bell=True)
    assert Notify.from_json({"on_end": ["tell"]}) == Notify(on_end=("tell",)), "of a start before on_turn"


@pytest.mark.parametrize("notify", [ON_END, ON_END.replace("on_end", "on_turn")], ids=["on_end", "on_turn"])
@pytest.mark.parametrize("name", ["delegate.toml", "delegate.local.toml"])
def test_what_an_agent_may_write_does_not(name: str, notify: str, repo: Any) -> None:
    repo.write(TASK)
    path = repo.root / name
    repo.write(TASK + notify, path)
    with pytest.raises(ConfigInvalid) as refused:
        repo.load()
    (problem,) = refused.value.problems
    assert problem.startswith(f"{name}:3:2: notify: what a repository brings may not say how you are told")
    assert "~/.config/runner/config.toml" in problem


@pytest.mark.parametrize("value", ['["bin/tell"]', '["./tell"]', "[[]]", "3", '[""]'])
def test_a_command_is_a_name_or_an_absolute_path_with_its_words(value: str, repo: Any) -> None:
    repo.write(TASK)
    with pytest.raises(ConfigInvalid):
        repo.load(sets=[f"notify.on_end={value}"])


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "n.sh"],
        ["bash", "-eu", "./n.sh"],
        ["sh", "-e", "n.sh"],
        ["env", "/bin/bash", "-ue", "bin/n.sh"],
        ["bash", "-p", "n.sh"],
        ["node", "--trace", "n.js"],
        ["/usr/bin/python3.12", "-I", "scripts/tell.py"],
        ["env", "X=1", "timeout", "5", "bin/tell"],
        ["nice", "sh", "../n"],
        ["sh", "-x", "n.sh"],
        ["node", "--trace-warnings", "n.js"],
    ],
    ids=" ".join,
)
def test_a_script_has_its_whole_path_as_a_command_starts_in_the_root_folder(
    argv: list[str], repo: Any
) -> None:
    repo.write(TASK)
    with pytest.raises(ConfigInvalid, match=r"the absolute path of `.*n|tell`, as the command starts in /"):
        repo.load(sets=[f"notify.on_end={json.dumps(argv)}"])


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "-c", "cd ~/tools && ./tell; cat > x/y"],
        ["sh", "~/n.sh"],
        ["bash", "-o", "pipefail", "/opt/n.sh", "some/word"],
        ["python3", "-c", "print(open('x/y').read())"],
        ["python3", "-c", "import sys", "a/b"],
        ["python3", "-W", "ignore", "/opt/tell.py"],
        ["python3", "-m", "tell"],
        ["perl", "-pe", "s/a/b/"],
        ["node", "--eval", "run.now"],
        ["node", "-p", "process.argv"],
        ["php", "-r", "a/b"],
        ["bash", "-ec", "a.b"],
        ["fish", "--command", "a.b"],
        ["sh", "-s", "a.b"],
        ["python3", "-", "a/b"],
        ["curl", "-d", "ended", "ntfy.sh/mine"],
        ["env", "DISPLAY=:0", "notify-send", "a/b"],
    ],
    ids=" ".join,
)
def test_what_is_code_a_word_or_a_whole_path_is_no_script_of_the_current_folder(
    argv: list[str], repo: Any
) -> None:
    repo.write(TASK)
    assert repo.load(sets=[f"notify.on_end={json.dumps(argv)}"]).notify.on_end == tuple(argv)


def as_a_program(run: RunDir, seq: int) -> str:
    argv = [sys.executable, "-I", "-S", notices.__file__, run.path, str(seq)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    return done.stderr


def test_a_record_that_somebody_else_wrote_executes_nothing_and_is_told(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    news.ended(run, run.read_manifest())
    path = Path(run.invocation)
    path.write_text(path.read_text().replace('"codex"', '"kay"'))
    assert as_a_program(run, 1) == ""
    *_, event = feed.FeedReader(str(tmp_path)).new()
    assert (event["event"], event["hook"]) == ("notice_failed", "on_end")
    assert event["reason"]["message"].startswith("on_end: ")


@pytest.mark.parametrize("gone", ["the manifest", "the run", "the event"])
def test_where_nobody_can_be_told_of_that_the_log_says_so_in_a_line(gone: str, tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    news.ended(run, run.read_manifest())
    Path(run.invocation).write_text("{")
    if gone == "the manifest":
        Path(run.manifest).write_text("{")
    elif gone == "the run":
        shutil.rmtree(run.path)
    said = as_a_program(run, 2 if gone == "the event" else 1)
    assert len(said.splitlines()) == 1 and "Traceback" not in said
