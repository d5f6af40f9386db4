"""The stand-in for the Kay CLI keeps the documented contract of Kay 0.9.17 and 0.9.46."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kay_install import install_kay

HERE = Path(__file__).parent

BOTH = ("0.9.17", "0.9.46")
KEY = "key-opencode-0123456789"
PROVIDER = ("-c", "model_provider=opencode-go", "-m", "opencode-go/glm-5")
WANTS_STATUS = "Do it.\nThe final message must begin with STATUS: SUCCESS or STATUS: BLOCKED.\n"
OPTIONS = (
    *("config", "auto", "demo", "image", "model", "oss", "sandbox", "profile", "full-auto"),
    *("dangerously-bypass-approvals-and-sandbox", "cd", "debug", "auto-review", "color", "json"),
    *("skip-git-repo-check", "output-schema", "max-seconds", "turn-cap", "include-plan-tool"),
    *("output-last-message", "review-output-json"),
)
BOUND_S = 20.0


@dataclass(frozen=True)
class Stage:
    """A home folder, a repository and an installed Kay."""

    root: Path
    kay: Path
    generation: str
    env: dict[str, str]

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def last_message(self) -> Path:
        return self.root / "last.md"

    def script(self, text: str) -> None:
        (self.home / "stand-in.toml").write_text(text, encoding="utf-8")

    def run(self, *words: str, prompt: str = "", **env: str | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.kay), *words],
            input=prompt,
            cwd=self.work,
            env={k: v for k, v in {**self.env, **env}.items() if v is not None},
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=BOUND_S,
        )

    def exec(
        self, *words: str, prompt: str = "Say hello.", **env: str | None
    ) -> subprocess.CompletedProcess[str]:
        return self.run("exec", "--json", *PROVIDER, *words, prompt=prompt, **env)

    @contextlib.contextmanager
    def live(self, *words: str, prompt: str = "Say hello.") -> Iterator[subprocess.Popen[bytes]]:
        """A running `exec` with its prompt given."""
        command = [str(self.kay), "exec", "--json", *PROVIDER, *words, "-"]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.work,
            env=self.env,
            start_new_session=True,
        ) as process:
            try:
                assert process.stdin
                process.stdin.write(prompt.encode())
                process.stdin.close()
                yield process
            finally:
                process.kill()

    def rollouts(self) -> list[list[dict[str, Any]]]:
        paths = sorted(self.home.glob("sessions/*/*/*/rollout-*.jsonl"))
        return [[json.loads(line) for line in path.read_text().splitlines()] for path in paths]

    def catalogue(self) -> list[dict[str, Any]]:
        path = self.home / "sessions" / "index" / "catalog.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(params=BOTH)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    return make_stage(tmp_path, request.param)


@pytest.fixture
def newest(tmp_path: Path) -> Stage:
    return make_stage(tmp_path, "0.9.46")


@pytest.fixture
def oldest(tmp_path: Path) -> Stage:
    return make_stage(tmp_path, "0.9.17")


def make_stage(root: Path, generation: str) -> Stage:
    kay = install_kay(root / "bin", generation=generation)
    for folder in ("home", "work/.git"):
        (root / folder).mkdir(parents=True)
    env = {
        "PATH": f"{kay.parent}:{os.environ['PATH']}",
        "HOME": str(root),
        "KAY_HOME": str(root / "home"),
        "OPENCODE_GO_API_KEY": KEY,
    }
    return Stage(root, kay, generation, env)


def lines_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def messages_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [line["msg"] for line in lines_of(done)[2:]]


def summary_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    return dict(lines_of(done)[0])


def answer_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    said = [msg for msg in messages_of(done) if msg["type"] == "agent_message"]
    return str(said[-1]["message"])


def read_until(process: subprocess.Popen[bytes], wanted: str) -> str:
    """What the process printed up to and with `wanted`."""
    assert process.stdout
    seen = b""
    end = time.monotonic() + BOUND_S
    while wanted.encode() not in seen:
        ready, _, _ = select.select([process.stdout], [], [], max(0, end - time.monotonic()))
        assert ready, f"{wanted!r} was not printed in time, only {seen!r}"
        chunk = os.read(process.stdout.fileno(), 65536)
        assert chunk, f"the output ended without {wanted!r}: {seen!r}"
        seen += chunk
    return seen.decode()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until_gone(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with os.fdopen(process):
        ready, _, _ = select.select([process], [], [], BOUND_S)
    assert ready, f"process {pid} is still there"


def processes_in(folder: Path) -> list[int]:
    """The processes with this working folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == folder and is_alive(int(process.name)):
                found.append(int(process.name))
    return found


