"""USE CASE `record`: makes a rehearsal script of a finished run. Edges: disk, git; nothing of it is run."""

from __future__ import annotations

import os
import re
from hashlib import sha256

from runner import runtimes
from runner.disk import files
from runner.errors import CassetteRefused, Conflict
from runner.model import Outcome
from runner.rehearsal.turns import Script
from runner.rehearsal.writing import written
from runner.runtimes.base import Kind
from runner.state.authentic import own_invocation, own_ledger
from runner.state.store import RunDir, is_run_id
from runner.text.words import count, few, one_line
from runner.usecases.accept import judged
from runner.usecases.cassette import STATUSES, FileChange, Maker
from runner.usecases.logs import redactor, unknown_secrets, unknown_values
from runner.usecases.look import look, to_end
from runner.usecases.tape import Tape
from runner.value import Value
from runner.workspace import snapshot
from runner.workspace.git import GitFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.state.manifest import Manifest
    from runner.workspace.snapshot import Snapshot

_LARGEST = 4 << 20
"""Bytes of a file, and of all that changed."""
_REPOSITORY = 0o160000
_MOST_NAMED = 12


class Cassette(Value):
    """A script of a run, and what a replay of it lacks or needs, one sentence each."""

    run_id: str
    path: str
    turns: int
    notes: tuple[str, ...]


def record(run: RunDir, place: str, *, force: bool, delays: bool) -> list[Cassette]:
    """Writes the script of a run to `place`, or those of a plan or pipeline into that folder. CassetteRefused
    where one would come to another end, or might show a secret. Nothing is written unless all of it can be.
    """
    manifest = look(run)
    if not manifest.is_done:
        raise Conflict(f"run `{run.run_id}` is `{manifest.status}`", hint=to_end(manifest))
    own_invocation(run)
    if manifest.plan is None:
        made = [_cassette(run, manifest, place, delays=delays)]
    else:
        of_each = _of_steps(run).items()
        made = [_cassette(one, look(one), f"{place}/{name}.toml", delays=delays) for name, one in of_each]
    for told, _ in made:
        _refuse_place(told.path, run.repo, force=force)
    try:
        if manifest.plan is not None:
            os.makedirs(place, exist_ok=True)
        for told, text in made:
            _write(told.path, text.encode(), force=force)
    except OSError as error:
        raise files.unwritable(error) from error
    return [told for told, _ in made]


def _of_steps(run: RunDir) -> dict[str, RunDir]:
    """Of each script that a rehearsal of this plan takes, the latest run."""
    try:
        steps = own_ledger(run).steps
    except Conflict as error:
        raise CassetteRefused(f"the runs of `{run.run_id}` are not known: {error}") from error
    named = ((step.script, step.run) for step in steps if step.has_run)
    found = {name: RunDir.of(run.repo, of) for name, of in named if of is not None and is_run_id(of.run_id)}
    if not found:
        raise CassetteRefused(f"no run was started for `{run.run_id}`")
    return found


def _cassette(run: RunDir, manifest: Manifest, path: str, *, delays: bool) -> tuple[Cassette, str]:
    own_invocation(run)
    _refuse_end(manifest)
    unknown = {*unknown_secrets(run, manifest), *unknown_values(run, manifest)}
    if unknown and run.read_invocation().rehearsal is not None:  # it gave a word for a key
        unknown -= runtimes.get(manifest.runtime.name).rehearsal(0, 0, {})[1].keys()
    if unknown:
        raise CassetteRefused(
            f"run `{run.run_id}` was given {' and '.join(sorted(unknown))}, whose value is not known here",
            hint="set it as it was, so that it can be looked for",
        )
    tape, taken = Tape(run, manifest), snapshot.load(run.path)
    changed = {} if taken is None else _changed(run, manifest, taken)
    if taken is None and any(call.kind is Kind.FILE_CHANGE for one in tape.answers for call in one.calls):
        raise CassetteRefused(
            f"run `{run.run_id}` has edited files, and what was written is not known",
            hint="read-only runs and runs outside git are not recorded",
        )
    maker = Maker(redactor(run, manifest), manifest, tape, changed)
    _refuse_other(run, manifest, tape, maker)
    turns = maker.turns(delays=delays)
    notes = tuple(map(maker.shown, (*maker.notes(), *_of_run(manifest, taken))))
    runtime = f"{manifest.runtime.name} {manifest.runtime.version}".rstrip()
    ended = manifest.status + ("" if manifest.reason is None else f" ({manifest.reason.code})")
    head = [f"recorded from {run.task_id}/{run.run_id}, {runtime}, which ended as {ended}"]
    if taken is not None:
        dirty = (*taken.dirty, *taken.untracked)
        beside = f"; not committed then: {few(dirty, _MOST_NAMED)}" if dirty else ""
        head.append(f"base commit {taken.position.head}{beside}")
    comments = [one_line(maker.shown(f"{text[:1].upper()}{text[1:]}.")) for text in (*head, *notes)]
    befores = ((name, changed[name].before) for name in sorted(changed))
    begins = tuple((name, "" if data is None else sha256(data).hexdigest()) for name, data in befores)
    script = Script(tuple(turns), begins_with=begins)
    return Cassette(run.run_id, path, len(turns), notes), written(script, comments)


