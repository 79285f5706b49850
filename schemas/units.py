"""Units as devices name them, and into the unit that Vigil keeps a vital in. Pure.

A unit that cannot be turned into the vital's own is refused: a number in the wrong unit is worse
than none.
"""

from schemas.errors import DecodeError

FACTORS: dict[tuple[str, str], tuple[float, float]] = {
    ("kPa", "mm[Hg]"): (7.500617, 0.0),
    ("Pa", "mm[Hg]"): (0.007500617, 0.0),
    ("hPa", "mm[Hg]"): (0.7500617, 0.0),
    ("mbar", "mm[Hg]"): (0.7500617, 0.0),
    ("cm[H2O]", "mm[Hg]"): (0.7355592, 0.0),
    ("mm[Hg]", "cm[H2O]"): (1.359510, 0.0),
    ("kPa", "cm[H2O]"): (10.19716, 0.0),
    ("hPa", "cm[H2O]"): (1.019716, 0.0),
    ("mbar", "cm[H2O]"): (1.019716, 0.0),
    ("[degF]", "Cel"): (5 / 9, -160 / 9),
    ("K", "Cel"): (1.0, -273.15),
    ("L", "mL"): (1000.0, 0.0),
    ("mL", "L"): (0.001, 0.0),
    ("L/min", "mL/min"): (1000.0, 0.0),
    ("mL/min", "L/min"): (0.001, 0.0),
    ("uV", "mV"): (0.001, 0.0),
    ("mm", "mV"): (0.1, 0.0),
    ("ms", "s"): (0.001, 0.0),
    ("s", "ms"): (1000.0, 0.0),
    ("g", "kg"): (0.001, 0.0),
    ("[lb_av]", "kg"): (0.45359237, 0.0),
    ("m", "cm"): (100.0, 0.0),
    ("[in_i]", "cm"): (2.54, 0.0),
    ("{fraction}", "%"): (100.0, 0.0),
}
"""From a unit to another: ``value * factor + offset``. An ECG's mm is at 10 mm/mV."""
SAME: dict[str, frozenset[str]] = {
    "/min": frozenset({"{beats}/min", "{breaths}/min", "1/min"}),
    "mbar": frozenset({"hPa"}),
}


def convert(value: float, unit: str, to: str) -> float:
    """Return a value in another unit; raise DecodeError when there is no way from one to the other.

    >>> round(convert(98.6, "[degF]", "Cel"), 3), convert(2.0, "kPa", "mm[Hg]")
    (37.0, 15.001)
    """
    if unit == to or unit in SAME.get(to, ()):
        return value
    way = FACTORS.get((unit, to))
    if way is None:
        raise DecodeError("unit", f"{unit} cannot be turned into {to}")
    return round(value * way[0] + way[1], 3)
