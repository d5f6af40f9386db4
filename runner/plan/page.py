"""The lines of a Markdown page, and what each of them is by CommonMark. Pure.

`markdown-it` says what is a fence, a comment, a list or a quotation. Two of its rules are left out, so that
no line disappears: a line of dashes below a text makes no heading of it, and `[a]: b` is a text.
"""

from __future__ import annotations

import re

from markdown_it import MarkdownIt

from runner.plan.dropped import is_title
from runner.text.problems import found
from runner.value import StrEnum, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

_DEEPEST = 100
"""Lists and quotations in each other; the parser leaves out what is deeper."""
_FOOTNOTE = re.compile(r"(?<=[\w`*)])\[\^[\w-]{1,20}\](?=[\s,;)]|$)")
_BLANKS = re.compile(r"\s{40,}")
"""Nobody reads so many, and patterns that skip blanks would take long over them."""


class LineKind(StrEnum):
    HEADING = "heading"
    TEXT = "text"
    FENCE = "fence"
    """A fenced block as a whole."""
    OTHER = "other"
    """HTML, quoted, in a table or indented as code: a person may see it as a part of the plan."""


class PageLine(Value):
    """One line without its marks (`#`, `-`, `1.`) and without comments; of a fence all that is inside."""

    number: int
    text: str
    kind: LineKind
    last: int
    """The number of its last line, where it is a fence."""
    depth: int = 0
    """In so many lists it is."""
    level: int = 0
    """Of a heading."""
    info: str = ""
    """What a fence says of itself: `bash`; `indented` of other code."""
    is_item: bool = False
    """Whether a list item begins with it."""
    is_first: bool = False
    """Whether a paragraph begins with it."""
    is_lazy: bool = False
    """Whether it belongs to a list item only because no blank line is between them."""
    begins_list: bool = False


class Page(Value):
    lines: tuple[PageLine, ...]
    rows: tuple[str, ...]
    """The lines as they are in the file."""
    open_ends: tuple[tuple[int, str], ...]
    """Fences and comments that nothing closes, each with its line."""


def page_of(text: str) -> Page:
    """What stands in the text, in its order. Comments and front matter do not."""
    rows = re.sub(r"\r\n?", "\n", text).split("\n")
    body, open_ends = _without_front_matter(rows)
    parser = MarkdownIt("commonmark", {"maxNesting": _DEEPEST}).disable(["inline", "lheading", "reference"])
    tokens = parser.parse("\n".join(body))
    lines = list(_lines(tokens, body, open_ends))
    deep = next((token.map for token in tokens if token.map and token.level >= _DEEPEST - 1), None)
    if deep is not None:
        open_ends.append((deep[0] + 1, "lists or quotations are nested too deeply to be read here"))
    return Page(tuple(lines), tuple(rows), tuple(open_ends))


def _without_front_matter(rows: list[str]) -> tuple[list[str], list[tuple[int, str]]]:
    """The rows, and what the front matter says against carrying the plan out."""
    if rows[0].rstrip() != "---":
        return rows, []
    against: list[tuple[int, str]] = []
    for at, row in enumerate(rows[1:], 1):
        if row.rstrip() in ("---", "..."):
            return [""] * (at + 1) + rows[at + 1 :], against
        if row.lower().startswith("status:") and is_title(row[7:].strip(" \"'")):
            against.append((at + 1, f"{found(row)} says of the whole plan that it is done or dropped"))
    return rows, []


def _lines(tokens: list[Token], rows: list[str], open_ends: list[tuple[int, str]]) -> Iterator[PageLine]:
    depth = quotes = level = 0
    starts_item = starts_list = False
    for token in tokens:
        if token.type in ("list_item_open", "list_item_close"):
            depth += token.nesting
            starts_item = token.nesting == 1
            starts_list = starts_list and starts_item
        elif token.type in ("bullet_list_open", "ordered_list_open"):
            starts_list = True
        elif token.type in ("blockquote_open", "blockquote_close"):
            quotes += token.nesting
        elif token.type == "heading_open":
            level = int(token.tag[1:])
        elif token.type == "heading_close":
            level = 0
        if token.map is None or (not token.content and token.type not in ("fence", "inline")):
            continue
        first, last = token.map[0] + 1, token.map[1]
        if token.type == "fence":
            if not _is_closed(token, rows[last - 1], first == last):
                open_ends.append(
                    (first, f"nothing closes this code block ({token.markup}), so it goes on to line {last}")
                )
            info = token.info.strip().split(" ")[0].lower()
            yield PageLine(first, token.content, LineKind.FENCE, last, depth, info=info)
        elif token.type in ("inline", "html_block", "code_block"):
            if token.content.count("<!--") > token.content.count("-->") and token.type == "html_block":
                open_ends.append((first, f"nothing closes this comment, so it goes on to line {last}"))
            kind = LineKind.TEXT if token.type == "inline" else LineKind.OTHER
            yield from _of_block(
                token,
                rows,
                (first, depth, level, starts_item + starts_list),
                LineKind.OTHER if quotes else kind,
            )
        starts_item = starts_list = False


def _of_block(
    token: Token, rows: list[str], at: tuple[int, int, int, int], kind: LineKind
) -> Iterator[PageLine]:
    first, depth, level, starts = at
    info = "indented" if token.type == "code_block" else ""
    content = _without_comments(token.content)
    if token.type == "html_block":
        content = content.partition("<!--")[0]
    is_first = True
    for number, text in enumerate(content.split("\n"), first):
        text = _FOOTNOTE.sub("", _BLANKS.sub(" ", text.strip()))
        if not text:
            continue
        here = kind
        if kind is LineKind.TEXT and level:
            here = LineKind.HEADING
        elif kind is LineKind.TEXT and text.startswith("|"):
            here = LineKind.OTHER
        lazy = not is_first and depth > 0 and not rows[number - 1][:1].isspace()
        begins = starts * is_first
        yield PageLine(number, text, here, number, depth, level, info, begins > 0, is_first, lazy, begins > 1)
        is_first = False


def _is_closed(token: Token, last: str, is_alone: bool) -> bool:
    mark = last.strip(" \t>")
    return not is_alone and len(mark) >= len(token.markup) and not mark.strip(token.markup[0])


def _without_comments(text: str) -> str:
    """The text on the same lines. In a time that its length explains, however many comments are open."""
    kept, at = [], 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        kept += [text[at:start], "\n" * text.count("\n", start, end)]
        at = end + 3
    return "".join(kept) + text[at:]
