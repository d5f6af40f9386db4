"""Which programs a command starts, as far as its words, scripts and Makefile tell. Edge: the disk (reads).

Nothing is executed: both branches of an `if` count, and a function counts where it is written. Variables are
known where a command sets PATH, PYTHONPATH or VIRTUAL_ENV, and where a Makefile sets any, in plain words.
"""

from __future__ import annotations

import os

from runner.disk.files import read
from runner.disk.programs import is_executable, on_path, shebang
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LAUNCHERS = {"uv", "poetry", "pdm", "pipenv", "rye"}
"""They start a program in the environment of the project."""
_SHELLS = {"sh", "bash", "dash", "ash", "ksh", "zsh"}
_WRAPPERS = {
    *("env", "timeout", "nice", "ionice", "nohup", "time", "stdbuf", "setsid", "taskset", "flock", "exec"),
    *("xargs", "chronic", "unbuffer", "xvfb-run", "dbus-run-session", "busybox", "command", "builtin"),
}
"""They start the first program among their words."""
_MAKERS = {"make": ("GNUmakefile", "makefile", "Makefile"), "just": ("justfile", "Justfile", ".justfile")}
_KEYWORDS = ("if", "then", "elif", "else", "do", "while", "until", "!", "{", "export")
_HERE = ("$(pwd)", "${PWD}", "$PWD", "$(PWD)", "$(CURDIR)", "$(git rev-parse --show-toplevel)")
_OF_PYTHON = ("PATH", "PYTHONPATH", "VIRTUAL_ENV")
_LONGEST, _LONGEST_VALUE, _MOST_TEXTS, _MOST_VARIABLES = 1 << 16, 256, 20, 50
_MOST_WORDS, _MOST_FOLDERS = 10_000, 200


class Command(Value):
    """A program and its arguments, its variables, and the folder in which it starts."""

    words: tuple[str, ...]
    env: Mapping[str, str]
    folder: str

    def path(self, name: str) -> str:
        return os.path.normpath(os.path.join(self.folder, name))

    def program(self, name: str) -> str | None:
        """The file that a name means here as a program."""
        path = self.path(name) if "/" in name else on_path(name, self.env)
        return path if path is not None and is_executable(path) else None

    def having(self, *settings: str) -> Command:
        """The same with these variables (`NAME=value`)."""
        env = {**self.env, **{one.partition("=")[0]: one.partition("=")[2] for one in settings}}
        path = ":".join(
            self.path(one) for one in env.get("PATH", "").split(":", _MOST_FOLDERS)[:_MOST_FOLDERS] if one
        )
        return self.replace(env={**env, "PATH": path})


def started(command: Command, texts: list[str]) -> Iterator[Command]:
    """What this command starts, in order; itself, where it does not only start others. `texts` were read."""
    words, name = command.words, ""
    for n, word in enumerate(command.words[:_MOST_WORDS]):
        if n and _is_set(word):
            command = command.having(word)
        elif name in LAUNCHERS and (word == "-m" or word.endswith(".py")):
            words, name = ("python", *command.words[n:]), "python"
            break
        elif n == 0 or command.program(word) is not None:
            words, name = command.words[n:], os.path.basename(word)
            if name in LAUNCHERS:
                home = command.env.get("VIRTUAL_ENV") if name not in ("uv", "rye") else None
                home = home or command.path(".venv")
                path = f"{home}/bin:{command.env.get('PATH', '')}"
                command = command.having(f"PATH={path if name == 'uv' or os.path.isdir(home) else ''}")
            is_bare = "run" in words[:4] and (name != "uv" or "--no-sync" in words)
            if name not in _WRAPPERS and not (name in LAUNCHERS and is_bare):
                break
    else:  # nothing, with which whoever asks can end the look
        words, name = ("",), ""
    command, path = command.replace(words=words), command.path(words[0])
    if name in _MAKERS and len(texts) < _MOST_TEXTS:
        yield from _of_text(_recipes(command), command, texts)
    elif name in _SHELLS:
        for n, word in enumerate(words[1:], 1):
            if word[:1] not in ("-", "+") and not (words[n - 1][:1] == "-" and words[n - 1][-1] == "o"):
                is_text = any(one[:1] == "-" != one[1:2] and "c" in one for one in words[1:n])
                yield from _of_text(word if is_text else text_of(command.path(word)), command, texts)
                return
    elif "/" in words[0] and _SHELLS & {os.path.basename(word) for word in shebang(path)}:
        yield from _of_text(text_of(path), command, texts)
    else:
        yield command


