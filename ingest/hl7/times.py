"""Times as HL7 writes them, with and without a zone. Pure."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

from schemas.times import from_datetime

_TIME = re.compile(
    r"(\d{4})(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{1,9})?(?:\.(\d{1,9})\d*)?([+-]\d{4})?(Z)?"
)


@lru_cache(maxsize=4096)
def parse_time(text: str, zone: tzinfo) -> int | None:
    """Return a time stamp (TS, DTM) as ns UTC; None when there is none in it.

    Without an offset it is in ``zone``. Fractions follow a point or, as some monitors write them,
    nothing: ``20260124131540000+0800``. A message says one time often: the last few are remembered.

    >>> parse_time("19700101080000.5+0800", UTC)
    500000000
    >>> parse_time("00000000000000", UTC) is None
    True
    """
    text = text.strip()
    found = _TIME.fullmatch(text)
    if found is None or int(found[1]) == 0:
        return None
    year, month, day, hour, minute, second, joined, fraction, offset, zulu = found.groups()
    try:
        if offset:
            ahead = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))
            zone = timezone(-ahead if offset[0] == "-" else ahead)
        elif zulu:
            zone = UTC
        whole = datetime(
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            tzinfo=zone,
        )
        at_ns = from_datetime(whole)
    except (ValueError, OverflowError):
        return None
    digits = joined or fraction or ""
    return at_ns + (int(digits.ljust(9, "0")) if digits else 0)
