"""USE CASES of approvals: a stage of a pipeline asks, and a person approves or rejects. Edge: disk.

Both stand in the ledger of the pipeline: a handoff of its run to a person, and the reply.
"""

from __future__ import annotations

import contextlib
import os

from runner.disk.digest import sha256
from runner.disk.files import follow, read_up_to
from runner.errors import Conflict, RunnerError, UsageError
from runner.ledger.entry import APPROVED, HUMAN, REJECTED, EntryType, is_of_person
from runner.ledger.lanes import AlreadyDecided, HandleNotFound, ProposalOutdated
from runner.state.plan_ledger import CHANGED
from runner.text.terminal import is_blank
from runner.text.words import few
from runner.usecases import ledger as ledgers
from runner.usecases.takers import continued, settled
from runner.value import Count, Value
from runner.verify.places import of_project

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.ledger.entry import LedgerEntry
    from runner.ledger.file import Ledger
    from runner.state.store import RunDir
    from runner.usecases.ledger import Author

_LARGEST = 16 << 20


class ApprovalNotFound(RunnerError):
    code = "approval_not_found"
    exit_status = UsageError.exit_status
    default_hint = "`runner inbox` shows what waits for a person"


class Document(Value):
    """A file as it was read."""

    digest: str
    lines: Count
    beginning: tuple[str, ...] = ()
    """Its first lines, for a person who is asked; of a long one more than is shown."""
    text: str = ""
    """All of it: what is told of the document is read from here, as another one may be there by then."""


class Approval(Value):
    """What a person has decided. `digest` is that of the document which that person saw."""

    approved: bool
    signer: str
    at: str
    note: str | None
    digest: str | None


def document(repo: str, file: str) -> Document:
    """Conflict where it is not there, is empty, or no file of the project that anybody could read."""
    try:
        fd, found = follow(os.path.join(repo, file))
        try:
            # What was opened is asked, not the name: a link may be put there in between.
            if of_project(os.path.realpath(repo), os.readlink(f"/proc/self/fd/{fd}")) is None:
                where = "outside of the repository, or where git or runner keeps its own"
                raise Conflict(f"{file} is {where}", hint="nobody can approve it")
            data = read_up_to(_LARGEST + 1, fd, found.st_size)
        finally:
            os.close(fd)
    except OSError as error:
        raise Conflict(f"{file} cannot be read: {error.strerror}", hint="write it first") from None
    if len(data) > _LARGEST:
        raise Conflict(f"{file} has more than {_LARGEST >> 20} MiB", hint="nobody would have read it")
    text = None
    with contextlib.suppress(UnicodeDecodeError):
        text = data.decode()
    if text is None or "\0" in text:
        raise Conflict(f"{file} is no UTF-8 text", hint="save it as UTF-8: nobody could read it")
    if is_blank(text):
        raise Conflict(f"{file} is empty", hint="write it first")
    lines = data.splitlines()
    first = tuple(line[:1000].decode(errors="replace") for line in lines[:40])
    return Document(sha256(data).hexdigest(), len(lines), first, text)


def legible(repo: str, file: str) -> Document | None:
    """None where nobody could approve it."""
    try:
        return document(repo, file)
    except Conflict:
        return None


# -- the run of a pipeline ---------------------------------------------------------------------------------


def ask(run: RunDir, stage: str, prompt: str, file: str | None, told: str | None = None) -> str:
    """The id of the entry that asks a person. One of this run, or of one that it goes on with, counts still
    where it is about the same file: as long as it is open, whatever became of the file since, and once it was
    decided, by whoever saw what is there now. The one that was `told` has been heeded, and is asked anew.
    """
    ledger, found = ledgers.ledger_of(run), legible(run.repo, file) if file else None
    digest = None if found is None else found.digest  # whoever approves it is told why not
    # Before the look at what is decided: HandleNotFound where a person is faster than this.
    state = ledger.state()
    before = next((one.id for one in state.open if one.approval == stage), None)
    if (last := next((one for one in asked_of(ledger) if one.text("approval") == stage), None)) is not None:
        decided, counts = decision(run, last.id), ledger.state().lane_of(last.id) is not None
        if decided is not None:
            counts = decided.digest == digest and last.id != told
        is_same = last.text("file") == (file or "") and any(
            one.run_id == last.run_id for one in continued(run)
        )
        if counts and is_same:
            return last.id
        if is_same and decided is not None and decided.approved and decided.digest != digest:
            prompt += f"\n({CHANGED.message})"
    first = stage if before is None else ledger.entry(before).text("lane")
    names = (first, *(f"{stage[:56]}-{n + 2}" for n in range(len(state.lanes) + 1)))
    taken = {one.name for one in state.lanes if one.handoff and one.handoff.approval != stage}
    lane = next(name for name in names if name not in taken)
    asked = {"reason": f"The stage {stage} waits for a person.", "ask": prompt, "lane": lane}
    payload = {**asked, "approval": stage, "file": file, "digest": digest, "supersedes": before}
    return ledgers.append(ledger, ledgers.of_run(run), EntryType.HANDOFF, payload, to=HUMAN).id


