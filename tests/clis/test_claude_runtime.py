"""Runs of the real Claude Code, with the scripted model: its levels, its ends, what its agent cannot do."""

from __future__ import annotations

import json
import os
import re
import shutil
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from support import processes
from support.clis import CHILD, CLIS, TICKS, add, patch, says, shell, turns
from support.processes import kill
from support.repo import Repo, Run
from support.waiting import wait_until
from support.waves import prepares, start_words, writes

from runner.ledger.file import Ledger

RESULT = {"status": "completed", "summary": "I made it.", "files_modified": ["new.txt"], "issues": []}
USAGE = "usage = { input_tokens = 60, cached_input_tokens = 40, output_tokens = 20 }"


@pytest.fixture(autouse=True)
def helpers_are_installed() -> None:
    missing = [name for name in ("bwrap", "socat") if shutil.which(name) is None]
    assert not missing, f"the sandbox of Claude Code needs {' and '.join(missing)}"


def prepared(
    repo: Repo,
    script: str,
    *keys: str,
    level: str = "workspace-write",
    more: str = "",
    prompt: str = "Do it.",
) -> Repo:
    repo.script(script)
    lines = ('rehearse = "play.toml"', 'grace = "3s"', f'sandbox = "{level}"', *keys)
    program = f'[runtimes.claude]\ncommand = "{CLIS / "claude"}"\n'
    task = "\n".join((f'[tasks.work]\nruntime = "claude"\nprompt = "{prompt}"', *lines))
    return repo.config(f"{program}{more}\n{task}\n")


def ended(repo: Repo, script: str, *keys: str, **options: str) -> tuple[Run, Any]:
    run = prepared(repo, script, *keys, **options).start()
    return run, run.wait()


def called(repo: Repo, arguments: str) -> None:
    """Puts a program in its place that calls it with these words of bash."""
    other, config = repo.bin / "other", repo.root / "delegate.toml"
    other.write_text(f'#!/bin/bash\nexec "{CLIS / "claude"}" {arguments}\n')
    other.chmod(0o755)
    config.write_text(config.read_text().replace(str(CLIS / "claude"), str(other)))


def committed(repo: Repo) -> None:
    (repo.root / "old.txt").write_text("one\n")
    repo.git("add", "old.txt")
    repo.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one")


def results(run: Run) -> str:
    """What the tools have answered."""
    return "".join(line for line in run.file("stdout.jsonl").splitlines() if '"tool_result"' in line)


# success, and what is not


def test_a_change_is_verified_and_what_it_works_with_is_observed(repo: Repo) -> None:
    script = turns(f"{shell('echo made > made.txt')}\n{USAGE}", patch(add("new.txt", "new")), says("Done."))
    run, end = ended(repo, script, 'model = "opus"', 'verify = ["test -s made.txt", "grep new new.txt"]')
    assert (end["status"], end["survivors"]) == ("succeeded", [])
    assert [check["exit_code"] for check in json.loads(run.file("result.json"))["checks"]] == [0, 0]
    verdicts = {name: field["verdict"] for name, field in end["conformance"].items() if field}
    assert verdicts == {"model": "ok", "sandbox": "unverified", "approval": "ok", "effort": "unverified"}
    assert end["conformance"]["sandbox"]["observed"] == "workspace-write"
    assert (end["usage"]["input_tokens"], end["usage"]["output_tokens"]) == (60, 20)
    assert end["context"]["used"] == 60 < end["context"]["window"]
    assert end["thread_id"]
    assert "Done." in run.file("last-message.md")


def test_a_change_that_a_check_refuses_is_rolled_back(repo: Repo) -> None:
    committed(repo)
    script = turns(shell("echo two > old.txt; echo made > made.txt"), says("Done."))
    prepared(repo, script, 'verify = ["grep one old.txt"]', 'on_failure = "rollback"')
    repo.git("add", "delegate.toml", "play.toml")
    repo.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "two")
    end = repo.start().wait()
    assert (end["status"], end["reason"]["code"]) == ("rejected", "verify_failed")
    assert (repo.root / "old.txt").read_text() == "one\n"
    assert not (repo.root / "made.txt").exists()


