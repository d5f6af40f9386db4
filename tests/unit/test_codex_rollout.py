"""Codex's own record of a thread: where it lies, and what its lines tell. The lines are real, of 0.163.0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.model import Context, Usage
from runner.runtimes import get
from runner.runtimes.base import UNSET, ObservedSettings, SessionNote

DATA = Path(__file__).parents[1] / "data"
THREAD = "01a1f90e-bf6d-7a72-b936-e24c4f2852bf"
CODEX = get("codex")


def lines(name: str) -> list[dict[str, Any]]:
    text = (DATA / f"codex-rollout-{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def notes(name: str) -> list[SessionNote]:
    return [note for line in lines(name) if (note := CODEX.session_record(line)) is not None]


def contexts(name: str) -> list[ObservedSettings]:
    return [note.observed for note in notes(name) if note.observed is not None]


def a_context(**changes: Any) -> dict[str, Any]:
    """A real line of settings with other values; None takes a key out."""
    (line,) = [line for line in lines("read-only") if line["type"] == "turn_context"]
    payload = {name: value for name, value in {**line["payload"], **changes}.items() if value is not None}
    return {**line, "payload": payload}


def observed(**changes: Any) -> ObservedSettings:
    note = CODEX.session_record(a_context(**changes))
    assert note is not None and note.observed is not None
    return note.observed


# where it lies


def test_the_record_lies_in_the_folder_of_the_day_that_the_thread_id_tells() -> None:
    found = CODEX.session_folders({"HOME": "/home/me"}, THREAD)
    days = ["2026/11/20", "2026/11/19", "2026/11/21"]
    assert found == tuple(f"/home/me/.codex/sessions/{day}" for day in days)


def test_the_home_of_codex_is_the_one_that_codex_is_told() -> None:
    found = CODEX.session_folders({"HOME": "/home/me", "CODEX_HOME": "/else%where"}, THREAD)
    assert found[0] == "/else%where/sessions/2026/11/20"


@pytest.mark.parametrize(
    "thread",
    [
        "",
        "../../etc",
        "item_0",
        THREAD.upper(),
        THREAD.replace("-7a72", "-4a72"),
        f"{THREAD}/x",
        f"f{THREAD}",
    ],
)
def test_what_is_no_thread_id_of_codex_leads_nowhere(thread: str) -> None:
    assert CODEX.session_folders({"HOME": "/home/me"}, thread) == ()


def test_no_time_is_too_far_away() -> None:
    for begin in ("00000000-0000", "ffffffff-ffff"):
        folders = CODEX.session_folders({"HOME": "/home/me"}, begin + THREAD[13:])
        assert all(folder.startswith("/home/me/.codex/sessions/") for folder in folders)


def test_the_record_is_not_looked_for_in_a_folder_that_is_relative() -> None:
    assert CODEX.session_folders({"CODEX_HOME": "relative"}, THREAD) == ()


def test_kay_names_no_thread_so_its_record_is_not_looked_for() -> None:
    kay = get("kay")
    assert kay.session_folders({"HOME": "/home/me"}, THREAD) == ()
    assert kay.session_record(a_context()) is None


# what it tells


def test_the_tokens_of_every_line_are_those_of_the_whole_thread() -> None:
    told = [note.usage for note in notes("read-only") if note.usage is not None]
    assert told[0] == Usage(120, 80, 9, 2)
    assert told[-1] == Usage(430, 180, 30, 7)
    assert [usage.input_tokens for usage in told] == [120, 120, 420, 420, 420, 420, 430, 430]


def test_the_tokens_of_an_answer_are_told_before_its_tool_calls_have_ended() -> None:
    kinds = [line["type"] for line in lines("read-only")]
    assert kinds.index("token_usage_record") < kinds.index("response_item")
    first = next(line for line in lines("read-only") if line["type"] == "token_usage_record")
    note = CODEX.session_record(first)
    assert note is not None and note.usage == Usage(120, 80, 9, 2)


def test_read_only_without_a_model_or_an_effort() -> None:
    assert contexts("read-only") == [
        ObservedSettings("gpt-6.1-sol", "read-only", False, "never", UNSET, False)
    ]


def test_workspace_write_without_network_and_with_an_effort() -> None:
    expected = ObservedSettings("gpt-5.4-mini", "workspace-write", False, "never", "xhigh", False)
    assert contexts("workspace-write") == [expected]


def test_a_thread_that_was_resumed_with_other_settings_tells_both() -> None:
    assert contexts("resumed") == [
        ObservedSettings("gpt-5.5", "danger-full-access", True, "never", "high", False),
        ObservedSettings("gpt-5.5", "workspace-write", True, "never", UNSET, False),
    ]


def test_a_note_has_the_time_of_its_line() -> None:
    assert notes("workspace-write")[0].at == "2026-11-20T12:59:36.375Z"
    note = CODEX.session_record({**a_context(), "timestamp": "yesterday"})
    assert note is not None and note.at is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sandbox_policy": None, "permission_profile": None}, (None, None)),
        ({"permission_profile": None}, ("read-only", None)),
        ({"sandbox_policy": None}, (None, False)),
        ({"sandbox_policy": None, "permission_profile": {"type": "disabled"}}, ("danger-full-access", True)),
        ({"sandbox_policy": {"type": "read-only", "network_access": True}}, ("read-only", True)),
        (
            {"sandbox_policy": {"type": "external-sandbox", "network_access": "enabled"}}
            | {"permission_profile": None},
            ("external-sandbox", True),
        ),
    ],
)
def test_what_the_line_does_not_tell_of_the_sandbox_is_not_made_up(
    changes: dict[str, Any], expected: tuple[str | None, bool | None]
) -> None:
    seen = observed(**changes)
    assert (seen.level, seen.network) == expected


def test_an_effort_that_is_not_told_is_something_else_than_none() -> None:
    assert observed().effort == UNSET
    assert observed(collaboration_mode=None).effort is None
    assert observed(effort="low").effort == "low"


def test_an_approval_of_another_shape_is_told_as_it_is() -> None:
    assert observed(approval_policy={"granular": {"rules": True}}).approval == '{"granular": {"rules": true}}'
    assert observed(approval_policy=None).approval is None


def test_the_window_is_filled_by_the_last_request_and_not_by_the_sum() -> None:
    told = [note for note in notes("read-only") if note.context is not None]
    assert [note.context for note in told] == [Context(258_400, used) for used in (120, 300, 300, 300, 10)]
    assert told[-1].usage is not None and told[-1].usage.input_tokens == 430


@pytest.mark.parametrize(
    ("info", "context"),
    [
        ({"model_context_window": 9, "last_token_usage": {"input_tokens": 5}}, Context(9, 5)),
        ({"model_context_window": 9, "last_token_usage": {"total_tokens": 5}}, Context(9)),
        ({"model_context_window": 9, "last_token_usage": {"input_tokens": 0}}, Context(9)),
        ({"model_context_window": None, "last_token_usage": {"input_tokens": 5}}, Context(None, 5)),
        ({"model_context_window": -9, "last_token_usage": {"input_tokens": 2**60}}, None),
        ({"model_context_window": True, "last_token_usage": 5}, None),
    ],
)
def test_only_a_request_fills_the_window(info: dict[str, Any], context: Context | None) -> None:
    line = {"type": "event_msg", "payload": {"type": "token_count", "info": info}}
    note = CODEX.session_record(line)
    assert (note and note.context) == context


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"type": "session_meta", "payload": {"model": "x"}},
        {"type": "event_msg", "payload": {"type": "token_count", "info": None}},
        {"type": "event_msg", "payload": {"type": "token_count", "info": {"total_token_usage": 5}}},
        {"type": "token_usage_record", "payload": []},
    ],
)
def test_other_lines_tell_nothing(line: dict[str, Any]) -> None:
    assert CODEX.session_record(line) is None
