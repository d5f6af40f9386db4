"""`runner start --pipeline`: what was given, the questions, and their order before a pipeline begins."""

from __future__ import annotations

import os

from runner.cli import start_plan
from runner.cli.parser import Namespace, here
from runner.cli.tie import tied_to
from runner.conduct import start_pipeline
from runner.conduct.start_pipeline import PipelineRequest
from runner.errors import UsageError
from runner.usecases.material import text as text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.state.manifest import Manifest

_HINT = "--set NAME=@FILE reads a file"
_NOT_WITH_PIPELINE = {
    **dict.fromkeys(("name", "task"), "the stages of a pipeline name their tasks"),
    "plan": "a stage of the pipeline names its plan",
    **dict.fromkeys(("model", "sandbox", "effort"), "each task of a pipeline has its own"),
    **dict.fromkeys(("as_read", "force_delegate", "done"), "a person approves the plans of a pipeline"),
}


def begin(args: Namespace) -> Manifest | int:
    """The run of the pipeline; an exit status where nothing was to be started."""
    start_plan.refuse_options(args, _NOT_WITH_PIPELINE, "--pipeline")
    prepare = start_pipeline.prepare_again if args.resume else start_pipeline.prepare
    return start_plan.carry_out(args, _asked(args), prepare)


def _asked(args: Namespace) -> PipelineRequest:
    """What is set is an input where its name has no dot, which every setting has."""
    given, sets = {}, []
    for text in args.sets:
        name, equals, value = text.partition("=")
        if equals and name in given:
            raise UsageError(f"`{name[:80]}` is set twice", hint="leave one of them out")
        if equals and name.isidentifier():
            given[name] = text_of(os.path.join(here(), value[1:]), _HINT) if value.startswith("@") else value
        else:
            sets.append(text)
    options = start_plan.options_of(args, sets)
    if options.rehearsal_script is not None and not os.path.isdir(options.rehearsal_script):
        hint = "with a script for each run: docs/pipelines.md"
        raise UsageError("--rehearse names a folder here", hint=hint)
    return PipelineRequest(
        file=args.pipeline,
        task_id=args.pipeline,
        options=options,
        timeout_s=args.timeout,
        reset=args.reset_breaker,
        tied_to=tied_to(args),
        given=given,
        start=args.start,
    )
