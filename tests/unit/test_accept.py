"""The decision about a run's own work tree: once, under its lock, and finished where it was broken off."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Timer

import pytest
from support.ended import a_result, a_worktree, an_ended_run, write_result
from support.work import Work

from runner.cli.app import main
from runner.conduct import merge_back
from runner.disk.files import Draft
from runner.errors import Conflict, ExitStatus, WorkspaceBusy
from runner.model import Outcome, Phase
from runner.state.authentic import write_record
from runner.state.events import EventLog, read_events
from runner.state.store import RunDir
from runner.usecases import accept, clean, review
from runner.workspace import lease
from runner.workspace import snapshot as snapshots
from runner.workspace import worktree as worktrees
from runner.workspace.worktree import Worktree


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path)
    made.write("a.txt", "a\n")
    made.commit()
    return made


@pytest.fixture
def run(work: Work) -> RunDir:
    return an_ended_run(work.root)


@pytest.fixture
def tree(work: Work, run: RunDir) -> Worktree:
    made = a_worktree(run, work.head())
    Path(made.path, "new").write_text("the run's\n")
    return made


def told(run: RunDir) -> list[tuple[str, str]]:
    return [(event["type"], event["actor"]) for event in read_events(run.events)]


def test_accepting_takes_the_changes_over_and_removes_the_tree(
    work: Work, run: RunDir, tree: Worktree
) -> None:
    before = Path(run.manifest).read_bytes()
    decision = accept.accept(run)
    assert (decision.decision, decision.paths, decision.kept) == ("accepted", ("new",), ())
    assert work.read("new") == b"the run's\n" and not os.path.exists(tree.path)
    assert told(run) == [("accepted", "user")] and Path(run.manifest).read_bytes() == before
    assert decision.patch == tree.patch
    patch = review.diff(run)
    assert patch.kept == tree.patch and [one.path for one in patch.files] == ["new"]


@pytest.mark.parametrize("put", [os.mkdir, os.mkfifo])
@pytest.mark.parametrize("decide", [accept.accept, accept.discard])
def test_where_a_decision_cannot_be_noted_nothing_is_changed(
    work: Work, run: RunDir, tree: Worktree, put: Callable[[str], None], decide: Callable[[RunDir], object]
) -> None:
    if os.path.exists(run.events):
        os.unlink(run.events)
    put(run.events)
    before = work.state()
    with pytest.raises(Conflict, match="is no file"):
        decide(run)
    assert work.state() == before and tree.is_there()


def test_a_folder_in_the_place_of_a_file_of_ours_is_no_bug(
    work: Work,
    run: RunDir,
    tree: Worktree,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(work.root)
    os.mkdir(tree.patch)
    assert main(["discard", run.run_id]) == ExitStatus.CONFLICT and tree.is_there()
    assert f"cannot write {tree.patch}" in capsys.readouterr().err
    os.rmdir(tree.patch)
    assert main(["discard", run.run_id]) == ExitStatus.OK and not os.path.exists(tree.path)


def test_what_the_checks_left_is_in_neither_diff_nor_acceptance(
    work: Work, run: RunDir, tree: Worktree
) -> None:
    taken = snapshots.load(run.path)
    assert taken is not None
    observed = {**a_result()["observed"], "changed": ["new"], "tree": taken.look().tree}
    Path(tree.path, "left.pyc").write_text("by a check\n")
    write_result(run, a_result(observed=observed))
    shown = review.diff(run)
    assert [one.path for one in shown.files] == ["new"] and "1 file was changed" in shown.notes[0]
    decision = accept.accept(run)
    assert decision.paths == ("new",) and not (work.root / "left.pyc").exists()
    assert [one.path for one in review.diff(run).files] == ["new"]
    assert decision.later is not None and b"+by a check" in Path(decision.later).read_bytes()


def test_a_result_of_an_earlier_attempt_judges_nothing(work: Work, run: RunDir, tree: Worktree) -> None:
    taken = snapshots.load(run.path)
    assert taken is not None
    observed = {**a_result()["observed"], "changed": [], "tree": taken.tree}
    write_result(run, a_result(observed=observed, attempt=7))
    assert accept.accept(run).paths == ("new",)


def test_the_event_names_who_decided(work: Work, run: RunDir, tree: Worktree) -> None:
    accept.accept(run, actor="runner")
    other = an_ended_run(work.root)
    a_worktree(other, work.head())
    accept.discard(other, actor="conductor")
    assert (told(run), told(other)) == ([("accepted", "runner")], [("discarded", "conductor")])


def test_discarding_keeps_the_work_as_a_patch_and_touches_nothing(
    work: Work, run: RunDir, tree: Worktree
) -> None:
    state = work.state()
    decision = accept.discard(run)
    assert (decision.decision, decision.patch) == ("discarded", tree.patch)
    assert work.state() == state and not os.path.exists(tree.path)
    assert told(run) == [("discarded", "user")]
    assert [one.path for one in review.diff(run).files] == ["new"]


@pytest.mark.parametrize("first", ["accept", "discard"])
@pytest.mark.parametrize("second", ["accept", "discard"])
def test_a_second_decision_is_refused_and_says_which_was_the_first(
    first: str, second: str, run: RunDir, tree: Worktree
) -> None:
    getattr(accept, first)(run)
    with pytest.raises(Conflict, match=f"is already {first}ed") as error:
        getattr(accept, second)(run)
    assert f"runner diff {run.run_id}" in (error.value.hint or "")
    assert len(told(run)) == 1


def test_conflicts_are_listed_and_change_nothing(work: Work, run: RunDir, tree: Worktree) -> None:
    Path(tree.path, "a.txt").write_text("the run's\n")
    work.write("a.txt", "the user's\n")
    state = work.state()
    with pytest.raises(Conflict) as error:
        accept.accept(run)
    assert error.value.problems == ("a.txt",)
    assert work.state() == state and tree.is_there() and told(run) == []
    work.write("a.txt", "a\n")
    assert set(accept.accept(run).paths) == {"a.txt", "new"}


def test_a_run_without_a_tree_of_its_own_has_nothing_to_decide(run: RunDir) -> None:
    for verb in (accept.accept, accept.discard):
        with pytest.raises(Conflict, match="no work tree of its own") as error:
            verb(run)
        assert "runner diff" in (error.value.hint or "")


def test_a_run_that_is_not_done_is_not_decided(run: RunDir, tree: Worktree) -> None:
    lock_fd = run.try_lock()
    assert lock_fd is not None
    manifest = run.read_manifest()
    run.write_manifest(manifest.replace(phase=Phase.RUNNING, outcome=None, reason=None, ended_at=None))
    for verb in (accept.accept, accept.discard):
        with pytest.raises(Conflict, match="is not done"):
            verb(run)
    os.close(lock_fd)
    assert tree.is_there()


def test_a_failed_run_can_be_accepted_all_the_same(work: Work) -> None:
    run = an_ended_run(work.root, outcome=Outcome.FAILED, code="partial")
    made = a_worktree(run, work.head())
    Path(made.path, "half").write_text("x\n")
    assert accept.accept(run).paths == ("half",)


def test_a_failed_run_is_accepted_by_its_name_only(
    work: Work, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work.root)
    run = an_ended_run(work.root, outcome=Outcome.REJECTED, code="verify_failed")
    Path(a_worktree(run, work.head()).path, "half").write_text("x\n")
    name = run.run_id[20:24]
    for words in (["accept"], ["accept", "@undecided"]):
        assert main(words) == ExitStatus.CONFLICT
        err = capsys.readouterr().err
        assert (
            f"`{name}` (task work)" in err
            and "did not succeed (rejected)" in err
            and f"`runner accept {name}`" in err
        )
    assert not Path(work.root, "half").exists()
    assert main(["accept", name]) == ExitStatus.OK and Path(work.root, "half").exists()


def test_it_waits_for_whoever_is_at_the_run_for_a_moment(run: RunDir, tree: Worktree) -> None:
    lock_fd = run.try_lock()
    assert lock_fd is not None
    owner = Timer(0.3, os.close, (lock_fd,))
    owner.start()
    assert accept.discard(run).decision == "discarded"
    owner.join()


def test_nothing_is_taken_over_while_a_run_may_write_in_the_users_tree(
    work: Work, run: RunDir, tree: Worktree
) -> None:
    other = lease.acquire(str(work.root), lease.Holder("other", "m.json"))
    with pytest.raises(WorkspaceBusy, match="other"):
        accept.accept(run)
    assert not os.path.exists(work.path("new"))
    other.release()
    accept.accept(run)
    assert lease.held_by(str(work.root)) is None


# -- broken off ------------------------------------------------------------------------------------


def _deletes(tree: Worktree) -> None:
    os.unlink(f"{tree.path}/a.txt")


def _renames(tree: Worktree) -> None:
    os.rename(f"{tree.path}/a.txt", f"{tree.path}/b.txt")


def _permits(tree: Worktree) -> None:
    os.chmod(f"{tree.path}/a.txt", 0o755)


def _makes_a_folder(tree: Worktree) -> None:
    os.unlink(f"{tree.path}/a.txt")
    os.mkdir(f"{tree.path}/a.txt")
    Path(tree.path, "a.txt", "inner").write_text("x\n")


@pytest.mark.parametrize("changes", [_deletes, _renames, _permits, _makes_a_folder])
@pytest.mark.parametrize("is_told", [False, True], ids=["untold", "told"])
def test_an_acceptance_that_broke_off_before_the_removal_is_finished_by_the_next(
    work: Work, run: RunDir, tree: Worktree, changes: Callable[[Worktree], None], is_told: bool
) -> None:
    """All of it is in place: a merge of it could not be made again, and what was edited since stays."""
    changes(tree)
    worktrees.accept(tree)
    draft = Draft(tree.patch)  # what it was writing then
    if is_told:
        EventLog(run.events).append("accepted", actor="user")
    work.write("new", "the run's, and the user's since\n")
    state = work.state()
    with pytest.raises(Conflict, match="was accepted") as error:
        accept.discard(run)
    assert f"runner accept {run.run_id}" in (error.value.hint or "")
    merge_back.take_over(run)
    assert work.state() == state and not os.path.exists(tree.path)
    assert not [name for name in os.listdir(run.path) if name.endswith(".tmp")]
    draft.close()
    assert [kind for kind, _ in told(run)] == ["accepted"]
    for verb in (accept.accept, accept.discard):
        with pytest.raises(Conflict, match="already accepted"):
            verb(run)


def test_an_acceptance_that_is_killed_at_any_step_is_finished_by_accepting_and_never_discarded(
    work: Work, run: RunDir, tree: Worktree
) -> None:
    work.write("d/old", "1\n")
    _renames(tree)
    Path(tree.path, "new").unlink()
    number, states = 0, []
    while True:
        number += 1
        steps = 0

        def count(_: str, number: int = number) -> None:
            nonlocal steps
            steps += 1
            if steps == number:
                raise KeyboardInterrupt

        before = work.state()
        try:
            worktrees.accept(tree, watch=count)
            break
        except KeyboardInterrupt:
            states.append(work.state())
        if work.state() != before:
            with pytest.raises(Conflict, match="was accepted"):
                accept.discard(run)
    assert number > 3 and len({str(state) for state in states}) > 1
    accept.accept(run)
    assert work.read("b.txt") == b"a\n" and not os.path.exists(work.path("a.txt"))
    assert work.read("d/old") == b"1\n" and not os.path.exists(tree.path)


def test_an_acceptance_of_which_nothing_came_to_be_can_still_be_discarded(
    work: Work, run: RunDir, tree: Worktree
) -> None:
    def stop(_: str) -> None:
        raise KeyboardInterrupt

    state = work.state()
    with pytest.raises(KeyboardInterrupt):
        worktrees.accept(tree, watch=stop)
    assert work.state() == state and accept.discard(run).decision == "discarded"


def half_removed(tree: Worktree) -> None:
    """What SIGKILL in the middle of a removal leaves: the patch and the mark, and half of the files."""
    kept = f"{tree.path}.kept"
    shutil.copytree(tree.path, kept)
    worktrees.discard(tree)
    shutil.copytree(kept, tree.path)
    os.unlink(f"{tree.path}/a.txt")
    shutil.rmtree(kept)


def test_half_of_a_tree_that_is_being_removed_is_never_taken_over(
    work: Work, run: RunDir, tree: Worktree
) -> None:
    half_removed(tree)
    with pytest.raises(Conflict, match="already discarded") as error:
        accept.accept(run)
    assert "finishes the removal" in (error.value.hint or "")
    with pytest.raises(Conflict, match="is being removed"):
        worktrees.accept(tree)
    assert work.read("a.txt") == b"a\n" and not os.path.exists(work.path("new"))
    assert [one.path for one in review.diff(run).files] == ["new"], "the patch has all of it"
    assert accept.discard(run).decision == "discarded"
    assert not os.path.exists(tree.path) and told(run) == [("discarded", "user")]


def test_a_removal_after_an_acceptance_is_finished_by_accepting_again(
    work: Work, run: RunDir, tree: Worktree
) -> None:
    copy = f"{tree.path}.copy"
    shutil.copytree(tree.path, copy)
    accept.accept(run)
    os.rename(copy, tree.path)
    os.unlink(f"{tree.path}/a.txt")
    with pytest.raises(Conflict, match="was accepted") as error:
        accept.discard(run)
    assert f"runner accept {run.run_id}" in (error.value.hint or "")
    accept.accept(run)
    assert not os.path.exists(tree.path) and work.read("a.txt") == b"a\n"
    assert told(run) == [("accepted", "user")]


def test_a_tree_that_was_removed_by_hand_can_only_be_discarded(run: RunDir, tree: Worktree) -> None:
    shutil.rmtree(tree.path)
    with pytest.raises(Conflict, match="is gone"):
        accept.accept(run)
    with pytest.raises(Conflict, match="no patch of it was kept"):
        review.diff(run)
    assert accept.discard(run).patch is None


# -- records that lie ------------------------------------------------------------------------------


def test_a_record_that_names_another_folder_removes_nothing(run: RunDir, tree: Worktree, work: Work) -> None:
    precious = work.root.parent / "precious"
    precious.mkdir()
    (precious / ".git").write_text("gitdir: nowhere\n")
    record = Path(run.path, "worktree.json")
    Path(run.path, "worktree.discarded").touch()
    for lie in (
        tree.replace(path=str(precious)),
        tree.replace(path=f"{precious}/{run.run_id}"),
        tree.replace(repo=str(precious)),
        tree.replace(folder=str(precious)),
    ):
        for put, why in (
            (lambda text: record.write_text(json.dumps(text)), "was not written here"),
            (lambda text: write_record(str(record), text), "not of a work tree of this run"),
        ):
            put(lie.to_json())
            for verb in (accept.accept, accept.discard, review.diff):
                with pytest.raises(Conflict, match=why):
                    verb(run)
    assert precious.exists() and tree.is_there()


def test_a_record_that_cannot_be_read_is_a_conflict(run: RunDir, tree: Worktree) -> None:
    record = Path(run.path, "worktree.json")
    for make in (lambda: record.write_text("{"), lambda: record.write_text("[]"), lambda: os.mkfifo(record)):
        record.unlink()
        make()
        with pytest.raises(Conflict, match="cannot be read"):
            accept.discard(run)
        cleaned = clean.clean(run.repo, older_than_s=0, dry_run=False)
        assert [(row.run_id, path) for row, path in cleaned.undecided] == [(run.run_id, str(record))]


# -- cleaning --------------------------------------------------------------------------------------


def test_cleaning_leaves_a_run_alone_until_its_tree_is_decided(
    work: Work, run: RunDir, tree: Worktree
) -> None:
    plain = an_ended_run(work.root)
    for dry_run in (True, False):
        cleaned = clean.clean(str(work.root), older_than_s=0, dry_run=dry_run)
        assert [row.run_id for row in cleaned.removed] == [plain.run_id]
        assert [(row.run_id, path) for row, path in cleaned.undecided] == [(run.run_id, tree.path)]
    assert os.path.exists(run.path) and tree.is_there()
    assert clean.clean(str(work.root), older_than_s=3600, dry_run=False).undecided == ()
    accept.discard(run)
    cleaned = clean.clean(str(work.root), older_than_s=0, dry_run=False)
    assert ([row.run_id for row in cleaned.removed], cleaned.undecided) == ([run.run_id], ())
