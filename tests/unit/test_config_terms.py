"""The keys for trusted results and for the prompt: from TOML to the values of a task, layer by layer."""

from __future__ import annotations

import pytest

from runner.config.blocks import BLOCKS
from runner.errors import ConfigInvalid
from runner.model import Caps, Host, Price, Recovery

TASK = '[tasks.hello]\nprompt = "x"\n'
EVERY = """
[tasks.hello]
prompt = "x"
scope = ["src/**"]
workspace = "worktree"
on_failure = "keep"
on_conflict = "queue"
output_contract = "closing-turn"
conformance = "enforce"
retries = 2
map = "MAP.md"
patterns = ["a.py"]
approach = "First a."
execution_note = "Test first."
constraints = ["No new package."]
testing = ["nothing at all"]
limits = { tokens = 5, tree_tokens = 9, timeout = "1m", idle_timeout = "none", warn_at = 0.5, repeats = 3 }
"""


def test_every_key_reaches_the_task(repo):
    repo.write(EVERY)
    task = repo.load().tasks["hello"]

    assert (task.scope, task.workspace, task.on_failure) == (("src/**",), "worktree", "keep")
    assert (task.on_conflict, task.output_contract, task.conformance) == ("queue", "closing-turn", "enforce")
    assert (task.retries, task.map, task.patterns) == (2, "MAP.md", ("a.py",))
    assert (task.approach, task.execution_note) == ("First a.", "Test first.")
    assert (task.constraints, task.testing) == (("No new package.",), ("nothing at all",))
    assert task.limits == Caps(5, 9, 0.5, 3, 8)
    assert (task.timeout_s, task.idle_timeout_s) == (60.0, None)


def test_a_task_takes_from_the_defaults_what_it_does_not_set_limit_by_limit(repo):
    repo.write(
        '[defaults]\nscope = ["a"]\nretries = 1\noutput_contract = "final"\n'
        "[defaults.limits]\ntokens = 5\nrepeats = 0\n"
        f"{TASK}[tasks.other]\nlimits.tokens = 'none'\nlimits.reconnects = 2\noutput_contract = false\n"
    )
    tasks = repo.load().tasks

    assert (tasks["hello"].scope, tasks["hello"].retries) == (("a",), 1)
    assert tasks["hello"].limits == Caps(5, None, 0.8, None, 8)
    assert tasks["hello"].output_contract == "final"
    assert tasks["other"].limits == Caps(None, None, 0.8, None, 2)
    assert tasks["other"].output_contract is None


def test_of_two_layers_the_higher_says_the_time_in_whichever_place(repo):
    repo.write(f'[defaults]\ntimeout = "1h"\n{TASK}limits.timeout = "2h"\n')
    assert repo.load().tasks["hello"].timeout_s == 7200.0
    local = repo.root / "delegate.local.toml"
    repo.write('[tasks.hello]\ntimeout = "3h"\n', local)
    assert repo.load().tasks["hello"].timeout_s == 3 * 3600.0
    assert repo.load(sets=["tasks.hello.limits.timeout=4h"]).tasks["hello"].timeout_s == 4 * 3600.0
    repo.env["RUNNER_TASKS__HELLO__LIMITS__TIMEOUT"] = "5h"
    assert repo.load().tasks["hello"].timeout_s == 5 * 3600.0


def test_the_origin_of_a_limit_is_told_wherever_it_was_written(repo):
    repo.write(f'[defaults.limits]\ntokens = 5\nidle_timeout = "1m"\n{TASK}limits.repeats = 3\n')

    shown = repo.show(task="hello", origin=True, sets=["tasks.hello.limits.timeout=1h"])["tasks"]["hello"]

    assert shown["limits"]["tokens"] == {"value": 5, "origin": "delegate.toml:2"}
    assert shown["limits"]["repeats"] == {"value": 3, "origin": "delegate.toml:6"}
    assert shown["limits"]["warn_at"] == {"value": 0.8, "origin": "default"}
    assert shown["limits"]["tree_tokens"] == {"value": "none", "origin": "default"}
    assert shown["idle_timeout"] == {"value": "1m", "origin": "delegate.toml:3"}
    assert shown["timeout"] == {"value": "1h", "origin": "--set tasks.hello.limits.timeout"}


@pytest.mark.parametrize(("text", "read"), [("2", 2.0), ("0.05", 0.05), ('"none"', None), ('"2.5"', 2.5)])
def test_a_limit_of_the_price_is_an_amount_or_none(repo, text, read):
    repo.write(f"{TASK}limits.price = {text}\n")
    assert repo.load().tasks["hello"].limits == Caps(price=read)


@pytest.mark.parametrize("text", ["0", "-1", "true", "inf", "nan", '"2 USD"', "1e10", '""', "[2]"])
def test_another_limit_of_the_price_is_refused(repo, text):
    repo.write(f"{TASK}limits.price = {text}\n")
    with pytest.raises(ConfigInvalid, match="above 0"):
        repo.load()


def test_a_task_may_be_called_limits(repo):
    repo.write('[defaults]\ntimeout = "1h"\n[tasks.limits]\nprompt = "x"\nlimits.tokens = 5\n')

    shown = repo.show(task="limits", origin=True)["tasks"]["limits"]

    assert shown["timeout"] == {"value": "1h", "origin": "delegate.toml:2"}
    assert shown["limits"]["tokens"] == {"value": 5, "origin": "delegate.toml:5"}


