"""Settings: `load` gives the effective `Config` of a repository. Edge: a process, when an input changed.

Reading and validating TOML costs 16 empty interpreters, so a separate process does it, and only when an input
changed. This half uses the standard library only, and compares the inputs with those of the last time.
"""

from __future__ import annotations

import os
import time

from runner.config.find import SYSTEM_POLICY, ConfigFiles, find, refuse_committed, setting_names
from runner.config.policy import narrow
from runner.config.snapshot import cache_path, config_from_json, is_fresh, key, read, settles, write
from runner.disk.interpreter import command
from runner.errors import ConfigInvalid
from runner.lightjson import dumps, loads
from runner.model import Delegate, Economics, Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runner.model import Config

COMPILE_TIMEOUT_S = 60.0


def load(
    start_dir: str,
    *,
    config_file: str | None = None,
    env: Mapping[str, str],
    sets: Sequence[str] = (),
    system_policy: str = SYSTEM_POLICY,
) -> Config:
    """The effective settings for `start_dir`; ConfigInvalid lists every problem there is.

    `env` is the whole environment; only `RUNNER_*` settings, HOME and the XDG folders are looked
    at.
    """
    places = find(start_dir, config_file, env, system_policy)
    return _load(places, env, sets).replace(files=places.files())


def for_plans(
    start_dir: str,
    *,
    config_file: str | None = None,
    env: Mapping[str, str],
    sets: Sequence[str] = (),
    system_policy: str = SYSTEM_POLICY,
) -> tuple[Delegate, Economics]:
    """The two tables that planning asks for. As `load`, but there need not be a delegate.toml: a plan can be
    looked at anywhere, and where no layer says anything the defaults hold without anything being read.
    """
    places = find(start_dir, config_file, env, system_policy, required=False)
    files = (places.user, places.project, places.local)
    if not (sets or setting_names(env) or any(map(os.path.lexists, files))):
        return Delegate(), Economics()
    config = _load(places, env, sets)
    return config.delegate, config.economics


def narrowed_now(then: Policy, start_dir: str, env: Mapping[str, str]) -> Policy:
    """A policy of before, narrowed by what holds today. What else the settings of `start_dir` say by now does
    not matter. ConfigInvalid where a policy cannot be read.
    """
    places = find(start_dir, None, env, SYSTEM_POLICY, required=False)
    if not any(map(os.path.lexists, (places.user_policy, places.system_policy))):
        return then
    none = f"{places.user_policy}.none"
    bare = _alone(places.replace(project=none, local=none, user=none, required=False))
    return narrow([then, Policy.from_json(bare["policy"])])


def committed(start_dir: str, config_file: str | None, env: Mapping[str, str]) -> Config:
    """What the delegate.toml of a repository says without any other layer, so the same in every clone; its
    policy is what holds here. ConfigInvalid where it needs another layer.
    """
    places = find(start_dir, config_file, env, SYSTEM_POLICY)
    refuse_committed(places)
    none, hint = (
        f"{places.user_policy}.none",
        "what is committed has to be whole without settings of your own",
    )
    bare = _alone(places.replace(local=none, user=none), hint)
    return config_from_json(bare).replace(files=places.files())


def _alone(places: ConfigFiles, hint: str | None = None) -> dict[str, Any]:
    """The settings of these files without variables and options; they are not kept."""
    data = loads(_compile(places, key(places, {}, ())))
    if "error" in data:
        raise _invalid(data["error"] | ({"hint": hint} if hint else {}))
    found: dict[str, Any] = data["config"]
    return found


def _load(places: ConfigFiles, env: Mapping[str, str], sets: Sequence[str]) -> Config:
    refuse_committed(places)
    path = cache_path(places, env)
    expected = key(places, setting_names(env), sets)
    if path is not None:
        snapshot = read(path)
        config = None if snapshot is None else _reuse(path, snapshot, expected)
        if config is not None:
            return config
    text = _compile(places, expected)
    data = loads(text)
    if "error" in data:
        raise _invalid(data["error"])
    if path is not None:
        write(path, text)
    return config_from_json(data["config"])


def _invalid(error: Mapping[str, Any]) -> ConfigInvalid:
    return ConfigInvalid(error["message"], hint=error["hint"], problems=error["problems"])


def _reuse(path: str, snapshot: Mapping[str, Any], expected: Mapping[str, Any]) -> Config | None:
    """The settings of a snapshot that is still true. Damaged, or of another version, it is not."""
    now = time.time_ns()
    try:
        if not is_fresh(snapshot, expected):
            return None
        if settles(snapshot, now):
            write(path, dumps({**snapshot, "written_ns": now}))
        return config_from_json(snapshot["config"])
    except (AttributeError, LookupError, TypeError, ValueError, OSError):
        return None


def _compile(places: ConfigFiles, expected: Mapping[str, Any]) -> str:
    import subprocess

    main = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
    done = subprocess.run(
        command(main),
        input=dumps({"places": places.to_json(), "key": expected}),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=COMPILE_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"reading the configuration failed: {done.stderr.strip()[-2000:]}")
    return done.stdout
