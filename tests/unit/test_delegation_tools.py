"""The table of tools: what the model is told, and what each does, on runs that this process owns."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.family import a_run, end, relative

from runner.config import values
from runner.delegation import server
from runner.delegation.caller import NotYours, RunOver, caller
from runner.delegation.tool import LONGEST_S, Tool
from runner.delegation.tools import TOOLS
from runner.errors import Conflict, RunnerError, UsageError
from runner.resolve import delegation
from runner.state import questions
from runner.state.lineage import ParentOver
from runner.state.messages import Queue
from runner.state.questions import QuestionClosed, QuestionNotFound
from runner.state.store import RunDir
from runner.usecases.spawning import Refused, _answer_of

BY_NAME = {tool.name: tool for tool in TOOLS}
EVERY_TOOL = pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
Start = Callable[..., RunDir]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Makes runs that this process owns."""
    owned: list[int] = []
    yield lambda task, parent=None, **changes: a_run(tmp_path, task, parent, owned=owned, **changes)
    for fd in owned:
        os.close(fd)


def call(run: RunDir, tool: str, **arguments: Any) -> dict[str, Any]:
    """What the server of `run` does with a call."""
    assert Draft202012Validator(BY_NAME[tool].schema).is_valid(arguments)
    return BY_NAME[tool].run(caller(run.repo, relative(run), "full"), arguments)


ARGUMENT = re.compile(r"^\| `(?:\.\.\.)?([a-z_.]+)` \| `([a-z_]+)` \| (.+) \| (yes|no) \|$", re.MULTILINE)


def as_told(schema: dict[str, Any]) -> str:
    """The type of an argument as the page has it."""
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(as_told(one) for one in schema["anyOf"])
    if schema["type"] == "array":
        return "list of " + ("types of entries" if "enum" in schema["items"] else "strings")
    least = f", more than {schema['exclusiveMinimum']}" if "exclusiveMinimum" in schema else ""
    between = ""
    if "minimum" in schema:
        most = f"to {schema['maximum']}" if "maximum" in schema else "or more"
        between = f", {schema['minimum']} {most}"
    return f"{schema['type']}{least}{between}"


def test_the_page_has_every_argument_of_every_tool() -> None:
    page = Path(__file__).parents[2] / "docs/delegation.md"
    assert ARGUMENT.findall(page.read_text(encoding="utf-8")) == [
        (
            tool.name.removeprefix("delegate."),
            name,
            as_told(tool.schema["properties"][name]),
            "yes" if name in tool.schema["required"] else "no",
        )
        for tool in TOOLS
        for name in tool.schema["properties"]
        if not tool.name.startswith("handoff_to_")
    ]


@pytest.mark.parametrize("name", ["handoff_to_claude", "handoff_to_codex"])
def test_a_handoff_to_a_runtime_takes_all_that_a_handoff_takes_but_the_receiver(name: str) -> None:
    takes, to = BY_NAME[name].properties, BY_NAME["handoff"].properties["to"]
    assert {**takes, "to": to} == BY_NAME["handoff"].properties and "to" not in takes


def test_a_refused_start_passes_on_each_problem() -> None:
    told = {"code": "config_invalid", "message": "2 problems", "hint": "mend it", "retryable": False}
    for more in ({}, {"problems": ["a.toml:1: one", "a.toml:2: two"]}):
        with pytest.raises(Refused) as refused:
            _answer_of(json.dumps({"error": {**told, **more}}).encode(), b"")
        body = server._failed(refused.value).structured_content
        assert body == {"ok": False, "error": {**told, **more}}


def wishes(run: RunDir) -> list[Any]:
    return [intent for _, intent in run.intents()]


# -- the table -------------------------------------------------------------------------------------


@EVERY_TOOL
def test_a_schema_is_one_and_takes_nothing_that_it_does_not_name(tool: Tool) -> None:
    Draft202012Validator.check_schema(tool.schema)
    assert tool.schema["additionalProperties"] is False
    assert set(tool.required) <= set(tool.properties)
    assert tool.description.endswith(".")


