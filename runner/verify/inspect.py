"""Level 1: compares the change with what was allowed and what was claimed. Pure.

Nothing here reads a disk: `Observed` has what git saw, `Allowed` what the run was allowed.
"""

from __future__ import annotations

import posixpath

from runner.git_change import OWN_REFS, GitChange, owning_task
from runner.model import Level
from runner.text.globs import covers
from runner.text.terminal import named
from runner.text.words import and_more, count, one_line
from runner.value import Misfit, StrEnum, Value
from runner.verify.own_checks import OwnChecks, guarded
from runner.verify.review import PLACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import Any, Self

    from runner.disk.editable import Lead
    from runner.invocation import Invocation
    from runner.model import Json
    from runner.verify.checks import Check
    from runner.verify.claim import Claim
    from runner.verify.review import ReviewFinding

_NAMED = 50


class Severity(StrEnum):
    """`error`: no success with it. `warning`: a person should look. `info`: good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Finding(Value):
    """One thing that was seen and that speaks for or against the result."""

    code: str
    severity: Severity
    message: str
    evidence: tuple[str, ...] = ()
    """What it was seen in: paths, refs, commands; at most 50, and then how many more."""

    def named(self, most: int) -> list[str]:
        """The first of its evidence, and how many more there were before that was cut."""
        told, cut = and_more(self.evidence, most), self.evidence[_NAMED:]
        if cut and (rest := cut[0][4:-5])[:9].isdecimal():
            told[-1] = f"and {_NAMED - most + int(rest[:9])} more"
        return told

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Scripts match the code, so it is a word like those in `FINDINGS`."""
        made = super().from_json(data)
        code = made.code
        if not (code.isascii() and code.replace("_", "").isalpha() and code.islower() and code[0] != "_"):
            raise Misfit.of(code, "a stable code").inside("code")
        return made


class Allowed(Value):
    """What the run was allowed and asked to do."""

    writes: bool
    """Whether its sandbox lets it write in the workspace."""
    contract: bool = False
    """Whether it was asked for a result (`output_contract`)."""
    scope: tuple[str, ...] = ()
    """Globs; empty is the whole repository. See `globs`."""
    may_commit: bool = False
    """Whether moved refs and a moved HEAD are nothing to object to."""
    expects_change: bool = True
    """False for a task that is right to change nothing."""
    protect: tuple[str, ...] = ()
    """Globs of what it must leave as it is."""
    checks: tuple[tuple[str, ...], ...] = ()
    """The commands that judge its work."""
    cwd: str = "/"
    """Where they run, as an absolute path."""
    files: tuple[str, ...] = ()
    """Globs that its task names."""
    behind: tuple[str, ...] = ()
    """What the files that the checks name lead to through links, and those links, relative to the root."""
    is_checked_from_base: bool = False
    """Whether the checks run with their own files as they were before."""
    isolation: str | None = None
    """As `Invocation.isolation`."""
    git_owner: str | None = None
    """Who alone may write git, where that is not this run; None: nobody is named."""
    git_in_reach: bool = False
    """As `Invocation.reaches_git_of_others`."""
    git_is_kept: bool = False
    """Whether its sandbox keeps its commands from what git holds: it was not the agent who moved a ref."""
    owner_worked: bool = False
    """Whether a run of that owner worked at the same time."""


