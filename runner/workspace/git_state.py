"""What git holds besides files, around a run that must not write it: refs, HEAD, index, settings. Edge: git,
disk.

    <folder>/git.json       what the snapshot does not have of it
    <folder>/git-after.json what the last look found to be other than before, if it found something

A person may work in the same repository meanwhile. git notes in its reflogs who moved a ref, and in the run's
environment everybody is called `git_env.mark`: what every line since then says of the run is known to be
its own. Nothing says that of settings and of what is staged.
"""

from __future__ import annotations

import os
import re

from runner.disk.files import read
from runner.disk.git_env import mark as mark_of
from runner.git_change import GitChange
from runner.value import Count, Value
from runner.workspace.files import read_record, write_json
from runner.workspace.git import Git, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from runner.workspace.changes import Changes, MovedRef
    from runner.workspace.repository import Repository
    from runner.workspace.snapshot import Snapshot

_BEFORE, _AFTER = "git.json", "git-after.json"
_FETCHED = ("refs/remotes/", "refs/prefetch/")
_OF_ONE_TREE = ("refs/bisect/", "refs/worktree/", "refs/rewritten/")
_BY_EDITORS = (
    *(".vscode-merge-base", ".github-pr-owner-number", ".github-pr-base-branch"),
    *(".gk-merge-base", ".gk-merge-target", ".gk-associated-issues"),
)
"""Settings that an open editor writes by itself."""
_NAMED = 50
_LAST = 500
_LONGEST = 1 << 28


class GitBefore(Value):
    """`settings` has the text of each file, `logged` how long the reflog of HEAD was, and `last` its end."""

    settings: dict[str, str]
    logged: Count
    last: str


class GitAfter(Value):
    changes: tuple[GitChange, ...]


def record(repository: Repository, folder: str) -> None:
    """GitBefore the run, beside its snapshot."""
    log = _text(f"{repository.git_dir}/logs/HEAD") or ""
    found = GitBefore(_settings(repository), len(log), log[-_LAST:])
    write_json(f"{folder}/{_BEFORE}", found.to_json())


def settle(snapshot: Snapshot) -> None:
    """What is there now counts as there before the run."""
    if os.path.exists(f"{snapshot.folder}/{_BEFORE}"):
        record(snapshot.repository, snapshot.folder)


def compared(snapshot: Snapshot, now: Changes) -> tuple[GitChange, ...] | None:
    """What is other than before; None where that was not recorded. It is kept for `git_back`."""
    before = read_record(f"{snapshot.folder}/{_BEFORE}", GitBefore)
    if before is None:
        return None
    repository, mark = snapshot.repository, mark_of(os.path.basename(snapshot.folder))
    tips, tagged = dict(now.position.refs), _tagged(mark, repository, now.refs)
    own = {one.name for one in now.refs if _is_by(mark, repository, one, tips.get(one.name), tagged)}
    fetched = _fetched(repository, before, [one for one in now.refs if one.name not in own])
    moved = [one for one in now.refs if one.name not in fetched]
    changes = [GitChange(one.name, one.before, one.after, one.name in own) for one in moved]
    was, is_now = snapshot.position, now.position
    log = _text(f"{repository.git_dir}/logs/HEAD") or ""
    since = log[before.logged :] if log[: before.logged].endswith(before.last) else ""
    is_own = _leads(since, mark, was.head, is_now.head, all_of_it=True)
    if now.branch_moved or (now.head_moved and is_now.branch is None):
        changes.append(GitChange("HEAD", was.branch or was.head, is_now.branch or is_now.head, is_own))
    if now.staged:
        changes += _staged(snapshot)
    changes += _set(before.settings, _settings(repository))
    if changes:
        write_json(f"{snapshot.folder}/{_AFTER}", GitAfter(tuple(changes)).to_json())
    return tuple(changes)


def seen(folder: str) -> GitAfter | None:
    """What the last look that found something found."""
    return read_record(f"{folder}/{_AFTER}", GitAfter)


def _leads(log: str, mark: str, before: str | None, after: str | None, *, all_of_it: bool = False) -> bool:
    """Whether the last lines of a reflog that are the run's, or `all_of_it`, lead from one to the other."""
    lines, first, last = log.rstrip("\n").split("\n"), "", ""
    while lines:
        ids, _, email = lines[-1].partition("\t")[0].rpartition("> ")[0].rpartition("<")
        begin, _, rest = ids.partition(" ")
        end = rest.partition(" ")[0]
        if email != mark or (first and end != first):  # not every program that moves a ref notes it
            break
        first, last = begin, last or end
        lines.pop()
    is_between = (first, last) == (before or "0" * len(first), after)
    return first != "" and is_between and not (all_of_it and lines)


