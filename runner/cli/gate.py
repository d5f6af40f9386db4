"""The gate of a start: nothing of a repository's settings is carried out before a person trusts them."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.cli.parser import Namespace, Parser
    from runner.model import Config


def add_trust(parser: Parser) -> None:
    """The option that agrees without a question."""
    parser.add_argument(
        "--trust", action="store_true", help="trust what the settings can do, without being asked"
    )


def pass_gate(args: Namespace, config: Config, *, rehearses: bool, task: str = "") -> None:
    """Asks on a terminal, and with `--trust` agrees without. NotTrusted where nobody can be asked, or who was
    asked said no. `task` is that of the run, if it is of one.
    """
    from runner.usecases import trust  # not for the option alone

    found = trust.demanded(config, os.environ, rehearses=rehearses, task=task)
    if found.by is None:
        from runner.cli.trust import ask_for  # most starts need no words

        ask_for(args, found)
    else:
        trust.pin(found, os.environ)
