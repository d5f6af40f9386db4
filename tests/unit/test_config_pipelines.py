"""`[pipelines]`: from TOML to the values of a pipeline, layer by layer. What is wrong is in `data/bad`."""

from __future__ import annotations

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config.commands import schema
from runner.plan.pipeline import Compare, Gate, Pipeline, Repair, Stage

DELEGATE = jsonschema.Draft202012Validator(schema("delegate"))
TASKS = """\
schema_version = 1
[tasks.look]
prompt = "x"
[tasks.other]
prompt = "x"
runtime = "claude"
[tasks.fix]
prompt = "x"
sandbox = "workspace-write"
"""
EVERY = """
[pipelines.all]
title = "All of it"
input = ["name"]
[[pipelines.all.stages]]
name = "research"
tasks = ["look", "other"]
[[pipelines.all.stages]]
name = "prd"
person = "docs/{name}.md"
prompt = "Write it."
gate = "approve"
[[pipelines.all.stages]]
name = "build"
plan = "plans/{name}.md"
task = "fix"
gate = [["make", "test"], "make lint"]
[[pipelines.all.stages]]
name = "review"
tasks = ["look"]
gate = { no_findings = "important", commands = [["true"]], approve = false }
repair = { task = "fix", severity = "minor", max_rounds = 1 }
[[pipelines.all.stages]]
name = "second"
needs = []
compare = { a = "look", b = "other", task = "look", pattern = "adversarial", passes = 2 }
gate = "succeeded"
[[pipelines.all.stages]]
name = "first"
needs = ["last", "second"]
person = true
gate = "approve"
[[pipelines.all.stages]]
name = "last"
needs = ["review"]
tasks = ["look"]
"""


def stages(*names: str) -> str:
    return "".join(f'[[pipelines.p.stages]]\nname = "{name}"\ntasks = ["look"]\n' for name in names)


def test_every_key_reaches_the_pipeline_and_a_stage_needs_the_one_before_it(repo):
    repo.write(TASKS + EVERY)

    assert repo.check().problems == ()
    assert Pipeline.from_json(repo.load().pipelines["all"]) == Pipeline(
        "all",
        (
            Stage("research", (), tasks=("look", "other")),
            Stage("prd", ("research",), person="docs/{name}.md", prompt="Write it.", gate=Gate(approve=True)),
            Stage(
                *("build", ("prd",), (), "plans/{name}.md", "fix"),
                gate=Gate((("make", "test"), ("make", "lint"))),
            ),
            Stage(
                *("review", ("build",), ("look",)),
                gate=Gate((("true",),), "important"),
                repair=Repair("fix", "minor", 1),
            ),
            Stage("second", (), compare=Compare("look", "other", "look", "adversarial", 2)),
            Stage("first", ("last", "second"), person="", gate=Gate(approve=True)),
            Stage("last", ("review",), tasks=("look",)),
        ),
        "All of it",
        ("name",),
    )


def test_without_pipelines_there_are_none(repo):
    repo.write(TASKS)

    assert (repo.load().pipelines, repo.show()["pipelines"]) == ({}, {})


def test_of_two_layers_the_higher_replaces_the_stages_as_a_whole_and_no_more(repo):
    repo.write(
        f'[pipelines.p]\ntitle = "Mine"\n{stages("a", "b", "c")}needs = ["a"]\n',
        repo.user_folder / "config.toml",
    )
    repo.write(TASKS + stages("d", "e"))
    shown = repo.show(origin=True)["pipelines"]["p"]

    pipeline = Pipeline.from_json(repo.load().pipelines["p"])
    assert (pipeline.title, [stage.name for stage in pipeline.stages]) == ("Mine", ["d", "e"])
    assert pipeline.stages[1].needs == ("d",)
    assert shown["stages"]["origin"] == "delegate.toml:10"
    assert shown["title"]["origin"].endswith("config.toml:2")


def test_what_is_wrong_is_told_in_the_layer_whose_stages_count(repo):
    repo.write(f"{TASKS}{stages('a', 'b')}needs = ['a']\n")
    repo.write(stages("c", "c"), repo.root / "delegate.local.toml")

    assert [str(problem) for problem in repo.check().problems] == [
        'delegate.local.toml:5:1: pipelines.p.stages[1].name: found "c"; an earlier stage is called so'
    ]


def test_fifty_stages_are_the_most(repo):
    assert repo.problems(TASKS + stages(*map("s{}".format, range(50)))) == []
    (problem,) = repo.problems(TASKS + stages(*map("s{}".format, range(51))))
    assert "found 51 items; expected at most 50" in problem


@pytest.mark.parametrize("line", ["pipelines = 3", "[[pipelines]]\na = 1", "[[pipelines.p]]\ntitle = 'x'"])
def test_what_is_no_table_is_told_as_one(repo, line):
    (problem,) = repo.problems(f"{line}\n")

    assert "expected a table" in problem


def test_the_settings_that_count_for_a_task_are_those_with_its_defaults(repo):
    repo.write("[defaults]\nsandbox = 'workspace-write'\nopen = true\n", repo.user_folder / "config.toml")
    told = repo.problems(f"{TASKS}{stages('a')}gate.no_findings = 'minor'\n")

    assert ["may write" in told[0], "waits for messages" in told[1], len(told)] == [True, True, 2]


def test_a_stage_can_be_set_for_one_start(repo):
    repo.write(TASKS + stages("a", "b"))
    config = repo.load(sets=['pipelines.p.stages=[{name="c", tasks=["look"], gate=[["true"]]}]'])

    assert Pipeline.from_json(config.pipelines["p"]).stages == (
        Stage("c", (), ("look",), gate=Gate((("true",),))),
    )


def test_a_change_of_a_pipeline_changes_the_digest_of_the_settings(repo):
    repo.write(TASKS + stages("a"))
    before = repo.load().digest
    repo.write(f"{TASKS}{stages('a')}gate = 'approve'\n")

    assert repo.load().digest != before


def test_the_commands_of_a_gate_are_held_to_the_policy(repo):
    repo.write('verify = ["make"]\n', repo.system_policy)
    repo.write(f"{TASKS}{stages('a', 'b')}gate = [['make'], ['sh', 'x.sh']]\n")

    (breach,) = repo.check().breaches
    assert (breach.line, breach.key) == (16, "pipelines.p.stages[1].gate.commands")
    assert breach.message.startswith('gate command "sh" is not among what ')


PARTS = st.sampled_from(
    ["A", "/", "..", ".", ".git", "Git", ".runs", "{name}", "{", "}", "{}", "{x}", "~", " ", "é", "\n", "\0"]
)


@given(st.lists(PARTS, max_size=6).map("".join))
def test_the_schema_and_we_agree_on_paths(path):
    from runner.config.layers import DEFAULTS, Layer, merge
    from runner.config.references import examine
    from runner.config.schema import normal, problems_of

    stages = [{"name": "a", "person": path, "gate": "approve"}, {"name": "b", "tasks": ["look"]}]
    look = {"look": {"prompt": "x"}}
    data = {"tasks": look, "pipelines": {"p": {"input": ["name", "x"], "stages": stages}}}
    stack = [Layer("default", DEFAULTS), Layer("here", data)]
    ours = problems_of(data, strict=True) or examine(normal(merge(stack)), stack, frozenset())[0]

    assert DELEGATE.is_valid(data) is not bool(ours)
