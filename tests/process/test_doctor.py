"""`doctor`: one verdict and one repair per check, whatever the programs do."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.conduct import preflight
from runner.conduct.preflight import meant
from runner.model import (
    Config,
    Delegation,
    Level,
    Model,
    Policy,
    RuntimeSettings,
    Sandbox,
    Task,
)
from runner.runtimes.exam import Examined, Fitness
from runner.usecases import doctor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "standins"))

from kay_install import install_kay

OPTIONS = "--json --skip-git-repo-check --cd --model --sandbox --config --output-last-message"
HELP = "\n".join(f"      {option}" for option in OPTIONS.split())
GOOD = {
    "--version": "echo codex-cli 0.163.0",
    "exec": f"cat <<'END'\n{HELP}\nEND",
    "login": "exit 0",
    "sandbox": "exit 0",
}
DELEGATION = Delegation(False, "inline", (), 1, 4, True)


class Place:
    """A repository, a home, and a `codex` whose every subcommand can be told what to do."""

    def __init__(self, root: Path) -> None:
        self.repo = root / "repo"
        self.repo.mkdir()
        self.bin = root / "bin"
        self.bin.mkdir()
        self.home = root / "home"
        self.home.mkdir()
        self.env = {"HOME": str(self.home), "PATH": f"{self.bin}:/usr/bin:/bin"}

    def codex(self, **changes: str) -> None:
        answers = {**GOOD, **{key.replace("version", "--version"): changes[key] for key in changes}}
        cases = "\n".join(f"{name})\n{body}\n;;" for name, body in answers.items())
        path = self.bin / "codex"
        path.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}\nesac\n')
        path.chmod(0o755)

    def examine(
        self,
        tasks: Sequence[Task] = (),
        names: Sequence[str] | None = None,
        budget_s: float = doctor.BUDGET_S,
        **changes: Any,
    ) -> dict[str, Examined]:
        checks = doctor.examine(self.config(tasks, **changes), names, self.env, budget_s)
        assert len({check.name for check in checks}) == len(checks)
        assert all(check.message for check in checks)
        assert all(check.repair for check in checks if check.verdict is Fitness.FAIL)
        return {check.name: check for check in checks}

    def config(self, tasks: Sequence[Task], **changes: Any) -> Config:
        plain = Config(
            str(self.repo), {task.id: task for task in tasks}, {}, {}, {}, DELEGATION, {},
            Policy(), {}, "d" * 64,
        )  # fmt: skip
        return plain.replace(**changes)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def task(**changes: Any) -> Task:
    limits = dict.fromkeys(("timeout_s", "idle_timeout_s", "start_timeout_s"))
    return Task("hello", prompt="hi", verify_timeout_s=60.0, **limits).replace(**changes)


def settings(name: str = "codex", **changes: Any) -> dict[str, RuntimeSettings]:
    return {name: RuntimeSettings(name, name, None, (), {}, None).replace(**changes)}


def failed(checks: dict[str, Examined]) -> list[str]:
    return [name for name, check in checks.items() if check.verdict is Fitness.FAIL]


def test_a_machine_where_all_is_well_is_ready(place: Place) -> None:
    place.codex()
    os.system(f"git init -q {place.repo}")
    checks = place.examine([task()])
    wanted = (
        *("config", "git", "runs-folder", "state-folder", "reach", "disk", "mcp-server"),
        *(
            f"codex.{part}"
            for part in ("binary", "identity", "version", "flags", "login", "sandbox", "shell")
        ),
    )
    assert tuple(checks) == wanted
    assert {check.verdict for check in checks.values()} <= {Fitness.OK, Fitness.SKIP, Fitness.WARN}
    assert doctor.ready(tuple(checks.values()))


def test_settings_against_the_policy_are_not_called_valid(place: Place) -> None:
    place.codex()
    policy = Policy(max_level=Level.READ_ONLY, sources={"max_level": ("policy.toml",)})
    own = Sandbox("own", Level.WORKSPACE_WRITE, False, ())
    wide = [task(id=name, sandbox="own") for name in ("a", "b")]
    changes = {"policy": policy, "sandboxes": {"own": own}, "runtimes": settings()}
    found = place.examine(wide, **changes)["config"]
    assert (found.verdict, found.repair) == (Fitness.FAIL, "`runner check` lists every breach")
    assert found.message.startswith('tasks.a: sandbox level "workspace-write" is wider than "read-only", ')
    assert found.message.endswith(" (and 1 more)")


def test_nothing_is_left_behind(place: Place) -> None:
    place.codex(sandbox="touch here; exit 3")
    before = sorted(place.repo.rglob("*"))
    place.examine([task()])
    assert sorted(place.repo.rglob("*")) == before
    assert list(place.home.rglob("*/programs.json")) != []


def test_without_a_repository_there_is_a_warning_that_stops_nothing(place: Place) -> None:
    place.codex()
    checks = place.examine([task()])
    assert checks["git"].verdict is Fitness.WARN
    assert "git init" in (checks["git"].repair or "")
    assert doctor.ready(tuple(checks.values()))


def test_a_repository_that_git_refuses_is_not_to_be_made_again(place: Place) -> None:
    place.codex()
    (place.repo / ".git").write_text("broken")
    check = place.examine([task()])["git"]
    assert check.verdict is Fitness.FAIL and "invalid gitfile" in check.message
    assert "git status" in (check.repair or "") and "git init" not in (check.repair or "")


def test_without_git_there_is_a_warning(place: Place) -> None:
    place.codex()
    place.env["PATH"] = str(place.bin)
    checks = place.examine(names=())
    assert checks["git"].verdict is Fitness.WARN
    assert checks["git"].repair == "install git"


def test_a_place_for_runs_that_is_no_folder_fails(place: Place) -> None:
    (place.repo / ".runs").write_text("")
    checks = place.examine(names=())
    assert failed(checks) == ["runs-folder"]
    assert not doctor.ready(tuple(checks.values()))


@pytest.mark.parametrize("where", ["inside", "a file"])
def test_a_state_folder_that_no_guard_can_be_in_fails_where_a_task_may_write(
    where: str, place: Place
) -> None:
    (place.home / "file").write_text("")
    folder = place.repo / "state" if where == "inside" else place.home / "file"
    place.env["XDG_STATE_HOME"] = str(folder)
    assert place.examine([task()], names=())["state-folder"].verdict is Fitness.WARN
    checks = place.examine([task(sandbox="workspace-write")], names=())
    assert failed(checks) == ["state-folder"]
    assert str(folder) in checks["state-folder"].message
    assert "XDG_STATE_HOME" in (checks["state-folder"].repair or "")
    assert not (place.repo / "state").exists()
    tree = task().replace(workspace="worktree")
    assert failed(place.examine([tree], names=())) == ["state-folder"]


def test_a_missing_program_fails_once_and_the_rest_is_skipped(place: Place) -> None:
    checks = place.examine([task()], runtimes=settings(command="my-codex"))
    assert failed(checks) == ["codex.binary"]
    assert {c.verdict for n, c in checks.items() if n.startswith("codex.")} == {
        Fitness.FAIL,
        Fitness.SKIP,
    }


def test_a_codex_that_is_kay_fails_by_identity(place: Place) -> None:
    install_kay(place.bin, name="codex")
    checks = place.examine([task()])
    assert failed(checks) == ["codex.identity"]
    assert "Kay 0.9.46" in checks["codex.identity"].message


def test_a_version_that_is_not_wanted_fails(place: Place) -> None:
    place.codex()
    assert failed(place.examine([task()], runtimes=settings(version=">=0.170"))) == ["codex.version"]


def test_a_version_without_an_option_that_a_task_needs_fails_with_its_name(place: Place) -> None:
    place.codex()
    writes = Sandbox("build", Level.WORKSPACE_WRITE, writable=("/tmp",))
    checks = place.examine([task(sandbox="build")], sandboxes={"build": writes})
    assert failed(checks) == ["codex.flags"]
    assert "hello: " in checks["codex.flags"].message
    assert "`--add-dir`" in checks["codex.flags"].message


@pytest.mark.parametrize(
    ("where", "workspace"),
    [("repo/.gemini", "in-place"), (".gemini/.env", "in-place"), ("home/.gemini/.env", "worktree")],
)
def test_what_a_program_would_obey_where_it_works_fails(place: Place, where: str, workspace: str) -> None:
    asked = [task(runtime="gemini", workspace=workspace)]
    assert "gemini.folder" not in place.examine(tasks=asked)
    path = place.repo.parent / where
    path.parent.mkdir(exist_ok=True)
    path.touch()
    found = place.examine(tasks=asked)["gemini.folder"]
    assert found.verdict is Fitness.FAIL and str(path) in found.message and found.repair


def test_a_runtime_that_no_task_uses_is_not_looked_at_unless_asked_for(place: Place) -> None:
    place.codex()
    assert not [name for name in place.examine([task()]) if name.startswith("kay")]
    asked = place.examine([task()], ["kay"])
    assert asked["kay.binary"].verdict is Fitness.FAIL
    assert not [name for name in asked if name.startswith("codex")]


def test_the_runtime_of_a_named_model_counts_as_used(place: Place) -> None:
    models = {"deep": Model("deep", "m", runtime="kay", provider="ocg")}
    assert "kay.binary" in place.examine([task(model="deep")], models=models)


# login


def test_a_missing_login_fails_and_names_the_way_without_one(place: Place) -> None:
    place.codex(login="echo Not logged in >&2; exit 1")
    checks = place.examine([task()])
    assert failed(checks) == ["codex.login"]
    assert "codex login" in (checks["codex.login"].repair or "")
    assert "--rehearse" in (checks["codex.login"].repair or "")


def test_where_the_login_says_nothing_it_is_unknown(place: Place) -> None:
    place.codex(login="exit 1")
    (place.home / ".codex").mkdir()
    (place.home / ".codex/config.toml").write_text('model_provider = "corp"\n')
    check = place.examine([task()], runtimes=settings())["codex.login"]
    assert check.verdict is Fitness.UNKNOWN


@pytest.mark.parametrize(
    ("name", "verdict"), [("CODEX_API_KEY", Fitness.OK), ("OPENAI_API_KEY", Fitness.FAIL)]
)
def test_only_the_key_that_codex_exec_reads_counts_as_a_login(
    place: Place, name: str, verdict: Fitness
) -> None:
    place.codex(login="exit 1")
    place.env[name] = "sk-very-secret"
    check = place.examine([task()], runtimes=settings(env=(name,)))["codex.login"]
    assert check.verdict is verdict
    assert "secret" not in check.message


def test_a_repository_of_rehearsals_needs_no_login(place: Place) -> None:
    place.codex(login="exit 1")
    check = place.examine([task().replace(rehearse=True)], runtimes=settings())["codex.login"]
    assert check.verdict is Fitness.SKIP


def test_the_key_of_a_custom_provider_has_to_be_set(place: Place) -> None:
    place.codex(login="exit 1")
    providers = {"corp": {"env_key": "CORP_KEY"}, "open": {}}
    used = settings(config={"model_provider": "corp", "model_providers": providers})
    assert failed(place.examine([task()], runtimes=used)) == ["codex.login"]
    place.env["CORP_KEY"] = "sk-very-secret"
    checks = place.examine([task()], runtimes=used)
    assert failed(checks) == ["codex.login"]
    assert checks["codex.login"].message.endswith("set but not passed on")
    assert checks["codex.login"].repair == "name it in `env` of [runtimes.codex]"
    used = settings(env=("CORP_*",), config=dict(used["codex"].config))
    check = place.examine([task()], runtimes=used)["codex.login"]
    assert check.verdict is Fitness.OK
    assert "CORP_KEY" in check.message
    assert "secret" not in check.message
    open_one = settings(config={"model_provider": "open", "model_providers": providers})
    assert place.examine([task()], runtimes=open_one)["codex.login"].verdict is Fitness.UNKNOWN


@pytest.mark.parametrize("generation", ["0.9.17", "0.9.46"])
def test_kay_is_ready_with_a_key_in_the_environment_or_in_its_own_file(place: Place, generation: str) -> None:
    install_kay(place.bin, generation=generation)
    used = settings("kay", provider="ocg", env=("OPENCODE_GO_API_KEY",))
    hello = task(runtime="kay", model="opencode-go/glm-5")
    checks = place.examine([hello], runtimes=used)
    assert failed(checks) == ["kay.login"]
    assert "OPENCODE_GO_API_KEY" in checks["kay.login"].message
    place.env["OPENCODE_GO_API_KEY"] = "sk-very-secret"
    assert failed(place.examine([hello], runtimes=used)) == []
    del place.env["OPENCODE_GO_API_KEY"]
    (place.home / ".kay").mkdir()
    auth = place.home / ".kay/auth.json"
    auth.write_text('{"provider_credentials": {"opencode-go": {"api_key": "sk-very-secret"}}}')
    checks = place.examine([hello], runtimes=used)
    assert failed(checks) == []
    assert "secret" not in checks["kay.login"].message
    auth.write_text('{"provider_credentials": [')
    assert failed(place.examine([hello], runtimes=used)) == ["kay.login"]


def test_kay_without_a_provider_fails_with_the_known_ones(place: Place) -> None:
    install_kay(place.bin)
    checks = place.examine([task(runtime="kay", model="m")])
    assert "kay.flags" in failed(checks)
    assert "opencode-go" in (checks["kay.flags"].repair or "")


# sandbox


@pytest.mark.parametrize(
    ("body", "verdict", "message"),
    [
        ("exit 0", Fitness.OK, "refuses a forbidden write"),
        ("exit 3", Fitness.FAIL, "allowed a forbidden write"),
        ("exit 2", Fitness.UNKNOWN, "cannot test"),
        ("echo bwrap: no user namespace >&2; exit 1", Fitness.FAIL, "no user namespace"),
    ],
)
def test_the_sandbox_is_tried(place: Place, body: str, verdict: Fitness, message: str) -> None:
    place.codex(sandbox=body)
    check = place.examine([task()])["codex.sandbox"]
    assert check.verdict is verdict
    assert message in check.message


_NO_COMMAND = """\
case "$*" in *workspace-write*) ;; *) exit 0 ;; esac
if [ -L .git ] || [ -L .agents ] || [ -L .codex ]; then echo "it crosses a symlink" >&2; exit 1; fi
"""


@pytest.mark.parametrize("link", [".git", ".agents", ".codex"])
def test_the_sandbox_is_tried_in_the_repository_as_its_tasks_use_it(place: Place, link: str) -> None:
    place.codex(sandbox=_NO_COMMAND)
    (place.repo / link).symlink_to(place.home)
    writes = task(sandbox="workspace-write")
    check = place.examine([task(id="reads"), writes])["codex.sandbox"]
    assert check.verdict is Fitness.FAIL
    assert "crosses a symlink" in check.message and str(place.repo) in check.message
    for harmless in (task(), writes.replace(workspace="worktree")):
        assert place.examine([harmless])["codex.sandbox"].verdict is Fitness.OK
    (place.repo / link).unlink()
    assert place.examine([writes])["codex.sandbox"].verdict is Fitness.OK


@pytest.mark.parametrize("link", [".agents", ".codex", ".aws"])
@pytest.mark.parametrize("below", ["", "packages/one/"])
def test_the_sandbox_is_tried_with_the_links_that_a_work_tree_would_have(
    place: Place, link: str, below: str
) -> None:
    place.codex(sandbox=_NO_COMMAND.replace(".codex", link))
    os.system(f"git init -q {place.repo}")
    git = f"git -C {place.repo} -c user.name=A -c user.email=a@example.org"
    place.repo = place.repo / below
    (place.repo / "elsewhere").mkdir(parents=True)
    (place.repo / "elsewhere" / "file").touch()
    apart = task(sandbox="workspace-write", workspace="worktree")
    (place.repo / link).symlink_to("elsewhere")
    assert place.examine([apart])["codex.sandbox"].verdict is Fitness.OK, "no work tree has it"
    os.system(f"{git} add -A && {git} commit -q -m one")
    (place.repo / link).unlink()
    check = place.examine([apart])["codex.sandbox"]
    assert (check.verdict, "crosses a symlink" in check.message) == (Fitness.FAIL, True)
    assert "commit" in (check.repair or "")
    config = place.config([apart], runtimes=settings())
    gate = preflight.examine(config, (meant(config),), place.env, rehearse=True)
    assert [one.name for one in gate if one.verdict is Fitness.FAIL] == ["codex.sandbox"]
    assert place.examine([apart.replace(sandbox="read-only")])["codex.sandbox"].verdict is Fitness.OK
    assert not list((place.home / ".local" / "state" / "runner" / "scratch").iterdir())
    os.system(f"{git} add -A && {git} commit -q -m two")
    assert place.examine([apart])["codex.sandbox"].verdict is Fitness.OK


def test_what_a_login_shell_would_lose_is_told_and_the_own_word_of_the_user_counts(place: Place) -> None:
    place.codex()
    checker = place.bin / "checker"
    checker.write_text("#!/bin/sh\n")
    checker.chmod(0o755)
    (place.home / ".profile").write_text("PATH=/usr/bin:/bin\n")
    wants = [task(verify=(("checker",),))]
    check = place.examine(wants)["codex.shell"]
    assert (check.verdict, "checker" in check.message) == (Fitness.OK, True)
    for word, verdict in ((True, Fitness.WARN), (False, Fitness.OK)):
        own = settings(config={"allow_login_shell": word})
        assert place.examine(wants, runtimes=own)["codex.shell"].verdict is verdict
    place.env["HOME"] = str(place.repo)
    assert place.examine(wants)["codex.shell"].verdict is Fitness.UNKNOWN


def test_where_every_task_runs_without_a_sandbox_none_is_tried(place: Place) -> None:
    place.codex(sandbox="exit 1")
    check = place.examine([task(sandbox="danger-full-access")])["codex.sandbox"]
    assert check.verdict is Fitness.SKIP


# what it is run in


@pytest.mark.parametrize(
    ("env", "what"),
    [
        ({"SLURM_JOB_ID": "4711"}, "Slurm job 4711"),
        ({"SLURM_JOB_ID": "4711", "CI": "true"}, "Slurm job 4711"),
        ({"CI": "true"}, "a CI job"),
        ({"CI": "false"}, None),
        ({"SLURM_JOB_ID": "", "CI": ""}, None),
    ],
)
def test_in_a_job_doctor_says_how_a_run_ends_with_it(
    place: Place, env: dict[str, str], what: str | None
) -> None:
    place.codex()
    place.env |= env
    checks = place.examine([task()])
    assert ("job" in checks) == (what is not None)
    if what is not None:
        assert (checks["job"].verdict, what in checks["job"].message) == (Fitness.OK, True)
        assert "start --tie" in checks["job"].message


# whatever the programs do


def test_the_time_of_all_checks_together_is_below_half_a_minute() -> None:
    assert doctor.BUDGET_S < 30


@pytest.mark.parametrize("body", ["exec sleep 600", "exec yes", "exec cat /dev/tty", "read x; exit 1"])
def test_a_program_that_hangs_floods_or_wants_a_terminal_is_a_finding(place: Place, body: str) -> None:
    place.codex(version=body)
    began = time.monotonic()
    assert failed(place.examine([task()], budget_s=3.0)) == ["codex.identity"]
    assert time.monotonic() - began < 10


def test_a_sandbox_and_a_login_that_hang_are_findings(place: Place) -> None:
    place.codex(login="exec sleep 600", sandbox="exec sleep 600")
    began = time.monotonic()
    checks = place.examine([task()], budget_s=2.0)
    assert time.monotonic() - began < 10
    assert checks["codex.login"].verdict is Fitness.UNKNOWN
    assert checks["codex.sandbox"].verdict in (Fitness.FAIL, Fitness.UNKNOWN)


# -- what is in reach of agents ----------------------------------------------------------------------------


def test_what_is_made_read_only_for_agents_is_named(place: Place) -> None:
    place.codex()
    (place.bin / "codex").rename(place.repo / "codex")
    writes = [task(sandbox="workspace-write")]
    found = place.examine(writes, runtimes=settings(command="./codex"))["reach"]
    assert found.verdict is Fitness.OK
    assert f"{place.repo}/codex (the program of the OpenAI Codex CLI)" in found.message
    assert f"{place.repo}/.runs (the records of runs)" in found.message
    apart = [one.replace(workspace="worktree") for one in writes]
    assert (
        "nothing that runner obeys"
        in place.examine(apart, runtimes=settings(command="./codex"))["reach"].message
    )
    assert "nothing" in place.examine([task()])["reach"].message


@pytest.mark.parametrize("how", ["a link", "given by name"])
def test_what_cannot_be_kept_from_an_agent_fails(place: Place, how: str) -> None:
    place.codex()
    sandbox = Sandbox("wide", Level.WORKSPACE_WRITE)
    command = "codex"
    if how == "a link":
        (place.repo / "tools").symlink_to(place.bin)
        command = f"{place.repo}/tools/./codex"
        (place.bin / "codex").rename(place.bin / "shim")
        (place.bin / "codex").symlink_to("shim")
    else:
        sandbox = sandbox.replace(writable=(f"{place.home}/.codex",))
    found = place.examine(
        [task(sandbox="wide")], sandboxes={"wide": sandbox}, runtimes=settings(command=command)
    )["reach"]
    assert found.verdict is Fitness.FAIL
    assert found.repair is not None and "writable" in found.repair


def test_a_task_without_a_sandbox_is_told_once(place: Place) -> None:
    place.codex()
    wild = {"wild": Sandbox("wild", Level.DANGER, allow_danger=True)}
    found = place.examine([task(sandbox="wild")], sandboxes=wild)["reach"]
    assert (found.verdict, "everything is in reach of hello" in found.message) == (Fitness.OK, True)
