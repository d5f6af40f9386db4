"""Layers: what wins, where it came from, and what is told when a layer is wrong."""

from __future__ import annotations

import os

import pytest

from runner.config import load
from runner.errors import ConfigInvalid, ExitStatus, TaskNotFound, UsageError

TASK = '[tasks.hello]\nprompt = "x"\n'


def effective(repo, key: str, task: str = "hello", **more: object) -> tuple[object, str]:
    found = repo.show(task=task, origin=True, **more)["tasks"][task][key]
    return found["value"], found["origin"]


def test_built_in_defaults_hold_where_nothing_is_set(repo):
    repo.write(TASK)

    assert repo.show(task="hello") == {
        "tasks": {
            "hello": {
                "title": None,
                "runtime": "codex",
                "model": None,
                "executor": None,
                "sandbox": "read-only",
                "prompt": "x",
                "prompt_file": None,
                "blocks": [],
                "files": [],
                "paste": [],
                "verify": [],
                "verify_timeout": "10m",
                "prepare": [],
                "prepare_timeout": "10m",
                "timeout": "2h",
                "idle_timeout": "15m",
                "start_timeout": "2m",
                "grace": "5s",
                "open": False,
                "open_timeout": "30m",
                "start": "manual",
                "rehearse": False,
                "delegation": False,
                "scope": [],
                "workspace": "in-place",
                "on_failure": None,
                "on_conflict": "refuse",
                "output_contract": False,
                "conformance": "report",
                "protect": [],
                "verify_from": "run",
                "expects_change": True,
                "retries": 0,
                "limits": {
                    "tokens": "none",
                    "tree_tokens": "none",
                    "warn_at": 0.8,
                    "repeats": 25,
                    "reconnects": 8,
                    "price": "none",
                },
                "map": None,
                "patterns": [],
                "approach": None,
                "execution_note": None,
                "constraints": [],
                "testing": [],
            }
        }
    }
    assert repo.show()["recovery"] == {
        "ladder": ["resume", "fresh"],
        "api_retries": 3,
        "backoff": "30s",
        "backoff_max": "10m",
    }
    runtimes = repo.show()["runtimes"]
    assert runtimes["codex"]["command"] == "codex"
    assert runtimes["codex"]["version"] == ">=0.150"
    assert runtimes["codex"]["config"] == {"features": {"unbounded_connection_retries": False}}
    assert runtimes["kay"]["command"] == "kay"


def test_each_layer_wins_over_those_below_it_and_is_named_as_the_origin(repo):
    def timeout() -> tuple[object, str]:
        return effective(repo, "timeout", sets=sets)

    sets: list[str] = []
    repo.write(TASK)
    assert timeout() == ("2h", "default")
    user = repo.user_folder / "config.toml"
    repo.write('[defaults]\ntimeout = "1m"\n', user)
    assert timeout() == ("1m", f"{user}:2")
    repo.write(f'{TASK}\n[defaults]\ntimeout = "2m"\n')
    assert timeout() == ("2m", "delegate.toml:5")
    repo.write('defaults.timeout = "3m"\n', repo.root / "delegate.local.toml")
    assert timeout() == ("3m", "delegate.local.toml:1")
    repo.env["RUNNER_DEFAULTS__TIMEOUT"] = "4m"
    assert timeout() == ("4m", "env RUNNER_DEFAULTS__TIMEOUT")
    sets.append("defaults.timeout=5m")
    assert timeout() == ("5m", "--set defaults.timeout")
    sets.append("tasks.hello.timeout=6m")
    assert timeout() == ("6m", "--set tasks.hello.timeout")


