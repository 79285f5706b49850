"""A run: recorded inputs through the same pipeline, driven by the recording's own clock. Pure.

Theory of operation. Inputs are ordered by when the hub received them, then by bed, device and
number: a total order, whatever order they came in. Between two inputs everything happens that time
alone brings about, at the time it was due (``Engine.advance``); a gap of hours costs nothing.
Nothing else decides, so a run gives the same events wherever batches are cut and on every machine.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ingest.pipeline import Input, Outcome, Pipeline
from schemas.care import CareConfig
from schemas.topics import Topic
from schemas.wire import DeviceAlarmMessage, Reading, StatusMessage


@dataclass(frozen=True, slots=True)
class Arrival:
    """An input, as it reached the hub."""

    received_ns: int
    topic: Topic
    what: Input


def in_order(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """Return arrivals in the order in which a run takes them."""
    return sorted(arrivals, key=_order)


def _order(arrival: Arrival) -> tuple[int, str, int, str, str, int, int]:
    """Return a total order: by time, bed, kind, and what tells two of a kind apart."""
    what = arrival.what
    at, bed = arrival.received_ns, arrival.topic.bed
    if isinstance(what, Reading):
        return at, bed, 0, what.device, what.boot, what.seq, what.measured_ns
    if isinstance(what, StatusMessage):
        return at, bed, 1, what.device, what.state, 0, 0
    if isinstance(what, CareConfig):
        return at, bed, 2, "", "", 0, 0
    if isinstance(what, DeviceAlarmMessage):
        return at, bed, 3, what.device, f"{what.id} {what.alarm} {what.phase}", 0, 0
    return at, bed, 4, what.id, what.by, 0, 0


def rerun(pipeline: Pipeline, arrivals: Iterable[Arrival]) -> Iterator[tuple[int, Outcome]]:
    """Yield what became of each arrival, and of time between them, with the recording's time.

    ``arrivals`` are ordered as :func:`in_order` does. A pipeline that was used before goes on.
    """
    engine = pipeline.engine
    for arrival in arrivals:
        while (due := engine.next_due_ns()) is not None and due <= arrival.received_ns:
            yield due, Outcome(events=engine.advance(due))
        yield arrival.received_ns, pipeline.take(arrival.topic, arrival.what, arrival.received_ns)
