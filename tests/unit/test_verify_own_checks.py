"""What a run's own checks execute and read: known from their words alone."""

from __future__ import annotations

import pytest

from runner.verify.inspect import Allowed, Observed, Severity, findings
from runner.verify.own_checks import OwnChecks, guarded, looks_like_test


@pytest.mark.parametrize(
    ("argv", "path"),
    [
        (["sh", "ci/test.sh"], "ci/test.sh"),
        (["./ci/test.sh"], "ci/test.sh"),
        (["ci/../ci/test.sh"], "ci/test.sh"),
        (["sh", "-c", "cd x && sh './ci/test.sh';true"], "ci/test.sh"),
        (["bash", "-c", "source ci/lib.sh"], "ci/lib.sh"),
        (["python3", "check.py"], "check.py"),
        (["python", "-m", "tools.check"], "tools/check.py"),
        (["python3.11", "-m", "tools.check"], "tools/check/__main__.py"),
        (["python", "-m", "pytest"], "pytest.py"),
        (["mypy", "--config-file=conf/mypy.ini"], "conf/mypy.ini"),
        (["prog", "@args.txt"], "args.txt"),
        (["env", "X=1", "./run"], "run"),
        (["pytest"], "conftest.py"),
        (["pytest"], "src/deep/conftest.py"),
        (["pytest"], "pyproject.toml"),
        ([".venv/bin/pytest", "-q"], "pytest.ini"),
        (["uv", "run", "pytest"], "tox.ini"),
        (["python", "-m", "pytest"], "sitecustomize.py"),
        (["make", "test"], "Makefile"),
        (["make", "test"], "build/common.mk"),
        (["make", "test"], "conftest.py"),
        (["npm", "test"], "package.json"),
        (["npm", "test"], "jest.config.mjs"),
        (["npx", "vitest"], "web/vitest.config.ts"),
        (["npx", "tsc", "--noEmit"], "tsconfig.build.json"),
        (["npx", "eslint", "."], ".eslintrc.json"),
        (["cargo", "test"], "Cargo.toml"),
        (["cargo", "test"], ".cargo/config.toml"),
        (["cargo", "test"], "build.rs"),
        (["go", "test", "./..."], "go.mod"),
        (["./ci/test.sh"], "package.json"),
        (["bash", "-c", "D=ci; sh $D/test.sh"], "ci/test.sh"),
        (["bash", "-c", "R=$(pwd); $R/ci/test.sh"], "ci/test.sh"),
        (["bash", "-c", "for t in test lint; do ./ci/$t.sh; done"], "ci/lint.sh"),
        (["bash", "-c", "for t in ci/*.sh; do bash $t; done"], "ci/test.sh"),
        (["bash", "-c", "cd web && sh ci/$t.sh"], "web/ci/test.sh"),
        (["env", "D=ci", "bash", "-c", "bash $D/test.sh"], "ci/test.sh"),
    ],
)
def test_what_a_command_names_and_the_settings_of_its_tool_are_its_own(argv: list[str], path: str) -> None:
    assert OwnChecks([argv]).read(path)
    assert OwnChecks([argv]).read(path, is_new=True), "a new file of settings is read as well"


@pytest.mark.parametrize(
    ("argv", "path"),
    [
        (["python3", "-m", "unittest"], "argparse.py"),
        (["python3", "-m", "unittest"], "argparse/__init__.py"),
        (["python3", "-m", "unittest"], "argparse.cpython-311-x86_64-linux-gnu.so"),
        (["python3", "-m", "unittest"], "_threading_local.pyc"),
        (["sh", "-c", "cd sub && pytest"], "sub/difflib.py"),
        (["python3", "tools/check.py"], "tools/json/__init__.py"),
        (["pytest", "tests/test_a.py"], "tests/types.py"),
        (["make", "test"], "argparse.py"),
    ],
)
def test_a_new_module_that_hides_one_of_the_library_is_read(argv: list[str], path: str) -> None:
    assert OwnChecks([argv]).read(path, is_new=True)
    allowed = Allowed(writes=True, checks=(tuple(argv),))
    (found,) = findings(allowed, None, Observed((path,), added=(path,)))
    assert (found.code, found.severity) == ("check_changed", Severity.WARNING)


@pytest.mark.parametrize(
    ("argv", "path"),
    [
        (["python3", "-m", "unittest"], "src/app/types.py"),
        (["python3", "-m", "unittest"], "argparse/notes.py"),
        (["python3", "-m", "unittest"], "json/data.json"),
        (["python3", "-m", "unittest"], "argparse.md"),
        (["python3", "-m", "unittest"], "app.py"),
        (["python3", "-m", "unittest"], "test/__init__.py"),
        (["python3", "-m", "app"], "app/types.py"),
        (["cargo", "test"], "argparse.py"),
        (["ruff", "check"], "argparse.py"),
    ],
)
def test_a_new_module_that_hides_none_of_the_library_is_not_read(argv: list[str], path: str) -> None:
    assert not OwnChecks([argv]).read(path, is_new=True)


