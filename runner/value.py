"""Frozen values that cost next to nothing to define, and their JSON. Pure; nothing is imported before use.

The operating commands may take 3 x the time of an empty interpreter. Importing `dataclasses` alone costs one
of the three and `typing.NamedTuple` half of one (it compiles every annotation), so the little that our values
need is written here. Type checkers see ordinary frozen dataclasses (PEP 681).

JSON is read by the annotations, which are there as texts: nothing of another type becomes part of a value.
"""

from __future__ import annotations

import sys

from runner.lightjson import dumps, reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from enum import IntEnum as IntEnum
    from enum import StrEnum as StrEnum
    from typing import Any, Self, dataclass_transform

    Reader = Callable[[Any], Any]
else:

    def dataclass_transform(**_: object):
        return lambda cls: cls

    class _ClosedSet(type):
        """What type checkers take for an enum, with as much of one as we use: members by attribute, by value
        and in their order. Making the members with `enum` costs a tenth of an empty interpreter.
        """

        def __new__(mcs, name, bases, space):
            members = {key: space.pop(key) for key in [*space] if key.isupper()}
            cls = super().__new__(mcs, name, bases, space)
            cls._members = {}
            for key, value in members.items():
                member = cls.__base__.__base__.__new__(cls, value)
                member.name, member.value = key, value
                cls._members[value] = member
                setattr(cls, key, member)
            return cls

        def __call__(cls, value):
            try:
                return cls._members[value]
            except (KeyError, TypeError):
                raise ValueError(f"{value!r} is not a valid {cls.__name__}") from None

        def __iter__(cls):
            return iter(cls._members.values())

        def __len__(cls):
            return len(cls._members)

        def __contains__(cls, value):
            return value in cls._members

    class StrEnum(str, metaclass=_ClosedSet):
        def __reduce__(self):
            return type(self), (self.value,)

    class IntEnum(int, metaclass=_ClosedSet):
        __reduce__ = StrEnum.__reduce__


Count = int
"""The annotation of a whole number that is not below 0."""
Seconds = float
"""The annotation of a time span."""
Amount = float
"""The annotation of money."""
FileMode = int
"""The annotation of what a file is and who may use it: the bits of st_mode."""
FilePath = str
"""The annotation of a path that the system can be asked with."""
InnerPath = str
"""The annotation of a path below a folder."""
ObjectId = str
"""The annotation of a name that git gives."""
Timestamp = str
"""The annotation of a time as `state.manifest.timestamp` writes it."""

_ABSENT: Any = object()
_LARGEST = 1 << 63
"""No whole number of ours needs more bits, and what the system is asked with cannot have more."""
_DEEPEST = 64


