"""Starting: what the child gets, what it does not get, and what is left when no child can come to be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import processes
from support.doubles import FINISHED, THREAD, said
from support.repo import RUNNER, Repo
from support.waiting import wait_until

TELL = """
cat /proc/$$/environ > "$HOME/environ"
pwd > "$HOME/folder"; umask > "$HOME/umask"
sed -n '/^Sig[IB]/p' /proc/self/status > "$HOME/signals"
ls -l /proc/$$/fd > "$HOME/descriptors"
cat > "$HOME/stdin"
"""
DEAF = (
    sys.executable,
    "-c",
    "import os, signal, sys\n"
    "for number in (1, 2, 3, 10, 12, 13, 14, 15, 17, 20, 21, 22, 34): signal.signal(number, signal.SIG_IGN)\n"
    "os.execv(sys.argv[1], sys.argv[1:])",
)
"""A caller that ignores what can be ignored; exec hands that on."""
LIBC_OWN = 0b11 << 31
"""Signals 32 and 33, which no program can set: they stay as the test runner got them."""


def telling(repo: Repo) -> None:
    repo.codex(f"{TELL}{THREAD}{said('told')}{FINISHED}")


def test_it_answers_once_the_child_exists(repo: Repo) -> None:
    repo.waiting_codex()
    answer = repo.task().json("start", "--task", "work")
    assert {"run_id", "task_id", "manifest_path", "status"} <= answer.keys()
    assert answer["status"] == "running"
    run = repo.runs()[0]
    assert (answer["run_id"], answer["task_id"]) == (run.id, "work")
    assert (repo.root / answer["manifest_path"]).samefile(run.folder / "manifest.json")
    assert run.child().session == run.child().pid, "in a session of its own"
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"


def test_the_child_gets_exactly_the_declared_environment(repo: Repo) -> None:
    telling(repo)
    repo.task(more='[runtimes.codex]\nenv = ["SERVICE_WORD"]\n')
    canaries = {
        "CANARY": "c",
        "AWS_SECRET_ACCESS_KEY": "c",
        "OPENAI_API_KEY": "c",
        "RUNNER_DEFAULTS__TIMEOUT": "1h",
    }
    run = repo.start(
        env={**canaries, "SERVICE_WORD": "open-sesame-now", "HTTPS_PROXY": "http://p:1", "LC_ALL": "C"}
    )
    assert run.wait()["status"] == "succeeded"
    pairs = (pair.partition("=") for pair in repo.note("environ").read_text().split("\0") if pair)
    environment = {name: value for name, _, value in pairs}
    assert environment == {
        **{
            name: repo.env[name]
            for name in ("HOME", "PATH", "LANG", "CODEX_HOME", "KAY_HOME")
            if name in environment
        },
        "HTTPS_PROXY": "http://p:1",
        "LC_ALL": "C",
        "SERVICE_WORD": "open-sesame-now",
        "RUNNER_RUN_ID": run.id,
        "RUNNER_MANIFEST": str(run.folder / "manifest.json"),
    }
    assert {"HOME", "PATH", "LANG", "CODEX_HOME"} <= environment.keys()


def test_the_child_gets_the_prompt_and_then_the_end(repo: Repo) -> None:
    telling(repo)
    prompt = "first line\n'quotes' \"both\" $HOME `x` \\n\n\tümläut 🎈 \x7f end without newline"
    run = repo.task(prompt=prompt).start()
    assert run.wait()["status"] == "succeeded"
    assert repo.note("stdin").read_bytes() == prompt.encode()
    assert (run.folder / "prompt.md").read_bytes() == prompt.encode()


def test_the_child_stands_in_the_repository_with_the_umask_of_the_caller(repo: Repo) -> None:
    telling(repo)
    repo.task()
    inner = repo.root / "a" / "b"
    inner.mkdir(parents=True)
    words = [str(RUNNER), "start", "--task", "work", "--wait"]
    done = subprocess.run(words, cwd=inner, env=repo.env, umask=0o027, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert repo.note("folder").read_text() == f"{repo.root}\n"
    assert repo.note("umask").read_text() == "0027\n"


def test_the_files_of_a_run_are_for_its_owner_only(repo: Repo) -> None:
    telling(repo)
    repo.task()
    words = [str(RUNNER), "start", "--task", "work", "--wait"]
    subprocess.run(words, cwd=repo.root, env=repo.env, umask=0, check=True, capture_output=True, timeout=30)
    run = repo.runs()[0]
    wait_until(lambda: run.events("sealed"))
    for path in (run.folder, *run.folder.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_caller_that_ignores_signals_does_not_hand_that_on(repo: Repo) -> None:
    telling(repo)
    repo.task()
    with repo.process("start", "--task", "work", "--wait", prefix=DEAF) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    for line in repo.note("signals").read_text().splitlines():
        assert int(line.split()[1], 16) & ~LIBC_OWN == 0, line
    assert repo.runs()[0].on_disk()["exit_code"] == 0, "the supervisor saw its child end"


def test_a_caller_without_standard_streams_gives_a_whole_run(repo: Repo) -> None:
    """The first files that are opened then get the numbers 0, 1 and 2."""
    repo.waiting_codex()
    repo.task()
    closed = ("bash", "-c", 'exec "$@" <&- >&- 2>&-', "bash")
    with repo.process("start", "--task", "work", prefix=closed) as process:
        process.communicate(timeout=30)
    assert process.returncode == 0
    run = repo.runs()[0]
    owner = run.supervisor()
    assert run.status()["status"] == "running"
    assert run.supervisor().start_time == owner.start_time, "its owner holds the lock, so nobody takes over"
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"


def test_a_command_substitution_does_not_wait_for_the_run(repo: Repo) -> None:
    """Neither the run nor its supervisor keeps the pipe, or any other descriptor of the caller, open."""
    repo.waiting_codex()
    repo.task()
    script = 'exec 9> "$HOME/inherited"; id=$("$0" start --task work --format json | cat); echo "$id"'
    command = ["bash", "-c", script, str(RUNNER)]
    done = subprocess.run(command, cwd=repo.root, env=repo.env, capture_output=True, timeout=20)
    run = repo.runs()[0]
    assert json.loads(done.stdout)["run_id"] == run.id
    for process in (run.child(), run.supervisor()):
        assert str(repo.note("inherited")) not in process.open_files()
    run.told("cancel")


def test_twenty_starts_at_once_give_twenty_whole_runs(repo: Repo) -> None:
    repo.quick_codex(before='echo "$RUNNER_RUN_ID" >> "$HOME/started"')
    repo.task()
    with ThreadPoolExecutor(20) as pool:
        runs = list(pool.map(lambda _: repo.start(), range(20)))
    assert len({run.id for run in runs}) == 20
    done = repo.cli("wait", *(run.id for run in runs), "--format", "json")
    assert done.status == 0
    assert [manifest["status"] for manifest in done.json()] == ["succeeded"] * 20
    assert sorted(repo.note("started").read_text().split()) == sorted(run.id for run in runs)
    assert len(repo.json("list", "--all")) == 20
    assert repo.json("list") == []


@pytest.mark.parametrize(
    "name", ["with space", 'it\'s "quoted"', "line\nbreak", "ünï-🎈", "-dash", "a;b&c$(d)", "x" * 200]
)
def test_any_folder_name_will_do(tmp_path: Path, name: str) -> None:
    repo = Repo(tmp_path, name)
    telling(repo)
    run = repo.task().start()
    assert run.wait()["status"] == "succeeded"
    assert repo.note("folder").read_text() == f"{repo.root}\n"
    assert repo.json("status", run.folder / "manifest.json")["run_id"] == run.id


# -- no child can come to be -----------------------------------------------------------------------


def command(repo: Repo, path: Path) -> Repo:
    return repo.task(more=f"[runtimes.codex]\ncommand = {json.dumps(str(path))}\n")


def test_a_missing_program_is_named_and_leaves_nothing(repo: Repo) -> None:
    refused = command(repo, repo.bin / "absent").cli("start", "--task", "work", "--format", "json")
    assert refused.status == 8
    assert refused.error["code"] == "runtime_missing"
    assert "absent" in refused.error["message"]
    assert repo.no_runs()


def test_a_program_that_may_not_be_executed_is_named_and_leaves_nothing(repo: Repo) -> None:
    path = repo.quick_codex()
    path.chmod(0o644)
    refused = command(repo, path).cli("start", "--task", "work", "--format", "json")
    assert refused.status == 8
    assert "not executable" in refused.error["message"]
    assert repo.no_runs()


def test_a_program_that_vanishes_after_it_was_asked_is_a_run_that_failed(repo: Repo) -> None:
    path = repo.codex("exit 0")
    path.write_text(path.read_text().replace("cat <<'END'", "rm -f \"$0\"; cat <<'END'"))
    refused = repo.task().cli("start", "--task", "work", "--format", "json")
    assert refused.status == 8
    assert refused.error["code"] == "start_failed"
    (run,) = repo.runs()
    assert run.on_disk()["status"] == "failed"
    assert run.on_disk()["reason"]["code"] == "runtime_missing"
    assert run.on_disk()["process"] is None
    assert run.ask("cancel").json()["status"] == "failed"
    assert repo.json("list") == []


def test_a_program_without_its_interpreter_is_a_run_that_failed(repo: Repo) -> None:
    path = repo.codex("exit 0")
    path.write_text(
        path.read_text().replace("cat <<'END'", "sed -i '1s|.*|#!/no/such/shell|' \"$0\"; cat <<'END'")
    )
    refused = repo.task().cli("start", "--task", "work", "--format", "json")
    assert refused.status == 8
    assert repo.runs()[0].on_disk()["reason"]["code"] == "runtime_missing"


@pytest.fixture
def frozen(repo: Repo):
    """`.runs` in which nothing can be made, for root too."""
    repo.runs_folder.mkdir()
    tool = shutil.which("chattr")
    if tool is None or subprocess.run([tool, "+i", str(repo.runs_folder)], capture_output=True).returncode:
        pytest.skip("the file system has no immutable folders, or we may not make one")
    yield repo
    subprocess.run([tool, "-i", str(repo.runs_folder)], check=True)


def test_a_read_only_runs_folder_is_named_before_anything_starts(frozen: Repo) -> None:
    frozen.quick_codex(before='touch "$HOME/ran"')
    refused = frozen.task().cli("start", "--task", "work", "--format", "json")
    assert refused.status == 9
    assert ".runs" in refused.error["message"]
    assert not frozen.note("ran").exists()


@pytest.fixture
def small_disk(repo: Repo):
    """`.runs` on a disk of one megabyte."""
    repo.runs_folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(repo.runs_folder)],
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("we may not mount here")
    yield repo
    subprocess.run(["umount", "-l", str(repo.runs_folder)], check=True)


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def test_a_full_disk_is_named_before_anything_starts(small_disk: Repo) -> None:
    repo = small_disk
    repo.quick_codex(before='touch "$HOME/ran"')
    fill(repo.runs_folder)
    refused = repo.task().cli("start", "--task", "work", "--format", "json")
    assert refused.status == 9
    assert refused.error["code"] == "disk_full"
    assert not repo.note("ran").exists()
    assert repo.no_runs()


def test_a_disk_that_fills_up_during_the_run_does_not_keep_the_end_from_being_written(
    small_disk: Repo,
) -> None:
    repo = small_disk
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    ballast = fill(repo.runs_folder)
    repo.open_gate()
    ended = run.wait(within=40)
    assert ended["phase"] == "done"
    assert ended["outcome"] in ("succeeded", "failed")
    assert ended["survivors"] == []
    ballast.unlink()
    assert run.status()["outcome"] == ended["outcome"]


def test_a_run_whose_output_fills_the_disk_can_be_cancelled(small_disk: Repo) -> None:
    repo = small_disk
    # Not before the start has returned: until then it is refused (test_scarce_machine).
    repo.waiting_codex(
        before='until [ -e "$HOME/started" ]; do sleep 0.05; done\nyes | head -c 4000000 2> /dev/null'
    )
    run = repo.task().start()
    repo.note("started").touch()
    repo.begun()
    cancelled = run.ask("cancel", within=40)
    assert cancelled.status in (0, 9), "or there is no room for the wish, and that is said"
    if cancelled.status == 9:
        assert cancelled.error["code"] == "disk_full"
        repo.open_gate()
    assert run.wait(within=40)["phase"] == "done"
    assert run.tree() == []


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(repo: Repo) -> None:
    repo.quick_codex()
    repo.task()
    for _ in range(2):
        run = repo.start(env={"XDG_CACHE_HOME": "/proc/no-such-folder"})
        assert run.wait()["status"] == "succeeded"


# -- prompts and names -----------------------------------------------------------------------------

LIMIT = 1_048_576


@pytest.mark.parametrize(
    ("prompt", "word"),
    [
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(b" \n\t ", "empty", id="blanks"),
        pytest.param(b"a\0b", "NUL", id="NUL"),
        pytest.param(b"ok \xff\xfe", "UTF-8", id="no UTF-8"),
        pytest.param(b"x" * (LIMIT + 1), "1,048,576", id="one too many"),
        pytest.param(b"x" * 2_000_000, "1,048,576", id="two megabytes"),
        pytest.param(b"x" + "ü".encode() * 3_000_000, "1,048,576", id="six megabytes of umlauts"),
    ],
)
def test_a_prompt_that_nobody_can_take_is_refused_before_anything_starts(
    repo: Repo, prompt: bytes, word: str
) -> None:
    repo.quick_codex(before='touch "$HOME/ran"')
    refused = repo.task().cli("start", "--task", "work", "--prompt", "-", "--format", "json", stdin=prompt)
    assert refused.status == 2
    assert refused.error["code"] == "prompt_invalid"
    assert word in refused.error["message"]
    assert repo.no_runs()
    assert not repo.note("ran").exists()


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param("x" * LIMIT, id="exactly the limit"),
        pytest.param("ü" * LIMIT, id="the limit in umlauts"),
        pytest.param("x" * 1_000_000, id="a million"),
        pytest.param("-o /tmp/x --help", id="options"),
        pytest.param("--", id="two dashes"),
        pytest.param("/quit", id="slash"),
        pytest.param("'\"\n\\'$(touch nothing)`x`\r\n", id="quotes and newlines"),
    ],
)
def test_any_other_prompt_reaches_the_child_byte_for_byte(repo: Repo, prompt: str) -> None:
    telling(repo)
    run = repo.task().start("--prompt", "-", stdin=prompt)
    assert run.wait()["status"] == "succeeded"
    assert repo.note("stdin").read_bytes() == prompt.encode()


def test_a_prompt_on_the_command_line_may_begin_with_a_dash(repo: Repo) -> None:
    telling(repo)
    run = repo.task().start("--prompt=-v please")
    assert run.wait()["status"] == "succeeded"
    assert repo.note("stdin").read_text() == "-v please"


def test_a_prompt_from_a_stdin_that_is_closed_is_refused(repo: Repo) -> None:
    repo.quick_codex()
    repo.task()
    closed = ("bash", "-c", 'exec "$@" <&-', "bash")
    with repo.process("start", "--task", "work", "--prompt", "-", prefix=closed) as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 2, err
    assert repo.no_runs()


@pytest.mark.parametrize("task", ["../../x", "a/b", "", "x" * 300, "..", ".hidden", "a\nb", "work\0", "wörk"])
def test_what_is_no_task_id_is_refused(repo: Repo, task: str) -> None:
    repo.quick_codex()
    repo.task()
    if "\0" in task:
        return  # no program can be started with such a word
    refused = repo.cli("start", "--task", task, "--format", "json")
    assert refused.status in (2, 4)
    assert repo.no_runs()


def test_an_unknown_task_is_answered_with_the_near_one(repo: Repo) -> None:
    repo.quick_codex()
    refused = repo.task().cli("start", "--task", "wrok", "--format", "json")
    assert refused.status == 4
    assert "work" in f"{refused.error['message']} {refused.error['hint']}"
    assert repo.no_runs()


# -- what people do to the folder ------------------------------------------------------------------


def test_paths_that_are_no_manifest_of_ours_are_not_found(repo: Repo, tmp_path: Path) -> None:
    repo.quick_codex()
    run = repo.task().start()
    run.wait()
    outside = tmp_path / "outside" / "manifest.json"
    outside.parent.mkdir()
    outside.write_bytes((run.folder / "manifest.json").read_bytes())
    link = repo.runs_folder / "work" / "cli" / "20200101T000000000Z-00000000"
    link.symlink_to(run.folder)
    linked = repo.runs_folder / "linked"
    linked.symlink_to(repo.runs_folder / "work")
    for path in (
        outside,
        link / "manifest.json",
        linked / "cli" / run.id / "manifest.json",
        "/etc/passwd",
        "/dev/null/manifest.json",
        ".runs/work/cli/manifest.json",
        "x" * 5000 + "/manifest.json",
    ):
        for verb in ("status", "cancel", "logs"):
            refused = repo.cli(verb, path, "--format", "json")
            assert refused.status == 4, (verb, path, refused)
            assert refused.error["code"] == "run_not_found"


def test_a_manifest_that_becomes_a_link_is_not_followed(repo: Repo, tmp_path: Path) -> None:
    repo.quick_codex()
    run = repo.task().start()
    run.wait()
    manifest = run.folder / "manifest.json"
    elsewhere = tmp_path / "elsewhere.json"
    manifest.rename(elsewhere)
    manifest.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    assert run.status()["status"] == "succeeded", "made again from the events"
    assert elsewhere.read_bytes() == before
    assert not manifest.is_symlink()
    (aside,) = run.folder.glob("manifest.json.broken-*")
    assert aside.is_symlink()


@pytest.mark.parametrize("what", ["a fifo", "a folder", "a link"])
def test_a_run_whose_manifest_became_something_else_is_listed_and_can_be_cancelled(
    repo: Repo, what: str
) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    manifest = run.folder / "manifest.json"
    manifest.unlink()
    if what == "a folder":
        (manifest / "full").mkdir(parents=True)
    else:
        os.mkfifo(manifest) if what == "a fifo" else manifest.symlink_to("/dev/zero")
    assert [(row["run_id"], row["status"]) for row in repo.json("list")] == [(run.id, "running")]
    assert run.told("cancel", "--grace", "100ms")["survivors"] == []
    assert run.on_disk()["status"] == "cancelled"


def test_a_run_whose_control_folder_was_removed_can_be_paused_and_cancelled(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    shutil.rmtree(run.folder / "control")
    assert run.told("pause")["status"] == "paused"
    assert run.told("cancel", "--grace", "100ms")["survivors"] == []


@pytest.mark.parametrize(
    "words", [("--set", "tasks.work.prompt_file=input"), ("--rehearse", "input"), ("--map", "input")]
)
@pytest.mark.parametrize("what", ["a fifo", "a link"])
def test_an_input_that_is_no_plain_file_is_refused_at_once(
    repo: Repo, words: tuple[str, ...], what: str
) -> None:
    repo.quick_codex()
    repo.task()
    path = repo.root / "input"
    os.mkfifo(path) if what == "a fifo" else path.symlink_to("/dev/zero")
    refused = repo.cli("start", "--task", "work", *words, "--format", "json", within=10)
    assert (refused.status, "is not a regular file" in json.dumps(refused.error)) == (2, True)
    assert not repo.runs_folder.exists()


def test_files_and_efforts_that_cannot_be_meant_start_nothing(repo: Repo) -> None:
    repo.quick_codex()
    repo.task()
    os.mkfifo(repo.root / "input")
    (repo.root / ".env").write_text("KEY=1\n")
    for words in (
        "--paste no/*",
        "--paste .env",
        "--paste input",
        "--file no/*",
        "--map no.md",
        "--map",
        "-r no",
        "--handoff e-0001",
    ):
        refused = repo.cli("start", "work", *words.split(), "--json", within=10)
        assert (refused.status, bool(refused.error["hint"])) == (2, True), words
    for words in ("-r low", "--paste x", "--file x", "--ledger work"):
        refused = repo.cli("start", "--plan", "p.toml", "--task", "work", *words.split())
        assert (refused.status, "cannot be combined with --plan" in refused.stderr) == (2, True), words
    assert not repo.runs_folder.exists()


def test_behind_map_the_name_of_a_task_is_the_task_unless_there_is_such_a_file(repo: Repo) -> None:
    repo.quick_codex()
    repo.task()
    (repo.root / "CODEBASE_MAP.md").write_text("All of it.\n")
    (repo.root / "other.md").write_text("Another one.\n")
    for words in (("--map", "work"), ("work", "--map"), ("--map", "--task", "work"), ("work", "--map=")):
        told = repo.json("resolve", *words)
        assert (told["task_id"], told["map"]) == ("work", "CODEBASE_MAP.md"), words
        assert {"part": "Map", "path": "CODEBASE_MAP.md", "characters": 11} in told["prompt_parts"]
        assert told["prompt_tokens_estimate"] == -(-len(told["prompt"]) // 4)
    assert "Another one." in repo.json("resolve", "--map", "other.md", "work")["prompt"]
    (repo.root / "work").write_text("A file.\n")
    assert "no task named" in repo.cli("resolve", "--map", "work").stderr


@pytest.mark.parametrize("garbage", [b"", b"{", b"null", b'{"schema_version": 1}', b"\xff" * 100])
def test_a_broken_manifest_of_a_living_run_is_set_aside_and_written_again(repo: Repo, garbage: bytes) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    (run.folder / "manifest.json").write_bytes(garbage)
    assert run.status()["status"] == "running"
    aside = list(run.folder.glob("manifest.json.broken-*"))
    assert [path.read_bytes() for path in aside] == [garbage]
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"


def test_a_broken_manifest_of_a_run_that_is_done_is_made_again_from_what_is_known(repo: Repo) -> None:
    repo.quick_codex()
    run = repo.task().start()
    before = run.wait()
    wait_until(lambda: run.events("sealed"))
    (run.folder / "manifest.json").write_bytes(b"{ not a manifest")
    after = run.status()
    for name in (
        "status",
        "outcome",
        "exit_code",
        "process",
        "thread_id",
        "usage",
        "last_message",
        "ended_at",
    ):
        assert after[name] == before[name], name
    assert [path.read_bytes() for path in run.folder.glob("manifest.json.broken-*")] == [b"{ not a manifest"]


def test_a_broken_manifest_of_a_start_that_failed_still_says_so(repo: Repo) -> None:
    path = repo.codex("exit 0")
    path.write_text(path.read_text().replace("cat <<'END'", "rm -f \"$0\"; cat <<'END'"))
    repo.task().cli("start", "--task", "work")
    (run,) = repo.runs()
    (run.folder / "manifest.json").write_bytes(b"")
    after = run.status()
    assert after["status"] == "failed"
    assert after["reason"]["code"] == "runtime_missing"


def remove(folder: Path) -> None:
    """As `rm -rf`, again where the supervisor has just replaced a file."""

    def is_gone() -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    wait_until(is_gone)


def test_a_run_whose_folder_is_deleted_is_ended_and_nothing_is_left(repo: Repo) -> None:
    repo.waiting_codex(before="setsid bash -c 'trap \"\" TERM INT; while :; do sleep 0.1; done' &\n")
    run = repo.task().start()
    repo.begun()
    everything = run.everything()
    assert len(everything) >= 3
    remove(run.folder)
    wait_until(lambda: not any(process.is_still_there() for process in everything), 15)
    assert processes.carrying(run.id) == []
    assert repo.cli("status", run.id).status == 4
    assert repo.json("list") == []
    assert not run.folder.exists(), "nobody makes it again"


def test_all_of_the_runs_folder_may_be_deleted(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    everything = run.everything()
    remove(repo.runs_folder)
    wait_until(lambda: not any(process.is_still_there() for process in everything), 15)
    assert not repo.runs_folder.exists()


def test_a_prompt_that_comes_late_through_a_pipe_that_does_not_block_is_whole(repo: Repo) -> None:
    repo.quick_codex()
    repo.task()
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    command = (RUNNER, "start", "work", "--prompt", "-", "--wait")
    with subprocess.Popen(
        command, stdin=reading, cwd=repo.root, env=repo.env, stdout=subprocess.DEVNULL
    ) as begun:
        os.write(writing, b"the first half, ")
        wait_until(lambda: os.get_blocking(reading), 30, "it waits for its input")
        os.write(writing, b"the second half")
        os.close(writing)
        assert begun.wait(60) == 0
    (prompt,) = repo.runs_folder.glob("work/cli/*/prompt.md")
    assert "the first half, the second half" in prompt.read_text()
    assert not os.get_blocking(reading), "as it was before"
    os.close(reading)


def test_a_start_that_cannot_say_so_names_the_run_in_its_error(repo: Repo) -> None:
    repo.quick_codex()
    repo.task()
    with open("/dev/full", "w") as full:
        command = (RUNNER, "start", "work")
        done = subprocess.run(
            command, cwd=repo.root, env=repo.env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    (folder,) = repo.runs_folder.glob("work/cli/*")
    assert done.returncode == 9 and folder.name in done.stderr


def test_a_start_that_reads_for_long_says_what(repo: Repo) -> None:
    repo.quick_codex()
    repo.task()
    git = repo.bin / "git"
    git.write_text(
        '#!/bin/sh\ncase " $* " in *" for-each-ref "*|*" rev-parse "*) ;; *" ls-files "*|*" config "*)\n'
        'touch "$HOME/waits"; for n in $(seq 999); do grep -q still "$HOME/said" && break; sleep 0.05; done\n'
        ';; esac\nexec /usr/bin/git "$@"\n'
    )
    git.chmod(0o755)
    command = (RUNNER, "start", "work", "--sandbox", "workspace-write", "--wait")
    with repo.note("said").open("w") as said:
        done = subprocess.run(command, cwd=repo.root, env=repo.env, stderr=said, timeout=120)
    assert done.returncode == 0 and repo.note("waits").exists()
    assert f"still reading the files of {repo.root}" in repo.note("said").read_text()


@pytest.mark.parametrize("sandbox", ["read-only", "workspace-write"])
def test_neither_agent_nor_check_gets_a_token_of_ours(repo: Repo, sandbox: str) -> None:
    """Names that begin with ours, anything that stands in our key, and what we have open. The program of a
    run that may write keeps the lease of the tree, which has to outlive us.
    """
    repo.quick_codex(before='env > "$HOME/agent"; ls -l /proc/self/fd > "$HOME/agent-fds"')
    check = 'env > "$HOME/check"; ls -l /proc/self/fd > "$HOME/check-fds"'
    repo.task(f"verify = [['sh', '-c', '{check}']]")
    env = {"RUNNER_TRUST": "sha256:0", "RUNNER_TASKS__WORK__TIMEOUT": "5m"}
    run = repo.start("--wait", "--sandbox", sandbox, env=env)
    assert run.on_disk()["outcome"] == "succeeded"
    key = (repo.home / ".local/state/runner/key").read_bytes()
    for who in ("agent", "check"):
        names = {line.split("=", 1)[0] for line in repo.note(who).read_text().splitlines()}
        assert {name for name in names if "RUNNER" in name} <= {"RUNNER_RUN_ID", "RUNNER_MANIFEST"}
        assert key.hex() not in repo.note(who).read_text()
        lines = repo.note(f"{who}-fds").read_text().splitlines()
        places = [line.partition(" -> ")[2] for line in lines if " -> " in line]
        kept = [place for place in places if place.endswith("runner-writer.lock")]
        assert len(places) - len(kept) == 4, "three streams, and the folder that `ls` reads"
        assert len(kept) == (who == "agent" and sandbox == "workspace-write")
        assert not any("socket:" in place or "/runner/key" in place for place in places)
