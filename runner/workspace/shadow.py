"""A private git directory beside a run that sees the user's work tree. Edge: git and disk.

It borrows the user's objects (gitrepository-layout(5), alternates) and keeps new ones to itself, so it leaves
no trace in the user's repository. Its attributes switch off every conversion: its trees have the exact bytes
of the files, no filter runs, and a rollback restores what was there.
"""

from __future__ import annotations

import os
import stat

from runner.disk.files import create, private_folder, replace_bytes
from runner.errors import Conflict
from runner.value import Value
from runner.workspace import inner
from runner.workspace.files import REPOSITORY, Entry, blob, entry_at, read_bytes, too_large
from runner.workspace.git import Git, GitFailed, joined, split
from runner.workspace.ignored import is_own_cache
from runner.workspace.ignores import Untracked, untracked
from runner.workspace.survey import folders, refuse_blocking, survey
from runner.workspace.tracked import TOO_LARGE, Index, Permissions, is_refused, parse, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from runner.workspace.tracked import Standing

_CONFIG = """[core]
	repositoryformatversion = {version}
	bare = false
	filemode = true
	symlinks = true
	ignorecase = false
	trustctime = true
	checkStat = default
	ignoreStat = false
	sharedRepository = 0600
	autocrlf = false
	safecrlf = false
	splitIndex = false
	protectNTFS = false
	protectHFS = false
	attributesFile = {null}
	excludesFile = {null}
[index]
	sparse = false
	version = 2
[extensions]
{extensions}"""
_RAW = b"* -text !eol !crlf !filter !ident !working-tree-encoding !diff !merge !whitespace\n"
_NAMES = {
    "": {
        "HEAD": True,
        "config": True,
        "ignore": True,
        "index.base": True,
        "index.user": True,
        "info": False,
        "objects": False,
        "refs": False,
        "hold": False,
        "stage": False,
    },
    "info": {"attributes": True},
    "objects/info": {"alternates": True},
    "refs": {},
}
"""Folder of the private git directory -> each name that may be there, and whether it is a plain file."""
_OWN_RULES = ".gitignore"
_TRIES = 3
_FEW = 50
_SMALL = 1 << 20
_NOTHING = {"sha1": "0" * 40, "sha256": "0" * 64}


class Before(Value):
    """What is known of a work tree before a look. The index describes `tree` (None: it was not made yet), and
    the files as they were at `since_ns`. `ignored` are names as a walk tells them, and stay ignored.
    """

    since_ns: int
    tree: str | None = None
    usual: tuple[int, int] | None = None
    ignored: frozenset[str] = frozenset()
    unread: Callable[[str, dict[str, int]], Collection[str]] | None = None
    """Of which names in a folder of the index we never read what stands there; None: of none."""
    folders: Mapping[str, int] | None = None
    """Those of the snapshot, at a look."""
    forced: Callable[[bytes], Iterable[str]] | None = None
    """By rules: what the user's repository holds in spite of them."""


class Seen(Value):
    """A work tree at one moment. `permissions` are those of the plain files, `folders` those of each folder,
    `problems` what could not be read and is therefore in none of them. `large` are the files among these that
    are too large, and `special` what is neither a file, nor a link, nor a folder, and takes no tracked place.
    `as_indexed` is whether the index that was looked at describes it, `is_known` whether all that this index
    names was there and needed no reading. `inner` are the repositories inside.
    """

    tree: str
    as_indexed: bool
    is_known: bool
    permissions: Permissions
    folders: dict[str, int]
    untracked: Untracked
    large: tuple[str, ...]
    special: tuple[str, ...]
    problems: tuple[str, ...]
    inner: tuple[str, ...]