class Misfit(ValueError):
    """JSON that is not what was declared: where, what was found there, and what belongs there."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path = ""

    @classmethod
    def of(cls, value: object, expected: str) -> Misfit:
        """`value` is not what is `expected`."""
        return cls(f"found {_shown(value)}; expected {expected}")

    def inside(self, place: str | int) -> Misfit:
        """The same, told by who has `place`."""
        head = f"[{place}]" if isinstance(place, int) else place
        dot = "." if self.path and not self.path.startswith("[") else ""
        self.path = f"{head}{dot}{self.path}"
        return self

    def __str__(self) -> str:
        return f"`{self.path}`: {self.message}" if self.path else self.message


@dataclass_transform(frozen_default=True)
class Value:
    """Base of every value: annotated names are fields, class attributes are their defaults.

    Equality is by type and content; `replace` makes a changed copy; assignment is refused.
    """

    _fields: Any = ()
    _readers: Any = None
    """(name, reader of its JSON, default) of every field, once something was read."""

    def __init_subclass__(cls) -> None:
        cls._fields = (*cls._fields, *cls.__annotations__)
        cls._readers = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        cls = type(self)
        values: dict[str, Any] = dict(zip(cls._fields, args, strict=False))
        if len(args) > len(cls._fields) or (kwargs.keys() & values.keys()):
            raise TypeError(f"{cls.__name__}: too many or repeated arguments")
        values.update(kwargs)
        for name in cls._fields:
            if name not in values:
                try:
                    values[name] = getattr(cls, name)
                except AttributeError:
                    raise TypeError(f"{cls.__name__}: missing {name!r}") from None
        if len(values) != len(cls._fields):
            unknown = sorted(values.keys() - set(cls._fields))
            raise TypeError(f"{cls.__name__}: unexpected {', '.join(unknown)}")
        self.__dict__.update(values)

    @classmethod
    def of(cls, values: Iterable[Any]) -> Self:
        """From exactly one value per field, in their order: a fifth of the time of a call."""
        made = object.__new__(cls)
        made.__dict__.update(zip(cls._fields, values, strict=True))
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *(self.__dict__[name] for name in self._fields)))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self._fields)
        return f"{type(self).__name__}({inner})"

    def replace(self, **changes: Any) -> Self:
        """A copy with `changes`; an unknown name is a TypeError."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made.__dict__.update(changes)
        if len(made.__dict__) != len(self._fields):
            unknown = sorted(changes.keys() - set(self._fields))
            raise TypeError(f"{type(self).__name__}: unexpected {', '.join(unknown)}")
        return made

    def to_json(self) -> dict[str, Any]:
        """The fields in their order, nested values and tuples as JSON objects and arrays."""
        return {name: _plain(self.__dict__[name]) for name in self._fields}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The inverse of `to_json`; Misfit where anything in `data` is not as annotated.

        What is missing has its default. Unknown keys are skipped: a newer runner may have added them.
        """
        if type(data) is not dict:
            raise Misfit.of(data, "an object")
        made = object.__new__(cls)
        fields = made.__dict__
        name = ""
        try:
            for name, read, default in cls._readers or _compiled(cls):
                value = data.get(name, _ABSENT)
                if value is not _ABSENT:
                    fields[name] = read(value)
                elif default is not _ABSENT:
                    fields[name] = default
                else:
                    raise Misfit("missing")
        except Misfit as misfit:
            raise misfit.inside(name) from None
        return made


def json_bytes(value: Any, *, indent: int | None = None, compact: bool = False) -> bytes:
    """UTF-8, readable where it can be. Half characters (a foreign file name, an agent's `\\ud800`) that
    UTF-8 has no bytes for are escaped, so they come back as they were.
    """
    try:
        return dumps(value, ensure_ascii=False, indent=indent, compact=compact).encode()
    except UnicodeEncodeError:
        return dumps(value, indent=indent, compact=compact).encode()


_LEAVES = frozenset({str, int, float, bool, type(None)})


def _plain(value: Any) -> Any:
    if type(value) in _LEAVES:  # most of all there is
        return value
    if isinstance(value, Value):
        return value.to_json()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def json_value(data: bytes | str) -> Any:
    """What a JSON text says. A ValueError, besides for what is none, for a key that stands twice, for `NaN`
    and for nesting without end.
    """
    global _read
    if _read is None:
        _read = reader(_unique, _no_number)
    try:
        return _read(data if isinstance(data, str) else data.decode())
    except RecursionError:
        raise ValueError("it is nested without end") from None


_read: Any = None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands in it twice")
    return made


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


# -- reading by annotations ------------------------------------------------------------------------------


def _compiled(cls: type[Value]) -> list[tuple[str, Reader, Any]]:
    readers: dict[str, tuple[str, Reader, Any]] = {}
    for base in reversed(cls.__mro__[:-2]):  # without Value and object
        for name, annotation in base.__annotations__.items():
            readers[name] = (name, _reader(annotation, base.__module__), vars(base).get(name, _ABSENT))
    cls._readers = made = list(readers.values())
    return made


def _reader(annotation: str, module: str) -> Reader:
    """What turns JSON into a value of the annotated type, of those that our values have."""
    if annotation in _READERS:
        return _READERS[annotation]
    if annotation.endswith(" | None"):
        return _maybe(_reader(annotation[:-7], module))
    head, bracket, inner = annotation.partition("[")
    if head in ("dict", "Mapping"):
        key, _, kind_of_value = inner[:-1].partition(", ")
        return _values_of(_reader(kind_of_value, module), _reader(key, module))
    if head == "tuple" and not inner.endswith(", ...]"):
        return _row_of([_reader(one, module) for one in inner[:-1].split(", ")])
    if bracket:
        return _items_of(
            _reader(inner[:-1].removesuffix(", ..."), module), tuple if head == "tuple" else frozenset
        )
    if " | " in annotation:
        return _any_of([_reader(kind, module) for kind in annotation.split(" | ")], annotation)
    kind = vars(sys.modules[module])[annotation]
    if issubclass(kind, Value):
        read: Reader = kind.from_json
        return read
    return _member_of(kind)


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise Misfit.of(value, "a text")
    return value


def _maybe_text(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise Misfit.of(value, "a text or null")
    return value


def _whole(value: Any) -> Any:
    if type(value) is not int or not -_LARGEST < value < _LARGEST:
        raise Misfit.of(value, "a whole number of at most 64 bits")
    return value


def _count(value: Any) -> Any:
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise Misfit.of(value, "a whole number from 0 on of at most 64 bits")
    return value


def _number(value: Any) -> Any:
    if type(value) not in (float, int) or not -_LARGEST < value < _LARGEST:  # false of what is no number
        raise Misfit.of(value, "a number")
    return value


def _seconds(value: Any) -> Any:
    if type(value) not in (float, int) or not 0 <= value < _LARGEST:
        raise Misfit.of(value, "a number of seconds")
    return value


def _amount(value: Any) -> Any:
    if _number(value) < 0:
        raise Misfit.of(value, "a number that is not below 0")
    return value


def _file_mode(value: Any) -> Any:
    if type(value) is not int or not 0 <= value < 1 << 16:
        raise Misfit.of(value, "the mode of a file")
    return value


def _file_path(value: Any) -> Any:
    try:
        if not value or b"\0" in value.encode("utf-8", "surrogateescape"):
            raise ValueError
    except (AttributeError, ValueError):
        raise Misfit.of(value, "a path") from None
    return value


def _inner_path(value: Any) -> Any:
    if _file_path(value)[0] == "/" or (".." in value and ".." in value.split("/")):
        raise Misfit.of(value, "a path that leads nowhere else")
    return value


def _object_id(value: Any) -> Any:
    if not isinstance(value, str) or len(value) not in (40, 64) or value.strip("0123456789abcdef"):
        raise Misfit.of(value, "the name of a git object")
    return value


def _truth(value: Any) -> Any:
    if type(value) is not bool:
        raise Misfit.of(value, "true or false")
    return value


def _timestamp(value: Any) -> Any:
    if (
        not isinstance(value, str)
        or len(value) != 24
        or value[4::3][:6] != "--T::."
        or value[23] != "Z"
        or not value.isascii()
        or not (value[:4] + value[5:7] + value[8:10] + value[11:13] + value[14:16] + value[17:19]).isdigit()
        or not value[20:23].isdigit()
        or not "01" <= value[5:7] <= "12"
        or value < "0001"
    ):
        raise Misfit.of(value, "a time like 2026-11-20T10:15:04.438Z")
    return value


def _anything(value: Any, deepest: int = _DEEPEST) -> Any:
    if type(value) in (dict, list):
        if not deepest:
            raise Misfit("it is nested too deeply")
        for one in value.values() if type(value) is dict else value:
            _anything(one, deepest - 1)
    return value


def _maybe(read: Reader) -> Reader:
    return lambda value: None if value is None else read(value)


def _any_of(readers: list[Reader], annotation: str) -> Reader:
    """Whichever fits first."""

    def read_one(value: Any) -> Any:
        for read in readers:
            try:
                return read(value)
            except Misfit:
                continue
        raise Misfit.of(value, annotation)

    return read_one


def _items_of(read: Reader, kind: type[tuple[Any, ...]] | type[frozenset[Any]]) -> Reader:
    def read_all(value: Any) -> Any:
        if type(value) is not list:
            raise Misfit.of(value, "an array")
        made: list[Any] = []
        try:
            for item in value:
                made.append(read(item))
        except Misfit as misfit:
            raise misfit.inside(len(made)) from None
        return kind(made)

    return read_all


def _row_of(readers: list[Reader]) -> Reader:
    """So many items, each of its own type."""

    def read_each(value: Any) -> Any:
        if type(value) is not list or len(value) != len(readers):
            raise Misfit.of(value, f"an array of {len(readers)}")
        return tuple(read(item) for read, item in zip(readers, value, strict=True))

    return read_each


def _values_of(read: Reader, read_key: Reader) -> Reader:
    def read_all(value: Any) -> Any:
        if type(value) is not dict:
            raise Misfit.of(value, "an object")
        made = {}
        key = ""
        try:
            for key, item in value.items():
                made[read_key(key)] = read(item)
        except Misfit as misfit:
            raise misfit.inside(key) from None
        return made

    return read_all


def _member_of(kind: Any) -> Reader:
    def read(value: Any) -> Any:
        try:
            return kind(value)
        except ValueError:
            raise Misfit.of(value, f"one of {', '.join(list(kind)[:7])}") from None

    return read


_READERS: dict[str, Reader] = {
    "str": _text,
    "str | None": _maybe_text,
    "int": _whole,
    "Count": _count,
    "float": _number,
    "Seconds": _seconds,
    "Amount": _amount,
    "bool": _truth,
    "Timestamp": _timestamp,
    "Any": _anything,
    "Json": _values_of(_anything, _text),
    "FileMode": _file_mode,
    "FilePath": _file_path,
    "InnerPath": _inner_path,
    "ObjectId": _object_id,
    "int | None": _maybe(_whole),
    "Timestamp | None": _maybe(_timestamp),
    "tuple[str, ...]": _items_of(_text, tuple),
}


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, (int, float)):
        return "a number that is too large" if abs(value) >= _LARGEST else str(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    return "an array" if isinstance(value, (list, tuple)) else "an object"
