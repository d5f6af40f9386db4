"""The tables [delegate] and [economics]: from every layer to the values that planning uses."""

from __future__ import annotations

import pytest

from runner.config import for_plans
from runner.errors import ConfigInvalid, UsageError
from runner.model import Delegate, Economics

EVERY = """
[delegate]
decision = "ask"
soft_cap = 4
hard_cap = 6
oversize = "error"
balance = true
trivial = "local"
hub_files = ["src/routes.ts"]
effort_floor = "high"
max_parallel = 3
max_failures = 2
files = "strict"
commit = "delegated"
commit_message = "{title}: {n}"
[economics]
fixed = 1
batch = 2
unit = 3
"""


def tables(repo, **more) -> tuple[Delegate, Economics]:
    options = {"system_policy": str(repo.system_policy)} | more
    return for_plans(str(repo.root), env=repo.env, **options)


def test_every_key_reaches_the_values(repo):
    repo.write(EVERY)
    config = repo.load()

    assert config.delegate == Delegate(
        decision="ask",
        soft_cap=4,
        hard_cap=6,
        oversize="error",
        balance=True,
        trivial="local",
        hub_files=("src/routes.ts",),
        effort_floor="high",
        max_parallel=3,
        max_failures=2,
        files="strict",
        commit="delegated",
        commit_message="{title}: {n}",
    )
    assert config.economics == Economics(1, 2, 3)
    assert tables(repo) == (config.delegate, config.economics)


def test_the_built_in_defaults_are_those_of_the_values(repo):
    repo.write("")

    assert (repo.load().delegate, repo.load().economics) == (Delegate(), Economics())


def test_each_layer_wins_over_those_below_it(repo):
    def shown(**more) -> tuple[object, str]:
        told = repo.show(origin=True, **more)["delegate"]["soft_cap"]
        return told["value"], told["origin"]

    repo.write("")
    assert shown() == (5, "default")
    user = repo.user_folder / "config.toml"
    repo.write("[delegate]\nsoft_cap = 1\n", user)
    assert shown() == (1, f"{user}:2")
    repo.write("[delegate]\nsoft_cap = 2\n")
    assert shown() == (2, "delegate.toml:2")
    repo.write("delegate.soft_cap = 3\n", repo.root / "delegate.local.toml")
    assert shown() == (3, "delegate.local.toml:1")
    repo.env["RUNNER_DELEGATE__SOFT_CAP"] = "4"
    assert shown() == (4, "env RUNNER_DELEGATE__SOFT_CAP")
    assert shown(sets=["delegate.soft_cap=6"]) == (6, "--set delegate.soft_cap")


@pytest.mark.parametrize(
    ("name", "value", "field", "read"),
    [
        ("BALANCE", "true", "balance", True),
        ("COMMIT", "true", "commit", True),
        ("COMMIT", "false", "commit", False),
        ("COMMIT", "work/plan", "commit", "work/plan"),
        ("HUB_FILES", '["a", "b/*"]', "hub_files", ("a", "b/*")),
        ("MAX_PARALLEL", "2", "max_parallel", 2),
        ("COMMIT_MESSAGE", "{task} {run_id}", "commit_message", "{task} {run_id}"),
    ],
)
def test_a_variable_sets_it_too(repo, name, value, field, read):
    repo.write("")
    repo.env[f"RUNNER_DELEGATE__{name}"] = value

    assert getattr(repo.load().delegate, field) == read