def test_tables_are_merged_key_by_key_and_arrays_are_replaced(repo):
    repo.write(
        '[models.deep]\nmodel = "a"\nreasoning_effort = "high"\n'
        '[runtimes.codex]\nenv = ["A", "B"]\n[runtimes.codex.config]\ntools.web = true\n'
    )
    repo.write(
        '[models.deep]\nmodel = "b"\n[runtimes.codex]\nenv = ["C"]\n',
        repo.root / "delegate.local.toml",
    )

    shown = repo.show()

    assert shown["models"]["deep"]["model"] == "b"
    assert shown["models"]["deep"]["reasoning_effort"] == "high"
    assert shown["runtimes"]["codex"]["env"] == ["C"]
    assert shown["runtimes"]["codex"]["config"] == {
        "features": {"unbounded_connection_retries": False},
        "tools": {"web": True},
    }


def test_a_prompt_in_a_higher_layer_takes_the_place_of_a_prompt_file(repo):
    repo.write('[tasks.hello]\nprompt_file = "p.md"\n')
    repo.write('[tasks.hello]\nprompt = "mine"\n', repo.root / "delegate.local.toml")

    assert effective(repo, "prompt") == ("mine", "delegate.local.toml:2")
    assert effective(repo, "prompt_file")[0] is None
    assert repo.check().problems == ()


def test_variables_reach_names_with_dashes_and_capitals(repo):
    repo.write('[tasks.Fix-Auth]\nprompt = "x"\n')
    repo.env["RUNNER_TASKS__FIX_AUTH__TIMEOUT"] = "9m"

    assert effective(repo, "timeout", task="Fix-Auth")[0] == "9m"


def test_variables_have_the_type_of_their_key(repo):
    repo.write(TASK)
    repo.env |= {
        "RUNNER_DELEGATION__ENABLED": "true",
        "RUNNER_DELEGATION__MAX_DEPTH": "2",
        "RUNNER_DEFAULTS__REHEARSE": "true",
        "RUNNER_DEFAULTS__VERIFY": '[["make", "test"]]',
        "RUNNER_RUNTIMES__CODEX__ENV": '["A"]',
        "RUNNER_RUNTIMES__CODEX__CONFIG__TOOLS__WEB": "true",
    }

    shown = repo.show()

    assert shown["delegation"]["enabled"] is True
    assert shown["delegation"]["max_depth"] == 2
    assert shown["tasks"]["hello"]["rehearse"] is True
    assert shown["tasks"]["hello"]["verify"] == [["make", "test"]]
    assert shown["runtimes"]["codex"]["env"] == ["A"]
    assert shown["runtimes"]["codex"]["config"]["tools"] == {"web": True}


def test_markers_and_the_variables_of_github_are_no_settings(repo):
    repo.write(TASK)
    repo.env |= {
        "RUNNER_RUN_ID": "x",
        "RUNNER_MANIFEST": "x",
        "RUNNER_OS": "Linux",
        "RUNNER_TOOL_CACHE": "x",
        "RUNNER_": "x",
    }

    assert repo.check().problems == ()


def test_misspelt_variables_are_problems_that_name_the_right_one(repo):
    repo.env |= {
        "RUNNER_DEFAULT__SANDBOX": "x",
        "RUNNER_DEFAULTS_SANDBOX": "x",
        "RUNNER_DEFAULTS__SANDBX": "x",
        "RUNNER_DELEGATION__MAX_DEPTH": "deep",
    }

    assert repo.problems(TASK) == [
        'env RUNNER_DEFAULTS__SANDBX: defaults.sandbx: unknown key (did you mean "sandbox"?)',
        'env RUNNER_DELEGATION__MAX_DEPTH: delegation.max_depth: found "deep"; expected a whole number',
        'env RUNNER_DEFAULTS_SANDBOX: levels are separated by "__" '
        '(did you mean "RUNNER_DEFAULTS__SANDBOX"?)',
        'env RUNNER_DEFAULT__SANDBOX: unknown setting RUNNER_DEFAULT__... (did you mean "DEFAULTS"?)',
    ]