def _is_by(
    mark: str, repository: Repository, ref: MovedRef, tip: str | None, tagged: Collection[str]
) -> bool:
    folder = repository.git_dir if ref.name.startswith(_OF_ONE_TREE) else repository.common_dir
    if (log := _text(f"{folder}/logs/{ref.name}")) is not None:
        return _leads(log, mark, ref.before, tip)
    return ref.before is None and ref.name in tagged


def _tagged(mark: str, repository: Repository, moved: Sequence[MovedRef]) -> set[str]:
    """What has no reflog, as tags, may be an object that names who made it."""
    if not any(one.name.startswith("refs/tags/") for one in moved):
        return set()
    asked = ("for-each-ref", "--format=%(taggeremail) %(refname)", "refs/tags")
    lines = os.fsdecode(repository.git.ask(*asked)[1]).splitlines()
    return {line.partition(" ")[2] for line in lines if line.startswith(f"<{mark}> ")}


def _fetched(repository: Repository, before: GitBefore, moved: Sequence[MovedRef]) -> set[str]:
    """What a fetch moves, as editors and `git maintenance` make one at any time: where the remotes of before
    the run keep what others have, and the new tags of commits that are new there.
    """
    if not any(one.name.startswith(_FETCHED) for one in moved):
        return set()
    values = _values(before.settings.get("config", "")).items()
    is_refspec = re.compile(r"(svn-)?remote\..*\.fetch").fullmatch  # also of `git svn`
    specs = (spec for key, told in values if is_refspec(key) for spec in told.split(", "))
    places = [f"{spec.partition(':')[2].rpartition('/')[0]}/" for spec in specs]
    places = [place for place in places if place.startswith(_FETCHED)]
    tracked = [one for one in moved if places and one.name.startswith((*places, _FETCHED[1]))]
    tags: set[str] = set()
    for one in tracked[:_NAMED]:
        but = () if one.before is None else (f"--no-merged={one.before}",)
        asked = ("for-each-ref", "--format=%(refname)", f"--merged={one.after}", *but, "refs/tags")
        tags |= {*os.fsdecode(repository.git.ask(*asked)[1]).splitlines()}
    return {one.name for one in tracked} | {one.name for one in moved if not one.before and one.name in tags}


def _staged(snapshot: Snapshot) -> Iterator[GitChange]:
    """Nothing notes who stages: a commit of the run takes along what a person has staged meanwhile."""
    repository = snapshot.repository
    was = _entries(repository.index_listing(snapshot.shadow.user_index)) if snapshot.has_index else {}
    now = _entries(repository.index_listing(repository.index))
    names = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
    for name in names[:_NAMED]:
        yield GitChange(f"index {name}", was.get(name), now.get(name))
    if len(names) > _NAMED:
        yield GitChange(f"index: {len(names) - _NAMED} more", None, None)


def _entries(listing: bytes | None) -> dict[str, str]:
    """Path -> mode, object and stage, and flags where there are some, of `Repository.index_listing`."""
    found: dict[str, str] = {}
    for told, path, flags in re.findall(rb"(\d+ \w+ \d)\t([^\0]+)\0(\w+)\n", listing or b""):
        text, name = told.decode() + (f" flags {flags.decode()}" if flags != b"0" else ""), os.fsdecode(path)
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def _settings(repository: Repository) -> dict[str, str]:
    files = {"config": repository.common_dir, "config.worktree": repository.git_dir}
    return {name: _text(f"{folder}/{name}") or "" for name, folder in files.items()}


def _set(before: dict[str, str], after: dict[str, str]) -> Iterator[GitChange]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            was, now = _values(before.get(name, "")), _values(after.get(name, ""))
            for key in sorted(was.keys() | now.keys()):
                if was.get(key) != now.get(key) and not key.endswith(_BY_EDITORS):
                    yield GitChange(f"{name} {key}", was.get(key), now.get(key))


def _values(text: str) -> dict[str, str]:
    """What such a file sets; of a key with several values, all."""
    asked = ("config", "--no-includes", "--file", "-", "-z", "--list")
    status, out, _ = Git("/").ask(*asked, stdin=text.encode("utf-8", "surrogateescape"))
    found: dict[str, str] = {} if status == 0 else {"(git cannot read it)": ""}
    for key, _, value in (item.partition("\n") for item in split(out)):
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _text(path: str) -> str | None:
    """None too where an agent has put anything else than a file."""
    try:
        return read(path, _LONGEST, follows_links=True).decode("utf-8", "surrogateescape")
    except OSError:
        return None
