"""Two settings of one repository: what one lets runs do that the other does not. Pure.

Both become facts of each task, as they are in force: what `[defaults]` or a sandbox says stands with every
task that it holds for, and in the end once, with these tasks. Where nobody can say which of two values lets a
run do more, the change counts as if it did.
"""

from __future__ import annotations

import shlex

from runner.config import facts as compare
from runner.config.facts import NARROWS, OTHER, WIDENS, Fact
from runner.config.layers import leaves
from runner.config.policy import USUAL
from runner.config.successors import renamed
from runner.config.trust import HARMLESS, RUNS, SENDS, kind
from runner.executors import LOCAL
from runner.lightjson import dumps
from runner.model import Caps, Level, Model, Sandbox, Task
from runner.text.durations import format_duration
from runner.text.problems import dotted
from runner.text.words import shortened
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from typing import Any

    from runner.config.facts import Compare
    from runner.config.layers import Layer
    from runner.model import Config
    from runner.text.positions import Path

    Facts = dict[str, "Fact"]

BREACH = "breach"
RULES = (
    *("level", "network", "host", "writable", "deny_read", "env", "program", "mcp", "config", "sends"),
    *("check_removed", "check_weakened", "scope", "gate", "delegation", "budget", "git", "script", "trust"),
    "executor",
)
"""Each kind of what is widened; the names are stable."""
_OF_ENGINE = ("kind", "partition", "account", "qos", "constraint", "options", "hosts")


class Side(Value):
    """The settings at one commit, and where their keys stand there."""

    config: Config
    layer: Layer

    def line(self, path: Path) -> int | None:
        """Of the key, or of the nearest table around it."""
        return self.layer.place(path)[1]


class SettingChange(Value):
    """`line` is one of BASE where something was taken away there (`is_gone`). A list is told by what came and
    what went.
    """

    effect: str
    rule: str
    before: str | None
    after: str | None
    key: str = ""
    line: int | None = None
    is_gone: bool = False
    tasks: tuple[str, ...] = ()
    file: str | None = None
    """Another one than that of the settings."""


def _is_same(one: Any, other: Any) -> bool:
    """As JSON has it, where True is not 1."""
    if isinstance(one, (str, tuple, Value)):
        return bool(one == other)
    return one is other or (
        type(one) is type(other) and dumps(one, sort_keys=True) == dumps(other, sort_keys=True)
    )


