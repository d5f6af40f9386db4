"""Prepares the run's own work tree, before there is an agent. Edges: processes, git.

A fresh work tree has what is committed and nothing else: no `.venv`, no `node_modules`. The commands run as
checks do, outside of the sandbox. What they leave has to be ignored by git, or it would count as the agent's.
"""

from __future__ import annotations

from runner.model import Outcome, Reason
from runner.supervise import tree_helper
from runner.verify.checks import CheckCommand, run_check

_NAMED = 5
_HINT = "what it printed is in {}; the task's `prepare` says what is run"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.invocation import Invocation
    from runner.processes.cgroup import Cgroup
    from runner.processes.tree import Tree
    from runner.state.events import EventLog
    from runner.state.store import RunDir


def prepare(
    run: RunDir,
    invocation: Invocation,
    env: Mapping[str, str],
    log: EventLog,
    tree: Tree,
    group: Cgroup | None,
) -> tuple[Outcome, Reason] | None:
    """The end of a run whose work tree could not be prepared; None where the agent may begin. `tree` ends
    what a command has left running.
    """
    for n, argv in enumerate(invocation.prepare, 1):
        printed = f"{run.path}/prepare-{n}.log"
        command = CheckCommand(argv, invocation.cwd, env, printed, invocation.prepare_timeout_s)
        try:
            done = run_check(
                command, sweep=lambda: tree.sweep(1.0), cancelled=lambda: run.is_told("cancel"), cgroup=group
            )
        except OSError as error:
            return _failed(f"`{command.argv[0]}` could not be run: {error.strerror}")
        told = done.to_json()
        log.note(
            "prepared", **{name: told[name] for name in ("argv", "exit_code", "timed_out", "duration_s")}
        )
        if run.is_told("cancel"):
            text = "cancelled while its work tree was prepared"
            return Outcome.CANCELLED, Reason("cancelled", text)
        if not done.passed:
            return _failed(f"`{done.command}` {done.how}", _HINT.format(printed))
    try:
        changed = tree_helper.look(run, env, lambda: False)["changed"]
    except (tree_helper.TreeUnknown, OSError, ValueError) as error:
        return _failed(f"what it changed is not known: {str(error)[:300]}")
    if changed:
        names = ", ".join(changed[:_NAMED])
        return _failed(
            f"it changed files that git does not ignore: {names}",
            "add them to .gitignore, or commit them: they would count as the agent's change",
        )
    return None


def _failed(text: str, hint: str | None = None) -> tuple[Outcome, Reason]:
    return Outcome.FAILED, Reason("prepare_failed", f"the work tree could not be prepared: {text}", hint)
