"""What the class `Runtime` promises, of every runtime: it asks nothing that only one program has.

`tests/data/runtimes/NAME.json` has what was measured of each: what it says of itself, and lines of its
stream. docs/adding-a-runtime.md tells what is in there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config.layers import DEFAULTS
from runner.config.tables import RuntimesTable
from runner.errors import ConfigInvalid, RunnerError, RuntimeWrong
from runner.model import Level, McpServer, Model, Outcome, Program, Sandbox
from runner.runtimes import NAMES, get, host_of
from runner.runtimes.arguments import argv_of
from runner.runtimes.base import REASON_CODES, Activity, CommandRequest, End, Kind, Runtime, UsageScope
from runner.runtimes.probe import options_in
from runner.runtimes.reading import reader_of
from runner.state.manifest import Attempt
from runner.state.spent import in_thread, of_attempts, tokens
from runner.supervise.progress import Progress
from runner.supervise.signals import Signals

if TYPE_CHECKING:
    from runner.model import RuntimeSettings

EXAMPLES = Path(__file__).parent.parent / "data/runtimes"
SAID = {name: json.loads((EXAMPLES / f"{name}.json").read_bytes()) for name in NAMES}
LINES = [(name, line) for name, said in SAID.items() for line in (*said["call"], *said["turn"])]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)

KEYS = st.sampled_from(["hooks", "mcp_servers", "plugins", "enabledPlugins"])


@pytest.fixture(params=NAMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return get(request.param)


def settings(runtime: Runtime) -> RuntimeSettings:
    return runtime.defaults().replace(**SAID[runtime.name]["settings"])


def program(runtime: Runtime) -> Program:
    said = SAID[runtime.name]
    return Program("/bin/it", "1.0.0", options_in("\n".join(said["help"])))


def asked(runtime: Runtime, **changes: Any) -> CommandRequest:
    model = Model(None, **SAID[runtime.name]["model"])
    sandbox = Sandbox("s", Level.READ_ONLY)
    plain = CommandRequest(program(runtime), settings(runtime), model, sandbox, "/repo", "/run/last.md", True)
    return plain.replace(**changes)


def told(runtime: Runtime, records: list[Any]) -> list[Activity]:
    read = reader_of(runtime)
    return [activity for record in records for activity in read(record)]


def followed(runtime: Runtime, records: list[Any], folder: Path) -> Progress:
    path = folder / "stdout.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    progress = Progress(str(path), runtime)
    progress.finish()
    return progress


def concluded(
    runtime: Runtime, progress: Progress, exit_code: int | None, stderr: str = "", signal: int | None = None
) -> tuple[Outcome, str]:
    end = End(
        exit_code,
        signal,
        progress.turn,
        progress.failure or progress.last_error,
        progress.last_message,
        progress.any_event,
        stderr,
        progress.status,
    )
    outcome, reason = runtime.conclude(end)
    assert reason.code in REASON_CODES and reason.message
    return outcome, reason.code


# what it is


def test_the_module_is_found_under_its_name(runtime: Runtime) -> None:
    assert get(runtime.name) is runtime
    assert runtime.candidates and runtime.about and runtime.install_hint and runtime.login_hint
    assert runtime.defaults().name == runtime.name


def test_nobody_else_is_taken_for_this_program(runtime: Runtime) -> None:
    found = {
        name: runtime.help_says in "\n".join(said["help"]) and runtime.identify(said["version"] + "\n")
        for name, said in SAID.items()
        if not get(name).is_generic or get(name) is runtime
    }
    if runtime.is_generic:
        assert all(found.values()) and runtime.identify("") == "unknown"
        return
    assert [name for name, version in found.items() if version] == [runtime.name]
    assert (found[runtime.name] or "") in SAID[runtime.name]["version"]
    assert not runtime.identify("") and not runtime.foreign(SAID[runtime.name]["version"])


OURS = {"HOME", "PATH", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"}


def test_no_variable_of_it_moves_what_runner_keeps(runtime: Runtime) -> None:
    given = {*runtime.own_home, *runtime.variables, *runtime.rehearsal(1, 0, {})[1]}
    assert not given & OURS, "runner's own processes and the checks get these, too"


# its settings


def refused(runtime: Runtime, config: dict[str, Any]) -> bool:
    try:
        runtime.command(asked(runtime, settings=settings(runtime).replace(config=config)))
    except ConfigInvalid:
        return True
    return False


def is_valid(runtime: Runtime, config: dict[str, Any]) -> bool:
    try:
        RuntimesTable.model_validate({runtime.name: {"config": config}})
    except ValueError:
        return False
    return True


def test_check_refuses_what_a_start_refuses(runtime: Runtime) -> None:
    assert is_valid(runtime, {"harmless": True})
    for key in runtime.owned:
        config: Any = "anything"
        for part in reversed(key.split(".")):
            config = {part: config}
        assert (is_valid(runtime, config), refused(runtime, config)) == (False, True), key


def test_its_defaults_are_valid_settings(runtime: Runtime) -> None:
    table = {name: value for name, value in DEFAULTS["runtimes"][runtime.name].items() if value}
    assert RuntimesTable.model_validate({runtime.name: table})
    for provider in (*runtime.providers, *runtime.provider_aliases):
        assert RuntimesTable.model_validate({runtime.name: {"provider": provider}})


# its command


def test_the_same_request_gives_the_same_words(runtime: Runtime) -> None:
    argv = runtime.command(asked(runtime))
    assert argv == runtime.command(asked(runtime))
    assert (argv[argv.index("/bin/it") :][1:] == ("--acp",)) if runtime.is_generic else argv[0] == "/bin/it"
    assert all(isinstance(word, str) and "\0" not in word for word in argv)


def test_no_two_levels_are_the_same_command(runtime: Runtime) -> None:
    made: list[tuple[str, ...]] = []
    for level in Level:
        try:
            made.append(runtime.command(asked(runtime, sandbox=Sandbox("s", level))))
        except ConfigInvalid:
            continue
    assert made and len({*made}) == len(made)


@pytest.mark.parametrize(("key", "value"), [("hosts", ("a.org",)), ("deny_read", ("/secret",))])
def test_what_it_cannot_keep_from_its_agent_is_refused_and_never_left_out(
    runtime: Runtime, key: str, value: tuple[str, ...]
) -> None:
    can = runtime.lists_hosts if key == "hosts" else runtime.denies_read
    sandbox = Sandbox("s", Level.WORKSPACE_WRITE, network=key == "hosts", **{key: value})
    for level in (Level.READ_ONLY, Level.WORKSPACE_WRITE):
        if level is Level.READ_ONLY and key == "hosts":
            continue
        request = asked(runtime, sandbox=sandbox.replace(level=level))
        if can:
            assert any(value[0] in word for word in argv_of(runtime, request))
            continue
        with pytest.raises(ConfigInvalid, match="cannot keep"):
            argv_of(runtime, request)


def test_a_program_that_lists_nothing_is_refused_with_its_version(runtime: Runtime) -> None:
    if not runtime.help_args:
        return
    empty = Program("/bin/it", "0.0.1", frozenset())
    with pytest.raises(RuntimeWrong, match=r"0\.0\.1"):
        runtime.command(asked(runtime, program=empty))


def worded(runtime: Runtime, request: CommandRequest) -> tuple[Any, ...] | None:
    """Its command and the files of its home; None where it refuses the request."""
    try:
        return runtime.command(request), dict(runtime.home(request))
    except ConfigInvalid:
        return None


DELEGATION = McpServer("/bin/python", ("-m", "server"), ("PATH",), {"A": "b"}, registered=False)


def changed(request: CommandRequest, what: str) -> CommandRequest:
    model, settings, sandbox = request.model, request.settings, request.sandbox
    assert model is not None
    changes: dict[str, dict[str, Any]] = {
        "model": {"model": model.replace(model="another-one")},
        "effort": {"model": model.replace(reasoning_effort="low")},
        "config": {"settings": settings.replace(config={"harmless": True})},
        "isolated": {"settings": settings.replace(isolated=not settings.isolated)},
        "network": {"sandbox": sandbox.replace(network=True)},
        "writable": {"sandbox": sandbox.replace(writable=("/elsewhere",))},
        "delegation": {"mcp": DELEGATION},
        "registered server": {"mcp": DELEGATION.replace(registered=True)},
    }
    return request.replace(**changes[what])


ASKED = ("model", "effort", "config", "isolated", "network", "writable", "delegation", "registered server")


@pytest.mark.parametrize("level", [Level.READ_ONLY, Level.WORKSPACE_WRITE])
@pytest.mark.parametrize("what", ASKED)
def test_what_is_asked_for_is_passed_on_or_refused(runtime: Runtime, level: Level, what: str) -> None:
    plain = asked(runtime, sandbox=Sandbox("s", level))
    if worded(runtime, plain) is None:
        return
    assert worded(runtime, changed(plain, what)) != worded(runtime, plain)


@pytest.mark.parametrize("level", [Level.READ_ONLY, Level.WORKSPACE_WRITE])
def test_nothing_that_bypasses_the_sandbox_is_ever_passed(runtime: Runtime, level: Level) -> None:
    known = program(runtime)
    open_wide = known.replace(flags=known.flags | {"--yolo", "--approve-for-me", "--full-auto"})
    try:
        argv = runtime.command(asked(runtime, program=open_wide, sandbox=Sandbox("s", level)))
    except ConfigInvalid:
        return
    wide = ("--yolo", "--full-auto", "--approve-for-me", "yolo", "bypassPermissions")
    assert not [word for word in argv if "dangerously" in word or word in wide]


def test_a_session_is_resumed_by_its_id_and_by_nothing_that_is_none(runtime: Runtime) -> None:
    if not runtime.resumes:
        return
    assert "t-1" in runtime.command(asked(runtime, resume_thread="t-1"))
    for wrong in ("--sandbox", "a b", "../x", ""):
        with pytest.raises(RunnerError):
            runtime.command(asked(runtime, resume_thread=wrong))


SERVER = ("/bin/runner", "delegate-server", "--repo", "/re po", "--mode", "full")


def test_what_registers_a_server_has_each_word_of_its_command(runtime: Runtime) -> None:
    words = runtime.register(SERVER)
    if words is None:
        assert runtime.mcp_check(program(runtime)) is None
        return
    own = ("mcp", "add", "delegation", "--")
    assert [word for word in words if word in SERVER] == [*SERVER]
    assert {*own} <= {*words} and words.index("--") < words.index(SERVER[1])


@given(name=st.sampled_from([*NAMES]), tables=st.lists(st.dictionaries(KEYS, JSON), min_size=3, max_size=3))
def test_what_settings_bring_is_told_by_names_whatever_they_say(name: str, tables: list[Any]) -> None:
    found = get(name).inherited({"HOME": "/home/me"}, lambda path: tables.pop())
    assert {*found} <= {"mcp_servers", "hooks", "plugins"}
    assert all(isinstance(one, str) for names in found.values() for one in names)


# its stream


def calls(runtime: Runtime, of: list[int]) -> list[Any]:
    text = json.dumps(SAID[runtime.name]["call"])
    each = [json.loads(text.replace("{n}", str(n)).replace("{id}", f"c{at}")) for at, n in enumerate(of)]
    return [record for records in each for record in records]


def stall(runtime: Runtime, of: list[int]) -> str | None:
    signals = Signals(5, 5)
    for activity in told(runtime, calls(runtime, of)):
        signals.note(activity)
    return signals.reason and signals.reason.code


def test_calls_that_differ_and_have_the_same_result_are_no_stall(runtime: Runtime) -> None:
    assert stall(runtime, [*range(30)]) is None
    assert stall(runtime, [1, 1, 1, 1]) is None
    assert stall(runtime, [1] * 5) == "stalled"


def test_a_resumed_attempt_adds_its_tokens(runtime: Runtime, tmp_path: Path) -> None:
    said, attempts = SAID[runtime.name], []
    assert ("resumed" in said) == runtime.resumes
    for n, turn in enumerate(filter(None, (said["turn"], said.get("resumed"))), 1):
        progress = followed(runtime, turn, tmp_path)
        assert progress.usage is not None
        own = runtime.usage_scope is UsageScope.ATTEMPT
        usage = in_thread(progress.usage, attempts, progress.thread_id) if own else progress.usage
        attempts.append(Attempt(n, thread_id=progress.thread_id, usage=usage))
    assert tokens(of_attempts(attempts)) == said["tokens"]
    assert not runtime.resumes or attempts[0].thread_id == attempts[1].thread_id is not None


def test_a_turn_that_ended_well_is_a_success_and_nothing_less_is(runtime: Runtime, tmp_path: Path) -> None:
    turn = SAID[runtime.name]["turn"]
    whole = followed(runtime, turn, tmp_path)
    assert whole.last_message
    assert concluded(runtime, whole, 0) == (Outcome.SUCCEEDED, "completed")
    assert concluded(runtime, whole, 1)[0] is Outcome.FAILED
    assert concluded(runtime, whole, None, signal=9) == (Outcome.FAILED, "killed")
    assert concluded(runtime, followed(runtime, [], tmp_path), 0)[0] is not Outcome.SUCCEEDED
    for cut in range(len(turn)):
        assert concluded(runtime, followed(runtime, turn[:cut], tmp_path), None)[0] is not Outcome.SUCCEEDED


def test_half_of_the_line_that_ends_the_turn_is_no_success_and_strange_lines_change_nothing(
    runtime: Runtime, tmp_path: Path
) -> None:
    turn, path = SAID[runtime.name]["turn"], tmp_path / "stdout.jsonl"
    lines = [json.dumps(record) for record in turn]
    ends = [one for one in told(runtime, turn) if one.kind is Kind.TURN_COMPLETED]
    strange = ['{"type": "new.kind", "x": [1]}', "no JSON", '{"type":', "[]", "\0\x1b[1m"]

    def success(*of: str) -> bool:
        path.write_text("\n".join(of))
        progress = Progress(str(path), runtime)
        progress.finish()
        return concluded(runtime, progress, 0)[0] is Outcome.SUCCEEDED

    assert success(*strange, *(word for line in lines for word in (line, *strange)))
    if ends:  # Kay may tell it by its exit status alone
        at = next(n for n in range(len(turn)) if ends[0] in told(runtime, turn[: n + 1]))
        assert not success(*lines[:at], lines[at][: len(lines[at]) // 2])


def test_a_failure_is_never_a_success(runtime: Runtime, tmp_path: Path) -> None:
    failures = SAID[runtime.name]["failures"]
    assert failures
    for one in failures:
        progress = followed(runtime, one["records"], tmp_path)
        assert concluded(runtime, progress, one["exit_code"], one.get("stderr", ""))[0] is Outcome.FAILED, one


def test_a_call_that_failed_is_told_as_one(runtime: Runtime) -> None:
    ends = (Kind.COMMAND, Kind.TOOL_CALL, Kind.FILE_CHANGE)
    (call,) = [one for one in told(runtime, SAID[runtime.name]["failed_call"]) if one.kind in ends]
    assert call.text
    assert call.failed or call.exit_code not in (None, 0)


def test_readers_share_nothing(runtime: Runtime) -> None:
    records = [*calls(runtime, [1, 2]), *SAID[runtime.name]["turn"]]
    first, second = runtime.reader(), runtime.reader()
    assert [first(record) for record in records] == [second(record) for record in records]


@pytest.mark.parametrize("record", [{}, {"type": []}, {"type": "new.kind"}, {"msg": []}, {"item": 1}])
def test_what_is_no_event_tells_nothing(runtime: Runtime, record: Any) -> None:
    assert runtime.reader()(record) == ()


@given(line=st.sampled_from(LINES), data=st.data(), value=JSON)
def test_no_value_in_a_known_line_makes_a_reader_raise(
    line: tuple[str, Any], data: st.DataObject, value: object
) -> None:
    name, record = line[0], json.loads(json.dumps(line[1]))
    place = record
    while isinstance(place, (dict, list)) and place:
        key = data.draw(st.sampled_from([*place] if isinstance(place, dict) else [*range(len(place))]))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            place[key] = value
            break
        place = place[key]
    assert all(isinstance(one, Activity) for one in reader_of(get(name))(record))


@pytest.mark.parametrize(
    ("env", "host"),
    [
        ({}, None),
        ({"CLAUDE_CODE_SESSION_ID": "abc"}, "claude"),
        ({"CODEX_THREAD_ID": "abc"}, "codex"),
        ({"CLAUDE_CODE_SESSION_ID": "abc", "CODEX_THREAD_ID": "def"}, None),
        ({"CLAUDE_CODE_SESSION_ID": "", "CODEX_THREAD_ID": "def"}, "codex"),
        ({"CLAUDE_CODE_SESSION_ID": "a\x1bb"}, None),
    ],
)
def test_the_host_is_the_one_agent_cli_that_names_a_session(env: dict[str, str], host: str | None) -> None:
    assert host_of(env) == host
