"""Where a run is to live, as people read it, and how it would be submitted there."""

from __future__ import annotations

from runner.cli.pen import paint
from runner.text.durations import format_duration
from runner.text.words import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.invocation import Invocation
    from runner.model import ExecutorSettings


def executor_words(executor: ExecutorSettings, timeout_s: float | None = None) -> str:
    """`gpu (slurm): partition a100, 4 CPUs, 8G of memory, 1 GPU, 2h2m`: what is asked of it; of a pool, `pool
    (ssh): a, b, 2 slots each`.
    """
    named = {key: getattr(executor, key) for key in ("partition", "account", "qos", "constraint")}
    told = [f"{key} {value}" for key, value in named.items() if value is not None]
    slots = f"{count(executor.slots, 'slot')} each"
    told += [*executor.hosts, slots] if executor.hosts else [count(executor.cpus, "CPU")]
    told += [f"{executor.memory} of memory"] if executor.memory is not None else []
    told += [count(executor.gpus, "GPU")] if executor.gpus else []
    told.append("no limit of time" if executor.time_s is None else format_duration(executor.time_s))
    if timeout_s is not None and executor.time_s is not None and executor.time_s < timeout_s:
        told[-1] += ", which is less than its timeout"
    if executor.max_pending_s is not None:
        told.append(f"waits {format_duration(executor.max_pending_s)} at most")
    told += [f"--{key}={value}".removesuffix("=") for key, value in executor.options.items()]
    return f"{executor.name} ({executor.kind}): {', '.join(told)}"


def submission(invocation: Invocation) -> dict[str, Any]:
    """The command that would submit it, and the script that the node would carry out; {} for a run here."""
    if invocation.executor is None:
        return {}
    from runner import executors  # most runs live here

    try:
        made = executors.get(invocation.executor.kind).command(invocation)
    except KeyError:  # until there is one of this kind
        return {}
    return {"submission": made.to_json()}


def submission_text(told: dict[str, Any]) -> str:
    """What `submission` tells, behind the text of an invocation."""
    import shlex

    if not told:
        return ""
    argv, script = shlex.join(told["submission"]["argv"]), told["submission"]["script"]
    return f"\n\n{paint('submitted with:', 'dim')}\n{argv}\n\n{paint('script:', 'dim')}\n{script}"
