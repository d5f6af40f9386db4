"""Values on disk: what is written comes back, and what an older version wrote still reads."""

from __future__ import annotations

import json
from typing import Any

from support.values import an_invocation

from runner.invocation import Invocation, Rehearsal
from runner.model import Lineage, Recovery, Terms


def written(invocation: Invocation) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(invocation.to_json()))
    return loaded


def test_an_invocation_comes_back_as_it_was() -> None:
    run = Lineage("a", "20261120T101504438Z-50151d5c", ".runs/a/x/manifest.json")
    limits = an_invocation().limits
    for invocation in (
        an_invocation(),
        an_invocation(parent=run, rehearsal=Rehearsal(None, 4711, ("python",))),
        an_invocation(
            terms=Terms(("src/**",), "worktree", "keep", "queue", "final", "enforce"),
            recovery=Recovery(3, ("fresh",), 0, 1.0, 2.0),
            limits=limits.replace(
                tokens=5, tree_tokens=9, warn_at=1.0, repeats=None, reconnects=None, price=0.5
            ),
        ),
    ):
        assert Invocation.from_json(written(invocation), invocation.prompt) == invocation


def test_an_invocation_from_before_terms_and_recovery_is_readable() -> None:
    older = written(an_invocation())
    del older["terms"], older["recovery"]
    for name in ("tokens", "tree_tokens", "warn_at", "repeats", "reconnects", "price"):
        del older["limits"][name]

    invocation = Invocation.from_json(older)

    assert (invocation.terms, invocation.recovery) == (Terms(), Recovery())
    assert invocation.limits == an_invocation().limits
    assert invocation.limits.tokens is None
