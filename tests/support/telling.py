"""A runtime whose lines are activities already: what is made of them is tested without any program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.errors import ConfigInvalid
from runner.runtimes import endings
from runner.runtimes.base import Activity, CommandRequest, End, Runtime

if TYPE_CHECKING:
    from runner.model import Json, Outcome, Reason
    from runner.runtimes.base import Reader


class Telling(Runtime):
    """See `base.Runtime`."""

    name = title = "telling"
    install_hint = "it is part of the tests"

    def identify(self, version_output: str) -> str | None:
        return None

    def command(self, request: CommandRequest) -> tuple[str, ...]:
        raise ConfigInvalid("it is never started")

    def reader(self) -> Reader:
        def read(record: Json) -> tuple[Activity, ...]:
            return (Activity.from_json(dict(record)),)

        return read

    def conclude(self, end: End) -> tuple[Outcome, Reason]:
        return endings.lost()
