"""What an executor is: it places a run, and tells of the job that it made for it. Pure values."""

from __future__ import annotations

from runner.value import StrEnum, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    from runner.invocation import Invocation
    from runner.model import ExecutorSettings, Reason
    from runner.state.placement import Placement

    class OwnJob(Protocol):
        """What a job knows of itself, on the node."""

        job_id: str | None
        cluster: str | None
        restarts: int
        """How often the engine has started it once more."""

        def is_put_back(self) -> bool:
            """Whether the engine ends it to begin it once more later. Answers within a second or so."""

        def why_ended(self, log: str, warning_s: float) -> tuple[Reason, float]:
            """Why the engine has just sent it SIGTERM, and how many seconds it leaves it for sure. Answers
            within a second or so. `log` is what it prints to, and `warning_s` how long before its end it is
            warned.
            """

    class Executor(Protocol):
        """One kind. Every method but `look` may raise EngineSilent: the engine did not answer."""

        kind: str
        log: str
        """The file in the folder of a job that has what it prints."""

        def command(self, invocation: Invocation) -> Submission:
            """What `submit` will execute. Pure: `resolve` prints it."""

        def behind(self, command: Submission, jobs: Sequence[str]) -> Submission:
            """The same, for a job that the engine begins when all of those have ended, in any way. Pure."""

        def submit(self, invocation: Invocation, command: Submission) -> Placed:
            """Puts the run into the queue, once: a job that an answer was lost of is found by the run's id.
            PlacingRefused, with what the engine says, where there is no job then."""

        def find(self, invocation: Invocation, cluster: str | None) -> Placed | None:
            """The job of a run whose starter ended before it wrote down which it is. None: there is none, and
            will be none."""

        def look(self, placements: Sequence[Placement]) -> Mapping[str, Job]:
            """What the engine says of each, by run id: one question for all, and none where others have just
            asked."""

        def tell(self, placement: Placement, run_path: str) -> bool:
            """Has the supervisor on the node look at its requests now; whether it was reached."""

        def end(self, placement: Placement, *, force: bool, at_work: bool = True) -> None:
            """Asks the engine to end the job: its supervisor is told first, unless `force`. Without `at_work`
            only one that waits, or that the engine has suspended.
            """

        def hold(self, placement: Placement, *, release: bool) -> None:
            """Keeps a job that waits from beginning, or lets it begin. Conflict where it does not wait."""

        def trial(self, settings: ExecutorSettings, folder: str, words: Sequence[str]) -> Placement:
            """Places a short job of one processor that runs this command line, and is no run's. What it
            prints is in `folder`, which the node has to share. PlacingRefused.
            """

        def facts(self) -> tuple[EngineFact, ...]:
            """What matters of the engine and of how it is set up."""


class EngineFact(Value):
    """`value` None: nobody knows. `warning` says what follows from it where that is not as it should be."""

    name: str
    value: str | None
    warning: str | None = None


UNUSABLE = 78
"""The status of a job whose node cannot use the folder of the run, or the key (EX_CONFIG, sysexits.h), so
that its run was not begun. No run ends with it."""
NOT_BEGUN = 75
"""Likewise, where another copy of the job has the run (EX_TEMPFAIL)."""


class Submission(Value):
    """How a run is submitted: `script` is what the node carries out."""

    argv: tuple[str, ...]
    script: str


class Placed(Value):
    """Which job it became, and in which cluster."""

    job_id: str
    cluster: str


class JobState(StrEnum):
    """Of a job, in the words that all executors share."""

    PENDING = "pending"
    RUNNING = "running"
    SUSPENDED = "suspended"
    ENDING = "ending"
    """The engine ends it, or cleans up behind it: processes of it may be alive."""
    ENDED = "ended"
    """It has ended, and the engine still says how."""
    GONE = "gone"
    """The engine answers, and knows no such job any more."""
    UNSEEN = "unseen"
    """The engine does not answer, or another cluster does: nothing is known."""


class Job(Value):
    """What the engine says of one job, at one moment."""

    state: JobState
    engine_state: str | None = None
    """In the engine's own word, such as `NODE_FAIL`."""
    why: str | None = None
    """Why it waits, in the engine's word, or why nothing is known."""
    node: str | None = None
    starts_at: str | None = None
    """When the engine began it, or expects to."""
    ended_at: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    restarts: int = 0
