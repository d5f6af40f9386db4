"""Asking the person at the terminal, if there is one. Edge: the terminal."""

from __future__ import annotations

import contextlib
import os
import select
import sys

from runner.cli import pen
from runner.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.usecases.ledger import Author

_YES = ("y", "yes")
LONGEST = 4096
"""As long as a line of a terminal can be."""
_QUIET_S = 0.5
"""Pieces of one pasted text come closer together than this."""


def can_ask() -> bool:
    """Whether a person can see a question and answer it: stdin and stderr are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, default: bool = False) -> bool | None:
    """Yes or no; None without a terminal. Enter alone is `default`; anything but a yes is no, and so is the
    end of the input. Ctrl-C is not caught: nothing has happened yet.
    """
    if not can_ask():
        return None
    line = typed(f"{question} [{'Y/n' if default else 'y/N'}] ")
    if not line.endswith(b"\n"):
        return False
    word = line.decode(errors="replace").strip().lower()
    return word in _YES if word else default


def typed(question: str) -> bytes:
    """The line that is typed behind the question; without its end where the input ends."""
    line = b""
    try:
        pen.tell(question, end="")  # Ctrl-C can come before it returns: the question is on the screen by then
        line = sys.stdin.buffer.readline(LONGEST)
    except OSError:
        pass  # the terminal is gone
    finally:
        if not line.endswith(b"\n"):
            pen.tell()  # what comes next does not stand behind the question
    return line


def text_of(line: bytes) -> str:
    """An answer that was typed. UsageError for one that the terminal has cut, or is no text."""
    if len(line) >= LONGEST:
        raise UsageError("the terminal has cut that line: `runner answer RUN QUESTION -` takes a longer one")
    try:
        return line.decode().strip("\x04")
    except UnicodeDecodeError:
        raise UsageError("what was typed is not valid UTF-8") from None


def drop_typed() -> bool:
    """Drops the rest of a text that was pasted as a line, if there is any: no shell is to execute it."""
    import termios

    is_more = False
    with contextlib.suppress(termios.error):  # the terminal is gone
        while select.select([sys.stdin], [], [], _QUIET_S)[0]:
            termios.tcflush(sys.stdin, termios.TCIFLUSH)
            is_more = True
    return is_more


def person(repo: str) -> Author:
    """Whoever decides there. PeopleOnly inside of a run, Nested below any other agent."""
    from runner.conduct import preflight
    from runner.usecases import ledger

    author = ledger.person_or_run(repo, os.environ)
    ledger.refuse_run(author)
    preflight.refuse_nested(os.environ, preflight.FOR_PEOPLE)
    return author
