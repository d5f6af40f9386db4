"""Faults of the machine around a run: its numbers are used again, and its clock is set.

Each trial has namespaces of its own, which needs root: numbers of processes that are free are its own there,
and only its programs read the clock that it sets.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from plan_faults import begun, plan, sees_through
from scene import WITHIN_S, Scene
from support import processes
from support.repo import Run
from support.waves import start_words

_NEXT = Path("/proc/sys/kernel/ns_last_pid")
_DAEMON = ("sh", "-c", "sleep 3600 & exit 0")
"""As daemon(3): the leader of the session has ended, and its number is still that of the session."""


# -- numbers -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _stranger(scene: Scene, number: int, is_daemon: bool) -> Iterator[None]:
    """A process, or the session of a daemon, which has this number now, and has it still at the end."""
    for _ in range(50):
        _NEXT.write_text(str(number - 1))
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        words = _DAEMON if is_daemon else ("bash", "-c", "read -r", str(scene.repo.bin / "codex"))
        made = subprocess.Popen(
            words, start_new_session=True, env={}, cwd="/", **{**quiet, "stdin": subprocess.PIPE}
        )
        if is_daemon:
            made.wait()
        if made.pid == number:
            break
        _end(made)
    else:
        raise AssertionError(f"number {number} could not be had")
    there = [one for one in processes.every_process() if one.session == number]
    try:
        yield
        if not there or not all(one.is_still_there() for one in there):
            scene.violates(f"a stranger with the number {number} was ended: {[one.words for one in there]}")
        if any(now.is_stopped for one in there if (now := processes.look(one.pid)) is not None):
            scene.violates(f"a stranger with the number {number} was stopped")
    finally:
        _end(made)


def _enter(strangers: contextlib.ExitStack, scene: Scene, numbers: dict[str, int]) -> None:
    """The highest first: the process of a daemon has the next free one."""
    for number in sorted(numbers.values(), reverse=True):
        strangers.enter_context(_stranger(scene, number, scene.rng.random() < 0.6))


def _end(made: subprocess.Popen[bytes]) -> None:
    for one in processes.every_process():
        if one.session == made.pid:
            processes.kill(one)
    made.wait()


def _gone(scene: Scene, run: Run, *names: str) -> dict[str, int]:
    """The numbers of these of its processes, which were killed and have left nothing in their sessions."""
    numbers = {name: run.on_disk()[name]["pid"] for name in names}
    for name in names:
        scene.kill(run, name)

    def is_free(number: int) -> bool:
        for one in processes.every_process():
            if one.session == number and number == numbers.get("process"):
                processes.kill(one)
        return processes.look(number) is None

    scene.until(lambda: all(map(is_free, numbers.values())), "free numbers")
    return numbers


def reused_numbers(scene: Scene) -> None:
    """The agent, its owner or both are dead, and strangers have their numbers: none is taken for them."""
    before = scene.rng.choice(["", "(setsid sleep 600 &)", "sleep 600 &"])
    run = scene.task(before=before).start()
    if scene.rng.random() < 0.3:
        scene.cli("pause", run.id)
    killed = scene.rng.choice([("supervisor", "process"), ("supervisor",), ("process", "supervisor")])
    numbers = _gone(scene, run, *killed)
    with contextlib.ExitStack() as strangers:
        _enter(strangers, scene, numbers)
        for verb in scene.rng.sample(["status", "list", "logs", "pause", "resume", "reap", "cancel"], 3):
            scene.cli(verb, *([] if verb in ("list", "reap") else [run.id]))
        if "process" not in killed:
            lost = json.loads(scene.cli("status", run.id, "--format", "json").stdout or "{}")
            if lost.get("status") == "lost":
                scene.violates("lost, and its agent lives")
        scene.cli("cancel", run.id)
        if run.on_disk()["phase"] != "done" or run.on_disk()["survivors"]:
            scene.violates(f"cancelled beside strangers: {run.on_disk()['phase']}")


def reused_number_of_the_dead(scene: Scene) -> None:
    """The run is done, or its lease has an owner with a number that a stranger has now."""
    run = scene.task().start()
    is_done = scene.rng.random() < 0.5
    if is_done:
        scene.repo.open_gate()
        scene.until(lambda: run.on_disk()["phase"] == "done", "the end")
        scene.until(lambda: not run.everything(), "the end of its owner")
    numbers = _gone(scene, run, "supervisor", "process")
    with contextlib.ExitStack() as strangers:
        _enter(strangers, scene, numbers)
        before = run.on_disk()
        scene.cli(scene.rng.choice(["status", "cancel", "reap"]), *[run.id])
        if is_done and run.on_disk() != before:
            scene.violates("a run that was done has changed")
        scene.repo.open_gate()
        done = scene.cli("start", "--task", "work", "--wait")
        if done.returncode != 0:
            scene.violates(f"the next start beside strangers: {done.returncode} {done.stderr[-200:]}")
        scene.cli("clean", "--older-than", "0")


# -- clocks --------------------------------------------------------------------------------------------

_CLOCK = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile long *ahead;
__attribute__((constructor)) static void begin(void) {
    int fd = open(AHEAD, O_RDONLY | O_CLOEXEC);
    void *found = fd < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ, MAP_SHARED, fd, 0);
    if (found != MAP_FAILED) ahead = found;
    if (fd >= 0) close(fd);
}
int clock_gettime(clockid_t id, struct timespec *at) {
    int failed = syscall(SYS_clock_gettime, id, at);
    if (!failed && ahead && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += *ahead;
    return failed;
}
time_t time(time_t *into) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return into ? (*into = at.tv_sec) : at.tv_sec;
}
int gettimeofday(struct timeval *restrict into, void *restrict zone) {
    struct timespec at;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &at);
    into->tv_sec = at.tv_sec;
    into->tv_usec = at.tv_nsec / 1000;
    return 0;
}
"""