_RULES: dict[Path, tuple[str, Compare]] = {
    ("tasks", "runtime"): ("program", compare.anything),
    ("tasks", "scope"): ("scope", compare.globs),
    ("tasks", "prompt_file"): ("sends", compare.usual(None)),
    ("tasks", "map"): ("sends", compare.usual(None)),
    ("tasks", "paste"): ("sends", compare.pasted),
    ("tasks", "verify_from"): ("check_weakened", compare.ranked("base", "run")),
    ("tasks", "protect"): ("check_weakened", compare.lost(compare.globs)),
    ("tasks", "output_contract"): ("check_weakened", lambda before, _: NARROWS if before is None else WIDENS),
    ("tasks", "conformance"): ("check_weakened", compare.ranked("enforce", "report")),
    ("tasks", "expects_change"): ("check_weakened", compare.ranked(True, False)),
    ("tasks", "on_failure"): ("check_weakened", compare.ranked("rollback", None, "keep")),
    ("tasks", "workspace"): ("gate", compare.ranked("worktree", "in-place")),
    ("tasks", "start"): ("gate", compare.ranked("manual", "on_handoff")),
    ("tasks", "delegation"): ("delegation", compare.ranked(False, True)),
    ("tasks", "rehearse"): ("program", compare.ranked(True, False)),
    ("tasks", "rehearsal_script"): ("program", compare.usual(None)),
    **{("tasks", name): ("budget", compare.more) for name in Task._fields if name[-2:] == "_s"},
    ("tasks", "retries"): ("budget", compare.more),
    **{("limits", name): ("budget", compare.more) for name in Caps._fields},
    ("limits", "warn_at"): (OTHER, compare.neutral),
    ("sandboxes", "level"): ("level", compare.ranked(*Level)),
    ("sandboxes", "allow_danger"): ("level", compare.ranked(False, True)),
    ("sandboxes", "network"): ("network", compare.hosts),
    ("sandboxes", "writable"): ("writable", compare.folders),
    ("sandboxes", "deny_read"): ("deny_read", compare.lost(compare.folders)),
    ("tasks", "executor"): ("executor", compare.usual(None)),
    **{("executors", name): ("executor", compare.anything) for name in _OF_ENGINE},
    ("executors", "cpus"): ("budget", compare.more),
    ("executors", "memory"): ("budget", compare.memory),
    ("executors", "gpus"): ("budget", compare.more),
    ("executors", "time_s"): ("budget", compare.time),
    ("executors", "max_running"): ("budget", compare.more),
    ("executors", "slots"): ("budget", compare.more),
    ("executors", "requeue"): ("budget", compare.ranked(False, True)),
    ("models", "provider"): ("host", compare.anything),
    ("models", "runtime"): ("program", compare.anything),
    ("models", "price"): ("budget", compare.cheaper),
    ("runtimes", "env"): ("env", compare.added),
    ("runtimes", "version"): ("program", compare.versions),
    ("runtimes", "isolated"): ("mcp", compare.ranked(True, False)),
    ("runtimes", "permission_timeout_s"): (OTHER, compare.neutral),
    ("runtimes", "permissions"): ("program", compare.ranked("refuse", None, "ask", "allow")),
    ("delegation", "enabled"): ("delegation", compare.ranked(False, True)),
    ("delegation", "tools"): ("delegation", compare.added),
    ("delegation", "tasks"): ("delegation", compare.added),
    ("delegation", "on_parent_end"): ("delegation", compare.ranked("cancel", "leave")),
    ("delegation", "server"): ("mcp", compare.anything),
    ("delegation", "max_depth"): ("budget", compare.more),
    ("delegation", "max_children"): ("budget", compare.more),
    ("recovery", "api_retries"): ("budget", compare.more),
    ("delegate", "max_parallel"): ("budget", compare.more),
    ("delegate", "max_failures"): ("budget", compare.more),
    ("delegate", "decision"): ("gate", compare.ranked("ask", "auto")),
    ("delegate", "files"): ("check_weakened", compare.ranked("strict", "warn", "off")),
    ("delegate", "commit"): ("git", compare.usual(False)),
    ("host", "level"): ("gate", compare.ranked("strict", "guide")),
    ("host", "may_edit"): ("writable", compare.globs),
    ("git", "owner"): ("git", compare.ranked("human", "runner", None)),
    ("gate", "approve"): ("gate", compare.ranked(True, None)),
    ("gate", "no_findings"): ("gate", compare.ranked("minor", "important", "critical", None)),
}
"""(table, field) -> what a change of it is. Without a row it is harmless where `trust` says so."""


def changes(base: Side, head: Side) -> list[SettingChange]:
    """Every change, each once, with the tasks that it is in force for."""
    before, after = _subjects(base.config), _subjects(head.config)
    checks = [one for named in before.values() for one in named.values() if one.rule == "check"]
    started = {argv for one in checks for argv in one.value}
    seen = dict[object, list[SettingChange]]()
    told, known = [*_gone(before, after, base)], renamed(before, after)
    for subject, now in after.items():
        table, is_new = subject[0], subject not in before
        if is_new:
            told.append(_came(subject, now, known, head))
        kept = {
            name: one for name, one in before.get(known.get(subject, ()), {}).items() if one.rule == "check"
        }
        then = before.get(subject, before["defaults",] if table == "tasks" else kept)
        if table == "models" and is_new and now["runtime"].value == before["defaults",]["runtime"].value:
            then = {"runtime": now["runtime"]}
        for name in dict.fromkeys((*now, *then)):
            fact = now.get(name) or _without(name, then[name], then, now)
            was = then.get(name) or fact.replace(value=() if isinstance(fact.value, tuple) else None)
            is_told = not is_new or table in ("tasks", "models") or fact.rule == "check"
            if _is_same(was.value, fact.value) or not is_told or (is_new and fact.rule == OTHER):
                continue
            is_list = {type(was.value), type(fact.value)} <= {tuple, type(None)}
            key = (fact.rule, fact.compare, was.value, fact.value) if is_list else None  # thousands are alike
            if (made := seen.get(key) if key else None) is None:
                fresh = _checked(was, fact, started) if fact.rule == "check" else _compared(was, fact)
                made = seen[key] = [*fresh]
            mine = subject[1:] if table == "tasks" else ()
            told += [_placed(one.replace(tasks=mine), was, fact, base, head) for one in made]
    found: dict[SettingChange, SettingChange] = {}
    for one in told:
        alike = one.replace(tasks=())
        found[alike] = one.replace(tasks=(*found.get(alike, alike).tasks, *one.tasks))
    return sorted(found.values(), key=lambda one: (one.is_gone, one.line or 0))


