"""Which values may be judged? Sentinels, ranges, frozen and jumping values, contested beds.

A value that fails is kept with its reason and never reaches a rule or an average.
"""

from math import inf

from msgspec import Struct

from schemas.times import S
from schemas.vitals import SENTINELS, VITALS, Quality, Vital
from schemas.wire import Reading

CONTEST_NS = 60 * S
JUMP_NS = 10 * S
FROZEN_MIN_SAMPLES = 30


SUMMARY_S = 60.0
"""A device that sends this seldom sends summaries: there a rate of zero is how it says "none"."""


def _counts(vital: Vital) -> bool:
    """Return whether a vital is a rate of beats or breaths."""
    return vital.unit == "/min" and vital.name != "pvc"


class VitalState(Struct, array_like=True):
    """The last usable value of one vital on one bed: who sent it, when, since when unchanged.

    ``hub_ns``: when it was measured, by the hub's clock; not moved on by a frozen value.
    """

    device: str
    value: float
    measured_ns: int
    received_ns: int
    since_ns: int
    same: int
    hub_ns: int = 0


def _check(vital: Vital, value: float, last: VitalState | None, reading: Reading) -> Quality:
    if value in SENTINELS and value < vital.low:
        return Quality.SENTINEL
    if value == 0 and reading.interval_s >= SUMMARY_S and _counts(vital):
        return Quality.SENTINEL
    if not vital.low <= value <= vital.high:
        return Quality.OUT_OF_RANGE
    if last is None or last.device != reading.device:
        return Quality.OK
    elapsed = reading.measured_ns - last.measured_ns
    near = 0 < elapsed <= JUMP_NS
    if vital.max_jump is not None and near and abs(value - last.value) > vital.max_jump:
        return Quality.JUMP
    if (
        vital.frozen_after_s is not None
        and value == last.value
        and value > 0
        and last.same >= FROZEN_MIN_SAMPLES
        and reading.measured_ns - last.since_ns > vital.frozen_after_s * S
    ):
        return Quality.FROZEN
    return Quality.OK


def judge(states: dict[str, VitalState], reading: Reading) -> dict[str, Quality]:
    """Return a quality for every vital of ``reading`` that is not ok, and remember the rest.

    ``states`` is the bed's memory by vital. Two devices sending the same vital within 60 s
    contest the bed: the first keeps it, the other's value is flagged. The loop takes the ordinary
    case (same device, a plausible value that moves on) at once and leaves the rest to ``_judge``.
    """
    flags = reading.flags
    if "abp_sys" in reading.values and _is_flush(reading.values):
        flags = {n: Quality.FLUSH for n in _ABP if n in reading.values} | flags
    found: dict[str, Quality] = {}
    device, measured_ns, received_ns = reading.device, reading.measured_ns, reading.received_ns
    hub_ns = measured_ns + reading.offset_ns
    for name, value in reading.values.items():
        if flags and name in flags:
            continue
        last = states.get(name)
        if (
            last is not None
            and last.device == device
            and measured_ns >= last.measured_ns
            and (ordinary := _ORDINARY.get(name)) is not None
            and ordinary[0] <= value <= ordinary[1]
            and value  # a zero is looked at more closely
            and (value != last.value or last.same < ordinary[2])
        ):
            if value == last.value:
                last.same += 1
            else:
                last.value, last.since_ns, last.same = value, measured_ns, 1
            last.measured_ns, last.received_ns = measured_ns, received_ns
            last.hub_ns = hub_ns
        else:
            quality = _judge(states, name, value, last, reading)
            if quality is not Quality.OK:
                found[name] = quality
    if reading.values.get("hr") == 0 and "hr" not in flags and "hr" not in found:
        flags = flags | found if found else flags
        if _has_pulse(reading, flags):
            return flags | {"hr": Quality.CONTRADICTED}
        return flags
    return flags | found if found else flags


_ABP = ("abp_sys", "abp_dia", "abp_mean")
FLUSH_MMHG, FLUSH_PULSE_MMHG = 150.0, 10.0


def _is_flush(values: dict[str, float]) -> bool:
    """Return whether an arterial line shows its flush bag: high, and hardly any pulse."""
    systolic, diastolic = values["abp_sys"], values.get("abp_dia")
    return (
        diastolic is not None
        and diastolic > FLUSH_MMHG
        and abs(systolic - diastolic) < FLUSH_PULSE_MMHG
    )


_ORDINARY = {
    v.name: (v.low, v.high, inf if v.frozen_after_s is None else FROZEN_MIN_SAMPLES)
    for v in VITALS.values()
    if v.max_jump is None
}
"""Plausible range, and how often the same value may come before a closer look, by vital."""


def _judge(
    states: dict[str, VitalState],
    name: str,
    value: float,
    last: VitalState | None,
    reading: Reading,
) -> Quality:
    vital = VITALS.get(name)
    if vital is None:
        return Quality.OK  # kept as it is; nothing is known of it, and nothing remembered
    if (
        last is not None
        and last.device != reading.device
        and reading.received_ns - last.received_ns < CONTEST_NS
    ):
        return Quality.CONTESTED
    quality = _check(vital, value, last, reading)
    if quality in (Quality.OK, Quality.FROZEN):
        _remember(states, name, value, reading)
    if quality is Quality.OK:
        states[name].hub_ns = reading.measured_ns + reading.offset_ns
    return quality


def _remember(states: dict[str, VitalState], name: str, value: float, reading: Reading) -> None:
    last = states.get(name)
    if (
        last is None
        or last.device != reading.device
        or reading.measured_ns < last.measured_ns  # its clock was set back
    ):
        states[name] = VitalState(
            reading.device, value, reading.measured_ns, reading.received_ns, reading.measured_ns, 1
        )
        return
    if value == last.value:
        last.same += 1
    else:
        last.value, last.since_ns, last.same = value, reading.measured_ns, 1
    last.measured_ns, last.received_ns = reading.measured_ns, reading.received_ns


def _has_pulse(reading: Reading, flags: dict[str, Quality]) -> bool:
    """Return whether another sensor of the same message counts a pulse while the ECG counts 0."""
    return any(reading.values.get(name, 0) > 0 and name not in flags for name in ("pr", "abp_pr"))
