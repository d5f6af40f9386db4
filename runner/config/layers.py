"""The layers of settings as one ordered list, merged key by key; each value remembers its layer. Pure."""

from __future__ import annotations

import copy
import json

from runner.config.blocks import BLOCKS
from runner.config.values import IN_LIMITS
from runner.git_change import GitPolicy
from runner.model import Caps, Delegate, Delegation, Economics, ExecutorSettings, Host, Notify, Recovery, Task
from runner.runtimes import NAMES, get
from runner.text.durations import format_duration
from runner.text.problems import Problem, dotted
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from runner.text.positions import Path


def table_of(value: Value, *elsewhere: str, is_whole: bool = False) -> dict[str, Any]:
    """The table of delegate.toml that means `value`, without what has its place `elsewhere`; `is_whole`: with
    what is not set.
    """
    table: dict[str, Any] = {}
    for name, item in value.to_json().items():
        if name in elsewhere:
            continue
        if name.endswith("_s"):
            table[name[:-2]] = "none" if item is None else format_duration(item)
        elif is_whole or item is not None:
            table[name] = item
    return table


DEFAULTS: dict[str, Any] = {
    "schema_version": 1,
    "defaults": table_of(Task(""), "id", "files", "paste", "delegation")
    | {
        "limits": {key: "none" if value is None else value for key, value in Caps().to_json().items()},
        "output_contract": Task.output_contract or False,
    },
    "runtimes": {
        name: table_of(get(name).defaults(), *("name", "permission_timeout_s")[: 2 - get(name).is_generic])
        for name in NAMES
    },
    "models": {},
    "sandboxes": {},
    "executors": {},
    "delegation": table_of(Delegation()),
    "recovery": table_of(Recovery(), "retries"),
    "delegate": table_of(Delegate()),
    "economics": table_of(Economics()),
    "notify": table_of(Notify()),
    "host": table_of(Host()),
    "git": table_of(GitPolicy()),
    "blocks": {name: {"text": text} for name, text in BLOCKS.items()},
    "tasks": {},
    "pipelines": {},
}
"""The lowest layer, made of the values of `model` and of the runtimes, where the defaults are."""

_EXECUTOR = {**table_of(ExecutorSettings("", "")), "time": "task"}
"""What each of `[executors]` begins with."""

EXCLUSIVE = {"prompt": "prompt_file", "prompt_file": "prompt"}
"""Where a layer sets one, the other one of the layers below does not count."""


def default(key: str) -> str:
    """The default of a dotted key as descriptions and help tell it: `2h`, `25`, `none`."""
    value: Any = DEFAULTS | {"executor": _EXECUTOR}
    for part in key.split("."):
        value = value.get(part, "none")
    return value if isinstance(value, str) else json.dumps(value)


class Layer(Value):
    """`places` has line and column of keys (files), `named` the variable or option that set them
    (the others).
    """

    source: str
    data: dict[str, Any]
    places: dict[Path, tuple[int, int]] = {}
    named: dict[Path, str] = {}
    strict: bool = True

    def place(self, path: Path) -> tuple[str, int | None, int | None]:
        """Source, line and column of `path`, or of the nearest table around it."""
        around = path
        while around:
            if around in self.named:
                return self.named[around], None, None
            if around in self.places:
                return self.source, *self.places[around]
            around = around[:-1]
        return (self.source, 1, 1) if self.places else (self.source, None, None)

    def origin(self, path: Path) -> str:
        """As `config show --origin` tells it: `delegate.toml:12`."""
        source, line, _ = self.place(path)
        return source if line is None else f"{source}:{line}"

    def problem(self, path: Path, message: str) -> Problem:
        source, line, column = self.place(path)
        return Problem(source, line, column, dotted(path)[:200], message)


def lifted(layer: Layer) -> tuple[Layer, tuple[Problem, ...]]:
    """The layer with the times of its `limits` tables beside these, so that of two layers the higher one
    counts, whichever place it uses; a problem for each that stands in both.
    """
    data, places, named = copy.deepcopy(layer.data), dict(layer.places), dict(layer.named)
    problems = []
    for path, table in [(("defaults",), data.get("defaults")), *_tasks(data)]:
        limits = table.get("limits") if isinstance(table, dict) else None
        if not isinstance(table, dict) or not isinstance(limits, dict):
            continue
        for name in [name for name in IN_LIMITS if name in limits]:
            value, inside, beside = limits.pop(name), (*path, "limits", name), (*path, name)
            if name in table:
                message = f"set together with `{dotted(beside)}`; a task has one of the two"
                problems.append(layer.problem(inside, message))
                continue
            table[name] = value
            if inside in places:
                places[beside] = places[inside]
            if inside in named:
                named[beside] = named[inside]
        if not limits:
            del table["limits"]
    return layer.replace(data=data, places=places, named=named), tuple(problems)


def _tasks(data: dict[str, Any]) -> list[tuple[Path, Any]]:
    tasks = data.get("tasks")
    return [(("tasks", name), task) for name, task in tasks.items()] if isinstance(tasks, dict) else []


def merge(layers: Sequence[Layer]) -> dict[str, Any]:
    """The effective tables: of every key the value of the highest layer."""
    merged: dict[str, Any] = {}
    for layer in layers:
        _lay_over(merged, layer.data)
    return merged


def _lay_over(below: dict[str, Any], above: dict[str, Any]) -> None:
    for key, value in above.items():
        if key in EXCLUSIVE and not isinstance(value, dict):
            below.pop(EXCLUSIVE[key], None)
        if isinstance(value, dict):
            table = below.get(key)
            below[key] = dict(table) if isinstance(table, dict) else {}
            _lay_over(below[key], value)
        else:
            below[key] = value


def origins(layers: Sequence[Layer]) -> dict[str, str]:
    """Dotted key -> origin of every value that is set in `layers`."""
    found: dict[str, str] = {}
    for layer in layers:
        for path in leaves(layer.data):
            found[dotted(path)] = layer.origin(path)
            other = EXCLUSIVE.get(str(path[-1]))
            if other is not None:
                found.pop(dotted((*path[:-1], other)), None)
    return found


def setter(layers: Sequence[Layer], path: Path) -> Layer:
    """The highest layer that has `path`, or the nearest table around it."""
    around = path
    while around:
        for layer in reversed(layers):
            if has(layer.data, around):
                return layer
        around = around[:-1]
    return layers[-1]


def has(data: Any, path: Path) -> bool:
    """Whether there is a value at `path`."""
    for part in path:
        in_table = isinstance(data, dict) and part in data
        in_array = isinstance(part, int) and isinstance(data, list) and part < len(data)
        if not in_table and not in_array:
            return False
        data = data[part]
    return True


def leaves(data: dict[str, Any], prefix: Path = ()) -> list[Path]:
    """The paths of all values that are not tables (an empty table is a value)."""
    found: list[Path] = []
    for key, value in data.items():
        path = (*prefix, key)
        found += leaves(value, path) if isinstance(value, dict) and value else [path]
    return found


def without(data: dict[str, Any], path: Path) -> None:
    """Takes the value at `path` out; what is in no table takes the whole value with it."""
    table: Any = data
    for part in path[:-1]:
        if not isinstance(table, dict) or not isinstance(table.get(part), dict):
            break
        table = table[part]
    else:
        part = path[-1]
    if isinstance(table, dict):
        table.pop(part, None)
