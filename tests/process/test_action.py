"""The action without the real Codex: who may use it, what its inputs may be, and that its outputs are set."""

from __future__ import annotations

import json
import os
import shutil
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.action_job import ACTION, Scene, scene
from support.action_service import Played, Service
from support.doubles import FINISHED, THREAD
from support.judged import commit
from support.repo import Repo
from support.waiting import wait_until

FORK = {"pull_request": {"head": {"repo": {"full_name": "stranger/project"}}}}


@pytest.fixture
def use(repo: Repo) -> Iterator[Scene]:
    with scene(repo, {"ann": "write", "bob": "read"}) as it:
        yield it
    repo.end_all()


def refused(played: Played, code: str) -> str:
    """The action ends with this code before anything is installed; what it says."""
    assert played.conclusion == "failure"
    assert (played.outputs["status"], played.outputs["reason"]) == ("not-started", code)
    assert {name for name, value in played.outputs.items() if value} == {"status", "reason"}
    assert [name for name, step in played.steps.items() if step.conclusion != "skipped"] == [
        *("check", "end", "report")
    ]
    ((kind, about, text),) = played.annotations
    assert (kind, about["title"]) == ("error", f"runner {code}")
    shown = "".join(f"    {line}\n" for line in text.splitlines())
    assert played.summary == f"## No run was started: `{code}`\n\n{shown}\n"
    assert played.obeyed == []
    return text


def only_checked(use: Scene, **inputs: str) -> Played:
    """All steps that run something else are said to be done: what is left is the check."""
    given = {name: {} for name in ("install", "doctor", "start", "end", "report")}
    return Service(ACTION).use(use.job(given=given), **{"task": "work", **inputs})


def test_who_may_not_write_is_refused_before_anything_is_installed(use: Scene) -> None:
    use.actor = "bob"
    assert "the permission `read`" in refused(use.use(task="work"), "actor_refused")
    assert use.asked == [("/repos/owner/project/collaborators/bob/permission", "Bearer job-token")]
    assert only_checked(use, allow_users="bob").conclusion == "success"


def test_the_work_of_a_fork_is_refused_before_anything_is_installed(use: Scene) -> None:
    use.name, use.event = "pull_request", FORK
    assert "a fork (stranger/project)" in refused(use.use(task="work"), "fork")
    assert use.asked == []
    played = only_checked(use, rehearse="true", permissions_check="none")
    assert "a rehearsal for the fork stranger/project" in played.log


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"task": "work", "pipeline": "all"},
        {"plan": "plan.md"},
        {"pipeline": "all", "token_limit": "5"},
        {"task": "work", "plan": "plan.md", "prompt_file": "p.md"},
        {"task": "work", "token_limit": "5; echo ::add-mask::x"},
        {"task": "work", "permissions_check": "Write"},
        {"task": "work", "permissions_check": "none\n::set-output name=a::b"},
        {"task": "work", "tie_to_job": "yes"},
        {"task": "work", "codex_version": "latest"},
        {"task": "work", "codex_version": "1 --index-url=http://evil"},
        {"task": "work", "runner_version": "99.0"},
        {"task": "work", "report": "summary,everything"},
    ],
    ids=str,
)
def test_inputs_that_make_no_sense_are_refused_before_anything_else(
    use: Scene, inputs: dict[str, str]
) -> None:
    refused(use.use(**inputs), "usage")
    assert use.asked == []


HOSTILE = (
    "--help",
    "--config=/etc/passwd",
    "tasks.work.prompt",
    "tasks.nobody.nothing=$(touch pwned)",
    "';touch pwned;'=`touch pwned`",
    "a=\x1b]0;title\x07::add-mask::x",
    "::error::x",
    "tasks.work.verify=[['touch','pwned']]%0A::add-mask::secret",
)


@pytest.mark.parametrize("line", HOSTILE, ids=ascii)
def test_a_hostile_line_of_set_is_a_wrong_setting_and_nothing_else(repo: Repo, use: Scene, line: str) -> None:
    repo.quick_codex()
    repo.task()
    use.trust()
    played = use.use(task="work", rehearse="true", set=f"defaults.timeout=5m\n\n{line}\n")
    assert (played.conclusion, played.outputs["status"]) == ("failure", "not-started")
    assert played.outputs["reason"] in ("config_invalid", "usage", "check_missing")
    assert (played.obeyed, played.masks) == ([], [])
    assert not [*repo.base.rglob("pwned")] and repo.no_runs()