def _clock(scene: Scene) -> Callable[[int], None] | None:
    """Sets the time of day for every program of the trial that is begun from now on, and steps it for those
    that run; None where nothing compiles it. The times of files are those of the kernel and do not step.
    """
    if shutil.which("cc") is None:
        return None
    etc, ahead = scene.repo.base / "etc", scene.repo.base / "ahead"
    etc.mkdir()
    ahead.write_bytes(bytes(8))
    library = scene.repo.base / "clock.so"
    words = ["cc", "-shared", "-fPIC", f'-DAHEAD="{ahead}"', "-x", "c", "-", "-o", str(library)]
    subprocess.run(words, input=_CLOCK, text=True, check=True)
    (etc / "ld.so.preload").write_text(f"{library}\n")
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={etc}:/etc", "/etc"], check=True)

    def step(seconds: int) -> None:
        with ahead.open("r+b") as file:  # in place: it is mapped
            file.write(seconds.to_bytes(8, "little", signed=True))

    return step


def _far(scene: Scene) -> int:
    return scene.rng.choice([-34_560_000, -3600, -30, -2, 5, 3600, 34_560_000])


def stepped_clock(scene: Scene) -> None:
    """The clock is set while a run works, is paused or has no owner: its limits count what has gone by."""
    if (step := _clock(scene)) is None:
        return
    begun_at = time.monotonic()
    run = scene.task('timeout = "5s"').start()
    paused_s = 0.0
    for _ in range(scene.rng.randint(1, 2)):
        step(_far(scene))
        scene.pause(1.5)
        if scene.rng.random() < 0.7:
            since = time.monotonic()
            scene.cli("pause", run.id)
            step(_far(scene))
            if scene.rng.random() < 0.8:
                scene.kill(run, "supervisor")
            scene.pause(2.0)
            scene.cli("resume", run.id)
            paused_s += time.monotonic() - since
        elif scene.rng.random() < 0.5:
            scene.kill(run, "supervisor")
            scene.cli("status", run.id)
    scene.until(lambda: run.on_disk()["phase"] == "done", "the timeout", within=45.0)
    manifest, took_s = run.on_disk(), time.monotonic() - begun_at
    if manifest["reason"]["code"] != "timeout":
        scene.violates(f"it has no timeout: {manifest['reason']}")
    if took_s - paused_s < 4.9:
        scene.violates(f"timed out {took_s - paused_s:.1f} s after its start, pauses left out")
    for name, most_s in (("paused_seconds", paused_s + 0.1), ("suspended_seconds", 30.0)):
        if not 0.0 <= manifest[name] <= most_s:
            scene.violates(f"{name} {manifest[name]} of at most {most_s:.1f}")
    if scene.cli("clean", "--older-than", "1000d").returncode != 0:
        scene.violates("clean fails after the steps")


def stepped_clock_of_a_question(scene: Scene) -> None:
    """A step ends no question twice, and none stays open for ever: its time is one of the day, and the step
    is undone.
    """
    if (step := _clock(scene)) is None:
        return
    run = scene.task().start()
    names = [run.asks("Which?", expires_in_s=2.0), run.asks("What?")]
    step(_far(scene))
    scene.cli("answer", run.id, scene.rng.choice(names), "this")
    scene.kill(run, "supervisor")
    scene.cli("status", run.id)
    step(0)
    scene.until(lambda: scene.closed(run, names[0]) is not None, "the expiry")
    told = [event["id"] for event in run.events("question") if event["status"] != "open"]
    if len({*told}) != len(told):
        scene.violates(f"closed more than once: {told}")


def stepped_clock_of_a_plan(scene: Scene) -> None:
    """It goes back between the runs of a plan: one conductor at a time, and each batch once."""
    if (step := _clock(scene)) is None:
        return
    chosen = plan(scene)
    run = begun(scene)
    scene.pause(3.0)
    step(-scene.rng.choice([10, 30, 3600]))
    if run is not None and scene.rng.random() < 0.7:
        scene.cli("cancel", run.id)
    elif run is not None:
        scene.cli("wait", run.id, "--timeout", str(int(WITHIN_S)))
    answers = scene.at_once(*[start_words(scene.repo, "--resume")] * 2)
    if [done.returncode for done in answers].count(0) > 1:
        out = " ".join(done.stdout + done.stderr for done in answers)
        if "nothing of" not in out:
            scene.violates("resumed twice at once")
    step(scene.rng.choice([0, -60]))
    sees_through(scene, chosen)


FAULTS: dict[str, Callable[[Scene], None]] = {
    one.__name__: one
    for one in (
        *(reused_numbers, reused_number_of_the_dead),
        *(stepped_clock, stepped_clock_of_a_question, stepped_clock_of_a_plan),
    )
}