@pytest.mark.parametrize(
    ("option", "table", "key", "value"),
    [
        ("delegation.max_depth=3", "delegation", "max_depth", 3),
        ("delegation.enabled=true", "delegation", "enabled", True),
        ('delegation.tools=["status"]', "delegation", "tools", ["status"]),
        ('delegation.server="registered"', "delegation", "server", "registered"),
        ("delegation.server = registered", "delegation", "server", "registered"),
        ('models."x".model=5', "models", "x", None),
    ],
)
def test_a_set_value_is_toml_or_else_text(repo, option, table, key, value):
    repo.write(TASK)

    found = repo.show(sets=[option])[table][key]

    assert found == value if value is not None else found["model"] == "5"


@pytest.mark.parametrize(
    ("option", "place", "says"),
    [
        ('verify=["true && false"]', "verify[0]", "`&&` is for a shell"),
        ('verify=[["true"], "cd web"]', "verify[1]", "`cd` is for a shell"),
        ("verify=[1]", "verify[0]", "expected an array of texts"),
        ("verify = [[]]", "verify[0]", "it is empty"),
        ('files=["a", 1]', "files[1]", "expected"),
        ('limits={tokens="x"}', "limits.tokens", "expected"),
    ],
)
def test_a_wrong_item_of_a_set_list_or_table_is_told_and_makes_no_text_of_it(repo, option, place, says):
    (problem,) = repo.problems(TASK, sets=[f"tasks.hello.{option}"])

    assert f"tasks.hello.{place}: " in problem and says in problem


@pytest.mark.parametrize("option", ["x", "=1", "a..b=1", "a b=1", "", "defaults.sandbox"])
def test_a_set_option_that_is_none_says_how_it_is_written(repo, option):
    repo.write(TASK)

    (problem,) = repo.check(sets=[option]).problems

    assert "expected KEY=VALUE" in str(problem)


@pytest.mark.parametrize("depth", [150, 600, 5000])
def test_a_key_of_any_depth_is_an_error_and_no_crash(repo, depth):
    repo.write(TASK)
    parts = ["a"] * depth
    with pytest.raises(ConfigInvalid, match="nested too deeply"):
        repo.load(sets=[f"tasks.t.{'.'.join(parts)}=1"])
    repo.env[f"RUNNER_TASKS__T__{'__'.join(parts).upper()}"] = "1"
    with pytest.raises(ConfigInvalid, match="nested too deeply"):
        repo.load()


def test_a_set_value_cannot_smuggle_in_another_key(repo):
    repo.write(TASK)

    (problem,) = repo.check(sets=['defaults.runtime="codex"\nschema_version=2']).problems

    assert problem.source == "--set defaults.runtime"


def test_all_problems_of_all_layers_are_told_at_once_in_the_order_of_layers(repo):
    repo.write("[defaults]\nsandbx = 1\n", repo.user_folder / "config.toml")
    repo.write("timeout = 3\n", repo.root / "delegate.local.toml")
    repo.write("max_levle = 3\n", repo.user_folder / "policy.toml")
    repo.write("[", repo.system_policy)
    repo.env["RUNNER_TASKS__HELLO__TIMEOUT"] = "never"

    problems = repo.problems('[tasks.hello]\nsandbox = "nope"\n', sets=["tasks.hello.promt=x"])

    assert "max_levle" in problems[-2]
    assert "not valid TOML" in problems[-1]
    places = [problem.split(": ")[0].rpartition("/")[2] for problem in problems]
    assert places == [
        "config.toml:2:1",
        "delegate.toml:2:1",
        "delegate.local.toml:1:1",
        "env RUNNER_TASKS__HELLO__TIMEOUT",
        "--set tasks.hello.promt",
        "policy.toml:1:1",
        "policy.toml:1:1",
    ]


def test_a_model_brings_its_runtime_along(repo):
    repo.write(
        '[models.kimi]\nruntime = "kay"\nmodel = "k"\nprovider = "ocg"\n'
        '[tasks.hello]\nmodel = "kimi"\nprompt = "x"\n'
    )

    assert effective(repo, "runtime") == ("kay", "delegate.toml:2")
    assert repo.show()["models"]["kimi"]["provider"] == "opencode-go"


