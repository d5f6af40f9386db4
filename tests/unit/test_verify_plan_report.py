"""The report of a plan: what those of its batches say together, and nothing more."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.imports import ROOT

from runner.conformance import Agreement, Conformance, Conformity
from runner.verify.checks import Check
from runner.verify.inspect import Finding, Severity
from runner.verify.plan_report import of_plan
from runner.verify.report import Claims, ReasonGiven, Report, ReportedFiles
from runner.verify.report_text import as_markdown, as_text

SCHEMA = json.loads((ROOT / "schemas" / "report.schema.json").read_text(encoding="utf-8"))
NO_TOKENS = {
    "input_tokens": None,
    "cached_input_tokens": None,
    "output_tokens": None,
    "reasoning_output_tokens": None,
}


def one(outcome: str = "succeeded", verdict: str = "ok", **changes: object) -> Report:
    made = Report(
        run_id="20261120T161337983Z-c1ae4b0a",
        task_id="build",
        outcome=outcome,
        reason=ReasonGiven("completed", "done"),
        failure_codes=(),
        summary="did it",
        files=ReportedFiles(("a.py",), ("a.py",), None),
        claims=Claims("completed", (), "all pass"),
        checks=(Check(("pytest",), 0, False, 0.1, ""),),
        findings=(),
        assumptions=(),
        conformance=Conformance(*[Conformity("x", "x", Agreement(verdict))] * 4),
        usage={**NO_TOKENS, "input_tokens": 10},
        attempts=(),
        residual_risk=(),
    )
    return made.replace(**changes)


OWN = one("failed", usage=NO_TOKENS, summary="the conductor's words", checks=())


def test_files_are_those_of_the_batches_that_succeeded() -> None:
    failed = one("rejected", files=ReportedFiles(("b.py",), ("b.py",), None))
    made = of_plan(OWN, [("batch 1", one()), ("batch 2", failed)], ("U2",))
    assert made.files.observed == ("a.py",)
    assert made.residual_risk[0] == "not done: U2"


def test_the_models_of_all_batches_are_told() -> None:
    seen = [("opus", "opus-5"), ("opus", "opus-5"), ("flash", None), (None, "gpt-6")]
    told = [Conformance(model=Conformity(*names, Agreement.OK)) for names in seen]
    made = of_plan(OWN, [(f"batch {n}", one(conformance=of)) for n, of in enumerate(told, 1)], ())
    assert made.conformance.model == Conformity(
        "opus, flash, default", "opus-5, not seen, gpt-6", Agreement.OK
    )
    assert (made.conformance.effort.declared, made.conformance.effort.observed) == (None, None)
    assert "model: opus, flash, default / opus-5, not seen, gpt-6 (ok)" in as_text(made)
    Draft202012Validator(SCHEMA).validate(made.to_json())


def test_what_is_spent_includes_earlier_tries_and_what_is_unknown_adds_nothing() -> None:
    earlier = [{**NO_TOKENS, "input_tokens": 7}, NO_TOKENS, {**NO_TOKENS, "output_tokens": 1}]
    made = of_plan(OWN, [("batch 1", one()), ("batch 2", one())], (), (), earlier)
    assert made.usage == {**NO_TOKENS, "input_tokens": 27, "output_tokens": 1}


def test_what_one_batch_does_not_know_of_its_files_the_plan_does_not_know_either() -> None:
    unseen = one(files=ReportedFiles(("b.py",), None, None))
    made = of_plan(OWN, [("batch 1", one()), ("batch 2", unseen)], ())
    assert made.files.observed is None
    assert made.files.claimed == ("a.py", "b.py")


def test_findings_and_words_of_the_agents_name_their_batch() -> None:
    finding = Finding("empty_diff", Severity.ERROR, "nothing changed", ())
    said = one(findings=(finding,), claims=Claims("partial", ("slow",), None), assumptions=("port 80",))
    made = of_plan(OWN, [("batch 2", said)], ())
    assert made.findings[0].message == "batch 2: nothing changed"
    assert made.claims == Claims(None, ("batch 2: slow",), None)
    assert (made.assumptions, made.summary) == (("batch 2: port 80",), "batch 2: did it")


def test_tokens_are_added_and_stay_unknown_where_nobody_knows_any() -> None:
    made = of_plan(OWN, [("batch 1", one()), ("batch 2", one()), ("batch 3", one(usage=NO_TOKENS))], ())
    assert made.usage == {**NO_TOKENS, "input_tokens": 20}


def test_the_worst_verdict_on_a_setting_counts() -> None:
    batches = [("batch 1", one()), ("batch 2", one(verdict="unverified"))]
    assert of_plan(OWN, batches, ()).conformance.model.verdict == "unverified"
    batches += [("batch 3", one(verdict="drift"))]
    assert of_plan(OWN, batches, ()).conformance.model.verdict == "drift"
    assert of_plan(OWN, [], ()).conformance.model == Conformity()


def test_a_risk_is_told_once_with_all_its_batches() -> None:
    risky = one(residual_risk=("no scope is declared",))
    made = of_plan(OWN, [("batch 1", risky), ("batch 2", one()), ("batch 3", risky)], ())
    assert made.residual_risk == ("batch 1, batch 3: no scope is declared",)


@given(st.lists(st.sampled_from(["succeeded", "failed", "rejected", None]), max_size=5))
def test_it_keeps_the_public_shape_whatever_the_batches_came_to(outcomes: list[str | None]) -> None:
    batches = [(f"batch {n}", one().replace(outcome=outcome)) for n, outcome in enumerate(outcomes, 1)]
    made = of_plan(OWN, batches, ("U1",))
    Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(made.to_json())))
    assert len(made.checks) == len(outcomes)
    assert as_text(made) and as_markdown(made)
