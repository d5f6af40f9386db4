"""Which records this user made here: only those are acted on, all others are shown. Edge: disk.

`.runs` may come from anywhere: with a clone, an archive, from another user of the machine. What a record says
is executed, signalled, merged and removed, so each record that is acted on begins with a MAC of its place and
its content, made with a key that lies outside of every repository. And nobody else could have written it: git
has learned that the folder's owner is what counts (https://nvd.nist.gov/vuln/detail/CVE-2022-24765).

An agent of this account that has no sandbox can read the key. This is a proof against records from elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat

from runner.disk import home
from runner.disk.digest import sha256
from runner.disk.files import OUT_OF_FILES, is_ours_alone, private_folder, read, replace_bytes, unwritable
from runner.errors import Conflict, ForeignRun, InvocationBroken, Unwritable
from runner.model import is_name
from runner.state.manifest import parse_timestamp
from runner.state.store import RUNS, RunDir, is_run_id, listed, new_run_id
from runner.value import StrEnum, Value, json_bytes, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runner.invocation import Invocation
    from runner.state.plan_ledger import PlanLedger

_KEY_BYTES = 32
_BLOCK_BYTES = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_HEAD = b'{"mac":"'
_HEX = 64
_BY_ANYBODY = 0o077
_LARGEST_INVOCATION, _LARGEST_LEDGER = 4 << 20, 64 << 20

_keys: dict[str, bytes] = {}


class Why(StrEnum):
    """Why a run counts as foreign."""

    OWNER = "owner"
    WRITABLE = "writable"
    LINK = "link"
    TRACKED = "tracked"
    UNKNOWN = "unknown"
    """Nothing says what it is."""
    UNSIGNED = "unsigned"
    """It has no MAC: an older runner made none, and neither does anybody else."""
    MOVED = "moved"
    """Ours, and made in another place."""
    FORGED = "forged"
    """The MAC is not of this record, or not by our key."""


FOREIGN = "foreign"
"""The status of a run that is only shown."""
OLDER = (Why.UNSIGNED, Why.UNKNOWN)
"""What runs of an older runner are, too."""


class Foreign(Value):
    """Why nothing is done with a run but showing it: a sentence, and what to do."""

    why: Why
    message: str
    hint: str


# -- the key ---------------------------------------------------------------------------------------------


def mac(label: str, data: bytes) -> str:
    """HMAC-SHA256 (RFC 2104) of `data` for the use that `label` names, in hexadecimal. The key is made where
    there is none. Unwritable where it cannot be, or where others could have read it.
    """
    return _mac(_key(), label, data)


def macs(label: str) -> Callable[[bytes], str]:
    """`mac` with one label for many data, a few times as quick."""
    return _macs(_key(), label)


def _mac(key: bytes, label: str, data: bytes) -> str:
    return _macs(key, label)(data)


def _macs(key: bytes, label: str) -> Callable[[bytes], str]:
    block = key.ljust(_BLOCK_BYTES, b"\0")
    begun = sha256(block.translate(_INNER) + os.fsencode(label) + b"\0")
    around = sha256(block.translate(_OUTER))

    def of(data: bytes) -> str:
        inner, outer = begun.copy(), around.copy()
        inner.update(data)
        outer.update(inner.digest())
        return outer.hexdigest()

    return of


def _key() -> bytes:
    folder = home.state(os.environ)
    if (found := _known_key(folder)) is not None:
        return found
    import fcntl  # once in the life of an account

    try:
        private_folder(folder)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise unwritable(error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two first starts at once have to get the same key
        if (found := _known_key(folder)) is None:
            replace_bytes(f"{folder}/key", os.urandom(_KEY_BYTES))
            found = _known_key(folder)
    except OSError as error:
        raise unwritable(error) from error
    finally:
        os.close(lock)
    if found is None:
        raise Unwritable(f"the key {folder}/key cannot be kept")
    return found


def _known_key(folder: str) -> bytes | None:
    """The key that is there. Unwritable for one that others could have read or written."""
    if folder in _keys:
        return _keys[folder]
    path = f"{folder}/key"
    try:
        found = os.lstat(path)
        key = read(path, _KEY_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unwritable(f"cannot read the key {path}: {error.strerror}") from error
    if found.st_uid != os.geteuid() or found.st_mode & _BY_ANYBODY or len(key) != _KEY_BYTES:
        raise Unwritable(
            f"the key {path} is not a file of {_KEY_BYTES} bytes that only user {os.geteuid()} can read",
            hint=f"remove {path}: a new one is made, and runs of before are only shown",
        )
    _keys[folder] = key
    return key


# -- a record --------------------------------------------------------------------------------------------


def write_record(path: str, value: Any, *, indent: int | None = 1, durable: bool = True) -> None:
    """As `replace_json`, and it begins with the MAC. OSError, or Unwritable without a key."""
    data = json_bytes(value, indent=indent) + b"\n"
    replace_bytes(path, _signed(path, data), durable=durable)


def refuse_forged(path: str, data: bytes) -> None:
    """ForeignRun for what `write_record` did not write to this very place."""
    if not _is_authentic(data, os.path.realpath(os.path.dirname(path)), os.path.basename(path)):
        raise ForeignRun(f"{path} was not written here by runner for user {os.geteuid()}")


def _signed(path: str, data: bytes) -> bytes:
    """With the MAC as first member of the object."""
    place = f"{os.path.realpath(os.path.dirname(path))}/{os.path.basename(path)}"
    return _HEAD + mac(f"record {place}", data).encode() + b'",' + data[1:]


def _is_authentic(data: bytes, folder: str, name: str) -> bool:
    if not data.startswith(_HEAD):
        return False
    told, begin = data[len(_HEAD) :][:_HEX], len(_HEAD) + _HEX
    try:
        key = _known_key(home.state(os.environ))
    except Unwritable:
        return False
    inner = b"{" + data[begin + 2 :]
    return (
        data[begin:][:2] == b'",'
        and key is not None
        and _mac(key, f"record {folder}/{name}", inner).encode() == told
    )


def made(path: str, found: os.stat_result) -> str:
    """A MAC of the place and the number of a file of ours: a copy has another number, wherever it is. For
    what is only shown, and too long for a MAC of its content. Unwritable without a key.
    """
    place = f"{os.path.realpath(os.path.dirname(path))}/{os.path.basename(path)}"
    return mac(f"file {place}", b"%d" % found.st_ino)


_OF_OLDER = (
    "an older runner's run can be ended by that one; where it had a work tree of its own, `git worktree "
    "list` has the folder: take its work over with git, then `git worktree remove --force --force FOLDER`"
)


# -- a run -----------------------------------------------------------------------------------------------


def refuse_foreign(run: RunDir) -> None:
    """ForeignRun where `why_foreign` says something; InvocationBroken where nothing says what the run is."""
    _refuse(run, why_foreign(run))


def own_invocation(run: RunDir) -> Invocation:
    """As `refuse_foreign`, and what it was that made the run ours: the file is read once, so that nobody can
    put another one in its place meanwhile.
    """
    from runner.invocation import Invocation  # most commands on a run never need it

    refuse_foreign(run)
    try:
        data = read(run.invocation, _LARGEST_INVOCATION)
        refuse_forged(run.invocation, data)
        return Invocation.from_json(json_value(data))
    except (OSError, ValueError) as error:
        raise InvocationBroken(f"{run.invocation} cannot be read: {error}") from error


def own_ledger(run: RunDir) -> PlanLedger:
    """How far its plan is. ForeignRun where that was not written here; Conflict where it cannot be used."""
    from runner.state.plan_ledger import PlanLedger

    try:
        data = read(run.ledger, _LARGEST_LEDGER)
        refuse_forged(run.ledger, data)
        return PlanLedger.from_json(json_value(data))
    except (OSError, ValueError) as error:
        raise Conflict(f"{run.ledger} cannot be used: {error}") from error


def refuse_another(run: RunDir) -> None:
    """ForeignRun where `of_another` says something."""
    _refuse(run, of_another(run))


def refuse_place(run: RunDir) -> None:
    """Conflict where `of_another` says something of a run that is not there yet: nobody could act on it."""
    found = of_another(run)
    if found is not None:
        away = (
            f"move {os.path.dirname(os.path.dirname(os.path.dirname(run.path)))} away: a start makes another"
        )
        hint = found.hint if found.why is Why.WRITABLE else away
        raise Conflict(f"no run can be started here: {found.message}", hint=hint)


def _refuse(run: RunDir, found: Foreign | None) -> None:
    if found is None:
        return
    if found.why is Why.UNKNOWN:
        raise InvocationBroken(found.message)
    raise ForeignRun(f"run `{run.run_id}` is foreign: {found.message}", hint=found.hint)


def why_foreign(run: RunDir, *, is_named: bool = True) -> Foreign | None:
    """None for a run that this user has made here, in this place, with this key: then what its records say
    may be acted on. A folder that is not there (any more) is nobody's, and no run. `is_named` is as for
    `committed.is_committed`.
    """
    return of_another(run) or _of_git(run, is_named=is_named) or _why_not_ours(run)


def of_another(run: RunDir) -> Foreign | None:
    """What of it needs no reading: who owns each folder from `.runs` down, and who may write there."""
    cli = os.path.dirname(run.path)
    task = os.path.dirname(cli)
    root = os.path.dirname(task)
    folders = (root, task, cli, run.path)
    for path in (*folders, run.control, run.questions, run.manifest, run.invocation, run.lock):
        try:
            found = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISLNK(found.st_mode):
            if path not in folders:
                continue  # an agent without a sandbox has put it there, and it is followed nowhere
            text = f"{path} is a symbolic link"
            return Foreign(Why.LINK, text, "runner follows no links there")
        if found.st_uid != os.geteuid():
            text = f"{path} belongs to user {found.st_uid}, and this is user {os.geteuid()}"
            return Foreign(Why.OWNER, text, f"act on it as user {found.st_uid}")
        if not is_ours_alone(found):
            text = f"{path} can be written by others (mode {stat.S_IMODE(found.st_mode):o})"
            hint = f"if you know who wrote there: `chmod -R go-w {root}`"
            return Foreign(Why.WRITABLE, text, hint)
    return None


def not_to_be_removed(run: RunDir) -> Foreign | None:
    """Of what is foreign, what is not even removed: it belongs to others, or to git."""
    return of_another(run) or _of_git(run)


def _of_git(run: RunDir, *, is_named: bool = True) -> Foreign | None:
    from runner.state.committed import is_committed  # a command that only lists asks for none

    if not is_committed(run.repo, run.path, is_named=is_named):
        return None
    text = f"git tracks {run.path}, so it came with the repository"
    return Foreign(Why.TRACKED, text, "`git rm -r --cached .runs` if these runs are yours")


def _why_not_ours(run: RunDir) -> Foreign | None:
    try:
        data = read(run.invocation, _LARGEST_INVOCATION)
    except OSError as error:
        if error.errno in OUT_OF_FILES:
            raise unwritable(error) from error  # it says nothing of the run
        text = f"{run.invocation} cannot be read: {error.strerror}"
        return Foreign(Why.UNKNOWN, text, InvocationBroken.default_hint or "")
    # no link is below the repository: `of_another` has looked
    folder, name = os.path.realpath(run.repo) + run.path[len(run.repo) :], os.path.basename(run.invocation)
    if _is_authentic(data, folder, name):
        return None
    if not data.startswith(_HEAD):
        text = "its records have no MAC: an older runner made it, or it was not made on this account"
        return Foreign(Why.UNSIGNED, text, _OF_OLDER)
    place = _place_told(data, run)
    if place is not None and _is_authentic(data, f"{place}{run.path[len(run.repo) :]}", name):
        text = f"it was made in {place}: the repository was moved, or this is a copy"
        return Foreign(Why.MOVED, text, "move it back to act on its runs")
    text = "its records were not made here on this account, or were changed"
    return Foreign(Why.FORGED, text, "with another HOME or XDG_STATE_HOME, use that one")


def _place_told(data: bytes, run: RunDir) -> str | None:
    """The repository that an invocation names as its own."""
    try:
        told = json_value(data)
    except ValueError:
        return None
    repo = told.get("repo")
    fits = told.get("manifest_path") == run.manifest[len(run.repo) + 1 :]
    return repo if fits and isinstance(repo, str) else None


def tasks_of(repo: str) -> list[str]:
    """The tasks that have a folder for runs. Unwritable where they cannot be listed."""
    if os.path.islink(f"{repo}/{RUNS}"):
        raise unwritable(OSError(errno.ELOOP, os.strerror(errno.ELOOP), f"{repo}/{RUNS}"))
    return [name for name in folders_in(f"{repo}/{RUNS}") if is_name(name)]


def folders_in(path: str) -> list[str]:
    """The names of the folders there, without links."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno in OUT_OF_FILES:
            raise unwritable(error) from error
        if error.errno == errno.EACCES and path.endswith(f"/{RUNS}"):
            raise Unwritable(f"cannot read {path}: {error.strerror}") from error  # "no runs" would be a guess
        return []


def next_run_id(repo: str) -> str:
    """A new id that sorts after those of all runs of ours, also where the clock went back: the newest run is
    found by its id.
    """
    run_id = new_run_id()
    for task in tasks_of(repo):
        for name in listed(f"{repo}/{RUNS}/{task}/cli"):
            if name > run_id and is_run_id(name) and why_foreign(RunDir(repo, task, name)) is None:
                told = f"{name[:4]}-{name[4:6]}-{name[6:11]}:{name[11:13]}:{name[13:15]}.{name[15:19]}"
                try:
                    run_id = new_run_id(parse_timestamp(told) + 0.002)
                except ValueError:
                    continue  # of a month that there is not
    return run_id
