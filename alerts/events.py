"""Alert events built from what happened: ids are hashes, so the same input gives the same ids."""

from typing import Any

from msgspec.structs import replace

from alerts.rules import Pack, Rule, unit_of
from schemas.alerts import ENDS, AlertEvent, EventKind, Priority, Stages, make_id
from schemas.times import S
from schemas.wire import Reading

DELAYED_NS = 5 * S
"""An alert from a reading older than this when it arrived is marked delayed."""


def from_reading(  # noqa: PLR0913 - an event says that much
    kind: EventKind,
    rule: Rule,
    pack: Pack,
    reading: Reading,
    *,
    onset: tuple[int, str],
    values: dict[str, float],
    words: tuple[str, str],
    judged_ns: int,
    delayed: bool = False,
    acknowledged_by: str | None = None,
    technical: bool = False,
    priority: Priority | None = None,
) -> AlertEvent:
    """Return the event of a rule that a reading made fire, end or found after the fact."""
    age_ns = reading.received_ns - reading.offset_ns - reading.measured_ns
    alert = make_id(reading.bed, rule.id, onset[1])
    term = rule.terms[0] if rule.terms else None
    of = term.of if term else next(iter(values), None)
    return AlertEvent(
        event=make_id(alert, kind),
        alert=alert,
        kind=kind,
        bed=reading.bed,
        rule=rule.id,
        technical=technical,
        priority=priority or rule.priority,
        vital=of,
        value=None if of is None else values.get(of),
        limit=term.trigger if term else None,
        unit="" if of is None else unit_of(of),
        pack=pack.name,
        pack_version=pack.version,
        onset_ns=onset[0],
        at_ns=reading.measured_ns,
        delayed=delayed or reading.late or age_ns > DELAYED_NS,
        acknowledged_by=acknowledged_by,
        device=reading.device,
        zh=words[0],
        en=words[1],
        stages=Stages(
            measured_ns=reading.measured_ns,
            sent_ns=reading.sent_ns,
            received_ns=reading.received_ns,
            judged_ns=judged_ns,
            fired_ns=judged_ns,
        ),
        overlay=rule.overlay,
        values=values,
        extreme=rule.extreme,
    )


def from_condition(  # noqa: PLR0913 - an event says that much
    bed: str,
    rule: str,
    pack: Pack,
    words: tuple[str, str],
    now_ns: int,
    *,
    priority: Priority,
    onset: tuple[int, str],
    stages: Stages,
    device: str = "",
    technical: bool = True,
    extreme: bool = False,
) -> AlertEvent:
    """Return the event of a condition that no limit describes: silence, a clock, the monitor's."""
    alert = make_id(bed, rule, onset[1])
    return AlertEvent(
        event=make_id(alert, EventKind.FIRED),
        alert=alert,
        kind=EventKind.FIRED,
        bed=bed,
        rule=rule,
        technical=technical,
        priority=priority,
        vital=None,
        value=None,
        limit=None,
        unit="",
        pack=pack.name,
        pack_version=pack.version,
        onset_ns=onset[0],
        at_ns=now_ns,
        delayed=False,
        acknowledged_by=None,
        device=device,
        zh=words[0],
        en=words[1],
        stages=stages,
        extreme=extreme,
    )


def follow(
    event: AlertEvent, kind: EventKind, at_ns: int, now_ns: int, key: str = "", **changes: Any
) -> AlertEvent:
    """Return the next event of an open alert. ``key`` tells two of a kind apart.

    Firing, ending and being found happen once to an alert, so theirs is not needed.
    """
    stages = replace(event.stages, judged_ns=now_ns)  # when it fired stays what it was
    changes = {"by": "", "reason": ""} | changes
    return replace(
        event,
        event=make_id(event.alert, kind, *(() if kind in ENDS else (key or str(at_ns),))),
        kind=kind,
        at_ns=at_ns,
        stages=stages,
        **changes,
    )
