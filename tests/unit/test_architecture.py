"""The shape of the product, read from its source: layers, edges, sizes, words."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from support.imports import ROOT, imports, modules, parsed, unit_of

from runner.cli.app import parser_of
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

MODULES = modules()
WORDS = {"errors", "model", "invocation", "value", "durations"}
"""What every layer may speak in."""
EDGES = {"state", "executors", "workspace"}
ALLOWED: dict[str, set[str]] = {
    "runner": set(),
    "__main__": {"cli"},
    "cli": {
        "launch",
        "again",
        "control",
        "looking",
        "housekeeping",
        "logs",
        "lookup",
        "doctor",
        "config",
        "runtimes",
    }
    | {"delegation", "state", "review", "decide", "verify", "redact", "plan", "planfile", "calibration"}
    | {"consent", "gates", "plans", "conduct"}
    | WORDS,
    "gates": {"consent", "control", "plan", "runtimes"} | WORDS,
    "consent": {"state"} | WORDS,
    "delegation": {"control", "looking", "logs", "lookup", "plan", "state"} | WORDS,
    "again": {"launch", "looking", "plan", "runtimes", "state", "verify"} | WORDS,
    "launch": {"lookup", "config", "plan", "runtimes", "rehearsal", "supervise", "state", "looking"}
    | {"workplace"}
    | WORDS,
    "workplace": {"state", "workspace"} | WORDS,
    "housekeeping": {"looking", "state", "workspace"} | WORDS,
    "review": {"decide", "looking", "logs", "verify", "state", "workspace", "redact"} | WORDS,
    "decide": {"looking", "state", "workspace", "redact"} | WORDS,
    "control": {"looking", "state", "executors"} | WORDS,
    "looking": {"supervise", "state", "executors"} | WORDS,
    "calibration": {"lookup", "plan", "state"} | WORDS,
    "lookup": {"state"} | WORDS,
    "logs": {"runtimes", "state", "executors", "redact"} | WORDS,
    "doctor": {"runtimes"} | WORDS,
    "config": WORDS,
    "plans": {"conduct", "launch", "looking", "plan", "planfile", "runtimes", "state", "workplace"} | WORDS,
    "conduct": {"launch", "looking", "control", "decide", "config", "plan", "planfile", "redact", "runtimes"}
    | {"state", "supervise", "executors", "verify", "workspace"}
    | WORDS,
    "planfile": {"config", "plan", "verify"} | WORDS,
    "plan": {"config", "runtimes", "state", "verify"} | WORDS,
    "supervise": {"runtimes", "verify", "state", "executors", "redact", "rehearsal", "workspace"} | WORDS,
    "runtimes": {"config"} | WORDS,
    "verify": {"executors", "redact"} | WORDS,
    "state": WORDS,
    "executors": WORDS,
    "workspace": WORDS,
    "redact": set(),
    "rehearsal": set(),
    "errors": set(),
    "durations": set(),
    "value": set(),
    "model": {"value"},
    "invocation": {"model", "value"},
}
"""Who may import whom. design/architecture.md draws it; what is finer than the drawing is in NARROW."""
NARROW: dict[tuple[str, str], set[str]] = {
    ("conduct", "config"): {"runner.config.problems"},
    ("conduct", "redact"): {"runner.redact", "runner.terminal_text"},
    ("plan", "config"): {"runner.config.policy"},
    ("runtimes", "config"): {"runner.config.versions"},
    ("plan", "state"): {"runner.state.store"},
    ("plan", "verify"): {"runner.verify.globs"},
    ("planfile", "config"): {"runner.config.positions", "runner.config.problems", "runner.config.values"},
    ("planfile", "plan"): {"runner.plan.units", "runner.plan.graph"},
    ("planfile", "verify"): {"runner.verify.globs"},
    ("cli", "plan"): {f"runner.plan.{name}" for name in ("batch", "decision", "rules", "text", "units")},
    ("calibration", "plan"): {"runner.plan.calibrate"},
    ("doctor", "runtimes"): {"runner.runtimes.exam"},
    ("gates", "runtimes"): {"runner.runtimes.exam"},
    ("gates", "plan"): {"runner.plan.resolve"},
    ("delegation", "plan"): {"runner.plan.delegation"},
    ("cli", "config"): {"runner.config", "runner.config.commands"},
    ("cli", "verify"): {"runner.verify.report_text"},
    ("cli", "redact"): {"runner.terminal_text"},
    ("housekeeping", "workspace"): {"runner.workspace.undecided"},
    ("supervise", "rehearsal"): {"runner.rehearsal.playback"},
    ("supervise", "workspace"): {"runner.workspace.lease"},
    ("launch", "rehearsal"): {"runner.rehearsal.codex_config", "runner.rehearsal.script"},
}
"""Where a layer may use only a part of another."""
THIRD_PARTY: dict[str, set[str]] = {
    "pydantic": {f"runner.config.{name}" for name in ("kinds", "plan_tables", "schema", "tables")},
    "pydantic_settings": {"runner.config.schema"},
    "tomlkit": {"runner.config.reading"},
    "rich": {"runner.cli.progress"},
    "shtab": {"runner.cli.setup"},
    "sh": {"runner.workspace.git"},
    **{name: {"runner.delegation.server"} for name in ("mcp", "mcp_types", "anyio")},
    "jsonschema": {"runner.delegation.server", "runner.verify.claim"},
}
"""Package -> the only modules that may import it."""
PROCESS_WORDS = {
    *("subprocess", "signal", "_signal", "multiprocessing", "pty"),
    *("os.fork", "os.forkpty", "os.kill", "os.killpg", "os.posix_spawn", "os.posix_spawnp", "os.system"),
    *("os.popen", "os.execv", "os.execve", "os.execvp", "os.execvpe", "os.spawnv", "os.pidfd_send_signal"),
}
PROCESS_PLACES = {
    "runner.runtimes.shortrun": "the probe: asks a program what it is",
    "runner.runtimes.endings": "only the names of signals",
    "runner.cli.app": "only undoes a SIGCHLD that a caller ignores",
    "runner.config": "reads the settings in a process of its own, so that `start` pays for no validation",
    "runner.delegation.tools": "`spawn` is `runner start` in a process of its own",
    "runner.rehearsal.__main__": "a program of its own",
}
PURE_OF_VERIFY = (
    *("classify", "evidence", "globs", "inspect", "plan_report", "reasons", "record", "recovery", "report"),
    "report_text",
    *("signs", "status_block", "taxonomy"),
)
LONGEST_MODULE = 400
LONGEST_FUNCTION = 50
LONGER = {"runner.plan.resolve:invocation": "one flat constructor: every field of an invocation, once"}
STANDARD = sys.stdlib_module_names | {"_sha2"}


def executed(module: str) -> Iterator[str]:
    """The modules that importing or calling `module` may import."""
    return (one.target for one in imports(MODULES[module]) if not one.typing)


def closure(*starts: str) -> set[str]:
    """Everything that may be imported from there on, ours and foreign, late imports and packages included."""
    seen: set[str] = set()
    queue = [*starts]
    while queue:
        module = queue.pop()
        if module in seen:
            continue
        seen.add(module)
        if module in MODULES:
            queue += [*executed(module), *([module.rpartition(".")[0]] if "." in module else [])]
    return seen


# -- layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_layer_may(module: str) -> None:
    unit = unit_of(module)
    for target in executed(module):
        if target.split(".")[0] == "runner":
            other = unit_of(target)
            assert other == unit or other in ALLOWED[unit], f"{module} imports {target}"
            if (unit, other) in NARROW:
                assert target in NARROW[unit, other], f"{module} imports {target}"


def test_the_arrows_point_down_only() -> None:
    assert list(TopologicalSorter(ALLOWED).static_order())


def test_every_unit_has_its_row() -> None:
    assert {unit_of(module) for module in MODULES} == set(ALLOWED)


def test_no_module_imports_itself_over_others() -> None:
    graph = {
        module: {
            one.target for one in imports(path) if one.target in MODULES and not one.late and not one.typing
        }
        for module, path in MODULES.items()
    }
    assert list(TopologicalSorter(graph).static_order())


# -- edges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES)
def test_a_foreign_package_is_imported_only_in_its_place(module: str) -> None:
    for target in executed(module):
        package = target.split(".")[0]
        if package != "runner" and package not in STANDARD:
            assert module in THIRD_PARTY.get(package, set()), f"{module} imports {target}"


@pytest.mark.parametrize("module", MODULES)
def test_processes_are_started_and_signalled_only_at_the_edge(module: str) -> None:
    if unit_of(module) in ("executors", "supervise") or module in PROCESS_PLACES:
        return
    words = {*executed(module)}
    words |= {
        ast.unparse(node) for node in ast.walk(parsed(MODULES[module])) if isinstance(node, ast.Attribute)
    }
    words |= {f"{one.target}.{one.name}" for one in imports(MODULES[module]) if not one.typing}
    assert words & PROCESS_WORDS == set()


def test_only_the_names_of_signals_are_used_to_tell_how_a_program_ended() -> None:
    names = {one.name for one in imports(MODULES["runner.runtimes.endings"]) if one.target == "signal"}
    assert names == {"Signals"}


def test_the_supervisor_can_never_import_a_foreign_package_but_to_read_a_result() -> None:
    """Whatever it may ever import, in whatever function."""
    runtimes = [module for module in MODULES if unit_of(module) == "runtimes" and "exam" not in module]
    reached = closure("runner.supervise.__main__", "runner.supervise.supervisor", *runtimes)
    packages = {module.split(".")[0] for module in reached} - STANDARD
    # jsonschema: late, in `verify.claim`, for a run with an output contract whose child has ended.
    assert packages - {"jsonschema"} == {"runner"}
    assert not {unit_of(module) for module in reached if module.startswith("runner.")} & {
        "cli",
        "launch",
        "control",
    }


def test_operating_a_run_can_never_import_a_foreign_package_or_the_settings() -> None:
    reached = closure("runner.cli.operate", "runner.cli.reading", "runner.cli.app")
    assert {module.split(".")[0] for module in reached} - STANDARD == {"runner"}
    assert "runner.config.schema" not in reached and "runner.launch" not in reached


def test_a_report_of_a_run_needs_no_git() -> None:
    at_once = {
        one.target
        for module in ("runner.cli.review", "runner.review", "runner.decide")
        for one in imports(MODULES[module])
        if not (one.late or one.typing)
    }
    reached = closure(
        *at_once - {"runner.review", "runner.decide"}, "runner.verify.report_text", "runner.verify.record"
    )
    # jsonschema: late, in `verify.claim`, where a result is read and not its record.
    assert {module.split(".")[0] for module in reached} - STANDARD - {"jsonschema"} == {"runner"}
    assert "runner.launch" not in reached


def test_pure_layers_touch_neither_disk_nor_processes() -> None:
    for module in MODULES:
        if unit_of(module) in ("plan", "model", "value", "errors", "durations") or module in (
            *("runner.state.lifecycle", "runner.state.manifest", "runner.supervise.reconcile"),
            *("runner.planfile.markdown", "runner.planfile.references", "runner.planfile.shape"),
            *("runner.conduct.brief", "runner.conduct.difference", "runner.conduct.wording"),
            *("runner.runtimes.codex", "runner.runtimes.kay", "runner.config.policy"),
            *(f"runner.verify.{name}" for name in PURE_OF_VERIFY),
        ):
            names = {
                ast.unparse(node.func)
                for node in ast.walk(parsed(MODULES[module]))
                if isinstance(node, ast.Call)
            }
            touching = {
                name for name in names if name == "open" or (name.startswith("os.") and "path" not in name)
            }
            assert touching == set(), module


# -- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_short_and_says_what_it_is(module: str) -> None:
    text = MODULES[module].read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{module} has no docstring"
    assert len(text.splitlines()) <= LONGEST_MODULE
    assert "from __future__ import annotations" in text or text.count("\n") <= 3


@pytest.mark.parametrize("module", MODULES)
def test_a_function_fits_on_a_screen(module: str) -> None:
    for node in ast.walk(parsed(MODULES[module])):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= LONGEST_FUNCTION or f"{module}:{node.name}" in LONGER, (
                f"{node.name}: {lines} lines"
            )


def test_tests_wait_for_conditions_and_not_for_time() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        calls = {ast.unparse(node.func) for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)}
        assert "time.sleep" not in calls, path


def test_no_test_is_a_class_and_none_replaces_what_is_ours() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = parsed(path)
        classes = [
            node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.name.startswith("Test")
        ]
        assert classes == [], path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "monkeypatch.setattr",
                "mock.patch",
                "patch",
            ):
                assert "runner" not in ast.unparse(node), f"{path}: {ast.unparse(node)}"


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
        ("Task", Task, {"rehearsal_script"}),
        ("Model", Model, set()),
        ("Sandbox", Sandbox, set()),
        ("Delegation", Delegation, set()),
        ("Kay", RuntimeSettings, set()),
        ("Recovery", Recovery, {"retries"}),  # a task's own key
        ("Delegate", Delegate, set()),
        ("Economics", Economics, set()),
    ],
)
def test_a_key_of_toml_is_the_field_of_the_value(table: str, kind: type, only_here: set[str]) -> None:
    assert toml_keys(table) == fields(kind) - only_here


def test_the_limits_of_toml_are_the_fields_of_a_task_or_of_its_caps() -> None:
    beside = {"timeout", "idle_timeout"}
    assert toml_keys("Limits") == fields(Caps) | beside
    assert fields(Limits) - fields(Caps) >= beside


def test_the_terms_of_a_run_are_keys_of_its_task() -> None:
    assert fields(Terms) <= toml_keys("Task")


def test_the_tables_of_toml_are_the_fields_of_the_config() -> None:
    tables = toml_keys("") - {"schema_version", "defaults"}
    assert tables == fields(Config) - {"root", "policy", "origins", "digest"}


def test_the_ceilings_of_a_policy_are_its_fields() -> None:
    schema = json.loads((ROOT / "schemas" / "policy.schema.json").read_text(encoding="utf-8"))
    assert set(schema["properties"]) - {"schema_version"} == fields(Policy) - {"sources"}


def test_an_option_of_start_is_a_key_of_a_task() -> None:
    options = {
        word.removeprefix("--") for action in parser_of("start")._actions for word in action.option_strings
    }
    not_settings = {
        "-h",
        "help",
        "format",
        "task",
        "config",
        "set",
        "wait",
        "follow",
        "allow-danger",
        "parent",
        "run-id",
        *("plan", "dry-run", "resume", "done", "reset-breaker", "force-delegate", "yes"),
    }
    assert options - not_settings <= toml_keys("Task")


def test_the_json_of_a_run_uses_the_words_of_toml() -> None:
    properties = json.loads((ROOT / "schemas" / "manifest.schema.json").read_text(encoding="utf-8"))[
        "properties"
    ]
    assert set(properties["sandbox"]["properties"]) - {"name"} <= toml_keys("Sandbox")
    assert set(properties["delegation"]["properties"]) <= toml_keys("Delegation")
    assert {"title", "model", "reasoning_effort", "sandbox", "runtime"} <= toml_keys("Task") | toml_keys(
        "Model"
    )


def test_the_verbs_are_the_same_words_in_code_and_on_the_command_line() -> None:
    use_cases = [parsed(MODULES[module]) for module in ("runner.control", "runner.housekeeping")]
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
