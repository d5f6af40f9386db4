"""The terminal as a screen: lines that are drawn where they changed, and keys. Edge: the terminal.

However it ends (an error, a signal, Ctrl-Z for a while), the terminal is left as it was found.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import tty

from runner.cli import pen
from runner.cli.ask import LONGEST, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType, TracebackType
    from typing import Any

# Alternate screen, cursor, wrapping of lines: https://invisible-island.net/xterm/ctlseqs/ctlseqs.html
_BEGIN = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_END = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_CLEAR = "\x1b[H\x1b[2J"
_WHOLE_S = 0.05
"""Within this time the rest of a key's sequence comes, else it was the escape key."""
_QUIET_S = 0.5
"""Pieces of one pasted text come closer together than this."""
_ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_WAKING = (signal.SIGWINCH, signal.SIGCONT, signal.SIGTSTP)
_KEYS = {
    **{"\x1b[A": "up", "\x1bOA": "up", "k": "up", "\x1b[B": "down", "\x1bOB": "down", "j": "down"},
    **{"\x1b[5~": "page up", "\x1b[6~": "page down", "\r": "enter", "\n": "enter", "\x1b": "q"},
    **{"\x1b[H": "first", "\x1bOH": "first", "g": "first", "\x1b[F": "last", "\x1bOF": "last", "G": "last"},
    "\x04": "q",
}


class Screen:
    """A context: within it, the terminal is ours."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._found = termios.tcgetattr(self._fd)
        self._drawn: list[str] = []
        self._typed = ""
        self._is_screen, self._has_keys = True, True
        self._woken, self._waker = os.pipe()
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Screen:
        for fd in (self._woken, self._waker):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in (*_ENDS, *_WAKING):
            self._handlers[number] = signal.signal(number, _end if number in _ENDS else _noted)
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(-1)
        self._handlers[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)  # typed twice
        for ending in _ENDS:  # a second one ends it where the terminal takes nothing more
            signal.signal(ending, signal.SIG_DFL)
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def size(self) -> tuple[int, int]:
        """Columns and rows for lines that are drawn. What wraps or not differs in the last column."""
        try:
            columns, rows = os.get_terminal_size(self._fd)
        except OSError:
            columns, rows = 0, 0
        return (columns or 80) - 1, rows or 24

    def draw(self, lines: Sequence[str]) -> None:
        """Only lines that are not there yet are written."""
        new = {
            n: line for n, line in enumerate(lines) if n >= len(self._drawn) or line != self._drawn[n]
        } | dict.fromkeys(range(len(lines), len(self._drawn)), "")
        if new:
            pen.draw(new, "" if self._drawn else _CLEAR)
        self._drawn = [*lines]

    def key(self, within_s: float | None = None) -> str:
        """The next key by its name; "" for one that has none, where none is pressed, and after a signal."""
        if not self._typed and not self._read(within_s):
            return ""
        if self._typed == "\x1b":
            self._read(_WHOLE_S)
        end = 1
        if self._typed[:2] in ("\x1b[", "\x1bO"):
            end = next(
                (n + 1 for n, char in enumerate(self._typed) if n > 1 and char >= "@"), len(self._typed)
            )
        pressed, self._typed = self._typed[:end], self._typed[end:]
        return _KEYS.get(pressed, pressed if pressed.isprintable() else "")

    def forget(self) -> None:
        """Keys that were pressed before now."""
        self._typed = ""
        with contextlib.suppress(termios.error):
            termios.tcflush(self._fd, termios.TCIFLUSH)

    def settle(self) -> None:
        """Drops keys until none has come for a moment: the rest of a text that was pasted as a line."""
        while self._read(_QUIET_S) and not self._typed.endswith("\x04"):
            self._typed = ""
        self.forget()

    def line(self) -> str:
        """A line that somebody types, as the terminal lets it be edited."""
        while not self._read(None):
            continue
        typed, self._typed = self._typed, ""
        return text_of(typed.encode("latin-1"))

    @contextlib.contextmanager
    def aside(self, *, for_lines: bool = False) -> Iterator[None]:
        """For text that scrolls: what was there before the screen. Keys are read as before, or lines."""
        self._give_back()
        self._is_screen, self._has_keys = False, not for_lines
        self._take()
        try:
            yield
        finally:
            self._is_screen, self._has_keys = True, True
            self._take()

    def _read(self, within_s: float | None) -> bool:
        ready, _, _ = select.select([self._fd, self._woken], [], [], within_s)
        for number in os.read(self._woken, 512) if self._woken in ready else b"":
            self._obey(number)
        if self._fd not in ready:
            return False
        try:
            data = os.read(self._fd, LONGEST)
        except OSError:
            data = b""
        self._typed += data.decode("latin-1") or "\x04"  # the terminal is gone
        return True

    def _take(self) -> None:
        with contextlib.suppress(termios.error):  # it may be gone
            if self._has_keys:
                tty.setcbreak(self._fd, termios.TCSANOW)
        if self._is_screen:
            self._drawn = []
            pen.draw({}, _BEGIN)

    def _give_back(self) -> None:
        with contextlib.suppress(OSError):
            if self._is_screen:
                pen.draw({}, _END)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._fd, termios.TCSANOW, self._found)

    def _obey(self, number: int) -> None:
        """What a signal asks for, here and not in its handler: that may stand in the midst of a write. A
        session without a shell does not stop at Ctrl-Z, so the terminal is taken again in any case.
        """
        if number == signal.SIGTSTP:
            self._give_back()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            signal.signal(number, _noted)
        if number == signal.SIGWINCH:
            self._drawn = []
        elif number in _WAKING:
            self._take()


def _noted(number: int, _: FrameType | None) -> None:
    """Its number waits where `_read` looks (signal.set_wakeup_fd)."""


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)
