"""Runs that were not made here: every verb shows them, and none does anything with them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.doubles import install_codex
from support.ended import a_worktree, an_ended_run, commit
from support.family import a_run
from support.trusting import trust_folder
from support.values import an_identity
from support.waiting import ends_within
from support.work import Work

from runner.cli.app import main
from runner.delegation import caller
from runner.errors import ForeignRun
from runner.model import Phase
from runner.processes.proc import RUN_MANIFEST, identify, process_at
from runner.state import index, questions
from runner.state.authentic import write_record
from runner.state.events import EventLog
from runner.state.lineage import lineage_of
from runner.state.store import RunDir
from runner.supervise import begin
from runner.supervise.children import Children
from runner.usecases import clean, look
from runner.usecases.find import find_root
from runner.workspace import snapshot as snapshots

Forge = Callable[[RunDir], None]


def track(run: RunDir) -> None:
    subprocess.run(["git", "add", "-f", run.path], cwd=run.repo, check=True)


def unsign(run: RunDir) -> None:
    told = json.loads(Path(run.invocation).read_bytes())
    del told["mac"]
    Path(run.invocation).write_text(json.dumps(told), encoding="utf-8")


def forge(run: RunDir) -> None:
    path = Path(run.invocation)
    path.write_bytes(path.read_bytes().replace(b"Say hello", b"Say Hello"))


def open_up(run: RunDir) -> None:
    os.chmod(run.path, 0o777)


FORGERIES = {"tracked": track, "unsigned": unsign, "forged": forge, "writable": open_up}


@pytest.fixture(params=FORGERIES)
def forgery(request: pytest.FixtureRequest) -> Forge:
    return FORGERIES[request.param]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = Work(tmp_path / "work").root
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def running(root: Path, tmp_path: Path, forgery: Forge) -> RunDir:
    """A run that seems to go on, whose processes are gone, and whose check would leave a mark."""
    run = a_run(root, "work", supervisor=an_identity(), process=an_identity(3_999_999))
    told = run.read_invocation().replace(verify=(("touch", str(tmp_path / "executed")),))
    write_record(run.invocation, told.to_json())
    forgery(run)
    return run


@pytest.fixture
def started_for() -> Iterator[Callable[[RunDir, str], int]]:
    """Has the manifest of a run name a new process as its supervisor, which says that it is of `manifest`."""
    started: list[subprocess.Popen[bytes]] = []

    def start(run: RunDir, manifest: str) -> int:
        started.append(subprocess.Popen(["sleep", "300"], env={**os.environ, RUN_MANIFEST: manifest}))
        run.write_manifest(run.read_manifest().replace(supervisor=identify(started[-1].pid)))
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


def said(*words: str) -> tuple[int, str]:
    """Exit status and everything printed; JSON where there is a document."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    return status, out.getvalue() + err.getvalue()


def answered(*words: str) -> Any:
    status, text = said(*words, "--format", "json")
    return status, json.loads(text)


def there(root: Path) -> dict[str, tuple[int, int]]:
    """Every file of the runs, and when it was written."""
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_mode) for path in root.rglob(".runs/**/*")}


# -- shown -----------------------------------------------------------------------------------------


