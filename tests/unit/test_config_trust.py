"""What of a repository's settings counts as able to execute, send or widen, and what may change unasked."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from support.trusting import require_trust

from runner.config import commands, schema
from runner.config.compile import compile_settings
from runner.config.find import find
from runner.config.scripts import scripts_of
from runner.config.snapshot import config_from_json
from runner.config.trust import HARMLESS, listed
from runner.errors import ConfigInvalid, NotTrusted, PromptInvalid
from runner.text.expansion import filled, fitting, is_loose
from runner.usecases import start, trust

BASE = """\
schema_version = 1
[runtimes.codex]
env = ["A_TOKEN"]
[sandboxes.build]
level = "workspace-write"
[sandboxes.look]
level = "read-only"
[tasks.a]
prompt = "x"
sandbox = "build"
verify = [["sh", "ci.sh"]]
[tasks.b]
prompt = "y"
"""


def demanded(
    repo, text: str, settings: Mapping[str, str] | None = None, sets: Sequence[str] = ()
) -> trust.Demands:
    """What these settings demand, read in this process: a start has another one do it."""
    repo.write(text)
    places = find(str(repo.root), None, repo.env, str(repo.system_policy))
    config = compile_settings(places, settings or {}, sets).config
    assert config is not None
    return trust.demanded(config_from_json(config), repo.env)


def track(root: Path, *names: str) -> None:
    """As if they had come with the repository."""
    subprocess.run(["git", "init", "-q", root], check=True)
    subprocess.run(["git", "-C", root, "add", "-f", *names], check=True)


def with_(table: str, line: str, text: str = BASE) -> str:
    """The settings with a line more at the end of a table, which may be new."""
    head = f"[{table}]\n"
    if head not in text:
        return f"{text}{head}{line}\n"
    before, _, after = text.partition(head)
    return f"{before}{head}{line}\n{after}"


# -- what counts -----------------------------------------------------------------------------------


def test_what_is_said_to_be_harmless_is_a_key_that_there_is() -> None:
    assert set(HARMLESS) == set(schema.keys_at(()))
    for table, keys in HARMLESS.items():
        named = table in ("runtimes", "models", "sandboxes", "executors", "tasks", "pipelines")
        path = (table, "codex" if table == "runtimes" else "NAME") if named else (table,)
        assert set(keys or ()) <= set(schema.keys_at(path)), table


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("runtimes.codex", 'command = "bin/codex"'),
        ("runtimes.codex", 'command = "other"'),
        ("runtimes.codex.config", "new_key = 1"),
        ("runtimes.codex.config", 'mcp_servers.e = { command = "/bin/sh" }'),
        ("runtimes.codex.config", 'notify = ["touch", "x"]'),
        ("runtimes.kay", 'provider = "openrouter"'),
        ("runtimes.kay", 'env = ["B_TOKEN"]'),
        ("models.m", 'model = "m"\nprovider = "elsewhere"'),
        ("models.m", 'model = "m"\nruntime = "kay"'),
        ("sandboxes.build", "network = true"),
        ("sandboxes.build", 'network = ["a.org"]'),
        ("sandboxes.build", 'deny_read = ["secret"]'),
        ("sandboxes.build", "deny_read = []"),
        ("sandboxes.build", 'writable = ["../c"]'),
        ("sandboxes.new", 'level = "danger-full-access"\nallow_danger = true'),
        ("defaults", 'runtime = "kay"'),
        ("defaults", 'sandbox = "workspace-write"'),
        ("defaults", 'verify = [["make"]]'),
        ("defaults", 'prepare = [["make"]]'),
        ("tasks.b", 'prepare = ["make deps"]'),
        ("defaults", 'map = "map.md"'),
        ("defaults", 'rehearse = "play.toml"'),
        ("tasks.b", 'sandbox = "build"'),
        ("tasks.b", 'verify = ["make test"]'),
        ("tasks.c", 'prompt_file = "p.md"'),
        ("tasks.b", 'paste = ["src/**"]'),
        ("delegation", 'server = "registered"'),
        ("delegate", "commit = true"),
        ("git", 'owner = "b"'),
        ("executors.e", 'kind = "slurm"'),
        ("executors.e", 'kind = "slurm"\npartition = "p"\ncpus = 9\nmax_running = 9'),
        ("executors.e", 'kind = "slurm"\noptions = { exclusive = true }'),
        ("tasks.c", 'executor = "e"\n[executors.e]\nkind = "slurm"'),
        ("defaults", 'executor = "e"\n[executors.e]\nkind = "slurm"'),
        ("pipelines.p", 'title = "x"\nstages = [{ name = "s", tasks = ["a"] }]'),
        ("pipelines.p", 'stages = [{ name = "s", tasks = ["a"], gate = [["make"]] }]'),
    ],
)
def test_what_can_execute_send_or_widen_changes_the_digest(repo, table: str, line: str) -> None:
    before = demanded(repo, BASE)
    after = demanded(repo, with_(table, line))
    assert after.digest != before.digest
    assert len(after.items) > len(before.items)


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("tasks.a", 'title = "A"'),
        ("tasks.b", 'executor = "local"'),
        ("git", 'owner = "human"'),
        ("git", 'owner = "runner"'),
        ("tasks.c", 'prompt = "another one"'),
        ("tasks.b", 'sandbox = "look"'),
        ("tasks.b", "verify = []"),
        ("defaults", 'timeout = "1m"\nretries = 3\nscope = ["src/**"]'),
        ("defaults", 'runtime = "codex"\nsandbox = "read-only"\nrehearse = true'),
        ("runtimes.codex", 'command = "codex"\nversion = ">=0.160"'),
        ("runtimes.codex.config", "features.unbounded_connection_retries = false"),
        ("models.m", 'model = "gpt-5"\nreasoning_effort = "low"\nruntime = "codex"'),
        ("sandboxes.look2", 'level = "read-only"'),
        ("blocks.x", 'text = "Do not."'),
        ("economics", "unit = 1"),
        ("host", 'task = "b"\nlevel = "guide"\nmay_edit = ["**"]'),
    ],
)
def test_what_can_do_none_of_it_may_change_unasked(repo, table: str, line: str) -> None:
    before = demanded(repo, BASE)
    assert demanded(repo, with_(table, line)).digest == before.digest


def test_each_stage_of_a_pipeline_is_asked_for_and_its_gate_as_what_runs(repo) -> None:
    stages = '{ name = "one", tasks = ["a"] }, { name = "two", tasks = ["b"], gate = ["make test"] }'
    found = demanded(repo, with_("pipelines.p", f"stages = [{stages}]"))
    assert [item for item in found.items if "pipelines" in item[1]] == [
        ("runs", "pipelines.p.stages[1].gate.commands", "make test"),
        ("other", "pipelines.p.stages[0]", '{"name": "one", "tasks": ["a"]}'),
        (
            *("other", "pipelines.p.stages[1]"),
            '{"name": "two", "tasks": ["b"], "gate": {"commands": [["make", "test"]]}}',
        ),
    ]


@pytest.mark.parametrize("key", ["verify", "prepare", "commands"])
def test_a_key_of_an_agents_own_settings_is_no_command_of_ours(repo, key: str) -> None:
    found = demanded(repo, with_("runtimes.codex.config", f"{key} = 1"))
    assert ("other", f"runtimes.codex.config.{key}", "1") in found.items


def test_the_order_and_the_form_of_a_file_do_not_count(repo) -> None:
    before = demanded(repo, BASE)
    tables = BASE.split("[")
    assert len(tables) > 5
    text = BASE.replace('verify = [["sh", "ci.sh"]]', 'verify = ["sh ci.sh"]   # the same').replace(
        '[tasks.b]\nprompt = "y"\n', ""
    )
    assert demanded(repo, text).digest == before.digest


def test_a_task_that_loses_what_held_it_in_is_a_change(repo) -> None:
    wide = with_("defaults", 'sandbox = "build"')
    held = with_("tasks.b", 'sandbox = "look"', wide)
    assert demanded(repo, held).digest != demanded(repo, wide).digest


def test_the_layer_of_this_folder_counts_and_those_of_the_user_do_not(repo) -> None:
    before = demanded(repo, BASE)
    repo.write('[defaults]\nverify = [["make"]]\n', repo.user_folder / "config.toml")
    env = {"RUNNER_DEFAULTS__MAP": "map.md"}
    assert demanded(repo, BASE, env, sets=['runtimes.codex.command="./x"']).digest == before.digest
    repo.write('[defaults]\nverify = [["make"]]\n', repo.file.with_name("delegate.local.toml"))
    assert demanded(repo, BASE).digest != before.digest


@pytest.mark.parametrize(
    ("table", "line", "is_asked"),
    [
        ("tasks.b", 'sandbox = "look"', True),
        ("tasks.b", 'sandbox = "read-only"', True),
        ("defaults", 'sandbox = "look"', True),
        ("sandboxes.mine", "deny_read = []", True),
        ("sandboxes.mine", 'level = "read-only"', False),
        ("tasks.b", 'title = "B"', False),
    ],
)
def test_what_may_be_read_beyond_a_sandbox_of_the_users_own_is_asked_about(
    repo, table: str, line: str, is_asked: bool
) -> None:
    own = '[sandboxes.mine]\nlevel = "read-only"\ndeny_read = ["~/.ssh"]\n[defaults]\nsandbox = "mine"\n'
    repo.write(own, repo.user_folder / "config.toml")
    before = demanded(repo, BASE)
    assert (demanded(repo, with_(table, line)).digest != before.digest) is is_asked


# -- contents --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "script"),
    [
        (["sh", "ci.sh"], "ci.sh"),
        (["bash", "-e", "ci/test.sh", "x"], "ci/test.sh"),
        (["python3.11", "tools/check.py"], "tools/check.py"),
        (["./check", "x"], "./check"),
        (["sh", "-c", "./ci.sh"], "./ci.sh"),
        (["python"], None),
        (["pytest", "tests/a.py"], None),
        (["make"], None),
    ],
)
def test_the_script_of_a_command_is_what_its_words_tell(command: list[str], script: str | None) -> None:
    assert next(scripts_of(command), None) == script


@pytest.mark.parametrize(
    ("command", "scripts"),
    [
        (["bash", "-o", "pipefail", "ci/test.sh", "more"], ["pipefail", "ci/test.sh"]),
        (["bash", "-e", "-o", "pipefail", "check"], ["pipefail", "check"]),
        (["python3", "-W", "error", "ci/t.py", "x"], ["error", "ci/t.py"]),
        (["python3", "-W", "error", "-m", "pytest", "tests/a.py"], ["error"]),
        (["env", "-i", "A=b", "./check.sh"], ["./check.sh"]),
        (["/usr/bin/env", "A=b", "sh", "-x", "ci/test.sh"], ["/usr/bin/env", "ci/test.sh"]),
        (["/bin/sh", "ci/test.sh"], ["/bin/sh", "ci/test.sh"]),
        ([".venv/bin/python3.11", "ci/t.py"], [".venv/bin/python3.11", "ci/t.py"]),
        (["/usr/bin/env", "/bin/bash", "-e", "t.sh"], ["/usr/bin/env", "/bin/bash", "t.sh"]),
        ([".venv/bin/python", "-m", "pytest"], [".venv/bin/python"]),
        (["./sh/check", "ci/test.sh"], ["./sh/check"]),
        (["env"], []),
        (["env", "make", "ci/test.sh"], []),
    ],
)
def test_a_script_behind_options_with_a_value_or_behind_env_counts(
    command: list[str], scripts: list[str]
) -> None:
    assert list(scripts_of(command)) == scripts


@pytest.mark.parametrize(
    ("command", "scripts"),
    [
        ("timeout 60 sh ci/t.sh", ["ci/t.sh"]),
        ("timeout -k 5 1.5m ./ci/t.sh sub/x", ["./ci/t.sh"]),
        ("nice -n 5 time -p env -u X A=./b sh t.sh", ["t.sh"]),
        ("nohup 2026/t.sh", ["2026/t.sh"]),
        ("env -S 'sh -x t.sh'", ["t.sh"]),
        ("env '-Stimeout 5 ./t'", ["./t"]),
        ("xvfb-run -a -s '-screen 0' sh t.sh", ["t.sh"]),
        ("uv run --with more python t.py", ["t.py"]),
        ("uv run -- t.py", ["t.py"]),
        ("poetry run python -W error t.py", ["error", "t.py"]),
        ("npx --yes tsx scripts/a.ts", ["scripts/a.ts"]),
        ("coverage run t.py", ["t.py"]),
        ("bun run t.ts", ["t.ts"]),
        ("./tools/env sh t.sh", ["./tools/env", "t.sh"]),
        ("bash -ec 'cd a && A=1 ./b.sh --c; if ! sh d.sh; then exec ./e | nice ./f; fi'", 4),
        ("sh -c 'timeout 5 sh -c \"./t\"'", ["./t"]),
        ("poetry run pytest tests/a.py", []),
        ("timeout 60 make ci/t.sh", []),
        ("npm test", []),
        ("xargs -a list -n 1 sh t.sh", ["t.sh"]),
        ("flock lock -w 5 sh t.sh", ["t.sh"]),
        ("flock lock -c './t'", ["./t"]),
        ("docker run --rm -v a image sh t.sh", ["t.sh"]),
        ("podman exec name python3 t.py", ["t.py"]),
        ("ssh host 'cd a; sh t.sh'", ["cd a; sh t.sh", "t.sh"]),
        ("su -c 'make && sh t.sh' me", ["make && sh t.sh", "t.sh"]),
        ("script -c 'sh t' log", ["t"]),
        ("runuser -u me -- sh t.sh", ["t.sh"]),
        ("chroot root sh t.sh", ["t.sh"]),
        ("unshare -n sh t.sh", ["t.sh"]),
        ("watch -n 5 sh t.sh", ["t.sh"]),
        ("parallel sh t.sh ::: a", ["t.sh"]),
        ("docker build .", ["."]),
        ("env -S", []),
        ("script -qec 'sh t.sh' out/t.typescript", ["t.sh"]),
        ("script", []),
        ("script -c", []),
        ("script t.typescript sh t.sh -c x", ["t.typescript", "t.sh"]),
        ("find src/a.py -newer a.json -exec ./t {} + -ok sh u ;", ["./t", "u"]),
        ("docker run find ./t", ["./t"]),
        ("node --test --test-reporter-destination=lcov.info --import=./t.js", ["./t.js"]),
        ("java -XX:HeapDumpPath=a.bin -jar t.jar", ["t.jar"]),
        ("julia --code-coverage=out.info t.jl", ["t.jl"]),
        ("deno run --allow-write=data/out.json t.ts", ["t.ts"]),
    ],
)
def test_a_script_behind_a_launcher_or_in_a_line_of_a_shell_counts(
    command: str, scripts: list[str] | int
) -> None:
    found = list(scripts_of(shlex.split(command)))
    assert found == (["./b.sh", "d.sh", "./e", "./f"] if scripts == 4 else scripts)


def test_a_command_of_many_launchers_is_read_in_a_time_that_its_length_explains() -> None:
    assert list(scripts_of(["env", "-a"] * 20_000)) == []
    assert list(scripts_of(["sh", "-c", "sh -c " * 10_000])) == []
    assert len(list(scripts_of(["sh", "-c", "$@ " * 20_000, *["./x y"] * 20_000]))) == 1
    for many in (
        "1",
        "&",
        ">",
        "<",
        "> ",
        "\\>",
        "1>",
        "$PWD",
        "'>",
        '">',
        "|",
        "cat x|",
        "|sh",
        "-c ",
        "eval ",
        "\\",
        "$@ ",
        "'x y' ",
        '"$PWD"/',
    ):
        assert "x/y" not in scripts_of(["sh", "-c", f"echo {many * 100_000}"])


@pytest.mark.parametrize(
    "line",
    [
        *(
            r"A=\> ci/a.sh",
            ">'a b' ci/a.sh",
            "A='>' ci/a.sh",
            'A=">" ci/a.sh',
            r">\  ci/a.sh",
            '>"a b" ci/a.sh',
        ),
        *(
            "2>x ci/a.sh",
            "sh 2>x ci/a.sh",
            "sh x&>y ci/a.sh",
            "<x ci/a.sh",
            "<<<'x y' ci/a.sh",
            "x > >(ci/a.sh)",
        ),
        *(r"A=$'\'>' ci/a.sh 'x'", "./x # don't > it; ci/a.sh", "A=$PWD/x ci/a.sh", '"$PWD/ci/a.sh"'),
        *("coproc ci/a.sh", "$(pwd)/ci/a.sh", "x >y; ci/a.sh>z"),
    ],
)
def test_a_redirection_hides_no_script(line: str) -> None:
    assert "ci/a.sh" in scripts_of(["bash", "-c", line])


def scripts_in(command: list[str]) -> list[str]:
    """The files of a repository whose contents count when a task is verified by this."""
    return listed({"tasks": {"a": {"verify": [command]}}}, {"defaults": {}}, "/repository")["scripts"]


@pytest.mark.parametrize(
    "line",
    [
        *(r"\cd ci && ./a.sh", '"cd" ci && ./a.sh', 'cd c"i" && ./a.sh', "cd >/dev/null ci && ./a.sh"),
        *('cd "$PWD"/ci && ./a.sh', "cd `pwd`/ci; sh a.sh", "(cd ci 2>&1;./a.sh)", "{ cd ci; ./a.sh; }"),
        *("bash -c 'cd ci && ./a.sh'", "eval 'cd ci && ./a.sh'", "flock l -c 'cd ci && ./a.sh'"),
        """timeout 9 bash -c "timeout 9 bash -c 'cd ci && ./a.sh'\"""",
        'cd web && sh -c "cd ../ci && ./a.sh"',
        'x="$(cd ci && ./a.sh)"',
        *('bash "$(pwd)"/ci/a.sh', "`pwd`/ci/a.sh", '"$(git rev-parse --show-toplevel)/ci/a.sh"'),
        *('"$(dirname "$0")"/ci/a.sh', 'cd "$(git rev-parse --show-toplevel)"/ci; ./a.sh'),
        *("bash -c 'sh \"$1\"' x ci/a.sh", "script -qc 'cd ci && ./a.sh' /dev/null"),
    ],
)
def test_a_script_in_a_folder_that_a_line_of_a_shell_enters_counts(line: str) -> None:
    assert "ci/a.sh" in scripts_in(["bash", "-c", line])


