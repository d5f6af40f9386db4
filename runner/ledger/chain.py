"""The lines of a ledger, each of which names the one before. Pure.

A line is `{"mac":M,"hash":H,` and the rest of the entry. H is the SHA-256 of the line's object without these
two, as it is written, so anybody can check the chain. M is an HMAC of H and the ledger's place with the key
of this account: only an entry that has it is believed.
"""

from __future__ import annotations

from runner.disk.digest import sha256
from runner.ledger.entry import LONGEST, LedgerEntry, NewEntry, id_of
from runner.value import Misfit, Value, json_bytes, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

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


def entry_of(line: bytes, sign: Sign) -> LedgerEntry:
    """What a whole line says. ValueError where its hash is not that, BreakFound where the MAC is not ours."""
    entry = unproven(line)
    if line[len(_MAC) : len(_MAC) + 64] != sign(entry.hash.encode()).encode():
        raise BreakFound(Break(entry.seq, f"entry {entry.id} was not written here for this user", True))
    return entry


def unproven(line: bytes) -> LedgerEntry:
    """As `entry_of`, whoever wrote it."""
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


def follows(line: bytes, seq: int, prev: str, sign: Sign) -> LedgerEntry:
    """The entry of a line that has to come behind number `seq`, whose hash is `prev`. BreakFound."""
    wanted = id_of(seq + 1)
    try:
        entry = entry_of(line, sign)
    except BreakFound as broken:  # what is not ours can say any number
        raise BreakFound(broken.found.replace(seq=seq + 1)) from None
    except Misfit as misfit:
        raise BreakFound(Break(seq + 1, f"entry {wanted} cannot be read: {misfit}")) from None
    except ValueError as error:
        raise BreakFound(Break(seq + 1, f"entry {wanted} was changed: {error}")) from None
    if entry.seq != seq + 1:
        raise BreakFound(Break(seq + 1, f"entry {wanted} is missing: {entry.id} stands in its place"))
    if entry.prev != prev:
        raise BreakFound(Break(seq + 1, f"entry {wanted} does not follow the one before: it names another"))
    return entry
