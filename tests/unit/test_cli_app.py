"""The `runner` command: the table of verbs, and the one exit."""

from __future__ import annotations

import ast
import fcntl
import json
import os
import select
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.ended import an_ended_run
from support.values import a_manifest

from runner.cli import app
from runner.cli.app import COMMANDS, SUBCOMMANDS, full_parser, main
from runner.config.commands import schema_names
from runner.model import Outcome, Phase, Reason
from runner.state.store import RunDir, new_run_id

VERBS = [*COMMANDS, *SUBCOMMANDS]


@pytest.fixture(autouse=True)
def empty_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "delegate.toml").write_text("schema_version = 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(words)
    return int(status), *capfd.readouterr()


def error_of(out: str) -> dict[str, Any]:
    """The error in JSON mode: the only thing on stdout."""
    document = json.loads(out)
    assert list(document) == ["error"]
    assert list(document["error"])[:4] == ["code", "message", "hint", "retryable"]
    error: dict[str, Any] = document["error"]
    return error


def options(verb: str) -> list[Any]:
    return [action for action in full_parser(verb)._actions if action.option_strings]


# -- verbs and their help --------------------------------------------------------------------------


def test_every_verb_has_its_functions_and_its_line_in_the_overview(capfd: pytest.CaptureFixture[str]) -> None:
    status, out, err = answer(capfd, "--help")
    assert (status, err) == (0, "")
    for verb, (module, text) in COMMANDS.items():
        loaded = __import__(f"runner.cli.{module}", fromlist=["x"])
        word = verb.replace("-", "_")
        assert callable(getattr(loaded, f"add_{word}"))
        is_of_two_words = any(two.startswith(f"{verb} ") for two in SUBCOMMANDS)
        assert is_of_two_words or callable(getattr(loaded, f"run_{word}"))
        assert f"  {verb} " in out and text in out
    for verb, (module, _) in SUBCOMMANDS.items():
        loaded = __import__(f"runner.cli.{module}", fromlist=["x"])
        word = verb.replace(" ", "_")
        assert callable(getattr(loaded, f"add_{word}")) and callable(getattr(loaded, f"run_{word}"))
    assert "examples:" in out


def test_every_verb_of_the_contract_that_is_not_a_later_issue_is_there() -> None:
    promised = "init check config doctor resolve start list status wait logs pause resume cancel reap clean"
    assert {*promised.split(), "schema", "completion"} <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("form", ["--help", "-h", "help"])
def test_the_help_of_every_verb_has_examples_that_are_of_it(
    verb: str, form: str, capfd: pytest.CaptureFixture[str]
) -> None:
    words = (form, *verb.split()) if form == "help" else (*verb.split(), form)
    status, out, err = answer(capfd, *words)
    assert (status, err) == (0, "")
    assert f"usage: runner {verb}" in out
    _, _, examples = out.partition("examples:\n")
    assert f"runner {verb}" in examples
    assert "--format" in out


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_says_what_it_does(verb: str) -> None:
    assert [action.option_strings for action in options(verb) if not action.help] == []


def test_without_a_command_the_overview_is_shown_and_it_is_a_usage_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    status, out, _ = answer(capfd)
    assert status == 2
    assert out.startswith("usage: runner COMMAND")
    assert max(map(len, out.splitlines())) < 80


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_the_version_is_that_of_the_package(word: str, capfd: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert answer(capfd, word) == (0, f"runner {version('delegate-runner')}\n", "")


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("statuss", "perhaps you meant `runner status`"),
        ("startt", "perhaps you meant `runner start`"),
        ("xyzzy", "`runner --help` lists the commands"),
        ("--frobnicate", "`runner --help` lists the commands"),
        ("", "`runner --help` lists the commands"),
    ],
)
def test_an_unknown_command_is_a_usage_error_with_the_nearest_one(
    word: str, hint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    status, out, err = answer(capfd, word)
    assert (status, out) == (2, "")
    assert f"unknown command `{word}`" in err
    assert f"hint: {hint}" in err


@pytest.mark.parametrize(
    "verb", [verb for verb in VERBS if any(one.dest == "run" for one in full_parser(verb)._actions)]
)
def test_what_is_no_name_of_a_run_leads_no_verb_to_another_place(
    verb: str, capfd: pytest.CaptureFixture[str], empty_repository: Path
) -> None:
    """Neither to what looks like a run there."""
    run = an_ended_run(empty_repository)
    there = Path(run.path).parents[2] / "there"
    shutil.copytree(run.path, there)
    (empty_repository / "there.json").write_text('{"status": "running", "session": "x; touch executed"}')
    more = ("q-0001", "yes") if verb == "answer" else ("hello",) if verb == "send" else ()
    before = sorted((path, path.lstat().st_mtime_ns) for path in empty_repository.rglob("*"))
    for name in ("../there", f"../cli/{run.run_id}", "../../there", str(there), "..", "/", "", "x" * 256):
        status, out, _ = answer(capfd, verb, name, *more, "--format", "json")
        assert (status, error_of(out)["code"]) in ((4, "run_not_found"), (2, "usage")), name
    assert sorted((path, path.lstat().st_mtime_ns) for path in empty_repository.rglob("*")) == before


@pytest.mark.parametrize(
    "words",
    [
        ("pause",),
        ("status", "a", "b"),
        ("status", "a", "--frobnicate"),
        ("list", "--format", "yaml"),
        ("wait", "x", "--timeout", "soon"),
        ("cancel", "x", "--grace", "-1"),
        ("start",),
        ("start", "--task", "hello", "--wait", "--follow"),
        ("start", "do it", "--provider", "gemini", "--interactive"),
        ("start", "--task", "hello", "do it"),
        ("config", "hide"),
        ("completion", "ksh"),
        ("logs", "x", "--tail", "-1"),
        ("logs", "x", "--tail", "many"),
        ("logs", "x", "--stream", "all"),
        ("list", "--al"),
    ],
    ids=" ".join,
)
def test_a_wrong_use_exits_2_and_starts_nothing(
    words: tuple[str, ...], capfd: pytest.CaptureFixture[str], empty_repository: Path
) -> None:
    status, out, err = answer(capfd, *words)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert "hint: " in err
    assert not (empty_repository / ".runs").exists()
    status, out, err = answer(capfd, *words, "--format", "json")
    if "yaml" not in words:
        assert error_of(out)["code"] == "usage"
        assert (status, err) == (2, "")


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("status", "nothing"), "run_not_found", 4),
        (("status", "@latest"), "run_not_found", 4),
        (("status", "/no/such/manifest.json"), "run_not_found", 4),
        (("status", "../../etc/passwd"), "run_not_found", 4),
        (("pause", "x"), "run_not_found", 4),
        (("wait", "x", "y"), "run_not_found", 4),
        (("resolve", "--task", "nothing"), "task_not_found", 4),
        (("start", "--task", "../x"), "task_not_found", 4),
        (("check", "--config", "missing.toml"), "usage", 2),
        (("nonsense",), "usage", 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_an_error_in_json_mode_is_one_document_on_stdout_with_its_exit_status(
    words: tuple[str, ...], code: str, expected: int, capfd: pytest.CaptureFixture[str]
) -> None:
    for form in (("--format", "json"), ("--format=json",)):
        status, out, err = answer(capfd, *words, *form)
        error = error_of(out)
        assert (error["code"], status) == (code, expected)
        assert error["message"]
        assert error["retryable"] is False
        assert err == ""


def test_an_error_for_people_is_talk_and_not_data(capfd: pytest.CaptureFixture[str]) -> None:
    status, out, err = answer(capfd, "status", "nothing")
    assert (status, out) == (4, "")
    assert err.splitlines()[0] == "error: no run `nothing`"


def test_every_problem_of_the_settings_is_told_at_once(
    capfd: pytest.CaptureFixture[str], empty_repository: Path
) -> None:
    (empty_repository / "delegate.toml").write_text("schema_version = 1\nwrong = 1\n[tasks.a]\npromt = 'x'\n")
    status, out, _ = answer(capfd, "check", "--format", "json")
    error = error_of(out)
    assert (status, error["code"], len(error["problems"])) == (2, "config_invalid", 2)
    status, out, err = answer(capfd, "check")
    assert (status, out) == (2, "")
    for problem in error["problems"]:
        assert problem in err


@pytest.mark.parametrize("words", [("list",), ("list", "--all"), ("reap",), ("clean",)], ids=" ".join)
def test_an_answer_in_json_mode_is_one_document_and_nothing_else(
    words: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert answer(capfd, *words, "--format", "json") == (0, "[]\n", "")


# -- a bug of ours ---------------------------------------------------------------------------------

CRASH = """
import sys
from runner.cli import runs
from runner.cli.app import main
del runs.look
sys.exit(main(sys.argv[1:]))
"""
"""A product that is really broken: a name that `list` needs is not there."""


def crash(home: Path | str, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "XDG_STATE_HOME": str(home)}
    words = (sys.executable, "-c", CRASH, "list", *words)
    return subprocess.run(words, env=env, cwd=cwd, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize("verb", ["start", "resolve"])
@pytest.mark.parametrize(
    "words", [["docs", "--task", "review"], ["--task=review", "docs"], ["--task", "docs", "--task", "review"]]
)
def test_of_two_tasks_neither_is_taken(
    verb: str, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    Path("delegate.toml").write_text(
        "schema_version = 1\n[tasks.docs]\nprompt = 'a'\n[tasks.review]\nprompt = 'b'\n"
    )
    status, out, err = answer(capfd, verb, *words)
    assert (status, out) == (2, "") and "docs" in err and "review" in err
    assert not Path(".runs").exists()


@pytest.mark.parametrize("verb", [["list"], ["start", "hello"], ["status", "@latest"], ["doctor"]])
@pytest.mark.parametrize("system", ["darwin", "win32", "freebsd14"])
def test_another_system_is_told_in_one_sentence(
    verb: list[str], system: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert main(verb) == 8
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: runner needs Linux: ")
    assert "bug" not in said.err and "WSL" in said.err


@pytest.mark.parametrize(
    ("version", "status"), [((2, 7, 18), 1), ((3, 6, 15), 1), ((3, 10, 13), 1), (None, 0)]
)
def test_an_old_python_is_told_in_one_sentence(version: tuple[int, ...] | None, status: int) -> None:
    program = Path(app.__file__).parents[1] / "__main__.py"
    ast.parse(program.read_text(), feature_version=(3, 4))  # before that, it would not even be read
    assert "from __future__" not in program.read_text()
    code = "import runpy, sys; sys.argv = ['runner', '--version']; "
    code += f"sys.version_info = {version}; " if version else ""
    code += f"runpy.run_path({str(program)!r}, None, '__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == status, done.stderr
    if status:
        assert (
            done.stderr.startswith("error: runner needs Python 3.11 or newer")
            and done.stderr.count("\n") == 1
        )


def test_a_bug_exits_70_and_leaves_a_private_report(tmp_path: Path) -> None:
    done = crash(tmp_path / "state")
    (report,) = (tmp_path / "state" / "runner").iterdir()
    assert done.returncode == 70
    assert done.stdout == ""
    assert "NameError" in done.stderr and str(report) in done.stderr
    assert "Traceback" not in done.stderr
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    text = report.read_text()
    assert "Traceback" in text and "runs.py" in text and sys.version.split()[0] in text


def test_a_bug_in_json_mode_is_an_error_like_any_other(tmp_path: Path) -> None:
    done = crash(tmp_path / "state", "--format", "json")
    error = error_of(done.stdout)
    assert (done.returncode, error["code"], done.stderr) == (70, "bug", "")
    assert Path(error["hint"].rpartition(" ")[2]).exists()


def test_the_report_of_a_bug_is_not_left_in_the_folder_where_somebody_stands(
    tmp_path: Path, own_home: Path
) -> None:
    done = crash("relative", cwd=tmp_path)
    (report,) = (own_home / ".local/state/runner").iterdir()
    assert done.returncode == 70 and str(report) in done.stderr
    assert not (tmp_path / "relative").exists()


def test_the_report_of_a_bug_holds_what_is_no_text(tmp_path: Path) -> None:
    broken = "class Look:\n    def runs(*_, **__): raise ValueError(chr(0xDCFF))\nruns.look = Look"
    words = (sys.executable, "-c", CRASH.replace("del runs.look", broken), "list")
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=30)
    (report,) = (tmp_path / "runner").iterdir()
    assert done.returncode == 70 and "ValueError: \\udcff" in report.read_text()


@pytest.mark.parametrize("place", ["", "/crash-{pid}.log"], ids=["the folder", "the file"])
@pytest.mark.parametrize("target", ["precious", "missing"])
def test_the_report_of_a_bug_is_written_through_no_link(tmp_path: Path, place: str, target: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious\n")
    aim = outside if place == "" else outside / target
    plant = (
        f"import os; os.symlink({str(aim)!r}, {str(tmp_path)!r} + '/runner{place}'.format(pid=os.getpid()))"
    )
    if place:
        (tmp_path / "runner").mkdir(0o700)
    words = (sys.executable, "-c", f"{plant}\n{CRASH}", "list")
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 70 and "NameError" in done.stderr
    assert (outside / "precious").read_text() == "precious\n"
    assert [path.name for path in outside.iterdir()] == ["precious"]


def test_a_bug_without_a_place_for_its_report_is_told_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = crash(tmp_path / "file")
    assert done.returncode == 70
    assert "Traceback" in done.stderr and "could not be written" in done.stderr


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_half_of_a_surrogate_pair_is_printed_in_every_locale(
    empty_repository: Path, locale: str, own_home: Path
) -> None:
    """The C locale of a container or a cron job makes Python print undecodable bytes, and refuse this."""
    run = RunDir(str(empty_repository), "work", new_run_id())
    os.close(run.create())
    failed = Reason("runtime_failed", "half \ud800")
    run.write_manifest(a_manifest(run, phase=Phase.DONE, outcome=Outcome.FAILED, reason=failed))
    command = (sys.executable, "-m", "runner", "status", run.run_id)
    env = {"HOME": str(own_home), "LC_ALL": locale}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=30)
    assert "half \ufffd" in done.stdout, done


# -- the other ways out ----------------------------------------------------------------------------


def test_a_reader_that_goes_away_is_no_error() -> None:
    shell = f'"{sys.executable}" -m runner --help | true; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "0\n"
    assert done.stderr == ""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_of_a_help_that_has_gone_already_is_no_error(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    command = (sys.executable, "-m", "runner", "status", "--help")
    with os.fdopen(writing, "w") as gone:
        done = subprocess.run(
            command, stdout=gone, stderr=subprocess.PIPE, text=True, check=False, env=env, timeout=30
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_limit_of_open_files_that_is_reached_is_named_and_is_no_bug() -> None:
    shell = f'ulimit -n 5; exec "{sys.executable}" -P -m runner resolve --task hello --format json'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False, timeout=30)
    error = error_of(done.stdout)
    assert (done.returncode, error["code"]) == (9, "too_many_open_files")
    assert "ulimit -n" in error["hint"]


def test_a_folder_of_runs_that_cannot_be_read_is_told_beside_the_other_runs(
    capfd: pytest.CaptureFixture[str], empty_repository: Path
) -> None:
    run = RunDir(str(empty_repository), "hello", new_run_id())
    os.makedirs(run.path)
    ended = {"phase": Phase.DONE, "outcome": Outcome.SUCCEEDED, "reason": Reason("completed", "ok")}
    Path(run.manifest).write_text(json.dumps(a_manifest(run).replace(**ended).to_json()))
    folder = empty_repository / ".runs" / "broken"
    folder.mkdir()
    (folder / "cli").write_text("")
    status, out, err = answer(capfd, "list", "--all", "--format", "json")
    assert (status, [row["run_id"] for row in json.loads(out)]) == (0, [run.run_id])
    (line,) = err.splitlines()
    assert line.startswith(f"warning: cannot read {folder}: Not a directory (") and "ls -ld" in line
    status, out, err = answer(capfd, "list", "--all")
    assert run.run_id[20:24] in out and err.splitlines() == [line]
    assert answer(capfd, "list", "--all", "--task", "hello")[2] == ""


@pytest.mark.parametrize("settings", [None, "wrong = 1\n"])
def test_without_valid_settings_doctor_still_makes_the_checks_that_need_none(
    settings: str | None,
    capfd: pytest.CaptureFixture[str],
    empty_repository: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, program = empty_repository / "delegate.toml", empty_repository / "codex"
    file.unlink()
    if settings is not None:
        file.write_text(settings)
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{empty_repository}:/usr/bin:/bin")
    status, out, err = answer(capfd, "doctor", "--format", "json")
    found = json.loads(out)
    checks = {check["name"]: check for check in found["checks"]}
    assert (status, err, found["ready"]) == (2, "", False)
    assert {"git", "runs-folder", "disk", "codex.identity"} <= set(checks)
    assert (checks["config"]["verdict"], checks["runs-folder"]["verdict"]) == ("fail", "ok")
    assert ("runner init" if settings is None else "runner check") in checks["config"]["repair"]
    status, out, err = answer(capfd, "doctor", "--runtime", "kay")
    assert status == 2
    assert out.startswith("fail    config ") and "kay.binary" in out and "codex" not in out
    assert err.startswith(f"error: {checks['config']['message']}\n")


@pytest.mark.parametrize(
    "words", ["list", "start --plan plan.toml --task work --rehearse plays --map map.md --config x.toml"]
)
def test_a_current_folder_that_was_removed_is_named(tmp_path: Path, words: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = f'cd "{gone}" && rmdir "{gone}" && "{sys.executable}" -P -m runner {words}'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert "current folder does not exist" in done.stderr


def test_only_the_module_of_the_chosen_verb_is_imported() -> None:
    code = "import sys; from runner.cli.app import main; main(['list']); print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = {name for name in done.stdout.split() if name.startswith("runner.cli.")}
    assert "runner.cli.runs" in loaded
    assert not loaded & {"runner.cli.start", "runner.cli.setup", "runner.cli.logs", "runner.cli.progress"}


@pytest.mark.parametrize("name", ["delegate", "policy", "manifest", "invocation", "event"])
def test_every_schema_is_printed_as_it_is_shipped(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    shipped = Path(app.__file__).parents[2] / "schemas" / f"{name}.schema.json"
    status, out, _ = answer(capfd, "schema", name)
    assert (status, json.loads(out)) == (0, json.loads(shipped.read_text(encoding="utf-8")))


def test_an_unknown_schema_is_named_with_the_known_ones(capfd: pytest.CaptureFixture[str]) -> None:
    status, _, err = answer(capfd, "schema", "manifes")
    assert status == 2
    assert "manifest" in err


def test_the_help_and_the_docs_name_every_schema(capfd: pytest.CaptureFixture[str]) -> None:
    _, told, _ = answer(capfd, "schema", "--help")
    docs = (Path(app.__file__).parents[2] / "docs/commands.md").read_text(encoding="utf-8")
    part = docs.partition("### `runner schema NAME`")[2].partition("###")[0]
    assert [name for name in schema_names() if name not in told or f"`{name}`" not in part] == []


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("list", "--format", "json"),
        ("schema", "manifest"),
        ("--help",),
        ("status", "--help"),
        ("help", "status"),
    ],
)
def test_an_output_that_cannot_be_written_is_said_and_is_no_bug(
    words: tuple[str, ...], unbuffered: str
) -> None:
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        command = (sys.executable, "-m", "runner", *words)
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=env, timeout=30
        )
    assert done.returncode == 9
    assert "error: cannot write: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_an_error_that_cannot_be_written_to_stdout_keeps_its_exit_status_and_goes_to_stderr() -> None:
    with open("/dev/full", "w") as full:
        command = (sys.executable, "-m", "runner", "status", "nothing", "--format", "json")
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=30
        )
    assert done.returncode == 4
    assert done.stderr.startswith("error: no run `nothing`")


def test_an_error_that_can_be_told_to_nobody_keeps_its_exit_status() -> None:
    with open("/dev/full", "w") as full:
        command = (sys.executable, "-m", "runner", "status", "nothing")
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=full, check=False, timeout=30)
    assert done.returncode == 4


def test_nothing_of_a_long_output_is_lost_in_a_pipe_that_does_not_block() -> None:
    command = (sys.executable, "-m", "runner", "schema", "manifest")
    whole = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    room = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    assert len(whole) > 2 * room, "else this shows nothing"
    with subprocess.Popen(command, stdout=writing) as process:
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            select.select([pipe], [], [], 30)
            assert process.poll() is None, "it waits for its reader"
            assert pipe.read() == whole
    assert process.returncode == 0


def test_an_answer_that_is_no_text_is_refused_and_is_no_bug(empty_repository: Path, own_home: Path) -> None:
    run = an_ended_run(empty_repository)
    done = subprocess.run(
        (sys.executable, "-m", "runner", "answer", run.run_id, "q-0001", "-"),
        env={"HOME": str(own_home), "LC_ALL": "C.UTF-8"},
        cwd=empty_repository,
        input=b"yes \xff",
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, b"not valid UTF-8 (byte 5)" in done.stderr) == (2, True), done
