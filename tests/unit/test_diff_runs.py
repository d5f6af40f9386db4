"""What two runs differ in: the pure comparison, and what is known of runs that are over."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from support.ended import a_result, an_ended_run, write_result
from support.hostile import HOSTILE, harm
from support.work import Work

from runner.cli import pen
from runner.cli.app import main
from runner.cli.diff_runs import _text
from runner.errors import ForeignRun, InvocationBroken, RunNotFound, UsageError
from runner.model import Limits, Outcome, Reason, Terms, Usage
from runner.runtimes import PLAN
from runner.state.authentic import write_record
from runner.state.lineage import lineage_of
from runner.state.manifest import RuntimeFound, Workspace
from runner.state.plan_ledger import Breaker, PlanLedger, Status, Step
from runner.state.store import RunDir
from runner.text.differences import Difference
from runner.usecases.diff_runs import Aspect, compared, diff_runs, last_that_worked, of_texts

FIRST, SECOND, THIRD = (f"2026112{n}T010000000Z-0000000{n}" for n in (1, 2, 3))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    work = Work(tmp_path)
    work.write("a.txt", "a\n")
    work.commit()
    return work.root


def a_run(root: Path, run_id: str, *commands: str, prompt: str = "Do it.", **changes: Any) -> RunDir:
    run = an_ended_run(root, run_id=run_id, secret_names=(), **changes)
    Path(run.prompt).write_text(prompt)
    items = [{"id": f"i{n}", "type": "command_execution", "exit_code": 0} for n in range(len(commands))]
    lines = (one | {"command": told} for one, told in zip(items, commands, strict=True))
    text = "".join(f"{json.dumps({'type': 'item.completed', 'item': one})}\n" for one in lines)
    Path(run.stdout).write_text(text)
    return run


def parts(before: RunDir, after: RunDir) -> dict[str, Aspect | None]:
    found = diff_runs(before, after)[2]
    json.dumps({name: part and part.to_json() for name, part in found.items()})
    return found


def told(part: Aspect | None) -> list[tuple[str, str, str | None, str | None]]:
    assert part is not None and not part.more
    return [(one.kind, one.key, one.before, one.after) for one in part.differences]


# -- pure ------------------------------------------------------------------------------------------


def test_what_is_equal_is_counted_and_not_shown() -> None:
    assert compared({"a": "1", "b": "2"}, {"b": "2", "a": "1"}) == Aspect(compared=2)


def test_what_only_one_has_is_new_or_gone() -> None:
    found = compared({"a": "1", "c": "3"}, {"b": "2", "c": "4"})
    assert told(found) == [("new", "b", None, "2"), ("changed", "c", "3", "4"), ("gone", "a", "1", None)]


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("1", None), (None, None)])
def test_what_is_not_known_of_one_is_never_equal(before: str | None, after: str | None) -> None:
    assert compared({"a": before, "b": "2"}, {"a": after, "b": "2"}) == Aspect(unknown=("a",))
    assert compared({"a": before}, {"a": after}) is None
    assert compared(None, {"a": after}) is compared({"a": before}, None) is None
    assert of_texts(None, "a") is of_texts("a", None) is of_texts(None, None) is None


def test_what_only_one_has_is_a_difference_also_where_nothing_else_is_known_of_it() -> None:
    assert told(compared({"a": None}, {})) == [("gone", "a", "?", None)]


def test_of_ten_thousand_differences_a_thousand_are_shown_and_all_are_counted() -> None:
    found = compared({}, {f"command {n}": "x" * 5000 for n in range(10_000)})
    assert found is not None and (len(found.differences), found.more) == (1000, 9000)
    assert found.differences[0] == Difference("command 0", None, "x" * 997 + "...")
    assert _text({"commands": found})[-1] == "  and 9980 more"


def test_texts_differ_from_where_they_do() -> None:
    before = "".join(f"line {n}\n" for n in range(50))
    found = of_texts(before, before.replace("line 20", "other").replace("line 40\n", ""))
    assert found is not None and found.more == 0
    assert found.lines[:5] == (" line 17", " line 18", " line 19", "-line 20", "+other")
    assert "..." in found.lines and "-line 40" in found.lines
    assert of_texts(before, before) == Aspect()


def test_what_two_texts_end_with_is_not_counted() -> None:
    lines = [f"line {n}" for n in range(3000)]
    changed = [*lines[:5], "other", *lines[6:]]
    found = of_texts("\n".join(lines), "\n".join(changed))
    assert found is not None and found.more == 0 and len(found.lines) == 8
    assert of_texts("a\nsame\nsame", "a\nsame") == Aspect(lines=(" a", " same", "-same"))
    longer = [f"new {n}" for n in range(500)]
    late = [*longer, *lines[:2900], "other", *lines[2901:]]
    found = of_texts("\n".join(lines), "\n".join(late))
    assert found is not None and found.more == 2 and [line[0] for line in found.lines[:500]] == ["+"] * 500
    assert not any(line[0] == "-" for line in found.lines)
    shuffled = of_texts("\n".join([*"ab", *lines]), "\n".join([*"cd", *reversed(lines)]))
    assert shuffled is not None and shuffled.more > 0
    assert "  and" not in "".join(_text({"prompt": of_texts("\n".join(lines), "\n".join(changed))}))


def test_what_is_not_shown_of_a_text_is_counted_without_what_is_the_same() -> None:
    before = [f"line {n}" for n in range(100)]
    after = [f"other {n}" if n % 10 == 5 else line for n, line in enumerate(before)]
    shown = _text({"prompt": of_texts("\n".join(before), "\n".join(after))})
    signs = [line[2:3] for line in shown if line.startswith(("  +", "  -"))]
    assert shown[-1] == f"  and {20 - len(signs)} more"


@pytest.mark.parametrize("words", [("same",), ("a", "b"), tuple(map(str, range(90)))])
def test_the_longest_prompts_are_compared_at_once(words: tuple[str, ...]) -> None:
    before = "\n".join(words[n % len(words)] for n in range(200_000))
    began = time.process_time()
    found = of_texts(f"old\n{before}", f"new\n{before[::-1]}")
    assert found is not None and found.lines and found.more >= 1000
    assert time.process_time() - began < 5


# -- runs that are over ----------------------------------------------------------------------------


def test_two_runs_of_the_same_settings_differ_in_no_name_of_their_own(root: Path) -> None:
    runs = []
    for run_id in (FIRST, SECOND):
        words = ("codex", "-C", f"/trees/{run_id}", "--temp", f"/temp/{run_id}", run_id)
        own = {"argv": words, "cwd": f"/trees/{run_id}", "temp": f"/temp/{run_id}", "thread_id": f"t{run_id}"}
        prompt = f"You are .runs/work/cli/{run_id}/manifest.json in /trees/{run_id}."
        runs.append(a_run(root, run_id, f"cat /trees/{run_id}/a", prompt=prompt, **own))
    found = parts(*runs)
    for name in ("settings", "prompt", "commands", "checks", "attempts", "verdict"):
        part = found[name]
        assert part is not None and part == Aspect(compared=part.compared), (name, part)
    assert found["files"] is found["findings"] is found["base"] is None  # nobody looked


def test_settings_are_told_by_their_names(root: Path) -> None:
    limits = Limits(60.0, 900.0, None, 5.0)
    before = a_run(root, FIRST)
    after = a_run(root, SECOND, model="gpt-6", limits=limits, terms=Terms(scope=("src/**",)))
    assert told(parts(before, after)["settings"]) == [
        ("changed", "model", '"gpt-5"', '"gpt-6"'),
        ("changed", "limits.timeout_s", "7200.0", "60.0"),
        ("changed", "scope", "[]", '["src/**"]'),
    ]


def test_the_words_of_the_command_are_compared_one_by_one(root: Path) -> None:
    before = a_run(root, FIRST, argv=("codex", "exec", "-c", "a=1", "-c", "b=2"))
    after = a_run(root, SECOND, argv=("/opt/codex", "exec", "-c", "b=2", "-m", "gpt-6"))
    assert told(parts(before, after)["arguments"]) == [
        ("changed", "-c", "2 times", "1 time"),
        ("new", "-m", None, "1 time"),
        ("new", "gpt-6", None, "1 time"),
        ("gone", "a=1", "1 time", None),
    ]


def test_a_setting_that_an_older_runner_did_not_write_down_is_not_known(root: Path) -> None:
    before, after = a_run(root, FIRST), a_run(root, SECOND)
    known = json.loads(Path(before.invocation).read_text())
    del known["mac"], known["baseline"], known["terms"]["protect"]
    write_record(before.invocation, known)
    found = parts(before, after)["settings"]
    assert found is not None and (found.differences, found.unknown) == ((), ("protect", "baseline"))
    assert "settings (protect, baseline)" in _text({"settings": found})[0]


def test_commands_are_counted(root: Path) -> None:
    before = a_run(root, FIRST, "make", "bash -lc 'pytest -q'", "make")
    after = a_run(root, SECOND, "make", "ls", "ls")
    assert told(parts(before, after)["commands"]) == [
        ("changed", "make", "2 times", "1 time"),
        ("new", "ls", None, "2 times"),
        ("gone", "pytest -q", "1 time", None),
    ]


def test_commands_are_not_known_without_the_output_of_the_agent(root: Path) -> None:
    before, after = a_run(root, FIRST, "make"), a_run(root, SECOND)
    Path(after.stdout).unlink()
    assert parts(before, after)["commands"] is None


def test_ten_thousand_commands_take_no_longer_than_their_log(root: Path) -> None:
    before = a_run(root, FIRST, *(f"make target-{n}" for n in range(10_000)))
    began = time.process_time()
    found = parts(before, a_run(root, SECOND))["commands"]
    assert found is not None and (len(found.differences), found.more) == (1000, 9000)
    assert time.process_time() - began < 30


def test_checks_and_findings_are_compared_one_by_one(root: Path) -> None:
    two = (("pytest",), ("ruff", "check"))
    before, after = a_run(root, FIRST, verify=two), a_run(root, SECOND, verify=two)
    passed = {"argv": ["pytest"], "exit_code": 0, "timed_out": False, "duration_s": 1.0, "tail": ""}
    write_result(before, a_result(checks=[passed], findings=[]))
    write_result(after, a_result())
    found = parts(before, after)
    assert told(found["checks"]) == [("changed", "pytest", "passed", "failed: exited with 1")]
    assert found["checks"] is not None and found["checks"].compared == 2
    assert told(found["findings"]) == [("new", "claim_contradicted: it lies", None, "error")]


def test_findings_of_a_review_are_known_again_and_those_of_none_are_not_known(root: Path) -> None:
    def review(run_id: str, **claim: Any) -> RunDir:
        run = a_run(root, run_id, terms=Terms(output_contract="findings"))
        write_result(run, a_result(findings=[], **claim))
        return run

    one = {"file": "a.py", "line": 3, "title": "Wrong", "detail": "", "evidence": "", "severity": "minor"}
    said = {"claim": a_result()["claim"] | {"findings": [one]}}
    graver = {"claim": a_result()["claim"] | {"findings": [one | {"line": 9, "severity": "critical"}]}}
    before = review(FIRST, **said)
    found = parts(before, review(SECOND, **graver))["findings"]
    assert told(found) == [("changed", "a.py: Wrong", "minor", "critical")]
    assert parts(before, review(THIRD, claim=None))["findings"] is None


def test_of_two_equal_findings_or_checks_each_counts(root: Path) -> None:
    one = {"file": "a.py", "line": 3, "title": "Wrong", "detail": "", "evidence": "", "severity": "minor"}
    twice = [one, one | {"line": 9, "severity": "critical"}]
    passed = {"argv": ["pytest"], "exit_code": 0, "timed_out": False, "duration_s": 1.0, "tail": ""}
    runs = []
    for run_id, said, checks in (
        (FIRST, twice, [passed, passed | {"exit_code": 1}]),
        (SECOND, [one], [passed]),
    ):
        claim = a_result()["claim"] | {"findings": said}
        terms = Terms(output_contract="findings")
        runs.append(a_run(root, run_id, verify=(("pytest",),) * 2, terms=terms))
        write_result(runs[-1], a_result(findings=[], claim=claim, checks=checks))
    found = parts(*runs)
    assert told(found["findings"]) == [
        ("changed", "a.py: Wrong", "critical", "minor"),
        ("gone", "a.py: Wrong (2)", "minor", None),
    ]
    assert told(found["checks"]) == [("changed", "pytest (2)", "failed: exited with 1", "not run")]


def test_two_files_that_look_the_same_are_two(root: Path) -> None:
    before, after = a_run(root, FIRST), a_run(root, SECOND)
    seen = a_result()["observed"]
    write_result(before, a_result(observed=seen | {"changed": ["vis\u200bible.py", "visible.py"]}))
    write_result(after, a_result(observed=seen | {"changed": ["visible.py"]}))
    assert told(parts(before, after)["files"]) == [("gone", r"vis\u200bible.py", "?", None)]


def test_how_much_was_uncommitted_is_not_known_without_the_record_of_before(root: Path) -> None:
    runs = [a_run(root, run_id) for run_id in (FIRST, SECOND)]
    for run in runs:
        manifest = run.read_manifest()
        run.write_manifest(manifest.replace(workspace=Workspace("worktree", "/trees/x", "1" * 40)))
    base = parts(*runs)["base"]
    assert base is not None and base.unknown == ("branch", "uncommitted") and not base.differences


def test_files_whose_contents_nobody_knows_are_not_called_equal(root: Path) -> None:
    before, after = a_run(root, FIRST), a_run(root, SECOND)
    write_result(before, a_result())
    write_result(after, a_result(observed=a_result()["observed"] | {"changed": ["a.txt", "c.txt"]}))
    found = parts(before, after)["files"]
    assert found is not None and found.unknown == ("a.txt",)
    assert told(found) == [("new", "c.txt", None, "?"), ("gone", "b.txt", "?", None)]


def test_an_end_is_compared_and_of_what_goes_on_it_is_not_known(root: Path) -> None:
    failed = {"outcome": Outcome.FAILED, "code": "cli_failure", "usage": Usage(5000, 0, 7, None)}
    before, after = a_run(root, FIRST, usage=Usage(1000, 0, 7, None)), a_run(root, SECOND, **failed)
    found = parts(before, after)
    assert told(found["tokens"]) == [("changed", "input_tokens", "1,000", "5,000")]
    assert found["tokens"] is not None and found["tokens"].unknown == ("reasoning_output_tokens",)
    assert told(found["verdict"]) == [
        ("changed", "outcome", "succeeded", "failed"),
        ("changed", "reason", "completed", "cli_failure"),
    ]
    lost = a_run(root, THIRD, outcome=Outcome.LOST, code="lost", started_at=None)
    assert found["time"] is not None
    assert parts(before, lost)["time"] is None


def test_steps_of_plans_are_compared_by_their_names(root: Path) -> None:
    runs = []
    for run_id, status, why in (
        (FIRST, Status.SUCCEEDED, None),
        (SECOND, Status.FAILED, Reason("verify_failed", "no")),
    ):
        plan = {"file": "plan.md", "batches": []}
        run = a_run(root, run_id, plan=plan)
        run.write_manifest(run.read_manifest().replace(runtime=RuntimeFound(PLAN, "", "")))
        steps = (Step(1, ("U1",), status=status, why=why), Step(2, ("U2",)))
        ledger = PlanLedger("plan.md", None, steps, Breaker(3))
        write_record(run.ledger, ledger.to_json())
        runs.append(run)
    found = parts(*runs)
    assert told(found["steps"]) == [("changed", "batch 1", "succeeded", "failed: verify_failed")]
    assert found["commands"] is found["checks"] is found["files"] is None  # those are of its runs
    Path(runs[0].ledger).unlink()
    assert parts(*runs)["steps"] is None
    Path(runs[0].ledger).write_text(Path(runs[1].ledger).read_text())
    assert parts(*runs)["steps"] is None  # that is the progress of another run


def test_runs_of_other_runtimes_and_tasks_are_compared(root: Path) -> None:
    other = {"runtime": "claude", "program": "/usr/bin/claude", "version": "2.1.0"}
    found = parts(a_run(root, FIRST), a_run(root, SECOND, task="other", **other))
    assert told(found["versions"])[0] == ("new", "claude", None, "2.1.0")
    assert told(found["settings"]) == [("changed", "runtime", '"codex"', '"claude"')]


def test_which_runner_made_a_run_is_compared_and_not_known_of_an_older_one(root: Path) -> None:
    before, after = (
        a_run(root, run_id, runner_version=version) for run_id, version in ((FIRST, "1.0"), (SECOND, "1.1"))
    )
    found = parts(before, after)
    assert told(found["versions"]) == [("changed", "runner", "1.0", "1.1")]
    assert told(found["settings"]) == []
    older = parts(a_run(root, THIRD), after)["versions"]
    assert older is not None and "runner" in older.unknown


def test_no_value_of_a_secret_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-verysecretvalue1234567890")
    token = "ghp_" + "a1B2" * 9
    before = a_run(root, FIRST)
    after = a_run(root, SECOND, f"curl -H {token}", prompt=f"Use {token}.", argv=("codex", f"-c={token}"))
    assert token not in json.dumps([part and part.to_json() for part in parts(before, after).values()])


def test_nothing_hostile_reaches_the_terminal(root: Path) -> None:
    before = a_run(root, FIRST, "ls", prompt="Do it.")
    plain = {"reason": Reason(HOSTILE, HOSTILE)}
    after = a_run(root, SECOND, HOSTILE, prompt=HOSTILE, argv=("codex", HOSTILE), **plain)
    write_result(before, a_result(findings=[]))
    text = pen.cleaned("\n".join(_text(parts(before, after))))
    assert "add-mask" in text and harm(text) == []


# -- which run is meant ----------------------------------------------------------------------------


def test_one_run_alone_is_compared_with_the_last_like_it_that_succeeded(root: Path) -> None:
    a_run(root, FIRST)
    plan = {"file": "plan.md", "batches": []}
    a_run(root, f"{SECOND[:-1]}0", plan=plan)
    a_run(root, SECOND)
    a_run(root, f"{SECOND[:-1]}3", outcome=Outcome.FAILED, code="cli_failure")
    child = a_run(root, f"{SECOND[:-1]}4")
    child.write_manifest(child.read_manifest().replace(parent=lineage_of(child)))
    played = a_run(root, f"{SECOND[:-1]}5")
    played.write_manifest(played.read_manifest().replace(rehearsal=True))
    forged = a_run(root, f"{SECOND[:-1]}6")
    Path(forged.invocation).write_bytes(Path(forged.invocation).read_bytes().replace(b"gpt-5", b"gpt-4"))
    newest = a_run(root, THIRD, outcome=Outcome.REJECTED, code="verify_failed")
    a_run(root, f"20261201{THIRD[8:]}")
    assert last_that_worked(newest).run_id == SECOND


def test_one_run_alone_is_compared_with_another_runtime_only_where_none_of_its_own_succeeded(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    claude = {"runtime": "claude", "program": "/usr/bin/claude", "version": "2.1.0"}
    others = [a_run(root, run_id, **claude) for run_id in (FIRST, f"{FIRST[:-1]}2", SECOND)]
    for one in others:
        one.write_manifest(
            one.read_manifest().replace(runtime=RuntimeFound("claude", "/usr/bin/claude", "2"))
        )
    newest = a_run(root, THIRD)
    monkeypatch.chdir(root)
    assert last_that_worked(newest).run_id == SECOND
    note = "no earlier run of it with codex succeeded: this compares with the last one with claude"
    assert main(["diff-runs", THIRD]) == 0 and capsys.readouterr().out.startswith(f"{note}\n\nbefore ")
    assert main(["diff-runs", THIRD, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["note"], told["before"]["runtime"], told["after"]["runtime"]) == (note, "claude", "codex")
    shutil.rmtree(others[1].path)
    a_run(root, f"{FIRST[:-1]}2")
    assert last_that_worked(newest).run_id == f"{FIRST[:-1]}2"
    for words in ([THIRD], [SECOND, THIRD]):
        assert main(["diff-runs", *words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["note"] is None


def test_without_an_earlier_run_that_succeeded_another_one_is_asked_for(root: Path) -> None:
    a_run(root, FIRST, outcome=Outcome.LOST, code="lost")
    with pytest.raises(RunNotFound, match="that succeeded is left") as caught:
        last_that_worked(a_run(root, SECOND))
    assert "diff-runs A B" in (caught.value.hint or "")


def test_a_run_is_not_compared_with_itself(root: Path) -> None:
    run = a_run(root, FIRST)
    with pytest.raises(UsageError, match="both are run"):
        diff_runs(run, RunDir(run.repo, run.task_id, run.run_id))


@pytest.mark.parametrize("is_before", [True, False])
def test_a_run_that_was_not_made_here_is_refused(root: Path, is_before: bool) -> None:
    own, theirs = a_run(root, FIRST), a_run(root, SECOND)
    data = Path(theirs.invocation).read_bytes()
    Path(theirs.invocation).write_bytes(data.replace(b"gpt-5", b"gpt-4"))
    with pytest.raises(ForeignRun):
        diff_runs(*((theirs, own) if is_before else (own, theirs)))
    Path(theirs.invocation).unlink()
    with pytest.raises(InvocationBroken):
        diff_runs(*((theirs, own) if is_before else (own, theirs)))


def test_a_run_without_its_result_has_findings_that_nobody_knows(root: Path) -> None:
    before, after = a_run(root, FIRST), a_run(root, SECOND)
    write_result(before, a_result())
    found = parts(before, after)
    assert found["findings"] is None and found["checks"] is not None
    shutil.rmtree(after.path)
    with pytest.raises(InvocationBroken):
        parts(before, after)
