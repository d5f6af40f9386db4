"""Files that a page of the documentation shows."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["example_files"]

_FILE = re.compile(r"`([\w./-]+)`[^`\n]*:\n\n```[a-z]+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def example_files(page: Path) -> dict[str, str]:
    """Path -> content of every block whose line above it names a file and ends in a colon."""
    return dict(_FILE.findall(page.read_text(encoding="utf-8")))
