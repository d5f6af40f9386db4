"""Parents and children on disk: caps for any number of starters, and nothing believed from one side."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.family import DELEGATION, a_run, end
from support.imports import ROOT

from runner.errors import Conflict, ManifestBroken
from runner.model import Phase, Reason
from runner.state.authentic import write_record
from runner.state.events import EventLog
from runner.state.lineage import (
    ParentOver,
    TooManyChildren,
    ancestors,
    as_child,
    children,
    descendants,
    is_below,
    lineage_of,
)
from runner.state.messages import END, Queue
from runner.state.store import RunDir, new_run_id
from runner.supervise.children import Children

STARTERS = """
import os, sys
from pathlib import Path
from support.family import a_run
from runner.state.lineage import TooManyChildren
from runner.state.store import RunDir

parent = RunDir.from_path(sys.argv[1])
gate, opened = os.pipe()
pids = []
for _ in range(int(sys.argv[2])):
    if (pid := os.fork()) == 0:
        os.close(opened)
        os.read(gate, 1)  # until everybody is there
        try:
            a_run(Path(parent.repo), "child", parent)
        except TooManyChildren:
            os._exit(7)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    pids.append(pid)
os.close(opened)
print(sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))
"""


def marks(run: RunDir) -> list[str]:
    return sorted(os.listdir(f"{run.control}/children"))


# -- caps ------------------------------------------------------------------------------------------


def test_fifty_starters_at_once_get_exactly_as_many_children_as_may_run(tmp_path: Path) -> None:
    parent = a_run(tmp_path, delegation=DELEGATION.replace(max_children=4))
    done = subprocess.run(
        [sys.executable, "-c", STARTERS, parent.path, "50"],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tests"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.strip() == str([0] * 4 + [7] * 46)
    assert len(children(parent)) == len(marks(parent)) == 4


def test_a_child_that_has_ended_makes_room_for_another(tmp_path: Path) -> None:
    parent = a_run(tmp_path, delegation=DELEGATION.replace(max_children=1))
    first = a_run(tmp_path, "child", parent)
    with pytest.raises(TooManyChildren, match="at most 1") as refused:
        a_run(tmp_path, "child", parent)
    assert refused.value.retryable
    end(first)
    second = a_run(tmp_path, "child", parent)
    assert [run.run_id for run in children(parent)] == sorted([first.run_id, second.run_id])


def test_without_allowed_children_there_are_none(tmp_path: Path) -> None:
    parent = a_run(tmp_path, delegation=DELEGATION.replace(max_children=0))
    with pytest.raises(TooManyChildren):
        a_run(tmp_path, "child", parent)
    assert children(parent) == []


def test_a_start_that_fails_gives_its_place_back(tmp_path: Path) -> None:
    parent = a_run(tmp_path, delegation=DELEGATION.replace(max_children=1))
    for _ in range(3):
        child = RunDir(str(tmp_path), "child", new_run_id())
        with pytest.raises(RuntimeError), as_child(child, parent.read_invocation()):
            assert [run.run_id for run in children(parent)] == [child.run_id]
            raise RuntimeError("it could not be started")
    assert marks(parent) == []


def test_a_start_that_fails_after_its_parent_was_removed_tells_its_own_error(tmp_path: Path) -> None:
    parent = a_run(tmp_path)
    child = RunDir(str(tmp_path), "child", new_run_id())
    with pytest.raises(RuntimeError), as_child(child, parent.read_invocation()):
        parent.discard()
        raise RuntimeError("it could not be started")


def test_a_place_is_held_between_the_mark_and_the_folder_but_not_for_ever(tmp_path: Path) -> None:
    parent = a_run(tmp_path, delegation=DELEGATION.replace(max_children=1))
    os.makedirs(f"{parent.control}/children")
    stale = "child@20200101T000000000Z-00000000"
    Path(parent.control, "children", stale).touch()  # its starter was killed before it made the folder
    held = RunDir(str(tmp_path), "child", new_run_id())
    with as_child(held, parent.read_invocation()), pytest.raises(TooManyChildren):
        a_run(tmp_path, "child", parent)
    assert marks(parent) == [stale]


def test_a_folder_without_a_manifest_counts_as_running(tmp_path: Path) -> None:
    parent = a_run(tmp_path, delegation=DELEGATION.replace(max_children=1))
    child = RunDir(str(tmp_path), "child", "20200101T000000000Z-00000000")
    os.makedirs(child.path)
    os.makedirs(f"{parent.control}/children")
    Path(parent.control, "children", f"child@{child.run_id}").touch()
    with pytest.raises(TooManyChildren):
        a_run(tmp_path, "child", parent)


def test_a_run_that_is_over_gets_no_more_children(tmp_path: Path) -> None:
    parent = a_run(tmp_path)
    end(parent)
    with pytest.raises(ParentOver, match="is over"):
        a_run(tmp_path, "child", parent)
    assert marks(parent) == []


def say(run: RunDir, text: str) -> None:
    Queue(run).add(text, actor="user")


def close(run: RunDir) -> None:
    Queue(run).add("", actor="user", kind=END)


AT_A_TURNS_END = [
    (Phase.WAITING, True, (), False),
    (Phase.VERIFYING, True, (), False),
    (Phase.VERIFYING, False, ("Go on.",), False),
    (Phase.VERIFYING, True, ("Go on.", END), False),
    (Phase.STOPPING, False, ("Go on at once.",), False),
    (Phase.VERIFYING, True, (END,), True),
    (Phase.VERIFYING, False, (), True),
    (Phase.STOPPING, False, (), True),
]


@pytest.mark.parametrize("reason", [None, Reason("timeout", "too long")])
@pytest.mark.parametrize(("phase", "is_open", "sent", "is_ending"), AT_A_TURNS_END)
def test_between_two_turns_a_run_gets_children_and_takes_none_along(
    phase: Phase, is_open: bool, sent: tuple[str, ...], is_ending: bool, reason: Reason | None, tmp_path: Path
) -> None:
    """A start that is under way when the turn of its parent ends: what it finds as it begins, and later."""
    parent = a_run(tmp_path)
    early = a_run(tmp_path, "child", parent)
    for text in sent:
        close(parent) if text == END else say(parent, text)
    ended = reason is not None and phase is not Phase.WAITING
    parent.write_manifest(
        parent.read_manifest().replace(phase=phase, open=is_open, reason=reason if ended else None)
    )
    Children(early, early.read_invocation(), EventLog(early.events), str).begin(is_new=True)
    if is_ending or ended:
        assert [wish.kind for _, wish in early.intents()] == ["cancel"]
        with pytest.raises(ParentOver, match="is over"):
            a_run(tmp_path, "child", parent)
    else:
        assert not list(early.intents())
        late = a_run(tmp_path, "child", parent)
        assert [one.run_id for one in children(parent)] == sorted([early.run_id, late.run_id])


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    parent = a_run(tmp_path)
    target = tmp_path / "mine"
    Path(parent.control, "children.lock").symlink_to(target)
    with pytest.raises(Conflict, match="symbolic link"):
        a_run(tmp_path, "child", parent)
    assert not target.exists()


def test_a_lock_that_counts_children_can_be_read_by_nobody(tmp_path: Path) -> None:
    parent = a_run(tmp_path)
    a_run(tmp_path, "child", parent)
    assert os.lstat(f"{parent.control}/children.lock").st_mode & 0o777 == 0o200


# -- who is whose ----------------------------------------------------------------------------------


def test_a_family_is_told_from_both_ends(tmp_path: Path) -> None:
    top = a_run(tmp_path, "top")
    one, other = a_run(tmp_path, "one", top), a_run(tmp_path, "other", top)
    grandchild = a_run(tmp_path, "grand", one)
    assert [run.run_id for run in children(top)] == sorted([one.run_id, other.run_id])
    assert [run.run_id for run in descendants(top)][-1] == grandchild.run_id
    assert [run.run_id for run in ancestors(grandchild.read_manifest())] == [one.run_id, top.run_id]
    assert all(is_below(run, top) for run in (top, one, other, grandchild))
    assert is_below(grandchild, one)
    assert not is_below(grandchild, other)
    assert not is_below(top, one) and not is_below(one, other)


def test_a_mark_alone_makes_nobody_a_descendant(tmp_path: Path) -> None:
    thief, victim = a_run(tmp_path, "thief"), a_run(tmp_path, "victim")
    os.makedirs(f"{thief.control}/children")
    Path(thief.control, "children", f"victim@{victim.run_id}").touch()
    assert list(descendants(thief)) == []
    assert not is_below(victim, thief)


def test_a_named_parent_alone_makes_nobody_a_descendant(tmp_path: Path) -> None:
    top = a_run(tmp_path, "top")
    stray = a_run(tmp_path, "stray", parent=None)
    stray.write_manifest(stray.read_manifest().replace(parent=lineage_of(top)))
    assert not is_below(stray, top)


def test_a_manifest_that_names_another_repository_has_no_ancestors_here(tmp_path: Path) -> None:
    top = a_run(tmp_path, "top")
    child = a_run(tmp_path, "child", top)
    child.write_manifest(child.read_manifest().replace(repo="/elsewhere"))
    assert not is_below(child, top)


def test_runs_that_name_each_other_in_a_circle_are_each_told_once(tmp_path: Path) -> None:
    one = a_run(tmp_path, "one")
    other = a_run(tmp_path, "other", one)
    os.makedirs(f"{other.control}/children")
    Path(other.control, "children", f"one@{one.run_id}").touch()
    one.write_manifest(one.read_manifest().replace(parent=lineage_of(other)))
    assert [run.run_id for run in descendants(one)] == [other.run_id]
    assert len(ancestors(one.read_manifest())) <= 64


def test_what_is_no_child_among_the_marks_is_passed_over(tmp_path: Path) -> None:
    parent = a_run(tmp_path)
    child = a_run(tmp_path, "child", parent)
    for name in ("garbage", "@", "a@b", f"..@{child.run_id}", f"@{child.run_id}", ".hidden"):
        Path(parent.control, "children", name).touch()
    assert [run.run_id for run in children(parent)] == [child.run_id]


def test_a_descendant_whose_manifest_is_broken_is_not_acted_on(tmp_path: Path) -> None:
    top = a_run(tmp_path, "top")
    child = a_run(tmp_path, "child", top)
    Path(child.manifest).write_bytes(b"{")
    with pytest.raises(ManifestBroken):
        is_below(child, top)


def test_a_child_survives_the_disk_with_its_parent_in_the_invocation(tmp_path: Path) -> None:
    top = a_run(tmp_path, "top")
    child = a_run(tmp_path, "child", top)
    assert child.read_invocation().parent == lineage_of(top)
    write_record(child.invocation, child.read_invocation().to_json())
    assert child.read_invocation().parent == lineage_of(top)


@pytest.mark.parametrize(
    ("code", "told"),
    [("engine_time_limit", "engine_time_limit"), ("engine_cancelled", "engine_cancelled"), ("timeout", None)],
)
def test_a_child_ends_for_the_reason_for_which_the_job_of_both_ends(
    tmp_path: Path, code: str, told: str | None
) -> None:
    parent = a_run(tmp_path)
    child = a_run(tmp_path, "child", parent)
    lock_fd = child.try_lock()
    try:
        of_parent = Children(parent, parent.read_invocation(), EventLog(parent.events), str)
        of_parent.end({}, Reason(code, "its time is over"))
        ((_, wish),) = child.intents()
    finally:
        if lock_fd is not None:
            os.close(lock_fd)
    assert (wish.code, wish.reason) == (told, "its time is over" if told else "its parent run has ended")
