"""Text in the columns of a terminal: how wide it is, and where a line of it can end. Pure.

A character of East Asia takes two cells, a combining one none (https://unicode.org/reports/tr11/). Terminals
do not agree on emoji that are joined; here each counts, so a line may be shorter than it had to be, never
longer.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

TAB = " " * 4
_JOINER = "\u200d"
_EMOJI = "\ufe0f"
"""Makes an emoji, which is wide, of the character before it."""
_WIDTHS = {"\t": len(TAB)} | {chr(code): 1 for code in range(32, 127)}


def cells(text: str) -> int:
    """How many columns it takes; a tab takes those of `TAB`."""
    if text.isascii():
        return len(text) + text.count("\t") * (len(TAB) - 1)
    return sum(map(_width, text))


def cut(text: str, width: int) -> str:
    """At most so many columns of it, the last three of which then say that there was more."""
    if cells(text) <= width:
        return text
    dots = "..."[: max(0, width)]
    used = len(dots)
    made = ""
    for piece in _clusters(text):
        used += cells(piece)
        if used > width:
            break
        made += piece
    return made + dots


def wrapped(text: str, width: int, *, whole_words: bool = False) -> list[str]:
    """Its lines, broken at blanks so that none is wider than `width`; a longer word is broken anywhere, but
    for what belongs together. With `whole_words` it stays whole, as does what is between backticks:
    a path or a command has to be copied.
    """
    lines: list[str] = []
    for line in text.replace("\t", TAB).split("\n"):
        lines += [line] if cells(line) <= width else _broken(line, width, whole_words)
    return lines


def _broken(line: str, width: int, whole_words: bool) -> Iterator[str]:
    made, used = "", 0
    for word in _words(line, whole_words):
        size = cells(word)
        if made.strip() and used + size > width and cells(word.rstrip(" ")) + used > width:
            yield made.rstrip(" ")
            made, used = "", 0
        if whole_words:
            made, used = made + word, used + size
            continue
        for piece in [word] if used + size <= width else _clusters(word):
            wide = cells(piece)
            if used + wide > width and made and piece != " ":
                yield made.rstrip(" ")
                made, used = "", 0
            made, used = made + piece, used + wide
    if made.strip(" "):
        yield made.rstrip(" ")


def _words(line: str, is_code_whole: bool) -> Iterator[str]:
    """Its words, each with the blanks behind it; the first has those before it as well."""
    if is_code_whole and "`" in line:
        import re  # hardly any line is so long

        yield from re.findall(r" *(?:`[^`]*`|[^ ])+ *", line)
        return
    at = len(line) - len(line.lstrip(" "))
    start = 0
    while (end := line.find(" ", at)) >= 0:
        while line[end : end + 1] == " ":
            end += 1
        yield line[start:end]
        start = at = end
    yield line[start:]


def _clusters(word: str) -> Iterator[str]:
    """Its characters, each with what is combined with it."""
    made = ""
    for char in word:
        if made and not (_combines(char) or made[-1] == _JOINER):
            yield made
            made = ""
        made += char
    yield made


def _width(char: str) -> int:
    found = _WIDTHS.get(char)
    if found is None:
        from unicodedata import category, east_asian_width  # most text has only what is known here

        combines = "\u1160" <= char <= "\u11ff" or category(char) in ("Mn", "Me", "Cf")
        wide = 1 if char == _EMOJI else 1 + (east_asian_width(char) in "WF")
        found = _WIDTHS[char] = 0 if combines and char != _EMOJI else wide
    return found


def _combines(char: str) -> bool:
    return _width(char) == 0 or char == _EMOJI
