"""What a run's owner tells in the ledger by itself: begin, end, what was changed and checked, and the markers
of the agent. Edge: disk.

Each thing has a key and is told once, whoever tells it again. What cannot be told now (another one has the
lock, the disk refuses) is told at a later tick, by the seal or by a later owner: all of it is made from files
of the run's folder. No run waits for its ledger to end.
"""

from __future__ import annotations

import os
import time

from runner.disk.files import read_text
from runner.model import Level, Outcome
from runner.runtimes import PLAN
from runner.state.manifest import CLOSING, between
from runner.text.terminal import named, plain
from runner.text.words import and_more, count, one_line, shortened
from runner.value import json_value
from runner.verify.inspect import WHILE_CHECKED, Severity
from runner.verify.record import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from runner.invocation import Invocation
    from runner.ledger.entry import NewEntry
    from runner.ledger.file import Ledger
    from runner.state.manifest import Manifest
    from runner.state.store import RunDir
    from runner.supervise.sealing import Cleaner
    from runner.verify.checks import Check
    from runner.verify.inspect import Finding
    from runner.verify.record import Record

_LONGEST_WAIT_S = 30.0
_MOST_FILES = 100
_LONGEST_NAME = 1000
_LONGEST_MESSAGE = 4000
_MOST_FINDINGS, _LONGEST_FINDING = 8, 300
_TOKENS = {"input": "input", "cached": "cached_input", "output": "output"}
_HINT, _REQUEST = 80, 1 << 16
"""Characters of a request that are told, and those that they are made of."""
_BLOCKED = ("blocked", "scope_expansion", "auth_or_quota")
"""Classes of an end that somebody else has to do something about."""


class Witness:
    """Of one run. Nothing of the ledger is loaded before there is something to tell."""

    def __init__(self, run: RunDir, invocation: Invocation, cleaner: Callable[[], Cleaner]) -> None:
        self._run, self._invocation, self._cleaner = run, invocation, cleaner
        self._ledger: Ledger | None = None
        self._has_begun = self._is_over = False
        self._turns = 0
        """The markers of so many turns are told."""
        self._next = self._wait_s = 0.0

    def look(self, manifest: Manifest) -> None:
        """At each tick: tells that it has begun, and what its agent has said at the end of a turn."""
        if (self._has_begun and self._turns == manifest.turns) or time.monotonic() < self._next:
            return
        if self._tell([*self._so_far(manifest)], manifest):
            self._wait_s = 0.0
        else:
            self._wait_s = min(2 * self._wait_s or 1.0, _LONGEST_WAIT_S)
            self._next = time.monotonic() + self._wait_s

    def end(self, manifest: Manifest, found: Record | None = None) -> bool:
        """Tells all of a run that has ended, at the price of one entry. False: not now, tell it again."""
        if not self._is_over:
            found = found or load(self._run.result)
            known = found if found is not None and found.attempt == manifest.attempt else None
            self._is_over = self._tell([*self._so_far(manifest), *self._at_end(manifest, known)], manifest)
        return self._is_over

    def _tell(self, drafts: list[NewEntry], manifest: Manifest) -> bool:
        if not os.path.isdir(self._run.path):
            return True  # the run is gone, and its task may be
        if self._ledger is None:
            self._ledger = _ledger_of(self._invocation)
        if is_told := not drafts or self._ledger.tell(drafts, self._cleaner().word):
            self._has_begun, self._turns = True, manifest.turns
        return is_told

    def _so_far(self, manifest: Manifest) -> Iterator[NewEntry]:
        from runner.ledger.entry import MARKED, EntryType

        own = self._invocation
        if not self._has_begun and manifest.started_at is not None:
            told = {"task": own.task_id, "runtime": own.runtime, "model": own.model and _line(own.model)}
            told["sandbox"] = own.sandbox.name
            told["rehearsal"] = "its model is scripted" if manifest.rehearsal else None
            told |= {"host": own.host, "session": own.sessions[0] if own.host and own.sessions else None}
            told["hint"] = self._hint()
            yield self._draft(EntryType.RUN_STARTED, "started", told)
        turns = [one for one in manifest.attempts if one.how != CLOSING]
        for turn in range(self._turns + 1, manifest.turns + 1):
            if turn < len(turns) and not turns[turn].messages:
                continue  # it was tried again, and what it came to is for nobody
            said = _said(self._run.turn(turn))
            if said is None or MARKED not in said:
                continue
            from runner.verify.markers import read_marker  # few say anything of it

            speaker = self._draft(EntryType.NOTE, f"turn-{turn}", {})
            marked = read_marker(said, speaker.replace(actor=own.task_id, runtime=own.runtime))
            if marked is not None:
                yield self._referring(marked)

    def _referring(self, marked: NewEntry) -> NewEntry:
        """As it is, where it refers to nothing outside of the repository."""
        from runner.ledger.entry import EntryInvalid, not_admitted
        from runner.ledger.references import references

        if not (refs := marked.payload.get("context_refs")):
            return marked
        try:
            told = {**marked.payload, "context_refs": references(self._run.repo, refs)}
        except EntryInvalid as error:
            return not_admitted(marked, error.message)
        return marked.replace(payload=told)

    def _at_end(self, manifest: Manifest, found: Record | None) -> Iterator[NewEntry]:
        from runner.ledger.entry import EntryType

        own = self._invocation
        if manifest.started_at is not None and own.runtime != PLAN:
            changes, checked = patch(own, manifest, found), tests(own, manifest, found)
            is_telling = own.sandbox.level is not Level.READ_ONLY
            if is_telling or changes["status"] != "skipped":
                yield self._draft(EntryType.ARTIFACT, "patch", self._artifact(changes))
            if is_telling or checked["evidence"]:
                yield self._draft(EntryType.ARTIFACT, "tests", self._artifact(checked))
        yield self._draft(EntryType.RUN_ENDED, "ended", ended(manifest, found))

    def _hint(self) -> str:
        """How the request begins, on one line; secrets are looked for before it is cut. Sections of ours
        stand behind it, and what is sent to a session that goes on is a request of its own.
        """
        asked = "" if self._invocation.continues is not None else self._beginning(self._run.asked)
        said = asked or self._beginning(self._run.prompt).lstrip().partition("\n\n## ")[0]
        return one_line(self._cleaner().text(one_line(said)), _HINT)

    def _beginning(self, path: str) -> str:
        """Of a text of people, without secrets, also none of which the rest was not read."""
        said, cleaner = read_text(path, _REQUEST) or "", self._cleaner()
        return cleaner.beginning(said) if len(said.encode()) >= _REQUEST else cleaner.text(said)

    def _artifact(self, told: dict[str, Any]) -> dict[str, Any]:
        rehearsed = "" if self._invocation.rehearsal is None else "rehearsed: "
        return {**told, "title": f"{rehearsed}{told['title']}"}

    def _draft(self, kind: Any, what: str, payload: dict[str, Any]) -> NewEntry:
        from runner.ledger.entry import RUNNER, NewEntry

        run_id = self._run.run_id
        return NewEntry(kind, RUNNER, payload, run_id=run_id, key=f"{run_id}:{what}")


