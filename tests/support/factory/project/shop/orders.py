"""The orders of the shop."""

from __future__ import annotations

import sqlite3

TABLE = "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, cents INTEGER NOT NULL)"


def add(db: sqlite3.Connection, customer: str, cents: int) -> int:
    """The id of the new order."""
    row = db.execute("INSERT INTO orders (customer, cents) VALUES (?, ?)", (customer, cents))
    return int(row.lastrowid or 0)


def total(db: sqlite3.Connection, customer: str) -> int:
    """What a customer has ordered, in cents."""
    row = db.execute("SELECT SUM(cents) FROM orders WHERE customer = ?", (customer,)).fetchone()
    return int(row[0] or 0)
