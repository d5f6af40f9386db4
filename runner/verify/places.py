"""Where a review finding points: whether that is there, and what stands there. Edge: disk.

An agent named the file: no link leads out of the tree, only a plain file is opened, and reading is bounded.
"""

from __future__ import annotations

import os

from runner.disk.files import read
from runner.verify.inspect import relative

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from runner.verify.review import ReviewFinding

_LARGEST = 1 << 22


def placed(findings: Iterable[ReviewFinding], root: str) -> tuple[ReviewFinding, ...]:
    """The same with the `place` of each, and its file as seen from `root`, the folder of the agent."""
    lines: dict[str, int | None] = {}
    return tuple(
        one.replace(place=place, file=one.file if place in ("outside", "none") else relative(one.file, root))
        for one in findings
        for place in (_place(one, root, lines),)
    )


def text_of(root: str, path: str) -> str | None:
    """The text of a file in the tree; None where there is none, or more than anybody quotes from."""
    if (real := _real(path, root)) is None:
        return None
    try:
        data = read(real, _LARGEST + 1)
    except OSError:
        return None
    return None if len(data) > _LARGEST else data.decode(errors="replace")


def of_project(root: str, path: str) -> str | None:
    """Where the file that is meant lies in the tree; None for what git and runner keep there for themselves:
    in it stands what agents have said.
    """
    real = _real(path, root)
    file = None if real is None else relative(real, os.path.realpath(root))
    return None if file is None or {".git", ".runs"} & {*file.casefold().split("/")} else file


def _place(one: ReviewFinding, root: str, lines: dict[str, int | None]) -> str | None:
    real = _real(one.file, root)
    if real is None:
        return "outside" if one.file else "none"
    if not os.path.isfile(real):
        return "found" if one.line is None and os.path.isdir(real) else "no_file"
    if one.line is None:
        return "found"
    if real not in lines:
        text = text_of(os.path.realpath(root), real)
        lines[real] = None if text is None else text.count("\n") + (text[-1:] not in ("", "\n"))
    if (last := lines[real]) is None:
        return None
    return "found" if 1 <= one.line <= last else "no_line"


def _real(path: str, root: str) -> str | None:
    """What the path means; None where it, or a link on its way, leads out of `root`."""
    if "\0" in path or (file := relative(path, root)) is None:
        return None
    real = os.path.realpath(os.path.join(root, file))
    return None if relative(real, os.path.realpath(root)) is None else real
