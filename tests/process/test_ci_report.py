"""`runner ci report` on real runs in a real repository: what it writes, refuses, and exits with."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.hostile import HOSTILE, harm
from support.repo import Repo, Run

ODD = "a, b:%\n::error::c \\351.py"
"""As bash writes it with `printf %b`: no UTF-8."""


def rejected(repo: Repo) -> Run:
    """A run that changed what it must not, said hostile things, and failed its second check of three."""
    repo.task(
        'sandbox = "workspace-write"',
        'scope = ["src/**"]',
        f'verify = [["true"], ["sh", "-c", "echo \\"$1\\"; exit 3", "x", {json.dumps(HOSTILE)}], ["ls"]]',
    )
    text = (repo.root / "delegate.toml").read_text().replace('sandbox = "read-only"\n', "")
    (repo.root / "delegate.toml").write_text(text)
    repo.git("add", "delegate.toml")
    repo.quick_codex("all done", before=f"printf x > \"$(printf '%b' '{ODD}')\"\nmkdir -p src; touch src/ok")
    done = repo.cli("start", "work", "--wait", "--json")
    assert done.status == 6, done
    return Run(repo, done.json()["run_id"])


def test_a_run_that_was_rejected_is_told_in_every_form_and_fails_the_job(repo: Repo) -> None:
    run = rejected(repo)
    Path(repo.root, "summary.md").write_text("# Before\n")
    Path(repo.root, "outputs").write_text("before=1\n")
    words = ("--summary", "summary.md", "--outputs", "outputs", "--junit", "j.xml", "--sarif", "s.sarif")
    done = repo.cli(
        "ci", "report", run.id, *words, "--code-quality", "q.json", "--dotenv", ".env", "--annotations"
    )
    assert done.status == 6, done
    lines = done.stdout.splitlines()
    assert lines[0].startswith("::error title=work%3A rejected::")
    assert [line.partition(" ")[0] for line in lines] == ["::error"] * len(lines)
    assert harm("\n".join(line.removeprefix("::") for line in lines)) == []
    assert any("file=a%2C b%3A%25%0A%3A%3Aerror%3A%3Ac " in line for line in lines)

    summary = Path(repo.root, "summary.md").read_text()
    assert summary.startswith("# Before\n\n## `work`: rejected\n") and "outside the scope" in summary
    assert harm(Path(repo.root, "j.xml").read_text().replace("\n", " ").replace("##", "")) == []
    found = ElementTree.parse(repo.root / "j.xml").getroot()
    told = [(case.attrib["name"][:5], [part.tag for part in case]) for case in found.iter("testcase")]
    assert told[:2] == [("outco", ["failure", "system-out"]), ("true", [])]
    assert told[2][1] == ["failure", "system-out"] and told[3] == ("ls", ["skipped"])
    assert dict(told)["scope"] == ["failure", "system-out"]
    assert json.loads(Path(repo.root, "s.sarif").read_text())["runs"][0]["results"] == []
    (entry,) = json.loads(Path(repo.root, "q.json").read_bytes())
    assert entry["location"]["path"].startswith("a, b:%") and entry["severity"] == "critical"

    outputs = Path(repo.root, "outputs").read_text()
    assert outputs.startswith("before=1\n\nrun-id<<")
    env = dict(line.split("=", 1) for line in Path(repo.root, ".env").read_text().splitlines())
    assert (env["run_id"], env["outcome"], env["tokens_in"]) == (run.id, "rejected", "10")
    assert (env["report"], env["junit"]) == ("summary.md", "j.xml")
    changed = json.loads(env["changed_files"])
    assert len(changed) == 2 and changed[0].startswith("a, b:%\n::error::c ") and changed[1] == "src/ok"
    assert {oct(os.stat(repo.root / name).st_mode & 0o777) for name in ("j.xml", "q.json")} == {"0o644"}
    exits_by_words(repo, run)


def test_a_file_whose_name_hides_a_character_accuses_no_other_one(repo: Repo) -> None:
    repo.task('sandbox = "workspace-write"', 'scope = ["src/**"]')
    text = (repo.root / "delegate.toml").read_text().replace('sandbox = "read-only"\n', "")
    (repo.root / "delegate.toml").write_text(text)
    (repo.root / "visible.py").write_text("innocent\n")
    repo.git("add", "delegate.toml", "visible.py")
    repo.quick_codex("all done", before="printf x > \"$(printf '%b' 'vis\\0342\\0200\\0213ible.py')\"")
    run = repo.cli("start", "work", "--wait", "--json").json()["run_id"]
    done = repo.cli("ci", "report", run, "--annotations", "--code-quality", "q.json", "--outputs", "o")
    assert done.status == 6 and r"file=vis\u200bible.py" in done.stdout
    name = "vis\u200bible.py"
    told = repo.cli("report", run, "--format", "json").json()
    assert told["files"]["observed"] == told["files"]["outside_scope"] == [name]
    assert r"vis\u200bible.py (outside the scope)" in repo.cli("report", run).stdout
    assert "visible" not in done.stdout + json.dumps(told) + repo.cli("ci", "report", run).stdout
    (entry,) = json.loads(Path(repo.root, "q.json").read_bytes())
    assert entry["location"]["path"] == name
    assert json.dumps([name]) in Path(repo.root, "o").read_text()


def exits_by_words(repo: Repo, run: Run) -> None:
    for words, status in (("rejected", 6), ("failed, rejected", 6), ("failed,budget", 0), ("none", 0)):
        assert repo.cli("ci", "report", run.id, "--fail-on", words).status == status, words
    plain = repo.cli("ci", "report", run.id)
    report = repo.cli("report", run.id, "--format", "markdown").stdout
    change = next(line for line in plain.stdout.splitlines() if line.startswith("`its changes: 2 files kept"))
    assert plain.stdout.replace(f"\n{change}\n", "") == report and plain.status == 6
    told = repo.cli("ci", "report", run.id, "--summary", "-", "--dotenv", ".env")
    assert told.stdout == plain.stdout and "report=\n" in Path(repo.root, ".env").read_text()
    data = repo.cli("ci", "report", run.id, "--json", "--fail-on", "none").json()
    assert (data["files"], data["runs"][0]["outcome"]) == ({}, "rejected")


def test_what_cannot_be_written_is_refused_before_anything_is(repo: Repo) -> None:
    repo.task()
    repo.quick_codex()
    run = repo.cli("start", "work", "--wait", "--json").json()["run_id"]
    os.mkfifo(repo.root / "fifo")
    (repo.root / "link").symlink_to(repo.root / "delegate.toml")
    (repo.root / "folder").mkdir()
    (repo.root / "inside").symlink_to(repo.root / "folder")
    Path(repo.root, "h1").touch()
    os.link(repo.root / "h1", repo.root / "h2")
    before = sorted(os.listdir(repo.root))
    for words, code, status in (
        (("--sarif", "fifo"), "unwritable", 9),
        (("--sarif", "link"), "unwritable", 9),
        (("--summary", "link"), "unwritable", 9),
        (("--summary", ".git/config"), "unwritable", 9),
        (("--junit", f".runs/work/cli/{run}/junit.xml"), "unwritable", 9),
        (("--sarif", "folder"), "unwritable", 9),
        (("--sarif", "no/s.sarif"), "unwritable", 9),
        (("--sarif", "inside/s.sarif"), "unwritable", 9),
        (("--summary", f"{repo.root}/inside/../s.md"), "unwritable", 9),
        (("--summary", "h1", "--outputs", "h2"), "usage", 2),
        (("--fail-on", "succeeded"), "usage", 2),
        (("--sarif", ""), "usage", 2),
        (("--sarif", "-"), "usage", 2),
        (("--outputs", "./ok.json"), "usage", 2),
        (("--fail-on", "faild"), "usage", 2),
        (("--fail-on", "failed,none"), "usage", 2),
        (("--annotations",), "usage", 2),
        (("--summary", "-"), "usage", 2),
    ):
        refused = repo.cli("ci", "report", run, "--code-quality", "ok.json", *words, "--json", within=30)
        assert (refused.status, refused.error["code"], bool(refused.error["hint"])) == (status, code, True), (
            words
        )
    assert repo.cli("ci", "report", "nothing", "--sarif", "ok.json").status == 4
    manifest, link = repo.root / f".runs/work/cli/{run}/manifest.json", f"{repo.root}/inside/s.sarif"
    refused = repo.cli("ci", "report", manifest, "--sarif", link, "--json", cwd=repo.base)
    assert (refused.status, refused.error["code"]) == (9, "unwritable"), "nor from outside of its repository"
    assert sorted(os.listdir(repo.root)) == before and not os.listdir(repo.root / "folder")
    refused = repo.cli("ci", "report", run, "--outputs", "o", "--sarif", "/proc/s.sarif", "--json")
    assert refused.status == 9 and "write /proc/s.sarif:" in refused.error["message"]
    assert not (repo.root / "o").exists(), "what is added to would have it twice at the next try"
    outer = repo.note("reports")
    outer.mkdir()
    (outer.parent / "way").symlink_to(outer)
    for name in ("s.md", "o"):
        assert repo.cli("ci", "report", run, "--summary", f"{outer.parent}/way/{name}").status == 0
        assert stat.S_IMODE(os.stat(outer / name).st_mode) == 0o644
    assert (repo.root / "delegate.toml").read_text().startswith("schema_version")


def test_a_run_that_is_not_done_is_never_a_success(repo: Repo) -> None:
    repo.task()
    repo.waiting_codex()
    run = repo.start()
    repo.begun()
    done = repo.cli("ci", "report", run.id, "--annotations", "--fail-on", "failed")
    assert done.status == 75 and done.stdout.startswith("::warning title=work%3A unfinished::")
    assert repo.cli("ci", "report", run.id, "--fail-on", "none").status == 0
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"
    assert repo.cli("ci", "report", run.id).status == 0


def test_a_run_that_is_done_without_an_outcome_is_never_a_success(repo: Repo) -> None:
    repo.task()
    repo.quick_codex()
    run = Run(repo, repo.cli("start", "work", "--wait", "--json").json()["run_id"])
    run.edit(outcome=None, reason=None)
    assert repo.cli("ci", "report", run.id, "--fail-on", "failed").status == 75
    assert repo.cli("wait", run.id).status == 75


def test_several_runs_are_one_document_each_and_variables_are_of_one(repo: Repo) -> None:
    repo.task()
    repo.quick_codex()
    runs = [repo.cli("start", "work", "--wait", "--json").json()["run_id"] for _ in range(2)]
    done = repo.cli(
        "ci", "report", *runs, "--summary", "s.md", "--sarif", "s.sarif", "--junit", "j.xml", "--json"
    )
    assert done.status == 0 and [one["run_id"] for one in done.json()["runs"]] == runs
    assert Path(repo.root, "s.md").read_text().count("## `work`: succeeded") == 2
    assert len(json.loads(Path(repo.root, "s.sarif").read_text())["runs"]) == 2
    suites = ElementTree.parse(repo.root / "j.xml").getroot()
    assert [suite.attrib["name"] for suite in suites] == ["work 1", "work 2"]
    assert repo.cli("ci", "report", *runs, "--outputs", "o", "--json").error["code"] == "usage"
    assert repo.cli("ci", "report", runs[0], runs[0], "--outputs", "o").status == 0


@pytest.mark.parametrize("before", [899_600, 1_100_000])
def test_what_is_in_a_summary_already_counts(before: int, repo: Repo) -> None:
    repo.task()
    repo.quick_codex()
    run = repo.cli("start", "work", "--wait", "--json").json()["run_id"]
    Path(repo.root, "s.md").write_bytes(b"x" * before)
    done = repo.cli("ci", "report", run, "--summary", "s.md")
    assert done.status == 0 and "no room for a summary" in done.stderr
    assert Path(repo.root, "s.md").stat().st_size == before


def test_records_that_others_wrote_are_no_verdict(repo: Repo) -> None:
    repo.task()
    repo.quick_codex()
    run = Run(repo, repo.cli("start", "work", "--wait", "--json").json()["run_id"])
    invocation = run.folder / "invocation.json"
    invocation.write_bytes(invocation.read_bytes() + b" ")
    done = repo.cli("ci", "report", run.id, "--summary", "s.md", "--json")
    assert (done.status, done.error["code"]) == (9, "foreign_run") and not (repo.root / "s.md").exists()
    assert repo.cli("ci", "report", run.id, "--fail-on", "none", "--json").error["code"] == "foreign_run"


def test_without_the_package_for_junit_nothing_is_written_and_the_hint_installs_it(
    repo: Repo, tmp_path: Path
) -> None:
    repo.task()
    repo.quick_codex()
    run = repo.cli("start", "work", "--wait", "--json").json()["run_id"]
    (tmp_path / "junitparser.py").write_text("raise ModuleNotFoundError('no', name='junitparser')\n")
    words = ("ci", "report", run, "--summary", "s.md", "--junit", "j.xml", "--json")
    done = repo.cli(*words, env={"PYTHONPATH": str(tmp_path)})
    assert (done.status, done.error["code"]) == (8, "runtime_missing")
    assert "delegate-runner[ci]" in done.error["hint"] and not (repo.root / "s.md").exists()


def test_a_secret_that_a_check_prints_is_in_no_form(repo: Repo) -> None:
    word = "tK9-long-secret-word-42"
    repo.task(
        'verify = [["sh", "-c", "cat ../home/word; exit 1"]]',
        more='[runtimes.codex]\nenv = ["SERVICE_WORD"]\n',
    )
    repo.note("word").write_text(word)
    repo.quick_codex(f"it is {word}")
    done = repo.cli("start", "work", "--wait", "--json", env={"SERVICE_WORD": word})
    run = done.json()["run_id"]
    words = (
        "--summary",
        "s.md",
        "--junit",
        "j.xml",
        "--code-quality",
        "q.json",
        "--outputs",
        "o",
        "--annotations",
    )
    told = repo.cli("ci", "report", run, *words)
    assert told.status == 6 and word not in told.stdout + told.stderr
    written = "".join((repo.root / name).read_text() for name in ("s.md", "j.xml", "q.json", "o"))
    assert word not in written and "[redacted" in written.lower()