class Observed(Value):
    """What git saw of the workspace after the run, against what it was before."""

    changed: tuple[str, ...]
    """Created, changed and deleted files and both names of a renamed one, relative to the root."""
    absent: tuple[str, ...] = ()
    """Those of `to_look_for` that are not there."""
    head_moved: bool = False
    moved_refs: tuple[str, ...] = ()
    git: tuple[GitChange, ...] | None = None
    """What is other in git that only its owner may change; None: that was not looked at."""
    dirty_before: tuple[str, ...] = ()
    """Files that were not as committed when the run began."""
    unknown: tuple[str, ...] = ()
    """Paths of which nothing is known, since they could not be read."""
    hidden: tuple[str, ...] = ()
    """Those of them that are so since the run."""
    ignored: tuple[str, ...] = ()
    """Ignored files that are executed or read as settings and are other than before: some names."""
    ignored_count: int = 0
    too_large: tuple[str, ...] = ()
    """Files among the changed ones that became too large to be recorded: what is in them is not known."""
    added: tuple[str, ...] = ()
    """Those of the changed ones that were not there before."""
    gone: tuple[str, ...] | None = None
    """Those of the changed ones that are not there any more; None in records of before."""
    folders: Mapping[str, bool] = {}
    """New folders and links at names of the checks, and whether a file of the run is in it."""
    tree: str | None = None
    """The whole workspace then, as the run's private record of it (`workspace.shadow`) has it."""
    lines: tuple[int, int] | None = None
    """How many lines of text files were added and removed; None where they were not counted."""
    lines_each: tuple[int, ...] | None = None
    """Both together for each of the changed ones, 0 where that is not known; None in records of before."""


REVIEWS = ("findings", "synthesis", "advocacy")
"""Contracts of who looks and changes nothing."""
WHILE_CHECKED = "written while its checks ran"
_LOCAL_SETTINGS = "delegate.local.toml"
"""No work of an agent: it is never committed, so nobody reviews it."""
FINDINGS = {
    "scope_violation": "a changed file lies outside the scope",
    "settings_changed": "settings, a prompt, a map, a rehearsal script, a file that `config` of a runtime "
    "names or a `sitecustomize.py` changed, or a missing script of the settings came, on which later runs "
    "depend",
    "head_moved": "HEAD moved, and the run, which could do that, must not commit",
    "refs_moved": "branches, tags or other refs moved, and the run, which could do that, must not commit",
    "policy_violation": "refs, HEAD, the index or settings of git changed, and the run that could write "
    "there, or whose checks ran, is not the owner that `[git]` names",
    "empty_diff": "the agent says completed, but nothing was changed",
    "claim_contradicted": "the agent says completed, but a check failed",
    "check_changed": "a changed file is executed or read by the checks, or `protect` covers it",
    "checks_elsewhere": "a check imports from another checkout of the repository than that of the run",
    "config_drift": "the runtime did not use the declared settings (from the conformance check)",
    "claimed_outside": "the agent says it changed a file outside the repository",
    "claimed_missing": "the agent says it changed a file that does not exist",
    "claimed_not_changed": "the agent says it changed a file that is unchanged",
    "changed_not_claimed": "a changed file is not in the agent's list",
    "changed_read_only": "files changed although the run was read-only",
    "changed_dirty": "the run changed a file that had uncommitted changes",
    "changed_ignored": "an ignored file that is executed or read as settings is other than before",
    "too_large": "a file became too large to be recorded, so no patch has it",
    "place_missing": "a review finding names a file or a line that is not there, or outside of the work tree",
    "not_observed": "the changes are not known, or not for all paths",
}
"""Every code and what it means; scripts read them."""


def allowed_by(invocation: Invocation) -> Allowed:
    """What a resolved run is allowed.

    One without a contract, a scope and a worktree is under no terms: it may commit, as it always could.
    """
    terms, owner = invocation.terms, invocation.git_owner
    contract, is_owner = terms.output_contract is not None, owning_task(owner) == invocation.task_id
    is_free = not contract and not terms.scope and terms.workspace == "in-place"
    return Allowed(
        writes=invocation.sandbox.level is not Level.READ_ONLY,
        contract=contract,
        scope=terms.scope,
        expects_change=terms.expects_change and terms.output_contract not in REVIEWS,
        may_commit=is_owner or is_free,
        protect=terms.protect,
        checks=invocation.verify,
        cwd=invocation.cwd,
        files=terms.files,
        is_checked_from_base=terms.verify_from == "base",
        isolation=invocation.isolation,
        git_owner=None if is_owner else owner,
        git_in_reach=invocation.reaches_git_of_others,
        git_is_kept=not invocation.git_in_reach and invocation.isolation != "none",
    )


