"""Whether a run works with what was declared of it, setting by setting. Pure."""

from __future__ import annotations

from runner.value import StrEnum, Value


class Agreement(StrEnum):
    """Whether a setting was as declared; `unverified` where the program does not say."""

    OK = "ok"
    DRIFT = "drift"
    UNVERIFIED = "unverified"


class Conformity(Value):
    """One setting of a run. None is: nothing declared, or not observed."""

    declared: str | None = None
    observed: str | None = None
    verdict: Agreement = Agreement.UNVERIFIED


class Conformance(Value):
    """What was declared of a run and may be in force otherwise."""

    model: Conformity = Conformity()
    sandbox: Conformity = Conformity()
    approval: Conformity = Conformity()
    effort: Conformity = Conformity()
    thread: Conformity | None = None
    """Only where the program works in another session than the one that its command names."""

    def items(self) -> tuple[tuple[str, Conformity], ...]:
        """(name, setting), in their order."""
        named = ((name, getattr(self, name)) for name in self._fields)
        return tuple((name, one) for name, one in named if one is not None)

    @property
    def drifted(self) -> tuple[str, ...]:
        """The names of the settings that are not as declared."""
        return tuple(name for name, setting in self.items() if setting.verdict is Agreement.DRIFT)