def test_config_show_tells_both_tables_as_they_are_written(repo):
    repo.write(EVERY)
    shown = repo.show()

    assert shown["economics"] == {"fixed": 1, "batch": 2, "unit": 3}
    assert shown["delegate"]["hub_files"] == ["src/routes.ts"]
    assert shown["delegate"]["commit"] == "delegated"
    assert list(shown["delegate"]) == list(Delegate._fields)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "my branch",
            "a..b",
            "-a",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "[a",
            "a\\\\b",
            "a/",
            "/a",
            "a.lock",
            "a@{1}",
        ),
        *("HEAD", "@", "refs/heads/a", "a//b", ".a", "a/.b", "a.", "", "a" * 201, "a\\tb"),
    ],
)
def test_what_git_would_not_take_as_a_branch_is_refused(repo, name):
    (problem,) = repo.problems(f'[delegate]\ncommit = "{name}"\n')

    assert "delegate.commit: " in problem and "the name of a branch" in problem


@pytest.mark.parametrize("name", ["main", "delegated/plan-1", "HEAD2", "a@b", "ä", "v1.2", "lock"])
def test_any_other_name_is_a_branch(repo, name):
    repo.write(f'[delegate]\ncommit = "{name}"\n')

    assert repo.load().delegate.commit == name


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("{unit}", '{unit} is not a placeholder (did you mean "units"?)'),
        ("{0}", "{0} is not a placeholder"),
        ("{n!r}", "{n!r} is not a placeholder"),
        ("{n:>3}", "{n:>3} is not a placeholder"),
        ("{n", "unbalanced brace"),
        ("n}", "unbalanced brace"),
        (" ", "a text that is not empty"),
    ],
)
def test_a_message_that_cannot_be_filled_in_is_refused_and_the_placeholders_are_named(repo, message, told):
    (problem,) = repo.problems(f'[delegate]\ncommit_message = "{message}"\n')

    assert told in problem
    assert "{title}, {n}, {batches}, {units}, {task}, {run_id}" in problem


def test_the_hard_cap_is_held_against_the_soft_cap_of_another_layer(repo):
    repo.write("[delegate]\nsoft_cap = 9\nhard_cap = 12\n")
    assert repo.check().problems == ()

    (problem,) = repo.check(sets=["delegate.hard_cap=8"]).problems
    assert str(problem).startswith("--set delegate.hard_cap: ")
    assert "hard_cap is 8; expected at least soft_cap, which is 9" in str(problem)


def test_a_cap_that_is_wrong_already_is_not_told_a_second_time(repo):
    (problem,) = repo.problems('[delegate]\nsoft_cap = 20\nhard_cap = "x"\n')

    assert "expected a whole number" in problem


def test_planning_needs_no_delegate_toml_and_then_reads_nothing(repo):
    assert tables(repo) == (Delegate(), Economics())
    assert not repo.cache.exists()


def test_the_other_layers_count_without_a_delegate_toml_too(repo):
    repo.write("[delegate]\nsoft_cap = 3\n", repo.user_folder / "config.toml")
    assert tables(repo)[0].soft_cap == 3
    repo.write("[delegate]\nsoft_cap = 4\n", repo.root / "delegate.local.toml")
    assert tables(repo)[0].soft_cap == 4
    repo.env["RUNNER_ECONOMICS__UNIT"] = "7"
    assert tables(repo) == (Delegate(soft_cap=4), Economics(unit=7))
    assert tables(repo, sets=["delegate.soft_cap=6"])[0].soft_cap == 6
    repo.write("[delegate]\nsoft_cap = 2\n")
    (repo.root / "delegate.local.toml").unlink()
    assert tables(repo)[0].soft_cap == 2
    repo.file.unlink()
    assert tables(repo)[0].soft_cap == 3


def test_a_broken_file_is_an_error_for_planning_too(repo):
    repo.write("[delegate]\nsoft_cap = 0\n")
    with pytest.raises(ConfigInvalid, match="soft_cap"):
        tables(repo)
    repo.file.unlink()
    with pytest.raises(ConfigInvalid, match="unknown key"):
        tables(repo, sets=["delegat.soft_cap=1"])
    with pytest.raises(UsageError, match="no such file"):
        tables(repo, config_file="other.toml")
    repo.file.symlink_to(repo.root / "nowhere")
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        tables(repo)
