"""What runner tells Gemini CLI, and what it reads of it. Lines and endings as measured on 0.61.0."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.values import a_config, a_task

from runner.errors import ConfigInvalid
from runner.model import Level, McpServer, Model, Outcome, Program, RuntimeSettings, Sandbox
from runner.runtimes.base import THREAD_GONE, Activity, CommandRequest, End, Kind
from runner.runtimes.exam import Fitness, Use, login
from runner.runtimes.gemini import RUNTIME
from runner.runtimes.probe import options_in
from runner.runtimes.reading import reader_of

SAID = json.loads((Path(__file__).parent.parent / "data/runtimes/gemini.json").read_bytes())
SERVER = McpServer(
    registered=False, command="/bin/python", args=("-m", "x"), env={"A": "b"}, env_names=("TOKEN",)
)


def request(level: Level = Level.READ_ONLY, **changes: Any) -> CommandRequest:
    network = changes.pop("network", False)
    sandbox = Sandbox("s", level, network=network, writable=changes.pop("writable", ()))
    program = Program("/bin/gemini", "0.61.0", options_in("\n".join(SAID["help"])))
    model = Model(None, "gemini-2.5-pro")
    plain = CommandRequest(program, RUNTIME.defaults(), model, sandbox, "/repo", "/run/last.md", True)
    return plain.replace(**changes)


def settings(asked: CommandRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RUNTIME.home(asked)[".gemini/settings.json"])
    return found


def decisions(asked: CommandRequest) -> dict[str, str]:
    rules = tomllib.loads(RUNTIME.home(asked)[".gemini/policies/runner.toml"]).get("rule", [])
    named = [(rule["toolName"], rule) for rule in rules]
    return {
        f"{rule.get('mcpName', '')}{tool}": rule["decision"]
        for tools, rule in named
        for tool in ([tools] if isinstance(tools, str) else tools)
    }


# the command and the home


def test_each_level_has_its_mode_and_a_reader_nothing_that_leaves_it() -> None:
    words = "/bin/gemini -o stream-json --approval-mode plan --skip-trust -m gemini-2.5-pro"
    assert RUNTIME.command(request()) == tuple(words.split())
    denied = {"exit_plan_mode", "write_file", "replace", "web_fetch", "google_web_search"}
    assert decisions(request()) == dict.fromkeys(denied, "deny")


def test_a_writer_may_run_commands_and_search_the_web_only_with_network() -> None:
    assert "auto_edit" in RUNTIME.command(request(Level.WORKSPACE_WRITE))
    web = ("web_fetch", "google_web_search")
    closed = decisions(request(Level.WORKSPACE_WRITE))
    assert closed == {"run_shell_command": "allow", **dict.fromkeys(web, "deny")}
    opened = decisions(request(Level.WORKSPACE_WRITE, network=True))
    assert opened == dict.fromkeys(("run_shell_command", *web), "allow")


def test_folders_are_given_by_name_and_all_of_them_without_a_sandbox() -> None:
    argv = RUNTIME.command(request(Level.WORKSPACE_WRITE, writable=("/a", "/b")))
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "--include-directories"] == ["/a", "/b"]
    assert RUNTIME.command(request(Level.DANGER))[-2:] == ("--include-directories", "/")
    assert decisions(request(Level.DANGER)) == {}


def test_the_delegation_server_is_allowed_at_each_level_with_its_variables() -> None:
    asked = request(mcp=SERVER)
    assert decisions(asked)["delegation*"] == "allow"
    assert settings(asked)["mcpServers"] == {
        "delegation": {
            "command": "/bin/python",
            "args": ["-m", "x"],
            "env": {"TOKEN": "${TOKEN}", "A": "b"},
        }
    }
    with pytest.raises(ConfigInvalid, match="registered"):
        RUNTIME.command(request(mcp=SERVER.replace(registered=True)))


def test_own_settings_count_and_cannot_open_what_is_ours() -> None:
    own = {"general": {"maxAttempts": 3}, "advanced": {"autoConfigureMemory": False}}
    found = settings(request(settings=RuntimeSettings("gemini", "gemini", config=own)))
    assert found["general"]["maxAttempts"] == 3
    assert found["general"]["enableAutoUpdate"] is False
    assert found["advanced"] == {"autoConfigureMemory": False, "ignoreLocalEnv": True}
    # Its timers have 32 bits of milliseconds: with more, each command is ended at once.
    assert found["tools"]["shell"]["inactivityTimeout"] * 1000 < 2**31


@pytest.mark.parametrize(
    ("name", "effort", "thinks"),
    [
        ("gemini-2.5-flash", "medium", {"thinkingBudget": 8192}),
        ("gemini-2.5-pro-2", "xhigh", {"thinkingBudget": 24576}),
        ("gemini-3.8-flash", "minimal", {"thinkingLevel": "LOW"}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "HIGH"}),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "MEDIUM"}),
        (None, "high", None),
        ("auto", "high", None),
    ],
)
def test_an_effort_is_a_setting_of_the_models_that_it_may_take(
    name: str | None, effort: str, thinks: dict[str, Any] | None
) -> None:
    mine = {"match": {"model": "gemini-9"}, "modelConfig": {}}
    config = {"modelConfigs": {"customOverrides": [mine], "overrides": []}}
    asked = request(
        settings=RuntimeSettings("gemini", "gemini", config=config),
        model=Model(None, name, reasoning_effort=effort),
    )
    configs = settings(asked)["modelConfigs"]
    first, *ours = configs["customOverrides"]
    assert (first, configs["overrides"]) == (mine, [])
    found = {
        one["match"]["model"]: one["modelConfig"]["generateContentConfig"]["thinkingConfig"] for one in ours
    }
    assert name is None or found.get(name) == thinks
    assert [*found["chat-base-3"], *found["chat-base-2.5"]] == ["thinkingLevel", "thinkingBudget"]
    assert "modelConfigs" not in settings(request()) and RUNTIME.command(asked)


def test_a_rehearsal_asks_the_scripted_model_alone_and_only_once() -> None:
    overrides, variables = RUNTIME.rehearsal(4711, 2, {})
    found = settings(request(overrides=overrides))
    assert found["general"]["maxAttempts"] == 3
    assert found["security"]["auth"]["selectedType"] == "gemini-api-key"
    assert variables["GOOGLE_GEMINI_BASE_URL"] == "http://127.0.0.1:4711"
    assert variables["NO_PROXY"] == "127.0.0.1"


def test_a_rehearsal_reports_to_nobody_whatever_config_and_variables_say() -> None:
    overrides, variables = RUNTIME.rehearsal(4711, 0, {"GEMINI_TELEMETRY_ENABLED": "true"})
    own = RuntimeSettings("gemini", "gemini", config={"telemetry": {"enabled": True, "target": "local"}})
    assert settings(request(settings=own))["telemetry"]["enabled"]
    assert not settings(request(settings=own, overrides=overrides))["telemetry"]["enabled"]
    assert variables["GEMINI_TELEMETRY_ENABLED"] == "false", "it comes before settings"


def test_a_rehearsal_has_no_settings_of_the_machine_which_would_come_before_its_own() -> None:
    _, variables = RUNTIME.rehearsal(4711, 0, {})
    for kind in ("SETTINGS", "DEFAULTS"):
        assert variables[f"GEMINI_CLI_SYSTEM_{kind}_PATH"].startswith("/dev/null/")  # can never be there


@pytest.mark.parametrize(
    "changes",
    [
        {"model": Model(None, "gemini-2.5-pro", reasoning_effort="none")},
        {"model": Model(None, "gemma-4-31b-it", reasoning_effort="high")},
        {"settings": RuntimeSettings("gemini", "gemini", isolated=True)},
        {"network": True},
    ],
)
def test_what_it_cannot_do_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigInvalid):
        RUNTIME.command(request(**changes))


def test_what_it_would_obey_lies_in_the_folder_and_in_every_one_above() -> None:
    found = RUNTIME.obeyed("/home/me/repo", {"HOME": "/home/me"})
    # That of the user, too: its variables would reach the agent, and nothing would redact them.
    above = ("/home/me/.gemini/.env", "/home/.gemini/.env", "/.gemini/.env")
    assert found == ("/home/me/repo/.gemini", *above)


def test_a_reader_has_no_tool_that_rules_of_the_machine_could_allow() -> None:
    def core(config: dict[str, Any], **changes: Any) -> list[str]:
        own = RuntimeSettings("gemini", "gemini", config=config)
        found: list[str] = settings(request(settings=own, **changes))["tools"]["core"]
        return found

    assert {"read_file", "glob"} <= {*core({})}
    assert not {"run_shell_command", "write_file", "exit_plan_mode"} & {*core({})}
    assert core({"tools": {"core": ["run_shell_command", "glob"]}}) == ["glob"]
    assert core({}, mcp=SERVER)[-1] == "mcp_delegation_*"
    assert "core" not in settings(request(level=Level.WORKSPACE_WRITE))["tools"]


@pytest.mark.parametrize(
    "config",
    [
        {"context": {"includeDirectories": ["/"]}},
        {"modelConfigs": {"customAliases": {"gemini-2.5-pro": {"extends": "gemini-2.5-flash"}}}},
        {"modelConfigs": {"modelIdResolutions": {"gemini-2.5-pro": {"default": "gemini-2.5-flash"}}}},
        {
            "modelConfigs": {
                "customOverrides": ({"match": {}}, {"modelConfig": {"model": "gemini-2.5-flash"}})
            }
        },
        {"modelConfigs": {"overrides": [{"modelConfig": {"model": "gemini-2.5-flash"}}]}},
        {"modelConfigs": {"customOverrides": 5}},
        {"modelConfigs": {"overrides": "abc"}},
    ],
)
def test_config_opens_no_folder_to_its_tools_and_puts_no_model_in_the_place_of_another(
    config: dict[str, Any],
) -> None:
    with pytest.raises(ConfigInvalid, match="must "):
        RUNTIME.command(request(settings=RuntimeSettings("gemini", "gemini", config=config)))


@pytest.mark.parametrize("key", ["overrides", "customOverrides"])
@pytest.mark.parametrize("match", [{"model": "gemini-2.5-pro"}, {"model": "chat-base-3"}, {}])
def test_config_and_an_effort_do_not_both_say_how_much_a_model_thinks(
    key: str, match: dict[str, str]
) -> None:
    thinks = {"generateContentConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}
    config = {"modelConfigs": {key: ({"match": {"model": "other"}, "modelConfig": thinks},)}}
    model = Model(None, "gemini-2.5-pro", reasoning_effort="high")
    given = RuntimeSettings("gemini", "gemini", config=config)
    assert RUNTIME.command(request(settings=given, model=model))
    config["modelConfigs"][key] += ({"match": match, "modelConfig": thinks},)
    assert RUNTIME.command(request(settings=given)), "without an effort it says so alone"
    with pytest.raises(ConfigInvalid, match="as reasoning_effort does"):
        RUNTIME.command(request(settings=given, model=model))


def test_config_may_say_how_a_model_answers() -> None:
    one = {"match": {"model": "gemini-2.5-pro"}, "modelConfig": {"generateContentConfig": {"temperature": 0}}}
    config = {"modelConfigs": {"customOverrides": [one]}}
    given = request(settings=RuntimeSettings("gemini", "gemini", config=config))
    assert RUNTIME.command(given)
    assert settings(given)["modelConfigs"]["customOverrides"] == [one]


@pytest.mark.parametrize(("prompt", "same"), [("/init", False), (" /x", False), ("a /b", True), ("", True)])
def test_no_prompt_is_a_command_of_its_own(prompt: str, same: bool) -> None:
    made = RUNTIME.prepare_prompt(prompt)
    assert made.endswith(prompt) and (made == prompt) is same and not made.lstrip().startswith("/")


@pytest.mark.parametrize(
    "output",
    ["", "codex-cli 0.163.0\n", "0.61\n", "2.1.332 (Claude Code)\n", "1.90.0\nabc\nx64\n", "v20.1.0\n"],
)
def test_another_program_of_that_name_is_known_as_none(output: str) -> None:
    assert RUNTIME.identify(output) is None
    assert RUNTIME.identify("0.61.0\n") == "0.61.0"


def test_of_a_login_with_google_it_is_told_that_a_run_has_another_home() -> None:
    config = {"security": {"auth": {"selectedType": "oauth-personal"}}}
    settings_ = RuntimeSettings("gemini", "gemini", config=config)
    use = Use("t", None, Sandbox("s", Level.READ_ONLY))
    found = login(a_config(a_task()), settings_, use, request().program, {})
    assert found.verdict is Fitness.UNKNOWN and "a home of its own" in found.message
    assert "GEMINI_API_KEY" in (found.repair or "")


# the stream


def told(*records: dict[str, Any]) -> list[Activity]:
    read = reader_of(RUNTIME)
    return [activity for record in records for activity in read(record)]


def piece(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": text, "delta": True}


def use(name: str, **parameters: str) -> dict[str, Any]:
    return {"type": "tool_use", "tool_name": name, "tool_id": "c", "parameters": parameters}


def result(status: str = "success", output: str = "", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_id": "c", "status": status, "output": output, **more}


END = {"type": "result", "status": "success", "stats": {}}


def test_the_pieces_of_a_message_are_one_and_two_messages_are_two() -> None:
    records = [piece("I "), piece("look."), use("glob"), result(), piece("Do"), piece("ne."), END]
    assert [one.text for one in told(*records) if one.kind is Kind.MESSAGE] == ["I look.", "Done."]


def test_a_change_of_a_file_is_told_when_it_was_made() -> None:
    begun, ended = told(use("write_file", file_path="a.txt", content="x"), result())
    assert (begun.kind, begun.text) == (Kind.TOOL_STARTED, "write_file")
    assert (ended.kind, ended.text, ended.failed) == (Kind.FILE_CHANGE, "write a.txt", False)
    (*_, refused) = told(use("replace", file_path="/etc/x"), result("error", "Path not in workspace"))
    assert (refused.kind, refused.text, refused.failed) == (Kind.FILE_CHANGE, "update /etc/x", True)


def test_a_call_of_our_server_is_known_as_one() -> None:
    begun, ended = told(use("mcp_delegation_delegate.status", manifest_path="m"), result(output="{}"))
    assert begun.text == ended.text == "delegation.delegate.status"
    assert ended.kind is Kind.TOOL_CALL and json.loads(ended.arguments) == {"manifest_path": "m"}


def test_what_its_policy_refuses_is_told_as_refused() -> None:
    error = {"type": "policy_violation", "message": "Tool execution denied by policy."}
    ended, refused = told(use("run_shell_command", command="ls"), result("error", error=error))[1:]
    assert ended.kind is Kind.COMMAND and ended.failed
    assert (refused.kind, refused.text) == (Kind.REFUSED, "ls: Tool execution denied by policy.")


def test_a_tool_that_there_is_not_is_a_call_that_failed_and_no_refusal() -> None:
    error = {"type": "tool_not_registered", "message": 'Tool "nothing" not found.'}
    (ended,) = told(use("nothing", x="y"), result("error", error["message"], error=error))[1:]
    assert (ended.kind, ended.text, ended.failed) == (Kind.TOOL_CALL, "nothing", True)


def test_a_call_of_our_server_that_is_denied_is_told_as_refused_by_its_name() -> None:
    error = {"type": "policy_violation", "message": "Tool execution denied by policy."}
    asked = use("mcp_delegation_delegate.spawn", task_id="t")
    ended, refused = told(asked, result("error", error["message"], error=error))[1:]
    assert ended.failed and refused.kind is Kind.REFUSED
    assert refused.text == "delegation.delegate.spawn: Tool execution denied by policy."


def test_a_command_that_prints_nothing_has_its_exit_status() -> None:
    def code(output: str) -> int | None:
        return told(use("run_shell_command", command="x"), result(output=output))[-1].exit_code

    assert code("Command exited with code: 3") == 3
    assert code("Command exited with code: ") is code("Command exited with code: 3\nx") is code("3") is None


def test_thoughts_are_part_of_the_output() -> None:
    stats = {"total_tokens": 350, "input_tokens": 300, "output_tokens": 45, "cached": 40}
    (ended,) = told({**END, "stats": stats})
    assert ended.usage is not None
    assert (ended.usage.total, ended.usage.output_tokens, ended.usage.cached_input_tokens) == (350, 50, 40)


def test_an_error_after_which_it_went_on_is_none_of_the_turn() -> None:
    loop = {"type": "error", "severity": "warning", "message": "Loop detected, stopping execution"}
    assert told(loop, END)[-1].kind is Kind.TURN_FAILED
    assert told(loop, piece("on"), END)[-1].kind is Kind.TURN_COMPLETED
    note = {"type": "error", "severity": "warning", "message": "something else"}
    assert [one.kind for one in told(note, END)] == [Kind.WARNING, Kind.TURN_COMPLETED]


# the end


def concluded(exit_code: int | None, *records: dict[str, Any], stderr: str = "") -> tuple[Outcome, str, str]:
    activities = told(*records)
    last = activities[-1] if activities else Activity(Kind.OTHER)
    is_failed = last.kind is Kind.TURN_FAILED
    turn = last.kind if last.kind in (Kind.TURN_FAILED, Kind.TURN_COMPLETED) else None
    failure = last.text if is_failed else None
    end = End(exit_code, None, turn, failure, None, bool(activities), stderr, last.status)
    outcome, reason = RUNTIME.conclude(end)
    return outcome, reason.code, reason.message


def broken(message: str) -> dict[str, Any]:
    return {"type": "result", "status": "error", "error": {"type": "unknown", "message": message}}


def test_an_answer_that_only_thinks_is_no_full_context() -> None:
    guess = "The model returned reasoning thoughts but no final response text. If your context window is near"
    assert concluded(0, broken(guess))[1] == "cli_failure"
    assert concluded(1, broken("the context window is full"))[1] == "context_full"


def test_what_it_died_of_is_not_the_last_line_of_its_backtrace() -> None:
    stderr = "TypeError: no such thing\n    at run (file:///x/gemini.js:12:7)\n    at file:///x.js:1:2\n"
    assert concluded(1, stderr=stderr) == (Outcome.FAILED, "cli_failure", "TypeError: no such thing")


def answer(status: int) -> str:
    told_by = {"error": {"code": status, "message": "told", "status": "X"}}
    return f"[API Error: {json.dumps(told_by, separators=(',', ':'))}]"


@pytest.mark.parametrize(
    ("status", "exit_code", "code"),
    [
        *((400, 144, "request_refused"), (401, 145, "auth_or_quota"), (403, 147, "auth_or_quota")),
        *((422, 166, "request_refused"), (500, 244, "cli_failure"), (529, 17, "cli_failure")),
    ],
)
def test_the_status_of_the_service_has_its_code_and_its_own_words(
    status: int, exit_code: int, code: str
) -> None:
    said = concluded(exit_code, broken(answer(status)))
    assert said == (Outcome.FAILED, code, f"told (status {status})")


@pytest.mark.parametrize(
    ("exit_code", "message", "code"),
    [
        (173, "[API Error: told]\nPlease wait and try again later.", "auth_or_quota"),
        (247, "[API Error: told]", "cli_failure"),
        (
            1,
            "[API Error: models/x is not found for API version v1beta, or is not supported for it]",
            "request_refused",
        ),
        (1, "[API Error: told]", "cli_failure"),
        (145, "something else", "cli_failure"),
    ],
)
def test_without_a_status_in_the_message_the_exit_status_tells_it(
    exit_code: int, message: str, code: str
) -> None:
    assert concluded(exit_code, broken(message))[:2] == (Outcome.FAILED, code)


def test_a_session_that_is_gone_says_so() -> None:
    end = End(42, None, None, None, None, False, "Error resuming session: No previous sessions found.\n")
    assert RUNTIME.conclude(end)[1].hint == THREAD_GONE


@pytest.mark.parametrize(
    ("exit_code", "code"),
    [
        *((41, "auth_or_quota"), (42, "flag_refused"), (52, "misconfigured"), (55, "misconfigured")),
        *((0, "cli_failure"), (130, "killed"), (137, "killed"), (1, "cli_failure")),
    ],
)
def test_an_end_without_a_result_is_no_success(exit_code: int, code: str) -> None:
    assert concluded(exit_code, piece("half"))[:2] == (Outcome.FAILED, code)
    assert concluded(None, piece("half"))[:2] == (Outcome.LOST, "lost")


def test_the_key_is_wanted_unless_the_settings_name_another_login() -> None:
    plain = RUNTIME.defaults()
    assert RUNTIME.secret_env(plain, None) == ("GEMINI_API_KEY",)
    other = plain.replace(config={"security": {"auth": {"selectedType": "vertex-ai"}}})
    assert RUNTIME.secret_env(other, None) == () and RUNTIME.provider(other, None) is None
