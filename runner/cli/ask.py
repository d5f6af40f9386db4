"""Asking the person at the terminal, if there is one. Edge: the terminal."""

from __future__ import annotations

import sys

from runner.cli import pen

_YES = ("y", "yes")
_LONGEST = 1000


def can_ask() -> bool:
    """Whether a person can see a question and answer it: stdin and stderr are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, default: bool = False) -> bool | None:
    """Yes or no; None without a terminal. Enter alone is `default`; anything but a yes is no, and so is the
    end of the input. Ctrl-C is not caught: nothing has happened yet.
    """
    if not can_ask():
        return None
    pen.tell(f"{question} [{'Y/n' if default else 'y/N'}] ", end="")
    line = b""
    try:
        line = sys.stdin.buffer.readline(_LONGEST)
    except OSError:
        pass  # the terminal is gone
    finally:
        if not line.endswith(b"\n"):
            pen.tell()  # what comes next does not stand behind the question
    if not line.endswith(b"\n"):
        return False
    word = line.decode(errors="replace").strip().lower()
    return word in _YES if word else default
