"""The data dictionary that goes with an export: every column, its unit, codes and meaning. Pure."""

import csv
from io import StringIO

from schemas.vitals import COMMON, RARE, Quality

COLUMNS = ("table", "column", "type", "unit", "mdc", "loinc", "low", "high", "zh", "en")
FIXED = (
    ("numerics", "subject", "text", "whose data: a patient (p-…), or a bed with nobody admitted"),
    ("numerics", "bed", "text", "hospital/unit/bed; only in identified exports"),
    ("numerics", "time", "timestamp", "when it was measured, UTC; dates shifted by patient"),
    ("numerics", "device", "text", "what measured it"),
    ("numerics", "late", "boolean", "it came too late to be news"),
    ("numerics", "not_usable", "text", "values that must not be averaged: vital=reason, by blanks"),
    ("rare", "vital", "text", "a vital without a column of its own"),
    ("rare", "value", "real", "its value, in the unit that this dictionary says of it"),
    ("rare", "quality", "text", "ok, or why it must not be averaged"),
    ("alerts", "alert", "text", "an alert's identifier"),
    ("alerts", "rule", "text", "the rule that raised it"),
    ("alerts", "priority", "text", "high, medium, low (IEC 60601-1-8)"),
    ("alerts", "onset", "timestamp", "when its condition began"),
    ("alerts", "ended", "timestamp", "when it was over; empty: not yet"),
    ("alerts", "delayed", "boolean", "the data were old when they were judged"),
    ("annotations", "label", "text", "what somebody saw"),
    ("annotations", "start", "timestamp", "from when"),
    ("annotations", "end", "timestamp", "until when"),
    ("annotations", "signal", "text", "in which vital or channel"),
)


def dictionary() -> str:
    """Return the dictionary as CSV."""
    out = StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for table, column, kind, meaning in FIXED:
        writer.writerow((table, column, kind, "", "", "", "", "", "", meaning))
    common = {vital.name for vital in COMMON}
    for vital in (*COMMON, *RARE):
        table = "numerics" if vital.name in common else "rare"
        writer.writerow(
            (
                table,
                vital.name,
                "real",
                vital.unit,
                vital.mdc or "",
                vital.loinc or "",
                f"{vital.low:g}",
                f"{vital.high:g}",
                vital.zh,
                vital.en,
            )
        )
    qualities = ", ".join(q.value for q in Quality)
    writer.writerow(("numerics", "(reasons)", "text", "", "", "", "", "", "", qualities))
    return out.getvalue()
