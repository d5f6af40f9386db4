"""A repository with settings and a plan, and whoever asks for the plan; no run of it is started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from runner.conduct import plan_record as assignments
from runner.conduct import start_plan
from runner.conduct.plan_record import Options
from runner.conduct.start_plan import PlanRequest, PreparedPlan
from runner.model import Lineage, Outcome, Phase, Reason
from runner.runtimes import PLAN
from runner.state.authentic import write_record
from runner.state.manifest import RuntimeFound, timestamp
from runner.state.plan_ledger import PlanLedger
from runner.state.store import RunDir, new_run_id
from support.plans import toml
from support.values import a_manifest, an_invocation
from support.work import Work

__all__ = ["TASKS", "WHY", "Desk", "unit"]

Tree = dict[str, tuple[int, bytes]]

TASKS = """\
schema_version = 1
[tasks.build]
prompt = "Keep it small."
sandbox = "workspace-write"
[tasks.look]
prompt = "Look."
sandbox = "read-only"
[tasks.apart]
prompt = "Apart."
sandbox = "workspace-write"
workspace = "worktree"
"""
WHY = Reason("verify_failed", "`pytest` failed")


class Desk(Work):
    """A repository with settings and a plan of eight units, and whoever asks for the plan."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.base = base
        self.env = {"HOME": os.environ["HOME"], "PATH": os.environ["PATH"]}
        self.settings()
        self.plan = self.file("plan.toml", toml(*(unit(n) for n in range(1, 9))))

    def settings(self, delegate: str = "", more: str = "") -> None:
        table = f"[delegate]\n{delegate}\n" if delegate else ""
        self.file("delegate.toml", f"{TASKS}{more}{table}")

    def file(self, name: str, text: str) -> str:
        self.write(name, text)
        return str(self.root / name)

    def prepare(self, task: str = "build", file: str | None = None, **more: Any) -> PreparedPlan:
        return start_plan.prepare(str(self.root), PlanRequest(file or self.plan, task, **more), self.env)

    def again(
        self, task: str = "build", reset: bool = False, done: tuple[str, ...] = (), **more: Any
    ) -> PreparedPlan:
        asked = PlanRequest(more.pop("file", self.plan), task, reset=reset, done=done, **more)
        return start_plan.prepare_again(str(self.root), asked, self.env)

    def ended(self, *moves: str, **options: Any) -> RunDir:
        """A run of the plan that has ended; `moves` are what became of its batches, in their order."""
        prepared = self.prepare(options=Options(**options))
        ledger = prepared.ledger
        for n, move in enumerate(moves, 1):
            ledger = ledger.began(n, Lineage("build", "20261120T101504438Z-50151d5c", "m"))
            ledger = ledger.failed(n, WHY) if move == "failed" else ledger.succeeded(n, changed=())
        return self.left(ledger, prepared)

    def left(self, ledger: PlanLedger, prepared: PreparedPlan, task: str = "build") -> RunDir:
        """The folder of a run of the plan whose conductor has come as far as the ledger says."""
        run = RunDir(str(self.root), task, new_run_id())
        os.close(run.create())
        os.unlink(run.wake_fifo)
        write_record(run.invocation, an_invocation(run.repo, task, run.run_id, runtime=PLAN).to_json())
        program = RuntimeFound(PLAN, "/usr/bin/python3", "1")
        ended = {"phase": Phase.DONE, "outcome": Outcome.FAILED, "reason": Reason("batches_left", "left: U1")}
        plan = ledger.shown(is_over=True)
        run.write_manifest(a_manifest(run, runtime=program, ended_at=timestamp(), plan=plan, **ended))
        assignments.write(run, prepared.assignment, ledger)
        return run

    def tree(self) -> Tree:
        """All that there is in and around the repository, its own `.git` included."""
        seen: Tree = {}
        for path in self.base.rglob("*"):
            found = os.lstat(path)
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            seen[str(path)] = (found.st_mode, content)
        return seen


def unit(n: int, *lines: str) -> str:
    return "\n".join(
        (f'id = "U{n}"', f'goal = "Do {n}."', *(lines or (f'files = ["src/{n}.py"]', 'verify = [["true"]]')))
    )
