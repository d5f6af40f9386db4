"""Whether a check imports from another checkout than the one that it is to judge. Edge: the disk (reads).

An editable install (`pip install -e .`, `uv sync`) is a line in a file of the environment
(https://docs.python.org/3/library/site.html) that names one folder, wherever a program is started: in a work
tree of its own a run is then judged by the files of the checkout that was installed. Nothing is executed
here. What cannot be known this way, as what a `conftest.py` does to `sys.path`, is not reported.
"""

from __future__ import annotations

import os

from runner.disk.files import read
from runner.disk.programs import is_executable, on_path, shebang
from runner.disk.upwards import git_root
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_OWN_PLACES = {"tox", "nox", "uvx", "pipx"}
"""They make environments of their own for what they start."""
_LAUNCHERS = {"uv", "poetry", "pdm", "pipenv", "hatch", "rye", "pixi"}
_READERS = {"mypy", "ruff", "black", "isort", "flake8", "pyflakes", "pycodestyle", "bandit", "pip", "build"}
"""They import nothing of what they look at."""
_CALLED = {"make": ("Makefile", "makefile", "GNUmakefile"), "just": ("justfile", "Justfile")}
_SETTINGS = ("pyproject.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg")
_HERE = ("$(pwd)", "${PWD}", "$PWD", "$(PWD)", "$(CURDIR)")
_SEPARATORS = str.maketrans(dict.fromkeys("\t\n;&|()<>`{},@", " ") | dict.fromkeys("\"'"))
_LONGEST = 1 << 20
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
    cwd = os.path.realpath(cwd)
    tree, words = git_root(cwd), _words(argv, cwd)
    python = None if tree is None else _python(words, env, cwd, program, is_apart=is_apart)
    if tree is None or python is None:
        return None
    ours = _shared(tree)
    named = [path for value in _values("PYTHONPATH", words, env) for path in value.split(":")]
    leads = (Lead("PYTHONPATH", path) for path in named if os.path.isabs(path))
    for found in (*leads, *_of_environment(python, env)):
        folder = os.path.realpath(found.folder)
        root = git_root(folder) if os.path.isdir(folder) else None
        if root is None or (root == tree and not is_apart) or _shared(root) != ours:
            continue
        own = os.path.normpath(os.path.join(tree, os.path.relpath(folder, root)))
        if not _comes_first(own, words, env, cwd, tree):
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


def _words(argv: Sequence[str], cwd: str) -> list[str]:
    """Its words, those of a shell's text, and those of the script or Makefile that it names."""
    texts = [*argv]
    named = [word for word in argv[:3] if "/" in word or word.endswith(".sh")]
    for name in (*named, *_CALLED.get(os.path.basename(argv[0]), ())):
        text = _text(os.path.join(cwd, name))
        if name not in named or (text.startswith("#!") and "python" not in text.partition("\n")[0]):
            texts += [line for line in text.split("\n") if line.lstrip()[:1] != "#"]
    words = []
    for text in texts:
        for name in _HERE:
            text = text.replace(name, ".")
        words += text.translate(_SEPARATORS).split()
    return words


def _python(
    words: Sequence[str], env: Mapping[str, str], cwd: str, program: str | None, *, is_apart: bool
) -> str | None:
    """The Python in which the first of the words that starts one does so."""
    for n, word in enumerate(words):
        name = os.path.basename(word)
        if name in _OWN_PLACES or (name == "uv" and "--no-sync" not in words):  # uv installs this very tree
            return None
        if name in _READERS or (n and words[n - 1] == "-m"):
            continue
        if name in _LAUNCHERS:
            word = ".venv/bin/python"
        path = os.path.join(cwd, word) if "/" in word else on_path(word, env)
        found = _runs(program if n == 0 and program is not None else path, env, cwd)
        if found is None or (words[n + 1 : n + 2] == ["-m"] and {*words[n + 2 : n + 3]} & _READERS):
            continue
        return None if is_apart and "/" in word and word[0] != "/" else found  # its tree has none yet
    return None


def _runs(path: str | None, env: Mapping[str, str], cwd: str) -> str | None:
    home, is_shim, name = (path or "").rpartition("/shims/")
    if is_shim:  # of pyenv, which starts the program of that name of a version
        versions = (_text(f"{cwd}/.python-version") or _text(f"{home}/version")).split()
        path = f"{home}/versions/{''.join(versions[:1])}/bin/{name}"
    if path is None or not is_executable(path):
        return None
    if _is_python(path):
        return path
    words = shebang(path)
    if words == ["/bin/sh"]:  # as pip and uv write it for a path that is long
        words = "".join(_text(path, 4096).split("\n")[1:2]).translate(_SEPARATORS).split()
    for word in words[:3]:
        if _is_python(word):
            return word if "/" in word else on_path(word, env)
    return None


