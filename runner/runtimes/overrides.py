"""`-c key=value` overrides: a nested mapping as arguments, and values as TOML. Pure.

How the CLI reads them (measured on codex-cli 0.163.0, of which Kay is a relative): the text
before the first `=` is split at every dot, quotes or not, and its parts are literal (`-c
'a."b".c=1'` makes a key that is named `"b"` with the quotes). The value is TOML, and silently a
plain string where it is not. A table given as a value replaces what earlier `-c` made of that key
and is merged into the config files; a later dotted key goes into it.
https://github.com/openai/codex/blob/main/codex-rs/utils/cli/src/config_override.rs
"""

from __future__ import annotations

from _collections_abc import Mapping  # loaded with `os`; `collections` is not

from runner.errors import ConfigInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
"""Compared with, as a start would compile an expression for a single use."""
_ESCAPES: dict[int, str] = {code: f"\\u{code:04x}" for code in (*range(32), 0x7F, 0x85, 0x2028, 0x2029)}
_ESCAPES |= str.maketrans({
    "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\",
})  # fmt: skip


def toml_value(value: Any) -> str:
    """One line of TOML that means `value`; ConfigInvalid for what TOML cannot say."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ConfigInvalid(f"{value} does not fit into 64 bits, the integers of TOML")
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Mapping):
        pairs = [f"{toml_key(key)} = {toml_value(value[key])}" for key in sorted(value)]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if hasattr(value, "isoformat"):  # date, time and datetime, without importing datetime
        return str(value.isoformat())
    raise ConfigInvalid(f"{value!r} ({type(value).__name__}) has no form in TOML")


def flatten(config: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Dotted keys with their values, sorted.

    A table that has a key which no dotted path can name is one value as a whole: it has to be an
    inline table.
    """
    for key in sorted(config):
        if not _is_bare(key):
            raise ConfigInvalid(
                f"the key `{key}` cannot be passed on: the command line splits keys at dots",
                hint='write it without quotes: `features.x = true`, not `"features.x" = true`',
            )
    return tuple(_leaves(config, ""))


def assignment(key: str, value: Any) -> str:
    """The argument that belongs behind `-c`."""
    try:
        return f"{key}={toml_value(value)}"
    except ConfigInvalid as error:
        raise ConfigInvalid(f"`{key}`: {error.message}", hint=error.hint) from None


def _leaves(config: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key in sorted(config):
        value = config[key]
        if isinstance(value, Mapping) and value and all(map(_is_bare, value)):
            found.extend(_leaves(value, f"{prefix}{key}."))
        else:
            found.append((prefix + key, value))
    return found


def _is_bare(key: str) -> bool:
    return bool(key) and _BARE.issuperset(key)


def toml_key(key: str) -> str:
    return key if _is_bare(key) else _string(key)


def _string(text: str) -> str:
    # A lone surrogate has no UTF-8 and none in TOML; it comes from undecodable bytes of a command
    # line.
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ConfigInvalid(f"{text!r} is not valid Unicode")
    return f'"{text.translate(_ESCAPES)}"'


def mentions(config: Mapping[str, Any], dotted: str) -> bool:
    """Whether `config` sets the key or something below it, however it is nested."""
    value: Any = config
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True
