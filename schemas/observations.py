"""What only people observe: consciousness, oxygen, GCS, urine. Names, ranges, how long they hold.

An observation that is older than ``valid_s`` has expired: it is shown with its age and no score
uses it. The times are settings of a design, to be agreed by each unit.
"""

from dataclasses import dataclass

ACVPU = ("A", "C", "V", "P", "U")


@dataclass(frozen=True, slots=True)
class Observation:
    """One kind of observation. ``choices``: letters, coded by their place; else a number."""

    name: str
    unit: str
    low: float
    high: float
    valid_s: float
    zh: str
    en: str
    choices: tuple[str, ...] = ()


OBSERVATIONS: dict[str, Observation] = {
    o.name: o
    for o in (
        Observation("acvpu", "", 0, 4, 6 * 3600, "意识(ACVPU)", "Consciousness (ACVPU)", ACVPU),
        Observation("on_oxygen", "", 0, 1, 12 * 3600, "吸氧", "On oxygen", ("0", "1")),
        Observation("fio2", "%", 21, 100, 12 * 3600, "吸入氧浓度", "FiO₂"),
        Observation("gcs", "{score}", 3, 15, 6 * 3600, "格拉斯哥昏迷评分", "GCS"),
        Observation("urine", "mL", 0, 5000, 2 * 3600, "尿量", "Urine output"),
        Observation("temp", "Cel", 20, 46, 8 * 3600, "体温", "Temperature"),
        Observation("rr", "/min", 0, 150, 3600, "呼吸频率", "Respiratory rate"),
    )
}


def code(name: str, value: float | str | bool) -> float:  # noqa: FBT001 - JSON's own types
    """Return an observed value as a number; raise ValueError naming field and fix.

    >>> code("acvpu", "V"), code("on_oxygen", True), code("gcs", 14)
    (2.0, 1.0, 14.0)
    """
    kind = OBSERVATIONS.get(name)
    if kind is None:
        raise ValueError(f"{name[:40]!r} is no observation; one of {', '.join(OBSERVATIONS)}")
    if kind.choices:
        text = str(int(value)) if isinstance(value, bool | int | float) else value.upper()
        if text not in kind.choices:
            raise ValueError(f"{name}: {text[:20]!r} is not one of {', '.join(kind.choices)}")
        return float(kind.choices.index(text))
    if isinstance(value, str | bool):
        raise ValueError(f"{name}: {str(value)[:20]!r} is not a number")  # noqa: TRY004
    if not kind.low <= value <= kind.high:
        raise ValueError(f"{name}: {value:g} is not within {kind.low:g}-{kind.high:g} {kind.unit}")
    return float(value)
