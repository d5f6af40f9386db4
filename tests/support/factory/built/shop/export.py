"""The orders of a customer as a CSV file."""

from __future__ import annotations

import sqlite3

from shop import filename, rows, search, table


def export(db: sqlite3.Connection, customer: str) -> tuple[str, str]:
    """The name of the file, and its text."""
    found = search.of_customer(db, customer)
    return filename.of(customer), table.text([rows.HEAD, *map(rows.cells, found)])
