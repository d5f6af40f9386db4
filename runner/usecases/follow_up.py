"""USE CASE `send` to a run that has ended: a follow-up run in its session, once for each key."""

from __future__ import annotations

import os

from runner.errors import RunnerError
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
    is the run that this has begun then, or has to begin still, or the ended one, whose agent has heard it.
    Conflict as `retry.follow_up`, where nobody has, and where the key is that of another text.
    """
    own_invocation(run)
    run_id, is_repeated = next_run_id(run.repo), False
    name: str | None = None
    if key is not None:
        made = RunDir(run.repo, run.task_id, run_id)
        message = messages.Queue(run).add("", actor="user", key=key, follow_up=lineage_of(made))
        if message.follow_up is None:
            talk.refuse_other(message, text)
            return run, talk.sent(run, message, talk.QUEUED, is_repeated=True)
        name, is_repeated, run_id = message.id, message.follow_up.run_id != run_id, message.follow_up.run_id
    begun = RunDir(run.repo, run.task_id, run_id)
    if is_repeated and os.path.lexists(begun.manifest):
        look.look(begun)
        return begun, talk.Sent(name, talk.FOLLOW_UP, 1, is_repeated)
    try:
        retry.follow_up(config, run, env, text, run_id=run_id, allow_danger=allow_danger)
    except RunnerError:
        if key is None or not os.path.lexists(begun.manifest):  # else another one with the key was quicker
            raise
    return begun, talk.Sent(name, talk.FOLLOW_UP, 1, is_repeated)
