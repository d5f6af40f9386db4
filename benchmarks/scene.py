"""The repository, home and doubles that the benchmark runs in. Touches only its own temporary folder."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import codex_cli_bin

ROOT = Path(__file__).resolve().parent.parent
_WHO = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
RUNNER = [str(Path(sys.executable).with_name("runner"))]
CODEX = str(codex_cli_bin.bundled_codex_path())

_CONFIG = """\
schema_version = 1
[runtimes.codex]
command = "{fake}"
[tasks.quick]
prompt = "quick"
[tasks.silent]
prompt = "silent"
[tasks.short]
prompt = "short"
[tasks.flood]
prompt = "flood"
[tasks.delegating]
delegation = true
prompt = "silent"
[tasks.writer]
sandbox = "workspace-write"
prompt = "quick"
[tasks.talk]
open = true
prompt = "turn"
[tasks.own]
sandbox = "workspace-write"
workspace = "worktree"
prompt = "quick"
[tasks.gated]
sandbox = "workspace-write"
prompt = "gated"
"""

_FAKE = """\
#!/bin/sh
case "$1 $2" in
  "--version ") echo "codex-cli 0.163.0"; exit ;;
  "exec --help") exec {codex} exec --help ;;
esac
date +%s%N > {stamp}
read -r prompt
case "$prompt" in
  silent) exec sleep 1000 ;;
  turn) echo '{{"type":"thread.started","thread_id":"t"}}'; sleep 0.5
     echo '{{"type":"item.completed","item":{{"id":"1","type":"agent_message","text":"x"}}}}'
     echo '{{"type":"turn.completed","usage":{{}}}}'
     printf x > "$(dirname "$RUNNER_MANIFEST")/last-message.md"
     exec {stamper} ;;
  gated) read -r _ < {gate}; echo changed >> src/0/0/0.txt
     echo '{{"type":"item.completed","item":{{"id":"a","type":"agent_message","text":"Done."}}}}'
     echo '{{"type":"turn.completed","usage":{{}}}}' ;;
  short) echo '{{"type":"thread.started","thread_id":"t"}}'; sleep 0.3
     echo '{{"type":"turn.completed","usage":{{}}}}'
     printf x > "$(dirname "$RUNNER_MANIFEST")/last-message.md"
     exec {stamper} ;;
  flood) exec {python} -I -c '{flood}' ;;
  *) echo '{{"type":"item.completed","item":{{"id":"a","type":"agent_message","text":"Done."}}}}'
     echo '{{"type":"turn.completed","usage":{{}}}}' ;;
