"""USE CASE: the plugin in a host: what is there, what installs it. Edge: disk, asks the host."""

from __future__ import annotations

import os
import shlex

from runner.config.find import shipped
from runner.disk import home, interpreter, programs
from runner.errors import Conflict, PluginFailed, RuntimeMissing
from runner.hosts import mode, plugin
from runner.hosts.ways import ID, NAME, WAYS
from runner.runtimes import get, locate
from runner.runtimes.endings import essence
from runner.runtimes.shortrun import run
from runner.usecases import surface
from runner.value import Value, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

ASK_S = 20.0
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_MARKET = ("plugin", "marketplace")


class Plugged(Value):
    """What a host says. `folder` is where it reads the plugin from, and None if it has none; `market` is
    where the marketplace of our name lies.
    """

    program: str
    market: str | None
    folder: str | None
    version: str | None = None
    is_enabled: bool = False
    problems: tuple[str, ...] = ()


def ours() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The commands of this runner and of its hook, wherever they are started."""
    return interpreter.command(f"{_PACKAGE}/__main__.py"), interpreter.command(
        f"{_PACKAGE}/hosts/__main__.py"
    )


def wanted() -> dict[str, bytes]:
    """The files of the plugin, with these commands."""
    return plugin.made(shipped("plugins/runner"), [shipped(name) for name in plugin.MARKETS], *ours())


def place(host: str, env: Mapping[str, str]) -> str:
    return plugin.place(host, env)


def write(host: str, env: Mapping[str, str]) -> None:
    plugin.write(host, wanted(), env)


def remove(host: str, env: Mapping[str, str]) -> bool:
    """Whether there were files; the modes of the host end, too: without its hook none holds anything."""
    for one in mode.every(env):
        if one.host == host:
            mode.end(host, one.session, env)
    surface.tidy(env)
    return plugin.remove(host, env)


def seen(host: str, env: Mapping[str, str], cwd: str = "/") -> Plugged:
    """RuntimeMissing without the host; PluginFailed where it does not answer."""
    found, env = _program(host, env), {**env, "PATH": programs.work_trees_last(env, os.getcwd())}
    markets = _rows((found, *_MARKET, "list", "--json"), "marketplaces", env, cwd)
    named = next((one for one in markets if one.get("name") == NAME), {})
    source = named.get("path") or named.get("root") or named.get("repo") or named.get("installLocation")
    market = str(source or "an unknown place") if named else None
    listed = _rows((found, "plugin", "list", "--json"), "installed", env, cwd)
    row = next((one for one in listed if ID in (one.get("id"), one.get("pluginId"))), None)
    if row is None:
        return Plugged(found, market, None)
    version, folder = str(row.get("version")), row.get("readFromFolder") or row.get("installPath")
    if (copy := WAYS[host].copy) is not None:
        folder = f"{home.of_program(env, *WAYS[host].folder)}/{copy}/{version}"
    problems = tuple(str(one) for one in row.get("errors") or ())
    return Plugged(found, market, str(folder), version, row.get("enabled") is True, problems)


def _program(host: str, env: Mapping[str, str]) -> str:
    """Its place on PATH outside of work trees in which agents write, or in the Python of runner."""
    runtime, name = get(host), get(host).candidates[0]
    if outside := programs.outside_work_trees(name, env, os.getcwd()):
        return locate.real(outside)
    if (bundled := locate.bundled(runtime, name)) is None and (inside := programs.on_path(name, env)):
        raise RuntimeMissing(
            f"{inside} is in a work tree of git, where an agent may have put it, so runner does not start it",
            hint=f"have {runtime.title} on PATH outside of work trees as well",
        )
    return bundled or locate.locate(runtime, runtime.defaults(), env, None)[0]


def is_ours(host: str, found: Plugged, env: Mapping[str, str]) -> bool:
    """Whether the marketplace of our name is the one that this runner writes."""
    return found.market is not None and os.path.realpath(found.market) == os.path.realpath(place(host, env))


def installing(host: str, env: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The commands. Conflict where another marketplace has our name: Claude Code would point the name at ours
    without a question.
    """
    found = seen(host, env)
    if found.market is not None and not is_ours(host, found, env):
        raise Conflict(
            f"{get(host).title} has a marketplace `{NAME}` from elsewhere: {found.market}",
            hint=f"`{get(host).candidates[0]} {shlex.join((*_MARKET, 'remove', NAME))}` removes it",
        )
    return [(found.program, *_MARKET, "add", place(host, env)), (found.program, *WAYS[host].install)]


def removing(host: str, env: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The commands, for what there is and is ours."""
    try:
        found = seen(host, env)
    except RuntimeMissing:
        if programs.on_path(get(host).candidates[0], env):
            raise
        return []  # the host is gone; what is ours goes all the same
    if not is_ours(host, found, env):
        return []
    drop = (found.program, *_MARKET, "remove", NAME)
    return [drop] if found.folder is None else [(found.program, *WAYS[host].remove), drop]


def _rows(argv: Sequence[str], key: str, env: Mapping[str, str], cwd: str) -> list[dict[str, Any]]:
    """The rows of a list that a host prints; Codex puts it into an object."""
    ran = run(argv, env, seconds=ASK_S, cwd=cwd)
    why = ran.why or essence(ran.stderr) or f"ended with {ran.exit_code}"
    try:
        if ran.exit_code == 0:
            told = json_value(ran.stdout)
            return [one for one in (told[key] if isinstance(told, dict) else told) if isinstance(one, dict)]
    except (ValueError, LookupError, TypeError) as error:
        why = f"printed no such list: {error}"
    raise PluginFailed(f"`{shlex.join(argv)}` {why}", hint="is that a version which has plugins?")
