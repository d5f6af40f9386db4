"""The verb `plan`."""

from __future__ import annotations

import gc
import os

from runner.cli import pen
from runner.cli.parser import Namespace, Parser, WrongText, add_settings, here
from runner.cli.pen import paint
from runner.cli.render import emit, fitted
from runner.errors import ExitStatus, UsageError
from runner.model import Delegate, Economics
from runner.plan.units import EFFORTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from runner.conduct.calibration import Calibrated
    from runner.plan.calibrate import Line
    from runner.plan.decision import Decision

_MOST = 1000
_KEPT = ("fixed",)
"""No manifest shows what a plan costs the one who delegates it."""
_WHY_KEPT = "kept: manifests count the tokens of the agent, not yours"


def add_plan(parser: Parser) -> None:
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="a plan in TOML, or in Markdown if the name ends in .md"
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="fit [economics] to the batches that were run in this repository; with FILE, decide by that",
    )
    parser.add_argument(
        "--force-delegate", action="store_true", help="delegate even what is trivial or not worth it"
    )
    _add_rules(parser)
    _add_measures(parser)
    add_settings(parser)
    parser.examples(
        "runner plan plan.toml",
        "runner plan docs/plans/shop.md --hub 'src/routes.ts' --format json",
        "runner plan plan.toml --force-delegate --soft-cap 4",
        "runner plan --calibrate",
        note="Defaults come from [delegate] and [economics]; an option replaces its key.",
    )


def _add_rules(parser: Parser) -> None:
    parser.add_argument(
        "--soft-cap", metavar="N", type=_cap, help=f"units per batch (built in: {Delegate.soft_cap})"
    )
    parser.add_argument(
        "--hard-cap",
        metavar="N",
        type=_cap,
        help=f"units that share files and still stay in one batch (built in: {Delegate.hard_cap})",
    )
    parser.add_argument(
        "--oversize",
        choices=("chain", "keep", "error"),
        help="for more units than that: batches in a row (built in), one batch, or an error",
    )
    parser.add_argument(
        "--balance",
        action="store_const",
        const=True,
        help="batches of about the same size: 4+4+4 and not 5+5+2",
    )
    parser.add_argument(
        "--trivial",
        choices=("keep", "local"),
        help="keep trivial units in the batches (built in), or leave them to you",
    )
    parser.add_argument(
        "--hub",
        metavar="GLOB",
        action="append",
        dest="hub_files",
        help="files that do not keep units together, like lock files and changelogs (repeatable)",
    )


def _add_measures(parser: Parser) -> None:
    parser.add_argument(
        "--effort-floor",
        metavar="LEVEL",
        choices=[level for level in EFFORTS if level != "default"],
        help="the least effort of any batch",
    )
    parser.add_argument(
        "--economics",
        metavar="F,O,S",
        type=_economics,
        help="tokens: fixed, per batch, saved per unit (built in: "
        f"{Economics.fixed},{Economics.batch},{Economics.unit})",
    )


def run_plan(args: Namespace) -> int:
    if args.file is None and not args.calibrate:
        raise UsageError("no plan named", hint="runner plan FILE, or runner plan --calibrate")
    # A plan is read, decided and printed: nothing of it is garbage before the end, and looking for some
    # costs a third of the time.
    gc.disable()
    from runner import config

    delegate, economics = config.for_plans(here(), config_file=args.config, env=os.environ, sets=args.sets)
    delegate, economics = _with_options(args, delegate), args.economics or economics
    if args.calibrate:
        return _run_calibration(args, delegate, economics)
    decision = _decision(args, delegate, economics)
    if args.format == "json":
        emit(decision.to_json())
    else:
        _print_decision(decision)
    return ExitStatus.OK