@EVERY_TOOL
def test_nobody_can_say_who_is_calling(tool: Tool) -> None:
    assert not set(tool.properties) & {
        "actor",
        "caller",
        "run",
        "as",
        "by",
        "repo",
        "manifest",
        "allow_danger",
    }


def test_the_table_has_exactly_the_tools_that_the_plan_names() -> None:
    planned = [name for names in delegation.TOOLS.values() for name in names]
    assert sorted(BY_NAME) == sorted(planned) and len(BY_NAME) == len(TOOLS)
    assert sorted(delegation.TOOLS) == sorted(values.TOOLS)


def test_only_looking_is_read_only() -> None:
    looks = {"delegate.status", "delegate.await", "delegate.question.poll", "read_context", "task_state"}
    looks |= {"session_info", "wait_for_messages"}
    assert {tool.name for tool in TOOLS if tool.read_only} == looks


def test_no_call_may_ask_to_wait_longer_than_a_host_does() -> None:
    waits = [tool.properties["wait_s"]["maximum"] for tool in TOOLS if "wait_s" in tool.properties]
    assert len(waits) == 3 and max(waits) <= LONGEST_S <= 50


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("delegate.status", {}),
        ("delegate.status", {"manifest_path": None}),
        ("delegate.status", {"manifest_path": ["a"]}),
        ("delegate.status", {"manifest_path": "x" * 5000}),
        ("delegate.status", {"manifest_path": "a", "wait_s": -1}),
        ("delegate.status", {"manifest_path": "a", "wait_s": 49}),
        ("delegate.status", {"manifest_path": "a", "wait_s": "1"}),
        ("delegate.pause", {"manifest_path": "a"}),
        ("delegate.pause", {"manifest_path": "a", "paused": "true"}),
        ("delegate.pause", {"manifest_path": "a", "paused": True, "actor": "user"}),
        ("delegate.cancel", {"manifest_path": "a", "reason": 5}),
        ("delegate.spawn", {}),
        ("delegate.spawn", {"task_id": "x" * 65}),
        ("delegate.spawn", {"task_id": "--help"}),
        ("delegate.spawn", {"task_id": "a", "sandbox": "danger-full-access"}),
        ("delegate.spawn", {"task_id": "a", "open": "yes"}),
        ("delegate.send", {"manifest_path": "a"}),
        ("delegate.send", {"manifest_path": "a", "text": ["Go on."]}),
        ("delegate.send", {"manifest_path": "a", "text": "Go on.", "now": 1}),
        ("delegate.send", {"manifest_path": "a", "text": "Go on.", "actor": "user"}),
        ("delegate.await", {"turn": 1}),
        ("delegate.await", {"manifest_path": "a", "turn": 0}),
        ("delegate.await", {"manifest_path": "a", "turn": 1.5}),
        ("delegate.await", {"manifest_path": "a", "wait_s": 49}),
        ("delegate.question.enqueue", {"prompt": "May I?"}),
        ("delegate.question.enqueue", {"parent_manifest_path": "a", "prompt": "?", "expires_in_s": 0}),
        ("delegate.question.enqueue", {"parent_manifest_path": "a", "prompt": "?", "on_expiry": "explode"}),
        ("delegate.question.poll", {"parent_manifest_path": "a", "question_id": "../q-0001"}),
        ("delegate.question.poll", {"parent_manifest_path": "a", "question_id": 1}),
        ("delegate.question.answer", {"manifest_path": "a", "question_id": "q-0001"}),
        ("append_note", {}),
        ("append_note", {"text": "a", "actor": "human"}),
        ("append_note", {"text": "a", "task_id": "other"}),
        ("append_note", {"text": "a", "handles_handoff_id": "the first"}),
        ("append_note", {"text": "a", "handles_handoff_id": [["e-0001"]]}),
        ("append_note", {"text": "a" * 65_537}),
        ("handoff", {"to": "../other", "reason": "a", "ask": "b"}),
        ("handoff", {"reason": "a", "ask": "b"}),
        ("handoff", {"to": "other", "reason": "a", "ask": "b", "context_refs": "a.py"}),
        ("record_artifact", {"kind": "patch", "title": "a", "summary": "b", "status": "passed"}),
        ("record_artifact", {"kind": "test_report", "title": "a", "summary": "b", "status": "green"}),
        ("read_context", {"limit": 0}),
        ("read_context", {"since_seq": -1}),
        ("read_context", {"kinds": ["thought"]}),
        ("read_context", {"id": "1"}),
        ("wait_for_messages", {"timeout_s": 49}),
        ("propose_final", {"summary": "a"}),
    ],
    ids=str,
)
def test_arguments_of_another_form_are_refused(tool: str, arguments: dict[str, Any]) -> None:
    assert not Draft202012Validator(BY_NAME[tool].schema).is_valid(arguments)


