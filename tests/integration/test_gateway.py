"""Monitors over real MLLP: through the gateway, the broker, intake and recorder, and out again."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from io import StringIO

import psycopg
import pytest

from tests.support.hub import free_port

VT, END = b"\x0b", b"\x1c\r"


class Monitor:
    """An MLLP client that waits for each answer, as a monitor does."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def send(self, text, encoding="utf-8"):
        self.raw(VT + text.replace("\n", "\r").encode(encoding) + END)
        return self.answer()

    def raw(self, data):
        self.socket.sendall(data)

    def answer(self):
        data = b""
        while not data.endswith(END):
            more = self.socket.recv(65536)
            if not more:
                return None
            data += more
        return data.strip(VT + END).decode("utf-8", "replace").split("\r")

    def close(self):
        self.socket.close()


def hl7_time(back_s=0.0):
    return f"{datetime.fromtimestamp(time.time() - back_s, UTC):%Y%m%d%H%M%S}+0000"


def pcd01(control, bed, hr, spo2, *, modes="AL|NE", at=None, device="00A0370000000001"):
    now = at or hl7_time()
    return (
        f"MSH|^~\\&|ACME^{device}^EUI-64|ACME|||{now}||ORU^R01^ORU_R01|{control}|P|2.6|||{modes}||"
        "UNICODE UTF-8\n"
        "PID|||MRN-77^^^Hospital^MR||SECRET^PATIENT\n"
        f"PV1||I|ICU^^{bed}\n"
        f"OBR|1|||182777000^monitoring of patient^SCT|||{now}\n"
        f"OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.7.4.147842|{hr}|264864^MDC_DIM_BEAT_PER_MIN^MDC"
        f"|||||R|||{now}||||{device}\n"
        f"OBX|2|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.3.1.150456|{spo2}|262688^MDC_DIM_PERCENT^MDC"
        f"|||||R|||{now}\n"
    )


