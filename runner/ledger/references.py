"""What a handoff may refer to: files of the repository. Edge: disk, reading."""

from __future__ import annotations

import os

from runner.ledger.entry import EntryInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def references(repo: str, refs: Sequence[str]) -> list[str]:
    """Paths relative to the repository, with a line or a part behind `:` or `#` where they have one.
    EntryInvalid for what leads out of it.
    """
    root = os.path.realpath(repo)
    found = []
    for ref in refs:
        path, mark, part = _split(ref)
        full = os.path.normpath(os.path.join(repo, path))
        inner = os.path.relpath(full, repo)
        real = os.path.realpath(full)
        is_inside = not inner.startswith("..") and (real == root or real.startswith(f"{root}/"))
        if not path or "\0" in ref or not is_inside:
            raise EntryInvalid(f"the reference {ref[:200]!r} leads out of the repository")
        found.append(f"{inner}{mark}{part}")
    return found


def _split(ref: str) -> tuple[str, str, str]:
    for mark in ("#", ":"):
        path, found, part = ref.partition(mark)
        if found:
            return path, found, part
    return ref, "", ""
