"""Channels of an image, and ImageJ's calibration function, which turns the values in a file into those shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: ImageJ keeps signed numbers of 16 bits as unsigned ones less this, by a function.
SIGNED = 32768


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A channel, as far as it is known.

    Attributes
    ----------
    name : str
    colour : str
        Red, green and blue as "RRGGBB" in hexadecimal digits, of its brightest pixels; empty if it is not known.
    limits : tuple of float, or None
        Intensities that are shown black and at full brightness.
    table : uint8 array (3, 256), or None
        Lookup table that shows it, where that is more than a ramp from black to `colour`.
    emission, excitation : float or None
        Wavelengths in nm.
    """

    name: str = ""
    colour: str = ""
    limits: tuple[float, float] | None = None
    table: Array | None = None
    emission: float | None = None
    excitation: float | None = None


@dataclass(frozen=True, kw_only=True)
class Function:
    """ImageJ's calibration function, from the whole numbers in a file to the values that it shows.

    Attributes
    ----------
    code : int
        As in ``ij.measure.Calibration``: 0 for a straight line, 1 to 3 for polynomials, and so on.
    coefficients : tuple of float
    """

    code: int
    coefficients: tuple[float, ...]

    @property
    def known(self) -> bool:
        """True if it can be computed here."""
        return self.code in _FORMULAS and len(self.coefficients) >= _FORMULAS[self.code][0]

    def __call__(self, values: npt.ArrayLike) -> Array:
        """The values that are shown."""
        with np.errstate(all="ignore"):  # logarithms and powers of what is below 0
            return np.asarray(_FORMULAS[self.code][1](values, *self.coefficients))


#: ImageJ's code -> number of coefficients, and formula: ``ij.measure.CurveFitter``.
_FORMULAS: dict[int, tuple[int, Callable[..., Any]]] = {
    **{code: (code + 2, lambda x, *c: np.polynomial.polynomial.polyval(x, c)) for code in range(4)},
    4: (2, lambda x, a, b, *_: a * np.exp(b * x)),
    5: (2, lambda x, a, b, *_: a * x**b),
    6: (2, lambda x, a, b, *_: a * np.log(b * x)),
    7: (4, lambda x, a, b, c, d, *_: d + (a - d) / (1 + (x / c) ** b)),
    11: (3, lambda x, a, b, c, *_: a * np.exp(-b * x) + c),
}


def moved(channels: tuple[Channel, ...], function: Callable[[float], Any]) -> tuple[Channel, ...]:
    """Channels of values that a function has changed."""

    def limits(each: Channel) -> tuple[float, float] | None:
        return None if each.limits is None else (float(function(each.limits[0])), float(function(each.limits[1])))

    return tuple(replace(each, limits=limits(each)) for each in channels)


def plain(channel: Channel) -> dict[str, Any]:
    """A channel, as far as it is known, fit for JSON."""
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in vars(channel).items()
        if isinstance(value, np.ndarray) or value not in ("", None)
    }


def channels_in(sheet: Any) -> tuple[Channel, ...]:
    """Channels that `Picture.sheet` wrote down."""
    found = []
    for each in sheet if isinstance(sheet, (list, tuple)) else ():
        known = {name: each[name] for name in ("name", "colour", "emission", "excitation") if name in each}
        if "limits" in each:
            known["limits"] = tuple(map(float, each["limits"]))
        if "table" in each:
            known["table"] = np.asarray(each["table"], np.uint8)
        found.append(Channel(**known))
    return tuple(found)
