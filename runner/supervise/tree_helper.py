"""Asks a separate process what git knows of a run's work tree. Edge: processes.

The supervisor does not load the modules that call git, so it stays small for its whole life.
"""

from __future__ import annotations

import os
import sys
import time

from runner.disk import files, home
from runner.git_change import PutBack
from runner.lightjson import dumps, loads
from runner.state.events import complain
from runner.state.store import RunDir
from runner.value import json_value
from runner.verify.checks import CheckCommand, run_check
from runner.verify.evidence import Fate
from runner.verify.record import RolledBack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from runner.model import Terms
    from runner.state.events import EventLog
    from runner.verify.judgement import Judgement

_MAIN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "workspace", "__main__.py")
_TIMEOUT_S = 900.0
_AFTER_CANCEL_S = 5.0
_LARGEST = 1 << 30
_GIT = "check the tree with `git status`; `runner diff RUN` shows the changes"


class TreeUnknown(Exception):
    """Git did not say; the text is why."""


class LookCancelled(TreeUnknown):
    """A person wants the end more than to know, or to have the tree back."""


def is_recorded(run: RunDir) -> bool:
    """Whether the tree was recorded before the run began."""
    return os.path.exists(run.workspace)


def was_clean(run: RunDir) -> bool | None:
    """Whether nothing was uncommitted then, by the record itself; None where it does not say."""
    try:
        record = json_value(files.read(run.workspace, _LARGEST))
        return not (record["dirty"] or record["untracked"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def root(run: RunDir) -> str:
    """Of the work tree that was recorded. ValueError."""
    try:
        return str(json_value(files.read(run.workspace, _LARGEST))["root"])
    except (LookupError, TypeError) as error:
        raise ValueError("the record of the work tree does not say where it is") from error


def look(
    run: RunDir,
    env: Mapping[str, str],
    cancelled: Callable[[], bool],
    own: Sequence[str] = (),
    missed: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    """What changed since then, according to `workspace.__main__`. TreeUnknown. `own` are globs of files that
    count although they are ignored. `missed`: see `run_check`.

    A rollback depends on it, so that a cancel does not end it at once: it has a few seconds more.
    """
    told: list[float] = []

    def is_over() -> bool:
        if not told and cancelled():
            told.append(time.monotonic())
        return bool(told) and time.monotonic() - told[0] > _AFTER_CANCEL_S

    return _ask(run, "look", env, dumps([*own]), cancelled=is_over, missed=missed)


def git_held(run: RunDir, env: Mapping[str, str]) -> dict[str, str | None] | None:
    """What git holds besides files; None where it does not say."""
    try:
        return _ask(run, "git", env)
    except (TreeUnknown, OSError, ValueError):
        return None


def settle(run: RunDir, env: Mapping[str, str], protect: Sequence[str]) -> list[str]:
    """From now on ignored files as they are count as there before the run; what else was changed since then,
    and then they do not. TreeUnknown.
    """
    found: list[str] = _ask(run, "settle", env, dumps([*protect]))["changed"]
    return found


def set_aside(run: RunDir, n: int, env: Mapping[str, str]) -> None:
    """The rollback after attempt `n`: a later one is another one, and what this one took away stays."""
    _ask(run, "set-aside", env, str(n))


def withdraw(run: RunDir, env: Mapping[str, str]) -> None:
    """Removes the own work tree of a run that never began, before its end is told: who has started it may be
    gone. What cannot be removed stands until it is decided on.
    """
    if os.path.lexists(f"{run.path}/worktree.json"):
        try:
            _ask(run, "withdraw", env)
        except (TreeUnknown, OSError, ValueError) as error:
            complain(f"the work tree was not removed: {error}")


def to_base(run: RunDir, env: Mapping[str, str], paths: Sequence[str]) -> None:
    """These files become what they were before the run. TreeUnknown. `to_run` has to follow."""
    asked = f"{run.path}/base-files.paths"
    files.replace_json(asked, list(paths), indent=None)
    _refuse_rest(_ask(run, "to-base", env, asked))


def to_run(run: RunDir, env: Mapping[str, str]) -> None:
    """They become what the run made of them, if they are not that already. TreeUnknown."""
    if os.path.exists(f"{run.path}/base-files.json"):
        _refuse_rest(_ask(run, "to-run", env))
        files.withdraw(f"{run.path}/base-files.paths")


def _refuse_rest(answer: Mapping[str, Any]) -> None:
    if answer["left"]:
        raise TreeUnknown(f"not all files could be put back: {'; '.join(answer['left'][:5])}")


def has_begun(run: RunDir) -> bool:
    """Whether a rollback of the present attempt was planned, and maybe finished."""
    return os.path.exists(f"{run.path}/rollback.json")


def is_wanted(run: RunDir, terms: Terms, judgement: Judgement) -> bool:
    """Where the verdict says so: in a shared tree that was recorded, if `on_failure` does not keep it.

    Without that key a tree that had uncommitted work before is kept.
    """
    is_shared = is_recorded(run) and not os.path.exists(f"{run.path}/worktree.json")
    keeps = terms.on_failure == "keep" or (terms.on_failure is None and judgement.was_clean is False)
    may_be = judgement.verdict.next.changes is Fate.ROLL_BACK and judgement.is_touched is not False
    return is_shared and not keeps and may_be


def take_back(
    run: RunDir, env: Mapping[str, str], log: EventLog, *, may_write: bool, is_alone: bool
) -> RolledBack:
    """Rolls back and returns the result, which goes into the events.

    `may_write`: the lease of the tree is ours. `is_alone`: the tree was unwatched since the program had
    ended, so it may now hold the work of others; only a rollback that was started before is finished.
    """
    try:
        if not may_write:
            raise TreeUnknown("another run may now write in the work tree")
        if is_alone and not has_begun(run):
            raise TreeUnknown("the run had no owner for a while, and others may have worked there")
        rolled = RolledBack.from_json(_ask(run, "roll-back", env))
    except (TreeUnknown, OSError, ValueError) as error:
        rolled = RolledBack(refused=str(error)[:500], hint=_GIT)
    told = rolled.to_json()
    said = {name: told[name] for name in ("refused", "kept", "left", "unequal") if told[name]}
    log.note("rolled_back", restored=len(rolled.restored), removed=len(rolled.removed), **said)
    return rolled


def put_back(
    run: RunDir, env: Mapping[str, str], log: EventLog, *, may_write: bool, is_alone: bool, plans: bool
) -> PutBack:
    """What of git the run changed and must not becomes what it was. As `take_back`, which follows if it
    `plans` that.
    """
    try:
        if not may_write:
            raise TreeUnknown("another run may now write there")
        if is_alone and not (has_begun(run) or os.path.exists(f"{run.path}/git-back.json")):
            raise TreeUnknown("the run had no owner for a while, and others may have worked there")
        done = PutBack.from_json(_ask(run, "put-back", env, *(["plans"] if plans else [])))
    except (TreeUnknown, OSError, ValueError) as error:
        some = "some of it may be as before; " if os.path.exists(f"{run.path}/git-back.json") else ""
        done = PutBack(left=(f"git: {some}{error}"[:500],))
    log.note("git_put_back", **done.to_json())
    return done


def _ask(
    run: RunDir,
    what: str,
    env: Mapping[str, str],
    *more: str,
    cancelled: Callable[[], bool] = lambda: False,
    missed: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    answer, log = f"{run.path}/workspace-{what}.json", f"{run.path}/workspace.log"
    # Without `site`: it needs no package of others, and the run's end waits for it.
    argv = (sys.executable, "-I", "-S", _MAIN, what, run.path, answer, *more)
    ours = {**home.named(os.environ), **env}
    check = run_check(CheckCommand(argv, run.path, ours, log, _TIMEOUT_S), cancelled=cancelled, missed=missed)
    if check.exit_code is None and not check.timed_out and cancelled():
        raise LookCancelled("the run was cancelled while its work tree was looked at; nothing is taken back")
    if not check.passed:
        raise TreeUnknown(check.tail.strip() or f"looking at the work tree {check.how}")
    found: dict[str, Any] = loads(files.read(answer, _LARGEST))
    os.unlink(answer)
    return found
