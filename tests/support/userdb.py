"""A password database of a test's own, in a mount namespace: nothing of the machine is changed."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

__all__ = ["own_database"]

_AS_ROOT = () if os.geteuid() == 0 else ("--map-root-user",)
_MOUNT = """
mount --bind "$0/passwd" /etc/passwd || exit
[ ! -e /etc/nsswitch.conf ] || mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf || exit
exec "$@"
"""
_PREFIX = ("unshare", "--mount", *_AS_ROOT, "--", "sh", "-c", _MOUNT)


def own_database(folder: Path, home: str | None) -> tuple[str, ...]:
    """What to put before a command, so that the user has this `home`, or no entry. The test is skipped where
    nobody may mount anything.
    """
    (folder / "passwd").write_text("" if home is None else f"root:x:0:0::{home}:/bin/sh\n")
    (folder / "nsswitch.conf").write_text("passwd: files\n")  # systemd would know root without an entry
    if not _can_mount(folder):
        pytest.skip("a mount namespace needs root, or user namespaces")
    return (*_PREFIX, str(folder))


@cache
def _can_mount(folder: Path) -> bool:
    return subprocess.run([*_PREFIX, str(folder), "true"], capture_output=True, check=False).returncode == 0
