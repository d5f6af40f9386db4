"""What action.yml says: inputs through `env`, actions pinned, and everything installed by its hash."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import steps
import yaml
from packaging.requirements import Requirement
from support.action_service import Unknown, evaluate

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "action.yml").read_text(encoding="utf-8")
ACTION: dict[str, Any] = yaml.safe_load(TEXT)
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
LOCKED = (ROOT / "action/requirements.txt").read_text(encoding="utf-8")


def test_nothing_is_put_into_a_script() -> None:
    for step in STEPS:
        assert "${{" not in step.get("run", "")
        assert step.get("shell", "bash") == "bash"
        assert {"run", "uses"} & {*step} == {"run"} or "run" not in step


def test_every_step_of_ours_is_the_same_line_and_has_its_function() -> None:
    ran = [step["run"] for step in STEPS if "run" in step]
    assert ran == [f'exec "$GITHUB_ACTION_PATH/action/step.sh" {name}' for name in steps.STEPS]
    assert [step["id"] for step in STEPS if "run" in step] == [*steps.STEPS]


def test_an_action_of_others_is_pinned_by_its_commit_with_the_tag_beside_it() -> None:
    used = re.findall(r"^ +uses: (.*)$", TEXT, re.MULTILINE)
    assert used
    for one in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)


def test_every_input_is_used_and_has_a_default_and_every_variable_is_that_input() -> None:
    given: dict[str, str] = {}
    for step in STEPS:
        told = {name: value for name, value in (step.get("env") or {}).items() if name.startswith("INPUT_")}
        assert all(given.setdefault(name, value) == value for name, value in told.items())
    for name, value in given.items():
        assert value == f"${{{{ inputs.{name.removeprefix('INPUT_').lower().replace('_', '-')} }}}}"
    named = {value.split(".")[1].removesuffix(" }}") for value in given.values()}
    assert named == {*ACTION["inputs"]} - {"artifact"}
    assert all(
        isinstance(about["default"], str) and about["description"] for about in ACTION["inputs"].values()
    )


@pytest.mark.parametrize("step", [name for name in steps.STEPS if name != "install"])
def test_a_step_is_given_what_it_reads(step: str) -> None:
    """Seen in the source of its function and of those that it calls."""
    source = (ROOT / "action/steps.py").read_text(encoding="utf-8")
    bodies = dict(re.findall(r"^def (\w+)(.*?)(?=^\S|\Z)", source, re.MULTILINE | re.DOTALL))
    seen: set[str] = set()
    left = [f"step_{step}"]
    while left:
        seen.add(name := left.pop())
        left += [other for other in bodies if other not in seen and re.search(rf"\b{other}\(", bodies[name])]
    read = "".join(bodies[name] for name in seen)
    read += (ROOT / "action/actor.py").read_text(encoding="utf-8") * (step == "check")
    wanted = set(re.findall(r'(?:INPUT|inputs)\["([a-z-]+)"\]', read))
    (about,) = [one for one in STEPS if one.get("id") == step]
    given = {name.removeprefix("INPUT_").lower().replace("_", "-") for name in about["env"]}
    assert wanted <= given


def test_the_token_of_the_job_goes_to_the_check_alone() -> None:
    assert [step["id"] for step in STEPS if "github.token" in str(step)] == ["check"]


def test_every_output_has_a_value_whatever_happened() -> None:
    assert [*ACTION["outputs"]] == [*steps.OUTPUTS]
    assert {name: about["value"] for name, about in ACTION["outputs"].items()} == {
        name: f"${{{{ steps.report.outputs.{name} }}}}" for name in steps.OUTPUTS
    }
    assert [step.get("if") for step in STEPS[-3:-1]] == ["always()", "always()"]
    assert STEPS[-1]["if"].startswith("always() && ")


def blocks() -> dict[str, str]:
    """What is locked, by its name: the line with the version, and those with hashes."""
    found = re.findall(r"^([a-z0-9.-]+)==(.*?)(?=^\S|\Z)", LOCKED, re.MULTILINE | re.DOTALL)
    assert len(found) == len(re.findall(r"^[^\s#]", LOCKED, re.MULTILINE)), "a line that is no package"
    return dict(found)


def test_everything_that_we_need_is_locked_by_hashes_in_a_version_that_fits() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    more = project["project"]["optional-dependencies"]
    wanted = [
        *project["project"]["dependencies"],
        *more["codex"],
        *more["ci"],
        *project["build-system"]["requires"],
    ]
    locked = blocks()
    for one in map(Requirement, wanted):
        version = locked[one.name.lower()].split()[0]
        assert one.specifier.contains(version), f"{one}: {version} is locked: `make requirements`"
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", block) for block in locked.values())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inputs.a == 'YES' && inputs.b != ''", False),
        ("inputs.a == 'YES' && inputs.b == ''", True),
        ("inputs.b || steps.s.outputs.x || steps.s.outputs.none || 'last'", "1"),
        ("!(success() || failure())", True),
        ("inputs.b && 'never'", ""),
        ("'it''s'", "it's"),
    ],
)
def test_expressions_are_evaluated_as_the_service_does(text: str, value: object) -> None:
    contexts = {"inputs": {"a": "yes", "b": ""}, "steps": {"s": {"outputs": {"x": "1"}}}}
    assert evaluate(text, contexts, {"success": False, "failure": False}) == value


@pytest.mark.parametrize(
    "text",
    [
        *("inputs.c", "env.HOME", "steps.t.outputs.x", "secrets.KEY", "format('a')", "contains(inputs.a)"),
        *("success() == 'a'", "inputs.a ==", "inputs.a inputs.a", "inputs['a']", "1", "inputs.a > 'b'", "'a"),
    ],
)
def test_an_expression_that_the_program_of_the_tests_does_not_know_is_refused(text: str) -> None:
    contexts = {"inputs": {"a": "yes"}, "steps": {}}
    with pytest.raises(Unknown):
        evaluate(text, contexts, {"success": True})
