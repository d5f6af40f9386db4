"""The open set of agent CLIs: a new one is a module and a line here."""

from __future__ import annotations

import sys

from runner.errors import ConfigInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import cast

    from runner.runtimes.base import Runtime
else:

    def cast(_: object, value: object) -> object:
        return value


NAMES: Mapping[str, tuple[str, ...]] = {
    "codex": ("CODEX_HOME", "CODEX_CA_CERTIFICATE"),
    "kay": ("KAY_HOME",),
    "claude": ("CLAUDE_CONFIG_DIR",),
    "gemini": (),
}
"""Each runtime, and the variables that its program needs besides the usual ones, such as its home. Every
child gets all of them: it may start a run of another runtime.
"""
PLAN = "plan"
"""Our own conductor, the program of a plan's run. No task can name it."""


def get(name: str) -> Runtime:
    """The runtime of that name, importing only its module; ConfigInvalid for an unknown one."""
    if name not in (*NAMES, PLAN):
        raise ConfigInvalid(f"unknown runtime `{name}`", hint=f"one of: {', '.join(NAMES)}")
    module = f"runner.runtimes.{name}"
    __import__(module)  # `importlib` would bring `warnings` along
    return cast("Runtime", sys.modules[module].RUNTIME)
