"""Values -> text or JSON. stdout is data, stderr is talk."""

from __future__ import annotations

import sys
import time

from runner.cli import pen
from runner.cli.pen import paint
from runner.disk.git_env import of_agent
from runner.lightjson import dumps
from runner.model import Phase
from runner.text.terminal import revealed
from runner.text.words import failed_before, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TextIO

    from runner.cli.parser import Namespace
    from runner.invocation import Invocation
    from runner.model import Limits, Sandbox, Terms
    from runner.state.manifest import Manifest, SandboxDeclared
    from runner.state.questions import Question
    from runner.usecases.look import Shown

STATUS_COLOURS = {
    "succeeded": "green",
    "running": "cyan",
    "failed": "red",
    "rejected": "red",
    "lost": "red",
    "timed_out": "yellow",
    "cancelled": "yellow",
    "paused": "yellow",
    "waiting": "yellow",
    "unknown": "red",
    "unreadable": "red",
}
_FOREIGN = ("last", "says")
"""Rows that an agent wrote."""
_QUOTED = "  | "
"""How a report begins a line of an output."""


def emit(value: Any) -> None:
    """One JSON document on stdout. JSON between programs is UTF-8 (RFC 8259): what cannot be is escaped."""
    pen.document(dumps(value, ensure_ascii=sys.stdout.encoding != "utf-8"))


def answer(args: Namespace, value: Any, text: str) -> None:
    """What a verb came to: `value` as one JSON document, or for people `text`."""
    if args.format == "json":
        emit(value)
    else:
        pen.say(text)


def status_word(status: str, width: int = 0, stream: TextIO | None = None) -> str:
    """A status in its colour, padded before the colour is put on."""
    padded = status.ljust(width)
    return paint(padded, STATUS_COLOURS[status], stream) if status in STATUS_COLOURS else padded


def manifest_text(
    m: Manifest,
    shown: Shown | None = None,
    *,
    is_ended: bool = False,
    called: Callable[[str], str] = str,
    below: str | None = None,
) -> str:
    """`runner status` for people; `shown` says whether the run is foreign, and `below` tells its children.
    With `is_ended`, what `end_text` tells is left to that. `called` gives the short name of a run.
    """
    foreign, status = (None, m.status) if shown is None else (shown.foreign, shown.status)
    is_at_work = not (m.is_done or m.phase is Phase.WAITING)
    model = f"{m.model or 'default model'}" + (f", effort {m.reasoning_effort}" if m.reasoning_effort else "")
    rows = [
        ("run", m.run_id),
        ("task", m.task_id + (f" - {_title(m.title)}" if m.title else "")),
        ("status", status_word(status) + (" (rehearsal)" if m.rehearsal else "")),
        ("foreign", None if foreign is None else f"{foreign.message} ({foreign.hint})"),
        ("reason", _reason(m)),
        ("executor", None if m.engine is None else "; ".join(filter(None, (m.engine.place, m.engine.told)))),
        ("runtime", f"{m.runtime.name} {m.runtime.version}, {model}"),
        ("sandbox", _sandbox(m.sandbox, m.sandbox.isolation)),
        ("workspace", _workplace(m)),
        ("shell", _shell(m.login_shell_loses)),
        ("drift", _drift(m)),
        ("baseline", failed_before(m.failed_before)),
        ("attempts", ", ".join(one.how for one in m.attempts) if len(m.attempts) > 1 else None),
        ("parent", None if m.parent is None else called(m.parent.run_id)),
        ("children", below),
        ("retry of", None if m.retry_of is None else called(m.retry_of.run_id)),
        ("continues", None if m.continues is None else called(m.continues.run_id)),
        ("started", local_time(m.started_at)),
        ("ended", local_time(m.ended_at)),
        ("paused", f"{m.paused_seconds:g} s" if m.paused_seconds else None),
        ("suspended", f"{m.suspended_seconds:g} s" if m.suspended_seconds else None),
        ("exit", None if m.exit_code is None else str(m.exit_code)),
        ("signal", None if m.signal is None else str(m.signal)),
        ("process", f"pid {m.process.pid}" if m.process and is_at_work else None),
        ("thread", m.thread_id),
        ("tokens", None if is_ended else tokens_text(m)),
        ("context", _context(m)),
        ("last", m.last_activity if is_at_work else None),
        ("survivors", None if is_ended else m.left_over),
        ("manifest", m.manifest_path),
        ("plan", _plan(m, called)),
        ("says", None if m.plan or is_ended else m.last_message),
    ]
    return _table(rows)


