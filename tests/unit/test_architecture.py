"""The shape of the product, read from its source: rooms, circles, edges, sizes, words."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from support.imports import ROOT, circles, closure, imports, modules, modules_in, nodes, parsed
from support.rooms import room_of, rooms

from runner.cli.app import full_parser
from runner.model import (
    Caps,
    Config,
    Delegate,
    Delegation,
    Economics,
    Limits,
    Model,
    Policy,
    Recovery,
    RuntimeSettings,
    Sandbox,
    Task,
    Terms,
)
from runner.runtimes import NAMES

MODULES = modules()
ROOMS = rooms()
LONGEST_MODULE = 500
LONGEST_FUNCTION = 49
MOST_PARAMETERS = 7

PROCESS_WORDS = {
    *("subprocess", "signal", "_signal", "multiprocessing", "pty"),
    *("os.fork", "os.forkpty", "os.kill", "os.killpg", "os.posix_spawn", "os.posix_spawnp", "os.system"),
    *("os.popen", "os.execv", "os.execve", "os.execvp", "os.execvpe", "os.spawnv", "os.pidfd_send_signal"),
}
PROCESS_ROOMS = {"executors", "processes", "supervise"}
PROCESS_PLACES = {
    "runner.api": "each call is a command in a process of its own",
    "runner.runtimes.shortrun": "the probe: asks a program what it is",
    "runner.runtimes.trial": "the scripted model that a program is tried with",
    "runner.runtimes.endings": "only the names of signals",
    "runner.cli.app": "only undoes a SIGCHLD that a caller ignores",
    "runner.cli.pager": "shows a patch in the user's pager",
    "runner.cli.screen": "leaves the terminal clean whatever ends or stops the program",
    "runner.cli.recheck": "ends a check, when it is interrupted, before itself",
    "runner.config": "reads the settings in a process of its own, so that `start` pays for no validation",
    "runner.usecases.spawning": "`runner start` in a process of its own",
    "runner.workspace.git": "asks git: it is on the way of every start that may write",
    "runner.rehearsal.__main__": "a program of its own",
    "runner.hosts.hook": "only ends itself where it hangs",
    "runner.hosts.typed": "runs the command that a person typed at a host",
    "runner.hosts.wake": "runs the command that queues a message",
    "runner.bridge.__main__": "a program of its own, which starts its agent",
}
PURE_ROOMS = {"plan", "resolve", "text", "model", "value", "errors"}
NOT_PURE = {"runner.plan.load"}  # reads a plan file
PURE_MODULES = {
    *("runner.state.lifecycle", "runner.state.manifest"),
    *("runner.conduct.difference", "runner.conduct.batch_prompt"),
    *(f"runner.runtimes.{name}" for name in NAMES),
    "runner.config.policy",
    *("runner.supervise.attempts", "runner.supervise.conformance", "runner.supervise.signals"),
    *("runner.verify.classify", "runner.verify.evidence", "runner.verify.inspect"),
    *("runner.verify.plan_report", "runner.verify.reasons", "runner.verify.recovery"),
    *("runner.verify.report", "runner.verify.report_text", "runner.verify.signs"),
    *("runner.verify.status_block", "runner.verify.surface", "runner.verify.taxonomy"),
}
KNOW_A_RUNTIME = {
    "runner.bridge.talk": "the package of the protocol that it speaks",
    "runner.delegation.ledger_tools": "tools with the names that agents know from elsewhere",
    "runner.resolve.delegation": "names of tools",
    "runner.model": "the runtime of who names none",
    "runner.cli.delegation": "an example",
    "runner.cli.events": "an example",
    "runner.cli.hosts": "an example",
    "runner.cli.setup": "an example",
    "runner.rehearsal.responses": "a header of that wire",
    "runner.rehearsal.server": "the wire that has this name",
    "runner.usecases.audit": "the files in which Sidekick keeps its record of two runtimes",
    "runner.workspace.ignored": "folders of a repository that agents obey, whichever one runs",
}
STANDARD = sys.stdlib_module_names | {"_sha2"}


def none_of(offenders: list[str], rule: str) -> None:
    """All that break the rule, a line each."""
    assert not offenders, f"{rule}\n  " + "\n  ".join(offenders)


def single(target: str) -> str:
    """What a row of the table calls one module."""
    name = target.removeprefix("runner.")
    return f"{name}.__init__" if MODULES[target].name == "__init__.py" else name


def arrows() -> Iterator[tuple[str, str]]:
    """Each import from one room of ours into another, those for type checkers included."""
    for module, path in MODULES.items():
        for one in imports(path):
            if one.target in MODULES and room_of(one.target) != room_of(module):
                yield module, one.target


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for module, path in MODULES.items():
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{module}:{node.name}", node


def packages(reached: set[str]) -> set[str]:
    """The packages of these modules that are not Python's own."""
    return {module.split(".")[0] for module in reached} - STANDARD