def test_a_run_that_seems_to_go_on_is_shown_as_foreign_and_left_as_it_is(
    running: RunDir, root: Path, tmp_path: Path
) -> None:
    before = there(root)
    status, rows = answered("list")
    assert status == 0 and [(row["run_id"], row["status"]) for row in rows] == [(running.run_id, "foreign")]
    status, shown = answered("status", running.run_id)
    assert status == 0 and shown["status"] == "foreign" and shown["foreign"]["message"]
    assert shown["phase"] == "running"
    assert "foreign" in said("status", running.run_id)[1]
    for words in (("logs",), ("logs", "--follow"), ("report",)):
        assert said(words[0], running.run_id, *words[1:])[0] == 0, words
    assert said("reap")[0] == 0
    assert there(root) == before and not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("wait", "RUN"),
        ("pause", "RUN"),
        ("resume", "RUN"),
        ("cancel", "RUN", "--grace", "0"),
        ("answer", "RUN", "q-0001", "yes"),
        ("diff", "RUN"),
        ("accept", "RUN"),
        ("discard", "RUN"),
    ],
    ids=lambda words: words[0],
)
def test_a_run_that_seems_to_go_on_is_refused_by_every_verb_that_acts(
    running: RunDir, root: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    before = there(root)
    status, told = answered(*(running.run_id if word == "RUN" else word for word in words))
    assert (status, told["error"]["code"]) == (9, "foreign_run"), told
    assert there(root) == before and not (tmp_path / "executed").exists()


@pytest.mark.parametrize("verb", ["diff", "accept", "discard"])
def test_the_change_of_a_foreign_run_that_is_done_is_not_asked_of_git(
    root: Path, forgery: Forge, verb: str, tmp_path: Path
) -> None:
    run = an_ended_run(root)
    assert snapshots.take(str(root), run.path) is not None
    forgery(run)
    status, told = answered(verb, run.run_id)
    assert (status, told["error"]["code"]) == (9, "foreign_run")


def test_a_run_that_is_done_is_read_and_says_that_it_is_foreign(root: Path, forgery: Forge) -> None:
    run = an_ended_run(root)
    forgery(run)
    word = "succeeded" if forgery is unsign else "foreign"  # an older runner has signed none
    status, shown = answered("status", run.run_id)
    assert (status, shown["status"]) == (0, word) and shown["foreign"]["hint"]
    for _ in range(2):  # not from a cache either
        assert [row["status"] for row in answered("list", "--all")[1]] == [word]
    for verb in ("wait", "cancel"):
        status, told = answered(verb, run.run_id)
        assert (status, told["error"]["code"]) == (9, "foreign_run"), "an exit status is a verdict"
    for form in ("text", "json", "markdown"):
        assert "this run is foreign" in said("report", run.run_id, "--format", form)[1]


def test_what_makes_a_run_foreign_can_be_mended(root: Path) -> None:
    run = an_ended_run(root)
    track(run)
    assert answered("list", "--all")[1][0]["status"] == "foreign"
    subprocess.run(["git", "rm", "-rq", "--cached", ".runs"], cwd=root, check=True)
    assert answered("list", "--all")[1][0]["status"] == "succeeded"
    assert "foreign" not in answered("status", run.run_id)[1]


@pytest.mark.parametrize("name", ["stdout", "stderr", "events", "timeline"])
def test_a_record_that_has_no_end_is_not_read_to_it(root: Path, name: str) -> None:
    run = an_ended_run(root)
    unsign(run)
    path = str(getattr(run, name))
    with open(path, "ab") as file:
        file.truncate(1 << 40)
    for words in (("logs",), ("logs", "--follow"), ("logs", "--stream", "stderr"), ("report",), ("status",)):
        with ends_within(30, f"`{words[0]}` of what has no end"):
            assert said(words[0], run.run_id, *words[1:])[0] == 0, words


def test_of_a_broken_manifest_of_which_nothing_says_what_it_is_nothing_is_said_to_be_done(root: Path) -> None:
    run = a_run(root, "work")
    os.unlink(run.invocation)
    Path(run.manifest).write_text("{")
    before = there(root)
    _, told = answered("status", run.run_id)
    assert told["error"]["code"] == "manifest_broken" and "nothing was changed" in told["error"]["hint"]
    assert there(root) == before


@pytest.mark.parametrize("whose", ["no run's", "another run's"])
def test_a_held_lock_makes_nothing_of_a_foreign_run_true_and_continues_no_process(
    root: Path, forgery: Forge, started_for: Callable[[RunDir, str], int], whose: str
) -> None:
    owned: list[int] = []
    run = a_run(root, "work", owned=owned)  # as any user can hold it who may read the file
    forgery(run)
    pid = started_for(run, "" if whose == "no run's" else a_run(root, "other").manifest)
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)
    assert answered("status", run.run_id)[1]["status"] == "foreign"
    for verb in ("cancel", "pause", "wait"):
        assert answered(verb, run.run_id)[1]["error"]["code"] == "foreign_run"
    Path(run.manifest).write_text("{")
    assert answered("cancel", run.run_id)[1]["error"]["code"] == "foreign_run"
    process = process_at(pid)
    assert process is not None and process.is_stopped
    os.close(owned.pop())


