"""argparse with UsageError for errors, examples in the help, and the options of every verb."""

from __future__ import annotations

import os
import sys
from types import ModuleType

from runner.cli import pen
from runner.errors import UsageError

# Our texts are English only. The `gettext` that argparse wants for its own costs a twentieth of an empty
# interpreter, and then looks through folders for each of them; `str` says a text as it is.
_untranslated = ModuleType("gettext")
_untranslated.__dict__.update(gettext=str, ngettext=lambda one, many, number: one if number == 1 else many)
sys.modules["gettext"] = _untranslated
import argparse  # noqa: E402

del sys.modules["gettext"]  # whoever else wants it gets the real one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from _typeshed import SupportsWrite

    from runner.model import Config


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """With its width given: argparse would import `shutil` for it, for every option that is added."""

    def __init__(self, prog: str) -> None:
        try:
            columns = os.get_terminal_size().columns
        except OSError:
            columns = 100
        super().__init__(prog, max_help_position=28, width=max(60, min(columns, 110)) - 2)


class Parser(argparse.ArgumentParser):
    """The parser of one verb: `runner VERB ...`."""

    def __init__(self, prog: str, description: str = "", **_: object) -> None:
        super().__init__(
            prog=prog,
            description=f"{description[:1].upper()}{description[1:]}.",
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        self._format = self.add_argument(
            "--format",
            choices=("text", "json"),
            default="text",
            help="text for people, or one JSON document on stdout (default: text)",
        )

    def also_as(self, form: str, what: str) -> None:
        """One more form of `--format`; `what` says what it is."""
        self._format.choices = (*(self._format.choices or ()), form)
        self._format.help = f"text for people, one JSON document on stdout, or {what} (default: text)"

    def examples(self, *lines: str) -> None:
        """Lines for the end of `--help`."""
        self.epilog = "examples:\n" + "\n".join(f"  {line}" for line in lines)

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """argparse would pass over an output that cannot be written, or leave it to the interpreter's end."""
        pen.say(self.format_help(), end="", flush=True)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"`{self.prog} --help` shows the options")


def add_run(parser: Parser, *, several: bool = False) -> None:
    """The positional RUN."""
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="+" if several else None,
        help="run id or unique prefix, manifest path, task id (its newest run), or @latest",
    )


def add_settings(parser: Parser) -> None:
    """Where the settings come from."""
    parser.add_argument("--config", metavar="FILE", help="a delegate.toml other than the nearest one")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="sets",
        help="override a setting, e.g. --set tasks.hello.timeout=5m (repeatable)",
    )


def settings(args: argparse.Namespace) -> Config:
    """The effective config of where we stand, as the options of `add_settings` say. ConfigInvalid."""
    from runner import config  # only a verb that needs settings pays for it

    return config.load(here(), env=os.environ, config_file=args.config, sets=args.sets)


def duration(text: str) -> float:
    """For `type=`: seconds of `90`, `15m`, `1h30m`."""
    from runner.text.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def grace(text: str) -> float:
    """As `duration`, and 0 is allowed: at once."""
    return 0.0 if text.strip() in ("0", "0s") else duration(text)


def here() -> str:
    """The current folder; a UsageError where it was removed under us."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise UsageError("the current folder does not exist any more") from None
