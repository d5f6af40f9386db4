"""The last lines on a run say what it came to, where its change is, what it cost, and what to do next."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from support.ended import a_result, a_worktree, an_ended_run, write_result
from support.work import Work

from runner.cli.app import main
from runner.cli.end import detail_text, end_text, said_text, says
from runner.cli.events import _text
from runner.cli.page import _took
from runner.cli.pen import cleaned, visible
from runner.cli.render import fitted, indented, manifest_text, price_text, questions_text
from runner.model import Lineage, Outcome, Reason, Usage
from runner.state.index import ShortNames, row_of
from runner.state.lineage import lineage_of
from runner.state.manifest import Workspace, between
from runner.state.questions import Question
from runner.state.store import RunDir
from runner.text.cells import cells
from runner.text.words import one_line
from runner.usecases.stats import By, stats
from runner.workspace.changes import counted, lines_of

SEEN = a_result()["observed"]
PASSED = [{"argv": ["pytest"], "exit_code": 0, "timed_out": False, "duration_s": 1.0, "tail": ""}]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path)
    made.write("a.txt", "a\n")
    made.commit()
    return made


SINCE = " when it ended; 2 of them changed since"
"""The file of the work tree is newer than these runs."""


def ended(work: Work, outcome: Outcome = Outcome.SUCCEEDED, kind: str = "in-place", **changes: Any) -> RunDir:
    times = {"started_at": "2026-11-20T10:15:04.000Z", "ended_at": "2026-11-20T10:16:16.400Z"}
    place = Workspace(kind, str(work.root), None)
    usage = Usage(61_000, 48_000, 900, 0)
    return an_ended_run(work.root, outcome=outcome, workspace=place, usage=usage, **{**times, **changes})


def told(run: RunDir) -> list[str]:
    return [
        line.replace(f" {run.run_id[20:24]}", " RUN")
        for line in end_text(run, run.read_manifest()).split("\n")
    ]


def test_of_a_success_it_says_the_checks_the_files_the_time_and_the_tokens(work: Work) -> None:
    run = ended(work)
    write_result(run, a_result(checks=PASSED, observed={**SEEN, "lines": [24, 3]}, was_clean=True))
    assert told(run) == [
        "succeeded  1 of 1 check passed",
        f"changes    2 files (+24 -3) in your tree{SINCE}",
        "took       1m12s, 61,000 tokens in (48,000 cached), 900 out",
        "next       runner diff RUN",
        "           runner report RUN",
    ]


def test_of_a_failure_it_says_why_and_where_the_change_is(work: Work) -> None:
    run = ended(work, Outcome.REJECTED, reason=Reason("verify_failed", "`pytest` exited with 1", "mend it"))
    write_result(run, a_result(was_clean=False))
    assert told(run) == [
        "rejected   `pytest` exited with 1; 0 of 1 check passed",
        "hint       mend it",
        "changes    2 files kept in your tree (it had uncommitted changes before)" + SINCE,
        "took       1m12s, 61,000 tokens in (48,000 cached), 900 out",
        "next       runner diff RUN",
        "           runner logs RUN",
        "           runner retry RUN",
    ]


def test_files_and_lines_of_what_was_rolled_back_stand_together(work: Work) -> None:
    run = ended(work, Outcome.REJECTED)
    back = {"restored": ["a"], "removed": ["b", "c"], "kept": [], "left": [], "unequal": []}
    back |= {"refused": None, "hint": None}
    write_result(run, a_result(was_clean=True, rolled_back=back, observed={**SEEN, "lines": [1, 0]}))
    assert "changes    rolled back (3 files, +1 -0)" in told(run)


def test_of_a_tree_that_waits_it_names_the_decision(work: Work) -> None:
    run = ended(work, kind="worktree")
    tree = a_worktree(run, work.head())
    write_result(run, a_result(checks=PASSED))
    _, changes, _, *after = told(run)
    assert changes == f"changes    2 files in a work tree that waits for your decision ({tree.path})"
    assert after == [
        "next       runner diff RUN",
        "           runner accept RUN",
        "           runner discard RUN",
    ]


@pytest.mark.parametrize("result", [None, 5, {}, {"checks": 5}, {"attempt": 1, "checks": [{}]}])
def test_of_a_result_that_cannot_be_read_it_claims_nothing(work: Work, result: Any) -> None:
    run = ended(work)
    if result is not None:
        write_result(run, result)
    first, *_ = told(run)
    assert first == "succeeded  so it was" and "passed" not in "".join(told(run))


def test_of_a_run_over_which_the_clock_was_set_back_no_time_is_told(work: Work) -> None:
    run = ended(work, ended_at="2026-11-20T10:15:03.000Z")
    assert [line for line in told(run) if line.startswith("took")] == [
        "took       61,000 tokens in (48,000 cached), 900 out"
    ]
    assert row_of(run.read_manifest()).duration_s is None and _took(run.read_manifest()) == "not known"
    assert stats(str(work.root), by=By.TASK).total.p50_s is None
    assert between("2026-11-20T10:15:04.000Z", "2026-11-20T10:15:04.000Z") == 0
    assert between("2999-11-20T10:15:04.000Z", None) is None


def test_a_batch_is_not_tried_again_by_itself(work: Work) -> None:
    runtime = an_ended_run(work.root).read_manifest().runtime
    for name, last in (("plan", "runner logs RUN"), ("codex", "runner retry RUN")):
        above = an_ended_run(work.root, outcome=Outcome.FAILED)
        above.write_manifest(above.read_manifest().replace(runtime=runtime.replace(name=name)))
        below = ended(work, Outcome.FAILED)
        below.write_manifest(below.read_manifest().replace(parent=lineage_of(above)))
        assert told(below)[-1].endswith(last), told(below)
        shutil.rmtree(above.path)
        assert told(below)[-1].endswith("runner retry RUN")


def test_a_pause_is_told_beside_the_time(work: Work) -> None:
    run = ended(work, paused_seconds=60.0, suspended_seconds=0.4)
    assert "took       1m12s (1m00s paused), " in "\n".join(told(run))


def test_a_claim_in_json_is_shown_as_its_summary(work: Work) -> None:
    run = ended(work, last_message='{"status": "completed", "summary": "Did it."}')
    assert says(run, run.read_manifest()) == '{"status": "completed", "summary": "Did it."}'
    write_result(run, a_result())
    assert says(run, run.read_manifest()) == "Did it."


def test_status_and_report_end_with_the_same_lines(
    work: Work, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work.root)
    run = ended(work)
    write_result(run, a_result(checks=PASSED))
    block = end_text(run, run.read_manifest())
    assert main(["status"]) == 0
    assert capsys.readouterr().out.endswith(f"\n\n{block}\n")
    assert main(["wait", run.run_id]) == 0
    assert capsys.readouterr().out == f"{block}\n"
    assert main(["report"]) == 0
    not_again = f"\n           runner report {run.run_id[20:24]}"
    assert capsys.readouterr().out.endswith(f"\n\n{block.replace(not_again, '')}\n")


VERDICT = "succeeded  9 of 9 checks passed"
IMITATIONS = (
    f"Done.\n\n{VERDICT}\ntook       1s",
    f"Done.\r{VERDICT}",
    f"\x1b[2K\x1b[1G{VERDICT}",
    f"\x0b\x0c\x85\u2028\u2029{VERDICT}",
    *(" " * n + VERDICT for n in range(0, 90, 7)),
    *("\u00a0" * n + VERDICT.replace(" ", "\u00a0") for n in range(40)),
    *("x" * n + VERDICT for n in range(60, 80)),
)


@pytest.mark.parametrize("columns", [20, 30, 31, 40, 60, 80, None])
@pytest.mark.parametrize("on", ["wait", "detail", "status", "question", "inbox", "events"])
def test_no_word_of_an_agent_reaches_the_margin_and_looks_like_a_verdict(
    work: Work, monkeypatch: pytest.MonkeyPatch, columns: int | None, on: str
) -> None:
    if columns is not None:
        monkeypatch.setenv("COLUMNS", str(columns))
    run = ended(work, Outcome.FAILED)
    m = run.read_manifest()
    for text in IMITATIONS:
        shown = {
            "wait": lambda text: said_text(run, m.replace(last_message=text)),
            "detail": lambda text: detail_text(m.replace(reason=Reason("a", "b", None, text)), sys.stderr),
            "status": lambda text: manifest_text(m.replace(last_message=text)).partition("\nsays")[2],
            "question": lambda text: questions_text([a_question(run, text)]).partition("owner")[2],
            "inbox": lambda text: indented(one_line(text), is_foreign=True),
            "events": lambda text: _text(ShortNames(run.repo), an_event(run, text)),
        }[on](text)
        rows = [row for row in visible(cleaned(str(shown))).split("\n") if row.strip()]
        at_the_margin = [row[at:] for row in rows for at in range(0, len(row), columns or len(row))][1:]
        assert all(row[0].isspace() for row in at_the_margin), (text, at_the_margin)


def a_question(run: RunDir, text: str) -> Question:
    return Question("q-0001", run.run_id, "owner", text, "open", "", None, "continue", None, None, None)


def an_event(run: RunDir, text: str) -> dict[str, Any]:
    event = {"seq": 7, "at": "2026-11-20T10:15:04.000Z", "event": "question", "status": "running"}
    return {**event, "run_id": run.run_id, "task_id": "t", "question": "q-1", "to": "owner", "prompt": text}


def test_status_names_the_children_of_a_run_and_never_looks_outside_for_one(
    work: Work, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work.root)
    above, below, gone = ended(work), ended(work, Outcome.REJECTED, task="below"), ended(work)
    below.write_manifest(below.read_manifest().replace(parent=lineage_of(above)))
    shutil.rmtree(gone.path)
    named = [lineage_of(below), lineage_of(gone), Lineage("../..", "../../etc", "x")]
    above.write_manifest(above.read_manifest().replace(children=tuple(named)))
    assert main(["status", above.run_id]) == 0
    shown = capsys.readouterr().out.splitlines()
    told = f"children  {below.run_id[20:24]} rejected, {gone.run_id} removed, ../../etc removed"
    assert told in shown, shown
    assert main(["status", below.run_id]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert f"parent    {above.run_id[20:24]}" in shown and not any(
        line.startswith("children") for line in shown
    )
    many = above.read_manifest().replace(children=(lineage_of(below),) * 23)
    above.write_manifest(many)
    assert main(["status", above.run_id]) == 0
    assert capsys.readouterr().out.count(" rejected") == 20


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ({}, {"n": "1\n2\n"}, (2, 0)),
        ({"n": "1\n2\n3\n"}, {"n": "1\n3\n4\n"}, (1, 1)),
        ({"n": "-- a\n++ b\n@@ c\ndiff d\n"}, {"n": "++ b\n"}, (0, 3)),
        ({"n": "x"}, {"n": "x\n"}, (1, 1)),
        ({"n": "\0"}, {"n": "\1"}, (0, 0)),
    ],
)
def test_lines_are_counted_as_git_counts_them(
    work: Work, before: dict[str, str], after: dict[str, str], wanted: tuple[int, int]
) -> None:
    for name, text in before.items():
        work.write(name, text)
    if before:
        work.commit()
    for name, text in after.items():
        work.write(name, text)
    work.git("add", "-A")
    patch = work.git("diff", "--cached", "--binary")
    assert counted(lines_of(patch if isinstance(patch, bytes) else patch.encode())) == wanted


REJECTED = """\
rejected   `python -m pytest -q tests/auth` exited with 1; 0 of 1
           check passed
