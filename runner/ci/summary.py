"""Markdown for the summary of a step of GitHub, which takes 1 MiB or, of more, nothing. Pure."""

from __future__ import annotations

from runner.text.words import count, few

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 900_000
"""Bytes of a whole summary, with what other steps have put there."""
_NOTE = 500
"""Bytes that the last line may take."""


def joined(texts: Sequence[tuple[str, str]], before: int = 0) -> str:
    """The Markdown of runs, by their ids, behind `before` bytes. What does not fit is left out from the end
    of a line on that is in no fence, and a last line says how much that is and where it is. "" without room.
    """
    lines: list[str] = []
    ends, room, fence, kept = [], MOST - _NOTE - before, "", 0
    for run_id, text in texts:
        lines += [*([""] if lines else []), *text.removesuffix("\n").split("\n")]
        ends.append((len(lines), run_id))
    for n, line in enumerate(lines, 1):
        room -= len(line.encode(errors="replace")) + 1
        if room < 0:
            break
        if not fence and line.startswith("```") and line.endswith("`text"):
            fence = line.removesuffix("text")
        elif line == fence:
            fence = ""
        kept = kept if fence else n
    if kept == len(lines):
        return "\n".join([*lines, ""])
    if not kept:
        return ""
    where = few([f"`runner report {run_id}`" for end, run_id in ends if end > kept])
    return "\n".join([*lines[:kept], "", f"{count(len(lines) - kept, 'more line')}: {where}", ""])
