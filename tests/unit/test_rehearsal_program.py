"""`python -m runner.rehearsal` as a process: its socket, its end with the run, and its signals."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import runner.rehearsal
from runner.rehearsal.lifetime import GONE_FOR_S, NAMED_WITHIN_S, Lifetime

PROGRAM = Path(runner.rehearsal.__file__).with_name("__main__.py")
AS_FILE = [sys.executable, "-I", str(PROGRAM)]
BOUND_S = 10.0


class Programs:
    """Starts rehearsal servers and ends what is left of them."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *options: object, fds: tuple[int, ...] = ()) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*AS_FILE, *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=fds,
            cwd="/",
        )
        self.started.append(process)
        return process


@pytest.fixture
def programs() -> Iterator[Programs]:
    programs = Programs()
    yield programs
    for process in programs.started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=BOUND_S)


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(json.loads(process.stdout.readline())["port"])


def ask(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=BOUND_S)
    connection.request("POST", "/v1/responses", b'{"input": []}')
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit status and what was still to be read on stdout and stderr."""
    out, err = process.communicate(timeout=BOUND_S)
    return process.returncode, out, err


def identity(pid: int) -> dict[str, object]:
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"host": os.uname().nodename, "boot_id": boot_id, "pid": pid, "start_time": int(stat[19])}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "manifest.json"
    path.parent.mkdir()
    write(path, phase="starting", process=None)
    return path


def write(path: Path, **fields: object) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(fields))
    draft.replace(path)


def test_without_a_socket_it_prints_its_port_and_serves_the_default_script(
    programs: Programs,
) -> None:
    process = programs.start("--task", "hello")
    assert "Rehearsal of task `hello`: no model was asked." in ask(port_of(process))
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (0, "", "")


def test_it_runs_as_a_module_too(programs: Programs) -> None:
    root = PROGRAM.parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "runner.rehearsal", "--help"],
        cwd=root,
        capture_output=True,
        timeout=BOUND_S,
    )
    assert done.returncode == 0
    assert b"--listen-fd" in done.stdout


def test_an_inherited_socket_is_served_and_nothing_is_printed(programs: Programs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = programs.start("--listen-fd", listener.fileno(), fds=(listener.fileno(),))
        port = listener.getsockname()[1]
    assert "no model was asked" in ask(port)
    process.terminate()
    assert ended(process) == (0, "", "")


def test_requests_that_came_before_it_started_are_answered(programs: Programs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        early = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=BOUND_S)
        early.request("GET", "/v1/models")
        programs.start("--listen-fd", listener.fileno(), fds=(listener.fileno(),))
    assert early.getresponse().status == 200
    early.close()


def test_a_descriptor_that_is_no_listening_socket_is_refused(programs: Programs) -> None:
    with socket.socket() as idle:
        process = programs.start("--listen-fd", idle.fileno(), fds=(idle.fileno(),))
        status, out, err = ended(process)
    assert (status, out) == (2, "")
    assert "is not a listening socket" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_even_while_a_client_waits(
    programs: Programs, tmp_path: Path, number: signal.Signals
) -> None:
    script = tmp_path / "hang.toml"
    script.write_text("schema_version = 1\n[[turns]]\nhang = true\n")
    process = programs.start("--script", script)
    with socket.create_connection(("127.0.0.1", port_of(process)), timeout=BOUND_S) as client:
        client.sendall(b"POST /v1/responses HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        begin = time.monotonic()
        process.send_signal(number)
        assert ended(process) == (0, "", "")
        assert time.monotonic() - begin < 2


def test_a_wrong_script_is_refused_with_all_its_problems(programs: Programs, tmp_path: Path) -> None:
    script = tmp_path / "bad.toml"
    script.write_text("schema_version = 1\n[[turns]]\nmesage = 'x'\n[[turns]]\nrepeat = 1\n")
    status, out, err = ended(programs.start("--script", script))
    assert (status, out) == (2, "")
    assert err.count(str(script)) == 4


def test_it_ends_when_the_run_is_done(programs: Programs, manifest: Path) -> None:
    write(manifest, phase="running", process=identity(os.getpid()))
    process = programs.start("--manifest", manifest)
    assert "no model was asked" in ask(port_of(process))
    write(manifest, phase="done", process=identity(os.getpid()))
    assert ended(process) == (0, "", "")


def test_it_ends_when_the_folder_of_the_run_is_gone(programs: Programs, manifest: Path) -> None:
    process = programs.start("--manifest", manifest)
    port_of(process)
    manifest.unlink()
    manifest.parent.rmdir()
    assert ended(process) == (0, "", "")


def test_it_keeps_a_private_log(programs: Programs, tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    process = programs.start("--log", log, "--log-bodies")
    ask(port_of(process))
    (line,) = log.read_text().splitlines()
    assert json.loads(line)["body"] == {"input": []}
    assert log.stat().st_mode & 0o777 == 0o600


def over_at(life: Lifetime, *times: float) -> list[bool]:
    return [life.is_over(now) for now in times]


def test_a_run_that_names_no_process_is_given_up_after_a_minute(manifest: Path) -> None:
    life = Lifetime(manifest, now=100)
    assert over_at(life, 100, 99 + NAMED_WITHIN_S, 100 + NAMED_WITHIN_S) == [False, False, True]


def test_a_live_process_keeps_it_alive_and_a_dead_one_for_seconds_only(manifest: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        write(manifest, phase="running", process=identity(child.pid))
        life = Lifetime(manifest, now=0)
        assert over_at(life, 0, 1000, 2000) == [False] * 3
    assert over_at(life, 1999 + GONE_FOR_S, 2000 + GONE_FOR_S) == [False, True]


def test_a_zombie_is_dead(manifest: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    write(manifest, phase="running", process=identity(child.pid))
    life = Lifetime(manifest, now=0)
    assert over_at(life, 0, GONE_FOR_S) == [False, True]
    child.wait()


@pytest.mark.parametrize(
    "other", [{"start_time": 1}, {"boot_id": "another boot"}, {"pid": "x"}, {"pid": None}]
)
def test_another_process_with_the_same_pid_is_not_taken_for_it(
    manifest: Path, other: dict[str, object]
) -> None:
    write(manifest, phase="running", process=identity(os.getpid()) | other)
    assert over_at(Lifetime(manifest, now=0), 0, GONE_FOR_S) == [False, True]


def test_between_two_attempts_the_supervisor_keeps_it_alive(manifest: Path) -> None:
    gone = identity(os.getpid()) | {"start_time": 1}
    write(manifest, phase="verifying", process=gone, supervisor=identity(os.getpid()))
    life = Lifetime(manifest, now=0)
    assert over_at(life, 0, 1000) == [False, False]
    write(manifest, phase="running", process=gone, supervisor=identity(os.getpid()))
    assert over_at(life, 1000 + GONE_FOR_S) == [True]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_manifest_that_cannot_be_read_for_a_moment_is_no_end(manifest: Path, content: bytes) -> None:
    manifest.write_bytes(content)
    assert not Lifetime(manifest, now=0).is_over(1)


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_something_else_in_place_of_the_manifest_neither_ends_it_nor_holds_it_up(
    manifest: Path, put: Callable[[Path], None]
) -> None:
    manifest.unlink(missing_ok=True)
    put(manifest)
    assert not Lifetime(manifest, now=0).is_over(1)
