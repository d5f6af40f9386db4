"""The real Codex that tests run: the binary of the PyPI package, or the one that TEST_CODEX names."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.repo import Repo

__all__ = ["OTHER", "asked", "codex_path", "find_codex"]

OTHER = os.environ.get("TEST_CODEX")


def codex_path() -> Path:
    if OTHER is not None:
        return Path(OTHER)
    return Path(pytest.importorskip("codex_cli_bin").bundled_codex_path())


def find_codex(repo: Repo) -> None:
    """Has runs of this repository find it: behind what a test itself puts on PATH."""
    if OTHER is not None:
        own, _, rest = repo.env["PATH"].partition(":")
        repo.env["PATH"] = f"{own}:{codex_path().parent}:{rest}"


def asked(env: Mapping[str, str], folder: Path, method: str, *, program: str = "", **params: Any) -> Any:
    """What the app-server of Codex answers."""
    hello = {"id": 0, "method": "initialize", "params": {"clientInfo": {"name": "test", "version": "1"}}}
    lines = (hello, {"method": "initialized"}, {"id": 1, "method": method, "params": params})
    with subprocess.Popen(
        [program or codex_path(), "app-server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=env,
        cwd=folder,
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        server.stdin.flush()
        answers = map(json.loads, server.stdout)
        found = next(answer for answer in answers if answer.get("id") == 1)
        server.kill()
    return found["result"]