@pytest.mark.parametrize(
    ("turn", "code"),
    [
        ("error = { status = 401, message = 'told' }", "auth_or_quota"),
        ("error = { status = 429, message = 'told' }", "auth_or_quota"),
        ("error = { status = 529, message = 'told' }", "cli_failure"),
        ("error = { status = 400, message = 'told' }", "request_refused"),
        ("message = 'half'\ncut = true", "cli_failure"),
    ],
)
def test_a_failure_of_the_model_has_its_code(repo: Repo, turn: str, code: str) -> None:
    _, end = ended(repo, turns(turn), level="read-only")
    assert (end["status"], end["reason"]["code"]) == ("failed", code)


def test_a_failed_check_resumes_the_same_session_with_its_tokens_added(repo: Repo) -> None:
    script = turns(f"{says('Done.')}\n{USAGE}", f"{shell('touch good')}\n{USAGE}", says("Now."))
    run, end = ended(repo, script, 'verify = ["test -e good"]', "retries = 1")
    assert end["status"] == "succeeded"
    assert [one["how"] for one in end["attempts"]] == ["first", "resume"]
    assert len({one["thread_id"] for one in end["attempts"]}) == 1
    assert end["usage"]["input_tokens"] == 120
    assert "test -e good" in run.file("prompt-2.md"), "the evidence"


def test_a_fresh_attempt_has_a_session_of_its_own_and_may_cost_what_is_left(repo: Repo) -> None:
    dear = "usage = { input_tokens = 60000, output_tokens = 20000 }"  # 0.64 US dollars
    script = turns(f"{says('Done.')}\n{dear}", f"{shell('touch good')}\n{dear}", says("Never."))
    keys = ('verify = ["test -e good"]', "retries = 1", "limits.price = 1.0")
    run, end = ended(repo, script, *keys, more='[recovery]\nladder = ["fresh"]\n')
    assert (end["status"], end["reason"]["code"]) == ("failed", "budget_exceeded")
    first, fresh = end["attempts"]
    assert first["thread_id"] == json.loads(run.file("invocation.json"))["thread_id"] != fresh["thread_id"]
    assert "thread" not in end["conformance"] or end["conformance"]["thread"] is None
    left = 1.0 - first["cost"]
    assert f"--max-budget-usd {left:.4f} --session-id {fresh['thread_id']}" in " ".join(fresh["argv"])
    assert first["cost"] < 1.0 < first["cost"] + fresh["cost"]
    assert run.ask("wait").status == 7


def test_a_session_other_than_the_one_that_it_was_given_is_a_drift(repo: Repo) -> None:
    prepared(repo, turns(says("Done.")), 'conformance = "enforce"', level="read-only")
    called(repo, f'"$@" --session-id {UUID(int=1)}')
    end = repo.start().wait()
    assert (end["status"], end["reason"]["code"]) == ("failed", "config_drift")
    assert end["conformance"]["thread"]["observed"] == end["thread_id"] == str(UUID(int=1))


@pytest.mark.parametrize("contract", ["final", "closing-turn"])
def test_the_result_comes_in_the_form_of_the_schema(repo: Repo, contract: str) -> None:
    claim = says(json.dumps({**RESULT, "verification_summary": "none"}))
    last = [claim] if contract == "final" else [says("Worked."), claim]
    run, end = ended(repo, turns(patch(add("new.txt", "new")), *last), f'output_contract = "{contract}"')
    assert end["status"] == "succeeded"
    assert json.loads(run.file("result.json"))["claim"]["summary"] == "I made it."


def test_a_child_is_spawned_and_waited_for_by_tools_of_the_delegation_server(repo: Repo) -> None:
    call = 'tool = {{ server = "delegation", name = "delegate.{}", arguments = {{ {} }} }}'
    script = CHILD + turns(
        call.format("spawn", 'task_id = "child"'),
        call.format("status", 'manifest_path = "{child}", wait_s = 40'),
        says("It says {last_output}"),
    )
    more = '[tasks.child]\nruntime = "claude"\nprompt = "x"\nrehearse = true\n'
    run, end = ended(repo, script, "delegation = true", level="read-only", more=more)
    assert end["status"] == "succeeded"
    assert '"status":"succeeded"' in run.file("last-message.md").replace(" ", "")
    assert end["conformance"]["sandbox"]["verdict"] == "ok"


