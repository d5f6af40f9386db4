"""What the settings of a repository can execute, send or widen: one list, and its digest. Pure.

A person decides on the list (`usecases.trust`), so what is not on it can change without a question: texts for
the agent, times, numbers. Every key counts that is not known to be harmless, so that a new one is not
forgotten. The layers are those that come with the repository, `delegate.toml` and `delegate.local.toml`:
what the user's own settings, variables and options say needs no trust.
"""

from __future__ import annotations

import os

from runner.config.scripts import MOST_FOLDERS, commands_of, folders_of
from runner.executors import LOCAL
from runner.git_change import GIT_OWNERS
from runner.lightjson import dumps
from runner.text.modules import files_of_folders, files_of_modules
from runner.text.problems import dotted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from runner.text.positions import Path

RUNS, SENDS, WIDENS, OTHER = "runs", "sends", "widens", "other"
"""Kinds of what is listed, in the order in which it is told."""

_TEXTS = ("files", "prompt", "title")
_SHARED = (
    *("approach", "constraints", "execution_note", "patterns", "testing", "model", "delegation"),
    *("timeout", "idle_timeout", "start_timeout", "grace", "verify_timeout", "prepare_timeout", "limits"),
    *("open", "open_timeout", "start"),
    *("blocks", "on_conflict", "on_failure", "output_contract", "conformance", "workspace", "scope"),
    *("protect", "verify_from", "expects_change", "retries"),
)
HARMLESS: dict[str, tuple[str, ...] | None] = {
    "schema_version": None,
    "defaults": _SHARED,
    "tasks": (*_TEXTS, *_SHARED),
    "runtimes": ("version",),
    "models": ("model", "reasoning_effort", "price"),
    "sandboxes": (),
    "executors": ("max_pending",),
    "delegation": ("enabled", "tools", "max_depth", "max_children", "tasks", "on_parent_end", "skills"),
    "recovery": None,
    "delegate": (
        *("decision", "soft_cap", "hard_cap", "oversize", "balance", "trivial", "hub_files"),
        *("effort_floor", "max_parallel", "max_failures", "files", "commit_message"),
    ),
    "economics": None,
    "notify": (),
    "host": None,
    "git": (),
    "blocks": None,
    "pipelines": (),
}
"""Table -> keys that say what an agent is asked, how long it may take, or how its result is judged. None is
all of them. (A run that delegates starts no run that is wider than itself.)
"""
_NAMED_TABLES = ("runtimes", "models", "sandboxes", "executors", "tasks", "pipelines")
_STARTS = ("mcp_servers", "notify", "hooks", "projects", "command", "shell_environment_policy", "exporter")
_DATA = (".log", ".jsonl", ".csv", ".tsv", ".db", ".db3", ".sqlite", ".sqlite3", ".pid", ".sock", ".lock")
_LONGEST_NAME = 1024


def listed(merged: Mapping[str, Any], below: Mapping[str, Any], root: str) -> dict[str, Any]:
    """`items` (kind, key, what it says, in words), `scripts` (paths of files in the repository that they run,
    whose contents count), those of them that are only `played`, and the `digest` of the items.

    `merged` are the tables of the repository's layers alone, in their own types, `below` the built-in ones,
    with the sandboxes of the user's own.
    """
    found = sorted(_counting(merged, below), key=lambda one: dotted(one[0]))
    canonical = [[dotted(path), value] for path, value in found]
    items = [[kind(path, value), dotted(path), _words(path, value)] for path, value in found]
    scripts: dict[bool, set[str]] = {True: set(), False: set()}
    for path, value in found:
        places = (place for name in _files(path, value) for place in _inside(root, name))
        scripts[path[-1] == "rehearse"].update(places)
    return {
        "digest": digest_of(canonical),
        "items": sorted(items, key=lambda item: (RUNS, SENDS, WIDENS, OTHER).index(item[0])),
        "scripts": sorted(scripts[False] | scripts[True]),
        "played": sorted(scripts[True] - scripts[False]),
    }


