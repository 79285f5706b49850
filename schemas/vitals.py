"""The one table of vitals: names, units, codes, plausible ranges, labels.

Codes: ISO/IEEE 11073-10101 (MDC) numbers and LOINC, units in UCUM. A code that could not be
verified is None, never a guess. HR, PR and NIBP-PR never merge, nor ABP and NIBP; ``bp_*`` is
for sources that have merged them already.
"""

from dataclasses import dataclass
from enum import StrEnum


class Quality(StrEnum):
    """Whether a value may be judged and averaged, and if not, why. Only ``ok`` is usable."""

    OK = "ok"
    MISSING = "missing"
    SENTINEL = "sentinel"
    OUT_OF_RANGE = "out_of_range"
    FROZEN = "frozen"
    JUMP = "jump"
    CONTESTED = "contested"
    CONTRADICTED = "contradicted"
    QUESTIONABLE = "questionable"
    WEAK = "weak"
    SENSOR_OFF = "sensor_off"
    CALIBRATING = "calibrating"
    FLUSH = "flush"


QUALITY_CODE: dict[Quality, int] = {q: i for i, q in enumerate(Quality)}
"""The 4-bit code of each quality in the packed ``status`` column."""

DEVICE_QUALITIES = frozenset(
    {
        Quality.OK,
        Quality.MISSING,
        Quality.QUESTIONABLE,
        Quality.WEAK,
        Quality.SENSOR_OFF,
        Quality.CALIBRATING,
    }
)
"""The qualities that a device may report itself; the others are the hub's own judgement."""

SENTINELS = frozenset({-100.0, -1.0, -10000.0, -999.0, -99.9, 32767.0})
"""Numbers that monitors send for "no value" (Mindray, XH80x and others)."""


@dataclass(frozen=True, slots=True)
class Vital:
    """One vital sign: identity, codes, and what a value of it may look like.

    ``low``/``high`` bound the plausible range (inclusive); outside it a value is kept but never
    judged. ``interval_s`` is how often it is measured, from which staleness follows.
    ``frozen_after_s`` is how long an exactly constant value stays believable (None: for ever).
    ``max_jump`` is the largest believable change between two readings within 10 s.
    """

    name: str
    unit: str
    low: float
    high: float
    interval_s: float
    zh: str
    en: str
    unit_zh: str
    mdc: int | None = None
    loinc: str | None = None
    decimals: int = 0
    frozen_after_s: float | None = None
    max_jump: float | None = None


def _bp(
    prefix: str,
    zh: str,
    en: str,
    interval_s: float,
    mdc: tuple[int | None, ...],
    loinc: tuple[str | None, ...],
    frozen_s: float | None,
) -> tuple[Vital, Vital, Vital]:
    parts = (
        ("sys", "收缩压", "systolic", 20.0, 320.0),
        ("dia", "舒张压", "diastolic", 5.0, 250.0),
        ("mean", "平均压", "mean", 5.0, 280.0),
    )
    sys, dia, mean = (
        Vital(
            f"{prefix}_{part}",
            "mm[Hg]",
            low,
            high,
            interval_s,
            f"{zh}{zh_part}",
            f"{en} {en_part}",
            "mmHg",
            mdc[i],
            loinc[i],
            frozen_after_s=frozen_s,
        )
        for i, (part, zh_part, en_part, low, high) in enumerate(parts)
    )
    return sys, dia, mean