def _table(rows: Sequence[tuple[str, str | None]]) -> str:
    """Names and what they have; no value, whatever is in it, can look like a row of its own."""
    return "\n".join(
        f"{paint(f'{name:<10}', 'dim')}{indented(text, is_foreign=name in _FOREIGN)}"
        for name, text in rows
        if text
    )


def _shell(lost: Sequence[str]) -> str | None:
    return f"no login shell: it would lose {', '.join(lost)}" if lost else None


def _reason(m: Manifest) -> str | None:
    if m.reason is None:
        return None
    parts = [f"{m.reason.code}: {m.reason.message}"]
    if m.reason.hint:
        parts.append(f"hint: {m.reason.hint}")
    if m.reason.detail:
        parts.append(m.reason.detail.rstrip())
    return "\n".join(parts)


def _workplace(m: Manifest) -> str | None:
    """Where it works, where that was recorded."""
    return None if m.workspace is None else f"{m.workspace.path} ({m.workspace.kind})"


def _drift(m: Manifest) -> str | None:
    """The settings that are not as they were declared."""
    if m.conformance is None:
        return None
    told = [
        f"{name}: declared {one.declared}, observed {one.observed}"
        for name, one in m.conformance.items()
        if one.verdict == "drift"
    ]
    return paint("; ".join(told), "red") if told else None


def local_time(at: str | None) -> str | None:
    """A time of ours in the zone of whoever reads it, with its name."""
    from runner.state.manifest import parse_timestamp

    return at and time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(parse_timestamp(at)))


def price_text(cost: float, digits: int) -> str:
    """What is not nothing is not shown as 0.00."""
    least = 10.0**-digits
    return f"<{least:.{digits}f}" if 0 < cost < least else f"{cost:,.{digits}f}"


def tokens_text(m: Manifest) -> str | None:
    """What a run has spent so far; None where nothing is known."""
    u = m.usage
    if u.input_tokens is None and u.output_tokens is None:
        return None
    cached = f"({_number(u.cached_input_tokens)} cached)"
    return f"{_number(u.input_tokens)} tokens in {cached}, {_number(u.output_tokens)} out"


def _context(m: Manifest) -> str | None:
    """How full the window of the model is; None where its use is not known."""
    if m.context is None or m.context.used is None:
        return None
    used, window = m.context.used, m.context.window
    return f"{used:,} tokens" + (f" of {window:,} ({used / window:.0%})" if window else "")


def _title(title: str) -> str:
    """One line, whatever a plan or a task calls itself, or a record of a run says."""
    return one_line(title)


def _plan(m: Manifest, called: Callable[[str], str]) -> str | None:
    if m.plan is None:
        return None
    from runner.cli.plan_status import plan_text  # few runs are of plans

    return plan_text(m.plan, called)


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def indented(text: str, width: int = 10, stream: TextIO | None = None, *, is_foreign: bool = False) -> str:
    """A value of a row, whose further lines stand below its first. On a terminal it is wrapped, but no word
    is broken and nothing that has a colour. Of a foreign text no line reaches the margin of any terminal,
    where it would look like one of ours.
    """
    text, room = pen.visible(text).rstrip(), pen.columns(stream)
    is_narrow = room is not None and room < width + 20
    if is_foreign and is_narrow:
        text, width = f"\n{text}", 2
    if room is not None and (is_foreign or not is_narrow) and pen.OURS not in text:
        from runner.text.cells import wrapped

        text = "\n".join(wrapped(text, max(1, room - width), whole_words=not is_foreign))
    return text.replace("\n", "\n" + " " * width)


