"""Where tests get the trust from that a start asks for: a developer's own folder, or a digest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runner.config.compile import compile_settings
from runner.config.find import find
from runner.config.snapshot import config_from_json
from runner.model import Config
from runner.state import trust
from runner.usecases.trust import VARIABLE, demanded, refusal


def trust_folder(root: Path | str, env: Mapping[str, str]) -> None:
    """As `runner trust --folder` of the user of this environment."""
    trust.give(str(root), env, "", None, ())


def require_trust(config: Config, env: Mapping[str, str]) -> None:
    """As a start without a terminal: NotTrusted, with what it is about, unless it is trusted."""
    found = demanded(config, env)
    if found.by is None:
        raise refusal(found, env)


def trusting(root: Path | str) -> dict[str, str | None]:
    """The variable that trusts the settings which lie there now, for a user whose home can keep nothing."""
    places = find(str(root), None, {"HOME": "/nonexistent"}, "/nonexistent/policy.toml")
    config = compile_settings(places, {}, ()).config
    assert config is not None
    return {VARIABLE: demanded(config_from_json(config), {"HOME": "/nonexistent"}).digest}


def withdraw_trust(root: Path | str, env: Mapping[str, str]) -> None:
    """The repository is one that nobody has trusted."""
    trust.withdraw(str(root), env, [""])
