"""What an agent must not change while runner depends on it, and how that is kept from it. Edge: the disk.

`resolve.reach` decides; here is what there is on this machine, and what has to be made for it.
"""

from __future__ import annotations

import os
import sys
from itertools import product

from runner.config.scripts import scripts_of
from runner.disk import git_env, home, interpreter, programs
from runner.disk.files import links
from runner.disk.programs import other_names
from runner.disk.upwards import git_root
from runner.errors import ConfigInvalid, InReach, RunnerError
from runner.model import Level, Notify
from runner.resolve.reach import Obeyed, Shield, is_inside, roots, shield
from runner.runtimes.base import Fence
from runner.state import temp
from runner.state.guard import guard_of, make_guard
from runner.state.store import RUNS
from runner.workspace import inner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from runner.model import Config, Sandbox
    from runner.resolve.invocation import Found
    from runner.runtimes.base import Runtime

_STARTED = ("git", "bwrap")
"""Programs that runner or the agent's program starts by their names, outside of the sandbox."""
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Protection:
    """Of one run. `fence` is what its program is told; `make` does what the disk needs for that."""

    def __init__(self, needed: Shield, fence: Fence, obeyed: tuple[str, ...], made: tuple[str, ...]) -> None:
        self.shield = needed
        self.fence = fence
        self._made = made
        self._obeyed = obeyed

    def make(self, home: Mapping[str, str] = {}) -> None:
        """Before the program starts. Unwritable if anything would stay without protection."""
        for guard, one in zip(self.fence.guards, self.shield.read_only, strict=True):
            make_guard(guard, one.path, self._made, is_file=one.is_file)
        if self.fence.temp is not None:
            from runner.disk.files import create, private_folder, unwritable

            folder, name = os.path.split(self.fence.temp)
            top, below = os.path.split(folder)
            try:
                private_folder(top, below, name)
                for own in (*self._made, ".git", *filter(None, map(os.path.dirname, home))):
                    private_folder(self.fence.temp, own)
                for path, text in home.items():
                    create(f"{self.fence.temp}/{path}", text.encode())
            except OSError as error:
                raise unwritable(error) from error

    def refuse_obeyed(self) -> None:
        """ConfigInvalid where the program would obey what nobody was asked about. Looked at in the work tree
        itself, once it is there.
        """
        refuse_obeyed(self._obeyed)

    def undo(self) -> None:
        """Of a run that never came to be."""
        if self.fence.temp is not None:
            temp.remove(self.fence.temp)


def protection(
    repo: str, sandbox: Sandbox, runtime: Runtime, found: Found, env: Mapping[str, str]
) -> Protection:
    """What a run needs that was found so. InReach where something would stay open to its agent."""
    seen = look(repo, found.cwd, sandbox, runtime, found.program.path, env, found.notify)
    refuse_exposed(seen, runtime)
    guards = tuple(guard_of(one.path, repo, env) for one in seen.read_only)
    if sandbox.level is Level.WORKSPACE_WRITE:
        _refuse_home(found.cwd, home.find(env))
    needs_temp = seen.own_temp or bool(runtime.own_home)
    own = f"{home.state(env)}/{temp.NAME}/{found.run_id}" if needs_temp else None
    held = (one.path for one in (*seen.read_only, *seen.in_temp))
    kept = dict.fromkeys((*held, *inner.folders(repo), *_home(runtime.own_config(env))))
    obeyed = runtime.obeyed(os.path.realpath(found.cwd), env)
    unread = _unread(sandbox, found.cwd, (f"{repo}/{RUNS}",))
    return Protection(seen, Fence(seen.held, guards, own, tuple(kept), unread), obeyed, runtime.made_folders)


