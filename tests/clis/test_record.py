"""A cassette of a real run is played to the same end, by the agent that it is of and by another one."""

from __future__ import annotations

import json

import pytest
from support.clis import CLIS
from support.repo import Repo, Run

CLAIM = {"status": "completed", "files_modified": [], "issues": [], "summary": "Done {task}."}
LAST = json.dumps({**CLAIM, "verification_summary": "none"})
PLAY = f"""
[[turns]]
message = "I look first."
shell = ["echo made > made.txt", '''printf '%s\\n' "{{last_output}} {{print}}" | tee -a made.txt; exit 3''']
[[turns]]
message = "Now I edit."
patch = '''
*** Begin Patch
*** Add File: new.txt
+written by me
*** Update File: old.txt
@@
 one
-two
+zwei
*** Update File: gone.txt
*** Move to: moved.txt
@@
-kept
+changed
*** End Patch
'''
[[turns]]
shell = '''printf 'no end\\r' > odd.bin; printf '\\0\\377' >> odd.bin; chmod +x made.txt; rm dead.txt'''
[[turns]]
delay = "1s"
message = '''{LAST}'''
usage = {{ input_tokens = 120, cached_input_tokens = 80, output_tokens = 9 }}
"""


def prepared(repo: Repo) -> Repo:
    repo.script(PLAY)
    for name, text in {"old": "one\ntwo\nthree\n", "gone": "kept\n", "dead": "x\n"}.items():
        (repo.root / f"{name}.txt").write_text(text)
    keys = (
        'prompt = "Do it."',
        'sandbox = "workspace-write"',
        'workspace = "worktree"',
        'grace = "3s"',
        'output_contract = "final"',
        'verify = [["test", "-x", "made.txt"], ["grep", "-q", "zwei", "old.txt"]]',
    )
    tasks = [
        f'[tasks.{name}]\nruntime = "{name}"\n' + "\n".join(keys) for name in ("codex", "claude", "gemini")
    ]
    programs = [f'[runtimes.{name}]\ncommand = "{CLIS / name}"' for name in ("claude", "gemini")]
    repo.config("\n".join((*programs, *tasks)))
    repo.git("add", ".")
    repo.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "settings")
    return repo


def verdict(run: Run) -> dict[str, object]:
    """All that a replay has to come to as well."""
    ended = run.wait()
    result = json.loads(run.file("result.json"))
    checks = [(one["argv"], one["exit_code"]) for one in result["checks"]]
    return {
        "status": ended["status"],
        "code": ended["reason"]["code"],
        "checks": checks,
        "patch": run.ask("diff").json()["patch"],
        "claim": result["claim"],
        "last": json.loads(ended["last_message"]),
        "usage": ended["usage"]["input_tokens"],
    }


@pytest.mark.parametrize("first", ["codex", "claude", "gemini"])
def test_a_cassette_comes_to_the_same_end_on_every_agent(repo: Repo, first: str) -> None:
    run = prepared(repo).start("--rehearse", "play.toml", task=first)
    wanted = verdict(run)
    assert wanted["status"] == "succeeded", run.file("stderr.log")
    said = run.ask("record", "-o", "tape.toml")
    assert said.status == 0, said.stderr
    for runtime in ("codex", "claude", "gemini"):
        again = repo.start("--rehearse", "tape.toml", task=runtime)
        assert verdict(again) == wanted, again.file("stderr.log")
