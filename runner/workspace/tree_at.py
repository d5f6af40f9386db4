"""The files of one commit as git has them: nothing is checked out, converted or executed. Edge: git."""

from __future__ import annotations

import os

from runner.workspace.git import split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.workspace.git import Git

UNTOUCHED = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": os.devnull}
"""Variables: history as it is, whatever the repository says it should look like."""
_LINK, _MOST_LINKS = "120000", 40


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
        left, done, links = path.split("/")[::-1], list[str](), 0
        while left:
            part = left.pop()
            if part == ".." and not done:
                return None
            done = done[:-1] if part == ".." else [*done, part] if part not in ("", ".") else done
            if (target := self.link("/".join(done))) is not None:
                links += 1
                if target[:1] == "/" or links > _MOST_LINKS:
                    return None
                done, left = done[:-1], left + target.split("/")[::-1]
        found = "/".join(done)
        return found if self.files.get(found, ("",))[0][:3] == "100" else None
