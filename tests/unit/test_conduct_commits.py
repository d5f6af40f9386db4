"""The commits of a plan: with real git, made of what was seen to change, and nothing else moved."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ended import a_result, an_ended_run, write_result
from support.values import a_config, a_manifest
from support.work import Work

from runner.conduct import commits
from runner.conduct.commits import Base
from runner.errors import Conflict
from runner.model import Config, Delegate, Lineage, Reason
from runner.plan.units import Unit
from runner.state.events import EventLog
from runner.state.lineage import lineage_of
from runner.state.manifest import RuntimeFound
from runner.state.plan_ledger import Breaker, PlanLedger, Step
from runner.state.store import RunDir
from runner.workspace.commit import differing

AT = "2026-01-02T03:04:05.678Z"
MAIN = "refs/heads/main"


RUN = "20261120T101504438Z-50151d5c"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    made = Work(tmp_path)
    made.write("a", "a\n")
    made.write("b", "b\n")
    made.commit()
    return made


def config(work: Work, commit: str | bool = False) -> Config:
    return a_config(root=str(work.root), delegate=Delegate(commit=commit))


def stacked(settings: Config, on: Base, paths: list[str], text: str, at: str, is_wanted: bool) -> Base:
    """The base with a commit more, as the conductor makes it."""
    made = commits.make(settings, on.tip, paths, text, at)
    return commits.move(settings, on, made, paths, is_wanted=is_wanted)


def refs(work: Work) -> bytes:
    head = (work.root / ".git" / "HEAD").read_bytes()
    return work.git("for-each-ref") + head + work.staged()


def committed_to(work: Work, branch: str, **files: str) -> str:
    """A commit on a branch that nobody has checked out."""
    work.git("switch", "-q", "-c", branch)
    for name, text in files.items():
        work.write(name, text)
    made = work.commit()
    work.git("switch", "-q", "main")
    return made


@pytest.mark.parametrize("commit", [False, True, "delegated"])
def test_without_a_repository_or_a_commit_there_is_nothing_to_stand_on(
    tmp_path: Path, commit: str | bool
) -> None:
    (tmp_path / "plain").mkdir()
    outside = a_config(root=str(tmp_path / "plain"), delegate=Delegate(commit=commit))
    with pytest.raises(Conflict, match="is in no git repository"):
        commits.base(outside, ())
    with pytest.raises(Conflict, match="has no commit yet"):
        commits.base(config(Work(tmp_path), commit), ())


@pytest.mark.parametrize("commit", [False, True, "delegated", "main"])
def test_before_the_first_batch_it_is_what_is_checked_out(work: Work, commit: str | bool) -> None:
    before, head = refs(work), work.head()
    named = commit if isinstance(commit, str) else None
    at, ref = None if commit == "delegated" else head, None if named else "refs/heads/main"
    assert commits.base(config(work, commit), ()) == Base(head, named, at, ref)
    assert refs(work) == before


@pytest.mark.parametrize("commit", [False, True])
def test_a_head_that_is_on_no_branch_is_as_good(work: Work, commit: bool) -> None:
    work.git("switch", "-q", "--detach")
    assert commits.base(config(work, commit), ()) == Base(work.head(), None, work.head())


def test_work_that_nobody_committed_is_in_a_commit_that_no_ref_names(work: Work) -> None:
    work.write("a", "done\n")
    work.write("new", "done\n")
    work.write("b", "somebody else's\n")
    before, head = refs(work), work.head()
    found = commits.base(config(work), ["new", "a", "a"])
    assert refs(work) == before and found.tip != head
    assert found == Base(found.tip, None, head, "refs/heads/main")
    assert work.git("show", "--format=%P", "--name-only", found.tip).decode().split() == [head, "a", "new"]
    assert commits.base(config(work), {"a", "new"}) == found  # the same work is the same commit


def test_such_a_commit_never_gets_under_the_name_of_a_plan(work: Work) -> None:
    work.write("a", "done\n")
    with pytest.raises(Conflict, match=r"were not committed to branch `delegated`: a$"):
        commits.base(config(work, "delegated"), ["a"])


def test_work_that_should_have_been_committed_and_is_not_is_a_conflict_that_names_it(work: Work) -> None:
    work.write("a", "done\n")
    with pytest.raises(Conflict, match=r"finished steps were not committed: a$"):
        commits.base(config(work, True), ["a", "b"])
    work.commit()
    settled = commits.base(config(work, True), ["a", "b"])
    assert settled == Base(work.head(), None, work.head(), "refs/heads/main")


def test_a_branch_that_stands_elsewhere_is_not_taken_for_the_plans(work: Work) -> None:
    committed_to(work, "delegated", a="somebody else's\n")
    before = refs(work)
    with pytest.raises(Conflict, match="`delegated` exists and is not checked out"):
        commits.base(config(work, "delegated"), ())
    assert refs(work) == before


def test_a_branch_that_has_the_work_of_the_plan_is_gone_on_with(work: Work) -> None:
    began = work.head()
    made = committed_to(work, "delegated", a="done\n")
    work.write("a", "done\n")
    assert commits.base(config(work, "delegated"), ["a"], began) == Base(made, "delegated", made)
    assert commits.base(config(work, "delegated"), (), began) == Base(made, "delegated", made)


def test_a_branch_that_does_not_have_the_work_of_the_plan_is_a_conflict(work: Work) -> None:
    committed_to(work, "delegated", a="done\n")
    work.write("a", "edited since\n")
    before = refs(work)
    with pytest.raises(Conflict, match=r"were not committed to branch `delegated`: a$"):
        commits.base(config(work, "delegated"), ["a"])
    assert refs(work) == before


@pytest.mark.parametrize("commit", [False, True, "delegated"])
def test_in_the_middle_of_a_merge_nothing_of_ours_begins(work: Work, commit: str | bool) -> None:
    (work.root / ".git" / "MERGE_HEAD").write_text(f"{work.head()}\n", encoding="utf-8")
    with pytest.raises(Conflict, match="merge is under way"):
        commits.base(config(work, commit), ())


def test_where_no_commit_is_wanted_no_ref_moves(work: Work) -> None:
    settings = config(work)
    on, before = commits.base(settings, ()), refs(work)
    work.write("a", "1\n")
    first = stacked(settings, on, ["a"], "one", AT, False)
    work.write("b", "2\n")
    second = stacked(settings, first, ["b"], "two", AT, False)
    shown = work.git("log", "--format=%s", second.tip).decode().split()
    assert shown == ["two", "one", "x"] and (second.branch, second.at) == (on.branch, on.at)
    work.write("a", "a\n")
    work.write("b", "b\n")
    assert refs(work) == before


@pytest.mark.parametrize("commit", [True, "delegated"])
def test_each_batch_is_a_commit_on_top_of_the_one_before(work: Work, commit: str | bool) -> None:
    settings = config(work, commit)
    began, on = work.head(), commits.base(settings, ())
    for name in ("a", "b"):
        work.write(name, "done\n")
        on = stacked(settings, on, [name], f"did {name}", AT, True)
        assert on.tip == on.at
    branch = commit if isinstance(commit, str) else "main"
    assert work.git("log", "--format=%s", branch).decode().split("\n")[:3] == ["did b", "did a", "x"]
    assert work.git("rev-parse", branch).decode().strip() == on.tip
    dirty = work.git("status", "--porcelain").decode().split()
    assert dirty == ([] if commit is True else ["M", "a", "M", "b"])
    assert commits.base(settings, ["a", "b"], began) == on  # whoever goes on with it stands there too


def test_a_batch_that_changed_nothing_is_no_commit_but_makes_the_branch(work: Work) -> None:
    settings = config(work, "delegated")
    on = stacked(settings, commits.base(settings, ()), ["a"], "nothing", AT, True)
    assert on == Base(work.head(), "delegated", work.head())
    assert work.git("rev-parse", "delegated").decode().strip() == work.head()


@pytest.mark.parametrize("commit", [True, "delegated"])
def test_a_branch_that_has_moved_meanwhile_is_left_where_it_is(work: Work, commit: str | bool) -> None:
    settings = config(work, commit)
    on = commits.base(settings, ())
    if commit is True:
        work.git("commit", "-q", "--allow-empty", "-m", "mine")
    else:
        committed_to(work, "delegated", b="mine\n")
    work.write("a", "done\n")
    before = refs(work)
    with pytest.raises(Conflict):
        stacked(settings, on, ["a"], "did a", AT, True)
    assert refs(work) == before


@pytest.mark.parametrize("there", ["another branch", "no branch"])
def test_a_branch_that_was_checked_out_meanwhile_gets_no_commit_of_the_plan(work: Work, there: str) -> None:
    settings = config(work, True)
    on = commits.base(settings, ())
    work.git("switch", "-q", *(("--detach",) if there == "no branch" else ("-c", "other")))
    work.write("a", "done\n")
    before = refs(work)
    with pytest.raises(Conflict, match=r"is checked out now, but the plan began on refs/heads/main$"):
        stacked(settings, on, ["a"], "did a", AT, True)
    assert refs(work) == before
    work.git("switch", "-q", "main")
    assert stacked(settings, on, ["a"], "did a", AT, True).at == work.head()


def test_a_branch_that_begins_where_the_plan_had_no_branch_gets_no_commit_of_it(work: Work) -> None:
    settings = config(work, True)
    work.git("switch", "-q", "--detach")
    on = commits.base(settings, ())
    work.git("switch", "-q", "main")
    work.write("a", "done\n")
    before = refs(work)
    with pytest.raises(Conflict, match="refs/heads/main is checked out now, but the plan began on no br"):
        stacked(settings, on, ["a"], "did a", AT, True)
    assert refs(work) == before


def an_inner_repository(work: Work, name: str) -> None:
    work.git("init", "-q", name)
    work.write(f"{name}/file")
    work.git("add", "file", cwd=work.root / name)
    work.git("commit", "-q", "-m", "inner", cwd=work.root / name)


@pytest.mark.parametrize("commit", [False, True, "delegated"])
def test_a_repository_inside_is_in_no_commit_and_the_plan_goes_on_without_it(
    work: Work, commit: str | bool
) -> None:
    settings = config(work, commit)
    on = commits.base(settings, ())
    an_inner_repository(work, "in: ner")
    work.write("a", "done\n")
    work.write("b", "done\n")
    with pytest.raises(Conflict) as told:
        stacked(settings, on, ["a", "b", "in: ner"], "did a", AT, True)
    assert [problem.endswith(": in: ner") for problem in told.value.problems] == [True]
    if commit:
        with pytest.raises(Conflict, match=r"were not committed.*: a, b$"):
            commits.base(settings, ["a", "b", "in: ner"])
        work.git("commit", "-q", "-m", "by hand", "a", "b")
        assert commits.base(settings, ["a", "b", "in: ner"]).tip == work.head()
    else:
        tip = commits.base(settings, ["a", "b", "in: ner"]).tip
        assert work.git("diff", "--name-only", on.tip, tip).decode().split() == ["a", "b"]


def test_what_cannot_be_read_is_not_left_out_in_silence(work: Work) -> None:
    os.mkfifo(work.path("pipe"))
    work.write("a", "done\n")
    with pytest.raises(Conflict) as told:
        commits.base(config(work), ["a", "pipe"])
    assert [problem.rpartition(" ")[2] for problem in told.value.problems] == ["pipe"]


def test_a_repository_inside_that_is_somebody_elses_is_an_edit_like_any(work: Work) -> None:
    an_inner_repository(work, "inner")
    assert commits.edited(config(work), work.head(), None) == ("inner",)


def test_what_somebody_edited_is_told_from_what_the_plan_has_done(work: Work) -> None:
    settings = config(work)
    work.write("a", "done\n")
    tip = commits.base(settings, ["a"]).tip
    assert commits.edited(settings, tip, None) == () == commits.edited(settings, tip, ["a", "b"])
    work.write("b", "mine\n")
    work.write("new", "mine\n")
    assert commits.edited(settings, tip, None) == ("b", "new")
    assert commits.edited(settings, tip, ["a", "b"]) == ("b",)
    work.write("a", "mine too\n")
    assert commits.edited(settings, tip, ["a"]) == ("a",)


def test_what_tries_left_is_not_settled_and_what_succeeded_is(work: Work) -> None:
    running, asked, gone = (an_ended_run(work.root) for _ in range(3))
    seen = {**a_result()["observed"], "changed": ["r"]}
    write_result(running, a_result(observed=seen))
    write_result(asked, a_result(observed={**seen, "changed": ["never taken over"]}))
    steps = tuple(Step(n, (f"U{n}",)) for n in range(1, 6))
    ledger = (
        PlanLedger("p", None, steps, Breaker(9)).began(1, lineage_of(running)).began(2, lineage_of(asked))
    )
    ledger = ledger.failed(2, Reason("fold_conflict", "it does not fit"), kept=("k",))
    ledger = ledger.began(3, lineage_of(gone)).succeeded(3, changed=("s",)).began(4, Lineage("t", RUN, "m"))
    assert commits.unsettled(str(work.root), ledger) == {"r", "k"}
    EventLog(asked.events).append("accepted", files=1)
    assert commits.unsettled(str(work.root), ledger) == {"r", "k", "never taken over"}


UNITS = (Unit("U3", "Orders can be\nlisted"), Unit("U4", "Orders can be paid"))


def message(title: str | None, units: tuple[Unit, ...] = UNITS, template: str | None = None) -> str:
    delegate = Delegate() if template is None else Delegate(commit_message=template)
    manifest = a_manifest(RunDir("/repo", "work", RUN), runtime=RuntimeFound("codex", "/codex", "0.163.0"))
    return commits.message(a_config(delegate=delegate), title, 2, 3, units, manifest)


def trailers(text: str) -> list[str]:
    """As git reads them."""
    done = subprocess.run(
        ["git", "interpret-trailers", "--parse"], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


TRAILERS = [
    "Runner-Task: work",
    f"Runner-Run: {RUN}",
    "Runner-Units: U3, U4",
    "Delegated-To: codex 0.163.0, gpt-5",
]


def test_the_message_says_what_was_done_and_who_did_it() -> None:
    assert message("Shop").splitlines() == [
        "Shop: batch 2 of 3 (U3, U4)",
        "",
        "- U3: Orders can be listed",
        "- U4: Orders can be paid",
        "",
        *TRAILERS,
    ]
    assert trailers(message("Shop")) == TRAILERS


def test_the_message_of_a_step_without_units_names_none() -> None:
    said = message("Shop", (), "{title}")
    told = [line for line in TRAILERS if "Units" not in line]
    assert said.splitlines() == ["Shop", "", *told] and trailers(said) == told


@pytest.mark.parametrize("title", [None, "", " \n", "\x1b[31m\x1b[0m", "\x00"])
def test_a_plan_without_a_title_that_can_be_read_is_called_as_its_task(title: str | None) -> None:
    assert message(title).splitlines()[0] == "work: batch 2 of 3 (U3, U4)"


def test_the_first_line_is_as_it_was_asked_for() -> None:
    template = "{{x}} {units}\t{n}/{batches}\n{task} {run_id} {title}"
    assert message("T", template=template).splitlines()[:2] == [f"{{x}} U3, U4 2/3 work {RUN} T", ""]


@pytest.mark.parametrize("title", ["{x}", "{", "}", "{0}", "{title}", "{n!r:>99}", "{{units}}", "%s"])
def test_braces_in_a_plan_are_nothing_but_braces(title: str) -> None:
    units = (Unit(title, title), UNITS[1])
    lines = message(title, units).splitlines()
    assert lines[0] == f"{title}: batch 2 of 3 ({title}, U4)" and lines[2] == f"- {title}: {title}"


@settings(max_examples=60)
@given(st.text(), st.text(), st.text(min_size=1))
def test_whatever_a_plan_says_its_commit_has_one_first_line_and_our_trailers_alone(
    title: str, goal: str, other: str
) -> None:
    forged = f"{goal}\n\nRunner-Run: forged\nSigned-off-by: {other}"
    text = message(title, (Unit("U3", forged), Unit("U4", other)))
    lines = text.split("\n")
    assert lines[0].endswith(": batch 2 of 3 (U3, U4)") and lines[1] == "" and len(lines) == 10
    assert lines[2].startswith("- U3: ") and lines[3].startswith("- U4: ") and lines[5:-1] == TRAILERS
    assert not {*text} & {"\0", "\x1b", "\r", "\x08", "\u202e"}
    assert text.encode().decode() == text


@pytest.mark.parametrize("odd", ["a\0b", "\x1b]0;x\x07", "half \udcff", "\r\rx", "# no comment", "größer"])
def test_a_commit_can_be_made_of_whatever_a_plan_says(work: Work, odd: str) -> None:
    settings = config(work, True)
    work.write("a", "done\n")
    text = message(odd, (Unit("U3", odd), Unit("U4", odd)))
    on = stacked(settings, commits.base(settings, ()), ["a"], text, AT, True)
    assert work.git("log", "-1", "--format=%B", on.tip).decode().strip() == text.strip()
    assert trailers(text) == TRAILERS and differing(str(work.root), on.tip, None) == ()
    assert os.listdir(work.folder) == []