def test_a_hostile_prompt_reaches_the_agent_as_it_is(repo: Repo, use: Scene) -> None:
    text = "$(touch pwned) `id` ${{ github.token }} \"' ::stop-commands::x\n::add-mask::e\n--help"
    repo.write("p.md", text)
    repo.codex('cat > "$HOME/heard"; echo "::error::from the agent" >&2; exit 1')
    repo.task()
    use.trust()
    use.env |= {"PATH": f"{repo.bin}:/usr/bin:/bin", "CODEX_API_KEY": "k-12345678"}
    played = use.use(task="work", prompt_file="p.md", set='runtimes.codex.env=["CODEX_API_KEY"]')
    assert text in (repo.base / "empty/heard").read_text()
    assert played.outputs["status"] == "failed"
    assert played.masks == ["k-12345678"]
    assert played.obeyed == []
    assert not [*repo.base.rglob("pwned")]


def test_settings_that_nobody_trusts_start_nothing(repo: Repo, use: Scene) -> None:
    repo.quick_codex()
    repo.task('verify = [["true"]]')
    played = use.use(task="work", rehearse="true")
    assert (played.outputs["status"], played.outputs["reason"]) == ("not-started", "not_trusted")
    assert played.steps["start"].conclusion == "failure"
    assert repo.no_runs()
    assert played.summary.startswith("## No run was started: `not_trusted`\n\n    ")
    assert "runner trust --show" in played.summary
    assert use.use(task="work", rehearse="true", report="junit").summary == ""


def test_settings_that_are_not_as_the_lock_says_start_nothing(repo: Repo, use: Scene) -> None:
    repo.quick_codex()
    repo.task()
    assert repo.cli("lock").status == 0
    repo.task(prompt="Do something else.")
    use.trust()
    use.env["PATH"] = f"{repo.bin}:/usr/bin:/bin"
    played = use.use(task="work", rehearse="true")
    assert (played.outputs["status"], played.outputs["reason"]) == ("not-started", "lock_drift")
    assert repo.no_runs()


def test_what_checks_run_cannot_reach_the_files_of_the_steps(repo: Repo, use: Scene) -> None:
    """Such as tests that an agent wrote: they would change what the steps after them do."""
    repo.quick_codex()
    repo.task('verify = [["sh", "-c", "env > $HOME/seen"]]')
    use.trust()
    use.env |= {"PATH": f"{repo.bin}:/usr/bin:/bin", "CODEX_API_KEY": "k-12345678"}
    played = use.use(task="work")
    assert played.outputs["status"] == "succeeded", played.log
    seen = dict(
        line.split("=", 1) for line in (repo.base / "empty/seen").read_text().splitlines() if "=" in line
    )
    assert "RUNNER_RUN_ID" in seen
    assert not {name for name in seen if name.startswith(("GITHUB_", "INPUT_", "ACTIONS_", "CODEX_API"))}


@pytest.mark.parametrize("is_tied", ["true", "false"])
def test_a_cancelled_job_ends_its_run_unless_it_is_not_tied(repo: Repo, use: Scene, is_tied: str) -> None:
    repo.codex(
        f'cat > /dev/null\n{THREAD}touch "$HOME/begun"\n'
        f'until [ -e "$HOME/gate" ]; do sleep 0.05; done\n{FINISHED}'
    )
    repo.task()
    use.trust()
    use.env |= {"PATH": f"{repo.bin}:/usr/bin:/bin", "CODEX_API_KEY": "k-12345678"}
    begun = repo.base / "empty/begun"
    played = use.use(begun.exists, task="work", tie_to_job=is_tied)
    assert played.conclusion == "cancelled"
    assert played.steps["start"].conclusion == "cancelled"
    (run,) = repo.runs()
    assert played.outputs["run-id"] == run.id
    if is_tied == "true":
        assert (played.outputs["status"], played.outputs["reason"]) == ("cancelled", "cancelled")
        assert (played.artifacts["runner"] / "report/report.md").is_file()
        assert run.events("sealed")
    else:
        assert played.outputs["status"] == "running"
        (repo.base / "empty/gate").touch()
        wait_until(lambda: run.on_disk()["phase"] == "done")


