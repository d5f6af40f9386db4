"""The change against what was allowed and what was claimed."""

from __future__ import annotations

from typing import Any

import pytest
from support.values import an_invocation

from runner.git_change import GitChange
from runner.model import Level, Sandbox, Terms
from runner.verify.checks import Check
from runner.verify.claim import Claim
from runner.verify.classify import classify
from runner.verify.evidence import Evidence
from runner.verify.inspect import (
    FINDINGS,
    Allowed,
    Finding,
    Observed,
    Severity,
    allowed_by,
    findings,
    of_checks,
    outside_scope,
    relative,
    to_look_for,
)

WRITES = Allowed(writes=True, contract=True)
FAILED = Check(("pytest", "-q"), 1, False, 1.0, "1 failed")


def a_claim(*files: str, status: str = "completed", said: str = "all pass") -> Claim:
    return Claim(status, files, (), "Did it.", said)


def by_code(
    allowed: Allowed, claim: Claim | None, observed: Observed | None, *checks: Check
) -> dict[str, Finding]:
    found = findings(allowed, claim, observed, checks, root="/repo")
    assert {finding.code for finding in found} <= set(FINDINGS)
    assert [f.severity for f in found] == sorted((f.severity for f in found), key=list(Severity).index)
    return {finding.code: finding for finding in found}


def test_a_claim_that_is_the_change_leaves_nothing_to_say() -> None:
    assert by_code(WRITES, a_claim("src/a.py", "./b"), Observed(("src/a.py", "b"))) == {}


def test_a_change_outside_the_scope_is_an_error_that_names_the_paths() -> None:
    allowed = WRITES.replace(scope=("src/**",))
    found = by_code(allowed, a_claim("src/a", "x"), Observed(("src/a", "x")))
    assert found["scope_violation"].severity is Severity.ERROR
    assert found["scope_violation"].evidence == ("x",)
    assert "1 file was changed outside the scope (src/**)" in found["scope_violation"].message


def test_without_a_scope_nothing_is_outside() -> None:
    assert outside_scope((), ("anything",)) == ()


def test_evidence_of_many_paths_is_cut_and_says_how_many_more() -> None:
    paths = tuple(f"p{n}" for n in range(60))
    found = by_code(WRITES.replace(scope=("src",)), a_claim(*paths), Observed(paths))
    assert len(found["scope_violation"].evidence) == 51
    assert found["scope_violation"].evidence[-1] == "and 10 more"


def test_completed_without_any_change_is_an_error_where_a_change_was_to_be_made() -> None:
    nothing = Observed(())
    assert by_code(WRITES, a_claim(), nothing)["empty_diff"].severity is Severity.ERROR
    assert by_code(WRITES.replace(writes=False), a_claim(), nothing) == {}
    assert by_code(WRITES.replace(expects_change=False), a_claim(), nothing) == {}
    assert by_code(WRITES, a_claim(status="partial"), nothing) == {}
    assert by_code(WRITES, None, nothing) == {}, "without a contract nobody says completed"


def test_a_commit_is_no_empty_diff_but_forbidden() -> None:
    found = by_code(WRITES, a_claim(), Observed((), head_moved=True, moved_refs=("refs/heads/main",)))
    assert set(found) == {"head_moved", "refs_moved"}
    assert {finding.severity for finding in found.values()} == {Severity.ERROR}
    assert found["refs_moved"].evidence == ("refs/heads/main",)


def test_a_run_whose_sandbox_keeps_it_from_git_is_not_accused_of_what_a_person_commits() -> None:
    seen = Observed(("a",), head_moved=True, moved_refs=("refs/heads/main",))
    found = by_code(WRITES.replace(git_is_kept=True), a_claim("a"), seen)
    assert {found[code].severity for code in ("head_moved", "refs_moved")} == {Severity.INFO}


