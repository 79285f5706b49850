"""A monitor's words for an alarm, as the stable names that Vigil's rules know. Pure.

``asystole``, ``vf``, ``vt`` and ``apnoea`` are extreme; a limit alarm is ``VITAL_high`` or
``VITAL_low``; ``lead_off``, ``sensor_off`` and the like are technical. What is in no list keeps its
own words as its name.
"""

import re

from ingest.hl7.codes import nomenclature
from schemas.alerts import Priority

PHASES = {
    "start": ("start",),
    "present": ("start",),
    "continue": ("continue",),
    "update": ("update",),
    "escalate": ("update",),
    "de-escalate": ("update",),
    "deescalate": ("update",),
    "reset": ("end",),
    "stop": ("end",),
    "end": ("end",),
    "tpoint": ("start", "end"),
}
"""IHE ACM's event phases as ours. What lasts no time begins and ends at once."""
PRIORITIES = {"PH": Priority.HIGH, "PM": Priority.MEDIUM, "PL": Priority.LOW, "PN": Priority.LOW}
TYPES = {"SP": "physiological", "ST": "technical", "SA": "physiological"}
MDIL_ALERTS = {
    "1": (Priority.HIGH, "physiological"),
    "2": (Priority.MEDIUM, "physiological"),
    "5": (Priority.MEDIUM, "technical"),
    "6": (Priority.LOW, "technical"),
}
"""OBX-3.1 of Philips' MDIL-ALERT; others are medium."""
_NAMED = tuple(
    (re.compile(pattern, re.IGNORECASE), name)
    for pattern, name in (
        (r"asyst|心脏停搏|心搏停止|停搏报警", "asystole"),
        (r"v[-_ ]*fib|ventricular[-_ ]fib|室颤|心室颤动", "vf"),
        (r"\bv[-_ ]*tach?y?|vtac|ventricular[-_ ]tach|室速|室性心动过速", "vt"),
        (r"apn(o)?ea|窒息|呼吸暂停", "apnoea"),
        (r"extreme[-_ ]*brady|极度心动过缓", "extreme_brady"),
        (r"extreme[-_ ]*tach|极度心动过速", "extreme_tachy"),
        (r"(ecg|心电).*(lead|electrode)[-_ ]*off|心电.*(导联|电极).*脱落|_LEAD_OFF", "lead_off"),
        (r"(lead|electrode)[-_ ]*off|(导联|电极).*脱落", "lead_off"),
        (
            r"(spo2|血氧|pleth).*(sensor|probe).*off|(血氧|spo2).*(探头|传感器).*脱落",
            "spo2_sensor_off",
        ),
        (r"(sensor|probe|transducer).*off|(探头|传感器).*脱落", "sensor_off"),
        (r"batter(y|ies).*low|low.*batter|电池.*低|电量.*低", "battery_low"),
        (r"disconn|脱开|断开", "disconnected"),
        (r"no[-_ ]*pulse|无脉搏|脉搏.*(未|无)", "no_pulse"),
    )
)
_LIMIT = re.compile(
    r"^[*\s]*(?P<what>.+?)[\s_:-]*(?:is\s+)?(?:too\s+|extremely\s+)?"
    r"(?P<way>high|low|过高|过低|超上限|超下限|↑|↓)(?![a-z])",
    re.IGNORECASE,
)
_LIMIT_FIRST = re.compile(r"^[*\s]*(?P<way>high|low)\s+(?P<what>[^,;=]+)", re.IGNORECASE)
_HIGH = frozenset({"high", "过高", "超上限", "↑"})
LABELS: dict[str, str] = {
    "hr": "hr",
    "ecghr": "hr",
    "心率": "hr",
    "pr": "pr",
    "pulse": "pr",
    "脉率": "pr",
    "spo2": "spo2",
    "血氧": "spo2",
    "血氧饱和度": "spo2",
    "rr": "rr",
    "resp": "rr",
    "呼吸率": "rr",
    "呼吸频率": "rr",
    "呼吸": "rr",
    "nibps": "nibp_sys",
    "nibpsys": "nibp_sys",
    "nbps": "nibp_sys",
    "nibpd": "nibp_dia",
    "nibpdia": "nibp_dia",
    "nbpd": "nibp_dia",
    "nibpm": "nibp_mean",
    "nibpmean": "nibp_mean",
    "nibpmap": "nibp_mean",
    "nbpm": "nibp_mean",
    "无创收缩压": "nibp_sys",
    "无创舒张压": "nibp_dia",
    "无创平均压": "nibp_mean",
    "artsys": "abp_sys",
    "arts": "abp_sys",
    "abps": "abp_sys",
    "artdia": "abp_dia",
    "artd": "abp_dia",
    "abpd": "abp_dia",
    "artmean": "abp_mean",
    "artm": "abp_mean",
    "abpm": "abp_mean",
    "cvp": "cvp",
    "cvpmean": "cvp",
    "cvpm": "cvp",
    "中心静脉压": "cvp",
    "t1": "temp",
    "temp": "temp",
    "temp1": "temp",
    "体温": "temp",
    "etco2": "etco2",
    "呼末二氧化碳": "etco2",
    "awrr": "awrr",
    "fio2": "fio2",
    "icp": "icp",
}
"""Monitors' labels, without blanks and hyphens, in lower case."""


