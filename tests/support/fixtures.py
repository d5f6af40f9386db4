"""What tests with real processes share; each folder's conftest.py takes what it needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.leftovers import assert_nothing_left
from support.repo import Repo

__all__ = ["made", "nothing_left", "repo"]


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert_nothing_left(tmp_path)


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    return made(tmp_path, monkeypatch)


def made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """What this process writes there is signed with the key of the commands."""
    repo = Repo(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(repo.home / ".local/state"))
    return repo
