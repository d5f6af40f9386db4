"""The words of a plan in Markdown: what begins a unit, names a field, or refers to units. Pure."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from itertools import pairwise

from runner.text.words import nearest
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DECISIVE = ("depends_on", "files", "verify")
"""Fields that decide what is done when, and how it is checked: to miss one is to carry out another plan."""

_SYNONYMS = {
    "goal": "goal, objective, purpose, outcome, ziel, objectif",
    "depends_on": "dependencies, dependency, depends on, depends, deps, blocked by, requires, needs, after, "
    "prerequisites, prerequisite, builds on, depends upon, is blocked by, "
    "abh\u00e4ngigkeiten, abh\u00e4ngig von, h\u00e4ngt ab von, d\u00e9pendances, d\u00e9pend de",
    "blocks": "blocks, unblocks, required before, required by",
    "files": "files, file, files to modify, files to change, files to touch, files to edit, files to update, "
    "files to create or modify, files to create/modify, files changed, files modified, affected files, "
    "modified files, key files, target files, test file, test files, modify, files involved, files affected, "
    "dateien, datei, fichiers, fichier",
    "files:create": "files to create, new files, create, files created, files to add",
    "files:read": "files to read, read, read first",
    "approach": "approach, how, implementation approach",
    "execution_note": "execution note, execution notes",
    "patterns": "patterns to follow, patterns, follow, pattern to follow",
    "tests": "tests, test, test scenarios, test cases, test plan, testing, scenarios, testing strategy, "
    "test strategy",
    "verify": "verification, verify, validation, validate, checks, check, verification commands, "
    "verify with, validation commands, test command, test commands, acceptance, acceptance criteria, "
    "acceptance criterion, acceptance tests, done when, definition of done, success criteria, "
    "verification steps, how to verify, verified by, pr\u00fcfung, v\u00e9rification",
    "status": "status, state",
    ":spared": "out of scope, not in scope, non-goals, non goals, non-goal, do not touch, do not modify, "
    "do not change, do not edit, don't touch, don't modify, don't change, don't edit, never touch, "
    "leave alone, off limits, hands off, untouched, unchanged, frozen",
    "": "requirements, requirement, description, context, background, why, rationale, note, notes, details, "
    "steps, step, implementation, implementation notes, implementation steps, technical design, "
    "technical details, what, what to do, what to build, change, changes, action, actions, tasks, subtasks, "
    "scope, constraints, interfaces, consumes, produces, expected, expected result, expected output, "
    "expected outcome, example, examples, priority, estimate, effort, "
    "estimated effort, size, complexity, owner, assignee, risk, risks, deliverables, output, summary, "
    "overview, important, warning, caution, tip, hint, run, references, reference, see also, "
    "open questions, assumptions, user story, story, repo, branch, "
    "design, behavior, behaviour, edge cases, error handling, phase, parallel, rollback, labels, type, "
    "code, usage, before, problem, solution, decision, covers, location, commit, time, duration, "
    "input, inputs, outputs, estimated time, tools, implementation details, key decisions, deliverable, "
    "skills, parallelizable, can run in parallel, risk level, commit message, pseudocode, key changes, "
    "security, api, technical notes, code changes, sprint, story points, linked issues, epic, reporter, "
    "fix version, component, components, due date",
}
_FIELDS = {name: key for key, names in _SYNONYMS.items() for name in names.split(", ")}
_SHOWN = [name for name, key in _FIELDS.items() if key.strip(":") == key]

_MARKED = re.compile(
    r"^([*_]{1,3})[^\w*_]{0,4}(?P<name>[^*:\uff1a`\[\]|]{1,40}?)\s*"
    r"(?:[:\uff1a]\s*\1|\1\s*[:\uff1a=\u2013\u2014])\s*(?P<rest>.*)$"
)
_BARE = re.compile(r"^(\*\*|__)(?P<name>[^*_:`]{1,40})\1\s*(?P<rest>.*)$")
_PLAIN = re.compile(
    r"^()(?P<name>[^\W\d_][^*:\uff1a`\[\]|<>{}.,;!?\"]{0,39}?)\s*"
    r"(?:[:\uff1a](?:\s+|$)|\s[=\u2013\u2014\u2192-](?:\s|$))(?P<rest>.*)$"
)
_EMPHASISED = re.compile(r"^([*_]{1,3}|`(?!.*`.))(?![*_`])([^*]+)\1$")
_INNER = re.compile(r"(?:\*\*|__)([^*_:]{1,40})(?::(?:\*\*|__)|(?:\*\*|__):)")

NUMBER = r"\d{1,9}(?:\.\d{1,9}){0,3}"
_WORD = r"(?:(?:units?|tasks?)[\s#-]*|(?:iu|u|t)-?)"
_UNIT = re.compile(
    rf"^(?:[^\x00-\x7f\w]{{1,4}}\s+)?(?:[*_]{{2}}\s*)?(?P<word>Unit|UNIT|Task|TASK|IU|U|T)(?P<gap>[\s#-]*)(?P<number>{NUMBER})"
    r"(?:[*_]{2})?\s*"
    r"(?:(?P<said>[(\[][^()\[\]]{1,40}[)\]])?(?:[*_]{2})?\s*(?P<mark>[:.)\u2013\u2014-])"
    r"(?!\d|\s*(?:Unit |Task |IU-?|[UT]-?)\d{1,9}(?:\.\d{1,9})*\s*[:.)\u2013\u2014-])|$)\s*(?P<name>.*)$"
)
_LIKE = re.compile(
    r"^[\W_]{0,6}(?:(?:(?:implementation |work )?unit|task)(?:[\s#-]*\d"
    r"|\s(?:[a-h]|one|two|three|four|five|six)\b)|(?:IU-?|U|T)\d|<task\b)",
    re.IGNORECASE,
)
_SPARES = re.compile(
    r"\b(?:not|don['\u2019]t|never|no|unchanged|untouched|alone|read[- ]?only)\b", re.IGNORECASE
)
_SPARING = re.compile(
    r"\([^)]*\b(?:not|don['\u2019]t|never|no|unchanged|untouched|frozen|read[- ]?only|reference"
    r"|out of scope|manual|manually|optional)\b",
    re.IGNORECASE,
)
"""What makes the contrary of a label: `Files (do not modify)`."""
_BOX = re.compile(r"^\[([^\]\s\w]|[ xX\u2713\u2714])\]\s+(.*)$")
_REFERENCE = re.compile(
    rf"\b{_WORD}{NUMBER}\b(?:\s*(?:,|;|and|&|\+|to|through|\.\.\.?|[-\u2013\u2014])*\s*{_WORD}?{NUMBER}\b(?!\.?\w))*",
    re.IGNORECASE,
)
_ONE = re.compile(rf"(to|through|\.\.\.?|[-\u2013\u2014])?\s*(?:({_WORD}))?({NUMBER})", re.IGNORECASE)
_BARE_NUMBERS = re.compile(rf"#?{NUMBER}(?:\s*(?:,|and|&)\s*#?{NUMBER})*\.?")
_ORDER = re.compile(
    r"\b(?:depend(?:s|ing|ent)? (?:up)?on|blocked by|requires|needs|builds on|after|once|before|blocks"
    r"|wait(?:s|ing)? (?:for|on)|until|prior to|precedes|stacked on|(?:start|begin)s? when|conflicts with"
    r"|follow(?:s|ing)?(?=\W+(?:U|T|Unit |Task )\d)"
    r"|h\u00e4ngt|nach|apr\u00e8s|d\u00e9pend de)\b",
    re.IGNORECASE,
)
_ARROW = re.compile(r"[-=]+>|<[-=]+|[\u2190-\u2194\u21d0-\u21d2\u27f5-\u27f7\u25ba]")
_WIDEST_RANGE = 1000
_CLOSE = 0.8
_LONGEST_NAME = 1000


class Label(Value):
    """`Files to create: a` is the label of the field `files`, said as `name`, with the `kind` `create`."""

    field: str | None
    """"" for what is told to the agent and decides nothing; None for a label that is not known."""
    kind: str
    name: str
    rest: str
    is_marked: bool


class Start(Value):
    """A line that begins a unit, or that names one: `id` is `U1` for `Unit 1` and `IU-1`, `T1` for a task."""

    id: str
    name: str
    is_strong: bool
    """Whether the line is bold up to the name."""


def label_of(text: str) -> Label | None:
    """What the line is labelled with; an unknown word counts if it is emphasised or begins with a capital."""
    whole = _EMPHASISED.match(text)
    found = _MARKED.match(text) or _PLAIN.match(whole[2] if whole else text) or _BARE.match(text)
    if found is None:
        alone = (field_of(text) or "").partition(":")
        is_one = alone[0] in DECISIVE and text[0].isupper()
        return Label(alone[0], alone[2], text, "", False) if is_one else None
    name, marked = " ".join(found["name"].split()), bool(found[1])
    key = field_of(name)
    if key is None:
        separator = text[found.end("name") : found.start("rest")]
        is_word = name[:1].isupper() and len(name.split()) <= 3 if not marked else len(name.split()) <= 5
        if not is_word or _LIKE.match(name) or not (":" in separator or "\uff1a" in separator):
            return None
    field, _, kind = (key or "").partition(":")
    return Label(None if key is None else field, kind, name, (found["rest"] or "").strip(), marked)


def field_of(name: str) -> str | None:
    """The field that a name means: `files:create`, "" for what decides nothing, None if it is not known."""
    if len(name) > _LONGEST_NAME or _SPARING.search(name):
        return None
    word = re.sub(r"\s*\(.*?\)", "", name).strip(" *_#:").lower().replace("\u2019", "'")
    word = re.sub(r"^\W+", "", re.sub(r"[_-]", " ", word) if word not in _FIELDS else word)
    return "" if re.fullmatch(r"(?:step|note|req|requirement|ac|phase)s? ?\d*", word) else _FIELDS.get(word)


def labels_inside(text: str) -> list[str]:
    """Emphasised labels of fields that decide in the middle of a line."""
    return [name for name in _INNER.findall(text) if (field_of(name) or "").partition(":")[0] in DECISIVE]


def near_field(name: str, *, closely: bool = False) -> str:
    """` (did you mean "Files"?)`; `closely`: only where hardly a letter is wrong."""
    names = nearest(name, _SHOWN)
    if not names or (closely and SequenceMatcher(None, name.lower(), names[0]).ratio() < _CLOSE):
        return ""
    if _FIELDS[names[0]].startswith("files") and _SPARES.search(name):
        return ' (did you mean "Files to read"?)'
    return f' (did you mean "{names[0].capitalize()}"?)'


def boxed(text: str) -> tuple[str | None, str]:
    """The mark of a box before the text (" " for an empty one, "x" for a ticked one), and the rest."""
    found = _BOX.match(text)
    if found is None:
        return None, text
    return "x" if found[1] in "xX\u2713\u2714" else found[1], found[2].strip()


def start_of(text: str) -> Start | None:
    """The unit that a line begins or names, without its box."""
    found = _UNIT.match(text)
    if found is None or (found["gap"] in ("", "#") and len(found["word"]) > 2):
        return None
    name = found["name"].replace("**", "").replace("__", "").strip(" :*_")
    name = f"{name} {found['said'] or ''}".strip()
    return Start(_id(found["word"], found["number"]), name, text.startswith(("**", "__")))


def looks_like_a_unit(text: str) -> bool:
    """Whether a person would take the line for the beginning of a unit, which `start_of` may not read."""
    return bool(_LIKE.match(boxed(text.lstrip("#| ").strip())[1]))


def references(text: str, kind: str) -> list[str]:
    """The units that `Unit 1, 2 and U4-6` names; a number alone is a unit of this kind (`U` or `T`)."""
    text = " ".join(text.split())
    bare = re.sub(r"\s*\([^)]*\)", "", text).strip("[] ")
    if _BARE_NUMBERS.fullmatch(bare):
        return [_id(kind, number) for number in re.findall(NUMBER, bare)]
    return [one for found in _REFERENCE.finditer(text) for one in _each(found[0])]


def without_references(text: str) -> str:
    return _REFERENCE.sub(" ", text)


def order_said(text: str) -> tuple[list[str], list[str]]:
    """The units that a sentence names before and after `depends on`, `after` and the like."""
    text = " ".join(text.split())
    found = _ORDER.search(text)
    if found is None:
        return [], []
    return references(f"({text[: found.start()]})", ""), references(f"({text[found.end() :]})", "")


def arrows(text: str) -> list[tuple[list[str], list[str]]]:
    """The pairs of `U1 --> U2[Name]`, in a line that has nothing but units and arrows."""
    text = re.sub(r"\[[^\]]*\]|\([^)]*\)|\"[^\"]*\"|\|[^|]*\|", "", text)
    parts = [references(f"({part})", "") for part in _ARROW.split(text)]
    return list(pairwise(parts)) if not re.search(r"[^\W\d_]{3}", without_references(text)) else []


def _each(text: str) -> Iterator[str]:
    kind, last = "", ""
    for dash, word, number in _ONE.findall(" ".join(text.split())):
        kind = word or kind
        if dash and last.isdigit() and number.isdigit():
            until = min(int(number), int(last) + _WIDEST_RANGE)
            yield from (_id(kind, str(one)) for one in range(int(last) + 1, until + 1))
        else:
            yield _id(kind, number)
        last = number


def _id(word: str, number: str) -> str:
    parts = ".".join(str(int(part)) for part in number.split("."))
    return f"{'T' if word[:1] in 'tT' else 'U'}{parts}"
