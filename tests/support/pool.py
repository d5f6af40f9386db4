"""Hosts that are reached by ssh, for an executor of kind `ssh`: `Pool`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from support.sshd import SshHost

__all__ = ["Pool"]


class Pool:
    """While it is used, `ssh` on PATH knows the names of its hosts, as a user's own settings do."""

    def __init__(self, folder: Path, number: int = 2, hidden: Sequence[Path] = ()) -> None:
        # /var/tmp is of the host alone, as it is where machines are machines.
        self.hosts = [SshHost(folder / f"host{n}", hidden=["/var/tmp", *hidden]) for n in range(number)]
        self.names = tuple(host.name for host in self.hosts)
        self.programs = folder / "bin"
        self._config = folder / "ssh_config"

    def start(self) -> None:
        for host in self.hosts:
            host.start()
        settings = "".join(host.config.read_text() for host in self.hosts)
        self._config.write_text(settings.replace("ConnectTimeout 3", "ConnectTimeout 1"))
        self.programs.mkdir()
        self.program(f'exec /usr/bin/ssh -F {self._config} "$@"')

    def program(self, script: str) -> None:
        """What `ssh` is from now on: a script of sh."""
        path = self.programs / "ssh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    @property
    def path(self) -> str:
        return os.pathsep.join((str(self.programs), os.environ["PATH"]))

    def stop(self) -> None:
        for host in self.hosts:
            host.stop()
