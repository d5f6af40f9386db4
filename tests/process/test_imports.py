"""What a command really imports, measured while it runs: the standard library and ourselves."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.repo import Repo

from runner.runtimes import NAMES
from runner.workspace import snapshot

DEAR = {"re", "enum", "json", "argparse", "typing", "dataclasses", "subprocess"}
"""More than half of an empty interpreter together."""
PYTHON = (sys.executable, "-X", "importtime")


def imported(repo: Repo, *words: str) -> set[str]:
    """The modules that the process imported, without those of an interpreter that does nothing."""

    def told(*argv: str) -> set[str]:
        done = subprocess.run(
            [*PYTHON, *argv],
            cwd=repo.root,
            env=repo.env,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
        return {line.rpartition("|")[2].strip() for line in lines}

    return told("-m", "runner", *words) - told("-c", "pass")


def foreign(modules: set[str]) -> set[str]:
    packages = {module.split(".")[0] for module in modules}
    return packages - sys.stdlib_module_names - {"runner", "_sha2"}


def of_others(modules: set[str]) -> set[str]:
    """Modules of runtimes that the run does not have."""
    others = tuple(f"runner.runtimes.{name}" for name in NAMES if name != "codex")
    return {module for module in modules if module.startswith(others)}


@pytest.fixture
def finished(repo: Repo) -> Repo:
    """A repository with one run that is done, and the settings known from its start."""
    repo.task()
    repo.quick_codex()
    repo.cli("start", "--task", "work", "--wait")
    return repo


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("list", "--all"),
        ("status", "@latest"),
        ("status", "@latest", "--format", "json"),
        ("cancel", "@latest"),
        ("wait", "@latest"),
        ("await", "@latest"),
        ("logs", "@latest"),
        ("logs", "@latest", "--follow"),
        ("events",),
        ("reap",),
        ("clean", "--dry-run"),
        ("report", "@latest"),
        ("report", "@latest", "--format", "json"),
    ],
    ids=" ".join,
)
def test_operating_a_run_imports_nothing_foreign(words: tuple[str, ...], finished: Repo) -> None:
    modules = imported(finished, *words)
    assert "runner.usecases.look" in modules
    assert foreign(modules) == of_others(modules) == set()
    assert not {module for module in modules if module.startswith(("runner.config", "runner.usecases.start"))}
    if words[0] not in ("logs", "report", "clean"):
        assert not modules & DEAR


@pytest.mark.parametrize(
    "words", [("",), ("start", "--"), ("start", ""), ("start", "--task", ""), ("status", "")]
)
def test_what_a_shell_asks_at_a_key_imports_little(words: tuple[str, ...], finished: Repo) -> None:
    modules = imported(finished, "__complete", "bash", *words)
    assert "runner.cli.complete" in modules
    assert foreign(modules) == set()
    assert not modules & {"runner.usecases.start", "runner.config.schema", *DEAR}


def test_asking_git_imports_nothing_foreign(finished: Repo) -> None:
    snapshot.take(str(finished.root), str(finished.runs()[-1].folder))
    assert foreign(imported(finished, "diff", "@latest")) == set()
    assert foreign(imported(finished, "report", "@latest", "--format", "html")) == set()
    finished.cli("start", "--task", "work", "--wait")
    assert foreign(imported(finished, "diff-runs", "@latest")) == set()


def test_a_start_with_known_settings_imports_nothing_foreign(finished: Repo) -> None:
    modules = imported(finished, "start", "--task", "work")
    assert "runner.usecases.start" in modules
    assert foreign(modules) == of_others(modules) == set()
    late = {"runner.config.schema", "runner.config.reading", "runner.usecases.material"}
    assert not modules & {*late, *DEAR}
    finished.cli("wait", "@latest")


def test_talking_to_a_run_imports_nothing_foreign(repo: Repo) -> None:
    repo.task()
    repo.waiting_codex()
    run = repo.start()
    repo.begun()
    for words in (("pause", run.id), ("resume", run.id), ("send", run.id, "Go on.")):
        modules = imported(repo, *words)
        assert "runner.usecases.look" in modules
        assert foreign(modules) == set()
    assert modules & {*DEAR, "runner.state.lineage"} == set()
    assert not {module for module in modules if module.startswith("runner.config")}
    repo.cli("cancel", run.id, "--grace", "0")


def test_the_supervisor_imports_nothing_foreign_from_begin_to_end(finished: Repo) -> None:
    """Its own program, on a run that has to be ended: everything that an end needs is imported by then."""
    code = """
import sys
from runner.supervise.__main__ import main
import runner.supervise.supervisor
assert main([sys.argv[1]]) == 0
"""
    run = finished.runs()[-1]
    run.edit(phase="running", status="running", outcome=None, ended_at=None, reason=None)
    done = subprocess.run(
        [*PYTHON, "-c", code, str(run.folder)],
        cwd=finished.root,
        env=finished.env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"runner.supervise.ending", "runner.redact.redactor"} <= modules
    assert of_others(modules) == set()
    assert not {module for module in modules if module.split(".")[0] in ("pydantic", "tomlkit", "rich")}
    assert not {module for module in modules if module.startswith(("runner.config", "runner.cli"))}
    assert run.on_disk()["phase"] == "done"
