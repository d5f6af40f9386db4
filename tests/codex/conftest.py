"""Tests with the real Codex, the binary of the PyPI package: none is on PATH."""

import pytest
from support.fixtures import nothing_left, repo

__all__ = ["nothing_left", "repo"]


@pytest.fixture(autouse=True, scope="session")
def codex_is_installed() -> None:
    pytest.importorskip("codex_cli_bin")
