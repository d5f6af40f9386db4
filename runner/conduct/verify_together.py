"""Verifies a work tree: batches that were verified separately, or what a gate demands. Edge: processes."""

from __future__ import annotations

import contextlib
import os

from runner.processes.proc import command_line, everything, identify
from runner.processes.tree import Tree
from runner.redact.seal import seal
from runner.state.authentic import own_invocation
from runner.supervise.begin import PROGRAM as SUPERVISOR
from runner.supervise.begin import reap
from runner.value import Value
from runner.verify.checks import CheckCommand, judge, run_check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runner.processes.proc import Process
    from runner.redact.redactor import Redactor
    from runner.state.store import RunDir


class Verifying(Value):
    """A command that is run as the checks of a run are; `names` are the variables that it gets."""

    argv: tuple[str, ...]
    program: str | None
    names: tuple[str, ...]
    timeout_s: float


def verify_together(
    run: RunDir, cwd: str, batches: Sequence[RunDir], env: Mapping[str, str], redactor: Redactor
) -> str | None:
    """Runs the checks of all these batches in `cwd`, each once; what failed, or None. ForeignRun where one of
    the runs is not ours.
    """
    invocations = [own_invocation(batch) for batch in batches]
    commands = [
        Verifying(argv, program, one.env_names, one.verify_timeout_s)
        for one in invocations
        for argv, program in one.checks
    ]
    return verify(run, cwd, commands, env, redactor, "verify")


def verify(
    run: RunDir,
    cwd: str,
    commands: Sequence[Verifying],
    env: Mapping[str, str],
    redactor: Redactor,
    name: str,
) -> str | None:
    """What failed of these commands, each of which is run once, or None. Their output is in `NAME-N.log`,
    without secrets: the run may go on for days.

    What a check leaves running is ended with it: everything that carries the mark of this plan's `run` and
    was not there before, but for the supervisor of this run, which may be a new one.
    """
    me = identify(os.getpid())
    assert me is not None
    tree = Tree(run.run_id, me, reap=reap)
    tree.spare(_older(run))
    done: set[tuple[str, ...]] = set()
    for one in commands:
        if one.argv in done:
            continue
        done.add(one.argv)
        ours = {key: env[key] for key in (*one.names, "RUNNER_RUN_ID", "RUNNER_MANIFEST") if key in env}
        log = f"{run.path}/{name}-{len(done)}.log"
        command = CheckCommand(one.argv, cwd, ours, log, one.timeout_s, program=one.program)
        check = run_check(command, sweep=lambda: tree.sweep(1.0))
        with contextlib.suppress(OSError):
            seal(log, redactor)
        if (failed := judge((check,))) is not None:
            more = f": {os.path.basename(log)}" if check.tail and os.path.exists(log) else ""
            return redactor.redact_text(failed[1].message) + more
    return None


def _older(run: RunDir) -> Callable[[Process], bool]:
    """Whether a process is of the run itself and not of a check."""
    before = {(process.pid, process.start_time) for process in everything().values()}

    def is_spared(process: Process) -> bool:
        if (process.pid, process.start_time) in before:
            return True
        words = command_line(process.pid)
        return SUPERVISOR in words and run.path in words

    return is_spared
