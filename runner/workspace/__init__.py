"""The git tree that a run may change: what was there, what changed, and the way back. Edge: git and disk.

A supervisor may hold a `lease`, and every command may ask `undecided` whether a tree waits for a decision.
Everything else asks git and loads more than a supervisor should keep: it belongs in a process that ends soon.
"""

from __future__ import annotations
