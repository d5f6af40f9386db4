"""Signs of a cause in the output of programs: the provider, the machine, the code. Pure.

The patterns are for failures of every runtime and every check. They are not compiled here: `re` compiles them
at their first use. A text that matches none gives no sign.
"""

from __future__ import annotations

import re

RATE = r"(?i)\bstatus:? 429\b|\b429 Too Many|too many requests|rate.?limit|high demand|overloaded"
"""The provider allows it again in a while."""

SPENT = r"(?i)insufficient_quota|exceeded your current quota|quota exceeded|usage limit|\bstatus:? 402\b"
"""It does not, until someone pays or a long time has passed."""

_TOLD = r"(?i)(?:try again|retry)[ -](?:in|after):? ((?:\d+(?:\.\d+)? ?[a-z]+,? ?)+)"
_UNITS = {"ms": 0.001, "mil": 0.001, "mo": 2.6e6, "m": 60.0, "h": 3600.0, "d": 86_400.0, "s": 1.0}
"""By how a unit begins; the first that fits counts."""

PROVIDER = (
    r"(?i)\bstatus:? (?:408|409|425|5\d\d)\b|at capacity"
    r"|\b50[0234] (?:Internal|Bad Gateway|Service|Gateway)|high demand|overloaded"
    r"|connection failed|stream disconnected|error sending request|lookup address|connection reset"
    r"|connection refused"
    r"|for network|timed out waiting for (?:the )?(?:provider|response)"
)
"""The provider failed, or was not reached."""

MACHINE = (
    r"No space left on device|Read-only file system|Cannot allocate memory|out of memory|Too many open files"
    r"|command not found|^(?!\S*Error:)\S+: No module named \S+\s*\Z"
    r"|exec format error|error while loading shared libraries"
    r"|(?i:could not resolve host|temporary failure in name resolution|network is unreachable)"
)
"""Something is missing on the machine that no change of the code can add."""

SYNTAX = (
    r"\b(?:SyntaxError|IndentationError|TabError)\b|(?i:\bsyntax error\b|\bparse error\b|parsing error:)"
    r"|\berror TS1\d{3}:|\berror: expected .{1,80}, found\b|error: unexpected token|Unexpected token"
)
"""The code cannot be read at all."""

INTEGRATION = (
    r"\b(?:ModuleNotFoundError|ImportError)\b"
    r"|(?i:cannot find module|unresolved import|undefined reference to)"
    r"|\berror TS230[57]:|\bundefined: \w|unresolved external symbol|\bNoSuchMethodError\b|cannot find symbol"
)
"""Parts do not find each other."""

LOGIC = (
    r"\bAssertionError\b|\bERR_ASSERTION\b|^E  +assert |^FAILED \S+::|^--- FAIL: |^not ok \d"
    r"|\bassertion .{0,80}failed"
    r"|^\s*(?:Expected|expected)\b.{0,200}$\n\s*(?:Received|received|actual|got|to (?:equal|be))|^FAIL: \w"
)
"""It runs, and gives something else than was wanted."""


def told_wait_s(text: str) -> float | None:
    """After how many seconds the provider says that it can be asked again; None where it does not."""
    found = re.search(_TOLD, text)
    if found is None:
        return None
    parts = re.findall(r"([\d.]+) ?([a-z]+)", found[1].lower())
    factors = [next((by for unit, by in _UNITS.items() if name.startswith(unit)), None) for _, name in parts]
    known = [float(count) * by for (count, _), by in zip(parts, factors, strict=True) if by is not None]
    return sum(known) if known else None


def is_limited(text: str, status: int | None = None) -> bool:
    """Whether the provider refuses for a while only: a quota that is spent comes with the same status 429."""
    limited = shows(RATE, text) if status is None else status in (429, 529)
    return limited and not shows(SPENT, text)


def is_providers(text: str, status: int | None = None) -> bool:
    """Whether the provider failed; a status says so before any wording."""
    return shows(PROVIDER, text) if status is None else status in (408, 409, 425) or 500 <= status < 600


def shows(pattern: str, *texts: str | None) -> bool:
    """Whether any of the texts has the sign."""
    return any(text is not None and re.search(pattern, text, re.MULTILINE) for text in texts)