@pytest.mark.parametrize(
    ("mode", "number"), [("full", len(TOOLS)), ("status", 1), ("question", 4), ("ledger", 13)]
)
def test_a_server_offers_what_its_mode_says_in_the_order_of_the_table(
    mode: str, number: int, tmp_path: Path
) -> None:
    offered = list(server.offered(caller(str(tmp_path), None, mode)))
    assert offered == [tool.name for tool in TOOLS if tool.name in offered]
    assert len(offered) == number


# -- looking ---------------------------------------------------------------------------------------


def test_status_shows_a_run_with_its_children_and_questions(start: Start) -> None:
    top = start("top")
    child = start("child", top)
    assert call(child, "delegate.question.enqueue", parent_manifest_path=relative(top), prompt="May I?")
    seen = call(top, "delegate.status", manifest_path=relative(top))
    assert (seen["status"], seen["run_id"], seen["parent"]) == ("running", top.run_id, None)
    assert seen["children"] == [
        {
            "run_id": child.run_id,
            "task_id": "child",
            "status": "running",
            "manifest_path": relative(child),
        }
    ]
    below = call(top, "delegate.status", manifest_path=relative(child))
    assert [(q["id"], q["status"], q["prompt"]) for q in below["questions"]] == [("q-0001", "open", "May I?")]


def test_status_tells_who_speaks_next_on_the_ledger_that_a_run_shares(start: Start) -> None:
    top = start("top")
    child = start("child", top)
    assert call(top, "delegate.status", manifest_path=relative(child))["ledger"] is None
    handed = call(child, "handoff", to="top", reason="it needs a review", ask="look at the edge cases")
    told = call(top, "delegate.status", manifest_path=relative(child))["ledger"]
    assert told["next_speaker"] == {"actor": "top", "run_id": None}
    (waiting,) = told["open_handoffs"]
    assert (waiting["id"], waiting["maker_run"]) == ("e-0001", child.run_id) and handed


def test_a_context_has_the_newest_open_handoffs_and_says_how_many_more_there_are(start: Start) -> None:
    top = start("top")
    child = start("child", top)
    for number in range(40):
        call(child, "handoff", to="top", reason="r", ask="a", lane=f"lane-{number}")
    told = call(child, "read_context")
    shown = [one["id"] for one in told["open_handoffs"]]
    assert shown == [f"e-{seq:04d}" for seq in range(40, 40 - len(shown), -1)]
    assert 0 < len(shown) == 40 - told["more_open_handoffs"]


def test_status_of_a_child_that_is_gone_says_so_and_shows_the_rest(start: Start) -> None:
    top = start("top")
    gone, there = start("gone", top), start("there", top)
    gone.discard()
    seen = call(top, "delegate.status", manifest_path=relative(top))
    words = {child["run_id"]: child["status"] for child in seen["children"]}
    assert words == {gone.run_id: "run_not_found", there.run_id: "running"}


def test_waiting_for_a_child_ends_with_it_and_is_bounded(start: Start) -> None:
    top = start("top")
    child = start("child", top)
    seen = call(top, "delegate.status", manifest_path=relative(child), wait_s=0.05)
    assert seen["status"] == "running"
    ending = threading.Timer(0.1, end, (child,))
    ending.start()
    os.unlink(child.wake_fifo)
    seen = call(top, "delegate.status", manifest_path=relative(child), wait_s=30)
    ending.join(10)
    assert seen["status"] == "succeeded"


def test_a_run_does_not_wait_for_itself(start: Start) -> None:
    run, begun = start("top"), time.monotonic()
    assert call(run, "delegate.status", manifest_path=relative(run), wait_s=48)["status"] == "running"
    assert time.monotonic() - begun < 10


