"""What a tool of the delegation server is: a schema, words for the model and a use case. Pure."""

from __future__ import annotations

from runner.delegation.caller import Caller
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from runner.model import Json

    Run = Callable[[Caller, Json], dict[str, Any]]

LONGEST_S = 50.0
"""No call takes longer."""
WAIT: Json = {"type": "number", "minimum": 0, "maximum": 48}
TASK = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def about(schema: Json, description: str) -> Json:
    """The schema of an argument, with words for the model."""
    return {**schema, "description": description}


class Tool(Value):
    """A tool: its description for the model, and its function."""

    name: str
    description: str
    properties: Mapping[str, Any]
    required: tuple[str, ...]
    read_only: bool
    run: Run
    answered: Callable[[Caller, Json, Json], None] | None = None
    """Called when its answer is on its way, and never for a call that was given up."""
    of_task: bool = False
    """It is about the ledger of a task: a run has one, an owner names the task."""

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments; unknown ones are refused."""
        return {
            "type": "object",
            "properties": dict(self.properties),
            "required": list(self.required),
            "additionalProperties": False,
        }

    def offered_to(self, caller: Caller) -> Tool:
        if not self.of_task or caller.run is not None:
            return self
        named = {"task_id": {"type": "string", "pattern": TASK, "description": "Whose ledger."}}
        return self.replace(properties=named | {**self.properties}, required=("task_id", *self.required))
