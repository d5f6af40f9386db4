"""`runner lock`: with programs that gain and lose options, clones, and files that nobody should believe."""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.repo import Repo
from support.trusting import withdraw_trust

SETTINGS = """
[defaults]
sandbox = "workspace-write"
[models]
fast = { model = "gpt-5-mini" }
[blocks.house]
text = "Be kind."
[tasks.work]
prompt_file = "prompts/work.md"
blocks = ["house"]
model = "fast"
map = "MAP.md"
verify = [["sh", "ci/check.sh"]]
[tasks.play]
prompt = "Say hello."
rehearse = "play.toml"
[pipelines.ship]
stages = [{ name = "build", plan = "plan.toml", task = "work" }]
"""
FILES = ("prompts/work.md", "MAP.md", "ci/check.sh", "play.toml", "plan.toml")


def program(
    repo: Repo, *, version: str = "0.163.0", resume: str = "--json -s", more: str = "", name: str = "codex"
) -> None:
    """A codex that says what it is, and counts how often it was asked. `resume` are its options there."""
    path = repo.bin / name
    listed = "\n".join(f"  {option}" for option in resume.split())
    path.write_text(
        f'#!/bin/sh\necho "$@" >> "{repo.home}/asked"\n{more}\ncase "$*" in\n'
        f'--version) echo "codex-cli {version}";;\n'
        '"exec resume --help") printf "Usage: codex exec resume\\n\\n%s\\n" \'' + listed + "';;\n"
        '"exec --help") printf "Usage: codex exec\\n\\n  -c, --config <X>\\n  -s, --sandbox\\n";;\n'
        "*) exit 2;;\nesac\n"
    )
    path.chmod(0o755)


@pytest.fixture
def project(repo: Repo) -> Repo:
    repo.config(SETTINGS)
    for name in FILES:
        repo.write(name, f"{name}\n")
    repo.git("add", "-A")
    program(repo)
    return repo


def locked(repo: Repo) -> dict[str, Any]:
    return tomllib.loads((repo.root / "delegate.lock").read_text(encoding="utf-8"))


def checked(repo: Repo, **options: Any) -> tuple[int, list[str]]:
    """The exit status of a check, and its drift."""
    done = repo.cli("lock", "--check", "--json", **options)
    told = done.json()
    assert told["is_breaking"] == any(one["is_breaking"] for one in told["drift"]) == (done.status == 9)
    return done.status, [one["says"] for one in told["drift"]]


# -- what is in it -----------------------------------------------------------------------------------


def test_a_lock_pins_what_the_tasks_use_and_a_check_of_it_holds(project: Repo) -> None:
    done = project.cli("lock")
    assert (done.status, done.stdout, done.stderr) == (0, "wrote delegate.lock\n", "")
    found = locked(project)
    assert found["models"] == {"work": "gpt-5-mini"}
    assert found["prompts"].keys() == {"MAP.md", "prompts/work.md"}
    assert found["settings"].keys() == {"blocks.house", "tasks.play"}
    assert [*found["scripts"]] == ["ci/check.sh"]
    assert [*found["rehearsals"]] == ["play.toml"] and [*found["plans"]] == ["plan.toml"]
    pinned = found["runtimes"]["codex"]
    assert (pinned["program"], pinned["version"], pinned["wants"]) == ("codex", "0.163.0", ">=0.150")
    assert pinned["flags"]["codex exec resume"] == ["--json", "-s"] and "schema" not in pinned
    assert (project.root / "delegate.lock").stat().st_mode & 0o777 == 0o644
    assert checked(project) == (0, [])
    again = project.cli("lock")
    assert (again.status, again.stdout) == (0, "delegate.lock holds\n")


