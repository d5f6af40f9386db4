"""A job of GitLab as its shell executor carries it out: a shell for the script, one for `after_script`."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

__all__ = ["Ended", "fits", "job", "play"]

_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")


class Ended(NamedTuple):
    status: int
    log: str
    after: str


def job(file: Path, name: str) -> dict[str, Any]:
    about: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))[name]
    unknown = set(about) - {"image", "variables", "before_script", "script", "after_script", "artifacts"}
    assert not unknown, f"keys of a job: {unknown}"
    return about


def fits(path: str, pattern: str) -> bool:
    """As GitLab reads a pattern of artifacts: `**` is any number of folders, none too."""
    parts = re.split(r"(\*\*/|\*)", pattern)
    known = {"**/": "(?:.*/)?", "*": "[^/]*"}
    return re.fullmatch("".join(known.get(part, re.escape(part)) for part in parts), path) is not None


def play(about: Mapping[str, Any], folder: Path, env: Mapping[str, str], *, installs: bool) -> Ended:
    """`env` has the variables of the job, which win over those of the file. The end of the script does not
    matter for what comes after it, and the end of that for nothing.
    """
    whole = {**about["variables"], **env}
    for name in about["variables"]:
        whole[name] = _VARIABLE.sub(lambda match: whole.get(match[1] or match[2], ""), whole[name])
    lines = [*(about["before_script"] if installs else ()), *about["script"]]
    script = _shell(lines, folder, whole)
    after = _shell(about["after_script"], folder, whole)
    return Ended(script.returncode, script.stdout, after.stdout)


def _shell(lines: Sequence[str], folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash"],
        input="\n".join(("set -eo pipefail", *(f"{{\n{line}\n}} < {os.devnull}" for line in lines), "")),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=env,
        text=True,
        timeout=240,
        check=False,
    )
