"""`runner ledger` for people: whose turn it is, what was said, and who only tells that something passed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.hostile import HOSTILE, harm

from runner.cli import pen
from runner.cli.app import main
from runner.cli.ledger_text import Conversation, summary
from runner.ledger.entry import EntryType, NewEntry
from runner.ledger.file import Ledger
from runner.text.cells import cells
from runner.usecases import ledger as ledgers

RUN_ID = "20261127T104500Z-00005c16"


def short(run_id: str) -> str:
    return run_id[-4:]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.delenv("COLUMNS", raising=False)
    (tmp_path / ".git").mkdir()
    (tmp_path / "delegate.toml").write_text('schema_version = 1\n[tasks.work]\nprompt = "x"\n')
    monkeypatch.chdir(tmp_path)
    return Ledger(str(tmp_path), "work")


def put(ledger: Ledger, of: EntryType, actor: str = "human", to: str | None = None, **payload: object) -> str:
    run = RUN_ID if actor not in ("human", "owner") else None
    key = f"{RUN_ID}:tests" if actor == "runner" else None
    return ledger.append(NewEntry(of, actor, payload, to, (), run, key=key), str).id


def handed(ledger: Ledger, to: str = "implement", actor: str = "human", **more: str) -> str:
    return put(ledger, EntryType.HANDOFF, actor, to, **{"reason": "it fits", "ask": "do it", **more})


def told(ledger: Ledger) -> str:
    return summary(ledgers.shown(ledger), short)


def said(ledger: Ledger, *, whole: bool = False) -> list[str]:
    shown = ledgers.shown(ledger)
    talk = Conversation(short, [one["id"] for one in shown["open_handoffs"]], whole=whole)
    return [pen.cleaned(talk.text(entry)) for entry in shown["entries"]]


def answer(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(words)
    return int(status), *capfd.readouterr()


def report(ledger: Ledger, actor: str, status: str = "passed") -> None:
    made = {"kind": "test_report", "title": "make test", "summary": "all green", "status": status}
    put(ledger, EntryType.ARTIFACT, actor, **made)


# -- whose turn it is ----------------------------------------------------------------------------------


def test_the_lanes_come_first_with_what_is_asked_and_of_whom(ledger: Ledger) -> None:
    handed(ledger, context_refs=["src/a.py", "src/b.py:3"])  # type: ignore[arg-type]
    handed(ledger, "review", lane="docs")
    lines = told(ledger).splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["ledger", "next", "lane", "reason"]
    assert lines[1].split() == ["next", "review"]
    assert lines[2].split()[:6] == ["lane", "docs", "open,", "next", "review:", "e-0002"]
    assert "main open, next implement: e-0001 of human" in told(ledger)
    assert "  refs    src/a.py\n          src/b.py:3" in told(ledger)


def test_a_proposal_is_shown_with_the_command_that_signs_exactly_it(ledger: Ledger) -> None:
    put(ledger, EntryType.FINALITY_PROPOSED, "review", summary="done", evidence="e-0001")
    assert "e-0001 of review 5c16 waits for your signature\n" in told(ledger)
    assert "runner ledger sign work --proposal e-0001" in told(ledger)
    assert told(ledger).splitlines()[1].split() == ["next", "human"]


def test_of_a_handoff_that_stands_above_the_conversation_has_one_line(ledger: Ledger) -> None:
    handed(ledger)
    (line,) = said(ledger)
    assert line.splitlines()[-1].endswith("e-0001 handoff  human to implement, lane main (above)")
    put(ledger, EntryType.REPLY, "implement", text="done")
    assert "reason it fits" in said(ledger)[0]


# -- who says it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actor", "words"),
    [("work", "work 5c16 reports test_report: passed"), ("human", "human reports test_report: passed")],
)
def test_what_somebody_tells_is_never_shown_as_seen(ledger: Ledger, actor: str, words: str) -> None:
    report(ledger, actor)
    (shown,) = said(ledger)
    assert words in shown and "saw" not in shown


def test_a_suggestion_without_a_status_is_told_in_words(ledger: Ledger) -> None:
    payload = {"kind": "escalation_suggestion", "title": "3 findings", "summary": "s", "status": "unknown"}
    ledger.append(NewEntry(EntryType.ARTIFACT, "work", payload, run_id=RUN_ID), str)
    assert "work 5c16 reports an escalation suggestion\n" in said(ledger)[0]


def test_only_what_runner_saw_is_shown_as_seen(ledger: Ledger) -> None:
    report(ledger, "runner", "failed")
    assert "runner saw test_report of run 5c16: failed" in said(ledger)[0]


def test_what_a_run_of_a_task_called_runner_reports_is_not_shown_as_seen(ledger: Ledger) -> None:
    made = {"kind": "test_report", "title": "make test", "summary": "all green", "status": "passed"}
    for key in (None, f"{RUN_ID}:turn-1"):
        ledger.append(NewEntry(EntryType.ARTIFACT, "runner", made, run_id=RUN_ID, key=key), str)
    for shown in said(ledger):
        assert "saw" not in shown and "runner 5c16" in shown


def test_a_told_verdict_has_no_colour(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    report(ledger, "work")
    report(ledger, "runner")
    by_agent, by_runner = said(ledger)
    assert "\x1b[32m" not in by_agent and "\x1b[32m" in by_runner


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_no_line_of_a_text_reaches_the_margin_or_is_too_wide(
    ledger: Ledger, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    forged = "ok\n2026-11-27 UTC\n10:00:00  e-0099 signed   root (human): e-0098\n" + "word " * 60 + "x" * 300
    put(ledger, EntryType.NOTE, "work", text=forged)
    handed(ledger, "work", ask=forged)
    rows = [row for text in (*said(ledger), pen.cleaned(told(ledger))) for row in text.splitlines()]
    assert max(map(cells, rows)) <= columns
    assert not [row for row in rows if row.startswith(("10:00:00", "word", "xxx"))]
    assert sum(row.startswith("2026-") for row in rows) == 1  # our own


def test_nothing_in_a_text_moves_the_terminal(ledger: Ledger) -> None:
    put(ledger, EntryType.NOTE, "work", text=HOSTILE)
    handed(ledger, "work", ask=HOSTILE)
    put(ledger, EntryType.REPLY, "work", text=HOSTILE)
    assert harm("\n".join([*said(ledger), pen.cleaned(told(ledger))])) == []


def test_a_long_text_is_cut_unless_all_was_asked_for(ledger: Ledger) -> None:
    put(ledger, EntryType.NOTE, "human", text="x" * 5000)
    assert "... (3,000 more characters: --all)" in said(ledger)[0]
    assert "x" * 5000 in said(ledger, whole=True)[0]


# -- the verbs, without a run --------------------------------------------------------------------------


def test_a_wrong_letter_begins_no_ledger(ledger: Ledger, capfd: pytest.CaptureFixture[str]) -> None:
    status, out, err = answer(capfd, "ledger", "note", "wrk", "x")
    assert (status, out) == (4, "") and "perhaps you meant `work`" in err
    assert answer(capfd, "ledger", "note", "other", "x")[0] == 4
    assert not (Path(ledger.repo) / ".runs").exists()
    assert answer(capfd, "ledger", "note", "other", "x", "--new")[0] == 0


def test_of_a_task_without_entries_nothing_is_made_up(
    ledger: Ledger, capfd: pytest.CaptureFixture[str]
) -> None:
    status, out, err = answer(capfd, "ledger", "show", "work")
    assert status == 0 and "0 entries" in out and "next" not in out
    assert "runner ledger note work TEXT" in err
    assert answer(capfd, "ledger", "verify", "work")[0] == 0
    assert not ledger.exists


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (("note", "work", ""), 2, "entry_invalid"),
        (("note", "work", "\x1b[2J"), 2, "entry_invalid"),
        (("note", "work", "x" * 70_000), 2, "entry_invalid"),
        (("reply", "work", "x", "--handles", "e-0007"), 2, "handle_not_found"),
        (("handoff", "work", "--to", "wrk", "--reason", "r", "--ask", "a"), 4, "task_not_found"),
        (
            ("handoff", "work", "--to", "work", "--reason", "r", "--ask", "a", "--ref", "../x"),
            2,
            "entry_invalid",
        ),
        (("handoff", "work", "--to", "work", "--reason", "r"), 2, "usage"),
        (("sign", "work"), 9, "no_proposal"),
        (("coordinator", "work", "humn"), 4, "task_not_found"),
        (("show", "work", "--type", "nte"), 2, "usage"),
        (("wait", "work", "--since", "-1"), 2, "usage"),
        (("shw", "work"), 2, "usage"),
        ((), 2, "usage"),
    ],
    ids=lambda one: " ".join(one)[:40] if isinstance(one, tuple) else str(one),
)
def test_what_cannot_be_written_is_refused_with_a_code(
    words: tuple[str, ...], status: int, code: str, ledger: Ledger, capfd: pytest.CaptureFixture[str]
) -> None:
    got, out, _ = answer(capfd, "ledger", *words, "--json")
    assert (got, f'"code": "{code}"' in out) == (status, True), out
    assert ledger.state().seq == 0


def test_a_path_is_meant_as_seen_from_where_one_is(
    ledger: Ledger, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (Path(ledger.repo) / "src").mkdir()
    monkeypatch.chdir(Path(ledger.repo) / "src")
    refs = ("--ref", "a.py:3", "--ref", "../b.py")
    assert (
        answer(capfd, "ledger", "handoff", "work", "--to", "work", "--reason", "r", "--ask", "a", *refs)[0]
        == 0
    )
    assert ledger.entry("e-0001").payload["context_refs"] == ["src/a.py:3", "b.py"]


def test_sign_shows_what_was_signed(ledger: Ledger, capfd: pytest.CaptureFixture[str]) -> None:
    put(ledger, EntryType.FINALITY_PROPOSED, "review", summary="it is done", evidence="make test")
    status, out, _ = answer(capfd, "ledger", "sign", "work", "--proposal", "e-0001")
    assert status == 0 and "e-0001 of review:\n        it is done\n" in out
    assert out.index("it is done") < out.index("e-0002  e-0001 is signed by")
    assert answer(capfd, "ledger", "reject", "work")[0] == 9


def test_a_ledger_that_is_not_believed_is_shown_with_a_warning_and_nothing_derived(
    ledger: Ledger, capfd: pytest.CaptureFixture[str]
) -> None:
    handed(ledger)
    path = Path(ledger.path)
    path.write_bytes(path.read_bytes().replace(b"it fits", b"it hits"))
    status, out, err = answer(capfd, "ledger", "show", "work")
    assert status == 0 and "warning:" in err and "is not believed" in err
    assert "next" not in out and "lane " not in out.partition("handoff")[0]
    status, out, _ = answer(capfd, "ledger", "show", "work", "--json")
    assert '"next_speaker": null' in out and '"entries": []' in out
    status, out, _ = answer(capfd, "ledger", "verify", "work")
    assert status == 9 and "broken at entry 1" in out
    assert answer(capfd, "ledger", "note", "work", "x")[0] == 9
    assert answer(capfd, "ledger", "verify", "work", "--set-aside")[0] == 0
    assert answer(capfd, "ledger", "verify", "work")[0] == 0


def test_a_marker_that_was_not_taken_is_shown_with_what_is_wrong_and_quoted(ledger: Ledger) -> None:
    put(ledger, EntryType.MARKER_ERROR, "runner", message="no such kind", marker="[IMPORTANT] X:\nkind: y")
    assert "run 5c16 wrote a marker that was not taken\n          no such kind\n" in said(ledger)[0]
    assert "          | [IMPORTANT] X:\n          | kind: y" in said(ledger)[0]


def test_work_that_was_opened_again_says_who_had_signed_it(ledger: Ledger) -> None:
    put(ledger, EntryType.FINALITY_PROPOSED, "review", summary="done", evidence="e")
    put(ledger, EntryType.FINALITY_SIGNED, signer="ana")
    assert "e-0001 of review 5c16 is signed, by ana, " in told(ledger)
    handed(ledger)
    assert "e-0001 of review 5c16 is reopened, signed by ana, " in told(ledger)


def test_a_link_in_place_of_a_task_is_no_task(ledger: Ledger, capfd: pytest.CaptureFixture[str]) -> None:
    runs = Path(ledger.repo) / ".runs"
    runs.mkdir(mode=0o700)
    (runs / "linked").symlink_to(ledger.repo)
    assert answer(capfd, "ledger", "note", "linked", "x")[0] == 4
    assert not (Path(ledger.repo) / "ledger.jsonl").exists()


def test_what_a_newer_runner_has_written_is_shown_as_it_stands() -> None:
    entry = {"id": "e-0001", "at": "2026-11-20T10:15:04.438Z", "actor": "build", "run_id": RUN_ID}
    newer = {**entry, "type": "poll", "to": None, "handles": [], "payload": {"question": ["a"], "most": 7}}
    text = pen.cleaned(Conversation(short).text(newer))
    assert "e-0001 poll     build 5c16 (of a newer runner)" in text
    assert "question: ['a']" in text and "most: 7" in text
