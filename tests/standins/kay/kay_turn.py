"""One turn of the stand-in's model: the events it causes, its shell commands, its faults.

Starts processes. Source of the event shapes: the documented contract of Kay 0.9.17 and 0.9.46.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from kay_behaviour import Behaviour, compose_answer
from kay_output import Printer
from kay_prompt import Prompt
from kay_settings import Settings
from kay_signals import Listener

__all__ = ["GRANDCHILD_FILE", "Turn", "TurnFailed"]

GRANDCHILD_FILE = "stand-in.grandchild"
MAX_LIFE_S = 900.0  # of a hanging run or a stubborn grandchild that a test forgot
REPEAT_PAUSE_S = 0.02
CHUNK_CHARS = 64 * 1024
BASELINE_TOKENS = 4000
_NEVER = threading.Event()
CONTEXT_WINDOW = 272000
CHARS_PER_TOKEN = 4
ANSI_TEXT = (
    "\x1b]0;owned title\x07\x1b[2J\x1b[31mred\x1b[0m "
    "\x1b]8;;https://example.invalid\x1b\\link\x1b]8;;\x1b\\ \x1b]52;c;aGVsbG8=\x07"
)
INVALID_UTF8 = b"\xff\xfe not UTF-8 \xc3\x28\n"


class TurnFailed(Exception):
    """The model could not be asked."""


class Turn:
    """Plays one prompt. `stop` ends what it started."""

    def __init__(
        self,
        printer: Printer,
        settings: Settings,
        behaviour: Behaviour,
        env: Mapping[str, str],
        listener: Listener,
    ) -> None:
        self._printer = printer
        self._settings = settings
        self._behaviour = behaviour
        self._env = env
        self._listener = listener
        self._shell: subprocess.Popen[bytes] | None = None

    def play(self, prompt: Prompt, *, api_key: str | None, earlier_messages: int) -> str | None:
        """The last message of the model. Raises TurnFailed."""
        self._printer.event("task_started")
        if api_key is None:
            name = self._settings.provider.env_key
            raise TurnFailed(f"Missing environment variable: `{name}`.")
        if prompt.auto:
            self._printer.raw(b"[auto] status: Working on the goal\n")
        behaviour = self._behaviour
        self._start_grandchild()
        for msg in behaviour.events:
            self._printer.message(msg)
        for number, command in enumerate(behaviour.shell, start=1):
            self._run_shell(f"call_{number}", command)
        self._misbehave(prompt, api_key)
        _NEVER.wait(behaviour.delay_s)
        if behaviour.hang:
            _NEVER.wait(MAX_LIFE_S)
        answer = compose_answer(behaviour, prompt.sent, earlier_messages=earlier_messages)
        if prompt.review:
            answer = f"No issues reported. {answer or ''}".strip()
        if answer is not None:
            answer = f"{answer} \x1b[1mbold\x1b[0m" if behaviour.ansi else answer
            self._printer.event("agent_message", message=answer)
        self._count_tokens(prompt.sent, answer or "")
        self._printer.event("task_complete", last_agent_message=answer)
        return answer

    def stop(self) -> None:
        """Kills a running shell command with its session; a stubborn grandchild survives."""
        shell, self._shell = self._shell, None
        if shell is None or shell.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()

    def _run_shell(self, call_id: str, command: str) -> None:
        argv = ["bash", "-lc", command]
        workdir = str(self._settings.workdir)
        self._printer.event("exec_command_begin", call_id=call_id, command=argv, cwd=workdir, parsed_cmd=[])
        started = time.monotonic_ns()
        with self._listener.held():
            self._shell = subprocess.Popen(
                argv,
                cwd=workdir,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env=dict(self._env),
            )
        stdout, stderr = self._shell.communicate()
        code, self._shell = self._shell.returncode, None
        seconds, nanos = divmod(time.monotonic_ns() - started, 1_000_000_000)
        self._printer.event(
            "exec_command_end",
            call_id=call_id,
            stdout=stdout.decode(errors="replace"),
            stderr=stderr.decode(errors="replace"),
            exit_code=code if code >= 0 else 128 - code,
            duration={"secs": seconds, "nanos": nanos},
        )

    def _misbehave(self, prompt: Prompt, api_key: str) -> None:
        behaviour = self._behaviour
        if behaviour.write_outside:
            path = self._settings.workdir / behaviour.write_outside
            path.write_text("written by the stand-in\n", encoding="utf-8")
        if behaviour.echo_status_in_prompt:
            quoted = [line for line in prompt.sent.splitlines() if "STATUS:" in line]
            text = "\n".join(quoted or ["STATUS: SUCCESS"])
            self._printer.event("agent_reasoning", text=f"The task says:\n{text}")
        if behaviour.ansi:
            self._printer.event("agent_reasoning", text=ANSI_TEXT)
            _to_stderr(ANSI_TEXT.encode() + b"\n")
        if behaviour.print_secret:
            self._printer.event("background_event", message=f"request: Bearer {api_key}")
            _to_stderr(f"request failed, key {api_key}, retrying\n".encode())
        if behaviour.invalid_utf8:
            self._printer.raw(INVALID_UTF8)
            _to_stderr(INVALID_UTF8)
        self._print_huge(behaviour.huge_output_bytes)
        self._repeat(behaviour.repeat_line, behaviour.repeat_times)

    def _print_huge(self, wanted: int) -> None:
        while wanted > 0:
            self._printer.event("background_event", message="x" * min(wanted, CHUNK_CHARS))
            wanted -= CHUNK_CHARS

    def _repeat(self, line: str, times: int) -> None:
        done = 0
        end = time.monotonic() + MAX_LIFE_S
        while line and (done < times or not times) and time.monotonic() < end:
            self._printer.event("background_event", message=line)
            done += 1
            if done != times:
                _NEVER.wait(REPEAT_PAUSE_S)

    def _start_grandchild(self) -> None:
        """Starts what ignores SIGTERM and SIGINT and holds stdout open; its id is in a file."""
        where = self._behaviour.stubborn_grandchild
        if not where:
            return
        pid_file = self._settings.home / GRANDCHILD_FILE
        script = f'trap "" TERM INT; sleep {MAX_LIFE_S:.0f} & echo $! >"$1.new"'
        subprocess.run(
            ["bash", "-c", script, "bash", str(pid_file)],
            stdin=subprocess.DEVNULL,
            start_new_session=where == "own-session",
            env=dict(self._env),
            check=True,
        )
        Path(f"{pid_file}.new").replace(pid_file)

    def _count_tokens(self, prompt: str, answer: str) -> None:
        usage = _usage(prompt, answer)
        self._printer.event(
            "token_count",
            info={
                "total_token_usage": usage,
                "last_token_usage": usage,
                "model_context_window": CONTEXT_WINDOW,
            },
            rate_limits=None,
        )


def _usage(prompt: str, answer: str) -> dict[str, int]:
    asked = BASELINE_TOKENS + len(prompt) // CHARS_PER_TOKEN
    said = 1 + len(answer) // CHARS_PER_TOKEN
    return {
        "input_tokens": asked,
        "cached_input_tokens": BASELINE_TOKENS // 2,
        "output_tokens": said,
        "reasoning_output_tokens": said // 2,
        "total_tokens": asked + said,
    }


def _to_stderr(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.buffer.flush()
