"""A marker at the very start of a final message: what an agent without tools has put into the ledger. Pure.

    [IMPORTANT] RUNNER_ARTIFACT:
    kind: test_report
    title: pytest -q
    summary: all green
    status: passed
    evidence:
    - pytest -q: 12 passed

`CONTEXTRELAY_` is another spelling of `RUNNER_`. Only what stands before any other text counts, and only the
first: a fenced, quoted or later one is a text like any other. A field goes on to the next one; the last one
ends at a blank line, as what follows is said to whoever reads the message.
"""

from __future__ import annotations

from runner.ledger.entry import (
    MARKED,
    SHAPES,
    EntryInvalid,
    EntryType,
    Items,
    NewEntry,
    checked,
    not_admitted,
)
from runner.text.terminal import clean_terminal
from runner.text.words import few, nearest
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_PREFIXES = ("RUNNER_", "CONTEXTRELAY_")
_START = 1024
"""Blank characters before it that still count as none."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_TO = "HANDOFF_TO_"
"""And who: `to: codex` said in another way."""
_FENCES = ("```", "~~~")
_NO_REASON = "no reason was given"


class _MarkerForm(Value):
    """What can stand in a marker: `text` is the field of what stands there without a name."""

    type: EntryType
    text: str | None
    fields: tuple[str, ...] = ()


FORMS = {
    "NOTE": _MarkerForm(EntryType.NOTE, "text"),
    "ARTIFACT": _MarkerForm(EntryType.ARTIFACT, None, ("kind", "title", "summary", "status", "evidence")),
    "HANDOFF": _MarkerForm(EntryType.HANDOFF, "ask", ("to", "reason", "ask", "context_refs", "lane")),
    "PROPOSE_FINAL": _MarkerForm(
        EntryType.FINALITY_PROPOSED, "summary", ("summary", "evidence", "remaining_risk", "lane")
    ),
}
QUESTIONS = ("READ_CONTEXT", "TASK_STATE")
"""What only asks: nobody answers a message that is final, and it is recorded nowhere."""


def read_marker(message: str | None, speaker: NewEntry) -> NewEntry | None:
    """What the marker of a final message asks to be recorded, said by `speaker`; of one that is wrong, what
    is wrong with it, said by runner. None of a message that begins with none.
    """
    if message is None or MARKED not in message[: _START + len(MARKED)]:
        return None
    text = clean_terminal(message)
    found = _begun(text)
    if found is None:
        return None
    name, body = found
    try:
        return None if name in QUESTIONS else checked(_draft(name, body, speaker))
    except EntryInvalid as error:
        return not_admitted(speaker, error.message, text.strip())


def _begun(text: str) -> tuple[str, str | None] | None:
    """Its name, and what stands behind the colon, which may be missing. A line that is indented by four is
    one of code, and a name that nobody knows is one only with a colon.
    """
    bare = text.lstrip()
    indent = text[: len(text) - len(bare)].rpartition("\n")[2]
    if not bare.startswith(MARKED) or len(indent.expandtabs(4)) > 3:
        return None
    rest = bare[len(MARKED) :].lstrip(" \t")
    prefix = next(filter(rest.startswith, _PREFIXES), None)
    if prefix is None:
        return None
    rest = rest[len(prefix) :]
    name = rest[: len(rest) - len(rest.lstrip(_LETTERS))]
    after = rest[len(name) :]
    if name and after.lstrip(" \t").startswith(":"):
        return name, after.partition(":")[2]
    is_known = name in (*FORMS, *QUESTIONS) and not after[:1].isalpha()
    return (name, None) if is_known else None


def _draft(name: str, body: str | None, speaker: NewEntry) -> NewEntry:
    """EntryInvalid where it cannot be read; what is in it is not looked at."""
    named = name[len(_TO) :].lower() if name.startswith(_TO) else None
    form = FORMS.get("HANDOFF" if named else name)
    if form is None:
        meant = "".join(f"; did you mean {one}?" for one in nearest(name, FORMS))
        known = few([*FORMS, *QUESTIONS], 10)
        raise EntryInvalid(f"there is no marker `{name[:80]}`: known are {known}{meant}")
    if body is None:
        raise EntryInvalid(f"there is no colon behind `{name[:80]}`")
    values = dict(_values(form, [*_unmarked(body)]))
    receiver = values.pop("to", named)
    if named not in (None, receiver):
        raise EntryInvalid(f"it is for {named}, and `to` names another one")
    if form.type is EntryType.HANDOFF:
        values.setdefault("reason", _NO_REASON)
    return speaker.replace(type=form.type, payload=values, to=receiver)


def _unmarked(body: str) -> Iterator[tuple[str, bool]]:
    """The lines up to the next marker, and of each whether it is fenced."""
    fence = None
    for line in body.split("\n"):
        bare = line.strip()
        if fence is None and bare.startswith(MARKED):
            return
        yield line, fence is not None
        if bare[:3] in _FENCES:
            ticks = bare[: len(bare) - len(bare.lstrip(bare[0]))]
            if fence is None:
                fence = ticks
            elif ticks == bare and ticks.startswith(
                fence
            ):  # https://spec.commonmark.org/0.31.2/#fenced-code-blocks
                fence = None


def _values(form: _MarkerForm, lines: list[tuple[str, bool]]) -> Iterator[tuple[str, Any]]:
    """The fields that are there, and what they say."""
    found: dict[str | None, list[str]] = {}
    name: str | None = form.text
    last = None
    for line, is_fenced in lines:
        head, colon, rest = line.partition(":")
        key = head.rstrip().lower()
        if colon and not is_fenced and key in form.fields:
            if any(found.get(key, ())):
                raise EntryInvalid(f"`{key}` stands there twice")
            name, last = key, key
            found[key] = ["" if rest.strip() in ("|", ">") else rest.strip()]
        else:
            found.setdefault(name, []).append(line.rstrip())
    if any(found.pop(None, ())):
        raise EntryInvalid(f"a text stands before its fields, which are {', '.join(form.fields)}")
    for field, said in found.items():
        if isinstance(SHAPES[form.type].get(str(field)), Items):
            yield str(field), _items(said)
        else:
            text = "\n".join(said).strip()
            yield str(field), text.partition("\n\n")[0] if field == last else text


def _items(lines: Iterable[str]) -> list[str]:
    """Each behind a dash, and what its field's own line says; up to a line that belongs to none of them."""
    items: list[str] = []
    for n, line in enumerate(lines):
        bare = line.strip()
        if bare[:2] in ("- ", "* "):
            items.append(bare[2:].strip())
        elif not bare or bare in ("-", "*"):
            continue
        elif n == 0:
            items.append(bare)
        elif items and line[:1].isspace():
            items[-1] = f"{items[-1]} {bare}"
        else:
            break
    return items
