"""Finding a program and asking it what it is: with real executables that behave badly."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.errors import RuntimeMissing, RuntimeWrong
from runner.model import RuntimeSettings
from runner.runtimes import get, probe, shortrun
from runner.runtimes.codex import Codex

CODEX, KAY = get("codex"), get("kay")
HELP = """Run it

Options:
  -c, --config <key=value>
          Use a dotted path, e.g. `-c x=1`
      --json
          Print events
  -h, --help  Print help
"""
ANSWER = f"""
case "$1" in
  --version) echo "codex-cli 0.163.0";;
  exec) cat <<'END'
{HELP}END
  ;;
esac
"""
KAY_ANSWER = ANSWER.replace("codex-cli 0.163.0", "kay 0.9.46")
BOUND_S = 8.0


class Place:
    """A home, a folder on PATH, and programs that count their starts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "bin"
        self.bin.mkdir()
        self.env = {"HOME": str(root / "home"), "PATH": f"{self.bin}:/usr/bin:/bin"}

    @property
    def cache(self) -> Path:
        return self.root / "home/.cache/runner/programs.json"

    def program(self, body: str, name: str = "codex") -> Path:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "$@" >> "{self.root}/starts"\n{body}\n')
        path.chmod(0o755)
        return path

    def starts(self) -> int:
        file = self.root / "starts"
        return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def settings(command: str = "codex", version: str | None = None) -> RuntimeSettings:
    return RuntimeSettings("codex", command, version, (), {}, None)


def refusal(place: Place, command: str = "codex", seconds: float = BOUND_S) -> RuntimeWrong:
    with pytest.raises(RuntimeWrong) as caught:
        probe.discover(CODEX, settings(command), place.env, seconds=seconds)
    assert caught.value.hint
    return caught.value


def test_a_program_on_path_is_found_with_its_version_and_its_options(place: Place) -> None:
    path = place.program(ANSWER)
    program = probe.find(CODEX, settings(), place.env)
    assert (program.path, program.version) == (str(path), "0.163.0")
    assert program.flags == {"-c", "--config", "--json", "-h", "--help"}


class Plain(Codex):
    """A program without a subcommand."""

    help_args = ("--help",)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        (
            '  --allowedTools, --allowed-tools <tools...>  Names, e.g. "Bash(git *) Edit"',
            {"--allowedTools", "--allowed-tools"},
        ),
        ("  -p, --print                     Print, see --output-format", {"-p", "--print"}),
        ('  -d, --debug [filter]  Debug mode (e.g., "api,hooks" or "!1p")', {"-d", "--debug"}),
        ("  -d2e, --debug-to-stderr  Debug", {"-d2e", "--debug-to-stderr"}),
        ("      --approval-mode   one of: default, --x  [string]", {"--approval-mode"}),
        ("  -config string", {"-config"}),
        ("          - read-only: nothing is written", set()),
        ("          --deep is a word of a text", set()),
        ("--at-the-begin of a line", set()),
    ],
)
def test_options_are_read_from_the_help_that_the_runtime_names(
    place: Place, line: str, names: set[str]
) -> None:
    body = f"""case "$*" in --version) echo "codex-cli 1.0.0";; --help) cat <<'END'
  --known
{line}
END
;; *) exit 9;; esac"""
    place.program(body)
    assert probe.find(Plain(), settings(), place.env).flags == {"--known", *names}


def test_options_are_read_from_stderr_where_a_program_writes_its_help_there(place: Place) -> None:
    place.program("""[ "$1" = --version ] && echo codex-cli 1.0.0 || echo "  -m, --model NAME" >&2""")
    assert probe.find(Plain(), settings(), place.env).flags == {"-m", "--model"}


def test_a_program_gets_the_home_of_its_runtime_and_no_other(place: Place) -> None:
    env = {**place.env, "CODEX_HOME": "/c", "KAY_HOME": "/k", "OPENAI_API_KEY": "x"}
    assert probe.minimal_env(env, "kay").keys() == {"HOME", "PATH", "KAY_HOME"}
    assert probe.minimal_env(env).keys() == {"HOME", "PATH"}


def test_warnings_on_stderr_do_not_hide_the_version(place: Place) -> None:
    place.program("echo 'WARNING: home is in a temporary folder' >&2" + ANSWER)
    assert probe.find(CODEX, settings(), place.env).version == "0.163.0"


