"""A further attempt of a run that changed its owner: the lease of the work tree goes on with the run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.doubles import FINISHED, THREAD, said
from support.judged import commit
from support.repo import Repo, Run
from support.waiting import wait_until

WRITING = ("--sandbox", "workspace-write")
LEFTOVER = """[ -e "$HOME/leftover" ] || setsid bash -c 'echo $$ > "$HOME/leftover"; exec sleep 300' &\n"""


def begun(repo: Repo, number: int) -> None:
    """Until so many attempts have begun."""
    found = repo.note("attempts")
    wait_until(lambda: found.exists() and len(found.read_text().split()) == number, 20, f"attempt {number}")


def starts(repo: Repo, before: str = "", ladder: str = "resume") -> Run:
    """A run whose attempts announce themselves, wait for their gate, and write a wrong answer."""
    repo.codex(
        f"""cat > /dev/null\n{THREAD}{before}echo x >> "$HOME/attempts"; n=$(wc -l < "$HOME/attempts")\n"""
        f"""until [ -e "$HOME/gate-$n" ]; do sleep 0.05; done\necho "answer = $n" > src/app.py\n"""
        f"""echo "ERROR codex_core::tools::router: error=call $n is forbidden" >&2\n"""
        f"""{said("done")}{FINISHED}"""
    )
    recovery = f'[recovery]\nladder = ["{ladder}"]\n'
    repo.task("retries = 1", 'verify = [["grep", "-q", "42", "src/app.py"]]', more=recovery)
    commit(repo)
    run = repo.start(*WRITING)
    begun(repo, 1)
    return run


@pytest.fixture(params=["resume", "fresh"])
def run(repo: Repo, request: pytest.FixtureRequest) -> Iterator[Run]:
    """In its second attempt, under an owner that did not start the first one.

    That left a process behind, which has the lease as its parent had it: it is free when that is ended.
    """
    run = starts(repo, LEFTOVER, request.param)
    repo.pid_in("leftover")
    run.kill_supervisor()
    assert run.status()["status"] == "running"
    repo.note("gate-1").touch()
    begun(repo, 2)
    wait_until(lambda: [one["how"] for one in run.on_disk()["attempts"]] == ["first", request.param])
    yield run
    repo.end_all()


def test_the_change_of_the_second_attempt_is_taken_back(repo: Repo, run: Run) -> None:
    repo.note("gate-2").touch()
    manifest = run.wait()
    assert (manifest["status"], manifest["attempt"]) == ("rejected", 2)
    assert "not all was rolled back" not in manifest["reason"]["message"]
    told = [(one["attempt"], one["message"]) for one in run.events("refused")]
    assert told == [(1, "call 1 is forbidden"), (2, "call 2 is forbidden")], "each once"
    assert (repo.root / "src/app.py").read_text() == "answer = 41\n"


def test_nobody_else_may_write_while_the_second_attempt_works(repo: Repo, run: Run) -> None:
    """Its owner has the lease, and so has its program: the owner may die."""
    for is_owned in (True, False):
        if not is_owned:
            run.kill_supervisor()
        refused = repo.cli("start", "--task", "work", *WRITING, "--format", "json")
        assert refused.status == 9, refused.stdout
        assert refused.error["message"].startswith(f"run `{run.id}` may write")


def test_no_attempt_follows_where_another_run_has_taken_the_tree_meanwhile(repo: Repo) -> None:
    run = starts(repo)
    child = run.child()
    run.kill_supervisor()
    repo.note("gate-1").touch()
    wait_until(lambda: not child.is_still_there())
    other = repo.start(*WRITING)
    begun(repo, 2)
    manifest = run.wait()
    assert (manifest["status"], manifest["attempt"]) == ("rejected", 1)
    assert len(run.events("not_retried")) == 1
    assert other.status()["status"] == "running"
    repo.end_all()


@pytest.mark.parametrize("what", ["its file", "the interpreter"])
def test_a_program_that_its_agent_has_changed_is_not_started_again(repo: Repo, what: str) -> None:
    """Without a sandbox nothing else keeps it from that."""
    target = "$0" if what == "its file" else "$(dirname $0)/interpreter"
    changes = f"""echo x >> "$HOME/attempts"\necho "# more" >> {target}\n"""
    program = repo.codex(f"cat > /dev/null\n{THREAD}{changes}{said('done')}{FINISHED}")
    if what == "the interpreter":
        inner = repo.bin / "interpreter"
        inner.write_text('#!/bin/sh\\nexec bash "$@"\\n'.replace("\\n", "\n"))
        inner.chmod(0o755)
        program.write_text(program.read_text().replace("#!/bin/bash", "#!/usr/bin/env interpreter", 1))
    repo.task(
        "retries = 1",
        'verify = [["false"]]',
        more='[sandboxes.wild]\nlevel = "danger-full-access"\nallow_danger = true\n',
    )
    commit(repo)
    run = repo.start("--sandbox", "wild", "--allow-danger")
    ended = run.wait()
    assert (ended["status"], ended["reason"]["code"]) == ("rejected", "verify_failed")
    assert "is not what it was" in run.events("not_retried")[0]["message"]
    assert ended["proof"] == "seen", "it could have left its group"
    assert repo.note("attempts").read_text().split() == ["x"]


@pytest.mark.parametrize("workspace", ["in-place", "worktree"])
def test_what_a_program_starts_is_not_started_again_once_its_agent_has_changed_it(
    repo: Repo, workspace: str
) -> None:
    """A server of the settings runs outside of the sandbox."""
    (repo.root / "server").write_text("#!/bin/sh\n")
    repo.codex(
        f'cat > /dev/null\n{THREAD}echo x >> "$HOME/attempts"; echo evil >> server\n{said("done")}{FINISHED}'
    )
    repo.task(
        "retries = 1",
        'verify = [["false"]]',
        f'workspace = "{workspace}"',
        more='[runtimes.codex.config]\nmcp_servers.a.command = "./server"\n',
    )
    commit(repo)
    run = repo.start("--sandbox", "workspace-write")
    ended = run.wait()
    assert (ended["status"], ended["reason"]["code"]) == ("rejected", "verify_failed")
    assert run.events("not_retried")[0]["message"] == "./server is not what it was at the start"
    assert "evil" not in (repo.root / "server").read_text(encoding="utf-8")
    assert repo.note("attempts").read_text().split() == ["x"]


def test_an_option_in_the_place_of_an_id_is_resumed_by_no_further_attempt(repo: Repo) -> None:
    named = THREAD.replace(
        "01a1f828-a6fe-7db1-be08-71550d19d0b3", "--dangerously-bypass-approvals-and-sandbox"
    )
    repo.codex(
        f"""cat > /dev/null\n{named}[ "$1" != exec ] || echo "$@" >> "$HOME/argv"\n{said("done")}{FINISHED}"""
    )
    repo.task("retries = 1", 'verify = [["false"]]', more='[recovery]\nladder = ["resume"]\n')
    assert repo.start().wait()["status"] == "rejected"
    lines = repo.note("argv").read_text().splitlines()
    assert len(lines) == 2 and not any("danger" in line or "resume" in line for line in lines)
