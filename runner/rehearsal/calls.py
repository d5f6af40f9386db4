"""The id of a scripted call, and the complaint about one that nothing can make. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from runner.rehearsal.turns import Call, ShellCall, ToolCall

_FORM = re.compile(r"rh-([0-9a-f]+)-(\d+)-(\d+)-(\d+)-(\d+)")


class CallId(NamedTuple):
    """Which server made the call, for which of its requests and turns, and its index there. The agent
    hands the id back, so no state is kept.

    `step` counts the parts of one call: the steps of a patch, the times that the rest of a long output was
    asked for.
    """

    instance: str
    serial: int
    turn: int
    call: int
    step: int = 0

    def __str__(self) -> str:
        return f"rh-{self.instance}-{self.serial}-{self.turn}-{self.call}-{self.step}"

    @classmethod
    def parse(cls, text: str) -> CallId | None:
        """The call id in this text, if it is one of ours, of this server or an earlier one."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        serial, turn, call, step = (int(part) for part in match.groups()[1:])
        return cls(match[1], serial, turn, call, step)


class NotOffered(Exception):
    """The script calls something that the agent does not offer in this run."""

    def __init__(self, call: Call, offered: Iterable[str]) -> None:
        what = "a shell command" if isinstance(call, ShellCall) else "a patch"
        if isinstance(call, ToolCall):
            what = f"the tool `{call.name}` of the MCP server `{call.server}`"
            offered = (name for name in offered if name.startswith("mcp_"))
        names = ", ".join(offered) or "none"
        super().__init__(f"it calls {what}, which the agent does not offer; such tools: {names}")


def plain(name: str) -> str:
    """A tool's name with everything replaced that an identifier cannot have."""
    return re.sub(r"[^A-Za-z0-9]", "_", name)
