"""The feed of a repository, `.runs/.feed.jsonl`: what became of all its runs, in one place. Edge: disk.

Owners of runs append to it, one line at a time under a lock, and `seq` has no gaps. A line counts once it has
its newline and a MAC of its place and content: nobody else's line is shown or counted. A torn one (full disk,
kill) is cut off by the next writer. Standard library only.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from runner.disk.files import Draft, NoFile, is_ours_alone, no_hole
from runner.disk.locks import Lock, another_name
from runner.errors import Unwritable
from runner.lightjson import loads
from runner.model import SCHEMA_VERSION
from runner.state.authentic import macs
from runner.state.manifest import parse_timestamp, timestamp
from runner.state.store import RUNS, RunDir, manifest_path_of
from runner.value import json_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO

    from runner.model import Json

STARTED, ASKED, SETTLED = "started", "asked", "settled"
ENDED, PARKED, UNDECIDED, NOTICE_FAILED = "ended", "parked", "undecided", "notice_failed"
TURN, APPROVAL = "turn", "approval"

_ALSO = ("attempt", "turn", "hook", "step")
"""What tells events of one kind apart, besides run and question."""

_HEAD = b'{"mac":"'
_BODY = len(_HEAD) + 64
_LARGEST = 16 << 20
_LONGEST_LINE = 64 * 1024
_WAITS_S = 0.25
"""A writer that is stopped, or whoever else has the lock, holds no supervisor up for longer."""
_WRITE = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def hook_of(event: Json) -> str | None:
    """Which of the user's commands an event is for. Runs that other runs have started end unheard."""
    kind = event["event"]
    if kind in (ENDED, TURN):
        hook = "on_end" if kind == ENDED else "on_turn"
        return hook if event["parent"] is None else None
    is_for_person = kind in (PARKED, UNDECIDED, APPROVAL) or (kind == ASKED and event["to"] == "owner")
    return "on_attention" if is_for_person else None


def path_of(repo: str) -> str:
    return f"{repo}/{RUNS}/.feed.jsonl"


def tell(run: RunDir, event: str, question: str | None = None, at: str | None = None, **told: Any) -> Json:
    """The event as it stands in the feed; it is there once, however often it is told. OSError where it could
    not be written now, Unwritable where nothing can be signed here.
    """
    path, folder = path_of(run.repo), f"{run.repo}/{RUNS}"
    if not is_ours_alone(os.lstat(folder)):
        raise PermissionError(errno.EPERM, "others could write there", folder)
    sign = _signer(path)
    known = {"event": event, "run_id": run.run_id, "question": question}
    known.update({name: told[name] for name in _ALSO if name in told})
    with Lock(f"{folder}/.feed.lock", _WAITS_S):
        if (last := _last(path, sign, known)) is None:
            return known
        made = {
            "schema_version": SCHEMA_VERSION,
            "seq": last + 1,
            "at": at or timestamp(),
            **known,
            "task_id": run.task_id,
            "manifest_path": manifest_path_of(run.task_id, run.run_id),
            **told,
        }
        _append(path, _line(made, sign))
        return made


def trim(repo: str, older_than_s: float) -> None:
    """Takes out what is older, but for the last event, by which `seq` goes on; nothing that another user, or
    another key, has told. OSError, or Unwritable.
    """
    path, folder, limit = path_of(repo), f"{repo}/{RUNS}", time.time() - older_than_s
    if not os.path.lexists(path) or not is_ours_alone(os.lstat(folder)):
        return
    with Lock(f"{folder}/.feed.lock", _WAITS_S):
        sign = _signer(path)
        _rewrite(path, sign, lambda event, _: parse_timestamp(str(event["at"])) > limit, with_others=True)


