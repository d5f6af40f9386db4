"""What a prompt gets from files: a text of its own, the map, and what is pasted. Edge: disk.

What is pasted is what git records or would, with no link on the way, and little; never what may be a secret.
"""

from __future__ import annotations

import errno
import os

from runner.config.sent import kept_back, kept_behind
from runner.disk.files import NoFile, follow, no_follow, read_up_to
from runner.errors import PromptInvalid
from runner.model import MAX_PROMPT_CHARS
from runner.resolve.prompt import FileText
from runner.resolve.reach import is_inside
from runner.text.globs import covers, problem
from runner.text.words import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from runner.model import Config
    from runner.resolve.choose import Choice

OUTSIDE_HINT = (
    "a committed file may only name files in the repository; name this one in delegate.local.toml, your own "
    "settings or on the command line"
)
MOST_FILES = 200
MOST_BYTES = 262_144
"""Of all that is pasted: a quarter of what a prompt may have."""
_MAPS = ("docs/CODEBASE_MAP.md", "CODEBASE_MAP.md", "docs/ARCHITECTURE.md", "docs/architecture.md")


def found(choice: Choice) -> dict[str, Any]:
    """The fields of `Found` for the files that its task and its request name. PromptInvalid."""
    told: dict[str, Any] = {"map_text": _map_text(choice)}
    root, asked, globs = choice.config.root, choice.request.files, choice.task.paste
    for glob in (*asked, *(glob.removeprefix("!") for glob in globs)):
        if (wrong := problem(glob)) is not None:
            raise PromptInvalid(f"the glob `{glob}` {wrong}", hint="write it as 'src/**/*.py'")
    asked = tuple(glob for glob in asked if not os.path.lexists(os.path.join(root, glob)))
    if not (asked or globs):
        return told
    from runner.workspace.git import Git, split

    # What it records, or would: no ignored file. (A folder that is no repository has none.)
    names = sorted({*split(Git(root).run("ls-files", "-z", "-c", "-o", "--exclude-standard"))})
    for glob in asked:
        if not any(covers((glob,), name) for name in names):
            raise PromptInvalid(f"--file: no file matches `{glob}`", hint=f"globs begin in {root}")
    return told | _pasted(choice, names)


def find_map(root: str) -> str:
    """The file that describes the repository, by its usual names, relative. PromptInvalid for none."""
    for name in _MAPS:
        if os.path.isfile(os.path.join(root, name)):
            return name
    raise PromptInvalid(f"no map is there: {', '.join(_MAPS)}", hint="name another file with --map FILE")


def _map_text(choice: Choice) -> str | None:
    path, asked, root = choice.map_path, choice.request.map, choice.config.root
    if path is None:
        return None
    # A relative one was found by its name: see `find_map`.
    inside = within(choice.config, choice.task.id, "map") if not asked else None if asked[0] == "/" else root
    hint = "name another file with --map FILE, or `map` in the task"
    return text(path, hint=hint, inside=inside, denied=choice.sandbox.deny_read)


def within(config: Config, task_id: str, name: str) -> str | None:
    """The folder in which the file has to lie that a task names: the repository, where a committed file names
    it. Else whoever commits it could have any file of the user sent to a model.
    """
    from runner.config.trust import comes_with_repository  # most tasks name no file

    return config.root if comes_with_repository(config.trust, config.origins, task_id, name) else None


def text(path: str, hint: str | None = None, inside: str | None = None, denied: Sequence[str] = ()) -> str:
    """At most one character more than a prompt may have: enough to say that it is too long."""
    try:
        with open(follow(path)[0], encoding="utf-8", newline="") as file:
            # What was opened is asked, not the name: a link may be put there in between.
            place = os.readlink(f"/proc/self/fd/{file.fileno()}")
            if inside is not None and not is_inside(place, os.path.realpath(inside)):
                raise PromptInvalid(f"{path} is outside of the repository", hint=OUTSIDE_HINT)
            if inside and (why := kept_behind(inside, os.path.relpath(path, inside), place, denied)):
                raise PromptInvalid(f"{path} {why}", hint="name a file itself, or one that git tracks")
            return file.read(MAX_PROMPT_CHARS + 1)
    except UnicodeDecodeError as error:
        raise PromptInvalid(
            f"{path} is not valid UTF-8 (byte {error.start + 1})", hint="save it as UTF-8"
        ) from None
    except OSError as error:
        raise PromptInvalid(f"cannot read {path}: {error.strerror}", hint=hint) from None


def _pasted(choice: Choice, names: Sequence[str]) -> dict[str, Any]:
    root, globs, room = choice.config.root, choice.task.paste, MOST_BYTES
    unwanted = [glob[1:] for glob in globs if glob.startswith("!")]
    denied = {*choice.sandbox.deny_read, *map(os.path.realpath, choice.sandbox.deny_read)}
    left = [name for name in names if not covers(unwanted, name)]
    matched = {glob: [name for name in left if covers((glob,), name)] for glob in globs if glob[0] != "!"}
    wanted = dict.fromkeys(name for found in matched.values() for name in found)
    read: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name in wanted:
        try:
            data = _read(root, name, denied, room)
            room -= len(data)
            if room < 0 or len(read) == MOST_FILES:
                paths = [path for one in wanted if os.path.lexists(path := f"{root}/{one}")]
                size = sum(os.lstat(path).st_size for path in paths)
                verb = "matches" if len(paths) == 1 else "match"
                match = f"{count(len(paths), 'file')} of {size:,} bytes {verb}"
                most = f"at most {MOST_FILES} files of {MOST_BYTES:,} bytes together are pasted"
                hint = "take some out with '!GLOB', or only name them with --file GLOB"
                raise PromptInvalid(f"paste: {match}; {most}", hint=hint)
            read[name] = data.decode()
        except OSError as error:
            left_out[name] = "is a link" if error.errno == errno.ELOOP else error.strerror or str(error)
        except UnicodeDecodeError as error:
            message = f"paste: `{name}` is not valid UTF-8 (byte {error.start + 1})"
            raise PromptInvalid(message, hint=f"take it out: '!{name}'") from None
    for glob, found in matched.items():
        if not any(name in read for name in found):
            reasons = [f"{name} {left_out[name]}" for name in found[:20]]
            hint = (
                "these are not pasted"
                if reasons
                else f"globs begin in {root}; what git ignores is not pasted"
            )
            raise PromptInvalid(f"paste: no file to paste matches `{glob}`", hint=hint, problems=reasons)
    return {"pasted": tuple(FileText(*one) for one in read.items()), "not_pasted": left_out}


def _read(root: str, name: str, denied: Iterable[str], room: int) -> bytes:
    """At most one byte more than there is room for. OSError with the reason why it is not to be pasted."""
    if reason := kept_back(root, name, denied):
        raise NoFile(reason)
    fd = no_follow(os.path.join(root, name), os.O_RDONLY)
    try:
        # A folder on the way may be a link, now or since a moment ago.
        if os.readlink(f"/proc/self/fd/{fd}") != os.path.join(os.path.realpath(root), name):
            raise NoFile("is behind a link")
        is_text = b"\0" not in os.pread(fd, 8_000, 0)  # as git looks at it
        data = read_up_to(room + 1, fd, os.fstat(fd).st_size) if is_text else b"\0"
    finally:
        os.close(fd)
    if b"\0" in data:
        raise NoFile("is not text")
    return data
