"""The verb `trust`, and the question of a start: may the settings of this repository do what they name?"""

from __future__ import annotations

import os
import re

from runner.cli import pen
from runner.cli.ask import can_ask, confirm
from runner.cli.parser import Namespace, Parser, add_settings, here, settings
from runner.cli.render import answer, emit, fitted
from runner.errors import ExitStatus, NotTrusted, UsageError
from runner.text.terminal import plain
from runner.text.words import one_line
from runner.usecases import trust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.usecases.trust import Demands

QUESTION = "Do you trust these settings?"
_A_SCREEN = 2000
"""More characters may be more than a person sees at once."""
_HEADINGS = {
    "runs": "run outside of a sandbox, with all that you may do",
    "sends": "send to a model, or hand to the agent",
    "widens": "let an agent write or reach",
    "other": "set besides",
}


def add_trust(parser: Parser) -> None:
    parser.add_argument("--yes", action="store_true", help="trust them without being asked")
    parser.add_argument(
        "--show", action="store_true", help="show what they can do, and the digest; ask nothing"
    )
    parser.add_argument(
        "--folder",
        action="store_true",
        help="trust this folder whatever its settings come to say; what an agent changes is asked for",
    )
    parser.add_argument(
        "--digest", metavar="D", help="trust them if this is their digest, which --show prints; ask nothing"
    )
    parser.add_argument("--withdraw", action="store_true", help="take the trust back")
    add_settings(parser)
    parser.examples(
        "runner trust                      show what the settings can do, and ask",
        "runner trust --yes                trust them without a terminal",
        "runner trust --folder             trust your own folder, also when its settings change",
        "runner trust --show               what they can do, and their digest",
        "RUNNER_TRUST=sha256:... runner start TASK    trust exactly that, for one command (CI)",
    )


def run_trust(args: Namespace) -> int:
    if args.withdraw:
        return _withdraw(args)
    config = settings(args)
    found = trust.demanded(config, os.environ)
    if args.show:
        _show(args, found)
        return ExitStatus.OK
    _refuse_nested()
    if args.folder and (place := trust.written_by_others(found)) is not None:
        raise UsageError(
            f"others can write {place}, so they would say what is trusted with the folder",
            hint=f"`chmod go-w {place}` if it is yours; `runner trust` trusts the settings as they are now",
        )
    if args.digest is not None:
        if args.digest != found.digest:
            raise NotTrusted(
                f"the digest of these settings is {found.digest}, not {args.digest[:80]}",
                hint="`runner trust --show` shows what they can do",
            )
    elif not args.yes and (found.by is None or args.folder):
        pen.tell(explanation(found, folder=args.folder))
        agreed = confirm(QUESTION)
        if agreed is None:
            raise UsageError(
                "there is no terminal to ask at", hint="read the text above; `--yes` agrees to it"
            )
        if not agreed:
            pen.tell("nothing was stored")
            return ExitStatus.NOT_SUCCESSFUL
    trust.agree(found, os.environ, folder=args.folder)
    by = "folder" if args.folder else "digest"
    what = found.root if args.folder else os.path.join(found.root, found.file)
    answer(args, _as_json(found.replace(by=by, changes=())), f"trusted: {one_line(what)}")
    return ExitStatus.OK


def _withdraw(args: Namespace) -> int:
    """Also where the settings are wrong by now."""
    from runner.config import commands

    _refuse_nested()
    root, file = commands.place_of(here(), os.environ, args.config)
    was_there = trust.withdraw(root, file, os.environ)
    answer(args, {"withdrawn": was_there}, "withdrawn" if was_there else "there was none")
    return ExitStatus.OK


def ask_for(args: Namespace, found: Demands) -> None:
    """Shows what a start is about to let the settings do, and has it trusted. See `gate.pass_gate`."""
    if not args.trust and not can_ask():
        raise trust.refusal(found, os.environ)
    _refuse_nested()
    pen.tell(explanation(found))
    if not args.trust and not confirm(QUESTION):
        raise NotTrusted(f"the settings of {found.root} are not trusted; nothing was started")
    trust.agree(found, os.environ)