def test_a_task_with_the_name_of_a_speaker_of_ledgers_is_a_note_and_no_problem(repo):
    names = ("human", "owner", "runner", "person")
    tables = [f'[tasks.{name}]\nprompt = "x"\n' for name in names]
    repo.write("\n".join(tables))

    report = repo.check()

    assert report.problems == ()
    assert [note.key for note in report.notes] == ["tasks.human", "tasks.owner", "tasks.runner"]
    assert "no handoff reaches it" in str(report.notes[0])


def test_a_literal_model_id_that_looks_like_a_name_is_a_note_and_no_problem(repo):
    repo.write('[models.deep]\nmodel = "m"\n[tasks.hello]\nmodel = "depe"\nprompt = "x"\n')

    report = repo.check()

    assert report.problems == ()
    assert [str(note) for note in report.notes] == [
        'delegate.toml:4:1: tasks.hello.model: "depe" is passed on as a model id (did you mean "deep"?)'
    ]


def test_writable_folders_are_absolute_from_the_root_or_the_home(repo):
    repo.write('[sandboxes.b]\nlevel = "workspace-write"\nwritable = ["../c", "~/d", "/e"]\n')

    writable = repo.show()["sandboxes"]["b"]["writable"]

    assert writable == [str(repo.root.parent / "c"), str(repo.home / "d"), "/e"]


def test_hosts_are_lower_case_and_what_is_not_read_is_absolute(repo):
    repo.write(
        '[sandboxes.b]\nlevel = "workspace-write"\nnetwork = ["A.org"]\ndeny_read = '
        '["s/", "~/.ssh", "../c"]\n'
    )

    shown = repo.show()["sandboxes"]["b"]

    assert (shown["network"], shown["hosts"]) == (True, ["a.org"])
    assert shown["deny_read"] == [str(repo.root / "s"), str(repo.home / ".ssh"), str(repo.root.parent / "c")]
    assert not repo.show()["sandboxes"]["read-only"]["network"]


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ('level = "read-only"\nnetwork = ["a.org"]', "network"),
        ('level = "danger-full-access"\nnetwork = ["a.org"]', "network"),
        ('level = "danger-full-access"\ndeny_read = ["s"]', "deny_read"),
        ('level = "workspace-write"\nnetwork = ["a.org"]', "Kay cannot keep commands to a list of hosts"),
        ('level = "read-only"\ndeny_read = ["s"]', "task `t` uses it"),
    ],
)
def test_what_no_sandbox_can_keep_from_the_agent_is_a_problem_of_the_settings(repo, keys, wrong):
    task = '[tasks.t]\nprompt = "x"\nruntime = "kay"\nsandbox = "b"\n'
    repo.write(f"[sandboxes.b]\n{keys}\n{task}")

    (problem,) = repo.check().problems

    assert wrong in str(problem)
    assert ".b." in str(problem)


@pytest.mark.parametrize(
    ("keys", "is_known"),
    [
        ("limits.price = 2", False),
        ('runtime = "claude"\nlimits.price = 2', True),
        ('model = "priced"\nlimits.price = 2', True),
        ('model = "free"\nlimits.price = 2', False),
        ('model = "free"', True),
    ],
)
def test_a_limit_of_a_price_that_nobody_knows_is_a_problem_of_the_settings(repo, keys, is_known):
    price = "price = { input = 1, cached = 0, output = 1 }"
    models = f'[models.priced]\nmodel = "m"\n{price}\n[models.free]\nmodel = "f"\nruntime = "kay"\n'
    repo.write(f'{models}[tasks.t]\nprompt = "x"\n{keys}\n')

    problems = repo.check().problems

    assert [("nobody knows" in str(one), "tasks.t" in str(one)) for one in problems] == (
        [] if is_known else [(True, True)]
    )


