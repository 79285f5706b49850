"""Plotly figures as plain dictionaries, from rows. No queries, no globals."""

from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any

from dashboard.words import VITAL_SHORT, Language

COLOURS = {
    "hr": "#3ddc84",
    "spo2": "#4fd3ff",
    "rr": "#ffd84d",
    "abp_mean": "#ff6b6b",
    "abp_sys": "#ff6b6b",
    "nibp_sys": "#ff9f9f",
    "nibp_mean": "#ff9f9f",
    "temp": "#e8edf2",
}
PANELS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("hr",), "hr"),
    (("spo2",), "spo2"),
    (("rr",), "rr"),
    (("abp_sys", "abp_mean", "nibp_sys", "nibp_mean"), "bp"),
    (("temp",), "temp"),
)
MIN_SPAN = {"hr": 40.0, "spo2": 12.0, "rr": 12.0, "bp": 60.0, "temp": 2.0}
"""The least that an axis spans, so that noise does not look like a crisis."""
GRID = "#24303d"
TEXT = "#9fb0c0"


def trend_figure(
    rows: list[dict[str, Any]], start: datetime, end: datetime, language: Language, zone: tzinfo
) -> dict[str, Any]:
    """Return small multiples of the bed's vitals between two times; gaps are drawn as gaps.

    Times are shown in ``zone``, the browser's, as all others on the page.
    """
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": TEXT, "size": 12},
        "margin": {"l": 64, "r": 12, "t": 8, "b": 28},
        "showlegend": False,
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": "#121a23", "bordercolor": GRID},
        "uirevision": "keep",
        "xaxis": {
            "range": [_local(start, zone), _local(end, zone)],
            "gridcolor": GRID,
            "anchor": "y5",
            "tickformat": "%H:%M",
        },
    }
    height = 1 / len(PANELS)
    for number, (vitals, title) in enumerate(PANELS, 1):
        axis = "" if number == 1 else str(number)
        top = 1 - (number - 1) * height
        layout[f"yaxis{axis}"] = {
            "domain": [top - height + 0.025, top],
            "gridcolor": GRID,
            "zeroline": False,
            "title": {"text": VITAL_SHORT[title][0 if language == "zh" else 1], "standoff": 6},
            "nticks": 4,
            "anchor": "x",
        }
        layout[f"yaxis{axis}"]["range"] = _range(rows, vitals, MIN_SPAN[title])
        for vital in vitals:
            xs, ys = _with_gaps(rows, vital, zone)
            if any(y is not None for y in ys):
                sparse = vital.startswith("nibp")
                data.append(
                    {
                        "type": "scatter",
                        "x": xs,
                        "y": ys,
                        "yaxis": f"y{axis}",
                        "name": vital,
                        "mode": "markers" if sparse else "lines",
                        "connectgaps": False,
                        "line": {"color": COLOURS[vital], "width": 1.6},
                        "marker": {"color": COLOURS[vital], "size": 6},
                    }
                )
    return {"data": data, "layout": layout}


def _range(rows: list[dict[str, Any]], vitals: tuple[str, ...], span: float) -> list[float]:
    """Return an axis that holds all values with a little air, and spans at least ``span``."""
    values = [row[v] for row in rows for v in vitals if row[v] is not None]
    low, high = (min(values), max(values)) if values else (0.0, span)
    air = max(span - (high - low), 0.1 * span) / 2
    return [low - air, high + air]


def _local(moment: datetime, zone: tzinfo) -> str:
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _with_gaps(
    rows: list[dict[str, Any]], vital: str, zone: tzinfo
) -> tuple[list[str], list[float | None]]:
    """Return times and values of one vital, with an empty point where readings are missing.

    A gap is longer than three times the usual distance, at least 15 s.
    """
    points = [(row["at"], row[vital]) for row in rows if row[vital] is not None]
    steps = sorted((b[0] - a[0] for a, b in pairwise(points)), key=timedelta.total_seconds)
    usual = steps[len(steps) // 2] if steps else timedelta(0)
    longest = max(3 * usual, timedelta(seconds=15))
    xs: list[str] = []
    ys: list[float | None] = []
    last: datetime | None = None
    for at, value in points:
        if last is not None and at - last > longest:
            xs.append(_local(last + usual, zone))
            ys.append(None)
        xs.append(_local(at, zone))
        ys.append(value)
        last = at
    return xs, ys
