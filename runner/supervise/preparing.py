"""Runs what comes before the agent: `prepare` in the run's own work tree, and checks. Edges: processes, git.

A fresh work tree has what is committed and nothing else: no `.venv`, no `node_modules`. The commands run as
checks do, outside of the sandbox. What they leave has to be ignored by git, or it would count as the agent's.
"""

from __future__ import annotations

from runner.model import Outcome, Reason
from runner.processes.spawn import hold_term
from runner.redact.redactor import Redactor
from runner.supervise import tree_helper
from runner.supervise.tie import Tie, asked
from runner.value import Value
from runner.verify.checks import Check, CheckCommand, run_check
from runner.verify.report import redacted

_NAMED = 5
_PREPARED = ("prepare_failed", "the work tree could not be prepared")
_BASELINE = ("baseline_failed", "a check fails before the agent begins")
"""The code and the words of a failure."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from runner.invocation import Invocation
    from runner.processes.cgroup import Cgroup
    from runner.processes.tree import Tree
    from runner.state.events import EventLog
    from runner.state.store import RunDir


class Ready(Value):
    """Whether the agent may begin: `end` is that of a run that is not ready for it, else None."""

    end: tuple[Outcome, Reason] | None
    failed: tuple[tuple[str, ...], ...] | None = None
    """The checks that failed; None where they were not run."""
    suspended_s: float = 0.0
    """For how long we did not run ourselves."""


def prepare(
    run: RunDir,
    invocation: Invocation,
    env: Mapping[str, str],
    log: EventLog,
    tree: Tree,
    group: Cgroup | None,
) -> Ready:
    """Prepares the work tree and, with `baseline`, runs the checks: one that fails is an end, unless that is
    only to be recorded. `tree` ends what a command has left running.
    """
    tie = Tie(run, log, invocation.tied_to, is_placed=invocation.executor is not None)
    tie.listen()
    gaps: list[float] = []

    def is_cancelled() -> bool:
        tie.heed()
        return run.is_told("cancel")

    def missed(seconds: float) -> None:
        gaps.append(seconds)
        log.note("suspended", seconds=round(seconds, 3))

    def check(command: CheckCommand) -> Check:
        done = run_check(
            command, sweep=lambda: tree.sweep(1.0), cancelled=is_cancelled, missed=missed, cgroup=group
        )
        if not done.passed:
            tie.linger()
        return done

    try:
        hide = Redactor([env[name] for name in invocation.secret_names if env.get(name)]).redact_text
        ready = _ready(run, invocation, env, log, check, lambda shown: redacted(shown, hide), is_cancelled)
        return ready.replace(
            end=ready.end and (ready.end[0], redacted(ready.end[1], hide)),
            failed=redacted(ready.failed, hide),
            suspended_s=sum(gaps),
        )
    finally:
        hold_term()


def _ready(
    run: RunDir,
    invocation: Invocation,
    env: Mapping[str, str],
    log: EventLog,
    check: Callable[[CheckCommand], Check],
    clean: Callable[[Any], Any],
    is_cancelled: Callable[[], bool],
) -> Ready:
    checks = invocation.checks if invocation.baseline else ()
    like = CheckCommand((), invocation.cwd, env, "", invocation.prepare_timeout_s)
    steps = [
        *((_PREPARED, like.replace(argv=argv)) for argv in invocation.prepare),
        *(
            (_BASELINE, like.replace(argv=argv, program=program, timeout_s=invocation.verify_timeout_s))
            for argv, program in checks
        ),
    ]
    failed: list[tuple[str, ...]] = []
    for n, ((code, says), command) in enumerate(steps, 1):
        printed = f"{run.path}/prepare-{n}.log"
        try:
            done = check(command.replace(log=printed))
        except OSError as error:
            return Ready(_failed(code, f"{says}: `{command.argv[0]}` could not be run: {error.strerror}"))
        told = done.to_json()
        shown = {name: clean(told[name]) for name in ("argv", "exit_code", "timed_out", "duration_s")}
        if code == _BASELINE[0]:
            log.note("baseline", **shown)
        else:
            log.note("prepared", **shown)
        if is_cancelled():
            return Ready(_cancelled(asked(run, "before its agent was started")))
        if not done.passed and code == _BASELINE[0] and invocation.baseline_only_records:
            failed.append(done.argv)
        elif not done.passed:
            text = f"{says}: `{done.command}` {done.how}"
            return Ready(_failed(code, text, f"what it printed is in {printed}"))
    return Ready(
        _left_something(run, env, invocation.terms.protect), tuple(failed) if invocation.baseline else None
    )


def _left_something(
    run: RunDir, env: Mapping[str, str], protect: Sequence[str]
) -> tuple[Outcome, Reason] | None:
    if not tree_helper.is_recorded(run):
        return None
    code = _PREPARED[0]
    try:
        changed = tree_helper.settle(run, env, protect)
    except (tree_helper.TreeUnknown, OSError, ValueError) as error:
        return _failed(code, f"what changed before the agent is not known: {str(error)[:300]}")
    if not changed:
        return None
    names = ", ".join(changed[:_NAMED])
    return _failed(
        code,
        f"what ran before the agent changed files that git does not ignore: {names}",
        "add them to .gitignore, or commit them: they would count as the agent's change",
    )


def _cancelled(reason: Reason) -> tuple[Outcome, Reason]:
    if reason.code == "cancelled":
        return Outcome.CANCELLED, reason
    from runner.state.placement import outcome_of  # its engine did that

    return outcome_of(reason.code), reason


def _failed(code: str, text: str, hint: str | None = None) -> tuple[Outcome, Reason]:
    return Outcome.FAILED, Reason(code, text, hint)
