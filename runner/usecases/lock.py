"""USE CASE `lock`: what the tasks of a repository depend on, written down to be compared with. Edge: disk,
and agent CLIs, which are asked what they are.

Only what is committed counts, so with the same versions every clone has the same lock. A lock is data:
nothing that it names is opened or executed.
"""

from __future__ import annotations

import os

from runner import config as settings
from runner.config.trust import digest_of
from runner.disk import files, home
from runner.errors import LockInvalid, NotTrusted, RunnerError
from runner.model import VERSION, Config, Policy
from runner.resolve.choose import model_of
from runner.runtimes import get, listing, probe
from runner.runtimes.overrides import toml_key, toml_value
from runner.text import toml
from runner.text.problems import dotted
from runner.usecases import trust
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from runner.text.positions import Path

SCHEMA_VERSION = 1
_HEAD = "# Written by `runner lock`, which keeps no comments. Commit it; `runner lock --check` compares.\n"
_LARGEST = 1 << 20
_WIDEST = 100
_SAID = ("prompt", "approach", "execution_note", "patterns", "constraints", "testing")
"""What a task itself says to its agent."""
_LISTED = "listed"


class Pinned(Value):
    """A runtime: `program` is the name of its command, `wants` the versions that the settings want."""

    program: str
    version: str
    wants: str | None = None
    flags: Mapping[str, tuple[str, ...]] = {}
    schema: Mapping[str, tuple[str, ...]] | None = None


class Lockfile(Value):
    """Digests by the path of a file or the key of a setting, models by task. What matters most first."""

    schema_version: int
    runtimes: Mapping[str, Pinned] = {}
    prompts: Mapping[str, str] = {}
    settings: Mapping[str, str] = {}
    scripts: Mapping[str, str] = {}
    rehearsals: Mapping[str, str] = {}
    plans: Mapping[str, str] = {}
    models: Mapping[str, str] = {}
    policy: str | None = None
    trust: str | None = None
    runner: str | None = None


class Looked(Value):
    """What there is now. `path` is the place of its lock, `unknown` says which runtime could not be looked at
    and why, `loose` are files that are not pinned: git does not track them, or they are too large.
    """

    path: str
    lock: Lockfile
    unknown: Mapping[str, RunnerError]
    loose: tuple[str, ...]


class Drift(Value):
    """One fact that is not as the lock says, or is unknown. What is not breaking fails no check."""

    key: str
    before: str | None
    after: str | None
    says: str
    is_breaking: bool


def look(config: Config, start_dir: str, config_file: str | None, env: Mapping[str, str]) -> Looked:
    """`config` are the effective settings, which say where the programs are."""
    own = settings.committed(start_dir, config_file, env)
    tasks, digests, loose = own.tasks.values(), {}, []
    for kind, names in _named(own).items():
        found = {name: trust.committed_content(own.root, name) for name in names}
        # Of a file that is too large to be read, it says when it has changed, which no clone repeats.
        digests[kind] = {name: said for name, said in found.items() if said and said[:5] != "size:"}
        loose += [name for name in found.keys() - digests[kind] if os.path.isfile(f"{own.root}/{name}")]
    texts = {dotted(("tasks", one.id)): [getattr(one, key) for key in _SAID] for one in tasks}
    texts |= {
        dotted(("blocks", name)): [text]
        for name, text in own.blocks.items()
        if dotted(("blocks", name, "text")) in own.origins  # else it is built in
    }
    digests["settings"] = {key: digest_of(said) for key, said in texts.items() if any(said)}
    models = {one.id: said.model for one in tasks if (said := model_of(own, one.model)) and said.model}
    runtimes, unknown = _runtimes(own, config, env)
    lock = Lockfile(
        *(SCHEMA_VERSION, runtimes, digests["prompts"], digests["settings"], digests["scripts"]),
        *(digests["rehearsals"], digests["plans"], models),
        *(_policy(own.policy, env), own.trust.get("digest"), VERSION),
    )
    return Looked(f"{os.path.splitext(own.files[1])[0]}.lock", lock, unknown, tuple(sorted({*loose})))


