"""Which paths a `scope` covers: one small grammar of globs, matched without regular expressions. Pure.

A pattern and a path are relative to the root of the repository, with `/` between their segments.

- `*` is any number of characters of one segment, `?` is one, `[abc]`, `[a-z]` and `[!a]` one of a set.
- `**` as a whole segment is any number of segments, or none.
- A backslash makes the next character literal.
- A pattern whose last segment has no wildcard, or that ends in `/`, covers all below it too: `src` and `src/`
  are the folder, `src/*` only what lies in it, `src/**` everything.
- Nothing is hidden: `*` covers names that begin with a dot. Upper and lower case differ.

No pattern is slow: the time is bounded by the product of the two lengths.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


_WILD = "*?["


def problem(pattern: str) -> str | None:
    """What is wrong with a pattern, in words; None if it is one."""
    if not pattern.strip("/"):
        return "is empty"
    if "\0" in pattern:
        return "has a NUL in it"
    if pattern.startswith("/"):
        return "is absolute; it must be relative to the root of the repository"
    if ".." in pattern.split("/"):
        return "leads out of a folder with `..`"
    if pattern.startswith("!"):
        return "begins with `!`; nothing can be taken out of a scope (`\\!` is the character)"
    return None


def covers(patterns: Iterable[str], path: str) -> bool:
    """Whether any of the patterns covers the path."""
    return any(matches(pattern, path) for pattern in patterns)


def reaches(patterns: Iterable[str], folder: str) -> bool:
    """Whether any of the patterns can cover something in the folder."""
    parts = folder.split("/")
    return any(
        covers((pattern,), f"{folder}/\0") or any(_match(segments[:at], parts) for at in range(len(segments)))
        for pattern in patterns
        for segments in [[one for one in pattern.split("/") if one not in ("", ".")]]
    )


def around(pattern: str) -> tuple[tuple[str, ...], ...]:
    """The pattern in the only form of all its spellings, then others that cover all that it does."""
    segments = [one for one in pattern.split("/") if one not in ("", ".")]
    if not segments or pattern.endswith("/") or not _is_wild(segments[-1]):
        segments.append("**")
    return (tuple(segments), *((*segments[:at], "**") for at in range(len(segments))))


def matches(pattern: str, path: str) -> bool:
    """Whether the pattern covers the path. What `problem` objects to covers nothing."""
    if problem(pattern) is not None:
        return False
    segments = [segment for segment in pattern.split("/") if segment not in ("", ".")]
    if not segments:  # `.` is the root
        return True
    if pattern.endswith("/") or not _is_wild(segments[-1]):
        # All below it, and itself: a folder has no path of its own in git, but a file may be named so.
        segments.append("**")
    return _match(segments, [segment for segment in path.split("/") if segment])


def _is_wild(segment: str) -> bool:
    plain = segment.replace("\\\\", "")
    return any(char in _WILD and (at == 0 or plain[at - 1] != "\\") for at, char in enumerate(plain))


def _match(pattern: list[str], path: list[str]) -> bool:
    """By a row per segment of the pattern: which beginnings of the path are matched so far."""
    reached = [True] + [False] * len(path)
    for segment in pattern:
        if segment == "**":
            first = reached.index(True) if True in reached else len(reached)
            reached = [at >= first for at in range(len(reached))]
        else:
            reached = [False] + [
                reached[at] and _match_segment(segment, name) for at, name in enumerate(path)
            ]
    return reached[-1]


def _match_segment(pattern: str, name: str) -> bool:
    """The usual two pointers: after a `*` only the newest one needs to be tried again."""
    tokens = _tokens(pattern)
    at = pos = 0
    star: tuple[int, int] | None = None
    while pos < len(name):
        if at < len(tokens) and tokens[at] is None:
            star, at = (at + 1, pos), at + 1
        elif at < len(tokens) and _fits(tokens[at], name[pos]):
            at, pos = at + 1, pos + 1
        elif star is not None:
            star = (star[0], star[1] + 1)
            at, pos = star
        else:
            return False
    return all(token is None for token in tokens[at:])


def _fits(token: tuple[bool, str, tuple[tuple[str, str], ...]] | None, char: str) -> bool:
    if token is None:
        return False
    negated, literal, ranges = token
    if literal:
        return literal == char
    return negated != any(low <= char <= high for low, high in ranges)


def _tokens(pattern: str) -> list[tuple[bool, str, tuple[tuple[str, str], ...]] | None]:
    """One entry per character to match: None is `*`; else (negated, the character or "", its ranges)."""
    tokens: list[tuple[bool, str, tuple[tuple[str, str], ...]] | None] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            if not tokens or tokens[-1] is not None:
                tokens.append(None)
        elif char == "?":
            tokens.append((True, "", ()))
        elif char == "[" and (end := pattern.find("]", at + 1 + pattern.startswith("!", at))) > 0:
            inner = pattern[at:end]
            tokens.append((inner.startswith("!"), "", _ranges(inner.removeprefix("!"))))
            at = end + 1
        else:
            if char == "\\" and at < len(pattern):
                char, at = pattern[at], at + 1
            tokens.append((False, char, ()))
    return tokens


def _ranges(inner: str) -> tuple[tuple[str, str], ...]:
    found, at = [], 0
    while at < len(inner):
        if inner[at + 1 : at + 2] == "-" and at + 2 < len(inner):
            found.append((inner[at], inner[at + 2]))
            at += 3
        else:
            found.append((inner[at], inner[at]))
            at += 1
    return tuple(found)
