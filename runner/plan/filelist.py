"""One item of a file list as people write it: its paths, and what could not be read as one. Pure."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt

from runner.plan import units
from runner.plan.dropped import struck
from runner.text.problems import found

_KIND = re.compile(
    r"^[*_]{0,2}\[?(create|add|new|modify|update|edit|change|extend|delete|remove|rename|move"
    r"|read|references?|context|tests?|unchanged|untouched|frozen|read[- ]only|spared"
    r"|view|inspect|review|for reference)\]?"
    r"[*_]{0,2}\s*(?::[*_]{0,2}|(?=\s*[`\[]))\s*",
    re.IGNORECASE,
)
_KINDS = {"create": "create", "add": "create", "new": "create"}
_KINDS |= dict.fromkeys(
    ("read", "reference", "references", "context", "view", "inspect", "review", "for reference"), "read"
)
_KINDS |= dict.fromkeys(("unchanged", "untouched", "frozen", "read-only", "read only", "spared"), "spared")
_NEW = re.compile(
    r"^\s*(?:[-\u2013\u2014]\s*)?[(\[]?(?:new|created?|to create)\b(?:[^)\]]*[)\]]|$)", re.IGNORECASE
)
_NOTHING = re.compile(
    r"^[^\w`*]*(?:(?:none|n/?a|nothing|no (?:\w+ )?(?:files?|changes?))"
    r"[^\w`]*(?:\(.*\)|\s[-\u2013\u2014]\s.*)?[^\w`]*)?$",
    re.IGNORECASE,
)
_LONGEST_NOTHING = 1000
_LEFT_ALONE = re.compile(
    r"^\W*(?:leave|don['\u2019]t|do not|never|not|keep|without|avoid|ignore|skip|omit|nothing"
    r"|no (?:\w+ )?(?:change|edit)s?)\b",
    re.IGNORECASE,
)
_EXCEPT = r"except(?:ing)?|exclud\w+|other than|apart from|aside from|save for"
_BUT_SOME = re.compile(
    rf"(?<![\w/.-])(?:{_EXCEPT})(?![\w/.-])|\b(?:but|outside|besides|than)\s+`", re.IGNORECASE
)
_NEGATED = re.compile(
    rf"\b(?:leave|don['\u2019]t|do not|never|not|without|{_EXCEPT}|unchanged|untouched)\b"
    r"|^\W*(?:all|anything|everything) but\b|\b(?:minus|but|save|outside|besides)\W*$"
    r"|^\W*(?:out of scope|off[- ]limits|frozen|look at)\b",
    re.IGNORECASE,
)
_SPARED = re.compile(
    r"^[\s,;:.(\[*_\u2013\u2014-]*"
    r"(?:(?:is|are|must|should|shall|may|stays?|remains?|left|kept|to|be|both|all|do|for|please"
    r"|leave|keep|reuse|only|(?:auto-?)?generated|existing|vendored)(?:\s+|[,;:]\s*))*"
    r"(?:(?:don['\u2019]t|not|never|no)\s+(?:to\s+)?(?:be\s+)?(?:touch|edit|modif|chang)\w*"
    r"(?:\s+(?:needed|required|expected|by hand|manually))?|unchanged|unmodified|untouched|the same|frozen"
    r"|(?:left )?alone|read[- ]?only|read(?=\s*[)\]])|hands[- ]off|off[- ]limits"
    r"|out of scope|reference|context|as(?: it)?[- ]is)"
    r"(?:\s+(?:it|this|here|only))*(?:\s*[).,;:!\]*_]+\s*|\s*$)",
    re.IGNORECASE,
)
"""What is said behind the name of a file that is not to be changed."""
_COMPARED = re.compile(
    r"\b(?:see|like|from|calls|imports|uses|mirrors?|as in|cf|compare|follow(?:s|ing)?)\b", re.IGNORECASE
)
_BETWEEN = re.compile(
    r"^(?:\s*(?:,|;|&|\+|/|and|or|[-=]?>|[\u2192\u27f6\u21d2]|\(?(?:renamed|moved) (?:to|from))\s*|\s+)$"
)
_FORBIDDEN = re.compile("(?<![^\\s(])[?\u274c\u2716-\u2718\u26d4\U0001f512\U0001f6ab]")
_REFERENCED = re.compile(r"(?<![\w/.\]])\[(?:[^\[\]]+\]\[[^\[\]]*|[^\[\]]*\.\w+)\](?![\w/.(\[])")
_EMPHASIS = re.compile(r"([-\u2013\u2014(]\s*)\*([A-Za-z][\w ,'-]*)\*(?=[\s).,;]|$)")
_REMARK = re.compile(r"^\s*\([^()]*(?:\([^()]*\)[^()]*)*\)")
_BOLD = re.compile(r"(?<![\w/.*])(\*\*|__|[*_](?=[`(]))(?=[\w`\[(.])(.+?)(?<=[\w`\])])\1(?![\w/*])")
_PATH_LIKE = re.compile(r"[/*]|^\.|\w\.\w{1,12}(?:[:#'\"]|$)")
_ONE_FILE = re.compile(r"^[^*?]*\w\.\w+$")
_BARE_FILES = ("Makefile", "Dockerfile", "LICENSE", "README", "CHANGELOG", "Gemfile", "Rakefile", "Procfile")
_ROUTE = re.compile(r"\[{1,2}(?:\.\.\.)?[A-Za-z_]\w+\]{1,2}")
"""A folder such as `[id]`, as routers of web frameworks want it: no set of characters."""
_WORDS = re.compile(r"((?<!\w)[\"'][^\"']*[\"'](?!\w)|\s+|,\s*)")
_INLINE = MarkdownIt("commonmark").disable(["emphasis", "html_inline", "autolink", "entity", "escape"])
_MOST_BRACES = 64
_QUOTES = str.maketrans("\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb", '"""\'\'""')


