"""Which files a command may execute, as far as its words tell: programs, scripts, lines of shells. Pure.

Nothing is known of what a script starts in turn. Where it cannot be known which word is the file, all that
may be it are.
"""

from __future__ import annotations

from runner.text.expansion import filled, is_loose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SHELLS = ("sh", "bash", "dash", "ash", "ksh", "zsh", "fish")
_INTERPRETERS = (
    *(*SHELLS, "python", "python2", "python3", "pypy", "pypy3", "node", "deno", "bun", "tsx", "ts-node"),
    *("perl", "ruby", "php", "lua", "pwsh", "Rscript", "tclsh", "expect", "julia", "groovy", "scala", "java"),
    *("elixir", "escript", "racket", "guile", "nu"),
)
_AFTER_OPERANDS = (
    *("chroot", "docker", "find", "flock", "nerdctl", "parallel", "podman", "runuser", "script", "ssh", "su"),
    *("xargs", "docker-compose", "nix"),
)
"""Launchers with words before the command that are no options: which word it is cannot be known."""
_LAUNCHERS = (
    *_AFTER_OPERANDS,
    *("env", "timeout", "nice", "ionice", "nohup", "time", "stdbuf", "setsid", "taskset", "exec", "command"),
    *("sudo", "doas", "chronic", "unbuffer", "xvfb-run", "dbus-run-session", "busybox", "coverage"),
    *("chrt", "fakeroot", "ltrace", "nsenter", "numactl", "pkexec", "prlimit", "setarch", "setpriv"),
    *("strace", "systemd-run", "unshare", "watch"),
    *("uv", "uvx", "poetry", "pipenv", "pdm", "rye", "hatch", "pixi", "conda", "mise", "direnv", "dotenv"),
    *("npx", "npm", "pnpm", "pnpx", "yarn", "bunx", "bundle"),
    *("micromamba", "mamba", "cross-env", "cross-env-shell", "env-cmd", "c8", "nyc"),
)
_SWITCHES = (
    *("-i", "-q", "--quiet", "-y", "--yes", "-T", "--silent", "--verbose", "--frozen", "--locked"),
    *("--offline", "--isolated", "--all-extras", "--rm", "--recursive"),
)
"""Options of launchers that have no value in any of them: the word behind is the command."""
_RUNNERS = ("pytest", "py.test", "jest", "vitest", "mocha", "rspec", "phpunit")
"""What they are given are tests, which agents may have to change."""
_RUN_SCRIPTS = ("pdb", "ipdb", "cProfile", "profile", "trace", "debugpy", "memory_profiler", "pyinstrument")
"""Modules of Python that execute the script behind them."""
_VERBS = (
    *("run", "exec", "x", "dlx", "tool", "if", "then", "else", "elif", "while", "until", "do", "!"),
    *("eval", "trap", "coproc", "builtin", "export", "declare", "typeset", "readonly"),
)
"""Words of launchers and of shells before a command."""
_BETWEEN = str.maketrans(dict.fromkeys(";&|(){}`", "\n"))
_QUOTED = r"""\\.|'[^']*'|"(?:\\.|[^"\\])*\""""
_PLACE = rf"[&|]?\s*(?:{_QUOTED}|[^\s;&|()<>`'\"\\])+"
_DESCRIPTOR = r"(?<![^\s;&|(){}])[0-9]+"
_OUTPUT = rf"(?s)({_QUOTED})|(?:{_DESCRIPTOR}|&)?>{{1,2}}{_PLACE}"
_STREAMS = rf"(?s)({_QUOTED})|(?:{_DESCRIPTOR})?(?:>{{1,2}}|<{{1,3}}){_PLACE}"
"""In a line of a shell: what is quoted (the group), and where output goes, or input comes from as well."""
_END = rf"(?s)({_QUOTED})|[;&|()`\n]|(?<!\S)[{{}}](?!\S)|<"
"""What ends a simple command, and `<`."""
_GIVEN = r'("?)\$\{?([0-9@*])\}?\1'
_MOST_GIVEN = 1 << 18
_LOADERS = (
    *("--import", "--require", "--loader", "--experimental-loader", "--preload", "--load", "--import-map"),
    *(
        "--rcfile",
        "--init-file",
        "--env-file",
        "--env-file-if-exists",
        "--config",
        "--snapshot-blob",
        "--init",
    ),
    *("--test-reporter", "--test-global-setup", "auto_prepend_file", "auto_append_file", "--project"),
    *("--experimental-default-config-file", "--class-path", "--module-path", "--sysimage"),
)
"""Options of interpreters whose value is executed, or says what is."""
_READERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("make", "gmake", "bmake", "remake"), ("-f", "--file", "--makefile")),
    **dict.fromkeys(("awk", "gawk", "mawk", "sed", "gsed", "psql", "mvn", "mvnw"), ("-f", "--file")),
    **{"just": ("-f", "--justfile"), "task": ("-t", "--taskfile"), "rake": ("-f", "--rakefile")},
    **{"ninja": ("-f",), "cmake": ("-P",), "nox": ("-f", "--noxfile"), "ant": ("-f", "-file", "-buildfile")},
    **{"gradle": ("-b", "-I", "--build-file", "--init-script"), "gdb": ("-x", "--command")},
}
"""Programs with options whose value is a file that says what they execute."""
_STARTUP = (
    *("BASH_ENV", "ENV", "PYTHONSTARTUP", "NODE_OPTIONS", "BUN_OPTIONS", "RUBYOPT", "PERL5OPT", "LD_PRELOAD"),
    *("LD_AUDIT", "MAKEFILES", "MAKEFLAGS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"),
)
"""Variables with files in them that a program executes before it does anything else."""
_POURS = ("cat", "tac", "head", "tail", "sed", "zcat", "bzcat", "xzcat", "gunzip", "base64", "envsubst")
_INPUT = "./stdin"
_INLINE = (
    r"(?:^|[\s;&|(])(?:eval|-\w*c|source|\.|\w*sh)\s+[\"']?(?:\$\(|`|<\()\s*(?:cat\s|<)\s*([^\s;&|()`]+)"
)
"""The file of `eval "$(cat FILE)"`, `sh -c "$(< FILE)"` and `. <(cat FILE)`."""
_FOLDERS = (
    *("cd", "pushd", "-C", "--chdir", "--directory", "--cwd", "--prefix", "--wd", "-w", "-D"),
    "--working-directory",
)
"""What has a folder behind it, in which the rest of a command runs."""
MOST_FOLDERS = 16
_EXECUTES = ("-exec", "-execdir", "-ok", "-okdir")