def findings(
    allowed: Allowed,
    claim: Claim | None,
    observed: Observed | None,
    checks: Sequence[Check] = (),
    root: str = "/",
    *,
    was_recorded: bool = False,
) -> tuple[Finding, ...]:
    """All findings, errors first. `observed` None: the change could not be seen (no git).

    `root` is the absolute path of the work tree, for what is named absolutely. `was_recorded`: it could be
    seen before the run. What the agent then hides, with a FIFO in a place where git reads, for example, is
    no change that stayed within the bounds.
    """
    found = [*_contradictions(claim, checks)]
    hides = Severity.ERROR if allowed.scope or allowed.protect or allowed.git_in_reach else Severity.WARNING
    if observed is None and (was_recorded or allowed.writes):  # else there was nothing to observe
        severity = Severity.WARNING if allowed.scope or allowed.contract else Severity.INFO
        severity = hides if was_recorded else severity
        why = (
            "the record of before is missing, or git" if was_recorded else "there is no git repository, or it"
        )
        text = f"the changes are not known: {why} could not be read"
        found.append(Finding("not_observed", severity, text))
    elif observed is not None:
        if observed.unknown:
            text = f"what became of {count(len(observed.unknown), 'path')} could not be checked"
            severity = hides if observed.hidden else Severity.WARNING
            evidence = dict.fromkeys((*observed.hidden, *observed.unknown))
            found.append(_finding("not_observed", severity, text, [*evidence]))
        if allowed.git_in_reach and observed.git is None:
            text = "what of git the run changed is not known: the record of before is missing"
            found.append(Finding("not_observed", Severity.ERROR, text))
        found += [*_on_changes(allowed, claim, observed), *_on_refs(allowed, observed)]
        found += _on_checks(allowed, observed, root)
        if claim is not None:
            found += _on_claim(claim, observed, root)
    order = tuple(Severity)
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def of_settings(
    scope: Sequence[str], changed: Sequence[str], in_diff: Collection[str] = ()
) -> tuple[Finding, ...]:
    """Of files that decide what runs. What the diff shows is there to be reviewed, and may be an edit of the
    user's in the same tree; of the rest only a scope that names it says that it was to change.
    """
    if not changed:
        return ()
    hidden = [path for path in changed if path not in in_diff or posixpath.basename(path) == _LOCAL_SETTINGS]
    is_wanted = bool(scope) and not outside_scope(scope, hidden)
    severity = Severity.WARNING if is_wanted or not hidden else Severity.ERROR
    text = f"{_count(changed)} changed that later runs obey"
    return (_finding("settings_changed", severity, text, changed),)


def of_places(found: Sequence[ReviewFinding]) -> tuple[Finding, ...]:
    """Of review findings that point at nothing. They count all the same: only the place is wrong."""
    lost = [f"{one_line(one.where, 200)}{PLACES[one.place]}" for one in found if one.place in PLACES]
    if not lost:
        return ()
    text = f"of {count(len(found), 'review finding')}, the place of {len(lost)} is not there"
    return (_finding("place_missing", Severity.WARNING, text, lost),)


def of_elsewhere(command: str, lead: Lead) -> Finding:
    """Of a check that does not judge the files of its run."""
    return _finding(
        "checks_elsewhere", Severity.WARNING, f"`{_word(command)}` {lead}", (lead.by, lead.folder)
    )


def of_checks(owner: str, before: Json | None, after: Json | None) -> tuple[Finding, ...]:
    """Of what git held before and after the checks, which run what the agent may have written."""
    if before is None or after is None:
        return (Finding("not_observed", Severity.WARNING, f"whether git was {WHILE_CHECKED} is not known"),)
    some = [GitChange(name, before.get(name), after.get(name)) for name in sorted({*before, *after})]
    some = [one for one in some if one.before != one.after]
    some = [one for one in some if one.before or not one.what.startswith(OWN_REFS)]
    found = _on_git(Allowed(writes=False, git_owner=owner), some, WHILE_CHECKED)
    return tuple(one.replace(severity=Severity.WARNING) for one in found)  # it may be a person's work


def outside_scope(scope: Sequence[str], changed: Iterable[str]) -> tuple[str, ...]:
    """The changed paths that no glob of the scope covers; none where there is no scope."""
    return tuple(path for path in changed if not covers(scope, path)) if scope else ()