# -- acting on itself ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "arguments", "kind"),
    [
        ("delegate.pause", {"paused": True}, "pause"),
        ("delegate.cancel", {"reason": "enough"}, "cancel"),
    ],
)
def test_a_run_that_acts_on_itself_is_answered_first(
    tool: str, arguments: dict[str, Any], kind: str, start: Start
) -> None:
    run = start("top")
    before = time.time()
    answer = call(run, tool, manifest_path=relative(run), **arguments)
    assert answer["accepted"] is True and answer["status"] == "running"
    (wish,) = wishes(run)
    assert (wish.kind, wish.actor) == (kind, f"run {run.run_id}")
    assert wish.reason == arguments.get("reason")
    assert before < wish.not_before < before + 10
    assert not wish.replace(not_before=time.time() + 1).is_due(is_answered=True), "a moment at the least"
    assert not wish.replace(not_before=before).is_due(is_answered=False)
    assert wish.replace(not_before=before).is_due(is_answered=True)
    silent = wish.replace(not_before=before - 60)
    assert silent.is_due(is_answered=False), "a program that tells nothing is not waited for"


def test_a_run_never_resumes_itself(start: Start) -> None:
    run = start("top")
    answer = call(run, "delegate.pause", manifest_path=relative(run), paused=False)
    assert answer["accepted"] is False
    assert wishes(run) == []


@pytest.mark.parametrize("tool", ["delegate.pause", "delegate.cancel", "delegate.send", "delegate.await"])
@pytest.mark.parametrize("whom", ["parent", "sibling", "stranger"])
def test_nothing_reaches_who_is_not_below(tool: str, whom: str, start: Start) -> None:
    top = start("top")
    me, sibling, stranger = start("me", top), start("sibling", top), start("stranger")
    target = {"parent": top, "sibling": sibling, "stranger": stranger}[whom]
    more: dict[str, dict[str, Any]] = {
        "delegate.pause": {"paused": True},
        "delegate.send": {"text": "Go on."},
    }
    with pytest.raises(NotYours):
        call(me, tool, manifest_path=relative(target), **more.get(tool, {}))
    assert wishes(target) == [] and Queue(target).look() == []


@pytest.mark.parametrize("text", ["Go on.", "/quit"])
def test_no_run_speaks_to_its_own_agent(start: Start, text: str) -> None:
    run = start("top")
    with pytest.raises(NotYours, match="its own agent"):
        call(run, "delegate.send", manifest_path=relative(run), text=text)
    with pytest.raises(NotYours, match="its own agent"):
        call(run, "delegate.await", manifest_path=relative(run))
    assert Queue(run).look() == []


def test_what_would_be_no_message_is_refused_and_leaves_nothing(start: Start) -> None:
    top = start("top")
    child = start("child", top)
    path = {"manifest_path": relative(child)}
    for text, code in ((" \n", "usage"), ("a\0b", "prompt_invalid"), ("\ud800", "prompt_invalid")):
        with pytest.raises(RunnerError) as refused:
            call(top, "delegate.send", **path, text=text)
        assert refused.value.code == code
    for key in ("", " k", "x" * 201, "a\nb"):
        with pytest.raises(UsageError, match="a key has"):
            call(top, "delegate.send", **path, text="Go on.", key=key)
    assert not os.path.lexists(child.messages)


def test_a_message_to_a_child_that_has_ended_begins_nothing(start: Start) -> None:
    top = start("top")
    child = start("child", top)
    end(child)
    os.unlink(child.wake_fifo)
    with pytest.raises(RunOver, match="succeeded"):
        call(top, "delegate.send", manifest_path=relative(child), text="Go on.")
    assert call(top, "delegate.send", manifest_path=relative(child), text="/quit")["status"] == "succeeded"
    assert not os.path.lexists(child.messages)


