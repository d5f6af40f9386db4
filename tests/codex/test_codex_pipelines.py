"""Pipelines with the real Codex and a scripted model: stages, gates, people, reviews with repairs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.batches import disk
from support.judged import call, claim, says
from support.repo import Repo, Run
from support.stages import (
    PLAN,
    PRD,
    THEN,
    approve,
    asks,
    builds,
    ends,
    finding,
    finds,
    ledger,
    plays,
    prepares,
    reason_of,
    refused,
    resumes,
    run_of,
    shown,
    stage,
    start_words,
    starts,
    step,
    steps,
    writes,
)
from support.waiting import wait_until
from support.waves import gated, opens, waits_at_gate

pytestmark = pytest.mark.usefixtures("over")

REVIEW = ('tasks = ["look", "also"]', 'gate = { no_findings = "critical" }', 'repair = { task = "fix" }')


def from_question_to_code(repo: Repo) -> None:
    """Six stages of all kinds; an agent writes the plan."""
    (repo.home / "plan.toml").write_text(PLAN)
    plan = call(f"mkdir -p plans; cp {repo.home}/plan.toml plans/csv.toml")
    mends = call("echo 'answer = 42' > src/app.py") + says(claim())
    gate = 'gate = [["test", "-e", "src/m2.py"]]'
    prepares(
        repo,
        stage("research", 'tasks = ["look", "also"]'),
        stage("prd", 'person = "docs/{name}.md"', 'gate = "approve"', 'prompt = "What do we want?"'),
        stage("draft", 'tasks = ["fix"]'),
        stage("implement", 'plan = "plans/{name}.toml"', 'task = "build"', gate),
        stage("review", *REVIEW),
        stage("testing", 'tasks = ["fix"]', 'gate = [["grep", "-q", "42", "src/app.py"]]'),
        input=("name", "question"),
        delegate=("soft_cap = 1",),
        research_look=call(f"{gated(repo)}true") + says("Rows come from `shop`."),
        research_also=call(f"{gated(repo)}true") + says("Input is checked nowhere."),
        draft_fix=plan + says(claim(files=["plans/csv.toml"])),
        review_look=finds(finding(title="The answer is 41"), finding("minor", "A word")),
        testing_fix=writes("tests/test_app.py"),
        **{"implement_batch-1": builds(1), "implement_batch-2": builds(2)},
        **{"review_repair-1-1": mends, "review_look.2": finds(finding("minor", "A word"))},
    )


def test_a_pipeline_goes_from_a_question_to_reviewed_code(repo: Repo) -> None:
    from_question_to_code(repo)
    run = starts(repo, "--set", "name=csv", "--set", "question=How?")
    for task in ("look", "also"):  # side by side: each is there while the other one waits
        waits_at_gate(run_of(run, "research", task))
    opens(repo)
    asks(run, "prd")
    (item,) = [one for one in repo.json("inbox")["items"] if one["kind"] == "approval"]
    assert item["commands"] == ["runner approve feature prd", "runner approve feature prd --reject"]
    assert "What do we want?" in item["text"] and "docs/csv.md" in item["text"]
    wait_until(lambda: run.on_disk()["plan"]["batches"][-1]["status"] == "asked", what="what `status` shows")
    repo.write("docs/csv.md", "# CSV\n")
    approve(run, "prd")
    asks(run, "implement")
    assert not (repo.root / "src/m1.py").exists(), "an agent has written the plan"
    approve(run, "implement")
    manifest = ends(run)
    assert shown(run) == ORDER
    assert (repo.root / "src/app.py").read_text() == "answer = 42\n"
    looks_as_it_was(run, manifest)
    tells_its_end(repo, run)


ORDER = [
    "research task look: succeeded",
    "research task also: succeeded",
    "research gate gate: succeeded",
    "prd person docs/csv.md: succeeded",
    "draft task fix: succeeded",
    "draft gate gate: succeeded",
    "implement person plans/csv.toml: succeeded",
    "implement gate the plan: succeeded",
    "implement batch batch 1 (U1): succeeded",
    "implement batch batch 2 (U2): succeeded",
    "implement gate gate: test -e src/m2.py: succeeded",
    "review task look: succeeded",
    "review task also: succeeded",
    "review gate gate: no critical findings: replaced",
    "review repair repair 1-1: succeeded",
    "review review look: succeeded",
    "review review also: succeeded",
    "review gate gate: no critical findings: succeeded",
    "testing task fix: succeeded",
    "testing gate gate: grep -q 42 src/app.py: succeeded",
]


def looks_as_it_was(run: Run, manifest: dict[str, Any]) -> None:
    """The runs are its children, in order, and each is told what it may know."""
    plan = manifest["plan"]
    names = ("research", "prd", "draft", "implement", "review", "testing")
    assert plan["stages"] == [{"name": name, "status": "passed"} for name in names]
    assert plan["file"] == "pipeline feature" and plan["left"] == []
    began = [step["run"]["run_id"] for step in steps(run) if step["run"]]
    assert [child["run_id"] for child in manifest["children"]] == began == sorted(began)
    own = {"task_id": "feature", "run_id": run.id, "manifest_path": manifest["manifest_path"]}
    assert all(
        Run(run.repo, one["run_id"], one["task_id"]).on_disk()["parent"] == own
        for one in manifest["children"]
    )

    first, last = (
        run_of(run, *name).file("prompt.md") for name in (("research", "look"), ("testing", "fix"))
    )
    assert "### question\n\n    How?" in first and "## Earlier stages" not in first
    assert "- research: also (succeeded): Input is checked nowhere." in last
    assert (
        f"- prd: docs/csv.md (approved by a person)\n  Its whole result: {run.repo.root}/docs/csv.md" in last
    )
    assert str(run_of(run, "implement", "batch 2 (U2)").folder / "last-message.md") in last
    repair = run_of(run, "review", "repair 1-1")
    told = repair.file("prompt.md")
    assert "- critical: The answer is 41\n  Place: src/app.py:1" in told and "A word" not in told
    verified = json.loads(repair.file("invocation.json"))["verify"]
    assert verified == [["test", "!", "-e", "bad"], ["test", "-e", "src/m2.py"]], (
        "its own, and what has passed"
    )
    again = run_of(run, "review", "look").file("prompt.md")
    assert "## After a repair" in again and "The answer is 41" in again


def tells_its_end(repo: Repo, run: Run) -> None:
    """To people, and to code hosts: what is left, and no finding that was repaired."""
    kept = run.file("findings-review.md")
    assert "**minor** src/app.py:1: A word" in kept and "41\n" not in kept
    report = repo.json("report", run.id)
    assert any(one.startswith("prd: docs/csv.md: succeeded, approved by ") for one in report["gates"])
    assert [one["title"] for one in report["review_findings"]] == ["A word"]
    assert report["files"]["observed"] == [
        "plans/csv.toml",
        "src/app.py",
        "src/m1.py",
        "src/m2.py",
        "tests/test_app.py",
    ]
    told = repo.cli("report", run.id, "--format", "sarif").json()
    (result,) = told["runs"][0]["results"]
    assert result["level"] == "note" and result["message"]["text"].startswith("A word")
    text = repo.cli("status", run.id).stdout
    assert "6 of 6 stages passed" in text and "check_changed" in text
    assert not [one for one in repo.json("inbox")["items"] if one["kind"] == "approval"]


# -- gates -------------------------------------------------------------------------------------------


def test_a_gate_that_is_not_passed_ends_its_stage_and_resuming_looks_again(repo: Repo) -> None:
    prepares(
        repo,
        stage("first", 'tasks = ["look"]', 'gate = [["true"], ["ls", "ready"]]'),
        stage("after", 'tasks = ["look"]'),
        stage("beside", "needs = []", 'tasks = ["also"]'),
    )
    run = starts(repo)
    manifest = ends(run, "failed")
    assert manifest["reason"]["code"] == "batches_left" and "first" in manifest["reason"]["message"]
    assert (
        reason_of(run, "first") == "verify_failed" and "ls ready" in step_of(run, "first")["why"]["message"]
    )
    stages = {one["name"]: one["status"] for one in manifest["plan"]["stages"]}
    assert stages == {"first": "failed", "after": "waiting", "beside": "passed"}
    why = "first: gate: true and ls ready: `ls ready` exited with 2: gate-first-2.log; left: first, after"
    assert manifest["reason"]["message"] == why
    page, text = (repo.cli("report", run.id, "--format", how).stdout for how in ("html", "text"))
    assert "<dt>Stages</dt><dd>1 of 3 passed</dd>" in page and "none but those of gates was run" in text
    assert "runner start --pipeline feature --resume" in run.on_disk()["reason"]["hint"]
    assert repo.json("report", run.id)["gates"] == [
        "first: gate: true and ls ready: failed (`ls ready` exited with 2: gate-first-2.log)",
        "beside: gate: succeeded",
    ]
    assert "ready" in run.file("gate-first-2.log"), "what the gates of others print is elsewhere"
    (repo.root / "ready").touch()
    again = resumes(repo)
    ends(again)
    assert [child["task_id"] for child in again.on_disk()["children"]] == ["look"], (
        "what was passed stays passed"
    )
    assert run_of(again, "first", "look").id == run_of(run, "first", "look").id
    done = refused(repo, "--resume")
    assert "nothing of pipeline `feature` is left" in done.error["message"]


def step_of(run: Run, stage: str) -> dict[str, Any]:
    """The newest gate."""
    return [one for one in steps(run) if (one["stage"], one["kind"]) == (stage, "gate")][-1]


def test_a_run_that_fails_ends_its_stage_and_is_tried_again_alone(repo: Repo) -> None:
    prepares(
        repo,
        stage("first", 'tasks = ["fix", "also"]'),
        stage("after", 'tasks = ["look"]'),
        first_fix=writes("bad"),
    )
    run = starts(repo)
    ends(run, "failed")
    assert [one["status"] for one in steps(run)] == ["failed", "succeeded", "waiting"]
    plays(repo, "first.fix", writes("good"))
    again = resumes(repo)
    ends(again)
    assert [child["task_id"] for child in again.on_disk()["children"]] == ["fix", "look"]
    assert repo.says("status", "--porcelain").splitlines() == ["?? good"], "what was rejected is taken back"


# -- reviews and repairs -----------------------------------------------------------------------------


def reviewed(repo: Repo, *findings: dict[str, Any], rounds: int = 3, **scripts: str) -> Run:
    """A pipeline of one stage whose review finds that, once it is over."""
    table = f'repair = {{ task = "fix", max_rounds = {rounds} }}'
    one = stage("review", 'tasks = ["look"]', 'gate = { no_findings = "critical" }', table)
    prepares(repo, one, review_look=finds(*findings), **scripts)
    run = starts(repo)
    ends(run, "failed")
    return run


def kinds(run: Run) -> list[str]:
    return [one["kind"] for one in steps(run)]


def test_a_repair_that_repairs_nothing_is_no_progress(repo: Repo) -> None:
    said = {"review_look.2": finds(finding(title="it is  WRONG", line=7), finding(title="Another"))}
    run = reviewed(repo, finding(), **said, **{"review_repair-1-1": writes("src/other.py")})
    assert kinds(run) == ["task", "gate", "repair", "review", "gate"]
    assert reason_of(run, "review") == "no_progress"
    assert "no_line" in run_of(run, "review", "look").file("result.json")


def test_reviews_that_find_something_new_each_time_end_with_the_last_round(repo: Repo) -> None:
    said = {f"review_look.{n}": finds(finding(title=f"Number {n}")) for n in (2, 3)}
    said |= {f"review_repair-{n}-1": writes("src/other.py") for n in (1, 2)}
    run = reviewed(repo, finding(), rounds=2, **said)
    assert kinds(run) == ["task", "gate", *["repair", "review", "gate"] * 2]
    assert reason_of(run, "review") == "findings_left"
    assert "after 2 rounds: src/app.py:1: Number 3" in step_of(run, "review")["why"]["message"]


def test_what_a_person_repairs_after_the_last_round_is_reviewed_anew_when_it_is_resumed(repo: Repo) -> None:
    said = {"review_repair-1-1": writes("bad"), "review_look.2": finds(finding("minor"))}
    run = reviewed(repo, finding(), rounds=1, **said)
    assert step(run, "review", "repair 1-1")["status"] == "replaced"
    assert reason_of(run, "review") == "findings_left", "no review says away what is not repaired"
    assert told(repo, run) == ["critical", "minor"]
    plays(repo, "review.look.3", finds(finding(title="It is still there")))
    again = resumes(repo)
    ends(again, "failed")
    assert kinds(again) == kinds(run) == ["task", "gate", "repair", "review", "gate"], "no round is left"
    assert "It is still there" in step_of(again, "review")["why"]["message"]
    plays(repo, "review.look.4", finds())
    third = resumes(repo)
    ends(third)
    assert [child["task_id"] for child in third.on_disk()["children"]] == ["look"], "and nothing else is"
    assert "It is wrong" in run_of(third, "review", "look").file("prompt.md"), "it is told what to look at"
    assert reason_of(third, "review") == "not_repaired"
    assert told(repo, third) == ["critical", "critical"], "what the review before it has said is kept, too"
    assert "It is wrong" in third.file("findings-review.md")


def told(repo: Repo, run: Run) -> list[str]:
    """The severities of what the report of the pipeline lists as found by reviews."""
    report = repo.cli("report", run.id, "--format", "json").json()
    return [one["severity"] for one in report["review_findings"]]


def test_what_two_reviews_find_is_repaired_once_and_what_had_nothing_left_to_do_is_told(repo: Repo) -> None:
    prepares(
        repo,
        stage("review", *REVIEW),
        review_look=finds(finding(), finding("critical", "The answer is 41")),
        review_also=finds(finding()),
        **{"review_repair-1-1": call("sed -i s/41/42/ src/app.py") + says(claim())},
        **{"review_repair-1-2": says(claim(files=[]))},
        **{"review_look.2": finds(), "review_also.2": finds()},
    )
    run = starts(repo)
    ends(run)
    assert kinds(run).count("repair") == 2
    assert reason_of(run, "review") == "not_repaired" and told(repo, run) == ["critical"]
    assert "The answer is 41" in run.file("findings-review.md")


def test_what_a_repair_leaves_alone_is_left_though_no_review_finds_it_and_another_was_repaired(
    repo: Repo,
) -> None:
    run = reviewed(
        repo,
        finding(),
        finding(title="Another", line=90),
        rounds=1,
        **{"review_repair-1-1": call("sed -i s/41/42/ src/app.py") + says(claim())},
        **{"review_repair-1-2": says(claim(files=[])), "review_look.2": finds(finding("important", "New"))},
    )
    assert (
        reason_of(run, "review") == "findings_left" and "Another" in step_of(run, "review")["why"]["message"]
    )
    plays(repo, "review.look.3", finds())
    again = resumes(repo)
    ends(again)
    assert told(repo, again) == ["critical", "important"], "what was said before it was run anew is kept"
    assert "New" in again.file("findings-review.md")


def test_what_reviews_found_is_told_whatever_becomes_of_those_after_them(repo: Repo) -> None:
    prepares(
        repo,
        stage("review", 'tasks = ["look"]', 'gate = { no_findings = "critical" }'),
        review_look=finds(finding(title="A"), finding("important", "B")),
    )
    ends(starts(repo), "failed")
    plays(repo, "review.look.2", says("no findings"))
    second = resumes(repo)
    ends(second, "failed")
    assert told(repo, second) == ["critical", "important"], "as nothing else was found since"
    plays(repo, "review.look.2", finds(finding(title="C")))
    ends(resumes(repo), "failed")
    plays(repo, "review.look.3", finds())
    last = resumes(repo)
    ends(last)
    assert told(repo, last) == ["critical", "critical", "important"]
    assert reason_of(last, "review") == "not_repaired"
    why = step_of(last, "review")["why"]["message"]
    assert "A" in why and "C" in why and ": B" not in why, "what the gate did not let pass"
    assert all(f": {title}\n" in last.file("findings-review.md") for title in "ABC")


def test_a_repair_that_did_not_help_is_no_reason_to_forget_what_it_was_asked_for(repo: Repo) -> None:
    repairs = {"review_repair-1-1": call("echo y >> src/app.py") + says(claim())}
    there = finding("minor", line=50)
    run = reviewed(repo, finding(), there, **repairs, **{"review_look.2": finds(finding())})
    assert reason_of(run, "review") == "no_progress"
    assert repo.cli("report", run.id, "--format", "json").json()["repaired"] == []
    plays(repo, "review.look.3", finds())
    again = resumes(repo)
    ends(again)
    assert reason_of(again, "review") == "not_repaired" and told(repo, again) == ["critical", "minor"]
    kept = again.file("findings-review.md")
    gone = "**minor** src/app.py:50 (no such line):"
    assert "**critical** src/app.py:1:" in kept and gone in kept


def test_findings_of_one_name_at_two_places_are_two(repo: Repo) -> None:
    there = finding(line=90)
    prepares(
        repo,
        stage("review", 'tasks = ["look"]', *REVIEW[1:]),
        review_look=finds(finding(), there, finding("important")),
        **{"review_repair-1-1": call("sed -i s/41/42/ src/app.py") + says(claim())},
        **{"review_repair-1-2": says(claim(files=[])), "review_look.2": finds()},
        **{
            "review_repair-2-1": call("sed -i 90s/pass/done/ src/app.py") + says(claim()),
            "review_look.3": finds(),
        },
    )
    repo.write("src/app.py", "answer = 41\n" + "pass\n" * 100)
    run = starts(repo)
    ends(run)
    assert kinds(run).count("repair") == 3, (
        "the one that was left alone is asked for again, and is no no_progress"
    )
    assert step(run, "review", "repair 2-1")["about"][0]["line"] == 90
    assert told(repo, run) == []


@pytest.mark.parametrize("severity", ["critical", "important"])
def test_lines_that_a_repair_wrote_in_another_file_bring_no_two_findings_together(
    repo: Repo, severity: str
) -> None:
    """The far one is neither passed over by the gate nor forgotten."""
    far, mends = finding(severity, line=800), says(claim(files=["src/app.py"]))
    is_grave = severity == "critical"
    prepares(
        repo,
        stage("review", 'tasks = ["look"]', *REVIEW[1:2], 'repair = { task = "fix", max_rounds = 2 }'),
        files={"src/app.py": "pass\n" * 900, "src/gen.py": "0\n"},
        review_look=finds(finding(line=10), far),
        **{"review_repair-1-1": call("seq 3000 > src/gen.py; sed -i 10d src/app.py") + mends},
        **{"review_repair-1-2": says(claim(files=[])), "review_look.2": finds(finding(severity, line=12))},
        **{"review_repair-2-1": call("sed -i 12d src/app.py") + mends, "review_look.3": finds()},
    )
    run = starts(repo)
    ends(run, "failed" if is_grave else "succeeded")
    told = repo.cli("report", run.id, "--format", "json").json()["review_findings"]
    assert (severity, 800) in [(one["severity"], one["line"]) for one in told]
    if is_grave:
        assert reason_of(run, "review") == "findings_left"
    else:
        assert "src/app.py:800" in run.file("findings-review.md")


def test_what_was_rejected_is_asked_for_again_though_a_review_says_one_of_its_name_that_moved(
    repo: Repo,
) -> None:
    """The one that was changed takes the repeat; the report has the other one."""
    prepares(
        repo,
        stage("review", 'tasks = ["look"]', REVIEW[1], 'repair = { task = "fix", max_rounds = 2 }'),
        files={"src/app.py": "pass\n" * 60},
        review_look=finds(finding(line=5), finding(line=50)),
        **{"review_repair-1-1": call("sed -i '1,30s/^/new\\n/' src/app.py") + says(claim())},
        **{"review_repair-1-2": says(claim()), "review_look.2": finds(finding(line=35))},
        **{"review_repair-2-1": call("sed -i 35d src/app.py") + says(claim()), "review_look.3": finds()},
    )
    run = starts(repo)
    ends(run, "failed")
    asked = [one["about"][0]["line"] for one in steps(run) if one["kind"] == "repair"]
    assert asked == [5, 50, 35, 50] and reason_of(run, "review") == "findings_left"
    left = repo.cli("report", run.id, "--format", "json").json()["review_findings"]
    assert [one["line"] for one in left] == [50]


def test_where_nobody_knows_what_a_repair_has_changed_the_review_decides_and_the_gate_says_so(
    repo: Repo,
) -> None:
    prepares(
        repo,
        stage("review", 'tasks = ["look"]', *REVIEW[1:]),
        review_look=finds(finding(file="ignored/app.py")),
        **{"review_repair-1-1": call("echo 42 > ignored/app.py") + says(claim(files=[]))},
        **{"review_look.2": finds()},
    )
    repo.write(".git/info/exclude", "ignored/\n")
    repo.write("ignored/app.py", "41\n")
    run = starts(repo)
    ends(run)
    assert kinds(run).count("repair") == 1 and reason_of(run, "review") == "not_observed"
    assert "is not known" in step_of(run, "review")["why"]["message"]


def test_what_no_repair_was_asked_for_is_kept_though_no_later_review_finds_it(repo: Repo) -> None:
    prepares(
        repo,
        stage("review", 'tasks = ["look"]', *REVIEW[1:]),
        review_look=finds(
            finding("minor", "Spelling", file="src/gone.py"), finding(), finding("important", "Another")
        ),
        **{"review_repair-1-1": call("sed -i s/41/42/ src/app.py") + says(claim()), "review_look.2": finds()},
    )
    run = starts(repo)
    ends(run)
    assert told(repo, run) == ["important", "minor"]
    kept = [line for line in run.file("findings-review.md").splitlines() if line.startswith("- [ ]")]
    assert kept == [
        "- [ ] **important** src/app.py:1: Another",
        "- [ ] **minor** src/gone.py:1 (no such file): Spelling",
    ]
    report = repo.cli("report", run.id, "--format", "json").json()
    assert [(one["step"], one["title"]) for one in report["repaired"]] == [
        ("review: repair 1-1", "It is wrong")
    ]
    assert "repaired, and not found again" in repo.cli("report", run.id).stdout


def test_a_repair_that_leaves_half_of_its_work_in_the_tree_ends_its_stage(repo: Repo) -> None:
    prepares(
        repo,
        stage("review", REVIEW[0], REVIEW[1], 'repair = { task = "half" }'),
        more='[tasks.half]\nprompt = "Fix."\nsandbox = "workspace-write"\noutput_contract = "final"\n',
        review_look=finds(finding()),
        **{"review_repair-1-1": writes("half.txt", status="partial")},
    )
    run = starts(repo)
    ends(run, "failed")
    assert step(run, "review", "repair 1-1")["status"] == "failed"
    assert step(run, "review", "repair 1-1")["kept"] == ["half.txt"]
    whole = call("rm half.txt; sed -i s/41/42/ src/app.py") + says(claim())
    plays(repo, "review.repair-1-1", whole)
    plays(repo, "review.look.2", finds())
    ends(resumes(repo))
    assert repo.says("status", "--porcelain").split() == ["M", "src/app.py"]


def test_a_gate_that_is_not_passed_counts_for_no_breaker(repo: Repo) -> None:
    stages = [
        stage(name, "needs = []", 'tasks = ["look"]', 'gate = { no_findings = "minor" }') for name in "abc"
    ]
    plays_of = {f"{name}_look": finds(finding("minor")) for name in "abc"}
    prepares(repo, *stages, stage("then", "needs = []", 'tasks = ["also"]'), **plays_of)
    run = starts(repo)
    ends(run, "failed")
    assert ledger(run)["breaker"] == {"limit": 3, "failures": 0, "is_open": False, "parked": None}
    assert "then task also: succeeded" in shown(run)


def test_more_findings_than_a_round_can_repair_are_for_a_person(repo: Repo) -> None:
    run = reviewed(repo, *(finding(title=f"Number {n}") for n in range(21)), rounds=1)
    assert kinds(run) == ["task", "gate"]
    assert reason_of(run, "review") == "too_many_findings"
    plays(repo, "review.look.2", finds(finding()))
    plays(repo, "review.repair-2-1", writes("src/other.py"))
    again = resumes(repo)
    ends(again)
    assert kinds(again) == ["task", "gate", "repair", "review", "gate"], "its round was not used up"


def test_a_review_that_says_no_findings_has_not_succeeded(repo: Repo) -> None:
    prepares(
        repo,
        stage("review", 'tasks = ["look"]', 'gate = { no_findings = "minor" }'),
        review_look=says("All is fine: 10 of 10."),
    )
    run = starts(repo)
    ends(run, "failed")
    assert step(run, "review", "look")["why"]["code"] == "result_invalid"
    assert reason_of(run, "review") is None, "the gate looks at nothing"
    plays(repo, "review.look", finds(finding("minor")))
    again = resumes(repo)
    ends(again, "failed")
    assert reason_of(again, "review") == "findings_left"


def test_a_repair_that_breaks_what_was_passed_is_rejected_and_its_finding_is_left(repo: Repo) -> None:
    prepares(
        repo,
        stage("tests", 'tasks = ["also"]', 'gate = [["sh", "check.sh"]]'),
        stage("review", 'tasks = ["look"]', *REVIEW[1:]),
        files={"check.sh": "grep -q answer src/app.py\n"},
        review_look=finds(finding()),
        **{"review_repair-1-1": call("echo broken > src/app.py") + says(claim())},
        **{"review_look.2": finds()},
        **{"review_repair-2-1": call("sed -i s/41/42/ src/app.py") + says(claim())},
        **{"review_look.3": finds()},
    )
    repo.write("notes.txt", "mine\n")  # in such a tree the default is to keep what has failed
    run = starts(repo)
    ends(run)
    assert run_of(run, "review", "repair 1-1").on_disk()["status"] == "rejected"
    assert step(run, "review", "repair 1-1")["status"] == "replaced"
    assert step(run, "review", "repair 2-1")["status"] == "succeeded", (
        "no review says away what is not repaired"
    )
    assert ledger(run)["breaker"]["failures"] == 0
    assert (repo.root / "src/app.py").read_text() == "answer = 42\n", "nothing of what was rejected"


# -- beginning -----------------------------------------------------------------------------------------


def test_what_was_done_by_hand_is_skipped_and_nothing_of_it_is_told(repo: Repo) -> None:
    prepares(
        repo,
        stage("research", 'tasks = ["look"]'),
        PRD,
        stage("beside", "needs = []", 'tasks = ["also"]'),
        stage("then", 'needs = ["prd"]', 'tasks = ["look"]'),
    )
    run = starts(repo, "--from", "then")
    manifest = ends(run)
    assert {one["name"]: one["status"] for one in manifest["plan"]["stages"]} == {
        **{"research": "skipped", "prd": "skipped"},
        **{"beside": "passed", "then": "passed"},
    }
    assert "## Earlier stages" not in run_of(run, "then", "look").file("prompt.md")
    assert refused(repo, "--from", "nowhere").error["code"] == "usage"


def test_a_dry_run_shows_every_run_and_changes_nothing(repo: Repo) -> None:
    from_question_to_code(repo)
    before = disk(repo)
    given = ("--set", "name=csv", "--set", "question=How?")
    done = repo.cli(*start_words(repo, *given, "--dry-run"))
    assert done.status == 0, done.stdout + done.stderr
    runs = [one["invocation"]["task_id"] for one in done.json()["runs"]]
    assert runs == ["look", "also", "fix", "build", "look", "also", "fix", "fix"]
    gates = [f"{one['stage']} {one['title']}" for one in done.json()["gates"]]
    assert gates == [
        *("prd docs/csv.md", "implement plans/csv.toml", "implement gate: test -e src/m2.py"),
        *("review gate: no critical findings", "testing gate: grep -q 42 src/app.py"),
    ]
    told = repo.cli(
        *(word for word in start_words(repo, *given, "--dry-run") if word not in ("--format", "json"))
    )
    assert told.status == 0 and "How?" in told.stdout
    assert disk(repo) == before


def test_what_lacks_or_does_not_fit_is_refused_before_anything_begins(repo: Repo) -> None:
    prepares(repo, stage("prd", 'person = "docs/{name}.md"'), THEN, input=("name", "question"))
    (repo.root / "question.md").write_text("What *is* it?\n")
    for words, code in (
        (("--set", "name=csv"), "input_missing"),
        (("--set", "name=csv", "--set", "question= "), "input_missing"),
        (("--set", "name=../csv", "--set", "question=x"), "usage"),
        (("--set", "name=csv", "--set", "question=@nowhere.md"), "prompt_invalid"),
        (("--set", "name=a", "--set", "name=b", "--set", "question=x"), "usage"),
        (("--task", "look"), "usage"),
        (("--resume",), "conflict"),
    ):
        assert refused(repo, *words).error["code"] == code, words
    other = repo.cli("start", "--pipeline", "featur", "--format", "json")
    assert (other.status, other.error["code"]) == (2, "pipeline_not_found") and "feature" in other.error[
        "hint"
    ]
    repo.write("docs/csv.md", "There.\n")
    run = starts(repo, "--set", "name=csv", "--set", "question=@question.md")
    ends(run)
    assert "### question\n\n    What *is* it?" in run_of(run, "then", "look").file("prompt.md")


def test_a_pipeline_that_was_edited_is_not_resumed(repo: Repo) -> None:
    prepares(repo, stage("first", 'tasks = ["look"]', 'gate = [["false"]]'), THEN, input=("name",))
    run = starts(repo, "--set", "name=a")
    ends(run, "failed")
    config = repo.root / "delegate.toml"
    text = config.read_text()
    config.write_text(text.replace('[["false"]]', '"succeeded"'))
    done = refused(repo, "--resume")
    assert done.error["code"] == "pipeline_changed"
    assert "stage first: gate changed" in json.dumps(done.error)
    config.write_text(text)
    assert refused(repo, "--resume", "--set", "name=b").error["code"] == "pipeline_changed"
    assert refused(repo, "--resume", "--from", "then").error["code"] == "usage"
    ends(resumes(repo, "--set", "name=a"), "failed")
