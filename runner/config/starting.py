"""Whether a command starts what others start already, as far as their words tell. Pure."""

from __future__ import annotations

from runner.config.scripts import is_starter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

_ACTS = (
    *("-f", "-y", "--force", "--yes", "--auto-approve", "--apply", "--delete", "--prune", "--hard"),
    *("--execute", "--write", "--fix"),
)
"""Begins of options with which a program does what it else asks for, or only tells."""


def starting(whole: Collection[tuple[str, ...]]) -> Callable[[tuple[str, ...]], bool]:
    """Whether a command starts nothing that these do not: it is one of them, or all words of one in their
    order, with more options. A word that is no option (`make deploy`) may say what to do, and so may one that
    is left out (`--dry-run`).
    """
    plain: dict[str, list[tuple[str, ...]]] = {}
    for argv in whole:
        if not any(map(is_starter, argv)):
            plain.setdefault(argv[0], []).append(argv)
    return lambda argv: argv in whole or any(_adds_switches(one, argv) for one in plain.get(argv[0], ()))


def _adds_switches(had: Sequence[str], has: Sequence[str]) -> bool:
    """Whether the one has the other's words, and else options without a value that let it do no more. What
    stands behind such an option may be its value.
    """
    left, may_be_value = [*had][::-1], False
    for word in has:
        is_had = left[-1:] == [word] and not (may_be_value and word[:1] != "-")
        if is_had:
            left.pop()
        elif not _is_switch(word) or word.startswith(_ACTS) or _takes_back(word, had):
            return False
        may_be_value = not is_had
    return not left


def _is_switch(word: str) -> bool:
    """An option without a value."""
    is_fit = word[:2] == "--" or (word[:1] == "-" and len(word) == 2)
    return is_fit and word.translate({45: "x", 95: "x"}).isalnum()


def _takes_back(word: str, had: Sequence[str]) -> bool:
    return word[:5] == "--no-" and f"--{word[5:]}" in had
