"""One verify command: what it may do to us and what it may not. Real processes, no run."""

from __future__ import annotations

import errno
import os
import resource
import shlex
import signal
from pathlib import Path

import pytest
from support.processes import look
from support.waiting import wait_until

from runner.model import Outcome
from runner.verify.checks import Check, CheckCommand, judge, run_check


def ran(
    folder: Path, *argv: str, timeout_s: float = 20, max_log: int = 1 << 20, cancelled: bool = False
) -> Check:
    """A check whose bash script may leave its pid in `pid`, for us to end it as the supervisor would."""

    def sweep() -> None:
        pid = folder / "pid"
        if pid.exists():
            os.killpg(int(pid.read_text()), signal.SIGKILL)

    env = {"PATH": os.environ["PATH"]}
    command = CheckCommand(argv, str(folder), env, str(folder / "log"), timeout_s, max_log)
    return run_check(command, sweep=sweep, cancelled=lambda: cancelled)


def test_a_check_is_its_exit_status_and_the_end_of_its_output(tmp_path: Path) -> None:
    check = ran(tmp_path, "bash", "-c", "echo first; echo second >&2; exit 3")
    assert (check.exit_code, check.timed_out, check.passed) == (3, False, False)
    assert check.tail == "first\nsecond\n"
    assert check.how == "exited with 3"


@pytest.mark.parametrize("argv", [("no-such-check",), ("./missing",), ("a\0b",), ("",), ()])
def test_a_check_that_is_no_command_could_not_be_run(argv: tuple[str, ...], tmp_path: Path) -> None:
    check = ran(tmp_path, *argv)
    assert (check.exit_code, check.timed_out, check.how) == (None, False, "could not be run")
    assert check.tail and not check.is_cut


@pytest.mark.parametrize(
    ("argv", "typed"),
    [
        (("pytest", "-q", "tests/a.py::test_b"), "pytest -q tests/a.py::test_b"),
        (("sh", "-c", "cd web && npm test"), "sh -c 'cd web && npm test'"),
        (("pytest", "-k", "a or b"), "pytest -k 'a or b'"),
        (("grep", "", "it's"), """grep '' 'it'"'"'s'"""),
    ],
)
def test_a_check_is_named_as_somebody_would_type_it(argv: tuple[str, ...], typed: str) -> None:
    check = Check(argv, 1, False, 0.1, "")
    assert check.command == typed and shlex.split(check.command) == [*argv]


