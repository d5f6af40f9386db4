"""A shop that keeps its orders in SQLite."""
