"""How the lines of an attempt are read: by the runtime's own reader, and each end of a call named. Pure.

A program may name a call only where it begins: Kay says of the end of a command which call it was, and not
which command. Whoever reads an end has to know what has ended, or two different calls look like the same one.
"""

from __future__ import annotations

from runner.runtimes.base import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Json
    from runner.runtimes.base import Activity, Reader, Runtime

_BEGINS = (Kind.COMMAND_STARTED, Kind.TOOL_STARTED, Kind.FILE_CHANGE)
_ENDS = (Kind.COMMAND, Kind.TOOL_CALL, Kind.FILE_CHANGE)
_MOST_OPEN = 256


def reader_of(runtime: Runtime) -> Reader:
    """What reads the lines of one attempt, from its first on."""
    read = runtime.reader()
    begun: dict[str, Activity] = {}

    def named(activity: Activity) -> Activity:
        kind, item = activity.kind, activity.item
        if item is None:
            return activity
        if kind in _ENDS and (begin := begun.pop(item, None)) is not None:
            return activity.replace(
                text=activity.text or begin.text, arguments=activity.arguments or begin.arguments
            )
        if kind in _BEGINS and not activity.failed:
            begun[item] = activity
            if len(begun) > _MOST_OPEN:
                del begun[next(iter(begun))]
        return activity

    def reader(record: Json) -> tuple[Activity, ...]:
        return tuple(map(named, read(record)))

    return reader