def explanation(found: Demands, *, folder: bool = False) -> str:
    """What the settings can do, or what is not as it was trusted, in words to decide on."""
    where = one_line(os.path.join(found.root, found.file))
    lines = [f"a {line}" for line in trust.changed(found)]
    if found.before is not None:
        told = trust.difference(found)
        lines.append(f"{where} is {'not ' if told else ''}what you have trusted{':' if told else '.'}")
        lines += [f"  {what:<9}{plain(key)}  {plain(words)}" for what, key, words in told]
    else:
        lines.append(f"{where} comes with the repository. Whoever starts its tasks lets it")
        lines += _listed(found.items)
    if (long := sum(map(len, lines))) > _A_SCREEN:
        lines.append(
            f"\nThese are {long:,} characters: `runner trust --show | less` shows them page by page."
        )
    lines.append("")
    if folder:
        lines.append("With --folder, all that it comes to say is trusted too, until a run changes it.")
    return "\n".join(lines)


def _listed(items: Sequence[tuple[str, ...]]) -> list[str]:
    """What the settings can do, by kind; what many tasks say alike stands there once."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for row in items:
        kind, key, words = row[0], row[1], trust.words_of(row)
        name = key.rpartition(".")[2] if key.startswith("tasks.") else key
        alike.setdefault((kind, name, words), []).append(key)
    lines, stage = [], re.compile(r'"name": "([^"]+)"')
    stages = {row[1]: named[1] for row in items if row[1].endswith("]") and (named := stage.search(row[2]))}
    for kind, heading in _HEADINGS.items():
        rows = [(_named(keys, stages), plain(words)) for (of, _, words), keys in alike.items() if of == kind]
        if rows:
            width = min(44, max(len(key) for key, _ in rows))
            lines += [f"\n  {heading}:", *(f"    {key:<{width}}  {words}" for key, words in rows)]
    return lines or ["start agents with its prompts, and nothing else."]


def _named(keys: Sequence[str], stages: Mapping[str, str]) -> str:
    """Those of a stage by its name."""
    key = keys[0]
    for place, name in stages.items():
        if f"{key}.".startswith(f"{place}."):
            key = f"{place.partition('.stages[')[0]}.{name}{key.removeprefix(place)}"
    return plain(key) + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")


def _show(args: Namespace, found: Demands) -> None:
    if args.format == "json":
        emit(_as_json(found))
        return
    pen.say(fitted(explanation(found.replace(before=None))))
    if found.by != "digest" and found.before is not None and (told := trust.difference(found)):
        pen.say("not as it was trusted:")
        for what, key, words in told:
            pen.say(fitted(f"  {what:<9}{plain(key)}  {plain(words)}"))
    pen.say(f"digest   {found.digest}\ntrusted  {_how(found)}")


def _as_json(found: Demands) -> dict[str, object]:
    return {
        "root": found.root,
        "file": found.file,
        "digest": found.digest,
        "trusted": found.by is not None,
        "by": found.by,
        "items": [{"kind": kind, "key": key, "says": words} for kind, key, words in found.items],
        "changed_by_runs": [{"run_id": one.run_id, "paths": list(one.paths)} for one in found.changes],
    }


def _how(found: Demands) -> str:
    if found.by is None:
        return "no: a run changed it" if found.changes else "no"
    how = {
        "digest": "yes, exactly this",
        "folder": "yes, the whole folder",
        "variable": f"yes, by {trust.VARIABLE}",
    }
    return how.get(found.by, "yes")


def _refuse_nested() -> None:
    """An agent cannot say that a person trusts something."""
    from runner.conduct import preflight  # only who is about to agree pays for it

    preflight.refuse_nested(os.environ, preflight.FOR_PEOPLE)
