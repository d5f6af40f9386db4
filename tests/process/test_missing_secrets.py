"""Who ends a run without the values of its secrets: what they might stand in is marked, and not shown."""

from __future__ import annotations

import base64
import json

import pytest
from support.processes import kill
from support.repo import Repo, Run
from support.waiting import wait_until

VALUE = "Zx9QQwZe7r/T5yU3iO1pA"
SHORT = "pQ7mN3xK9w"
ENCODED = base64.b64encode(f"user:{VALUE}".encode()).decode()
SAYS = r"""
printf '{"type":"item.completed","item":{"type":"agent_message","text":"it is %s"}}\n' "$SAID"
echo "err $SAID" >&2
"""


def killed(repo: Repo, said: str, value: str = VALUE, *lines: str) -> Run:
    """A run whose supervisor and whose agent, which has said something, are gone with the values they had."""
    repo.waiting_codex(before=f"export SAID='{said}'\n{SAYS}")
    repo.task(*lines, more='[runtimes.codex]\nenv = ["SERVICE_WORD", "NEVER_SET"]\n')
    run = repo.start(env={"SERVICE_WORD": value})
    repo.begun()
    wait_until((run.folder / "secrets.json").exists, what="the fingerprints")
    for process in (run.supervisor(), run.child()):
        kill(process)
    return run


def ended(run: Run, **env: str) -> Run:
    """The next look ends it."""
    run.repo.cli("status", run.id, env=env)
    wait_until(lambda: run.events("sealed") or run.events("seal_incomplete"), what="the seal")
    wait_until(lambda: not (run.folder / "control" / "wake").exists(), what="the end of the seal")
    return run


def shown(run: Run, *words: str, **env: str) -> str:
    """All that the verbs show of a run."""
    texts = []
    for command in (
        ("logs", run.id, *words),
        *(("logs", run.id, "--stream", stream, *words) for stream in ("stdout", "stderr", "last")),
        ("status", run.id),
        ("status", run.id, "--format", "json"),
        ("report", run.id),
        ("report", run.id, "--format", "json"),
        ("list", "--all"),
    ):
        done = run.repo.cli(*command, env=env)
        texts.append(done.stdout + done.stderr)
    return "\n".join(texts)


def files_with(run: Run, word: str) -> list[str]:
    paths = (path for path in run.folder.rglob("*") if path.is_file())
    return sorted(path.name for path in paths if word.encode() in path.read_bytes())


def test_what_cannot_be_sealed_is_marked_and_withheld(repo: Repo) -> None:
    run = ended(killed(repo, ENCODED))
    assert not run.events("sealed")
    assert run.events("seal_incomplete")[-1]["missing"] == ["SERVICE_WORD"]
    text = shown(run)
    assert ENCODED not in text and "[withheld]" in text
    assert "the value of SERVICE_WORD is not known here" in text
    assert ENCODED in shown(run, "--raw")
    raw = ["last-message.md", "stderr.log", "stdout.jsonl"]
    assert files_with(run, ENCODED) == raw, "and in no record of ours"


def test_a_value_is_found_by_its_fingerprint_without_having_it(repo: Repo) -> None:
    run = ended(killed(repo, f"{VALUE} {ENCODED}"))
    assert run.events("sealed") and not run.events("seal_incomplete")
    assert files_with(run, VALUE) == files_with(run, ENCODED) == []
    assert "[redacted]" in shown(run) and "[withheld]" not in shown(run)


def test_who_has_the_value_later_brings_the_seal_about(repo: Repo) -> None:
    run = ended(killed(repo, ENCODED))
    assert ENCODED not in shown(run, SERVICE_WORD="another-Value-7x2k9")
    assert not run.events("sealed"), "another value is not the one that was said"
    run.repo.cli("status", run.id, env={"SERVICE_WORD": VALUE})
    wait_until(lambda: run.events("sealed"), what="the seal")
    assert files_with(run, ENCODED) == []
    wait_until(lambda: not (run.folder / "unsealed").exists(), what="the end of the mark")
    assert "[withheld]" not in repo.cli("logs", run.id).stdout


def test_a_short_value_is_known_again_and_not_searched_for(repo: Repo) -> None:
    run = ended(killed(repo, SHORT, SHORT))
    assert run.events("seal_incomplete")
    record = json.loads(run.file("secrets.json"))["secrets"]
    assert [(one["name"], one["length"], len(one["mac"])) for one in record] == [
        ("SERVICE_WORD", len(SHORT), 4)
    ]
    run.repo.cli("status", run.id, env={"SERVICE_WORD": SHORT})
    wait_until(lambda: run.events("sealed"), what="the seal")
    assert files_with(run, SHORT) == []