def test_the_file_is_found_from_a_folder_inside_and_not_above_the_repository(repo):
    inside = repo.root / "a" / "b"
    inside.mkdir(parents=True)
    repo.write(TASK)
    repo.write(TASK, repo.root.parent / "outside" / "delegate.toml")
    outside = repo.root.parent / "outside" / "repo"
    outside.mkdir()
    (outside / ".git").write_text("gitdir: elsewhere\n")

    assert load(str(inside), env=repo.env).root == str(repo.root)
    with pytest.raises(ConfigInvalid, match=r"no delegate\.toml in"):
        load(str(outside), env=repo.env)


def test_an_empty_git_folder_is_no_repository(repo):
    inside = repo.root / "a"
    (inside / ".git").mkdir(parents=True)
    repo.write(TASK)

    assert load(str(inside), env=repo.env).root == str(repo.root)


def test_without_a_repository_only_the_folder_itself_is_looked_at(tmp_path):
    (tmp_path / "delegate.toml").write_text(TASK)
    (tmp_path / "below").mkdir()

    assert load(str(tmp_path), env={"HOME": str(tmp_path / "h")}).root == str(tmp_path)
    with pytest.raises(ConfigInvalid) as caught:
        load(str(tmp_path / "below"), env={"HOME": str(tmp_path / "h")})
    assert "runner init" in str(caught.value.hint)


def test_a_named_file_belongs_to_the_repository_it_is_in(repo, tmp_path):
    other = repo.root / "ci" / "nightly.toml"
    repo.write('[tasks.nightly]\nprompt = "x"\n', other)

    config = repo.load(config_file=str(other))

    assert config.root == str(repo.root)
    assert list(config.tasks) == ["nightly"]
    with pytest.raises(UsageError, match="no such file"):
        repo.load(config_file="missing.toml")


def test_one_tasks_missing_prompt_file_does_not_stop_another_task(repo):
    repo.write(TASK + '[tasks.other]\nprompt_file = "missing.md"\n')

    assert repo.load().tasks["hello"].prompt == "x"
    assert len(repo.check().problems) == 1


def test_one_tasks_breach_of_the_policy_does_not_stop_another_task(repo):
    repo.write('max_level = "read-only"\nnetwork = false\n', repo.system_policy)
    repo.write(TASK + '[tasks.other]\nsandbox = "workspace-write"\nprompt = "x"\n')

    report = repo.check()

    assert repo.load().policy.max_level == "read-only"
    assert report.problems == ()
    assert [str(breach) for breach in report.breaches] == [
        'delegate.toml:3:8: tasks.other: sandbox level "workspace-write" is wider than '
        f'"read-only", the widest that {repo.system_policy} allows'
    ]


def test_the_user_cannot_widen_what_the_organisation_allows(repo):
    repo.write('max_level = "read-only"\nruntimes = ["codex"]\n', repo.system_policy)
    repo.write(
        'max_level = "danger-full-access"\nruntimes = ["codex", "kay"]\n',
        repo.user_folder / "policy.toml",
    )
    repo.write(TASK)

    policy = repo.load().policy

    assert policy.max_level == "read-only"
    assert policy.runtimes == ("codex",)


def test_a_policy_that_cannot_be_read_stops_everything(repo):
    repo.write(TASK)
    repo.system_policy.mkdir(parents=True)

    with pytest.raises(ConfigInvalid, match="is a folder") as caught:
        repo.load()

    assert caught.value.exit_status is ExitStatus.INVALID


def test_showing_an_unknown_task_names_the_nearest(repo):
    repo.write(TASK)

    with pytest.raises(TaskNotFound, match="hello"):
        repo.show(task="helo")


def test_the_digest_follows_the_settings_and_not_their_spelling(repo):
    repo.write(TASK)
    first = repo.load().digest
    repo.write("# a comment\n" + TASK + 'timeout = "120m"\n')
    second = repo.load().digest
    repo.write(TASK + 'timeout = "119m"\n')

    assert first != repo.load().digest
    assert second != repo.load().digest
    repo.write("# another\n" + TASK)
    assert repo.load().digest == first


