"""Whether a check is led to another checkout by an editable install, as its files alone tell it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from runner.disk.editable import first_lead, lead
from runner.disk.programs import shebang

MAKEFILE = """
.PHONY: test lint
PYTHON ?= python
PYTEST := $(PYTHON) \\
  -m pytest
test:
\tpytest -q
lint:
\tgrep -q pytest README  # and not python
all: lint test
variable:
\t@$(PYTEST) -q
exported:
\tPYTHONPATH=$(CURDIR)/src pytest
install:
\tpip install -e .
.venv/stamp: pyproject.toml
\tcd . && pip install -e .
prepared: .venv/stamp
\t(cd ci; make lint); pytest
"""
FINDER = "import __editable___pkg_finder; __editable___pkg_finder.install()"


class Place:
    """A repository with a package, a work tree of it, and an environment outside of both."""

    def __init__(self, folder: Path) -> None:
        self.repo, self.tree, self.venv = folder / "repo", folder / "trees" / "tree", folder / "env"
        (self.repo / "src" / "pkg").mkdir(parents=True)
        (self.repo / "src" / "pkg" / "__init__.py").touch()
        (self.repo / "tests").mkdir()
        (self.repo / "tests" / "test_it.py").touch()
        shutil.copytree(self.repo, self.tree)
        own = self.repo / ".git" / "worktrees" / "tree"
        own.mkdir(parents=True)
        (self.repo / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        (own / "commondir").write_text("../..\n")  # as `git worktree add` writes it
        (self.tree / ".git").write_text(f"gitdir: {own}\n")
        self.site = self.venv / "lib" / "python3.12" / "site-packages"
        self.site.mkdir(parents=True)
        (self.venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
        self.program("python", "", link=sys.executable)
        self.program("pytest", f"#!{self.venv}/bin/python\n")
        self.env = {"PATH": f"{self.venv}/bin:/usr/bin:/bin", "HOME": str(folder)}

    def program(self, name: str, text: str, link: str | None = None) -> None:
        path = self.venv / "bin" / name
        path.parent.mkdir(exist_ok=True)
        if link is None:
            path.write_text(text)
            path.chmod(0o755)
        else:
            path.symlink_to(link)

    def installed(self, line: str, name: str = "__editable__.pkg-1.pth") -> None:
        (self.site / name).write_text(f"{line}\n")

    def write(self, name: str, text: str = "") -> None:
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def led(self, *argv: str, **env: str) -> str | None:
        """To which folder of the repository."""
        found = lead(argv, {**self.env, **env}, str(self.tree))
        return None if found is None else os.path.relpath(found.folder, self.repo)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("__editable__.pkg-1.pth", "{repo}/src"),
        ("_editable_impl_pkg.pth", "{repo}/src"),
        ("pkg.pth", "# of poetry\n\n{repo}/src/"),
        ("easy-install.pth", "/nowhere\n{repo}/src"),
        ("__editable__.pkg-1.pth", FINDER),
        ("mine.pth", "import sys; sys.path.insert(0, '{repo}/src')"),
        ("mine.pth", 'import site; site.addsitedir("{repo}/src")'),
    ],
)
def test_what_an_editable_install_leaves_is_known_by_its_files(place: Place, name: str, line: str) -> None:
    assert place.led("pytest") is None
    (place.site / "__editable___pkg_finder.py").write_text(
        f"import sys\nMAPPING: dict[str, str] = {{'pkg': '{place.repo}/src/pkg'}}\n"
    )
    place.installed(line.format(repo=place.repo), name)
    assert place.led("pytest", "-q") == "src"
    found = lead(["pytest"], place.env, str(place.tree))
    assert found is not None and found.by == f"{place.site}/{name}"
    assert lead(["pytest"], place.env, str(place.repo)) is None
    assert lead(["pytest"], place.env, str(place.repo), is_apart=True) is not None


@pytest.mark.parametrize(
    ("led", "argv"),
    [
        (True, "python -m pytest"),
        (True, "timeout 60 pytest -q"),
        (True, "{venv}/bin/python tests/test_it.py"),
        (True, "env X=1 pytest"),
        (True, "sh -c 'cd tests && pytest ..'"),
        (True, "make test"),
        (True, "sh ci/test.sh"),
        (True, "./ci/test.sh"),
        (True, "poetry run pytest"),
        (True, "uv run --no-sync pytest"),
        (False, "uv run pytest"),
        (False, "tox -e py"),
        (False, "ruff check"),
        (False, "python -m mypy src"),
        (False, "env PYTHONPATH=src pytest"),
        (False, "env PYTHONPATH=lib:src python -m pytest"),
        (True, "env PYTHONPATH=lib pytest"),
        (True, "env PYTHONPATH={repo}/src pytest"),
        (False, "sh -c 'PYTHONPATH=$PWD/src:$PYTHONPATH pytest'"),
        (False, """sh -c 'PYTHONPATH="$(pwd)/src" pytest'"""),
        (False, "pytest -o pythonpath=src"),
        (False, """python -c "import sys; sys.path.insert(0, 'src'); import pkg\""""),
        (True, "python -c 'import pkg'"),
        (False, "git diff --check"),
        (False, "./not-there"),
        # a word that is a mere argument starts nothing
        (False, "grep -q pytest README"),
        (False, "git grep pytest"),
        (False, "echo python"),
        (False, "which pytest"),
        (False, "sh -c 'grep -q python README && echo \"pytest; python\" # pytest'"),
        (False, "sh -c 'command -v pytest'"),
        (False, "timeout -k 5 60 grep -q pytest README"),
        (False, "make lint"),
        (False, "sh -c 'python --version; python -m compileall -q src'"),
        # what a shell or a launcher starts
        (True, "bash -euo pipefail -c 'exec pytest | cat'"),
        (True, "sh -c 'if true; then pytest; fi'"),
        (True, "make all"),
        (True, "make -s lint all"),
        (True, "make VAR=1 variable"),
        (True, "make no-rule"),
        (True, "make -j 4 -C ci check"),
        (False, "make -C ci lint"),
        (True, "make -C ci"),
        (False, "make exported"),
        (True, "sh ci/calls.sh"),
        # options of Python
        (False, "python -S tests/test_it.py"),
        (True, "env PYTHONPATH=src python -I -m pytest"),
        (True, "env PYTHONPATH=src python -E tests/test_it.py"),
        (True, "python -Wignore -X dev -m pytest"),
        # what comes first
        (True, "env PYTHONPATH={repo}/src:src pytest"),
        (True, "env PYTHONPATH=../../repo/src pytest"),
        (False, "env PYTHONPATH=$ROOT/src pytest"),
        (False, "sh -c 'export PYTHONPATH=src; pytest'"),
        (False, "sh -c 'cd src && python -m pytest ../tests'"),
        (True, "sh -c '(cd src); python -m pytest'"),
        (False, "python ci/paths.py"),
        # what installs the tree before
        (False, "sh -c 'pip install -q -e . && pytest'"),
        (False, "sh -c 'python -m pip install -e \".[test]\"; python -m pytest'"),
        (False, "make install variable"),
        (False, "make prepared"),
        (True, "sh -c 'pip install -e ../other && pytest'"),
        (True, "sh -c 'pip install pytest && pytest'"),
        (True, "sh -c 'pytest && pip install -e .'"),
    ],
)
def test_the_words_of_a_check_say_what_it_imports_first(place: Place, led: bool, argv: str) -> None:
    place.installed(f"{place.repo}/src")
    (place.tree / ".venv").symlink_to(place.venv)
    place.write("ci/test.sh", "#!/bin/sh\n# PYTHONPATH=src would be better\nexec pytest\n")
    (place.tree / "ci" / "test.sh").chmod(0o755)
    place.write("ci/calls.sh", "./ci/test.sh\n")
    place.write("ci/paths.py", "import sys\nsys.path.insert(0, 'src')\n")
    place.write("Makefile", MAKEFILE)
    place.write("ci/Makefile", "check:\n\tpython ../tests/test_it.py\nlint:\n\techo python\n")
    for name in ("uv", "poetry", "tox", "ruff", "pip"):
        place.program(name, f"#!{place.venv}/bin/python\n")
    words = argv.format(repo=place.repo, venv=place.venv)
    assert place.led(*shlex.split(words)) == ("src" if led else None)


