"""The verb of CI systems: ci report. Edges: disk, the terminal."""

from __future__ import annotations

import os
import stat

from runner.ci.notice import UNFINISHED, of_run
from runner.ci.outputs import outputs, values
from runner.cli import pen
from runner.cli.actions import add_actions
from runner.cli.parser import Namespace, Parser, WrongText, add_run, here, run_named
from runner.cli.render import emit
from runner.disk import files
from runner.errors import ExitStatus, RuntimeMissing, Unwritable, UsageError
from runner.model import Outcome
from runner.state.store import RUNS
from runner.text.words import count
from runner.usecases import find, review
from runner.value import json_bytes
from runner.verify.report_text import as_markdown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runner.usecases.review import Reviewed
    from runner.verify.report import Report

_STDOUT, _NEVER = "-", "none"
_ADDED = ("summary", "outputs")
_FILES = ("summary", "junit", "sarif", "code_quality", "dotenv", "outputs")
_WORDS = (*(str(one) for one in Outcome if one is not Outcome.SUCCEEDED), "budget", UNFINISHED, _NEVER)


def add_ci(parser: Parser) -> None:
    parser.examples("runner ci report @latest --annotations --junit runner.xml")
    add_actions(parser, "ci")


def add_ci_report(parser: Parser) -> None:
    add_run(parser, several=True)
    for name, what in (
        ("--summary", "Markdown at the end of FILE, such as $GITHUB_STEP_SUMMARY; - is stdout"),
        ("--junit", "JUnit XML: checks, scope, contract and settings as test cases (runner[ci])"),
        ("--sarif", "the findings of reviews as SARIF 2.1.0"),
        ("--code-quality", "what names a file, as GitLab's code quality report"),
        ("--dotenv", "what one run came to as variables, for GitLab's dotenv report"),
        ("--outputs", "the same at the end of FILE, such as $GITHUB_OUTPUT"),
    ):
        parser.add_argument(name, metavar="FILE", help=what)
    parser.add_argument("--annotations", action="store_true", help="commands of GitHub's workflows on stdout")
    parser.add_argument(
        "--fail-on",
        type=_words,
        metavar="WORDS",
        help="which ends have the exit status of `wait`: outcomes, `budget` and `unfinished`, with commas "
        "between, or `none` (default: all but succeeded)",
    )
    parser.examples(
        "runner ci report @latest",
        'runner ci report @latest --summary "$GITHUB_STEP_SUMMARY" --outputs "$GITHUB_OUTPUT" --annotations',
        "runner ci report @plan --junit runner.xml --code-quality quality.json --dotenv runner.env",
        "runner ci report @latest --sarif runner.sarif --fail-on failed,rejected,budget",
        note="Without an option the summary is on stdout. The exit status is that of `runner wait`, and 75\n"
        "for a run that is not done, whatever --fail-on says but `none`.",
    )


def _words(text: str) -> tuple[str, ...]:
    found = tuple(word.strip() for word in text.split(","))
    for word in found:
        if word not in _WORDS or (word == _NEVER and len(found) > 1):
            raise WrongText(f"`{word[:40]}` is not some of {', '.join(_WORDS[:-1])}, or {_NEVER} alone")
    return found


def run_ci_report(args: Namespace) -> int:
    runs = [*{run.run_id: run for run in map(run_named, args.run)}.values()]
    paths = _paths(args, {find.find_root(here()), *(run.repo for run in runs)})
    if len(runs) > 1 and (args.dotenv or args.outputs):
        raise UsageError("--dotenv and --outputs are of one run")
    for run in runs:
        review.refuse_unproven(run)  # all of this is a verdict; `report` shows what its records say
    found, told = [review.report(run) for run in runs], []
    for run, one in zip(runs, found, strict=True):
        more = {"report": paths.get("summary", "").removeprefix(_STDOUT), "patch": review.kept_patch(run)}
        told.append(values(one.report, one.manifest, {**paths, **more}))
    made = {name: _made(name, found, told, path) for name, path in paths.items()}
    for name in sorted(made, key=_ADDED.__contains__):  # whoever tries again would add it twice
        _write(name, paths[name], made[name])
    if args.annotations:
        from runner.ci.annotations import commands

        notices = [notice for one in found for notice in of_run(one.report, one.missing)]
        where = runs[0].run_id if len(runs) == 1 else "RUN"
        pen.commands(commands(notices, f"`runner report {where} --format json` has all of them"))
    if args.format == "json":
        emit({"runs": told, "files": paths})
    for note in (note for one in found for note in one.notes):
        pen.note(note)
    return _verdict(args.fail_on, found)


