"""`runner start --plan`: the questions, the output, and their order before a plan begins."""

from __future__ import annotations

import os

from runner.cli import pen
from runner.cli.ask import confirm
from runner.cli.consent import asked_for_consent
from runner.cli.gate import pass_gate
from runner.cli.parser import Namespace, here, task_named
from runner.cli.pen import paint
from runner.cli.render import emit, invocation_text
from runner.cli.tie import tied_to
from runner.conduct import consent, preflight, start_plan
from runner.conduct.plan_record import Options
from runner.errors import ExitStatus, UsageError
from runner.plan.overview import as_text
from runner.state.plan_ledger import StepKind
from runner.text.words import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from runner.conduct.start_plan import PlanRequest, PreparedPlan
    from runner.state.manifest import Manifest
    from runner.state.plan_ledger import Step

_WITH_NEITHER = {
    **dict.fromkeys(("prompt", "parent", "run_id"), "the prompts of its runs are made from their tasks"),
    **dict.fromkeys(("file", "paste"), "name them in `files` or `paste` of the task"),
    **dict.fromkeys(("ledger", "handoff"), "its runs have the ledgers of their tasks"),
    "executor": "its runs live where their tasks say; --set tasks.ID.executor=NAME says it",
    "open": "nobody sends messages to these runs",
    "baseline": "`runner verify` runs the checks of all tasks",
}
_NOT_WITH_PLAN = {
    "start": "--resume goes on where a plan ended",
    "effort": "a unit has an `effort` of its own; --set delegate.effort_floor=high raises all of them",
}
_BESIDE = {StepKind.REPAIR: " (may follow, for each finding)", StepKind.PERSON: " (waits for a person)"}


def begin(args: Namespace) -> Manifest | int:
    """The run of the plan; an exit status where nothing was to be started."""
    return carry_out(args, _asked(args), start_plan.prepare_again if args.resume else start_plan.prepare)


def carry_out(
    args: Namespace, asked: PlanRequest, prepare: Callable[[str, Any, Mapping[str, str]], PreparedPlan]
) -> Manifest | int:
    """Begins what is prepared, once it is wanted, consent is given and all that it needs was looked at."""
    env = os.environ
    if not args.dry_run:
        preflight.refuse_nested(env)
    prepared = prepare(here(), asked, env)
    if args.dry_run:
        return _show(args, prepared)
    start_plan.refuse_unclear(prepared)
    start_plan.refuse_begun(prepared)
    pass_gate(args, prepared.config, rehearses=_rehearses(prepared))
    if not _is_wanted(args, prepared):
        pen.tell("nothing was started")
        return ExitStatus.NOT_SUCCESSFUL
    _pass_gates(prepared)
    checks = preflight.examine(prepared.config, prepared.choices, env, rehearse=_rehearses(prepared))
    preflight.refuse_unready(checks)
    for note in start_plan.notes(prepared, env):
        pen.note(note)
    given = prepared.assignment.replace(checks=tuple(check.to_json() for check in checks))
    return start_plan.begin(prepared.replace(assignment=given), env)


def _asked(args: Namespace) -> start_plan.PlanRequest:
    refuse_options(args, _NOT_WITH_PLAN, "--plan")
    if args.done and not args.resume:
        raise UsageError("--done needs --resume", hint="add --resume")
    task = task_named(args)
    if not task:
        raise UsageError(
            "no task named", hint="name the template of the batches with --task TASK (`runner tasks`)"
        )
    return start_plan.PlanRequest(
        file=args.plan,
        task_id=task,
        options=options_of(args, args.sets),
        forced=args.force_delegate,
        timeout_s=args.timeout,
        as_read=args.as_read,
        reset=args.reset_breaker,
        done=tuple(args.done),
        tied_to=tied_to(args),
    )


def refuse_options(args: Namespace, hints: Mapping[str, str], beside: str) -> None:
    """UsageError for one that has no meaning there."""
    for name, hint in {**_WITH_NEITHER, **hints}.items():
        if getattr(args, name) not in (None, [], False):
            shown = "TASK" if name == "name" else f"--{name.replace('_', '-')}"
            raise UsageError(f"{shown} cannot be combined with {beside}", hint=hint)


