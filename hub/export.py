"""A stored reading as a line of CSV: values as measured, and which were not usable and why."""

from datetime import datetime
from typing import Any

from schemas.times import format_time, from_datetime
from schemas.vitals import COMMON_NAMES, Quality, unpack_status

CSV_COLUMNS = (
    "measured_at",
    "received_at",
    "device",
    "boot",
    "seq",
    "offset_ms",
    "late",
    *COMMON_NAMES,
    "other",
    "not_usable",
)


def csv_row(row: dict[str, Any]) -> list[object]:
    """Return the cells of one reading. ``not_usable``: ``vital=reason`` separated by spaces."""
    flags = {
        name: str(quality) for name, quality in unpack_status(row["status"], row["status2"]).items()
    }
    qualities = tuple(Quality)
    other = []
    for vital, (value, code) in sorted((row["rare"] or {}).items()):
        if value is not None:
            other.append(f"{vital}={value:g}")
        if code:
            flags[vital] = str(qualities[code])
    return [
        _time(row["measured_at"]),
        _time(row["received_at"]),
        row["device"],
        row["boot"],
        row["seq"],
        row["offset_ms"],
        int(row["late"]),
        *("" if row[name] is None else f"{row[name]:g}" for name in COMMON_NAMES),
        " ".join(other),
        " ".join(f"{name}={reason}" for name, reason in sorted(flags.items())),
    ]


ANNOTATION_COLUMNS = (
    "id",
    "version",
    "start",
    "end",
    "signal",
    "label",
    "note",
    "withdrawn",
    "by",
    "at",
    "stay",
)
"""Every version of every annotation that touches the time, beside the data that it is about."""


def annotation_row(row: dict[str, Any]) -> list[object]:
    """Return the cells of one version of an annotation."""
    return [
        row["id"],
        row["version"],
        _time(row["start_at"]),
        _time(row["end_at"]),
        row["signal"],
        row["label"],
        row["note"],
        int(row["withdrawn"]),
        row["by"],
        _time(row["at"]),
        row["stay"],
    ]


def _time(moment: datetime) -> str:
    return format_time(from_datetime(moment))
