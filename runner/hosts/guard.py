"""What /bin/sh looks at before the hook's program is started: whether a mode is on at all. Pure.

So without a mode the hook costs a tenth of a Python, and needs neither Python nor runner. With one, a hook
that fails, or is gone, denies. Behind the text stand a name for the shell and the words of the hook.
"""

from __future__ import annotations

_STATE = "case $XDG_STATE_HOME in /*) d=$XDG_STATE_HOME;; *) d=$HOME/.local/state;; esac\n"
_FAILED = "runner: delegation is on, and its hook failed: \\`runner plugin doctor\\` says why; without runner"
_ASK = f'"$@" || {{ echo "{_FAILED}, remove $f" >&2; exit 2; }}'
_OF_SESSION = f"{_STATE}f=$d/runner/hosts/claude/$CLAUDE_CODE_SESSION_ID.json"
_GONE = (
    "runner: $0 does not start: it is gone, or broken. Without it, \\`rm '$f'\\` ends a delegation that is on"
)

CLAUDE = f"""{_OF_SESSION}
case $d,$CLAUDE_CODE_SESSION_ID in /.local*|[!/]*|*,) ;; *) [ -e "$f" ] || exit 0;; esac
{_ASK}"""
"""Looks for the mode of the session. Where HOME is missing, Python finds out what is in its place."""
CODEX = f"""{_STATE}f=$d/runner/hosts/codex
case $d in /.local*|[!/]*) ;; *) for one in "$f"/*.json .; do [ ! -e "$one" ] || break; done
[ "$one" != . ] || exit 0;; esac
{_ASK}"""
"""Looks for a mode of any session, as no variable names the own one. It has no single quote in it, as Codex
gives the whole command to the user's shell.
"""
CLAUDE_TYPED = f"""{_OF_SESSION}
"$@" 2>/dev/null || {{
echo "{_GONE} here, and \\`claude plugin uninstall runner@runner\\` takes its plugin away" >&2; exit 2; }}"""
"""Before what answers `/runner:...`. Nothing else of what a person types comes here."""
CODEX_TYPED = '"$@" 2>/dev/null || exit 0'
"""Before what answers `$runner:...`. Every prompt comes here, and without runner each has to go on."""