def test_a_module_of_the_library_that_was_hidden_before_is_work_as_any_other() -> None:
    assert not OwnChecks([["python3", "-m", "unittest"]]).read("queue.py")


def test_a_test_that_a_command_names_is_read_unless_the_run_has_written_it() -> None:
    own = OwnChecks([["pytest", "tests/test_a.py::TestX::test_b"]])
    assert own.read("tests/test_a.py") and not own.read("tests/test_a.py", is_new=True)
    with_python = OwnChecks(
        [["python", "-m", "pytest", "tests/test_a.py"]], behind=["tests/test_a.py/index.js"]
    )
    assert with_python.read("tests/test_a.py") and not with_python.read("tests/test_a.py", is_new=True)
    assert OwnChecks([["pytest", "tests"]]).read("tests/conftest.py", is_new=True)
    assert OwnChecks([["python", "-m", "tests"]]).read("tests/__main__.py", is_new=True)  # may hide another


def test_a_file_or_link_in_the_place_of_a_folder_above_it_is_read_through() -> None:
    assert OwnChecks([["sh", "ci/test.sh"]]).read("ci")


@pytest.mark.parametrize(
    ("argv", "path"),
    [
        (["true"], "package.json"),
        (["test", "-f", "out.txt"], "src/main.py"),
        (["ruff", "check", "."], "src/main.py"),
        (["ruff", "check", "src"], "conftest.py"),
        (["mypy", "src"], "tests/test_a.py"),
        (["pytest", "tests"], "src/main.py"),
        (["pytest", "tests"], "tests.txt"),
        (["sh", "/usr/lib/ci/test.sh"], "ci/test.sh"),
        (["sh", "../ci/test.sh"], "ci/test.sh"),
    ],
)
def test_what_it_only_works_on_is_not(argv: list[str], path: str) -> None:
    assert not OwnChecks([argv]).read(path)


def test_a_path_is_seen_from_the_folder_in_which_the_checks_run() -> None:
    checks = OwnChecks([["sh", "ci/test.sh", "../shared.sh"]], cwd="packages/a")
    assert checks.read("packages/a/ci/test.sh")
    assert checks.read("packages/shared.sh")
    assert not checks.read("ci/test.sh")


@pytest.mark.parametrize("argv", [["pytest"], ["pytest", "tests"], ["make"], ["go", "test"], ["./ci/all"]])
def test_a_test_that_was_there_is_read_and_a_new_one_is_no_rewritten_check(argv: list[str]) -> None:
    assert OwnChecks([argv]).read("tests/test_a.py")
    assert not OwnChecks([argv]).read("tests/test_a.py", is_new=True)


def test_a_test_that_the_task_names_counts_for_any_tool_with_settings() -> None:
    assert OwnChecks([["mypy", "src"]], files=["tests/*.py"]).read("tests/test_a.py")
    assert not OwnChecks([], files=["tests/*.py"]).read("tests/test_a.py")
    assert not OwnChecks([["mypy", "src"]], files=["src/*.py"]).read("src/a.py"), "it is to be changed"


def test_tests_are_known_by_name_or_folder() -> None:
    assert all(
        map(looks_like_test, ("test_a.py", "a/b_test.go", "x.spec.ts", "spec/a.rb", "src/FooTest.java"))
    )
    assert not any(map(looks_like_test, ("src/testing.py", "contest.py", "latest/a.py", "attest")))


def seen(*paths: str, added: tuple[str, ...] = ()) -> Observed:
    return Observed(changed=paths, added=added)


def test_a_rewritten_check_is_a_warning_and_an_error_where_it_is_protected() -> None:
    allowed = Allowed(writes=True, checks=(("sh", "ci/test.sh"),), cwd="/repo")
    (found,) = findings(allowed, None, seen("ci/test.sh", "src/a.py"), root="/repo")
    assert (found.code, found.severity, found.evidence) == (
        "check_changed",
        Severity.WARNING,
        ("ci/test.sh",),
    )
    (found,) = findings(allowed.replace(protect=("ci",)), None, seen("ci/test.sh"), root="/repo")
    assert (found.code, found.severity, found.evidence) == ("check_changed", Severity.ERROR, ("ci/test.sh",))


def test_a_protected_file_is_an_error_without_any_check_and_also_when_it_is_new_or_gone() -> None:
    allowed = Allowed(writes=True, protect=("ci/**",))
    (found,) = findings(allowed, None, seen("ci/new.sh", "src/a.py", added=("ci/new.sh",)))
    assert (found.severity, found.evidence) == (Severity.ERROR, ("ci/new.sh",))
    assert guarded((), ("a",)) == ()


def test_a_command_without_words_reads_nothing() -> None:
    assert not OwnChecks([[], [""], ["="]]).read("a")


def test_a_file_may_be_named_absolutely_or_by_its_folder() -> None:
    checks = OwnChecks([["sh", "/repo/ci/test.sh"], ["python3", "tools/check"]], cwd="sub", root="/repo")
    assert checks.read("ci/test.sh") and checks.read("sub/tools/check/__main__.py")
    assert not checks.read("sub/ci/test.sh") and not checks.read("tools/check/__main__.py")


