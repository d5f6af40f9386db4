"""What the node of a job carries out: a script of `sh` that becomes a program of ours there."""

from __future__ import annotations

import os
import shlex

from runner.disk import home, interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NODE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "supervise", "node.py")
_SCRIPT = """#!/bin/sh
{first}XDG_STATE_HOME={state}
export XDG_STATE_HOME
exec {command}
"""


def node_command(run_path: str) -> tuple[str, ...]:
    """The program that owns a run on its node."""
    return interpreter.command(_NODE, run_path)


def job_script(env: Mapping[str, str], words: Sequence[str], first: str = "") -> str:
    """It becomes `words`. `env` says where the user's state is."""
    return _SCRIPT.format(
        first=first,
        state=shlex.quote(os.path.dirname(home.state(env))),
        command=shlex.join(words),
    )
