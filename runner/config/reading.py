"""Reads the layers and the policies, and reports what is wrong with each. Edge: the disk (reads).

The only place that imports tomlkit; `positions` says where the keys stand in what it has read.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re

import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError

from runner.config import layers, schema
from runner.config.find import TABLES, ConfigFiles
from runner.config.layers import Layer
from runner.config.policy import GROUPS, USUAL
from runner.config.snapshot import stamp
from runner.disk import files
from runner.disk.upwards import is_opened, opened_to_others
from runner.model import Policy
from runner.runtimes import NAMES, get
from runner.text.positions import positions, split_key
from runner.text.problems import Problem, dotted, explain, near
from runner.text.words import lower_first

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runner.text.positions import Path

MAX_BYTES = 8 * 1024 * 1024
_NAMED = ("tasks", "models", "sandboxes", "executors", "blocks")
_DEEPEST, _TOO_DEEP = 100, "nested too deeply"
_NOT_TEXT = "is not valid UTF-8; a setting is text"


def _of_others(path: str, found: os.stat_result) -> str | None:
    """What is wrong with settings that are obeyed without a question: another user could have written them,
    or put them there. HOME or XDG_CONFIG_HOME may lead to his; `sudo` can keep both.
    """
    if found.st_uid not in (os.geteuid(), 0):
        return (
            f"belongs to user {found.st_uid}, and this is user {os.geteuid()}; it has to be yours, or root's"
        )
    if is_opened(found):
        who = "every user" if found.st_mode & 0o002 else "a group"
        return f"can be written by {who}; take that away with `chmod go-w`"
    folder = opened_to_others(path)
    return f"can be replaced by others, who may write in {folder}: `chmod go-w {folder}`" if folder else None


class Reading:
    """Reads one source after the other and gathers what is wrong with them. Where contents of files are
    `given`, no settings are read from the disk.
    """

    def __init__(self, places: ConfigFiles, given: Mapping[str, bytes] | None = None) -> None:
        self.places = places
        self.given = given
        self.problems: list[Problem] = []
        self.dropped: set[Path] = set()
        self.inputs: dict[str, list[Any] | None] = {}

    def settings(self, path: str) -> list[Layer]:
        """The layer of one file, or none where there is no file."""
        layer = self._file(path)
        return [] if layer is None else [self._valid(layer)]

    def policy(self, path: str) -> list[Policy]:
        """The ceilings of one policy file. A file that is there but wrong is a problem: it never
        counts as no limit.
        """
        layer = self._file(path)
        if layer is None:
            return []
        data = schema.normal(self._valid(layer, policy_file=True).data, policy=True)
        limits = {name: value for name, value in data.items() if name != "schema_version"}
        if home := self.places.home:
            folders = limits.get("writable", ())
            limits["writable"] = [home + path[1:] if path.startswith("~/") else path for path in folders]
        if "providers" in limits:
            aliases = {other: own for name in NAMES for other, own in get(name).provider_aliases.items()}
            limits["providers"] = [aliases.get(name, name) for name in limits["providers"]]
        limits |= {name: [*usual, *limits.get(name, ())] for name, usual in USUAL.items()}
        sources = {name: [self.places.shown(path)] for name in limits}
        groups = {name: [limits[name]] for name in GROUPS if name in limits}
        return [Policy.from_json({**limits, **groups, "sources": sources})]

    def environment(self, settings: Mapping[str, str], below: Sequence[Layer]) -> list[Layer]:
        """One layer per variable, so that each problem names its own."""
        return [layer for name in sorted(settings) for layer in self._variable(name, settings[name], below)]

    def sets(self, sets: Sequence[str]) -> list[Layer]:
        return [layer for text in sets for layer in self._set(text)]

    def _variable(self, name: str, value: str, below: Sequence[Layer]) -> list[Layer]:
        source = f"env {name}"
        first = name[7:].partition("__")[0].upper()
        if not _is_text(name + value):
            return self._complain(source, _NOT_TEXT)
        if "__" not in name:
            table = name[7:].partition("_")[0]
            wanted = f"RUNNER_{table}__{name[8 + len(table) :]}"
            return self._complain(source, f'levels are separated by "__" (did you mean "{wanted}"?)')
        if name.count("__") > _DEEPEST:
            return self._complain(source[:80], _TOO_DEEP)
        if first not in TABLES:
            hint = near(first, TABLES) or f"; known: {', '.join(TABLES)}"
            return self._complain(source, f"unknown setting RUNNER_{first}__...{hint}")
        try:
            data = schema.from_environment(name, value)
        except ValueError as error:
            return self._complain(source, str(error))
        data = _typed_overrides(_known_names(data, below))
        named = dict.fromkeys(layers.leaves(data), source)
        return [self._valid(Layer(source, data, named=named, strict=False))]

    def _set(self, text: str) -> list[Layer]:
        key, equals, raw = text.partition("=")
        path = split_key(key.strip())
        source = f"--set {key.strip()}"
        if not _is_text(text):
            return self._complain(source, _NOT_TEXT)
        if path is not None and len(path) > _DEEPEST:
            return self._complain(source[:80], _TOO_DEEP)
        if not equals or path is None:
            return self._complain(source, "expected KEY=VALUE, e.g. --set defaults.sandbox=read-only")
        value = _typed_or_text(path, raw.strip())
        return [self._valid(Layer(source, _nest(path, value), named={path: source}))]

    def _file(self, path: str) -> Layer | None:
        shown = self.places.shown(path)
        try:
            text = self._text(path, shown)
        except files.NoFile as error:
            self._complain(shown, f"{error.strerror}; expected a TOML file")
            return Layer(shown, {})
        except OSError as error:
            self._complain(shown, f"cannot be read: {(error.strerror or str(error)).lower()}")
            return Layer(shown, {})
        if text is None:
            return Layer(shown, {}) if self.inputs[path] is not None else None
        index = positions(text)
        try:
            data = tomlkit.parse(text).unwrap()
        except (TOMLKitError, RecursionError, ValueError, OverflowError) as error:
            line, column = getattr(error, "line", None), getattr(error, "col", 0) + 1
            key = ""
            if index.repeated and "already exists" in str(error):
                line, column = index.repeated_at[0]
                key = dotted(index.repeated[0])
            self.problems.append(Problem(shown, line, column if line else None, key, _syntax(error)))
            return Layer(shown, {})
        return Layer(shown, data, places=index.at or {(): (1, 1)})

    def _text(self, path: str, shown: str) -> str | None:
        """The text of a file; None when there is none, or none that can be read."""
        self.inputs[path] = None
        if self.given is not None and (path in self.given or path in self.places.files()[:3]):
            return self._decoded(path, shown, self.given.get(path))
        try:
            descriptor, status = files.follow(path)
        except (FileNotFoundError, NotADirectoryError):
            if os.path.islink(path) or (path == self.places.project and self.places.required):
                raise
            return None
        try:
            data = files.read_up_to(MAX_BYTES + 1, descriptor, status.st_size)
        finally:
            os.close(descriptor)
        self.inputs[path] = [*stamp(status), hashlib.sha256(data).hexdigest()]
        if path in (self.places.user, self.places.user_policy) and (wrong := _of_others(path, status)):
            self._complain(shown, wrong)
            return None
        return self._decoded(path, shown, data)

    def _decoded(self, path: str, shown: str, data: bytes | None) -> str | None:
        if data is None:
            return None
        self.inputs[path] = self.inputs[path] or [0, 0, 0, 0, hashlib.sha256(data).hexdigest()]
        if len(data) > MAX_BYTES:
            self._complain(shown, f"is larger than {MAX_BYTES // 1024**2} MiB")
            return None
        try:
            return data.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            before = data[: error.start]
            line = before.count(b"\n") + 1
            column = len(before.rpartition(b"\n")[2].decode("utf-8")) + 1
            message = f"is not UTF-8: byte 0x{data[error.start]:02x}; save the file as UTF-8"
            self.problems.append(Problem(shown, line, column, "", message))
            return None

    def _valid(self, layer: Layer, policy_file: bool = False) -> Layer:
        """The layer without what is wrong in it, so that the rest can still be examined."""
        data = copy.deepcopy(layer.data)
        tasks = () if policy_file else schema.keys_at(("tasks", "NAME"))
        for attempt in range(20):
            records = schema.problems_of(data, strict=layer.strict, policy=policy_file)
            for record in records:
                path = tuple(part for part in record["loc"] if part != "[key]")
                siblings = schema.keys_at(path[:-1], policy=policy_file)
                if attempt == 0:
                    self.problems.append(layer.problem(path, explain(record, siblings, tasks)))
                self.dropped.add(path)
                layers.without(data, path)
            if not records:
                break
        for name, task in _tables(data.get("tasks")):
            if "prompt" in task and task.pop("prompt_file", None) is not None:
                message = "set together with `prompt`; a task has one of the two"
                self.problems.append(layer.problem(("tasks", name, "prompt_file"), message))
        layer, twice = layers.lifted(layer.replace(data=data))
        self.problems += twice
        return layer

    def _complain(self, source: str, message: str) -> list[Layer]:
        self.problems.append(Problem(source, None, None, "", message))
        return []


def _is_text(text: str) -> bool:
    """Whether a word of the command line or the environment, where any byte may stand, was UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _tables(tables: Any) -> list[tuple[str, dict[str, Any]]]:
    return list(tables.items()) if isinstance(tables, dict) else []


