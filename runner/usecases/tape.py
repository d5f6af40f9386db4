"""The tape of a run: what its agent said and did, answer by answer, as its stream tells. Edge: disk, reading.

Calls that were under way at the same time are those of one answer of the model; what begins once one of them
has ended is of the next.
"""

from __future__ import annotations

import re
import shlex

from runner.errors import CassetteRefused
from runner.model import Usage
from runner.rehearsal.turns import TurnUsage
from runner.runtimes.base import Kind, UsageScope
from runner.state.manifest import parse_timestamp
from runner.usecases.logs import Reader
from runner.usecases.story import relative, typed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from runner.runtimes.base import Activity
    from runner.state.manifest import Manifest
    from runner.state.store import RunDir
    from runner.usecases.logs import LogLine

_SHELL = re.compile(r"(?:\S*/)?(?:bash|sh|zsh|dash|ksh) -(?:c|lc|ic|cl) (.+)", re.S)
_MOVE = re.compile(
    r"""(?<![\w./-])(?:cd|pushd|popd|(?:git|make|tar) -C)\b *(?:'[^']*'|"[^"]*"|[^\s;&|()])*"""
)
_LEADS = re.compile(r"""\s*cd +(?!-)('[^'\n]+'|"[^"$`\\\n]+"|[\w./@%+=:,-]+) *(?:&&|;|\n|$)""")
_ANEW = re.compile(r"""\s*cd +["']?/""")
_STAYS = re.compile(
    r"(?:^|[\n;&|{!]|\b(?:then|do|else)\b)\s*(?:cd|pushd|popd)\b(?! [\"']?\.[\"']?(?:[\s;&|]|$))"
)
_HERE = re.compile(r"<<-?\s*(['\"]?)(\w+)\1([^\n]*)\n.*?^\s*\2$", re.S | re.M)
_STARTED = {Kind.COMMAND_STARTED: Kind.COMMAND, Kind.TOOL_STARTED: Kind.TOOL_CALL}


class Called:
    """One call of the agent: a command, a tool by its name, or the files that it edited."""

    def __init__(self, kind: Kind, line: int) -> None:
        self.kind, self.line = kind, line
        self.text, self.arguments = "", ""
        self.has_ended = False
        self.went = ""
        """Where its `cd` led: `on`, `nowhere`, or `back`, as Claude leaves a folder outside of its tree."""


class Reply:
    """One answer of the model, in what turn or attempt of its agent."""

    def __init__(self, exchange: int, line: int, waited_s: float) -> None:
        self.exchange, self.line, self.waited_s = exchange, line, waited_s
        self.message: str | None = None
        self.failure: Activity | None = None
        self.calls: list[Called] = []
        self.usage = TurnUsage()


