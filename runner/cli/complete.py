"""The hidden verb that a shell asks when Tab is pressed, and the few lines by which it asks. Edge: stdout.

`runner __complete SHELL WORD...`: the words behind `runner`, the last of which is being typed. The answer is
a line for each thing that it can become: the word, and behind a tab what it is. Exit status 1 leaves the word
to the shell, which knows the files. Whatever goes wrong is no line: nobody asked a question.
"""

from __future__ import annotations

import os

from runner.cli import pen
from runner.cli.parser import HIDDEN, here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runner.cli.parser import Option, Parser

    Names = dict[str, str]

# No program of the folder one is in: `runner` is the one of PATH, whatever was typed.
SCRIPTS = {
    "bash": """\
_runner() {
    local found value
    COMPREPLY=()
    found=$(command runner __complete bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null) || compopt -o default
    while IFS=$'\\t' read -r value _; do
        [[ -z $value ]] || COMPREPLY+=("$value")
    done <<<"$found"
}
complete -o nosort -F _runner runner 2>/dev/null || complete -F _runner runner
""",
    "zsh": """\
#compdef runner
_runner() {
    local found line
    local -a values shown
    found=$(command runner __complete zsh "${(@)words[2,CURRENT]}" 2>/dev/null) || { _files; return }
    for line in "${(@f)found}"; do
        values+=("${line%%$'\\t'*}")
        shown+=("${line/$'\\t'/  -- }")
    done
    [[ -z $found ]] || compadd -V runner -l -d shown -a values
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _runner "$@"; else compdef _runner runner; fi
""",
    "fish": """\
function __runner_complete
    set -l words (commandline -opc)
    set -e words[1]
    set -l typed (commandline -ct)
    command runner __complete fish $words "$typed" 2>/dev/null
    or __fish_complete_path "$typed"
end
complete -c runner -f -k -a '(__runner_complete)'
""",
}
_VALUES = {
    **{
        "--task": ("tasks",),
        "--run": ("runs",),
        "TASK": ("tasks",),
        "RUN": ("runs",),
        "TASK|RUN": ("tasks", "runs"),
    },
    **{"--model": ("models",), "--sandbox": ("sandboxes",), "--runtime": ("runtimes",)},
    **{"--effort": ("efforts",), "--to": ("tasks", "runtimes"), "OWNER": ("tasks",)},
    **{
        "--status": ("states",),
        "NAME": ("schemas",),
        "PIPELINE": ("pipelines",),
        "--executor": ("executors",),
    },
    **{"TARGET": ("tasks", "runtimes"), "RUNTIME": ("runtimes",)},
}
"""What a value is, by the name of its option or the metavar of a positional."""
_FILES = ("FILE", "GLOB", "SCRIPT", "DIR", "PATH", "MANIFEST")


def run(words: Sequence[str], verbs: Names, parser_of: Callable[[str], Parser]) -> int:
    """The exit status; nothing is ever said on stderr. `verbs` are what can come first."""
    try:
        shell, *rest = words
        typed = [word.strip("\"'") for word in rest]
        *before, current = _joined(typed) if shell == "bash" else typed
        head, equals, value = current.partition("=")
        is_value = bool(equals) and head[:2] == "--"
        if is_value:
            before, current = [*before, head], value
        if before[:1] == ["help"]:
            before = before[1:]
        if (two := " ".join(before[:2])) in verbs and len(before) > 1:
            before = [two, *before[2:]]
        seconds = _behind(verbs, before)
        found = _fitting(seconds, current) if seconds else _words(parser_of, before, current)
        if found is None:
            return 1
        start = f"{head}=" if is_value and shell != "bash" else ""
        lines = [f"{start}{word}\t{text}".rstrip() + "\n" for word, text in found.items()]
        pen.raw("".join(lines).encode(errors="replace"))
    except Exception:
        return 0
    return 0


def _behind(verbs: Names, before: Sequence[str]) -> Names:
    """The words of verbs that can come next: the first ones, or the second ones of that first one."""
    start = " ".join((*before, ""))
    found = ((verb.removeprefix(start), text) for verb, text in verbs.items() if verb.startswith(start))
    return {word: text for word, text in found if " " not in word}


def _joined(words: Sequence[str]) -> list[str]:
    """Of `--task=x` bash makes three words, and of `@latest` two (COMP_WORDBREAKS)."""
    joined: list[str] = []
    for word in words:
        last = joined[-1] if joined else ""
        if last[-1:] == "@" or (last[:2] == "--" and (word[:1] == "=" or last[-1:] == "=")):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _words(parser_of: Callable[[str], Parser], before: list[str], typed: str) -> Names | None:
    """What the word behind those before can become; None is a file."""
    if before[-1][:2] == "--" and before[-1] in _VALUES and " " not in before[0]:
        return _values(before[-1], before, typed)
    options = parser_of(before[0]).declared
    waiting, loose = None, 0
    for word in before[1:]:
        if word[:1] == "-":
            takers = (one for one in options if one.told.get("action", "store") in ("store", "append"))
            waiting = next((one for one in takers if word in one.names), None)
        elif waiting is None:
            loose += 1
        else:
            waiting = None
    places = [one for one in options if one.names[0][:1] != "-"]
    if waiting is None and places:
        is_last = loose >= len(places) and places[-1].told.get("nargs") == "+"
        waiting = places[-1] if is_last else places[loose] if loose < len(places) else None
    if typed[:1] == "-" or (waiting is None and not typed):
        shown = [one for one in options if one.names[0][:1] == "-" and one.told.get("help") != HIDDEN]
        return _fitting({one.names[-1]: str(one.told.get("help") or "") for one in shown}, typed)
    return {} if waiting is None else _of(waiting, before, typed)


def _of(option: Option, before: list[str], typed: str) -> Names | None:
    """The values that it can have."""
    name, metavar = option.names[-1], option.told.get("metavar", "")
    if choices := option.told.get("choices"):
        return _fitting(dict.fromkeys(map(str, choices), ""), typed)
    if metavar in _FILES or (metavar in _VALUES and "/" in typed):
        return None
    return _values(name if name in _VALUES else metavar, before, typed)


def _values(name: str, before: list[str], typed: str) -> Names:
    from runner.usecases import names

    config = before[before.index("--config") + 1] if "--config" in before[:-1] else None
    found: Names = {}
    for kind in _VALUES.get(name, ()):
        found |= names.of(kind, typed, here(), os.environ, config)
    return _fitting(found, typed)


def _fitting(found: Names, typed: str) -> Names:
    return {word: text for word, text in found.items() if word.startswith(typed)}
