"""JSON by the interpreter's own C code, without the package around it. Pure.

`json` imports `re`, and that `enum`: a quarter of an empty interpreter, for parts that are needed only to say
what is wrong with a text. Where an interpreter has another C code (or none), `json` does all of it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_BLANK = " \t\n\r"


class _Reading:
    """What the scanner asks of a decoder (`json.JSONDecoder` has the same attributes)."""

    strict = True
    object_hook = None
    parse_float = float
    parse_int = int

    def __init__(self, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None, constant: Any) -> None:
        self.object_pairs_hook = pairs_hook
        self.parse_constant = constant


def reader(
    pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
    constant: Callable[[str], Any] | None = None,
) -> Callable[[str], Any]:
    """What reads a JSON text as `json.JSONDecoder` does with `object_pairs_hook` and `parse_constant`. It
    raises ValueError, or RecursionError.
    """

    def read_all(text: str) -> Any:
        import json

        return json.JSONDecoder(object_pairs_hook=pairs_hook, parse_constant=constant).decode(text)

    try:
        from _json import make_scanner

        decoder: Any = _Reading(pairs_hook, constant or _CONSTANTS.__getitem__)
        scan = make_scanner(decoder)
    except (ImportError, TypeError, AttributeError):
        return read_all

    def read(text: str) -> Any:
        bare = text.strip(_BLANK)
        try:
            value, end = scan(bare, 0)
        except (StopIteration, ValueError, SystemError):
            return read_all(text)  # the scanner asks `json.decoder` for its error, and has none without it
        return value if end == len(bare) else read_all(text)

    return read


_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_read: Callable[[str], Any] | None = None


def loads(data: str | bytes) -> Any:
    """As `json.loads`, of UTF-8."""
    global _read
    if _read is None:
        _read = reader()
    return _read(data if isinstance(data, str) else data.decode("utf-8", "surrogatepass"))


def dumps(
    value: Any,
    *,
    ensure_ascii: bool = True,
    indent: int | None = None,
    compact: bool = False,
    sort_keys: bool = False,
) -> str:
    """As `json.dumps`; `compact` is without blanks. With `indent` nothing is sorted."""
    between, after = (",", ":") if compact else (", ", ": ")
    try:
        import _json

        text = _json.encode_basestring_ascii if ensure_ascii else _json.encode_basestring
        encode = _json.make_encoder({}, _refuse, text, None, after, between, sort_keys, False, True)
    except (ImportError, TypeError, AttributeError):
        import json

        separators = None if indent is not None else (between, after)
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )
    if indent is None:
        return "".join(encode(value, 0))
    return _indented(value, lambda one: "".join(encode(one, 0)), "\n", " " * indent)


def _indented(value: Any, encode: Callable[[Any], str], line: str, step: str) -> str:
    """The C code of some interpreters knows no indent."""
    inner = line + step
    parts = []
    if isinstance(value, dict) and value:
        for key, one in value.items():
            name = encode(key if isinstance(key, str) else _refuse(key))
            parts.append(f"{name}: {_indented(one, encode, inner, step)}")
        return f"{{{inner}{f',{inner}'.join(parts)}{line}}}"
    if isinstance(value, (list, tuple)) and value:
        for one in value:  # no comprehension, which is a frame of its own: `json` has one for a level, too
            parts.append(_indented(one, encode, inner, step))
        return f"[{inner}{f',{inner}'.join(parts)}{line}]"
    return encode(value)


def _refuse(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} is no JSON")
