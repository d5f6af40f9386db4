"""An order as cells."""

from __future__ import annotations

from shop import money

HEAD = ("order", "customer", "amount")


def cells(order: tuple[int, str, int]) -> tuple[str, str, str]:
    """The cells of one order, below `HEAD`."""
    number, customer, cents = order
    return (str(number), customer, money.text(cents))