def ended(manifest: Manifest, found: Record | None) -> dict[str, Any]:
    """What its end is told with. The model is the one that was seen, and the verdict that of a judgement."""
    reason, judged, usage = manifest.reason, None if found is None else found.verdict, manifest.usage
    seen = manifest.conformance and manifest.conformance.model.observed
    took = None if manifest.started_at is None else between(manifest.started_at, manifest.ended_at)
    told: dict[str, Any] = {"status": manifest.status, "outcome": manifest.outcome}
    if reason is not None:
        told |= {"code": reason.code, "message": shortened(reason.message, _LONGEST_MESSAGE)}
    told |= {"exit_code": manifest.exit_code, "model": seen and _line(seen)}
    told["thread"] = manifest.thread_id and _line(manifest.thread_id)
    told["tokens"] = {name: getattr(usage, f"{of}_tokens") for name, of in _TOKENS.items()}
    told["verdict"] = judged and f"{judged.outcome}: {judged.code}"
    return {**told, "duration_s": None if took is None else round(took, 3)}


def patch(own: Invocation, manifest: Manifest, found: Record | None) -> dict[str, Any]:
    """What was seen to be changed, as an artifact says it. Changes that nobody has looked at are unknown."""
    observed, outcome = None if found is None else found.observed, manifest.outcome
    changed = None if observed is None else observed.changed
    is_reader, is_success = own.sandbox.level is Level.READ_ONLY, outcome is Outcome.SUCCEEDED
    none_expected = changed is not None and (is_success or not own.terms.expects_change)
    is_back = found is not None and found.rolled_back is not None and not found.rolled_back.amiss
    if not changed and (is_reader or none_expected):
        status = "skipped"
    elif is_success:
        status = "unknown" if changed is None else "passed"
    else:
        status = _of_end(manifest, found)
    if changed is None:
        title = "nothing was to be changed" if status == "skipped" else "what was changed is not known"
    else:
        title = f"{count(len(changed), 'file')} changed" + (", and taken back" if changed and is_back else "")
    lines = None if observed is None else observed.lines
    reason = "" if manifest.reason is None else f": {shortened(manifest.reason.message, _LONGEST_MESSAGE)}"
    seen = "" if lines is None else f"+{lines[0]} -{lines[1]} lines; "
    return {
        "kind": "patch_summary",
        "title": title,
        "summary": f"{seen}{manifest.status}{reason}{_findings(_told_against(found))}",
        "status": status,
        "evidence": [manifest.manifest_path if found is None else _beside(manifest, "result.json")],
        "files": [] if is_back else [_line(named(name)) for name in (changed or ())[:_MOST_FILES]],
    }


