"""The work of a conductor: that of a plan or that of a pipeline. Here the next kind of work is added."""

from __future__ import annotations

from runner.conduct.plan_record import PipelineAssignment
from runner.conduct.stages import PipelineWork
from runner.conduct.work import PlanWork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.conduct.plan_record import Assignment
    from runner.conduct.work import Work
    from runner.model import Config
    from runner.state.store import RunDir


def work_of(config: Config, run: RunDir, given: Assignment | PipelineAssignment) -> Work:
    """As `choose` for what its tasks are run with."""
    if isinstance(given, PipelineAssignment):
        return PipelineWork(config, run, given)
    return PlanWork(config, run.task_id, given)