def _unread(sandbox: Sandbox, cwd: str, more: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What must not be read and is there: what is not has nothing to tell. Not what is inside of another one,
    unless a folder that may be written opens that again between both: no sandbox could name both. `more` is
    made before the agent begins.
    """
    if not sandbox.deny_read:
        return ()
    named = filter(os.path.exists, map(os.path.realpath, sandbox.deny_read))
    there = sorted({*named, *map(os.path.realpath, more)})
    opened = [os.path.realpath(root) for root in roots(sandbox, cwd, ())]
    kept: list[str] = []
    for path in there:
        near = max((one for one in (*kept, *opened) if is_inside(path, one)), key=len, default=None)
        if near not in kept:
            kept.append(path)
    return tuple(kept)


def _home(config: str | None) -> tuple[str, ...]:
    """Where a program may let its agent write, as Claude Code does memories for sessions of the user."""
    folder = os.path.dirname(config or "")
    return (folder, os.path.realpath(folder)) if os.path.isabs(folder) else ()


def _refuse_home(cwd: str, user: str | None) -> None:
    """Agents' programs start a login shell outside of the sandbox, also in a further attempt."""
    if user is not None and is_inside(os.path.realpath(user), os.path.realpath(cwd)):
        raise InReach(
            f"the agent could change what your shell starts with, as {user} lies in the folder of the run",
            hint='set workspace = "worktree" in the task, or `cwd` to a folder below',
        )


def reaches_git(
    repo: str, sandbox: Sandbox, runtime: Runtime, cwd: str, made: Protection | None, env: Mapping[str, str]
) -> bool:
    """Whether such a run could write what git holds of the repository besides files. Of one that is told to
    read only, nothing says that it could.
    """
    if sandbox.level is not Level.WORKSPACE_WRITE or not runtime.has_sandbox:
        return sandbox.level is not Level.READ_ONLY
    fence, top = Fence() if made is None else made.fence, git_root(os.path.realpath(repo))
    places = [os.path.realpath(path) for path in roots(sandbox, cwd, () if fence.temp else _temps(env))]
    kept = [os.path.join(place, ".git") for place in places] if runtime.guards else []
    kept += [one.path for one in made.shield.read_only] if made is not None and runtime.guards else []
    kept += fence.read_only if runtime.told_read_only else ()
    pairs = product(() if top is None else inner.folders(top), places)
    shared = [max(pair, key=len) for pair in pairs if any(map(is_inside, pair, reversed(pair)))]  # the inner
    return any(not any(is_inside(path, one) for one in kept) for path in shared)


def look(
    repo: str,
    cwd: str,
    sandbox: Sandbox,
    runtime: Runtime,
    program: str,
    env: Mapping[str, str],
    notify: Notify | None = None,
) -> Shield:
    """What is in reach of an agent with this sandbox, and what can be done about it."""
    real = sandbox.replace(writable=tuple(map(os.path.realpath, sandbox.writable)))
    cwd = os.path.realpath(cwd)
    obeyed = (
        # In what the agent may write, it could be moved to where the next command reads it.
        *(
            Obeyed("what it must not read", path, (), not os.path.isdir(path))
            for path in _unread(sandbox, cwd)
        ),
        *_obeyed(repo, (cwd, *real.writable), runtime, program, env),
        *_noticing(repo, (cwd, *real.writable), notify or Notify()),
    )
    return shield(real, cwd, _temps(env), obeyed)


def seen(config: Config, runtime: Runtime, sandbox: Sandbox, cwd: str, env: Mapping[str, str]) -> Shield:
    """As `look`, for a run that only may come. InReach, RuntimeMissing."""
    from runner.runtimes.locate import locate

    known = config.runtimes.get(runtime.name) or runtime.defaults()
    program = locate(runtime, known, env, config.root)[0]
    found = look(config.root, cwd, sandbox, runtime, program, env)
    refuse_exposed(found, runtime)
    return found


def fence_of(
    config: Config, runtime: Runtime, sandbox: Sandbox, env: Mapping[str, str], *, is_apart: bool
) -> Fence:
    """As `seen`, for a trial of the sandbox: what does not stand yet is not in it."""
    bare = Fence(unread=_unread(sandbox, config.root))
    if sandbox.level is not Level.WORKSPACE_WRITE:
        return bare
    try:
        found = seen(config, runtime, sandbox, "/nowhere" if is_apart else config.root, env)
    except RunnerError:  # its own check says so
        return bare
    held = tuple(filter(os.path.isdir, found.held))
    return bare.replace(held=held, temp=home.state(env) if found.own_temp else None)


def refuse_obeyed(paths: Iterable[str]) -> None:
    """ConfigInvalid for the first of these that is there."""
    for path in filter(os.path.lexists, paths):
        raise ConfigInvalid(
            f"the agent's program would obey {path}, which may start programs and set variables",
            hint="move it away: what a run needs of it belongs into `config`, and keys into variables that "
            "`env` names",
        )


def refuse_exposed(found: Shield, runtime: Runtime) -> None:
    """InReach, with what to change."""
    exposed = found.exposed if runtime.guards else (*found.exposed, *found.read_only)
    if not exposed:
        return
    one = exposed[0]
    why = _why(one) if runtime.guards else f"{runtime.title} cannot make it read-only"
    raise InReach(
        f"the agent could change {one.what} ({one.path}), and {why}",
        hint='keep that out of the repository and of `writable`, or set workspace = "worktree" in the task',
        problems=tuple(f"{other.what}: {other.path}" for other in exposed) if len(exposed) > 1 else (),
    )


def _why(one: Obeyed) -> str:
    if one.links:
        return f"{one.links[0]} is a link that it could replace"
    return "no guard keeps what `writable` gives, what that lies in, or a name with a blank at its end"


def _temps(env: Mapping[str, str]) -> tuple[str, ...]:
    """Where everybody has temporary files; a sandbox that may write may write there too."""
    named = env.get("TMPDIR", "")
    found = ("/tmp", *((named,) if os.path.isabs(named) else ()))
    return tuple(dict.fromkeys(map(os.path.realpath, found)))


# -- what runner obeys -----------------------------------------------------------------------------------


def _obeyed(
    repo: str, given: Sequence[str], runtime: Runtime, program: str, env: Mapping[str, str]
) -> Iterator[Obeyed]:
    yield _one("the records of runs", os.path.join(repo, RUNS))
    yield from _own_code(given)
    yield _one(f"the program of {runtime.title}", _whole(program))
    yield from _other_names(f"the program of {runtime.title}", program, given)
    yield _one("runner's state", home.state(env))
    yield _one("the settings of the user", home.config(env))
    cache, user = home.cache(env), home.find(env)
    if cache is not None:
        yield _one("runner's cache", cache)
    own = runtime.own_config(env)
    if own is not None and os.path.isabs(own):
        yield _one(f"the folder of {runtime.title}", os.path.dirname(own))
    if user is not None:
        yield _one("the user's settings of git", os.path.join(user, ".gitconfig"), is_file=True)
        config = env.get("XDG_CONFIG_HOME", "")
        config = config if os.path.isabs(config) else os.path.join(user, ".config")
        yield _one("the user's settings of git", os.path.join(config, "git"))
    for name in git_env.FILES:
        if os.path.isabs(env.get(name, "")):
            yield _one("the user's settings of git", env[name], is_file=True)
    yield _one("the policy of this machine", "/etc/runner")
    yield _one("the repository of git", os.path.join(repo, ".git"))
    # The agent's program starts others by their names (git, bwrap, what a shell's profile calls), and not in
    # the sandbox: a `git` in an activated `.venv/bin` would be run by the next attempt.
    for folder in programs.search_path(env).split(os.pathsep):
        yield _one("programs of PATH", folder)
    # A folder on PATH may hold links into the repository, as `npm link` makes them.
    names = dict.fromkeys((*_STARTED, *runtime.helpers))
    for name, path in product(names, (env.get("PATH", ""), programs.work_trees_last(env))):
        if (there := programs.on_path(name, {"PATH": path})) is not None:
            yield _one(f"the program `{name}`", there)
            yield from _other_names(f"the program `{name}`", there, given)


def noticing(
    notify: Notify, repo: str, cwd: str, sandbox: Sandbox, runtime: Runtime, env: Mapping[str, str]
) -> Notify:
    """The commands as a run keeps them. Of one whose program or script is not there and could be made by its
    agent, or come with what it hands in, that name is left, and without its slash it is started by nobody.
    """
    places = roots(sandbox, cwd, _temps(env)) if runtime.has_sandbox else ("/",)
    folders = [os.path.realpath(path) for path in (*places, repo)] if places else []
    gone = {}
    for hook in ("on_end", "on_attention", "on_turn"):
        argv = getattr(notify, hook)
        for name in (argv[0], *scripts_of(argv)) if argv else ():
            if not os.path.isabs(name) or os.path.exists(name):
                continue
            if any(is_inside(os.path.realpath(name), folder) for folder in folders):
                gone[hook] = (name.lstrip("/"),)
    return notify.replace(**gone)


def _noticing(repo: str, given: Sequence[str], notify: Notify) -> Iterator[Obeyed]:
    """The programs and scripts that tell the user; what a program that is not known (`flock`) makes of a file
    may be a script too.
    """
    what = "a program of [notify]"
    for argv in filter(None, (notify.on_end, notify.on_attention, notify.on_turn)):
        files = (word for word in argv[1:] if os.path.isabs(word) and os.path.isfile(word))
        for name in dict.fromkeys((argv[0], *scripts_of(argv), *files)):
            if os.path.exists(path := os.path.join(repo, name)):
                yield _one(what, _whole(path))
                yield from _other_names(what, path, given)


def _other_names(what: str, program: str, given: Sequence[str]) -> Iterator[Obeyed]:
    yield from (_one(what, name, is_file=True) for folder in given for name in other_names(program, folder))


def _own_code(given: Sequence[str]) -> Iterator[Obeyed]:
    """A virtual environment as a whole, unless the agent is to work right in it."""
    found, what = interpreter.environment(), "runner's own code"
    prefix = os.path.realpath(found or sys.prefix)
    is_whole = found is not None and not any(is_inside(folder, prefix) for folder in given)
    if found is not None and is_whole:
        yield _one(what, found)
    else:
        yield _one("runner's Python", sys.executable)
        yield from (_one(what, entry) for entry in sys.path if entry.endswith("-packages"))
        if found is not None:
            yield _one(what, os.path.join(found, "pyvenv.cfg"), is_file=True)
    if not (is_whole and is_inside(_PACKAGE, prefix)):
        yield _one(what, _PACKAGE)
    yield _one("the library of Python", os.path.dirname(os.__file__))
    yield _one("Python", os.path.realpath(sys.executable))


def _whole(program: str) -> str:
    """What has to stay as it is for a program to stay as it is: an installed one is more than its file."""
    parts = program.split("/")
    if "node_modules" in parts:
        return "/".join(parts[: parts.index("node_modules") + 1])
    for name in ("site-packages", "dist-packages"):
        if name in parts[:-2]:
            return "/".join(parts[: parts.index(name) + 2])
    above = os.path.dirname(os.path.dirname(program))
    return above if os.path.exists(f"{above}/pyvenv.cfg") else program


def _one(what: str, path: str, *, is_file: bool = False) -> Obeyed:
    path = os.path.abspath(path)
    real = os.path.realpath(path)
    return Obeyed(what, real, () if real == path else tuple(links(path)), is_file)
