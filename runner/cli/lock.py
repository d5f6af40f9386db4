"""The verb `lock`: what the tasks of a repository depend on, written down, and what is not so any more."""

from __future__ import annotations

import os

from runner.cli import pen
from runner.cli.parser import Namespace, Parser, add_settings, here, settings
from runner.cli.render import emit, fitted
from runner.errors import ExitStatus, LockDrift, LockInvalid
from runner.text.terminal import plain
from runner.text.words import count
from runner.usecases import lock


def add_lock(parser: Parser) -> None:
    what = "compare and write nothing; 9 where something is not as delegate.lock says, or cannot be looked at"
    parser.add_argument("--check", action="store_true", help=what)
    add_settings(parser)
    parser.examples(
        "runner lock                   write delegate.lock, and say what has changed in it",
        "runner lock --check           in a pull request",
        "runner lock --check --json    the same for programs",
    )


def run_lock(args: Namespace) -> int:
    seen = lock.look(settings(args), here(), args.config, os.environ)
    before, name = lock.read(seen.path), plain(os.path.basename(seen.path))
    if args.check and before is None:
        raise LockInvalid(
            f"there is no {name} in {os.path.dirname(seen.path)}", hint="`runner lock` writes it"
        )
    is_written = not args.check and lock.write(seen, before)
    drift = lock.compare(before, seen) if before else ()
    breaking = [one for one in drift if one.is_breaking]
    if args.format == "json":
        found = [one.to_json() for one in drift]
        told = {"file": seen.path, "written": is_written, "is_breaking": bool(breaking), "drift": found}
        emit({**told, "not_pinned": seen.loose})
        return ExitStatus.CONFLICT if args.check and breaking else ExitStatus.OK
    for one in drift:
        word = pen.paint("drift", "red") if one.is_breaking else pen.paint("note ", "dim")
        pen.say(f"{word}  {fitted(plain(one.says))}")
    for path in seen.loose:
        pen.note(f"{plain(path)} is not pinned: it is not in git (`git add`), or too large")
    if args.check and breaking:
        unknown = next(iter(seen.unknown.values()), None)  # which `runner lock` would be refused for
        hint = unknown.hint if unknown else None
        raise LockDrift(f"{count(len(breaking), 'thing')} not as {name} says", hint=hint)
    pen.say(f"{pen.paint('wrote', 'green')} {name}" if is_written else f"{name} holds")
    return ExitStatus.OK