def test_the_second_time_nothing_is_started(place: Place) -> None:
    place.program(ANSWER)
    first = probe.find(CODEX, settings(), place.env)
    starts = place.starts()
    assert probe.find(CODEX, settings(), place.env) == first
    assert place.starts() == starts == 2


def test_a_cache_hit_imports_nothing_that_starts_processes(place: Place) -> None:
    place.program(ANSWER)
    probe.find(CODEX, settings(), place.env)
    code = (
        "import sys, json; from runner.runtimes import get, probe; from runner.model import *\n"
        "s = RuntimeSettings('codex', 'codex', None, (), {}, None)\n"
        "probe.find(get('codex'), s, json.loads(sys.argv[1]))\n"
        "print([m for m in ('subprocess', 'selectors', 'pathlib', 'typing', 'dataclasses', 'sh',"
        " 'importlib.util', 'tempfile', 'shutil') if m in sys.modules])"
    )
    repo = Path(__file__).resolve().parents[2]
    ran = subprocess.run(
        [sys.executable, "-S", "-c", code, json.dumps(place.env)],
        cwd=repo, env={"PYTHONPATH": str(repo)}, capture_output=True, text=True, timeout=BOUND_S,
    )  # fmt: skip
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")
    assert place.starts() == 2


def test_a_changed_program_is_asked_again(place: Place) -> None:
    path = place.program(ANSWER)
    probe.find(CODEX, settings(), place.env)
    before = path.stat()
    place.program(ANSWER.replace("0.163.0", "0.169.0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert probe.find(CODEX, settings(), place.env).version == "0.169.0"


def test_doctor_can_have_it_asked_afresh(place: Place) -> None:
    place.program(ANSWER)
    probe.find(CODEX, settings(), place.env)
    probe.discover(CODEX, settings(), place.env, fresh=True)
    assert place.starts() == 4


def test_the_cache_is_for_its_owner_only(place: Place) -> None:
    place.program(ANSWER)
    probe.find(CODEX, settings(), place.env)
    assert stat.S_IMODE(place.cache.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.cache.parent.stat().st_mode) == 0o700
    assert {file.name for file in place.cache.parent.iterdir()} == {"programs.json", "programs.json.lock"}


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"x": 1}', "\x00", "[" * 100_000])
def test_a_broken_cache_costs_a_question_and_nothing_else(place: Place, content: str) -> None:
    path = place.program(ANSWER)
    place.cache.parent.mkdir(parents=True)
    place.cache.write_text(content)
    assert probe.find(CODEX, settings(), place.env).path == str(path)
    assert list(json.loads(place.cache.read_text()))[-1] == f"codex:{path}"


def test_an_entry_with_wrong_types_is_not_believed(place: Place) -> None:
    path = place.program(ANSWER)
    probe.find(CODEX, settings(), place.env)
    data = json.loads(place.cache.read_text())
    data[f"codex:{path}"].update(version=["9.9.9"])
    place.cache.write_text(json.dumps(data))
    assert probe.find(CODEX, settings(), place.env).version == "0.163.0"


def test_without_a_place_for_a_cache_it_works_all_the_same(place: Place) -> None:
    place.program(ANSWER)
    env = {"PATH": place.env["PATH"], "HOME": "/proc/none"}
    assert probe.find(CODEX, settings(), env).version == "0.163.0"
    assert probe.find(CODEX, settings(), {**env, "XDG_CACHE_HOME": "/dev/null"}).version


def test_a_codex_that_is_kay_is_refused_with_what_it_is_and_how_to_repair_it(place: Place) -> None:
    place.program(KAY_ANSWER)
    error = refusal(place)
    assert error.message.startswith("`codex` is Kay 0.9.46 (")
    assert error.message.endswith("not the OpenAI Codex CLI")
    assert "`command` in [runtimes.codex]" in (error.hint or "")


def test_a_refusal_is_not_kept(place: Place) -> None:
    place.program(KAY_ANSWER)
    refusal(place)
    assert not place.cache.exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("exit 1", "ended with status 1"),
        ("echo oops >&2; exit 3", "status 3: oops"),
        ("echo hello", "something that calls itself `hello`"),
        ("exit 0", "something without a version"),
        ('[ "$1" = exec ] && exit 2; echo codex-cli 1.0.0', "exec --help` ended with status 2"),
        ('[ "$1" = exec ] || echo codex-cli 1.0.0', "lists no options"),
        ("exec yes", "wrote more than"),
        ("exec yes >&2", "wrote more than"),
        ("exec 3</dev/tty || exit 4", "status"),
        ("read line || exit 5", "status 5"),
        ("kill -9 $$", "status -9"),
    ],
)
def test_a_program_that_behaves_badly_is_refused(place: Place, body: str, message: str) -> None:
    place.program(body)
    assert message in refusal(place).message


