"""What a shell makes of variables and globs, as far as the line that has them says it. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_QUOTED = r"""\\.|'[^']*'|"(?:\\.|[^"\\])*\""""
_VALUE = rf"(?:{_QUOTED}|\$\([^()`'\"]*\)|`[^`'\"]*`|[^\s;&|()<>`'\"\\])*"
_NAME = r"[A-Za-z_]\w*"
_ASSIGNED = (
    rf"(?s)(?:(?<![^\s;&|(){{}}'\"])(?:({_NAME})\+?=(?:\(((?:{_QUOTED}|\$\([^()]*\)|[^()'\"\\])*)\)|({_VALUE}))"
    rf"|(?:for|select)\s+({_NAME})\s+in\s((?:{_QUOTED}|[^;\n'\"\\])*))|\$\{{({_NAME}):?[-=]([^{{}}]*)\}})"
)
_ROOT = (
    r"(?:\$PWD|\$\{PWD\}|(?:\$\(|`)\s*(?:pwd(?: -[LP])?|git rev-parse --show-toplevel|"
    r"dirname (?:-- )?\"?\$0\"?)\s*[)`])"
)
_HERE = rf'("?){_ROOT}\1/'
_USED = rf"\$(?:({_NAME})|\{{({_NAME})(?:\[[@*0-9]+\]|:?[-=][^{{}}]*)?\}})"
_UNKNOWN = r"\$\(.*\)|`[^`]*`|\$\{[^}]*\}|\$\w+|\$.|\*\*"
_MOST = 1 << 18
_MOST_WAYS = 64


def filled(line: str) -> list[str]:
    """The line with what it gives its variables in their place, and without the folder where it runs: one
    line for each of several values. Where that is much, the values stand below it.
    """
    if "$" not in line and "`" not in line:
        return [line]
    import re

    line = re.sub(_HERE, "", line)
    known: dict[str, dict[str, None]] = {}
    for found in re.finditer(_ASSIGNED, line):
        name = found[1] or found[4] or found[6]
        words = _values(*found.group(2, 3, 5, 7))
        if found[5] is not None:
            words = (part for word in words for part in _parts(word, known))
        known.setdefault(name, {}).update(dict.fromkeys(words))
    lines, names = [line], [*known]
    while names and len(names) * len(line) <= _MOST:
        values = known[names[-1]]  # the last first: it may be made of the others
        longest = max(map(len, values), default=0)
        if any((len(one) + one.count("$") * longest) * len(values) * len(lines) > _MOST for one in lines):
            break
        lines = [*dict.fromkeys(_instead(one, names[-1], value) for one in lines for value in values)]
        names.pop()
    rest = dict.fromkeys(value for name in names for value in known[name])
    return [re.sub(_HERE, "", one) for one in (*lines, "\n".join(rest))[: None if rest else -1]]


def _parts(word: str, known: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """What a loop makes of one word of its list: of a variable, each word of its value."""
    import re

    used = re.fullmatch(_USED, word)
    values = None if used is None else known.get(used[1] or used[2])
    for value in values or ():
        yield from value.split() or [word]
    if not values:
        yield word


def _instead(line: str, name: str, value: str) -> str:
    import re

    if f"${name}" not in line and f"${{{name}" not in line:
        return line
    return re.sub(_USED, lambda used: value if name in (used[1], used[2]) else used[0], line)


def _values(array: str | None, value: str | None, listed: str | None, default: str | None) -> Iterator[str]:
    """What one assignment gives. Of what a command prints, its words: they may be names, or globs of some."""
    if value is not None or default is not None:
        text = value if value is not None else default or ""
        yield "$_" if text.endswith("$") else " ".join(_split(text))  # of `$(cd "$(dirname "$0")" && pwd)`
        return
    text = array if array is not None else listed or ""
    is_made = "$(" in text or "`" in text
    for word in _split("".join(" " if one in "$()`" else one for one in text) if is_made else text):
        yield word
        if is_made and "/" not in word and is_loose(word):
            yield f"$_/{word}"


def _split(text: str) -> list[str]:
    import shlex

    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def is_loose(name: str) -> bool:
    """Whether a shell may make another name of it."""
    return not {*"*?[{$`"}.isdisjoint(name)


def fitting(names: Iterable[str], files: Iterable[str]) -> list[str]:
    """The `files` that a shell may make of the names that are loose."""
    return [*filter(fits(names), files)]


def fits(names: Iterable[str]) -> Callable[[str], bool]:
    """Whether a shell may make a file of the names that are loose. What says nothing of a file, such as
    `$script`, fits none.
    """
    import fnmatch
    import re

    kinds: dict[str, tuple[re.Pattern[str], int | None]] = {}
    for name in names:
        for glob in _ways(re.sub(_UNKNOWN, "**", name.removeprefix("./"))):
            depth = None if "**" in glob else glob.count("/")
            if any(map(str.isalnum, re.sub(r"\[[^\]]*\]", "", glob))):
                kinds[glob] = re.compile(fnmatch.translate(glob)), depth
    return lambda path: any(
        depth in (None, path.count("/")) and (fit.match(path) or fit.match(f"/{path}"))
        for fit, depth in kinds.values()
    )


def _ways(name: str) -> list[str]:
    """The globs of `{a,b}/c`; of what cannot be told, or is much, one that fits all of it."""
    import re

    ways = [""]
    for part in re.split(r"(\{[^{}]*\})", name):
        given = part[1:-1].split(",") if part[:1] == "{" else [part]
        is_unknown = part[:1] == "{" and len(given) == 1
        if is_unknown or len(given) * len(ways) > _MOST_WAYS:
            given = ["**"]
        ways = [f"{way}{re.sub('[{}]', '**', one)}" for way in ways for one in given]
    return ways
