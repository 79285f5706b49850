"""Exports of a real hub: what was sent comes out again, and says of whom nothing."""

import csv
import json
import time

import numpy as np
import pyarrow.dataset as ds
import pytest
import wfdb

from tests.support.publisher import Publisher

BED = "ex/icu/bed-1"


@pytest.fixture(scope="module")
def ward(hub):
    """A patient in a bed whose numbers are known."""
    done = hub.run("care", "admit", "--bed", BED, "--age", "61", "--by", "test", "--at", "-1h")
    assert done.returncode == 0, done.stderr
    publisher = Publisher(hub.settings.broker.port, "exports")
    sent = {}
    now = int(time.time() * 1000) // 1000 * 1000
    mids = set()
    for i in range(120):
        values = {"hr": 60 + i % 30, "temp": 36.0 + i / 100, "spo2": 97.5, "sphb": 12.3}
        if i == 7:
            values["spo2"] = None
        mids.add(publisher.numerics(BED, i, values, measured_ms=now - (119 - i) * 1000))
        sent[now - (119 - i) * 1000] = values
    publisher.drain(mids)
    publisher.close()
    hub.wait("all is stored", lambda: hub.readings(BED)[0] == 120)
    return hub, sent


def test_a_parquet_data_set_holds_what_was_sent_and_no_name(ward, tmp_path):
    hub, sent = ward
    out = tmp_path / "set"
    done = hub.run("export", "--all", "ex", "--format", "parquet", "--output", str(out))
    assert done.returncode == 0, done.stderr
    table = ds.dataset(out / "numerics", partitioning="hive").to_table().sort_by("time")
    assert table["hr"].to_pylist() == [v["hr"] for v in sent.values()]
    assert np.array_equal(table["temp"].to_numpy(), np.float32([v["temp"] for v in sent.values()]))
    assert table["not_usable"][7].as_py() == "spo2=missing"
    times = [t.timestamp() * 1000 for t in table["time"].to_pylist()]
    moved = {round((t - s) / 86_400_000, 6) for t, s in zip(times, sent, strict=True)}
    assert len(moved) == 1
    assert float(moved.pop()).is_integer()
    rare = ds.dataset(out / "rare", partitioning="hive").to_table()
    assert set(rare["vital"].to_pylist()) == {"sphb"}
    assert len(rare) == 120
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["de_identified"]
    assert (manifest["readings"], manifest["values"]) == (120, 120 * 4 - 1)
    assert "hr" in (out / "dictionary.csv").read_text("utf-8")
    for path in out.rglob("*"):
        assert b"ex/icu" not in str(path).encode()
        if path.is_file():
            body = path.read_bytes()
            assert BED.encode() not in body
            assert b"mon-1" not in body
    again = hub.run("export", "--all", "ex", "--format", "parquet", "--output", str(out))
    assert "there already" in again.stderr


def test_the_same_patient_is_the_same_subject_in_every_export(ward, tmp_path):
    hub, _ = ward
    seen = []
    for name in ("a.csv", "b.csv"):
        path = tmp_path / name
        hub.run("export", "--bed", BED, "--output", str(path))
        with path.open() as file:
            seen.append({(r["subject"], r["measured_at"]) for r in csv.DictReader(file)})
    assert seen[0] == seen[1]
    assert {s[0] for s, _ in seen[0]} == {"p"}


def test_identified_files_are_as_it_was(ward, tmp_path):
    hub, sent = ward
    path = tmp_path / "true.csv"
    hub.run("export", "--bed", BED, "--identified", "--output", str(path))
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert {r["bed"] for r in rows} == {BED}
    assert [float(r["hr"]) for r in rows] == [v["hr"] for v in sent.values()]


def test_a_wfdb_record_of_numbers_is_bit_exact(ward, tmp_path):
    hub, sent = ward
    done = hub.run(
        "export", "--bed", BED, "--format", "wfdb", "--identified", "--output", str(tmp_path / "r")
    )
    assert done.returncode == 0, done.stderr
    record = wfdb.rdrecord(str(tmp_path / "r"))
    column = record.sig_name.index("temp")
    assert np.array_equal(
        record.p_signal[:, column].astype(np.float32),
        np.float32([v["temp"] for v in sent.values()]),
    )
    spo2 = record.p_signal[:, record.sig_name.index("spo2")]
    assert np.isnan(spo2[7])
    assert (np.delete(spo2, 7) == 97.5).all()


def test_a_full_disk_leaves_nothing_and_years_of_nothing_take_no_time(ward, tmp_path):
    import subprocess
    import sys

    hub, _ = ward
    command = f"ulimit -f 1; {sys.executable} -m hub export --all ex --format parquet --output"
    done = subprocess.run(
        ["bash", "-c", f"{command} {tmp_path}/full"],
        env=hub.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []
    long = ("--from", "2000-01-01T00:00:00Z", "--format", "parquet")
    done = hub.run("export", "--all", "ex", *long, "--output", str(tmp_path / "years"))
    assert "120 readings" in done.stderr
