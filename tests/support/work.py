"""A work tree with real git, and what can be seen of it: what every repository of the tests is."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

from runner.workspace import snapshot as snapshots
from runner.workspace.snapshot import Snapshot

__all__ = ["State", "Work", "WorkTree"]

State = dict[bytes, tuple[int, bytes]]
_WHO = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgSign=false")


class WorkTree:
    """`root` is where it lies; git has `env`, or that of the test. Names may be any bytes."""

    root: Path
    env: dict[str, str] | None = None

    def git(self, *args: str | bytes, ok: bool = True, cwd: Path | None = None, stdin: bytes = b"") -> bytes:
        words, where = ["git", *_WHO, *args], cwd or self.root
        done = subprocess.run(words, cwd=where, env=self.env, capture_output=True, input=stdin, check=False)
        assert done.returncode == 0 or not ok, done.stderr
        return done.stdout

    def says(self, *args: str) -> str:
        """What git prints."""
        return self.git(*args).decode()

    def path(self, name: str | bytes) -> bytes:
        return os.path.join(os.fsencode(self.root), os.fsencode(name))

    def write(self, name: str | bytes, data: str | bytes = "x\n", mode: int | None = None) -> None:
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        if mode is not None:
            os.chmod(path, mode)

    def read(self, name: str | bytes) -> bytes:
        with open(self.path(name), "rb") as file:
            return file.read()

    def link(self, name: str, target: str) -> None:
        os.symlink(target, self.path(name))

    def remove(self, name: str | bytes) -> None:
        path = self.path(name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "x")
        return self.head()

    def head(self) -> str:
        return self.says("rev-parse", "HEAD").strip()

    def state(self) -> State:
        """Everything but `.git` and `.runs`: folders and ignored files too, with their permissions."""
        seen: State = {}
        top = os.fsencode(self.root)
        for folder, inner, files in os.walk(top):
            if folder == top:
                inner[:] = [name for name in inner if name not in (b".git", b".runs")]
            for name in (*inner, *files):
                path = os.path.join(folder, name)
                found = os.lstat(path)
                content = b""
                if stat.S_ISLNK(found.st_mode):
                    content = os.readlink(path)
                elif stat.S_ISREG(found.st_mode):
                    content = self.read(path)
                seen[os.path.relpath(path, top)] = (found.st_mode, content)
        return seen

    def staged(self) -> bytes:
        """What the index holds, and what git says of it."""
        return self.git("ls-files", "-s", "-v", "-z") + self.git("status", "--porcelain", "-z")

    def objects(self) -> set[str]:
        return {str(path) for path in (self.root / ".git" / "objects").rglob("*")}


class Work(WorkTree):
    """With `folder` besides, the folder of a run in its `.runs`."""

    def __init__(self, base: Path, name: str = "repo") -> None:
        self.root = base / name
        self.folder = self.root / ".runs" / "t" / "cli" / "r"
        self.folder.mkdir(parents=True)
        (self.root / ".runs" / ".gitignore").write_text("*\n")
        self.git("init", "-q", "-b", "main")

    def take(self) -> Snapshot:
        taken = snapshots.take(str(self.root), str(self.folder))
        assert taken is not None
        return taken
