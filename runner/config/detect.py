"""How the tests of a repository are started, and where its sources are, by what its files say. Edge: disk
(reads).

Nothing is executed. Of a stranger's file no word gets into a command besides a name that can be nothing
else: the most that it can do is to have a usual command chosen. What is large, no plain file or no valid text
says nothing.
"""

from __future__ import annotations

import os
from itertools import islice

from runner.disk.files import read
from runner.disk.programs import absent, is_executable, on_path
from runner.model import is_name
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

_LARGEST = 1 << 18
_MOST_PARTS = 100
"""Of a dotted key: `tomllib` takes the square of their number."""
_DEEPEST = 6
_MOST_ENTRIES = 2000
_MOST_FOLDERS = 6
_MANAGERS = {"uv.lock": "uv", "poetry.lock": "poetry", "pdm.lock": "pdm", "Pipfile": "pipenv"}
_NODE = {
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "bun.lock": "bun",
    "bun.lockb": "bun",
    "package.json": "npm",
}
_PYTEST = """\
|pytest.ini
|.pytest.ini
|setup.cfg|[tool:pytest]
|tox.ini|[pytest]
|Pipfile|pytest =
|conftest.py
|tests/conftest.py
|requirements.txt|pytest
|requirements-dev.txt|pytest
|requirements-test.txt|pytest
"""
_PYTHON = """\
hatch test|pyproject.toml|[tool.hatch.envs.hatch-test
tox|tox.ini|[tox]|[testenv
tox|tox.toml
tox|pyproject.toml|[tool.tox
nox -s tests|noxfile.py|def tests(
nox|noxfile.py
"""
_OTHERS = """\
make test|Makefile|test:
make test|makefile|test:
make test|GNUmakefile|test:
make check|Makefile|check:
just test|justfile|test:|test *
just test|Justfile|test:|test *
cargo test --workspace|Cargo.toml|[package]|[workspace]
go test ./...|go.mod|module
mix test|mix.exs
swift test|Package.swift
bundle exec rspec|.rspec
./mvnw -q test|mvnw
mvn -q test|pom.xml
./gradlew test|gradlew
gradle test|build.gradle
gradle test|build.gradle.kts
"""
"""A command, the file that stands for it, and how a line of that begins; else it only has to be there."""
_TYPES = """\
make typecheck|Makefile|typecheck:
mypy|mypy.ini
mypy|pyproject.toml|[tool.mypy]
npx --no-install tsc --noEmit|tsconfig.json
cargo check --workspace|Cargo.toml|[package]|[workspace]
go vet ./...|go.mod|module
"""
_SOURCES = ("src", "lib", "app", "apps", "packages", "crates", "cmd", "internal", "pkg")
_TESTS = ("tests", "test", "spec", "__tests__")
_NO_SOURCES = (*_TESTS, "docs", "examples", "build", "dist")


class Candidate(Value):
    """A command that runs the tests, and the file that says so."""

    argv: tuple[str, ...]
    where: str

    def __str__(self) -> str:
        return f"{' '.join(self.argv)} ({self.where})"


class Detected(Value):
    """The command to take, if any, `others` that would do, and the globs of sources and tests."""

    verify: Candidate | None
    others: tuple[Candidate, ...]
    scope: tuple[str, ...]


def look(root: str, env: Mapping[str, str]) -> Detected:
    """What the files at the root say; the commands whose programs are here come first."""
    said = (*_pytest(root, env), *_by_lines(root, _PYTHON), *_node(root), *_by_lines(root, _OTHERS))
    first: dict[str, Candidate] = {}
    for one in said:
        first.setdefault(one.argv[0], one)  # of a program, the best
    found = sorted(first.values(), key=lambda one: absent(one.argv, env, root) is not None)
    return Detected(found[0] if found else None, tuple(found[1:]), _scope(root))


def typecheck(root: str) -> Candidate | None:
    """The command that finds errors without running anything, if the files name one."""
    return next(_by_lines(root, _TYPES), None)


def _text(root: str, name: str) -> str:
    try:
        data = read(f"{root}/{name}", _LARGEST)
        return data.decode("utf-8-sig") if len(data) < _LARGEST else ""
    except (OSError, ValueError):
        return ""


def _by_lines(root: str, table: str) -> Iterator[Candidate]:
    for row in table.splitlines():
        command, name, *heads = row.split("|")
        lines = _text(root, name).splitlines() if heads else ()
        is_there = any(_begins(line, head) for line in lines for head in heads)
        if is_there or (not heads and os.path.isfile(f"{root}/{name}")):
            yield Candidate(tuple(command.split()), name)


def _begins(line: str, head: str) -> bool:
    """`test:=1` gives a value to a variable of make, and is no target."""
    return line.startswith(head) and not (head[-1] == ":" and line[len(head) :].lstrip(":")[:1] == "=")


