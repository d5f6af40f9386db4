"""Tests of the stand-ins: nothing alive afterwards."""

from support.fixtures import nothing_left

__all__ = ["nothing_left"]