@pytest.mark.parametrize(
    "command",
    [
        *("unshare -r --wd=ci ./a.sh", "sudo -D ci ./a.sh", "find ci -name a.sh -execdir ./a.sh ;"),
        *("env -S '-C ci ./a.sh'", """env -S "bash -c 'cd ci && ./a.sh'\""""),
        *("bash +x ci/a.sh", "bash +O extglob ci/a.sh", "bash +x -c ci/a.sh", "bash -c -- ci/a.sh"),
        *("bash -c -e ci/a.sh", "bash -co pipefail ci/a.sh", "bash -c -o pipefail ci/a.sh"),
        *("bash -c '\"$0\"' ci/a.sh", "bash -c 'exec \"$@\"' x sh ci/a.sh", "bash -c '. ${1}' x ci/a.sh"),
        *("script -cci/a.sh /dev/null", "script --command=ci/a.sh /dev/null", "script --com ci/a.sh"),
        *("script -q /dev/null --command=ci/a.sh", "script -q /dev/null -c ci/a.sh"),
        *("su -cci/a.sh me", "runuser --command=ci/a.sh me", "ruby -r./ci/a.sh x"),
        *("php -d auto_prepend_file=ci/a.sh x.php", "php -dauto_prepend_file=ci/a.sh x.php"),
        *("node --require ./x.js ci/a.sh", "ruby -r ./x ci/a.sh"),
    ],
)
def test_a_script_counts_whatever_options_its_interpreter_has(command: str) -> None:
    assert "ci/a.sh" in scripts_in(shlex.split(command))


