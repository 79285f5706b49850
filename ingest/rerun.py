"""A run: recorded inputs through the same pipeline, driven by the recording's own clock. Pure.

Theory of operation. Inputs are ordered by when the hub received them, then by bed, device and
number: a total order, whatever order they came in. Between two inputs time passes in whole seconds
of the recording's clock: a tick is given to a bed at the first whole second after the moment at
which it would change something, so that a gap of hours costs nothing. Nothing else decides, so a
run gives the same events wherever batches are cut and on every machine.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

from ingest.pipeline import Input, Outcome, Pipeline
from schemas.times import S
from schemas.topics import Topic
from schemas.wire import Reading, StatusMessage


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
    return at, bed, 2, what.alert, what.by, 0, 0


def rerun(pipeline: Pipeline, arrivals: Iterable[Arrival]) -> Iterator[tuple[int, Outcome]]:
    """Yield what became of each arrival and each tick, with the time in the recording.

    ``arrivals`` are ordered as :func:`in_order` does. A pipeline that was used before goes on.
    """
    engine = pipeline.engine
    waiting: list[tuple[int, str]] = []
    known: dict[str, int] = {}

    def note(bed: str) -> None:
        due = engine.due_ns(bed)
        if due is not None and known.get(bed) != due:
            known[bed] = due
            heappush(waiting, (due, bed))

    for bed in engine.state.beds:
        note(bed)
    for arrival in arrivals:
        while waiting and waiting[0][0] // S * S + S <= arrival.received_ns:
            due, bed = heappop(waiting)
            if engine.due_ns(bed) != due:
                continue  # it was heard meanwhile; what it waits for now is in the heap
            known.pop(bed, None)
            tick_ns = due // S * S + S
            yield tick_ns, Outcome(events=engine.tick_bed(bed, tick_ns))
            note(bed)
        yield arrival.received_ns, pipeline.take(arrival.topic, arrival.what, arrival.received_ns)
        note(arrival.topic.bed)