def _is_python(path: str) -> bool:
    name = os.path.basename(path)
    return name.rstrip("0123456789.") in ("python", "pypy")


def _values(name: str, words: Sequence[str], env: Mapping[str, str]) -> Iterator[str]:
    yield from (word[len(name) + 1 :] for word in words if word.startswith(f"{name}="))
    yield env.get(name, "")


def _of_environment(python: str, env: Mapping[str, str]) -> Iterator[Lead]:
    """What the `.pth` files of its folders for packages name, themselves or in a module that they import."""
    for folder in _sites(python, env):
        for path in sorted(f"{folder}/{name}" for name in _listed(folder) if name.endswith(".pth")):
            for line in _text(path).split("\n"):
                if line.startswith(("import ", "import\t")):
                    module = line[7:].partition(";")[0].strip()
                    finder = _quoted(_text(f"{folder}/{module}.py"))  # it names packages, `line` a folder
                    yield from (
                        Lead(path, found) for found in (*_quoted(line), *map(os.path.dirname, finder))
                    )
                elif line.strip() and line[0] != "#":
                    yield Lead(path, os.path.join(folder, line.rstrip()))


def _quoted(text: str) -> Iterator[str]:
    """The absolute paths that stand in quotes."""
    for quote in "'\"":
        yield from (f"/{part.partition(quote)[0]}" for part in text.split(f"{quote}/")[1:])


def _sites(python: str, env: Mapping[str, str]) -> list[str]:
    prefix = os.path.dirname(os.path.dirname(python))
    settings = _text(f"{prefix}/pyvenv.cfg").replace(" ", "")
    own = [f"{prefix}/lib/{name}/site-packages" for name in _listed(f"{prefix}/lib")] if settings else []
    if settings and "include-system-site-packages=true" not in settings:
        return own
    real = os.path.realpath(python)
    prefix, version = os.path.dirname(os.path.dirname(real)), os.path.basename(real)
    homes = (prefix, f"{prefix}/local", f"{env.get('HOME', '')}/.local")
    known = [f"{home}/lib/{version}/{name}" for home in homes for name in ("site-packages", "dist-packages")]
    return [*own, *known, f"{prefix}/lib/python3/dist-packages"]


def _comes_first(own: str, words: Sequence[str], env: Mapping[str, str], cwd: str, tree: str) -> bool:
    """Whether Python looks into that folder of the work tree before; True too where nobody can know."""
    first, texts = [], [_text(f"{tree}/{name}") for name in _SETTINGS]
    for value in (*_values("PYTHONPATH", words, env), *_values("pythonpath", words, {})):
        first += [path for path in value.split(":") if path and not os.path.isabs(path)]
    for n, word in enumerate(words):
        if _is_python(word):
            given = [*words[n + 1 : n + 4], ""]
            first.append("." if "-m" in given or "-c" in given else os.path.dirname(given[0]))
    if not any(os.path.basename(word) in ("pytest", "py.test") for word in words):
        texts = []
    elif not any("importlib" in text for text in (*texts, *words)) and _has_tests(own):
        return True
    for text in texts:
        value = text.partition("pythonpath")[2].lstrip(" =")
        value = value.partition("]" if value[:1] == "[" else "=")[0]
        first += [os.path.join(tree, word) for word in value[:1000].translate(_SEPARATORS).strip("[").split()]
    if own in [os.path.normpath(os.path.join(cwd, path)) for path in first]:
        return True
    scripts = [f"{folder}/conftest.py" for folder in {tree, cwd, f"{tree}/tests", f"{tree}/test"}]
    return any("sys.path" in text for text in (*words, *map(_text, scripts if texts else ())))


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
        own = os.path.join(root, _text(own, 8192).removeprefix("gitdir:").strip())
    return os.path.realpath(os.path.join(own, _text(f"{own}/commondir", 8192).strip() or "."))


def _text(path: str, limit: int = _LONGEST) -> str:
    try:
        text = read(path, limit, follows_links=True).decode(errors="replace")
    except (OSError, ValueError):
        return ""
    return "" if "\0" in text else text


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
