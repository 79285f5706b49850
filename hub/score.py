"""``vigil score news2``: a table of observations in, the score with its parts out."""

import csv
from collections.abc import Iterator
from typing import TextIO, TypeVar

from alerts.scores import ACVPU, Inputs, has_red, news2, news2_risk
from schemas.errors import HubError

COLUMNS = ("id", "rr", "spo2", "spo2_scale", "on_oxygen", "sbp", "pulse", "acvpu", "temp_c")
PARTS = ("rr", "spo2", "o2", "sbp", "pulse", "consciousness", "temp")
T = TypeVar("T")
OUT = ("id", *(f"s_{part}" for part in PARTS), "total", "single_param_3", "risk")
RANGES = {
    "rr": (0, 150),
    "spo2": (1, 100),
    "sbp": (20, 320),
    "pulse": (0, 350),
    "temp_c": (20, 46),
}


def score_news2(rows: TextIO, name: str) -> Iterator[tuple[list[object], list[str]]]:
    """Yield each row's scores in the order of ``OUT``, and what is wrong with the row.

    A value that is none counts as missing. Raises HubError when a column is missing.
    """
    reader = csv.DictReader(rows)
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
    if missing:
        raise HubError(f"{name}: column {', '.join(missing)} is missing; need {','.join(COLUMNS)}")
    for row in reader:
        short = None in row.values()
        row.pop(None, None)  # cells beyond the header
        inputs, problems = read_inputs(row)
        if short:
            problems.insert(0, "has fewer cells than the header; those count as missing")
        score = news2(inputs)
        parts = [score.parts[part] for part in PARTS]
        yield (
            [
                row["id"],
                *("" if points is None else points for points in parts),
                "" if score.total is None else score.total,
                int(has_red(score)),
                news2_risk(score),
            ],
            [f"{name}, line {reader.line_num}: {problem}" for problem in problems],
        )


def read_inputs(row: dict[str, str]) -> tuple[Inputs, list[str]]:
    """Return what a row of text says, and what in it cannot be read."""
    problems: list[str] = []
    numbers: dict[str, float | None] = {}
    for column, (low, high) in RANGES.items():
        text = (row[column] or "").strip()
        try:
            value = float(text) if text else None
        except ValueError:
            value, text = None, text or "?"
            problems.append(f"{column} {text!r} is not a number; counts as missing")
        if value is not None and not low <= value <= high:
            problems.append(f"{column} {text} is not within {low}-{high}; counts as missing")
            value = None
        numbers[column] = value
    row["spo2_scale"] = (row["spo2_scale"] or "").strip().removesuffix(".0")
    row["on_oxygen"] = (row["on_oxygen"] or "").strip().removesuffix(".0")
    scale = _choice(row, "spo2_scale", {"1": 1, "2": 2}, problems)
    # scale 2 needs a documented order: an empty cell is none, one that cannot be read may be
    scale_known = scale is not None or not row["spo2_scale"]
    inputs = Inputs(
        rr=numbers["rr"],
        spo2=numbers["spo2"] if scale_known else None,
        sbp=numbers["sbp"],
        pulse=numbers["pulse"],
        temp=numbers["temp_c"],
        on_oxygen=_choice(row, "on_oxygen", {"0": False, "1": True}, problems),
        acvpu=_choice(row, "acvpu", {letter: i for i, letter in enumerate(ACVPU)}, problems),
        spo2_scale=scale or 1,
    )
    return inputs, problems


def _choice(row: dict[str, str], column: str, choices: dict[str, T], out: list[str]) -> T | None:
    text = (row[column] or "").strip().upper()
    if text and text not in choices:
        out.append(f"{column} {text!r}: one of {', '.join(choices)}; counts as missing")
    return choices.get(text)
