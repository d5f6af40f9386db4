"""What two sets of named words differ in. Pure."""

from __future__ import annotations

from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Difference(Value):
    """None is not there."""

    key: str
    before: str | None
    after: str | None

    @property
    def kind(self) -> str:
        return "new" if self.before is None else "gone" if self.after is None else "changed"

    @property
    def words(self) -> str:
        """What it is now, and what it was if it is another."""
        if self.before is None or self.after is None:
            return self.after or self.before or ""
        return f"{self.after}  (was: {self.before})"


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Difference, ...]:
    """What is new or changed in the order of `after`, then what is gone in that of `before`."""
    keys = dict.fromkeys((*after, *before))
    both = (Difference(key, before.get(key), after.get(key)) for key in keys)
    return tuple(one for one in both if one.before != one.after)
