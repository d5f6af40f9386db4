"""Every wrong file says itself what is wrong with it: `# problem: KEY: MESSAGE` at the end of the line.

`# schema: silent` marks what a JSON Schema cannot express, `# schema: not toml` what no parser accepts.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
BAD = sorted((ROOT / "tests" / "data" / "bad").glob("*.toml"))
SCHEMA = json.loads((ROOT / "schemas" / "delegate.schema.json").read_text())


def names(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", BAD, ids=names)
def test_every_problem_is_told_with_its_line_key_and_remedy(path, repo):
    expected = [
        (number, key, message)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for key, message in re.findall(r"# problem: (\S*?|\S*\"[^\"]*\"\S*?): (.*)$", line)
    ]
    repo.write(path.read_text())

    problems = repo.check().problems

    assert expected
    for number, key, message in expected:
        assert any(
            problem.line == number and key in problem.key and message in problem.message
            for problem in problems
        ), (number, key, message, [str(problem) for problem in problems])
    assert len(problems) == len(expected), [str(problem) for problem in problems]


def test_an_abbreviation_stays_one_in_the_middle_of_a_sentence(repo):
    repo.write(f"a = {'[' * 3000}{']' * 3000}")
    (problem,) = repo.check().problems
    assert problem.message.startswith("not valid TOML: ") and "tOML" not in problem.message
    repo.write("a = [")
    (problem,) = repo.check().problems
    assert problem.message.removeprefix("not valid TOML: ")[:1].islower()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"Do it.\n", None),
        ("D\u00f6 it.".encode(), None),
        (b"a\0b", "NUL"),
        (b"\xff\xfe", "UTF-8"),
        (b" \n", "is empty"),
        (None, "no such file"),
    ],
)
def test_a_prompt_file_that_no_start_would_take_is_found_by_check(repo, content, told):
    repo.write("schema_version = 1\n[tasks.a]\nprompt_file = 'p.md'\n")
    if content is not None:
        (repo.root / "p.md").write_bytes(content)
    problems = repo.check().problems
    assert [(one.line, told in one.message) for one in problems] == ([] if told is None else [(3, True)])


@pytest.mark.parametrize(
    "line",
    [
        "[runtimes.codex]\nenv = ['CODEX_API_KEY=sk-abc123']",
        "[runtimes.codex]\nenv = 'CODEX_API_KEY=sk-abc123'",
        "[runtimes.codex]\nenv = ['CODEX_API_KEY: sk-abc123']",
        "[runtimes.codex]\nenv = ['sk-abc123']",
        "[runtimes.codex]\nenv = ['A', {CODEX_API_KEY = 'sk-abc123'}]",
        "[runtimes.kay]\nenv = ['export KEY=sk-abc123']",
        "[defaults]\nverify = ['KEY=sk-abc123 make test']",
        "[defaults]\nverify = ['export KEY=sk-abc123']",
        "[tasks.a]\nprepare = ['KEY=sk-abc123 npm ci']",
        "[runtimes.codex]\nenv = ['A\nCODEX_API_KEY=sk-abc123']",
    ],
)
def test_what_may_be_a_secret_is_in_no_message(repo, line):
    repo.write(f"schema_version = 1\n{line}\n")
    problems = repo.check().problems
    assert problems and not [str(problem) for problem in problems if "abc123" in str(problem)]


@pytest.mark.parametrize(
    "line",
    [
        r'tasks.a.verify = [["sh", "-c", "true\u0000"]]',
        r'tasks.a.verify = "true \u0000"',
        r'tasks.a.prepare = ["npm ci\u0000"]',
        r'notify.on_turn = ["sh\u0000"]',
    ],
)
def test_no_word_of_a_command_can_have_a_nul(repo, line):
    repo.write(f'schema_version = 1\ntasks.a.prompt = "x"\n{line}\n')
    assert any("NUL" in problem.message for problem in repo.check().problems)
    document = tomllib.loads(repo.file.read_text())
    assert [*jsonschema.Draft202012Validator(SCHEMA).iter_errors(document)]


@pytest.mark.parametrize("path", BAD, ids=names)
def test_the_schema_refuses_what_we_refuse(path):
    text = path.read_text()
    if text.startswith("# schema: not toml"):
        with pytest.raises(tomllib.TOMLDecodeError):
            tomllib.loads(text)
        return

    errors = list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(tomllib.loads(text)))

    assert bool(errors) is not text.startswith("# schema: silent"), errors
