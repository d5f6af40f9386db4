"""Compares the declared settings with those that the program reports. Pure.

The verdicts: `ok`, `drift`, and `unverified` where the program does not say. Where nothing was declared, the
program's own choice cannot be wrong: `ok` with the choice in `observed`, so that a reader knows it.
"""

from __future__ import annotations

from runner.conformance import Agreement, Conformance, Conformity
from runner.model import Level, Reason
from runner.runtimes.base import ObservedSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runner.invocation import Invocation


def declared(invocation: Invocation, approval: str | None) -> ObservedSettings:
    """What the program ought to say of itself; `approval` in the word of its runtime."""
    sandbox = invocation.sandbox
    return ObservedSettings(
        model=invocation.model,
        level=sandbox.level.value,
        # A sandbox that is none has the network, whatever stands beside it.
        network=sandbox.network or sandbox.level is Level.DANGER,
        approval=approval,
        effort=invocation.reasoning_effort,
        is_limited=bool(sandbox.hosts or sandbox.deny_read) or None,
    )


def compare(
    wanted: ObservedSettings,
    contexts: Sequence[ObservedSettings],
    same_model: Callable[[str, str], bool] = str.__eq__,
) -> Conformance:
    """Holds every turn's settings against what was declared; `same_model` is that of the runtime.

    `observed` is the last turn's, or that of the first turn that drifted: one turn with more rights than
    declared is enough, whatever the next one had.
    """
    rounds = [_compare(wanted, one, same_model) for one in contexts or (ObservedSettings(),)]
    chosen = {name: _worst([getattr(one, name) for one in rounds]) for name, _ in rounds[0].items()}
    return Conformance(**chosen)


def drift(conformance: Conformance) -> Reason | None:
    """The reason to end a run that does not work with what was declared, or None."""
    names = conformance.drifted
    if not names:
        return None
    parts = [_told(name, getattr(conformance, name)) for name in names]
    return Reason(
        "config_drift",
        f"the program does not use the declared settings: {'; '.join(parts)}",
        "find what changes it (a wrapper, a config of the program); "
        'conformance = "report" lets such a run continue',
    )


def _told(name: str, field: Conformity) -> str:
    return f"{name} is `{field.observed}`, declared is `{field.declared}`"


def _worst(fields: list[Conformity]) -> Conformity:
    return next((field for field in fields if field.verdict is Agreement.DRIFT), fields[-1])


def _compare(
    wanted: ObservedSettings, seen: ObservedSettings, same_model: Callable[[str, str], bool]
) -> Conformance:
    return Conformance(
        model=_field(wanted.model, seen.model, same_model),
        sandbox=_sandbox(wanted, seen),
        approval=_field(wanted.approval, seen.approval),
        effort=_field(wanted.effort, seen.effort),
    )


def _field(
    wanted: str | None, seen: str | None, is_same: Callable[[str, str], bool] = str.__eq__
) -> Conformity:
    if seen is None:
        return Conformity(wanted)
    is_ok = wanted is None or is_same(wanted, seen)
    return Conformity(wanted, seen, Agreement.OK if is_ok else Agreement.DRIFT)


def _sandbox(wanted: ObservedSettings, seen: ObservedSettings) -> Conformity:
    """Level and network in one: a level with a network that it ought not to have is another sandbox."""
    plain, shown = _named(wanted), _named(seen)
    if seen.level is None:
        return Conformity(plain)
    is_known = seen.network is not None and (seen.is_limited is not None or not wanted.is_limited)
    if seen.level == wanted.level and not is_known:
        return Conformity(plain, shown, Agreement.UNVERIFIED)
    is_same = (seen.level, seen.network) == (wanted.level, wanted.network)
    is_same = is_same and (seen.is_limited is not False or not wanted.is_limited)
    return Conformity(plain, shown, Agreement.OK if is_same else Agreement.DRIFT)


def _named(sandbox: ObservedSettings) -> str | None:
    if sandbox.level is None or sandbox.level == Level.DANGER:
        return sandbox.level
    limited = ", with its limits" if sandbox.is_limited else ""
    return f"{sandbox.level}{' with network' if sandbox.network else ''}{limited}"