def to_look_for(claim: Claim | None, root: str) -> tuple[str, ...]:
    """The claimed paths inside the repository, relative to it: the caller checks which are absent."""
    if claim is None:
        return ()
    inside = (relative(path, root) for path in claim.files_modified)
    return tuple(dict.fromkeys(path for path in inside if path is not None))


def relative(path: str, root: str) -> str | None:
    """A claimed path relative to the root; None if it leads out. Links are not followed."""
    whole = posixpath.normpath(posixpath.join(root, path))
    below = posixpath.normpath(root).rstrip("/") + "/"
    return whole[len(below) :] if whole.startswith(below) and whole != below else None


def _on_changes(allowed: Allowed, claim: Claim | None, observed: Observed) -> Iterable[Finding]:
    if outside := outside_scope(allowed.scope, observed.changed):
        text = f"{_count(outside)} changed outside the scope ({', '.join(map(_word, allowed.scope))})"
        yield _finding("scope_violation", Severity.ERROR, text, outside)
    said_done = claim is not None and claim.status == "completed"
    if said_done and allowed.writes and allowed.expects_change and not _did_anything(observed):
        text = "the agent says that it completed the task, but no file was changed"
        yield Finding("empty_diff", Severity.ERROR, text)
    if observed.too_large:
        text = f"{_count(observed.too_large)} made too large to be recorded: no diff and no patch has them"
        yield _finding("too_large", Severity.ERROR, text, observed.too_large)
    if observed.ignored:
        number = count(observed.ignored_count, "ignored file", "ignored files")
        text = f"{number} changed that programs execute or read as settings: no diff and no rollback has them"
        yield _finding("changed_ignored", Severity.WARNING, text, observed.ignored)
    if observed.changed and not allowed.writes:
        text = (
            f"{_count(observed.changed)} changed although the run was read-only: by someone else, "
            "or the sandbox did not hold"
        )
        yield _finding("changed_read_only", Severity.WARNING, text, observed.changed)
    if mixed := _both(observed.changed, observed.dirty_before):
        text = f"{_count(mixed)} changed that already had uncommitted changes: the diff shows both"
        yield _finding("changed_dirty", Severity.INFO, text, mixed)


def _on_checks(allowed: Allowed, observed: Observed, root: str) -> Iterable[Finding]:
    """Its own checks rewritten: the commonest way to make one pass."""
    protected = guarded(allowed.protect, (*observed.changed, *observed.ignored))
    if protected:
        text = f"{_count(protected)} changed that the run must leave as they are"
        yield _finding("check_changed", Severity.ERROR, text, protected)
    others = tuple(path for path in checks_changed(allowed, observed, root) if path not in protected)
    if others:
        text = f"{_count(others)} changed that its own checks execute or read"
        text += "; they ran with these as before the run" if allowed.is_checked_from_base else ""
        yield _finding("check_changed", Severity.WARNING, text, others)


def checks_changed(allowed: Allowed, observed: Observed, root: str) -> tuple[str, ...]:
    """What the run changed of the files that its checks execute or read, or that `protect` covers."""
    own = own_checks(allowed, root)
    new, names = set(observed.added), set(own.names)
    read = [path for path in observed.changed if own.read(path, is_new=path in new)]
    read += [path for path in observed.ignored if path in names]
    for at, is_filled in observed.folders.items():
        below = [path for path in observed.changed if path.startswith(f"{at}/")]
        read += [at] if own.take_for(at, below, is_filled=is_filled) else []
    return tuple(dict.fromkeys((*guarded(allowed.protect, observed.changed), *read)))


def own_checks(allowed: Allowed, root: str) -> OwnChecks:
    """The checks as they are seen from the root of the work tree."""
    cwd = relative(allowed.cwd, root) or ""
    return OwnChecks(allowed.checks, cwd, allowed.files, root=root, behind=allowed.behind)


def _did_anything(observed: Observed) -> bool:
    """A commit leaves no file changed against the new HEAD, and is a change all the same."""
    return bool(observed.changed or observed.head_moved or observed.moved_refs)


