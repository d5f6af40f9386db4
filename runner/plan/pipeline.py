"""The words of a pipeline: its stages, and what each has to pass. Pure.

What a key means stands beside it in `config.pipelines`; here is only what that does not say.
"""

from __future__ import annotations

from runner.value import Count, Value


class Gate(Value):
    """What has to hold before a stage counts as passed, besides that each of its runs has succeeded."""

    commands: tuple[tuple[str, ...], ...] = ()
    no_findings: str | None = None
    approve: bool = False


class Repair(Value):
    """What is done about findings before the stage has failed."""

    task: str
    severity: str = "critical"
    max_rounds: Count = 3


class Compare(Value):
    """Two tasks by two runtimes, and the task that makes one honest synthesis of what they say."""

    a: str
    b: str
    task: str
    pattern: str = "parallel"
    """`parallel`: both get the same prompt. `adversarial`: `b` reviews what `a` has made."""
    passes: Count = 1
    """2: one run argues for each finding, and only then another one judges."""


class Stage(Value):
    """It has either `tasks`, a `plan`, a `person` or a `compare`."""

    name: str
    needs: tuple[str, ...]
    tasks: tuple[str, ...] = ()
    plan: str | None = None
    """The file of a plan, relative to the repository; with `{INPUT}` for what was given."""
    task: str | None = None
    person: str | None = None
    """The document that a person sees to, as `plan`; "" is none: there is only something to approve."""
    prompt: str | None = None
    compare: Compare | None = None
    gate: Gate = Gate()
    repair: Repair | None = None

    @property
    def runs(self) -> tuple[str, ...]:
        """The tasks of which it starts runs, each once."""
        found = [*self.tasks, *([self.task] if self.task else [])]
        found += [self.repair.task] if self.repair else []
        found += [self.compare.a, self.compare.b, self.compare.task] if self.compare else []
        return tuple(dict.fromkeys(found))


class Pipeline(Value):
    """A chain of stages that the conductor carries out."""

    name: str
    stages: tuple[Stage, ...]
    title: str | None = None
    input: tuple[str, ...] = ()

    def stage(self, name: str) -> Stage:
        """KeyError for one that it does not have."""
        return {stage.name: stage for stage in self.stages}[name]

    def before(self, name: str) -> tuple[str, ...]:
        """The stages that this one needs, also by way of others, in their order."""
        known: set[str] = set()
        queue = [*self.stage(name).needs]
        while queue:
            if (one := queue.pop()) not in known:
                known.add(one)
                queue += self.stage(one).needs
        return tuple(stage.name for stage in self.stages if stage.name in known)


def steps(pipeline: Pipeline) -> dict[str, int]:
    """Stage -> when it can begin, from 1: stages of one number go side by side."""
    found: dict[str, int] = {}
    while left := [one for one in pipeline.stages if one.name not in found and found.keys() >= {*one.needs}]:
        found |= {one.name: 1 + max((found[name] for name in one.needs), default=0) for one in left}
    return found
