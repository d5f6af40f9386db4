"""What the conductor is given: written once, read again as it was, and a named refusal where it is broken."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.plans import toml

from runner.conduct.plan_record import Assignment, Options, Part, file_of, keep, load, parts_of, write
from runner.errors import Conflict
from runner.model import Lineage, Reason
from runner.plan.batch import decide
from runner.plan.load import read
from runner.plan.units import EFFORTS, Rules
from runner.redact.redactor import Redactor
from runner.state.authentic import write_record
from runner.state.plan_ledger import Breaker, PlanLedger, Step
from runner.state.store import RunDir

MARKDOWN = """# Shop

### U1. The table
**Goal:** Orders have a table.
**Files:**
- Create: `db/1.sql`
**Verification:**
- `true`

### U2. The list
**Goal:** Orders can be listed,
in any language: größer, 注文.
**Dependencies:** U1
**Files:**
- Modify: `src/list.py`
"""
PLANS = {
    "plan.toml": 'title = "Shop"\n'
    + toml(
        'id = "U1"\ngoal = "Orders have a table."\nfiles = { create = ["db/1.sql"] }\nverify = [["true"]]',
        'id = "U2"\ngoal = "größer \\u0007"\ndepends_on = ["U1"]\neffort = "xhigh"\nfiles = ["a.py"]',
    ),
    "docs/PLAN.MD": MARKDOWN,
    "/elsewhere/plan.markdown": MARKDOWN,
}
OPTIONS = Options("deep", "build", "/map.md", True, "/scripts", True, "/my.toml", ("a.b=1", "c=[2]"))
RUN = "20261120T101504438Z-50151d5c"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = RunDir(str(tmp_path), "work", RUN)
    os.makedirs(made.path)
    return made


def given_for(name: str, **changes: Any) -> tuple[Assignment, PlanLedger]:
    """A plan with a batch for each unit."""
    text = PLANS[name]
    plan = read(text, name)
    decision = decide(plan, Rules(soft_cap=1, forced=True))
    steps = tuple(Step(batch.n, batch.units, batch.after) for batch in decision.batches)
    made = Assignment(name, text, parts_of(plan, decision), Options(), None, (), plan).replace(**changes)
    return made, PlanLedger(name, plan.title, steps, Breaker(3))


def parts(run: RunDir) -> tuple[dict[str, Any], dict[str, Any]]:
    """What lies there: the plan and the ledger."""
    plan, ledger = (json.loads(Path(path).read_bytes()) for path in (run.plan, run.ledger))
    del plan["mac"], ledger["mac"]
    return plan, ledger


def put(path: str, value: object) -> None:
    if isinstance(value, dict):
        write_record(path, value)
    else:
        Path(path).write_text(json.dumps(value), encoding="utf-8")


# -- there and back ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("options", [Options(), OPTIONS], ids=["nothing asked", "everything asked"])
def test_what_was_written_is_read_as_it_was(run: RunDir, name: str, options: Options) -> None:
    check = {"name": "codex.binary", "verdict": "ok", "message": "there", "repair": None}
    made, ledger = given_for(name, options=options, on_failure="rollback", checks=(check,))
    write(run, made, ledger)
    assert load(run) == (made, ledger)
    assert file_of(run) == name
    assert [unit.id for n in (1, 2) for unit in made.units(n)] == ["U1", "U2"]


@pytest.mark.parametrize("on_failure", [None, "keep", "rollback"])
@pytest.mark.parametrize("effort", [None, *EFFORTS])
def test_every_effort_and_fate_comes_back(run: RunDir, on_failure: str | None, effort: str | None) -> None:
    made, ledger = given_for("plan.toml", on_failure=on_failure)
    made = made.replace(parts=tuple(part.replace(effort=effort) for part in made.parts))
    write(run, made, ledger)
    assert load(run) == (made, ledger)


def test_a_name_that_is_no_text_comes_back(run: RunDir) -> None:
    made, ledger = given_for("plan.toml")
    made = made.replace(name="/half \udcff/plan.toml")
    write(run, made, ledger.replace(file=made.name))
    assert load(run) == (made, ledger.replace(file=made.name)) and file_of(run) == made.name


def test_the_ledger_alone_is_kept_anew(run: RunDir) -> None:
    made, ledger = given_for("plan.toml")
    write(run, made, ledger)
    before = Path(run.plan).read_bytes()
    later = ledger.began(1, Lineage("work", RUN, "m")).failed(1, Reason("partial", "a part"), kept=("a.py",))
    keep(run, later)
    assert load(run) == (made, later) and Path(run.plan).read_bytes() == before
    assert sorted(os.listdir(run.path)) == ["ledger.json", "plan.json"]


def test_no_reason_and_no_title_is_kept_before_secrets_are_out_of_it(run: RunDir) -> None:
    _, ledger = given_for("plan.toml")
    why = Reason("plan_invalid", "no model hunter2-zebra")
    ledger = ledger.replace(title="Of hunter2-zebra").failed(1, why).stops(why)
    hides = Redactor(["hunter2-zebra"])
    kept = keep(run, ledger, hides.redact_text)
    text = Path(run.ledger).read_text()
    assert "hunter2" not in text and text.count("no model") == 2 and run.read_ledger() == kept
    assert keep(run, kept, hides.redact_text) == kept


def test_only_its_owner_may_read_what_is_written(run: RunDir) -> None:
    write(run, *given_for("plan.toml"))
    assert {os.stat(path).st_mode & 0o777 for path in (run.plan, run.ledger)} == {0o600}


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine", encoding="utf-8")
    for path in (run.plan, run.ledger):
        os.symlink(tmp_path / "other", path)
    made, ledger = given_for("plan.toml")
    write(run, made, ledger)
    assert load(run) == (made, ledger) and (tmp_path / "other").read_text(encoding="utf-8") == "mine"


def test_a_part_has_the_places_of_its_units_and_the_files_that_they_write() -> None:
    made, _ = given_for("plan.toml")
    assert made.parts == (Part((0,), "medium", ("db/1.sql",)), Part((1,), "xhigh", ("a.py",)))


# -- broken --------------------------------------------------------------------------------------------


def refused(run: RunDir) -> str:
    with pytest.raises(Conflict) as conflict:
        load(run)
    assert RUN in conflict.value.message and "--plan" in (conflict.value.hint or "")
    return conflict.value.message


def test_a_part_of_before_a_unit_could_name_a_model_has_none() -> None:
    assert Part.from_json({"units": [0], "effort": None, "files": []}).model is None


def test_a_run_of_no_plan_has_no_assignment(run: RunDir) -> None:
    refused(run)
    assert file_of(run) is None


@pytest.mark.parametrize("name", ["plan", "ledger"])
@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"7", b'"x"', b"{}", b"\xff\xfe\x00", b'{"name": "pl', b"[" * 100_000, b"9" * 5000],
    ids=["empty", "null", "list", "number", "text", "nothing", "binary", "cut", "deep", "huge"],
)
def test_a_file_that_is_none_of_ours_is_a_conflict(run: RunDir, name: str, data: bytes) -> None:
    write(run, *given_for("plan.toml"))
    Path(getattr(run, name)).write_bytes(data)
    refused(run)
    assert file_of(run) == "plan.toml"  # the other one says it too
    Path(run.plan).write_bytes(data)
    Path(run.ledger).write_bytes(data)
    assert file_of(run) is None


@pytest.mark.parametrize("name", ["plan", "ledger"])
def test_a_pipe_a_folder_or_a_link_in_the_place_of_a_file_is_a_conflict(
    run: RunDir, name: str, tmp_path: Path
) -> None:
    write(run, *given_for("plan.toml"))
    path = getattr(run, name)
    os.rename(path, tmp_path / "moved")
    os.mkfifo(path)
    refused(run)
    os.unlink(path)
    os.symlink(tmp_path / "moved", path)
    refused(run)
    os.unlink(path)
    os.mkdir(path)
    refused(run)
    os.rmdir(path)
    os.rename(tmp_path / "moved", path)
    load(run)


@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"name": 7},
        {"text": 7},
        {"text": None},
        {"text": "units = ["},
        {"text": "schema_version = 1\n"},
        {"text": toml('id = "U1"\ngoal = "another"')},
        {"name": "plan.md"},
        {"parts": []},
        {"parts": None},
        {"parts": [{"units": [0], "effort": None, "files": []}]},
        {"parts": [{"units": [at], "effort": None, "files": []} for at in (1, 0)]},
        {"parts": [{"units": [at], "effort": None, "files": []} for at in (0, 99)]},
        {"parts": [{"units": [at], "effort": None, "files": []} for at in (0, -1)]},
        {"parts": [{"units": [at], "effort": None, "files": []} for at in (False, True)]},
        {"parts": [{"units": [at], "effort": None, "files": []} for at in (0.0, float("inf"))]},
        {"parts": [{"units": [at], "effort": None, "files": []} for at in ("0", "1")]},
        {"parts": [{"units": [at], "effort": "heroic", "files": []} for at in (0, 1)]},
        {"parts": [{"units": [at], "effort": [], "files": []} for at in (0, 1)]},
        {"parts": [{"units": [at], "effort": None, "files": [7]} for at in (0, 1)]},
        {"parts": [{"units": [at], "effort": None, "files": "a.py"} for at in (0, 1)]},
        {"options": None},
        {"options": []},
        {"options": {"sets": "a=1"}},
        {"options": {"sets": [1]}},
        {"options": {"surprise": 1}},
        {"options": {"model": 7}},
        {"options": {"rehearse": "no"}},
        {"options": {"allow_danger": None}},
        {"on_failure": "shrug"},
        {"on_failure": {}},
        {"checks": ["ok"]},
        {"checks": {}},
    ],
    ids=lambda change: str(change)[:70],
)
def test_an_assignment_that_says_something_impossible_is_a_conflict(
    run: RunDir, change: dict[str, Any]
) -> None:
    write(run, *given_for("plan.toml"))
    put(run.plan, {**parts(run)[0], **change})
    refused(run)


def test_an_assignment_and_the_ledger_of_another_plan_are_a_conflict(run: RunDir) -> None:
    made, ledger = given_for("plan.toml")
    for steps in (ledger.steps[:1], (*ledger.steps, Step(3, ("U3",))), (Step(1, ("U2",)), Step(2, ("U1",)))):
        write(run, made, ledger.replace(steps=steps))
        assert "belongs to another plan" in refused(run)


@pytest.mark.parametrize("key", sorted(given_for("plan.toml")[0].to_json().keys() - {"schema_version"}))
def test_no_part_of_an_assignment_may_lack(run: RunDir, key: str) -> None:
    write(run, *given_for("plan.toml"))
    put(run.plan, {name: value for name, value in parts(run)[0].items() if name != key})
    refused(run)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("name", "text", "parts", "options", "on_failure", "checks")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    JSON | st.dictionaries(st.sampled_from(KEYS), JSON, min_size=1, max_size=2),
    st.booleans(),
    st.integers(0, 1),
)
def test_whatever_lies_there_is_an_assignment_that_can_be_used_or_a_conflict(
    run: RunDir, value: Any, is_inside: bool, at: int
) -> None:
    write(run, *given_for("plan.toml"))
    plan, ledger = parts(run)
    if isinstance(value, dict) and is_inside and at:
        plan["parts"][1] = {**plan["parts"][1], **value}
    put(run.plan, {**plan, **value} if isinstance(value, dict) else value)
    try:
        made, found = load(run)
    except Conflict:
        return
    assert json.dumps(found.to_json()) == json.dumps(ledger)
    assert [tuple(unit.id for unit in made.units(step.n)) for step in found.steps] == [("U1",), ("U2",)]
    assert json.loads(json.dumps(made.to_json()))["text"] == PLANS["plan.toml"]
