"""The verb `watch`: the runs that live on a screen, with keys for what people do with them."""

from __future__ import annotations

import contextlib
import os
import sys
import time

from runner.cli import frame, pen
from runner.cli.parser import Namespace, Parser, here
from runner.errors import ExitStatus, GaveUpWaiting, RunnerError, UsageError
from runner.model import Phase
from runner.usecases import find, look
from runner.usecases.alive import Alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.cli.screen import Screen
    from runner.state.store import RunDir
    from runner.usecases.alive import Living

_EVERY_S, _SLOWEST_S = 1.0, 10.0
_SHARE = 0.01
"""Of a core, at the most: where a look costs more, as of very many runs, the next one is later."""
_TAIL = 200
_ENDS_WITHIN_S = 0.5
_PAUSES_WITHIN_S = 15.0


def add_watch(parser: Parser) -> None:
    parser.examples(
        "runner watch",
        "ssh -t build 'cd shop && runner watch'",
        note="Without a terminal it has nothing to draw on: there `runner list` and `runner events -f` work",
    )


def run_watch(args: Namespace) -> int:
    can_move = os.environ.get("TERM", "") not in ("", "dumb")
    if args.format == "json" or not (can_move and sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "`watch` draws on a terminal whose cursor can be moved, and nowhere else",
            hint="`runner list` shows the runs once, `runner events -f` what becomes of them",
        )
    from runner.cli.screen import Screen

    alive = Alive(find.find_root(here()))
    with Screen() as screen:
        _Board(alive, screen).work()
    return ExitStatus.OK


class _Board:
    """What is on the screen, which run is chosen, and what was asked."""

    def __init__(self, alive: Alive, screen: Screen) -> None:
        self._alive, self._screen = alive, screen
        self._runs: list[tuple[Living, str]] = []
        self._at, self._chosen = 0, ""
        self._said, self._wish = "", ""
        self._is_due_at, self._cost = 0.0, 0.0

    def work(self) -> None:
        """Until it is left."""
        while True:
            if time.monotonic() >= self._is_due_at:
                self._look()
            self._draw()
            key = self._screen.key(max(0.0, self._is_due_at - time.monotonic()))
            if key == "q" and not self._wish:
                return
            if key:
                self._press(key)

    def _look(self) -> None:
        begun = time.process_time()
        self._runs = frame.ordered(self._alive.look())
        ids = [one.row.run_id for one, _ in self._runs]
        is_there = self._chosen in ids
        self._wish = self._wish if is_there else ""  # it was asked of that run
        self._choose(ids.index(self._chosen) if is_there else self._at)
        cost = time.process_time() - begun
        rest_s = min(cost, self._cost) / _SHARE  # the first look at a run is dear, and there is one of each
        self._is_due_at = time.monotonic() + min(_SLOWEST_S, max(_EVERY_S, rest_s))
        self._cost = cost

    def _draw(self) -> None:
        size = self._screen.size()
        names, now = self._alive.names, time.time()
        foot = f"{self._wish} {self._name}? [y/N]" if self._wish else frame.KEYS
        self._screen.draw(frame.frame(self._runs, names, size, now, self._at, said=self._said, foot=foot))

    @property
    def _name(self) -> str:
        return self._alive.names.get(self._chosen, self._chosen)

    def _choose(self, at: int) -> None:
        self._at = max(0, min(at, len(self._runs) - 1))
        self._chosen = self._runs[self._at][0].row.run_id if self._runs else ""

    def _press(self, key: str) -> None:
        self._said, wish, self._wish = "", self._wish, ""
        page = max(1, self._screen.size()[1] - 4)
        steps = {"up": -1, "down": 1, "page up": -page, "page down": page}
        steps |= {"first": -len(self._runs), "last": len(self._runs)}
        if not self._runs:
            return
        one = self._runs[self._at][0]
        if wish:
            self._tried(wish, one) if key in ("y", "Y") else None
        elif key in steps:
            self._choose(self._at + steps[key])
        elif key in ("enter", "a"):
            self._tried(key, one)
        elif key in ("c", "p") and one.is_over:
            self._said = "it is over"
        elif key == "p" and one.row.status == Phase.WAITING:
            self._said = "it waits for a message"
        elif key in ("c", "p"):
            is_paused = one.row.status == Phase.PAUSED
            self._wish = "cancel" if key == "c" else "resume" if is_paused else "pause"
            self._screen.forget()  # "policy", pasted, is no yes

    def _tried(self, what: str, one: Living) -> None:
        """Does it, and says what came of it."""
        try:
            if what == "enter":
                _logs(one.run, self._screen)
            elif what == "a":
                self._said = _answer(one.run, self._screen)
            else:
                self._said = f"{what}: {self._name} ..."
                self._draw()
                _control(what, one.run)
                self._said = ""
        except RunnerError as error:
            self._said = error.message
        self._is_due_at = 0.0


def _control(verb: str, run: RunDir) -> None:
    """The request of a cancel stays, and the screen shows the end when it comes."""
    from runner.usecases import control

    if verb == "cancel":
        with contextlib.suppress(GaveUpWaiting):
            control.cancel(run, actor="user", grace_s=None, reason=None, within_s=_ENDS_WITHIN_S)
    else:
        change = control.pause if verb == "pause" else control.resume
        change(run, actor="user", within_s=_PAUSES_WITHIN_S)


def _logs(run: RunDir, screen: Screen) -> None:
    """As `runner logs -f`, until a key is pressed for going back."""
    from runner.cli.logs import story_of
    from runner.cli.story import Transcript
    from runner.usecases import logs

    def is_over() -> bool:
        if screen.key(0) == "q":
            raise KeyboardInterrupt
        return look.is_done(run)

    transcript, reader = Transcript(), story_of(run, look.show(run).manifest)
    with screen.aside(), contextlib.suppress(KeyboardInterrupt):
        pen.say(pen.paint(f"{run.task_id} {run.run_id}: q goes back", "dim"), flush=True)
        for line in logs.follow(reader, "events", tail=_TAIL, is_done=is_over):
            pen.say(transcript.text(line), flush=True)
        pen.say(pen.paint("the run is over: any key goes back", "dim"), flush=True)
        while not screen.key():
            continue


def _answer(run: RunDir, screen: Screen) -> str:
    """Answers the oldest open question, or sends a message to a run that waits for one."""
    from runner.cli.render import indented, questions_text
    from runner.cli.talk import sent_text, speaker
    from runner.usecases import control, inbox, logs, talk

    m, text = run.read_manifest(), ""
    questions = [question for question in logs.asked(run, m) if question.is_open]
    if not questions and m.phase is not Phase.WAITING:
        return "it has no open question"
    asks, leaves = ("answer", "leaves it open") if questions else ("message", "sends none")
    try:
        with screen.aside(for_lines=True), contextlib.suppress(KeyboardInterrupt):
            pen.say(
                questions_text(questions[:1]) or indented(f"\n{inbox.last_turn(run, m)}", 2, is_foreign=True)
            )
            screen.forget()
            pen.say(f"{asks} (an empty line {leaves}): ", end="", flush=True)
            text = screen.line().strip()
        if not text:
            return "not answered"
        if not questions:
            if text == talk.QUIT:
                return f"ends: {talk.end(run, actor=speaker(run)).status}"
            return sent_text(talk.send(run, talk.checked(text), actor=speaker(run)))
        control.answer(run, questions[0].id, text, actor="user")
    finally:
        screen.settle()  # after the answer, which nothing that is typed or sent now takes back
    return f"{questions[0].id} answered"
