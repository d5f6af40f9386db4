"""What broke a tool that drove agents through a terminal: none of it may happen here.

docs/from-codex-agent.md has the list. What is not here has its test where its kind lives.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.doubles import FINISHED, THREAD, said
from support.repo import Repo
from support.waiting import wait_until

SCREEN = (
    "[codex-agent: Session complete. Closing in 5s]",
    "context window exceeded, 0% context left",
    "Your input exceeds the context window of this model.",
    "error: unexpected argument '--full-auto' found",
    "session id: 00000000-0000-0000-0000-000000000000",
    '{\\"type\\":\\"turn.completed\\",\\"usage\\":{}} {\\"type\\":\\"turn.failed\\"}',
    "Do you trust the contents of this directory? [y/N]",
)
"""Words by which others have told the state of a session, as an agent that reads their source prints them."""
PER_RUN = """
tr '\\0' '\\n' < /proc/$$/environ > "$HOME/environ-$RUNNER_RUN_ID"
cat > /dev/null
"""
UNTIL_GATE = 'touch "$HOME/begun-$RUNNER_RUN_ID"\nuntil [ -e "$HOME/gate" ]; do sleep 0.05; done\n'


def test_what_an_agent_says_and_reads_decides_nothing(repo: Repo) -> None:
    """Neither does the next start, which must end no other run."""
    shown = "".join(said(words.replace("'", "")) for words in SCREEN)
    read = "\n".join(f"echo '{words}' >&2; echo 'x {words}'" for words in SCREEN if "'" not in words)
    repo.codex(f"{PER_RUN}{THREAD}{shown}{read}\n{UNTIL_GATE}{said('done')}{FINISHED}")
    runs = [repo.task().start() for _ in range(2)]
    for run in runs:
        wait_until(repo.note(f"begun-{run.id}").exists)
    for verb in ("wait", "await"):
        assert runs[0].ask(verb, "--timeout", "400ms").status == 75
    runs.append(repo.start())
    assert {row["status"] for row in repo.json("list")} == {"running"}
    assert all(run.child().is_alive for run in runs)
    repo.open_gate()
    for run in runs:
        ended = run.wait()
        assert (ended["status"], ended["reason"]["code"]) == ("succeeded", "completed")
        assert ended["last_message"] == "done"


def test_a_turn_that_the_program_ends_on_the_way_is_not_the_answer(repo: Repo) -> None:
    """Codex lets a model think of a title first, which is a turn as well."""
    title = f"{THREAD.replace('01a1f828', 'ffffffff')}{said('A Title')}{FINISHED}"
    repo.waiting_codex(before=title)
    run = repo.task().start()
    repo.begun()
    for verb in ("wait", "await"):
        assert run.ask(verb, "--timeout", "400ms").status == 75
    assert run.status()["status"] == "running"
    repo.open_gate()
    assert run.told("await")["message"] == "done"
    assert run.wait()["last_message"] == "done"


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (
            "echo \"error: unexpected argument '--full-auto' found\" >&2; exit 2",
            "flag_refused",
            "--full-auto",
        ),
        (f"{THREAD}{said('I am done')}exit 3", "cli_failure", "3"),
        (f"{THREAD}{said('I am done')}{FINISHED}exit 3", "cli_failure", "3"),
    ],
    ids=["an option that it does not know", "a failure behind an answer", "a failure behind a whole turn"],
)
def test_the_exit_status_is_that_of_the_program_itself(
    repo: Repo, body: str, code: str, message: str
) -> None:
    repo.codex(f"cat > /dev/null\n{body}")
    done = repo.task().cli("start", "--task", "work", "--wait", "--format", "json")
    ended = done.json()
    assert (done.status, ended["status"], ended["reason"]["code"]) == (1, "failed", code)
    assert ended["exit_code"] == (3 if "exit 3" in body else 2)
    assert message in json.dumps(ended["reason"])


def test_of_runs_whose_supervisors_are_all_killed_none_is_called_finished_while_it_works(repo: Repo) -> None:
    repo.codex(f"{PER_RUN}{THREAD}{UNTIL_GATE}{said('done')}{FINISHED}")
    runs = [repo.task().start() for _ in range(4)]
    for run in runs:
        wait_until(repo.note(f"begun-{run.id}").exists)
    children = [run.child().pid for run in runs]
    for run in runs:
        run.kill_supervisor()
    assert {row["run_id"]: row["status"] for row in repo.json("list")} == {run.id: "running" for run in runs}
    assert [run.child().pid for run in runs] == children
    repo.open_gate()
    assert [run.wait()["status"] for run in runs] == ["succeeded"] * 4


@pytest.mark.parametrize("value", ["x$(touch {0})", "`touch {0}`", "a; touch {0}", "'\"$HOME", "a\nb", "-x"])
def test_no_shell_reads_the_name_of_a_model(repo: Repo, value: str) -> None:
    mark = repo.note("executed")
    model = value.format(mark)
    repo.codex(f'cat > /dev/null\nprintf \'%s\\n\' "$@" > "$HOME/words"\n{THREAD}{said("done")}{FINISHED}')
    done = repo.task().cli("start", "--task", "work", f"--model={model}", "--wait")
    assert not mark.exists()
    if done.status == 2:
        assert repo.no_runs()
    else:
        words = repo.note("words").read_text()
        assert model in words or json.dumps(model) in words


def test_each_run_has_the_environment_of_its_own_start(repo: Repo) -> None:
    repo.codex(f"{PER_RUN}{THREAD}{UNTIL_GATE}{said('done')}{FINISHED}")
    repo.task(more='[runtimes.codex]\nenv = ["SERVICE_WORD"]\n')
    other = repo.base / "other" / ".codex"
    other.mkdir(parents=True)
    (other / "auth.json").write_text("{}")
    alice = repo.start(env={"SERVICE_WORD": "word-of-alice"})
    wait_until(repo.note(f"begun-{alice.id}").exists)
    bob = repo.start(env={"SERVICE_WORD": "word-of-bob", "CODEX_HOME": str(other)})
    nobody = repo.start()
    for run in (bob, nobody):
        wait_until(repo.note(f"begun-{run.id}").exists)
    repo.open_gate()
    found = []
    for run in (alice, bob, nobody):
        run.wait()
        lines = repo.note(f"environ-{run.id}").read_text().splitlines()
        pairs = dict(line.split("=", 1) for line in lines if "=" in line)
        found.append((pairs.get("SERVICE_WORD"), pairs.get("CODEX_HOME")))
    home = repo.env["CODEX_HOME"]
    assert found == [("word-of-alice", home), ("word-of-bob", str(other)), (None, home)]


def test_a_second_writer_in_one_tree_is_refused_and_hears_of_the_first(repo: Repo) -> None:
    """A reader is not, and the tree is free as soon as the first has ended, whatever ended it."""
    repo.codex(f"{PER_RUN}{THREAD}{UNTIL_GATE}{said('done')}{FINISHED}")
    write = '\n[tasks.write]\nprompt = "x"\nsandbox = "workspace-write"\nexpects_change = false\n'
    repo.task(more=write)
    first = repo.start(task="write")
    with ThreadPoolExecutor(4) as pool:
        start = ("start", "--task", "write", "--format", "json")
        refused = list(pool.map(lambda _: repo.cli(*start), range(4)))
    assert [(one.status, one.error["code"]) for one in refused] == [(9, "workspace_busy")] * 4
    assert all(first.id in json.dumps(one.error) for one in refused)
    assert [run.id for run in repo.runs()] == [first.id]
    reader = repo.start()
    wait_until(repo.note(f"begun-{first.id}").exists)
    first.told("cancel", "--grace", "0")
    second = repo.start(task="write")
    repo.open_gate()
    assert (reader.wait()["status"], second.wait()["status"]) == ("succeeded", "succeeded")


def test_manifests_that_somebody_broke_hide_no_other_run(repo: Repo) -> None:
    repo.quick_codex()
    repo.task()
    contents = (b'{"schema_version": 1, "run_i', b"{}", b"[]", b"null", b"", b"\xff\xfe")
    broken = [repo.start() for _ in contents]
    for run in broken:
        run.wait()
        wait_until(lambda run=run: run.events("sealed"))
    repo.waiting_codex()
    living, whole = repo.start(), repo.start()
    repo.begun()
    another = whole.file("manifest.json").encode()
    for run, content in zip(broken, contents, strict=True):
        (run.folder / "manifest.json").write_bytes(content)
    (living.folder / "manifest.json").write_bytes(another)
    rows = {row["run_id"]: row["status"] for row in repo.json("list", "--all")}
    assert rows == {run.id: "succeeded" for run in broken} | {living.id: "running", whole.id: "running"}
    assert living.told("cancel", "--grace", "0")["survivors"] == []
    repo.open_gate()
    assert whole.wait()["status"] == "succeeded"


def test_the_log_of_a_run_that_lives_is_all_there(repo: Repo) -> None:
    item = '{"type":"item.completed","item":{"id":"item_%d","type":"agent_message","text":"line %d"}}\\n'
    many = f"for n in {{1..5000}}; do printf '{item}' $n $n; done\n"
    repo.codex(f'{PER_RUN}{THREAD}{many}touch "$HOME/begun"\n{UNTIL_GATE}{said("done")}{FINISHED}')
    run = repo.task().start()
    repo.begun()
    shown = repo.cli("logs", run.id).stdout
    assert [shown.count(f"line {n}\n") for n in (1, 2500, 5000)] == [1, 1, 1]
    assert len(shown.splitlines()) >= 5000
    assert repo.cli("logs", run.id, "--tail", "2").stdout.splitlines()[-1].endswith("line 5000")
    repo.open_gate()
    run.wait()


def test_who_only_looks_writes_nothing(repo: Repo) -> None:
    """Two who look at once, and write what they saw, lose what was written in between."""
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    run.told("pause")
    verbs = (("status", run.id), ("list",), ("list", "--all"), ("logs", run.id), ("report", run.id))

    def is_left_alone() -> bool:
        before = os.stat(run.folder / "manifest.json")
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(lambda words: repo.cli(*words), verbs))
        after = os.stat(run.folder / "manifest.json")
        return (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    wait_until(is_left_alone, what="a look without a write, once its owner has nothing more to write")
    run.told("resume")
    repo.open_gate()
    run.wait()


HEARD = """
n=0; while [ -e "$HOME/heard-$n" ]; do n=$((n+1)); done
cat > "$HOME/heard-$n"
"""


def test_each_text_that_is_sent_reaches_the_agent_as_it_is(repo: Repo) -> None:
    """The names of keys, what a terminal or a shell would take for its own, what looks like an option. Its
    sandbox is declared in each turn, as Codex forgets it.
    """
    repo.codex(f'{HEARD}echo "$*" >> "$HOME/words"\n{THREAD}{said("done")}{FINISHED}')
    run = repo.task("open = true").start()
    run.told("await")
    texts = ("Enter", "C-c", "echo hi;", "-x --now please", "$(touch x)`y`#{z}", " /quit it not ", "two\n\n")
    for turn, text in enumerate(texts, 2):
        sent = repo.cli("send", "--json", run.id, "--", text).json()
        assert (sent["state"], sent["turn"]) == ("begun", turn)
        told = run.told("await")
        assert (told["turn"], told["status"], told["message"]) == (turn, "completed", "done")
    assert [repo.note(f"heard-{n}").read_text() for n in range(1, len(texts) + 1)] == list(texts)
    assert run.ask("send", "/quit").status == 0
    assert run.wait()["status"] == "succeeded"
    assert not (repo.root / "x").exists()
    words = repo.note("words").read_text().splitlines()
    assert len(words) == len(texts) + 1
    assert all(" -s read-only " in line for line in words)
    assert [" resume " in line for line in words] == [False] + [True] * len(texts)


def test_the_end_of_a_turn_is_a_file_that_the_next_turn_takes_away(repo: Repo) -> None:
    repo.codex(
        f'{HEARD}{THREAD}touch "$HOME/begun-$n"\n'
        f'until [ -e "$HOME/gate-$n" ]; do sleep 0.05; done\n{said("answer")}{FINISHED}'
    )
    run = repo.task("open = true").start()
    signal = run.folder / "turn-complete.json"
    for turn in (1, 2):
        wait_until(repo.note(f"begun-{turn - 1}").exists)
        assert not signal.exists()
        with ThreadPoolExecutor(1) as pool:
            awaited = pool.submit(run.told, "await")
            repo.note(f"gate-{turn - 1}").touch()
            assert awaited.result()["turn"] == turn
        told = json.loads(signal.read_text())
        assert (told["turn"], told["status"], told["message"]) == (turn, "completed", "answer")
        assert run.status()["status"] == "waiting"
        if turn == 1:
            assert run.ask("send", "more").status == 0
    assert run.told("end")["status"] == "succeeded"
    assert run.told("await")["turn"] == 2, "it is told at once, also after the end"


def test_a_text_to_a_run_that_has_ended_begins_another_in_the_same_session(repo: Repo) -> None:
    """Sent again with its key, it is that one."""
    repo.codex(f"{HEARD}{THREAD}{said('done')}{FINISHED}")
    run = repo.task().start()
    first = run.wait()
    sent = [run.ask("send", "go on", "--key", "k").json() for _ in range(2)]
    assert [one["state"] for one in sent] == ["follow_up", "follow_up"]
    assert sent[0]["run_id"] == sent[1]["run_id"] != run.id
    next_one = repo.runs()[-1]
    ended = next_one.wait()
    assert (ended["status"], ended["thread_id"]) == ("succeeded", first["thread_id"])
    assert ended["continues"]["run_id"] == run.id
    assert repo.note("heard-1").read_text() == "go on"
    assert run.status() == first
    kept = "".join(path.read_text() for path in (run.folder / "messages").iterdir())
    assert "go on" not in kept, "files of a run that has ended are redacted no more"


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_turn_has_the_environment_of_the_start_and_not_of_who_sends(repo: Repo, is_killed: bool) -> None:
    """Where the supervisor that had it was killed, there is no turn at all."""
    repo.codex(f'{HEARD}echo "$SERVICE_WORD" >> "$HOME/words"\n{THREAD}{said("done")}{FINISHED}')
    repo.task("open = true", more='[runtimes.codex]\nenv = ["SERVICE_WORD"]\n')
    run = repo.start(env={"SERVICE_WORD": "word-of-alice"})
    run.told("await")
    if is_killed:
        run.kill_supervisor()
    sent = run.ask("send", "more", "--wait", env={"SERVICE_WORD": "word-of-bob"})
    assert repo.note("words").read_text().split() == ["word-of-alice"] * (1 if is_killed else 2)
    assert (sent.status == 0) is not is_killed
    assert run.told("end")["status"] == "succeeded"
