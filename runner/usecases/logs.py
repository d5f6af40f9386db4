"""USE CASE: what a run did, as readable lines, redacted. Edge: disk, reading.

The agent's own events and ours are merged by time. The time of a line comes from the timeline that the
supervisor records while the file grows (to a quarter of a second); an unknown time is left out.
"""

from __future__ import annotations

import heapq
import json
import os
import time
from collections import deque

from runner import runtimes
from runner.disk.files import no_hole, read_text
from runner.errors import RunnerError
from runner.processes.proc import environment, find_process
from runner.redact.redactor import Redactor
from runner.runtimes.base import Activity, Kind
from runner.runtimes.reading import reader_of
from runner.state import fingerprints, messages, questions
from runner.state.events import read_events
from runner.state.fingerprints import WITHHELD
from runner.state.manifest import Manifest, parse_timestamp, timestamp
from runner.state.store import RunDir
from runner.text.terminal import clean_terminal
from runner.text.words import count
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import BinaryIO

    from runner.model import Identity, Json
    from runner.state.fingerprints import Known
    from runner.state.messages import Message
    from runner.state.questions import Question

STREAMS = ("events", "stdout", "stderr", "last")
_LONGEST_LINE = 8 * 1024 * 1024
_POLL_S = 0.1
_QUIET = frozenset({Kind.THREAD, Kind.TURN_STARTED, Kind.OTHER})


class LogLine(Value):
    """One line of a log. `at` is None where its time is unknown."""

    at: str | None
    kind: str
    text: str
    exit_code: int | None = None
    duration_s: float | None = None


def read(reader: Reader, stream: str, *, final: bool, tail: int | None) -> Iterable[LogLine]:
    """The lines that are there now, with `tail` the last that many; `final`: no more will come."""
    lines = reader.lines(stream, final=final)
    return lines if tail is None else deque(lines, maxlen=tail)


def follow(
    reader: Reader, stream: str, *, tail: int | None, is_done: Callable[[], bool]
) -> Iterator[LogLine]:
    """What is there, then every new line as it comes, until the run is done and nothing is left."""
    yield from read(reader, stream, final=False, tail=tail)
    reader.is_live = True
    while True:
        done = is_done()
        yield from reader.lines(stream, final=done)
        if done:
            return
        time.sleep(_POLL_S)


def asked(run: RunDir, manifest: Manifest) -> list[Question]:
    """The questions of a run, redacted and fit for a terminal."""
    shown = _shower(run, manifest)
    return [
        one.replace(prompt=shown(one.prompt), answer=shown(one.answer), answered_by=shown(one.answered_by))
        for one in questions.of_run(run)
    ]


def queued(run: RunDir, manifest: Manifest) -> list[Message]:
    """The messages that its agent has not got, likewise."""
    shown = _shower(run, manifest)
    pending = messages.Queue(run).pending(manifest.messages_given)
    return [one.replace(text=shown(one.text), actor=shown(one.actor)) for one in pending]


def _shower(run: RunDir, manifest: Manifest) -> Callable[[str | None], str | None]:
    hider, is_withheld = redactor(run, manifest), bool(unknown_secrets(run, manifest))
    return lambda text: text and (WITHHELD if is_withheld else hider.redact_text(clean_terminal(text)))


