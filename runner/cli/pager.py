"""A patch on a terminal: in colour, and in the user's pager where it does not fit. Edge: processes."""

from __future__ import annotations

import os
import sys

from runner.cli import pen
from runner.disk import programs
from runner.runtimes import sessions_of
from runner.text.cells import cells
from runner.text.patch import lines
from runner.text.terminal import escape_unseen

_COLOURS = {"head": "bold", "hunk": "cyan", "+": "green", "-": "red"}
_LESS = "FRX"
"""As git has it: less ends by itself where all fits, shows colours, and leaves the screen as it was."""


def show(patch: str, *, paged: bool) -> None:
    """Says the patch in the colours that git gives one; if the terminal is too small for it, in the pager. A
    line of a file stays one, whatever breaks lines in it.
    """
    rows = ((kind, "^M".join(map(escape_unseen, line.split("\r")))) for kind, line in lines(patch))
    text = "".join(f"{pen.paint(row, _COLOURS[kind]) if kind in _COLOURS else row}\n" for kind, row in rows)
    if not (paged and _is_too_long(patch) and _paged(pen.cleaned(text))):
        pen.say(text, end="")


def _is_too_long(text: str) -> bool:
    try:
        room = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return False
    rows = 0
    for line in text.split("\n") if room.columns and room.lines else ():
        rows += 1 + max(0, cells(line) - 1) // room.columns
        if rows > room.lines:
            return True
    return False


def _paged(text: str) -> bool:
    """Whether the pager has had it."""
    argv = _pager()
    if argv is None:
        return False
    import signal
    import subprocess

    home = os.environ.get("HOME", "")
    stops: list[int] = []
    # Ctrl-C is for the pager; a handler is not handed on
    former = signal.signal(signal.SIGINT, lambda number, _: stops.append(number))
    try:
        pager = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            cwd=home if os.path.isdir(home) else "/",  # here an agent may have put what it reads
            env={"LESS": _LESS, "LV": "-c", **programs.with_search_path(os.environ)},
        )
        try:
            pager.communicate(text.encode(sys.stdout.encoding, "backslashreplace"))  # it may end early
        finally:
            pager.wait()
    except OSError as error:
        pen.note(f"the pager `{argv[0]}` could not be started: {error.strerror}")
        return False
    finally:
        signal.signal(signal.SIGINT, former)
    if pager.returncode and not stops:
        pen.note(f"the pager `{argv[0]}` ended with {pager.returncode}: here is the whole patch")
        return False
    return True


def _pager() -> list[str] | None:
    """RUNNER_PAGER, else PAGER, else less: words, and no shell. None: `cat`, nothing, or none to be trusted.

    The user names it, but no work tree of git is to hold it: agents write in those.
    """
    import shlex

    named = os.environ.get("RUNNER_PAGER", os.environ.get("PAGER"))
    try:
        words = shlex.split("less" if named is None else named)
    except ValueError:
        words = [named or ""]
    if not words or words == ["cat"] or os.environ.get("TERM", "dumb") == "dumb":
        return None
    if sessions_of(os.environ):  # a host's model could give a pager commands
        return None
    program = programs.outside_work_trees(words[0], os.environ)
    if program is None and named is not None:
        pen.note(f"the pager `{words[0]}` is not on PATH outside of work trees, so it is not used")
    if program is None:
        return None
    # a LESS of the user's may lack it, and would show colours as codes
    return [program, *words[1:], *(["-R"] if os.path.basename(words[0]) == "less" else [])]
