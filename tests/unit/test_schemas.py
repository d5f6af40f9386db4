"""The hand-kept schemas, both ways: what we write is valid, what we would not write is refused."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.values import a_manifest, an_identity, an_invocation

from runner.invocation import Rehearsal
from runner.model import Level, Lineage, Outcome, Phase, Reason, Usage
from runner.state.authentic import FOREIGN, Why
from runner.state.events import EventLog, read_events
from runner.state.lifecycle import Event
from runner.state.manifest import Attempt, Manifest, Survivor, advance, continued
from runner.state.plan_ledger import Breaker, PlanLedger, Status, Step, StepKind

ROOT = Path(__file__).parents[2]
NAMES = ("manifest", "invocation", "event")
SAMPLE = json.loads((ROOT / "tests" / "data" / "manifest-v1.json").read_text(encoding="utf-8"))
RUN = Lineage("a", "20261120T101504438Z-50151d5c", ".runs/a/cli/20261120T101504438Z-50151d5c/manifest.json")


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        (ROOT / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
    )
    return loaded


def is_valid(name: str, value: object) -> bool:
    return bool(Draft202012Validator(schema(name)).is_valid(value))


def assert_valid(name: str, value: object) -> None:
    Draft202012Validator(schema(name)).validate(value)


def described(node: object) -> Iterator[dict[str, Any]]:
    """Every property's schema, at any depth."""
    if isinstance(node, dict):
        for value in node.get("properties", {}).values():
            yield value
        for key, value in node.items():
            if key not in ("if", "then", "else"):
                yield from described(value)
    elif isinstance(node, list):
        for value in node:
            yield from described(value)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one_and_says_what_every_key_means(name: str) -> None:
    loaded = schema(name)
    Draft202012Validator.check_schema(loaded)
    assert loaded["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert loaded["title"] and loaded["description"]
    assert [node for node in described(loaded) if not node.keys() & {"description", "$ref"}] == []


def a_life() -> Iterator[Manifest]:
    """A manifest at every station, and both ways out of it."""
    manifest = a_manifest()
    yield manifest
    yield advance(manifest, Event.START_FAILED, outcome=Outcome.FAILED, reason=Reason("disk_full", "full"))
    me = an_identity()
    manifest = advance(manifest, Event.LAUNCHED, supervisor=me, attempt=1)
    yield manifest
    manifest = advance(manifest, Event.STARTED, process=me)
    manifest = manifest.replace(attempts=(Attempt(1, me, manifest.updated_at),))
    yield manifest
    paused = advance(manifest, Event.PAUSED)
    yield paused
    yield advance(paused, Event.RESUMED)
    yield advance(manifest, Event.STOP_REQUESTED, reason=Reason("cancelled", "cancelled by user"))
    yield advance(manifest, Event.LOST, outcome=Outcome.LOST, reason=Reason("lost", "gone"))
    manifest = advance(manifest, Event.EXITED, signal=9, survivors=(Survivor(5, 6, "sh"),), parent=RUN)
    yield manifest
    waiting = advance(manifest.replace(turns=1, open=True), Event.KEPT_OPEN, waiting_uptime=9.5)
    yield waiting
    yield advance(waiting, Event.CLOSED, waiting_uptime=None, waiting_seconds=1800.0)
    yield continued(waiting.replace(messages_queued=1, continues=RUN), 2)
    for outcome in Outcome:
        yield advance(manifest, Event.ENDED, outcome=outcome, reason=Reason("x", "y", "z", "w"))


def test_a_manifest_is_valid_at_every_station_of_its_life() -> None:
    stations = list(a_life())
    assert {manifest.phase for manifest in stations} == set(Phase)
    for manifest in stations:
        assert_valid("manifest", manifest.to_json())


def test_the_kept_sample_is_valid() -> None:
    assert_valid("manifest", SAMPLE)


def a_judged_manifest() -> dict[str, Any]:
    """With everything that older manifests do not have."""
    me, argv = an_identity(), ("codex", "exec", "resume", "t-1", "-")
    again = Attempt(
        2, me, how="resume", argv=argv, prompt="prompt-2.md", stdout_from=512, thread_id="t-1", usage=Usage(5)
    )
    compared = {"declared": "gpt-5", "observed": "gpt-5", "verdict": "ok"}
    manifest = a_manifest(
        attempts=(Attempt(1, me, reason="verify_failed", counts=True), again),
        workspace={"kind": "worktree", "path": "/state/tree", "base": "0" * 40},
        conformance=dict.fromkeys(("model", "sandbox", "approval", "effort"), compared),
        retry_of=RUN,
    )
    plain: dict[str, Any] = json.loads(json.dumps(manifest.to_json()))
    return plain


def test_a_manifest_with_attempts_a_work_tree_and_conformance_is_valid() -> None:
    whole = a_judged_manifest()
    assert_valid("manifest", whole)
    assert_valid("manifest", whole | {"workspace": whole["workspace"] | {"base": None}})
    for change in (
        {"workspace": {"kind": "worktree", "path": "/state/tree"}},
        {"workspace": whole["workspace"] | {"path": "tree"}},
        {"workspace": whole["workspace"] | {"kind": "elsewhere"}},
        {"conformance": {"model": whole["conformance"]["model"]}},
        {"conformance": whole["conformance"] | {"model": {"verdict": "fine"}}},
        {"retry_of": RUN.run_id},
        {"attempts": [whole["attempts"][1] | {"how": "again"}]},
        {"attempts": [whole["attempts"][1] | {"stdout_from": -1}]},
        {"attempts": [whole["attempts"][1] | {"prompt": "/etc/passwd"}]},
        {"attempts": [whole["attempts"][1] | {"usage": {"input_tokens": 1}}]},
    ):
        assert not is_valid("manifest", whole | change), change


def a_plan() -> dict[str, Any]:
    """How far a plan is that has a batch of every status, in the words of its manifest."""
    steps = [Step(n, (f"U{n}",)) for n in range(1, 5)] + [Step(5, ("U5",), (2, 3), ("L1",)), Step(6, ("U6",))]
    ledger = PlanLedger("plan.toml", "Shop", (*steps, Step(7, ("U7",)), Step(8, ())), Breaker(3), ("L1",))
    ledger = ledger.again(RUN, done=("U6",))
    ledger = ledger.replaced(8, Reason("findings_left", "one"))
    for n in (1, 2, 3, 4):
        ledger = ledger.began(n, RUN)
    ledger = ledger.succeeded(1, changed=("a",), outside=("a",), commit="0" * 40)
    ledger = ledger.failed(2, Reason("partial", "a part")).parked(3, Reason("lost", ""))
    assert {step.status for step in ledger.steps} == {*Status}
    plain: dict[str, Any] = json.loads(json.dumps(ledger.shown()))
    return plain


def test_a_manifest_of_a_plan_is_valid_while_it_runs_and_after() -> None:
    whole, plan = a_judged_manifest(), a_plan()
    assert_valid("manifest", whole | {"plan": plan})
    running = plan["batches"][3]
    assert running["status"] == "running" and plan["batches"][4]["waits_for"] == [2, 3, "L1"]
    assert_valid("manifest", whole | {"plan": plan | {"batches": [running | {"status": "interrupted"}]}})
    bare = PlanLedger("p", None, (), Breaker(1)).shown()
    assert_valid("manifest", whole | {"plan": bare})
    assert_valid("manifest", whole | {"plan": None})


@pytest.mark.parametrize(
    "change",
    [
        {"status": "asleep"},
        {"n": 0},
        {"n": True},
        {"units": "U1"},
        {"waits_for": [0]},
        {"waits_for": [None]},
        {"run_id": "latest"},
        {"manifest_path": "/elsewhere/manifest.json"},
        {"tries": -1},
        {"reason": "partial"},
        {"reason": {"code": "Not a code", "message": ""}},
        {"commit": "HEAD"},
        {"outside": None},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_batch_of_a_plan_that_nobody_of_us_writes_is_refused(change: dict[str, Any]) -> None:
    whole, plan = a_judged_manifest(), a_plan()
    first, *others = plan["batches"]
    assert not is_valid("manifest", whole | {"plan": plan | {"batches": [first | change, *others]}})


def test_no_part_of_a_plan_may_lack_or_be_more() -> None:
    whole, plan = a_judged_manifest(), a_plan()
    for inside in (plan, plan["breaker"], plan["batches"][0]):
        for key, value in [*inside.items()]:
            del inside[key]
            newer = ("stages",) if inside is plan else ("stage", "kind", "title", "task_id")
            is_newer = key in newer  # a manifest of before pipelines has none of them
            assert is_valid("manifest", whole | {"plan": plan}) is is_newer, key
            inside[key] = value
        inside["surprise"] = 1
        assert not is_valid("manifest", whole | {"plan": plan})
        del inside["surprise"]
    assert_valid("manifest", whole | {"plan": plan})


@pytest.mark.parametrize("key", SAMPLE)
def test_no_key_of_a_manifest_may_lack_or_be_of_another_kind(key: str) -> None:
    assert not is_valid("manifest", {k: v for k, v in SAMPLE.items() if k != key})
    assert not is_valid("manifest", SAMPLE | {key: 1.5 if key != "paused_seconds" else "1.5"})


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"schema_version": 2},
        {"status": "fine"},
        {"phase": "running"},
        {"status": "running"},
        {"outcome": None},
        {"reason": None},
        {"ended_at": None},
        {"ended_at": "2026-11-20 10:33:12"},
        {"ended_at": "2026-11-20T10:33:12Z"},
        {"run_id": "latest"},
        {"task_id": "../../etc"},
        {"manifest_path": "/tmp/manifest.json"},
        {"repo": "relative"},
        {"paused_seconds": -1},
        {"exit_code": -9},
        {"signal": 0},
        {"config_digest": "sha256:ABC"},
        {"runtime": {"name": "codex"}},
        {"sandbox": SAMPLE["sandbox"] | {"level": "open"}},
        {"usage": SAMPLE["usage"] | {"input_tokens": -1}},
        {"usage": SAMPLE["usage"] | {"price": 1}},
        {"process": SAMPLE["process"] | {"pid": "702"}},
        {"attempts": [{"n": 1}]},
        {"artifacts": {"prompt": "/etc/passwd"}},
        {"survivors": [811]},
    ],
    ids=str,
)
def test_a_broken_manifest_is_refused(change: dict[str, Any]) -> None:
    assert not is_valid("manifest", SAMPLE | change)


