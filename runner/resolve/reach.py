"""What a sandbox can write, against what runner executes or obeys: what is in both is shielded. Pure.

Whatever runner still needs after an agent has begun must not be the agent's to change. Such a path is made
read-only for the agent (`state.guard`), or, where that is impossible, the run is not started. All paths here
are absolute, with links followed; whoever calls has looked at the disk.
"""

from __future__ import annotations

import os

from runner.model import Level
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runner.model import Sandbox


class Obeyed(Value):
    """One thing that runner executes or obeys after a start."""

    what: str
    path: str
    links: tuple[str, ...] = ()
    """Symbolic links on the way to it: who can replace one of them needs no right to the thing itself."""
    is_file: bool = False
    """What kind of thing has to be made where there is none yet: an absent path cannot be protected."""


class Shield(Value):
    """What keeps the agent from what runner obeys."""

    read_only: tuple[Obeyed, ...] = ()
    held: tuple[str, ...] = ()
    """Folders above those, in which the agent may write: it must not put another one in the place of one."""
    own_temp: bool = False
    """The run gets temporary files of its own, since something lies where everybody has them."""
    in_temp: tuple[Obeyed, ...] = ()
    """What lies there, for a program that keeps one of these folders open by itself."""
    exposed: tuple[Obeyed, ...] = ()
    """What cannot be kept from the agent: it or something in it is given to it by name, it is behind a link
    there, or no guard can name it.
    """


def roots(sandbox: Sandbox, cwd: str, temps: Sequence[str]) -> tuple[str, ...]:
    """The folders that a run with this sandbox can write in; `temps` are those for temporary files."""
    if sandbox.level is Level.READ_ONLY:
        return ()
    if sandbox.level is Level.DANGER:
        return ("/",)
    return tuple(dict.fromkeys((cwd, *sandbox.writable, *temps)))


def shield(sandbox: Sandbox, cwd: str, temps: Sequence[str], obeyed: Sequence[Obeyed]) -> Shield:
    """What a run in `cwd` needs. Nothing at all where it may write nothing, and where it may write
    everything: there, only its user could keep anything from it.
    """
    if sandbox.level is not Level.WORKSPACE_WRITE:
        return Shield()
    places = [cwd, *(path for one in obeyed for path in (one.path, *one.links))]
    own_temp = any(is_inside(path, temp) for path in places for temp in temps)
    writable = roots(sandbox, cwd, () if own_temp else temps)
    found = [one for one in obeyed if any(is_inside(one.path, root) for root in writable)]
    found = [one for one in found if not _is_git(one, writable)]
    # No guard keeps from an agent what it was given, nor what that lies in, as `hooks` in `.git`. (The folder
    # of the run may lie in one: work trees stand in our state.)
    exposed = [one for one in obeyed if any(is_inside(given, one.path) for given in sandbox.writable)]
    exposed += [
        one for one in found if one not in exposed and (one.path in writable or not _is_nameable(one.path))
    ]
    read_only = _outermost([one for one in found if one not in exposed])
    covered = [one.path for one in read_only]
    exposed += [one for one in obeyed if one not in exposed and _is_replaceable(one, writable, covered)]
    held = dict.fromkeys(
        folder
        for path in sorted(covered)
        for root in writable
        for folder in _between(root, path)
        if folder not in writable
    )
    in_temp = [one for one in obeyed if any(is_inside(one.path, temp) for temp in temps)]
    in_temp = [one for one in in_temp if not any(is_inside(root, one.path) for root in writable)]
    return Shield(tuple(read_only), tuple(held), own_temp, tuple(in_temp), tuple(exposed))


def is_inside(path: str, folder: str) -> bool:
    """Whether it is the folder or something in it."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _is_nameable(path: str) -> bool:
    """Whether a `.git` file can name it: who reads one drops blanks at its end."""
    return path == path.rstrip()


def _is_git(one: Obeyed, writable: Iterable[str]) -> bool:
    """A program with `guards` itself protects `.git` directly in a folder that its agent may write."""
    return any(one.path == os.path.join(root, ".git") for root in writable)


def _outermost(found: Iterable[Obeyed]) -> list[Obeyed]:
    kept: list[Obeyed] = []
    for one in sorted(found, key=lambda one: one.path.split("/")):
        if not kept or not is_inside(one.path, kept[-1].path):
            kept.append(one)
    return kept


def _is_replaceable(one: Obeyed, writable: Iterable[str], covered: Sequence[str]) -> bool:
    """Whether the agent could put another link in the place of one of those that lead to it."""
    return any(
        is_inside(link, root)
        for link in one.links
        if not any(is_inside(link, path) for path in covered)
        for root in writable
    )


def _between(root: str, path: str) -> Iterator[str]:
    """The folders below `root` and above `path`, the outermost first."""
    if not is_inside(path, root):
        return
    parts = os.path.relpath(path, root).split("/")
    for n in range(1, len(parts)):
        yield os.path.join(root, *parts[:n])
