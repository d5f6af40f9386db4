"""USE CASE: what two runs differ in, part by part. Edges: disk and git, both for reading.

What is not known of a run is None here, and never counts as equal. Texts are redacted and clean; what is of
one run alone (its id, its folders) has the same name in both.
"""

from __future__ import annotations

import contextlib
import shlex
from collections import Counter
from itertools import takewhile
from operator import eq

from runner.disk.files import read, read_text
from runner.errors import RunnerError, RunNotFound, UsageError
from runner.lightjson import dumps
from runner.state.authentic import own_invocation, own_ledger, refuse_foreign, why_foreign
from runner.state.manifest import between
from runner.state.store import RunDir, runs_of
from runner.text.differences import Difference, differences
from runner.text.terminal import clean_terminal, named
from runner.text.words import count, numbered, shortened
from runner.usecases import accept, review
from runner.usecases.logs import redactor, unknown_secrets, unknown_values
from runner.usecases.look import look
from runner.usecases.story import Story, StoryLine
from runner.value import Value, json_value
from runner.verify import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from runner.state.manifest import Manifest

    Known = Mapping[str, str | None]
    Pairs = list[tuple[str, str | None]]

_MOST = _LONGEST = 1000
_APART = (
    *("mac", "schema_version", "task_id", "run_id", "repo", "manifest_path", "program", "version", "argv"),
    *("cwd", "parent", "origins", "temp", "ledger", "config_digest", "prompt_digest", "resume_argv"),
    *("closing_argv", "fresh_argv", "retry_of", "program_stamp", "tied_to", "sessions", "continues"),
    *("thread_id", "sessions_home", "rehearsal", "watched", "runner_version"),
)
"""What of an invocation is another in each run, or is told elsewhere."""


class Aspect(Value):
    differences: tuple[Difference, ...] = ()
    unknown: tuple[str, ...] = ()
    """What is not known of one of the runs."""
    more: int = 0
    """How many differences, or lines that differ, are not here."""
    compared: int = 1
    """How many things were compared, the equal ones included."""
    lines: tuple[str, ...] = ()
    """The unified diff of a text."""


Parts = dict[str, Aspect | None]
"""None: nothing of it is known of one of the runs."""


def last_that_worked(run: RunDir) -> RunDir:
    """The newest earlier run of its task and its kind that succeeded; of another runtime only where none of
    its own has. RunNotFound where none is left.
    """
    refuse_foreign(run)
    manifest, others = look(run), list[RunDir]()
    for one in runs_of(run.repo, run.task_id):
        with contextlib.suppress(RunnerError):
            worked = one.run_id < run.run_id and (found := one.read_manifest()).outcome == "succeeded"
            if worked and _kind(found) == _kind(manifest) and why_foreign(one) is None:
                if found.runtime.name == manifest.runtime.name:
                    return one
                others.append(one)
    if others:
        return others[0]
    raise RunNotFound(
        f"no earlier run of task `{run.task_id}` that succeeded is left to compare `{run.run_id}` with",
        hint="name the run to compare with: `runner diff-runs A B`",
    )


def _kind(manifest: Manifest) -> tuple[object, ...]:
    """A rehearsal says nothing of a model, and a batch nothing of another one."""
    is_batch = manifest.parent is not None
    return manifest.rehearsal, (manifest.plan or {}).get("file"), is_batch, is_batch and manifest.title


def diff_runs(before: RunDir, after: RunDir) -> tuple[Manifest, Manifest, Parts]:
    """ForeignRun or InvocationBroken where the records of one cannot be believed."""
    if before.run_id == after.run_id:
        hint = "name two runs, or one alone: it is compared with the last that succeeded before it"
        raise UsageError(f"both are run `{after.run_id}`", hint=hint)
    a, b = _Side(before), _Side(after)
    known, parts = b.known(), {"prompt": of_texts(a.prompt(), b.prompt())}
    parts |= {name: compared(one, known[name]) for name, one in a.known().items()}
    return a.manifest, b.manifest, parts


