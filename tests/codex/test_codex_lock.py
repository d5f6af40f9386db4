"""`runner lock` with the real Codex: what it lists of itself."""

from __future__ import annotations

import tomllib

from support.repo import Repo


def test_a_lock_knows_the_options_and_the_events_of_the_real_codex(repo: Repo) -> None:
    repo.task()
    assert repo.cli("lock").status == 0
    pinned = tomllib.loads((repo.root / "delegate.lock").read_text())["runtimes"]["codex"]
    assert {"--json", "-s", "-c", "-C"} <= {*pinned["flags"]["codex exec"]}
    resume = {*pinned["flags"]["codex exec resume"]}
    assert "--last" in resume and "-s" not in resume
    assert {"command", "exitCode"} <= {*pinned["schema"]["commandExecution"]}
    assert repo.json("lock", "--check")["drift"] == []
