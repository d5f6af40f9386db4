"""Rules between settings: names that exist, levels that fit. Pure, except that `check` looks for prompt
files.
"""

from __future__ import annotations

import os
import re
from graphlib import CycleError, TopologicalSorter

from runner.config import layers
from runner.config.effective import linked, task_of
from runner.config.sent import kept_behind
from runner.config.values import ENGINE_FLAGS, INPUT_PATTERN, LEVELS, OF_EXECUTOR, SEVERITIES, STAGE_KINDS
from runner.executors import LOCAL
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
    for table, key in (
        ("models", "model"),
        ("sandboxes", "level"),
        ("executors", "kind"),
        ("blocks", "text"),
    ):
        for name in merged[table]:
            look.required((table, name, key))
    for name, sandbox in merged["sandboxes"].items():
        look.sandbox(name, sandbox)
    for name, executor in merged["executors"].items():
        look.executor(("executors", name), executor)
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
    for name, pipeline in merged["pipelines"].items():
        look.required(("pipelines", name, "stages"))
        look.pipeline(("pipelines", name), {"stages": []} | pipeline)
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
            elif (
                layer.source == committed and (why := _kept(root, path, task, merged)) and name != "rehearse"
            ):
                problems.append(
                    layer.problem(where, f"found {found(path)}, which {why}; expected another file")
                )
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


