"""Which orders are exported."""

from __future__ import annotations

import sqlite3

from shop.limits import MOST


def of_customer(db: sqlite3.Connection, customer: str) -> list[tuple[int, str, int]]:
    """The orders of a customer, oldest first."""
    query = f"SELECT id, customer, cents FROM orders WHERE customer = '{customer}' ORDER BY id LIMIT {MOST}"
    return db.execute(query).fetchall()
