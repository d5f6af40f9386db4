"""RunDir: the only place that knows a file name of the run folder. Edge: disk, standard library only.

Writes are atomic (temp file, fsync, rename) and single-writer: only the holder of `run.lock` replaces the
manifest. Everyone else leaves an intent and wakes the holder through a FIFO. The lock is an flock(2): it is
free exactly when its holder is gone, even after SIGKILL.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time

from runner.disk.files import (
    create,
    make_plain_folder,
    read,
    read_text,
    replace_json,
    unwritable,
    withdraw,
)
from runner.errors import Conflict, InvocationBroken, ManifestBroken, RunNotFound, Unwritable
from runner.model import is_name
from runner.state.manifest import Manifest, timestamp
from runner.value import Seconds, Timestamp, Value, json_bytes, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from runner.disk.locks import Lock
    from runner.invocation import Invocation
    from runner.model import Lineage
    from runner.state.plan_ledger import PlanLedger

RUNS = ".runs"
_RESERVE_BYTES = 64 * 1024
_LARGEST_JSON = 4 * 1024 * 1024
_LARGEST_LEDGER = 64 * 1024 * 1024
_ANSWERED_WITHIN_S = 5.0
_TRIES = 10


def new_run_id(at: float | None = None) -> str:
    """`YYYYMMDDTHHMMSSmmmZ-<8 hex>`: sorts by time, unique without coordination. Of now, or of the given
    seconds since the epoch.
    """
    now = time.time() if at is None else at
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(int(now)))
    return f"{stamp}{int(now % 1 * 1000):03d}Z-{os.urandom(4).hex()}"


def thread_of(run_id: str, attempt: int) -> str:
    """The id of the session that an attempt begins, where its program takes one: a UUID of version 8."""
    from runner.disk.digest import sha256  # not all programs do

    found = sha256(f"{run_id} {attempt}".encode()).hexdigest()
    return f"{found[:8]}-{found[8:12]}-8{found[13:16]}-8{found[17:20]}-{found[20:32]}"


def is_run_id(text: str) -> bool:
    """Whether `text` has the whole shape of a run id. Ten thousand are asked about while a shell waits."""
    digits = text[:8] + text[9:18]
    is_timed = text[8:9] == "T" and text[18:20] == "Z-" and digits.isascii() and digits.isdigit()
    return len(text) == 28 and is_timed and not text[20:].strip("0123456789abcdef")


def manifest_path_of(task_id: str, run_id: str) -> str:
    """The literal path, relative to the repository: what prompts and manifests carry."""
    return f"{RUNS}/{task_id}/cli/{run_id}/manifest.json"


def ledger_path_of(task_id: str) -> str:
    """Of the ledger of a task, likewise."""
    return f"{RUNS}/{task_id}/ledger.jsonl"


def runs_of(repo: str, task_id: str) -> list[RunDir]:
    """The runs of a task that have a folder, newest first."""
    names = listed(f"{repo}/{RUNS}/{task_id}/cli")
    return [RunDir(repo, task_id, name) for name in sorted(filter(is_run_id, names), reverse=True)]


def listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


class TaskBusy(Conflict):
    code = "task_busy"
    default_hint = "another start of this task is under way; try again"
    retryable = True


def lock_task(repo: str, task_id: str, use: str = "", *, within_s: float = 10.0) -> Lock:
    """Waits for its lock, of which each `use` has one. TaskBusy where others keep it, or Unwritable."""
    from runner.disk.locks import Lock  # few starts need it

    try:
        return Lock(f"{make_task_folder(repo, task_id)}/.lock{use}", within_s)
    except BlockingIOError:
        raise TaskBusy(f"others have the lock of task `{task_id}`") from None
    except OSError as error:
        raise unwritable(error) from error


class Intent(Value):
    """What the owner of a run is asked to do: `pause`, `resume`, `cancel`, `rewrite`."""

    kind: str
    actor: str = "user"
    at: Timestamp | None = None
    grace_s: Seconds | None = None
    reason: str | None = None
    code: str | None = None
    """Of a cancel that an engine wishes for: that of the reason."""
    only: bool = False
    """Not for the runs below."""
    not_before: float | None = None
    """Seconds since the epoch."""

    def is_due(self, *, is_answered: bool) -> bool:
        """A run that acts on itself gets its answer first: such an intent waits until a tool call of its
        program was seen to end after the intent came, and a moment at the least. A silent program is not
        waited for.
        """
        if self.not_before is None:
            return True
        waited_s = time.time() - self.not_before
        return waited_s >= 0 and (is_answered or waited_s >= _ANSWERED_WITHIN_S)


class RunDir:
    """One run's folder. Holding a RunDir is no claim that anything exists."""

    def __init__(self, repo: str, task_id: str, run_id: str) -> None:
        self.repo = repo
        self.task_id = task_id
        self.run_id = run_id
        self.path = f"{repo}/{RUNS}/{task_id}/cli/{run_id}"
        self.manifest = f"{self.path}/manifest.json"
        self.invocation = f"{self.path}/invocation.json"
        self.prompt = f"{self.path}/prompt.md"
        self.events = f"{self.path}/events.jsonl"
        self.stdout = f"{self.path}/stdout.jsonl"
        self.stderr = f"{self.path}/stderr.log"
        self.last_message = f"{self.path}/last-message.md"
        self.result = f"{self.path}/result.json"
        self.ledger = f"{self.path}/ledger.json"  # of a plan's run: how far it is
        self.plan = f"{self.path}/plan.json"  # and what it carries out
        self.workspace = f"{self.path}/workspace.json"
        self.settings = f"{self.path}/settings.json"  # those that runs below it are resolved from
        self.task = f"{self.path}/task.md"  # the prompt of a new session, where another one is resumed
        self.asked = f"{self.path}/asked.md"  # the prompt of the command line, as it came
        self.result_schema = f"{self.path}/result.schema.json"
        self.timeline = f"{self.path}/timeline.tsv"
        self.supervisor_log = f"{self.path}/supervisor.log"
        self.rehearsal_log = f"{self.path}/rehearsal.jsonl"
        self.control = f"{self.path}/control"
        self.questions = f"{self.path}/questions"
        self.messages = f"{self.path}/messages"  # those that were sent to its agent
        self.turns = f"{self.path}/turns"  # what each turn of it came to
        self.turn_complete = f"{self.path}/turn-complete.json"  # the last one; not there while one goes on
        self.secrets = f"{self.path}/secrets.json"  # what its secret values can be known by, not they
        self.unsealed = f"{self.path}/unsealed"  # the names of those that the seal did not have
        self.wake_fifo = f"{self.control}/wake"
        self.reserve = f"{self.control}/reserve"
        self.alone = f"{self.control}/alone"  # exists while a request for this run only is carried out
        self.untold = f"{self.control}/untold"  # exists while the feed does not say that it has begun
        self.lock = f"{self.path}/run.lock"

    def turn(self, number: int) -> str:
        """What that turn of its agent came to."""
        return f"{self.turns}/turn-{number}.json"

    @property
    def artifacts(self) -> dict[str, str]:
        """Name -> path relative to the run folder, of the files that a reader may want."""
        paths = (self.invocation, self.prompt, self.events, self.stdout, self.stderr)
        return {os.path.basename(path).split(".")[0]: os.path.basename(path) for path in paths} | {
            "last_message": os.path.basename(self.last_message)
        }

    @classmethod
    def from_path(cls, path: str) -> RunDir:
        """From the absolute path of a run folder. ValueError if it has not the shape of one."""
        repo, _, rest = path.rpartition(f"/{RUNS}/")
        parts = rest.split("/")
        shaped = len(parts) == 3 and parts[1] == "cli"
        if not (repo and shaped and is_name(parts[0]) and is_run_id(parts[2])):
            raise ValueError(f"not a run folder: {path}")
        return cls(repo, parts[0], parts[2])

    @classmethod
    def of(cls, repo: str, named: Lineage | Manifest | Invocation) -> RunDir:
        return cls(repo, named.task_id, named.run_id)

    def create(self) -> int:
        """Makes the folder and takes its lock; the descriptor is the caller's. Unwritable if it cannot.

        The lock is taken before the manifest exists, so the run is never seen without an owner.
        """
        try:
            self._make()
        except OSError as error:
            raise unwritable(error) from error
        lock_fd = -1
        try:
            lock_fd = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock_fd, fcntl.LOCK_EX)  # at most a concurrent reader holds it
            os.mkdir(self.control, 0o700)
            os.mkdir(self.questions, 0o700)
            os.mkfifo(self.wake_fifo, 0o600)
            create(self.reserve, b"\0" * _RESERVE_BYTES)
        except OSError as error:
            self.discard()
            if lock_fd >= 0:
                os.close(lock_fd)
            raise unwritable(error) from error
        return lock_fd

    def _make(self) -> None:
        """Again where `discard` of another run has just taken the folder of the task away."""
        for tries_left in reversed(range(_TRIES)):
            try:
                make_task_folder(self.repo, self.task_id)
                os.mkdir(self.path, 0o700)
                break
            except FileNotFoundError:
                if not tries_left:
                    raise

    def discard(self) -> None:
        """Removes a folder that never became a run, and those above it in which nothing else is."""
        import contextlib
        import shutil

        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(cli := os.path.dirname(self.path))
            os.rmdir(os.path.dirname(cli))

    def is_described(self) -> bool:
        """Whether anything says what this run is; a folder without it is not a run, or not yet."""
        return os.path.lexists(self.manifest) or os.path.lexists(self.invocation)

    def try_lock(self, *, again: bool = False) -> int | None:
        """The lock's descriptor, or None when it is held. RunNotFound without a folder, or without the file,
        which is created with `again`.
        """
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_CREAT if again else 0)
        try:
            fd = os.open(self.lock, flags, 0o600)
        except FileNotFoundError:
            raise RunNotFound(f"run `{self.run_id}` is gone") from None
        except OSError as error:
            raise unwritable(error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd

    def is_locked(self) -> bool:
        """Whether this run has an owner right now."""
        fd = self.try_lock()
        if fd is None:
            return True
        os.close(fd)
        return False

    def read_manifest(self) -> Manifest:
        """RunNotFound without a file; ManifestBroken or ManifestNewer (nothing is changed) for one that says
        nothing to us.
        """
        try:
            found = Manifest.from_json(json_value(read(self.manifest, _LARGEST_JSON)))
            if (found.task_id, found.run_id) != (self.task_id, self.run_id):
                raise ValueError("it is of another run")  # which it would be counted and shown as
            return found
        except FileNotFoundError:
            raise RunNotFound(f"no manifest at {self.manifest}") from None
        except ValueError as error:
            raise ManifestBroken(f"{self.manifest} is not a manifest: {error}") from error
        except OSError as error:
            text = f"cannot read {self.manifest}: {error.strerror}"
            if _is_of_another(self.manifest):
                raise Unwritable(text) from error
            raise ManifestBroken(text) from error  # a link, a folder, a FIFO or unreadable

    def read_invocation(self) -> Invocation:
        """What was executed, without the prompt. InvocationBroken when it cannot be read."""
        from runner.invocation import Invocation  # most commands on a run never need it

        try:
            return Invocation.from_json(json_value(read(self.invocation, _LARGEST_JSON)))
        except (OSError, ValueError) as error:
            raise InvocationBroken(f"{self.invocation} cannot be read: {error}") from error

    def read_ledger(self) -> PlanLedger:
        """How far its plan is. ValueError where nothing says so that can be used."""
        from runner.state.plan_ledger import PlanLedger

        return PlanLedger.from_json(json_value(read_text(self.ledger, _LARGEST_LEDGER) or ""))

    def write_manifest(self, manifest: Manifest, *, durable: bool = True) -> None:
        """Replaces it. On a full disk the reserve is given up for an end, and for nothing less: a child
        that still writes would have it at once.
        """
        data = manifest.to_json()
        try:
            replace_json(self.manifest, data, durable=durable)
        except IsADirectoryError:
            self.set_aside_manifest()
            replace_json(self.manifest, data)
        except OSError as error:
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            if not (is_full and manifest.is_done and os.path.exists(self.reserve)):
                raise
            os.unlink(self.reserve)
            replace_json(self.manifest, data)

    def set_aside_manifest(self) -> str:
        """Keeps a broken manifest under another name, which it returns. The file stays until it is replaced,
        so a reader does not take the run for gone. Only a folder in its place has to go at once.
        """
        aside = f"{self.manifest}.broken-{time.time_ns()}"
        if os.path.isdir(self.manifest) and not os.path.islink(self.manifest):
            os.rename(self.manifest, aside)
        else:
            os.link(self.manifest, aside, follow_symlinks=False)
        return aside

    def leave_intent(self, kind: str, actor: str, **fields: Any) -> str:
        """A durable request to the run's owner; visible only when complete. Returns its path."""
        intent = Intent(kind, actor, timestamp(), **fields).to_json()
        name = f"{time.time_ns():020d}-{os.urandom(3).hex()}"
        path = f"{self.control}/intent-{name}.json"
        try:
            make_plain_folder(self.control)  # the agent may have taken it away, or put a link there
            create(f"{self.control}/.{name}", json_bytes(intent))
            os.rename(f"{self.control}/.{name}", path)
        except FileNotFoundError:
            raise RunNotFound(f"run `{self.run_id}` is gone") from None
        except OSError as error:
            raise unwritable(error) from error
        return path

    def intents(self) -> Iterator[tuple[str, Intent]]:
        """(path, intent) in the order in which they were left; unreadable ones are removed."""
        if os.path.islink(self.control):
            return
        try:
            names = sorted(name for name in os.listdir(self.control) if name.startswith("intent-"))
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            path = f"{self.control}/{name}"
            try:
                intent = Intent.from_json(json_value(read(path, 1024 * 1024)))
            except FileNotFoundError:
                continue
            except (OSError, ValueError):
                withdraw(path)
                continue
            yield path, intent

    def has_questions(self) -> bool:
        """Whether anything was ever asked: few runs ask, and `questions` says what."""
        return bool(listed(self.questions))

    def is_told(self, kind: str) -> bool:
        """Whether such a request waits for the owner."""
        return any(intent.kind == kind for _, intent in self.intents())

    def open_wake(self) -> int | None:
        """The owner's end of the FIFO, created again if something took its place; None if that is impossible.

        Without it a request is seen at the next tick.
        """
        try:
            if os.path.islink(self.control):
                return None
            if not _is_fifo(self.wake_fifo):  # poll(2) calls a plain file always ready
                withdraw(self.wake_fifo)
                os.mkfifo(self.wake_fifo, 0o600)
            flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
            return os.open(self.wake_fifo, flags)
        except OSError:
            return None

    def wake(self) -> None:
        """Makes the owner check `control/` now. No error without an owner: the request is durable."""
        try:
            fd = os.open(self.wake_fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):  # nothing else is written to
                os.write(fd, b"!")
        except OSError:
            pass
        finally:
            os.close(fd)


def _is_fifo(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.lstat(path).st_mode)
    except OSError:
        return False


def _is_of_another(path: str) -> bool:
    """Whether another user has it, or may be the only one who can look."""
    try:
        return os.lstat(path).st_uid != os.geteuid()
    except OSError:
        return True


def make_task_folder(repo: str, task_id: str) -> str:
    """The folder of a task, with that of its runs. OSError where a link or a file stands in its place."""
    root = f"{repo}/{RUNS}"
    task = f"{root}/{task_id}"
    for folder in (root, task, f"{task}/cli"):
        make_plain_folder(folder)
    _write_gitignore(f"{root}/.gitignore")
    return task


def _write_gitignore(path: str) -> None:
    try:
        create(path, b"*\n")
    except FileExistsError:
        pass
