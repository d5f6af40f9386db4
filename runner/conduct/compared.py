"""Two providers and one synthesis: neutral names, preconditions, and the check of what is said. Edge: disk.

The files that a synthesiser gets do not say who wrote which. That is told once the synthesis has passed.
"""

from __future__ import annotations

import os

from runner.conduct import stage_prompt
from runner.conduct.outcome import Meaning
from runner.disk.files import read_text, replace_bytes
from runner.errors import Conflict
from runner.model import Reason
from runner.state.authentic import mac, refuse_foreign, write_record
from runner.state.plan_ledger import Status, StepKind
from runner.state.store import RunDir
from runner.text.terminal import clean_terminal, is_blank
from runner.text.words import few, indented, one_line
from runner.usecases import findings
from runner.verify import places, record
from runner.verify.claim import Claim
from runner.verify.review import KeptFindings
from runner.verify.synthesis import check, kept
from runner.workspace.git import Git

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.conduct.outcome import BatchEnd
    from runner.conduct.plan_record import PipelineAssignment
    from runner.model import Config
    from runner.plan.pipeline import Stage
    from runner.state.plan_ledger import PlanLedger, Step
    from runner.verify.review import ReviewFinding

_LARGEST = 16 << 20
_LONGEST = 4000
"""Characters of a last message."""
_NAMES = ("Alpha", "Beta")


class ComparedRuns:
    """Of one run of a pipeline."""

    def __init__(self, config: Config, run: RunDir, given: PipelineAssignment) -> None:
        self._config, self._run, self._given = config, run, given

    def prompt(self, ledger: PlanLedger, stage: Stage, step: Step) -> str:
        """The section that a synthesiser gets, once the files that it names are written. Conflict where one
        of the two runs does not allow a synthesis.
        """
        sides = self._sides(ledger, stage)
        for letter, name, (_, claim) in zip("AB", _NAMES, sides, strict=True):
            replace_bytes(self._path(stage.name, name.lower()), _analysis(name, letter, claim).encode())
        paths = [self._path(stage.name, name.lower()) for name in _NAMES]
        advocate = next((one for one in ledger.of_stage(stage.name) if one.n in step.after), None)
        advocacy = None
        if advocate is not None and advocate.kind is StepKind.SYNTHESIS and advocate.run is not None:
            run = RunDir.of(self._run.repo, advocate.run)
            advocacy = run.last_message
        return stage_prompt.synthesis(paths, advocacy)

    def judged(self, ledger: PlanLedger, step: Step, run: RunDir, end: BatchEnd) -> BatchEnd:
        """As `Work.judged`."""
        if end.meaning is not Meaning.SUCCESS or step.kind not in (StepKind.COMPARE, StepKind.SYNTHESIS):
            return end
        stage = self._given.pipeline.stage(step.stage or "")
        if step.kind is StepKind.COMPARE:
            why = self._unfit(ledger, stage, step, run)
        else:
            why = self._rejected(ledger, stage, step, run)
        return end if why is None else end.replace(meaning=Meaning.FAILURE, why=why)

    def written(self, step: Step) -> str | None:
        """The file that a synthesis was written to, for the stages after it."""
        path = self._path(step.stage or "", "synthesis")
        return path if step.kind is StepKind.SYNTHESIS and os.path.isfile(path) else None

    # -- the two analyses ----------------------------------------------------------------------------

    def _unfit(self, ledger: PlanLedger, stage: Stage, step: Step, run: RunDir) -> Reason | None:
        """Why a synthesis with this analysis would say nothing."""
        claim = _claim(run)
        if claim is None:
            return None  # what is made, and not found: its verdict is the run's own
        if claim.findings and all(one.place in ("no_file", "outside") for one in claim.findings):
            return Reason("off_topic", "no finding of it is about a file that is here")
        for other in ledger.of_stage(stage.name):
            if other.kind is not StepKind.COMPARE or other.n == step.n or other.run is None:
                continue
            twin = RunDir.of(self._run.repo, other.run)
            same = _claim(twin)  # none before it has ended; both may end at once
            if same is not None and _said(same) == _said(claim):
                return Reason(
                    "outputs_equal", f"it says word for word what {other.title} says: one opinion, not two"
                )
        return None

    def _sides(self, ledger: PlanLedger, stage: Stage) -> tuple[tuple[RunDir, Claim], tuple[RunDir, Claim]]:
        """Alpha and Beta. Which is which follows from the key of the records: the same each time, and nothing
        that can be read tells it.
        """
        found: dict[str, RunDir] = {}
        for one in ledger.of_stage(stage.name):
            if one.kind is StepKind.COMPARE and one.run is not None and one.status is Status.SUCCEEDED:
                run = RunDir.of(self._run.repo, one.run)
                refuse_foreign(run)
                found[run.run_id] = run
        if len(found) != 2:
            raise Conflict(
                f"stage {stage.name} has {len(found)} analyses that succeeded; a synthesis needs two"
            )
        drawn = mac(f"alpha {stage.name}", " ".join(sorted(found)).encode())
        ids = sorted(found, reverse=int(drawn, 16) % 2 > 0)
        sides = []
        for run_id in ids:
            claim = _claim(found[run_id])
            if claim is None or (is_blank(claim.summary) and not (claim.findings or claim.files_modified)):
                raise Conflict(f"run `{run_id}` has said nothing that can be compared")
            sides.append((found[run_id], claim))
        return sides[0], sides[1]

    # -- the synthesis -------------------------------------------------------------------------------

    def _rejected(self, ledger: PlanLedger, stage: Stage, step: Step, run: RunDir) -> Reason | None:
        claim, (alpha, beta) = _claim(run), self._sides(ledger, stage)
        if claim is None or claim.synthesis is None:
            return Reason("synthesis_rejected", "it gave no synthesis that can be read")
        if claim.synthesis.off_topic:
            told = [f"{one.analysis}: {one.reason}" for one in claim.synthesis.off_topic]
            return Reason("off_topic", few([one_line(text, 300) for text in told]))
        problems = check(
            claim,
            alpha[1].findings,
            beta[1].findings,
            lambda path: self._code(ledger, path),
            advocacy=step.title == "advocacy",
        )
        if problems:
            return Reason("synthesis_rejected", few([one_line(text, 300) for text in problems]))
        if step.title != "advocacy":
            found = KeptFindings(kept(claim, alpha[1].findings, beta[1].findings))
            write_record(self._path(stage.name, "kept", "json"), found.to_json())  # for reports
            text = _told(claim, found, [alpha, beta])
            replace_bytes(self._path(stage.name, "synthesis"), text.encode(errors="replace"))
        return None

    def findings(self, step: Step, claim: Claim) -> tuple[ReviewFinding, ...]:
        """What a run has found. A synthesis keeps what was found, in the words of those who found it."""
        return findings.kept(self._run, step.stage) if step.kind is StepKind.SYNTHESIS else claim.findings

    def _code(self, ledger: PlanLedger, path: str) -> str | None:
        """The text of a file that can rebut: git has it, or a step was seen to change it. What lies beside
        that may be a copy of an analysis.
        """
        root = self._config.root
        if (file := places.of_project(root, path)) is None:
            return None
        is_beside = Git(root).ask("ls-files", "--error-unmatch", "--", f":(literal){file}")[0] == 1
        is_made = any(file in step.changed for step in ledger.steps)
        return places.text_of(root, file) if is_made or not is_beside else None

    def _path(self, stage: str, name: str, kind: str = "md") -> str:
        return f"{self._run.path}/{name}-{stage}.{kind}"


