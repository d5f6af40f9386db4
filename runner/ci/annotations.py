"""Notices as commands of GitHub's workflows, which shows them beside the lines of a pull request. Pure.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions, and for what is escaped
https://github.com/actions/toolkit, packages/core/src/command.ts. A text of an agent stays inside of the one
line of its command and never begins it, so it can issue none; `::stop-commands::` would stop ours as well.
"""

from __future__ import annotations

from runner.ci.notice import LEVELS
from runner.text.terminal import clean_terminal, escape_unseen
from runner.text.words import count, one_line, shortened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.ci.notice import Notice

_SHOWN = 10
"""So many of each kind are shown of a step, and 50 of a job."""
_KINDS = dict(zip(LEVELS, ("error", "warning", "notice"), strict=True))
_CHARS = 4000


def commands(notices: Sequence[Notice], more: str) -> list[str]:
    """A line each, the gravest first. Where there are too many of a kind, its last says how many are not here
    and then `more`, which tells where they are.
    """
    made = []
    for level, kind in _KINDS.items():
        some = [one for one in notices if one.level == level]
        shown = some if len(some) <= _SHOWN else some[: _SHOWN - 1]
        made += [_command(kind, one) for one in shown]
        if len(some) > len(shown):
            rest = count(len(some) - len(shown), f"more {kind}")
            made.append(f"::{kind} title={_property(rest)}::{_data(f'{rest}: {more}')}")
    return made


def _command(kind: str, one: Notice) -> str:
    file, line = escape_unseen(one.file), one.line if one.file else None
    told = {"file": file, "line": line, "title": one_line(one.title, 200)}
    properties = ",".join(f"{name}={_property(str(value))}" for name, value in told.items() if value)
    return f"::{kind} {properties}::{_data(shortened(one.detail, _CHARS) or one.title)}"


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _data(text: str) -> str:
    """What else would end a line is a line break by then."""
    text = clean_terminal(text)
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
