"""USE CASE before a start: reserves, creates or records the work tree of a run that may write. Edges: git,
disk.

A read-only run, or one outside git, needs none of it and pays for none of it.
"""

from __future__ import annotations

import os

from runner.errors import ConfigInvalid, Conflict, RunnerError, WorkspaceBusy
from runner.executors import LOCAL
from runner.model import Level
from runner.state.manifest import Workspace
from runner.state.store import manifest_path_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from runner.invocation import Earlier
    from runner.resolve.choose import Choice
    from runner.state.store import RunDir
    from runner.usecases.protection import Protection
    from runner.workspace.lease import Holder, Lease
    from runner.workspace.repository import Position, Repository


def _unwatched(_: str | None) -> None:
    """For a caller that tells nobody."""


class Workplace:
    """Where a run works. `cwd` is its folder, `lease` its right to write there, if it shares the tree."""

    def __init__(
        self,
        cwd: str,
        repository: Repository | None = None,
        tree: str | None = None,
        lease: Lease | None = None,
        base: str | None = None,
    ) -> None:
        self.cwd = cwd
        self._repository = repository
        self._tree = tree
        self.lease = lease
        self._base = base
        self._position: Position | None = None
        self.unchanged: tuple[str, ...] = ()
        """Globs of what the run has to leave as it is."""
        self.earlier: Earlier | None = None
        """What earlier tries have left in the shared tree."""
        self.watch: Callable[[str | None], object] = _unwatched
        """Gets what `prepare` begins with, in words, and None when that is done: it may take long."""
        self.records_git = False
        """Whether what git holds besides files is compared around the run, too."""
        self.protection: Protection | None = None
        """What keeps the agent from what runner obeys, where it may write."""

    @property
    def lease_fd(self) -> int | None:
        return None if self.lease is None else self.lease.fd

    def describe(self) -> Workspace | None:
        """For the manifest; None where nothing is recorded."""
        if self._repository is None:
            return None
        if self._tree is not None:
            return Workspace("worktree", self._tree, self._base)
        self._position = self._repository.position()
        return Workspace("in-place", self._repository.root, self._position.head)

    def manifest_fields(self, run: RunDir) -> dict[str, Any]:
        """What the first manifest of the run says because of it."""
        return {"workspace": self.describe()}

    def protect(self, home: Mapping[str, str]) -> None:
        """Makes what the agent is to be kept in with, before there is one."""
        if self.protection is not None:
            self.protection.make(home)

    def prepare(self, run: RunDir) -> None:
        """Makes the run's own tree, or records the shared one as it is now."""
        if self._repository is not None:
            self._take(run, self._repository)
            if self.records_git:
                from runner.workspace import git_state, repository

                found = self._repository if self._tree is None else repository.find(self._tree)
                if found is not None:
                    git_state.record(found, run.path)
        if self.protection is not None:
            self.protection.refuse_obeyed()

    def _take(self, run: RunDir, repository: Repository) -> None:
        try:
            if self._tree is not None:
                from runner.workspace import worktree

                self.watch(f"making the run's own work tree, {self._tree}")
                worktree.create(repository, self._base, self._tree, run.path)
            else:
                from runner.workspace import snapshot

                root = repository.root
                self.watch(f"reading the files of {root} that are not as committed, to record the work tree")
                at, globs = self._position, self.unchanged
                snapshot.take(repository, run.path, position=at, protect=globs)
                if self.earlier is not None:
                    from runner.workspace import earlier

                    earlier.keep(run.path, self.earlier)
        finally:
            self.watch(None)

    def undo(self, run: RunDir) -> None:
        """Of a run that never came to be."""
        if self.protection is not None:
            self.protection.undo()
        if self._tree is not None:
            from runner.workspace import worktree

            worktree.withdraw(run.path)
        self.leave()

    def leave(self) -> None:
        """This process has no part in it any more: what a run holds, it holds by itself."""
        if self.lease is not None:
            self.lease.forget()
            self.lease = None


