"""Refitted economics for people and for programs; `runner plan --calibrate` prints them. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from runner.conduct.calibration import Calibrated
    from runner.plan.calibrate import Line

KEPT = ("fixed",)
"""No manifest shows what a plan costs the one who delegates it."""
_WHY_KEPT = "kept: manifests count the tokens of the agent, not yours"


def document(found: Calibrated) -> dict[str, Any]:
    """The JSON."""
    fitted = found.fitted
    return {
        "economics": fitted.economics.to_json(),
        "before": fitted.before.to_json(),
        "kept": list(KEPT),
        "runs": fitted.runs,
        "sizes": list(fitted.sizes),
        "residual_tokens": fitted.residual_tokens,
        "seconds": None if fitted.seconds is None else _seconds(fitted.seconds),
        "left_out": found.left_out,
        "warnings": [one.to_json() for one in fitted.warnings],
    }


def text(found: Calibrated) -> str:
    """The same as a table, and the lines for delegate.toml."""
    return "\n".join([*_head(found), "", *_table(found), "", *_lines(found)]) + "\n"


def _head(found: Calibrated) -> Iterator[str]:
    from runner.conduct.calibration import left_out_text

    fitted = found.fitted
    yield (
        f"{'runs':<10}{fitted.runs} batches of {fitted.sizes[0]} to {fitted.sizes[1]} units; "
        f"they are off by up to {fitted.residual_tokens:,} tokens"
    )
    if found.left_out:
        yield f"{'left out':<10}{left_out_text(found.left_out)}"
    if fitted.seconds is not None:
        time = _seconds(fitted.seconds)
        yield (
            f"{'time':<10}{time['batch']} s per batch and {time['unit']} s per unit; "
            f"off by up to {time['residual']} s"
        )
    for one in fitted.warnings:
        yield f"{'warning':<10}{one.message}"


def _table(found: Calibrated) -> Iterator[str]:
    yield f"{'':<10}{'before':>14}{'refitted':>14}"
    before, after = found.fitted.before.to_json(), found.fitted.economics.to_json()
    for name, value in after.items():
        why = f"  {_WHY_KEPT}" if name in KEPT else ""
        yield f"{name:<10}{before[name]:>14,}{value:>14,}{why}"


def _lines(found: Calibrated) -> Iterator[str]:
    yield "[economics]"
    for name, value in found.fitted.economics.to_json().items():
        yield f"{name} = {value}"


def _seconds(line: Line) -> dict[str, int]:
    return {name: round(value) for name, value in line.to_json().items() if name != "held"}
