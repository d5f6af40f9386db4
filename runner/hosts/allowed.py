"""Level `strict`: the calls that a host may make while a run does the work. Pure.

The list is exact, and says what passes: whatever is not on it is denied, harmless or not. A command is one
program and its words, in a form that every shell reads alike. A variable, a pattern, a redirection, a second
command are none, so what a shell would make of them need not be known.
"""

from __future__ import annotations

from runner.hosts import told
from runner.hosts.calls import OtherTool, ShellText

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.hosts.mode import Mode


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DIGITS = frozenset("0123456789")
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_PLAIN = _LETTERS | _DIGITS | frozenset("_@%+=:,./^-")
_VERBS = _words(
    "start retry status list wait await send end logs report diff events inbox answer accept discard pause "
    "resume cancel verify tasks resolve plan check stats diff-runs --help"
)
_SECOND = {
    "ledger": _words("list show note handoff reply send artifact propose wait verify"),
    "audit": _words("show verify"),
    "mode": _words("show"),
}
_REFUSED = _words("--allow-danger --trust --config --yes --parent --raw --rehearse --set")
_GIT = _words(
    "-s --short --porcelain -b --stat --staged --cached --name-only --name-status --oneline -p -n --"
)
_READERS = _words("ls cat head tail wc stat pwd cmp")
_SEARCH = frozenset("nilcwFErRABCgem") | _DIGITS
_TOOLS = _words(
    "Read Glob Grep LS NotebookRead Task Agent Skill TodoWrite ToolSearch AskUserQuestion EnterPlanMode "
    "ExitPlanMode ListAgents TaskOutput BashOutput TaskStop KillShell WebFetch WebSearch SendMessage "
    "ReportFindings update_plan view_image request_user_input request_user_input_async get_goal create_goal "
    "update_goal send_message_to_user_async clocksleep clockcurr_time spawn_agent wait_agent send_input "
    "close_agent resume_agent collaborationspawn_agent collaborationwait_agent collaborationlist_agents "
    "collaborationsend_message collaborationfollowup_task collaborationinterrupt_agent"
)
"""Those of Claude Code, and those of Codex as it names them to a hook: with their group before them."""
BARE = "runner"
_OWN_SERVER = "mcp__runner__"
_ODD = frozenset("\\\u2018\u2019\u201a\u201b\u201c\u201d\u201e")
"""What PowerShell reads otherwise. Codex starts it for a call that asks for it, and tells no hook."""


def refusal(call: ShellText | OtherTool, mode: Mode, *, at_root: bool, is_first: bool = False) -> str | None:
    """Why the call is not on the list; None for one that is. `at_root`: it is made in the repository;
    `is_first`: the name `runner` means the program of the mode.
    """
    if isinstance(call, OtherTool):
        return None if is_listed(call.name) else f"Level strict does not allow the tool {call.name[:80]}."
    words = words_of(call.text)
    if is_first and words and words[0] == BARE:
        words[:1] = mode.program
    is_odd = mode.host == "codex" and not _ODD.isdisjoint(call.text)
    return None if words and not is_odd and _passes(words, mode, at_root=at_root) else told.says(mode)


def is_listed(tool: str) -> bool:
    return tool in _TOOLS or tool.startswith(_OWN_SERVER)


def words_of(text: str) -> list[str] | None:
    """The words of one simple command; None for all that a shell could read as more."""
    words: list[str] = []
    at, is_new = 0, True
    while at < len(text):
        char, piece, end = text[at], text[at], at + 1
        if char in "'\"":
            end = text.find(char, at + 1) + 1
            piece = text[at + 1 : end - 1]
            # Before the closing quote, fish takes a backslash for one that keeps the quote.
            if not end or "\0" in piece or piece.endswith("\\") or (char == '"' and {*piece} & {*"$`\\!"}):
                return None
        elif char == "\\" and text[at + 1 : at + 2] == "'":
            piece, end = "'", at + 2
        elif char not in _PLAIN and char not in " \t":
            return None
        if is_blank := char in " \t":
            piece = ""
        elif is_new:
            words.append("")
        if not is_blank:
            words[-1] += piece
        at, is_new = end, is_blank
    return words


def _passes(words: list[str], mode: Mode, *, at_root: bool) -> bool:
    own = mode.program
    if tuple(words[: len(own)]) == own:
        return _is_ours(words[len(own) :], mode)
    # Elsewhere a check could find settings that the host may edit, and Codex does not always say where.
    if tuple(words) in mode.verify and at_root and mode.host != "codex":
        return True
    name, rest = words[0], words[1:]
    options = [word for word in rest if word.startswith("-")]
    if name == "git":
        if rest[:1] == ["--no-pager"]:
            rest = rest[1:]
        elif mode.host == "codex":  # it gives a command a terminal, and types what it likes into a pager
            return False
        is_look = rest[:1] in (["status"], ["diff"], ["log"], ["show"])
        return is_look and all(one in _GIT or _is_number(one[1:]) for one in rest if one.startswith("-"))
    if name in _READERS:
        is_still = name != "tail" or not any({*one} & {*"fF"} for one in rest if one[:1] in ("-", "+"))
        return is_still and all(_has_only(one, _LETTERS | _DIGITS) for one in options)
    if name in ("grep", "rg"):
        return all(one == "--" or _has_only(one, _SEARCH) for one in options)
    return name == "sed" and len(rest) == 3 and rest[0] == "-n" and _is_range(rest[1]) and len(options) == 1


def _is_ours(words: list[str], mode: Mode) -> bool:
    """A command of runner that changes neither the mode nor what a start is allowed to do."""
    verb, *rest = words or [""]
    if verb not in _VERBS and (not rest or rest[0] not in _SECOND.get(verb, ())):
        return False
    told = [mode.words[n : n + 2] for n, word in enumerate(mode.words) if word == "--set"]
    return all(
        word.partition("=")[0] not in _REFUSED or tuple(words[n : n + 2]) in told
        for n, word in enumerate(words)
    )


def _is_number(text: str) -> bool:
    return bool(text) and _DIGITS.issuperset(text)


def _has_only(option: str, letters: frozenset[str]) -> bool:
    return len(option) > 1 and letters.issuperset(option[1:])


def _is_range(text: str) -> bool:
    """`10p`, `10,20p` or `10,$p`."""
    first, comma, last = text[:-1].partition(",")
    return text[-1:] == "p" and _is_number(first) and (not comma or last == "$" or _is_number(last))
