"""Every verb, in a repository whose names, settings, records and messages were all written to do harm."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest
from support.doubles import FINISHED, THREAD
from support.hostile import HOSTILE, harm
from support.repo import RUNNER, Repo, Run

from runner.cli.app import COMMANDS
from runner.ledger.chain import written
from runner.ledger.entry import EntryType, NewEntry

HERE = "re\x1b[2Jpo\u202e##[error]x\x9b"
TOML = json.dumps(HOSTILE)
SETTINGS = f"""
[runtimes.codex]
env = ["SERVICE_WORD"]
[runtimes.codex.config]
features.x = {TOML}
[models]
own = {{ model = {TOML} }}
[sandboxes.mine]
level = "read-only"
[tasks.work]
title = {TOML}
prompt = {TOML}
sandbox = "workspace-write"
scope = ["**"]
verify = [["sh", "-c", "printf %s \\"$1\\"; exit 1", "x", {TOML}]]
grace = "300ms"
[tasks.plain]
prompt = "Do it."
sandbox = "mine"
"""
BROKEN = f"schema_version = 1\n[tasks.work]\nprompt = [{TOML}]\nsandbox = {TOML}\n{TOML} = 1\n"
PLAN = f"""
schema_version = 1
title = {TOML}
[[units]]
id = "U1"
title = {TOML}
files = [{TOML}]
effort = "low"
"""
SAYS = r"""
cat > /dev/null
python3 - <<'END'
import json, os
hostile = json.loads(os.environ["HOSTILE"])
event = {"type": "item.completed", "item": {"id": "a", "type": "agent_message", "text": hostile}}
command = {"id": "b", "type": "command_execution", "command": hostile, "exit_code": 1}
command["aggregated_output"] = hostile
print(json.dumps(event))
print(json.dumps({"type": "item.completed", "item": command}, ensure_ascii=False))
print(hostile)
open("a\x1b[2Jb\u202e::error::c##[x]d", "w").write(hostile)
open("tracked", "w").write(hostile)
END
printf '%s' "$HOSTILE" >&2
"""
SESSION = ("--host", "claude", "--session", "s1")
VERBS: dict[str, tuple[tuple[str, ...], ...]] = {
    "init": (("init",),),
    "check": (("check",), ("check", "--config", "broken.toml"), ("check", "--set", f"a.{HOSTILE}={HOSTILE}")),
    "trust": (("trust", "--show"), ("trust", "--folder"), ("trust", "--digest", HOSTILE), ("trust", "--yes")),
    "lock": (("lock",), ("lock", "--check"), ("lock", "--check", "--config", "broken.toml")),
    "tasks": (("tasks",), ("tasks", "--config", "broken.toml")),
    "config": (("config", "show"), ("config", "show", "--origin"), ("config", "show", "--task", HOSTILE)),
    "doctor": (("doctor",), ("doctor", "--config", "broken.toml"), ("doctor", "--runtime", HOSTILE)),
    "resolve": (("resolve", "work"), ("resolve", HOSTILE), ("resolve", "plain", "--prompt", HOSTILE)),
    "policy": (("policy", "diff", "HEAD"), ("policy", "diff", HOSTILE, HOSTILE), ("policy", HOSTILE)),
    "pipeline": (("pipeline", "list"), ("pipeline", "show", HOSTILE)),
    "plan": (("plan", "plan.toml"), ("plan", HOSTILE), ("plan", "broken.toml")),
    "consent": (("consent",), ("consent", "--task", HOSTILE), ("consent", "--yes", "--task", "work")),
    "start": (
        ("start", HOSTILE),
        ("start", "work", "--wait"),
        ("start", "work", "--follow"),
        ("start", "--plan", "plan.toml", "--task", "work", "--dry-run"),
    ),
    "retry": (("retry", "RUN", "--wait"), ("retry", HOSTILE)),
    "list": (("list",), ("list", "--all"), ("list", "--task", HOSTILE)),
    "watch": (("watch",),),
    "events": (("events",), ("events", "--session", HOSTILE)),
    "inbox": (("inbox",),),
    "approve": (
        *(("approve", name, HOSTILE, "--note", HOSTILE) for name in ("work", "plain", HOSTILE)),
        ("approve", "work"),
    ),
    "stats": (("stats",), ("stats", "--by", HOSTILE), ("stats", "--by", "model", "--format", "csv")),
    "status": (("status", "RUN"), ("status", "FORGED"), ("status", HOSTILE)),
    "wait": (("wait", "RUN", "FORGED"), ("wait", HOSTILE)),
    "ledger": (
        ("ledger", "note", "work", HOSTILE),
        ("ledger", "handoff", "work", "--to", "codex", "--reason", HOSTILE, "--ask", HOSTILE),
        ("ledger", "handoff", "work", "--to", HOSTILE, "--reason", "x", "--ask", "x", "--ref", HOSTILE),
        ("ledger", "artifact", "work", "--kind", HOSTILE, "--title", "x", "--summary", "x", "--status", "x"),
        ("ledger", "propose", "work", "--summary", HOSTILE, "--evidence", HOSTILE, "--risk", HOSTILE),
        ("ledger", "sign", "work", "--note", HOSTILE),
        ("ledger", "wait", "work", "--since", "0"),
        ("ledger", "list"),
        ("ledger", "coordinator", "work", HOSTILE),
        *(("ledger", "verify", name) for name in ("work", "plain", HOSTILE)),
        *(("ledger", "show", name, "--all") for name in ("plain", "FORGED", HOSTILE, "work")),
    ),
    "logs": (
        ("logs", "RUN"),
        ("logs", "FORGED"),
        *(("logs", "RUN", "--stream", stream) for stream in ("stdout", "stderr", "last")),
    ),
    "plugin": (("plugin", "print"), ("plugin", "doctor", "--host", HOSTILE), ("plugin", HOSTILE)),
    "report": (
        ("report", "RUN"),
        ("report", "FORGED"),
        *(("report", "RUN", "--format", one) for one in ("markdown", "html")),
    ),
    "ci": (
        *(
            ("ci", "report", *words)
            for words in (("RUN",), ("FORGED",), (HOSTILE,), ("RUN", "--fail-on", HOSTILE))
        ),
        ("ci", "report", "RUN", "--junit", HOSTILE, "--sarif", f"no/{HOSTILE}"),
        ("ci", "report", "RUN", "--code-quality", "x.json", "--dotenv", "x.env", "--json"),
    ),
    "verify": (("verify", "work"), ("verify", "RUN"), ("verify", "FORGED"), ("verify", HOSTILE)),
    "record": (
        ("record", "RUN", "-o", "tape.toml"),
        ("record", "FORGED"),
        ("record", HOSTILE, "-o", HOSTILE),
    ),
    "diff": (("diff", "RUN", "--stat"), ("diff", "RUN"), ("diff", HOSTILE)),
    "diff-runs": (
        ("diff-runs", "RUN", "FORGED"),
        ("diff-runs", "FORGED", "RUN"),
        ("diff-runs", "FORGED"),
        ("diff-runs", "RUN", HOSTILE),
    ),
    "accept": (("accept", "RUN"), ("accept", HOSTILE)),
    "discard": (("discard", "RUN"), ("discard", HOSTILE)),
    "pause": (("pause", "RUN"), ("pause", HOSTILE)),
    "resume": (("resume", "RUN"), ("resume", HOSTILE)),
    "send": (("send", "RUN", HOSTILE), ("send", "FORGED", HOSTILE), ("send", HOSTILE, "x")),
    "await": (("await", "RUN"), ("await", "FORGED"), ("await", HOSTILE)),
    "end": (("end", "RUN"), ("end", "FORGED"), ("end", HOSTILE)),
    "open": (("open", "RUN"), ("open", "RUN", "--json"), ("open", "FORGED"), ("open", HOSTILE)),
    "cancel": (("cancel", "RUN", "--reason", HOSTILE), ("cancel", "FORGED"), ("cancel", HOSTILE)),
    "answer": (("answer", "RUN", HOSTILE, HOSTILE), ("answer", HOSTILE, "q-0001", "x")),
    "reap": (("reap",),),
    "clean": (("clean", "--dry-run"), ("clean", "--older-than", HOSTILE)),
    "delegate-server": (
        ("delegate-server", "--register", "claude"),
        ("delegate-server", "--manifest", HOSTILE),
        ("delegate-server", "--repo", HOSTILE, "--mode", HOSTILE),
    ),
    "audit": (
        ("audit", "show"),
        ("audit", "show", "--task", HOSTILE, "--session", HOSTILE, "--run", HOSTILE),
        ("audit", "verify"),
        ("audit", "export"),
        ("audit", "export", "--idx"),
        ("audit", HOSTILE),
    ),
    "mode": (
        ("mode", "show", "--all"),
        ("mode", "on", HOSTILE, *SESSION),
        ("mode", "on", "work", HOSTILE, *SESSION),
        ("mode", "on", "work", *SESSION),
        ("mode", "on", "work", "--held", *SESSION),
        ("mode", "off", "--host", "claude", "--session", HOSTILE),
        ("mode", "off", "--of", HOSTILE, *SESSION),
        ("mode", "show"),
    ),
    "schema": (("schema", "delegate"), ("schema", HOSTILE)),
    "completion": (("completion", "bash"), ("completion", HOSTILE)),
}
EXACT = ("diff", "RUN")
"""To a pipe: data for `git apply`."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Repo, Run, Run]]:
    """A run that said and wrote hostile things, and one whose whole record was forged."""
    env = {"HOSTILE": json.dumps(HOSTILE), "BUILDKITE": "true"}
    repo = Repo(tmp_path_factory.mktemp("hostile"), name=HERE, env=env)
    repo.config(SETTINGS)
    (repo.root / "tracked").write_text("as it was\n")
    (repo.root / "broken.toml").write_text(BROKEN, encoding="utf-8")
    (repo.root / "plan.toml").write_text(PLAN, encoding="utf-8")
    repo.git("add", "tracked")
    repo.codex(f"export HOSTILE='{json.dumps(HOSTILE)}'\n{SAYS}\n{THREAD}{FINISHED}")
    runs = []
    for _ in range(2):
        done = repo.cli("start", "work", "--wait", "--format", "json")
        assert "run_id" in done.json(), done
        runs.append(Run(repo, done.json()["run_id"]))
        runs[-1].asks(HOSTILE)
    forge(runs[1])
    forge_ledger(repo)
    yield repo, runs[0], runs[1]


