"""Calls git: bytes in, bytes out. Edge: processes, standard library only.

It uses `os.posix_spawn`, because importing `subprocess` costs as much as six of these calls, and anonymous
files instead of pipes: they cannot fill up, and git asks /dev/stdin for its size when it reads rules from it.
"""

from __future__ import annotations

import os

from runner.disk import git_env, programs
from runner.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

# A look of runner runs no hook, no file system monitor and no pager, and tidies nothing up.
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.quotePath": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "apply.whitespace": "nowarn",
    "advice.addEmbeddedRepo": "false",
}
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_INT, _KILL = 2, 9
_RESET = (13, 25)
"""PIPE and XFSZ, which Python ignores and git would too. By number (signal(7)): `signal` costs an import."""


_FETCH = "runner fetches nothing: `git fetch --refetch --no-filter` gets what this partial clone lacks"
_TRUST = "if you trust it: `git config --global --add safe.directory PATH`, with the path that git names"
_NO_PROTOCOL = "/"
"""Of a repository inside, an agent may have written the settings: a fetch of what is missing there would run
the program that they name. GIT_NO_LAZY_FETCH forbids it since git 2.45 only. Of the protocols that may be
used (GIT_ALLOW_PROTOCOL, git(1)) this is the only one, and no program can have the name of its helper.
"""
_found: dict[str | None, tuple[str, str | None]] = {}
"""For each PATH, as it is for git, and where git is: looked at once, what comes up there later is ignored."""


class GitFailed(Conflict):
    """git refused what it should be able to do; its own words are in the message."""

    code = "git_failed"
    default_hint = "try the same in a shell: `git status` in that folder says more"


class Git:
    """git in one working folder, with an environment of its own. Holding one is no claim that it works."""

    patience_s = 30.0
    """How long it may run, and then wait, until that counts as without end."""

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
            raise self._failed(args, said or f"status {status}")
        return out

    def run_and_hear(self, *args: str, stdin: bytes = b"") -> str:
        """What it said on stderr, where it has only that to say. GitFailed when it does not exit with 0."""
        status, _, said = self.ask(*args, stdin=stdin)
        if status != 0:
            raise self._failed(args, said or f"status {status}")
        return said

    def ask(self, *args: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        """Exit status, stdout and what it said on stderr, whatever the status is."""
        return self._call(args, stdin)

    def into(self, path: str, *args: str, stdin: bytes = b"") -> None:
        """As `run`, with its stdout in a new file at `path`, however large it is."""
        status, _, said = self._call(args, stdin, path)
        if status != 0:
            raise self._failed(args, said)

    def beginning(self, limit: int, *args: str) -> bytes:
        """The first `limit` bytes of its stdout, and an end for it where it has more to say. Otherwise as
        `run`.
        """
        files: list[int] = []
        data = b""

        def read() -> None:
            nonlocal data
            os.close(files.pop())
            while len(data) < limit and (more := os.read(files[-1], limit - len(data))):
                data += more
            os.close(files.pop())

        try:
            files += (os.memfd_create("stdin"), os.memfd_create("stderr"))
            source, errors = files
            files += os.pipe2(os.O_CLOEXEC)
            status = self._carried_out(args, (source, files[-1], errors), read)
            if status != 0 and len(data) < limit:
                raise self._failed(args, _read(errors).decode(errors="replace").strip())
            return data
        finally:
            for fd in files:
                os.close(fd)

    def line(self, *args: str) -> str | None:
        """Its stdout without the line's end; None when it does not exit with 0."""
        status, out, _ = self.ask(*args)
        return os.fsdecode(out.removesuffix(b"\n")) if status == 0 else None

    def _failed(self, args: tuple[str, ...], said: str) -> GitFailed:
        hint = _FETCH if "promisor remote" in said else hint_of(said)
        return GitFailed(f"`git {args[0]}` failed in {self.cwd}: {said}", hint=hint)

    def _call(self, args: tuple[str, ...], stdin: bytes, path: str | None = None) -> tuple[int, bytes, str]:
        files: list[int] = []
        try:  # in this order: where a stream of ours is closed, one of them may get its number
            files.append(os.memfd_create("stdin"))
            files.append(os.memfd_create("stdout") if path is None else os.open(path, _NEW, 0o600))
            files.append(os.memfd_create("stderr"))
            source, out, errors = files
            _write(source, stdin)
            status = self._carried_out(args, files)
            if status < 0:
                raise GitFailed(f"`git {args[0]}` did not end by itself: {status}")
            said = _read(errors).decode(errors="replace").strip()
            return status, _read(out) if path is None else b"", said
        finally:
            for fd in files:
                os.close(fd)

    def _carried_out(
        self, args: tuple[str, ...], files: Sequence[int], read: Callable[[], None] | None = None
    ) -> int:
        """How it ended; `read` takes what it says meanwhile. It does not outlive an interrupted call, nor is
        it waited for where it waits for what never comes.
        """
        import _signal  # type: ignore[import-not-found]  # built into Python; typeshed has no stub

        pid, before = 0, _signal.pthread_sigmask(_signal.SIG_BLOCK, (_INT,))
        try:
            try:  # a SIGINT in here would come before the number is known
                env = _environment(self.more, self.settings)
                pid = _spawn(("git", "-C", self.cwd, *args), env, files, before)
            finally:
                _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
            if read is not None:
                read()
            while not _has_ended(pid, self.patience_s):
                if _waits(pid, self.patience_s):
                    raise GitFailed(
                        f"`git {args[0]}` waited without end in {self.cwd} and was ended",
                        hint="look for a FIFO in the place of a file",
                    )
        except BaseException:
            if pid:
                os.kill(pid, _KILL)
                os.waitpid(pid, 0)
            raise
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _has_ended(pid: int, within_s: float) -> bool:
    """The status is left to be waited for. True too where the kernel cannot say it: then we wait for it."""
    import select

    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(within_s * 1000))
    finally:
        os.close(fd)