def fitted(text: str) -> str:
    """Its lines, on a terminal wrapped so that nothing in them, not a long word either, begins at the margin;
    of those that quote an output, each piece has the mark.
    """
    text, room = pen.visible(text), pen.columns()
    if room is None:
        return text
    from runner.text.cells import wrapped

    rows = []
    for line in text.split("\n"):
        mark = _QUOTED if line.startswith(_QUOTED) else ""
        first, *more = wrapped(line.removeprefix(mark), max(1, room - 4))
        rows += [f"{mark}{first}", *(f"{mark or '    '}{row}" for row in more)]
    return "\n".join(rows)


_EXPIRED = {
    "continue": "the run continues without an answer",
    "pause": "the run is paused",
    "fail": "the run fails",
}
"""By `on_expiry`, what becomes of a run whose question nobody answers."""


def questions_text(questions: Sequence[Question], run: str | None = None) -> str:
    """The open ones as `runner status` shows them, each with the way to answer it where `run` is named."""
    word, lines = paint(f"{'question':<10}", "dim"), []
    for question in questions:
        if question.is_open:
            until = (
                f", until {question.expires_at}, then {_EXPIRED[question.on_expiry]}"
                if question.expires_at
                else ""
            )
            head = f"{word}{paint(question.id, 'bold')} to {question.asked}{until}"
            way = f"\n{'':<10}runner answer {run} {question.id}" if run else ""
            lines.append(f"{indented(head)}\n{'':<10}{indented(question.prompt, is_foreign=True)}{way}")
    return "\n".join(lines)


def going(m: Manifest) -> tuple[str, str, str]:
    """Of a run that lives: for how long, its tokens so far, and what it did last; "" is not known."""
    from runner.state.manifest import parse_timestamp

    since = parse_timestamp(m.started_at or m.created_at)
    minutes, seconds = divmod(int(max(0.0, time.time() - since)), 60)
    used = m.usage
    tokens = "" if used.output_tokens is None else f"{used.input_tokens or 0:,} in {used.output_tokens:,} out"
    waits = "for a message (`runner send`) or its end (`runner end`)" if m.phase is Phase.WAITING else ""
    return f"{minutes}:{seconds:02d}", tokens, waits or one_line(m.last_activity or "")


def _sandbox(declared: Sandbox | SandboxDeclared, isolation: str | None) -> str:
    hosts = f" of {', '.join(declared.hosts)}" if declared.hosts else ""
    more = f", network{hosts}" if declared.network else ""
    more += f", not read: {', '.join(map(one_line, declared.deny_read))}" if declared.deny_read else ""
    more += f", isolation: {isolation}" if isolation else ""
    return f"{declared.name} ({declared.level}{more})"


