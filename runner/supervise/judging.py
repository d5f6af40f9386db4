"""Judges an attempt: the claim, the change, the checks, the findings, the verdict. Edges: disk, processes.

The program's own signs come first; its claims about the work are compared with the evidence.
"""

from __future__ import annotations

import contextlib
import os

from runner import runtimes
from runner.disk import editable, programs
from runner.disk.digest import sha256
from runner.disk.files import links, read_text, replace_bytes, withdraw
from runner.errors import RunnerError
from runner.git_change import OWN_REFS, owning_task
from runner.invocation import RESULT_FORMS
from runner.model import Level, Outcome, Reason
from runner.runtimes.base import End
from runner.state.authentic import why_foreign
from runner.state.events import complain, read_events
from runner.state.manifest import CLOSING, INTERRUPTED, Survivor, parse_timestamp
from runner.state.store import RunDir, runs_of
from runner.supervise import tree_helper
from runner.supervise.attempts import repeated
from runner.supervise.conformance import drift
from runner.supervise.limits import is_full
from runner.supervise.progress import tail
from runner.text.terminal import plain
from runner.verify.checks import Check, CheckCommand, run_check
from runner.verify.classify import classify
from runner.verify.evidence import Evidence
from runner.verify.inspect import (
    REVIEWS,
    Finding,
    Observed,
    Severity,
    allowed_by,
    checks_changed,
    findings,
    of_checks,
    of_elsewhere,
    of_places,
    of_settings,
    own_checks,
    relative,
    to_look_for,
)
from runner.verify.judgement import Judgement
from runner.verify.taxonomy import failure_codes

_NAMED = 50
_DEEPEST = 64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Any

    from runner.model import Json
    from runner.processes.proc import Process
    from runner.state.manifest import Manifest
    from runner.supervise.owner import Owner
    from runner.verify.claim import Claim, NoClaim
    from runner.verify.inspect import Allowed


def own_signs(owner: Owner) -> tuple[Outcome, Reason]:
    """What the program's own signs say of the attempt that has ended."""
    manifest, seen, rehearsal = owner.manifest, owner.progress, owner.invocation.rehearsal
    if manifest.survivors:
        return _survived(manifest)
    end = End(
        exit_code=manifest.exit_code,
        signal=manifest.signal,
        turn=seen.turn,
        failure=seen.failure or seen.last_error,
        last_message=last_message(owner),
        any_event=seen.any_event,
        stderr_tail=tail(owner.run.stderr, start=manifest.attempts[-1].stderr_from),
        status=seen.status,
        is_answered=seen.is_answered,
    )
    outcome, reason = runtimes.get(owner.invocation.runtime).conclude(end)
    if rehearsal is not None and rehearsal.script is not None:
        from runner.rehearsal.script import unplayed

        unheard = unplayed(rehearsal.script, owner.run.rehearsal_log)
        if unheard is not None:
            reason = reason.replace(message=f"{reason.message}; {unheard}")
        if "rehearsal script: " in reason.message:
            hint = "the mistake is in the script, in what the task lets its agent use, or in its files"
            reason = reason.replace(hint=hint)  # the program took it for an answer of its provider
    if reason.code == "killed" and manifest.attempts[-1].reason == INTERRUPTED:
        text = "a message interrupted the turn of its agent, and no further turn could begin"
        reason = reason.replace(message=text, hint="`runner logs RUN` says why")
    if outcome is not Outcome.SUCCEEDED and is_full(owner.run.path):
        text = f"the disk of the run's folder is full ({reason.code}: {reason.message})"
        return outcome, Reason("disk_full", text, "free some space and start again", reason.detail)
    return outcome, reason


def _survived(manifest: Manifest) -> tuple[Outcome, Reason]:
    return Outcome.FAILED, Reason("survivors", f"could not be ended: {manifest.left_over}")


