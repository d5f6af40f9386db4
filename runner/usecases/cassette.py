"""A cassette in the making: of a `Tape` and what became of files, the turns of a script. Pure.

What it edited is of the files as they were before and after, as streams name files and not what was written.
Without commands and tools of servers each is whole where the agent edited it last. Those might change what
they find: with any, all is put in place before the last answer, so that the change of a replay is that of the
run. What was edited before one of them is put there as well, for it to find.
"""

from __future__ import annotations

import json
import re
from collections import Counter

from runner import runtimes
from runner.errors import CassetteRefused
from runner.model import Outcome
from runner.redact.redactor import Redactor
from runner.rehearsal import edits
from runner.rehearsal.turns import Failure, PatchCall, ShellCall, ToolCall, Turn, TurnUsage
from runner.runtimes.base import Kind
from runner.text.terminal import clean_terminal
from runner.text.words import count, few, one_line
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from runner.rehearsal.turns import Call
    from runner.state.manifest import Manifest
    from runner.usecases.tape import Called, Reply, Tape

LONGEST_DELAY_S = 5.0
_SHORTEST_DELAY_S = 0.25
"""Times are known to about so much."""
_MARK = "[redacted]"
_TOOL = re.compile(r"([\w-]+)\.([\w.-]+)")
_LOST = re.compile(r"disconnected|connection .*lost|without a finish reason|stream (?:closed|ended)", re.I)
_STATUS = re.compile(r"\bstatus:? ([45]\d\d)\b|\b([45]\d\d) [A-Z][a-z]+")
STATUSES = {"auth_or_quota": 401, "context_full": 400, "request_refused": 400, "cli_failure": 500}
"""Of an error that names none, by the code of the run's end: what brings about the same one."""
_MOST_NAMED = 12
_LONG = 32 << 10
_FORCED = re.compile(r"\brm\s+(?:-\S+\s+)*-[a-zA-Z]*f")


class FileChange(Value):
    """A file before and after, None where it was not there; `mode` is that of git."""

    before: bytes | None
    after: bytes | None
    mode: int
    has_other_mode: bool


