"""The manifest value: the run's public face, and its JSON in both directions. Pure.

Every field was observed or declared; unknown is None. Older
`schema_version`s stay readable for ever: `from_json` fills what they did not have (tests/data/).
"""

from __future__ import annotations

import time

from runner.conformance import Agreement, Conformance
from runner.errors import ExitStatus, ManifestNewer
from runner.model import (
    SCHEMA_VERSION,
    Context,
    Delegation,
    Identity,
    Level,
    Lineage,
    Outcome,
    Phase,
    Price,
    Reason,
    Usage,
)
from runner.state.engine import Engine
from runner.state.lifecycle import FINAL_EVENTS, Event, next_phase, status
from runner.value import Amount, Count, Seconds, StrEnum, Timestamp, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    from runner.invocation import Invocation
    from runner.model import Json


INTERRUPTED = "interrupted"
"""The class of an end that somebody has brought about to be heard at once."""
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
    isolation: str | None = None
    """As `Invocation.isolation`."""
    hosts: tuple[str, ...] = ()
    deny_read: tuple[str, ...] = ()
    """As those of `model.Sandbox`."""


class DelegationDeclared(Value):
    enabled: bool
    server: str
    tools: tuple[str, ...]


class Attempt(Value):
    """One start of the runtime inside the run."""

    n: Count
    process: Identity | None = None
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    exit_code: int | None = None
    signal: int | None = None
    how: str = "first"
    """`first`, `resume`, `fresh`, or CLOSING."""
    argv: tuple[str, ...] | None = None
    """None: that of the invocation."""
    prompt: str = "prompt.md"
    stdout_from: Count = 0
    """Where in stdout.jsonl it begins."""
    stderr_from: Count = 0
    thread_id: str | None = None
    usage: Usage | None = None
    """Of its thread, which earlier attempts may have begun."""
    usage_before: Usage | None = None
    """What of that was spent before the run, which resumed the thread of another one."""
    cost: Amount | None = None
    """Of its process in US dollars, where the program itself counts that."""
    reason: str | None = None
    """The class of its end, once there was another attempt after it."""
    counts: bool = False
    """Whether it was a failure of the task itself."""
    tree: str | None = None
    """What was judged, in the run's own record of its work tree."""
    failed_check: str | None = None
    """The check that failed on it, and how."""
    messages: tuple[str, ...] = ()
    """The ids of the messages that were given in it."""


def counted(attempts: Sequence[Attempt]) -> float | None:
    """What their programs say that they have cost; None where none of them does."""
    told = [one.cost for one in attempts if one.cost is not None]
    return sum(told) if told else None


class Survivor(Value):
    """A process of the run that was still seen after everything was done to end it."""

    pid: Count
    start_time: Count
    command: str


class Proof(StrEnum):
    """How it is known what of a run was left when its agent had ended."""

    PROVED = "proved"
    """The kernel says that the group is empty in which it was started, and which it could not leave."""
    SEEN = "seen"
    """The lists of processes were searched again and again, until nothing was found."""
    UNKNOWN = "unknown"
    """Nobody has looked where it lived: its engine has ended it there, and `survivors` is None."""