@pytest.mark.parametrize(
    ("price", "missing"),
    [
        ("{ input = 1, output = 2 }", ["cached"]),
        ("{ cached = 1 }", ["input", "output"]),
        ("{}", [*Price._fields]),
    ],
)
def test_a_price_that_says_less_than_all_of_it_is_refused_with_what_is_missing(repo, price, missing):
    repo.write(f'{TASK}[models.m]\nmodel = "m"\nprice = {price}\n')
    with pytest.raises(ConfigInvalid) as refused:
        repo.load()
    told = [f"models.m.price.{key}: is missing; [models.m.price] needs it" for key in missing]
    assert all(text in "\n".join(refused.value.problems) for text in told)
    assert len(refused.value.problems) == len(missing)


@pytest.mark.parametrize(
    ("name", "value", "field", "read"),
    [
        ("RUNNER_DEFAULTS__LIMITS__TOKENS", "500", "limits", Caps(500)),
        ("RUNNER_DEFAULTS__LIMITS__REPEATS", "0", "limits", Caps(repeats=None)),
        ("RUNNER_DEFAULTS__OUTPUT_CONTRACT", "final", "output_contract", "final"),
        ("RUNNER_DEFAULTS__OUTPUT_CONTRACT", "false", "output_contract", None),
        ("RUNNER_DEFAULTS__RETRIES", "2", "retries", 2),
        ("RUNNER_DEFAULTS__SCOPE", '["a", "b"]', "scope", ("a", "b")),
        ("RUNNER_TASKS__HELLO__WORKSPACE", "worktree", "workspace", "worktree"),
    ],
)
def test_a_variable_sets_it_too(repo, name, value, field, read):
    repo.write(TASK)
    repo.env[name] = value

    assert getattr(repo.load().tasks["hello"], field) == read


def test_recovery_is_a_table_of_its_own(repo):
    repo.write(f'[recovery]\nladder = ["fresh"]\nbackoff = "1s"\napi_retries = 0\n{TASK}')
    assert repo.load().recovery == Recovery(0, ("fresh",), 0, 1.0, 600.0)
    repo.env["RUNNER_RECOVERY__BACKOFF_MAX"] = "5s"
    assert repo.load().recovery.backoff_max_s == 5.0


def test_a_ceiling_of_tokens_comes_from_the_policy(repo):
    repo.write(TASK)
    repo.write("max_tokens = 9\n", repo.system_policy)
    assert repo.load().policy.max_tokens == 9
    repo.write("max_tokens = 5\n", repo.user_folder / "policy.toml")
    assert repo.load().policy.max_tokens == 5


def test_built_in_blocks_may_be_named_and_replaced(repo):
    repo.write(f'[blocks.plan-first]\ntext = "Mine."\n{TASK}blocks = ["scope-fence", "plan-first"]\n')
    config = repo.load()

    assert repo.check().problems == ()
    assert config.blocks["scope-fence"] == BLOCKS["scope-fence"]
    assert config.blocks["plan-first"] == "Mine."
    assert repo.show(origin=True)["blocks"]["plan-first"]["text"]["origin"] == "delegate.toml:2"


def test_a_built_in_block_is_the_near_match_of_a_wrong_name(repo):
    (problem,) = repo.problems(f'{TASK}blocks = ["scope-fense"]\n')

    assert 'did you mean "scope-fence"?' in problem


@pytest.mark.parametrize(("name", "text"), BLOCKS.items())
def test_a_built_in_block_is_one_paragraph_of_rules_for_a_prompt(name, text):
    assert text == text.strip()
    assert 100 < len(text) < 1000
    assert max(map(len, text.splitlines())) <= 110


# -- the owner of git ------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", ["human", "runner", "hello", None])
def test_the_owner_of_git_is_a_person_runner_or_a_task(repo, owner):
    repo.write(TASK + (f'[git]\nowner = "{owner}"\n' if owner else ""))
    assert repo.load().git.owner == owner


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (
            '"helo"',
            'found "helo"; expected human, runner or a task: "human", "runner", "hello" (did you mean',
        ),
        ('"humna"', 'did you mean "human"?'),
        ('"a b"', "expected a name"),
        ("true", "expected a text"),
    ],
)
def test_any_other_owner_is_refused_with_the_nearest_name(repo, value, told):
    repo.write(f"{TASK}[git]\nowner = {value}\n")
    (problem,) = repo.check().problems
    assert told in str(problem) and problem.key == "git.owner"


# -- what a host does itself -----------------------------------------------------------------------


def test_what_a_host_may_do_comes_from_every_layer(repo):
    repo.write(TASK)
    assert repo.load().host == Host() == Host(None, "strict", (".planning/**", "docs/**"))
    repo.write('[host]\ntask = "hello"\nlevel = "guide"\n', repo.user_folder / "config.toml")
    repo.write(f'{TASK}[host]\nmay_edit = ["notes/**"]\n')
    assert repo.load().host == Host("hello", "guide", ("notes/**",))
    repo.env["RUNNER_HOST__LEVEL"] = "strict"
    assert repo.load(sets=["host.may_edit=[]"]).host == Host("hello", "strict", ())
    assert repo.show(origin=True)["host"]["level"] == {"value": "strict", "origin": "env RUNNER_HOST__LEVEL"}


@pytest.mark.parametrize(("name", "noted"), [("hello", []), ("helo", ['did you mean "hello"?'])])
def test_a_task_of_a_host_that_is_not_there_is_noted_and_stops_no_start(repo, name, noted):
    repo.write(f'{TASK}[host]\ntask = "{name}"\n')
    assert repo.load().host.task == name
    told = [str(note) for note in repo.check().notes if note.key == "host.task"]
    assert len(told) == len(noted) and all(part in note for part, note in zip(noted, told, strict=True))
