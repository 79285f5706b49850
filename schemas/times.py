"""Time is ``int`` nanoseconds since the Unix epoch, UTC. These convert at the edges."""

from datetime import UTC, datetime, timedelta

S = 1_000_000_000
MS = 1_000_000
PAST_NS, FUTURE_NS = 32 * 86_400 * S, 86_400 * S
"""How far a device's time may lie from the hub's: behind and ahead."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


def to_datetime(time_ns: int) -> datetime:
    """Return an aware UTC datetime, rounded down to the microsecond that SQL can hold.

    >>> to_datetime(1_500).isoformat()
    '1970-01-01T00:00:00.000001+00:00'
    """
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def from_datetime(moment: datetime) -> int:
    """Return nanoseconds of an aware datetime, exactly; a naive one is a ValueError.

    >>> from_datetime(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000000
    """
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is not a time: add Z or an offset")
    return (moment - _EPOCH) // _US * 1000


def parse_time(text: str) -> int:
    """Return nanoseconds of an RFC 3339 time with a zone.

    >>> parse_time("1970-01-01T08:00:01+08:00")
    1000000000
    """
    return from_datetime(datetime.fromisoformat(text))


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_when(text: str, now: datetime) -> datetime:
    """Return the time that a person means: RFC 3339, ``now``, ``-90s``, ``-5m``, ``-1h``, ``-2d``.

    Raises ValueError saying how to write one.

    >>> parse_when("-1h", datetime(1970, 1, 1, 8, tzinfo=UTC)).hour
    7
    """
    if text == "now":
        return now
    try:
        if text.startswith("-") and text[-1] in _UNITS:
            return now - timedelta(**{_UNITS[text[-1]]: float(text[1:-1])})
        return to_datetime(parse_time(text))
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"time {text!r}: {error}; write 2026-11-23T07:00:00+08:00, now, or -1h (an hour ago)"
        ) from None


def format_time(time_ns: int) -> str:
    """Return an RFC 3339 UTC time with milliseconds.

    >>> format_time(1_234_000_000)
    '1970-01-01T00:00:01.234Z'
    """
    return to_datetime(time_ns).isoformat(timespec="milliseconds").replace("+00:00", "Z")
