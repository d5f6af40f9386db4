"""The economics measured in a repository: which runs count, and what `runner plan --calibrate` says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.ended import an_ended_run
from support.plans import toml

from runner.cli import app
from runner.conduct import calibration
from runner.conduct.calibration import Measured
from runner.model import Economics, Lineage, Outcome, Usage
from runner.plan.calibrate import Sample
from runner.state.authentic import write_record
from runner.state.plan_ledger import Breaker, PlanLedger, Status, Step
from runner.state.store import RunDir, manifest_path_of, new_run_id

START, END = "2026-11-20T10:00:00.000Z", "2026-11-20T10:05:00.000Z"


def a_batch(root: Path, tokens: int, *, rehearsal: bool = False, **changes: Any) -> Lineage:
    """The run of a batch, which took five minutes and was stopped for one of them."""
    usage = Usage(input_tokens=tokens + 995, cached_input_tokens=1000, output_tokens=5)
    fields = {"usage": usage, "started_at": START, "ended_at": END, "paused_seconds": 60.0} | changes
    run = an_ended_run(root, **fields)
    run.write_manifest(run.read_manifest().replace(rehearsal=rehearsal))
    return Lineage(run.task_id, run.run_id, manifest_path_of(run.task_id, run.run_id))


def a_step(n: int, units: int, run: Lineage | None, status: Status = Status.SUCCEEDED) -> Step:
    return Step(n, tuple(f"U{n}.{k}" for k in range(units)), status=status, run=run)


def a_plan_run(root: Path, *steps: Step) -> RunDir:
    run = an_ended_run(root)
    write_record(run.ledger, PlanLedger("plan.toml", None, steps, Breaker(3)).to_json())
    return run


def three_batches(root: Path) -> None:
    batches = [(1, 6_000), (2, 7_000), (4, 9_000)]
    steps = [a_step(n, size, a_batch(root, used)) for n, (size, used) in enumerate(batches, 1)]
    a_plan_run(root, *steps)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository to stand in, with a home of its own."""
    root = tmp_path / "repo"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return root


# -- which runs count ----------------------------------------------------------------------------------


def test_a_batch_counts_with_its_units_its_tokens_without_the_cache_and_its_time(here: Path) -> None:
    a_plan_run(here, a_step(1, 3, a_batch(here, 5_000)))

    assert calibration.measured(str(here)) == Measured((Sample(3, 5_000, 240.0),), {})


def test_a_repository_without_plans_has_nothing_to_measure(here: Path) -> None:
    assert calibration.measured(str(here)) == Measured((), {})
    a_batch(here, 5)  # a run of no plan
    assert calibration.measured(str(here)) == Measured((), {})


def test_a_batch_whose_records_were_not_made_here_measures_nothing(here: Path) -> None:
    batch = a_batch(here, 5_000)
    a_plan_run(here, a_step(1, 3, batch))
    path = Path(RunDir(str(here), batch.task_id, batch.run_id).invocation)
    path.write_text(json.dumps({**json.loads(path.read_text()), "mac": "0" * 64}))
    assert calibration.measured(str(here)) == Measured((), {"foreign": 1})


def test_a_batch_that_did_not_succeed_or_was_said_to_be_done_does_not_count(here: Path) -> None:
    others = [status for status in Status if status is not Status.SUCCEEDED]
    a_plan_run(here, *(a_step(n, 1, a_batch(here, 5), status) for n, status in enumerate(others, 1)))

    assert calibration.measured(str(here)) == Measured((), {})


def test_a_batch_that_a_resumed_plan_names_again_counts_once(here: Path) -> None:
    step = a_step(1, 2, a_batch(here, 5))
    a_plan_run(here, step)
    a_plan_run(here, step, a_step(2, 1, a_batch(here, 7)))

    found = calibration.measured(str(here))

    assert sorted((sample.units, sample.tokens) for sample in found.samples) == [(1, 7), (2, 5)]


def test_what_does_not_count_is_told_with_the_reason(here: Path) -> None:
    gone = new_run_id()
    broken = a_batch(here, 5)
    (here / broken.manifest_path).write_text("{", encoding="utf-8")
    runs = [
        a_batch(here, 5, rehearsal=True),
        a_batch(here, 5, rehearsal=True),
        a_batch(here, 5, usage=Usage()),
        a_batch(here, 5, usage=Usage(10, 11, 5)),
        a_batch(here, 5, usage=Usage(10, None, 5)),
        a_batch(here, 5, outcome=Outcome.REJECTED),
        broken,
        Lineage("work", gone, manifest_path_of("work", gone)),
        Lineage("work", new_run_id(), "/etc/manifest.json"),
    ]
    a_plan_run(here, *(a_step(n, 1, run) for n, run in enumerate(runs, 1)))

    assert calibration.measured(str(here)) == Measured(
        (), {"gone": 2, "not_succeeded": 1, "rehearsal": 2, "unreadable": 1, "without_tokens": 3}
    )


