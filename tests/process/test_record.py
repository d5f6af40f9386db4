"""`runner record` on runs that were played by a double: what is refused, and what is written where."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path

import pytest
from support.doubles import FINISHED, THREAD, said
from support.ended import an_ended_run
from support.judged import commit
from support.repo import Repo, Run
from support.waiting import wait_until

from runner.rehearsal import script
from runner.rehearsal.turns import PatchCall
from runner.state.lineage import lineage_of
from runner.state.plan_ledger import Breaker, PlanLedger, Step


def command(text: str, item: str = "c1") -> str:
    """Shell: the events of a command that Codex has run."""
    told = {"id": item, "type": "command_execution", "command": f"/bin/bash -lc {json.dumps(text)}"}
    events = ({"type": f"item.{how}", "item": told} for how in ("started", "completed"))
    return "".join(f"cat <<'END'\n{json.dumps(event)}\nEND\n" for event in events)


def edited(path: str, kind: str = "add") -> str:
    item = {
        "id": "e1",
        "type": "file_change",
        "changes": [{"path": path, "kind": kind}],
        "status": "completed",
    }
    return f"cat <<'END'\n{json.dumps({'type': 'item.completed', 'item': item})}\nEND\n"


def played(repo: Repo, body: str, *, level: str = "workspace-write") -> Run:
    repo.codex(f"cat > /dev/null\n{THREAD}{body}{said('done')}{FINISHED}")
    repo.config(f'[tasks.work]\nprompt = "Do it."\nsandbox = "{level}"\ngrace = "1s"\n')
    run = repo.start()
    run.wait()
    return run


def put(data: bytes) -> str:
    """What stands for these contents in a command that puts them in place."""
    return base64.b64encode(data).decode()


def refused(run: Run, *words: str) -> str:
    done = run.ask("record", *words)
    assert (done.status, done.error["code"]) == (9, "cassette_refused"), done
    assert not list(run.repo.root.glob("*cassette*")), "nothing was written"
    return f"{done.error['message']} {done.error['hint']}"


def test_the_change_of_a_run_is_in_its_cassette_and_what_the_user_did_later_is_not(repo: Repo) -> None:
    (repo.root / "b").write_text("one\ntwo\n")
    commit(repo)
    run = played(repo, "echo new > a; echo TWO >> b\n" + edited(f"{repo.root}/a"))
    (repo.root / "a").write_text("of the user\n")
    done = run.ask("record", "-o", "tape.toml")
    assert done.status == 0, done
    (told,) = done.json()["cassettes"]
    assert (told["run_id"], told["path"]) == (run.id, "tape.toml")
    assert told["notes"] == ["put in place as they were, before the last answer: b"]
    calls = [call for turn in script.load(repo.root / "tape.toml").turns for call in turn.calls]
    assert calls[0] == PatchCall("*** Begin Patch\n*** Add File: a\n+new\n*** End Patch\n")
    assert put(b"one\ntwo\nTWO\n") in str(getattr(calls[1], "command", ""))
    text = (repo.root / "tape.toml").read_text()
    assert text.startswith(f"# Recorded from work/{run.id}, codex 0.163.0, which ended as succeeded")
    assert f"# Base commit {repo.git('rev-parse', 'HEAD').decode().strip()}" in text
    begins = dict(script.load(repo.root / "tape.toml").begins_with)
    assert begins == {"a": "", "b": hashlib.sha256(b"one\ntwo\n").hexdigest()}
    assert told["turns"] == text.count("[[turns]]")


def test_a_file_of_the_user_is_kept_unless_it_shall_be_replaced(repo: Repo) -> None:
    run = played(repo, "")
    path = repo.root / "work.cassette.toml"
    assert run.ask("record").status == 0
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    path.write_text("mine")
    assert run.ask("record").error["code"] == "conflict"
    assert path.read_text() == "mine"
    assert run.ask("record", "--force").status == 0
    assert script.load(path).literal and path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("is_folder", [True, False])
def test_no_cassette_is_written_through_a_link(repo: Repo, tmp_path: Path, is_folder: bool) -> None:
    run = played(repo, "")
    outside = tmp_path / "outside"
    outside.mkdir()
    (repo.root / "way").symlink_to(outside if is_folder else outside / "x.toml")
    done = run.ask("record", "--force", "-o", "way/x.toml" if is_folder else "way")
    assert (done.status, done.error["code"]) == (9, "conflict")
    assert not list(outside.iterdir())


def test_force_replaces_a_file_and_nothing_of_git_or_runner(repo: Repo, tmp_path: Path) -> None:
    run = played(repo, "")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(repo.root)
    (repo.root / "way").symlink_to(tmp_path)
    inside = (".git/config", f"{run.folder}/manifest.json", f"{tmp_path}/link/.git/hooks/x", "a/../.git/x")
    for place in (*inside, f"{tmp_path}/pipe", "way/../x.toml", f"{tmp_path}/link/way/x.toml", "."):
        done = run.ask("record", "--force", "-o", place)
        assert (done.status, done.error["code"]) == (9, "conflict"), (place, done)
    assert b"repositoryformatversion" in (repo.root / ".git/config").read_bytes()
    assert run.ask("record", "-o", f"{tmp_path}/link/x.toml").status == 0


@pytest.mark.parametrize("decision", ["accept", "discard"])
def test_the_work_tree_of_the_run_may_be_gone(repo: Repo, decision: str) -> None:
    commit(repo)
    repo.codex(f"cat > /dev/null\necho new > a\n{THREAD}{said('done')}{FINISHED}")
    keys = 'sandbox = "workspace-write"\nworkspace = "worktree"\ngrace = "1s"'
    repo.config(f'[tasks.work]\nprompt = "Do it."\n{keys}\n')
    run = repo.start()
    run.wait()
    assert run.ask(decision).status == 0
    done = run.ask("record", "-o", "tape.toml")
    assert done.status == 0, done
    assert put(b"new\n") in (repo.root / "tape.toml").read_text()


def test_a_secret_is_in_no_comment(repo: Repo) -> None:
    run = played(repo, edited(f"{KEY}.txt") + edited(f"{repo.root}/a") + "echo a > a\n")
    done = run.ask("record", "-o", "tape.toml")
    assert done.status == 0, done
    assert KEY not in (repo.root / "tape.toml").read_text() + done.stdout + done.stderr


def test_a_value_with_a_quote_in_the_last_message_keeps_no_run_from_being_recorded(repo: Repo) -> None:
    value = 'sk-live/Zq9"xLm77TrPp4RtW2'
    text = f"the key is {value} and that is it"
    ending = said(text).replace(f'"{text}"', json.dumps(text))
    repo.codex(f"cat > /dev/null\n{THREAD}{ending}{FINISHED}")
    repo.task(more='[runtimes.codex]\nenv = ["A_VALUE"]')
    repo.env["A_VALUE"] = value
    run = repo.start()
    run.wait()
    assert run.ask("record").status == 0


KEY = "ghp_" + "a1B2" * 9


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (command(f"curl -H 'Authorization: Bearer {KEY}' x"), "line 3 of its stream"),
        (command("login --with '[redacted]'"), "line 3 of its stream"),
        (f"echo 'token = {KEY}' > a\n" + edited("a"), "the change of a"),
        (f"printf 'x\\0{KEY}\\n' > b\n", "the change of b"),
    ],
    ids=["a command", "what was taken out of a command", "an edit", "a file of a command"],
)
def test_a_secret_is_refused_and_not_shown(repo: Repo, body: str, what: str) -> None:
    told = refused(played(repo, body))
    assert what in told and KEY not in told


def test_a_message_may_have_had_a_secret_in_it(repo: Repo) -> None:
    event = {"type": "item.completed", "item": {"type": "agent_message", "text": f"the key is {KEY}"}}
    run = played(repo, f"cat <<'END'\n{json.dumps(event)}\nEND\n" + command("true"))
    assert run.ask("record", "-o", "tape.toml").status == 0
    assert "the key is [redacted]" in (repo.root / "tape.toml").read_text()


def test_an_unfinished_run_is_not_recorded(repo: Repo) -> None:
    repo.waiting_codex()
    repo.task()
    run = repo.start()
    wait_until(lambda: run.on_disk()["phase"] == "running", what="the agent")
    assert run.ask("record").error["code"] == "conflict"
    run.ask("cancel")
    assert "which no script brings about" in refused(run)


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda lines: lines[:-2], "does not end with the last message"),
        (lambda lines: [line.replace('"done"', '"other"') for line in lines], "does not end with"),
        (lambda lines: [*lines[:3], lines[3][:20] + "\n", *lines[4:]], "line 4 of its stream is no event"),
        (lambda lines: [], "no message of the agent"),
    ],
    ids=["truncated", "another last message", "cut in the middle", "empty"],
)
def test_a_stream_that_is_not_whole_is_refused(repo: Repo, edit: object, why: str) -> None:
    first = '{"type":"item.completed","item":{"type":"agent_message","text":"first"}}'
    run = played(repo, f"echo '{first}'\n" + command("true"))
    path = run.folder / "stdout.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert callable(edit)
    path.write_text("".join(edit(lines)))
    assert why in refused(run)


def test_edits_of_which_nothing_was_recorded_are_refused(repo: Repo) -> None:
    assert "what was written is not known" in refused(played(repo, edited("/tmp/x"), level="read-only"))


def test_a_run_whose_program_could_not_work_is_refused(repo: Repo) -> None:
    repo.codex("cat > /dev/null; echo 'error: unexpected argument' >&2; exit 2")
    repo.task()
    run = repo.start()
    run.wait()
    assert "flag_refused" in refused(run)


def test_a_foreign_run_is_not_recorded(repo: Repo) -> None:
    run = played(repo, "")
    (run.folder / "invocation.json").write_text((run.folder / "invocation.json").read_text() + "\n")
    assert run.ask("record").error["code"] == "foreign_run"


def test_the_runs_of_a_plan_are_not_recorded_by_a_ledger_that_was_not_written_here(repo: Repo) -> None:
    repo.task()
    made = an_ended_run(repo.root, task="feature", runtime="plan")
    made.write_manifest(made.read_manifest().replace(plan={"file": "plan.md", "batches": []}))
    run = Run(repo, made.run_id, "feature")
    refused(run)
    ledger = PlanLedger("plan.md", None, (Step(1, ("U1",), run=lineage_of(made)),), Breaker(3))
    Path(made.ledger).write_text(json.dumps(ledger.to_json()))
    assert "was not written here" in refused(run)


def test_ten_thousand_calls_and_much_output_are_recorded_in_bounded_memory(repo: Repo) -> None:
    body = """python3 - <<'END'
import json
for n in range(10_000):
    item = {"id": f"c{n}", "type": "command_execution", "command": f"/bin/bash -lc 'echo {n}'"}
    for how in ("started", "completed"):
        print(json.dumps({"type": f"item.{how}", "item": item | {"aggregated_output": "x" * 2000}}))
END
"""
    run = played(repo, body)
    done = repo.cli("record", run.id, "-o", "tape.toml", within=120.0)
    assert done.status == 0, done
    assert len(script.load(repo.root / "tape.toml").turns) == 10_001