def too_many(side: Side) -> Iterator[tuple[Path, str]]:
    """(key, sentence) of each number that asks for more than the ceilings allow: a start cuts it down."""
    config, policy = side.config, side.config.policy
    rows: dict[Path, tuple[str, int | None]] = {}
    for path, task in _tasks(config).items():
        for key in ("tokens", "tree_tokens"):
            rows[*path, "limits", key] = "max_tokens", getattr(task.limits, key)
    for key in ("max_depth", "max_children"):
        rows["delegation", key] = key, getattr(config.delegation, key)
    for path, (ceiling, value) in rows.items():
        most = getattr(policy, ceiling)
        if most is not None and path in side.layer.places and (value is None or value > most):
            files = " and ".join(policy.sources.get(ceiling, ()))
            yield path, f"`{path[-1]}` is {_word(value)}, and {files} allows {most} in `{ceiling}`"


def _subjects(config: Config) -> dict[Path, Facts]:
    """What `[defaults]` gives a task that says nothing, each task with all that is in force for it, and what
    every other table says.
    """
    found = {path: _of_task(config, task, path) for path, task in _tasks(config).items()}
    found |= {("sandboxes", name): _of_sandbox(one) for name, one in config.sandboxes.items()}
    for table, named in (("runtimes", config.runtimes), ("models", config.models)):
        found |= {(table, name): _of(table, one, (table, name), "name") for name, one in named.items()}
    for name, one in config.runtimes.items():
        facts, path = found["runtimes", name], ("runtimes", name)
        for key, rule in (("command", "program"), ("args", "program"), ("provider", "host")):
            facts[key] = Fact(rule, compare.anything, getattr(one, key), (*path, key))
        facts |= _of_config(path, facts.pop("config").value)
    for name, place in config.executors.items():
        facts = found["executors", name] = _of("executors", place, ("executors", name), "name")
        lasts = "task" if place.time_s is None else format_duration(place.time_s)
        facts["time_s"] = facts["time_s"].replace(value=lasts, is_time=False)
    for table in ("delegation", "recovery", "delegate", "economics", "host", "git"):
        found[table,] = _of(table, getattr(config, table), (table,))
    blocks = {
        name: Fact(OTHER, compare.neutral, text, ("blocks", name, "text"))
        for name, text in config.blocks.items()
    }
    return found | {("blocks",): blocks} | dict(_stages(config))


def _tasks(config: Config) -> dict[Path, Task]:
    defaults = Task.from_json({**getattr(config.tasks, "defaults", {}), "id": ""})
    return {("defaults",): defaults} | {("tasks", name): task for name, task in config.tasks.items()}


def _of(table: str, value: Value, path: Path, *but: str) -> Facts:
    """The fields of a value by their rules. What nobody has said anything of counts as `trust` counts it."""
    facts, harmless = {}, HARMLESS.get(table, ())
    for name in value._fields:
        if name not in but:
            key = "rehearse" if name == "rehearsal_script" else name.removesuffix("_s")
            is_harmless = harmless is None or key in harmless
            rule = _RULES.get(
                (table, name), (OTHER, compare.neutral) if is_harmless else ("trust", compare.anything)
            )
            facts[name] = Fact(*rule, getattr(value, name), (*path, key), is_time=name.endswith("_s"))
    return facts


def _of_task(config: Config, task: Task, path: Path) -> Facts:
    model = config.models.get(task.model or "", Model(None, None))
    provider = model.provider or config.runtimes[task.runtime].provider
    says = ("models", task.model or "") if model.provider else ("runtimes", task.runtime)
    facts = _of("tasks", task, path, "id", "limits", "sandbox")
    if task.executor == LOCAL:
        facts["executor"] = facts["executor"].replace(value=None)
    if model.runtime:
        facts["runtime"] = facts["runtime"].replace(path=(*path, "model"))
    for key, one in _of("limits", task.limits, (*path, "limits")).items():
        facts[f"limits.{key}"] = one
    for key in ("verify", "prepare"):
        facts[key] = facts[key].replace(rule="check", compare=compare.kept)
    facts["scope"] = facts["scope"].replace(value=task.scope or None)
    facts["served by"] = Fact("host", compare.anything, provider, (*says, "provider"))
    return facts | _of_sandbox(config.sandboxes[task.sandbox], (*path, "sandbox"))


