"""Runs: recordings and stored beds through the real pipeline, beside the live ones, repeatable."""

import json
import time

import numpy as np
import pytest
import wfdb

from simulators.wfdb_records import INVALID
from tests.integration.test_path import alerts
from tests.support.publisher import Publisher

PACK = """
name = "strict"
[silence]
after_s = 30
priority = "medium"
zh = "床位无数据"
en = "No data from bed"
[[limit]]
id = "hr_high"
vitals = ["hr"]
above = 75
recovery = 70
priority = "low"
zh = "心率过高"
en = "Heart rate high"
"""


@pytest.fixture
def stranger(hub):
    publisher = Publisher(hub.settings.broker.port, "runs")
    yield publisher
    publisher.close()


def canonical(hub, *arguments):
    done = hub.run("alerts", "--canonical", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def a_file(tmp_path, name="mine.csv"):
    rows = []
    for t in range(0, 400, 2):
        if not 150 < t < 250:
            hr = 150 if 40 < t < 90 else 80
            rows += [f"p1,{t},{hr},97,1.5", f"p2,{t},82,{'75' if t > 300 else '96'},"]
    file = tmp_path / name
    file.write_text("record,t_seconds,hr_bpm,spo2_pct,Lactate\n" + "\n".join(rows) + "\n")
    return file


def replayed(hub, *arguments, run):
    done = hub.run("replay", *arguments, "--run", run, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_run_is_the_same_to_the_byte_and_never_among_the_live(hub, tmp_path):
    file = a_file(tmp_path)
    one = replayed(hub, str(file), "--speed", "max", run="same-1")
    assert one["readings"] == 302
    replayed(hub, str(file), "--speed", "4000", run="same-2")
    first, second = canonical(hub, "--run", "same-1"), canonical(hub, "--run", "same-2")
    assert first == second
    lines = [json.loads(line) for line in first.splitlines()]
    assert {line["rule"].partition("/")[0] for line in lines} == {
        "hr_high",
        "hr_extreme_high",
        "spo2_low",
        "spo2_extreme_low",
        "no_data",
    }
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    assert alerts(hub, "replay/icu/p1") == []
    assert "replay/icu/p1" not in [b["name"] for b in hub.json("doctor")["database"]["beds"]]
    done = hub.run("export", "--bed", "replay/icu/p2", "--run", "same-1")
    assert "75" in done.stdout
    assert {"same-1", "same-2"} <= {run["id"] for run in hub.json("runs")}
    assert "there already" in hub.run("replay", str(file), "--run", "same-1").stderr
    hub.run("runs", "--delete", "same-2")
    assert "no run same-2" in hub.run("alerts", "--run", "same-2").stderr


def test_silence_respects_rows_that_are_an_hour_apart(hub, tmp_path):
    file = tmp_path / "hourly.csv"
    rows = "".join(f"{h * 3600},{70 + h}\n" for h in range(12) if h not in (6, 7, 8, 9))
    file.write_text("t_seconds,hr_bpm\n" + rows)
    done = hub.run("replay", str(file), "--run", "hourly")
    assert "a row every 3600 s" in done.stderr
    silent = [json.loads(line) for line in canonical(hub, "--run", "hourly").splitlines()]
    assert [(e["rule"], e["kind"], e["at"][:16]) for e in silent] == [
        ("no_data", "fired", "2000-01-01T08:00"),
        ("no_data", "resolved", "2000-01-01T10:00"),
    ]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("t_seconds,hr_bpm\n0,70\n1,abc\n", "line 3 column hr_bpm"),
        ("\x89PNG", "t_seconds"),
        ("", "t_seconds"),
    ],
)
def test_a_bad_file_is_refused_and_leaves_no_run(hub, tmp_path, content, names):
    file = tmp_path / "bad.csv"
    file.write_text(content)
    before = hub.json("runs")
    done = hub.run("replay", str(file), "--speed", "max")
    assert done.returncode == 1
    assert names in done.stderr
    assert "Traceback" not in done.stderr
    assert hub.json("runs") == before


def test_a_stored_bed_replays_to_the_ledger_it_had_and_to_what_other_rules_would_say(
    hub, stranger, tmp_path
):
    bed = "runs/icu/bed-1"
    now_ms = time.time_ns() // 1_000_000
    mids = set()
    for seq in range(60):
        hr = 150 if 10 <= seq < 40 else 72
        at = now_ms - 60_000 + seq * 1000
        vitals = {"hr": hr, "spo2": 97.5, "lactate": 1.25}
        mids.add(stranger.numerics(bed, seq, vitals, measured_ms=at, sent_at=at, device="runs-1"))
    stranger.drain(mids)
    hub.wait("all is stored", lambda: hub.readings(bed)[1] == 60)
    hub.wait("it resolved", lambda: (a := alerts(hub, bed)) and a[0]["kind"] == "resolved")
    wanted = canonical(hub, "--bed", bed)
    window = ("--bed", bed, "--from", "-5m", "--to", "now")
    gave = replayed(hub, *window, run="night-1")
    assert gave["readings"] == 60
    assert canonical(hub, "--run", "night-1") == wanted
    pack = tmp_path / "strict.toml"
    pack.write_text(PACK, "utf-8")
    replayed(hub, *window, "--pack", str(pack), run="night-2")
    other = [json.loads(line) for line in canonical(hub, "--run", "night-2").splitlines()]
    assert {e["pack"] for e in other} == {"strict"}
    assert {e["priority"] for e in other if e["rule"] == "hr_high/hr"} == {"low"}
    done = hub.run("export", "--run", "night-1", "--bed", bed)
    assert done.stdout.count("lactate=1.25") == 60


