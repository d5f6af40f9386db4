"""The STATUS block of the sidekick convention, read from a last message as a claim. Pure.

    STATUS: SUCCESS | PARTIAL | FAILED | BLOCKED
    FILES_CHANGED: [src/a.py, src/b.py]
    ASSUMPTIONS: [...]
    PATTERNS_DISCOVERED: [...]
    TESTS_RUN: ...
    BLOCKER: ...
    NOTES: ...

Only the last message counts: a prompt or a log contains the template, which is not a report. The last block
wins, since an earlier one may be a quotation. A key may be in Markdown (`**STATUS:**`); a list may be in
brackets, as JSON, with commas, or one item per line after `-`.
"""

from __future__ import annotations

import re

from runner.text.terminal import clean_terminal
from runner.verify.claim import MAX_RESULT_BYTES, Claim, NoClaim, invalid, missing, paths, shown

STATUSES = {"SUCCESS": "completed", "PARTIAL": "partial", "FAILED": "failed", "BLOCKED": "blocked"}
KEYS = ("STATUS", "FILES_CHANGED", "ASSUMPTIONS", "PATTERNS_DISCOVERED", "TESTS_RUN", "BLOCKER", "NOTES")

# Only blanks of the same line: over a long run of empty lines anything else would take for ever.
_KEY = rf"(?m)^[ \t`*>#-]*({'|'.join(KEYS)})[ \t*`]*:[ \t*`]*([^\n]*)$"
_ITEM = r"[ \t>]*[-*][ \t]+(\S.*)"
_NOTHING = ("", "none", "n/a", "na", "nothing", "-", "[]")
_SUMMARY_CHARS = 4000


def read_status_block(last_message: str | None) -> Claim | NoClaim:
    """The claim of the last STATUS block of the last message."""
    if last_message is None or not last_message.strip():
        return missing("the agent gave no last message")
    if len(last_message) > MAX_RESULT_BYTES:
        # The block stands at the end; only what a person reads before it is lost.
        last_message = last_message[-MAX_RESULT_BYTES:]
    text = clean_terminal(last_message)
    lines = list(re.finditer(_KEY, text))
    begin = next((n for n in reversed(range(len(lines))) if lines[n][1] == "STATUS"), None)
    if begin is None:
        return invalid("the last message has no STATUS block")
    status = _status(lines[begin][2])
    if isinstance(status, NoClaim):
        return status
    values = _values(text, lines[begin:])
    files = paths(_items(values.get("FILES_CHANGED", "")))
    if isinstance(files, NoClaim):
        return files
    word, rest = status
    blocker = _line(values.get("BLOCKER", "")) or (rest if word == "blocked" else "")
    return Claim(
        status=word,
        files_modified=files,
        issues=(blocker,) if blocker else (),
        summary=_line(values.get("NOTES", ""))
        or rest
        or text[: lines[begin].start()].strip()[-_SUMMARY_CHARS:],
        verification_summary=", ".join(_items(values.get("TESTS_RUN", ""))),
        assumed=tuple(_items(values.get("ASSUMPTIONS", ""))),
    )


def last_block(text: str) -> str | None:
    """The last STATUS block of a text as it stands there, up to its end; None where there is none."""
    begin = [line.start() for line in re.finditer(_KEY, text) if line[1] == "STATUS"]
    return text[begin[-1] :] if begin else None


def _status(value: str) -> tuple[str, str] | NoClaim:
    """The status in our words, and what stands behind it on its line."""
    found = re.match(r"([A-Za-z_]+)[ \t`*.]*(.*)", value)
    word = found[1].upper() if found else ""
    rest = found[2].strip() if found else value
    if rest.startswith(("|", "/")) or re.match(r"[\[<{(]", value):
        return invalid(f"the last STATUS line is a template and not filled in: `{shown(value)}`")
    if word not in STATUSES:
        known = ", ".join(STATUSES)
        return invalid(f"the last STATUS line says `{shown(value)}`; it must be one of {known}")
    return STATUSES[word], rest.lstrip("-:, ")


def _values(text: str, lines: list[re.Match[str]]) -> dict[str, str]:
    """Key -> its line and what follows, up to the next key. The first of two equal keys wins."""
    values: dict[str, str] = {}
    for n, line in enumerate(lines):
        end = lines[n + 1].start() if n + 1 < len(lines) else len(text)
        values.setdefault(line[1], line[2].rstrip() + text[line.end() : end])
    return values


def _items(value: str) -> list[str]:
    """A list, however it is written: its own line if that has something, else the items below it."""
    first, _, below = value.partition("\n")
    if first.strip().startswith("["):
        whole = value[: value.index("]") + 1] if "]" in value else first
        found = _json_items(whole) or whole.strip().strip("[]").replace("\n", ",").split(",")
    elif first.strip():
        found = first.split(",")
    else:
        found = []
        for line in below.split("\n"):
            if item := re.match(_ITEM, line):
                found.append(item[1])
            elif line.strip() and not line.strip().startswith("```"):
                break
    plain = (item.strip().strip("`\"'").strip() for item in found)
    return [item for item in plain if item.lower() not in _NOTHING]


def _json_items(text: str) -> list[str]:
    import json

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [item for item in value if isinstance(item, str)]


def _line(value: str) -> str:
    """The text of a key on its own line, or of the paragraph that begins below it."""
    text = value.strip().split("\n\n", 1)[0].strip().rstrip("`").strip()
    return "" if text.lower() in _NOTHING else text
