"""USE CASES that run checks alone, without an agent: those of tasks now, and those of a finished run again.

Nothing that is recorded of a run changes: how it ended stays how it ended. Edges: processes, disk.
"""

from __future__ import annotations

import os

from runner import runtimes
from runner.config import policy
from runner.disk import editable
from runner.disk.scratch import scratch
from runner.errors import Conflict
from runner.processes import spawn
from runner.processes.proc import children, identify, process_at
from runner.processes.tree import Tree
from runner.resolve.choose import find_task
from runner.resolve.invocation import names_for
from runner.state.authentic import own_invocation
from runner.state.store import new_run_id
from runner.supervise.begin import reap
from runner.text.words import count
from runner.usecases.accept import judged
from runner.usecases.logs import redactor, shown_checks
from runner.usecases.look import look, to_end
from runner.value import Value
from runner.verify import record
from runner.verify.checks import Check, CheckCommand, run_check
from runner.verify.report import redacted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from runner.invocation import Invocation
    from runner.model import Config, Policy
    from runner.processes.proc import Process
    from runner.state.store import RunDir


class Rechecked(Value):
    """What came of the checks of `subject`, run in `cwd`, up to the first that failed."""

    subject: str
    cwd: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def of_tasks(
    config: Config, names: Iterable[str], env: Mapping[str, str], cancelled: Callable[[], bool]
) -> tuple[Rechecked, ...]:
    """Runs the checks of these tasks in the repository as it stands, each command once. PolicyRefused."""
    found: list[Rechecked] = []
    seen: set[tuple[str, ...]] = set()
    for name in names:
        task = find_task(config, name)
        policy.refuse(policy.task_breaches(config, task))
        settings = config.runtimes[task.runtime]
        secret = (*settings.env, *runtimes.get(task.runtime).secret_env(settings, None))
        given = {name: env[name] for name in names_for(settings, tuple(env))}
        new = [(argv, None) for argv in task.verify if argv not in seen]
        seen.update(task.verify)
        one = CheckCommand((), config.root, given, "", task.verify_timeout_s)
        done = _run(new, one, secret, env, cancelled)
        found.append(Rechecked(name, config.root, done, _elsewhere(done, one, done)))
    return tuple(found)


def of_run(run: RunDir, allowed: Policy, env: Mapping[str, str], cancelled: Callable[[], bool]) -> Rechecked:
    """Runs the checks of a finished run again, on its change as it stands. Conflict where that is gone, or
    where they would not be what they were; PolicyRefused where what is allowed now is less than then.
    """
    if not (manifest := look(run)).is_done:
        raise Conflict(f"run `{run.run_id}` is not done: it is `{manifest.status}`", hint=to_end(manifest))
    then = own_invocation(run)
    policy.refuse(policy.check_breaches(allowed, then.verify))
    if not os.path.isdir(then.cwd):
        raise Conflict(
            f"the work tree of run `{run.run_id}` is gone",
            hint=f"`runner verify {run.task_id}` checks your own tree",
        )
    own = {name: text for name, text in then.env_set.items() if not name.startswith("RUNNER_")}
    if not os.path.isdir(own.get("TMPDIR", "/")):
        del own["TMPDIR"]  # its own temporary files went with its end
    given = {name: env[name] for name in then.env_names if name in env} | own
    notes = (*_own_files(run, then), *_changed_since(run))
    one = CheckCommand((), then.cwd, given, "", then.verify_timeout_s)
    done = _run(then.checks, one, then.secret_names, env, cancelled)
    names = shown_checks(run, manifest, tuple(check.argv for check in done))
    names = redacted(names, redactor(run, manifest).redact_text)
    shown = tuple(check.replace(argv=argv) for check, argv in zip(done, names, strict=True))
    return Rechecked(run.run_id, then.cwd, shown, (*notes, *_elsewhere(done, one, shown)))


def _elsewhere(done: Iterable[Check], like: CheckCommand, shown: Iterable[Check]) -> tuple[str, ...]:
    """A check that is led out of the work tree."""
    pairs = zip(shown, done, strict=True)
    leads = ((it.command, editable.lead(check.argv, like.env, like.cwd)) for it, check in pairs)
    return tuple(f"`{command}` {found} (checks_elsewhere)" for command, found in leads if found)[:1]


def _own_files(run: RunDir, then: Invocation) -> tuple[str, ...]:
    """What the run changed of its checks: a verdict on it would rest on its own word."""
    found = record.load(run.result)
    if found is None:
        return ()
    if found.rolled_back is not None and found.rolled_back.refused is None:
        raise Conflict(
            f"the change of run `{run.run_id}` was rolled back",
            hint=f"`runner verify {run.task_id}` checks your own tree",
        )
    changed = (one.evidence for one in found.findings if one.code == "check_changed")
    named = ", ".join(path for paths in changed for path in paths)
    if named and then.terms.verify_from == "base":
        raise Conflict(
            f"run `{run.run_id}` changed files of its checks, which ran as they were before: {named}",
            hint=f"`runner report {run.run_id}` shows what came of them",
        )
    return (f"the run changed what its checks execute or read: {named}",) if named else ()


def _changed_since(run: RunDir) -> tuple[str, ...]:
    from runner.workspace import changes, snapshot

    taken, seen = snapshot.load(run.path), judged(run)
    if taken is None or seen is None:
        return ("what it changed is not known, so this is the tree as it stands",)
    later = changes.between(taken, seen)
    return (f"{count(later, 'path')} changed since it was judged: that is checked too",) if later else ()


def _run(
    commands: Iterable[tuple[tuple[str, ...], str | None]],
    like: CheckCommand,
    secret: Iterable[str],
    env: Mapping[str, str],
    cancelled: Callable[[], bool],
) -> tuple[Check, ...]:
    """Each as `like` says, until one fails. What they print is shown without the values of `secret`, and what
    they leave running is ended.
    """
    from runner.redact.redactor import Redactor

    known = Redactor([like.env[name] for name in secret if like.env.get(name)])
    done: list[Check] = []
    tree = _tree()
    with scratch(env) as folder:
        for n, (argv, program) in enumerate(commands, 1):
            command = like.replace(argv=argv, program=program, log=f"{folder}/verify-{n}.log")
            check = run_check(command, sweep=lambda: tree.sweep(1.0), cancelled=cancelled)
            done.append(check.replace(tail=known.redact_text(check.tail)))
            if not check.passed or cancelled():
                break
    return tuple(done)


def _tree() -> Tree:
    """All that we start from now on; children that we have already are those of a shell that became us."""
    spawn.become_subreaper()
    me = identify(os.getpid())
    assert me is not None
    before = {(process.pid, process.start_time) for process in children(me.pid)}

    def is_spared(process: Process | None) -> bool:
        while process is not None and process.pid != me.pid:
            if (process.pid, process.start_time) in before:
                return True
            process = process_at(process.parent)
        return False

    tree = Tree(new_run_id(), me, reap=reap, is_whole=True)
    tree.spare(is_spared)
    return tree
