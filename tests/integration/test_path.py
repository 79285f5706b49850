"""The path of one sample through the real broker, services and database."""

import csv
import json
import os
import signal
import time
from io import StringIO

import msgspec
import psycopg
import pytest

from schemas.judged import pack
from tests.support.hub import Hub
from tests.support.publisher import Publisher
from tests.support.readings import T0, reading

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def stranger(hub, request):
    publisher = Publisher(hub.settings.broker.port, f"t-{request.node.name[:40]}")
    yield publisher
    publisher.close()


def exported(hub, bed):
    done = hub.run("export", "--bed", bed, "--from", "-1h", "--to", "now", "--format", "csv")
    return list(csv.DictReader(StringIO(done.stdout))) if done.returncode == 0 else []


def alerts(hub, bed):
    return hub.json("alerts", "--bed", bed) or []


def test_first_reading_of_a_stranger_is_stored_and_exported(hub, stranger):
    bed = "t1/icu/bed-1"
    body = {
        "v": 1,
        "device": "my-monitor",
        "measured_at": time.time_ns() // 1_000_000,
        "vitals": {"hr": 72, "spo2": 97, "lactate": 2.1, "rr": None},
    }
    stranger.drain({stranger.send(f"vigil/v1/{bed}/numerics", body)})
    [row] = hub.wait("the reading is stored", lambda: exported(hub, bed))
    assert (row["hr"], row["spo2"], row["rr"], row["other"]) == ("72", "97", "", "lactate=2.1")
    assert row["not_usable"] == "rr=missing"


def test_alert_fires_reaches_the_ledger_is_acknowledged_and_resolves(hub, stranger):
    bed = "t2/icu/bed-1"
    for seq in range(8):
        stranger.numerics(bed, seq, {"spo2": 74})
        time.sleep(0.1)
    [alert] = hub.wait("the alert is stored", lambda: alerts(hub, bed))
    assert (alert["rule"], alert["priority"], alert["kind"]) == (
        "spo2_extreme_low/spo2",
        "high",
        "fired",
    )
    assert "血氧饱和度极低" in alert["zh"]
    assert "74" in alert["en"]
    assert len(alert["pack_version"]) == 12
    stages = [
        alert[f"{s}_at"]
        for s in ("measured", "sent", "received", "judged", "fired", "published", "stored")
    ]
    assert stages[2:] == sorted(stages[2:])
    command = {
        "v": 1,
        "id": "c1",
        "kind": "acknowledge",
        "alert": alert["alert"],
        "by": "护士",
        "at_ns": time.time_ns(),
    }
    stranger.send(f"vigil/v1/{bed}/commands", command)
    hub.wait("it is acknowledged", lambda: alerts(hub, bed)[0]["acknowledged_by"] == "护士")
    start = time.time_ns() // 1_000_000
    for seq in range(8, 16):
        stranger.numerics(bed, seq, {"spo2": 97}, measured_ms=start + (seq - 8) * 1000)
    hub.wait("it resolves", lambda: alerts(hub, bed)[0]["kind"] == "resolved")
    kinds = [e["kind"] for e in hub.json("alerts", "--bed", bed, "--events")]
    assert kinds == ["fired", "acknowledged", "resolved"]


def test_open_alerts_are_retained_for_a_fresh_subscriber_and_ended_ones_are_not(hub, stranger):
    bed = "t3/icu/bed-1"
    for seq in range(3):
        stranger.numerics(bed, seq, {"abp_mean": 40})
    hub.wait("the alert is stored", lambda: alerts(hub, bed))

    def retained():
        found = []
        listener = Publisher(hub.settings.broker.port, f"listener-{time.time_ns()}")
        listener.client.on_message = lambda _c, _d, m: (
            m.payload and found.append(json.loads(m.payload))
        )
        listener.client.subscribe(f"vigil/v1/{bed}/alerts/+", qos=1)
        time.sleep(0.5)
        listener.close()
        return found

    assert [event["rule"] for event in retained()] == ["map_extreme_low/abp_mean"]
    stranger.send(f"vigil/v1/{bed}/status", {"v": 1, "device": "mon-1", "state": "ended"})
    hub.wait("it is taken back", lambda: retained() == [])


