"""What becomes of the events of each runtime: replies of the model with their calls."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.ended import an_ended_run

from runner.errors import CassetteRefused
from runner.redact.redactor import Redactor
from runner.rehearsal import edits
from runner.rehearsal.turns import Call, PatchCall, ShellCall, ToolCall, Turn, TurnUsage
from runner.state.manifest import RuntimeFound, timestamp
from runner.state.store import RunDir
from runner.usecases.cassette import FileChange, Maker
from runner.usecases.tape import Tape

PLAIN = 0o100644
T0 = 1_795_840_180.0


def a_tape(
    root: Path, runtime: str, lines: list[Any], *, times: list[float] | None = None
) -> tuple[RunDir, Tape]:
    (root / ".runs").mkdir(parents=True, exist_ok=True)
    found = RuntimeFound(runtime, f"/usr/bin/{runtime}", "1.0")
    run = an_ended_run(root, started_at=timestamp(T0))
    run.write_manifest(run.read_manifest().replace(runtime=found))
    texts = [one if isinstance(one, str) else json.dumps(one) for one in lines]
    Path(run.stdout).write_text("".join(f"{one}\n" for one in texts))
    size, marks = 0, []
    for text, at in zip(texts, times or [0.0] * len(texts), strict=True):
        size += len(text.encode()) + 1
        marks.append(f"{round((T0 + at) * 1000)}\t{size}\n")
    Path(run.timeline).write_text("".join(marks))
    begun = {"schema_version": 1, "seq": 1, "at": timestamp(T0), "type": "started", "attempt": 1}
    Path(run.events).write_text(json.dumps(begun) + "\n")
    return run, Tape(run, run.read_manifest())


def turns(
    root: Path, runtime: str, lines: list[Any], changed: dict[str, FileChange] | None = None, **more: Any
) -> tuple[list[Turn], list[str]]:
    run, tape = a_tape(root, runtime, lines, **more)
    maker = Maker(Redactor(), run.read_manifest(), tape, changed or {})
    return maker.turns(delays=True), list(maker.notes())


def new(text: str) -> FileChange:
    return FileChange(None, text.encode(), PLAIN, has_other_mode=False)


def added(path: str, line: str) -> PatchCall:
    return PatchCall(f"*** Begin Patch\n*** Add File: {path}\n+{line}\n*** End Patch\n")


def item(how: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"type": f"item.{how}", "item": {"id": more.pop("id", "i"), "type": kind, **more}}


def codex(root: Path) -> list[Any]:
    ran = {"command": "/bin/bash -lc 'echo hi'"}
    called = {"server": "files", "tool": "list", "arguments": {"n": 1}}
    return [
        {"type": "thread.started", "thread_id": "t"},
        {"type": "turn.started"},
        item("completed", "agent_message", text="I look."),
        item("started", "command_execution", **ran),
        item("completed", "command_execution", exit_code=0, **ran),
        item("completed", "file_change", id="e", changes=[{"path": f"{root}/src/a", "kind": "add"}]),
        item("started", "mcp_tool_call", id="t", **called),
        item("completed", "mcp_tool_call", id="t", **called),
        item("completed", "web_search", id="w", query="how"),
        item("completed", "agent_message", text="Done."),
        {"type": "turn.completed", "usage": {"input_tokens": 9, "output_tokens": 2}},
    ]


def tool_use(name: str, given: Any, n: str) -> dict[str, Any]:
    part = {"type": "tool_use", "id": n, "name": name, "input": given}
    return {"type": "assistant", "message": {"content": [part]}}


def tool_result(n: str, text: str = "") -> dict[str, Any]:
    part = {"type": "tool_result", "tool_use_id": n, "content": text}
    return {"type": "user", "message": {"content": [part]}, "tool_use_result": {"type": "create"}}


def claude(root: Path) -> list[Any]:
    usage = {"input_tokens": 9, "output_tokens": 2}
    return [
        {"type": "system", "subtype": "init", "session_id": "s"},
        {"type": "assistant", "message": {"content": [{"type": "text", "text": "I look."}]}},
        tool_use("Bash", {"command": "echo hi"}, "1"),
        tool_result("1"),
        tool_use("Write", {"file_path": f"{root}/src/a", "content": "new\n"}, "2"),
        tool_result("2"),
        tool_use("mcp__files__list", {"n": 1}, "3"),
        tool_result("3"),
        tool_use("WebSearch", {"query": "how"}, "4"),
        tool_result("4"),
        {"type": "assistant", "message": {"content": [{"type": "text", "text": "Done."}]}},
        {
            **{"type": "result", "is_error": False, "terminal_reason": "completed"},
            **{"usage": usage, "total_cost_usd": 0.1},
        },
    ]


def gemini(root: Path) -> list[Any]:
    def use(name: str, given: Any, n: str) -> list[Any]:
        called = {"type": "tool_use", "tool_name": name, "tool_id": n, "parameters": given}
        return [called, {"type": "tool_result", "tool_id": n, "status": "success", "output": ""}]

    return [
        {"type": "init", "session_id": "s", "model": "m"},
        {"type": "message", "role": "assistant", "content": "I ", "delta": True},
        {"type": "message", "role": "assistant", "content": "look.", "delta": True},
        *use("run_shell_command", {"command": "echo hi"}, "1"),
        *use("write_file", {"file_path": f"{root}/src/a", "content": "new\n"}, "2"),
        *use("google_web_search", {"query": "how"}, "4"),
        {"type": "message", "role": "assistant", "content": "Done.", "delta": True},
        {"type": "result", "status": "success", "stats": {"input_tokens": 9, "output_tokens": 2}},
    ]


def kay(root: Path) -> list[Any]:
    def msg(kind: str, **more: Any) -> dict[str, Any]:
        return {"id": "0", "msg": {"type": kind, **more}}

    called = {"server": "files", "tool": "list", "arguments": {"n": 1}}
    return [
        msg("task_started"),
        msg("agent_message", message="I look."),
        msg("exec_command_begin", call_id="1", command=["bash", "-lc", "echo hi"]),
        msg("exec_command_end", call_id="1", exit_code=0),
        msg("patch_apply_begin", call_id="2", changes={f"{root}/src/a": {"add": {"content": "new\n"}}}),
        msg("patch_apply_end", call_id="2", success=True),
        msg("mcp_tool_call_begin", call_id="3", invocation=called),
        msg("mcp_tool_call_end", call_id="3", invocation=called, result={"Ok": {}}),
        msg("web_search_begin", query="how"),
        msg("token_count", info={"total_token_usage": {"input_tokens": 9, "output_tokens": 2}}),
        msg("agent_message", message="Done."),
    ]


def acp(root: Path) -> list[Any]:
    def update(**more: Any) -> dict[str, Any]:
        return {"type": "update", "update": more}

    def call(n: str, **more: Any) -> list[Any]:
        told = {"toolCallId": n, "title": more.pop("title", "x"), **more}
        kinds = ({"status": "in_progress"}, {"status": "completed"})
        return [update(sessionUpdate="tool_call_update", **told, **kind) for kind in kinds]

    def said(text: str) -> dict[str, Any]:
        return update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": text})

    return [
        {"type": "session", "id": "s"},
        said("I "),
        said("look."),
        *call("1", kind="execute", rawInput={"command": "echo hi"}),
        *call("2", kind="edit", content=[{"type": "diff", "path": f"{root}/src/a", "newText": "new\n"}]),
        *call("4", kind="search", title="web_search how.it"),
        said("Done."),
        {
            "type": "ended",
            "answer": {"stopReason": "end_turn", "usage": {"inputTokens": 9, "outputTokens": 2}},
        },
    ]


@pytest.mark.parametrize("events", [codex, claude, gemini, kay, acp], ids=lambda one: one.__name__)
def test_the_events_of_each_runtime_become_the_same_turns(tmp_path: Path, events: Any) -> None:
    made, notes = turns(tmp_path, events.__name__, events(tmp_path), {"src/a": new("new\n")})
    tools = [] if events in (gemini, acp) else [ToolCall("files", "list", {"n": 1})]
    (put,) = edits.put({"src/a": (b"new\n", PLAIN)})
    early = [ShellCall(put)] if tools else []  # for the tool to find
    calls: list[Call] = [ShellCall("echo hi"), *early, *tools, ShellCall(put)]
    assert [turn.calls for turn in made] == [*((call,) for call in calls), ()]
    assert (made[0].message, made[-1].message) == ("I look.", "Done.")
    spent = [sum(numbers) for numbers in zip(*(turn.usage for turn in made), strict=True)]
    assert spent == [9, 0, 2, 0]
    assert any("no script can make these calls" in note for note in notes)


def test_calls_at_the_same_time_are_of_one_answer_and_what_came_after_an_end_is_not(tmp_path: Path) -> None:
    def ran(how: str, n: str) -> dict[str, Any]:
        return item(how, "command_execution", id=n, command=f"/bin/bash -lc 'echo {n}'")

    lines = [ran("started", "1"), ran("started", "2"), ran("completed", "2"), ran("started", "3")]
    lines += [
        ran("completed", "1"),
        item("completed", "agent_message", text="Done."),
        {"type": "turn.completed"},
    ]
    made, notes = turns(tmp_path, "codex", lines)
    assert [[call.command for call in turn.calls if isinstance(call, ShellCall)] for turn in made] == [
        ["echo 1", "echo 2"],
        ["echo 3"],
        [],
    ]
    assert notes == ["the agent did not wait for these, and a replay does: echo 3"]


def test_the_time_between_answers_is_a_delay_with_a_limit(tmp_path: Path) -> None:
    ran = {"command": "/bin/bash -lc 'sleep 9'"}
    lines = [item("started", "command_execution", **ran), item("completed", "command_execution", **ran)]
    lines += [item("completed", "agent_message", text="Done."), {"type": "turn.completed"}]
    made, _ = turns(tmp_path, "codex", lines, times=[1.5, 10.5, 900.0, 900.1])
    assert [turn.delay_s for turn in made] == [1.5, 5.0]


def test_a_message_that_would_end_the_turn_of_the_agent_goes_with_the_next_call(tmp_path: Path) -> None:
    ran = {"command": "/bin/bash -lc 'true'"}
    said = [item("completed", "agent_message", text=text) for text in ("one", "two", "three", "four")]
    called = [item(how, "command_execution", **ran) for how in ("started", "completed")]
    made, notes = turns(tmp_path, "codex", [*said[:2], *called, *said[2:], {"type": "turn.completed"}])
    assert [turn.message for turn in made] == ["one\n\ntwo", "four"]
    assert notes == ["what was said right before a last message is left out (1)"]


def ran(text: str, n: str = "c") -> list[Any]:
    command = f"/bin/bash -lc {shlex.quote(text)}"
    return [item(how, "command_execution", id=n, command=command) for how in ("started", "completed")]


DONE = [item("completed", "agent_message", text="Done."), {"type": "turn.completed"}]


def bash(*commands: str) -> list[Any]:
    lines = list[Any]()
    for n, text in enumerate(commands):
        lines += [tool_use("Bash", {"command": text}, str(n)), tool_result(str(n))]
    return [*lines, {"type": "assistant", "message": {"content": [{"type": "text", "text": "Done."}]}}]


def shells(made: list[Turn]) -> list[str]:
    return [call.command for turn in made for call in turn.calls if isinstance(call, ShellCall)]


def test_with_a_command_or_tool_on_the_tape_every_change_is_put_in_place_for_it_and_at_the_end(
    tmp_path: Path,
) -> None:
    edit = item("completed", "file_change", id="e", changes=[{"path": "VERSION", "kind": "add"}])
    said = item("completed", "agent_message", text="I edit.")
    (whole,) = edits.put({"VERSION": (b"2\n", PLAIN)})
    called = {"server": "files", "tool": "bump", "arguments": {"n": 1}}
    tool = [item(how, "mcp_tool_call", **called) for how in ("started", "completed")]
    for acts in (ran("for f in V*; do :; done"), tool):
        made, notes = turns(tmp_path, "codex", [said, edit, *acts, *DONE], {"VERSION": new("2\n")})
        calls = [turn.calls for turn in made]
        assert calls[0] == calls[2] == (ShellCall(whole),) and len(calls) == 4
        assert [turn.message for turn in made] == ["I edit.", None, None, "Done."]
        assert "put in place as they were, before the last answer: VERSION" in notes
        made, _ = turns(tmp_path, "codex", [*acts, edit, *DONE], {"VERSION": new("2\n")})
        assert [turn.calls for turn in made] == [calls[1], (ShellCall(whole),), ()]


def test_what_the_agent_has_removed_in_the_end_is_there_for_the_commands_before(tmp_path: Path) -> None:
    edit, again = (
        item("completed", "file_change", id=n, changes=[{"path": "a", "kind": "update"}]) for n in "12"
    )
    gone = FileChange(b"x\n", None, PLAIN, has_other_mode=False)
    made, _ = turns(tmp_path, "codex", [edit, *ran("cat *"), again, *ran("ls", "d"), *DONE], {"a": gone})
    (whole,) = edits.put({"a": (None, PLAIN)})
    assert shells(made) == ["cat *", whole, "ls", whole]


def claude_runs(root: Path, commands: list[str]) -> list[Any]:
    """Runs them as Claude Code 2.1.332 does, which keeps the folder where all of a command went well."""
    lines, at, kept = list[Any](), root, root / ".runs/at"
    for n, text in enumerate(commands):
        kept.unlink(missing_ok=True)
        typed = f"eval {shlex.quote(text)} && pwd -P >| {kept}"
        ended = subprocess.run(
            ["bash", "-c", typed], cwd=at, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said = ended.stdout
        if kept.exists():
            at = Path(kept.read_text().removesuffix("\n"))
        if not at.is_relative_to(root):
            at, said = root, f"{said}\nShell cwd was reset to {root}"
        said = said if ended.returncode == 0 else f"Exit code {ended.returncode}\n{said}"
        part = {"type": "tool_result", "tool_use_id": str(n), "content": said}
        result = {"type": "user", "message": {"content": [part | {"is_error": ended.returncode != 0}]}}
        lines += [tool_use("Bash", {"command": text}, str(n)), result]
    return [*lines, {"type": "assistant", "message": {"content": [{"type": "text", "text": "Done."}]}}]


def a_tree(root: Path) -> Path:
    (root / "sub/deep").mkdir(parents=True)
    (root / "it's").mkdir()
    (root / "way").symlink_to("sub/deep")
    return root


def files_of(root: Path) -> dict[str, str]:
    paths = (path for path in root.rglob("*") if path.is_file() and ".runs" not in path.parts)
    return {str(path.relative_to(root)): path.read_text() for path in paths}


MARK = "echo {n} >> made"
COMMANDS = (
    *(MARK, f"cd sub && {MARK}", f"cd deep\n{MARK}", f"cd ..; {MARK}", f"cd sub && {MARK} && false", "cd .."),
    *(f'cd "{{root}}/sub" && {MARK}', f"cd {{root}} && {MARK} || exit 1", f"cd '{{root}}/way'; {MARK}"),
    *(f"cd nosuch && {MARK}", f"cd nosuch; {MARK}", f"mkdir -p nosuch; {MARK}", f"(cd sub; {MARK}); {MARK}"),
    *(f'cd "it\'s" && {MARK}', f"cat <<E >> made\ncd sub\n{{n}}\nE\n{MARK}", f"cd sub && cd deep && {MARK}"),
    *(f"true && cd sub; {MARK}", f"cd sub && {MARK}; exit 0"),
)


def played_as_run(folder: Path, commands: list[str]) -> None:
    """CassetteRefused, or each command by itself makes the same files at the top of another tree."""
    folder = Path(os.path.realpath(folder))
    root, other = a_tree(folder / "first"), a_tree(folder / "second")
    (root / ".runs").mkdir()
    texts = [text.format(n=n, root=root) for n, text in enumerate(commands)]
    made, _ = turns(root, "claude", claude_runs(root, texts))
    for text in shells(made):
        subprocess.run(["bash", "-c", f"(\n{text}\n)"], cwd=other, capture_output=True)
    assert files_of(other) == files_of(root), shells(made)


@settings(deadline=None, max_examples=25)
@given(commands=st.lists(st.sampled_from(COMMANDS), max_size=7))
def test_a_command_of_claude_begins_where_the_one_before_has_gone_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, commands: list[str]
) -> None:
    with contextlib.suppress(CassetteRefused):
        played_as_run(tmp_path_factory.mktemp("claude"), commands)


@pytest.mark.parametrize(
    "commands",
    [
        [COMMANDS[1], MARK, COMMANDS[2], MARK, COMMANDS[3], MARK],
        [COMMANDS[4], MARK, "cd sub", MARK, "cd {root}", MARK],
        [COMMANDS[6], MARK, COMMANDS[9], MARK, "cd ..", MARK],
        [COMMANDS[8], MARK, "cd ..", MARK],
        ["true && cd sub", COMMANDS[6], MARK, "cd /tmp && true", MARK],
        [COMMANDS[12], COMMANDS[13], MARK, COMMANDS[15], MARK, COMMANDS[14]],
        ["pushd sub"],
    ],
)
def test_the_folder_of_claude_is_known_after_what_it_mostly_types(
    tmp_path: Path, commands: list[str]
) -> None:
    played_as_run(tmp_path, commands)


@pytest.mark.parametrize(
    "stays",
    [
        *("make; pushd sub", "if true; then cd sub; fi", "cat <<E\nx'\nE\ncd a", "cd $DIR", "cd sub; exit 0"),
        *("cd - && make", "cd ~/x", "cd a || cd b", "cd 'a'b"),
    ],
)
def test_a_command_of_claude_in_a_folder_that_is_not_known_is_refused(tmp_path: Path, stays: str) -> None:
    with pytest.raises(CassetteRefused, match="in line 3 of its stream begins in an unknown folder"):
        turns(tmp_path, "claude", bash(stays, "ls"))
    assert shells(turns(tmp_path, "claude", bash(stays))[0]) == [stays]
    assert shells(turns(tmp_path, "claude", bash(stays, f"cd {tmp_path} && ls"))[0])[1:] == ["cd . && ls"]


def test_commands_of_claude_at_the_same_time_are_refused_where_one_goes_elsewhere(tmp_path: Path) -> None:
    both = [tool_use("Bash", {"command": text}, text) for text in ("cd sub && ls", "ls")]
    lines = [*both, tool_result("cd sub && ls"), tool_result("ls"), *bash()]
    with pytest.raises(CassetteRefused, match="in line 2 of its stream begins in an unknown folder"):
        turns(tmp_path, "claude", lines)


def test_the_folder_of_a_command_of_codex_is_that_of_no_other(tmp_path: Path) -> None:
    at_top = (f"cd {tmp_path} && make", "(cd sub && make)", "x=$(cd sub; (pwd))", "cat <<'E' > x\ncd sub\nE")
    made, _ = turns(tmp_path, "claude", bash(*at_top))
    assert shells(made) == ["cd . && make", *at_top[1:]]
    made, _ = turns(tmp_path, "codex", [*ran("cd sub && make"), *ran("pushd x", "d"), *ran("ls", "e"), *DONE])
    assert shells(made) == ["cd sub && make", "pushd x", "ls"]


def test_a_path_behind_a_change_of_folder_is_left_as_it_was_and_told(tmp_path: Path) -> None:
    typed = f"cat {tmp_path}/a; cd {tmp_path}/sub && echo hi > {tmp_path}/out/y"
    made, notes = turns(tmp_path, "codex", [*ran(typed), *DONE])
    assert shells(made) == [f"cat a; cd sub && echo hi > {tmp_path}/out/y"]
    assert any("name the folder of that run, in its old place" in note for note in notes)
    made, notes = turns(tmp_path, "codex", [*ran(f"cd '{tmp_path}' && cat {tmp_path}/a"), *DONE])
    assert (shells(made), notes) == (["cd '.' && cat a"], [])


def test_a_shell_is_taken_away_only_where_the_program_has_put_it(tmp_path: Path) -> None:
    typed = "bash -c 'echo a' > out/y"
    assert shells(turns(tmp_path, "claude", bash(typed, "bash -c 'echo a'"))[0]) == [
        typed,
        "bash -c 'echo a'",
    ]
    assert shells(turns(tmp_path, "codex", [*ran(typed), *DONE])[0]) == [typed]


def test_what_a_replay_may_refuse_is_told(tmp_path: Path) -> None:
    long = "echo " + "x" * 40_000
    _, notes = turns(tmp_path, "codex", [*ran("rm -r -f out"), *ran(long, "d"), *DONE])
    assert any("not every agent runs" in note and "rm -r -f out" in note for note in notes)
    assert any("longer than 32 KiB" in note for note in notes)


def test_calls_of_other_runs_are_refused(tmp_path: Path) -> None:
    called = {"server": "delegation", "tool": "delegate.status", "arguments": {}}
    with pytest.raises(CassetteRefused, match="has started or asked other runs"):
        turns(tmp_path, "codex", [item(how, "mcp_tool_call", **called) for how in ("started", "completed")])


def test_a_name_or_a_target_that_is_no_text_is_refused(tmp_path: Path) -> None:
    link = FileChange(None, b"t\xff", 0o120000, has_other_mode=False)
    for name, change in (("n\udcff", new("x\n")), ("link", link)):
        with pytest.raises(CassetteRefused, match="not UTF-8"):
            turns(tmp_path, "codex", [*ran("true"), *DONE], {name: change})


def test_a_file_is_whole_where_it_was_edited_last(tmp_path: Path) -> None:
    changes = [{"path": "a", "kind": "update"}]
    edit, again = (item("completed", "file_change", id=n, changes=changes) for n in "12")
    failed = item("completed", "file_change", id="3", status="failed", changes=changes)
    made, notes = turns(tmp_path, "codex", [edit, again, failed, *DONE], {"a": new("x\n")})
    assert [turn.calls for turn in made] == [(added("a", "x"),), ()]
    assert notes == ["1 edit failed, and left out"]


@pytest.mark.parametrize(("given", "is_said"), [({"n": [None]}, False), ({"n": "null"}, True)])
def test_what_a_tool_is_given_has_to_be_said_in_toml(tmp_path: Path, given: Any, is_said: bool) -> None:
    called = {"server": "s", "tool": "t", "arguments": given}
    lines = [item(how, "mcp_tool_call", **called) for how in ("started", "completed")]
    lines += [item("completed", "agent_message", text="Done."), {"type": "turn.completed"}]
    made, notes = turns(tmp_path, "codex", lines)
    left = "no script can make these calls, which are left out: s.t"
    assert (len(made), notes) == ((2, ["it needs these MCP servers: s"]) if is_said else (1, [left]))


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Z"]), min_size=1, max_size=12)
MOVES = st.lists(
    st.tuples(st.none() | WORDS, st.lists(WORDS, min_size=1, max_size=3), st.integers(0, 10**6)), max_size=4
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(moves=MOVES, last=WORDS)
@example(moves=[("{task}", ["awk '{print}' a; echo \"{last_output}\\n\"", "cat <<'E'\nx\nE"], 3)], last='"""')
def test_the_stream_of_a_script_is_recorded_as_that_script(
    tmp_path_factory: pytest.TempPathFactory, moves: list[Any], last: str
) -> None:
    lines: list[Any] = []
    spent = 0
    for n, (said, commands, tokens) in enumerate(moves):
        lines += [item("completed", "agent_message", text=said)] if said else []
        for how in ("started", "completed"):
            for m, text in enumerate(commands):
                typed = f"/bin/bash -lc {shlex.quote(text)}"
                lines.append(item(how, "command_execution", id=f"{n}-{m}", command=typed))
        spent += tokens
        lines.append({"type": "turn.completed", "usage": {"input_tokens": spent}})
    lines += [item("completed", "agent_message", text=last), {"type": "turn.completed"}]
    made, notes = turns(tmp_path_factory.mktemp("run"), "codex", lines)
    wanted = [
        Turn(said, calls=tuple(map(ShellCall, commands)), usage=TurnUsage(tokens))
        for said, commands, tokens in moves
    ]
    assert (made, notes) == ([*wanted, Turn(last)], [])
