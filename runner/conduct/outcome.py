"""What the end of a batch's run means for its plan. Pure, except that it reads the run's record."""

from __future__ import annotations

from runner.model import Outcome, Reason
from runner.value import StrEnum, Value
from runner.verify.taxonomy import FailureCode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.state.manifest import Manifest
    from runner.verify.record import Record

_PARKING = frozenset(
    (
        *("auth_or_quota", "cancelled", "lost", "config_drift", "survivors"),
        *("disk_full", "flag_refused", "misconfigured", "request_refused", "runtime_missing", "unwritable"),
        *("workspace_missing", "too_many_processes", "too_many_open_files", "supervisor_failed"),
        *("not_ready", "never_started", "prepare_failed", "executor_unusable", "queue_timeout"),
    )
)
"""Reasons that the next batch would meet too, or that a person has to look at first."""
FOLD_CONFLICT = "fold_conflict"
"""What only the plan finds: the run itself succeeded."""
KEEPING = frozenset(
    (
        *("partial", "blocked", "scope_expansion", "question_expired", FOLD_CONFLICT),
        *("lost", "supervisor_failed", "survivors", "node_failed", "requeued", "out_of_memory"),
        *("engine_cancelled", "engine_preempted", "engine_time_limit"),
    )
)
"""Whose change is kept: what is done of it is of use, or might still be written to."""


class Meaning(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    """Counts for the breaker."""
    PARK = "park"
    """Stops the plan and counts for nothing."""
    LATER = "later"
    """Its run succeeded, but its change is not merged yet."""


class BatchEnd(Value):
    """The end of a batch's run, as its plan sees it."""

    meaning: Meaning
    why: Reason | None
    changed: tuple[str, ...]
    """What it changed in its work tree."""
    is_back: bool
    """Whether that was taken back."""
    dirty_before: tuple[str, ...] = ()
    """What of that had changes before which were not committed."""
    claimed: tuple[str, ...] = ()
    """What the agent says it changed."""
    is_observed: bool = False
    """Whether the work tree was compared at all."""
    tree: str | None = None
    """What was verified, in the run's own record of its work tree."""
    is_checked: bool = False
    """Whether a command of ours has verified it."""


def end_of(manifest: Manifest, record: Record | None) -> BatchEnd:
    """Of a run that is done; `record` is what its supervisor found at its end. Without it, a success is none
    that a plan can build on: a full disk may have taken it.
    """
    reason = manifest.reason
    code = "lost" if reason is None else reason.code
    observed = None if record is None else record.observed
    rolled = None if record is None else record.rolled_back
    codes = () if record is None else record.failure_codes
    if manifest.outcome is Outcome.SUCCEEDED and record is None:
        meaning, code = Meaning.PARK, "lost"
        reason = Reason(code, "nothing says what it changed: its result.json cannot be read")
    elif manifest.outcome is Outcome.SUCCEEDED:
        meaning = Meaning.SUCCESS
    elif (
        code in _PARKING
        or FailureCode.API_FAILURE in codes
        or manifest.outcome in (Outcome.CANCELLED, Outcome.LOST, None)
    ):
        meaning = Meaning.PARK
    else:
        meaning = Meaning.FAILURE
    return BatchEnd(
        meaning=meaning,
        why=None if meaning is Meaning.SUCCESS else Reason(code, "" if reason is None else reason.message),
        changed=() if observed is None else observed.changed,
        is_back=rolled is not None and not rolled.amiss,
        dirty_before=() if observed is None else observed.dirty_before,
        claimed=() if record is None or record.claim is None else record.claim.files_modified,
        is_observed=observed is not None,
        tree=None if observed is None else observed.tree,
        is_checked=record is not None and any(check.passed for check in record.checks),
    )


def came_to_nothing(manifest: Manifest) -> bool:
    """Whether it ended with the conductor before this one, and not by what it did."""
    return manifest.never_started or manifest.outcome in ("cancelled", "lost")


def said_of(manifest: Manifest) -> str:
    """Its end, in a line for people."""
    reason = manifest.reason
    if manifest.outcome == "succeeded" or reason is None:
        return manifest.status
    return f"{manifest.status}, {reason.code}: {reason.message}"
