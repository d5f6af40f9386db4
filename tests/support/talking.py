"""A conversation with a run, as its owner has it: what is sent, what is answered, what each turn came to."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from support.processes import Seen, of_folder
from support.repo import Repo, Run
from support.waiting import wait_until

__all__ = ["Talk", "last_turns", "requests", "sleeping"]

WITHIN_S = 60.0


class Talk(NamedTuple):
    """A run that was started open, or got messages."""

    run: Run

    def sends(self, text: str, *words: str, **options: Any) -> dict[str, Any]:
        """The answer to a message, which must be taken."""
        done = self.run.ask("send", text, *words, **options)
        assert done.status == 0, f"{text[:80]}: {done.status} {done.stdout}{done.stderr}"
        answer: dict[str, Any] = done.json()
        return answer

    def hears(self, *words: str, status: int = 0) -> dict[str, Any]:
        """The turn that `runner await` waits for."""
        done = self.run.ask("await", "--timeout", f"{WITHIN_S:g}s", *words)
        assert done.status == status, f"await: {done.status} {done.stdout}{done.stderr}"
        turn: dict[str, Any] = done.json()
        return turn

    def waits(self) -> dict[str, Any]:
        """The manifest of the run between two turns: nothing of its agent lives."""
        found = wait_until(lambda: (now := self.run.on_disk())["phase"] == "waiting" and now, WITHIN_S)
        wait_until(lambda: not self.run.tree(), WITHIN_S, "the end of all that a turn has started")
        return found

    def ends(self, status: int = 0) -> dict[str, Any]:
        """The manifest of the run that `runner end` has judged."""
        done = self.run.ask("end")
        assert done.status == status, f"end: {done.status} {done.stdout}{done.stderr}"
        manifest: dict[str, Any] = done.json()
        assert manifest["phase"] == "done"
        return manifest

    def turn(self, number: int) -> dict[str, Any]:
        """What is written down of that turn."""
        turn: dict[str, Any] = json.loads(self.run.file(f"turns/turn-{number}.json"))
        return turn

    def signal(self) -> dict[str, Any] | None:
        """What a script sees that watches the file of the last turn."""
        path = self.run.folder / "turn-complete.json"
        return json.loads(path.read_text()) if path.exists() else None


def last_turns(talk: Talk, count: int) -> list[tuple[int, str, str | None]]:
    """Number, status and message of the first `count` turns."""
    turns = [talk.turn(n) for n in range(1, count + 1)]
    return [(one["turn"], one["status"], one["message"]) for one in turns]


def requests(run: Run) -> list[dict[str, Any]]:
    """What the model was asked, without what an agent asks for itself."""
    lines = map(json.loads, run.file("rehearsal.jsonl").splitlines())
    return [line for line in lines if line.get("turn") is not None]


def sleeping(repo: Repo, seconds: int) -> list[Seen]:
    """The commands that sleep so long, in a sandbox or not."""
    return [seen for seen in of_folder(repo.base) if str(seconds) in seen.words and "sleep" in seen.words]
