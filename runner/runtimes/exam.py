"""Whether the program of a runtime can do what the tasks need. Edge: runs it for a moment.

Part of `doctor`: everything here is bounded in time and leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic

from runner.disk import programs
from runner.disk.scratch import scratch
from runner.errors import RunnerError, RuntimeWrong
from runner.model import Config, Level, Model, Program, RuntimeSettings, Sandbox
from runner.runtimes import get, loginshell, probe, trial
from runner.runtimes.arguments import argv_of
from runner.runtimes.base import CommandRequest, Fence, passes
from runner.runtimes.endings import essence, first_line
from runner.runtimes.shortrun import Ran, run
from runner.value import StrEnum, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.runtimes.base import Runtime

PROGRAM_S, LOGIN_S, SANDBOX_S = 12.0, 5.0, 8.0
"""A program is asked twice; Gemini CLI took 3 s for each answer where its files were not in memory."""


class Fitness(StrEnum):
    """Only `fail` means that a run could not start; `unknown` is what could not be examined."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"
    UNKNOWN = "unknown"


class Examined(Value):
    """One finding; `repair` says what to do where something can be done."""

    name: str
    verdict: Fitness
    message: str
    repair: str | None = None


class Use(Value):
    """A task as a runtime sees it: the model and the sandbox that it asks for."""

    task: str
    model: Model | None
    sandbox: Sandbox
    rehearse: bool = False
    """It talks to the scripted model only, so it needs no login."""
    is_apart: bool = False
    """It works in a tree of its own."""
    links: tuple[str, ...] = ()
    """The names in the folder of such a tree that are committed as links."""
    fence: Fence = Fence()
    """What else it is given to write in, as far as that is there before it."""
    verify: tuple[tuple[str, ...], ...] = ()


def examine_runtime(
    config: Config, name: str, uses: Sequence[Use], env: Mapping[str, str], deadline: float
) -> Iterator[Examined]:
    """The checks of one runtime; those that could not be made are there as skipped."""
    runtime = get(name)
    settings = config.runtimes.get(name)
    if settings is None:
        settings = runtime.defaults()
    exam = _Exam(runtime, settings, uses, env, deadline, config.root)
    try:
        seconds = max(0.5, min(PROGRAM_S, deadline - monotonic()))
        program = probe.discover(runtime, settings, env, config.root, fresh=True, seconds=seconds)
    except RunnerError as error:
        part = "identity" if isinstance(error, RuntimeWrong) else "binary"
        yield Examined(f"{name}.{part}", Fitness.FAIL, error.message, error.hint)
        for rest in ("version", "flags", "login", "sandbox", "shell"):
            yield Examined(f"{name}.{rest}", Fitness.SKIP, "the program is missing")
        return
    yield Examined(f"{name}.binary", Fitness.OK, program.path)
    who = Examined(f"{name}.identity", Fitness.OK, f"{runtime.title} {program.version}")
    if runtime.is_generic:
        said = f"it says {program.version}; whether it speaks the protocol, only a run shows"
        who = Examined(f"{name}.identity", Fitness.SKIP, said)
    yield who
    yield exam.version(program)
    yield exam.flags(program)
    yield exam.login(program)
    yield exam.sandbox(program)
    yield exam.shell(program)


def login(
    config: Config, settings: RuntimeSettings, use: Use, program: Program, env: Mapping[str, str]
) -> Examined:
    """Whether this use has a login, as `examine_runtime` says it."""
    exam = _Exam(get(settings.name), settings, (use,), env, monotonic() + LOGIN_S, config.root)
    return exam.login(program)


def place(
    config: Config, settings: RuntimeSettings, use: Use, program: Program, env: Mapping[str, str]
) -> Examined | None:
    """What keeps commands of this use from running where it works; None: nothing."""
    exam = _Exam(get(settings.name), settings, (use,), env, monotonic() + SANDBOX_S, config.root)
    return exam.here(program)


