"""A run's own work tree: made from one commit, removed only by a decision. Edge: git and disk.

It is in the user's state folder and not beside the repository, so that no folder above it belongs to the
user's project or to other runs. A private snapshot (see `snapshot`) is taken at once, so the difference to it
is all that the run did, with or without commits.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat

from runner.disk import home
from runner.disk.files import private_folder, remove_tree, replace_bytes, unwritable
from runner.errors import Conflict
from runner.value import Count, FilePath, InnerPath, ObjectId, Value
from runner.workspace import merging
from runner.workspace import snapshot as snapshots
from runner.workspace.changes import diff, differences
from runner.workspace.files import read_record, write_json
from runner.workspace.git import Git
from runner.workspace.places import Places, unwatched
from runner.workspace.repository import Repository, find
from runner.workspace.snapshot import Snapshot
from runner.workspace.tracked import SPECIAL
from runner.workspace.transition import Move, Moves, Transition, kept_files, ordered
from runner.workspace.undecided import RECORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ACCEPTANCE = "accept.json"
_STEPS = "steps."


class Worktree(Value):
    """`repo` is the user's work tree, `base` the commit it was made of, `path` where it stands, `folder` the
    run's folder, where everything about it is kept.
    """

    repo: FilePath
    base: ObjectId
    path: FilePath
    folder: FilePath

    @property
    def patch(self) -> str:
        """Where the work is kept as a patch, once it was accepted or discarded."""
        return f"{self.folder}/worktree.patch"

    @property
    def later(self) -> str:
        """The same of what was done after the judgement, by the checks for example; only if there is any."""
        return f"{self.folder}/worktree.later.patch"

    def is_there(self) -> bool:
        """Whether it stands and is a git work tree."""
        return os.path.isfile(f"{self.path}/.git")

    def is_of(self, repo: str, folder: str, run_id: str) -> bool:
        """Whether this is the tree of that run. Otherwise a forged record could name any folder for
        removal.
        """
        root, inner = os.path.realpath(self.repo), os.path.realpath(repo)
        is_ours = os.path.realpath(self.folder) == os.path.realpath(folder)
        is_inside = inner == root or inner.startswith(f"{root.rstrip('/')}/")
        return is_ours and is_inside and self.path.endswith(f"/runner/{_below_state(self.repo, run_id)}")

    @property
    def removal_began(self) -> bool:
        """Its removal was decided and begun: what still stands may be no longer all of the work."""
        return os.path.exists(self._decided)

    @property
    def acceptance_began(self) -> bool:
        """Whether some of its changes may be in the user's tree, or all of them: it is to be seen through."""
        folder = f"{self.folder}/accept"
        try:
            names = os.listdir(folder)
        except OSError:
            return False
        has_steps = os.path.exists(f"{folder}/workspace/stage") or any(n.startswith(_STEPS) for n in names)
        return _ACCEPTANCE in names and has_steps

    @property
    def _decided(self) -> str:
        return f"{self.folder}/worktree.discarded"


class Acceptance(Value):
    """What was planned for the user's tree. `log` is the file of the finished steps."""

    schema_version: Count
    log: InnerPath
    plan: Moves


class Accepted(Value):
    """Paths that were changed in the user's tree. `kept` (relative to `<folder>/accept/kept`) is what was
    edited under our hands, `left` says what could not be put in place, and why.
    """

    paths: tuple[str, ...]
    kept: tuple[str, ...]
    left: tuple[str, ...]


def place(repo: str, run_id: str, env: Mapping[str, str]) -> str:
    """The path for a run's work tree: `$XDG_STATE_HOME/runner/worktrees/<digest of the repository>/<run>`.
    Unwritable where that would be in the repository.
    """
    state = home.state(env)
    home.refuse_inside(state, repo, "a work tree")
    return f"{state}/{_below_state(repo, run_id)}"


