"""The file of a session's delegation mode: which ids it can have, who is believed, and what is broken."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import NoSession, Unwritable
from runner.hosts import mode as modes
from runner.hosts.mode import Broken, Mode
from runner.model import Identity

PLAIN = Mode(
    schema_version=1,
    repo="/repo",
    host="claude",
    session="s1",
    target="codex",
    task="build",
    runtime="codex",
    level="strict",
    since="2026-11-27T10:00:00.000Z",
)
NO_IDS = [
    "", " ", ".", "..", "../x", "a/b", "/etc/passwd", "a b", "a\nb", "a\0b", "-x", ".x", "a..b", "~",
    "x" * 129, "x" * 10_000, "s\u00e9ance", "\u0661", "a;b", "$(id)", "a%2fb", "a\\b", "\ud800",
]  # fmt: skip


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def file_of(env: dict[str, str], session: str = "s1") -> Path:
    return Path(env["HOME"], ".local/state/runner/hosts/claude", f"{session}.json")


def put(env: dict[str, str], **changes: Any) -> Path:
    """A mode as it is written, and then changed by somebody."""
    modes.write(PLAIN, env)
    path = file_of(env)
    if changes:
        path.write_text(json.dumps({**PLAIN.to_json(), **changes}))
    return path


# -- ids ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("session", NO_IDS, ids=ascii)
def test_what_could_be_an_option_or_a_path_is_no_id_of_a_session(session: str, env: dict[str, str]) -> None:
    assert not modes.is_session(session)
    for call in (modes.read, modes.end, modes.place):
        with pytest.raises(NoSession):
            call("claude", session, env)
    with pytest.raises(NoSession):
        modes.write(PLAIN.replace(session=session), env)
    assert list(Path(env["HOME"]).iterdir()) == []


@pytest.mark.parametrize("session", ["x", "X" * 128, "0b5e8a62-7c1c-4f6e-9a51-2f1de0a3c8b7", "a.b_c-d", "1"])
def test_an_id_of_a_host_is_one(session: str, env: dict[str, str]) -> None:
    mode = PLAIN.replace(session=session)
    modes.write(mode, env)
    assert modes.read("claude", session, env) == mode


@given(st.text(max_size=140))
def test_whatever_is_an_id_is_one_name_in_the_folder_of_its_host(session: str) -> None:
    if modes.is_session(session):
        path = modes.place("codex", session, {"HOME": "/home/me"})
        assert os.path.normpath(path) == path
        assert os.path.dirname(path) == "/home/me/.local/state/runner/hosts/codex"
        assert os.path.basename(path).isascii() and not os.path.basename(path).startswith((".", "-"))


@pytest.mark.parametrize("host", ["", "kay", "../claude", "claude/", "Claude"])
def test_no_other_program_is_a_host(host: str, env: dict[str, str]) -> None:
    with pytest.raises(NoSession):
        modes.place(host, "s1", env)


@pytest.mark.parametrize(
    ("around", "found"),
    [
        ({}, None),
        ({"CLAUDE_CODE_SESSION_ID": "a"}, ("claude", "a")),
        ({"CODEX_THREAD_ID": "t"}, ("codex", "t")),
        ({"CODEX_THREAD_ID": "sub", "CODEX_SESSION_ID": "root"}, ("codex", "root")),
        ({"CODEX_SESSION_ID": "", "CODEX_THREAD_ID": "t"}, ("codex", "t")),
        ({"CLAUDE_CODE_SESSION_ID": ""}, None),
    ],
)
def test_a_host_tells_what_it_starts_in_which_session_it_is(
    around: dict[str, str], found: tuple[str, str] | None
) -> None:
    assert modes.session_here(around) == found


def test_inside_of_both_hosts_nobody_guesses() -> None:
    with pytest.raises(NoSession, match="inside of"):
        modes.session_here({"CLAUDE_CODE_SESSION_ID": "a", "CODEX_SESSION_ID": "b"})


@pytest.mark.parametrize("number", ["", "x", "-1", "1.5", "\u0661", "9" * 5000, " 1"])
def test_what_is_no_number_names_no_process(number: str) -> None:
    assert modes.pid_of("claude", {"CLAUDE_PID": number}) is None


def test_only_the_host_that_names_its_process_has_one() -> None:
    assert modes.pid_of("claude", {"CLAUDE_PID": "12"}) == 12
    assert modes.pid_of("codex", {"CLAUDE_PID": "12"}) is None


# -- reading and writing -----------------------------------------------------------------------------


def test_a_mode_is_read_as_it_was_written_and_nobody_else_can_read_it(env: dict[str, str]) -> None:
    mode = PLAIN.replace(
        words=("--set", "runtimes.kay.provider=xiaomi"),
        verify=(("make", "test"),),
        by=Identity("h", "b", 1, 2, None),
        repo="/caf\udce9",
    )
    before = os.umask(0)
    modes.write(mode, env)
    os.umask(before)
    path = file_of(env)
    assert modes.read("claude", "s1", env) == mode
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [one.name for one in path.parent.iterdir()] == ["s1.json"]


def test_a_mode_takes_the_place_of_the_former_one_and_there_is_always_one(env: dict[str, str]) -> None:
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            found = modes.read("claude", "s1", env)
            seen.add(found.runtime if isinstance(found, Mode) else str(found))

    modes.write(PLAIN, env)
    reader = threading.Thread(target=look)
    reader.start()
    for n in range(200):
        modes.write(PLAIN.replace(runtime=("codex", "kay")[n % 2]), env)
    over.set()
    reader.join()
    assert seen <= {"codex", "kay"}


def test_two_sessions_have_two_modes(env: dict[str, str]) -> None:
    other = PLAIN.replace(session="s2", runtime="kay")
    same = PLAIN.replace(host="codex", runtime="gemini")
    for mode in (PLAIN, other, same):
        modes.write(mode, env)
    assert modes.every(env) == [PLAIN, other, same]
    assert modes.end("claude", "s1", env) and not modes.end("claude", "s1", env)
    assert modes.every(env) == [other, same]


def test_without_a_file_there_is_no_mode_and_no_folder_is_made(env: dict[str, str]) -> None:
    assert modes.read("claude", "s1", env) is None
    assert (modes.every(env), modes.end("codex", "s1", env)) == ([], False)
    assert list(Path(env["HOME"]).iterdir()) == []


@pytest.mark.parametrize("state", ["", "relative", "./x"])
def test_a_state_folder_that_is_no_absolute_path_is_that_of_the_home(state: str, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "XDG_STATE_HOME": state}
    modes.write(PLAIN, env)
    assert file_of(env).exists()


def test_a_folder_where_no_file_can_be_is_told(env: dict[str, str]) -> None:
    Path(env["HOME"], ".local").write_text("x")
    assert modes.read("claude", "s1", env) is None
    with pytest.raises(Unwritable):
        modes.write(PLAIN, env)


# -- what is no mode ---------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["elsewhere.json", "nowhere.json", "s1.json"])
def test_a_link_is_no_mode_and_is_written_over_not_through(to: str, env: dict[str, str]) -> None:
    path = put(env)
    there = path.parent / "elsewhere.json"
    path.rename(there)
    path.symlink_to(to)
    before = there.read_bytes()
    assert modes.read("claude", "s1", env) is None
    modes.write(PLAIN.replace(runtime="kay"), env)
    assert not path.is_symlink() and there.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("content", ["{}", ""])
def test_the_file_of_another_user_has_no_effect(content: str, env: dict[str, str]) -> None:
    path = put(env)
    if content:
        path.write_text(content)
    os.chown(path, 12345, 12345)
    assert modes.read("claude", "s1", env) is None
    assert modes.every(env) == []


@pytest.mark.parametrize("bits", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_broken(bits: int, env: dict[str, str]) -> None:
    put(env).chmod(bits)
    assert isinstance(modes.read("claude", "s1", env), Broken)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b"NaN", b'"x"', b"\xff\xfe", b"[" * 50_000, b'{"a": 1, "a": 2}', b"{}",
        b" " * 70_000,
    ],
    ids=lambda data: ascii(data[:12]),
)  # fmt: skip
def test_what_is_no_mode_is_broken_and_can_be_ended(data: bytes, env: dict[str, str]) -> None:
    put(env).write_bytes(data)
    found = modes.read("claude", "s1", env)
    assert isinstance(found, Broken) and found.why
    assert modes.every(env) == [found]
    assert modes.end("claude", "s1", env)
    assert modes.read("claude", "s1", env) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"session": "s2"}, {"host": "codex"}, {"schema_version": 2}, {"schema_version": 0}, {"level": "open"},
        {"level": ""}, {"program": []}, {"may_edit": "**"}, {"may_edit": [1]}, {"verify": [["a", 1]]},
        {"by": {"pid": 1}}, {"task": None}, {"repo": 1}, {"words": ["--model"]},
    ],
    ids=str,
)  # fmt: skip
def test_a_mode_that_says_anything_else_than_it_can_is_broken(
    changes: dict[str, Any], env: dict[str, str]
) -> None:
    put(env, **changes)
    assert isinstance(modes.read("claude", "s1", env), Broken)


def test_what_a_newer_runner_adds_does_not_break_a_mode(env: dict[str, str]) -> None:
    put(env, later=[1])
    assert modes.read("claude", "s1", env) == PLAIN


def test_a_fifo_and_a_folder_are_broken_and_nobody_waits_for_them(env: dict[str, str]) -> None:
    path = put(env)
    path.unlink()
    os.mkfifo(path)
    assert isinstance(modes.read("claude", "s1", env), Broken)
    path.unlink()
    path.mkdir()
    assert isinstance(modes.read("claude", "s1", env), Broken)
    with pytest.raises(Unwritable):
        modes.end("claude", "s1", env)


def test_a_file_with_another_name_in_its_folder_is_no_mode(env: dict[str, str]) -> None:
    path = put(env)
    for name in (".s1.json.x.tmp", "a b.json", "..json", "note.txt"):
        (path.parent / name).write_bytes(path.read_bytes())
    assert modes.every(env) == [PLAIN]