@pytest.mark.parametrize(
    ("name", "text", "led"),
    [
        ("pyproject.toml", '[tool.pytest.ini_options]\npythonpath = ["src"]\n', False),
        ("pytest.ini", "[pytest]\npythonpath = src\naddopts = -q\n", False),
        ("tox.ini", "[pytest]\npythonpath =\n    lib\n    src\n", False),
        ("pytest.ini", "[pytest]\npythonpath = lib\n", True),
        ("conftest.py", "import sys\nsys.path.insert(0, 'src')\n", False),
        ("tests/conftest.py", "import pytest\n", True),
        ("src/conftest.py", "", False),
        ("src/pkg/tests/test_it.py", "", False),
        ("src/pkg/test_it.py", "", False),
        ("Makefile", "test:\n\tPYTHONPATH=src pytest\n", True),
        ("Makefile", "export PYTHONPATH := src\ntest:\n\tpytest\n", True),
        (
            "pyproject.toml",
            '# pythonpath = ["lib"] was wrong\n[tool.pytest.ini_options]\npythonpath = ["src"]\n',
            False,
        ),
        ("pyproject.toml", '# pythonpath = ["src"]\n[tool.pytest.ini_options]\naddopts = "-q"\n', True),
        ("pyproject.toml", "[tool.pytest.ini_options]\ntestpaths = 't' # pythonpath = ['src']\n", True),
        ("pyproject.toml", "[tool.pytest]\nini_options = { pythonpath = ['src'] }\n", False),
        ("setup.cfg", "# the pythonpath\n[tool:pytest]\n; pythonpath = lib\npythonpath = src\n", False),
        ("pytest.ini", "[pytest]\n; pythonpath = src\n", True),
    ],
)
def test_what_pytest_puts_first_is_known(place: Place, name: str, text: str, led: bool) -> None:
    place.installed(f"{place.repo}/src")
    place.write(name, text)
    assert place.led("pytest") == ("src" if led else None)
    if name == "Makefile":
        assert place.led("make") is None
    if name.startswith("src"):
        assert place.led("pytest", "--import-mode=importlib") == "src"


