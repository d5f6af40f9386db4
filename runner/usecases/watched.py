"""The files that decide what runs and that an agent could change, as they are at the start. Edge: disk."""

from __future__ import annotations

import os

from runner.config.snapshot import files_named
from runner.config.trust import may_be_started, texts
from runner.disk.interpreter import customized
from runner.model import Level
from runner.resolve.reach import is_inside, roots
from runner.state.watched import TO_COME, digest_of
from runner.text.modules import files_of_folders, files_of_modules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import RuntimeSettings
    from runner.resolve.choose import Choice

_LONGEST_NAME = 1024


def watched(choice: Choice) -> dict[str, str]:
    """Path -> digest. In a tree of its own a run can change what stands in the repository as well: a change
    there is seen by git, and takes effect when it is accepted.
    """
    if choice.sandbox.level is Level.READ_ONLY:
        return {}
    config, request, root = choice.config, choice.request, choice.config.root
    named = (
        *config.files,
        *files_named(config),
        *(known.command for known in config.runtimes.values() if "/" in known.command),
        *(name for known in (*config.runtimes.values(), choice.settings) for name in started(known, root)),
        request.rehearsal_script,
        request.map,
        *customized(),
    )
    writable = roots(choice.sandbox, root, ())
    scripts = config.trust.get("scripts", ())
    found = {name: TO_COME for name in scripts if not os.path.lexists(os.path.join(root, name))}
    for name in named:
        if name is not None:
            path = os.path.normpath(os.path.join(root, name))
            if any(is_inside(path, folder) for folder in writable):
                place = os.path.relpath(path, root) if is_inside(path, root) else path
                found[place] = digest_of(root, place)
    return found


def started(settings: RuntimeSettings, root: str) -> dict[str, str]:
    """What an agent's program may be told to start, with its digest: servers, hooks, a notifier. They run
    outside of its sandbox, and a text that looks like the name of a file may be one.
    """
    found = [*texts(settings.config), *(settings.args or ())]
    inner = (
        name for name in files_of_folders(found) if os.path.isdir(os.path.join(root, os.path.dirname(name)))
    )
    named = (
        text
        for text in (*found, *files_of_modules(found), *inner)
        if text and may_be_started(text) and "\0" not in text and len(text) < _LONGEST_NAME
        if (("/" in text or "." in text) and " " not in text) or os.path.lexists(os.path.join(root, text))
    )
    return {name: digest_of(root, name) for name in named}


def program_of(settings: RuntimeSettings, root: str) -> dict[str, str]:
    """The program of a runtime, where a path names it, with its digest."""
    name = settings.command
    return {name: digest_of(root, name)} if "/" in name else {}
