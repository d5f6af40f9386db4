"""Begins another attempt of a run, in its supervisor. Edges: disk, processes."""

from __future__ import annotations

import os
import time

from runner.disk.files import create
from runner.model import Outcome, Reason
from runner.processes import spawn
from runner.runtimes import get
from runner.state.lifecycle import Event
from runner.state.manifest import advance
from runner.supervise.attempts import NextAttempt
from runner.supervise.begin import start_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.state.manifest import Manifest
    from runner.supervise.supervisor import Supervisor

_LOOK_S = 0.25


def begin_again(owner: Supervisor, plan: NextAttempt) -> bool:
    """Waits if it has to, and starts the attempt; False: the run has ended instead."""
    run, log = owner.run, owner.log
    manifest = plan.manifest
    n = manifest.attempt + 1
    if plan.wait_s:
        log.note("backing_off", seconds=plan.wait_s, code=plan.code, attempt=n)
        manifest = manifest.replace(last_activity=f"waits {plan.wait_s:g} s before attempt {n} ({plan.code})")
    owner.manifest = manifest
    run.write_manifest(manifest)
    if not _waited(owner, plan.wait_s):
        # Judged anew under this wish: the change of the attempt before is taken back, and the result written.
        wish = Reason("cancelled", "cancelled while waiting for its next attempt")
        owner.manifest = manifest.replace(reason=wish)
        owner.conclude()
        return False
    name = f"prompt-{n}.md"
    try:
        create(f"{run.path}/{name}", get(owner.invocation.runtime).prepare_prompt(plan.prompt).encode())
    except FileExistsError:
        pass  # an owner before us was killed over it: the same evidence gives the same prompt
    starting = advance(manifest, Event.RETRIED, attempt=n, process=None, exit_code=None, signal=None)
    starting = starting.replace(reason=None)
    run.write_manifest(starting)
    counts = manifest.attempts[-1].counts
    log.note(Event.RETRIED, attempt=n, how=plan.how, code=plan.code, counts=counts, waited_s=plan.wait_s)
    owner.manifest = starting
    return _start(owner, plan, starting, name)


def _start(owner: Supervisor, plan: NextAttempt, starting: Manifest, prompt: str) -> bool:
    from runner.state.manifest import Attempt

    run, invocation = owner.run, owner.invocation
    offset, errors_from = owner.progress.size, _size(run.stderr)
    try:
        process = spawn.spawn(
            invocation.program,
            plan.argv,
            cwd=invocation.cwd,
            env=owner.environment(),
            streams=spawn.Streams(f"{run.path}/{prompt}", run.stdout, run.stderr),
            keep_fd=owner.lease_fd,
        )
    except OSError as error:
        reason = start_failure(error, invocation)
        owner.finish(Event.START_FAILED, Outcome.FAILED, reason)
        return False
    running = advance(starting, Event.STARTED, process=process)
    argv = None if plan.argv == invocation.argv else plan.argv
    attempt = Attempt(
        starting.attempt,
        process,
        running.updated_at,
        how=plan.how,
        argv=argv,
        prompt=prompt,
        stdout_from=offset,
        stderr_from=errors_from,
    )
    owner.attend(running.replace(attempts=(*starting.attempts, attempt)))
    more = {"prompt": prompt, "stdout_from": offset, "stderr_from": errors_from}
    owner.log.note(Event.STARTED, process=process.to_json(), attempt=starting.attempt, how=plan.how, **more)
    return True


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _waited(owner: Supervisor, seconds: float) -> bool:
    """False: it was cancelled meanwhile."""
    deadline = time.monotonic() + seconds
    while not owner.ending().is_cancelled():
        left = deadline - time.monotonic()
        if left <= 0:
            return True
        time.sleep(min(_LOOK_S, left))
    return False
