"""A command that is written as one text: its words, as a shell would split them. Pure.

No shell ever sees it. So what only a shell acts on is refused: a program may ignore the words
`&& ./test.sh e2e`, and then a check passes that was never run.
"""

from __future__ import annotations

_OPERATORS = "&|;<>()\n"
_EXPANDED = tuple("({_@*?#!$")
_PREPARING = ("cd", "pushd", "export", "unset", "source", ".", "set", "alias")
_OPENING = {"if": "fi", "for": "done", "while": "done", "until": "done", "case": "esac", "{": "}"}
_BUILTINS = (*_PREPARING, *_OPENING, "eval", "exec", "!", "[[")
"""What a shell does itself when a command begins with it: no such program could do that."""
_SCRIPTED = frozenset(("sh", "bash", "dash", "zsh", "python", "node", "perl", "ruby", "php", "awk", "jq"))
"""Programs that are given a script, in which `$` has a meaning of its own also between double quotes."""
_EXPANDS_NOTHING = frozenset(
    ("pytest", "py.test", "mypy", "ruff", "black", "flake8", "pylint", "isort", "shellcheck", "bats", "cat")
)
"""Programs to which a name with `*` is that of one file. Others (prettier, git, find, node) look for such
files themselves, and want the word as it stands.
"""
_LONGEST = 120


def words_of(text: str) -> list[str]:
    """ValueError where quotes are not closed, or where only a shell would understand it, with the repair."""
    import shlex

    if (syntax := _of_a_shell(text.strip())) is not None:
        raise ValueError(f"{syntax} is for a shell, and this text is given to none; {_repair(text.strip())}")
    try:
        words, quoted = shlex.split(text), shlex.split(text, posix=False)
    except ValueError as error:
        raise ValueError(f"it cannot be split into words: {error}") from None
    if (word := _unexpanded(quoted)) is not None:
        raise ValueError(f"`{word}` is expanded by a shell, and this text is given to none; {_repair(text)}")
    return words


def _unexpanded(words: list[str]) -> str | None:
    """The first word, quotes and all, that the program gets as it stands and can do nothing with. A value of
    an option may be a pattern.
    """
    is_plain = any(word.rpartition("/")[2] in _EXPANDS_NOTHING for word in words[:5])
    # It asks for a file of that very name, which no one has.
    is_test = bool(words) and words[0].rpartition("/")[2] in ("test", "[")
    for before, word in zip(["", *words], words, strict=False):
        if any(char in word for char in "'\"\\"):
            continue
        if word == "~" or word.startswith("~/"):
            return word
        if is_test and len(word) > 1 and (word[0] == "~" or any(char in word for char in "*?[{")):
            return word
        is_value = before.startswith("--") or (before.startswith("-") and "/" not in word)
        if is_plain and "*" in word and word[0] != "-" and "::" not in word and not is_value:
            return word
    return None


def _of_a_shell(text: str) -> str | None:
    """What stands there that a shell would act on: between double quotes it expands names and commands."""
    first = text.split(maxsplit=1)[0] if text else ""
    name, is_set, _ = first.partition("=")
    if is_set and name.isidentifier() and name.isascii():
        return f"`{name}=` in front of a command"
    if first in _BUILTINS:
        return f"`{first}`"
    is_script = any(word.rpartition("/")[2].rstrip("0123456789.") in _SCRIPTED for word in text.split()[:5])
    quote, at, end = "", 0, len(text)
    while at < end:
        char, following = text[at], text[at + 1 : at + 2]
        is_name = char == "$" and (following.isalnum() or following in _EXPANDED)
        if char == "\\" and quote != "'":
            if following == "\n" and not quote:
                return "a line break"
            at += 1
        elif (is_name or char == "`") and quote != "'" and not (quote and is_script):
            name = "$(" if following == "(" else text[at:].split(maxsplit=1)[0].rstrip('"')
            return f"`{name}`" if is_name else "a backquote"
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "\n":
            return "a line break"
        elif char in _OPERATORS:
            rest = text[at:]
            return f"`{rest[: len(rest) - len(rest.lstrip('&|<>')) or 1]}`"
        elif char == "#" and text[at - 1 : at].isspace():
            return "a comment (`#`)"
        at += 1
    return None


def _repair(text: str) -> str:
    import json
    import shlex

    words = text.split()
    if (end := _OPENING.get(words[0])) and words[-1] != end:
        return f"write all of it as one command: sh -c '{words[0]} ...; {end}'"
    if words[0] in _PREPARING and not any(sign in text for sign in ("&&", "||", ";", "\n")):
        return f"alone it does nothing: write it and its command as one, sh -c '{words[0]} ... && COMMAND'"
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
