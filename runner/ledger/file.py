"""The file of a ledger, `.runs/<task>/ledger.jsonl`: it is only appended to. Edge: disk.

Writers append under a lock, on to the disk before anybody is told. A line counts once it has its newline. A
torn one (full disk, kill) is reported, and cut off by the next writer.

`.ledger.head` is a cache: what the entries say up to a size of the file, and when that was last written. It
has a MAC, and nothing is believed where the file is not as it says: then all is read. A ledger that is
shorter than its head says was cut. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from runner.disk.files import Draft, is_ours_alone, make_durable, no_hole, read, real_folder, unwritable
from runner.disk.locks import Lock, another_name, set_aside_strange
from runner.errors import Conflict, RunnerError, TooManyFiles, TooManyProcesses, Unwritable
from runner.ledger.chain import Break, BreakFound, entry_of, seq_of, unproven, which, written
from runner.ledger.entry import HUMAN, EntryType, LedgerEntry, NewEntry, checked, cleaned
from runner.ledger.lanes import HandleNotFound, PeopleOnly, State, admitted, advance, told
from runner.ledger.lines import backwards, behind, forwards, numbered, untold
from runner.lightjson import loads
from runner.state.authentic import macs
from runner.state.events import complain
from runner.state.manifest import timestamp
from runner.state.store import ledger_path_of, make_task_folder
from runner.value import Value, json_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from typing import Any, BinaryIO

    Admit = Callable[[State, NewEntry], NewEntry]
    Clean = Callable[[str], str]

_WAIT_S = 10.0
_SUPERVISOR_WAITS_S = 0.25
_NOW = -1.0
"""Without a wait."""
_LARGEST = 256 << 20
_LARGEST_HEAD = 1 << 20
_LOOKS = 10
_HEAD_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class LedgerBroken(Conflict):
    code = "ledger_broken"
    default_hint = "`runner ledger verify TASK` names the break; with --set-aside a person begins anew"


class ForeignLedger(Conflict):
    code = "foreign_ledger"
    default_hint = "it is only shown; `runner ledger verify TASK --set-aside` begins one of yours"


class LedgerBusy(Conflict):
    code = "ledger_busy"
    default_hint = "another process holds its lock; try again"
    retryable = True


class Look(Value):
    """A ledger as it is now. `problem`: what is wrong with it; then `state` and `end` are of before that."""

    state: State = State()
    end: int = 0
    """Bytes of the entries that count."""
    torn: int = 0
    """Bytes behind them, of a line that never was whole."""
    problem: Break | None = None
    is_complete: bool | None = True
    """False: entries are missing at its end. None: nothing tells, as there is no head."""
    stamp: tuple[int, ...] = ()
    """By which the file is known to be the same."""

    @property
    def is_whole(self) -> bool:
        return self.problem is None

    @property
    def broken_at(self) -> int | None:
        """The number of the first entry that is not what was written."""
        return None if self.problem is None else self.problem.seq

    def verdict(self) -> dict[str, Any]:
        """For whoever asks whether to believe it."""
        return {
            "is_whole": self.is_whole,
            "is_complete": None if self.problem and self.is_complete else self.is_complete,
            "entries": self.state.seq,
            "hash": self.state.hash,
            "seq": self.broken_at,
            "problem": self.problem and self.problem.message,
            "torn_bytes": self.torn,
        }


class Ledger:
    """Of one task. Making one touches nothing."""

    def __init__(self, repo: str, task_id: str) -> None:
        self.repo, self.task_id = repo, task_id
        self.relative = ledger_path_of(task_id)
        self.path = f"{repo}/{self.relative}"
        folder = os.path.dirname(self.path)
        self._folder, self._head, self._lock = folder, f"{folder}/.ledger.head", f"{folder}/.ledger.lock"
        self._signer: Callable[[bytes], str] | None = None
        self._complained = ""
        self._seen: Look | None = None
        """The last look: as long as the file is that same one, no other is needed."""

    @property
    def exists(self) -> bool:
        return os.path.lexists(self.path)

    @property
    def was_ours(self) -> bool:
        """Whether it has a head or a first entry of ours, whatever became of the rest."""
        if self._told() is not None:
            return True
        try:
            return self.look().state.seq > 0
        except RunnerError:
            return False

    # -- reading -------------------------------------------------------------------------------------

    def look(self, *, all_of_it: bool = False) -> Look:
        """What it says now; `all_of_it` without believing the head. Unwritable where it cannot be read."""
        try:
            fd = no_hole(self.path, os.O_RDONLY)
            try:
                for _ in range(_LOOKS):
                    look = self._look(fd, all_of_it=all_of_it)
                    is_odd = look.torn or look.problem is not None
                    if not is_odd or look.stamp == _stamp(os.fstat(fd)):
                        self._seen = look
                        break  # else it was being written
                self._refuse_folder()
                return self._judged(look, os.fstat(fd))
            finally:
                os.close(fd)
        except FileNotFoundError:
            told = self._told()
            return Look() if told is None else Look(problem=_cut(0, told.state.seq), is_complete=False)
        except OSError as error:  # "no entries" would be a guess
            raise Unwritable(f"cannot read {self.path}: {error.strerror}") from error

    def _judged(self, look: Look, found: os.stat_result) -> Look:
        """Not to be believed where others have written the file, or can."""
        is_ours = is_ours_alone(found)
        if look.problem is not None or (is_ours and found.st_nlink == 1):
            return look
        what = "it has a second name" if is_ours else f"others can write it: chmod go-w {self.relative}"
        return look.replace(problem=Break(1, what, is_foreign=True))

    def state(self) -> State:
        """What its entries say. LedgerBroken or ForeignLedger where they cannot be believed."""
        return self.believed().state

    def believed(self, *, all_of_it: bool = False) -> Look:
        """As `look`; LedgerBroken or ForeignLedger where it cannot be believed."""
        if (problem := (look := self.look(all_of_it=all_of_it)).problem) is not None:
            raise self._refusal(problem)
        return look

    def entries(
        self,
        since: int = 0,
        limit: int | None = None,
        kinds: Collection[str] = (),
        *,
        look: Look | None = None,
        run_id: str | None = None,
    ) -> list[LedgerEntry]:
        """Those behind number `since`, in their order; of more than `limit`, the newest. They are as far as a
        `look` has seen, and of one run, if that is named.
        """
        seen = self.believed() if look is None else look
        if not seen.end:
            return []
        found: list[LedgerEntry] = []
        is_meant = which(kinds, run_id)
        with self._reading() as file:
            for line in backwards(file, seen.end):
                if len(found) == limit:
                    break
                if not is_meant(line) and (seq_of(line) or 0) > since:
                    continue  # without a proof, which is what takes the time
                if (entry := self._proven(line)).seq <= since:
                    break
                found.append(entry)
        return found[::-1]

    def following(self, since: int, kinds: Collection[str], look: Look) -> Iterator[LedgerEntry]:
        """Those behind number `since`, the oldest first; no more of them are read than are asked for."""
        is_meant = which(kinds, None)
        with self._reading() as file:
            yield from (self._proven(line) for line in behind(file, look.end, since) if is_meant(line))

    def entry(self, name: str) -> LedgerEntry:
        """The one with that id. HandleNotFound."""
        number = name.removeprefix("e-")
        seen = self.believed() if number.isdecimal() and len(number) < 16 else Look()
        found = self.numbered(int(number), seen) if seen.end else None
        if found is None or found.id != name:
            raise HandleNotFound(f"`{name[:80]}` is no entry of this ledger")
        return found

    def numbered(self, seq: int, look: Look) -> LedgerEntry | None:
        """The one with that number, as far as a `look` has seen."""
        with self._reading() as file:
            line = numbered(file, look.end, seq)
        return None if line is None else self._proven(line)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[BinaryIO]:
        try:
            with open(self.path, "rb", opener=no_hole) as file:
                yield file
        except OSError as error:
            raise Unwritable(f"cannot read {self.path}: {error.strerror}") from error

    def unproven(self) -> Iterator[LedgerEntry]:
        """The entries of a ledger that is not believed, as far as its chain holds: only to be shown."""
        try:
            with open(self.path, "rb", opener=no_hole) as file:
                yield from unproven(forwards(file))
        except OSError:
            return

    def stamp(self) -> tuple[int, ...]:
        """By which a change of the file is seen at the price of a stat."""
        try:
            return _stamp(os.lstat(self.path))
        except OSError:
            return ()

    def _proven(self, line: bytes) -> LedgerEntry:
        try:
            return entry_of(line, self._sign())
        except BreakFound as broken:
            raise self._refusal(broken.found) from None

    def _look(self, fd: int, *, all_of_it: bool = False) -> Look:
        stamp = _stamp(os.fstat(fd))
        if self._seen is not None and self._seen.stamp == stamp and not all_of_it:
            return self._seen
        told = self._told()
        if told is not None and told.stamp == stamp and not all_of_it:
            return told
        if told is not None and (told.stamp[0], all_of_it) == (stamp[0], False) and told.end < stamp[1]:
            grown = self._read_on(fd, told)
            if grown.problem is None and grown.state.seq > told.state.seq:
                return self._renewed(grown.replace(stamp=stamp, is_complete=told.is_complete))
        whole = self._read_on(fd, Look())
        if told is not None and told.state.seq > whole.state.seq and whole.problem is None:
            cut = _cut(whole.state.seq, told.state.seq)
            return whole.replace(problem=cut, is_complete=False, stamp=stamp)
        is_complete = None if whole.state.seq else True
        # A head of another file, or of this one at another time, is what an older copy brings along.
        if told is not None and (told.stamp == stamp or (told.stamp[0] == stamp[0] and told.end < stamp[1])):
            is_complete = told.is_complete
        found = whole.replace(stamp=stamp, is_complete=is_complete)
        return found if told is None else self._renewed(found)

    def _renewed(self, look: Look) -> Look:
        """The head says it from now on, where this may write and nobody else does: else each look would read
        all again. Without a head none is made: it would hide that nothing tells what was cut.
        """
        if look.problem is None and not look.torn:
            with contextlib.suppress(RunnerError), self._locked(_NOW):
                if self.stamp() == look.stamp:
                    self._remember(look.state, look.stamp, look.is_complete)
        return look

    def _read_on(self, fd: int, look: Look) -> Look:
        """With what stands behind that."""
        state, end, sign, problem = look.state, look.end, self._sign(), None
        with os.fdopen(fd, "rb", closefd=False) as file:
            file.seek(end)
            try:
                for line in forwards(file):
                    entry = entry_of(line, sign, (state.seq, state.hash))
                    state, end = advance(state, entry), end + len(line)
            except BreakFound as broken:
                problem = broken.found
            torn = 0 if problem is not None else file.seek(0, os.SEEK_END) - end
        return Look(state, end, torn, problem)

    def _told(self) -> Look | None:
        """What the head says; None without one of ours."""
        try:
            for _ in range(2):  # the first time it may have been just written
                mac, _, rest = read(self._head, _LARGEST_HEAD, is_private=True).partition(b"\n")
                if is_ours := mac == self._head_mac(rest).encode():
                    break
            if not is_ours:
                return None
            told = loads(rest)
            stamp, state = tuple(told["stamp"]), State.from_json(told["state"])
            return Look(state, stamp[1], is_complete=told.get("is_complete", True), stamp=stamp)
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def _head_mac(self, data: bytes) -> str:
        return self._sign()(b"head " + data)

    def _sign(self) -> Callable[[bytes], str]:
        if self._signer is None:
            self._signer = macs(f"ledger {real_folder(self._folder)}")
        return self._signer

    def _refusal(self, problem: Break) -> RunnerError:
        kind = ForeignLedger if problem.is_foreign and problem.seq <= 1 else LedgerBroken
        hint = (kind.default_hint or "").replace("TASK", self.task_id)
        return kind(f"{self.relative}: {problem.message}", hint=hint)

    def _refuse_folder(self) -> bool:
        """ForeignLedger where others can put any file there. Whether it is there."""
        is_there = False
        for path in (os.path.dirname(self._folder), self._folder):
            try:
                found = os.lstat(path)
            except OSError:
                continue
            is_there = path is self._folder
            if stat.S_ISLNK(found.st_mode) or not is_ours_alone(found):
                what = "is a symbolic link" if stat.S_ISLNK(found.st_mode) else "can be written by others"
                hint = "make it a folder that you alone can write: runner shares no ledger"
                raise ForeignLedger(f"{path} {what}", hint=hint)
        return is_there

    # -- writing -------------------------------------------------------------------------------------

    def append(self, draft: NewEntry, clean: Clean) -> LedgerEntry:
        """Writes an entry on to the disk. `clean` takes secrets out of its texts first.

        EntryInvalid, the refusals of `lanes.admitted`, LedgerBroken, ForeignLedger, LedgerBusy, Unwritable.
        """
        new = checked(cleaned(draft, clean))
        if not self.exists:
            admitted(self.state(), new)  # what is refused makes no folder
        with self._locked(_WAIT_S):
            return self._write([new], admitted)[0]

    def tell(self, drafts: Sequence[NewEntry], clean: Clean) -> bool:
        """What runner saw, each by its key once, at one price. False: not now, tell it again. It never
        raises: what cannot be told at all, as the ledger is broken, is complained of, each thing once. What
        a run may not say is there as a `marker_error`.
        """
        try:
            news = [checked(cleaned(draft, clean)) for draft in drafts]
            with self._locked(_SUPERVISOR_WAITS_S):
                self._write(news, told)
        except RunnerError as error:
            is_later = isinstance(error, LedgerBusy | Unwritable | TooManyFiles | TooManyProcesses)
            if error.message != self._complained:
                complain(f"not in the ledger{' yet' if is_later else ''}: {error.message}")
            self._complained = error.message
            return not (is_later and os.path.isdir(self._folder))
        return True

    def set_aside(self, actor: str) -> str:
        """Gives a ledger that is not believed another name, which it returns, and begins anew. For people.
        Where the disk refuses, nothing is changed.
        """
        if actor != HUMAN:
            raise PeopleOnly("a ledger is set aside by a person")
        if not (self.exists or os.path.lexists(self._head)):
            raise Conflict("nobody has begun this ledger", hint="nothing was changed")
        with self._locked(_WAIT_S):
            try:
                self._appendable(all_of_it=True)
            except RunnerError as error:
                why = error.message
            else:
                raise Conflict("the ledger is whole", hint="nothing was changed")
            former = another_name(self.path) if self.exists else "nothing"
            told = {"former": os.path.basename(former), "problem": why}
            line, entry = self._line(State(), checked(NewEntry(EntryType.RESTARTED, actor, told)))
            draft = Draft(self.path)
            try:
                draft.write(line)
                if self.exists:
                    try:
                        os.link(self.path, former, follow_symlinks=False)  # one is there at any moment
                    except OSError:
                        os.rename(self.path, former)
                draft.put()
                if os.path.lexists(self._head):  # last: until then it tells what is missing
                    os.rename(self._head, another_name(self._head))
            except OSError as error:
                raise unwritable(error) from error
            finally:
                draft.close()
            self._remember(advance(State(), entry), self.stamp())
        return os.path.basename(former)

    def _locked(self, wait_s: float) -> Lock:
        """Its folder is there, and nobody else writes."""
        try:
            if not self._refuse_folder():
                make_task_folder(self.repo, self.task_id)
                self._refuse_folder()
            return Lock(self._lock, wait_s)
        except BlockingIOError:
            raise LedgerBusy(f"{self.relative} is being written") from None
        except OSError as error:
            raise unwritable(error) from error

    def _write(self, drafts: Sequence[NewEntry], admit: Admit) -> list[LedgerEntry]:
        """Under the lock. Where an entry is refused nothing is made; what has a key is there once."""
        look = self._appendable()
        state, lines, made = look.state, [], []
        try:
            for draft in self._untold(drafts, look.end):
                line, entry = self._line(state, admit(state, draft))
                state = advance(state, entry)
                lines.append(line)
                made.append(entry)
            if made:
                self._remember(state, self._put(look, b"".join(lines)))
        except OSError as error:
            raise unwritable(error) from error
        return made

    def _line(self, state: State, new: NewEntry) -> tuple[bytes, LedgerEntry]:
        place = (state.seq + 1, state.hash)
        return written(new, *place, at=timestamp(), task_id=self.task_id, sign=self._sign())

    def _appendable(self, *, all_of_it: bool = False) -> Look:
        """As `look`; the error that says why nothing can be appended to it."""
        if self.exists:
            found = os.lstat(self.path)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                raise ForeignLedger(f"{self.path} is no plain file with one name")
            if found.st_size > _LARGEST:
                raise Conflict(f"{self.relative} has reached {_LARGEST >> 20} MiB", hint="begin another task")
        return self.believed(all_of_it=all_of_it)

    def _untold(self, drafts: Sequence[NewEntry], end: int) -> Sequence[NewEntry]:
        if not end or all(draft.key is None for draft in drafts):
            return drafts
        with open(self.path, "rb", opener=no_hole) as file:
            return untold(file.fileno(), end, drafts)

    def _put(self, look: Look, data: bytes) -> tuple[int, ...]:
        """On to the disk; the stamp of then. One that was removed is not made anew."""
        fd = os.open(self.path, _APPEND if look.stamp else _APPEND | os.O_CREAT, 0o600)
        try:
            if look.torn:
                os.ftruncate(fd, look.end)
            try:
                if os.write(fd, data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
                os.fsync(fd)
            except OSError:
                os.ftruncate(fd, look.end)
                raise
            if not look.end:
                make_durable(self._folder)
            return _stamp(os.fstat(fd))
        finally:
            os.close(fd)

    def _remember(self, state: State, stamp: tuple[int, ...], is_complete: bool | None = True) -> None:
        """In one write over the one before: a torn one has no MAC that fits, and then all is read. (To rename
        a new one there, as elsewhere, has the disk write its journal too: an append took up to 4 x as long.)
        """
        data = json_bytes(
            {"state": state.to_json(), "stamp": stamp, "is_complete": is_complete}, compact=True
        )
        whole = self._head_mac(data).encode() + b"\n" + data
        try:
            set_aside_strange(self._head)
            head = os.open(self._head, _HEAD_FLAGS, 0o600)
            try:
                found = os.fstat(head)
                os.pwrite(head, whole, 0)
                if found.st_size > len(whole):  # each change of a file is for the disk to write
                    os.ftruncate(head, len(whole))
            finally:
                os.close(head)
        except OSError as error:
            complain(f"the head of the ledger was not written: {error}")


def _cut(seq: int, told: int) -> Break:
    lost = f"entry {told} is" if told == seq + 1 else f"entries {seq + 1} to {told} are"
    return Break(seq + 1, f"it was cut: {lost} missing at its end")


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_ino, found.st_size, found.st_ctime_ns)
