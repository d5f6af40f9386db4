"""The answers of `check`, `config show`, `init` and `schema`, as values. Edge: the disk (init writes two
files).
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from runner.config import layers, policy, trust
from runner.config.find import (
    EXAMPLE_NAME,
    FILE_NAME,
    LOCAL_NAME,
    SYSTEM_POLICY,
    ConfigFiles,
    committed_local,
    find,
    setting_names,
    shipped,
)
from runner.config.snapshot import Origins, config_from_json
from runner.disk import editable, files, programs
from runner.disk.upwards import git_root
from runner.errors import ConfigInvalid, Conflict, TaskNotFound, Unwritable, UsageError
from runner.model import Level, Policy
from runner.runtimes import get
from runner.runtimes.arguments import lacking, unpriced
from runner.text.problems import Problem, as_error, dotted, near, one_of
from runner.text.words import few
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runner.config.detect import Detected
    from runner.model import Config, Task

DEFAULT_RUNTIME: str = layers.DEFAULTS["defaults"]["runtime"]
IGNORED = (".runs/", LOCAL_NAME)


class CheckReport(Value):
    """`files` were read (absolute paths). `problems` make the settings unusable (exit 2), `breaches` are
    refused by the policy (exit 5), `notes` are advice.
    """

    files: tuple[str, ...]
    problems: tuple[Problem, ...]
    breaches: tuple[Problem, ...]
    notes: tuple[Problem, ...]


class InitReport(Value):
    """`root` is where the file is now; `repository` tells whether that is a git repository, and `found` what
    its files say of tests and sources, where they were asked.
    """

    root: str
    repository: bool
    written: tuple[str, ...]
    gitignored: tuple[str, ...]
    found: Detected | None = None


def check(
    start_dir: str,
    env: Mapping[str, str],
    config_file: str | None = None,
    sets: Sequence[str] = (),
    *,
    system_policy: str = SYSTEM_POLICY,
) -> CheckReport:
    """Everything that is wrong with the settings and the policies, at once."""
    from runner.config import references, schema
    from runner.config.compile import compile_settings

    places = find(start_dir, config_file, env, system_policy)
    done = compile_settings(places, setting_names(env), sets)
    merged = schema.normal(layers.merge(done.layers))
    tracked = committed_local(places)
    problems: tuple[Problem, ...] = (
        *([Problem(places.shown(places.local), None, None, "", tracked)] if tracked else ()),
        *done.problems,
        *references.missing_files(merged, done.layers, places.root, places.shown(places.project)),
    )
    breaches: tuple[Problem, ...] = ()
    absent: tuple[Problem, ...] = ()
    if done.config is not None:
        config = config_from_json(done.config)
        breaches = breaches_of(config, done.layers)
        absent = _absent(config, merged, done.layers, env) + _kept_from_git(config, done.layers)
        problems += _lacking(config, done.layers) + _unpriced(config, done.layers)
        problems += _unverified(config, done.layers)
    below: tuple[Problem, ...] = ()
    if config_file is None and os.path.dirname(places.project) != places.root:
        text = f"agents and checks run in {places.root}, and every path is relative to that"
        below = (Problem(places.shown(places.project), None, None, "", text),)
    return CheckReport(done.files, problems, breaches, (*done.notes, *below, *absent))


def breaches_of(config: Config, stack: Sequence[layers.Layer]) -> tuple[Problem, ...]:
    """What the policy says against tasks and gates, each where it is written."""
    return tuple(
        layers.setter(stack, ("tasks", name)).problem(("tasks", name), sentence)
        for name in config.tasks
        for sentence in policy.task_breaches(config, config.tasks[name])
    ) + tuple(
        layers.setter(stack, path).problem(path, sentence)
        for name, pipeline in config.pipelines.items()
        for path, commands in trust.gate_commands(name, pipeline["stages"])
        for sentence in policy.check_breaches(config.policy, commands, "gate command")
    )


def _lacking(config: Config, stack: Sequence[layers.Layer]) -> tuple[Problem, ...]:
    """What the sandboxes of tasks declare and their runtimes cannot fulfil, where that is declared."""
    found = {}
    for task in config.tasks.values():
        for key, sentence in lacking(get(task.runtime), config.sandboxes[task.sandbox]):
            path = ("sandboxes", task.sandbox, key)
            found[path] = layers.setter(stack, path).problem(
                path, f"{sentence}, and task `{task.id}` uses it"
            )
    return tuple(found.values())


def _kept_from_git(config: Config, stack: Sequence[layers.Layer]) -> tuple[Problem, ...]:
    """Of the task that owns git, where its sandbox keeps it from that."""
    task = config.tasks.get(config.git.owner or "")
    if task is None:
        return ()
    level = config.sandboxes[task.sandbox].level
    is_guarded = level is Level.WORKSPACE_WRITE and get(task.runtime).guards
    if not (level is Level.READ_ONLY or (is_guarded and os.path.isdir(f"{config.root}/.git"))):
        return ()
    text = f"task `{task.id}` cannot commit: its sandbox `{task.sandbox}` keeps `.git` from it"
    path = ("git", "owner")
    return (layers.setter(stack, path).problem(path, f"{text} (danger-full-access does not)"),)


def _unpriced(config: Config, stack: Sequence[layers.Layer]) -> tuple[Problem, ...]:
    found = []
    for task in config.tasks.values():
        model = config.models.get(task.model or "")
        name = (model is not None and model.runtime) or task.runtime
        if (sentence := unpriced(get(name), task, model)) is not None:
            path = ("tasks", task.id, "limits", "price")
            found.append(layers.setter(stack, path).problem(path, sentence))
    return tuple(found)


def _unverified(config: Config, stack: Sequence[layers.Layer]) -> tuple[Problem, ...]:
    """As a start of the pipeline says it; whether each unit of a plan is verified, the plan has to tell."""
    found = {}
    for name, pipeline in config.pipelines.items():
        stages = [stage for stage in pipeline["stages"] if "plan" not in stage]
        pairs = [stage.get(key, {}) for stage in stages for key in ("repair", "compare")]
        named = [task for stage in stages for task in stage.get("tasks", ())]
        named += [pair[key] for pair in pairs for key in ("task", "a", "b") if key in pair]
        tasks = [config.tasks[task] for task in named]
        for task in policy.unverified(config, ((one, config.sandboxes[one.sandbox]) for one in tasks)):
            text = (
                f"pipeline `{name}` commits what it changes, and no command verifies that: it has no `verify`"
            )
            found[task] = layers.setter(stack, ("tasks", task)).problem(("tasks", task), text)
    return tuple(found.values())


def _absent(
    config: Config, merged: Mapping[str, Any], stack: Sequence[layers.Layer], env: Mapping[str, str]
) -> tuple[Problem, ...]:
    """The programs of commands that are not there, and checks that would import from another checkout, each
    where its command is written.
    """
    found: dict[tuple[str | int, ...], str] = {}
    rows: list[tuple[tuple[str | int, ...], Any, bool]] = [
        (path, commands, False)
        for name, pipeline in config.pipelines.items()
        for path, commands in trust.gate_commands(name, pipeline["stages"])
    ]
    for name, task in config.tasks.items():
        for key, commands in (("verify", task.verify), ("prepare", task.prepare)):
            table = ("tasks", name) if key in merged["tasks"][name] else ("defaults",)
            rows.append(((*table, key), commands, task.workspace == "worktree"))
    for path, commands, is_apart in rows:
        for n, argv in enumerate(commands):
            if (program := programs.absent(argv, env, config.root)) is not None:
                found[*path, n] = f"`{program}` was not found: a start is refused (check_missing)"
            elif "/" in argv[0] and not programs.is_executable(os.path.join(config.root, argv[0])):
                found[*path, n] = f"`{argv[0]}` is no program yet: the run has to make it"
            elif path[-1] != "prepare" and (
                led := editable.first_lead([argv], env, config.root, is_apart=is_apart)
            ):
                found[*path, n] = f"{led}; {editable.REPAIR}"
    return tuple(layers.setter(stack, path[:-1]).problem(path, text) for path, text in found.items())


def show(
    start_dir: str,
    env: Mapping[str, str],
    config_file: str | None = None,
    sets: Sequence[str] = (),
    *,
    task: str | None = None,
    origin: bool = False,
    system_policy: str = SYSTEM_POLICY,
) -> dict[str, Any]:
    """The effective settings, of everything or of one task. With `origin` each value is `{"value",
    "origin"}`.
    """
    from runner.config.compile import compile_settings

    places = find(start_dir, config_file, env, system_policy)
    done = compile_settings(places, setting_names(env), sets)
    if done.config is None:
        error = as_error(done.problems)
        raise ConfigInvalid(error["message"], hint=error["hint"], problems=error["problems"])
    if task is not None and task not in done.config["tasks"]:
        names = done.config["tasks"]
        raise TaskNotFound(f'no task "{task}"{near(task, names)}; tasks: {one_of(names)}')
    settings = _effective(config_from_json(done.config), task)
    return _with_origins(settings, Origins(done.config["origins"])) if origin else settings


def _effective(config: Config, task: str | None) -> dict[str, Any]:
    def told(item: Task) -> dict[str, Any]:
        shown = layers.table_of(item, "id", "rehearsal_script", is_whole=True)
        shown["rehearse"] = item.rehearse and (item.rehearsal_script or True)
        shown["limits"] = {key: "none" if item is None else item for key, item in shown["limits"].items()}
        shown["output_contract"] = shown["output_contract"] or False
        return shown

    def tables(named: Mapping[str, Value]) -> dict[str, Any]:
        plain = {name: item.to_json() for name, item in named.items()}
        for item in plain.values():
            item.pop("name")
        return plain

    if task is not None:
        return {"tasks": {task: told(config.tasks[task])}}
    return {
        "runtimes": tables(config.runtimes),
        "models": tables(config.models),
        "sandboxes": tables(config.sandboxes),
        "delegation": config.delegation.to_json(),
        "recovery": layers.table_of(config.recovery, "retries"),
        "delegate": config.delegate.to_json(),
        "economics": config.economics.to_json(),
        "notify": config.notify.to_json(),
        "host": layers.table_of(config.host),
        "git": layers.table_of(config.git),
        "blocks": {name: {"text": text} for name, text in config.blocks.items()},
        "tasks": {name: told(config.tasks[name]) for name in config.tasks},
        "pipelines": {**config.pipelines},
        "policy": config.policy.to_json(),
    }


def _with_origins(settings: dict[str, Any], origins: Origins) -> dict[str, Any]:
    def walk(value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, dict) and value and path[:1] != ("policy",):
            return {key: walk(item, (*path, key)) for key, item in value.items()}
        return {"value": value, "origin": origins[dotted(path)]}

    policies = settings.pop("policy", None)
    shown: dict[str, Any] = {key: walk(item, (key,)) for key, item in settings.items()}
    if policies is not None:
        sources = policies.pop("sources")
        shown["policy"] = {
            name: {"value": value, "origin": ", ".join(sources.get(name, ())) or "default"}
            for name, value in policies.items()
        }
    return shown


def without_settings(start_dir: str, config_file: str | None = None) -> Config:
    """The built-in defaults alone, for the folder whose own settings are missing or wrong."""
    from runner.config import effective, schema

    folder = os.path.realpath(os.path.dirname(os.path.join(start_dir, config_file or "")))
    root = git_root(folder) or folder
    nowhere = os.path.join(root, FILE_NAME)
    places = ConfigFiles(root, nowhere, nowhere, nowhere, nowhere, nowhere, root)
    merged = schema.normal(layers.merge([layers.Layer("default", layers.DEFAULTS)]))
    return config_from_json(effective.compiled(merged, {}, Policy(), places))


def sample(
    start_dir: str, env: Mapping[str, str], *, full: bool, pipeline: str | None = None
) -> tuple[str, Detected | None]:
    """What `init` would write, and what it would go by; the reference goes by nothing."""
    if full:
        return Path(shipped(EXAMPLE_NAME)).read_text(encoding="utf-8"), None
    from runner.config import detect, starter

    start = os.path.realpath(start_dir)
    root = git_root(start) or start
    if pipeline is not None:
        texts, found = _of_pipeline(root, env, pipeline)
        return "\n".join(f"==> {path}\n{text}" for path, text in texts.items()), found
    found = detect.look(root, env)
    return starter.text(found), found


def _of_pipeline(root: str, env: Mapping[str, str], name: str) -> tuple[dict[str, str], Detected]:
    """The files of a shipped pipeline, by their paths here: first the tables for delegate.toml."""
    from runner.config import detect

    found, types = detect.look(root, env), detect.typecheck(root)
    tests = [found.verify.argv] if found.verify else []
    folder = shipped(f"pipelines/{name}")
    texts = {one: Path(folder, one).read_text(encoding="utf-8") for one in sorted(os.listdir(folder))}
    tables = texts.pop(FILE_NAME)
    for mark, commands in (("#BUILT", [types.argv, *tests] if types else tests), ("#TESTED", tests)):
        here = [argv for argv in commands if programs.absent(argv, env, root) is None]
        lacking = [argv for argv in commands if argv not in here]
        gate = f"gate = {json.dumps(here or commands or [['make', 'test']])}"
        gate = f"{'' if here else '# '}{gate}"
        gate += f"  # not found here: {few([argv[0] for argv in lacking])}" if lacking else ""
        tables = tables.replace(mark, gate)
    return {FILE_NAME: tables, **{f"prompts/{name}/{one}": text for one, text in texts.items()}}, found


def init(
    start_dir: str, env: Mapping[str, str], *, full: bool = False, pipeline: str | None = None
) -> InitReport:
    """Writes delegate.toml at the root of the repository, or here when this is none; Conflict when
    there is one. A shipped pipeline is put behind what stands there; Conflict where a name of it is taken.
    """
    start = os.path.realpath(start_dir)
    repository = git_root(start)
    root = repository or start
    path, rules = os.path.join(root, FILE_NAME), os.path.join(root, ".gitignore")
    try:
        present = _rules(rules)
        if pipeline is None:
            text, found = sample(root, env, full=full)
            with Path(path).open("x", encoding="utf-8") as file:
                file.write(text)
            made: tuple[str, ...] = (path,)
        else:
            texts, found = _of_pipeline(root, env, pipeline)
            made = _add(root, texts)
        ignored = _ignore(rules, present)
    except FileExistsError as error:
        hint = "nothing was written; `runner check` validates it, and --print shows what would be"
        raise Conflict(f"{error.filename} exists", hint=hint) from None
    except OSError as error:
        if error.errno == errno.ELOOP:  # git follows no link of this name either (gitignore(5))
            raise Conflict(
                f"{error.filename or rules} is a symbolic link", hint="make it a file; nothing was written"
            ) from None
        raise Unwritable(f"{error.filename or path}: {error.strerror}") from error
    written = (*made, rules) if ignored else made
    return InitReport(root, repository is not None, written, ignored, found)


def _add(root: str, texts: Mapping[str, str]) -> tuple[str, ...]:
    """Writes these files, the first of them behind what it has. OSError where its place is taken."""
    path, *others = (os.path.join(root, name) for name in texts)
    tables, *prompts = texts.values()
    before, folder = _rules(path), os.path.dirname(others[0])
    added = _fitting(before, tables, path)
    if os.path.islink(above := os.path.dirname(folder)):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), above)
    os.makedirs(folder)
    for other, text in zip(others, prompts, strict=True):
        Path(other).write_text(text, encoding="utf-8")
    with open(path, "x" if before is None else "a", encoding="utf-8") as file:
        file.write(added)
    return (path, *others)


def _fitting(before: str | None, tables: str, path: str) -> str:
    """What is added to delegate.toml for these tables: all that stands there stays as it is."""
    import tomllib

    added = f"{'schema_version = 1' if before is None else ''}\n\n\n{tables}"
    try:
        known, more = tomllib.loads(before or ""), tomllib.loads(tables)
        if taken := [f"{kind}.{one}" for kind in more for one in more[kind] if one in known.get(kind, ())]:
            hint = "nothing was written; rename what is there, or take from --print what you want"
            raise Conflict(f"{path} has {few(taken)} already", hint=hint)
        tomllib.loads((before or "") + added)  # nothing can be added to a table on one line
    except (ValueError, TypeError) as error:
        raise ConfigInvalid(f"{path} cannot be extended: {error}", hint="nothing was written") from None
    return added


def place_of(start_dir: str, env: Mapping[str, str], config_file: str | None = None) -> tuple[str, str]:
    """The root, and the file of its settings as trust in them names it; nothing is read."""
    places = find(start_dir, config_file, env, SYSTEM_POLICY)
    return places.root, places.shown(places.project)


def as_written(root: str) -> Config:
    """The settings that `init` has written in `root`, whatever other layers there are."""
    from runner.config.compile import compile_settings

    nowhere = os.path.join(root, FILE_NAME, "none")
    path = os.path.join(root, FILE_NAME)
    done = compile_settings(ConfigFiles(root, path, nowhere, nowhere, nowhere, nowhere, root), {}, ())
    assert done.config is not None
    return config_from_json(done.config)


def _rules(path: str) -> str | None:
    """The text of a file that is added to, without its byte order mark; None where there is none yet."""
    try:
        return files.read(path).decode(errors="surrogateescape").removeprefix("\ufeff")
    except FileNotFoundError:
        return None


def _ignore(path: str, text: str | None) -> tuple[str, ...]:
    """Appends what must not be committed; what stands there already, in any of the usual forms, is
    left alone.
    """
    present = {line.strip().strip("/").removesuffix("/*") for line in (text or "").splitlines()}
    missing = tuple(name for name in IGNORED if name.strip("/") not in present)
    if missing:
        newline = "\r\n" if "\r\n" in (text or "") else "\n"
        start = newline if text and not text.endswith("\n") else ""
        added = start + "".join(name + newline for name in missing)
        mode, opener = ("x", None) if text is None else ("a", files.no_follow)
        with open(path, mode, encoding="utf-8", newline="", opener=opener) as file:
            file.write(added)
    return missing


def schema(name: str) -> dict[str, Any]:
    """A shipped JSON Schema, by the name of what it describes: `delegate`, `policy`, `manifest`
    ...
    """
    names = schema_names()
    if name not in names:
        raise UsageError(f'no schema "{name}"{near(name, names)}; there are: {", ".join(names)}', hint=None)
    text = Path(shipped("schemas"), f"{name}.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def schema_names() -> tuple[str, ...]:
    """The names that `schema` knows."""
    suffix = ".schema.json"
    files = sorted(os.listdir(shipped("schemas")))
    return tuple(file.removesuffix(suffix) for file in files if file.endswith(suffix))
