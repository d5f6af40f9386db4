"""The verb of plans: plan."""

from __future__ import annotations

import argparse
import gc

from runner.cli.parser import Parser
from runner.cli.render import emit, paint
from runner.errors import ExitStatus
from runner.model import Economics
from runner.plan.units import EFFORTS, Rules
from runner.terminal_text import clean_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

_MOST = 1000


def add_plan(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE", help="a plan in TOML, or in Markdown where it ends in .md")
    parser.add_argument(
        "--force-delegate", action="store_true", help="delegate also what is trivial or not worth it"
    )
    parser.add_argument(
        "--soft-cap", metavar="N", type=_cap, default=5, help="so many units make a batch (default: 5)"
    )
    parser.add_argument(
        "--hard-cap",
        metavar="N",
        type=_cap,
        default=8,
        help="so many units that share files stay in one batch (default: 8)",
    )
    parser.add_argument(
        "--oversize",
        choices=("chain", "keep", "error"),
        default="chain",
        help="of more units than that: batches in a row (default), one batch, or an error",
    )
    parser.add_argument(
        "--balance", action="store_true", help="batches of about the same size: 4+4+4 and not 5+5+2"
    )
    parser.add_argument(
        "--trivial",
        choices=("keep", "local"),
        default="keep",
        help="delegate trivial units too (default), or not",
    )
    parser.add_argument(
        "--hub",
        metavar="GLOB",
        action="append",
        default=[],
        help="files that keep no units together, besides lock files and changelogs (repeatable)",
    )
    _add_measures(parser)
    parser.examples(
        "runner plan plan.toml",
        "runner plan docs/plans/shop.md --hub 'src/routes.ts' --format json",
        "runner plan plan.toml --force-delegate --soft-cap 4",
    )


def _add_measures(parser: Parser) -> None:
    parser.add_argument(
        "--effort-floor",
        metavar="LEVEL",
        choices=[level for level in EFFORTS if level != "default"],
        help="no batch gets less effort than this",
    )
    parser.add_argument(
        "--economics",
        metavar="F,O,S",
        type=_economics,
        default=Economics(),
        help="tokens: fixed, per batch, saved per unit (default: 15300,4500,3700)",
    )


def run_plan(args: Namespace) -> int:
    # A plan is read, decided and printed: nothing of it is garbage before the end, and looking for some
    # costs a third of the time.
    gc.disable()
    from runner import planfile
    from runner.plan.batch import decide

    rules = Rules(
        soft_cap=args.soft_cap,
        hard_cap=args.hard_cap,
        oversize=args.oversize,
        balance=args.balance,
        trivial=args.trivial,
        forced=args.force_delegate,
        hubs=tuple(args.hub),
        effort_floor=args.effort_floor,
        economics=args.economics,
    )
    decision = decide(planfile.load(args.file), rules)
    if args.format == "json":
        emit(decision.to_json())
    else:
        from runner.plan.text import as_text

        word, rest = as_text(decision).split(":", 1)
        print(paint(word, "green" if decision.decision == "delegate" else "yellow"), end="")
        print(f":{clean_terminal(rest)}", end="")
    return ExitStatus.OK


def _cap(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _MOST:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {_MOST}")
    return int(text)


def _economics(text: str) -> Economics:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 9 for part in parts):
        raise argparse.ArgumentTypeError("expected three whole numbers, e.g. 15300,4500,3700")
    return Economics(*map(int, parts))
