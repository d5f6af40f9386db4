"""The invocation of the run of a plan or a pipeline, whose program is the conductor. Pure."""

from __future__ import annotations

import os
import sys

from runner.disk.interpreter import command
from runner.invocation import Invocation
from runner.model import SCHEMA_VERSION, VERSION, Limits
from runner.resolve.invocation import digest_of
from runner.runtimes import PLAN
from runner.state.authentic import next_run_id
from runner.state.store import RunDir, manifest_path_of
from runner.text.words import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.model import Config, Delegation
    from runner.resolve.choose import Choice

_MAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
_TITLE_CHARS = 200
READERS = 4
"""So many runs that only read are side by side, where no more batches may be."""


def invocation(
    choice: Choice, env: Mapping[str, str], *, title: str, prompt: str, timeout_s: float | None
) -> Invocation:
    """With the whole environment of its starter, of which every batch gets what its runtime may have.

    The `prompt` is for people who read the run's folder: the conductor reads `plan.json`.
    """
    config, task, run_id = choice.config, choice.task, next_run_id(choice.config.root)
    run = RunDir(config.root, task.id, run_id)
    model, most = choice.model, config.policy.max_tokens
    return Invocation(
        schema_version=SCHEMA_VERSION,
        task_id=task.id,
        run_id=run_id,
        repo=config.root,
        manifest_path=manifest_path_of(task.id, run_id),
        title=one_line(title, _TITLE_CHARS),
        runtime=PLAN,
        program=sys.executable,
        version=VERSION,
        argv=command(_MAIN, run.path),
        cwd=config.root,
        env_names=tuple(sorted(env)),
        secret_names=tuple(sorted(choice.settings.env)),
        env_set={"RUNNER_RUN_ID": run_id, "RUNNER_MANIFEST": run.manifest},
        prompt=prompt,
        model=None if model is None else model.model,
        model_name=None if model is None else model.name,
        reasoning_effort=None if model is None else model.reasoning_effort,
        sandbox=choice.sandbox,
        limits=Limits(timeout_s, None, None, task.grace_s, tree_tokens=most, repeats=None, reconnects=None),
        delegation=_delegation(config, enabled=task.delegation),
        verify=(),
        verify_timeout_s=task.verify_timeout_s,
        rehearsal=None,
        parent=None,
        origins={},
        config_digest=config.digest,
        prompt_digest=digest_of(prompt),
        runner_version=VERSION,
    )


def _delegation(config: Config, *, enabled: bool) -> Delegation:
    """A level above the batches, which keep all that they would have without a plan."""
    own = config.delegation
    return own.replace(
        enabled=enabled,
        max_depth=own.max_depth + 1,
        max_children=max(own.max_children, config.delegate.max_parallel, READERS),
        tasks=None,
        on_parent_end="cancel",
    )