# -- rooms -----------------------------------------------------------------------------------------


def test_every_module_stands_in_a_room_of_the_table() -> None:
    none_of(sorted({room_of(module) for module in MODULES} - set(ROOMS)), "no row in docs/architecture.md")
    none_of(sorted(set(ROOMS) - {room_of(module) for module in MODULES}), "a row of a room that there is not")


def test_a_module_imports_only_what_the_table_allows_its_room() -> None:
    offenders = [
        f"{module} imports {target}"
        for module, target in arrows()
        if not ROOMS[room_of(module)].may & {room_of(target), single(target)}
    ]
    none_of(sorted({*offenders}), "not in its row of docs/architecture.md")


def test_a_row_of_the_table_names_only_what_its_room_imports() -> None:
    used = defaultdict(set)
    for module, target in arrows():
        used[room_of(module)] |= {room_of(target), single(target)}
    offenders = [f"{name}: {word}" for name, row in ROOMS.items() for word in sorted(row.own - used[name])]
    none_of(offenders, "in docs/architecture.md, but imported nowhere in the room")


def test_the_arrows_of_the_table_point_down_only() -> None:
    down = {name: {room_of(f"runner.{word}") for word in row.may} - {name} for name, row in ROOMS.items()}
    assert list(TopologicalSorter(down).static_order())


def test_no_module_imports_itself_over_others() -> None:
    """Not even late or for type checkers."""
    files = MODULES | modules_in(ROOT, ROOT / "benchmarks")
    beside = {name.removeprefix("benchmarks."): name for name in files if name.startswith("benchmarks.")}
    graph = {
        module: {beside.get(one.target, one.target) for one in imports(path)}
        for module, path in files.items()
    }
    found = circles({module: targets & files.keys() for module, targets in graph.items()})
    none_of([" - ".join(sorted(circle)) for circle in found], "a circle of imports")


# -- edges -----------------------------------------------------------------------------------------


def test_a_foreign_package_is_imported_only_where_the_table_says() -> None:
    found = {
        f"runner.{single(module)} imports {package}"
        for module, path in MODULES.items()
        for package in packages({one.target for one in imports(path) if not one.typing}) - {"runner"}
    }
    table = {
        f"runner.{place} imports {package}"
        for row in ROOMS.values()
        for package, places in row.foreign.items()
        for place in places
    }
    none_of(sorted(found - table), "not in its row of docs/architecture.md")
    none_of(sorted(table - found), "in docs/architecture.md, but not so")


def test_processes_are_started_and_signalled_only_at_the_edge() -> None:
    offenders, places = [], set()
    for module, path in MODULES.items():
        words = {ast.unparse(node) for node in nodes(path) if isinstance(node, ast.Attribute)}
        for one in imports(path):
            if not one.typing:
                words |= {one.target, f"{one.target}.{one.name}"}
        if room_of(module) not in PROCESS_ROOMS and words & PROCESS_WORDS:
            places.add(module)
            offenders += [f"{module}: {word}" for word in words & PROCESS_WORDS]
    none_of(sorted(one for one in offenders if one.split(":")[0] not in PROCESS_PLACES), "not at the edge")
    none_of(sorted(PROCESS_PLACES.keys() - places), "starts and signals nothing any more")


