"""What the documentation says exists: verbs, options, links, and the tables that repeat the code."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from support.pages import example_files

from runner.cli.app import COMMANDS, SUBCOMMANDS, full_parser
from runner.config import starter
from runner.config.detect import Detected
from runner.errors import ExitStatus
from runner.model import Delegate, Economics, Phase
from runner.rehearsal import script
from runner.runtimes import base
from runner.state.lifecycle import TRANSITIONS
from runner.state.manifest import Manifest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
README = ROOT / "README.md"
COMMANDS_PAGE = ROOT / "docs/commands.md"
SETTINGS_PAGE = ROOT / "docs/settings.md"
PAGES_ON_CODE = [
    ROOT / "CONTRIBUTING.md",
    ROOT / "docs/architecture.md",
    ROOT / "docs/adding-a-runtime.md",
    ROOT / "docs/vocabulary.md",
]
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)

_FENCE = re.compile(r"^ *```[a-z]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^(?: {4}.*(?:\n|\Z))+", re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"(?<![\w./'\"\[=-])runner +([a-z][a-z-]*)((?: +[^\n|>#;]*)?)")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*|-[a-z])(?![\w-])")
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code(page: Path) -> list[str]:
    """Everything that stands there as code: blocks and spans."""
    whole = text(page)
    outside = _FENCE.sub("", whole)
    return [*_FENCE.findall(whole), *_INDENTED.findall(outside), *_SPAN.findall(outside)]


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """(verb, options) of each `runner VERB ...` on a page, a quoted text in it left out."""
    found = []
    for piece in code(page):
        for verb, rest in _COMMAND.findall(piece):
            plain = re.sub(r'"[^"]*"', "", rest)
            two = " ".join((verb, *plain.split()[:1]))
            found.append((two if two in SUBCOMMANDS else verb, _OPTION.findall(plain)))
    return found


def options(verb: str) -> set[str]:
    """Those that its help shows; of a verb with a second word, those of each."""
    verbs = [verb, *(two for two in SUBCOMMANDS if two.startswith(f"{verb} "))]
    actions = [action for one in verbs for action in full_parser(one)._actions]
    shown = [action for action in actions if action.help != argparse.SUPPRESS]
    return {name for action in shown for name in action.option_strings}


def anchors(page: Path) -> list[str]:
    """What the headings of a page are called in links to them."""
    headings = re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings]


def rows(page: Path, *head: str) -> list[list[str]]:
    """The cells of the one table on the page that has this head."""
    lines = text(page).splitlines()
    (start,) = [n for n, line in enumerate(lines) if line.startswith("| " + " | ".join(head) + " |")]
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def names(cell: str) -> list[str]:
    return _SPAN.findall(cell)


@EVERY_PAGE
def test_every_command_that_a_page_names_exists_with_its_options(page: Path) -> None:
    wrong = []
    for verb, used in commands(page):
        if verb not in COMMANDS and verb not in SUBCOMMANDS:
            wrong.append(f"runner {verb}")
            continue
        wrong += [f"runner {verb} {option}" for option in used if option not in options(verb)]
    assert not wrong


def sections(page: Path, level: str) -> dict[str, str]:
    """The text under each heading of this level, up to the next heading of any level."""
    parts = re.split(r"^(#+ .*)$", text(page), flags=re.MULTILINE)[1:]
    found = zip(parts[::2], parts[1::2], strict=True)
    return {head.removeprefix(level + " "): body for head, body in found if head.startswith(level + " ")}


@EVERY_PAGE
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for target in _LINK.findall(_FENCE.sub("", text(page))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page if not path else (page.parent / path).resolve()
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def test_the_doctor_of_the_readme_sees_the_tasks_that_init_writes() -> None:
    written = tomllib.loads(starter.text(Detected(None, (), ())))["tasks"]
    (shown,) = re.findall(r"^    ok +config +valid, tasks: (.*)$", text(README), re.MULTILINE)
    assert shown == ", ".join(written)


def test_the_reference_of_commands_has_every_verb_once() -> None:
    verbs = [names(head)[0].split()[1] for head in sections(COMMANDS_PAGE, "###")]
    assert sorted(verbs) == sorted(COMMANDS)


def test_the_reference_of_commands_has_every_option_of_each_verb() -> None:
    common = {"-h", "--help", "--format", "--json", "--config", "--set"}
    for head, body in sections(COMMANDS_PAGE, "###").items():
        verb = names(head)[0].split()[1]
        cells = [names(line.split("|")[1]) for line in body.splitlines() if line.startswith("| `")]
        shown = {option for cell in cells for name in cell for option in _OPTION.findall(name)}
        every = options(verb) - common
        if verb == "start":  # it takes those of `resolve`, and says so
            every -= options("resolve")
        assert shown - common == every, verb


def test_the_exit_status_table_is_that_of_the_code() -> None:
    table = {
        int(number): names(name)[0] for number, name, _ in rows(COMMANDS_PAGE, "status", "name", "meaning")
    }
    assert table == {status.value: status.name.lower() for status in ExitStatus}


def test_the_lifecycle_table_is_that_of_the_code() -> None:
    table = {}
    for phase, cell in rows(ROOT / "docs/architecture.md", "phase", "event and next phase"):
        pairs = re.findall(r"`(\w+)` -> `(\w+)`", cell)
        table |= {(names(phase)[0], event): after for event, after in pairs}
    assert table == {(str(phase), str(event)): str(after) for (phase, event), after in TRANSITIONS.items()}


def test_the_lifecycle_table_has_a_row_for_every_phase() -> None:
    shown = [names(row[0])[0] for row in rows(ROOT / "docs/architecture.md", "phase", "event and next phase")]
    assert shown == [str(phase) for phase in Phase]


def test_every_field_of_the_manifest_is_explained() -> None:
    table = rows(ROOT / "docs/runs.md", "field", "is")
    explained = [name for row in table for name in names(row[0])]
    assert sorted(explained) == sorted(["status", *Manifest._fields])


def test_every_member_of_a_runtime_is_explained() -> None:
    table = rows(ROOT / "docs/adding-a-runtime.md", "member", "says")
    explained = [name.partition("(")[0] for row in table for name in names(row[0])]
    declared = base.Runtime.__annotations__.keys() | {
        name for name, value in vars(base.Runtime).items() if callable(value) and not name.startswith("_")
    }
    assert sorted(explained) == sorted(declared)


@pytest.mark.parametrize("page", PAGES_ON_CODE, ids=lambda page: page.name)
def test_every_module_that_a_page_names_exists(page: Path) -> None:
    modules = [f"/{path.relative_to(ROOT)}" for path in ROOT.glob("*/**/*.py")]
    named = {span for span in names(text(page)) if re.fullmatch(r"[\w./]+\.py", span)}
    assert sorted(name for name in named if not any(path.endswith(f"/{name}") for path in modules)) == []


def test_the_layout_has_every_room_once() -> None:
    shown = re.findall(r"^      (\w+)/ ", text(ROOT / "CONTRIBUTING.md"), re.MULTILINE)
    assert sorted(shown) == sorted(path.parent.name for path in ROOT.glob("runner/*/__init__.py"))


@EVERY_PAGE
def test_the_prose_of_a_page_is_wrapped(page: Path) -> None:
    """Unlike a row of a table or a line of code, which cannot be broken."""
    prose = _INDENTED.sub("", _FENCE.sub("", text(page)))
    assert [line for line in prose.splitlines() if len(line) > 110 and not line.startswith("|")] == []


def test_every_key_of_delegate_toml_is_explained() -> None:
    schema = json.loads(text(ROOT / "schemas/delegate.schema.json"))["$defs"]
    names_of = ("Task", "Limits", "Recovery", "Codex", "Kay", "Model", "Sandbox", "Executor")
    tables = {f"{name}Table" for name in names_of}
    keys = {key for table in tables for key in schema[table]["properties"]} - {"limits"}
    explained = {
        name.split(".")[-1] for piece in sections(SETTINGS_PAGE, "##").values() for name in names(piece)
    }
    explained |= {
        name.split(".")[-1] for piece in sections(SETTINGS_PAGE, "###").values() for name in names(piece)
    }
    assert keys <= explained


@pytest.mark.parametrize(
    "page",
    [
        *(README, SETTINGS_PAGE, ROOT / "docs/ci.md", ROOT / "docs/troubleshooting.md"),
        ROOT / "docs/from-codex-agent.md",
    ],
    ids=lambda page: page.name,
)
def test_the_settings_that_a_page_shows_are_valid(page: Path, repo) -> None:
    (repo.root / "prompts").mkdir()
    (repo.root / "prompts" / "fix-auth.md").write_text("x", encoding="utf-8")
    for block in _TOML.findall(text(page)):
        assert repo.problems(block) == []


def test_the_example_of_delegation_is_valid_in_every_file(repo) -> None:
    for name, content in example_files(ROOT / "docs/delegation.md").items():
        repo.write(content, repo.root / name)
        if name.startswith("rehearse/"):
            assert script.load(repo.root / name).turns
    assert repo.problems(repo.file.read_text(encoding="utf-8")) == []
    assert repo.load().tasks["review"].delegation


def test_the_settings_of_delegation_are_shown_with_their_defaults(repo) -> None:
    (block,) = [b for b in _TOML.findall(text(ROOT / "docs/delegation.md")) if b.startswith("[delegation]")]
    shown = tomllib.loads(block)["delegation"]
    repo.write("schema_version = 1\n")
    assert {**shown, "tasks": None} == repo.load().delegation.to_json() | {"tools": shown["tools"]}
    assert sorted(shown["tools"]) == sorted(repo.load().delegation.tools)


def test_the_settings_of_planning_are_shown_with_their_options_and_defaults() -> None:
    built_in = {"delegate": Delegate().to_json(), "economics": Economics().to_json()}
    shown = {}
    for key, option, default, _ in rows(ROOT / "docs/plans.md", "key", "option", "default", "meaning"):
        assert set(names(option)) <= options("plan")
        shown[names(key)[0]] = default.strip("`")
    words = {False: "false", None: "none", (): "none"}
    for name, default in shown.items():
        table, _, key = name.partition(".")
        value = built_in[table][key]
        value = tuple(value) if isinstance(value, list) else value
        assert default == (words[value] if value in words else str(value)), name
    assert {name.partition(".")[2] for name in shown if "economics" in name} == set(Economics._fields)


def test_the_makefile_has_every_target_that_a_page_names() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = {
        shlex.split(target)[0]
        for page in PAGES
        for piece in code(page)
        for target in re.findall(r"(?:^|(?<=\s))make ([a-z]+)", piece)
    }
    assert named <= set(targets)
