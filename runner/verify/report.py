"""What a person needs to accept a run: claims beside evidence, in one value. Pure.

Its JSON is public (`schemas/report.schema.json`); the texts for people are in `report_text`. Unknown is None:
without a contract nothing is claimed, without git nothing is observed.
"""

from __future__ import annotations

from runner.conformance import Agreement, Conformance, Conformity
from runner.text.terminal import clean_terminal
from runner.text.words import and_more, count, one_line
from runner.value import Value
from runner.verify.checks import Check
from runner.verify.inspect import Finding, outside_scope
from runner.verify.review import ReviewFinding, gravest_first

_REFUSED = 20
_REFUSED_CHARS = 300

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from runner.model import Json
    from runner.verify.claim import Claim
    from runner.verify.inspect import Allowed, Observed
    from runner.verify.record import Record


class ReasonGiven(Value):
    code: str
    message: str


class ReportedFiles(Value):
    claimed: tuple[str, ...] | None
    observed: tuple[str, ...] | None
    outside_scope: tuple[str, ...] | None
    """None if nothing was observed, or there is no scope."""
    lines: tuple[int, int] | None = None
    """How many lines of text files were added and removed; None where they were not counted."""


class Claims(Value):
    status: str | None
    issues: tuple[str, ...]
    verification_summary: str | None


class Report(Value):
    """The shape of `--format json`, field by field."""

    run_id: str
    task_id: str
    outcome: str | None
    """None while the run is not done."""
    reason: ReasonGiven | None
    failure_codes: tuple[str, ...]
    summary: str | None
    """What the agent says it did: of its claim, else its last message."""
    files: ReportedFiles
    claims: Claims
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    assumptions: tuple[str, ...]
    """Those that the agent itself names. Others it may have made without a word."""
    conformance: Conformance
    usage: Mapping[str, int | None]
    attempts: tuple[Json, ...]
    residual_risk: tuple[str, ...]
    """What nothing here covers, one sentence each."""
    refused: tuple[str, ...] = ()
    """What its program did not let the agent do, each once; its stream says nothing of it."""
    failed_before: tuple[tuple[str, ...], ...] | None = None
    """The checks that failed before the agent began; None where they were not run then."""
    ledger: Json | None = None
    """What the ledger of its task has of it, and how the lanes are now; None where there is none."""
    review_findings: tuple[ReviewFinding, ...] | None = None
    """What a review claims to have found, the gravest first; None where there is no result."""
    repaired: tuple[ReviewFinding, ...] = ()
    """What runs of a pipeline have repaired, and no review has found again since."""
    gates: tuple[str, ...] = ()
    """What became of each gate and document of a pipeline."""


def report(
    manifest: Json,
    allowed: Allowed,
    found: Record,
    redact: Callable[[str], str] = str,
    refused: Sequence[str] = (),
    ledger: Json | None = None,
    names: Callable[[str], str] | None = None,
) -> Report:
    """The report of a run from its manifest's JSON, what was found about it, what its program `refused`, and
    what the `ledger` has of it.

    Texts are cleaned for a terminal and passed through `redact`; paths are not cleaned, as scripts use them,
    and pass through `names`.
    """
    reason, claim = manifest["reason"], found.claim
    settings = found.conformance or _declared(manifest)
    made = Report(
        run_id=manifest["run_id"],
        task_id=manifest["task_id"],
        outcome=manifest["outcome"],
        reason=None if reason is None else ReasonGiven(reason["code"], clean_terminal(reason["message"])),
        failure_codes=tuple(map(str, found.failure_codes)),
        summary=_cleaned(manifest["last_message"] if claim is None else claim.summary),
        files=_files(allowed, claim, found.observed),
        claims=_claims(claim),
        checks=tuple(check.replace(tail=clean_terminal(check.tail)) for check in found.checks),
        findings=tuple(f.replace(message=clean_terminal(f.message)) for f in found.findings),
        assumptions=() if claim is None else tuple(map(clean_terminal, claim.assumptions)),
        conformance=settings,
        usage=dict(manifest["usage"]),
        attempts=tuple(manifest["attempts"]),
        residual_risk=_risks(allowed, found, settings, len(refused)),
        refused=_of_refused(refused),
        failed_before=manifest.get("failed_before"),
        ledger=redacted(ledger, clean_terminal),
        review_findings=None if claim is None else gravest_first(claim.findings),
    )
    clean: Report = redacted(made, redact, names)
    return clean