def test_only_the_pen_prints_for_people() -> None:
    """Live progress, which `rich` draws, is the one exception."""
    streams = ("sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__")
    ways = {f"{stream}.{way}" for stream in streams for way in ("write", "writelines", "buffer")}
    offenders = []
    for module, path in MODULES.items():
        if room_of(module) == "cli" and module != "runner.cli.pen":
            words = {ast.unparse(node) for node in nodes(path) if isinstance(node, ast.Name | ast.Attribute)}
            offenders += [f"{module}: {word}" for word in words & (ways | {"print", "os.write"})]
    none_of(sorted(offenders), "prints past `runner.cli.pen`")


def test_only_the_names_of_signals_are_used_to_tell_how_a_program_ended() -> None:
    names = {one.name for one in imports(MODULES["runner.runtimes.endings"]) if one.target == "signal"}
    assert names == {"Signals"}


def test_the_supervisor_can_never_import_a_foreign_package() -> None:
    """In whatever function; of `runtimes` all but what asks a program before a start."""
    asking = {
        f"runner.runtimes.{name}" for name in ("exam", "listing", "loginshell", "probe", "programcache")
    }
    runtimes = [module for module in MODULES if room_of(module) == "runtimes" and module not in asking]
    reached = closure("runner.supervise.__main__", "runner.supervise.supervisor", *runtimes)
    assert packages(reached) == {"runner"}
    assert not {room_of(module) for module in reached if module in MODULES} & {"cli", "usecases"}


def test_operating_a_run_can_never_import_a_foreign_package_or_the_settings() -> None:
    reached = closure("runner.cli.runs", "runner.cli.logs", "runner.cli.app")
    assert packages(reached) == {"runner"}
    assert "runner.config.schema" not in reached and "runner.usecases.start" not in reached


def test_a_report_of_a_run_needs_no_git() -> None:
    at_once = {
        one.target
        for module in ("runner.cli.review", "runner.usecases.review", "runner.usecases.accept")
        for one in imports(MODULES[module])
        if not (one.late or one.typing)
    }
    reached = closure(
        *at_once - {"runner.usecases.review", "runner.usecases.accept"},
        "runner.verify.report_text",
        "runner.verify.record",
    )
    assert packages(reached) == {"runner"}
    assert "runner.usecases.start" not in reached


def test_pure_layers_touch_neither_disk_nor_processes() -> None:
    none_of(sorted(PURE_MODULES - MODULES.keys()), "no such module")
    offenders = []
    for module, path in MODULES.items():
        if (room_of(module) in PURE_ROOMS and module not in NOT_PURE) or module in PURE_MODULES:
            names = {ast.unparse(node.func) for node in nodes(path) if isinstance(node, ast.Call)}
            offenders += [
                f"{module} calls {name}"
                for name in names
                if name == "open" or (name.startswith("os.") and "path" not in name)
            ]
    none_of(sorted(offenders), "not pure")


def named_in(path: Path) -> Iterator[str]:
    """Names and texts of the code; comments and docstrings may tell where a fact is from."""
    texts = {id(node.value) for node in nodes(path) if isinstance(node, ast.Expr)}
    for node in nodes(path):
        if isinstance(node, ast.Constant) and id(node) not in texts:
            yield str(node.value)
        for field in ("id", "attr", "name", "arg", "module"):
            if isinstance(word := getattr(node, field, None), str):
                yield word


def test_only_a_runtime_knows_its_program() -> None:
    """What another place has to know of a program is a member of `Runtime`."""
    known = re.compile(
        "|".join(rf"(?<![a-z]){n}(?![a-z])" if len(n) < 5 else n for n in NAMES), re.IGNORECASE
    )
    found = {
        module: word
        for module, path in MODULES.items()
        if room_of(module) not in ("runtimes", "hosts")  # a host is such a program, too
        for word in named_in(path)
        if known.search(word)
    }
    none_of(
        [f"{module}: {found[module]}" for module in found.keys() - KNOW_A_RUNTIME.keys()], "of one runtime"
    )
    none_of(sorted(KNOW_A_RUNTIME.keys() - found.keys()), "names none any more")


