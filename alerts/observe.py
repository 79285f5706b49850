"""What people observe, taken into a bed: checked, dated, and at once in its scores."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from alerts.derive import Newest, enter
from schemas.alerts import AlertEvent
from schemas.errors import DecodeError
from schemas.observations import code
from schemas.times import S
from schemas.wire import ObservationMessage, Reading

if TYPE_CHECKING:
    from alerts.engine import Engine

AHEAD_NS = 60 * S
"""An observation may be dated this far ahead of us: clocks differ, the future is not observed."""
OLD_NS = 24 * 3600 * S


def observe(
    engine: "Engine",
    name: str,
    message: ObservationMessage,
    at_ns: int,
    now_ns: int,
    latest: Mapping[str, Newest],
) -> list[AlertEvent]:
    """Take an observation in; raise DecodeError naming the field and the fix.

    One that is older than what is known already changes nothing of it.
    """
    if at_ns > now_ns + AHEAD_NS:
        raise DecodeError("observation", "at: is in the future; enter when it was observed")
    if at_ns < now_ns - OLD_NS:
        raise DecodeError("observation", "at: is more than 24 h ago; it would say nothing of now")
    try:
        values = {kind: code(kind, value) for kind, value in message.values.items()}
    except ValueError as error:
        raise DecodeError("observation", str(error)) from None
    bed = engine.bed(name)
    enter(bed.observed, values, at_ns, message.by)
    entered = Reading(
        bed=name,
        device=bed.device,
        boot="observation",
        seq=0,
        measured_ns=now_ns - bed.offset_ns,
        sent_ns=None,
        received_ns=now_ns,
        values={},
        flags={},
        interval_s=bed.interval_s,
        offset_ns=bed.offset_ns,
    )
    return engine.evaluate_now(entered, message.id, latest)
