"""USE CASE `audit`: what the ledgers say of the runs of a repository, whether that is whole, and the rows of
`conversations.idx`. Edge: disk.

There is no record beside the ledgers: each run is witnessed in that of its task, which stays when runs go.
"""

from __future__ import annotations

import os
import stat

from runner.disk.digest import sha256
from runner.disk.files import make_plain_folder, read, read_text, replace_bytes, unwritable
from runner.disk.locks import Lock
from runner.errors import Conflict, RunnerError, RunNotFound, Unwritable
from runner.ledger.chain import Break
from runner.ledger.entry import EntryType, is_of_runner
from runner.ledger.file import Ledger, Look
from runner.state.authentic import OLDER, Foreign, Why, own_invocation, tasks_of, why_foreign
from runner.state.manifest import parse_timestamp
from runner.state.store import RUNS, RunDir, runs_of
from runner.text.words import one_line
from runner.usecases.look import is_held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from runner.ledger.entry import LedgerEntry

    Row = dict[str, Any]

IDX = {"codex": ".codex", "kay": ".kay"}
"""The runtimes that have a `conversations.idx`, and its folder in the project."""
_KINDS = (EntryType.RUN_STARTED, EntryType.RUN_ENDED)
_BEGUN = ("host", "session", "hint", "runtime", "sandbox", "rehearsal")
_ENDED = ("status", "outcome", "code", "exit_code", "model", "thread", "tokens", "verdict", "duration_s")
_TIMES = ("started", "ended")
_WITNESSED = '"ledger":'
"""What the invocation of a runner has that keeps ledgers."""
_OF_OTHERS = (Why.OWNER, Why.TRACKED, Why.MOVED)
"""Why a run is not ours, although nobody has changed a record that was made here."""
_WAIT_S, _LARGEST, _HINT = 10.0, 64 << 20, 80


def rows(root: str) -> tuple[list[Row], list[str], dict[str, tuple[int, str]]]:
    """Of each run that a ledger tells of, the oldest first; what is wrong with ledgers, of which nothing is
    told; the number and the hash of the last entry of each of the others.
    """
    found: dict[str, list[tuple[Ledger, LedgerEntry]]] = {}
    problems, heads = [], {}
    for ledger, seen in _ledgers(root):
        if seen.problem is not None:
            problems.append(f"{ledger.relative}: {seen.problem.message}")
            continue
        heads[ledger.task_id] = (seen.state.seq, seen.state.hash)
        for entry in ledger.entries(kinds=_KINDS, look=seen):
            if is_of_runner(entry) and entry.run_id is not None:
                found.setdefault(entry.run_id, []).append((ledger, entry))
    return [_row(run_id, found[run_id]) for run_id in sorted(found)], problems, heads


def _row(run_id: str, told: list[tuple[Ledger, LedgerEntry]]) -> Row:
    """A run that nobody has seen end any more may have been told as lost before its end came to light."""
    ledger, entries = told[0][0], [entry for _, entry in told]
    begun = next((one for one in entries if one.type is EntryType.RUN_STARTED), None)
    ends = [one for one in entries if one.type is EntryType.RUN_ENDED]
    ended = next((one for one in ends if one.payload.get("outcome")), ends[-1] if ends else None)
    first, last = begun.payload if begun else {}, ended.payload if ended else {}
    return {
        "run_id": run_id,
        "task_id": first.get("task"),
        "ledger": ledger.relative,
        "entries": [entry.id for entry in entries],
        "hashes": [entry.hash for entry in entries],
        **{name: first.get(name) for name in _BEGUN},
        "model_declared": first.get("model"),
        "started_at": begun and begun.at,
        "ended_at": ended and ended.at,
        **{name: last.get(name) for name in _ENDED},
    }


