"""What a person types at a host (`/runner:status`, `$runner:status`), answered by no model. Edge: processes.

Claude Code says who typed a command: a model can fire no such event. On Codex a prompt is a person's unless a
subagent has it, whose prompts are words of a model.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess

from runner.disk.interpreter import command, find_packages
from runner.hosts import told
from runner.hosts.mode import Mode, read
from runner.text.terminal import clean_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_LIMIT_S = 55
_LONGEST = 4000
_ON, _OFF = "mode on", "mode off"
_WORDS = {
    **{"status": "status", "runs": "list", "logs": "logs --tail 40", "report": "report --surface"},
    **{"cancel": "cancel", "answer": "answer", "start": "start"},
    **{"delegate": _ON, "codex-delegate": f"{_ON} codex", "kay-delegate": f"{_ON} kay"},
    **{"stop": _OFF, "codex-stop": f"{_OFF} --of codex", "kay-stop": f"{_OFF} --of kay"},
}
"""What is typed behind these names is put behind the words, but not what is for the model (`_MOST`)."""
_MOST = {"delegate": 2, "codex-delegate": 1, "kay-delegate": 1, "stop": 0, "codex-stop": 0, "kay-stop": 0}
_BEFORE_TEXT = {"start": 1, "answer": 2}
"""So many words stand before a text, which nobody has to quote; options may stand between them."""
FLAGS = (
    "--open --map --rehearse --allow-danger --trust --baseline --dry-run --resume --reset-breaker --as-read "
    "--force-delegate --yes --wait --follow --tie --json --help -h"
)
"""Options of these two behind which no value stands, but for one with `=`."""
_WORD = re.compile(r"""\s*((?:'[^']*'|"[^"]*"|[^\s'"])+)(?=\s|$)""")


def answer(
    host: str, session: str, event: Mapping[str, Any], env: Mapping[str, str]
) -> dict[str, Any] | None:
    """The output of the command as the reason why no model is asked; how to delegate, where the mode is on
    now. None where nothing of ours was typed, or what a skill answers.
    """
    name, rest = _typed(host, event)
    if name not in _WORDS or (name == "answer" and not rest.strip()):
        return None
    words = _WORDS[name].split()
    try:
        if name in _BEFORE_TEXT:
            more, said = _words_and_text(_BEFORE_TEXT[name], rest)
            words += [*more, *((f"--prompt={said}",) if name == "start" else ("--", said))] if said else more
        else:
            more = shlex.split(rest)
            if name in _MOST and "--level" in more:  # the only option that is anybody's to say here
                at = more.index("--level")
                words += more[at : at + 2]
                del more[at : at + 2]
            words += more[: _MOST.get(name)]
        if name in _MOST:
            words += [f"--host={host}", f"--session={session}"]
        if host == "claude" and _WORDS[name].startswith(_ON):
            words.append("--held")  # by the plugin that asks; Codex trusts its two hooks one by one
        own = {"CODEX_SESSION_ID": session} if host == "codex" else {}
        status, text = _run(words, event["cwd"], {**env, **own})
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        status, text = 1, f"runner: {error}"
    mode = read(host, session, env) if status == 0 and _WORDS[name].startswith(_ON) else None
    if not isinstance(mode, Mode):
        return {"decision": "block", "reason": text or "Done."}
    added = {"hookEventName": event["hook_event_name"], "additionalContext": told.context(mode)}
    return {"hookSpecificOutput": added, "systemMessage": told.is_on(mode)}


def _words_and_text(before: int, rest: str) -> tuple[list[str], str]:
    """The words in front, `before` of them and options, and the text behind them as it stands: it may have
    apostrophes and lines. No text where the words say one (`--prompt`, `--`), or where they cannot be told.
    """
    words: list[str] = []
    needs_value, behind = False, rest
    while found := _WORD.match(behind):
        word, is_option = found[1], not needs_value and found[1][0] == "-" != found[1]
        is_option |= words[-1:] == ["--baseline"] and word in ("refuse", "record")
        if word == "--" or not (before or is_option or needs_value):
            break
        before -= not (is_option or needs_value)
        is_bare = "=" not in word and word not in FLAGS.split() and (word[:2] == "--" or len(word) == 2)
        needs_value = is_option and is_bare
        words += shlex.split(word)
        behind = behind[found.end() :]
    text = behind.strip()
    if before or not text or text.startswith("-- ") or any(word.startswith("--prompt") for word in words):
        return shlex.split(rest), ""
    is_quoted = len(text) > 1 and text[0] == text[-1] in "'\"" and text.count(text[0]) == 2
    return words, text[1:-1] if is_quoted else text


def _typed(host: str, event: Mapping[str, Any]) -> tuple[str, str]:
    """The name of ours that was typed, and what stands behind it; nothing where it is none of ours."""
    name, rest = "", ""
    if host == "claude" and event["hook_event_name"] == "UserPromptExpansion":
        if event.get("command_source") == "plugin":
            name, rest = event["command_name"], event.get("command_args") or ""
    elif host == "codex" and "agent_id" not in event:
        name, _, rest = event["prompt"].lstrip().partition(" ")
        name = name.removeprefix("$") if name.startswith("$") else ""
    return (name.removeprefix("runner:") if name.startswith("runner:") else ""), rest


def _run(words: list[str], folder: str, env: Mapping[str, str]) -> tuple[int, str]:
    """The exit status of this runner's command, and what it said, fit to be shown."""
    find_packages()
    main = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "__main__.py")
    done = subprocess.run(
        command(main, *words),
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_LIMIT_S,
    )
    text = clean_terminal(done.stdout.decode(errors="replace")).strip()
    return done.returncode, text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n..."
