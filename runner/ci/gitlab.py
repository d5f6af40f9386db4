"""Notices as GitLab's code quality, and variables as its dotenv report. Pure.

https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsdotenv
"""

from __future__ import annotations

from runner.ci.notice import LEVELS, names
from runner.text.words import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runner.ci.notice import Notice

_MOST = 5000
_DOTENV = 5000
"""GitLab takes 5 KiB unless it was told otherwise (`dotenv_size`)."""
_SEVERITIES = dict(zip(LEVELS, ("critical", "major", "minor"), strict=True))


def code_quality(notices: Sequence[Notice]) -> list[dict[str, Any]]:
    """What names a file, of more the gravest 5,000: GitLab takes nothing else. Where a line is not known, the
    first is named.
    """
    placed = sorted((one for one in notices if one.file), key=lambda one: LEVELS.index(one.level))[:_MOST]
    return [
        {
            "description": one_line(f"{one.title} {one.detail}", 1000),
            "check_name": one.rule,
            "fingerprint": name,
            "severity": _SEVERITIES[one.level],
            "location": {"path": one.file, "lines": {"begin": one.line or 1}},
        }
        for one, name in zip(placed, names(placed), strict=True)
    ]


def dotenv(told: Mapping[str, str]) -> str:
    """A value is one line there: another one is left empty, and so is what makes it too large."""
    made = dict.fromkeys(told, "")
    for name, value in told.items():
        if value.isprintable() and len(_lines(made | {name: value}).encode()) <= _DOTENV:
            made[name] = value
    return _lines(made)


def _lines(told: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in told.items())