def _paths(args: Namespace, repos: Iterable[str]) -> dict[str, str]:
    """What is to be written, each file looked at: UsageError, or Unwritable."""
    paths = {name: path for name in _FILES if (path := getattr(args, name)) is not None}
    if args.annotations and args.format == "json":
        raise UsageError("--annotations has no json form: a CI system reads them from the log")
    if not paths and not args.annotations and args.format != "json":
        return {"summary": _STDOUT}
    for name, path in paths.items():
        option, is_told = f"--{name.replace('_', '-')}", args.annotations or args.format == "json"
        if not path or (path == _STDOUT and (name != "summary" or is_told)):
            raise UsageError(
                f"{option} names no file", hint="`-` is for a summary alone; is a variable not set?"
            )
        if path != _STDOUT and (why := _why_not(os.path.join(here(), path), repos, name in _ADDED)):
            raise Unwritable(f"{option}: {path} {why}")
    names = paths.values()
    if len({os.stat(one)[1:3] if os.path.exists(one) else os.path.realpath(one) for one in names}) < len(
        paths
    ):
        raise UsageError("two options name the same file")
    return paths


def _why_not(path: str, repos: Iterable[str], is_added: bool) -> str | None:
    """No link of a repository is followed: an agent may have put one where a job writes its reports."""
    folder = os.path.dirname(path)
    for top in map(os.path.realpath, repos):
        if any(one.startswith(f"{top}/") for one in files.links(folder)):
            return "is behind a link of the repository"
        inside = os.path.realpath(path).removeprefix(f"{top}/").split("/")
        if ".git" in inside or inside[0] == RUNS:
            return "is in a folder of git or runner"
    if not os.path.isdir(folder) or (os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode)):
        return "is no plain file, or in no folder"
    where = path if is_added and os.path.lexists(path) else folder  # a file is replaced as a whole
    return None if os.access(where, os.W_OK) else "cannot be written"


def _made(name: str, found: Sequence[Reviewed], told: Sequence[dict[str, str]], path: str) -> bytes:
    """The content of a file, or what is added to it."""
    before = os.path.getsize(path) if path != _STDOUT and os.path.exists(path) else 0
    if name == "summary":
        from runner.ci.summary import joined

        if not (text := joined([(one.manifest.run_id, _markdown(one)) for one in found], before)):
            pen.note(f"{path} has no room for a summary any more, so it has none of this")
        return text.encode(errors="replace")
    if name == "junit":
        return _junit(found)
    if name == "sarif":
        from runner.ci.sarif import of_reports

        document, rest = of_reports([(one.report, one.missing) for one in found])
        if rest:
            pen.note(f"not in {path}, as code hosts take what names a file: {count(rest, 'finding')}")
        return json_bytes(document) + b"\n"
    if name == "outputs":
        return outputs(told[0], os.urandom(16).hex()).encode(errors="surrogateescape")
    from runner.ci.gitlab import code_quality, dotenv

    if name == "dotenv":
        return dotenv(told[0]).encode()
    notices = [notice for one in found for notice in of_run(one.report, one.missing)]
    entries = code_quality(notices)
    if rest := len(notices) - len(entries):
        pen.note(f"not in {path}, which takes what names a file, and 5,000 at most: {rest}")
    return json_bytes(entries) + b"\n"


def _markdown(one: Reviewed) -> str:
    is_played = ["a rehearsal: no model was asked"] if one.manifest.rehearsal else []
    return as_markdown(one.report, (*is_played, *one.change))


def _junit(found: Sequence[Reviewed]) -> bytes:
    """A plan is its own end, and its steps. Names stay from run to run: histories go by them."""
    try:
        from runner.ci.junit import document
    except ModuleNotFoundError as error:
        text = f"the Python package `{error.name}` is not installed"
        raise RuntimeMissing(text, hint="`pip install 'delegate-runner[ci]'`") from None
    suites: list[tuple[str, Report | None, tuple[tuple[str, ...], ...] | None]] = []
    tasks = [one.report.task_id for one in found]
    for n, one in enumerate(found, 1):
        name = tasks[n - 1]
        if tasks.count(name) > 1:  # GitLab takes cases of the same name for one
            name += f" {tasks[:n].count(name)}"
        suites.append((name, one.report, one.unrun if one.manifest.plan is None else None))
        suites += [(f"{name} {step}", it.report, it.unrun) for step, it in one.steps]
        suites += [(f"{name} {step}", None, None) for step in one.missing]
    return document(suites)


def _write(name: str, path: str, data: bytes) -> None:
    """To what other steps have a part in, it is added."""
    if path == _STDOUT:
        pen.say(data.decode(), end="")
        return
    try:
        if name in _ADDED:
            files.append(path, data)
        else:
            files.replace_bytes(path, data, mode=0o644)
    except OSError as error:
        raise files.unwritable(OSError(error.errno, error.strerror, path)) from error


def _verdict(words: Sequence[str] | None, found: Sequence[Reviewed]) -> int:
    """Of the first run whose end is meant, what `wait` answers for it. One that is not done, or of which not
    all is known, is always meant, but for `none`.
    """
    for one in found if words != (_NEVER,) else ():
        status = one.manifest.exit_status
        ends = {str(one.manifest.outcome), "budget" if status == ExitStatus.BUDGET else ""}
        if status != ExitStatus.OK and (words is None or ends & {*words}):
            return status
        if not one.manifest.is_done or one.manifest.outcome is None or one.missing:
            return ExitStatus.GAVE_UP_WAITING
    return ExitStatus.OK