class _Line(str):
    """A word that is executed as a line of a shell."""

    __slots__ = ()


def scripts_of(command: Sequence[str]) -> Iterator[str]:
    """The files that a command may run, as far as its words tell: its program if that is a path, and what a
    well-known interpreter is given, also behind `env` or another launcher. Of a module (`python -m pytest`)
    nothing comes here. Of `bash -o pipefail ci/test.sh` it cannot be known which word belongs to
    the option: both may be.
    """
    yield from dict.fromkeys(name for _, names in commands_of(command) for name in names)


def commands_of(command: Sequence[str]) -> Iterator[tuple[Sequence[str], list[str]]]:
    """Each simple command in it, those of lines of shells included: its words, and the files it may run."""
    left, lines = [tuple(command)], set[str]()
    for words in left:  # which grows
        found = [*_found(words)]
        yield words, [one for one in found if not isinstance(one, _Line)]
        for line in found:
            if isinstance(line, _Line) and line not in lines:
                lines.add(line)
                for here in filled(line):
                    yield (), [*_named_in(here)]
                    left += dict.fromkeys(("env", *part) for part in _parts(here))  # variables stand before


def _found(command: Sequence[str]) -> Iterator[str]:
    """The files that one simple command may run, and the lines of a shell in it."""
    words, is_launched, was_option, is_open = [*command][::-1], False, False, False
    launcher, operands = "", 0
    readers = {**_READERS}  # each is looked at once
    while words:
        word = words.pop()
        if is_launched and word.startswith("-"):
            if word in ("-m", "--module") and launcher in ("coverage", "uv"):
                return
            was_option = not _is_switch(launcher, word)
            if (line := _line_of_env(word, words)) is not None:
                yield _Line(line)
                words += _split(line)[::-1]
            elif is_open and word[:2] in ("-c", "--"):
                yield _Line(_line_of_option(word, "") or "")
            continue
        name = word.rpartition("/")[2]
        is_before = is_launched and _is_of_launcher(word)
        if options := readers.pop(name, ()):
            yield from _of_reader(options, words[::-1])
        yield from _of_variable(word) if is_before else _of_word(word, is_launched)
        is_surely_it = not is_open and not was_option
        if name in _RUNNERS and is_launched and not was_option and (not is_open or operands):
            return
        operands = 0 if word in _VERBS else operands + 1
        if name == "find" and is_surely_it:
            yield from _of_find(words[::-1])
            return
        if name == "script" and is_surely_it:
            line, is_first = _line_of_script(words[::-1])
            yield _Line(line)
            if is_first:
                return
        if word in (".", "source") or name.rstrip("0123456789.") in _INTERPRETERS:
            yield from _interpreted(name, words[::-1])
            return
        is_launcher = name in _LAUNCHERS or (name == "go" and words[-1:] == ["run"])
        launcher, operands = (name, 0) if is_launcher else (launcher, operands)
        is_launched, is_open = is_launched or is_launcher, is_open or name in _AFTER_OPERANDS
        if not is_launched:
            return
        if not is_launcher and not (was_option or is_before or is_open):
            return
        was_option = False