@pytest.mark.parametrize(
    ("led", "text"),
    [
        (False, "pytest"),
        (True, ". {venv}/bin/activate && pytest"),
        (True, "source {venv}/bin/activate; python -m pytest"),
        (True, "PATH={venv}/bin:$PATH pytest"),
        (True, "export PATH={venv}/bin:$PATH; exec pytest"),
        (True, "VIRTUAL_ENV={venv} poetry run pytest"),
        (True, ". .venv/bin/activate && pytest"),
        (True, "PATH=.venv/bin:$PATH; pytest"),
        (True, 'exec "$PWD"/.venv/bin/python -m pytest'),
        (True, "timeout 60 .venv/bin/python -m pytest"),
        (False, "echo . {venv}/bin/activate; pytest"),
        (False, "(. {venv}/bin/activate); pytest"),
        (False, ". gone/bin/activate; pytest"),
    ],
)
def test_a_shell_can_choose_the_environment_itself(place: Place, led: bool, text: str) -> None:
    place.installed(f"{place.repo}/src")
    (place.tree / ".venv").symlink_to(place.venv)
    other = place.repo.parent / "other"
    other.mkdir()
    for name in ("pytest", "python", "poetry"):
        (other / name).write_text("#!/bin/sh\n")
        (other / name).chmod(0o755)
    words = ["bash", "-c", text.format(venv=place.venv)]
    assert place.led(*words, PATH=f"{other}:/usr/bin:/bin") == ("src" if led else None)
    (place.repo / ".venv").mkdir()
    (place.repo / ".venv" / "bin").symlink_to(place.venv / "bin")
    is_of_tree = ".venv" in text.replace("{venv}", "")
    env = {"PATH": f"{other}:/usr/bin:/bin"}
    apart = lead(words, env, str(place.repo), is_apart=True)
    assert (apart is not None) == (led and not is_of_tree), "a tree to be made has no environment yet"