def test_a_run_that_may_commit_may() -> None:
    found = by_code(WRITES.replace(may_commit=True), a_claim(), Observed((), head_moved=True))
    assert found["head_moved"].severity is Severity.INFO


def test_claims_of_files_that_were_not_changed_are_told_apart() -> None:
    claim = a_claim("a", "/repo/b", "gone", "deleted", "/etc/passwd", "../up", "folder")
    found = by_code(WRITES, claim, Observed(("a", "deleted", "folder/x"), absent=("gone", "deleted")))
    assert found["claimed_outside"].evidence == ("/etc/passwd", "../up")
    assert found["claimed_missing"].evidence == ("gone",)
    assert found["claimed_not_changed"].evidence == ("b",)
    assert set(found) == {"claimed_outside", "claimed_missing", "claimed_not_changed"}
    assert {finding.severity for finding in found.values()} == {Severity.WARNING}


def test_a_change_that_the_agent_does_not_name_is_found() -> None:
    found = by_code(WRITES, a_claim("a"), Observed(("a", "b")))
    assert found["changed_not_claimed"].evidence == ("b",)


def test_a_change_during_a_read_only_run_is_somebodys() -> None:
    found = by_code(Allowed(writes=False), None, Observed(("a",)))
    assert found["changed_read_only"].severity is Severity.WARNING


def test_a_file_that_was_dirty_before_is_named() -> None:
    found = by_code(WRITES, a_claim("a"), Observed(("a",), dirty_before=("a", "z")))
    assert found["changed_dirty"].evidence == ("a",)


def test_completed_over_a_failing_check_is_contradicted_in_its_own_words() -> None:
    found = by_code(WRITES, a_claim("a", said="39 passed\n0 failed"), Observed(("a",)), FAILED)
    message = found["claim_contradicted"].message
    assert "`pytest -q` exited with 1" in message and "39 passed 0 failed" in message
    assert by_code(WRITES, a_claim("a", status="failed"), Observed(("a",)), FAILED) == {}


def test_ignored_files_that_programs_read_are_counted_and_named() -> None:
    names = (".venv/lib/x.pth", ".env")
    (found,) = by_code(WRITES, None, Observed(("a",), ignored=names, ignored_count=12)).values()
    assert (found.code, found.severity, found.evidence) == ("changed_ignored", Severity.WARNING, names)
    assert found.message.startswith("12 ignored files changed")
    assert by_code(WRITES, None, Observed(("a",), ignored_count=12)) == {}, "caches, and the like"


def test_what_nobody_could_see_is_said() -> None:
    assert by_code(WRITES, a_claim("a"), None)["not_observed"].severity is Severity.WARNING
    assert by_code(Allowed(writes=True), None, None)["not_observed"].severity is Severity.INFO
    reads = Allowed(writes=False, contract=True)
    assert by_code(reads, a_claim(), None) == {}, "it could not write, so it was not recorded"
    assert [one.code for one in findings(reads, None, None, was_recorded=True)] == ["not_observed"]
    found = by_code(WRITES, a_claim("a"), Observed(("a",), unknown=("b",)))
    assert found["not_observed"].evidence == ("b",)


def test_what_is_hidden_since_the_run_is_no_change_within_its_bounds() -> None:
    hidden = Observed((), unknown=("a", "b"), hidden=("b",))
    for bound in (Allowed(writes=True, scope=("src/**",)), Allowed(writes=True, protect=("ci/**",))):
        (found,) = findings(bound, None, None, was_recorded=True)
        assert (found.code, found.severity) == ("not_observed", Severity.ERROR)
        (found,) = findings(bound, None, hidden)
        assert (found.severity, found.evidence) == (Severity.ERROR, ("b", "a"))
        (found,) = findings(bound, None, hidden.replace(hidden=()))
        assert found.severity is Severity.WARNING, "it could not be read before either"
    (found,) = findings(Allowed(writes=True), None, None, was_recorded=True)
    assert found.severity is Severity.WARNING, "no bounds are set"


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("a/b", "a/b"),
        ("./a//b/", "a/b"),
        ("/repo/a", "a"),
        ("a/../b", "b"),
        ("../repo/a", "a"),
        ("..", None),
        ("/", None),
        ("/repo", None),
        (".", None),
        ("/repository/a", None),
        ("a/../../x", None),
    ],
)
def test_a_claimed_path_is_inside_by_its_letters(path: str, below: str | None) -> None:
    assert relative(path, "/repo") == below