def _refuse_end(manifest: Manifest) -> None:
    code = "" if manifest.reason is None else manifest.reason.code
    is_cut = manifest.outcome in (Outcome.CANCELLED, Outcome.LOST)
    if not manifest.is_done or is_cut or (manifest.outcome is Outcome.FAILED and code not in STATUSES):
        raise CassetteRefused(
            f"run `{manifest.run_id}` is `{manifest.status}` ({code}), which no script brings about",
            hint="record a run that its agent has ended, or its model",
        )


def _refuse_other(run: RunDir, manifest: Manifest, tape: Tape, maker: Maker) -> None:
    """Where the stream is not whole, its replay would come to something else."""
    why = None
    said = [one.message for one in tape.answers if one.message is not None]
    last = files.read_text(run.last_message)
    if tape.unread:
        why = f"line {tape.unread[0]} of its stream is no event"
    elif manifest.outcome is Outcome.FAILED and not any(one.failure for one in tape.answers[-1:]):
        why = "its stream does not tell what failed"
    elif manifest.outcome in (Outcome.SUCCEEDED, Outcome.REJECTED):
        if not said:
            why = "its stream has no message of the agent"
        elif last is not None and _folded(maker.shown(last)) != _folded(maker.shown(said[-1])):
            why = "its stream does not end with the last message of the run"
    if why is not None:
        hint = f"{run.stdout} was cut off or edited, or is of a program that does not tell enough"
        raise CassetteRefused(f"run `{run.run_id}` cannot be recorded: {why}", hint=hint)


def _folded(text: str) -> str:
    """Of a value with a quote in it, a text loses its parts and a string of JSON the whole."""
    return re.sub(r"\[redacted\](?:[\"'\s,:{}\[\]]*\[redacted\])+", "[redacted]", text).strip()


def _of_run(manifest: Manifest, taken: Snapshot | None) -> Iterator[str]:
    """What is not of the model, and a replay needs or lacks."""
    if len(manifest.attempts) > 1:
        yield f"{len(manifest.attempts)} processes play this in order: a replay needs the same retries"
    if manifest.messages_given:
        sent = count(len(manifest.messages_given), "message")
        yield f"a person sent it {sent}: a replay has to get them too"
    if manifest.continues is not None:
        yield "it went on in the session of another run, which a replay does not have"
    if taken is None:
        yield "what its commands changed is not known"


def _changed(run: RunDir, manifest: Manifest, taken: Snapshot) -> dict[str, FileChange]:
    """The files of the run's change as it was judged, or as they are now."""
    from runner.workspace.rollback import discarded

    found, total = {}, 0
    try:
        tree = judged(run)
        if tree is None and discarded(run.path) is not None:
            raise CassetteRefused(f"the changes of run `{run.run_id}` were rolled back before they were seen")
        if not os.path.isdir(taken.root):  # accepted or discarded
            taken = taken.replace(root=run.repo)
            if tree is None:
                raise CassetteRefused(f"the work tree of run `{run.run_id}` is gone, and was not looked at")
        git, end = taken.shadow.git, tree or taken.look().tree
        for path, mode, oid, mode_after, oid_after in taken.shadow.differing(taken.tree, end):
            if _REPOSITORY in (mode, mode_after):
                raise CassetteRefused(f"run `{run.run_id}` has changed the repository in {one_line(path)}")
            before = git.run("cat-file", "blob", oid) if mode else None
            after = git.run("cat-file", "blob", oid_after) if mode_after else None
            total += len(after or b"")
            if total > _LARGEST or len(before or b"") > _LARGEST:
                raise CassetteRefused(
                    f"run `{run.run_id}` has changed too much: {one_line(path)} is too large"
                )
            kinds = {one for one in (mode, mode_after) if one}
            found[path] = FileChange(before, after, mode_after or mode, len(kinds) > 1)
    except (OSError, GitFailed) as error:
        raise CassetteRefused(f"the changes of run `{run.run_id}` are not whole: {error}") from error
    return found


def _refuse_place(path: str, root: str, *, force: bool) -> None:
    at, top = os.path.join(os.getcwd(), path), os.path.realpath(root)
    links = [way for way in (at[:n] for n in range(1, len(at)) if at[n] == "/") if os.path.islink(way)]
    owners = [f"{os.path.realpath(os.path.dirname(way))}/" for way in links]
    if os.path.islink(at) or any(owner.startswith(f"{top}/") for owner in owners):
        raise Conflict(f"{path} is a link, or leads through one of the repository", hint="name another file")
    inside = os.path.realpath(at).removeprefix(f"{top}/").split("/")
    if ".git" in inside or inside[0] == ".runs":
        raise Conflict(f"{path} is in a folder of git or runner", hint="name another file")
    if os.path.lexists(at) and not (force and os.path.isfile(at)):
        hint = "name another file, or add --force to replace a regular one"
        raise Conflict(f"{path} is there already", hint=hint)


def _write(path: str, data: bytes, *, force: bool) -> None:
    if force:
        mask = os.umask(0)
        os.umask(mask)
        files.replace_bytes(path, data, mode=0o666 & ~mask)
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o666), "wb") as file:
        file.write(data)