class Workspace(Value):
    """Where a run works: `in-place`, or in a `worktree` of its own, made of the commit `base`."""

    kind: str
    path: str
    base: str | None


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
    attempt: Count
    attempts: tuple[Attempt, ...]
    process: Identity | None
    supervisor: Identity | None
    created_at: Timestamp
    started_at: Timestamp | None
    paused_at: Timestamp | None
    ended_at: Timestamp | None
    updated_at: Timestamp
    paused_seconds: float
    exit_code: int | None
    signal: int | None
    survivors: tuple[Survivor, ...] | None
    """None where it is not known whether there are any: see `Proof.UNKNOWN`."""
    thread_id: str | None
    usage: Usage
    last_message: str | None
    last_activity: str | None
    questions_open: Count
    artifacts: dict[str, str]
    config_digest: str
    prompt_digest: str
    workspace: Workspace | None = None
    """None where it is not recorded."""
    conformance: Conformance | None = None
    retry_of: Lineage | None = None
    plan: Json | None = None
    """How far a plan is, as `Ledger.shown` says it; only of the run that carries one out."""
    cgroup: str | None = None
    """The control group that all its processes were started in; None without one."""
    suspended_seconds: Seconds = 0.0
    """In which its supervisor did not run, as the machine slept or someone stopped it."""
    paused_uptime: float | None = None
    """`paused_at` in seconds since the boot: clocks that show the time of day can be set."""
    proof: Proof | None = None
    """How `survivors` is known; None until its agent has ended, and in a run of an older runner."""
    login_shell_loses: tuple[str, ...] = ()
    """See `Invocation`."""
    failed_before: tuple[tuple[str, ...], ...] | None = None
    """The checks that failed before its agent began; None where they were not run then."""
    sessions: tuple[str, ...] = ()
    """See `Invocation`."""
    price: Price | None = None
    """What its tokens cost each, as the settings said at its start."""
    open: bool = False
    """Whether it waits for a message when its agent has ended a turn."""
    turns: Count = 0
    """How many turns of its agent have ended, which `turns/` tells of."""
    messages_queued: Count = 0
    """How many messages wait for the end of a turn."""
    waiting_seconds: Seconds = 0.0
    """In which it waited for messages."""
    waiting_uptime: float | None = None
    """Since when it waits for one now, in seconds since the boot."""
    continues: Lineage | None = None
    """See `Invocation`."""
    context: Context | None = None
    """Of its thread; None where its program does not say."""
    engine: Engine | None = None
    """None for a run that lives where it was started."""

    @property
    def status(self) -> str:
        """The phase, or the outcome once the run is done."""
        return status(self.phase, self.outcome)

    @property
    def cost(self) -> float | None:
        """What its tokens cost; None where that is not known, also of a model other than the declared one."""
        seen = None if self.conformance is None else self.conformance.model
        if self.rehearsal:
            return None
        if self.price is None:
            is_told = all(one.cost is not None for one in self.attempts)
            return counted(self.attempts) if is_told else None
        is_other = seen is not None and seen.verdict is Agreement.DRIFT
        return None if is_other else self.price.total(self.usage)

    @property
    def is_done(self) -> bool:
        return self.phase is Phase.DONE

    @property
    def exit_status(self) -> ExitStatus:
        """What `wait` answers for it; OK while it is not done, and never for one that nobody knows."""
        if self.outcome is None:
            return ExitStatus.GAVE_UP_WAITING if self.is_done else ExitStatus.OK
        if self.outcome is Outcome.FAILED and self.reason and self.reason.code == "budget_exceeded":
            return ExitStatus.BUDGET
        return _EXITS.get(self.outcome, ExitStatus.NOT_SUCCESSFUL)

    @property
    def left_over(self) -> str | None:
        """`survivors` in words; None where there are none."""
        if self.survivors is None:
            engine = self.engine
            nodes = () if engine is None else engine.unseen or filter(None, (engine.node,))
            where = ", ".join(nodes)
            return f"not known on {where}" if where else "not known"
        return ", ".join(f"{one.command} ({one.pid})" for one in self.survivors) or None

    @property
    def never_started(self) -> bool:
        """Whether its starter was killed before anything of it ran."""
        return self.reason is not None and self.reason.code == "never_started"

    @property
    def has_open_breaker(self) -> bool:
        """Whether it carried out a plan that goes no further before a person says so."""
        try:
            return self.plan is not None and self.plan["breaker"]["open"] is not False
        except (KeyError, TypeError):
            return False

    @property
    def plan_stop(self) -> Reason | None:
        """Why its plan goes no further before a person acts; None where that is not so."""
        breaker = None if self.plan is None else self.plan.get("breaker")
        if not isinstance(breaker, dict):
            return None
        if self.has_open_breaker:
            what = "steps" if (self.plan or {}).get("stages") else "batches"
            return Reason("breaker_open", f"{what} failed in a row: {breaker.get('failures')}")
        if isinstance(parked := breaker.get("parked"), dict):
            return Reason(str(parked.get("code")), str(parked.get("message")))
        is_wanted = self.is_done and self.outcome not in (Outcome.SUCCEEDED, Outcome.CANCELLED)
        return self.reason if is_wanted and self.plan is not None and self.plan.get("left") else None

    @property
    def turns_begun(self) -> int:
        """How many turns of its agent there are, with the one that goes on."""
        return sum(one.how != CLOSING for one in self.attempts)

    @property
    def has_turns(self) -> bool:
        """Whether somebody talks with its agent, or is awaited to."""
        return self.open or self.messages_queued > 0 or bool(self.messages_given)

    @property
    def messages_given(self) -> set[str]:
        """The ids of those that its agent has got."""
        return {message for one in self.attempts for message in one.messages}

    def with_last_attempt(self, **changes: Any) -> Manifest:
        """A copy with these changes of its last attempt."""
        *former, last = self.attempts
        return self.replace(attempts=(*former, last.replace(**changes)))

    def with_left(self, survivors: tuple[Survivor, ...], proof: Proof) -> Self:
        """A copy with what a look here has found. Where a former copy of its job may have left something on
        another node, that nothing is left here proves nothing.
        """
        is_seen = self.engine is None or not self.engine.unseen
        return self.replace(
            survivors=survivors if is_seen else survivors or None, proof=proof if is_seen else Proof.UNKNOWN
        )

    def to_json(self) -> dict[str, Any]:
        data = super().to_json()
        return {"schema_version": data.pop("schema_version"), "status": self.status, **data}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """ManifestNewer for a `schema_version` that this runner does not know yet."""
        if type(data) is not dict:
            return super().from_json(data)
        version = data.get("schema_version")
        if type(version) is int and version > SCHEMA_VERSION:
            raise ManifestNewer(f"schema_version {version} is newer than this runner's {SCHEMA_VERSION}")
        return super().from_json({**_OLDER, **data})


