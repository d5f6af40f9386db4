"""The Codex runtime: argv from config alone, its event stream, and what its endings mean."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import ConfigInvalid, RuntimeWrong
from runner.model import Level, Model, Outcome, Program, RuntimeSettings, Sandbox, Usage
from runner.runtimes import get
from runner.runtimes.base import REASON_CODES, Activity, CommandRequest, End, Fence, Kind
from runner.runtimes.codex import RUNTIME

FLAGS = frozenset(
    [
        "--json",
        "--skip-git-repo-check",
        "-C",
        "--cd",
        "-m",
        "--model",
        "-s",
        "--sandbox",
        "--add-dir",
        "-c",
        "--config",
        "-o",
        "--output-last-message",
    ]
)
PROGRAM = Program("/bin/codex", "0.163.0", FLAGS)
READ_ONLY = Sandbox("research", Level.READ_ONLY)
BUILD = Sandbox("build", Level.WORKSPACE_WRITE)
BASE = ("/bin/codex", "exec", "--json", "--skip-git-repo-check", "-C", "/repo")
ALONE = ("-c", 'projects={"/repo" = {trust_level = "untrusted"}}')


def settings(**config: Any) -> RuntimeSettings:
    return RuntimeSettings("codex", "codex", None, (), config, None)


def request(**changes: Any) -> CommandRequest:
    plain = CommandRequest(PROGRAM, settings(), None, READ_ONLY, "/repo", "/run/last.md", True)
    return plain.replace(**changes)


def argv(**changes: Any) -> tuple[str, ...]:
    return RUNTIME.command(request(**changes))


def end(**changes: Any) -> End:
    return End(0, None, None, None, None, True, "").replace(**changes)


# argv


@pytest.mark.parametrize("network", [False, True])
def test_a_trial_of_the_sandbox_takes_no_more_from_the_user_than_the_run_does(network: bool) -> None:
    declared = settings(features={"use_legacy_landlock": True})
    trial = RUNTIME.sandbox_trial(PROGRAM, declared, BUILD.replace(network=network), Fence())
    run = argv(sandbox=BUILD.replace(network=network), settings=declared)
    said = (
        *("features.use_legacy_landlock=true", "sandbox_workspace_write.writable_roots=[]"),
        f"sandbox_workspace_write.network_access={str(network).lower()}",
    )
    assert trial is not None and {*said} <= {*trial} & {*run}


def test_the_smallest_command_declares_folder_and_sandbox_and_reads_the_prompt_from_stdin() -> None:
    assert argv() == (*BASE, "-s", "read-only", *ALONE, "-")


def test_everything_declared_is_in_the_command_in_a_fixed_order() -> None:
    model = Model("deep", "gpt-5.4-mini", reasoning_effort="xhigh", provider="corp")
    sandbox = BUILD.replace(writable=("/a", "/b c"), network=True)
    config = settings(web_search="disabled", features={"z": True, "a": False})
    assert argv(model=model, sandbox=sandbox, settings=config, skills=False, overrides=("k=1",)) == (
        *BASE,
        *("-m", "gpt-5.4-mini", "-s", "workspace-write", "--add-dir", "/a", "--add-dir", "/b c"),
        *("-c", "features.a=false", "-c", "features.z=true", "-c", 'web_search="disabled"'),
        *ALONE,
        *("-c", 'model_provider="corp"', "-c", 'model_reasoning_effort="xhigh"'),
        *("-c", "sandbox_workspace_write.network_access=true"),
        *("-c", "sandbox_workspace_write.writable_roots=[]"),
        *("-c", "skills.include_instructions=false", "-c", "k=1"),
        "-",
    )


def test_what_is_closed_is_said_so_that_a_config_file_of_the_user_cannot_open_it() -> None:
    assert "sandbox_workspace_write.writable_roots=[]" in argv(sandbox=BUILD)
    assert "sandbox_workspace_write.network_access=false" in argv(sandbox=BUILD)


def test_the_settings_of_codex_in_a_repository_are_left_out_whatever_its_folder_is_called() -> None:
    assert 'projects={"/a.b \\"c" = {trust_level = "untrusted"}}' in argv(cwd='/a.b "c')
    assert 'projects={"/\\U0000fffd" = {trust_level = "untrusted"}}' in argv(cwd="/\udcff")
    for as_locale_has_it in ("/ü", "/\udcc3\udcbc"):
        assert 'projects={"/\\U000000fc" = {trust_level = "untrusted"}}' in argv(cwd=as_locale_has_it)


LIMITED = BUILD.replace(network=True, hosts=("a.org", "*.b.org"), deny_read=("/repo/link", "/home/é"))


def test_a_sandbox_with_limits_is_a_profile_and_has_no_level_that_would_drop_it() -> None:
    fence = Fence(("/repo/sub",), temp="/temp", unread=("/repo/sub/s", "/repo/.runs"))
    known = PROGRAM.replace(flags=FLAGS | {"--enable"})
    said = argv(sandbox=LIMITED, fence=fence, program=known)
    assert "-s" not in said and not [word for word in said if "sandbox_workspace_write" in word]
    assert said[said.index("--enable") + 1] == "network_proxy"
    assert [said[n + 1] for n, word in enumerate(said) if word == "--add-dir"] == ["/repo/sub", "/temp"]
    profile = (
        'permissions.delegate-runner={extends = ":workspace", filesystem = {"/repo/.runs" = "deny", '
        '"/repo/sub/s" = "deny", ":slash_tmp" = "read", ":tmpdir" = "read"}, network = {domains = '
        '{"*.b.org" = "allow", "a.org" = "allow"}, enabled = true}}'
    )
    assert {'default_permissions="delegate-runner"', profile} <= {*said}
    reads = argv(sandbox=READ_ONLY.replace(deny_read=("/home/é",)), fence=Fence())
    assert any('extends = ":read-only"' in word and "\\U000000e9" in word for word in reads)
    assert all(word.isascii() for word in reads)
    trial = RUNTIME.sandbox_trial(known, settings(), LIMITED.replace(writable=("/w",)), fence)
    assert trial is not None and trial[2:6] == ("-P", "delegate-runner", "--enable", "network_proxy")
    assert any('"/w" = "write"' in word for word in trial)


def test_limits_that_this_version_or_a_profile_cannot_have_are_refused() -> None:
    known = PROGRAM.replace(flags=FLAGS | {"--enable"})
    with pytest.raises(RuntimeWrong, match=r"0\.162\.9"):
        argv(sandbox=LIMITED, program=known.replace(version="0.162.9"))
    with pytest.raises(RuntimeWrong, match="--enable"):
        argv(sandbox=LIMITED)
    for name in ("*.env", "[a]", "{a,b}", "a?", "a\nb", "a\tb", "\r"):
        with pytest.raises(ConfigInvalid, match="as it is written"):
            argv(sandbox=BUILD.replace(deny_read=(f"/repo/{name}",)))


def test_settings_that_say_themselves_whom_codex_trusts_are_passed_on() -> None:
    projects = {"projects": {"/repo": {"trust_level": "trusted"}}}
    said = [word for word in argv(settings=settings(**projects)) if word.startswith("projects")]
    assert said == ['projects={"/repo" = {trust_level = "trusted"}}']


def test_a_resumed_thread_gets_the_same_options_before_the_word_resume() -> None:
    plain, resumed = argv(sandbox=BUILD), argv(sandbox=BUILD, resume_thread="01a1-b2")
    assert resumed == (*plain[:-1], "resume", "01a1-b2", "-")


@pytest.mark.parametrize("thread", ["", "--last", "-", "a b", "../x", "a" * 200])
def test_what_is_no_thread_id_is_refused(thread: str) -> None:
    with pytest.raises(RuntimeWrong):
        argv(resume_thread=thread)


def test_long_spellings_are_used_where_the_version_lists_only_those() -> None:
    long = Program("/bin/codex", "9.0.0", frozenset(f for f in FLAGS if f.startswith("--")))
    assert argv(program=long)[4:] == ("--cd", "/repo", "--sandbox", "read-only", "--config", ALONE[1], "-")


def test_all_options_that_a_version_lacks_are_named_at_once() -> None:
    old = Program("/bin/codex", "0.1.0", FLAGS - {"--json", "--add-dir"})
    with pytest.raises(RuntimeWrong) as caught:
        argv(program=old, sandbox=BUILD.replace(writable=("/a",)))
    assert "0.1.0" in caught.value.message
    assert "`--json`, `--add-dir`" in caught.value.message
    assert caught.value.hint


def test_an_option_that_is_not_needed_may_be_absent() -> None:
    assert argv(program=Program("/bin/codex", "0.1.0", FLAGS - {"--add-dir"}), sandbox=BUILD)


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
    assert key in caught.value.message
    assert caught.value.hint == RUNTIME.owned[key]


def test_keys_beside_the_owned_ones_are_passed_on() -> None:
    config = settings(features={"a": True}, model_provider="corp")
    assert 'model_provider="corp"' in argv(settings=config)
    assert "features.a=true" in argv(settings=config)


@pytest.mark.parametrize("changes", [{"network": True}, {"writable": ("/a",)}])
def test_a_read_only_sandbox_cannot_declare_what_codex_would_not_give(changes: Any) -> None:
    with pytest.raises(ConfigInvalid, match="research"):
        argv(sandbox=READ_ONLY.replace(**changes))


def test_the_keys_of_a_provider_are_read_from_its_definition() -> None:
    provider = {"env_key": "CORP_KEY", "env_http_headers": {"X-B": "B_TOKEN", "X-A": "A_TOKEN"}}
    config = settings(model_provider="corp", model_providers={"corp": provider})
    assert RUNTIME.secret_env(config, None) == ("CORP_KEY", "A_TOKEN", "B_TOKEN")
    assert RUNTIME.secret_env(config, Model(None, "m", provider="openai")) == ()
    assert RUNTIME.secret_env(settings(), None) == ()
    assert RUNTIME.secret_env(settings(model_provider=1, model_providers=2), None) == ()


# identity


@pytest.mark.parametrize(
    ("output", "version", "foreign"),
    [
        ("codex-cli 0.163.0\n", "0.163.0", None),
        (
            "WARNING: proceeding, even though ...\ncodex-cli 0.170.0-alpha.3\n",
            "0.170.0-alpha.3",
            None,
        ),
        ("kay 0.9.46\n", None, "Kay 0.9.46"),
        ("codex-cli 0.1.0\nkay 0.9.46\n", None, "Kay 0.9.46"),
        ("codex 1.0\n", None, None),
        ("this is not codex-cli 1.2.3 at all\n", None, None),
        ("", None, None),
    ],
)
def test_identity_is_a_positive_match(output: str, version: str | None, foreign: str | None) -> None:
    assert RUNTIME.identify(output) == version
    assert RUNTIME.foreign(output) == foreign


# the event stream


def item(kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": "item_1", "type": kind, **fields}


COMMAND = item("command_execution", command="ls", aggregated_output="a\n", exit_code=3, status="failed")
CALL = item("mcp_tool_call", server="delegation", tool="delegate.status", status="completed")
CHANGES = [{"path": "a", "kind": "add"}]
TODO = [{"text": "x", "completed": True}]
TEXT = {"content": [{"type": "text", "text": "ok"}], "structured_content": None}


@pytest.mark.parametrize(
    ("record", "activities"),
    [
        ({"type": "thread.started", "thread_id": "01a"}, [Activity(Kind.THREAD, "01a")]),
        ({"type": "turn.started"}, [Activity(Kind.TURN_STARTED)]),
        (
            {"type": "turn.completed", "usage": {"input_tokens": 5, "output_tokens": 2, "new": 1}},
            [Activity(Kind.USAGE, usage=Usage(5, None, 2, None)), Activity(Kind.TURN_COMPLETED)],
        ),
        ({"type": "turn.completed"}, [Activity(Kind.TURN_COMPLETED)]),
        (
            {"type": "turn.failed", "error": {"message": "no"}},
            [Activity(Kind.TURN_FAILED, "no")],
        ),
        (
            {"type": "error", "message": "Reconnecting... 1/2 (cut)"},
            [Activity(Kind.WARNING, "Reconnecting... 1/2 (cut)", reconnects=True)],
        ),
        ({"type": "error", "message": "bad"}, [Activity(Kind.ERROR, "bad")]),
        (
            {"type": "item.completed", "item": item("error", message="unknown model")},
            [Activity(Kind.WARNING, "unknown model", "item_1")],
        ),
        (
            {"type": "item.completed", "item": item("agent_message", text="hi")},
            [Activity(Kind.MESSAGE, "hi", "item_1")],
        ),
        (
            {"type": "item.completed", "item": {"item_type": "assistant_message", "text": "hi"}},
            [Activity(Kind.MESSAGE, "hi")],
        ),
        (
            {"type": "item.completed", "item": item("reasoning", text="hm")},
            [Activity(Kind.REASONING, "hm", "item_1")],
        ),
        (
            {"type": "item.started", "item": COMMAND},
            [Activity(Kind.COMMAND_STARTED, "ls", "item_1")],
        ),
        (
            {"type": "item.completed", "item": COMMAND},
            [Activity(Kind.COMMAND, "ls", "item_1", 3, "a\n", failed=True)],
        ),
        (
            {"type": "item.started", "item": CALL},
            [Activity(Kind.TOOL_STARTED, "delegation.delegate.status", "item_1")],
        ),
        (
            {"type": "item.completed", "item": {**CALL, "result": TEXT}},
            [Activity(Kind.TOOL_CALL, "delegation.delegate.status", "item_1", output="ok")],
        ),
        (
            {
                "type": "item.completed",
                "item": {**CALL, "error": {"message": "requires approval"}, "status": "failed"},
            },
            [
                Activity(
                    Kind.TOOL_CALL,
                    "delegation.delegate.status",
                    "item_1",
                    output="requires approval",
                    failed=True,
                )
            ],
        ),
        (
            {"type": "item.completed", "item": item("collab_tool_call", tool="spawn_agent")},
            [Activity(Kind.TOOL_CALL, "spawn_agent", "item_1")],
        ),
        (
            {"type": "item.started", "item": item("web_search", query="toml")},
            [Activity(Kind.TOOL_STARTED, "web_search toml", "item_1")],
        ),
        (
            {
                "type": "item.completed",
                "item": item("file_change", changes=CHANGES, status="failed"),
            },
            [Activity(Kind.FILE_CHANGE, "add a", "item_1", failed=True)],
        ),
        (
            {"type": "item.updated", "item": item("todo_list", items=TODO)},
            [Activity(Kind.OTHER, "[x] x", "item_1")],
        ),
        (
            {"type": "item.completed", "item": item("new_kind")},
            [Activity(Kind.OTHER, "new_kind", "item_1")],
        ),
        ({"type": "turn.dreamt"}, []),
        ({}, []),
    ],
)  # fmt: skip
def test_each_line_tells_what_it_means(record: Any, activities: list[Activity]) -> None:
    assert list(RUNTIME.reader()(record)) == activities


# endings


def test_a_turn_without_any_answer_of_the_model_is_no_success() -> None:
    """As where a hook refuses the prompt: measured on 0.163.0 and 0.171.0."""
    outcome, reason = RUNTIME.conclude(end(turn=Kind.TURN_COMPLETED, is_answered=False))
    assert (outcome, reason.code) == (Outcome.FAILED, "misconfigured")
    assert "/hooks" in (reason.hint or "")
    assert RUNTIME.conclude(end(turn=Kind.TURN_COMPLETED))[0] is Outcome.SUCCEEDED


STDERR_NOISE = (
    "Reading additional input from stdin...\n\n"
    "warning: Untrusted project-local configuration is disabled. Run `codex exec --trust` to allow it.\n"
    "Stack backtrace:\n   0: <unknown>\n"
)
DONE, FAILED = Kind.TURN_COMPLETED, Kind.TURN_FAILED


@pytest.mark.parametrize(
    ("what", "outcome", "code"),
    [
        (end(turn=DONE), Outcome.SUCCEEDED, "completed"),
        (end(turn=None), Outcome.FAILED, "result_missing"),
        (end(turn=FAILED, failure="x"), Outcome.FAILED, "cli_failure"),
        (end(exit_code=None, turn=DONE), Outcome.SUCCEEDED, "completed"),
        (end(exit_code=None, turn=FAILED, failure="x"), Outcome.FAILED, "cli_failure"),
        (end(exit_code=None), Outcome.LOST, "lost"),
        (end(exit_code=1, turn=FAILED), Outcome.FAILED, "cli_failure"),
        (end(exit_code=1), Outcome.FAILED, "cli_failure"),
        (end(exit_code=1, any_event=False), Outcome.FAILED, "cli_failure"),
        (end(exit_code=2, any_event=False, stderr_tail="error: x"), Outcome.FAILED, "flag_refused"),
        (end(exit_code=101, stderr_tail="thread panicked"), Outcome.FAILED, "cli_failure"),
        (end(exit_code=None, signal=9), Outcome.FAILED, "killed"),
        (end(exit_code=-15), Outcome.FAILED, "killed"),
        (end(exit_code=143), Outcome.FAILED, "killed"),
        (end(exit_code=None, signal=9, turn=DONE), Outcome.FAILED, "killed"),
    ],
)
def test_endings_are_told_apart_by_status_and_stream(what: End, outcome: Outcome, code: str) -> None:
    found, reason = RUNTIME.conclude(what)
    assert (found, reason.code) == (outcome, code)
    assert reason.message
    assert reason.hint or outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    "failure",
    [
        "unexpected status 401 Unauthorized: no, url: http://127.0.0.1:32901/v1/responses",
        "unexpected status 403 Forbidden: x",
        "exceeded retry limit, last status: 429 Too Many Requests",
        "You've hit your usage limit. Try again at May 18th, 2033 3:33 AM.",
        "Missing environment variable: `CORP_KEY`.",
        "Not logged in",
    ],
)
def test_a_missing_login_or_a_spent_quota_has_its_own_code(failure: str) -> None:
    outcome, reason = RUNTIME.conclude(end(exit_code=1, turn=FAILED, failure=failure))
    assert (outcome, reason.code, reason.message) == (Outcome.FAILED, "auth_or_quota", failure)
    assert reason.hint


ROOM = "Codex ran out of room in the model's context window. Start a new thread or clear earlier history."
NO_MODEL = '{"detail":"The \'gpt-x\' model is not supported when using Codex with a ChatGPT account."}'
FULL_BODY = '{"error": {"code": "context_length_exceeded", "message": "Your input exceeds it"}}'

BODY = '{"error": {"type": "x", "message": "of 400"}}'
SAID = {
    FULL_BODY: "Your input exceeds it",
    NO_MODEL: "The 'gpt-x' model is not supported when using Codex with a ChatGPT account.",
    BODY: "of 400",
}
"""What a body that is shown instead of a message has to say."""


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ROOM, "context_full"),
        (FULL_BODY, "context_full"),
        (BODY, "request_refused"),
        ('{"cut off', "request_refused"),
        ('{"error": 400}', "request_refused"),
        (NO_MODEL, "request_refused"),
        ("unexpected status 404 Not Found: The model `x` does not exist, url: http://x", "request_refused"),
        ("unexpected status 422 Unprocessable Entity: x", "request_refused"),
        ("stream disconnected before completion: The model `x` does not exist", "request_refused"),
        ("Invalid prompt: flagged", "request_refused"),
        ("This content was flagged for possible biological risk.", "request_refused"),
        ("misalignment policy violation: x", "request_refused"),
        ("To use Codex with your ChatGPT plan, upgrade to Plus: https://x", "auth_or_quota"),
        ("unexpected status 402 Payment Required: x", "auth_or_quota"),
        ("exceeded retry limit, last status: 429 Too Many Requests", "auth_or_quota"),
        ("unexpected status 408 Request Timeout: x", "cli_failure"),
        ("unexpected status 409 Conflict: x", "cli_failure"),
        ("unexpected status 425 Too Early: x", "cli_failure"),
        ("unexpected status 503 Service Unavailable: x", "cli_failure"),
        ("Selected model is at capacity. Please try a different model.", "cli_failure"),
        ("Flex capacity unavailable.", "cli_failure"),
        ("stream disconnected before completion: error sending request", "cli_failure"),
        ("something new", "cli_failure"),
    ],
)
def test_an_answer_that_waiting_cannot_change_has_a_code_of_its_own(failure: str, code: str) -> None:
    """Texts of codex-cli 0.163.0 for what its service answered."""
    outcome, reason = RUNTIME.conclude(end(exit_code=1, turn=FAILED, failure=failure))
    assert (outcome, reason.code) == (Outcome.FAILED, code)
    assert reason.message == SAID.get(failure, failure)
    assert reason.hint


def test_a_port_that_looks_like_a_status_is_no_login_problem() -> None:
    failure = "error sending request for url (http://127.0.0.1:4290/v1/401/responses)"
    _, reason = RUNTIME.conclude(end(exit_code=1, turn=FAILED, failure=failure))
    assert reason.code == "cli_failure"


def test_a_retry_in_the_log_of_an_interrupted_run_is_not_its_reason() -> None:
    log = "2026-01-01 ERROR codex: last status: 429 Too Many Requests, retrying"
    _, reason = RUNTIME.conclude(end(exit_code=1, stderr_tail=log))
    assert reason.code == "cli_failure"
    assert "in the middle of its turn" in reason.message
    assert reason.detail == log


def test_the_missing_variable_is_named_in_the_hint() -> None:
    failure = "Missing environment variable: `CORP_KEY`."
    hint = RUNTIME.conclude(end(exit_code=1, turn=FAILED, failure=failure))[1].hint or ""
    assert "CORP_KEY" in hint
    assert "[runtimes.codex]" in hint


@pytest.mark.parametrize(
    ("stderr", "message", "hint"),
    [
        ("Error: Model provider `nope` not found", "`nope` not found", "model_providers"),
        ("Error loading config.toml: unknown configuration field `x`", "field `x`", "config.toml"),
        ("Error: required MCP servers failed to initialize: d: timed out", "failed", "MCP server"),
        (
            "Error: failed to initialize in-process app-server client: Read-only file system",
            "app-server",
            "delegation",
        ),
        ("Not inside a trusted directory and --skip-git-repo-check ...", "trusted", "git init"),
        ("Error: bwrap: setting up uid map: Permission denied", "bwrap", "sandbox -- true"),
        ('Error finding codex home: CODEX_HOME points to "/nope"', "codex home", "CODEX_HOME"),
        ("Error: thread 01 already has an active writer", "active writer", "wait"),
    ],
)
def test_a_start_that_failed_has_the_line_and_what_to_do(stderr: str, message: str, hint: str) -> None:
    outcome, reason = RUNTIME.conclude(
        end(exit_code=1, any_event=False, stderr_tail=STDERR_NOISE + stderr + "\n" + STDERR_NOISE)
    )
    code = "cli_failure" if hint in ("MCP server", "wait") else "misconfigured"
    assert (outcome, reason.code) == (Outcome.FAILED, code)
    assert message in reason.message
    assert reason.hint is not None
    assert hint in reason.hint
    assert reason.detail == stderr


def test_a_refused_flag_shows_what_the_parser_said_and_points_to_doctor() -> None:
    said = "error: unexpected argument '--ask-for-approval' found\n\nUsage: codex exec"
    _, reason = RUNTIME.conclude(end(exit_code=2, any_event=False, stderr_tail=said))
    assert "--ask-for-approval" in reason.message
    assert "runner doctor" in (reason.hint or "")


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (15, "SIGTERM"), (2, "SIGINT")])
def test_the_signal_that_ended_it_is_named(number: int, name: str) -> None:
    _, reason = RUNTIME.conclude(end(exit_code=None, signal=number))
    assert name in reason.message


def test_no_ending_has_a_code_that_is_not_listed() -> None:
    for code in (None, 0, 1, 2, 101, 137, -9, 255):
        for turn in (None, DONE, FAILED):
            for any_event in (True, False):
                what = end(exit_code=code, turn=turn, any_event=any_event)
                for name in ("codex", "kay"):
                    assert get(name).conclude(what)[1].code in REASON_CODES


def test_a_prompt_is_passed_byte_for_byte() -> None:
    assert RUNTIME.prepare_prompt("/review -x\n") == "/review -x\n"


# what it refused

AT = "2026-11-26T18:32:30.066691Z "
ROUTER = "ERROR codex_core::tools::router: error="
COMMAND = (
    r'exec_command failed: CreateProcess { message: "Rejected(\"`/bin/bash -lc '
    "'rm -f \\\"a b\\\"; echo x\\\\ny'"
    r'` rejected: rm -f style commands are not permitted. Use a safer approach\")" }'
)


def test_a_command_that_codex_refused_is_read_from_its_log() -> None:
    found = RUNTIME.refusal(f"{AT}{ROUTER}{COMMAND}")
    assert found is not None and found.at == "2026-11-26T18:32:30.066Z"
    assert found.text.startswith('`/bin/bash -lc \'rm -f "a b"; echo x')
    assert found.text.endswith("rm -f style commands are not permitted. Use a safer approach")


def test_an_isolated_run_has_nothing_of_the_users_own_settings() -> None:
    alone = settings().replace(isolated=True)
    program = PROGRAM.replace(flags=PROGRAM.flags | {"--ignore-user-config"})
    found = argv(settings=alone, program=program)
    assert found[4:9] == (
        "--ignore-user-config", "-c", "features.hooks=false", "-c", "features.plugins=false",
    )  # fmt: skip
    with pytest.raises(RuntimeWrong):
        argv(settings=alone)


def test_a_call_that_a_hook_denied_is_read_too() -> None:
    told = "Command blocked by PreToolUse hook: no way. Command: make clean"
    found = RUNTIME.refusal(f"{AT}{ROUTER}{told}")
    assert found is not None and found.text == told


def test_a_patch_that_codex_refused_is_read_too() -> None:
    told = "patch rejected: writing outside of the project; rejected by user approval settings"
    found = RUNTIME.refusal(f"{AT}{ROUTER}{told}")
    assert found is not None and found.text == told


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Reading prompt from stdin...",
        f"{AT}ERROR codex_core::session: failed to load skill",
        f"{AT}WARN codex_core::tools::router: error=x",
        f"the agent says: {ROUTER}no",
    ],
)
def test_any_other_line_of_stderr_is_no_refusal(line: str) -> None:
    assert RUNTIME.refusal(line) is None


def test_a_refusal_without_a_time_is_one() -> None:
    found = RUNTIME.refusal(f"{ROUTER}no")
    assert found is not None and (found.at, found.text) == (None, "no")


@pytest.mark.parametrize("odd", [-5, 2**53, 10**23, 1.5, True, "7", None])
def test_a_count_that_no_program_can_have_spent_is_not_known(odd: object) -> None:
    line = {"type": "turn.completed", "usage": {"input_tokens": 10, "output_tokens": odd}}
    told = [one.usage for one in RUNTIME.reader()(line) if one.kind is Kind.USAGE]
    assert told == [Usage(input_tokens=10)]
    assert not [one for one in RUNTIME.reader()({**line, "usage": {"input_tokens": odd}}) if one.usage]
