"""Whether a link in the folder of a run keeps its commands from running: then a start is refused. Edges:
disk, git, processes.

Codex makes some names of a folder read-only, and where one of them is a link it can make no sandbox. The run
would be paid for, and end well, without a command. Whoever has no such link pays for the list of one folder.
"""

from __future__ import annotations

import os

from runner import runtimes
from runner.errors import NotReady
from runner.model import Level
from runner.usecases.workplace import committed_links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.model import Program
    from runner.resolve.choose import Choice


def refuse_where_none_runs(choice: Choice, program: Program, env: Mapping[str, str]) -> None:
    """NotReady, with the repair, where the program itself says so."""
    runtime, sandbox, root = runtimes.get(choice.runtime), choice.sandbox, choice.config.root
    if sandbox.level is not Level.WORKSPACE_WRITE or runtime.sandbox_trial(program, sandbox) is None:
        return
    is_apart = choice.task.workspace == "worktree"
    names = committed_links(root) if is_apart else _links(root)
    links = tuple(name for name in names if name.startswith("."))  # which of them matter, the program knows
    if not links:
        return
    from runner.runtimes import exam

    use = exam.Use(choice.task.id, choice.model, sandbox, is_apart=is_apart, links=links)
    found = exam.place(choice.config, choice.settings, use, program, env)
    if found is not None and found.verdict is exam.Fitness.FAIL:
        raise NotReady(f"{found.name}: {found.message}", hint=found.repair)


def _links(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_symlink()]
    except OSError:  # whoever has to read it says so
        return []