def test_bad_input_is_counted_by_device_and_costs_other_beds_nothing(hub, stranger):
    topic = "vigil/v1/t4/icu/bed-1/numerics"
    stranger.send(topic, b"not json")
    stranger.send(topic, {"v": 1, "device": "bad-1", "measured_at": 0, "vitals": {"hr": 1}})
    stranger.send(topic, '{"v":1,"device":"bad-1","measured_at":1,"vitals":{"hr":NaN}}')
    stranger.send("vigil/v1/t4//bed-1/numerics", b"{}")
    stranger.send("vigil/v1/t4/icu/床/numerics", b"{}")
    stranger.send(topic, b"x" * 200_000)
    stranger.drain({stranger.numerics("t4/icu/bed-2", 1, {"hr": 70})})
    hub.wait("the good reading is stored", lambda: hub.readings("t4/icu/bed-2")[0] == 1)

    def kinds():
        found = {(r["device"], r["reason"]) for r in hub.json("rejected")}
        wanted = {
            ("t4/icu/bed-1", "not_json"),
            ("bad-1", "time"),
            ("bad-1", "not_finite"),
            ("t4/icu/bed-1", "too_large"),
            ("t4//bed-1", "topic"),
        }
        return wanted <= found

    hub.wait("every refusal is listed", kinds)


def test_a_flood_of_kinds_of_bad_messages_does_not_stop_alerting(hub, stranger):
    mids = set()
    for number in range(1000):
        body = b'{"device":"flood-%d","x":"' % number + b"\xff" * 600
        mids.add(stranger.send("vigil/v1/t8/icu/bed-1/numerics", body))
    stranger.drain(mids)
    for seq in range(4):
        stranger.numerics("t8/icu/bed-2", seq, {"spo2": 70})
    hub.wait("a healthy bed still alerts", lambda: alerts(hub, "t8/icu/bed-2"))
    wanted = {f"flood-{number}" for number in range(0, 900, 100)}
    hub.wait(
        "the refusals are listed",
        lambda: wanted <= {r["device"] for r in hub.json("rejected", "--limit", "2000")},
    )


def test_forged_batches_and_health_stop_nothing(hub, stranger):
    """As whoever has the operator's credential could forge them; nobody else gets that far."""
    broker = hub.settings.broker
    operator = Publisher(broker.port, "forger", (broker.user, broker.password.get_secret_value()))
    good = msgspec.to_builtins(pack([reading(0, hr=72)], T0))
    forged = [
        operator.send("vigil/v1/t9/judged", msgspec.msgpack.encode(good | {"seq": [2**63]})),
        operator.send("vigil/v1/t9/judged", b"\xff"),
        operator.send("vigil/v1/hub/health/forged", b'{"service":"\xff"}'),
    ]
    operator.drain(set(forged))
    operator.close()
    stranger.drain({stranger.numerics("t9/icu/bed-2", 1, {"hr": 70})})
    hub.wait("the good reading is stored", lambda: hub.readings("t9/icu/bed-2")[0] == 1)
    assert hub.json("doctor")["services"]["recorder"]["counters"]["unreadable"] >= 2


def test_payload_above_the_brokers_limit_is_refused_and_others_go_on(hub, stranger):
    giant = Publisher(hub.settings.broker.port, "giant")
    giant.send("vigil/v1/t5/icu/bed-1/numerics", b"x" * 10_000_000)
    stranger.drain({stranger.numerics("t5/icu/bed-2", 1, {"hr": 70})})
    hub.wait("the good reading is stored", lambda: hub.readings("t5/icu/bed-2")[0] == 1)
    giant.close()

    def noted():
        return any(r["reason"] == "refused_by_broker" for r in hub.json("rejected"))

    hub.wait("the broker's refusal is listed", noted)


