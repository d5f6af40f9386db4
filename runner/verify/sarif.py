"""Review findings as SARIF 2.1.0, for programs that show what analysers have found. Pure.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import posixpath
from hashlib import sha256
from urllib.parse import quote

from runner.model import DISTRIBUTION
from runner.verify.review import PLACES, SEVERITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.verify.report import Report
    from runner.verify.review import ReviewFinding

_LEVELS = dict(zip(SEVERITIES, ("error", "warning", "note"), strict=True))


def document(report: Report) -> dict[str, Any]:
    """Severities are its rules. That a run did not succeed stands beside its results, as these may be few."""
    told: dict[str, int] = {}
    rules = [{"id": name, "defaultConfiguration": {"level": level}} for name, level in _LEVELS.items()]
    run = {
        "tool": {"driver": {"name": DISTRIBUTION, "rules": rules}},
        "automationDetails": {"id": f"{report.task_id}/{report.run_id}"},
        "invocations": [{"executionSuccessful": report.outcome == "succeeded"}],
        "results": [_result(one, told) for one in report.review_findings or ()],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return {"$schema": schema, "version": "2.1.0", "runs": [run]}


def _result(one: ReviewFinding, told: dict[str, int]) -> dict[str, Any]:
    """Its fingerprint stays when lines move; of equal ones each has a number."""
    lines = (f"{one.title}{PLACES.get(one.place or '', '')}", one.detail, one.evidence)
    name = sha256("\0".join((one.file, " ".join(one.title.casefold().split()))).encode()).hexdigest()[:32]
    told[name] = told.get(name, 0) + 1
    made: dict[str, Any] = {
        "ruleId": one.severity,
        "ruleIndex": SEVERITIES.index(one.severity),
        "level": _LEVELS[one.severity],
        "message": {"text": "\n\n".join(filter(None, lines))},
        "partialFingerprints": {"reviewFinding/v1": f"{name}:{told[name]}"},
        "properties": {"place": one.place, "step": one.step, "line": one.line},
    }
    if one.file and one.place != "outside" and not posixpath.isabs(one.file):
        place: dict[str, Any] = {"artifactLocation": {"uri": quote(one.file), "uriBaseId": "%SRCROOT%"}}
        if one.place == "found" and one.line is not None:
            place["region"] = {"startLine": one.line}
        made["locations"] = [{"physicalLocation": place}]
    return made
