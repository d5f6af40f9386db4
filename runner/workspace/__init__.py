"""The git tree that a run may change: its record, the changes, and the rollback. Edge: git and disk.

A supervisor loads only `lease`, and commands may load `undecided`. Everything else calls git and loads more
than a supervisor should keep: it belongs in a process that ends soon.
"""

from __future__ import annotations
