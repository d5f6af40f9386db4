"""USE CASE `send` to a run that has ended: a follow-up run in its session, once for each key."""

from __future__ import annotations

import os

from runner.errors import Conflict
from runner.state import messages
from runner.state.authentic import next_run_id, own_invocation
from runner.state.lineage import lineage_of
from runner.state.store import RunDir
from runner.usecases import look, retry, talk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.model import Config


def start(
    config: Config,
    run: RunDir,
    env: Mapping[str, str],
    text: str,
    *,
    key: str | None = None,
    allow_danger: bool = False,
) -> tuple[RunDir, talk.Sent]:
    """The run that goes on with `text`, and what became of the message. With a `key` that was sent before, it
    is the run that this has begun then, or has to begin still. Conflict as `retry.follow_up`.
    """
    own_invocation(run)
    run_id, name, is_repeated = next_run_id(run.repo), "", False
    if key is not None:
        made = RunDir(run.repo, run.task_id, run_id)
        message = messages.Queue(run).add(text, actor="user", key=key, follow_up=lineage_of(made))
        if message.follow_up is None:
            raise Conflict(f"message {message.id} with this key was given to run `{run.run_id}` itself")
        name, is_repeated, run_id = message.id, message.follow_up.run_id != run_id, message.follow_up.run_id
    begun = RunDir(run.repo, run.task_id, run_id)
    if is_repeated and os.path.lexists(begun.manifest):
        look.look(begun)
    else:
        retry.follow_up(config, run, env, text, run_id=run_id, allow_danger=allow_danger)
    return begun, talk.Sent(name, talk.FOLLOW_UP, 1, is_repeated)