class Maker:
    """Makes the turns of one script, and keeps what it had to leave out."""

    def __init__(
        self, hider: Redactor, manifest: Manifest, tape: Tape, changed: Mapping[str, FileChange]
    ) -> None:
        self._hider, self._manifest, self._tape, self._changed = hider, manifest, tape, changed
        self._runtime = runtimes.get(manifest.runtime.name)
        self._left: Counter[str] = Counter()
        self._servers: set[str] = set()
        self._unsaid = 0
        all_calls = [call for one in tape.answers for call in one.calls]
        named: dict[str, list[int]] = {}
        for n, call in enumerate(all_calls):
            for path in edited(call):
                named.setdefault(path, []).append(n)
        acting = [n for n, call in enumerate(all_calls) if self._acts(call)]
        self._commands = [call.text for call in all_calls if call.kind is Kind.COMMAND]
        self._unknown = sorted(named.keys() - changed.keys())
        self._put = [path for path in changed if acting or path not in named]
        self._placed: dict[Called, list[str]] = {}
        for path in filter(changed.__contains__, named):
            n = named[path][0 if acting and changed[path].after is not None else -1]
            if not acting or n < acting[-1]:
                self._placed.setdefault(all_calls[n], []).append(path)

    def turns(self, *, delays: bool) -> list[Turn]:
        """CassetteRefused where there is none, or one might show a secret."""
        answers, made, whole = self._tape.answers, list[Turn](), {*self._put}
        carried, waited_s, spent = "", 0.0, TurnUsage()
        for n, answer in enumerate(answers):
            calls = tuple(call for one in answer.calls for call in self._called(one))
            message = answer.message and self.shown(answer.message)
            said = "\n\n".join(filter(None, (carried, message)))
            placed = (path for one in answer.calls for path in self._placed.get(one, ()))
            for text in self._whole(path for path in placed if path in whole):
                made.append(Turn(said or None, calls=(ShellCall(text),)))
                said, carried, message = "", "", None
            is_last = n + 1 == len(answers) or answers[n + 1].exchange != answer.exchange
            waited_s += answer.waited_s
            spent = TurnUsage(*map(sum, zip(spent, answer.usage, strict=True)))
            if not (calls or answer.failure or (is_last and message)):  # alone it would end the agent's turn
                carried = said
                continue
            message = said or None if calls else message
            self._unsaid += bool(carried and not calls)
            turn = Turn(message, calls=calls, usage=spent) if answer.failure is None else self._failed(answer)
            waited_s = round(min(waited_s, LONGEST_DELAY_S), 1)
            is_slow = delays and waited_s >= _SHORTEST_DELAY_S
            made.append(turn._replace(delay_s=waited_s if is_slow else 0.0))
            carried, waited_s, spent = "", 0.0, TurnUsage()
        if self._manifest.outcome is Outcome.TIMED_OUT and not (self._tape.is_over or self._tape.ran_on):
            made.append(Turn(ending="hang"))
        self._spend_rest(made)
        if not made:
            raise CassetteRefused(f"run `{self._manifest.run_id}` has said and done nothing")
        put = [Turn(calls=(ShellCall(text),)) for text in self._whole(self._put)]
        is_done = [one.calls for one in made[-1 - len(put) : -1]] == [one.calls for one in put]
        return made if is_done else [*made[:-1], *put, made[-1]]  # done already where a replay is recorded

    def _spend_rest(self, made: list[Turn]) -> None:
        """What the stream does not tell, as Codex does not of a turn that failed."""
        known = self._manifest.usage
        for n in reversed(range(len(made))):
            if made[n].failure is None and made[n].ending == "complete":
                told = [sum(tokens) for tokens in zip(*(one.usage for one in made), strict=True)]
                spent = (getattr(known, name) or 0 for name in TurnUsage._fields)
                rest = (max(0, all_ - some) for all_, some in zip(spent, told, strict=True))
                total = (a + b for a, b in zip(made[n].usage, rest, strict=True))
                made[n] = made[n]._replace(usage=TurnUsage(*total))
                return

    def _acts(self, call: Called) -> bool:
        """Whether a replay of it might change a file."""
        is_tool = call.kind is Kind.TOOL_CALL and not self._runtime.is_generic
        return call.kind is Kind.COMMAND or (is_tool and _TOOL.fullmatch(call.text) is not None)

    def _whole(self, paths: Iterable[str]) -> list[str]:
        """The commands that put these files in place as they were in the end."""
        last = {path: self._sure_file(path) for path in paths}
        return edits.put({path: (of.after, of.mode) for path, of in last.items()})

    def _called(self, call: Called) -> Iterator[Call]:
        where = f"in line {call.line} of its stream"
        if call.kind is Kind.FILE_CHANGE:
            yield from self._edited(path for path in self._placed.get(call, ()) if path not in self._put)
        elif call.kind is Kind.COMMAND and call.text.strip():
            typed = self._sure(call.text, f"the command {where}")
            if self._manifest.rehearsal and typed[:2] == "(\n" and typed[-2:] == "\n)":
                typed = typed[2:-2]  # as a script for Claude is played
            yield ShellCall(typed)
        elif call.kind is Kind.TOOL_CALL:
            given = _arguments(self._sure(call.arguments, f"what a tool was given {where}"))
            named = _TOOL.fullmatch(call.text)
            if call.text.startswith("delegation."):
                what = "it has started or asked other runs, which a cassette cannot play"
                raise CassetteRefused(f"run `{self._manifest.run_id}`: {what}", hint="record those runs")
            if named is None or given is None or self._runtime.is_generic:
                self._left[one_line(self.shown(call.text), 60).partition(" ")[0] or "a tool"] += 1
            else:
                self._servers.add(named[1])
                yield ToolCall(named[1], named[2], given)

    def _edited(self, paths: Iterable[str]) -> Iterator[Call]:
        said = []
        for path in paths:
            of = self._sure_file(path)
            section = None if of.has_other_mode else edits.patched(path, of.before, of.after, of.mode)
            if section is not None:
                said.append(section)
            else:
                self._put.append(path)
        if said:
            yield PatchCall("".join(("*** Begin Patch\n", *said, "*** End Patch\n")))

    def _sure_file(self, path: str) -> FileChange:
        of = self._changed[path]
        for data in (path.encode(errors="surrogateescape"), of.before or b"", of.after or b""):
            if self._hider.redact_bytes(data) != data:
                raise _secret(f"the change of {one_line(path)}")
        text = path.encode(errors="surrogateescape") + ((of.after or b"") if of.mode == edits.LINK else b"")
        if text.decode(errors="replace").encode() != text:
            raise CassetteRefused(f"the name or target of {one_line(self.shown(path))} is not UTF-8")
        return of

    def _failed(self, answer: Reply) -> Turn:
        told, reason = answer.failure, self._manifest.reason
        assert told is not None
        said = one_line(self.shown(told.text), 1000)
        if told.status is None and _LOST.search(said):
            return Turn(ending="cut")
        if "usage limit" in said.lower():
            return Turn(failure=Failure(said, 429, "usage_limit_reached"))
        found = _STATUS.search(said)
        named = told.status or (int(found[1] or found[2]) if found else 0)
        usual = STATUSES.get(reason.code if reason else "", 500)
        return Turn(failure=Failure(said, named if 400 <= named < 600 else usual))

    def shown(self, text: str) -> str:
        """A text that only says something."""
        return self._hider.redact_text(text).encode(errors="replace").decode()

    def _sure(self, text: str, what: str) -> str:
        """A text that does something; refused where that might be a secret, or was one."""
        clean, hides = clean_terminal(text), self._hider.redact_text
        if _MARK in text or hides(text) != text or hides(clean) != clean:
            raise _secret(what)
        return text.encode(errors="replace").decode()

    def notes(self) -> Iterator[str]:
        """What a replay lacks, or needs."""
        tape = self._tape
        left = [f"{name} ({often})" if often > 1 else name for name, often in self._left.items()]
        ran_on = [call.text for call in tape.ran_on]
        old = [text for text in self._commands if any(root in text for root in tape.roots)]
        forced = [text for text in self._commands if _FORCED.search(text)]
        long = [text for text in self._commands if len(text) > _LONG]
        for names, text in (
            (left, "no script can make these calls, which are left out"),
            (sorted(self._servers), "it needs these MCP servers"),
            (self._put, "put in place as they were, before the last answer"),
            (old, "these name the folder of that run, in its old place"),
            (forced, "`rm -f`, which not every agent runs where it can ask nobody"),
            (long, "longer than 32 KiB, which an agent may refuse or cut"),
            (self._unknown, "edited, and not in the change of the run, so left out"),
            (ran_on, "the agent did not wait for these, and a replay does"),
        ):
            if names:
                yield f"{text}: {few([one_line(self.shown(name), 100) for name in names], _MOST_NAMED)}"
        if tape.failed_edits:
            yield f"{count(tape.failed_edits, 'edit')} failed, and left out"
        if tape.reconnects:
            yield f"{count(tape.reconnects, 'request')} failed and repeated, and left out"
        if self._unsaid:
            yield f"what was said right before a last message is left out ({self._unsaid})"


def edited(call: Called) -> Iterator[str]:
    """The paths that an edit names."""
    for row in call.text.split("\n") if call.kind is Kind.FILE_CHANGE else ():
        if path := row.partition(" ")[2]:
            yield path.removeprefix("./")


def _secret(what: str) -> CassetteRefused:
    return CassetteRefused(
        f"{what} has, or may have, a secret in it",
        hint="a script without it would do something else, and one with it would show it",
    )


def _arguments(text: str) -> dict[str, object] | None:
    """None where TOML cannot say them."""
    try:
        given = json.loads(text or "{}")
        json.dumps(given, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return given if isinstance(given, dict) and not _has_null(given) else None


def _has_null(value: object) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(_has_null, parts))