def _waits(pid: int, for_s: float) -> bool:
    """Whether it sleeps all that time, uses nothing, and has started nobody who could be at work for it."""
    before = _used(pid)
    return before is not None and not _has_ended(pid, for_s) and _used(pid) == before


def _used(pid: int) -> str | None:
    """What it has used of a processor; None where it is at work, waits for a disk, or has a child."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            if file.read():
                return None
        with open(f"/proc/{pid}/stat") as file:
            state, *numbers = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return " ".join(numbers[10:12]) if state == "S" else None


def hint_of(said: str) -> str | None:
    """What helps where git refuses a repository of another user; None: the usual."""
    return _TRUST if "dubious ownership" in said else None


def joined(paths: Iterable[str]) -> bytes:
    """Names as git reads them with `-z`."""
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def split(data: bytes) -> list[str]:
    """Names as git writes them with `-z`."""
    return [os.fsdecode(part) for part in data.split(b"\0")[:-1]]


def _environment(more: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """Ours, of git's own variables with those that turn it to no other repository."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    clean |= git_env.passed_on(os.environ)
    clean.pop(git_env.PARAMETERS, None)  # they are among those below, which they would override
    # git looks there for the filters that the user's settings name, as `git-lfs`.
    clean["PATH"] = _place(clean.get("PATH"))[0]
    clean |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
    clean["GIT_ALLOW_PROTOCOL"] = _NO_PROTOCOL
    ours = {**_SETTINGS, **settings}  # last, and so above those of the caller
    clean |= git_env.variables([*git_env.settings(os.environ), *ours.items()])
    clean.update(more)
    return clean


def _spawn(argv: tuple[str, ...], env: Mapping[str, str], streams: Sequence[int], mask: Iterable[int]) -> int:
    moved = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(streams)]
    program = _place(os.environ.get("PATH"))[1]
    try:
        if program is not None:
            return os.posix_spawn(program, argv, env, file_actions=moved, setsigdef=_RESET, setsigmask=mask)
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # it is gone since
        _found.clear()
    raise GitFailed("there is no git on PATH", hint="install git 2.32 or newer")


def _place(path: str | None) -> tuple[str, str | None]:
    if path not in _found:
        used = programs.work_trees_last({} if path is None else {"PATH": path})
        _found[path] = (used, programs.on_path("git", {"PATH": used}))
    return _found[path]


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
    os.lseek(fd, 0, os.SEEK_SET)


def _read(fd: int) -> bytes:
    with open(fd, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()
