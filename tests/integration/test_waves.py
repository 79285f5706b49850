"""Waveforms from a stranger's client to the database: nothing lost, gaps kept, odd chunks named."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hub.database import connect
from hub.waves import read_waves
from schemas.times import to_datetime
from tests.support.publisher import Publisher

S = 1_000_000_000


@pytest.fixture
def stranger(hub):
    publisher = Publisher(hub.settings.broker.port, f"waves-{time.time_ns()}")
    yield publisher
    publisher.close()


def stored(hub, bed, start_ns, channel="ecg-ii"):
    async def read():
        async with await connect(hub.settings.database_address) as connection:
            return await read_waves(
                connection, bed, to_datetime(start_ns), to_datetime(start_ns + 3600 * S), channel
            )

    return asyncio.run(read())


def total(segments):
    return sum(len(segment.samples) for segment in segments)


def a_start():
    return (time.time_ns() - 400 * S) // S * S


def signal_of(seconds, seed=1):
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.integers(-9, 10, seconds * 100)).astype(np.int16)


def test_samples_are_stored_as_they_came_with_their_gaps(hub, stranger):
    bed, start, samples = "wv1/icu/bed-1", a_start(), signal_of(150)
    mids = {
        stranger.waves(bed, seq, samples[seq * 100 : seq * 100 + 100], start_ns=start)
        for seq in range(150)
        if not 70 <= seq < 80
    }
    mids.add(stranger.waves(bed, 5, samples[500:600], start_ns=start))  # a repeat
    stranger.drain(mids)
    found = hub.wait("all is there", lambda: total(f := stored(hub, bed, start)) == 14_000 and f)
    assert [(s.start_ns - start, len(s.samples)) for s in found] == [(0, 7000), (80 * S, 7000)]
    whole = np.concatenate([s.samples for s in found])
    assert np.array_equal(whole, np.concatenate([samples[:7000], samples[8000:]]))

    def in_blocks():
        counters = hub.json("doctor")["services"]["recorder"]["counters"]
        return counters["wave_blocks"] >= 3 and counters

    counters = hub.wait("they stand in blocks", in_blocks, timeout=40)
    assert counters["wave_chunks_missing"] >= 10
    again = stored(hub, bed, start)
    assert np.array_equal(np.concatenate([s.samples for s in again]), whole)


def test_bad_and_odd_chunks_are_named_and_cost_nothing_else(hub, stranger):
    bed, start = "wv2/icu/bed-1", a_start()
    one = np.ones(100, np.int16)
    mids = {stranger.waves(bed, 0, one, start_ns=start)}
    topic = f"vigil/v1/{bed}/waves"
    mids.add(stranger.send(f"{topic}/ecg-ii", b"VGW1 too short"))
    mids.add(stranger.send(f"{topic}/ECG", b"x"))
    mids.add(stranger.waves(bed, 1, one, start_ns=start, rate_hz=100_000.0))
    mids.add(stranger.waves(bed, 1, one, start_ns=start, scale=0.0))
    mids.add(stranger.waves(bed, 1, one * 2, start_ns=start, measured_ns=start + S // 2))
    mids.add(stranger.waves(bed, 2, one * 3, start_ns=start, rate_hz=50.0))
    mids.add(stranger.waves(bed, 3, one * 4, start_ns=start + S))
    stranger.drain(mids)

    def named():
        details = {r["detail"] for r in hub.json("rejected") if r["topic"].startswith(topic)}
        # one example is kept a kind and device: the newest
        kinds = {(r["device"], r["reason"]) for r in hub.json("rejected")}
        return {("mon-1", "wave"), ("mon-1", "wave_odd"), (bed, "wave")} <= kinds and details

    hub.wait("they are listed", named)
    # the overlapping half of the second chunk is kept, but the first shows
    found = hub.wait("good ones are stored", lambda: (f := stored(hub, bed, start)) and f)
    assert total(found) >= 250
    assert found[0].samples[:100].tolist() == [1] * 100


@pytest.mark.parametrize("victim", ["recorder", "database", "broker"])
def test_kill_9_under_waves_loses_and_doubles_no_sample(hub, stranger, victim):
    bed, start, samples = f"wk-{victim}/icu/bed-1", a_start(), signal_of(200, seed=2)
    mids = set()
    for seq in range(200):
        part = samples[seq * 100 : seq * 100 + 100]
        mids.add(stranger.waves(bed, seq, part, start_ns=start))
        if seq == 90:
            [pid] = hub.pids(victim)
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    stranger.drain(mids, timeout=60)
    found = hub.wait(
        "all samples are stored",
        lambda: total(f := stored(hub, bed, start)) == 20_000 and f,
        timeout=60,
    )
    assert np.array_equal(np.concatenate([s.samples for s in found]), samples)
    hub.wait("the hub is whole again", lambda: hub.json("doctor")["ok"], timeout=30)


def test_the_snippet_of_the_documentation_works_as_printed(hub):
    text = (Path(__file__).parents[2] / "docs" / "wire.md").read_text("utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)
    port = str(hub.settings.broker.port)
    code = code.replace("1883", port).replace("my-hospital", "wire-doc")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    start = time.time_ns() - 60 * S
    found = hub.wait(
        "it is stored", lambda: total(f := stored(hub, "wire-doc/icu/bed-1", start)) == 1000 and f
    )
    assert len(found) == 1
    assert found[0].samples.max() == 100
