"""A decision for people: a table of the batches, a picture of what waits for what, the warnings. Pure."""

from __future__ import annotations

from runner.plan import economics
from runner.text.words import shortened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.plan.decision import Batch, Decision, Warn

_UNITS_WIDTH = 44
_NAMED = 8
_HEAD = ("batch", "wave", "units", "effort", "model", "files", "tokens", "time")


def as_text(decision: Decision) -> str:
    """The whole answer, lines ended."""
    lines = [f"{decision.decision.replace('_', ' ')}: {decision.reason}"]
    if decision.verdict.units:
        lines.append(_time(decision))
    if decision.batches:
        lines += ["", *_table(decision.batches), "", *_picture(decision.batches)]
    if decision.local:
        lines += ["", "not delegated:"]
        lines += [f"  {local.unit}  {local.reason}" for local in decision.local]
    if decision.warnings:
        lines += ["", "warnings:"]
        lines += [f"  {one.code}: {one.message}{_named(one)}" for one in decision.warnings]
    if decision.glue_files:
        lines += ["", "files that keep large groups together:"]
        lines += [f"  {path}" for path in decision.glue_files]
    return "\n".join(lines) + "\n"


def _time(decision: Decision) -> str:
    seconds = economics.standard_seconds(decision.verdict.units)
    low, high = (_clock(round(seconds * factor)) for factor in economics.SLOWER)
    return (
        f"about {_clock(decision.verdict.seconds)} one after the other; directly about {_clock(seconds)}, "
        f"and plans took 1.7 to 2.2 times as long when delegated ({low} to {high})"
    )


def _table(batches: Sequence[Batch]) -> Iterator[str]:
    rows = [_HEAD, *map(_row, batches)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    hidden = () if any(batch.model for batch in batches) else (_HEAD.index("model"),)
    for row in rows:
        yield "  ".join(
            cell.ljust(width) if column in (2, 3, 4) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            if column not in hidden
        ).rstrip()


def _row(batch: Batch) -> tuple[str, ...]:
    units = shortened(", ".join(batch.units), _UNITS_WIDTH)
    return (
        str(batch.n),
        str(batch.wave),
        f"{len(batch.units)}: {units}",
        batch.effort or "default",
        batch.model or "",
        str(len(batch.files)),
        f"{batch.est_tokens:+,}",
        _clock(batch.est_seconds),
    )


def _picture(batches: Sequence[Batch]) -> Iterator[str]:
    """One line per wave; what stands in one line may run side by side. `<=` is a chain."""
    waves: dict[int, list[Batch]] = {}
    for batch in batches:
        waves.setdefault(batch.wave, []).append(batch)
    width = len(str(max(waves)))
    for n, wave in enumerate(sorted(waves)):
        if n:
            yield f"     {' ' * width}   |"
        yield f"wave {wave:>{width}}  " + "   ".join(map(_box, waves[wave]))


def _box(batch: Batch) -> str:
    sign = "<=" if batch.chained else "<-"
    shown = [str(number) for number in batch.after[:_NAMED]]
    more = ["..."] if len(batch.after) > _NAMED else []
    return f"[{batch.n}]" + (f" {sign} {', '.join([*shown, *more])}" if shown else "")


def _named(one: Warn) -> str:
    """The units, where the message does not begin with them."""
    if not one.units or one.message.startswith(f"{one.units[0]} "):
        return ""
    return f" ({', '.join(one.units[:_NAMED])}{', ...' if len(one.units) > _NAMED else ''})"


def _clock(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"
