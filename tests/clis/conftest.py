"""Tests with agent CLIs from npm: `make test-clis` installs them into .clis and runs these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.clis import AGENTS, CLIS, Stage
from support.fixtures import nothing_left, repo
from support.hosts import Claude, Codex, Host
from support.repo import Repo

from runner.rehearsal.turns import Turn

__all__ = ["nothing_left", "repo"]


@pytest.fixture(autouse=True, scope="session")
def clis_are_installed() -> None:
    missing = [agent for agent in AGENTS if not (CLIS / agent).exists()]
    assert not missing, f"no {' and no '.join(missing)} in {CLIS}; `make test-clis` installs them"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[[str, str], Stage]]:
    """Sets a stage for an agent and a script."""
    stages: list[Stage] = []

    def set_up(agent: str, script: str) -> Stage:
        stages.append(Stage(agent, tmp_path / f"stage-{len(stages)}", script))
        return stages[-1]

    yield set_up
    for one in stages:
        one.close()


@pytest.fixture
def hosts(repo: Repo) -> Iterator[Callable[..., Host]]:
    """Opens a host by its name, with the turns of its model; `Host` says with what else."""
    opened: list[Host] = []

    def open_one(name: str, *turns: Turn, **more: Any) -> Host:
        kind = {"claude": Claude, "codex": Codex}[name]
        opened.append(kind(repo, *turns, **more))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()
