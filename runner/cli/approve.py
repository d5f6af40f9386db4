"""The verb `approve`: a person lets a stage of a pipeline pass, or rejects it."""

from __future__ import annotations

import os

from runner.cli import pen
from runner.cli.ask import confirm, person
from runner.cli.parser import Namespace, Parser, here, stdin
from runner.cli.render import answer, indented
from runner.errors import ExitStatus, UsageError
from runner.ledger.entry import MAX_TEXT, EntryInvalid
from runner.text.terminal import plain, revealed
from runner.text.words import count
from runner.usecases import approval
from runner.usecases import ledger as ledgers
from runner.usecases.approval import ApprovalNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.ledger.entry import LedgerEntry
    from runner.ledger.file import Ledger
    from runner.usecases.approval import Document
    from runner.usecases.ledger import Author


def add_approve(parser: Parser) -> None:
    parser.add_argument("task", metavar="TASK|RUN", help="the pipeline, or a run of it")
    parser.add_argument("stage", metavar="STAGE", nargs="?", help="default: the only one that waits")
    parser.add_argument("--reject", action="store_true", help="it is not to go on; the note says why")
    parser.add_argument("--note", metavar="TEXT", help="a word on it; `-` is stdin")
    parser.add_argument("--yes", action="store_true", help="decide it without being asked")
    parser.examples(
        *("runner approve feature", "runner approve feature prd --note 'As we have said.'"),
        "runner approve @latest prd --reject --note 'Who may see the invoices?'",
        note="For people only. The signature is for the document as it is then.",
    )


def run_approve(args: Namespace) -> int:
    ledger = ledgers.named(here(), args.task, os.environ, hint=ApprovalNotFound.default_hint or "")
    author, asked = person(ledger.repo), approval.meant(ledger, args.stage)
    return settle(args, ledger, author, asked, approves=not args.reject, is_sure=args.yes)


def settle(
    args: Namespace, ledger: Ledger, author: Author, asked: LedgerEntry, *, approves: bool, is_sure: bool
) -> int:
    from runner.conduct.stage_plan import executed  # a ledger is signed without plans

    name, file = asked.text("approval"), asked.text("file")
    look = approval.document if approves else approval.legible
    shown = look(ledger.repo, file) if file else None
    commands = executed(ledger.repo, asked, shown.text) if approves and shown else ()
    said: bool | None = is_sure or None
    why, first = "an answer in JSON asks nothing", file or "what is asked"
    if args.format == "text":
        body = indented(f"        {revealed(asked.text('ask'))}", 8, is_foreign=True)
        seen = _beginning(file, shown, commands) if shown else ""
        pen.tell(f"{asked.id}, stage {name} of {ledger.task_id}:\n{body}{seen}")
        why, first = "there is no terminal to ask at", "the text above"
        said = said or confirm(f"{'approve' if approves else 'reject'} {name}?")
    if said is None:
        raise UsageError(why, hint=f"read {first}; `--yes` decides it without asking")
    if not said:
        pen.tell("nothing was decided")
        return ExitStatus.NOT_SUCCESSFUL
    note = stdin(MAX_TEXT, EntryInvalid) if args.note == "-" else args.note
    made = approval.decide(ledger, author, asked, shown, approves, note)
    words = f"{name} is {made.text('decision')} by {made.text('signer')} (closes {asked.id})"
    answer(args, made.to_json(), f"{made.id}  {words}")
    return ExitStatus.OK


def _beginning(file: str, shown: Document, commands: Sequence[str]) -> str:
    """All of it as every character shows: what a terminal obeys or hides may be what a command does."""
    file = revealed(file)
    head = indented(f"{file}, {count(shown.lines, 'line')}, sha256 {shown.digest}", 8, is_foreign=True)
    cut = (line[:200] + "..." * (len(line) > 200) for line in shown.beginning)
    rows = [head, *(f"| {indented(revealed(line), 10, is_foreign=True)}" for line in cut)]
    if left := shown.lines - len(shown.beginning):
        rows.append(indented(f"... {count(left, 'more line')}: {file}", 8, is_foreign=True))
    if commands:
        rows.append("what runner executes of it, outside of every sandbox:")
        rows += [f"| {indented(plain(one), 10, is_foreign=True)}" for one in commands]
    return "".join(f"\n        {row}" for row in rows)
