"""The run of a plan itself: what it is called and executes, also where the plan says something evil."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import a_config, a_manifest, a_task

from runner.cli.render import manifest_text
from runner.conduct.conductor_run import invocation
from runner.invocation import Invocation, Request
from runner.model import Caps, Policy
from runner.resolve.choose import choose
from runner.runtimes import PLAN
from runner.state.manifest import first

EVIL = {
    "colour": "\x1b[31mred\x1b[0m",
    "a title of the window": "\x1b]0;owned\x07",
    "eight bits": "\x9b2J\x9d0;x\x9c",
    "overwritten": "good\rbad\x08",
    "another order": "\u202eevil\u202c \u2066x\u2069 \u200b\ufeff",
    "lines": "one\nstatus    succeeded\r\nthree\u2028four\x85five\x0bsix",
    "half": "half \udcff",
}


def called(title: str) -> Invocation:
    config = a_config(a_task(sandbox="workspace-write"))
    choice = choose(config, Request("hello"))
    return invocation(choice, {"HOME": "/h", "A": "1"}, title=title, prompt="p", timeout_s=None)


def is_plain(text: str) -> bool:
    """One line that moves no cursor and turns no order."""
    return not any(
        sign in text
        for sign in "\x1b\x9b\x9d\x07\x08\r\n\x0b\x85\u2028\u202e\u202c\u2066\u2069\u200b\ufeff\udcff"
    )


@pytest.mark.parametrize("name", EVIL)
def test_the_title_of_a_plan_is_one_plain_line_in_the_manifest_of_its_run(name: str) -> None:
    made = called(f"plan: {EVIL[name]}")
    assert made.runner_version == made.version
    assert made.title is not None and is_plain(made.title) and made.title.startswith("plan:")
    assert first(made, {}).title == made.title
    assert len(called(EVIL[name] * 1000).title or "") <= 200


@pytest.mark.parametrize("name", EVIL)
def test_status_shows_a_title_as_one_plain_line_whoever_wrote_it(name: str) -> None:
    lines = manifest_text(a_manifest(title=EVIL[name])).split("\n")
    (task,) = [line for line in lines if line.startswith("task ")]
    assert is_plain(task) and task.startswith("task      hello -")
    assert len(lines) == len(manifest_text(a_manifest(title="one")).split("\n"))


@given(st.text(max_size=400))
def test_whatever_a_plan_is_called_its_run_can_be_written_down(title: str) -> None:
    made = called(f"plan: {title}")
    assert made.title is not None and is_plain(made.title) and len(made.title) <= 200
    assert made.title.encode().decode() == made.title


def test_the_program_is_the_conductor_and_has_the_whole_environment_of_whoever_starts_it() -> None:
    made = called("plan: Shop")
    assert (made.runtime, made.program, made.argv[0], made.argv[1]) == (
        PLAN,
        sys.executable,
        sys.executable,
        "-I",
    )
    assert made.argv[2] == "-S", "and without the files of its environment that name others"
    assert made.argv[5].endswith("conduct/__main__.py") and os.path.exists(made.argv[5])
    assert made.argv[6].endswith(f".runs/hello/cli/{made.run_id}")
    assert made.env_names == ("A", "HOME") and made.verify == () and made.parent is None


@pytest.mark.parametrize("most", [None, 100])
def test_a_policy_limits_the_tokens_of_all_batches_together_and_a_task_those_of_each(
    most: int | None,
) -> None:
    task = a_task(sandbox="workspace-write", limits=Caps(tree_tokens=7))
    choice = choose(a_config(task, policy=Policy(max_tokens=most)), Request("hello"))
    made = invocation(choice, {}, title="plan: Shop", prompt="p", timeout_s=60)
    assert (made.limits.tree_tokens, made.limits.timeout_s, made.limits.repeats) == (most, 60, None)
