"""Durations as people write them ("2h", "1h30m", "90s") and as we count them (seconds). Pure,
imports nothing.

The settings and every `--timeout` use it, so it does without `re` (4 ms to import).
"""

from __future__ import annotations

UNITS = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
LONGEST = 3_650 * UNITS["d"]
WANTED = 'a duration above zero such as "90s", "15m", "2h", "1h30m" or "7d", or a number of seconds'


def parse_duration(value: str | int | float) -> float:
    """Seconds. A bare number is seconds too; ValueError says what would be right."""
    seconds = seconds_of(value)
    # "not above" rather than "below": true for NaN as well.
    if not 0 < seconds <= LONGEST:
        limit = f" (at most {format_duration(LONGEST)})" if seconds > LONGEST else ""
        raise ValueError(f"expected {WANTED}{limit}")
    return seconds


def seconds_of(value: object) -> float:
    """As `parse_duration`, whatever its size; ValueError where it is not written as a duration is."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"expected {WANTED}")
    return _from_text(value.strip()) if isinstance(value, str) else float(value)


def format_duration(seconds: float) -> str:
    """The shortest of our own notation, exact to the millisecond: 5400 -> "1h30m"."""
    left = round(seconds * 1000)
    parts = []
    for unit in ("d", "h", "m"):
        count, left = divmod(left, round(UNITS[unit] * 1000))
        if count:
            parts.append(f"{count}{unit}")
    if left or not parts:
        parts.append(f"{left / 1000:.3f}".rstrip("0").rstrip(".") + "s")
    return "".join(parts)


def about(seconds: float, units: int = 2) -> str:
    """For a glance, in the two largest units or in one: 72.4 -> "1m12s" or "1m", 0.34 -> "0.3s" or "0s"."""
    if units > 1 and 0 <= seconds < 10:
        return f"{int(seconds * 10) / 10:.1f}s"
    if seconds >= 100 * UNITS["d"]:
        units = 1
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        size = int(UNITS[unit])
        if parts or left >= size or unit == "s":
            number, left = divmod(left, size)
            parts.append(f"{number:02d}{unit}" if parts else f"{number}{unit}")
    return "".join(parts[:units])


def _from_text(text: str) -> float:
    number = _number(text)
    if number is not None:
        return number
    total, rest, smallest = 0.0, text, UNITS["w"] * 2
    while rest:
        digits = _span(rest, "0123456789.")
        unit = _span(rest[len(digits) :], "wdhms")
        count, size = _number(digits), UNITS.get(unit)
        if count is None or size is None or size >= smallest:
            raise ValueError(f"expected {WANTED}")
        total, smallest = total + count * size, size
        rest = rest[len(digits) + len(unit) :]
    return total


def _span(text: str, allowed: str) -> str:
    end = 0
    while end < len(text) and text[end] in allowed:
        end += 1
    return text[:end]


def _number(digits: str) -> float | None:
    whole, dot, fraction = digits.partition(".")
    decimal = digits.isascii() and whole.isdigit() and (fraction.isdigit() if dot else True)
    return float(digits) if decimal else None
