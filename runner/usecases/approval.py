"""USE CASES of approvals: a stage of a pipeline asks, and a person approves or rejects. Edge: disk.

Both stand in the ledger of the pipeline: a handoff of its run to a person, and the reply, with the digest of
the document as it was then.
"""

from __future__ import annotations

import os

from runner.disk.digest import sha256
from runner.disk.files import follow, read_up_to
from runner.errors import Conflict, RunnerError, UsageError
from runner.ledger.entry import APPROVED, HUMAN, REJECTED, EntryType, is_of_person
from runner.ledger.lanes import AlreadyDecided, HandleNotFound, ProposalOutdated
from runner.model import is_name
from runner.state.store import RunDir, is_run_id
from runner.text.words import few
from runner.usecases import ledger as ledgers
from runner.value import Count, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.ledger.entry import LedgerEntry
    from runner.ledger.file import Ledger
    from runner.usecases.ledger import Author

_LARGEST = 16 << 20


class ApprovalNotFound(RunnerError):
    code = "approval_not_found"
    exit_status = UsageError.exit_status
    default_hint = "`runner inbox` shows what waits for a person"


class Document(Value):
    """What is approved, as it was when it was read."""

    digest: str
    lines: Count


class Asked(Value):
    """What waits for a person."""

    id: str
    stage: str
    prompt: str
    file: str | None
    digest: str | None
    """Of the document when this was asked; None where it was not there, or could not be read."""
    at: str
    run_id: str | None


class Approval(Value):
    """What a person has decided. `digest` is that of the document which that person saw."""

    approved: bool
    signer: str
    at: str
    note: str | None
    digest: str | None
    entry: str


def document(repo: str, file: str) -> Document:
    """The file of the repository as it is now. Conflict where it is not there, or none that can be read."""
    try:
        fd, found = follow(os.path.join(repo, file))
        try:
            # What was opened is asked, not the name: a link may be put there in between.
            if not os.readlink(f"/proc/self/fd/{fd}").startswith(f"{os.path.realpath(repo)}/"):
                raise Conflict(f"{file} is outside of the repository", hint="nobody can approve it")
            data = read_up_to(_LARGEST + 1, fd, found.st_size)
        finally:
            os.close(fd)
    except OSError as error:
        raise Conflict(f"{file} cannot be read: {error.strerror}", hint="write it first") from None
    if len(data) > _LARGEST:
        raise Conflict(f"{file} has more than {_LARGEST >> 20} MiB", hint="nobody would have read it")
    return Document(sha256(data).hexdigest(), len(data.splitlines()))


# -- the run of a pipeline ---------------------------------------------------------------------------------


def ask(run: RunDir, stage: str, prompt: str, file: str | None) -> str:
    """The id of the entry by which a person is asked. What this run, or one that it continues, has asked of
    the same document counts still: also where it was decided, unless a run before this one was refused so.
    """
    ledger, author, digest = ledgers.ledger_of(run), ledgers.of_run(run), None
    if file is not None:
        try:
            digest = document(run.repo, file).digest
        except RunnerError:  # it is still to be written
            digest = None
    found = _newest(ledger, stage)
    if found is not None and (found.text("file") or None, found.text("digest") or None) == (file, digest):
        decided = _decided(ledger, found.id)
        is_open = ledger.state().lane_of(found.id) is not None
        counts = is_open or (decided is not None and (decided.approved or found.run_id == run.run_id))
        if counts and any(found.run_id == one for one in _continued(run)):
            return found.id
    before = next((one.id for one in ledger.state().open if one.approval == stage), None)
    payload = {
        "reason": f"The stage {stage} waits for a person.",
        "ask": prompt,
        **{"lane": stage, "approval": stage, "file": file, "digest": digest, "supersedes": before},
    }
    return ledgers.append(ledger, author, EntryType.HANDOFF, payload, to=HUMAN).id