def test_only_claimed_paths_inside_are_looked_for() -> None:
    assert to_look_for(a_claim("a", "./a", "/etc/passwd", "b"), "/repo") == ("a", "b")
    assert to_look_for(None, "/repo") == ()


def test_every_error_has_a_row_in_the_classification() -> None:
    from runner.model import Outcome, Reason

    done = Evidence(Outcome.SUCCEEDED, Reason("completed", "done"))
    for code in FINDINGS:
        verdict = classify(done.replace(findings=(Finding(code, Severity.ERROR, "no"),)))
        assert verdict.outcome is not Outcome.SUCCEEDED
        if code in ("scope_violation", "head_moved", "refs_moved", "empty_diff", "config_drift"):
            assert verdict.row != "objection"


def test_nothing_keeps_a_run_without_a_sandbox_from_git() -> None:
    kept = allowed_by(an_invocation()).git_is_kept
    bare = allowed_by(an_invocation(isolation="none")).git_is_kept
    wild = allowed_by(an_invocation(git_in_reach=True)).git_is_kept
    assert (kept, bare, wild) == (True, False, False)


def test_a_run_under_no_terms_may_do_what_it_always_could() -> None:
    invocation = an_invocation()
    told = Allowed(True, may_commit=True, checks=invocation.verify, cwd=invocation.cwd, git_is_kept=True)
    assert allowed_by(invocation) == told
    read_only = an_invocation(sandbox=Sandbox("r", Level.READ_ONLY))
    assert not allowed_by(read_only).writes
    assert not allowed_by(an_invocation(terms=Terms(expects_change=False))).expects_change


@pytest.mark.parametrize(
    "terms", [Terms(scope=("src",)), Terms(workspace="worktree"), Terms(output_contract="final")]
)
def test_a_run_under_terms_must_not_commit(terms: Terms) -> None:
    allowed = allowed_by(an_invocation(terms=terms))
    assert not allowed.may_commit
    assert allowed.scope == terms.scope and allowed.contract is (terms.output_contract is not None)


# -- git and its owner -------------------------------------------------------------------------------

OWNED = WRITES.replace(git_owner="human", git_in_reach=True)
MAIN = GitChange("refs/heads/main", "a" * 40, "b" * 40, by_run=True)
SETTING = GitChange("config core.editor", None, "vi")


def of_git(allowed: Allowed, *changes: GitChange, **seen: Any) -> list[Finding]:
    observed = Observed(("a",), git=changes, **seen)
    return [one for one in findings(allowed, None, observed) if one.code != "changed_not_claimed"]


def test_what_git_notes_of_the_run_is_told_apart_from_what_anybody_may_have_done() -> None:
    moved = {"head_moved": True, "moved_refs": ("refs/heads/main",)}
    own, other = of_git(OWNED, MAIN, SETTING, **moved)
    assert {own.code, other.code} == {"policy_violation"}
    assert {own.severity, other.severity} == {Severity.ERROR}
    assert own.message == ("the run wrote git, and only human may: refs/heads/main")
    assert own.evidence == (f"refs/heads/main: {'a' * 40} -> {'b' * 40}",)
    assert other.message == (
        "git was written while this run worked or waited, and only human may: config core.editor; "
        "nothing shows by whom"
    )
    assert other.evidence == ("config core.editor: none -> vi",)


