"""What really happened, against what was said: claims, checks, findings, and the verdict from them."""

from __future__ import annotations

from runner.verify.checks import Check, judge, run_check

__all__ = ["Check", "judge", "run_check"]