@pytest.mark.parametrize(
    ("led", "argv"),
    [
        (True, "pytest"),
        (True, "make"),
        (True, "sh -c '. {repo}/.venv/bin/activate; python -m pytest'"),
        (True, "{repo}/.venv/bin/python -m pytest"),
        (True, "./check.py"),
        (True, "env PYTHONPATH={repo}/src pytest"),
        (False, "env PYTHONPATH=src pytest"),
        (False, "sh -c 'PYTHONPATH=$PWD/src pytest'"),
        (False, ".venv/bin/python -m pytest"),
        (False, "sh -c 'PATH=$PWD/.venv/bin:$PATH pytest'"),
        (False, "sh -c 'pip install -e . && pytest'"),
    ],
)
def test_your_own_environment_in_the_checkout_leads_a_tree_to_be_made(
    place: Place, led: bool, argv: str
) -> None:
    place.venv.rename(place.repo / ".venv")
    place.venv = place.repo / ".venv"
    (place.repo / "Makefile").write_text("test:\n\tpytest\n")
    (place.repo / "check.py").write_text("#!/usr/bin/env python\n")
    (place.repo / "check.py").chmod(0o755)
    for name in ("pytest", "pip"):
        place.program(name, f"#!{place.venv}/bin/python\n")
    (place.venv / "lib" / "python3.12" / "site-packages" / "pkg.pth").write_text(f"{place.repo}/src\n")
    env = {"PATH": f"{place.venv}/bin:/usr/bin:/bin"}
    words = shlex.split(argv.format(repo=place.repo))
    assert (lead(words, env, str(place.repo), is_apart=True) is not None) == led
    assert lead(words, env, str(place.repo)) is None


def test_a_flat_layout_is_found_first_by_the_module_and_not_by_the_script(place: Place) -> None:
    place.installed(str(place.repo))
    place.program("coverage", f"#!{place.venv}/bin/python\n")
    assert place.led("pytest") == "."
    assert place.led("python", "-m", "pytest") is None
    assert place.led("python", "-m", "unittest") is None
    for words in ("coverage run -m pytest", "coverage run --source tests -m pytest", "python -mpytest"):
        assert place.led(*words.split()) is None
    for words in ("coverage run tests/test_it.py", "python -I -m pytest", "python -P -m pytest"):
        assert place.led(*words.split()) == "."
    assert place.led("python", "-m", "pytest", PYTHONSAFEPATH="1") == "."
    assert place.led("pytest", PYTHONPATH="lib:") is None, "nothing is the folder where it is started"
    place.write("tests/__init__.py")
    assert place.led("pytest") is None


