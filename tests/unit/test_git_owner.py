"""Who alone may write git: what a person has said in the ledger, else the setting."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.values import a_config, a_task, an_invocation, program

from runner.errors import RunnerError
from runner.git_change import GIT_OWNERS, GitPolicy, owning_task
from runner.invocation import Request
from runner.ledger.entry import EntryType
from runner.ledger.file import Ledger
from runner.model import Level, Sandbox
from runner.resolve.choose import choose
from runner.resolve.invocation import Found, invocation
from runner.usecases import git_owner
from runner.usecases.ledger import Author, append, set_coordinator
from runner.verify.inspect import allowed_by

WILD = Sandbox("wild", Level.DANGER, allow_danger=True)
HUMAN = Author("human")


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "repo").mkdir()
    return Ledger(str(tmp_path / "repo"), "hello")


def told(ledger: Ledger, owner: str | None, level: str = "wild", shares: str | None = None) -> Found:
    tasks, policy = (a_task(sandbox=level), a_task(id="other")), GitPolicy(owner)
    config = a_config(*tasks, root=ledger.repo, git=policy, sandboxes={"wild": WILD})
    choice = choose(config, Request("hello", allow_danger=True, ledger=shares))
    return git_owner.told(choice, Found("r", ledger.repo, program(), "x"), None, {})


def owned(ledger: Ledger, owner: str | None, **options: str) -> tuple[str | None, bool]:
    found = told(ledger, owner, **options)
    return found.git_owner, found.git_in_reach


def test_where_nobody_is_named_nothing_is_compared(ledger: Ledger) -> None:
    assert owned(ledger, None)[0] is None
    append(ledger, HUMAN, EntryType.NOTE, {"text": "x"})
    assert owned(ledger, None)[0] is None
    assert not an_invocation(git_owner=None, git_in_reach=True).reaches_git_of_others


def test_only_a_run_that_is_not_the_owner_and_may_write_is_in_reach(ledger: Ledger) -> None:
    assert owned(ledger, "human") == ("human", True)
    assert owned(ledger, "hello") == ("hello", True)
    owner = an_invocation(task_id="hello", git_owner="hello", git_in_reach=True)
    assert not owner.reaches_git_of_others and owner.replace(task_id="other").reaches_git_of_others
    assert owned(ledger, "human", level="read-only") == ("human", False)


@pytest.mark.parametrize("name", GIT_OWNERS)
def test_a_task_that_is_called_as_one_who_is_no_task_does_not_own_git(name: str) -> None:
    assert owning_task(name) is None and owning_task("build") == "build"
    other = allowed_by(an_invocation(task_id=name, git_owner=name, git_in_reach=True))
    assert (other.git_owner, other.git_in_reach) == (name, True)


def test_what_a_person_says_in_the_ledger_that_the_run_shares_stands_above_the_setting(
    ledger: Ledger,
) -> None:
    append(ledger, HUMAN, EntryType.NOTE, {"text": "x"})
    set_coordinator(ledger, HUMAN, "other")
    assert owned(ledger, None) == ("other", True)
    assert owned(ledger, "human") == ("other", True)
    assert owned(ledger, "human", shares="other") == ("human", True), "that ledger says nothing"
    set_coordinator(ledger, HUMAN, "hello")
    assert owned(ledger, "human") == ("hello", True)


def test_a_head_of_before_and_a_broken_one_hide_nothing(ledger: Ledger) -> None:
    append(ledger, HUMAN, EntryType.NOTE, {"text": "x"})
    head = Path(os.path.dirname(ledger.path), ".ledger.head")
    before = head.read_bytes()
    set_coordinator(ledger, HUMAN, "other")
    for text in (before, b"", b"{}", b"x\n[]", b"x\n{}"):
        head.write_bytes(text)
        assert owned(ledger, "human") == ("other", True)
    head.unlink()
    assert owned(ledger, "human") == ("other", True)


def appended(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x\n")


def rewritten(path: Path) -> None:
    path.write_text(path.read_text().replace("other", "hello"))


def foreign(path: Path) -> None:
    path.write_text(re.sub('"mac":"[0-9a-f]{64}"', f'"mac":"{"0" * 64}"', path.read_text()))


def led_away(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/null")


def opened(path: Path) -> None:
    path.chmod(0o666)


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "appended": (appended, "ledger_broken"),
    "rewritten": (rewritten, "ledger_broken"),
    "removed": (Path.unlink, "ledger_broken"),
    "cut": (lambda path: path.write_bytes(b""), "ledger_broken"),
    "of another account": (foreign, "foreign_ledger"),
    "open to others": (opened, "foreign_ledger"),
    "a link": (led_away, "unwritable"),
}


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("owner", [None, "human"])
def test_while_a_ledger_of_ours_is_not_believed_no_run_of_it_starts(
    ledger: Ledger, owner: str | None, how: str
) -> None:
    set_coordinator(ledger, HUMAN, "other")
    damage, code = BREAKS[how]
    damage(Path(ledger.path))
    with pytest.raises(RunnerError, match="who may write git is not known: ") as refused:
        owned(ledger, owner)
    assert refused.value.code == code and "TASK" not in (refused.value.hint or "TASK")


def test_a_broken_end_behind_entries_of_ours_is_ours_without_its_head(ledger: Ledger) -> None:
    set_coordinator(ledger, HUMAN, "other")
    appended(Path(ledger.path))
    Path(os.path.dirname(ledger.path), ".ledger.head").unlink()
    with pytest.raises(RunnerError, match="who may write git is not known"):
        owned(ledger, None)


@pytest.mark.parametrize("damage", [foreign, led_away, lambda path: path.write_bytes(b"x\n")])
def test_a_ledger_that_came_from_elsewhere_names_nobody(
    ledger: Ledger, damage: Callable[[Path], object]
) -> None:
    set_coordinator(ledger, HUMAN, "other")
    damage(Path(ledger.path))
    head = Path(os.path.dirname(ledger.path), ".ledger.head")
    for text in (b"", b"x\n{}", None):
        head.unlink() if text is None else head.write_bytes(text)
        assert owned(ledger, "human") == ("human", True)
        assert owned(ledger, None)[0] is None


def test_after_a_broken_one_was_set_aside_the_setting_counts(ledger: Ledger) -> None:
    set_coordinator(ledger, HUMAN, "other")
    appended(Path(ledger.path))
    ledger.set_aside("human")
    assert owned(ledger, "human") == ("human", True)


@pytest.mark.parametrize("is_being_written", [False, True])
def test_a_start_does_not_pay_for_a_ledger_that_names_nobody(
    ledger: Ledger, *, is_being_written: bool
) -> None:
    append(ledger, HUMAN, EntryType.NOTE, {"text": "x"})
    if is_being_written:
        head = Path(os.path.dirname(ledger.path), ".ledger.head")
        before = head.read_bytes()
        append(ledger, HUMAN, EntryType.NOTE, {"text": '"type":"coordinator_changed"'})
        head.write_bytes(before)
    words = (
        "import sys\nfrom runner.usecases import git_owner\n"
        f"assert git_owner._names_nobody({os.path.dirname(ledger.path)!r})\n"
        "print([name for name in sys.modules if name.startswith('runner.ledger')])"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def prompt(ledger: Ledger, owner: str | None, level: str = "wild") -> str:
    tasks, policy = (a_task(sandbox=level), a_task(id="other")), GitPolicy(owner)
    config = a_config(*tasks, root=ledger.repo, git=policy, sandboxes={"wild": WILD})
    choice = choose(config, Request("hello", allow_danger=True))
    return invocation(choice, told(ledger, owner, level)).prompt


@pytest.mark.parametrize(
    ("owner", "words"),
    [("human", "Only a person writes git"), ("other", "Only the task `other` writes git")],
)
def test_a_run_that_may_write_is_told_who_alone_writes_git(ledger: Ledger, owner: str, words: str) -> None:
    assert words in prompt(ledger, owner)
    assert prompt(ledger, owner, level="read-only") == "x"


@pytest.mark.parametrize("owner", [None, "hello"])
def test_the_owner_of_git_and_a_run_without_one_are_told_nothing(ledger: Ledger, owner: str | None) -> None:
    assert prompt(ledger, owner) == "x"


def test_the_owner_in_force_is_told_with_what_says_so(ledger: Ledger) -> None:
    file, env = Path(ledger.repo, "delegate.toml"), {"HOME": os.path.dirname(ledger.repo)}
    assert git_owner.in_force(ledger, env) == {"owner": None, "from": None}, "no settings can be read"
    file.write_text('schema_version = 1\n[git]\nowner = "human"\n[tasks.hello]\nprompt = "p"\n')
    assert git_owner.in_force(ledger, env) == {"owner": "human", "from": "settings"}
    set_coordinator(ledger, HUMAN, "hello")
    assert git_owner.in_force(ledger, env) == {"owner": "hello", "from": "ledger"}