def forge(run: Run) -> None:
    """Whoever may write the folder lets every text in the manifest and the events do harm."""
    kept = (
        "schema_version",
        "run_id",
        "task_id",
        "phase",
        "outcome",
        "repo",
        "manifest_path",
        "at",
        "seq",
        "type",
    )
    manifest = run.on_disk()
    for name, value in manifest.items():
        if isinstance(value, str) and name not in (
            *kept,
            "created_at",
            "started_at",
            "ended_at",
            "updated_at",
        ):
            manifest[name] = HOSTILE
    manifest["reason"] = {"code": HOSTILE, "message": HOSTILE, "hint": HOSTILE, "detail": HOSTILE}
    manifest["survivors"] = [{"pid": 1, "start_time": 1, "command": HOSTILE}]
    manifest["title"] = manifest["last_message"] = manifest["last_activity"] = HOSTILE
    manifest["runtime"] = {**manifest["runtime"], "version": HOSTILE}
    run.edit(**manifest)
    events = [{**event, "message": HOSTILE, "actor": HOSTILE} for event in run.events()]
    text = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
    (run.folder / "events.jsonl").write_text(text, encoding="utf-8", errors="surrogatepass")
    result = json.loads(run.file("result.json"))
    result["findings"] = [{"code": HOSTILE, "severity": "error", "message": HOSTILE, "evidence": [HOSTILE]}]
    (run.folder / "result.json").write_text(json.dumps(result))