def files_in(text: str) -> str:
    """What a line below a file list has to do with files: it `is` one, `names` one, is an `exception`."""
    said = _KIND.match(text)
    if kind_of_list(text) or _BUT_SOME.search(text) or _LEFT_ALONE.match(text):
        return "exception"
    pieces = _pieces(text[said.end() :] if said else text)
    named = [piece for piece, is_name in pieces if is_name and _PATH_LIKE.search(piece)]
    if (
        not named
        or named[0] != pieces[0][0]
        or (said and named[0] != named[0].lower() and "/" not in named[0])
    ):
        return "names" if named else ""
    return (
        "names"
        if re.match(r"\s+(?!(?:and|or|too|also|as)\b)\w", pieces[1][0] if pieces[1:] else "")
        else "is"
    )


def kind_of_list(text: str) -> str | None:
    """The kind of the items below an item that is nothing but `Create:` or `Do not touch:`."""
    said = _KIND.match(text)
    if said is None and _spares_its_list(text):
        return "spared"
    return None if said is None or text[said.end() :].strip() else _KINDS.get(said[1].lower(), "modify")


def _spares_its_list(text: str) -> bool:
    return text.rstrip("*_ ").endswith(":") and bool(_NEGATED.search(text) or _SPARED.match(text))


def with_kind(text: str, kind: str) -> str:
    """An item as one of this kind, if it says none itself."""
    return text if _KIND.match(text) else f"{kind}: {text}"


class FileItem:
    """`paths` has each with its kind: `create`, `modify` or `read`. `unclear` has what may be a path and was
    not taken as one, `adjusted` what was cut off; `has_remark` where the agent should read the item itself.
    """

    def __init__(self, text: str, kind: str) -> None:
        self.paths: list[tuple[str, str]] = []
        self.spared: list[str] = []
        """What may not be changed."""
        self.unclear: list[str] = []
        self.adjusted: list[str] = []
        self.has_remark = self.is_over = False
        said = _KIND.match(text)
        self.kind = _KINDS.get(said[1].lower(), "modify") if said else kind
        text = _BOLD.sub(r"\2", text[said.end() :] if said else text).replace("<br>", ", ")
        text = _EMPHASIS.sub(r"\1\2", text.translate(_QUOTES))
        if struck(text):
            self.unclear.append(f"found {found(text)}, which is struck out")
        elif _FORBIDDEN.search(re.sub("`[^`]*`", " ", text)):
            self.unclear.append(f"found {found(text)}; is this file to be changed?")
        elif _REFERENCED.search(re.sub("`[^`]*`", "x.x", text)):
            self.unclear.append(f"found {found(text)}, a link that leads elsewhere; write the path itself")
        elif _LEFT_ALONE.match(text) or _spares_its_list(text):
            self.has_remark = True
            self.spared = named_in(text)
            if self.spared and _BUT_SOME.search(text):
                self.unclear.append(f"found {found(text)}; is this file to be changed?")
        elif len(text) > _LONGEST_NOTHING or not _NOTHING.match(text.strip("*_") or text):
            self._read(_pieces(text))
            self.spared += [path for path, kind in self.paths if kind == "spared"]
            self.paths = [(path, "read" if kind == "spared" else kind) for path, kind in self.paths]
            if _BUT_SOME.search(text) and not all(_ONE_FILE.match(path) for path, _ in self.paths):
                self.unclear.append(f"found {found(text)}; a list of files has no exceptions")
            if not (self.paths or self.unclear):
                self.unclear.append(f"found {found(text)}; expected a path in backticks")

    def _read(self, pieces: list[tuple[str, bool]]) -> None:
        before = ""
        if pieces and not pieces[0][1]:
            self.is_over = bool(_NEGATED.search(pieces[0][0]) or _COMPARED.search(pieces[0][0]))
        for at, (piece, is_name) in enumerate(pieces):
            after = pieces[at + 1][0] if at + 1 < len(pieces) and not pieces[at + 1][1] else ""
            if is_name and not self.is_over:
                kind = "create" if _NEW.match(after) and self.kind == "modify" else self.kind
                spared = _SPARED.match(after)
                # Without a sign behind it, it is said of the name that follows.
                if spared and (at + 2 >= len(pieces) or spared[0].rstrip()[-1:] in ").,;:!]"):
                    kind, self.has_remark = "spared", True
                    if self.paths or spared.end() < len(after):
                        self.unclear.append(f"{found(piece + after)}: is this file to be changed?")
                self.paths += [(path, kind) for path in self._meant(piece)]
            elif not is_name and not self.is_over:
                self._between(piece)
            elif is_name and _PATH_LIKE.search(piece) and not _COMPARED.search(before):
                is_spared = _NEGATED.search(before + after[:30])
                told = f"{found(piece)} stands behind other words, so it is not taken as a file"
                (self.spared if is_spared else self.unclear).append(
                    piece.strip("'\".,;:()") if is_spared else told
                )
            before = (before + piece)[-60:]

    def _between(self, text: str) -> None:
        """Prose between names ends the list of them; what is in brackets behind one does not."""
        text = _NEW.sub("", text, count=1)
        if remark := _REMARK.match(text):
            self.has_remark = True
            text = text[remark.end() :]
        if text.strip(" .") and not _BETWEEN.match(text):
            self.is_over = self.has_remark = bool(self.paths or self.unclear)

    def _meant(self, name: str) -> list[str]:
        """The paths that a name means."""
        path = name.strip().rstrip(",;").strip("'\"")
        if cut := units.IN_FILE.search(path):
            self.adjusted.append(f"{found(path)} is taken as the whole file, without {found(cut[0])}")
            self.has_remark = True
            path = path[: cut.start()]
        if "{" in path and "," in path and (spelled := _spelled_out(path)):
            return spelled
        if wrong := _doubt(_ROUTE.sub("x", path)):
            self.unclear.append(f"{found(name)} {wrong}, so it is not taken as a file")
            return []
        return [_ROUTE.sub(lambda one: re.sub(r"[\[\]]", r"\\\g<0>", one[0]), path)]


