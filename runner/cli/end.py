"""The last lines on a run: what it came to, where its change is, what it cost, and what to do next.

`start --wait`, `wait`, `status` and `report` end with them, so a person learns them once.
"""

from __future__ import annotations

from runner.cli import pen
from runner.cli.pen import paint
from runner.cli.render import indented, price_text, status_word, tokens_text
from runner.state import index
from runner.state.lineage import plan_of
from runner.state.manifest import between
from runner.state.messages import Queue
from runner.text.durations import about
from runner.text.words import count, one_line
from runner.usecases import fate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from runner.state.manifest import Manifest
    from runner.state.store import RunDir
    from runner.usecases.fate import Summary

_WIDTH = 11


def end_text(run: RunDir, m: Manifest, stream: TextIO | None = None, *, verb: str = "") -> str:
    """Of a run that is done; for `stream`, stdout if None. `verb` is what shows it, and is not to be next."""
    known = fate.summary(run, m)
    name = index.short_name(run.repo, run.run_id)
    hint = m.reason.hint if m.reason is not None else None
    rows = (
        ("hint", hint),
        ("changes", fate.in_words(run, m, name) if m.plan is not None else _change(known)),
        ("survivors", m.left_over),
        ("took", ", ".join(filter(None, (_took(m), *_spent(run, m), _attempts(m))))),
        ("unheard", _unheard(run, m)),
        ("next", "\n".join(f"runner {one} {name}" for one in _next(m, known) if one != verb)),
    )
    first = status_word(m.status, _WIDTH, stream) + indented("; ".join(_came_to(m, known)), _WIDTH, stream)
    return "\n".join([first.rstrip(), *(_row(label, text, stream) for label, text in rows if text)])


def tell_unseen(m: Manifest) -> None:
    """A note, where something is decided on a run of which nobody knows whether processes of it live."""
    if m.survivors is None:
        pen.note(f"what is left of its processes is {m.left_over}: nobody has looked there")


def said_text(run: RunDir, m: Manifest) -> str | None:
    """What the agent says, set off from what was observed."""
    text = says(run, m)
    return _row("says", text, None, is_foreign=True) if text else None


def detail_text(m: Manifest, stream: TextIO) -> str:
    """What its reason rests on, such as files; "" for a success."""
    detail = m.reason.detail if m.reason is not None and m.status != "succeeded" else None
    return f"{_row('detail', detail, stream, is_foreign=True)}\n" if detail else ""


def _row(label: str, text: str, stream: TextIO | None, *, is_foreign: bool = False) -> str:
    word = paint(label.ljust(_WIDTH), "dim", stream)
    return word + indented(text, _WIDTH, stream, is_foreign=is_foreign)


def says(run: RunDir, m: Manifest) -> str | None:
    """What the agent says at its end: of a claim in JSON the summary, which is what a person reads."""
    return fate.summary(run, m).says


def _came_to(m: Manifest, known: Summary) -> list[str]:
    """Why it ended, unless that is plain, and what was seen of its work."""
    is_plain = m.outcome == "succeeded" and (m.reason is None or m.reason.hint is None)
    told = [] if is_plain or m.reason is None else [m.reason.message]
    if known.ran:
        told.append(f"{known.passed} of {count(known.checks, 'check')} passed")
    elif known.checks:
        told.append("no check was run")
    if known.files == 0:
        told.append("no file changed")
    return told or ([m.reason.message] if m.reason is not None else [])


def _change(known: Summary) -> str | None:
    if known.place is None:
        return None
    lines = " (+{} -{})".format(*known.lines) if known.lines and known.files else ""
    files, where = count(known.files or 0, "file"), known.place.where
    if where.startswith(files):
        return files + lines + where.removeprefix(files)
    if lines and where.endswith((" file)", " files)")):
        return f"{where[:-1]},{lines.replace('(', '')}"
    return f"{where}{lines}" if known.place.tells_files or not known.files else f"{files}{lines} {where}"


def _took(m: Manifest) -> str | None:
    took = None if m.started_at is None or m.ended_at is None else between(m.started_at, m.ended_at)
    if took is None:
        return None
    known = ((getattr(m, f"{what}_seconds"), what) for what in ("paused", "waiting", "suspended"))
    aside = [f"{about(seconds)} {what}" for seconds, what in known if seconds >= 1]
    return about(took) + (f" ({', '.join(aside)})" if aside else "")


def _spent(run: RunDir, m: Manifest) -> tuple[str | None, str | None]:
    """Its tokens and its price; of a plan those of its runs, and of how many the price is not known."""
    if m.plan is None:
        return tokens_text(m), None if m.cost is None else f"price {price_text(m.cost, 4)}"
    from runner.usecases import review, stats  # few runs are of plans

    sums = stats.totals(None, review.runs_of_plan(run))
    total, unknown = (sums.input_tokens or 0) + (sums.output_tokens or 0), sums.cost_unknown
    but = f" (without {count(unknown, 'run')} whose price is not known)" if unknown else ""
    return (
        f"{total:,} tokens of its runs" if total else None,
        None if sums.cost is None else f"price {price_text(sums.cost, 4)}{but}",
    )


def _attempts(m: Manifest) -> str | None:
    what, number = ("turn", m.turns) if m.has_turns else ("attempt", len(m.attempts))
    return count(number, what) if number > 1 else None


def _unheard(run: RunDir, m: Manifest) -> str:
    """The messages that its agent was not given."""
    if not Queue(run).pending(m.messages_given):
        return ""
    from runner.usecases import logs  # few runs leave a message unheard

    return "; ".join(one_line(one.text, 60) for one in logs.queued(run, m))


def _next(m: Manifest, known: Summary) -> list[str]:
    """The one or two verbs that make sense now, or three where a decision is to be made."""
    if m.plan is not None:
        return ["report", "logs"]
    verbs = [] if known.place is None else [*known.place.verbs]
    if "accept" in verbs:
        return verbs
    if m.outcome == "succeeded":
        return [*verbs, "report"]
    return [*verbs, "logs"] + ["retry"] * (m.parent is None or plan_of(m) is None)
