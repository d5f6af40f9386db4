"""The tutorial of a handoff, played whole: the real Codex implements, the real Claude Code reviews, both with
the scripted model; a person signs and commits. Killed at each step, the work goes on.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from support import processes
from support.clis import CLIS, says, shell, turns
from support.repo import Repo, Run
from support.waiting import wait_until

FIRST = "import re\ndef slugify(text):\n    return re.sub('[^a-z0-9]+', '-', text.lower()).strip('-')\n"
MENDED = (
    "import re\nimport unicodedata\ndef slugify(text):\n"
    "    plain = unicodedata.normalize('NFKD', text).encode('ascii', 'ignore').decode()\n"
    "    return re.sub('[^a-z0-9]+', '-', plain.lower()).strip('-')\n"
)
TEST = (
    "import sys\nsys.path.insert(0, 'src')\nfrom slugify import slugify\nassert slugify(' A  b!') == 'a-b'\n"
)
NOTE = "Goal: add slugify(text). Files: src/slugify.py. Acceptance: python test_slugify.py passes."
ASK = "Implement slugify(text) in src/slugify.py, then run python test_slugify.py and report."
FINDINGS = "One finding: slugify('café') should be 'cafe'. Normalize (NFKD) before stripping."


def calls(name: str, **arguments: Any) -> str:
    words = ", ".join(f"{key} = {json.dumps(value)}" for key, value in arguments.items())
    return f'tool = {{ server = "delegation", name = "{name}", arguments = {{ {words} }} }}'


def writes(path: str, text: str) -> str:
    return shell(f"cat > {path} <<'END'\n{text}END")


def evidence(title: str, kind: str = "patch_summary") -> str:
    paths = ["src/slugify.py"]
    return calls("record_artifact", kind=kind, title=title, summary=title, status="passed", evidence=paths)


def back(**more: Any) -> str:
    told = {"reason": "It is implemented.", "ask": "Review it.", "context_refs": ["src/slugify.py"]}
    return calls("handoff_to_claude", **told, **more)


RUNS_TEST = shell(f"{sys.executable} test_slugify.py && echo passed")
PROPOSES = calls("propose_final", summary="slugify is done.", evidence="reviewed; test_slugify passes")
IMPLEMENTS = turns(
    calls("read_context", limit=40),
    writes("src/slugify.py", FIRST),
    RUNS_TEST,
    evidence("Add slugify"),
    evidence("python test_slugify.py", "test_report"),
    back(wait_for_reply=True),
    calls("wait_for_messages", timeout_s=30),
    writes("src/slugify.py", MENDED),
    evidence("Normalize before stripping"),
    back(),
    says("Done."),
)
REVIEWS = turns(
    calls("append_note", text=NOTE),
    calls("handoff", to="implement", reason="Codex implements.", ask=ASK, wait_for_reply=True),
    calls("read_context", limit=40),
    calls("task_state"),
    calls("reply", text=FINDINGS),
    calls("handoff_to_codex", reason="A finding.", ask=FINDINGS, wait_for_reply=True),
    calls("wait_for_messages", timeout_s=40),
    PROPOSES,
    says("Proposed."),
)
GOES_ON = turns(calls("read_context"), writes("src/slugify.py", MENDED), back(), says("Done."))
DECIDES = turns(calls("read_context"), PROPOSES, says("Proposed."))


@pytest.fixture
def tutorial(repo: Repo) -> Repo:
    (repo.bin / "claude").symlink_to(CLIS / "claude")
    plays = {"implement": IMPLEMENTS, "review": REVIEWS, "goes-on": GOES_ON, "decides": DECIDES}
    for name, text in plays.items():
        (repo.root / f"{name}.toml").write_text(f"schema_version = 1\n{text}")
    (repo.root / "src").mkdir()
    (repo.root / "src/README").write_text("Sources.\n")
    (repo.root / "test_slugify.py").write_text(TEST)
    own = 'delegation = true\nsandbox = "workspace-write"\n'
    check = json.dumps([[sys.executable, "test_slugify.py"]])
    repo.config(
        '[git]\nowner = "human"\n'
        f'[tasks.review]\nruntime = "claude"\nprompt = "Have slugify added, and review it."\n{own}'
        'workspace = "worktree"\nrehearse = "review.toml"\n'
        f'[tasks.implement]\nprompt = "Implement what was handed to you."\n{own}'
        f'start = "on_handoff"\nrehearse = "implement.toml"\nverify = {check}\n'
    )
    repo.git("add", "-A")
    repo.git("commit", "-qm", "Begin")
    return repo


def context(repo: Repo) -> dict[str, Any]:
    return repo.cli("ledger", "show", "review", "--limit", "1000", "--format", "json").json()


def whole(repo: Repo) -> bool:
    return bool(repo.cli("ledger", "verify", "review", "--format", "json").json()["is_whole"])


def signs_and_commits(repo: Repo) -> None:
    signed = repo.cli(
        "ledger", "sign", "review", "--proposal", context(repo)["finality"]["id"], "--note", "good"
    )
    assert signed.status == 0, signed.stderr
    assert context(repo)["finality"]["status"] == "signed"
    repo.git("add", "src/slugify.py")
    repo.git("commit", "-qm", "Add slugify")
    assert repo.git("status", "--porcelain", "src/slugify.py") == b""
    assert whole(repo)


def test_two_agents_and_a_person_play_the_tutorial_whole(tutorial: Repo) -> None:
    repo = tutorial
    review = repo.start(task="review")
    assert review.wait(within=180)["status"] == "succeeded", review.file("stderr.log")
    implement = next(run for run in repo.runs() if run.task == "implement")
    assert implement.wait(within=60)["status"] == "succeeded"
    told = context(repo)
    assert (told["finality"]["status"], told["next_speaker"]["actor"]) == ("awaiting_human", "human")
    said = [(one["actor"], one["type"]) for one in told["entries"] if one["actor"] != "runner"]
    assert said == [
        ("review", "note"),
        ("review", "handoff"),
        ("implement", "handoff_taken"),
        ("implement", "artifact"),
        ("implement", "artifact"),
        ("implement", "handoff"),
        ("review", "reply"),
        ("review", "handoff"),
        ("implement", "artifact"),
        ("implement", "handoff"),
        ("review", "finality_proposed"),
    ]
    seen = [
        one["payload"] for one in told["entries"] if (one["actor"], one["type"]) == ("runner", "artifact")
    ]
    of_codex = {
        one["kind"]: one["status"] for one in seen if "rehearsed" in one["title"] and one.get("evidence")
    }
    assert of_codex["test_report"] == "passed", "runner ran the check itself"
    assert (
        repo.cli(
            "ledger", "sign", "review", env={"RUNNER_MANIFEST": str(review.folder / "manifest.json")}
        ).status
        == 9
    )
    signs_and_commits(repo)
    assert (repo.root / "src/slugify.py").read_text() == MENDED


def finishes(repo: Repo, task: str, script: str) -> None:
    done = repo.cli("start", "--task", task, "--ledger", "review", "--rehearse", script, "--wait")
    assert done.status == 0, done.stderr


def kill_all(repo: Repo) -> None:
    """Until none is left: one that was just being started has no run yet that names it."""

    def none_is_left() -> bool:
        found = processes.of_folder(repo.root)
        for process in found:
            processes.kill(process)
        return not found

    wait_until(none_is_left, 30, "the end of every process of the repository")


@pytest.mark.parametrize("count", [1, 2, 4, 6, 8, 10])
def test_killed_at_any_step_the_work_goes_on_and_the_ledger_is_whole(tutorial: Repo, count: int) -> None:
    repo = tutorial
    repo.start(task="review")
    path = repo.root / ".runs/review/ledger.jsonl"

    def said() -> int:
        return len(path.read_bytes().splitlines()) if path.exists() else 0

    wait_until(lambda: said() >= count, 120, f"entry {count}")
    kill_all(repo)
    repo.cli("reap")
    assert whole(repo)
    for _ in range(6):
        told = context(repo)
        final, speaker = told["finality"], told["next_speaker"]
        if final is not None and final["status"] == "awaiting_human" and not told["open_handoffs"]:
            break
        actor = None if speaker is None else speaker["actor"]
        if actor in ("implement", "codex"):
            finishes(repo, "implement", "goes-on.toml")
        elif actor in ("claude", "review") and (repo.root / "src/slugify.py").exists():
            finishes(repo, "review", "decides.toml")
            break
        else:
            handed = repo.cli(
                *("ledger", "handoff", "review", "--to", "implement"),
                *("--reason", "go on", "--ask", ASK, "--format", "json"),
            )
            assert handed.status == 0, handed.stderr
            started = handed.json()["delivery"]["run"]
            if started is not None:
                Run(repo, started["run_id"], started["task_id"]).wait(within=180)
    signs_and_commits(repo)