def test_a_burst_of_an_unnumbered_device_replays_in_the_order_in_which_it_came(hub, stranger):
    bed = "runs/icu/bed-2"
    now_ms = time.time_ns() // 1_000_000
    mids = set()
    for number in range(80):
        if number == 40:
            for state in ("ended", "online"):
                body = {"v": 1, "device": "plain-1", "state": state}
                mids.add(stranger.send(f"vigil/v1/{bed}/status", body, retain=True))
        hr = 160 if 5 <= number < 30 or number > 60 else 70
        body = {
            "v": 1,
            "device": "plain-1",
            "measured_at": now_ms - 80_000 + number * 1000,
            "vitals": {"hr": hr + number % 3},
        }
        mids.add(stranger.send(f"vigil/v1/{bed}/numerics", body))
    stranger.drain(mids)
    hub.wait("all is stored", lambda: hub.readings(bed)[0] == 80)
    hub.wait("it fired", lambda: (a := alerts(hub, bed)) and a[0]["kind"] == "fired")
    wanted = canonical(hub, "--bed", bed)
    assert wanted.count("\n") >= 3
    replayed(hub, "--bed", bed, "--from", "-5m", "--to", "now", run="burst")
    assert canonical(hub, "--run", "burst") == wanted


def a_record(folder, seconds=90):
    """A WFDB record of two rates with a gap of missing samples."""
    rng = np.random.default_rng(4)
    ecg = np.cumsum(rng.integers(-20, 21, 250 * seconds))
    ecg[500:750] = -32_768
    abp = 800 + np.cumsum(rng.integers(-3, 4, 125 * seconds))
    wfdb.wrsamp(
        "rec1",
        fs=125,
        units=["mV", "mmHg"],
        sig_name=["II", "ABP"],
        e_d_signal=[ecg, abp],
        samps_per_frame=[2, 1],
        fmt=["16", "16"],
        adc_gain=[200.0, 16.0],
        baseline=[0, -50],
        write_dir=str(folder),
    )
    return folder / "rec1.hea", {"II": ecg, "ABP": abp}


def test_a_wfdb_record_is_published_stored_and_exported_sample_for_sample(hub, tmp_path):
    header, signals = a_record(tmp_path, seconds=12)
    done = hub.run("replay", str(header), "--hospital", "wave", timeout=60)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out" / "live"

    def same():
        hub.run("export", "--bed", "wave/icu/rec1", "--format", "wfdb", "--output", str(out))
        return out.with_suffix(".hea").exists() and check(out, signals)

    hub.wait("all samples are stored", same)


def check(out, signals):
    found = wfdb.rdrecord(str(out), physical=False, smooth_frames=False)
    return sorted(found.sig_name) == sorted(signals) and all(
        np.array_equal(found.e_d_signal[i], signals[name]) for i, name in enumerate(found.sig_name)
    )


def test_a_wfdb_record_in_a_run_is_exported_sample_for_sample(hub, tmp_path):
    header, signals = a_record(tmp_path)
    gave = replayed(hub, str(header), "--speed", "max", run="wave-1")
    assert gave["samples"] == sum(map(len, signals.values()))
    out = tmp_path / "copy"
    bed = ("--bed", "replay/icu/rec1")
    hub.run("export", "--run", "wave-1", *bed, "--format", "wfdb", "--output", str(out))
    assert check(out, signals)
    physical = [wfdb.rdrecord(str(p)) for p in (header.with_suffix(""), out)]
    assert physical[0].units == ["mV", "mmHg"]
    for i, name in enumerate(physical[0].sig_name):
        at = physical[1].sig_name.index(name)
        one, two = physical[0].p_signal[:, i], physical[1].p_signal[:, at]
        assert np.array_equal(one, two, equal_nan=True)