def test_an_agent_writes_and_reads_the_ledger_by_tools_of_the_delegation_server(repo: Repo) -> None:
    call = 'tool = {{ server = "delegation", name = "{}", arguments = {{ {} }} }}'
    report = 'kind = "test_report", title = "tests", summary = "Green.", status = "passed"'
    script = turns(
        call.format("append_note", 'text = "The goal."'),
        call.format("record_artifact", f'{report}, evidence = ["4 passed"]'),
        call.format("handoff", 'to = "human", reason = "It is done.", ask = "Look."'),
        call.format("read_context", "limit = 5"),
        says("It says {last_output}"),
    )
    run, end = ended(repo, script, "delegation = true", level="read-only")
    assert end["status"] == "succeeded"
    said = run.file("last-message.md").replace(" ", "")
    assert '"open_handoffs":[{"id":"e-' in said and '"4passed"' in said
    told = [(one.type, one.run_id) for one in Ledger(str(repo.root), "work").entries() if one.actor == "work"]
    assert told == [(kind, run.id) for kind in ("note", "artifact", "handoff")]


def test_a_run_whose_delegation_server_does_not_start_is_ended(repo: Repo) -> None:
    prepared(repo, turns("hang = true"), "delegation = true", level="read-only")
    called(repo, '"${@//delegate-server/nothing}"')
    end = repo.start().wait()
    assert (end["status"], end["reason"]["code"]) == ("failed", "cli_failure")
    assert "MCP server" in end["reason"]["message"]


def test_a_prompt_that_begins_like_a_command_of_claude_is_asked_of_the_model(repo: Repo) -> None:
    run, end = ended(repo, turns(says("Asked.")), level="read-only", prompt="/cost")
    assert end["status"] == "succeeded" and "Asked." in run.file("last-message.md")


def test_two_runs_at_once_in_one_home_are_two_sessions(repo: Repo) -> None:
    prepared(repo, turns(f"delay = '1s'\n{says('Done.')}\n{USAGE}"), level="read-only")
    runs = [repo.start(), repo.start()]
    ends = [run.wait() for run in runs]
    assert [(end["status"], end["usage"]["output_tokens"]) for end in ends] == [("succeeded", 20)] * 2
    assert len({end["thread_id"] for end in ends}) == 2


def test_a_home_that_cannot_be_written_is_not_used_and_a_line_of_22_mb_is_told(repo: Repo) -> None:
    prepared(repo, "[[turns]]\nmessage = '0123456789'\nrepeat = 2200000\n", level="read-only")
    repo.env["XDG_STATE_HOME"] = str(repo.home / ".local/state")
    repo.env["HOME"] = "/proc/1/home"
    end = (run := repo.start()).wait()
    assert run.file("stdout.jsonl").count("0123456789") >= 4_400_000
    assert (end["status"], end["reason"]["code"], end["survivors"]) == ("failed", "result_missing", [])
    assert "8 MB" in end["reason"]["hint"]


def test_a_secret_that_is_printed_is_redacted(repo: Repo) -> None:
    secret = "s3cr3t-value-of-a-test"
    repo.env["MY_TOKEN"] = secret
    prepared(repo, turns(shell("echo token: $MY_TOKEN"), says("Done.")))
    config = repo.root / "delegate.toml"
    config.write_text(
        config.read_text().replace("[runtimes.claude]", '[runtimes.claude]\nenv = ["MY_TOKEN"]')
    )
    run = repo.start()
    assert run.wait()["status"] == "succeeded"
    assert "token: " in results(run)
    # Who waits comes back before the files are sealed.
    wait_until(lambda: not run.everything(), what="the end of the supervisor")
    for path in run.folder.rglob("*"):
        assert not path.is_file() or secret not in path.read_text(errors="replace"), path


