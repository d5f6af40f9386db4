"""Following the program's own record of a thread, which lies in a folder of its own and may do anything."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runner.model import Context, Usage
from runner.runtimes import get
from runner.state.spent import tokens
from runner.supervise.session import Session

DATA = Path(__file__).parents[1] / "data"
THREAD = "01a1f90e-bf6d-7a72-b936-e24c4f2852bf"
RESUMED_AT = "2026-11-20T13:04:16.000Z"


class Home:
    """A CODEX_HOME with, or without, a record of the thread."""

    def __init__(self, base: Path) -> None:
        self.env = {"CODEX_HOME": str(base / "home")}
        self.folder = base / "home" / "sessions" / "2026" / "11" / "20"
        self.folder.mkdir(parents=True)
        self.path = self.folder / f"rollout-2026-11-20T13-04-15-{THREAD}.jsonl"
        self.now = 0.0

    def session(self, since: str | None = None) -> Session:
        return Session(get("codex"), since, lambda: self.now)

    def write(self, name: str = "resumed") -> list[bytes]:
        data = (DATA / f"codex-rollout-{name}.jsonl").read_bytes()
        self.path.write_bytes(data)
        return data.splitlines(keepends=True)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def spent(session: Session) -> int:
    """By this run, as budgets count it."""
    return tokens(session.usage) - tokens(session.before)


def a_count(count: int) -> bytes:
    info = {"total_token_usage": {"input_tokens": count, "output_tokens": 0}}
    line = {"type": "event_msg", "payload": {"type": "token_count", "info": info}}
    return json.dumps(line).encode() + b"\n"


def test_how_full_the_window_is_the_last_request_of_this_run_tells(home: Home) -> None:
    def a_request(window: int | None, used: int, at: str = "2026-11-20T13:04:15.000Z") -> bytes:
        info = {"model_context_window": window, "last_token_usage": {"input_tokens": used}}
        line = {"timestamp": at, "type": "event_msg", "payload": {"type": "token_count", "info": info}}
        return json.dumps(line).encode() + b"\n"

    home.path.write_bytes(a_request(900, 800))
    session = home.session("2026-11-20T13:04:16.000Z")
    session.look(THREAD, home.env)
    assert session.context is None, "another run has filled it"
    for told, expected in (
        (a_request(900, 850), Context(900, 850)),
        (a_request(900, 0), Context(900, 850)),
        (a_request(None, 30), Context(900, 30)),
    ):
        with home.path.open("ab") as file:
            file.write(told)
        session.look(THREAD, home.env)
        assert session.context == expected


def test_it_is_found_by_the_thread_and_read(home: Home) -> None:
    home.write()
    session = home.session()
    assert not session.look(None, home.env)
    assert session.look(THREAD, home.env)
    assert session.path == str(home.path)
    assert session.usage == Usage(150, 0, 15, 0)
    assert spent(session) == 165
    assert [context.level for context in session.contexts] == ["danger-full-access", "workspace-write"]


def test_only_what_is_new_and_whole_is_read(home: Home) -> None:
    lines = home.write()
    home.path.write_bytes(b"".join(lines[:4]) + lines[4][:40])
    session = home.session()
    session.look(THREAD, home.env)
    assert (spent(session), len(session.contexts)) == (110, 1)
    assert not session.look(THREAD, home.env)
    with home.path.open("ab") as file:
        file.write(lines[4][40:] + b"".join(lines[5:]))
    assert session.look(THREAD, home.env)
    assert (spent(session), len(session.contexts)) == (165, 2)
    assert session.lines_unread == 0


def test_of_a_resumed_thread_only_what_came_since_is_this_runs(home: Home) -> None:
    home.write()
    session = home.session(RESUMED_AT)
    session.look(THREAD, home.env)
    assert session.usage == Usage(150, 0, 15, 0)
    assert session.before == Usage(100, 0, 10, 0)
    assert spent(session) == 55
    assert [context.level for context in session.contexts] == ["workspace-write"]


def test_what_comes_after_the_start_is_of_this_run_whatever_the_clock_says(home: Home) -> None:
    home.write()
    session = home.session("2099-01-01T00:00:00.000Z")
    session.look(THREAD, home.env)
    assert session.has_start and spent(session) == 0
    back = a_count(500).replace(b"{", b'{"timestamp": "2001-01-01T00:00:00.000Z", ', 1)
    with home.path.open("ab") as file:
        file.write(back)
    session.look(THREAD, home.env)
    assert spent(session) == 500 - 165


def test_a_run_without_a_record_is_searched_for_less_and_less_often(home: Home) -> None:
    session = home.session()
    session.look(THREAD, home.env)
    home.write()
    assert not session.look(THREAD, home.env), "it has just been looked for"
    home.now += 0.25
    assert session.look(THREAD, home.env)
    other = home.session()
    for _ in range(20):
        other.look(THREAD.replace("bf6d", "bf6e"), home.env)
        home.now += 30.0
    assert other.path is None and other.usage is None


def test_at_the_end_it_is_searched_for_once_more_and_read_to_the_last_word(home: Home) -> None:
    session = home.session()
    session.look(THREAD, home.env)
    home.path.write_bytes(a_count(5) + a_count(7).rstrip(b"\n"))
    session.end(THREAD, home.env)
    assert spent(session) == 7


def test_what_has_been_spent_is_not_forgotten_when_the_file_is_cut(home: Home) -> None:
    home.path.write_bytes(a_count(5) + a_count(700))
    session = home.session()
    session.look(THREAD, home.env)
    home.path.write_bytes(a_count(6))
    session.look(THREAD, home.env)
    assert spent(session) == 700
    with home.path.open("ab") as file:
        file.write(a_count(800))
    session.look(THREAD, home.env)
    assert spent(session) == 800


def test_another_file_in_its_place_is_read_from_its_beginning(home: Home) -> None:
    home.path.write_bytes(a_count(5))
    session = home.session()
    session.look(THREAD, home.env)
    new = home.folder / "new"
    new.write_bytes(a_count(9))
    new.rename(home.path)
    session.look(THREAD, home.env)
    assert spent(session) == 9


def test_a_file_that_has_gone_is_searched_for_again(home: Home) -> None:
    home.path.write_bytes(a_count(5))
    session = home.session()
    session.look(THREAD, home.env)
    home.path.unlink()
    assert not session.look(THREAD, home.env)
    assert not session.look(THREAD, home.env)
    assert (session.path, spent(session)) == (None, 5)
    home.path.write_bytes(a_count(50))
    home.now += 60.0
    assert session.look(THREAD, home.env)
    assert spent(session) == 50


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_plain_file_is_not_opened(kind: str, home: Home, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(a_count(5))
    if kind == "link":
        home.path.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(home.path)
    else:
        home.path.mkdir()
    session = home.session()
    session.end(THREAD, home.env)
    assert (session.path, session.usage) == (None, None)


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_file_that_becomes_something_else_is_not_opened_again(
    kind: str, home: Home, tmp_path: Path
) -> None:
    home.path.write_bytes(a_count(5))
    session = home.session()
    session.look(THREAD, home.env)
    home.path.unlink()
    if kind == "link":
        (tmp_path / "elsewhere").write_bytes(a_count(500) * 3)
        home.path.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(home.path)
    session.look(THREAD, home.env)
    session.end(THREAD, home.env)
    assert spent(session) == 5


def test_garbage_and_endless_lines_hide_nothing(home: Home) -> None:
    endless = b"x" * (2 * 1024 * 1024) + b"\n"
    home.path.write_bytes(a_count(5) + b"\xff\n[1]\n{}\n" + endless + a_count(6))
    session = home.session()
    session.end(THREAD, home.env)
    assert (spent(session), session.lines_unread) == (6, 3)


def test_settings_that_change_all_the_time_cost_no_memory(home: Home) -> None:
    lines = [line for line in home.write("read-only") if b'"turn_context"' in line]
    home.path.write_bytes(b"".join(lines[0].replace(b"gpt-6.1-sol", b"m%d" % n) for n in range(500)))
    session = home.session()
    session.end(THREAD, home.env)
    assert len(session.contexts) == 32