@pytest.mark.parametrize(
    "line",
    [
        *("D=ci; bash $D/a.sh", 'export D="ci"; exec "${D}"/a.sh', "R=$PWD; D=$R/ci; sh $D/a.sh"),
        *("R=$(pwd); $R/ci/a.sh", "for t in b a; do ./ci/$t.sh; done", "sh ${D:-ci}/a.sh"),
        *(
            "P=bash; $P ci/a.sh",
            'c="sh ci/a.sh"; $c',
            'c=(ci/b.sh ci/a.sh); for t in "${c[@]}"; do sh "$t"; done',
        ),
        *("for t in $(cat list) ci/a.sh; do sh $t; done", 'bash -c "D=ci; sh \\$D/a.sh"'),
    ],
)
def test_a_script_behind_a_variable_that_its_line_sets_counts(line: str) -> None:
    assert "ci/a.sh" in scripts_in(["bash", "-c", line])


@pytest.mark.parametrize(
    ("line", "fit"),
    [
        ("for t in ci/*.sh; do bash $t; done", ["ci/a.sh", "ci/b.sh"]),
        ("bash $D/a.sh", ["a.sh", "ci/a.sh"]),
        ('D="$(cd "$(dirname "$0")" && pwd)"; sh "$D/a.sh"', ["a.sh", "ci/a.sh"]),
        ("bash ci/{a,b}.sh", ["ci/a.sh", "ci/b.sh"]),
        ("bash ci/[a].sh", ["ci/a.sh"]),
        ("while read t; do sh ci/$t; done < list", ["ci/a.sh", "ci/b.sh", "ci/lib/c.sh"]),
        ("for t in $(find ci -name 'c.s*'); do sh $t; done", ["ci/lib/c.sh"]),
        ('bash "$script"', []),
        ("pytest tests/*.py", []),
        ("for t in tests/*.py; do python -m pytest $t; done", []),
        ("grep x ci/*.sh; cat $D/a.sh", []),
    ],
)
def test_of_a_script_whose_name_only_a_shell_can_tell_all_that_fit_count(line: str, fit: list[str]) -> None:
    files = ["README", "a.sh", "ci/a.sh", "ci/b.sh", "ci/lib/c.sh", "tests/test_a.py"]
    assert fitting(filter(is_loose, scripts_in(["bash", "-c", line])), files) == fit


