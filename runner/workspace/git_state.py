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

from runner.disk.digest import sha256
from runner.disk.files import read
from runner.disk.git_env import mark as mark_of
from runner.git_change import GitChange
from runner.redact.pairs import may_be_of_secret
from runner.redact.redactor import Redactor
from runner.state.authentic import macs
from runner.value import Count, Value
from runner.workspace.files import read_record, write_json
from runner.workspace.git import Git, joined, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from runner.workspace.changes import Changes, MovedRef
    from runner.workspace.repository import Repository
    from runner.workspace.snapshot import Snapshot

_BEFORE, _AFTER = "git.json", "git-after.json"
_FETCHED = ("refs/remotes/", "refs/prefetch/")
_OF_ONE_TREE = ("refs/bisect/", "refs/worktree/", "refs/rewritten/")
_is_editors = re.compile(r"config branch\..*\.(vscode|gk|github-pr)-[^.]*", re.DOTALL).fullmatch
"""Settings of a branch that an open editor writes by itself."""
_NAMED = 50
_LAST = 500
_LONGEST = 1 << 28
_END = "\n"


class GitBefore(Value):
    """`settings` has of each what may be seen, and a digest of all; `tracked` is where the remotes keep what
    others have, `logged` how long the reflog of HEAD was, and `last` its end.
    """

    settings: dict[str, tuple[str, str]]
    tracked: tuple[str, ...]
    logged: Count
    last: str


class GitAfter(Value):
    changes: tuple[GitChange, ...]


def record(repository: Repository, folder: str) -> None:
    """GitBefore the run, beside its snapshot."""
    log = _text(f"{repository.git_dir}/logs/HEAD") or ""
    found = GitBefore(_settings(repository), _tracked(repository), len(log), log[-_LAST:])
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
    fetched = _fetched(snapshot, before, [one for one in now.refs if one.name not in own])
    moved = [one for one in now.refs if one.name not in fetched]
    changes = [GitChange(one.name, one.before, one.after, one.name in own) for one in moved]
    was, is_now = snapshot.position, now.position
    log = _text(f"{repository.git_dir}/logs/HEAD") or ""
    since = log[before.logged :] if log[: before.logged].endswith(before.last) else ""
    arrived = re.findall(r"\tcheckout: moving from .* to ([^ \n]+)$", since, re.MULTILINE)[-1:]
    there = [f"refs/heads/{name}" for name in arrived]
    # What is detached may have come from a branch by any name but one of a branch, where that is noted.
    is_there = there == [is_now.branch] if is_now.branch else arrived != [] and there[0] not in tips
    is_own = (is_there or not now.branch_moved) and _leads(since, mark, was.head, is_now.head, all_of_it=True)
    if now.branch_moved or (now.head_moved and is_now.branch is None):
        changes.append(GitChange("HEAD", was.branch or was.head, is_now.branch or is_now.head, is_own))
    if was.in_progress != is_now.in_progress:  # which git's log does not tell
        changes.append(GitChange("HEAD state", was.in_progress, is_now.in_progress))
    if now.staged:
        changes += _staged(snapshot)
    changes += _set(before.settings, _settings(repository))
    if changes:
        # A value of a setting may be a secret that only the supervisor knows to be one.
        kept = [
            one.replace(before=None, after=None) if one.what.startswith("config") else one for one in changes
        ]
        write_json(f"{snapshot.folder}/{_AFTER}", GitAfter(tuple(kept)).to_json())
    return tuple(changes)


def seen(folder: str) -> GitAfter | None:
    """What the last look that found something found."""
    return read_record(f"{folder}/{_AFTER}", GitAfter)


def held(repository: Repository) -> dict[str, str | None]:
    """What git holds now: refs but what a fetch brings, HEAD, and digests of the rest."""
    at, listing = repository.position(), repository.index_listing(repository.index)
    refs = [one for one in (*at.refs, *(at.symbolic or ())) if not one[0].startswith(_FETCHED)]
    told = [(what, digest) for what, (_, digest) in _settings(repository).items() if not _is_editors(what)]
    head = (("HEAD", at.branch or at.head), ("HEAD state", at.in_progress))
    return dict([*refs, *told, *head, ("index", sha256(listing or b"").hexdigest())])


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
    asked = ("for-each-ref", "--format=%(taggeremail) %(refname) refs/tags/%(tag)", "refs/tags")
    lines = {*os.fsdecode(repository.git.ask(*asked)[1]).split("\n")}
    # By the name that it has itself: anybody can give it a further one.
    return {one.name for one in moved if f"<{mark}> {one.name} {one.name}" in lines}


