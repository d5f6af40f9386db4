"""A person's consent, once per project, to delegate plans, kept as `decisions` are. Edge: disk."""

from __future__ import annotations

from runner.disk import decisions
from runner.disk.decisions import Kept
from runner.errors import Unwritable
from runner.model import SCHEMA_VERSION, Level
from runner.resolve.delegation import reaches_beyond, readable
from runner.state.manifest import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.model import Sandbox


class Consent(Kept):
    """What was agreed to: plans of `repo` go to `runtime` and to those of `also`, at this level or a narrower
    one.
    """

    runtime: str
    level: Level
    network: bool
    at: str
    also: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    deny_read: tuple[str, ...] = ()
    """As those of `model.Sandbox`."""

    @property
    def runtimes(self) -> tuple[str, ...]:
        return (self.runtime, *self.also)


def place(root: str, env: Mapping[str, str], sandbox: Sandbox | None = None) -> str:
    """The file of a consent for this repository. Unwritable where no folder for it is out of reach of those
    who work there: in the repository, or in what `sandbox` lets an agent write.
    """
    reached: tuple[str, ...] = ()
    if sandbox is not None and sandbox.level is Level.WORKSPACE_WRITE:
        reached = sandbox.writable
    return decisions.place("consents", "a consent", root, env, reached=reached)


def given(root: str, env: Mapping[str, str]) -> Consent | None:
    """The consent for this repository; None where there is none that can be believed."""
    try:
        return decisions.made(place(root, env), root, Consent)
    except Unwritable:
        return None


def covers(consent: Consent, runtime: str, sandbox: Sandbox) -> bool:
    """Whether that was agreed to: one of its runtimes, and nothing of the sandbox any wider."""
    return runtime in consent.runtimes and _is_as_wide(consent, sandbox)


def _is_as_wide(consent: Consent, sandbox: Sandbox) -> bool:
    whole = sandbox.replace(network=_has_network(sandbox))
    return (
        sandbox.level.rank <= consent.level.rank
        and not reaches_beyond(whole, consent.network, consent.hosts)
        and not readable(sandbox, consent.deny_read)
    )


def give(root: str, runtime: str, sandbox: Sandbox, env: Mapping[str, str]) -> Consent:
    """Stores it in the place of an earlier one, whose runtimes it keeps where that was as wide. Unwritable
    with that left as it was if it cannot.
    """
    path = place(root, env, sandbox)
    repo = decisions.name_of(root)
    before = given(root, env)
    kept = before.runtimes if before is not None and _is_as_wide(before, sandbox) else ()
    also = tuple(name for name in kept if name != runtime)
    allowed = (sandbox.level, _has_network(sandbox), timestamp(), also, sandbox.hosts, sandbox.deny_read)
    consent = Consent(SCHEMA_VERSION, repo, runtime, *allowed)
    decisions.keep(path, consent)
    return consent


def withdraw(root: str, env: Mapping[str, str]) -> bool:
    """Whether there was something to take away, good or broken. Unwritable if it is still there."""
    try:
        path = place(root, env)
    except Unwritable:
        return False  # nothing there can be trusted
    return decisions.withdraw(path)


def _has_network(sandbox: Sandbox) -> bool:
    return sandbox.network or sandbox.level is Level.DANGER  # nothing could keep that from it