def judge(owner: Owner, end: tuple[Outcome, Reason], wish: Reason | None) -> Judgement:
    """The verdict of the attempt that has ended with `end`, and all that it rests on.

    `wish`: why we have stopped it, if we did.
    """
    outcome, reason = end
    contract = owner.invocation.terms.output_contract
    claim = problem = None
    is_closing = owner.manifest.attempts[-1].how == CLOSING
    if contract is not None and wish is None and (outcome is Outcome.SUCCEEDED or is_closing):
        claim, problem = _claimed(owner, contract, outcome, reason)
        if is_closing and problem is not None:
            outcome = Outcome.SUCCEEDED  # the work ended well; only the report is missing
    seen, is_given_up = _seen(owner, wish)  # before the checks, whose files are not the agent's
    settings = _settings_changed(owner, seen)
    is_said_done = problem is None and (claim is None or claim.status == "completed")
    checks: tuple[Check, ...] = ()
    written, _ = _git_written(owner)
    if wish is None and owner.is_to_end:
        wish = owner.asked("after its program had ended")
    if outcome is Outcome.SUCCEEDED and wish is None and is_said_done:
        checks, written = _checked_beside_git(owner, seen)
        if owner.manifest.survivors:
            outcome, reason = _survived(owner.manifest)
        if owner.is_to_end:
            wish = owner.asked("while it was being verified")
    observed = _observed(seen, claim)
    elsewhere = _elsewhere(owner, checks)
    for finding in elsewhere if outcome is Outcome.SUCCEEDED else ():
        reason = reason.replace(message=f"{reason.message}; but {finding.message}", hint=editable.REPAIR)
    pointed, drifted = of_places(() if claim is None else claim.findings), _drifted(owner)
    evidence = Evidence(
        outcome=outcome,
        reason=reason,
        wish=wish,
        contract=contract is not None,
        claim=claim,
        problem=problem,
        checks=checks,
        checks_declared=len(owner.invocation.verify) if is_said_done else 0,
        findings=(*_found(owner, claim, seen, checks), *pointed, *settings, *elsewhere, *written, *drifted),
        repeated=repeated(owner.manifest, observed, checks),
        status=owner.progress.status,
    )
    judgement = _judged(owner, evidence, seen)
    return judgement.replace(is_touched=False) if is_given_up else judgement


def _judged(owner: Owner, evidence: Evidence, seen: Json | None) -> Judgement:
    verdict = classify(evidence)
    return Judgement(
        verdict=verdict,
        claim=evidence.claim,
        problem=evidence.problem,
        observed=_observed(seen, evidence.claim),
        checks=evidence.checks,
        findings=evidence.findings,
        codes=failure_codes(evidence, verdict, _earlier_checks(owner)),
        diff="" if seen is None else str(seen["diff"]),
        was_clean=tree_helper.was_clean(owner.run) if seen is None else bool(seen["was_clean"]),
        is_touched=None if seen is None else bool(seen["is_touched"]),
    )


def last_message(owner: Owner) -> str | None:
    """The last message of the stream, written to its file; else what the program itself wrote there.

    The stream comes first: its file was opened by us before the child ran, the other one lies open to it.
    """
    path, text = owner.run.last_message, owner.progress.last_message
    attempt = owner.manifest.attempts[-1]
    if attempt.how == CLOSING:
        return text  # the last words on the work stay where they are
    if text is None:
        return read_text(path)
    if owner.kept_message == (attempt.n, text) and read_text(path) == text:
        return text  # a turn is told and judged: the disk is waited for once
    try:
        replace_bytes(path, text.encode(errors="replace"))
        owner.kept_message = (attempt.n, text)
    except OSError as error:
        complain(f"last message not written: {error}")
    return text


def _earlier_checks(owner: Owner) -> tuple[Check, ...]:
    """The checks of the attempts before this one, and of before the first."""
    earlier: list[Check] = []
    since: list[Check] = []
    for event in read_events(owner.run.events):
        if event.get("type") == "checked":
            with contextlib.suppress(ValueError):
                since.append(Check.from_json(event))
        elif event.get("type") == "baseline":
            with contextlib.suppress(ValueError):
                earlier.append(Check.from_json({**event, "tail": ""}))
        elif event.get("type") == "retried":
            earlier += since
            since.clear()
    return tuple(earlier)