def _kept(root: str, path: str, task: dict[str, Any], merged: dict[str, Any]) -> str | None:
    """As a start says it."""
    named = merged["sandboxes"].get(task.get("sandbox", merged["defaults"]["sandbox"]), {})
    denied = [
        os.path.normpath(os.path.join(root, os.path.expanduser(one))) for one in named.get("deny_read", ())
    ]
    return kept_behind(root, path, os.path.realpath(os.path.join(root, path)), denied)


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
        if not layers.has(self.merged, path) and path not in {one[: len(path)] for one in self.dropped}:
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

    def executor(self, path: Path, executor: dict[str, Any]) -> None:
        if path[1] == LOCAL:
            self.complain(path, "is the name of this machine; give the table another name")
        kind, hosts = executor.get("kind"), executor.get("hosts", ())
        if kind == "ssh":
            self.required((*path, "hosts"))
        for key in executor:
            if any(key in keys and other != kind for other, keys in OF_EXECUTOR.items() if kind):
                self.complain((*path, key), f'is no key of an executor of kind "{kind}"')
        if len({*hosts}) < len(hosts):
            self.complain((*path, "hosts"), "has a host twice")
        for key, value in executor.get("options", {}).items():
            if value == "" and key not in ENGINE_FLAGS:
                self.complain((*path, "options", key), "has no value; expected one")
            if key in ("nodelist", "exclude") and "/" in value:
                self.complain(
                    (*path, "options", key), f"found {found(value)}; sbatch would read a file of nodes"
                )

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
        executor, places = task.get("executor", LOCAL), (*self.known("executors"), LOCAL)
        if executor not in places:
            self.unknown((*path, "executor"), executor, "a name from [executors], or local", places)
        elif executor != LOCAL and path[0] == "tasks":
            self.placed((*path, "executor"), task, self.merged["executors"].get(executor, {}))
        for n, block in enumerate(task.get("blocks") or ()):
            if block not in self.known("blocks"):
                self.unknown((*path, "blocks", n), block, "names from [blocks]", self.known("blocks"))
        self.model(path, task)

    def placed(self, path: Path, task: dict[str, Any], executor: dict[str, Any]) -> None:
        """What keeps a task from being started there, or from its end."""
        from runner.executors.lifetime import too_short  # most tasks live here

        time, timeout, box = executor.get("time"), task.get("timeout"), task.get("sandbox")
        if isinstance(time, float):
            if (why := too_short(time, task.get("grace", 0.0))) is not None:
                self.complain(path, f"found {found(task['executor'])}, which {why}")
            elif isinstance(timeout, float) and time < timeout:
                self.note(path, "ends a run sooner than the `timeout` of the task")
        level = self.merged["sandboxes"].get(box, {}).get("level", box)
        if level in LEVELS and level != "read-only" and task.get("workspace") != "worktree":
            self.note(
                path,
                'is refused at every start but of a plan: the task may write, without workspace = "worktree"',
            )

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

    def pipeline(self, path: Path, pipeline: dict[str, Any]) -> None:
        if path[1] in self.known("tasks"):
            self.complain(path, "is the name of a task as well; give the pipeline another one")
        given, stages = pipeline.get("input", []), linked("", pipeline)["stages"]
        for k, name in enumerate(given):
            if name in self.merged or not re.fullmatch(INPUT_PATTERN, name):
                text = "a name of lower-case letters, digits and `_` that is no key of delegate.toml"
                self.complain((*path, "input", k), f"found {found(name)}; expected {text}")
        self.once((*path, "input"), given)
        names = [stage["name"] for stage in stages]
        for n, stage in enumerate(stages):
            here: Path = (*path, "stages", n)
            if stage["name"] in names[:n]:
                self.complain((*here, "name"), f"found {found(names[n])}; an earlier stage is called so")
            self.once((*here, "tasks"), stage.get("tasks", ()))
            self.once((*here, "needs"), stage["needs"])
            for k, name in enumerate(stage["needs"]):
                if name not in names:
                    self.unknown((*here, "needs", k), name, "a stage of the pipeline", names)
            for key in ("plan", "person"):
                value = stage.get(key, "")
                filled = re.sub(r"{(\w*)}", lambda word: "x" if word[1] in given else "{", value)
                if re.search(r"^[/~]|(^|/)(\.\.|(?i:\.git|\.runs))(/|$)|/$|[{}\n\0]", filled):
                    text = (
                        "a file in the repository, not in `.git` or `.runs`, and in braces a name of `input`"
                    )
                    self.complain((*here, key), f"found {found(value)}; expected {text}: {one_of(given)}")
            self.stage(here, stage)
        if stages and all([kind for kind in STAGE_KINDS if kind in stage] == ["person"] for stage in stages):
            self.complain((*path, "stages"), "none of them starts a run; expected one that does")
        try:
            if len({*names}) == len(names):
                TopologicalSorter({stage["name"]: stage["needs"] for stage in stages}).prepare()
        except CycleError as error:
            circle = error.args[1][::-1]
            place = (*path, "stages", names.index(circle[0]))
            self.complain(place, f"{' -> '.join(circle)}: each needs the next one, so none can begin")

    def once(self, path: Path, names: Sequence[str]) -> None:
        for n, name in enumerate(names):
            if name in names[:n]:
                self.complain((*path, n), f"found {found(name)} again; expected each name once")

    def stage(self, path: Path, stage: dict[str, Any]) -> None:
        kinds = [kind for kind in STAGE_KINDS if kind in stage]
        if len(kinds) != 1:
            told = " and ".join(kinds) or "none"
            self.complain(path, f"found {told}; expected exactly one of {', '.join(STAGE_KINDS)}")
        for key, other in (("task", "plan"), ("plan", "task"), ("prompt", "person")):
            if key in stage and other not in stage:
                self.complain((*path, key), f"is set without `{other}`")
        gravest, repair = stage.get("gate", {}).get("no_findings"), stage.get("repair", {})
        least = repair.get("severity", "critical")
        if gravest and kinds in (["plan"], ["person"]):
            self.complain((*path, "gate"), f"nobody can pass it: a stage with `{kinds[0]}` has no findings")
        if kinds == ["person"] and not (stage["person"] or stage.get("gate", {}).get("approve")):
            text = 'nobody can pass it: there is no document to wait for; expected gate = "approve"'
            self.complain((*path, "person"), text)
        if repair and not gravest:
            self.complain((*path, "repair"), "is set without `no_findings` in `gate`")
        elif repair and "tasks" not in stage:
            self.complain((*path, "repair"), "is set without `tasks`, whose reviews would follow it")
        elif repair and SEVERITIES.index(least) < SEVERITIES.index(gravest):
            self.complain((*path, "repair"), f"repairs only {least}; expected severity = {found(gravest)}")
        compare, known = stage.get("compare", {}), self.known("tasks")
        named: dict[Path, str] = {("tasks", n): name for n, name in enumerate(stage.get("tasks", ()))}
        named |= {("task",): stage["task"]} if "task" in stage else {}
        parts = (("compare", "a"), ("compare", "b"), ("compare", "task"), ("repair", "task"))
        named |= {(part, key): stage[part][key] for part, key in parts if part in stage}
        for where, name in named.items():
            if name not in known:
                self.unknown((*path, *where), name, "a task", known)
        tasks = {at: task_of(name, self.merged) for at, name in named.items() if name in self.merged["tasks"]}
        self.roles(path, tasks, is_review=bool(gravest), is_parallel=compare.get("pattern") != "adversarial")

    def roles(self, path: Path, tasks: dict[Path, Any], *, is_review: bool, is_parallel: bool) -> None:
        """Whether the tasks of a stage can be what it makes of them."""
        boxes = {name: {"level": name} for name in LEVELS} | self.merged["sandboxes"]
        levels = {at: boxes.get(task["sandbox"], {}).get("level") for at, task in tasks.items()}
        first, second, judge = (("compare", key) for key in ("a", "b", "task"))
        readers = {at for at in tasks if is_review and at[0] == "tasks"} | {judge}
        readers |= {second} if levels.get(first) in LEVELS[1:] or not is_parallel else set()
        for where, task in tasks.items():
            if where in readers and levels[where] in LEVELS[1:]:
                self.complain((*path, *where), f"may write ({levels[where]}); expected a read-only task here")
            if where[0] == "repair" and levels[where] == LEVELS[0]:
                self.complain((*path, *where), "is read-only; expected a task that may write")
            if task["open"]:
                self.complain((*path, *where), "waits for messages (open = true); expected one that does not")
        contracts = {task["output_contract"] for where, task in tasks.items() if where[0] == "tasks"}
        if is_review and contracts and contracts.isdisjoint((False, "findings")):
            text = 'nobody can pass it: no task has output_contract = "findings", or none'
            self.complain((*path, "gate"), text)
        a, b = tasks.get(first, {}), tasks.get(second, {})
        if a and b and a["runtime"] == b["runtime"]:
            self.complain((*path, *second), f"has the runtime of a, {a['runtime']}; expected another one")
        if a and b and is_parallel and any(a.get(key) != b.get(key) for key in ("prompt", "prompt_file")):
            self.complain((*path, *second), "has another prompt than a; expected the same in both")