def test_a_program_that_hangs_is_ended_with_all_that_it_started(place: Place) -> None:
    place.program(f'sleep 600 & echo $! > "{place.root}/child"; wait')
    began = time.monotonic()
    assert "did not answer within" in refusal(place, seconds=0.5).message
    assert time.monotonic() - began < BOUND_S
    assert _ends(int((place.root / "child").read_text()))


def test_a_program_with_a_grace_ends_what_it_has_started_elsewhere(place: Place) -> None:
    """As Claude Code does with its sandbox, which is in a session of its own."""
    own = 'setsid sleep 4242 & echo $! > "$HOME/other"; trap "kill $!; exit" TERM; touch "$HOME/up"; wait'
    program = place.program(own)
    Path(place.env["HOME"]).mkdir()
    ended = shortrun.run([str(program)], place.env, seconds=0.5, grace_s=BOUND_S)
    assert ended.why == "did not answer within 0.5 s"
    assert (place.root / "home/up").exists()
    assert _ends(int((place.root / "home/other").read_text()))


def test_a_program_that_heeds_no_signal_has_its_grace_and_no_more(place: Place) -> None:
    program = place.program('trap "" TERM; echo $$; while :; do sleep 0.1; done')
    begun = time.monotonic()
    ended = shortrun.run([str(program)], place.env, seconds=0.5, grace_s=0.5)
    assert time.monotonic() - begun < BOUND_S
    assert _ends(int(ended.stdout))


def test_a_grandchild_that_holds_the_output_open_is_not_waited_for(place: Place) -> None:
    place.program("sleep 600 &" + ANSWER)
    began = time.monotonic()
    assert probe.discover(CODEX, settings(), place.env).version == "0.163.0"
    assert time.monotonic() - began < BOUND_S


def test_keys_of_the_environment_do_not_reach_it(place: Place) -> None:
    place.program(f'env > "{place.root}/env"' + ANSWER)
    probe.find(CODEX, settings(), {**place.env, "OPENAI_API_KEY": "secret"})
    assert "secret" not in (place.root / "env").read_text()


@pytest.mark.parametrize("kind", ["folder", "plain", "absent"])
def test_what_cannot_be_run_is_passed_over_on_path(place: Place, kind: str) -> None:
    if kind == "folder":
        (place.bin / "codex").mkdir()
    elif kind == "plain":
        place.program(ANSWER).chmod(0o644)
    other = place.root / "other"
    other.mkdir()
    (other / "codex").write_text(f"#!/bin/sh\n{ANSWER}")
    (other / "codex").chmod(0o755)
    env = {**place.env, "PATH": f":relative:{place.bin}:{other}:/usr/bin:/bin"}
    assert probe.find(CODEX, settings(), env).path == str(other / "codex")


@pytest.mark.parametrize(
    ("make", "message"),
    [(Path.mkdir, "is a folder"), (Path.touch, "not executable"), (lambda _: None, "not exist")],
)
def test_a_configured_path_that_cannot_be_run_says_why(place: Place, make: object, message: str) -> None:
    path = place.root / "my codex"
    make(path)  # type: ignore[operator]
    with pytest.raises(RuntimeMissing, match=message):
        probe.find(CODEX, settings(str(path)), place.env)


def test_a_text_file_that_is_executable_is_refused(place: Place) -> None:
    path = place.program(ANSWER)
    path.write_text("codex-cli 0.163.0")
    assert "cannot be started: Exec format error" in refusal(place).message


def test_paths_start_at_the_repository_or_at_home(place: Place) -> None:
    path = place.program(ANSWER)
    home = Path(place.env["HOME"])
    home.mkdir()
    (home / "codex").symlink_to(path)
    found = [
        probe.find(CODEX, settings("bin/codex"), place.env, str(place.root)),
        probe.find(CODEX, settings("~/codex"), place.env, str(place.root)),
        probe.find(CODEX, settings(str(path)), place.env),
    ]
    assert {program.path for program in found} == {str(path)}


