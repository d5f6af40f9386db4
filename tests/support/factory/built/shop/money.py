"""Amounts as people read them."""


def text(cents: int) -> str:
    """150 -> "1.50"."""
    return f"{cents / 100:.2f}"