def forge_ledger(repo: Repo) -> None:
    """Of a task without runs: a chain that holds, but nothing of it was written by us."""
    folder = repo.root / ".runs/plain"
    folder.mkdir(mode=0o700)
    payload = {"kind": "test_report", "title": "x", "summary": HOSTILE, "status": "passed"}
    draft = NewEntry(EntryType.ARTIFACT, HOSTILE, payload, HOSTILE, (HOSTILE,), HOSTILE)
    at = "2026-11-27T10:00:00.000Z"
    line, _ = written(draft, 1, "0" * 64, at=at, task_id=HOSTILE, sign=lambda data: "0" * 64)
    (folder / "ledger.jsonl").write_bytes(line)


def words_of(command: tuple[str, ...], scene: tuple[Repo, Run, Run]) -> list[str]:
    names = {"RUN": scene[1].id, "FORGED": scene[2].id}
    return [names.get(word, word) for word in command]


def printed(repo: Repo, words: list[str]) -> tuple[int, str]:
    """The status, and both streams in one log."""
    done = subprocess.run(
        [str(RUNNER), *words],
        cwd=repo.root,
        env=repo.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout.decode()


def printed_on_a_terminal(repo: Repo, words: list[str]) -> str:
    ours, theirs = os.openpty()
    env = {name: value for name, value in repo.env.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    with subprocess.Popen(
        [str(RUNNER), *words], cwd=repo.root, env=env, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        text = b""
        try:
            while data := os.read(ours, 65536):
                text += data
        except OSError:
            pass  # nobody has the other side any more
        process.wait(120)
    os.close(ours)
    return text.decode().replace("\r\n", "\n")


def test_every_verb_is_tried() -> None:
    assert VERBS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", [one for verb in VERBS.values() for one in verb], ids=ascii)
def test_no_verb_prints_what_would_be_obeyed(command: tuple[str, ...], scene: tuple[Repo, Run, Run]) -> None:
    repo, words = scene[0], words_of(command, scene)
    forms = [[], ["--format", "json"]] if "--format" not in command else [[]]
    for form in forms:
        if command == EXACT and not form:
            continue
        status, text = printed(repo, [*words, *form])
        assert harm(text) == [], f"{words} {form}: {text}"
        assert status != 70 and "Traceback" not in text, text
        assert text or status == 0


@pytest.mark.parametrize(
    "command", [one[-1] for one in VERBS.values()] + [one[0] for one in VERBS.values()], ids=ascii
)
def test_a_terminal_gets_no_more_than_our_own_colours(
    command: tuple[str, ...], scene: tuple[Repo, Run, Run]
) -> None:
    if "--wait" in command or "--follow" in command:
        pytest.skip("draws live progress, which moves the cursor itself")
    text = printed_on_a_terminal(scene[0], words_of(command, scene))
    assert harm(text, painted=True) == [], text


def test_a_patch_is_exact_in_a_pipe_and_clean_on_a_terminal(scene: tuple[Repo, Run, Run]) -> None:
    repo, run, _ = scene
    piped = repo.cli("diff", run.id).stdout
    assert "+" + HOSTILE.split("\n")[1] in piped
    shown = printed_on_a_terminal(repo, ["diff", run.id])
    assert harm(shown, painted=True) == [] and "add-mask" in shown


def test_the_rows_of_a_table_cannot_be_forged(scene: tuple[Repo, Run, Run]) -> None:
    repo, _, forged = scene
    path = forged.folder / "manifest.json"
    kept = path.read_bytes()
    row = "x\rstatus    succeeded\nexit      0"
    manifest = forged.on_disk()
    forged.edit(thread_id=row, reason={**manifest["reason"], "message": row}, last_message=row, title=row)
    shown = repo.cli("status", forged.id).stdout
    path.write_bytes(kept)
    rows = [line for line in shown.splitlines() if line.startswith(("status", "exit"))]
    assert rows[0] == f"status    {manifest['outcome']}"
    assert rows[1:] == [f"exit      {manifest['exit_code']}"]
