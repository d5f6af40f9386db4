"""Session records below $KAY_HOME/sessions: one rollout file per session, and the catalogue.

Touches the disk. Source of the facts: the documented contract of Kay 0.9.17 and 0.9.46. The session
id is found only here: nothing on stdout or stderr tells it.
"""

from __future__ import annotations

import fcntl
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

from kay_options import Generation
from kay_settings import Settings, Table

__all__ = ["Session", "find_git_root", "open_session"]

SNIPPET_CHARS = 100


class Session:
    """One conversation being recorded."""

    def __init__(self, home: Path, entry: Table, *, earlier_messages: int) -> None:
        self._home = home
        self._entry = entry
        self._path = home / str(entry["rollout_path"])
        self.id = str(entry["session_id"])
        self.earlier_messages = earlier_messages

    def record(self, kind: str, payload: Table) -> None:
        """Appends one record to the rollout file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        now = _timestamp()
        with self._path.open("a", encoding="utf-8") as rollout:
            line = {"timestamp": now, "type": kind, "payload": payload}
            rollout.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._entry["last_event_at"] = now

    def record_message(self, role: str, text: str) -> None:
        content = {"type": "input_text" if role == "user" else "output_text", "text": text}
        self.record("response_item", {"type": "message", "role": role, "content": [content]})
        count = self._entry["message_count"]
        self._entry["message_count"] = (count if isinstance(count, int) else 0) + 1
        if role == "user":
            self._entry["last_user_snippet"] = text[:SNIPPET_CHARS]

    def save(self) -> None:
        """Writes the snapshot and brings this session's catalogue line up to date."""
        snapshot = self._path.with_suffix(".snapshot.json")
        snapshot.write_text(json.dumps({"message_count": self._entry["message_count"]}), encoding="utf-8")
        self.save_entry()

    def save_entry(self) -> None:
        path = _catalogue(self._home)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            entries = {str(entry["session_id"]): entry for entry in _entries(file.read())}
            entries[self.id] = self._entry
            file.truncate(0)
            file.writelines(json.dumps(entry) + "\n" for entry in _newest_first(entries))


def open_session(
    settings: Settings, generation: Generation, *, resume_id: str | None, resume_last: bool
) -> Session:
    """The session to resume, or a new one. An unknown id silently gives a new one."""
    found = None
    if resume_id is not None or resume_last:
        found = _find(settings.home, resume_id)
    if found is not None:
        count = found["message_count"]
        return Session(settings.home, found, earlier_messages=count if isinstance(count, int) else 0)
    return _new_session(settings, generation)


def find_git_root(directory: Path) -> Path | None:
    """The nearest folder at or above `directory` that holds `.git`."""
    for folder in (directory, *directory.parents):
        if (folder / ".git").exists():
            return folder
    return None


def _new_session(settings: Settings, generation: Generation) -> Session:
    session_id = str(uuid.uuid4())
    local = datetime.now()
    name = f"rollout-{local:%Y-%m-%dT%H-%M-%S}-{session_id}.jsonl"
    rollout = Path("sessions", f"{local:%Y}", f"{local:%m}", f"{local:%d}", name)
    now = _timestamp()
    root = find_git_root(settings.workdir)
    entry: Table = {
        "session_id": session_id,
        "rollout_path": str(rollout),
        "snapshot_path": str(rollout.with_suffix(".snapshot.json")),
        "created_at": now,
        "last_event_at": now,
        "cwd_real": str(settings.workdir),
        "cwd_display": str(settings.workdir),
        **({"git_project_root": str(root)} if root else {}),
        "model_provider": settings.provider.id,
        "session_source": "exec",
        "message_count": 0,
        "sync_version": 0,
        "archived": False,
        "deleted": False,
    }
    session = Session(settings.home, entry, earlier_messages=0)
    meta: Table = {
        "id": session_id,
        "timestamp": now,
        "cwd": str(settings.workdir),
        "originator": "code_exec",
        "cli_version": generation.version,
        "source": "exec",
    }
    session.record("session_meta", meta)
    session.save_entry()
    return session


def _find(home: Path, session_id: str | None) -> Table | None:
    """By the beginning of an id; without one the newest session of all folders."""
    try:
        entries = _entries(_catalogue(home).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    for entry in _newest_first({str(entry["session_id"]): entry for entry in entries}):
        if not (home / str(entry["rollout_path"])).is_file():
            continue
        if session_id is None:
            if entry["message_count"] and not entry.get("archived") and not entry.get("deleted"):
                return entry
        elif str(entry["session_id"]).startswith(session_id.lower()):
            return entry
    return None


def _entries(text: str) -> list[Table]:
    found: list[Table] = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and {"session_id", "rollout_path"} <= entry.keys():
            found.append({"message_count": 0, **entry})
    return found


def _newest_first(entries: dict[str, Table]) -> list[Table]:
    keys = ("last_event_at", "created_at", "session_id")
    return sorted(entries.values(), key=lambda entry: [str(entry.get(key)) for key in keys], reverse=True)


def _catalogue(home: Path) -> Path:
    return home / "sessions" / "index" / "catalog.jsonl"


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
