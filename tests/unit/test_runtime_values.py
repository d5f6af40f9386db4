"""`-c` overrides and TOML values, and parsers that take any JSON: properties."""

from __future__ import annotations

import datetime
import math
import sys
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import ConfigInvalid
from runner.runtimes import NAMES, get
from runner.runtimes.base import Activity, SessionNote, is_thread_id
from runner.runtimes.overrides import assignment, flatten, toml_value

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | TEXT
    | st.dates()
    | st.times()
    | st.datetimes()
    | st.datetimes(timezones=st.just(datetime.UTC))
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
)
BARE = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
TABLES = st.dictionaries(
    BARE, st.recursive(SCALARS, lambda inner: st.dictionaries(TEXT | BARE, inner, max_size=4))
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(VALUES)
def test_a_value_is_read_back_as_it_was_written(value: object) -> None:
    written = toml_value(value)
    assert tomllib.loads(f"x = {written}") == {"x": value}
    assert "\n" not in written


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e300, -0.0, 0.1])
def test_every_kind_of_float_is_read_back(value: float) -> None:
    back = tomllib.loads(f"x = {toml_value(value)}")["x"]
    assert repr(back) == repr(value)


@pytest.mark.parametrize("value", [None, 2**63, {"a": None}, [object()], "\ud800"])
def test_what_toml_cannot_say_is_refused_with_its_key(value: object) -> None:
    with pytest.raises(ConfigInvalid, match=r"`some\.key`"):
        assignment("some.key", value)


def _applied(overrides: list[tuple[str, str]]) -> dict[str, Any]:
    """What the CLI makes of `-c` texts: split at every dot, the value is TOML."""
    result: dict[str, Any] = {}
    for key, value in overrides:
        *parents, last = key.split(".")
        table = result
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = tomllib.loads(f"x = {value}")["x"]
    return result


@given(TABLES)
def test_flattened_keys_rebuild_the_same_table(config: dict[str, Any]) -> None:
    pairs = flatten(config)
    assert _applied([(key, toml_value(value)) for key, value in pairs]) == config
    assert [key for key, _ in pairs] == [key for key, _ in flatten(dict(reversed(config.items())))]


def test_a_table_with_a_dotted_key_is_passed_as_one_inline_table() -> None:
    config = {"mcp_servers": {"d": {"command": "x", "tools": {"delegate.status": {"mode": "a"}}}}}
    assert [assignment(key, value) for key, value in flatten(config)] == [
        'mcp_servers.d.command="x"',
        'mcp_servers.d.tools={"delegate.status" = {mode = "a"}}',
    ]


def test_a_dotted_key_at_the_top_is_refused_since_no_table_could_hold_it() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        flatten({"features.x": True})
    assert "features.x" in caught.value.message
    assert caught.value.hint is not None
    assert "without quotes" in caught.value.hint


@pytest.mark.parametrize("name", NAMES)
@given(record=st.dictionaries(st.text(), JSON) | st.fixed_dictionaries({"type": JSON, "msg": JSON}))
def test_no_object_makes_a_reader_raise(name: str, record: Any) -> None:
    assert all(isinstance(activity, Activity) for activity in get(name).reader()(record))


PAYLOADS = st.dictionaries(
    st.sampled_from(
        [
            *("type", "info", "thread_token_usage", "total_token_usage", "input_tokens", "model", "effort"),
            *(
                "sandbox_policy",
                "permission_profile",
                "approval_policy",
                "collaboration_mode",
                "network_access",
            ),
        ]
    ),
    JSON | st.sampled_from(["token_count", "read-only", "danger-full-access", "enabled"]),
    max_size=6,
)


@pytest.mark.parametrize("name", NAMES)
@given(
    record=JSON
    | st.fixed_dictionaries(
        {
            "type": st.sampled_from(["turn_context", "token_usage_record", "event_msg"]),
            "timestamp": JSON,
            "payload": PAYLOADS
            | st.fixed_dictionaries({"type": st.just("token_count"), "info": PAYLOADS})
            | st.fixed_dictionaries({"sandbox_policy": PAYLOADS, "permission_profile": PAYLOADS}),
        }
    )
)
def test_no_json_makes_the_reading_of_a_session_raise(name: str, record: Any) -> None:
    note = get(name).session_record(record)
    assert note is None or isinstance(note, SessionNote)