@pytest.mark.parametrize("change", [{"started_at": None}, {"ended_at": None}, {"paused_seconds": 301.0}])
def test_a_time_that_is_not_known_does_not_take_the_tokens_away(here: Path, change: dict[str, Any]) -> None:
    a_plan_run(here, a_step(1, 1, a_batch(here, 5, **change)))

    assert calibration.measured(str(here)).samples == (Sample(1, 5, None),)


@pytest.mark.parametrize("text", ["", "[]", '{"steps": 1}', "[" * 100_000, "\0"])
def test_a_ledger_that_is_none_says_nothing(here: Path, text: str) -> None:
    run = an_ended_run(here)
    Path(run.ledger).write_text(text, encoding="utf-8")

    assert calibration.measured(str(here)) == Measured((), {})


def test_a_ledger_of_which_nobody_knows_who_wrote_it_says_nothing(here: Path) -> None:
    plan = a_plan_run(here, a_step(1, 1, a_batch(here, 5)))
    Path(plan.ledger).write_text(Path(plan.ledger).read_text().replace("plan.toml", "other.toml"))

    assert calibration.measured(str(here)) == Measured((), {})


def test_a_ledger_is_not_read_through_a_link(here: Path, tmp_path: Path) -> None:
    plan = a_plan_run(here, a_step(1, 1, a_batch(here, 5)))
    os.rename(plan.ledger, tmp_path / "ledger.json")
    os.symlink(tmp_path / "ledger.json", plan.ledger)

    assert calibration.measured(str(here)) == Measured((), {})


# -- the command ---------------------------------------------------------------------------------------


def test_the_command_shows_what_was_measured_and_the_lines_to_paste(here: Path, capsys) -> None:
    three_batches(here)

    assert app.main(["plan", "--calibrate"]) == 0
    shown = capsys.readouterr().out

    assert "3 batches of 1 to 4 units" in shown
    assert "kept: manifests count the tokens of the agent" in shown
    assert shown.endswith("[economics]\nfixed = 15300\nbatch = 5000\nunit = 1000\n")


def test_the_command_gives_one_document(here: Path, capsys) -> None:
    three_batches(here)
    a_plan_run(here, a_step(1, 1, a_batch(here, 5, rehearsal=True)))

    assert app.main(["plan", "--calibrate", "--format", "json", "--economics", "1,2,3"]) == 0

    assert json.loads(capsys.readouterr().out) == {
        "economics": {"fixed": 1, "batch": 5000, "unit": 1000},
        "before": {"fixed": 1, "batch": 2, "unit": 3},
        "kept": ["fixed"],
        "runs": 3,
        "sizes": [1, 4],
        "residual_tokens": 0,
        "seconds": {"batch": 240, "unit": 0, "residual": 0},
        "left_out": {"rehearsal": 1},
        "warnings": [],
    }


def test_a_plan_is_decided_with_what_was_measured(here: Path, capsys) -> None:
    three_batches(here)
    plan = here / "plan.toml"
    plan.write_text(toml(*(f'id = "U{n}"\ngoal = "g"' for n in range(10))), encoding="utf-8")

    assert app.main(["plan", str(plan), "--calibrate", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["verdict"]["net_tokens"] == Economics().fixed + 2 * 5_000 - 10 * 1_000
    assert shown["calibration"]["runs"] == 3
    assert app.main(["plan", str(plan), "--calibrate"]) == 0
    out = capsys.readouterr().out
    assert out.index("[economics]") < out.index("wave 1")


def test_too_few_runs_end_with_status_9_and_what_was_left_out(here: Path, capsys) -> None:
    a_plan_run(here, a_step(1, 1, a_batch(here, 5)), a_step(2, 2, a_batch(here, 5, rehearsal=True)))

    assert app.main(["plan", "--calibrate", "--format", "json"]) == 9
    error = json.loads(capsys.readouterr().out)["error"]

    assert error["code"] == "conflict"
    assert "runs of batches: 1, and" in error["message"] and "(left out: 1 rehearsal)" in error["message"]


def test_nothing_on_disk_is_changed(here: Path, capsys) -> None:
    three_batches(here)

    def files() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in here.parent.rglob("*")
        }

    before = files()
    assert app.main(["plan", "--calibrate"]) == 0
    assert files() == before


def test_without_a_plan_there_is_nothing_to_say(here: Path, capsys) -> None:
    assert app.main(["plan"]) == 2
    assert "no plan named" in capsys.readouterr().err
