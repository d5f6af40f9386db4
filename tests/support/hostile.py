"""Texts that an agent or a repository may have written, and what of them must never be printed."""

from __future__ import annotations

import re

__all__ = ["CI_COMMANDS", "CONTROLS", "HOSTILE", "harm"]

CONTROLS = (
    *(
        "\x1b[2J",
        "\x1b]52;c;cm0gLXJm\x07",
        "\x1b]0;title\x1b\\",
        "\x1b]8;;https://x.example\x07link\x1b]8;;\x07",
    ),
    *(
        "\x1b[31m",
        "\x9b2J",
        "\x9d0;x\x9c",
        "\x1bP1;q\x1b\\",
        "\x1b",
        "\x07",
        "\b\b\b",
        "\x7f",
        "\x0e",
        "\x1bc",
    ),
    *("\u202e", "\u2066", "\u2069", "\u200f", "\u200e", "\u061c", "\u2028", "\x85", "\ufeff", "\U000e0041"),
    *(
        "\x1b[0Ksection_start:1:x\r\x1b[0Kx",
        "travis_fold:start:x\r\x1b[0K",
        "\x1b_bk;t=1\x07",
        "\ud800",
        "\0",
    ),
)
CI_COMMANDS = (
    *("::add-mask::the", "::stop-commands::x", "::error file=a,line=1::no", "::set-output name=a::b"),
    *("##[error]no", "##[add-matcher]x", "##vso[task.setvariable variable=X]y", "##VSO[task.complete]z"),
    *("##teamcity[buildStatus status='SUCCESS']", "##octopus[setVariable name='a']", "###[group]x"),
    *("section_start:1:x", "section_end:1:x", "travis_fold:start:x", "travis_time:end:1"),
)
HOSTILE = (
    "Hi\x1b[2J\x1b]52;c;cm0=\x07\u202eolleh\u2066\x9b1m\r::error::no\n::add-mask::the\n"
    "  ##vso[task.setvariable variable=X]y ##[error]z ##teamcity[a 'b']\x85travis_fold:start:x"
)
"""One text with some of each."""

_MOVES = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_OUR_COLOUR = re.compile("\x1b\\[(?:0|1|2|31|32|33|36)m")
_OBEYED = re.compile(r"^\s*(?:::|travis_(?:fold|time):|section_(?:start|end):)|##[A-Za-z_-]*\[")


def harm(text: str, *, painted: bool = False) -> list[str]:
    """What of a printed text would be obeyed; with `painted`, our own colours are allowed."""
    plain = _OUR_COLOUR.sub("", text) if painted else text
    found = [ascii(match[0]) for match in _MOVES.finditer(plain)]
    return found + [ascii(line) for line in re.split(r"\r\n|\r|\n", plain) if _OBEYED.search(line)]