_STOPS = ("cancelled", "engine_cancelled", "engine_preempted", "engine_time_limit")
_EXITS = {
    Outcome.SUCCEEDED: ExitStatus.OK,
    Outcome.TIMED_OUT: ExitStatus.TIMED_OUT,
    Outcome.REJECTED: ExitStatus.REJECTED,
}
_DECLARED = ("retry_of", "continues", "login_shell_loses", "sessions", "price")
"""What it has as its invocation has it."""
_OLDER = {"questions_open": 0, "children": [], "paused_seconds": 0.0, "last_activity": None}
"""What the first manifests did not have yet."""


def timestamp(at: float | None = None) -> str:
    """UTC, RFC 3339, milliseconds; now, or the given seconds since the epoch."""
    whole, milliseconds = divmod(round((time.time() if at is None else at) * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03d}Z"


def parse_timestamp(text: str) -> float:
    """Seconds since the epoch of our own `timestamp`; ValueError for anything else."""
    month, day, hour, minute, second = (int(text[at : at + 2]) for at in (5, 8, 11, 14, 17))
    if not 1 <= month <= 12:
        raise ValueError(text)
    # days_from_civil, https://howardhinnant.github.io/date_algorithms.html; `calendar` imports `re`, `enum`
    year = int(text[:4]) - (month <= 2)
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day
    return ((days - 719_469) * 24 + hour) * 3600 + minute * 60 + second + float(text[19:].rstrip("Z") or 0)


def between(started_at: str, ended_at: str | None) -> float | None:
    """Seconds, so far without an end. None where the clock was set back: how long it took is not known."""
    end = time.time() if ended_at is None else parse_timestamp(ended_at)
    took = end - parse_timestamp(started_at)
    return took if took >= 0 else None


def _sandbox(invocation: Invocation) -> SandboxDeclared:
    own = invocation.sandbox
    return SandboxDeclared(own.name, own.level, own.network, invocation.isolation, own.hosts, own.deny_read)


def first(invocation: Invocation, artifacts: dict[str, str]) -> Manifest:
    """The manifest of a run that has a folder and nothing else yet."""
    delegation: Delegation = invocation.delegation
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
        sandbox=_sandbox(invocation),
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
        open=invocation.open_timeout_s is not None,
        **{name: getattr(invocation, name) for name in _DECLARED},
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
        changes.setdefault("paused_uptime", None)
        since = max(0.0, parse_timestamp(now) - parse_timestamp(manifest.paused_at))
        changes.setdefault("paused_seconds", round(manifest.paused_seconds + since, 3))
    if phase is Phase.DONE:
        changes.setdefault("ended_at", now)
    if reason is not None:
        changes["reason"] = reason
    return manifest.replace(phase=phase, outcome=outcome, updated_at=now, **changes)


def started(manifest: Manifest, process: Identity, at: str | None = None, **of_attempt: Any) -> Manifest:
    """The manifest once the process of its present attempt was exec'd, which was now or `at`."""
    running = advance(manifest, Event.STARTED, at=at, process=process)
    attempt = Attempt(running.attempt, process, running.updated_at, **of_attempt)
    return running.replace(attempts=(*manifest.attempts, attempt))


def exited(manifest: Manifest, exit_code: int | None, signal: int | None, at: str | None = None) -> Manifest:
    """The manifest with the true exit of the process, both None where nobody saw it."""
    ended = advance(manifest, Event.EXITED, at=at, exit_code=exit_code, signal=signal)
    return ended.with_last_attempt(ended_at=ended.updated_at, exit_code=exit_code, signal=signal)


def retried(manifest: Manifest, n: int, at: str | None = None) -> Manifest:
    """The manifest of attempt `n`, whose process is not there yet."""
    again = advance(manifest, Event.RETRIED, at=at, attempt=n, process=None, exit_code=None, signal=None)
    return again.replace(reason=None)


def continued(manifest: Manifest, n: int, at: str | None = None) -> Manifest:
    """As `retried`, for the attempt of the next turn."""
    again = advance(manifest, Event.CONTINUED, at=at, attempt=n, process=None, exit_code=None, signal=None)
    return again.replace(waiting_uptime=None)


def cancelled(actor: str, why: str) -> Reason:
    """The request behind a cancel, as the manifest words it."""
    return Reason("cancelled", f"cancelled by {actor}" + (f": {why}" if why else ""))


def stops_all(reason: Reason | None) -> bool:
    """Whether a run was stopped from outside, and so are those below it."""
    return reason is not None and reason.code in _STOPS