@pytest.mark.parametrize("name", ["a142s", "041s", "t409l"])
def test_real_wfdb_records_come_back_sample_for_sample(hub, recordings, tmp_path, name):
    replayed(hub, str(recordings / "waveforms" / f"{name}.hea"), run=f"real-{name}")
    out = tmp_path / name
    bed = ("--bed", f"replay/icu/{name}")
    done = hub.run(
        "export", "--run", f"real-{name}", *bed, "--format", "wfdb", "--output", str(out)
    )
    assert done.returncode == 0, done.stderr
    found = wfdb.rdrecord(str(out), physical=False, smooth_frames=False)
    parts = ["041s01", "041s02"] if name == "041s" else [name]
    reads = [
        wfdb.rdrecord(str(recordings / "waveforms" / p), physical=False, smooth_frames=False)
        for p in parts
    ]
    for i, signal in enumerate(reads[0].sig_name):
        whole = np.concatenate([read.e_d_signal[i] for read in reads])
        none = INVALID[reads[0].fmt[i]]  # each format has its own sample that stands for none
        whole = np.where(whole == none, -32_768, whole)
        ours = found.e_d_signal[found.sig_name.index(signal)]
        assert np.array_equal(ours, whole), signal


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda text: "", "empty"),
        (lambda text: "nonsense\n", "line 1"),
        (lambda text: text.replace(" 125 ", " zero ", 1), "rate"),
        (lambda text: text.replace("16x2", "16z2", 1), "line 2"),
        (lambda text: text.replace("rec1.dat", "gone.dat", 1), "gone.dat is not beside"),
        (lambda text: text.replace("200.0", "two", 1), "gain"),
        (lambda text: "\n".join(text.splitlines()[:2]) + "\n", "announced"),
    ],
)
def test_a_corrupted_wfdb_header_is_refused_naming_file_and_line(hub, tmp_path, change, names):
    header, _ = a_record(tmp_path)
    header.write_text(change(header.read_text("utf-8")), "utf-8")
    done = hub.run("replay", str(header), "--speed", "max", "--run", "broken")
    assert done.returncode == 1
    assert names in done.stderr
    assert "rec1.hea" in done.stderr
    assert "Traceback" not in done.stderr
    assert "broken" not in {run["id"] for run in hub.json("runs")}


def test_a_truncated_signal_file_is_refused(hub, tmp_path):
    header, _ = a_record(tmp_path)
    data = header.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:1000])
    done = hub.run("replay", str(header), "--speed", "max", "--run", "short")
    assert done.returncode == 1
    assert "rec1" in done.stderr
    assert "short" not in {run["id"] for run in hub.json("runs")}


def test_reports_of_a_run_can_be_read_without_anything_running(tmp_path):
    from tests.support.hub import Hub

    alone = Hub(tmp_path / "alone")
    replayed(alone, str(a_file(tmp_path)), "--speed", "max", run="alone")
    assert canonical(alone, "--run", "alone").count("\n") > 3


def test_what_cannot_be_done_says_why(hub, tmp_path):
    for arguments, names in (
        (("export", "--bed", "a/b/c", "--from", "now", "--to", "-1h"), "is not before"),
        (("export", "--bed", "nope"), "hospital/unit/bed"),
        (("export", "--bed", "a/b/never"), "never seen"),
        (("runs", "--delete", "nosuch"), "no run nosuch"),
        (("replay", "x.csv", "--run", "BAD_ID"), "use 1-40"),
        (("replay", str(tmp_path), "--speed", "max"), "is a directory"),
        (("replay", "x.csv", "--speed", "fast"), "--speed"),
        (("replay",), "give a file"),
    ):
        done = hub.run(*arguments)
        assert done.returncode == 1, arguments
        assert names in done.stderr, (arguments, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stdout == "", arguments
    header, _ = a_record(tmp_path)
    replayed(hub, str(header), run="names")
    for output in ("a b", ""):
        out = str(tmp_path / output)
        bed = ("--bed", "replay/icu/rec1")
        done = hub.run("export", "--run", "names", *bed, "--format", "wfdb", "--output", out)
        assert (done.returncode, "name the record" in done.stderr) == (1, True), done.stderr


def test_a_replay_onto_a_wire_that_is_not_there_says_so(tmp_path):
    from tests.support.hub import Hub

    alone = Hub(tmp_path / "nobody")
    done = alone.run("replay", str(a_file(tmp_path)), timeout=30)
    assert done.returncode == 1
    assert "start `vigil up`" in done.stderr


def test_a_stored_bed_replays_onto_the_wire_at_once(hub, stranger):
    bed = "runs/icu/bed-3"
    now_ms = time.time_ns() // 1_000_000
    mids = {
        stranger.numerics(bed, seq, {"hr": 70 + seq}, measured_ms=now_ms - 3000 + seq * 1000)
        for seq in range(3)
    }
    stranger.drain(mids)
    hub.wait("it is stored", lambda: hub.readings(bed)[0] == 3)
    window = ("--from", "-1h", "--to", "now", "--speed", "1", "--hospital", "again")
    done = hub.run("replay", "--bed", bed, *window, timeout=30)
    assert done.returncode == 0, done.stderr
    hub.wait("it came again", lambda: hub.readings("again/icu/runs-icu-bed-3")[0] == 3)