def test_a_run_whose_supervisor_lives_gets_its_requests_signed_or_not(
    root: Path, started_for: Callable[[RunDir, str], int]
) -> None:
    owned: list[int] = []
    run = a_run(root, "work", owned=owned)
    unsign(run)
    started_for(run, run.manifest)
    asked = questions.ask(run, asked="owner", prompt="?", expires_in_s=None, on_expiry="continue")
    assert answered("answer", run.run_id, asked.id, "yes")[1]["status"] == "answered"
    assert look.look(run).phase is Phase.RUNNING
    os.chmod(run.control, 0o777)
    assert answered("answer", run.run_id, asked.id, "yes")[1]["error"]["code"] == "foreign_run"
    os.close(owned.pop())


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.PAUSED, Phase.STOPPING])
def test_no_process_that_a_foreign_run_names_is_signalled(running: RunDir, phase: Phase) -> None:
    """Anybody may look up its number and when it began."""
    with subprocess.Popen(["sleep", "300"]) as mine:
        process = identify(mine.pid)
        told = running.read_manifest().replace(phase=phase, process=process, supervisor=an_identity())
        running.write_manifest(told)
        (Path(running.control) / "0001-cancel.json").write_text("{}")
        for words in (("list",), ("reap",), ("status", "RUN"), ("cancel", "RUN", "--grace", "0"), ("clean",)):
            said(*(running.run_id if word == "RUN" else word for word in words))
        seen = process_at(mine.pid)
        assert mine.poll() is None and seen is not None and not seen.is_stopped
        mine.kill()


# -- the other ways to a run -----------------------------------------------------------------------


def test_nobody_takes_a_foreign_run_over(running: RunDir) -> None:
    lock_fd = running.try_lock()
    assert lock_fd is not None
    with pytest.raises(ForeignRun):
        begin.adopt(running, lock_fd)
    lock_fd = running.try_lock()
    assert lock_fd is not None, "the lock was given back"
    os.close(lock_fd)


def test_a_foreign_run_that_is_done_is_not_sealed(root: Path, forgery: Forge) -> None:
    run = an_ended_run(root)
    os.mkfifo(run.wake_fifo, 0o600)
    Path(run.stdout).write_text("sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD\n")
    forgery(run)
    before = there(root)
    look.look(run)
    assert there(root) == before


def test_a_foreign_run_is_nobodys_parent_and_calls_no_tool(running: RunDir, root: Path) -> None:
    (root / "delegate.toml").write_text('schema_version = 1\n[tasks.work]\nprompt = "x"\n')
    trust_folder(root, os.environ)
    path = lineage_of(running).manifest_path
    with pytest.raises(ForeignRun):
        caller.caller(str(root), path, "full")
    status, told = answered("start", "--task", "work", "--parent", path)
    assert (status, told["error"]["code"]) == (9, "foreign_run")


def test_no_request_is_passed_on_to_a_child_that_others_can_write(root: Path) -> None:
    parent = a_run(root, "above")
    child = a_run(root, "below", parent)
    os.chmod(child.path, 0o777)
    log = EventLog(parent.events)
    Children(parent, parent.read_invocation(), log, str).tell("cancel", {})
    assert not list(child.intents())


def test_no_run_is_started_where_others_have_the_folders_of_runs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_codex(root / "bin", '[ "$*" = "login status" ]')
    monkeypatch.setenv("PATH", f"{root}/bin:/usr/bin:/bin")
    (root / "delegate.toml").write_text('schema_version = 1\n[tasks.work]\nprompt = "x"\n')
    (root / ".runs").mkdir(exist_ok=True)
    os.chmod(root / ".runs", 0o770)
    assert said("trust", "--yes")[0] in (0, 2)
    status, told = answered("start", "--task", "work")
    assert (status, told["error"]["code"]) == (9, "conflict"), told
    assert f"{root}/.runs can be written by others" in told["error"]["message"]
    assert not list((root / ".runs").glob("work/cli/*"))