def _get(node: Any, *path: str) -> Any:
    """What is there in the tables of a document; {} where nothing is."""
    for key in path:
        node = node.get(key, {}) if isinstance(node, dict) else {}
    return node


def _project(root: str) -> Any:
    import tomllib

    text = _text(root, "pyproject.toml")
    is_usual = all(line.count(".") <= _MOST_PARTS for line in text.splitlines())
    try:
        return tomllib.loads(text) if is_usual else {}
    except (ValueError, RecursionError):
        return {}


def _named(project: Any) -> Iterator[tuple[str, ...]]:
    """The paths of the tables and lists of a pyproject.toml that name pytest."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), project)]
    while waiting:
        path, one = waiting.pop()
        if path[-1:] == ("pytest",) or (isinstance(one, str) and one.startswith("pytest")):
            yield path
        elif isinstance(one, dict) and len(path) < _DEEPEST:
            waiting += [((*path, str(key)), item) for key, item in one.items()]
        elif isinstance(one, list):
            waiting += [(path, item) for item in one if isinstance(item, str)]


def _pytest(root: str, env: Mapping[str, str]) -> Iterator[Candidate]:
    project = _project(root)
    named = [*_named(project)]
    where = ["pyproject.toml"] * bool(named) + [one.where for one in _by_lines(root, _PYTEST)]
    if not where or _has_no_tests(root):
        return
    manager = next((manager for lock, manager in _MANAGERS.items() if os.path.isfile(f"{root}/{lock}")), None)
    if manager is not None:
        options = _of_uv(project, named) if manager == "uv" else ()
        yield Candidate((manager, "run", *options, "pytest", "-q"), where[0])
    if manager is None or on_path(manager, env) is None:
        yield Candidate((*_python(root, env), "-q"), where[0])


def _has_no_tests(root: str) -> bool:
    """An sdist may come without them (it has a PKG-INFO), and pytest fails where it finds none."""
    if not os.path.isfile(f"{root}/PKG-INFO"):
        return False
    names = os.listdir(root)
    return not any(name in ("test", "tests", "testing", "src") or name.startswith("test_") for name in names)


def _of_uv(project: Any, named: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """What has to be said so that pytest is there (docs.astral.sh/uv/concepts/projects/dependencies)."""
    said = _get(project, "tool", "uv", "default-groups")
    usual = said if isinstance(said, list) else ["dev"]
    found: list[tuple[str, ...]] = []
    for top, name, *rest in ((*path, "", "") for path in named):
        if (top, name) == ("project", "optional-dependencies"):
            found.append(("--extra", rest[0]))
        elif top == "dependency-groups":
            found.append(() if name in usual else ("--group", name))
        elif top == "project" or name == "uv":
            found.append(())
    return next((one for one in sorted(found, key=len) if not one or is_name(one[1])), ())


def _python(root: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """pytest by the Python that has it, as far as the places of files tell."""
    pytest = on_path("pytest", env)
    for own in (".venv", "venv"):
        if is_executable(f"{root}/{own}/bin/pytest") and not (pytest or "").startswith(f"{root}/{own}/"):
            return f"{own}/bin/python", "-m", "pytest"
    for name in ("python", "python3"):
        path = on_path(name, env)
        if path is not None and (pytest is None or os.path.dirname(path) == os.path.dirname(pytest)):
            return name, "-m", "pytest"
    return ("pytest",)


def _node(root: str) -> Iterator[Candidate]:
    import json

    try:
        package = json.loads(_text(root, "package.json"))
    except (ValueError, RecursionError):
        return
    script, said = _get(package, "scripts", "test"), str(_get(package, "packageManager")).partition("@")[0]
    if not isinstance(script, str) or not script.strip() or "no test specified" in script:  # of `npm init`
        return
    if "--watch" in script and "=false" not in script:  # it does not end
        return
    known = [manager for lock, manager in _NODE.items() if os.path.isfile(f"{root}/{lock}")]
    manager = said if said in _NODE.values() else known[0]
    words = (manager, *(("run",) if manager == "bun" else ()), "test")  # `bun test` is a runner of its own
    watches = "react-scripts test" in script  # create-react-app.dev/docs/running-tests
    yield Candidate((*(("env", "CI=true") if watches else ()), *words), "package.json")


def _scope(root: str) -> tuple[str, ...]:
    """Globs of the folders of sources and tests; none where nothing tells which these are."""
    try:
        with os.scandir(root) as entries:
            folders = [
                one.name for one in islice(entries, _MOST_ENTRIES) if one.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return ()
    packages = [name for name in folders if is_name(name) and os.path.isfile(f"{root}/{name}/__init__.py")]
    sources = [name for name in sorted({*_SOURCES, *packages} - {*_NO_SOURCES}) if name in folders]
    found = [*sources, *(name for name in _TESTS if name in folders)]
    return tuple(f"{name}/**" for name in found) if sources and len(found) <= _MOST_FOLDERS else ()
