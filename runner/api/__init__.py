"""Front end: runner for programs in Python. What each function gives is the JSON of the command of its name.

Every call starts that command. So a program with threads can use it, which could not fork safely, and what
runner imports costs the program nothing. An error of the command is a `RunnerError` with its code.
"""

from __future__ import annotations

import json
import os
import subprocess

from runner.disk.interpreter import command
from runner.errors import RunnerError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    Json = dict[str, Any]

__all__ = ["Run", "RunnerError", "events", "find", "runs", "start"]

_MAIN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "__main__.py")


class Run:
    """A run of a repository. It is looked at anew by each call; nothing here remembers its state."""

    def __init__(self, repo: str, task_id: str, run_id: str) -> None:
        self.repo = repo
        """The root of the repository."""
        self.task_id = task_id
        self.run_id = run_id

    def __repr__(self) -> str:
        return f"Run({self.repo!r}, {self.task_id!r}, {self.run_id!r})"

    @property
    def manifest_path(self) -> str:
        """Relative to `repo`, as prompts and manifests have it."""
        return f".runs/{self.task_id}/cli/{self.run_id}/manifest.json"

    def look(self) -> Json:
        """The manifest, checked against the processes of the run first (`runner status`)."""
        return self._told("status")

    def wait(self, timeout: float | None = None) -> Json:
        """The manifest once the run is done. RunnerError `gave_up_waiting` after `timeout` seconds, with 0 at
        once; the run continues then.
        """
        return self._told("wait", *_options(timeout=None if timeout is None else f"{timeout or 0.001}s"))

    def pause(self, *, only: bool = False) -> Json:
        """The manifest once every process of it stands; `only` leaves the runs below it alone."""
        return self._told("pause", *_options(only=only))

    def resume(self, *, only: bool = False) -> Json:
        """The manifest once it continues."""
        return self._told("resume", *_options(only=only))

    def cancel(self, *, grace: float | None = None, reason: str | None = None, only: bool = False) -> Json:
        """The manifest of the run that has ended. `grace` is the time in seconds between SIGINT, SIGTERM and
        SIGKILL.
        """
        wait = None if grace is None else f"{grace}s"
        return self._told("cancel", *_options(grace=wait, reason=reason, only=only))

    def answer(self, question: str, text: str) -> Json:
        """Answers an open question of the run."""
        return _object(self.repo, "answer", "--", self.run_id, question, "-", stdin=text)

    def report(self) -> Json:
        """Claims beside evidence."""
        return self._told("report")

    def diff(self) -> Json:
        """Its changes: `files`, and `patch` as `git apply` takes it."""
        return self._told("diff")

    def logs(self) -> list[Json]:
        """What it did so far, line by line."""
        lines: list[Json] = self._told("logs")["lines"]
        return lines

    def accept(self) -> Json:
        """Merges the changes of its own work tree into that of the repository, and removes the former."""
        return self._told("accept")

    def discard(self) -> Json:
        """Removes its own work tree; the changes are kept as a patch."""
        return self._told("discard")

    def _told(self, verb: str, *words: str) -> Json:
        return _object(self.repo, verb, *words, self.run_id)


def start(
    task: str,
    *,
    repo: str | os.PathLike[str] = ".",
    prompt: str | None = None,
    options: Sequence[str] = (),
) -> Run:
    """Starts a task of the `delegate.toml` of `repo`; returns once its agent exists. `options` are those of
    `runner start`, such as `["--rehearse", "--tie-pid", str(os.getpid())]`.
    """
    if "--follow" in options:
        raise UsageError(
            "`--follow` is for people", hint="Run.wait() waits, and Run.logs() tells what it did"
        )
    words = ["start", f"--task={task}", *options] + (["--prompt=-"] if prompt is not None else [])
    return _run(_object(os.fspath(repo), *words, stdin=prompt))


def find(name: str = "@latest", *, repo: str | os.PathLike[str] = ".") -> Run:
    """The run that `name` means: a run id or a part of one, a manifest path, a task id, `@latest` and its
    like. RunnerError `run_not_found` where there is none.
    """
    return _run(_object(os.fspath(repo), "status", "--", name))


def runs(*, repo: str | os.PathLike[str] = ".", options: Sequence[str] = ("--all",)) -> list[Json]:
    """The rows of `runner list`, newest first."""
    return [dict(row) for row in _answer(os.fspath(repo), ["list", *options], None)]


def events(
    *, repo: str | os.PathLike[str] = ".", since: int | None = None, follow: bool = False
) -> Iterator[Json]:
    """What `runner events` tells of all runs of the repository, after number `since`. With `follow` also what
    is still to come, until the iterator is closed; without `since` that alone.
    """
    words = ["events", *_options(since=None if since is None else str(since))]
    if not follow:
        yield from _answer(os.fspath(repo), words, None)["events"]
        return
    argv = [*command(_MAIN, *words), "--follow", "--format=json"]
    with subprocess.Popen(
        argv, cwd=repo, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as told:
        try:
            for line in told.stdout or ():
                yield _checked(json.loads(line))
        finally:
            told.terminate()


def _run(manifest: Json) -> Run:
    return Run(manifest["repo"], manifest["task_id"], manifest["run_id"])


def _options(**given: str | bool | None) -> list[str]:
    told = [(f"--{name}", value) for name, value in given.items() if value is not None and value is not False]
    return [name if value is True else f"{name}={value}" for name, value in told]


def _object(repo: str, *words: str, stdin: str | None = None) -> Json:
    answer: Json = _answer(repo, list(words), stdin)
    return answer


def _answer(repo: str, words: list[str], stdin: str | None) -> Any:
    """The document that a command prints. What it exits with is in it as well."""
    try:
        done = subprocess.run(
            [*command(_MAIN, words[0]), "--format=json", *words[1:]],
            cwd=repo,
            input=stdin or "",
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
    except (OSError, ValueError) as error:  # a NUL character, half of a pair, too long; no such folder
        raise UsageError(f"`runner {words[0]}` cannot be started so: {error}") from None
    try:
        return _checked(json.loads(done.stdout))
    except ValueError:
        end = done.stderr.strip()[-500:]
        raise RunnerError(f"`runner {words[0]}` ended with {done.returncode} and no answer: {end}") from None


def _checked(answer: Any) -> Any:
    """RunnerError for the answer that is one."""
    told = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(told, dict) or answer.keys() != {"error"}:
        return answer
    error = RunnerError(told["message"], hint=told["hint"], problems=told.get("problems", ()))
    error.code, error.retryable = told["code"], told["retryable"]
    raise error
