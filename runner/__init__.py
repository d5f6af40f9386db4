"""Run agent CLIs in the background, and tell the truth about them.

For programs: `start`, `find`, `runs`, `events`, `Run` and `RunnerError` (docs/python.md). They are imported
when they are first named, since most who import this package want another part of it.
"""

__all__ = ["Run", "RunnerError", "events", "find", "runs", "start"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.api import Run, RunnerError, events, find, runs, start
else:

    def __dir__():
        return sorted({*globals(), *__all__})

    def __getattr__(name):
        if name in __all__:
            from runner import api

            return getattr(api, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