def compared(before: Known | None, after: Known | None) -> Aspect | None:
    """A key that only one has is a difference, whatever it has there."""
    if before is None or after is None:
        return None
    unknown = dict.fromkeys(key for key in before if key in after and None in (before[key], after[key]))
    a, b = ({key: one or "?" for key, one in each.items() if key not in unknown} for each in (before, after))
    if unknown and not a and not b:
        return None
    found = differences(a, b)
    cut = ([text and shortened(text, _LONGEST) for text in one.to_json().values()] for one in found[:_MOST])
    shown = tuple(map(Difference.of, cut))
    return Aspect(shown, (*unknown,)[:_MOST], max(0, len(found) - _MOST), len({*a, *b}))


def of_texts(before: str | None, after: str | None) -> Aspect | None:
    """From the first line that differs on; so far, comparing takes no time worth a name. Of the rest, `more`
    counts what only one has.
    """
    if before is None or after is None or before == after:
        return None if before is None or after is None else Aspect()
    import difflib

    a, b = before.split("\n"), after.split("\n")
    begin = sum(takewhile(bool, map(eq, a, b)))
    end = min(sum(takewhile(bool, map(eq, reversed(a), reversed(b)))), len(a) - begin, len(b) - begin)
    a, b = (each[max(0, begin - 3) : len(each) - max(0, end - 3)] for each in (a, b))
    at = to = begin - max(0, begin - 3) + _MOST
    if max(len(a), len(b)) > at:  # up to the last lines that both have, or they end at different ones
        last = difflib.SequenceMatcher(None, a[:at], b[:to]).get_matching_blocks()[-2:][0]
        at, to = (last.a + last.size, last.b + last.size) if last.a + last.size > 3 else (at, to)
    diff = [*difflib.unified_diff(a[:at], b[:to], lineterm="")][3:]
    lines = tuple("..." if line[:2] == "@@" else shortened(line, _LONGEST) for line in diff[:_MOST])
    one, two = Counter(a[at:]), Counter(b[to:])
    rest = ((one - two) + (two - one)).total() or int(a[at:] != b[to:])
    return Aspect(more=sum(line[0] in "+-" for line in diff[_MOST:]) + rest, lines=lines)


