"""Stories of patients as data: how each vital departs from its baseline, and what should alert.

A scenario is the acceptance test of the alerts it names. Times are seconds from its start; between
two points a departure is linear, after the last it stays.
"""

from dataclasses import dataclass, field

import numpy as np

from simulators.signals import Rhythm

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named story. ``departs``: additive departures by vital. ``becomes``: absolute values.

    ``sensor_off`` and ``weak``: intervals (from, to) by vital in which the sensor is off or weak.
    ``rhythm``: from when (s) the heart beats how. ``noise_mv``: noise on the ECG by time.
    ``expects``: ids of the rules that must fire, none other of high priority.
    """

    name: str
    departs: dict[str, Points] = field(default_factory=dict)
    becomes: dict[str, Points] = field(default_factory=dict)
    sensor_off: dict[str, tuple[float, float]] = field(default_factory=dict)
    weak: dict[str, tuple[float, float]] = field(default_factory=dict)
    rhythm: tuple[tuple[float, Rhythm], ...] = ()
    noise_mv: Points = ((0, 0.012),)
    expects: frozenset[str] = frozenset()


SCENARIOS: dict[str, Scenario] = {
    s.name: s
    for s in (
        Scenario("stable"),
        Scenario(
            "sepsis",
            departs={
                "temp": ((0, 0), (900, 2.6)),
                "hr": ((0, 0), (600, 48), (1500, 60)),
                "rr": ((0, 0), (600, 12), (1200, 18)),
                "sbp": ((0, 0), (600, -22), (1500, -48)),
                "dbp": ((0, 0), (600, -16), (1500, -34)),
                "spo2": ((0, 0), (1200, -6)),
            },
            expects=frozenset({"hr_high", "rr_high", "map_low", "sbp_low"}),
        ),
        Scenario(
            "hypoxia",
            departs={
                "spo2": ((10, 0), (45, -14), (75, -24), (300, -26)),
                "hr": ((10, 0), (60, 28), (300, 34)),
                "rr": ((10, 0), (60, 13), (300, 16)),
            },
            expects=frozenset({"spo2_low", "spo2_extreme_low"}),
        ),
        Scenario(
            "haemorrhage",
            departs={
                "sbp": ((10, 0), (60, -44), (120, -58)),
                "dbp": ((10, 0), (60, -26), (120, -36)),
                "hr": ((10, 0), (60, 48), (120, 62)),
                "rr": ((10, 0), (90, 8)),
                "temp": ((0, 0), (900, -0.8)),
            },
            expects=frozenset({"map_low", "sbp_low", "hr_high", "map_extreme_low"}),
        ),
        Scenario(
            "arrest",
            becomes={
                "hr": ((20, 60), (30, 0)),
                "rr": ((20, 16), (40, 0)),
                "sbp": ((20, 110), (35, 24)),
                "dbp": ((20, 65), (35, 16)),
            },
            weak={"spo2": (26, 1e9), "pr": (26, 1e9), "pi": (26, 1e9)},
            rhythm=((30, "asystole"),),
            expects=frozenset({"hr_extreme_low", "hr_low", "rr_low", "map_extreme_low", "sbp_low"}),
        ),
        Scenario("loose-lead", sensor_off={"hr": (20, 80), "rr": (20, 80)}),
        Scenario(
            "motion",
            departs={"spo2": ((20, 0), (24, -22), (50, -18), (54, 0))},
            weak={"spo2": (20, 55), "pr": (20, 55)},
        ),
        Scenario("ectopy", rhythm=((10, "ectopy"),)),
        Scenario("af", becomes={"hr": ((10, 92), (25, 112))}, rhythm=((10, "af"),)),
        Scenario(
            "vt",
            becomes={"hr": ((20, 96), (21, 182)), "sbp": ((20, 118), (30, 84))},
            departs={"dbp": ((20, 0), (30, -10))},
            rhythm=((21, "vt"),),
            expects=frozenset({"hr_high", "sbp_low"}),
        ),
        Scenario(
            "vf",
            becomes={
                "hr": ((20, 88), (24, 0)),
                "rr": ((26, 16), (40, 0)),
                "sbp": ((22, 112), (34, 26)),
                "dbp": ((22, 66), (34, 18)),
            },
            weak={"spo2": (24, 1e9), "pr": (24, 1e9), "pi": (24, 1e9)},
            rhythm=((22, "vf"), (100, "asystole")),
            expects=frozenset({"hr_extreme_low", "hr_low", "rr_low", "map_extreme_low", "sbp_low"}),
        ),
        Scenario("ecg-noise", noise_mv=((10, 0.012), (12, 0.22), (60, 0.22), (62, 0.012))),
    )
}


def at(points: Points, t_s: float) -> float:
    """Return the value of a piecewise linear course at ``t_s``.

    >>> at(((0, 0), (10, 5)), 4)
    2.0
    """
    xs, ys = zip(*points, strict=True)
    return float(np.interp(t_s, xs, ys))


def rhythm_at(story: Scenario, t_s: float) -> Rhythm:
    """Return how the heart beats at ``t_s`` of the story."""
    rhythm: Rhythm = "sinus"
    for start, then in story.rhythm:
        if t_s >= start:
            rhythm = then
    return rhythm
