"""The verbs of pipelines: pipeline list and pipeline show, a picture of the stages in text."""

from __future__ import annotations

import os
from shlex import join

from runner.cli.actions import add_actions
from runner.cli.parser import Namespace, Parser, add_settings, settings
from runner.cli.render import answer, fitted
from runner.errors import ExitStatus, PlanInvalid
from runner.model import Level
from runner.plan.pipeline import Pipeline, steps
from runner.resolve.choose import find_pipeline
from runner.text.durations import about
from runner.text.terminal import plain
from runner.text.words import count, one_line
from runner.usecases import look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from runner.model import Config
    from runner.plan.pipeline import Stage
    from runner.state.index import RunRow


def add_pipeline(parser: Parser) -> None:
    parser.examples("runner pipeline list", "runner pipeline show factory")
    add_actions(parser, "pipeline")


def add_pipeline_list(parser: Parser) -> None:
    add_settings(parser)
    parser.examples("runner pipeline list", "runner pipeline list --json")


def run_pipeline_list(args: Namespace) -> int:
    every = [Pipeline.from_json(one) for one in settings(args).pipelines.values()]
    lines = [f"{p.name}  {count(len(p.stages), 'stage')}  {one_line(p.title or '')}".rstrip() for p in every]
    none = "no pipeline here; `runner init --pipeline factory` adds one"
    answer(args, [one.to_json() for one in every], fitted("\n".join(lines) or none))
    return ExitStatus.OK


def add_pipeline_show(parser: Parser) -> None:
    parser.add_argument("pipeline", metavar="PIPELINE", help="a name of [pipelines]")
    add_settings(parser)
    parser.examples("runner pipeline show factory", "runner pipeline show factory --json")


def run_pipeline_show(args: Namespace) -> int:
    config = settings(args)
    one = find_pipeline(config, args.pipeline)
    step, rows = steps(one), look.runs(config.root, task=None, everything=True)
    tasks = {name: _task(config, name, rows) for stage in one.stages for name in stage.runs}
    plans = {stage.name: _of_plan(config, stage.plan) for stage in one.stages if stage.plan}
    head = f"{one.name}: {one_line(one.title)}" if one.title else one.name
    lines = [head, f"input: {', '.join(one.input) or 'nothing'}"]
    for stage in sorted(one.stages, key=lambda stage: step[stage.name]):
        lines += ["", f"{step[stage.name]}. {stage.name}"]
        lines += [f"   {what:<10} {text}" for what, text in _picture(stage, tasks, plans)]
    answer(args, {**one.to_json(), "steps": step, "tasks": tasks, "plans": plans}, fitted("\n".join(lines)))
    return ExitStatus.OK


def _task(config: Config, name: str, rows: list[RunRow]) -> dict[str, Any]:
    """What its runs are, and the medians of those that have succeeded here with a model."""
    task = config.tasks[name]
    model, sandbox = config.models.get(task.model or ""), config.sandboxes.get(task.sandbox)
    known = [row for row in rows if row.task_id == name and row.status == "succeeded" and not row.rehearsal]
    told: dict[str, Any] = {"runtime": (model and model.runtime) or task.runtime, "workspace": task.workspace}
    told["level"] = str(sandbox.level) if sandbox else task.sandbox
    for key, values in (("seconds", [r.duration_s for r in known]), ("tokens", [r.tokens for r in known])):
        found = sorted(value for value in values if value is not None)
        told[key] = found[(len(found) - 1) // 2] if found else None
    return told


def _of_plan(config: Config, plan: str) -> dict[str, Any] | None:
    """What is estimated of a plan whose file is there and can be read."""
    from runner.plan import batch, load, units

    rules = units.rules_of(config.delegate, config.economics, forced=True)
    try:
        return batch.decide(load.load(os.path.join(config.root, plan)), rules).verdict.to_json()
    except PlanInvalid:
        return None


def _picture(stage: Stage, tasks: dict[str, Any], plans: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Its lines: what each is about, and what is said of it."""
    yield "needs", ", ".join(stage.needs) or "nothing"
    if stage.plan is not None:
        of = plans[stage.name]
        size = f"{count(of['batches'], 'batch', 'batches')}, {about(of['seconds'])}" if of else "unknown"
        yield "plan", f"{plain(stage.plan)}: {size}"
    if stage.person is not None:
        asked = [plain(" ".join(text.split())) for text in (stage.person, stage.prompt) if text]
        yield from zip(("person", ""), asked or ["no document"], strict=False)
    both, repair, batch = stage.compare, stage.repair, [("batch", stage.task)] if stage.task else []
    roles = [*(("task", name) for name in stage.tasks), *batch]
    if both:
        passes = ("advocacy", "synthesis")[2 - both.passes :]
        roles += [(both.pattern, both.a), (both.pattern, both.b), *((name, both.task) for name in passes)]
    levels = {tasks[name]["level"] for name in stage.tasks}
    are_beside = len(stage.tasks) > 1 and levels == {Level.READ_ONLY}
    for role, name in [*roles, *([("repair", repair.task)] if repair else [])]:
        run = tasks[name]
        told = ["time unknown" if run["seconds"] is None else about(run["seconds"])]
        told += [] if run["tokens"] is None else [f"{run['tokens']:,} tokens"]
        told += ["own tree"] if run["workspace"] == "worktree" else []
        yield role, f"{name}: {', '.join((run['level'], run['runtime'], *told))}"
        if are_beside and (role, name) == ("task", stage.tasks[-1]):
            yield "", "side by side"
    if repair:
        yield "", f"each {_as_grave(repair.severity)}, {count(repair.max_rounds, 'round')} at most"
    gate = [f"`{plain(join(argv))}`" for argv in stage.gate.commands]
    gate += [f"no {_as_grave(stage.gate.no_findings)}"] if stage.gate.no_findings else []
    gate += ["a person approves"] if stage.gate.approve else []
    yield "gate", ", ".join(gate) or "succeeded"


def _as_grave(severity: str) -> str:
    """A finding that counts there."""
    return f"{severity} finding" if severity == "critical" else f"finding that is {severity} or graver"