def test_a_limit_that_lets_no_check_be_started_is_no_failed_check(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(lowest := os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            ran(tmp_path, "true")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert ran(tmp_path, "true").passed


def test_of_a_check_that_is_cut_short_without_a_sweep_nothing_is_left(tmp_path: Path) -> None:
    script = "echo $$ > pid; sleep 600 & echo $! > child; wait"
    command = CheckCommand(("bash", "-c", script), str(tmp_path), {}, str(tmp_path / "log"), 60)
    check = run_check(command, cancelled=(tmp_path / "child").exists)
    assert (check.exit_code, check.timed_out) == (None, False)
    for name in ("pid", "child"):
        seen = look(int((tmp_path / name).read_text()))
        wait_until(lambda seen=seen: seen is None or not seen.is_still_there(), 10)


@pytest.mark.parametrize("path", [".", "", "bin", "./bin:"])
def test_a_check_is_no_program_of_a_relative_folder_nor_does_it_start_one(path: str, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "bin"):
        folder.mkdir(exist_ok=True)
        (folder / "pytest-of-agent").write_text("#!/bin/sh\ntouch ran\n")
        (folder / "pytest-of-agent").chmod(0o755)
    for argv in (("pytest-of-agent",), ("/bin/sh", "-c", "pytest-of-agent")):
        command = CheckCommand(argv, str(tmp_path), {"PATH": path}, str(tmp_path / "log"), 20)
        assert not run_check(command).passed
    assert not (tmp_path / "ran").exists()


def test_a_check_is_the_program_that_was_found_before_as_long_as_that_is_there(tmp_path: Path) -> None:
    early, late = tmp_path / "early", tmp_path / "late"
    for folder in (early, late):
        folder.mkdir()
        (folder / "tool").write_text(f"#!/bin/sh\necho {folder.name}\n")
        (folder / "tool").chmod(0o755)
    env = {"PATH": f"{early}:{late}"}

    def told(program: Path | None) -> str:
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        named = None if program is None else str(program)
        return run_check(CheckCommand(("tool",), str(tmp_path), env, str(log), 20, program=named)).tail

    assert told(late / "tool") == "late\n"
    assert told(tmp_path / "gone" / "tool") == told(None) == "early\n"


def test_a_check_that_writes_endlessly_fills_no_disk_and_is_ended_by_its_limit(tmp_path: Path) -> None:
    check = ran(tmp_path, "bash", "-c", "echo $$ > pid; exec yes flood", timeout_s=0.7)
    assert check.timed_out and not check.passed
    assert (tmp_path / "log").stat().st_size <= 1 << 20


def test_a_check_that_talks_much_and_passes_has_passed_and_its_log_keeps_both_ends(tmp_path: Path) -> None:
    cut = "until grep -aq 'were cut out' log; do sleep 0.01; done"  # what is written meanwhile may be lost
    text = f"echo the beginning; yes flood | head -c 9000000; {cut}; echo the end"
    check = ran(tmp_path, "bash", "-c", text)
    log = (tmp_path / "log").read_bytes()
    assert check.passed and check.tail.endswith("the end\n")
    assert log.startswith(b"the beginning\n") and log.endswith(b"the end\n")
    assert b"bytes were cut out here" in log and len(log) <= 1 << 20


def test_a_log_that_became_a_link_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"x" * 5000)
    ran(tmp_path, "bash", "-c", "rm log; ln -s precious log", max_log=1000)
    assert precious.stat().st_size == 5000


def test_a_log_that_became_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    assert ran(tmp_path, "true").how == "could not be run"


def test_a_check_is_cut_short_when_the_run_is_cancelled(tmp_path: Path) -> None:
    check = ran(tmp_path, "bash", "-c", "echo $$ > pid; exec sleep 300", cancelled=True)
    assert (check.exit_code, check.timed_out, check.is_cut) == (None, False, True)
    assert check.how.startswith("was ended with the run, after ")
    assert check.duration_s < 20


def test_output_that_is_no_text_is_shown_as_far_as_it_is(tmp_path: Path) -> None:
    check = ran(tmp_path, "bash", "-c", r"printf 'a\xffb\0c'")
    assert check.tail == "a\ufffdb\0c"


def test_the_first_check_that_did_not_pass_is_the_verdict() -> None:
    good, bad = Check(("true",), 0, False, 0.1, ""), Check(("pytest", "-q"), 1, False, 2.0, "1 failed")
    assert judge(()) is None and judge((good,)) is None
    verdict = judge((good, bad, Check(("x",), None, False, 0.0, "")))
    assert verdict is not None
    outcome, reason = verdict
    assert (outcome, reason.code, reason.detail) == (Outcome.REJECTED, "verify_failed", "1 failed")
    assert reason.message == "`pytest -q` exited with 1"


@pytest.mark.parametrize(("code", "told"), [(127, True), (1, False), (126, False), (None, False)])
def test_who_misses_a_program_hears_what_a_work_tree_of_its_own_lacks(code: int | None, told: bool) -> None:
    verdict = judge((Check(("npm", "test"), code, False, 0.1, "sh: 1: tape: not found"),))
    assert verdict is not None and verdict[1].hint is not None
    assert ("`prepare`" in verdict[1].hint) == told


def test_a_check_comes_back_from_its_event() -> None:
    check = Check(("pytest", "-q"), None, True, 600.0, "...")
    assert Check.from_json({"seq": 4, "type": "checked", **check.to_json()}) == check
