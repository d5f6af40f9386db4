"""`runner ledger`, in processes of their own: who speaks, who may not, waiting, and a broken chain."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from support.pages import example_files
from support.repo import RUNNER, Repo
from support.terminal import Terminal
from support.waiting import wait_until


def entries(repo: Repo, task: str = "work") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = repo.cli("ledger", "show", task, "--all", "--json").json()["entries"]
    return [one for one in found if one["actor"] != "runner"]


def slept(pid: int) -> int:
    """How often the process has waited for something so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def handed(repo: Repo, to: str, *more: str) -> int:
    words = ("--to", to, "--reason", "it fits", "--ask", "do it", *more)
    return repo.cli("ledger", "handoff", "work", *words).status


PAGE = Path(__file__).parents[2] / "docs/ledger.md"


def test_the_commands_of_the_page_work_as_printed_in_a_fresh_repository(repo: Repo) -> None:
    for name, text in example_files(PAGE).items():
        (repo.root / name).write_text(text, encoding="utf-8")
    example = PAGE.read_text(encoding="utf-8").partition("## An example")[2].partition("\n## ")[0]
    lines = [line[4:] for line in example.splitlines() if line.startswith("    ")]
    script = "\n".join(lines).replace("runner ledger", '"$0" ledger')
    with repo.process(prefix=("sh", "-ec", script)) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert b"runner ledger sign slugify --proposal e-0006" in out
    told = repo.cli("ledger", "show", "slugify", "--all", "--json").json()
    kinds = [one["type"] for one in told["entries"]]
    assert kinds == [
        *("note", "handoff", "artifact", "handoff", "reply", "finality_proposed", "finality_signed")
    ]
    assert told["finality"]["status"] == "signed" and told["lanes"][0]["next"] is None
    rejected = repo.cli("ledger", "reject", "slugify", "--proposal", "e-0002", "--json")
    assert (rejected.status, rejected.json()["error"]["code"]) == (9, "already_decided")
    assert rejected.json()["error"]["hint"] == "`runner ledger show slugify` says how"
    assert repo.cli("ledger", "verify", "slugify").status == 0


def test_a_list_says_of_each_ledger_who_is_next_and_what_is_not_believed(repo: Repo) -> None:
    repo.config('[git]\nowner = "human"\n[tasks.work]\nprompt = "p"\n[tasks.bad]\nprompt = "p"\n')
    assert repo.cli("ledger", "list", "--json").json() == {"ledgers": []}
    assert handed(repo, "work") == 0
    assert repo.cli("ledger", "note", "bad", "one").status == 0
    path = repo.runs_folder / "bad/ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b"one", b"two"))
    bad, work = repo.cli("ledger", "list", "--json").json()["ledgers"]
    assert (bad["task_id"], bad["problem"]["code"], bad["next_speaker"]) == ("bad", "ledger_broken", None)
    assert (work["entries"], work["open_lanes"], work["next_speaker"]["actor"]) == (1, 1, "work")
    shown = repo.cli("ledger", "list").stdout
    assert "work  1        1     work" in shown and "ledger.jsonl: " in shown
    assert repo.cli("ledger", "show", "work", "--json").json()["git_owner"] == {
        **{"owner": "human", "from": "settings"}
    }
    assert "git owner human (settings)" in repo.cli("ledger", "show", "work").stdout
    assert repo.cli("ledger", "coordinator", "work", "work").status == 0
    assert repo.cli("ledger", "coordinator", "work").stdout == "git owner work (ledger)\n"


def test_a_signature_names_the_work_that_it_ends(repo: Repo) -> None:
    repo.config('[tasks.work]\nprompt = "p"\n')
    assert handed(repo, "work", "--lane", "docs") == handed(repo, "human") == 0
    proposed = ("--summary", "s", "--evidence", "e", "--handles", "e-0002")
    assert repo.cli("ledger", "propose", "work", *proposed).status == 0
    unnamed = repo.cli("ledger", "sign", "work", "--json")
    assert (unnamed.status, unnamed.error["hint"]) == (2, "runner ledger sign work --proposal e-0003")
    assert repo.cli("ledger", "reject", "work").status == 2, "somebody has to see it"
    signed = repo.cli("ledger", "sign", "work", "--proposal", "e-0003")
    assert signed.stdout.startswith("e-0003 of human:\n        s\n")
    assert "\ne-0004  e-0003 is signed by" in signed.stdout
    assert signed.stdout.endswith("\nends      lane docs: e-0001 to work was open\n")
    assert entries(repo)[-1]["handles"] == ["e-0001"]


@pytest.mark.parametrize(("said", "status", "found"), [(b"y\n", 0, "signed"), (b"\n", 1, "awaiting_human")])
def test_on_a_terminal_a_person_sees_the_proposal_before_it_is_signed(
    repo: Repo, said: bytes, status: int, found: str
) -> None:
    repo.config('[tasks.work]\nprompt = "p"\n')
    assert repo.cli("ledger", "propose", "work", "--summary", "It is done.", "--evidence", "e").status == 0
    seen = Terminal(repo, "ledger", "sign", "work")
    seen.asks()
    assert "It is done." in seen.text
    seen.press(said, shows="is signed by" if status == 0 else "nothing was decided")
    assert seen.process.wait(20) == status
    seen.close()
    assert repo.cli("ledger", "show", "work", "--json").json()["finality"]["status"] == found