def _continued(run: RunDir) -> Iterator[str]:
    """The ids of this run and of those whose work it goes on with."""
    seen: set[str] = set()
    while run.run_id not in seen:
        seen.add(run.run_id)
        yield run.run_id
        try:
            before = run.read_ledger().resumed_from
        except (RunnerError, ValueError):
            return
        if before is not None and is_name(before.task_id) and is_run_id(before.run_id):
            run = RunDir(run.repo, before.task_id, before.run_id)


def decision(run: RunDir, entry: str) -> Approval | None:
    """How that was decided; None while it was not, and for what was asked anew since."""
    ledger = ledgers.ledger_of(run)
    if ledger.state().lane_of(entry) is not None:
        return None  # most often
    return _decided(ledger, entry)


def _decided(ledger: Ledger, asked: str) -> Approval | None:
    for one in ledger.entries(kinds=(EntryType.REPLY,)):
        if asked in one.handles and is_of_person(one) and one.text("decision"):
            said, word = one.text("text"), one.text("decision")
            told = one.text("signer"), one.at, None if said == word else said, one.text("digest") or None
            return Approval(word == APPROVED, *told, one.id)
    return None


def _newest(ledger: Ledger, stage: str) -> LedgerEntry | None:
    """The latest time that this was asked."""
    asked = ledger.entries(kinds=(EntryType.HANDOFF,))
    return next((one for one in reversed(asked) if one.text("approval") == stage), None)


# -- people --------------------------------------------------------------------------------------------------


def pending(ledger: Ledger) -> tuple[Asked, ...]:
    """All that waits there, the newest first."""
    return tuple(asked_by(ledger.entry(one.id)) for one in ledger.state().open if one.approval is not None)


def asked_by(entry: LedgerEntry) -> Asked:
    file, digest = entry.text("file") or None, entry.text("digest") or None
    return Asked(entry.id, entry.text("approval"), entry.text("ask"), file, digest, entry.at, entry.run_id)


def meant(ledger: Ledger, stage: str | None) -> Asked:
    """The one of that stage, or with that id of an entry; without either the only one. ApprovalNotFound with
    those that wait, AlreadyDecided, and UsageError where several do.
    """
    waiting = pending(ledger)
    found = [one for one in waiting if stage in (None, one.stage, one.id)]
    if len(found) == 1:
        return found[0]
    if found:
        names = few([one.stage for one in found])
        raise UsageError(f"several stages wait: {names}", hint=f"runner approve {ledger.task_id} STAGE")
    asked = [one for one in ledger.entries(kinds=(EntryType.HANDOFF,)) if one.text("approval")]
    for one in reversed(asked):
        if stage in (None, one.text("approval"), one.id) and (was := _decided(ledger, one.id)) is not None:
            how = APPROVED if was.approved else REJECTED
            show = f"`runner ledger show {ledger.task_id}` says more"
            raise AlreadyDecided(f"{one.text('approval')} was {how} by {was.signer} at {was.at}", hint=show)
    what = "nothing" if stage is None else f"no stage `{stage[:80]}`"
    hint = f"what waits: {few([one.stage for one in waiting])}" if waiting else None
    raise ApprovalNotFound(f"{what} waits for an approval in {ledger.relative}", hint=hint)


def decide(
    ledger: Ledger, author: Author, asked: Asked, shown: Document | None, *, approves: bool, note: str | None
) -> LedgerEntry:
    """A person does, about what was `shown`. PeopleOnly; AlreadyDecided for the second of two;
    ProposalOutdated where the document is not as it was shown, or it was asked anew.
    """
    ledgers.refuse_run(author)
    if asked.file is not None and approves:
        now = document(ledger.repo, asked.file)
        if shown is None or now.digest != shown.digest:
            hint = "read it again, and approve it then"
            raise ProposalOutdated(f"{asked.file} is not as it was a moment ago", hint=hint)
    said = APPROVED if approves else REJECTED
    told = {"text": note or said, "lane": asked.stage, "decision": said, "signer": ledgers.signer()}
    payload = {**told, "digest": None if shown is None else shown.digest}
    try:
        return ledgers.append(ledger, author, EntryType.REPLY, payload, handles=(asked.id,))
    except HandleNotFound:
        meant(ledger, asked.id)  # says who was first
        raise