# its agent is stopped


def ticking(repo: Repo) -> Run:
    run = prepared(repo, turns(shell(TICKS), says("done"))).start()
    wait_until(lambda: (repo.root / "ticks").exists(), 30)
    return run


def ticks(repo: Repo) -> list[float]:
    return [float(line) for line in (repo.root / "ticks").read_text().split()]


def shells(repo: Repo) -> list[processes.Seen]:
    return [p for p in processes.of_folder(repo.base) if any("seq 600" in word for word in p.words)]


def test_a_pause_is_seen_in_the_commands_own_ticks(repo: Repo) -> None:
    run = ticking(repo)
    assert run.told("pause")["status"] == "paused"
    count = len(ticks(repo))
    assert run.ask("wait", "--timeout", "5s").status == 75
    assert len(ticks(repo)) == count, "not one tick"
    assert run.told("resume")["paused_seconds"] >= 5
    wait_until(lambda: len(ticks(repo)) > count + 5)
    gaps = [later - earlier for earlier, later in pairwise(ticks(repo))]
    assert sum(gap > 1 for gap in gaps) == 1
    end = run.told("cancel")
    assert (end["status"], end["survivors"]) == ("cancelled", [])
    assert shells(repo) == []


def test_a_run_whose_supervisor_was_killed_is_taken_over_and_cancelled(repo: Repo) -> None:
    run = ticking(repo)
    kill(run.supervisor())
    count = len(ticks(repo))
    wait_until(lambda: len(ticks(repo)) > count, what="a command that goes on")
    end = run.told("cancel")
    assert (end["status"], end["survivors"]) == ("cancelled", [])
    assert shells(repo) == []


def test_a_time_that_is_over_ends_all_of_it(repo: Repo) -> None:
    _, end = ended(repo, turns(shell("setsid sleep 300 & sleep 301")), 'timeout = "3s"')
    assert (end["status"], end["survivors"]) == ("timed_out", [])
    assert not [p for p in processes.of_folder(repo.base) if "sleep" in p.words]


# what its agent cannot do


def tried(*commands: str) -> str:
    """One line of shell: of each command, whether it could be done."""
    return "; ".join(f"if ( {one} ) >/dev/null 2>&1; then echo did; else echo no; fi" for one in commands)


OUTSIDE = (
    "touch {home}/x",
    "touch {home}/.npm/_logs/x",
    "touch {base}/x",
    "touch /sys/fs/cgroup/x",
    "mkdir /sys/fs/cgroup/y",
)
OBEYED = (
    *(
        "touch .runs/x",
        "mv .runs r",
        "rm -r .runs",
        "ln -s .runs l && touch l/x",
        "touch .git/hooks/post-commit",
    ),
    *("touch .git/x", "mv .git g", "unshare -r true", "mount --bind made .runs", "umount .runs"),
    *('python3 -c \'open(".runs/p", "w")\'', "sh -c 'sh -c \"touch .runs/q\"'"),
)


@pytest.mark.parametrize("workspace", ["in-place", "worktree"])
def test_no_command_writes_outside_or_in_what_runner_obeys(repo: Repo, workspace: str) -> None:
    committed(repo)
    commands = [one.format(home=repo.home, base=repo.base) for one in (*OUTSIDE, *OBEYED)]
    if workspace == "worktree":  # the records are elsewhere, and git's repository as well
        commands = [one for one in commands if ".runs" not in one and ".git" not in one]
        root = repo.root
        commands += [f"touch {root}/x", f"touch {root}/.git/x", f"touch {root}/.runs/x"]
        commands += [f"touch {root}/.git/refs/heads/x", f"echo x > {root}/.git/worktrees/*/commondir"]
    script = turns(shell(tried("touch fine", "mkdir made", *commands)), says("{last_output}"))
    run, end = ended(repo, script, f'workspace = "{workspace}"')
    assert end["status"] == "succeeded"
    assert run.file("last-message.md").split() == ["did", "did", *("no" for _ in commands)]


