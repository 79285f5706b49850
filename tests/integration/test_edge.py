"""A county's edge: it alerts on its own, the hub takes over what it judged, once, in order."""

import asyncio
import json
import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from hub.database import connect
from hub.waves import read_waves
from tests.support.browser import browser
from tests.support.hub import Hub, free_port
from tests.support.line import Line
from tests.support.publisher import Publisher

HOSPITAL = "kaihua"
BED = f"{HOSPITAL}/icu/bed-01"


class Pair:
    """A hub, an edge, and a line between them that can be cut."""

    def __init__(self, folder):
        self.hub = Hub(folder / "hub", {"VIGIL_BROKER__ANONYMOUS": "false"})
        self.hub.start()
        made = self.hub.json("credential", "add", "edge", "--kind", "edge", "--hospital", HOSPITAL)
        self.line = Line(self.hub.settings.broker.port, free_port())
        self.line.start()
        who = f"{made['user']}:{made['password']}"
        self.edge = Hub(
            folder / "edge",
            {
                "VIGIL_EDGE__HUB": f"mqtt://{who}@127.0.0.1:{self.line.port}",
                "VIGIL_EDGE__HOSPITAL": HOSPITAL,
            },
        )
        self.edge.start()

    def stop(self):
        self.edge.stop()
        self.line.stop()
        self.hub.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    pair = Pair(tmp_path_factory.mktemp("edge"))
    yield pair
    pair.stop()


def samples(hub, bed=BED):
    """Return how many samples of a bed's waveforms are stored."""

    async def count():
        async with await connect(hub.settings.database_address) as connection:
            now = datetime.now(UTC)
            back = timedelta(hours=1)
            return [len(s.samples) for s in await read_waves(connection, bed, now - back, now)]

    return sum(asyncio.run(count()))


def alerts(hub, bed=BED):
    ended = ("resolved", "finding")
    rows = hub.json("alerts", "--bed", bed) or []
    return [row | {"open": row["kind"] not in ended} for row in rows]


def publish(edge, first, count, vitals=None, bed=BED):
    monitor = Publisher(edge.settings.broker.port, f"monitor-{first}")
    mids = {
        monitor.numerics(bed, first + n, vitals or {"hr": 80, "spo2": 97}) for n in range(count)
    }
    monitor.drain(mids)
    monitor.close()


def test_what_the_edge_judges_is_at_the_hub_once(pair):
    publish(pair.edge, 0, 50)
    pair.hub.wait("all is at the hub", lambda: pair.hub.readings(BED) == (50, 50))
    pair.edge.wait("the edge has stored it, too", lambda: pair.edge.readings(BED) == (50, 50))
    assert pair.hub.json("doctor")["services"]["intake"]["counters"]["accepted"] == 0
    counters = pair.edge.json("doctor")["services"]["forwarder"]["counters"]
    assert counters["line_up"] == 1


def test_over_a_cut_nothing_is_lost_doubled_or_judged_twice(pair):
    bed = f"{HOSPITAL}/icu/bed-02"
    publish(pair.edge, 0, 5, bed=bed)
    pair.hub.wait("the line is up", lambda: pair.hub.readings(bed) == (5, 5))
    pair.line.cut()
    publish(pair.edge, 5, 4, {"hr": 80, "spo2": 70}, bed=bed)
    pair.edge.wait("the ward is alerted", lambda: any(a["open"] for a in alerts(pair.edge, bed)))
    publish(pair.edge, 9, 200, {"hr": 80, "spo2": 97}, bed=bed)
    assert pair.hub.readings(bed) == (5, 5)
    lost = f"{HOSPITAL}/hospital/hospital"
    pair.hub.wait(
        "the hub says that the line is cut",
        lambda: [a for a in alerts(pair.hub, lost) if a["rule"] == "line_lost" and a["open"]],
        timeout=60,
    )
    pair.line.mend()
    pair.hub.wait("all is there", lambda: pair.hub.readings(bed) == (209, 209), timeout=60)
    pair.hub.wait(
        "the line is back",
        lambda: [a for a in alerts(pair.hub, lost) if a["rule"] == "line_lost" and not a["open"]],
    )

    def same():
        there, here = (
            {(a["alert"], a["rule"], a["kind"]) for a in alerts(hub, bed)}
            for hub in (pair.hub, pair.edge)
        )
        return there == here and there

    pair.hub.wait("the same alerts, by the same ids", same)


