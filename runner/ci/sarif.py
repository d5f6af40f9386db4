"""Notices as SARIF 2.1.0, for programs that show what analysers have found. Pure.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

from urllib.parse import quote

from runner.ci.notice import LEVELS, names, of_reviews
from runner.model import DISTRIBUTION
from runner.text.words import count
from runner.verify.plan_report import GONE
from runner.verify.review import SEVERITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runner.ci.notice import Notice
    from runner.verify.report import Report

_MOST = 5000
"""https://docs.github.com/code-security/code-scanning/integrating-with-code-scanning: so many are shown."""


def of_report(report: Report, missing: Sequence[str] = ()) -> dict[str, Any]:
    """Severities are its rules. That a run did not succeed stands beside its results, as these may be few, as
    do the steps of which nobody knows the results.
    """
    rules = dict(zip(SEVERITIES, LEVELS, strict=True))
    about = f"{report.task_id}/{report.run_id}"
    is_done = report.outcome == "succeeded" and not missing
    made = document(of_reviews(report), rules, about, "reviewFinding", is_done=is_done)
    if missing:
        told = made["runs"][0]["invocations"][0].setdefault("toolExecutionNotifications", [])
        told += [{"level": "error", "message": {"text": f"{name}: {GONE}"}} for name in missing]
    return made


def of_reports(found: Sequence[tuple[Report, Sequence[str]]]) -> tuple[dict[str, Any], int]:
    """One document with each as a run of its own, and how many findings it leaves out: GitHub refuses a
    document as a whole where a result names no file (https://github.com/github/codeql-action/issues/2459).
    """
    made = [of_report(*one) for one in found]
    runs = [run for one in made for run in one["runs"]]
    placed = [[one for one in run["results"] if "locations" in one] for run in runs]
    rest = sum(len(run["results"]) - len(some) for run, some in zip(runs, placed, strict=True))
    runs = [{**run, "results": some} for run, some in zip(runs, placed, strict=True)]
    return {**made[0], "runs": runs}, rest


def document(
    notices: Sequence[Notice], rules: Mapping[str, str], about: str, kind: str, *, is_done: bool
) -> dict[str, Any]:
    """`rules` are all there can be, with the level of each; `kind` names the fingerprints. Where there are
    more results than a code host shows, it says how many are left out.
    """
    ids, told = [*rules], [*zip(notices, names(notices), strict=True)]
    done: dict[str, Any] = {"executionSuccessful": is_done}
    if rest := told[_MOST:]:
        text = {"text": f"{count(len(rest), 'more result')} left out"}
        done["toolExecutionNotifications"] = [{"level": "warning", "message": text}]
    run = {
        "tool": {
            "driver": {
                "name": DISTRIBUTION,
                "rules": [
                    {"id": name, "defaultConfiguration": {"level": level}} for name, level in rules.items()
                ],
            }
        },
        "automationDetails": {"id": about},
        "invocations": [done],
        "results": [
            _result(one, ids.index(one.rule)) | {"partialFingerprints": {f"{kind}/v1": name}}
            for one, name in told[:_MOST]
        ],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return {"$schema": schema, "version": "2.1.0", "runs": [run]}


def _result(one: Notice, index: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "ruleId": one.rule,
        "ruleIndex": index,
        "level": one.level,
        "message": {"text": "\n\n".join(filter(None, (one.title, one.detail)))},
        "properties": dict(one.about),
    }
    if one.file:
        place: dict[str, Any] = {
            "artifactLocation": {"uri": quote(one.file, errors="surrogateescape"), "uriBaseId": "%SRCROOT%"}
        }
        if one.line is not None:
            place["region"] = {"startLine": one.line}
        made["locations"] = [{"physicalLocation": place}]
    return made