def test_a_manifest_that_is_not_done_has_no_end() -> None:
    running = next(manifest.to_json() for manifest in a_life() if manifest.phase is Phase.RUNNING)
    assert is_valid("manifest", running)
    for change in ({"outcome": "failed"}, {"ended_at": SAMPLE["ended_at"]}, {"status": "failed"}):
        assert not is_valid("manifest", running | change)


_OF_RESOLVE = ("prompt", "prompt_tokens_estimate", "prompt_parts", "not_pasted", "yours")


def an_invocation_json(**changes: Any) -> dict[str, Any]:
    return json.loads(json.dumps(an_invocation().to_json())) | changes


def test_invocations_are_valid_with_and_without_what_is_optional() -> None:
    assert_valid("invocation", an_invocation_json())
    rehearsal = Rehearsal(None, 4711, ("python", "server"))
    more = {"resume_argv": ("codex", "-"), "closing_argv": ("codex", "-"), "retry_of": RUN}
    full = an_invocation(rehearsal=rehearsal, parent=RUN, **more).to_json()
    assert_valid("invocation", json.loads(json.dumps(full)))
    bare = an_invocation(
        title=None, model=None, reasoning_effort=None, verify=(), origins={}, secret_names=()
    )
    assert_valid("invocation", json.loads(json.dumps(bare.to_json())))
    yours: dict[str, list[str]] = {"mcp_servers": ["mine"], "hooks": [], "plugins": []}
    parts = [
        {"part": "task", "path": None, "characters": 9},
        {"part": "Map", "path": "M.md", "characters": 0},
    ]
    shown = ("as `runner resolve` prints it", 8, parts, {".env": "may have secrets"}, yours)
    assert_valid("invocation", an_invocation_json(**dict(zip(_OF_RESOLVE, shown, strict=True))))
    assert not is_valid("invocation", an_invocation_json(yours={"hooks": []}))


