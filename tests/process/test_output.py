"""What the child writes: nothing is lost, nothing breaks us, nothing secret or dangerous is shown."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
from support.doubles import FINISHED, THREAD, said
from support.repo import RUNNER, Repo
from support.waiting import wait_until

SECRET = "hunter2-correct-horse-battery"
SAYS_IT = (
    r"""printf '{"type":"item.completed","item":{"type":"agent_message","text":"it is %s"}}\n' """
    '"$SERVICE_WORD"'
)
GRANDCHILD = """setsid bash -c 'trap "" INT TERM; while :; do sleep 0.2; done' &\n"""


def quick(repo: Repo, before: str, *lines: str, **env: str) -> dict:
    repo.quick_codex(before=before)
    more = '[runtimes.codex]\nenv = ["SERVICE_WORD"]\n' if env else ""
    return repo.task(*lines, more=more).start(env=env).wait()


def test_the_end_is_the_end_of_the_process_not_of_its_output(repo: Repo) -> None:
    """A grandchild holds stdout open for ever."""
    repo.quick_codex(before=GRANDCHILD)
    run = repo.task().start()
    ended = run.wait(within=15)
    assert ended["status"] == "succeeded"
    assert ended["survivors"] == []
    assert run.tree() == []


def test_what_a_grandchild_writes_until_it_is_ended_is_kept(repo: Repo) -> None:
    program = repo.base / "late.sh"
    program.write_text(
        """trap 'echo "\\"last\\" words"; exit' TERM
echo up > "$HOME/up"
while :; do sleep 0.05; done
"""
    )
    begun = 'until [ -s "$HOME/up" ]; do sleep 0.02; done'
    repo.quick_codex(before=f'setsid bash "{program}" &\n{begun}')
    run = repo.task('grace = "2s"').start()
    assert run.wait()["status"] == "succeeded"
    assert '"last" words' in run.file("stdout.jsonl")


def test_a_child_killed_from_outside_has_failed_of_its_signal(repo: Repo) -> None:
    from support.processes import kill

    repo.waiting_codex(before=GRANDCHILD)
    run = repo.task().start()
    repo.begun()
    kill(run.child())
    waited = run.ask("wait")
    assert waited.status == 1
    ended = waited.json()
    assert (ended["status"], ended["signal"], ended["exit_code"]) == ("failed", 9, None)
    assert ended["reason"]["code"] == "killed"
    assert ended["survivors"] == []
    assert run.tree() == []


def test_an_exit_status_of_zero_and_silence_is_no_success(repo: Repo) -> None:
    repo.codex("exit 0")
    waited = repo.task().start().ask("wait")
    assert waited.status == 1
    assert waited.json()["status"] == "failed"
    assert waited.json()["reason"]["code"] == "result_missing"
    assert waited.json()["exit_code"] == 0


@pytest.mark.parametrize("code", [1, 2, 7, 101])
def test_an_exit_status_is_recorded_as_it_was(repo: Repo, code: int) -> None:
    repo.codex(f"echo 'it went wrong' >&2\nexit {code}")
    ended = repo.task().start().wait()
    assert ended["status"] == "failed"
    assert ended["exit_code"] == code
    assert "it went wrong" in json.dumps(ended["reason"])


GARBAGE = r"""
printf 'no json\n{"type":\n[1,2]\n"text"\nnull\n\xff\xfe\xc3\x28\n\0\0\0\n{"type":"\xff"}\n\n\r\n'
printf '{"type":"item.completed","item":null}\n{"type":5}\n{"type":"turn.completed","usage":"many"}\n'
head -c 9000000 /dev/zero | tr '\0' a; echo
printf '[%.0s' $(seq 100000); echo
printf '{"type":"thread.started","thread_id":{"a":[1]}}\n{"usage":1e999,"n":%s}\n' "$(seq -s '' 3000)"
"""


def test_garbage_is_counted_and_the_rest_is_understood(repo: Repo) -> None:
    ended = quick(repo, GARBAGE)
    assert ended["status"] == "succeeded"
    assert ended["last_message"] == "done"
    assert ended["thread_id"] == "01a1f828-a6fe-7db1-be08-71550d19d0b3"
    run = repo.runs()[0]
    assert run.events("ended")[0]["lines_unread"] >= 8
    for stream in ("events", "stdout", "stderr", "last"):
        for form in ("text", "json"):
            shown = repo.cli("logs", run.id, "--stream", stream, "--format", form)
            assert shown.status == 0, shown.stderr[-500:]


def test_a_last_line_without_its_end_counts(repo: Repo) -> None:
    repo.codex(f"cat > /dev/null\n{THREAD}{said('torn')}" + FINISHED.replace("echo ", "printf %s "))
    assert repo.task().start().wait()["status"] == "succeeded"


def test_a_torn_last_line_is_no_success(repo: Repo) -> None:
    repo.codex(f'cat > /dev/null\n{THREAD}{said("torn")}printf %s \'{{"type":"turn.comple\'')
    ended = repo.task().start().wait()
    assert ended["status"] == "failed"
    assert ended["reason"]["code"] == "result_missing"


def memory_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status") as file:
        return int(next(line.split()[1] for line in file if line.startswith("VmHWM")))


def test_200_megabytes_cost_no_memory_and_no_byte(repo: Repo) -> None:
    line = '{"type":"item.completed","item":{"id":"i","type":"reasoning","text":"%s"}}\\n'
    repo.waiting_codex(
        before=f"""text=$(head -c 65000 /dev/zero | tr '\\0' x)
