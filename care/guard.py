"""The wrong-bed guard: is this still the same patient? It asks, it changes nothing. Pure.

It asks when, with the same stay in the bed, another device sends in place of a silent one
(``device``), the monitor names another patient (``identity``), or, within half an hour of a move
or swap, the vitals are not those that the patient had before (``jump``). One question of a kind is
open for a patient at a time.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import median

from schemas.times import S

AFTER_MOVE_NS = 1_800 * S
SETTLED = 30
"""Readings before a jump is looked for, and how many are kept."""
JUMPS = {"hr": 40.0, "spo2": 10.0, "rr": 14.0, "abp_mean": 30.0, "nibp_mean": 30.0, "temp": 1.5}
"""How far medians may lie apart before and after a move: a design's setting."""
JUMPED_LEAST = 2
"""So many vitals must have jumped, or heart rate by twice its allowance."""
SILENT_NS = 60 * S
"""A device that was not heard for so long has been taken away, when another sends."""
KEEP_NS = 10 * S
"""A reading is kept this often."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something to ask at the bedside; ``detail`` has what was and what is."""

    bed: str
    stay: str
    kind: str
    at_ns: int
    detail: dict[str, str | float]


@dataclass(slots=True)
class Watched:
    """What the guard knows of a bed. ``devices``: those that belong there, and when each was heard.

    Several may: a monitor and an oximeter. One that comes beside them is no swap; one that sends
    while all of them are silent is.
    """

    stay: str = ""
    devices: dict[str, int] = field(default_factory=dict)
    patient: str = ""
    kept_ns: int = 0
    moved_ns: int = 0
    before: dict[str, float] = field(default_factory=dict)
    recent: dict[str, deque[float]] = field(default_factory=dict)


def medians(watched: Watched) -> dict[str, float]:
    """Return the recent median of each vital that has been seen often enough."""
    return {
        name: float(median(values))
        for name, values in watched.recent.items()
        if len(values) >= SETTLED // 2
    }


def move(watched: Watched, stay: str, came_from: dict[str, float], at_ns: int) -> None:
    """Take note that another patient lies here; ``came_from``: their vitals where they lay."""
    watched.stay, watched.moved_ns, watched.before = stay, at_ns, came_from
    watched.patient = ""
    watched.devices.clear()
    watched.recent.clear()


def see(
    bed: str, watched: Watched, device: str, at_ns: int, values: dict[str, float]
) -> Question | None:
    """Take a reading; return a question if there is one."""
    asked = _swap(bed, watched, device, at_ns)
    if at_ns - watched.kept_ns < KEEP_NS:
        return asked
    watched.kept_ns = at_ns
    for name in JUMPS.keys() & values.keys():
        watched.recent.setdefault(name, deque(maxlen=SETTLED)).append(values[name])
    return asked or _jump(bed, watched, at_ns)


def _swap(bed: str, watched: Watched, device: str, at_ns: int) -> Question | None:
    known = watched.devices
    if device in known or not known:
        known[device] = at_ns
        return None
    if any(at_ns - heard_ns <= SILENT_NS for heard_ns in known.values()):
        return None
    was = max(known, key=known.__getitem__)
    known.clear()
    known[device] = at_ns
    if not watched.stay:
        return None
    return Question(bed, watched.stay, "device", at_ns, {"was": was, "is": device})


def name_patient(bed: str, watched: Watched, patient: str, at_ns: int) -> Question | None:
    """Take the monitor's own word on whom it watches (opaque); return a question if it changed."""
    was, watched.patient = watched.patient, patient
    if was and patient and was != patient and watched.stay:
        return Question(bed, watched.stay, "identity", at_ns, {"was": was, "is": patient})
    return None


def _jump(bed: str, watched: Watched, at_ns: int) -> Question | None:
    if not watched.before or not watched.stay:
        return None
    if at_ns - watched.moved_ns > AFTER_MOVE_NS:
        watched.before = {}
        return None
    now = medians(watched)
    far = {
        name: abs(now[name] - was) / JUMPS[name]
        for name, was in watched.before.items()
        if name in now and abs(now[name] - was) > JUMPS[name]
    }
    if len(far) < JUMPED_LEAST and far.get("hr", 0) < 2:
        return None
    detail: dict[str, str | float] = {}
    for name in sorted(far):
        detail[f"{name}_was"], detail[f"{name}_is"] = watched.before[name], now[name]
    watched.before = {}
    return Question(bed, watched.stay, "jump", at_ns, detail)
