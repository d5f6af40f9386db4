"""A real Slurm cluster on loopback: munged, slurmctld, and a slurmd on each machine within this one.

Debian's packages `slurm-wlm` and `munge` are all it needs, with root and namespaces; slurm.conf(5) has the
settings.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from support.machine import Machine, ends_with_us
from support.processes import Seen, kill
from support.waiting import wait_until

__all__ = ["TRACKERS", "Cluster", "cannot_track", "missing_for_slurm"]

T = TypeVar("T")
TRACKERS = ("linuxproc", "cgroup")
"""What knows the processes of a job: its tree by parent number, or a control group."""

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "unshare", "nsenter")
_CGROUPS = Path("/sys/fs/cgroup")
_UP = ("idle", "mixed", "allocated", "completing")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_WITHIN_S = 30.0
# One second instead of minutes wherever Slurm waits, for tests to wait less.
_SETTINGS = {
    "AccountingStorageType": "accounting_storage/none",
    "AuthType": "auth/munge",
    "CredType": "cred/munge",
    "InactiveLimit": "0",
    "JobAcctGatherType": "jobacct_gather/none",
    "KillWait": "5",
    "MinJobAge": "300",
    "MessageTimeout": "4",
    "MpiDefault": "none",
    "OverTimeLimit": "0",
    "PreemptMode": "REQUEUE",
    "PreemptType": "preempt/partition_prio",
    "ReturnToService": "2",
    "SchedulerParameters": "sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0",
    "SchedulerType": "sched/backfill",
    "SelectType": "select/cons_tres",
    "SlurmUser": "root",
    "SlurmctldTimeout": "5",
    "SlurmdParameters": "config_overrides",
    "SlurmdTimeout": "6",
    "SlurmdUser": "root",
    "SwitchType": "switch/none",
    "TCPTimeout": "1",
    "TaskPlugin": "task/none",
}


def missing_for_slurm() -> str | None:
    """Why there can be no cluster here; None where there can."""
    lacks = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    if lacks:
        return f"no {', '.join(lacks)}: `apt-get install slurm-wlm munge` brings them"
    return None if os.geteuid() == 0 else "a cluster of the tests needs root, for its namespaces"


def cannot_track(tracker: str) -> str | None:
    """Why this tracker does not work on this machine; None where it does."""
    if tracker == "cgroup" and not os.access(_CGROUPS / "freezer", os.W_OK):
        return "this machine has no freezer of cgroup v1 for proctrack/cgroup"
    return None


class Cluster:
    """The partition `main`, and `urgent`, whose jobs preempt those of `main`. Partitions have all nodes."""

    def __init__(
        self, folder: Path, tracker: str = "linuxproc", nodes: int = 1, cpus: int = 4, **settings: str | int
    ) -> None:
        """`settings`: what slurm.conf shall say instead of what stands here."""
        assert len(str(folder)) < 60, f"the sockets of slurmstepd would not fit below {folder}: unix(7)"
        self.folder, self.tracker, self.cpus = folder, tracker, cpus
        letters = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz") for _ in range(6))
        # A control group is named after its node, for the whole machine.
        self.machines = {
            name: Machine(folder / name, name) for name in (f"{letters}{n}" for n in range(1, nodes + 1))
        }
        self.nodes = tuple(self.machines)
        self._given = {name: str(value) for name, value in settings.items()}
        self._extra = dict(self._given)
        self._ports = _free_ports(1 + nodes)
        self._munged: subprocess.Popen[bytes] | None = None
        self._controller: subprocess.Popen[bytes] | None = None
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def env(self) -> dict[str, str]:
        """What a command needs to reach this cluster and no other."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": _PATH}

    def start(self) -> None:
        for name in ("state", "munge", "log", "run", *(f"spool/{node}" for node in self.nodes)):
            (self.folder / name).mkdir(parents=True, mode=0o755)
        self._write_settings()
        self._start_munged()
        for machine in self.machines.values():
            machine.start()
        self.start_controller(fresh=True)
        for node in self.nodes:
            self.start_node(node)

    def stop(self) -> None:
        """Ends everything that was started, and what jobs left behind."""
        self.stop_controller()
        for node, machine in self.machines.items():
            self._thaw(node)
            machine.stop()
            self._reap(self._daemons.pop(node, None))
            self._forget_groups(node)
        self._reap(self._munged)
        self._munged = None

    def run(
        self, *argv: str, timeout: float = 60, uid: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command of a person who is logged in to the submit host: this machine."""
        return subprocess.run(
            argv, env={**os.environ, **self.env}, capture_output=True, text=True, timeout=timeout, user=uid
        )

    def tell(self, *argv: str, uid: int | None = None) -> str:
        """What the command printed; AssertionError if it failed."""
        done = self.run(*argv, uid=uid)
        assert done.returncode == 0, f"{argv} exited with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def submit(self, script: str, *options: str) -> str:
        """The number of a new job whose batch script is `script`, a text for sh."""
        log = f"--output={self.folder}/log/job-%j.txt"
        return self.tell("sbatch", "--parsable", "--chdir=/", log, *options, f"--wrap={script}")

    def output(self, job: str) -> str:
        """What a job of `submit` has written so far."""
        path = self.folder / f"log/job-{job}.txt"
        return path.read_text() if path.exists() else ""

    def jobs(self) -> dict[str, str]:
        """The state of each job that squeue lists, by the number of the job."""
        return dict(line.split("|") for line in self.tell("squeue", "-a", "-h", "-o", "%i|%T").splitlines())

    def job(self, number: str) -> dict[str, str]:
        """What scontrol says of a job, until MinJobAge after its end; nothing of an unknown job."""
        done = self.run("scontrol", "show", "job", "-o", number)
        if done.returncode != 0:
            return {}
        return dict(word.split("=", 1) for word in done.stdout.split() if "=" in word)

    def state(self, number: str) -> str | None:
        return self.job(number).get("JobState")

    def wait_for(self, number: str, *states: str, within: float = _WITHIN_S) -> dict[str, str]:
        """The job, once it is in one of `states`."""

        def arrived() -> dict[str, str] | None:
            job = self.job(number)
            return job if job.get("JobState") in states else None

        return self.wait_until(arrived, within, f"job {number} being {' or '.join(states)}")

    def wait_until(self, condition: Callable[[], T], within: float = _WITHIN_S, what: str = "it") -> T:
        """As `waiting.wait_until`, with what the daemons wrote if it did not come true."""
        try:
            return wait_until(condition, within, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._logs()}") from None

    def processes(self, node: str | None = None) -> list[Seen]:
        """All that is alive on a node: of jobs, and of Slurm itself."""
        return self.machines[node or self.nodes[0]].processes()

    def job_processes(self, node: str | None = None) -> list[Seen]:
        """What jobs started on a node, daemons that left their job included."""
        return [one for one in self.processes(node) if not _is_of_slurm(one)]

    def kill_node(self, node: str | None = None, jobs: bool = False) -> None:
        """Ends slurmd and each slurmstepd at once; what jobs started lives on, unless `jobs`."""
        name = node or self.nodes[0]
        for one in self.processes(name):
            if jobs or _is_of_slurm(one):
                kill(one)
        self._reap(self._daemons.pop(name, None))

    def start_node(self, node: str | None = None) -> None:
        """Returns when jobs can start there, or when slurmd runs while there is no controller."""
        name = node or self.nodes[0]
        words = ["env", *(f"{key}={value}" for key, value in self.env.items()), "slurmd", "-D", "-N", name]
        starts = self._starts(name)
        self._daemons[name] = self._daemon(f"slurmd-{name}", *self.machines[name].within(*words))
        # Until SlurmdTimeout the controller takes a node that was killed for a living one.
        self.wait_until(lambda: self._starts(name) > starts, what=f"the start of slurmd on {name}")
        if self._controller is not None:
            self.wait_until(lambda: self.node_state(name) in _UP, what=f"node {name}")

    def node_state(self, node: str | None = None) -> str:
        """As sinfo calls it, such as `idle` or `down*`, where the star says that the node does not answer.

        It may say `mixed` of an idle node when a job ended in the second of a restart of the controller.
        """
        return self.run(
            "sinfo", "-h", "-N", "-p", "main", "-n", node or self.nodes[0], "-o", "%T"
        ).stdout.strip()

    def start_controller(self, fresh: bool = False) -> None:
        """Returns when it answers; `fresh` forgets all jobs."""
        self._controller = self._daemon("slurmctld", "slurmctld", "-D", *(["-c"] if fresh else []))
        self.wait_until(lambda: self.run("scontrol", "ping").returncode == 0, what="slurmctld")

    def stop_controller(self) -> None:
        self._reap(self._controller)
        self._controller = None

    def restart_controller(self) -> None:
        self.stop_controller()
        self.start_controller()

    @contextlib.contextmanager
    def silent_controller(self) -> Iterator[None]:
        """It takes what it is told, and answers nothing until the end: then it does all of it."""
        assert self._controller is not None, "there is no controller"
        self._controller.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._controller.send_signal(signal.SIGCONT)

    def configure(self, **settings: str | int) -> None:
        """Changes what slurm.conf says, until the next `settle`."""
        self._extra.update({name: str(value) for name, value in settings.items()})
        self._write_settings()
        self.tell("scontrol", "reconfigure")

    def settle(self) -> None:
        """As it was after the start: all daemons run, there are no jobs and nothing of them."""
        if self._controller is None:
            self.start_controller()
        if self._extra != self._given:
            self._extra = {}
            self.configure(**self._given)
        for node in self.nodes:
            if node not in self._daemons:
                self.start_node(node)
            if self.node_state(node) not in _UP:
                self.run("scontrol", "update", f"nodename={node}", "state=resume")
        if jobs := self.jobs():
            self.run("scancel", *jobs)
        for node in self.nodes:
            self._thaw(node)
            for one in self.job_processes(node):
                kill(one)
        self.wait_until(lambda: not self.jobs(), what="the end of all jobs")
        self.wait_until(lambda: all(self.node_state(node) in _UP for node in self.nodes), what="its nodes")

    def _start_munged(self) -> None:
        at = self.folder / "munge"
        key = at / "key-file"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        words = [f"--{name}={at / name}" for name in ("socket", "key-file", "pid-file", "seed-file")]
        # --force: it would refuse a socket below /tmp, which others may write to.
        self._munged = self._daemon("munged", "munged", "--foreground", "--force", *words)
        self.wait_until((at / "socket").exists, what="the socket of munged")

    def _starts(self, node: str) -> int:
        log = self.folder / f"log/slurmd-{node}.log"
        return log.read_text(errors="replace").count("slurmd started on") if log.exists() else 0

    def _write_settings(self) -> None:
        at, settings = self.folder, {**_SETTINGS}
        groups = self.tracker == "cgroup"
        settings |= {
            "AuthInfo": f"socket={at}/munge/socket",
            "ClusterName": self.nodes[0].rstrip("0123456789"),
            "ProctrackType": f"proctrack/{self.tracker}",
            "SelectTypeParameters": "CR_CPU_Memory" if groups else "CR_CPU",
            "SlurmctldHost": f"{socket.gethostname()}(127.0.0.1)",
            "SlurmctldLogFile": f"{at}/log/slurmctld.log",
            "SlurmctldPidFile": f"{at}/run/slurmctld.pid",
            "SlurmctldPort": str(self._ports[0]),
            "SlurmdLogFile": f"{at}/log/slurmd-%n.log",
            "SlurmdPidFile": f"{at}/run/slurmd-%n.pid",
            "SlurmdSpoolDir": f"{at}/spool/%n",
            "StateSaveLocation": f"{at}/state",
        }
        if groups:
            settings |= {"TaskPlugin": "task/cgroup", "DefMemPerCPU": "200"}
            (at / "cgroup.conf").write_text(
                f"CgroupPlugin=cgroup/v1\nCgroupMountpoint={_CGROUPS}\nConstrainRAMSpace=yes\nConstrainSwapSpace=no\n"
            )
        lines = [f"{name}={value}" for name, value in {**settings, **self._extra}.items()]
        for node, port in zip(self.nodes, self._ports[1:], strict=True):
            has = f"CPUs={self.cpus} RealMemory=2000 State=UNKNOWN"
            lines.append(f"NodeName={node} NodeHostname={node} NodeAddr=127.0.0.1 Port={port} {has}")
        lines.append("PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1")
        lines.append("PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9")
        (at / "slurm.conf").write_text("\n".join([*lines, ""]))

    def _daemon(self, name: str, *argv: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"log/{name}.out").open("ab") as out:
            return subprocess.Popen(
                ends_with_us(*argv),
                env={**self.env, "HOME": str(self.folder), "LANG": "C"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
            )

    @staticmethod
    def _reap(daemon: subprocess.Popen[bytes] | None) -> None:
        if daemon is None:
            return
        daemon.terminate()
        try:
            daemon.wait(15)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait(15)

    def _groups(self, node: str) -> list[Path]:
        """The control groups of a node, the innermost ones first."""
        if self.tracker != "cgroup":
            return []
        tops = _CGROUPS.glob(f"*/slurm_{node}")
        return [Path(at) for top in tops for at, _, _ in os.walk(top, topdown=False)]

    def _thaw(self, node: str) -> None:
        """What is frozen cannot end."""
        for group in self._groups(node):
            with contextlib.suppress(OSError):
                (group / "freezer.state").write_text("THAWED")

    def _forget_groups(self, node: str) -> None:
        for group in self._groups(node):
            with contextlib.suppress(OSError):  # gone by itself
                group.rmdir()

    def _logs(self) -> str:
        lines: Sequence[str] = []
        for path in sorted((self.folder / "log").glob("*.log")):
            lines = [*lines, f"-- {path.name}", *path.read_text(errors="replace").splitlines()[-15:]]
        return "\n".join(lines)


def _is_of_slurm(process: Seen) -> bool:
    return process.words[:1] != () and process.words[0].rpartition("/")[2].startswith(
        ("slurmd", "slurmstepd")
    )


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [listener.getsockname()[1] for listener in listeners]
