"""Numbers in metadata, and their units of length and of time: how large, and how people and formats spell them."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

#: unit -> metres, its name in OME-Zarr, and other names
_LENGTHS: dict[str, tuple[float, str, *tuple[str, ...]]] = {
    "m": (1.0, "meter", "metre"),
    "cm": (1e-2, "centimeter", "centimetre"),
    "mm": (1e-3, "millimeter", "millimetre"),
    "µm": (1e-6, "micrometer", "micrometre", "micron", "um"),
    "nm": (1e-9, "nanometer", "nanometre"),
    "Å": (1e-10, "angstrom", "ångström"),
    "pm": (1e-12, "picometer", "picometre"),
    "inch": (0.0254, "inch", "in", "inches"),
}
#: unit -> seconds, its name in OME-Zarr, and other names
_TIMES: dict[str, tuple[float, str, *tuple[str, ...]]] = {
    "d": (86400.0, "day"),
    "h": (3600.0, "hour", "hr"),
    "min": (60.0, "minute", "min"),
    "s": (1.0, "second", "sec"),
    "ms": (1e-3, "millisecond", "msec"),
    "µs": (1e-6, "microsecond", "usec", "us"),
    "ns": (1e-9, "nanosecond"),
}
LENGTHS = {unit: row[0] for unit, row in _LENGTHS.items()}
TIMES = {unit: row[0] for unit, row in _TIMES.items()}

#: unit -> its name in OME-Zarr
NAMES = {unit: row[1] for unit, row in (_LENGTHS | _TIMES).items()}

_SPELLINGS = {
    f"{name}{plural}": unit for unit, row in (_LENGTHS | _TIMES).items() for name in row[1:] for plural in ("", "s")
}
_SPELLINGS |= dict.fromkeys(("pixel", "pixels", "none", "null", "reference frame"), "")


def unit_name(text: str) -> str:
    """A unit as it is spelt in `LENGTHS` or `TIMES`; other units stay as they are."""
    text = text.strip().replace("\\u00B5", "µ").replace("\\u00b5", "µ").replace("μ", "µ")  # Greek mu to micro sign
    return _SPELLINGS.get(text.lower(), text)


def same_kind(unit: str, other: str) -> bool:
    """True if both are lengths, or times, or the same."""
    return unit == other or any({unit, other} <= table.keys() for table in (LENGTHS, TIMES))


def converted(size: float, unit: str, to: str) -> float:
    """A size in another unit of length, or of time; in decimals, so that 0.3 µm are 300 nm and not 299.99999999999994.

    Raises
    ------
    ValueError
        If one cannot be brought to the other.
    """
    if unit == to:
        return size
    if not same_kind(unit, to):
        raise ValueError(f"{unit or 'pixels'} cannot be brought to {to or 'pixels'}")
    table = LENGTHS if unit in LENGTHS else TIMES
    return float(Decimal(repr(float(size))) * Decimal(repr(table[unit])) / Decimal(repr(table[to])))


def finite(value: Any) -> float | None:
    """A value in metadata as a number; None if it is no finite one."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