def _found(
    owner: Owner, claim: Claim | None, seen: Json | None, checks: tuple[Check, ...]
) -> tuple[Finding, ...]:
    """A read-only run without a contract needs no finding about the missing observation."""
    invocation, was_recorded = owner.invocation, owner.manifest.workspace is not None
    terms = invocation.terms
    if seen is None and not (was_recorded or terms.scope or terms.output_contract not in (None, *REVIEWS)):
        return ()
    root = invocation.cwd if seen is None else str(seen["root"])
    allowed, observed = _allowed(owner, root, () if seen is None else seen["changed"]), _observed(seen, claim)
    if observed is not None and not all(change.by_run for change in observed.git or ()):
        allowed = allowed.replace(owner_worked=_owner_worked(owner))
    return findings(allowed, claim, observed, checks, root, was_recorded=was_recorded)


def _owner_worked(owner: Owner) -> bool:
    """Whether a run of ours, of the task that may write git, and that could, lives or has not ended before
    this one began. When one ended whose supervisor was killed, nobody knows.
    """
    task, since = owning_task(owner.invocation.git_owner), parse_timestamp(owner.manifest.created_at)
    for run in [] if task is None else runs_of(owner.invocation.repo, task):
        with contextlib.suppress(RunnerError, OSError, ValueError):
            is_owned, manifest = run.is_locked(), run.read_manifest()
            if (ended := manifest.ended_at) is not None:
                is_owned = manifest.outcome is not Outcome.LOST and parse_timestamp(ended) >= since
            if is_owned and run.read_invocation().git_in_reach and not _may_be_below(run, owner.run.run_id):
                return True
    return False


def _may_be_below(run: RunDir, top: str) -> bool:
    """Whether the run `top` has started it or one above it, or nobody can tell. What each of them was started
    with says so: any other record `top` could have removed. RunnerError.
    """
    for _ in range(_DEEPEST):
        if why_foreign(run) is not None:
            return True
        if (above := run.read_invocation().parent) is None:
            return False
        if above.run_id == top:
            return True
        run = RunDir.of(run.repo, above)
    return True


def _allowed(owner: Owner, root: str, changed: Collection[str] = ()) -> Allowed:
    """With what the files and programs that the checks name lead to, and which of `changed` they are."""
    allowed, found = allowed_by(owner.invocation), []
    named = [f"{root}/{name}" for name in own_checks(allowed, root).names]
    # PATH may name a program by a link into the work tree, as `npm link` makes them.
    for whole in (*named, *filter(None, owner.invocation.verify_programs)):
        found += [relative(path, root) for path in (*links(whole), os.path.realpath(whole))]
        found += programs.same_files(whole, root, changed)
    return allowed.replace(behind=tuple(dict.fromkeys(path for path in found if path is not None)))


def _started_by(owner: Owner, root: str) -> tuple[str, ...]:
    """What its checks run, as far as that is in the tree: not what an option makes them write."""
    words = [[word for word in argv if not word.startswith("-")] for argv in owner.invocation.verify]
    allowed = _allowed(owner, root)
    return own_checks(allowed.replace(checks=tuple(tuple(some[:2]) for some in words)), root).names


def _claimed(
    owner: Owner, contract: str, outcome: Outcome, reason: Reason
) -> tuple[Claim | None, NoClaim | None]:
    from runner.verify import claim as claims  # only a run under a contract pays for it

    if outcome is not Outcome.SUCCEEDED:
        return None, claims.missing(f"the turn that asked for the result failed: {reason.message}")
    message = owner.progress.last_message
    if message is None:
        message = read_text(owner.run.last_message)
    if contract == "status-block":
        from runner.verify.status_block import read_status_block

        found = read_status_block(message)
    else:
        found = claims.read_claim(message, RESULT_FORMS[contract])
    if isinstance(found, claims.Claim) and found.findings:
        from runner.verify.places import placed

        found = found.replace(findings=placed(found.findings, owner.invocation.cwd))
    return (found, None) if isinstance(found, claims.Claim) else (None, found)


