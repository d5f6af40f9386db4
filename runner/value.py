"""Frozen values that cost next to nothing to define, and their JSON. Pure; nothing is imported before use.

The operating commands have 3 x the time of an empty interpreter for all they do. `dataclasses` alone costs
one of the three and `typing.NamedTuple` half of one (it compiles every annotation), so the few things that
our values need are written here. Type checkers see ordinary frozen dataclasses (PEP 681).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Self, dataclass_transform
else:

    def dataclass_transform(**_: object):
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class Value:
    """Base of every value: annotated names are fields, class attributes are their defaults.

    Equality is by type and content; `replace` makes a changed copy; assignment is refused.
    """

    _fields: Any = ()

    def __init_subclass__(cls) -> None:
        cls._fields = (*cls._fields, *cls.__annotations__)

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
        return type(self)(**{**self.__dict__, **changes})

    def to_json(self) -> dict[str, Any]:
        """The fields in their order, nested values and tuples as JSON objects and arrays."""
        return {name: _plain(self.__dict__[name]) for name in self._fields}


def json_bytes(value: Any, **style: Any) -> bytes:
    """UTF-8, readable where it can be. Half characters (a foreign file name, an agent's `\\ud800`) that
    UTF-8 has no bytes for are escaped, so they come back as they were.
    """
    import json

    try:
        return json.dumps(value, ensure_ascii=False, **style).encode()
    except UnicodeEncodeError:
        return json.dumps(value, **style).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Value):
        return value.to_json()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
