"""In which sessions of agent CLIs something is started."""

from __future__ import annotations

import os
import subprocess

import pytest

from runner.processes.proc import identify
from runner.runtimes import by_process, host_of, of_call, sessions_of

NO_IDS = ["a\0b", "a\nb", "\x1b[2J", "x" * 10_000, "", "\ud800", 7, None, ["s1"], {"a": "s1"}]


def test_a_subagent_of_codex_is_in_the_session_and_in_a_thread_of_its_own() -> None:
    env = {"CODEX_THREAD_ID": "t2", "CODEX_SESSION_ID": "s1"}
    assert sessions_of(env) == ("s1", "t2") and host_of(env) == "codex"
    assert sessions_of({"CODEX_THREAD_ID": "s1", "CODEX_SESSION_ID": "s1"}) == ("s1",)


def test_claude_code_is_known_by_its_process_whatever_its_session() -> None:
    env = {"CLAUDE_CODE_SESSION_ID": "s1", "CLAUDE_PID": f"0{os.getpid()}"}
    mine = identify(os.getpid())
    assert mine is not None
    assert sessions_of(env) == ("s1", f"claude-pid-{mine.pid}-{mine.start_time}") and host_of(env) == "claude"
    gone = subprocess.Popen(["true"])
    gone.wait()
    for pid in (str(gone.pid), "0", "9" * 10, "", "-1", "1 2", "../x", "1" * 11, "\u0664\u0662"):
        assert by_process({"CLAUDE_PID": pid}) is None and sessions_of({"CLAUDE_PID": pid}) == ()


def test_codex_says_in_a_call_in_which_session_it_is_made() -> None:
    told = {"sessionId": "s1", "threadId": "t2", "progressToken": 7}
    assert of_call(told) == {"CODEX_SESSION_ID": "s1", "CODEX_THREAD_ID": "t2"}
    assert of_call({"threadId": "t2"}) == {"CODEX_THREAD_ID": "t2"}
    assert of_call({}) == {}


@pytest.mark.parametrize("ident", NO_IDS, ids=lambda one: ascii(one)[:20])
def test_what_is_no_id_of_a_session_names_none(ident: object) -> None:
    assert of_call({"sessionId": ident, "threadId": ident}) == {}