def test_no_key_of_an_invocation_may_lack_or_be_of_another_kind() -> None:
    whole = an_invocation_json()
    for key in whole:
        assert not is_valid("invocation", {k: v for k, v in whole.items() if k != key}), key
        assert not is_valid("invocation", whole | {key: 0.5 if whole[key] is False else True}), key


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"schema_version": 2},
        {"argv": []},
        {"argv": "codex exec"},
        {"verify": [[]]},
        {"verify": ["true"]},
        {"env_names": ["HOME", "HOME"]},
        {"env_names": {"HOME": "/root"}},
        {"program": "codex"},
        {"cwd": "."},
        {"sandbox": {"name": "x", "level": "read-only"}},
        {"limits": {"timeout_s": -1, "idle_timeout_s": None, "start_timeout_s": None, "grace_s": 1}},
        {"rehearsal": {"script": None, "port": 70000, "argv": ["x"]}},
        {"prompt_digest": None},
    ],
    ids=str,
)
def test_a_broken_invocation_is_refused(change: dict[str, Any]) -> None:
    assert not is_valid("invocation", an_invocation_json(**change))


EVENTS: dict[str, dict[str, Any]] = {
    "created": {"task_id": "a", "run_id": RUN.run_id},
    "started": {"process": an_identity().to_json(), "attempt": 1},
    "adopted": {"former": None},
    "paused": {},
    "pause_failed": {"still_running": ["node (7)"]},
    "resumed": {"still_stopped": []},
    "cancel_requested": {"reason": ""},
    "limit": {"code": "timeout", "message": "ran longer"},
    "turn_ended": {"turn": 1, "attempt": 1, "status": "completed"},
    "kept_open": {"uptime": 77.5},
    "continued": {"turn": 2, "attempt": 2, "messages": ["m-0001"], "waited_s": 1.5},
    "interrupted": {"attempt": 2, "message": "m-0002"},
    "closed": {"message": "its time was over", "waited_s": 1800.0},
    "undelivered": {"messages": ["m-0003"]},
    "signalled": {"signal": "SIGTERM"},
    "suspended": {"seconds": 28800.5, "paused": True},
    "refused": {"attempt": 1, "message": "a hook forbids it"},
    "swept": {"processes": ["sh (8)"]},
    "exited": {"exit_code": 0, "signal": None},
    "baseline": {"argv": ["true"], "exit_code": 0, "timed_out": False, "duration_s": 0.1},
    "prepared": {"argv": ["true"], "exit_code": None, "timed_out": True, "duration_s": 0.1},
    "checked": {"argv": ["true"], "exit_code": -9, "timed_out": False, "duration_s": 0.1, "tail": ""},
    "ended": {"outcome": "failed", "reason": Reason("x", "y").to_json(), "lines_unread": 0},
    "sealed": {"redactions": 2},
    "seal_incomplete": {"redactions": 0, "missing": ["MY_TOKEN"]},
    "seal_failed": {"file": "stdout.jsonl", "message": "No space left on device"},
    "rebuilt": {"aside": "manifest.json.broken-1", "message": "not a manifest"},
    "rewritten": {"aside": "manifest.json.broken-1", "message": "not a manifest"},
    "child": {"task_id": "a", "run_id": RUN.run_id},
    "child_unreachable": {"run_id": RUN.run_id, "message": "it is gone"},
    "parent_unreachable": {"run_id": RUN.run_id, "message": "it is gone"},
    "question": {"id": "q-0001", "status": "open", "prompt": "May I?"},
    "accepted": {"files": 2},
    "discarded": {},
    "warning": {"code": "tokens", "message": "it spent 8 tokens", "used": 8, "limit": 10},
    "checks_from_base": {"paths": ["ci/test.sh"]},
    "git_before_checks": {"digest": "0" * 64},
    "git_after_checks": {"findings": [{"code": "x", "severity": "warning", "message": "y", "evidence": []}]},
    "tree_unknown": {"message": "git failed"},
    "rolled_back": {
        "restored": 2,
        "removed": 1,
        "kept": ["a.txt.1"],
        "left": ["b.txt: Permission denied"],
        "unequal": ["modified: b.txt"],
        "refused": "HEAD moved",
    },
    "git_put_back": {"put": ["HEAD"], "left": ["index: it was changed again"], "kept": ["refs/runner/x"]},
    "backing_off": {"seconds": 30.0, "code": "cli_failure", "attempt": 2},
    "retried": {"attempt": 2, "how": "fresh", "code": "verify_failed", "waited_s": 0.0},
    "not_retried": {"message": "another run may now write in the work tree"},
    "escalated": {"attempts": 3, "code": "verify_failed"},
}
MAY_LACK = {
    "ended": {"lines_unread"},
    "suspended": {"paused"},
    "warning": {"used", "limit"},
    "rolled_back": {"kept", "left", "unequal", "refused"},
}


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_that_was_written_is_valid_and_needs_all_its_fields(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / "events.jsonl")
    EventLog(path).append(kind, **EVENTS[kind])
    (event,) = read_events(path)
    assert_valid("event", event)
    for key in event:
        if key not in MAY_LACK.get(kind, ()):
            assert not is_valid("event", {k: v for k, v in event.items() if k != key}), key


