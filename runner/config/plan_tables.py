"""The tables of delegate.toml that are about plans: how batches are made and run, and what they cost. Pure.

As in `tables.py`, nothing is required; `references.py` checks that the caps fit each other.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runner.config import values
from runner.config.kinds import Branch, CommitMessage, Glob
from runner.config.layers import default
from runner.config.tables import Table

_Cap = Annotated[int, Field(ge=1, le=1000)]
_Tokens = Annotated[int, Field(ge=0, le=10**9)]


class DelegateTable(Table):
    """How plans are put into batches, and how these are run."""

    decision: Literal["auto", "ask"] | None = Field(
        None,
        description="auto goes by the verdict on a plan, ask has a person decide; "
        f"default {default('delegate.decision')}.",
    )
    soft_cap: _Cap | None = Field(
        None, description=f"So many units make a batch; default {default('delegate.soft_cap')}."
    )
    hard_cap: _Cap | None = Field(
        None,
        description="So many units that share files stay in one batch, at least soft_cap; "
        f"default {default('delegate.hard_cap')}.",
    )
    oversize: Literal["chain", "keep", "error"] | None = Field(
        None,
        description="What becomes of more units than hard_cap that share files: chain is batches in a row, "
        "keep is one batch, error refuses the plan (any such group above soft_cap). "
        f"Default {default('delegate.oversize')}.",
    )
    balance: bool | None = Field(
        None,
        description="true: batches of about the same size, 4+4+4 and not 5+5+2; "
        f"default {default('delegate.balance')}.",
    )
    trivial: Literal["keep", "local"] | None = Field(
        None,
        description="Whether trivial units are delegated with the others (keep) or not; "
        f"default {default('delegate.trivial')}.",
    )
    hub_files: list[Glob] | None = Field(
        None,
        description="Globs of files that keep no units together, besides lock files and changelogs.",
    )
    effort_floor: Literal["minimal", "low", "medium", "high", "xhigh"] | None = Field(
        None, description=f"No batch gets less effort than this; default {default('delegate.effort_floor')}."
    )
    max_parallel: Annotated[int, Field(ge=1, le=16)] | None = Field(
        None,
        description="How many batches may run at once; above 1 each has a work tree of its own. "
        f"Default {default('delegate.max_parallel')}.",
    )
    max_failures: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None,
        description="So many batches that fail in a row stop the plan; "
        f"default {default('delegate.max_failures')}.",
    )
    files: Literal["strict", "warn", "off"] | None = Field(
        None,
        description="What it means that a batch changes a file that none of its units names: strict is a "
        f"failure, warn a warning, off nothing. Default {default('delegate.files')}.",
    )
    commit: Branch | None = Field(
        None,
        description="true: each batch is committed to the branch that is checked out; a text: to the branch "
        f"of that name. Default {default('delegate.commit')}.",
    )
    commit_message: CommitMessage | None = Field(
        None,
        description="The message of such a commit, with the placeholders "
        + ", ".join(f"{{{name}}}" for name in values.PLACEHOLDERS)
        + "; a brace itself is written twice.",
    )


class EconomicsTable(Table):
    """Tokens of the one who delegates a plan, which `runner plan` weighs. Estimates, not limits."""

    fixed: _Tokens | None = Field(
        None, description=f"Once for every plan that is delegated; default {default('economics.fixed')}."
    )
    batch: _Tokens | None = Field(None, description=f"For each batch; default {default('economics.batch')}.")
    unit: _Tokens | None = Field(
        None, description=f"Saved by each unit that is delegated; default {default('economics.unit')}."
    )
