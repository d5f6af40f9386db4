"""A plan is prepared: all that stands against it is told, and nothing on the disk is touched for it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from support.desk import TASKS, WHY, Desk, unit
from support.ended import an_ended_run, commit
from support.plans import toml

from runner.cli.app import main
from runner.conduct import plan_record as assignments
from runner.conduct import start_plan
from runner.conduct.conductor import Conductor
from runner.conduct.plan_record import Options
from runner.conduct.start_plan import BreakerOpen, NotDelegated, PlanChanged, PlanRuns, PlanUnclear
from runner.errors import (
    ConfigInvalid,
    Conflict,
    PlanInvalid,
    PolicyRefused,
    RunnerError,
    TaskNotFound,
    UsageError,
)
from runner.model import Lineage, Policy, Reason
from runner.state.plan_ledger import Breaker, PlanLedger, Status
from runner.state.store import RunDir
from runner.usecases import trust
from runner.usecases.clean import clean as clean_up


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return Desk(tmp_path / "base")


@pytest.fixture
def clean(desk: Desk) -> Desk:
    """All of it committed."""
    desk.commit()
    return desk


def refused(desk: Desk, kind: type[RunnerError], *, again: bool = False, **asked: Any) -> RunnerError:
    """What was said; and nothing in any folder is other than it was."""
    before = desk.tree()
    with pytest.raises(kind) as error:
        desk.again(**asked) if again else desk.prepare(**asked)
    assert desk.tree() == before
    assert error.value.hint
    return error.value


# -- what is carried out -------------------------------------------------------------------------------


def test_a_plan_becomes_its_batches_and_nothing_is_touched_for_it(clean: Desk) -> None:
    before = clean.tree()
    prepared = clean.prepare()
    assert clean.tree() == before
    assert [step.units for step in prepared.ledger.steps] == [
        ("U1", "U2", "U3", "U4", "U5"),
        ("U6", "U7", "U8"),
    ]
    assert {step.status for step in prepared.ledger.steps} == {Status.WAITING}
    assert (prepared.ledger.file, prepared.ledger.breaker) == ("plan.toml", Breaker(3))
    assert prepared.assignment.text == Path(clean.plan).read_text(encoding="utf-8")
    assert [len(part.units) for part in prepared.assignment.parts] == [5, 3]
    start_plan.refuse_unworthy(prepared)


def test_a_tree_that_was_clean_is_rolled_back_and_another_one_is_as_the_task_says(clean: Desk) -> None:
    assert clean.prepare().assignment.on_failure == "rollback"
    clean.write("mine")
    assert clean.prepare().assignment.on_failure is None
    clean.settings(more='[defaults]\non_failure = "keep"\n')
    assert clean.prepare().assignment.on_failure == "keep"


def test_batches_wait_for_units_that_are_not_delegated_also_over_others(clean: Desk) -> None:
    outside = 'files = ["/elsewhere/x"]'
    units = [
        unit(1, outside),
        unit(2, outside, 'depends_on = ["U1"]'),
        unit(3, 'files = ["a"]', 'depends_on = ["U2"]'),
        *(unit(n) for n in range(4, 9)),
    ]
    prepared = clean.prepare(file=clean.file("plan.toml", toml(*units)))
    waits = {step.units: step.local for step in prepared.ledger.steps if "U3" in step.units}
    assert [*waits.values()] == [("U1", "U2")] and prepared.ledger.local == ("U1", "U2")
    assert all(step.local == () for step in prepared.ledger.steps if "U3" not in step.units)


@pytest.mark.parametrize("place", ["plan.toml", "docs/plan.md", "link.md"])
def test_a_plan_is_called_as_it_lies_in_the_repository(clean: Desk, place: str) -> None:
    text = "# P\n\n### U1. One\n**Goal:** Do it.\n" if place.endswith(".md") else toml(unit(1))
    if place == "link.md":
        (clean.base / "elsewhere").mkdir()
        (clean.base / "elsewhere" / "text").write_text(text, encoding="utf-8")
        os.symlink(clean.base / "elsewhere" / "text", clean.root / place)
    else:
        clean.file(place, text)
    (clean.root / "src").mkdir()
    for file in (str(clean.root / place), os.path.join(clean.root, ".", "src", "..", place)):
        prepared = clean.prepare(file=file)
        assert prepared.assignment.name == prepared.ledger.file == place
        assert assignments.load(clean.left(prepared.ledger, prepared)) == (
            prepared.assignment,
            prepared.ledger,
        )


def test_a_plan_outside_the_repository_is_called_by_its_whole_path(clean: Desk) -> None:
    (clean.base / "plan.toml").write_text(toml(unit(1)), encoding="utf-8")
    file = str(clean.base / "plan.toml")
    assert clean.prepare(file=file).ledger.file == file


@pytest.mark.parametrize(
    ("count", "forced", "worth"), [(3, False, False), (3, True, True), (6, False, True), (8, False, True)]
)
def test_only_a_plan_that_is_worth_it_or_forced_is_delegated(
    clean: Desk, count: int, forced: bool, worth: bool
) -> None:
    prepared = clean.prepare(file=clean.file("p.toml", toml(*(unit(n) for n in range(count)))), forced=forced)
    if worth:
        start_plan.refuse_unworthy(prepared)
        return
    with pytest.raises(NotDelegated, match="not_worth: fewer than 5 units") as error:
        start_plan.refuse_unworthy(prepared)
    assert (error.value.code, int(error.value.exit_status)) == ("not_delegated", 5)
    assert f"{error.value.message} {error.value.hint}".count("--force-delegate") == 1


def test_a_plan_of_trivial_units_is_skipped_unless_it_is_forced(clean: Desk) -> None:
    file = clean.file("p.toml", toml(*(unit(n, "trivial = true") for n in range(4))))
    with pytest.raises(NotDelegated, match=r"skip: .* than doing them$"):
        start_plan.refuse_unworthy(clean.prepare(file=file))
    forced = clean.prepare(file=file, forced=True)
    start_plan.refuse_unworthy(forced)
    assert [len(step.units) for step in forced.ledger.steps] == [4]


# -- what is refused ---------------------------------------------------------------------------------


def test_a_task_that_nobody_declared_is_refused(clean: Desk) -> None:
    assert "`biuld`" in refused(clean, TaskNotFound, task="biuld").message


def test_a_template_that_may_not_write_is_refused_where_units_do(clean: Desk) -> None:
    error = refused(clean, ConfigInvalid, task="look")
    assert "U1, U2, U3, U4, U5 and 3 more" in error.message and "workspace-write" in (error.hint or "")
    assert clean.prepare("look", options=Options(sandbox="workspace-write")).ledger.steps
    reading = clean.file("r.toml", toml(*(unit(n, 'files = { read = ["a"] }') for n in range(5))))
    assert clean.prepare("look", file=reading).ledger.steps


def test_a_sandbox_without_bounds_needs_a_word(clean: Desk) -> None:
    refused(clean, PolicyRefused, options=Options(sandbox="danger-full-access"))


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "binary", "no plan", "empty", "NUL"])
def test_a_file_that_is_no_plan_is_refused(clean: Desk, kind: str) -> None:
    path = clean.root / "other.toml"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "binary":
            path.write_bytes(b"\xff\xfe")
        case "no plan":
            path.write_text('schema_version = 1\n[[units]]\nid = "U1"\n', encoding="utf-8")
        case "empty":
            path.write_text("", encoding="utf-8")
    error = refused(clean, PlanInvalid, file=f"{path}\0" if kind == "NUL" else str(path))
    assert int(error.exit_status) == 2


def test_more_batches_than_a_manifest_can_list_are_refused(clean: Desk) -> None:
    clean.settings("soft_cap = 1")
    file = clean.file("p.toml", toml(*(unit(n) for n in range(1002))))
    error = refused(clean, PlanInvalid, file=file)
    assert "at most 1,000 can be run" in error.message and "soft_cap" in (error.hint or "")
    fewer = clean.file("p.toml", toml(*(unit(n) for n in range(1000))))
    assert len(clean.prepare(file=fewer).ledger.steps) <= start_plan.MOST_BATCHES


def test_settings_that_are_wrong_are_told_before_the_plan_is_read(clean: Desk) -> None:
    clean.settings("soft_cap = 0")
    refused(clean, ConfigInvalid, file=str(clean.root / "missing.toml"))


APART = [("build", "max_parallel = 2"), ("build", "commit = true"), ("build", 'commit = "x"'), ("apart", "")]


@pytest.mark.parametrize(("task", "delegate"), APART)
def test_without_git_or_a_commit_nothing_is_committed_or_done_side_by_side(
    desk: Desk, task: str, delegate: str
) -> None:
    desk.settings(delegate)
    assert "has no commit yet" in refused(desk, Conflict, task=task).message
    os.rename(desk.root / ".git", desk.base / "moved")
    assert "no git repository" in refused(desk, Conflict, task=task).message
    desk.settings()
    assert desk.prepare().ledger.steps  # one after the other, in place, and not committed


@pytest.mark.parametrize("commit", ["true", '"delegated"'])
def test_a_batch_that_no_command_verifies_is_to_be_committed_by_nobody(clean: Desk, commit: str) -> None:
    bare = clean.file("bare.toml", toml(*(unit(n, f'files = ["src/{n}.py"]') for n in range(1, 9))))
    assert clean.prepare(file=bare).ledger.steps
    clean.settings(f"commit = {commit}")
    clean.commit()
    before = clean.tree()
    error = refused(clean, PlanInvalid, file=bare)
    assert "no command verifies U1, U2, U3, U4, U5 and 3 more" in error.message
    assert clean.tree() == before
    clean.settings(f"commit = {commit}", '[defaults]\nverify = [["true"]]\n')
    clean.commit()
    assert clean.prepare(file=bare).ledger.steps


@pytest.mark.parametrize("commit", ["true", '"delegated"'])
def test_commits_are_refused_where_tracked_files_have_changes(desk: Desk, commit: str) -> None:
    for n in range(7):
        desk.write(f"f{n}")
    desk.settings(f"commit = {commit}")
    desk.commit()
    desk.write("untracked")
    assert desk.prepare().ledger.steps
    desk.write("f0", "mine\n")
    assert refused(desk, Conflict).message.endswith("the tree has other changes: f0")
    for n in range(7):
        desk.write(f"f{n}", "mine\n")
    desk.git("add", "f1")
    error = refused(desk, Conflict)
    assert error.message.endswith("f0, f1, f2, f3, f4 and 2 more") and int(error.exit_status) == 9


@pytest.mark.parametrize(
    ("who", "commits", "is_told"),
    [
        ({}, "true", True),
        ({}, '"batches"', True),
        ({}, "false", False),
        ({"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@b"}, "true", True),
        ({"EMAIL": "a@b"}, "true", True),
        (
            {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
            "true",
            False,
        ),
    ],
)
def test_it_is_told_before_the_start_where_commits_would_be_in_nobodys_name(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, who: dict[str, str], commits: str, is_told: bool
) -> None:
    for name, value in who.items():
        monkeypatch.setenv(name, value)
    desk.settings(f"commit = {commits}")
    desk.commit()
    told = [*start_plan.notes(desk.prepare(), {})]
    assert ["by `runner`" in one for one in told] == [True] * is_told


@pytest.mark.parametrize("at_once", [1, 2])
def test_it_is_told_before_the_start_where_checks_would_import_from_elsewhere(
    desk: Desk, at_once: int
) -> None:
    desk.settings(f"max_parallel = {at_once}\ncommit = false")
    check = f'verify = [["env", "PYTHONPATH={desk.root}", "{sys.executable}", "tests/ok.py"]]'
    plan = desk.file("p.toml", toml(unit(1, 'files = ["src/1.py"]', check)))
    desk.commit()
    told = [one for one in start_plan.notes(desk.prepare(file=plan), desk.env) if "checks_elsewhere" in one]
    assert [f"imports from {desk.root}" in one for one in told] == [True] * (at_once == 2)


def test_a_branch_of_somebody_else_is_refused(desk: Desk) -> None:
    desk.settings('commit = "delegated"')
    desk.commit()
    desk.git("branch", "delegated")
    assert desk.prepare().ledger.steps  # it stands at what is checked out
    desk.git("commit", "-q", "--allow-empty", "-m", "mine")
    assert "`delegated` exists" in refused(desk, Conflict).message


def test_a_strict_plan_that_is_to_write_outside_the_scope_of_its_task_is_refused(clean: Desk) -> None:
    narrow = '[tasks.narrow]\nprompt = "Do."\nsandbox = "workspace-write"\nscope = ["src/**"]\n'
    outside = clean.file("p.toml", toml(unit(1), unit(2, 'files = { create = ["docs/2.md", "src/2.py"] }')))
    clean.settings('files = "strict"', narrow)
    error = refused(clean, ConfigInvalid, task="narrow", file=outside)
    assert (error.problems, int(error.exit_status)) == (("U2: docs/2.md",), 2)
    assert not [*clean.root.glob(".runs/narrow")]
    assert clean.prepare("narrow").ledger.steps
    clean.settings('files = "warn"', narrow)
    assert clean.prepare("narrow", outside).ledger.steps


PAGE = "### U1. A\n**Files:** `a.py`\n**Verify:** `true`\n\n### U2. B\n**Depnds on:** U1\n"


def test_a_plan_that_may_be_misread_is_not_carried_out_until_somebody_accepts_it(
    clean: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = clean.file("plan.md", PAGE)
    (line,) = clean.prepare(file=file).unclear
    assert line.endswith(
        'plan.md:6:1: `Depnds on` is no known label (did you mean "Depends on"?); its text is '
        "passed on as prose"
    )
    monkeypatch.chdir(clean.root)
    before = clean.tree()
    words = ("--plan", "plan.md", "--task", "build", "--force-delegate", "--trust", "--format", "json")
    assert main(["start", *words]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], len(error["problems"])) == ("plan_unclear", 1) and "--as-read" in error["hint"]
    assert clean.tree() == before
    assert main(["plan", "plan.md", "--format", "json"]) == 0
    warned = json.loads(capsys.readouterr().out)["warnings"]
    assert warned[0]["code"] == "unclear" and "plan.md:6:1: " in warned[0]["message"]
    start_plan.refuse_unclear(clean.prepare(file=file, as_read=True))
    start_plan.refuse_unclear(clean.prepare(file=clean.file("clear.md", PAGE.replace("Depnds", "Depends"))))


def test_a_line_that_is_not_clear_is_accepted_once_and_not_for_what_is_written_later(clean: Desk) -> None:
    file = clean.file("plan.md", PAGE)
    prepared = clean.prepare(file=file)
    began = prepared.ledger.began(1, Lineage("build", "20261120T101504438Z-50151d5c", "m"))
    clean.left(began.failed(1, WHY), prepared)
    assert not clean.again(file=file).unclear
    clean.file("plan.md", f"{PAGE}\n## Order\n\nU2 must follow once U1 is there: U2 depends on U1.\n")
    with pytest.raises(PlanUnclear):
        start_plan.refuse_unclear(clean.again(file=file))


def test_a_unit_that_is_ticked_is_done_and_nothing_waits_for_it(clean: Desk) -> None:
    lines = ("done = true", 'files = ["src/1.py"]')
    units = [unit(1, *lines), unit(2, 'depends_on = ["U1"]'), *(unit(n) for n in range(3, 9))]
    prepared = clean.prepare(file=clean.file("plan.toml", toml(*units)))
    assert [name for step in prepared.ledger.steps for name in step.units] == [f"U{n}" for n in range(2, 9)]
    assert all(not prepared.ledger.missing(step) for step in prepared.ledger.steps)
    assert prepared.decision is not None and prepared.decision.to_json()["local"] == [
        {"unit": "U1", "reason": "done"}
    ]
    assert assignments.load(clean.left(prepared.ledger, prepared)) == (prepared.assignment, prepared.ledger)
    everything = clean.file("done.toml", toml(*(unit(n, "done = true") for n in range(1, 9))))
    with pytest.raises(NotDelegated, match="all units are done"):
        start_plan.refuse_unworthy(clean.prepare(file=everything, forced=True))


def test_a_box_that_is_ticked_meanwhile_says_nothing_about_a_unit_that_is_left(clean: Desk) -> None:
    clean.ended("succeeded", "failed")  # U1 to U5 are done
    text = Path(clean.plan).read_text(encoding="utf-8")
    ticked = text.replace('goal = "Do 2."', 'goal = "Do 2."\ndone = true')
    clean.file("plan.toml", ticked)
    assert clean.again().ledger.left == ("U6", "U7", "U8")
    clean.file("plan.toml", ticked.replace('goal = "Do 7."', 'goal = "Do 7."\ndone = true'))
    error = refused(clean, PlanChanged, again=True)
    assert error.problems[0] == "U7: done changed" and "--done" in (error.hint or "")


# -- going on ------------------------------------------------------------------------------------------


def test_there_has_to_be_a_plan_to_go_on_with(clean: Desk) -> None:
    assert "without --resume" in (refused(clean, Conflict, again=True).hint or "")
    an_ended_run(clean.root)
    clean.ended("failed")
    refused(clean, Conflict, again=True, task="apart")
    other = clean.file("other.toml", toml(unit(1)))
    refused(clean, Conflict, again=True, file=other)
    assert clean.again().ledger.steps


def test_it_goes_on_where_the_newest_run_of_it_has_come(clean: Desk) -> None:
    clean.ended("failed", "failed")
    run = clean.ended("succeeded", "failed")
    before = clean.tree()
    prepared = clean.again(done=("U6",))
    assert clean.tree() == before
    assert [step.status for step in prepared.ledger.steps] == [Status.SUCCEEDED, Status.WAITING]
    assert prepared.ledger.left == ("U7", "U8") and prepared.decision is None
    resumed = prepared.ledger.resumed_from
    assert resumed is not None and resumed.run_id == run.run_id
    start_plan.refuse_unworthy(prepared)


def killed_before_its_ledger(clean: Desk) -> RunDir:
    """What a `start --plan` leaves that was killed over its first files, once it was looked at."""
    run = clean.ended()
    plan = run.read_manifest().plan
    os.unlink(run.plan)
    os.unlink(run.ledger)
    reason = Reason("never_started", "its starter ended before the agent existed")
    run.write_manifest(run.read_manifest().replace(reason=reason, plan=plan))
    return run


def test_a_resume_that_was_killed_before_its_ledger_stood_takes_no_plan_with_it(clean: Desk) -> None:
    clean.settings("max_failures = 1")
    run = clean.ended("succeeded", "failed")
    for _ in range(2):
        killed_before_its_ledger(clean)
    refused(clean, BreakerOpen, again=True)
    with pytest.raises(BreakerOpen):
        start_plan.refuse_begun(clean.prepare())
    prepared = clean.again(reset=True)
    assert [step.status for step in prepared.ledger.steps] == [Status.SUCCEEDED, Status.WAITING]
    assert prepared.ledger.resumed_from is not None and prepared.ledger.resumed_from.run_id == run.run_id
    start_plan.refuse_begun(prepared)
    cleaned = clean_up(run.repo, older_than_s=0, dry_run=False)
    assert [row.run_id for row, _ in cleaned.stopped] == [run.run_id], "its breaker is not reset by that"


def test_a_resume_that_was_killed_once_its_ledger_stood_is_gone_on_with(clean: Desk) -> None:
    clean.ended("succeeded", "failed")
    prepared = clean.again(done=("U6",))
    run = clean.left(prepared.ledger, prepared)
    run.write_manifest(run.read_manifest().replace(reason=Reason("never_started", "so it was")))
    assert clean.again().ledger.left == ("U7", "U8")


def test_a_first_start_that_was_killed_before_its_ledger_stood_is_none(clean: Desk) -> None:
    killed_before_its_ledger(clean)
    refused(clean, Conflict, again=True)
    start_plan.refuse_begun(clean.prepare())


def test_a_batch_whose_run_was_removed_before_it_was_verified_stops_the_plan_once(clean: Desk) -> None:
    prepared = clean.prepare()
    ledger = prepared.ledger
    for n in (1, 2):
        ledger = ledger.began(n, Lineage("build", f"20261120T10150443{n}Z-50151d5c", "m")).succeeded(
            n, changed=("a",)
        )
    run = clean.left(ledger.replace(together=(1, 2)), prepared)

    def carried_out(ledger: PlanLedger) -> PlanLedger:
        said: list[str] = []
        return Conductor(run, prepared.work, ledger, clean.env, said.append).carry_out()

    ended = carried_out(ledger.replace(together=(1, 2)))
    assert ended.breaker.parked is not None and ended.breaker.parked.code == "lost"
    assert "batches 1, 2" in ended.breaker.parked.message and ended.together == ()
    again = carried_out(ended.again(Lineage("build", run.run_id, "m")))
    assert again.breaker.parked is None and again.is_complete


@pytest.mark.parametrize("changed", ['verify = [["touch", "x"]]', "", 'map = "m.md"'])
def test_it_goes_on_only_with_settings_that_a_person_trusts(
    clean: Desk, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], changed: str
) -> None:
    clean.file("m.md", "A map.")
    clean.ended("failed", "failed")
    monkeypatch.chdir(clean.root)
    if changed:
        trust.agree(trust.demanded(clean.prepare().config, os.environ), os.environ)
        clean.settings(more=f"[defaults]\n{changed}\n")
    before = clean.tree()
    words = ("start", "--plan", clean.plan, "--task", "build", "--resume", "--format", "json")
    assert main(words) == 5
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "not_trusted"
    assert clean.tree() == before


def test_a_run_whose_files_are_broken_is_not_gone_on_with(clean: Desk) -> None:
    run = clean.ended("failed")
    Path(run.plan).write_text("{}", encoding="utf-8")
    assert run.run_id in refused(clean, Conflict, again=True).message


def test_a_plan_that_is_done_is_not_gone_on_with(clean: Desk) -> None:
    clean.ended("succeeded", "succeeded")
    assert "nothing of" in refused(clean, Conflict, again=True).message


def test_an_open_breaker_is_passed_by_a_person_alone(clean: Desk) -> None:
    clean.settings("max_failures = 2")
    clean.ended("failed", "failed")
    error = refused(clean, BreakerOpen, again=True)
    assert "2 batches" in error.message and "--reset-breaker" in (error.hint or "")
    clean.settings("max_failures = 99")
    refused(clean, BreakerOpen, again=True)
    refused(clean, BreakerOpen, again=True, done=("U1",))
    assert clean.again(reset=True).ledger.breaker == Breaker(99)


def test_a_unit_that_the_plan_does_not_have_cannot_be_done(clean: Desk) -> None:
    clean.ended("failed")
    assert "U9, u1" in refused(clean, UsageError, again=True, done=("U9", "U1", "u1")).message


def test_a_plan_that_says_something_else_by_now_is_shown(clean: Desk) -> None:
    clean.ended("failed")
    text = Path(clean.plan).read_text(encoding="utf-8")
    clean.file("plan.toml", f"# a comment\n{text}")
    assert clean.again().ledger.steps
    clean.file("plan.toml", text.replace("Do 3.", "Do 3 otherwise."))
    error = refused(clean, PlanChanged, again=True)
    assert error.problems[0] == "U3: goal changed"
    assert any("Do 3 otherwise." in line for line in error.problems)
    os.unlink(clean.plan)
    refused(clean, PlanInvalid, again=True)


def test_what_is_asked_now_replaces_what_was_asked_and_the_rest_stays(clean: Desk) -> None:
    clean.settings(more='[models.deep]\nmodel = "gpt-5"\n[models.quick]\nmodel = "gpt-mini"\n')
    clean.ended("failed", model="deep", sandbox="workspace-write", sets=("defaults.grace=1s",))
    prepared = clean.again(options=Options(model="quick"))
    expected = Options(model="quick", sandbox="workspace-write", sets=("defaults.grace=1s",))
    assert prepared.assignment.options == prepared.asked.options == expected
    assert prepared.choice.task.grace_s == 1.0


def test_a_task_that_has_become_read_only_is_refused_when_a_plan_is_gone_on_with(clean: Desk) -> None:
    clean.ended("failed")
    clean.file("delegate.toml", TASKS.replace('"workspace-write"', '"read-only"', 1))
    refused(clean, ConfigInvalid, again=True)


MODELS = """[models.deep]
model = "gpt-5"
[models.fast]
runtime = "gemini"
model = "gemini-2.5-flash"
[runtimes.gemini]
env = ["GEMINI_API_KEY"]
"""


def with_models(desk: Desk, *names: str) -> str:
    units = [
        f'id = "U{n}"\ngoal = "g"\nfiles = ["src/{n}.py"]\nmodel = "{name}"' for n, name in enumerate(names)
    ]
    return desk.file("models.toml", toml(*units))


def test_a_batch_is_run_with_the_model_and_the_runtime_that_its_units_name(clean: Desk) -> None:
    clean.settings(more=MODELS)
    prepared = clean.prepare("apart", with_models(clean, "fast", "deep", "fast"), forced=True)
    assert [part.model for part in prepared.assignment.parts] == ["fast", "deep"]
    chosen = [(one.runtime, one.model and one.model.model, one.task.id) for one in prepared.choices]
    assert chosen == [("gemini", "gemini-2.5-flash", "apart"), ("codex", "gpt-5", "apart")]
    same = clean.prepare("apart", prepared.asked.file, forced=True, options=Options(model="deep"))
    assert [one.runtime for one in same.choices] == ["codex"], "the command line counts for all of them"
    assert same.decision is not None and [one.model for one in same.decision.batches] == [None]


def test_a_model_of_units_that_the_policy_forbids_is_refused(clean: Desk) -> None:
    clean.settings(more=MODELS)
    prepared = clean.prepare(file=with_models(clean, "fast", "deep"), forced=True)
    ruled = prepared.config.replace(policy=Policy(runtimes=("codex",)))
    with pytest.raises(PolicyRefused, match="gemini"):
        _ = prepared.replace(choice=prepared.choice.replace(config=ruled)).choices


@pytest.mark.parametrize("again", [False, True])
def test_a_model_that_the_settings_have_no_more_is_refused(clean: Desk, again: bool) -> None:
    clean.settings(more=MODELS)
    file = with_models(clean, "deep", "fast")
    clean.left(clean.prepare(file=file).ledger, clean.prepare(file=file))
    clean.settings(more=MODELS.replace("[models.fast]", "[models.slow]"))
    told = refused(clean, PlanInvalid, again=again, file=file)
    assert "models.toml:11:1: units[1].model" in told.problems[0]


@pytest.mark.parametrize("wanted", ["true", '"delegated"'])
def test_what_tries_left_in_the_tree_does_not_refuse_to_go_on_with_commits(desk: Desk, wanted: str) -> None:
    desk.settings(f"commit = {wanted}")
    desk.write("src/1.py")
    desk.write("src/6.py")
    began = desk.commit()
    prepared = desk.prepare()
    desk.write("src/1.py", "done\n")
    if wanted != "true":
        desk.git("switch", "-q", "-c", "delegated")
    commit(desk.root)
    if wanted != "true":
        desk.git("switch", "-q", "main")
        desk.write("src/1.py", "done\n")
    desk.write("src/6.py", "a part\n")
    begun = prepared.ledger.replace(base=began)
    for n in (1, 2):
        begun = begun.began(n, Lineage("build", "20261120T101504438Z-50151d5c", "m"))
    begun = begun.succeeded(1, changed=("src/1.py",), commit="0" * 40).failed(2, WHY, kept=("src/6.py",))
    desk.left(begun, prepared)
    assert desk.again().ledger.left == ("U6", "U7", "U8")
    desk.write("delegate.toml", f"{Path(desk.root / 'delegate.toml').read_text(encoding='utf-8')}\n")
    assert refused(desk, Conflict, again=True).message.endswith("the tree has other changes: delegate.toml")


@pytest.mark.parametrize(
    ("since", "is_told"),
    [
        ("", False),
        ("commit -q --amend -m better", False),
        ("switch -q -c other", False),
        ("switch -q -c other HEAD~1", True),
        ("reset -q --hard HEAD~1", True),
    ],
)
def test_it_is_told_where_the_commit_of_a_batch_that_is_done_is_elsewhere(
    desk: Desk, since: str, is_told: bool
) -> None:
    desk.settings("commit = true")
    desk.write("src/1.py")
    desk.commit()
    prepared = desk.prepare()
    desk.write("src/1.py", "done\n")
    made = desk.commit()
    begun = prepared.ledger.began(1, Lineage("build", "20261120T101504438Z-50151d5c", "m"))
    desk.left(begun.succeeded(1, changed=("src/1.py",), commit=made), prepared)
    if since:
        desk.git(*since.split(" "))
    told = [*start_plan.notes(desk.again(), desk.env)]
    assert ["done: batch 1" in one for one in told if "batch" in one] == [True] * is_told


def test_a_run_that_carries_the_plan_out_is_named_and_not_disturbed(clean: Desk) -> None:
    run = clean.ended("failed")
    manifest = run.read_manifest()
    path = Path(run.manifest)
    text = path.read_text(encoding="utf-8")
    lock = run.try_lock(again=True)
    assert lock is not None  # somebody owns it
    try:
        running = text.replace('"phase": "done"', '"phase": "running"')
        path.write_text(running.replace('"outcome": "failed"', '"outcome": null'), encoding="utf-8")
        error = refused(clean, PlanRuns, again=True)
        assert manifest.run_id in error.message and "`running`" in error.message
    finally:
        os.close(lock)