def _of_word(word: str, is_launched: bool) -> Iterator[str]:
    if "/" in word or (is_launched and "." in word):
        yield word
    if is_launched and " " in word:  # `su -c "sh ci/test.sh"`
        yield _Line(word)


def _is_switch(launcher: str, option: str) -> bool:
    """Whether no value of the option stands behind it."""
    is_own = (launcher == "pnpm" and option == "-r") or (launcher == "stdbuf" and len(option) > 2)
    return is_own or "=" in option or option in _SWITCHES or option.startswith("--no-")


def _is_of_launcher(word: str) -> bool:
    """A verb of its own, a number or duration, or a variable: not yet the command."""
    return word in _VERBS or "=" in word or (word[:1].isdigit() and "/" not in word)


def _line_of_env(option: str, words: list[str]) -> str | None:
    """The whole command that `env -S` gets in one word, taken from the `words` that are left."""
    if option in ("-S", "--split-string"):
        return words.pop() if words else None
    for start in ("--split-string=", "-S"):
        if option.startswith(start):
            return option.removeprefix(start)
    return None


def _of_variable(word: str) -> Iterator[str]:
    """The files of `BASH_ENV=ci/env` or `NODE_OPTIONS=--require=./t.js`."""
    name, _, value = word.partition("=")
    if name in _STARTUP:
        import re

        yield from filter(None, re.split(r"(?<!\S)-[A-Za-z]+(?=[./])|[\s:,=]+", value))


def _of_reader(options: Sequence[str], words: Sequence[str]) -> Iterator[str]:
    """The files that these options name: `-f FILE`, `-kfFILE`, `--file=FILE`, `--fi FILE`; of `-`, which is
    what comes in, the last word.
    """
    letters, long = {one[1] for one in options if len(one) == 2}, [one for one in options if len(one) > 2]
    for word, following in zip(words, (*words[1:], ""), strict=False):
        head, is_set, value = word.partition("=")
        letter = next((one for one in word[1:] if one in letters), None)
        if head[2:] and any(one.startswith(head) for one in long):
            value = value if is_set else following
        elif word[:1] == "-" != word[1:2] and letter is not None:
            value = word.partition(letter)[2] or following
        else:
            continue
        yield from words[-1:] if value == "-" else [value]


def _of_find(words: Sequence[str]) -> Iterator[str]:
    """What it executes. The places where it looks, and what it compares with, it only reads."""
    part: list[str] | None = None
    for word in (*words, _EXECUTES[0]):
        if word in _EXECUTES:
            yield from _found(["env", *(part or ())])
            part = []
        elif part is not None:
            part.append(word)


def _line_of_option(option: str, following: str) -> str | None:
    """That of `--command=LINE`, `-c LINE` or `-qecLINE`."""
    name, _, value = option.partition("=")
    if name[:3] == "--c" and "--command".startswith(name):
        return value or following
    is_it = option[:1] == "-" != option[1:2] and "c" in option
    return option.partition("c")[2] or following if is_it else None


def _line_of_script(words: Sequence[str]) -> tuple[str, bool]:
    """The command of `script -qec COMMAND FILE`, and whether only options stand before it."""
    is_first = True
    for option, word in zip(words, (*words[1:], ""), strict=False):
        if (line := _line_of_option(option, word)) is not None:
            return line, is_first
        is_first = is_first and option[:1] == "-"
    return "", False


