"""`runner policy diff`: texts, documents and exit statuses, as a job of a CI system sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft4Validator
from support.hostile import HOSTILE, harm
from support.imports import ROOT
from support.repo import Repo

PUBLISHED = ROOT / "tests/data/published/sarif-2.1.0-rtm.5.json"
SARIF = Draft4Validator(json.loads(PUBLISHED.read_text(encoding="utf-8")))
BASE = """
[sandboxes.build]
level = "workspace-write"
[tasks.fix]
prompt = "Fix."
sandbox = "build"
verify = ["pytest -q"]
"""
HARMLESS = {
    "prompt text": BASE.replace("Fix.", "Fix all of it."),
    "narrower sandbox": BASE.replace("workspace-write", "read-only"),
    "checks of others": BASE + '[tasks.look]\nprompt = "Look."\nverify = ["pytest -q"]\n',
    "lower budget": BASE + 'timeout = "10m"\n',
    "comment and format": BASE.replace("[tasks.fix]", "# what it is about\n[ tasks . fix ]"),
    "renamed description": BASE + 'title = "Fix it"\n',
}
WIDENING = {
    "level": BASE.replace("workspace-write", "danger-full-access"),
    "host": BASE.replace("[tasks.fix]", 'network = ["x.example.org"]\n[tasks.fix]'),
    "env": f'{BASE}[runtimes.codex]\nenv = ["AWS_SECRET"]\n',
    "mcp": f'{BASE}[runtimes.codex.config.mcp_servers.x]\ncommand = "y"\n',
    "check_weakened": BASE.replace("pytest -q", "true"),
    "budget": f'{BASE}timeout = "none"\n',
}


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path).config(BASE)
    made.git("add", "-A")
    made.git("commit", "-q", "-m", "base")
    return made


def request(repo: Repo, text: str) -> None:
    repo.config(text)
    repo.git("commit", "-q", "-a", "-m", "head")


def told(repo: Repo, form: str, *words: str) -> tuple[int, str]:
    done = repo.cli("policy", "diff", "HEAD~1", "--format", form, *words)
    return done.status, done.stdout


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_pull_request_fails_nothing_in_any_form(repo: Repo, name: str) -> None:
    request(repo, HARMLESS[name])
    for form in ("text", "json", "sarif", "annotations"):
        status, text = told(repo, form, "--fail-on", "widened")
        assert status == 0, text
        if form == "text":
            assert "widens:" not in text
        elif form == "json":
            assert "widens" not in {one["effect"] for one in json.loads(text)["changes"]}
        elif form == "sarif":
            assert json.loads(text)["runs"][0]["results"] == []
        else:
            assert text == ""


@pytest.mark.parametrize("rule", WIDENING)
def test_a_widening_pull_request_is_told_in_every_form_and_fails_where_that_is_asked_for(
    repo: Repo, rule: str
) -> None:
    request(repo, WIDENING[rule])
    assert told(repo, "text")[0] == 0
    status, text = told(repo, "text", "--fail-on", "widened")
    assert status == 6 and f"\n  {rule} " in text.partition("\nwidens:")[2]
    status, text = told(repo, "json", "--fail-on", "widened")
    one = next(one for one in json.loads(text)["changes"] if one["rule"] == rule)
    lines = (repo.root / "delegate.toml").read_text().splitlines()
    assert status == 6 and one["key"].rpartition(".")[2] in lines[one["line"] - 1]
    status, text = told(repo, "sarif", "--fail-on", "widened")
    document = json.loads(text)
    result = next(one for one in document["runs"][0]["results"] if one["ruleId"] == rule)
    (place,) = result["locations"]
    assert (status, result["level"]) == (6, "warning")
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "delegate.toml"
    assert place["physicalLocation"]["region"]["startLine"] == one["line"]
    SARIF.validate(document)
    status, text = told(repo, "annotations", "--fail-on", "widened")
    assert status == 6 and f"::warning file=delegate.toml,line={one['line']},title={one['key']}" in text


def test_what_is_beyond_a_ceiling_fails_as_check_does_and_only_where_that_is_not_switched_off(
    repo: Repo, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('max_level = "read-only"\nverify = ["*"]\n')
    request(repo, f"{BASE}title = 'x'\n")
    done = repo.cli("policy", "diff", "HEAD~1", "--policy", policy)
    assert done.status == 5 and "beyond the ceilings:\n  policy " in done.stdout
    assert "1 breach of the policy at HEAD" in done.stderr
    words = ("--policy", str(policy))
    assert told(repo, "json", *words)[0] == told(repo, "sarif", *words)[0] == 5
    assert told(repo, "annotations", *words)[1].startswith(
        "::error file=delegate.toml,line=5,title=tasks.fix"
    )
    assert told(repo, "json", *words, "--fail-on", "none")[0] == 0
    user = repo.home / ".config/runner"
    user.mkdir(parents=True)
    policy.rename(user / "policy.toml")
    assert told(repo, "json")[0] == repo.cli("check").status == 5


def test_settings_that_are_wrong_and_what_is_no_commit_are_errors_with_a_code(repo: Repo) -> None:
    request(repo, "oops = 1\n")
    done = repo.cli("policy", "diff", "HEAD~1", "--json")
    assert (done.status, done.error["code"]) == (2, "config_invalid")
    assert done.error["problems"][0].startswith("HEAD:delegate.toml:2:1: oops")
    for words in (("nothing",), ("HEAD", "nothing"), ("--", "--upload-pack=touch x")):
        done = repo.cli("policy", "diff", "--json", *words)
        assert (done.status, done.error["code"]) == (2, "usage"), words
    assert not (repo.root / "x").exists()


def test_nothing_that_the_settings_say_is_obeyed_by_a_terminal_or_a_job(repo: Repo) -> None:
    toml = json.dumps(HOSTILE)
    request(
        repo,
        f"{BASE}title = {toml}\nverify_timeout = '2h'\n"
        f"[runtimes.codex.config]\nfeatures.x = {toml}\n{toml} = 1\n",
    )
    for form in ("text", "json", "sarif"):
        status, text = told(repo, form, "--fail-on", "none")
        assert status == 0 and harm(text) == [], text
    lines = told(repo, "annotations")[1].splitlines()
    assert len(lines) >= 3 and all(line.startswith("::warning file=delegate.toml,") for line in lines)
    assert not any(sign in line for sign in "\x1b\x9b\u202e\x85\r" for line in lines)


def test_annotations_show_the_gravest_and_not_those_of_the_first_lines(repo: Repo) -> None:
    decoys = "".join(f'[tasks.d{n}]\nprompt = "x"\nretries = 3\n' for n in range(14))
    grave = '[tasks.last]\nprompt = "x"\nsandbox = "danger-full-access"\n'
    request(repo, decoys + BASE + grave)
    lines = told(repo, "annotations")[1].splitlines()
    assert len(lines) == 10 and "danger-full-access" in lines[0] and "tasks.last.sandbox" in lines[0]
    head, text = lines[0].removeprefix("::").split("::")
    assert "title=tasks.last.sandbox%3A widens" in head and text == "read-only -> danger-full-access  (last)"


def test_the_text_has_the_gravest_first_and_what_is_alike_by_its_lines(repo: Repo) -> None:
    low = "".join(f'[tasks.{name}]\nprompt = "x"\nretries = {n}\n' for n, name in enumerate("ba", 2))
    request(repo, f'{low}{BASE}[tasks.last]\nprompt = "x"\nsandbox = "danger-full-access"\n')
    rows = told(repo, "text")[1].partition("\nwidens:\n")[2].partition("\n\n")[0].splitlines()
    assert [row.split()[:3:2] for row in rows] == [
        ["level", "tasks.last.sandbox:"],
        ["network", "tasks.last.sandbox:"],
        ["budget", "tasks.b.retries:"],
        ["budget", "tasks.a.retries:"],
    ]
