"""All that is known about one attempt, with its verdict. Pure."""

from __future__ import annotations

from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.verify.checks import Check
    from runner.verify.claim import Claim, NoClaim
    from runner.verify.evidence import Verdict
    from runner.verify.inspect import Finding, Observed
    from runner.verify.taxonomy import FailureCode


class Judgement(Value):
    """One attempt, judged."""

    verdict: Verdict
    claim: Claim | None = None
    problem: NoClaim | None = None
    observed: Observed | None = None
    checks: tuple[Check, ...] = ()
    findings: tuple[Finding, ...] = ()
    codes: tuple[FailureCode, ...] = ()
    diff: str = ""
    was_clean: bool | None = None
    """Whether nothing was uncommitted before the run; None if that was not checked."""
    is_touched: bool | None = False
    """Whether anything of the tree is other than before: files, folders, or what is staged; None if the look
    at it failed.
    """

    @property
    def changed(self) -> tuple[str, ...]:
        return () if self.observed is None else self.observed.changed
