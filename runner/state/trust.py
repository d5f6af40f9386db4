"""What a person trusts the settings of a repository with, and what its runs have changed since. Edge: disk.

Trust is kept as `decisions` are, by the path of the repository: one that was moved or copied elsewhere has
none. Standard library only and light: the supervisor marks changes, and every start looks.
"""

from __future__ import annotations

import os

from runner.disk import decisions
from runner.disk.decisions import Kept
from runner.errors import RunnerError, Unwritable
from runner.model import SCHEMA_VERSION
from runner.state.manifest import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Items = tuple[tuple[str, ...], ...]

_KIND = "trust"
_WHAT = "the trust in settings"
_MOST_PATHS = 200
_HEX = 64


class Trusted(Kept):
    """`file` is the path of the settings below `repo`; "" is the whole folder, whatever they come to say
    (`digest` is None then). `items` are what was trusted, in words, for telling what is new.
    """

    file: str
    digest: str | None
    items: tuple[tuple[str, ...], ...]
    at: str


class Changed(Kept):
    """A run that changed settings, or files that the settings name. `before` are (path, digest) of all of
    them as they were in the repository. `apart`: the run had a tree of its own, so its change comes when the
    tree is accepted.
    """

    run_id: str
    paths: tuple[str, ...]
    at: str
    before: tuple[tuple[str, ...], ...] = ()
    apart: bool = False


def given(root: str, env: Mapping[str, str], file: str = "") -> Trusted | None:
    """The trust in this settings file, or in the whole folder; None where there is none that can be
    believed.
    """
    try:
        path = decisions.place(_KIND, _WHAT, root, env, part=file)
    except Unwritable:
        return None
    found = decisions.made(path, root, Trusted)
    return (
        found if found is not None and found.file == file and (found.digest is None) == (not file) else None
    )


def give(
    root: str,
    env: Mapping[str, str],
    file: str,
    digest: str | None,
    items: Items,
    seen: Sequence[Changed] = (),
) -> Trusted:
    """Stores it in the place of an earlier one. `seen` are the changes of runs that the person was shown:
    they are not asked about again. Unwritable with everything left as it was if it cannot.
    """
    path = decisions.place(_KIND, _WHAT, root, env, part=file)
    trusted = Trusted(SCHEMA_VERSION, decisions.name_of(root), _text(file), digest, items, timestamp())
    decisions.keep(path, trusted)
    for one in seen:
        decisions.withdraw(_change(root, env, one.run_id))
    return trusted


def nowhere_to_keep(root: str, env: Mapping[str, str]) -> str | None:
    """What to change first where no trust in this repository can be kept, as where HOME is the repository."""
    try:
        decisions.place(_KIND, _WHAT, root, env)
    except Unwritable as error:
        return f"{error.hint}: no answer can be kept here, so only RUNNER_TRUST=DIGEST would be heard"
    return None


def withdraw(root: str, env: Mapping[str, str], files: Iterable[str]) -> bool:
    """Takes back the trust in these files ("" is the folder). Whether there was any."""
    try:
        places = [decisions.place(_KIND, _WHAT, root, env, part=file) for file in files]
    except Unwritable:
        return False  # nothing there can be believed
    return sum(map(decisions.withdraw, places)) > 0  # each of them, also after the first


def changed_by_run(
    root: str,
    env: Mapping[str, str],
    run_id: str,
    paths: Sequence[str],
    before: Mapping[str, str] | None = None,
    apart: bool = False,
) -> bool:
    """For whoever judges a run: it changed `paths`, which are settings of the repository at `root` or files
    that they name. From now on a start asks a person again, even where the whole folder is trusted.

    Call it once the finding `settings_changed` is known, before the run is `done`; `env` is that of the
    process (HOME and XDG_STATE_HOME are looked at). It may be called again with the same: the last call of a
    run counts. Never raises: False is that it could not be kept. With `before`, the digest of each path,
    nobody is asked while all of them are as they were: rolled back, put back by a person, or still `apart`.
    """
    were: Items = ()
    if before is not None and len(paths) <= _MOST_PATHS and all(path in before for path in paths):
        were = tuple((path, before[path]) for path in paths)
    named = tuple(paths[:_MOST_PATHS])
    change = Changed(SCHEMA_VERSION, decisions.name_of(root), run_id, named, timestamp(), were, apart)
    try:
        decisions.keep(_change(root, env, run_id), change)
    except (RunnerError, OSError, ValueError):
        return False
    return True


def changes(root: str, env: Mapping[str, str]) -> tuple[Changed, ...]:
    """The changes of runs that no person has agreed to yet, the oldest first."""
    return tuple(one for one in _kept(root, env) if not _is_undone(root, one))


def forget_undone(root: str, env: Mapping[str, str], discarded: str | None = None) -> None:
    """Forgets the changes of which everything is as it was before, without those that are still apart but
    with that of the run whose tree was `discarded`. Never raises.
    """
    for one in _kept(root, env):
        if (not one.apart or one.run_id == discarded) and _is_undone(root, one):
            try:
                decisions.withdraw(_change(root, env, one.run_id))
            except RunnerError:
                continue


def _is_undone(root: str, change: Changed) -> bool:
    if not change.before:
        return False
    from runner.state.watched import ABSENT, digest_of

    return all(
        len(row) == 2 and (row[1] == ABSENT or len(row[1]) == _HEX) and digest_of(root, row[0]) == row[1]
        for row in change.before
    )


def _kept(root: str, env: Mapping[str, str]) -> list[Changed]:
    try:
        folder, start = os.path.split(_change(root, env, ""))
        names = sorted(os.listdir(folder))
    except (OSError, Unwritable):
        return []
    start = start.removesuffix(".json")  # that of no run
    found = [
        decisions.made(os.path.join(folder, name), root, Changed) for name in names if name.startswith(start)
    ]
    return [one for one in found if one is not None]


def _text(path: str) -> str:
    """The same in every locale."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def _change(root: str, env: Mapping[str, str], run_id: str) -> str:
    """The file of a change: one for each run, so that none is lost where a person agrees at the same time."""
    whole = decisions.place(_KIND, _WHAT, root, env, part="changes").removesuffix(".json")
    return f"{whole}-{run_id}.json"
