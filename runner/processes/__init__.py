"""EDGE processes: where a run's process lives."""