class Reader:
    """Remembers how far each file was read, so that every call gives only what is new. `withhold`: without
    the agent's words.
    """

    def __init__(self, run: RunDir, manifest: Manifest, *, withhold: bool) -> None:
        self._run = run
        self._withholds = withhold
        self._redactor = redactor(run, manifest)
        self._runtime = runtimes.get(manifest.runtime.name)
        self._attempt, self._read = 0, reader_of(self._runtime)
        self._files = {path: _Tail(path) for path in (run.stdout, run.stderr)}
        self._clock = _Clock(run.timeline)
        self._begun: dict[str, float] = {}
        self._events_seen = 0
        begun = (_seconds(str(e.get("at"))) for e in read_events(run.events) if e.get("type") == "started")
        self._started = next(begun, None) or 0.0
        self._last_shown: str | None = None
        self.is_live = False
        """Whether what comes now was not there at the last call, a moment ago."""

    def lines(self, stream: str, *, final: bool) -> Iterator[LogLine]:
        """New lines of that stream since the last call; `final` takes a last line without its newline."""
        if stream == "events":
            all_three = (self._ours(), self._agent(final), self._refused(final))
            yield from (line for _, line in heapq.merge(*all_three, key=lambda pair: pair[0]))
        elif stream == "last":
            yield from self._last()
        else:
            path = self._run.stdout if stream == "stdout" else self._run.stderr
            for offset, raw in self._files[path].read(final):
                at = self._at(offset) if path == self._run.stdout else None
                yield LogLine(stamp(at), stream, self._text(raw.decode(errors="replace")))

    def _text(self, text: str) -> str:
        """A text of the agent."""
        return WITHHELD if self._withholds and text else self._own_text(text)

    def _own_text(self, text: str) -> str:
        return self._redactor.redact_text(clean_terminal(text))

    def _last(self) -> Iterator[LogLine]:
        text = read_text(self._run.last_message)
        if text is not None and text != self._last_shown:
            self._last_shown = text
            yield LogLine(None, "last", self._text(text))

    def _at(self, offset: int) -> float | None:
        """When the output had come so far: from the timeline, or now, if we are the first to see it."""
        at = self._clock.at(offset)
        return at if at is not None or not self.is_live else time.time()

    def _agent(self, final: bool) -> Iterator[tuple[float, LogLine]]:
        latest = self._started  # of a short run no time of its output is known
        begins: list[tuple[int, float]] = []
        for offset, raw in self._files[self._run.stdout].read(final):
            begins = begins or self._begins()
            if (attempt := sum(begin < offset for begin, _ in begins)) != self._attempt:
                self._attempt, self._read = attempt, reader_of(self._runtime)
                latest = max(latest, begins[attempt - 1][1])
                self._begun.clear()  # each numbers its items anew
            try:
                record = json.loads(raw)
            except (ValueError, RecursionError):
                record = None
            at = self._at(offset)
            latest = latest if at is None else at
            if not isinstance(record, dict):
                yield latest, LogLine(stamp(at), "unread", _short(self._text(raw.decode(errors="replace"))))
                continue
            for activity in self._read(record):
                duration = self._duration(activity, at)
                if activity.kind not in _QUIET and (activity.usage or activity.kind is not Kind.USAGE):
                    for line in self._done(activity, stamp(at), duration):
                        yield latest, line

    def _begins(self) -> list[tuple[int, float]]:
        """Where in the output each attempt begins, which has a reader of its own, and when it began."""
        first, *more = [e for e in read_events(self._run.events) if e.get("type") == "started"] or [{}]
        known = [first | {"stdout_from": 0}, *(e for e in more if isinstance(e.get("stdout_from"), int))]
        return [(e["stdout_from"], _seconds(str(e.get("at"))) or 0.0) for e in known]

    def _duration(self, activity: Activity, at: float | None) -> float | None:
        if activity.item is None or at is None:
            return activity.duration_s
        if activity.kind in (Kind.COMMAND_STARTED, Kind.TOOL_STARTED):
            self._begun[activity.item] = at
            return None
        begun = self._begun.pop(activity.item, None)
        if activity.duration_s is not None or begun is None:
            return activity.duration_s
        return round(at - begun, 3)

    def _done(self, activity: Activity, at: str | None, duration: float | None) -> Iterable[LogLine]:
        """What the agent did, told."""
        text = activity.text
        if activity.usage is not None and not text:
            usage = activity.usage
            text = f"{usage.input_tokens} in ({usage.cached_input_tokens} cached), {usage.output_tokens} out"
        if activity.output:
            text = f"{text}\n{last_lines(activity.output)}"
        return (LogLine(at, activity.kind, self._text(text), activity.exit_code, duration),)

    def _happened(self, event: Json, at: float) -> Iterable[LogLine]:
        """An event of ours, told."""
        return (LogLine(stamp(at), "run", self._own_text(_event_text(event))),)

    def _refused(self, final: bool) -> Iterator[tuple[float, LogLine]]:
        latest = 0.0
        for _, raw in self._files[self._run.stderr].read(final):
            refusal = self._runtime.refusal(raw.decode(errors="replace"))
            if refusal is not None:
                latest = latest if refusal.at is None else _seconds(refusal.at) or latest
                yield latest, LogLine(refusal.at, Kind.REFUSED, self._text(refusal.text))

    def _ours(self) -> Iterator[tuple[float, LogLine]]:
        for n, event in enumerate(read_events(self._run.events)):
            if n < self._events_seen:
                continue
            self._events_seen = n + 1
            at = _seconds(str(event.get("at")))
            if at is None or event.get("type") == "refused":  # its line has the time of the refusal
                continue
            for line in self._happened(event, at):
                yield at, line


def refusals(run: RunDir, manifest: Manifest) -> tuple[str, ...]:
    """What the program did not let its agent do, as its stderr says, not redacted. Else what its stream has
    said, as the events have it.
    """
    runtime = runtimes.get(manifest.runtime.name)
    lines = _Tail(run.stderr).read(final=True)
    found = (runtime.refusal(raw.decode(errors="replace")) for _, raw in lines)
    told = tuple(refusal.text for refusal in found if refusal is not None)
    events = (e for e in read_events(run.events) if e.get("type") == "refused")
    return told or tuple(str(event.get("message")) for event in events)