def options_of(args: Namespace, sets: Sequence[str]) -> Options:
    folder = here()
    return Options(
        model=args.model,
        sandbox=args.sandbox,
        map=_placed(folder, args.map) if args.map else args.map,
        rehearse=args.rehearse is not None,
        rehearsal_script=_placed(folder, args.rehearse) if args.rehearse else None,
        allow_danger=args.allow_danger,
        config_file=_placed(folder, args.config) if args.config else None,
        sets=tuple(sets),
        folder=folder,
    )


def _placed(folder: str, path: str) -> str:
    return os.path.normpath(os.path.join(folder, path))


def _rehearses(prepared: PreparedPlan) -> bool:
    return prepared.assignment.options.rehearse or prepared.choice.task.rehearse


def _is_wanted(args: Namespace, prepared: PreparedPlan) -> bool:
    """Whether the plan is to be delegated: by the verdict, or by the person who is asked."""
    decision = prepared.decision
    if decision is None:
        return True
    if args.force_delegate:
        start_plan.refuse_unworthy(prepared)
        return True
    if prepared.config.delegate.decision != "ask" or not decision.batches:
        start_plan.refuse_unworthy(prepared)
    elif not args.yes:
        pen.tell(as_text(decision))
        said = confirm("Delegate this plan?", default=decision.decision == "delegate")
        if said is not None:
            return said
        raise start_plan.NotDelegated(
            'decision = "ask" in [delegate], and there is no terminal to ask at',
            hint='pass --yes or --force-delegate, or set decision = "auto"',
        )
    word, units, batches = decision.decision.replace("_", " "), decision.verdict.units, len(decision.batches)
    what = f"{count(units, 'unit')} in {count(batches, 'batch', 'batches')}"
    pen.tell(f"{word}: {what}, about {decision.verdict.seconds // 60 + 1} min")
    return True


def _pass_gates(prepared: PreparedPlan) -> None:
    """The consent, asked for on a terminal and stored, so only once per project."""
    config, env = prepared.config, os.environ
    for choice in prepared.choices:
        try:
            preflight.refuse_without_consent(
                config.root, choice.runtime, choice.sandbox, env, _rehearses(prepared)
            )
        except preflight.ConsentMissing:
            if not asked_for_consent(config, choice, env):
                raise
            consent.give(config.root, choice.runtime, choice.sandbox, env)


def _show(args: Namespace, prepared: PreparedPlan) -> int:
    """--dry-run: the decision, and of every run exactly what would be executed. Nothing is touched."""
    steps = [*start_plan.dry_run(prepared, os.environ)]
    delegate = prepared.config.delegate
    if args.format == "json":
        shown = [
            {"n": step.n, **_stage(step), "invocation": {**one.to_json(), "prompt": one.prompt}}
            for step, one in steps
            if one is not None
        ]
        looks = [_stage(step) for step, one in steps if one is None]
        decision = None if prepared.decision is None else prepared.decision.to_json()
        left = list(prepared.ledger.left)
        told = {"decision": decision, "runs": shown, "gates": looks, "left": left}
        emit({**told, "delegate": delegate.to_json()})
        return ExitStatus.OK
    if prepared.decision is not None:
        pen.say(as_text(prepared.decision))
    if not delegate.commit:
        commits = "nothing is committed"
    else:
        where = "the current branch" if delegate.commit is True else f"branch {delegate.commit}"
        commits = f"each {'change' if prepared.ledger.stages else 'batch'} is committed to {where}"
    pen.say(f"{commits}; {delegate.max_failures} failures in a row stop it\n")
    for step, one in steps:
        pen.say(paint(step.called, "bold") + _BESIDE.get(step.kind, ""))
        if one is not None:
            pen.say(invocation_text(one))
    return ExitStatus.OK


def _stage(step: Step) -> dict[str, str | None]:
    return {} if step.stage is None else {"stage": step.stage, "kind": str(step.kind), "title": step.title}
