"""A double of codex that does what the words of its prompt say, and what it has heard."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from support.doubles import FINISHED, THREAD
from support.judged import commit
from support.processes import Seen, of_folder
from support.repo import Completed, Repo, Run
from support.waiting import wait_until

__all__ = ["Conversation", "converse", "knows_results", "requests", "sleeping"]

_FAILED = """echo '{"type":"turn.failed","error":{"message":"the service said no"}}'; exit 1"""
_SPENT = """'$((10 * $(wc -l < "$HOME/words")))'"""
_DONE = FINISHED.replace('"input_tokens":10', f'"input_tokens":{_SPENT}')
_DOUBLE = rf"""
prompt=$(cat)
printf '%s\036' "$prompt" >> "$HOME/heard"
printf '%s\n' "$*" >> "$HOME/words"
last=$(printf '%s\n' "$prompt" | sed '/^#/,$d' | grep . | tail -n 1 | tr -d '"\\' | cut -c 1-200)
trap 'echo INT >> "$HOME/signals"; exit 130' INT
case $last in *DEAF*) trap '' INT TERM ;; esac
case $last in *SILENT*) touch "$HOME/begun"; until [ -e "$HOME/gate" ]; do sleep 0.02; done ;; esac
{THREAD.replace("01a1f828-a6fe-7db1-be08-71550d19d0b3", "'$(cat $HOME/thread)'")}
case $last in *CHILD*) setsid sleep 300 > /dev/null 2>&1 & echo $! > "$HOME/child" ;; esac
case $last in *RUN*) bash -c "${{last#*RUN }}" ;; esac
case $last in *FAIL*) {_FAILED} ;; esac
echo '{{"type":"item.completed","item":{{"id":"item_0","type":"agent_message","text":"heard '"$last"'"}}}}'
case $last in *GATE*) touch "$HOME/begun"; until [ -e "$HOME/gate" ]; do sleep 0.02; done ;; esac
{_DONE}
"""
_THREAD = "01a1f828-a6fe-7db1-be08-71550d19d0b3"


@dataclass
class Conversation:
    """With the agent of one run, through the commands."""

    repo: Repo
    run: Run

    def send(self, *words: str, **options: Any) -> Completed:
        return self.repo.cli("send", self.run.id, "--json", *words, **options)

    def sent(self, *words: str, **options: Any) -> dict[str, Any]:
        """As `send`, and it was taken."""
        done = self.send(*words, **options)
        assert done.status == 0, (words, done.status, done.stdout, done.stderr)
        answer: dict[str, Any] = done.json()
        return answer

    def send_all(self, *texts: str) -> list[Completed]:
        """Each from a process of its own, at once."""
        with ThreadPoolExecutor(len(texts)) as pool:
            return list(pool.map(self.send, texts))

    def turn(self, number: int | None = None, *words: str) -> dict[str, Any]:
        """What `await` says, however the turn has ended."""
        asked = () if number is None else ("--turn", str(number))
        done = self.run.ask("await", *asked, "--timeout", "30s", *words)
        assert done.status in (0, 1), (done.status, done.stdout, done.stderr)
        return {**done.json(), "exit": done.status}

    def waits(self) -> dict[str, Any]:
        """The manifest, once the run waits for a message."""
        return wait_until(
            lambda: (seen := self.run.on_disk())["phase"] == "waiting" and seen, what="a run that waits"
        )

    def end(self) -> dict[str, Any]:
        """The manifest of the end, whatever the verdict."""
        done = self.run.ask("end", "--timeout", "30s")
        manifest: dict[str, Any] = done.json()
        assert manifest.get("phase") == "done", (done.status, done.stdout)
        return manifest

    def heard(self) -> list[str]:
        """The prompt of each process, in their order."""
        path = self.repo.note("heard")
        return path.read_text().split("\x1e")[:-1] if path.exists() else []

    def texts(self) -> list[str]:
        """As `heard`, without that of the task."""
        return self.heard()[1:]

    @property
    def signal(self) -> Any:
        return self.run.folder / "turn-complete.json"


def knows_results(repo: Repo, body: str) -> None:
    """The double also knows how to be asked for a result."""
    path = repo.codex(body)
    path.write_text(path.read_text().replace("  -h,", "  --output-schema <FILE>\n          text\n  -h,"))


def converse(
    repo: Repo, *lines: str, prompt: str = "Begin.", opens: bool = True, writes: bool = False, **options: Any
) -> Conversation:
    """A run whose task has these lines; one that `writes` may do so in a tree with `src/app.py`."""
    repo.note("thread").write_text(_THREAD)
    knows_results(repo, _DOUBLE)
    repo.task(*lines, *(("open = true",) if opens else ()), prompt=prompt, more=options.pop("more", ""))
    if writes:
        commit(repo)
    return Conversation(repo, repo.start(*(("--sandbox", "workspace-write") if writes else ()), **options))


def requests(run: Run) -> list[dict[str, Any]]:
    """What the scripted model was asked, without what an agent asks for itself."""
    lines = map(json.loads, run.file("rehearsal.jsonl").splitlines())
    return [line for line in lines if line.get("turn") is not None]


def sleeping(repo: Repo, seconds: int) -> list[Seen]:
    """The commands that sleep so long, in a sandbox or not."""
    return [seen for seen in of_folder(repo.base) if {"sleep", str(seconds)} <= {*seen.words}]
