"""Whether something in the place of a folder keeps the commands of a run from running: then a start is
refused. Edges: disk, git, processes.

Codex makes some names of a folder read-only, and where one of them is a link it can make no sandbox. Nor can
it where it is given a folder that is not there. The run would be paid for, and end well, without a command.
Whoever has nothing of that pays for the lists of these folders.
"""

from __future__ import annotations

import os

from runner import runtimes
from runner.errors import NotReady
from runner.usecases.workplace import committed_links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.model import Program
    from runner.resolve.choose import Choice
    from runner.runtimes.base import Fence


def refuse_where_none_runs(choice: Choice, program: Program, fence: Fence, env: Mapping[str, str]) -> None:
    """NotReady, with the repair, where the program itself says so."""
    runtime, sandbox, root = runtimes.get(choice.runtime), choice.sandbox, choice.config.root
    tried = runtime.sandbox_trial(program, choice.settings, sandbox, fence)
    if tried is None:
        return
    fence = fence.replace(held=tuple(filter(os.path.isdir, fence.held)))  # the others are made later
    is_apart = choice.task.workspace == "worktree"
    here = committed_links(root) if is_apart else _links(root)
    hidden = tuple(name for name in here if name.startswith("."))  # which of them matter, the program knows
    if not hidden and all(map(_is_usual, (*sandbox.writable, *fence.held))):
        return
    from runner.runtimes import exam

    links = hidden if is_apart else ()
    use = exam.Use(choice.task.id, choice.model, sandbox, is_apart=is_apart, links=links, fence=fence)
    found = exam.place(choice.config, choice.settings, use, program, env)
    if found is not None and found.verdict is exam.Fitness.FAIL:
        raise NotReady(f"{found.name}: {found.message}", hint=found.repair)


def _is_usual(folder: str) -> bool:
    """Whether it is a folder, is reached by no link, and has none of a hidden name."""
    is_folder = os.path.isdir(folder) and os.path.realpath(folder) == folder
    return is_folder and not any(name.startswith(".") for name in _links(folder))


def _links(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_symlink()]
    except OSError:  # whoever has to read it says so
        return []
