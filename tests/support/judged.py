"""A repository with a commit, a run under terms in it, and what is to be seen of its judgement."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.repo import Repo, Run
from support.waiting import wait_until

__all__ = [
    "Tree",
    "asked",
    "call",
    "checks",
    "claim",
    "commit",
    "events_of",
    "failed_with",
    "hung",
    "prepares",
    "prompt",
    "result",
    "says",
    "spends",
    "starts",
    "told",
]

FILES = {"src/app.py": "answer = 41\n", "docs/read me.md": "read\n", "keep.txt": "kept\n"}


def commit(repo: Repo, **files: str) -> None:
    """Everything there is, and these besides."""
    for name, text in {**FILES, **files}.items():
        repo.write(name, text)
    repo.says("add", "-A")
    repo.says("commit", "-q", "--no-verify", "-m", "base")


# -- what the model does -------------------------------------------------------------------------------


def claim(status: str = "completed", files: Sequence[str] = ("src/app.py",), **more: object) -> str:
    """A result as the contract asks for it."""
    fields = {"issues": [], "summary": "It is done.", "verification_summary": "All of it passes.", **more}
    return json.dumps({"status": status, "files_modified": list(files), **fields})


def says(text: str, usage: str = "") -> str:
    """A turn that ends the model's part."""
    return f"[[turns]]\nmessage = {json.dumps(text)}\n{usage}\n"


def call(command: str, usage: str = "") -> str:
    """A turn with a shell command."""
    return f"[[turns]]\nshell = {json.dumps(command)}\n{usage}\n"


def spends(tokens: int) -> str:
    """What a turn costs, for `says` and `call`."""
    return f"usage = {{ input_tokens = {tokens}, output_tokens = 0 }}"


def failed_with(status: int, message: str = "no") -> str:
    """A turn in which the provider refuses."""
    return f'[[turns]]\nerror = {{ status = {status}, message = "{message}" }}\n'


hung = "[[turns]]\nhang = true\n"


# -- the run -------------------------------------------------------------------------------------------


def prepares(
    repo: Repo, script: str, *lines: str, more: str = "", sandbox: str = "workspace-write", **files: str
) -> Repo:
    """The task and its script, committed with all the rest: the tree is clean."""
    repo.script(script)
    keys = "\n".join(('rehearse = "play.toml"', 'grace = "1s"', f'sandbox = "{sandbox}"', *lines))
    repo.config(f'{more}\n[tasks.work]\nprompt = "Make the answer 42."\n{keys}\n')
    commit(repo, **files)
    return repo


def starts(
    repo: Repo, script: str, *lines: str, more: str = "", sandbox: str = "workspace-write", **files: str
) -> Run:
    """As `prepares`, and started."""
    return prepares(repo, script, *lines, more=more, sandbox=sandbox, **files).start()


def checks(*commands: str) -> str:
    """The task's `verify`: each is a shell command."""
    return f"verify = {json.dumps([['sh', '-c', command] for command in commands])}"


# -- what is to be seen --------------------------------------------------------------------------------


def result(run: Run) -> dict[str, Any]:
    """The judgement as it lies in the run's folder."""
    found: dict[str, Any] = json.loads(run.file("result.json"))
    return found


def prompt(run: Run, n: int) -> str:
    """What attempt `n` got on stdin."""
    return run.file("prompt.md" if n == 1 else f"prompt-{n}.md")


def asked(run: Run) -> list[dict[str, Any]]:
    """The requests that the scripted model got."""
    return [json.loads(line) for line in run.file("rehearsal.jsonl").splitlines()]


def events_of(run: Run, *kinds: str) -> list[str]:
    """The types of these events in their order."""
    return [event["type"] for event in run.events() if event["type"] in kinds]


def told(run: Run, kind: str, within: float = 30.0) -> dict[str, Any]:
    """The first event of this kind, as soon as it is there."""
    wait_until((run.folder / "events.jsonl").exists, within, "the events")
    found: dict[str, Any] = wait_until(lambda: next(iter(run.events(kind)), None), within, f"event {kind}")
    return found


@dataclass(frozen=True)
class Tree:
    """A work tree with its index, as bytes: equal means that nobody touched anything."""

    files: dict[str, tuple[int, bytes]]
    index: str
    head: str

    @classmethod
    def of(cls, repo: Repo) -> Tree:
        staged = repo.says("ls-files", "--stage", "-z")
        head = repo.says("rev-parse", "HEAD") + repo.says("symbolic-ref", "HEAD") + repo.says("for-each-ref")
        return cls(dict(_files(repo.root)), staged, head)


def _files(root: Path) -> Iterable[tuple[str, tuple[int, bytes]]]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in (".git", ".runs"))
        for name in names:
            path = Path(folder, name)
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            yield str(path.relative_to(root)), (path.lstat().st_mode, content)
