"""(Config, Request, Program, names) -> Invocation: precedence, the two danger switches, ceilings, names."""

from __future__ import annotations

import json
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import a_config, a_task, an_invocation, program

from runner.errors import ConfigInvalid, PolicyRefused, RunnerError, TaskNotFound
from runner.invocation import THREAD, Invocation, Rehearsal, Request
from runner.model import (
    Caps,
    Config,
    Level,
    Lineage,
    Model,
    Policy,
    Price,
    Program,
    Recovery,
    RuntimeSettings,
    Sandbox,
    Terms,
)
from runner.resolve.choose import Choice, choose, find_task, near_match
from runner.resolve.invocation import Again, Found, invocation
from runner.runtimes import NAMES, PLAN, get
from runner.runtimes.base import Fence
from runner.runtimes.probe import options_in
from runner.state.store import thread_of

RUN_ID = "20261120T101504438Z-50151d5c"
_HELP = json.loads((Path(__file__).parent.parent / "data/runtimes/claude.json").read_bytes())["help"]
CLAUDE = Program("/usr/bin/claude", "2.1.332", options_in("\n".join(_HELP)))
RUNS_CLAUDE = {"claude": RuntimeSettings("claude", "claude", isolated=True)}
MODELS = {
    "deep": Model("deep", "gpt-5", "codex", "xhigh"),
    "other": Model("other", "glm-5", "kay", None, "opencode-go"),
    "free": Model("free", "gpt-mini"),
}
SANDBOXES = {
    "build": Sandbox("build", Level.WORKSPACE_WRITE, True, ("/cache",)),
    "danger": Sandbox("danger", Level.DANGER, allow_danger=True),
    "shy": Sandbox("shy", Level.DANGER),
}


def config(*tasks: Any, **changes: Any) -> Config:
    return a_config(*tasks, models=MODELS, sandboxes=SANDBOXES).replace(**changes)


def resolved(settings: Config, request: Request, names: tuple[str, ...] = (), **more: Any) -> Invocation:
    choice = choose(settings, request)
    found = Found(
        run_id=RUN_ID,
        cwd=settings.root,
        program=program(choice.runtime),
        text="Do it.",
        env_names=names,
        server_argv=("runner", "delegate-server"),
    )
    return invocation(choice, found.replace(**more))


# -- what a request means --------------------------------------------------------------------------


def test_the_request_wins_over_the_task() -> None:
    settings = config(a_task(model="deep", sandbox="read-only"))
    choice = choose(settings, Request("hello", model="free", sandbox="build"))
    assert (choice.model, choice.sandbox) == (MODELS["free"], SANDBOXES["build"])


def test_the_task_is_taken_where_the_request_says_nothing() -> None:
    choice = choose(config(a_task(model="deep", sandbox="build")), Request("hello"))
    assert (choice.model, choice.sandbox, choice.runtime) == (MODELS["deep"], SANDBOXES["build"], "codex")


def test_a_named_model_brings_its_runtime_with_it() -> None:
    assert choose(config(), Request("hello", model="other")).runtime == "kay"
    assert choose(config(a_task(runtime="kay")), Request("hello", model="free")).runtime == "kay"


def test_a_name_that_is_no_model_is_a_literal_id() -> None:
    assert choose(config(), Request("hello", model="gpt-9")).model == Model(None, "gpt-9")
    assert choose(config(), Request("hello")).model is None


@pytest.mark.parametrize(
    ("model", "now"),
    [
        (None, Model(None, None, reasoning_effort="low")),
        ("gpt-9", Model(None, "gpt-9", reasoning_effort="low")),
        ("deep", MODELS["deep"].replace(reasoning_effort="low")),
        ("other", MODELS["other"].replace(reasoning_effort="low")),
    ],
)
def test_the_effort_of_the_request_wins_over_that_of_any_model(model: str | None, now: Model) -> None:
    assert choose(config(a_task(model=model)), Request("hello", effort="low")).model == now


