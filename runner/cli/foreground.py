"""Another program's command that a person waits for, in the foreground. Edge: processes, the terminal."""

from __future__ import annotations

import os

from runner.cli import pen
from runner.errors import UsageError

_WITHIN_S = 60.0


def run_in_foreground(command: list[str], cwd: str) -> int:
    """Its exit status. What it says goes to our stderr as it says it; stdout is for our own answer."""
    import sh

    try:
        with open(os.devnull, "rb") as nothing:
            sh.Command(command[0])(
                *command[1:],
                _cwd=cwd,
                _in=nothing,
                _out=_passed_on,
                _err=_passed_on,
                _tty_out=False,
                _timeout=_WITHIN_S,
            )
    except sh.ErrorReturnCode as error:
        return int(error.exit_code)
    except sh.TimeoutException:
        why = f"did not answer within {_WITHIN_S:g} s"
    except (sh.CommandNotFound, sh.ForkException, UnicodeEncodeError) as error:
        why = f"cannot be started: {error}"
    else:
        return 0
    raise UsageError(f"`{command[0]}`: {why}", hint="run the command above where it works")


def _passed_on(line: str) -> None:
    pen.tell(line, end="")
