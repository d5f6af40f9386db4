"""What was found at a run's end, as `result.json` in its folder says it. Pure.

The file is the supervisor's, but an agent without a sandbox can reach it: whatever is in it, the answer is a
`Record` of values that a report can show, or a ValueError.
"""

from __future__ import annotations

from runner.value import Value
from runner.verify.checks import Check
from runner.verify.claim import RESULT_SCHEMA, Claim
from runner.verify.inspect import Finding, Observed, Severity
from runner.verify.report import SETTINGS
from runner.verify.taxonomy import FailureCode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.model import Json

VERSION = 1
_STATUSES = (*RESULT_SCHEMA["properties"]["status"]["enum"], "blocked")
_VERDICTS = ("ok", "drift", "unverified")
_ENDLESS_S = 1e12
"""No check takes as long; a whole number may be more than a float can hold."""


class RolledBack(Value):
    """What became of the changes of a run that was rolled back."""

    count: int
    """How many files are as they were before."""
    kept: tuple[str, ...]
    amiss: tuple[str, ...]
    """What could not be brought back, or was seen to be other than before."""
    refused: str | None = None
    """Why nothing was rolled back."""


class Record(Value):
    attempt: int
    """The attempt that it speaks of."""
    claim: Claim | None
    observed: Observed | None
    checks: tuple[Check, ...]
    declared_checks: int
    findings: tuple[Finding, ...]
    failure_codes: tuple[str, ...]
    conformance: Json | None
    rolled_back: RolledBack | None


def parse(data: Any) -> Record:
    """The record; a ValueError says what is wrong with `data`."""
    try:
        version = _count(data["schema_version"])
        if version > VERSION:
            raise ValueError(f"its schema_version {version} is newer than this runner's {VERSION}")
        return Record(
            attempt=_count(data["attempt"]),
            claim=None if data["claim"] is None else _claim(data["claim"]),
            observed=None if data["observed"] is None else _observed(data["observed"]),
            checks=tuple(check(one) for one in data["checks"]),
            declared_checks=_count(data["declared_checks"]),
            findings=tuple(_finding(one) for one in data["findings"]),
            failure_codes=tuple(dict.fromkeys(FailureCode(code) for code in data["failure_codes"])),
            conformance=None if data["conformance"] is None else settings(data["conformance"]),
            rolled_back=None if data["rolled_back"] is None else _rolled_back(data["rolled_back"]),
        )
    except KeyError as error:
        raise ValueError(f"`{error.args[0]}` is missing") from None
    except (TypeError, AttributeError, IndexError):
        raise ValueError("something in it is of another kind than it must be") from None


def check(data: Any) -> Check:
    """One check; also of an event `checked`. KeyError, TypeError or ValueError where it is none."""
    code, duration = data["exit_code"], data["duration_s"]
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        raise TypeError("duration_s")
    if not 0 <= duration < _ENDLESS_S:
        raise ValueError("`duration_s` is no time")
    return Check(
        argv=_texts(data["argv"]),
        exit_code=None if code is None else _whole(code),
        timed_out=data["timed_out"] is True,
        duration_s=duration,
        tail=_text(data["tail"]),
    )


def settings(data: Any) -> Json:
    """Setting -> declared, observed, verdict; of each only what a report shows."""
    found = {}
    for name in SETTINGS:
        if name in data:
            one = data[name]
            values = {key: None if one[key] is None else _text(one[key]) for key in ("declared", "observed")}
            found[name] = {**values, "verdict": _one_of(_VERDICTS, one["verdict"])}
    return found


def _claim(data: Any) -> Claim:
    return Claim(
        status=_one_of(_STATUSES, data["status"]),
        files_modified=_texts(data["files_modified"]),
        issues=_texts(data["issues"]),
        summary=_text(data["summary"]),
        verification_summary=_text(data["verification_summary"]),
        assumed=_texts(data.get("assumed", ())),
    )


def _observed(data: Any) -> Observed:
    listed = {
        name: _texts(data.get(name, ())) for name in ("absent", "moved_refs", "dirty_before", "unknown")
    }
    tree = None if data.get("tree") is None else _text(data["tree"])
    return Observed(_texts(data["changed"]), head_moved=data.get("head_moved") is True, tree=tree, **listed)


def _finding(data: Any) -> Finding:
    code = _text(data["code"])
    if not (code.isascii() and code.replace("_", "").isalpha() and code.islower() and code[0] != "_"):
        raise ValueError("a finding has no stable code")
    return Finding(code, Severity(data["severity"]), _text(data["message"]), _texts(data["evidence"]))


def _rolled_back(data: Any) -> RolledBack:
    if "refused" in data:
        return RolledBack(0, (), (), _text(data["refused"]))
    count = len(_texts(data["restored"])) + len(_texts(data["removed"]))
    return RolledBack(count, _texts(data["kept"]), (*_texts(data["left"]), *_texts(data["unequal"])))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError("no list")
    return tuple(map(_text, value))


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("no whole number")
    return value


def _count(value: Any) -> int:
    if _whole(value) < 0:
        raise ValueError("a count is negative")
    return int(value)


def _one_of(words: tuple[str, ...], value: Any) -> str:
    if value not in words:
        raise ValueError(f"a word is none of {', '.join(words)}")
    return str(value)
