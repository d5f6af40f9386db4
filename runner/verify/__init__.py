"""What really happened, against what was said: claims, checks, findings, and the verdict from them."""

from __future__ import annotations
