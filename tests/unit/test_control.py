"""Use cases on runs that exist, as far as they need no process but this one: the test owns the runs."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from support.disks import read_only_disk, small_disk
from support.family import a_run
from support.values import a_manifest, an_identity, an_invocation

from runner.disk.files import replace_json
from runner.errors import Conflict, GaveUpWaiting, ManifestNewer, RunNotFound, Unwritable
from runner.model import Outcome, Phase, Reason
from runner.processes.proc import identify
from runner.processes.renames import Renames
from runner.state.authentic import write_record
from runner.state.manifest import Manifest, timestamp
from runner.state.store import RunDir, new_run_id
from runner.usecases import clean, control, look


class Owned:
    """Runs whose lock this process holds, as a supervisor does."""

    def __init__(self, repo: Path) -> None:
        self.repo = repo
        self.fds: list[int] = []

    def run(self, phase: Phase = Phase.RUNNING, task: str = "hello") -> RunDir:
        run = self.starting(task)
        write_record(run.invocation, an_invocation(run.repo, task, run.run_id).to_json())
        run.write_manifest(a_manifest(run, phase=phase, supervisor=identify(os.getpid())))
        return run

    def starting(self, task: str = "hello") -> RunDir:
        """Its folder and its lock are there, its manifest not yet."""
        run = RunDir(str(self.repo), task, new_run_id())
        self.fds.append(run.create())
        return run

    def ended(self, outcome: Outcome = Outcome.SUCCEEDED, ended_at: str | None = None) -> RunDir:
        run = self.run()
        manifest = run.read_manifest()
        end = {"ended_at": ended_at or timestamp(), "reason": Reason("x", "y")}
        run.write_manifest(manifest.replace(phase=Phase.DONE, outcome=outcome, **end))
        os.unlink(run.wake_fifo)
        os.close(self.fds.pop())
        return run

    def let_go(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Owned]:
    owned = Owned(tmp_path)
    yield owned
    owned.let_go()


def listed(owned: Owned, *, everything: bool = False) -> list[tuple[str, str]]:
    rows = look.runs(str(owned.repo), task=None, everything=everything)
    return [(row.run_id, row.status) for row in rows]


def test_a_run_with_a_living_owner_is_told_as_it_stands(owned: Owned) -> None:
    run = owned.run()
    assert look.look(run).status == "running"
    assert not look.is_done(run)


def test_a_run_that_is_gone_will_say_nothing_more(tmp_path: Path) -> None:
    assert look.is_done(RunDir(str(tmp_path), "hello", new_run_id()))


def test_the_list_has_what_is_not_done_newest_first_and_all_on_demand(owned: Owned) -> None:
    done = owned.ended()
    runs = [owned.run(task=task) for task in ("b", "a")]
    newest_first = sorted((run.run_id for run in runs), reverse=True)
    assert [run for run, _ in listed(owned)] == newest_first
    assert listed(owned, everything=True)[-1] == (done.run_id, "succeeded")
    assert [row.task_id for row in look.runs(str(owned.repo), task="a", everything=True)] == ["a"]


def test_a_run_that_works_is_listed_however_many_newer_ones_there_are(owned: Owned) -> None:
    """Also where a list of finished runs, or none, was kept before."""
    old = owned.run()
    for _ in range(60):
        owned.ended()
    for name in (None, ".index.json"):
        if name is not None:
            (owned.repo / ".runs" / name).unlink()
        assert listed(owned) == [(old.run_id, "running")]
        assert listed(owned, everything=True)[-1] == (old.run_id, "running")
        assert len(listed(owned, everything=True)) == 61


def test_a_list_in_the_middle_of_a_start_does_not_lose_the_run(owned: Owned) -> None:
    run = owned.starting()
    assert listed(owned) == []
    write_record(run.invocation, an_invocation(run.repo, "hello", run.run_id).to_json())
    run.write_manifest(a_manifest(run, phase=Phase.RUNNING, supervisor=identify(os.getpid())))
    assert listed(owned) == [(run.run_id, "running")]


def test_one_run_that_cannot_be_judged_does_not_hide_the_others(owned: Owned) -> None:
    newer = owned.run()
    replace_json(newer.manifest, newer.read_manifest().to_json() | {"schema_version": 99})
    good = owned.run()
    assert dict(listed(owned)) == {newer.run_id: "unknown", good.run_id: "running"}


def test_a_run_of_a_newer_runner_is_neither_rebuilt_nor_removed(owned: Owned) -> None:
    run = owned.ended()
    replace_json(run.manifest, run.read_manifest().to_json() | {"schema_version": 99})
    before = Path(run.manifest).read_bytes()
    with pytest.raises(ManifestNewer):
        look.look(run)
    assert clean.clean(str(owned.repo), older_than_s=0, dry_run=False).removed == ()
    assert [row.status for row in clean.reap(str(owned.repo))] == ["unknown"]
    assert Path(run.manifest).read_bytes() == before
    assert not list(Path(run.path).glob("*broken*"))


def test_waiting_gives_up_in_time_though_another_run_is_done(owned: Owned) -> None:
    done, running = owned.ended(), owned.run()
    with pytest.raises(GaveUpWaiting, match=running.run_id) as error:
        control.wait([done, running], timeout_s=0.1)
    assert done.run_id not in error.value.message


def test_waiting_for_any_returns_with_the_first_in_the_order_asked(owned: Owned) -> None:
    done, running = owned.ended(Outcome.FAILED), owned.run()
    manifests = control.wait([running, done], any_of_them=True, timeout_s=10)
    assert [manifest.status for manifest in manifests] == ["running", "failed"]


def test_waiting_for_what_is_done_needs_no_time(owned: Owned) -> None:
    assert control.wait([owned.ended()], timeout_s=1e-9)[0].is_done


def test_waiting_sees_the_end_the_moment_it_is_written(owned: Owned) -> None:
    run = owned.run()
    ticks: list[str] = []

    def tick(_: RunDir, manifest: object) -> None:
        ticks.append("tick")
        if len(ticks) == 1:
            lose(run)

    assert control.wait([run], timeout_s=10, tick=tick)[0].status == "lost"


def lose(run: RunDir) -> None:
    ended = {"ended_at": timestamp(), "reason": Reason("x", "y")}
    run.write_manifest(run.read_manifest().replace(phase=Phase.DONE, outcome=Outcome.LOST, **ended))


def test_waiting_costs_nothing_as_long_as_nothing_happens(owned: Owned) -> None:
    """It is woken by the kernel, or else it would have looked a hundred times."""
    runs, renames = [owned.run(), owned.run()], Renames()
    told = renames.watch([])
    renames.close()
    if told is None:
        pytest.skip("here nothing tells of a change")
    control.wait(runs, any_of_them=True, timeout_s=10, until=lambda _: True)
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    with pytest.raises(GaveUpWaiting):
        control.wait(runs, timeout_s=2)
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before < 50


@pytest.mark.parametrize("is_main", [True, False])
def test_the_end_of_one_run_of_many_is_seen_while_waiting_in_any_thread(owned: Owned, is_main: bool) -> None:
    runs = [owned.run() for _ in range(5)]
    end = Timer(0.3, lose, (runs[3],))
    end.start()
    with ThreadPoolExecutor(1) as pool:
        kwargs: dict[str, Any] = {"any_of_them": True, "timeout_s": 60}
        begun = time.monotonic()
        found = (
            control.wait(runs, **kwargs) if is_main else pool.submit(control.wait, runs, **kwargs).result()
        )
    assert [manifest.status for manifest in found] == ["running"] * 3 + ["lost", "running"]
    assert time.monotonic() - begun < 2.5, "it did not look by the clock only"
    end.join()


@pytest.mark.parametrize("is_made_again", [False, True])
def test_a_folder_that_goes_while_it_is_waited_for_is_told(owned: Owned, is_made_again: bool) -> None:
    """One that is made again, as a restored copy is, is waited for as before."""
    run, copy = owned.run(), str(owned.repo / "copy")

    def go() -> None:
        if not is_made_again:
            return shutil.rmtree(run.path)
        shutil.copytree(run.path, copy, ignore=shutil.ignore_patterns("wake"))
        os.rename(run.path, owned.repo / "gone")
        os.rename(copy, run.path)
        return lose(run)

    going = Timer(0.3, go)
    going.start()
    if is_made_again:
        assert control.wait([run], timeout_s=60)[0].status == "lost"
    else:
        with pytest.raises(RunNotFound):
            control.wait([run], timeout_s=60)
    going.join()


@pytest.mark.parametrize("phase", [Phase.STOPPING, Phase.VERIFYING])
def test_what_cannot_be_paused_is_a_conflict_and_leaves_no_intent(phase: Phase, owned: Owned) -> None:
    run = owned.run(phase)
    for act in (control.pause, control.resume):
        with pytest.raises(Conflict, match=f"`{phase}` cannot be"):
            act(run, actor="user")
    assert list(run.intents()) == []


def test_what_is_so_already_is_told_without_an_intent(owned: Owned) -> None:
    paused, running, done = owned.run(Phase.PAUSED), owned.run(), owned.ended(Outcome.FAILED)
    assert control.pause(paused, actor="user").status == "paused"
    assert control.resume(running, actor="user").status == "running"
    assert control.cancel(done, actor="user", grace_s=0, reason=None).status == "failed"
    assert [list(run.intents()) for run in (paused, running, done)] == [[], [], []]


def test_an_ownerless_run_in_a_folder_that_cannot_be_written_is_unknown(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 512) as disk:
        owned = Owned(disk)
        run = owned.run()
        run.write_manifest(run.read_manifest().replace(supervisor=an_identity()))
        owned.let_go()
        with read_only_disk(disk):
            with pytest.raises(Unwritable, match="its state is unknown"):
                look.look(run)
            assert listed(owned) == [(run.run_id, "unknown")]


def test_cleaning_takes_what_ended_long_ago_and_nothing_else(owned: Owned) -> None:
    old = owned.ended(ended_at="2020-01-01T00:00:00.000Z")
    fresh = owned.ended()
    broken = owned.ended()
    Path(broken.manifest).write_bytes(b"{")
    live = owned.run()
    would = clean.clean(str(owned.repo), older_than_s=3600, dry_run=True)
    assert [row.run_id for row in would.removed] == [old.run_id]
    assert os.path.exists(old.path)
    assert clean.clean(str(owned.repo), older_than_s=3600, dry_run=False) == would
    assert [os.path.exists(run.path) for run in (old, fresh, broken, live)] == [False, True, True, True]
    rest = clean.clean(str(owned.repo), older_than_s=0, dry_run=False)
    assert [row.run_id for row in rest.removed] == [fresh.run_id]


def test_a_run_without_a_manifest_is_not_found(owned: Owned) -> None:
    with pytest.raises(RunNotFound, match="no manifest"):
        look.look(owned.starting())


@pytest.mark.parametrize("act", [control.pause, control.resume])
def test_a_child_that_is_removed_meanwhile_is_in_nobodys_way(
    tmp_path: Path, act: Callable[..., Manifest]
) -> None:
    """Its start was refused, or somebody removed its folder: nothing of it is to be waited for."""
    fds: list[int] = []
    done, other = (Phase.PAUSED, Phase.RUNNING) if act is control.pause else (Phase.RUNNING, Phase.PAUSED)
    parent = a_run(tmp_path, owned=fds, phase=done)
    child = a_run(tmp_path, "child", parent, owned=fds, phase=other)
    removal = Timer(0.3, shutil.rmtree, (child.path,))
    removal.start()
    assert act(parent, actor="user").phase is done
    removal.join()
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize("forged", ["/another/manifest.json", ""])
def test_what_a_command_says_of_its_run_hides_no_run_above_it(forged: str) -> None:
    asks = "import os; from runner.usecases.control import markers; print(*markers(os.environ))"
    line = f"RUNNER_MANIFEST={forged} '{sys.executable}' -c '{asks}'; :"
    env = {**os.environ, "RUNNER_MANIFEST": "/run/manifest.json"}
    told = subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, check=True).stdout
    assert told.split()[: 2 if forged else 1] == [*filter(None, [forged]), "/run/manifest.json"]
