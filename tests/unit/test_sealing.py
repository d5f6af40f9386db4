"""The seal of a run: it says what it has done, and never more."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.ended import an_ended_run

from runner.conduct.verify_together import Verifying, verify
from runner.disk.files import Draft
from runner.redact.redactor import Redactor
from runner.state import fingerprints
from runner.state.events import EventLog
from runner.state.fingerprints import Known
from runner.state.store import RunDir
from runner.supervise.sealing import Cleaner, known_by

VALUE = "Zx9QQwZe7r" + "T5yU3iO1pA"


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def sealed(run: RunDir, *missing: str) -> bool:
    return Cleaner(Known((VALUE,), missing)).seal(run, EventLog(run.events))


def kinds(run: RunDir) -> list[str]:
    return [json.loads(line)["type"] for line in Path(run.events).read_text().splitlines()]


def test_a_file_that_cannot_be_written_is_marked_and_done_when_it_can(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    Path(run.stdout).write_text(f"{VALUE}\n")
    Path(run.stderr).write_text(f"{VALUE}\n{'x' * 200_000}")
    with no_file_larger_than(100_000):
        assert sealed(run)
    assert kinds(run) == ["seal_failed", "seal_incomplete"]
    assert Path(run.unsealed).read_text() == "stderr.log\n"
    assert VALUE not in Path(run.stdout).read_text() and VALUE in Path(run.stderr).read_text()
    assert sealed(run)
    assert kinds(run)[2:] == ["sealed"] and not os.path.exists(run.unsealed)
    assert VALUE not in Path(run.stderr).read_text()


def test_a_file_that_is_made_larger_than_can_be_read_holds_no_seal_up(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    for path, written, size in ((run.stdout, 20 << 20, 17 << 30), (run.stderr, 0, 1 << 40)):
        Path(path).write_bytes(b"x" * written)
        os.truncate(path, size)
    Path(run.last_message).write_text(VALUE)
    assert sealed(run)
    assert kinds(run) == ["seal_failed", "seal_failed", "seal_incomplete"]
    assert VALUE not in Path(run.last_message).read_text()


def test_a_value_is_looked_for_in_a_line_without_end_and_behind_the_end_of_a_piece(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    fingerprints.note(run, {"A": VALUE})
    Path(run.stdout).write_bytes(b"\0" * ((1 << 20) - 10) + VALUE.encode() + b"\n")
    os.truncate(run.stdout, 40 << 20)
    assert known_by(run, ("A",)).missing == ()


def test_what_a_killed_owner_was_writing_is_removed(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    drafts = []
    os.makedirs(run.turns)
    for name in ("stdout.jsonl", "manifest.json", "x" * 60, "turns/turn-1.json"):
        draft = Draft(f"{run.path}/{name}")
        draft.write(VALUE.encode())
        drafts.append(draft)
    Path(run.path, ".hidden").touch()
    before = {*os.listdir(run.path)}
    assert sealed(run)
    gone = before - {*os.listdir(run.path)}
    assert len(gone) == 3 and all(name.startswith(".") and name.endswith(".tmp") for name in gone)
    assert os.listdir(run.turns) == []
    for draft in drafts:
        draft.close()


def test_a_mark_that_cannot_be_made_leaves_the_seal_to_be_done_again(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    os.mkdir(run.unsealed)
    assert not sealed(run, "SERVICE_WORD")
    assert kinds(run) == ["seal_incomplete"]


def test_without_a_value_what_others_wrote_is_withheld_and_our_own_words_stay() -> None:
    cleaner = Cleaner(Known((), ("SERVICE_WORD",)))
    told = {
        "code": "cli_failure",
        "message": "it said x",
        "detail": "x",
        "status": "completed",
        "checks": [{"argv": ["pytest"], "tail": "x", "exit_code": 1}],
        "claim": {"summary": "x", "issues": ["x", "y"], "files_modified": ["a.txt"]},
        "findings": [{"severity": "minor", "title": "x"}],
    }
    assert cleaner.record(told) == {
        "code": "cli_failure",
        "message": "[withheld]",
        "detail": "[withheld]",
        "status": "completed",
        "checks": [{"argv": ["pytest"], "tail": "[withheld]", "exit_code": 1}],
        "claim": {"summary": "[withheld]", "issues": ["[withheld]"] * 2, "files_modified": ["a.txt"]},
        "findings": [{"severity": "minor", "title": "[withheld]"}],
    }
    assert Cleaner(Known((VALUE,), ())).record({"tail": f"a {VALUE}"}) == {"tail": "a [redacted]"}


def test_names_of_files_stay_exact_and_a_secret_that_one_shows_goes() -> None:
    cleaner = Cleaner(Known((VALUE,), ()))
    names = ["src/vis\u200bible.py", "\x1b[31mansi", "caf\udce9", "line\nbreak"]
    told = {
        "observed": {"changed": names, "gone": names, "lines": [1, 2]},
        "claim": {"files_modified": names},
    }
    assert cleaner.record(told) == told
    split = f"{VALUE[:9]}\x1b[0m{VALUE[9:]}"
    assert cleaner.record({"changed": [VALUE, split]}) == {"changed": ["[redacted]"] * 2}
    assert cleaner.record({"message": names[0]}) == {"message": "src/visible.py"}


def test_a_file_whose_name_ends_a_value_keeps_it_and_one_with_a_value_in_it_does_not() -> None:
    cleaner = Cleaner(Known(("/home/ci/project/deploy/kube.yaml", VALUE), ()))
    names = ["deploy/kube.yaml", "kube.yaml", f"a/{VALUE}.txt", "a/\u200bkube.yaml"]
    told = cleaner.record({"changed": names, "file": "deploy/kube.yaml", "evidence": ["deploy/kube.yaml"]})
    assert told["changed"] == [*names[:2], "a/[redacted].txt", names[3]] and told["file"] == names[0]
    assert told["evidence"] == ["[redacted]"], "of another text nobody knows whether it was cut"


def test_what_others_have_a_part_in_is_withheld_of_an_event_and_our_own_words_are_not() -> None:
    def event(kind: str, missing: tuple[str, ...] = (), **fields: object) -> dict[str, object]:
        return Cleaner(Known((VALUE,), missing)).event(kind, fields)

    assert event("limit", message=f"`cat {VALUE}`", n=3) == {"message": "`cat [redacted]`", "n": 3}
    assert event("limit", ("WORD",), message="`cat x`") == {"message": "[withheld]"}
    assert event("not_retried", ("WORD",), message="no WORD") == {"message": "no WORD"}
    ours = {"code": "lost", "message": "nobody saw it"}
    assert event("ended", ("WORD",), reason=ours) == {"reason": ours}


def test_what_is_said_of_a_gate_that_failed_has_no_secret_of_its_command(tmp_path: Path) -> None:
    command = Verifying(("false", VALUE), None, ("PATH",), 60.0)
    env = {"PATH": os.environ["PATH"]}
    told = verify(an_ended_run(tmp_path), str(tmp_path), [command], env, Redactor([VALUE]), "gate-tests")
    assert told == "`false [redacted]` exited with 1"