def _on_refs(allowed: Allowed, observed: Observed) -> Iterable[Finding]:
    severity = Severity.INFO if allowed.may_commit else Severity.ERROR
    though = "" if allowed.may_commit else ", and the run must not commit"
    moved, is_head_moved = observed.moved_refs, observed.head_moved
    if allowed.git_is_kept:
        severity, though = Severity.INFO, "; its sandbox keeps the commands of the run from there"
    elif allowed.git_owner is not None and observed.git is not None:
        yield from _on_git(allowed, observed.git, "written while this run worked or waited")
        named = {change.what for change in observed.git}
        severity, though, is_head_moved = Severity.INFO, ", as a fetch moves them", False
        moved = tuple(name for name in moved if name not in named)
    if is_head_moved:
        yield Finding("head_moved", severity, f"HEAD moved to another commit or branch{though}")
    if moved:
        text = f"{count(len(moved), 'ref')} moved{though}"
        yield _finding("refs_moved", severity, text, moved)


def _on_git(allowed: Allowed, changes: Sequence[GitChange], when: str) -> Iterable[Finding]:
    """What git itself notes of the run, and what may be somebody else's: of that, no more is said."""
    own = [change for change in changes if change.by_run]
    rest = [change for change in changes if not change.by_run]
    excused = [change for change in rest if allowed.owner_worked and not change.what.startswith("config")]
    rest = [change for change in rest if change not in excused]
    by_owner, unclear = "written while a run of its owner worked", "; nothing shows by whom"
    for severity, what, some, more in (
        (Severity.ERROR, "the run wrote git", own, ""),
        (Severity.ERROR, f"git was {when}", rest, unclear),
        (Severity.WARNING, f"git was {by_owner}", excused, unclear),
    ):
        if some:
            things = ", ".join(and_more([_word(change.what) for change in some], 3))
            text = f"{what}, and only {allowed.git_owner} may: {things}{more}"
            yield _finding("policy_violation", severity, text, [one_line(str(one), 300) for one in some])


def _on_claim(claim: Claim, observed: Observed, root: str) -> Iterable[Finding]:
    """The list of files in the claim is advisory: a difference is for a person, the change itself counts."""
    claimed = {path: relative(path, root) for path in claim.files_modified}
    changed, absent = set(observed.changed), set(observed.absent)
    inside = [path for path in claimed.values() if path is not None]
    kinds = (
        ("claimed_outside", "outside the repository", [path for path, at in claimed.items() if at is None]),
        ("claimed_missing", "do not exist", [p for p in inside if p in absent and p not in changed]),
        ("claimed_not_changed", "are as before", [p for p in inside if p not in absent | changed]),
    )
    for code, text, paths in kinds:
        # A folder that holds a change is no lie, only not exact.
        paths = [path for path in paths if not any(other.startswith(f"{path}/") for other in changed)]
        if paths:
            text = f"of the files changed, according to the agent, {len(paths)} {text}"
            yield _finding(
                code, Severity.WARNING, text.replace(" 1 do ", " 1 does ").replace(" 1 are ", " 1 is "), paths
            )
    silent = [p for p in observed.changed if not any(p == c or p.startswith(f"{c}/") for c in inside)]
    if silent:
        text = f"{_count(silent)} changed that the agent does not name"
        yield _finding("changed_not_claimed", Severity.WARNING, text, silent)


def _contradictions(claim: Claim | None, checks: Sequence[Check]) -> Iterable[Finding]:
    failed = [check for check in checks if not check.passed]
    if failed and claim is not None and claim.status == "completed":
        said = _word(claim.verification_summary)
        text = f"the agent says completed, but `{_word(failed[0].command)}` {failed[0].how}"
        text += f"; it reports: {said}" if said else "; it reports no checks"
        yield _finding("claim_contradicted", Severity.ERROR, text, [check.command for check in failed])


def _finding(code: str, severity: Severity, message: str, evidence: Sequence[str]) -> Finding:
    return Finding(code, severity, message, tuple(map(named, and_more(evidence, _NAMED))))


def _both(some: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    known = set(others)
    return tuple(path for path in some if path in known)


def _count(paths: Sequence[str]) -> str:
    return count(len(paths), "file was", "files were")


def _word(text: str) -> str:
    return one_line(text, 200)
