"""Whether a check imports from another checkout than the one that it is to judge. Edge: the disk (reads).

An editable install (`pip install -e .`, `uv sync`) is a line in a file of the environment
(https://docs.python.org/3/library/site.html) that names one folder, wherever a program is started: in a work
tree of its own a run is then judged by the files of the checkout that was installed. Nothing is executed
here. What cannot be known this way, as what a `conftest.py` does to `sys.path`, is not reported.
"""

from __future__ import annotations

import os
import sys
from itertools import islice
from time import monotonic

from runner.disk.programs import is_executable, on_path, shebang
from runner.disk.simplecommands import LAUNCHERS, Command, started, text_of
from runner.disk.upwards import git_root
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_OWN_PLACES = {"tox", "nox", "uvx", "pipx", "hatch", "pixi", "pre-commit", "pre_commit"}
"""They make environments of their own for what they start."""
_READERS = {
    *("mypy", "dmypy", "ruff", "black", "isort", "flake8", "pyflakes", "pycodestyle", "bandit", "pip"),
    *("pip3", "build", "venv", "virtualenv", "compileall", "py_compile", "json.tool", "http.server"),
}
"""They import nothing of what they look at."""
_STARTERS = (
    *("importlib", "runpy", "pkgutil", "site", "code", "process", "asyncio", "concurrent", "pty"),
    *("unittest", "doctest", "pydoc", "trace", "timeit", "rofile", "pdb", "system", "exec", "spawn", "popen"),
)
"""In a program, these words may mean that it imports or starts others."""
_SETTINGS = ("pyproject.toml", "pytest.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg")
_SEPARATORS = str.maketrans(dict.fromkeys("\t\n;&|()<>`{},@", " ") | dict.fromkeys("\"'"))
_MOST_COMMANDS, _MOST_LINES, _MOST_LEADS, _LONGEST_LOOK = 500, 100, 1000, 5.0
_WITH_MARK = ("8", "9", "10", "11", "12")
"""Minor versions of Python to which a byte order mark is part of the first path (gh-59770)."""
REPAIR = "let `prepare` make an environment in the tree, or put its sources into PYTHONPATH (docs/results.md)"


class Lead(Value):
    """A `folder` of another checkout, and the file or variable that names it to Python (`by`)."""

    by: str
    folder: str

    def __str__(self) -> str:
        return f"imports from {self.folder}, which {self.by} names, and not from its own work tree"


def lead(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    program: str | None = None,
    *,
    is_apart: bool = False,
) -> Lead | None:
    """What leads this command out of the checkout that `cwd` is in, to another one of the same repository.
    `program` is the file that its first word means. `is_apart`: it will run in a tree of its own, to be made.
    """
    try:
        return _first_lead(Command((program or argv[0], *argv[1:]), env, os.path.realpath(cwd)), is_apart)
    except (
        ValueError,
        IndexError,
    ):  # no word, or one that is no path: of a NUL, or not in the locale's encoding
        return None


def _first_lead(whole: Command, is_apart: bool) -> Lead | None:
    cwd = whole.folder
    tree, installed = git_root(cwd), set()
    if tree is None:
        return None
    if is_apart:  # two slashes tell what will be in the other tree from what a word or PATH names in this one
        tree, cwd = f"/{tree}", f"/{cwd}"
    commands = started(whole.replace(folder=cwd), [])
    end = monotonic() + _LONGEST_LOOK  # an agent may have written what is read
    for command in islice(commands, _MOST_COMMANDS):
        if monotonic() > end:
            return None
        python = _python(command, tree)
        home = os.path.dirname(command.program(command.words[0]) or "")
        is_to_come = home.startswith("//") and home.endswith("/bin")  # an environment, which it has not yet
        if python is None or is_to_come or os.path.dirname(python) in installed:
            continue
        if _installs(command, tree):
            installed.add(os.path.dirname(python))
        elif (found := _lead(command, python, tree, is_apart=is_apart)) is not None:
            return found
    return None


def first_lead(
    checks: Iterable[Sequence[str]], env: Mapping[str, str], root: str, *, is_apart: bool
) -> str | None:
    """What a person should know of these checks, which are still to be started; see `lead`. They may not get
    all variables that we have.
    """
    env = {name: env[name] for name in ("HOME", "PATH") if name in env}
    found = ((argv, lead(argv, env, root, is_apart=is_apart)) for argv in checks)
    return next((f"`{' '.join(argv)}` {one} (checks_elsewhere)" for argv, one in found if one), None)


