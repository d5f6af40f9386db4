"""USE CASE of completion: the names that can be typed here, with a word on each. Edge: disk, reading.

It answers between two keys, so each kind imports what it needs, settings come from the snapshot if nothing
has changed, and else from the lines that look like headers of their tables. Of what a repository wrote only
plain names are told, and no question is asked.
"""

from __future__ import annotations

import os

from runner.model import Level, Outcome, Phase, is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.state.store import RunDir

_MOST_RUNS = 12
_LARGEST = 1 << 20


def of(kind: str, typed: str, folder: str, env: Mapping[str, str], config_file: str | None) -> dict[str, str]:
    """Those of a kind: `runs`, `efforts`, `runtimes`, `states`, `schemas`, or a table of the settings such as
    `tasks`.
    """
    if kind == "runs":
        return _runs(folder, typed)
    if kind in ("runtimes", "efforts"):
        from runner.runtimes import NAMES, get

        return dict.fromkeys(NAMES if kind == "runtimes" else (e for n in NAMES for e in get(n).efforts), "")
    if kind == "states":
        return dict.fromkeys((str(one) for one in (*Phase, *Outcome) if one is not Phase.DONE), "")
    if kind == "schemas":
        from runner.config.find import shipped

        return dict.fromkeys((one.partition(".")[0] for one in sorted(os.listdir(shipped("schemas")))), "")
    return _of_table(kind, folder, env, config_file)


def _runs(folder: str, typed: str) -> dict[str, str]:
    """The newest ones with their tasks, and how they ended if they are ours and did; by whole ids once one is
    begun.
    """
    from runner.state import index
    from runner.state.store import RunDir
    from runner.usecases.find import NEWEST, find_root

    root = find_root(folder)
    every = list(index.folders(root))
    short = {} if typed[:2] == "20" else index.short_names(every)
    newest = sorted(every, key=lambda one: one[1], reverse=True)[:_MOST_RUNS]
    words = {word: f"the newest run {what}".removesuffix(" yet") for word, (_, what) in NEWEST.items()}
    named = {short.get(run, run): f"{task}{_ended(RunDir(root, task, run))}" for task, run in newest}
    return {**named, **words} if named else {}


def _ended(run: RunDir) -> str:
    from runner.errors import RunnerError
    from runner.state.authentic import why_foreign

    try:
        ended = run.read_manifest().outcome
        return f", {ended}" if ended and why_foreign(run, is_named=False) is None else ""
    except RunnerError:
        return ""


def _of_table(name: str, folder: str, env: Mapping[str, str], config_file: str | None) -> dict[str, str]:
    """The tasks, models or sandboxes of the settings, with their titles or levels."""
    from runner.config import snapshot
    from runner.config.find import SYSTEM_POLICY, find, setting_names
    from runner.disk.files import read_text
    from runner.text.words import one_line

    levels = dict.fromkeys(map(str, Level), "") if name == "sandboxes" else {}
    places = find(folder, config_file, env, SYSTEM_POLICY, required=False)
    path = snapshot.cache_path(places, env)
    known = None if path is None else snapshot.read(path)
    try:
        if known and snapshot.is_fresh(known, snapshot.key(places, setting_names(env), ())):
            table = known["config"][name]
            said = {one: table[one].get("title") or table[one].get("level") or "" for one in table}
            return {one: one_line(said[one], 60) for one in said if is_name(one)} | levels
    except (AttributeError, LookupError, TypeError, OSError):
        pass  # of another version
    texts = [read_text(file, _LARGEST) or "" for file in (places.user, places.project, places.local)]
    heads = [line.partition("]")[0].partition(f"[{name}.") for text in texts for line in text.splitlines()]
    rests = [rest.strip() for before, head, rest in heads if head and not before.strip()]
    ids = [
        rest[1:].partition(rest[0])[0] if rest[:1] in ('"', "'") else rest.partition(".")[0] for rest in rests
    ]
    return dict.fromkeys(filter(is_name, ids), "") | levels
