"""Could a run start here? One verdict and one repair per check. Returns values; prints nothing.

Whatever a program does, the examination takes less than half a minute and leaves nothing behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic

from runner.config import policy
from runner.disk import editable, home, programs
from runner.errors import ConfigInvalid, InReach, RunnerError, RuntimeMissing, Unwritable
from runner.model import Config, Level, Sandbox, Task
from runner.resolve.choose import model_of, sandbox_of
from runner.runtimes import get
from runner.runtimes.exam import Examined, Fitness, Use, examine_runtime
from runner.state.guard import guard_of
from runner.usecases import protection, trust
from runner.usecases.workplace import committed_links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.runtimes.base import Runtime

BUDGET_S = 28.0
"""A check that finds the time used up says `unknown`."""
LOW_SPACE = 1 << 30


def examine(
    config: Config,
    runtime_names: Sequence[str] | None,
    env: Mapping[str, str],
    budget_s: float = BUDGET_S,
    invalid: ConfigInvalid | None = None,
) -> tuple[Examined, ...]:
    """All checks, the repository first. Without names: of the runtimes that some task uses.

    With `invalid` the settings are no good, and `config` is what there is without them.
    """
    deadline = monotonic() + budget_s
    uses = _uses(config, env)
    checks = [
        _settings(config, invalid),
        *_trusted(config, env),
        _git(config.root, env),
        _writable(config.root),
        _guardable(config, env),
        _reach(config, env),
        _space(config.root),
        _delegation(config, invalid),
        *_elsewhere(config, env),
        *_job(env),
        *_beside(config, uses, env),
    ]
    for name in sorted(uses) if runtime_names is None else dict.fromkeys(runtime_names):
        if trust.program_is_trusted(config, name, env):
            checks += examine_runtime(config, name, uses.get(name, ()), env, deadline)
        else:
            command = config.runtimes[name].command
            message = f"not started: `{command}` is named by settings that nobody trusts"
            checks.append(Examined(f"{name}.binary", Fitness.UNKNOWN, message, "see `trust` above"))
    return tuple(checks)


def ready(checks: Sequence[Examined]) -> bool:
    """Whether a run could start, as far as anyone can see."""
    return all(check.verdict is not Fitness.FAIL for check in checks)


def _uses(config: Config, env: Mapping[str, str]) -> dict[str, tuple[Use, ...]]:
    found: dict[str, tuple[Use, ...]] = {}
    links = committed_links(config.root) if any(map(_is_apart, config.tasks.values())) else ()
    for task in config.tasks.values():
        model = model_of(config, task.model)
        runtime = (model.runtime if model is not None else None) or task.runtime
        sandbox, is_apart = sandbox_of(config, task.sandbox), _is_apart(task)
        fence = protection.fence_of(config, get(runtime), sandbox, env, is_apart=is_apart)
        seen = links if is_apart else ()
        use = Use(task.id, model, sandbox, task.rehearse, is_apart, seen, fence, task.verify)
        found[runtime] = (*found.get(runtime, ()), use)
    return found


def _is_apart(task: Task) -> bool:
    return task.workspace == "worktree"


def _settings(config: Config, invalid: ConfigInvalid | None) -> Examined:
    if invalid is not None:
        return Examined("config", Fitness.FAIL, invalid.message, invalid.hint)
    against = [
        f"tasks.{task.id}: {sentence}"
        for task in (config.tasks.values() if config.policy.sources else ())
        for sentence in policy.task_breaches(config, task)
    ]
    if against:
        more = f" (and {len(against) - 1} more)" if len(against) > 1 else ""
        return Examined("config", Fitness.FAIL, f"{against[0]}{more}", "`runner check` lists every breach")
    return Examined("config", Fitness.OK, f"valid, tasks: {', '.join(config.tasks) or 'none'}")


def _trusted(config: Config, env: Mapping[str, str]) -> Iterator[Examined]:
    """Whether a start would ask first; nothing where no settings come with the repository."""
    rehearses = all(task.rehearse for task in config.tasks.values())
    found = trust.demanded(config, env, rehearses=rehearses)
    if found.by is None:
        changes = trust.changed(found)
        message = "; ".join(changes) or "what the settings can do is not trusted; a start asks first"
        yield Examined("trust", Fitness.WARN, message, "`runner trust` shows it and asks")
    elif found.file and found.by == "nothing":
        yield Examined("trust", Fitness.OK, "what the settings can do needs no trust")
    elif found.file:
        how = {"folder": "the whole folder is", "variable": f"{trust.VARIABLE} says they are"}
        yield Examined("trust", Fitness.OK, f"{how.get(found.by, 'what the settings can do is')} trusted")


def _git(root: str, env: Mapping[str, str]) -> Examined:
    """As a start asks it."""
    from runner.workspace.repository import find

    loss = "without it the changes of a run are unknown"
    if programs.on_path("git", {"PATH": programs.work_trees_last(env)}) is None:
        return Examined("git", Fitness.WARN, f"there is no git on PATH; {loss}", "install git")
    try:
        found = find(root)
    except RunnerError as error:
        first = error.message.split("\n", 1)[0]
        return Examined("git", Fitness.FAIL, f"{first}; no run that may write can start", error.hint)
    if found is None:
        return Examined("git", Fitness.WARN, f"not a git repository; {loss}", f"run `git init` in {root}")
    return Examined("git", Fitness.OK, f"repository {found.root}")


def _writable(root: str) -> Examined:
    """Makes and removes a file where the runs will be; the folder too if it was not there."""
    folder = os.path.join(root, ".runs")
    made = False
    try:
        if not os.path.isdir(folder):
            os.mkdir(folder, 0o700)
            made = True
        path = os.path.join(folder, f".doctor-{os.getpid()}")
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.unlink(path)
    except OSError as error:
        repair = f"make {folder} writable for you"
        return Examined("runs-folder", Fitness.FAIL, f"{folder}: {error.strerror}", repair)
    finally:
        if made:
            os.rmdir(folder)
    return Examined("runs-folder", Fitness.OK, f"{folder} can be written")


def _guardable(config: Config, env: Mapping[str, str]) -> Examined:
    """Whether there is a place outside of the repository for what a run that may write needs."""
    try:
        folder = os.path.dirname(guard_of(config.root, config.root, env))
        above = folder
        while not os.path.lexists(above):
            above = os.path.dirname(above)
        if os.path.isdir(above) and os.access(above, os.W_OK | os.X_OK):
            return Examined("state-folder", Fitness.OK, f"{folder} can be written")
        message = f"{folder} cannot be written"
        repair = f"make {above} a folder that you may write to, or set XDG_STATE_HOME to another one"
    except Unwritable as error:
        message, repair = error.message, error.hint or ""
    writes = any(
        _is_apart(task) or sandbox_of(config, task.sandbox).level is Level.WORKSPACE_WRITE
        for task in config.tasks.values()
    )
    return Examined("state-folder", Fitness.FAIL if writes else Fitness.WARN, message, repair)


def _reach(config: Config, env: Mapping[str, str]) -> Examined:
    """What agents could change of that which runner executes or obeys, and what is done about it."""
    free = [t.id for t in config.tasks.values() if sandbox_of(config, t.sandbox).level is Level.DANGER]
    kept: dict[str, None] = {}
    for runtime, sandbox, cwd in _writers(config, env):
        try:
            seen = protection.seen(config, runtime, sandbox, cwd, env)
        except InReach as error:
            return Examined("reach", Fitness.FAIL, error.message, error.hint)
        except (RunnerError, RuntimeMissing, Unwritable):
            continue  # their own checks say so
        kept.update((f"{one.path} ({one.what})", None) for one in seen.read_only)
    said = f"read-only for agents: {', '.join(kept)}" if kept else "nothing that runner obeys"
    if free:
        said += f"; everything is in reach of {', '.join(free)}, without a sandbox"
    return Examined("reach", Fitness.OK, said)


def _writers(config: Config, env: Mapping[str, str]) -> Iterator[tuple[Runtime, Sandbox, str]]:
    """The runtime, the sandbox and the folder of every task that may write, once each."""
    found: dict[tuple[str, Sandbox, str], None] = {}
    for name, uses in _uses(config, env).items():
        for use in uses:
            if use.sandbox.level is Level.WORKSPACE_WRITE:
                found[name, use.sandbox, "/nowhere" if use.is_apart else config.root] = None
    return ((get(name), sandbox, cwd) for name, sandbox, cwd in found)


def _elsewhere(config: Config, env: Mapping[str, str]) -> Iterator[Examined]:
    """The first check that would import from another checkout than the one that it is to judge."""
    for task in config.tasks.values():
        is_apart = task.workspace == "worktree"
        if led := editable.first_lead(task.verify, env, config.root, is_apart=is_apart):
            yield Examined("checks", Fitness.WARN, f"tasks.{task.id}: {led}", editable.REPAIR)
            return


def _beside(config: Config, uses: Mapping[str, Sequence[Use]], env: Mapping[str, str]) -> Iterator[Examined]:
    """What a program would obey where it works; of a work tree that is to be made, what lies above it."""
    for name, of in uses.items():
        for is_apart in dict.fromkeys(use.is_apart for use in of):
            try:
                folder = os.path.realpath(home.state(env) if is_apart else config.root)
                protection.refuse_obeyed(get(name).obeyed(folder, env))
            except Unwritable:
                pass  # its own check says so
            except ConfigInvalid as error:
                yield Examined(f"{name}.folder", Fitness.FAIL, error.message, error.hint)
                break


def _job(env: Mapping[str, str]) -> Iterator[Examined]:
    """What outlives the job that this is in: a run has a session of its own, which the end of one misses."""
    if number := env.get("SLURM_JOB_ID"):
        what, repair = f"Slurm job {number}", "`start --tie` ends a run with the shell that starts it"
    elif env.get("CI") == "true":
        what, repair = (
            "a CI job",
            "`start --wait` ends its run with itself, `start --tie` with the step's shell",
        )
    else:
        return
    # Seen of Slurm: proctrack/cgroup ends all that a job has started, proctrack/linuxproc does not.
    yield Examined("job", Fitness.OK, f"in {what}: a run that is not tied may outlive it; {repair}")


def _space(root: str) -> Examined:
    try:
        stat = os.statvfs(root)
    except OSError as error:
        return Examined("disk", Fitness.UNKNOWN, f"{root}: {error.strerror}")
    free = stat.f_bavail * stat.f_frsize
    said = f"{free / (1 << 30):.1f} GiB free in {root}"
    if free < LOW_SPACE:
        return Examined("disk", Fitness.WARN, said, "`runner clean` removes finished runs")
    return Examined("disk", Fitness.OK, said)


def _delegation(config: Config, invalid: ConfigInvalid | None) -> Examined:
    said = "no task turns delegation on"
    if invalid is not None:
        said = "whether a task uses it is unknown without valid settings"
    elif config.delegation.enabled or any(task.delegation for task in config.tasks.values()):
        said = "the server is checked when a run starts"
    return Examined("mcp-server", Fitness.SKIP, said)
