"""Runs of the real Gemini CLI, with the scripted model: its levels, its ends, what it does not obey."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support import processes
from support.clis import CHILD, CLIS, add, patch, says, shell, turns
from support.processes import kill
from support.repo import Repo, Run
from support.waiting import wait_until

TICKS = "seq 600 | while read n; do date +%s.%N >> ticks; sleep 0.1; done"
"""Without `$( )`, which it refuses."""
USAGE = "usage = { input_tokens = 100, cached_input_tokens = 40, output_tokens = 20 }"
WRITES = ('sandbox = "workspace-write"', 'workspace = "worktree"')


def prepared(repo: Repo, script: str, *keys: str, env: str = "", prompt: str = "Do it.") -> Repo:
    repo.script(script)
    program = f'[runtimes.gemini]\ncommand = "{CLIS / "gemini"}"\n{env}\n'
    own = ('rehearse = "play.toml"', 'grace = "3s"', *keys)
    task = "\n".join((f'[tasks.work]\nruntime = "gemini"\nprompt = "{prompt}"', *own))
    child = '[tasks.child]\nruntime = "gemini"\nprompt = "x"\nrehearse = true\n'
    repo.config(f"{program}\n{task}\n{child}")
    repo.git("add", "delegate.toml", "play.toml")
    repo.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "settings")
    return repo


def ended(repo: Repo, script: str, *keys: str, **options: str) -> tuple[Run, Any]:
    run = prepared(repo, script, *keys, **options).start()
    return run, run.wait()


def offered(run: Run) -> set[str]:
    """What the model was offered in the first request."""
    return {*json.loads(run.file("rehearsal.jsonl").splitlines()[0])["tools"]}


def test_a_change_is_verified_and_nothing_of_its_home_is_left(repo: Repo) -> None:
    script = turns(f"{patch(add('new.txt', 'new'))}\n{USAGE}", shell("exit 3"), says("Done."))
    keys = ('model = "gemini-2.5-pro"', 'verify = ["grep new new.txt"]')
    run, end = ended(repo, script, *WRITES, *keys)
    assert (end["status"], end["survivors"]) == ("succeeded", [])
    assert (end["usage"]["input_tokens"], end["usage"]["output_tokens"]) == (100, 20)
    assert (end["sandbox"]["isolation"], end["conformance"]["model"]["verdict"]) == ("none", "ok")
    assert run.file("last-message.md").strip() == "Done."
    assert "isolation: none" in run.ask("report").stdout
    assert "isolation: none" in repo.cli("resolve", "--task", "work").stdout
    temp = Path(json.loads(run.file("invocation.json"))["temp"])
    wait_until(lambda: not temp.exists(), what="the end of its home")


def test_a_change_that_a_check_refuses_is_rolled_back(repo: Repo) -> None:
    keys = (*WRITES, 'verify = ["grep old new.txt"]', 'on_failure = "rollback"')
    _, end = ended(repo, turns(patch(add("new.txt")), says("Done.")), *keys)
    assert (end["status"], end["reason"]["code"]) == ("rejected", "verify_failed")
    assert not (repo.root / "new.txt").exists()


def test_a_failed_check_resumes_the_same_session_with_its_tokens_added(repo: Repo) -> None:
    claim = {"status": "completed", "summary": "ok", "files_modified": ["good"], "issues": []}
    closing = says(json.dumps({**claim, "verification_summary": "none"}))
    script = turns(
        f"{says('Done.')}\n{USAGE}", closing, f"{shell('touch good')}\n{USAGE}", says("Now."), closing
    )
    keys = ('verify = ["test -e good"]', "retries = 1", 'output_contract = "closing-turn"')
    run, end = ended(repo, script, *WRITES, *keys)
    assert end["status"] == "succeeded", end["reason"]
    hows = [one["how"] for one in end["attempts"]]
    assert hows == ["first", "closing", "resume", "closing"]
    assert len({one["thread_id"] for one in end["attempts"]}) == 1 and end["thread_id"]
    assert (end["usage"]["input_tokens"], end["usage"]["output_tokens"]) == (200, 40)
    assert "test -e good" in run.file("prompt-3.md"), "the evidence"
    items = [json.loads(line)["input_items"] for line in run.file("rehearsal.jsonl").splitlines()]
    assert items == [1, 3, 5, 7, 9], "each request has all of the session"


FORGED = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "mcpServers": {"own": {"command": "/bin/sh", "args": ["-c", "touch $HOME/started"]}},
}


@pytest.mark.parametrize("where", ["$GEMINI_CLI_HOME/.gemini", ".gemini"])
def test_what_an_agent_puts_where_its_program_looks_for_settings_counts_for_no_further_attempt(
    repo: Repo, where: str
) -> None:
    forges = f"mkdir -p {where} && echo '{json.dumps(FORGED)}' > {where}/settings.json"
    script = turns(shell(forges), says("Done."), shell("touch good"), says("Now."))
    run, end = ended(repo, script, *WRITES, 'verify = ["test -e good"]', "retries = 1")
    is_in_home = where != ".gemini"
    assert (end["status"] == "succeeded") == is_in_home, end["reason"]
    assert len(run.file("rehearsal.jsonl").splitlines()) == (4 if is_in_home else 2)
    assert bool(run.events("not_retried")) != is_in_home
    assert not (repo.home / "started").exists()


def test_of_a_first_request_that_failed_no_session_is_kept_and_a_new_one_is_begun(repo: Repo) -> None:
    script = turns("error = { status = 503, message = 'busy' }", says("after all"))
    run, end = ended(repo, script, "retries = 1", env='[recovery]\nbackoff = "10ms"')
    assert end["status"] == "succeeded", end["reason"]
    assert [one["how"] for one in end["attempts"]] == ["first", "resume", "fresh"]
    again = Run(repo, run.ask("retry", "--message", "again", "--format", "json").json()["run_id"])
    assert "--resume" not in json.loads(again.file("invocation.json"))["argv"], "its home is gone"
    again.told("cancel")


@pytest.mark.parametrize(
    ("turn", "exit_code", "code"),
    [
        ("error = { status = 400, message = 'told' }", 144, "request_refused"),
        ("error = { status = 401, message = 'told' }", 145, "auth_or_quota"),
        ("error = { status = 429, message = 'told' }", 173, "auth_or_quota"),
        ("error = { status = 500, message = 'told' }", 244, "cli_failure"),
        ("message = 'half'\ncut = true", 0, "cli_failure"),
    ],
)
def test_a_failure_of_the_model_has_its_code(repo: Repo, turn: str, exit_code: int, code: str) -> None:
    _, end = ended(repo, turns(turn, says("never said")))
    assert (end["status"], end["reason"]["code"], end["exit_code"]) == ("failed", code, exit_code)


def test_a_reader_may_not_leave_its_mode_and_may_delegate(repo: Repo) -> None:
    call = 'tool = {{ server = "delegation", name = "delegate.{}", arguments = {{ {} }} }}'
    script = turns(
        call.format("spawn", 'task_id = "child"'),
        call.format("status", 'manifest_path = "{child}", wait_s = 40'),
        says("{last_output}"),
    )
    run, end = ended(repo, CHILD + script, "delegation = true")
    assert end["status"] == "succeeded"
    assert '"status":"succeeded"' in run.file("last-message.md").replace(" ", "")
    ours = {name for name in offered(run) if name.startswith("mcp_delegation_")}
    assert {"mcp_delegation_delegate.spawn", "mcp_delegation_delegate.status"} <= ours
    reads = {"update_topic", "list_directory", "read_file", "grep_search", "glob", "invoke_agent"}
    assert offered(run) - ours == reads


def test_a_secret_that_is_printed_is_redacted(repo: Repo) -> None:
    secret = repo.env["MY_TOKEN"] = "s3cr3t-value-of-a-test"
    script = turns(shell("echo token: $MY_TOKEN"), says("Done."))
    run, end = ended(repo, script, *WRITES, env='env = ["MY_TOKEN"]')
    assert end["status"] == "succeeded"
    # The files are sealed once the run has ended, and who waits for it comes back before that.
    wait_until(lambda: "token: [redacted]" in run.file("stdout.jsonl"), what="the seal")
    wait_until(lambda: not run.everything(), what="the end of the supervisor")
    for path in run.folder.rglob("*"):
        assert not path.is_file() or secret not in path.read_text(errors="replace"), path


def test_a_prompt_that_begins_like_a_command_of_its_own_is_asked_of_the_model(repo: Repo) -> None:
    script = "[captures]\nfirst = '(?s)^(.{11})'\n" + turns(says("<{first}>"))
    run, end = ended(repo, script, prompt="/init")
    assert end["status"] == "succeeded" and "<TASK:\n/init" in run.file("last-message.md")


def test_settings_and_variables_of_the_repository_count_nowhere(repo: Repo) -> None:
    (repo.root / ".env").write_text("GEMINI_MODEL=other\nFROM_ENV=yes\n")
    script = turns(shell("echo m=$FROM_ENV."), says("{last_output}"))
    run, end = ended(repo, script, *WRITES)
    assert end["status"] == "succeeded" and run.file("last-message.md").strip() == "m=."
    (repo.root / ".gemini").mkdir()
    refused = repo.cli("start", "--task", "child")
    assert refused.status == 2 and ".gemini" in refused.stderr, refused


def test_what_may_write_is_refused_in_the_shared_tree(repo: Repo) -> None:
    refused = prepared(repo, turns(says("x")), 'sandbox = "workspace-write"').cli("start", "--task", "work")
    assert refused.status != 0 and "Gemini CLI cannot make it read-only" in refused.stderr


def test_a_message_of_22_mb_comes_whole_and_a_home_that_cannot_be_written_is_not_used(repo: Repo) -> None:
    prepared(repo, "[[turns]]\nmessage = '0123456789'\nrepeat = 2200000\n", "expects_change = false")
    repo.env["XDG_STATE_HOME"] = str(repo.home / ".local/state")
    repo.env["HOME"] = "/proc/1/home"
    end = (run := repo.start()).wait()
    assert (end["status"], end["survivors"]) == ("succeeded", [])
    assert len(run.file("last-message.md")) >= 22_000_000


# its agent is stopped


def ticking(repo: Repo) -> tuple[Run, Path]:
    run = prepared(repo, turns(shell(TICKS), says("done")), *WRITES).start()
    file = Path(json.loads(run.file("invocation.json"))["cwd"]) / "ticks"
    wait_until(file.exists, 30)
    return run, file


def shells(repo: Repo) -> list[processes.Seen]:
    return [p for p in processes.of_folder(repo.base) if any("seq 600" in word for word in p.words)]


def test_a_pause_is_seen_in_the_commands_own_ticks(repo: Repo) -> None:
    run, file = ticking(repo)
    assert run.told("pause")["status"] == "paused"
    count = len(file.read_text().split())
    assert run.ask("wait", "--timeout", "5s").status == 75
    assert len(file.read_text().split()) == count, "not one tick"
    assert run.told("resume")["paused_seconds"] >= 5
    wait_until(lambda: len(file.read_text().split()) > count + 5)
    times = [float(line) for line in file.read_text().split()]
    assert sum(later - earlier > 1 for earlier, later in pairwise(times)) == 1
    end = run.told("cancel")
    assert (end["status"], end["survivors"], shells(repo)) == ("cancelled", [], [])


def test_a_run_whose_supervisor_was_killed_is_taken_over_and_cancelled(repo: Repo) -> None:
    run, file = ticking(repo)
    kill(run.supervisor())
    count = len(file.read_text().split())
    wait_until(lambda: len(file.read_text().split()) > count, what="a command that goes on")
    end = run.told("cancel")
    assert (end["status"], end["survivors"], shells(repo)) == ("cancelled", [], [])


def test_a_time_that_is_over_ends_what_left_its_session_too(repo: Repo) -> None:
    script = turns(shell("setsid sleep 300 & sleep 301"))
    _, end = ended(repo, script, *WRITES, 'timeout = "5s"')
    assert (end["status"], end["survivors"]) == ("timed_out", [])
    assert not [p for p in processes.of_folder(repo.base) if "sleep" in p.words]
