"""One trial: a repository, its commands, a stranger beside it, and what was seen of it all the time.

Everything is looked at from outside: files, processes and what the commands say.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from support import processes
from support.processes import Seen
from support.repo import RUNNER, Repo, Run
from support.waiting import wait_until

from runner.disk.files import read

WITHIN_S = 90.0
"""Whatever was done to it, a run has its end by then; the machine may be loaded."""
SECRET = "Zx9QQwZe7r" + "T5yU3iO1pA"
_STEPS = "rename,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,mkdir,write,ftruncate,clone,clone3,vfork"
_DOCUMENTED = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 75, 130}


class Scene:
    """`rng` is the only chance in it: a trial with the same seed does the same, as far as time allows."""

    def __init__(self, base: Path, rng: random.Random, seed: int = 1) -> None:
        self.repo, self.rng, self.seed = Repo(base), rng, seed
        self.repo.env["SERVICE_WORD"] = SECRET
        self.violations: list[str] = []
        self._seen: dict[str, dict[str, Any]] = {}
        self._is_over = threading.Event()
        self._looks = threading.Thread(target=self._look, daemon=True)
        self._looks.start()
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.stranger = subprocess.Popen(["sleep", "3600"], start_new_session=True, env={}, cwd="/", **quiet)

    # -- what is done --------------------------------------------------------------------------------

    def task(self, *lines: str, before: str = "", quick: bool = False) -> Scene:
        """A task whose agent waits at the gate, and says the secret at its end."""
        env = '[runtimes.codex]\nenv = ["SERVICE_WORD"]\n'
        if quick:
            self.repo.quick_codex(before=before)
        else:
            self.repo.waiting_codex(before=before, after='echo "$SERVICE_WORD" >&2')
        self.repo.task(*lines, more=env)
        return self

    def start(self) -> Run:
        """A run whose agent is at work."""
        done = self.cli("start", "--task", "work", "--format", "json")
        if done.returncode != 0:
            raise AssertionError(f"start: {done.returncode} {done.stdout}{done.stderr}")
        run = Run(self.repo, json.loads(done.stdout)["run_id"])
        self.until(lambda: (self.repo.home / "begun").exists() or run.on_disk()["phase"] == "done", "begun")
        return run

    def cli(
        self,
        *words: str,
        kill_after: float | None = None,
        kill_when: Callable[[], Any] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> subprocess.CompletedProcess[str]:
        """A command, which ends with a status of the table and without a traceback; or is killed, after some
        time or when something is so.
        """
        argv = [*prefix, str(RUNNER), *words]
        process = subprocess.Popen(
            argv,
            cwd=self.repo.root,
            env=self.repo.env,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if kill_when is not None:
            kill_after = 0.0
            with contextlib.suppress(AssertionError):  # it may come to its end first
                wait_until(lambda: process.poll() is not None or kill_when(), WITHIN_S)
        try:
            out, err = process.communicate(timeout=WITHIN_S if kill_after is None else kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            if kill_after is None:
                self.violates(f"`{' '.join(words[:2])}` did not end within {WITHIN_S:g} s")
        if process.returncode not in _DOCUMENTED | ({-9} if kill_after is not None else set()):
            self.violates(f"`{' '.join(words[:2])}` ended with {process.returncode}: {(out + err)[-300:]}")
        if "Traceback" in err:
            self.violates(f"`{' '.join(words[:2])}` shows a traceback: {err[-300:]}")
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def dies(self, *words: str, within: float) -> None:
        """The command is killed after some time, or at one of its calls that change the disk."""
        if shutil.which("strace") is None or self.rng.random() < 0.4:
            self.cli(*words, kill_after=self.rng.uniform(0.03, within))
            return
        self._dies_at(self.rng.randint(1, 35), *words)

    def dies_at_its_step(self, *words: str, most: int) -> None:
        """As `dies`; the seeds from 1 to `most` are the calls of the command, one after the other."""
        if shutil.which("strace") is None:
            self.dies(*words, within=1.0)
        else:
            self._dies_at((self.seed - 1) % most + 1, *words)

    def _dies_at(self, step: int, *words: str) -> None:
        """Killed on entering the call of this number that changes the disk or starts a program."""
        when = f"{_STEPS}:signal=KILL:when={step}"
        traced = ("strace", "-qq", "-o", "/dev/null", "-e", f"trace={_STEPS}", "-e", f"inject={when}")
        self.cli(*words, kill_after=WITHIN_S, prefix=("env", "PYTHONDONTWRITEBYTECODE=1", *traced))

    def at_once(self, *commands: tuple[str, ...]) -> list[subprocess.CompletedProcess[str]]:
        answers: list[subprocess.CompletedProcess[str]] = []
        threads = [
            threading.Thread(target=lambda words=words: answers.append(self.cli(*words)))
            for words in commands
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def pause(self, most_s: float) -> None:
        """A moment of this trial's choice: the chance of it is what is tried."""
        self.passes(self.rng.uniform(0, most_s))

    def passes(self, seconds: float) -> None:
        """So much time, where that itself is what is tried."""
        self._is_over.wait(seconds)

    def kill(self, run: Run, name: str) -> bool:
        """SIGKILL to the `supervisor` or the `process` of the run, if it is there."""
        with contextlib.suppress(AssertionError, OSError, ValueError, TypeError, KeyError):
            found: Seen = getattr(run, {"process": "child"}.get(name, name))()
            if found.is_alive:
                processes.kill(found)
                return True
        return False

    def until(self, condition: Callable[[], Any], what: str, within: float = WITHIN_S) -> bool:

        def is_so() -> bool:
            with contextlib.suppress(OSError, ValueError, KeyError):
                return bool(condition())
            return False

        try:
            return wait_until(is_so, within, what)
        except AssertionError as error:
            self.violates(str(error))
            return False

    # -- what is seen --------------------------------------------------------------------------------

    def violates(self, text: str) -> None:
        self.violations.append(" ".join(text.split()))

    def runs(self) -> list[Run]:
        """Those that have a manifest, oldest first."""
        return [run for run in self.repo.runs() if (run.folder / "manifest.json").is_file()]

    def closed(self, run: Run, question: str) -> dict[str, Any] | None:
        """How a question was closed, as it lies there."""
        try:
            data: dict[str, Any] = json.loads((run.folder / f"questions/{question}.closed.json").read_bytes())
            return data
        except FileNotFoundError:
            return None

    def manifests(self) -> Iterator[Path]:
        yield from self.repo.runs_folder.glob("*/cli/*/manifest.json")

    def _look(self) -> None:
        """Every manifest can be read at every moment, and what is done stays as it is."""
        while not self._is_over.wait(0.01):
            with contextlib.suppress(OSError):
                for path in self.manifests():
                    self._look_at(path)

    def _look_at(self, path: Path) -> None:
        try:
            data = read(str(path))  # a fault may have put a FIFO there
            manifest = json.loads(data)
        except OSError:
            return  # gone, or replaced by the fault with what is no file
        except ValueError:
            if not self.breaks_manifests:
                self.violates(f"{path} is no JSON: {data[:80]!r}")
            return
        before = self._seen.get(str(path))
        if isinstance(manifest, dict) and manifest.get("phase") == "done":
            self._seen[str(path)] = manifest
            names = ("outcome", "reason", "ended_at", "exit_code")
            if before is not None and any(before[name] != manifest.get(name) for name in names):
                self.violates(f"{path} was done and has changed: {[manifest.get(name) for name in names]}")
        elif before is not None and not self.breaks_manifests:
            self.violates(f"{path} was done and is `{manifest.get('phase')}`")

    breaks_manifests = False
    """Whether this fault writes into them itself."""
    breaks_events = False

    def close(self) -> None:
        """Ends the looks and the stranger, and whatever is left of the trial."""
        self._is_over.set()
        self._looks.join()
        if self.stranger.poll() is not None:
            self.violates(f"the stranger was ended: {self.stranger.returncode}")
        self.stranger.kill()
        self.stranger.wait()
        for process in processes.of_folder(self.repo.base):
            processes.kill(process)
