"""Asking git, through `sh`: bytes in, bytes out. Edge: processes. The only module that knows `sh`.

What git prints goes into an anonymous file and not through `sh`, which reads by lines and in threads: names
are any bytes but NUL. Paths never become arguments (`sh` would encode them strictly); they travel as
NUL-separated stdin, as the working folder, or in the environment.
"""

from __future__ import annotations

import os

import sh

from runner.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import IO

# No hook, no file system monitor and no pager of anybody runs because runner looks; nothing is tidied up.
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.quotePath": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "advice.addEmbeddedRepo": "false",
}


class GitFailed(Conflict):
    """git refused what it should be able to do; its own words are in the message."""

    code = "git_failed"
    default_hint = "try the same in a shell: `git status` in that folder says more"


class Git:
    """git in one working folder, with an environment of its own. Holding one is no claim that it works."""

    def __init__(
        self, cwd: str, more: Mapping[str, str] | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self.cwd = cwd
        self.more = dict(more or {})
        self.settings = dict(settings or {})

    def but(self, **more: str) -> Git:
        """The same with further variables."""
        return Git(self.cwd, {**self.more, **more}, self.settings)

    def but_with(self, settings: Mapping[str, str]) -> Git:
        """The same with further settings of git, above those of every file."""
        return Git(self.cwd, self.more, {**self.settings, **settings})

    def run(self, *args: str, stdin: bytes = b"") -> bytes:
        """Its stdout. GitFailed when it does not exit with 0."""
        status, out, said = self.ask(*args, stdin=stdin)
        if status != 0:
            raise GitFailed(
                f"`git {args[0]}` failed in {os.fsencode(self.cwd)!r}: {said or f'status {status}'}"
            )
        return out

    def ask(self, *args: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        """Exit status, stdout and what it said on stderr, whatever the status is."""
        with open(os.memfd_create("git"), "w+b") as out:
            status, said = self._call(args, stdin, out)
            out.seek(0)
            return status, out.read(), said

    def into(self, path: str, *args: str, stdin: bytes = b"") -> None:
        """As `run`, with its stdout in a new file at `path`, however large it is."""
        with open(path, "xb", opener=_private) as out:
            status, said = self._call(args, stdin, out)
        if status != 0:
            raise GitFailed(f"`git {args[0]}` failed in {os.fsencode(self.cwd)!r}: {said}")

    def line(self, *args: str) -> str | None:
        """Its stdout without the line's end; None when it does not exit with 0."""
        status, out, _ = self.ask(*args)
        return os.fsdecode(out.removesuffix(b"\n")) if status == 0 else None

    def _call(self, args: tuple[str, ...], stdin: bytes, out: IO[bytes]) -> tuple[int, str]:
        with open(os.memfd_create("stdin"), "w+b") as source:
            source.write(stdin)
            source.seek(0)
            try:
                done = sh.Command("git")(
                    *args,
                    _cwd=self.cwd,
                    _env=_environment(self.more, self.settings),
                    _in=source,
                    _out=out,
                    _tty_out=False,
                    _ok_code=tuple(range(256)),
                    _return_cmd=True,
                )
            except sh.CommandNotFound:
                raise GitFailed("there is no git on PATH", hint="install git 2.32 or newer") from None
            except sh.ErrorReturnCode as error:  # ended by a signal
                raise GitFailed(f"`git {args[0]}` did not end by itself: {error.exit_code}") from None
            said: str = done.stderr.decode(errors="replace").strip()
            return int(done.exit_code), said


def joined(paths: Iterable[str]) -> bytes:
    """Names as git reads them with `-z`."""
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def split(data: bytes) -> list[str]:
    """Names as git writes them with `-z`."""
    return [os.fsdecode(part) for part in data.split(b"\0")[:-1]]


def _environment(more: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """Ours without any GIT_ variable: one of a hook or of the agent would turn us to another repository."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    clean |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
    whole = {**_SETTINGS, **settings}
    clean["GIT_CONFIG_COUNT"] = str(len(whole))
    for number, (name, value) in enumerate(whole.items()):
        clean |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    clean.update(more)
    return clean


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