def _made_of(prompt: str, made: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows on the prompt and its parts; `made` is what `usecases.start.examined` tells."""
    names = ((one, f"of which {one['path']} " if one["path"] else "") for one in made["prompt_parts"])
    parts = [f"{one['part']}, {of}{one['characters']:,} characters" for one, of in names]
    size = f"{len(prompt):,} characters, about {made['prompt_tokens_estimate']:,} tokens (an estimate)"
    left_out = [f"{name} {why}" for name, why in made["not_pasted"].items()]
    lists = (("parts", parts), ("left out", left_out))
    return [("prompt", size), *((name, "\n".join(map(one_line, lines))) for name, lines in lists)]


def invocation_text(
    i: Invocation, yours: Mapping[str, Sequence[str]] | None = None, made: Mapping[str, Any] | None = None
) -> str:
    """`runner resolve` for people: the command as it could be typed, then everything beside it."""
    import shlex

    from runner.cli.placing import executor_words  # `resolve` alone pays for it

    limits = i.limits
    rows = [
        ("task", i.task_id + (f" - {i.title}" if i.title else "")),
        ("runtime", f"{i.runtime} {i.version} ({i.program})"),
        ("model", i.model or "the runtime's own default"),
        ("effort", i.reasoning_effort),
        ("sandbox", _sandbox(i.sandbox, i.isolation)),
        ("executor", None if i.executor is None else executor_words(i.executor, i.limits.timeout_s)),
        ("cwd", i.cwd),
        ("env", ", ".join(i.env_names) or "none"),
        ("env set", ", ".join(f"{k}={v}" for k, v in {**i.env_set, **of_agent(i)}.items())),
        ("shell", _shell(i.login_shell_loses)),
        ("yours", "; ".join(_named(kind, names) for kind, names in (yours or {}).items() if names)),
        ("timeout", _seconds(limits.timeout_s)),
        ("idle", _seconds(limits.idle_timeout_s)),
        ("start", _seconds(limits.start_timeout_s)),
        ("open", _open(i.open_timeout_s)),
        ("tokens", _budget(limits)),
        ("signals", _signals(limits)),
        ("scope", ", ".join(i.terms.scope)),
        ("workspace", _workspace(i.terms)),
        ("contract", i.terms.output_contract),
        ("enforced", "the declared settings" if i.terms.conformance == "enforce" else None),
        ("retries", f"{i.recovery.retries} ({', '.join(i.recovery.ladder)})" if i.recovery.retries else None),
        ("verify", "; ".join(shlex.join(argv) for argv in i.verify) or "none"),
        ("prepare", "; ".join(shlex.join(argv) for argv in i.prepare) or None),
        ("on end", shlex.join(i.notify.on_end) or None),
        ("attention", shlex.join(i.notify.on_attention) or None),
        ("on turn", shlex.join(i.notify.on_turn) or None),
        ("ledger", _ledger(i)),
        ("rehearsal", None if i.rehearsal is None else "the scripted model; port 0 is chosen at start"),
        ("manifest", f"{i.manifest_path} (every start has its own run id)"),
        *(_made_of(i.prompt, made) if made else ()),
        ("digests", f"config {i.config_digest}, prompt {i.prompt_digest}"),
    ]
    table = _table([(name, told and revealed(told)) for name, told in rows])
    command, prompt = revealed(shlex.join(i.argv)), revealed(i.prompt)
    return f"{command}\n\n{table}\n\n{paint('prompt on stdin:', 'dim')}\n{prompt}"


def _named(kind: str, names: Sequence[str]) -> str:
    return f"{'MCP servers' if kind == 'mcp_servers' else kind}: {', '.join(names)}"


def _budget(limits: Limits) -> str | None:
    named = (("", limits.tokens), (" with the runs below it", limits.tree_tokens))
    told = [f"{count:,}{of}" for of, count in named if count is not None]
    return ", ".join([*told, *([] if limits.price is None else [f"price {limits.price:g}"])]) or None


def _signals(limits: Limits) -> str:
    """What counts as a stall besides time, and when a limit is warned of."""
    counts = (("repeats", limits.repeats), ("reconnects", limits.reconnects))
    told = [f"{'no limit of' if count is None else count} {name}" for name, count in counts]
    return ", ".join([*told, f"a warning at {limits.warn_at:.0%} of a limit"])


def _workspace(terms: Terms) -> str:
    """Only what differs from a task that says nothing of it stands behind the word."""
    told = [terms.workspace]
    if terms.on_failure is not None:
        told.append(f"{terms.on_failure} on failure")
    if terms.on_conflict != "refuse":
        told.append(f"{terms.on_conflict} on conflict")
    return ", ".join(told)


def _ledger(i: Invocation) -> str | None:
    if i.ledger is None:
        return None
    return f"of task {i.ledger_task}, {f'takes {i.ledger.handoff}' if i.has_handoff else 'takes no handoff'}"


def _open(timeout_s: float | None) -> str | None:
    return None if timeout_s is None else f"waits {timeout_s:g} s for a message after each turn"


def _seconds(value: float | None) -> str:
    return "none" if value is None else f"{value:g} s"