ASKS = (
    "env -u no_proxy -u NO_PROXY python3 -c 'import os, sys, urllib.request as r; "
    'p = r.ProxyHandler({{"http": os.environ["http_proxy"]}}); '
    'print(r.build_opener(p).open("http://%s:{0}/").status)\''
)


def test_a_command_reaches_the_hosts_of_its_list_alone_and_reads_no_secret(repo: Repo) -> None:
    (repo.root / "secrets").mkdir()
    (repo.root / "secrets/a").write_text("hidden-word\n")
    (repo.root / "link").symlink_to("secrets")
    (repo.root / "other/deep").mkdir(parents=True)
    (repo.root / "other/deep/b").write_text("hidden-word\n")
    (repo.root / "moves").mkdir()
    (repo.root / "moves/link").symlink_to("../other/deep")
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        asks = [ASKS.format(port) % host for host in ("localhost", "127.0.0.1", "other.localhost")]
        direct = f"python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}))'"
        reads = ("cat secrets/a", "cat link/a", "mv secrets other", "grep -r hidden secrets link")
        key = 'test -n "$ANTHROPIC_API_KEY" || grep -az ANTHROPIC_API_KEY= /proc/*/environ'
        moved = shell("mv moves moved; ls moved; cat moved/link/b other/deep/b; ls .runs")
        script = turns(moved, shell(tried(*asks, direct, *reads, key)), says("{last_output}"))
        box = '[sandboxes.box]\nlevel = "workspace-write"\nnetwork = ["localhost"]\n'
        box += 'deny_read = ["secrets", "moves/link"]\n'
        run, end = ended(repo, script, level="box", more=box)
        server.shutdown()
    assert end["status"] == "succeeded"
    words = run.file("last-message.md").partition("<sandbox_violations>")[0].split()
    assert words == ["did", *["no"] * (len(asks) + len(reads) + 1)]
    assert "hidden-word" not in results(run) and (repo.root / "moved").is_dir()
    assert "work" not in re.findall(r"\w+", results(run))  # the folder in `.runs`


def test_no_tool_writes_outside_or_in_what_runner_obeys(repo: Repo) -> None:
    committed(repo)
    links = "ln -s .runs link; ln -s {0} out; mkdir fresh; ln -s ../.runs fresh/link"
    places = ("{0}/x1", "../x2", "out/x3", ".runs/x4", "{1}/.runs/x5", "link/x6", "fresh/link/x7")
    more = ("fresh/../.runs/x8", ".git/hooks/x9", "{1}/.git/x10", "/tmp/x-runner-11", ".claude/settings.json")
    wanted = [add(place.format(repo.home, repo.root)) for place in (*places, *more)]
    script = turns(shell(links.format(repo.home)), patch(add("fine.txt", "fine"), *wanted), says("Done."))
    run, end = ended(repo, script)
    assert end["status"] == "succeeded"
    assert (repo.root / "fine.txt").read_text() == "fine\n"
    found = [name for _, _, names in os.walk(repo.base) for name in names if re.fullmatch(r"x\d+", name)]
    assert (found, Path("/tmp/x-runner-11").exists()) == ([], False)
    assert not (repo.root / ".claude/settings.json").exists()
    refused = [line for line in run.file("events.jsonl").splitlines() if '"refused"' in line]
    assert refused and "Write" in "".join(refused)


def test_no_command_lives_while_a_tool_writes(repo: Repo) -> None:
    """It could put a link in the place of a folder in which the tool is about to write."""
    live = "setsid sh -c 'while :; do date +%s.%N >> ticks; sleep 0.1; done' > /dev/null 2>&1 & sleep 0.5"
    count = "wc -l < ticks"
    script = turns(shell(live), shell(f"{count}; sleep 1; {count}"), says("{last_output}"))
    run, end = ended(repo, script)
    assert end["status"] == "succeeded"
    before, after = run.file("last-message.md").split()
    assert int(before) == int(after) > 0
    requests = (run.folder / "rehearsal.jsonl").read_text()
    assert not re.search(r"BashOutput|TaskOutput|Monitor", requests)


