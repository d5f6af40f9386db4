"""What action.yml says: inputs through `env`, actions pinned, and everything installed by its hash."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import steps
import yaml
from packaging.requirements import Requirement
from support.action_service import Unknown, evaluate
from support.gitlab_shell import job

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
    """Of a cancelled job the last steps may not be run: then what `start` knew stands there."""
    assert [*ACTION["outputs"]] == [*steps.OUTPUTS]
    of_start = {"run-id", "status", "outcome", "reason", "manifest"}
    for name, about in ACTION["outputs"].items():
        sources = about["value"].removeprefix("${{ ").removesuffix(" }}").split(" || ")
        assert sources[0] == f"steps.report.outputs.{name}"
        assert (f"steps.start.outputs.{name}" in sources[1:]) is (name in of_start)
    assert ACTION["outputs"]["status"]["value"].endswith(" || 'not-started' }}")
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


def test_a_value_is_masked_by_its_lines_and_one_that_is_short_not_at_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for value in ("1", "seven77", "00000000", '{\n  "key": "a-long-value%"\n}\n', "eight888"):
        steps.mask(value)
    assert capsys.readouterr().out == '::add-mask::"key": "a-long-value%25"\n::add-mask::eight888\n'


KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ("".join(f"+{line}\n" for line in KEY.splitlines()), "stands in it"),
        ("-x = 'hkiG9w0BAQEFAASC'\n", "stands in it"),
        (" MIIEvQIBADANBgkq\n", "stands in it"),
        ("diff --git a/k b/k\nGIT binary patch\nliteral 9\n", "a binary file"),
        ("+GIT binary patch\n+MIIEvQIB\n+ADANBgkq\n", ""),
    ],
)
def test_a_change_with_a_line_of_a_secret_or_with_a_binary_file_is_withheld(patch: str, said: str) -> None:
    assert said in (steps.why_withheld(patch.encode(), steps.lines_of(KEY)) or "")
    assert bool(steps.why_withheld(patch.encode(), steps.lines_of(KEY))) is bool(said)
    assert steps.why_withheld(patch.encode(), []) is None


def test_steps_after_the_agent_run_nothing_that_it_wrote(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "work/.venv/bin").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "work/.venv/bin")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "work"))
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "work"))
    monkeypatch.setenv("PATH", f"{tmp_path}/work/.venv/bin:{tmp_path}/link::bin:/usr/bin")
    monkeypatch.setattr("sys.argv", ["steps.py", "report"])
    assert steps.environment()["PATH"] == "/usr/bin"
    assert not {name for name in steps.environment() if name.startswith("PYTHON")}


def test_gitlab_uploads_no_run_that_is_not_sealed(tmp_path: Path) -> None:
    about = job(ROOT / "gitlab/runner.yml", ".runner")
    for name, phase in (("sealed", "done"), ("open", "done"), ("lives", "running"), ("torn", "")):
        run = tmp_path / ".runs/work/cli" / name
        run.mkdir(parents=True)
        (run / "invocation.json").write_text("{}")
        (run / "manifest.json").write_text(f'{{"phase": "{phase}"}}' if phase else "{")
    (tmp_path / ".runs/work/cli/open/unsealed").touch()
    script = about["after_script"][-1].replace("time.monotonic() + 60", "time.monotonic()")
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "DELEGATE_PLACE": str(tmp_path / "place")}
    subprocess.run(["bash", "-e"], input=script, text=True, cwd=tmp_path, env=env, check=True)
    assert [path.name for path in (tmp_path / ".runs/work/cli").iterdir()] == ["sealed"]
    assert {path.name for path in (tmp_path / "place/unsealed").iterdir()} == {"open", "lives", "torn"}


def test_gitlab_takes_no_module_that_a_checkout_names() -> None:
    about = job(ROOT / "gitlab/runner.yml", ".runner")
    for part in ("before_script", "script", "after_script"):
        assert about[part][0] == "unset PYTHONPATH PYTHONHOME PYTHONSTARTUP"
        assert not re.search(r"python3? (?!-I)", "\n".join(about[part]))
