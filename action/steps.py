"""The steps of action.yml, one sub-command each. Edge: processes, files that the service reads.

Inputs come by the environment (`INPUT_TASK`), results go to the file that $GITHUB_OUTPUT names. Nothing that
an agent or a stranger wrote is printed as it is: the service obeys lines such as `::add-mask::`.
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # `-I` leaves it out
from actor import Refused, check

HERE = Path(__file__).resolve().parent
REPORTS = ("summary", "annotations", "junit", "sarif")
OUTPUTS = (
    *("run-id", "status", "outcome", "reason", "exit-code", "tokens-in", "tokens-cached", "tokens-out"),
    *("cost-usd", "session-id", "manifest", "report", "patch", "junit", "sarif", "changed-files"),
)
CODEX = "openai-codex-cli-bin"
RESTRICTED = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
"""Ubuntu 24.04 forbids with it what the sandbox of Codex is made of."""
SHORTEST = 8
"""Characters of a value that is masked and looked for, as the redaction of runner has it."""
ENDED_WITHIN, SEALED_WITHIN_S = "2m", 60.0
GRACE_WITHIN_S, CANCELLED_WITHIN_S = 6.0, 9.5
"""The service sends SIGINT, SIGTERM after 7.5 seconds, and SIGKILL 2.5 after that."""
_FORMS = {
    "permissions-check": r"write|none",
    "tie-to-job": r"true|false",
    "token-limit": r"|[0-9][0-9_]*",
    "codex-version": r"|none|[0-9]+(\.[0-9]+)*[a-z0-9.]*",
    "runner-version": r"|[0-9][A-Za-z0-9.+!-]*",
}
_FILES = {"junit": "xml", "sarif": "sarif"}
_EXACT = re.compile(r".*\.patch|rollback.*\.json|workspace|kept|accept")
"""Exact copies of files, which nobody redacts."""


class Inputs(dict[str, str]):
    def __missing__(self, name: str) -> str:
        value = os.environ.get("INPUT_" + name.upper().replace("-", "_"), "").strip()
        return "" if (name, value) == ("rehearse", "false") else value


INPUT = Inputs()


def data(text: str) -> str:
    """As the value of a workflow command, in which no line of its own can begin."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def put(values: Mapping[str, str]) -> None:
    """Results of this step, exactly: no value can end before its mark, which nobody can guess."""
    mark = secrets.token_hex(16)
    text = "".join(f"{name}<<{mark}\n{value}\n{mark}\n" for name, value in values.items())
    with open(os.environ["GITHUB_OUTPUT"], "a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def fail(code: str, text: str, status: int) -> NoReturn:
    put({"reason": code, "status": "unknown" if code == "bug" else "not-started"})
    print(f"::error title=runner {code}::{data(text)}", flush=True)
    if "summary" in reports():
        lines = (f"    {line}\n" for line in text.splitlines())  # code: nothing of it is Markdown
        head = "Not known whether a run was started" if code == "bug" else "No run was started"
        place = os.environ.get("GITHUB_STEP_SUMMARY", os.devnull)
        with open(place, "a", encoding="utf-8", errors="replace") as file:
            file.write("".join((f"## {head}: `{code}`\n\n", *lines, "\n")))
    raise SystemExit(status)


def reports() -> list[str]:
    """What is to be written."""
    return INPUT["report"].replace(",", " ").split()


def environment() -> dict[str, str]:
    """Of runner, which finds the Codex of this action before any other, and no module that the job names.

    After the agent PATH has nothing of the workspace: it may have written a `git` there.
    """
    places = os.environ.get("PATH", os.defpath).split(":")
    if sys.argv[1:] in (["end"], ["report"]):
        places = [place for place in places if os.path.isabs(place) and not is_in_workspace(Path(place))]
    if (programs := folder() / "bin").is_dir():
        places.insert(0, str(programs))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PATH": ":".join(places)}


def is_in_workspace(path: Path) -> bool:
    """What stands there the agent may have written, and a link there it may have turned."""
    work = os.environ.get("GITHUB_WORKSPACE")
    places, works = ({Path(os.path.abspath(one)), Path(one).resolve()} for one in (path, work or os.devnull))
    return any(place.is_relative_to(one) for place in places for one in works)


def runner(*words: str) -> list[str]:
    """The command, for which nothing counts but what this action has installed."""
    return [str(Path(os.environ["PROGRAM"]).parent / "python"), "-I", "-m", "runner", *words]


def folder() -> Path:
    """What the steps of this use of the action share."""
    return Path(os.environ["FOLDER"])


def asked(*words: str, stdin: str | None = None) -> Any:
    """The document that runner answers with; of an error the step ends with its code."""
    process = subprocess.Popen(
        runner(*words, "--format=json"),
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        encoding="utf-8",
        errors="surrogateescape",
    )
    out, _ = process.communicate(stdin)
    try:
        answer = json.loads(out)
    except ValueError:
        fail("bug", f"runner {words[0]} ended with {process.returncode} and answered nothing", 70)
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict):
        lines = (str(error.get("message")), *map(str, error.get("problems") or ()), error.get("hint") or "")
        fail(str(error.get("code")), "\n".join(filter(None, lines)), process.returncode or 1)
    return answer


