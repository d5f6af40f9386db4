"""Who may write git, what a run changed there besides files, and what became of that. Pure."""

from __future__ import annotations

from runner.value import Value

GIT_OWNERS = ("human", "runner")
"""Who writes git alone, beside a task."""
OWN_REFS = "refs/runner/"
"""Refs of runner itself, which only adds some: new ones are no change of anybody's."""


def owning_task(owner: str | None) -> str | None:
    """Of who alone writes git, the task: a person is not one that happens to have that name."""
    return None if owner in GIT_OWNERS else owner


class GitPolicy(Value):
    """Who may write what git holds besides files: branches and other refs, HEAD, the index, its settings."""

    owner: str | None = None
    """`human`, `runner` or a task; None: nobody is kept from it beyond what `Terms` say."""


class GitChange(Value):
    """What of git is other than before a run: a ref, `HEAD`, `HEAD state` (a merge under way and the
    like), `index PATH` or `config KEY`, and its values; None where there was or is none.
    """

    what: str
    before: str | None
    after: str | None
    by_run: bool = False
    """Whether git's own log names the run; False: by whom is not known."""

    def __str__(self) -> str:
        return f"{self.what}: {self.before or 'none'} -> {self.after or 'none'}"


class PutBack(Value):
    """What of that is as before again. `left` says of the rest why not, `kept` under which refs the commits
    that were taken away are.
    """

    put: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
