"""An entry of the ledger of a task: what it can say, and how much. Pure.

The words of artifacts are those of ContextRelay, so that its instructions to agents hold here.
"""

from __future__ import annotations

from runner.errors import UsageError
from runner.model import is_name
from runner.value import Count, Misfit, StrEnum, Timestamp, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from runner.model import Json


class EntryType(StrEnum):
    """What an entry is."""

    NOTE = "note"
    MESSAGE = "message"
    REPLY = "reply"
    HANDOFF = "handoff"
    HANDOFF_TAKEN = "handoff_taken"
    ARTIFACT = "artifact"
    FINALITY_PROPOSED = "finality_proposed"
    FINALITY_SIGNED = "finality_signed"
    FINALITY_REJECTED = "finality_rejected"
    RUN_STARTED = "run_started"
    RUN_ENDED = "run_ended"
    COORDINATOR_CHANGED = "coordinator_changed"
    MARKER_ERROR = "marker_error"
    RESTARTED = "restarted"


HUMAN, OWNER, RUNNER = "human", "owner", "runner"
"""Actors that are no run: a person, a host whose server belongs to no run, and what runner saw itself."""
CONDUCTOR = "plan"
"""The runtime of a run whose program is ours (`runtimes.PLAN`): what it says is said by no agent."""
DECISIONS = APPROVED, REJECTED = "approved", "rejected"
MAIN = "main"
"""The lane of whoever names none."""
MARKED = "[IMPORTANT]"
"""What a final message begins with that has a marker (`verify.markers`)."""
TASK = "task"
NO_HASH = "0" * 64
"""What stands before the first entry."""
ARTIFACT_KINDS = (
    *("patch_summary", "release_gate", "test_report", "command_log", "escalation_suggestion"),
    *("idle_opportunity", "idle_action_result", "idle_fleet_result", "idle_evaluation_result"),
)
STATUSES = ("passed", "failed", "blocked", "unknown", "skipped", "timed_out")

MAX_TEXT = 64 * 1024
"""Characters of a text."""
MAX_LINE = 4096
"""Characters of a title, a reason, a reference or a piece of evidence."""
MAX_ITEMS = 100
"""References, pieces of evidence, or handles, of one entry."""
LONGEST = 2 * 1024 * 1024
"""Bytes of a line of the file: whatever the caps above let through fits, escaped and all."""
MAX_WHOLE = 256 * 1024
"""Characters of all texts of an entry."""


_QUOTED = 2000
_HANDLING = (
    *(EntryType.NOTE, EntryType.REPLY, EntryType.HANDOFF, EntryType.HANDOFF_TAKEN),
    *(EntryType.ARTIFACT, EntryType.FINALITY_PROPOSED),
)
_IDS = ("supersedes", "proposal")
"""Where nothing is named, the newest one is meant: an empty variable of a script names none."""


class EntryInvalid(UsageError):
    code = "entry_invalid"
    default_hint = "`runner ledger ACTION --help` says what it takes"


class Text(Value):
    """A text that an entry has; `is_line`: it is one line."""

    most: int = MAX_TEXT
    is_line: bool = False
    may_miss: bool = False


class Items(Value):
    """Lines that an entry has, or none."""


class Numbers(Value):
    """A number that runner has measured, or a table of such; `is_table` says which."""

    is_table: bool = False


class OneOf(Value):
    """A word of a set."""

    words: tuple[str, ...]


