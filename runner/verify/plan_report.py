"""The report of a plan, combined from those of its batches. Pure."""

from __future__ import annotations

from runner.conformance import Agreement, Conformance, Conformity
from runner.verify.report import Claims, Report, ReportedFiles
from runner.verify.review import gravest_first

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Batches = Sequence[tuple[str, Report]]

GONE = "the run is gone, with its results"


def of_plan(
    own: Report,
    batches: Batches,
    left: Sequence[str],
    missing: Sequence[str] = (),
    earlier: Sequence[Mapping[str, int | None]] = (),
) -> Report:
    """`own` is that of the plan's run, `batches` are names and reports of their latest runs, `left` the units
    that are not done, `missing` the batches whose runs are gone, `earlier` what the tries before the latest
    ones have spent. The files that were changed are those of batches that succeeded.
    """
    gone = [None] if missing else []
    said = [one.replace(step=name) for name, report in batches for one in report.review_findings or ()]
    says = own.review_findings or any(report.review_findings is not None for _, report in batches)
    fine = [report for _, report in batches if report.outcome == "succeeded"]
    return own.replace(
        failure_codes=_once(code for _, one in batches for code in one.failure_codes),
        summary="\n".join(f"{name}: {one.summary}" for name, one in batches if one.summary) or None,
        files=ReportedFiles(
            _all([*gone, *(one.files.claimed for one in fine)]),
            _all([*gone, *(one.files.observed for one in fine)]),
            _all([*gone, *(one.files.outside_scope for one in fine)]),
        ),
        claims=Claims(None, _named((name, one.claims.issues) for name, one in batches), None),
        checks=tuple(check for _, one in batches for check in one.checks),
        findings=tuple(
            finding.replace(message=f"{name}: {finding.message}")
            for name, one in batches
            for finding in one.findings
        ),
        assumptions=_named((name, one.assumptions) for name, one in batches),
        conformance=Conformance.of(
            _setting([getattr(one.conformance, name) for _, one in batches], usual)
            for name, usual in Conformance().__dict__.items()
        ),
        usage=_spent([*(one.usage for _, one in batches), *earlier]),
        residual_risk=(*_left(left), *_gone(missing), *_risks(batches)),
        review_findings=gravest_first([*(own.review_findings or ()), *said]) if says else None,
        refused=_named((name, one.refused) for name, one in batches),
    )


def _once(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _all(parts: Iterable[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """What all of them name; None where one does not know."""
    known = [*parts]
    if not known or any(part is None for part in known):
        return None
    return tuple(sorted({path for part in known for path in part or ()}))


def _named(parts: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[str, ...]:
    return tuple(f"{name}: {text}" for name, texts in parts for text in texts)


def _setting(each: Sequence[Conformity | None], usual: Conformity | None) -> Conformity | None:
    """The values, each once, and the worst verdict; `usual` where none has one."""
    found = [one for one in each if one is not None]
    if not found:
        return usual
    verdicts = {one.verdict for one in found}
    worst = (Agreement.DRIFT, Agreement.UNVERIFIED)
    return Conformity(
        _each((one.declared for one in found), "default"),
        _each((one.observed for one in found), "not seen"),
        next((word for word in worst if word in verdicts), Agreement.OK),
    )


def _each(values: Iterable[str | None], unknown: str) -> str | None:
    names = tuple(dict.fromkeys(values))
    return ", ".join(name or unknown for name in names) if any(names) else None


def _spent(parts: Sequence[Mapping[str, int | None]]) -> dict[str, int | None]:
    """Sums; None where no value is known."""
    found: dict[str, int | None] = {}
    for part in parts:
        for name, count in part.items():
            before = found.get(name)
            found[name] = before if count is None else (before or 0) + count
    return found


def _left(units: Sequence[str]) -> tuple[str, ...]:
    return (f"not done: {', '.join(units)}",) if units else ()


def _gone(missing: Sequence[str]) -> tuple[str, ...]:
    return (f"{', '.join(missing)}: {GONE}",) if missing else ()


def _risks(batches: Batches) -> tuple[str, ...]:
    """Each once, with the batches that it is of."""
    whose: dict[str, list[str]] = {}
    for name, one in batches:
        for risk in one.residual_risk:
            whose.setdefault(risk, []).append(name)
    return tuple(f"{', '.join(names)}: {risk}" for risk, names in whose.items())