def reserve(
    root: str,
    choice: Choice,
    run_id: str,
    env: Mapping[str, str],
    parent: str | None = None,
    base: str | None = None,
) -> Workplace:
    """The place of a run that is about to start; nothing is made yet but the lease.

    WorkspaceBusy where another run may write in the same tree; with `on_conflict = "queue"` it is waited for,
    with "worktree" the run gets a tree of its own. Its `parent` is not waited for, as that waits for this run
    or ends with it. A tree of its own is made of the commit `base` (None: of the one that HEAD names), which
    no ref has to name. Conflict where a tree of its own is impossible, or `base` is no commit.
    """
    task = choice.task
    is_own = task.workspace == "worktree"
    if choice.sandbox.level is Level.READ_ONLY and not is_own:
        return Workplace(root)
    from runner.workspace import repository

    found = repository.find(root)
    if found is None:
        if is_own:
            raise Conflict(
                f"{root} is not in a git repository, so the run cannot have its own work tree",
                hint='workspace = "in-place", or `git init` and a first commit',
            )
        return Workplace(root)
    if not is_own:
        from runner.workspace.lease import Holder

        holder = Holder(run_id, manifest_path_of(task.id, run_id))
        lease = _lease(root, found.root, holder, task.on_conflict, parent)
        if lease is not None:
            place = Workplace(root, found, lease=lease)
            place.unchanged = task.protect
            place.earlier = choice.request.earlier
            return place
    from runner.workspace import worktree

    tree = worktree.place(found.root, run_id, env)
    commit = found.commit_of("HEAD") if base is None else worktree.base_of(found, base)
    return Workplace(_inside(tree, root, found), found, tree, base=commit)


def _busy(repo: str, root: str, busy: WorkspaceBusy) -> WorkspaceBusy:
    """The refusal. By its name, no command finds a run whose folder is gone: its processes can be ended."""
    from runner.processes import cgroup, proc
    from runner.workspace import lease

    holder = lease.held_by(root)
    if holder is None or os.path.lexists(os.path.dirname(f"{repo}/{holder.manifest_path}")):
        return busy
    group = cgroup.find(holder.run_id, None)
    pids = {pid for pid in proc.everything() if proc.marker(pid) == holder.run_id}
    pids.update(() if group is None else group.pids())
    ends = f"`kill -9 {' '.join(map(str, sorted(pids)))}` ends it; or " if pids else ""
    hint = f"its folder is gone, so no command finds it: {ends}give this one a worktree of its own"
    return WorkspaceBusy(busy.message, hint=hint)


def planned(root: str, choice: Choice, run_id: str, env: Mapping[str, str]) -> str:
    """The folder that the run would work in now; nothing is reserved. ConfigInvalid where it would share the
    repository's tree from another machine.
    """
    _refuse_shared(choice)
    if choice.task.workspace != "worktree":
        return root
    from runner.workspace import repository, worktree

    found = repository.find(root)
    return root if found is None else _inside(worktree.place(found.root, run_id, env), root, found)


def _refuse_shared(choice: Choice) -> None:
    """ConfigInvalid for a run that could write in the repository's tree from another machine: no lease on it
    holds there.
    """
    task = choice.task
    if choice.executor is None or choice.sandbox.level is Level.READ_ONLY or task.workspace == "worktree":
        return
    raise ConfigInvalid(
        f"task `{task.id}` may write and works in the repository itself, where executor "
        f"`{choice.executor.name}` could not keep two runs apart",
        hint=f'workspace = "worktree" in its task gives it a tree of its own, and '
        f"`--executor {LOCAL}` runs it here",
    )


def committed_links(root: str) -> tuple[str, ...]:
    """The names in the folder `root` that HEAD has as links, and so each work tree that is made of it; ()
    where nobody can say.
    """
    from runner.workspace import repository

    try:
        found = repository.find(root)
    except RunnerError:
        return ()
    return () if found is None else found.committed_links(os.path.relpath(root, found.root))


def _inside(tree: str, root: str, repository: Repository) -> str:
    """The place of `root` in a work tree of its repository."""
    return os.path.normpath(os.path.join(tree, os.path.relpath(root, repository.root)))


def _lease(repo: str, root: str, holder: Holder, on_conflict: str, parent: str | None) -> Lease | None:
    """None: the tree is taken, and the run is to have one of its own."""
    from runner.workspace import lease

    present = lease.held_by(root)
    is_parent = parent is not None and present is not None and present.run_id == parent
    if on_conflict == "queue" and not is_parent:
        return lease.wait(root, holder)
    try:
        return lease.acquire(root, holder)
    except WorkspaceBusy as busy:
        if on_conflict == "worktree":
            return None
        raise _busy(repo, root, busy) from None
