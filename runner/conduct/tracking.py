"""What reviews have found and a gate lets pass: a file for later work, and an entry. Edge: disk."""

from __future__ import annotations

import contextlib

from runner.disk.files import replace_bytes
from runner.errors import RunnerError
from runner.ledger.entry import EntryType
from runner.text.words import count, one_line
from runner.usecases import ledger as ledgers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.state.store import RunDir
    from runner.verify.review import ReviewFinding

_MOST_TOLD = 20


def track(run: RunDir, stage: str, findings: Sequence[ReviewFinding]) -> str:
    """The path of the file. What the ledger refuses is no reason to stop: the file has it."""
    path = f"{run.path}/findings-{stage}.md"
    lines = [f"# Findings of stage {stage} that were let pass", ""]
    for one in findings:
        box = f"- [ ] **{one.severity}** {one_line(one.where or 'no single file')}: {one_line(one.title)}"
        lines += [box, f"      {one_line(one.detail, 2000)}"]
    replace_bytes(path, ("\n".join(lines) + "\n").encode(errors="replace"))
    with contextlib.suppress(RunnerError):
        told = [
            f"{one.severity}: {one_line(one.where, 200)}: {one_line(one.title, 200)}"
            for one in findings[:_MOST_TOLD]
        ]
        payload = {
            "kind": "escalation_suggestion",
            "title": f"stage {stage}: {count(len(findings), 'finding')} for later",
            "summary": f"all of them: {path}",
            "status": "unknown",
            "evidence": told,
        }
        ledgers.append(ledgers.ledger_of(run), ledgers.of_run(run), EntryType.ARTIFACT, payload)
    return path
