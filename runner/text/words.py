"""Words of a sentence: the nearest name, the first of many, text on one line, how many of what. Pure."""

from __future__ import annotations

from runner.text.terminal import clean_terminal, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST_WORD = 100
_MOST_NAMES = 1000
"""Comparing takes its time; of more names than this the last ones count."""


def nearest(word: object, known: Iterable[str], most: int = 1) -> list[str]:
    """The known names that `word` was perhaps meant to be, the best first; small and capital letters are one.

    "effort" is far from "reasoning_effort" by letters, but not by words: where nothing is near by letters, a
    name that has `word` as one of its words counts.
    """
    import difflib  # 4 ms: only what has already gone wrong pays for them

    names = {name.casefold(): name for name in sorted(set(known))[-_MOST_NAMES:]}
    wanted = str(word)[:_LONGEST_WORD].casefold()
    found = difflib.get_close_matches(wanted, names, most, 0.6)
    found = found or [name for name in names if wanted in name.replace("-", "_").split("_")][:most]
    return [names[name] for name in found]


def few(names: Sequence[str], most: int = 5) -> str:
    """`U1, U2 and 3 more`."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def and_more(lines: Sequence[str], most: int) -> list[str]:
    """The first lines, and a line that says how many more there are."""
    rest = len(lines) - most
    return [*lines[:most], *([f"and {rest} more"] if rest > 0 else [])]


def numbered(names: Iterable[str]) -> list[str]:
    """Each another name: what is called as an earlier one has a number, ` (2)`."""
    told: dict[str, int] = {}
    for name in names:
        one, n = name, 1
        while one in told:
            n = max(n, told[name]) + 1
            one = f"{name} ({n})"
        told[name], told[one] = n, 1
    return [*told]


def one_line(text: str, most: int | None = None) -> str:
    """The text on one line, fit for a terminal, and cut where it is longer than `most` characters."""
    line = " ".join(clean_terminal(text).split())
    return line if most is None else shortened(line, most)


def indented(text: str) -> list[str]:
    """The lines of a text of somebody else, as Markdown has code: none of them is a heading."""
    return [f"    {line}" for line in text.strip().splitlines()]


def lower_first(text: str) -> str:
    """For the middle of a sentence; an abbreviation (`TOML`) stays as it is."""
    return text if text[1:2].isupper() else f"{text[:1].lower()}{text[1:]}"


def shortened(text: str, most: int) -> str:
    """At most so many characters, the last three of which then say that there were more."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def ending(text: str, most: int) -> str:
    """At most so many characters of its end, from the start of a line, or of a word where lines are long."""
    cut = text[max(0, len(text) - most) :]
    if cut == text or text[-len(cut) - 1 :][:1] == "\n":
        return cut
    at = next((at for sign in "\n " if (at := cut.find(sign, 0, most // 2)) >= 0), -1)
    return cut[at + 1 :]


def count(number: int, one: str, many: str = "") -> str:
    """`1 unit`, `2 units`; `many` is the plural that needs more than an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def failed_before(checks: Sequence[Sequence[str]] | None) -> str | None:
    """What the checks said before the agent began; None where they were not run then."""
    if not checks:
        return None if checks is None else "no check failed before the run began"
    named = ", ".join(f"`{shortened(plain(' '.join(argv)), 100)}`" for argv in checks)
    return f"{count(len(checks), 'check')} failed before the run began: {named}"
