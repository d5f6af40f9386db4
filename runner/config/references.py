"""Rules between settings: names that exist, levels that fit. Pure, except that `check` looks for prompt
files.
"""

from __future__ import annotations

import os

from runner.config import layers
from runner.config.values import LEVELS
from runner.git_change import GIT_OWNERS
from runner.model import Price
from runner.runtimes import get
from runner.text.problems import Problem, dotted, found, near, one_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from runner.config.layers import Layer
    from runner.text.positions import Path


_SPEAKERS = {
    "human": "a person",
    "owner": "a host whose server belongs to no run",
    "runner": "what runner saw itself",
}


def examine(
    merged: dict[str, Any], stack: Sequence[Layer], dropped: frozenset[Path]
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Problems and notes of the merged settings. `dropped` are keys that are wrong already and say
    nothing more.
    """
    look = _Look(merged, stack, dropped)
    for table, key in (("models", "model"), ("sandboxes", "level"), ("blocks", "text")):
        for name in merged[table]:
            look.required((table, name, key))
    for name, sandbox in merged["sandboxes"].items():
        look.sandbox(name, sandbox)
    for name, model in merged["models"].items():
        look.provider(("models", name, "provider"), model)
        for key in Price._fields if "price" in model else ():
            look.required(("models", name, "price", key))
    look.task(("defaults",), merged["defaults"])
    look.waits(merged["recovery"])
    look.caps(merged["delegate"])
    look.spawnable(merged["delegation"].get("tasks") or ())
    look.git_owner(merged["git"].get("owner"))
    if (name := merged["host"].get("task")) is not None and name not in (known := look.known("tasks")):
        look.note(("host", "task"), f"found {found(name)}; there is no such task here{near(name, known)}")
    for name, task in merged["tasks"].items():
        look.task(("tasks", name), task)
        if name in _SPEAKERS:
            look.note(("tasks", name), f"no handoff reaches it: in a ledger `{name}` is {_SPEAKERS[name]}")
    return tuple(look.problems), tuple(look.notes)


def missing_files(
    merged: dict[str, Any], stack: Sequence[Layer], root: str, committed: str
) -> tuple[Problem, ...]:
    """Problems of files that tasks name: `prompt_file` or `map` that cannot be read, and what the `committed`
    file names outside of the repository. Only `check` asks: one task's file must not stop another task.
    """
    problems = []
    tables = [(("defaults",), merged["defaults"]), *((("tasks", n), t) for n, t in merged["tasks"].items())]
    for table, task in tables:
        for name in ("prompt_file", "map", "rehearse"):
            path = task.get(name)
            if not isinstance(path, str):
                continue
            where: Path = (*table, name)
            layer, place = layers.setter(stack, where), os.path.join(root, path)
            if name != "rehearse" and not os.path.isfile(place):
                problems.append(layer.problem(where, f"found {found(path)}; no such file in {root}"))
            elif name == "prompt_file" and (what := _is_no_prompt(place)):
                problems.append(layer.problem(where, f"found {found(path)}, {what}; expected a prompt"))
            elif layer.source == committed and not _is_within(place, root):
                message = (
                    f"found {found(path)}, which is outside of the repository; expected a file in {root}"
                )
                problems.append(layer.problem(where, message))
    return tuple(problems)


def _is_no_prompt(path: str) -> str | None:
    """What is wrong with it, of what a start would refuse."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError):
        return "which cannot be read as UTF-8"
    if "\0" in text:
        return "which has a NUL character"
    return None if text.strip() else "which is empty"


def _is_within(path: str, root: str) -> bool:
    """With links followed."""
    return os.path.realpath(path).startswith(os.path.realpath(root).rstrip("/") + "/")


class _Look:
    def __init__(self, merged: dict[str, Any], stack: Sequence[Layer], dropped: frozenset[Path]) -> None:
        self.merged = merged
        self.stack = stack
        self.dropped = dropped
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []

    def known(self, table: str) -> list[str]:
        """Names that are set, with those whose table is wrong."""
        broken = [str(path[1]) for path in self.dropped if len(path) == 2 and path[0] == table]
        return [*self.merged[table], *broken]

    def complain(self, path: Path, message: str) -> None:
        self.problems.append(layers.setter(self.stack, path).problem(path, message))

    def required(self, path: Path) -> None:
        if not layers.has(self.merged, path) and path not in self.dropped:
            self.complain(path, f"is missing; [{dotted(path[:-1])}] needs it")

    def sandbox(self, name: str, sandbox: dict[str, Any]) -> None:
        path: Path = ("sandboxes", name)
        level = sandbox.get("level")
        if name in LEVELS:
            self.complain(path, "is the name of a level; give the table another name")
        if level == "read-only" and sandbox.get("network"):
            self.complain(
                (*path, "network"),
                f'found {found(sandbox["network"])} with level "read-only", which has no network; '
                'expected level "workspace-write", or network = false',
            )
        if level == "read-only" and sandbox.get("writable"):
            self.complain(
                (*path, "writable"), 'found folders with level "read-only"; expected level "workspace-write"'
            )
        for key in ("network", "deny_read"):
            # A list of hosts says as much as false does: something is kept from the agent.
            value = sandbox.get(key)
            if level == "danger-full-access" and value not in (None, True, []):
                self.complain(
                    (*path, key),
                    f'found {found(value)} with level "danger-full-access", which has no sandbox to block '
                    'it; expected level "workspace-write"',
                )
        if level == "danger-full-access" and not sandbox.get("allow_danger"):
            self.note((*path, "level"), "is refused at every start without allow_danger = true")

    def waits(self, recovery: dict[str, Any]) -> None:
        if recovery["backoff_max"] < recovery["backoff"]:
            path: Path = ("recovery", "backoff")
            if layers.setter(self.stack, path).source == "default":
                path = ("recovery", "backoff_max")
            self.complain(path, "the first wait, `backoff`, is longer than the longest, `backoff_max`")

    def caps(self, delegate: dict[str, Any]) -> None:
        soft, hard = delegate["soft_cap"], delegate["hard_cap"]
        paths: tuple[Path, Path] = (("delegate", "hard_cap"), ("delegate", "soft_cap"))
        if hard < soft and not self.dropped.intersection(paths):
            written = [path for path in paths if layers.setter(self.stack, path).source != "default"]
            self.complain(written[0], f"hard_cap is {hard}; expected at least soft_cap, which is {soft}")

    def spawnable(self, names: Sequence[str]) -> None:
        for n, name in enumerate(names):
            if name not in self.known("tasks"):
                known = self.known("tasks")
                self.complain(
                    ("delegation", "tasks", n), f"found {found(name)}; no such task{near(name, known)}"
                )

    def git_owner(self, name: str | None) -> None:
        known = (*GIT_OWNERS, *self.known("tasks"))
        if name is not None and name not in known:
            self.unknown(("git", "owner"), name, "human, runner or a task", known)

    def note(self, path: Path, message: str) -> None:
        self.notes.append(layers.setter(self.stack, path).problem(path, message))

    def provider(self, path: Path, model: dict[str, Any]) -> None:
        runtime = get(model.get("runtime") or self.merged["defaults"]["runtime"])
        provider = model.get("provider")
        known = (*runtime.providers, *runtime.provider_aliases)
        if runtime.providers and provider is not None and provider not in known:
            self.complain(
                path, f"found {found(provider)}; expected one of {one_of(known)}{near(provider, known)}"
            )

    def task(self, path: Path, task: dict[str, Any]) -> None:
        sandbox = task.get("sandbox")
        known = (*self.known("sandboxes"), *LEVELS)
        if sandbox is not None and sandbox not in known:
            self.unknown((*path, "sandbox"), sandbox, "a name from [sandboxes] or a level", known)
        for n, block in enumerate(task.get("blocks") or ()):
            if block not in self.known("blocks"):
                self.unknown((*path, "blocks", n), block, "names from [blocks]", self.known("blocks"))
        self.model(path, task)

    def unknown(self, path: Path, name: str, wanted: str, known: Iterable[str]) -> None:
        known = list(dict.fromkeys(known))
        self.complain(path, f"found {found(name)}; expected {wanted}: {one_of(known)}{near(name, known)}")

    def model(self, path: Path, task: dict[str, Any]) -> None:
        defaults = self.merged["defaults"]
        name = task.get("model") or defaults.get("model")
        if name is None:
            return
        if name not in self.known("models"):
            hint = near(name, self.merged["models"])
            if hint and "model" in task:
                self.note((*path, "model"), f"{found(name)} is passed on as a model id{hint}")
            return
        wanted = self.merged["models"].get(name, {}).get("runtime")
        runtime = task.get("runtime")
        explicit = runtime is not None and layers.setter(self.stack, (*path, "runtime")).source != "default"
        if wanted is not None and explicit and runtime != wanted:
            self.complain(
                (*path, "runtime"), f"found {found(runtime)}, but model {found(name)} is for {found(wanted)}"
            )
