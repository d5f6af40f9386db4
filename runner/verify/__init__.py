"""What really happened, compared with the claims: checks, findings, and the verdict."""

from __future__ import annotations