class Shadow:
    """`home` is the private git directory, `root` the work tree; `runs`, relative, is no part of it."""

    def __init__(self, root: str, home: str, runs: str, hash_name: str) -> None:
        self.root, self.home, self.runs, self.hash_name = root, home, runs, hash_name
        self.git = Git(root, {"GIT_DIR": home, "GIT_WORK_TREE": root})
        self.base = f"{home}/index.base"
        """The index that belongs to the tree of the snapshot, with what it knows of the files' times."""
        self.user_index = f"{home}/index.user"
        self.hold = f"{home}/hold"
        self.stage = f"{home}/stage"

    def create(self, objects: Sequence[str]) -> None:
        """Creates it, over what an interrupted attempt left. `objects` are the folders it borrows objects
        from.
        """
        _remove_tree(self.home)
        for name in ("objects/info", "objects/pack", "refs", "info"):
            private_folder(self.home, *name.split("/"))
        for name, data in self._obeyed(objects).items():
            create(f"{self.home}/{name}", data)

    def _obeyed(self, objects: Sequence[str]) -> dict[str, bytes]:
        """The files there by which git goes, and what they say."""
        sha256 = self.hash_name == "sha256"
        config = _CONFIG.format(
            null=os.devnull, version=int(sha256), extensions="\tobjectformat = sha256\n" if sha256 else ""
        )
        return {
            "HEAD": b"ref: refs/heads/none\n",
            "config": config.encode(),
            "info/attributes": _RAW,
            "objects/info/alternates": b"".join(_alternate(path) for path in objects),
        }

    def renew(self, objects: Sequence[str]) -> None:
        """Makes it obey nothing but what `create` wrote. Conflict where something else lies there by which
        git would go (hooks, refs, another git directory), and where a file of it is none: git and we would
        wait for a FIFO without end.
        """
        for folder, names in _NAMES.items():
            path = f"{self.home}/{folder}".rstrip("/")
            try:
                is_folder, found = not os.path.islink(path), os.listdir(path)
            except OSError:
                continue  # what is missing is said by who needs it
            strange = [name for name in found if name not in names and not _is_index(folder, name)]
            if strange or not is_folder:
                where = "/".join((path, *sorted(strange)[:1]))
                raise Conflict(
                    f"{where} is not of runner, and git could obey it",
                    hint="find out who put it there, then remove it",
                )
            for name in names:
                if names[name]:
                    _refuse_what_blocks(f"{path}/{name}")
        for name, data in self._obeyed(objects).items():
            path = f"{self.home}/{name}"
            try:
                if read_bytes(path) != data:
                    replace_bytes(path, data)
            except OSError as error:
                raise Conflict(f"{path} cannot be read: {error.strerror}") from error

    def index(self, path: str) -> Index:
        """What an index of ours holds; nothing where none is. GitFailed if it cannot be read."""
        data = read_bytes(path)
        if data is None:
            return Index(b"", {}, 0)
        if data[7:8] == b"\4":
            self.git.but(GIT_INDEX_FILE=path).run("update-index", "--index-version", "2")
            data = read_bytes(path) or b""
        listing = parse(data, self.hash_name)
        if listing is None:
            raise GitFailed(f"the index {path} cannot be read")
        return listing

    def ignore(self, rules: bytes) -> None:
        """What shall be ignored at every look from now on."""
        create(f"{self.home}/ignore", rules + b"\n" + _as_rule(self.runs))

    def look(self, before: Before) -> Seen:
        """The work tree now, by the ignore rules of the snapshot. GitFailed if it does not hold still."""
        index = f"{self.home}/index.{os.getpid()}.{os.urandom(4).hex()}"
        if os.path.exists(self.base):
            os.link(self.base, index)  # git replaces an index and never writes into one
        try:
            return self.record(index, before, lambda foreign, _: self._untracked(index, before, foreign))
        finally:
            _remove(index)

    def record(
        self,
        index: str,
        before: Before,
        sort_out: Callable[[Sequence[str], str | None], Untracked],
        listing: Index | None = None,
    ) -> Seen:
        """Like `look`, with the index file that describes the tree afterwards, and holds `listing` now.
        `sort_out` is given the names at which the walk stopped, and an index if it has to look by that one.
        """
        for attempt in range(_TRIES):
            try:
                return self._record(index, before, sort_out, None if attempt else listing)
            except GitFailed:  # another process is writing: a file went or became a folder meanwhile
                _remove(f"{index}.lock")
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def _record(
        self,
        index: str,
        before: Before,
        sort_out: Callable[[Sequence[str], str | None], Untracked],
        listing: Index | None,
    ) -> Seen:
        git = self.git.but(GIT_INDEX_FILE=index)
        skipped = {f"{self.runs}/", *before.ignored}
        listing = listing or self.index(index)
        here = walk(self.root, listing, before.since_ns, skipped, before.usual, before.unread)
        if before.unread is not None:
            here = self._without_read(here, listing)
        beside = Untracked()
        if here.foreign:
            _change(git, {name: Entry(0, _NOTHING[self.hash_name]) for name in here.remains})
            beside = sort_out(here.foreign, index if here.remains else None).without(self.is_runs)
        ignored = {*beside.ignored, *beside.repositories, *(name.removesuffix("/") for name in skipped)}
        beside, refused = _divided(beside)
        more = survey(self.root, beside.files)
        others = folders(self.root, here.foreign_folders, ignored)
        large = too_large(here.doubtful)
        doubtful = [name for name in here.doubtful if name not in large]
        hollow, emptied = _hollow(here, before)
        gone = (*here.gone, *emptied)
        is_known = not (here.doubtful or gone)
        as_indexed = is_known and not (here.modules or beside.files or beside.repositories)
        if not as_indexed:
            changes = {name: Entry(0, _NOTHING[self.hash_name]) for name in (*gone, *large)}
            changes |= self._inner((*here.modules, *beside.repositories), before)
            if here.disguised:
                replace_bytes(index, listing.without_times(here.disguised), durable=False)
            _change(git, changes)
            refused += self._put(git, [*doubtful, *more.modes, *more.links])
        tree = before.tree if as_indexed else None
        return Seen(
            tree or os.fsdecode(git.run("write-tree").strip()),
            as_indexed,
            is_known,
            here.permissions.with_more(more.modes).without({*large, *refused}),
            {**here.folders, **others.modes, **hollow},
            beside,
            (*sorted(large), *(name for name in more.extents if name in more.absent)),
            (*here.special, *others.special, *refused),
            (*here.problems, *(TOO_LARGE + name for name in sorted(large)), *more.problems, *others.problems),
            (*here.modules, *beside.repositories),
        )

    def _without_read(self, here: Standing, listing: Index) -> Standing:
        """Without a few small files that have the content of their entries: for git to read them and to write
        a large index, takes longer.
        """
        names = here.disguised
        if not 0 < len(names) <= _FEW or any(here.doubtful[name][0] > _SMALL for name in names):
            return here
        same = set()
        for name in names:
            found, entry = entry_at(f"{self.root}/{name}", None, self.hash_name), listing.entry(name)
            if found is not None and found.has_content_of(entry):
                same.add(name)
        doubtful = {name: extent for name, extent in here.doubtful.items() if name not in same}
        return here.replace(doubtful=doubtful, disguised=[name for name in names if name not in same])

    def _put(self, git: Git, names: list[str]) -> list[str]:
        """Brings the index of `git` to what stands there. The names that git refused, and said so at most."""
        if not names:
            return []
        words = ("update-index", "--add", "--remove", "--replace", "-z", "--stdin")
        said = git.run_and_hear(*words, stdin=joined(names))
        if not said:
            return []
        listing = self.index(git.more["GIT_INDEX_FILE"])
        return [
            name for name in names if listing.entry(name) is None and os.path.lexists(f"{self.root}/{name}")
        ]

    def _untracked(self, index: str, before: Before, foreign: Sequence[str]) -> Untracked:
        """By the rules of the snapshot, but for what was ignored then by whatever rule."""
        refuse_blocking(self.root, (name[:-1] for name in foreign if name.endswith("/")), before.ignored)
        git = self.git.but(GIT_INDEX_FILE=index)
        with open(f"{self.home}/ignore", "rb") as file:
            rules = file.read()
        others = ("ls-files", "-o", "-z", "--exclude-from=/dev/stdin")
        listed = split(git.run(*others, stdin=rules))
        hidden = split(git.run(*others, "-i", "--directory", stdin=rules))
        own = self._ignoring_themselves(listed, before.folders or {})
        ignored = {f"{self.runs}/", *before.ignored, *own}
        if before.forced is not None and hidden and (forced := before.forced(rules)):
            known = self.index(index)
            listed += [name for name in forced if known.entry(name.rstrip("/")) is None]
        return untracked((name for name in listed if not _is_in(name, ignored)), [*hidden, *own])

    def _ignoring_themselves(self, listed: Sequence[str], known: Collection[str]) -> list[str]:
        """The new folders that ignore all that is in them, as the cache of a tool does. In a folder that was
        there before, a rule of now hides nothing.
        """
        folders = [name.removesuffix(_OWN_RULES) for name in listed if name.endswith(f"/{_OWN_RULES}")]
        new = [name for name in folders if name.rstrip("/") not in known and is_own_cache(self.root, name)]
        return [name for name in new if not _is_in(name, {*new} - {name})]

    def unignored(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of some names that the rules of the snapshot do not ignore; git lists none of them."""
        if not names:
            return ()
        nowhere = f"{self.home}/none.{os.getpid()}.{os.urandom(4).hex()}"
        os.mkdir(nowhere, 0o700)  # where nothing is, git finds no rules of now
        git = Git(nowhere, {"GIT_DIR": self.home, "GIT_WORK_TREE": nowhere})
        git = git.but_with({"core.excludesFile": f"{self.home}/ignore"})
        asked = joined(f"./{name}" for name in names)
        ignored = {*split(git.ask("check-ignore", "-z", "--no-index", "--stdin", stdin=asked)[1])}
        os.rmdir(nowhere)
        return tuple(name for name in names if f"./{name}" not in ignored)

    def differing(self, before: str, after: str) -> Iterator[tuple[str, int, str, int, str]]:
        """Path, mode and name of the content before, the same after; a mode of 0 is "not there"."""
        out = self.git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", before, after)
        parts = out.split(b"\0")[:-1]
        for head, path in zip(parts[::2], parts[1::2], strict=True):
            mode, mode_after, oid, oid_after, _ = head.removeprefix(b":").split(b" ")
            yield os.fsdecode(path), int(mode, 8), oid.decode(), int(mode_after, 8), oid_after.decode()

    def names_of(self, tree: str, paths: Iterable[str]) -> dict[str, str]:
        """What git calls the contents of some files of a tree."""
        wanted = {*paths}
        lines = self.git.run("ls-tree", "-r", "-z", tree).split(b"\0")[:-1]
        pairs = ((os.fsdecode(name), head) for head, _, name in (line.partition(b"\t") for line in lines))
        return {name: head.split(b" ")[2].decode() for name, head in pairs if name in wanted}

    def patch_arguments(self, before: str, after: str) -> tuple[str, ...]:
        """Of a diff that `git apply` takes, binary files and permissions included."""
        fixed = ("-p", "--binary", "--full-index", "--no-renames", "--no-color", "--no-ext-diff")
        more = ("--no-textconv", "--src-prefix=a/", "--dst-prefix=b/", "--submodule=short")
        return ("diff-tree", "-r", *fixed, *more, before, after)

    def unpack(self, index: str, paths: Iterable[str]) -> None:
        """Puts these files of `index` into the stage, with their exact bytes."""
        _remove_tree(self.stage)
        os.mkdir(self.stage, 0o700)
        git = Git(self.stage, self.git.more | {"GIT_INDEX_FILE": index, "GIT_WORK_TREE": self.stage})
        if names := joined(paths):
            git.run("checkout-index", "-z", "--stdin", stdin=names)

    def is_runs(self, name: str) -> bool:
        return name.rstrip("/") == self.runs or name.startswith(f"{self.runs}/")

    def _inner(self, names: Sequence[str], before: Before) -> dict[str, Entry]:
        """The entries of repositories inside."""
        if before.tree is None:  # git will ask each of them what is uncommitted
            for name in names:
                inner.refuse_blocking_repository(f"{self.root}/{name}")
        return {name: Entry(REPOSITORY, self._commit_of(name)) for name in names}

    def _commit_of(self, name: str) -> str:
        """What a repository inside stands at; the name of nothing where it has no commit yet, and of the id
        where that is of another hash: no index of ours has room for it.
        """
        head = inner.head(f"{self.root}/{name}") or ""
        if len(head) == len(_NOTHING[self.hash_name]):
            return head
        return blob(self.hash_name, len(head), [head.encode()])


def _is_index(folder: str, name: str) -> bool:
    """An index of a look or a merge, or its lock, maybe of one that was killed."""
    return folder == "" and name.startswith("index.")


def _refuse_what_blocks(path: str) -> None:
    try:
        is_file = stat.S_ISREG(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Conflict(f"{path} cannot be read: {error.strerror}") from error
    if not is_file:
        raise Conflict(f"{path} cannot be read: it is not a regular file")


def _change(git: Git, changes: dict[str, Entry]) -> None:
    """Puts entries into the index as they are told, and takes out those of mode 0."""
    if changes:
        lines = (
            b"%o %s\t%s\0" % (one.mode, one.oid.encode(), os.fsencode(name)) for name, one in changes.items()
        )
        git.run("update-index", "-z", "--index-info", stdin=b"".join(lines))


def _hollow(here: Standing, before: Before) -> tuple[dict[str, int], list[str]]:
    """The folders in which a submodule may stand and none did, with their permission bits: they count as
    folders as long as they are there. And those in which one stood.
    """
    if before.folders is None:
        return here.hollow, []
    filled = {path: before.folders[path] for path in here.modules if path in before.folders}
    hollow = {path: mode for path, mode in here.hollow.items() if path in before.folders}
    return filled | hollow, [path for path in here.hollow if path not in hollow]


def _divided(beside: Untracked) -> tuple[Untracked, list[str]]:
    """What git can store, and the other names."""
    refused = [name for name in (*beside.files, *beside.repositories) if is_refused(name)]
    files, repositories = (
        tuple(name for name in names if not is_refused(name)) for names in (beside.files, beside.repositories)
    )
    return beside.replace(files=files, repositories=repositories), refused


def _as_rule(folder: str) -> bytes:
    return (
        b"/"
        + b"".join(b"\\%c" % char if char in b"\\*?[" else b"%c" % char for char in os.fsencode(folder))
        + b"/\n"
    )


def _alternate(path: str) -> bytes:
    """A line of objects/info/alternates; quoted as C does where a line's end is in the name."""
    data = os.fsencode(path)
    if b"\n" in data:
        data = b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'
    return data + b"\n"


def _is_in(name: str, ignored: Collection[str]) -> bool:
    """Whether it is one of these, or in a folder that is."""
    parts = name.split("/")
    return name in ignored or any("/".join(parts[:count]) + "/" in ignored for count in range(1, len(parts)))


def _remove_tree(path: str) -> None:
    if os.path.lexists(path):
        import shutil  # costs more than the rest of this module

        shutil.rmtree(path, ignore_errors=True)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
