"""The agent's own result, as its output contract asks for it. Pure.

A claim is never evidence. Any text of the agent gives a `Claim` or a `NoClaim`, never an exception; the texts
of a claim are safe for a terminal. `status_block` reads the other form, the STATUS block.
"""

from __future__ import annotations

from runner.text.terminal import clean_terminal
from runner.text.words import few, one_line, shortened
from runner.value import Misfit, Value
from runner.verify.review import FIELDS, ReviewFinding, Synthesis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any, Self

    from runner.model import Json

MAX_RESULT_BYTES = 1024 * 1024
"""A longer result is not read: it is no summary, and costs many times its size to decode."""

MOST_FINDINGS = 1000
_LONGEST = 4000
"""Characters of a text of a review."""
_NO_CHANGE: Json = {"files_modified": [], "issues": [], "verification_summary": ""}
_STATUSES = ("completed", "partial", "failed")
_ASSUMPTION = ("assumption:", "assumptions:", "assumed:")
_EXPANSION = ("scope expansion:", "scope_expansion:")


class Claim(Value):
    """What the agent says. `status` is `completed`, `partial`, `failed`, or, of a STATUS block, `blocked`."""

    status: str
    files_modified: tuple[str, ...]
    issues: tuple[str, ...]
    summary: str
    verification_summary: str
    assumed: tuple[str, ...] = ()
    """The ASSUMPTIONS of a STATUS block; a JSON result has them among its issues."""
    findings: tuple[ReviewFinding, ...] = ()
    """What a review or a synthesis has found."""
    synthesis: Synthesis | None = None

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """As it was read before: `status` is one of those words."""
        made = super().from_json(data)
        _known_status(made.status, (*_STATUSES, "blocked"))
        return made

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the agent itself calls an assumption; others are unknown."""
        return (*self.assumed, *_marked(self.issues, _ASSUMPTION))

    @property
    def scope_expansion(self) -> tuple[str, ...]:
        """What it says it must change outside its scope: issues that begin with `Scope expansion:`."""
        return _marked(self.issues, _EXPANSION)


class NoClaim(Value):
    """Why there is no claim: `code` is `result_missing` or `result_invalid`."""

    code: str
    message: str


def read_claim(text: str | None, form: str = "result") -> Claim | NoClaim:
    """The claim in the text of a result or of a last message; `form` is the name of its schema.

    A text that is one fenced block and nothing else counts as what is in the fence: models fence JSON out of
    habit where no schema forces them, and it cannot be misread. JSON in the middle of prose does not count:
    it may be a quoted example.
    """
    import json

    if text is None:
        return missing("the agent gave no result")
    if len(text) > MAX_RESULT_BYTES:
        return _too_large(len(text))
    text = _unfenced(text.strip().removeprefix("\ufeff"))
    if not text:
        return missing("the result is empty")
    try:
        return _claim(json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number), form)
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or error.msg.startswith("Unterminated string"):
            return invalid("the result is not JSON: it ends in the middle")
        return invalid(f"the result is not JSON: {error.msg} at line {error.lineno} column {error.colno}")
    except (ValueError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        return invalid(f"the result is not valid: {shown(what, 200)}")


def missing(message: str) -> NoClaim:
    return NoClaim("result_missing", message)


def invalid(message: str) -> NoClaim:
    return NoClaim("result_invalid", message)


def shown(text: object, limit: int = 60) -> str:
    """A word of the agent inside a message of ours: one short line."""
    return one_line(str(text), limit)


def paths(found: list[str]) -> tuple[str, ...] | NoClaim:
    """The claimed paths without repetitions, or the problem with one that can be no path."""
    for path in found:
        if not path or "\0" in path:
            return invalid(f"the result lists `{shown(path)}`, which is not a valid file name")
    # A half character has no bytes: it cannot be a file of ours, and must not break the search for one.
    return tuple(dict.fromkeys(path.encode(errors="replace").decode() for path in found))


def _claim(value: Any, form: str) -> Claim | NoClaim:
    """Misfit for the first thing about it that its schema does not allow.

    By hand: a package that is loaded only here, after the agent has ended, could be the agent's work.
    """
    fields = FIELDS[form]
    _exactly(value, fields)
    for name, keys in fields.items():
        for n, row in enumerate(value[name] if keys and isinstance(value[name], list) else ()):
            _exactly(row, keys, f"{name}[{n}]")
    _known_status(value.get("status", "completed"), _STATUSES)
    value = _tidy(value, MAX_RESULT_BYTES if form == "result" else _LONGEST)
    made = Claim.from_json({"status": "completed", **_NO_CHANGE, **value})
    if (number := len(made.findings)) > MOST_FINDINGS:
        return invalid(f"the result has {number:,} findings; at most {MOST_FINDINGS:,} are read")
    named = paths([*made.files_modified, *(one.file for one in made.findings if one.file)])
    if isinstance(named, NoClaim):
        return named
    said = Synthesis.from_json(value) if form == "synthesis" else None
    return made.replace(files_modified=named if form == "result" else (), synthesis=said)


def _exactly(value: Any, keys: Collection[str], at: str = "") -> None:
    if not isinstance(value, dict):
        raise Misfit.of(value, "an object").inside(at)
    if extra := [shown(key) for key in value if key not in keys]:
        raise Misfit(f"{_listed(extra)} not asked for").inside(at)
    if lacking := [key for key in keys if key not in value]:
        raise Misfit(f"{_listed(lacking)} missing").inside(at)


def _known_status(word: object, known: Collection[str]) -> None:
    if word not in known:
        raise Misfit.of(word, f"one of {', '.join(known)}").inside("status")


def _tidy(value: Any, longest: int, name: str = "") -> Any:
    """The same with texts that are safe, and cut where they are too long. A quote stays whole, as it is
    looked for.
    """
    if isinstance(value, dict):
        return {key: _tidy(item, longest, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_tidy(item, longest, name) for item in value]
    if not isinstance(value, str):
        return value
    if name in ("file", "files_modified"):  # as they are, but for half characters
        return value.encode(errors="replace").decode()
    most = {"title": 200, "quote": MAX_RESULT_BYTES}.get(name, longest)
    return shortened(clean_terminal(value), most)


def _listed(names: list[str]) -> str:
    return f"{few([f'`{name}`' for name in names])} {'is' if len(names) == 1 else 'are'}"


def _unfenced(text: str) -> str:
    lines = text.split("\n")
    fence = lines[0].rstrip()
    ticks = len(fence) - len(fence.lstrip("`"))
    if ticks < 3 or len(lines) < 2 or fence.strip("`").lower() not in ("", "json"):
        return text
    inner = lines[1:-1]
    if lines[-1].strip() != "`" * ticks or any(line.strip() == "`" * ticks for line in inner):
        return text
    return "\n".join(inner).strip()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """json keeps the last of two equal keys: a reader who keeps the first would see another result."""
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise ValueError(f"it has `{key}` more than once")
        value[key] = item
    return value


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _marked(lines: tuple[str, ...], marks: tuple[str, ...]) -> tuple[str, ...]:
    """What follows one of the marks, of the lines that begin with one."""
    found = []
    for line in lines:
        for mark in marks:
            if line.lstrip().lower().startswith(mark):
                found.append(line.lstrip()[len(mark) :].strip())
                break
    return tuple(text for text in found if text)


def _too_large(size: int) -> NoClaim:
    return invalid(f"the result is larger than {MAX_RESULT_BYTES} bytes ({size}); it was not read")
