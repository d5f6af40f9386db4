"""The types of single values in delegate.toml, for pydantic, each with its JSON Schema. Pure.

Rules that a type cannot express are functions in `values.py`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from runner.config import values
from runner.runtimes import NAMES
from runner.text.durations import parse_duration
from runner.text.tables import format_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.runtimes import base

_DURATION_PATTERN = r"^\s*(?=.*[1-9])(\d+(\.\d+)?|(\d+(\.\d+)?(w|d|h|ms|m|s))+)\s*$"
_BOUND = r"\s*(>=|<=|==|!=|>|<)\s*\d{1,9}(\.\d{1,9})*\s*"
_ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
DURATION = {
    "anyOf": [{"type": "string", "pattern": _DURATION_PATTERN}, {"type": "number", "exclusiveMinimum": 0}]
}
_WORD = {"type": "string", "pattern": r"^[^\x00]*$"}
COMMAND_ARRAY = {
    "type": "array",
    "items": {
        "anyOf": [
            {"type": "string", "minLength": 1, "pattern": r"^\s*[^-\s\x00][^\x00]*$"},
            {"type": "array", "items": _WORD, "minItems": 1, "prefixItems": [{**_WORD, "minLength": 1}]},
        ]
    },
}
_COMMANDS = {"anyOf": [{**_WORD, "minLength": 1}, COMMAND_ARRAY]}


def _count(least: int, *, zero: bool) -> tuple[PlainValidator, WithJsonSchema]:
    number = {"type": "integer", "minimum": least, "maximum": values.MOST}
    choices = [number, {"type": "string", "pattern": r"^[0-9]{1,15}$"}, {"const": "none"}]
    schema = WithJsonSchema({"anyOf": [*choices, {"const": 0}] if zero else choices})
    return PlainValidator(partial(values.count, least=least, zero=zero)), schema


Text = Annotated[
    str,
    Field(min_length=1),
    AfterValidator(values.speakable),
    WithJsonSchema({"type": "string", "minLength": 1, "pattern": "^[^\\x00]*$"}),
]
"""What a command line, a path or a prompt can be."""
Name = Annotated[
    str, AfterValidator(values.legal_name), WithJsonSchema({"type": "string", "pattern": values.NAME_PATTERN})
]
Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(DURATION)]
Limit = Annotated[
    float | Literal["none"],
    PlainValidator(values.limit),
    WithJsonSchema({"anyOf": [{"const": "none"}, *DURATION["anyOf"]]}),
]
Tokens = Annotated[int | Literal["none"], *_count(1, zero=False)]
Repeats = Annotated[int | Literal["none"], *_count(2, zero=True)]
Reconnects = Annotated[int | Literal["none"], *_count(1, zero=True)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Price = Annotated[
    float | Literal["none"],
    PlainValidator(values.price),
    WithJsonSchema({"anyOf": [{"const": "none"}, {"type": "number", "exclusiveMinimum": 0, "maximum": 1e9}]}),
]
Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Glob = Annotated[
    str, AfterValidator(values.glob), WithJsonSchema({"type": "string", "pattern": values.GLOB_PATTERN})
]
Paste = Annotated[
    str,
    AfterValidator(lambda value: values.glob(value.removeprefix("!")) and value),
    WithJsonSchema({"type": "string", "pattern": values.GLOB_PATTERN.replace("^", "^!?", 1)}),
]
Contract = Annotated[
    str | Literal[False],
    PlainValidator(values.contract),
    WithJsonSchema({"enum": [*values.CONTRACTS, False]}),
]
Branch = Annotated[
    bool | str,
    PlainValidator(values.branch),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": values.BRANCH_PATTERN}]}),
]
CommitMessage = Annotated[
    str,
    PlainValidator(values.commit_message),
    WithJsonSchema({"type": "string", "pattern": values.MESSAGE_PATTERN}),
]
_Command = Annotated[list[str], BeforeValidator(values.command)]
Commands = Annotated[list[_Command], BeforeValidator(values.commands), WithJsonSchema(_COMMANDS)]
Notice = Annotated[
    list[str],
    BeforeValidator(values.notice),
    WithJsonSchema({"type": "array", "items": _WORD}),
]
Rehearse = Annotated[
    bool | str,
    PlainValidator(values.rehearse),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": r"\S"}]}),
]
Network = Annotated[
    bool | list[str],
    PlainValidator(values.network),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "boolean"},
                {"type": "array", "items": {"type": "string", "pattern": values.HOST_PATTERN}, "minItems": 1},
            ]
        }
    ),
]
Constraint = Annotated[
    str,
    AfterValidator(values.constraint),
    WithJsonSchema({"type": "string", "pattern": rf"^{_BOUND}(,{_BOUND})*$"}),
]
Level = Literal["read-only", "workspace-write", "danger-full-access"]
if TYPE_CHECKING:
    RuntimeName = str
else:
    RuntimeName = Literal[tuple(NAMES)]
Tool = Literal["status", "pause", "cancel", "question", "spawn", "send", "await", "ledger"]
EnvName = Annotated[str, Field(pattern=_ENV_NAME)]
Version = Annotated[int, PlainValidator(format_version), WithJsonSchema({"type": "integer", "const": 1})]


def overrides(owned: Mapping[str, str]) -> Any:
    """What `[runtimes.X.config]` may be, without the keys that are ours."""
    whole = "|".join(key for key in owned if "." not in key)
    inner = [
        {"required": [head], "properties": {head: {"type": "object", "required": [key]}}}
        for head, _, key in (one.partition(".") for one in owned)
        if key
    ]
    schema = {
        "type": "object",
        **({"propertyNames": {"not": {"pattern": rf"^({whole})(\.|$)"}}} if whole else {}),
        **({"not": {"anyOf": inner}} if inner else {}),
    }
    return Annotated[dict[str, Any], AfterValidator(partial(values.overrides, owned)), WithJsonSchema(schema)]


def provider(runtime: base.Runtime) -> Any:
    """One of the providers that this runtime has, by any of its names."""
    names = {"enum": [*runtime.providers, *runtime.provider_aliases]}
    return Annotated[str, AfterValidator(partial(values.provider, runtime)), WithJsonSchema(names)]
