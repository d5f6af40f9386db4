"""Which files of the work tree the checks of a run execute or read, as far as their words say. Pure.

An agent that is to make a check pass can also rewrite the check. What a command names, the settings of the
tools that it names and the tests that stood there before are known without running anything. What a script
calls in turn is not: `protect` names that.
"""

from __future__ import annotations

import posixpath
import sys

from runner.text.expansion import filled, fits, is_loose
from runner.text.globs import covers
from runner.text.modules import MAIN, files_of_modules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

_PYTHON = ("sitecustomize.py", "usercustomize.py")
_LIBRARY = sys.stdlib_module_names - {"test"}
_PYTEST = ("pyproject.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "conftest.py", *_PYTHON)
_NODE = ("package.json", ".npmrc", "babel.config.*", ".babelrc*", "tsconfig*.json", "vite.config.*")
_RUST = ("Cargo.toml", ".cargo/config*", "build.rs", "rust-toolchain*", "clippy.toml", ".clippy.toml")
_GO = ("go.mod", "go.work", ".golangci.*")
_JVM = ("pom.xml", "*.gradle", "*.gradle.kts", "gradle.properties", "gradle-wrapper.properties", "gradlew")
_MAKE = ("Makefile", "makefile", "GNUmakefile", "*.mk")

SETTINGS: dict[str, tuple[str, ...]] = {
    "python": _PYTHON,
    "pytest": _PYTEST,
    "py.test": _PYTEST,
    "unittest": _PYTHON,
    "coverage": (".coveragerc", *_PYTEST),
    "ruff": ("pyproject.toml", "ruff.toml", ".ruff.toml"),
    "mypy": ("pyproject.toml", "mypy.ini", ".mypy.ini", "setup.cfg"),
    "pyright": ("pyproject.toml", "pyrightconfig.json"),
    "flake8": ("setup.cfg", "tox.ini", ".flake8"),
    "pylint": ("pyproject.toml", "pylintrc", ".pylintrc", "setup.cfg"),
    "black": ("pyproject.toml",),
    "node": _NODE,
    "jest": (*_NODE, "jest.config.*"),
    "vitest": (*_NODE, "vitest.config.*", "vitest.workspace.*"),
    "mocha": (*_NODE, ".mocharc*"),
    "playwright": (*_NODE, "playwright.config.*"),
    "eslint": (*_NODE, "eslint.config.*", ".eslintrc*", ".eslintignore"),
    "prettier": ("package.json", ".prettierrc*", "prettier.config.*", ".prettierignore"),
    "tsc": ("tsconfig*.json", "package.json"),
    "cargo": _RUST,
    "go": _GO,
    "golangci-lint": _GO,
    "mvn": _JVM,
    "gradle": _JVM,
    "ctest": ("CMakeLists.txt", "CTestTestfile.cmake"),
    "cmake": ("CMakeLists.txt", "CMakePresets.json"),
    "rspec": (".rspec", "Gemfile"),
    "phpunit": ("phpunit.xml*", "composer.json"),
    "dotnet": ("*.csproj", "*.sln", "Directory.Build.props", "Directory.Build.targets", "global.json"),
    "make": _MAKE,
    "gmake": _MAKE,
    "tox": (*_PYTEST, "tox.toml"),
    "nox": (*_PYTEST, "noxfile.py"),
    "just": ("justfile", "Justfile", ".justfile"),
    "task": ("Taskfile.y*ml",),
    "rake": ("Rakefile", "Gemfile", ".rspec"),
    "pre-commit": (".pre-commit-config.yaml",),
    "hatch": ("pyproject.toml", "hatch.toml"),
    "npm": _NODE,
    "pnpm": _NODE,
    "yarn": (*_NODE, ".yarnrc*"),
    "bun": (*_NODE, "bunfig.toml"),
    "deno": ("deno.json", "deno.jsonc"),
}
"""Tool -> names of files that say what it does. The last part of a path, or its end, has to match."""

_SHELLS = frozenset(("sh", "bash", "dash", "ash", "ksh", "zsh", "fish"))
_EXECUTORS = _SHELLS | {".", "source", "cat", "sed", "run-parts"}
"""A folder in the place of a file is nothing at all to them, and no failure, or a list of programs."""
_CALLERS = {
    *("make", "gmake", "tox", "nox", "just", "task", "rake", "pre-commit", "hatch"),
    *("npm", "pnpm", "yarn", "bun", "deno", "gradle", "mvn", "dotnet", "ctest"),
    *_SHELLS,
}
"""They may call any other tool, and their words do not say which."""
_TESTERS = {
    *("pytest", "py.test", "unittest", "coverage", "jest", "vitest", "mocha", "playwright"),
    *("cargo", "go", "rspec", "phpunit", *_CALLERS),
}
_TEST_FOLDERS = {"test", "tests", "__tests__", "__snapshots__", "spec", "specs", "testdata"}
_TEST_FILES = (
    *("test_*", "*_test.*", "*.test.*", "*.spec.*", "*_spec.*", "*Test.java", "*Tests.java"),
    *("*Test.kt", "*Tests.cs", "*Test.php", "tests.py", "tests.rs"),
)
_INTERPRETERS = frozenset(("python", "node"))
_GOES_TO = ("cd", "pushd", "-C", "--chdir", "--cwd", "--dir", "--directory", "--prefix")
"""The word after it is the folder that what follows is relative to."""
_BREAKS = str.maketrans(dict.fromkeys(";&|()<>\"'`=", " "))
_SEPARATORS = str.maketrans(dict.fromkeys(" \t\n;&|()<>\"'`$={},", "\n"))


class OwnChecks:
    """What these commands execute or read. `cwd` is where they run, relative to the root of the tree; `files`
    are globs that the task names, `root` is the absolute path of the tree. `behind` is what the paths that
    are named lead to through links, and those links.
    """

    def __init__(
        self,
        checks: Sequence[Sequence[str]],
        cwd: str = "",
        files: Sequence[str] = (),
        *,
        root: str = "/",
        behind: Iterable[str] = (),
    ) -> None:
        self._files = files
        lines = [[line for each in argv for line in filled(each)] for argv in checks]
        said = [[word for each in some for word in _words(each)] for some in lines]
        words = [word for each in said for word in each]
        tools = {_tool(word) for word in words}
        has_script = any(argv and "/" in argv[0] and _tool(argv[0]) not in SETTINGS for argv in checks)
        calls_anything = has_script or bool(tools & _CALLERS)
        known = SETTINGS if calls_anything else tools & SETTINGS.keys()
        self._settings = {name for tool in known for name in SETTINGS[tool]}
        self._has_tests = calls_anything or bool(tools & _TESTERS)
        modules = [path for each in said for path in files_of_modules(each)]
        modules += [f"{word}/{name}" for word in words for name in MAIN if tools & _INTERPRETERS]
        cwds = [cwd, *(posixpath.join(cwd, to) for each in said for to in _gone_to(each))]
        self._modules = {
            path for path in (_inside(at, name, root) for name in modules for at in cwds) if path
        }
        self._readers: dict[str, set[str]] = {}
        for word, tool in (pair for each in said for pair in _read_by(each)):
            for path in filter(None, (_inside(at, word, root) for at in cwds)):
                self._readers.setdefault(path, set()).add(tool)
        self._readers = {path: {"sh"} for path in behind} | self._readers
        self._words = {*self._modules, *self._readers}
        loose = [word for some in lines for word in _executed(some)]
        self._fits = fits(filter(None, (_inside(at, word, root) for word in loose for at in cwds)))
        starts = (*cwds, *(posixpath.dirname(path) for path in self._readers if path.endswith(".py")))
        self._starts = {posixpath.normpath(at) for at in starts if _PYTHON[0] in self._settings}
        guessed = {f"{word}/{name}" for word in self._words for name in MAIN}  # a named file is no folder
        self._above = {above for path in self._words - guessed for above in _folders_above(path)}

    @property
    def names(self) -> tuple[str, ...]:
        """The paths that the commands name, relative to the root; not each need be there."""
        return tuple(sorted(self._words))

    def read(self, path: str, *, is_new: bool = False) -> bool:
        """Whether they execute or read the file, relative to the root. A new test is no rewritten check, also
        where a command names it: without it that could only fail. (A new module may hide another one.)
        """
        named = self._modules if is_new and looks_like_test(path) else self._words
        if path in named or path in self._above or (is_new and self._hides(path)):
            return True
        if any(_ends_in(name, path) for name in self._settings) or self._fits(path):
            return True
        if is_new or not looks_like_test(path):
            return False
        is_below = any(path.startswith(f"{word}/") for word in self._words)
        return self._has_tests or is_below or (bool(self._words or self._settings) and self._is_named(path))

    def _hides(self, path: str) -> bool:
        """Whether a Python that starts there imports it in the place of a module of its library."""
        folder, _, name = path.replace("/__init__.", ".").rpartition("/")
        module, _, kind = name.partition(".")
        return module in _LIBRARY and kind.endswith(("py", "pyc", "so")) and (folder or ".") in self._starts

    def take_for(self, folder: str, below: Collection[str], *, is_filled: bool) -> bool:
        """Whether they take a new folder, or a link, for what they name. A shell takes it for an empty script
        (dash says nothing and succeeds), and many tools find nothing to object to in an empty folder. What
        tools and testers are to look into is no rewritten check. `below` are the files that are new in it.
        """
        readers = self._readers.get(folder, set())
        is_strange = "" in readers and bool(below) and not any(map(looks_like_test, below))
        return self.is_script(folder) or is_strange or (bool(readers) and not is_filled)

    def is_script(self, path: str) -> bool:
        """Whether it is given to a shell or the like to execute."""
        return not _EXECUTORS.isdisjoint(self._readers.get(path, ()))

    def _is_named(self, path: str) -> bool:
        return covers(self._files, path)


def looks_like_test(path: str) -> bool:
    """By its name or a folder above it."""
    *folders, name = path.split("/")
    return bool(_TEST_FOLDERS & set(folders)) or covers(_TEST_FILES, name)


def _words(text: str) -> Iterator[str]:
    """The words of a word: an option's value, the commands of `sh -c`, a file of a test's id."""
    for word in text.translate(_SEPARATORS).split("\n"):
        word = word.partition("::")[0].removeprefix("@")
        if word:
            yield word
        if word[:1] == "-" != word[1:2] and ("/" in word or "." in word):
            yield word[2:]  # the value of `-fci/test.mk`


def _tool(word: str) -> str:
    """`.venv/bin/python3.11` is `python`."""
    name = posixpath.basename(word)
    return "python" if name.startswith("python") and name[6:].replace(".", "").isdigit() else name


def _read_by(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each word, and which tool or shell stands before it; "" is a program that nothing is known of."""
    tool, was_option = "", False
    for word in words:
        yield word, tool
        is_option, is_path = word[:1] == "-", "/" in word or "." in word
        is_command = is_option and word[1:2] != "-" and "c" in word
        if _tool(word) in SETTINGS or (_tool(word) in _EXECUTORS and not (word == "." and tool in SETTINGS)):
            tool = _tool(word)
        elif tool in _EXECUTORS and (is_command or not (is_option or (was_option and not is_path))):
            tool = ""  # what follows is for the script, or commands
        was_option = is_option


def _executed(lines: Iterable[str]) -> Iterator[str]:
    """The words with a `*` or a variable that a shell or an interpreter gets, or that are commands."""
    words = [word for line in lines for word in line.translate(_BREAKS).split()]
    for word, tool in _read_by(words):
        if is_loose(word) and (tool in _EXECUTORS | _INTERPRETERS or word[:2] == "./"):
            yield word


def _gone_to(words: Sequence[str]) -> Iterator[str]:
    for before, word in zip(("", *words), words, strict=False):
        if before in _GOES_TO or (word[:2] == "-C" and len(word) > 2):
            yield word.removeprefix("-C")


def _folders_above(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path


def _inside(cwd: str, word: str, root: str) -> str | None:
    """The path from the root; None for the root itself and for what is outside."""
    if root != "/" and word.startswith(f"{root}/"):
        cwd, word = "", word[len(root) + 1 :]
    path = posixpath.normpath(posixpath.join("/", cwd, word)).lstrip("/")
    is_absolute = word.startswith("/") or posixpath.normpath(posixpath.join(cwd, word)).startswith("..")
    return None if is_absolute or not path else path


def _ends_in(name: str, path: str) -> bool:
    """Whether the end of the path is that name, which may be a glob and have a folder before it."""
    parts = path.split("/")
    return covers((name,), "/".join(parts[-(name.count("/") + 1) :]))


def guarded(protect: Iterable[str], paths: Iterable[str]) -> tuple[str, ...]:
    """The paths that `protect` covers."""
    globs = tuple(protect)
    return tuple(path for path in paths if covers(globs, path)) if globs else ()