def _of_sandbox(one: Sandbox, via: Path = ()) -> Facts:
    facts = _of("sandboxes", one, ("sandboxes", one.name), "name", "hosts")
    facts["network"] = facts["network"].replace(value=None if one.network and not one.hosts else one.hosts)
    return {f"sandbox {name}": fact.replace(via=via) for name, fact in facts.items()}


def _of_config(path: Path, config: Mapping[str, Any]) -> Facts:
    """Of each setting that the agent CLI gets, what it is about."""
    facts = {}
    for leaf in leaves({**config}):
        value: Any = config
        for part in leaf:
            value = value[part]
        name, where = ".".join(map(str, leaf)), (*path, "config", *leaf)
        is_mcp = not {"mcp_servers", "mcpServers"}.isdisjoint(name.split("."))
        rule = {RUNS: "program", SENDS: "host"}.get(kind(where, value), "config")
        rule = "mcp" if is_mcp else OTHER if name in USUAL["config"] else rule
        facts[dotted(("config", *leaf))] = Fact(
            rule, compare.neutral if rule == OTHER else compare.anything, value, where
        )
    return facts


def _stages(config: Config) -> Iterator[tuple[Path, Facts]]:
    for name, pipeline in config.pipelines.items():
        given: Path = ("pipelines", name, "input")
        yield given[:2], {"input": Fact("trust", compare.anything, tuple(pipeline.get("input", ())), given)}
        for n, stage in enumerate(pipeline["stages"]):
            path, gate = ("pipelines", name, "stages", n), stage["gate"]
            repair = {**(stage["repair"] or {})}
            rounds = repair.pop("max_rounds", 0)
            person = True if stage["person"] == "" else stage["person"]
            rest = {**stage, "person": person, "repair": repair, "gate": None, "prompt": None}
            rest = {key: one for key, one in rest.items() if one not in (None, [], {})}
            facts = {
                key: Fact(*_RULES["gate", key], gate[key] or None, (*path, "gate"))
                for key in ("approve", "no_findings")
            }
            checks = tuple(map(tuple, gate["commands"]))
            facts["commands"] = Fact("check", compare.kept, checks, (*path, "gate"))
            facts["prompt"] = Fact(OTHER, compare.neutral, stage["prompt"], (*path, "prompt"))
            facts["rounds of repair"] = Fact("budget", compare.more, rounds, (*path, "repair"))
            yield (
                ("pipelines", name, stage["name"]),
                {**facts, "stage": Fact("gate", compare.anything, rest, path)},
            )


def _gone(before: Mapping[Path, Facts], after: Mapping[Path, Facts], base: Side) -> Iterator[SettingChange]:
    """Tasks and stages. What one held, each new task has to hold, or in place of its pipeline each new one,
    in the stage of its name.
    """
    fresh: dict[Path, dict[str, dict[str, Any]]] = {}
    for subject in (one for one in after if one[:2] not in before):
        for name, one in after[subject].items():
            fresh.setdefault(subject[::2], {}).setdefault(name, {})[repr(one.value)] = one.value
    tables = {subject[0] for subject in fresh}
    free: dict[str, Any] = {"approve": None, "no_findings": None, "commands": (), "stage": None}
    free |= {"rounds of repair": 0}
    free |= {name: one.value for name, one in before["defaults",].items()}
    for subject, facts in before.items():
        if subject in after or subject[0] not in ("tasks", "pipelines"):
            continue
        is_task, rules, kin = subject[0] == "tasks", dict[str, list[str]](), fresh.get(subject[::2], {})
        for name, one in facts.items() if subject[0] in tables else ():
            others = (
                kin.get(name, {"": free[name]}).values() if one.value != free.get(name, one.value) else ()
            )
            if any(one.value != now and one.compare(one.value, now) == WIDENS for now in others):
                rule = "check_removed" if one.rule == "check" else one.rule
                said = _word(one.value) if name == "stage" else one.path[-1] if is_task else name
                rules.setdefault(rule if is_task else "gate", []).append(str(said))
        if len(subject) == 3 and any(one[:2] == subject[:2] for one in after):
            rules = {"gate": []}
        path = facts["stage"].path if "stage" in facts else subject
        for rule, names in rules.items() or (("gone", ()),):
            effect, words = NARROWS if rule == "gone" else WIDENS, ", ".join(names) or None
            yield SettingChange(effect, rule, words, None, dotted(subject), base.line(path), is_gone=True)