def create(repo: str | Repository, base: str | None, path: str, folder: str) -> Worktree:
    """A detached work tree of the commit `base` at `path` (see `place`), for the run whose folder is
    `folder`. No ref has to name the commit. Nothing uncommitted of the user is in it, and no ignored file;
    submodules are not checked out. It is locked, so that no `git worktree prune` takes it away.

    Conflict if there is no repository or no such commit, or something stands there; GitFailed if git refuses.
    Conflict too if git takes something else for the root of the new tree (`core.worktree`). What a failed
    call made is removed.
    """
    repository = find(repo) if isinstance(repo, str) else repo
    if repository is None or base is None:
        what = "is no git repository" if repository is None else "has no commit yet"
        where = repo if repository is None else repository.root
        raise Conflict(f"{where} {what}, so it cannot have a work tree", hint="make a first commit")
    base = base_of(repository, base)
    state, *below, name = path.rsplit("/", 3)
    try:
        parent = private_folder(state, *below)
    except OSError as error:
        raise unwritable(error) from error
    if os.path.lexists(path):
        raise Conflict(f"{path} exists already", hint="a run's work tree is created only once")
    made = Worktree(repository.root, base, path, folder)
    write_json(f"{folder}/{RECORD}", made.to_json())
    try:
        why = ("--lock", "--reason", f"runner: {name}")
        _git_in(repository, parent).run("worktree", "add", "-q", "--detach", *why, "--", name, base)
        taken = snapshots.take(path, folder, is_new=True)
        if taken is None or not _is_at(taken, path):
            raise Conflict(f"git does not take {path} for a work tree of its own")
    except BaseException:
        _remove(repository, path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{folder}/{RECORD}")
        raise
    return made


def base_of(repository: Repository, name: str) -> str:
    """The full id of the commit for a work tree. Conflict if the repository has none."""
    commit = repository.commit_of(name)
    if commit is None:
        raise Conflict(
            f"{name} is no commit of {repository.root}, so it cannot have a work tree",
            hint="`git cat-file -t COMMIT` shows whether it exists; `git gc` removes what no ref names",
        )
    return commit


def load(folder: str) -> Worktree | None:
    """The work tree that was made for the run of this folder; None if none was. Whether it still stands is
    `is_there`. Conflict if its record is broken.
    """
    return read_record(f"{folder}/{RECORD}", Worktree)


def accept(
    worktree: Worktree, judged: str | None = None, *, watch: Callable[[str], object] = unwatched
) -> Accepted:
    """Brings its changes into the user's tree, merged with what is uncommitted there: as far as they were
    `judged`, a tree of its private record (None: as they are now). Nothing is staged or committed, and the
    work tree stays until it is discarded. So does the plan: a merge of what is in place already could not be
    made.

    Conflict, with nothing changed, if they do not apply cleanly (`problems` names the paths), if a submodule
    is among them, if git cannot record all of it, or if the work tree is gone. After a crash, a further call
    finishes what was begun.
    """
    if worktree.removal_began:
        raise Conflict(
            f"the work tree {worktree.path} is being removed", hint="finish that, then use its patch"
        )
    folder = f"{worktree.folder}/accept"
    noted = read_record(f"{folder}/{_ACCEPTANCE}", Acceptance)
    if noted is None:
        work = _snapshot(worktree)
        now = _recorded(work)
        tree = judged or now
        _keep_patches(worktree, work, tree)
        if tree == work.tree:
            return Accepted((), (), ())
        private_folder(folder)
        user = snapshots.take(worktree.repo, folder, borrow=[f"{work.shadow.home}/objects"])
        if user is None:
            raise Conflict(f"{worktree.repo} is not a git repository any more")
        noted = Acceptance(1, f"{_STEPS}{os.urandom(4).hex()}", _merged(user, work, tree, worktree.base))
        watch("plan")
        write_json(f"{folder}/{_ACCEPTANCE}", noted.to_json())
    else:
        user = snapshots.load(folder)
        if user is None:
            raise Conflict(f"the snapshot in {folder} is gone")
    plan, log = noted.plan, f"{folder}/{noted.log}"
    kept, index = f"{folder}/kept", f"{user.shadow.home}/index.merged"
    work_on = Transition(user.shadow, plan, index=index, kept=kept, log=log, watch=watch)
    work_on.run()
    return Accepted(tuple(step.path for step in plan.steps), kept_files(kept), tuple(work_on.left))


def discard(worktree: Worktree, judged: str | None = None) -> bool:
    """Removes it, after everything that was done in it is in the run's folder as a patch, with what was done
    after it was `judged` in a second one. Ignored files in it are lost. Whether there was something to
    remove. GitFailed if git refuses, and then it still stands.
    """
    repository = find(worktree.repo)
    if worktree.removal_began:  # a call that was killed: what still stands is no longer all of the work
        pass
    elif worktree.is_there():
        if snapshots.load(worktree.folder) is not None:  # else nothing ever began in it
            _keep_patches(worktree, _snapshot(worktree), judged)
        replace_bytes(worktree._decided, b"")
    elif os.path.lexists(worktree.path):
        raise Conflict(
            f"{worktree.path} is not a work tree any more", hint="check it, then remove it by hand"
        )
    if repository is None:
        raise Conflict(f"{worktree.repo} is not a git repository any more")
    there = os.path.lexists(worktree.path)
    _remove(repository, worktree.path)
    return there


def withdraw(folder: str) -> None:
    """Removes that of a run that never began, where one was made."""
    if (made := load(folder)) is not None:
        discard(made)


def _recorded(work: Snapshot) -> str:
    """As it is now. Conflict where work would go with the tree: too large, too deep, or not to be read."""
    seen = work.look()
    problems = [one for one in seen.problems if not one.startswith(SPECIAL)]
    if lost := sorted({*problems} - {*work.problems}):
        hint = f"copy that from {work.root} if you need it, remove it there, then try again"
        raise Conflict("git cannot record all of the work; nothing was changed", problems=lost, hint=hint)
    return seen.tree


def _keep_patches(worktree: Worktree, work: Snapshot, judged: str | None) -> None:
    now = work.look().tree
    replace_bytes(worktree.patch, diff(work, judged or now))
    if judged is not None and judged != now:
        replace_bytes(worktree.later, diff(work.replace(tree=judged), now))


def _below_state(repo: str, run_id: str) -> str:
    digest = hashlib.sha256(os.fsencode(os.path.realpath(repo))).hexdigest()[:16]
    return f"worktrees/{digest}/{run_id}"


def _snapshot(worktree: Worktree) -> Snapshot:
    taken = snapshots.load(worktree.folder)
    if taken is None or not worktree.is_there():
        stands = os.path.lexists(worktree.path)
        raise Conflict(
            f"the work tree {worktree.path} is {'no git work tree any more' if stands else 'gone'}",
            hint="copy the work by hand" if stands else "a patch of it may be in the run's folder",
        )
    if not _is_at(taken, worktree.path):  # what was done in this one, nobody knows
        raise Conflict(
            f"the record of the work tree {worktree.path} is of another folder, {taken.root}",
            hint="copy the work by hand, then `git worktree remove --force --force` removes the tree",
        )
    return taken


def _is_at(taken: Snapshot, path: str) -> bool:
    return os.path.realpath(taken.root) == os.path.realpath(path)


def _merged(user: Snapshot, work: Snapshot, tree: str, base: str) -> Moves:
    """What has to be done in the user's tree."""
    new, named = merging.merged(user, work, tree, base, f"{user.shadow.home}/index.merged")
    seen = user.look()
    if seen.tree != user.tree:
        raise Conflict("files were edited meanwhile; nothing was changed", hint="try again")
    found = differences(user.replace(tree=new), seen)
    steps = [Move(change.path, change.after, change.before) for change in found]
    in_the_way = {step.path for step in steps if step.path not in named}
    if in_the_way := in_the_way or _ignored_in_the_way(user, steps):
        raise Conflict(
            "files of yours are in the way; nothing was changed",
            problems=sorted(in_the_way),
            hint="move them away",
        )
    folders = {parent for step in steps if step.goal is None for parent in _parents(step.path)}
    return ordered(steps, {}, tuple(folders))


def _ignored_in_the_way(user: Snapshot, steps: list[Move]) -> set[str]:
    """What is in no snapshot: no patch has it, so it is never replaced."""
    places = Places(user.root, user.shadow.hash_name, unwatched)
    going = {step.path for step in steps if step.goal is None}
    found = set()
    for step in steps:
        if step.goal is None:
            continue
        obstacle, here = places.in_the_way(step.path), places.entry(step.path)
        if obstacle is not None and obstacle not in going:
            found.add(obstacle)
        elif here is not None and here.kind == stat.S_IFDIR:
            whole = os.walk(f"{user.root}/{step.path}")
            there = {os.path.relpath(f"{at}/{name}", user.root) for at, _, names in whole for name in names}
            found |= {step.path} if there - going else set()
        elif here is not None and step.now is None and not here.has_content_of(step.goal):
            found.add(step.path)
    return found


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _git_in(repository: Repository, cwd: str) -> Git:
    """Git of the repository with another working folder, to which paths are relative."""
    return Git(cwd, {"GIT_DIR": repository.common_dir})


def _remove(repository: Repository, path: str) -> None:
    """The tree and git's record of it, also if an interrupted call left only half of either."""
    parent, name = os.path.split(path)
    if not os.path.isdir(parent):
        return
    git = _git_in(repository, parent)
    git.ask("worktree", "unlock", name)
    status, _, said = git.ask("worktree", "remove", "--force", "--force", name)
    if status != 0:
        remove_tree(path)
        git.ask("worktree", "prune")
    if os.path.lexists(path):
        raise Conflict(f"{path} cannot be removed: {said}")
