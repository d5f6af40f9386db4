"""Finds the program of a runtime and asks it what it is. Edge: starts it twice.

It runs `--version` and what lists its options, once until the file changes: see `programcache`.
"""

from __future__ import annotations

import os
from time import monotonic

from runner.disk import programs
from runner.errors import ConfigInvalid, RunnerError, RuntimeMissing, RuntimeWrong
from runner.model import Program, RuntimeSettings
from runner.runtimes import NAMES, programcache
from runner.runtimes.locate import locate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.runtimes.base import Runtime
    from runner.runtimes.shortrun import Ran

PROBE_SECONDS = 10.0
"""For one question: a program under npm answers in 0.1 s, a machine under load in 2."""

_NAME = r"--?[A-Za-z0-9][A-Za-z0-9-]*"
_OPTION = rf"(?m)^ {{2,8}}({_NAME}(?:, *{_NAME})*)(?![A-Za-z0-9_-])"
"""`-c, --config <key=value>`, `--allowedTools, --allowed-tools <tools...>`."""
_PASSED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR")


def find(
    runtime: Runtime, settings: RuntimeSettings, env: Mapping[str, str], root: str | None = None
) -> Program:
    """The program that `settings` names, proved to be the right one in a version that is wanted.

    RuntimeMissing: there is none. RuntimeWrong: it is another program, does not answer, or has
    another version.
    """
    program = discover(runtime, settings, env, root)
    check_version(runtime, settings, program)
    return program


def unasked(
    runtime: Runtime, settings: RuntimeSettings, env: Mapping[str, str], root: str | None = None
) -> Program:
    """The program that `settings` names, not started. RuntimeMissing: there is none."""
    return Program.unasked(locate(runtime, settings, env, root)[0])


def discover(
    runtime: Runtime,
    settings: RuntimeSettings,
    env: Mapping[str, str],
    root: str | None = None,
    *,
    fresh: bool = False,
    seconds: float = 2 * PROBE_SECONDS,
) -> Program:
    """As `find`, in any version. `fresh` asks the program, for at most `seconds`."""
    wrong: RunnerError | None = None
    deadline = monotonic() + seconds
    for path in locate(runtime, settings, env, root):
        known = None if fresh else programcache.load(runtime.name, path, env)
        if known is not None:
            return known
        try:
            return _inspect(runtime, path, env, deadline)
        except RuntimeWrong as error:
            # The first name says best what is wrong: later ones (`code`) are mostly other programs.
            wrong = wrong or error
    raise wrong or RuntimeMissing(f"{runtime.title} was not found", hint=runtime.install_hint)


def check_version(runtime: Runtime, settings: RuntimeSettings, program: Program) -> None:
    """RuntimeWrong if the program is not in a version that the config wants."""
    if settings.version is None:
        return
    from runner.text.versions import satisfies  # only where a constraint is declared

    try:
        wanted = satisfies(program.version, settings.version)
    except ValueError as error:
        raise ConfigInvalid(f"[runtimes.{runtime.name}] version: {error}") from None
    if not wanted:
        raise RuntimeWrong(
            f"{runtime.title} is {program.version} ({program.path}), but "
            f'[runtimes.{runtime.name}] wants version = "{settings.version}"',
            hint="install such a version, point `command` to one, or change `version`",
        )


def path_additions(program: Program) -> tuple[str, ...]:
    """Folders that the child should find on PATH: the PyPI package has its ripgrep in one."""
    folder = os.path.join(os.path.dirname(os.path.dirname(program.path)), "codex-path")
    return (folder,) if os.path.isdir(folder) else ()


def minimal_env(env: Mapping[str, str], runtime: str | None = None) -> dict[str, str]:
    """What a program needs to say what it is, that of this runtime its home as well: no keys, no tokens."""
    names = (*_PASSED, *(() if runtime is None else NAMES[runtime]))
    return programs.with_search_path({name: env[name] for name in names if name in env})


def succeeds(argv: Sequence[str], env: Mapping[str, str], runtime: str) -> bool:
    """Whether a question to its program is answered with exit status 0, within the time of a probe."""
    from runner.runtimes.shortrun import run

    return run(argv, minimal_env(env, runtime), seconds=PROBE_SECONDS).exit_code == 0


def _inspect(runtime: Runtime, path: str, env: Mapping[str, str], deadline: float) -> Program:
    from runner.runtimes.shortrun import run  # only on a cache miss

    stamp, child_env = programcache.stamp_of(path), minimal_env(env, runtime.name)
    said = run([path, "--version"], child_env, seconds=_left(deadline))
    _require_answer(runtime, path, "--version", said)
    output = f"{said.stdout}\n{said.stderr}"
    # Whatever warns on stderr (Node tells of what is deprecated) is none of the version.
    version = runtime.identify(said.stdout) or runtime.identify(output)
    if version is None:
        raise _other_program(runtime, path, output)
    flags: frozenset[str] = frozenset()
    if runtime.help_args:
        question = " ".join(runtime.help_args)
        helped = run([path, *runtime.help_args], child_env, seconds=_left(deadline))
        _require_answer(runtime, path, question, helped)
        listed = helped.stdout if options_in(helped.stdout) else helped.stderr
        if runtime.help_says not in listed:
            raise _other_program(runtime, path, output)
        flags = options_in(listed)
        if not flags:
            raise _wrong(runtime, f"`{path} {question}` lists no options")
    program = Program(path, version, flags)
    line = next((row for row in output.splitlines() if version in row), "")
    programcache.save(runtime.name, program, line, stamp, env)
    return program


def options_in(text: str) -> frozenset[str]:
    """What a program says that it knows."""
    import re  # once until the program changes

    heads: list[str] = re.findall(_OPTION, text)
    return frozenset(name.strip() for head in heads for name in head.split(","))


def _left(deadline: float) -> float:
    return round(min(PROBE_SECONDS, max(0.1, deadline - monotonic())), 1)


def _require_answer(runtime: Runtime, path: str, question: str, ran: Ran) -> None:
    if ran.why is not None:
        raise _wrong(runtime, f"`{path} {question}` {ran.why}")
    if ran.exit_code != 0:
        said = (ran.stderr.strip() or ran.stdout.strip()).split("\n", 1)[0][:200]
        raise _wrong(
            runtime, f"`{path} {question}` ended with status {ran.exit_code}" + (f": {said}" if said else "")
        )


def _other_program(runtime: Runtime, path: str, output: str) -> RuntimeWrong:
    other = runtime.foreign(output)
    if other is None:
        first = output.strip().split("\n", 1)[0][:80]
        other = f"something that calls itself `{first}`" if first else "something without a version"
    return _wrong(runtime, f"`{os.path.basename(path)}` is {other} ({path}), not {runtime.title}")


def _wrong(runtime: Runtime, message: str) -> RuntimeWrong:
    return RuntimeWrong(message, hint=runtime.install_hint)