def test_an_environment_of_the_trees_own_leads_nowhere_and_a_copy_of_yours_does(place: Place) -> None:
    own = place.tree / ".venv"
    (own / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
    (own / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (own / "bin").mkdir()
    (own / "bin" / "python").symlink_to(sys.executable)
    (own / "lib" / "python3.12" / "site-packages" / "pkg.pth").write_text(f"{place.tree}/src\n")
    place.installed(f"{place.repo}/src")
    assert place.led(".venv/bin/python", "-m", "pytest") is None
    (own / "bin" / "pytest").write_text(f"#!{place.venv}/bin/python\n")
    (own / "bin" / "pytest").chmod(0o755)
    assert place.led(".venv/bin/pytest") == "src"
    long = f'#!/bin/sh\n\'\'\'exec\' "{place.venv}/bin/python" "$0" "$@"\n'
    (own / "bin" / "pytest").write_text(long)
    assert place.led(".venv/bin/pytest") == "src"
    (own / "bin" / "pytest").write_text(long.replace('"', "'", 2))
    assert place.led(".venv/bin/pytest") == "src"


@pytest.mark.parametrize("says", ["home", "repository"])
def test_a_shim_of_pyenv_is_the_program_of_the_version_that_counts(
    place: Place, tmp_path: Path, says: str
) -> None:
    place.installed(f"{place.repo}/src")
    pyenv = tmp_path / "pyenv"
    for folder in ("shims", "versions"):
        (pyenv / folder).mkdir(parents=True)
    (pyenv / "versions" / "work").symlink_to(place.venv)
    (pyenv / "shims" / "pytest").write_text("#!/usr/bin/env bash\nexec pyenv exec pytest\n")
    (pyenv / "shims" / "pytest").chmod(0o755)
    (pyenv / "version").write_text("work\n" if says == "home" else "3.9\n")
    path = f"{pyenv}/shims:/usr/bin"
    if says == "repository":
        assert place.led("pytest", PATH=path) is None
        place.write(".python-version", "work\n3.9\n")
    assert place.led("pytest", PATH=path) == "src"


@pytest.mark.parametrize("where", ["venv with the packages of the system", "home", "prefix", "of Debian"])
def test_packages_of_a_python_without_an_environment_are_known_too(
    place: Place, tmp_path: Path, where: str
) -> None:
    python = tmp_path / "opt" / "bin" / "python3.12"
    python.parent.mkdir(parents=True)
    python.write_text("")
    python.chmod(0o755)
    site = {"home": ".local/lib/python3.12/site", "of Debian": "opt/lib/python3/dist"}
    folder = tmp_path / f"{site.get(where, 'opt/lib/python3.12/site')}-packages"
    folder.mkdir(parents=True)
    (folder / "pkg.pth").write_text(f"{place.repo}/src\n")
    started = python
    if where.startswith("venv"):
        started = place.venv / "bin" / "python3"
        started.symlink_to(python)
        (place.venv / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
    assert place.led(str(started), "tests/test_it.py") == "src"
    if where.startswith("venv"):
        (place.venv / "pyvenv.cfg").write_text("include-system-site-packages = false\n")
        assert place.led(str(started), "tests/test_it.py") is None


def test_other_repositories_and_folders_that_are_gone_are_no_other_checkout(
    place: Place, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (other / "src").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", other], check=True)
    place.installed(f"{other}/src\n{place.repo}/gone\n{place.tree}/src")
    assert place.led("pytest") is None
    assert place.led("pytest", PYTHONPATH=f"{place.repo}/src") == "src"
    assert place.led("pytest", PYTHONPATH=f"src:{place.repo}/src") is None
    place.installed("")
    env = {**place.env, "PYTHONPATH": f"{place.repo}/src"}
    assert first_lead([["pytest"]], env, str(place.repo), is_apart=True) is None, "it may not be passed on"


@pytest.mark.parametrize(("version", "led"), [("12", False), ("13", True)])
def test_a_byte_order_mark_is_read_over_by_the_pythons_that_do(place: Place, version: str, led: bool) -> None:
    """https://docs.python.org/3/whatsnew/3.13.html"""
    site = place.site.parents[1] / f"python3.{version}" / "site-packages"
    site.mkdir(parents=True, exist_ok=True)
    (site / "pkg.pth").write_text(f"\ufeff{place.repo}/src\n")
    assert place.led("pytest") == ("src" if led else None)


def test_no_words_lead_nowhere(place: Place) -> None:
    assert lead([], place.env, str(place.tree)) is None
    for words in (
        [""],
        ["sh"],
        ["sh", "-c"],
        ["sh", "-c", "'"],
        ["env"],
        ["make"],
        ["make", ""],
        ["python", ""],
    ):
        assert place.led(*words) is None


@pytest.mark.parametrize(
    "text",
    ["all:\n" + "\t$(MAKE) all x\n" * 4000, "A=$(B)$(B)$(B)\nB=$(A)$(A)\nall:\n" + "\t$(A)\n" * 9000],
)
def test_a_makefile_that_calls_itself_does_not_hold_the_reader_up(place: Place, text: str) -> None:
    place.installed(f"{place.repo}/src")
    place.write("Makefile", text)
    assert place.led("make") is None
    assert place.led("sh", "-c", "env " * 5000 + "pytest") == "src"


def test_a_check_in_place_is_led_to_another_work_tree_of_the_user(place: Place) -> None:
    place.installed(f"{place.tree}/src")
    found = lead(["pytest"], place.env, str(place.repo))
    assert found is not None and found.folder == f"{place.tree}/src"


@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "nul", "huge"])
def test_files_of_an_environment_that_are_none_do_not_hold_the_reader_up(place: Place, kind: str) -> None:
    path = place.site / "odd.pth"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(path)
    elif kind == "nul":
        path.write_bytes(b"\0\xff/x\nimport \0\n")
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    place.installed(f"{place.repo}/src", "z.pth")
    assert place.led("pytest") == "src"


@pytest.mark.parametrize(
    ("led", "program"),
    [
        (False, "import os, sys as s\nfrom pathlib import Path\nprint(1)\n"),
        (False, "import json; print(json.dumps(1))\n"),
        (True, "import os, pkg\n"),
        (True, "import os\ntry: import pkg\nexcept ImportError: pass\n"),
        (True, "import os, \\\n    pkg\n"),
        (True, "import os\nfrom beside import a\n"),
        (True, "import os\nos.system('pytest')\n"),
        (True, "import subprocess\nsubprocess.run(['pytest'])\n"),
        (True, "import os\n__import__('pkg')\n"),
    ],
)
def test_a_program_that_imports_of_python_alone_is_led_nowhere(place: Place, led: bool, program: str) -> None:
    place.installed(f"{place.repo}/src")
    place.write("check.py", f"#!/usr/bin/env python\n{program}")
    (place.tree / "check.py").chmod(0o755)
    for argv in (["python", "check.py"], ["./check.py"], ["python", "-c", program]):
        assert place.led(*argv) == ("src" if led else None), argv


@pytest.mark.parametrize("module", ["tox", "nox", "pre_commit", "http.server"])
def test_a_module_is_what_the_program_of_its_name_is(place: Place, module: str) -> None:
    place.installed(f"{place.repo}/src")
    assert place.led("python", "-m", module, "run") is None


@pytest.mark.parametrize(
    ("led", "name", "text"),
    [
        (False, "Makefile", ".ONESHELL:\ntest:\n\texport PYTHONPATH=src\n\tpytest\n"),
        (True, "Makefile", "test:\n\texport PYTHONPATH=src\n\tpytest\n"),
        (False, "justfile", "test:\n  #!/usr/bin/env bash\n  export PYTHONPATH=src\n  pytest\n"),
        (True, "justfile", "test: a\n  pytest\na:\n  #!/bin/sh\n  export PYTHONPATH=src\n"),
    ],
)
def test_a_recipe_of_one_shell_keeps_its_variables(place: Place, led: bool, name: str, text: str) -> None:
    place.installed(f"{place.repo}/src")
    place.program("just", "")
    place.write(name, text)
    assert place.led("make" if name == "Makefile" else "just", "test") == ("src" if led else None)


def test_an_environment_that_an_agent_wrote_does_not_hold_the_reader_up(place: Place) -> None:
    place.installed("import odd\n" * 50_000, "odd.pth")
    (place.site / "odd.py").write_text("x" * (1 << 20))
    place.write("Makefile", "test:\n" + "\tpytest\n" * 500)
    start = monotonic()
    assert place.led("make", "test") is None
    assert monotonic() - start < 30


@pytest.mark.parametrize("line", [b"#!/x\0/python\n", b"#!/usr/bin/env py\0/python\n"])
def test_an_interpreter_ends_where_the_kernel_ends_it(place: Place, line: bytes) -> None:
    path = place.tree / "run"
    path.write_bytes(line)
    path.chmod(0o755)
    assert place.led("./run") is None
    assert b"\0" not in os.fsencode(" ".join(shebang(str(path))))


@pytest.mark.parametrize("line", ["env " + "zz " * 1200, "A=1\n" * 2000])
def test_a_long_path_of_a_script_does_not_hold_the_reader_up(place: Place, line: str) -> None:
    place.write("check.sh", "PATH=" + "/a:" * 20_000 + f"\n{line}\n")
    start = monotonic()
    assert place.led("sh", "check.sh") is None
    assert monotonic() - start < 10


def test_words_that_are_no_paths_in_this_locale_lead_nowhere(tmp_path: Path) -> None:
    """In a process of its own: the encoding of file names is chosen when Python starts."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text("ref: refs/heads/main\n")
    lines = "→tool\n./ä→/x.sh\nPATH=→:$PATH pytest\n. →/activate\ncd → && pytest\n"
    (tmp_path / "run.sh").write_text(lines, encoding="utf-8")
    (tmp_path / "latin.sh").write_bytes(lines.replace("→", "é").encode("latin-1"))
    asked = (
        "import os; from runner.disk.editable import first_lead\n"
        "checks = [['sh', 'run.sh'], ['sh', 'latin.sh'], ['./\\u2192.sh'], ['sh', '-c', '. \\u2192/x; pytest']]\n"  # noqa: E501
        "checks += [['a\\0b'], ['']]\n"
        "print([first_lead([one], os.environ, os.getcwd(), is_apart=apart)"
        " for one in checks for apart in (True, False)])"
    )
    for env in ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONUTF8": "1"}):
        whole = {**os.environ, **env, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", asked],
            cwd=tmp_path,
            env=whole,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == (f"{[None] * 12}\n", ""), env
