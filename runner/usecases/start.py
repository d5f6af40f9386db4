"""USE CASES that begin work: resolve and start. They need the config; operating a run does not.

`resolve` touches nothing. `start` writes the run's folder, then hands over to the run's own process.
"""

from __future__ import annotations

import os

from runner import runtimes
from runner.disk import git_env, home, interpreter, programs
from runner.disk.files import replace_json, unwritable, write_new
from runner.errors import (
    CheckMissing,
    ConfigInvalid,
    PromptInvalid,
    RunnerError,
    StartFailed,
    SupervisorFailed,
    Unwritable,
)
from runner.invocation import RESULT_FORMS, Invocation, Request
from runner.model import Config, Level, Lineage, Program, RuntimeSettings
from runner.resolve.choose import Choice, choose, find_task
from runner.resolve.invocation import Again, Found, composition, invocation
from runner.resolve.reach import is_inside
from runner.runtimes import loginshell, probe
from runner.state.authentic import next_run_id, own_invocation, refuse_place, write_record
from runner.state.manifest import Manifest, first
from runner.state.store import RunDir, new_run_id
from runner.supervise.begin import begin
from runner.usecases import git_owner, host_session, login, rehearsing
from runner.usecases.trust import VARIABLE, program_is_trusted
from runner.usecases.workplace import Workplace, planned, reserve
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from runner.model import Task
    from runner.resolve.handed import Handed
    from runner.runtimes.base import Runtime
    from runner.usecases.protection import Protection

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_MAIN = os.path.join(_PACKAGE, "__main__.py")
_OWN_ENV = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", VARIABLE)


class Beside(Value):
    """What a run's folder gets besides its invocation: the prompt of the command line as it came, and the
    settings, where runs may be started below it. `runtime` are the settings of its program.
    """

    asked: str | None = None
    config: Config | None = None
    runtime: RuntimeSettings | None = None
    listener: socket.socket | None = None
    """Where its scripted model is to listen."""


def resolve(config: Config, request: Request, env: Mapping[str, str]) -> Invocation:
    """What `start` would execute now, under a run id of its own. Touches nothing, and starts no program that
    settings name which nobody trusts.

    A rehearsal's port is chosen when the run starts: here it is 0.
    """
    return examined(config, request, env)[0]


def examined(config: Config, request: Request, env: Mapping[str, str]) -> tuple[Invocation, dict[str, Any]]:
    """As `resolve`, and what its prompt is made of."""
    choice, parent = _choose(config, request)
    run_id = new_run_id()
    cwd = planned(config.root, choice, run_id, env)
    asks = program_is_trusted(config, choice.runtime, env)
    found = _find(choice, env, run_id=run_id, cwd=cwd, parent=parent, asks=asks)
    resolved = invocation(choice, _fenced(choice, found, env)[0])
    return resolved, composition(choice, found, resolved.prompt)


def start(
    config: Config,
    request: Request,
    env: Mapping[str, str],
    again: Again | None = None,
    *,
    watch: Callable[[str | None], object] | None = None,
) -> Manifest:
    """Starts a background run; returns once its child exists. `watch` gets what may take long (`Workplace`).

    Raises with nothing left behind where no child can come to be: usage and config errors, RuntimeMissing,
    RuntimeWrong, CutOff, Unwritable; StartFailed where the folder tells more.
    """
    choice, parent = _choose(config, request)
    if choice.executor is not None:
        from runner.usecases import placing  # most runs live here

        placing.refuse_impossible(choice, parent)
    login.refuse_cut_off()
    listener = rehearsing.listen() if choice.rehearses else None
    port = 0 if listener is None else int(listener.getsockname()[1])
    run_id = request.run_id or next_run_id(config.root)
    cwd = planned(config.root, choice, run_id, env)
    found = _find(choice, env, run_id=run_id, cwd=cwd, parent=parent, port=port).replace(again=again)
    if parent is None:
        login.refuse_without(choice, found.program, env)
    found, guarded = _fenced(choice, found, env)
    if choice.sandbox.level is Level.WORKSPACE_WRITE:
        from runner.usecases import linked  # a reader needs none

        linked.refuse_where_none_runs(choice, found.program, found.fence, env)
    resolved = invocation(choice, found)
    above = None if parent is None else parent.run_id
    place = reserve(config.root, choice, run_id, env, above, base=request.base)
    try:
        if place.cwd != cwd:  # the tree is taken, and this run gets one of its own
            found, guarded = _fenced(choice, found.replace(cwd=place.cwd), env)
            resolved = invocation(choice, found)
        place.protection = guarded
        place.records_git = resolved.reaches_git_of_others
        if watch is not None:
            place.watch = watch
        kept = config if resolved.delegation.enabled else None
        beside = Beside(request.prompt, kept, choice.settings, listener)
        return _start_below(parent, resolved, env, place, beside)
    finally:
        place.leave()