def _ledgers(root: str, *, all_of_it: bool = False) -> Iterator[tuple[Ledger, Look]]:
    for task in sorted(tasks_of(root)):
        if (ledger := Ledger(root, task)).exists or ledger.was_ours:
            try:
                seen = ledger.look(all_of_it=all_of_it)
            except (Conflict, Unwritable) as error:  # the others are told of all the same
                seen = Look(problem=Break(1, error.message))
            yield ledger, seen


# -- whether it is whole ---------------------------------------------------------------------------------


def verify(root: str) -> dict[str, Any]:
    """Every entry of every ledger, and whether each run of ours without an owner has its begin and its end
    there. Nothing is brought about by that. `changed` are the runs whose records were, and `unwitnessed`
    those of which nothing says that they have to be there. Without any ledger nobody can say whether all is
    whole (None). RunNotFound where there is no run either.
    """
    begun = [RunDir(root, row["task_id"], row["run_id"]) for row in rows(root)[0] if not row["ended_at"]]
    known = [run for task in sorted(tasks_of(root)) for run in reversed(runs_of(root, task))]
    runs = [(run, _needed(run)) for run in known]  # then the ledgers: who has no owner has told them all
    left = [run for run in begun if not _has_owner(run)]
    ledgers = {ledger.task_id: (ledger, seen) for ledger, seen in _ledgers(root, all_of_it=True)}
    if not runs and not ledgers:
        raise RunNotFound(
            f"there is no run and no ledger in {root}", hint="call it in the repository that you mean"
        )
    told = {(row["run_id"], what) for row in rows(root)[0] for what in _TIMES if row[f"{what}_at"]}
    missing: dict[tuple[str, str], Row] = {}
    changed: list[Row] = []
    unwitnessed = 0
    for run, needed in [*((run, ("", _TIMES[1:])) for run in left), *runs]:
        row = {"run_id": run.run_id, "task_id": run.task_id}
        if isinstance(needed, Foreign):
            changed.append({**row, "problem": needed.message})
        elif needed is None or _is_unknown(*ledgers.get(needed[0], (None, None)), run=run):
            unwitnessed += 1
        else:
            lacks = [what for what in needed[1] if (run.run_id, what) not in told]
            missing |= {(run.run_id, what): {**row, "what": what} for what in lacks}
    verdicts = [
        {"task_id": task, "ledger": ledger.relative, **seen.verdict()}
        for task, (ledger, seen) in ledgers.items()
    ]
    is_whole = None
    if verdicts or missing or changed:
        is_whole = not missing and not changed and all(one["is_whole"] for one in verdicts)
    runs_told = {"missing": [*missing.values()], "changed": changed, "unwitnessed": unwitnessed}
    return {"is_whole": is_whole, "ledgers": verdicts, **runs_told}


def _needed(run: RunDir) -> tuple[str, tuple[str, ...]] | Foreign | None:
    """Its ledger, and what has to be told of it there, which is nothing while it has an owner. What is wrong
    where its record was changed; None where nobody can say.
    """
    foreign, said = why_foreign(run), read_text(run.invocation)
    if foreign is not None and foreign.why not in OLDER:
        return None if foreign.why in _OF_OTHERS else foreign
    if said is None and os.path.lexists(run.manifest):  # an older run has one, too
        return Foreign(Why.UNSIGNED, f"{run.invocation} is gone, or no file that can be read", "")
    if foreign is not None:
        return None
    try:
        task = own_invocation(run).ledger_task if _WITNESSED in (said or "") else None
    except RunnerError:
        task = None
    if task is None or _has_owner(run):
        return None if task is None else (task, ())
    try:
        has_started = run.read_manifest().started_at is not None
    except RunnerError:
        has_started = False
    return task, _TIMES if has_started else _TIMES[1:]


def _has_owner(run: RunDir) -> bool:
    try:
        return is_held(run)
    except (Conflict, Unwritable):
        return False  # what stands there is no lock of ours


