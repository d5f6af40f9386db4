"""Questions of a run, and their answers. Edge: disk, standard library only.

A question is a file in the `questions/` folder of the run that asks; it survives every process. Its answer or
expiry is a second file that can be created only once, so if both come at the same instant, one wins, and
there is never a second answer.
"""

from __future__ import annotations

import os
import time

from runner.disk import files
from runner.disk.files import publish, unwritable
from runner.errors import Conflict, RunNotFound, UsageError
from runner.state.events import Gap, read_events
from runner.state.manifest import parse_timestamp, timestamp
from runner.state.store import RunDir
from runner.value import Misfit, Timestamp, Value, json_bytes, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from runner.model import Json

ON_EXPIRY = ("continue", "pause", "fail")
MAX_TEXT = 64 * 1024
_MOST_OPEN = 20
"""The most open questions of one run: a look at the run reads them all."""
_MOST = 9999


class QuestionClosed(Conflict):
    code = "question_closed"
    default_hint = "a question is answered once"


class TooManyQuestions(Conflict):
    code = "too_many_questions"
    default_hint = "poll until one of them is answered, or ask several things in one question"
    retryable = True


class QuestionNotFound(RunNotFound):
    code = "question_not_found"
    default_hint = "`runner status RUN` shows the open questions"


class _Asked(Value):
    """What `ask` writes. Who may write in the folder names no other run and no other question by it."""

    asked: str
    prompt: str
    asked_at: str
    expires_at: Timestamp | None
    on_expiry: str

    @classmethod
    def from_json(cls, data: Any) -> Self:
        made = super().from_json(data)
        if made.on_expiry not in ON_EXPIRY:
            raise Misfit.of(made.on_expiry, f"one of {', '.join(ON_EXPIRY)}").inside("on_expiry")
        return made


class _Closed(Value):
    """How a question was closed."""

    status: str = "open"
    answer: str | None = None
    by: str | None = None
    at: str | None = None

    @classmethod
    def from_json(cls, data: Any) -> Self:
        made = super().from_json(data)
        if made.status not in ("answered", "expired"):
            raise Misfit.of(made.status, "answered or expired").inside("status")
        return made


class Question(Value):
    """`status` is `open`, `answered` or `expired`. `asked` names who should answer: a run, or the owner."""

    id: str
    run_id: str
    asked: str
    prompt: str
    status: str
    asked_at: str
    expires_at: str | None
    on_expiry: str
    answer: str | None
    answered_by: str | None
    closed_at: str | None

    @property
    def is_open(self) -> bool:
        return self.status == "open"

    @property
    def is_due(self) -> bool:
        """Whether it is open and its time is over."""
        return (
            self.is_open and self.expires_at is not None and parse_timestamp(self.expires_at) <= time.time()
        )


def ask(run: RunDir, *, asked: str, prompt: str, expires_in_s: float | None, on_expiry: str) -> Question:
    """Writes a new question of `run` down. UsageError for what cannot be asked."""
    if not prompt.strip() or len(prompt) > MAX_TEXT:
        raise UsageError(f"a question has 1 to {MAX_TEXT} characters", hint="ask shorter")
    if on_expiry not in ON_EXPIRY:
        raise UsageError(f"on_expiry is one of {', '.join(ON_EXPIRY)}, not {on_expiry!r}")
    if expires_in_s is not None and not 0 < expires_in_s <= 30 * 86400:
        raise UsageError("expires_in_s is more than 0 and at most 30 days")
    if sum(question.is_open for question in of_run(run)) >= _MOST_OPEN:
        raise TooManyQuestions(f"{_MOST_OPEN} questions of this run are open already")
    now = time.time()
    record = {
        "run_id": run.run_id,
        "asked": asked,
        "prompt": prompt,
        "asked_at": timestamp(now),
        "expires_at": None if expires_in_s is None else timestamp(now + expires_in_s),
        "on_expiry": on_expiry,
    }
    for number in range(len(_names(run)) + 1, _MOST + 1):
        name = f"q-{number:04d}"
        try:
            _publish(run, f"{name}.json", {"id": name, **record})
            return read(run, name)
        except FileExistsError:
            continue
    raise Conflict(f"run `{run.run_id}` has asked {_MOST} questions already")