def digest_of(value: Any) -> str:
    from runner.disk.digest import sha256

    text = dumps(value, sort_keys=True, compact=True)
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def comes_with_repository(trust: Mapping[str, Any], origins: Mapping[str, str], task: str, name: str) -> bool:
    """Whether a committed file set this key of a task. (What is in `delegate.local.toml` is of a person who
    works here, and may name files elsewhere.)
    """
    own, shared = dotted(("tasks", task, name)), f"defaults.{name}"
    origin = origins.get(own) or origins.get(shared) or ""
    return origin.rpartition(":")[0] == trust.get("file")


def _counting(merged: Mapping[str, Any], below: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """(path, value) of everything that counts."""
    for table, content in merged.items():
        harmless = HARMLESS.get(table, ())
        if harmless is None:
            continue
        if table in _NAMED_TABLES:
            for name, entry in content.items():
                for key, value in entry.items():
                    if (table, key) == ("pipelines", "stages"):
                        yield from (((table, name, key, n), stage) for n, stage in enumerate(value))
                        yield from gate_commands(name, value)
                    elif key not in harmless:
                        yield from _leaves((table, name, key), value, merged, below)
        elif not isinstance(content, dict):
            yield (table,), content
        else:
            for key, value in content.items():
                if key not in harmless:
                    yield from _leaves((table, key), value, merged, below)


def gate_commands(name: str, stages: Sequence[Any]) -> Iterator[tuple[Path, Any]]:
    """(path, commands) of each gate of a pipeline that has some."""
    for n, stage in enumerate(stages):
        if commands := stage.get("gate", {}).get("commands"):
            yield ("pipelines", name, "stages", n, "gate", "commands"), commands


def _leaves(
    path: Path, value: Any, merged: Mapping[str, Any], below: Mapping[str, Any]
) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves((*path, key), item, merged, below)
    elif not _says_nothing(path, value, merged, below):
        yield path, value


def _says_nothing(path: Path, value: Any, merged: Mapping[str, Any], below: Mapping[str, Any]) -> bool:
    """Whether it is the same without it, or as narrow as can be."""
    table, key = path[0], path[-1]
    if table == "sandboxes":  # an empty `deny_read` may take back that of the user's own settings
        return value in ("read-only", False, []) and key != "deny_read"
    if key == "executor" and value == LOCAL:
        return True
    if (key == "rehearse" and isinstance(value, bool)) or (table == "git" and value in GIT_OWNERS):
        return True
    if key == "runtime" and table == "models":
        return bool(value == merged.get("defaults", {}).get(key, value) == below["defaults"][key])
    around = [merged.get("defaults", {}), below["defaults"]] if table == "tasks" else []
    if key == "sandbox":
        named = [value, *(one["sandbox"] for one in around if "sandbox" in one)]
        # Another one than a sandbox of the user's own may be read what that keeps from agents.
        keeping = [name for name, one in below["sandboxes"].items() if one.get("deny_read")]
        is_as_narrow = not keeping or keeping == [value]
        return is_as_narrow and all(_level(name, merged) == "read-only" for name in named)
    if table == "tasks":
        inherited = next((one[key] for one in around if key in one), None)
        return bool(value == inherited) or (value == [] and not inherited)
    known: Any = below
    for part in path:
        known = known.get(part) if isinstance(known, dict) else None
    return bool(value == known) or (value in ([], {}, None) and not known)


def _level(name: str, merged: Mapping[str, Any]) -> str:
    return str(merged.get("sandboxes", {}).get(name, {}).get("level", name))


def kind(path: Path, value: Any) -> str:
    key = path[-1]
    if path[0] == "executors":
        return SENDS if key == "mail-user" else WIDENS
    if path[0] in ("sandboxes", "git") or key in ("sandbox", "executor", "isolated", "permissions"):
        return WIDENS
    if key in ("provider", "prompt_file", "paste", "map", "env") or any(
        "://" in text for text in texts(value)
    ):
        return SENDS
    if path[0] == "runtimes" and "config" in path:
        return RUNS if any(part in _STARTS for part in ".".join(map(str, path)).split(".")) else OTHER
    return RUNS if key in ("verify", "prepare", "commands", "command", "args") else OTHER


def _is_commands(path: Path) -> bool:
    return path[0] != "runtimes" and path[-1] in ("verify", "prepare", "commands")


def _words(path: Path, value: Any) -> str:
    """The value as a person reads it: commands as they would be typed."""
    if _is_commands(path):
        import shlex

        return "; ".join(shlex.join(command) for command in value)
    if path[0] == "executors" and isinstance(value, float):
        from runner.text.durations import format_duration

        return format_duration(value)
    if path[0] == "executors" and value == "":
        return "true"
    return value if isinstance(value, str) else dumps(value, ensure_ascii=False)


def _files(path: Path, value: Any) -> Iterator[str]:
    """Names that may be files which are run."""
    if _is_commands(path):
        for command in value:
            read = [*commands_of(command)]
            words = [word for part, _ in read for word in part]
            named = [name for _, names in read for name in names]
            names = dict.fromkeys(_with_inner([*named, *_on_path(words)], words))
            folders = _below([folder for part, _ in read for folder in folders_of(part)])
            yield from (f"{folder}{name}" for folder in folders for name in names)
    elif path[-1] == "command" and path[0] == "runtimes" and len(path) == 3:
        if "/" in value:
            yield value
    elif path[-1] == "rehearse":
        yield value
    elif path[0] == "runtimes" and ("config" in path or path[-1] == "args"):
        named = [text for text in texts(value) if may_be_started(text)]
        yield from _with_inner(named, named)


def _on_path(words: Sequence[str]) -> Iterator[str]:
    """What may be found in the folders that a command puts on PATH, whichever of its words is a program."""
    plain = [word.strip("'\"") for word in words]
    bare = dict.fromkeys(one for one in plain if one and "/" not in one and "=" not in one)
    paths = [one.removeprefix("PATH=").strip("'\"") for one in plain if one.startswith("PATH=")]
    folders = dict.fromkeys(folder for path in paths for folder in path.split(":") if folder)
    yield from (f"{folder}/{one}" for folder in [*folders][:MOST_FOLDERS] for one in bare)


def _below(folders: Sequence[str]) -> Iterator[str]:
    """Where a command may run, with a slash: at the root, in each folder that it names, and in those below
    one another.
    """
    below, named = "", dict.fromkeys([""])
    for folder in folders:
        if folder and f"{folder}/" not in named and len(named) < MOST_FOLDERS:
            below = f"{below}{folder}/"
            named |= {f"{folder}/": None, below: None}
    yield from named


def _with_inner(named: Sequence[str], words: Sequence[str]) -> Iterator[str]:
    """With what an interpreter executes where a folder is named, or a module by one of the words."""
    yield from (*named, *files_of_modules(words), *files_of_folders(words))


def _inside(root: str, name: str) -> Iterator[str]:
    """The path below `root` that `name` is, if it can be one; with `..` as it stands too, since the folder
    before it may be a link.
    """
    if name[:1] in ("", "-", "~") or len(name) > _LONGEST_NAME or "\n" in name or "\0" in name:
        return
    path = os.path.normpath(os.path.join(root, name))
    if path.startswith(root.rstrip("/") + "/"):
        yield os.path.relpath(path, root)
        if "/../" in name and name[:1] != "/":
            yield name


def may_be_started(text: str) -> bool:
    """Whether a text of `config` can name a file that is executed: no address, nor what a server writes while
    it works, such as its log or its database.
    """
    return "://" not in text and not text.endswith(_DATA)


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, those in its tables and arrays included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts(item)
