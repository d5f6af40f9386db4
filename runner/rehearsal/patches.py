"""A patch as the steps of an agent that has no tool for patches: write, replace, or a command. Pure."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple, TypeAlias

from runner.rehearsal.turns import PatchCall, ShellCall


class Write(NamedTuple):
    path: str
    text: str


class Replace(NamedTuple):
    path: str
    old: str
    new: str


Step: TypeAlias = Write | Replace | ShellCall


def steps(patch: PatchCall) -> list[Step]:
    """What the sections of the patch do, in their order."""
    made: list[Step] = []
    source = ""
    for section in re.split(r"^(?=\*\*\* )", patch.text, flags=re.M):
        head, _, body = section.partition("\n")
        verb, _, path = head.removeprefix("*** ").partition(": ")
        if verb == "Add File":
            made.append(Write(path, "".join(line[1:] for line in body.splitlines(keepends=True))))
        elif verb == "Delete File":
            made.append(ShellCall(f"rm -- {shlex.quote(path)}"))
        else:  # an update, or what belongs to the one before
            source = path if verb == "Update File" else source
            made += _hunks(source, body)
            if verb == "Move to":
                made.append(ShellCall(f"mv -- {shlex.quote(source)} {shlex.quote(path)}"))
    return made


def _hunks(path: str, body: str) -> list[Step]:
    first, *parts = re.split(r"^@@ ?(.*)\n", body, flags=re.M)
    hunks = [("", first), *zip(parts[::2], parts[1::2], strict=True)]
    return [_hunk(path, header, lines.splitlines(keepends=True)) for header, lines in hunks if lines]


def _hunk(path: str, header: str, lines: list[str]) -> Step:
    old = "".join(_bare(line) for line in lines if line[0] in " -\n")
    new = "".join(_bare(line) for line in lines if line[0] in " +\n")
    if not old and not header:
        return ShellCall(f"printf %s {shlex.quote(new)} >> {shlex.quote(path)}")
    if not old:
        old, new = f"{header}\n", f"{header}\n{new}"
    if new.endswith("\n"):  # the last line of a file may lack its end
        old, new = old.removesuffix("\n"), new.removesuffix("\n")
    return Replace(path, old, new)


def _bare(line: str) -> str:
    """Without its sign; a line that is quite empty is one of the context whose blank was lost."""
    return line if line == "\n" else line[1:]