def start_plan(resolved: Invocation, env: Mapping[str, str], place: Workplace) -> Manifest:
    """Starts the conductor of a plan; `place` prepares what it is to find in the run's folder."""
    login.refuse_cut_off()
    run = RunDir.of(resolved.repo, resolved)
    return _start(run, resolved, env, place, Beside())


def _start_below(
    parent: Invocation | None, resolved: Invocation, env: Mapping[str, str], place: Workplace, beside: Beside
) -> Manifest:
    run = RunDir.of(resolved.repo, resolved)
    if parent is None:
        return _start(run, resolved, env, place, beside)
    from runner.state.lineage import as_child
    from runner.usecases import look  # only a start with a parent pays for it

    above = RunDir.of(parent.repo, parent)
    # A parent that has ended unseen has no more children, and a child that has takes no place.
    look.look(above)
    look.below(above)
    with as_child(run, parent):
        return _start(run, resolved, env, place, beside)


def _start(
    run: RunDir, resolved: Invocation, env: Mapping[str, str], place: Workplace, beside: Beside
) -> Manifest:
    manifest, lock_fd = _made(run, resolved, place)
    try:
        place.protect(resolved.home)
        manifest = _written(run, manifest, resolved, env, beside)
        # The child does not wait for the disk; the command does, in `begin`.
        replace_json(run.manifest, manifest.to_json(), durable=False)
        place.prepare(run)  # last: who is killed over it leaves a run that can be found, and ended
        if resolved.parent is not None and beside.runtime is not None and resolved.cwd != resolved.repo:
            _refuse_rewritten(resolved.repo, resolved.parent, beside.runtime, resolved.cwd)
        _take(run, resolved)
    except BaseException as error:
        place.undo(run)
        run.discard()
        os.close(lock_fd)
        if isinstance(error, OSError):
            raise unwritable(error) from error
        raise
    child_env = {name: env[name] for name in resolved.env_names} | dict(resolved.env_set)
    listener_fd = None if beside.listener is None else beside.listener.detach()
    before = (*resolved.prepare, *(resolved.verify if resolved.baseline else ()))
    try:
        try:
            if resolved.executor is not None:
                from runner.usecases import placing

                if placing.is_placed(resolved):
                    return placing.submit(run, resolved, lock_fd, listener_fd)
            if before:
                place.watch("running, before the agent: " + "; ".join(" ".join(argv) for argv in before))
            begin(run, manifest, resolved, child_env, lock_fd, listener_fd, place.lease_fd)
        except RunnerError as error:
            return _given_up(run, resolved, place, error)
        finally:
            place.watch(None)
        return run.read_manifest()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"`runner cancel {run.run_id}` ends the run that was begun") from None


def _written(
    run: RunDir, manifest: Manifest, resolved: Invocation, env: Mapping[str, str], beside: Beside
) -> Manifest:
    """Writes what there is besides the manifest, which is not written yet."""
    write_new(run.prompt, resolved.prompt.encode())
    if resolved.fresh_prompt is not None:
        write_new(run.task, resolved.fresh_prompt.encode())
    if beside.asked is not None:
        write_new(run.asked, beside.asked.encode())
    if beside.config is not None:
        from runner.usecases.frozen import freeze  # only who may start runs pays for it

        freeze(run, beside.config)
    if (form := RESULT_FORMS.get(resolved.terms.output_contract or "")) is not None:
        write_new(run.result_schema, _result_schema(form))
    _write_invocation(run, resolved, env)
    if resolved.executor is None:
        return manifest
    from runner.usecases import placing

    return placing.prepare(run, manifest, resolved, env)


def _made(run: RunDir, resolved: Invocation, place: Workplace) -> tuple[Manifest, int]:
    """The first manifest, not written yet, and the lock of the folder that was made."""
    manifest = first(resolved, run.artifacts).replace(**place.manifest_fields(run))
    refuse_place(run)
    return manifest, run.create()


def _handed(choice: Choice) -> Handed | None:
    if choice.request.ledger is None:
        return None
    from runner.usecases import receivers  # most runs share no ledger

    return receivers.handed(choice)


def _take(run: RunDir, resolved: Invocation) -> None:
    if resolved.has_handoff:
        from runner.usecases import receivers  # most runs begin for no handoff

        receivers.take(run, resolved)


