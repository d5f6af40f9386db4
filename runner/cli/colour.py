"""Colour, only where a terminal shows it."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_CODES = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
OURS = f"\x1b{os.urandom(8).hex()}["
"""How a colour of ours begins until the pen writes it. Drawn anew by each process, so no foreign text has it:
of all the sequences in a text, the pen keeps these.
"""


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """Coloured where `stream` is a terminal and NO_COLOR is not set (https://no-color.org)."""
    stream = sys.stdout if stream is None else stream
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return text
    return f"{OURS}{_CODES[colour]}m{text}{OURS}0m"
