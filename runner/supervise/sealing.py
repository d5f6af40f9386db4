"""Redacts what a supervisor writes, and at the end the files of the run. Edge: disk."""

from __future__ import annotations

import contextlib
import os

from runner.disk.files import no_follow, remove_drafts, replace_bytes
from runner.state import fingerprints
from runner.state.fingerprints import WITHHELD
from runner.text.terminal import clean_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from runner.redact.redactor import Redactor
    from runner.state.events import EventLog
    from runner.state.fingerprints import Known
    from runner.state.store import RunDir

_SEALED = (".jsonl", ".log", ".md")
"""Not the patches: of what a rollback took away they are the copy, and that has to be exact."""
_CHUNK = 1024 * 1024
_MOST_TRIES = 5_000_000
"""A few seconds of a supervisor that nobody waits for."""
_MOST_CHUNKS = 1024


_FOREIGN = frozenset(
    (
        *("message", "detail", "summary", "verification_summary", "issues", "assumptions"),
        *("tail", "evidence", "problem", "title"),
    )
)
"""Keys whose texts an agent or its programs wrote, or may have a part in."""
_IN_OUR_WORDS = ("killed", "lost", "never_started", "not_retried", "requeued", "queue_timeout")
"""Codes of reasons, and an event, whose message quotes nobody."""
_PATHS = frozenset(
    (
        *("changed", "absent", "dirty_before", "unknown", "hidden", "ignored", "too_large", "added", "gone"),
        *("files_modified", "file", "restored", "removed", "kept"),
    )
)
"""Keys of names of files, which stay exact: a clean one may be that of another file."""


class Cleaner:
    """Takes the values of a run's secrets, and what looks like one, out of texts and files. While a value is
    missing, what others have written is withheld as a whole.
    """

    def __init__(self, known: Known) -> None:
        from runner.redact.redactor import Redactor

        self._redactor: Redactor = Redactor(known.values)
        self._missing = known.missing

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the secrets whose values are not known."""
        return self._missing

    def text(self, text: str) -> str:
        """A text of others."""
        return WITHHELD if self._missing and text else self.word(text)

    def beginning(self, text: str) -> str:
        """Of a text of others that goes on: as much of it as no secret reaches out of."""
        certain = self._redactor.stream().feed(clean_terminal(text).encode())
        return self.text(certain.decode(errors="ignore"))

    def word(self, text: str) -> str:
        """A name or a number of ours, in which a secret would be an accident."""
        return self._redactor.redact_text(clean_terminal(text))

    def _path(self, path: str) -> str:
        """Exact, unless a secret is in it as it would be shown."""
        clean = self._redactor.redact_name(clean_terminal(path))
        return clean if clean != clean_terminal(path) else self._redactor.redact_name(path)

    def record(self, value: Any, *, is_foreign: bool = False, is_path: bool = False) -> Any:
        """Every text in a JSON value, the keys left as they are."""
        if isinstance(value, str):
            return self.text(value) if is_foreign else self._path(value) if is_path else self.word(value)
        if isinstance(value, dict):
            foreign = _FOREIGN - {"message"} if value.get("code") in _IN_OUR_WORDS else _FOREIGN
            return {
                name: self.record(item, is_foreign=is_foreign or name in foreign, is_path=name in _PATHS)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.record(item, is_foreign=is_foreign, is_path=is_path) for item in value]
        return value

    def event(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        """What an event says."""
        clean = self.record({"code": kind, **fields} if kind in _IN_OUR_WORDS else fields)
        return {name: clean[name] for name in fields}

    def seal(self, run: RunDir, log: EventLog) -> bool:
        """Redacts the files in place. They were 0600 in a 0700 folder all the time. False where something may
        still stand in them and not even that could be written down.
        """
        from runner.redact.seal import seal

        count, failed = 0, []
        for folder in filter(os.path.isdir, (run.path, run.turns)):
            remove_drafts(folder)
        names = sorted(name for name in os.listdir(run.path) if name.endswith(_SEALED))
        for name in (*names, *_records(run)):
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
                failed.append(name)
        if self._missing or failed:
            log.note("seal_incomplete", redactions=count, missing=list(self._missing))
            try:
                replace_bytes(
                    run.unsealed, "".join(f"{name}\n" for name in (*self._missing, *failed)).encode()
                )
            except OSError:
                return False
            return True
        log.note("sealed", redactions=count)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(run.unsealed)
        return True


def known_by(run: RunDir, names: tuple[str, ...], *envs: Mapping[str, str]) -> Known:
    """What these environments know of the run's secrets, and what its files give away of the rest."""
    known = fingerprints.known(run, names, *envs)
    if not known.missing:
        return known
    found = fingerprints.search(run, known.missing, _texts(run), _MOST_TRIES)
    if not found:
        return known
    return fingerprints.known(run, names, *envs, *(dict.fromkeys(names, value) for value in found))


def _texts(run: RunDir) -> Iterator[bytes]:
    for path in (run.stdout, run.stderr, run.last_message, run.events, run.rehearsal_log):
        try:
            with open(path, "rb", opener=no_follow) as file:
                for _ in range(_MOST_CHUNKS):
                    if not (chunk := file.read(_CHUNK)):
                        break
                    yield chunk + file.readline(_CHUNK)  # as whole lines as can be held
        except OSError:
            continue


def _records(run: RunDir) -> list[str]:
    """What is asked of people, and what they have sent."""
    found = []
    for folder in (run.questions, run.messages, run.turns):
        try:
            found += [f"{os.path.basename(folder)}/{name}" for name in sorted(os.listdir(folder))]
        except OSError:
            continue
    return found