def settings() -> list[str]:
    """The words that say which settings hold; each value is a part of its own word, whatever is in it."""
    words = [f"--config={INPUT['config']}"] if INPUT["config"] else []
    words += [f"--set={line.strip()}" for line in INPUT["set"].splitlines() if line.strip()]
    if INPUT["token-limit"]:
        words.append(f"--set=tasks.{INPUT['task']}.limits.tokens={INPUT['token-limit']}")
    return words


def step_check() -> None:
    """Are the inputs whole, and may who asks have this? Nothing is installed or run before."""
    for what, place in (
        ("this action", Path(os.environ["GITHUB_ACTION_PATH"])),
        ("RUNNER_TEMP", Path(os.environ["RUNNER_TEMP"])),
    ):
        if is_in_workspace(place):
            fail(
                "usage",
                f"{what} lies in the workspace ({place}), where an agent could rewrite what has the key: "
                "name the action by OWNER/REPOSITORY@COMMIT, and let RUNNER_TEMP be elsewhere",
                2,
            )
    for name, form in _FORMS.items():
        if not re.fullmatch(form, INPUT[name]):
            fail("usage", f"the input {name} is `{INPUT[name]}`", 2)
    if unknown := {*reports()} - {*REPORTS}:
        fail("usage", f"the input report names {sorted(unknown)}; known: {', '.join(REPORTS)}", 2)
    if bool(INPUT["task"]) == bool(INPUT["pipeline"]):
        fail("usage", "name a `task` (with `plan`, the template of its batches) or a `pipeline`", 2)
    for name in ("plan", "token-limit", "prompt-file"):
        if INPUT[name] and not INPUT["task"]:
            fail("usage", f"{name} needs a `task`", 2)
    if INPUT["plan"] and INPUT["prompt-file"]:
        fail("usage", "prompt-file cannot be combined with plan: the prompts of its runs are made of it", 2)
    ours = re.findall(r'^VERSION = "(.+?)"', (HERE.parent / "runner/model.py").read_text(), re.MULTILINE)[0]
    if INPUT["runner-version"] not in ("", ours):
        wanted = INPUT["runner-version"]
        fail("usage", f"this action has runner {ours}, not {wanted}: `uses:` says which, by its commit", 2)
    try:
        print(f"runner {ours}; {data(check(os.environ, INPUT))}", flush=True)
    except Refused as refused:
        fail(refused.code, str(refused), refused.status)
    put({"folder": tempfile.mkdtemp(prefix="delegate-runner-", dir=os.environ["RUNNER_TEMP"])})