def test_the_start_of_a_further_attempt_says_how_it_began() -> None:
    event = {
        "schema_version": 1,
        "seq": 9,
        "at": SAMPLE["ended_at"],
        "type": "started",
        "actor": "supervisor",
    }
    again = event | {"process": an_identity().to_json(), "attempt": 2, "how": "closing"}
    assert_valid("event", again)
    assert not is_valid("event", again | {"how": "first"})


def test_an_event_of_an_unknown_type_is_valid_by_its_envelope_alone() -> None:
    event = {"schema_version": 1, "seq": 9, "at": SAMPLE["ended_at"], "type": "later_word", "actor": "user"}
    assert is_valid("event", event | {"anything": 1})
    for change in ({"seq": 0}, {"at": "now"}, {"type": "Bad Word"}, {"actor": ""}, {"schema_version": 2}):
        assert not is_valid("event", event | change)


def appended_types() -> Iterator[str]:
    """The first argument of every call that writes an event, in the whole product."""
    for path in (ROOT / "runner").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            owner = ast.unparse(node.func.value)
            if node.func.attr in ("append", "note", "_log_event") and owner.endswith("log"):
                kind = node.args[0]
                if isinstance(kind, ast.Constant):
                    yield str(kind.value)
                elif isinstance(kind, ast.Attribute) and ast.unparse(kind.value) == "Event":
                    yield str(getattr(Event, kind.attr))


