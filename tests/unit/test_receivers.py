"""Whom a handoff is for, and what a start finds of it: on disk, and no run is started."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.doubles import install_codex
from support.family import DELEGATION, a_run, end, relative
from support.values import a_config, a_task

from runner.errors import RunnerError
from runner.invocation import Invocation, Request, SharedLedger
from runner.ledger.entry import RUNNER, EntryType, LedgerEntry, NewEntry
from runner.ledger.file import Ledger
from runner.model import Config, RuntimeSettings
from runner.state.authentic import write_record
from runner.state.manifest import timestamp
from runner.state.messages import Queue
from runner.state.store import RunDir
from runner.usecases import ledger as words
from runner.usecases import receivers, start
from runner.usecases.ledger import Author

Start = Callable[..., RunDir]
PERSON = Author("human")
BY_HAND = {"reason": "It is built.", "ask": "Look at it."}


@pytest.fixture
def env(own_home: Path) -> dict[str, str]:
    return {"HOME": str(own_home), "PATH": "/usr/bin:/bin"}


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Start]:
    """Makes runs that this process owns."""
    owned: list[int] = []
    yield lambda task, **changes: a_run(tmp_path, task, owned=owned, **changes)
    for fd in owned:
        os.close(fd)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(str(tmp_path), "make")


def settings(repo: Path, *tasks: Any) -> Config:
    codex = install_codex(repo / "bin", "exit 1")
    known = {"codex": RuntimeSettings("codex", str(codex)), "kay": RuntimeSettings("kay", "kay")}
    return a_config(*(tasks or (a_task(id="make"), a_task(id="look"))), root=str(repo), runtimes=known)


def handed(ledger: Ledger, to: str, author: Author = PERSON, *handles: str, **more: Any) -> LedgerEntry:
    return words.append(ledger, author, EntryType.HANDOFF, {**BY_HAND, **more}, to=to, handles=handles)


def began(ledger: Ledger, run: RunDir, runtime: str = "codex") -> None:
    """As its supervisor tells."""
    told = {"task": run.task_id, "runtime": runtime, "sandbox": "read-only"}
    assert ledger.tell([NewEntry(EntryType.RUN_STARTED, RUNNER, told, run_id=run.run_id)], str)


def shares(run: RunDir, task: str, **changes: Any) -> RunDir:
    invocation = run.read_invocation().replace(ledger=SharedLedger(task), **changes)
    write_record(run.invocation, invocation.to_json())
    return run


def resolved(config: Config, env: dict[str, str], task: str = "look", **asked: Any) -> Invocation:
    return start.resolve(config, Request(task, **asked), env)


def code(call: Callable[[], object]) -> str:
    with pytest.raises(RunnerError) as refused:
        call()
    return refused.value.code


# -- the receiver ----------------------------------------------------------------------------------


def test_a_task_is_its_own_receiver_also_with_the_name_of_a_runtime(ledger: Ledger, tmp_path: Path) -> None:
    config = settings(tmp_path, a_task(id="look"), a_task(id="codex"))
    for name in ("look", "codex"):
        assert receivers.receiver(ledger, handed(ledger, name), config).id == name
    assert code(lambda: receivers.receiver(ledger, handed(ledger, "lok"), config)) == "task_not_found"


def test_a_runtime_is_the_task_whose_handoff_is_handled(ledger: Ledger, tmp_path: Path, runs: Start) -> None:
    config = settings(tmp_path, *(a_task(id=name) for name in ("make", "look", "other")))
    maker, other = runs("make"), runs("other")
    began(ledger, other)
    asked = handed(ledger, "look", words.of_run(maker))
    back = handed(ledger, "codex", words.of_run(runs("look")), asked.id)
    assert receivers.receiver(ledger, back, config).id == "make"


def test_a_runtime_is_else_the_newest_run_of_it_but_never_who_hands_off(
    ledger: Ledger, tmp_path: Path, runs: Start
) -> None:
    config = settings(tmp_path, *(a_task(id=name) for name in ("make", "look")))
    maker = runs("make")
    began(ledger, runs("look"))
    assert receivers.receiver(ledger, handed(ledger, "codex"), config).id == "look"
    began(ledger, maker)
    itself = handed(ledger, "codex", words.of_run(maker), lane="other")
    assert receivers.receiver(ledger, itself, config).id == "look", "it takes it by hand"
    alone = settings(tmp_path, a_task(id="make"))
    assert code(lambda: receivers.receiver(ledger, itself, alone)) == "unclear_receiver"


def test_a_runtime_is_else_the_only_task_that_a_handoff_may_start(ledger: Ledger, tmp_path: Path) -> None:
    ready = {"start": "on_handoff"}
    tasks = [a_task(id="make"), a_task(id="look", **ready), a_task(id="kay", runtime="kay", **ready)]
    asked = handed(ledger, "codex")
    assert receivers.receiver(ledger, asked, settings(tmp_path, *tasks)).id == "look"
    tasks.append(a_task(id="second", **ready))
    with pytest.raises(receivers.UnclearReceiver, match=r"^tasks look, second of codex"):
        receivers.receiver(ledger, asked, settings(tmp_path, *tasks))
    assert code(lambda: receivers.receiver(ledger, handed(ledger, "gemini"), settings(tmp_path))) == (
        "unclear_receiver"
    )


# -- what becomes of it ----------------------------------------------------------------------------


def delivered(repo: Path, ledger: Ledger, to: str, author: Author, env: dict[str, str]) -> receivers.Delivery:
    return receivers.deliver(ledger, handed(ledger, to, author), author, env)


def written(repo: Path, *lines: str) -> None:
    (repo / "delegate.toml").write_text("\n".join(("schema_version = 1", *lines)))


@pytest.mark.parametrize("name", ["human", "owner"])
def test_what_is_for_no_task_is_recorded_and_nothing_has_to_start(
    name: str, ledger: Ledger, tmp_path: Path, env: dict[str, str]
) -> None:
    assert delivered(tmp_path, ledger, name, PERSON, env) == receivers.Delivery("recorded")


def test_a_task_that_is_started_by_hand_is_not_started(
    ledger: Ledger, tmp_path: Path, env: dict[str, str]
) -> None:
    written(tmp_path, "[tasks.look]", 'prompt = "Look."')
    found = delivered(tmp_path, ledger, "look", PERSON, env)
    assert (found.state, found.run) == ("recorded", None)
    assert found.why is not None and found.why["code"] == "starts_by_hand"
    assert found.why["hint"] == "`runner start --task look --ledger make` takes it"


def test_what_the_settings_are_refused_with_is_told_and_the_handoff_stands(
    ledger: Ledger, tmp_path: Path, env: dict[str, str]
) -> None:
    written(tmp_path, "[tasks.look]", "promt = 1")
    found = delivered(tmp_path, ledger, "look", PERSON, env)
    assert found.state == "recorded" and found.why is not None and found.why["code"] == "config_invalid"
    assert found.why["problems"] and len(ledger.state().open) == 1


def test_a_living_run_that_is_not_open_keeps_another_from_being_started(
    ledger: Ledger, tmp_path: Path, env: dict[str, str], runs: Start
) -> None:
    written(tmp_path, "[tasks.look]", 'prompt = "Look."', 'start = "on_handoff"')
    elsewhere, over, living = runs("look"), shares(runs("look"), "make"), shares(runs("look"), "make")
    end(over)
    found = delivered(tmp_path, ledger, "look", PERSON, env)
    assert (found.state, found.run) == ("recorded", None) and found.why is not None
    assert found.why["code"] == "run_not_open" and living.run_id in found.why["message"]
    assert elsewhere.run_id not in found.why["message"]
    assert found.why["hint"].endswith("`runner start --task look --ledger make` takes it")
    assert ledger.state().lanes[0].status == "open"


def an_open(runs: Start) -> RunDir:
    """One at work that hears messages."""
    return shares(runs("look"), "make", open_timeout_s=60.0, resume_argv=("codex", "resume"))


def test_an_open_run_takes_it_before_it_gets_it_and_gets_it_once(
    ledger: Ledger, tmp_path: Path, env: dict[str, str], runs: Start
) -> None:
    written(tmp_path, "[tasks.look]", 'prompt = "Look."', 'start = "on_handoff"')
    closed, run = shares(runs("look"), "make"), an_open(runs)
    asked = handed(ledger, "look")
    receivers._take(ledger, run, run.read_invocation(), asked.id)  # and who did that was killed
    for _ in range(2):
        words.state(ledger)
    assert [(one.key, one.actor) for one in Queue(run).look()] == [(asked.hash, "user")]
    found = receivers.deliver(ledger, asked, PERSON, env)
    assert (found.state, found.message) == ("delivered", "m-0001"), "as before, and nobody gets it again"
    assert len(Queue(run).look()) == 1 and Queue(closed).look() == []


def test_what_a_run_has_taken_is_delivered_though_no_message_can_be_written(
    ledger: Ledger, tmp_path: Path, env: dict[str, str], runs: Start
) -> None:
    written(tmp_path, "[tasks.look]", 'prompt = "Look."', 'start = "on_handoff"')
    run, asked = an_open(runs), handed(ledger, "look")
    messages = Path(run.messages)
    messages.write_text("")
    found = receivers.deliver(ledger, asked, PERSON, env)
    assert (found.state, found.run and found.run.run_id) == ("delivered", run.run_id)
    assert (found.message, found.why) == (None, None)
    messages.unlink()
    words.state(ledger)
    assert [one.key for one in Queue(run).look()] == [asked.hash], "whoever looks next sends it"


def test_what_another_run_has_is_sent_to_nobody_else_and_none_is_started(
    ledger: Ledger, tmp_path: Path, env: dict[str, str], runs: Start
) -> None:
    written(tmp_path, "[tasks.look]", 'prompt = "Look."', 'start = "on_handoff"')
    run, other, asked = an_open(runs), shares(runs("look"), "other"), handed(ledger, "look")
    receivers._take(ledger, other, other.read_invocation(), asked.id)
    found = receivers.deliver(ledger, asked, PERSON, env)
    assert found.state == "recorded" and found.why is not None and found.why["code"] == "handoff_taken"
    assert Queue(run).look() == [] and ledger.state().lanes[0].to_run == other.run_id


def test_a_run_that_has_no_room_for_it_takes_none_and_has_what_it_had_taken(
    ledger: Ledger, tmp_path: Path, env: dict[str, str], runs: Start
) -> None:
    written(tmp_path, "[tasks.look]", 'prompt = "Look."', 'start = "on_handoff"')
    run, asked = an_open(runs), handed(ledger, "look")
    os.makedirs(run.messages)
    for number in range(1, 10_000):
        Path(run.messages, f"m-{number:04d}.json").touch()
    found = receivers.deliver(ledger, asked, PERSON, env)
    assert (found.state, found.run, ledger.state().lanes[0].status) == ("recorded", None, "open")
    assert found.why is not None and "too many messages" in found.why["message"]
    assert found.why["hint"].endswith("; `runner start --task look --ledger make` takes it")
    os.unlink(f"{run.messages}/m-9999.json")
    for _ in range(2):
        again = receivers.deliver(ledger, asked, PERSON, env)
        assert (again.state, again.message) == ("delivered", "m-9999"), "full again, and it is there"


@pytest.mark.parametrize("how", ["superseded", "taken", "signed"])
def test_no_start_is_named_that_would_not_take_it(
    how: str, ledger: Ledger, tmp_path: Path, env: dict[str, str], runs: Start
) -> None:
    written(tmp_path, "[tasks.look]", 'prompt = "Look."')
    asked = handed(ledger, "look")
    if how == "superseded":
        handed(ledger, "look", supersedes=asked.id)
    elif how == "taken":
        other = shares(runs("look"), "other")
        receivers._take(ledger, other, other.read_invocation(), asked.id)
    else:
        told = {"summary": "Done.", "evidence": "Tried."}
        words.append(ledger, words.of_run(runs("make")), EntryType.FINALITY_PROPOSED, told)
        words.decide(ledger, PERSON, signs=True)
    found = receivers.deliver(ledger, asked, PERSON, env)
    assert found.why is not None and (found.why["code"], found.why["hint"]) == ("starts_by_hand", None)


@pytest.mark.parametrize(("ago_s", "is_awaited"), [(0.0, True), (60.0, False), (-3600.0, False)])
def test_a_run_is_on_its_way_for_half_a_minute_and_for_no_handoff_of_the_future(
    ago_s: float, is_awaited: bool, ledger: Ledger, tmp_path: Path, env: dict[str, str]
) -> None:
    written(tmp_path, "[tasks.look]", 'prompt = "Look."', 'start = "on_handoff"')
    asked = handed(ledger, "look").replace(at=timestamp(time.time() - ago_s))
    way = receivers.start_of(ledger, asked, env)
    assert way == (None if is_awaited else "runner start --task look --ledger make")


@pytest.mark.parametrize(
    ("caps", "why"),
    [
        ({"enabled": False}, "task_not_spawnable"),
        ({"tools": ("status", "send")}, "task_not_spawnable"),
        ({"max_depth": 0}, "max_depth"),
    ],
)
def test_a_run_that_may_start_none_starts_none_by_a_handoff(
    caps: dict[str, Any], why: str, ledger: Ledger, tmp_path: Path, env: dict[str, str], runs: Start
) -> None:
    written(tmp_path, "[tasks.look]", 'prompt = "Look."', 'start = "on_handoff"')
    maker = runs("make", delegation=DELEGATION.replace(**caps))
    (tmp_path / relative(maker)).with_name("settings.json").unlink(missing_ok=True)
    if caps.get("enabled", True):
        from runner.config import load
        from runner.usecases import frozen

        frozen.freeze(maker, load(str(tmp_path), env=env))
    found = delivered(tmp_path, ledger, "look", words.of_run(maker), env)
    assert found.state == "recorded" and found.why is not None and found.why["code"] == why
    assert found.why["hint"].endswith("`runner start --task look --ledger make` takes it")


def answered(ledger: Ledger, author: Author, env: dict[str, str]) -> receivers.Delivery:
    reply = words.append(ledger, author, EntryType.REPLY, {"text": "It fails for café."})
    return receivers.deliver(ledger, reply, author, env)


def test_an_answer_reaches_the_run_that_had_asked_and_starts_none(
    ledger: Ledger, tmp_path: Path, env: dict[str, str], runs: Start
) -> None:
    written(tmp_path, "[tasks.make]", 'prompt = "Make."', 'start = "on_handoff"')
    maker, newer, reviewer = runs("make"), runs("make"), words.of_run(shares(runs("look"), "make"))
    for over, gets in ((None, maker), (maker, newer)):
        if over is not None:
            end(over)
        handed(ledger, "look", words.of_run(maker))
        found = answered(ledger, reviewer, env)
        assert (found.state, found.run and found.run.run_id) == ("delivered", gets.run_id)
        assert found.message is None, "it waits for no messages"
    end(newer)
    handed(ledger, "look", words.of_run(maker), lane="docs")
    found = answered(ledger, reviewer, env)
    assert (found.state, found.run) == ("recorded", None) and found.why is not None
    assert found.why["code"] == "asker_is_over"
    assert found.why["message"] == f"make is next, and its run `{maker.run_id}` is over"
    hand, begin = "handoff make --to make --lane docs --reason", "runner start --task make --ledger make"
    assert hand in found.why["hint"] and begin in found.why["hint"]


def test_an_answer_to_a_person_is_recorded_and_nobody_has_to_begin(
    ledger: Ledger, env: dict[str, str], runs: Start
) -> None:
    reviewer = words.of_run(shares(runs("look"), "make"))
    assert answered(ledger, reviewer, env) == receivers.Delivery("recorded"), "to nobody"
    handed(ledger, "look")
    assert answered(ledger, reviewer, env) == receivers.Delivery("recorded")


# -- on the way of a start -------------------------------------------------------------------------


def test_a_run_shares_the_ledger_that_is_named_and_takes_what_is_open_for_its_task(
    ledger: Ledger, tmp_path: Path, env: dict[str, str], runs: Start
) -> None:
    config = settings(tmp_path)
    assert resolved(config, env).ledger is None, "that of its own task"
    alone = resolved(config, env, ledger="make")
    assert alone.ledger == SharedLedger("make") and alone.prompt == "Say hello." and not alone.has_handoff
    maker = words.of_run(runs("make"))
    words.append(ledger, maker, EntryType.NOTE, {"text": "Not this one."})
    before = handed(ledger, "look", maker)
    words.append(ledger, maker, EntryType.NOTE, {"text": "The tokens expire."})
    asked = handed(ledger, "look", maker, supersedes=before.id)
    words.append(ledger, maker, EntryType.NOTE, {"text": "Nor this."})
    found = resolved(config, env, ledger="make")
    assert found.ledger == SharedLedger("make", asked.id, asked.hash) and found.has_handoff
    assert "## Handoff\nThe agent of task `make` has handed work to you" in found.prompt
    assert "> The tokens expire." in found.prompt
    assert "Not this one." not in found.prompt and "Nor this." not in found.prompt
    assert f"- the ledger, one JSON object on each line: {ledger.path}" in found.prompt
    assert Invocation.from_json(json.loads(json.dumps(found.to_json())), found.prompt).ledger == found.ledger
    assert len(ledger.state().open) == 1 and ledger.state().open[0].taken_by is None, "resolve takes nothing"


def test_a_run_begins_with_the_answer_to_its_task_and_takes_nothing(
    ledger: Ledger, tmp_path: Path, env: dict[str, str], runs: Start
) -> None:
    config, maker, reviewer = settings(tmp_path), words.of_run(runs("make")), words.of_run(runs("look"))
    asked = handed(ledger, "look", maker)
    for kind, text in ((EntryType.NOTE, "Seen on a Mac."), (EntryType.REPLY, "It fails for café.\n## Task")):
        words.append(ledger, reviewer, kind, {"text": text})
    found = resolved(config, env, "make", ledger="make")
    assert found.ledger == SharedLedger("make") and not found.has_handoff
    told = (
        f"The agent of task `look` has answered {asked.id} in the ledger of task `make`, on its lane `main`."
    )
    assert f"## Handoff\n{told}" in found.prompt and "The reason:" not in found.prompt
    for line in ("> It fails for café.", "> ## Task", "> Seen on a Mac."):
        assert line in found.prompt.splitlines()
    assert "## Handoff" not in resolved(config, env, "look", ledger="make").prompt, "another task is next"
    assert "## Handoff" not in resolved(config, env, "make").prompt, "it was not asked for"
    handed(ledger, "third", maker)
    assert "## Handoff" not in resolved(config, env, "make", ledger="make").prompt, "the work went on"


def test_what_is_for_a_runtime_is_for_its_runs(ledger: Ledger, tmp_path: Path, env: dict[str, str]) -> None:
    asked = handed(ledger, "codex")
    handed(ledger, "kay", lane="other")
    assert resolved(settings(tmp_path), env, ledger="make").ledger == SharedLedger(
        "make", asked.id, asked.hash
    )


@pytest.mark.parametrize("name", ["human", "owner"])
def test_a_task_with_the_name_of_a_person_begins_all_the_same_and_takes_nothing(
    name: str, ledger: Ledger, tmp_path: Path, env: dict[str, str]
) -> None:
    handed(ledger, name)
    found = resolved(settings(tmp_path, a_task(id=name)), env, ledger="make", task=name)
    assert found.ledger == SharedLedger("make") and not found.has_handoff


def test_of_several_that_are_open_one_has_to_be_named(
    ledger: Ledger, tmp_path: Path, env: dict[str, str]
) -> None:
    config = settings(tmp_path)
    one, other = handed(ledger, "look"), handed(ledger, "look", lane="other")
    strange = handed(ledger, "make", lane="third")
    with pytest.raises(RunnerError, match=f"several .*{other.id}, {one.id}"):
        resolved(config, env, ledger="make")
    found = resolved(config, env, ledger="make", handoff=one.id).ledger
    assert found is not None and found.handoff == one.id
    for name, why in ((strange.id, "conflict"), ("e-0099", "handle_not_found"), ("x", "handle_not_found")):
        assert code(lambda name=name: resolved(config, env, ledger="make", handoff=name)) == why  # type: ignore[misc]
    assert resolved(config, env, ledger="make", handoff="").ledger == SharedLedger("make")


def test_a_name_of_a_task_and_a_runtime_is_for_both_unless_it_says_the_task(
    ledger: Ledger, tmp_path: Path, env: dict[str, str]
) -> None:
    """Which a marker cannot say."""
    config = settings(tmp_path, a_task(id="look"), a_task(id="codex"))
    for said, takes in (({}, True), ({"receiver": "task"}, False)):
        asked = {"reason": "r", "ask": "a", "lane": "main", **said}
        entry = ledger.append(NewEntry(EntryType.HANDOFF, "human", asked, "codex"), str)
        found = resolved(config, env, ledger="make").ledger
        assert found is not None and (found.handoff == entry.id) is takes
        own = resolved(config, env, task="codex", ledger="make").ledger
        assert own is not None and own.handoff == entry.id


def test_a_ledger_of_no_task_is_refused_as_it_would_be_made(tmp_path: Path, env: dict[str, str]) -> None:
    assert code(lambda: resolved(settings(tmp_path), env, ledger="mak")) == "task_not_found"


def test_a_ledger_of_somebody_else_starts_nothing(
    ledger: Ledger, tmp_path: Path, env: dict[str, str]
) -> None:
    (tmp_path / "theirs").mkdir()
    handed(theirs := Ledger(str(tmp_path / "theirs"), "make"), "look")
    os.makedirs(os.path.dirname(ledger.path), mode=0o700)
    shutil.copy(theirs.path, ledger.path)
    assert code(lambda: resolved(settings(tmp_path), env, ledger="make")) == "foreign_ledger"


def test_a_run_takes_no_other_handoff_of_that_id_than_it_is_told_of(
    ledger: Ledger, tmp_path: Path, env: dict[str, str]
) -> None:
    asked = handed(ledger, "look")
    found = resolved(settings(tmp_path), env, ledger="make")
    run = RunDir(str(tmp_path), "look", found.run_id)
    for path in (ledger.path, f"{os.path.dirname(ledger.path)}/.ledger.head"):
        os.unlink(path)
    assert code(lambda: receivers.take(run, found)) == "handle_not_found"
    assert handed(ledger, "look", ask="Another one.").id == asked.id
    assert code(lambda: receivers.take(run, found)) == "conflict"
    assert ledger.state().lanes[0].status == "open"


def test_a_run_takes_its_handoff_once_and_gives_it_back_where_it_comes_to_nothing(
    ledger: Ledger, tmp_path: Path, env: dict[str, str]
) -> None:
    config, asked = settings(tmp_path), handed(ledger, "look")
    one, other = (resolved(config, env, ledger="make") for _ in range(2))
    first, second = (RunDir(str(tmp_path), "look", found.run_id) for found in (one, other))
    receivers.take(first, one)
    assert ledger.state().open[0].taken_by == first.run_id
    assert code(lambda: receivers.take(second, other)) == "handoff_taken"
    receivers.left(first, one, RunnerError("it did not start"))
    assert ledger.state().lanes[0].status == "returned"
    receivers.take(second, other)
    assert (ledger.state().open[0].taken_by, ledger.state().open[0].id) == (second.run_id, asked.id)