def _fetched(snapshot: Snapshot, before: GitBefore, moved: Sequence[MovedRef]) -> set[str]:
    """What a fetch moves, as editors and `git maintenance` make one at any time: where the remotes of before
    the run keep what others have, and the new tags of commits that are new there, or of the last fetch.
    """
    if not before.tracked:
        return set()
    places, repository = (*before.tracked, _FETCHED[1]), snapshot.repository
    tracked = [one for one in moved if one.name.startswith(places)]
    tips = [one.after for one in tracked if one.after]
    tips += [f"^{oid}" for name, oid in snapshot.position.refs if tips and name.startswith(places)]
    asked = ("rev-list", "--ignore-missing", "--simplify-by-decoration", "--format=%D", "--stdin")
    told = os.fsdecode(repository.git.ask(*asked, stdin=os.fsencode("\n".join(tips)))[1]) if tips else ""
    tags = {one[5:] for one in told.replace("\n", ", ").split(", ") if one.startswith("tag: ")}
    last = _text(f"{repository.git_dir}/FETCH_HEAD") or ""
    named = {*re.findall(r"^(\w+)\t[^\t\n]*\ttag '([^'\n]+)' of ", last, re.MULTILINE)}
    new = (
        (one.after, one.name[10:]) for one in moved if not one.before and one.name.startswith("refs/tags/")
    )
    brought = {f"refs/tags/{name}" for oid, name in new if name in tags or (oid, name) in named}
    return brought | {one.name for one in tracked}


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


def _settings(repository: Repository) -> dict[str, tuple[str, str]]:
    clean, digest, found = Redactor().redact_text, macs("git settings"), dict[str, list[str]]()
    for name, folder in (("config", repository.common_dir), ("config.worktree", repository.git_dir)):
        for item in _items(f"{folder}/{name}"):
            found.setdefault(f"{name} {clean(item.partition(_END)[0])}", []).append(item)
    return {what: (_shown(items, clean), digest(joined(items))) for what, items in found.items()}


def _shown(items: Sequence[str], clean: Callable[[str], str]) -> str:
    told = []
    for key, is_set, value in (item.partition(_END) for item in items):
        word = key.rpartition(".")[2]
        seen = clean(f"{word}={value}").partition("=")[2] if is_set else "no value"
        told.append("[redacted]" if may_be_of_secret(word) else seen)
    return ", ".join(f'"{one}"' for one in told) if told[1:] or not told[0] else told[0]


def _set(before: dict[str, tuple[str, str]], after: dict[str, tuple[str, str]]) -> Iterator[GitChange]:
    for what in sorted(before.keys() | after.keys()):
        was, now = before.get(what), after.get(what)
        if was != now and not _is_editors(what):
            yield GitChange(what, was and was[0], now and now[0])


def _items(path: str) -> list[str]:
    """What such a file sets: the key and, but for one that has none, an end of a line and the value."""
    if (text := _text(path)) is None:
        return []
    asked = ("config", "--no-includes", "--file", "-", "-z", "--list")
    status, out, _ = Git("/").ask(*asked, stdin=text.encode("utf-8", "surrogateescape"))
    return split(out) if status == 0 else ["(git cannot read it)"]


def _tracked(repository: Repository) -> tuple[str, ...]:
    is_refspec = re.compile(r"(svn-)?remote\..*\.fetch").fullmatch  # also of `git svn`
    pairs = (item.partition(_END) for item in _items(f"{repository.common_dir}/config"))
    places = (spec.partition(":")[2].rpartition("/")[0] for key, _, spec in pairs if is_refspec(key))
    return tuple(f"{place}/" for place in places if place.startswith(_FETCHED))


def _text(path: str) -> str | None:
    """None too where an agent has put anything else than a file."""
    try:
        return read(path, _LONGEST, follows_links=True).decode("utf-8", "surrogateescape")
    except OSError:
        return None