class _Exam:
    """The checks of one runtime whose program was found."""

    def __init__(
        self,
        runtime: Runtime,
        settings: RuntimeSettings,
        uses: Sequence[Use],
        env: Mapping[str, str],
        deadline: float,
        root: str,
    ) -> None:
        self._root = root
        self._runtime = runtime
        self._settings = settings
        # Asked for by name and used by no task: then only what every run needs is looked at.
        anything = Model(None, "any-model", provider=settings.provider)
        self._uses = uses or (Use("any task", anything, Sandbox("any", Level.READ_ONLY)),)
        self._env = env
        self._deadline = deadline

    def version(self, program: Program) -> Examined:
        try:
            probe.check_version(self._runtime, self._settings, program)
        except RunnerError as error:
            return self._check("version", Fitness.FAIL, error.message, error.hint)
        wanted = self._settings.version
        return self._check(
            "version", Fitness.OK, program.version + (f" satisfies {wanted}" if wanted else "")
        )

    def flags(self, program: Program) -> Examined:
        """Builds the command of every task, as a start would."""
        for use in self._uses:
            request = CommandRequest(
                program, self._settings, use.model, use.sandbox, "/", "/last-message", False
            )
            try:
                argv_of(self._runtime, request)
            except RunnerError as error:
                message = f"{use.task}: {error.message}"
                return self._check("flags", Fitness.FAIL, message, error.hint)
        if not self._runtime.help_args:
            return self._check("flags", Fitness.SKIP, "its words are `args`, which only a run tries")
        question = " ".join(self._runtime.help_args)
        return self._check("flags", Fitness.OK, f"`{question}` lists every required option")

    def login(self, program: Program) -> Examined:
        own_login = False
        unsure: list[str] = []
        keys: list[str] = []
        uses = [use for use in self._uses if not use.rehearse]
        if not uses:
            return self._check("login", Fitness.SKIP, "every task is a rehearsal; other tasks would need one")
        for use in uses:
            try:
                names = self._runtime.secret_env(self._settings, use.model)
                provider = self._runtime.provider(self._settings, use.model)
            except RunnerError as error:
                return self._check("login", Fitness.FAIL, error.message, error.hint)
            if provider is None:
                own_login = True
            elif not names:
                unsure.append(provider)
            keys += names
            missing = [name for name in names if not self._passed(name)]
            if missing and not self._stored(use):
                return self._no_key(use.task, provider, missing[0])
        if own_login:
            return self._own_login(program)
        if unsure:
            said = f"no key is declared for provider `{unsure[0]}`; only a run shows whether it works"
            return self._check("login", Fitness.UNKNOWN, said)
        said = f"a key is there ({', '.join(dict.fromkeys(keys))}); only a run shows whether it is valid"
        return self._check("login", Fitness.OK, said)

    def sandbox(self, program: Program) -> Examined:
        levels = {use.sandbox.level for use in self._uses}
        level = min(levels, key=lambda one: one.rank)
        argv = self._runtime.sandbox_check(program, level)
        if level is Level.DANGER:
            return self._check("sandbox", Fitness.SKIP, f"every task runs with {level}")
        if not self._runtime.has_sandbox:
            who = "what asks nobody" if self._runtime.is_generic else "what may write"
            said = f"{self._runtime.title} has none: {who} can write anywhere"
            also = "" if self._runtime.is_generic else ", or with read-only"
            return self._check("sandbox", Fitness.WARN, said, f"run it in a container{also}")
        absent = [name for name in self._runtime.helpers if programs.on_path(name, self._env) is None]
        if absent:
            verdict = Fitness.FAIL if Level.WORKSPACE_WRITE in levels else Fitness.WARN
            said = f"a run that may write needs {' and '.join(absent)}, not found on PATH"
            packages = " ".join("bubblewrap" if name == "bwrap" else name for name in absent)
            return self._check("sandbox", verdict, said, f"install it, such as by `apt install {packages}`")
        if argv is None and self._runtime.rehearses:
            return self._played(program, Fitness.FAIL if Level.WORKSPACE_WRITE in levels else Fitness.WARN)
        if argv is None:
            said = f"{self._runtime.title} has no command that tests its sandbox"
            return self._check("sandbox", Fitness.UNKNOWN, said)
        try:
            with scratch(self._env) as folder:
                said_by = self._ask(argv, SANDBOX_S, folder)
        except RunnerError as error:
            return self._check("sandbox", Fitness.UNKNOWN, f"no folder to test it in: {error.message}")
        if said_by.exit_code == 2:
            return self._check("sandbox", Fitness.UNKNOWN, "this version cannot test its sandbox")
        if said_by.exit_code == 0:
            return self.here(program) or self._check("sandbox", Fitness.OK, "it refuses a forbidden write")
        tail = first_line(essence(said_by.stderr)) or f"status {said_by.exit_code}"
        wrong = said_by.why or f"does not work: {tail}"
        if said_by.exit_code == 3:
            wrong = "allowed a forbidden write"
        return self._check(
            "sandbox",
            Fitness.FAIL,
            f"the sandbox {wrong}",
            f"`{shlex.join(argv[: argv.index('--')])} -- true` has to end with 0; "
            "containers often forbid user namespaces",
        )

    def _played(self, program: Program, verdict: Fitness) -> Examined:
        """The program has no check of its own, so it works for a moment, with the scripted model."""
        seconds = min(SANDBOX_S, self._deadline - monotonic())
        env = probe.minimal_env(self._env)  # with a home of its own
        try:
            with scratch(self._env) as folder:
                wrong = trial.forbidden_write(self._runtime, self._settings, program, env, folder, seconds)
        except (RunnerError, OSError) as error:
            return self._check("sandbox", Fitness.UNKNOWN, f"it could not be tried: {error}")
        if wrong is None:
            return self._check("sandbox", Fitness.OK, "it refuses a forbidden write")
        repair = "containers often forbid user namespaces; settings for the whole machine can switch it off"
        return self._check("sandbox", verdict, f"the sandbox {wrong}", repair)

    def here(self, program: Program) -> Examined | None:
        """What keeps commands from running where the tasks work, with the sandboxes of these."""
        # A new work tree without a link, and with nothing else to write in, is like any folder.
        tried = [
            (use.sandbox, use.fence, use.links if use.is_apart else None)
            for use in self._uses
            if not use.is_apart or use.links or use.sandbox.writable or use.fence.held
        ]
        for sandbox, fence, links in dict.fromkeys(tried):
            argv = self._runtime.sandbox_trial(program, self._settings, sandbox, fence)
            if argv is None:
                continue
            said_by = self._tried(argv, links)
            where = self._root if links is None else f"a work tree of {self._root}"
            if links:
                where += ", where links are committed"
            if said_by.why is not None:
                return self._check("sandbox", Fitness.UNKNOWN, f"in {where}, it {said_by.why}")
            if said_by.exit_code == 2:
                return self._check("sandbox", Fitness.UNKNOWN, "this version cannot test its sandbox")
            if said_by.exit_code != 0:
                tail = first_line(essence(said_by.stderr)) or f"status {said_by.exit_code}"
                message = f"with {sandbox.name} no command can run in {where}: {tail}"
                repair = "what is named here has to be a folder: make it, or put it in the place of the link"
                if links:
                    repair += ", and commit that"
                return self._check("sandbox", Fitness.FAIL, message, repair)
        return None

    def _tried(self, argv: Sequence[str], links: Sequence[str] | None) -> Ran:
        """In the repository, or in a folder that has these `links`, as a new work tree would. Where they lead
        makes no difference to a sandbox that refuses what may be changed.
        """
        if links is None:
            return self._ask(argv, SANDBOX_S, self._root)
        try:
            with scratch(self._env) as folder:
                for name in links:
                    os.symlink("nowhere", f"{folder}/{name}")
                return self._ask(argv, SANDBOX_S, folder)
        except RunnerError as error:
            return Ran(None, "", "", f"cannot be tried: {error.message}")

    def shell(self, program: Program) -> Examined:
        """What the commands of the agent find of that which PATH declares."""
        key = self._runtime.shell_key
        if key is None:
            said = f"whether {self._runtime.title} uses a login shell is not known"
            return self._check("shell", Fitness.SKIP, said)
        child = {**self._env, "PATH": programs.search_path(self._env, probe.path_additions(program))}
        written = (self._root, *(folder for use in self._uses for folder in use.sandbox.writable))
        verify = [argv for use in self._uses for argv in use.verify]
        found = loginshell.compare(child, verify, written, fresh=True)
        lost, own = ", ".join(found.lost), self._settings.config.get(key)
        setting = f"set `{key} = false` in [runtimes.{self._runtime.name}.config]"
        if own is False:
            return self._check("shell", Fitness.OK, f"`{key} = false` is set: commands get no login shell")
        if found.unknown is not None:
            return self._check("shell", Fitness.UNKNOWN, found.unknown, f"{setting} to keep PATH as it is")
        if not lost:
            return self._check("shell", Fitness.OK, "a login shell finds what the tasks need")
        is_own = not self._settings.isolated and loginshell.is_decided(self._runtime, self._env)
        if own is not None or is_own:
            said = f"its settings ask for a login shell, which loses {lost}"
            return self._check("shell", Fitness.WARN, said, setting)
        said = f"a login shell would lose {lost}: commands get none (`{key} = false`)"
        return self._check("shell", Fitness.OK, said)

    def _own_login(self, program: Program) -> Examined:
        argv = self._runtime.login_check(program)
        if argv is None:
            why, repair = "this program has no such check; a run shows it", None
            if self._runtime.own_home:
                why = "a run has a home of its own, without a login that is kept in yours; a run shows it"
                repair = self._runtime.login_hint
            return self._check("login", Fitness.UNKNOWN, why, repair)
        said = self._ask(argv, LOGIN_S)
        if said.exit_code == 0:
            return self._check("login", Fitness.OK, "logged in")
        if said.why is not None:
            return self._check("login", Fitness.UNKNOWN, f"`{shlex.join(argv)}` {said.why}")
        # It looks at its own login alone, whatever its config or the environment says.
        passed = [name for name in self._runtime.key_env if self._passed(name)]
        if passed:
            said_so = f"{passed[0]} is passed on; only a run shows whether it is valid"
            return self._check("login", Fitness.OK, said_so)
        if self._own_provider():
            return self._check("login", Fitness.UNKNOWN, "not logged in, but its own config names a provider")
        repair = f"{self._runtime.login_hint}; or `runner start TASK --rehearse`, which needs none"
        return self._check("login", Fitness.FAIL, "not logged in", repair)

    def _own_provider(self) -> bool:
        path, key = self._runtime.own_config(self._env), self._runtime.provider_key
        try:
            return path is not None and key is not None and key in tomllib.loads(_text(path))
        except (OSError, ValueError):
            return False

    def _passed(self, name: str) -> bool:
        """Whether the variable is set and would reach the program: `env` is what may."""
        return bool(self._env.get(name, "").strip()) and passes(self._settings.env, name)

    def _no_key(self, task: str, provider: str | None, name: str) -> Examined:
        listing = f"name it in `env` of [runtimes.{self._runtime.name}]"
        if self._env.get(name, "").strip():
            wrong, repair = "which is set but not passed on", listing
        else:
            wrong, repair = "which is not set", self._runtime.login_hint
            if name not in repair:
                repair = f"set {name} and {listing}; or {repair}"
            if self._runtime.rehearses:
                repair += "; or `runner start TASK --rehearse`, which needs none"
        message = f"{task}: provider `{provider}` needs {name}, {wrong}"
        return self._check("login", Fitness.FAIL, message, repair)

    def _stored(self, use: Use) -> bool:
        """Whether the program keeps a key itself. Its value is looked at for being there only."""
        stored = self._runtime.stored_key(self._settings, use.model, self._env)
        if stored is None:
            return False
        try:
            data: object = json.loads(_text(stored.file))
        except (OSError, ValueError):
            return False
        return any(_follow(data, way) for way in stored.ways)

    def _ask(self, argv: Sequence[str], limit: float, cwd: str = "/") -> Ran:
        seconds = min(limit, self._deadline - monotonic())
        if seconds <= 0:
            return Ran(None, "", "", "skipped: other checks took too long")
        env = probe.minimal_env(self._env, self._runtime.name)
        return run(argv, env, seconds=round(seconds, 1), cwd=cwd)

    def _check(self, part: str, verdict: Fitness, message: str, repair: str | None = None) -> Examined:
        return Examined(f"{self._runtime.name}.{part}", verdict, message, repair)


def _follow(data: object, way: Sequence[str]) -> object:
    for key in way:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")
