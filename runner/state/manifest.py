"""The manifest value: the run's public face, and its JSON in both directions. Pure.

Every field is something that was observed or declared; what is not known is None. Older
`schema_version`s stay readable for ever: `from_json` fills what they did not have (tests/data/).
"""

from __future__ import annotations

import time

from runner.errors import ManifestNewer
from runner.model import (
    SCHEMA_VERSION,
    Delegation,
    Identity,
    Level,
    Lineage,
    Outcome,
    Phase,
    Reason,
    Usage,
)
from runner.state.lifecycle import FINAL_EVENTS, Event, next_phase, status
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from runner.model import Json

    AnyValue = TypeVar("AnyValue", bound=Value)
    from runner.invocation import Invocation


CLOSING = "closing"
"""How the attempt came about that only asks for the result."""


class RuntimeFound(Value):
    """The program that runs: its real path and what it said of its version."""

    name: str
    path: str
    version: str


class SandboxDeclared(Value):
    name: str
    level: Level
    network: bool


class DelegationDeclared(Value):
    enabled: bool
    server: str
    tools: tuple[str, ...]


class Attempt(Value):
    """One start of the runtime inside the run."""

    n: int
    process: Identity | None = None
    started_at: str | None = None
    ended_at: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    how: str = "first"
    """`first`, `resume`, `fresh`, or CLOSING."""
    argv: tuple[str, ...] | None = None
    """None: that of the invocation."""
    prompt: str = "prompt.md"
    stdout_from: int = 0
    """Where in stdout.jsonl it begins."""
    stderr_from: int = 0
    thread_id: str | None = None
    usage: Usage | None = None
    """Of its thread, which earlier attempts may have begun."""
    reason: str | None = None
    """The class of its end, once there was another attempt after it."""
    counts: bool = False
    """Whether it was a failure of the task itself."""


class Survivor(Value):
    """A process of the run that was still seen after everything was done to end it."""

    pid: int
    start_time: int
    command: str


class Manifest(Value):
    """The current snapshot of a run. Only the holder of the run's lock replaces it on disk."""

    schema_version: int
    task_id: str
    run_id: str
    manifest_path: str
    repo: str
    title: str | None
    phase: Phase
    outcome: Outcome | None
    reason: Reason | None
    rehearsal: bool
    parent: Lineage | None
    children: tuple[Lineage, ...]
    runtime: RuntimeFound
    model: str | None
    reasoning_effort: str | None
    sandbox: SandboxDeclared
    delegation: DelegationDeclared
    attempt: int
    attempts: tuple[Attempt, ...]
    process: Identity | None
    supervisor: Identity | None
    created_at: str
    started_at: str | None
    paused_at: str | None
    ended_at: str | None
    updated_at: str
    paused_seconds: float
    exit_code: int | None
    signal: int | None
    survivors: tuple[Survivor, ...]
    thread_id: str | None
    usage: Usage
    last_message: str | None
    last_activity: str | None
    questions_open: int
    artifacts: dict[str, str]
    config_digest: str
    prompt_digest: str
    workspace: dict[str, str | None] | None = None
    """`kind` (in-place, worktree), `path` and `base` of the work tree; None where it is not recorded."""
    conformance: dict[str, dict[str, str | None]] | None = None
    """Setting -> what was declared, what the program said it used, the verdict."""
    retry_of: Lineage | None = None
    plan: dict[str, Any] | None = None
    """How far a plan is, as `Ledger.shown` says it; only of the run that carries one out."""

    @property
    def status(self) -> str:
        """The phase, or the outcome once the run is done."""
        return status(self.phase, self.outcome)

    @property
    def is_done(self) -> bool:
        return self.phase is Phase.DONE

    @property
    def has_open_breaker(self) -> bool:
        """Whether it carried out a plan that goes no further before a person says so."""
        try:
            return self.plan is not None and self.plan["breaker"]["open"] is not False
        except (KeyError, TypeError):
            return False

    def to_json(self) -> dict[str, Any]:
        data = super().to_json()
        return {"schema_version": data.pop("schema_version"), "status": self.status, **data}

    @classmethod
    def from_json(cls, data: Json) -> Manifest:
        """The value of a manifest's JSON; KeyError, TypeError or ValueError where it is not one.

        ManifestNewer for a `schema_version` that this runner does not know yet.
        """
        version = data["schema_version"]
        if version > SCHEMA_VERSION:
            raise ManifestNewer(f"schema_version {version} is newer than this runner's {SCHEMA_VERSION}")
        fields = {name: data.get(name, _MISSING.get(name)) for name in cls._fields}
        fields["phase"] = Phase(data["phase"])
        fields["outcome"] = None if data["outcome"] is None else Outcome(data["outcome"])
        fields["runtime"] = _known(RuntimeFound, data["runtime"])
        sandbox = data["sandbox"]
        fields["sandbox"] = SandboxDeclared(
            sandbox["name"], Level(sandbox["level"]), bool(sandbox["network"])
        )
        delegation = data["delegation"]
        fields["delegation"] = DelegationDeclared(
            delegation["enabled"], delegation["server"], tuple(delegation["tools"])
        )
        fields["attempts"] = tuple(_attempt(item) for item in data["attempts"])
        fields["children"] = tuple(_known(Lineage, item) for item in data["children"])
        fields["survivors"] = tuple(_known(Survivor, item) for item in data["survivors"])
        fields["usage"] = _known(Usage, data["usage"])
        for name, kind in (("reason", Reason), ("parent", Lineage), ("retry_of", Lineage)):
            fields[name] = None if data.get(name) is None else _known(kind, data[name])
        for name in ("process", "supervisor"):
            fields[name] = None if data[name] is None else Identity.from_json(data[name])
        fields["artifacts"] = dict(data["artifacts"])
        fields["workspace"] = _texts(data.get("workspace"), ("kind", "path", "base"))
        found = data.get("conformance")
        fields["conformance"] = found and {
            str(name): _texts(one, ("declared", "observed", "verdict")) for name, one in found.items()
        }
        if fields["plan"] is not None and not isinstance(fields["plan"], dict):
            raise TypeError("`plan` is no object")
        return cls(**fields)


