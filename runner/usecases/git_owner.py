"""USE CASE before a start: who alone may write git, and whether the run could. Edge: disk."""

from __future__ import annotations

import os

from runner import runtimes
from runner.disk.files import no_hole, read
from runner.errors import RunnerError
from runner.lightjson import loads
from runner.model import Level
from runner.state.store import RUNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.ledger.file import Ledger
    from runner.resolve.choose import Choice
    from runner.resolve.invocation import Found
    from runner.usecases.protection import Protection

_LARGEST = 1 << 20
_NAMES = b'"type":"coordinator_changed"'


def told(choice: Choice, found: Found, made: Protection | None, env: Mapping[str, str]) -> Found:
    """With both."""
    owner = _owner(choice)
    is_in_reach = False
    if choice.sandbox.level is not Level.READ_ONLY:
        from runner.usecases.protection import reaches_git

        runtime = runtimes.get(choice.runtime)
        is_in_reach = reaches_git(choice.config.root, choice.sandbox, runtime, found.cwd, made, env)
    return found.replace(git_owner=owner, git_in_reach=is_in_reach)


def in_force(ledger: Ledger, env: Mapping[str, str], config_file: str | None = None) -> dict[str, str | None]:
    """Who alone writes git for the next run on this ledger, and what says so: `ledger`, or `settings`. Both
    are None where nobody is named, or the settings cannot be read.
    """
    from runner import config

    if (named := ledger.state().coordinator) is not None:
        return {"owner": named, "from": "ledger"}
    try:
        owner = config.load(ledger.repo, config_file=config_file, env=env).git.owner
    except RunnerError:
        owner = None
    return {"owner": owner, "from": None if owner is None else "settings"}


def _owner(choice: Choice) -> str | None:
    """What a person has said in the ledger of the run, else the setting. One that came from elsewhere names
    nobody; of one of ours that is not believed nobody can tell: LedgerBroken, ForeignLedger, Unwritable.
    """
    root, task = choice.config.root, choice.request.ledger or choice.task.id
    if not _names_nobody(f"{root}/{RUNS}/{task}"):
        from runner.ledger.file import Ledger  # half of what else a start may cost

        ledger = Ledger(root, task)
        try:
            return ledger.state().coordinator or choice.config.git.owner
        except RunnerError as error:
            if ledger.was_ours:
                raise type(error)(
                    f"who may write git is not known: {error.message}", hint=error.hint
                ) from error
    return choice.config.git.owner


def _names_nobody(folder: str) -> bool:
    """Whether the head of the ledger says so, and nothing that was written since. It is read without its MAC:
    who could forge it is an agent without a sandbox, who has the key as well.
    """
    ledger, head = f"{folder}/ledger.jsonl", f"{folder}/.ledger.head"
    try:
        told = loads(read(head, _LARGEST).partition(b"\n")[2])
        (inode, size, _), named = told["stamp"], told["state"]["coordinator"]
        with open(ledger, "rb", opener=no_hole) as file:
            found = os.fstat(file.fileno())
            file.seek(size)
            since = file.read(_LARGEST)  # another run may be writing there now
    except FileNotFoundError:
        return not (os.path.exists(ledger) or os.path.lexists(head))
    except (OSError, ValueError, LookupError, TypeError):
        return False
    is_of_it = inode == found.st_ino and size <= found.st_size
    return named is None and is_of_it and len(since) < _LARGEST and _NAMES not in since
