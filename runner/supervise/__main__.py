"""The supervisor's program: `python -I .../supervise/__main__.py RUN_FOLDER [LOCK READY LEASE [COPY]]`.

These are descriptors, and which copy of the run's job has it.

A file and not `-m`: under `-I` neither the current folder nor PYTHONPATH can change what is imported, so the
package is found beside this file, installed or not. It can be run by hand on a run without an owner.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.state.store import RunDir


def main(argv: list[str]) -> int:
    """Says by name what a limit refuses, as long as whoever hands the run over waits for a word."""
    waiting = _pipe(argv[2]) if argv[2:] and argv[2] != "-" else None
    try:
        return _own(argv)
    except OSError as error:
        if waiting is not None and _pipe(argv[2]) == waiting:
            from runner.supervise.begin import report_refused

            report_refused(int(argv[2]), error)
        raise


def _pipe(fd: str) -> tuple[int, int] | None:
    """Which pipe that is: its number may be another file's by now."""
    try:
        found = os.fstat(int(fd))
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _own(argv: list[str]) -> int:
    """Takes the lock (or the given descriptor of it), looks, and stays until the run is done."""
    from runner.state.authentic import refuse_foreign
    from runner.state.store import RunDir
    from runner.supervise.supervisor import Supervisor

    run = RunDir.from_path(os.path.abspath(argv[0]))
    if not argv[1:]:  # else who gives the lock has looked at the run
        refuse_foreign(run)
    given = [None if word == "-" else int(word) for word in argv[1:4]]
    copy = int(argv[4]) if argv[4:] else None
    lock_fd, ready_fd, lease_fd = given or (run.try_lock(), None, None)
    if lock_fd is None:
        print("another supervisor owns this run", file=sys.stderr)
        return 9
    for fd in (lock_fd, ready_fd, lease_fd):
        if fd is not None:
            os.set_inheritable(fd, False)
    _name_process()
    try:
        Supervisor(run, lease_fd, ready_fd, copy).supervise()
    except Exception:
        if not _goes_away(run):
            raise
        _abandon(run)
    return 0


def _goes_away(run: RunDir) -> bool:
    """Whether the folder was taken away, or is being: then its files go first, and we met that."""
    import time

    for _ in range(40):
        if not os.path.isdir(run.path):
            return True
        if all(map(os.path.exists, (run.invocation, run.manifest, run.control))):
            return False
        time.sleep(0.05)
    return False


def _abandon(run: RunDir) -> None:
    """The folder was taken away, and with it all that could be read or written: ends what is left."""
    from runner.processes import cgroup
    from runner.processes.proc import identify
    from runner.processes.tree import Tree
    from runner.supervise.begin import reap
    from runner.supervise.others import Others

    me = identify(os.getpid())
    if me is not None:
        group = cgroup.find(run.run_id, None)
        Tree(run.run_id, me, reap=reap, is_others=Others(run).have, cgroup=group).sweep(1.0)
        if group is not None:
            group.remove()


def _name_process() -> None:
    """Shown by `ps` and `top` in place of `python`; cosmetic."""
    try:
        with open("/proc/self/comm", "w") as file:
            file.write("runner-run")
    except OSError:
        pass


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    os._exit(main(sys.argv[1:]))  # everything is written; nothing need be taken apart
