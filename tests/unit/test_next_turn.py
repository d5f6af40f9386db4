"""With which texts the next turn begins, in which session, and what counts as a try of the task."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.family import a_run
from support.values import a_manifest, an_identity, an_invocation

from runner.invocation import THREAD
from runner.model import MAX_PROMPT_CHARS
from runner.state.manifest import CLOSING, Attempt
from runner.state.messages import Queue
from runner.state.store import RunDir
from runner.supervise.attempts import NextAttempt, former
from runner.supervise.turns import following

RESUMES = {"resume_argv": ("codex", "resume", THREAD), "argv": ("codex", "new")}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return a_run(tmp_path)


def attempt(n: int = 1, **changes: Any) -> Attempt:
    return Attempt(n, an_identity(), **changes)


def heard(
    run: RunDir, *attempts: Attempt, is_answered: bool = True, thread: str | None = "t-1", **declared: Any
) -> NextAttempt | None:
    """What follows the last of these attempts."""
    manifest = a_manifest(run, attempts=attempts, attempt=len(attempts), thread_id=thread)
    invocation = an_invocation(run.repo, run.task_id, run.run_id, **{**RESUMES, **declared})
    progress = SimpleNamespace(is_answered=is_answered, turn="turn_completed")
    owner: Any = SimpleNamespace(
        run=run, manifest=manifest, invocation=invocation, queue=Queue(run), progress=progress
    )
    return following(owner)


def sends(run: RunDir, *texts: str, now: bool = False) -> None:
    for text in texts:
        Queue(run).add(text, actor="user", now=now)


def test_each_that_can_wait_has_a_turn_and_those_that_cannot_have_one_before_it(run: RunDir) -> None:
    assert heard(run, attempt()) is None
    sends(run, "one", "two")
    first = heard(run, attempt())
    assert first is not None and (first.prompt, first.messages, first.how) == ("one", ("m-0001",), "resume")
    assert first.argv == ("codex", "resume", "t-1")
    sends(run, "now", "and now", now=True)
    at_once = heard(run, attempt())
    assert at_once is not None
    assert (at_once.prompt, at_once.messages) == ("now\n\nand now", ("m-0003", "m-0004"))
    given = attempt(2, messages=("m-0003", "m-0004"), how="resume")
    assert (heard(run, attempt(), given) or first).messages == ("m-0001",)
    assert heard(run, attempt(), given.replace(messages=("m-0001", "m-0002", "m-0003", "m-0004"))) is None


@pytest.mark.parametrize(
    ("last", "declared", "thread", "how"),
    [
        (attempt(), {}, "t-1", "fresh"),
        (attempt(), {}, None, "fresh"),
        (attempt(), {"fresh_argv": ("codex", "new")}, "t-1", "resume"),
        (attempt(how="resume"), {}, "t-1", "resume"),
        (attempt(how="fresh"), {"fresh_argv": ("codex", "new")}, "t-1", "fresh"),
    ],
)
def test_a_text_that_was_not_answered_is_said_again_where_its_session_has_it(
    run: RunDir, last: Attempt, declared: dict[str, Any], thread: str | None, how: str
) -> None:
    """In a session that existed before it, or in a new one: that which it was to begin may know nothing."""
    Path(run.path, "prompt.md").write_text("the task")
    sends(run, "more")
    found = heard(run, last.replace(messages=("m-0009",)), is_answered=False, thread=thread, **declared)
    assert found is not None
    assert (found.prompt, found.messages, found.how) == ("the task\n\nmore", ("m-0009", "m-0001"), how)


def test_the_request_for_the_result_is_never_said_again(run: RunDir) -> None:
    Path(run.path, "prompt-2.md").write_text("report")
    sends(run, "more")
    found = heard(run, attempt(), attempt(2, how=CLOSING, prompt="prompt-2.md"), is_answered=False)
    assert found is not None and (found.prompt, found.how) == ("more", "resume")


def test_what_is_too_much_for_one_prompt_is_heard_later_and_never_lost(run: RunDir) -> None:
    half = "x" * (MAX_PROMPT_CHARS // 2)
    sends(run, half, "y" * (MAX_PROMPT_CHARS // 2), "z", now=True)
    first = heard(run, attempt())
    assert first is not None and (first.prompt, first.messages) == (half, ("m-0001",))
    Path(run.path, "prompt.md").write_text("t" * MAX_PROMPT_CHARS)
    alone = heard(run, attempt(), is_answered=False)
    assert alone is not None and alone.messages == ("m-0001",)


def test_only_what_was_judged_is_a_try_of_the_task() -> None:
    tried, turn, asked = attempt(counts=True), attempt(messages=("m-0001",)), attempt(how=CLOSING)
    for attempts, count in (
        ((attempt(), turn, turn, attempt()), 1),
        ((tried, attempt()), 1),
        ((tried, turn, attempt()), 1),
        ((tried, turn, asked, tried, attempt()), 2),
        ((attempt(), turn), 0),
        ((attempt(),), 0),
    ):
        assert len(former(a_manifest(attempts=attempts))) == count, attempts
