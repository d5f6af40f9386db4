"""What each host calls the things that a plugin needs. Pure."""

from __future__ import annotations

from runner.value import Value

NAME = "runner"
"""Of the plugin, and of the marketplace that has it."""
ID = f"{NAME}@{NAME}"


class Way(Value):
    """`copy` is where the host obeys a copy of its own, below its `folder`, which a variable may move.
    `settings` are files that may turn hooks off, `managed` is where an administrator does, and `off` are the
    keys. `tool` edits files, and the variable `session` has the id of the session.
    """

    install: tuple[str, ...]
    remove: tuple[str, ...]
    folder: tuple[str, str]
    tool: str
    session: str
    then: str
    limits: str
    copy: str | None = None
    left: str = ""
    trust: str | None = None
    settings: tuple[str, ...] = ()
    managed: str = ""
    off: tuple[str, ...] = ()


WAYS = {
    "claude": Way(
        install=("plugin", "install", ID),
        remove=("plugin", "uninstall", ID),
        folder=("CLAUDE_CONFIG_DIR", ".claude"),
        tool="Write",
        session="CLAUDE_CODE_SESSION_ID",
        then="start Claude Code anew, and type /runner:delegate",
        limits="the shell at level guide, and anything at all with disableAllHooks, --bare or --safe-mode; "
        "under -p no end of a run wakes it",
        settings=("settings.json", "settings.local.json"),
        managed="claude-code/managed-settings",
        off=("disableAllHooks", "allowManagedHooksOnly"),
    ),
    "codex": Way(
        install=("plugin", "add", ID),
        remove=("plugin", "remove", ID),
        folder=("CODEX_HOME", ".codex"),
        tool="apply_patch",
        session="CODEX_SESSION_ID",
        then="start Codex anew, and type $runner:delegate",
        limits="the shell at level guide, what is typed into a command that runs, and all of `codex exec` "
        "while the hooks are not trusted, which it passes over without a word; 0.163 cannot be woken",
        copy=f"plugins/cache/{NAME}/{NAME}",
        left="; what Codex keeps of its trust (hooks.state) is left",
        trust="in Codex type /hooks, and trust the two hooks of runner",
    ),
}
