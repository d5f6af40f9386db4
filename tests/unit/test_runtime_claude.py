"""Claude Code: its command for each level, its stream, and how it ended. Lines as 2.1.332 prints them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ConfigInvalid
from runner.model import Context, Level, McpServer, Model, Outcome, Program, Sandbox, Usage
from runner.runtimes import get
from runner.runtimes.base import Activity, CommandRequest, End, Fence, Kind
from runner.runtimes.probe import options_in
from runner.runtimes.reading import reader_of

CLAUDE = get("claude")
EXAMPLE = json.loads((Path(__file__).parent.parent / "data/runtimes/claude.json").read_bytes())
PROGRAM = Program("/bin/claude", "2.1.332", options_in("\n".join(EXAMPLE["help"])))
WRITES = Sandbox("s", Level.WORKSPACE_WRITE)
WELL = {"type": "result", "is_error": False, "terminal_reason": "completed"}


def asked(sandbox: Sandbox, **changes: Any) -> CommandRequest:
    plain = CommandRequest(PROGRAM, CLAUDE.defaults(), None, sandbox, "/repo", "/run/last.md", True)
    return plain.replace(**changes)


def value(argv: tuple[str, ...], option: str) -> str:
    return argv[argv.index(option) + 1]


def settings(argv: tuple[str, ...]) -> Any:
    return json.loads(value(argv, "--settings"))


def told(*records: Any) -> list[Activity]:
    read = reader_of(CLAUDE)
    return [activity for record in records for activity in read(record)]


def call(name: str, asked: dict[str, Any], item: str = "c1", **more: Any) -> dict[str, Any]:
    block = {"type": "tool_use", "id": item, "name": name, "input": asked}
    return {"type": "assistant", "message": {"id": "m", "content": [block]}, **more}


def answer(output: Any, item: str = "c1", *, failed: bool = False, **more: Any) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": item, "content": output, "is_error": failed}
    return {"type": "user", "message": {"content": [block]}, **more}


# its command


def test_the_prompt_comes_on_stdin_and_nothing_of_the_users_settings_with_it() -> None:
    argv = CLAUDE.command(asked(Sandbox("s", Level.READ_ONLY)))
    assert argv[:4] == ("/bin/claude", "-p", "--output-format", "stream-json")
    assert value(argv, "--setting-sources") == "" and "--strict-mcp-config" in argv
    assert CLAUDE.defaults().isolated


@pytest.mark.parametrize("prompt", ["/cost", "/init now", "\n /x"])
def test_a_prompt_is_never_a_command_of_its_own(prompt: str) -> None:
    assert CLAUDE.prepare_prompt(prompt) == f"TASK:\n{prompt}"
    assert CLAUDE.prepare_prompt("Look at /etc.") == "Look at /etc."


def test_a_reader_has_no_tool_that_writes_or_runs_anything() -> None:
    argv = CLAUDE.command(asked(Sandbox("s", Level.READ_ONLY)))
    assert value(argv, "--permission-mode") == "dontAsk"
    assert value(argv, "--tools") == "Read,Grep,Glob"
    assert settings(argv)["permissions"] == {"allow": ["Read", "Grep", "Glob"], "deny": []}


def test_a_writer_needs_a_sandbox_that_works_and_that_no_command_can_leave() -> None:
    sandbox = settings(CLAUDE.command(asked(WRITES)))["sandbox"]
    assert (sandbox["enabled"], sandbox["failIfUnavailable"]) == (True, True)
    assert sandbox["allowUnsandboxedCommands"] is False
    assert sandbox["network"] == {"allowedDomains": [], "strictAllowlist": True}
    with_network = settings(CLAUDE.command(asked(WRITES.replace(network=True))))
    assert with_network["sandbox"]["network"] == {"allowedDomains": ["*"], "strictAllowlist": True}


def test_a_list_of_hosts_is_all_that_the_network_is() -> None:
    argv = CLAUDE.command(asked(WRITES.replace(network=True, hosts=("pypi.org", "*.example.com"))))
    assert settings(argv)["sandbox"]["network"]["allowedDomains"] == ["pypi.org", "*.example.com"]
    told = value(argv, "--tools") + str(settings(argv)["permissions"]["allow"])
    assert "Web" not in told, "they ask outside of the sandbox"


@pytest.mark.parametrize("level", [Level.READ_ONLY, Level.WORKSPACE_WRITE])
def test_what_must_not_be_read_is_denied_to_commands_and_tools_alike(level: Level) -> None:
    whole = settings(CLAUDE.command(asked(Sandbox("s", level, deny_read=("/repo/secrets",)))))
    assert {"Read(//repo/secrets)", "Read(//repo/secrets/**)"} <= {*whole["permissions"]["deny"]}
    if level is Level.WORKSPACE_WRITE:
        assert whole["sandbox"]["filesystem"]["denyRead"] == ["/repo/secrets"]
    with pytest.raises(ConfigInvalid, match="cannot name"):
        CLAUDE.command(asked(Sandbox("s", level, deny_read=("/repo/a*",))))


def test_no_command_gets_the_key_of_the_model() -> None:
    kept = settings(CLAUDE.command(asked(WRITES)))["sandbox"]["credentials"]["envVars"]
    assert {one["name"] for one in kept if one["mode"] == "deny"} >= {
        *CLAUDE.key_env,
        "ANTHROPIC_CUSTOM_HEADERS",
        "AWS_BEARER_TOKEN_BEDROCK",
        "ANTHROPIC_FOUNDRY_API_KEY",
    }


def test_no_command_of_a_writer_goes_on_in_the_background() -> None:
    env = settings(CLAUDE.command(asked(WRITES)))["env"]
    assert env["CLAUDE_CODE_DISABLE_BACKGROUND_TASKS"] == "1"


def test_what_may_be_written_and_what_not_is_told_to_sandbox_and_permissions_alike() -> None:
    fence = Fence(temp="/state/temp/r", read_only=("/repo/.runs", "/main/.git"))
    made = settings(CLAUDE.command(asked(WRITES.replace(writable=("/more",)), fence=fence)))
    kept = ["/repo/.git", "/more/.git", "/state/temp/r/.git", "/repo/.runs", "/main/.git"]
    files = made["sandbox"]["filesystem"]
    assert files["allowWrite"] == ["/more", "/state/temp/r"]
    assert files["denyWrite"] == [*kept, "~/.npm/_logs", "/tmp/claude"]
    edits = [rule for rule in made["permissions"]["allow"] if rule.startswith("Edit")]
    assert edits == ["Edit(//repo/**)", "Edit(//more/**)", "Edit(//state/temp/r/**)"]
    rules = [rule for path in kept for rule in (f"Edit(/{path})", f"Edit(/{path}/**)")]
    assert made["permissions"]["deny"] == rules
    assert made["env"]["CLAUDE_CODE_TMPDIR"] == "/state/temp/r"


@pytest.mark.parametrize("name", ["a*b", "a[b]", "what?", "a{b}", "(a)", "!a", "a\\b", "a ", "\udcff"])
def test_a_path_that_a_rule_would_read_as_a_pattern_is_refused(name: str) -> None:
    for changes in ({"cwd": f"/repo/{name}"}, {"fence": Fence(read_only=(f"/{name}",))}):
        with pytest.raises(ConfigInvalid, match="cannot name the path"):
            CLAUDE.command(asked(WRITES, **changes))


def test_danger_is_the_mode_of_that_name_and_no_sandbox() -> None:
    argv = CLAUDE.command(asked(Sandbox("s", Level.DANGER, network=True)))
    assert value(argv, "--permission-mode") == "bypassPermissions"
    assert "sandbox" not in settings(argv)


def test_the_users_own_permissions_are_added_to_no_sandbox() -> None:
    own = CLAUDE.defaults().replace(isolated=False)
    for level in (Level.READ_ONLY, Level.WORKSPACE_WRITE):
        with pytest.raises(ConfigInvalid, match="your own settings"):
            CLAUDE.command(asked(Sandbox("s", level), settings=own))
    argv = CLAUDE.command(asked(Sandbox("s", Level.DANGER), settings=own))
    assert value(argv, "--setting-sources") == "user"  # never those of a repository


def test_settings_of_the_user_reach_it_but_do_not_undo_ours() -> None:
    config = {"env": {"A": "1", "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "0"}, "includeCoAuthoredBy": False}
    made = settings(CLAUDE.command(asked(WRITES, settings=CLAUDE.defaults().replace(config=config))))
    assert made["env"]["A"] == "1" and made["includeCoAuthoredBy"] is False
    assert made["env"]["CLAUDE_CODE_DISABLE_BACKGROUND_TASKS"] == "1"


@pytest.mark.parametrize(
    "name",
    [
        *("BASH_ENV", "PATH", "SHELL", "CLAUDE_CODE_SHELL", "CLAUDE_CODE_SHELL_PREFIX", "NODE_OPTIONS"),
        *("LD_PRELOAD", "GIT_CONFIG_COUNT", "CLAUDE_CONFIG_DIR"),
    ],
)
def test_a_variable_with_which_it_starts_programs_outside_of_its_sandbox_is_refused(name: str) -> None:
    config = {"env": {"NODE_EXTRA_CA_CERTS": "/ca.pem", "PATHS": "x"}}
    CLAUDE.command(asked(WRITES, settings=CLAUDE.defaults().replace(config=config)))
    config["env"][name] = "/repo/script"
    with pytest.raises(ConfigInvalid, match=f"`{name}`"):
        CLAUDE.command(asked(WRITES, settings=CLAUDE.defaults().replace(config=config)))


@pytest.mark.parametrize(
    "given",
    [
        {"config": {"modelOverrides": {"claude-opus-5-5": "claude-haiku-4-5"}}},
        {"config": {"fallbackModel": ["haiku"]}},
        {"config": {"env": {"CLAUDE_CODE_EXTRA_BODY": '{"model": "claude-haiku-4-5"}'}}},
        {"env": ("CLAUDE_CODE_EXTRA_BODY",)},
    ],
)
def test_a_setting_that_asks_another_model_than_the_one_that_is_told_is_refused(
    given: dict[str, Any],
) -> None:
    with pytest.raises(ConfigInvalid, match="must not set"):
        CLAUDE.command(asked(WRITES, settings=CLAUDE.defaults().replace(**given)))


@pytest.mark.parametrize("key", ["autoMemoryDirectory", "plansDirectory"])
def test_a_setting_that_opens_a_folder_to_its_tools_is_refused(key: str) -> None:
    with pytest.raises(ConfigInvalid, match=key):
        CLAUDE.command(asked(WRITES, settings=CLAUDE.defaults().replace(config={key: "/elsewhere"})))


def test_a_rehearsal_is_asked_whatever_the_settings_say() -> None:
    env = {"ANTHROPIC_BASE_URL": "https://x", "ANTHROPIC_AUTH_TOKEN": "t", "CLAUDE_CODE_USE_MANTLE": "1"}
    own = CLAUDE.defaults().replace(config={"env": {**env, "A": "1"}})
    overrides, variables = CLAUDE.rehearsal(4321, 0, {})
    made = settings(CLAUDE.command(asked(WRITES, settings=own, overrides=overrides)))["env"]
    assert variables.items() <= made.items() and made["A"] == "1"
    assert made["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:4321"
    assert (made["ANTHROPIC_AUTH_TOKEN"], made["CLAUDE_CODE_USE_MANTLE"]) == ("", "")
    assert made["CLAUDE_CODE_ENABLE_TELEMETRY"] == "0", "it has the prompts"
    # Settings of the machine come before both, and name no server where a host has chosen one.
    assert variables["CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST"] == "1"


def test_what_the_users_own_sessions_have_noted_is_left_out() -> None:
    isolated = settings(CLAUDE.command(asked(Sandbox("s", Level.READ_ONLY))))
    assert isolated["env"]["CLAUDE_CODE_DISABLE_AUTO_MEMORY"] == "1"


def test_the_delegation_server_and_its_tools_are_allowed() -> None:
    server = McpServer("/bin/python", ("-m", "server"), ("PATH",), {"A": "b"}, registered=False)
    argv = CLAUDE.command(asked(Sandbox("s", Level.READ_ONLY), mcp=server))
    wanted = {"type": "stdio", "command": "/bin/python", "args": ["-m", "server"], "env": {"A": "b"}}
    assert json.loads(value(argv, "--mcp-config")) == {"mcpServers": {"delegation": wanted}}
    assert "mcp__delegation" in settings(argv)["permissions"]["allow"]
    with pytest.raises(ConfigInvalid, match="registered"):
        CLAUDE.command(asked(Sandbox("s", Level.READ_ONLY), mcp=server.replace(registered=True)))


def test_a_schema_is_passed_without_the_name_of_its_dialect() -> None:
    text = '{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}'
    assert (
        value(CLAUDE.command(asked(WRITES, output_schema_text=text)), "--json-schema") == '{"type":"object"}'
    )


def test_model_and_effort_are_its_own_words() -> None:
    argv = CLAUDE.command(asked(WRITES, model=Model(None, "opus", reasoning_effort="max")))
    assert (value(argv, "--model"), value(argv, "--effort")) == ("opus", "max")
    with pytest.raises(ConfigInvalid, match="silly"):
        CLAUDE.command(asked(WRITES, model=Model(None, "opus", reasoning_effort="silly")))


@pytest.mark.parametrize(
    ("declared", "observed", "is_same"),
    [
        ("opus", "claude-opus-5-5", True),
        ("opus[1m]", "claude-opus-5-5[1m]", True),
        ("claude-opus-5-5", "claude-opus-5-5-20261101", True),
        ("opus", "claude-sonnet-5", False),
        ("claude-opus-5", "claude-opus-55", False),
        ("opusplan", "claude-sonnet-5", True),
    ],
)
def test_an_alias_is_the_model_that_it_stands_for(declared: str, observed: str, is_same: bool) -> None:
    assert CLAUDE.same_model(declared, observed) is is_same


# its stream


@pytest.mark.parametrize(
    ("mode", "boxed", "tools", "level"),
    [
        ("dontAsk", True, ["Bash", "Write"], "workspace-write"),
        ("dontAsk", False, ["Read", "Grep"], "read-only"),
        ("bypassPermissions", False, ["Bash"], "danger-full-access"),
        ("dontAsk", False, ["Read", "Bash"], "dontAsk with sandbox off"),
        ("acceptEdits", True, ["Bash"], "acceptEdits with sandbox on"),
        ("dontAsk", False, None, "dontAsk with sandbox off"),
    ],
)
def test_the_first_line_says_what_it_works_with(mode: str, boxed: bool, tools: Any, level: str) -> None:
    line = {"type": "system", "subtype": "init", "session_id": "s", "model": "claude-opus-5-5"}
    line |= {"permissionMode": mode, "sandbox_enabled": boxed, "tools": tools}
    observed = told(line)[0].observed
    assert observed is not None
    assert (observed.model, observed.level, observed.approval) == ("claude-opus-5-5", level, mode)


def test_an_mcp_server_that_is_not_there_is_told() -> None:
    servers = [{"name": "delegation", "status": "failed"}, {"name": "other", "status": "connected"}]
    line = {"type": "system", "subtype": "init", "session_id": "s", "mcp_servers": servers}
    assert [one.text for one in told(line) if one.kind is Kind.WARNING] == ["MCP server delegation: failed"]


def test_a_run_that_is_to_delegate_is_of_no_use_without_our_server() -> None:
    servers = [{"name": "delegation", "status": "failed"}]
    line = {"type": "system", "subtype": "init", "session_id": "s", "mcp_servers": servers}
    assert [one.text for one in told(line) if one.fatal] == [
        "the required MCP server delegation did not start"
    ]
    assert end(line, WELL, exit_code=0)[1] == "cli_failure", "it was quicker than anybody could look"
    other = [{"name": "delegation", "status": "connected"}, {"name": "x", "status": "failed"}]
    assert not [one for one in told({**line, "mcp_servers": other}) if one.fatal]


def test_a_command_ends_with_its_words_and_its_status() -> None:
    begun, ended = told(call("Bash", {"command": "make"}), answer("Exit code 2\nno rule", failed=True))
    assert (begun.kind, begun.text) == (Kind.COMMAND_STARTED, "make")
    assert (ended.kind, ended.text, ended.exit_code, ended.failed) == (Kind.COMMAND, "make", 2, True)
    assert told(call("Bash", {"command": "ls"}), answer("a"))[1].exit_code == 0
    assert told(call("Bash", {"command": "ls"}), answer("denied", failed=True))[1].exit_code is None


def test_a_change_is_told_once_it_is_made() -> None:
    (made,) = told(call("Write", {"file_path": "/r/a"}), answer("ok", tool_use_result={"type": "create"}))
    assert (made.kind, made.text, made.failed) == (Kind.FILE_CHANGE, "add /r/a", False)
    (edited,) = told(call("Edit", {"file_path": "/r/a"}), answer("no such text", failed=True))
    assert (edited.text, edited.failed, edited.output) == ("update /r/a", True, "no such text")


def test_a_tool_of_our_server_has_the_name_by_which_waiting_is_no_stall() -> None:
    meta = [{"id": "c1", "server_display_name": "delegation", "tool_name": "delegate.status"}]
    begun, ended = told(
        call("mcp__delegation__delegate_status", {"a": 1}, tool_use_meta=meta),
        answer([{"type": "text", "text": "phase=running"}]),
    )
    assert {begun.text, ended.text} == {"delegation.delegate.status"}
    assert (ended.output, ended.arguments) == ("phase=running", '{"a": 1}')
    assert told(call("mcp__delegation__x", {}))[0].text == "delegation.x"


def test_a_tool_that_there_is_not_is_a_call_that_failed() -> None:
    said = "<tool_use_error>Error: No such tool available: Frobnicate</tool_use_error>"
    begun, ended = told(call("Frobnicate", {"a": 1}), answer(said, failed=True))
    assert (begun.kind, ended.kind) == (Kind.TOOL_STARTED, Kind.TOOL_CALL)
    assert (ended.text, ended.failed, ended.output) == ("Frobnicate", True, said)


def test_what_it_refused_is_told_once_with_what_was_asked() -> None:
    denied = {"type": "system", "subtype": "permission_denied", "tool_name": "Bash", "tool_use_id": "c1"}
    row = {"tool_name": "Bash", "tool_use_id": "c1", "tool_input": {"command": "rm x"}}
    other = {"tool_name": "Write", "tool_use_id": "c2", "tool_input": {"file_path": "/etc/x"}}
    last = {**WELL, "permission_denials": [row, other]}
    records = [call("Bash", {"command": "rm x"}), {**denied, "message": "Not in this mode. More."}, last]
    refused = [one.text for one in told(*records) if one.kind is Kind.REFUSED]
    assert refused == ["Bash rm x: Not in this mode", "Write /etc/x"]


def test_tokens_are_those_of_all_answers_and_count_what_was_cached_as_input() -> None:
    usage = {"input_tokens": 60, "cache_read_input_tokens": 40, "output_tokens": 5}
    part = {"type": "assistant", "message": {"id": "m1", "content": [], "usage": usage}}
    more = {"type": "assistant", "message": {"id": "m2", "content": [], "usage": usage}}
    counts = [one.usage for one in told(part, part, more)]
    assert counts == [Usage(100, 40, 5, 0), Usage(200, 80, 10, 0)]


def test_the_window_is_filled_by_the_last_request_of_the_main_model_alone() -> None:
    def asked(key: str, given: int, **changes: Any) -> dict[str, Any]:
        usage = {"input_tokens": given, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 2}
        message = {"id": key, "model": "main", "content": [], "usage": {**usage, "output_tokens": 5}}
        return {"type": "assistant", "message": message, "parent_tool_use_id": None, **changes}

    sub = asked("m3", 7, parent_tool_use_id="call-1")
    sub["message"]["model"] = "small"
    windows = {"small": {"contextWindow": 200_000}, "main": {"contextWindow": 1_000_000}}
    end = {**WELL, "usage": {"input_tokens": 999, "output_tokens": 1}, "modelUsage": windows}
    told_of = [one.context for one in told(asked("m1", 60), asked("m2", 10), sub, end) if one.usage]
    assert told_of == [Context(used=102), Context(used=52), None, Context(1_000_000)]
    only = {**end, "modelUsage": {"an-alias": {"contextWindow": 5}}}
    assert [one.context for one in told(asked("m1", 60), only) if one.usage][1:] == [Context(5)]
    wrong = ({"a": 5}, {"a": {"contextWindow": -1}}, {"a": {"contextWindow": "1"}})
    for odd in ({}, 5, *wrong, {"a": {"contextWindow": 5}, "b": {}}):
        assert [one.context for one in told({**end, "modelUsage": odd}) if one.usage] == [None]


def test_its_price_is_that_of_the_process_and_not_of_the_whole_session() -> None:
    whole = {**WELL, "total_cost_usd": 1.92}
    this = {"model_usage_since_last_result": {"a": {"costUSD": 0.6}, "b": {"costUSD": 0.04}}}
    for line, costs in (({**whole, **this}, (0.64, 1.28)), (whole, (1.92, 0.0))):
        (seen,) = [one for one in told(line) if one.cost]
        assert (seen.cost, seen.cost_before) == pytest.approx(costs)
    for odd in ({"a": {"costUSD": "1"}}, {"a": {"costUSD": -1}}, {"a": {"costUSD": 1e300}}, {"a": {}}):
        assert not [one for one in told({**whole, "model_usage_since_last_result": odd}) if one.cost]


def test_a_structured_result_is_the_last_message() -> None:
    last = {**WELL, "structured_output": {"status": "completed"}}
    records = [call("StructuredOutput", {"status": "completed"}), answer("ok"), last]
    assert [(one.kind, one.text) for one in told(*records)] == [
        (Kind.MESSAGE, '{"status": "completed"}'),
        (Kind.TURN_COMPLETED, ""),
    ]


def test_a_retry_is_a_lost_connection_with_its_status() -> None:
    line = {
        "type": "system",
        "subtype": "api_retry",
        "attempt": 1,
        "error_status": 529,
        "error": "overloaded",
    }
    (retry,) = told(line)
    assert (retry.kind, retry.reconnects, retry.status) == (Kind.WARNING, True, 529)
    (limited,) = told({**line, "error_status": None, "error": "rate_limit"})
    assert limited.status == 429


# its end


def end(*records: Any, exit_code: int | None = 1, stderr: str = "") -> tuple[Outcome, str, str]:
    activities = told(*records)
    turn = next(
        (one for one in reversed(activities) if one.kind in (Kind.TURN_COMPLETED, Kind.TURN_FAILED)), None
    )
    status = next((one.status for one in reversed(activities) if one.status is not None), None)
    failure = None if turn is None or turn.kind is Kind.TURN_COMPLETED else turn.text
    kind = None if turn is None else turn.kind
    outcome, reason = CLAUDE.conclude(
        End(exit_code, None, kind, failure, None, bool(records), stderr, status)
    )
    return outcome, reason.code, reason.hint or ""


def failed_call(status: int | None, said: str) -> dict[str, Any]:
    line = {"type": "result", "subtype": "success", "is_error": True, "terminal_reason": "api_error"}
    return {**line, "api_error_status": status, "result": said}


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (401, "Failed to authenticate. API Error: 401", "auth_or_quota"),
        (429, "API Error: Request rejected (429)", "auth_or_quota"),
        (529, "API Error: 529", "cli_failure"),
        (500, "API Error: 500", "cli_failure"),
        (400, "API Error: 400", "request_refused"),
        (400, "API Error: 400 prompt is too long", "context_full"),
        (None, "Not logged in · Please run /login", "auth_or_quota"),
        (None, "API Error: Connection to the API was lost", "cli_failure"),
    ],
)
def test_a_failed_call_of_the_model_is_no_success_whatever_its_subtype(
    status: int | None, said: str, code: str
) -> None:
    assert end(failed_call(status, said))[:2] == (Outcome.FAILED, code)


@pytest.mark.parametrize(
    ("records", "stderr", "code", "hint"),
    [
        (
            [{"type": "result", "is_error": True, "errors": ["Sandbox required but unavailable: no socat"]}],
            "",
            "misconfigured",
            "socat",
        ),
        ([], "--dangerously-skip-permissions cannot be used with root/sudo", "misconfigured", "IS_SANDBOX"),
        ([], "error: unknown option '--x'", "flag_refused", "doctor"),
        (
            [
                {
                    "type": "result",
                    "is_error": True,
                    "terminal_reason": "structured_output_retry_exhausted",
                    "errors": ["5 attempts"],
                }
            ],
            "",
            "result_invalid",
            "schema",
        ),
    ],
)
def test_each_other_cause_has_its_code_and_says_what_to_do(
    records: list[Any], stderr: str, code: str, hint: str
) -> None:
    outcome, found, repair = end(*records, stderr=stderr)
    assert (outcome, found) == (Outcome.FAILED, code)
    assert hint in repair


def test_an_end_that_no_turn_of_the_model_has_led_to_is_no_success() -> None:
    """As of a command of its own, such as `/cost`."""
    assert end({"type": "result", "is_error": False, "result": "0 tokens"}, exit_code=0)[0] is Outcome.FAILED


def test_a_status_of_0_without_a_last_line_is_no_success() -> None:
    init = {"type": "system", "subtype": "init", "session_id": "s"}
    assert end(init, exit_code=0)[:2] == (Outcome.FAILED, "result_missing")
    assert end(init, exit_code=None)[:2] == (Outcome.LOST, "lost")
