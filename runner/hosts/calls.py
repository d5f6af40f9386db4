"""What a host's call of a tool would do: edit files, run a command, something else. Pure."""

from __future__ import annotations

import os

from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_PLACES = {
    "Write": "file_path",
    "Edit": "file_path",
    "MultiEdit": "file_path",
    "NotebookEdit": "notebook_path",
}
"""The tools of Claude Code that edit a file, and what names it."""
_PATCH = "apply_patch"
_SHELLS = ("Bash", "Monitor")
"""Codex says `Bash`, too, whichever of its tools runs the command."""
PATCH_HEAD = "*** Begin Patch"
_HEADS = ("*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: ")
_MARKS = (PATCH_HEAD, "*** End Patch", "*** End of File")


class Edits(Value):
    """It changes these files. The paths are absolute, with no link followed."""

    paths: tuple[str, ...]


class ShellText(Value):
    """It gives this to a shell."""

    text: str


class OtherTool(Value):
    name: str


class Unreadable(Value):
    """It may change anything."""

    why: str


def read_call(tool: str, given: Mapping[str, Any], cwd: str) -> Edits | ShellText | OtherTool | Unreadable:
    """What the tool does with what it is `given`, in the folder `cwd`."""
    if tool in _PLACES:
        return _edits([given.get(_PLACES[tool])], cwd)
    if tool == _PATCH or (tool in _SHELLS and "command" in given):
        text = given.get("command")
        if not isinstance(text, str):
            return Unreadable("its command is no text")
        return ShellText(text) if tool in _SHELLS else _patch(text, cwd)
    return OtherTool(tool)


def _patch(text: str, cwd: str) -> Edits | Unreadable:
    """Codex takes heads that are indented, too. What only looks like one denies more, not less."""
    paths = []
    for line in text.split("\n"):
        bare = line.strip()
        head = next((head for head in _HEADS if bare.startswith(head)), None)
        if head is not None:  # what is no blank for Codex is part of its path
            paths.append(bare[len(head) :] if line.strip(" \t\r").isprintable() else "")
        elif bare.startswith("*** ") and bare not in _MARKS:
            return Unreadable("the patch has an unknown line that begins with `***`")
    return _edits(paths, cwd)


def _edits(paths: list[Any], cwd: str) -> Edits | Unreadable:
    """Whatever a host could read in another way than we do is no path."""
    for path in paths or [None]:
        if not isinstance(path, str) or not path:
            return Unreadable("it names no file")
        if path != path.strip() or path[0] == "~" or not path.isprintable():
            return Unreadable("its path has more than one meaning")
    if not os.path.isabs(cwd):
        return Unreadable("the host names no folder")
    return Edits(tuple(os.path.join(cwd, path) for path in paths))
