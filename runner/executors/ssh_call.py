"""Asks hosts by the user's own `ssh`, all at once and with a bound. Edge: processes.

Requests and answers are files in memory: a connection that the user's settings keep open for later ones would
keep a pipe open, too. What `ssh` and a login print besides the answer is only shown.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time

from runner.disk.programs import outside_work_trees
from runner.executors.ssh_host import STATE
from runner.text.terminal import clean_terminal
from runner.value import json_bytes, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_SERVE = "import sys; sys.path.insert(0, sys.argv[1]); from runner.executors.ssh_host import serve; serve()"
_OPTIONS = ("BatchMode=yes", "ConnectTimeout=5", "ClearAllForwardings=yes", "RemoteCommand=none")
_WITHIN_S = 20.0
_LARGEST = 8 << 20


class Unreachable(str):
    """Why a host did not answer."""


def argv(host: str) -> tuple[str, ...]:
    """What is executed to ask a host: the keys of hosts, and all else, are as the user's settings say."""
    options = [word for option in _OPTIONS for word in ("-o", option)]
    there = shlex.join((sys.executable, "-I", "-S", "-c", _SERVE, _PACKAGE))
    return (
        "ssh",
        "-T",
        "-a",
        "-x",
        *options,
        "--",
        f"ssh://{host}" if ":" in host else host,
        f"exec {there}",
    )


def call(requests: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any] | Unreachable]:
    """What each host answers to its request."""
    calls = {host: _Call(host, request) for host, request in requests.items()}
    deadline = time.monotonic() + _WITHIN_S
    return {host: call.answer(deadline) for host, call in calls.items()}


class _Call:
    """One host that is asked."""

    def __init__(self, host: str, request: Mapping[str, Any]) -> None:
        self._token, self._process = os.urandom(16).hex(), None
        state = {name: os.environ[name] for name in STATE if name in os.environ}
        asked, self._out, self._err = (os.memfd_create("ssh", os.MFD_CLOEXEC) for _ in range(3))
        os.write(asked, json_bytes({**request, "token": self._token, "env": state}))
        os.lseek(asked, 0, os.SEEK_SET)
        name, *rest = argv(host)
        if (program := outside_work_trees(name, os.environ)) is not None:
            self._process = subprocess.Popen(
                (program, *rest), stdin=asked, stdout=self._out, stderr=self._err, start_new_session=True
            )
        os.close(asked)

    def answer(self, deadline: float) -> dict[str, Any] | Unreachable:
        """It is ended if it has not answered by then."""
        try:
            how = self._wait(deadline)
            for line in os.pread(self._out, _LARGEST, 0).split(b"\n"):
                token, _, told = line.partition(b" ")
                if token == self._token.encode() and isinstance(found := _json(told), dict):
                    return found
            said = clean_terminal(os.pread(self._err, 65536, 0).decode(errors="replace")).split("\n")
            last = next((line.strip() for line in reversed(said) if line.strip()), "")
            return Unreachable(f"{how}: {last[:300]}" if last else how)
        finally:
            os.close(self._out)
            os.close(self._err)

    def _wait(self, deadline: float) -> str:
        """How it ended."""
        if self._process is None:
            return "there is no `ssh` here"
        while time.monotonic() < deadline and os.fstat(self._out).st_size < _LARGEST:
            try:
                return f"ssh ended with {self._process.wait(0.25)}"
            except subprocess.TimeoutExpired:
                continue
        self._process.kill()
        self._process.wait()
        return "no answer in time"


def _json(told: bytes) -> Any:
    try:
        return json_value(told)
    except ValueError:
        return None