def test_lists_of_quoted_words_are_read_at_once_also_where_they_do_not_end() -> None:
    words = " ".join(f"'a{n}'" for n in range(200))
    assert "a199" in "\n".join(filled(f"files=({words} $(ls)); sh $files")).split()
    assert filled(f"files=({words} $(ls; sh $files") != []
    assert filled(f"for x in {words} 'b; do sh $x; done") != []


def test_a_loop_over_a_variable_is_one_over_its_words() -> None:
    lines = filled('tests="test lint"; for t in $tests; do bash ci/$t.sh; done')
    assert {line.partition("bash ")[2].partition(";")[0] for line in lines} == {"ci/test.sh", "ci/lint.sh"}
    assert filled('none=""; for t in $none; do sh ci/$t; done') != []


def test_lines_whose_variables_grow_are_filled_no_further_than_is_useful() -> None:
    grown = ";".join(f"a{n}=$a{n - 1}$a{n - 1}" for n in range(1, 60))
    assert sum(map(len, filled(f"a0=xy;{grown}; sh $a59"))) < 1 << 20
    values = " ".join(map(str, range(50_000)))
    assert sum(map(len, filled(f"for x in {values}; do sh $x$x$x; done"))) < 1 << 21
    assert fitting(["$ax" * 500, "{a,b}" * 500, "*a" * 300], ["a/" * 500 + "x" * 1000]) == []


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("env PYTHONPATH=src python -m shop.check", "src/shop/check.py"),
        ("bash -c 'PYTHONPATH=lib:src python -m shop.check'", "src/shop/check.py"),
        *((f"python -m {name} ci/a.py", "ci/a.py") for name in ("pdb", "cProfile -o x", "coverage run")),
        *((f"npx {name} node ci/a.js", "ci/a.js") for name in ("cross-env CI=1", "c8", "nyc --all")),
        ("docker-compose run app bash ci/a.sh", "ci/a.sh"),
        ("docker compose run jest sh ci/a.sh", "ci/a.sh"),
        ("docker run -m 5g image sh ci/a.sh", "ci/a.sh"),
        ("micromamba run -n e python ci/a.py", "ci/a.py"),
        ("nix develop -c ci/a.sh", "ci/a.sh"),
        ("bun test --preload ./ci/a.ts tests/b.ts", "ci/a.ts"),
        ("node ci/a", "ci/a.js"),
        ("go run -race ./ci/a.go", "ci/a.go"),
        ("npx ts-node -P tsconfig.json ci/a.ts", "ci/a.ts"),
        ("uv run --with pytest python ci/a.py", "ci/a.py"),
    ],
)
def test_what_a_program_in_between_executes_counts(command: str, script: str) -> None:
    assert script in scripts_in(shlex.split(command))


@pytest.mark.parametrize(
    "command",
    [
        *("uv run --frozen pytest T", "uv run -q pytest T", "uv run -m pytest T", "poetry run -q pytest T"),
        *("coverage run -m pytest T", "npx --yes jest T", "pnpm -r test T", "stdbuf -oL pytest T"),
        *("docker compose exec -T app pytest T", "node --test T", "deno test -A T", "bun test T"),
        *(
            "env -i PATH=/usr/bin grep -q x T",
            "uv run --color=never pytest T",
            "go test T",
            "pytest -k node T",
        ),
    ],
)
def test_the_tests_that_a_runner_is_given_do_not_count_whatever_options_stand_before(command: str) -> None:
    given = [word if word != "T" else "tests/test_a.py" for word in shlex.split(command)]
    assert "tests/test_a.py" not in scripts_in(given)


@pytest.mark.parametrize(
    "line",
    [
        *("sort ci/a.sh", "make > ci/a.sh", "make >>ci/a.sh; y", "cat ci/a.sh | grep x", "grep x < ci/a.sh"),
        *("cd ci && cat a.sh", 'test "$(cat ci/a.sh)" = x', 'echo "a b ci/a.sh"', "make 2>&1 >ci/a.sh"),
        *("bash -c 'grep x \"$1\"' x ci/a.sh", 'echo "$(date) ci/a.sh"', "script -c make ci/a.sh"),
        *("find ci/a.sh -newer x", 'bash -c "cd ci && sort a.sh"'),
    ],
)
def test_a_file_that_a_line_only_reads_or_writes_does_not_count(line: str) -> None:
    assert "ci/a.sh" not in scripts_in(["bash", "-c", line])


