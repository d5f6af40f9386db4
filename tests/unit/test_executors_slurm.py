"""What is asked of Slurm and believed of it, with commands in the place of its own."""

from __future__ import annotations

import os
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.standin_squeue import StandinSlurm, row
from support.values import an_invocation
from support.waiting import wait_until

from runner.errors import Conflict, EngineSilent, PlacingRefused
from runner.executors import get, squeue
from runner.executors.base import Job, JobState
from runner.executors.slurm import Slurm
from runner.invocation import Invocation
from runner.model import ExecutorSettings
from runner.state.manifest import timestamp
from runner.state.placement import Placement, save
from runner.state.store import RunDir

HPC = ExecutorSettings("hpc", "slurm")
UNKNOWN = "slurm_load_jobs error: Invalid job id specified\n"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandinSlurm:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return StandinSlurm(tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Invocation:
    invocation = an_invocation(str(tmp_path / "repo"), executor=HPC)
    Path(RunDir.of(invocation.repo, invocation).path).mkdir(parents=True)
    return invocation


def placed(run: Invocation, job_id: str | None = "7", cluster: str = "c") -> Placement:
    name = f"--job-name=runner:{run.task_id}:{run.run_id[-8:]}"
    return Placement("hpc", "slurm", run.run_id, timestamp(), ("sbatch", name), cluster, job_id)


def named(run: Invocation) -> str:
    return placed(run).argv[1].removeprefix("--job-name=")


def look(slurm: StandinSlurm, placement: Placement) -> Job:
    return Slurm(slurm.env).look([placement])[placement.run_id]


def test_slurm_is_registered() -> None:
    assert get("slurm").kind == "slurm"


def test_the_command_line_says_all_that_the_settings_do(slurm: StandinSlurm, run: Invocation) -> None:
    settings = ExecutorSettings(
        "hpc", "slurm", "cpu", "lab", "low", "avx", 4, "8G", 2, 90.0, 1800.0, 3, True,
        {"exclusive": "", "licenses": "x"},
    )  # fmt: skip
    command = Slurm(slurm.env).command(run.replace(executor=settings, repo="/re po/50%"))
    folder = f"/re po/50%/.runs/hello/cli/{run.run_id}"
    assert command.argv == (
        "sbatch", "--parsable", "--requeue", "--export=NONE", f"--job-name=runner:hello:{run.run_id[-8:]}",
        f"--comment={run.run_id}", "--nodes=1", "--ntasks=1", "--cpus-per-task=4",
        "--kill-on-invalid-dep=yes", f"--output={folder.replace('%', '%%')}/slurm.log", "--open-mode=append",
        "--time=2", "--deadline=now+1920", "--partition=cpu", "--account=lab", "--qos=low",
        "--constraint=avx", "--mem=8G", "--gres=gpu:2", "--exclusive", "--licenses=x",
        "--signal=B:TERM@35", "--chdir=/re po/50%", f"{folder}/job.sh",
    )  # fmt: skip
    assert command.script.endswith(f"/supervise/node.py {shlex.quote(folder)}\n")
    assert f"XDG_STATE_HOME={slurm.env['HOME']}/.local/state\n" in command.script


def test_a_folder_whose_name_slurm_would_change_is_refused(slurm: StandinSlurm, run: Invocation) -> None:
    with pytest.raises(PlacingRefused, match="backslash"):
        Slurm(slurm.env).command(run.replace(repo="/re\\po"))


def test_a_run_without_a_limit_of_time_asks_for_none(slurm: StandinSlurm, run: Invocation) -> None:
    words = Slurm(slurm.env).command(run.replace(executor=HPC.replace(max_pending_s=60.0))).argv
    assert "--no-requeue" in words
    assert not [word for word in words if word.startswith(("--time", "--deadline", "--mem", "--gres"))]


def test_one_question_serves_all_runs_and_all_callers(slurm: StandinSlurm, run: Invocation) -> None:
    slurm.says("squeue", row("7", "RUNNING", named(run)))
    placements = [placed(run).replace(run_id=f"r{n}") for n in range(1000)]
    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(lambda _: Slurm(slurm.env).look(placements), range(8))]
    assert {job.state for answer in answers for job in answer.values()} == {JobState.RUNNING}
    # Eight callers on a busy machine may take longer than an answer counts.
    assert len(slurm.calls("squeue")) <= 2
    assert slurm.calls("scontrol") == ["show config"]