def _seen(owner: Owner, wish: Reason | None) -> tuple[dict[str, Any] | None, bool]:
    """What is different in the tree; None where that is not known. And whether a cancel ended the look."""
    if not tree_helper.is_recorded(owner.run):
        return None, False
    was_cancelled = wish is not None and wish.code == "cancelled"
    try:
        if owner.lease_fd is not None or not owner.shares_tree:
            tree_helper.to_run(owner.run, owner.env)  # an owner before us was killed over its checks
        root = tree_helper.root(owner.run)
        own = (*owner.invocation.terms.protect, *own_checks(_allowed(owner, root), root).names)
        found = tree_helper.look(
            owner.run, owner.env, lambda: was_cancelled or owner.is_to_end, own, owner.missed
        )
    except (tree_helper.TreeUnknown, OSError, ValueError) as error:
        owner.log.note("tree_unknown", message=str(error)[:500])
        return None, isinstance(error, tree_helper.LookCancelled)
    return found, False


def _observed(seen: Json | None, claim: Claim | None) -> Observed | None:
    if seen is None:
        return None
    root = str(seen["root"])
    absent = [path for path in to_look_for(claim, root) if not os.path.lexists(os.path.join(root, path))]
    return Observed.from_json({**seen, "absent": absent})


def _settings_changed(owner: Owner, seen: Json | None) -> tuple[Finding, ...]:
    """Also tells it to those who ask later whether a person trusts the repository."""
    invocation = owner.invocation
    if not invocation.watched:
        return ()
    from runner.state import trust
    from runner.state.watched import ABSENT, TO_COME, changed

    before = {path: ABSENT if then == TO_COME else then for path, then in invocation.watched.items()}
    found = changed(invocation.repo, invocation.watched, () if seen is None else seen["changed"])
    is_here = invocation.cwd == invocation.repo or invocation.cwd.startswith(f"{invocation.repo}/")
    if found and not trust.changed_by_run(
        invocation.repo, os.environ, owner.run.run_id, found, before, not is_here
    ):
        complain("the change of settings could not be kept for those who trust them")
    return of_settings(invocation.terms.scope, found, () if seen is None else seen["changed"])


def _elsewhere(owner: Owner, checks: Sequence[Check]) -> tuple[Finding, ...]:
    """Of the first check that is led out of the work tree of the run."""
    for argv, program in owner.invocation.checks[: len(checks)]:
        if (found := editable.lead(argv, owner.env, owner.invocation.cwd, program)) is not None:
            return (of_elsewhere(plain(" ".join(argv)), found),)
    return ()


def _drifted(owner: Owner) -> tuple[Finding, ...]:
    conformance = owner.conformance()
    reason = drift(conformance)
    if reason is None:
        return ()
    is_enforced = owner.invocation.terms.conformance == "enforce"
    severity = Severity.ERROR if is_enforced else Severity.WARNING
    return (Finding("config_drift", severity, reason.message, conformance.drifted),)


def _git_written(owner: Owner) -> tuple[tuple[Finding, ...], Sequence[str | None]]:
    """What earlier checks wrote of git, and the digests of before those after which nobody has looked."""
    told, unended = list[Finding](), list[str | None]()
    for event in read_events(owner.run.events):
        if event.get("type") == "git_before_checks":
            unended.append(event.get("digest"))
        elif event.get("type") == "git_after_checks":
            unended.clear()
            with contextlib.suppress(ValueError, LookupError, TypeError):
                told += map(Finding.from_json, event["findings"])
    return tuple(one.replace(severity=Severity.WARNING) for one in told), unended