def _named(own: Config) -> dict[str, set[str]]:
    """Kind -> paths below the root of the files that the settings name, whether they are there or not."""
    found = {
        "prompts": [name for one in own.tasks.values() for name in (one.prompt_file, one.map)],
        "rehearsals": [one.rehearsal_script for one in own.tasks.values()],
        "plans": [stage.get("plan") for one in own.pipelines.values() for stage in one["stages"]],
    }
    paths = {
        kind: {os.path.relpath(os.path.join(own.root, name), own.root) for name in names if name}
        for kind, names in found.items()
    }
    paths["scripts"] = {*trust.scripts_of(own)} - paths["rehearsals"]
    return {kind: {name for name in names if name[:3] != "../"} for kind, names in paths.items()}


def _policy(policy: Policy, env: Mapping[str, str]) -> str | None:
    """The digest of what it allows, in whichever files and homes; None without any."""
    if policy == Policy():
        return None
    above, told = f"{home.find(env)}/", policy.replace(sources={}).to_json()
    folders = [
        ["~/" * one.startswith(above) + one.removeprefix(above) for one in few] for few in policy.writable
    ]
    return digest_of({**told, "writable": sorted(map(sorted, folders))})


def _runtimes(
    own: Config, config: Config, env: Mapping[str, str]
) -> tuple[dict[str, Pinned], dict[str, RunnerError]]:
    pinned: dict[str, Pinned] = {}
    unknown: dict[str, RunnerError] = {}
    for name in sorted({one.runtime for one in own.tasks.values()}):
        runtime, here, declared = get(name), config.runtimes[name], own.runtimes[name]
        try:
            if not trust.program_is_trusted(config, name, env):
                raise NotTrusted(f"not asked: `{here.command}` is named by settings that nobody trusts")
            program = probe.discover(runtime, here, env, config.root, fresh=True)
            probe.check_version(runtime, declared, program)
            taken = listing.take(runtime, program, env)
        except RunnerError as error:
            unknown[name] = error
        else:
            command = os.path.basename(declared.command)
            pinned[name] = Pinned(command, program.version, declared.version, taken.flags, taken.schema)
    return pinned, unknown


