"""Tells at once that a name in a folder was replaced or removed, without looking again and again.

By dnotify, a signal of the kernel: Python's standard library has no inotify(7), and ctypes would cost more
than a short wait. https://docs.kernel.org/filesystems/dnotify.html
"""

from __future__ import annotations

import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_KINDS = fcntl.DN_RENAME | fcntl.DN_DELETE | fcntl.DN_MULTISHOT


class Renames:
    """`close` it, whatever `watch` returned: SIGIO and Python's wakeup descriptor are as before then. A
    Ctrl-C at any line leaves neither a wakeup descriptor that is another's by then, nor a SIGIO that ends us.
    """

    def __init__(self) -> None:
        self._fds: list[int] = []
        self._before: tuple[Any, Any] | None = None

    def watch(self, folders: Iterable[str]) -> int | None:
        """A pipe that has something to read after a change (and after any signal). None where nothing would
        tell: outside of the main thread, where the program itself uses what this needs, where the kernel or
        a folder refuses, and where no descriptor is left.
        """
        import _signal  # type: ignore[import-not-found]  # built into Python; typeshed has no stub

        fds: list[int] = []
        handler = _signal.getsignal(_signal.SIGIO)
        try:
            if handler not in (_signal.SIG_DFL, _signal.SIG_IGN):
                return None
            fds.extend(os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
            others = _signal.set_wakeup_fd(fds[1], warn_on_full_buffer=False)
            if others != -1:
                _signal.set_wakeup_fd(others, warn_on_full_buffer=False)
                os.write(others, os.read(fds[0], 512))  # OSError: none came meanwhile
                raise OSError
            self._before = handler, _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
            self._fds = fds
            _signal.signal(_signal.SIGIO, lambda *_: None)
            _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGIO,))
            for folder in folders:
                fds.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
                fcntl.fcntl(fds[-1], fcntl.F_NOTIFY, _KINDS)
            return fds[0]
        except (OSError, ValueError):  # ValueError: it is another thread
            self._fds = fds
            self.close()
            return None

    def close(self) -> None:
        import _signal

        if self._before is not None:
            _signal.set_wakeup_fd(-1)
        while self._fds:
            os.close(self._fds.pop())
        if self._before is not None:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, self._before[1])
            _signal.signal(_signal.SIGIO, self._before[0])
            self._before = None