@pytest.mark.parametrize("name", NAMES)
@given(thread=st.text() | st.uuids().map(str))
def test_no_thread_id_leads_out_of_the_home(name: str, thread: str) -> None:
    for folder in get(name).session_folders({"HOME": "/home/me"}, thread):
        assert folder.startswith("/home/me/.") and ".." not in folder


KINDS = st.sampled_from(
    [
        "thread.started",
        "turn.started",
        "turn.completed",
        "turn.failed",
        "error",
        "item.started",
        "item.updated",
        "item.completed",
    ]
)
ITEMS = st.sampled_from(
    [
        "agent_message",
        "assistant_message",
        "reasoning",
        "command_execution",
        "file_change",
        "mcp_tool_call",
        "collab_tool_call",
        "web_search",
        "todo_list",
        "error",
        "new_kind",
    ]
)
FIELDS = st.sampled_from(
    [
        "id",
        "text",
        "command",
        "exit_code",
        "aggregated_output",
        "changes",
        "server",
        "tool",
        "result",
        "error",
        "message",
        "items",
        "query",
        "status",
    ]
)
MESSAGES = st.sampled_from(
    [
        "task_started",
        "agent_message",
        "agent_reasoning",
        "token_count",
        "exec_command_begin",
        "exec_command_end",
        "mcp_tool_call_begin",
        "mcp_tool_call_end",
        "patch_apply_begin",
        "patch_apply_end",
        "turn_aborted",
        "warning",
        "error",
        "background_event",
    ]
)
KAY_FIELDS = st.sampled_from(
    [
        "call_id",
        "command",
        "exit_code",
        "stdout",
        "duration",
        "invocation",
        "result",
        "changes",
        "success",
        "info",
        "message",
        "text",
        "reason",
    ]
)


@given(
    KINDS,
    ITEMS,
    st.dictionaries(FIELDS, JSON),
    st.dictionaries(st.sampled_from(["thread_id", "usage", "error", "message"]), JSON),
)
def test_wrong_types_in_known_lines_of_codex_do_not_raise(
    kind: str, item: str, fields: dict[str, Any], more: dict[str, Any]
) -> None:
    record = {"type": kind, "item": {"type": item, **fields}, **more}
    for activity in get("codex").reader()(record):
        assert isinstance(activity.text, str)
        assert activity.exit_code is None or isinstance(activity.exit_code, int)


@given(MESSAGES, st.dictionaries(KAY_FIELDS, JSON))
def test_wrong_types_in_known_lines_of_kay_do_not_raise(kind: str, fields: dict[str, Any]) -> None:
    for activity in get("kay").reader()({"id": "0", "msg": {"type": kind, **fields}}):
        assert isinstance(activity.text, str)
        assert isinstance(activity.output, str)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", ["command", "message", "arguments", "result", "error"])
def test_a_record_of_any_depth_that_can_be_read_can_be_parsed(name: str, field: str) -> None:
    deep: list[Any] = []
    for _ in range(sys.getrecursionlimit()):
        deep = [deep]
    for kind in ("command_execution", "mcp_tool_call", "error", "agent_message"):
        item = {"id": "x", "type": kind, field: deep}
        for record in ({"type": "item.completed", "item": item}, {"type": "error", field: deep}):
            get(name).reader()(record)


@pytest.mark.parametrize("text", ["01a1f828-a6fe-7db1-be08-71550d19d0b3", "t-1", "a.b_c:d"])
def test_an_id_of_a_session_is_one_plain_word(text: str) -> None:
    assert is_thread_id(text)


@pytest.mark.parametrize(
    "text", [None, "", "-", "--sandbox", "-c", "../x", "a b", "a\n", "\ud800", "é", "a" * 129]
)
def test_what_could_be_an_option_or_a_path_is_no_id_of_a_session(text: str | None) -> None:
    assert not is_thread_id(text)