def test_work_that_went_on_behind_the_question_is_not_signed_by_a_yes(repo: Repo) -> None:
    repo.config('[tasks.work]\nprompt = "p"\n')
    assert repo.cli("ledger", "propose", "work", "--summary", "It is done.", "--evidence", "e").status == 0
    seen = Terminal(repo, "ledger", "sign", "work")
    seen.asks()
    assert handed(repo, "work", "--lane", "more") == 0
    seen.press(b"y\n", shows="e-0001 is outdated: work went on")
    assert seen.process.wait(20) == 9
    seen.close()
    assert repo.cli("ledger", "show", "work", "--json").json()["finality"]["status"] == "outdated"
    assert repo.cli("ledger", "sign", "work", "--proposal", "e-0001").status == 0, "named, it is known"


HIDDEN = "env -u RUNNER_RUN_ID -u RUNNER_MANIFEST"


@pytest.mark.parametrize("way", ["", HIDDEN], ids=["as it is", "without the variables"])
def test_inside_of_a_run_a_command_speaks_as_that_run_and_decides_nothing(repo: Repo, way: str) -> None:
    repo.task(more='[tasks.other]\nprompt = "p"')
    assert repo.cli("ledger", "propose", "work", "--summary", "s", "--evidence", "e").status == 0
    assert repo.cli("ledger", "note", "other", "mine").status == 0
    commands = {
        "note": "ledger note work hello",
        "sign": "ledger sign work",
        "coordinator": "ledger coordinator work work",
        "aside": "ledger verify work --set-aside",
        "other": "ledger note other hello",
    }
    lines = (f'{way} "{RUNNER}" {words} --json > "$HOME/{name}" 2>&1' for name, words in commands.items())
    repo.quick_codex(before=f'cd "{repo.root}"\n' + "\n".join(lines))
    assert repo.cli("start", "work", "--wait").status == 0
    (run,) = repo.runs()
    note = json.loads(repo.note("note").read_text())
    assert (note["actor"], note["run_id"]) == ("work", run.id)
    codes = {name: json.loads(repo.note(name).read_text())["error"]["code"] for name in [*commands][1:]}
    assert codes == {
        "sign": "people_only",
        "coordinator": "people_only",
        "aside": "people_only",
        "other": "conflict",
    }
    assert [one["payload"]["text"] for one in entries(repo, "other")] == ["mine"]


@pytest.mark.parametrize("way", ["", HIDDEN, "env -i HOME=$HOME PATH=$PATH setsid -w"])
def test_a_server_that_a_run_starts_speaks_for_that_run_alone(repo: Repo, way: str) -> None:
    repo.task(more='[tasks.other]\nprompt = "p"\ndelegation = true')
    repo.quick_codex()
    other = repo.start(task="other")
    assert other.wait()["status"] == "succeeded"
    server = f'{way} "{RUNNER}" delegate-server --repo "{repo.root}" --json'
    lines = [
        f'cd "{repo.root}"',
        f'{server} --manifest "{other.folder}/manifest.json" < /dev/null > "$HOME/named" 2>&1',
        f'{server} < /dev/null > "$HOME/unnamed" 2>&1',
    ]
    repo.quick_codex(before="\n".join(lines))
    assert repo.cli("start", "work", "--wait").status == 0
    codes = [json.loads(repo.note(name).read_text())["error"]["code"] for name in ("named", "unnamed")]
    assert codes == ["not_yours", "run_not_found"], "it is neither the other run nor the owner"


def test_a_run_names_the_ledger_that_it_shares(repo: Repo) -> None:
    repo.task().quick_codex()
    assert repo.cli("start", "work", "--wait").status == 0
    (run,) = repo.runs()
    assert repo.cli("ledger", "note", run.id, "by its run").status == 0
    assert repo.cli("ledger", "note", "@latest", "by a word").status == 0
    assert [one["payload"]["text"] for one in entries(repo)] == ["by its run", "by a word"]


def test_wait_returns_with_what_was_said_before_and_after_it_began(repo: Repo) -> None:
    repo.config('[tasks.work]\nprompt = "p"\n')
    assert repo.cli("ledger", "note", "work", "one").status == 0
    before = repo.cli("ledger", "wait", "work", "--since", "0", "--json").json()
    assert ([one["id"] for one in before["entries"]], before["seq"]) == (["e-0001"], 1)
    with repo.process("ledger", "wait", "work", "--since", "1", "--json") as process:
        assert repo.cli("ledger", "note", "work", "two").status == 0
        out, _ = process.communicate(timeout=60)
    after = json.loads(out)
    assert (process.returncode, after["entries"][0]["payload"]["text"]) == (0, "two")


