"""Reading the command line of Kay: its help and its usage errors. Pure.

Source of the facts: the documented contract of Kay 0.9.17 and 0.9.46. The wording of usage errors
is that of clap 4, the argument parser that Kay shares with the Codex CLI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kay_options import ALIASES, Command, Option

__all__ = ["Parsed", "UsageError", "help_text", "parse"]


@dataclass(slots=True)
class Parsed:
    """What was given to one command, and the words that are left for its subcommand."""

    values: dict[str, list[str]] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    subcommand: str = ""
    rest: list[str] = field(default_factory=list)
    wants: str = ""

    def has(self, long: str) -> bool:
        return long in self.values

    def last(self, long: str) -> str | None:
        return self.values[long][-1] if self.values.get(long) else None

    def every(self, long: str) -> list[str]:
        return self.values.get(long, [])


class UsageError(Exception):
    """Exit 2: `error: ...`, an optional tip, and the usage when the parser shows it."""

    def __init__(self, message: str, *, tip: str = "", usage: str = "") -> None:
        super().__init__(message)
        self.tip = tip
        self.usage = usage

    def render(self) -> str:
        parts = [f"error: {self}"]
        if self.tip:
            parts.append(f"\n  tip: {self.tip}")
        if self.usage:
            parts.append(f"\n{self.usage}")
        parts.append("\nFor more information, try '--help'.")
        return "\n".join(parts)


def help_text(command: Command) -> str:
    """The long help, as `--help` prints it."""
    lines = [command.text, "", command.usage, ""]
    if command.subcommands:
        shown = {**command.subcommands, "help": "Print this message or the help of a command."}
        width = max(map(len, shown))
        lines += ["Commands:", *(f"  {n:<{width}}  {t}" for n, t in shown.items()), ""]
    if command.arguments:
        lines += ["Arguments:", *(f"  [{name}]" for name in command.arguments), ""]
    lines.append("Options:")
    for option in command.options:
        short = f"-{option.short}, " if option.short else "    "
        lines += [f"  {short}{option.shown}", f"          {option.text}"]
        if option.choices:
            lines += ["", f"          [possible values: {', '.join(option.choices)}]"]
        lines.append("")
    lines += ["  -h, --help", "          Print help"]
    if command.has_version:
        lines += ["", "  -V, --version", "          Print version"]
    return "\n".join(lines) + "\n"


def parse(command: Command, words: Sequence[str]) -> Parsed:
    """What the words mean to `command`. Raises UsageError."""
    return _Reader(command).read(list(words))


class _Reader:
    def __init__(self, command: Command) -> None:
        self.command = command
        self.parsed = Parsed()
        self.by_name = {name: o for o in command.options for name in (o.long, o.alias) if name}
        self.by_short = {option.short: option for option in command.options if option.short}

    def read(self, words: list[str]) -> Parsed:
        while words and not self.parsed.wants:
            word = words.pop(0)
            if word == "--":
                for argument in words:
                    self._argument(argument)
                break
            if word.startswith("--"):
                self._long(word, words)
            elif word.startswith("-") and word != "-":
                self._short(word, words)
            elif self._is_subcommand(word):
                self.parsed.subcommand, self.parsed.rest = ALIASES.get(word, word), words
                break
            else:
                self._argument(word)
        if not self.parsed.wants:
            self._check_conflicts()
        return self.parsed

    def _is_subcommand(self, word: str) -> bool:
        if word == "help" and self.command.subcommands:
            self.parsed.wants = "help"
        return ALIASES.get(word, word) in self.command.subcommands or bool(self.parsed.wants)

    def _argument(self, word: str) -> None:
        if len(self.parsed.arguments) >= len(self.command.arguments) and (not self.command.open_ended):
            raise self._error(f"unexpected argument '{word}' found")
        self.parsed.arguments.append(word)

    def _long(self, word: str, words: list[str]) -> None:
        name, equals, inline = word[2:].partition("=")
        if name == "help" or (name == "version" and self.command.has_version):
            self.parsed.wants = name
            return
        option = self.by_name.get(name)
        if option is None:
            self._unexpected(f"--{name}")
        elif option.value:
            self._take(option, inline if equals else self._next(option, words))
        elif equals:
            raise self._error(
                f"unexpected value '{inline}' for '{option.shown}' found; no more were expected"
            )
        else:
            self._take(option, "")

    def _short(self, word: str, words: list[str]) -> None:
        cluster = word[1:]
        while cluster:
            letter, cluster = cluster[0], cluster[1:]
            if letter == "h" or (letter == "V" and self.command.has_version):
                self.parsed.wants = "help" if letter == "h" else "version"
                return
            option = self.by_short.get(letter)
            if option is None:
                self._unexpected(f"-{letter}")
            elif option.value:
                inline = cluster.removeprefix("=")
                self._take(option, inline if cluster else self._next(option, words))
                return
            else:
                self._take(option, "")

    def _next(self, option: Option, words: list[str]) -> str:
        if not words or (words[0].startswith("-") and words[0] != "-"):
            raise UsageError(f"a value is required for '{option.shown}' but none was supplied")
        return words.pop(0)

    def _take(self, option: Option, value: str) -> None:
        given = self.parsed.values.setdefault(option.long, [])
        if given and not option.many:
            raise self._error(f"the argument '{option.shown}' cannot be used multiple times")
        if option.choices and value not in option.choices:
            raise UsageError(
                f"invalid value '{value}' for '{option.shown}'\n"
                f"  [possible values: {', '.join(option.choices)}]"
            )
        if option.at_least is not None and not _is_number(value, option.at_least):
            raise UsageError(
                f"invalid value '{value}' for '{option.shown}': "
                f"{value} is not in {option.at_least}..18446744073709551615"
            )
        given.extend(value.split(",") if option.comma_list else [value])

    def _check_conflicts(self) -> None:
        for option in self.command.options:
            if self.parsed.has(option.long):
                self._first_conflict(option, option.conflicts)

    def _first_conflict(self, option: Option, names: Sequence[str]) -> None:
        for name in names:
            argument = name.startswith("[")
            if bool(self.parsed.arguments) if argument else self.parsed.has(name):
                other = name if argument else self.by_name[name].shown
                raise self._error(f"the argument '{option.shown}' cannot be used with '{other}'")

    def _unexpected(self, shown: str) -> None:
        tip = f"to pass '{shown}' as a value, use '-- {shown}'" if self.command.arguments else ""
        raise self._error(f"unexpected argument '{shown}' found", tip=tip)

    def _error(self, message: str, *, tip: str = "") -> UsageError:
        return UsageError(message, tip=tip, usage=self.command.usage)


def _is_number(text: str, at_least: int) -> bool:
    return text.isascii() and text.isdecimal() and int(text) >= at_least
