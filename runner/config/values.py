"""Rules for single values, beyond their type. Pure, standard library only.

Every function returns the value in its own form, or raises ValueError with what would be right.
"""

from __future__ import annotations

import contextlib
import re
from itertools import pairwise

from runner.config.scripts import SHELLS, scripts_of
from runner.model import Delegation, is_name
from runner.runtimes.overrides import mentions
from runner.text.commandline import words_of
from runner.text.durations import WANTED, parse_duration
from runner.text.problems import near, one_of
from runner.text.versions import parse_constraint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.runtimes.base import Runtime

LEVELS = ("read-only", "workspace-write", "danger-full-access")
TOOLS = Delegation.tools
IN_LIMITS = ("timeout", "idle_timeout")
"""Keys of a task that may stand in its `limits` table instead."""
CONTRACTS = ("final", "closing-turn", "status-block", "findings")
STAGE_KINDS = ("tasks", "plan", "person", "compare")
INPUT_PATTERN = "[a-z][a-z0-9_]{0,63}"
SEVERITIES = ("critical", "important", "minor")
MOST = 10**15 - 1
DEEPEST = 32
GLOB_PATTERN = r"^(?![/~!])(?!(.*/)?\.\.(/|$))[^\n\x00]*[^/\n\x00][^\n\x00]*$"
NAME_PATTERN = r"^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
PLACEHOLDERS = ("title", "n", "batches", "units", "task", "run_id")
"""What a `commit_message` may have in braces."""
BRANCH_PATTERN = (
    r"^(?!-|refs/|(HEAD|@)$)(?!.*(\.\.|//|@\{))(?!(.*/)?\.)(?!.*\.lock(/|$))(?!/)(?!.*[/.]$)"
    r"[^\x00-\x20\x7f~^:?*\[\\]{1,200}$"
)
"""What `git check-ref-format --branch` accepts, as far as a pattern can say it."""
MESSAGE_PATTERN = r"^(?=[\s\S]*\S)([^{}\x00]|\{\{|\}\}|\{(" + "|".join(PLACEHOLDERS) + r")\})*$"
HOST_PATTERN = (
    r"^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$"
)
WORD_PATTERN = r"^[!-,.-~][!-~]{0,199}$(?!\n)"
SSH_HOST_PATTERN = (
    r"^([A-Za-z0-9_][A-Za-z0-9._-]{0,31}@)?[A-Za-z0-9][A-Za-z0-9._-]{0,252}"
    r"(:[1-9][0-9]{0,3}|:[1-5][0-9]{4}|:6[0-4][0-9]{3}|:65[0-4][0-9]{2}|:655[0-2][0-9]|:6553[0-5])?$(?!\n)"
)
OF_EXECUTOR = {
    "slurm": (
        *("partition", "account", "qos", "constraint", "cpus", "memory", "gpus", "time", "max_running"),
        *("requeue", "options"),
    ),
    "ssh": ("hosts", "slots"),
}
"""Kind of an executor -> the keys that it alone has."""
ENGINE_OPTIONS = (
    *("exclude", "exclusive", "hint", "licenses", "mail-type", "mail-user", "nice", "nodelist"),
    *("oversubscribe", "prefer", "priority", "reservation", "switches", "threads-per-core", "tmp", "wckey"),
)
"""Long options of the command of an executor's engine that settings may add."""
ENGINE_FLAGS = ("exclusive", "nice", "oversubscribe")
"""Those that may stand without a value."""
_WORD_WANTED = "expected one word of at most 200 printable ASCII characters that begins with no `-`"
_RELATIVE = re.compile(r"[\w.+@%][\w.+@%/-]*")
_NAME_WANTED = (
    "expected a name of 1 to 64 letters, digits, `.`, `_` or `-` that starts with a letter or "
    "digit and has no `..`"
)


def legal_name(value: str) -> str:
    if not is_name(value):
        raise ValueError(_NAME_WANTED)
    return value


