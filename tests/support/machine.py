"""A machine within this one, as root: a host name, process numbers and a boot id of its own, by namespaces.

Files are the same ones as outside, as on a shared file system, unless they are hidden.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from support.processes import Seen, below, every_process, kill, look
from support.waiting import wait_until

__all__ = ["Machine", "ends_with_us", "why_no_machines"]

_INIT = Path(__file__).with_name("machine_init.py")
_ALONE = ("--uts", "--pid", "--mount")
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


@functools.cache
def why_no_machines() -> str | None:
    """What speaks against machines within this one; None where nothing does."""
    words = ("unshare", *_ALONE, "--net", "--fork", "--kill-child", "--mount-proc", "true")
    tried = subprocess.run(words, capture_output=True, text=True)
    return None if tried.returncode == 0 else f"this machine makes no namespaces: {tried.stderr.strip()}"


class Machine:
    """Runs programs in its namespaces; ends all of them with its first process, as the kernel does."""

    def __init__(
        self,
        folder: Path,
        name: str,
        own_network: bool = False,
        hidden: Sequence[Path | str] = (),
    ) -> None:
        """Folders in `hidden` are empty there, and what is written into them stays there."""
        self.name = name
        self.home = folder / "home"
        """Of root, for a login there: not the real one."""
        self.boot_id = ""
        self._folder = folder
        self._namespaces = (*_ALONE, *(("--net",) if own_network else ()))
        self._hidden = [str(path) for path in hidden]
        self._unshare: subprocess.Popen[bytes] | None = None
        self._first: Seen | None = None

    @property
    def first(self) -> Seen:
        """Its process 1, as seen from outside."""
        assert self._first is not None, f"machine {self.name} was not started"
        return self._first

    def start(self) -> None:
        """With a boot id that it never had before."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.boot_id = str(uuid.uuid4())
        (self._folder / "boot_id").write_text(f"{self.boot_id}\n")
        (self._folder / "proc").mkdir(exist_ok=True)
        self.home.mkdir(exist_ok=True)
        (self._folder / "passwd").write_text(_passwd(self.home))
        binds = {_BOOT_ID: self._folder / "boot_id", "/etc/passwd": self._folder / "passwd"}
        words = [f"{own}={place}" for place, own in binds.items()] + self._hidden
        unshare = ("unshare", *self._namespaces, "--fork", "--kill-child", "--mount-proc", "--")
        proc = str(self._folder / "proc")
        with (self._folder / "said").open("wb") as said:
            self._unshare = subprocess.Popen(
                ends_with_us(*unshare, sys.executable, "-I", "-S", str(_INIT), self.name, proc, *words),
                # Not what a test has set for itself: a machine may outlive it.
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
            )
        ready = self._unshare.stdout.readline() if self._unshare.stdout is not None else b""
        assert ready == b"ready\n", f"no machine {self.name}: {(self._folder / 'said').read_text()}"
        (self._first,) = below(self._unshare.pid)

    def within(self, *argv: str) -> list[str]:
        """The command line that runs `argv` there, in the folder `/`."""
        return ["nsenter", f"--target={self.first.pid}", *self._namespaces, "--", *argv]

    def run(self, *argv: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.within(*argv), capture_output=True, text=True, timeout=timeout)

    def processes(self) -> list[Seen]:
        """All that is alive there, in namespaces of its own too; not its process 1."""
        if self._first is None or not self._first.is_still_there():
            return []
        here = _namespace(self._first.pid)
        found = {one.pid: one for one in every_process() if _namespace(one.pid) == here}
        for one in [*found.values()]:
            found.update({child.pid: child for child in below(one.pid)})
        del found[self._first.pid]
        return [*found.values()]

    def stop(self) -> None:
        """Everything there is gone afterwards."""
        if self._unshare is None:
            return
        if self._first is not None:
            kill(self._first)
        self._unshare.wait(30)
        if self._unshare.stdout is not None:
            self._unshare.stdout.close()
        if self._first is not None:
            first = self._first
            wait_until(
                lambda: look(first.pid) is None or not first.is_still_there(), what="the end of a machine"
            )
        self._unshare = self._first = None


def ends_with_us(*argv: str) -> list[str]:
    """The command line that runs `argv` until this process ends, even with SIGKILL."""
    return ["setpriv", "--pdeathsig=KILL", "--", *argv]


def _passwd(home: Path) -> str:
    lines = Path("/etc/passwd").read_text().splitlines(keepends=True)
    others = [line for line in lines if not line.startswith("root:")]
    return "".join([f"root:x:0:0:root:{home}:/bin/bash\n", *others])


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""  # gone
