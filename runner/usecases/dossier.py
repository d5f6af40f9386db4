"""USE CASE: all that is known of a run in one value, for a page. Edges: disk, git."""

from __future__ import annotations

import contextlib
from collections import deque

from runner import runtimes
from runner.errors import RunnerError
from runner.model import Level
from runner.state.fingerprints import WITHHELD
from runner.state.lineage import children
from runner.usecases import review
from runner.usecases.logs import LogLine, redactor, unknown_values
from runner.usecases.story import Story
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner.state.manifest import Manifest
    from runner.state.store import RunDir
    from runner.usecases.review import Reviewed
    from runner.workspace.changes import LinesChanged

_LINES = 500
_MIB = 16
"""So much of a patch is looked at: a page shows a part of that."""


class Dossier(Value):
    """Texts are redacted, and cleaned only where a report has them."""

    reviewed: Reviewed
    manifest: Manifest
    title: str
    effective: Mapping[str, str]
    """The settings of `report.conformance` as the program was given them; empty where that is not known."""
    command: str
    lines: tuple[LogLine, ...]
    """The story, with the runs below it; the last so many lines."""
    earlier: int
    """How many lines were before those."""
    patch: str
    files: tuple[LinesChanged, ...]
    of_patch: tuple[str, ...]
    """What has to be said of it, or why there is none."""
    below: tuple[Manifest, ...]
    declared_checks: int = 0


def dossier(run: RunDir) -> Dossier:
    """Of a run, done or not. What cannot be had is left out, and said."""
    manifest = (reviewed := review.report(run)).manifest
    redact = redactor(run, manifest).redact_text
    story, count = Story(run, manifest).lines("events", final=manifest.is_done), 0
    lines: deque[LogLine] = deque(maxlen=_LINES)
    for count, line in enumerate(story, 1):  # noqa: B007 - the last one counts
        lines.append(line)
    effective, command, checks = _given(run, manifest, redact)
    patch, files, of_patch = _patch(run, manifest, redact)
    told, before, title = tuple(lines), count - len(lines), redact(manifest.title or "")
    below = []
    for child in children(run):
        with contextlib.suppress(RunnerError):
            below.append(child.read_manifest())
    return Dossier(
        *(reviewed, manifest, title, effective, command, told, before, patch, files, of_patch),
        below=tuple(below),
        declared_checks=checks,
    )


def _given(run: RunDir, manifest: Manifest, redact: Callable[[str], str]) -> tuple[dict[str, str], str, int]:
    """The settings that it was started with, its command, and how many checks it was to pass."""
    import shlex

    try:
        i = run.read_invocation()
        approval = runtimes.get(i.runtime).approval(i.sandbox.level)
    except RunnerError:
        return {}, "", 0
    command = WITHHELD if unknown_values(run, manifest) else redact(shlex.join(i.argv))
    if manifest.plan is not None:  # each batch is given its own
        return {}, command, len(i.verify)
    network = i.sandbox.network and i.sandbox.level is not Level.DANGER
    effective = {
        "model": i.model or "its own default",
        "sandbox": f"{i.sandbox.level}{' with network' if network else ''}",
        "approval": approval or "its own rules",
        "effort": i.reasoning_effort or "its own default",
    }
    told = {name: redact(text) for name, text in effective.items()}
    return told, command, len(i.verify)


def _patch(
    run: RunDir, manifest: Manifest, redact: Callable[[str], str]
) -> tuple[str, tuple[LinesChanged, ...], tuple[str, ...]]:
    if unknown := unknown_values(run, manifest):
        return (
            "",
            (),
            (f"withheld: the value of {' and '.join(unknown)} is not known here, and a page is redacted",),
        )
    try:
        found = review.diff(run)
    except RunnerError as error:
        return "", (), (redact(error.message),)
    text = redact(found.data[: _MIB << 20].decode(errors="replace"))
    notes = [redact(note) for note in found.notes if note != review.HAS_SECRET]  # here it is taken out
    if len(found.data) > _MIB << 20:
        notes.append(f"only the first {_MIB} MiB of the patch were looked at")
    return text, found.files, (*notes, *(() if text else ("no file was changed",)))
