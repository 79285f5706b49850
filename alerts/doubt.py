"""Can a value that breaks a limit be believed? What weakens it, and what contradicts it. Pure."""

from dataclasses import dataclass

from alerts.rules import Perfusion, Pulse, Rule, Technical
from schemas.times import S
from schemas.vitals import Quality
from schemas.wire import Reading

KEPT = 16
"""Readings of pulse rate and mean pressure kept: enough for ten seconds at 1 Hz."""

Recent = list[tuple[int, float | None, float | None]]
"""Measured time, pulse rate, mean arterial pressure of the last readings, oldest first."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """What makes a breach doubtful. ``contradicted``: time does not make it believable."""

    technical: Technical
    contradicted: bool


def doubt(
    technicals: tuple[Technical, ...], rule: Rule, value: float, reading: Reading, recent: Recent
) -> Doubt | None:
    """Return why a breach of ``rule`` by ``value`` is not to be believed yet; None: it is."""
    vital = rule.terms[0].of
    low = not rule.terms[0].above
    quality = reading.flags.get(vital, Quality.OK)
    for technical in technicals:
        if quality in technical.qualities:
            return Doubt(technical, contradicted=False)
        if not low:
            continue
        pulse, perfusion = technical.pulse, technical.perfusion
        if pulse is not None and _credible(pulse, recent, reading.measured_ns):
            return Doubt(technical, contradicted=True)
        if (
            perfusion is not None
            and value < perfusion.below
            and _perfusing(perfusion, reading, recent)
        ):
            return Doubt(technical, contradicted=True)
        if _weak(technical, reading):
            return Doubt(technical, contradicted=False)
    return None


def remember(recent: Recent, reading: Reading) -> None:
    """Keep what later contradictions are judged by."""
    values, measured_ns = reading.values, reading.measured_ns
    pulse, pressure = values.get("pr"), values.get("abp_mean")
    if reading.flags:
        pulse = None if "pr" in reading.flags else pulse
        pressure = None if "abp_mean" in reading.flags else pressure
    if recent:
        if measured_ns < recent[-1][0]:
            recent.clear()
        elif len(recent) >= KEPT:
            del recent[0]
    recent.append((measured_ns, pulse, pressure))


def _window(recent: Recent, for_s: float, now_ns: int) -> Recent:
    """Return the readings of the last ``for_s`` when they cover it without a gap, else none."""
    start_ns = now_ns - int(for_s * S)
    found = [row for row in recent if start_ns < row[0] <= now_ns]
    return found if len(found) >= int(for_s) else []


def _credible(pulse: Pulse, recent: Recent, now_ns: int) -> bool:
    """Return whether a pulse has been present, plausible and steady all the time."""
    rates = [row[1] for row in _window(recent, pulse.for_s, now_ns)]
    known = [rate for rate in rates if rate is not None]
    return (
        bool(known)
        and len(known) == len(rates)
        and pulse.low <= known[-1] <= pulse.high
        and max(known) - min(known) <= pulse.span
    )


def _perfusing(perfusion: Perfusion, reading: Reading, recent: Recent) -> bool:
    """Return whether an arterial line shows pulses at a perfusing pressure that does not fall."""
    values = reading.values
    names = ("abp_sys", "abp_dia", "abp_mean")
    if any(name not in values or name in reading.flags for name in names):
        return False
    systolic, diastolic, mean = (values[name] for name in names)
    means = [row[2] for row in _window(recent, perfusion.for_s, reading.measured_ns)]
    known = [value for value in means if value is not None]
    return (
        bool(known)
        and len(known) == len(means)
        and systolic - diastolic >= perfusion.pulse_pressure
        and diastolic < mean < systolic
        and perfusion.low <= mean <= perfusion.high
        and max(known) - mean <= perfusion.fall
    )


def _weak(technical: Technical, reading: Reading) -> bool:
    """Return whether perfusion is poor, or pulse and heart rate disagree."""
    values, flags = reading.values, reading.flags
    index = values.get("pi")
    if technical.pi_below is not None and index is not None and index < technical.pi_below:
        return "pi" not in flags
    pulse, heart = values.get("pr"), values.get("hr")
    return (
        technical.pr_differs is not None
        and pulse is not None
        and heart is not None
        and not ("pr" in flags or "hr" in flags)
        and abs(pulse - heart) > technical.pr_differs
    )
