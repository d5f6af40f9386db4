"""What the model behind the stand-in says and does, and Kay's rule about STATUS blocks.

Reads $KAY_HOME/stand-in.toml, a file that the real Kay does not have; `kay.py` lists its keys.
Source of the STATUS rule: the documented contract of Kay 0.9.46.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from kay_settings import Table

__all__ = [
    "Behaviour",
    "compose_answer",
    "load_behaviour",
    "requires_status",
    "salvage_status",
    "satisfies_status",
]

FILE_NAME = "stand-in.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """The script of every run under one home folder. Each field is a key of the file."""

    answer: str | None = None
    status: str | None = None
    events: tuple[Table, ...] = ()
    shell: tuple[str, ...] = ()
    delay_s: float = 0.0
    exit_code: int | None = None
    hang: bool = False
    repeat_line: str = ""
    repeat_times: int = 0
    huge_output_bytes: int = 0
    print_secret: bool = False
    ansi: bool = False
    invalid_utf8: bool = False
    echo_status_in_prompt: bool = False
    no_message: bool = False
    stubborn_grandchild: str = ""
    write_outside: str = ""
    ignore_sigint: bool = False
    ignore_sigterm: bool = False


_CHOICES = {
    "status": ("SUCCESS", "BLOCKED", "none"),
    "stubborn_grandchild": ("", "own-session", "same-group"),
}


def load_behaviour(home: Path) -> Behaviour:
    """The script of this home folder. A wrong key or value is a loud mistake of the test."""
    path = home / FILE_NAME
    if not path.is_file():
        return Behaviour()
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    for key in values.keys() - {known.name for known in fields(Behaviour)}:
        raise SystemExit(f"{path}: unknown key `{key}`")
    if values.get("stubborn_grandchild") is True:
        values["stubborn_grandchild"] = "own-session"
    for key, choices in _CHOICES.items():
        if key in values and values[key] not in choices:
            raise SystemExit(f"{path}: `{key}` must be one of {', '.join(filter(None, choices))}")
    values.update({key: tuple(values[key]) for key in ("events", "shell") if key in values})
    return Behaviour(**values)


def compose_answer(behaviour: Behaviour, prompt: str, *, earlier_messages: int) -> str | None:
    """The final message of the model, `None` when it gives none."""
    if behaviour.no_message:
        return None
    received = f"Received a prompt of {len(prompt)} characters."
    if earlier_messages:
        received += f" The session has {earlier_messages} earlier messages."
    status = behaviour.status
    if behaviour.echo_status_in_prompt:
        status = "BLOCKED"
    if behaviour.answer is not None:
        with_block = status not in (None, "none")
        block = f"\n\n{_status_block(str(status), prompt, '')}" if with_block else ""
        return behaviour.answer + block
    if status is None:
        status = "SUCCESS" if "STATUS:" in prompt else "none"
    return received if status == "none" else _status_block(status, prompt, received)


def _status_block(status: str, prompt: str, notes: str) -> str:
    """The lines that Kay knows, and further ones only if the prompt names them."""
    lines = [f"STATUS: {status}", "FILES_CHANGED: []", "TESTS_RUN: none"]
    if status == "BLOCKED":
        lines.append("BLOCKER: the stand-in was told to be blocked")
    if notes:
        lines.append(f"NOTES: {notes}")
    lines += [f"{name}: []" for name in ("ASSUMPTIONS", "PATTERNS_DISCOVERED") if name in prompt]
    return "\n".join(lines)


_FINAL = (
    "final response",
    "final answer",
    "final message",
    "emit status block",
    "delegation closeout",
)
_REQUIRES = (
    "begin",
    "start",
    "must include",
    "must be exactly",
    "include status",
    "status: success",
    "status: blocked",
    "status: pass",
    "status: fail",
)
_SALVAGED = ("FILES_CHANGED:", "TESTS_RUN:", "BLOCKER:", "NOTES:")


def requires_status(prompt: str) -> bool:
    """Whether the wording of the prompt switches the STATUS contract on."""
    lower = prompt.lower()
    return (
        "status:" in lower
        and any(words in lower for words in _FINAL)
        and any(words in lower for words in _REQUIRES)
    )


def satisfies_status(prompt: str, message: str | None) -> bool:
    """Whether the last message keeps the contract that this prompt asks for."""
    if message is None:
        return False
    upper = message.lstrip(" \t\r\n`").upper()
    if upper.startswith("STATUS:"):
        return True
    lower = prompt.lower()
    included = "must include" in lower or "include status" in lower
    return included and ("STATUS: SUCCESS" in upper or "STATUS: BLOCKED" in upper)


def salvage_status(message: str) -> str | None:
    """The STATUS block in the middle of a message; all but five kinds of line are lost."""
    start = message.upper().find("STATUS:")
    if start < 0:
        return None
    lines: list[str] = []
    for line in map(str.strip, message[start:].splitlines()):
        if lines and not line.upper().startswith(_SALVAGED):
            break
        lines.append(line)
    return "\n".join(lines)