def read(run: RunDir, question_id: str) -> Question:
    """The question as it stands now; QuestionNotFound."""
    try:
        if not _is_id(question_id):
            raise ValueError(question_id)
        asked = _Asked.from_json(_load(run, f"{question_id}.json"))
    except (OSError, ValueError):
        raise QuestionNotFound(f"run `{run.run_id}` has no question `{question_id[:40]}`") from None
    closed = _closed(run, question_id)
    if closed.status == "open" and asked.expires_at is not None:
        asked = asked.replace(expires_at=_moved_on(run, asked.asked_at, asked.expires_at))
    return Question(
        id=question_id,
        run_id=run.run_id,
        **asked.__dict__,
        status=closed.status,
        answer=closed.answer,
        answered_by=closed.by,
        closed_at=closed.at,
    )


def _moved_on(run: RunDir, asked_at: str, expires_at: str) -> str:
    """By the time in which the machine slept since it was asked, or nobody else could act on an answer. It is
    looked for only where it matters: the events may be many.
    """
    if parse_timestamp(expires_at) > time.time():
        return expires_at
    slept_s = 0.0
    for event in read_events(run.events):
        if event.get("type") == "suspended":
            try:
                gap, since_s = Gap.from_json(event), parse_timestamp(asked_at)
                slept_s += max(0.0, min(gap.seconds, parse_timestamp(gap.at) - since_s))
            except ValueError:
                continue
    return timestamp(parse_timestamp(expires_at) + slept_s)


def of_run(run: RunDir) -> list[Question]:
    """All questions of a run, oldest first; what is none is passed over."""
    found = []
    for name in _names(run):
        try:
            found.append(read(run, name.removesuffix(".json")))
        except QuestionNotFound:
            continue
    return found


def answer(run: RunDir, question_id: str, text: str, *, by: str) -> Question:
    """Closes an open question with an answer. QuestionClosed if another answer, or its expiry, came first."""
    if not text.strip() or len(text) > MAX_TEXT:
        raise UsageError(f"an answer has 1 to {MAX_TEXT} characters")
    still_open(run, question_id)
    return _close(run, question_id, {"status": "answered", "answer": text, "by": by})


def still_open(run: RunDir, question_id: str) -> Question:
    """As `read`; QuestionClosed for one that can have no answer any more."""
    question = read(run, question_id)
    if question.is_due:
        raise QuestionClosed(f"question `{question_id}` has expired")
    if not question.is_open:
        raise QuestionClosed(f"question `{question_id}` is already {question.status}")
    return question


def expire(run: RunDir, question_id: str) -> Question:
    """Closes a question whose time is over. QuestionClosed if it was answered before."""
    return _close(run, question_id, {"status": "expired"})


def _close(run: RunDir, question_id: str, how: Json) -> Question:
    try:
        _publish(run, f"{question_id}.closed.json", {**how, "at": timestamp()})
    except FileExistsError:
        status = read(run, question_id).status
        raise QuestionClosed(f"question `{question_id}` is already {status}") from None
    return read(run, question_id)


def _publish(run: RunDir, name: str, data: Json) -> None:
    """FileExistsError if there is one."""
    if os.path.islink(run.questions) or not os.path.isdir(run.questions):
        raise RunNotFound(f"run `{run.run_id}` is gone")
    try:
        publish(run.questions, name, json_bytes(data))
    except FileExistsError:
        raise
    except OSError as error:
        raise unwritable(error) from error


def _names(run: RunDir) -> list[str]:
    try:
        names = os.listdir(run.questions)
    except OSError:
        return []
    return sorted(name for name in names if name.endswith(".json") and _is_id(name[:-5]))


def _is_id(text: str) -> bool:
    return len(text) == 6 and text.startswith("q-") and text[2:].isascii() and text[2:].isdigit()


def _closed(run: RunDir, question_id: str) -> _Closed:
    """An unreadable answer counts as an expiry."""
    name = f"{question_id}.closed.json"
    try:
        return _Closed.from_json(_load(run, name))
    except FileNotFoundError:
        return _Closed()
    except (OSError, ValueError):
        return _Closed("expired" if os.path.lexists(f"{run.questions}/{name}") else "open")


def _load(run: RunDir, name: str) -> Any:
    """OSError or ValueError where there is nothing that can be used."""
    return json_value(files.read(f"{run.questions}/{name}", 1024 * 1024))
