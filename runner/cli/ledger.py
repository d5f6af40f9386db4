"""The verb `ledger`: what agents and people of a task tell each other."""

from __future__ import annotations

import os

from runner.cli import pen
from runner.cli.actions import add_actions
from runner.cli.ask import confirm, person
from runner.cli.parser import Namespace, Parser, WrongText, duration, here, stdin
from runner.cli.render import answer, emit
from runner.errors import ExitStatus, UsageError
from runner.ledger.entry import (
    ARTIFACT_KINDS,
    HUMAN,
    MAX_TEXT,
    RUNNER,
    STATUSES,
    EntryInvalid,
    EntryType,
)
from runner.ledger.lanes import ProposalStatus
from runner.state import index
from runner.text.words import count
from runner.usecases import git_owner
from runner.usecases import ledger as ledgers
from runner.usecases.find import find_root
from runner.usecases.takers import settled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.ledger.entry import LedgerEntry
    from runner.ledger.file import Ledger
    from runner.usecases.ledger import Author


def _seq(text: str) -> int:
    digits = text.removeprefix("e-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise WrongText(f"not the number of an entry: {text[:40]!r}")
    return int(digits)


# -- what can be told ------------------------------------------------------------------------------------


def add_ledger(parser: Parser) -> None:
    parser.examples(
        "runner ledger show fix-auth",
        'runner ledger note fix-auth "Goal: refuse old tokens."',
        "runner ledger handoff --help",
    )
    add_actions(parser, "ledger")


def _add_task(parser: Parser, *, default: str | None = None) -> None:
    parser.add_argument(
        "task",
        metavar="TASK|RUN",
        nargs=None if default is None else "?",
        default=default,
        help="a task id, or a run: the ledger that it shares" + (f" (default: {default})" if default else ""),
    )


def _add_entries(parser: Parser) -> None:
    """What says which entries are meant."""
    parser.add_argument("--since", type=_seq, metavar="N", help="only entries after number N")
    parser.add_argument(
        "--type",
        choices=tuple(EntryType),
        metavar="T",
        action="append",
        default=[],
        dest="kinds",
        help="only entries of this type: note, handoff, artifact and so on (repeatable)",
    )


def _add_handles(parser: Parser, *, lane: bool = True) -> None:
    parser.add_argument(
        "--handles",
        metavar="ID",
        action="append",
        default=[],
        help="the open handoff that this answers, and closes (repeatable)",
    )
    if lane:
        parser.add_argument("--lane", metavar="L", help="the piece of work, by a name of yours")


def _add_new(parser: Parser) -> None:
    parser.add_argument(
        "--new", action="store_true", help="also for a task that has no run yet and is in no settings"
    )


def add_ledger_list(parser: Parser) -> None:
    parser.examples("runner ledger list", "runner ledger list --json")


def add_ledger_show(parser: Parser) -> None:
    _add_task(parser, default="@latest")
    parser.add_argument(
        "-n", "--limit", type=_seq, metavar="N", help=f"the newest N entries (default: {ledgers.LIMIT})"
    )
    _add_entries(parser)
    parser.add_argument("-a", "--all", action="store_true", help="every entry, with its whole text")
    parser.examples(
        "runner ledger show fix-auth",
        "runner ledger show fix-auth --type handoff --type reply --all",
        "runner ledger show @latest --since 12 --json",
    )


def add_ledger_note(parser: Parser) -> None:
    _add_task(parser)
    parser.add_argument("text", metavar="TEXT", help="`-` is stdin")
    _add_handles(parser, lane=False)
    _add_new(parser)
    parser.examples(
        'runner ledger note fix-auth "Goal: refuse an expired token. Acceptance: make test."',
        "runner ledger note fix-auth - < brief.md",
    )


def add_ledger_handoff(parser: Parser) -> None:
    _add_task(parser)
    parser.add_argument("--to", metavar="X", required=True, help="a task, a runtime, human or owner")
    parser.add_argument("--reason", metavar="R", required=True, help="why the work moves")
    parser.add_argument("--ask", metavar="TEXT", required=True, help="what is to be done; `-` is stdin")
    parser.add_argument(
        "--ref",
        metavar="PATH",
        action="append",
        default=[],
        dest="refs",
        help="a file that matters, perhaps with a line, as in a.py:12 (repeatable)",
    )
    _add_handles(parser)
    parser.add_argument("--supersedes", metavar="ID", help="your own open handoff that this one replaces")
    _add_new(parser)
    parser.examples(
        "runner ledger handoff fix-auth --to fix-auth --reason 'It is focused work.' \\",
        "    --ask 'Refuse an expired token, as the note says. Then run make test.' --ref src/auth.py",
        "runner ledger handoff fix-auth --to review --reason 'It needs a review.' --ask - < findings.md",
    )


def add_ledger_reply(parser: Parser) -> None:
    _add_task(parser)
    parser.add_argument("text", metavar="TEXT", help="`-` is stdin")
    _add_handles(parser)
    parser.examples(
        'runner ledger reply fix-auth "Two findings: ..."',
        'runner ledger reply fix-auth "Not needed any more." --handles e-0004',
        note="Without --handles it answers the open handoff that is addressed to you.",
    )


def add_ledger_send(parser: Parser) -> None:
    _add_task(parser)
    parser.add_argument("text", metavar="TEXT", help="`-` is stdin")
    parser.add_argument("--to", metavar="X", required=True, help="a task, a runtime, human or owner")
    parser.examples(
        'runner ledger send fix-auth --to review "The API stays as it is."',
        note="It is read where the ledger is read. `runner send` begins a turn of a run that waits.",
    )


def add_ledger_artifact(parser: Parser) -> None:
    _add_task(parser)
    parser.add_argument(
        "--kind", metavar="K", choices=ARTIFACT_KINDS, required=True, help=", ".join(ARTIFACT_KINDS)
    )
    parser.add_argument("--title", metavar="T", required=True, help="one line")
    parser.add_argument("--summary", metavar="S", required=True, help="what it shows; `-` is stdin")
    parser.add_argument("--status", metavar="X", choices=STATUSES, required=True, help=", ".join(STATUSES))
    _add_evidence(parser, required=False)
    _add_handles(parser, lane=False)
    parser.examples(
        "runner ledger artifact fix-auth --kind test_report --title 'make test' --status passed \\",
        "    --summary 'All green, four of them new.' --evidence 'make test: 212 passed'",
    )


def add_ledger_propose(parser: Parser) -> None:
    _add_task(parser)
    parser.add_argument("--summary", metavar="S", required=True, help="what was done; `-` is stdin")
    _add_evidence(parser, required=True)
    parser.add_argument("--risk", metavar="R", help="what remains")
    _add_handles(parser)
    parser.examples(
        "runner ledger propose fix-auth --summary 'Expired tokens are refused.' \\",
        "    --evidence 'make test passed (e-0007)' --risk none",
        note="Nothing is final before a person has signed it. Neither the proposal nor that touches git.",
    )


def _add_evidence(parser: Parser, *, required: bool) -> None:
    told: dict[str, Any] = {"required": True} if required else {"default": []}
    parser.add_argument(
        "--evidence", metavar="E", action="append", help="a file, or what a command said (repeatable)", **told
    )


def add_ledger_sign(parser: Parser) -> None:
    _add_task(parser)
    parser.add_argument(
        "--proposal", metavar="ID", help="this one (default: the newest, once you have seen it and say yes)"
    )
    parser.add_argument("--note", metavar="TEXT", help="a word on it; `-` is stdin")
    parser.add_argument("--yes", action="store_true", help="decide an approval without being asked")
    verb = parser.prog.removeprefix("runner ")
    parser.examples(
        f"runner {verb} fix-auth --proposal e-0010 --note 'I have read the change.'",
        note="For people only: no run, no host and no agent can do it.",
    )


add_ledger_reject = add_ledger_sign


def add_ledger_wait(parser: Parser) -> None:
    _add_task(parser, default="@latest")
    _add_entries(parser)
    parser.add_argument("--timeout", type=duration, metavar="D", help="give up after this long (exit 75)")
    parser.examples(
        "runner ledger wait fix-auth",
        "runner ledger wait fix-auth --since 12 --timeout 10m --json",
        note="With --since, what came before the command is not missed: go on with the `seq` of the answer.",
    )


def add_ledger_verify(parser: Parser) -> None:
    _add_task(parser, default="@latest")
    parser.add_argument(
        "--set-aside", action="store_true", help="give one that is broken another name, and begin anew"
    )
    parser.examples("runner ledger verify fix-auth", "runner ledger verify fix-auth --set-aside")


def add_ledger_coordinator(parser: Parser) -> None:
    _add_task(parser)
    parser.add_argument(
        "owner", metavar="OWNER", nargs="?", help="human, runner or a task: who alone writes git from now on"
    )
    parser.examples("runner ledger coordinator fix-auth", "runner ledger coordinator fix-auth human")


# -- writing ---------------------------------------------------------------------------------------------


def run_ledger(args: Namespace) -> int:
    raise UsageError("say what to do with the ledger of which task", hint=f"runner ledger {args.action} TASK")


def _open(args: Namespace, *, people_only: bool = False) -> tuple[Ledger, Author]:
    """The ledger to write in, and as whom."""
    ledger = ledgers.named(here(), args.task, os.environ, is_new=vars(args).get("new", False))
    author = person(ledger.repo) if people_only else ledgers.person_or_run(ledger.repo, os.environ)
    ledgers.refuse_other(ledger, author)
    return ledger, author


def _text(word: str) -> str:
    return stdin(MAX_TEXT, EntryInvalid) if word == "-" else word


def _told(args: Namespace, entry: LedgerEntry, words: str, **more: Any) -> int:
    closed = f" (closes {', '.join(entry.handles)})" if entry.handles else ""
    first, *rest = words.split("\n")
    answer(args, {**entry.to_json(), **more}, "\n".join([f"{entry.id}  {first}{closed}", *rest]))
    return ExitStatus.OK


def run_ledger_note(args: Namespace) -> int:
    ledger, author = _open(args)
    payload = {"text": _text(args.text)}
    return _told(args, ledgers.append(ledger, author, EntryType.NOTE, payload, handles=args.handles), "noted")


def run_ledger_send(args: Namespace) -> int:
    ledger, author = _open(args)
    _refuse_unknown(args.to, author)
    entry = ledgers.append(ledger, author, EntryType.MESSAGE, {"text": _text(args.text)}, to=args.to)
    return _told(args, entry, f"left for {args.to}")


def run_ledger_reply(args: Namespace) -> int:
    ledger, author = _open(args)
    payload = {"text": _text(args.text), "lane": args.lane}
    entry = ledgers.append(ledger, author, EntryType.REPLY, payload, handles=args.handles)
    words = "answered" if entry.handles else "said, and no handoff was open to you"
    return _brought(args, ledger, entry, author, words)


def run_ledger_handoff(args: Namespace) -> int:
    ledger, author = _open(args)
    _refuse_unknown(args.to, author)
    payload = {
        "reason": args.reason,
        "ask": _text(args.ask),
        "context_refs": [_from_root(ledger, ref) for ref in args.refs],
        "lane": args.lane,
        "supersedes": args.supersedes,
    }
    entry = ledgers.append(ledger, author, EntryType.HANDOFF, payload, to=args.to, handles=args.handles)
    return _brought(args, ledger, entry, author, f"handed to {args.to} on lane {entry.text('lane')}")


def _brought(args: Namespace, ledger: Ledger, entry: LedgerEntry, author: Author, words: str) -> int:
    """What was said, and what becomes of it."""
    from runner.usecases.receivers import deliver

    found = deliver(ledger, entry, author, os.environ)
    if found.run is not None:
        more = f" as {found.message}" if found.message else ""
        run = index.ShortNames(ledger.repo)[found.run.run_id]
        words += f"\n{found.state:<9} run {run}{more}: runner logs {run} -f"
    elif found.why is not None:
        why = f"no run was started: {found.why['message']}"
        words += f"\n{found.state:<9} {why}\n{'':<10}{found.why['hint'] or ''}"
    return _told(args, entry, words, delivery=found.to_json())


def _from_root(ledger: Ledger, ref: str) -> str:
    """A path is typed as seen from where one is."""
    below = os.path.relpath(here(), ledger.repo)
    return ref if below == "." or os.path.isabs(ref) else f"{below}/{ref}"


def _refuse_unknown(name: str, author: Author) -> None:
    ledgers.refuse_no_receiver(here(), name, os.environ, author)


def run_ledger_artifact(args: Namespace) -> int:
    ledger, author = _open(args)
    payload = {name: getattr(args, name) for name in ("kind", "title", "status", "evidence")}
    payload["summary"] = _text(args.summary)
    entry = ledgers.append(ledger, author, EntryType.ARTIFACT, payload, handles=args.handles)
    return _told(args, entry, f"{args.kind} {args.status}, as you report it")


def run_ledger_propose(args: Namespace) -> int:
    ledger, author = _open(args)
    payload = {"summary": _text(args.summary), "evidence": "\n".join(args.evidence)}
    payload |= {"remaining_risk": args.risk, "lane": args.lane}
    entry = ledgers.append(ledger, author, EntryType.FINALITY_PROPOSED, payload, handles=args.handles)
    return _told(
        args, entry, f"waits for a person: runner ledger sign {ledger.task_id} --proposal {entry.id}"
    )


def run_ledger_sign(args: Namespace) -> int:
    return _decided(args, signs=True)


def run_ledger_reject(args: Namespace) -> int:
    return _decided(args, signs=False)


def _decided(args: Namespace, *, signs: bool) -> int:
    from runner.cli.approve import settle
    from runner.cli.ledger_text import to_decide
    from runner.usecases.approval import asked_of, meant

    ledger, author = _open(args, people_only=True)
    named, waiting = args.proposal or None, settled(ledger).state.proposal
    if any(one.id == named for one in asked_of(ledger)):
        asked = meant(ledger, named, is_id=True)
        return settle(args, ledger, author, asked, approves=signs, is_sure=args.yes)
    note = None if args.note is None else _text(args.note)
    if waiting is not None and waiting.decided_by is None and named in (None, waiting.id):
        if args.format == "text":
            pen.say(to_decide(ledger.entry(waiting.id), waiting))
        if named is None and waiting.status is ProposalStatus.AWAITING:  # nobody decides what was not shown
            verb = "sign" if signs else "reject"
            said = confirm(f"{verb} {waiting.id}?") if args.format == "text" else None
            if said is None:
                hint = f"runner ledger {verb} {ledger.task_id} --proposal {waiting.id}"
                raise UsageError("say which proposal", hint=hint)
            if not said:
                pen.tell("nothing was decided")
                return ExitStatus.NOT_SUCCESSFUL
    which = named or (None if waiting is None else waiting.id)
    entry = ledgers.decide(ledger, author, signs=signs, proposal=which, note=note, is_shown=named is None)
    words = f"{entry.text('proposal')} is {'signed' if signs else 'rejected'} by {entry.text('signer')}"
    for ended in map(ledger.entry, entry.handles):
        words += f"\nends      lane {ended.text('lane')}: {ended.id} to {ended.to} was open"
    return _told(args, entry, words)


def run_ledger_coordinator(args: Namespace) -> int:
    from runner.cli.ledger_text import git_owned

    if args.owner is None:
        ledger = ledgers.named(here(), args.task, os.environ)
        told = git_owner.in_force(ledger, os.environ)
        answer(args, {"git_owner": told}, f"git owner {git_owned(told)}")
        return ExitStatus.OK
    ledger, author = _open(args, people_only=True)
    ledgers.refuse_unknown(here(), args.owner, (HUMAN, RUNNER), os.environ)
    entry = ledgers.set_coordinator(ledger, author, args.owner)
    return _told(args, entry, f"only {args.owner} writes git from now on")


# -- reading ---------------------------------------------------------------------------------------------


def run_ledger_list(args: Namespace) -> int:
    found = ledgers.every(here())
    if args.format == "json":
        emit({"ledgers": found})
        return ExitStatus.OK
    from runner.cli.ledger_text import listed

    for line in listed(found, index.ShortNames(find_root(here())).__getitem__):
        pen.say(line)
    if not found:
        pen.tell("(no ledgers: runner ledger note TASK TEXT begins one)")
    return ExitStatus.OK


def run_ledger_show(args: Namespace) -> int:
    ledger = ledgers.named(here(), args.task, os.environ)
    limit = None if args.all else ledgers.LIMIT if args.limit is None else args.limit
    shown = ledgers.shown(ledger, limit, args.since or 0, args.kinds)
    is_whole = shown["verification"]["is_whole"]
    shown["git_owner"] = git_owner.in_force(ledger, os.environ) if is_whole else None
    if args.format == "json":
        emit(shown)
        return ExitStatus.OK
    from runner.cli.ledger_text import Conversation, summary

    called = index.ShortNames(ledger.repo).__getitem__
    found = shown["verification"]
    _warn(ledger, found)
    if found["problem"] is not None:
        talk = Conversation(called, whole=args.all)
        for entry in shown["unproven"]:
            pen.say(talk.text(entry, " (unproven)"))
        pen.tell("(what stands behind that is not shown)")
        return ExitStatus.OK
    pen.say(summary(shown, called, whole=args.all))
    talk = Conversation(called, [one["id"] for one in shown["open_handoffs"]], whole=args.all)
    for n, entry in enumerate(shown["entries"]):
        pen.say(("" if n else "\n") + talk.text(entry))
    if not shown["seq"]:
        pen.tell(f"(nothing was said yet: runner ledger note {ledger.task_id} TEXT)")
    if shown["entries"] and shown["entries"][0]["seq"] > 1 + (args.since or 0) and not args.kinds:
        pen.tell(f"(the newest {count(len(shown['entries']), 'entry', 'entries')}: --all shows every one)")
    return ExitStatus.OK


def _warn(ledger: Ledger, found: Mapping[str, Any]) -> None:
    if (problem := found["problem"]) is not None:
        pen.warn(f"{ledger.relative} is not believed: {problem}; `runner ledger verify --help` says more")
    if torn := found["torn_bytes"]:
        pen.warn(f"its last {count(torn, 'byte')} are a line that never was whole, and count for nothing")
    if found["is_complete"] is None and problem is None:
        pen.note("nothing tells whether entries are missing at its end: `.ledger.head` is gone or older")


def run_ledger_wait(args: Namespace) -> int:
    ledger = ledgers.named(here(), args.task, os.environ)
    waited = ledgers.wait(ledger, args.since, args.timeout, kinds=args.kinds)
    if args.format == "json":
        emit(waited)
    else:
        from runner.cli.ledger_text import Conversation

        talk = Conversation(index.ShortNames(ledger.repo).__getitem__, whole=True)
        for entry in waited["entries"]:
            pen.say(talk.text(entry))
        after = f"no entry in {args.timeout:g} s\n" if waited["timed_out"] else ""
        more = "".join(f" --type {kind}" for kind in args.kinds)
        pen.tell(f"{after}go on    runner ledger wait {ledger.task_id} --since {waited['seq']}{more}")
    return ExitStatus.GAVE_UP_WAITING if waited["timed_out"] else ExitStatus.OK


def run_ledger_verify(args: Namespace) -> int:
    ledger = ledgers.named(here(), args.task, os.environ)
    if args.set_aside:
        former = ledgers.set_aside(ledger, person(ledger.repo))
        answer(args, {"former": former, "ledger": ledger.relative}, f"begun anew; before that: {former}")
        return ExitStatus.OK
    found = ledger.look(all_of_it=True).verdict()
    if args.format == "text":
        _warn(ledger, found)
    is_whole, entries = found["is_whole"], found["entries"]
    said = f"{count(entries, 'entry', 'entries')}, unchanged"
    said = said if is_whole else f"broken at entry {found['seq']}"
    end = f"\nhash  {found['hash']}" if is_whole and entries else ""
    answer(args, {"ledger": ledger.relative, **found}, f"{ledger.relative}: {said}{end}")
    return ExitStatus.OK if is_whole else ExitStatus.CONFLICT
