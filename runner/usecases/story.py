"""USE CASE: what a run and those below it did, as a person would tell it. Edge: disk, reading.

`Reader` reads; here are the words. What is taken out of a text of the agent (a command out of its shell, a
summary out of JSON) is redacted again: quotes may have hidden a value.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import shlex

from runner.disk.files import read_text
from runner.errors import RunnerError
from runner.invocation import RESULT_FORMS
from runner.model import Outcome
from runner.runtimes import get
from runner.runtimes.base import Kind
from runner.state.lineage import children
from runner.state.messages import Queue
from runner.text.durations import format_duration
from runner.text.words import count, one_line
from runner.usecases.logs import LogLine, Reader, last_lines, stamp, unknown_secrets
from runner.verify.checks import Check
from runner.verify.claim import Claim, read_claim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runner.model import Json
    from runner.runtimes.base import Activity
    from runner.state.manifest import Manifest
    from runner.state.store import RunDir

_SHELLS = ("bash", "sh", "zsh", "dash", "ksh")
_LONGEST_COMMAND = 100_000
_OPEN_AT_ONCE = 30
_LABELS = {
    Kind.MESSAGE: ("says", "bold"),
    Kind.REASONING: ("thinks", "dim"),
    Kind.COMMAND: ("ran", "dim"),
    Kind.FILE_CHANGE: ("files", "dim"),
    Kind.TOOL_CALL: ("called", "dim"),
    Kind.WARNING: ("warning", "yellow"),
    Kind.ERROR: ("error", "red"),
    Kind.REFUSED: ("refused", "yellow"),
    Kind.USAGE: ("tokens", "dim"),
    Kind.TURN_FAILED: ("failed", "red"),
    Kind.PROGRESS: ("plan", "cyan"),
}
_EVENTS = {
    "created": ("run", "{task_id}, started by {actor}", "cyan"),
    "started": ("run", "the agent has started", "cyan"),
    "paused": ("run", "paused by {actor}", "yellow"),
    "pause_failed": ("run", "could not be paused, so all of it continues: {still_running}", "red"),
    "resumed": ("run", "resumed by {actor}", "cyan"),
    "suspended": ("run", "nothing of it ran for {seconds} s, which count for no limit", "yellow"),
    "signalled": ("run", "its supervisor got {signal}", "yellow"),
    "interrupted": ("turn", "interrupted by {actor}, to be given {message}", "yellow"),
    "kept_open": ("run", "waits for a message", "yellow"),
    "closed": ("run", "takes no more messages: {message}", "cyan"),
    "undelivered": ("warning", "its agent was not given {messages}", "yellow"),
    "cancel_requested": ("run", "to be cancelled, says {actor}: {reason}", "yellow"),
    "limit": ("limit", "{message}", "red"),
    "warning": ("warning", "{message}", "yellow"),
    "checks_from_base": ("checks", "use these files as they were before the run: {paths}", "dim"),
    "swept": ("run", "ended what the agent had left behind: {processes}", "yellow"),
    "tree_unknown": ("warning", "what was changed is not known: {message}", "yellow"),
    "rolled_back": ("run", "rolled back: {restored} restored, {removed} removed", "yellow"),
    "backing_off": ("run", "waits {seconds} s before attempt {attempt}: {why}", "yellow"),
    "retried": ("run", "{nth} attempt: {why}", "cyan"),
    "not_retried": ("run", "no further attempt: {message}", "yellow"),
    "escalated": ("run", "gives up after {attempts}: {why}", "red"),
    "sealed": ("run", "secrets were taken out of its files, in {redactions}", "cyan"),
    "seal_incomplete": ("warning", "secrets may be in its files: {missing}", "yellow"),
    "seal_failed": ("warning", "secrets may be in {file}: {message}", "yellow"),
    "adopted": ("run", "another supervisor has taken over", "yellow"),
    "child": ("run", "has started {task_id}, {run_id}", "cyan"),
    "child_unreachable": ("warning", "{run_id} could not be told: {message}", "yellow"),
    "parent_unreachable": ("warning", "{run_id} could not be asked: {message}", "yellow"),
    "question": ("question", "{status}: {prompt}", "yellow"),
    "accepted": ("run", "accepted by {actor}: {files} changed in your tree", "green"),
    "discarded": ("run", "discarded by {actor}", "yellow"),
    "rebuilt": ("warning", "the manifest was made again: {message}", "yellow"),
    "rewritten": ("warning", "the manifest was made again: {message}", "yellow"),
}
"""Label, sentence and colour. What is not there (of a newer runner) is told with its fields."""
_DETAILS = {
    "kept": "kept as edited since",
    "left": "left as they are",
    "unequal": "not as before",
    "answer": "the answer",
}
_WHY = {
    "verify_failed": "the checks failed",
    "scope_violation": "files outside of its scope were changed",
    "empty_diff": "nothing was changed",
    "result_missing": "it gave no result",
    "result_invalid": "its result was not as asked",
    "task_failed": "it said that it had failed",
    "partial": "it said that only a part was done",
    "stalled": "it had stalled",
    "timeout": "its time was over",
    "auth_or_quota": "the provider let it in no more",
    "cli_failure": "its program had failed",
}
_NTH = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_COUNTED = {"files": "file", "restored": "file", "redactions": "place", "attempts": "attempt"}
_FILES = {"add": "added", "update": "changed", "delete": "deleted", "write": "wrote"}


class StoryLine(LogLine):
    """`text` may have several lines, `note` belongs behind the last of them, `output` below."""

    tone: str = "dim"
    """The colour of `kind` and of `note`."""
    note: str = ""
    output: str = ""
    whose: str = ""
    """Which run, where it is one below that which was asked for."""


class Story(Reader):
    """`alone`: without the runs below it; `raw`: also what could not be redacted."""

    def __init__(
        self,
        run: RunDir,
        manifest: Manifest,
        *,
        raw: bool = False,
        alone: bool = False,
        whose: str = "",
        seen: set[str] | None = None,
    ) -> None:
        super().__init__(run, manifest, withhold=not raw and bool(unknown_secrets(run, manifest)))
        self._raw, self._alone, self._whose = raw, alone, whose
        self._is_plan = manifest.plan is not None or manifest.runtime.name == "plan"
        self._is_over = manifest.is_done
        roots = {manifest.repo} | ({manifest.workspace.path} if manifest.workspace is not None else set())
        self._roots = sorted(roots, key=len, reverse=True)
        self._below: dict[str, Story] = {}
        self._names: set[str] = set()
        self._seen = {run.run_id} if seen is None else seen
        self._open: dict[tuple[int, str], tuple[StoryLine, list[bool]]] = {}
        self._starts, self._tries, self._turn, self._former = 0, 1, 0, ""
        self._since: float | None = None
        self._checks, self._asks, self._queue, self._host = None, False, Queue(run), None
        self._first: tuple[str, str] | None = None
        with contextlib.suppress(RunnerError):
            invocation = run.read_invocation()
            if (above := invocation.continues) is not None:
                self._first = f"goes on in the session of run {above.run_id}:", read_text(run.prompt) or ""
            elif invocation.open_timeout_s is not None:
                self._first = "begins with the prompt of its task", ""
            self._checks, self._host = len(invocation.verify), invocation.host
            self._asks = invocation.terms.output_contract is not None
        self._checked = 0

    def lines(self, stream: str, *, final: bool) -> Iterator[LogLine]:
        """As `Reader`; the events of the runs below as well, each line where its time has it."""
        if stream != "events":
            yield from super().lines(stream, final=final)
            return
        if not self._alone:
            self._find()
        told = [self._own(final)]
        is_many = len(self._below) > _OPEN_AT_ONCE
        for run_id, child in [*self._below.items()]:
            is_over, child.is_live = child._is_over, self.is_live
            lines = child.lines(stream, final=final or is_over)
            told.append(iter([*lines]) if is_many else lines)  # each that is begun has files open
            if is_over and self.is_live and not child._below:
                del self._below[run_id]  # what it did is told with this
        yield from heapq.merge(*told, key=lambda line: line.at or "") if len(told) > 1 else told[0]

    def _own(self, final: bool) -> Iterator[LogLine]:
        for line in super().lines("events", final=final):
            if not line.kind:  # not earlier: our events are read before the agent's lines of that time
                yield from self._still_open("did not end")
            elif isinstance(line, StoryLine):
                yield line
            else:
                yield self._line(line.at, "printed", line.text, "dim")
        yield from self._still_open("did not end" if final else "")

    def _still_open(self, note: str) -> Iterator[LogLine]:
        """What has begun and not ended, each once; with a `note` it never will."""
        for item, (line, is_told) in [*self._open.items()]:
            if note and item[0] > self._starts:
                continue  # our events are behind what is read of the agent
            if not is_told:
                is_told.append(True)
                yield line.replace(note=note, tone="red" if note else "dim")
            if note:
                del self._open[item]

    def _find(self) -> None:
        for run in children(self._run, self._seen):
            if run.run_id not in self._seen:
                with contextlib.suppress(RunnerError):  # not quite there, or not any more
                    manifest = run.read_manifest()
                    name = self._name_of(manifest)
                    self._names.add(name)
                    self._seen.add(run.run_id)  # once in the tree, whoever else calls it a child
                    whose = f"{self._whose}/{name}" if self._whose else name
                    self._below[run.run_id] = Story(
                        run, manifest, raw=self._raw, whose=whose, seen=self._seen
                    )

    def _name_of(self, manifest: Manifest) -> str:
        title = one_line(manifest.title or "")
        if self._is_plan and title.startswith("batch "):
            return title[:20].partition(" of ")[0]
        return manifest.task_id + f"-{manifest.run_id[-4:]}" * (manifest.task_id in self._names)

    def _line(
        self, at: str | None, label: str, text: str, tone: str, note: str = "", output: str = ""
    ) -> StoryLine:
        return StoryLine(at, label, text, tone=tone, note=note, output=output, whose=self._whose)

    def _done(self, activity: Activity, at: str | None, duration: float | None) -> Iterable[LogLine]:
        kind, text = activity.kind, self._text(activity.text)
        if kind in (Kind.COMMAND_STARTED, Kind.TOOL_STARTED):
            label = "running" if kind is Kind.COMMAND_STARTED else "calling"
            line = self._line(at, label, self._text(typed(text, self._roots)), "dim")
            if activity.item is None:
                return (line,)
            self._open[self._attempt, activity.item] = (line, [])
            return ()
        self._open.pop((self._attempt, activity.item or ""), None)
        if kind is Kind.TURN_COMPLETED:
            return ()
        if kind is Kind.COMMAND:
            text = typed(text, self._roots)
        elif kind is Kind.FILE_CHANGE:
            text = "\n".join(map(_change, relative(text, self._roots).split("\n")))
        elif kind is Kind.MESSAGE and self._asks:
            text = summary(text)
        elif activity.usage is not None and not text:
            u = activity.usage
            text = f"{_number(u.input_tokens)} in ({_number(u.cached_input_tokens)} cached), "
            text += f"{_number(u.output_tokens)} out"
        label, tone = _LABELS.get(kind, (str(kind), "dim"))
        bad = activity.failed or activity.exit_code not in (None, 0)
        code = f"exit {activity.exit_code}" if activity.exit_code else "failed" if bad else ""
        note = ", ".join(filter(None, (code, _took(duration))))
        output = self._text(last_lines(activity.output)) if activity.output else ""
        return (self._line(at, label, self._text(text), "red" if bad else tone, note=note, output=output),)

    def _happened(self, event: Json, at: float) -> Iterator[LogLine]:
        kind, when = event.get("type"), stamp(at)
        if self._since is None:
            self._since = at
        if kind in ("exited", "ended"):
            yield self._line(when, "", "", "")
        if kind == "started":
            self._checked, self._starts = 0, self._starts + 1
        told, self._former = self._told(str(kind), event, at), str(kind)
        if told is not None:
            label, text, tone, more = told
            shown = {name: self._own_text(one) for name, one in more.items()}
            yield self._line(when, label, self._own_text(text), tone, **shown)

    def _told(self, kind: str, event: Json, at: float) -> tuple[str, str, str, dict[str, str]] | None:
        """Label, sentence, colour, and what stands behind or below it; None for what goes without saying."""
        quiet = (
            kind == "exited" and (event.get("exit_code") == 0 or self._former == "interrupted"),
            kind == "sealed" and not event.get("redactions"),
            kind == "started" and event.get("attempt") != 1,
            kind == "child" and not self._alone,
            kind in ("git_before_checks", "git_after_checks"),  # `report` has what was found
        )
        if any(quiet):
            return None
        if kind in ("checked", "baseline", "prepared"):
            with contextlib.suppress(ValueError):
                return self._of_check(kind, Check.from_json({"tail": "", **event}))
        if kind == "ended":
            self._is_over = True
            return self._of_end(event, at)
        if kind == "started" and self._first is not None:
            return "turn 1", self._first[0], "cyan", {"output": self._first[1]}
        if kind == "turn_ended":
            return self._of_turn(event)
        if kind in ("retried", "backing_off"):
            return self._of_try(kind, event)
        if kind == "continued":
            self._tries = 1
            given = f"{_plain(event.get('actor'))} sends {_plain(event.get('messages'))}:"
            return f"turn {event.get('turn')}", given, "cyan", {"output": self._sent(event)}
        if kind == "exited":
            code, signal = event.get("exit_code"), event.get("signal")
            how = f"was ended by signal {signal}" if signal else f"ended with status {code}"
            return "run", f"its program {how}", "red", {}
        label, sentence, tone = _EVENTS.get(kind, ("run", "", "cyan"))
        if not sentence:
            return label, f"{kind.replace('_', ' ')}: {_fields(event)}", tone, {}
        details = [f"{words}: {_plain(event[key])}" for key, words in _DETAILS.items() if event.get(key)]
        if kind == "undelivered":
            details = [self._sent(event)]
        if kind == "rolled_back" and event.get("refused"):
            details, sentence = [], "not rolled back: {refused}"
        if not event.get("reason"):
            sentence = sentence.removesuffix(": {reason}")
        if kind == "created" and event.get("actor") == "user" and self._host is not None:
            with contextlib.suppress(RunnerError):  # perhaps its model did, and nobody knows
                sentence = f"{{task_id}}, started in {get(self._host).title}"
        return label, sentence.format_map(_words(event)), tone, {"output": "\n".join(details)}

    def _of_check(self, kind: str, check: Check) -> tuple[str, str, str, dict[str, str]]:
        how, tone = ("passed", "green") if check.passed else ("failed", "red")
        shown = relative(check.command, self._roots)
        note = ", ".join(filter(None, ("" if check.passed else check.how, _took(check.duration_s))))
        more = {"note": note, "output": "" if check.passed else last_lines(check.tail)}
        if kind != "checked":
            when = "prepare" if kind == "prepared" else "before"
            return when, f"{how}: {shown}", tone, more
        self._checked += 1
        all_of_them = self._checks or 0
        of = f" of {all_of_them}" if self._checked <= all_of_them else ""
        return "check", f"{self._checked}{of} {how}: {shown}", tone, more

    def _of_try(self, kind: str, event: Json) -> tuple[str, str, str, dict[str, str]]:
        """Tries are counted from the last message on. What only asks for the result is none."""
        if event.get("how") == "closing":
            return "run", "its agent is asked for the result", "cyan", {}
        label, sentence, tone = _EVENTS[kind]
        words = _words({**event, "attempt": self._tries + 1})
        self._tries += kind == "retried"
        label = f"turn {self._turn + 1}" if self._turn and kind == "retried" else label
        return label, sentence.format_map(words), tone, {}

    def _of_turn(self, event: Json) -> tuple[str, str, str, dict[str, str]]:
        status, turn = _plain(event.get("status")), event.get("turn")
        self._turn = turn if type(turn) is int else self._turn
        why = f": {_plain(event['message'])}" if event.get("message") else ""
        tone = {"completed": "green", "failed": "red"}.get(status, "yellow")
        return f"turn {turn}", f"{status}{why}", tone, {}

    def _sent(self, event: Json) -> str:
        """The texts of the messages that it names."""
        named = event.get("messages")
        ids = named if isinstance(named, list) else []
        return "\n\n".join(one.text.strip("\n") for one in self._queue.look() if one.id in ids)

    def _of_end(self, event: Json, at: float) -> tuple[str, str, str, dict[str, str]]:
        reason, outcome = event.get("reason"), event.get("outcome")
        given = reason if isinstance(reason, dict) else {}
        tone = "green" if outcome == Outcome.SUCCEEDED else "red"
        took = _took(None if self._since is None else max(0.0, at - self._since))
        hint = f"hint: {_plain(given['hint'])}" if given.get("hint") else ""
        words = _plain(outcome).replace("_", " "), _plain(given.get("message", ""))
        return "ended", ": ".join(filter(None, words)), tone, {"note": took, "output": hint}


def typed(command: str, roots: Iterable[str] = ()) -> str:
    """A command as somebody would type it: without the shell around it, and with its paths from here."""
    first = command[1:].lstrip(' "') if command[:1] == "[" else command
    shell = first.partition(" ")[0].partition('"')[0].rpartition("/")[2]
    if shell in _SHELLS and len(command) <= _LONGEST_COMMAND:
        with contextlib.suppress(ValueError, RecursionError):
            words = json.loads(command) if command[:1] == "[" else shlex.split(command)
            if len(words) == 3 and words[1] in ("-c", "-lc", "-ic", "-cl") and isinstance(words[2], str):
                command = words[2].strip("\n")
    return relative(command, roots)


def relative(text: str, roots: Iterable[str]) -> str:
    """The text with the paths in these folders as seen from there."""
    import re

    for root in roots:
        if root in text and root != "/":
            here = rf"(?<![\w./~-]){re.escape(root)}"
            text = re.sub(rf"{here}/(?=[^\s'\"`;:|&<>()])", "", text)
            text = re.sub(rf"{here}/?(?=[\s'\"`;:|&<>(),]|$)", ".", text)
    return text


def summary(text: str) -> str:
    """What a result says in its own words; the text itself where it is none."""
    forms = dict.fromkeys(RESULT_FORMS.values()) if text.lstrip()[:1] in ("{", "`") else ()
    for form in forms:
        if isinstance(claim := read_claim(text, form), Claim):
            found = (f"{one.severity}: {one.where}: {one.title}" for one in claim.findings)
            told = (*(f"issue: {issue}" for issue in claim.issues), *found)
            return "\n".join((f"{claim.status}: {claim.summary}", *told))
    return text


def _change(line: str) -> str:
    kind, _, path = line.partition(" ")
    return f"{_FILES.get(kind, kind)} {path}"


class _Words(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _words(event: Json) -> _Words:
    """The fields of an event as words of a sentence."""
    words = _Words({key: _plain(value) for key, value in event.items() if value not in (None, "", [])})
    attempt, code = event.get("attempt"), words["code"]
    if type(attempt) is int:
        words["nth"] = _NTH[attempt - 2] if 2 <= attempt < len(_NTH) + 2 else f"{attempt}th"
    for key, noun in _COUNTED.items():
        if type(number := event.get(key)) is int:
            words[key] = count(number, noun)
    words["why"] = _WHY.get(code, code.replace("_", " "))
    return words


def _fields(event: Json) -> str:
    skipped = ("schema_version", "seq", "at", "type")
    return ", ".join(f"{key.replace('_', ' ')} {_plain(v)}" for key, v in event.items() if key not in skipped)


def _plain(value: object) -> str:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _took(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 60 else format_duration(round(seconds))


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
