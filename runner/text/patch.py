"""The lines of a patch as git makes it: what each is. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def lines(patch: str) -> Iterator[tuple[str, str]]:
    """Each line with what it is: `head` (of a file), `hunk`, `+`, `-`, or a blank for the rest. A hunk says
    how many lines it has, so what stands in a file is never taken for more than that.
    """
    old = new = 0
    for line in patch.removesuffix("\n").split("\n") if patch else ():
        sign = line[:1]
        if sign == "\\":
            yield " ", line
        elif old > 0 or new > 0:
            old, new = old - (sign != "+"), new - (sign != "-")
            yield (sign if sign in ("+", "-") else " "), line
        else:
            old, new = _sizes(line)
            is_head = " " in line  # unlike the data of a binary file
            yield ("hunk" if old or new else "head" if is_head else " "), line


def _sizes(line: str) -> tuple[int, int]:
    """Of a hunk, how many lines it has of the old file and of the new one."""
    words = line.split(" ", 4)
    if len(words) < 4 or words[0] != "@@" or words[3] != "@@":
        return 0, 0
    old, new = (word[1:].partition(",")[2] or "1" for word in words[1:3])
    return (int(old), int(new)) if (old + new).isdecimal() and len(old + new) < 40 else (0, 0)
