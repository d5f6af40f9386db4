"""The verbs on results: report, diff, accept, discard."""

from __future__ import annotations

import sys

from runner.cli import pen
from runner.cli.parser import Namespace, Parser, add_run, run_named
from runner.cli.render import answer, emit, fitted
from runner.errors import Conflict, ExitStatus, UsageError
from runner.state.index import short_name
from runner.text.words import count, one_line
from runner.usecases import accept, look, review

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from runner.state.manifest import Manifest
    from runner.state.store import RunDir
    from runner.usecases.accept import TreeDecision


def add_report(parser: Parser) -> None:
    add_run(parser, default="@done")
    parser.add_argument(
        "--surface", action="store_true", help="a few marked lines for the model of the host that delegates"
    )
    parser.also_as("markdown", "Markdown for a pull request")
    parser.also_as("html", "a page of its own")
    parser.also_as("sarif", "the review findings as SARIF 2.1.0")
    parser.examples(
        "runner report",
        "runner report fix-auth --format markdown > report.md",
        "runner report fix-auth --format html > report.html",
        "runner report fix-auth --format json",
        "runner report review-auth --format sarif > review.sarif",
        "runner report fix-auth --surface",
    )


def run_report(args: Namespace) -> int:
    run = run_named(args.run)
    if args.surface:
        return _surface(args, run)
    if args.format == "html":
        from runner.cli.page import page
        from runner.usecases.dossier import dossier

        pen.say(page(dossier(run)), end="")
        return ExitStatus.OK
    found = review.report(run)
    if args.format == "json":
        emit(found.report.to_json())
    elif args.format == "sarif":
        from runner.ci.sarif import of_report

        emit(of_report(found.report, found.missing))
    else:
        from runner.verify.report_text import as_markdown, as_text

        is_text = args.format == "text"
        pen.say(fitted(as_text(found.report)) if is_text else as_markdown(found.report), end="")
    shown = look.show(run)
    if args.format == "text" and shown.foreign is None and shown.manifest.is_done:
        from runner.cli.end import end_text

        pen.say("\n" + end_text(run, shown.manifest, verb="report"))
    else:
        _say(found.change)
    _say(found.notes)
    return ExitStatus.OK


def _surface(args: Namespace, run: RunDir) -> int:
    from runner.usecases import surface

    if args.format not in ("text", "json"):
        raise UsageError(f"--surface has no {args.format} form")
    told = surface.of_run(run, short_name(run.repo, run.run_id))
    answer(args, {"run_id": run.run_id, "lines": told}, "\n".join(told))
    return ExitStatus.OK


def add_diff(parser: Parser) -> None:
    add_run(parser, default="@changes")
    parser.add_argument(
        "--stat", action="store_true", help="only the files, with the lines added and removed"
    )
    parser.add_argument("--no-pager", action="store_true", help="on a terminal: all of it at once")
    what = "without what came after the verdict, such as files that checks left"
    parser.add_argument("--judged", action="store_true", help=what)
    parser.examples(
        "runner diff",
        "runner diff fix-auth --stat",
        "runner diff fix-auth | git apply",
        'RUNNER_PAGER="delta --paging=always" runner diff fix-auth',
        note="On a terminal it has colours, and RUNNER_PAGER, PAGER or less shows what does not fit.\n"
        "A pipe or a file gets the exact bytes of the patch.",
    )


def run_diff(args: Namespace) -> int:
    run = run_named(args.run)
    patch = review.diff(run, as_judged=args.judged)
    if args.format == "json":
        files = [one.to_json() for one in patch.files]
        text = None if args.stat else patch.text
        emit({"run_id": run.run_id, "files": files, "patch": text, "kept": patch.kept})
        if text is None and not args.stat:
            _say([f"the patch is not UTF-8, so it is null here: `runner diff {run.run_id} > FILE` has it"])
    elif args.stat:
        for one in patch.files:
            lines = "binary" if one.added is None else f"+{one.added} -{one.removed}"
            pen.say(f"{lines:>12}  {one_line(one.path)}")
    elif sys.stdout.isatty():
        from runner.cli.pager import show

        show(patch.data.decode(errors="replace"), paged=not args.no_pager)
    else:  # for `git apply` or a file, so it has to be exact
        pen.raw(patch.data)
    _say([*patch.notes, *([] if patch.files else ["no file was changed"])])
    return ExitStatus.OK


_UNNAMED = "@undecided"


def add_accept(parser: Parser) -> None:
    add_run(parser, default=_UNNAMED)
    parser.examples(
        *("runner accept", "runner accept fix-auth --format json"),
        note="Of a run with a work tree of its own: its changes are merged into your tree, with nothing "
        "staged\nor committed, and the tree is removed. Conflicts are listed and change nothing.",
    )


def run_accept(args: Namespace) -> int:
    run = run_named(args.run)
    ended = run.read_manifest()
    if args.run == _UNNAMED and ended.outcome != "succeeded":
        name = short_name(run.repo, run.run_id)
        raise Conflict(
            f"the newest to accept, `{name}` (task {run.task_id}), did not succeed ({ended.status}): name it",
            hint=f"`runner diff {name}` shows its changes, `runner accept {name}` takes them all the same",
        )
    status = _decided(args, run, accept.accept(run))
    _tell_unseen(ended)
    if ended.outcome != "succeeded" and ended.reason is not None:
        pen.note(f"the run did not succeed ({ended.status}): {one_line(ended.reason.message, 200)}")
    elif ended.reason is not None and ended.reason.hint is not None:  # a success with a but
        pen.note(one_line(ended.reason.message, 300))
    return status


def add_discard(parser: Parser) -> None:
    add_run(parser)
    parser.examples(
        *("runner discard @latest", "runner discard fix-auth --format json"),
        note="Of a run with a work tree of its own: the tree is removed. The work stays in the run's folder "
        "as\na patch, which `runner diff` shows; files that git ignores are lost.",
    )


def run_discard(args: Namespace) -> int:
    run = run_named(args.run)
    ended = run.read_manifest()
    status = _decided(args, run, accept.discard(run))
    _tell_unseen(ended)
    return status


def _tell_unseen(ended: Manifest) -> None:
    from runner.cli.end import tell_unseen

    tell_unseen(ended)


def _decided(args: Namespace, run: RunDir, decision: TreeDecision) -> int:
    merged = f"accepted; {count(len(decision.paths), 'file')} changed in your tree"
    what = merged if decision.decision == "accepted" else "discarded"
    answer(args, decision.to_json(), f"{short_name(run.repo, run.run_id)} {what}")
    kept = [f"edited meanwhile, and kept as it was then: {path}" for path in decision.kept]
    kept += [] if decision.patch is None else [f"the work is kept as a patch: {decision.patch}"]
    after = "what was done after it was judged, by its checks for example, is not taken over, but kept"
    _say(kept + ([] if decision.later is None else [f"{after}: {decision.later}"]))
    return ExitStatus.OK


def _say(notes: Iterable[str]) -> None:
    for note in notes:
        pen.note(note)
