"""The gates before the first batch of a plan."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.doubles import install_codex
from support.values import a_config, a_task

from runner.conduct.consent import give
from runner.conduct.preflight import (
    FOR_PEOPLE,
    ConsentMissing,
    Nested,
    examine,
    meant,
    refuse_nested,
    refuse_unready,
    refuse_without_consent,
)
from runner.errors import ConfigInvalid, NotReady, PolicyRefused, RunnerError, TaskNotFound
from runner.model import Config, Level, Model, Policy, RuntimeSettings, Sandbox
from runner.runtimes.exam import Examined, Fitness

READS = Sandbox("look", Level.READ_ONLY)
WRITES = Sandbox("build", Level.WORKSPACE_WRITE)
ONLINE = Sandbox("web", Level.WORKSPACE_WRITE, network=True)
RUN = "20261120T101504438Z-50151d5c"

# -- from outside ----------------------------------------------------------------------------------


def test_from_outside_nothing_is_refused() -> None:
    refuse_nested({"HOME": "/home/me", "PATH": "/bin", "CODEX_HOME": "/home/me/.codex"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CODEX_SANDBOX", "seatbelt"),
        ("CODEX_SESSION_ID", "01a1f9af"),
        ("CODEX_THREAD_ID", "01a1f9af"),
        ("CODEX_SANDBOX_NETWORK_DISABLED", "1"),
        ("RUNNER_RUN_ID", RUN),
        ("RUNNER_MANIFEST", f"/repo/.runs/work/cli/{RUN}/manifest.json"),
    ],
)
def test_each_sign_of_an_agent_around_is_refused_with_what_to_do(name: str, value: str) -> None:
    with pytest.raises(Nested) as refused:
        refuse_nested({"HOME": "/home/me", name: value})
    error = refused.value
    assert (error.code, int(error.exit_status)) == ("nested", 5)
    assert (name if name != "RUNNER_MANIFEST" else value) in error.message
    assert "outside" in (error.hint or "") and "delegate.spawn" in (error.hint or "")


@pytest.mark.parametrize(
    ("name", "value"),
    [("CODEX_SANDBOX_NETWORK_DISABLED", "0"), ("CODEX_SANDBOX", ""), ("RUNNER_RUN_ID", "")],
)
def test_a_variable_that_says_nothing_is_no_sign(name: str, value: str) -> None:
    refuse_nested({name: value})


@pytest.mark.parametrize("between", ["", "sh -c", "env -i sh -c"])
def test_an_agent_around_is_seen_also_by_who_has_unset_its_sign(between: str) -> None:
    inner = (
        f'"{sys.executable}" -P -c "from runner.conduct.preflight import refuse_nested; refuse_nested({{}})"'
    )
    root = str(Path(__file__).parents[2])
    command = f"env -u CLAUDECODE PYTHONPATH='{root}' {inner}; true"
    for _ in range(1 if between else 0):
        command = f"{between} {shlex.quote(command)}; true"
    for value in ("0", "1"):
        done = subprocess.run(
            ["sh", "-c", command],
            env={**os.environ, "CLAUDECODE": value},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        assert ("this is inside an agent: CLAUDECODE is set in process" in done.stderr) is (value == "1")


def test_what_is_for_people_has_a_hint_of_its_own() -> None:
    with pytest.raises(Nested) as refused:
        refuse_nested({"GEMINI_CLI": "1"}, FOR_PEOPLE)
    assert refused.value.hint == FOR_PEOPLE and "delegate.spawn" not in FOR_PEOPLE


def test_a_run_around_is_seen_also_by_who_has_unset_its_marker() -> None:
    """As a shell in a run would: the variable is unset for the command, and set in the shell above it."""
    inner = "from runner.conduct.preflight import refuse_nested; refuse_nested({})"
    command = ["sh", "-c", f'env -i "{sys.executable}" -P -c "{inner}"; echo $?']
    for env in ({}, {"RUNNER_MANIFEST": "/repo/.runs/work/cli/x/manifest.json"}):
        done = subprocess.run(
            command,
            env={**os.environ, **env, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        assert done.stdout.strip() == ("1" if env else "0"), done.stderr
        assert ("Nested: this is inside a run" in done.stderr) == bool(env)


# -- consent ---------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "repo").mkdir()
    return str(tmp_path / "repo")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home")}


def test_without_consent_nothing_is_delegated_but_a_rehearsal(root: str, env: dict[str, str]) -> None:
    with pytest.raises(ConsentMissing) as refused:
        refuse_without_consent(root, "codex", WRITES, env, rehearse=False)
    error = refused.value
    assert (error.code, int(error.exit_status)) == ("consent_missing", 5)
    assert "codex with workspace-write" in error.message and "`runner consent`" in (error.hint or "")
    refuse_without_consent(root, "codex", WRITES, env, rehearse=True)
    refuse_without_consent(root, "codex", WRITES, {}, rehearse=True)
    assert not Path(env["HOME"]).exists()


def test_a_consent_that_covers_it_lets_it_pass(root: str, env: dict[str, str]) -> None:
    give(root, "codex", WRITES, env)
    refuse_without_consent(root, "codex", WRITES, env, rehearse=False)
    refuse_without_consent(root, "codex", READS, env, rehearse=False)


@pytest.mark.parametrize(
    ("runtime", "sandbox", "told"),
    [
        ("kay", WRITES, "here to codex with workspace-write; this is kay with workspace-write"),
        ("codex", ONLINE, "this is codex with workspace-write and network"),
        ("codex", Sandbox("all", Level.DANGER), "this is codex with danger-full-access"),
    ],
)
def test_a_consent_to_less_is_refused_with_both_sides_named(
    runtime: str, sandbox: Sandbox, told: str, root: str, env: dict[str, str]
) -> None:
    give(root, "codex", WRITES, env)
    with pytest.raises(ConsentMissing) as refused:
        refuse_without_consent(root, runtime, sandbox, env, rehearse=False)
    assert told in refused.value.message


def test_a_consent_to_several_names_all_of_them(root: str, env: dict[str, str]) -> None:
    for runtime in ("codex", "claude"):
        give(root, runtime, WRITES, env)
        refuse_without_consent(root, "codex", WRITES, env, rehearse=False)
    with pytest.raises(ConsentMissing, match="to claude and codex with workspace-write; this is gemini"):
        refuse_without_consent(root, "gemini", WRITES, env, rehearse=False)


# -- what a consent is asked for -------------------------------------------------------------------


def settings(**changes: object) -> Config:
    sandboxes = {one.name: one for one in (READS, WRITES, ONLINE)}
    tasks = (a_task(id="a", sandbox="look"), a_task(id="b", sandbox="web"), a_task(id="c", sandbox="build"))
    return a_config(*tasks, sandboxes=sandboxes).replace(**changes)


def test_without_a_task_it_is_the_widest_sandbox_that_the_policy_allows() -> None:
    assert meant(settings()).task.id == "b"
    assert meant(settings(), "a").sandbox == READS
    assert meant(settings(policy=Policy(network=False))).task.id == "c"
    assert meant(settings(policy=Policy(max_level=Level.READ_ONLY))).task.id == "a"


def test_what_the_policy_forbids_and_what_is_not_there_is_told() -> None:
    with pytest.raises(PolicyRefused):
        meant(settings(policy=Policy(runtimes=("kay",))))
    with pytest.raises(PolicyRefused):
        meant(settings(policy=Policy(network=False)), "b")
    with pytest.raises(TaskNotFound):
        meant(settings(), "nothing")
    with pytest.raises(TaskNotFound):
        meant(settings(tasks={}))


def test_a_danger_sandbox_has_to_be_allowed_in_the_settings() -> None:
    wild = Sandbox("wild", Level.DANGER, allow_danger=True)
    task = a_task(id="d", sandbox="wild")
    found = meant(a_config(task, sandboxes={"wild": wild}), "d").sandbox
    assert found.level is Level.DANGER and found.network
    with pytest.raises(PolicyRefused):
        meant(a_config(task, sandboxes={"wild": wild.replace(allow_danger=False)}), "d")


# -- ready -----------------------------------------------------------------------------------------


class Machine:
    """A PATH with or without a codex."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        (folder / "home").mkdir()
        self.root = folder / "repo"
        self.root.mkdir()
        self.env = {"HOME": str(folder / "home"), "PATH": f"{self.bin}:/usr/bin:/bin"}
        self.runtime = RuntimeSettings("codex", str(self.bin / "codex"), None, (), {}, None)

    def codex(self, body: str = "exit 0") -> None:
        install_codex(self.bin, body)

    def examine(
        self, *, rehearse: bool = False, budget_s: float = 20.0, **changes: object
    ) -> dict[str, Examined]:
        config = a_config(a_task(id="build", sandbox="build", **changes)).replace(
            root=str(self.root),
            sandboxes={"build": WRITES},
            runtimes={"codex": self.runtime},
            models={"deep": Model("deep", "m", provider="corp")},
        )
        choice = meant(config, "build")
        checks = examine(config, [choice], self.env, rehearse=rehearse, budget_s=budget_s)
        return {check.name: check for check in checks}

    def failed(self, **changes: object) -> list[str]:
        checks = self.examine(**changes)  # type: ignore[arg-type]
        return [name for name, check in checks.items() if check.verdict is Fitness.FAIL]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_machine_where_all_is_well_passes_and_its_checks_can_be_stored(machine: Machine) -> None:
    machine.codex()
    checks = machine.examine()
    parts = ("binary", "identity", "version", "flags", "login", "sandbox", "shell")
    assert tuple(checks) == tuple(f"codex.{part}" for part in parts)
    assert {check.verdict for check in checks.values()} == {Fitness.OK}
    assert os.path.isabs(checks["codex.binary"].message)
    refuse_unready([*checks.values()])
    stored = json.loads(json.dumps([check.to_json() for check in checks.values()]))
    assert stored[0] == {
        "name": "codex.binary",
        "verdict": "ok",
        "message": str(machine.bin / "codex"),
        "repair": None,
    }


