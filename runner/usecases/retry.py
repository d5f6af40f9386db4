"""USE CASE `retry`: tries a finished run again, as a new run that knows the evidence of the old one.

An end never changes, so a later attempt is another run, which names the first. It resumes the session of that
run if it can, otherwise it begins a new one with the task and the evidence.
"""

from __future__ import annotations

import contextlib
import os

from runner.disk.files import read_text
from runner.errors import Conflict, RunnerError, SessionBusy
from runner.executors import LOCAL
from runner.invocation import Earlier, Request
from runner.model import Lineage
from runner.resolve.invocation import Again
from runner.runtimes import get
from runner.runtimes.base import is_thread_id
from runner.state import index
from runner.state.authentic import own_invocation
from runner.state.fingerprints import WITHHELD
from runner.state.lineage import plan_of
from runner.state.messages import Queue
from runner.state.store import lock_task
from runner.usecases import look, start
from runner.usecases.logs import redactor, unknown_secrets
from runner.usecases.review import left_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runner.invocation import Invocation
    from runner.model import Config
    from runner.state.manifest import Manifest
    from runner.state.store import RunDir


def retry(
    config: Config,
    run: RunDir,
    env: Mapping[str, str],
    asked: Request,
    *,
    message: str | None = None,
    fresh: bool = False,
) -> Manifest:
    """Starts it like `start.start`, with what was asked for then where nothing is `asked` now. Conflict for
    an unfinished run, or one that succeeded and gets no `message`: the same prompt is never sent twice.
    """
    manifest = look.look(run)
    if not manifest.is_done:
        raise Conflict(f"run `{run.run_id}` is `{manifest.status}`", hint=look.to_end(manifest))
    old = own_invocation(run)
    _refuse_of_plan(manifest)
    if manifest.outcome == "succeeded" and not (message or "").strip():
        raise Conflict(f"run `{run.run_id}` succeeded", hint="say with --message what to do differently")
    is_full = manifest.reason is not None and manifest.reason.code == "context_full"
    resumes = (
        not (fresh or is_full or not is_thread_id(manifest.thread_id) or _had_own_tree(old))
        and (runtime := get(old.runtime)).resumes
        and not runtime.own_home
    )
    again = Again(
        Lineage(run.task_id, run.run_id, manifest.manifest_path),
        manifest.thread_id if resumes else None,
        lambda prompt: _prompt(run, manifest, prompt, message, resumes=resumes),
    )
    with _alone_in_session(run, again.thread_id):
        return start.start(config, _request(run, old, asked), env, again)


def follow_up(
    config: Config,
    run: RunDir,
    env: Mapping[str, str],
    text: str,
    *,
    run_id: str | None = None,
    allow_danger: bool = False,
) -> Manifest:
    """Starts a run that goes on in the session of one that has ended, with `text`, and has a verdict of its
    own. Conflict where the session cannot be resumed.
    """
    manifest = look.look(run)
    old = own_invocation(run)
    _refuse_of_plan(manifest)
    runtime = get(old.runtime)
    why = None
    if not is_thread_id(manifest.thread_id):
        why = "the session of run `{}` is not known"
    elif _had_own_tree(old):
        why = "run `{}` worked in a tree of its own, and its session knows the files there"
    elif not runtime.resumes or runtime.own_home:
        why = f"{runtime.title} cannot resume the session of run `{{}}`, which has ended"
    if why is not None:
        hint = f"`runner retry {run.run_id} --message TEXT` begins a new session with its evidence"
        raise Conflict(why.format(run.run_id), hint=hint)

    session = Lineage(run.task_id, run.run_id, manifest.manifest_path)
    now = Request(task_id=run.task_id, run_id=run_id, allow_danger=allow_danger)
    request = _request(run, old, now).replace(earlier=None, map=None, files=(), paste=(), handoff="")
    again = Again(session, manifest.thread_id, lambda _: text, continues=True)
    with _alone_in_session(run, again.thread_id):
        return start.start(config, request, env, again)


@contextlib.contextmanager
def _alone_in_session(run: RunDir, thread_id: str | None) -> Iterator[None]:
    """For a run that begins in the session of one that has ended. Conflict where another one works in it, or
    begins to: of two that write it at once, Claude Code and Gemini CLI lose a turn, and neither says so.
    """
    if thread_id is None:
        yield
        return
    with lock_task(run.repo, run.task_id):  # two that look at once would both begin
        for other in index.scan(run.repo)[1]:
            if thread_id in _living_threads(other):
                hint = f"`runner send {other.run_id} TEXT` speaks to its agent"
                raise SessionBusy(f"run `{other.run_id}` works in the session of `{run.run_id}`", hint=hint)
        yield