@pytest.mark.parametrize(
    ("table", "line", "file"),
    [
        ("tasks.a", "", "ci.sh"),
        ("tasks.b", "verify = ['sh -c \"cd -P -- ci && ./t\"']", "ci/t"),
        ("tasks.b", """verify = [["sh", "-c", 'cd "$PWD/ci" && sh t']]""", "ci/t"),
        ("tasks.b", "verify = ['env -Cci ./t']", "ci/t"),
        ("tasks.b", 'verify = [["./check"]]', "check"),
        ("tasks.b", 'prepare = [["./check"]]', "check"),
        ("runtimes.codex", 'command = "bin/codex"', "bin/codex"),
        ("runtimes.codex.config", 'notify = ["python3", "notify.py"]', "notify.py"),
        ("runtimes.codex.config", 'mcp_servers.e = { command = "./server" }', "server"),
        ("runtimes.codex.config", 'notify = ["python3", "srv"]', "srv/__main__.py"),
        ("runtimes.codex.config", 'mcp_servers.e = { command = "python3", args = ["-m", "p.q"] }', "p/q.py"),
        ("tasks.b", 'rehearse = "play.toml"', "play.toml"),
        ("tasks.b", 'verify = [["python3", "-u", "tools"]]', "tools/__main__.py"),
        ("tasks.b", 'verify = [["timeout", "9", "node", "tools"]]', "tools/index.js"),
        ("tasks.b", 'verify = [["python3", "-m", "tools.check"]]', "tools/check.py"),
        ("tasks.b", 'verify = [["uv", "run", "python", "-m", "tools.check"]]', "tools/__init__.py"),
        ("tasks.b", 'verify = [["sh", "-c", "cd /; python3 -mtools"]]', "tools.py"),
        ("tasks.b", 'prepare = [["coverage", "run", "-m", "tools"]]', "tools/__main__.py"),
        ("tasks.b", "verify = ['sh -c \"cd web && ./check.sh\"']", "web/check.sh"),
        ("tasks.b", "verify = ['sh -c \"cd web/a; cd ..; ./check.sh\"']", "web/check.sh"),
        ("tasks.b", "verify = ['sh -c \"cd web && python3 -m tools\"']", "web/tools.py"),
        ("tasks.b", "verify = ['env -C web ./check.sh']", "web/check.sh"),
        ("tasks.b", "verify = ['env --chdir=web sh check']", "web/check"),
        ("tasks.b", "verify = ['uv run --directory web check.py']", "web/check.py"),
        ("tasks.b", "verify = ['sh -c \". ci/t\"']", "ci/t"),
        ("tasks.b", "verify = ['sh -c \"source t && eval ci/u\"']", "t"),
        ("tasks.b", "verify = ['sh -c \"eval ci/u\"']", "ci/u"),
        ("tasks.b", "verify = ['sh -c \"sh<t\"']", "t"),
        ("tasks.b", "verify = ['sh -c \"2>/dev/null ci/t>out 2>&1\"']", "ci/t"),
        ("tasks.b", "verify = ['sh -c \"x `ci/t`\"']", "ci/t"),
        ("tasks.b", "verify = ['sh -c \"$PWD/ci/t\"']", "ci/t"),
        ("tasks.b", "verify = ['bash --init-file=ci/t -i']", "ci/t"),
        ("tasks.b", "verify = ['find . -exec ci/t \";\"']", "ci/t"),
        ("tasks.b", "verify = ['tclsh t']", "t"),
        ("tasks.b", "verify = ['make -C web -f t.mk test']", "web/t.mk"),
        ("tasks.b", "verify = ['timeout 9 make -skf t.mk']", "t.mk"),
        ("tasks.b", "verify = ['make -ft.mk']", "t.mk"),
        ("tasks.b", "verify = ['make --makef=t.mk']", "t.mk"),
        ("tasks.b", "verify = ['sh -c \"make --file t.mk\"']", "t.mk"),
        ("tasks.b", "verify = ['sh -c \"cat t.mk | make -f -\"']", "t.mk"),
        ("tasks.b", "verify = ['sh -c \"make -f - < t.mk\"']", "t.mk"),
        ("tasks.b", "verify = ['awk -f t.awk data']", "t.awk"),
        ("tasks.b", "verify = ['env BASH_ENV=ci/env bash -c true']", "ci/env"),
        ("tasks.b", "verify = ['sh -c \"export ENV=ci/env; make\"']", "ci/env"),
        ("tasks.b", "verify = ['env NODE_OPTIONS=--require=./t.js node x']", "t.js"),
        ("tasks.b", """verify = [["env", "NODE_OPTIONS=--import ./t.js", "npm", "test"]]""", "t.js"),
        ("tasks.b", "verify = ['env RUBYOPT=-r./t ruby x']", "t"),
        ("tasks.b", "verify = ['env A=1 PATH=ci:/bin t --all']", "ci/t"),
        ("tasks.b", """verify = [["sh", "-c", 'export PATH="$PWD/ci:$PATH"; t']]""", "ci/t"),
        ("tasks.b", "verify = ['sh -c \"cat t | sh\"']", "t"),
        ("tasks.b", "verify = ['sh -c \"cd ci; A=b cat x t|tr a b | sudo bash -s x\"']", "ci/t"),
        ("tasks.b", "verify = ['sh -c \"cat t |& bash\"']", "t"),
        ("tasks.b", "verify = ['sh -c \"<ci/t sh\"']", "ci/t"),
        ("tasks.b", "verify = ['sh -c \"cat < t | xargs sh\"']", "t"),
        ("tasks.b", """verify = [["sh", "-c", 'eval "$(cat t)"']]""", "t"),
        ("tasks.b", """verify = [["bash", "-c", 'bash -ec "$(< t)"; . <(cat u)']]""", "u"),
        (
            "pipelines.p",
            'stages = [{ name = "s", tasks = ["a"], gate = [["sh", "ci/gate.sh"]] }]',
            "ci/gate.sh",
        ),
    ],
)
def test_the_content_of_a_script_in_the_repository_counts(repo, table: str, line: str, file: str) -> None:
    text = with_(table, line)
    absent = demanded(repo, text).digest
    path = repo.root / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("one", encoding="utf-8")
    track(repo.root, file)
    one = demanded(repo, text).digest
    path.write_text("two", encoding="utf-8")
    found = demanded(repo, text)
    assert len({absent, one, found.digest}) == 3
    (kind,) = (kind for kind, key, _ in found.items if f"content of {file}" in key)
    assert kind == ("other" if "rehearse" in line else "runs")


@pytest.mark.parametrize(
    "command",
    [
        *("pytest a.py", "make a.py", "sh -c 'mypy a.py'", "sh -c 'cat x > a.py'"),
        *("sh -c 'cat a.py | grep x'", "sh -c 'cat a.py | python ci/t.py'", "sh -c 'cat a.py; x | sh'"),
        *("sh -c 'cat a.py | python -m json.tool'", "env A=a.py make"),
        *("grep -f a.py x", "bash -c 'diff <(cat a.py) x'", "bash -c 'echo $(cat a.py)'"),
    ],
)
def test_a_file_that_a_check_only_looks_at_may_change_unasked(repo, command: str) -> None:
    """Agents are there to change it."""
    text = with_("tasks.b", f'verify = ["{command}"]')
    before = demanded(repo, text).digest
    (repo.root / "a.py").write_text("x", encoding="utf-8")
    track(repo.root, "a.py")
    assert demanded(repo, text).digest == before


def test_a_way_back_from_a_link_is_the_one_that_the_system_goes(repo) -> None:
    text = with_("tasks.b", 'verify = [["sh", "link/../t.sh"]]')
    (repo.root / "deep/sub").mkdir(parents=True)
    (repo.root / "link").symlink_to("deep/sub")
    (repo.root / "deep/t.sh").write_text("one", encoding="utf-8")
    track(repo.root, "link", "deep/t.sh")
    one = demanded(repo, text).digest
    (repo.root / "deep/t.sh").write_text("two", encoding="utf-8")
    assert demanded(repo, text).digest != one


@pytest.mark.parametrize("kind", ["fifo", "folder", "link to nothing", "huge"])
def test_a_script_that_is_no_plain_file_holds_nobody_up(repo, kind: str) -> None:
    path = repo.root / "ci.sh"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "huge":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        path.symlink_to("nowhere")
    assert demanded(repo, BASE).by is None


def test_a_script_that_was_not_there_yet_is_trusted_as_it_first_comes_and_no_further(repo) -> None:
    trust.agree(demanded(repo, BASE), repo.env)
    (repo.root / "ci.sh").write_text("one", encoding="utf-8")
    first = demanded(repo, BASE)
    assert first.by == "digest"
    trust.pin(first, repo.env)
    assert demanded(repo, BASE).by == "digest"
    (repo.root / "ci.sh").write_text("two", encoding="utf-8")
    second = demanded(repo, BASE)
    assert second.by is None
    ((what, key, _),) = trust.difference(second)
    assert (what, key) == ("changed:", "content of ci.sh")
    (repo.root / "ci.sh").unlink()
    assert demanded(repo, BASE).by == "digest"  # its command can only fail
    (repo.root / "ci.sh").write_text("two", encoding="utf-8")
    assert demanded(repo, BASE).by is None


# -- deciding --------------------------------------------------------------------------------------


def test_what_was_agreed_to_is_trusted_until_it_changes_and_the_change_is_told(repo) -> None:
    found = demanded(repo, BASE)
    with pytest.raises(NotTrusted, match="not trusted yet"):
        require_trust(repo.load(), repo.env)
    trust.agree(found, repo.env)
    require_trust(repo.load(), repo.env)
    changed = demanded(repo, BASE.replace("ci.sh", "other.sh").replace('env = ["A_TOKEN"]\n', ""))
    assert trust.difference(changed) == [
        ("changed:", "tasks.a.verify", "sh other.sh  (was: sh ci.sh)"),
        ("gone:", "runtimes.codex.env", '["A_TOKEN"]'),
    ]
    with pytest.raises(NotTrusted, match="have changed since"):
        require_trust(repo.load(), repo.env)