esac
"""

_FLOOD = (
    'import os; piece = (b"{{\\"type\\":\\"item.completed\\",\\"item\\":{{\\"id\\":\\"a\\",'
    '\\"type\\":\\"reasoning\\",\\"text\\":\\"" + b"x" * 900 + b"\\"}}}}\\n") * 1100; '
    "n = 1073741824; \nwhile n > 0: n -= os.write(1, piece)"
)


def _timestamp(at: float) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at % 1 * 1000):03d}Z"


def measure(
    argv: list[str], scene: Scene, given: bytes = b"", variables: Mapping[str, str] | None = None
) -> tuple[float, float]:
    """(CPU, wall) milliseconds of one command that must succeed. `given` is its stdin."""
    env = {**scene.env, **(variables or {})}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    done = subprocess.run(argv, cwd=scene.repo, env=env, input=given, capture_output=True, check=False)
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{argv}: {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu * 1000, wall * 1000


class Table:
    """Rows as they are measured: what, value, ratio, budget."""

    def row(self, what: str, value: str, ratio: float | None = None, budget: str = "") -> None:
        shown = "" if ratio is None else f"{ratio:.2f} x"
        print(f"{what:<66}{value:>14}{shown:>10}  {budget}", flush=True)


class Scene:
    """A git repository with a delegate.toml, a fake codex, and the real one for comparison."""

    def __init__(self, folder: Path) -> None:
        self.repo = str(folder / "repo")
        home = folder / "home"
        for path in (Path(self.repo), home):
            path.mkdir(parents=True)
        subprocess.run(["git", "init", "-q", self.repo], check=True)
        stamp, self.gate = Path(self.repo, "stamp"), str(folder / "gate")
        os.mkfifo(self.gate)
        self.fake = str(folder / "codex")
        stamper = folder / "stamper"
        stamper.write_text(f"#!/bin/sh\ndate +%s%N > {stamp}\n")
        text = _FAKE.format(
            codex=CODEX,
            stamp=stamp,
            gate=self.gate,
            stamper=stamper,
            python=sys.executable,
            flood=_FLOOD.format(),
        )
        Path(self.fake).write_text(text)
        for path in (Path(self.fake), stamper):
            path.chmod(0o755)
        Path(self.repo, "delegate.toml").write_text(_CONFIG.format(fake=self.fake))
        real = Path(self.repo, "real.toml")
        real.write_text(
            f'[runtimes.codex]\ncommand = "{CODEX}"\n[tasks.hello]\nrehearse = true\nprompt = "hello"\n'
            '[tasks.change]\nrehearse = true\nprompt = "hello"\nsandbox = "workspace-write"\n'
        )
        self.real = str(real)
        self.shell = str(Path(self.repo, "shell.toml"))  # `cancelling` knows what is in it
        self.env = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
        login = home / ".codex" / "auth.json"  # as users have one; without it, a start asks the program
        login.parent.mkdir()
        login.write_text("{}")
        self.cli("trust", "--folder", "--yes")

    def cli(self, *words: str) -> str:
        """stdout of a runner command; its exit status is not looked at."""
        argv = [*RUNNER, *words]
        return subprocess.run(argv, cwd=self.repo, env=self.env, capture_output=True, text=True).stdout

    def git(self, *words: str) -> None:
        """A git command that must succeed."""
        subprocess.run(["git", *_WHO, *words], cwd=self.repo, env=self.env, check=True)

    def fill(self, count: int) -> None:
        """So many small files, and everything committed; git has looked at it once since."""
        for number in range(count):
            path = Path(self.repo, "src", str(number // 2_500), str(number // 50), f"{number}.txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{number}\n" * 20)
        Path(self.repo, ".gitignore").write_text("/stamp\n/.runs/\n")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "all of it")
        self.git("repack", "-adq")  # as in a clone: git takes ten times as long over so many loose objects
        time.sleep(2)  # what is as new as the index is read again by git
        self.git("status", "--short")

    def start(self, task: str, file: str | None = None) -> str:
        """Starts a task, of a file of settings of its own, and gives its run id."""
        file = file or {"hello": self.real, "change": self.real, "shell": self.shell}.get(task)
        config = [] if file is None else ["--config", file]
        out = self.cli("start", "--task", task, "--format", "json", *config)
        return str(json.loads(out)["run_id"])

    def manifest(self, run: str) -> Any:
        """The manifest as it is on disk, without asking runner."""
        (path,) = Path(self.repo, ".runs").glob(f"*/cli/{run}/manifest.json")
        return json.loads(path.read_text())

    def until(self, condition: Callable[[], bool], within_s: float = 30.0, step_s: float = 0.001) -> None:
        """Waits for a condition; to look costs time of a processor, too."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit("the benchmark waited in vain")
            time.sleep(step_s)

    def stamped(self) -> int:
        """When the fake codex ran its first command, in nanoseconds since the epoch.

        By `date`, which adds a millisecond or two; the time of a file would be as coarse as the clock tick.
        """
        stamp = Path(self.repo, "stamp")
        self.until(lambda: stamp.exists() and stamp.read_text().endswith("\n"))
        return int(stamp.read_text())

    def bare_codex(self, sandbox: str = "read-only") -> float:
        """Milliseconds of a bare `codex exec` with the same flags against the same kind of server."""
        from runner.runtimes.codex_rehearsal import overrides

        listener = socket.create_server(("127.0.0.1", 0))
        fd = listener.fileno()
        server = subprocess.Popen(
            [sys.executable, "-I", str(ROOT / "runner/rehearsal/__main__.py"), "--listen-fd", str(fd)],
            pass_fds=[fd],
            env=self.env,
        )
        port = listener.getsockname()[1]
        argv = [CODEX, "exec", "--json", "--skip-git-repo-check", "-C", self.repo, "-s", sandbox]
        argv += [word for pair in overrides(port) for word in ("-c", pair)]
        begun = time.perf_counter()
        subprocess.run([*argv, "-"], input=b"hello", env=self.env, capture_output=True, check=True)
        wall = time.perf_counter() - begun
        server.terminate()
        server.wait()
        listener.close()
        return wall * 1000

    def ticks(self, pid: int) -> int:
        """CPU clock ticks that a process has used."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def nanoseconds(self, pid: int) -> int:
        """CPU time of a process with one thread: a tick is 0.05 % of a core over 20 s, half of a budget."""
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])

    def private_kib(self, pid: int) -> int:
        """Private memory of a process; 0 once it is gone."""
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            return 0
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))

    def multiply(self, run: str, count: int) -> None:
        """Copies a finished run until there are `count`, each with its own times and tokens. Every third has
        failed, with words of its own.
        """
        (source,) = Path(self.repo, ".runs").glob(f"*/cli/{run}")
        manifest = json.loads((source / "manifest.json").read_text())
        for n in range(count):
            copy = f"20250101T000000000Z-{(n * 2654435761) % 2**32:08x}"  # spread, as random ids are
            target = source.with_name(copy)
            target.mkdir()
            began, took = 1_735_689_600 + 53 * n, n % 977 / 7
            times = {"created_at": began, "started_at": began, "ended_at": began + took}
            made = manifest | {name: _timestamp(at) for name, at in times.items()}
            made["usage"] = manifest["usage"] | {"input_tokens": 811 * n, "output_tokens": n}
            if n % 3 == 0:
                reason = manifest["reason"] | {"code": "cli_failure", "message": f"its service said {n}"}
                made |= {"status": "failed", "outcome": "failed", "reason": reason}
            (target / "manifest.json").write_text(json.dumps(made).replace(run, copy))
            (target / "run.lock").touch()

    def close(self) -> None:
        """Ends what is still running."""
        for row in json.loads(self.cli("list", "--format", "json") or "[]"):
            self.cli("cancel", row["run_id"], "--grace", "0")
        shutil.rmtree(Path(self.repo, ".runs"), ignore_errors=True)
