"""Where a run is to live: what settings may say of it, what a start makes of that, and who limits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import a_config, a_task, an_invocation

from runner.cli.placing import executor_words
from runner.config import policy as policies
from runner.config import schema
from runner.config.commands import schema as published
from runner.config.policy import executor_breaches, narrow
from runner.config.values import ENGINE_OPTIONS
from runner.errors import ConfigInvalid, PolicyRefused
from runner.executors.lifetime import timed
from runner.invocation import Request
from runner.model import Config, ExecutorSettings, Level, Policy, Sandbox, Task
from runner.resolve.choose import choose
from runner.resolve.delegation import WiderThanParent, beside_parent
from runner.runtimes import PLAN
from runner.text.memory import LARGEST_MIB, format_memory, parse_memory
from runner.usecases.workplace import planned

GPU = ExecutorSettings("gpu", "slurm", partition="a100", cpus=4, memory="8G", gpus=1)
BIG = GPU.replace(name="big", cpus=64)
BOXES = {"read-only": Sandbox("read-only", Level.READ_ONLY), "build": Sandbox("build", Level.WORKSPACE_WRITE)}
FULL = """\
[executors.gpu]
kind = "slurm"
partition = "a100,v100"
account = "lab"
qos = "normal"
constraint = "ib&a100"
cpus = 4
memory = "8G"
gpus = 1
time = "90s"
max_pending = "1h"
max_running = 3
requeue = true
options = { exclusive = true, nice = 10, mail-type = "END,FAIL" }
[tasks.t]
prompt = "x"
executor = "gpu"
"""


def config(*tasks: Task, policy: Policy | None = None) -> Config:
    made = a_config(*tasks, sandboxes=BOXES).replace(executors={"gpu": GPU, "big": BIG})
    return made if policy is None else made.replace(policy=policy)


def limit(repo: Any, text: str) -> None:
    repo.write(f"schema_version = 1\n{text}", repo.system_policy)


def chosen(settings: Config, **asked: Any) -> ExecutorSettings | None:
    return choose(settings, Request("hello", **asked)).executor


# -- what settings say -----------------------------------------------------------------------------


def test_every_key_of_an_executor_reaches_the_config_in_its_own_type(repo: Any) -> None:
    repo.write(FULL)
    found = repo.load().executors["gpu"]
    assert found == ExecutorSettings(
        *("gpu", "slurm", "a100,v100", "lab", "normal", "ib&a100"),
        cpus=4,
        memory="8G",
        gpus=1,
        time_s=90.0,
        max_pending_s=3600.0,
        max_running=3,
        requeue=True,
        options={"exclusive": "", "nice": "10", "mail-type": "END,FAIL"},
    )
    assert repo.load().tasks["t"].executor == "gpu"


def test_what_an_executor_does_not_say_is_left_to_its_engine(repo: Any) -> None:
    repo.write(
        '[executors.a]\nkind = "slurm"\ntime = "task"\nmax_pending = "none"\n[tasks.t]\nprompt = "x"\n'
    )
    assert repo.load().executors["a"] == ExecutorSettings("a", "slurm")
    assert repo.load().tasks["t"].executor is None


def test_an_executor_can_be_set_by_a_variable_and_an_option(repo: Any) -> None:
    repo.write(FULL)
    repo.env["RUNNER_EXECUTORS__GPU__CPUS"] = "9"
    found = repo.load(sets=["executors.gpu.memory=2G", "tasks.t.executor=local"])
    assert (found.executors["gpu"].cpus, found.executors["gpu"].memory) == (9, "2G")
    assert found.tasks["t"].executor == "local"


@pytest.mark.parametrize("key", ["partition", "account", "qos", "constraint"])
@pytest.mark.parametrize(
    "value", ["-p", "--uid=0", "a b", "a\n", "a\nb", "", "\x1b[2J", "é", "a" * 201, 7, []]
)
def test_a_word_for_the_engine_is_never_an_option_nor_more_than_a_word(key: str, value: object) -> None:
    data = {"executors": {"a": {"kind": "slurm", key: value}}}
    assert schema.problems_of(data, strict=True)
    assert not jsonschema.Draft202012Validator(published("delegate")).is_valid(data)


@given(st.text(max_size=20), st.sampled_from(ENGINE_OPTIONS))
def test_whatever_is_accepted_for_an_option_is_one_word_of_the_command(value: str, key: str) -> None:
    data = {"executors": {"a": {"kind": "slurm", "options": {key: value}}}}
    if schema.problems_of(data, strict=True):
        return
    (word,) = schema.normal(data)["executors"]["a"]["options"].values()
    assert word[:1] != "-" and word.split() in ([], [word]) and word.isprintable()


@pytest.mark.parametrize(
    "key",
    [
        *(
            "array",
            "begin",
            "chdir",
            "clusters",
            "comment",
            "cpus-per-task",
            "deadline",
            "dependency",
            "error",
        ),
        *(
            "export",
            "export-file",
            "get-user-env",
            "gid",
            "gres",
            "hold",
            "input",
            "job-name",
            "mem",
            "nodes",
        ),
        *(
            "no-requeue",
            "ntasks",
            "open-mode",
            "output",
            "parsable",
            "propagate",
            "requeue",
            "signal",
            "test",
        ),
        *("time", "uid", "wait", "wrap", "Exclusive", "exclusive ", "-exclusive", "", "mail_type"),
    ],
)
def test_no_option_can_be_named_that_runner_itself_chooses(key: str) -> None:
    data = {"executors": {"a": {"kind": "slurm", "options": {key: "1"}}}}
    assert schema.problems_of(data, strict=True)
    assert not jsonschema.Draft202012Validator(published("delegate")).is_valid(data)


@given(st.integers(1, LARGEST_MIB))
def test_memory_is_written_and_read_without_a_loss(mib: int) -> None:
    assert parse_memory(format_memory(mib)) == mib


@pytest.mark.parametrize(
    "text", ["", "0", "0G", "8", "8g", "8 G", " 8G", "8G\n", "-1G", "1.5G", "٣G", "1025T", "9" * 9 + "T"]
)
def test_memory_that_an_engine_could_take_for_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a whole number with M, G or T"):
        parse_memory(text)


# -- what a start makes of it ----------------------------------------------------------------------


def test_the_request_wins_over_the_task_and_local_is_this_machine() -> None:
    assert chosen(config(a_task())) is None
    assert chosen(config(a_task(executor="local"))) is None
    assert getattr(chosen(config(a_task(executor="gpu"))), "name", None) == "gpu"
    assert getattr(chosen(config(a_task(executor="gpu")), executor="big"), "name", None) == "big"
    assert chosen(config(a_task(executor="gpu")), executor="local") is None


def test_an_executor_that_nobody_declares_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigInvalid, match="unknown executor `gpuu`") as error:
        chosen(config(a_task()), executor="gpuu")
    assert error.value.hint == "perhaps you meant `gpu`"


@pytest.mark.parametrize(
    ("task", "asked", "minutes"),
    [
        ({"timeout_s": 3600.0}, {}, 63),  # and two graces of 5 s, and two minutes
        ({"timeout_s": 3600.0}, {"timeout_s": 600.0}, 13),
        ({"timeout_s": 50.0, "grace_s": 5.0}, {}, 3),
        ({"timeout_s": 3600.0, "verify": (("a",), ("b",)), "verify_timeout_s": 60.0}, {}, 65),
        ({"timeout_s": 3600.0, "verify": (("a",),), "verify_timeout_s": 60.0, "retries": 2}, {}, 66),
        ({"timeout_s": 3600.0, "verify": (("a",),), "verify_timeout_s": 60.0}, {"baseline": "record"}, 65),
        ({"timeout_s": 3600.0, "prepare": (("a",),), "prepare_timeout_s": 600.0}, {}, 73),
        ({"timeout_s": 3600.0, "open_timeout_s": 600.0}, {"open": True}, 73),
    ],
)
def test_the_engine_is_asked_for_all_that_the_task_may_take_in_whole_minutes(
    task: dict[str, Any], asked: dict[str, Any], minutes: int
) -> None:
    assert timed(GPU, Task("t", **task), Request("t", **asked)).time_s == minutes * 60


def test_a_time_of_the_settings_counts_and_a_task_without_a_limit_has_that_of_the_engine() -> None:
    assert timed(GPU.replace(time_s=90.0), Task("t"), Request("t")).time_s == 120.0
    assert timed(GPU, Task("t", timeout_s=None), Request("t")).time_s is None


@pytest.mark.parametrize(
    ("time_s", "grace_s", "is_refused"), [(60, 5, True), (90, 5, False), (180, 300, True)]
)
def test_a_time_that_is_over_before_its_warning_is_refused(
    repo: Any, time_s: float, grace_s: float, is_refused: bool
) -> None:
    settings = config(a_task(grace_s=grace_s)).replace(executors={"gpu": GPU.replace(time_s=time_s)})
    repo.write(
        f'[executors.gpu]\nkind = "slurm"\ntime = {time_s}\n'
        f'[tasks.t]\nprompt = "x"\nexecutor = "gpu"\ngrace = {grace_s}\n'
    )
    if not is_refused:
        assert chosen(settings, executor="gpu") is not None
        assert repo.check().problems == ()
        return
    with pytest.raises(ConfigInvalid, match="so early it may be warned"):
        chosen(settings, executor="gpu")
    (problem,) = repo.check().problems
    assert (problem.key, "so early it may be warned" in problem.message) == ("tasks.t.executor", True)


def test_a_check_names_what_keeps_a_task_from_a_start_or_from_its_end(repo: Any) -> None:
    task = '[executors.gpu]\nkind = "slurm"\n{}\n[tasks.t]\nprompt = "x"\nexecutor = "gpu"\n{}\n'
    writes = 'sandbox = "workspace-write"\n'
    for time, more, told in (
        ("", writes, "is refused at every start but of a plan"),
        ("", f'{writes}workspace = "worktree"', None),
        ("", "", None),
        ('time = "20m"', 'timeout = "30m"', "ends a run sooner than the `timeout`"),
        ('time = "30m"', 'timeout = "30m"', None),
    ):
        repo.write(task.format(time, more))
        assert [note.key for note in repo.check().notes] == ([] if told is None else ["tasks.t.executor"])
        assert told is None or told in repo.check().notes[0].message


def test_a_time_that_ends_before_the_timeout_is_said() -> None:
    short = GPU.replace(time_s=1200.0)
    assert executor_words(short, 1800.0).endswith("20m, which is less than its timeout")
    assert executor_words(short, 1200.0).endswith(" 20m")


def test_what_people_read_names_all_that_is_asked_for() -> None:
    told = executor_words(
        GPU.replace(time_s=7320.0, max_pending_s=60.0, options={"exclusive": "", "nice": "9"})
    )
    assert told == (
        "gpu (slurm): partition a100, 4 CPUs, 8G of memory, 1 GPU, 2h2m, waits 1m at most, "
        "--exclusive, --nice=9"
    )


def test_a_run_that_writes_elsewhere_needs_a_tree_of_its_own(tmp_path: Path) -> None:
    for task, asked, is_refused in (
        (a_task(executor="gpu", sandbox="build"), {}, True),
        (a_task(executor="gpu", sandbox="build", on_conflict="worktree"), {}, True),
        (a_task(sandbox="build"), {"executor": "gpu"}, True),
        (a_task(executor="gpu"), {"sandbox": "build"}, True),
        (a_task(executor="gpu", sandbox="build"), {"executor": "local"}, False),
        (a_task(executor="gpu", sandbox="build", workspace="worktree"), {}, False),
        (a_task(executor="gpu"), {}, False),
    ):
        choice = choose(config(task), Request("hello", **asked))
        if not is_refused:
            assert planned(str(tmp_path), choice, "r", {}) == str(tmp_path)
            continue
        with pytest.raises(ConfigInvalid, match="may write and works in the repository itself") as error:
            planned(str(tmp_path), choice, "r", {})
        assert 'workspace = "worktree"' in str(error.value.hint)
    assert [*tmp_path.iterdir()] == []


# -- a run that another one starts -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("above", "task", "now"),
    [
        (None, None, None),
        (None, "local", None),
        (GPU, None, GPU),
        (GPU, "local", GPU),
        (GPU, "gpu", GPU),
        (None, "gpu", WiderThanParent),
        (GPU, "big", WiderThanParent),
    ],
)
def test_a_child_lives_where_its_parent_does_and_nowhere_else(
    above: ExecutorSettings | None, task: str | None, now: Any
) -> None:
    above = None if above is None else above.replace(time_s=60.0)
    parent = an_invocation(executor=above)
    choice = choose(config(a_task(executor=task)), Request("hello"))
    if now is WiderThanParent:
        with pytest.raises(WiderThanParent, match="the parent lives on"):
            beside_parent(choice, parent)
    else:
        assert beside_parent(choice, parent).executor == above


def test_the_runs_of_a_plan_live_where_their_tasks_say() -> None:
    choice = choose(config(a_task(executor="gpu")), Request("hello"))
    assert beside_parent(choice, an_invocation(runtime=PLAN)) == choice


# -- who limits it ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "executor", "told"),
    [
        (Policy(executors=(("cpu*",),)), GPU, 'executor "gpu" is not among'),
        (Policy(max_cpus=2), GPU, "gives 4 CPUs, and the policy allows 2 in `max_cpus`"),
        (Policy(max_gpus=0), GPU, "gives 1 GPU, and the policy allows 0 in `max_gpus`"),
        (Policy(max_gpus=1), GPU, None),
        *(
            (Policy(max_cpus=8), GPU.replace(options={option: "x"}), f"has the option `{option}`, with which")
            for option in ("exclusive", "hint", "threads-per-core")
        ),
        (Policy(max_memory=8192), GPU.replace(options={"exclusive": ""}), "allows 8G in `max_memory`"),
        (Policy(max_gpus=1), GPU.replace(options={"exclusive": ""}), "allows 1 in `max_gpus`"),
        (Policy(max_memory=8192, max_time=60.0), GPU.replace(time_s=60.0, options={"hint": "x"}), None),
        (Policy(max_memory=4096), GPU, "gives 8G of memory, and the policy allows 4G in `max_memory`"),
        (Policy(max_memory=4096), GPU.replace(memory=None), "gives no limit of memory"),
        (Policy(max_time=60.0), GPU.replace(time_s=120.0), "gives 2m of time, and the policy allows 1m"),
        (Policy(max_time=60.0), GPU, "gives no limit of time"),
        (
            Policy(executors=(("g*",),), max_cpus=4, max_memory=8192, max_time=60.0),
            GPU.replace(time_s=60.0),
            None,
        ),
        (Policy(), GPU, None),
    ],
)
def test_a_ceiling_is_kept_and_the_sentence_says_which(
    policy: Policy, executor: ExecutorSettings, told: str | None
) -> None:
    found = executor_breaches(policy, executor)
    assert [told in one for one in found] == [True] if told else found == ()
    assert executor_breaches(policy, None) == ()


def test_two_policies_allow_only_what_both_do() -> None:
    both = narrow([Policy(max_cpus=9, max_time=60.0, executors=(("g*",),)), Policy(max_cpus=4, max_memory=1)])
    assert (both.max_cpus, both.max_memory, both.max_time, both.executors) == (4, 1, 60.0, (("g*",),))


def test_a_start_beyond_a_ceiling_is_refused_and_so_is_a_longer_time_of_the_request() -> None:
    settings = config(a_task(executor="gpu", timeout_s=600.0), policy=Policy(max_time=780.0))
    assert chosen(settings) == GPU.replace(time_s=780.0)
    with pytest.raises(PolicyRefused, match="gives 14m of time"):
        chosen(settings, timeout_s=660.0)
    assert policies.task_breaches(settings, settings.tasks["hello"]) == ()
    long = config(a_task(executor="gpu", timeout_s=6000.0), policy=Policy(max_time=780.0))
    (one,) = policies.task_breaches(long, long.tasks["hello"])
    assert "in `max_time`" in one


def test_a_policy_file_says_its_ceilings_in_the_units_of_the_settings(repo: Any) -> None:
    repo.write(FULL.replace("exclusive = true, ", ""))
    limit(repo, 'executors = ["g*"]\nmax_cpus = 4\nmax_memory = "8G"\nmax_time = "2m"\nverify = ["*"]\n')
    found = repo.load().policy
    assert (found.executors, found.max_cpus, found.max_memory, found.max_time) == ((("g*",),), 4, 8192, 120.0)
    assert repo.check().breaches == ()
    limit(repo, 'max_cpus = 3\nverify = ["*"]\n')
    (one,) = repo.check().breaches
    assert "max_cpus" in str(one)
