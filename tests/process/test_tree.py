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
BELOW = f"{sys.argv[2]} sleep 60 & (setsid env -i sleep 60 &) ; echo >&{said}; exec sleep 60"
spawn.become_subreaper()
streams = spawn.Streams(None, os.devnull, os.devnull, said)
env = dict(os.environ)
root = spawn.spawn("/bin/sh", ("sh", "-c", BELOW), cwd="/", env=env, streams=streams)
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


def walk(owner: str, mark: str = "") -> dict:
    done = subprocess.run(
        [sys.executable, "-c", WALK, owner, mark], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)
