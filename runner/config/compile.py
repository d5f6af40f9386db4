"""Compiles all layers and policies of a repository: the effective settings, or every problem. Edge: the disk,
through `reading`.

`start` runs it in a separate process (`runner.config.load`), `check` and `config show` in their own.
"""

from __future__ import annotations

import hashlib
import time

from runner.config import effective, layers, policy, references, schema, trust
from runner.config.find import EXAMPLE_NAME, ConfigFiles, shipped
from runner.config.layers import Layer
from runner.config.reading import Reading
from runner.model import Policy
from runner.text.problems import Problem
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


_NOT_YOURS = (
    "what a repository brings may not say how you are told: write it into your own settings "
    "(~/.config/runner/config.toml)"
)


class Compiled(Value):
    """`config` is what a snapshot holds; None when there are problems. `notes` are no problems,
    but worth a look.
    """

    config: dict[str, Any] | None
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    policy: Policy
    layers: tuple[Layer, ...]
    files: tuple[str, ...]
    inputs: dict[str, list[Any] | None]
    written_ns: int


def compile_settings(
    places: ConfigFiles,
    settings: Mapping[str, str],
    sets: Sequence[str],
    *,
    given: Mapping[str, bytes] | None = None,
    policies: Sequence[str] = (),
) -> Compiled:
    """Everything about the settings of `places`; never raises for what a file says. `given`: see `Reading`;
    `policies` are files beside the usual ones.
    """
    # Before anything is read: a file changed from now on counts as perhaps changed unseen.
    started = time.time_ns()
    read = Reading(places, given)
    user = read.settings(places.user)
    brought = [*read.settings(places.project), *read.settings(places.local)]
    stack = [Layer("default", layers.DEFAULTS), *user, *brought]
    stack += read.environment(settings, stack)
    stack += read.sets(sets)
    paths = (places.user_policy, places.system_policy, *policies)
    ceiling = policy.narrow([one for path in paths for one in read.policy(path)])
    merged = schema.normal(layers.merge(stack))
    problems, notes = references.examine(merged, stack, frozenset(read.dropped))
    foreign = [layer.problem(("notify",), _NOT_YOURS) for layer in brought if "notify" in layer.data]
    problems = tuple(sorted({*read.problems, *problems, *foreign}, key=_order(stack, places)))
    config = None
    if not problems:
        config = effective.compiled(merged, layers.origins(stack[1:]), ceiling, places)
        config["trust"] = _to_trust(brought, [one for one in stack if one not in brought], places, read)
    return Compiled(
        config=config,
        problems=problems,
        notes=notes,
        policy=ceiling,
        layers=tuple(stack),
        files=tuple(path for path in places.files() if read.inputs[path] is not None),
        inputs=read.inputs,
        written_ns=started,
    )


def _to_trust(
    brought: Sequence[Layer], own: Sequence[Layer], places: ConfigFiles, read: Reading
) -> dict[str, Any]:
    """What `runner trust` is about: see `trust.listed`. {} where nothing comes with the repository."""
    if not brought:
        return {}
    builtin = schema.normal(layers.merge([Layer("default", layers.DEFAULTS)]))
    builtin["sandboxes"] = schema.normal(layers.merge(own))["sandboxes"]
    found = trust.listed(schema.normal(layers.merge(brought)), builtin, places.root)
    content = read.inputs[places.project]
    is_shipped = content is not None and read.inputs[places.local] is None and content[4] == _example()
    return {"file": places.shown(places.project), "shipped": is_shipped, **found}


def _example() -> str | None:
    try:
        with open(shipped(EXAMPLE_NAME), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:  # an installation without it
        return None


def _order(stack: Sequence[Layer], places: ConfigFiles) -> Any:
    policies = [places.shown(path) for path in (places.user_policy, places.system_policy)]
    sources = [*(layer.source for layer in stack), *policies]

    def position(problem: Problem) -> tuple[Any, ...]:
        known = problem.source in sources
        rank = sources.index(problem.source) if known else len(sources)
        return rank, problem.source, problem.line or 0, problem.column or 0, str(problem)

    return position