def step_install() -> None:
    """Ours from this checkout, everything else by the hashes of requirements.txt, in a place of its own."""
    made, locked = folder() / "venv", HERE / "requirements.txt"
    python, wanted = str(made / "bin/python"), INPUT["codex-version"]
    pip = [python, "-I", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    blocks = re.split(r"^(?=\S)", locked.read_text(), flags=re.MULTILINE)
    exact = folder() / "requirements.txt"
    exact.write_text("".join(block for block in blocks if not (wanted and block.startswith(f"{CODEX}=="))))
    called(sys.executable, "-I", "-m", "venv", str(made))
    called(*pip, "--require-hashes", "--only-binary=:all:", f"--requirement={exact}")
    if wanted not in ("", "none"):
        called(*pip, "--no-deps", "--only-binary=:all:", f"{CODEX}=={wanted}")
    called(*pip, "--no-deps", "--no-build-isolation", str(HERE.parent))
    for path in made.glob("lib/python*/site-packages/codex_cli_bin/bin/codex"):
        (folder() / "bin").mkdir()
        (folder() / "bin/codex").symlink_to(path)
        called(str(path), "--version")
    put({"program": str(made / "bin/runner")})


def called(*words: str) -> None:
    """`reason` is that the installation failed, unless the program ends well."""
    status = subprocess.run(words, stdin=subprocess.DEVNULL, env=environment()).returncode
    if status:
        fail(
            "install_failed",
            f"{' '.join(words[:5])} ... ended with {status}: the log of this step says why",
            8,
        )


def step_doctor() -> None:
    """Are the settings valid, and could a run start here? Values of secrets are masked first."""
    asked("check", *settings())
    lock = Path(INPUT["config"] or "delegate.toml").with_suffix(".lock")
    if lock.is_file():
        drift = asked("lock", "--check", *([f"--config={INPUT['config']}"] * bool(INPUT["config"])))["drift"]
        if told := [one["says"] for one in drift if one["is_breaking"]]:
            fail("lock_drift", "\n".join((f"not as {lock.name} says:", *told)), 9)
    if INPUT["fail-on"]:
        words = ("ci", "report", "@latest", f"--fail-on={INPUT['fail-on']}", "--help")
        if subprocess.run(runner(*words), stdout=subprocess.DEVNULL, env=environment()).returncode:
            fail("usage", "the input fail-on is no list of ends", 2)
    for runtime in asked("config", "show", *settings())["runtimes"].values():
        for name in runtime["env"]:
            mask(os.environ.get(name, ""))
    failed = failures()
    if any(check["name"].endswith(".sandbox") for check in failed) and allowed_namespaces():
        failed = failures()
    if failed:
        lines = (f"{check['name']}: {check['message']} ({check['repair']})" for check in failed)
        fail("not_ready", "\n".join(lines), 8)


def mask(value: str) -> None:
    for line in lines_of(value):
        print(f"::add-mask::{data(line)}", flush=True)


def lines_of(value: str) -> list[str]:
    """What is looked for of a value. A shorter text, such as `1` or a brace, would hide half of the log, and
    the service leaves out each output that has it.
    """
    lines = (line.strip() for line in value.splitlines())
    return [line for line in lines if len(line) >= SHORTEST and len({*line}) > 1]


def failures() -> list[dict[str, Any]]:
    """What `doctor` calls failed, as far as this run needs it: a rehearsal needs no login."""
    tasks = {task["id"]: task for task in asked("tasks", *settings())}
    task = tasks.get(INPUT["task"])
    of = [f"--runtime={task['runtime']}"] if task and not INPUT["plan"] else []
    checks = asked("doctor", *of, *settings())["checks"]
    rehearses = bool(INPUT["rehearse"]) or bool(task and task["rehearse"])
    return [
        check
        for check in checks
        if check["verdict"] == "fail" and not (rehearses and check["name"].endswith(".login"))
    ]


def allowed_namespaces() -> bool:
    """Only on a machine of the service, which is thrown away after the job."""
    try:
        restricted = Path(RESTRICTED).read_text().strip() == "1"
    except OSError:
        return False
    if not restricted or os.environ.get("RUNNER_ENVIRONMENT") != "github-hosted":
        return False
    print("the sandbox needs user namespaces, which this machine forbids: allowing them", flush=True)
    words = ("sudo", "-n", "sysctl", "-w", "kernel.apparmor_restrict_unprivileged_userns=0")
    return subprocess.run(words, stdin=subprocess.DEVNULL).returncode == 0


class Patience:
    """SIGINT and SIGTERM are heard and end nothing by themselves: no program is left that nobody knows of."""

    def __init__(self) -> None:
        self.since: float | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.end)

    def end(self, *_: object) -> None:
        self.since = self.since or time.monotonic()

    def is_at_end(self) -> bool:
        """Asked anew each time, since a signal may come between two lines."""
        return self.since is not None