# --- names, version, help, usage errors


@pytest.mark.parametrize("name", ["kay", "code", "coder", "codex"])
@pytest.mark.parametrize("generation", BOTH)
def test_it_says_kay_and_its_version_under_every_name(tmp_path: Path, generation: str, name: str) -> None:
    program = install_kay(tmp_path, generation=generation, name=name)
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"kay {generation}\n", "")


def test_the_program_file_itself_can_be_started() -> None:
    program = HERE / "kay" / "kay.py"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == "kay 0.9.46\n"


def test_a_launcher_works_with_an_interpreter_whose_path_has_a_space(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    python = folder / "python"
    python.symlink_to(Path(sys.executable).resolve())
    code = "from pathlib import Path; from kay_install import *; install_kay(Path('bin'))"
    subprocess.run([python, "-c", code], cwd=folder, env={"PYTHONPATH": str(HERE)}, check=True)
    done = subprocess.run([folder / "bin/kay", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "kay 0.9.46\n")


def test_a_generation_that_is_not_known_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"0\.9\.99"):
        install_kay(tmp_path, generation="0.9.99")


def test_exec_help_lists_the_options_of_its_generation(stage: Stage) -> None:
    for words in (["exec", "--help"], ["e", "-h"], ["help", "exec"]):
        done = stage.run(*words)
        assert done.returncode == 0
        listed = {word for word in done.stdout.split() if word.startswith("--")}
        assert listed >= {f"--{option}" for option in OPTIONS}
        assert "-o," not in done.stdout
        assert ("-a, --ask-for-approval" in done.stdout) == (stage.generation == "0.9.46")


@pytest.mark.parametrize(
    "words",
    [
        ["-o", "file"],
        ["--no-such-option"],
        ["--full-auto", "--dangerously-bypass-approvals-and-sandbox"],
        ["--yolo", "--full-auto"],
        ["resume", "some-id", "--last"],
        ["resume", "--last", "prompt after --last is taken for an id"],
        ["resume", "--json"],
        ["--json", "--json"],
        ["-m", "one", "-m", "two"],
        ["-m", "--json"],
        ["-s", "nowhere"],
        ["--max-seconds", "0"],
        ["-starts with a dash"],
        ["one prompt", "two prompts"],
        ["--ephemeral"],
        ["--add-dir", "x"],
    ],
    ids=" ".join,
)
def test_a_usage_error_exits_2_and_talks_on_stderr(stage: Stage, words: list[str]) -> None:
    done = stage.run("exec", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "--help" in done.stderr
    assert not (stage.home / "sessions").exists()


def test_an_unknown_option_is_named_with_the_usage(stage: Stage) -> None:
    done = stage.run("exec", "-o", "file")
    assert "unexpected argument '-o' found" in done.stderr
    assert "Usage: kay exec" in done.stderr


def test_the_approval_option_came_after_0_9_17(tmp_path: Path) -> None:
    old, new = make_stage(tmp_path / "a", "0.9.17"), make_stage(tmp_path / "b", "0.9.46")
    assert old.exec("-a", "never").returncode == 2
    assert summary_of(new.exec("-a", "on-request"))["approval"] == "on-request"


def test_options_before_the_subcommand_belong_to_the_interactive_program(stage: Stage) -> None:
    done = stage.run("-a", "on-request", "exec", "--json", *PROVIDER, "hello")
    assert summary_of(done)["approval"] == "never"


# --- sandbox and approval


def test_without_flags_it_never_asks_and_only_reads(stage: Stage) -> None:
    summary = summary_of(stage.exec("-c", "approval_policy=on-request"))
    assert (summary["approval"], summary["sandbox"]) == ("never", "read-only")


def test_full_auto_opens_the_network_only_in_0_9_46(stage: Stage) -> None:
    summary = summary_of(stage.exec("--full-auto"))
    assert summary["approval"] == "on-failure"
    assert summary["sandbox"].startswith("workspace-write")
    opened = "network access enabled" in summary["sandbox"]
    assert opened == (stage.generation == "0.9.46")


def test_an_explicit_sandbox_and_approval_win_over_full_auto(newest: Stage) -> None:
    summary = summary_of(newest.exec("--full-auto", "-s", "read-only", "-a", "never"))
    assert (summary["approval"], summary["sandbox"]) == ("never", "read-only")


def test_the_bypass_wins_over_everything(stage: Stage) -> None:
    summary = summary_of(stage.exec("--yolo", "-s", "read-only"))
    assert (summary["approval"], summary["sandbox"]) == ("never", "danger-full-access")


# --- the prompt


def test_a_prompt_argument_makes_it_ignore_stdin(stage: Stage) -> None:
    done = stage.exec("from the argument", prompt="from stdin")
    assert lines_of(done)[1] == {"prompt": "from the argument"}


@pytest.mark.parametrize("dash", [["-"], []])
def test_the_prompt_is_read_from_stdin_to_its_end(stage: Stage, dash: list[str]) -> None:
    prompt = "OBJECTIVE: größer\n-o\n" * 3
    done = stage.exec(*dash, prompt=prompt)
    assert lines_of(done)[1] == {"prompt": prompt}
    assert f"{len(prompt)} characters" in answer_of(done)


@pytest.mark.parametrize("prompt", ["", " \n", "\udcff"])
def test_no_usable_prompt_exits_1(stage: Stage, prompt: str) -> None:
    done = stage.exec("-", prompt=prompt)
    assert (done.returncode, done.stdout) == (1, "")
    assert "prompt" in done.stderr


def test_an_unknown_slash_command_exits_1(stage: Stage) -> None:
    done = stage.exec("-", prompt="  /theme dark")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Command '/theme' is not supported in exec mode.\n"


@pytest.mark.parametrize("name", ["plan", "solve", "kay", "code"])
def test_a_known_slash_command_is_expanded_and_needs_a_task(stage: Stage, name: str) -> None:
    done = stage.exec(prompt=f"/{name} ship\nit")
    assert lines_of(done)[1] == {"prompt": f"/{name} ship it"}
    assert stage.exec(prompt=f"/{name}").returncode == 1


def test_slash_review_reviews_and_slash_auto_takes_a_goal(stage: Stage) -> None:
    assert "No issues reported" in answer_of(stage.exec(prompt="/review"))
    assert stage.exec(prompt="/auto").returncode == 1
    done = stage.run("auto", *PROVIDER, "win")
    assert done.returncode == 0
    assert "User instructions:\n/auto win" in done.stdout
    assert "approval: on-failure" in done.stdout


def test_outside_a_repository_it_needs_the_skip_option(stage: Stage) -> None:
    # Not a temporary folder: a sandbox may leave an empty .git in the folder of all of them.
    done = stage.exec("-C", "/")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--skip-git-repo-check" in done.stderr
    assert summary_of(stage.exec("-C", "/", "--skip-git-repo-check"))["workdir"] == "/"


def test_a_folder_inside_a_repository_needs_no_skip_option(stage: Stage) -> None:
    (stage.work / "deep" / "er").mkdir(parents=True)
    assert summary_of(stage.exec("-C", "deep/er"))["workdir"] == str(stage.work / "deep" / "er")


def test_an_output_schema_must_be_small_json(stage: Stage) -> None:
    schema = stage.root / "schema.json"
    for text, code in (('{"type":"object"}', 0), ("{", 1), ('"' + "x" * 8192 + '"', 1)):
        schema.write_text(text)
        assert stage.exec("--output-schema", str(schema)).returncode == code
    assert stage.exec("--output-schema", str(stage.root / "none")).returncode == 1


# --- configuration


@pytest.mark.parametrize(
    ("raw", "shown"),
    [('model="quoted"', "quoted"), ("model=bare", "bare"), ("model = 'a=b'", "a=b")],
)
def test_an_override_is_toml_or_else_a_string(stage: Stage, raw: str, shown: str) -> None:
    done = stage.run("exec", "--json", *PROVIDER[:2], "-c", raw, "hello")
    assert summary_of(done)["model"] == shown


def test_the_last_override_wins_and_the_model_option_beats_it(stage: Stage) -> None:
    words = ["-c", "model=first", "exec", "--json", *PROVIDER[:2], "-c", "model=second"]
    assert summary_of(stage.run(*words, "hello"))["model"] == "second"
    assert summary_of(stage.run(*words, "-m", "typed", "hello"))["model"] == "typed"


@pytest.mark.parametrize("raw", ["model", "=value", "sandbox_mode=nowhere", "model=3", "profile=x"])
def test_an_override_that_cannot_be_used_exits_1(stage: Stage, raw: str) -> None:
    done = stage.run("exec", "--json", *PROVIDER[:2], "-c", raw, "hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr


def test_a_profile_wins_over_the_file_and_a_flag_over_both(stage: Stage) -> None:
    (stage.home / "config.toml").write_text(
        'model = "of-file"\n[profiles.deep]\nmodel = "of-profile"\n'
        'sandbox_mode = "workspace-write"\n[sandbox_workspace_write]\nnetwork_access = true\n'
    )
    start = ["exec", "--json", *PROVIDER[:2]]
    assert summary_of(stage.run(*start, "hello"))["model"] == "of-file"
    summary = summary_of(stage.run(*start, "-p", "deep", "hello"))
    assert summary["model"] == "of-profile"
    assert summary["sandbox"].startswith("workspace-write ")
    assert summary["sandbox"].endswith("(network access enabled)")
    assert summary_of(stage.run(*start, "-p", "deep", "-m", "x", "hello"))["model"] == "x"


def test_a_broken_config_file_exits_1(stage: Stage) -> None:
    (stage.home / "config.toml").write_text("model = \n")
    assert stage.exec().returncode == 1


def test_a_home_that_is_named_must_exist(stage: Stage) -> None:
    for words in (["exec", "hello"], ["login", "status"], ["mcp", "list"]):
        done = stage.run(*words, KAY_HOME=str(stage.root / "none"))
        assert (done.returncode, done.stdout) == (1, "")
        assert "KAY_HOME" in done.stderr
    assert stage.run("--version", KAY_HOME=str(stage.root / "none")).returncode == 0


def test_without_a_named_home_it_makes_one_below_the_user_home(stage: Stage) -> None:
    assert stage.exec(KAY_HOME=None).returncode == 0
    assert (stage.root / ".kay" / "sessions").is_dir()


@pytest.mark.parametrize("provider", ["ocg", "no-such-provider"])
def test_an_unknown_provider_exits_1(stage: Stage, provider: str) -> None:
    done = stage.run("exec", "--json", "-c", f"model_provider={provider}", "hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Model provider `{provider}` not found" in done.stderr


def test_a_provider_of_the_configuration_is_known(stage: Stage) -> None:
    words = ["-c", "model_provider=mine", "-c", 'model_providers.mine.env_key="MINE"', "hello"]
    assert stage.run("exec", *words).returncode == 1
    assert stage.run("exec", *words, MINE="key").returncode == 0


# --- credentials


def test_without_a_key_the_turn_starts_and_fails(stage: Stage) -> None:
    done = stage.exec("--output-last-message", str(stage.last_message), OPENCODE_GO_API_KEY=None)
    assert done.returncode == 1
    assert "OPENCODE_GO_API_KEY" in done.stderr
    assert [msg["type"] for msg in messages_of(done)] == ["task_started"]
    assert stage.last_message.read_text() == ""


def test_a_saved_key_or_the_env_file_of_the_home_is_enough(stage: Stage) -> None:
    (stage.work / ".env").write_text(f"OPENCODE_GO_API_KEY={KEY}\n")
    assert stage.exec(OPENCODE_GO_API_KEY=None).returncode == 1
    (stage.home / ".env").write_text(f"OPENCODE_GO_API_KEY={KEY}\n")
    assert stage.exec(OPENCODE_GO_API_KEY=None).returncode == 0
    (stage.home / ".env").unlink()
    stage.run("login", "--provider", "opencode-go", "--with-api-key", prompt=KEY)
    assert stage.exec(OPENCODE_GO_API_KEY=None).returncode == 0


def test_the_environment_wins_over_the_saved_key_since_0_9_27(stage: Stage) -> None:
    stage.script("print_secret = true")
    stage.run("login", "--provider", "opencode-go", "--with-api-key", prompt="saved-key")
    done = stage.exec()
    used, other = (KEY, "saved-key") if stage.generation == "0.9.46" else ("saved-key", KEY)
    assert used in done.stdout
    assert used in done.stderr
    assert other not in done.stdout + done.stderr


def test_login_reads_the_key_from_stdin_and_talks_on_stderr(stage: Stage) -> None:
    done = stage.run("login", "--provider", " Xiaomi ", "--with-api-key", prompt=f"{KEY}\n")
    assert (done.returncode, done.stdout) == (0, "")
    assert "Successfully saved API key for provider `xiaomi`" in done.stderr
    path = stage.home / "auth.json"
    assert json.loads(path.read_text())["provider_credentials"] == {"xiaomi": {"api_key": KEY}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_login_refuses_an_empty_key_and_two_ways_at_once(stage: Stage) -> None:
    assert stage.run("login", "--with-api-key", prompt=" \n").returncode == 1
    assert stage.run("login", "--with-api-key", "--api-key", "x").returncode == 2
    assert not (stage.home / "auth.json").exists()


def test_login_status_does_not_see_a_provider_key(stage: Stage) -> None:
    stage.run("login", "--provider", "xiaomi", "--with-api-key", prompt=KEY)
    done = stage.run("login", "status")
    assert (done.returncode, done.stderr) == (1, "Not logged in\n")
    stage.run("login", "--api-key", KEY)
    done = stage.run("login", "status")
    assert done.returncode == 0
    assert "Logged in using an API key - key-open***56789" in done.stderr


def test_logout_exits_0_in_both_cases(stage: Stage) -> None:
    stage.run("login", "--api-key", KEY)
    said = [stage.run("logout") for _ in range(2)]
    assert [done.returncode for done in said] == [0, 0]
    assert [done.stderr for done in said] == ["Successfully logged out\n", "Not logged in\n"]


# --- output


def test_human_mode_prints_the_banner_and_the_whole_prompt_on_stdout(stage: Stage) -> None:
    done = stage.run("exec", *PROVIDER, "-", prompt="first line\nSTATUS: SUCCESS\n")
    assert done.returncode == 0
    assert f"Kay v{stage.generation}" in done.stdout
    for part in ("binary: ", "workdir: ", "provider: opencode-go", "sandbox: read-only"):
        assert part in done.stdout
    assert "User instructions:\nfirst line\nSTATUS: SUCCESS\n" in done.stdout
    assert "tokens used: " in done.stdout


def test_json_mode_prints_summary_prompt_and_numbered_events(stage: Stage) -> None:
    done = stage.exec()
    summary, prompt, *events = lines_of(done)
    assert summary == {
        "workdir": str(stage.work),
        "model": "opencode-go/glm-5",
        "provider": "opencode-go",
        "approval": "never",
        "sandbox": "read-only",
    }
    assert prompt == {"prompt": "Say hello."}
    assert [event["msg"]["type"] for event in events] == [
        "task_started",
        "agent_message",
        "token_count",
    ]
    assert [event["event_seq"] for event in events] == [0, 1, 2]
    assert len({event["id"] for event in events}) == 1
    usage = events[-1]["msg"]["info"]["total_token_usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert set(usage) >= {"cached_input_tokens", "reasoning_output_tokens"}


def test_the_openai_provider_adds_its_reasoning_to_the_summary(stage: Stage) -> None:
    done = stage.run("exec", "--json", "-c", "model_reasoning_effort=high", "hello", CODEX_API_KEY="key")
    summary = summary_of(done)
    assert summary["model"].startswith("gpt-5.1-codex")
    assert (summary["reasoning effort"], summary["reasoning summaries"]) == ("high", "auto")


def test_the_session_id_is_only_in_the_session_files(stage: Stage) -> None:
    done = stage.exec()
    [entry] = stage.catalogue()
    assert entry["session_id"] not in done.stdout + done.stderr


def test_errors_deltas_and_ends_are_not_printed(stage: Stage) -> None:
    hidden = ("agent_message_delta", "agent_reasoning_delta", "task_complete", "shutdown_complete")
    kinds = "".join(f'{{type = "{kind}"}}, ' for kind in (*hidden, "warning"))
    stage.script(f"events = [{kinds}]")
    done = stage.exec()
    events = lines_of(done)[2:]
    assert done.returncode == 0
    assert [event["msg"]["type"] for event in events][1] == "warning"
    assert events[1]["event_seq"] == len(hidden) + 1


def test_a_fatal_error_exits_1_and_a_retried_one_does_not(stage: Stage) -> None:
    stage.script('events = [{type = "error", message = "stream error: lost; retrying 1/5"}]')
    assert stage.exec().returncode == 0
    stage.script('events = [{type = "error", message = "quota exceeded"}]')
    done = stage.exec()
    assert done.returncode == 1
    assert "quota exceeded" not in done.stdout
    records = [line["payload"] for rollout in stage.rollouts() for line in rollout]
    assert {"type": "error", "message": "quota exceeded"} in [r.get("msg") for r in records]
    assert "ERROR: quota exceeded" in stage.run("exec", *PROVIDER, "hello").stdout


def test_the_last_message_is_written_to_its_file(stage: Stage) -> None:
    stage.script('answer = "Grüße"')
    stage.exec("--output-last-message", str(stage.last_message))
    assert stage.last_message.read_text(encoding="utf-8") == "Grüße"


def test_no_message_leaves_an_empty_file_a_warning_and_exit_0(stage: Stage) -> None:
    stage.script("no_message = true")
    stage.last_message.write_text("old")
    done = stage.exec("--output-last-message", str(stage.last_message))
    assert done.returncode == 0
    assert "Warning: no last agent message; wrote empty content" in done.stderr
    assert stage.last_message.read_text() == ""


# --- sessions


def test_a_run_leaves_a_rollout_with_its_folder_and_a_catalogue_line(stage: Stage) -> None:
    stage.exec()
    [rollout], [entry] = stage.rollouts(), stage.catalogue()
    meta = rollout[0]
    assert meta["type"] == "session_meta"
    assert meta["payload"]["cwd"] == entry["cwd_real"] == str(stage.work)
    assert meta["payload"]["id"] == entry["session_id"]
    assert entry["session_id"] in entry["rollout_path"]
    assert (stage.home / entry["rollout_path"]).is_file()
    assert (stage.home / entry["snapshot_path"]).is_file()


def test_resume_by_the_beginning_of_an_id_continues_the_session(stage: Stage) -> None:
    stage.exec()
    [entry] = stage.catalogue()
    done = stage.exec("resume", entry["session_id"][:13], "go on")
    assert lines_of(done)[1] == {"prompt": "go on"}
    assert "2 earlier messages" in answer_of(done)
    assert len(stage.catalogue()) == len(stage.rollouts()) == 1


@pytest.mark.parametrize("words", [["no-such-id", "go on"], []])
def test_resume_of_nothing_known_silently_starts_a_new_session(stage: Stage, words: list[str]) -> None:
    stage.exec()
    done = stage.exec("resume", *words, prompt="go on")
    assert "earlier messages" not in answer_of(done)
    assert len(stage.catalogue()) == 2


def test_resume_last_takes_the_newest_session_of_any_folder(stage: Stage) -> None:
    elsewhere = stage.root / "elsewhere"
    (elsewhere / ".git").mkdir(parents=True)
    stage.exec()
    stage.exec("-C", str(elsewhere))
    done = stage.exec("a prompt before it", "resume", "--last")
    assert lines_of(done)[1] == {"prompt": "a prompt before it"}
    [changed] = [entry for entry in stage.catalogue() if entry["message_count"] == 4]
    assert changed["cwd_real"] == str(elsewhere)


def test_runs_at_the_same_time_all_get_their_catalogue_line(newest: Stage) -> None:
    with contextlib.ExitStack() as stack:
        for process in [stack.enter_context(newest.live()) for _ in range(4)]:
            assert process.wait(BOUND_S) == 0
    assert len(newest.catalogue()) == len(newest.rollouts()) == 4


# --- the STATUS contract


def test_an_answer_has_a_status_block_when_the_prompt_names_one(stage: Stage) -> None:
    done = stage.exec("--output-last-message", str(stage.last_message), prompt=WANTS_STATUS)
    assert answer_of(done).startswith("STATUS: SUCCESS\n")
    assert f"{len(WANTS_STATUS)} characters" in answer_of(done)
    assert stage.last_message.read_text() == answer_of(done)
    assert "STATUS:" not in answer_of(stage.exec())


def test_blocked_keeps_the_contract_and_exits_0(stage: Stage) -> None:
    stage.script('status = "BLOCKED"')
    assert answer_of(stage.exec(prompt=WANTS_STATUS)).startswith("STATUS: BLOCKED\n")


def test_a_missing_status_block_is_an_error_since_0_9_46(stage: Stage) -> None:
    stage.script('answer = "All done."')
    done = stage.exec(prompt=WANTS_STATUS)
    assert done.returncode == (1 if stage.generation == "0.9.46" else 0)
    assert ("Final status contract" in done.stderr) == (done.returncode == 1)
    assert stage.exec(prompt="Give a final message.").returncode == 0


def test_a_block_in_the_middle_is_salvaged_with_the_lines_that_kay_knows(newest: Stage) -> None:
    newest.script('answer = "Done.\\n\\nSTATUS: SUCCESS\\nFILES_CHANGED: [a]\\nASSUMPTIONS: [b]\\nNOTES: c"')
    done = newest.exec("--output-last-message", str(newest.last_message), prompt=WANTS_STATUS)
    assert done.returncode == 0
    assert newest.last_message.read_text() == "STATUS: SUCCESS\nFILES_CHANGED: [a]"


# --- time budget and signals


def test_a_spent_time_budget_exits_1(stage: Stage) -> None:
    stage.script("hang = true")
    done = stage.exec("--max-seconds", "1", "--output-last-message", str(stage.last_message))
    assert done.returncode == 1
    assert "Time budget exceeded (--max-seconds=1)" in done.stderr
    written = stage.last_message.read_text()
    if stage.generation == "0.9.46":
        assert written.startswith("STATUS: BLOCKED kay exec time budget exceeded (--max-seconds=1)")
        assert "\n" not in written
    else:
        assert written == ""


def test_sigterm_shuts_down_and_then_dies_of_the_signal(stage: Stage) -> None:
    fifo = stage.root / "fifo"
    os.mkfifo(fifo)
    stage.script(f"shell = ['echo $$ >{fifo}; exec sleep 600']")
    reader = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    with (
        os.fdopen(reader, "rb", buffering=0) as pids,
        stage.live("--output-last-message", str(stage.last_message)) as process,
    ):
        assert select.select([pids], [], [], BOUND_S)[0]
        shell = int(pids.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(BOUND_S) == -signal.SIGTERM
        wait_until_gone(shell)
    assert stage.rollouts()[0][-1]["payload"]["msg"]["type"] == "turn_aborted"
    assert not stage.last_message.exists()


def test_sigterm_while_a_shell_command_starts_leaves_no_process(newest: Stage) -> None:
    newest.script("shell = ['exec sleep 600']")
    for _ in range(5):
        with newest.live() as process:
            read_until(process, "exec_command_begin")
            process.send_signal(signal.SIGTERM)
            assert process.wait(BOUND_S) == -signal.SIGTERM
        # A login shell may be running a program of its profile. Kay waits for the shell alone, so that
        # program can still be dying of the same SIGKILL.
        for pid in processes_in(newest.work):
            wait_until_gone(pid)


def test_sigterm_works_when_nobody_reads_the_output(newest: Stage) -> None:
    newest.script("huge_output_bytes = 1_000_000_000")
    with newest.live() as process:
        read_until(process, "background_event")
        process.send_signal(signal.SIGTERM)
        assert process.wait(BOUND_S) == -signal.SIGTERM


def test_sigint_interrupts_and_ends_as_if_all_were_well(stage: Stage) -> None:
    stage.script("hang = true")
    with stage.live("--output-last-message", str(stage.last_message)) as process:
        read_until(process, "task_started")
        process.send_signal(signal.SIGINT)
        assert process.wait(BOUND_S) == 0
    assert stage.last_message.read_text() == ""


def test_an_interrupted_run_that_owes_a_status_block_fails_since_0_9_46(stage: Stage) -> None:
    stage.script("hang = true")
    with stage.live(prompt=WANTS_STATUS) as process:
        read_until(process, "task_started")
        process.send_signal(signal.SIGINT)
        assert process.wait(BOUND_S) == (1 if stage.generation == "0.9.46" else 0)


def test_it_can_be_deaf_to_signals(stage: Stage) -> None:
    stage.script("ignore_sigint = true\nignore_sigterm = true\nrepeat_line = 'still here'")
    with stage.live() as process:
        read_until(process, "still here")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        for _ in range(20):
            read_until(process, "still here")
        assert process.poll() is None


@pytest.mark.parametrize("where", ["own-session", "same-group"])
def test_a_stubborn_grandchild_outlives_sigterm(stage: Stage, where: str) -> None:
    stage.script(f'hang = true\nevents = [{{type = "warning"}}]\nstubborn_grandchild = "{where}"')
    with stage.live() as process:
        read_until(process, "warning")
        pid = int((stage.home / "stand-in.grandchild").read_text())
        try:
            assert (os.getpgid(pid) == process.pid) == (where == "same-group")
            os.killpg(process.pid, signal.SIGTERM)
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGINT)
            assert process.wait(BOUND_S) == -signal.SIGTERM
            assert is_alive(pid)
            assert process.stdout
            assert not select.select([process.stdout], [], [], 0)[0], "stdout is still held open"
        finally:
            os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)


# --- what the model does


def test_shell_commands_really_run_in_their_own_session(stage: Stage) -> None:
    stage.script("shell = ['ps -o sid= -p $$; echo $$; echo made >made.txt', 'echo no >&2; exit 3']")
    done = stage.exec()
    ends = [msg for msg in messages_of(done) if msg["type"] == "exec_command_end"]
    begins = [msg for msg in messages_of(done) if msg["type"] == "exec_command_begin"]
    assert [begin["call_id"] for begin in begins] == [end["call_id"] for end in ends]
    assert begins[0]["command"][:2] == ["bash", "-lc"]
    assert begins[0]["cwd"] == str(stage.work)
    session, pid = ends[0]["stdout"].split()
    assert session == pid
    assert (ends[0]["exit_code"], ends[1]["exit_code"]) == (0, 3)
    assert ends[1]["stderr"] == "no\n"
    assert (stage.work / "made.txt").read_text() == "made\n"


def test_scripted_events_are_printed_as_they_are(stage: Stage) -> None:
    stage.script('events = [{type = "turn_diff", unified_diff = "+ü", extra = [1, {a = true}]}]')
    assert {
        "type": "turn_diff",
        "unified_diff": "+ü",
        "extra": [1, {"a": True}],
    } in messages_of(stage.exec())


def test_the_same_line_can_come_again_and_again(stage: Stage) -> None:
    stage.script("repeat_line = 'again'\nrepeat_times = 5")
    repeated = {"type": "background_event", "message": "again"}
    assert messages_of(stage.exec()).count(repeated) == 5


def test_the_output_can_be_huge(stage: Stage) -> None:
    stage.script("huge_output_bytes = 3_000_000")
    done = stage.exec()
    assert done.returncode == 0
    assert done.stdout.count("x") >= 3_000_000


def test_control_sequences_and_broken_bytes_reach_both_streams(stage: Stage) -> None:
    stage.script("ansi = true\ninvalid_utf8 = true")
    done = stage.run("exec", *PROVIDER, "hello")
    for stream in (done.stdout, done.stderr):
        assert "\x1b]0;owned title\x07" in stream
        assert "\udcff\udcfe" in stream
    with pytest.raises(json.JSONDecodeError):
        lines_of(stage.exec())


def test_success_in_the_echoed_prompt_can_meet_blocked_in_the_answer(stage: Stage) -> None:
    stage.script("echo_status_in_prompt = true")
    done = stage.exec(prompt=WANTS_STATUS)
    assert answer_of(done).startswith("STATUS: BLOCKED")
    assert "STATUS: SUCCESS" in lines_of(done)[1]["prompt"]
    reasoning = [msg["text"] for msg in messages_of(done) if msg["type"] == "agent_reasoning"]
    assert "STATUS: SUCCESS" in reasoning[0]


def test_it_can_write_outside_its_working_root(stage: Stage) -> None:
    stage.script('write_outside = "../outside.txt"')
    stage.exec()
    assert (stage.root / "outside.txt").is_file()


@pytest.mark.parametrize(("code", "seen"), [(0, 0), (7, 7), (-9, -9), (-11, -11)])
def test_the_exit_status_can_be_chosen(newest: Stage, code: int, seen: int) -> None:
    newest.script(f"exit_code = {code}")
    assert newest.exec().returncode == seen


def test_a_delay_holds_the_answer_back(newest: Stage) -> None:
    newest.script("delay_s = 600")
    with newest.live() as process:
        assert "agent_message" not in read_until(process, "task_started")
        assert process.poll() is None


def test_a_mistake_in_the_script_is_loud(newest: Stage) -> None:
    newest.script("hangs = true")
    done = newest.exec()
    assert done.returncode != 0
    assert "unknown key `hangs`" in done.stderr


def test_a_reader_that_leaves_makes_it_panic(newest: Stage) -> None:
    newest.script("repeat_line = 'again'")
    with newest.live() as process:
        read_until(process, "again")
        assert process.stdout
        process.stdout.close()
        assert process.wait(BOUND_S) == 101


# --- the other commands


def test_mcp_servers_can_be_added_listed_read_and_removed(stage: Stage) -> None:
    (stage.home / "config.toml").write_text('model = "kept"\n')
    assert stage.run("mcp", "add", "docs", "--env", "A=b", "--", "serve", "-x").returncode == 0
    assert stage.run("mcp", "add", "web", "--url", "https://example.invalid").returncode == 0
    listed = json.loads(stage.run("mcp", "list", "--json").stdout)
    assert [server["name"] for server in listed] == ["docs", "web"]
    assert json.loads(stage.run("mcp", "get", "docs", "--json").stdout)["transport"] == {
        "type": "stdio",
        "command": "serve",
        "args": ["-x"],
        "env": {"A": "b"},
    }
    assert stage.run("mcp", "remove", "docs").returncode == 0
    assert stage.run("mcp", "get", "docs").returncode == 1
    assert "kept" in (stage.home / "config.toml").read_text()
    assert [server["name"] for server in json.loads(stage.run("mcp", "list", "--json").stdout)] == ["web"]


def test_mcp_servers_of_an_override_are_listed(stage: Stage) -> None:
    done = stage.run("mcp", "list", "--json", "-c", 'mcp_servers.one.command="serve"')
    assert json.loads(done.stdout)[0]["transport"]["command"] == "serve"


def test_doctor_names_what_is_on_the_path(stage: Stage) -> None:
    done = stage.run("doctor")
    assert done.returncode == 0
    assert str(stage.kay) in done.stdout


def test_without_a_subcommand_it_wants_a_terminal(stage: Stage) -> None:
    assert stage.run("hello").returncode == 1
