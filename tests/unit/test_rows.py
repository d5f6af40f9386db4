"""The list of runs fits the terminal, names each run in short, and puts children below their parents."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ended import a_result, a_worktree, an_ended_run, commit, write_result
from support.values import a_manifest, an_invocation

from runner.cli.app import ALIASES, COMMANDS, arguments, main
from runner.cli.pen import cleaned
from runner.cli.rows import rows_text, short_number
from runner.errors import Conflict, RunNotFound
from runner.model import Context, Lineage, Outcome, Usage
from runner.state import index
from runner.state.index import RunRow, row_of
from runner.state.manifest import timestamp
from runner.state.store import RunDir
from runner.text.cells import cells
from runner.text.durations import about
from runner.usecases import find, look

FIRST = "20261120T101504438Z-50151d5c"


@pytest.fixture(autouse=True)
def no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def a_row(tail: str = "50151d5c", **changes: object) -> RunRow:
    run_id = f"20261120T101504438Z-{tail}"
    plain = RunRow(run_id, "hello", "succeeded", "completed", "codex", None, timestamp(), timestamp())
    return plain.replace(**changes)


def shown(*rows: RunRow) -> list[str]:
    return rows_text(rows, index.short_names((row.task_id, row.run_id) for row in rows)).split("\n")


def test_a_row_says_what_a_person_looks_for() -> None:
    now = time.time()
    rows = (
        a_row(created_at=timestamp(now - 200), duration_s=72.4, tokens=61_800, rehearsal=True),
        a_row("aaaa0000", status="running", reason=None, message="ran pytest -q", questions_open=2),
        a_row(
            "bbbb0000", status="rejected", reason="verify_failed", message="pytest said no", undecided=True
        ),
        a_row("cccc0000", status="lost", reason="lost", message=None, created_at=None, ended_at=None),
    )
    head, *lines = shown(*rows)
    assert head.split() == ["RUN", "TASK", "STATUS", "AGE", "TIME", "TOKENS"]
    assert lines[0].split() == ["5015", "hello", "succeeded", "3m", "1m12s", "61k", "rehearsal"]
    assert lines[1].endswith("2 open questions; ran pytest -q")
    assert lines[2].endswith("to accept or discard; pytest said no")
    assert lines[3].split() == ["cccc", "hello", "lost", "lost"]
    assert rows_text([], {}) == "no runs"


@pytest.mark.parametrize(("ago", "age"), [(7260, "2h"), (0.5, "0s"), (-30, "0s"), (-7200, "?")])
def test_a_run_of_the_future_has_no_age(ago: float, age: str) -> None:
    _, line = shown(a_row(created_at=timestamp(time.time() - ago)))
    assert line.split()[3] == age


def test_children_stand_below_their_parent_the_oldest_first() -> None:
    parent = a_row("aaaa0000", run_id=FIRST[:-8] + "aaaa0000", plan=True)
    ids = [f"20261120T10150{n}000Z-{n}bbb0000" for n in (5, 6, 7)]
    children = [a_row(run_id=run_id, parent=parent.run_id) for run_id in ids]
    below = a_row(run_id="20261120T101508000Z-8bbb0000", parent=ids[0])
    alone = a_row(run_id="20261120T101509000Z-9bbb0000", parent="20261120T101504438Z-eeee0000")
    _, *lines = shown(alone, below, *reversed(children), parent)
    assert [line[:8].rstrip() for line in lines] == ["9bbb", "aaaa", "  5bbb", "    8bbb", "  6bbb", "  7bbb"]
    assert lines[1].endswith("plan")


def test_runs_that_name_each_other_as_parents_are_listed_once() -> None:
    one, two = a_row("aaaa0000"), a_row("bbbb0000")
    rows = (
        one.replace(parent=two.run_id),
        two.replace(parent=one.run_id),
        one.replace(run_id=FIRST, parent=FIRST),
    )
    assert len(shown(*rows)) == 4


GOLDEN = {
    60: """\
RUN     TASK      STATUS      AGE    TIME
2486    review    running     12s     12s  1 open question
b916    plan-tea  running      4m   4m10s  plan, rehearsa...
  3fa1  batch 2   running      1m   1m05s  rehearsal; com...
58ff    fix-auth  rejected     2h   6m40s  to accept or d...
0487    docs      succeeded    3d   1m12s  child of a run...""",
    80: """\