def _of_text(text: str, command: Command, texts: list[str]) -> Iterator[Command]:
    """What a shell starts, one command after the other."""
    around: list[Command] = []
    if len(texts) >= _MOST_TEXTS:
        return
    for name in _OF_PYTHON:
        for form in (f"${name}", f"${{{name}}}", f"$({name})"):
            text = text.replace(form, command.env.get(name, ""), _MOST_VARIABLES)[:_LONGEST]
    is_new = text not in texts
    texts.append(text)
    for words in _split(text) if is_new else ():
        while words and words[0] in _KEYWORDS:
            del words[0]
        n = next((n for n, word in enumerate(words) if not _is_set(word)), len(words))
        own, name, following = command.having(*words[:n]), *[*words[n : n + 2], "", ""][:2]
        if n == len(words):
            command = own
        elif name == "(":
            around.append(command)
        elif name == ")":
            command = around.pop() if around else command
        elif name == "cd" and os.path.isdir(command.path(following)):
            command = command.replace(folder=command.path(following))
        elif name in (".", "source") and following.endswith("/bin/activate"):
            home = command.path(f"{following}/../..")
            if os.path.isdir(home):
                command = command.having(f"VIRTUAL_ENV={home}", f"PATH={home}/bin:{own.env['PATH']}")
        elif (name, following) != ("command", "-v"):
            yield from started(own.replace(words=tuple(words[n:])), texts)


def _split(text: str) -> Iterator[list[str]]:
    """The words of each simple command in a shell's text, and each parenthesis."""
    words: list[str] = []
    word, quote, at = "", "", 0
    for name in _HERE:
        text = text.replace(name, ".")
    text = text.replace("\\\n", " ") + "\n"
    while at < len(text):
        char, at = text[at], at + 1
        if char == "\\" and quote != "'":
            word, at = word + text[at : at + 1], at + 1
        elif char == quote or (char in "'\"" and not quote):
            quote = "" if quote else char
        elif quote or char not in " \t\r<>;&|()`\n#" or (char == "#" and word):
            word += char
        elif char == "#":
            at = text.index("\n", at)
        else:
            words, word = [*words, word] if word else words, ""
            if char not in " \t\r<>":
                yield from ([words] if words else [])
                yield from ([[char]] if char in "()" else [])
                words = []


def _recipes(command: Command) -> str:
    """A shell's text of the recipes of the named targets, behind those of what they need; of all where a name
    is in no rule that is written out. Rules of `include` and `%` are not read.
    """
    pairs = [*zip(command.words, command.words[1:], strict=False)]
    folder = next((word for before, word in pairs if before in ("-C", "--directory")), ".")
    goals = [word for _, word in pairs if word[:1] != "-" and word != folder and not _is_set(word)]
    names = (os.path.join(folder, name) for name in _MAKERS[os.path.basename(command.words[0])])
    text = next(filter(None, (text_of(command.path(name)) for name in names)), "")[:_LONGEST]
    known, lines, current = {"MAKE": command.words[0]}, [f"cd {folder}"], [""]
    rules: dict[str, tuple[list[str], list[str]]] = {"": ([], [])}
    for line in text.replace("\\\n", " ").replace("{{", "$(").replace("}}", ")").split("\n"):
        head, sign, value = line.partition("=")
        name = head.rstrip(":?+! ").removeprefix("export ")
        if line[:1].isspace():
            for name in current:
                rules[name][1].append(line.strip().lstrip("@-+"))
        elif sign and name in _OF_PYTHON:
            lines.append(f"{name}={value.strip()}")
        elif sign and name.isidentifier():
            known[name] = value.strip()[:_LONGEST_VALUE]
        elif ":" in line and line[0] != "#":
            current = line.partition(":")[0].split()
            for name in current:
                rules.setdefault(name, ([], []))[0].extend(line.partition(":")[2].split())
    known |= {word.partition("=")[0]: word.partition("=")[2] for word in command.words if _is_set(word)}
    goals = [goal for goal in goals if not goal.isdigit()] or [
        name for name in rules if name[:1] not in ("", ".")
    ][:1]
    waiting = [*(goals if {*goals} <= {*rules} else rules)][::-1]
    order = dict.fromkeys(waiting)
    for name in waiting:
        needs = [need for need in rules[name][0][::-1] if need in rules and need not in order]
        order.update(dict.fromkeys(needs))
        waiting += needs
    for _, recipe in (rules[name] for name in [*order][::-1]):
        is_one = ".ONESHELL" in rules or "".join(recipe[:1]).startswith("#!")
        lines += [f"({part}\n)" for part in (["\n".join(recipe)] if is_one else recipe)]
    text = "\n".join(lines)
    for name, value in [*known.items()][:_MOST_VARIABLES] * 3:
        text = text.replace(f"$({name})", value).replace(f"${{{name}}}", value)[:_LONGEST]
    return text.replace("$$", "$")


def _is_set(word: str) -> bool:
    name, sign, _ = word.partition("=")
    return bool(sign) and name.isidentifier()


def text_of(path: str, limit: int = _LONGEST) -> str:
    """Of a plain file; empty where there is none, or one that is no text."""
    try:
        text = os.fsdecode(read(path, limit, follows_links=True))  # its words are paths, whatever the locale
    except (OSError, ValueError):
        return ""
    return "" if "\0" in text else text