# -- sizes -----------------------------------------------------------------------------------------


def test_a_module_says_what_it_is() -> None:
    offenders = [module for module, path in MODULES.items() if not ast.get_docstring(parsed(path))]
    none_of(offenders, "no docstring")


def test_annotations_are_never_evaluated() -> None:
    offenders = []
    for module, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        is_for_any_python = module in ("runner", "runner.__main__")  # Python 3.6 knows no such import
        if (
            "from __future__ import annotations" not in text
            and text.count("\n") > 3
            and not is_for_any_python
        ):
            offenders.append(module)
    none_of(offenders, "no `from __future__ import annotations`")


def test_a_module_is_short() -> None:
    lengths = {name: path.read_bytes().count(b"\n") for name, path in MODULES.items()}
    long = {name for name, lines in lengths.items() if lines > LONGEST_MODULE}
    none_of(sorted(long), f"more than {LONGEST_MODULE} lines")


def test_a_function_fits_on_a_screen() -> None:
    long = {
        name
        for name, node in functions()
        if (node.end_lineno or node.lineno) - node.lineno + 1 > LONGEST_FUNCTION
    }
    none_of(sorted(long), f"more than {LONGEST_FUNCTION} lines")


def test_a_function_has_few_parameters() -> None:
    many = set()
    for name, node in functions():
        given = node.args
        named = [
            *given.posonlyargs,
            *given.args,
            *given.kwonlyargs,
            *filter(None, (given.vararg, given.kwarg)),
        ]
        if len([one for one in named if one.arg not in ("self", "cls")]) > MOST_PARAMETERS:
            many.add(name)
    none_of(sorted(many), f"more than {MOST_PARAMETERS} parameters")


def test_the_name_of_a_class_means_one_thing() -> None:
    places = defaultdict(set)
    for module, path in MODULES.items():
        for node in nodes(path):
            if isinstance(node, ast.ClassDef):
                places[node.name].add(module)
    twice = {name for name, found in places.items() if len(found) > 1}
    none_of(sorted(twice), "defined in more than one module")


# -- tests -----------------------------------------------------------------------------------------


def test_tests_wait_for_conditions_and_not_for_time() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "tests").rglob("*.py")
        for node in nodes(path)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep"
    ]
    none_of(offenders, "sleeps")


def test_no_test_is_a_class_and_none_replaces_what_is_ours() -> None:
    offenders = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in nodes(path):
            replaces = isinstance(node, ast.Call) and (
                ast.unparse(node.func) in ("monkeypatch.setattr", "mock.patch", "patch")
                and "runner" in ast.unparse(node)
            )
            is_class = isinstance(node, ast.ClassDef) and node.name.startswith("Test")
            if replaces or is_class:
                offenders.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:80]}")
    none_of(offenders, "a class of tests, or ours is replaced")


# -- words -----------------------------------------------------------------------------------------


def toml_keys(name: str) -> set[str]:
    """The keys of one table of delegate.toml."""
    schema = json.loads((ROOT / "schemas" / "delegate.schema.json").read_text(encoding="utf-8"))
    return set((schema if name == "" else schema["$defs"][name])["properties"])


def fields(kind: type) -> set[str]:
    """A value's fields in the words of TOML: seconds are durations there, and a table's name is its key."""
    return {name.removesuffix("_s") for name in kind._fields} - {"id", "name"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("table", "kind", "only_here"),
    [
        ("TaskTable", Task, {"rehearsal_script"}),
        ("ModelTable", Model, set()),
        ("SandboxTable", Sandbox, {"hosts"}),  # a list in `network`
        ("DelegationTable", Delegation, set()),
        ("KayTable", RuntimeSettings, {"args", "permissions", "permission_timeout"}),
        ("AcpTable", RuntimeSettings, {"provider"}),
        ("RecoveryTable", Recovery, {"retries"}),  # a task's own key
        ("DelegateTable", Delegate, set()),
        ("EconomicsTable", Economics, set()),
    ],
)
def test_a_key_of_toml_is_the_field_of_the_value(table: str, kind: type, only_here: set[str]) -> None:
    assert toml_keys(table) == fields(kind) - only_here