def _run_calibration(args: Namespace, delegate: Delegate, economics: Economics) -> int:
    from runner.conduct import calibration
    from runner.usecases import find

    found = calibration.calibrate(find.find_root(here()), economics)
    decision = None if args.file is None else _decision(args, delegate, found.fitted.economics)
    if args.format == "json":
        shown = _fitted_json(found)
        emit(shown if decision is None else {**decision.to_json(), "calibration": shown})
    else:
        pen.say(_fitted_text(found), end="")
        if decision is not None:
            pen.say("")
            _print_decision(decision)
    return ExitStatus.OK


def _decision(args: Namespace, delegate: Delegate, economics: Economics) -> Decision:
    from runner.plan import load
    from runner.plan.batch import decide
    from runner.plan.units import rules_of

    rules = rules_of(delegate, economics, forced=args.force_delegate)
    reading = load.examined(load.text_of(args.file), args.file)
    decision = decide(reading.plan, rules)
    return decision.replace(warnings=(*reading.warnings, *decision.warnings))


def _print_decision(decision: Decision) -> None:
    from runner.plan.overview import as_text

    word, rest = fitted(as_text(decision)).split(":", 1)
    pen.say(f"{paint(word, 'green' if decision.decision == 'delegate' else 'yellow')}:{rest}", end="")


def _with_options(args: Namespace, delegate: Delegate) -> Delegate:
    """The settings, with what the command line says instead."""
    names = ("soft_cap", "hard_cap", "oversize", "balance", "trivial", "effort_floor")
    changes = {name: value for name in names if (value := getattr(args, name)) is not None}
    if args.hub_files is not None:
        changes["hub_files"] = tuple(args.hub_files)
    return delegate.replace(**changes)


def _cap(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _MOST:
        raise WrongText(f"expected a whole number from 1 to {_MOST}")
    return int(text)


def _economics(text: str) -> Economics:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 9 for part in parts):
        raise WrongText("expected three whole numbers, e.g. 15300,4500,3700")
    return Economics(*map(int, parts))


def _fitted_json(found: Calibrated) -> dict[str, Any]:
    """Refitted economics for programs."""
    fitted = found.fitted
    return {
        "economics": fitted.economics.to_json(),
        "before": fitted.before.to_json(),
        "kept": list(_KEPT),
        "runs": fitted.runs,
        "sizes": list(fitted.sizes),
        "residual_tokens": fitted.residual_tokens,
        "seconds": None if fitted.seconds is None else _seconds(fitted.seconds),
        "left_out": found.left_out,
        "warnings": [one.to_json() for one in fitted.warnings],
    }


def _fitted_text(found: Calibrated) -> str:
    """The same for people: a table, and the lines for delegate.toml."""
    return "\n".join([*_head(found), "", *_table(found), "", *_lines(found)]) + "\n"


def _head(found: Calibrated) -> Iterator[str]:
    from runner.conduct.calibration import left_out_text

    fitted = found.fitted
    yield (
        f"{'runs':<10}{fitted.runs} batches of {fitted.sizes[0]} to {fitted.sizes[1]} units; "
        f"they are off by up to {fitted.residual_tokens:,} tokens"
    )
    if found.left_out:
        yield f"{'left out':<10}{left_out_text(found.left_out)}"
    if fitted.seconds is not None:
        time = _seconds(fitted.seconds)
        yield (
            f"{'time':<10}{time['batch']} s per batch and {time['unit']} s per unit; "
            f"off by up to {time['residual']} s"
        )
    for one in fitted.warnings:
        yield f"{'warning':<10}{one.message}"


def _table(found: Calibrated) -> Iterator[str]:
    yield f"{'':<10}{'before':>14}{'refitted':>14}"
    before, after = found.fitted.before.to_json(), found.fitted.economics.to_json()
    for name, value in after.items():
        why = f"  {_WHY_KEPT}" if name in _KEPT else ""
        yield f"{name:<10}{before[name]:>14,}{value:>14,}{why}"


def _lines(found: Calibrated) -> Iterator[str]:
    yield "[economics]"
    for name, value in found.fitted.economics.to_json().items():
        yield f"{name} = {value}"


def _seconds(line: Line) -> dict[str, int]:
    return {name: round(value) for name, value in line.to_json().items() if name != "held"}