_LINE = Text(MAX_LINE, is_line=True)
_MAYBE = Text(may_miss=True)
_MAYBE_LINE = Text(MAX_LINE, is_line=True, may_miss=True)
_DECISION = {"proposal": _MAYBE_LINE, "signer": _LINE, "note": _MAYBE}
SHAPES: Mapping[EntryType, Mapping[str, Text | Items | OneOf | Numbers]] = {
    EntryType.NOTE: {"text": Text()},
    EntryType.MESSAGE: {"text": Text()},
    EntryType.REPLY: {
        "text": Text(),
        **dict.fromkeys(("lane", "decision", "signer", "digest"), _MAYBE_LINE),
    },
    EntryType.HANDOFF: {
        "reason": Text(MAX_LINE),
        "ask": Text(),
        "context_refs": Items(),
        "lane": _MAYBE_LINE,
        "supersedes": _MAYBE_LINE,
        "receiver": _MAYBE_LINE,
        **dict.fromkeys(("approval", "file", "digest"), _MAYBE_LINE),
    },
    EntryType.HANDOFF_TAKEN: {},
    EntryType.ARTIFACT: {
        "kind": OneOf(ARTIFACT_KINDS),
        "title": _LINE,
        "summary": Text(),
        "status": OneOf(STATUSES),
        "evidence": Items(),
        "files": Items(),
    },
    EntryType.FINALITY_PROPOSED: {
        "summary": Text(),
        "evidence": Text(),
        "remaining_risk": _MAYBE,
        "lane": _MAYBE_LINE,
    },
    EntryType.FINALITY_SIGNED: _DECISION,
    EntryType.FINALITY_REJECTED: _DECISION,
    EntryType.RUN_STARTED: {
        "task": _LINE,
        "runtime": _LINE,
        "model": _MAYBE_LINE,
        "sandbox": _LINE,
        "rehearsal": _MAYBE_LINE,
        **dict.fromkeys(("host", "session", "hint"), _MAYBE_LINE),
    },
    EntryType.RUN_ENDED: {
        "status": _LINE,
        **dict.fromkeys(("outcome", "code", "model", "verdict", "thread"), _MAYBE_LINE),
        "message": _MAYBE,
        **dict.fromkeys(("exit_code", "duration_s"), Numbers()),
        "tokens": Numbers(is_table=True),
    },
    EntryType.COORDINATOR_CHANGED: {"owner": _LINE, "before": _MAYBE_LINE},
    EntryType.MARKER_ERROR: {"message": Text(), "marker": _MAYBE},
    EntryType.RESTARTED: {"former": _LINE, "problem": Text()},
}
"""What the payload of each type has; nothing else is written in it. `receiver` of a handoff is TASK where a
runtime has that name as well; its `approval` is the stage that a person is asked to approve. `digest` is the
SHA-256 of the document.
"""


class NewEntry(Value):
    """What is to become an entry. `run_id` and `runtime` are of the run that speaks, or is spoken of."""

    type: EntryType
    actor: str
    payload: Json
    to: str | None = None
    handles: tuple[str, ...] = ()
    run_id: str | None = None
    runtime: str | None = None
    key: str | None = None
    """What is told with a key stands there once, however often it is told."""
    is_shown: bool = False
    """Of a decision: it is about what was shown as awaiting one, and no longer is where work went on."""


class LedgerEntry(Value):
    """One line of the ledger. `hash` is that of the line, `prev` that of the line before. Its payload
    is not looked at again: a newer runner may have written more.
    """

    seq: Count
    id: str
    at: Timestamp
    task_id: str
    run_id: str | None
    actor: str
    type: EntryType | str
    """One that is none of ours is a newer runner's: it is shown, and moves nothing."""
    to: str | None
    payload: Json
    handles: tuple[str, ...]
    prev: str
    hash: str
    key: str | None = None

    def text(self, name: str) -> str:
        """A text of its payload; empty where it has none."""
        return str(self.payload.get(name) or "")


_ONLY_RUNNERS = (EntryType.RUN_STARTED, EntryType.RUN_ENDED, EntryType.MARKER_ERROR)


def is_of_person(said: NewEntry | LedgerEntry) -> bool:
    """Whether a person says it, and no run of a task of that name."""
    return said.actor == HUMAN and said.run_id is None


def is_of_runner(said: NewEntry | LedgerEntry) -> bool:
    """Whether runner saw it itself, and no run of a task of that name says it."""
    return is_runners(said.type, said.actor, said.run_id, said.key)


def is_runners(kind: str, actor: str, run_id: str | None, key: str | None) -> bool:
    """As `is_of_runner`. What an agent says has no key, or that of its turn."""
    return actor == RUNNER and (kind in _ONLY_RUNNERS or key in (f"{run_id}:patch", f"{run_id}:tests"))


def id_of(seq: int) -> str:
    """How an entry is named."""
    return f"e-{seq:04d}"


def cleaned(draft: NewEntry, clean: Callable[[str], str]) -> NewEntry:
    """What is much too long is refused later, and not cleaned before."""

    def safe(text: Any) -> Any:
        return clean(text) if isinstance(text, str) and len(text) <= 2 * MAX_TEXT else text

    payload = {
        name: [safe(item) for item in value] if isinstance(value, list | tuple) else safe(value)
        for name, value in draft.payload.items()
    }
    return draft.replace(payload=payload, to=safe(draft.to))


