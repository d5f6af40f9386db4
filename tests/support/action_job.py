"""A job in which the action is used: a repository, an empty home, few variables, and who asks for it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.action_service import Job, Played, Service, collaborators
from support.codex import OTHER
from support.repo import RUNNER, Repo
from support.trusting import trusting

__all__ = ["ACTION", "INSTALLED", "Scene", "scene"]

ACTION = Path(__file__).parents[2]
INSTALLED = {"install": {"program": str(RUNNER)}}
"""The step that installs has been carried out: these tests run in its place of installation."""


@dataclass
class Scene:
    """`env` is what the workflow gives to the action; without a value there is no such variable."""

    repo: Repo
    url: str
    asked: list[tuple[str, str | None]]
    env: dict[str, str] = field(default_factory=dict)
    event: dict[str, Any] = field(default_factory=dict)
    name: str = "push"
    actor: str = "ann"

    def job(self, cancel: Callable[[], bool] = lambda: False, **more: Any) -> Job:
        base = self.repo.base
        places = {name: base / name for name in ("empty", "temp")}
        for place in places.values():
            place.mkdir(exist_ok=True)
        (base / "event.json").write_text(json.dumps(self.event))
        path = [*([str(Path(OTHER).parent)] if OTHER else []), "/usr/local/bin", "/usr/bin", "/bin"]
        env = {
            "HOME": str(places["empty"]),
            "PATH": ":".join(path),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": self.actor,
            "GITHUB_API_URL": self.url,
            "GITHUB_EVENT_NAME": self.name,
            "GITHUB_EVENT_PATH": str(base / "event.json"),
            "GITHUB_REPOSITORY": "owner/project",
            "RUNNER_ENVIRONMENT": "self-hosted",
            "RUNNER_OS": "Linux",
            **self.env,
        }
        return Job(self.repo.root, places["temp"], env, cancel=cancel, **{"given": INSTALLED, **more})

    def use(self, cancel: Callable[[], bool] = lambda: False, **inputs: str) -> Played:
        return Service(ACTION).use(self.job(cancel), **inputs)

    def trust(self) -> None:
        """As the settings lie there."""
        self.env |= {name: value for name, value in trusting(self.repo.root).items() if value is not None}


@contextlib.contextmanager
def scene(repo: Repo, permissions: Mapping[str, str | int] | None = None) -> Iterator[Scene]:
    with collaborators(permissions or {"ann": "write"}) as (url, asked):
        yield Scene(repo, url, asked)
