"""The page for those who come from Sidekick: each row names a test that is there, or says why none is."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from runner.cli.app import COMMANDS, SUBCOMMANDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/from-sidekick.md").read_text(encoding="utf-8")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
_COMMAND = re.compile(r"`runner ([a-z][a-z-]*)(?: ([a-z]+))?")


def rows(heading: str) -> list[list[str]]:
    """The cells of each row of the table below a heading."""
    body = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in body.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_each_of_the_behaviours_has_one_row_with_a_test_or_a_reason() -> None:
    table = rows("The behaviours")
    assert [row[0] for row in table] == [str(n) for n in range(1, 53)]
    for number, _, ours, shown in table:
        assert _TEST.search(shown) or (shown.startswith("Why not: ") and ours == "-"), number


def test_each_test_that_the_page_names_is_there() -> None:
    named = _TEST.findall(PAGE)
    assert PAGE.count("::test_") == len(named) > 50
    assert [f"{path}::{name}" for path, name in named if name not in names_in(path)] == []


def test_each_step_says_what_does_it_here() -> None:
    table = rows("The steps")
    assert {row[0].split()[0].rstrip(":") for row in table} == {*"1234567", "Kay"}
    for step, _, here in table:
        for verb, second in _COMMAND.findall(here):
            assert verb in COMMANDS and (
                verb not in ("mode", "plugin", "audit") or f"{verb} {second}" in SUBCOMMANDS
            )
        assert _COMMAND.search(here) or "`" in here, step