_MISSING: dict[str, object] = {"questions_open": 0, "children": (), "paused_seconds": 0.0}


def _texts(data: Json | None, names: tuple[str, ...]) -> dict[str, str | None] | None:
    """These texts, or nulls, of an object; None where there is none."""
    return None if data is None else {name: data[name] and str(data[name]) for name in names}


def _attempt(data: Json) -> Attempt:
    process = data["process"]
    known = None if process is None else Identity.from_json(process)
    fields = {**data, "process": known}
    if data.get("argv") is not None:
        fields["argv"] = tuple(data["argv"])
    if data.get("usage") is not None:
        fields["usage"] = _known(Usage, data["usage"])
    return _known(Attempt, fields)


def _known(kind: type[AnyValue], data: Json) -> AnyValue:
    """The value of what this version knows; a newer one may have added a field without a new version."""
    if not isinstance(data, dict):
        raise TypeError(f"not an object: {data!r}")
    return kind(**{name: data[name] for name in kind._fields if name in data})


def timestamp(at: float | None = None) -> str:
    """UTC, RFC 3339, milliseconds; now, or the given seconds since the epoch."""
    whole, milliseconds = divmod(round((time.time() if at is None else at) * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03d}Z"


def parse_timestamp(text: str) -> float:
    """Seconds since the epoch of our own `timestamp`; ValueError for anything else."""
    import calendar

    numbers = tuple(int(text[at : at + 2]) for at in (5, 8, 11, 14, 17))
    return calendar.timegm((int(text[:4]), *numbers)) + float(text[19:].rstrip("Z") or 0)


def first(invocation: Invocation, artifacts: dict[str, str]) -> Manifest:
    """The manifest of a run that has a folder and nothing else yet."""
    delegation: Delegation = invocation.delegation
    sandbox = invocation.sandbox
    now = timestamp()
    return Manifest(
        schema_version=SCHEMA_VERSION,
        task_id=invocation.task_id,
        run_id=invocation.run_id,
        manifest_path=invocation.manifest_path,
        repo=invocation.repo,
        title=invocation.title,
        phase=Phase.QUEUED,
        outcome=None,
        reason=None,
        rehearsal=invocation.rehearsal is not None,
        parent=invocation.parent,
        children=(),
        runtime=RuntimeFound(invocation.runtime, invocation.program, invocation.version),
        model=invocation.model,
        reasoning_effort=invocation.reasoning_effort,
        sandbox=SandboxDeclared(sandbox.name, sandbox.level, sandbox.network),
        delegation=DelegationDeclared(delegation.enabled, delegation.server, delegation.tools),
        attempt=0,
        attempts=(),
        process=None,
        supervisor=None,
        created_at=now,
        started_at=None,
        paused_at=None,
        ended_at=None,
        updated_at=now,
        paused_seconds=0.0,
        exit_code=None,
        signal=None,
        survivors=(),
        thread_id=None,
        usage=Usage(),
        last_message=None,
        last_activity=None,
        questions_open=0,
        artifacts=artifacts,
        config_digest=invocation.config_digest,
        prompt_digest=invocation.prompt_digest,
        retry_of=invocation.retry_of,
    )


def advance(
    manifest: Manifest,
    event: Event,
    *,
    outcome: Outcome | None = None,
    reason: Reason | None = None,
    at: str | None = None,
    **changes: Any,
) -> Manifest:
    """The manifest after `event`, which happened now or `at`.

    A final event needs an outcome and no other may have one.
    """
    if (outcome is not None) != (event in FINAL_EVENTS):
        raise ValueError(f"`{event}` and outcome {outcome!r} do not go together")
    now = timestamp() if at is None else at
    phase = next_phase(manifest.phase, event)
    if event is Event.STARTED:
        changes.setdefault("started_at", manifest.started_at or now)
    if event is Event.PAUSED:
        changes.setdefault("paused_at", now)
    elif manifest.paused_at is not None and phase is not Phase.PAUSED:
        changes.setdefault("paused_at", None)
        since = max(0.0, parse_timestamp(now) - parse_timestamp(manifest.paused_at))
        changes.setdefault("paused_seconds", round(manifest.paused_seconds + since, 3))
    if phase is Phase.DONE:
        changes.setdefault("ended_at", now)
    if reason is not None:
        changes["reason"] = reason
    return manifest.replace(phase=phase, outcome=outcome, updated_at=now, **changes)