def test_every_event_that_the_product_writes_is_described() -> None:
    known = {branch["if"]["properties"]["type"]["const"] for branch in schema("event")["allOf"]}
    assert known == set(EVENTS)
    written = set(appended_types())
    assert written - known == set()
    assert known - written == set()


def test_the_closed_sets_of_the_schemas_are_those_of_the_code() -> None:
    properties = schema("manifest")["properties"]
    assert properties["phase"]["enum"] == list(Phase)
    assert properties["outcome"]["enum"] == [*Outcome, None]
    batch = properties["plan"]["properties"]["batches"]["items"]["properties"]
    assert {*batch["status"]["enum"]} == {*Status, "blocked", "interrupted", "asked"}
    assert batch["kind"]["enum"] == list(StepKind)
    assert set(properties["status"]["enum"]) == {*Phase, *Outcome, FOREIGN} - {"done"}
    assert properties["foreign"]["properties"]["why"]["enum"] == list(Why)
    assert schema("invocation")["$defs"]["level"]["enum"] == list(Level)
    assert list(properties) == [*a_manifest().to_json(), "foreign", "ledger"]
    assert set(schema("invocation")["properties"]) - {"mac", *_OF_RESOLVE} == set(an_invocation().to_json())


def test_an_editor_reads_the_schema_and_finds_a_mistake(tmp_path: Path) -> None:
    """taplo is what "Even Better TOML" checks with. It has no `\\0` in its expressions."""

    def checked() -> subprocess.CompletedProcess[str]:
        argv = [str(Path(sys.executable).with_name("taplo")), "check", str(settings)]
        env = {"HOME": str(tmp_path), "NO_COLOR": "1"}
        return subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)

    for name, example in (("delegate", ROOT / "delegate.toml.example"), ("plan", None)):
        text = example.read_text() if example else 'schema_version = 1\n[[units]]\nid = "U1"\ngoal = "g"\n'
        settings = tmp_path / f"{name}.toml"
        settings.write_text(f"#:schema {ROOT}/schemas/{name}.schema.json\n{text}")
        done = checked()
        assert done.returncode == 0, done.stderr
        settings.write_text(
            settings.read_text().replace("prompt =", "promt =", 1).replace("goal =", "gaol =", 1)
        )
        assert "was unexpected" in checked().stderr