one=$(printf '{line}' "$text")
for n in $(seq 50); do echo "$one"; done > "$HOME/block"
for n in $(seq 62); do cat "$HOME/block"; done
"""
    )
    run = repo.task().start()
    repo.begun(60)
    supervisor = run.supervisor()
    wait_until(lambda: (run.status()["last_activity"] or "").startswith("reasoning"), 20)
    repo.open_gate()
    peak = memory_kib(supervisor.pid)
    ended = run.wait(within=60)
    assert ended["status"] == "succeeded"
    size = (run.folder / "stdout.jsonl").stat().st_size
    assert size > 62 * 50 * 65000
    assert peak < 64 * 1024, f"{peak} KiB"
    counted = subprocess.run(
        ["grep", "-c", '"type":"reasoning"', run.folder / "stdout.jsonl"], capture_output=True
    )
    assert int(counted.stdout) == 62 * 50


def test_the_logs_of_a_pipe_that_is_closed_end_without_a_word(repo: Repo) -> None:
    quick(repo, 'for n in $(seq 20000); do echo "line $n"; done')
    for words in ("logs @latest", "logs @latest --stream stdout", "logs @latest -f", "list --all"):
        command = f'"{RUNNER}" {words} | head -n 1'
        done = subprocess.run(
            ["bash", "-c", command], cwd=repo.root, env=repo.env, capture_output=True, timeout=30
        )
        assert done.returncode == 0
        assert done.stderr == b"", words
        assert done.stdout.count(b"\n") == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("start --task work --wait 2> >(:)", (6,)),
        ("start --task work --wait | :", (6, 75)),
        ("start --task work --wait 2>&1 | :", (6, 75)),
        ("start --task work --wait --format json | :", (6, 75)),
        ("run --task work --follow | :", (6, 75)),
        ("retry @latest --wait | :", (6, 75)),
        ("wait @latest | :", (6, 75)),
        ("verify work | :", (6, 75)),
        ("verify work --format json 2>&1 | :", (6, 75)),
    ],
)
def test_no_verdict_is_lost_with_its_reader(
    repo: Repo, words: str, status: tuple[int, ...], unbuffered: str
) -> None:
    repo.quick_codex()
    repo.task("verify = [['sh', '-c', 'head -c 300000 /dev/zero | tr \\\\0 x; exit 1']]")
    if "@latest" in words:
        repo.start().wait()
    command = f'set -o pipefail; "{RUNNER}" {words}'
    env = {**repo.env, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(["bash", "-c", command], cwd=repo.root, env=env, capture_output=True, timeout=60)
    assert done.returncode in status, done
    if words.startswith("start --task work --wait"):
        assert repo.runs()[0].on_disk()["status"] == "rejected", "it was waited for"
    repo.end_all()


def test_followed_logs_show_all_of_it_and_end_with_the_run(repo: Repo) -> None:
    repo.waiting_codex(after='for n in $(seq 500); do echo "{\\"n\\":$n}"; done')
    run = repo.task().start()
    repo.begun()
    with repo.process("logs", run.id, "-f", "--stream", "stdout") as following:
        repo.open_gate()
        out, err = following.communicate(timeout=20)
    assert following.returncode == 0, err
    numbers = [int(number) for number in re.findall(rb'\{"n":(\d+)\}', out)]
    assert numbers == list(range(1, 501))
    assert b"turn.completed" in out


def test_followed_logs_lose_nothing_to_the_sealing(repo: Repo) -> None:
    """The files are replaced at the end, with other lengths: a reader in the middle must not slip."""
    repo.waiting_codex(after='for n in $(seq 3000); do echo "word $SERVICE_WORD $n ."; done')
    more = '[runtimes.codex]\nenv = ["SERVICE_WORD"]\n'
    run = repo.task(more=more).start(env={"SERVICE_WORD": SECRET})
    repo.begun()
    with repo.process("logs", run.id, "-f", "--stream", "stdout", env={"SERVICE_WORD": SECRET}) as following:
        repo.open_gate()
        out, err = following.communicate(timeout=30)
    assert SECRET.encode() not in out
    numbers = [int(number) for number in re.findall(rb"^word \S+ (\d+) \.$", out, re.MULTILINE)]
    assert numbers == list(range(1, 3001)), err
    assert b"turn.completed" in out


def test_a_secret_is_nowhere_after_the_end(repo: Repo) -> None:
    """In no file, no answer and no log, although the child printed it everywhere it could."""
    body = f"""