COMMON: tuple[Vital, ...] = (
    Vital(
        "hr", "/min", 0, 350, 1, "心率", "Heart rate", "次/分", 147842, "8867-4", frozen_after_s=900
    ),
    Vital("pr", "/min", 1, 350, 1, "脉率", "Pulse rate", "次/分", 149530, "8889-8"),
    Vital("spo2", "%", 10, 100, 1, "血氧饱和度", "SpO₂", "%", 150456, "59408-5"),
    Vital("pi", "%", 0, 30, 1, "灌注指数", "Perfusion index", "%", 150488, "61006-3", decimals=1),
    Vital("rr", "/min", 0, 150, 1, "呼吸频率", "Respiratory rate", "次/分", 151562, "9279-1"),
    *_bp("abp", "有创", "ABP", 1, (150037, 150038, 150039), ("76215-3", "76213-8", "76214-6"), 180),
    *_bp(
        "nibp", "无创", "NIBP", 1800, (150021, 150022, 150023), ("8480-6", "8462-4", "8478-0"), None
    ),
    Vital(
        "temp",
        "Cel",
        20,
        46,
        60,
        "体温",
        "Temperature",
        "℃",
        150344,
        "8310-5",
        decimals=1,
        max_jump=3.0,
    ),
    Vital("etco2", "mm[Hg]", 0, 150, 1, "呼末二氧化碳", "etCO₂", "mmHg", 151708, "19891-1"),
    Vital("cvp", "mm[Hg]", -20, 60, 1, "中心静脉压", "CVP", "mmHg", 150087, "60985-9"),
    Vital(
        "awrr", "/min", 0, 150, 1, "呼吸频率(CO₂)", "Resp. rate (CO₂)", "次/分", 151594, "9279-1"
    ),
    *_bp("bp", "血压", "BP", 3600, (None, None, None), ("8480-6", "8462-4", "8478-0"), None),
    *_bp("pap", "肺动脉", "PAP", 1, (None, None, None), (None, None, None), None),
    Vital(
        "abp_pr", "/min", 1, 350, 1, "脉率(动脉压)", "Pulse rate (ABP)", "次/分", 149522, "8867-4"
    ),
    Vital(
        "nibp_pr",
        "/min",
        1,
        350,
        1800,
        "脉率(无创血压)",
        "Pulse rate (NIBP)",
        "次/分",
        149546,
        "8867-4",
    ),
    Vital("fio2", "%", 15, 100, 60, "吸入氧浓度", "FiO₂", "%", 152196, "3150-6"),
    Vital("peep", "cm[H2O]", 0, 60, 60, "呼末正压", "PEEP", "cmH₂O", 151976, "76248-4"),
    Vital("vt", "mL", 0, 3000, 10, "潮气量", "Tidal volume", "mL", 151980, "76222-9"),
    Vital("pvc", "/min", 0, 200, 10, "室性早搏", "PVC rate", "次/分", 148066),
)
"""Vitals with a column of their own, in the order of their nibble in the status columns. Append
only; with a migration that adds the columns. Any other vital is kept in a narrow table."""

VITALS: dict[str, Vital] = {v.name: v for v in COMMON}
COMMON_NAMES: tuple[str, ...] = tuple(v.name for v in COMMON)
COMMON_SLOT: dict[str, int] = {name: i for i, name in enumerate(COMMON_NAMES)}


NIBBLES = 15
"""Qualities in one status column: 4 bits each, and the sign bit stays clear."""


def pack_status(flags: dict[str, Quality]) -> tuple[int | None, int | None]:
    """Return the qualities of the common vitals as the two status columns; None when all ok.

    >>> pack_status({"pr": Quality.SENTINEL})
    (32, None)
    >>> pack_status({})
    (None, None)
    """
    packed = [0, 0]
    for name, quality in flags.items():
        slot = COMMON_SLOT.get(name)
        if slot is not None:
            column, nibble = divmod(slot, NIBBLES)
            packed[column] |= QUALITY_CODE[quality] << (4 * nibble)
    return packed[0] or None, packed[1] or None


def unpack_status(*columns: int | None) -> dict[str, Quality]:
    """Return the not-ok qualities in status columns: the inverse of :func:`pack_status`.

    >>> unpack_status(32, None)
    {'pr': <Quality.SENTINEL: 'sentinel'>}
    """
    qualities = tuple(Quality)
    out = {}
    for name, slot in COMMON_SLOT.items():
        column, nibble = divmod(slot, NIBBLES)
        code = (columns[column] or 0) >> (4 * nibble) & 15
        if code:
            out[name] = qualities[code]
    return out
