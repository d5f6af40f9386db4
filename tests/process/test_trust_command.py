"""`runner trust`, and the gate of a start: a cloned repository does nothing before a person has agreed."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator

import pytest
from support.judged import commit
from support.repo import Repo
from support.terminal import Terminal
from support.trusting import trusting, withdraw_trust
from support.waiting import wait_until

from runner.cli.app import COMMANDS
from runner.state import trust


@pytest.fixture
def clone(repo: Repo) -> Repo:
    """What somebody else wrote: its program, and its check, leave a file in HOME."""
    withdraw_trust(repo.root, repo.env)
    repo.quick_codex(before='touch "$HOME/ran"')
    repo.task('verify = [["sh", "check.sh"]]', more='[runtimes.codex]\ncommand = "tools/codex"')
    (repo.root / "tools").mkdir()
    shutil.copy(repo.bin / "codex", repo.root / "tools/codex")
    text = (repo.root / "tools/codex").read_text(encoding="utf-8").splitlines(keepends=True)
    (repo.root / "tools/codex").write_text(
        f'{text[0]}touch "$HOME/ran"\n{"".join(text[1:])}', encoding="utf-8"
    )
    (repo.root / "check.sh").write_text('touch "$HOME/ran"\n', encoding="utf-8")
    return repo


@pytest.fixture
def open_terminals(clone: Repo) -> Iterator[list[Terminal]]:
    terminals: list[Terminal] = []
    yield terminals
    for one in terminals:
        one.close()


def ran(repo: Repo) -> bool:
    """Whether anything of the repository was executed."""
    return repo.note("ran").exists()


def start(repo: Repo, *words: str, **options: object) -> tuple[int, str]:
    """Exit status and error code of a start that waits."""
    done = repo.cli("start", "--task", "work", "--wait", "--format", "json", *words, **options)
    return done.status, "" if done.status == 0 else done.json().get("error", {}).get("code", "")


# -- without trust ---------------------------------------------------------------------------------


def test_where_nobody_can_be_asked_nothing_is_started_and_the_words_say_why(clone: Repo) -> None:
    refused = clone.cli("start", "--task", "work", stdin="y\n")
    assert refused.status == 5
    for words in (
        "tasks.work.verify sh check.sh",
        "runtimes.codex.command tools/codex",
        "runner trust",
        "--trust",
    ):
        assert words in refused.stderr, refused.stderr
    assert (start(clone), clone.runs(), ran(clone)) == ((5, "not_trusted"), [], False)


def test_what_only_looks_needs_no_trust_and_executes_nothing_of_the_repository(clone: Repo) -> None:
    begins = {"start", "retry", "verify"}  # of which the others here say what they do
    own = {"init", "trust", "consent", "delegate-server"}
    needs_a_run = {
        "status",
        "wait",
        "logs",
        "report",
        "record",
        "diff",
        "diff-runs",
        "accept",
        "discard",
        "pause",
        "resume",
        "cancel",
        "open",
        "send",
        "await",
        "end",
    }
    needs_a_run |= {"answer", "ci"}
    words = {
        "config": ("show",),
        "ledger": ("show", "work"),
        "audit": ("show",),
        "mode": ("show",),
        "plugin": ("print",),
        "pipeline": ("list",),
        "policy": ("diff", "HEAD"),
        "resolve": ("work",),
        "schema": ("policy",),
        "completion": ("bash",),
    }
    clone.git("add", "-A")
    clone.git("commit", "-q", "-m", "what came")
    expected = {"doctor": (0, 8), "lock": (5,), "plan": (2,), "watch": (2,), "approve": (2,)}
    for verb in COMMANDS.keys() - begins - own - needs_a_run:
        done = clone.cli(verb, *words.get(verb, ("plan.toml",) if verb == "plan" else ()))
        assert done.status in expected.get(verb, (0,)), (verb, done)
    assert "codex unknown: not trusted" in clone.cli("resolve", "work").stdout
    assert not ran(clone)


def test_doctor_says_that_nobody_trusts_the_program_and_does_not_start_it(clone: Repo) -> None:
    checks = {one["name"]: one for one in clone.cli("doctor", "--format", "json").json()["checks"]}
    assert (checks["trust"]["verdict"], checks["codex.binary"]["verdict"]) == ("warn", "unknown")
    assert not ran(clone)


# -- giving it -------------------------------------------------------------------------------------


def test_a_person_is_asked_once_with_words_and_a_no_starts_nothing(
    clone: Repo, open_terminals: list[Terminal]
) -> None:
    open_terminals.append(Terminal(clone, "start", "work", "--wait"))
    open_terminals[-1].asks()
    for words in ("outside of a sandbox", "sh check.sh", "tools/codex"):
        assert words in open_terminals[-1].text
    assert open_terminals[-1].type(b"n\n") == 5
    assert not ran(clone) and clone.no_runs()
    open_terminals.append(Terminal(clone, "start", "work", "--wait"))
    open_terminals[-1].asks()
    assert open_terminals[-1].type(b"y\n", within=60) == 0
    assert ran(clone)
    assert start(clone) == (0, "")


def test_what_many_tasks_say_alike_is_shown_once_and_no_value_is_cut(clone: Repo) -> None:
    tasks = "".join(f'[tasks.t{n}]\nprompt = "x"\nverify = [["make"]]\n' for n in range(50))
    long = " " * 5000
    clone.config(
        f'{tasks}[runtimes.codex.config]\nnotify = ["sh", "-c", "true{long}; rm -r x"]\na = "\u200b"\n'
        f'[tasks.long]\nprompt = "x"\nverify = [["true", "{long}"], ["rm", "y"]]\n'
        f'[runtimes.codex.config.mcp_servers.{"k" * 3000}]\ncommand = "last"\n'
        f'[sandboxes.s]\nlevel = "workspace-write"\nwritable = ["/{"x" * 3000}", "/home/z"]\n'
    )
    shown = clone.cli("trust", "--show").stdout
    assert "tasks.t0.verify and 49 more" in shown and shown.count("make") == 1
    for hidden in ("; rm -r x", "; rm y", "/home/z", ".command  last", "characters: `runner trust --show"):
        assert hidden in shown, hidden
    assert "\\u200b" in shown and "\u200b" not in shown


def test_an_option_agrees_and_only_the_difference_is_told_later(clone: Repo) -> None:
    assert start(clone, "--trust") == (0, "")
    assert start(clone) == (0, "")
    (clone.root / "check.sh").write_text("true\n", encoding="utf-8")
    refused = clone.cli("start", "--task", "work", "--format", "json").error
    assert refused["code"] == "not_trusted"
    (line,) = refused["problems"]
    assert line.startswith("changed: content of check.sh")
    assert start(clone, "--trust") == (0, "")


def test_a_retry_needs_it_too(clone: Repo) -> None:
    assert start(clone, "--trust") == (0, "")
    clone.task('verify = [["true"]]')
    refused = clone.cli("retry", "@latest", "--message", "Again.", "--format", "json")
    assert (refused.status, refused.error["code"]) == (5, "not_trusted")
    assert clone.cli("retry", "@latest", "--message", "Again.", "--trust", "--wait").status == 0


def test_a_child_run_needs_it_too_and_no_agent_can_give_it(clone: Repo) -> None:
    assert start(clone, "--trust") == (0, "")
    parent = clone.runs()[0]
    inside = {"RUNNER_RUN_ID": parent.id, "RUNNER_MANIFEST": str(parent.folder / "manifest.json")}
    clone.task('verify = [["touch", "x"]]')
    begin = ("start", "--task", "work")
    for words in (begin, (*begin, "--trust"), ("trust", "--yes"), ("trust", "--folder", "--yes")):
        done = clone.cli(*words, "--format", "json", env=inside)
        assert done.status == 5, (words, done)
    assert trust.given(str(clone.root), clone.env) is None


@pytest.mark.parametrize("more", [(), ("--force-delegate", "--yes")], ids=["", "forced"])
def test_a_plan_needs_it_before_its_consent(more: tuple[str, ...], clone: Repo) -> None:
    (clone.root / "plan.toml").write_text(
        'schema_version = 1\n[[units]]\nid = "U1"\ngoal = "Do it."\ntests = ["x"]\nverify = [["true"]]\n',
        encoding="utf-8",
    )
    words = ("start", "--plan", "plan.toml", "--task", "work", "--format", "json", *more)
    shown = clone.cli(*words[:5], "--dry-run", "--format", "json")
    assert shown.status == 0 and not ran(clone), shown
    refused = clone.cli(*words, "--force-delegate")
    assert (refused.status, refused.error["code"]) == (5, "not_trusted"), refused
    assert clone.cli(*words, "--force-delegate", "--trust").error["code"] == "consent_missing"
    assert clone.no_runs()


def test_a_digest_is_trust_in_exactly_that(clone: Repo) -> None:
    shown = clone.json("trust", "--show")
    assert (shown["trusted"], shown["digest"]) == (False, trusting(clone.root)["RUNNER_TRUST"])
    assert start(clone, env={"RUNNER_TRUST": "sha256:0"}) == (5, "not_trusted")
    assert start(clone, env={"RUNNER_TRUST": shown["digest"]}) == (0, "")
    assert start(clone) == (5, "not_trusted")  # the variable stores nothing
    assert clone.cli("trust", "--digest", "sha256:0").status == 5
    assert clone.cli("trust", "--digest", shown["digest"]).status == 0
    assert start(clone) == (0, "")


def test_a_folder_is_trusted_whatever_it_comes_to_say_until_a_run_changes_it(clone: Repo) -> None:
    assert clone.cli("trust", "--folder", "--yes").status == 0
    clone.task('verify = [["true"]]')
    assert start(clone) == (0, "")
    assert trust.changed_by_run(str(clone.root), clone.env, "some-run", ("delegate.toml",))
    refused = clone.cli("start", "--task", "work", "--format", "json").error
    assert refused["problems"][0] == "run some-run changed delegate.toml"
    assert clone.cli("trust", "--yes").status == 0
    assert start(clone) == (0, "")


@pytest.mark.parametrize("supervisor", ["works", "was killed"])
def test_a_trusted_folder_is_asked_about_while_a_run_that_is_not_judged_has_changed_it(
    repo: Repo, supervisor: str
) -> None:
    """An agent has written settings, and no end has told yet that it did."""
    writes = """printf '[tasks.work]\\nverify = [["touch", "%s/ran"]]\\n' "$HOME" > delegate.local.toml"""
    repo.waiting_codex(before=writes)
    repo.task()
    run = repo.start("--sandbox", "workspace-write")
    wait_until(repo.note("begun").exists)
    if supervisor == "was killed":
        os.kill(run.status()["supervisor"]["pid"], signal.SIGKILL)
    refused = repo.cli("start", "--task", "work", "--format", "json").error
    assert refused["code"] == "not_trusted"
    assert refused["problems"][0] == f"run {run.id} changed delegate.local.toml"
    assert not ran(repo)
    (repo.root / "delegate.local.toml").unlink()
    repo.open_gate()
    assert start(repo) == (0, "")
    repo.end_all()


@pytest.mark.parametrize("how", ["in the tree", "under a folder", "not judged", "installed"])
def test_a_missing_script_that_a_run_brings_is_asked_about_before_it_counts(repo: Repo, how: str) -> None:
    """Not what an installation brings: git does not see it."""
    script = "node_modules/.bin/check" if how == "installed" else "ci/check.sh"
    (repo.root / ".gitignore").write_text(".runs/\nnode_modules/\n", encoding="utf-8")
    brings = f"mkdir -p {script.rpartition('/')[0]}; echo true > {script}"
    repo.waiting_codex(before=brings) if how == "not judged" else repo.quick_codex(before=brings)
    repo.task(f'verify = [["timeout", "9", "sh", "{script}"]]')
    commit(repo)
    if how != "under a folder":
        withdraw_trust(repo.root, repo.env)
        repo.json("trust", "--yes")
    run = repo.start("--sandbox", "workspace-write")
    if how == "not judged":
        wait_until(repo.note("begun").exists)
    else:
        assert run.wait()["status"] == "succeeded"
    told = repo.cli("start", "--task", "work", "--wait", "--format", "json")
    if how == "installed":
        assert told.status == 0
    else:
        assert told.error["problems"][0] == f"run {run.id} changed ci/check.sh"
        repo.open_gate()
        run.wait()  # its end says it once more
        repo.json("trust", "--yes")
        assert repo.cli("start", "--task", "work", "--format", "json").status == 0
    repo.end_all()


def test_trust_that_is_taken_back_is_asked_for_again(clone: Repo) -> None:
    clone.json("trust", "--yes")
    settings = (clone.root / "delegate.toml").read_text(encoding="utf-8")
    clone.config("wrong = 1\n")
    assert clone.cli("trust", "--withdraw").stdout == "withdrawn\n"
    (clone.root / "delegate.toml").write_text(settings, encoding="utf-8")
    assert start(clone) == (5, "not_trusted")
    assert clone.cli("trust", "--withdraw").stdout == "there was none\n"


def test_a_repository_that_was_moved_is_asked_about_again(clone: Repo) -> None:
    clone.json("trust", "--yes")
    moved = clone.root.with_name("moved")
    clone.root.rename(moved)
    done = clone.cli("start", "--task", "work", "--format", "json", cwd=moved)
    assert done.error["code"] == "not_trusted"


def test_trust_that_cannot_be_kept_is_an_error_and_nothing_is_started(clone: Repo) -> None:
    (clone.base / "file").touch()
    env = {"HOME": str(clone.base / "file")}
    done = clone.cli("start", "--task", "work", "--trust", "--format", "json", env=env)
    assert (done.status, done.error["code"], clone.no_runs()) == (9, "unwritable", True)
    assert start(clone, env={**env, **trusting(clone.root)})[1] != "not_trusted"


# -- the first two minutes -------------------------------------------------------------------------


def test_what_init_wrote_is_trusted_and_starts_without_a_question(repo: Repo) -> None:
    withdraw_trust(repo.root, repo.env)
    repo.quick_codex()
    assert repo.cli("init").status == 0
    shown = repo.json("trust", "--show")
    assert (shown["trusted"], shown["by"]) == (True, "digest")
    assert repo.cli("start", "--task", "improve", "--prompt", "x", "--wait").status == 0


def test_a_check_that_init_found_is_not_trusted_and_a_rehearsal_of_hello_needs_none(repo: Repo) -> None:
    withdraw_trust(repo.root, repo.env)
    repo.quick_codex()
    (repo.root / "Makefile").write_text("test:\n\ttouch ran\n", encoding="utf-8")
    done = repo.cli("init")
    assert "tests   make test (Makefile)\n" in done.stderr and "runner trust" in done.stderr
    assert not repo.json("trust", "--show")["trusted"]
    refused = repo.cli("start", "--task", "improve", "--prompt", "x", "--format", "json")
    assert (refused.status, refused.error["code"]) == (5, "not_trusted")
    assert repo.cli("start", "--task", "hello", "--rehearse", "--wait").status == 0
    assert repo.cli("retry", "@latest", "--message", "again", "--wait").status == 0
    assert not (repo.root / "ran").exists()


def test_what_init_wrote_is_not_trusted_together_with_what_lay_there_before(repo: Repo) -> None:
    withdraw_trust(repo.root, repo.env)
    (repo.root / "delegate.local.toml").write_text(
        '[defaults]\nverify = [["touch", "x"]]\n', encoding="utf-8"
    )
    assert repo.cli("init").status == 0
    assert not repo.json("trust", "--show")["trusted"]


def test_what_is_asked_for_shows_what_cannot_be_seen(clone: Repo) -> None:
    """Else two programs look like one, and a value like a row of its own."""
    clone.task(
        'verify = [["./che\\u200bck", "a\\n  other:\\n    nothing"]]',
        more='[runtimes.codex.config]\n"x\\u2028    y" = "z\\u202e"',
    )
    shown = clone.cli("trust", "--show").stdout
    assert "./che\\u200bck" in shown
    assert "x\\u2028" in shown and "z\\u202e" in shown
    refused = clone.cli("start", "--task", "work")  # says the same where nobody can be asked
    assert refused.status == 5 and "./che\\u200bck" in refused.stderr
    for said in (shown, refused.stderr):
        assert not any(line.strip() in ("nothing'", "nothing", "y") for line in said.splitlines())


def test_a_change_of_settings_that_was_rolled_back_is_not_asked_about(clone: Repo) -> None:
    clone.quick_codex(before="echo '# mine' >> delegate.toml")
    clone.config(
        '[tasks.work]\nprompt = "p"\nsandbox = "workspace-write"\nverify = [["false"]]\n'
        'on_failure = "rollback"\n'
    )
    clone.json("trust", "--yes")
    assert start(clone)[0] == 6
    assert "# mine" not in (clone.root / "delegate.toml").read_text(encoding="utf-8")
    assert "delegate.toml" in clone.cli("report", "@latest").stdout  # it is told all the same
    assert start(clone)[0] == 6
