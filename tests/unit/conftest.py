"""What several unit tests need: a repository with settings, on disk and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.config import load
from runner.config.commands import CheckReport, check, show
from runner.model import Config


class SettingsRepo:
    """A folder that looks like a git repository, with a home and an /etc of its own."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repo"
        self.home = folder / "home"
        self.system_policy = folder / "etc" / "policy.toml"
        (self.root / ".git").mkdir(parents=True)
        (self.root / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        self.home.mkdir()
        self.env = {"HOME": str(self.home)}

    @property
    def file(self) -> Path:
        return self.root / "delegate.toml"

    @property
    def user_folder(self) -> Path:
        return self.home / ".config" / "runner"

    @property
    def cache(self) -> Path:
        return self.home / ".cache" / "runner" / "config"

    def write(self, text: str, path: Path | None = None) -> None:
        path = path or self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def check(self, **more: object) -> CheckReport:
        options = {"system_policy": str(self.system_policy)} | more
        return check(str(self.root), self.env, **options)

    def show(self, **more: object) -> dict:
        options = {"system_policy": str(self.system_policy)} | more
        return show(str(self.root), self.env, **options)

    def problems(self, text: str, **more: object) -> list[str]:
        """What `check` says about `text` as the delegate.toml."""
        self.write(text)
        return [str(problem) for problem in self.check(**more).problems]

    def load(self, **more: object) -> Config:
        options = {"system_policy": str(self.system_policy)} | more
        return load(str(self.root), env=self.env, **options)


@pytest.fixture
def repo(tmp_path: Path) -> SettingsRepo:
    return SettingsRepo(tmp_path)
