"""Codex's own record of a thread, `$CODEX_HOME/sessions/YYYY/MM/DD/rollout-<time>-<thread id>.jsonl`. Pure.

Measured on codex-cli 0.163.0: the settings are in it before the first request to the model, `exec resume`
appends to the same file, and every total in it is of the whole thread.
https://github.com/openai/codex/blob/main/codex-rs/rollout/src/recorder.rs
"""

from __future__ import annotations

import re
import time

from runner.model import Level
from runner.runtimes import codex_profile
from runner.runtimes.base import UNSET, ObservedSettings, SessionNote
from runner.runtimes.codex_events import context_of, usage_of
from runner.runtimes.jsonvalues import compact, table, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_THREAD = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
_DAY_S = 86_400
_LAST_DAY_S = 250_000_000_000
"""In the year 9892; later times have no date of four digits."""


def folders(home: str, thread_id: str) -> tuple[str, ...]:
    """The three day folders in which the record of this thread may lie.

    A thread id is a UUID of version 7, which begins with the milliseconds of its making (RFC 9562, 5.7). The
    folder is named by the local date of that instant, and how the program sees the zone is its own affair.
    """
    if not home.startswith("/") or not re.fullmatch(_THREAD, thread_id):
        return ()
    made_s = int(thread_id.replace("-", "")[:12], 16) // 1000
    if made_s > _LAST_DAY_S:
        return ()
    days = (time.gmtime(max(0, made_s + shift * _DAY_S)) for shift in (0, -1, 1))
    return tuple(f"{home}/sessions/{time.strftime('%Y/%m/%d', day)}" for day in days)


def note(record: object) -> SessionNote | None:
    """What one line tells of tokens and settings; None for everything else.

    `token_usage_record` comes with the answer of the model, `token_count` only when the tool calls of that
    answer have ended.
    """
    line = table(record)
    kind, payload = text(line.get("type")), table(line.get("payload"))
    at = text(line.get("timestamp"))
    stamp = at if re.fullmatch(_TIME, at) else None
    context = None
    if kind == "turn_context":
        return SessionNote(stamp, observed=_observed(payload))
    if kind == "token_usage_record":
        usage = usage_of(payload.get("thread_token_usage"))
    elif kind == "event_msg" and payload.get("type") == "token_count":
        info = table(payload.get("info"))
        usage, context = usage_of(info.get("total_token_usage")), context_of(info)
    else:
        return None
    return SessionNote(stamp, usage, context=context) if usage or context else None


def _observed(context: Mapping[str, Any]) -> ObservedSettings:
    level, network = _sandbox(context)
    approval = context.get("approval_policy")
    return ObservedSettings(
        model=text(context.get("model")) or None,
        level=level,
        network=network,
        approval=None if approval is None else text(approval) or compact(approval),
        effort=_effort(context),
        is_limited=table(context.get("active_permission_profile")).get("id") == codex_profile.NAME,
    )


def _sandbox(context: Mapping[str, Any]) -> tuple[str | None, bool | None]:
    policy, profile = table(context.get("sandbox_policy")), table(context.get("permission_profile"))
    level = text(policy.get("type")) or (Level.DANGER.value if profile.get("type") == "disabled" else None)
    if level == Level.DANGER:
        return level, True
    # At `read-only` the policy has no word about the network; the profile beside it has one at every level.
    allowed = policy.get("network_access")
    if isinstance(allowed, bool):
        return level, allowed
    named = {"restricted": False, "enabled": True}
    return level, named.get(text(profile.get("network")) or text(allowed))


def _effort(context: Mapping[str, Any]) -> str | None:
    """`effort` is left out when none is set; the settings beside it then say null."""
    settings = table(table(context.get("collaboration_mode")).get("settings"))
    effort = text(context.get("effort")) or text(settings.get("reasoning_effort"))
    if not effort and "reasoning_effort" in settings and settings["reasoning_effort"] is None:
        return UNSET
    return effort or None