def test_a_missing_program_is_told_once_with_its_repair(machine: Machine) -> None:
    checks = machine.examine()
    with pytest.raises(NotReady) as refused:
        refuse_unready([*checks.values()])
    error = refused.value
    assert (error.code, int(error.exit_status)) == ("not_ready", 8)
    assert error.message == "a run could not start here: codex.binary"
    (problem,) = error.problems
    assert problem.startswith("codex.binary: ") and "; repair: " in problem


def test_a_command_that_is_not_on_path_and_no_path_counts_as_missing(machine: Machine) -> None:
    machine.codex()
    machine.runtime = machine.runtime.replace(command="$(which codex)")
    assert machine.failed() == ["codex.binary"]


def test_a_missing_login_stops_a_plan_but_no_rehearsal_of_it(machine: Machine) -> None:
    machine.codex('case "$1" in login) exit 1;; *) exit 0;; esac')
    assert machine.failed() == ["codex.login"]
    assert machine.failed(rehearse=True) == []
    assert machine.examine(rehearse=True)["codex.login"].verdict is Fitness.SKIP


def test_a_sandbox_that_lets_a_write_through_stops_a_plan(machine: Machine) -> None:
    machine.codex('case "$1" in sandbox) exit 3;; *) exit 0;; esac')
    assert machine.failed() == ["codex.sandbox"]
    assert machine.failed(rehearse=True) == ["codex.sandbox"]


