"""The git tree that a run may change: what was there, what changed, and the way back. Edge: git and disk.

`lease` and `undecided` are standard library only: a supervisor may hold a lease, and every command may ask
whether a tree waits for a decision. Everything else asks git, through `sh`, and belongs into a process that
may import foreign packages.
"""

from __future__ import annotations
