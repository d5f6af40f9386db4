"""One entry of a file list as people write it: the paths, and what could not be read as one. Pure."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt

from runner.plan import units
from runner.text.problems import found
from runner.value import Value

_KIND = re.compile(
    r"^(?:[*_]{2})?\[?(create|add|new|modify|update|edit|change|extend|delete|remove|rename|move|read|tests?)\]?"
    r"(?:[*_]{2})?\s*(?::(?:[*_]{2})?|(?=\s*[`\[]))\s*",
    re.IGNORECASE,
)
_CREATES = ("create", "add", "new")
_NEW = re.compile(r"^\s*[(\[](?:new|create|created|to create|new file)\b[^)\]]*[)\]]", re.IGNORECASE)
_NOTHING = re.compile(
    r"^[^\w`*]*(?:none|n/?a|nothing|no (?:files?|changes?|file changes))?"
    r"[^\w`]*(?:\(.*\)|\s[-\u2013\u2014]\s.*)?[^\w`]*$",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:leave|don't|do not|never|not|without|except|unchanged|untouched|unlike)\b", re.IGNORECASE
)
_ALSO_READ = re.compile(r"\b(?:see|like|from|mirrors?|as in|cf|compare|follow(?:s|ing)?)\b", re.IGNORECASE)
_BETWEEN = re.compile(r"^(?:\s*(?:,|;|&|\+|/|and|or)\s*|\s+)$")
_REMARK = re.compile(r"^\s*\([^()]*(?:\([^()]*\)[^()]*)*\)")
_BARE_FILES = (
    "Makefile",
    "Dockerfile",
    "LICENSE",
    "README",
    "CHANGELOG",
    "Gemfile",
    "Rakefile",
    "Justfile",
    "Procfile",
)
_ROUTE = re.compile(r"\[{1,2}(?:\.\.\.)?[A-Za-z_]\w+\]{1,2}")
"""A folder such as `[id]`, as routers of web frameworks want it: no set of characters."""
_INLINE = MarkdownIt("commonmark").disable(["emphasis", "html_inline", "autolink", "entity", "escape"])
_MOST_BRACES = 64


class FileItem(Value):
    """`kind` is `create`, `modify` or `read`. `unclear` has what may be a path and was not taken as one."""

    paths: tuple[tuple[str, str], ...] = ()
    """Each with its kind."""
    unclear: tuple[str, ...] = ()
    adjusted: tuple[str, ...] = ()
    """What was cut off or spelled out."""
    has_remark: bool = False
    """Whether it says more than its paths, so that the agent should read it."""


def file_item(text: str, kind: str) -> FileItem:
    """What an entry such as ``Create: `a.py` (new), `b.py` `` lists; `kind` is that of the list."""
    said = _KIND.match(text)
    if said:
        word = said[1].lower()
        kind = "create" if word in _CREATES else "read" if word == "read" else "modify"
        text = text[said.end() :]
    if _NOTHING.match(text.strip("*_") or text):
        return FileItem()
    reading = _ItemReader(kind)
    pieces = _pieces(text)
    if pieces and not pieces[0][1] and _NEGATED.search(pieces[0][0]):
        return FileItem(has_remark=True)
    for at, (piece, is_name) in enumerate(pieces):
        if is_name:
            rest = pieces[at + 1][0] if at + 1 < len(pieces) and not pieces[at + 1][1] else ""
            reading.name(piece, before="".join(one for one, _ in pieces[:at])[-60:], after=rest)
        elif not reading.is_over:
            reading.between(piece)
    if not reading.paths and not reading.unclear:
        reading.unclear.append(f"found {found(text)}; expected a path in backticks")
    return FileItem(tuple(reading.paths), tuple(reading.unclear), tuple(reading.adjusted), reading.has_remark)


class _ItemReader:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.paths: list[tuple[str, str]] = []
        self.unclear: list[str] = []
        self.adjusted: list[str] = []
        self.is_over = False
        self.has_remark = False

    def between(self, text: str) -> None:
        """Prose between names ends the list of them; what is in brackets behind one does not."""
        text = _NEW.sub("", text, count=1)
        if remark := _REMARK.match(text):
            self.has_remark = True
            text = text[remark.end() :]
        if text.strip(" .") and not _BETWEEN.match(text):
            self.is_over = self.has_remark = True

    def name(self, name: str, *, before: str, after: str) -> None:
        if not self.is_over:
            kind = "create" if _NEW.match(after) and self.kind == "modify" else self.kind
            self.paths += [(path, kind) for path in self.read(name)]
        elif _is_path_like(name) and not (_NEGATED.search(before + after[:30]) or _ALSO_READ.search(before)):
            self.unclear.append(
                f"{found(name)} stands behind other words, so it is not taken as one of the files"
            )

    def read(self, name: str) -> list[str]:
        """The paths that a name means."""
        path = name.strip().rstrip(",;")
        if cut := units.IN_FILE.search(path):
            self.adjusted.append(f"{found(path)} is taken as the whole file, without {found(cut[0])}")
            self.has_remark = True
            path = path[: cut.start()]
        if "{" in path and "," in path and (spelled := _spelled_out(path)) is not None:
            return spelled
        wrong = _doubt(_ROUTE.sub("x", path))
        if wrong is not None:
            self.unclear.append(f"{found(name)} {wrong}, so it is not taken as a file")
            return []
        return [_ROUTE.sub(lambda one: re.sub(r"[\[\]]", r"\\\g<0>", one[0]), path)]


def _doubt(path: str) -> str | None:
    """As `units.doubt`, of what a person wrote in prose."""
    if not path or path != path.strip() or any(char in path for char in ' \t<>"|'):
        return "has blanks or signs that paths seldom have"
    if (why := units.doubt(path)) is not None:
        return why
    if ":" in path or "\\" in path or "..." in path or "\u2026" in path or "(" in path:
        return "is written like no path of a repository"
    if not _is_path_like(path) and path not in _BARE_FILES and path != path.lower():
        return "looks like a name in the code"
    return None


def _is_path_like(name: str) -> bool:
    return (
        "/" in name or "*" in name or bool(re.search(r"\w\.\w{1,12}(?:[:#]|$)", name)) or name.startswith(".")
    )


def _spelled_out(path: str) -> list[str] | None:
    """`a.{x,y}` as `a.x`, `a.y`; None where it is not that simple."""
    ready = [path]
    while any("{" in one for one in ready):
        found = [re.search(r"\{([^{}]*,[^{}]*)\}", one) for one in ready]
        if not all(found) or len(ready) * len(found) > _MOST_BRACES:
            return None
        ready = [
            one[: at.start()] + part.strip() + one[at.end() :]
            for one, at in zip(ready, found, strict=True)
            if at is not None
            for part in at[1].split(",")
        ]
    return None if any("}" in one for one in ready) else list(dict.fromkeys(ready))


def _pieces(text: str) -> list[tuple[str, bool]]:
    """The text in pieces, and whether each is a name: a code span, a link, or a bare word like a path."""
    pieces: list[tuple[str, bool]] = []
    link: list[str] | None = None
    target = ""
    for child in _INLINE.parseInline(text)[0].children or ():
        if child.type == "link_open":
            link, target = [], str(child.attrs.get("href", ""))
        elif child.type == "link_close" and link is not None:
            pieces.append((_linked("".join(link), target), True))
            link = None
        elif link is not None:
            link.append(child.content)
        elif child.type == "code_inline":
            pieces.append((child.content, True))
        elif child.type in ("softbreak", "hardbreak"):
            pieces.append((" ", False))
        elif child.type != "html_inline":
            pieces += _words(child.content, is_lone=len(text.split()) == 1)
    return _joined(pieces)


def _linked(text: str, target: str) -> str:
    """The text of a link; what it leads to, where that ends with the text and says more."""
    inside = target.startswith(("/", ".")) or "://" in target
    return target if not inside and target.endswith(f"/{text}") else text


def _words(text: str, *, is_lone: bool) -> list[tuple[str, bool]]:
    pieces = re.split(r"(\s+|,\s*)", text)
    return [
        (one, bool(one.strip(",. ")) and not one.startswith("(") and (is_lone or _is_path_like(one)))
        for one in pieces
    ]


def _joined(pieces: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Neighbours that are no names as one."""
    joined: list[tuple[str, bool]] = []
    for text, is_name in pieces:
        if joined and not is_name and not joined[-1][1]:
            joined[-1] = (joined[-1][0] + text, False)
        elif text:
            joined.append((text, is_name))
    return joined
