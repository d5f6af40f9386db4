"""A `runner` command with a terminal of its own, and somebody who types there."""

from __future__ import annotations

import fcntl
import os
import subprocess
import termios

from support.repo import RUNNER, Repo
from support.waiting import wait_until

__all__ = ["Terminal"]


class Terminal:
    """`runner WORDS` with a terminal as each of its three streams; `close` ends it."""

    def __init__(self, repo: Repo, *words: str, columns: int = 0, term: str = "xterm") -> None:
        """A terminal of no columns does not know its size."""
        self._fd, theirs = os.openpty()
        termios.tcsetwinsize(theirs, (24 if columns else 0, columns))
        self.before = self.modes
        self.process = subprocess.Popen(
            [str(RUNNER), *words],
            cwd=repo.root,
            env={**repo.env, "TERM": term},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        os.set_blocking(self._fd, False)
        self.text = ""

    def asks(self, choices: str = "[y/N]") -> None:
        """Until the question with these choices stands there."""
        wait_until(lambda: self._read().rstrip().endswith(choices), within=20, what="the question")

    def press(self, keys: bytes, *, shows: str) -> None:
        """Presses these keys; until that is shown after them."""
        at = len(self._read())
        os.write(self._fd, keys)
        self.shows(shows, at)

    def send(self, number: int, *, shows: str) -> None:
        """Sends it that signal; until that is shown after it."""
        at = len(self._read())
        self.process.send_signal(number)
        self.shows(shows, at)

    def shows(self, words: str, at: int = 0) -> None:
        """Until it was shown, behind that character of the text."""
        wait_until(lambda: words in self._read()[at:], within=20, what=repr(words))

    def resize(self, columns: int, rows: int) -> None:
        termios.tcsetwinsize(self._fd, (rows, columns))

    @property
    def modes(self) -> list[object]:
        """How the terminal treats what is typed."""
        return termios.tcgetattr(self._fd)[:4]

    def type(self, keys: bytes, within: float = 20) -> int:
        """Presses these keys; the exit status."""
        os.write(self._fd, keys)
        wait_until(self._has_ended, within, what="the end of the command")
        self._read()
        return int(self.process.returncode)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._fd)

    def _has_ended(self) -> bool:
        self._read()  # a full terminal would hold it up
        return self.process.poll() is not None

    def _read(self) -> str:
        try:
            while data := os.read(self._fd, 65536):
                self.text += data.decode(errors="replace").replace("\r\n", "\n")
        except OSError:
            pass  # nothing more now, or the other side is closed
        return self.text