def _given_up(run: RunDir, resolved: Invocation, place: Workplace, error: RunnerError) -> Manifest:
    """Takes back what was made for a run that never came to be, and raises. Where its first owner was killed
    over its start, it may have got another one all the same.
    """
    from runner.usecases.accept import undisturbed
    from runner.usecases.look import look

    if not isinstance(error, SupervisorFailed):
        if resolved.has_handoff:
            from runner.usecases import receivers

            receivers.left(run, resolved, error)
        with undisturbed(run):
            place.undo(run)
        if not isinstance(error, StartFailed):  # refused before there was an owner to write an end
            run.discard()
        raise error
    manifest = look(run)
    if not manifest.is_done:
        return manifest
    if manifest.never_started:
        with undisturbed(run):
            place.undo(run)
    why = "" if manifest.reason is None else f": {manifest.reason.message}"
    raise StartFailed(f"{error.message}{why}", hint=error.hint) from error


def _write_invocation(run: RunDir, resolved: Invocation, env: Mapping[str, str]) -> None:
    """With a MAC. A run that only reads starts also where no key can be kept: its own supervisor ends it, but
    nobody can take it over.
    """
    told = resolved.to_json()
    try:
        home.refuse_inside(home.state(env), resolved.repo, "the key of the records")
        write_record(run.invocation, told, durable=False)
    except Unwritable:
        if resolved.sandbox.level is not Level.READ_ONLY:
            raise
        replace_json(run.invocation, told, durable=False)


def _schema_text(choice: Choice, runtime: Runtime) -> str | None:
    form = RESULT_FORMS.get(choice.task.output_contract or "")
    return _result_schema(form).decode() if form is not None and runtime.schema_is_text else None


def _result_schema(form: str) -> bytes:
    from runner.config.find import shipped  # only a run that is asked for a result pays for it

    with open(os.path.join(shipped("schemas"), f"{form}.schema.json"), "rb") as file:
        return file.read()


def _choose(config: Config, request: Request) -> tuple[Choice, Invocation | None]:
    """The settings that are meant, and the invocation of the run that starts this one, if there is one."""
    if request.map == "" and not find_task(config, request.task_id).map:
        from runner.usecases import material

        request = request.replace(map=material.find_map(config.root))
    if request.parent is None:
        return choose(config, request), None
    from runner.resolve import delegation  # only a start with a parent pays for it
    from runner.usecases.find import by_manifest_path

    parent = own_invocation(by_manifest_path(config.root, request.parent))
    delegation.refuse_too_deep(parent)
    if parent.rehearsal is not None:
        request = request.replace(rehearse=True)
    choice = delegation.beside_parent(choose(config, request), parent)
    _refuse_rewritten(config.root, parent, choice.settings, config.root)
    return choice, parent


def _refuse_rewritten(
    root: str, parent: Invocation | Lineage, settings: RuntimeSettings, folder: str
) -> None:
    from runner.usecases.frozen import refuse_rewritten  # only a start with a parent pays for it

    refuse_rewritten(RunDir.of(root, parent), settings, root, folder)


def _find(
    choice: Choice,
    env: Mapping[str, str],
    *,
    run_id: str,
    cwd: str,
    parent: Invocation | None = None,
    port: int = 0,
    asks: bool = True,
) -> Found:
    """Looks for everything that the invocation needs. RuntimeMissing, RuntimeWrong, PromptInvalid, or
    ConfigInvalid for a rehearsal script or a missing registration.
    """
    config, request = choice.config, choice.request
    _refuse_links(choice)
    runtime = runtimes.get(choice.runtime)
    program = (probe.find if asks else probe.unasked)(runtime, choice.settings, env, config.root)
    if program.was_asked and choice.task.delegation and config.delegation.server == "registered":
        _refuse_unregistered(runtime, program, env)
    path = programs.search_path(env, probe.path_additions(program))
    refuse_absent((*choice.task.verify, *choice.task.prepare), {"PATH": path}, config.root)
    rehearsal, overrides, rehearsal_env = rehearsing.rehearsal(choice, port, env)
    return Found(
        run_id=run_id,
        cwd=cwd,
        program=program,
        text=own_text(config, choice.task) if request.prompt is None else request.prompt,
        **_of_files(choice),
        env_names=tuple(env),
        env_set={**git_env.passed_on(env), **rehearsal_env, **_path(program, env)},
        server_argv=_server_argv(config),
        server_env={name: env[name] for name in _OWN_ENV if name in env} | git_env.passed_on(env),
        rehearsal=rehearsal,
        overrides=overrides,
        schema_text=_schema_text(choice, runtime),
        login_shell_loses=_login_shell_loses(choice, runtime, program, env),
        **_kept_in_view(choice, program, env),
        parent=parent,
        handed=_handed(choice),
        tied_to=request.tied_to,
        **host_session.started_in(env, config.root, parent),
        sessions_home=runtime.sessions_home and home.of_program(env, *runtime.sessions_home),
        notify=host_session.waking(programs.placed(config.notify, env), env, config.root),
    )


