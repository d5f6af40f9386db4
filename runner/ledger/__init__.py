"""The ledger of a task: what agents and people tell each other, and what runner saw. Standard library."""
