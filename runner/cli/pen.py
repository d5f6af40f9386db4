"""The pen: all that `runner` says goes through here, cleaned and in order. Edge: the terminal.

A name, a message or a record may hold anything that an agent or a repository wrote. So nothing but our own
colours moves the terminal, no line is one that a CI system obeys, a character that the stream cannot encode
is escaped, and what stdout was given is written before stderr gets more.

Lines that a CI system would obey are marked, whether one listens or not: in a container of a job, or where a
saved text is printed later, no variable tells. GitHub's `::stop-commands::` holds for GitHub alone, has to be
closed by a process that may be killed, and would stand in every saved text.
"""

from __future__ import annotations

import os
import sys

from runner.text.terminal import clean_terminal, is_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TextIO

_INDENT = r"(?m)^((?:[^\S\n]|\x1b\[[0-9]+m)*)"
# github.com/actions/runner, src/Runner.Common/ActionCommand.cs: `::` behind any white space, `##[` anywhere.
# Azure Pipelines, TeamCity and Octopus put a word between: `##vso[`. Travis and GitLab fold sections.
_AT_THE_MARGIN = _INDENT + r"(?=::|travis_(?:fold|time):|section_(?:start|end):)"
_ANYWHERE = r"##(?=[A-Za-z_-]*\[)"
# github.com/buildkite/agent, process/headers: only at the very margin, where plain texts have rules as well
_HEADINGS = r"(?m)^((?:\x1b\[[0-9]+m)*)(?=(?:---|\+\+\+|~~~|\^\^\^)(?:\s|$))"
_HINTS = ("::", "##", "travis_", "section_")
_CODES = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
OURS = f"\x1b{os.urandom(8).hex()}["
"""How a colour of ours begins until the pen writes it. Drawn anew by each process, so no foreign text has it:
of all the sequences in a text, the pen keeps these.
"""

GIVEN: list[str] = []
"""What stdout was given by this command: at most one word of it."""


def say(text: str, *, end: str = "\n", flush: bool = False) -> None:
    """Text for people on stdout."""
    _write(sys.stdout, cleaned(text) + end)
    if flush:
        sys.stdout.flush()


def tell(text: str = "", *, end: str = "\n") -> None:
    """Talk, for people, on stderr; what stdout was given before is out before. Whoever reads neither any more
    stops nothing: the exit status is the verdict.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop(1)
    try:
        _write(sys.stderr, cleaned(text) + end)
        sys.stderr.flush()
    except BrokenPipeError:
        drop(2)


def drop(fd: int) -> None:
    """Nobody reads that stream: what it was given and is given goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), fd)


def note(text: str) -> None:
    """Something to know, on stderr."""
    tell(headed("note:", "yellow", text))


def warn(text: str) -> None:
    """Something amiss that does not stop the command, on stderr."""
    tell(headed("warning:", "yellow", text))


def headed(word: str, colour: str, text: str) -> str:
    """For stderr, with the word before it."""
    return paint(word, colour, sys.stderr) + folded(f"{word} {text}")[len(word) :]


def folded(text: str) -> str:
    """For stderr: where that is a terminal, lines end between words, which would be cut at the edge else."""
    room = columns(sys.stderr) if sys.stderr.isatty() else None
    if room is None:
        return text
    try:
        from runner.text.cells import wrapped
    except (ImportError, OSError):  # there may be no descriptor left
        return text
    return "\n".join(wrapped(visible(text), room, whole_words=True))


def document(text: str) -> None:
    """A JSON document on stdout, the same to every reader of JSON: what a terminal or a CI system would obey
    is written as an escape.
    """
    if not is_plain(text):
        from runner.text.terminal import escape_unseen

        text = escape_unseen(text)
    GIVEN[:] = ["document"]
    _write(sys.stdout, text.replace("##", "#\\u0023") + "\n")


def draw(lines: Mapping[int, str], before: str = "") -> None:
    """Each of these lines at its row of the screen, from 0; `before` moves the terminal."""
    rows = (f"\x1b[{n + 1};1H{cleaned(line)}\x1b[K" for n, line in lines.items())
    _write(sys.stdout, before + "".join(rows))
    sys.stdout.flush()


def ring() -> None:
    """The bell of the terminal that stderr is."""
    sys.stderr.write("\a")
    sys.stderr.flush()


def commands(lines: Iterable[str]) -> None:
    """Ours for a CI system, a line each, on stdout: what is foreign in them is escaped, and begins none."""
    for line in lines:
        _write(sys.stdout, line[:2] + cleaned(line[2:]) + "\n")


def raw(data: bytes) -> None:
    """Data for a program, on stdout, as it is: a patch for `git apply`."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """Coloured where `stream` is a terminal, or FORCE_COLOR says so (https://force-color.org), and NO_COLOR
    does not forbid it (https://no-color.org).
    """
    stream = sys.stdout if stream is None else stream
    if os.environ.get("NO_COLOR"):
        return text
    if os.environ.get("FORCE_COLOR", "0") in ("", "0") and (
        os.environ.get("TERM") == "dumb" or not stream.isatty()
    ):
        return text
    return f"{OURS}{_CODES[colour]}m{text}{OURS}0m"


def columns(stream: TextIO | None = None) -> int | None:
    """How wide lines on stdout, or on `stream`, can be: what COLUMNS says, else the terminal; None in a pipe
    or a file, where nothing is cut or wrapped, as git and gh do.
    """
    told = os.environ.get("COLUMNS", "")
    if told.isascii() and told.isdigit() and len(told) < 6 and int(told):
        return int(told)
    try:
        return os.get_terminal_size((stream or sys.stdout).fileno()).columns or 80
    except (OSError, ValueError):  # no terminal, or no file at all
        return None


def cleaned(text: str) -> str:
    """The text as it is printed."""
    return _defused(visible(text).replace(OURS, "\x1b["))


def visible(text: str) -> str:
    """The text without what moves a terminal; our colours stay as `paint` has put them. Before a text is
    indented or cut into lines: a carriage return becomes a line break.
    """
    head, *painted = text.split(OURS)
    clean = clean_terminal(head)
    for part in painted:
        code, _, rest = part.partition("m")
        clean += f"{OURS}{code}m{clean_terminal(rest)}"
    return clean


def _defused(text: str) -> str:
    folds = "BUILDKITE" in os.environ
    if not folds and not any(hint in text for hint in _HINTS):
        return text
    import re  # hardly any text has such a line

    text = re.sub(_AT_THE_MARGIN, r"\1| ", text)
    text = re.sub(_ANYWHERE, "## ", text)
    return re.sub(_HEADINGS, r"\1| ", text) if folds else text


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:  # not our program's own stream, which escapes by itself
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
