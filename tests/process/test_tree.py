"""What a walk over a run's processes looks at, and what it finds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

WALK = """
import json, os, sys
from runner.processes import spawn
from runner.processes.tree import Tree
from runner.supervise.begin import reap

done, said = os.pipe()
MARKED = f"{sys.argv[2]} sh -c 'echo >&{said}; exec sleep 60'"  # it has its marker before it speaks
BELOW = f"{MARKED} & (setsid env -i sleep 60 &) ; echo >&{said}; exec sleep 60"
spawn.become_subreaper()
streams = spawn.Streams(None, os.devnull, os.devnull, said)
env = dict(os.environ)
root = spawn.spawn("/bin/sh", ("sh", "-c", BELOW), cwd="/", env=env, streams=streams)
for _ in range(2):
    os.read(done, 1)
looked_at = set()
sys.addaudithook(lambda event, args: event == "open" and looked_at.add(str(args[0])))
others = {"20260101T000000001Z-00000000"}
tree = Tree(
    "20260101T000000000Z-00000000",
    root,
    reap=reap,
    is_whole=sys.argv[1] == "whole",
    is_others=lambda process, run_id: run_id in others,
)
members = tree.members()
pids = {path.split("/")[2] for path in looked_at if path.startswith("/proc/")}
found = sorted(str(process.pid) for process in members)
left = [process.pid for process in tree.sweep(1.0)]
print(json.dumps({"me": str(os.getpid()), "found": found, "looked_at": sorted(pids), "left": left}))
"""


@pytest.mark.parametrize("owner", ["whole", "later"])
def test_a_walk_finds_a_daemon_without_parent_session_and_environment(owner: str) -> None:
    told = walk(owner)
    assert len(told["found"]) == 3
    assert told["left"] == []


def test_whoever_has_started_all_of_a_run_looks_at_no_process_of_anybody_else() -> None:
    """Four hundred runs that end at once would wait for each other."""
    told = walk("whole")
    assert set(told["looked_at"]) <= {told["me"], *told["found"]}
    assert str(os.getpid()) in walk("later")["looked_at"], "else this shows nothing"


def test_a_walk_stops_where_another_run_says_that_the_process_is_its_own() -> None:
    assert len(walk("whole", "RUNNER_RUN_ID=20260101T000000002Z-00000000")["found"]) == 3
    told = walk("whole", "RUNNER_RUN_ID=20260101T000000001Z-00000000")
    assert len(told["found"]) == 2
    (left,) = {int(pid) for pid in told["looked_at"]} - {int(pid) for pid in (*told["found"], told["me"])}
    os.kill(left, signal.SIGKILL)


SESSION = """
import json, os, signal, sys
from runner.model import Identity
from runner.processes.proc import boot_id, host, process_at
from runner.processes.tree import Tree

RUN = "20260101T000000000Z-00000000"
kind = sys.argv[1]
said_r, said_w = os.pipe()
leader = os.fork()
if leader == 0:
    os.setsid()
    for n in range(2):
        if os.fork() == 0:
            env = {"RUNNER_RUN_ID": RUN} if kind == "marked" and n == 0 else {}
            os.set_inheritable(said_w, True)
            os.execve("/bin/sh", ["sh", "-c", f"echo $$ >&{said_w}; exec sleep 60"], env)
    signal.pause()
pids = set()
with os.fdopen(said_r) as told:
    while len(pids) < 2:
        pids.add(int(told.readline()))
started = process_at(leader).start_time
# A daemon that got the number of our root: the root was there before it, and nothing of it is left.
root = Identity(host(), boot_id(), leader, started - (1 if kind.startswith("stranger") else 0))
tree = Tree(RUN, root, reap=lambda: None)
if kind == "seen":
    tree.members()
if kind not in ("alive", "zombie", "stranger leads"):
    os.kill(leader, signal.SIGKILL)
    os.waitpid(leader, 0)
elif kind == "zombie":
    os.kill(leader, signal.SIGKILL)
    os.waitid(os.P_PID, leader, os.WEXITED | os.WNOWAIT)
found = {process.pid for process in tree.members()}
print(json.dumps({"inside": len(found & pids), "found": len(found)}))
os.killpg(leader, signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("kind", "inside", "found"),
    [
        ("alive", 2, 3),
        ("zombie", 2, 2),
        ("seen", 2, 2),
        ("marked", 2, 2),
        ("unmarked", 0, 0),
        ("stranger", 0, 0),
        ("stranger leads", 0, 0),
    ],
)
def test_a_session_is_ours_only_while_one_in_it_is_known(kind: str, inside: int, found: int) -> None:
    """What has the number of our root as its session may be a daemon that got it long after us."""
    done = subprocess.run(
        [sys.executable, "-c", SESSION, kind], capture_output=True, text=True, check=True, timeout=60
    )
    told = json.loads(done.stdout)
    assert (told["inside"], told["found"]) == (inside, found)


def walk(owner: str, mark: str = "") -> dict:
    done = subprocess.run(
        [sys.executable, "-c", WALK, owner, mark], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)
