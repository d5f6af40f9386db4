"""A problem in the settings, with what its repair needs: place, key, what was found, what is right. Pure."""

from __future__ import annotations

from runner.lightjson import dumps
from runner.text.words import nearest, shortened
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from runner.text.positions import Path

_WANTED = {
    "string_type": "a text in quotes",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "too_short": "at least one item",
    "list_type": 'an array, e.g. ["..."]',
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "string_too_short": "a text that is not empty",
    "string_pattern_mismatch": "the name of an environment variable",
}


class Problem(Value):
    """`source` is a file, `env NAME` or `--set KEY`; `line` and `column` count from 1 and are None
    outside files.
    """

    source: str
    line: int | None
    column: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}:{self.column}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


def dotted(path: Path) -> str:
    """A path as TOML writes it: `tasks."a.b".verify[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + _key(part)
    return text


def _key(part: str) -> str:
    bare = part.isascii() and part.replace("-", "").replace("_", "").isalnum()
    return part if bare else _quoted(part)


def _quoted(text: str) -> str:
    """In quotes, and what cannot be seen as escapes, so that one thing never looks like another."""
    return dumps(text, ensure_ascii=not text.isprintable())


def found(value: Any) -> str:
    """A value as TOML writes it, cut where it is long and behind `NAME=`, where a secret may stand."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        import re  # only what has already gone wrong pays for it

        assigned = re.search(r"[A-Za-z_][A-Za-z0-9_]*[\"']?\s*=", value)
        shown = shortened(value, 60) if assigned is None else f"{shortened(value[: assigned.end()], 60)}..."
        return _quoted(shown)
    if isinstance(value, (int, float)):
        return str(value)[:60]
    if isinstance(value, list):
        return "an array" if value else "an empty array"
    return "a table" if isinstance(value, dict) else "a date or time"


def _found_for_a_name(value: Any) -> str:
    """As `found`, where the name of a variable has its place: what is no name may be the secret itself."""
    if isinstance(value, str) and value:
        name, assigned, _ = value.partition("=")
        return found(value) if assigned and name.isidentifier() else "a text that is no name"
    return found(value)


def near(word: object, known: Iterable[str]) -> str:
    """` (did you mean "x"?)`, or nothing."""
    names = nearest(word, known)
    return f" (did you mean {found(names[0])}?)" if names else ""


def one_of(names: Iterable[str]) -> str:
    """`"a", "b"`, or `none yet`."""
    return ", ".join(found(name) for name in names) or "none yet"


def explain(record: Mapping[str, Any], siblings: tuple[str, ...], task_keys: tuple[str, ...] = ()) -> str:
    """One of pydantic's error records in our words; `siblings` are the keys that its table may
    have.
    """
    kind, value = record["type"], record["input"]
    shown = _found_for_a_name(value) if "env" in record["loc"] else found(value)
    if kind == "extra_forbidden":
        word = record["loc"][-1]
        if len(record["loc"]) == 1 and word in task_keys:
            return "unknown key; it belongs in [defaults] or in [tasks.NAME]"
        hint = near(word, siblings) or f"; known here: {', '.join(siblings)}"
        return f"unknown key{hint}"
    if kind == "value_error":
        return f"found {shown}; {record['ctx']['error']}"
    if kind == "literal_error":
        choices = [str(item) for item in _choices(record["ctx"]["expected"])]
        return f"found {shown}; expected one of {one_of(choices)}{near(value, choices)}"
    if kind == "missing":
        return "is missing"
    if kind == "too_long":
        return f"found {len(value)} items; expected at most {record['ctx']['max_length']}"
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = record["ctx"].get("ge", record["ctx"].get("le"))
        side = "at least" if kind == "greater_than_equal" else "at most"
        return f"found {shown}; expected {side} {bound}"
    return f"found {shown}; expected {_WANTED.get(kind) or record['msg']}"


def _choices(expected: str) -> list[str]:
    """pydantic gives the choices as text only: `'a', 'b' or 'c'`."""
    return [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(", ")]


def as_error(problems: Iterable[Problem]) -> dict[str, Any]:
    """The fields of `ConfigInvalid`: its message is the first problem, as there is usually only one."""
    lines = [str(problem) for problem in problems]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return {"message": lines[0] + more, "hint": None, "problems": lines}
