"""Quantities that are derived from vitals and observations, and that rules may look at. Pure.

``any_*`` is the best source that is fresh: an arterial line before a cuff, ECG before pleth.
``*_trend`` is the difference from the patient's own baseline, a mean over hours.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quantity:
    """A derived quantity: its unit and what people call it."""

    name: str
    unit: str
    zh: str
    en: str
    decimals: int = 0


SOURCES: dict[str, tuple[str, ...]] = {
    "any_hr": ("hr", "pr", "abp_pr"),
    "any_rr": ("rr", "awrr"),
    "any_sbp": ("abp_sys", "nibp_sys", "bp_sys"),
    "any_map": ("abp_mean", "nibp_mean", "bp_mean"),
}
"""Which vitals stand for a quantity, best first."""

TRENDS: dict[str, str] = {
    "hr_trend": "any_hr",
    "rr_trend": "any_rr",
    "sbp_trend": "any_sbp",
    "map_trend": "any_map",
    "spo2_trend": "spo2",
}
"""What each trend follows. SpO2 in points, the others in percent."""

QUANTITIES: dict[str, Quantity] = {
    q.name: q
    for q in (
        Quantity("any_hr", "/min", "心率", "Heart rate"),
        Quantity("any_rr", "/min", "呼吸频率", "Respiratory rate"),
        Quantity("any_sbp", "mm[Hg]", "收缩压", "Systolic pressure"),
        Quantity("any_map", "mm[Hg]", "平均动脉压", "Mean arterial pressure"),
        Quantity("hr_trend", "%", "心率较基线变化", "Heart rate against own baseline"),
        Quantity("rr_trend", "%", "呼吸频率较基线变化", "Respiratory rate against own baseline"),
        Quantity("sbp_trend", "%", "收缩压较基线变化", "Systolic pressure against own baseline"),
        Quantity("map_trend", "%", "平均动脉压较基线变化", "Mean pressure against own baseline"),
        Quantity("spo2_trend", "%", "血氧较基线变化", "SpO₂ against own baseline"),
        Quantity("shock_index", "", "休克指数", "Shock index", 2),
        Quantity("modified_shock_index", "", "改良休克指数", "Modified shock index", 2),
        Quantity("news2", "{score}", "NEWS2", "NEWS2"),
        Quantity("mews_subbe2001", "{score}", "MEWS(Subbe 2001)", "MEWS (Subbe 2001)"),
        Quantity("qsofa", "{score}", "qSOFA", "qSOFA"),
        Quantity("sirs_bedside", "{score}", "SIRS(床旁部分)", "SIRS (bedside part)"),
    )
}
