"""Tests with the real Codex; where none is named to them, none is on PATH."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import fixtures
from support.codex import codex_path, find_codex
from support.fixtures import nothing_left
from support.repo import Repo

__all__ = ["nothing_left"]


@pytest.fixture(autouse=True, scope="session")
def codex_is_installed() -> None:
    assert codex_path().is_file()


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    made = fixtures.made(tmp_path, monkeypatch)
    find_codex(made)
    return made


@pytest.fixture
def over(repo: Repo) -> Iterator[None]:
    """A pipeline that waits for a person does not outlive its test."""
    yield
    repo.end_all()