def _files(allowed: Allowed, claim: Claim | None, observed: Observed | None) -> ReportedFiles:
    seen = None if observed is None else observed.changed
    outside = None if seen is None or not allowed.scope else outside_scope(allowed.scope, seen)
    claimed = None if claim is None else claim.files_modified
    return ReportedFiles(claimed, seen, outside, None if observed is None else observed.lines)


def _claims(claim: Claim | None) -> Claims:
    if claim is None:
        return Claims(None, (), None)
    issues = tuple(map(clean_terminal, claim.issues))
    return Claims(claim.status, issues, clean_terminal(claim.verification_summary))


def _declared(manifest: Json) -> Conformance:
    """Nothing observed yet: what was declared stands there as unverified."""
    declared = (manifest["model"], manifest["sandbox"]["level"], None, manifest["reasoning_effort"])
    return Conformance(*map(Conformity, declared))


def _risks(allowed: Allowed, found: Record, settings: Conformance, refused: int) -> tuple[str, ...]:
    claim, checks, declared_checks = found.claim, found.checks, found.declared_checks
    codes = {finding.code for finding in found.findings}
    unverified = ", ".join(
        name for name, setting in settings.items() if setting.verdict is Agreement.UNVERIFIED
    )
    unrun = declared_checks - len(checks)
    named = len(claim.assumptions) if claim is not None else 0
    said = claim is not None and bool(claim.verification_summary.strip())
    risks = (
        (allowed.isolation == "none", "no sandbox kept the agent in (isolation: none)"),
        (not checks and not declared_checks, "no verify command is declared, so nothing was checked"),
        (not checks and said, "nothing confirmed what the agent says of its own checks"),
        (unrun > 0, f"{unrun} of {declared_checks} verify commands were not run"),
        (found.observed is None, "the changes are not known: every statement about files is the agent's"),
        (allowed.writes and not allowed.scope, "no scope is declared: changes anywhere are accepted"),
        ("scope_violation" in codes, "files outside the scope were changed"),
        ("check_changed" in codes, "files that its own checks execute or read were changed by the run"),
        (
            "checks_elsewhere" in codes,
            "the checks import from another checkout: they say nothing of this one",
        ),
        ("changed_not_claimed" in codes, "the agent does not list all the files that it changed"),
        ("changed_dirty" in codes, "the diff of some files includes earlier, uncommitted changes"),
        (bool(unverified), f"settings that could not be verified: {unverified}"),
        (allowed.contract and claim is None, "the agent gave no valid result, so it claims nothing"),
        (refused > 0, f"the agent did without {count(refused, 'call')} that its program refused: see there"),
        (named > 0, f"the agent names {count(named, 'assumption')}: see there"),
    )
    return tuple(text for applies, text in risks if applies)


def _of_refused(refused: Sequence[str]) -> tuple[str, ...]:
    each = dict.fromkeys(one_line(text, _REFUSED_CHARS) for text in refused)
    return tuple(and_more([*each], _REFUSED))


def _cleaned(text: str | None) -> str | None:
    return None if text is None else clean_terminal(text)


def redacted(value: Any, redact: Callable[[str], str], names: Callable[[str], str] | None = None) -> Any:
    """The same with every text redacted, at any depth; names of files by `names`, where it is given."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, ReportedFiles):
        redact = names or redact
    if isinstance(value, Value):
        ways = ((name, names or redact if name == "file" else redact) for name in value._fields)
        return type(value).of(redacted(getattr(value, name), way, names) for name, way in ways)
    if isinstance(value, (list, tuple)):
        return tuple(redacted(item, redact, names) for item in value)
    if isinstance(value, dict):
        return {key: redacted(item, redact, names) for key, item in value.items()}
    return value