def alarm_name(text: str, refid: str = "", source: str = "") -> str:
    """Return the stable name of an alarm: of its words, its MDC name, and what it is about.

    >>> alarm_name("**SpO2 TOO HIGH"), alarm_name("Art-Sys TOO LOW"), alarm_name("***室颤")
    ('spo2_high', 'abp_sys_low', 'vf')
    """
    for words in (refid, text):
        for pattern, name in _NAMED:
            if words and pattern.search(words):
                return name
    vital = _vital(source)
    if vital and re.search(r"_HI(GH)?(_|$)", refid):
        return f"{vital}_high"
    if vital and re.search(r"_LOW?(_|$)", refid):
        return f"{vital}_low"
    found = _LIMIT.match(text) or _LIMIT_FIRST.match(text)
    if found is not None:
        label = re.sub(r"[\s_.-]", "", found["what"]).lower().replace("₂", "2")
        known = LABELS.get(label)
        if known is not None:
            return f"{known}_{'high' if found['way'].lower() in _HIGH else 'low'}"
    own = refid.removeprefix("MDC_EVT_").removeprefix("MDCX_EVT_") if refid else ""
    return plain(own or text)


def plain(text: str) -> str:
    """Return text as a name of 1-48 of a-z, 0-9, ``_``; Chinese as its code points' hash."""
    from hashlib import blake2b  # noqa: PLC0415 - rarely

    word = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:48].strip("_")
    if word:
        return word
    return "alarm_" + blake2b(text.strip().encode(), digest_size=4).hexdigest()


def _vital(source: str) -> str:
    """Return the vital that an alarm's source names, as ``150456^MDC_PULS_OXIM_SAT_O2^MDC``."""
    for part in re.split(r"[\^&]", source):
        table = nomenclature()
        term = table.by_refid.get(part) or (
            table.by_number.get(int(part)) if part.isdecimal() else None
        )
        if term is not None and term.kind == "metric":
            return term.means
    return ""


def stars(text: str) -> tuple[Priority | None, str]:
    """Return the priority that asterisks before an alarm's words tell, and the words alone.

    >>> stars("**SpO2 TOO HIGH")
    (<Priority.MEDIUM: 'medium'>, 'SpO2 TOO HIGH')
    """
    words = text.strip().lstrip("*!")
    count = len(text.strip()) - len(words)
    priority = {1: Priority.LOW, 2: Priority.MEDIUM, 3: Priority.HIGH}.get(count)
    return priority, words.strip()