def _living_threads(run: RunDir) -> tuple[str | None, ...]:
    """The sessions that a run is in, or resumes, which has not ended as far as anybody can see."""
    try:
        manifest = look.look(run)
        return () if manifest.is_done else (manifest.thread_id, run.read_invocation().thread_id)
    except RunnerError:
        return ()


def rehearses(run: RunDir) -> bool:
    """Whether a retry would talk to the scripted model, as the run did."""
    return run.read_invocation().rehearsal is not None


def _refuse_of_plan(manifest: Manifest) -> None:
    """A batch is more than its task, and what comes of it belongs into its plan's ledger."""
    if (plan := plan_of(manifest)) is not None:
        from runner.state.plan_ledger import way_on

        told = plan.plan or {}
        whole, part = ("pipeline", "a step") if told.get("stages") else ("plan", "a batch")
        raise Conflict(
            f"run `{manifest.run_id}` is {'the run' if plan is manifest else part} of a {whole}",
            hint=f"`{way_on(str(told.get('file')), plan.task_id)}` tries the rest again",
        )


def _request(run: RunDir, old: Invocation, now: Request) -> Request:
    """What was asked for then, overrides of the command line included."""
    asked = {key.removeprefix("request.") for key in old.origins if key.startswith("request.")}
    rehearsal, place = old.rehearsal, LOCAL if old.executor is None else old.executor.name
    return now.replace(
        prompt=read_text(run.asked) if "prompt" in asked else None,
        model=(old.model_name or old.model) if "model" in asked else None,
        effort=old.reasoning_effort if now.effort is None and "effort" in asked else now.effort,
        sandbox=old.sandbox.name if "sandbox" in asked else None,
        executor=now.executor or (place if "executor" in asked else None),
        timeout_s=old.limits.timeout_s if "timeout" in asked else None,
        rehearse=rehearsal is not None,
        rehearsal_script=None if rehearsal is None else rehearsal.script,
        open="open" in asked,
        map=old.map,
        files=old.files,
        paste=old.paste,
        earlier=_earlier(run, old),
        ledger=None if old.ledger is None else old.ledger.task_id,
    )


def _earlier(run: RunDir, old: Invocation) -> Earlier | None:
    """What it and the tries before it have left in the shared tree. What was rolled back is not theirs."""
    if _had_own_tree(old) or not os.path.lexists(run.workspace):
        return None
    from runner.verify import record
    from runner.workspace.earlier import load_earlier

    found, before = record.load(run.result), load_earlier(run.path)
    seen = None if found is None else found.observed
    changed = left_by(run) if seen is None else seen.changed
    if found is not None and found.rolled_back is not None and not found.rolled_back.amiss:
        changed = ()
    base, paths = (run.path, ()) if before is None else (before.base, before.paths)
    return Earlier(base, tuple(sorted({*changed, *paths}))) if changed or paths else None


def _prompt(run: RunDir, manifest: Manifest, prompt: str, message: str | None, *, resumes: bool) -> str:
    """`prompt` is that of the task as it would be now, with this run's own manifest path."""
    from runner.verify import record, recovery
    from runner.verify.inspect import allowed_by

    found = record.load(run.result)
    assert manifest.reason is not None
    codes = () if found is None else found.failure_codes
    observed = None if found is None else found.observed
    changed = () if observed is None else observed.changed
    is_back = found is not None and found.rolled_back is not None and found.rolled_back.refused is None
    seen = recovery.Attempted(
        attempt=max(1, manifest.attempt),
        reason=manifest.reason,
        checks=() if found is None else found.checks,
        findings=() if found is None else found.findings,
        changed=changed,
        diff=_taken_back(run, manifest) if is_back else "",
        rolled_back=is_back,
    )
    limits = recovery.constraints(allowed_by(run.read_invocation()), observed, seen.findings)
    if not resumes:
        prompt = Queue(run).with_given(prompt, manifest.messages_given)
        return recovery.recovery_prompt(prompt, codes, seen, changed[:20], limits, message)
    return recovery.follow_up(codes, seen, limits, message)


def _taken_back(run: RunDir, manifest: Manifest) -> str:
    """The patch, as far as it may be shown to a model again."""
    patch = read_text(f"{run.path}/discarded.patch", 256 * 1024) or ""
    return (
        WITHHELD if patch and unknown_secrets(run, manifest) else redactor(run, manifest).redact_text(patch)
    )


def _had_own_tree(old: Invocation) -> bool:
    """A new run gets a new tree: the old thread would believe in files that are not there."""
    return old.cwd != old.repo
