"""Who is calling, and what the caller may touch. Edge: disk, reading.

The caller is fixed when the server is launched, never by an argument: with a manifest it is that run, which
may act on itself and on its descendants and may ask its parent; without one it is the repository's owner.
A path is checked before anything is read through it.
"""

from __future__ import annotations

import os

from runner.errors import Conflict, RunnerError, RunNotFound, UsageError
from runner.resolve.delegation import MODES, tools_of
from runner.state.authentic import refuse_foreign
from runner.state.lineage import is_below
from runner.state.store import RunDir
from runner.usecases.find import by_manifest_path
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class NotYours(RunnerError):
    code = "not_yours"
    exit_status = UsageError.exit_status
    default_hint = "a run may act on itself and on runs that it started, and ask its parent"


class NoCaller(RunnerError):
    code = "no_caller"
    exit_status = UsageError.exit_status
    default_hint = "only a run can ask: start the server with --manifest"


class RunOver(Conflict):
    code = "run_over"
    default_hint = "`delegate.spawn` starts another one; with open=true it stays for your messages"


class Caller(Value):
    """`run` None is the owner. `tools` are the MCP tools that this server offers."""

    repo: str
    run: RunDir | None
    tools: tuple[str, ...]
    config_file: str | None = None
    """The delegate.toml that runs of an owner are started with, where it is not the nearest one."""
    session: Mapping[str, str] = {}
    """The session of a host in which an owner's call is made, as variables."""

    @property
    def name(self) -> str:
        """How the caller stands in events: a run by its id."""
        return "owner" if self.run is None else f"run {self.run.run_id}"

    def is_self(self, run: RunDir) -> bool:
        return self.run is not None and self.run.path == run.path

    def own_or_below(self, path: str) -> RunDir:
        """A run that the caller may look at, pause or cancel. RunNotFound or NotYours."""
        run = by_manifest_path(self.repo, path)
        if self.run is not None and not is_below(run, self.run):
            raise NotYours(f"`{path[:200]}` is neither this run nor one that it started")
        return run

    def below(self, path: str) -> RunDir:
        """A run whose questions the caller may answer, and to whose agent it may speak: not its own."""
        run = self.own_or_below(path)
        if self.is_self(run):
            raise NotYours("a run neither answers its own questions nor speaks to its own agent")
        return run

    def parent_for_spawn(self, path: str | None) -> RunDir | None:
        """Whose child a spawned run is: the caller's, or for the owner the named one's, if any."""
        if self.run is None:
            return None if path is None else by_manifest_path(self.repo, path)
        if path is not None and not self.is_self(by_manifest_path(self.repo, path)):
            raise NotYours("a run starts children of its own only")
        return self.run

    def words_for_start(self, parent: RunDir | None) -> tuple[str, ...]:
        """Of `runner start`: a child has the settings of its parent, a run of the owner those of now."""
        if parent is not None:
            return ("--parent", parent.manifest)
        return () if self.config_file is None else ("--config", self.config_file)

    def asked(self, path: str) -> tuple[RunDir, RunDir | None]:
        """(the run that asks, whom it asks); None is its owner. The path must name exactly that one."""
        if self.run is None:
            raise NoCaller("the owner of a repository has no one to ask")
        target = by_manifest_path(self.repo, path)
        parent = self.run.read_manifest().parent
        wanted = self.run if parent is None else RunDir.of(self.repo, parent)
        if target.path != wanted.path:
            whom = "its parent" if parent is not None else "its owner, through its own manifest"
            raise NotYours(f"this run asks {whom}")
        return self.run, None if parent is None else wanted


def speaker(run: RunDir, inside: Iterable[str]) -> str:
    """As whom a process speaks to the agent of `run` that was started inside the runs with these manifests,
    the nearest first: NotYours unless each of them could.
    """
    name = None
    for manifest in inside:
        try:
            who = Caller(run.repo, by_manifest_path(run.repo, manifest), ())
            who.below(run.manifest)
        except RunnerError as error:
            raise NotYours(f"this is inside the run of {manifest[:200]}: {error.message}") from None
        name = name or who.name
    return name or "user"


def caller(repo: str, manifest: str | None, mode: str, config_file: str | None = None) -> Caller:
    """The caller of a server that is started now. UsageError or RunNotFound for wrong arguments."""
    if mode not in MODES:
        raise UsageError(f"unknown mode `{mode}`", hint=f"one of: {', '.join(MODES)}")
    root = os.path.abspath(repo)
    if not os.path.isdir(root):
        raise UsageError(f"no folder {root}")
    words: tuple[str, ...] = MODES[mode]
    if manifest is None:
        return Caller(root, None, tools_of(words), config_file)
    run = by_manifest_path(root, manifest)
    refuse_foreign(run)
    declared = run.read_manifest().delegation
    if not declared.enabled:
        raise RunNotFound(f"run `{run.run_id}` has no delegation", hint="set `delegation = true` in its task")
    offered = tools_of(word for word in words if word in declared.tools)
    return Caller(root, run, offered)
