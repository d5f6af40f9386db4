"""Memory as people write it ("512M", "8G") and as we compare it (MiB). Pure, imports nothing."""

from __future__ import annotations

_UNITS = {"M": 1, "G": 1024, "T": 1024**2}
LARGEST_MIB = 1024 * _UNITS["T"]
PATTERN = r"^([1-9][0-9]{0,9}M|[1-9][0-9]{0,6}G|[1-9][0-9]{0,3}T)$"
"""Of what is accepted, as far as a pattern can say it."""


def parse_memory(value: object) -> int:
    """MiB. ValueError says what would be right. Nothing is 0: engines take that for all there is."""
    text = value if isinstance(value, str) else ""
    digits, size = text[:-1], _UNITS.get(text[-1:])
    is_fit = digits.isascii() and digits.isdigit() and len(digits) <= 10 and digits[0] != "0"
    if size is None or not is_fit or int(digits) * size > LARGEST_MIB:
        raise ValueError('expected a whole number with M, G or T, e.g. "8G" (at most 1024T)')
    return int(digits) * size


def format_memory(mib: int) -> str:
    """In the largest unit that is exact: 8192 -> "8G"."""
    unit = next(unit for unit in ("T", "G", "M") if mib % _UNITS[unit] == 0)
    return f"{mib // _UNITS[unit]}{unit}"
