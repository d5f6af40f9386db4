"""Call ids that carry their purpose: Codex returns them, so no state is kept. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_FORM = re.compile(r"rh-([0-9a-f]+)-(\d+)-(\d+)-(\d+)-(\d+)")


class CallId(NamedTuple):
    """Which server made the call, for which of its requests and turns, and the how-manieth it is.

    `step` counts the times that the rest of a long output was asked for.
    """

    instance: str
    serial: int
    turn: int
    call: int
    step: int = 0

    def __str__(self) -> str:
        return f"rh-{self.instance}-{self.serial}-{self.turn}-{self.call}-{self.step}"


def parse(text: str) -> CallId | None:
    """The call id in this text, if it is one of ours, of this server or an earlier one."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    serial, turn, call, step = (int(part) for part in match.groups()[1:])
    return CallId(match[1], serial, turn, call, step)
