"""Messages to the agent of a run, in the order in which they were sent. Edge: disk, standard library only.

A message is a file in the `messages/` folder of the run. Its number can be taken only once, and by someone
who has read all before it. So a key is there once, and nobody comes behind the end: with that the owner of
the run closes the queue before it judges, and passes over nobody.
"""

from __future__ import annotations

import os

from runner.disk.files import make_plain_folder, publish, read, unwritable, withdraw
from runner.errors import Conflict, RunNotFound, UsageError
from runner.model import MAX_PROMPT_CHARS, Lineage
from runner.state.events import complain
from runner.state.manifest import timestamp
from runner.state.store import is_run_id
from runner.value import Misfit, Timestamp, Value, json_bytes, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any, Self

    from runner.state.store import RunDir

TEXT, END = "text", "end"
_MOST = 9999
_LARGEST = 8 * MAX_PROMPT_CHARS
_ROOM = 64 * 1024 * 1024
"""For the texts of all of them, which are held in memory."""
_SMALL = 8192
"""A message that counts also where there is no room: so is each end."""
_LONGEST_KEY = 200


class QueueClosed(Conflict):
    code = "queue_closed"
    default_hint = "wait for its end (`runner wait RUN`); then `runner send` or `runner retry` goes on"
    retryable = True


class Message(Value):
    """One that was sent. `kind` `end` is none: nothing comes behind it."""

    id: str
    kind: str
    text: str
    actor: str
    at: Timestamp
    key: str | None = None
    """Chosen by its sender, who sends it once however often it is sent with that."""
    now: bool = False
    """It is not to wait for the end of the turn."""
    follow_up: Lineage | None = None
    """The run that it began, as this one had ended."""

    @classmethod
    def from_json(cls, data: Any) -> Self:
        made = super().from_json(data)
        if made.kind not in (TEXT, END):
            raise Misfit.of(made.kind, "text or end").inside("kind")
        if len(made.text) > MAX_PROMPT_CHARS or "\0" in made.text:
            raise Misfit("no prompt can have it").inside("text")
        if made.follow_up is not None and not is_run_id(made.follow_up.run_id):
            raise Misfit("no run").inside("follow_up")
        made.text.encode()  # ValueError for half characters
        return made


class Queue:
    """All messages of one run, as far as they have been read."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._read: list[Message | None] = []
        self._shut: Message | None = None
        self._room = _ROOM
        self.leaves = False
        """Whether it was closed over texts that nobody will hear."""

    def look(self) -> list[Message]:
        """All that there are. A file that is no message has its number and says nothing."""
        while (path := self._path(len(self._read) + 1)) and os.path.lexists(path):
            try:
                data = read(path, _LARGEST if self._room > 0 else _SMALL)
                self._room -= len(data)
                found = Message.from_json(json_value(data))
                self._read.append(found if path.endswith(f"/{found.id}.json") else None)
            except FileNotFoundError:
                break  # the end, which was taken back
            except (OSError, ValueError):
                self._read.append(None)
        return [one for one in self._read if one is not None]

    @property
    def end(self) -> Message | None:
        """What has closed it."""
        return self._end_of(self.look())

    def pending(self, given: Collection[str]) -> list[Message]:
        """The texts that were not given to the agent yet, those first that are not to wait."""
        return _pending(self.look(), given)

    def with_given(self, prompt: str, given: Collection[str]) -> str:
        """The prompt of a session that is to know all that was said in another one."""
        return "\n\n".join((prompt, *(one.text for one in self.look() if one.id in given)))

    def add(self, text: str, *, actor: str, kind: str = TEXT, **more: Any) -> Message:
        """Writes a message down, or returns the one that is there with its key. QueueClosed behind the end,
        but for a `follow_up`.
        """
        key = more.get("key")
        while True:
            found = self.look()  # once: what comes after it was not looked at, and takes the number
            for one in found:
                if key is not None and one.key == key:
                    return one
            if (end := self._end_of(found)) is not None and "follow_up" not in more:
                if kind == END:
                    return end
                raise QueueClosed(f"run `{self._run.run_id}` is being ended and takes no more messages")
            if kind != END:
                self.refuse_full(text)
            try:
                return self._put(kind, text, actor, **more)
            except FileExistsError:
                continue
            except FileNotFoundError:
                raise RunNotFound(f"run `{self._run.run_id}` is gone") from None
            except OSError as error:
                raise unwritable(error) from error

    def refuse_full(self, text: str) -> None:
        """Conflict where that has no room behind what was read."""
        if len(self._read) >= _MOST or (self._room <= 0 and len(text) > _SMALL // 32):
            raise Conflict(f"run `{self._run.run_id}` has got too many messages already")

    def close(self, given: Collection[str], *, actor: str, leaves: bool = False) -> bool:
        """Puts the end behind all; False where a text is there that was not given yet, unless it `leaves`
        those. Where the disk refuses, the end is known to its owner alone: the run has to end nevertheless.
        """
        self.leaves = self.leaves or leaves
        while self._end_of(found := self.look()) is None:
            if not leaves and _pending(found, given):
                return False
            try:
                self._put(END, "", actor)
            except FileExistsError:
                continue
            except OSError as error:
                complain(f"its messages could not be closed: {error}")
                self._shut = Message("", END, "", actor, timestamp())
        return leaves or not self.pending(given)

    def reopen(self, actor: str) -> None:
        """Takes the end back that `actor` has put there."""
        self._shut, self.leaves = None, False
        if self._read and (last := self._read[-1]) is not None and (last.kind, last.actor) == (END, actor):
            withdraw(self._path(len(self._read)))
            self._read.pop()

    def _end_of(self, found: list[Message]) -> Message | None:
        return next((one for one in found if one.kind == END), self._shut)

    def _put(self, kind: str, text: str, actor: str, **more: Any) -> Message:
        """Behind all that were read; FileExistsError where there is another one by now."""
        made = Message(f"m-{len(self._read) + 1:04d}", kind, text, actor, timestamp(), **more)
        make_plain_folder(self._run.messages)
        publish(self._run.messages, f"{made.id}.json", json_bytes(made.to_json()))
        return made

    def _path(self, number: int) -> str:
        return f"{self._run.messages}/m-{number:04d}.json"


def _pending(found: list[Message], given: Collection[str]) -> list[Message]:
    texts = [one for one in found if one.kind == TEXT and one.id not in given and one.follow_up is None]
    return sorted(texts, key=lambda one: not one.now)


def checked_key(key: str | None) -> str | None:
    """UsageError for one that cannot be a key."""
    if key is not None and not (0 < len(key) <= _LONGEST_KEY and key.isprintable() and key.strip() == key):
        raise UsageError(f"a key has 1 to {_LONGEST_KEY} printable characters")
    return key
