"""What `init` finds in a repository, and the file that it writes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest

from runner.config import starter
from runner.config.commands import init, schema
from runner.config.detect import look

ROOT = Path(__file__).parents[2]
PYTEST = '[dependency-groups]\n{} = ["pytest>=8"]\n'
NPM = json.dumps({"scripts": {"test": "vitest run"}})
NO_TEST = {"test": 'echo "Error: no test specified" && exit 1'}
DOTS = ".".join("a" * 60_000) + " = 1\n[tool.pytest]\n"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A PATH with programs that have the usual names, and do nothing."""
    (tmp_path / "bin").mkdir()
    for name in ("python", "python3", "pytest", "uv", "tox", "make", "npm", "cargo"):
        (tmp_path / "bin" / name).touch(0o755)
    return {"PATH": f"{tmp_path}/bin"}


def made(repo, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        path = repo.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(0o755 if text[:2] == "#!" else 0o644)
    return repo.root


KINDS: dict[str, tuple[dict[str, str | bytes], str]] = {
    "pytest configured": ({"pyproject.toml": "[tool.pytest.ini_options]\na = 1\n"}, "python -m pytest -q"),
    "pytest 9": ({"pyproject.toml": "[tool.pytest]\nminversion = '9'\n"}, "python -m pytest -q"),
    "a group": ({"pyproject.toml": PYTEST.format("dev")}, "python -m pytest -q"),
    "an extra": (
        {"pyproject.toml": '[project.optional-dependencies]\ntest = ["coverage", "pytest"]\n'},
        "python -m pytest -q",
    ),
    "hatch": (
        {"pyproject.toml": '[tool.hatch.envs.default]\ndependencies = ["pytest"]\n'},
        "python -m pytest -q",
    ),
    "byte order mark": ({"pyproject.toml": b"\xef\xbb\xbf[tool.pytest]\na = 1\r\n"}, "python -m pytest -q"),
    "ini": ({"pytest.ini": ""}, "python -m pytest -q"),
    "tox with pytest": ({"tox.ini": "[tox]\n[pytest]\n"}, "python -m pytest -q"),
    "requirements": ({"requirements-dev.txt": "ruff\npytest==8.3\n"}, "python -m pytest -q"),
    "conftest": ({"tests/conftest.py": ""}, "python -m pytest -q"),
    "uv": ({"uv.lock": "", "pyproject.toml": PYTEST.format("dev")}, "uv run pytest -q"),
    "uv group": ({"uv.lock": "", "pyproject.toml": PYTEST.format("check")}, "uv run --group check pytest -q"),
    "uv usual group": (
        {"uv.lock": "", "pyproject.toml": PYTEST.format("ci") + '[tool.uv]\ndefault-groups = ["ci"]\n'},
        "uv run pytest -q",
    ),
    "uv extra": (
        {"uv.lock": "", "pyproject.toml": '[project.optional-dependencies]\nt = ["pytest"]\n'},
        "uv run --extra t pytest -q",
    ),
    "uv extra and configured": (
        {
            "uv.lock": "",
            "pyproject.toml": '[project.optional-dependencies]\nt = ["pytest"]\n[tool.pytest]\na = 1\n',
        },
        "uv run --extra t pytest -q",
    ),
    "own environment": (
        {"pytest.ini": "", ".venv/bin/pytest": "#!", ".venv/bin/python": "#!"},
        ".venv/bin/python -m pytest -q",
    ),
    "poetry that is not installed": (
        {"poetry.lock": "", "pyproject.toml": '[tool.poetry.group.dev.dependencies]\npytest = "*"\n'},
        "python -m pytest -q",
    ),
    "tox": ({"tox.ini": "[testenv]\n"}, "tox"),
    "tox before make": ({"tox.ini": "[tox]\n", "Makefile": "test:\n"}, "tox"),
    "nox": ({"noxfile.py": "@nox.session\ndef tests(session):\n"}, "nox -s tests"),
    "npm": ({"package.json": NPM}, "npm test"),
    "pnpm": ({"package.json": NPM, "pnpm-lock.yaml": ""}, "pnpm test"),
    "yarn": ({"package.json": NPM, "yarn.lock": ""}, "yarn test"),
    "bun": ({"package.json": NPM, "bun.lock": ""}, "bun run test"),
    "package manager": (
        {"package.json": json.dumps({"packageManager": "pnpm@9.1.0", "scripts": {"test": "jest"}})},
        "pnpm test",
    ),
    "a script that watches": (
        {"package.json": json.dumps({"scripts": {"test": "react-scripts test"}})},
        "env CI=true npm test",
    ),
    "make": ({"Makefile": ".PHONY: test\ntest: build\n\ttrue\n"}, "make test"),
    "make check": ({"Makefile": "test := 1\ncheck:\n"}, "make check"),
    "just": ({"justfile": "test *args:\n  true\n"}, "just test"),
    "cargo": ({"Cargo.toml": "[package]\n"}, "cargo test --workspace"),
    "go": ({"go.mod": "module example.org/x\n"}, "go test ./..."),
    "rspec": ({".rspec": ""}, "bundle exec rspec"),
    "mix": ({"mix.exs": ""}, "mix test"),
    "gradle": ({"gradlew": "", "build.gradle": ""}, "./gradlew test"),
    "maven": ({"pom.xml": "", "mvnw": ""}, "./mvnw -q test"),
    "the one that is here": ({"go.mod": "module m\n", "Makefile": "test:\n"}, "make test"),
    "nothing": ({"README.md": "pytest"}, ""),
    "no test": ({"package.json": json.dumps({"scripts": NO_TEST})}, ""),
    "a test without end": ({"package.json": json.dumps({"scripts": {"test": "vitest --watch"}})}, ""),
    "a variable": ({"Makefile": "test ::= 1\ntest:=1\ntests-fast:\n"}, ""),
    "a parameter": ({"justfile": "test-all:\ntest name:\n"}, ""),
    "no TOML": ({"pyproject.toml": "[tool.pytest"}, ""),
    "a workspace of uv that has no tests": ({"uv.lock": "", "pyproject.toml": "[project]\n"}, ""),
    "another encoding": ({"pyproject.toml": "[tool.pytest]\na = 1\n".encode("utf-16")}, ""),
    "a name with a line break": (
        {"uv.lock": "", "pyproject.toml": PYTEST.format('"a\\nb"')},
        "uv run pytest -q",
    ),
    "an option for a group": (
        {"uv.lock": "", "pyproject.toml": PYTEST.format('"--with=evil"')},
        "uv run pytest -q",
    ),
    "wrong types": (
        {
            "uv.lock": "",
            "pyproject.toml": 'dependency-groups = ["pytest"]\n[tool]\nuv = 1\npdm = [["pytest"]]\n'
            '[project]\noptional-dependencies = ["pytest"]\n',
        },
        "uv run pytest -q",
    ),
    "a list for package.json": ({"package.json": "[[]]"}, ""),
    "numbers": ({"package.json": '{"scripts": {"test": 1}, "packageManager": {}}'}, ""),
    "depth": ({"package.json": "[" * 200_000, "pyproject.toml": "a = " + "[" * 200_000}, ""),
    "an sdist without its tests": (
        {"PKG-INFO": "", "pyproject.toml": PYTEST.format("dev"), "shop.py": ""},
        "",
    ),
    "a long key": ({"pyproject.toml": DOTS}, ""),
}


@pytest.mark.parametrize(("files", "command"), KINDS.values(), ids=KINDS)
def test_init_finds_the_test_command_and_writes_a_file_that_checks(repo, env, files, command):
    report = init(str(made(repo, files)), env)

    verify = report.found.verify
    assert ("" if verify is None else " ".join(verify.argv)) == command
    assert repo.check().problems == ()
    data = tomllib.loads(repo.file.read_text())
    jsonschema.validate(data, schema("delegate"))
    assert list(data["tasks"]) == ["hello", "improve"]
    assert data["tasks"]["improve"].get("verify", []) == ([list(verify.argv)] if verify else [])
    assert len(repo.file.read_text().splitlines()) <= 32
    assert max(map(len, repo.file.read_text().splitlines())) <= 100


def test_what_else_would_do_is_told_and_stands_in_a_comment(repo, env):
    files = {
        "uv.lock": "",
        "pyproject.toml": PYTEST.format("dev"),
        "tox.ini": "[tox]\n",
        "Makefile": "test:\n",
    }

    found = init(str(made(repo, files)), env).found

    others = ["tox (tox.ini)", "make test (Makefile)"]
    assert [str(found.verify), *map(str, found.others)] == ["uv run pytest -q (pyproject.toml)", *others]
    assert all(f"# Also found: {other}\n" in repo.file.read_text() for other in others)


@pytest.mark.parametrize(
    ("files", "scope"),
    [
        ({"src/a.py": "", "tests/test_a.py": "", "docs/a.md": ""}, ("src/**", "tests/**")),
        ({"shop/__init__.py": "", "test/a.py": "", "docs/__init__.py": ""}, ("shop/**", "test/**")),
        ({"cmd/x.go": "", "internal/x.go": ""}, ("cmd/**", "internal/**")),
        ({"main.go": "", "tests/a.go": ""}, ()),
        ({'a"b\n[*]/__init__.py': "", "-x/__init__.py": ""}, ()),
        ({f"p{n}/__init__.py": "" for n in range(9)}, ()),
        ({"src": "a file"}, ()),
    ],
)
def test_the_scope_is_the_folders_of_sources_and_tests_if_these_are_plain(repo, env, files, scope):
    assert init(str(made(repo, files)), env).found.scope == scope

    assert tuple(repo.load().tasks["improve"].scope) == scope


def test_files_that_are_no_plain_text_of_a_usual_size_say_nothing_and_hold_nothing_up(repo, env):
    made(repo, {"real.toml": "[tool.pytest]\na = 1\n", "sources/__init__.py": ""})
    for name in ("Makefile", "tox.ini", "pytest.ini"):
        os.mkfifo(repo.root / name)
    (repo.root / "pyproject.toml").symlink_to("real.toml")
    (repo.root / "package.json").symlink_to("/dev/zero")
    (repo.root / "src").symlink_to("sources")
    (repo.root / "go.mod").mkdir()
    with open(repo.root / "Cargo.toml", "wb") as file:
        file.write(b"[package]\n")
        file.truncate(1 << 30)

    assert look(str(repo.root), env).to_json() == {"verify": None, "others": [], "scope": ["sources/**"]}


def test_nothing_of_the_repository_is_executed(repo, env):
    evil = f"#!/bin/sh\ntouch {repo.root}/executed\n"
    files = {
        "gradlew": evil,
        ".venv/bin/python": evil,
        ".venv/bin/pytest": evil,
        "conftest.py": "open('executed', 'w')",
    }

    assert init(str(made(repo, files)), {"PATH": f"{repo.root}/.venv/bin"}).found.verify is not None
    assert not (repo.root / "executed").exists()


def test_an_editor_reads_what_init_wrote_with_the_schema(repo, env):
    made(repo, {"pytest.ini": "", "Makefile": "test:\n", "src/a.py": ""})
    settings = repo.root / "delegate.toml"
    taplo = [str(Path(sys.executable).with_name("taplo")), "check", str(settings)]
    for found in (look(str(repo.root), env), look(str(repo.home), env)):
        settings.write_text(f"#:schema {ROOT}/schemas/delegate.schema.json\n{starter.text(found)}")
        done = subprocess.run(taplo, env={"HOME": str(repo.home)}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
