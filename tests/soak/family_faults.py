"""Faults around runs that belong together: children, their limits and their lease, questions, the server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Any

from scene import Scene
from support.delegation import call, family, greeting, path_of
from support.doubles import FINISHED, THREAD, said
from support.processes import below
from support.repo import RUNNER, Run

_MOST = 4
"""How many children may run at a time, if nothing is said (`max_children`)."""


def _family(scene: Scene, **how: Any) -> Run:
    family(scene.repo, **how)
    return _started(scene)


def _started(scene: Scene, *words: str) -> Run:
    """A run whose agent has begun; the trial is over without it."""
    run = _child(scene, None, "work", *words)
    assert run is not None, "the first start"
    scene.until(lambda: run.on_disk()["phase"] != "starting" and run.file("stdout.jsonl"), "its beginning")
    return run


def _child(scene: Scene, parent: Run | None, task: str = "child", *words: str) -> Run | None:
    below = () if parent is None else ("--parent", path_of(parent))
    done = scene.cli("start", "--task", task, *below, *words, "--format", "json")
    return Run(scene.repo, json.loads(done.stdout)["run_id"], task) if done.returncode == 0 else None


def _is_two_way(scene: Scene) -> None:
    """Who names a parent is known to it."""
    for run in scene.runs():
        above = run.on_disk()["parent"]
        if above is None:
            continue
        parent = Run(scene.repo, above["run_id"], above["task_id"])
        if not (parent.folder / f"control/children/{run.task}@{run.id}").exists():
            scene.violates(f"{run.id} has a parent that does not know it")


def killed_family(scene: Scene) -> None:
    """Owners and agents of three generations are killed: what is below one that has ended is ended or left,
    as was declared, and a cancel of the first ends all.
    """
    way = scene.rng.choice(["cancel", "leave"])
    runs = [_family(scene, on_parent_end=way)]
    for task in ("child", "child", "grandchild"):
        made = _child(scene, runs[-1] if task == "grandchild" else runs[0], task)
        runs += [] if made is None else [made]
    for _ in range(scene.rng.randint(1, 5)):
        scene.pause(0.4)
        run = scene.rng.choice(runs)
        scene.kill(run, scene.rng.choice(["supervisor", "process"]))
        if scene.rng.random() < 0.4:
            scene.cli(scene.rng.choice(["status", "pause", "resume"]), run.id)
    for run in runs:
        scene.cli("resume", run.id)
        scene.cli("status", run.id)
    _is_two_way(scene)
    if way == "cancel":
        for run in runs:
            above = run.on_disk()["parent"]
            parent = next((one for one in runs if above and one.id == above["run_id"]), None)
            if parent is not None and parent.on_disk()["phase"] == "done":
                scene.until(
                    lambda run=run: (scene.cli("status", run.id), run.on_disk()["phase"] == "done")[1],
                    f"the end of a child whose parent has ended ({run.id})",
                )
        done = scene.cli("cancel", runs[0].id)
        if done.returncode == 0 and (living := [run.id for run in runs if run.on_disk()["phase"] != "done"]):
            scene.violates(f"cancelled, and these live: {living}")


def raced_children(scene: Scene) -> None:
    """Many starts at once, some of them killed, while the parent is told or ends: never more than may run,
    and none that its parent does not know or take along.
    """
    parent = _family(scene)
    words = ("start", "--task", "child", "--parent", path_of(parent), "--format", "json")
    most: list[int] = []
    is_over = threading.Event()

    def counts() -> None:
        while not is_over.wait(0.01):
            with contextlib.suppress(OSError, ValueError):
                phases = [run.on_disk()["phase"] for run in scene.runs() if run.task == "child"]
                most.append(len([phase for phase in phases if phase != "done"]))

    counting = threading.Thread(target=counts)
    counting.start()
    acts: list[Callable[[], object]] = [lambda: scene.cli(*words)] * 6
    acts += [lambda: scene.cli(*words, kill_after=scene.rng.uniform(0.05, 0.4))] * 2
    acts.append(lambda: scene.cli(scene.rng.choice(["cancel", "pause"]), parent.id))
    acts.append(lambda: scene.kill(parent, scene.rng.choice(["supervisor", "process"])))
    scene.rng.shuffle(acts)
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
        scene.pause(0.1)
    for thread in threads:
        thread.join()
    is_over.set()
    counting.join()
    if max(most, default=0) > _MOST:
        scene.violates(f"{max(most)} children at a time, and {_MOST} may run")
    scene.cli("cancel", parent.id)
    scene.cli("reap")
    _is_two_way(scene)
    for run in scene.runs():
        scene.until(lambda run=run: run.on_disk()["phase"] == "done", f"the end of {run.id} with its parent")


def killed_budget_of_a_tree(scene: Scene) -> None:
    """The tokens of children count for the tree of their parent, whoever is killed before it looks."""
    spends = FINISHED.replace('"input_tokens":10', '"input_tokens":600')
    wait = 'until [ -e "$HOME/gate" ]; do sleep 0.05; done'
    repo = family(scene.repo)
    repo.codex(
        f'cat > /dev/null\n{THREAD}\ncase "$RUNNER_MANIFEST" in */work/*) {wait};; esac\n'
        f"{said('done')}{spends}"
    )
    parent = _started(scene, "--set", "tasks.work.limits.tree_tokens=1000")
    for _ in range(2):
        if scene.rng.random() < 0.6:
            scene.kill(parent, "supervisor")
        child = _child(scene, parent)
        if child is not None:
            scene.kill(child, "supervisor")
            scene.cli("wait", child.id, "--timeout", "60")
    scene.cli("status", parent.id)
    scene.until(lambda: parent.on_disk()["phase"] == "done", "the end by its budget")
    if parent.on_disk()["reason"]["code"] not in ("over_budget", "budget_exceeded"):
        scene.violates(f"1,206 of 1,000 tokens are spent: {parent.on_disk()['reason']}")


def killed_lease_of_a_family(scene: Scene) -> None:
    """Two may not write in one tree, also while the owner of the one that does is being replaced."""
    parent = _family(scene)
    wide = 'sandbox = "workspace-write"'
    path = scene.repo.root / "delegate.toml"
    path.write_text(path.read_text().replace('sandbox = "read-only"', wide))
    writer = _started(scene)
    scene.kill(writer, "supervisor")
    if scene.rng.random() < 0.5:
        scene.cli("status", writer.id)
    below_it = ("start", "--task", "child", "--parent", path_of(writer))
    answers = scene.at_once(*[("start", "--task", "work")] * 3, below_it)
    if any(done.returncode == 0 for done in answers):
        scene.violates(f"another one writes there: {[done.returncode for done in answers]}")
    scene.kill(writer, "process")
    scene.cli("status", writer.id)
    answers = scene.at_once(*[("start", "--task", "child")] * 3)
    if [done.returncode for done in answers].count(0) != 1:
        scene.violates(f"the lease is free, and of three: {[done.returncode for done in answers]}")
    scene.cli("cancel", parent.id)


# -- questions -----------------------------------------------------------------------------------------


def raced_questions(scene: Scene) -> None:
    """Answers, expiries and deaths at once: each question is closed once, and what was told is what holds."""
    run = _family(scene)
    ways = {}
    for _ in range(scene.rng.randint(1, 4)):
        way = scene.rng.choice(["continue", "pause", "fail"])
        ways[run.asks("Which?", expires_in_s=scene.rng.uniform(0.2, 2.0), on_expiry=way)] = way
    if scene.rng.random() < 0.6:
        threading.Timer(scene.rng.uniform(0, 1.5), lambda: scene.kill(run, "supervisor")).start()
    scene.pause(1.0)
    said_so: dict[str, list[str]] = {name: [] for name in ways}
    for name in ways:
        scene.dies("answer", run.id, name, "killed", within=0.3)
        answers = scene.at_once(*[("answer", run.id, name, word) for word in ("blue", "red")])
        for done in answers:
            if done.returncode == 0:
                said_so[name].append(done.args[-1])
    scene.pause(1.5)
    scene.cli("status", run.id)
    scene.until(lambda: all(scene.closed(run, name) for name in ways), "the end of every question")
    for name in ways:
        closed = scene.closed(run, name) or {}
        if len(said_so[name]) > 1 or (said_so[name] and closed["answer"] != said_so[name][0]):
            scene.violates(f"{name}: said {said_so[name]}, and closed with {closed}")
    told = [event["id"] for event in run.events("question") if event["status"] != "open"]
    if len({*told}) != len(told):
        scene.violates(f"closed more than once: {told}")
    expired = {way for name, way in ways.items() if (scene.closed(run, name) or {})["status"] == "expired"}
    if "fail" in expired:
        scene.until(lambda: run.on_disk()["phase"] == "done", "the failure of a question")
        if run.on_disk()["reason"]["code"] != "question_expired":
            scene.violates(f"a question that fails has expired: {run.on_disk()['reason']}")
    elif "pause" in expired:
        scene.until(lambda: run.on_disk()["phase"] == "paused", "the pause of a question")
        scene.cli("resume", run.id)
    elif run.on_disk()["phase"] != "running":
        scene.violates(f"no question says so, and it is {run.on_disk()['status']}")


# -- the server ----------------------------------------------------------------------------------------


def _serves(scene: Scene, run: Run) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(RUNNER), "delegate-server", "--manifest", path_of(run)],
        cwd=scene.repo.root,
        env=scene.repo.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def killed_server(scene: Scene) -> None:
    """Servers with spawns, polls, garbage and half a message are killed, or their client dies: each ends, has
    answered each call once at most and in JSON alone, and there are whole runs or none.
    """
    run = _family(scene)
    question = run.asks("Which?")
    poll = {"parent_manifest_path": path_of(run), "question_id": question, "wait_s": 30}
    calls: list[dict[str, Any] | str] = [
        *(call(n, "delegate.spawn", {"task_id": "child", "prompt": "x" * 200_000}) for n in range(10, 16)),
        *(call(n, "delegate.status", {"manifest_path": path_of(run)}) for n in range(20, 24)),
        *(call(30, "delegate.question.poll", poll), "{", "[]", '{"jsonrpc":"2.0","id":1e999}'),
        {"method": "notifications/cancelled", "params": {"requestId": scene.rng.choice([10, 20, 30])}},
    ]
    servers = [_serves(scene, run) for _ in range(scene.rng.randint(1, 3))]
    read: list[threading.Thread] = []
    outs: list[list[bytes]] = []
    for server in servers:
        assert server.stdin is not None and server.stdout is not None
        scene.rng.shuffle(calls)
        data = greeting(*calls) + (json.dumps(calls[0]).encode()[:40] if scene.rng.random() < 0.5 else b"")
        with contextlib.suppress(BrokenPipeError):
            server.stdin.write(data)
            server.stdin.flush()
        outs.append(out := [])
        read.append(threading.Thread(target=lambda s=server, o=out: o.extend(s.stdout), daemon=True))
        if scene.rng.random() < 0.7:
            read[-1].start()
    scene.pause(2.5)
    for server, reads in zip(servers, read, strict=True):
        assert server.stdin is not None and server.stdout is not None
        way = scene.rng.choice(["kill", "term", "close", "close" if reads.ident else "hang up"])
        if way in ("kill", "term"):
            server.send_signal(signal.SIGKILL if way == "kill" else signal.SIGTERM)
        elif way == "close":
            server.stdin.close()
        else:
            server.stdout.close()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            scene.violates(f"a server did not end within 30 s of `{way}`")
            server.kill()
    for thread in read:
        if thread.ident is not None:
            thread.join()
    for out in outs:
        _are_answers(scene, out)
    scene.until(
        lambda: not any("start" in one.words for one in below(os.getpid())), "the end of what they started"
    )
    for child in scene.runs():
        if child.task == "child" and not child.file("prompt.md").startswith("x" * 200_000):
            scene.violates(f"{child.id} has half a prompt")
    done = scene.cli("answer", run.id, question, "Still here.")
    if done.returncode != 0:
        scene.violates(f"the question did not survive: {done.stderr[-200:]}")
    _is_two_way(scene)
    scene.cli("cancel", run.id)


def _are_answers(scene: Scene, lines: list[bytes]) -> None:
    """Whole lines of JSON, each call answered once at most; the last line may be cut off by the kill."""
    answered: list[object] = []
    for n, line in enumerate(lines):
        try:
            answered.append(json.loads(line).get("id"))
        except ValueError:
            if n != len(lines) - 1 or line.endswith(b"\n"):
                scene.violates(f"on the stdout of a server: {line[:80]!r}")
    twice = {one for one in answered if one is not None and answered.count(one) > 1}
    if twice:
        scene.violates(f"answered twice: {twice}")


FAULTS: dict[str, Callable[[Scene], None]] = {
    one.__name__: one
    for one in (
        *(killed_family, raced_children, killed_budget_of_a_tree, killed_lease_of_a_family),
        *(raced_questions, killed_server),
    )
}