def test_the_effort_is_in_the_command_and_among_the_origins() -> None:
    answer = resolved(config(), Request("hello", effort="xhigh"))
    assert 'model_reasoning_effort="xhigh"' in answer.argv
    assert (answer.reasoning_effort, answer.model) == ("xhigh", None)
    assert answer.origins["request.effort"] == "command line"


@pytest.mark.parametrize("runtime", NAMES)
@pytest.mark.parametrize("effort", ["hihg", "XHIGH", "", "-high", "default", "high\n"])
def test_an_effort_that_the_runtime_does_not_know_is_refused_with_those_that_it_does(
    runtime: str, effort: str
) -> None:
    settings = config(a_task(runtime=runtime), runtimes={runtime: get(runtime).defaults()})
    if get(runtime).is_generic:  # only its agent knows
        assert choose(settings, Request("hello", effort=effort)).model is not None
        return
    with pytest.raises(ConfigInvalid, match="knows no effort") as error:
        choose(settings, Request("hello", effort=effort))
    assert {"low", "medium", "high", "xhigh"} <= {*str(error.value.hint)[8:].split(", ")}


def test_a_runtime_that_cannot_be_told_an_effort_is_refused() -> None:
    settings = config(a_task(runtime=PLAN), runtimes={PLAN: RuntimeSettings(PLAN, PLAN)})
    with pytest.raises(ConfigInvalid, match="knows no effort") as error:
        choose(settings, Request("hello", effort="high"))
    assert error.value.hint == "leave --effort out"


def test_a_level_is_a_sandbox_without_extras_unless_the_config_names_one_so() -> None:
    assert choose(config(), Request("hello", sandbox="workspace-write")).sandbox == Sandbox(
        "workspace-write", Level.WORKSPACE_WRITE
    )
    own = Sandbox("workspace-write", Level.WORKSPACE_WRITE, True)
    settings = config(sandboxes={"workspace-write": own})
    assert choose(settings, Request("hello", sandbox="workspace-write")).sandbox is own


@pytest.mark.parametrize(
    ("sandbox", "flag", "allowed"),
    [
        ("danger", True, True),
        ("danger", False, False),
        ("shy", True, False),
        ("shy", False, False),
        ("danger-full-access", True, False),
        ("danger-full-access", False, False),
    ],
)
def test_danger_needs_both_switches(sandbox: str, flag: bool, allowed: bool) -> None:
    request = Request("hello", sandbox=sandbox, allow_danger=flag)
    if allowed:
        assert choose(config(), request).sandbox.level is Level.DANGER
    else:
        with pytest.raises(PolicyRefused, match="danger-full-access") as refused:
            choose(config(), request)
        assert "allow_danger" in str(refused.value.hint) and "--allow-danger" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("ceiling", "request_"),
    [
        (Policy(max_level=Level.READ_ONLY), Request("hello", sandbox="workspace-write")),
        (Policy(max_level=Level.WORKSPACE_WRITE), Request("hello", sandbox="danger", allow_danger=True)),
        (Policy(network=False), Request("hello", sandbox="build")),
        (Policy(network=False), Request("hello", sandbox="danger", allow_danger=True)),
        (Policy(runtimes=("codex",)), Request("hello", model="other")),
        (Policy(models=(("gpt-*",),)), Request("hello", model="other")),
        (Policy(models=(("gpt-*",),)), Request("hello", model="evil")),
        (Policy(models=(("gpt-*",),)), Request("hello")),
    ],
)
def test_no_request_goes_past_a_ceiling(ceiling: Policy, request_: Request) -> None:
    choose(config(), request_)
    with pytest.raises(PolicyRefused) as refused:
        choose(config(policy=ceiling), request_)
    assert refused.value.exit_status == 5