def test_the_error_of_a_load_lists_every_problem(repo):
    repo.write("a = 1\nb = 2\n")

    with pytest.raises(ConfigInvalid) as caught:
        repo.load()

    assert [line.split(":")[1] for line in caught.value.problems] == ["1", "2"]
    assert "and 1 more" in caught.value.message


def test_no_value_of_the_environment_is_stored_but_settings(repo):
    repo.write(TASK)
    repo.env |= {"SECRET": "hunter2", "RUNNER_TOKEN": "hunter2", "RUNNER_DEFAULTS__GRACE": "3s"}
    repo.load()

    (snapshot,) = repo.cache.iterdir()

    assert "hunter2" not in snapshot.read_text()
    assert os.stat(snapshot).st_mode & 0o777 == 0o600
    assert os.stat(repo.cache).st_mode & 0o777 == 0o700


def test_a_task_takes_its_delegation_from_the_delegation_table(repo):
    repo.write(TASK + "[delegation]\nenabled = true\n")
    assert effective(repo, "delegation") == (True, "delegate.toml:4")
    repo.write(TASK + "[delegation]\nenabled = true\n[defaults]\ndelegation = false\n")
    assert effective(repo, "delegation") == (False, "delegate.toml:6")
    repo.write(TASK + "delegation = true\n[defaults]\ndelegation = false\n")
    assert effective(repo, "delegation") == (True, "delegate.toml:3")


def test_delegation_has_defaults_that_let_a_run_start_every_task_once_deep(repo):
    repo.write(TASK)
    own = repo.load().delegation
    assert (own.enabled, own.server, own.max_depth, own.max_children) == (False, "inline", 1, 4)
    assert (own.tasks, own.on_parent_end, own.skills) == (None, "cancel", True)
    assert sorted(own.tools) == ["await", "cancel", "ledger", "pause", "question", "send", "spawn", "status"]


def test_the_keys_of_delegation_are_read_from_every_layer(repo):
    repo.write(TASK + '[delegation]\ntasks = ["hello"]\non_parent_end = "leave"\n')
    own = repo.load().delegation
    assert (own.tasks, own.on_parent_end) == (("hello",), "leave")
    own = repo.load(sets=["delegation.tasks=[]", "delegation.on_parent_end=cancel"]).delegation
    assert (own.tasks, own.on_parent_end) == ((), "cancel")
    assert repo.show()["delegation"]["tasks"] == ["hello"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('tasks = ["helo"]', 'found "helo"; no such task'),
        ("tasks = [5]", "delegation.tasks"),
        ('on_parent_end = "kill"', 'found "kill"'),
        ("max_depth = 9", "found 9"),
        ("max_children = -1", "found -1"),
        ("max_children = 65", "found 65"),
        ('tools = ["all"]', 'found "all"'),
        ("depth = 1", "depth"),
    ],
)
def test_what_delegation_cannot_be_is_a_problem_with_its_place(line, says, repo):
    (problem,) = repo.problems(TASK + f"[delegation]\n{line}\n")
    assert problem.startswith("delegate.toml:4")
    assert says in problem


def test_no_limit_is_written_none(repo):
    repo.write(TASK + 'timeout = "none"\n')

    assert repo.load().tasks["hello"].timeout_s is None
    assert effective(repo, "timeout")[0] == "none"


def test_rehearsal_is_a_switch_or_the_path_of_a_script(repo):
    repo.write(TASK + '[tasks.b]\nrehearse = "scripts/a.toml"\n[defaults]\nrehearse = true\n')

    tasks = repo.load().tasks

    assert (tasks["hello"].rehearse, tasks["hello"].rehearsal_script) == (True, None)
    assert (tasks["b"].rehearse, tasks["b"].rehearsal_script) == (True, "scripts/a.toml")


def test_a_task_that_is_not_rehearsed_has_no_script_either(repo):
    repo.write(TASK + 'rehearse = false\n[defaults]\nrehearse = "scripts/a.toml"\n')

    task = repo.load().tasks["hello"]

    assert (task.rehearse, task.rehearsal_script) == (False, None)


