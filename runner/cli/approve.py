"""The verb `approve`: a person lets a stage of a pipeline pass, or rejects it."""

from __future__ import annotations

import os

from runner.cli import pen
from runner.cli.ask import confirm
from runner.cli.parser import Namespace, Parser, here, stdin
from runner.cli.render import answer, indented
from runner.errors import ExitStatus
from runner.ledger.entry import MAX_TEXT, EntryInvalid
from runner.usecases import approval
from runner.usecases import ledger as ledgers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.ledger.file import Ledger
    from runner.usecases.ledger import Author


def add_approve(parser: Parser) -> None:
    parser.add_argument("task", metavar="TASK|RUN", help="the pipeline, or a run of it")
    parser.add_argument("stage", metavar="STAGE", nargs="?", help="default: the only one that waits")
    parser.add_argument("--reject", action="store_true", help="it is not to go on; the note says why")
    parser.add_argument("--note", metavar="TEXT", help="a word on it; `-` is stdin")
    parser.add_argument("--yes", action="store_true", help="without being asked, which a terminal does")
    parser.examples(
        *("runner approve feature", "runner approve feature prd --note 'As we have said.'"),
        "runner approve @latest prd --reject --note 'Who may see the invoices?'",
        note="For people only. The signature is for the document as it is then.",
    )


def run_approve(args: Namespace) -> int:
    ledger = ledgers.named(here(), args.task, os.environ)
    author = ledgers.person_or_run(ledger.repo, os.environ)
    return settle(args, ledger, author, args.stage, approves=not args.reject, is_sure=args.yes)


def settle(
    args: Namespace, ledger: Ledger, author: Author, stage: str | None, *, approves: bool, is_sure: bool
) -> int:
    from runner.conduct import preflight

    ledgers.refuse_run(author)
    preflight.refuse_nested(os.environ)
    asked = approval.meant(ledger, stage)
    name, file = asked.text("approval"), asked.text("file")
    shown = approval.document(ledger.repo, file) if file and approves else None
    if args.format == "text":
        seen = f"\n{file}, {shown.lines} lines, sha256 {shown.digest}" if shown else ""
        body = indented(f"        {asked.text('ask')}{seen}", 8, is_foreign=True)
        pen.tell(f"{asked.id}, stage {name} of {ledger.task_id}:\n{body}")
        if not is_sure and confirm(f"{'approve' if approves else 'reject'} {name}?") is False:
            pen.tell("nothing was decided")
            return ExitStatus.NOT_SUCCESSFUL
    note = stdin(MAX_TEXT, EntryInvalid) if args.note == "-" else args.note
    made = approval.decide(ledger, author, asked, shown, approves, note)
    words = f"{name} is {made.text('decision')} by {made.text('signer')} (closes {asked.id})"
    answer(args, made.to_json(), f"{made.id}  {words}")
    return ExitStatus.OK