@pytest.mark.parametrize("break_it", ["forge", "remove", "copy"])
def test_fingerprints_that_are_not_ours_prove_nothing(repo: Repo, break_it: str) -> None:
    run = killed(repo, ENCODED)
    path = run.folder / "secrets.json"
    if break_it == "forge":
        path.write_text('{"schema_version": 1, "secrets": []}')
    elif break_it == "copy":
        other = repo.start(env={"SERVICE_WORD": ""})
        wait_until((other.folder / "secrets.json").exists, what="the fingerprints of another run")
        path.write_bytes((other.folder / "secrets.json").read_bytes())
        repo.end_all()
    else:
        path.unlink()
    ended(run)
    assert "SERVICE_WORD" in run.events("seal_incomplete")[-1]["missing"]
    assert ENCODED not in shown(run)


def test_a_list_does_not_start_a_supervisor_for_each_mark(repo: Repo) -> None:
    run = ended(killed(repo, ENCODED))
    before = run.file("events.jsonl")
    for _ in range(3):
        repo.cli("list", "--all")
        repo.cli("status", run.id)
    assert run.file("events.jsonl") == before and not run.everything()


def test_a_living_run_is_shown_to_whoever_has_no_value(repo: Repo) -> None:
    repo.waiting_codex(before=f"export SAID='{ENCODED}'\n{SAYS}")
    repo.task(more='[runtimes.codex]\nenv = ["SERVICE_WORD"]\n')
    run = repo.start(env={"SERVICE_WORD": VALUE})
    repo.begun()
    text = shown(run)
    assert ENCODED not in text and "[redacted]" in text and "[withheld]" not in text
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"


def test_while_a_check_runs_the_values_are_those_of_the_supervisor(repo: Repo) -> None:
    """The agent is gone and its files are not sealed yet."""
    gate = repo.note("checked")
    repo.quick_codex(before=f"export SAID='{ENCODED}'\n{SAYS}")
    wait = f"until [ -e {gate} ]; do sleep 0.05; done"
    repo.task(f"verify = [['sh', '-c', '{wait}']]", more='[runtimes.codex]\nenv = ["SERVICE_WORD"]\n')
    run = repo.start(env={"SERVICE_WORD": VALUE})
    wait_until(lambda: run.on_disk()["phase"] == "verifying", what="the check")
    text = shown(run)
    gate.touch()
    assert ENCODED not in text and "[redacted]" in text
    assert run.wait()["status"] == "succeeded"


def test_no_attempt_follows_without_the_values(repo: Repo) -> None:
    run = ended(killed(repo, ENCODED, VALUE, "retries = 2"))
    assert run.on_disk()["attempt"] == 1
    told = [event["message"] for event in run.events("not_retried")]
    assert told == [] or "SERVICE_WORD" in told[0]


def test_the_next_try_gets_nothing_that_was_withheld(repo: Repo) -> None:
    run = ended(killed(repo, ENCODED))
    repo.quick_codex()
    again = repo.json("retry", run.id, "--wait", env={"SERVICE_WORD": "other-Value-7x2k9"})
    prompt = Run(repo, again["run_id"]).file("prompt.md")
    assert ENCODED not in prompt


def test_a_patch_with_a_secret_in_it_is_exact_and_says_so_and_a_page_has_it_without(repo: Repo) -> None:
    repo.config(
        '[runtimes.codex]\nenv = ["SERVICE_WORD"]\n[tasks.work]\nprompt = "x"\nsandbox = "workspace-write"\n'
    )
    repo.quick_codex(before='echo "key = $SERVICE_WORD" > new')
    repo.commit()
    run = repo.start("--wait", env={"SERVICE_WORD": VALUE})
    done = repo.cli("diff", run.id, env={"SERVICE_WORD": VALUE})
    assert f"+key = {VALUE}\n" in done.stdout
    assert "note: this patch has the value of a secret in it" in done.stderr
    page = repo.cli("report", run.id, "--format", "html", env={"SERVICE_WORD": VALUE}).stdout
    assert "<ins>+key = [redacted]</ins>" in page and VALUE not in page and "exact" not in page
    page = repo.cli("report", run.id, "--format", "html").stdout
    assert "withheld: the value of SERVICE_WORD is not known here" in page and VALUE not in page
    other = repo.cli("diff", run.id, env={"SERVICE_WORD": "another-Value-7x2k9"})
    assert (other.stdout, "secret" in other.stderr) == (done.stdout, False)