def test_a_turn_that_goes_on_is_not_over_and_an_answer_of_any_length_can_be_read(start: Start) -> None:
    top = start("top")
    child = start("child", top)
    path = {"manifest_path": relative(child)}
    going_on = call(top, "delegate.await", **path, wait_s=0.05)
    assert going_on == {"is_over": False, "turns_ended": 0, "run_status": "running"}
    os.makedirs(child.turns)
    turn = {
        "run_id": child.run_id,
        "turn": 1,
        "status": "completed",
        "reason": None,
        "message": "x" * 1_000_000,
    }
    Path(child.turn(1)).write_text(json.dumps(turn))
    child.write_manifest(child.read_manifest().replace(turns=1))
    over = call(top, "delegate.await", **path, turn=1)
    assert (over["is_over"], over["status"], over["run_status"]) == (True, "completed", "running")
    assert over["message"] == "x" * 16384 + " [...]"


# -- questions -------------------------------------------------------------------------------------


def enqueue(run: RunDir, whom: RunDir, **how: Any) -> dict[str, Any]:
    given = {"parent_manifest_path": relative(whom), "prompt": "May I?", **how}
    return call(run, "delegate.question.enqueue", **given)


def poll(run: RunDir, whom: RunDir, question: str, **how: Any) -> dict[str, Any]:
    given = {"parent_manifest_path": relative(whom), "question_id": question, **how}
    return call(run, "delegate.question.poll", **given)


def test_a_child_asks_and_its_parent_answers(start: Start) -> None:
    top = start("top")
    child = start("child", top)
    asked = enqueue(child, top, expires_in_s=600, on_expiry="fail")
    question = asked["question_id"]
    assert asked["status"] == "open" and asked["expires_at"] is not None
    assert poll(child, top, question) == {"question_id": question, "status": "open", "answer": None}
    given = {"manifest_path": relative(child), "question_id": question, "answer": "Yes."}
    assert call(top, "delegate.question.answer", **given)["status"] == "answered"
    assert poll(child, top, question)["answer"] == "Yes."
    written = questions.read(child, question)
    assert (written.asked, written.answered_by) == (top.run_id, f"run {top.run_id}")
    with pytest.raises(QuestionClosed):
        call(top, "delegate.question.answer", **given)


def test_a_poll_returns_with_the_answer(start: Start) -> None:
    run = start("top")
    question = enqueue(run, run)["question_id"]
    assert questions.read(run, question).asked == "owner"
    answering = threading.Timer(0.2, questions.answer, (run, question, "Yes."), {"by": "user"})
    answering.start()
    assert poll(run, run, question, wait_s=30)["answer"] == "Yes."
    answering.join(10)


def test_no_run_answers_its_own_question(start: Start) -> None:
    run = start("top")
    question = enqueue(run, run)["question_id"]
    with pytest.raises(NotYours, match="its own questions"):
        given = {"manifest_path": relative(run), "question_id": question, "answer": "Yes."}
        call(run, "delegate.question.answer", **given)
    assert questions.read(run, question).is_open


def test_where_the_parent_is_over_a_question_says_so_at_once(start: Start) -> None:
    top = start("top")
    child = start("child", top)
    question = enqueue(child, top)["question_id"]
    end(top)
    os.unlink(top.wake_fifo)
    with pytest.raises(ParentOver, match="will not answer"):
        enqueue(child, top)
    begun = time.monotonic()
    with pytest.raises(ParentOver):
        poll(child, top, question, wait_s=48)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("how", ["done", "cancelled"])
def test_a_run_that_is_over_asks_no_more(start: Start, how: str) -> None:
    run = start("top")
    child = start("child", run)
    for one, whom in ((child, run), (run, run)):
        enqueue(one, whom)
        if how == "done":
            end(one)
        else:
            one.leave_intent("cancel", "user")
        with pytest.raises(Conflict, match="is over and asks no more"):
            enqueue(one, whom)
        assert len(questions.of_run(one)) == 1


def test_an_answer_that_came_before_the_end_of_the_parent_is_still_told(start: Start) -> None:
    top = start("top")
    child = start("child", top)
    question = enqueue(child, top)["question_id"]
    questions.answer(child, question, "Yes.", by="user")
    end(top)
    os.unlink(top.wake_fifo)
    assert poll(child, top, question)["answer"] == "Yes."


def test_a_question_that_was_never_asked_is_not_found(start: Start) -> None:
    run = start("top")
    with pytest.raises(QuestionNotFound):
        poll(run, run, "q-0007")
