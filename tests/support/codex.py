"""The real Codex that tests run: the binary of the PyPI package, or the one that TEST_CODEX names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.repo import Repo

__all__ = ["OTHER", "codex_path", "find_codex"]

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