def _syntax(error: Exception) -> str:
    text = re.sub(r" at line \d+ col \d+$", "", str(error)).rstrip(".")
    if isinstance(error, ParseError) or "already exists" in text:
        return f"not valid TOML: {lower_first(text)}"
    return f"not valid TOML: {text or 'nested too deeply'}"


def _toml_value(raw: str) -> Any:
    try:
        value = tomlkit.value(raw).unwrap()
    except (TOMLKitError, RecursionError, ValueError, OverflowError):
        return raw
    return value if isinstance(value, (bool, int, float, str, list, dict)) else raw


def _typed_or_text(path: tuple[str, ...], raw: str) -> Any:
    """`version=0.150` and `model=5` are meant as text: the typed value counts only where it fits.
    A list of which one item is wrong is a list all the same: `verify=["a && b"]` is no program of
    the name `[a`.
    """
    typed = _toml_value(raw)
    problems = schema.problems_of(_nest(path, typed), strict=True)
    if not problems or all(len(record["loc"]) > len(path) for record in problems):
        return typed
    is_text = any(record["type"] == "string_type" for record in problems)
    return raw if is_text or not schema.problems_of(_nest(path, raw), strict=True) else typed


def _nest(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for part in reversed(path):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested


def _known_names(data: dict[str, Any], below: Sequence[Layer]) -> dict[str, Any]:
    """Variables are in capitals and have no `-`: RUNNER_TASKS__FIX_AUTH__MODEL means the task
    `fix-auth`.
    """
    found: dict[str, Any] = {}
    for table, names in data.items():
        if table not in _NAMED or not isinstance(names, dict):
            found[table] = names
            continue
        known = {name for layer in below for name, _ in _tables(layer.data.get(table))}
        alike = {_plain_name(name): name for name in sorted(known)}
        found[table] = {
            name if name in known else alike.get(_plain_name(name), name): value
            for name, value in names.items()
        }
    return found


def _plain_name(name: str) -> str:
    return name.casefold().replace("-", "_").replace(".", "_")


def _typed_overrides(data: dict[str, Any]) -> dict[str, Any]:
    """Values below `runtimes.X.config` have any type: as in --set, what reads as TOML counts as
    TOML.
    """
    for _, runtime in _tables(data.get("runtimes")):
        if isinstance(runtime, dict) and "config" in runtime:
            runtime["config"] = _typed(runtime["config"])
    return data


def _typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    return _toml_value(value) if isinstance(value, str) else value