def tests(own: Invocation, manifest: Manifest, found: Record | None) -> dict[str, Any]:
    """What came of the checks that runner ran itself, as an artifact says it."""
    checks, declared = () if found is None else found.checks, len(own.verify)
    failing = next((check for check in checks if not check.passed), None)
    if failing is not None:
        title = _named(failing)
        status = "timed_out" if failing.timed_out else "failed"
        if failing.exit_code is None and not failing.timed_out:
            status = "unknown" if failing.is_cut else "blocked"
    elif not declared:
        title, status = "no checks were declared", "unknown"
    elif not checks:
        title, status = f"{count(declared, 'check')} declared, none was run", "skipped"
    else:
        title = f"{count(len(checks), 'check')} passed"
        status = "passed" if len(checks) >= declared else "unknown"
    doubts = [] if not checks else [one for one in _told_against(found) if _is_doubt(one)]
    if status == "passed" and (deep := [one for one in doubts if not _is_made_up_for(own, one)]):
        title, status = f"{title}, but {_short(deep[0].message)}", "unknown"
    logs = ((check, f"verify-{n}.log") for n, check in enumerate(checks[:_MOST_FILES], 1))
    return {
        "kind": "test_report",
        "title": title,
        "summary": f"runner ran {len(checks)} of {count(declared, 'declared check')}{_findings(doubts)}",
        "status": status,
        "evidence": [f"{_named(check)}: {_beside(manifest, log)}" for check, log in logs],
    }


def _is_doubt(finding: Finding) -> bool:
    """Whether a check that passed says nothing of the work after it."""
    return finding.code in ("check_changed", "checks_elsewhere") or WHILE_CHECKED in finding.message


def _told_against(found: Record | None) -> list[Finding]:
    """The findings that are errors or warnings."""
    return [] if found is None else [one for one in found.findings if one.severity is not Severity.INFO]


def _is_made_up_for(own: Invocation, finding: Finding) -> bool:
    """Whether the checks ran with their own files as before the run. What is an error is none of these."""
    is_own = finding.code == "check_changed" and finding.severity is Severity.WARNING
    return is_own and own.terms.verify_from == "base"


def _findings(found: Sequence[Finding]) -> str:
    """Behind a summary: the codes, what was seen, and in what."""
    told = (f"{one.code}: {_short(one.message)}: {_short(', '.join(one.named(5)))}" for one in found)
    return "".join(f"\n{one.removesuffix(': ')}" for one in and_more([*told], _MOST_FINDINGS))


def _short(text: str) -> str:
    return one_line(text, _LONGEST_FINDING)


def _named(check: Check) -> str:
    return f"`{_line(plain(' '.join(check.argv)))}` {check.how}"


def _line(name: str) -> str:
    return one_line(name, _LONGEST_NAME) or ascii(name[:_LONGEST_NAME])


def _of_end(manifest: Manifest, found: Record | None) -> str:
    """The status of work that did not succeed; of what nobody has judged it is not known."""
    judged = None if found is None else found.verdict
    code = judged.code if judged is not None else manifest.reason and manifest.reason.code
    if manifest.outcome in (Outcome.FAILED, Outcome.REJECTED):
        return "blocked" if code in _BLOCKED else "failed"
    return "timed_out" if manifest.outcome is Outcome.TIMED_OUT else "unknown"


def _beside(manifest: Manifest, name: str) -> str:
    return f"{os.path.dirname(manifest.manifest_path)}/{name}"


def _said(path: str) -> str | None:
    """The final message of a turn, without secrets; None where it did not come to one."""
    try:
        told = json_value(read_text(path) or "")
        said = told["message"] if told["status"] == "completed" else None
    except (ValueError, LookupError, TypeError):
        return None
    return said if isinstance(said, str) else None


def _ledger_of(invocation: Invocation) -> Ledger:
    """Where a run is witnessed."""
    from runner.ledger.file import Ledger

    return Ledger(invocation.repo, invocation.ledger_task)