def checked(draft: NewEntry) -> NewEntry:
    """As it is written: without what says nothing. EntryInvalid."""
    receiver = draft.to
    if receiver is not None and not is_name(receiver):
        raise EntryInvalid(f"`{receiver[:80]}` is no receiver", hint="human, owner, a task or a runtime")
    if receiver == RUNNER:
        raise EntryInvalid(
            "runner is no receiver: it tells what it saw", hint="human, owner, a task or a runtime"
        )
    needs = draft.type in (EntryType.HANDOFF, EntryType.MESSAGE)
    if (receiver is None) is needs:
        raise EntryInvalid(f"a {draft.type} {'needs a' if needs else 'has no'} receiver")
    if draft.handles and draft.type not in _HANDLING:
        raise EntryInvalid(f"a {draft.type} handles nothing", hint="a reply or a note does")
    if len(draft.handles) > MAX_ITEMS:
        raise EntryInvalid(f"`handles` has more than {MAX_ITEMS} ids")
    payload = {
        name: value
        for name, value in draft.payload.items()
        if value not in (None, "", [], ()) or (value == "" and name in _IDS)
    }
    payload = {name: [*value] if isinstance(value, tuple) else value for name, value in payload.items()}
    try:
        checked_payload(draft.type, payload)
    except Misfit as misfit:
        raise EntryInvalid(f"{draft.type}: {misfit}") from None
    lane = payload.get("lane")
    if lane is not None and not is_name(str(lane)):
        raise EntryInvalid(f"`{str(lane)[:80]}` is no name of a lane", hint="letters, digits, `.`, `_`, `-`")
    return draft.replace(payload=payload, handles=tuple(dict.fromkeys(draft.handles)))


def not_admitted(draft: NewEntry, message: str, marker: str | None = None) -> NewEntry:
    """What runner says instead of it: why it is not there, and how it began."""
    said = marker or "\n".join(f"{name}: {value}" for name, value in draft.payload.items())
    quoted = said if len(said) <= _QUOTED else f"{said[: _QUOTED - 3]}..."
    payload = {"message": message, "marker": quoted}
    return NewEntry(EntryType.MARKER_ERROR, RUNNER, payload, run_id=draft.run_id, key=draft.key)


def checked_payload(kind: EntryType, payload: Json) -> None:
    """Misfit where it is not that of such an entry."""
    shape, size = SHAPES[kind], 0
    for name in payload:
        if name not in shape:
            raise Misfit(f"there is no such field; known: {', '.join(shape)}").inside(name)
    for name, wanted in shape.items():
        value = payload.get(name)
        try:
            size += _size(value, wanted)
        except Misfit as misfit:
            raise misfit.inside(name) from None
    if size > MAX_WHOLE:
        raise Misfit(f"all its texts have {size:,} characters together, and an entry at most {MAX_WHOLE:,}")


def _size(value: Any, wanted: Text | Items | OneOf | Numbers) -> int:
    if isinstance(wanted, Numbers):
        numbers = [*value.values()] if wanted.is_table and type(value) is dict else [value]
        if any(type(one) not in (int, float, type(None)) for one in numbers):
            raise Misfit.of(value, "a table of numbers" if wanted.is_table else "a number")
        return 0
    if isinstance(wanted, OneOf):
        if value not in wanted.words:
            raise Misfit.of(value, f"one of {', '.join(wanted.words)}")
        return len(value)
    if isinstance(wanted, Items):
        items = [] if value is None else value
        if type(items) is not list or len(items) > MAX_ITEMS:
            raise Misfit.of(value, f"at most {MAX_ITEMS} lines")
        return sum(_size(item, _LINE) for item in items)
    if value is None:
        if not wanted.may_miss:
            raise Misfit("it is missing, or empty")
        return 0
    if not isinstance(value, str) or not value.strip():
        raise Misfit.of(value, "a text")
    if len(value) > wanted.most:
        raise Misfit(f"it has {len(value):,} characters; at most {wanted.most:,}")
    if "\0" in value or (wanted.is_line and len(value.splitlines()) > 1):
        raise Misfit("it has a NUL character" if "\0" in value else "it has more than one line")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Misfit("it has half a character") from None
    return len(value)