def limit(value: Any) -> float | str:
    try:
        return "none" if value == "none" else parse_duration(value)
    except ValueError:
        raise ValueError(f'expected {WANTED}; or "none" for no limit') from None


def count(value: Any, least: int, *, zero: bool) -> int | str:
    """`zero`: 0 means no limit, too."""
    if value == "none" or (zero and value in (0, "0") and value is not False):
        return "none"
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(MOST)):
        value = int(value)  # of a variable
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST:
        raise ValueError(f'expected a whole number, {least} or more; or "none" for no limit')
    return value


def price(value: Any) -> float | str:
    if value == "none":
        return "none"
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        if not isinstance(value, bool) and 0 < float(value) <= 1e9:  # a text: that of a variable
            return float(value)
    raise ValueError('expected a number above 0; or "none" for no limit')


def glob(value: str) -> str:
    # The same as `text.globs.problem` objects to, and what no path of a repository has.
    wrong = not value or value[0] in "/~!" or ".." in value.split("/") or "\n" in value or "\0" in value
    if wrong:
        raise ValueError('expected a glob relative to the repository, without `..`, e.g. "src/**"')
    return value


def contract(value: Any) -> str | bool:
    if value is False or value == "false":
        return False
    if isinstance(value, str) and value in CONTRACTS:
        return value
    known = ", ".join(f'"{name}"' for name in CONTRACTS)
    raise ValueError(f"expected one of {known} or false{near(value, CONTRACTS)}")


def commands(value: Any) -> list[Any]:
    """The items of `command`: a text alone is one."""
    if not isinstance(value, (str, list)):
        raise ValueError('expected an array of commands, each an array of texts, e.g. [["pytest", "-q"]]')
    return [value] if isinstance(value, str) else value


def command(value: Any) -> list[str]:
    """The words of one command, which is an array of them, or a text."""
    wanted = 'expected an array of texts, e.g. ["pytest", "-q"]'
    if isinstance(value, str):
        words = words_of(value)
        if words and words[0].startswith("-"):
            raise ValueError(f"{wanted}; {value!r} is not a command; the outer brackets are missing")
        value = words
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ValueError(wanted)
    if not value or not value[0]:
        raise ValueError(f"{wanted}; it is empty")
    return [speakable(word) for word in value]


def notice(value: Any) -> list[str]:
    """As `command`, and only as an array; an empty one is no command."""
    words = [] if value == [] else command(None if isinstance(value, str) else value)
    if words and "/" in words[0] and words[0][0] != "/":
        raise ValueError("expected a name on PATH or an absolute path, as it is run in any repository")
    scripts, is_shell = {*scripts_of(words)}, False
    for before, word in pairwise(words):
        is_shell = is_shell or before.rpartition("/")[2] in SHELLS
        # What follows is code and what it gets (`bash -lc`, `perl -pe`, `php -r`), or of stdin.
        is_code = before in ("-", "-s") or before.lower().endswith("-command")
        is_code = is_code or (before[:1] == "-" != before[1:2] and before[-1] in ("c" if is_shell else "ce"))
        if is_code or (not is_shell and before in ("--eval", "--print", "--run", "-p", "-r")):
            break
        is_path = before[:1] != "-" or "/" in word or "." in word  # else it may be what an option means
        if is_path and word in scripts and _RELATIVE.fullmatch(word):
            raise ValueError(f"expected the absolute path of `{word}`, as the command starts in /")
    return words


def speakable(value: str) -> str:
    """No argument, path or prompt can have a NUL (execve(2))."""
    if "\0" in value:
        raise ValueError("expected a text without NUL characters")
    return value


def rehearse(value: Any) -> bool | str:
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    if isinstance(value, bool) or (isinstance(value, str) and value.strip()):
        return value
    raise ValueError("expected true, false or the path of a rehearsal script")


