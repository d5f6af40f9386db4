"""Moves a work tree from one known state to another, in steps of which any may be the last. Edge: disk.

The plan names for each path the expected and the wanted content. A step checks again: wanted content is left
alone, expected content is replaced, and anything else was edited meanwhile and is first moved to `kept/`. A
log of the finished steps protects what the user changed after a first attempt from a second one. Nothing is
lost that is not in a tree or in `kept/`.
"""

from __future__ import annotations

import os
import shutil
import stat

from runner.disk.files import private_folder
from runner.errors import Conflict
from runner.value import FileMode, InnerPath, Value
from runner.workspace.files import Entry, entry_at
from runner.workspace.places import Places, unwatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.workspace.shadow import Shadow


_MOVE = "make `.runs` a folder on the same file system as the repository"


class Move(Value):
    """One path: its found content and its wanted content. None is nothing."""

    path: InnerPath
    now: Entry | None
    goal: Entry | None


class Moves(Value):
    """Removals come before additions. `folders` has the wanted permissions of folders, which are created if
    missing; `gone` has folders to remove if they are empty.
    """

    steps: tuple[Move, ...]
    folders: dict[InnerPath, FileMode]
    gone: tuple[InnerPath, ...]


def ordered(steps: list[Move], folders: dict[str, int], gone: tuple[str, ...]) -> Moves:
    """Removals from the leaves to the root, then everything else from the root to the leaves."""
    removals = sorted((step for step in steps if step.goal is None), key=lambda step: step.path, reverse=True)
    rest = sorted((step for step in steps if step.goal is not None), key=lambda step: step.path)
    return Moves((*removals, *rest), folders, tuple(sorted(gone, reverse=True)))


