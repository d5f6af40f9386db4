"""The judgement of an attempt as `result.json` keeps it: for reports, and for an owner after a crash.

It is written before the work tree is touched, so nobody ever judges a tree that was rolled back by it.
"""

from __future__ import annotations

import json

from runner.disk.files import no_follow
from runner.model import Outcome, Reason
from runner.verify.evidence import Fate, Next, Retry, Verdict
from runner.verify.judgement import Judgement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.model import Json
    from runner.state.manifest import Manifest

_LARGEST = 16 * 1024 * 1024


def to_json(
    manifest: Manifest, judgement: Judgement, *, declared_checks: int, rolled_back: Json | None
) -> dict[str, Any]:
    """What `verify.record` and `load` read."""
    verdict = judgement.verdict
    return {
        "schema_version": 1,
        "attempt": manifest.attempt,
        "row": verdict.row,
        "class": verdict.code,
        "verdict": verdict.to_json(),
        "was_clean": judgement.was_clean,
        "is_touched": judgement.is_touched,
        "claim": None if judgement.claim is None else judgement.claim.to_json(),
        "problem": None if judgement.problem is None else judgement.problem.to_json(),
        "observed": None if judgement.observed is None else judgement.observed.to_json(),
        "checks": [check.to_json() for check in judgement.checks],
        "declared_checks": declared_checks,
        "findings": [finding.to_json() for finding in judgement.findings],
        "failure_codes": list(judgement.codes),
        "conformance": manifest.conformance,
        "rolled_back": rolled_back,
    }


def load(path: str) -> tuple[int, Judgement] | None:
    """The attempt and its judgement; None where there is none that can be read."""
    from runner.verify.claim import NoClaim
    from runner.verify.record import parse
    from runner.verify.taxonomy import FailureCode

    try:
        with open(path, "rb", opener=no_follow) as file:
            data = json.loads(file.read(_LARGEST))
        record, told, problem = parse(data), data["verdict"], data["problem"]
        following = told["next"]
        verdict = Verdict(
            str(told["row"]),
            str(told["code"]),
            Outcome(told["outcome"]),
            Reason(**told["reason"]),
            Next(Fate(following["changes"]), bool(following["counts"]), Retry(following["retry"])),
        )
        return record.attempt, Judgement(
            verdict=verdict,
            claim=record.claim,
            problem=None if problem is None else NoClaim(str(problem["code"]), str(problem["message"])),
            observed=record.observed,
            checks=record.checks,
            findings=record.findings,
            codes=tuple(FailureCode(code) for code in record.failure_codes),
            was_clean=data["was_clean"],
            is_touched=bool(data["is_touched"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
