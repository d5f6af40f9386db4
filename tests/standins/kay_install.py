"""Puts the stand-in for the Kay CLI into a folder, so that the folder can be put on PATH."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["install_kay"]

PROGRAM = Path(__file__).resolve().parent / "kay"
GENERATIONS = ("0.9.17", "0.9.46")
_LONGEST_SHEBANG = 120


def install_kay(directory: Path, *, generation: str = "0.9.46", name: str = "kay") -> Path:
    """An executable `directory/name` that plays this generation of Kay.

    Kay also installs itself as code, coder and codex: give one of these names for the collision.
    """
    if generation not in GENERATIONS:
        raise ValueError(f"generation must be one of {', '.join(GENERATIONS)}, not {generation!r}")
    directory.mkdir(parents=True, exist_ok=True)
    launcher = directory / name
    launcher.write_text(_launcher(generation), encoding="utf-8")
    launcher.chmod(0o755)
    return launcher


def _launcher(generation: str) -> str:
    first = f"#!{sys.executable} -I"
    if " " in sys.executable or len(first) > _LONGEST_SHEBANG:
        # The kernel cannot run such an interpreter; a shell can, and Python reads it as a string.
        first = f"#!/bin/sh\n'''exec' \"{sys.executable}\" -I \"$0\" \"$@\"\n' '''"
    return (
        f"{first}\n"
        "import sys\n"
        f"sys.path.insert(0, {str(PROGRAM)!r})\n"
        "from kay import main\n"
        f"raise SystemExit(main(sys.argv[1:], generation={generation!r}))\n"
    )