def test_live_does_not_wait_behind_the_backlog(pair):
    bed, ward = f"{HOSPITAL}/icu/bed-03", f"{HOSPITAL}/icu/bed-04"
    chunks, counters = 3_000, ("services", "forwarder", "counters")
    pair.line.cut()
    publish(pair.edge, 0, 500, bed=bed)
    monitor = Publisher(pair.edge.settings.broker.port, "drawer")
    start_ns, drawn = time.time_ns() - 3_400_000_000_000, np.arange(100) % 50
    monitor.drain({monitor.waves(bed, n, drawn, start_ns=start_ns) for n in range(chunks)})
    pair.line.mend(bytes_per_s=60_000)

    def line_up():
        said = pair.edge.json("doctor")
        for key in counters:
            said = said[key]
        return said["line_up"]

    pair.edge.wait("the line is up", line_up)
    monitor.drain({monitor.numerics(ward, 0, {"hr": 66})})
    monitor.close()
    pair.hub.wait("live is there", lambda: pair.hub.readings(ward) == (1, 1))
    then = samples(pair.hub, bed)
    assert then < chunks * 100, "the backlog was through before: nothing was shown"
    assert pair.hub.readings(bed)[0] == 500  # numerics of before, ahead of the waveforms
    pair.hub.wait("every sample", lambda: samples(pair.hub, bed) == chunks * 100, timeout=60)
    pair.line.mend()


def test_a_killed_forwarder_loses_and_doubles_nothing(pair):
    bed = f"{HOSPITAL}/icu/bed-05"
    sender = threading.Thread(target=publish, args=(pair.edge, 0, 1_500), kwargs={"bed": bed})
    sender.start()
    for _ in range(3):
        for pid in pair.edge.pids("forwarder"):
            os.kill(pid, signal.SIGKILL)
        time.sleep(1.0)
    sender.join()
    pair.hub.wait("all is there", lambda: pair.hub.readings(bed) == (1_500, 1_500), timeout=60)


def test_the_expert_at_the_hub_acts_at_the_edge(pair):
    bed = f"{HOSPITAL}/icu/bed-06"
    publish(pair.edge, 0, 4, {"hr": 80, "spo2": 70}, bed=bed)
    [open_one] = pair.hub.wait(
        "it is at the hub", lambda: [a for a in alerts(pair.hub, bed) if a["open"]]
    )
    pair.hub.account("expert")
    with browser(pair.hub.address, "expert") as expert:
        path = f"/api/beds/{bed}/alerts/{open_one['alert']}/acknowledge"
        assert expert.post(path).status_code == 202
        pair.edge.wait(
            "the edge knows",
            lambda: any(a["acknowledged_by"] == "expert" for a in alerts(pair.edge, bed)),
        )
        lines = expert.get("/api/system").json()["lines"]
        assert lines[HOSPITAL]["up"]
        pair.line.cut()
        pair.hub.wait(
            "the line counts as cut",
            lambda: not expert.get("/api/system").json()["lines"][HOSPITAL]["up"],
            timeout=40,
        )
        said = {"values": {"acvpu": "A"}}
        refused = expert.post(f"/api/beds/{bed}/observations", json=said)
        assert refused.status_code == 503
        assert "telephone" in json.dumps(refused.json())
    pair.line.mend()


def test_an_edge_judges_its_own_hospital_alone(pair):
    publish(pair.edge, 0, 1, bed="other/icu/bed-01")
    pair.edge.wait(
        "it is refused",
        lambda: any(r["reason"] == "other_hospital" for r in pair.edge.json("rejected") or []),
    )
    assert pair.edge.readings("other/icu/bed-01") == (0, 0)


def test_a_hospital_without_its_edge_is_judged_at_the_hub(pair):
    bed = f"{HOSPITAL}/icu/bed-07"
    publish(pair.edge, 0, 4, {"hr": 80, "spo2": 70}, bed=bed)
    pair.hub.wait("it is at the hub", lambda: [a for a in alerts(pair.hub, bed) if a["open"]])
    assert pair.hub.run("credential", "revoke", "edge").returncode == 0
    pair.line.cut()
    done = pair.hub.run("forget-edge", HOSPITAL)
    assert done.returncode == 0, done.stderr
    gateway = pair.hub.json("credential", "add", "gate", "--hospital", HOSPITAL)
    time.sleep(1.5)
    monitor = Publisher(
        pair.hub.settings.broker.port, "direct", (gateway["user"], gateway["password"])
    )
    monitor.drain({monitor.numerics(f"{HOSPITAL}/icu/bed-08", 1, {"hr": 70})})
    monitor.close()
    pair.hub.wait("judged", lambda: pair.hub.readings(f"{HOSPITAL}/icu/bed-08") == (1, 1))