def test_what_a_named_link_leads_to_is_read() -> None:
    allowed = Allowed(writes=True, checks=(("./check",),), cwd="/repo", behind=("link", "tools/check.sh"))
    for path in ("tools/check.sh", "link", "check"):
        (found,) = findings(allowed, None, seen(path), root="/repo")
        assert (found.code, found.evidence) == ("check_changed", (path,))


def test_of_ignored_files_those_that_are_named_or_protected_count() -> None:
    allowed = Allowed(writes=True, checks=(("sh", "out/test.sh"),), cwd="/repo", protect=("secrets/**",))
    observed = Observed((), ignored=("out/test.sh", "secrets/a", ".venv/conftest.py"), ignored_count=3)
    found = [one for one in findings(allowed, None, observed, root="/repo") if one.code == "check_changed"]
    assert [(one.severity, one.evidence) for one in found] == [
        (Severity.ERROR, ("secrets/a",)),
        (Severity.WARNING, ("out/test.sh",)),
    ]


@pytest.mark.parametrize(
    ("argv", "path"),
    [
        (["sh", "-c", "cd x && python -m tools.check"], "tools/check.py"),
        (["python", "-mtools.check"], "tools/check.py"),
        (["python3", "-Im", "tools.check"], "tools/check/__main__.py"),
        (["python", "-m", "tools.deep.check"], "tools/__init__.py"),
        (["python", "-m", "tools.deep.check"], "tools/deep/__init__.py"),
        (["python", "-m", "tools.check"], "tools.py"),
        (["python", "-m", "tools"], "tools/__main__.pyc"),
        (["pytest", "-p", "tools.plugin"], "tools/plugin.py"),
        (["pytest", "-ptools.plugin"], "tools/plugin.py"),
        (["prog", "-fci/rules"], "ci/rules"),
        (["sh", "-c", "cd ci && ./run"], "ci/run"),
        (["ninja", "-C", "ci", "-f", "run.ninja"], "ci/run.ninja"),
        (["ninja", "-Cci", "-f", "run.ninja"], "ci/run.ninja"),
        (["prog", "--directory=ci", "run"], "ci/run"),
    ],
)
def test_a_module_or_file_is_its_own_however_the_words_name_it(argv: list[str], path: str) -> None:
    assert OwnChecks([argv]).read(path) and OwnChecks([argv]).read(path, is_new=True)
    assert not OwnChecks([argv]).read(f"other/{path}")


@pytest.mark.parametrize(
    ("argv", "folder", "below"),
    [
        (["sh", "tests/run"], "tests/run", ["tests/run/test_a.py"]),
        (["sh", "-eu", "tests/run"], "tests/run", ["x"]),
        (["env", "A=1", "dash", "--", "./run"], "run", ["run/x"]),
        (["sh", "-c", "make && sh 'ci/run' all"], "ci/run", ["ci/run/x"]),
        (["sh", "-e", "run"], "run", ["run/x"]),
        (["sh", "-c", "make; cat tests/run | sh"], "tests/run", ["tests/run/test_a.py"]),
        (["sh", "-c", "cd ci && . ./run"], "ci/run", ["ci/run/test_a.py"]),
        (["bash", "-c", "source ci/run"], "ci/run", ["ci/run/test_a.py"]),
        (["sed", "-n", "-f", "ci/rules"], "ci/rules", ["ci/rules/test_a.py"]),
        (["run-parts", "ci/all"], "ci/all", ["ci/all/10-pass"]),
        (["./prog", "ci/all"], "ci/all", ["ci/all/10-pass"]),
        (["pytest", "tests/new"], "tests/new", []),
        (["ruff", "check", "src/new"], "src/new", []),
    ],
)
def test_a_new_folder_in_the_place_of_a_check_is_taken_for_it(
    argv: list[str], folder: str, below: list[str]
) -> None:
    assert OwnChecks([argv]).take_for(folder, below, is_filled=bool(below))
    assert not OwnChecks([argv]).take_for(f"{folder}s", [], is_filled=False)


@pytest.mark.parametrize(
    ("argv", "folder", "below"),
    [
        (["pytest", "-q", "tests/new"], "tests/new", ["tests/new/test_a.py"]),
        (["sh", "-c", "pytest tests/new"], "tests/new", ["tests/new/conftest.py"]),
        (["python", "-m", "unittest", "discover", "tests/new"], "tests/new", ["tests/new/a.py"]),
        (["sh", "ci/run.sh", "tests/new"], "tests/new", ["tests/new/test_a.py"]),
        (["bats", "tests/new"], "tests/new", ["tests/new/a.bats"]),
        (["ruff", "check", ".", "src/new"], "src/new", ["src/new/a.py"]),
        (["mypy", "--strict", "src/new"], "src/new", ["src/new/a.py"]),
    ],
)
def test_a_new_folder_that_is_to_be_examined_is_no_rewritten_check(
    argv: list[str], folder: str, below: list[str]
) -> None:
    own = OwnChecks([argv], behind=[folder])
    assert not own.take_for(folder, below, is_filled=True)