def _interpreted(name: str, words: Sequence[str]) -> Iterator[str]:
    """What an interpreter is told to execute: a script, or the commands of `sh -c`."""
    before, takes_commands, is_shell, is_test = "", False, name in SHELLS, False
    for at, word in enumerate(words):
        if word == "-m":
            yield from _of_module(words[at + 1 :])
            return
        is_test = is_test or (name, word) in (("node", "--test"), ("bun", "test"), ("deno", "test"))
        if is_test and before not in (*_LOADERS, "-r") and word[:1] != "-":
            before = word
            continue
        is_option = word[:1] == "-" or (is_shell and word[:1] == "+")
        was_option = before[:1] == "-" or (is_shell and before[:1] == "+")
        option, _, value = word.partition("=")
        is_loaded = value != "" and option.removeprefix("-d") in _LOADERS
        if is_loaded or (word[:2] == "-r" and not is_shell):
            yield value if is_loaded else word[2:]
        elif takes_commands and (not is_option or " " in word):
            yield _Line(_with_given(word, words[at + 1 :]))
            if not (was_option and before[1:2] != "-" and {*"oO"} & {*before}):  # as of `-co pipefail`
                return
        elif not is_option and not (name in ("bun", "deno") and word in _VERBS):
            yield word
            if not was_option or (("/" in word or "." in word) and before not in (*_LOADERS, "-r", "-P")):
                return
        takes_commands = takes_commands or (is_shell and word[:1] == "-" != word[1:2] and "c" in word)
        before = word


def _of_module(words: Sequence[str]) -> Iterator[str]:
    """What `python -m coverage run FILE` and `python -m pdb FILE` execute."""
    if words[:1] == ["coverage"]:
        yield from _found(words)
    elif words and words[0] in _RUN_SCRIPTS:
        yield from _interpreted("python", words[1:])


def _with_given(line: str, words: Sequence[str]) -> str:
    """A line with what stands behind it in place of `$0`, `$1` and `$@`; where that is much, below it."""
    import re
    import shlex

    def instead(found: re.Match[str]) -> str:
        given = words[1:] if found[2] in "@*" else words[int(found[2]) :][:1]
        return shlex.join(given) if given else found[0]

    if line.count("$") * sum(map(len, words)) > _MOST_GIVEN:
        return "\n".join((line, *words))
    return re.sub(_GIVEN, instead, line)


def _named_in(line: str) -> Iterator[str]:
    """The files that come into what executes them, and all words of a line that cannot be read."""
    import re

    yield from (*re.findall(_INLINE, line), *_of_input(line))
    if "$'" in line or (_split(line) == line.split() and any(quote in line for quote in "'\"\\")):
        yield from dict.fromkeys(re.split(r"""[\s;&|(){}<>`'"\\=]+""", line))


def _parts(line: str) -> Iterator[Sequence[str]]:
    """The words of each simple command, as a shell reads them, without redirections and with the files
    that come in; and as if nothing were quoted, since what is between quotes may be a line too.
    """
    import re

    for cut in (_STREAMS, _OUTPUT):
        bare = re.sub(cut, lambda one: one[1] or " ", line)
        ended = re.sub(_END, lambda one: one[1] or (" " if one[0] == "<" else "\0"), bare)
        plain = bare.translate(_BETWEEN).replace("<", " ")
        yield from map(_split, dict.fromkeys((*ended.split("\0"), *plain.split("\n"))))


def _of_input(line: str) -> Iterator[str]:
    """The files that come into what executes its input: `cat FILE | sh`, `< FILE sh`."""
    import re

    given: list[str] = []
    for part in line.split("|"):
        first, *more = re.split(r"[;&(){}`\n]", part.lstrip("&"))
        if given and _INPUT in scripts_of(["env", *_split(first), _INPUT]):
            yield from given
        words = (more[-1] if more else first).replace("<", " < ").split()
        while words and ("=" in words[0] or words[0] in _VERBS):
            del words[0]
        if words[:1] == ["<"] and _INPUT in scripts_of(["env", *words[2:], _INPUT]):
            yield from words[1:2]
        is_source = words[:1] and words[0].rpartition("/")[2] in _POURS
        given = words[1:] if is_source else [] if more else given


def _split(line: str) -> list[str]:
    import shlex

    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def folders_of(words: Sequence[str]) -> Iterator[str]:
    """The folders that a simple command names for what runs in them."""
    before = ""
    for word in words:
        option, _, value = word.partition("=")
        value = word[2:] if word[:2] == "-C" else value if option in _FOLDERS else ""
        if before in ("cd", "pushd") and word[:1] == "-":
            continue  # such as `cd -P --`
        if option in ("PYTHONPATH", "NODE_PATH"):
            yield from (one for one in word.partition("=")[2].split(":") if not is_loose(one))
        yield word if before in _FOLDERS else value
        before = word
    for option in ("-execdir", "-okdir"):
        if "find" in words and option in words:
            yield from words[words.index("find") + 1 : words.index(option)]
