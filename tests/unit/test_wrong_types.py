"""Our own JSON with anything of any wrong type in it, at every place: no command breaks over it."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.ended import a_result, a_worktree, an_ended_run
from support.values import an_identity
from support.work import Work

from runner import config
from runner.cli.app import main
from runner.conduct import consent, plan_record
from runner.conduct.plan_record import Assignment, Options, Part
from runner.conformance import Conformance
from runner.errors import Conflict, InvocationBroken, ManifestBroken, ManifestNewer, WorkspaceBusy
from runner.invocation import Invocation
from runner.model import Level, Lineage, Phase, Program, Reason, Sandbox, Usage
from runner.plan.load import read
from runner.runtimes import PLAN, programcache
from runner.state import questions
from runner.state.authentic import write_record
from runner.state.manifest import Attempt, Manifest, RuntimeFound, Survivor, Workspace, timestamp
from runner.state.plan_ledger import Breaker, PlanLedger, Step
from runner.state.store import Intent, RunDir
from runner.supervise.recover import rebuild
from runner.value import Misfit, Value
from runner.verify.record import Record, load
from runner.workspace import __main__ as helper
from runner.workspace import lease, worktree
from runner.workspace import snapshot as snapshots
from runner.workspace.files import Entry
from runner.workspace.lease import Holder
from runner.workspace.repository import Position
from runner.workspace.rollback import Journal, Rolled, roll_back
from runner.workspace.snapshot import Snapshot
from runner.workspace.transition import Move, Moves
from runner.workspace.worktree import Acceptance, Worktree

NOW = timestamp()
OTHER = Lineage(
    "work", "20261120T101504438Z-50151d5c", ".runs/work/cli/20261120T101504438Z-50151d5c/manifest.json"
)
DEEP: Any = []
for _ in range(500):
    DEEP = [DEEP]
WRONG: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 2**62, 10**30, float("nan"), float("inf")),
    *("", "x", "\0", "\ud800", "9" * 5000),
    *([], [1], ["x"], [[]], {}, {"x": 1}, {"x": {"x": []}}, DEEP),
)
LEDGER = PlanLedger(
    "plan.toml",
    "Shop",
    (
        Step(1, ("U1",), run=OTHER, why=Reason("a", "b"), commit="c" * 40, outside=("x",)),
        Step(2, ("U2",), (1,), ("L1",)),
    ),
    Breaker(3, parked=Reason("a", "b")),
    *(("L1",), ("U9",), "b" * 40, "t" * 40, OTHER, (1,)),
)

OID = "0123456789abcdef0123456789abcdef01234567"
PLAN_OF_MOVES = Moves(
    (Move("d/b", Entry(0o100644, OID), None), Move("a", None, Entry(0o100644, OID))), {"d": 0o755}, ("new",)
)
SNAPSHOT = Snapshot(
    *("/repo/.runs/work/cli/r", "/repo", "/repo/.git", "/repo/.git", ".runs", "sha1"),
    Position(OID, "refs/heads/main", "merge", (("refs/heads/main", OID),), OID),
    *(OID, True, ("a",), ("new",), (0o644, 0o755), {"secret": 0o600}, {"d": 0o755}, ("build",), ("blind",)),
    *(("x.o",), ("big",), ("fifo",), ("/objects",), 7),
)
OF_A_WORK_TREE: dict[type[Value], Value] = {
    Snapshot: SNAPSHOT,
    Worktree: Worktree("/repo", OID, "/state/runner/worktrees/x/r", "/repo/.runs/work/cli/r"),
    Journal: Journal(
        *(1, "rollback-1.steps", OID, PLAN_OF_MOVES),
        Rolled(("a",), ("d/b",), True, ("1/a",), ("l",), ("u",), OID, "/patch"),
    ),
    Acceptance: Acceptance(1, "steps.1", PLAN_OF_MOVES),
    Holder: Holder("run", "m.json"),
}


def a_manifest_of(run: RunDir) -> Manifest:
    """With a value at every place that has one."""
    me = an_identity()
    attempt = Attempt(1, me, NOW, NOW, 0, 9, argv=("x",), thread_id="t", usage=Usage(1, 2, 3, 4), reason="x")
    return run.read_manifest().replace(
        runtime=RuntimeFound(PLAN, "/usr/bin/python3", "1"),
        reason=Reason("completed", "so it was", "hint", "detail"),
        parent=OTHER,
        children=(OTHER,),
        attempts=(attempt,),
        process=me,
        supervisor=me,
        survivors=(Survivor(1, 2, "node"),),
        usage=Usage(1, 2, 3, 4),
        last_message="Done.",
        last_activity="turn_completed",
        workspace=Workspace("in-place", run.repo, "0" * 40),
        conformance=Conformance(),
        retry_of=OTHER,
        plan=LEDGER.shown(),
    )


def an_invocation_of(run: RunDir) -> dict[str, Any]:
    data = json.loads(Path(run.invocation).read_bytes())
    data["delegation"]["tasks"] = ["work"]
    rehearsal = {"script": None, "port": 0, "argv": ["x"]}
    again = {"resume_argv": ["x", "THREAD-ID"], "closing_argv": ["x"], "retry_of": OTHER.to_json()}
    return {**data, **again, "rehearsal": rehearsal, "parent": OTHER.to_json()}


def some_events(run: RunDir) -> list[dict[str, Any]]:
    started = {"process": an_identity().to_json(), "attempt": 1, "how": "first", "prompt": "prompt.md"}
    check = {"argv": ["x"], "exit_code": 0, "timed_out": False, "duration_s": 0.1, "tail": ""}
    told: list[tuple[str, dict[str, Any]]] = [
        ("created", {"task_id": run.task_id, "run_id": run.run_id}),
        ("started", {**started, "stdout_from": 0, "stderr_from": 0}),
        ("paused", {}),
        ("resumed", {}),
        ("cancel_requested", {"reason": "enough"}),
        ("exited", {"exit_code": 1, "signal": None}),
        ("checked", check),
        ("retried", {"code": "verify_failed", "counts": True, "attempt": 2}),
        ("limit", {"code": "timeout", "message": "too long"}),
        ("ended", {"outcome": "failed", "reason": Reason("timeout", "too long").to_json()}),
    ]
    head = {"schema_version": 1, "actor": "supervisor", "at": NOW}
    return [{**head, "seq": n, "type": kind, **more} for n, (kind, more) in enumerate(told, 1)]


def a_whole_result() -> dict[str, Any]:
    following = {"changes": "keep", "counts": True, "retry": "no"}
    reason = {"code": "verify_failed", "message": "no"}
    verdict = {"row": "x", "code": "x", "outcome": "failed", "reason": reason, "next": following}
    rolled = {"restored": ["a"], "removed": [], "kept": ["k"], "left": ["l"], "unequal": ["u"]}
    return a_result(verdict=verdict, was_clean=True, is_touched=False, rolled_back=rolled)


# -- every place, every wrong value --------------------------------------------------------------------


def places(data: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield (*way, key)
        yield from places(value, (*way, key))


def broken(data: Any, few: int = len(WRONG)) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """(place, what was put there, the whole): at every place `few` of the wrong values, other ones each."""
    for at, way in enumerate(places(data)):
        for n in range(few):
            whole = copy.deepcopy(data)
            inner = whole
            for key in way[:-1]:
                inner = inner[key]
            inner[way[-1]] = WRONG[(at + n * 5) % len(WRONG)]
            yield way, inner[way[-1]], whole


def write(path: str, data: Any) -> None:
    Path(path).write_text(json.dumps(data), encoding="utf-8")


def called(*words: str) -> int:
    """The exit status; 70 and a traceback are a bug of ours."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    assert status != 70 and "Traceback" not in err.getvalue(), (words, err.getvalue())
    return status


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run that is done, in the repository where we are."""
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / ".git" / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "repo")
    return an_ended_run(tmp_path / "repo")


def comes_back(value: Value) -> bool:
    return type(value).from_json(json.loads(json.dumps(value.to_json()))) == value


@pytest.mark.parametrize("kind", [Manifest, Invocation, PlanLedger, Record, Intent, *OF_A_WORK_TREE])
def test_what_is_read_is_of_the_declared_types_or_is_refused(kind: type[Value], run: RunDir) -> None:
    whole = {
        Manifest: a_manifest_of(run).replace(plan=None).to_json(),
        Invocation: an_invocation_of(run),
        PlanLedger: LEDGER.to_json(),
        Record: a_whole_result(),
        Intent: Intent("cancel", "user", NOW, 1.5, "enough", "engine_cancelled", True, 1.5).to_json(),
        **{one: value.to_json() for one, value in OF_A_WORK_TREE.items()},
    }[kind]
    good = json.loads(json.dumps(whole))
    assert comes_back(kind.from_json(good))
    refused = 0
    for way, value, data in broken(good):
        try:
            read = kind.from_json(data)
        except (Misfit, ManifestNewer, Conflict):  # the last is of a newer snapshot
            refused += 1
            continue
        assert comes_back(read) if kind is not Invocation else read.to_json(), (way, value)
    assert refused > len(list(places(good))) * 5


def test_a_manifest_of_wrong_types_is_broken_for_every_command(run: RunDir) -> None:
    good = json.loads(json.dumps(a_manifest_of(run).to_json()))
    os.unlink(run.invocation)  # so that nothing can be made again
    verbs = ("status", "list", "wait", "logs", "report", "cancel")
    for n, (_, _, data) in enumerate(broken(good, few=8)):
        write(run.manifest, data)
        for verb in (verbs[n % 6], verbs[(n + 1) % 6]):
            called(verb, "--all" if verb == "list" else run.run_id, *(("--format", "json") if n % 2 else ()))


def test_an_invocation_of_wrong_types_breaks_no_command(run: RunDir) -> None:
    for n, (_, _, data) in enumerate(broken(an_invocation_of(run), few=6)):
        write(run.invocation, data)
        called("logs" if n % 2 else "report", run.run_id)


def test_events_of_wrong_types_break_no_command_and_no_rebuilding(run: RunDir) -> None:
    invocation = run.read_invocation()
    for n, (_, _, data) in enumerate(broken(some_events(run), few=9)):
        lines = [json.dumps(event) for event in data]
        Path(run.events).write_text("\n".join(lines), encoding="utf-8")
        assert comes_back(rebuild(run, invocation))
        if n % 4 == 0:
            called("logs", run.run_id, "--stream", "events")
            called("report", run.run_id)


def test_a_result_of_wrong_types_is_left_out_of_a_report(run: RunDir) -> None:
    for n, (_, _, data) in enumerate(broken(a_whole_result(), few=8)):
        write(run.result, data)
        called("report", run.run_id, "--format", ("text", "json", "markdown")[n % 3])


def test_a_ledger_of_wrong_types_is_left_out_of_a_report_of_a_plan(run: RunDir) -> None:
    run.write_manifest(a_manifest_of(run))
    for n, (_, _, data) in enumerate(broken(json.loads(json.dumps(LEDGER.to_json())), few=8)):
        write(run.ledger, data)
        called(*(("report", run.run_id), ("clean", "--dry-run"), ("plan", "calibrate"))[n % 3])


def test_questions_and_answers_of_wrong_types_are_none(run: RunDir) -> None:
    asked = questions.ask(run, asked="owner", prompt="p?", expires_in_s=100, on_expiry="pause")
    path = f"{run.questions}/{asked.id}.json"
    closed = f"{run.questions}/{asked.id}.closed.json"
    good = json.loads(Path(path).read_bytes())
    for _, _, data in broken(good):
        write(path, data)
        called("status", run.run_id)
        called("answer", run.run_id, asked.id, "--text", "yes")
        Path(closed).unlink(missing_ok=True)
    write(path, good)
    for n, (_, _, data) in enumerate(broken({"status": "answered", "answer": "x", "by": "me", "at": NOW})):
        write(closed, data)
        called("status", run.run_id, *(("--format", "json") if n % 2 else ()))


def test_a_list_of_runs_of_wrong_types_is_made_again(run: RunDir) -> None:
    called("list", "--all")
    path = f"{run.repo}/.runs/.index.json"
    for n, (_, _, data) in enumerate(broken(json.loads(Path(path).read_bytes()))):
        write(path, data)
        called("list", "--all", *(("--format", "json") if n % 2 else ()))


def test_intents_of_wrong_types_are_taken_away(run: RunDir) -> None:
    path = f"{run.control}/intent-1.json"
    for _, _, data in broken(Intent("cancel", "user", NOW, 1.5, "enough", True, 1.5).to_json()):
        write(path, data)
        found = [intent for _, intent in run.intents()]
        assert os.path.exists(path) is bool(found)
        assert all(comes_back(intent) for intent in found)


def test_a_plan_of_wrong_types_is_a_conflict_and_keeps_its_name(run: RunDir) -> None:
    text = 'schema_version = 1\n[[units]]\nid = "U1"\ngoal = "x"\n'
    parts = (Part((0,), "low", ("a.py",)),)
    check = {"name": "codex.binary", "verdict": "ok"}
    options = Options("deep", "build", "/map.md", True, "/scripts", True, "/my.toml", ("a.b=1",), "/f")
    given = Assignment("plan.toml", text, parts, options, "keep", (check,), read(text, "plan.toml"))
    ledger = PlanLedger("plan.toml", None, (Step(1, ("U1",)),), Breaker(3))
    plan_record.write(run, given, ledger)
    assert plan_record.load(run) == (given, ledger)
    refused = 0
    for _, _, data in broken(json.loads(Path(run.plan).read_bytes())):
        write(run.plan, data)
        assert plan_record.file_of(run) == "plan.toml"
        try:
            found, _ = plan_record.load(run)
        except Conflict:
            refused += 1
            continue
        assert [unit.id for unit in found.units(1)] == ["U1"]
        assert plan_record.Stored.from_json(json.loads(json.dumps(found.to_json())))
    assert refused > len(list(places(given.to_json()))) * 5


def test_a_consent_of_wrong_types_is_none(run: RunDir) -> None:
    sandbox = Sandbox("build", Level.WORKSPACE_WRITE)
    agreed = consent.give(run.repo, "codex", sandbox, os.environ)
    path = consent.place(run.repo, os.environ)
    for way, _, data in broken(agreed.to_json()):
        write(path, data)
        found = consent.given(run.repo, os.environ)
        right = ("runtime", "network", "at", "also", "hosts", "deny_read")  # some wrong values fit there
        assert found is None or (way[0] in right and comes_back(found))


def test_what_is_kept_of_programs_in_wrong_types_is_asked_again(tmp_path: Path) -> None:
    file = tmp_path / "program"
    file.write_bytes(b"#!x")
    program = Program(str(file), "1", frozenset({"--json"}))
    stamp = programcache.stamp_of(str(file))
    programcache.save("codex", program, "line", stamp, os.environ)
    assert programcache.load("codex", str(file), os.environ) == program
    path = programcache.cache_file(os.environ)
    assert path is not None
    for _, value, data in broken(json.loads(Path(path).read_bytes())):
        write(path, data)
        found = programcache.load("codex", str(file), os.environ)
        assert found is None or (isinstance(found.version, str) and {type(x) for x in found.flags} <= {str})
        if value is DEEP:
            programcache.save("codex", program, "line", stamp, os.environ)
            assert programcache.load("codex", str(file), os.environ) == program


def test_kept_settings_whose_terms_are_of_wrong_types_are_compiled_again(run: RunDir) -> None:
    Path(run.repo, "delegate.toml").write_text('[tasks.work]\nprompt = "x"\n', encoding="utf-8")
    wanted = config.load(run.repo, env=os.environ).tasks["work"]
    (path,) = Path(os.environ["HOME"], ".cache/runner/config").iterdir()
    good = json.loads(path.read_bytes())
    mine = f"{run.repo}/delegate.toml"
    for changed in (  # each costs a process that compiles
        {"written_ns": "x"},
        {"inputs": {**good["inputs"], mine: "x" * 5}},
        {"inputs": {**good["inputs"], mine: [None, *good["inputs"][mine][1:]]}},
        {"config": []},
    ):
        write(str(path), {**good, **changed})
        assert config.load(run.repo, env=os.environ).tasks["work"] == wanted


# -- the records of a work tree ------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    """A repository with a commit, where we are."""
    made = Work(tmp_path / "work")
    made.write("a", "1\n")
    made.write("d/b", "2\n")
    made.commit()
    monkeypatch.chdir(made.root)
    return made


def unreadable(path: str, kind: type[Value]) -> Iterator[None]:
    """Puts something broken in the place of a record, over and over, and at last what was there again."""
    good = Path(path).read_bytes()
    told = json.loads(good)
    put = write if told.pop("mac", None) is None else write_record
    for _, _, data in broken(told, few=4):
        with contextlib.suppress(Misfit):
            kind.from_json(data)
            continue
        put(path, data)
        yield
    Path(path).write_bytes(good)


class Stopped(Exception):
    pass


def stop(step: str) -> None:
    """When the plan is on the disk and nothing was done yet."""
    if step.startswith("move out"):
        raise Stopped


def test_a_record_of_a_work_tree_of_wrong_types_is_a_conflict_of_every_command(work: Work) -> None:
    run = an_ended_run(work.root)
    snapshot = snapshots.take(str(work.root), run.path)
    assert snapshot is not None
    work.write("a", "run\n")
    path = f"{run.path}/workspace.json"
    for _, _, data in broken(snapshot.to_json(), few=3):
        write_record(path, data)
        called("diff", run.run_id, "--format", "json")
    write_record(path, snapshot.to_json())
    assert called("diff", run.run_id, "--format", "json") == 0


def test_a_broken_rollback_is_refused_and_done_once_it_can_be_read(
    work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    before, snapshot = work.state(), work.take()
    work.write("a", "run\n")
    work.remove("d")
    after = work.state()
    with pytest.raises(Stopped):
        roll_back(snapshot, watch=stop)
    refused = 0
    for _ in unreadable(f"{snapshot.folder}/rollback.json", Journal):
        assert helper.main(["roll-back", snapshot.folder, f"{snapshot.folder}/answer"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "rollback.json cannot be read" in line and work.state() == after
        refused += 1
    for _ in unreadable(f"{snapshot.folder}/workspace.json", Snapshot):
        assert helper.main(["look", snapshot.folder, f"{snapshot.folder}/answer"]) == 1
        assert "workspace.json" in capsys.readouterr().err
        refused += 1
    assert refused > 100
    assert roll_back(snapshot).is_complete and work.state() == before


def test_a_broken_acceptance_is_refused_and_done_once_it_can_be_read(work: Work) -> None:
    run = an_ended_run(work.root)
    tree = a_worktree(run, work.head())
    Path(tree.path, "a").write_text("run\n", encoding="utf-8")
    with pytest.raises(Stopped):
        worktree.accept(tree, watch=stop)
    refused = 0
    for name, kind in (("accept/accept.json", Acceptance), ("worktree.json", Worktree)):
        for _ in unreadable(f"{run.path}/{name}", kind):
            assert called("accept", run.run_id) == 9
            refused += 1
    assert refused > 40 and work.read("a") == b"1\n"
    assert called("accept", run.run_id) == 0 and work.read("a") == b"run\n"


def test_a_holder_of_wrong_types_is_another_run(work: Work) -> None:
    held = lease.acquire(str(work.root), Holder("run", "m.json"))
    for _ in unreadable(held.path, Holder):
        assert lease.held_by(str(work.root)) is None
        with pytest.raises(WorkspaceBusy, match="another run"):
            lease.acquire(str(work.root), Holder("other", "n.json"))
    held.release()


# -- what becomes of a run that nobody owns ------------------------------------------------------------


def ownerless(run: RunDir) -> RunDir:
    run.write_manifest(
        a_manifest_of(run).replace(phase=Phase.RUNNING, outcome=None, ended_at=None, parent=None, plan=None)
    )
    return run


@pytest.mark.parametrize("place", ["paused_seconds", "usage", "attempts", "process", "artifacts", "title"])
def test_a_broken_manifest_is_set_aside_and_made_again(place: str, run: RunDir) -> None:
    data = json.loads(json.dumps(ownerless(run).read_manifest().to_json()))
    write(run.manifest, {**data, place: 7.5 if place != "paused_seconds" else "x"})
    with pytest.raises(ManifestBroken, match=f"is not a manifest: `{place}`"):
        run.read_manifest()
    assert called("status", run.run_id) == 0
    assert run.read_manifest().is_done
    assert [name for name in os.listdir(run.path) if name.startswith("manifest.json.broken-")]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"phase": "done", "phase": "done"}', "[" * 100_000])
def test_what_is_no_manifest_at_all_is_made_again_too(text: str, run: RunDir) -> None:
    Path(ownerless(run).manifest).write_text(text, encoding="utf-8")
    assert called("status", run.run_id) == 0
    assert run.read_manifest().is_done


def test_a_key_that_stands_twice_makes_a_manifest_broken(run: RunDir) -> None:
    text = Path(run.manifest).read_text(encoding="utf-8")
    Path(run.manifest).write_text(text.replace("{", '{"phase": "done",', 1), encoding="utf-8")
    with pytest.raises(ManifestBroken, match="a key stands in it twice"):
        run.read_manifest()


@pytest.mark.parametrize("place", ["argv", "limits", "sandbox", "env_set", "terms", "delegation"])
def test_a_run_without_an_owner_whose_invocation_is_broken_is_an_error_of_its_own(
    place: str, run: RunDir
) -> None:
    told = {name: value for name, value in an_invocation_of(run).items() if name != "mac"}
    write_record(ownerless(run).invocation, {**told, place: "x"})
    with pytest.raises(InvocationBroken, match=rf"invocation\.json cannot be read: `{place}`: found 'x'"):
        run.read_invocation()
    for verb in ("status", "wait", "cancel", "report"):
        assert called(verb, run.run_id) == 9
    assert called("list") == called("reap") == 0
    os.unlink(run.manifest)
    assert called("status", run.run_id) == 9


def test_a_result_that_lacks_what_it_must_have_is_none(run: RunDir) -> None:
    write(run.result, {**a_whole_result(), "rolled_back": {}})
    assert load(run.result) is None
