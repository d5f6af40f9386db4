"""Runs of an agent that speaks the Agent Client Protocol: a stand-in that does what its words say."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.processes import signal_exactly
from support.repo import Repo, Run
from support.waiting import wait_until

AGENT = Path(__file__).parents[1] / "standins" / "acp_agent.py"
WRITES = ('sandbox = "workspace-write"', 'workspace = "worktree"', "expects_change = false")
ALL = '[sandboxes.all]\nlevel = "danger-full-access"\nallow_danger = true\n'


def prepared(repo: Repo, *words: str, keys: tuple[str, ...] = (), settings: str = "", more: str = "") -> Repo:
    program = repo.bin / "agent"
    program.write_text(f"#!{sys.executable}\n{AGENT.read_text()}")
    program.chmod(0o755)
    repo.env["ACP_NOTES"] = str(repo.base / "notes")
    runtime = (
        f'[runtimes.acp]\ncommand = "agent"\nargs = {json.dumps(words)}\nenv = ["ACP_NOTES"]\n{settings}\n'
    )
    task = ["[tasks.work]", 'runtime = "acp"', 'prompt = "/do it"', 'grace = "2s"', *keys]
    repo.config("\n".join((runtime, more, *task)))
    repo.git("add", "delegate.toml")
    repo.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "settings")
    return repo


def ended(repo: Repo, *words: str, **options: Any) -> tuple[Run, Any]:
    run = prepared(repo, *words, **options).start()
    return run, run.wait()


def notes(repo: Repo) -> list[str]:
    file = repo.base / "notes"
    return file.read_text().splitlines() if file.exists() else []


def refused(run: Run) -> list[str]:
    return [event["message"] for event in run.events("refused")]


def test_a_turn_is_told_whole_with_what_the_agent_says_of_itself(repo: Repo) -> None:
    words = ("say:Half, ", "raw:no JSON", 'raw:{"id": 99}', "call:fs/write_text_file", "say:whole.")
    keys = ('model = "big"', "delegation = true")
    _, end = ended(repo, *words, keys=keys)
    assert (end["status"], end["last_message"], end["survivors"]) == ("succeeded", "Half, whole.", [])
    assert (
        end["usage"] | {"input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 20} == end["usage"]
    )
    seen = {name: end["conformance"][name]["observed"] for name in ("model", "sandbox", "approval")}
    assert seen == {"model": "big", "sandbox": None, "approval": "plan"}
    assert notes(repo) == [
        'offered {"fs": {"readTextFile": false, "writeTextFile": false}, "terminal": false}',
        "session/new None ['delegation']",
        *("option m=big", "mode plan", "fs/write_text_file -32601"),
    ]


def test_an_answer_allows_one_call_and_any_other_word_refuses_it(repo: Repo) -> None:
    run = prepared(
        repo, "ask:edit:write a", "ask:execute:rm \x1b[31m b\nallow", "say:Done.", keys=WRITES
    ).start()
    for number, answer in enumerate(("Allow", "allow it always"), 1):
        wait_until(lambda n=number: [q for q in run.events("question") if q["id"] == f"q-000{n}"], 30)
        assert run.ask("answer", f"q-000{number}", answer).status == 0
    assert run.wait()["status"] == "succeeded"
    assert "It says: rm b allow" in run.question("q-0002")["prompt"].replace("[31m ", "")
    assert [one for one in notes(repo) if "permission" in one] == [
        *("permission allow_once-2", "permission reject_once-3")
    ]
    assert [one.partition(": ")[2] for one in refused(run)] == ["the answer to q-0002"]


def test_a_question_that_nobody_answers_is_refused_and_keeps_a_run_from_no_time_limit(repo: Repo) -> None:
    settings, keys = 'permission_timeout = "6s"', (*WRITES, 'idle_timeout = "4s"')
    run, end = ended(repo, "ask:execute:touch x", "say:Done.", keys=keys, settings=settings)
    assert (end["status"], refused(run)) == ("succeeded", ["touch x: q-0001 was not answered in time"])


@pytest.mark.parametrize(
    ("keys", "permissions", "expected"),
    [
        ((), "allow", ["allow_once-2", "reject_once-3", "reject_once-3"]),
        (WRITES, "allow", ["allow_once-2", "allow_once-2", "reject_once-3"]),
        (WRITES, "refuse", ["reject_once-3"] * 3),
        (('sandbox = "all"',), None, ["allow_once-2"] * 3),
    ],
)
def test_the_level_and_the_settings_answer(
    repo: Repo, keys: tuple[str, ...], permissions: str | None, expected: list[str]
) -> None:
    words = ("ask:read:see", "ask:execute:touch x", "ask:Switch_Mode :yolo", "held", "say:Done.")
    settings = f'permissions = "{permissions}"' if permissions else ""
    run = prepared(repo, *words, keys=keys, settings=settings, more=ALL).start("--allow-danger")
    assert run.wait()["status"] == "succeeded"
    assert [one.removeprefix("permission ") for one in notes(repo) if "permission" in one] == expected
    assert len(refused(run)) == sum("reject" in one for one in expected)
    # With the lease of the repository, nobody else writes there while the agent is alive.
    assert ("runner-writer.lock" in notes(repo)[-1]) == ('sandbox = "all"' in keys)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("exit:3",), "cli_failure", "the agent ended with status 3 before it answered `session/prompt`"),
        (("raw:[1]",), "cli_failure", "the agent wrote what is no message, or closed its output"),
        (('raw:{"id": 3, "error": "no"}', "hang"), "cli_failure", "the agent wrote what is no message"),
        (('raw:{"id": {}}', "hang"), "cli_failure", "the agent wrote what is no message"),
        (("version:2",), "misconfigured", "the agent speaks version 2 of the protocol, and runner 1"),
        (("ask:execute:touch x",), "result_missing", "the agent ended its turn without a word"),
        (("fail:401:no key",), "auth_or_quota", "no key (status 401)"),
        (("fail:-32000:Authentication required",), "auth_or_quota", "Authentication required"),
        (("fail:-32603:Internal error",), "cli_failure", "Internal error"),
    ],
)
def test_what_goes_wrong_has_its_reason(repo: Repo, words: tuple[str, ...], code: str, message: str) -> None:
    _, end = ended(repo, *words)
    assert (end["status"], end["reason"]["code"]) == ("failed", code), end["reason"]
    assert message in end["reason"]["message"]


def test_what_is_of_another_session_or_comes_after_the_turn_does_not_count(repo: Repo) -> None:
    foreign = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "Of another. "}}
    other = {"method": "session/update", "params": {"sessionId": "s-2", "update": foreign}}
    over = {"id": 2, "result": {"stopReason": "end_turn"}}
    words = (f"raw:{json.dumps(other)}", "say:Done.", f"raw:{json.dumps(over)}", "closed", "ask:execute:late")
    run, end = ended(repo, *words, keys=WRITES)
    assert (end["status"], end["last_message"], end["questions_open"]) == ("succeeded", "Done.", 0)
    assert (refused(run), run.events("question")) == (["late: the turn is over"], [])


def test_an_agent_answers_no_question_of_its_own_run(repo: Repo) -> None:
    run = prepared(repo, "ask:execute:touch x", "say:Done.", keys=WRITES).start()
    wait_until(lambda: run.events("question"), 30)
    inside = {"RUNNER_MANIFEST": str(run.folder / "manifest.json"), "RUNNER_RUN_ID": run.id}
    assert run.question("q-0001")["prompt"].startswith("The agent `standin. Say allow` asks for permission")
    assert run.ask("answer", "q-0001", "allow", env=inside).error["code"] == "not_yours"
    assert run.ask("answer", "q-0001", "no").status == 0
    assert run.wait()["status"] == "succeeded"


def test_an_id_of_two_options_is_never_chosen(repo: Repo) -> None:
    twice = [{"optionId": "x", "kind": kind} for kind in ("allow_once", "allow_always")]
    asked = {"toolCall": {"kind": "execute", "title": "touch x"}, "options": twice}
    words = (f"call-with:session/request_permission:{json.dumps(asked)}", "say:Done.")
    run, end = ended(repo, *words, keys=WRITES, settings='permissions = "allow"')
    assert (end["status"], notes(repo)[-1]) == ("succeeded", '{"outcome": {"outcome": "cancelled"}}')
    assert refused(run) == ["touch x: the agent offers no option for this call alone"]


def test_a_model_that_is_not_offered_is_named_with_those_that_are(repo: Repo) -> None:
    _, end = ended(repo, keys=('model = "huge"',))
    assert end["reason"]["code"] == "misconfigured"
    assert end["reason"]["message"] == "the agent offers no model `huge`; it offers: small, big"


def test_a_further_attempt_loads_the_session_and_tells_nothing_of_it_again(repo: Repo) -> None:
    keys = ("retries = 1", 'verify = ["test -e again"]')
    _, end = ended(repo, "say:Done.", keys=keys)
    assert [one["how"] for one in end["attempts"]] == ["first", "resume"]
    assert [one for one in notes(repo) if "session/" in one][1] == "session/load s-1 []"
    assert (end["last_message"], end["usage"]["input_tokens"]) == ("Done.", 200)


def test_an_interrupt_cancels_the_turn_and_its_question(repo: Repo) -> None:
    run = prepared(repo, "hang").start()
    wait_until(lambda: "hangs" in notes(repo), 30)
    assert signal_exactly(run.child(), signal.SIGINT)
    end = run.wait()
    assert (end["reason"]["code"], end["exit_code"], notes(repo)[-1]) == (
        "killed",
        130,
        "told session/cancel",
    )


def test_a_message_of_22_mb_ends_no_run(repo: Repo) -> None:
    _, end = ended(repo, "huge", "say:Done.")
    assert (end["status"], end["last_message"]) == ("succeeded", "Done.")


def test_doctor_says_what_is_known_of_an_agent(repo: Repo) -> None:
    said = prepared(repo).json("doctor", "--runtime", "acp")
    found = {one["name"]: one for one in said["checks"]}
    assert "a run shows it" in found["acp.login"]["message"] and "home" not in found["acp.login"]["message"]
    verdicts = [found[f"acp.{part}"]["verdict"] for part in ("binary", "identity", "flags", "sandbox")]
    assert verdicts == ["ok", "skip", "skip", "warn"]  # who it is, only a run shows


def test_a_package_that_is_missing_is_named_with_its_extra() -> None:
    code = (
        "import sys\nsys.path = [one for one in sys.path if not one.endswith('-packages')]\n"
        f"sys.path.insert(0, {str(AGENT.parents[2])!r})\n"
        "from runner.runtimes import get, locate\nruntime = get('acp')\n"
        "try:\n    locate.locate(runtime, runtime.defaults(), {}, '/')\n"
        "except Exception as error:\n    print(error.code, error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "runtime_missing `pip install 'delegate-runner[acp]'`", done.stderr