RUN     TASK      STATUS      AGE    TIME  TOKENS
2486    review    running     12s     12s     999  1 open question
b916    plan-tea  running      4m   4m10s          plan, rehearsal; 1 of 3 ba...
  3fa1  batch 2   running      1m   1m05s     13k  rehearsal; command started...
58ff    fix-auth  rejected     2h   6m40s    1.2M  to accept or discard; `pyt...
0487    docs      succeeded    3d   1m12s     61k  child of a run that is gone""",
    120: """\
RUN     TASK      STATUS      AGE    TIME  TOKENS
2486    review    running     12s     12s     999  1 open question
b916    plan-tea  running      4m   4m10s          plan, rehearsal; 1 of 3 batches; batch 2 of 3: U3 began
  3fa1  batch 2   running      1m   1m05s     13k  rehearsal; command started: pytest -q tests
58ff    fix-auth  rejected     2h   6m40s    1.2M  to accept or discard; `pytest -q` exited with 1
0487    docs      succeeded    3d   1m12s     61k  child of a run that is gone""",
}


@pytest.mark.parametrize("columns", GOLDEN)
def test_this_is_what_a_person_sees(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    now = time.time()

    def row(tail: str, task: str, status: str, age: int, **more: object) -> RunRow:
        made = timestamp(now - age - 0.5)
        return a_row(tail, task_id=task, status=status, reason=None, created_at=made, **more)

    plan = row("b9160000", "plan-tea", "running", 250, duration_s=250.0, plan=True, rehearsal=True)
    rows = (
        row("2486eeee", "review", "running", 12, duration_s=12.0, tokens=999, questions_open=1),
        row("3fa1eeee", "plan-tea", "running", 65, duration_s=65.0, tokens=13_000, rehearsal=True).replace(
            run_id="20261120T101505438Z-3fa1eeee",
            parent=plan.run_id,
            title="batch 2 of 3: U3, U4",
            message="command started: pytest -q tests",
        ),
        plan.replace(message="batch 2 of 3: U3 began", batches=3, batches_done=1),
        row(
            "58ffeeee", "fix-auth", "rejected", 7_300, duration_s=400.0, tokens=1_250_000, undecided=True
        ).replace(message="`pytest -q` exited with 1"),
        row("0487eeee", "docs", "succeeded", 260_000, duration_s=72.4, tokens=61_800, parent=FIRST),
    )
    assert rows_text(rows, index.short_names((one.task_id, one.run_id) for one in rows)) == GOLDEN[columns]


@pytest.mark.parametrize("columns", [20, 21, 22, 27, 28, 29, 39, 40, 59, 60, 75, 76, 80, 120, 400])
def test_no_line_is_wider_than_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    rows = (
        a_row(task_id="x" * 64, tokens=9_999_999_999, duration_s=9_999_999, message="日本語 " * 60),
        a_row("cccc0000", run_id=FIRST[:-8] + "cccc0000", plan=True, title="\x1b[2J", batches=10**9),
        a_row("bbbb0000", parent=FIRST[:-8] + "cccc0000", title="batch 99999 of 9: x"),
        a_row("aaaa0000", message="\x1b[31mred\nand more " * 9, questions_open=3, undecided=True),
    )
    for line in shown(*rows):
        assert cells(cleaned(line)) <= columns, line
        assert "\x1b" not in line


@pytest.mark.parametrize("title", [None, "", "batch", "batch x of 3", "batch 1234567 of 9", "a batch 2 of 3"])
def test_a_title_that_is_not_of_a_batch_or_not_below_a_plan_gives_no_number(title: str | None) -> None:
    plan = a_row("aaaa0000", run_id=FIRST[:-8] + "aaaa0000", plan=True)
    for parent, called in ((plan.run_id, title), ("another", "batch 2 of 3: U1")):
        lines = shown(plan, a_row("bbbb0000", parent=parent, title=called))
        assert "batch" not in next(line for line in lines if "bbbb" in line)


def test_in_a_pipe_nothing_is_cut() -> None:
    told = "word " * 30
    assert told.strip() in shown(a_row(message=told))[1]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1.0k"),
        (1_999, "1.9k"),
        (61_800, "61k"),
        (2_500_000, "2.5M"),
        (10**10, "10G"),
    ],
)
def test_a_number_is_short_and_never_rounded_up(number: int, text: str) -> None:
    assert short_number(number) == text


@pytest.mark.parametrize(
    ("seconds", "two", "one"),
    [(0.34, "0.3s", "0s"), (9.99, "9.9s", "9s"), (72.4, "1m12s", "1m"), (3_600, "1h00m", "1h"),
     (-5, "0s", "0s"),
     (90_061, "1d01h", "1d"), (9_999_999, "115d", "115d")],
)  # fmt: skip
def test_a_duration_for_a_glance(seconds: float, two: str, one: str) -> None:
    assert (about(seconds), about(seconds, 1)) == (two, one)


def test_rows_of_nearly_the_same_time_and_tokens_tell_their_own() -> None:
    times, tokens = (9.91, 9.99, 72.4, 72.9, 73.0), (1_999, 9_999, 10_999, 61_800, 1_299_999)
    rows = [a_row(f"{n}aaa0000", duration_s=times[n], tokens=tokens[n]) for n in range(5)]
    told = [line.split()[-2:] for line in shown(*rows)[1:]]
    assert told == [[about(times[n]), short_number(tokens[n])] for n in range(5)]


def test_a_row_of_a_manifest_has_its_tokens_its_time_and_its_parent() -> None:
    manifest = a_manifest(
        usage=Usage(1200, 1000, 30, 4),
        started_at="2026-11-20T10:15:04.438Z",
        ended_at="2026-11-20T10:16:05.000Z",
        parent=Lineage("work", FIRST, "x"),
        rehearsal=True,
    )
    row = row_of(manifest)
    assert (row.tokens, row.duration_s, row.parent, row.rehearsal) == (1230, 60.562, FIRST, True)
    assert row_of(a_manifest(usage=Usage())).tokens is None


# -- names ---------------------------------------------------------------------------------------------------


@given(st.lists(st.text("0123456789abcdef", min_size=8, max_size=8), max_size=40, unique=True))
def test_a_short_name_means_its_run_alone(tails: list[str]) -> None:
    runs = [
        ("2026" if n % 7 else "hello", f"2026112{n % 9}T101504438Z-{tail}") for n, tail in enumerate(tails)
    ]
    names = index.short_names(runs)
    assert names.keys() == {run for _, run in runs}
    for run, name in names.items():
        assert len(name) >= 4 and name not in {task for task, _ in runs}
        assert [other for _, other in runs if other.startswith(name) or other[20:].startswith(name)] == [run]


def test_what_a_run_is_called_in_short_finds_it(tmp_path: Path) -> None:
    tails = ("aaaa0000", "aaaa1111", "20261111", "beef0000")
    runs = [
        an_ended_run(tmp_path, task="beef", run_id=f"20261120T10150{n}438Z-{t}") for n, t in enumerate(tails)
    ]
    for run in runs:
        name = index.short_name(str(tmp_path), run.run_id)
        assert name == index.short_names(index.folders(str(tmp_path)))[run.run_id]
        assert find.find(str(tmp_path), name).run_id == run.run_id
    assert index.short_name(str(tmp_path), runs[0].run_id) == "aaaa0"
    assert find.find(str(tmp_path), "101502438").run_id == runs[2].run_id, "any part that is unique"
    with pytest.raises(Conflict, match="fits 2 runs"):
        find.find(str(tmp_path), "aaaa")
    assert find.find(str(tmp_path), "BEEF00").run_id == runs[3].run_id
    with pytest.raises(RunNotFound):
        find.find(str(tmp_path), "fff")


@pytest.mark.parametrize("gone", ["1015", "0443", "5044", "0151", "1d5c", "D5C"])
def test_the_short_name_of_a_removed_run_does_not_come_to_mean_another(gone: str, tmp_path: Path) -> None:
    run = an_ended_run(tmp_path, run_id=FIRST)
    assert find.find(str(tmp_path), "20T1").run_id == run.run_id, "no random part has a T"
    with pytest.raises(RunNotFound):
        find.find(str(tmp_path), gone)


def test_a_word_means_the_newest_run_of_a_kind(tmp_path: Path) -> None:
    root = str(tmp_path)
    with pytest.raises(RunNotFound, match="no run yet"):
        find.find(root, "@latest")
    ids = [f"20261120T10150{n}438Z-0000000{n}" for n in range(4)]
    an_ended_run(tmp_path, run_id=ids[0], plan={"batches": [], "breaker": {"open": False}})
    an_ended_run(tmp_path, run_id=ids[1], questions_open=1)
    an_ended_run(tmp_path, run_id=ids[2])
    os.close(RunDir(root, "work", ids[3]).create())
    found = {word: find.find(root, word).run_id for word in ("@latest", "@done", "@plan", "@waiting")}
    assert found == {"@latest": ids[3], "@done": ids[2], "@plan": ids[0], "@waiting": ids[1]}
    for wrong in ("@lates", "@Latest", "latest"):
        with pytest.raises(RunNotFound) as unknown:
            find.find(root, wrong)
        assert "`@latest`" in str(unknown.value.hint), "the words are names as well"
    with pytest.raises(RunNotFound, match="no run with a work tree to accept or discard"):
        find.find(root, "@undecided")


def test_a_run_of_somebody_else_is_meant_only_where_none_is_ours(tmp_path: Path) -> None:
    root, ours = str(tmp_path), an_ended_run(tmp_path, questions_open=1)
    theirs = RunDir(root, "work", "20991231T101504438Z-00000000")
    shutil.copytree(ours.path, theirs.path)  # the records are not those of this place
    theirs.write_manifest(ours.read_manifest().replace(run_id=theirs.run_id))
    words = ("@latest", "@done", "@waiting", "work")
    assert {find.find(root, word).run_id for word in words} == {ours.run_id}
    assert find.find(root, "2099").run_id == theirs.run_id, "by its name it can be looked at"
    Path(theirs.invocation).write_text(json.dumps(an_invocation(root, "work", theirs.run_id).to_json()))
    assert {find.find(root, word).run_id for word in words} == {ours.run_id}, (
        "and if it looks like an old one"
    )
    shutil.rmtree(ours.path)
    assert {find.find(root, word).run_id for word in words} == {theirs.run_id}


def test_an_empty_folder_with_an_id_of_the_future_is_meant_only_while_somebody_makes_it(
    tmp_path: Path,
) -> None:
    root, ours = str(tmp_path), an_ended_run(tmp_path)
    lock = RunDir(root, "work", "20991231T101504438Z-00000000").create()
    words = ("@latest", "work")
    assert {find.find(root, word).run_id[:4] for word in words} == {"2099"}, "the clock went back"
    os.close(lock)
    assert {find.find(root, word).run_id for word in words} == {ours.run_id}
    shutil.rmtree(RunDir(root, "work", "20991231T101504438Z-00000000").path)
    Path(root, ".runs/work/cli/20991231T101504438Z-00000001").mkdir()
    assert {find.find(root, word).run_id for word in words} == {ours.run_id}


# -- the verb ------------------------------------------------------------------------------------------------


def test_list_takes_what_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    assert main(["list"]) == 0 and capsys.readouterr() == ("no runs\n", ""), "and none is finished"
    long_ago = an_ended_run(
        tmp_path, run_id="20251120T101504438Z-aaaa0000", created_at="2025-11-20T10:15:04.438Z"
    )
    bad = an_ended_run(tmp_path, outcome=Outcome.REJECTED, code="verify_failed", created_at=timestamp())
    good = an_ended_run(tmp_path, task="other", created_at=timestamp())

    def listed(*words: str) -> list[str]:
        assert main(["ls", *words, "--json"]) == 0
        return [row["run_id"] for row in json.loads(capsys.readouterr().out)]

    assert listed() == []
    assert main(["list"]) == 0
    assert capsys.readouterr() == ("no unfinished runs\n", "(finished runs: runner list --all)\n")
    assert main(["list", "--status", "paused"]) == 0 and capsys.readouterr().out == "no runs\n"
    assert listed("--all") == [good.run_id, bad.run_id, long_ago.run_id]
    assert listed("--status", "rejected") == [bad.run_id]
    assert listed("--since", "2d") == [good.run_id, bad.run_id]
    assert listed("--limit", "1") == [good.run_id] and listed("--limit", "0") == []
    assert listed("-n", "1") == listed("-an1") == [good.run_id] and len(listed("-a")) == 3, (
        "as with ps and ls"
    )
    assert listed("--all", "--task", "other") == [good.run_id]
    assert main(["list", "--status", "rejekted"]) == 2
    assert "perhaps you meant `rejected`" in capsys.readouterr().err


def test_of_few_runs_json_has_what_only_their_records_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    usage, context = Usage(36_581, 20_000, 282, 0), Context(258_400, 12_000)
    spoken = {"usage": usage, "context": context, "last_message": "x" * 600}
    run = an_ended_run(tmp_path, **spoken)
    write_result(run, a_result())
    write_result(an_ended_run(tmp_path, task="before", attempt=2), a_result())
    Path(an_ended_run(tmp_path, task="broken").result).write_text("{")
    theirs = an_ended_run(tmp_path, task="theirs", **spoken)
    write_result(theirs, a_result())
    Path(theirs.manifest).chmod(0o666)

    def listed(*words: str) -> dict[str, dict[str, Any]]:
        assert main(["list", "--json", *words]) == 0
        return {row["task_id"]: row for row in json.loads(capsys.readouterr().out)}

    def detail(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in ("usage", "context", "files", "summary"))

    rows = listed("--all")
    assert detail(rows["work"]) == (usage.to_json(), context.to_json(), ["a.txt", "b.txt"], "x" * 500)
    assert rows["work"]["tokens"] == 36_863, "and the file has no more than it had"
    assert [detail(rows[name])[2:] for name in ("before", "broken")] == [(None, None)] * 2
    assert (rows["theirs"]["status"], *detail(rows["theirs"])) == ("foreign", None, None, None, None)
    for n in range(look.MOST_IN_DETAIL - 3):
        an_ended_run(tmp_path, task=f"more-{n}", **spoken)
    assert set(map(detail, listed("--all").values())) == {(None,) * 4}, "where there are too many to read"
    assert detail(listed("--limit", "100")["more-0"])[1] == context.to_json()


def test_a_task_without_runs_is_told_from_one_that_there_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    Path("delegate.toml").write_text("schema_version = 1\n[tasks.fresh]\nprompt = 'x'\n")
    waiting, _ = an_ended_run(tmp_path), an_ended_run(tmp_path, task="other")
    a_worktree(waiting, commit(tmp_path, a_txt="a"))
    for task, words in {
        "fresh": "(it was not started yet)",
        "frehs": "(there is no such task; perhaps you meant `fresh`)",
        "wrok": "(there is no such task; perhaps you meant `work`)",
        "zzz": "(there is no such task)",
        "other": "(finished runs: runner list --all --task other)",
        "work": "(1 finished run with a work tree to accept or discard: runner list --all --task work)",
    }.items():
        assert main(["list", "--task", task]) == 0
        are = "unfinished runs" if "finished" in words else "runs"
        assert capsys.readouterr() == (f"no {are} of task `{task}`\n", f"{words}\n"), task
    assert main(["list", "--all", "--task", "zzz", "--json"]) == 0 and capsys.readouterr() == ("[]\n", "")


@pytest.mark.parametrize("words", [["--limit", "-1"], ["--limit", "x"], ["--since", "5"], ["--limit", "²"]])
def test_a_wrong_number_for_list_is_a_wrong_use(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", *words]) == 2
    assert capsys.readouterr().out == ""


def test_what_hands_type_is_a_verb_that_there_is() -> None:
    assert {*ALIASES.values()} <= COMMANDS.keys() and not ALIASES.keys() & COMMANDS.keys()
    assert {"ls", "ps", "show", "tail", "run", "stop"} == {*ALIASES}
    assert arguments("status", ["--json"]).format == "json"


def test_the_newest_run_is_one_that_a_person_has_started(tmp_path: Path) -> None:
    root = str(tmp_path)
    ids = [f"20261120T10150{n}438Z-0000000{n}" for n in range(3)]
    plan = an_ended_run(tmp_path, run_id=ids[0])
    batch = an_ended_run(tmp_path, run_id=ids[1])
    parent = Lineage(plan.task_id, plan.run_id, "m")
    batch.write_manifest(batch.read_manifest().replace(parent=parent))
    assert {find.find(root, word).run_id for word in ("@latest", "@done")} == {plan.run_id}
    assert find.find(root, "work").run_id == batch.run_id, "of a task it is the newest"
    os.close(RunDir(root, "work", ids[2]).create())
    assert find.find(root, "@latest").run_id == ids[2], "nothing is known of it yet"
