"""Plain command lines are read without argparse, and mean what argparse says they mean."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.imports import ROOT

from runner.cli.app import COMMANDS, SUBCOMMANDS, arguments, full_parser, parser_of, verb_of
from runner.cli.parser import Namespace
from runner.errors import UsageError
from runner.lightjson import dumps, loads

VALUES = (
    "x",
    "-",
    "",
    "a b",
    "5m",
    "0",
    "1",
    "json",
    "text",
    "5",
    "keep",
    "bash",
    "show",
    "1,2,3",
    "high",
    "a=b",
)
ODD = ("--", "-x", "-5", "--no-such", "-h", "--help", "--wai", "--forma", "--=x", "-f=1")


def by_argparse(verb: str, words: list[str]) -> dict[str, Any] | None:
    try:
        return vars(full_parser(verb).parse_args(words, Namespace()))
    except (UsageError, SystemExit):
        return None


def plainly(verb: str, words: list[str]) -> dict[str, Any] | None:
    told = parser_of(verb).plainly(words)
    return None if told is None else vars(told)


@st.composite
def command_lines(draw: st.DrawFn) -> tuple[str, list[str]]:
    verb = draw(st.sampled_from(sorted(COMMANDS | SUBCOMMANDS)))
    names = [name for option in parser_of(verb).declared for name in option.names if name[0] == "-"]
    named = st.sampled_from(names)
    pairs = st.builds(lambda name, value: [name, value], named, st.sampled_from(VALUES))
    joined = st.builds(lambda name, value: [f"{name}={value}"], named, st.sampled_from((*VALUES, "--")))
    words = st.one_of(
        named.map(lambda name: [name]),
        pairs,
        pairs,
        joined,
        st.sampled_from(VALUES).map(lambda value: [value]),
        st.sampled_from(ODD).map(lambda word: [word]),
    )
    return verb, [word for part in draw(st.lists(words, max_size=5)) for word in part]


@given(command_lines())
def test_what_is_read_plainly_is_what_argparse_reads(line: tuple[str, list[str]]) -> None:
    verb, words = line
    told = plainly(verb, words)
    assert told is None or told == by_argparse(verb, words)


@pytest.mark.parametrize(
    "line",
    [
        "start hello",
        "start --task hello --wait",
        "start hello --rehearse --wait --format json",
        "start hello --rehearse=script.toml --set a.b=1 --set c=2",
        "start --wait hello --timeout 5m",
        "start hello -r xhigh -m deep -s read-only",
        "retry @latest -r low --wait",
        "start --task review --prompt - --format=json",
        "list --all --task fix",
        "status",
        "status @latest --format json",
        "list --json --status failed --since 2d --limit 5",
        "wait RUN1 RUN2 --any --timeout 10m",
        "answer RUN q-0001 yes",
        "cancel RUN --grace 0",
        "logs RUN -f",
        "ledger show TASK --type note --type handoff --limit 5",
        "ledger note TASK TEXT --json",
        "ledger handoff TASK --to x --reason y --ask - --ref a.py --ref b.py",
        "ledger --json verify TASK",
        "config show --task hello",
        "clean --dry-run --older-than 1d",
    ],
)
def test_an_ordinary_command_line_needs_no_argparse(line: str) -> None:
    verb, words = verb_of(line.split())
    told = plainly(verb, words)
    assert told is not None
    assert told == by_argparse(verb, words)


@pytest.mark.parametrize(
    "line",
    [
        "start --wait --follow",
        "start --task",
        "start --task --wait",
        "start a b",
        "start a --wait b",
        "pause",
        "list --format yaml",
        "list --all=1",
        "wait --timeout soon RUN",
        "config hide",
        "logs -fx RUN",
        "start --help",
        "ledger",
        "ledger sho TASK",
        "ledger handoff TASK --to x --ask y",
        "ledger artifact TASK --kind note --title t --summary s --status passed",
    ],
)
def test_a_command_line_that_is_not_plain_is_left_to_argparse(line: str) -> None:
    verb, words = verb_of(line.split())
    assert plainly(verb, words) is None


@pytest.mark.parametrize(
    "line", ["start --task a --task b", "list --task=a --task b", "logs RUN --tail 1 --tail 2"]
)
def test_of_two_values_where_one_is_wanted_neither_is_taken(line: str) -> None:
    verb, *words = line.split()
    with pytest.raises(UsageError, match="takes one value, and was given"):
        arguments(verb, words)


def test_the_same_value_may_be_told_twice() -> None:
    assert arguments("start", ["--task", "a", "--task=a", "--set", "x=1", "--set", "x=2"]).sets == [
        "x=1",
        "x=2",
    ]


@pytest.mark.parametrize(
    "words",
    [["--set=--", "--task=--"], ["--set=--", "--task=--", "--"], ["--task=--", "--set=--", "--", "x"]],
)
def test_two_dashes_behind_an_equals_sign_are_a_value_as_any_other(words: list[str]) -> None:
    args = arguments("resolve", words)
    assert (args.sets, args.task) == (["--"], "--")


@pytest.mark.parametrize("words", [["--timeout=--", "--", "x"], ["--format=--", "--", "x"]])
def test_and_are_checked_as_any_other(words: list[str]) -> None:
    with pytest.raises(UsageError):
        arguments("start", words)


@pytest.mark.parametrize(
    ("verb", "words", "hint"),
    [
        ("ledger", ["shw"], "perhaps you meant `show`"),
        ("ledger show", ["work", "--type", "handof"], "perhaps you meant `handoff`"),
        ("list", ["--format", "yaml"], "it is one of text, json"),
    ],
)
def test_of_a_wrong_word_the_nearest_one_is_named_or_all(verb: str, words: list[str], hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        arguments(verb, words)


def test_an_option_for_programs_is_not_in_the_help() -> None:
    assert "--run-id" not in full_parser("start").format_help()


@pytest.mark.parametrize("text", ["5", "0.5", " 30 "])
def test_an_age_needs_a_unit(text: str) -> None:
    with pytest.raises(UsageError, match="has no unit: "):
        arguments("clean", ["--older-than", text])


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("0s", 0.0), ("5s", 5.0), ("1d", 86_400.0)])
def test_an_age_with_a_unit_is_what_it_says(text: str, seconds: float) -> None:
    assert arguments("clean", ["--older-than", text]).older_than == seconds


# -- JSON ------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=()))
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(values, st.booleans(), st.sampled_from([None, 1, 2]))
def test_json_is_written_as_the_package_writes_it(value: Any, ascii_only: bool, indent: int | None) -> None:
    written = dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert written == json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    compact = dumps(value, compact=True, sort_keys=True)
    assert compact == json.dumps(value, separators=(",", ":"), sort_keys=True)


def outcome(read: Any, text: str) -> Any:
    try:
        value = read(text)
    except ValueError as error:
        return str(error)
    return "nan" if isinstance(value, float) and math.isnan(value) else value


PIECES = [
    '"',
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "1",
    "-",
    ".5",
    "e9",
    "null",
    "tru",
    "e",
    "NaN",
    "\\u00e9",
    "a",
]


@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
def test_json_is_read_and_refused_as_the_package_does(text: str) -> None:
    assert outcome(loads, text) == outcome(json.loads, text)


@pytest.mark.parametrize("text", ['"a', '{"a"', "[1,]", "nul", '{"a": 01}'])
def test_a_broken_text_is_refused_where_the_package_is_not_imported_yet(text: str) -> None:
    code = "import sys; from runner.lightjson import loads; loads(sys.argv[1])"
    words = [sys.executable, "-c", code, text]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stderr.splitlines()[-1].startswith("json.decoder.JSONDecodeError: ")


def test_a_value_that_json_has_no_form_for_is_refused() -> None:
    for value in (object(), {"a": {1}}, {(1, 2): 3}):
        for indent in (None, 1):
            with pytest.raises(TypeError):
                dumps(value, indent=indent)
