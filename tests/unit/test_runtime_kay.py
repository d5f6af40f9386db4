"""The Kay runtime, and what it has of Codex."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import ConfigInvalid
from runner.model import Context, Level, Model, Outcome, Program, RuntimeSettings, Sandbox, Usage
from runner.runtimes import get
from runner.runtimes.base import Activity, CommandRequest, End, Kind, Runtime
from runner.runtimes.kay import PROVIDER_KEYS, RUNTIME

COMMON = "--json --skip-git-repo-check -C --cd -m --model -s --sandbox -c --config"
OLD = Program("/bin/kay", "0.9.17", frozenset([*COMMON.split(), "--output-last-message"]))
NEW = Program("/bin/kay", "0.9.46", OLD.flags | {"-a", "--ask-for-approval", "--full-auto"})
MODEL = Model(None, "opencode-go/glm-5")
READ_ONLY = Sandbox("research", Level.READ_ONLY)
BUILD = Sandbox("build", Level.WORKSPACE_WRITE)


def settings(provider: str | None = "opencode-go", **config: Any) -> RuntimeSettings:
    return RuntimeSettings("kay", "kay", None, (), config, provider)


def request(**changes: Any) -> CommandRequest:
    plain = CommandRequest(NEW, settings(), MODEL, READ_ONLY, "/repo", "/run/last.md", True)
    return plain.replace(**changes)


def argv(**changes: Any) -> tuple[str, ...]:
    return RUNTIME.command(request(**changes))


def end(**changes: Any) -> End:
    return End(0, None, None, None, "STATUS: SUCCESS", True, "").replace(**changes)


# argv


def test_model_and_provider_are_always_passed() -> None:
    assert argv() == (
        *("/bin/kay", "exec", "--json", "--skip-git-repo-check", "-C", "/repo", "-s", "read-only"),
        *("-a", "never", "-m", "opencode-go/glm-5", "-c", 'model_provider="opencode-go"'),
        *("--output-last-message", "/run/last.md", "-"),
    )


def test_a_version_without_the_approval_option_gets_none() -> None:
    assert "-a" not in argv(program=OLD)


def test_the_option_that_widens_network_and_approval_is_never_used() -> None:
    assert "--full-auto" not in argv(sandbox=BUILD)


def test_network_and_folders_are_config_keys_since_kay_has_no_option_for_them() -> None:
    words = argv(sandbox=BUILD.replace(network=True, writable=("/a", "/b")))
    assert "sandbox_workspace_write.network_access=true" in words
    assert 'sandbox_workspace_write.writable_roots=["/a", "/b"]' in words
    assert "sandbox_workspace_write.network_access=false" in argv(sandbox=BUILD)


@pytest.mark.parametrize("provider", [None, ""])
def test_without_a_provider_nothing_is_guessed(provider: str | None) -> None:
    with pytest.raises(ConfigInvalid, match="needs a provider") as caught:
        argv(settings=settings(provider))
    assert "opencode-go" in (caught.value.hint or "")


def test_an_unknown_provider_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ConfigInvalid, match="`opencodego`") as caught:
        argv(settings=settings("opencodego"))
    assert all(name in (caught.value.hint or "") for name in PROVIDER_KEYS)


def test_the_alias_means_the_provider_and_the_model_may_name_another() -> None:
    assert 'model_provider="opencode-go"' in argv(settings=settings("ocg"))
    assert 'model_provider="xiaomi"' in argv(model=MODEL.replace(provider="xiaomi"))


def test_a_provider_that_the_config_defines_is_known() -> None:
    config = settings("corp", model_providers={"corp": {"env_key": "CORP_KEY"}})
    assert 'model_provider="corp"' in argv(settings=config)
    assert RUNTIME.secret_env(config, MODEL) == ("CORP_KEY",)


def test_without_a_model_nothing_is_guessed() -> None:
    with pytest.raises(ConfigInvalid, match="needs a model"):
        argv(model=None)


@pytest.mark.parametrize("key", RUNTIME.owned)
def test_config_cannot_change_what_is_declared_elsewhere(key: str) -> None:
    config: dict[str, Any] = {}
    *parents, last = key.split(".")
    table = config
    for parent in parents:
        table = table.setdefault(parent, {})
    table[last] = "anything"
    with pytest.raises(ConfigInvalid) as caught:
        argv(settings=settings(**config))
    assert caught.value.hint == RUNTIME.owned[key]


def test_the_key_is_named_and_where_else_it_may_be() -> None:
    assert RUNTIME.secret_env(settings("ocg"), None) == ("OPENCODE_GO_API_KEY",)
    assert RUNTIME.secret_env(settings("oss"), None) == ()
    stored = RUNTIME.stored_key(settings("ocg"), None, {"HOME": "/h"})
    assert stored is not None
    assert stored.file == "/h/.kay/auth.json"
    assert stored.ways == (("provider_credentials", "opencode-go", "api_key"),)
    named = RUNTIME.stored_key(settings("ocg"), None, {"KAY_HOME": "/k", "HOME": "/h"})
    assert named is not None and named.file == "/k/auth.json"


@pytest.mark.parametrize("prompt", ["/plan x", "  /auto go", "\n/etc/passwd is readable"])
def test_a_prompt_that_kay_would_take_for_a_command_gets_a_word_before_it(prompt: str) -> None:
    prepared = RUNTIME.prepare_prompt(prompt)
    assert not prepared.lstrip().startswith("/")
    assert prepared.endswith(prompt)


@pytest.mark.parametrize("prompt", ["Fix /etc", "-x", "OBJECTIVE: a\n/b"])
def test_any_other_prompt_is_passed_byte_for_byte(prompt: str) -> None:
    assert RUNTIME.prepare_prompt(prompt) == prompt


# identity


@pytest.mark.parametrize(
    ("output", "version", "foreign"),
    [
        ("kay 0.9.46\n", "0.9.46", None),
        ("WARNING: x\nkay 0.9.17\n", "0.9.17", None),
        ("codex-cli 0.163.0\n", None, "the OpenAI Codex CLI 0.163.0"),
        (f"1.97.0\n{'a' * 40}\nx64\n", None, "Visual Studio Code"),
        ("okay 0.9.46\n", None, None),
    ],
)
def test_identity_is_a_positive_match(output: str, version: str | None, foreign: str | None) -> None:
    assert RUNTIME.identify(output) == version
    assert RUNTIME.foreign(output) == foreign


# the event stream

CALL = {"server": "delegation", "tool": "delegate.status", "arguments": {}}
COUNTS = {"input_tokens": 5, "cached_input_tokens": 1, "output_tokens": 2}


@pytest.mark.parametrize(
    ("message", "activities"),
    [
        ({"type": "task_started"}, [Activity(Kind.TURN_STARTED)]),
        ({"type": "agent_message", "message": "hi"}, [Activity(Kind.MESSAGE, "hi")]),
        ({"type": "agent_reasoning", "text": "hm"}, [Activity(Kind.REASONING, "hm")]),
        (
            {"type": "token_count", "info": {"total_token_usage": COUNTS}},
            [Activity(Kind.USAGE, usage=Usage(5, 1, 2, None))],
        ),
        (
            {"type": "token_count", "info": {"last_token_usage": COUNTS, "model_context_window": 50}},
            [Activity(Kind.USAGE, context=Context(50, 5))],
        ),
        ({"type": "token_count", **COUNTS}, [Activity(Kind.USAGE, usage=Usage(5, 1, 2, None))]),
        ({"type": "token_count", "info": None}, []),
        (
            {"type": "exec_command_begin", "call_id": "c1", "command": ["bash", "-lc", "ls"]},
            [Activity(Kind.COMMAND_STARTED, "bash -lc ls", "c1")],
        ),
        (
            {
                "type": "exec_command_end",
                "call_id": "c1",
                "exit_code": 3,
                "stdout": "a\n",
                "stderr": "b\n",
                "duration": {"secs": 1, "nanos": 500_000_000},
            },
            [Activity(Kind.COMMAND, "", "c1", 3, "a\nb\n", 1.5, failed=True)],
        ),
        (
            {"type": "mcp_tool_call_begin", "call_id": "m1", "invocation": CALL},
            [Activity(Kind.TOOL_STARTED, "delegation.delegate.status", "m1")],
        ),
        (
            {
                "type": "mcp_tool_call_end",
                "call_id": "m1",
                "invocation": CALL,
                "result": {"Ok": {"content": [{"type": "text", "text": "ok"}]}},
            },
            [Activity(Kind.TOOL_CALL, "delegation.delegate.status", "m1", output="ok", arguments="{}")],
        ),
        (
            {"type": "mcp_tool_call_end", "call_id": "m1", "result": {"Err": "gone"}},
            [Activity(Kind.TOOL_CALL, "tool", "m1", output="gone", failed=True)],
        ),
        (
            {"type": "patch_apply_begin", "call_id": "p1", "changes": {"a.py": {"add": {}}}},
            [Activity(Kind.FILE_CHANGE, "add a.py", "p1")],
        ),
        ({"type": "patch_apply_end", "call_id": "p1", "success": True}, []),
        (
            {"type": "patch_apply_end", "call_id": "p1", "success": False, "stderr": "no"},
            [Activity(Kind.FILE_CHANGE, "", "p1", output="no", failed=True)],
        ),
        (
            {"type": "turn_aborted", "reason": "interrupted"},
            [Activity(Kind.TURN_FAILED, "interrupted")],
        ),
        (
            {"type": "error", "message": "stream error: cut; retrying 1/5"},
            [Activity(Kind.WARNING, "stream error: cut; retrying 1/5", reconnects=True)],
        ),
        ({"type": "error", "message": "bad"}, [Activity(Kind.ERROR, "bad")]),
        ({"type": "turn_diff", "unified_diff": "x"}, []),
    ],
)  # fmt: skip
def test_each_line_tells_what_it_means(message: Any, activities: list[Activity]) -> None:
    assert list(RUNTIME.reader()({"id": "0", "event_seq": 1, "msg": message})) == activities


@pytest.mark.parametrize(
    "record", [{"prompt": "STATUS: SUCCESS"}, {"workdir": "/repo", "model": "m", "sandbox": "s"}]
)
def test_the_echo_of_settings_and_prompt_is_no_activity(record: Any) -> None:
    assert RUNTIME.reader()(record) == ()


# endings

TEMPLATE = "The format is:\nSTATUS: SUCCESS\n\nSTATUS: BLOCKED\nBLOCKER: no key\n"


@pytest.mark.parametrize(
    ("what", "outcome", "code"),
    [
        (end(), Outcome.SUCCEEDED, "completed"),
        (end(last_message="done"), Outcome.SUCCEEDED, "completed"),
        (end(last_message="STATUS: BLOCKED no key"), Outcome.FAILED, "blocked"),
        (end(last_message=TEMPLATE), Outcome.FAILED, "blocked"),
        (end(last_message="STATUS: BLOCKED\n\nSTATUS: SUCCESS"), Outcome.SUCCEEDED, "completed"),
        (end(last_message="**STATUS:** BLOCKED"), Outcome.FAILED, "blocked"),
        (end(last_message="not STATUS: BLOCKED"), Outcome.SUCCEEDED, "completed"),
        (end(last_message=""), Outcome.FAILED, "result_missing"),
        (end(last_message=" \n"), Outcome.FAILED, "result_missing"),
        (end(last_message=None), Outcome.FAILED, "result_missing"),
        (end(turn=Kind.TURN_FAILED, failure="interrupted"), Outcome.FAILED, "cli_failure"),
        (end(exit_code=None), Outcome.LOST, "lost"),
        (end(exit_code=None, signal=15), Outcome.FAILED, "killed"),
        (end(exit_code=143), Outcome.FAILED, "killed"),
        (end(exit_code=1), Outcome.FAILED, "cli_failure"),
        (end(exit_code=2, any_event=False), Outcome.FAILED, "flag_refused"),
        (end(exit_code=1, stderr_tail="input exceeds the context window"), Outcome.FAILED, "context_full"),
        (end(exit_code=1, stderr_tail="status 404: no such thing"), Outcome.FAILED, "request_refused"),
        (end(exit_code=1, stderr_tail="status 503: come again"), Outcome.FAILED, "cli_failure"),
        (
            end(exit_code=1, stderr_tail="Time budget exceeded (--max-seconds=5)\n"),
            Outcome.TIMED_OUT,
            "timeout",
        ),
        (
            end(exit_code=1, stderr_tail="ERROR: the final message did not start with `STATUS:`."),
            Outcome.FAILED,
            "result_invalid",
        ),
        (
            end(exit_code=1, stderr_tail="Missing environment variable: `OPENCODE_GO_API_KEY`."),
            Outcome.FAILED,
            "auth_or_quota",
        ),
    ],
)
def test_status_zero_alone_is_no_success(what: End, outcome: Outcome, code: str) -> None:
    found, reason = RUNTIME.conclude(what)
    assert (found, reason.code) == (outcome, code)
    assert reason.message
    assert reason.hint or outcome is Outcome.SUCCEEDED


def test_what_blocks_the_agent_is_in_the_message() -> None:
    assert "no key" in RUNTIME.conclude(end(last_message=TEMPLATE))[1].message


def test_a_long_message_of_blank_lines_is_read_in_no_time() -> None:
    message = "x" + "\n" * 1_000_000 + "STATUS: BLOCKED"
    assert RUNTIME.conclude(end(last_message=message))[1].code == "blocked"


# what Kay has of Codex


@pytest.fixture(params=["codex", "kay"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return get(request.param)


def asked(runtime: Runtime, **changes: Any) -> CommandRequest:
    program = Program("/bin/it", "1.0.0", NEW.flags | {"-o", "--add-dir"})
    return request(program=program, settings=settings().replace(name=runtime.name), **changes)


def test_the_prompt_is_read_from_stdin_and_the_last_message_goes_to_the_file(
    runtime: Runtime,
) -> None:
    argv = runtime.command(asked(runtime))
    assert argv[:2] == ("/bin/it", "exec")
    assert argv[-1] == "-"
    assert ("/run/last.md" in argv) == (runtime is RUNTIME)


@pytest.mark.parametrize("level", Level)
def test_the_declared_level_is_passed(runtime: Runtime, level: Level) -> None:
    argv = runtime.command(asked(runtime, sandbox=Sandbox("s", level)))
    assert argv[argv.index("-s") + 1] == level.value


def test_the_last_overrides_are_those_of_the_request(runtime: Runtime) -> None:
    words = runtime.command(asked(runtime, overrides=("a=1", "b=2")))
    behind = [words[at + 1] for at, word in enumerate(words) if word == "-c"]
    assert behind[-2:] == ["a=1", "b=2"]


def test_each_knows_the_other_by_name() -> None:
    assert get("codex").foreign("kay 1.0.0\n") and RUNTIME.foreign("codex-cli 1.0.0\n")
