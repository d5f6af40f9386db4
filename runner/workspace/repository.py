"""The state of the user's repository: HEAD, the refs, a merge or rebase under way. Edge: git.

Everything here only reads; it refreshes no index and runs no hook, filter or monitor, except `uncommitted`,
which has to compare files as the user's git does.
"""

from __future__ import annotations

import os
import re

from runner.value import Value
from runner.workspace.files import read_bytes
from runner.workspace.git import Git, GitFailed, split
from runner.workspace.ignores import one_list

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
_REMEMBERED = re.compile(
    rb"  ctime: .*\n  mtime: .*\n  dev: .*\n  uid: .*\n  size: \d+\tflags: ([0-9a-f]+)\n"
)
_LASTING_FLAGS = 0x6000_8000


class Position(Value):
    """`head` is None in a repository without commits, `branch` (a whole ref) when detached; `in_progress` is
    `rebase`, `merge`, `cherry-pick`, `revert`, `bisect` or None. `refs` are names and what they point at.
    """

    head: str | None
    branch: str | None
    in_progress: str | None
    refs: tuple[tuple[str, str], ...]


class Repository(Value):
    """Absolute paths: the work tree's root, its git directory, and the one that all its work trees share."""

    root: str
    git_dir: str
    common_dir: str

    @property
    def git(self) -> Git:
        return Git(self.root, {"GIT_DIR": self.git_dir, "GIT_WORK_TREE": self.root})

    @property
    def index(self) -> str:
        return f"{self.git_dir}/index"

    def hash_name(self) -> str:
        """`sha1` or `sha256`."""
        return self.git.line("rev-parse", "--show-object-format") or "sha1"

    def commit_of(self, name: str) -> str | None:
        """The full id of the commit that is called so; None if this repository has none."""
        return self.git.line("rev-parse", "--verify", "-q", "--end-of-options", f"{name}^{{commit}}")

    def index_listing(self, index: str) -> bytes | None:
        """What an index file of this repository holds, without what it remembers of the files' times; two
        that are equal stage the same. None if there is no such file.
        """
        if not os.path.exists(index):
            return None
        told = self.git.but(GIT_INDEX_FILE=index).run("ls-files", "-s", "--debug", "-z")
        return _REMEMBERED.sub(lambda found: b"%x\n" % (int(found[1], 16) & _LASTING_FLAGS), told)

    def position(self) -> Position:
        """Where everything stands now."""
        git = self.git
        listed = git.run("for-each-ref", "--format=%(objectname) %(refname)").splitlines()
        pairs = (line.partition(b" ") for line in listed)
        refs = tuple((os.fsdecode(name), oid.decode()) for oid, _, name in pairs)
        states = [state for name, state in _STATES if os.path.exists(f"{self.git_dir}/{name}")]
        return Position(
            git.line("rev-parse", "--verify", "-q", "HEAD^{commit}"),
            git.line("symbolic-ref", "-q", "HEAD"),
            states[0] if states else None,
            refs,
        )

    def settings(self) -> dict[str, str]:
        """The effective git settings; of a repeated one the last value, as git takes it."""
        pairs = (item.partition("\n") for item in split(self.git.run("config", "-z", "--list")))
        return {name: value for name, _, value in pairs}

    def uncommitted(self) -> tuple[list[str], list[str]]:
        """Paths that differ from HEAD (staged or not), and untracked ones that are not ignored."""
        options = ("--porcelain=v1", "-z", "-uall", "--no-renames", "--ignore-submodules=dirty")
        dirty: list[str] = []
        untracked: list[str] = []
        for line in split(self.git.run("status", *options)):
            (untracked if line.startswith("??") else dirty).append(line[3:])
        return dirty, untracked

    def ignore_rules(self, settings: dict[str, str]) -> bytes:
        """All that decides now what is ignored, as one list."""
        config_home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        user = os.path.expanduser(settings.get("core.excludesfile") or f"{config_home}/git/ignore")
        general = [read_bytes(path) or b"" for path in (user, f"{self.common_dir}/info/exclude")]
        by_folder = {}
        for name in self._rule_files():
            path = f"{self.root}/{name}"
            if os.path.isfile(path) and not os.path.islink(path):  # git follows no link here either
                by_folder[os.fsencode(os.path.dirname(name))] = read_bytes(path) or b""
        return one_list(general, by_folder)

    def has_conversions(self, settings: dict[str, str]) -> bool:
        """Whether git's name of a file may be that of other bytes than those on disk."""
        if settings.get("core.autocrlf", "false").lower() not in ("false", "no", "off", "0"):
            return True
        config_home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        files = [settings.get("core.attributesfile") or f"{config_home}/git/attributes"]
        files += ["/etc/gitattributes", f"{self.common_dir}/info/attributes"]
        if any(os.path.exists(os.path.expanduser(path)) for path in files):
            return True
        names = split(self.git.run("ls-files", "-z", "--cached", "--others"))
        return any(os.path.basename(name) == ".gitattributes" for name in names)

    def _rule_files(self) -> set[str]:
        known = split(self.git.run("ls-files", "-z", "--cached", "--others", "--exclude-standard"))
        hidden = split(self.git.run("ls-files", "-z", "-o", "-i", "--directory", "--exclude-standard"))
        # A folder may be ignored by a file of its own (`.venv/.gitignore` with `*`) that ignores itself.
        inside = {f"{name}.gitignore" for name in hidden if name.endswith("/")}
        return {name for name in (*known, *hidden) if os.path.basename(name) == ".gitignore"} | inside


def find(path: str) -> Repository | None:
    """The repository whose work tree `path` is in; None if there is none, or none with a work tree.

    GitFailed where git sees one and refuses it (one of another user, or a broken one).
    """
    git = Git(path)
    status, out, said = git.ask("rev-parse", "--show-toplevel")
    if status != 0:
        if "not a git repository" in said or "must be run in a work tree" in said:
            return None
        raise GitFailed(f"git refuses the repository at {os.fsencode(path)!r}: {said}")
    root = os.fsdecode(out.removesuffix(b"\n"))
    git_dir = os.fsdecode(git.run("rev-parse", "--absolute-git-dir").removesuffix(b"\n"))
    common = os.fsdecode(git.run("rev-parse", "--git-common-dir").removesuffix(b"\n"))
    return Repository(root, git_dir, os.path.normpath(os.path.join(path, common)))
