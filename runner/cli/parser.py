"""What a verb can be told: its options, declared once. Common command lines are read here, without argparse.

`argparse` brings `re` and `enum` along, which costs more than half of an empty interpreter, and most commands
are written plainly: names of options in full, each with its value. Whatever is not as plain as that (help, an
error, a word that could mean two things) is left to argparse, which is told of the same options.
"""

from __future__ import annotations

import os

from runner.errors import PromptInvalid, RunNotFound, UsageError
from runner.model import MAX_PROMPT_CHARS
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from runner.errors import RunnerError
    from runner.model import Config
    from runner.state.store import RunDir

HIDDEN = "==SUPPRESS=="
"""The help of an option that `--help` does not show: `argparse.SUPPRESS`."""


class WrongText(ValueError):
    """For `type=`: why a text is no such value, in words for people."""


class Namespace:
    """What was told: an attribute for each option and positional."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Option(Value):
    """One call of `add_argument`: its names, what it was given, and its group."""

    names: tuple[str, ...]
    told: dict[str, Any]
    group: OptionGroup | None

    @property
    def dest(self) -> str:
        """Where its value is found, by the rules of argparse."""
        first = next((name for name in self.names if name[:2] == "--"), self.names[0])
        dest: str = self.told.get("dest") or first.lstrip("-").replace("-", "_")
        return dest


class OptionGroup:
    """Options that belong together: under a title in the help, or of which only one is possible."""

    def __init__(self, parser: Parser, title: str | None) -> None:
        self._parser = parser
        self.title = title
        """None: only one of them is possible."""

    def add_argument(self, *names: str, **told: Any) -> None:
        self._parser.declared.append(Option(names, told, self))


class Parser:
    """The options of one verb: `runner VERB ...`."""

    def __init__(self, prog: str, description: str = "", **_: object) -> None:
        self.prog = prog
        self.description = f"{description[:1].upper()}{description[1:]}."
        self.epilog: str | None = None
        self.declared: list[Option] = []
        self._format: dict[str, Any] = {
            "choices": ("text", "json"),
            "default": "text",
            "help": "text for people, or one JSON document on stdout (default: text)",
        }
        self.declared.append(Option(("--format",), self._format, None))
        short = {"action": "store_const", "const": "json", "dest": "format", "default": "text"}
        self.declared.append(Option(("--json",), {**short, "help": "the same as --format json"}, None))

    def add_argument(self, *names: str, **told: Any) -> None:
        """As that of argparse, of which `plainly` knows what our verbs use."""
        self.declared.append(Option(names, told, None))

    def add_argument_group(self, title: str) -> OptionGroup:
        return OptionGroup(self, title)

    def add_mutually_exclusive_group(self) -> OptionGroup:
        return OptionGroup(self, None)

    def also_as(self, form: str, what: str) -> None:
        """One more form of `--format`; `what` says what it is."""
        self._format["choices"] += (form,)
        before = self._format["help"].removesuffix(" (default: text)").replace(", or ", ", ")
        self._format["help"] = f"{before}, or {what} (default: text)"

    def examples(self, *lines: str, note: str = "") -> None:
        """Lines for the end of `--help`, and what else there is to say."""
        self.epilog = "examples:\n" + "\n".join(f"  {line}" for line in lines)
        self.epilog += f"\n\n{note}" * bool(note)

    def plainly(self, words: list[str]) -> Namespace | None:
        """What argparse would say of `words`; None where it has to be asked."""
        try:
            found, loose = self._options(words)
            found.update(self._positionals(loose))
        except ValueError:
            return None
        if any(one.told.get("required") and one.dest not in found for one in self.declared):
            return None
        told = Namespace()
        vars(told).update({option.dest: _default(option) for option in self.declared} | found)
        return told

    def _options(self, words: list[str]) -> tuple[dict[str, Any], list[str]]:
        """The values by their destination, and the words that belong to none. ValueError: ask argparse."""
        by_name = {name: option for option in self.declared for name in option.names}
        found: dict[str, Any] = {}
        exclusive: set[OptionGroup] = set()
        loose: list[int] = []
        at = 0
        while at < len(words):
            word = words[at]
            at += 1
            if _is_value(word):
                loose.append(at)
                continue
            name, equals, value = word.partition("=")
            option = by_name[name] if name in by_name and not (equals and name[:2] != "--") else _not_plain()
            if option.group and option.group.title is None:
                exclusive.add(option.group) if option.group not in exclusive else _not_plain()
            kind = option.told.get("action", "store")
            if kind in ("store_true", "store_const"):
                found[option.dest] = option.told.get("const", True) if not equals else _not_plain()
                continue
            if not equals and at < len(words) and _is_value(words[at]):
                value = words[at]
                at += 1
            elif not equals and option.told.get("nargs") == "?":
                found[option.dest] = option.told["const"]
                continue
            made = _value(option, value or _not_plain())
            if kind == "store" and found.get(option.dest, made) != made:
                _not_plain()
            found[option.dest] = made if kind == "store" else [*found.get(option.dest, ()), made]
        if loose and loose[-1] - loose[0] >= len(loose):
            _not_plain()  # of words in several places argparse gives each place its share
        return found, [words[at - 1] for at in loose]

    def _positionals(self, loose: list[str]) -> dict[str, Any]:
        """ValueError: ask argparse."""
        found: dict[str, Any] = {}
        for option in self.declared:
            nargs = option.told.get("nargs")
            if option.names[0][:1] == "-" or (nargs == "?" and not loose):
                continue
            mine, loose = (loose, []) if nargs == "+" else (loose[:1], loose[1:])
            made = [_value(option, word) for word in mine] or _not_plain()
            found[option.dest] = made if nargs == "+" else made[0]
        return found if not loose else _not_plain()


def _is_value(word: str) -> bool:
    return word[:1] != "-" or word == "-"


def _value(option: Option, text: str) -> Any:
    """ValueError for what argparse has to refuse, in its words."""
    made = option.told.get("type", str)(text)
    choices = option.told.get("choices")
    return made if choices is None or made in choices else _not_plain()


def _default(option: Option) -> Any:
    default = option.told.get("default", False if option.told.get("action") == "store_true" else None)
    return _value(option, default) if isinstance(default, str) else default


def _not_plain() -> NoReturn:
    raise ValueError("argparse is to read this")


_A_RUN = "run id or a unique part of one, manifest path, task id (its newest run), or a word such as @latest"


def add_run(parser: Parser, *, several: bool = False, default: str | None = None) -> None:
    """The positional RUN; without one, `default` is meant, a word of `usecases.find.NEWEST`."""
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="+" if several else None if default is None else "?",
        default=default,
        help=_A_RUN + ("" if default is None else f" (default: {default})"),
    )


def run_named(name: str) -> RunDir:
    """The run that a RUN names."""
    from runner.usecases import find

    try:
        return find.find(find.find_root(here()), name)
    except RunNotFound:
        from runner.usecases import names  # to find out what else was meant

        if name in names.of("tasks", name, here(), os.environ, None):
            hint = f"`runner start {name}` begins one"
            raise RunNotFound(f"task `{name}` has no run yet", hint=hint) from None
        raise


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


def settings(args: Namespace) -> Config:
    """The effective config of where we stand, as the options of `add_settings` say. ConfigInvalid."""
    from runner import config  # only a verb that needs settings pays for it

    return config.load(here(), env=os.environ, config_file=args.config, sets=args.sets)


def task_named(args: Namespace) -> str | None:
    """Behind `--map` its name is taken for a file: where there is none, it is the task."""
    task: str | None = args.task or args.name or os.environ.get("MCP_RUNNER_TASK_ID")
    if not task and args.map and not os.path.isfile(args.map):
        task = args.map
        vars(args).update(map="", task=task)
    return task


def duration(text: str) -> float:
    """For `type=`: seconds of `90`, `15m`, `1h30m`."""
    from runner.text.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise WrongText(str(error)) from None


def grace(text: str) -> float:
    """As `duration`, and 0 is allowed: at once."""
    return 0.0 if text.strip() in ("0", "0s") else duration(text)


def age(text: str) -> float:
    """As `duration`, with a unit or 0: of what is removed, nobody has to guess that 5 are seconds."""
    if text.strip().replace(".", "", 1).isdigit() and float(text) != 0:
        raise WrongText(f"`{text.strip()}` has no unit: {text.strip()}d are days, {text.strip()}h hours")
    return grace(text)


def here() -> str:
    """The current folder; a UsageError where it was removed under us."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise UsageError("the current folder does not exist any more") from None


def stdin(most: int = MAX_PROMPT_CHARS, wrong: type[RunnerError] = PromptInvalid) -> str:
    """All of it, as a prompt or another text; `wrong` for what is too long for one, or no UTF-8."""
    import sys

    what = "the prompt" if wrong is PromptInvalid else "the text"
    data = sys.stdin.buffer.read(4 * most + 1)
    if len(data) > 4 * most:  # more characters than that, however they are written
        raise wrong(f"{what} has more than {most:,} characters")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise wrong(f"{what} is not valid UTF-8 (byte {error.start + 1})") from None
