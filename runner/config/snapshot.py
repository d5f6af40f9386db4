"""The compiled settings of one repository in the user's cache, and whether they are still valid. Edge: the
cache folder.

Standard library only and light. The snapshot is outside the repository, because a sandboxed child can write
in there and must not be able to widen the sandbox of the next run.
"""

from __future__ import annotations

import os
import sys
from _collections_abc import Mapping  # loaded with `os`; `collections` is not

from runner.config.find import ConfigFiles
from runner.disk import files, home
from runner.disk.upwards import opened_to_others
from runner.lightjson import loads
from runner.model import Config, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    Json = Mapping[str, Any]

FORMAT = 9
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_LARGEST = 64 * 1024 * 1024
RACY_NS = 2_000_000_000
"""A file changed this shortly before the snapshot may be changed again within the same clock tick,
unseen by its times (git has the same case: git-scm.com/docs/racy-git). Its content is compared
then.
"""


class Tasks(Mapping[str, Task]):
    """Builds a `Task` when it is asked for: a start needs one of hundreds."""

    def __init__(self, defaults: Json, tasks: Mapping[str, Json]) -> None:
        self.defaults = defaults
        self.own = tasks

    def __getitem__(self, key: str) -> Task:
        fields = {**self.defaults, **self.own[key], "id": key}
        # A task's table of limits lies over that of the defaults, key by key.
        fields["limits"] = {**self.defaults["limits"], **fields["limits"]}
        return Task.from_json(fields)

    def __contains__(self, key: object) -> bool:
        return key in self.own

    def __iter__(self) -> Iterator[str]:
        return iter(self.own)

    def __len__(self) -> int:
        return len(self.own)


class Origins(Mapping[str, str]):
    """Dotted key -> where it was set. It holds what was set and answers for every key: what a task does not
    set comes from `[defaults]`, and what no layer sets is `default`.
    """

    def __init__(self, explicit: Mapping[str, str]) -> None:
        self._explicit = explicit

    def __getitem__(self, key: str) -> str:
        found = self._explicit.get(key)
        table, _, name = key.rpartition(".")
        if table.endswith(".limits") and table != "tasks.limits":
            name = f"limits.{name}"
        if found is None and key.startswith("tasks."):
            found = self._explicit.get(f"defaults.{name}")
        if found is None and name == "delegation" and key.startswith(("tasks.", "defaults.")):
            found = self._explicit.get("delegation.enabled")
        return found or "default"

    def __contains__(self, key: object) -> bool:
        return key in self._explicit

    def __iter__(self) -> Iterator[str]:
        return iter(self._explicit)

    def __len__(self) -> int:
        return len(self._explicit)


def config_from_json(data: Json) -> Config:
    """The values of a snapshot, the JSON of which `effective.compiled` makes."""
    config = Config.from_json({**data, "tasks": {}, "origins": {}})
    return config.replace(tasks=Tasks(data["task_defaults"], data["tasks"]), origins=Origins(data["origins"]))


def files_named(config: Config) -> tuple[str, ...]:
    """The prompts, maps and rehearsal scripts of its tasks that are files, as they are named."""
    tasks = config.tasks
    if isinstance(tasks, Tasks):  # a start needs one task of hundreds
        tables = [tasks.defaults, *tasks.own.values()]
    else:
        tables = [tasks[name].to_json() for name in tasks]
    keys = ("prompt_file", "map", "rehearsal_script")
    return tuple(dict.fromkeys(table[key] for table in tables for key in keys if table.get(key)))


def config_to_json(config: Config) -> dict[str, Any]:
    """The inverse of `config_from_json`."""
    tasks = config.tasks
    if isinstance(tasks, Tasks):
        defaults, own = tasks.defaults, tasks.own
    else:
        defaults, own = {"limits": {}}, {name: tasks[name].to_json() for name in tasks}
    data = config.replace(tasks={}, origins={}).to_json()
    return {**data, "task_defaults": defaults, "tasks": own, "origins": dict(config.origins.items())}


def key(places: ConfigFiles, settings: Mapping[str, str], sets: Sequence[str]) -> dict[str, Any]:
    """What a snapshot depends on besides the content of files; equal or stale."""
    return {
        "format": FORMAT,
        "python": sys.version,
        "package": _PACKAGE,
        "places": places.to_json(),
        "environment": dict(settings),
        "sets": list(sets),
    }


def code() -> dict[str, list[int]]:
    """Our own modules that this process has loaded, with the stamp of each. To the process that compiles they
    say as much as a version would, and also change between two releases, in a checkout.
    """
    paths = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    return {path: stamp(os.stat(path)) for path in paths if path.startswith(f"{_PACKAGE}/")}


def stamp(stat: os.stat_result) -> list[int]:
    """The identity of a file's content, as far as `stat` can tell."""
    return [stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_ctime_ns]


def is_fresh(snapshot: Json, expected: Json) -> bool:
    """Whether compiling again would give the same."""
    inputs = ConfigFiles(**expected["places"]).files()
    if snapshot["key"] != expected or set(snapshot["inputs"]) != set(inputs):
        return False
    if not all(stamp(os.stat(path)) == known for path, known in snapshot["code"].items()):
        return False
    written: int = snapshot["written_ns"]
    return all(_unchanged(path, known, written) for path, known in snapshot["inputs"].items())


def settles(snapshot: Json, now: int) -> bool:
    """Whether a snapshot that compares contents, and was fresh at `now`, need not do so any more."""
    newest = max((max(known[0], known[3]) for known in snapshot["inputs"].values() if known), default=0)
    written: int = snapshot["written_ns"]
    return written - RACY_NS <= newest < now - RACY_NS


def _unchanged(path: str, known: list[Any] | None, written: int) -> bool:
    try:
        now = stamp(os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return known is None and not os.path.islink(path)
    if known is None or known[:4] != now:
        return False
    if max(now[0], now[3]) < written - RACY_NS:
        return True
    from runner.disk.digest import sha256

    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb") as file:
        return bool(sha256(file.read()).hexdigest() == known[4])


def cache_path(places: ConfigFiles, env: Mapping[str, str]) -> str | None:
    """The file for this repository, or None where a child, or another user, could write it."""
    base = home.cache(env)
    if base is None:
        return None
    base = os.path.realpath(base)
    if opened_to_others(base):
        return None
    if (base + "/").startswith(places.root.rstrip("/") + "/"):
        return None
    # The end of the path tells the repository; two that share it take turns, as the key has the whole path.
    name = places.root.replace("/", "%")[-60:]
    return os.path.join(base, "config", f"{name}.json")


def read(path: str) -> Json | None:
    """The stored snapshot; None when there is none, it is broken, or another user may have written
    it.
    """
    try:
        data = loads(files.read(path, _LARGEST, is_private=True))
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def write(path: str, text: str) -> None:
    """Stores a snapshot in one step; a cache that cannot be written is no error."""
    folder = os.path.dirname(path)
    try:
        files.private_folder(os.path.dirname(folder), os.path.basename(folder))
        files.replace_bytes(path, text.encode(), durable=False)
    except OSError:
        return