def _doubt(path: str) -> str | None:
    """As `units.doubt`, of what a person wrote in prose."""
    if not path or any(char in path for char in ' \t<>"|'):
        return "has blanks or signs that paths seldom have"
    if why := units.doubt(path):
        return why
    if path.startswith(("@/", "~~")) or any(sign in path for sign in (":", "\\", "...", "\u2026", "(")):
        return "is written like no path of a repository"
    if not _PATH_LIKE.search(path) and path not in _BARE_FILES and path != path.lower():
        return "looks like a name in the code"
    return None


def _spelled_out(path: str) -> list[str] | None:
    """`a.{x,y}` as `a.x`, `a.y`; None where it is not that simple."""
    ready = [path]
    while any("{" in one for one in ready):
        at = re.search(r"\{([^{}]*,[^{}]*)\}", ready[0])
        if at is None or len(ready) > _MOST_BRACES:
            return None
        ready = [one.replace(at[0], part.strip(), 1) for one in ready for part in at[1].split(",")]
    return None if any("}" in one for one in ready) else list(dict.fromkeys(ready))


def _pieces(text: str) -> list[tuple[str, bool]]:
    """The text in pieces, and whether each is a name: a code span, a link, or a bare word like a path."""
    pieces: list[tuple[str, bool]] = []
    is_lone, target = len(text.split()) == 1, None
    for child in _INLINE.parseInline(text)[0].children or ():
        if child.type == "link_open":
            target = str(child.attrs.get("href", ""))
        elif child.type == "link_close":
            target = None
        elif target is not None or child.type == "code_inline":
            pieces.append((_linked(child.content, target or ""), True))
        else:
            words = _WORDS.split(child.content or " ")
            named = ((word, _is_name(word, is_lone)) for word in words if word)
            pieces += [(word.rstrip(".:") if is_name else word, is_name) for word, is_name in named]
    joined: list[tuple[str, bool]] = []
    for piece, is_name in pieces:
        if joined and not is_name and not joined[-1][1]:
            piece = joined.pop()[0] + piece
        joined.append((piece, is_name))
    return joined


def named_in(text: str) -> list[str]:
    """The paths that stand anywhere in a text."""
    return [piece for piece, is_name in _pieces(text) if is_name and _PATH_LIKE.search(piece)]


def _is_name(word: str, is_lone: bool) -> bool:
    return any(map(str.isalnum, word)) and word[0] != "(" and (is_lone or bool(_PATH_LIKE.search(word)))


def _linked(text: str, target: str) -> str:
    """The text of a link; what it leads to, where that ends with the text and says more."""
    is_elsewhere = target.startswith(("/", ".")) or "://" in target
    return target if not is_elsewhere and target.endswith(f"/{text}") else text
