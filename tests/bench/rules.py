"""What rules cost: CPU a message and bytes a bed, all rules and scores on, beside the pipeline."""

import time
from itertools import islice
from typing import Any

import msgspec
import numpy as np

from alerts.engine import Engine
from ingest.pipeline import Pipeline
from schemas.codec import encode_numerics
from schemas.times import MS, S
from simulators.patients import make_patient, readings
from tests.support.readings import pipeline, rules

START_NS = 1_795_000_000 * S
WARM_S = 30
SHARE_TROUBLED = 20
"""One bed in so many is a patient who deteriorates."""


def _messages(beds: int, seconds: int) -> list[tuple[str, bytes, int]]:
    """Return a reading a second of every bed, in the order in which they arrive."""
    streams = []
    for number in range(beds):
        story = "haemorrhage" if number % SHARE_TROUBLED == 0 else "stable"
        who = make_patient(f"b/icu/b{number}", story, np.random.default_rng([5, number]))
        stream = readings(who, np.random.default_rng([6, number]), boot="b", start_ns=START_NS)
        streams.append(list(islice(stream, seconds)))
    return [
        (f"vigil/v1/{r.bed}/numerics", encode_numerics(r), r.measured_ns + 5 * MS)
        for second in zip(*streams, strict=True)
        for r in second
    ]


def _run(messages: list[tuple[str, bytes, int]], beds: int) -> tuple[Pipeline, float, float]:
    """Return a pipeline that took all, CPU us a message of all of it, and of the engine in it."""
    line = pipeline()
    engine = line.engine
    spent = 0.0
    step, advance = engine.step, engine.advance

    def timed_step(*given: Any) -> Any:
        nonlocal spent
        began = time.perf_counter()
        found = step(*given)
        spent += time.perf_counter() - began
        return found

    def timed_advance(now_ns: int) -> Any:
        nonlocal spent
        began = time.perf_counter()
        found = advance(now_ns)
        spent += time.perf_counter() - began
        return found

    take = line.message
    warm = WARM_S * beds
    for topic, payload, received_ns in messages[:warm]:
        take(topic, payload, received_ns)
    began = time.process_time()
    for topic, payload, received_ns in messages[warm:]:
        take(topic, payload, received_ns)
    whole = time.process_time() - began
    count = len(messages) - warm
    line = pipeline()
    engine = line.engine
    step, advance = engine.step, engine.advance
    engine.step, engine.advance = timed_step, timed_advance  # type: ignore[method-assign]
    for topic, payload, received_ns in messages:
        line.message(topic, payload, received_ns)
    del engine.step, engine.advance
    began = time.perf_counter()
    for _ in messages:  # what reading the clock four times costs is not the rules' cost
        time.perf_counter()
        time.perf_counter()
    clock = time.perf_counter() - began
    return line, 1e6 * whole / count, 1e6 * (spent - clock) / len(messages)


def _plain(messages: list[tuple[str, bytes, int]]) -> float:
    """Return what bare comparisons with the same limits cost, us a message: no state, no words."""
    limits = {
        vital: [(r.terms[0].above, r.terms[0].trigger) for r in some]
        for vital, some in rules().baseline.by_vital.items()
    }
    values = [msgspec.json.decode(payload)["vitals"] for _, payload, _ in messages]
    broken = 0
    began = time.process_time()
    for some in values:
        for vital, value in some.items():
            if value is not None and vital in limits:
                for above, trigger in limits[vital]:
                    broken += value > trigger if above else value < trigger
    return 1e6 * (time.process_time() - began) / len(values)


def measure(*, beds: int, seconds: float) -> dict[str, Any]:
    """Measure without a hub: one process, the pure pipeline alone."""
    messages = _messages(beds, max(2 * WARM_S, int(seconds)))
    line, whole_us, engine_us = _run(messages, beds)
    state = line.state.engine
    assert isinstance(line.engine, Engine)
    encoded = sorted(len(msgspec.msgpack.encode(bed)) for bed in state.beds.values())
    vitals = sorted(len(msgspec.msgpack.encode(v)) for v in line.state.vitals.values())
    return {
        "messages": len(messages),
        "rules": len(rules().baseline.rules),
        "open_alerts": len(list(line.engine.open_alerts())),
        "pipeline_us_a_message": round(whole_us, 2),
        "rules_us_a_message": round(engine_us, 2),
        "plain_comparisons_us_a_message": round(_plain(messages), 2),
        "engine_bytes_a_bed_mean": round(sum(encoded) / len(encoded)),
        "newest_values_bytes_a_bed_mean": round(sum(vitals) / len(vitals)),
        "engine_bytes_a_bed_max": encoded[-1],
    }
