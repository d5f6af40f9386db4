"""`runner mode`: delegation is turned on only where a run could start, by a person, for one session."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kay_install import install_kay
from support.repo import RUNNER, Completed, Repo
from support.trusting import withdraw_trust

import runner.hosts
from runner.disk.interpreter import command
from runner.usecases import plugin

KEYS = {"OPENCODE_GO_API_KEY": "key-opencode-0123456789", "XIAOMI_API_KEY": "key-xiaomi-0123456789"}
TASKS = """
[runtimes.kay]
provider = "xiaomi"
env = ["OPENCODE_GO_API_KEY", "XIAOMI_API_KEY"]
[models.glm]
runtime = "kay"
model = "opencode-go/glm-5"
provider = "ocg"
[tasks.build]
prompt = "Do it."
sandbox = "workspace-write"
verify = [["true"]]
[tasks.swift]
runtime = "kay"
model = "mimo"
prompt = "Do it."
sandbox = "workspace-write"
workspace = "worktree"
[tasks.look]
prompt = "Look."
"""
IN_CLAUDE = {"CLAUDE_CODE_SESSION_ID": "c-1"}
IN_CODEX = {"CODEX_SESSION_ID": "x-1", "CODEX_THREAD_ID": "x-2"}


@pytest.fixture
def host(repo: Repo) -> Repo:
    """A repository with tasks of two runtimes, as a shell of Claude Code sees it."""
    repo.quick_codex()
    install_kay(repo.bin)
    repo.env |= KEYS | IN_CLAUDE
    return repo.config(TASKS)


def mode(repo: Repo, *words: str, **options: Any) -> Completed:
    """As the hook of a session calls it, which holds what it turns on."""
    held = ["--held"] if words[0] == "on" else []
    return repo.cli("mode", *words, *held, "--json", **options)


def told(repo: Repo, *words: str, **options: Any) -> Any:
    done = mode(repo, *words, **options)
    assert done.status == 0, done
    return done.json()


def refused(repo: Repo, *words: str, **options: Any) -> tuple[int, str]:
    done = mode(repo, *words, **options)
    return done.status, done.error["code"]


def files(repo: Repo) -> dict[str, Any]:
    folder = repo.home / ".local/state/runner/hosts"
    return {
        f"{path.parent.name}/{path.stem}": json.loads(path.read_bytes()) for path in folder.glob("*/*.json")
    }


# -- on, over, off -----------------------------------------------------------------------------------


def test_it_is_turned_on_over_and_off_and_says_each_time_to_whom(host: Repo) -> None:
    first = told(host, "on", "codex")
    assert (first["host"], first["session"], first["target"], first["task"], first["runtime"]) == (
        *("claude", "c-1", "codex", "build", "codex"),
    )
    assert (first["level"], first["verify"], first["words"], first["replaced"]) == (
        "strict",
        [["true"]],
        [],
        None,
    )
    assert first["repo"] == os.path.realpath(host.root)
    assert first["program"] == [str(RUNNER)], "whichever `runner` is on PATH"
    second = told(host, "on", "swift", "xiaomi", "--level", "guide")
    assert (second["runtime"], second["level"], second["replaced"]) == ("kay", "guide", "codex")
    assert [*files(host)] == ["claude/c-1"] and files(host)["claude/c-1"]["task"] == "swift"
    assert told(host, "off", "--of", "codex") == {"ended": []}, "that is another's"
    assert "goes on" in host.cli("mode", "off", "--of", "codex").stdout
    (ended,) = told(host, "off", "--of", "kay")["ended"]
    assert ended["task"] == "swift" and files(host) == {}
    assert told(host, "off") == {"ended": []}
    assert host.cli("mode", "off").stdout == "delegation was not on\n"


def test_each_session_has_a_mode_of_its_own(host: Repo) -> None:
    told(host, "on", "build")
    told(host, "on", "build", env={"CLAUDE_CODE_SESSION_ID": "c-2"})
    told(host, "on", "swift", env={"CLAUDE_CODE_SESSION_ID": None, **IN_CODEX})
    assert [*sorted(files(host))] == ["claude/c-1", "claude/c-2", "codex/x-1"]
    told(host, "off")
    shown = told(host, "show")
    assert shown["here"] is None
    assert [(one["host"], one["session"], one["task"]) for one in shown["modes"]] == [
        ("claude", "c-2", "build"),
        ("codex", "x-1", "swift"),
    ]
    assert len(told(host, "off", "--all")["ended"]) == 2 and files(host) == {}


def test_two_that_turn_one_session_over_at_once_leave_one_whole_mode(host: Repo) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = [*pool.map(lambda name: mode(host, "on", name), ("build", "swift", "build", "swift"))]
    assert [one.status for one in done] == [0] * 4
    (left,) = files(host).values()
    assert (left["task"], left["runtime"]) in (("build", "codex"), ("swift", "kay"))


def test_show_tells_the_mode_here_its_host_and_what_cannot_be_read(host: Repo) -> None:
    told(host, "on", "build", env={"CLAUDE_PID": str(os.getpid())})
    assert (shown := told(host, "show"))["here"] == shown["modes"][0]
    assert (shown["here"]["host_process"], shown["here"]["by"]["pid"]) == ("alive", os.getpid())
    (host.home / ".local/state/runner/hosts/claude/c-1.json").write_text("{")
    broken = told(host, "show")["here"]
    assert broken["session"] == "c-1" and broken["task"] is None and broken["problem"]
    assert told(host, "off", "--of", "kay")["ended"] == [broken], "nobody knows whose it is"


def test_show_tells_those_of_other_repositories_only_with_all(host: Repo, tmp_path: Path) -> None:
    told(host, "on", "build")
    other = tmp_path / "other"
    (other / ".git").mkdir(parents=True)
    elsewhere = {"cwd": other, "env": {"CLAUDE_CODE_SESSION_ID": "c-9"}}
    assert told(host, "show", **elsewhere) == {"here": None, "modes": []}
    assert len(told(host, "show", "--all", **elsewhere)["modes"]) == 1
    assert host.cli("mode", "show", **elsewhere).stderr == "(delegation is on in no session)\n"


def test_what_is_old_ends_when_another_one_is_turned_on(host: Repo) -> None:
    old, gone = "2026-01-01T00:00:00.000Z", {"CLAUDE_PID": "1"}
    for session, env in (("old", {}), ("gone", gone), ("new", {})):
        told(host, "on", "build", env={"CLAUDE_CODE_SESSION_ID": session, **env})
    folder = host.home / ".local/state/runner/hosts/claude"
    kept = files(host)
    (folder / "old.json").write_text(json.dumps({**kept["claude/old"], "since": old}))
    by = {**kept["claude/gone"]["by"], "start_time": 0}
    (folder / "gone.json").write_text(json.dumps({**kept["claude/gone"], "by": by}))
    told(host, "on", "build")
    assert [*sorted(files(host))] == ["claude/c-1", "claude/gone", "claude/new"], "of today"
    week = {"since": kept["claude/new"]["since"].replace(kept["claude/new"]["since"][:4], "2000")}
    (folder / "gone.json").write_text(json.dumps({**kept["claude/gone"], "by": by, **week}))
    told(host, "on", "build")
    assert [*sorted(files(host))] == ["claude/c-1", "claude/new"]


# -- who is meant ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (("on",), 2, "usage"),
        (("on", "look"), 2, "usage"),
        (("on", "buildd"), 4, "task_not_found"),
        (("on", "gemini"), 4, "task_not_found"),
        (("on", "build", "xiaomi"), 2, "usage"),
        (("on", "swift", "nobody"), 2, "usage"),
        (("on", "--level", "none"), 2, "usage"),
        (("on", "build", "--session", "s"), 2, "no_session"),
        (("on", "build", "--host", "kay"), 2, "usage"),
        (("on", "build", "--host", "codex"), 2, "no_session"),
    ],
)
def test_what_nobody_can_mean_turns_nothing_on(
    words: tuple[str, ...], status: int, code: str, host: Repo
) -> None:
    done = mode(host, *words)
    assert (done.status, done.error["code"]) == (status, code), done
    assert done.error["hint"]
    assert files(host) == {}


def test_without_a_name_it_is_the_task_of_the_settings_or_the_only_one_that_may_write(host: Repo) -> None:
    assert "build, swift" in host.cli("mode", "on").stderr
    hint = mode(host, "on", "gemini").error["hint"]
    assert "build (codex), swift (kay)" in hint and 'runtime = "gemini"' in hint
    host.config(TASKS + '[host]\ntask = "swift"\nlevel = "guide"\nmay_edit = ["notes/**"]\n')
    found = told(host, "on")
    assert (found["task"], found["level"], found["may_edit"]) == ("swift", "guide", ["notes/**"])
    host.config(TASKS.replace('sandbox = "workspace-write"\nverify', "verify"))
    assert told(host, "on")["task"] == "swift"


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        (None, []),
        ("minimax", ["--set", "runtimes.kay.provider=minimax"]),
        ("xiaomi", ["--set", "runtimes.kay.provider=xiaomi"]),
        ("ocg", ["--model", "glm"]),
        ("opencode-go", ["--model", "glm"]),
    ],
)
def test_a_provider_is_known_by_each_of_its_names_and_a_start_gets_the_words_for_it(
    provider: str | None, words: list[str], host: Repo
) -> None:
    host.env["MINIMAX_API_KEY"] = "key-minimax-0123456789"
    host.config(TASKS.replace('"XIAOMI_API_KEY"', '"XIAOMI_API_KEY", "MINIMAX_API_KEY"'))
    mode = told(host, "on", "kay", *filter(None, [provider]))
    assert (mode["runtime"], mode["task"], mode["words"]) == ("kay", "swift", words)
    shown = host.cli("resolve", mode["task"], *mode["words"], "--json")
    assert shown.status == 0, shown


def test_a_task_with_the_name_of_a_runtime_is_the_task(host: Repo) -> None:
    host.config(TASKS.replace("tasks.build", "tasks.kay"))
    assert told(host, "on", "kay")["runtime"] == "codex"


# -- whether it could work ---------------------------------------------------------------------------


def test_a_missing_program_turns_nothing_on_and_the_repair_is_named(host: Repo) -> None:
    told(host, "on", "build")
    before = files(host)
    (host.bin / "kay").unlink()
    done = mode(host, "on", "swift")
    assert (done.status, done.error["code"]) == (8, "not_ready")
    (problem,) = done.error["problems"]
    assert problem.startswith("kay.binary: ") and "install Kay" in problem
    assert files(host) == before, "delegation stays as it was"


def test_a_key_that_is_not_there_is_named_with_its_provider(host: Repo) -> None:
    del host.env["XIAOMI_API_KEY"]
    done = mode(host, "on", "kay", "xiaomi")
    assert (done.status, files(host)) == (8, {})
    assert any("XIAOMI_API_KEY" in problem for problem in done.error["problems"])
    told(host, "on", "kay", "ocg")


def test_only_the_task_that_is_meant_has_to_be_ready(host: Repo) -> None:
    host.config(
        TASKS + '[tasks.bad]\nruntime = "kay"\nprompt = "x"\nmodel = "m"\nsandbox = "workspace-write"\n'
    )
    assert told(host, "on", "swift")["task"] == "swift"
    done = mode(host, "on", "bad")
    assert (done.status, done.error["code"]) == (8, "not_ready"), (
        "it could write where runner's own files are"
    )


def test_settings_that_nobody_trusts_turn_nothing_on_and_nothing_of_them_is_started(host: Repo) -> None:
    withdraw_trust(host.root, host.env)
    (host.root / "tools").mkdir()
    program = host.root / "tools/codex"
    program.write_text('#!/bin/sh\ntouch "$HOME/ran"\n')
    program.chmod(0o755)
    host.config(TASKS + '[runtimes.codex]\ncommand = "tools/codex"\n')
    done = mode(host, "on", "build")
    assert (done.status, done.error["code"], files(host)) == (5, "not_trusted", {})
    assert "`runner trust`" in done.error["hint"] and "--trust" not in done.error["hint"]
    assert not host.note("ran").exists()


def test_what_the_policy_forbids_is_turned_on_nowhere(host: Repo) -> None:
    policy = host.home / ".config/runner/policy.toml"
    policy.parent.mkdir(parents=True)
    policy.write_text('schema_version = 1\nruntimes = ["kay"]\nverify = ["*"]\n')
    assert refused(host, "on", "build") == (5, "policy_refused")
    assert files(host) == {}


def claude(repo: Repo, *rows: dict[str, Any]) -> None:
    """A Claude Code with these plugins."""
    program = repo.bin / "claude"
    program.write_text(
        f"#!/bin/sh\ncase $* in *marketplace*) echo '[]';; *) echo '{json.dumps(rows)}';; esac\n"
    )
    program.chmod(0o755)


def test_it_is_on_only_where_a_hook_of_the_host_holds_it(host: Repo) -> None:
    def problems() -> list[str]:
        done = host.cli("mode", "on", "build", "--json")
        assert (done.status, done.error["code"], files(host)) == (8, "not_ready", {}), done
        assert "plugin doctor --host claude" in done.error["hint"]
        return [one.partition(":")[0] for one in done.error["problems"]]

    assert problems() == ["claude.program"]
    claude(host)
    assert problems() == ["plugin"]
    plugin.write("claude", host.env)
    folder = Path(plugin.place("claude", host.env)) / "plugins/runner"
    row = {"id": "runner@runner", "version": "1", "enabled": True, "installPath": str(folder)}
    claude(host, {**row, "enabled": False})
    assert problems() == ["plugin"]
    claude(host, row)
    assert host.cli("mode", "on", "build").status == 0 and files(host)
    told(host, "off")
    (folder / "README.md").unlink()
    assert host.cli("mode", "on", "build").status == 0, "what the hook does has not changed"
    told(host, "off")
    hooks = folder / "hooks/claude.json"
    hooks.chmod(0o600)
    hooks.write_text(hooks.read_text().replace("/hosts/__main__.py", "/gone/__main__.py"))
    assert problems() == ["hook"]
    hooks.write_text("{}")
    assert problems() == ["hook"]


# -- who may, and where ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "session", ["../../x", ".", "", " ", "a b", "a\nb", "-x", "a/b", "x" * 10_000], ids=ascii
)
def test_what_is_no_id_of_a_session_makes_no_file(session: str, host: Repo) -> None:
    for verb in ("on", "off", "show"):
        words = (verb, "build") if verb == "on" else (verb,)
        done = mode(host, *words, "--host", "claude", f"--session={session}")
        assert (done.status, done.error["code"]) in ((2, "no_session"), (2, "usage")), done
        if session:
            assert refused(host, *words, env={"CLAUDE_CODE_SESSION_ID": session}) == (2, "no_session")
    assert not (host.home / ".local/state/runner/hosts").exists()


def test_outside_of_a_host_a_session_has_to_be_named(host: Repo) -> None:
    outside = {"env": {"CLAUDE_CODE_SESSION_ID": None}}
    assert refused(host, "on", "build", **outside) == (2, "no_session")
    assert refused(host, "off", **outside) == (2, "no_session")
    assert told(host, "on", "build", "--host", "codex", "--session", "s", **outside)["host"] == "codex"
    assert told(host, "show", **outside)["here"] is None


def test_of_two_hosts_around_it_one_has_to_be_named(host: Repo) -> None:
    assert refused(host, "on", "build", env=IN_CODEX) == (2, "no_session")
    assert told(host, "on", "build", "--host", "codex", env=IN_CODEX)["session"] == "x-1"
    assert told(host, "on", "build", "--host", "claude", env=IN_CODEX)["session"] == "c-1"


@pytest.mark.parametrize("way", ["", "env -u RUNNER_RUN_ID -u RUNNER_MANIFEST "], ids=["as it is", "hidden"])
def test_an_agent_of_a_run_turns_nothing_on_or_off(host: Repo, way: str) -> None:
    told(host, "on", "swift")
    before = files(host)
    tries = {"on": "on build", "other": "on build --session c-2", "off": "off", "all": "off --all"}
    lines = (
        f'{way}"{RUNNER}" mode {words} --host claude {"" if "--" in words else "--session c-1"} --json '
        f'> "$HOME/{name}" 2>&1'
        for name, words in tries.items()
    )
    host.quick_codex(before=f'cd "{host.root}"\n' + "\n".join(lines))
    host.cli("start", "build", "--wait")
    said = {name: json.loads(host.note(name).read_text()) for name in tries}
    assert {name: one["error"]["code"] for name, one in said.items()} == dict.fromkeys(tries, "people_only")
    assert files(host) == before


def test_a_state_folder_that_cannot_be_written_is_told(host: Repo) -> None:
    told(host, "on", "build")
    folder = host.home / ".local/state/runner/hosts/codex"
    folder.write_text("x")
    assert refused(host, "on", "build", "--host", "codex", "--session", "s") == (9, "unwritable")
    assert told(host, "show")["here"]["session"] == "c-1"


# -- typed at a host ---------------------------------------------------------------------------------

HOOK = command(str(Path(runner.hosts.__file__).parent / "__main__.py"))


def types(repo: Repo, text: str) -> dict[str, Any]:
    """What Claude Code is answered when a person types this."""
    name, _, rest = text.removeprefix("/").partition(" ")
    event = {
        **{"session_id": "c-1", "cwd": str(repo.root), "hook_event_name": "UserPromptExpansion"},
        **{"command_source": "plugin", "command_name": name, "command_args": rest},
    }
    done = subprocess.run(
        [*HOOK, "claude"], input=json.dumps(event).encode(), env=repo.env, capture_output=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, b"")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize(
    ("text", "task", "words"),
    [
        ("/runner:delegate", "swift", []),
        ("/runner:delegate build", "build", []),
        ("/runner:delegate kay ocg", "swift", ["--model", "glm"]),
        ("/runner:kay-delegate xiaomi", "swift", ["--set", "runtimes.kay.provider=xiaomi"]),
        ("/runner:kay-delegate ocg", "swift", ["--model", "glm"]),
        ("/runner:codex-delegate", "build", []),
        ("/runner:delegate build --level guide", "build", []),
    ],
)
def test_what_a_person_types_turns_it_on_for_that_session_alone(
    text: str, task: str, words: list[str], host: Repo
) -> None:
    host.config(TASKS + '[host]\ntask = "swift"\n')
    assert "decision" not in types(host, text)
    assert [(name, one["task"], one["words"]) for name, one in files(host).items()] == [
        ("claude/c-1", task, words)
    ]
    other = {"build": "kay", "swift": "codex"}[task]
    assert "goes on" in types(host, f"/runner:{other}-stop")["reason"] and files(host)
    assert "is off" in types(host, "/runner:stop")["reason"] and not files(host)


def test_what_cannot_be_turned_on_is_told_to_the_person_with_every_repair(host: Repo) -> None:
    (host.bin / "kay").unlink()
    told = types(host, "/runner:kay-delegate")
    assert told["decision"] == "block"
    assert "kay.binary" in told["reason"] and "install Kay" in told["reason"] and not files(host)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("build it's broken, don't \"guess\"\nand -x stays", "it's broken, don't \"guess\"\nand -x stays"),
        ("build 'Do it, please.'", "Do it, please."),
        ("--effort high build --set 'runtimes.codex.env=[]' - one\n- two", "- one\n- two"),
        ("build --prompt 'As ever.'", "As ever."),
        ("build --baseline record Mend it", "Mend it"),
    ],
)
def test_the_text_behind_a_start_is_its_prompt_as_it_stands(text: str, prompt: str, host: Repo) -> None:
    types(host, f"/runner:start {text}")
    (run,) = host.runs()
    run.wait()
    assert (run.folder / "prompt.md").read_text().startswith(prompt)


def test_the_text_behind_a_question_is_the_answer_as_it_stands(host: Repo) -> None:
    told = types(host, "/runner:answer nothing q-0001 It's this one, isn't it?")
    assert "No closing quotation" not in told["reason"] and "nothing" in told["reason"]


@pytest.mark.parametrize("text", ["delegate build --session=c-2", "delegate --host codex", "stop --all"])
def test_nothing_typed_names_another_session(text: str, host: Repo) -> None:
    told(host, "on", "swift", "--host", "codex", "--session", "x-1")
    types(host, f"/runner:{text}")
    assert [*files(host)] == ["codex/x-1"]
