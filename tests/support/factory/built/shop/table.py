"""Rows as the text of a CSV file (RFC 4180)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence


def text(rows: Iterable[Sequence[str]]) -> str:
    """Each row on a line of its own."""
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()
