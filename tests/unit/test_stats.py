"""What finished runs came to and cost: known sums of known runs, and no guess about the rest."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from support.ended import an_ended_run

from runner.cli.app import main
from runner.conformance import Agreement, Conformance, Conformity
from runner.model import Outcome, Price, Usage
from runner.usecases import look
from runner.usecases.stats import By, Totals, stats

PRICE = Price(2.0, 0.5, 10.0)
TIMES = {"started_at": "2026-11-20T10:15:00.000Z", "created_at": "2026-11-20T10:14:59.000Z"}


def a_run(root: Path, seconds: int = 60, **changes: Any) -> None:
    of_run = {name: changes.pop(name) for name in ("task", "outcome", "code") if name in changes}
    run = an_ended_run(root, **of_run)
    end = f"2026-11-20T10:{15 + seconds // 60}:{seconds % 60:02d}.000Z"
    known = {**TIMES, "ended_at": end, "usage": Usage(1_000_000, 400_000, 100_000, 0), "model": None}
    run.write_manifest(run.read_manifest().replace(**{**known, **changes}))


def alone(root: Path, **options: Any) -> Totals:
    return stats(str(root), **{"by": By.TASK, **options}).total


def test_the_cached_part_of_the_input_is_paid_once_and_at_its_own_price() -> None:
    assert PRICE.total(Usage(1_000_000, 400_000, 100_000, 0)) == pytest.approx(1.2 + 0.2 + 1.0)
    assert PRICE.total(Usage(0, 0, 0, 0)) == 0.0
    assert PRICE.total(Usage(1_000_000, None, 100_000)) is None and PRICE.total(Usage()) is None


def test_groups_have_their_sums_and_all_of_them_together(tmp_path: Path) -> None:
    for seconds in (60, 120, 180):
        a_run(tmp_path, seconds, price=PRICE)
    a_run(tmp_path, 240, task="other", outcome=Outcome.REJECTED, code="verify_failed", price=PRICE)
    found = stats(str(tmp_path), by=By.TASK)
    other, work = found.groups
    assert (work.key, work.runs, work.succeeded, work.input_tokens) == ("work", 3, 3, 3_000_000)
    assert (work.p50_s, work.p95_s, work.cost) == (120.0, 180.0, pytest.approx(7.2))
    assert (other.key, other.runs, other.succeeded) == ("other", 1, 0)
    assert (found.total.runs, found.total.succeeded, found.total.output_tokens) == (4, 3, 400_000)


def test_what_is_not_known_is_counted_and_not_guessed(tmp_path: Path) -> None:
    drift = Conformance(model=Conformity("a", "b", Agreement.DRIFT))
    a_run(tmp_path, price=PRICE)
    a_run(tmp_path, price=None)
    a_run(tmp_path, price=PRICE, usage=Usage())
    a_run(tmp_path, price=PRICE, conformance=drift)
    a_run(tmp_path, price=None, usage=Usage(), started_at=None, outcome=Outcome.FAILED, code="start_failed")
    total = alone(tmp_path)
    assert (total.runs, total.tokens_unknown, total.cost_unknown) == (5, 1, 3)
    assert (total.input_tokens, total.cost) == (3_000_000, pytest.approx(2.4))
    assert alone(tmp_path / "nothing").cost is None


def test_rehearsals_and_plans_are_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    a_run(tmp_path)
    a_run(tmp_path, rehearsal=True)
    a_run(tmp_path, plan={"batches": [], "breaker": {"open": False}})
    a_run(tmp_path, usage=Usage())
    assert main(["stats"]) == 0
    out, err = capsys.readouterr()
    head, row = out.splitlines()
    assert head.split() == ["TASK", "RUNS", "SUCCEEDED", "INPUT", "CACHED", "OUTPUT", "PRICE", "P50", "P95"]
    assert row.split() == ["work", "2", "2", "(100%)", "1.0M", "400k", "100k", "1m00s", "1m00s"]
    assert err.splitlines() == [
        "(the tokens of 1 run are not known)",
        "(not counted: 1 rehearsal, 1 run of a plan)",
    ]


def test_a_record_that_names_another_run_does_not_count_that_one_twice(tmp_path: Path) -> None:
    a_run(tmp_path, price=PRICE)
    (mine,) = look.runs(str(tmp_path), task=None, everything=True)
    other = an_ended_run(tmp_path, task="other")
    data = json.loads(Path(other.manifest).read_text())
    Path(other.manifest).write_text(json.dumps({**data, "task_id": mine.task_id, "run_id": mine.run_id}))
    Path(other.invocation).write_text("{}")
    for _ in ("as it is read", "as it is remembered"):
        rows = look.runs(str(tmp_path), task=None, everything=True)
        assert {row.run_id: row.status for row in rows} == {mine.run_id: "succeeded", other.run_id: "foreign"}
        assert alone(tmp_path).runs == 1 and alone(tmp_path).cost == pytest.approx(2.4)


@pytest.mark.parametrize("how", ["unsigned", "of another place", "nothing"])
def test_what_was_not_recorded_here_is_not_counted_as_spent(how: str, tmp_path: Path) -> None:
    a_run(tmp_path, price=PRICE)
    forged = an_ended_run(tmp_path, run_id="20260101T101504438Z-00000000", usage=Usage(10**12, 0, 1, 0))
    data = json.loads(Path(forged.invocation).read_text())
    if how == "unsigned":
        Path(forged.invocation).write_text(json.dumps({key: data[key] for key in data if key != "mac"}))
    elif how == "nothing":
        Path(forged.invocation).unlink()
    else:
        Path(forged.invocation).write_text(json.dumps({**data, "mac": "0" * 64}))
    for _ in ("as it is read", "as it is remembered"):
        found = stats(str(tmp_path), by=By.TASK)
        assert (found.foreign, found.total.runs, found.total.input_tokens) == (1, 1, 1_000_000)


def test_a_day_a_model_and_a_task_choose_the_rows(tmp_path: Path) -> None:
    a_run(tmp_path, model="m-1")
    a_run(tmp_path, task="other", created_at="2026-11-21T00:00:00.000Z")
    assert [group.key for group in stats(str(tmp_path), by=By.DAY).groups] == ["2026-11-20", "2026-11-21"]
    assert [group.key for group in stats(str(tmp_path), by=By.MODEL).groups] == [None, "m-1"]
    assert alone(tmp_path, task="other").runs == 1
    assert alone(tmp_path, since=1_795_176_000.0).runs == 1, "2026-11-20T12:00:00Z"


def test_csv_and_json_have_the_same_numbers_and_no_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    a_run(tmp_path, model='=cmd|"a",b', price=PRICE)
    assert main(["stats", "--by", "model", "--format", "csv"]) == 0
    head, row = csv.reader(io.StringIO(capsys.readouterr().out))
    assert main(["stats", "--by", "model", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["by"] == "model" and data["groups"] == [data["total"] | {"key": '=cmd|"a",b'}]
    assert head == ["model", *list(data["total"])[1:]]
    assert row == ['\'=cmd|"a",b', *map(str, list(data["groups"][0].values())[1:])]


@pytest.mark.parametrize(
    "model", ["=1", "-1", "\t=1", " +1", "\n@x", '"=1', "\uff1d1", "a;=1", "a\t=1", "a,=1", "plain"]
)
def test_no_cell_of_a_csv_begins_a_formula_whatever_parts_the_cells(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    a_run(tmp_path, model=model)
    assert main(["stats", "--by", "model", "--format", "csv"]) == 0
    text = capsys.readouterr().out
    for delimiter in ",;\t":
        for row in csv.reader(io.StringIO(text), delimiter=delimiter):
            assert not [cell for cell in row if cell.strip()[:1] in tuple("=+-@\uff1d")], row
    assert text.splitlines()[-1].startswith('"plain",1,') or model != "plain"


@pytest.mark.parametrize("words", [["--by", "week"], ["--since", "5"], ["--format", "xml"]])
def test_a_wrong_use_says_so(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", *words]) == 2
    assert capsys.readouterr().out == ""


def test_a_list_of_nothing_is_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["stats"]) == 0
    assert capsys.readouterr().out == "no finished runs\n"