def read(path: str) -> Lockfile | None:
    """None where there is no file; LockInvalid for what `runner lock` has not written, or a newer one has."""
    name = os.path.basename(path)
    try:
        data = files.read(path, _LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        what = "is a symbolic link" if os.path.islink(path) else f"cannot be read: {error.strerror}"
        raise LockInvalid(f"{name} {what}") from None
    if len(data) > _LARGEST:
        raise LockInvalid(f"{name} is larger than {_LARGEST >> 10} KiB")
    text = data.decode(errors="replace")
    if "\n<<<<<<< " in f"\n{text}":
        raise LockInvalid(f"{name} has the marks of a merge conflict")
    table, place, wrong = toml.parse(text)
    if wrong:
        raise LockInvalid(str(toml.located(name, wrong, place)[0]))
    said = table.get("schema_version")
    if isinstance(said, int) and said > SCHEMA_VERSION:
        hint = "a newer runner wrote it: upgrade this one"
        raise LockInvalid(f"{name} has schema_version {said}; this runner knows {SCHEMA_VERSION}", hint=hint)
    try:
        lock = Lockfile.from_json(table)
    except ValueError as error:
        raise LockInvalid(f"{name} is not what `runner lock` writes: {error}") from None
    if said != SCHEMA_VERSION or table != _known(lock.to_json()):
        raise LockInvalid(f"{name} is not what `runner lock` writes: it has other keys")
    return lock


def write(seen: Looked, before: Lockfile | None) -> bool:
    """Whether it is another than before. The error of a runtime that could not be looked at; then nothing is
    written.
    """
    for error in seen.unknown.values():
        raise error
    if before == seen.lock:
        return False
    try:
        files.replace_bytes(
            seen.path, (_HEAD + _toml(_known(seen.lock.to_json()))).encode(errors="replace"), mode=0o644
        )
    except OSError as error:
        raise files.unwritable(error) from error
    return True


def _toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """What is no table first; a long array has a line for each."""
    lines, below = [], ""
    for key, value in table.items():
        if isinstance(value, dict):
            below += _toml(value, (*path, key))
            continue
        line = f"{toml_key(key)} = {toml_value(value)}\n"
        if isinstance(value, list) and len(line) > _WIDEST:
            line = f"{toml_key(key)} = [\n" + "".join(f"    {toml_value(one)},\n" for one in value) + "]\n"
        lines.append(line)
    head = f"\n[{'.'.join(map(toml_key, path))}]\n" if path and lines else ""
    return head + "".join(lines) + below


def _known(table: dict[str, Any]) -> dict[str, Any]:
    """Without what is not known, or empty; below it in the order of names."""
    return {
        key: _known(dict(sorted(item.items()))) if isinstance(item, dict) else item
        for key, item in table.items()
        if item is not None and item != {}
    }


def compare(before: Lockfile, seen: Looked) -> tuple[Drift, ...]:
    """What is not as the lock says, the most important first, one for each fact."""
    then, now = _known(before.to_json()), _known(seen.lock.to_json())
    found: dict[Path, Drift] = {}
    for name, error in seen.unknown.items():
        known = then.get("runtimes", {}).pop(name, {}).get("version")
        says = f"`{name}` was not compared: {error.message}"
        found["runtimes", name] = Drift(dotted(("runtimes", name)), known, None, says, True)
    old, new = dict(_facts(then, now)), dict(_facts(now, then))
    others = {path[:2] for path in new if path[2:] == ("version",) and old.get(path) != new[path]}
    for path in {**old, **new}:
        if old.get(path) != new.get(path):
            found[path] = _drift(path, old.get(path), new.get(path), is_other=path[:2] in others)
    order = [*Lockfile.__annotations__]

    def gravity(path: Path) -> tuple[Any, ...]:
        first = (path[1], path[2:3] != ("version",)) if path[0] == "runtimes" else ()
        return order.index(str(path[0])), *first, not found[path].is_breaking, path

    return tuple(found[path] for path in sorted(found, key=gravity))


def _facts(table: Mapping[str, Any], other: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Each word of a list is one. What the other side has nothing of, is one as a whole."""
    for key, item in table.items():
        at = (*path, key)
        if isinstance(item, dict) and (not path or key in other):
            yield from _facts(item, other.get(key, {}), at)
        elif isinstance(item, list) and key in other:
            yield from (((*at, word), _LISTED) for word in item)
        else:
            yield at, item if isinstance(item, str) else _LISTED


def _drift(path: Path, old: str | None, new: str | None, *, is_other: bool) -> Drift:
    """`is_other`: the program has another version."""
    kind, key = path[2] if len(path) > 2 else path[0], dotted(path)
    if _LISTED in (old, new):
        holder = path[1] if len(path) in (3, 4) else path[-2]
        says = f"`{holder}` {'gained' if old is None else 'lost'} `{path[-1]}`"
        says = f"in the schema of `{path[1]}`, {says}" if kind == "schema" and path[4:] else says
    else:
        was, now = (text[:19] if text.startswith("sha256:") else text for text in (old or "", new or ""))
        says = f"{key}: {was or 'nothing'} -> {now or 'nothing'}"
        says += " (each machine has its policy files: lock on one with those of here)" * (key == "policy")
    # `look` has refused a version that the settings do not want. The same version gains nothing: the lock, or
    # the program, is not what it says.
    is_note = kind in ("runner", "version") or (kind in ("flags", "schema") and old is None and is_other)
    return Drift(key, old, new, says, not is_note)