def test_what_a_run_of_the_owner_may_have_done_is_a_warning() -> None:
    tag = GitChange("refs/tags/v1", None, "b" * 40)
    allowed = OWNED.replace(git_owner="build", owner_worked=True)
    own, setting, other = of_git(allowed, MAIN, SETTING, tag)
    errors = [Severity.ERROR, Severity.ERROR]
    assert ([own.severity, setting.severity], other.severity) == (errors, Severity.WARNING)
    assert "while a run of its owner worked" in other.message and "refs/tags/v1" in other.message
    assert "config core.editor" in setting.message, "no setting is excused"


def test_what_was_written_of_git_beside_the_checks_is_a_doubt_and_accuses_nobody() -> None:
    before = {"HEAD": "refs/heads/main", "refs/heads/main": "a", "refs/runner/kept": "a", "index": "x"}
    after = {"HEAD": "refs/heads/main", "refs/heads/main": "b", "refs/runner/new": "b", "index": "x"}
    (found,) = of_checks("human", before, after)
    assert (found.code, found.severity) == ("policy_violation", Severity.WARNING)
    assert found.message == (
        "git was written while its checks ran, and only human may: refs/heads/main, refs/runner/kept; "
        "nothing shows by whom"
    )
    assert found.evidence == ("refs/heads/main: a -> b", "refs/runner/kept: a -> none")
    assert of_checks("human", before, {**before, "refs/runner/new": "b"}) == ()
    assert [one.code for one in of_checks("human", before, None)] == ["not_observed"]


def test_a_fetch_is_told_and_no_more() -> None:
    (found,) = of_git(OWNED, moved_refs=("refs/remotes/origin/main",))
    assert (found.code, found.severity) == ("refs_moved", Severity.INFO)


@pytest.mark.parametrize("git", [None, ()])
def test_a_run_that_could_not_write_git_is_accused_of_nothing(git: tuple[GitChange, ...] | None) -> None:
    allowed = OWNED.replace(git_in_reach=False, git_is_kept=True)
    observed = Observed(("a",), git=git, head_moved=True, moved_refs=("refs/heads/main",))
    found = findings(allowed, None, observed)
    assert {one.code: one.severity for one in found} == dict.fromkeys(
        ("head_moved", "refs_moved"), Severity.INFO
    )
    assert all(
        one.message.endswith("; its sandbox keeps the commands of the run from there") for one in found
    )


def test_what_nobody_could_see_of_git_is_no_success() -> None:
    (found,) = findings(OWNED, None, None, was_recorded=True)
    assert (found.code, found.severity) == ("not_observed", Severity.ERROR)
    (found,) = findings(OWNED.replace(may_commit=True), None, Observed(("a",)))
    assert (found.code, found.severity) == ("not_observed", Severity.ERROR)
    assert "the record of before is missing" in found.message


def test_the_owner_is_not_kept_from_git_and_may_commit_under_terms() -> None:
    terms = Terms(scope=("a",))
    owner = allowed_by(an_invocation(terms=terms, git_owner="hello"))
    assert (owner.git_owner, owner.may_commit) == (None, True)
    other = allowed_by(an_invocation(terms=terms, git_owner="human", git_in_reach=True))
    assert (other.git_owner, other.may_commit, other.git_in_reach) == ("human", False, True)


def test_of_many_names_all_are_counted_and_an_unseen_character_is_seen() -> None:
    names = ("vis\u200bible", *(f"f{n}" for n in range(999)))
    found = by_code(WRITES.replace(scope=("src/**",)), None, Observed(names))["scope_violation"]
    assert found.evidence[0] == r"vis\u200bible" and len(found.evidence) == 51
    assert found.named(2) == [r"vis\u200bible", "f0", "and 998 more"]
    assert found.replace(evidence=found.evidence[:3]).named(2)[-1] == "and 1 more"
    for forged in ("", "and  more", "and x more", f"and {'9' * 5000} more"):
        assert found.replace(evidence=(*found.evidence[:50], forged)).named(2)[-1].startswith("and ")
