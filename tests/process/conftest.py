"""Tests with real processes: a repository, and nothing alive afterwards."""

from support.fixtures import nothing_left, repo

__all__ = ["nothing_left", "repo"]