def test_the_version_and_the_options_that_this_task_needs_are_looked_at(machine: Machine) -> None:
    machine.codex()
    machine.runtime = machine.runtime.replace(version=">=0.200")
    assert machine.failed() == ["codex.version"]


def test_a_program_that_never_answers_takes_its_time_and_no_more(machine: Machine) -> None:
    machine.codex(': "$1"; sleep 60')
    checks = machine.examine(budget_s=1.0)
    assert checks["codex.login"].verdict is Fitness.UNKNOWN
    assert checks["codex.binary"].verdict is Fitness.OK


def test_each_failed_check_is_one_line_and_what_is_unknown_stops_nothing() -> None:
    refuse_unready([])
    unsure = [Examined("a", verdict, "m", "r") for verdict in Fitness if verdict is not Fitness.FAIL]
    refuse_unready(unsure)
    with pytest.raises(NotReady) as refused:
        refuse_unready(
            [*unsure, Examined("x", Fitness.FAIL, "two\nlines", "do\n it"), Examined("y", Fitness.FAIL, "z")]
        )
    assert refused.value.problems == ("x: two lines; repair: do it", "y: z")
    assert refused.value.message == "a run could not start here: x, y"


def test_a_runtime_that_nobody_knows_is_an_error_of_the_settings(machine: Machine) -> None:
    with pytest.raises(ConfigInvalid):
        machine.examine(runtime="other")


def test_the_errors_of_the_gates_are_refusals_of_the_policy() -> None:
    for kind in (Nested, ConsentMissing):
        assert issubclass(kind, PolicyRefused) and issubclass(kind, RunnerError) and kind("x").hint
