"""What a handoff may refer to: files of the repository. Edge: disk, reading."""

from __future__ import annotations

import os

from runner.ledger.entry import MAX_ITEMS, MAX_LINE, EntryInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def references(repo: str, refs: Sequence[str]) -> list[str]:
    """Paths relative to the repository, with a line or a part behind `:` or `#` where they have one.
    EntryInvalid for what leads out of it.
    """
    if len(refs) > MAX_ITEMS or any(len(ref) > MAX_LINE for ref in refs):
        raise EntryInvalid(f"at most {MAX_ITEMS} references, each of at most {MAX_LINE} characters")
    found = []
    for ref in refs:
        path, mark, part = _split(ref)
        inner, whole = _inner(repo, path), _inner(repo, ref)  # a name can have the mark in it
        if not path or inner is None or whole is None:
            raise EntryInvalid(f"the reference {ref[:200]!r} leads out of the repository")
        found.append(f"{inner}{mark}{part}")
    return found


def _inner(repo: str, path: str) -> str | None:
    """The path relative to the repository; None for one that leads out."""
    full, root = os.path.normpath(os.path.join(repo, path)), os.path.realpath(repo)
    try:
        real = os.path.realpath(full)
    except ValueError:  # NUL, or half a character
        return None
    inner = os.path.relpath(full, root if full.startswith(f"{root}/") else repo)
    is_inside = inner.split("/")[0] != ".." and (real == root or real.startswith(f"{root}/"))
    return inner if is_inside else None


def _split(ref: str) -> tuple[str, str, str]:
    for mark in ("#", ":"):
        path, found, part = ref.partition(mark)
        if found:
            return path, found, part
    return ref, "", ""
