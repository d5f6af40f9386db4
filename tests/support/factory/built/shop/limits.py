"""How much is exported at once."""

MOST = 10_000
