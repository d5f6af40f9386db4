"""argparse with UsageError for errors and examples in the help, for what is not written plainly."""

from __future__ import annotations

import os
import sys
from types import ModuleType

from runner.cli import pen
from runner.cli.parser import HIDDEN, WrongText
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


class _SingleValue(argparse.Action):
    """A value that there is one of. Of two, argparse would take the last and say nothing of the first."""

    _told: Any = None

    def __call__(
        self, parser: argparse.ArgumentParser, space: Any, told: Any, name: str | None = None
    ) -> None:
        if name is not None and self._told not in (None, told):
            parser.error(f"{name} takes one value, and was given {self._told!r} and {told!r}")
        self._told = told
        setattr(space, self.dest, told)


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
        for kind in (None, "store"):
            self.register("action", kind, _SingleValue)
        groups: dict[OptionGroup, Any] = {}
        for option in declared.declared:
            group = option.group
            if group is not None and group not in groups:
                title = group.title
                groups[group] = (
                    self.add_mutually_exclusive_group() if title is None else self.add_argument_group(title)
                )
            told = dict(option.told)
            if "type" in told:
                told["type"] = _typed(told["type"])
            if told.get("help") == HIDDEN:
                told["help"] = argparse.SUPPRESS  # which is compared by identity
            (self if group is None else groups[group]).add_argument(*option.names, **told)

    def _get_values(self, action: argparse.Action, words: list[str]) -> Any:
        """Of `--option=--` some versions of argparse make an empty list, whatever type was asked for."""
        if not action.option_strings or words != ["--"]:
            return super()._get_values(action, words)
        value = self._get_value(action, "--")
        self._check_value(action, value)
        return value

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """With the word that was perhaps meant."""
        if action.choices is not None and value not in action.choices:
            from runner.text.words import nearest

            words = [str(word) for word in action.choices]
            near = nearest(value, words)
            hint = f"perhaps you meant `{near[0]}`" if near else f"it is one of {', '.join(words)}"
            raise argparse.ArgumentError(action, f"no such value: {str(value)[:80]!r}; {hint}")

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """argparse would pass over an output that cannot be written, or leave it to the interpreter's end."""
        pen.say(self.format_help(), end="", flush=True)

    def error(self, message: str) -> NoReturn:
        hint = f"`{self.prog} --help` shows the options"
        takes_text = self.format_usage().rstrip("]\n").endswith("TEXT")
        if takes_text and message.startswith(("the following", "unrecognized")):
            hint = f"a TEXT of `-` is stdin, and one that begins with `-` goes behind `--`; {hint}"
        raise UsageError(message, hint=hint)


def _typed(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """With the reason in the words of `read`: of other errors argparse says only what the type is called."""

    def typed(text: str) -> Any:
        try:
            return read(text)
        except WrongText as wrong:
            raise argparse.ArgumentTypeError(str(wrong)) from None

    typed.__name__ = read.__name__
    return typed