def refuse_absent(
    checks: Iterable[Sequence[str]], env: Mapping[str, str], root: str, whose: str = "the task"
) -> None:
    """CheckMissing where a check could not be run: before an agent is paid for what nothing will confirm."""
    for argv in checks:
        if (name := programs.absent(argv, env, root)) is not None:
            raise CheckMissing(f"`{name}`, the program of a command of {whose}, was not found")


def _login_shell_loses(
    choice: Choice, runtime: Runtime, program: Program, env: Mapping[str, str]
) -> tuple[str, ...]:
    """What speaks against a login shell; nothing where the settings say which shell it is to be."""
    if runtime.shell_key is None or runtime.shell_key in choice.settings.config:
        return ()
    child = {**env, "PATH": programs.search_path(env, probe.path_additions(program))}
    written = (choice.config.root, *choice.sandbox.writable)
    lost = loginshell.compare(child, choice.task.verify, written).lost
    is_decided = not choice.settings.isolated and lost and loginshell.is_decided(runtime, env)
    return () if is_decided else lost


def _refuse_links(choice: Choice) -> None:
    """ConfigInvalid for a `writable` folder in the repository that is a link to elsewhere: whoever writes
    in the repository could let it name anything.
    """
    root = choice.config.root
    for path in choice.sandbox.writable:
        if path.startswith(f"{root}/") and not is_inside(os.path.realpath(path), os.path.realpath(root)):
            raise ConfigInvalid(
                f"`writable` of sandbox `{choice.sandbox.name}` names {path}, which is a link to "
                f"{os.path.realpath(path)}",
                hint="name the folder itself",
            )


def _kept_in_view(choice: Choice, program: Program, env: Mapping[str, str]) -> dict[str, Any]:
    """What an agent that may write could change, as it is before."""
    if choice.sandbox.level is Level.READ_ONLY:
        return {}
    from runner.usecases.watched import started, watched  # a reader changes nothing

    child = {"PATH": programs.search_path(env, probe.path_additions(program))}
    return {
        "watched": watched(choice),
        "program_stamp": programs.stamp(program.path, env),
        "started": started(choice.settings, choice.config.root),
        "verify_programs": tuple(programs.on_path(argv[0], child) for argv in choice.task.verify),
    }


def _fenced(choice: Choice, found: Found, env: Mapping[str, str]) -> tuple[Found, Protection | None]:
    """With what keeps the agent from what runner obeys: nothing does from one that may write everywhere."""
    runtime, sandbox, guarded = runtimes.get(choice.runtime), choice.sandbox, None
    if sandbox.level is Level.WORKSPACE_WRITE or sandbox.deny_read or runtime.own_home:
        from runner.usecases.protection import noticing, protection  # a reader needs none

        guarded = protection(choice.config.root, sandbox, runtime, found, env)
        kept = noticing(found.notify, choice.config.root, found.cwd, sandbox, runtime, env)
        found = found.replace(fence=guarded.fence, notify=kept)
    return git_owner.told(choice, found, guarded, env), guarded


def _server_argv(config: Config) -> tuple[str, ...]:
    """The delegation server's program: by its path, so that it needs neither PATH nor an activated venv."""
    return interpreter.command(_MAIN, "delegate-server", "--repo", config.root)


def _refuse_unregistered(runtime: Runtime, program: Program, env: Mapping[str, str]) -> None:
    """With `server = "registered"` the program refuses to start where no such server is registered."""
    argv = runtime.mcp_check(program)
    if argv is not None and not probe.succeeds(argv, env, runtime.name):
        raise ConfigInvalid(
            f"no MCP server `delegation` is registered with {runtime.title}",
            hint=f'`runner delegate-server --register {runtime.name}`, or server = "inline" in [delegation]',
        )


def _path(program: Program, env: Mapping[str, str]) -> dict[str, str]:
    """PATH, where the child gets another than ours: without relative entries, and at its end what the program
    brings along for itself (the PyPI package: ripgrep).
    """
    path = programs.search_path(env, probe.path_additions(program))
    return {"PATH": path} if path != env.get("PATH") else {}


def own_text(config: Config, task: Task) -> str:
    """The prompt of the task itself; PromptInvalid where it has none, or none that can be read."""
    if task.prompt is not None:
        return task.prompt
    if task.prompt_file is None:
        raise PromptInvalid(f"task `{task.id}` has no prompt of its own")
    from runner.usecases import material  # most prompts stand in the settings

    inside, denied = material.within(config, task.id, "prompt_file"), config.sandboxes[task.sandbox].deny_read
    return material.text(os.path.join(config.root, task.prompt_file), inside=inside, denied=denied)


def _of_files(choice: Choice) -> dict[str, Any]:
    if not (choice.map_path or choice.task.paste or choice.request.files):
        return {}
    from runner.usecases import material

    return material.found(choice)