def test_a_reader_is_offered_nothing_that_writes(repo: Repo) -> None:
    run, end = ended(repo, turns(says("Read.")), level="read-only")
    assert end["status"] == "succeeded"
    (request,) = [json.loads(line) for line in (run.folder / "rehearsal.jsonl").read_text().splitlines()]
    assert request["tools"] == ["Glob", "Grep", "Read"]
    assert end["conformance"]["sandbox"] == {
        "declared": "read-only",
        "observed": "read-only",
        "verdict": "ok",
    }


def test_without_a_helper_of_the_sandbox_nothing_is_run(repo: Repo) -> None:
    wanted = ("sh", "bash", "env", "git", "bwrap", "ls", "cat", "touch", "python3")
    for name in wanted:
        (repo.bin / name).symlink_to(str(shutil.which(name)))
    repo.env["PATH"] = str(repo.bin)
    _, end = ended(repo, turns(shell("touch made"), says("Done.")))
    assert (end["status"], end["reason"]["code"]) == ("failed", "misconfigured")
    assert "socat" in end["reason"]["message"] and not (repo.root / "made").exists()
    (row,) = [
        one
        for one in json.loads(repo.cli("doctor", "--runtime", "claude", "--format", "json").stdout)["checks"]
        if one["name"] == "claude.sandbox"
    ]
    assert row["verdict"] == "fail" and "apt install socat" in row["repair"]


@pytest.mark.parametrize(
    ("bwrap", "verdict", "said"),
    [
        (None, "ok", "refuses a forbidden write"),
        (f'exec {shutil.which("bwrap")} "${{@/#--ro-bind/--bind}}"', "fail", "allowed a forbidden write"),
        ("echo no namespaces >&2; exit 1", "fail", "does not work"),
    ],
)
def test_doctor_lets_claude_try_its_sandbox(repo: Repo, bwrap: str | None, verdict: str, said: str) -> None:
    if bwrap is not None:
        (repo.bin / "bwrap").write_text(f"#!/bin/bash\n{bwrap}\n")
        (repo.bin / "bwrap").chmod(0o755)
    prepared(repo, turns(says("Done.")))
    told = json.loads(repo.cli("doctor", "--runtime", "claude", "--format", "json").stdout)
    (row,) = [one for one in told["checks"] if one["name"] == "claude.sandbox"]
    assert row["verdict"] == verdict and said in row["message"], row
    assert not list((repo.home / ".local/state/runner/scratch").iterdir())
    assert not (repo.home / ".claude/projects").exists(), (
        "the session of the trial is not among those of the user"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user is not refused")
def test_as_root_it_works_without_a_sandbox_only_where_the_user_says_so(repo: Repo) -> None:
    wild = '[sandboxes.wild]\nlevel = "danger-full-access"\nallow_danger = true\n'
    script = turns(shell("touch .git/x"), says("Done."))
    refused = prepared(repo, script, level="wild", more=wild).start("--allow-danger").wait()
    assert (refused["status"], refused["reason"]["code"]) == ("failed", "misconfigured")
    says_so = f'[runtimes.claude.config.env]\nIS_SANDBOX = "1"\n{wild}'
    end = prepared(repo, script, level="wild", more=says_so).start("--allow-danger").wait()
    assert end["status"] == "succeeded" and (repo.root / ".git/x").exists()
    assert end["conformance"]["sandbox"]["verdict"] == "ok"


def test_a_plan_of_six_units_is_carried_out(repo: Repo) -> None:
    (repo.bin / "claude").symlink_to(CLIS / "claude")
    prepares(repo, [writes(n) for n in range(1, 7)], task=('runtime = "claude"',))
    done = repo.cli(*start_words(repo, "--wait"), within=300)
    assert done.status == 0, done.stdout + done.stderr
    assert [(repo.root / f"src/m{n}.py").read_text() for n in range(1, 7)] == [
        f"x = {n}\nby {n}\n" for n in range(1, 7)
    ]
    versions = {run.on_disk()["runtime"]["name"] for run in repo.runs()}
    assert versions == {"claude", "plan"}
