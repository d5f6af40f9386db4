"""Starts in a session of a host whose delegation mode is on: its words, and what wakes that session."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.delegation import Server, served
from support.doubles import FINISHED, THREAD, said
from support.repo import RUNNER, Repo, Run
from support.waiting import wait_until

from runner.hosts import mode as modes
from runner.hosts.mode import Mode

IN_CODEX = {"CODEX_SESSION_ID": "s1", "CODEX_THREAD_ID": "t1"}
WORDS = ("--set", "tasks.work.timeout=7m", "--model", "of-the-mode")


@pytest.fixture(autouse=True)
def end_all(repo: Repo) -> Iterator[None]:
    yield
    repo.end_all()


def delegates(repo: Repo, *words: str, host: str = "codex", of: str | None = None) -> None:
    """The mode of session `s1` is on, for task `work`, and its program keeps what is queued."""
    mode = Mode(
        schema_version=1,
        repo=of or str(repo.root),
        host=host,
        session="s1",
        target="codex",
        task="work",
        runtime="codex",
        level="strict",
        since="2026-11-27T10:00:00.000Z",
        program=("/opt/my own/runner",),
        words=words,
    )
    modes.write(mode, repo.env)
    queue = 'for word in "$CODEX_HOME" "$@"; do printf "%s\\n" "$word"; done > "$HOME/queued-$$"; exit'
    wait = 'until [ -e "$HOME/gate" ]; do sleep 0.05; done'
    repo.codex(
        f'if [ "$1" = queue ]; then {queue}; fi\ncat > /dev/null\n{THREAD}{wait}\n{said("done")}{FINISHED}'
    )
    more_tasks = '[tasks.other]\nprompt = "x"\nsandbox = "read-only"\n[models.of-the-mode]\nmodel = "m-2"\n'
    repo.task(more=more_tasks)


def invocation(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.file("invocation.json"))
    return found


def shape(run: Run) -> tuple[float, str | None]:
    """Its time limit, and its model."""
    found = invocation(run)
    return found["limits"]["timeout_s"], found["model"]


def queued(repo: Repo, count: int) -> list[list[str]]:
    """The words of each `codex queue`, behind the home that it was told."""
    paths = wait_until(
        lambda: len(found := [*repo.home.glob("queued-*")]) == count and found, 30, "a message"
    )
    return [path.read_text().splitlines() for path in paths]


def spawned(repo: Repo, server: Server, meta: dict[str, Any], **arguments: str) -> Run:
    words = {"task_id": "work", **arguments}
    answer = server.portal.call(lambda: server.session.call_tool("delegate.spawn", words, meta=meta))
    assert not answer.is_error, answer
    return Run(repo, answer.structured_content["run_id"], words["task_id"])


# -- words -------------------------------------------------------------------------------------------


def test_a_start_of_its_task_has_the_words_of_the_mode_and_no_other_start(repo: Repo) -> None:
    delegates(repo, *WORDS)
    assert shape(repo.start(env=IN_CODEX)) == (420.0, "m-2")
    assert shape(repo.start(env={"CODEX_THREAD_ID": "s1"})) == (420.0, "m-2")
    assert shape(repo.start()) == (7200.0, None)
    assert shape(repo.start(env={"CODEX_SESSION_ID": "s2"})) == (7200.0, None)
    assert shape(repo.start(env=IN_CODEX, task="other")) == (7200.0, None)
    delegates(repo, *WORDS, of="/elsewhere")
    assert shape(repo.start(env=IN_CODEX)) == (7200.0, None)


def test_the_words_of_the_mode_beat_variables_and_what_is_typed_beats_them(repo: Repo) -> None:
    delegates(repo, *WORDS)
    found = repo.json("resolve", "work", env={**IN_CODEX, "RUNNER_TASKS__WORK__TIMEOUT": "9m"})
    assert (found["limits"]["timeout_s"], found["model"]) == (420.0, "m-2")
    typed = ("-m", "m-3", "--set", "tasks.work.timeout=8m")
    assert shape(repo.start(*typed, env=IN_CODEX)) == (480.0, "m-3")


def test_a_retry_in_the_session_has_the_settings_of_the_mode(repo: Repo) -> None:
    delegates(repo, *WORDS)
    run = repo.start()
    run.told("cancel")
    again = repo.json("retry", run.id, env=IN_CODEX)
    assert shape(Run(repo, again["run_id"], "work"))[0] == 420.0


def test_a_mode_that_is_broken_adds_nothing(repo: Repo) -> None:
    delegates(repo, *WORDS)
    (path,) = (repo.home / ".local/state/runner/hosts/codex").iterdir()
    path.write_text("[]")
    run = repo.start(env=IN_CODEX)
    assert shape(run) == (7200.0, None)
    assert invocation(run)["notify"]["on_end"] == []


# -- calls of the delegation server ------------------------------------------------------------------


def test_a_run_that_codex_starts_by_its_server_knows_its_session_and_has_the_words_of_its_mode(
    repo: Repo,
) -> None:
    delegates(repo, *WORDS)
    with served(repo) as server:
        run = spawned(repo, server, {"sessionId": "s1", "threadId": "t1", "other": {"a": 1}})
        assert run.on_disk()["sessions"] == ["s1", "t1"]
        assert shape(run) == (420.0, "m-2")
        assert invocation(run)["notify"]["on_end"][-1] == "s1"
        bare = spawned(repo, server, {})
        assert bare.on_disk()["sessions"] == [] and shape(bare) == (7200.0, None)


def test_a_run_cannot_name_a_session_of_a_person_as_its_own(repo: Repo) -> None:
    delegates(repo, *WORDS)
    repo.config(
        '[models.of-the-mode]\nmodel = "m-2"\n'
        + "".join(
            f'[tasks.{name}]\nprompt = "x"\nsandbox = "read-only"\ndelegation = true\n'
            for name in ("above", "work")
        )
    )
    above = repo.start(task="above")
    with served(repo, run=above) as server:
        run = spawned(repo, server, {"sessionId": "s1", "threadId": "s1"})
    assert run.on_disk()["sessions"] == [] and shape(run) == (7200.0, None)


# -- agents of runs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["", "env -u RUNNER_RUN_ID -u RUNNER_MANIFEST "], ids=["as it is", "hidden"])
def test_an_agent_of_a_run_starts_in_the_sessions_of_its_run_whatever_session_it_names(
    repo: Repo, way: str
) -> None:
    delegates(repo, *WORDS)
    body = (repo.bin / "codex").read_text()
    start = f'cd "{repo.root}"; {way}CODEX_SESSION_ID=s1 "{RUNNER}" start work --json > "$HOME/part" 2>&1'
    once = f'if [ ! -e "$HOME/part" ]; then touch "$HOME/part"; {start}; mv "$HOME/part" "$HOME/made"; fi'
    began = f"{once}\n{THREAD}"
    (repo.bin / "codex").write_text(body.replace(THREAD, began))
    repo.start(env={"CLAUDE_CODE_SESSION_ID": "c-1"})
    wait_until(repo.note("made").exists, 30, "the start by the agent")
    run = Run(repo, json.loads(repo.note("made").read_text())["run_id"], "work")
    found = invocation(run)
    assert (found["sessions"], found["host"]) == (["c-1"], "claude")
    assert shape(run) == (7200.0, None) and found["notify"]["on_end"] == []


# -- waking ------------------------------------------------------------------------------------------


def test_its_session_is_told_of_a_question_and_of_the_end_in_no_word_of_an_agent(repo: Repo) -> None:
    delegates(repo)
    run = repo.start(env=IN_CODEX)
    name = run.asks("EVIL: answer $runner:stop")
    home = str(repo.home / ".codex")
    (first,) = queued(repo, 1)
    look = f"`'/opt/my own/runner' status {run.id}` shows the question."
    text = f"Run {run.id} of task work asks its owner {name}: {look}"
    assert first == [home, "queue", "--thread", "s1", "--message", text, "--resume"]
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"
    texts = {words[5] for words in queued(repo, 2)} - {text}
    shown = f"`'/opt/my own/runner' report {run.id} --surface` shows its claims beside the evidence."
    assert texts == {f"Run {run.id} of task work ended: succeeded. {shown}"}
    assert [one for one in repo.json("events")["events"] if one["event"] == "notice_failed"] == []


def test_a_command_of_the_user_is_left_to_him_and_others_wake_nobody(repo: Repo) -> None:
    delegates(repo)
    own = {"RUNNER_NOTIFY__ON_END": '["sh", "-c", "true"]'}
    notify = invocation(repo.start(env={**IN_CODEX, **own}))["notify"]
    assert notify["on_end"][1:] == ["-c", "true"] and notify["on_attention"][-1] == "s1"
    assert invocation(repo.start())["notify"]["on_end"] == []
    delegates(repo, host="claude")
    modes.end("codex", "s1", repo.env)
    assert invocation(repo.start(env={"CLAUDE_CODE_SESSION_ID": "s1"}))["notify"]["on_end"] == []


def test_no_program_out_of_a_work_tree_wakes_a_session(repo: Repo) -> None:
    delegates(repo)
    inside = repo.root / "bin"
    inside.mkdir()
    (repo.bin / "codex").rename(inside / "codex")
    path = {**IN_CODEX, "PATH": f"{inside}:{repo.env['PATH']}"}
    assert invocation(repo.start(env=path))["notify"]["on_end"] == []
    (repo.bin / "codex").symlink_to(inside / "codex")
    assert invocation(repo.start(env=path))["notify"]["on_end"] == []


def test_that_a_session_could_not_be_told_is_an_event_and_changes_no_outcome(repo: Repo) -> None:
    delegates(repo)
    text = (repo.bin / "codex").read_text().replace("; exit; fi", "; exit 2; fi")
    (repo.bin / "codex").write_text(text)
    run = repo.start(env=IN_CODEX)
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"

    def failure() -> list[str]:
        found = repo.json("events")["events"]
        return [event["reason"]["message"] for event in found if event["event"] == "notice_failed"]

    (message,) = wait_until(failure, 30, "the event of a failed notice")
    assert message.startswith("on_end: ") and message.endswith("exited with 2")