def test_what_was_kept_is_asked_anew_after_a_while(slurm: StandinSlurm, run: Invocation) -> None:
    slurm.says("squeue", row("7", "PENDING", named(run), "Priority", node="", starts="N/A"))
    assert look(slurm, placed(run)) == Job(JobState.PENDING, "PENDING", "Priority")
    slurm.says("squeue", row("7", "RUNNING", named(run)))
    wait_until(lambda: look(slurm, placed(run)).state is JobState.RUNNING, 20, "the next question")


def test_what_others_could_have_written_is_not_believed(slurm: StandinSlurm, run: Invocation) -> None:
    slurm.says("squeue", row("7", "RUNNING", named(run)))
    look(slurm, placed(run))
    (kept,) = Path(slurm.env["HOME"]).rglob("slurm/*.json")
    kept.write_text(kept.read_text().replace('"running"', '"gone"'))
    kept.chmod(0o666)
    squeue._known.clear()
    assert look(slurm, placed(run)).state is JobState.RUNNING
    assert len(slurm.calls("squeue")) == 2


def test_a_time_is_that_of_the_cluster_in_utc(slurm: StandinSlurm, run: Invocation) -> None:
    slurm.says(
        "squeue", row("7", "FAILED", named(run), "NonZeroExitCode", status="1792", ends="2026-11-28T20:06:31")
    )
    job = look(slurm, placed(run))
    assert (job.starts_at, job.ended_at) == ("2026-11-28T20:06:29.000Z", "2026-11-28T20:06:31.000Z")
    assert (job.state, job.exit_code, job.signal) == (JobState.ENDED, 7, None)


@pytest.mark.parametrize(("status", "expected"), [("9", (None, 9)), ("7:0", (7, None)), ("0:53", (None, 53))])
def test_how_a_job_ended_is_read_in_either_notation(
    slurm: StandinSlurm, run: Invocation, status: str, expected: tuple[int | None, int | None]
) -> None:
    slurm.says("squeue", row("7", "FAILED", named(run), status=status))
    job = look(slurm, placed(run))
    assert (job.exit_code, job.signal) == expected


def test_a_job_that_is_not_listed_is_gone_only_if_the_cluster_says_so(
    slurm: StandinSlurm, run: Invocation
) -> None:
    look(slurm, placed(run))  # which asks for the name of the cluster
    slurm.says("scontrol", err="error: Unable to contact slurm controller\n", status=1)
    assert look(slurm, placed(run)).state is JobState.UNSEEN
    slurm.says("scontrol", err=UNKNOWN, status=1)
    assert look(slurm, placed(run)).state is JobState.GONE
    asked = len(slurm.calls("scontrol"))
    assert look(slurm, placed(run)).state is JobState.GONE
    assert len(slurm.calls("scontrol")) == asked


@pytest.mark.parametrize(
    "line",
    [
        "7|RUNNING\n",
        "7|running|None|n1|N/A|N/A|0|0|{}|\n",
        "7|RUNNING|None|n1|N/A|N/A|zero|0|{}|\n",
        "7|RUNNING|None|n1|N/A|N/A|0|-1|{}|\n",
        "7|RUNNING|None|n1|N/A|N/A|0|0|{}\n",
        "7|QUANTUM|None|n1|N/A|N/A|0|0|{}|\n",
        "7_1|RUNNING|None|n1|N/A|N/A|0|0|{}|\n",
        "7|RUNNING|None|n1|N/A|N/A|0|0|another|\n",
        "7|COMPLETED|None|n1|N/A|N/A|0|0|{}|\n7|RUNNING|None|n1|N/A|N/A|0|0|{}|\n",
        "\x1b]0;x\x07\n",
        "",
    ],
)
def test_an_answer_that_cannot_be_read_is_no_end(slurm: StandinSlurm, run: Invocation, line: str) -> None:
    slurm.says("squeue", line.replace("{}", named(run)))
    assert look(slurm, placed(run)).state is JobState.UNSEEN


