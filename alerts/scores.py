"""Early-warning scores and indices: one table of bands and one function each. Pure.

Values are compared at the resolution of a chart (integers, temperature 0.1): edges stand half a
step between two bands, and a value on an edge takes the more abnormal of the two. A missing input
is never 0 points: the total is None and ``missing`` names what is not known; ``parts`` holds what
could be scored. Written for wards and emergency departments: no claim is made for ICU patients.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

ACVPU = ("A", "C", "V", "P", "U")
"""Alert, new Confusion, responds to Voice, to Pain, Unresponsive; 0-4 where a number is due."""

MIN_AGE_NEWS2 = 16
"""RCP: NEWS2 is for neither those under 16 nor pregnant women."""

Number = float | None


@dataclass(frozen=True, slots=True)
class Bands:
    """Points by value: ``points[i]`` below ``edges[i]``, the last above all of them."""

    edges: tuple[float, ...]
    points: tuple[int, ...]

    def score(self, value: float) -> int:
        """Return the points of a value; on an edge, of its more abnormal side.

        >>> Bands((8.5, 11.5), (3, 1, 0)).score(8.5)
        3
        """
        i = bisect_left(self.edges, value)
        points = self.points[i]
        if i < len(self.edges) and self.edges[i] == value:
            return max(points, self.points[i + 1])
        return points


@dataclass(frozen=True, slots=True)
class Score:
    """A score: its points by input, and the total when every input is known."""

    total: int | None
    parts: dict[str, int | None]
    missing: tuple[str, ...] = ()
    blocked: str | None = None
    """Why it does not apply to this patient at all: ``age`` or ``pregnancy``."""

    @property
    def partial(self) -> int:
        """The points that are known."""
        return sum(points for points in self.parts.values() if points is not None)


# Royal College of Physicians, National Early Warning Score (NEWS) 2, 2017, charts 1 and 2.
_RR = Bands((8.5, 11.5, 20.5, 24.5), (3, 1, 0, 2, 3))
_SPO2_1 = Bands((91.5, 93.5, 95.5), (3, 2, 1, 0))
_SPO2_2_OXYGEN = Bands((83.5, 85.5, 87.5, 92.5, 94.5, 96.5), (3, 2, 1, 0, 1, 2, 3))
_SPO2_2_AIR = Bands((83.5, 85.5, 87.5), (3, 2, 1, 0))
_SBP = Bands((90.5, 100.5, 110.5, 219.5), (3, 2, 1, 0, 3))
_PULSE = Bands((40.5, 50.5, 90.5, 110.5, 130.5), (3, 1, 0, 1, 2, 3))
_TEMP = Bands((35.05, 36.05, 38.05, 39.05), (3, 1, 0, 1, 2))

# Subbe et al., QJM 2001;94:521: one of many local variants, hence the name.
_MEWS_RR = Bands((8.5, 14.5, 20.5, 29.5), (2, 0, 1, 2, 3))
_MEWS_HR = Bands((39.5, 50.5, 100.5, 110.5, 129.5), (2, 1, 0, 1, 2, 3))
_MEWS_SBP = Bands((70.5, 80.5, 100.5, 199.5), (3, 2, 1, 0, 2))
_MEWS_TEMP = Bands((34.95, 38.45), (2, 0, 2))
_MEWS_AVPU = (0, 1, 1, 2, 3)
"""C counts as V does: Subbe's scale has no C, and new confusion is not alert."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What scores are made of, None where it is not known. Units: /min, %, mmHg, °C.

    ``acvpu`` is an index into ``ACVPU``. ``spo2_scale`` is 2 only on a documented order.
    """

    rr: Number = None
    spo2: Number = None
    on_oxygen: bool | None = None
    sbp: Number = None
    map: Number = None
    pulse: Number = None
    acvpu: int | None = None
    temp: Number = None
    gcs: Number = None
    spo2_scale: int = 1
    age: Number = None
    pregnant: bool = False


def _total(parts: dict[str, int | None]) -> Score:
    missing = tuple([name for name, points in parts.items() if points is None])
    return Score(None if missing else sum(parts.values()), parts, missing)  # type: ignore[arg-type]


def _spo2_points(inputs: Inputs) -> int | None:
    spo2 = inputs.spo2
    if spo2 is None:
        return None
    if inputs.spo2_scale != 2:
        return _SPO2_1.score(spo2)
    if inputs.on_oxygen is None and spo2 >= 92.5:
        return None  # from 93 % on, scale 2 depends on the oxygen
    return (_SPO2_2_OXYGEN if inputs.on_oxygen else _SPO2_2_AIR).score(spo2)


def news2(inputs: Inputs) -> Score:
    """Return NEWS2, 0-20. Source: RCP 2017.

    The RCP's scale 2 gives 0 for 93 % and more on air:

    >>> news2(Inputs(rr=18, spo2=95, on_oxygen=False, sbp=120, pulse=80, acvpu=0, temp=37.0,
    ...              spo2_scale=2)).total
    0
    >>> news2(Inputs(rr=22, spo2=93, on_oxygen=True, sbp=105, pulse=112, acvpu=0, temp=38.4)).total
    10
    >>> news2(Inputs(rr=22)).missing
    ('spo2', 'o2', 'sbp', 'pulse', 'consciousness', 'temp')
    """
    if inputs.age is not None and inputs.age < MIN_AGE_NEWS2:
        return Score(None, {}, blocked="age")
    if inputs.pregnant:
        return Score(None, {}, blocked="pregnancy")
    oxygen, acvpu = inputs.on_oxygen, inputs.acvpu
    return _total(
        {
            "rr": None if inputs.rr is None else _RR.score(inputs.rr),
            "spo2": _spo2_points(inputs),
            "o2": None if oxygen is None else 2 * oxygen,
            "sbp": None if inputs.sbp is None else _SBP.score(inputs.sbp),
            "pulse": None if inputs.pulse is None else _PULSE.score(inputs.pulse),
            "consciousness": None if acvpu is None else 3 * (acvpu > 0),
            "temp": None if inputs.temp is None else _TEMP.score(inputs.temp),
        }
    )


def has_red(score: Score) -> bool:
    """Return whether one parameter alone scores 3, among those that are known."""
    return 3 in score.parts.values()


def news2_risk(score: Score) -> str:
    """Return ``low``, ``low-medium``, ``medium``, ``high`` or ``not-evaluated``."""
    if score.total is None:
        return "not-evaluated"
    if score.total >= 7:
        return "high"
    if score.total >= 5:
        return "medium"
    return "low-medium" if has_red(score) else "low"


def mews_subbe2001(inputs: Inputs) -> Score:
    """Return the Modified Early Warning Score, 0-14. Source: Subbe 2001; 5 or more is critical.

    >>> mews_subbe2001(Inputs(rr=22, pulse=112, sbp=95, temp=38.6, acvpu=0)).total
    7
    """
    acvpu = inputs.acvpu
    return _total(
        {
            "rr": None if inputs.rr is None else _MEWS_RR.score(inputs.rr),
            "pulse": None if inputs.pulse is None else _MEWS_HR.score(inputs.pulse),
            "sbp": None if inputs.sbp is None else _MEWS_SBP.score(inputs.sbp),
            "temp": None if inputs.temp is None else _MEWS_TEMP.score(inputs.temp),
            "consciousness": None if acvpu is None else _MEWS_AVPU[acvpu],
        }
    )


def qsofa(inputs: Inputs) -> Score:
    """Return qSOFA, 0-3; 2 or more is positive. Source: Sepsis-3, JAMA 2016;315:801.

    Altered mentation is a GCS below 15 or, without a GCS, anything but A.

    >>> qsofa(Inputs(rr=24, sbp=98, gcs=15)).total
    2
    """
    mentation = None
    if inputs.gcs is not None:
        mentation = int(inputs.gcs < 15)
    elif inputs.acvpu is not None:
        mentation = int(inputs.acvpu > 0)
    return _total(
        {
            "rr": None if inputs.rr is None else int(inputs.rr >= 21.5),
            "sbp": None if inputs.sbp is None else int(inputs.sbp <= 100.5),
            "consciousness": mentation,
        }
    )


def sirs_bedside(inputs: Inputs) -> Score:
    """Return how many of the three bedside SIRS criteria are met, 0-3.

    The fourth, the white cell count, is a laboratory's; PaCO2 likewise. Source: ACCP/SCCM 1992.

    >>> sirs_bedside(Inputs(temp=38.4, pulse=104, rr=18)).total
    2
    """
    temp, pulse, rr = inputs.temp, inputs.pulse, inputs.rr
    return _total(
        {
            "temp": None if temp is None else int(temp > 38.0 or temp < 36.0),
            "pulse": None if pulse is None else int(pulse > 90),
            "rr": None if rr is None else int(rr > 20),
        }
    )


def shock_index(inputs: Inputs) -> float | None:
    """Return heart rate over systolic pressure; above 1.0 is high risk. Source: OAEM 2019.

    >>> shock_index(Inputs(pulse=120, sbp=96))
    1.25
    """
    if inputs.pulse is None or not inputs.sbp:
        return None
    return inputs.pulse / inputs.sbp


def modified_shock_index(inputs: Inputs) -> float | None:
    """Return heart rate over mean pressure; from 1.3 on high. Source: Liu 2012.

    >>> modified_shock_index(Inputs(pulse=117, map=78))
    1.5
    """
    if inputs.pulse is None or not inputs.map:
        return None
    return inputs.pulse / inputs.map


@dataclass(frozen=True, slots=True)
class ScoreKind:
    """A score as screens and rules know it."""

    name: str
    zh: str
    en: str
    source: str
    inputs: tuple[str, ...] = field(default=())


SCORES: Mapping[str, ScoreKind] = {
    kind.name: kind
    for kind in (
        ScoreKind(
            "news2",
            "NEWS2",
            "NEWS2",
            "RCP 2017",
            ("rr", "spo2", "o2", "sbp", "pulse", "consciousness", "temp"),
        ),
        ScoreKind(
            "mews_subbe2001",
            "MEWS(Subbe 2001)",
            "MEWS (Subbe 2001)",
            "QJM 2001;94:521",
            ("rr", "pulse", "sbp", "temp", "consciousness"),
        ),
        ScoreKind("qsofa", "qSOFA", "qSOFA", "JAMA 2016;315:801", ("rr", "sbp", "consciousness")),
        ScoreKind(
            "sirs_bedside",
            "SIRS(床旁部分)",
            "SIRS (bedside part)",
            "ACCP/SCCM 1992",
            ("temp", "pulse", "rr"),
        ),
        ScoreKind("shock_index", "休克指数", "Shock index", "OAEM 2019", ("pulse", "sbp")),
        ScoreKind(
            "modified_shock_index",
            "改良休克指数",
            "Modified shock index",
            "Liu 2012",
            ("pulse", "map"),
        ),
    )
}
