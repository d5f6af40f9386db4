"""argparse with UsageError for errors and examples in the help, for what is not written plainly."""

from __future__ import annotations

import os
import sys
from types import ModuleType

from runner.cli import pen
from runner.cli.parser import WrongText
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
    from collections.abc import Callable
    from typing import Any, NoReturn

    from _typeshed import SupportsWrite

    from runner.cli.parser import OptionGroup, Parser


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """With its width given: argparse would import `shutil` for it, for every option that is added."""

    def __init__(self, prog: str) -> None:
        try:
            columns = os.get_terminal_size().columns
        except OSError:
            columns = 100
        super().__init__(prog, max_help_position=28, width=max(60, min(columns, 110)) - 2)


class FullParser(argparse.ArgumentParser):
    """What a verb has declared, as argparse reads it."""

    def __init__(self, prog: str, *, declared: Parser, **_: object) -> None:
        super().__init__(
            prog=prog,
            description=declared.description,
            epilog=declared.epilog,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        groups: dict[OptionGroup, Any] = {}
        for option in declared.declared:
            group = option.group
            if group is not None and group not in groups:
                title = group.title
                groups[group] = (
                    self.add_mutually_exclusive_group() if title is None else self.add_argument_group(title)
                )
            told = (
                {**option.told, "type": _typed(option.told["type"])} if "type" in option.told else option.told
            )
            (self if group is None else groups[group]).add_argument(*option.names, **told)

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """argparse would pass over an output that cannot be written, or leave it to the interpreter's end."""
        pen.say(self.format_help(), end="", flush=True)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"`{self.prog} --help` shows the options")


def _typed(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """With the reason in the words of `read`: of other errors argparse says only what the type is called."""

    def typed(text: str) -> Any:
        try:
            return read(text)
        except WrongText as wrong:
            raise argparse.ArgumentTypeError(str(wrong)) from None

    typed.__name__ = read.__name__
    return typed
