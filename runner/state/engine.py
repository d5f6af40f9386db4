"""Where an engine has placed a run, as its manifest and a look at it say it. Pure."""

from __future__ import annotations

from runner.value import Count, Seconds, Timestamp, Value


class Engine(Value):
    """The engine that has placed the run, and where: `executor` is its name in the settings."""

    executor: str
    kind: str
    job_id: str | None
    cluster: str | None
    node: str | None
    """None until the run has begun there."""
    restarts: Count
    """How often the engine has started its job once more."""
    submitted_at: Timestamp
    unseen: tuple[str, ...] = ()
    """Nodes where processes of it may be left: nobody has looked there since."""
    state: str | None = None
    """What a look has just heard, as all that follows, which nobody writes down: the state of the job."""
    why: str | None = None
    """Why it waits, in the engine's word."""
    starts_at: str | None = None
    """When the engine expects to begin it, or has begun it."""
    silent_s: Seconds | None = None
    """For how long its node has given no sign of life, where that is long."""
    note: str | None = None
    """What a person should know besides the status."""

    @property
    def place(self) -> str:
        """Where it is, in a few words."""
        job = "" if self.job_id is None else f" job {self.job_id}"
        return f"{self.executor}{job}" + (f" on {self.node}" if self.node else "")

    @property
    def left(self) -> str | None:
        """That a former copy of the job may live, in words."""
        where = ", ".join(self.unseen)
        return f"what a former copy of its job has left on {where} was not seen to end" if where else None

    @property
    def told(self) -> str | None:
        """What the engine says of it, in words; None where the run speaks for itself."""
        since = f", expected to begin at {self.starts_at}" if self.starts_at else ""
        waits = f"waits for its place ({self.why or 'no reason is told'}){since}"
        return waits if self.state == "pending" and self.note is None else self.note or self.left