def _came(subject: Path, now: Facts, known: Mapping[Path, Path], head: Side) -> SettingChange:
    """A stage acts where nothing did, unless it only waits for a person. One that is `known` was compared."""
    stage = now.get("stage")
    if stage is None or "person" in stage.value or subject in known:
        return SettingChange(OTHER, "new", None, None, dotted(subject), head.line(subject))
    return SettingChange(WIDENS, "gate", None, _word(stage.value), dotted(subject), head.line(stage.path))


def _without(name: str, was: Fact, then: Facts, now: Facts) -> Fact:
    """What is there no more. Only a server as a whole does not widen, and one that BASE started: others may
    have been held back. A key with a dot is as many: an agent CLI splits it so.
    """
    above = name.replace('"', "").split(".")[:3]
    keys = ([key.replace('"', "").split(".") for key in facts] for facts in (then, now))
    had, has = ({"".join(key[3:4]) for key in some if key[:3] == above} for some in keys)
    is_whole = was.rule == "mcp" and not has and {"command", "url", "httpUrl"} & had
    return was.replace(value=None, compare=compare.usual(None) if is_whole else was.compare)


def _checked(was: Fact, now: Fact, started: Collection[tuple[str, ...]]) -> Iterator[SettingChange]:
    """One more check is one more program outside of every sandbox, unless some command starts it already."""
    had, has = (dict.fromkeys(one.value or ()) for one in (was, now))
    gone, came = [one for one in had if one not in has], [one for one in has if one not in had]
    if gone:
        yield SettingChange(WIDENS, "check_weakened" if came else "check_removed", _typed(gone), _typed(came))
    for is_old, effect, rule in ((False, WIDENS, "program"), (True, NARROWS, "check_added")):
        some = [one for one in came if (one in started) is is_old]
        if some and not (gone and is_old):
            yield SettingChange(effect, rule, None, _typed(some))
    if not (gone or came):
        yield SettingChange(OTHER, "check", _typed([*had]), _typed([*has]))


def _compared(was: Fact, now: Fact) -> Iterator[SettingChange]:
    before, after = was.value, now.value
    rule = now.rule if now.rule != "network" or None in (before, after) else "host"
    effect = now.compare(before, after)
    if isinstance(before, tuple) and isinstance(after, tuple):
        sides = [dict.fromkeys(map(_word, one)) for one in (before, after)]
        gone, came = ([one for one in x if one not in y] for x, y in (sides, sides[::-1]))
        yield SettingChange(effect, rule, ", ".join(gone) or None, ", ".join(came) or None)
    else:
        yield SettingChange(effect, rule, _word(before, now), _word(after, now))


def _typed(commands: Sequence[Sequence[str]]) -> str | None:
    return "; ".join(map(shlex.join, commands)) or None


def _word(value: Any, fact: Fact | None = None) -> str:
    if value is None or value == ():
        return (
            "everything"
            if value is None and fact and fact.rule in ("scope", "network", "delegation")
            else "none"
        )
    if fact and fact.is_time:
        return format_duration(value)
    if isinstance(value, tuple):
        return ", ".join(map(_word, value))
    plain = value.to_json() if isinstance(value, Value) else value
    text = value if isinstance(value, str) else dumps(plain, ensure_ascii=False)
    return shortened(text, 60) if fact and fact.rule == OTHER else text


def _placed(one: SettingChange, was: Fact, now: Fact, base: Side, head: Side) -> SettingChange:
    """With the key that says it at HEAD, or said it at BASE; its own one before that of `[defaults]`."""
    is_chosen = now.via and was.path != now.path
    here, there = (fact.via if is_chosen else fact.path for fact in (now, was))
    general: Path = ("defaults", *here[2:]) if here[0] == "tasks" else here
    if here[-1] == "delegation" and general not in head.layer.places:
        general = ("delegation", "enabled")
    there = here if there[0] == "defaults" else there  # of a new task
    for side, path in ((head, here), (base, there), (head, general), (base, general)):
        if path in side.layer.places:
            return one.replace(key=dotted(path), line=side.line(path), is_gone=side is base)
    return one.replace(key=dotted(here), line=head.line(here))
