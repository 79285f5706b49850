"""One sentence for people, in Chinese and English: bed, value, limit, duration. No patient name."""

from alerts.rules import LimitRule, SilenceRule
from schemas.times import S
from schemas.vitals import VITALS

Label = tuple[str, str]
"""What people call a bed, zh and en."""


def _number(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}"


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


def limit_sentence(rule: LimitRule, label: Label, value: float, lasted_ns: int) -> tuple[str, str]:
    """Return the sentence of a limit alert that fires."""
    vital = VITALS[rule.vital]
    zh_for, en_for = _duration(lasted_ns)
    shown, limit = _number(value, vital.decimals), _number(rule.trigger, vital.decimals)
    zh_side, en_side = ("高于", "above") if rule.above else ("低于", "below")
    zh = f"{label[0]}：{rule.zh}，{vital.zh} {shown} {vital.unit_zh}，{zh_side}报警限 {limit}"
    en = (
        f"{label[1]}: {rule.en}, {vital.en} {shown} {_unit_en(vital.unit)}, {en_side} limit {limit}"
    )
    if lasted_ns >= S:
        return f"{zh}，已持续 {zh_for}", f"{en}, for {en_for}"
    return zh, en


def _unit_en(unit: str) -> str:
    return {"/min": "/min", "mm[Hg]": "mmHg", "Cel": "°C", "cm[H2O]": "cmH₂O"}.get(unit, unit)


def silence_sentence(
    rule: SilenceRule, label: Label, silent_ns: int, *, offline: bool
) -> tuple[str, str]:
    """Return the sentence of a silent bed."""
    zh_for, en_for = _duration(silent_ns)
    zh_why, en_why = ("，设备离线", ", device offline") if offline else ("", "")
    return (
        f"{label[0]}：{rule.zh}，已 {zh_for} 未收到读数{zh_why}",
        f"{label[1]}: {rule.en}, nothing received for {en_for}{en_why}",
    )


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
