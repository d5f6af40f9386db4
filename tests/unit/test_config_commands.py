"""`init`, `schema`, `config show`, and the files that we ship."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import jsonschema
import pytest

from runner.config import generate
from runner.config.commands import check, init, sample, schema, schema_names
from runner.errors import Conflict, ExitStatus, PolicyRefused, Unwritable, UsageError
from runner.invocation import Request
from runner.model import Delegate, Economics, ExecutorSettings, Host, Recovery
from runner.plan.pipeline import Pipeline
from runner.usecases import start

ROOT = Path(__file__).parents[2]
PIPELINES = "# ---- Pipelines"


@pytest.mark.parametrize("full", [False, True])
def test_init_writes_a_file_that_checks_and_ignores_what_is_private(repo, full):
    text, _ = sample(str(repo.root), repo.env, full=full)
    assert not repo.file.exists()
    report = init(str(repo.root), repo.env, full=full)

    assert repo.file.read_text() == text
    assert (text == (ROOT / "delegate.toml.example").read_text()) is full
    assert (repo.root / ".gitignore").read_text() == ".runs/\ndelegate.local.toml\n"
    assert report.repository
    assert report.root == str(repo.root)
    assert report.gitignored == (".runs/", "delegate.local.toml")
    assert repo.check().problems == ()
    assert repo.check().notes == ()


def test_init_writes_at_the_root_of_the_repository(repo):
    (repo.root / "src").mkdir()

    assert init(str(repo.root / "src"), repo.env).root == str(repo.root)
    assert repo.file.exists()


def test_init_works_outside_a_repository_and_says_so(tmp_path):
    report = init(str(tmp_path), {})

    assert not report.repository
    assert (tmp_path / "delegate.toml").exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_init_never_replaces_a_file(repo, kind):
    if kind == "file":
        repo.write("mine")
    elif kind == "folder":
        repo.file.mkdir()
    else:
        repo.file.symlink_to("nowhere")

    with pytest.raises(Conflict) as caught:
        init(str(repo.root), repo.env)

    assert caught.value.exit_status is ExitStatus.CONFLICT
    assert not (repo.root / ".gitignore").exists()
    assert kind != "file" or repo.file.read_text() == "mine"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/.venv/", "/.venv/\n.runs/\ndelegate.local.toml\n"),
        ("/.runs/*\n", "/.runs/*\ndelegate.local.toml\n"),
        (".runs\n/delegate.local.toml\n", ".runs\n/delegate.local.toml\n"),
        ("\ufeff.runs/\n", "\ufeff.runs/\ndelegate.local.toml\n"),
        ("a\r\n", "a\r\n.runs/\r\ndelegate.local.toml\r\n"),
    ],
)
def test_init_adds_to_gitignore_only_what_is_missing(repo, before, after):
    ignore = repo.root / ".gitignore"
    ignore.write_bytes(before.encode())

    init(str(repo.root), repo.env)

    assert ignore.read_bytes() == after.encode()


@pytest.mark.parametrize("target", ["../outside", "../missing", "delegate.toml", "/dev/null"])
def test_init_follows_no_link_and_writes_nothing(repo, target):
    outside = repo.root.parent / "outside"
    outside.write_text("precious\n")
    (repo.root / ".gitignore").symlink_to(target)

    with pytest.raises(Conflict, match=r"\.gitignore is a symbolic link"):
        init(str(repo.root), repo.env)
    assert outside.read_text() == "precious\n" and not (repo.root.parent / "missing").exists()
    assert not (repo.root / "delegate.toml").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_init_does_not_wait_for_what_is_no_file(repo, make):
    make(repo.root / ".gitignore")

    with pytest.raises(Unwritable, match=r"\.gitignore: is "):
        init(str(repo.root), repo.env)
    assert not (repo.root / "delegate.toml").exists()


@pytest.mark.parametrize("name", ["delegate", "policy"])
def test_the_shipped_schema_is_the_generated_one(name):
    path = ROOT / "schemas" / f"{name}.schema.json"

    assert path.read_text() == generate.document(name), "run `python -m runner.config.generate`"
    jsonschema.Draft202012Validator.check_schema(schema(name))


def test_every_key_of_the_schemas_is_described():
    def keys(node: object, path: str) -> list[str]:
        if not isinstance(node, dict):
            return []
        missing = [
            f"{path}.{key}" for key, item in node.get("properties", {}).items() if "description" not in item
        ]
        return missing + [found for name, item in node.get("$defs", {}).items() for found in keys(item, name)]

    assert keys(schema("delegate"), "delegate") + keys(schema("policy"), "policy") == []


def test_an_unknown_schema_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match='did you mean "delegate"'):
        schema("delegat")
    assert "delegate" in schema_names()


@pytest.mark.parametrize("name", ["../pyproject", "/etc/passwd", ""])
def test_a_schema_name_is_no_path(name):
    with pytest.raises(UsageError):
        schema(name)


@pytest.mark.parametrize("name", ["delegate.toml.example", "delegate.toml"])
def test_our_own_files_are_valid_for_the_schema_and_for_us(repo, name):
    text = (ROOT / name).read_text()
    jsonschema.validate(tomllib.loads(text), schema("delegate"))

    assert repo.problems(text) == []
    assert repo.load().tasks["hello"].rehearse


def test_the_example_shows_every_key_there_is():
    text = (ROOT / "delegate.toml.example").read_text()

    def keys(node: dict) -> set[str]:
        return set(node.get("properties", {}))

    tables = schema("delegate")["$defs"]
    del tables["NotifyTable"]  # not for a file that is committed, which the example says
    assert "[notify]" in text
    every = set().union(*(keys(item) for item in tables.values()))

    assert sorted(key for key in every if f"{key} =" not in text and f".{key}]" not in text) == []


def test_the_pipeline_of_the_example_is_valid_where_its_tasks_are(repo):
    text, _, pipelines = (ROOT / "delegate.toml.example").read_text().partition(PIPELINES)
    for name in ("map-code", "find-tests", "review-errors", "review-data", "audit-codex", "synthesise"):
        text += f'[tasks.{name}]\nprompt = "x"\n'
    text += '[tasks.audit-claude]\nprompt = "x"\nruntime = "claude"\n'
    text += "\n".join(line.removeprefix("#").removeprefix(" ") for line in pipelines.splitlines()[1:])

    assert repo.problems(text) == []
    jsonschema.validate(tomllib.loads(text), schema("delegate"))
    stages = Pipeline.from_json(repo.load().pipelines["feature"]).stages
    assert [len(stage.needs) for stage in stages] == [0, 1, 1, 1, 1]


def test_the_example_is_still_valid_with_every_comment_taken_off(repo):
    lines = (ROOT / "delegate.toml.example").read_text().partition(PIPELINES)[0].splitlines()
    keys = (
        "model",
        "start_timeout",
        "grace",
        "open",
        "open_timeout",
        "start",
        "verify",
        "verify_timeout",
        "rehearse",
        "blocks",
    )
    keys += ("delegation", "env", "command", "version", "provider", "config", "writable", "files")
    keys += ("allow_danger", "level", "server", "tools", "max_depth", "max_children", "skills")
    keys += ("timeout", "[sandboxes.unlimited]", "prompt_file", "limits", "tokens", "tree_tokens", "warn_at")
    keys += ("repeats", "reconnects", "ladder", "api_retries", "backoff", "backoff_max", "scope", "workspace")
    keys += ("on_failure", "on_conflict", "conformance", "retries", "patterns", "approach", "execution_note")
    keys += (
        "constraints",
        "testing",
        "output_contract",
        "protect",
        "verify_from",
        "expects_change",
        "prepare",
        "prepare_timeout",
        *(
            "executor",
            "[executors.cluster]",
            "[executors.servers]",
            "hosts",
            "slots",
            "time",
            "max_pending",
            *ExecutorSettings._fields,
        ),
        *Delegate._fields,
        *Economics._fields,
        *Host._fields,
    )
    shown = []
    for line in lines:
        bare = line.removeprefix("# ")
        commented = bare != line and bare.split(" ")[0] in keys
        # A task has one of `prompt` and `prompt_file`; the file does not exist here.
        shown.append(bare if commented and not bare.startswith("prompt_file") else line)
    text = "\n".join(shown)

    assert repo.problems(text) == []
    jsonschema.validate(tomllib.loads(text), schema("delegate"))
    shown_keys = set(tomllib.loads(text)["defaults"]) | {"map"}  # the file does not exist here either
    assert shown_keys == set(schema("delegate")["$defs"]["DefaultsTable"]["properties"])
    assert repo.load().recovery == Recovery()
    assert repo.load().economics == Economics()
    chosen = {"hub_files": ("src/routes.ts",), "effort_floor": "medium"}  # where there is no default
    assert repo.load().delegate == Delegate(**chosen)
    assert repo.load().host == Host(task="improve")


def test_show_tells_the_origin_of_everything(repo):
    repo.write('[tasks.hello]\nprompt = "x"\n[models.deep]\nmodel = "m"\n')
    repo.write("network = false\n", repo.system_policy)

    shown = repo.show(origin=True)

    assert shown["models"]["deep"]["model"] == {"value": "m", "origin": "delegate.toml:4"}
    assert shown["tasks"]["hello"]["grace"] == {"value": "5s", "origin": "default"}
    assert shown["policy"]["network"] == {"value": False, "origin": str(repo.system_policy)}
    json.dumps(shown)


def test_check_names_the_files_it_has_read(repo):
    repo.write("")
    repo.write("", repo.user_folder / "config.toml")

    assert repo.check().files == (str(repo.user_folder / "config.toml"), str(repo.file))


def test_check_of_our_own_repository_finds_nothing(tmp_path):
    report = check(str(ROOT), {"HOME": str(tmp_path)}, system_policy=str(tmp_path / "none"))

    assert report.problems == report.breaches == ()


@pytest.mark.parametrize("policy", ["", "network = false\n", "verify = []\n"])
def test_any_policy_file_makes_what_settings_name_a_list_of_what_is_allowed(repo, policy):
    repo.write(policy, repo.user_folder / "policy.toml")
    repo.write('[tasks.a]\nprompt = "x"\nverify = [["touch", "x"]]\n')
    (breach,) = repo.check().breaches
    assert "`verify`" in str(breach) and str(repo.user_folder / "policy.toml") in str(breach)

    repo.write('verify = ["touch"]\n', repo.user_folder / "policy.toml")
    assert repo.check().breaches == ()
    repo.write("", repo.system_policy)
    assert len(repo.check().breaches) == 1


@pytest.mark.parametrize(
    ("ceiling", "settings"),
    [
        ("verify", 'verify = [["touch", "x"]]'),
        ("programs", '[runtimes.codex]\ncommand = "./evil"'),
        ("config", '[runtimes.codex.config]\nnotify = ["touch", "x"]'),
        ("config", '[runtimes.codex.config.mcp_servers.e]\ncommand = "sh"'),
        ("providers", '[runtimes.codex.config]\nmodel_provider = "theirs"'),
        ("providers", 'model = "m"\n[models.m]\nmodel = "m"\nprovider = "theirs"'),
        ("writable", 'sandbox = "b"\n[sandboxes.b]\nlevel = "workspace-write"\nwritable = ["../b"]'),
    ],
)
@pytest.mark.parametrize("policy", ["the user's", "the machine's"])
def test_what_a_policy_does_not_list_no_start_carries_out(repo, policy, ceiling, settings):
    repo.write("", repo.system_policy if policy == "the machine's" else repo.user_folder / "policy.toml")
    repo.write(f'[tasks.a]\nprompt = "x"\n{settings}\n')

    with pytest.raises(PolicyRefused, match=f"`{ceiling}`"):
        start.resolve(repo.load(), Request("a"), repo.env)


def test_a_policy_may_name_folders_below_the_home_folder(repo):
    repo.write('writable = ["~/cache/*"]\n', repo.user_folder / "policy.toml")
    sandbox = '[defaults]\nsandbox = "b"\n[sandboxes.b]\nlevel = "workspace-write"\n'
    repo.write(f'{sandbox}writable = ["~/cache/x", "inside"]\n[tasks.a]\nprompt = "x"\n')
    assert repo.check().breaches == ()
    repo.write(f'{sandbox}writable = ["~/other"]\n[tasks.a]\nprompt = "x"\n')
    assert len(repo.check().breaches) == 1


def test_no_name_of_a_setting_looks_like_two_settings() -> None:
    from runner.cli.setup import _settings

    lines = _settings(
        {"models": {"a\nb = 1": {"model": "x\u2028y\u202e\x1b"}, "c.d": {"model": "z"}}}, (), False
    )
    assert lines == [
        'models."a\\nb = 1".model = "x\\u2028y\\u202e\\u001b"',
        'models."c.d".model = "z"',
    ]


def test_a_policy_may_name_a_provider_by_its_alias(repo):
    repo.write('[defaults]\nruntime = "kay"\n[runtimes.kay]\nprovider = "ocg"\n[tasks.a]\nprompt = "x"\n')
    repo.write('providers = ["openrouter"]\n', repo.user_folder / "policy.toml")
    assert "opencode-go" in str(repo.check().breaches[0])
    repo.write('providers = ["ocg"]\n', repo.user_folder / "policy.toml")
    assert repo.check().breaches == ()


def test_a_program_of_a_check_that_is_not_there_is_noted_where_it_is_written(repo):
    repo.write(
        '[defaults]\nverify = ["true", "pyhton -m pytest"]\n[tasks.a]\nprompt = "x"\n[tasks.b]\n'
        'prompt = "x"\n[tasks.c]\nprompt = "x"\nverify = [["./new.sh"], ["../new.sh"]]\n'
    )

    missing, new, outside = map(str, repo.check().notes)

    assert missing.startswith("delegate.toml:2:19: defaults.verify[1]: `pyhton` was not found")
    assert "`./new.sh` is no program yet: the run has to make it" in new
    assert outside.startswith("delegate.toml:9:25: tasks.c.verify[1]: `../new.sh` was not found")


@pytest.mark.parametrize("gate", ['[["true"], ["mypyy"]]', '{ commands = [["true"], ["mypyy"]] }'])
def test_a_program_of_a_gate_that_is_not_there_is_noted_where_it_is_written(repo, gate):
    repo.write(
        '[tasks.a]\nprompt = "x"\n[[pipelines.p.stages]]\nname = "s"\ntasks = ["a"]\n' + f"gate = {gate}\n"
    )

    (note,) = map(str, repo.check().notes)

    assert note.startswith("delegate.toml:6:") and "`mypyy` was not found: a start is refused" in note


@pytest.mark.parametrize(
    ("sandbox", "is_noted"), [("read-only", True), ("workspace-write", True), ("full", False)]
)
def test_a_task_that_owns_git_and_whose_sandbox_keeps_it_from_that_is_noted(repo, sandbox, is_noted):
    repo.write(
        f'[git]\nowner = "work"\n[tasks.work]\nprompt = "p"\nsandbox = "{sandbox}"\n'
        '[sandboxes.full]\nlevel = "danger-full-access"\nallow_danger = true\n'
    )
    noted = [note.key for note in repo.check().notes if "task `work` cannot commit" in str(note)]
    assert noted == ["git.owner"] * is_noted
