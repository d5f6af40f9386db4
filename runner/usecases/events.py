"""USE CASE: what becomes of all runs of a repository, from its feed. Edge: disk, reading.

An owner that was killed tells nothing. So the runs that have begun, and of which the feed has no end, are
looked at where their lock is free, by which they get an owner again. Standard library only.
"""

from __future__ import annotations

import os

from runner.errors import ForeignRun, RunnerError, RunNotFound, UsageError
from runner.state import feed
from runner.state.feed import FeedReader
from runner.state.store import RunDir
from runner.usecases.look import look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runner.model import Json

_POLL_S = 0.2
LOOKS_EVERY = 10


def read(root: str, since: int | None) -> tuple[list[Json], int]:
    """The events behind `since`, or all; and how many of those that were asked for are gone. UsageError for a
    `since` that is still to come.
    """
    caught_up(root, since)
    reader = FeedReader(root, since or 0)
    return [*reader.new()], 0 if since is None else reader.missed


def follow(
    root: str, since: int | None, missed: Callable[[int], None], pause: Callable[[float], None]
) -> Iterator[Json]:
    """As `read`, and then every event as it comes; without `since` only what comes from now on. `missed` is
    told how many are gone; `pause` sleeps for some seconds.
    """
    live, last = caught_up(root, since)
    reader = FeedReader(root, last if since is None else since)
    while True:
        for _ in range(LOOKS_EVERY):
            for event in reader.new():
                _note(root, event, live)
                yield event
            if reader.missed:
                missed(reader.missed)
                reader.missed = 0
            pause(_POLL_S)
        look_after(root, live)


def caught_up(root: str, since: int | None) -> tuple[dict[str, RunDir], int]:
    """The runs that live, and the latest event, once what their owners left untold is in the feed."""
    live: dict[str, RunDir] = {}
    reader = FeedReader(root)
    for event in reader.new():
        _note(root, event, live)
    look_after(root, live)
    for event in reader.new():
        _note(root, event, live)
    if since is not None and since > reader.last:
        hint = "the feed was begun anew, or is another one: leave --since out"
        raise UsageError(f"there is no event {since} yet: the latest is {reader.last}", hint=hint)
    return live, reader.last


def _note(root: str, event: Json, live: dict[str, RunDir]) -> None:
    if event["event"] == feed.STARTED:
        live[event["run_id"]] = RunDir(root, event["task_id"], event["run_id"])
    elif event["event"] == feed.ENDED:
        live.pop(event["run_id"], None)


def look_after(root: str, live: dict[str, RunDir]) -> None:
    """RunNotFound where the repository itself is gone: nothing would ever come."""
    if not os.path.isdir(root):
        raise RunNotFound(f"{root} was removed or moved, and its runs with it", hint="go where it is now")
    for run_id, run in [*live.items()]:
        try:
            if not run.is_locked():
                look(run)
        except (RunNotFound, ForeignRun):
            del live[run_id]
        except RunnerError:
            continue  # the next time, perhaps
