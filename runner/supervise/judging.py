"""Judges an attempt: the claim, the change, the checks, the findings, the verdict. Edges: disk, processes.

The program's own signs come first; its claims about the work are compared with the evidence.
"""

from __future__ import annotations

import contextlib
import os

from runner.disk.files import withdraw
from runner.model import Outcome, Reason
from runner.state.events import read_events
from runner.state.manifest import CLOSING
from runner.supervise import tree_helper
from runner.verify.checks import Check, CheckCommand, run_check
from runner.verify.classify import classify
from runner.verify.evidence import Evidence
from runner.verify.inspect import Finding, Observed, Severity, allowed_by, findings, to_look_for
from runner.verify.judgement import Judgement
from runner.verify.taxonomy import failure_codes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from runner.invocation import Invocation
    from runner.model import Conformance, Json
    from runner.processes.tree import Tree
    from runner.state.events import EventLog
    from runner.state.manifest import Manifest
    from runner.state.store import RunDir
    from runner.verify.claim import Claim, NoClaim

    Plain = Callable[[dict[str, Any]], dict[str, Any]]


class Judge:
    """Judges the attempts of one run. `plain` makes a record fit to be kept: redacted, without controls."""

    def __init__(
        self,
        run: RunDir,
        invocation: Invocation,
        log: EventLog,
        plain: Plain,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._run, self._invocation, self._log = run, invocation, log
        self._plain, self._is_cancelled = plain, is_cancelled

    def judge(
        self,
        manifest: Manifest,
        end: tuple[Outcome, Reason],
        message: str | None,
        wish: Reason | None,
        conformance: Conformance,
        tree: Tree,
        env: Mapping[str, str],
    ) -> Judgement:
        """The verdict of the attempt that has ended with `end`, and all that it rests on."""
        outcome, reason = end
        contract = self._invocation.terms.output_contract
        claim = problem = None
        is_closing = manifest.attempts[-1].how == CLOSING
        if contract is not None and wish is None and (outcome is Outcome.SUCCEEDED or is_closing):
            claim, problem = self._claimed(contract, outcome, reason, message)
            if is_closing and problem is not None:
                outcome = Outcome.SUCCEEDED  # the work ended well; what lacks is the word on it
        seen = self._seen(env)  # before the checks, whose files are not the agent's
        is_said_done = problem is None and (claim is None or claim.status == "completed")
        checks: tuple[Check, ...] = ()
        if wish is None and self._is_cancelled():
            wish = Reason("cancelled", "cancelled after its program had ended")
        if outcome is Outcome.SUCCEEDED and wish is None and is_said_done:
            checks = self._checked(tree, env)
            if self._is_cancelled():
                wish = Reason("cancelled", "cancelled while it was being verified")
        evidence = Evidence(
            outcome=outcome,
            reason=reason,
            wish=wish,
            contract=contract is not None,
            claim=claim,
            problem=problem,
            checks=checks,
            checks_declared=len(self._invocation.verify) if is_said_done else 0,
            findings=(*self._found(claim, seen, checks), *self._drifted(conformance)),
        )
        return self._judged(evidence, seen)

    def _judged(self, evidence: Evidence, seen: Json | None) -> Judgement:
        verdict = classify(evidence)
        return Judgement(
            verdict=verdict,
            claim=evidence.claim,
            problem=evidence.problem,
            observed=self._observed(seen, evidence.claim),
            checks=evidence.checks,
            findings=evidence.findings,
            codes=failure_codes(evidence, verdict, self._earlier()),
            diff="" if seen is None else str(seen["diff"]),
            was_clean=None if seen is None else bool(seen["was_clean"]),
            is_touched=seen is not None and bool(seen["is_touched"]),
        )

    def _earlier(self) -> tuple[Check, ...]:
        """The checks of the attempts before this one."""
        earlier: list[Check] = []
        since: list[Check] = []
        for event in read_events(self._run.events):
            if event.get("type") == "checked":
                with contextlib.suppress(ValueError):
                    since.append(Check.from_json(event))
            elif event.get("type") == "retried":
                earlier += since
                since.clear()
        return tuple(earlier)

    def _found(
        self, claim: Claim | None, seen: Json | None, checks: tuple[Check, ...]
    ) -> tuple[Finding, ...]:
        """A run that can write nothing and promised nothing is not told that nobody looked."""
        terms = self._invocation.terms
        if seen is None and not terms.scope and terms.output_contract is None:
            return ()
        root = self._invocation.cwd if seen is None else str(seen["root"])
        return findings(allowed_by(self._invocation), claim, self._observed(seen, claim), checks, root)

    def _claimed(
        self, contract: str, outcome: Outcome, reason: Reason, message: str | None
    ) -> tuple[Claim | None, NoClaim | None]:
        from runner.verify import claim as claims  # only a run under a contract pays for it

        if outcome is not Outcome.SUCCEEDED:
            return None, claims.missing(f"the turn that asked for the result failed: {reason.message}")
        if contract == "status-block":
            from runner.verify.status_block import read_status_block

            found = read_status_block(message)
        else:
            found = claims.read_claim(message)
        return (found, None) if isinstance(found, claims.Claim) else (None, found)

    def _seen(self, env: Mapping[str, str]) -> dict[str, Any] | None:
        if not tree_helper.is_recorded(self._run):
            return None
        try:
            return tree_helper.look(self._run, env)
        except (tree_helper.TreeUnknown, OSError, ValueError) as error:
            self._log.note("tree_unknown", message=str(error)[:500])
            return None

    def _observed(self, seen: Json | None, claim: Claim | None) -> Observed | None:
        if seen is None:
            return None
        root = str(seen["root"])
        named = to_look_for(claim, root)
        return Observed(
            changed=tuple(seen["changed"]),
            absent=tuple(path for path in named if not os.path.lexists(os.path.join(root, path))),
            head_moved=seen["head_moved"],
            moved_refs=tuple(seen["moved_refs"]),
            dirty_before=tuple(seen["dirty_before"]),
            unknown=tuple(seen["unknown"]),
            tree=seen["tree"],
        )

    def _drifted(self, conformance: Conformance) -> tuple[Finding, ...]:
        from runner.supervise.conformance import drift

        reason = drift(conformance)
        if reason is None:
            return ()
        is_enforced = self._invocation.terms.conformance == "enforce"
        severity = Severity.ERROR if is_enforced else Severity.WARNING
        return (Finding("config_drift", severity, reason.message, conformance.drifted),)

    def _checked(self, tree: Tree, env: Mapping[str, str]) -> tuple[Check, ...]:
        checks: list[Check] = []
        for n, argv in enumerate(self._invocation.verify, 1):
            log = f"{self._run.path}/verify-{n}.log"
            withdraw(log)  # what an earlier attempt printed is no evidence of this one
            command = CheckCommand(argv, self._invocation.cwd, env, log, self._invocation.verify_timeout_s)
            check = run_check(command, sweep=lambda: tree.sweep(1.0), cancelled=self._is_cancelled)
            checks.append(check)
            self._log.note("checked", **self._plain(check.to_json()))
            if not check.passed or self._is_cancelled():
                break
        return tuple(checks)