def _lead(command: Command, python: str, tree: str, *, is_apart: bool) -> Lead | None:
    options, known = _executed(command.words)[0], _first(command, tree)
    path = "" if {"I", "E"} & {*options} else command.env.get("PYTHONPATH", "")
    if known is None or "$" in path:
        return None
    first, are_tests_first = known
    named = (Lead("PYTHONPATH", one or ".") for one in (path.split(":") if path else ()))
    for found in (*named, *islice(_of_environment(python, command.env, options), _MOST_LEADS)):
        folder = os.path.realpath(command.path(found.folder))
        root = git_root(folder) if os.path.isdir(folder) else None
        is_other = os.path.isabs(found.folder) if is_apart else root != tree
        if root is not None and is_other and _shared(root) == _shared(tree):
            own = os.path.normpath(os.path.join(tree, os.path.relpath(folder, root)))
            if own not in first and not (are_tests_first and _has_tests(own)):
                return found.replace(folder=command.path(found.folder))
        if found.by == "PYTHONPATH":
            first.append(command.path(found.folder))
    return None


def _python(command: Command, tree: str) -> str | None:
    """The Python that it starts, where that imports something."""
    words, is_installing = command.words, _installs(command, tree)
    name = os.path.basename(words[0])
    if name in LAUNCHERS:
        return on_path("python", command.env) if is_installing else None
    _, module, script = _executed(words)
    if {name, module} & _OWN_PLACES or ({name, module} & _READERS and not is_installing):
        return None
    path = command.path(script) if script else None if _is_python(name) else command.program(words[0])
    is_plain = not module and _is_plain(text_of(path) if path else "\n".join(words))
    if is_plain or {"-V", "--version"} & {*words[1:2]}:
        return None
    return _runs(command.program(words[0]), command.env, command.folder)


def _installs(command: Command, tree: str) -> bool:
    """Whether it makes an environment import from this tree."""
    words = command.words
    if os.path.basename(words[0]) == "uv" and {"sync", "run"} & {*words}:
        return True
    names = (word.removeprefix("-e").partition("[")[0] for word in words)
    is_of_tree = tree in [command.path(name) for name in names if name[:1] in (".", "/")]
    is_whole = is_of_tree and any(word[:2] == "-e" or word == "--editable" for word in words)
    return bool({"install", "develop"} & {*words} and (is_whole or {"poetry", "pdm", "setup.py"} & {*words}))


def _executed(words: Sequence[str]) -> tuple[str, str, str]:
    """The letters of a Python's options, and the module or the script that it executes."""
    options = ""
    if os.path.basename(words[0]) == "coverage":
        words = words[words.index("-m") - 1 :] if "-m" in words else words[1:]
    for before, word, following in zip(words, words[1:], (*words[2:], ""), strict=False):
        if word[:1] != "-" or word == "-":
            if before not in ("-X", "-W"):
                return options, "", word.removeprefix("-")
        elif word[:2] not in ("-X", "-W", "--"):
            letters, is_module, module = word.partition("m")
            options += letters.partition("c")[0]
            if is_module or "c" in letters:
                return options, module or following if is_module else "", ""
    return options, "", ""


def _is_plain(text: str) -> bool:
    """Whether this program imports modules of Python alone, and none that leads to others."""
    for line in (line for line in text.replace(";", "\n").split("\n") if "import" in line):
        first, _, names = line.strip().partition(" ")
        names = names.partition(" import ")[0] if first == "from" else names
        tops = {name.partition(" as ")[0].partition(".")[0].strip() for name in names.split(",")}
        if first not in ("import", "from") or not tops <= sys.stdlib_module_names:
            return False
    return "import" in text and not any(word in text for word in _STARTERS)


def _runs(path: str | None, env: Mapping[str, str], cwd: str) -> str | None:
    home, is_shim, name = (path or "").rpartition("/shims/")
    if is_shim:  # of pyenv, which starts the program of that name of a version
        versions = (text_of(f"{cwd}/.python-version") or text_of(f"{home}/version")).split()
        path = f"{home}/versions/{''.join(versions[:1])}/bin/{name}"
    if path is None or not is_executable(path):
        return None
    if _is_python(path):
        return path
    words = shebang(path)
    if words == ["/bin/sh"]:  # as pip and uv write it for a path that is long
        words = "".join(text_of(path, 4096).split("\n")[1:2]).translate(_SEPARATORS).split()
    for word in words[:3]:
        if _is_python(word):
            return word if "/" in word else on_path(word, env)
    return None


def _is_python(path: str) -> bool:
    name = os.path.basename(path)
    return name.rstrip("0123456789.") in ("python", "pypy")