def test_the_limits_of_toml_are_the_fields_of_a_task_or_of_its_caps() -> None:
    beside = {"timeout", "idle_timeout"}
    assert toml_keys("LimitsTable") == fields(Caps) | beside
    assert fields(Limits) - fields(Caps) >= beside


def test_the_terms_of_a_run_are_keys_of_its_task() -> None:
    assert fields(Terms) <= toml_keys("TaskTable")


def test_the_tables_of_toml_are_the_fields_of_the_config() -> None:
    tables = toml_keys("") - {"schema_version", "defaults"}
    assert tables == fields(Config) - {"root", "policy", "origins", "digest", "trust", "files"}


def test_the_ceilings_of_a_policy_are_its_fields() -> None:
    schema = json.loads((ROOT / "schemas" / "policy.schema.json").read_text(encoding="utf-8"))
    assert set(schema["properties"]) - {"schema_version"} == fields(Policy) - {"sources"}


def test_an_option_of_start_is_a_key_of_a_task() -> None:
    options = {
        word.removeprefix("--") for action in full_parser("start")._actions for word in action.option_strings
    }
    not_settings = {
        "-h",
        "help",
        "format",
        "json",
        "task",
        "config",
        "set",
        "wait",
        "follow",
        "baseline",
        "tie",
        "tie-pid",
        "allow-danger",
        "trust",
        "parent",
        *("ledger", "handoff"),
        "run-id",
        *("-m", "-r", "-s"),
        "file",  # one of `files`
        "effort",  # `reasoning_effort` is a key of a model
        *(
            "plan",
            "pipeline",
            "from",
            "dry-run",
            "resume",
            "done",
            "reset-breaker",
            "force-delegate",
            "yes",
            "as-read",
        ),
    }
    assert options - not_settings <= toml_keys("TaskTable")


def test_the_json_of_a_run_uses_the_words_of_toml() -> None:
    properties = json.loads((ROOT / "schemas" / "manifest.schema.json").read_text(encoding="utf-8"))[
        "properties"
    ]
    # The second one is of the program, and nobody can set it; the third is a list in `network`.
    own = {"name", "isolation", "hosts"}
    assert set(properties["sandbox"]["properties"]) - own <= toml_keys("SandboxTable")
    assert set(properties["delegation"]["properties"]) <= toml_keys("DelegationTable")
    assert {"title", "model", "reasoning_effort", "sandbox", "runtime"} <= toml_keys("TaskTable") | toml_keys(
        "ModelTable"
    )


def test_the_verbs_are_the_same_words_in_code_and_on_the_command_line() -> None:
    use_cases = [parsed(MODULES[module]) for module in ("runner.usecases.control", "runner.usecases.clean")]
    functions = {node.name for tree in use_cases for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {"wait", "pause", "resume", "cancel", "answer", "reap", "clean"} <= functions


def test_every_file_name_of_the_run_folder_stands_in_one_place() -> None:
    names = ("invocation.json", "events.jsonl", "stdout.jsonl", "stderr.log", "run.lock", "timeline.tsv")
    for module, path in MODULES.items():
        if module == "runner.state.store":
            continue
        texts = [node.value for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant)]
        paths = [text for text in texts if isinstance(text, str) and text.rpartition("/")[2] in names]
        assert paths == [], module


def test_the_checkout_has_no_second_copy_of_a_schema() -> None:
    assert sorted(path.name for path in Path(ROOT, "schemas").iterdir()) == sorted(
        {path.name for path in Path(ROOT, "schemas").glob("*.schema.json")}
    )
