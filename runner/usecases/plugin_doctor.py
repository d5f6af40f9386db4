"""USE CASE: whether delegation mode would hold in a host. Edge: disk, asks the host, runs the hook.

A host's trust in hooks is a person's, so it is looked at and never written.
"""

from __future__ import annotations

import os
import shlex
from glob import glob

from runner.disk import files, home
from runner.disk.scratch import scratch
from runner.disk.upwards import git_root, written_by_others
from runner.errors import RunnerError
from runner.hosts import mode, plugin
from runner.hosts.ways import ID, NAME, WAYS, Way
from runner.model import SCHEMA_VERSION
from runner.runtimes import get
from runner.runtimes.endings import essence
from runner.runtimes.exam import Examined, Fitness
from runner.runtimes.shortrun import Ran, run
from runner.state.manifest import timestamp
from runner.usecases.plugin import ASK_S, Plugged, is_ours, seen, wanted
from runner.value import json_bytes, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TALK = (
    '"$@" <"$0/talk" | { exec 3>"$0/talk"; cat "$0/asked" >&3; while IFS= read -r line; do '
    """case $line in *'"id":"hooks"'*) printf '%s\\n' "$line"; break;; esac; done; exec 3>&-; }"""
)
"""Asks an app server, which answers only while its stdin is open."""
_ASKED = (
    {"id": 0, "method": "initialize", "params": {"clientInfo": {"name": NAME, "version": "1"}}},
    {"method": "initialized"},
)
_SESSION = "runner-doctor"
_INSTALL = "`runner plugin install --host {}`"
_NO_HOOK = (OSError, ValueError, LookupError, TypeError, AttributeError)
_PATCH = "*** Begin Patch\n*** Add File: a.py\n+a\n*** End Patch\n"


def examine(host: str, folder: str, env: Mapping[str, str]) -> tuple[Examined, ...]:
    """Whether it would in this folder."""
    way = WAYS[host]
    try:
        found = seen(host, env, folder)
    except RunnerError as error:
        return (_bad(f"{host}.program", error.message, error.hint or ""),)
    ran = run((found.program, "--version"), env, seconds=ASK_S)
    version = ran.stdout.strip()[:80] if ran.exit_code == 0 else "of unknown version"
    program = Examined(f"{host}.program", Fitness.OK, f"{found.program}, {version}")
    limits = Examined("limits", Fitness.SKIP, f"it holds all but {way.limits}")
    return (program, *_held(host, found, folder, env), limits)


def lacking(host: str, folder: str, env: Mapping[str, str]) -> list[Examined]:
    """Why nothing would hold a mode in this folder. Files that differ are no reason where the hook holds."""
    try:
        checks = _held(host, seen(host, env, folder), folder, env)
    except RunnerError as error:
        return [_bad(f"{host}.program", error.message, error.hint or "")]
    failed = [one for one in checks if one.verdict is not Fitness.OK]
    return failed if len(checks) == 1 else [one for one in failed if one.name != "plugin"]


def is_trusted(host: str, found: Plugged, folder: str, env: Mapping[str, str]) -> bool:
    """Whether the host obeys the hooks already."""
    return WAYS[host].trust is None or _trust(host, found, folder, env).verdict is Fitness.OK


def _held(host: str, found: Plugged, folder: str, env: Mapping[str, str]) -> list[Examined]:
    """What is there of the plugin, and whether the host's own hook holds; without one there is one check."""
    if found.folder is None or not found.is_enabled or found.problems:
        return [_absent(host, found)]
    checks = [_installed(host, found, found.folder, env), _answers(host, found.folder, env)]
    checks += turned_off(WAYS[host], folder, env)
    return checks if WAYS[host].trust is None else [*checks, _trust(host, found, folder, env)]


def _bad(name: str, message: str, repair: str) -> Examined:
    return Examined(name, Fitness.FAIL, message, repair)


def _absent(host: str, found: Plugged) -> Examined:
    title = get(host).title
    if found.folder is None:
        return _bad("plugin", f"missing: {title} has no plugin {ID}", _INSTALL.format(host))
    if not found.is_enabled:
        return _bad("plugin", f"turned off in {title}", f"turn {ID} on there (`/plugins`)")
    return _bad("plugin", f"{title} says: {found.problems[0]}", _INSTALL.format(host))


def _installed(host: str, found: Plugged, folder: str, env: Mapping[str, str]) -> Examined:
    install = _INSTALL.format(host)
    files_of_it = {n[len(plugin.BELOW) :]: data for n, data in wanted().items() if n not in plugin.MARKETS}
    if other := plugin.differing(folder, files_of_it):
        gone = [path for path in _started(host, folder) if not os.path.exists(path)]
        if gone:
            return _bad("plugin", f"its hook starts {gone[0]}, which is not there any more", install)
        if not is_ours(host, found, env):
            title = get(host).title
            return _bad("plugin", f"{title} reads another one: {folder}", f"remove that, then {install}")
        what = f"{other[0]} in {folder} (and {len(other) - 1} more)"
        return _bad("plugin", f"modified, of another runner, or for others to write: {what}", install)
    if opened := written_by_others(folder):
        return _bad("plugin", f"others may change it: they may write in {opened}", f"`chmod go-w {opened}`")
    return Examined("plugin", Fitness.OK, f"{folder}, as written by this runner")


