"""A private git directory beside a run that sees the user's work tree. Edge: git and disk.

It borrows the user's objects (gitrepository-layout(5), alternates) and keeps new ones to itself, so it leaves
no trace in the user's repository. Its attributes switch off every conversion: its trees have the exact bytes
of the files, no filter runs, and a rollback restores what was there.
"""

from __future__ import annotations

import hashlib
import os
import shutil

from runner.value import Value
from runner.workspace.files import REPOSITORY, binary, copy_with_time
from runner.workspace.git import Git, GitFailed, joined, split
from runner.workspace.survey import folders, survey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_CONFIG = """[core]
	repositoryformatversion = {version}
	bare = false
	filemode = true
	symlinks = true
	ignorecase = false
	autocrlf = false
	safecrlf = false
	splitIndex = false
	protectNTFS = false
	protectHFS = false
	attributesFile = {null}
	excludesFile = {null}
[index]
	sparse = false
[extensions]
{extensions}"""
_RAW = b"* -text !eol !crlf !filter !ident !working-tree-encoding !diff !merge !whitespace\n"
_TRIES = 3


class Seen(Value):
    """A work tree at one moment. `modes` and `folders` are permission bits by path, `ignored` the folders
    that are ignored as a whole, `problems` what could not be read and is therefore in none of them.
    """

    tree: str
    modes: dict[str, int]
    folders: dict[str, int]
    ignored: tuple[str, ...]
    problems: tuple[str, ...]


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

    def create(self, objects: Sequence[str], ignore: bytes) -> None:
        """Creates it, over what an interrupted attempt left. `objects` are the folders it borrows objects
        from.
        """
        shutil.rmtree(self.home, ignore_errors=True)
        for name in ("objects/info", "objects/pack", "refs", "info"):
            os.makedirs(f"{self.home}/{name}", mode=0o700)
        sha256 = self.hash_name == "sha256"
        config = _CONFIG.format(
            null=os.devnull, version=int(sha256), extensions="\tobjectformat = sha256\n" if sha256 else ""
        )
        for name, data in {
            "HEAD": b"ref: refs/heads/none\n",
            "config": config.encode(),
            "info/attributes": _RAW,
            "ignore": ignore + b"\n" + _as_rule(self.runs),
            "objects/info/alternates": b"".join(_alternate(path) for path in objects),
        }.items():
            with binary(f"{self.home}/{name}") as file:
                file.write(data)

    def look(self) -> Seen:
        """The work tree now, by the ignore rules of the snapshot. GitFailed if it does not hold still."""
        index = f"{self.home}/index.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            if os.path.exists(self.base):
                copy_with_time(self.base, index)
            return self.record(index)
        finally:
            _remove(index)

    def record(self, index: str) -> Seen:
        """Like `look`, with the index file that describes the tree afterwards."""
        for attempt in range(_TRIES):
            try:
                return self._record(index)
            except GitFailed:  # another process is writing: a file went or became a folder meanwhile
                _remove(f"{index}.lock")
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def _record(self, index: str) -> Seen:
        git = self.git.but(GIT_INDEX_FILE=index)
        with open(f"{self.home}/ignore", "rb") as file:
            rules = file.read()
        listing = git.run("ls-files", "-s", "-z").split(b"\0")[:-1]
        known = {os.fsdecode(line.partition(b"\t")[2]): line.startswith(b"160000") for line in listing}
        others = [
            name
            for name in split(git.run("ls-files", "-o", "-z", "--exclude-from=/dev/stdin", stdin=rules))
            if not self.is_runs(name)
        ]
        hidden = split(
            git.run("ls-files", "-o", "-i", "--directory", "-z", "--exclude-from=/dev/stdin", stdin=rules)
        )
        ignored = [name.removesuffix("/") for name in hidden if name.endswith("/")]
        inner = [name.removesuffix("/") for name in others if name.endswith("/")]
        seen = survey(self.root, [*known, *(name for name in others if not name.endswith("/"))])
        modules = {name for name in seen.inner if known.get(name)}
        gone = [name for name in known if name in seen.absent or self.is_runs(name)]
        gone += [name for name in seen.inner - modules if name in known]
        nothing = b"0" * (hashlib.new(self.hash_name, usedforsecurity=False).digest_size * 2)
        _change(git, nothing, gone, {name: self._commit_of(name) for name in inner})
        there = [name for name in (*seen.modes, *seen.links, *sorted(modules)) if not self.is_runs(name)]
        git.run("update-index", "--add", "--remove", "--replace", "-z", "--stdin", stdin=joined(there))
        dirs, blind = folders(self.root, {*ignored, *inner, *modules, self.runs})
        modes = {name: mode for name, mode in seen.modes.items() if not self.is_runs(name)}
        tree = os.fsdecode(git.run("write-tree").strip())
        return Seen(tree, modes, dirs, tuple(ignored), (*seen.problems, *blind))

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
        shutil.rmtree(self.stage, ignore_errors=True)
        os.mkdir(self.stage, 0o700)
        git = Git(self.stage, self.git.more | {"GIT_INDEX_FILE": index, "GIT_WORK_TREE": self.stage})
        if names := joined(paths):
            git.run("checkout-index", "-z", "--stdin", stdin=names)

    def is_runs(self, name: str) -> bool:
        return name.rstrip("/") == self.runs or name.startswith(f"{self.runs}/")

    def _commit_of(self, name: str) -> str:
        """What a repository inside stands at; the name of nothing where it has no commit yet."""
        path = f"{self.root}/{name}"
        head = Git(path, {"GIT_DIR": f"{path}/.git"}).line("rev-parse", "--verify", "-q", "HEAD^{commit}")
        return head or hashlib.new(self.hash_name, b"blob 0\0", usedforsecurity=False).hexdigest()


def _change(git: Git, nothing: bytes, gone: Iterable[str], repositories: dict[str, str]) -> None:
    """Takes names out of the index, and puts commits of repositories in."""
    lines = [b"0 %s\t%s\0" % (nothing, os.fsencode(name)) for name in gone]
    lines += [
        b"%o %s\t%s\0" % (REPOSITORY, commit.encode(), os.fsencode(name))
        for name, commit in repositories.items()
    ]
    if lines:
        git.run("update-index", "-z", "--index-info", stdin=b"".join(lines))


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


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
