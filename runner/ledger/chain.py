"""The lines of a ledger, each of which names the one before. Pure.

A line is `{"mac":M,"hash":H,` and the rest of the entry. H is the SHA-256 of the line's object without these
two, as it is written, so anybody can check the chain. M is an HMAC of H and the ledger's place with the key
of this account: only an entry that has it is believed.
"""

from __future__ import annotations

from runner.disk.digest import sha256
from runner.ledger.entry import LONGEST, NO_HASH, EntryType, LedgerEntry, NewEntry, checked_payload, id_of
from runner.value import Misfit, Value, json_bytes, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    Sign = Callable[[bytes], str]

_MAC, _HASH, _END = b'{"mac":"', b'","hash":"', b'",'
_SEQ = b'"seq":'
_AT_HASH = len(_MAC) + 64 + len(_HASH)
_AT_REST = _AT_HASH + 64 + len(_END)


class Break(Value):
    """Where a ledger stops being what was written: the number of the first entry that is not."""

    seq: int
    message: str
    is_foreign: bool = False
    """It was not written here, for this user: with a whole chain it may be another one's."""


class BreakFound(Exception):
    """`found` says what it is."""

    def __init__(self, found: Break) -> None:
        super().__init__(found.message)
        self.found = found


def written(
    draft: NewEntry, seq: int, prev: str, *, at: str, task_id: str, sign: Sign
) -> tuple[bytes, LedgerEntry]:
    """The line of an entry, and the entry."""
    body = {
        "seq": seq,
        "id": id_of(seq),
        "at": at,
        "task_id": task_id,
        "run_id": draft.run_id,
        "actor": draft.actor,
        "type": draft.type,
        "to": draft.to,
        "payload": dict(draft.payload),
        "handles": list(draft.handles),
        "prev": prev,
        **({} if draft.key is None else {"key": draft.key}),
    }
    rest = json_bytes(body, compact=True)
    found = sha256(rest).hexdigest()
    mac = sign(found.encode())
    line = b"".join((_MAC, mac.encode(), _HASH, found.encode(), _END, rest[1:], b"\n"))
    made = (seq, id_of(seq), at, task_id, draft.run_id, draft.actor, draft.type, draft.to, body["payload"])
    return line, LedgerEntry.of((*made, draft.handles, prev, found, draft.key))


def entry_of(line: bytes, sign: Sign, behind: tuple[int, str] | None = None) -> LedgerEntry:
    """What a line says that was written here; it comes `behind` that number, and that hash. BreakFound."""
    seq = (seq_of(line) or 0) if behind is None else behind[0] + 1

    def broken(why: str, *, is_foreign: bool = False) -> BreakFound:
        return BreakFound(Break(seq, f"entry {id_of(seq)} {why}", is_foreign))

    try:
        entry = _read(line)
    except Misfit as misfit:
        raise broken(f"cannot be read: {misfit}") from None
    except ValueError as error:
        raise broken(f"was changed: {error}") from None
    if line[len(_MAC) : len(_MAC) + 64] != sign(entry.hash.encode()).encode():
        raise broken("was not written here for this user", is_foreign=True)
    if entry.seq != seq:
        raise broken(f"is missing: {entry.id} stands in its place")
    if behind is not None and entry.prev != behind[1]:
        raise broken("does not follow the one before: it names another")
    return entry


def unproven(lines: Iterable[bytes]) -> Iterator[LedgerEntry]:
    """What they say, whoever wrote it, as far as their chain holds and one can tell what they mean."""
    prev = NO_HASH
    for seq, line in enumerate(lines, 1):
        try:
            entry = _read(line)
            if isinstance(entry.type, EntryType):
                checked_payload(entry.type, entry.payload)
        except ValueError:
            return
        if (entry.seq, entry.id, entry.prev) != (seq, id_of(seq), prev):
            return
        prev = entry.hash
        yield entry


def _read(line: bytes) -> LedgerEntry:
    """ValueError where it is no line, or its hash is not that of its text."""
    marks = line[: len(_MAC)] + line[_AT_HASH - len(_HASH) : _AT_HASH] + line[_AT_REST - len(_END) : _AT_REST]
    if marks != _MAC + _HASH + _END or len(line) > LONGEST:
        raise ValueError("it is no line of a ledger")
    told, rest = line[_AT_HASH : _AT_HASH + 64], b"{" + line[_AT_REST:-1]
    if sha256(rest).hexdigest().encode() != told:
        raise ValueError("its hash is not that of its text")
    return LedgerEntry.from_json({**json_value(rest), "hash": told.decode()})


def seq_of(line: bytes) -> int | None:
    """The number that a line has; None where it is none of a ledger."""
    told = line[_AT_REST : _AT_REST + 32].removeprefix(_SEQ).partition(b",")[0]
    return int(told) if line.startswith(_MAC) and told.isdigit() else None


def which(kinds: Collection[str], run_id: str | None) -> Callable[[bytes], bool]:
    """Tells the lines of some kinds, or of a run, where that is asked for: no text has a bare quote in it.
    Nothing is proven by that.
    """
    types = [b'"type":"%s",' % kind.encode() for kind in kinds]
    mark = b'"run_id":' + json_bytes(run_id)
    return lambda line: (not types or any(one in line for one in types)) and (run_id is None or mark in line)