class Transition:
    """Carries a plan out. `index` is the index file with the goal's contents, `kept` and `log` are paths;
    the log must be named after the plan, as it counts its steps.
    """

    def __init__(
        self,
        shadow: Shadow,
        plan: Moves,
        *,
        index: str,
        kept: str,
        log: str,
        watch: Callable[[str], object] = unwatched,
    ) -> None:
        self.shadow, self.plan, self.index, self.kept, self.log = shadow, plan, index, kept, log
        self.places = Places(shadow.root, shadow.hash_name, watch)
        self.watch = watch
        self.left: list[str] = []
        """What could not be brought to its goal, and why, in sentences."""

    def run(self) -> None:
        """From where an earlier attempt stopped. OSError if the disk refuses; a further call continues.
        Conflict if files cannot be moved between the work tree and our folder."""
        if os.stat(self.shadow.root).st_dev != os.stat(self.shadow.home).st_dev:
            raise Conflict(f"{self.shadow.home} is on another file system than the work tree", hint=_MOVE)
        done = self.done()
        self._settle()
        steps = [(number, step) for number, step in enumerate(self.plan.steps) if number not in done]
        wanted = [step.path for _, step in steps if step.goal and not step.goal.is_repository]
        self.shadow.unpack(self.index, wanted)
        self._open_folders()
        removals = [pair for pair in steps if pair[1].goal is None]
        for number, step in removals:
            self._do(number, step)
        for folder in self.plan.gone:
            self.places.remove_folder(folder)
        for number, step in steps[len(removals) :]:
            self._do(number, step)
        self._set_folders()
        shutil.rmtree(self.shadow.stage, ignore_errors=True)

    def _do(self, number: int, step: Move) -> None:
        try:
            if reason := self._bring(number, step):
                self.left.append(reason)
                return
        except OSError as error:
            self.left.append(f"{step.path}: {error.strerror}")
            return
        self.note(number, step.path)

    def note(self, number: int, what: str) -> None:
        """Logs a step as done; one after the last of the plan is free for the caller."""
        self.watch(f"log {what}")
        with open(self.log, "ab") as file:
            file.write(b"%d\n" % number)

    def _bring(self, number: int, step: Move) -> str | None:
        """Why it could not be done; None if it is."""
        goal = step.goal
        if goal is not None and goal.is_repository:
            return f"{step.path}: a nested repository, which is left alone"
        here = self.places.entry(step.path)
        if goal is None and here is not None and here.kind == stat.S_IFDIR:
            if step.now is not None and step.now.is_repository:
                self.places.move_out(step.path, self._place_in_kept(step.path))
            return None  # otherwise a folder was created there meanwhile, and stays
        if here is not None and not here.has_content_of(goal):
            self._take_away(number, step, here)
            here = None
        if goal is None:
            return None
        if here is None:
            self._put(number, step, goal)
        elif here.kind == stat.S_IFREG:
            self.places.permit(step.path, stat.S_IMODE(goal.mode))
        return None

    def _take_away(self, number: int, step: Move, here: Entry) -> None:
        if here.kind == stat.S_IFDIR:
            self.places.move_out(step.path, self._place_in_kept(step.path))
            return
        private_folder(self.shadow.hold)
        held = f"{self.shadow.hold}/{number}"
        self.places.move_out(step.path, held)
        self._sort_out(held, step)

    def _sort_out(self, held: str, step: Move) -> None:
        """Only now, out of everybody's reach, is it known what it was: as expected, or edited meanwhile."""
        try:
            content = entry_at(held, None, self.shadow.hash_name)
        except PermissionError:
            content = None
        self.watch(f"sort out {step.path}")
        is_known = content is not None and (
            content.is_special or content.has_content_of(step.now) or content.has_content_of(step.goal)
        )
        if is_known:
            os.unlink(held)
        else:
            os.rename(held, self._place_in_kept(step.path))

    def _put(self, number: int, step: Move, goal: Entry) -> None:
        source = f"{self.shadow.stage}/{step.path}"
        if goal.kind == stat.S_IFREG:
            os.chmod(source, stat.S_IMODE(goal.mode))
        while True:
            self._make_way(step.path)
            try:
                self.places.link_in(source, step.path)
                break
            except FileExistsError:  # another process was quicker
                here = self.places.entry(step.path)
                if here is not None:
                    self._take_away(number, step, here)
        os.unlink(source)

    def _make_way(self, path: str) -> None:
        while obstacle := self.places.in_the_way(path):
            self.places.move_out(obstacle, self._place_in_kept(obstacle))
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            if self.places.entry_kind(folder) is None:
                self.places.make_folder(folder, self.plan.folders.get(folder, 0o755) | 0o700)

    def _open_folders(self) -> None:
        """So that we can write in them; their final permissions are set last."""
        for folder in sorted({*self.plan.folders, *self.plan.gone}):
            if self.places.entry_kind(folder) == stat.S_IFDIR:
                mode = self.places.permissions(folder) or 0
                self.places.permit(folder, mode | 0o700)

    def _set_folders(self) -> None:
        for folder, mode in sorted(self.plan.folders.items(), reverse=True):
            kind = self.places.entry_kind(folder)
            if kind is None:
                self._make_way(f"{folder}/x")
                kind = stat.S_IFDIR
            if kind == stat.S_IFDIR:
                self.places.permit(folder, mode)
            else:
                self.left.append(f"{folder}: a folder was replaced by something else")

    def _settle(self) -> None:
        """What an attempt that was killed had just taken away."""
        try:
            held = os.listdir(self.shadow.hold)
        except FileNotFoundError:
            return
        for name in held:
            if name.isdecimal() and len(name) < 10 and int(name) < len(self.plan.steps):
                self._sort_out(f"{self.shadow.hold}/{name}", self.plan.steps[int(name)])

    def done(self) -> set[int]:
        """The numbers of the steps that were done, by whatever attempt."""
        try:
            with open(self.log, "rb") as file:
                lines = file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return set()
        try:
            return {int(line) for line in lines}
        except ValueError:
            raise Conflict(f"{self.log} cannot be read: it has other lines than numbers of steps") from None

    def _place_in_kept(self, path: str) -> str:
        """A new place with the same relative path, in the first numbered folder that is free."""
        number = 1
        while os.path.lexists(f"{self.kept}/{number}"):
            number += 1
        *folders, name = path.split("/")
        return f"{private_folder(self.kept, str(number), *folders)}/{name}"


def kept_files(kept: str) -> tuple[str, ...]:
    """Everything that was kept, relative to `kept`."""
    found: list[str] = []
    for folder, inner, files in os.walk(kept):
        inner[:] = [name for name in inner if not _is_end(folder, name, files, found)]
        found += [os.path.join(folder, name) for name in files]
    return tuple(sorted(os.path.relpath(path, kept) for path in found))


def _is_end(folder: str, name: str, files: list[str], found: list[str]) -> bool:
    path = os.path.join(folder, name)
    if os.path.islink(path) or os.path.lexists(f"{path}/.git"):
        found.append(path)
        return True
    return False
