"""The verb `policy diff`: what a pull request widens in the settings."""

from __future__ import annotations

import os

from runner.cli import pen
from runner.cli.actions import add_actions
from runner.cli.parser import Namespace, Parser, here
from runner.cli.render import emit, fitted
from runner.config.facts import NARROWS, OTHER, WIDENS
from runner.config.widening import BREACH, RULES
from runner.errors import ExitStatus, PolicyRefused
from runner.text.terminal import plain
from runner.text.words import count, few
from runner.usecases import policy_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.ci.notice import Notice
    from runner.config.widening import SettingChange
    from runner.usecases.policy_diff import PolicyDiff

_HEADINGS = {BREACH: "beyond the ceilings", WIDENS: "widens", NARROWS: "narrows", OTHER: "other"}


def add_policy(parser: Parser) -> None:
    parser.examples("runner policy diff origin/main", "runner policy diff v1..v2 --format json")
    add_actions(parser, "policy")


def add_policy_diff(parser: Parser) -> None:
    parser.add_argument("base", metavar="BASE", help="a commit: HEAD is compared with where it left this one")
    parser.add_argument("head", metavar="HEAD", nargs="?", help="the other one (default: HEAD)")
    parser.add_argument(
        "--config", metavar="FILE", help="the delegate.toml to look at (default: the nearest)"
    )
    what = "one more file of ceilings (repeatable); of one in the repository, what it says at BASE"
    parser.add_argument("--policy", metavar="FILE", action="append", default=None, help=what)
    what = "what the exit status tells: breach (5), widened (also 6) or none (default: breach)"
    parser.add_argument("--fail-on", choices=("breach", "widened", "none"), default="breach", help=what)
    parser.also_as("sarif", "SARIF 2.1.0")
    parser.also_as("annotations", "commands of GitHub's workflows")
    parser.examples(
        "runner policy diff origin/main                  what this branch widens",
        "runner policy diff main..feature                the two as they are",
        "runner policy diff origin/main --fail-on widened --format annotations",
        "runner policy diff origin/main --policy ci/policy.toml --format sarif > policy.sarif",
    )


def run_policy_diff(args: Namespace) -> int:
    span = (args.base, args.head)
    found = policy_diff.compare(here(), os.environ, span, args.config, args.policy or ())
    widened = [one for one in found.changes if one.effect == WIDENS]
    status = ExitStatus.REJECTED if widened and args.fail_on == "widened" else ExitStatus.OK
    if found.breaches and args.fail_on != "none":
        status = ExitStatus.POLICY
    if args.format == "json":
        emit(found.to_json())
    elif args.format == "text":
        pen.say(fitted(_text(found)))
        if status is ExitStatus.POLICY:
            what = count(len(found.breaches), "breach of the policy", "breaches of the policy")
            raise PolicyRefused(f"{what} at {found.head.named}")
    else:
        told = (*found.breaches, *_sorted(widened))
        _for_machines(args.format, [_notice(one, found) for one in told], found)
    return status


def _sorted(some: Sequence[SettingChange]) -> list[SettingChange]:
    """The gravest first, then by file and line; what only differs comes last."""
    ranks = {rule: n for n, rule in enumerate(RULES)}
    return sorted(some, key=lambda one: (ranks.get(one.rule, len(ranks)), one.file or "", one.line or 0))


def _for_machines(form: str, notices: list[Notice], found: PolicyDiff) -> None:
    if form == "annotations":
        from runner.ci.annotations import commands

        lines = commands(notices, "`runner policy diff` shows all of them")
        pen.raw("".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))
        return
    from runner.ci.sarif import document

    rules = {"policy": "error", **dict.fromkeys(RULES, "warning")}
    emit(document(notices, rules, f"policy/{found.head.file or ''}", "policyChange", is_done=True))


def _notice(one: SettingChange, found: PolicyDiff) -> Notice:
    from runner.ci.notice import Notice

    about = {**one.to_json(), "base": found.base.commit, "head": found.head.commit}
    return Notice(
        rule=one.rule,
        level="error" if one.effect == BREACH else "warning",
        title=plain(f"{one.key}: {_HEADINGS[one.effect]}"),
        detail=plain(f"{_says(one)}{_of(one)}"),
        file=one.file or found.head.file or "",
        line=None if one.is_gone else one.line,
        about=about,
    )


def _text(found: PolicyDiff) -> str:
    base, head = found.base, found.head
    ends = " -> ".join(f"{end.named} ({end.commit[:12]})" for end in (base, head))
    lines = [f"{ends}: {head.file or 'no settings'}"]
    lines += [f"note: {note}" for note in found.notes]
    for effect, heading in _HEADINGS.items():
        some = _sorted([one for one in (*found.breaches, *found.changes) if one.effect == effect])
        lines += ["", f"{heading}:"] * bool(some)
        lines += [f"  {one.rule:<15}{_place(one, found)}  {one.key}: {_says(one)}{_of(one)}" for one in some]
    if not (found.breaches or found.changes):
        lines += ["", "nothing that is in force has changed"]
    same = "is the same" if base.trust == head.trust else f"was {base.trust or 'none'}"
    return "\n".join(map(plain, [*lines, "", f"trust  {head.trust or 'none'}", f"       {same}"]))


def _place(one: SettingChange, found: PolicyDiff) -> str:
    at = found.base if one.is_gone else found.head
    file = one.file or at.file or "-"
    return f"{f'{at.named}:' * one.is_gone}{file}" + (f":{one.line}" if one.line else "")


def _says(one: SettingChange) -> str:
    if one.before is None or one.after is None:
        return one.after or (f"without {one.before}" if one.before else one.rule)
    return f"{one.before} -> {one.after}"


def _of(one: SettingChange) -> str:
    return f"  ({few(one.tasks)})" if one.tasks else ""
