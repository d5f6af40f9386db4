"""What says that a part of a plan is not to be done: struck out, or called dropped. Pure."""

from __future__ import annotations

import re

_DEEPEST = 100
_GONE = "cancell?ed|dropped|won['\u2019]?t[ -]?(?:do|fix)|obsolete|superseded|abandoned|withdrawn|descoped"
_LATER = "deferred|postponed|on[ -]hold|not (?:needed|doing|now)|no longer needed"
_OVER = (
    f"(?:{_GONE}|{_LATER}|done|complete(?:d|(?!:))|merged|shipped|skip(?:ped)?(?! locked)|removed|rejected)"
)
_HELD = "later|blocked|paused|parked|manual|human|not yet|do not|don['\u2019]t"
_UNIT = r"(?:units?|tasks?|iu|u|t)[\s#-]*\d"
_WHY = (
    r"\s*,?\s+(?:(?:because|since|due to|for now|instead|as|see|now|replaced|moved)\b|by U?\d"
    r"|in (?:favou?r|PR|commit|v?#?\d)"
    r"|to (?:a |the )?(?:later|next (?:phase|version|release|sprint|milestone|iteration)|follow|phase|v?\d))"
)
_ENDS = rf"[*_\])]*+(?:\s*[:.!]|\s+[-\u2013\u2014]\s|\W*$|{_WHY})"
_SIGNS = "\u2705\u2714\u2611\u274c\u2717\u2718\u26d4\u23f8\u0336\U0001f6ab"
_CODE = re.compile(r"(?<!`)(`{1,8})(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_TAGS = re.compile(
    r"(?<!\\)<(?P<close>/?)(?P<name>del|(?<!\w<)s|(?<=/)s|strike|details|summary)\b(?:[^<>]*>|(?:\s+[\w-]+=[^<>]*)?$)",
    re.IGNORECASE,
)
_MARKS = re.compile(r"~~|</?[a-z]\w*(?:\s[^<>]*)?/?>", re.IGNORECASE)
_STRUCK = re.compile(
    r"(?:~~|(?:<(?:del|strike)|(?<!\w)<s)\b[^<>]*>|(?<![\w~\\])~(?=[^\s~/](?:[^~]*[^\s~])?~(?![\w~])))"
    r"(.*?)(?:~~?|</(?:del|s|strike)\b|$)",
    re.IGNORECASE,
)
_TITLE = re.compile(
    rf"[{_SIGNS}]|[\[(]\s*(?:{_OVER}\b|(?:{_HELD})(?:\s*[)\],;:]| yet\b| (?:do|implement|start)\b))"
    rf"|^\W*{_OVER}{_ENDS}|\s[-\u2013\u2014]+\s+{_OVER}(?:\W*$|[,;:(]|{_WHY})"
    rf"|(?:^|[:.)\u2013\u2014-])[*_]*\s*[*_]{{1,2}}{_OVER}\b\W*[*_]|[*_]{_OVER}[*_]\W*$"
    rf"|(?:on hold|no(?:t| longer) needed)\W*$|(?-i:^\W*{_OVER.upper()}\b|\b{_OVER.upper()}\W*$)",
    re.IGNORECASE,
)
SENTENCE = re.compile(
    rf"^\W*(?:this (?:unit|task) is\s+)?(?:{_GONE}|(?:{_LATER}|optional|skip(?:ped)?)(?!\W*:)){_ENDS}",
    re.IGNORECASE,
)
"""Prose that says so of its unit. `Deferred: caching` is about another thing."""
HEADING = re.compile(
    rf"^\W*(?:(?:out of scope|non-?goals?|not (?:in scope|planned)|won't|{_LATER}|later|future|backlog"
    r"|rejected|dropped|abandoned|obsolete|superseded|appendix|archived?|examples?)\b(?!-)"
    r"|alternatives?|parking lot|someday|do not (?:do|implement)|don['\u2019]t"
    rf"|(?:{_OVER}|{_HELD}|old|previous|former|optional|stretch|nice[- ]to[- ]haves?|ideas?|rollback|waiting)"
    r"(?:\s+(?:units?|tasks?|work|items?|plans?|goals?|steps?|for .*))?\W*(?:\(.*)?$|phase \d+\W+later\b)",
    re.IGNORECASE,
)
"""A heading below which no work of this plan stands."""
SUMMARY = re.compile(
    rf"\b(?:{_OVER}|old|archived?|previous|former|outdated|deprecated|out of scope|not planned)\b",
    re.IGNORECASE,
)
"""Of `<details>`, in which no work of this plan stands."""
_LIST = re.compile(
    rf"^\W*{_OVER}(?:\s+(?:unit|task)s?)?[*_\])]*+\s*[:\u2013\u2014-]\W*({_UNIT}.*)$"
    rf"|(?<!\bof )(?<!\bin )(?<!\bfrom )(?<!\bby )\b({_UNIT}(?:[\d., &UT]|and|to){{0,30}})(?<=[\d.])"
    rf"\s+(?:is|are|was|has been)\s+(?:now\s+)?"
    rf"(?:{_GONE}|deferred|postponed|on hold|blocked|optional(?!\s+\w))\b"
    r"|\b(?:skip|omit|postpone|defer|(?:(?:do|will|should|must) not|(?:do|wo|should)n['\u2019]t)(?: yet)?"
    rf" (?:do|implement|start|run|begin|build|execute))\s+({_UNIT}.*)",
    re.IGNORECASE,
)
_DO = "(?:do|implement|run|start|build|execute|finish|deliver|complete|ship|land|merge)"
_NAMED = rf"\b(?:this (?:unit|task)|{_UNIT}[\d.]*)"
ALONE = re.compile(rf"\b(?:only {_DO}|{_DO} only) {_UNIT}|\b{_DO} {_UNIT}[\d.]* only\b", re.IGNORECASE)
"""What leaves out all other units."""
PLACED = re.compile(
    rf"(?:\b{_DO} {_NAMED}|{_NAMED} (?:must|should|shall|will|has to|needs to|is|comes|goes|runs|lands)"
    r"(?: (?:to|be|come|go|run|land|the|done|built|\w+ed))*) (first|last)"
    r"(?=\W*$|[.,;:!)]| (?:because|since|so|as|and)\b)",
    re.IGNORECASE,
)
"""A unit that comes before or after all others."""
_BEFORE = re.compile(rf"^(\[.\]\s+)?\W*{_OVER}\b(?!-)[\W_]*", re.IGNORECASE)


