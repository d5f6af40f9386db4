"""Runs on real hosts that are reached by ssh, from their start to their end."""

from __future__ import annotations

import json
import os
import signal

import pytest
from support.pool import Pool
from support.repo import Repo, Run
from support.sshd import SshHost
from support.waiting import wait_until


class Servers:
    """A repository whose task runs on the hosts of a pool."""

    def __init__(self, repo: Repo, pool: Pool) -> None:
        self.repo, self.pool = repo, pool
        (repo.bin / "ssh").symlink_to(pool.programs / "ssh")

    def task(self, *lines: str, slots: int = 1, hosts: int | None = None, more: str = "") -> None:
        names = json.dumps(self.pool.names[:hosts])
        table = f'[executors.servers]\nkind = "ssh"\nhosts = {names}\nslots = {slots}\n{more}'
        self.repo.task('executor = "servers"', *lines, more=table)

    def host_of(self, run: Run) -> SshHost:
        placed = json.loads(run.file("placement.json"))
        return self.pool.hosts[self.pool.names.index(placed["cluster"])]

    def left(self, run: Run) -> list[str]:
        """The processes of the run on its host."""
        return [
            " ".join(one.words) for one in self.host_of(run).processes() if run.id.encode() in one.environment
        ]


@pytest.fixture
def servers(repo: Repo, pool: Pool) -> Servers:
    made = Servers(repo, pool)
    made.task()
    return made


def running(run: Run) -> None:
    wait_until(lambda: run.status()["status"] == "running", what="a run that runs")


def test_a_run_lives_on_a_host_to_its_end(servers: Servers) -> None:
    servers.repo.quick_codex(before='hostname > "$HOME/where"; env > "$HOME/env"')
    run = servers.repo.start()
    ended = run.wait()
    assert (ended["status"], ended["survivors"], ended["reason"]["code"]) == ("succeeded", [], "completed")
    host = servers.host_of(run)
    assert servers.repo.note("where").read_text().strip() == host.name == ended["engine"]["node"]
    assert ended["engine"]["cluster"] == host.name
    assert not [
        line
        for line in servers.repo.note("env").read_text().splitlines()
        if line[:4] in ("SSH_", "RUNNER_SSH")
    ]
    wait_until(lambda: not servers.left(run), what="the end of its processes")


def test_a_run_is_paused_goes_on_and_is_cancelled_on_its_host(servers: Servers) -> None:
    servers.repo.waiting_codex(before="setsid -f sleep 600")
    run = servers.repo.start()
    running(run)
    servers.repo.begun()
    assert run.told("pause")["status"] == "paused"
    assert run.told("resume")["status"] == "running"
    ended = run.told("cancel", "--grace", "200ms")
    assert (ended["status"], ended["survivors"]) == ("cancelled", [])
    wait_until(lambda: not servers.left(run), what="the end of its processes")


def test_three_runs_share_two_slots(servers: Servers) -> None:
    servers.repo.waiting_codex()
    servers.task(slots=2, hosts=1)
    first, second, third = (servers.repo.start() for _ in range(3))
    running(first)
    running(second)
    waiting = third.status()
    assert (waiting["status"], waiting["engine"]["why"]) == ("queued", "slots")
    servers.repo.open_gate()
    assert [run.wait()["status"] for run in (first, second, third)] == ["succeeded"] * 3


def test_a_run_that_waits_for_a_slot_is_cancelled_without_having_begun(servers: Servers) -> None:
    servers.repo.waiting_codex()
    servers.task(hosts=1)
    first, second = servers.repo.start(), servers.repo.start()
    running(first)
    ended = second.told("cancel")
    assert (ended["status"], ended["survivors"]) == ("cancelled", [])
    assert not (second.folder / "environment.json").exists()
    first.told("cancel", "--grace", "0")


def test_a_run_on_an_unplugged_host_is_not_known_and_goes_on(servers: Servers) -> None:
    servers.repo.waiting_codex()
    run = servers.repo.start()
    running(run)
    host = servers.host_of(run)
    host.unplug()
    seen = wait_until(lambda: (now := run.status())["engine"]["note"] and now, what="a word of it")
    assert (seen["status"], seen["engine"]["state"]) == ("running", "unseen")
    assert seen["engine"]["note"].startswith("not known: unreachable: ")
    host.plug()
    servers.repo.open_gate()
    assert run.wait()["status"] == "succeeded"


def test_a_run_on_a_host_that_was_started_again_is_lost_with_it(servers: Servers) -> None:
    servers.repo.waiting_codex()
    run = servers.repo.start()
    running(run)
    servers.host_of(run).reboot()
    ended = run.wait(within=120)
    assert (ended["status"], ended["reason"]["code"]) == ("lost", "node_failed")


def test_a_starter_that_is_killed_leaves_a_run_that_is_found(servers: Servers) -> None:
    servers.repo.waiting_codex()
    with servers.repo.process("start", "--task", "work") as starter:
        wait_until(lambda: [*servers.repo.runs_folder.glob("*/cli/*/placed")], what="its place")
        os.kill(starter.pid, signal.SIGKILL)
    (run,) = servers.repo.runs()
    running(run)
    servers.repo.open_gate()
    assert run.wait()["status"] == "succeeded"


def test_a_killed_supervisor_is_replaced_on_the_host(servers: Servers) -> None:
    servers.repo.waiting_codex()
    run = servers.repo.start()
    running(run)
    host = servers.host_of(run)
    (owner,) = (one for one in host.processes() if any("supervise/__main__" in word for word in one.words))
    os.kill(owner.pid, signal.SIGKILL)
    servers.repo.open_gate()
    assert run.wait()["status"] == "succeeded"


def test_hosts_that_are_away_refuse_a_start(servers: Servers) -> None:
    servers.repo.quick_codex()
    for host in servers.pool.hosts:
        host.unplug()
    done = servers.repo.cli("start", "--task", "work", "--format", "json")
    assert (done.status, done.error["code"]) == (8, "placing_refused")


def test_doctor_looks_at_each_host(servers: Servers) -> None:
    servers.repo.quick_codex()
    first, second = servers.pool.hosts
    second.unplug()
    told = servers.repo.cli(
        "doctor", "--runtime", "codex", "--executor", "servers", "--format", "json", within=200
    )
    checks = {check["name"]: check for check in told.json()["checks"]}
    assert checks[f"servers.{first.name}.shared"]["verdict"] == "ok"
    assert checks[f"servers.{first.name}.codex.identity"]["verdict"] == "ok"
    assert checks[f"servers.{second.name}.job"]["verdict"] == "fail"
    assert not [*servers.repo.runs_folder.glob(".probe-*")]


@pytest.mark.parametrize(
    "name",
    ["-oProxyCommand=x", "a b", "a;b", "", "ssh://a", "a/b", "a:99999", "@a", "a\n", "$(x)", "a:0", "-l@b"],
)
def test_a_host_that_ssh_could_take_for_something_else_is_refused(repo: Repo, name: str) -> None:
    repo.task(
        'executor = "servers"', more=f'[executors.servers]\nkind = "ssh"\nhosts = [{json.dumps(name)}]\n'
    )
    done = repo.cli("check", "--format", "json")
    assert done.status == 2, done.stdout
    assert repo.no_runs()
