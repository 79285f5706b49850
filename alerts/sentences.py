"""One sentence for people, in Chinese and English: bed, value, limit, duration. No patient name."""

from collections.abc import Mapping

from alerts.quantities import QUANTITIES
from alerts.rules import Kind, Rule, Term
from schemas.times import S
from schemas.vitals import VITALS

Label = tuple[str, str]
"""What people call a bed, zh and en."""

_UNITS = {
    "/min": ("次/分", "/min"),
    "mm[Hg]": ("mmHg", "mmHg"),
    "Cel": ("℃", "°C"),
    "cm[H2O]": ("cmH₂O", "cmH₂O"),
    "{score}": ("分", "points"),
}


def _duration(duration_ns: int) -> tuple[str, str]:
    """Return a duration in words, zh and en.

    >>> _duration(75 * S)
    ('1分15秒', '1 min 15 s')
    """
    seconds = max(0, round(duration_ns / S))
    if seconds < 60:
        return f"{seconds}秒", f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        tail = (f"{seconds}秒", f" {seconds} s") if seconds else ("", "")
        return f"{minutes}分{tail[0]}", f"{minutes} min{tail[1]}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}小时{minutes}分", f"{hours} h {minutes} min"


def names(quantity: str) -> tuple[str, str, str, str, int]:
    """Return a quantity's zh and en name, zh and en unit, and decimals."""
    known = VITALS.get(quantity) or QUANTITIES.get(quantity)
    if known is None:
        return quantity, quantity, "", "", 0
    unit_zh, unit_en = _UNITS.get(known.unit, (known.unit, known.unit))
    return known.zh, known.en, unit_zh, unit_en, known.decimals


def _spaced(number: str, unit: str) -> str:
    return f"{number} {unit}".rstrip()


def _term(term: Term, value: float | None) -> tuple[str, str]:
    zh, en, unit_zh, unit_en, decimals = names(term.of)
    side_zh, side_en = ("高于", "above") if term.above else ("低于", "below")
    signed = "+" if term.of.endswith("_trend") else ""
    shown = "?" if value is None else f"{value:{signed}.{decimals}f}"
    limit = f"{term.trigger:{signed}.{decimals}f}"
    return (
        f"{zh} {_spaced(shown, unit_zh)}，{side_zh}报警限 {limit}",
        f"{en} {_spaced(shown, unit_en)}, {side_en} limit {limit}",
    )


def _over(rule: Rule, label: Label, values: Mapping[str, float], lasted_ns: int) -> tuple[str, str]:
    """Return the sentence of an alert whose condition is over."""
    zh, en = f"{label[0]}：{rule.zh} 已恢复", f"{label[1]}: {rule.en}: over"
    for of, value in values.items():
        zh_name, en_name, unit_zh, unit_en, decimals = names(of)
        zh += f"，{zh_name} {_spaced(f'{value:.{decimals}f}', unit_zh)}"
        en += f", {en_name} {_spaced(f'{value:.{decimals}f}', unit_en)}"
    zh_for, en_for = _duration(lasted_ns)
    return f"{zh}，共持续 {zh_for}", f"{en}, lasted {en_for}"


def rule_sentence(
    rule: Rule, label: Label, values: Mapping[str, float], lasted_ns: int, *, over: bool = False
) -> tuple[str, str]:
    """Return the sentence of an alert that a rule on values fires, or that is over."""
    if over:
        return _over(rule, label, values, lasted_ns)
    if rule.kind is Kind.SCORE:
        term = rule.terms[0]
        zh_name, en_name, *_ = names(term.of)
        least = f"{term.trigger + 0.5:g}"
        parts = [
            (
                f"{zh_name} {values[term.of]:g} 分，达到 {least} 分",
                f"{en_name} {values[term.of]:g}, {least} or more",
            )
        ]
    else:
        parts = [_term(term, values.get(term.of)) for term in rule.terms]
    zh = f"{label[0]}：{rule.zh}，" + "；".join(part[0] for part in parts)
    en = f"{label[1]}: {rule.en}, " + "; ".join(part[1] for part in parts)
    if lasted_ns >= S:
        zh_for, en_for = _duration(lasted_ns)
        return f"{zh}，已持续 {zh_for}", f"{en}, for {en_for}"
    return zh, en