def test_what_may_not_leave_the_machine_is_not_laid_out(repo: Repo, use: Scene) -> None:
    """Exact copies, what is not sealed, and whatever links lead to."""
    repo.quick_codex()
    repo.task()
    use.trust()
    use.env |= {"PATH": f"{repo.bin}:/usr/bin:/bin", "CODEX_API_KEY": "k-12345678"}
    secret = repo.base / "outside"
    secret.mkdir()
    (secret / "key").write_text("private")
    runs = repo.runs_folder
    other = runs / "old/cli/20260101T000000000Z-00000000"
    for folder in ("workspace", "kept", "control"):
        (other / folder).mkdir(parents=True)
        (other / folder / "copy").write_text("exact")
    (other / "a.patch").write_text("exact")
    (other / "rollback-1.json").write_text("exact")
    (other / "plain.md").write_text("plain")
    os.symlink(secret, runs / "old/link")
    os.symlink(secret / "key", runs / "old/key")
    os.mkfifo(runs / "old/pipe")
    played = use.use(task="work", artifact="record")
    assert played.outputs["status"] == "succeeded", played.log
    laid = played.artifacts["record"]
    names = {path.relative_to(laid / "runs/old").as_posix() for path in (laid / "runs/old").rglob("*")}
    inside = other.relative_to(runs / "old").as_posix()
    assert {name for name in names if not (laid / "runs/old" / name).is_dir()} == {
        f"{inside}/control/copy",
        f"{inside}/plain.md",
    }


@pytest.mark.parametrize("has_python", [True, False])
def test_a_machine_that_the_action_cannot_use_is_named(tmp_path: Path, repo: Repo, has_python: bool) -> None:
    """One that is no Linux, and one without Python 3.11."""
    bin = tmp_path / "few"
    bin.mkdir()
    for name in ("bash", "sh", "printf", "env"):
        (bin / name).symlink_to(f"/bin/{name}")
    (bin / "uname").write_text(f"#!/bin/sh\necho {'Darwin' if has_python else 'Linux'}\n")
    (bin / "uname").chmod(0o755)
    with scene(repo) as use:
        use.env["PATH"] = str(bin)
        played = use.use(task="work")
    assert (played.outputs["status"], played.outputs["reason"]) == ("not-started", "platform_unsupported")
    assert ("Linux only" if has_python else "no Python 3.11") in played.log
    assert played.summary.startswith("## No run was started: `platform_unsupported`\n\n    th")


def test_a_job_without_an_artifact_uploads_nothing(repo: Repo, use: Scene) -> None:
    repo.quick_codex()
    repo.task()
    use.trust()
    use.env |= {"PATH": f"{repo.bin}:/usr/bin:/bin", "CODEX_API_KEY": "k-12345678"}
    played = use.use(task="work", artifact="", report="")
    assert (played.conclusion, played.artifacts, played.summary) == ("success", {}, "")
    assert (played.outputs["junit"], played.outputs["sarif"], played.annotations) == ("", "", [])


TELLS = "import os; open({seen!r}, 'a').write('ran with the key\\n' * ('CODEX_API_KEY' in os.environ))"


def planted(repo: Repo, use: Scene) -> Path:
    """What an agent could write for the steps after it, there from the beginning; the file it would make."""
    seen = repo.base / "seen-by-what-was-planted"
    made = repo.root / ".venv"
    venv.create(made, with_pip=False, symlinks=True)
    code = TELLS.format(seen=str(seen))
    for place in (*made.glob("lib/python*/site-packages"), repo.root):
        (place / "sitecustomize.py").write_text(code)
        (place / "json.py").write_text(code)
        (place / "evil.pth").write_text(f"{code}\n")
    use.env |= {
        "PATH": f"{made}/bin:{repo.bin}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": str(repo.root),
        "CODEX_API_KEY": "k-12345678",
    }
    return seen


def test_no_step_runs_the_python_of_the_workspace_or_what_it_would_load(repo: Repo, use: Scene) -> None:
    repo.quick_codex()
    repo.task()
    use.trust()
    seen = planted(repo, use)
    played = use.use(task="work")
    assert played.outputs["status"] == "succeeded", played.log
    assert not seen.exists(), seen.read_text()
    found = Path(played.steps["check"].outputs["python"])
    assert found == found.resolve() and not found.is_relative_to(repo.root)


