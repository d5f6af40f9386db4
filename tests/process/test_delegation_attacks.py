"""Delegation under attack: forged files, races, floods and texts that are not what they seem."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.delegation import family, path_of, served
from support.repo import Repo, Run
from support.waiting import wait_until

SECRET = "zQ9-very-secret-value-77"
NASTY = f"\x1b[2J\x1b]0;title\x07Which {SECRET}\rcolour?\u202e"


@pytest.fixture(autouse=True)
def end_all(repo: Repo) -> Iterator[None]:
    """Whatever a test has started is over after it."""
    yield
    repo.end_all()


def forge_child(parent: Run, child: Run) -> None:
    """What a run with a writable workspace can write: that somebody is its child."""
    folder = parent.folder / "control" / "children"
    folder.mkdir(exist_ok=True)
    (folder / f"{child.task}@{child.id}").touch()


# -- forged lineage --------------------------------------------------------------------------------


def test_a_run_that_calls_a_stranger_its_child_may_not_touch_it(repo: Repo) -> None:
    family(repo)
    stranger, liar = repo.start(), repo.start(task="child")
    question = stranger.asks("Which?")
    forge_child(liar, stranger)
    with served(repo, run=liar) as server:
        path = path_of(stranger)
        assert server.code("delegate.status", manifest_path=path) == "not_yours"
        assert server.code("delegate.cancel", manifest_path=path) == "not_yours"
        reply = {"manifest_path": path, "question_id": question, "answer": "mine"}
        assert server.code("delegate.question.answer", **reply) == "not_yours"


@pytest.mark.parametrize("end", ["a cancel by hand", "its own end"])
def test_a_run_that_calls_a_stranger_its_child_takes_nobody_along(repo: Repo, end: str) -> None:
    family(repo)
    stranger, liar = repo.start(), repo.start(task="child")
    forge_child(liar, stranger)
    if end == "its own end":
        repo.note("gate-child").touch()
        assert liar.wait()["status"] == "succeeded"
    else:
        liar.told("pause")
        liar.told("resume")
        assert liar.told("cancel")["status"] == "cancelled"
    wait_until(lambda: not liar.everything(), what="the supervisor's end")
    assert stranger.status()["status"] == "running"
    assert stranger.events("paused") == []


def test_a_circle_of_runs_is_walked_once(repo: Repo) -> None:
    """Forged on both sides: every wish comes to an end, and nothing is told twice for ever."""
    family(repo)
    parent = repo.start()
    child = repo.start("--parent", path_of(parent), task="child")
    forge_child(child, parent)
    forge_child(child, child)
    above = {"task_id": "child", "run_id": child.id, "manifest_path": path_of(child)}
    parent.edit(parent=above)
    with served(repo, run=child) as server:
        assert server.call("delegate.status", manifest_path=path_of(child))["status"] == "running"
    assert parent.told("pause", within=20)["status"] == "paused"
    assert parent.told("resume", within=20)["status"] == "running"
    assert parent.told("cancel", within=20)["status"] == "cancelled"
    assert child.wait()["status"] == "cancelled"


# -- forged files ----------------------------------------------------------------------------------


def rubbish(folder: Path, names: list[str]) -> None:
    """Under each name something else that no reader expects."""
    folder.mkdir(exist_ok=True)
    makers: list[Callable[[Path], object]] = [
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.mkdir(),
        lambda path: path.write_text("{}"),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_text('{"prompt": 1, "expires_at": {}, "on_expiry": []}'),
        lambda path: path.write_bytes(b"\xff\0"),
    ]
    for name, make in zip(names, makers * len(names), strict=False):
        make(folder / name)


def test_rubbish_in_its_folders_neither_stops_nor_kills_a_supervisor(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    supervisor = run.supervisor()
    rubbish(run.folder / "questions", [f"q-{n:04d}.json" for n in range(7)])
    rubbish(run.folder / "questions", [f"q-00{n}.closed.json" for n in range(10, 17)])
    ids = [f"20260101T000000000Z-{n:08x}" for n in range(7)]
    rubbish(run.folder / "control" / "children", [f"child@{one}" for one in ids])
    rubbish(run.folder / "control", [f"intent-{n}.json" for n in range(7)])
    rubbish(repo.runs_folder, [".index.json"])
    assert run.status()["status"] == "running"
    assert [row["run_id"] for row in repo.json("list", within=10)] == [run.id]
    assert run.told("pause", "--only")["status"] == "paused"
    assert supervisor.is_still_there()
    with served(repo, run=run) as server:
        seen = server.call("delegate.status", manifest_path=path_of(run))
        assert seen["questions"] == []
        child = Run(repo, server.call("delegate.spawn", task_id="child")["run_id"], "child")
    assert run.told("cancel", within=30)["status"] == "cancelled"
    assert child.on_disk()["status"] == "cancelled"


OUTPUTS = ("stdout.jsonl", "stderr.log", "events.jsonl", "timeline.tsv", "last-message.md")


@pytest.mark.parametrize("what", ["a fifo", "a link"])
def test_outputs_that_became_something_else_hold_nobody_up(repo: Repo, what: str) -> None:
    family(repo)
    run = repo.start()
    for path in (run.folder / name for name in OUTPUTS):
        path.unlink(missing_ok=True)
        os.mkfifo(path) if what == "a fifo" else path.symlink_to("/dev/zero")
    assert run.ask("status", within=10).status == 0
    for stream in ("events", "stdout", "stderr", "last"):
        assert run.ask("logs", "--stream", stream, within=10).status == 0
    assert run.told("cancel", within=20)["phase"] == "done"


@pytest.mark.parametrize("name", ["control/wake", "control/children", "questions", "control/children.lock"])
def test_a_link_in_its_folder_leads_nobody_to_another_place(repo: Repo, name: str) -> None:
    """What runs outside the sandbox must not write where the sandbox forbids it."""
    family(repo)
    run = repo.start()
    outside = repo.base / "outside"
    path = run.folder / name
    if path.is_dir():
        path.rmdir()
        outside.mkdir()
    elif name == "control/children":
        outside.mkdir()
    else:
        path.unlink(missing_ok=True)
        outside.write_text("precious")
    path.symlink_to(outside)
    with served(repo, run=run) as server:
        server.answer("delegate.spawn", {"task_id": "child"})
        ask = {"parent_manifest_path": path_of(run), "prompt": "x"}
        server.answer("delegate.question.enqueue", ask)
    assert run.told("cancel", within=20)["status"] == "cancelled"
    assert list(outside.iterdir()) == [] if outside.is_dir() else outside.read_text() == "precious"


# -- floods ----------------------------------------------------------------------------------------


def test_twenty_children_ask_at_once_and_each_gets_its_own_answer(repo: Repo) -> None:
    family(repo, more="max_children = 20")
    parent = repo.start()
    with ThreadPoolExecutor(4) as pool:
        words = ("--parent", path_of(parent))
        children = list(pool.map(lambda _: repo.start(*words, task="child"), range(20)))
        ids = list(pool.map(lambda child: child.asks(f"Who is {child.id}?"), children))
    with served(repo, run=parent) as server:
        seen = server.call("delegate.status", manifest_path=path_of(parent))
        assert {one["run_id"] for one in seen["children"]} == {child.id for child in children}
        pairs = list(zip(children, ids, strict=True))
        replies = [
            server.soon(
                "delegate.question.answer", manifest_path=path_of(child), question_id=one, answer=child.id
            )
            for child, one in pairs
        ]
        assert all(reply.result(timeout=30)["ok"] for reply in replies)
        for child, one in pairs:
            (question,) = server.call("delegate.status", manifest_path=path_of(child))["questions"]
            assert (question["id"], question["answer"]) == (one, child.id)
        cancelled = server.call("delegate.cancel", manifest_path=path_of(children[0]))
        assert cancelled["status"] == "cancelled"
    assert parent.told("cancel")["status"] == "cancelled"
    assert {child.on_disk()["status"] for child in children} == {"cancelled"}


def test_a_run_does_not_flood_whoever_looks_at_it_with_questions(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    with served(repo, run=run) as server:
        ask = {"parent_manifest_path": path_of(run), "prompt": "x" * 65_536}
        for _ in range(20):
            server.call("delegate.question.enqueue", **ask)
        assert server.code("delegate.question.enqueue", **ask) == "too_many_questions"
        assert repo.cli("answer", run.id, "q-0001", "y" * 65_536).status == 0
        seen = server.call("delegate.status", manifest_path=path_of(run))
        assert len(seen["questions"][0]["answer"]) == 200, "what is closed is shown short"
        poll = {"parent_manifest_path": path_of(run), "question_id": "q-0001"}
        assert len(server.call("delegate.question.poll", **poll)["answer"]) == 65_536


# -- a parent that cannot answer -------------------------------------------------------------------


def test_a_parent_paused_over_its_own_question_leaves_its_children_asking(repo: Repo) -> None:
    family(repo)
    parent = repo.start()
    child = repo.start("--parent", path_of(parent), task="child")
    parent.asks("Which?", expires_in_s=0.1, on_expiry="pause")
    wait_until(lambda: parent.on_disk()["phase"] == "paused", what="the pause")
    assert child.status()["status"] == "running", "its question pauses it alone"
    with served(repo, run=child) as server:
        ask = {"parent_manifest_path": path_of(parent), "prompt": "And which for me?"}
        first = server.call("delegate.question.enqueue", **ask)["question_id"]
        short = {"expires_in_s": 0.3, "on_expiry": "fail"}
        waiting = server.soon(
            "delegate.question.poll", parent_manifest_path=path_of(parent), question_id=first, wait_s=30
        )
        assert repo.cli("answer", child.id, first, "Yours is blue.").status == 0, "people can answer"
        assert waiting.result(timeout=10)["answer"] == "Yours is blue."
        server.call("delegate.question.enqueue", **ask, **short)
    assert child.wait()["reason"]["code"] == "question_expired"
    assert parent.told("resume")["status"] == "running"


# -- texts -----------------------------------------------------------------------------------------


def seen_of(run: Run) -> dict[str, str]:
    """Everything that a person or a script can have shown of a run."""
    repo = run.repo
    shown = {}
    for words in (("status", run.id), ("logs", run.id), ("list", "--all")):
        for form in ("text", "json"):
            done = repo.cli(*words, "--format", form)
            assert done.status == 0, done
            shown[f"{words[0]} {form}"] = done.stdout + done.stderr
    return shown


def test_secrets_and_control_characters_in_what_runs_say_to_each_other_are_not_shown(repo: Repo) -> None:
    repo.env["MY_KEY"] = SECRET
    family(repo)
    with (repo.root / "delegate.toml").open("a") as file:
        file.write('[runtimes.codex]\nenv = ["MY_KEY"]\n')
    run = repo.start()
    first, second = run.asks(NASTY), run.asks(NASTY)
    answered = repo.cli("answer", run.id, first, NASTY, "--format", "json")
    assert answered.status == 0
    wait_until(lambda: run.on_disk()["questions_open"] == 1)
    shown = {"answer": answered.stdout, **seen_of(run)}
    with served(repo) as owner:
        shown["delegate.status"] = json.dumps(owner.call("delegate.status", manifest_path=path_of(run)))
    assert second in shown["status text"]
    assert "colour?" in shown["status text"]
    assert run.told("cancel", "--reason", NASTY)["status"] == "cancelled"
    wait_until(lambda: not run.everything(), what="the sealing")
    shown |= {f"{name} at the end": text for name, text in seen_of(run).items()}
    for name, text in shown.items():
        assert SECRET not in text, name
        assert not any(char in text for char in "\x1b\x07\r\u202e"), name
    for path in run.folder.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path.name


def test_the_reason_of_a_stop_that_is_still_under_way_is_shown_clean(repo: Repo) -> None:
    repo.env["MY_KEY"] = SECRET
    family(repo)
    repo.waiting_codex(before="trap '' INT TERM\n")
    with (repo.root / "delegate.toml").open("a") as file:
        file.write('[runtimes.codex]\nenv = ["MY_KEY"]\n')
    config = (repo.root / "delegate.toml").read_text().replace('grace = "300ms"', 'grace = "1m"')
    (repo.root / "delegate.toml").write_text(config)
    run = repo.start()
    repo.begun()
    with repo.process("cancel", run.id, "--reason", NASTY):
        wait_until(lambda: run.on_disk()["phase"] == "stopping", what="the stop")
        shown = "".join(seen_of(run).values()) + run.file("manifest.json")
        assert run.events("cancel_requested")[0]["reason"].startswith("Which [redacted]")
    assert "colour?" in shown
    assert SECRET not in shown
    assert not any(char in shown for char in "\x1b\x07\r\u202e")
    assert run.told("cancel", "--grace", "0")["status"] == "cancelled"