class _Side:
    """What is known of one run."""

    def __init__(self, run: RunDir) -> None:
        from runner.workspace import snapshot

        self._run, self._invocation, self.manifest, self._taken = run, own_invocation(run), look(run), None
        i, self._report = self._invocation, review.report(run).report
        self._redact, self._is_plan = redactor(run, self.manifest).redact_text, self.manifest.plan is not None
        self._is_withheld = bool(unknown_secrets(run, self.manifest))
        with contextlib.suppress(RunnerError, OSError):
            self._taken = snapshot.load(run.path)
        own = {i.manifest_path: "MANIFEST", i.cwd if i.cwd != i.repo else "": "WORKSPACE", i.temp: "TEMP"}
        own |= {i.thread_id: "THREAD", i.run_id: "RUN"}
        own |= {f"127.0.0.1:{i.rehearsal.port}": "127.0.0.1:PORT"} if i.rehearsal else {}
        self._own = [(word, name) for word, name in own.items() if word]

    def _said(self, text: str) -> str:
        text = self._redact(clean_terminal(text))
        for word, name in self._own:
            text = text.replace(word, name)
        return text

    def prompt(self) -> str | None:
        text = None if self._is_withheld else read_text(self._run.prompt)
        return text and self._said(text)

    def known(self) -> dict[str, Known | None]:
        i, m, seen = self._invocation, self.manifest, self._report.conformance.model.observed
        written = dict(_flat(json_value(read(self._run.invocation))))  # an older runner did not know them all
        settings = {key: text if key in written else None for key, text in _flat(i.to_json())}
        settings["rehearsal"] = dumps((i.rehearsal.script or True) if i.rehearsal else False)
        took = None if m.started_at is None else between(m.started_at, m.ended_at)
        code, message = (m.reason.code, m.reason.message) if m.is_done and m.reason else (None, None)
        ran = self._report.checks
        checks: Pairs = [(one.command, "passed" if one.passed else f"failed: {one.how}") for one in ran]
        checks += [(shlex.join(argv), "not run") for argv in i.verify[len(ran) :]]
        parts: dict[str, Known | Pairs | None] = {
            "settings": settings,
            "arguments": {word: count(number, "time") for word, number in Counter(i.argv[1:]).items()},
            "versions": {
                **{"runner": i.runner_version, i.runtime: i.version},
                **{"program": i.program, "observed model": seen},
            },
            "base": self._base(),
            "commands": self._commands(),
            "files": self._files(),
            "checks": None if self._is_plan else checks,
            "findings": self._findings(),
            "steps": self._steps(),
            "tokens": {key: n if n is None else f"{n:,}" for key, n in m.usage.to_json().items()},
            "time": {"time": None if took is None else f"{took:.1f} s"},
            "attempts": {"attempts": str(m.attempt)},
            "verdict": {"outcome": m.outcome, "reason": code, "message": message},
        }
        if unknown_values(self._run, m):  # an invocation is not sealed
            parts |= dict.fromkeys(("settings", "arguments", "checks"))
        return {name: None if one is None else self._told(one) for name, one in parts.items()}

    def _told(self, part: Known | Pairs) -> Known:
        pairs = part if isinstance(part, list) else [*part.items()]
        names = numbered(self._said(name) for name, _ in pairs)
        return {name: one and self._said(one) for name, (_, one) in zip(names, pairs, strict=True)}

    def _base(self) -> Known | None:
        taken, place = self._taken, self.manifest.workspace
        base = place.base if place else None
        if taken is None:
            return {"commit": base, "branch": None, "uncommitted": None} if base else None
        at, dirty = taken.position, count(len(taken.dirty) + len(taken.untracked), "file")
        return {"commit": at.head or "none", "branch": at.branch or "none", "uncommitted": dirty}

    def _commands(self) -> Known | None:
        if self._is_plan or self._is_withheld or read_text(self._run.stdout, 1) is None:
            return None
        lines = Story(self._run, self.manifest, alone=True).lines("events", final=True)
        told = (one for one in lines if isinstance(one, StoryLine))
        used = Counter(x.text for x in told if x.kind == "ran" or (x.kind == "running" and x.note))
        return {text: count(number, "time") for text, number in used.items()}

    def _files(self) -> Known | None:
        """Each with what git calls its content, as it was judged."""
        seen, taken, made = self._report.files.observed, self._taken, {}
        with contextlib.suppress(RunnerError, OSError):
            if taken is not None and (tree := accept.judged(self._run)) is not None:
                shadow = taken.replace(root=self._run.path).shadow  # its own work tree may be gone
                for path, _, _, mode, name in shadow.differing(taken.tree, tree):
                    made[path] = f"{mode:o} {name[:12]}" if mode else "deleted"
        return None if seen is None or self._is_plan else {named(path): made.get(path) for path in seen}

    def _findings(self) -> Pairs | None:
        found, claimed = record.load(self._run.result), self._report.review_findings
        is_judged = found is not None and self.manifest.is_done and found.attempt == self.manifest.attempt
        is_review = self._invocation.terms.output_contract not in (None, "final", "closing-turn")
        if self._is_plan or not is_judged or (claimed is None and is_review):
            return None
        seen: Pairs = [(f"{one.code}: {one.message}", str(one.severity)) for one in self._report.findings]
        return seen + [(f"{named(one.file)}: {one.title}", one.severity) for one in claimed or ()]

    def _steps(self) -> Known | None:
        try:
            steps = own_ledger(self._run).steps if self._is_plan else ()
        except RunnerError:
            return None
        return {one.called: f"{one.status}: {one.why.code}" if one.why else str(one.status) for one in steps}


def _flat(told: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, str]]:
    """Settings by their names in `delegate.toml`, or nearly so."""
    for name, value in told.items():
        if not inside and name in _APART:
            continue
        if isinstance(value, dict):
            yield from _flat(value, "" if name == "terms" else f"{inside}{name}.")
        else:
            yield inside + name, dumps(value)