def test_a_machine_with_no_python_but_that_of_the_workspace_is_refused(repo: Repo, use: Scene) -> None:
    planted(repo, use)
    few = repo.base / "few"
    few.mkdir()
    for name in ("bash", "sh", "env", "uname", "readlink"):
        (few / name).symlink_to(f"/bin/{name}")
    use.env["PATH"] = f"{repo.root}/.venv/bin:{few}"
    played = use.use(task="work")
    assert (played.outputs["status"], played.outputs["reason"]) == ("not-started", "platform_unsupported")


@pytest.mark.parametrize("is_link", [True, False])
def test_an_action_that_lies_in_the_workspace_is_refused(repo: Repo, use: Scene, is_link: bool) -> None:
    """The agent could rewrite it, or turn the link."""
    inside = repo.root / "ours"
    if is_link:
        inside.symlink_to(ACTION)
    else:
        inside.mkdir()
        for name in ("action.yml", "pyproject.toml"):
            shutil.copy(ACTION / name, inside)
        shutil.copytree(ACTION / "action", inside / "action")
    played = Service(inside).use(use.job(), task="work")
    assert "lies in the workspace" in refused(played, "usage")


@pytest.mark.parametrize("before", ["", "trap '' INT TERM\n"])
def test_a_cancelled_job_whose_later_steps_are_ended_at_once_still_says_how_it_ended(
    repo: Repo, use: Scene, before: str
) -> None:
    """Also where the agent hears no signal and its task gives it longer than the service does."""
    repo.codex(f'{before}cat > /dev/null\n{THREAD}touch "$HOME/begun"\nexec sleep 60')
    repo.task('grace = "1m"' if before else 'grace = "1s"')
    use.trust()
    use.env |= {"PATH": f"{repo.bin}:/usr/bin:/bin", "CODEX_API_KEY": "k-12345678"}
    begun = repo.base / "empty/begun"
    played = Service(ACTION).use(use.job(begun.exists, spares_later_steps=False), task="work")
    assert played.conclusion == "cancelled" and played.artifacts == {}
    (run,) = repo.runs()
    outputs = played.outputs
    assert outputs["run-id"] == run.id and (repo.root / outputs["manifest"]).is_file()
    assert (outputs["status"], outputs["outcome"], outputs["reason"]) == ("cancelled",) * 3, played.log


def test_the_lock_of_other_settings_is_theirs_and_false_is_no_rehearsal(repo: Repo, use: Scene) -> None:
    repo.quick_codex()
    repo.task()
    (repo.root / "delegate.toml").rename(repo.root / "other.toml")
    assert repo.cli("lock", "--config", "other.toml").status == 0
    file = repo.root / "other.toml"
    file.write_text(file.read_text().replace("prompt = ", 'prompt = "Other." #'))
    use.env |= {"PATH": f"{repo.bin}:/usr/bin:/bin", "CODEX_API_KEY": "k-12345678"}
    played = use.use(task="work", config="other.toml", rehearse="false")
    assert (played.outputs["status"], played.outputs["reason"]) == ("not-started", "lock_drift"), played.log
    assert "not as other.lock says" in played.log


@pytest.mark.parametrize("last", ["true", "false"])
def test_the_change_is_the_one_that_was_judged_and_not_what_checks_left(
    repo: Repo, use: Scene, last: str
) -> None:
    repo.quick_codex(before="echo made >> made")
    repo.task(f"verify = [['sh', '-c', 'echo left > left; {last}']]", 'on_failure = "rollback"')
    toml = repo.root / "delegate.toml"
    toml.write_text(toml.read_text().replace("read-only", "workspace-write"))
    commit(repo)
    use.trust()
    use.env |= {"PATH": f"{repo.bin}:/usr/bin:/bin", "CODEX_API_KEY": "k-12345678"}
    outputs = use.use(task="work").outputs
    assert outputs["status"] == ("succeeded" if last == "true" else "rejected")
    assert json.loads(outputs["changed-files"]) == ["made"]
    assert [line for line in Path(outputs["patch"]).read_text().splitlines() if line[:4] == "diff"] == [
        "diff --git a/made b/made"
    ]