class Tape(Reader):
    """Reads all of it at once; only what a script has of it is kept."""

    def __init__(self, run: RunDir, manifest: Manifest) -> None:
        super().__init__(run, manifest, withhold=False)
        self.answers: list[Reply] = []
        self.unread: list[int] = []
        """The lines that are no event."""
        self.is_over = False
        """Whether the last process has told how its turn ended."""
        self.reconnects = self.failed_edits = 0
        self.ran_on: list[Called] = []
        """What had not ended when the turn of the agent had."""
        where = {manifest.repo} | ({manifest.workspace.path} if manifest.workspace is not None else set())
        self.roots = sorted(where, key=len, reverse=True)
        self._line = self._exchange = self._of_attempt = 0
        self._open: Reply | None = None
        self._items: dict[str, Called] = {}
        self._counts_anew = self._runtime.usage_scope is UsageScope.ATTEMPT
        self._spent, self._before = Usage(), TurnUsage()
        self._latest = self._started
        for _, line in self._agent(final=True):
            if line.kind == "unread":
                self.unread.append(self._line)
        self._settle()

    def _at(self, offset: int) -> float | None:
        self._line += 1  # it is asked once for each
        return super()._at(offset)

    def _done(self, activity: Activity, at: str | None, duration: float | None) -> Iterable[LogLine]:
        if self._attempt != self._of_attempt:
            self._of_attempt, self.is_over = self._attempt, False
            self._spent = Usage() if self._counts_anew else self._spent
            self._end_exchange()
        now = self._latest if at is None else max(self._latest, parse_timestamp(at))
        if activity.usage is not None:
            self._spend(activity.usage)
        kind = activity.kind
        if kind is Kind.MESSAGE and activity.text:
            self._answer(now).message = activity.text
        elif kind in _STARTED:
            self._begin(activity, _STARTED[kind], now)
        elif kind in (Kind.COMMAND, Kind.TOOL_CALL, Kind.FILE_CHANGE):
            self._end(activity, now)
        elif kind is Kind.TURN_FAILED:
            self._answer(now).failure = activity
        elif kind is Kind.WARNING:
            self.reconnects += activity.reconnects
        if kind in (Kind.TURN_FAILED, Kind.TURN_COMPLETED):
            self.is_over = True
            self._end_exchange()
        self._latest = now
        return ()

    def _answer(self, now: float) -> Reply:
        """The next one begins."""
        self._open = Reply(self._exchange, self._line, now - self._latest)
        self._open.usage, self._before = self._before, TurnUsage()
        self.answers.append(self._open)
        return self._open

    def _end_exchange(self) -> None:
        self._open, self._exchange = None, self._exchange + 1
        self.ran_on += [call for call in self._items.values() if not call.has_ended]
        self._items.clear()

    def _begin(self, activity: Activity, kind: Kind, now: float) -> Called:
        answer = self._open
        if answer is None or answer.failure or any(call.has_ended for call in answer.calls):
            answer = self._answer(now)
        call = Called(kind, self._line)
        answer.calls.append(call)
        if activity.item is not None:
            self._items[activity.item] = call
        self._tell(call, activity)
        return call

    def _end(self, activity: Activity, now: float) -> None:
        call = self._items.pop(activity.item or "", None)
        if activity.kind is Kind.FILE_CHANGE and activity.failed:
            self.failed_edits += 1
            if call is not None:
                call.text = ""
            return
        call = self._begin(activity, activity.kind, now) if call is None else call
        call.kind, call.has_ended = activity.kind, True
        is_back = activity.output.rpartition("\n")[2].startswith("Shell cwd was reset to ")
        went = "back" if is_back else "" if "cd: " in activity.output else "on"
        call.went = "nowhere" if activity.failed else went
        self._tell(call, activity)

    def _tell(self, call: Called, activity: Activity) -> None:
        call.text = self._told(call.kind, activity.text) or call.text
        call.arguments = activity.arguments or call.arguments

    def _told(self, kind: Kind, text: str) -> str:
        """As it was typed; the paths of what is no command are from the top of its tree."""
        if kind is not Kind.COMMAND:
            return relative(text, self.roots)
        if self._runtime.shell == "quoted":
            return typed(text)
        words = _SHELL.fullmatch(text) if self._runtime.shell == "bare" else None
        return text if words is None else words[1]

    def _settle(self) -> None:
        """Each command as it would be typed at the top of the tree, where a replay begins it. `at` are the
        folders that a shell that lives on went to, one after the other; None where they are not known.
        """
        at: tuple[str, ...] | None = ()
        exchange = 0
        for answer in self.answers:
            calls = [call for call in answer.calls if call.kind is Kind.COMMAND]
            at = at if answer.exchange == exchange else ()
            exchange = answer.exchange
            for call in calls:
                said, call.text = call.text, self._from_top(call.text)
                if self._runtime.shell != "kept":
                    continue
                begun = () if _ANEW.match(said) else at
                if begun is None:
                    why = f"the command in line {call.line} of its stream begins in an unknown folder"
                    raise CassetteRefused(why, hint="one before it may have gone to another")
                if begun:
                    way = " && ".join(f"cd -P -- {shlex.quote(folder)}" for folder in begun)
                    call.text = f"{way} || exit\n{said}"
                to = self._moved(said, begun)
                if to != at or call.went == "back":
                    of = {"on": to, "nowhere": at, "back": ()}
                    at = of.get(call.went) if call is calls[-1] else None

    def _moved(self, said: str, begun: tuple[str, ...]) -> tuple[str, ...] | None:
        """Where the next command begins if this one goes well."""
        at: tuple[str, ...] | None = begun
        while lead := _LEADS.match(said):
            target, said = lead[1].strip("'\""), said[lead.end() :]
            inside = relative(target, self.roots)
            if target.startswith("/"):
                at = None if inside.startswith("/") else () if inside == "." else (inside,)
            elif at is not None and inside != ".":
                at = (*at, inside)
        rest = said if at else relative(said, self.roots)
        return None if _stays(rest) or (at != begun and re.search(r"\b(?:exit|exec)\b", rest)) else at

    def _from_top(self, text: str) -> str:
        for move in _MOVE.finditer(text):
            if relative(move[0], self.roots).split()[-1].strip("'\"") != ".":  # paths mean others from there
                return relative(text[: move.end()], self.roots) + text[move.end() :]
        return relative(text, self.roots)

    def _spend(self, usage: Usage) -> None:
        """Totals are told; an answer has what came on top."""
        pairs = {name: (getattr(usage, name) or 0, getattr(self._spent, name) or 0) for name in Usage._fields}
        is_another = any(now < before for now, before in pairs.values())
        self._spent = usage
        more = {name: now - (0 if is_another else before) for name, (now, before) in pairs.items()}
        known = self._before if self._open is None else self._open.usage
        total = TurnUsage(*(getattr(known, name) + more[name] for name in TurnUsage._fields))
        if self._open is None:
            self._before = total
        else:
            self._open.usage = total


def _stays(command: str) -> bool:
    """Whether the next command of a shell that lives on would run in another folder."""
    command = _HERE.sub(r"\3", command)
    while (outside := re.sub(r"\([^()]*\)", " ", command)) != command:
        command = outside
    return _STAYS.search(command) is not None