def _claim(run: RunDir) -> Claim | None:
    """What it says. Of one that was asked for no result, such as what is made for an adversary: its last
    message, and the files that were seen to change.
    """
    found = record.load(run.result)
    if found is None or found.claim is not None:
        return None if found is None else found.claim
    said = (read_text(run.last_message, _LARGEST) or "")[:_LONGEST]
    changed = () if found.observed is None else found.observed.changed
    return Claim("completed", changed, (), clean_terminal(said), "")


def _said(claim: Claim) -> str:
    """All of its words, for a comparison."""
    parts = [claim.summary, *(f"{f.where} {f.title} {f.detail} {f.evidence}" for f in claim.findings)]
    return " ".join(" ".join(parts).split())


def _analysis(name: str, letter: str, claim: Claim) -> str:
    """An analysis by its neutral name. Its findings get ids, and its own words make no headings."""
    lines = [f"# Analysis {name}", "", *indented(claim.summary.strip() or "(no summary)"), ""]
    if claim.files_modified:
        lines += ["Files that it changed:", *(f"- {one_line(path)}" for path in claim.files_modified), ""]
    lines += [line for n, one in enumerate(claim.findings, 1) for line in _finding(f"{letter}{n}", one)]
    return "\n".join(lines) + "\n"


def _finding(name: str, one: ReviewFinding) -> list[str]:
    where = one_line(one.where or "no single file")
    head = f"## {name} ({one.severity}) {where}: {one_line(one.title)}"
    return [head, "", *indented(one.detail), "", "Evidence:", "", *indented(one.evidence), ""]


def _told(claim: Claim, found: KeptFindings, sides: Sequence[tuple[RunDir, Claim]]) -> str:
    """The synthesis for people and for the stages after it, with who was who."""
    assert claim.synthesis is not None
    lines = ["# Synthesis", "", *indented(claim.summary), ""]
    for name, (run, _) in zip(_NAMES, sides, strict=True):
        lines.append(f"Analysis {name} was run {run.run_id} of task {run.task_id}.")
    lines.append("")
    for n, (one, own) in enumerate(zip(found.findings, claim.findings, strict=True), 1):
        lines += [*_finding(f"{n}.", one), f"From: {', '.join(one.sources)}. The synthesis says of it:", ""]
        lines += [*indented(f"{own.title}\n{own.detail}"), ""]
    for gone in claim.synthesis.rebuttals:
        place = one_line(f"{gone.file}:{gone.line}: `{one_line(gone.quote)}`")
        lines += [f"## Rebutted: {gone.finding}", "", place, "", *indented(gone.reasoning), ""]
    return "\n".join(lines) + "\n"