def test_a_command_that_is_a_string_is_split_into_words(repo):
    repo.write(TASK + """verify = [["a", "b c"], "d 'e f' '$HOME'"]\n[tasks.b]\nverify = "g h"\n""")

    tasks = repo.load().tasks

    assert tasks["hello"].verify == (("a", "b c"), ("d", "e f", "$HOME"))
    assert tasks["b"].verify == (("g", "h"),)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("pytest tests/*.py", "tests/*.py"),
        ("python -m pytest -q tests/*/test_a.py", "tests/*/test_a.py"),
        ("uv run pytest -x tests/**", "tests/**"),
        ("ruff check *.py", "*.py"),
        ("test ! -e dist/*.map", "dist/*.map"),
        ("test -e build/[ab]", "build/[ab]"),
        ("[ -f out.? ]", "out.?"),
        ("test ! -e ~root", "~root"),
        ("test ! -e {a,b}.orig", "{a,b}.orig"),
        ("~/bin/check --all", "~/bin/check"),
        ("python ~/check.py", "~/check.py"),
    ],
)
def test_a_text_with_what_only_a_shell_expands_is_refused(repo, text, word):
    (problem,) = repo.problems(TASK + f"verify = ['{text}']\n")

    assert "verify[0]: found" in problem
    assert f"`{word}` is expanded by a shell" in problem
    assert f'write ["sh", "-c", "{text}"]' in problem


@pytest.mark.parametrize(
    "text",
    [
        'pytest "tests/*.py"',
        "pytest tests/test_a.py::test_it[1-a]",
        "pytest tests/test_a.py::test_*",
        "pytest -k test_*",
        "pytest --deselect tests/*.py",
        "pytest --ignore-glob=*/old/* tests",
        "mypy src/[a-z]",
        "coverage report --include=src/*",
        "python -m unittest discover -p test_*.py",
        "find . -name *.pyc",
        "prettier --check src/**/*.{ts,tsx}",
        "git ls-files *.py",
        "git diff --exit-code HEAD~1 -- docs/*",
        "node --test test/*.js",
        "go test ./...",
        "jq .[]?.a x.json",
        "cat a~ b~/c",
        "[ -e x ]",
        'test ! -e "a[1].txt"',
    ],
)
def test_a_pattern_that_the_program_itself_may_want_is_passed_on(repo, text):
    repo.write(TASK + f"verify = ['{text}', ['pytest', 'tests/*.py', '~/x']]\n")

    assert repo.load().tasks["hello"].verify[1] == ("pytest", "tests/*.py", "~/x")


def test_a_text_for_a_shell_is_refused_in_every_layer(repo):
    (option,) = repo.problems(TASK, sets=["tasks.hello.verify=a && b"])
    repo.env["RUNNER_DEFAULTS__VERIFY"] = '["a", "b > c"]'
    (variable,) = repo.problems(TASK)

    assert option.startswith("--set tasks.hello.verify: ") and "`&&` is for a shell" in option
    assert variable.startswith("env RUNNER_DEFAULTS__VERIFY: ") and "`>` is for a shell" in variable


@pytest.mark.parametrize(
    "option", ["defaults.model=\udcff", "tasks.\udcff.model=x", "runtimes.codex.config.x=\udcff", "\udcff"]
)
def test_an_option_with_a_byte_that_is_no_utf8_is_told_in_our_words(repo, option):
    (problem,) = repo.problems("", sets=[option])

    assert problem.startswith("--set ")
    assert problem.endswith(": is not valid UTF-8; a setting is text")


def test_a_variable_with_a_byte_that_is_no_utf8_is_told_in_our_words(repo):
    repo.env["RUNNER_DEFAULTS__MODEL"] = "\udcff"

    (problem,) = repo.problems("")

    assert problem == "env RUNNER_DEFAULTS__MODEL: is not valid UTF-8; a setting is text"
