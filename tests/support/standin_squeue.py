"""Commands that answer as those of Slurm do, with what a test wrote down for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["StandinSlurm", "row"]

_PROGRAM = """#!/bin/sh
echo "$*" >> "{at}.calls"
/bin/cat "{at}.err" >&2
/bin/cat "{at}.out"
exit "$(/bin/cat "{at}.status")"
"""


def row(job_id: str, state: str, name: str, reason: str = "None", **fields: str) -> str:
    """A line of squeue."""
    has = {
        "node": "n1",
        "starts": "2026-11-28T20:06:29",
        "ends": "N/A",
        "status": "0",
        "restarts": "0",
    } | fields
    middle = (has["node"], has["starts"], has["ends"], has["status"], has["restarts"])
    return "|".join((job_id, state, reason, *middle, name, "\n"))


class StandinSlurm:
    """The cluster `c`, without jobs, until `says` changes that."""

    def __init__(self, folder: Path) -> None:
        self.bin, self._answers = folder / "bin", folder / "answers"
        for path in (self.bin, self._answers, folder / "home"):
            path.mkdir()
        self.env: Mapping[str, str] = {
            "PATH": str(self.bin),
            "HOME": str(folder / "home"),
        }
        self.says("scontrol", "ClusterName             = c\n")
        self.says("squeue", "")

    def says(self, program: str, out: str = "", err: str = "", status: int = 0) -> None:
        """From now on."""
        at = self._answers / program
        Path(f"{at}.out").write_text(out)
        Path(f"{at}.err").write_text(err)
        Path(f"{at}.status").write_text(str(status))
        if not (self.bin / program).exists():
            (self.bin / program).write_text(_PROGRAM.format(at=at))
            (self.bin / program).chmod(0o755)

    def calls(self, program: str) -> list[str]:
        """The words of each call, in their order."""
        path = Path(f"{self._answers / program}.calls")
        return path.read_text().splitlines() if path.exists() else []
