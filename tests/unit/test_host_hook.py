"""What the hook of a host answers: the table of its decisions, and what nobody can make it say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runner.hosts.__main__
from runner.cli.delegation import add_answer
from runner.cli.parser import Parser
from runner.cli.start import add_start
from runner.hosts import guard, mode, typed
from runner.hosts.hook import answer
from runner.hosts.mode import HOSTS, Mode

SESSION = "6d4f1236-9c41-4d47-b725-5f58968a0c06"
PROGRAM = [sys.executable, "-I", "-S", str(Path(runner.hosts.__main__.__file__))]
BOTH = pytest.mark.parametrize("host", HOSTS)
PATCH = "*** Begin Patch\n*** Update File: {}\n+x\n*** End Patch\n"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "repo" / "docs").mkdir(parents=True)
    return {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}


def turned_on(env: Mapping[str, str], host: str = "claude", **more: Any) -> Mode:
    """A mode of the session, in the repository beside HOME."""
    repo = os.path.realpath(Path(env["HOME"]).parent / "repo")
    fields = {"target": "kay", "task": "build", "runtime": "kay", "level": "strict", "since": "now"}
    fields |= {"may_edit": ("docs/**", ".planning/**"), "schema_version": 1, "repo": repo, "host": host}
    made = Mode(**{**fields, "session": SESSION, **more})
    mode.write(made, env)
    return made


def event(env: Mapping[str, str], name: str = "PreToolUse", **more: Any) -> dict[str, Any]:
    cwd = str(Path(env["HOME"]).parent / "repo")
    return {"session_id": SESSION, "hook_event_name": name, "cwd": cwd, **more}


def call(env: Mapping[str, str], tool: str, **given_to_it: Any) -> dict[str, Any]:
    return event(env, tool_name=tool, tool_input=given_to_it)


def edit(env: Mapping[str, str], host: str, path: str) -> dict[str, Any]:
    if host == "claude":
        return call(env, "Write", file_path=path, content="x")
    return call(env, "apply_patch", command=PATCH.format(path))


def denied(told: Mapping[str, Any] | None) -> str | None:
    """The reason of a denial; None where nothing is said. Nothing else may be said to a call."""
    if told is None:
        return None
    inner = dict(told["hookSpecificOutput"])
    reason = inner.pop("permissionDecisionReason")
    assert told.keys() == {"hookSpecificOutput"}
    assert inner == {"hookEventName": "PreToolUse", "permissionDecision": "deny"}
    return str(reason)


# -- the table -----------------------------------------------------------------------------------------


@BOTH
def test_without_a_mode_there_is_no_byte(env: dict[str, str], host: str) -> None:
    turned_on(env, host, session="another-session")
    for one in (
        edit(env, host, "a.py"),
        call(env, "Bash", command="rm a"),
        call(env, "Write"),
        event(env, "SessionStart", source="resume"),
        event(env, "SessionEnd", reason="other"),
    ):
        assert answer(host, one, env) is None
    assert answer("claude" if host == "codex" else "codex", edit(env, host, "a.py"), env) is None


@BOTH
@pytest.mark.parametrize("level", ["strict", "guide"])
def test_an_edit_is_denied_with_the_one_command_to_use(env: dict[str, str], host: str, level: str) -> None:
    turned_on(env, host, level=level, words=("--set", "a=b c"), program=("/opt/it's", "x"))
    reason = denied(answer(host, edit(env, host, "a.py"), env)) or ""
    assert "kay makes the changes, in task build" in reason and len(reason) <= 400
    if host == "claude":
        assert "run '/opt/it'\\''s' x start build --set 'a=b c' --prompt '" in reason
        assert "/runner:stop" in reason
    else:
        assert "delegate_spawn of server runner with task_id=build" in reason and "$runner:stop" in reason
    assert denied(answer(host, edit(env, host, "a.py") | {"agent_id": "1"}, env)) == reason
    assert answer(host, edit(env, host, "docs/a/b.md"), env) is None
    assert answer(host, edit(env, host, ".planning/ü.md"), env) is None


@BOTH
def test_a_level_says_what_else_is_denied(env: dict[str, str], host: str) -> None:
    turned_on(env, host, level="guide")
    for one in (call(env, "Bash", command="rm a"), call(env, "mcp__files__write", path="a")):
        assert answer(host, one, env) is None
    turned_on(env, host)
    for one in (call(env, "Bash", command="rm a"), call(env, "mcp__files__write", path="a")):
        assert "Level strict" in (denied(answer(host, one, env)) or "")
    for one in (call(env, "Bash", command="cat a"), call(env, "Read", file_path="/x")):
        assert answer(host, one, env) is None


@BOTH
def test_the_bare_name_passes_only_where_it_is_the_program_of_the_mode(
    env: dict[str, str], tmp_path: Path, host: str
) -> None:
    own, link, other = (tmp_path / f"{folder}/runner" for folder in ("own", "link", "other"))
    for path in (own, link, other):
        path.parent.mkdir()
    for path in (own, other):
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    link.symlink_to(own)
    turned_on(env, host, program=(str(own),))
    one = call(env, "Bash", command="runner status")
    for folders, passes in (
        (["link", "other"], True),
        (["nowhere", "own"], True),
        (["other", "own"], False),
        (["nowhere"], False),
    ):
        for before in ("", ":", ".:"):  # a shell takes these for the folder that it is in
            path = before + ":".join(str(tmp_path / folder) for folder in folders)
            reason = denied(answer(host, one, {**env, "PATH": path}))
            assert (reason is None) is (passes and not before), path
            assert reason is None or f"allows `{own}`" in reason
    assert answer(host, call(env, "Bash", command=f"{own} status"), env) is None


@BOTH
@pytest.mark.parametrize("level", ["strict", "guide"])
def test_what_is_not_understood_is_denied_at_each_level(env: dict[str, str], host: str, level: str) -> None:
    turned_on(env, host, level=level)
    for one in (
        call(env, "Write"),
        call(env, "Write", file_path=7),
        call(env, "apply_patch", command=PATCH.format("docs/a") + "*** Odd File: b\n"),
        call(env, "apply_patch", command=PATCH.format("docs/a\n*** Move to: ../../b")),
        call(env, "Bash", command=f"cd docs && apply_patch <<'E'\n{PATCH.format('a')}E"),
        call(env, "Bash", command=f"applypatch '{PATCH.format('docs/a')}'"),
    ):
        assert denied(answer(host, one, env)), one


@BOTH
def test_a_broken_mode_denies_all_but_looking(env: dict[str, str], host: str) -> None:
    turned_on(env, host)
    Path(mode.place(host, SESSION, env)).write_text("[]")
    for one in (edit(env, host, "docs/a"), call(env, "Bash", command="ls"), call(env, "mcp__x__y")):
        assert "`runner mode off`" in (denied(answer(host, one, env)) or ""), one
    assert answer(host, call(env, "Read", file_path="x"), env) is None


@pytest.mark.parametrize("source", ["startup", "resume", "clear"])
def test_a_mode_of_a_killed_claude_is_off_when_it_is_resumed(env: dict[str, str], source: str) -> None:
    turned_on(env)
    told = answer("claude", event(env, "SessionStart", source=source), env) or {}
    assert told.keys() == {"systemMessage"} and "Delegation to kay was on" in told["systemMessage"]
    assert mode.read("claude", SESSION, env) is None
    assert answer("claude", event(env, "SessionStart", source=source), env) is None


def test_a_mode_stays_over_a_compaction_and_ends_with_claude(env: dict[str, str]) -> None:
    turned_on(env)
    assert answer("claude", event(env, "SessionStart", source="compact"), env) is None
    assert mode.read("claude", SESSION, env) is not None
    assert answer("claude", event(env, "SessionEnd", reason="clear"), env) is None
    assert mode.read("claude", SESSION, env) is None


def test_no_end_of_a_session_of_codex_ends_its_mode(env: dict[str, str]) -> None:
    turned_on(env, "codex")
    for one in (event(env, "SessionEnd", reason="other"), event(env, "SessionStart", source="resume")):
        assert answer("codex", one, env) is None
    assert mode.read("codex", SESSION, env) is not None


@BOTH
def test_what_nobody_typed_is_no_command(env: dict[str, str], host: str) -> None:
    turned_on(env, host)
    for one in (
        event(env, "UserPromptSubmit", prompt="$runner:stop", agent_id="1"),
        event(env, "UserPromptSubmit", prompt="do $runner:stop"),
        event(env, "UserPromptSubmit", prompt="$runner:unknown"),
        event(env, "UserPromptSubmit", prompt="runner:stop"),
        event(env, "UserPromptSubmit", prompt="/runner:stop"),
        event(env, "UserPromptSubmit", prompt="$runner:answer "),
        event(env, "UserPromptExpansion", command_name="runner:stop", command_source="user", prompt=""),
        event(env, "UserPromptExpansion", command_name="stop", command_source="plugin", prompt=""),
        event(env, "UserPromptExpansion", command_name="runner:plan", command_source="plugin", prompt=""),
    ):
        assert answer(host, one, env) is None, one
    assert mode.read(host, SESSION, env) is not None


# -- files ---------------------------------------------------------------------------------------------


def test_a_path_is_what_it_leads_to(env: dict[str, str], tmp_path: Path) -> None:
    turned_on(env)
    repo = tmp_path / "repo"
    (repo / "src").mkdir()
    (repo / "src" / "a").touch()
    (repo / "docs" / "real").touch()
    (repo / "docs" / "out").symlink_to("../src")
    (repo / "docs" / "dangling").symlink_to("../src/new")
    (repo / "docs" / "loop").symlink_to("loop")
    (repo / "docs" / "in").symlink_to("real")
    (repo / "docs" / "v" / "2").mkdir(parents=True)
    (repo / "docs" / "latest").symlink_to("v/2")
    os.link(repo / "src" / "a", repo / "docs" / "hard")
    os.mkfifo(repo / "docs" / "fifo")

    def is_free(path: str) -> bool:
        return answer("claude", edit(env, "claude", path), env) is None

    free = (
        "docs/new",
        "docs/real",
        "docs/in",
        f"{repo}/docs/x/y",
        "src/../docs/new",
        "docs/ä",
        "docs/a\u0308",
    )
    assert [path for path in free if not is_free(path)] == []
    tied = ("src/a", "docs/out/a", "docs/dangling", "docs/loop", "docs/hard", "docs/fifo", "docs", ".", "/")
    tied += (
        "docs/latest/../../src/a",
        "docs/latest/../new",
    )  # by its text and by its links it is another one
    tied += ("docs/../src/a", "../docs/a", "/docs/a", "docs2/a", f"{repo}", "docs/\ud800", "docs/\udc80")
    for path in tied:
        try:
            assert not is_free(path), path
        except UnicodeError:
            assert "\\ud" in ascii(path)  # of the program this is the exit status 1: a denial


@pytest.mark.parametrize("globs", [("**",), (".git/**", ".claude/**", "delegate.toml"), ("*",)])
def test_what_decides_is_never_free(env: dict[str, str], globs: tuple[str, ...]) -> None:
    turned_on(env, may_edit=globs)
    own = (".git/config", ".runs/x", ".claude/settings.local.json", ".codex/config.toml", ".agents/plugins/x")
    for path in (
        *own,
        "delegate.toml",
        "delegate.local.toml",
        "sub/.git/config",
        "sub/.claude/settings.json",
        "docs/HEAD",
    ):
        assert answer("claude", edit(env, "claude", path), env) is not None, path


def test_claude_may_write_its_plans(env: dict[str, str], tmp_path: Path) -> None:
    turned_on(env)
    assert answer("claude", edit(env, "claude", f"{tmp_path}/home/.claude/plans/a.md"), env) is None
    assert answer("claude", edit(env, "claude", f"{tmp_path}/home/.claude/plans/../a.md"), env) is not None
    assert answer("claude", edit(env, "claude", f"{tmp_path}/home/.claude/settings.json"), env) is not None
    turned_on(env, "codex")
    assert answer("codex", edit(env, "codex", f"{tmp_path}/home/.claude/plans/a.md"), env) is not None


# -- the program, behind its guard ---------------------------------------------------------------------

Hook = Callable[..., subprocess.CompletedProcess[bytes]]


def hooked(
    env: Mapping[str, str], host: str, data: object, *, program: list[str] | None = None, variables: Any = ()
) -> subprocess.CompletedProcess[bytes]:
    """As the host runs it."""
    text = guard.CLAUDE if host == "claude" else guard.CODEX
    stdin = data if isinstance(data, bytes) else json.dumps(data).encode()
    own = {"CLAUDE_CODE_SESSION_ID": SESSION} if host == "claude" else {}
    argv = ["/bin/sh", "-c", text, "sh", *(program or PROGRAM), host]
    everything = {**env, **own, **dict(variables)}
    return subprocess.run(argv, input=stdin, env=everything, capture_output=True, timeout=30)


def is_denied(done: subprocess.CompletedProcess[bytes]) -> bool:
    """In one of the two ways in which a host takes it, and never with more than one document."""
    if done.returncode == 2:
        assert done.stdout == b"" and b"delegation is on, and its hook failed" in done.stderr
        return True
    assert done.returncode == 0, done.stderr
    return bool(done.stdout) and denied(json.loads(done.stdout)) is not None


PLAIN = (("tool_name", "x"), ("tool_name", "../x"), ("session_id", "x"))
"""A tool that is not known (level `guide` passes it), and a session that has no mode."""
BAD = [
    b"",
    b"[]",
    b"null",
    b"{",
    b'{"hook_event_name": "PreToolUse"',
    b"\xff",
    b'{"hook_event_name": NaN}',
    b"[" * 100_000,
    b'{"hook_event_name": "PreToolUse", "hook_event_name": "Stop"}',
    b'{"session_id": 1}',
    b'{"hook_event_name": 7}',
    b" " * (9 << 20),
]


@BOTH
def test_bad_input_is_denied_while_a_mode_is_on_and_never_a_byte_while_none_is(
    env: dict[str, str], host: str
) -> None:
    for data in BAD:
        done = hooked(env, host, data)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    turned_on(env, host)
    for data in BAD:
        assert is_denied(hooked(env, host, data)), data[:60]
    for key in ("tool_name", "tool_input", "cwd", "session_id", "hook_event_name"):
        for value in (None, 7, [], "x", "../x"):
            changed = edit(env, host, "a.py") | {key: value}
            assert is_denied(hooked(env, host, changed)) or (key, value) in PLAIN, changed
            del changed[key]
            assert is_denied(hooked(env, host, changed))
    assert is_denied(hooked(env, host, edit(env, host, "docs/\ud800")))


@BOTH
def test_a_hook_that_is_gone_or_hangs_denies_while_a_mode_is_on(env: dict[str, str], host: str) -> None:
    gone = [["/nonexistent"], [sys.executable, "/nonexistent"], ["false"]]
    for program in gone:
        assert hooked(env, host, edit(env, host, "a"), program=program).returncode == 0
    turned_on(env, host)
    for program in gone:
        assert is_denied(hooked(env, host, edit(env, host, "a"), program=program))
    with subprocess.Popen(
        [*PROGRAM, host], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    ) as hangs:  # nobody writes what it waits for
        assert hangs.wait(20) != 0
    full = subprocess.run(
        ["/bin/sh", "-c", f'"$@" {host} > /dev/full', "sh", *PROGRAM],
        input=json.dumps(edit(env, host, "a")).encode(),
        env=env,
        capture_output=True,
    )
    assert full.returncode != 0


@BOTH
@pytest.mark.parametrize(
    "odd",
    [
        {"HOME": ""},
        {"HOME": "x"},
        {"XDG_STATE_HOME": "x"},
        {"XDG_STATE_HOME": ""},
        {"CLAUDE_CODE_SESSION_ID": ""},
    ],
    ids=str,
)
def test_the_guard_finds_the_state_folder_as_python_does(
    env: dict[str, str], host: str, odd: dict[str, str], tmp_path: Path
) -> None:
    turned_on(env, host)
    done = hooked(env, host, edit(env, host, "a.py"), variables=odd)
    is_elsewhere = not odd.get("HOME", "/").startswith("/")  # the home folder of the password database
    assert is_denied(done) is not is_elsewhere


@BOTH
def test_a_mode_is_found_in_the_folder_that_a_variable_names(
    env: dict[str, str], host: str, tmp_path: Path
) -> None:
    elsewhere = {**env, "XDG_STATE_HOME": str(tmp_path / "a 'state' $x")}
    turned_on(elsewhere, host)
    assert hooked(env, host, edit(env, host, "a.py")).stdout == b""
    assert is_denied(hooked(elsewhere, host, edit(env, host, "a.py")))


def test_a_dangling_link_before_the_modes_of_codex_hides_none(env: dict[str, str]) -> None:
    turned_on(env, "codex")
    Path(mode.place("codex", "0", env)).symlink_to("nowhere")
    assert is_denied(hooked(env, "codex", edit(env, "codex", "a.py")))


def test_the_text_of_codex_fits_in_single_quotes_of_any_shell() -> None:
    assert "'" not in guard.CODEX and "\\\\" not in guard.CODEX


def test_the_options_that_stand_before_a_text_are_those_of_the_commands() -> None:
    parsers = [Parser("start"), Parser("answer")]
    add_start(parsers[0])
    add_answer(parsers[1])
    alone = {
        name
        for option in parsers[0].declared + parsers[1].declared
        if option.told.get("action", "").startswith("store_") or option.told.get("nargs") == "?"
        for name in option.names
        if name[0] == "-"
    }
    assert {*typed.FLAGS.split()} == alone | {"-h", "--help"}


def test_a_broken_prompt_of_a_person_goes_on(env: dict[str, str]) -> None:
    for host, name in (("codex", "UserPromptSubmit"), ("claude", "UserPromptExpansion")):
        done = subprocess.run(
            [*PROGRAM, host],
            input=json.dumps(event(env, name, prompt=7, command_source="plugin")).encode(),
            env=env,
            capture_output=True,
        )
        assert (done.returncode, done.stdout) == (0, b"")


def test_the_folder_of_the_hook_is_nobody_elses(env: dict[str, str], tmp_path: Path) -> None:
    """Of the host `/proc/self/cwd` is another folder than of the hook."""
    turned_on(env, may_edit=("**",))
    done = subprocess.run(
        [*PROGRAM, "claude"],
        input=json.dumps(edit(env, "claude", "/proc/self/cwd/a")).encode(),
        env=env,
        cwd=tmp_path / "repo" / "docs",
        capture_output=True,
    )
    assert is_denied(done)


def test_no_more_is_imported_than_is_needed() -> None:
    """It runs before every call of a tool, in every session of everybody who has the plugin."""
    script = "import sys; sys.path.insert(0, sys.argv[1]); import runner.hosts.hook; print(*sys.modules)"
    root = str(Path(runner.hosts.__main__.__file__).parents[2])
    argv = [sys.executable, "-I", "-S", "-c", script, root]
    loaded = set(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split())
    assert "runner.hosts.hook" in loaded
    heavy = {
        "re",
        "json",
        "argparse",
        "subprocess",
        "enum",
        "signal",
        "typing",
        "shlex",
        "pathlib",
        "runner.hosts.typed",
    }
    assert loaded & heavy == set()
    foreign = {name.partition(".")[0] for name in loaded} - {*sys.stdlib_module_names, "runner", "__main__"}
    assert foreign == set()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    host=st.sampled_from(HOSTS),
    level=st.sampled_from(["strict", "guide"]),
    given_to_it=st.dictionaries(
        st.sampled_from(["file_path", "command", "notebook_path", "x"]),
        st.one_of(
            st.none(), st.integers(), st.text(max_size=20), st.just("src/a"), st.just(PATCH.format("src/a"))
        ),
    ),
    tool=st.sampled_from(["Write", "Edit", "MultiEdit", "NotebookEdit", "apply_patch"]),
)
def test_no_edit_outside_of_what_is_free_is_ever_left_unanswered(
    env: dict[str, str], host: str, level: str, given_to_it: dict[str, Any], tool: str
) -> None:
    turned_on(env, host, level=level)
    try:
        told = answer(host, call(env, tool, **given_to_it), env)
    except Exception:
        return  # the program ends with 1: a denial
    assert denied(told) is not None