def test_a_trusted_folder_may_come_to_say_anything_until_a_run_changes_it(repo) -> None:
    from runner.state.trust import changed_by_run

    trust.agree(demanded(repo, BASE), repo.env, folder=True)
    assert demanded(repo, with_("tasks.b", 'verify = [["make"]]')).by == "folder"
    changed_by_run(str(repo.root), repo.env, "run-1", ("delegate.toml",))
    found = demanded(repo, with_("tasks.b", 'verify = [["make"]]'))
    assert found.by is None and trust.changed(found) == ["run run-1 changed delegate.toml"]
    trust.agree(found, repo.env)
    assert demanded(repo, with_("tasks.b", 'verify = [["sh"]]')).by == "folder"


@pytest.mark.parametrize("what", ["delegate.toml", "delegate.local.toml", "ci.sh", "."])
@pytest.mark.parametrize("how", ["another user's", "for everybody"])
def test_a_trusted_folder_is_none_while_others_can_say_what_it_runs(repo, what: str, how: str) -> None:
    if how == "another user's" and (what == "." or os.geteuid() != 0):
        pytest.skip("a folder of somebody else is not looked at, and only root can give a file away")
    for name in ("delegate.local.toml", "ci.sh"):
        (repo.root / name).touch()
    trust.agree(demanded(repo, BASE), repo.env, folder=True)
    changed = with_("tasks.b", 'verify = [["make"]]')
    assert demanded(repo, changed).by == "folder"
    if how == "for everybody":
        (repo.root / what).chmod(0o777)
    else:
        os.chown(repo.root / what, 12345, -1)
    found = demanded(repo, changed)
    assert found.by is None
    with pytest.raises(NotTrusted, match="not trusted with the folder, since others can write"):
        raise trust.refusal(found, repo.env)
    trust.agree(found, repo.env)
    assert demanded(repo, changed).by == "digest"


def test_a_digest_in_the_environment_is_trust_in_exactly_that(repo) -> None:
    digest = demanded(repo, BASE).digest
    config = repo.load()
    assert trust.demanded(config, {"HOME": "/nonexistent", "RUNNER_TRUST": digest}).by == "variable"
    with pytest.raises(NotTrusted, match=f"are not what RUNNER_TRUST trusts .*{digest}"):
        require_trust(config, {"HOME": "/nonexistent", "RUNNER_TRUST": "sha256:0"})


def test_where_no_answer_can_be_kept_the_hint_says_what_to_change(repo, tmp_path: Path) -> None:
    demanded(repo, BASE)
    for env in ({"HOME": str(repo.root)}, {"HOME": str(tmp_path), "XDG_STATE_HOME": f"{repo.root}/x"}):
        with pytest.raises(NotTrusted) as refused:
            require_trust(repo.load(), env)
        assert refused.value.hint is not None
        assert "set XDG_STATE_HOME to a folder outside" in refused.value.hint
        assert "--trust" not in refused.value.hint


def test_the_digest_is_the_same_wherever_the_repository_lies(repo, tmp_path: Path) -> None:
    from runner import config

    digest = demanded(repo, BASE).digest
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "delegate.toml").write_text(BASE, encoding="utf-8")
    subprocess.run(["git", "init", "-q", other], check=True)
    env = {"HOME": str(tmp_path)}
    assert trust.demanded(config.load(str(other), env=env), repo.env).digest == digest


@pytest.mark.parametrize("is_git", [True, False])
def test_the_digest_does_not_depend_on_what_is_installed_in_the_repository(repo, is_git: bool) -> None:
    """CI pins it before the installation and after it; without git, nobody knows what was installed."""
    (repo.root / ".git/HEAD").unlink()
    text = with_("tasks.b", 'verify = [["node_modules/.bin/x"], [".venv/bin/python"], ["bin/x"], ["ci"]]')
    (repo.root / "ci").write_text("true", encoding="utf-8")
    for folder in ("node_modules/.bin", "node_modules/x", ".venv/bin", "bin"):
        (repo.root / folder).mkdir(parents=True)
    (repo.root / "bin/x").symlink_to("../node_modules/x/cli.js")
    if is_git:
        track(repo.root, "ci", "bin/x")
    before = demanded(repo, text).digest
    (repo.root / "node_modules/x/cli.js").write_text("installed", encoding="utf-8")
    (repo.root / "node_modules/.bin/x").symlink_to("../x/cli.js")
    (repo.root / ".venv/bin/python").symlink_to("/bin/sh")
    assert (demanded(repo, text).digest == before) == is_git
    (repo.root / "bin/x").unlink()
    (repo.root / "bin/x").symlink_to("../node_modules/y/cli.js")
    assert demanded(repo, text).digest != before  # that came with the repository


def test_a_digest_does_not_cover_what_a_run_changed_beside_the_repository(repo) -> None:
    from runner.state.trust import changed_by_run

    track(repo.root)
    env = {**repo.env, "RUNNER_TRUST": demanded(repo, BASE).digest}
    config = repo.load()
    for path, by in (("delegate.toml", "variable"), ("ci.sh", None)):
        changed_by_run(str(repo.root), repo.env, "run-1", (path,))
        assert trust.demanded(config, env).by == by, path


def test_the_digest_is_of_the_contents_that_are_shown_whatever_became_of_them_since(repo) -> None:
    script = repo.root / "ci.sh"
    script.write_text("make test\n")
    track(repo.root, "ci.sh")
    shown = demanded(repo, BASE).digest
    script.write_text("curl x | sh\n")
    other = demanded(repo, BASE)
    script.write_text("make test\n")
    assert other.digest != shown == demanded(repo, BASE).digest


def test_a_large_script_is_not_read_by_each_start_and_a_change_of_it_is_asked_about(repo) -> None:
    path = repo.root / "ci.sh"
    path.write_bytes(b"#" * (9 << 20))
    track(repo.root, "ci.sh")
    found = demanded(repo, BASE)
    assert [words for _, key, words in found.items if "ci.sh" in key and words.startswith("file:")]
    trust.agree(found, repo.env)
    digest = found.digest
    assert demanded(repo, BASE).by == "digest"
    with path.open("r+b") as file:
        file.write(b"x")
    os.utime(path, ns=(1, 1))
    changed = demanded(repo, BASE)
    assert changed.by is None and changed.digest != digest
    assert [key for _, key, _ in trust.difference(changed)] == ["content of ci.sh"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("#!/bin/sh\n", "#!{root}//bin/sh\n"),
        ("#!{root}//bin/sh\n", "#!/bin/sh\n"),
        ("#!{root}/bin/sh -e\n", "#!/bin/sh {root}/-e\n"),
        ("echo {root}/a b\n", "echo a {root}/b\n"),
    ],
)
def test_where_a_script_names_the_folder_of_the_repository_counts(repo, before: str, after: str) -> None:
    script = repo.root / "ci.sh"
    script.write_text(before.format(root=repo.root), encoding="utf-8")
    agreed = demanded(repo, BASE)
    trust.agree(agreed, repo.env)
    script.write_text(after.format(root=repo.root), encoding="utf-8")
    found = demanded(repo, BASE)
    assert found.by is None
    assert [what for what, _, _ in trust.difference(found)] == ["changed:"]


@pytest.mark.parametrize(
    "unseen", ["\u200d", "\u200c", "\u3164", "\ufe0f", "\u034f", "\u00a0", "\u2800", "\t"]
)
def test_a_name_with_letters_that_nobody_sees_is_told_with_escapes(repo, unseen: str) -> None:
    trust.agree(demanded(repo, with_("tasks.b", 'verify = [["./check"]]')), repo.env)
    found = demanded(repo, with_("tasks.b", f'verify = [["./che{unseen}ck"]]'))
    (line,) = trust.refusal(found, repo.env).problems
    assert f"che\\u{ord(unseen):04x}ck" in line