echo "{{\\"type\\":\\"error\\",\\"message\\":\\"said $SERVICE_WORD\\"}}"
echo "plain $SERVICE_WORD" >&2; echo "plain $SERVICE_WORD"
for word in "$@"; do [ "$previous" = -o ] && printf %s "it is $SERVICE_WORD" > "$word"; previous=$word; done
{SAYS_IT}
"""
    repo.codex(f'cat > /dev/null\n{THREAD}{body}\necho "it fails with $SERVICE_WORD" >&2; exit 3')
    repo.task(more='[runtimes.codex]\nenv = ["SERVICE_WORD"]\n')
    run = repo.start(env={"SERVICE_WORD": SECRET})
    ended = run.wait()
    wait_until(lambda: run.events("sealed"))
    assert SECRET not in json.dumps(ended)
    for path in run.folder.rglob("*"):
        if path.is_file():
            assert SECRET not in path.read_text(errors="replace"), path.name
    assert SECRET not in run.file("invocation.json")
    for stream in ("events", "stdout", "stderr", "last"):
        assert SECRET not in repo.cli("logs", run.id, "--stream", stream).stdout


def test_a_secret_is_not_shown_while_the_run_goes_on(repo: Repo) -> None:
    repo.waiting_codex(
        before=f"""echo "plain $SERVICE_WORD"
{SAYS_IT}
"""
    )
    repo.task(more='[runtimes.codex]\nenv = ["SERVICE_WORD"]\n')
    run = repo.start(env={"SERVICE_WORD": SECRET})
    repo.begun()
    manifest = wait_until(lambda: (m := run.status())["last_message"] and m)
    assert SECRET not in json.dumps(manifest)
    assert "it is" in manifest["last_message"]
    for stream in ("events", "stdout"):
        shown = repo.cli("logs", run.id, "--stream", stream)
        assert shown.stdout
        assert SECRET not in shown.stdout, "the reader does not have it, the living child does"
    run.told("cancel")


def test_what_moves_a_terminal_is_taken_out(repo: Repo) -> None:
    evil = r"\u001b]0;title\u0007\u001b[2Jred\u001b]52;c;aGk=\u0007\u009b31m"
    raw = r"printf '\033]0;x\007\033[2Jraw \302\233 31m\n' >&2; printf '\033[2Jraw\n'"
    ended = quick(
        repo,
        f"""{raw}\necho '{{"type":"item.completed","item":{{"type":"agent_message","text":"{evil}"}}}}'""",
    )
    run = repo.runs()[0]
    texts = [json.dumps(ended, ensure_ascii=False)]
    for stream in ("events", "stdout", "stderr", "last"):
        texts.append(repo.cli("logs", run.id, "--stream", stream).stdout)
    texts.append(repo.cli("status", run.id).stdout)
    for text in texts:
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", text), repr(text[:300])


def test_output_that_cannot_be_written_is_said_and_is_no_bug(repo: Repo) -> None:
    quick(repo, "")
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = subprocess.run(
            [str(RUNNER), "status", "@latest"],
            cwd=repo.root,
            env=repo.env,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=20,
        )
    finally:
        os.close(full)
    assert done.returncode not in (0, 70), done.stderr
    assert b"No space left" in done.stderr


REFUSED = (
    "2026-11-26T18:32:30.066691Z ERROR codex_core::tools::router: error=exec_command failed: "
    "CreateProcess { message: "
    '"Rejected(\\"`rm -f a` rejected: rm -f style commands are not permitted\\")" }'
)


def test_what_codex_refused_is_seen_by_whoever_reads_logs_or_report(repo: Repo) -> None:
    """Codex tells it to the model and to its stderr; the stream has nothing, and the run succeeds."""
    log = repo.note("codex.log")
    log.write_text(f"{REFUSED}\n{REFUSED}\n")
    run = quick(repo, f'cat "{log}" >&2')
    assert run["status"] == "succeeded"
    wait_until(lambda: repo.runs()[0].events("sealed"))
    said = "`rm -f a` rejected: rm -f style commands are not permitted"
    lines = repo.json("logs", run["run_id"])["lines"]
    assert [line["text"] for line in lines if line["kind"] == "refused"] == [said, said]
    assert not any("refused" in line["text"] for line in lines if line["kind"] == "run"), "not twice"
    events = repo.runs()[0].events("refused")
    assert [(one["attempt"], one["message"]) for one in events] == [(1, said), (1, said)]
    report = repo.json("report", run["run_id"])
    assert report["refused"] == [said]
    assert any("2 calls that its program refused" in risk for risk in report["residual_risk"])
    assert said in repo.cli("report", run["run_id"]).stdout
    assert f"- `` {said} ``" in repo.cli("report", run["run_id"], "--format", "markdown").stdout