@pytest.fixture(scope="module")
def gateway(hub):
    """`vigil gateway hl7` beside a running hub."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "hub", "gateway", "hl7", "--hospital", "gw", "--port", str(port)],
        env=hub.environment,
        stdout=subprocess.DEVNULL,
    )
    hub.wait("the gateway listens", lambda: _open(port))
    process.port = port
    yield process
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def _open(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def monitor(gateway):
    with closing(Monitor(gateway.port)) as one:
        yield one


def exported(hub, bed):
    done = hub.run("export", "--bed", bed)
    return list(csv.DictReader(StringIO(done.stdout))) if done.returncode == 0 else []


def msa(answer):
    return answer[1].split("|")[1:3]


def test_a_message_is_acknowledged_when_the_broker_has_it_and_then_exported(hub, monitor):
    assert msa(monitor.send(pcd01("1", "1", 71, 96))) == ["CA", "1"]
    assert msa(monitor.send(pcd01("2", "1", 72, 97, modes="NE|AL"))) == ["AA", "2"]
    assert msa(monitor.send(pcd01("3", "1", 73, 98, modes="|"))) == ["AA", "3"]
    rows = hub.wait("all is stored", lambda: len(r := exported(hub, "gw/icu/1")) >= 1 and r)
    assert {(r["hr"], r["spo2"]) for r in rows} <= {("71", "96"), ("72", "97"), ("73", "98")}
    assert {r["device"] for r in rows} == {"00A0370000000001"}
    monitor.raw(VT + pcd01("4", "1", 74, 99, modes="NE|NE").replace("\n", "\r").encode() + END)
    assert msa(monitor.send(pcd01("5", "1", 75, 99))) == ["CA", "5"]


def test_names_of_patients_reach_neither_broker_nor_database(hub, monitor):
    monitor.send(pcd01("6", "names", 70, 97).replace("147842^MDC_ECG", "147842^MDC_WRONG"))
    monitor.raw(VT + b"MSH|^~\\&|x|||||| no type\rPID|||1||SECRET^PATIENT\r" + END)
    monitor.answer()
    hub.wait(
        "it was refused",
        lambda: any("hl7_code_conflict" in r["reason"] for r in hub.json("rejected")),
    )
    hub.wait("the other is stored", lambda: exported(hub, "gw/icu/names"))
    found = subprocess.run(
        ["grep", "-rlia", "SECRET", str(hub.data)], capture_output=True, text=True, check=False
    )
    assert found.stdout == ""


def test_garbage_on_one_connection_harms_no_other(hub, gateway, monitor):
    with closing(Monitor(gateway.port)) as bad:
        bad.raw(os.urandom(20_000).replace(b"MSH", b"") + b"\n")
        bad.raw(VT + b"MSH|^~\\&|half a message" + VT)
        assert msa(bad.answer())[0] == "AE"
        bad.raw(b"MSH|^~\\&|||||||ORU^R01|9|P|2.6\r" + b"OBX|" + b"x" * 6_000_000 + END)
        assert msa(bad.answer())[0] == "AR"
        assert msa(bad.send("MSH|^~\\&|||||||SIU^S12|10|P|2.4")) == ["AR", "10"]
        assert msa(bad.send(pcd01("11", "2", 80, 90)))[0] == "CA"
    assert msa(monitor.send(pcd01("12", "2", 81, 91)))[0] == "CA"
    kinds = hub.wait(
        "all of it is counted",
        lambda: (
            {"hl7_no_end_block", "hl7_too_large", "hl7_not_framed", "hl7_type"}
            <= (k := {r["reason"] for r in hub.json("rejected")})
            and k
        ),
    )
    assert kinds


def test_a_monitor_whose_clock_died_is_read_with_the_hubs_clock(hub, monitor):
    old = "20070101080000"
    assert msa(monitor.send(pcd01("20", "old", 66, 95, at=old)))[0] == "CA"
    rows = hub.wait("it is stored", lambda: exported(hub, "gw/icu/old"))
    assert rows[0]["hr"] == "66"
    counted = hub.json("doctor")["services"]["gateway-gw"]["counters"]
    assert counted["hub_clock_used"] >= 1


def test_chinese_in_gb18030_and_a_monitors_alarm(hub, monitor):
    text = (
        "MSH|^~\\&|Mindray|Gateway|||||ORU^R01|54|P|2.3.1\n"
        "PID|||77||张^三\n"
        "PV1||I|^^重症&Bed9&3232241659&0&0\n"
        "OBR||||Mindray Monitor\n"
        "OBX||CE|2|1|10002^***心率过低||||||F\n"
    )
    assert msa(monitor.send(text, "gb18030"))[0] == "AA"
    found = hub.wait(
        "the alarm is there",
        lambda: [a for a in hub.json("alerts") if a["rule"] == "monitor/hr_low"],
    )
    assert found[0]["bed"].endswith("/bed9")
    assert "心率过低" in found[0]["zh"]
    assert found[0]["priority"] == "high"
    monitor.send(text.replace("OBX||CE|2|1|10002^***心率过低||||||F\n", ""), "gb18030")
    hub.wait(
        "it has ended",
        lambda: not [a for a in hub.json("alerts", "--open") if a["rule"] == "monitor/hr_low"],
    )


def adt(event, patient, bed, at, control="a", name="王^小明"):
    return (
        f"MSH|^~\\&|HIS||||{at}||ADT^{event}|{control}|P|2.4\n"
        f"EVN|{event}|{at}\n"
        f"PID|||{patient}^^^^MR||{name}||19600101|M\n"
        f"PV1||I|ICU^^{bed}|||||||||||||||||\n"
    )


def lying(hub, bed):
    with psycopg.connect(hub.settings.database_address) as connection:
        return connection.execute(
            "SELECT stay.id, stay.age, upper(during) IS NULL FROM stay_place "
            "JOIN stay ON stay.number = stay_place.stay JOIN bed ON bed.id = stay_place.bed "
            "WHERE bed.name = %s ORDER BY lower(during)",
            (f"gw/icu/{bed}",),
        ).fetchall()


def test_admissions_become_stays_and_come_in_any_order(hub, monitor):
    assert msa(monitor.send(adt("A01", "P1", "s1", hl7_time(300))))[0] == "AA"
    (first,) = lying(hub, "s1")
    assert first[2]
    assert 60 < first[1] < 70
    assert msa(monitor.send(adt("A01", "P1", "s1", hl7_time(300))))[0] == "AA"
    assert len(lying(hub, "s1")) == 1
    assert msa(monitor.send(adt("A02", "P1", "s2", hl7_time(200))))[0] == "AA"
    assert [s[0] for s in lying(hub, "s2")] == [first[0]]
    assert msa(monitor.send(adt("A02", "P1", "s1", hl7_time(250))))[0] == "AA"  # older
    assert lying(hub, "s2")[0][2]
    taken = monitor.send(adt("A01", "P2", "s2", hl7_time(100)))
    assert msa(taken)[0] == "AE"
    assert first[0] in taken[1]
    assert msa(monitor.send(adt("A03", "P1", "s2", hl7_time(90))))[0] == "AA"
    assert msa(monitor.send(adt("A01", "P2", "s2", hl7_time(80))))[0] == "AA"
    early = monitor.send(adt("A03", "P3", "s3", hl7_time(10)))
    assert msa(early)[0] == "AA"
    assert msa(monitor.send(adt("A01", "P3", "s3", hl7_time(60))))[0] == "AA"
    assert [s[2] for s in lying(hub, "s3")] == [False]
    assert msa(monitor.send(adt("A13", "P3", "s3", hl7_time(5))))[0] == "AA"
    assert [s[2] for s in lying(hub, "s3")] == [True]
    merge = adt("A40", "P9", "s3", hl7_time(2)) + "MRG|P3\n"
    assert msa(monitor.send(merge))[0] == "AA"
    assert msa(monitor.send(adt("A03", "P9", "s3", hl7_time(1))))[0] == "AA"
    assert [s[2] for s in lying(hub, "s3")] == [False]
    assert msa(monitor.send(adt("A99", "P9", "s3", hl7_time(1))))[0] == "AR"


def test_a_broker_that_is_away_is_waited_for_or_the_sender_is_told(hub, gateway, monitor):
    (broker,) = hub.pids("broker")
    os.kill(broker, signal.SIGKILL)
    assert msa(monitor.send(pcd01("30", "kill", 88, 93))) in (["CA", "30"], ["CE", "30"])
    hub.wait(
        "it takes messages again",
        lambda: msa(monitor.send(pcd01("31", "kill", 89, 94))) == ["CA", "31"],
    )
    hub.wait(
        "what was acknowledged is stored",
        lambda: any(r["hr"] == "89" for r in exported(hub, "gw/icu/kill")),
        timeout=60,
    )
