"""The verify commands of several units as few commands. Pure.

Test files that pass one by one may fail together, so commands of one test runner that differ only in paths
become one command with all the paths. Any other command is left as it is.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Command = tuple[str, ...]

_RUNNERS: frozenset[Command] = frozenset(
    (
        *(("pytest",), ("python", "-m", "pytest"), ("python3", "-m", "pytest"), ("uv", "run", "pytest")),
        *(("bun", "test"), ("go", "test"), ("npx", "jest"), ("npx", "vitest", "run"), ("vitest", "run")),
        *(("jest",), ("rspec",), ("bundle", "exec", "rspec"), ("ruff", "check"), ("mypy",)),
        ("node", "--test"),
    )
)
_LENGTHS = {head[0]: sorted({len(one) for one in _RUNNERS if one[0] == head[0]})[::-1] for head in _RUNNERS}
_FLAGS = frozenset(("-q", "-qq", "-v", "-vv", "-x", "-s", "-race"))
"""Options of these runners that take no value."""


def joined(commands: Iterable[Command]) -> tuple[Command, ...]:
    """Each command once, in the order of their first place; those of one runner with all their paths."""
    found: dict[Command, dict[str, None] | None] = {}
    for command in commands:
        head, paths = _parts(command)
        if paths:
            kept = found.setdefault(head, {})
            if kept is not None:
                kept.update(dict.fromkeys(paths))
        else:  # without paths it is all that there is, so it covers what was named before and after
            found[command] = None
    return tuple(head if paths is None else (*head, *paths) for head, paths in found.items())


def _parts(command: Command) -> tuple[Command, Command]:
    """The runner with its options, and the paths; no paths where it is not surely so."""
    for length in _LENGTHS.get(command[0], ()):
        if command[:length] in _RUNNERS:
            break
    else:
        return command, ()
    while length < len(command) and command[length] in _FLAGS:
        length += 1
    paths = command[length:]
    return (command, ()) if any(path.startswith("-") for path in paths) else (command[:length], paths)