def network(value: Any) -> bool | list[str]:
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"  # of a variable
    if isinstance(value, bool):
        return value
    names = value if isinstance(value, list) else []
    if not names or not all(isinstance(one, str) and re.fullmatch(HOST_PATTERN, one) for one in names):
        raise ValueError(
            'expected true, false or a list of hosts, each a name without port or path, or "*." and a name '
            "for every host below it"
        )
    return [one.lower() for one in names]


def overrides(owned: Mapping[str, str], value: dict[str, Any]) -> dict[str, Any]:
    """`owned` are those of the runtime."""
    heads = {key: key.split(".")[0].strip().strip('"') for key in value}
    found = [(key, owned[head]) for key, head in heads.items() if head in owned]
    found += [(key, where) for key, where in owned.items() if mentions(value, key)]
    for key, where in found:
        raise ValueError(f"`{key}` cannot be set here: {where}")
    odd = next((key for key, one in value.items() if not _plain(one)), None)
    if odd is not None:
        wanted = "expected texts, numbers, true, false, arrays and tables only"
        raise ValueError(f"{wanted}; `{odd}` is none of them")
    if _nested(value) > DEEPEST:
        raise ValueError(f"expected tables and arrays in each other at most {DEEPEST} deep")
    return value


def _nested(value: Any) -> int:
    if not isinstance(value, (dict, list)):
        return 0
    inside = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_nested, inside), default=0)


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_plain(item) for item in value.values())
    if isinstance(value, list):
        return all(_plain(item) for item in value)
    if isinstance(value, float):
        return abs(value) < float("inf")
    return isinstance(value, (str, int))


def constraint(value: str) -> str:
    parse_constraint(value)
    return value


def provider(runtime: Runtime, value: str) -> str:
    aliases = runtime.provider_aliases
    value = aliases.get(value, value)
    if value not in runtime.providers:
        names = (*runtime.providers, *aliases)
        raise ValueError(f"expected one of {one_of(names)}{near(value, names)}")
    return value


def engine_word(value: str) -> str:
    """What can be the value of an option of an engine's command: never an option itself."""
    if not re.fullmatch(WORD_PATTERN, value):
        raise ValueError(_WORD_WANTED)
    return value


def ssh_host(value: str) -> str:
    """What `ssh` takes for a host and never for an option, a command or a URI of another kind."""
    if not re.fullmatch(SSH_HOST_PATTERN, value):
        raise ValueError("expected `[USER@]HOST[:PORT]`, each as its settings of ssh or DNS name it")
    return value


def engine_option(value: Any) -> str:
    """ "" is an option without a value; which may stand so is a rule of `references`."""
    if value is True or value in ("true", ""):
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST:
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"{_WORD_WANTED}, or true for an option without a value")
    return engine_word(value)


def engine_time(value: Any) -> float | str:
    try:
        return "task" if value == "task" else parse_duration(value)
    except ValueError as error:
        raise ValueError(f'{error}; or "task" for what the task may take') from None


def branch(value: Any) -> bool | str:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):  # of a variable
        return bool(value == "true")
    if isinstance(value, str) and re.fullmatch(BRANCH_PATTERN, value):
        return value
    raise ValueError('expected true, false or the name of a branch, e.g. "delegated"')


def commit_message(value: Any) -> str:
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError(f"expected a text that is not empty; it may have {known}")
    if not re.fullmatch(MESSAGE_PATTERN, value):
        plain = value.replace("{{", "").replace("}}", "")
        unknown = [name for name in re.findall(r"\{([^{}]*)\}", plain) if name not in PLACEHOLDERS]
        wrong = f"{{{unknown[0][:40]}}} is not a placeholder" if unknown else "unbalanced brace"
        hint = near(unknown[0], PLACEHOLDERS) if unknown else ""
        raise ValueError(f"{wrong}{hint}; known: {known}; write a literal brace twice")
    return value
