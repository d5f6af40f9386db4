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


@pytest.mark.parametrize("path", BAD, ids=names)
def test_the_schema_refuses_what_we_refuse(path):
    text = path.read_text()
    if text.startswith("# schema: not toml"):
        with pytest.raises(tomllib.TOMLDecodeError):
            tomllib.loads(text)
        return

    errors = list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(tomllib.loads(text)))

    assert bool(errors) is not text.startswith("# schema: silent"), errors