def test_a_program_of_the_machine_may_change_and_one_of_the_repository_in_its_place_is_asked_about(
    repo,
) -> None:
    text = with_("tasks.b", 'verify = [[".venv/bin/python", "-m", "pytest"]]')
    machine, link = repo.root.parent / "python3.11", repo.root / ".venv/bin/python"
    link.parent.mkdir(parents=True)
    machine.write_text("one", encoding="utf-8")
    link.symlink_to(machine)
    trust.agree(demanded(repo, text), repo.env)
    machine.write_text("upgraded", encoding="utf-8")
    assert demanded(repo, text).by == "digest"
    link.unlink()
    link.write_text("of the repository", encoding="utf-8")
    assert demanded(repo, text).by is None
    link.unlink()
    link.symlink_to("/bin/sh")
    assert demanded(repo, text).by is None


def test_a_rehearsal_of_the_shipped_example_needs_no_trust_and_a_changed_one_does(repo) -> None:
    repo.file.unlink(missing_ok=True)
    commands.init(str(repo.root), repo.env, full=True)
    shipped = repo.load()
    assert trust.demanded(shipped, repo.env, rehearses=True).by == "nothing"
    assert trust.demanded(shipped, repo.env).by is None
    text = repo.file.read_text(encoding="utf-8")
    assert demanded(repo, f'{text}verify = [["make"]]\n').by is None
    repo.write(text)
    repo.write('[defaults]\nverify = [["make"]]\n', repo.file.with_name("delegate.local.toml"))
    assert trust.demanded(repo.load(), repo.env, rehearses=True).by is None


# -- files that committed settings name ------------------------------------------------------------


@pytest.mark.parametrize("key", ["prompt_file", "map"])
@pytest.mark.parametrize("how", ["absolute", "above", "link", "link of a folder"])
def test_a_committed_file_names_no_text_outside_of_the_repository(repo, key: str, how: str) -> None:
    outside = repo.root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text("TOPSECRET", encoding="utf-8")
    (repo.root / "p.md").symlink_to(outside / "secret")
    (repo.root / "d").symlink_to(outside)
    name = {
        "absolute": str(outside / "secret"),
        "above": "../outside/secret",
        "link": "p.md",
        "link of a folder": "d/secret",
    }[how]
    prompt = "" if key == "prompt_file" else 'prompt = "x"\n'
    text = f'[tasks.a]\n{prompt}{key} = "{name}"\n'
    (problem,) = repo.problems(text)
    assert "outside of the repository" in problem
    with pytest.raises(PromptInvalid, match="outside of the repository"):
        start.resolve(repo.load(), start.Request("a"), repo.env)
    # What is only the user's may name it.
    repo.write("[tasks.a]\n" + ('prompt = "x"\n' if prompt else ""))
    repo.write(f'[tasks.a]\n{key} = "{name}"\n', repo.file.with_name("delegate.local.toml"))
    assert repo.check().problems == ()
    assert "TOPSECRET" in start.resolve(repo.load(), start.Request("a"), repo.env).prompt


@pytest.mark.parametrize("key", ["prompt_file", "map"])
@pytest.mark.parametrize(
    ("target", "why"),
    [
        (".env", "may have secrets"),
        ("made.md", "is not in git"),
        ("clone/a.md", "is not in git"),
        ("private/a.md", "is kept from the agent by its sandbox"),
        ("shared.md", None),
    ],
)
def test_a_link_gets_no_file_into_a_prompt_that_would_not_be_pasted(
    repo, key: str, target: str, why: str | None
) -> None:
    (repo.root / "clone/.git").mkdir(parents=True)
    for name in (".env", "made.md", "private/a.md", "shared.md", "clone/a.md"):
        (repo.root / name).parent.mkdir(exist_ok=True)
        (repo.root / name).write_text("WORD", encoding="utf-8")
    (repo.root / "p.md").symlink_to(target)
    track(repo.root, "p.md", ".env", "private", "shared.md")
    prompt = "" if key == "prompt_file" else 'prompt = "x"\n'
    shy = '[sandboxes.shy]\nlevel = "workspace-write"\ndeny_read = ["private"]\n'
    problems = repo.problems(f'{shy}[tasks.a]\nsandbox = "shy"\n{prompt}{key} = "p.md"\n')
    if why is None:
        assert problems == []
        assert "WORD" in start.resolve(repo.load(), start.Request("a"), repo.env).prompt
        return
    assert [f"leads to {target}, which {why}" in one for one in problems] == [True]
    with pytest.raises(PromptInvalid, match=f"p.md leads to {target}, which {why}"):
        start.resolve(repo.load(), start.Request("a"), repo.env)


