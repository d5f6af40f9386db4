"""The options of a plan's or a pipeline's start that its runs obey. Pure."""

from __future__ import annotations

from runner.value import Misfit, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self


class Options(Value):
    """The command line of `start --plan` and `start --pipeline`, as far as it is about their runs."""

    model: str | None = None
    sandbox: str | None = None
    map: str | None = None
    rehearse: bool = False
    rehearsal_script: str | None = None
    """A script for every run, or a folder with one for each: `batch-<n>.toml`, of a pipeline by its step."""
    allow_danger: bool = False
    config_file: str | None = None
    sets: tuple[str, ...] = ()
    folder: str | None = None
    """From where the settings are looked for."""

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Misfit for an unknown option, too: the batches would not obey it."""
        made = super().from_json(data)
        if unknown := data.keys() - {*cls._fields}:
            raise Misfit("it is not known").inside(min(unknown))
        return made
