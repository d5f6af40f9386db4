"""Runs that talk with runs: turns of a child through the delegation server, and of a parent with children."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from support.delegation import Server, path_of, served
from support.doubles import FINISHED, THREAD
from support.repo import RUNNER, Repo, Run
from support.waiting import wait_until

from runner.state.store import RunDir
from runner.supervise import notices

HEARD = """\
text=$(tail -n 1)
%s
[ "$text" = try ] && bash "$HOME/try" > "$HOME/tried"
case "$text" in *hold*) until [ -e "$HOME/gate" ]; do sleep 0.05; done ;; esac
printf '{"type":"item.completed","item":{"id":"item_0","type":"agent_message","text":"heard %%s"}}\\n' "$text"
%s"""
TASKS = """\
[delegation]
max_depth = 2
max_children = 2
on_parent_end = "%s"
[tasks.work]
prompt = "Do it."
sandbox = "read-only"
grace = "300ms"
delegation = true
open = true
[tasks.child]
prompt = "Help."
sandbox = "read-only"
grace = "300ms"
delegation = true
open = true
[tasks.once]
prompt = "Help."
sandbox = "read-only"
grace = "300ms"
"""


@pytest.fixture(autouse=True)
def end_all(repo: Repo) -> Iterator[None]:
    """Whatever a test has started is over after it."""
    yield
    repo.end_all()


def talking(repo: Repo, on_parent_end: str = "cancel") -> Repo:
    """An agent that says what it has heard, and works on `hold` until the gate is open."""
    repo.codex(HEARD % (THREAD, FINISHED))
    return repo.config(TASKS % on_parent_end)


def spawned(repo: Repo, server: Server, task: str = "child", **arguments: Any) -> Run:
    answer = server.call("delegate.spawn", task_id=task, **arguments)
    return Run(repo, answer["run_id"], answer["task_id"])


def open_questions(repo: Repo) -> list[dict[str, Any]]:
    """Those in the inbox."""
    return [item for item in repo.json("inbox")["items"] if item["kind"] == "question"]


def waits(run: Run) -> bool:
    return bool(run.on_disk()["phase"] == "waiting")


def test_a_run_talks_with_its_child_and_ends_it(repo: Repo) -> None:
    talking(repo)
    parent = repo.start()
    with served(repo, run=parent) as server:
        child = spawned(repo, server, "once", open=True, prompt="First.")
        path = {"manifest_path": path_of(child)}
        first = server.call("delegate.await", **path, wait_s=30)
        assert (first["is_over"], first["turn"], first["status"], first["message"]) == (
            True,
            1,
            "completed",
            "heard First.",
        )
        sent = server.call("delegate.send", **path, text="Second.", key="k")
        assert (sent["turn"], sent["run_id"]) == (2, child.id) and sent["state"] == "begun"
        again = server.call("delegate.send", **path, text="Second.", key="k")
        assert (again["message"], again["is_repeated"]) == (sent["message"], True)
        second = server.call("delegate.await", **path, turn=2, wait_s=30)
        assert (second["message"], second["run_status"]) == ("heard Second.", "waiting")
        assert server.call("delegate.await", **path, turn=1)["message"] == "heard First."
        assert child.events("continued")[0]["actor"] == f"run {parent.id}"
        shown = server.call("delegate.status", **path, wait_s=40)
        assert (shown["status"], shown["open"], shown["turns"]) == ("waiting", True, 2), (
            "it does nothing more"
        )
        assert server.code("delegate.pause", **path, paused=True) == "conflict"

        held = server.call("delegate.send", **path, text="hold on")
        going_on = server.call("delegate.await", **path, wait_s=0.2)
        assert (going_on["is_over"], going_on["turns_ended"]) == (False, 2) and held["turn"] == 3
        queued = server.call("delegate.send", **path, text="Then this.")
        assert (queued["state"], queued["turn"]) == ("queued", 4)
        now = server.call("delegate.send", **path, text="Stop.", now=True)
        assert (now["state"], now["turn"]) == ("interrupted", 4)
        assert server.call("delegate.await", **path, turn=3)["status"] == "interrupted"
        last = server.call("delegate.await", **path, wait_s=30)
        assert (last["turn"], last["message"]) == (5, "heard Then this.")

        server.call("delegate.send", **path, text=" /quit\n")
        ended = server.call("delegate.status", **path, wait_s=30)
        assert (ended["status"], ended["last_message"]) == ("succeeded", "heard Then this.")
        assert server.code("delegate.send", **path, text="Once more.") == "run_over"
        assert server.call("delegate.await", **path)["turn"] == 5
        assert server.code("delegate.await", **path, turn=6) == "turn_not_found"


def test_children_go_on_while_their_parent_waits_or_is_interrupted_and_end_with_it(repo: Repo) -> None:
    talking(repo)
    parent = repo.start()
    wait_until(lambda: waits(parent))
    child = repo.start("--parent", path_of(parent), "--prompt", "hold", task="once")
    other = repo.start("--parent", path_of(parent), task="child")
    wait_until(lambda: waits(other))
    full = repo.cli("start", "--task", "once", "--parent", path_of(parent), "--format", "json")
    assert (full.status, full.error["code"]) == (9, "max_children"), "one that waits counts"
    wait_until(lambda: len(parent.on_disk()["children"]) == 2, within=10)
    assert waits(parent)

    assert parent.told("send", "hold")["state"] == "begun"
    assert parent.told("pause", within=20)["status"] == "paused"
    assert (child.on_disk()["phase"], other.on_disk()["phase"]) == ("paused", "waiting")
    assert parent.told("resume", within=20)["status"] == "running"
    assert child.on_disk()["phase"] == "running"
    assert parent.told("send", "Stop.", "--now")["state"] == "interrupted"
    wait_until(lambda: waits(parent))
    assert parent.on_disk()["turns"] == 3
    assert (child.status()["status"], other.status()["status"]) == ("running", "waiting")
    assert child.child().is_still_there()

    parent.told("end")
    for run in (child, other):
        ended = run.wait()
        assert (ended["status"], ended["survivors"]) == ("cancelled", [])
        assert "its parent run has ended" in ended["reason"]["message"]


@pytest.mark.parametrize("end", ["cancel", "open_timeout", "another owner"])
def test_every_end_of_a_parent_that_waits_is_passed_on(repo: Repo, end: str) -> None:
    talking(repo)
    more = ("--set", 'tasks.work.open_timeout="2s"') if end == "open_timeout" else ()
    parent = repo.start(*more)
    child = repo.start("--parent", path_of(parent), "--prompt", "hold", task="once")
    wait_until(lambda: waits(parent))
    if end == "cancel":
        assert parent.told("cancel")["status"] == "cancelled"
    elif end == "another owner":
        parent.kill_supervisor()
        second = repo.start("--parent", path_of(parent), "--prompt", "hold", task="once")
        assert parent.told("end")["status"] == "succeeded"
        assert second.wait()["status"] == "cancelled"
    else:
        assert parent.wait()["status"] == "succeeded"
    assert child.wait()["status"] == "cancelled"


def test_children_that_are_left_go_on_behind_the_end_of_a_conversation(repo: Repo) -> None:
    talking(repo, on_parent_end="leave")
    parent = repo.start()
    child = repo.start("--parent", path_of(parent), "--prompt", "hold", task="once")
    wait_until(lambda: waits(parent))
    assert parent.told("end")["status"] == "succeeded"
    wait_until(lambda: not parent.everything(), what="the end of the parent's supervisor")
    assert child.status()["status"] == "running"


def test_a_question_to_a_parent_that_waits_is_for_a_person_or_its_next_turn(repo: Repo) -> None:
    talking(repo)
    parent = repo.start()
    child = repo.start("--parent", path_of(parent), "--prompt", "hold", task="child")
    wait_until(lambda: waits(parent))
    with served(repo, run=child) as below:
        ask = {"parent_manifest_path": path_of(parent), "prompt": "Which?"}
        first, second = (below.call("delegate.question.enqueue", **ask)["question_id"] for _ in "12")
        listed = [(item["run_id"], item["question"]) for item in open_questions(repo)]
        assert listed == [(child.id, first), (child.id, second)]
        assert repo.cli("answer", child.id, first, "By hand.").status == 0

        assert parent.told("send", "hold")["state"] == "begun"
        assert open_questions(repo) == [], "now the parent's agent may answer"
        with served(repo, run=parent) as above:
            seen = above.call("delegate.status", manifest_path=path_of(child))
            assert [one["status"] for one in seen["questions"]] == ["answered", "open"]
            reply = {"manifest_path": path_of(child), "question_id": second, "answer": "Blue."}
            above.call("delegate.question.answer", **reply)
        polls = [
            below.call("delegate.question.poll", parent_manifest_path=path_of(parent), question_id=one)
            for one in (first, second)
        ]
    assert [one["answer"] for one in polls] == ["By hand.", "Blue."]
    assert [event["to"] for event in repo.json("events")["events"] if event["event"] == "asked"] == [
        "owner",
        "owner",
    ]


def tried(repo: Repo, run: Run, *commands: str, way: str = "") -> list[str]:
    """The codes of what the agent of a run has tried in its shell, or `ok`."""
    lines = [f'{way} "{RUNNER}" {one} --format json 2>&1 | tr -d "\\n"; echo' for one in commands]
    repo.note("try").write_text("\n".join(lines))
    sent = run.told("send", "try")
    turn = json.loads(run.ask("await", "--turn", str(sent["turn"]), "--format", "json").stdout)
    assert turn["status"] == "completed"
    answers = [json.loads(line) for line in repo.note("tried").read_text().splitlines()]
    return [answer.get("error", {"code": "ok"})["code"] for answer in answers]


def test_an_agent_speaks_to_its_children_alone_whatever_run_its_shell_says_it_is_in(repo: Repo) -> None:
    talking(repo)
    parent = repo.start()
    me, sibling = (repo.start("--parent", path_of(parent), task="child") for _ in "12")
    child = repo.start("--parent", path_of(me), "--open", task="once")
    done = repo.start(task="once")
    assert done.wait()["status"] == "succeeded"
    for run in (parent, me, sibling, child):
        wait_until(lambda run=run: waits(run))
    hidden = "env -u RUNNER_RUN_ID -u RUNNER_MANIFEST"
    below, above = (f'env RUNNER_MANIFEST="{run.folder}/manifest.json"' for run in (child, parent))
    others = [run.id for run in (parent, me, sibling, done)]
    notice = f'"{sys.executable}" -I -S "{notices.__file__}" "{me.folder}" 1'
    looks = f'(sleep 0.3; exec "$@") < /dev/null & exec {notice} > /dev/null 2>&1'
    repo.note("like-a-notice").write_text(looks)
    as_a_notice = f'setsid --wait env -u RUNNER_MANIFEST bash "{repo.note("like-a-notice")}"'
    for way in ("", hidden, above, below, "env RUNNER_MANIFEST=/nowhere", as_a_notice):
        assert tried(repo, me, *(f"send {one} Obey." for one in others), way=way) == ["not_yours"] * 4
    ends = [*(f"send {one} /quit" for one in others), *(f"end {one}" for one in others)]
    assert tried(repo, me, *ends) == ["not_yours"] * 8
    assert all(waits(run) for run in (parent, sibling)) and len(repo.runs()) == 5

    assert tried(repo, me, f"send {child.id} Help.", way=hidden) == ["ok"]
    wait_until(lambda: waits(child) and child.on_disk()["last_message"] == "heard Help.")
    assert child.events("continued")[0]["actor"] == f"run {me.id}"
    assert tried(repo, me, f"end {child.id}", f"send {child.id} More.") == ["ok", "run_over"]
    assert child.on_disk()["status"] == "succeeded" and len(repo.runs()) == 5


def test_a_command_of_the_user_speaks_as_the_user_and_not_as_the_run_that_it_hears_of(repo: Repo) -> None:
    talking(repo)
    send, answer = (
        f'cd "{repo.root}"; [ -e "$HOME/{verb}" ] || "{RUNNER}" {verb} @latest {words} > "$HOME/{verb}" 2>&1'
        for verb, words in (("send", '"By itself."'), ("answer", "q-0001 Blue."))
    )
    hooks = {"ON_TURN": send, "ON_ATTENTION": answer}
    env = {f"RUNNER_NOTIFY__{name}": json.dumps(["sh", "-c", text]) for name, text in hooks.items()}
    run = repo.start(env=env)
    wait_until(lambda: run.on_disk()["turns"] == 2, what="the turn that the command began")
    assert run.events("continued")[0]["actor"] == "user"
    run.asks("Which?")
    RunDir(str(repo.root), run.task, run.id).wake()
    wait_until(lambda: [one["status"] for one in run.events("question")] == ["open", "answered"])
    assert run.told("end")["last_message"] == "heard By itself."