def _checked_beside_git(owner: Owner, seen: Json | None) -> tuple[tuple[Check, ...], tuple[Finding, ...]]:
    """The checks, and what these or earlier ones wrote of git that only another may write."""
    by = None if seen is None or not owner.invocation.verify else allowed_by(owner.invocation).git_owner
    written, unended = _git_written(owner)
    if by is None:
        return _checked_as_declared(owner, seen), written
    before = tree_helper.git_held(owner.run, owner.env)
    all_of_it = before and sorted(one for one in before.items() if not one[0].startswith(OWN_REFS))
    digest = all_of_it and sha256(repr(all_of_it).encode()).hexdigest()
    owner.log.note("git_before_checks", digest=digest)
    checks = _checked_as_declared(owner, seen)
    after, oldest = tree_helper.git_held(owner.run, owner.env), (*unended, digest)[0]
    then, now = ({"git as a whole": one} if one else None for one in (oldest, digest))
    found = dict.fromkeys((*of_checks(by, then, now), *of_checks(by, before, after)))
    owner.log.note("git_after_checks", findings=[one.to_json() for one in found])
    return checks, tuple(dict.fromkeys((*written, *found)))


def _checked_as_declared(owner: Owner, seen: Json | None) -> tuple[Check, ...]:
    """With `verify_from = "base"` their own files are what they were before the run for as long as they run.

    Where that cannot be, the first of them counts as one that could not be run.
    """
    invocation, env = owner.invocation, owner.env
    may_write = invocation.sandbox.level is not Level.READ_ONLY
    if invocation.terms.verify_from != "base" or not invocation.verify or not (may_write or seen):
        return _checked(owner)
    observed, failed = _observed(seen, None), "what the run changed is not known"
    if observed is not None and seen is not None:
        root, known = str(seen["root"]), [*filter(None, invocation.verify_programs)]
        own = checks_changed(_allowed(owner, root), observed, root)
        script = own_checks(_allowed(owner, root), root).is_script
        made = [at for at in observed.folders if script(at) and not os.path.islink(f"{root}/{at}")]
        lost = sorted({*_started_by(owner, root)} & {*observed.ignored})
        linked = [name for whole in known for name in programs.same_files(whole, root, observed.changed)]
        try:
            if linked:
                raise ValueError(f"PATH names {linked[0]} by a hard link")
            if made:
                raise ValueError(f"{made[0]} is a folder now")
            if lost:
                raise ValueError(f"git ignores {', '.join(lost[:_NAMED])}")
            if own:
                tree_helper.to_base(owner.run, env, own)
                owner.log.note("checks_from_base", paths=list(own[:_NAMED]))
            return _checked(owner)
        except (tree_helper.TreeUnknown, OSError, ValueError) as error:
            failed = str(error)[:500]
        finally:
            tree_helper.to_run(owner.run, env)
    text = f"its own files could not be made what they were before the run: {failed}"
    return (Check(invocation.verify[0], None, False, 0.0, text),)


def _checked(owner: Owner) -> tuple[Check, ...]:
    checks: list[Check] = []
    cwd, env, timeout_s = owner.invocation.cwd, owner.env, owner.invocation.verify_timeout_s
    for n, (argv, program) in enumerate(owner.invocation.checks, 1):
        log = f"{owner.run.path}/verify-{n}.log"
        withdraw(log)  # what an earlier attempt printed is no evidence of this one
        command = CheckCommand(argv, cwd, env, log, timeout_s, program=program)
        check = run_check(
            command,
            sweep=lambda: _end_all_of_a_check(owner),
            cancelled=lambda: owner.is_to_end,
            missed=owner.missed,
            cgroup=owner.cgroup,
        )
        checks.append(check)
        if not check.passed:
            owner.tie.linger()
        owner.log.note("checked", **check.to_json())
        if not check.passed or owner.manifest.survivors or owner.is_to_end:
            break
    return tuple(checks)


def _end_all_of_a_check(owner: Owner) -> None:
    """What it has left behind is of this run as well, and so is what of it cannot be ended."""
    left = owner.tree.sweep(1.0)
    owner.manifest = owner.manifest.with_left(survivors_of(left), owner.proof())


def survivors_of(processes: Sequence[Process]) -> tuple[Survivor, ...]:
    """As the manifest names them."""
    return tuple(Survivor(p.pid, p.start_time, p.command) for p in processes)
