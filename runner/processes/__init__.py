"""EDGE processes: where a run's process lives. A cluster engine would be one more module here."""