def without_code(text: str) -> str:
    """The text on the same lines, with a digit for each letter of code in it."""
    return _CODE.sub(lambda span: re.sub(r"[^\n]", "0", span[0]), text) if "`" in text else text


def struck(text: str) -> list[str]:
    """What is struck out in a line, up to its end where nothing closes it."""
    return _STRUCK.findall(without_code(text))


def listed(text: str) -> list[str]:
    """What is struck out in a line without code, and the units behind `Cancelled:`."""
    units = _LIST.findall(text) if any(map(str.isdigit, text)) else []
    return (_STRUCK.findall(text) if "~" in text or "<" in text else []) + [
        one for both in units for one in both
    ]


def is_title(text: str) -> bool:
    """Whether what a unit is called says that it is done or dropped. `Handle cancelled orders` does not."""
    text = without_code(text)
    return bool(struck(text) or _TITLE.search(text))


def unmarked(text: str, by: str = "") -> str:
    """A line without tags and what strikes it out."""
    return _MARKS.sub(by, text) if "<" in text or "~~" in text else text


def bare(text: str) -> str:
    """A line as it would be if it were to be done: unmarked, and without words such as `Cancelled:`."""
    return _BEFORE.sub(r"\1", unmarked(text))


def follow(around: list[tuple[str, str]], number: int, text: str) -> None:
    """Reads a line into `around`, the open elements of HTML, each with what says that it is dropped."""
    if "<" not in text and around[-1][0] != "summary":
        return
    text, at = without_code(text), 0
    for tag in (*_TAGS.finditer(text), None):
        (inner, by), end = around[-1], tag.start() if tag else len(text)
        if inner == "summary" and len(around) > 2 and SUMMARY.search(text[at:end]):
            around[-2] = around[-2][0], by or f"`<details>` with the summary of line {number}"
        if tag is None:
            return
        at, name = tag.end(), tag["name"].lower()
        if not tag["close"] and len(around) < _DEEPEST:
            is_said = by or name in ("details", "summary")
            around.append((name, by if is_said else f"`<{name}>` of line {number}"))
        elif tag["close"] and any(one[0] == name for one in around):
            while around.pop()[0] != name:
                pass
