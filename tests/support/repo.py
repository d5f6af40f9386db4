"""A git repository with a delegate.toml, a home of its own, and the real `runner` command in it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.state import questions
from runner.state.store import RunDir
from support import processes
from support.doubles import FINISHED, THREAD, install_codex, said
from support.processes import Seen
from support.trusting import trust_folder
from support.waiting import wait_until
from support.work import WorkTree

__all__ = ["RUNNER", "Completed", "Repo", "Run"]

RUNNER = Path(sys.executable).parent / "runner"
WITHIN_S = 120.0
"""Nobody waits so long for a command; on a machine with much else to do it may take a while."""


@dataclass(frozen=True)
class Completed:
    """How one `runner` command ended."""

    status: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.stdout)

    @property
    def error(self) -> dict[str, Any]:
        """The error of JSON mode."""
        error: dict[str, Any] = self.json()["error"]
        return error


@dataclass
class Repo(WorkTree):
    """`base` has everything: the repository, its HOME, a folder on PATH. `name` may be weird."""

    base: Path
    name: str = "repo"
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = self.base / self.name
        for folder in (self.root, self.home / ".codex", self.home / ".kay", self.bin):
            folder.mkdir(parents=True)
        self.env = {
            "HOME": str(self.home),
            "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "CODEX_HOME": str(self.home / ".codex"),
            "KAY_HOME": str(self.home / ".kay"),
            "NO_COLOR": "1",
            **self.env,
        }
        (self.home / ".codex" / "auth.json").write_text("{}")  # a login, as far as a start looks
        self.git("init", "-q")
        trust_folder(self.root, self.env)

    @property
    def home(self) -> Path:
        return self.base / "home"

    @property
    def bin(self) -> Path:
        return self.base / "bin"

    @property
    def runs_folder(self) -> Path:
        return self.root / ".runs"

    # -- what is in it -----------------------------------------------------------------------------

    def config(self, text: str) -> Repo:
        """Writes delegate.toml; `schema_version` is put before it."""
        (self.root / "delegate.toml").write_text(f"schema_version = 1\n{text}", encoding="utf-8")
        return self

    def task(self, *lines: str, name: str = "work", prompt: str = "Do it.", more: str = "") -> Repo:
        """A delegate.toml with one task. `lines` are keys of the task, `more` other tables."""
        grace = () if any(line.startswith("grace") for line in lines) else ('grace = "300ms"',)
        keys = "\n".join((f"prompt = {_toml(prompt)}", 'sandbox = "read-only"', *grace, *lines))
        return self.config(f"{more}\n[tasks.{name}]\n{keys}\n")

    def codex(self, body: str, **options: str) -> Path:
        """A program on PATH that says it is codex and then runs `body` in bash."""
        return install_codex(self.bin, body, **options)

    def quick_codex(self, text: str = "done", before: str = "") -> Path:
        """A codex that answers at once."""
        return self.codex(f"cat > /dev/null\n{THREAD}{before}\n{said(text)}{FINISHED}")

    def waiting_codex(self, before: str = "", after: str = "") -> Path:
        """A codex that has begun its turn and waits until `open_gate`."""
        return self.codex(
            f'cat > /dev/null\n{THREAD}{before}\ntouch "$HOME/begun"\n'
            f'until [ -e "$HOME/gate" ]; do sleep 0.05; done\n{after}\n{said("done")}{FINISHED}'
        )

    def script(self, text: str, name: str = "play.toml") -> Path:
        """A rehearsal script in the repository."""
        path = self.root / name
        path.write_text(f"schema_version = 1\n{text}", encoding="utf-8")
        return path

    def open_gate(self) -> None:
        (self.home / "gate").touch()

    def begun(self, within: float = 30.0) -> None:
        """Until the child has touched `$HOME/begun`."""
        wait_until((self.home / "begun").exists, within, "the child's beginning")

    def note(self, name: str) -> Path:
        """A file through which a child talks to the test: `$HOME/NAME`."""
        return self.home / name

    def pid_in(self, name: str, within: float = 30.0) -> Seen:
        """The process whose number the child writes to `$HOME/NAME`."""
        wait_until(lambda: self.note(name).exists() and self.note(name).read_text().strip(), within, name)
        seen = processes.look(int(self.note(name).read_text()))
        assert seen is not None, f"{name} has ended already"
        return seen

    def end_all(self) -> None:
        """Ends every run that is not over, for the last word of a test."""
        self.open_gate()
        for run in self.runs():
            if (run.folder / "manifest.json").exists() and run.on_disk()["phase"] != "done":
                self.cli("cancel", run.id, "--grace", "0", "--only")

    # -- the command -------------------------------------------------------------------------------

    def cli(
        self,
        *words: str | Path,
        stdin: str | bytes | None = None,
        env: Mapping[str, str | None] | None = None,
        within: float = WITHIN_S,
        cwd: Path | None = None,
    ) -> Completed:
        """Runs `runner WORDS`; an error when it, or what it left its output to, is not over in time."""
        with self.process(*words, env=env, cwd=cwd) as process:
            data = stdin.encode() if isinstance(stdin, str) else stdin
            out, err = process.communicate(data, timeout=within)
        return Completed(
            process.returncode, out.decode(errors="surrogateescape"), err.decode(errors="surrogateescape")
        )

    @contextlib.contextmanager
    def process(
        self,
        *words: str | Path,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        prefix: tuple[str, ...] = (),
    ) -> Iterator[subprocess.Popen[bytes]]:
        """The command while it runs; killed at the end of the block if it is still there."""
        whole = {**self.env, **(env or {})}
        with subprocess.Popen(
            [*prefix, str(RUNNER), *map(str, words)],
            cwd=cwd or self.root,
            env={name: value for name, value in whole.items() if value is not None},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def json(self, *words: str | Path, **options: Any) -> Any:
        """The document that a command prints; it must succeed."""
        done = self.cli(*words, "--format", "json", **options)
        command = " ".join(map(str, words))
        assert done.status == 0, f"runner {command}: {done.status}\n{done.stdout}{done.stderr}"
        return done.json()

    def start(self, *words: str | Path, task: str = "work", **options: Any) -> Run:
        """Starts the task in the background."""
        return Run(self, self.json("start", "--task", task, *words, **options)["run_id"], task)

    def runs(self) -> list[Run]:
        """Every run folder on the disk, oldest first."""
        return [
            Run(self, path.name, path.parts[-3])
            for path in sorted(self.runs_folder.glob("*/cli/*"), key=lambda path: path.name)
        ]

    def recorded(self) -> list[Run]:
        """Those that have a manifest already: a run that is being made has a folder first."""
        return [run for run in self.runs() if (run.folder / "manifest.json").exists()]

    def no_runs(self) -> bool:
        """Whether nothing that looks like a run is on the disk."""
        return not self.runs()


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


@dataclass(frozen=True)
class Run:
    """One run of a repository, seen from outside."""

    repo: Repo
    id: str
    task: str = "work"

    @property
    def folder(self) -> Path:
        return self.repo.runs_folder / self.task / "cli" / self.id

    def file(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8", errors="replace")

    def on_disk(self) -> dict[str, Any]:
        """The manifest as it lies there, nothing reconciled."""
        manifest: dict[str, Any] = json.loads((self.folder / "manifest.json").read_bytes())
        return manifest

    def edit(self, **changes: Any) -> None:
        """Somebody changes the manifest by hand."""
        path = self.folder / "manifest.json"
        path.write_text(json.dumps({**self.on_disk(), **changes}), encoding="utf-8")

    def asks(self, prompt: str, *, expires_in_s: float | None = None, on_expiry: str = "continue") -> str:
        """Puts a question of this run as its server does, without one; its id."""
        asked = {"asked": "owner", "prompt": prompt, "expires_in_s": expires_in_s, "on_expiry": on_expiry}
        return questions.ask(RunDir(str(self.repo.root), self.task, self.id), **asked).id

    def question(self, name: str) -> dict[str, Any]:
        """A question as it lies there."""
        question: dict[str, Any] = json.loads((self.folder / "questions" / f"{name}.json").read_bytes())
        return question

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        lines = self.file("events.jsonl").splitlines()
        found = [json.loads(line) for line in lines if line]
        return [event for event in found if kind in (None, event["type"])]

    def status(self) -> dict[str, Any]:
        """The manifest, as `runner status` tells it."""
        manifest: dict[str, Any] = self.repo.json("status", self.id)
        return {name: value for name, value in manifest.items() if name != "ledger"}

    def ask(self, verb: str, *words: str, **options: Any) -> Completed:
        """`runner VERB RUN` in JSON mode."""
        return self.repo.cli(verb, self.id, *words, "--format", "json", **options)

    def told(self, verb: str, *words: str, **options: Any) -> dict[str, Any]:
        """As `ask`, and it must succeed; the manifest that it answers with."""
        done = self.ask(verb, *words, **options)
        assert done.status == 0, f"{verb}: {done.status} {done.stdout}{done.stderr}"
        manifest: dict[str, Any] = done.json()
        return manifest

    def wait(self, *words: str, within: float = 60.0) -> dict[str, Any]:
        """The manifest of the end, whatever the end is."""
        done = self.ask("wait", *words, within=within)
        manifest: dict[str, Any] = done.json()
        assert manifest["phase"] == "done", manifest
        return manifest

    # -- its processes -----------------------------------------------------------------------------

    def child(self) -> Seen:
        return self._process("process")

    def supervisor(self) -> Seen:
        return self._process("supervisor")

    def _process(self, name: str) -> Seen:
        seen = self._written_down(name)
        assert seen is not None, f"no {name} any more: {self.on_disk()[name]}"
        return seen

    def _written_down(self, name: str) -> Seen | None:
        known = self.on_disk()[name]
        seen = processes.look(known["pid"])
        return seen if seen is not None and seen.start_time == known["start_time"] else None

    def tree(self) -> list[Seen]:
        """The living processes of the run without its supervisor and its rehearsal, by our own look."""
        return [process for process in processes.carrying(self.id) if not self._is_ours(process)]

    def _is_ours(self, process: Seen) -> bool:
        ours = ("/supervise/__main__.py", "/rehearsal/__main__.py")
        return any(name in word for word in process.words for name in ours)

    def everything(self) -> list[Seen]:
        """All living processes of the run."""
        return processes.carrying(self.id)

    def kill_supervisor(self) -> None:
        """SIGKILL, and gone. A new owner has the run before it has written that down."""

        def look() -> Seen | None:
            seen = self._written_down("supervisor")
            return seen if seen is not None and seen.is_alive else None

        supervisor = wait_until(look, what="a supervisor")
        processes.kill(supervisor)
        wait_until(lambda: not supervisor.is_still_there(), what="the supervisor's death")