class _Tail:
    """Whole lines of a growing file, with the offset at which each ends; bounded memory."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = 0

    def read(self, final: bool) -> Iterator[tuple[int, bytes]]:
        try:
            file: BinaryIO = open(self._path, "rb", opener=no_hole)  # noqa: SIM115 - a generator's own with below
        except OSError:
            return
        with file:
            file.seek(self._offset)
            while line := file.readline(_LONGEST_LINE):
                if not (final or line.endswith(b"\n") or len(line) == _LONGEST_LINE):
                    return  # still being written; the next call begins at its start
                self._offset += len(line)
                yield self._offset, line.rstrip(b"\r\n")


class _Clock:
    """When the output had grown to which size, from the timeline."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._read = 0
        self._marks: deque[tuple[int, float]] = deque()

    def at(self, offset: int) -> float | None:
        """Seconds since the epoch of the first look that saw `offset`; offsets only grow."""
        if not self._marks or self._marks[-1][0] < offset:
            self._load()
        while self._marks and self._marks[0][0] < offset:
            self._marks.popleft()
        return self._marks[0][1] if self._marks else None

    def _load(self) -> None:
        try:
            with open(self._path, "rb", opener=no_hole) as file:
                file.seek(self._read)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read += len(line)
                    at, _, size = line.partition(b"\t")
                    self._marks.append((int(size), int(at) / 1000))
        except (OSError, ValueError):
            return


def redactor(run: RunDir, manifest: Manifest) -> Redactor:
    """Exact values of the passed secrets while the child lives or we have them; shapes always."""
    return Redactor(_known(run, manifest).values)


def unknown_secrets(run: RunDir, manifest: Manifest) -> tuple[str, ...]:
    """The names of the secrets that may stand in the files of a run and cannot be taken out by us: it is not
    sealed, and nobody that we can ask has their values.
    """
    if manifest.is_done and not os.path.exists(run.wake_fifo) and not os.path.exists(run.unsealed):
        return ()
    return unknown_values(run, manifest)


def unknown_values(run: RunDir, manifest: Manifest) -> tuple[str, ...]:
    """The names of its secrets that cannot be taken out of what was not sealed with it, as a patch."""
    return _known(run, manifest).missing


def shown_checks(
    run: RunDir, manifest: Manifest, argvs: tuple[tuple[str, ...], ...]
) -> tuple[tuple[str, ...], ...]:
    """Commands of an invocation, which is not sealed: while a value is unknown, by their numbers alone."""
    is_withheld = unknown_values(run, manifest)
    return tuple(("check", str(n)) for n in range(1, len(argvs) + 1)) if is_withheld else argvs


def _known(run: RunDir, manifest: Manifest) -> Known:
    try:
        names = run.read_invocation().secret_names
    except RunnerError:
        names = ()
    given, owned = (_environment(one) for one in (manifest.process, manifest.supervisor))
    if given:  # what its process has not got, it never had, unless a fingerprint says so
        names = tuple(name for name in names if name in given or name in owned)
    return fingerprints.known(run, names, os.environ, given, owned)


def _environment(who: Identity | None) -> Mapping[str, str]:
    return {} if who is None or find_process(who) is None else environment(who.pid)


def _event_text(event: Json) -> str:
    kind = str(event.get("type"))
    rest = {
        key: value
        for key, value in event.items()
        if key not in ("schema_version", "seq", "at", "type", "actor") and value not in (None, [], "")
    }
    if kind == "ended" and isinstance(rest.get("reason"), dict):
        reason = rest["reason"]
        return f"ended: {rest.get('outcome')} ({reason.get('code')}: {reason.get('message')})"
    if isinstance(rest.get("process"), dict):
        rest["process"] = rest["process"].get("pid")
    words = " ".join(f"{key}={_plain(value)}" for key, value in rest.items())
    actor = event.get("actor")
    by = "" if actor in (None, "supervisor") else f" by {actor}"
    return f"{kind}{by}{': ' if words else ''}{words}"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def last_lines(output: str, most: int = 5) -> str:
    """Its end, and how much was before it."""
    lines = output.rstrip().splitlines()
    skipped, shown = len(lines) - most, lines[-most:]
    return "\n".join([f"[{count(skipped, 'line')} before]", *shown] if skipped > 0 else shown)


def _short(text: str) -> str:
    """Of a text without secrets: a part of one would not be found."""
    return text if len(text) <= 2000 else f"{text[:2000]} [{len(text) - 2000} characters more]"


def _seconds(at: str) -> float | None:
    try:
        return parse_timestamp(at)
    except ValueError:
        return None


def stamp(at: float | None) -> str | None:
    """The time as a line has it."""
    return None if at is None else timestamp(at)
