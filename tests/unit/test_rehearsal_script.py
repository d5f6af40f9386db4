"""Rehearsal scripts: a good one becomes values, a bad one names every problem and what is right."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.rehearsal import script
from runner.rehearsal.turns import Failure, PatchCall, Script, ShellCall, ToolCall, Turn, TurnUsage
from runner.verify.claim import Claim, read_claim

PATCH = "*** Begin Patch\n*** Add File: a.txt\n+x\n*** End Patch\n"


def load(folder: Path, text: str) -> Script:
    path = folder / "script.toml"
    path.write_text(text, encoding="utf-8")
    return script.load(path)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(script.ScriptError) as caught:
        load(folder, text)
    place = f"{folder / 'script.toml'}:"
    assert all(problem.startswith(place) for problem in caught.value.problems)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [problem.removeprefix(place) for problem in caught.value.problems]


def turns(folder: Path, text: str) -> tuple[Turn, ...]:
    return load(folder, f"schema_version = 1\n{text}").turns


def turn_problems(folder: Path, text: str) -> list[str]:
    return problems(folder, f"schema_version = 1\n[[turns]]\n{text}\n")


def test_every_key_of_the_format_is_understood(tmp_path: Path) -> None:
    got = load(
        tmp_path,
        f"""
        schema_version = 1
        retries = 2
        begins_with = {{ "a b.txt" = "{"0a" * 32}", new = "" }}
        [captures]
        manifest = 'manifest_path=(\\S+)'
        [[turns]]
        message = "Hello"
        repeat = 3
        times = 2
        usage = {{ input_tokens = 100, cached_input_tokens = 40, output_tokens = 20 }}
        [[turns]]
        message = "I will look"
        shell = ["echo a", "echo b"]
        tool = {{ server = "delegation", name = "delegate.status", arguments = {{ n = [1, 2.5] }} }}
        patch = '''\n{PATCH}'''
        [[turns]]
        delay = "1.5s"
        error = {{ status = 429, code = "usage_limit_reached", resets_at = 2000000000 }}
        [[turns]]
        message = "half"
        cut = true
        [[turns]]
        hang = true
        """,
    )
    assert (got.retries, got.begins_with) == (2, (("a b.txt", "0a" * 32), ("new", "")))
    assert [(c.name, c.pattern) for c in got.captures] == [("manifest", re.compile(r"manifest_path=(\S+)"))]
    assert got.turns == (
        Turn(message="Hello", repeat=3, times=2, usage=TurnUsage(100, 40, 20, 0)),
        Turn(
            message="I will look",
            calls=(
                ShellCall("echo a"),
                ShellCall("echo b"),
                ToolCall("delegation", "delegate.status", {"n": [1, 2.5]}),
                PatchCall(PATCH),
            ),
        ),
        Turn(
            delay_s=1.5,
            failure=Failure("an error of the rehearsal script", 429, "usage_limit_reached", 2000000000),
        ),
        Turn(message="half", ending="cut"),
        Turn(ending="hang"),
    )


def test_all_problems_of_a_script_are_reported_at_once(tmp_path: Path) -> None:
    assert problems(
        tmp_path,
        """
        schema_version = 2
        retrys = 1
        begins_with = { a = 0 }
        [captures]
        task = "(x)"
        two = "(a)(b)"
        broken = "("
        number = 3
        [[turns]]
        mesage = "Hello"
        [[turns]]
        message = 5
        delay = "2 seconds"
        times = 0
        [[turns]]
        shell = []
        error = { status = 200 }
        """,
    ) == [
        "2:9: schema_version: found 2; this version of runner reads format 1 only",
        '3:9: retrys: unknown key (did you mean "retries"?)',
        '4:9: begins_with: found a table; expected the SHA-256 of each file, or "" where there is none',
        "6:9: captures.task: is no name for a capture; task, last_output are taken",
        '7:9: captures.two: found "(a)(b)"; expected exactly one group, not 2',
        '8:9: captures.broken: found "("; expected a regular expression '
        "(missing ), unterminated subpattern at position 0)",
        "9:9: captures.number: found 3; expected a text in quotes",
        "10:11: turns[0]: does nothing; expected one of message, shell, tool, patch, cut, hang, error",
        '11:9: turns[0].mesage: unknown key (did you mean "message"?)',
        "13:9: turns[1].message: found 5; expected a text in quotes",
        '14:9: turns[1].delay: found "2 seconds"; expected a duration above zero such as "90s", "15m", '
        '"2h", "1h30m" or "7d", or a number of seconds',
        "15:9: turns[1].times: found 0; expected a whole number, 1 or more",
        "17:9: turns[2].shell: cannot be combined with error; make it a turn of its own",
        "17:9: turns[2].shell: found an empty array; expected one or more",
        "18:19: turns[2].error.status: found 200; expected a whole number from 400 to 599",
    ]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_script_begins_with_what_git_would_see_there(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(b"x\0\r\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/in").touch()
    (tmp_path / "link").symlink_to("folder")
    os.mkfifo(tmp_path / "pipe")
    there = {"a b": digest(b"x\0\r\n"), "link": digest(b"folder"), "folder/in": digest(b"")}
    absent = dict.fromkeys(("none", "none/at/all", "folder", "link/in", "a b/x", "a\0"), "")
    begin(tmp_path, there | absent)
    for path, other in (
        ("a b", ""),
        ("a b", digest(b"x")),
        ("none", digest(b"")),
        ("pipe", ""),
        ("link", ""),
    ):
        with pytest.raises(script.ScriptError, match=f"{path} is not the file"):
            begin(tmp_path, {"folder": "", path: other})


@pytest.mark.parametrize("name", ["/etc/hostname", "../x", "a/../../x", "a/.."])
def test_a_script_asks_for_no_file_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    (said,) = problems(
        tmp_path, f'schema_version = 1\nbegins_with = {{ "{name}" = "" }}\n[[turns]]\nmessage = "x"'
    )
    assert said == "2:1: begins_with: found a table; expected paths inside of the folder, without `..`"


def begin(root: Path, files: dict[str, str]) -> None:
    script.begin(Script((Turn("x"),), begins_with=tuple(files.items())), str(root))


@pytest.mark.parametrize(
    ("turn", "problem"),
    [
        ("delay = '1s'", "2:3: turns[0]: does nothing"),
        ("repeat = 2\nhang = true", "3:1: turns[0].repeat: repeats a message; there is none"),
        ("cut = true\nhang = true", "2:3: turns[0]: can have only one of cut and hang"),
        ("message = 'x'\nerror = {status = 500}", "3:1: turns[0].message: cannot be combined"),
        ("message = 'x'\ncut = 1", "4:1: turns[0].cut: found 1; expected true or false"),
        ("cut = true\nusage = {}", "4:1: turns[0].usage: cannot be combined with cut"),
        ("error = {message = 'x'}", "3:1: turns[0].error: needs a status (HTTP error) or a code"),
        ("tool = {server = 'a'}", "3:1: turns[0].tool: `name` is missing; every tool call needs one"),
        ("tool = 'a'", '3:1: turns[0].tool: found "a"; expected a table'),
        ("tool = [{server='a', name='b'}, {server='a'}]", "3:33: turns[0].tool[1]: `name` is missing"),
        ("tool = {server='a', name='b', args={}}", "3:31: turns[0].tool.args: unknown key (did you"),
        ("message='x'\nusage={input_token=1}", "4:8: turns[0].usage.input_token: unknown key (did you mean"),
        (
            "patch = 'diff'",
            '3:1: turns[0].patch: found "diff"; expected a text from "*** Begin Patch" to "*** End Patch"',
        ),
        ("shell = ''", '3:1: turns[0].shell: found ""; expected a text that is not empty'),
        ("message = 'x'\ndelay = '25h'", '4:1: turns[0].delay: found "25h"; expected a delay of at most 24h'),
        ("message = 'x'\ntimes = true", "4:1: turns[0].times: found true; expected a whole number"),
    ],
)
def test_a_wrong_turn_is_refused_with_what_would_be_right(tmp_path: Path, turn: str, problem: str) -> None:
    found = turn_problems(tmp_path, turn)
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_arguments_that_json_cannot_carry_are_refused_with_their_place(tmp_path: Path) -> None:
    found = turn_problems(tmp_path, "tool = {server='a', name='b', arguments={x=[1, {y=inf}], z=1979-05-27}}")
    assert found == [
        "3:49: turns[0].tool.arguments.x[1].y: has no form in JSON: inf; write it as a text",
        "3:58: turns[0].tool.arguments.z: has no form in JSON: 1979-05-27; write it as a text",
    ]


@pytest.mark.parametrize("text", ["", "schema_version = 1", "schema_version = 1\nturns = 3"])
def test_a_script_without_turns_is_refused(tmp_path: Path, text: str) -> None:
    assert any("at least one turn" in problem for problem in problems(tmp_path, text))


def test_a_file_that_is_no_toml_is_refused_with_the_line(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "schema_version = 1\nturns = [")
    assert problem.startswith("2:10: not valid TOML: ")


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(script.ScriptError) as caught:
        script.load(tmp_path / "none.toml")
    assert caught.value.problems == (f"{tmp_path / 'none.toml'}: cannot be read: No such file or directory",)


def test_the_default_script_is_one_answer_that_names_the_task() -> None:
    (turn,) = script.default("hello").turns
    assert turn.message is not None
    assert turn.message.startswith("Rehearsal of task `hello`: no model was asked.")


@pytest.mark.parametrize(("contract", "turns"), [("final", 1), ("closing-turn", 2)])
def test_the_default_script_ends_with_the_result_that_is_asked_for(contract: str, turns: int) -> None:
    play = script.default("hello", contract)
    assert len(play.turns) == turns
    claim = read_claim(play.turns[-1].message)
    assert isinstance(claim, Claim)
    assert (claim.status, claim.files_modified) == ("completed", ())


def test_the_default_script_fills_in_the_block_that_is_asked_for() -> None:
    (turn,) = script.default("hello", "status-block").turns
    assert str(turn.message).startswith("STATUS: SUCCESS\nFILES_CHANGED: []\n")


def test_a_turn_with_times_answers_that_many_requests(tmp_path: Path) -> None:
    got = load(
        tmp_path,
        "schema_version = 1\n[[turns]]\nshell = 'a'\ntimes = 2\n[[turns]]\nmessage = 'end'\n",
    )
    assert [got.at(position).number for position in range(5)] == [1, 1, 2, 2, 2]


def test_after_the_end_the_last_message_is_said_again_even_before_later_turns(
    tmp_path: Path,
) -> None:
    got = load(
        tmp_path,
        "schema_version = 1\n[[turns]]\nmessage = 'end'\n[[turns]]\nmessage = 'x'\nshell = 'a'\n",
    )
    assert got.at(7) == (1, Turn(message="end"))


def test_after_the_end_of_a_script_without_a_message_a_short_answer_is_given(
    tmp_path: Path,
) -> None:
    got = load(tmp_path, "schema_version = 1\n[[turns]]\nhang = true\n")
    assert got.at(1) == (2, Turn(message="Rehearsal: the script is over."))


def test_what_of_a_script_was_not_played_is_told_and_nothing_where_that_is_unknown(tmp_path: Path) -> None:
    path, log = tmp_path / "script.toml", tmp_path / "requests.jsonl"
    path.write_text(
        "schema_version = 1\n[[turns]]\nshell = 'a'\ntimes = 2\n[[turns]]\nmessage = 'end'\n",
        encoding="utf-8",
    )
    assert script.unplayed(str(path), str(log)) is None
    log.write_text('{"turn": 1}\n{"turn": null}\n', encoding="utf-8")
    assert script.unplayed(str(path), str(log)) == "1 of 3 turns of the script were played"
    log.write_text('{"turn": 1}\n{"turn": 1}\n{"turn": 2}\n{"turn": 2}\n', encoding="utf-8")
    assert script.unplayed(str(path), str(log)) is None
    log.write_text("no JSON\n", encoding="utf-8")
    assert script.unplayed(str(path), str(log)) is None
    assert script.unplayed(str(tmp_path / "none"), str(log)) is None


def test_every_script_in_the_documentation_is_valid(tmp_path: Path) -> None:
    page = Path(script.__file__).parents[2] / "docs" / "rehearsal.md"
    examples = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) >= 5
    for example in examples:
        assert load(tmp_path, example).turns


@given(st.integers(0, 86_400_000))
def test_a_duration_in_milliseconds_is_that_many_seconds(
    tmp_path_factory: pytest.TempPathFactory, milliseconds: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (turn,) = turns(folder, f"[[turns]]\nmessage = 'x'\ndelay = '{milliseconds}ms'")
    assert turn.delay_s == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [('"1m30s"', 90), ('"1h30m"', 5400), ("2", 2), ("0.5", 0.5), ('"0s"', 0), ('"1d"', 86_400)],
)
def test_a_delay_is_written_as_every_duration_is_and_may_be_none_at_all(
    tmp_path: Path, written: str, seconds: float
) -> None:
    (turn,) = turns(tmp_path, f"[[turns]]\nmessage = 'x'\ndelay = {written}")
    assert turn.delay_s == seconds


_TOML: st.SearchStrategy[object] = st.recursive(
    st.one_of(st.booleans(), st.integers(-9, 9), st.text(max_size=5), st.just([])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)
_KEYS = [
    "message",
    "repeat",
    "shell",
    "tool",
    "patch",
    "error",
    "cut",
    "hang",
    "delay",
    "times",
    "usage",
    "server",
    "status",
]


def _toml(value: object) -> str:
    """The value as inline TOML; JSON is nearly that."""
    if isinstance(value, dict):
        inner = ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@given(st.dictionaries(st.sampled_from(_KEYS), _TOML, max_size=5))
def test_whatever_a_turn_contains_it_is_either_read_or_refused_with_its_place(
    tmp_path_factory: pytest.TempPathFactory, turn: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(f"schema_version = 1\nturns = [{_toml(turn)}]\n", encoding="utf-8")
    try:
        assert len(script.load(path).turns) == 1
    except script.ScriptError as error:
        assert all(line.startswith(f"{path}:2:") and ": turns[0]" in line for line in error.problems)
