"""Reading decoded JSON of unknown shape without ever raising. Pure."""

from __future__ import annotations

from _collections_abc import Mapping  # loaded with `os`; `collections` is not

_MOST = 2**53

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def text(value: Any) -> str:
    """The string, or nothing where it is something else."""
    return value if isinstance(value, str) else ""


def number(value: Any) -> int | None:
    """The integer; None for anything else (True is no number here)."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def count(value: Any) -> int | None:
    """A whole number that may be one of tokens; sums of such over all attempts have a place in a manifest."""
    told = number(value)
    return told if told is not None and 0 <= told < _MOST else None


def table(value: Any) -> Mapping[str, Any]:
    """The object, or an empty one where it is something else."""
    return value if isinstance(value, Mapping) else {}


def tables(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def answer_of(said: str) -> Mapping[str, Any]:
    """The error in the answer of a service that stands in a text: `... {"error": {...}}`."""
    from runner.value import json_value  # rarely called

    try:
        return table(table(json_value(said[said.find("{") : said.rfind("}") + 1])).get("error"))
    except ValueError:
        return {}


def compact(value: Any) -> str:
    """JSON on one line for what has no better text."""
    import json  # only for odd records; the hot path does not need it

    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:  # what could just be read may be too deep from here
        return "(nested without end)"