def test_two_clones_have_the_same_bytes_whatever_else_differs(project: Repo, tmp_path: Path) -> None:
    project.cli("lock")
    project.git("commit", "-qm", "all")
    other = Repo(tmp_path / "other", name="elsewhere")
    shutil.rmtree(other.root)
    project.git("clone", "-q", str(project.root), str(other.root))
    program(other)
    own = other.home / ".config/runner/config.toml"
    own.parent.mkdir(parents=True)
    own.write_text('[defaults]\nmodel = "mine"\n[blocks.own]\ntext = "x"\n')
    (other.root / "delegate.local.toml").write_text('[tasks.work]\nmodel = "mine"\n')
    old = os.umask(0o077)
    try:
        done = other.cli(
            "lock", "--json", env={"RUNNER_DEFAULTS__MODEL": "y", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
        )
    finally:
        os.umask(old)
    assert done.status == 0, done
    mine, theirs = ((one.root / "delegate.lock") for one in (project, other))
    assert mine.read_bytes() == theirs.read_bytes()
    assert str(project.base).encode() not in mine.read_bytes()
    assert theirs.stat().st_mode & 0o777 == 0o644


def test_the_home_of_whoever_looks_is_not_in_the_digest_of_a_policy(project: Repo, tmp_path: Path) -> None:
    found = []
    for home in ("one", "two"):
        policy = tmp_path / home / ".config/runner/policy.toml"
        policy.parent.mkdir(parents=True)
        policy.write_text('verify = ["*"]\nwritable = ["/var/x", "~/shared"]\n')
        assert project.cli("lock", env={"HOME": str(tmp_path / home)}).status == 0
        found.append(locked(project)["policy"])
    assert found[0] == found[1]
    policy.write_text('verify = ["*"]\nwritable = ["/var/x"]\n')
    status, drift = checked(project, env={"HOME": str(tmp_path / "two")})
    assert status == 9 and drift[0].startswith("policy: sha256:")


def test_what_git_does_not_track_is_not_pinned_and_that_is_said(project: Repo) -> None:
    project.git("rm", "-q", "--cached", "MAP.md")
    done = project.cli("lock")
    assert done.status == 0 and "note: MAP.md is not pinned" in done.stderr
    assert "MAP.md" not in locked(project)["prompts"]
    assert project.json("lock", "--check")["not_pinned"] == ["MAP.md"]


def test_a_prompt_counts_by_the_bytes_that_a_run_would_read(project: Repo) -> None:
    project.cli("lock")
    project.write("prompts/work.md", "prompts/work.md\r\n")
    status, drift = checked(project)
    assert status == 9 and drift[0].startswith('prompts."prompts/work.md": sha256:')


def test_a_lock_lies_beside_its_settings_and_is_called_as_they_are(project: Repo) -> None:
    (project.root / "ci").joinpath("other.toml").write_text('[tasks.a]\nprompt = "x"\n')
    assert project.cli("lock", "--config", "ci/other.toml").status == 0
    inner = project.root / "inner/deeper"
    inner.mkdir(parents=True)
    inner.parent.joinpath("delegate.toml").write_text('[tasks.b]\nprompt = "x"\n')
    assert project.cli("lock", cwd=inner).status == 0
    found = sorted(str(path.relative_to(project.root)) for path in project.root.rglob("*.lock"))
    assert found == ["ci/other.lock", "inner/delegate.lock"]


def test_settings_that_need_those_of_a_person_have_no_lock(project: Repo) -> None:
    own = project.home / ".config/runner/config.toml"
    own.parent.mkdir(parents=True)
    own.write_text('[sandboxes.mine]\nlevel = "read-only"\n')
    project.config('[tasks.work]\nprompt = "x"\nsandbox = "mine"\n')
    assert project.cli("check").status == 0
    done = project.cli("lock", "--json")
    assert (done.status, done.error["code"]) == (2, "config_invalid")
    assert "without settings of your own" in done.error["hint"]


# -- drift -------------------------------------------------------------------------------------------


def test_a_lost_option_is_named_and_the_check_fails_until_the_lock_says_so(project: Repo) -> None:
    project.cli("lock")
    before = (project.root / "delegate.lock").read_bytes()
    program(project, version="0.171.0", resume="--json --trust")
    done = project.cli("lock", "--check")
    assert done.status == 9
    assert done.stdout.splitlines() == [
        "note   runtimes.codex.version: 0.163.0 -> 0.171.0",
        "drift  `codex exec resume` lost `-s`",
        "note   `codex exec resume` gained `--trust`",
    ]
    assert "1 thing not as delegate.lock says" in done.stderr and "runner lock" in done.stderr
    assert (project.root / "delegate.lock").read_bytes() == before
    assert "`codex exec resume` lost `-s`" in project.cli("lock").stdout
    assert checked(project) == (0, [])


def test_another_version_with_the_same_options_is_a_note(project: Repo) -> None:
    project.cli("lock")
    program(project, version="0.171.0", resume="--json -s --trust")
    assert checked(project)[0] == 0
    program(project, version="0.140.0")
    status, (said,) = checked(project)
    assert status == 9 and 'wants version = ">=0.150"' in said
    refused = project.cli("lock", "--json")
    assert (refused.status, refused.error["code"]) == (8, "runtime_wrong")
    assert locked(project)["runtimes"]["codex"]["version"] == "0.163.0"


def test_a_file_that_is_called_like_a_setting_hides_none(project: Repo) -> None:
    text = SETTINGS.replace('"prompts/work.md"', '"tasks.play"')
    project.write("tasks.play", "a prompt\n")
    project.config(text)
    project.git("add", "-A")
    project.cli("lock")
    project.config(text.replace("hello", "bye"))
    assert [one.partition(":")[0] for one in checked(project)[1]] == ['settings."tasks.play"']
    project.write("tasks.play", "another\n")
    assert [one.partition(":")[0] for one in checked(project)[1]] == [
        *('prompts."tasks.play"', 'settings."tasks.play"')
    ]


def test_each_changed_file_and_setting_is_a_line(project: Repo) -> None:
    project.cli("lock")
    for name in FILES:
        project.write(name, "other\n")
    text = SETTINGS.replace("gpt-5-mini", "gpt-5").replace("Be kind", "Be brief").replace("hello", "bye")
    project.config(text.replace('"ci/check.sh"', '"-e", "ci/check.sh"'))
    status, drift = checked(project)
    assert status == 9 and [one.partition(":")[0] for one in drift] == [
        *('prompts."MAP.md"', 'prompts."prompts/work.md"'),
        *('settings."blocks.house"', 'settings."tasks.play"'),
        *('scripts."ci/check.sh"', 'rehearsals."play.toml"', 'plans."plan.toml"', "models.work", "trust"),
    ]


def test_a_runtime_that_is_not_installed_is_no_pass_and_no_lock(project: Repo) -> None:
    project.cli("lock")
    env = {"PATH": "/usr/bin:/bin"}
    (project.bin / "codex").unlink()
    project.config(SETTINGS + '[runtimes.codex]\ncommand = "no-such-codex"\n')
    assert project.cli("trust", "--yes").status == 0
    status, drift = checked(project, env=env)
    assert status == 9 and "not compared: no `no-such-codex` on PATH" in drift[0]
    done = project.cli("lock", "--json", env=env)
    assert (done.status, done.error["code"]) == (8, "runtime_missing")
    text = project.cli("lock", "--check", env=env).stderr
    assert done.error["hint"] in text and "`runner lock` writes" not in text


def test_a_program_that_hangs_has_lost_nothing_and_is_unknown(project: Repo) -> None:
    project.cli("lock")
    program(project, more='case "$*" in "exec resume --help") exec sleep 60;; esac')
    status, drift = checked(project)
    assert status == 9 and drift == [
        "`codex` was not compared: `codex exec resume` did not answer within 10 s"
    ]


def test_a_program_that_takes_a_lost_subcommand_for_another_word_is_not_believed(project: Repo) -> None:
    project.cli("lock")
    program(project, more='[ "$*" = "exec resume --help" ] && set -- exec --help')
    assert checked(project) == (9, ["`codex` lost `codex exec resume`"])


def test_a_check_without_a_lock_says_how_to_get_one(project: Repo) -> None:
    done = project.cli("lock", "--check", "--json")
    assert (done.status, done.error["code"], done.error["hint"]) == (
        9,
        "lock_invalid",
        "`runner lock` writes it",
    )
    assert not (project.root / "delegate.lock").exists()


def test_a_lock_of_a_newer_runner_is_not_overwritten(project: Repo) -> None:
    path = project.root / "delegate.lock"
    path.write_text("schema_version = 9\n")
    for words in (("lock",), ("lock", "--check")):
        done = project.cli(*words, "--json")
        assert (done.status, done.error["code"]) == (9, "lock_invalid") and "upgrade" in done.error["hint"]
    assert path.read_text() == "schema_version = 9\n"


# -- whom to believe ---------------------------------------------------------------------------------


def test_a_program_of_settings_that_nobody_trusts_is_not_started_and_no_pass(project: Repo) -> None:
    project.cli("lock")
    (project.home / "asked").unlink()
    withdraw_trust(project.root, project.env)
    shutil.copy(project.bin / "codex", project.root / "evil")
    project.config(SETTINGS + '[runtimes.codex]\ncommand = "./evil"\n')
    status, drift = checked(project)
    assert status == 9 and drift[0] == (
        "`codex` was not compared: not asked: `./evil` is named by settings that nobody trusts"
    )
    done = project.cli("lock", "--json")
    assert (done.status, done.error["code"]) == (5, "not_trusted")
    assert not (project.home / "asked").exists()
    project.git("add", "-A")
    digest = project.json("trust", "--show")["digest"]
    status, drift = checked(project, env={"RUNNER_TRUST": digest})
    assert status == 9 and drift[0] == "runtimes.codex.program: codex -> evil"


def test_nothing_that_a_lock_names_is_started_or_opened(project: Repo) -> None:
    project.cli("lock")
    path, fifo = project.root / "delegate.lock", project.root / "fifo"
    os.mkfifo(fifo)
    text = path.read_text().replace("[prompts]", '[prompts]\nfifo = "sha256:0"\n"/etc/passwd" = "x"')
    for name in ("evil", '"../x"'):
        text += f'[runtimes.{name}]\nprogram = "./evil"\nversion = "1"\n'
    path.write_text(text)
    status, drift = checked(project, within=60.0)
    assert status == 9 and drift == [
        "`runtimes` lost `../x`",
        "`runtimes` lost `evil`",
        'prompts."/etc/passwd": x -> nothing',
        "prompts.fifo: sha256:0 -> nothing",
    ]
