"""What a program lists of itself, for a lock; a start asks less (`probe`). Edge: runs it for a moment."""

from __future__ import annotations

from runner.disk import files
from runner.disk.scratch import scratch
from runner.errors import RuntimeWrong
from runner.runtimes.probe import PROBE_SECONDS, minimal_env, options_in
from runner.runtimes.shortrun import Ran, run
from runner.value import Value, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.model import Program
    from runner.runtimes.base import Runtime

    Listed = Mapping[str, tuple[str, ...]]


class Listing(Value):
    flags: Listed
    """Subcommand -> its options."""
    schema: Listed | None
    """What an agent does -> the fields in which that is told; None where the program has no such schema."""


def take(runtime: Runtime, program: Program, env: Mapping[str, str]) -> Listing:
    """RuntimeWrong where it does not answer, which is no sign that it has lost anything."""
    flags = {}
    if runtime.help_args:
        flags[_name(runtime, runtime.help_args)] = tuple(sorted(program.flags))
    for words in runtime.asked_besides:
        said, name = _ask(runtime, program, words, env), _name(runtime, words)
        usage = next((line for line in said.stdout.splitlines() if line.startswith("Usage:")), "")
        # Without that subcommand a program may take its name for another word, and list something else.
        if said.exit_code == 0 and f"{name.partition(' ')[2]} " in f"{usage} ":
            flags[name] = tuple(sorted(options_in(said.stdout)))
    return Listing(flags, _schema(runtime, program, env) if runtime.schema else None)


def _schema(runtime: Runtime, program: Program, env: Mapping[str, str]) -> Listed | None:
    name, definition, *words = runtime.schema
    with scratch(env) as folder:
        if _ask(runtime, program, (*words, folder), env).exit_code != 0:
            return None
        try:
            return _kinds(json_value(files.read(f"{folder}/{name}"))["definitions"][definition]["oneOf"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None


def _kinds(shapes: list[dict[str, Any]]) -> Listed:
    found = {one["properties"]["type"]["enum"][0]: one["properties"] for one in shapes}
    return {str(kind): tuple(sorted(found[kind])) for kind in sorted(found)}


def _ask(runtime: Runtime, program: Program, words: tuple[str, ...], env: Mapping[str, str]) -> Ran:
    said = run([program.path, *words], minimal_env(env, runtime.name), seconds=PROBE_SECONDS)
    if said.why is not None:
        raise RuntimeWrong(f"`{_name(runtime, words)}` {said.why}", hint=runtime.install_hint)
    return said


def _name(runtime: Runtime, words: tuple[str, ...]) -> str:
    return " ".join((runtime.name, *(word for word in words if word[:1] not in "-/")))