@pytest.mark.parametrize("version", ["2", "4"])
def test_a_link_into_a_submodule_leads_to_what_is_in_the_index_of_that(
    repo, tmp_path: Path, version: str
) -> None:
    """One of a repository whose folder git was told nothing of leads to nothing."""
    for name in ("infra/deep/guide.md", "infra/secret.md", "infra/deep/sub/a.md", "stray/a.md"):
        (repo.root / name).parent.mkdir(parents=True, exist_ok=True)
        (repo.root / name).write_text("WORD", encoding="utf-8")
    of_nobody = ("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "x")
    for inner, *names in (("infra/deep/sub", "a.md"), ("infra", "deep"), ("stray", "a.md")):
        track(repo.root / inner, *names)
        subprocess.run(["git", "-C", repo.root / inner, *of_nobody], check=True)
    (repo.root / "infra/deep/sub/untracked.md").write_text("WORD", encoding="utf-8")
    (repo.root / "infra/deep/sub/.git").rename(tmp_path / "elsewhere")
    (repo.root / "infra/deep/sub/.git").write_text(f"gitdir: {tmp_path}/elsewhere\n", encoding="utf-8")
    track(repo.root, "infra")
    for at in (repo.root, repo.root / "infra", repo.root / "infra/deep/sub"):
        subprocess.run(["git", "-C", at, "update-index", "--index-version", version], check=True)
    link, found = repo.root / "p.md", []
    files = ("infra/deep/guide.md", "infra/deep/sub/a.md", "infra/secret.md", "infra/deep/sub/untracked.md")
    for target in (*files, "stray/a.md"):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        problems = repo.problems('[tasks.a]\nprompt_file = "p.md"\n')
        found.append([f"leads to {target}, which is not in git" in one for one in problems])
    (repo.root / "infra/.git").rename(tmp_path / "gone")
    link.unlink()
    link.symlink_to("infra/deep/guide.md")
    assert len(repo.problems('[tasks.a]\nprompt_file = "p.md"\n')) == 1, "a submodule that is not here"
    assert found == [[], [], [True], [True], [True]]


def test_a_rehearsal_script_outside_of_the_repository_is_refused(repo) -> None:
    (repo.root.parent / "play.toml").write_text("schema_version = 1\n", encoding="utf-8")
    (problem,) = repo.problems('[tasks.a]\nprompt = "x"\nrehearse = "../play.toml"\n')
    assert "outside of the repository" in problem
    with pytest.raises(ConfigInvalid, match="outside of the repository"):
        start.resolve(repo.load(), start.Request("a"), repo.env)


def test_a_writable_folder_in_the_repository_is_no_link_to_elsewhere(repo) -> None:
    (repo.root / "cache").symlink_to(repo.root.parent)
    repo.write(
        '[defaults]\nsandbox = "b"\n[sandboxes.b]\nlevel = "workspace-write"\nwritable = ["cache/x"]\n'
        '[tasks.a]\nprompt = "x"\n'
    )
    with pytest.raises(ConfigInvalid, match="which is a link to"):
        start.resolve(repo.load(), start.Request("a"), repo.env)


def test_local_settings_that_git_tracks_are_an_error_from_when_it_does(repo) -> None:
    subprocess.run(["git", "init", "-q", repo.root], check=True)
    local = repo.file.with_name("delegate.local.toml")
    repo.write('[tasks.a]\nprompt = "x"\n')
    repo.write("[defaults]\nretries = 1\n", local)
    assert repo.check().problems == ()
    assert repo.load().tasks["a"].retries == 1
    subprocess.run(["git", "-C", repo.root, "add", "-f", local], check=True)
    (problem,) = repo.check().problems
    assert "is tracked by git" in str(problem)
    with pytest.raises(ConfigInvalid, match="is tracked by git"):
        repo.load()
    assert repo.show()["tasks"]  # what only looks goes on


@pytest.mark.parametrize("how", ["index 4", "a split index", "a link", "below the root"])
def test_however_git_tracks_them(repo, how: str) -> None:
    folder = repo.root / "part" if how == "below the root" else repo.root
    repo.write('[tasks.a]\nprompt = "x"\n', folder / "delegate.toml")
    local = folder / "delegate.local.toml"
    repo.write("[defaults]\nretries = 1\n", repo.root / "elsewhere.toml" if how == "a link" else local)
    if how == "a link":
        local.symlink_to("elsewhere.toml")
    git = ("git", "-C", str(repo.root))
    subprocess.run(["git", "init", "-q", repo.root], check=True)
    subprocess.run([*git, "config", "index.version", "4" if how == "index 4" else "2"], check=True)
    subprocess.run([*git, "add", "-f", str(local)], check=True)
    if how == "a split index":  # then its name stands in the shared part alone
        subprocess.run([*git, "update-index", "--split-index"], check=True)
    (problem,) = commands.check(str(folder), repo.env, system_policy=str(repo.system_policy)).problems
    assert "is tracked by git" in str(problem)


# -- before anybody has agreed ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runtime", "table"),
    [
        ("codex", '[runtimes.codex]\ncommand = "./evil"\n'),
        ("codex", '[runtimes.codex]\ncommand = "bin/../evil"\n'),
        ("codex", '[runtimes.codex]\ncommand = "codex-of-theirs"\n'),
        ("kay", '[runtimes.kay]\ncommand = "/tmp/evil"\n'),
    ],
)
@pytest.mark.parametrize("name", ["delegate.toml", "delegate.local.toml"])
def test_a_program_that_a_repository_names_is_not_even_asked_what_it_is(
    repo, runtime: str, table: str, name: str
) -> None:
    task = '[tasks.a]\nprompt = "x"\n'
    repo.write(task)
    assert trust.program_is_trusted(repo.load(), runtime, repo.env)
    repo.write(f"{task}{table}" if name == "delegate.toml" else table, repo.file.with_name(name))
    named = repo.load()
    assert not trust.program_is_trusted(named, runtime, repo.env)
    assert trust.program_is_trusted(named, "codex" if runtime == "kay" else "kay", repo.env)
    digest = trust.demanded(named, repo.env).digest
    assert trust.program_is_trusted(named, runtime, {**repo.env, "RUNNER_TRUST": digest})
    assert not trust.program_is_trusted(named, runtime, {**repo.env, "RUNNER_TRUST": f"{digest}0"})
    repo.write(task)
    repo.file.with_name("delegate.local.toml").unlink(missing_ok=True)
    repo.write(table, repo.user_folder / "config.toml")
    assert trust.program_is_trusted(repo.load(), runtime, repo.env), "it is the user's own"


@pytest.mark.parametrize("name", ["work", "work.more", "w"])
def test_a_rehearsal_needs_no_trust_in_what_is_of_other_tasks(repo, name: str) -> None:
    """Nor in their scripts; what is of all tasks counts, and so does anything for a real run."""
    (repo.root / "check.sh").touch()
    task = 'verify = [["./check.sh"]]\nsandbox = "workspace-write"\n'
    repo.write(f'schema_version = 1\n[tasks.look]\nprompt = "p"\n[tasks."{name}"]\nprompt = "p"\n{task}')
    config = repo.load()
    for one, by in (("look", "nothing"), (name, None), ("", None)):
        assert trust.demanded(config, repo.env, rehearses=True, task=one).by == by
    assert trust.demanded(config, repo.env, task="look").by is None
    pipeline = '[[pipelines.p.stages]]\nname = "s"\ntasks = ["look"]\ngate = [["make"]]\n'
    repo.write(f"{repo.file.read_text()}{pipeline}")
    assert trust.demanded(repo.load(), repo.env, rehearses=True, task="look").by == "nothing"
    assert trust.demanded(repo.load(), repo.env, rehearses=True, task="p").by is None
    repo.write(f'{repo.file.read_text()}[defaults]\nprepare = [["make"]]\n')
    assert trust.demanded(repo.load(), repo.env, rehearses=True, task="look").by is None


@pytest.mark.parametrize(
    "settings", [("2", "sha1"), ("3", "sha1"), ("4", "sha1"), ("2", "sha256"), ("4", "sha256")]
)
def test_a_script_that_comes_to_fit_a_name_that_is_trusted_is_asked_for_once(
    repo, settings: tuple[str, str]
) -> None:
    version, form = settings

    def tracked_now(*names: str) -> None:
        git = ("git", "-C", repo.root)
        subprocess.run([*git, "init", "-q", f"--object-format={form}"], check=True)
        for name in names:
            (repo.root / name).parent.mkdir(exist_ok=True)
            (repo.root / name).write_text(name, encoding="utf-8")
        subprocess.run(
            [*git, "update-index", "--index-version", "2" if version == "3" else version], check=True
        )
        subprocess.run([*git, "add", "-N" if version == "3" else "--", *names], check=True)

    repo.write(
        "schema_version = 1\n"
        + '[tasks.a]\nprompt = "x"\nverify = [["bash", "-c", "for t in ci/*.sh; do bash $t; done"]]\n'
    )
    tracked_now("ci/a.sh", "ci/b.md", "other.sh")

    def found():
        return trust.demanded(repo.load(), repo.env)

    assert list(found().contents) == ["content of ci/a.sh"]
    trust.agree(found(), repo.env)
    assert found().by == "digest"
    (repo.root / "ci/untracked.sh").write_text("made here", encoding="utf-8")
    assert found().by == "digest"
    tracked_now("ci/new.sh")
    assert found().by is None
    trust.agree(found(), repo.env)
    assert found().by == "digest"
    (repo.root / "ci/a.sh").write_text("exit 0", encoding="utf-8")
    assert found().by is None


def test_what_an_executor_asks_for_is_read_as_it_is_written(repo) -> None:
    text = '[executors.e]\nkind = "slurm"\ntime = "10m"\noptions = { exclusive = true }\n'
    told = {key: words for _, key, words in demanded(repo, text).items}
    assert told["executors.e.time"] == "10m"
    assert told["executors.e.options.exclusive"] == "true"
