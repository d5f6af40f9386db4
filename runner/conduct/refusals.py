"""The preconditions of a plan, checked before its run exists. Edge: git, looking."""

from __future__ import annotations

import os

from runner.conduct import commits, merge_back
from runner.conduct.batch_task import check_template, is_apart, request_of
from runner.conduct.summary import in_a_row
from runner.errors import Conflict, PlanInvalid
from runner.text.words import few

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from runner.conduct.plan_record import Options, Part
    from runner.model import Config
    from runner.plan.units import Plan, Unit
    from runner.resolve.choose import Choice
    from runner.state.manifest import Manifest
    from runner.state.plan_ledger import PlanLedger


class BreakerOpen(Conflict):
    code = "breaker_open"
    default_hint = "check what failed; then --reset-breaker lets it continue"


class PlanRuns(Conflict):
    code = "plan_runs"


def refuse_surroundings(
    config: Config,
    task_id: str,
    options: Options,
    units: Sequence[Unit],
    unsettled: Collection[str] = (),
    ledger: PlanLedger | None = None,
    *,
    is_begun: bool = False,
) -> None:
    """What the template and the work tree do not allow: ConfigInvalid, Conflict. `unsettled` is what batches
    have left to be committed, the `ledger` has what is done. Of a plan in a pipeline that `is_begun` the tree
    was looked at before.
    """
    check_template(config, request_of(options, task_id), units)
    if not is_begun:
        may_be_apart = is_apart(config, task_id)
        refuse_tree(config, "the plan commits its batches", unsettled, ledger, may_be_apart=may_be_apart)


def refuse_tree(
    config: Config, what: str, unsettled: Collection[str], ledger: PlanLedger | None, *, may_be_apart: bool
) -> None:
    """Conflict where the work tree forbids `what`. The `ledger` is of what goes on; None: it begins."""
    is_wanted = config.delegate.commit is not False
    done = {path for step in ledger.steps for path in step.changed} if ledger is not None else set()
    if is_wanted and ledger is not None:
        commits.base(config, commits.settled(ledger) - {*unsettled}, ledger.base)
    elif is_wanted or may_be_apart:
        commits.base(config, done)
    # What people are asked for is theirs to commit, whenever they like.
    asked = () if ledger is None else (step.document for step in ledger.steps)
    done |= {*unsettled, *(os.path.normpath(path) for path in asked if path)}
    if is_wanted and (there := sorted({*merge_back.uncommitted(config)} - done)):
        raise Conflict(
            f"{what}, but the tree has other changes: {few(there)}",
            hint="commit or stash them, or set commit = false in [delegate]",
        )


def refuse_unverified(choice: Choice, plan: Plan, parts: Sequence[Part]) -> None:
    """A commit never rests on an agent's word alone."""
    if choice.config.delegate.commit is False or choice.task.verify:
        return
    bare = [part for part in parts if not any(plan.units[at].verify for at in part.units)]
    if bare:
        names = few([plan.units[at].id for part in bare for at in part.units])
        raise PlanInvalid(
            f"the plan commits its batches, but no command verifies {names}",
            hint="give `verify` to the units or to the task, or set commit = false in [delegate]",
        )


def refuse_running(manifest: Manifest) -> None:
    if not manifest.is_done:
        what = "pipeline" if (manifest.plan or {}).get("stages") else "plan"
        text = f"run `{manifest.run_id}` is running this {what}: it is `{manifest.status}`"
        ways = ("`runner status {0}` says what it is at", "`runner cancel {0}` ends it")
        raise PlanRuns(text, hint=", ".join(ways).format(manifest.run_id))


def refuse_open(ledger: PlanLedger, reset: bool) -> None:
    if ledger.breaker.is_open and not reset:
        raise BreakerOpen(f"{in_a_row(ledger)}; left: {', '.join(ledger.left)}")
