"""Runs that other runs have started: wishes that reach them, ends that take them along, caps that hold."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest
from support.delegation import family, path_of
from support.doubles import FINISHED, THREAD, said
from support.hostile import HOSTILE
from support.processes import kill, look, signal_exactly
from support.repo import RUNNER, Repo, Run
from support.terminal import Terminal
from support.waiting import wait_until

from runner.state import questions
from runner.state.store import RunDir


@pytest.fixture(autouse=True)
def end_all(repo: Repo) -> Iterator[None]:
    """Whatever a test has started is over after it."""
    yield
    repo.end_all()


def line(repo: Repo) -> tuple[Run, Run, Run]:
    """A parent, its child and its grandchild, each started by hand."""
    parent = repo.start()
    child = repo.start("--parent", path_of(parent), task="child")
    return parent, child, repo.start("--parent", path_of(child), task="grandchild")


def refused(repo: Repo, parent: Run, *words: str, task: str = "child") -> tuple[int, str]:
    """(exit status, code) of a start that must leave nothing on the disk."""
    before, markers = repo.runs(), sorted(parent.folder.glob("control/children/*"))
    done = repo.cli("start", "--task", task, "--parent", path_of(parent), *words, "--format", "json")
    assert done.status != 0, done
    assert repo.runs() == before
    assert sorted(parent.folder.glob("control/children/*")) == markers
    return done.status, done.error["code"]


def all_stopped(run: Run) -> bool:
    tree = run.tree()
    return bool(tree) and all(process.is_stopped for process in tree)


def none_stopped(run: Run) -> bool:
    tree = run.tree()
    return bool(tree) and not any(process.is_stopped for process in tree)


# -- who started whom ------------------------------------------------------------------------------


def test_a_start_by_hand_knows_its_parent_and_is_known_to_it(repo: Repo) -> None:
    family(repo)
    parent, child, grandchild = line(repo)
    named = {"task_id": "work", "run_id": parent.id, "manifest_path": path_of(parent)}
    assert child.on_disk()["parent"] == named
    assert f"parent_manifest_path={path_of(parent)}" in child.file("prompt.md")
    assert f"parent_manifest_path={path_of(parent)}" in parent.file("prompt.md"), "of what it starts"
    wait_until(lambda: [one["run_id"] for one in parent.on_disk()["children"]] == [child.id])
    wait_until(lambda: [one["run_id"] for one in child.on_disk()["children"]] == [grandchild.id])
    assert [event["run_id"] for event in parent.events("child")] == [child.id]
    assert parent.on_disk()["parent"] is None
    by = [run.events("created")[0]["actor"] for run in (parent, child, grandchild)]
    assert by == ["user", f"run {parent.id}", f"run {child.id}"]


def test_a_parent_that_is_none_starts_nothing(repo: Repo) -> None:
    family(repo)
    parent = repo.start()
    assert parent.told("cancel")["status"] == "cancelled"
    assert refused(repo, parent) == (9, "parent_over")
    for bad in ("x", "/dev/zero", "../x/manifest.json", path_of(parent).replace("work", "other")):
        done = repo.cli("start", "--task", "child", "--parent", bad, "--format", "json")
        assert (done.status, done.error["code"]) == (4, "run_not_found")
    assert repo.runs() == [parent]


def test_a_parent_that_died_unseen_starts_nothing(repo: Repo) -> None:
    family(repo)
    parent = repo.start()
    root = parent.child()
    parent.kill_supervisor()
    kill(root)
    wait_until(lambda: not root.is_still_there())
    assert refused(repo, parent) == (9, "parent_over")
    assert parent.on_disk()["phase"] == "done"


def test_children_are_no_part_of_their_parents_tree(repo: Repo) -> None:
    """The child's start comes from inside its parent, as the server's does: nothing of it may be touched."""
    family(repo)
    wait = 'until [ -e "$HOME/gate" ]; do sleep 0.1; done'
    start = f'"{RUNNER}" start --task child --parent "$RUNNER_MANIFEST" > "$HOME/started" 2>&1'
    repo.codex(
        f'cat > /dev/null\n{THREAD}\n[[ "$RUNNER_MANIFEST" == */work/* ]] && {start}\n{wait}\n'
        f"{said('done')}{FINISHED}"
    )
    parent = repo.start()
    child = wait_until(lambda: next((run for run in repo.runs() if run.task == "child"), None))
    wait_until(lambda: (child.folder / "manifest.json").exists() and child.on_disk()["phase"] == "running")
    wait_until(lambda: not [p for p in parent.everything() if "start" in p.words], what="the starter's end")
    supervisor = child.supervisor()
    parent.told("pause", "--only")
    assert all_stopped(parent)
    assert none_stopped(child)
    assert not any(process.is_stopped for process in child.everything())
    assert child.told("pause")["status"] == "paused", "its supervisor listens"
    assert child.told("resume")["status"] == "running"
    parent.told("resume", "--only")
    assert parent.told("cancel", "--only")["status"] == "cancelled"
    assert supervisor.is_still_there()
    assert child.status()["status"] == "running"
    assert child.told("cancel")["survivors"] == []


# -- requests --------------------------------------------------------------------------------------


def test_pause_and_resume_and_cancel_reach_child_and_grandchild(repo: Repo) -> None:
    family(repo)
    runs = line(repo)
    parent = runs[0]
    assert parent.told("pause")["status"] == "paused"
    for run in runs:
        assert run.on_disk()["phase"] == "paused"
        assert all_stopped(run)
    assert parent.told("resume")["status"] == "running"
    for run in runs:
        assert run.on_disk()["phase"] == "running"
        assert none_stopped(run)
    assert parent.told("cancel", "--reason", "over")["status"] == "cancelled"
    for run in runs:
        assert run.on_disk()["status"] == "cancelled"
        assert "over" in run.on_disk()["reason"]["message"]
        assert run.tree() == []


def test_only_leaves_the_children_alone(repo: Repo) -> None:
    family(repo)
    parent, child, grandchild = line(repo)
    parent.told("pause", "--only")
    assert all_stopped(parent)
    assert none_stopped(child)
    assert child.told("pause", "--only")["status"] == "paused"
    assert parent.told("resume", "--only")["status"] == "running"
    assert all_stopped(child)
    assert none_stopped(grandchild)
    assert child.told("resume")["status"] == "running"
    assert parent.told("cancel", "--only")["status"] == "cancelled"
    wait_until(lambda: not parent.everything(), what="the parent's supervisor's end")
    for run in (child, grandchild):
        assert run.status()["status"] == "running"
        assert none_stopped(run)


def test_a_wish_for_one_that_is_there_already_reaches_its_children_all_the_same(repo: Repo) -> None:
    """`paused` and `running` are answers for the run and for everything below it."""
    family(repo)
    parent, child, _ = line(repo)
    parent.told("pause", "--only")
    assert parent.told("pause")["status"] == "paused"
    assert all_stopped(child)
    parent.told("resume", "--only")
    assert all_stopped(child)
    assert parent.told("resume")["status"] == "running"
    assert none_stopped(child)


@pytest.mark.parametrize(
    ("on_parent_end", "end"),
    [("cancel", "its own"), ("cancel", "a limit"), ("cancel", "a crash"), ("leave", "its own")],
)
def test_children_that_live_when_their_parent_ends_are_ended_or_left(
    repo: Repo, on_parent_end: str, end: str
) -> None:
    family(repo, on_parent_end=on_parent_end)
    parent = repo.start(*(("--timeout", "2s") if end == "a limit" else ()))
    child = repo.start("--parent", path_of(parent), task="child")
    if end == "its own":
        repo.note("gate-work").touch()
    elif end == "a crash":
        kill(parent.child())
    outcome = {"its own": "succeeded", "a limit": "timed_out", "a crash": "failed"}[end]
    assert parent.wait()["status"] == outcome
    if on_parent_end == "cancel":
        ended = child.wait()
        assert (ended["status"], ended["survivors"]) == ("cancelled", [])
        assert "parent" in ended["reason"]["message"]
    else:
        wait_until(lambda: not parent.everything(), what="the end of the parent's supervisor")
        assert child.status()["status"] == "running"
        assert parent.status()["status"] == outcome


def test_without_its_supervisor_a_parent_still_takes_its_children_along(repo: Repo) -> None:
    family(repo)
    parent, child, grandchild = line(repo)
    parent.kill_supervisor()
    child.kill_supervisor()
    assert parent.told("pause")["status"] == "paused"
    assert all_stopped(child)
    assert all_stopped(grandchild)
    parent.kill_supervisor()
    assert parent.told("cancel")["status"] == "cancelled"
    for run in (child, grandchild):
        assert run.on_disk()["status"] == "cancelled"
        assert run.tree() == []


def test_a_child_that_is_deaf_has_its_own_patience_after_its_parents_end(repo: Repo) -> None:
    """The parent ends at once and its end tells its child again: that is no second cancel. The child goes on
    until nobody owns its parent any more.
    """
    family(repo)
    repo.codex(
        f"""cat > /dev/null
{THREAD}
patience() {{
    [[ "$RUNNER_MANIFEST" == */child/* ]] || exit 0
    until flock -n "{repo.runs_folder}"/work/cli/*/run.lock true; do sleep 0.05; done
    touch "$HOME/finished"
    exit 0
}}
trap patience INT
touch "$HOME/begun-${{RUNNER_RUN_ID##*-}}"
while :; do sleep 0.05; done
"""
    )
    config = (repo.root / "delegate.toml").read_text().replace('grace = "300ms"', 'grace = "20s"')
    (repo.root / "delegate.toml").write_text(config)
    parent = repo.start()
    child = repo.start("--parent", path_of(parent), task="child")
    for run in (parent, child):
        wait_until(repo.note(f"begun-{run.id[-8:]}").exists)
    parent.told("cancel")
    assert child.on_disk()["status"] == "cancelled"
    assert repo.note("finished").exists(), child.file("events.jsonl")


# -- starts in the middle of a wish ----------------------------------------------------------------


@pytest.mark.parametrize("wish", ["pause", "cancel"])
def test_a_child_that_is_started_in_the_middle_of_a_wish_obeys_it_too(repo: Repo, wish: str) -> None:
    """Children start one after the other while their parent is told: none may run on."""
    family(repo, more="max_children = 64")
    parent = repo.start()
    with ThreadPoolExecutor(4) as pool:
        words = ("start", "--task", "child", "--parent", path_of(parent), "--format", "json")
        starts = [pool.submit(repo.cli, *words) for _ in range(12)]
        wait_until(lambda: len(repo.runs()) > 3, what="the first children")
        told = pool.submit(parent.told, wish)
        codes = {done.error["code"] for start in starts if (done := start.result()).status != 0}
        status = told.result()["status"]
    assert codes <= {"parent_over"}
    children = [run for run in repo.runs() if run.task == "child"]
    for child in children:
        wait_until(lambda c=child: c.on_disk()["status"] == status, what=f"the {wish} of {child.id}")
        assert all_stopped(child) if wish == "pause" else child.tree() == []


def held_in_the_middle(repo: Repo, parent: Run, starting: subprocess.Popen[bytes]) -> bool:
    """Stops a start between the mark at its parent and its own manifest; False if it was quicker."""
    marks = parent.folder / "control" / "children"
    before, seen = len(list(marks.glob("*"))), look(starting.pid)
    assert seen is not None
    until = monotonic() + 10
    while len(list(marks.glob("*"))) == before and monotonic() < until:
        pass  # a few milliseconds lie between the two
    signal_exactly(seen, signal.SIGSTOP)
    wait_until(lambda: (now := look(starting.pid)) is None or now.is_stopped or not now.is_alive)
    whole = [run for run in repo.runs() if (run.folder / "manifest.json").exists()]
    return len(list(marks.glob("*"))) > len(whole) - 1


@pytest.mark.parametrize(("wish", "status"), [("pause", "paused"), ("end", "cancelled")])
def test_a_child_that_nobody_could_tell_yet_follows_its_parent(repo: Repo, wish: str, status: str) -> None:
    """Its start was in the middle of it while its parent was paused, or had its end."""
    family(repo, more="max_children = 64")
    parent = repo.start()
    words = ("start", "--task", "child", "--parent", path_of(parent), "--prompt", "-", "--format", "json")
    for _ in range(10):
        with repo.process(*words) as starting:
            assert starting.stdin is not None
            starting.stdin.write(b"x" * 1_000_000)
            starting.stdin.close()
            starting.stdin = None
            is_held = held_in_the_middle(repo, parent, starting)
            if is_held and wish == "pause":
                assert parent.told("pause")["status"] == "paused"
            elif is_held:
                repo.note("gate-work").touch()
                assert parent.wait()["status"] == "succeeded"
            starting.send_signal(signal.SIGCONT)
            out, _ = starting.communicate(timeout=20)
        if is_held:
            break
    assert is_held, "never in the middle"
    child = Run(repo, json.loads(out)["run_id"], "child")
    wait_until(lambda: child.on_disk()["status"] == status, what=status)
    assert all_stopped(child) if wish == "pause" else child.tree() == []


# -- caps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["config", "policy"])
def test_no_run_is_deeper_and_no_more_are_running_than_the_caps_say(repo: Repo, where: str) -> None:
    if where == "config":
        family(repo, depth=1, more="max_children = 2")
    else:
        family(repo, depth=8, more="max_children = 64")
        policy = repo.home / ".config" / "runner" / "policy.toml"
        policy.parent.mkdir(parents=True)
        policy.write_text("schema_version = 1\nmax_depth = 1\nmax_children = 2\n")
    parent = repo.start()
    children = [repo.start("--parent", path_of(parent), task="child") for _ in range(2)]
    assert refused(repo, parent) == (9, "max_children")
    assert refused(repo, children[0], task="grandchild") == (5, "max_depth")
    root = children[0].child()
    children[0].kill_supervisor()
    kill(root)
    wait_until(lambda: not root.is_still_there())
    repo.start("--parent", path_of(parent), task="child")
    assert children[0].on_disk()["phase"] == "done", "one that died unseen takes no place"


def test_no_children_at_all_where_the_caps_are_zero(repo: Repo) -> None:
    family(repo, depth=0)
    assert refused(repo, repo.start()) == (5, "max_depth")
    parent = repo.start("--set", "delegation.max_depth=1", "--set", "delegation.max_children=0")
    assert refused(repo, parent) == (9, "max_children")


WIDE = """
[sandboxes.narrow]
level = "workspace-write"
[sandboxes.net]
level = "workspace-write"
network = true
[sandboxes.folders]
level = "workspace-write"
writable = ["/tmp"]
"""


def test_a_child_is_never_wider_than_its_parent(repo: Repo) -> None:
    family(repo, more='tasks = ["child", "grandchild", "plain"]')
    with (repo.root / "delegate.toml").open("a") as file:
        file.write(WIDE)
    wider = (5, "wider_than_parent")
    reader = repo.start()
    assert refused(repo, reader, "--sandbox", "workspace-write") == wider
    assert refused(repo, reader, task="work") == (5, "task_not_spawnable")
    writer = repo.start("--sandbox", "narrow")
    assert refused(repo, writer, "--sandbox", "net") == wider
    assert refused(repo, writer, "--sandbox", "folders") == wider
    assert refused(repo, writer, "--sandbox", "danger-full-access")[0] == 5
    as_wide = refused(repo, writer, "--sandbox", "narrow")
    assert as_wide == (9, "workspace_busy"), "it may be so wide, but two may not write in one tree"
    assert repo.start("--parent", path_of(writer), task="child").on_disk()["sandbox"]["level"] == "read-only"
    few = repo.start("--set", 'delegation.tools=["status","spawn"]')
    inherits = repo.start("--parent", path_of(few), task="child").on_disk()["delegation"]
    assert (inherits["enabled"], inherits["tools"]) == (True, ["status", "spawn"])
    tools = ("--set", 'delegation.tools=["status","spawn","cancel"]')
    assert refused(repo, few, *tools) == (2, "usage"), "it has the settings of its parent"
    plain = repo.start(task="plain")
    assert refused(repo, plain) == wider
    assert repo.start("--parent", path_of(plain), task="plain").on_disk()["parent"]["run_id"] == plain.id


# -- questions for people --------------------------------------------------------------------------


def test_open_questions_are_shown_and_answered_by_people(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    first, second = run.asks("Which colour?\nRed or blue?"), run.asks("Which size?", expires_in_s=600)
    shown = repo.cli("status", run.id).stdout
    for text in (
        first,
        "Which colour?",
        "Red or blue?",
        second,
        "Which size?",
        "then the run continues without an answer",
    ):
        assert text in shown
    wait_until(lambda: run.on_disk()["questions_open"] == 2)
    assert "2 open questions" in repo.cli("list").stdout
    assert run.status()["questions_open"] == 2
    answered = repo.json("answer", run.id, first, "-", stdin="Blue.\n")
    assert (answered["status"], answered["answer"].strip()) == ("answered", "Blue.")
    assert answered["answered_by"] == "user"
    wait_until(lambda: "the answer: Blue." in repo.cli("logs", run.id).stdout)
    again = repo.cli("answer", run.id, first, "Red.", "--format", "json")
    assert (again.status, again.error["code"]) == (9, "question_closed")
    for bad in ("q-9999", "nothing", "../q-0001", ""):
        done = repo.cli("answer", run.id, bad, "x", "--format", "json")
        assert (done.status, done.error["code"]) == (4, "question_not_found")
    empty = repo.cli("answer", run.id, second, " ", "--format", "json")
    assert (empty.status, empty.error["code"]) == (2, "usage")
    shown = repo.cli("status", run.id).stdout
    assert first not in shown
    assert second in shown
    wait_until(lambda: run.on_disk()["questions_open"] == 1)
    assert "1 open question" in repo.cli("list").stdout


def test_a_question_of_a_run_that_is_over_is_closed_and_not_shown_as_open(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    question = run.asks("Which?")
    wait_until(lambda: run.on_disk()["questions_open"] == 1)
    assert run.told("cancel")["questions_open"] == 0
    late = repo.cli("answer", run.id, question, "too late", "--format", "json")
    assert (late.status, late.error["code"]) == (9, "question_closed")
    assert question not in repo.cli("status", run.id).stdout
    assert "open question" not in repo.cli("list", "--all").stdout


def test_a_wait_of_its_owner_does_not_slow_the_expiry_of_a_question(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    begun = monotonic()
    run.asks("Which?", expires_in_s=0.5, on_expiry="fail")
    assert run.wait()["reason"]["code"] == "question_expired"
    assert monotonic() - begun < 10


def test_a_question_that_expires_at_once_is_not_shown_as_open_in_the_pause_that_it_brings(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    wait_until(lambda: run.on_disk()["thread_id"] is not None)  # just written, so not again for a while
    run.asks("Which?", expires_in_s=0.3, on_expiry="pause")
    wait_until(lambda: run.on_disk()["status"] == "paused")
    wait_until(lambda: run.on_disk()["questions_open"] == 0)


def test_an_expiry_counts_also_where_the_owner_that_wrote_it_was_killed_over_it(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    question = run.asks("Which?", on_expiry="fail")
    wait_until(lambda: run.on_disk()["questions_open"] == 1)
    questions.expire(RunDir(str(repo.root), run.task, run.id), question)  # and no more than that
    assert run.wait()["reason"]["code"] == "question_expired"


def test_an_answer_that_is_no_text_is_refused(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    question = run.asks("Which?")
    done = repo.cli("answer", run.id, question, "caf\udce9", "--format", "json")
    assert (done.status, done.error["code"]) == (2, "usage")
    assert repo.json("answer", run.id, question, "caf\u00e9")["answer"] == "caf\u00e9"


def test_an_answer_without_a_text_is_asked_for_at_the_terminal(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    question = run.asks(f"Which colour?\n{HOSTILE}")
    done = repo.cli("answer", run.id, question, "--format", "json")
    assert (done.status, done.error["code"]) == (2, "usage")
    assert "`-`" in done.error["hint"]
    for keys, status in (
        (b"\n", 2),
        (b"  \n", 2),
        (b"\x04", 2),
        (b"Bl\x04\x04", 2),
        (b"\x03", 130),
        (b"x" * 5000 + b"\n", 2),
    ):
        terminal = Terminal(repo, "answer", run.id, question)
        terminal.asks("(an empty line leaves it open):")
        assert "Which colour?" in terminal.text and "\x1b]0;" not in terminal.text
        assert terminal.type(keys) == status, (keys, terminal.text)
        assert "Traceback" not in terminal.text
        terminal.close()
        assert run.status()["questions_open"] == 1
    terminal = Terminal(repo, "answer", run.id, question)
    terminal.asks("(an empty line leaves it open):")
    assert terminal.type(b"Blue, s'il vous pla\xc3\xaet\nrm -rf all\n") == 0
    assert terminal.text.rstrip().endswith(f"{run.id[20:24]} {question} answered")
    assert "the first line was the answer" in terminal.text
    terminal.close()
    (answered,) = questions.of_run(RunDir(str(repo.root), run.task, run.id))
    assert answered.answer == "Blue, s'il vous plaît"
    late = Terminal(repo, "answer", run.id, question)
    assert late.type(b"") == 9 and "already answered" in late.text and "Which colour?" not in late.text
    late.close()