def test_a_ceiling_over_environment_names_holds_for_those_of_the_runtime() -> None:
    runtimes = {"codex": RuntimeSettings("codex", "codex", None, ("AWS_SECRET",), {}, None)}
    with pytest.raises(PolicyRefused, match="AWS_SECRET"):
        choose(config(runtimes=runtimes, policy=Policy(env=(("OPENAI_*",),))), Request("hello"))


@pytest.mark.parametrize(
    ("request_", "kind", "words", "hint"),
    [
        (Request("helo"), TaskNotFound, "no task `helo`", "perhaps you meant `hello`"),
        (Request("zzz"), TaskNotFound, "no task `zzz`", "known: hello"),
        (Request("x" * 999), TaskNotFound, r"xxx\.\.\.`", "known: hello"),
        (Request("hello", sandbox="biuld"), ConfigInvalid, "unknown sandbox", "perhaps you meant `build`"),
        (
            Request("hello", sandbox="read-onyl"),
            ConfigInvalid,
            "unknown sandbox",
            "perhaps you meant `read-only`",
        ),
        (
            Request("hello", rehearse=True, model="other"),
            ConfigInvalid,
            "not for kay",
            "leave --rehearse out",
        ),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest_right_one(
    request_: Request, kind: type[RunnerError], words: str, hint: str
) -> None:
    with pytest.raises(kind, match=words) as error:
        choose(config(), request_)
    assert hint in str(error.value.hint)


def test_an_unknown_runtime_is_named() -> None:
    with pytest.raises(ConfigInvalid, match="unknown runtime `gemini`"):
        choose(config(a_task(runtime="gemini")), Request("hello"))


@given(st.text(), st.lists(st.text(max_size=8), max_size=20))
def test_a_near_match_always_says_something(word: str, known: list[str]) -> None:
    assert near_match(word, known, "task")


def test_without_any_task_there_is_nothing_near() -> None:
    with pytest.raises(TaskNotFound) as error:
        find_task(config(tasks={}), "hello")
    assert error.value.hint == "there is no task yet"


# -- what will be executed -------------------------------------------------------------------------


def test_the_same_question_has_the_same_answer() -> None:
    settings, request = config(a_task(model="deep")), Request("hello", sandbox="build")
    assert resolved(settings, request, ("HOME",)) == resolved(settings, request, ("HOME",))


def test_the_argv_carries_model_sandbox_effort_and_folder() -> None:
    argv = resolved(config(a_task(model="deep")), Request("hello", sandbox="build")).argv
    assert argv[:2] == ("/usr/bin/codex", "exec")
    assert argv[-1] == "-"
    pairs = list(pairwise(argv))
    assert ("-m", "gpt-5") in pairs and ("-C", "/repo") in pairs
    assert ("-s", "workspace-write") in pairs
    assert any("xhigh" in word for word in argv)
    assert any("/cache" in word for word in argv)
    assert not any("last-message" in word for word in argv)  # the stream tells it
    assert "Do it." not in argv


def test_only_named_variables_reach_the_child() -> None:
    runtimes = {"codex": RuntimeSettings("codex", "codex", None, ("MY_KEY",), {}, None)}
    names = (
        "PATH",
        "LC_TIME",
        "MY_KEY",
        "AWS_SECRET",
        "HOME",
        "LCX",
        "PYTHONPATH",
        "MY_KEY_2",
        "RUNNER_RUN_ID",
    )
    answer = resolved(config(runtimes=runtimes), Request("hello"), names)
    assert answer.env_names == ("HOME", "LC_TIME", "MY_KEY", "PATH")
    assert "MY_KEY" in answer.secret_names
    assert not {"PATH", "HOME"} & set(answer.secret_names)


@given(st.lists(st.text(st.characters(codec="ascii"), min_size=1, max_size=12), max_size=30, unique=True))
def test_environment_names_are_sorted_known_and_never_invented(names: list[str]) -> None:
    answer = resolved(config(), Request("hello"), tuple(names)).env_names
    assert list(answer) == sorted(answer)
    assert set(answer) <= set(names)


def test_no_child_can_speak_in_the_session_of_a_person_whatever_the_settings_pass_on() -> None:
    tokens = ("CLAUDE_CODE_MESSAGING_TOKEN", "CLAUDE_CODE_MESSAGING_SOCKET")
    runtimes = {"codex": RuntimeSettings("codex", "codex", None, ("*", "CLAUDE_CODE_*", *tokens), {}, None)}
    answer = resolved(config(runtimes=runtimes), Request("hello"), (*tokens, "CLAUDE_CODE_X", "HOME"))
    assert answer.env_names == ("CLAUDE_CODE_X", "HOME")


def test_the_value_of_a_secret_never_gets_into_the_invocation() -> None:
    """There is no way in: `resolve` is given names, and what it writes has names."""
    runtimes = {"codex": RuntimeSettings("codex", "codex", None, ("OPENAI_API_KEY",), {}, None)}
    environment = {"OPENAI_API_KEY": "sk-verysecret", "HOME": "/home/ada"}
    answer = resolved(config(runtimes=runtimes), Request("hello"), tuple(environment))
    written = json.dumps(answer.to_json())
    assert "OPENAI_API_KEY" in written
    assert "sk-verysecret" not in written and "/home/ada" not in written


def test_markers_of_the_run_are_set_and_a_rehearsal_adds_its_own() -> None:
    answer = resolved(config(), Request("hello"), env_set={"NO_PROXY": "127.0.0.1"})
    manifest = f"/repo/.runs/hello/cli/{RUN_ID}/manifest.json"
    assert answer.env_set == {"RUNNER_RUN_ID": RUN_ID, "RUNNER_MANIFEST": manifest, "NO_PROXY": "127.0.0.1"}
    assert answer.manifest_path == f".runs/hello/cli/{RUN_ID}/manifest.json"


@pytest.mark.parametrize(("asked", "limit"), [(None, 7200.0), (5.0, 5.0), (99999.0, 99999.0)])
def test_the_timeout_of_the_request_wins(asked: float | None, limit: float) -> None:
    limits = resolved(config(), Request("hello", timeout_s=asked)).limits
    assert (limits.timeout_s, limits.idle_timeout_s, limits.start_timeout_s, limits.grace_s) == (
        limit,
        900,
        120,
        5,
    )


def test_an_invocation_says_which_runner_made_it() -> None:
    assert resolved(config(), Request("hello")).runner_version == version("delegate-runner")


def test_files_and_blocks_of_the_task_are_in_the_prompt_and_in_its_digest() -> None:
    task = a_task(files=("a.py",), blocks=("scope",))
    settings = config(task, blocks={"scope": "Only this.", "unused": "No."})
    plain, full = resolved(config(), Request("hello")), resolved(settings, Request("hello"))
    assert plain.prompt == "Do it."
    assert "- a.py" in full.prompt and "Only this." in full.prompt and "No." not in full.prompt
    assert plain.prompt_digest != full.prompt_digest
    assert plain.prompt_digest == "sha256:456e482ab0f50031da0c0e21545bc359f273a93cf155ae5286125f325068493e"


def test_terms_recovery_and_limits_of_the_task_are_those_of_the_run() -> None:
    task = a_task(
        scope=("src/**",),
        workspace="worktree",
        on_failure="keep",
        on_conflict="queue",
        output_contract="closing-turn",
        conformance="enforce",
        retries=2,
        limits=Caps(tokens=5, warn_at=0.5, repeats=None),
    )
    settings = config(task, recovery=Recovery(ladder=("fresh",), backoff_s=1.0))
    answer = resolved(settings, Request("hello"))
    assert answer.terms == Terms(("src/**",), "worktree", "keep", "queue", "closing-turn", "enforce")
    assert answer.recovery == Recovery(2, ("fresh",), 3, 1.0)
    limits = answer.limits
    assert (limits.tokens, limits.tree_tokens, limits.warn_at) == (5, None, 0.5)
    assert (limits.repeats, limits.reconnects, limits.timeout_s) == (None, 8, 7200.0)


def test_a_ceiling_of_tokens_holds_for_every_run() -> None:
    settings = config(a_task(limits=Caps(tokens=5)), policy=Policy(max_tokens=3))
    limits = resolved(settings, Request("hello")).limits
    assert (limits.tokens, limits.tree_tokens) == (3, 3)


def test_a_limit_of_the_price_needs_somebody_who_counts_it() -> None:
    priced = {**MODELS, "deep": MODELS["deep"].replace(price=Price(1.0, 0.1, 2.0))}
    limited = a_task(limits=Caps(price=2.0))
    with pytest.raises(ConfigInvalid, match="nobody knows"):
        resolved(config(limited), Request("hello", model="deep"))
    answer = resolved(config(limited, models=priced), Request("hello", model="deep"))
    assert answer.limits.price == 2.0 and "--max-budget-usd" not in answer.argv
    counts = resolved(
        config(limited.replace(runtime="claude"), runtimes=RUNS_CLAUDE), Request("hello"), program=CLAUDE
    )
    assert ("--max-budget-usd", "2.0000") in pairwise(counts.argv)


def test_the_session_of_a_run_is_named_before_it_begins() -> None:
    settings = config(a_task(runtime="claude", output_contract="closing-turn"), runtimes=RUNS_CLAUDE)
    answer = resolved(settings, Request("hello"), program=CLAUDE)
    assert answer.thread_id == thread_of(RUN_ID, 1) == str(UUID(answer.thread_id))
    assert ("--session-id", answer.thread_id) in pairwise(answer.argv)
    for later in (answer.resume_argv, answer.closing_argv):
        assert later is not None and ("-r", THREAD) in pairwise(later) and "--session-id" not in later
    of_another = Again(Lineage("hello", RUN_ID, "m"), "01-old", lambda _: "Again.")
    retry = resolved(settings, Request("hello"), again=of_another, program=CLAUDE)
    assert (retry.prompt, (retry.fresh_prompt or "")[:6]) == ("Again.", "Do it.")
    assert (retry.thread_id, ("-r", "01-old") in pairwise(retry.argv)) == ("01-old", True)
    assert retry.fresh_argv is not None and thread_of(RUN_ID, 1) in retry.fresh_argv
    assert resolved(config(a_task()), Request("hello")).thread_id is None, "Codex takes none"


@pytest.mark.parametrize("thread", ["01-old", None])
def test_a_thread_that_goes_on_is_told_of_delegation_as_it_is_now_and_of_nothing_else(
    thread: str | None,
) -> None:
    again = Again(Lineage("hello", RUN_ID, "m"), thread, lambda whole: whole if thread is None else "Again.")
    prompt = resolved(config(a_task(delegation=True, files=("a.py",))), Request("hello"), again=again).prompt
    assert prompt.startswith("Do it.\n\n## Files\n" if thread is None else "Again.\n\n## Delegation\n")
    assert prompt.count("## Delegation\n") == 1


def test_every_part_of_the_task_is_in_the_prompt_and_only_these() -> None:
    task = a_task(
        files=("a.py",),
        patterns=("b.py",),
        approach="First a.",
        execution_note="Test first.",
        scope=("src/**",),
        constraints=("No new package.",),
        testing=("nothing at all",),
        verify=(("pytest", "-q"),),
        output_contract="status-block",
        map="docs/MAP.md",
        blocks=("scope",),
        delegation=True,
    )
    settings = config(task, blocks={"scope": "Only this."})
    prompt = resolved(settings, Request("hello"), map_text="All is in a.py.").prompt
    assert [line[3:] for line in prompt.splitlines() if line.startswith("## ")] == [
        *("Files", "Patterns", "Approach", "Execution note", "Constraints", "Testing", "Verify"),
        *("Output contract", "Map", "scope", "Delegation"),
    ]
    assert "`docs/MAP.md`" in prompt and "All is in a.py." in prompt
    assert resolved(settings, Request("hello"), map_text="All is in a.py.").prompt == prompt


@pytest.mark.parametrize(
    ("asked", "declared", "path", "shown"),
    [
        (None, None, None, None),
        (None, "docs/MAP.md", "/repo/docs/MAP.md", "`docs/MAP.md`"),
        ("/repo/MAP.md", "docs/MAP.md", "/repo/MAP.md", "`MAP.md`"),
        ("/elsewhere/MAP.md", None, "/elsewhere/MAP.md", "`/elsewhere/MAP.md`"),
    ],
)
def test_the_map_of_the_request_wins_and_is_named_as_it_is_found_from_the_repository(
    asked: str | None, declared: str | None, path: str | None, shown: str | None
) -> None:
    settings, request = config(a_task(map=declared)), Request("hello", map=asked)
    assert choose(settings, request).map_path == path
    prompt = resolved(settings, request).prompt
    assert ("## Map" in prompt) is (shown is not None)
    assert shown is None or shown in prompt


def test_a_block_called_as_our_own_section_is_refused() -> None:
    settings = config(a_task(blocks=("Delegation",), delegation=True), blocks={"Delegation": "Mine."})
    with pytest.raises(ConfigInvalid, match="the name of a built-in section"):
        resolved(settings, Request("hello"))


def test_origins_tell_of_this_task_and_of_what_the_command_line_said() -> None:
    origins = {
        "tasks.hello.model": "delegate.toml:3",
        "tasks.other.model": "x:1",
        "defaults.sandbox": "default",
    }
    answer = resolved(config(origins=origins), Request("hello", model="deep", timeout_s=5.0))
    assert answer.origins == {
        "tasks.hello.model": "delegate.toml:3",
        "defaults.sandbox": "default",
        "request.model": "command line",
        "request.timeout": "command line",
    }


def test_what_a_link_has_led_to_is_kept_from_a_run_and_from_its_child() -> None:
    """The agent of the parent may have moved the link, and then it leads the child nowhere."""
    limited = Sandbox("limited", Level.WORKSPACE_WRITE, deny_read=("/repo/link",))
    settings = config(a_task(sandbox="limited"), sandboxes={"limited": limited})
    codex = program("codex").replace(version="0.163.0")
    there, moved = Fence(unread=("/repo/b", "/repo/.runs")), Fence(unread=("/repo/.runs",))
    parent = resolved(settings, Request("hello"), program=codex, fence=there)
    assert parent.sandbox.deny_read == ("/repo/link", "/repo/b", "/repo/.runs")
    child = resolved(settings, Request("hello"), program=codex, fence=there, parent=parent)
    assert child.sandbox == parent.sandbox
    with pytest.raises(PolicyRefused, match="the parent cannot read /repo/b"):
        resolved(settings, Request("hello"), program=codex, fence=moved, parent=parent)


def test_model_and_parent_and_rehearsal_are_written_down() -> None:
    parent = an_invocation(task="above")
    rehearsal = Rehearsal("play.toml", 4711, ("python",))
    named = resolved(config(), Request("hello", model="deep"), parent=parent, rehearsal=rehearsal)
    assert (named.model, named.model_name, named.reasoning_effort) == ("gpt-5", "deep", "xhigh")
    assert (named.parent, named.rehearsal) == (
        Lineage("above", parent.run_id, parent.manifest_path),
        rehearsal,
    )
    literal = resolved(config(), Request("hello", model="gpt-9"))
    assert (literal.model, literal.model_name, literal.reasoning_effort) == ("gpt-9", None, None)
    default = resolved(config(), Request("hello"))
    assert (default.model, default.model_name) == (None, None)


def test_a_choice_is_a_value() -> None:
    request = Request("hello", model="deep")
    assert choose(config(), request) == choose(config(), request)
    assert isinstance(choose(config(), request), Choice)