def step_start() -> None:
    """Starts the run, tied to this process, and waits for it. What it came to is told by `report`."""
    patience = Patience()
    put({"status": "unknown"})
    words = [f"--task={INPUT['task']}"] if INPUT["task"] else [f"--pipeline={INPUT['pipeline']}"]
    prompt = None
    if INPUT["plan"]:
        asked("consent", f"--task={INPUT['task']}", "--yes", *settings())
        words.append(f"--plan={INPUT['plan']}")
    if INPUT["prompt-file"]:
        words.append("--prompt=-")
        try:
            prompt = Path(INPUT["prompt-file"]).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            fail("prompt_invalid", f"prompt-file: {error}", 2)
    if INPUT["timeout"]:
        words.append(f"--timeout={INPUT['timeout']}")
    if INPUT["rehearse"]:
        words.append("--rehearse" if INPUT["rehearse"] == "true" else f"--rehearse={INPUT['rehearse']}")
    if INPUT["tie-to-job"] == "true":
        words.append(f"--tie-pid={os.getpid()}")
    if patience.is_at_end():
        put({"status": "not-started", "reason": "interrupted"})
        raise SystemExit(130)
    manifest = asked("start", *words, *settings(), stdin=prompt)
    path = f"{manifest['repo']}/{manifest['manifest_path']}"
    put({"status": "unfinished", "run-id": manifest["run_id"], "manifest": path})
    os.chdir(manifest["repo"])
    words = runner("wait", manifest["run_id"])
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, env=environment()) as waits:
        while waits.poll() is None and not patience.is_at_end():
            time.sleep(0.05)
        waits.kill()
    if patience.is_at_end():
        print("the job was cancelled", flush=True)
        if INPUT["tie-to-job"] == "true":
            cancel_in_time(manifest["run_id"], Path(path), patience.since or 0.0)
    put(ended(Path(path)))
    raise SystemExit(130 if patience.is_at_end() else 0)


def cancel_in_time(run: str, manifest: Path, began: float) -> None:
    """In the seconds that the service leaves to a step, since those after it may get none: a second `cancel`
    leaves the agent no more of its graces.
    """
    words = runner("cancel", run, "--reason=the job was cancelled")
    for within_s in (GRACE_WITHIN_S, CANCELLED_WITHIN_S):
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, env=environment()) as cancels:
            while not is_done(manifest) and time.monotonic() < began + within_s:
                time.sleep(0.05)
            cancels.kill()


def ended(manifest: Path) -> dict[str, str]:
    """How the run has ended, for the case that no report of it is made."""
    if not is_done(manifest):
        return {}
    found = json.loads(manifest.read_bytes())
    reason = (found.get("reason") or {}).get("code") or ""
    return {"status": found["status"], "outcome": found["outcome"] or "", "reason": reason}


def step_end() -> None:
    """Cancels what lives, waits until it is sealed, and lays out what may be uploaded."""
    if not (manifest := os.environ.get("MANIFEST")):
        return
    run, repo = os.environ["RUN_ID"], repository()
    os.chdir(repo)
    if not is_done(Path(manifest)) and INPUT["tie-to-job"] == "true":
        for words in (("cancel", run, "--reason=the job ended"), ("wait", run, f"--timeout={ENDED_WITHIN}")):
            subprocess.run(runner(*words), stdin=subprocess.DEVNULL, env=environment())
    deadline = time.monotonic() + SEALED_WITHIN_S
    while (left := unsealed(repo / ".runs")) and time.monotonic() < deadline:
        if not any(is_done(path / "manifest.json") for path in left):
            break
        time.sleep(0.1)
    for path in left:
        print(f"::warning title=runner::{data(path.name)} is not sealed, and not uploaded", flush=True)
    lay_out(repo / ".runs", folder() / "artifact/runs", left)
    put({"artifact": str(folder() / "artifact")})