def test_rollups_hold_what_the_raw_readings_say(hub, stranger):
    bed = "t6/icu/bed-1"
    minute = (time.time_ns() // 60_000_000_000 - 3) * 60_000
    values = [60, 70, 80, 900]  # the last is implausible and must not count
    for seq, hr in enumerate(values):
        stranger.numerics(bed, seq, {"hr": hr}, measured_ms=minute + seq * 1000)

    def rolled():
        with psycopg.connect(hub.settings.database_address) as connection:
            return connection.execute(
                "SELECT hr_min, hr_max, hr_mean, hr_n FROM numerics_1m JOIN bed ON id = bed_id "
                "WHERE name = %s",
                (bed,),
            ).fetchone()

    assert hub.wait("the minute is rolled up", rolled) == (60, 80, 70, 3)


def test_doctor_says_all_is_well(hub):
    found = hub.wait("all services report", lambda: (d := hub.json("doctor")) and d["ok"] and d)
    assert found["database"]["pending"] == []
    assert found["broker"]["version"].startswith("nats-server 2.")
    assert {s["state"] for s in found["services"].values()} == {"running"}
    assert found["disk"]["free_gb"] > 0


def test_ledger_cannot_be_changed(hub):
    with psycopg.connect(hub.settings.database_address) as connection:
        for change in (
            "DELETE FROM alert_event",
            "UPDATE alert_event SET zh = ''",
            "TRUNCATE alert_event",
        ):
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                connection.execute(change)
            connection.rollback()


def test_replay_of_a_recording_reaches_the_export(hub, tmp_path):
    file = tmp_path / "mine.csv"
    rows = "".join(f"p1,{t},{70 + t},97\np2,{t},{80 + t},95\n" for t in range(4))
    file.write_text("record,t_seconds,hr_bpm,spo2_pct\n" + rows)
    done = hub.run("replay", str(file), "--hospital", "t7")
    assert done.returncode == 0, done.stderr
    found = hub.wait("it is stored", lambda: len(e := exported(hub, "t7/icu/p2")) == 4 and e)
    assert [row["hr"] for row in found] == ["80", "81", "82", "83"]


@pytest.mark.parametrize("victim", ["intake", "recorder", "database", "broker"])
def test_kill_9_under_load_loses_and_doubles_nothing(hub, stranger, victim):
    bed = f"k-{victim}/icu/bed-1"
    alert_bed, during_bed = f"k-{victim}/icu/bed-2", f"k-{victim}/icu/bed-3"
    mids = set()
    for seq in range(3000):
        mids.add(stranger.numerics(bed, seq, {"hr": 60 + seq % 40, "spo2": 97}))
        if seq == 1000:
            [pid] = hub.pids(victim)
            os.kill(pid, signal.SIGKILL)
            for number in range(4):
                stranger.numerics(during_bed, number, {"spo2": 70})
        if seq % 10 == 0:
            time.sleep(0.01)
    stranger.drain(mids, timeout=60)
    for seq in range(3):
        stranger.numerics(alert_bed, seq, {"spo2": 70})
    hub.wait("all is stored", lambda: hub.readings(bed)[1] == 3000, timeout=60)
    assert hub.readings(bed) == (3000, 3000)
    hub.wait("alerting goes on", lambda: alerts(hub, alert_bed))
    hub.wait("what fired meanwhile is in the ledger", lambda: alerts(hub, during_bed), timeout=60)
    for bed_now in (alert_bed, during_bed):
        found = [e for e in hub.json("alerts", "--bed", bed_now, "--events") if not e["technical"]]
        assert [e["kind"] for e in found] == ["fired"]
    hub.wait("the hub is whole again", lambda: hub.json("doctor")["ok"], timeout=30)


def test_second_hub_on_the_same_data_is_refused(hub):
    done = hub.run("up")
    assert done.returncode == 1
    assert "in use by another" in done.stderr


def test_stop_leaves_no_process_and_a_second_start_has_the_data(tmp_path):
    import psutil

    one = Hub(tmp_path / "hub")
    one.start()
    publisher = Publisher(one.settings.broker.port)
    publisher.drain({publisher.numerics("s/icu/bed-1", 1, {"hr": 70})})
    publisher.close()
    one.wait("it is stored", lambda: one.readings("s/icu/bed-1")[0] == 1)
    assert one.process is not None
    children = psutil.Process(one.process.pid).children(recursive=True)
    assert "nothing is left running" in one.stop()
    assert not [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]
    one.start()
    assert one.readings("s/icu/bed-1") == (1, 1)
    one.stop()
