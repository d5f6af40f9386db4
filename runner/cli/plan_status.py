"""The progress of a plan, for people: what `runner status` shows of its run."""

from __future__ import annotations

from runner.cli.pen import paint
from runner.text.words import count, one_line, shortened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

_COLOURS = {
    "succeeded": "green",
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "parked": "yellow",
    "interrupted": "yellow",
    "blocked": "dim",
    "waiting": "dim",
    "replaced": "dim",
    "asked": "yellow",
}
_STAGES = {**_COLOURS, "passed": "green", "skipped": "dim"}
_UNITS_WIDTH = 40
_LONGEST = 120
"""Characters of a reason."""


def plan_text(plan: Mapping[str, Any], called: Callable[[str], str] = str) -> str:
    """As `manifest.plan` has it, which an agent without a sandbox could have written; `called` gives short
    names of runs.
    """
    try:
        return "\n".join(_lines(plan, called))
    except (LookupError, TypeError, ValueError, AttributeError):
        return "cannot be read"


def _lines(plan: Mapping[str, Any], called: Callable[[str], str]) -> Iterator[str]:
    batches = plan["batches"]
    if plan.get("stages"):
        yield from _stages(plan, called)
        return
    over = sum(one["status"] in ("succeeded", "done") for one in batches)
    yield f"{plan['file']}: {over} of {len(batches)} batches done"
    width = max((min(_UNITS_WIDTH, len(", ".join(one["units"]))) for one in batches), default=0)
    for one in batches:
        shown = shortened(", ".join(one["units"]), _UNITS_WIDTH)
        word = paint(f"{one['status']:<11}", _COLOURS.get(one["status"], "dim"))
        yield f"{one['n']:>4}  {shown:<{width}}  {word}  {_after(one, called)}".rstrip()
    yield from _ending(plan)


def _ending(plan: Mapping[str, Any]) -> Iterator[str]:
    yield _breaker(plan["breaker"])
    if plan["left"]:
        yield f"left: {', '.join(plan['left'])}"
    if plan["local"]:
        yield f"not delegated: {', '.join(plan['local'])}"
    if plan["resumed_from"]:
        yield f"continues {plan['resumed_from']}"


def _stages(plan: Mapping[str, Any], called: Callable[[str], str]) -> Iterator[str]:
    """Of a pipeline: each stage, and its steps below it."""
    stages = plan["stages"]
    said = [one["status"] for one in stages]
    skipped = f", {said.count('skipped')} skipped" if "skipped" in said else ""
    yield f"{plan['file']}: {said.count('passed')} of {count(len(stages), 'stage')} passed{skipped}"
    for stage in stages:
        word = paint(f"{stage['status']:<11}", _STAGES.get(stage["status"], "dim"))
        yield f"  {word}  {_line(stage['name'])}"
        named = {one["n"]: f"{one['stage']}: {one['title']}" for one in plan["batches"]}
        names = {n: _line(name.removeprefix(f"{stage['name']}: ")) for n, name in named.items()}
        for one in plan["batches"]:
            if one["stage"] == stage["name"]:
                word = paint(f"{one['status']:<11}", _COLOURS.get(one["status"], "dim"))
                task = f": {one['task_id']}" if one["kind"] in ("compare", "synthesis", "repair") else ""
                told = {**one, "waits_for": [names.get(n, n) for n in one["waits_for"]]}
                yield f"    {word}  {_line(one['title'] + task)}  {_after(told, called)}".rstrip()
    yield from _ending(plan)


def _after(one: Mapping[str, Any], called: Callable[[str], str]) -> str:
    parts = []
    if one["run_id"]:
        parts.append(called(one["run_id"]))
    if one["commit"]:
        parts.append(f"commit {one['commit'][:12]}")
    if one["reason"]:
        parts.append(_why(one["reason"]))
    if one["waits_for"]:
        parts.append(f"waits for {', '.join(map(str, one['waits_for']))}")
    if one["outside"]:
        parts.append(f"also changed {_line(', '.join(one['outside'][:3]))}")
    return "  ".join(parts)


def _why(why: Mapping[str, Any]) -> str:
    return _line(f"{why['code']}: {why['message']}").removesuffix(":")


def _line(text: str) -> str:
    return one_line(text, _LONGEST)


def _breaker(breaker: Mapping[str, Any]) -> str:
    count = f"{breaker['failures']} of {breaker['limit']} failures in a row"
    if breaker["open"]:
        return f"breaker: {paint('open', 'red')}, {count}"
    if why := breaker["parked"]:
        return f"breaker: {paint('parked', 'yellow')}, {_why(why)}"
    return f"breaker: closed, {count}"
