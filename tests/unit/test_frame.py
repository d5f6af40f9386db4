"""What `watch` shows: as wide as the terminal, nothing foreign moves it, the chosen run is always seen."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile import HOSTILE, harm

from runner.cli.frame import KEYS, NOTHING, frame, ordered
from runner.cli.pen import cleaned
from runner.state.index import RunRow
from runner.state.store import RunDir
from runner.text.cells import cells
from runner.usecases.alive import Living

NOW = 1_800_000_000.0
PLAN = "20261120T101504438Z-50151d5c"


def a_run(tail: str = "aaaa0000", **changes: object) -> Living:
    """What is no field of the run is one of its row."""
    own = {name: changes.pop(name) for name in tuple(changes) if name in Living._fields}
    row = RunRow(f"20261120T101505000Z-{tail}", "hello", "running", None, "codex", None, None, None)
    row = row.replace(**changes)
    return Living(RunDir("/repo", row.task_id, row.run_id), row, began=NOW - 72.4, **own)


def screen(*runs: Living, width: int = 100, height: int = 24, chosen: int = 0, **more: str) -> list[str]:
    names = {one.row.run_id: one.row.run_id[20:24] for one in runs}
    return [
        cleaned(line) for line in frame(ordered(runs), names, (width, height), NOW, chosen, **more) if line
    ]


RUNS = (
    a_run("cccc0000", task_id="review", status="succeeded", duration_s=3.04, is_over=True, tokens=980),
    a_run("bbbb0000", task_id="work", parent=PLAN, title="batch 2 of 3: U3, U4", message="ran pytest -q",
          tokens=61_800, limit=80_000, wrote=NOW - 3),
    a_run(run_id=PLAN, task_id="work", title="plan: Shop", plan=True, usual_s=20.0,
          batches=3, batches_done=1),
    a_run("aaaa0000", questions_open=2, message="asks", usual_s=300.0, wrote=NOW - 240),
)  # fmt: skip


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (20, [
            "  RUN     STATUS",
            "> cccc    succeeded",
            "  5015    running",
            "    bbbb  running",
            "  aaaa    running",
        ]),
        (60, [
            "  RUN     TASK     STATUS       TIME  LAST",
            "> cccc    review   succeeded    3.0s",
            "  5015    work     running     1m12s        1 of 3 batches",
            "    bbbb  batch 2  running     1m12s    3s  ran pytest -q",
            "  aaaa    hello    running     1m12s    4m  2 questions; ...",
        ]),
        (80, [
            "  RUN     TASK     STATUS       TIME   USUAL   TOKENS  LAST",
            "> cccc    review   succeeded    3.0s              980",
            "  5015    work     running     1m12s     20s                 1 of 3 batches",
            "    bbbb  batch 2  running     1m12s          61k/80k    3s  ran pytest -q",
            "  aaaa    hello    running     1m12s   5m00s             4m  2 questions; asks",
        ]),
        (120, [
            "  RUN     TASK     STATUS       TIME   USUAL   TOKENS              LAST",
            "> cccc    review   succeeded    3.0s              980",
            "  5015    work     running     1m12s     20s                             1 of 3 batches",
            "    bbbb  batch 2  running     1m12s          61k/80k  [######..]    3s  ran pytest -q",
            "  aaaa    hello    running     1m12s   5m00s                         4m  2 questions; asks",
        ]),
    ],
)  # fmt: skip
def test_a_screen_has_the_columns_that_it_has_room_for(width: int, lines: list[str]) -> None:
    assert screen(*RUNS, width=width) == [
        *lines,
        "review",
        KEYS if width >= len(KEYS) else "up/down  enter lo...",
    ]


def test_a_run_elsewhere_is_shown_with_its_job_and_its_node() -> None:
    shown = screen(a_run(executor="hpc", job_id="7", node="n1", message="ran pytest -q"))
    assert any(line.endswith("hpc job 7 on n1; ran pytest -q") for line in shown)


def test_what_is_said_and_what_is_asked_stand_below_the_runs() -> None:
    assert screen(RUNS[3], said="no", foot="cancel aaaa? [y/N]")[-2:] == ["no", "cancel aaaa? [y/N]"]
    assert screen(RUNS[3])[-2] == "hello: asks"
    assert screen() == ["  RUN   TASK  STATUS    TIME   USUAL  TOKENS  LAST", NOTHING, KEYS]


@given(st.integers(0, 60), st.integers(1, 40), st.data())
def test_the_chosen_run_is_on_the_screen_however_small_that_is(
    count: int, height: int, data: st.DataObject
) -> None:
    runs = [a_run(f"{n:04x}0000") for n in range(count)]
    chosen = data.draw(st.integers(0, max(0, count - 1)))
    lines = screen(*runs, height=height, chosen=chosen)
    assert len(lines) <= height
    if count and height > 3:
        (line,) = [line for line in lines if line.startswith("> ")]
        assert line.split()[1] == ordered(runs)[chosen][0].row.run_id[20:24]


@pytest.mark.parametrize("width", [1, 20, 27, 39, 40, 59, 75, 76, 99, 120, 400])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_no_line_is_wider_than_the_screen(width: int, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", stream)
    wide = {"title": "##vso[x] 日本語 " * 9, "message": "日本語 ✂️ ##[group]" * 60, "questions_open": 3}
    runs = [
        a_run("aaaa0000", task_id="x" * 64, tokens=10**12, limit=10**12, **wide),
        *(a_run(f"bbbb000{n}", parent=f"20261120T101505000Z-bbbb000{n - 1}", **wide) for n in range(1, 9)),
    ]
    for line in frame(ordered(runs), {}, (width, 12), NOW):
        shown = cleaned(line).encode(encoding, "backslashreplace").decode(encoding)
        assert cells(shown) <= width, shown


@pytest.mark.parametrize("text", HOSTILE)
def test_no_title_and_no_message_moves_the_terminal_or_is_markup(text: str) -> None:
    lines = screen(a_run(title=f"[bold]x[/bold] {text}", message=f"[red]y[/red] {text}"), width=400)
    assert not harm("\n".join(lines)) and len(lines) == 4
    assert "[red]y[/red]" in lines[1] and "[bold]x[/bold]" in lines[2]


def test_a_batch_keeps_its_number_where_its_plan_is_above_the_screen() -> None:
    lines = screen(*RUNS, height=5, chosen=3)
    assert [line.split()[:2] for line in lines[1:3]] == [["bbbb", "batch"], [">", "aaaa"]]
    assert lines[3].startswith("4 of 4  hello: asks")


def test_a_run_that_is_no_batch_of_a_shown_plan_keeps_the_name_of_its_task() -> None:
    title = "batch 1 of all that I want"
    assert "batch 1" not in "\n".join(screen(a_run(title=title), RUNS[0])[:3])