def decision(run: RunDir, entry: str) -> Approval | None:
    """How that was decided; None while it was not, and for what was asked anew since."""
    return _decided(ledgers.ledger_of(run), entry)


def is_open(run: RunDir, stage: str, entry: str) -> bool:
    """Whether that waits for a person there, asked for the stage by the run or one that it goes on with."""
    lane = ledgers.ledger_of(run).state().lane_of(entry)
    asked = None if lane is None else lane.handoff
    if asked is None or asked.approval != stage:
        return False
    return any(one.run_id == asked.maker_run for one in continued(run))


def _decided(ledger: Ledger, asked: str) -> Approval | None:
    replies = [] if ledger.state().lane_of(asked) else ledger.entries(kinds=(EntryType.REPLY,))
    for one in replies:
        if asked in one.handles and is_of_person(one) and (word := one.text("decision")):
            note = None if one.text("text") == word else one.text("text")
            return Approval(word == APPROVED, one.text("signer"), one.at, note, one.text("digest") or None)
    return None


def asked_of(ledger: Ledger) -> list[LedgerEntry]:
    """What was ever asked of a person, the newest first."""
    found = [one for one in ledger.entries(kinds=(EntryType.HANDOFF,)) if one.text("approval")]
    return found[::-1]


# -- people --------------------------------------------------------------------------------------------------


def pending(ledger: Ledger) -> tuple[LedgerEntry, ...]:
    """What waits there for a decision that some run heeds, the newest first."""
    return tuple(ledger.entry(one.id) for one in settled(ledger).state.open if one.approval is not None)


def meant(ledger: Ledger, stage: str | None, *, is_id: bool = False) -> LedgerEntry:
    """What waits for that stage, or where none is called so, has this id of an entry; without either the only
    one. ApprovalNotFound, AlreadyDecided, or UsageError.
    """
    waiting, known = pending(ledger), asked_of(ledger)
    asked = [] if is_id else [one for one in known if stage in (None, one.text("approval"))]
    asked = asked or [one for one in known if one.id == stage]
    found = [one for one in waiting if one in asked]
    if len(found) == 1:
        return found[0]
    hint = f"what waits: {few([one.text('approval') for one in waiting])}" if waiting else None
    if found:
        raise UsageError("several stages wait: name the one", hint=hint)
    for one in asked:
        if (was := _decided(ledger, one.id)) is not None:
            how = f"{APPROVED if was.approved else REJECTED} by {was.signer} at {was.at}"
            raise AlreadyDecided(f"{one.text('approval')} was {how}", hint=hint or "")
        if ledger.state().lane_of(one.id) is not None:
            text = (
                f"run `{one.run_id}` has asked about {one.text('approval')}, and no run goes on with that one"
            )
            raise ApprovalNotFound(text, hint=hint or "nothing heeds an answer; the stage asks anew")
    what = "nothing" if stage is None else f"no stage `{stage[:80]}`"
    raise ApprovalNotFound(f"{what} waits for an approval in {ledger.relative}", hint=hint)


def decide(
    ledger: Ledger,
    author: Author,
    asked: LedgerEntry,
    shown: Document | None,
    approves: bool,
    note: str | None,
) -> LedgerEntry:
    """A person does, about what was `shown`. PeopleOnly; AlreadyDecided for the second of two;
    ProposalOutdated where the document is another one by now.
    """
    ledgers.refuse_run(author)
    if (file := asked.text("file")) and approves and document(ledger.repo, file) != shown:
        raise ProposalOutdated(f"{file} is not as it was a moment ago", hint="read it, and approve it then")
    word = APPROVED if approves else REJECTED
    payload = {"text": note or word, "decision": word, "signer": ledgers.signer()}
    payload |= {"lane": asked.text("lane")} | ({} if shown is None else {"digest": shown.digest})
    try:
        return ledgers.append(ledger, author, EntryType.REPLY, payload, handles=(asked.id,))
    except HandleNotFound:
        meant(ledger, asked.id, is_id=True)  # says who was first
        raise
