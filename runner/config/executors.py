"""The tables of `[executors.NAME]`. Pure.

What is written here becomes words of the engine's command line. Of the engine's own options only those are
known that leave a run's environment, folder, output and owner as runner has chosen them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from runner.config import values
from runner.config.kinds import DURATION, Limit
from runner.config.tables import Table, meaning
from runner.executors import KINDS
from runner.text.memory import PATTERN, parse_memory

_WORD = WithJsonSchema({"type": "string", "pattern": values.WORD_PATTERN})
Word = Annotated[str, AfterValidator(values.engine_word), _WORD]
_HOST = WithJsonSchema({"type": "string", "pattern": values.SSH_HOST_PATTERN})
SshHost = Annotated[str, AfterValidator(values.ssh_host), _HOST]
_MEMORY = WithJsonSchema({"type": "string", "pattern": PATTERN})
Memory = Annotated[str, AfterValidator(lambda text: parse_memory(text) and text), _MEMORY]
Mebibytes = Annotated[int, PlainValidator(parse_memory), _MEMORY]
Cpus = Annotated[int, Field(ge=1, le=4096)]
Gpus = Annotated[int, Field(ge=0, le=128)]
_Time = Annotated[
    float | Literal["task"],
    PlainValidator(values.engine_time),
    WithJsonSchema({"anyOf": [{"const": "task"}, *DURATION["anyOf"]]}),
]
_OPTION_SCHEMA = {
    **{"type": ["string", "integer", "boolean"], "pattern": rf"^$|{values.WORD_PATTERN}"},
    **{"minimum": 0, "maximum": values.MOST, "not": {"const": False}},
}
_OptionValue = Annotated[str, PlainValidator(values.engine_option), WithJsonSchema(_OPTION_SCHEMA)]
if TYPE_CHECKING:
    Kind = str
    Option = str
else:
    Kind = Literal[tuple(KINDS)]
    Option = Literal[tuple(values.ENGINE_OPTIONS)]


class ExecutorTable(Table):
    """A place where runs may live besides this machine. The key of the table is its name."""

    place = "executor"
    kind: Kind | None = meaning(
        "What takes the runs: slurm, through its command `sbatch`, or ssh, which is a pool of hosts."
    )
    partition: Word | None = meaning("Where the engine is to look for a node; default its own.")
    account: Word | None = meaning("Whom the engine charges; default its own.")
    qos: Word | None = meaning("The engine's quality of service; default its own.")
    constraint: Word | None = meaning('What a node must have, in the engine\'s words, e.g. "a100&ib".')
    cpus: Cpus | None = meaning("CPUs of a run; default {}.")
    memory: Memory | None = meaning('Memory of a run, e.g. "8G"; default the engine\'s own.')
    gpus: Gpus | None = meaning("GPUs of a run; default {}.")
    time: _Time | None = meaning(
        "How long the engine lets a run live: task, which is what the task may take with its checks and its "
        "stop, or a duration. Default {}."
    )
    max_pending: Limit | None = meaning(
        "A run that has waited longer for its place is cancelled; default {}."
    )
    hosts: Annotated[list[SshHost], Field(min_length=1, max_length=256)] | None = meaning(
        'The hosts of a pool, each as `ssh` reaches it, e.g. "build1" or "ci@build2:2222".'
    )
    slots: Annotated[int, Field(ge=1, le=4096)] | None = meaning(
        "How many runs may be at work on each host at once; default {}."
    )
    max_running: Annotated[int, Field(ge=1, le=100_000)] | None = meaning(
        "How many of its runs may be at work at once; default none, no limit of runner's own."
    )
    requeue: bool | None = meaning(
        "true: the engine may begin a run once more whose node was lost; it is a new attempt. Default {}."
    )
    options: dict[Option, _OptionValue] | None = meaning(
        "Further long options of the engine's command, with their values; true is none. Known are "
        + ", ".join(values.ENGINE_OPTIONS)
        + "."
    )
