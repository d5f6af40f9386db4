"""Tests with the real Codex: a repository, a CODEX_HOME of its own, and nothing alive afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.leftovers import assert_nothing_left
from support.repo import Repo


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert_nothing_left(tmp_path)


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """No `codex` on PATH: the binary of the PyPI package is found."""
    pytest.importorskip("codex_cli_bin")
    return Repo(tmp_path)