def test_a_link_is_followed_unless_its_name_is_what_starts_the_program(place: Place) -> None:
    shim = place.program('[ "${0##*/}" = codex ] || exit 9\n' + ANSWER, "shim")
    (place.bin / "codex").symlink_to(shim)
    assert probe.find(CODEX, settings(), place.env).path == str(place.bin / "codex")


def test_a_name_that_is_nowhere_is_missing_with_how_to_get_it(place: Place) -> None:
    with pytest.raises(RuntimeMissing, match="no `my-codex` on PATH") as caught:
        probe.find(CODEX, settings("my-codex"), place.env)
    assert "pip install 'delegate-runner[codex]'" in (caught.value.hint or "")


def test_without_a_codex_on_path_the_one_of_the_package_is_used(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = place.root / "site-packages"
    binary = packages / "codex_cli_bin/bin/codex"
    binary.parent.mkdir(parents=True)
    place.program(ANSWER).rename(binary)
    (packages / "codex_cli_bin/codex-path").mkdir()
    monkeypatch.setattr(sys, "path", [str(packages)])
    program = probe.find(CODEX, settings(), place.env)
    assert program.path == str(binary)
    assert probe.path_additions(program) == (str(packages / "codex_cli_bin/codex-path"),)


def test_kay_is_found_under_each_of_its_names_and_an_editor_is_not_kay(place: Place) -> None:
    kay = RuntimeSettings("kay", "kay", None, (), {}, "ocg")
    place.program(f"echo 1.97.0; echo {'a' * 40}; echo x64", "code")
    with pytest.raises(RuntimeWrong, match="Visual Studio Code"):
        probe.find(KAY, kay, place.env)
    coder = place.program(KAY_ANSWER, "coder")
    assert probe.find(KAY, kay, place.env).path == str(coder)
    named = place.program(KAY_ANSWER, "kay")
    assert probe.find(KAY, kay, place.env).path == str(named)


def test_the_other_program_called_kay_has_no_exec_and_is_refused(place: Place) -> None:
    place.program('[ "$1" = --version ] && echo kay 0.6.0 || exit 2', "kay")
    kay = RuntimeSettings("kay", "kay", None, (), {}, "ocg")
    with pytest.raises(RuntimeWrong, match="exec --help"):
        probe.find(KAY, kay, place.env)


def test_a_version_outside_the_constraint_is_refused_with_both(place: Place) -> None:
    place.program(ANSWER)
    assert probe.find(CODEX, settings(version=">=0.150"), place.env)
    with pytest.raises(RuntimeWrong) as caught:
        probe.find(CODEX, settings(version=">=0.170"), place.env)
    assert "0.163.0" in caught.value.message
    assert ">=0.170" in caught.value.message


def gemini(place: Place, prints: str, helps: str = "Gemini CLI") -> str:
    options = f"{helps}\n  -o, --output-format  The format"
    place.program(f"[ \"$1\" = --version ] && {prints} || echo '{options}'", "gemini")
    runtime = get("gemini")
    return probe.find(runtime, runtime.defaults(), place.env).version


@pytest.mark.parametrize(
    ("prints", "said"),
    [
        ("0.60.9", ">=0.61"),
        ("gemini 1.4 of another maker", "Gemini CLI"),
        ("2.1.332 (Claude Code)", "Gemini"),
    ],
)
def test_a_gemini_that_is_too_old_or_something_else_is_refused(place: Place, prints: str, said: str) -> None:
    with pytest.raises(RuntimeWrong, match=said):
        gemini(place, f"echo '{prints}'")


def test_a_bare_number_is_no_name_and_what_node_warns_of_is_no_version(place: Place) -> None:
    warned = "{ echo '(node:7) [DEP0040] DeprecationWarning: punycode' >&2; echo 0.61.0; }"
    assert gemini(place, warned) == "0.61.0"
    with pytest.raises(RuntimeWrong, match="not Gemini CLI"):
        gemini(place, warned, helps="Usage: gemini SITE, a browser of capsules")


def _ends(pid: int) -> bool:
    """Whether the process is gone, or a corpse that nobody has collected, within the bound."""
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        os.sched_yield()
    return False