hint       the whole output is in the run's folder
changes    2 files in a work tree that waits for your decision
           ({})
took       1m12s, 61,000 tokens in (48,000 cached), 900 out
next       runner diff RUN
           runner accept RUN
           runner discard RUN"""


def test_the_last_lines_are_wrapped_at_words_and_what_is_to_be_copied_stays_whole(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = Reason(
        "verify_failed",
        "`python -m pytest -q tests/auth` exited with 1",
        "the whole output is in the run's folder",
    )
    run = ended(work, Outcome.REJECTED, kind="worktree", reason=reason)
    tree = a_worktree(run, work.head())
    write_result(run, a_result())
    monkeypatch.setenv("COLUMNS", "70")
    assert "\n".join(told(run)) == REJECTED.format(tree.path)
    monkeypatch.setenv("COLUMNS", "20")
    assert all(line in " ".join(told(run)) for line in (tree.path, "runner accept RUN"))


@pytest.mark.parametrize("filler", [" ", "\t", "\u00a0", "\u2800", "\u4e00", "-", "a\u0301"])
@pytest.mark.parametrize("mark", ["  | ", "  "])
@pytest.mark.parametrize("columns", [20, 23, 80])
def test_no_line_of_a_report_is_so_long_that_a_terminal_breaks_it(
    filler: str, mark: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"{mark}{filler * (columns - len(mark))}succeeded  2 of 2 checks passed\n{mark}short\n"
    assert fitted(text) == text, "a pipe is given it as it is"
    monkeypatch.setenv("COLUMNS", str(columns))
    *rows, last = fitted(text).split("\n")
    assert (rows[-1], last) == (f"{mark}short", "")
    assert max(map(cells, rows)) <= columns
    assert all(row.startswith(mark) for row in rows if row)


def test_a_price_is_never_nothing_where_something_was_paid() -> None:
    assert [price_text(cost, 4) for cost in (0.0, 0.000038, 0.0001, 1234.5)] == [
        *("0.0000", "<0.0001", "0.0001", "1,234.5000")
    ]
    assert [price_text(cost, 2) for cost in (0.0, 0.0099, 0.01)] == ["0.00", "<0.01", "0.01"]


def test_a_tree_in_which_nothing_was_changed_has_no_lines(work: Work) -> None:
    run = ended(work, kind="worktree")
    a_worktree(run, work.head())
    write_result(run, a_result(checks=PASSED, observed={**SEEN, "changed": [], "lines": [0, 0]}))
    first, changes, *_ = told(run)
    assert first == "succeeded  1 of 1 check passed; no file changed"
    assert changes.startswith("changes    in a work tree that waits for your decision (/")
