"""The state of the user's repository: HEAD, the refs, a merge or rebase under way. Edge: git.

Everything here only reads; it refreshes no index and runs no hook, filter or monitor, except `uncommitted`,
which has to compare files as the user's git does.
"""

from __future__ import annotations

import os

from runner.disk.scratch import scratch
from runner.disk.upwards import git_root
from runner.errors import Conflict
from runner.value import Value
from runner.workspace.files import copy_with_time, entry_at, read_bytes
from runner.workspace.git import Git, GitFailed, hint_of, joined, split
from runner.workspace.ignored import ignores_itself
from runner.workspace.ignores import Untracked, one_list, untracked
from runner.workspace.inner import refuse_blocking_repository
from runner.workspace.survey import refuse_blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runner.workspace.tracked import Index

_STATES = (
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
    ("MERGE_HEAD", "merge"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
    ("BISECT_LOG", "bisect"),
)
# What `ls-files --debug` prints below each name; of the flags (read-cache-ll.h) those that are stored: assume
# unchanged, intent to add, skip in the work tree.
_REMEMBERED = rb"  ctime: .*\n  mtime: .*\n  dev: .*\n  uid: .*\n  size: \d+\tflags: ([0-9a-f]+)\n"
_LASTING_FLAGS = 0x6000_8000
_ELSEWHERE = (
    "`core.worktree` says so (`git config --show-origin core.worktree`); with `extensions.worktreeConfig` it "
    "is a setting of one work tree: `git config --worktree core.worktree PATH` there, then unset the other"
)
_CONVERTS = rb"\s(?:text|crlf|eol|ident|filter|working-tree-encoding)(?:[\s=]|$)"


class Position(Value):
    """`head` is None in a repository without commits, `branch` (a whole ref) when detached; `in_progress` is
    `rebase`, `merge`, `cherry-pick`, `revert`, `bisect` or None. `refs` are names and what they point at.
    `tree` is that of the commit, `symbolic` are the refs that name another one, and which; an older runner
    wrote neither down.
    """

    head: str | None
    branch: str | None
    in_progress: str | None
    refs: tuple[tuple[str, str], ...]
    tree: str | None = None
    symbolic: tuple[tuple[str, str], ...] | None = None


class Repository(Value):
    """Absolute paths: the work tree's root, its git directory, and the one that all its work trees share.
    `hash_name` is `sha1` or `sha256`.
    """

    root: str
    git_dir: str
    common_dir: str
    hash_name: str

    @property
    def git(self) -> Git:
        return Git(self.root, {"GIT_DIR": self.git_dir, "GIT_WORK_TREE": self.root})

    @property
    def index(self) -> str:
        return f"{self.git_dir}/index"

    def commit_of(self, name: str) -> str | None:
        """The full id of the commit that is called so; None if this repository has none."""
        return self.git.line("rev-parse", "--verify", "-q", "--end-of-options", f"{name}^{{commit}}")

    def index_listing(self, index: str) -> bytes | None:
        """What an index file of this repository holds, without what it remembers of the files' times; two
        that are equal stage the same. None if there is no such file.
        """
        if not os.path.exists(index):
            return None
        import re

        told = self.git.but(GIT_INDEX_FILE=index).run("ls-files", "-s", "--debug", "-z")
        return re.sub(_REMEMBERED, lambda found: b"%x\n" % (int(found[1], 16) & _LASTING_FLAGS), told)

    def position(self) -> Position:
        """Where everything stands now."""
        git = self.git
        listed = os.fsdecode(git.run("for-each-ref", "--format=%(objectname) %(refname) %(symref)"))
        rows = [line.split(" ") for line in listed.split("\n") if line]
        refs = tuple((name, oid) for oid, name, _ in rows)
        symbolic = tuple((name, other) for _, name, other in rows if other)
        states = [state for name, state in _STATES if os.path.exists(f"{self.git_dir}/{name}")]
        head, tree, branch = self._head()
        return Position(head, branch, states[0] if states else None, refs, tree, symbolic)

    def _head(self) -> tuple[str | None, str | None, str | None]:
        """The commit, its tree, and the branch: in one question where HEAD is what it mostly is."""
        git, commit, tree = self.git, "HEAD^{commit}", "HEAD^{tree}"
        status, out, _ = git.ask("rev-parse", commit, tree, "--symbolic-full-name", "HEAD")
        if status == 0 and out.count(b"\n") == 3:
            ids, branch = out.split(b"\n")[:2], os.fsdecode(out.split(b"\n")[2])
            return ids[0].decode(), ids[1].decode(), None if branch == "HEAD" else branch
        there = [git.line("rev-parse", "--verify", "-q", name) for name in (commit, tree)]
        return there[0], there[1], git.line("symbolic-ref", "-q", "HEAD")

    def settings(self) -> dict[str, str]:
        """The effective git settings; of a repeated one the last value, as git takes it."""
        pairs = (item.partition("\n") for item in split(self.git.run("config", "-z", "--list")))
        return {name: value for name, _, value in pairs}

    def uncommitted(
        self, but: Callable[[str], bool] = lambda _: False
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Paths that differ from HEAD (staged or not), and untracked ones that are not ignored."""
        options = ("--porcelain=v1", "-z", "-uall", "--no-renames", "--ignore-submodules=dirty")
        told = [line for line in split(self.git.run("status", *options)) if not but(line[3:])]
        dirty = [line[3:] for line in told if not line.startswith("??")]
        if unwatched := self.unwatched(self.git):
            with scratch(os.environ) as folder:
                git = self.git.but(GIT_INDEX_FILE=f"{folder}/index").but_with({"core.splitIndex": "false"})
                copy_with_time(self.index, f"{folder}/index")
                watch(git, unwatched)
                seen = split(git.run("diff-files", "-z", "--name-only"))
                dirty += [name for name in seen if name in unwatched]
        return tuple(dict.fromkeys(dirty)), tuple(line[3:] for line in told if line.startswith("??"))

    def committed_links(self, folder: str) -> tuple[str, ...]:
        """The names in a folder, relative to the root, that are links in HEAD."""
        tree = "HEAD^{tree}" if folder == "." else f"HEAD:{folder}"
        out = self.git.ask("ls-tree", "-z", tree)[1]
        pairs = (line.partition(b"\t") for line in out.split(b"\0"))
        return tuple(os.fsdecode(name) for head, _, name in pairs if head.startswith(b"120000 "))

    def unwatched(self, git: Git, *, absent: bool = False) -> frozenset[str]:
        """The names that the index of `git` says not to look at, by hand: skip-worktree, assume-unchanged.
        With `absent` also those of the first kind at which nothing stands: a sparse checkout leaves them out.
        """
        told = [
            line for line in split(git.run("ls-files", "-v", "-z")) if line[0] == "S" or line[0].islower()
        ]
        # With this setting git itself assumes it of each file that it writes.
        is_by_hand = told and git.line("config", "--type=bool", "core.ignoreStat") != "true"
        return frozenset(
            line[2:]
            for line in told
            if (line[0] in "Ss" and (absent or os.path.lexists(f"{self.root}/{line[2:]}")))
            or (line[0] not in "Ss" and is_by_hand)
        )

    def is_committed(self) -> bool:
        """Whether the index holds what HEAD does."""
        return self.git.ask("diff-index", "--cached", "--quiet", "--ignore-submodules=dirty", "HEAD")[0] == 0

    def untracked(self, foreign: Sequence[str], index: str | None = None) -> Untracked:
        """What stands beside the files that `index` tracks (None: the user's). `foreign` are the names at
        which a walk stopped.
        """
        asked = (name.rstrip("/") for name in foreign if not ignores_itself(self.root, name))
        # With `./`, so that none of them is a pattern. Without a slash at the end, because `folder/*` matches
        # `folder/`, where a further rule may except a file inside.
        names = joined(f"./{name}" for name in asked)
        ignored = names and self.git.ask("check-ignore", "-z", "--no-index", "--stdin", stdin=names)[1]
        if ignored == names:
            return untracked((), foreign)
        left = {*split(names)} - {*split(ignored)}
        refuse_blocking(
            self.root, (name[:-1] for name in foreign if name.endswith("/") and f"./{name[:-1]}" in left)
        )
        git = self.git if index is None else self.git.but(GIT_INDEX_FILE=index)
        others = ("ls-files", "-z", "-o", "--exclude-standard")
        return untracked(split(git.run(*others)), split(git.run(*others, "-i", "--directory")))

    def forced(self, rules: bytes) -> tuple[str, ...]:
        """What is staged or committed in spite of `rules`; the name of a repository ends with a slash."""
        asked = ("ls-files", "-z", "-c", "-i", "--exclude-from=/dev/stdin")
        status, out, _ = self.git.ask(*asked, "--with-tree=HEAD", stdin=rules)
        names = split(out if status == 0 else self.git.ask(*asked, stdin=rules)[1])
        there = (name for name in dict.fromkeys(names) if os.path.lexists(f"{self.root}/{name}"))
        return tuple(f"{name}/" if os.path.isdir(f"{self.root}/{name}") else name for name in there)

    def ignore_rules(self, settings: dict[str, str], names: Iterable[str]) -> bytes:
        """All that decides now what is ignored, as one list. `names` has all `.gitignore` files, and may have
        some that do not exist.
        """
        config_home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        user = os.path.expanduser(settings.get("core.excludesfile") or f"{config_home}/git/ignore")
        general = [read_bytes(path) or b"" for path in (user, f"{self.common_dir}/info/exclude")]
        by_folder = {}
        for name in names:
            path = f"{self.root}/{name}"
            if os.path.isfile(path) and not os.path.islink(path):  # git follows no link here either
                by_folder[os.fsencode(os.path.dirname(name))] = read_bytes(path) or b""
        return one_list(general, by_folder)

    def has_conversions(self, settings: dict[str, str], index: Index) -> bool:
        """Whether git's name of a file of `index` may be that of other bytes than those on disk."""
        if settings.get("core.autocrlf", "false").lower() not in ("false", "no", "off", "0"):
            return True
        if "attr.tree" in settings:  # rules that stand in no file
            return True
        config_home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        files = [settings.get("core.attributesfile") or f"{config_home}/git/attributes"]
        files += ["/etc/gitattributes", f"{self.common_dir}/info/attributes"]
        if any(os.path.exists(os.path.expanduser(path)) for path in files):
            return True
        return any(self._converts(index, path) for path in index.beside(".gitattributes"))

    def _converts(self, index: Index, path: str) -> bool:
        """False only where such a file is as it was committed and asks for nothing."""
        there = os.path.lexists(f"{self.root}/{path}")
        entry = index.entry(path)
        if entry is None or not there:
            return there or entry is not None
        import re

        found = entry_at(f"{self.root}/{path}", None, self.hash_name)
        return (
            not entry.has_content_of(found)
            or re.search(_CONVERTS, read_bytes(f"{self.root}/{path}") or b"") is not None
        )


def watch(git: Git, names: Iterable[str]) -> None:
    """Has git look at these again, by a private index."""
    for bit in ("--no-skip-worktree", "--no-assume-unchanged"):
        git.run("update-index", bit, "-z", "--stdin", stdin=joined(names))
    git.ask("update-index", "-q", "--refresh")  # its status says that something differs


def find(path: str) -> Repository | None:
    """The repository whose work tree `path` is in; None if there is none, or none with a work tree.

    GitFailed where git sees one and refuses it (one of another user, or a broken one), Conflict where it
    would wait without end, or where the work tree that git tells lies elsewhere: what is done at `path` would
    not be seen there.
    """
    refuse_blocking_repository(path)
    git = Git(path)
    asked = ("--show-toplevel", "--absolute-git-dir", "--git-common-dir", "--show-object-format")
    status, out, said = git.ask("rev-parse", *asked)
    if status != 0:
        # A broken one, or one that calls itself bare, is no folder without git: nothing would be rolled back.
        is_none = "not a git repository" in said or "must be run in a work tree" in said
        if is_none and git_root(os.path.realpath(path)) is None:
            return None
        raise GitFailed(f"git refuses the repository at {path}: {said}", hint=hint_of(said))
    lines = out.splitlines()
    if len(lines) != len(asked) or b"\r" in out:  # a name has a line's end
        lines = [git.run("rev-parse", what).removesuffix(b"\n") for what in asked]
    root, git_dir, common, hash_name = map(os.fsdecode, lines)
    here = os.path.realpath(path)
    if not f"{here}/".startswith(f"{os.path.realpath(root).rstrip('/')}/"):
        raise Conflict(f"git takes {root} for the work tree of {here}, which is not in it", hint=_ELSEWHERE)
    return Repository(root, git_dir, os.path.normpath(os.path.join(path, common)), hash_name)