def repository() -> Path:
    """REPOSITORY/.runs/TASK/cli/RUN/manifest.json"""
    return Path(os.environ["MANIFEST"]).parents[4]


def is_done(manifest: Path) -> bool:
    try:
        found = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("phase") == "done"


def unsealed(runs: Path) -> list[Path]:
    """Folders of runs in which values of secrets may stand."""
    found = []
    for path in runs.glob("*/*/*/invocation.json"):
        run = path.parent
        waits = os.path.lexists(run / "control/wake") or os.path.lexists(run / "unsealed")
        if waits or not is_done(run / "manifest.json"):
            found.append(run)
    return found


def lay_out(source: Path, target: Path, without: list[Path]) -> None:
    """Copies plain files: no link is followed, as an agent may have made it."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in os.scandir(source):
        path = Path(entry.path)
        if _EXACT.fullmatch(entry.name) or path in without or entry.is_symlink():
            continue
        try:
            if entry.is_dir():
                lay_out(path, target / entry.name, without)
            elif entry.is_file():
                shutil.copyfile(path, target / entry.name, follow_symlinks=False)
        except OSError as error:
            print(f"::warning title=runner::not uploaded: {data(str(error))}", flush=True)


def step_report() -> None:
    """Every output has a value, whatever has happened; what `ci report` says of the run comes after it."""
    run = os.environ.get("RUN_ID", "")
    known = {"status": os.environ["STATUS"], "reason": os.environ["REASON"]}
    if run:
        path = os.environ["MANIFEST"]
        known = {"run-id": run, "manifest": path, **ended(Path(path))}
    put(dict.fromkeys(OUTPUTS, "") | known)
    if not run:
        return
    os.chdir(repository())
    made = folder() / "artifact/report"
    made.mkdir(parents=True, exist_ok=True)
    words = [f"--outputs={os.environ['GITHUB_OUTPUT']}", f"--summary={made / 'report.md'}"]
    words += [f"--{name}={made / f'runner.{end}'}" for name, end in _FILES.items() if name in reports()]
    words += ["--annotations"] * ("annotations" in reports())
    words += [f"--fail-on={INPUT['fail-on']}"] * bool(INPUT["fail-on"])
    words = runner("ci", "report", run, *words)
    status = subprocess.run(words, stdin=subprocess.DEVNULL, env=environment()).returncode
    if "summary" in reports() and (made / "report.md").is_file():
        with open(os.environ["GITHUB_STEP_SUMMARY"], "ab") as file:
            file.write((made / "report.md").read_bytes())
    if (patch := change(run)) is not None:
        put({"patch": str(patch)})
    raise SystemExit(status)


def change(run: str) -> Path | None:
    """The change that was judged, exactly; in the artifact only where the value of no secret stands in it."""
    path = folder() / "change.patch"
    with open(path, "wb") as file:
        words = runner("diff", run, "--judged")
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=file, env=environment())
    data = path.read_bytes()
    if done.returncode or not data:
        return None
    asked = json.loads((Path(os.environ["MANIFEST"]).parent / "invocation.json").read_bytes())
    values = [os.environ.get(name, "") for name in asked["secret_names"]]
    if why := why_withheld(data, [line for value in values for line in lines_of(value)]):
        print(f"::warning title=runner::the change is not uploaded: {why}", flush=True)
        return path
    return path.rename(folder() / "artifact/report/change.patch")


def why_withheld(patch: bytes, lines: list[str]) -> str | None:
    """Of a change in which a line of a secret stands, or in which it cannot be seen whether one does."""
    if lines and re.search(rb"^GIT binary patch", patch, re.MULTILINE):
        return "it has a binary file, in which the value of a secret could not be seen"
    plain = b"\n".join(line[1:] if line[:1] in b"+- " else line for line in patch.split(b"\n"))
    if any(os.fsencode(line) in text for line in lines for text in (patch, plain)):
        return "the value of a secret stands in it"
    return None


STEPS = {
    "check": step_check,
    "install": step_install,
    "doctor": step_doctor,
    "start": step_start,
    "end": step_end,
    "report": step_report,
}

if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    try:
        STEPS[sys.argv[1]]()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
