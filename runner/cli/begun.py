"""What `start` and `retry` say of a run that they have begun, and of its end where they wait for it."""

from __future__ import annotations

import os
import sys

from runner.cli import pen
from runner.cli.pen import paint
from runner.cli.render import emit, indented
from runner.errors import ExitStatus
from runner.model import Phase
from runner.state import index
from runner.state.store import RunDir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from runner.cli.parser import Namespace
    from runner.state.manifest import Manifest


def report(args: Namespace, manifest: Manifest) -> int:
    """Reports a started run, and its end if the command waits for that."""
    run = RunDir.of(manifest.repo, manifest)
    if not (args.wait or args.follow):
        if args.format == "json":
            emit(manifest.to_json())
        else:
            pen.say(_started_text(manifest, sys.stdout))
        return ExitStatus.OK
    try:
        return _follow(args, run, manifest) if args.follow else _wait(args, run, manifest)
    except KeyboardInterrupt:
        if args.format == "json":
            raise KeyboardInterrupt(goes_on(manifest)) from None
        pen.tell(f"\n{goes_on(manifest)}")
        return ExitStatus.INTERRUPTED


def goes_on(manifest: Manifest) -> str:
    """What becomes of the run of a command that is interrupted."""
    tie = RunDir.of(manifest.repo, manifest).read_invocation().tied_to
    is_tied = tie is not None and tie.pid == os.getpid()
    becomes = "the run ends with this command" if is_tied else "detached; the run continues"
    return f"{becomes}: runner logs {index.short_name(manifest.repo, manifest.run_id)} -f"


def _started_text(m: Manifest, stream: TextIO) -> str:
    name = index.short_name(m.repo, m.run_id)
    rehearsal = ", rehearsal" if m.rehearsal else ""
    what = m.title if m.runtime.name == "plan" else f"{m.runtime.name} {m.runtime.version}"
    word, colour = (
        ("queued", "yellow") if m.engine is not None and m.phase is Phase.QUEUED else ("started", "green")
    )
    job = "" if m.engine is None else f", {m.engine.place}"
    started = f"{m.run_id}  (task {m.task_id}, {what}, {m.sandbox.level}{rehearsal}{job})"
    ways = {"await": "await", "send": "send", "end": "end"} if m.open else {"wait": "wait", "end": "cancel"}
    return "\n".join(
        (
            f"{paint(word.ljust(7), colour, stream)} {indented(started, 9, stream)}",
            f"manifest {m.manifest_path}",
            f"watch    runner logs {name} -f",
            *(f"{way:<8} runner {verb} {name}{' TEXT' * (verb == 'send')}" for way, verb in ways.items()),
        )
    )


def _wait(args: Namespace, run: RunDir, manifest: Manifest) -> int:
    from runner.cli.heartbeat import heartbeat
    from runner.usecases import control

    quiet = args.format == "json"
    rings = sys.stderr.isatty() and run.read_invocation().notify.bell  # the run may be removed at its end
    if not quiet:
        pen.tell(_started_text(manifest, sys.stderr))
    if not quiet and sys.stderr.isatty():
        from runner.cli.progress import watch

        ended = watch(run, manifest)
    else:
        ended = control.wait([run], tick=heartbeat(at_once=quiet))[0]
    if rings:
        pen.ring()
    if args.format == "json":
        emit(ended.to_json())
    else:
        from runner.cli.end import said_text

        if text := said_text(run, ended):
            pen.say(text)
        pen.tell(_ended_text(ended, run))
    return ended.exit_status


def _ended_text(m: Manifest, run: RunDir) -> str:
    from runner.cli.end import detail_text, end_text  # who does not wait has nothing to say of it

    return f"{detail_text(m, sys.stderr)}\n{end_text(run, m, sys.stderr)}"


def _follow(args: Namespace, run: RunDir, manifest: Manifest) -> int:
    from runner.cli.logs import show, story_of
    from runner.usecases import logs, look

    as_json = args.format == "json"
    if as_json:
        emit(manifest.to_json())
    else:
        pen.tell(_started_text(manifest, sys.stderr))
    reader = logs.Reader(run, manifest, withhold=False) if as_json else story_of(run, manifest)
    show(args, logs.follow(reader, "events", tail=None, is_done=lambda: look.is_done(run)))
    ended = look.look(run)
    if as_json:
        emit(ended.to_json())
    else:
        pen.tell(_ended_text(ended, run))
    return ended.exit_status