def _is_unknown(ledger: Ledger | None, seen: Look | None, *, run: RunDir) -> bool:
    """Whether it is not believed, or was begun anew by a person later than the run, whose id is its time."""
    if ledger is None or seen is None or seen.problem is not None:
        return seen is not None
    first = ledger.numbered(1, seen)
    return (
        first is not None
        and first.type is EntryType.RESTARTED
        and "".join(filter(str.isalnum, first.at)) > run.run_id
    )


# -- four columns ----------------------------------------------------------------------------------------


def columns(told: list[Row]) -> dict[str, list[str]]:
    """The lines of each file: when, which conversation, a name, and how the request began. A conversation has
    one, once a run of it is over, as it may be known only then.
    """
    lines: dict[str, dict[str, str]] = {}
    for row in told:
        folder, began = IDX.get(row["runtime"] or ""), row["started_at"]
        if folder is not None and began and row["ended_at"]:
            number = _uuid(row["thread"] or "", row["run_id"])
            name = f"{row['runtime']}-{int(parse_timestamp(began))}-{number.rpartition('-')[2][:8]}"
            hint = one_line(row["hint"] or "", _HINT) or "(task hint unavailable)"
            line = "\t".join((f"{began[:19]}Z", number, name, hint))
            lines.setdefault(f"{folder}/conversations.idx", {}).setdefault(number, line)
    return {name: [*one.values()] for name, one in lines.items()}


def _uuid(thread: str, run_id: str) -> str:
    """The thread where it is a UUID in lower case; else one of the run."""
    parts = thread.split("-")
    is_hex = not "".join(parts).strip("0123456789abcdef")
    if is_hex and [len(part) for part in parts] == [8, 4, 4, 4, 12]:
        return thread
    digits = sha256(run_id.encode()).hexdigest()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


def write(root: str, lines: dict[str, list[str]]) -> int:
    """Adds those whose conversations are not there yet; how many. Conflict, with nothing written, where a
    file or its folder is a link, has a second name or belongs to others, or is larger than is read.
    """
    if not lines:
        return 0
    news, count = dict[str, tuple[bytes, int]](), 0
    try:
        with Lock(f"{root}/{RUNS}/.idx.lock", _WAIT_S):
            for name, told in lines.items():
                data, mode = _there(path := f"{root}/{name}")
                known = {line.split(b"\t")[1] for line in data.splitlines() if line.count(b"\t") > 2}
                more = [line for line in told if line.split("\t")[1].encode() not in known]
                if more:  # what never was a whole line is ended, so that ours is none of it
                    torn = b"\n" if data and not data.endswith(b"\n") else b""
                    news[path] = (data + torn + "".join(f"{line}\n" for line in more).encode(), mode)
                    count += len(more)
            for path, (data, mode) in news.items():
                replace_bytes(path, data, mode=mode)
    except BlockingIOError:
        raise Conflict("another one writes conversations.idx now", hint="try again") from None
    except OSError as error:
        raise unwritable(error) from error
    return count


def _there(path: str) -> tuple[bytes, int]:
    """What it holds, nothing where there is none yet, and its mode; its folder is made."""
    for one in (folder := os.path.dirname(path), path):
        if os.path.islink(one):
            hint = "put what it leads to in its place, or take the rows from `runner audit export --idx`"
            raise Conflict(f"{one} is a link, and nothing is written through one", hint=hint)
    make_plain_folder(folder)
    if os.lstat(folder).st_uid == os.geteuid():
        if not os.path.lexists(path):
            return b"", 0o600
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode) and (found.st_nlink, found.st_uid) == (1, os.geteuid()):
            if len(data := read(path, _LARGEST + 1)) > _LARGEST:
                raise Conflict(f"{path} is larger than {_LARGEST >> 20} MiB", hint="move it away")
            return data, stat.S_IMODE(found.st_mode)
    raise Conflict(
        f"{path} is no plain file of yours with one name", hint="nothing was written; move it away"
    )