def _of_environment(python: str, env: Mapping[str, str], options: str) -> Iterator[Lead]:
    """What the `.pth` files of its folders for packages name, themselves or in a module that they import."""
    for folder in _sites(python, env, options) if "S" not in options else ():
        names = sorted(name for name in _listed(folder) if name.endswith(".pth"))
        for path in (f"{folder}/{name}" for name in names[:_MOST_LINES]):
            text = text_of(path)
            if folder.rpartition("/lib/python3.")[2].partition("/")[0] not in _WITH_MARK:
                text = text.removeprefix("\ufeff")
            for line in text.split("\n")[:_MOST_LINES]:
                if line.startswith(("import ", "import\t")):
                    module = line[7:].partition(";")[0].strip()
                    finder = _quoted(text_of(f"{folder}/{module}.py"))  # of packages, `line` of a folder
                    yield from (
                        Lead(path, found) for found in (*_quoted(line), *map(os.path.dirname, finder))
                    )
                elif line.strip() and line[0] != "#":
                    yield Lead(path, os.path.join(folder, line.rstrip()))


def _quoted(text: str) -> Iterator[str]:
    """The absolute paths that stand in quotes."""
    for quote in "'\"":
        yield from (f"/{part.partition(quote)[0]}" for part in text.split(f"{quote}/")[1:])


def _sites(python: str, env: Mapping[str, str], options: str) -> list[str]:
    prefix = os.path.dirname(os.path.dirname(python))
    settings = text_of(f"{prefix}/pyvenv.cfg").replace(" ", "")
    own = [f"{prefix}/lib/{name}/site-packages" for name in _listed(f"{prefix}/lib")] if settings else []
    if settings and "include-system-site-packages=true" not in settings:
        return own
    real = os.path.realpath(python)
    prefix, version = os.path.dirname(os.path.dirname(real)), os.path.basename(real)
    user = [] if {"I", "s"} & {*options} else [f"{env.get('HOME', '')}/.local"]
    homes = (prefix, f"{prefix}/local", *user)
    known = [f"{home}/lib/{version}/{name}" for home in homes for name in ("site-packages", "dist-packages")]
    return [*own, *known, f"{prefix}/lib/python3/dist-packages"]


def _first(command: Command, tree: str) -> tuple[list[str], bool] | None:
    """The folders into which Python looks before those of PYTHONPATH, and whether those of tests are among
    them. None where nobody can know.
    """
    words, (options, module, script) = command.words, _executed(command.words)
    first, texts, settings, folders = [], [*words], [" ".join(words)], {command.folder, tree}
    options += "P" if command.env.get("PYTHONSAFEPATH") else ""
    if not {"I", "P"} & {*options} and (_is_python(words[0]) or os.path.basename(words[0]) == "coverage"):
        path = os.path.join(command.folder, "" if module else script)
        first.append(path if os.path.isdir(path) else os.path.dirname(path))
        texts.append(text_of(path))
    if is_pytest := any(os.path.basename(word) in ("pytest", "py.test") for word in words):
        for path in (f"{folder}/{name}" for folder in folders for name in _SETTINGS):
            lines = text_of(path).split("\n")
            settings.append("\n".join(line.partition("#")[0] for line in lines if line.lstrip()[:1] != ";"))
        places = [f"{folder}/{name}" for folder in folders for name in ("", "tests/", "test/")]
        texts += [text_of(f"{place}conftest.py") for place in places]
    for part in (part for text in settings for part in text.split("pythonpath")[1:]):
        sign, value = part.lstrip("\"' ")[:1], part.lstrip("\"'= ")
        value = value.partition("]" if value[:1] == "[" else "=")[0][:1000] if sign == "=" else ""
        names = value.translate(_SEPARATORS).strip("[").split()
        first += [os.path.join(folder, name) for name in names for folder in folders]
    if any("sys.path" in text for text in texts):
        return None
    modes = (part[:16] for text in settings for part in text.split("import-mode")[1:])
    is_added = is_pytest and not any("importlib" in mode for mode in modes)
    return [os.path.normpath(path) for path in first], is_added


def _has_tests(folder: str) -> bool:
    """Whether pytest puts it first, as it does with the folder that the packages of its tests are in
    (https://docs.pytest.org/en/stable/explanation/pythonpath.html).
    """
    found = _listed(folder)
    packages = [name for name in found if os.path.isfile(f"{folder}/{name}/__init__.py")]
    inside = [*found]
    for name in packages:
        inside += _listed(f"{folder}/{name}")
        if name not in ("test", "tests"):
            inside += [*_listed(f"{folder}/{name}/tests"), *_listed(f"{folder}/{name}/test")]
    return any(
        name == "conftest.py"
        or (name.endswith(".py") and (name.startswith("test_") or name[:-3].endswith("_test")))
        for name in inside
    )


def _shared(root: str) -> str:
    """The git directory that all work trees of a repository share (gitrepository-layout(5))."""
    own = f"{root}/.git"
    if not os.path.isdir(own):
        own = os.path.join(root, text_of(own, 8192).removeprefix("gitdir:").strip())
    return os.path.realpath(os.path.join(own, text_of(f"{own}/commondir", 8192).strip() or "."))


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
