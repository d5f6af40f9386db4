"""Of a secret that was cut before it was redacted, and of a sealed run's settings, nothing is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.repo import Repo, Run
from support.waiting import wait_until

SECRET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456"
MARKED = '[runtimes.codex]\nenv = ["MYSEC"]\n'


def parts(text: str) -> list[str]:
    """What of the secret stands in it, six characters in a row."""
    return [SECRET[at : at + 6] for at in range(len(SECRET) - 5) if SECRET[at : at + 6] in text]


def everything(run: Run, **env: str) -> str:
    """What every verb shows of it, and its records."""
    verbs = (
        ("report", run.id),
        ("report", run.id, "--format", "json"),
        ("report", run.id, "--format", "html"),
        ("status", run.id, "--format", "json"),
        ("ci", "report", run.id, "--junit", "j.xml", "--fail-on", "none"),
        ("ci", "report", run.id, "--summary", "-", "--fail-on", "none"),
        ("diff-runs", run.id, "--json"),
        ("logs", run.id),
    )
    told = [run.repo.cli(*verb, env=env) for verb in verbs]
    junit = Path(run.repo.root, "j.xml").read_text()
    files = (path for path in run.folder.rglob("*") if path.is_file() and path.name != "invocation.json")
    return (
        junit
        + "".join(one.stdout + one.stderr for one in told)
        + "".join(path.read_text(errors="replace") for path in files)
    )


def test_of_a_secret_that_a_check_prints_without_end_its_tail_has_nothing(repo: Repo) -> None:
    Path(repo.root, "t.sh").write_text(f"printf '%s' {SECRET * 400}zzzz; exit 1\n")
    repo.task('verify = [["sh", "t.sh"]]', more=MARKED)
    repo.quick_codex(f"{'t' * 180}{SECRET}")
    run = Run(repo, repo.cli("start", "work", "--wait", "--json", env={"MYSEC": SECRET}).json()["run_id"])
    (check,) = json.loads(run.file("result.json"))["checks"]
    assert check["tail"].startswith("[redacted]") and check["tail"].endswith("]zzzz")
    assert parts(everything(run)) == parts(everything(run, MYSEC=SECRET)) == []


def test_a_secret_in_a_check_is_in_nothing_that_is_told_of_a_run_from_elsewhere(repo: Repo) -> None:
    env = {"MYSEC": SECRET}
    checks = f'verify = [["false"], ["sh", "-c", "echo {SECRET}"]]\nprepare = [["true", "{SECRET}"]]\n'
    repo.task(checks, 'workspace = "worktree"', more=MARKED)
    repo.commit()
    repo.quick_codex()
    first = Run(repo, repo.cli("start", "work", "--wait", "--json", env=env).json()["run_id"])
    run = Run(repo, repo.cli("start", "work", "--wait", "--json", env=env).json()["run_id"])
    assert parts(everything(run, **env)) == parts(everything(run)) == []
    assert '"check 2"' in Path(repo.root, "j.xml").read_text()
    found = repo.cli("diff-runs", first.id, run.id, "--json")
    assert found.json()["settings"] is found.json()["arguments"] is found.json()["checks"] is None
    known = repo.cli("diff-runs", first.id, run.id, "--json", env=env)
    assert known.json()["settings"]["compared"] > 5 and parts(found.stdout + known.stdout) == []
    again = repo.cli("verify", run.id)
    assert "`check 1` exited with 1" in again.stdout and parts(again.stdout + again.stderr) == []


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ((f'verify = [["sh", "-c", "exit 3", "{SECRET}"]]',), None),
        ((f'prepare = [["sh", "-c", "exit 4", "{SECRET}"]]',), "prepare_failed"),
    ],
)
def test_a_secret_in_a_command_that_failed_before_the_agent_is_in_no_record_of_the_run(
    repo: Repo, keys: tuple[str, ...], code: str | None
) -> None:
    repo.task(*keys, 'workspace = "worktree"', more=MARKED)
    repo.commit()
    repo.quick_codex()
    done = repo.cli("start", "work", "--baseline=record", "--wait", "--json", env={"MYSEC": SECRET})
    assert code is None or done.error["code"] == code
    assert code is not None or "[redacted]" in str(done.json()["failed_before"])
    (run,) = repo.runs()
    assert parts(run.file("manifest.json") + run.file("events.jsonl") + done.stdout + done.stderr) == []


def test_of_a_line_that_is_shown_while_the_agent_works_nothing_of_a_secret_is_left(repo: Repo) -> None:
    repo.task(more=MARKED)
    env = {"MYSEC": SECRET}
    repo.waiting_codex(before='printf "%01985d%s and more\\n" 0 "$MYSEC"')
    run = repo.start(env=env)
    repo.begun()
    for words in (("logs", run.id), ("logs", run.id, "--json")):
        told = repo.cli(*words, env=env)
        assert "[redacted] and more" not in told.stdout and " characters more]" in told.stdout
        assert parts(told.stdout) == []
    repo.open_gate()
    run.wait()


def test_the_event_of_a_limit_quotes_no_secret_while_the_run_still_ends(repo: Repo) -> None:
    item = {"id": "c", "type": "command_execution", "command": f"cat {SECRET}", "exit_code": 1}
    call = json.dumps({"type": "item.completed", "item": item})
    repo.waiting_codex(before="trap '' INT TERM\n" + f"echo '{call}'\n" * 3)
    run = repo.task('grace = "1m"', "limits = { repeats = 2 }", more=MARKED).start(env={"MYSEC": SECRET})
    wait_until(lambda: run.events("limit"), what="the limit")
    (told,) = run.events("limit")
    assert told["code"] == "stalled" and "[redacted]" in told["message"]
    assert parts(run.file("events.jsonl")) == []
    assert run.told("cancel", "--grace", "0")["reason"]["code"] == "stalled"