def test_another_cluster_knows_nothing_of_a_job(slurm: StandinSlurm, run: Invocation) -> None:
    slurm.says("squeue", row("7", "COMPLETED", named(run)))
    job = look(slurm, placed(run, cluster="d"))
    assert job == Job(JobState.UNSEEN, why="cluster `c` answers, and its job is one of cluster `d`")
    for act in (lambda e, p: e.end(p, force=True), lambda e, p: e.hold(p, release=False)):
        with pytest.raises(EngineSilent, match="cluster `c` answers"):
            act(Slurm(slurm.env), placed(run, cluster="d"))
    assert not (slurm.bin / "scancel").exists()


def test_what_a_cluster_says_is_cleaned_and_cut(slurm: StandinSlurm, run: Invocation) -> None:
    slurm.says("squeue", row("7", "PENDING", named(run), "\x1b[31m" + "x" * 900))
    why = look(slurm, placed(run)).why
    assert why is not None
    assert why.isprintable()
    assert len(why) == 200


def test_without_slurm_nothing_is_known(tmp_path: Path, run: Invocation) -> None:
    env = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    assert Slurm(env).look([placed(run)])[run.run_id].why == "there is no squeue on PATH"
    with pytest.raises(PlacingRefused, match="no sbatch"):
        Slurm(env).submit(run, Slurm(env).command(run))


def test_a_program_in_a_work_tree_is_not_started(
    slurm: StandinSlurm, run: Invocation, tmp_path: Path
) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    env = {**slurm.env, "PATH": str(slurm.bin)}
    assert Slurm(env).look([placed(run)])[run.run_id].why == "there is no squeue on PATH"
    assert slurm.calls("squeue") == []


def test_a_job_is_submitted_without_what_could_change_it(slurm: StandinSlurm, run: Invocation) -> None:
    slurm.says("sbatch", "42;c\n")
    (slurm.bin / "sbatch").write_text(f'#!/bin/sh\n/usr/bin/env > "{slurm.bin}/seen"\necho "42;c"\n')
    env = {**slurm.env, "SBATCH_PARTITION": "x", "SLURM_CONF": "/conf", "SQUEUE_FORMAT": "x", "API_KEY": "s"}
    command = Slurm(env).command(run)
    made = Slurm(env).submit(run, command)
    assert (made.job_id, made.cluster) == ("42", "c")
    names = {line.partition("=")[0] for line in (slurm.bin / "seen").read_text().splitlines()}
    assert names - {"PWD", "_", "SHLVL", "OLDPWD"} == {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "SLURM_CONF"}
    script = Path(RunDir.of(run.repo, run).path, "job.sh")
    assert script.read_text() == command.script
    assert script.stat().st_mode & 0o777 == 0o600


def test_a_refusal_says_what_the_cluster_said(slurm: StandinSlurm, run: Invocation) -> None:
    slurm.says("sbatch", err="sbatch: error: Batch job submission failed: Invalid partition\n", status=1)
    with pytest.raises(PlacingRefused, match="submission failed: Invalid partition"):
        Slurm(slurm.env).submit(run, Slurm(slurm.env).command(run))


