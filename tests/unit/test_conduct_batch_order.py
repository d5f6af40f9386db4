"""From a batch of the ledger to what its run is started with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.plans import a_plan, a_unit
from support.values import a_config, a_task

from runner.conduct.batch_task import config_of, is_apart, order_of, request_of, units_of
from runner.conduct.plan_record import Assignment, Options, parts_of
from runner.invocation import Request
from runner.model import Config, Delegate, Level, Lineage, Model, Sandbox
from runner.plan.batch import decide
from runner.plan.units import Plan, Rules
from runner.state.plan_ledger import Breaker, PlanLedger, Step

RUN = Lineage("hello", "20261120T101504438Z-50151d5c", "m")
PLAN = a_plan(
    a_unit("U1", "a.py", verify=(("pytest", "tests/a"),), effort="low"),
    a_unit("U2", "b.py", verify=(("pytest", "tests/b"),), effort="high"),
    a_unit("U3", "c.py", after=("U1",)),
    a_unit("U4", "d.py"),
).replace(title="Shop")


def the_plan(plan: Plan = PLAN, **changes: Any) -> tuple[Assignment, PlanLedger]:
    decision = decide(plan, Rules(soft_cap=2, forced=True))
    steps = tuple(Step(batch.n, batch.units, batch.after) for batch in decision.batches)
    parts = parts_of(plan, decision)
    made = Assignment("plan.toml", "", parts, Options(), None, (), plan).replace(**changes)
    return made, PlanLedger("plan.toml", plan.title, steps, Breaker(3))


def config(template: dict[str, Any] | None = None, **delegate: Any) -> Config:
    models = {"deep": Model("deep", "gpt-5", None, "medium")}
    task = a_task(sandbox="workspace-write", **(template or {}))
    sandbox = Sandbox("workspace-write", Level.WORKSPACE_WRITE)
    return a_config(task, models=models, sandboxes={sandbox.name: sandbox}, delegate=Delegate(**delegate))


@pytest.mark.parametrize(
    ("workspace", "max_parallel", "apart"),
    [("in-place", 1, False), ("in-place", 2, True), ("worktree", 1, True), ("worktree", 16, True)],
)
def test_batches_have_trees_of_their_own_where_they_may_run_side_by_side(
    workspace: str, max_parallel: int, apart: bool
) -> None:
    settings = config({"workspace": workspace}, max_parallel=max_parallel)
    given, ledger = the_plan()
    assert is_apart(settings, "hello") is apart
    assert order_of(settings, "hello", given, ledger, ledger.step(1)).worktree is apart
    of_batch = config_of(settings, "hello", given, ledger, ledger.step(1)).tasks["hello"]
    assert of_batch.workspace == ("worktree" if apart else "in-place")


def test_a_batch_is_told_what_its_units_and_the_work_so_far_are() -> None:
    given, ledger = the_plan(on_failure="rollback")
    first = order_of(config(), "hello", given, ledger, ledger.step(1))
    assert (first.n, first.batches, first.title, first.earlier, first.kept) == (1, 2, "Shop", (), ())
    assert [unit.id for unit in first.units] == ["U1", "U2"]
    assert first.verify == (("pytest", "tests/a", "tests/b"),)
    assert (first.effort, first.strict, first.on_failure) == ("high", False, "rollback")
    ledger = ledger.began(1, RUN).succeeded(1, changed=("b.py", "a.py"))
    ledger = ledger.began(2, RUN).waits(2, kept=("c.py",))
    second = order_of(config(files="strict"), "hello", given, ledger, ledger.step(2))
    assert second.earlier == (("U1, U2", ("a.py", "b.py")),) and second.kept == ("c.py",)
    assert second.strict


def test_later_batches_and_batches_that_changed_nothing_are_no_earlier_work() -> None:
    given, ledger = the_plan()
    ledger = ledger.began(2, RUN).succeeded(2, changed=("c.py",))
    assert order_of(config(), "hello", given, ledger, ledger.step(1)).earlier == ()
    ledger = ledger.began(1, RUN).succeeded(1, changed=())
    assert order_of(config(), "hello", given, ledger, ledger.step(2)).earlier == ()


def test_a_unit_that_a_person_has_done_is_left_out_with_its_commands() -> None:
    given, ledger = the_plan()
    ledger = ledger.again(RUN, done=("U1",))
    order = order_of(config(), "hello", given, ledger, ledger.step(1))
    assert [unit.id for unit in units_of(given, ledger, ledger.step(1))] == ["U2"]
    assert [unit.id for unit in order.units] == ["U2"] and order.verify == (("pytest", "tests/b"),)


def test_the_template_is_the_batch_and_the_other_tasks_are_as_they_were() -> None:
    given, ledger = the_plan(options=Options(model="deep"))
    other = a_task(id="other")
    settings = config().replace(tasks={"hello": config().tasks["hello"], "other": other})
    made = config_of(settings, "hello", given, ledger, ledger.step(1))
    assert made.tasks["other"] is other
    task = made.tasks["hello"]
    assert task.title == "batch 1 of 2: U1, U2" and (task.prompt or "").startswith("Say hello.\n\n## Batch 1")
    assert made.models["deep"].reasoning_effort == "high"  # of the model that is asked for


def test_the_text_of_a_prompt_file_comes_first_and_a_template_may_have_none(tmp_path: Path) -> None:
    (tmp_path / "prompt.md").write_text("From the file.\n", encoding="utf-8")
    given, ledger = the_plan()
    for template, begin in (
        ({"prompt": None, "prompt_file": "prompt.md"}, "From the file.\n\n## Batch 1 of 2"),
        ({"prompt": None}, "## Batch 1 of 2"),
    ):
        settings = config(template).replace(root=str(tmp_path))
        task = config_of(settings, "hello", given, ledger, ledger.step(1)).tasks["hello"]
        assert (task.prompt or "").startswith(begin) and task.prompt_file is None


# -- what is asked -------------------------------------------------------------------------------------


def test_what_was_asked_of_the_plan_is_asked_of_every_batch() -> None:
    options = Options("deep", "build", "/map.md", True, None, True, "/my.toml", ("a.b=1",))
    expected = Request("hello", model="deep", sandbox="build", rehearse=True, allow_danger=True)
    expected = expected.replace(map="/map.md")
    assert request_of(options, "hello") == request_of(options, "hello", 2) == expected
    assert request_of(Options(), "hello", 1) == Request("hello")


def test_a_script_is_for_every_batch_and_a_folder_has_one_for_each(tmp_path: Path) -> None:
    script = tmp_path / "play.toml"
    script.write_text("", encoding="utf-8")
    for path, expected in ((script, str(script)), (tmp_path, f"{tmp_path}/batch-7.toml")):
        options = Options(rehearse=True, rehearsal_script=str(path))
        assert request_of(options, "hello", 7).rehearsal_script == expected
        assert request_of(options, "hello").rehearsal_script == str(path)
