"""The values of a verdict: its evidence, its content, its consequences. Pure."""

from __future__ import annotations

from runner.model import Outcome, Reason
from runner.value import StrEnum, Value
from runner.verify.inspect import Finding, Severity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.verify.checks import Check
    from runner.verify.claim import Claim, NoClaim

CODES = (
    *("completed", "cli_failure", "result_missing", "result_invalid", "task_failed", "partial"),
    *("verify_failed", "empty_diff", "scope_violation", "scope_expansion", "blocked", "cancelled"),
    *("timeout", "stalled", "lost", "auth_or_quota", "budget_exceeded", "config_drift"),
    "policy_violation",
)
"""The classes of an end. The code of a run's reason may be finer: `killed`, `flag_refused`, `disk_full`."""


class Fate(StrEnum):
    """What becomes of the files that the run changed."""

    KEEP = "keep"
    ROLL_BACK = "roll_back"


class Retry(StrEnum):
    """Whether a further attempt may begin without a person."""

    YES = "yes"
    NO = "no"
    AFTER_BACKOFF = "after_backoff"
    FRESH = "fresh"
    """In a new session, whatever the ladder says."""


class Evidence(Value):
    """All that the verdict depends on."""

    outcome: Outcome
    """What the runtime concluded from its own signs, with `reason`."""
    reason: Reason
    wish: Reason | None = None
    """Why we stopped the run, if we did: `cancelled`, `timeout`, `stalled`, `budget_exceeded`, ..."""
    contract: bool = False
    """Whether a result was asked for; without it `claim` and `problem` are None."""
    claim: Claim | None = None
    problem: NoClaim | None = None
    checks: tuple[Check, ...] = ()
    """In their order, up to the first that failed."""
    checks_declared: int = 0
    findings: tuple[Finding, ...] = ()
    repeated: int | None = None
    """The number of an attempt before it with the same change and the same failing check."""
    status: int | None = None
    """The HTTP status with which the model's service ended it, where the program told it as a number."""

    @property
    def concluded(self) -> bool:
        """Whether the runtime itself has nothing to object to: only then what the agent says counts."""
        return self.outcome is Outcome.SUCCEEDED

    def objection(self, *codes: str) -> Finding | None:
        """The first finding that forbids a success; of these codes, if any are named."""
        errors = (finding for finding in self.findings if finding.severity is Severity.ERROR)
        return next((finding for finding in errors if not codes or finding.code in codes), None)


class Next(Value):
    """What follows from a verdict."""

    changes: Fate
    """If no further attempt follows; `on_failure = "keep"` overrides a roll-back."""
    counts: bool
    """Whether the task failed. The machine, the provider or a person's request do not count."""
    retry: Retry


class Verdict(Value):
    """The answer."""

    row: str
    """The row of the table that gave it."""
    code: str
    """One of `CODES`: the class of the end, whatever finer code the reason has."""
    outcome: Outcome
    reason: Reason
    next: Next
