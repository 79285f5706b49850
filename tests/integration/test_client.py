"""What programs read: the Python client, and the views that a reader of the database has."""

import time

import numpy as np
import psycopg
import pytest

from hub.client import Vigil
from schemas.errors import HubError
from schemas.waves import WaveChunk, encode_chunk
from tests.support.publisher import Publisher

BED = "cl/icu/bed-1"


@pytest.fixture(scope="module")
def ward(hub):
    hub.account("researcher", role="quality-lead", scope=("cl",))
    publisher = Publisher(hub.settings.broker.port, "client")
    now = int(time.time() * 1000)
    mids = set()
    for i in range(60):
        values = {"hr": 60 + i, "spo2": 70 if i > 50 else 97, "temp": 36.6}
        if i == 3:
            values["temp"] = None
        mids.add(publisher.numerics(BED, i, values, measured_ms=now - (59 - i) * 1000))
    for part in range(2):
        samples = np.arange(part * 500, part * 500 + 500, dtype=np.int16)
        start = (now - 30_000 + part * 2000) * 1_000_000
        chunk = WaveChunk(
            BED, "abp", "mon-1", "b1", "mm[Hg]", part, start, None, start, 250.0, 0.1, 0.0, samples
        )
        mids.add(publisher.send(f"vigil/v1/{BED}/waves/abp", encode_chunk(chunk)))
    publisher.drain(mids)
    hub.wait("all is stored", lambda: hub.readings(BED)[0] == 60)
    yield hub, publisher
    publisher.close()


@pytest.fixture
def client(ward):
    hub, _ = ward
    with Vigil(hub.address, username="researcher", password="long enough") as one:
        yield one


def test_numerics_are_a_frame_of_usable_values(ward, client):
    frame = client.read_numerics(BED, "-10m")
    assert list(frame["hr"]) == [60 + i for i in range(60)]
    assert np.isnan(frame["temp"].iloc[3])
    assert frame.attrs["units"]["temp"] == "Cel"
    assert str(frame.index.tz) == "UTC"
    assert set(frame.columns) == {"hr", "spo2", "temp", "device"}
    whole = client.read_numerics(BED, "-10m", usable_only=False)
    assert whole["not_usable"].iloc[3] == "temp=missing"
    assert client.beds() == [BED]


def test_waves_come_sample_for_sample(ward, client):
    hub, _ = ward
    (wave,) = hub.wait("the wave is there", lambda: client.read_wave(BED, "abp", "-5m"))
    assert wave.samples.tolist() == list(range(1000))
    assert wave.values[10] == pytest.approx(1.0)
    assert (wave.times[250] - wave.times[0]) == np.timedelta64(1, "s")
    assert wave.unit == "mm[Hg]"


def test_alerts_are_a_frame_and_changes_a_stream(ward, client):
    hub, publisher = ward
    found = hub.wait("the alert is there", lambda: [a for a in [client.alerts(BED)] if len(a)])
    assert "spo2" in " ".join(found[0]["rule"])
    changes = client.stream(BED)
    first = next(changes)
    assert first
    publisher.numerics(BED, 100, {"hr": 111})
    assert any("111" in str(next(changes)) for _ in range(50))
    changes.close()


def test_what_is_not_theirs_or_cannot_be_is_said(ward, client):
    url = ward[0].address
    for wrong, said in (
        (lambda: client.read_numerics("th/icu/bed-1"), "403"),
        (lambda: client.read_numerics(BED, "yesterday"), "-1h"),
        (lambda: client.read_numerics(BED, "now", "-1h"), "422"),
        (lambda: Vigil(url, username="researcher", password="wrong one"), "signed in"),
    ):
        with pytest.raises(HubError, match=said):
            wrong()


def test_a_reader_sees_the_views_and_nothing_else(ward):
    hub, _ = ward
    made = hub.run("reader", "grafana")
    assert made.returncode == 0, made.stderr
    address = made.stdout.strip()
    with psycopg.connect(address) as connection:
        rows = connection.execute(
            "SELECT count(*), max(hr) FROM vitals_day WHERE bed = %s", (BED,)
        ).fetchone()
        assert rows[0] >= 60
        views = connection.execute(
            "SELECT table_name FROM information_schema.views WHERE table_schema = 'report'"
        ).fetchall()
        for (view,) in views:
            connection.execute(f"SELECT * FROM {view} LIMIT 1")
        assert len(views) == 9
    for forbidden in (
        "SELECT * FROM public.account",
        "SELECT * FROM identity.patient",
        "SELECT * FROM public.numerics",
        "CREATE TABLE report.x (a int)",
    ):
        with psycopg.connect(address) as connection, pytest.raises(psycopg.Error):
            connection.execute(forbidden)
    assert "another account" in hub.run("reader", "postgres").stderr
    assert hub.run("reader", "grafana", "--revoke").returncode == 0
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(address)
