"""A command that is written as one text: its words, as a shell would split them. Pure.

No shell ever sees it. So what only a shell acts on is refused: a program may ignore the words
`&& ./test.sh e2e`, and then a check passes that was never run.
"""

from __future__ import annotations

_OPERATORS = "&|;<>()`\n"
_EXPANDED = tuple("({_@*?#!$")
_BUILTINS = (
    *("cd", "pushd", "export", "unset", "source", ".", "set", "alias", "eval", "exec", "!"),
    *("if", "for", "while", "until", "case", "{", "[["),
)
"""What a shell does itself when a command begins with it: no such program could do that."""
_LONGEST = 120


def words_of(text: str) -> list[str]:
    """ValueError where quotes are not closed, or where only a shell would understand it, with the repair."""
    import shlex

    if (syntax := _of_a_shell(text.strip())) is not None:
        raise ValueError(f"{syntax} is for a shell, and this text is given to none; {_repair(text.strip())}")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"it cannot be split into words: {error}") from None


def _of_a_shell(text: str) -> str | None:
    """What stands there, outside of quotes, that a shell would act on."""
    first = text.split(maxsplit=1)[0] if text else ""
    name, is_set, _ = first.partition("=")
    if is_set and name.isidentifier() and name.isascii():
        return f"`{name}=` in front of a command"
    if first in _BUILTINS:
        return f"`{first}`"
    quote, at, end = "", 0, len(text)
    while at < end:
        char, following = text[at], text[at + 1 : at + 2]
        if char == "\\" and quote != "'":
            if following == "\n" and not quote:
                return "a line break"
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "\n":
            return "a line break"
        elif char in _OPERATORS:
            rest = text[at:]
            return f"`{rest[: len(rest) - len(rest.lstrip('&|<>')) or 1]}`" if char != "`" else "a backquote"
        elif char == "$" and (following.isalnum() or following in _EXPANDED):
            return "`$(`" if following == "(" else f"`{text[at:].split(maxsplit=1)[0]}`"
        elif char == "#" and text[at - 1 : at].isspace():
            return "a comment (`#`)"
        at += 1
    return None


def _repair(text: str) -> str:
    import json
    import shlex

    is_whole = "=" not in text and len(text) <= _LONGEST  # behind `NAME=` a secret may stand
    shown = json.dumps(text if is_whole else "...", ensure_ascii=False)
    repair = f'write ["sh", "-c", {shown}]'
    if is_whole and "\n" not in text:
        repair += f", or where only a text can stand, sh -c {shlex.quote(text)}"
    if "|" in text.replace("||", ""):
        repair += (
            "; of a pipe only the last command counts, unless `set -o pipefail;` stands before it "
            "(with bash instead of sh)"
        )
    return repair
