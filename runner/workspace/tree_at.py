"""The files of one commit as git has them: nothing is checked out, converted or executed. Edge: git."""

from __future__ import annotations

import os

from runner.disk.scratch import scratch
from runner.workspace.git import joined, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from runner.workspace.git import Git

UNTOUCHED = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": os.devnull}
"""Variables: history as it is, whatever the repository says it should look like."""
_LINK, _SUBMODULE, _MOST_LINKS = "120000", "160000", 40
_RULES = ".gitattributes"
_MADE = ("working-tree-encoding", "ident", "filter")


class TreeAt:
    def __init__(self, git: Git, commit: str) -> None:
        self.commit = commit
        self._git = git
        self.files: dict[str, tuple[str, str]] = {}
        """Path -> mode and name of its content."""
        for row in split(git.run("ls-tree", "-r", "-z", "--full-tree", commit)):
            about, _, path = row.partition("\t")
            mode, _, name = about.split()
            self.files[path] = (mode, name)

    def read(self, path: str, limit: int) -> bytes:
        """The first bytes of a file that `real` has found."""
        return self._git.beginning(limit, "cat-file", "blob", self.files[path][1])

    def link(self, path: str) -> str | None:
        """Where a link leads, as it is written."""
        return os.fsdecode(self.read(path, 4096)) if self.files.get(path, ("",))[0] == _LINK else None

    def real(self, path: str) -> str | None:
        """The file that a path leads to, with links followed; None where it is none of this commit."""
        return self.follow(path)[0]

    def follow(self, path: str) -> tuple[str | None, str]:
        """The same, and where it is none, the links and the submodule on the way there."""
        left, done, seen = path.split("/")[::-1], list[str](), list[str]()
        while left:
            part = left.pop()
            if part == ".." and not done:
                break
            done = done[:-1] if part == ".." else [*done, part] if part not in ("", ".") else done
            mode, name = self.files.get(at := "/".join(done), ("", ""))
            if mode == _SUBMODULE:
                seen.append(f"{at} is a submodule at {name}")
                break
            if (target := self.link(at)) is not None:
                seen.append(f"{at} is a link to {target}")
                if target[:1] == "/" or len(seen) > _MOST_LINKS:
                    break
                done, left = done[:-1], left + target.split("/")[::-1]
        else:
            if self.files.get(found := "/".join(done), ("",))[0][:3] == "100":
                return found, ""
        return None, ", ".join(seen)

    def ways(self, paths: Collection[str], *more: str) -> dict[str, tuple[str | None, str]]:
        """As `follow`; beside a file, the attribute by which a checkout has another content than `read`, of
        these and `more`.
        """
        found = {path: self.follow(path) for path in paths}
        made = self._made([real for real, _ in found.values() if real], (*more, *_MADE))
        return {path: (real, made.get(real, "") if real else way) for path, (real, way) in found.items()}

    def _made(self, paths: Collection[str], names: Sequence[str]) -> dict[str, str]:
        """Only rules of this commit count, none of this machine."""
        rules = [path for path in self.files if path.rpartition("/")[2] == _RULES]
        rules = [one for one in rules if any(path.startswith(one.removesuffix(_RULES)) for path in paths)]
        for one in rules:
            self.read(one, 1)  # of one that a partial clone lacks, `check-attr` says nothing
        if not rules:
            return {}
        form = self._git.line("rev-parse", "--show-object-format")
        objects = os.path.join(self._git.cwd, self._git.line("rev-parse", "--git-path", "objects") or "")
        with scratch(os.environ) as folder:
            own = f"{folder}/git"
            self._git.run("init", "-q", "--bare", "--template=", f"--object-format={form}", own)
            git = self._git.but_with({"core.attributesFile": os.devnull, "core.protectNTFS": "false"})
            git = git.but(GIT_DIR=own, GIT_OBJECT_DIRECTORY=objects, GIT_ATTR_NOSYSTEM="1")
            git.run("read-tree", self.commit)
            told = split(git.run("check-attr", "-z", "--cached", "--stdin", *names, stdin=joined(paths)))
        rows = zip(told[::3], told[1::3], told[2::3], strict=True)
        none = ("unspecified", "unset", "lf")  # which no file is brought to at checkout
        return {path: name for path, name, value in rows if value not in none}