def test_a_foreign_run_is_not_tried_again(root: Path, forgery: Forge) -> None:
    (root / "delegate.toml").write_text('schema_version = 1\n[tasks.work]\nprompt = "x"\n')
    trust_folder(root, os.environ)
    run = an_ended_run(root)
    forgery(run)
    status, told = answered("retry", run.run_id, "--message", "again")
    assert (status, told["error"]["code"]) == (9, "foreign_run")


# -- cleaning --------------------------------------------------------------------------------------


def test_what_git_tracks_and_what_others_can_write_is_not_removed(root: Path) -> None:
    kept = {}
    for name, make in FORGERIES.items():
        kept[name] = an_ended_run(root, ended_at="2020-01-01T00:00:00.000Z")
        make(kept[name])
    cleaned = clean.clean(str(root), older_than_s=0, dry_run=False)
    left = {name for name, run in kept.items() if os.path.exists(run.path)}
    assert left == {"tracked", "writable"}
    assert {row.run_id for row, _ in cleaned.foreign} == {kept[name].run_id for name in left}
    assert "2 foreign runs left alone" in said("clean")[1]


def test_a_foreign_run_whose_work_tree_stands_stays_and_asks_for_no_decision(root: Path) -> None:
    head = commit(root, a_txt="a\n")
    run = an_ended_run(root, ended_at="2020-01-01T00:00:00.000Z")
    tree = a_worktree(run, head)
    forge(run)
    cleaned = clean.clean(str(root), older_than_s=0, dry_run=False)
    assert cleaned.undecided == () and [row.run_id for row, _ in cleaned.foreign] == [run.run_id]
    assert tree.is_there() and os.path.exists(run.path)


# -- the list --------------------------------------------------------------------------------------


def test_a_list_that_came_with_the_repository_is_not_believed(root: Path, tmp_path: Path) -> None:
    run = an_ended_run(root)
    assert answered("list", "--all")[1][0]["status"] == "succeeded"
    cache = root / ".runs/.index.json"
    lie = cache.read_bytes().replace(b'"succeeded"', b'"rejected"')
    copied = tmp_path / "copied"
    copied.write_bytes(lie)
    os.replace(copied, cache)  # another file, as a checkout makes it
    assert answered("list", "--all")[1][0]["status"] == "succeeded"
    assert run.run_id.encode() in cache.read_bytes()


@pytest.mark.parametrize("place", [".runs", ".runs/work", ".runs/work/cli", "RUN"])
def test_a_list_tells_of_runs_that_are_a_repository_of_their_own(root: Path, place: str) -> None:
    run = an_ended_run(root)
    subprocess.run(["git", "init", "-q", run.path if place == "RUN" else place], cwd=root, check=True)
    for _ in range(2):
        assert [row["status"] for row in answered("list", "--all")[1]] == ["foreign"]


def test_nothing_is_read_or_written_behind_a_link(root: Path, tmp_path: Path) -> None:
    an_ended_run(root)
    shutil.move(str(root / ".runs"), tmp_path / "elsewhere")
    (root / ".runs").symlink_to(tmp_path / "elsewhere")
    for words in (("list", "--all"), ("reap",), ("clean",), ("status", "@latest")):
        status, told = answered(*words)
        assert (status, told["error"]["code"]) == (9, "conflict"), words
        assert "symbolic link" in told["error"]["message"]
    assert not (tmp_path / "elsewhere/.index.json").exists()


def test_no_list_is_kept_where_others_can_write(root: Path) -> None:
    an_ended_run(root)
    os.chmod(root / ".runs", 0o777)
    assert answered("list", "--all")[1][0]["status"] == "foreign"
    assert not (root / ".runs/.index.json").exists()
    assert index.scan(str(root))[0][0].status == "foreign"


# -- whose runs are meant --------------------------------------------------------------------------


def test_the_runs_of_a_repository_are_those_at_its_root(root: Path) -> None:
    shutil.rmtree(root / ".runs", ignore_errors=True)
    (root / "d/e").mkdir(parents=True, exist_ok=True)
    (root / "d/.runs").mkdir()
    (root / "d/delegate.toml").touch()
    assert find_root(str(root / "d/e")) == str(root / "d"), "there are no others"
    (root / ".runs").mkdir()
    assert find_root(str(root / "d/e")) == str(root)


