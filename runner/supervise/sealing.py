"""Redacts what a supervisor writes, and at the end the files of the run. Edge: disk."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.redact.redactor import Redactor
    from runner.state.events import EventLog
    from runner.state.store import RunDir

_SEALED = (".jsonl", ".log", ".md")
"""Not the patches: of what a rollback took away they are the copy, and that has to be exact."""


class Cleaner:
    """Takes the values of a run's secrets, and what looks like one, out of texts and files."""

    def __init__(self, names: tuple[str, ...], env: Mapping[str, str]) -> None:
        from runner.redact.redactor import Redactor

        known = {**env}  # os.environ itself cannot be asked for a name that no variable can have
        self._redactor: Redactor = Redactor(value for name in names if (value := known.get(name)))

    def text(self, text: str) -> str:
        from runner.text.terminal import clean_terminal

        return self._redactor.redact_text(clean_terminal(text))

    def record(self, value: Any) -> Any:
        """Every text in a JSON value, the keys left as they are."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {name: self.record(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.record(item) for item in value]
        return value

    def seal(self, run: RunDir, log: EventLog) -> None:
        """Redacts the files in place. They were 0600 in a 0700 folder all the time."""
        from runner.redact.seal import seal

        count = 0
        names = sorted(name for name in os.listdir(run.path) if name.endswith(_SEALED))
        for name in (*names, *_questions(run)):
            path = f"{run.path}/{name}"
            try:
                os.chmod(path, 0o600, follow_symlinks=False)
            except (OSError, NotImplementedError):
                pass
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            try:
                count += seal(path, self._redactor)
            except OSError as error:
                log.note("seal_failed", file=name, message=str(error.strerror))
        log.note("sealed", redactions=count)


def _questions(run: RunDir) -> list[str]:
    folder = os.path.basename(run.questions)
    try:
        return [f"{folder}/{name}" for name in sorted(os.listdir(run.questions))]
    except OSError:
        return []