@pytest.mark.parametrize(
    ("out", "err", "status"),
    [("", "sbatch: error: Socket timed out on send/recv operation", 1), ("Submitted!", "", 0), ("", "", 137)],
)
def test_an_answer_that_was_lost_is_looked_for_and_is_no_refusal(
    slurm: StandinSlurm, run: Invocation, out: str, err: str, status: int
) -> None:
    slurm.says("sbatch", out, err, status)
    if status == 137:
        (slurm.bin / "sbatch").write_text("#!/bin/sh\nkill -KILL $$\n")
    engine = Slurm(slurm.env)
    with pytest.raises(EngineSilent, match="not known"):
        engine.submit(run, engine.command(run))
    (slurm.bin / "squeue").write_text(
        f'#!/bin/sh\ncase "$*" in *--jobs=9) ;; *) echo "8|x|"; printf "9|";; esac\necho "{run.run_id}|"\n'
    )
    found = engine.submit(run, engine.command(run))
    assert found.job_id == "9"


def test_a_comment_that_looks_like_another_job_is_not_believed(slurm: StandinSlurm, run: Invocation) -> None:
    (slurm.bin / "squeue").write_text(
        f'#!/bin/sh\ncase "$*" in *--jobs=*) echo "x";; *) printf "9|";; esac\necho "{run.run_id}|"\n'
    )
    assert Slurm(slurm.env).find(run, "c") is None


def test_a_job_that_may_still_come_is_not_none(slurm: StandinSlurm, run: Invocation) -> None:
    save(RunDir.of(run.repo, run), placed(run, None))
    with pytest.raises(EngineSilent, match="may still come"):
        Slurm(slurm.env).find(run, None)
    save(RunDir.of(run.repo, run), placed(run, None).replace(submitted_at="2026-01-01T00:00:00.000Z"))
    assert Slurm(slurm.env).find(run, None) is None
    with pytest.raises(EngineSilent, match="cluster `c` answers"):
        Slurm(slurm.env).find(run, "d")


def test_a_job_is_ended_by_its_number_and_its_name(slurm: StandinSlurm, run: Invocation) -> None:
    slurm.says("scancel")
    for state, force in (("RUNNING", False), ("RUNNING", True), ("PENDING", False), ("FAILED", True)):
        slurm.says("squeue", row("7", state, named(run)))
        Slurm(slurm.env).end(placed(run), force=force)
    assert slurm.calls("scancel") == [
        f"--name={named(run)} --batch --signal=TERM 7",
        f"--name={named(run)} 7",
        f"--name={named(run)} 7",
    ]
    slurm.says(
        "scancel", err="scancel: error: Unable to contact slurm controller (connect failure)", status=1
    )
    slurm.says("squeue", row("7", "RUNNING", named(run)))
    with pytest.raises(EngineSilent, match="contact"):
        Slurm(slurm.env).end(placed(run), force=True)


def test_a_job_that_has_just_begun_is_not_ended_in_place_of_one_that_waits(
    slurm: StandinSlurm, run: Invocation
) -> None:
    slurm.says("scancel")
    for state in ("RUNNING", "COMPLETING", "PENDING", "CONFIGURING", "SUSPENDED"):
        slurm.says("squeue", row("7", state, named(run)))
        Slurm(slurm.env).end(placed(run), force=True, at_work=False)
    own = f"--name={named(run)}"
    assert slurm.calls("scancel") == [f"{own} --state=PENDING 7", f"{own} 7", f"{own} 7"]


def test_only_a_job_that_waits_is_held(slurm: StandinSlurm, run: Invocation) -> None:
    slurm.says("squeue", row("7", "RUNNING", named(run)))
    with pytest.raises(Conflict, match="does not wait"):
        Slurm(slurm.env).hold(placed(run), release=False)


def test_the_answer_of_a_busy_cluster_is_kept_for_this_user_alone(
    slurm: StandinSlurm, run: Invocation
) -> None:
    slurm.says(
        "squeue",
        "".join(row(str(n), "RUNNING", "x" * 50) for n in range(1, 8001))
        + row("9999", "RUNNING", named(run)),
    )
    assert look(slurm, placed(run, "9999")).state is JobState.RUNNING
    (kept,) = Path(slurm.env["HOME"]).rglob("slurm/*.json")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert kept.stat().st_uid == os.geteuid()
