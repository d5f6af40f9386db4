"""A real sshd on a machine within this one, at the other end of a cable: `SshHost`.

Debian's package `openssh-server` is all it needs, with root, namespaces and `ip` of iproute2.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support.machine import Machine
from support.processes import Seen
from support.waiting import wait_until

__all__ = ["SshHost", "missing_for_ssh"]

_PROGRAMS = ("sshd", "ssh", "ssh-keygen", "ip", "unshare", "nsenter")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_PORT = 22


def missing_for_ssh() -> str | None:
    """Why there can be no such host here; None where there can."""
    lacks = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    if lacks:
        return f"no {', '.join(lacks)}: `apt-get install openssh-server openssh-client iproute2` brings them"
    if os.geteuid() != 0:
        return "a host of the tests needs root, for its namespaces"
    return None


class SshHost:
    """`ssh -F host.config host.name` reaches root there, whose home is `host.home`."""

    def __init__(self, folder: Path, name: str | None = None, hidden: Sequence[Path | str] = ()) -> None:
        """Folders in `hidden` are empty there, and what is written into them stays there."""
        self.folder = folder
        self.name = name or f"far-{secrets.token_hex(3)}"
        self.config = folder / "ssh_config"
        third, fourth = 1 + secrets.randbelow(254), 4 * secrets.randbelow(63)
        network = f"10.{64 + secrets.randbelow(128)}.{third}."
        self._near, self.address = f"{network}{fourth + 1}", f"{network}{fourth + 2}"
        self._cable = f"t{secrets.token_hex(5)}"
        self._machine = Machine(
            folder / "machine",
            self.name,
            own_network=True,
            hidden=["/run", *hidden],
        )
        self._sshd: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        return self._machine.home

    @property
    def boot_id(self) -> str:
        return self._machine.boot_id

    def start(self) -> None:
        """Returns when it can be reached."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for key in ("host_key", "user_key"):
            _tell("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", f"{self.folder}/{key}")
        shutil.copy(self.folder / "user_key.pub", self.folder / "authorized_keys")
        public = (self.folder / "host_key.pub").read_text()
        (self.folder / "known_hosts").write_text(f"{self.name},{self.address} {public}")
        self._write_settings()
        self._machine.start()
        self._plug_in_cable()
        self.start_sshd()

    def stop(self) -> None:
        """Ends sshd and all that was started over it; the cable goes with its end there."""
        self._machine.stop()
        if self._sshd is not None:
            self._sshd.wait(15)
            self._sshd = None
        cable = Path(f"/sys/class/net/{self._cable}")
        wait_until(lambda: not cable.exists(), what="the end of the cable")

    def start_sshd(self) -> None:
        words = ["sh", "-c", 'mkdir -p /run/sshd && exec "$@"', "sh", "/usr/sbin/sshd"]
        with (self.folder / "sshd.log").open("ab") as log:
            self._sshd = subprocess.Popen(
                self._machine.within(*words, "-D", "-e", "-f", f"{self.folder}/sshd_config"),
                env={"PATH": _PATH, "LANG": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: self.run("true").returncode == 0, what=f"sshd of {self.name}")

    def reboot(self) -> None:
        """Everything that ran there is gone, and its boot id is another one."""
        self.stop()
        self._machine.start()
        self._plug_in_cable()
        self.start_sshd()

    def unplug(self) -> None:
        """It answers nothing any more, and what runs there runs on."""
        self._there("ip", "link", "set", "eth0", "down")

    def plug(self) -> None:
        """The cable is back; returns when the host answers again."""
        self._there("ip", "link", "set", "eth0", "up")
        wait_until(lambda: self.run("true").returncode == 0, what=f"{self.name} back on its cable")

    def command(self, *argv: str) -> list[str]:
        return ["ssh", "-F", str(self.config), self.name, *argv]

    def run(self, *argv: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """A command there, by ssh: the shell there reads the words again."""
        return subprocess.run(self.command(*argv), capture_output=True, text=True, timeout=timeout)

    def processes(self) -> list[Seen]:
        """All that is alive there, sshd with it."""
        return self._machine.processes()

    def _there(self, *argv: str) -> None:
        done = self._machine.run(*argv)
        assert done.returncode == 0, f"{argv}: {done.stderr}"

    def _plug_in_cable(self) -> None:
        # No host answers for the address while this one is unplugged: the neighbour is told, not asked for.
        far = ":".join(["02", *(secrets.token_hex(1) for _ in range(5))])
        _tell(
            *("ip", "link", "add", self._cable, "type", "veth"),
            *("peer", "name", "eth0", "address", far, "netns", str(self._machine.first.pid)),
        )
        self._there("ip", "link", "set", "lo", "up")
        self._there("ip", "address", "add", f"{self.address}/30", "dev", "eth0")
        self._there("ip", "link", "set", "eth0", "up")
        _tell("ip", "address", "add", f"{self._near}/30", "dev", self._cable)
        _tell("ip", "link", "set", self._cable, "up")
        _tell(
            "ip", "neighbour", "replace", self.address, "lladdr", far, "dev", self._cable, "nud", "permanent"
        )

    def _write_settings(self) -> None:
        at = self.folder
        (at / "sshd_config").write_text(
            f"Port {_PORT}\nListenAddress {self.address}\nHostKey {at}/host_key\nPidFile none\n"
            f"AuthorizedKeysFile {at}/authorized_keys\nPermitRootLogin yes\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nUsePAM no\nUseDNS no\nStrictModes no\nPrintMotd no\n"
            "MaxStartups 200\nMaxSessions 200\nAcceptEnv RUNNER_*\n"
            "Subsystem sftp internal-sftp\n"
        )
        self.config.write_text(
            f"Host {self.name}\n  HostName {self.address}\n  Port {_PORT}\n  User root\n"
            f"  IdentityFile {at}/user_key\n  IdentitiesOnly yes\n  IdentityAgent none\n"
            f"  UserKnownHostsFile {at}/known_hosts\n  GlobalKnownHostsFile /dev/null\n"
            "  StrictHostKeyChecking yes\n  PasswordAuthentication no\n  BatchMode yes\n"
            "  ConnectTimeout 3\n  LogLevel ERROR\n"
        )


def _tell(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, "PATH": _PATH}, timeout=30)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
