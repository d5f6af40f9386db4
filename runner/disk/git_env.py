"""What the environment of a caller tells git, as far as runner passes it on. Edge: the environment.

Whom he trusts, who he is and which files have his settings (git(1), git-config(1)): a CI job says it only so.
Not what turns git to another repository, index or program: a hook or an agent may have set that. Nor what is
for remotes, as runner fetches nothing and it may hold secrets.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runner.invocation import Invocation

_MARK = "@runner.invalid"
_COMMITTER = ("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
_KEPT = (
    *("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", *_COMMITTER),
    *("GIT_CONFIG_NOSYSTEM", "GIT_ATTR_NOSYSTEM"),
    *("GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM"),
)
FILES = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM")
"""Files of settings, where they are absolute: a relative one would be looked for in the repository."""
PARAMETERS = "GIT_CONFIG_PARAMETERS"
_SECTIONS = ("safe", "user", "author", "committer", "core", "filter", "init")
_ELSEWHERE = ("core.worktree", "core.bare")
_MOST = 1000


def passed_on(env: Mapping[str, str]) -> dict[str, str]:
    """The variables to pass on. The settings are in one, as `git -c` has them: Codex may keep what is called
    like a KEY from its commands.
    """
    env = unmarked(env)
    kept = {name: env[name] for name in _KEPT if name in env}
    kept |= {name: env[name] for name in FILES if os.path.isabs(env.get(name, ""))}
    pairs = settings(env)
    return {**kept, PARAMETERS: " ".join(f"{_quoted(n)}={_quoted(v)}" for n, v in pairs)} if pairs else kept


def mark(run_id: str) -> str:
    """The e-mail address by which git notes what the agent of a run did, that must not write it."""
    return f"{run_id}{_MARK}"


def of_agent(invocation: Invocation) -> dict[str, str]:
    """What its agent has besides, whoever its caller is for git. Its checks are another's."""
    who = ("runner", mark(invocation.run_id))
    return dict(zip(_COMMITTER, who, strict=True)) if invocation.reaches_git_of_others else {}


def unmarked(env: Mapping[str, str]) -> dict[str, str]:
    """Without the mark of a run: whatever it starts through runner is not its own."""
    is_run = env.get(_COMMITTER[1], "").endswith(_MARK)
    return {name: value for name, value in env.items() if not (is_run and name in _COMMITTER)}


def settings(env: Mapping[str, str]) -> list[tuple[str, str]]:
    """The settings that stand in the environment itself, the strongest last."""
    number = env.get("GIT_CONFIG_COUNT", "")
    most = min(int(number), _MOST) if number.isdecimal() and len(number) < 10 else 0
    names = ((f"GIT_CONFIG_KEY_{n}", f"GIT_CONFIG_VALUE_{n}") for n in range(most))
    found = [(env[key], env[value]) for key, value in names if key in env and value in env]
    if PARAMETERS in env:
        import shlex

        try:
            told = shlex.split(env[PARAMETERS])
        except ValueError:
            told = []
        found += [(name, value) for name, is_set, value in (one.partition("=") for one in told) if is_set]
    return [pair for pair in found if _is_passed_on(pair[0].lower())]


def variables(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Settings as git reads them from its environment."""
    whole = [*pairs]
    made = {"GIT_CONFIG_COUNT": str(len(whole))}
    for number, (name, value) in enumerate(whole):
        made |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return made


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _is_passed_on(name: str) -> bool:
    return name.partition(".")[0] in _SECTIONS and name not in _ELSEWHERE
