"""The second word of the verbs that have two."""

from __future__ import annotations

from runner.cli.app import SUBCOMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.cli.parser import Parser


def add_actions(parser: Parser, verb: str) -> None:
    """For a verb whose second word is missing, or is none."""
    head = f"{verb} "
    texts = {two.removeprefix(head): text for two, (_, text) in SUBCOMMANDS.items() if two.startswith(head)}
    parser.add_argument("action", metavar="ACTION", choices=tuple(texts), help="one of the actions below")
    actions = "\n".join(f"  {name:<13}{text}" for name, text in texts.items())
    parser.epilog = f"actions:\n{actions}\n\n{parser.epilog}"