class FeedReader:
    """Gives every event once, in its order, from `since` on; remembers how far it has come."""

    def __init__(self, repo: str, since: int = 0) -> None:
        self._path = path_of(repo)
        self._seen: tuple[int, ...] = ()
        self._offset, self._read = 0, b""
        self._latest = b""
        """The event `last` as it was read, by which its feed is known again."""
        self.last = since
        """The `seq` of the latest event that was seen."""
        self.missed = 0
        """How many were to come and are not there any more."""

    def new(self) -> Iterator[Json]:
        """What came since the last call. While nothing does, a call costs a stat."""
        try:
            found = os.lstat(self._path)
            seen = (found.st_ino, found.st_size, found.st_mtime_ns)
            if seen == self._seen:
                return
            sign = _signer(self._path)
            with open(self._path, "rb", opener=no_hole) as file:
                file.seek(self._offset - len(self._read))
                if file.read(len(self._read)) != self._read:  # another file, which may have the same inode
                    self._offset, self._read = 0, b""
                if not self._offset and self._is_anew(file, sign):
                    self.last, self._latest = 0, b""
                file.seek(self._offset)
                for line in _lines(file):
                    self._offset, self._read = self._offset + len(line), line
                    event = _event(line, sign)
                    if event is not None and event["seq"] == self.last:
                        self._latest = line
                    if event is not None and event["seq"] > self.last:
                        self.missed += event["seq"] - self.last - 1
                        self.last, self._latest = event["seq"], line
                        yield event
            self._seen = seen
        except PermissionError as error:  # "no events" would be a guess
            raise Unwritable(f"cannot read {self._path}: {error.strerror}") from error
        except OSError:
            return

    def _is_anew(self, file: BinaryIO, sign: Callable[[bytes], str]) -> bool:
        """Whether it counts from 1 again. A trimmed one begins later, or has the latest event still."""
        file.seek(0)
        first = next((event for line in _lines(file) if (event := _event(line, sign)) is not None), None)
        file.seek(0)
        is_early = bool(self._latest) and first is not None and first["seq"] <= self.last
        return is_early and self._latest not in _lines(file)


def _last(path: str, sign: Callable[[bytes], str], known: Json) -> int | None:
    """The `seq` of the last event, 0 without any; None where `known` stands there already. The file is made
    ready to be appended to.
    """
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            raise NoFile(errno.EINVAL, "is not a regular file", path)
        if found.st_size > _LARGEST or found.st_nlink > 1 or found.st_mode & 0o077:
            with open(path, "rb", opener=no_hole) as file:
                ours = sum(len(line) for line in _lines(file) if _event(line, sign) is not None)
            cut = ours // 2 if ours > _LARGEST else 0  # by half, so that not every event does this
            _rewrite(path, sign, lambda _, end: end > cut)
        with open(path, "rb", opener=no_hole) as file:
            return _last_in(path, file, sign, known)
    except FileNotFoundError:
        return 0
    except NoFile:  # whatever it is, none of us has put it there
        os.rename(path, another_name(path))
        return 0


def _last_in(path: str, file: BinaryIO, sign: Callable[[bytes], str], known: Json) -> int | None:
    end, last, wanted = 0, b"", str(known["run_id"]).encode()
    for line in _lines(file):
        end, last = end + len(line), line
        if wanted in line and (event := _event(line, sign)) is not None and known.items() <= event.items():
            return None
    if file.seek(0, os.SEEK_END) > end:
        os.truncate(path, end)  # torn
    if (event := _event(last, sign)) is not None:
        return int(event["seq"])
    return _latest_in(file, sign)


def _latest_in(file: BinaryIO, sign: Callable[[bytes], str]) -> int:
    """The `seq` of the latest event of a file."""
    file.seek(0)
    return max((event["seq"] for line in _lines(file) if (event := _event(line, sign))), default=0)


def _append(path: str, line: bytes) -> None:
    fd = os.open(path, _WRITE, 0o600)
    try:
        size = os.fstat(fd).st_size
        if os.write(fd, line) < len(line):
            os.ftruncate(fd, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    finally:
        os.close(fd)


def _rewrite(
    path: str, sign: Callable[[bytes], str], keeps: Callable[[Json, int], bool], *, with_others: bool = False
) -> None:
    """With the events that `keeps` wants, which gets the bytes of events up to its end too, and the last."""
    end, last, draft = 0, b"", Draft(path)
    try:
        with open(path, "rb", opener=no_hole) as file:
            for line in _lines(file):
                if (event := _event(line, sign)) is not None:
                    end += len(line)
                    last = b"" if keeps(event, end) else line
                    draft.write(b"" if last else line)
                elif with_others:
                    draft.write(line)
        draft.write(last)
        draft.put()
    finally:
        draft.close()


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The whole lines; of one that is too long to be ours, its pieces."""
    while line := file.readline(_LONGEST_LINE):
        if not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
            return
        yield line


def _signer(path: str) -> Callable[[bytes], str]:
    folder, name = os.path.split(path)
    return macs(f"feed {os.path.realpath(folder)}/{name}")


def _line(event: Json, sign: Callable[[bytes], str]) -> bytes:
    body = json_bytes(event, compact=True)
    return _HEAD + sign(body).encode() + b'",' + body[1:] + b"\n"


def _event(line: bytes, sign: Callable[[bytes], str]) -> dict[str, Any] | None:
    """What a line of ours says; None of any other one."""
    body = b"{" + line[_BODY + 2 : -1]
    if not line.startswith(_HEAD) or line[len(_HEAD) : _BODY] != sign(body).encode():
        return None
    event: dict[str, Any] = loads(body)
    return event