@pytest.mark.parametrize("above", ["a folder", "a repository"])
@pytest.mark.parametrize("mark", [".git/HEAD", ".git", "delegate.toml"])
def test_the_runs_of_another_project_above_are_not_meant(tmp_path: Path, mark: str, above: str) -> None:
    """`.git` is a file in a submodule and in a linked work tree. Settings alone make a project only
    outside of git: within it they are those of a part.
    """
    if above == "a repository":
        (tmp_path / ".git").mkdir()
        (tmp_path / ".git/HEAD").touch()
        (tmp_path / "delegate.toml").touch()
    (tmp_path / ".runs").mkdir()
    mine = tmp_path / "mine"
    (mine / "part").mkdir(parents=True)
    assert find_root(str(mine / "part")) == str(tmp_path)
    (mine / mark).parent.mkdir(exist_ok=True)
    (mine / mark).touch()
    is_part = (mark, above) == ("delegate.toml", "a repository")
    assert find_root(str(mine / "part")) == str(tmp_path if is_part else mine)


def test_no_verb_reaches_the_runs_of_the_repository_above(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = an_ended_run(root, task="theirs")
    inner = root / "inner"
    subprocess.run(["git", "init", "-q", str(inner)], check=True)
    (inner / "delegate.toml").write_text("schema_version = 1\n")
    for verb in (["list", "--all"], ["clean", "--older-than", "0"], ["reap"]):
        monkeypatch.chdir(root)
        assert main([*verb, "--dry-run"] if verb[0] == "clean" else verb) == 0
        monkeypatch.chdir(inner)
        capsys.readouterr()
        assert main([*verb, "--format", "json"]) == 0
        assert json.loads(capsys.readouterr().out) == [], verb
    for name in ("@latest", run.run_id, "theirs", run.run_id[-8:]):
        for verb in (["cancel"], ["status"], ["pause"], ["accept"], ["logs"]):
            assert main([*verb, name]) == 4
    assert run.read_manifest().is_done and not (inner / ".runs").exists()
    monkeypatch.chdir(root)
    assert main(["status", "@latest"]) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_walk_upwards_stops_where_another_user_begins(tmp_path: Path) -> None:
    top = tmp_path / "his"
    (top / "mine/part").mkdir(parents=True)
    (top / ".runs").mkdir()
    os.chown(top, 12345, -1)
    assert find_root(str(top / "mine/part")) == str(top / "mine/part")
    (top / ".git").mkdir()
    (top / ".git/HEAD").touch()
    (top / "delegate.toml").write_text("schema_version = 1\n")
    assert find_root(str(top / "mine")) == str(top / "mine")
    os.chown(top / "mine", 12345, -1)
    os.chown(top / "mine/part", 12345, -1)
    assert find_root(str(top / "mine/part")) == str(top), "all of it is his, and one looks at it"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", [".git", "delegate.toml", ".runs"])
def test_what_another_user_has_put_into_a_folder_for_everybody_counts_for_nothing(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "mine").mkdir()
    os.chmod(tmp_path, 0o1777)
    if name == "delegate.toml":
        (tmp_path / name).touch()
    else:
        (tmp_path / name).mkdir()
        (tmp_path / name / "HEAD").touch()
    assert find_root(str(tmp_path / "mine")) == str(tmp_path)
    os.chown(tmp_path / name, 12345, -1)
    assert find_root(str(tmp_path / "mine")) == str(tmp_path / "mine")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_the_settings_of_another_user_above_are_not_taken_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "his/mine").mkdir(parents=True)
    (tmp_path / "his/.git").mkdir()
    (tmp_path / "his/.git/HEAD").touch()
    (tmp_path / "his/delegate.toml").write_text("schema_version = 1\n")
    monkeypatch.chdir(tmp_path / "his/mine")
    assert said("check")[0] == 0
    os.chown(tmp_path / "his", 12345, -1)
    status, told = answered("check")
    assert status == 2 and f"{tmp_path}/his/delegate.toml" in json.dumps(told)