def test_wait_gives_up_with_the_number_to_go_on_with(repo: Repo) -> None:
    repo.config('[tasks.work]\nprompt = "p"\n')
    done = repo.cli("ledger", "wait", "work", "--timeout", "0.1", "--json")
    assert (done.status, done.json()["seq"], done.json()["timed_out"]) == (75, 0, True)
    assert not repo.runs_folder.exists()


def test_ctrl_c_ends_a_wait_and_nothing_else(repo: Repo) -> None:
    repo.config('[tasks.work]\nprompt = "p"\n')
    repo.cli("ledger", "note", "work", "one")
    with repo.process("ledger", "wait", "work", "--since", "0", "--type", "reply") as process:
        wait_until(lambda: slept(process.pid) > 20, 30.0, "the wait")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, b"Traceback" in err) == (130, False)
    assert repo.cli("ledger", "verify", "work").status == 0


def test_a_ledger_that_was_cut_or_came_from_elsewhere_is_not_written_on(repo: Repo) -> None:
    repo.config('[tasks.work]\nprompt = "p"\n[tasks.other]\nprompt = "p"\n')
    for text in ("one", "two"):
        assert repo.cli("ledger", "note", "work", text).status == 0
    path = repo.runs_folder / "work/ledger.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole.splitlines(keepends=True)[0])
    verified = repo.cli("ledger", "verify", "work", "--json")
    assert (verified.status, verified.json()["is_whole"], verified.json()["seq"]) == (9, False, 2)
    assert repo.cli("ledger", "note", "work", "three").status == 9
    (repo.runs_folder / "other").mkdir(mode=0o700)
    (repo.runs_folder / "other/ledger.jsonl").write_bytes(whole)
    foreign = repo.cli("ledger", "note", "other", "x", "--json")
    assert foreign.json()["error"]["code"] == "foreign_ledger"
    shown = repo.cli("ledger", "show", "other")
    assert (shown.status, shown.stdout.count("(unproven)")) == (0, 2)
    assert "is not believed" in shown.stderr
    assert repo.cli("ledger", "verify", "other", "--set-aside").status == 0
    assert repo.cli("ledger", "verify", "other").status == 0


def test_a_line_that_never_was_whole_is_told_and_counts_for_nothing(repo: Repo) -> None:
    repo.config('[tasks.work]\nprompt = "p"\n')
    repo.cli("ledger", "note", "work", "one")
    with (repo.runs_folder / "work/ledger.jsonl").open("ab") as file:
        file.write(b'{"mac":"')
    shown = repo.cli("ledger", "show", "work")
    assert shown.status == 0 and "its last 8 bytes are a line that never was whole" in shown.stderr
    assert repo.cli("ledger", "note", "work", "two").status == 0
    assert len(entries(repo)) == 2


def test_a_shell_completes_actions_tasks_and_receivers(repo: Repo) -> None:
    repo.config('[tasks.work]\nprompt = "p"\n')

    def words(*typed: str) -> list[str]:
        told = repo.cli("__complete", "bash", "ledger", *typed).stdout
        return [line.partition("\t")[0] for line in told.splitlines()]

    assert {"show", "handoff", "sign"} <= {*words("")} and words("han") == ["handoff"]
    assert words("note", "w") == ["work"]
    assert "--reason" in words("handoff", "work", "--r")
    assert words("artifact", "work", "--status", "p") == ["passed"]
    assert {"work", "codex"} <= {*words("handoff", "work", "--to", "")}


def test_a_handoff_says_which_run_was_started_for_it_or_why_none_was(repo: Repo) -> None:
    again = 'grace = "300ms"\nsandbox = "read-only"\nprompt = "p"\n'
    repo.config(f'[tasks.work]\n{again}[tasks.review]\n{again}start = "on_handoff"\n')
    repo.waiting_codex()
    by_hand = repo.cli("ledger", "handoff", "work", "--to", "work", "--reason", "r", "--ask", "a")
    assert by_hand.status == 0 and "recorded  no run was started" in by_hand.stdout
    assert "runner start --task work --ledger work" in by_hand.stdout
    started = repo.cli(
        *(
            "ledger",
            "handoff",
            "work",
            "--to",
            "review",
            "--lane",
            "docs",
            "--reason",
            "r",
            "--ask",
            "a",
            "--json",
        )
    ).json()
    repo.begun()
    (run,) = repo.runs()
    assert (started["delivery"]["state"], started["delivery"]["run"]["run_id"]) == ("started", run.id)
    shown = repo.cli("ledger", "show", "work").stdout
    assert f"taken by run {run.id[20:24]}" in shown and f"review {run.id[20:24]}" in shown
    repo.end_all()


def test_a_person_is_left_work_without_a_word_of_runs(repo: Repo) -> None:
    repo.config('[tasks.work]\nprompt = "p"\n')
    done = repo.cli("ledger", "handoff", "work", "--to", "human", "--reason", "r", "--ask", "a")
    assert done.stdout == "e-0001  handed to human on lane main\n"