def technical_sentence(
    rule: Rule, label: Label, vital: str, value: float | None, lasted_ns: int, *, over: bool = False
) -> tuple[str, str]:
    """Return the sentence of a signal that cannot be trusted; ``value``: what it showed."""
    if over:
        return _over(rule, label, {}, lasted_ns)
    zh_name, en_name, unit_zh, unit_en, decimals = names(vital)
    zh, en = f"{label[0]}：{rule.zh}（{zh_name}）", f"{label[1]}: {rule.en} ({en_name})"
    if value is not None:
        shown = f"{value:.{decimals}f}"
        zh += f"，显示 {_spaced(shown, unit_zh)}，不可信"
        en += f", showing {_spaced(shown, unit_en)}, not trusted"
    if lasted_ns >= S:
        zh_for, en_for = _duration(lasted_ns)
        return f"{zh}，已持续 {zh_for}", f"{en}, for {en_for}"
    return zh, en


def silence_sentence(rule: Rule, label: Label, silent_ns: int, *, offline: bool) -> tuple[str, str]:
    """Return the sentence of a silent bed."""
    zh_for, en_for = _duration(silent_ns)
    zh_why, en_why = ("，设备离线", ", device offline") if offline else ("", "")
    return (
        f"{label[0]}：{rule.zh}，已 {zh_for} 未收到读数{zh_why}",
        f"{label[1]}: {rule.en}, nothing received for {en_for}{en_why}",
    )


def device_silence_sentence(
    rule: Rule, label: Label, device: str, silent_ns: int
) -> tuple[str, str]:
    """Return the sentence of a device that fell silent on a bed where others go on."""
    zh_for, en_for = _duration(silent_ns)
    return (
        f"{label[0]}：{rule.zh}（{device}），已 {zh_for} 未收到",
        f"{label[1]}: {rule.en} ({device}), nothing received for {en_for}",
    )


def hospital_sentence(rule: Rule, label: Label, silent: int, beds: int) -> tuple[str, str]:
    """Return the sentence of a hospital whose beds have fallen silent together."""
    return (
        f"{label[0]}：{rule.zh}，{beds} 张床中 {silent} 张无数据，请检查线路或电源",
        f"{label[1]}: {rule.en}, {silent} of {beds} beds silent; check line and power",
    )


def no_receiver_sentence(label: Label) -> tuple[str, str]:
    """Return the sentence of a unit where nobody would hear an alert."""
    return (
        f"{label[0]}：没有已连接的报警接收端，报警将直接升级",
        f"{label[1]}: no receiver is connected; alerts go up the ladder at once",
    )


def line_sentence(label: Label) -> tuple[str, str]:
    """Return the sentence of a hospital that judges for itself and is no longer heard."""
    return (
        f"{label[0]}：线路中断，远程看不到新数据；该院仍在本地报警",
        f"{label[1]}: the line is cut, nothing new is seen here; it goes on alerting its own ward",
    )


def pause_sentence(label: Label, kind: str, by: str, lasts_ns: int) -> tuple[str, str]:
    """Return the sentence of a pause: ``audio_paused`` or ``alarm_paused``."""
    zh, en = {
        "audio_paused": ("声音暂停", "audio paused"),
        "alarm_paused": ("报警暂停", "alarm paused"),
    }[kind]
    zh_for, en_for = _duration(lasts_ns)
    return f"{label[0]}：{zh} {zh_for}（{by}）", f"{label[1]}: {en} for {en_for} ({by})"


def standby_sentence(label: Label, over_ns: int) -> tuple[str, str]:
    """Return the sentence of a patient who should be back."""
    zh_for, en_for = _duration(over_ns)
    zh_late, en_late = (
        (f"，已超时 {zh_for}", f", overdue by {en_for}") if over_ns >= S else ("", "")
    )
    return (
        f"{label[0]}：外出待机已到返回时间{zh_late}，请确认患者去向",
        f"{label[1]}: standby is over{en_late}; confirm where the patient is",
    )


def monitor_sentence(label: Label, zh: str, en: str) -> tuple[str, str]:
    """Return the sentence of the monitor's own alarm."""
    return f"{label[0]}：监护仪报警：{zh}", f"{label[1]}: monitor alarm: {en}"


def clock_sentence(label: Label, offset_ns: int) -> tuple[str, str]:
    """Return the sentence of a device whose clock is off. Positive: the device is behind."""
    zh_by, en_by = _duration(abs(offset_ns))
    zh_side, en_side = ("慢", "behind") if offset_ns > 0 else ("快", "ahead")
    return (
        f"{label[0]}：设备时钟偏差，比系统{zh_side} {zh_by}，请校时",
        f"{label[1]}: device clock is {en_by} {en_side} of the hub; set it",
    )


def contested_sentence(label: Label, device: str, owner: str) -> tuple[str, str]:
    """Return the sentence of a bed that two devices claim."""
    return (
        f"{label[0]}：两台设备同时上报本床（{owner}、{device}），请核对床位",
        f"{label[1]}: two devices report this bed ({owner}, {device}); check which belongs here",
    )
