"""What was found at a run's end, as `result.json` in its folder says it. Edge: disk, reading.

The file is the supervisor's, but an agent without a sandbox can reach it. It is written before the work tree
is touched, so that an owner after a crash never judges a tree that was rolled back by it.
"""

from __future__ import annotations

from runner.conformance import Conformance
from runner.disk import files
from runner.git_change import PutBack
from runner.value import Count, Misfit, Value, json_value
from runner.verify.checks import Check
from runner.verify.claim import Claim, NoClaim
from runner.verify.evidence import Verdict
from runner.verify.inspect import Finding, Observed
from runner.verify.judgement import Judgement
from runner.verify.taxonomy import FailureCode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

VERSION = 1
LARGEST = 64 * 1024 * 1024
"""A longer one is not read. Ours has at most a result of 1 MiB, tails, and names of files."""


class RolledBack(Value):
    """The result of the rollback of a run: as `workspace.rollback.Rolled`, or why there was none."""

    restored: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    """What could not be brought back."""
    unequal: tuple[str, ...] = ()
    """What was seen to be other than before."""
    refused: str | None = None
    hint: str | None = None

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """It says at least either what was restored, or why nothing was."""
        made = super().from_json(data)
        if made.refused is None and "restored" not in data:
            raise Misfit("missing").inside("restored")
        return made

    @property
    def amiss(self) -> tuple[str, ...]:
        """What is not as before."""
        return (*(() if self.refused is None else (self.refused,)), *self.left, *self.unequal)


class Record(Value):
    schema_version: Count
    attempt: Count
    """The attempt that it speaks of."""
    claim: Claim | None
    observed: Observed | None
    checks: tuple[Check, ...]
    declared_checks: Count
    findings: tuple[Finding, ...]
    failure_codes: tuple[FailureCode, ...]
    conformance: Conformance | None
    rolled_back: RolledBack | None
    verdict: Verdict | None = None
    problem: NoClaim | None = None
    was_clean: bool | None = None
    is_touched: bool | None = False
    put_back: PutBack | None = None
    """Of what it changed in git and must not."""

    def to_json(self) -> dict[str, Any]:
        """With the row and the class of the verdict first, for a person who reads the file."""
        data = super().to_json()
        if self.verdict is None:
            return data
        return {"row": self.verdict.row, "class": self.verdict.code, **data}

    @classmethod
    def unjudged(
        cls,
        attempt: int = 1,
        checks: tuple[Check, ...] = (),
        declared_checks: int = 0,
        conformance: Conformance | None = None,
    ) -> Self:
        """Of an attempt that was not judged: nothing is claimed, nothing was observed."""
        return cls(VERSION, attempt, None, None, checks, declared_checks, (), (), conformance, None)

    @classmethod
    def from_judgement(
        cls,
        judgement: Judgement,
        attempt: int,
        conformance: Conformance | None,
        *,
        declared_checks: int,
        rolled_back: RolledBack | None,
        put_back: PutBack | None = None,
    ) -> Self:
        """Of the attempt that was judged. The diff is not recorded."""
        kept = {name: getattr(judgement, name) for name in _OF_A_JUDGEMENT}
        return cls(
            schema_version=VERSION,
            attempt=attempt,
            declared_checks=declared_checks,
            failure_codes=judgement.codes,
            conformance=conformance,
            rolled_back=rolled_back,
            put_back=put_back,
            **kept,
        )

    @property
    def judgement(self) -> Judgement | None:
        """What was recorded of it; None where no verdict was."""
        if self.verdict is None:
            return None
        return Judgement(codes=self.failure_codes, **{name: getattr(self, name) for name in _OF_A_JUDGEMENT})

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Misfit for one of a newer runner, too."""
        made = super().from_json(data)
        if made.schema_version > VERSION:
            raise Misfit(f"its schema_version {made.schema_version} is newer than this runner's {VERSION}")
        return made


_OF_A_JUDGEMENT = (
    *("verdict", "claim", "problem", "observed", "checks", "findings"),
    *("was_clean", "is_touched"),
)


def read(path: str) -> Record:
    """OSError or ValueError where there is none that can be used."""
    data = files.read(path, LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    return Record.from_json(json_value(data))


def load(path: str) -> Record | None:
    """As `read`; None where there is none that can be used."""
    try:
        return read(path)
    except (OSError, ValueError):
        return None
