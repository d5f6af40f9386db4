"""The real Codex, paused, cancelled and left without its supervisor at each moment of its life."""

from __future__ import annotations

from itertools import pairwise

import pytest
from support import processes
from support.processes import kill
from support.repo import Repo, Run
from support.waiting import wait_until

TICKS = "trap : HUP TERM; for n in $(seq 600); do date +%s.%N >> ticks; sleep 0.1; done"
SCRIPTS = {
    "before the first event": '[[turns]]\ndelay = "60s"\nmessage = "late"\n',
    "while the model thinks": "[[turns]]\nhang = true\n",
    "during a shell command": f"[[turns]]\nshell = '{TICKS}'\n[[turns]]\nmessage = \"done\"\n",
}
MOMENTS = tuple(SCRIPTS)
SANDBOXES = ("workspace-write", "wild")


def started(repo: Repo, moment: str, *lines: str, sandbox: str = "workspace-write") -> Run:
    """A run that has come to this moment."""
    repo.script(SCRIPTS[moment])
    keys = "\n".join(('rehearse = "play.toml"', 'grace = "3s"', f'sandbox = "{sandbox}"', *lines))
    wild = '[sandboxes.wild]\nlevel = "danger-full-access"\nallow_danger = true\n'
    repo.config(f'{wild}[tasks.work]\nprompt = "Do it."\n{keys}\n')
    run = repo.start("--allow-danger")
    if moment == "while the model thinks":
        wait_until(lambda: "turn.started" in run.file("stdout.jsonl"), 20)
    if moment == "during a shell command":
        wait_until(lambda: (repo.root / "ticks").exists(), 20)
    return run


def ticks(repo: Repo) -> list[float]:
    return [float(line) for line in (repo.root / "ticks").read_text().split()]


def shells(repo: Repo) -> list[processes.Seen]:
    """The ticking command wherever it is: found by its words, not by its parents."""
    return [p for p in processes.of_folder(repo.base) if any("seq 600" in word for word in p.words)]


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_a_pause_of_five_seconds_is_seen_in_the_commands_own_ticks(repo: Repo, sandbox: str) -> None:
    run = started(repo, "during a shell command", sandbox=sandbox)
    paused = run.told("pause")
    assert paused["status"] == "paused"
    assert shells(repo)
    assert all(process.is_stopped for process in shells(repo))
    count = len(ticks(repo))
    assert run.ask("wait", "--timeout", "5s").status == 75
    assert len(ticks(repo)) == count, "not one tick"
    resumed = run.told("resume")
    assert resumed["paused_seconds"] >= 5
    wait_until(lambda: len(ticks(repo)) > count + 5)
    gaps = [later - earlier for earlier, later in pairwise(ticks(repo))]
    assert max(gaps) >= 4.5
    assert sum(gap > 1 for gap in gaps) == 1
    ended = run.told("cancel")
    assert (ended["status"], ended["survivors"]) == ("cancelled", [])
    assert shells(repo) == []


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_a_cancel_leaves_nothing(repo: Repo, moment: str, sandbox: str) -> None:
    run = started(repo, moment, sandbox=sandbox)
    child = run.child()
    ended = run.told("cancel")
    assert ended["status"] == "cancelled"
    assert ended["survivors"] == []
    assert not child.is_still_there()
    assert run.tree() == []
    assert shells(repo) == []
    wait_until(lambda: not run.everything(), what="the end of supervisor and rehearsal")


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("wish", ["status", "cancel"])
def test_without_its_supervisor_it_is_found_again(repo: Repo, moment: str, wish: str) -> None:
    run = started(repo, moment, sandbox="wild")
    child = run.child()
    run.kill_supervisor()
    assert child.is_still_there()
    if wish == "status":
        assert run.status()["status"] == "running"
        assert run.told("pause")["status"] == "paused"
        assert run.told("resume")["status"] == "running"
    ended = run.told("cancel")
    assert (ended["status"], ended["survivors"]) == ("cancelled", [])
    assert ended["exit_code"] is None
    assert run.tree() == []
    assert shells(repo) == []


def test_without_its_supervisor_it_ends_well_all_the_same(repo: Repo) -> None:
    wait = "touch begun; until [ -e gate ]; do sleep 0.05; done"
    repo.script(f'[[turns]]\nshell = "{wait}"\n[[turns]]\nmessage = "done"\n')
    repo.config('[tasks.work]\nprompt = "x"\nsandbox = "workspace-write"\nrehearse = "play.toml"\n')
    run = repo.start()
    wait_until(lambda: (repo.root / "begun").exists(), 20)
    run.kill_supervisor()
    (repo.root / "gate").touch()
    ended = run.wait()
    assert ended["status"] == "succeeded"
    assert ended["exit_code"] is None
    assert ended["last_message"] == "done"
    wait_until(lambda: not run.everything(), what="the end of the rehearsal server")


def test_killed_together_with_its_supervisor_its_command_does_not_live_on(repo: Repo) -> None:
    """After SIGKILL of Codex a command of the unlimited sandbox gets SIGTERM at most: this one goes on."""
    run = started(repo, "during a shell command", sandbox="wild")
    child = run.child()
    run.kill_supervisor()
    kill(child)
    wait_until(lambda: not child.is_still_there())
    assert shells(repo), "the orphan"
    ended = run.status()
    assert ended["status"] == "lost"
    assert ended["survivors"] == []
    assert shells(repo) == []


def test_a_limit_ends_its_command_too(repo: Repo) -> None:
    run = started(repo, "during a shell command", 'timeout = "2s"', sandbox="wild")
    waited = run.ask("wait")
    assert waited.status == 3
    assert waited.json()["survivors"] == []
    assert shells(repo) == []


def test_a_second_run_is_not_touched_by_the_cancel_of_the_first(repo: Repo) -> None:
    first = started(repo, "during a shell command", sandbox="wild")
    second = repo.start("--sandbox", "read-only")  # of two that may write there, the second is refused
    wait_until(lambda: "command_execution" in second.file("stdout.jsonl"), 20)
    alive = second.everything()
    assert first.told("cancel")["survivors"] == []
    assert all(process.is_still_there() for process in alive if process.words[:1] not in ((), ("sleep",)))
    assert second.status()["status"] == "running"
    assert second.told("cancel")["survivors"] == []