def _started(host: str, folder: str) -> list[str]:
    """The files that the hook of an installed plugin starts."""
    try:
        return [word for word in _hook(host, folder)[4:] if os.path.isabs(word)]
    except _NO_HOOK:
        return []


def _hook(host: str, folder: str) -> list[str]:
    """How the host starts the hook of an installed plugin. `_NO_HOOK` where the file does not say."""
    table = json_value(files.read(f"{folder}/hooks/{host}.json"))["hooks"]["PreToolUse"][0]["hooks"][0]
    return [table["command"], *table["args"]] if "args" in table else shlex.split(table["command"])


def _answers(host: str, installed: str, env: Mapping[str, str]) -> Examined:
    """Runs the hook as the host does: it has to deny an edit in a mode, and say nothing without one."""
    try:
        hook = _hook(host, installed)
    except _NO_HOOK as error:
        return _bad("hook", f"nobody can read which it is: {error}", _INSTALL.format(host))
    with scratch(env) as folder:
        told = {**env, "XDG_STATE_HOME": folder, WAYS[host].session: _SESSION}
        words = (folder, host, _SESSION, host, host, host, "strict", timestamp())
        given = {"file_path": f"{folder}/a.py", "command": _PATCH}
        event = {"session_id": _SESSION, "cwd": folder, "hook_event_name": "PreToolUse", "tool_input": given}
        files.replace_bytes(f"{folder}/event", json_bytes({**event, "tool_name": WAYS[host].tool}))
        mode.write(mode.Mode(SCHEMA_VERSION, *words), told)
        denied = _hooked(hook, folder, told)
        mode.end(host, _SESSION, told)
        silent = _hooked(hook, folder, told)
    if denied.exit_code != 0 or '"deny"' not in denied.stdout:
        why = denied.why or essence(denied.stderr) or "it said nothing"
        return _bad("hook", f"does not deny an edit while a mode is on: {why}", _INSTALL.format(host))
    if silent.exit_code != 0 or silent.stdout or silent.stderr:
        return _bad("hook", "is not silent without a mode", _INSTALL.format(host))
    return Examined("hook", Fitness.OK, "denies an edit while a mode is on, and says nothing without one")


def _hooked(hook: list[str], folder: str, env: Mapping[str, str]) -> Ran:
    return run(["/bin/sh", "-c", 'exec "$@" <"$0"', f"{folder}/event", *hook], env, seconds=5.0, cwd=folder)


def turned_off(way: Way, folder: str, env: Mapping[str, str], etc: str = "/etc") -> Iterator[Examined]:
    """What turns all hooks off. Of the files that say a key the last counts, and most keys are said by an
    administrator alone (each seen with Claude Code 2.1.332).
    """
    if not way.off:
        return
    named, root = way.folder[1], git_root(folder) or folder
    # In a work tree that `git worktree` made, the settings of the first one count.
    first = (files.read_text(f"{root}/.git") or "").removeprefix("gitdir: ").partition("/.git/worktrees/")
    paths = [f"{home.of_program(env, *way.folder)}/{way.settings[0]}"]
    paths += [f"{folder}/{named}/{name}" for name in way.settings]
    paths.append(f"{first[0] if first[1] else root}/{named}/{way.settings[-1]}")
    theirs = [f"{etc}/{way.managed}.json", *sorted(glob(f"{etc}/{way.managed}.d/*.json"))]
    said: dict[str, str] = {}
    for path in (*paths, *theirs):
        try:
            settings = json_value(files.read(path, follows_links=True))
        except (OSError, ValueError):
            continue
        for key in way.off if path in theirs else way.off[:1]:
            if isinstance(settings, dict) and isinstance(settings.get(key), bool):
                said[key] = path if settings[key] else ""
        plugins = settings.get("enabledPlugins") if path in theirs and isinstance(settings, dict) else None
        if isinstance(plugins, dict) and isinstance(plugins.get(ID), bool):
            said["enabledPlugins"] = "" if plugins[ID] else path
    for key, path in said.items():
        if path:
            yield _bad("hooks", f"turned off: {key} in {path}", f"take {key} out there")


def _trust(host: str, found: Plugged, folder: str, env: Mapping[str, str]) -> Examined:
    repair = WAYS[host].trust
    asked = (*_ASKED, {"id": "hooks", "method": "hooks/list", "params": {"cwds": [folder]}})
    with scratch(env) as talk:
        os.mkfifo(f"{talk}/talk", 0o600)
        files.replace_bytes(f"{talk}/asked", b"".join(json_bytes(one) + b"\n" for one in asked))
        ran = run(["/bin/sh", "-c", _TALK, talk, found.program, "app-server"], env, seconds=ASK_S)
    try:
        hooks = [one for one in json_value(ran.stdout)["result"]["data"][0]["hooks"] if one["pluginId"] == ID]
        states = [str(one["trustStatus"]) if one["enabled"] else "turned off" for one in hooks]
    except (ValueError, LookupError, TypeError):
        why = ran.why or essence(ran.stderr) or "it gave no list"
        return Examined("hook.trust", Fitness.UNKNOWN, f"the host does not tell: {why}", repair)
    if len(states) == 2 and {*states} <= {"trusted", "managed"}:
        return Examined("hook.trust", Fitness.OK, "active: both hooks are trusted")
    said = ", ".join(sorted({*states})) or "there is none"
    return _bad("hook.trust", f"the host passes over the hooks: {said}", str(repair))
