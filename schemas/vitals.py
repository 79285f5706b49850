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


def _rare(  # noqa: PLR0913 - what a vital is
    name: str,
    unit: str,
    bounds: tuple[float, float],
    words: tuple[str, str],
    mdc: int | None = None,
    *,
    loinc: str | None = None,
    decimals: int = 0,
    interval_s: float = 1,
) -> Vital:
    low, high = bounds
    unit_zh = {"/min": "次/分", "Cel": "℃", "mm[Hg]": "mmHg", "cm[H2O]": "cmH₂O"}.get(unit, unit)
    return Vital(name, unit, low, high, interval_s, *words, unit_zh, mdc, loinc, decimals)


_LEADS = (
    *(("i", "I", 131841), ("ii", "II", 131842), ("iii", "III", 131901), ("avr", "aVR", 131902)),
    *(("avl", "aVL", 131903), ("avf", "aVF", 131904), ("v1", "V1", 131843), ("v2", "V2", None)),
    *(("v3", "V3", None), ("v4", "V4", None), ("v5", "V5", None), ("v6", "V6", None)),
    ("v", "V", None),
)
RARE: tuple[Vital, ...] = (
    _rare("rr_pleth", "/min", (0, 150), ("呼吸频率(脉搏波)", "Resp. rate (pleth)"), 151658),
    _rare("rr_airflow", "/min", (0, 150), ("呼吸频率(气流)", "Resp. rate (airflow)"), 151570),
    _rare("rr_acoustic", "/min", (0, 150), ("呼吸频率(声学)", "Resp. rate (acoustic)"), 151650),
    _rare("vent_rr", "/min", (0, 150), ("呼吸频率(呼吸机)", "Resp. rate (ventilator)"), 151586),
    _rare("vent_rr_spont", "/min", (0, 150), ("自主呼吸频率", "Spontaneous resp. rate"), 152498),
    *(
        _rare(name, "Cel", (15, 46), words, mdc, loinc=loinc, decimals=1, interval_s=60)
        for name, words, mdc, loinc in (
            ("temp_2", ("体温 2", "Temperature 2"), 150344, None),
            ("temp_3", ("体温 3", "Temperature 3"), 150344, None),
            ("temp_4", ("体温 4", "Temperature 4"), 150344, None),
            ("temp_core", ("核心温度", "Core temperature"), 150368, "8329-5"),
            ("temp_skin", ("皮肤温度", "Skin temperature"), 150388, "39106-0"),
            ("temp_tympanic", ("耳温", "Tympanic temperature"), 150392, None),
            ("temp_rectal", ("直肠温度", "Rectal temperature"), 188420, None),
            ("temp_oral", ("口腔温度", "Oral temperature"), 188424, None),
            ("temp_axilla", ("腋下温度", "Axillary temperature"), 188452, None),
            ("temp_blood", ("血液温度", "Blood temperature"), None, None),
        )
    ),
    _rare("temp_diff", "Cel", (-25, 25), ("温差", "Temperature difference"), decimals=1),
    *(
        _rare(f"{site}_{part}", "mm[Hg]", (0, 320), (f"{zh}{zh_part}", f"{en} {part}"), mdc)
        for site, zh, en, base in (
            ("ao", "主动脉", "Aortic", 150028),
            ("uap", "脐动脉", "Umbilical artery", 150056),
            ("fap", "股动脉", "Femoral artery", None),
        )
        for i, (part, zh_part) in enumerate(
            (("sys", "收缩压"), ("dia", "舒张压"), ("mean", "平均压")), start=1
        )
        for mdc in (None if base is None else base + i,)
    ),
    _rare("abp_2_sys", "mm[Hg]", (20, 320), ("有创收缩压 2", "ABP 2 systolic")),
    _rare("abp_2_dia", "mm[Hg]", (5, 250), ("有创舒张压 2", "ABP 2 diastolic")),
    _rare("abp_2_mean", "mm[Hg]", (5, 280), ("有创平均压 2", "ABP 2 mean")),
    _rare("fico2", "mm[Hg]", (0, 100), ("吸入二氧化碳", "Inspired CO₂"), 151716),
    _rare("eto2", "%", (0, 100), ("呼末氧浓度", "End-tidal O₂")),
    _rare("icp", "mm[Hg]", (-20, 100), ("颅内压", "ICP")),
    _rare("cpp", "mm[Hg]", (-20, 200), ("脑灌注压", "CPP")),
    _rare("lap", "mm[Hg]", (-20, 60), ("左房压", "LAP")),
    _rare("rap", "mm[Hg]", (-20, 60), ("右房压", "RAP")),
    _rare("pip", "cm[H2O]", (-20, 120), ("气道峰压", "Peak airway pressure"), 151973),
    _rare("pplat", "cm[H2O]", (-20, 120), ("平台压", "Plateau pressure"), 152424),
    _rare("paw_mean", "cm[H2O]", (-20, 120), ("平均气道压", "Mean airway pressure"), 151975),
    _rare("mv", "L/min", (0, 60), ("分钟通气量", "Minute volume"), decimals=1),
    _rare("co", "L/min", (0, 30), ("心输出量", "Cardiac output"), decimals=1),
    _rare("ci", "L/min/m2", (0, 20), ("心指数", "Cardiac index"), decimals=1),
    _rare("bis", "1", (0, 100), ("脑电双频指数", "BIS")),
    _rare("svo2", "%", (0, 100), ("混合静脉血氧饱和度", "SvO₂")),
    _rare("sphb", "g/dL", (0, 30), ("血红蛋白(无创)", "SpHb"), decimals=1),
    _rare("pvi", "%", (0, 100), ("脉搏灌注变异指数", "PVI")),
    _rare("gcs", "{score}", (3, 15), ("格拉斯哥昏迷评分", "GCS"), 153728, loinc="9269-2"),
    _rare("pause_rate", "/min", (0, 200), ("停搏次数", "Pauses")),
    _rare("vpb_rate", "/min", (0, 200), ("室早次数", "Ventricular premature beats")),
    _rare("couplet_rate", "/min", (0, 200), ("成对室早", "PVC couplets")),
    _rare("missed_beat_rate", "/min", (0, 200), ("漏搏", "Missed beats")),
    _rare("ront_rate", "/min", (0, 200), ("R-on-T", "R-on-T beats")),
    _rare("sv_beats", "1", (0, 300), ("室上性搏动", "Supraventricular beats"), 148216),
    _rare("height", "cm", (20, 260), ("身高", "Height")),
    _rare("weight", "kg", (0.2, 400), ("体重", "Weight"), decimals=1),
    *(
        _rare(f"st_{lead}", "mV", (-2, 2), (f"ST段 {label}", f"ST {label}"), mdc, decimals=2)
        for lead, label, mdc in _LEADS
    ),
)
"""Vitals that are known and kept in the narrow table: what gateways make of monitors' codes."""

VITALS: dict[str, Vital] = {v.name: v for v in COMMON}
KNOWN: dict[str, Vital] = VITALS | {v.name: v for v in RARE}
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
