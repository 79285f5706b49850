"""Every migration and every query, on plain PostgreSQL and on TimescaleDB: the same answers."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psycopg
import pytest
from msgspec import to_builtins

import hub.database
from care import admission_store, annotation_store, consult_store, ward_store
from care import store as care
from care.admission_store import Aliases
from care.annotations import Annotation
from care.consults import Act, Advised, Side
from care.guard import Question
from care.store import Patient
from hub import accounts, audit
from hub.database import PLAIN, TIMESCALE, connect, flavour_of, migrate, migrations, query
from hub.doctor import _timescaledb
from hub.reads import export_rows, fetch, trend
from hub.vault import Vault
from hub.waves import read_waves
from ingest.batch import columns
from ingest.store import Retention, Store
from ingest.wave_store import WaveStore
from schemas.admissions import Admission
from schemas.care import DEFAULT_LADDER, PatientException
from schemas.deliveries import Delivery
from schemas.errors import CareError
from schemas.judged import pack
from schemas.times import MS, S, to_datetime
from schemas.vitals import Quality, unpack_status
from schemas.wire import ClockOffset, DeviceStatus, Rejected, TakenInput
from tests.support import timescale
from tests.support.readings import feed, pipeline, reading
from tests.unit.schemas.test_waves import chunk

BED = "d/icu/b1"
VAULT = Vault([bytes(range(32))])
KEPT = Retention(raw_days=30, minute_days=730, hour_days=3650, wave_hours=72)


def named(hub, database):
    return hub.settings.database_address.rsplit("/", 1)[0] + "/" + database


@pytest.fixture(scope="module")
def plain(hub):
    """An empty database on the embedded server."""
    with psycopg.connect(hub.settings.database_address, autocommit=True) as connection:
        connection.execute("CREATE DATABASE compare")
    return named(hub, "compare")


@pytest.fixture(scope="module")
def timescaled():
    """An empty TimescaleDB."""
    with timescale.serve() as url:
        yield url


def a_story(at_ns):
    """Two hours of two beds, two days ago, as intake judges them: alerts, rare vitals, gaps."""
    line = pipeline()
    rng = np.random.default_rng(5)
    readings, events = [], []
    shift = at_ns - reading(0).measured_ns
    for t in range(0, 7200, 5):
        if 3000 < t < 3600:
            continue
        values = {
            "hr": float(70 + rng.integers(0, 9) + (80 if 600 < t < 900 else 0)),
            "spo2": 500.0 if t % 400 == 0 else 97.0,
            "temp": round(36.5 + t / 10_000, 1),
            "pap_mean": float(20 + t % 7),
        }
        if t % 60 == 0:
            values["lactate"] = 1.5 + t / 7200
        for bed in (BED, "d/icu/b2"):
            item = reading(t, bed=bed, device=f"m-{bed[-1]}", interval_s=5.0, **values)
            item.measured_ns += shift
            item.sent_ns = item.measured_ns + 3 * MS
            item.received_ns = item.measured_ns + 7 * MS
            outcome = feed(line, item)
            readings.append(outcome.reading)
            events += outcome.events
    return readings, events


def waves(at_ns):
    rng = np.random.default_rng(6)
    made = []
    for seq in range(150):
        if seq in (40, 41, 42):
            continue
        samples = np.cumsum(rng.integers(-9, 10, 250)).astype(np.int16)
        at = at_ns + seq * S
        made.append(chunk(bed=BED, seq=seq, measured_ns=at, received_ns=at + S, samples=samples))
    return made


async def refresh(connection, flavour):
    """Let the database catch up: on TimescaleDB what its background workers would run."""
    if flavour == PLAIN:
        return
    jobs = await (
        await connection.execute(
            "SELECT job_id FROM timescaledb_information.jobs WHERE job_id >= 1000"
            " ORDER BY proc_name DESC, job_id"
        )
    ).fetchall()
    for (job,) in jobs:
        await connection.execute(f"CALL run_job({job})")


def plainly(rows):
    """Rows without what the server alone decides."""
    return [
        {k: v for k, v in row.items() if k not in ("stored_at", "first_seen", "id")} for row in rows
    ]


async def exercise(  # noqa: C901 - one story, told to both
    url, at_ns
):
    """Migrate, store everything that is ever stored, and ask everything that is ever asked."""
    out = {"applied": [name.split(".")[0] for name in await migrate(url)]}
    assert await migrate(url) == []
    readings, events = a_story(at_ns)
    now = to_datetime(at_ns + 2 * 86_400 * S)
    everywhere = {"bed": BED, "scope": None, "until": None}
    asked = {"bed": BED, "start": to_datetime(at_ns - S), "end": to_datetime(at_ns + 7300 * S)}
    async with await connect(url) as connection:
        flavour = await flavour_of(connection)
        store = Store(connection, flavour)
        await store.set_policies(KEPT)
        batches = [
            pack(readings[i : i + 300], at_ns, [ClockOffset("m-1", BED, at_ns, 5 * MS)])
            for i in range(0, len(readings), 300)
        ]
        for again in (False, True):
            cols = columns(batches)
            await store.prepare(cols)
            async with store.transaction():
                out[f"inserted again {again}"] = await store.insert_readings(cols)
                for event in events:
                    await store.insert_alert(event)
                await store.insert_clock(batches[0].clocks[0])
                for kind in ("commands", "observations", "config/care"):
                    await store.insert_input(TakenInput(BED, kind, at_ns, b"{}"))
                await store.insert_delivery(
                    Delivery(1, "d", "e", "a", BED, "li", "nurse", "mailto", "failed", 3, at_ns)
                )
                await store.insert_status(DeviceStatus(BED, "m-1", "online", 5.0, at_ns))
                await store.upsert_rejected(
                    [Rejected("e", "m-1", "time", 3, at_ns, at_ns, "why", "topic", "sample")]
                )
        while await store.roll(now):
            pass
        await store.roll(now)
        await refresh(connection, flavour)

        fetched = partial(fetch, connection)
        rule_set = {"by": "lead", "reason": "trial", "version": "v1", "body": '{"overlays": {}}'}
        await connection.execute(query("insert_rule_set"), rule_set)
        for name, parameters in (
            ("select_beds", {}),
            ("select_bed", {"bed": BED}),
            ("select_alerts", everywhere | {"since": asked["start"], "open": False, "limit": 99}),
            ("select_alert_events", {"bed": None, "since": asked["start"], "limit": 99}),
            ("select_clocks", {"limit": 9}),
            ("select_rejected", {"device": None, "limit": 9}),
            ("select_run_counts", {"boots": ["b1"], "since": asked["start"]}),
            ("select_ledger", {"bed": None, "since": asked["start"], "until": asked["end"]}),
            ("select_statuses", asked),
            ("select_alert", {"alert": events[0].alert}),
            ("select_bed_days", asked | everywhere | {"zone": "Asia/Shanghai"}),
            ("select_burden", asked | everywhere),
            ("select_observations", {}),
            ("select_rule_set", {"at": asked["end"]}),
            ("select_rule_sets", {"limit": 9}),
            ("select_inputs", asked | {"hospital": "h"}),
            (
                "select_deliveries",
                {"since": asked["start"], "failed": True, "limit": 9, "scope": None},
            ),
        ):
            out[name] = plainly(await fetched(name, **parameters))
            if name == "select_rule_sets":
                assert [row.pop("at") and row["version"] for row in out[name]] == ["v1"]
        for name in ("raw", "1m", "1h"):
            out[name] = await fetched(f"select_trend_{name}", **asked)
            assert out[name]
        out["spans"] = [
            len(await trend(connection, BED, asked["end"] - timedelta(hours=h), asked["end"]))
            for h in (1, 24, 168)
        ]
        out["export"] = [row async for row in export_rows(connection, **asked)]
        for width in ("1m", "1h"):
            out[f"rare {width}"] = await (
                await connection.execute(f"SELECT * FROM numerics_rare_{width} ORDER BY 1, 2, 3")
            ).fetchall()

        wave_store = WaveStore(connection, flavour)
        sent = waves(at_ns)
        for some in (sent[:100], sent[90:]):
            async with wave_store.transaction():
                await wave_store.insert_chunks(some)
            for signal in list(wave_store.staged):
                await wave_store.make_blocks(signal, at_ns + 100 * S)
        again = WaveStore(connection, flavour)
        await again.load()
        out["staged"] = again.staged
        found = await read_waves(connection, BED, asked["start"], asked["end"], "ecg-ii")
        assert [s.start_ns - at_ns for s in found] == [0, 43 * S]
        whole = np.concatenate([s.samples for s in found])
        assert np.array_equal(whole, np.concatenate([c.samples for c in sent]))
        for signal in list(again.staged):
            await again.make_blocks(signal, at_ns + 999 * S)
        assert again.staged == {}
        out["dropped"] = await store.keep(KEPT, now) if flavour == PLAIN else 0

        with TemporaryDirectory() as folder:
            out["accounts"] = await accounts_story(connection, Path(folder))
        out["care"] = await care_story(connection)
        out["consults"] = await consult_story(connection, at_ns)
        out["admissions"] = await admission_story(connection)
        out["devices"] = await fetched("select_devices")
        out["bed ids"] = await fetched("select_bed_ids")
        out["next"] = await (
            await connection.execute(
                "SELECT vigil_next_reading((SELECT id FROM bed WHERE name = %(bed)s), %(start)s,"
                " %(end)s)",
                asked,
            )
        ).fetchone()
        assert out["next"][0] is not None
        for view in REPORTS:
            cursor = await connection.execute(f"SELECT * FROM report.{view}")
            out[f"report {view}"] = (
                len(await cursor.fetchall()),
                [c.name for c in cursor.description],
            )
        out["minutes"] = await fetched("select_wave_minutes", **asked)
        out["observed"] = plainly(await fetched("select_bed_observations", **asked))
        out["rule set"] = await fetched("select_rule_set_body", number=1)
        await runs_story(connection)
        out["runs"] = [
            {k: v for k, v in row.items() if k not in ("created_at", "finished_at")}
            for row in await fetched("select_runs", limit=9)
        ]
    return flavour, out


async def care_story(connection):
    """Two patients are admitted, swap beds, one leaves; what cannot be is refused."""
    at = 1_800_000_000 * S
    when = {"by": "nurse", "now_ns": at + 100 * S}
    one = await care.admit(
        connection, "h/icu/b8", Patient(71, spo2_scale=2, spo2_ordered_by="dr li"), at_ns=at, **when
    )
    other = await care.admit(connection, "h/icu/b9", Patient(80.5), at_ns=at, **when)
    with pytest.raises(CareError, match="would both lie there"):
        await care.admit(connection, "h/icu/b9", Patient(), at_ns=at + S, **when)
    await care.swap(connection, one, other, at_ns=at + 10 * S, **when)
    with pytest.raises(CareError, match="ends at"):
        await care.correct(connection, one, at, new_end_ns=at - S, **when)
    await care.discharge(connection, other, at_ns=at + 20 * S, **when)
    await care.set_state(
        connection, "h/icu/b9", "standby", until_ns=at + 999 * S, reason="CT", **when
    )
    exception = PatientException("spo2_low", "dr li", "COPD", at + 9999 * S, below=85)
    await care.add_exception(connection, one, exception, now_ns=at)
    await care.end_exception(connection, one, "spo2_low", by="dr li", now_ns=at + 25 * S)
    await care.add_exception(connection, one, exception, now_ns=at)
    await care.change_patient(connection, one, Patient(72, limits=("DNR",)), by="dr li")
    await care.set_ladder(connection, "h/icu", DEFAULT_LADDER, by="lead")
    await care.add_duty(
        connection, "h/icu", "county-nurse", "nurse", (at, at + 3600 * S), by="lead"
    )
    with pytest.raises(psycopg.errors.ExclusionViolation):
        await connection.execute("INSERT INTO stay_place SELECT stay, bed, during FROM stay_place")
    config = (await care.configs(connection, at + 30 * S))["h"]
    beds = {name: to_builtins(bed) | {"stay": bool(bed.stay)} for name, bed in config.beds.items()}
    return beds, to_builtins(config.units)


REPORTS = ("bed", "stay", "alert", "alert_event", "device", "rejected", "vitals_1m", "vitals_1h")


async def admission_story(connection):
    """The hospital's system admits, moves, discharges too early, merges; each in words."""
    at, said = 1_800_000_300 * S, []
    with TemporaryDirectory() as folder:
        aliases = Aliases(Path(folder), "h")
        for event, patient, bed, after_s, more in (
            ("A01", "P1", "h/icu/a1", 0, {"name": "王小明", "born_ns": 0}),
            ("A01", "P1", "h/icu/a1", 0, {}),
            ("A02", "P1", "h/icu/a2", 10, {}),
            ("A03", "P2", None, 30, {}),
            ("A01", "P2", "h/icu/a1", 20, {"visit": "V2"}),
            ("A13", "P2", None, 40, {}),
            ("A40", "P3", None, 50, {"merged_from": "P2"}),
            ("A08", "P3", None, 60, {"name": "李四"}),
            ("A12", "P1", None, 70, {}),
            ("A03", "P1", None, 80, {}),
        ):
            told = Admission(event, patient, more.pop("visit", ""), at + after_s * S, bed, **more)
            try:
                said.append(
                    await admission_store.admit(connection, aliases, VAULT, told, at + 90 * S)
                )
            except CareError as error:
                said.append(str(error).split(":")[0])
    rows = await fetch(connection, "select_stays", ids=None)
    names = sorted(care.name_of(row, VAULT) for row in rows if row["sealed"])
    return said, names, len(rows)


async def consult_story(connection, at_ns):
    """An annotation with versions, a consult up to its response, the guard, a sound check."""
    bed, when = "h/icu/c1", {"by": "nurse", "now_ns": 1_800_000_200 * S}  # after care_story
    stay = await care.admit(
        connection, bed, Patient(50, name="张三"), at_ns=at_ns - S, vault=VAULT, **when
    )
    seen = Patient(50)
    await care.change_patient(connection, stay, Patient(51), by="nurse", was=seen)
    with pytest.raises(CareError, match="meanwhile"):
        await care.change_patient(connection, stay, Patient(52), by="nurse", was=seen)
    assert await care.seal_anew(connection, VAULT) == 1
    there = await care.patient_of(connection, bed, at_ns)
    new = Annotation("", bed, at_ns, at_ns + 60 * S, "drug", "expert", at_ns + 90 * S, note="x")
    written = await annotation_store.write(connection, new)
    await annotation_store.edit(connection, replace(new, id=written.id, note="y"))
    shown = await annotation_store.read(connection, bed, at_ns, at_ns + S)
    await annotation_store.withdraw(connection, written.id, "expert", at_ns + 99 * S)
    gone = await annotation_store.read(connection, bed, at_ns, at_ns + S)
    versions = await fetch(
        connection,
        "select_annotation_versions",
        bed=bed,
        start=to_datetime(at_ns),
        end=to_datetime(at_ns + S),
    )

    def act(kind, after_s, side, **fields):
        return Act(kind, side.value, side, at_ns + after_s * S, **fields)

    asked = act("opened", 0, Side.BEDSIDE, bed=bed, text="?")
    consult = (await consult_store.open_consult(connection, asked)).id
    image = await consult_store.add_image(connection, consult, b"\x89PNG...", "nurse")
    pictures = await fetch(connection, "select_consult_image", id=image, consult=consult)
    advice = {"advice": "r1", "what": "a", "why": "b", "due_ns": at_ns + 999 * S}
    for one in (
        act("accepted", 1, Side.EXPERT),
        act("advised", 2, Side.EXPERT, **advice),
        act("answered", 3, Side.BEDSIDE, advice="r1", answer=Advised.DONE),
    ):
        await consult_store.do(connection, consult, one)
    [due] = await consult_store.unmeasured(connection, at_ns + 3700 * S)
    place = await consult_store.response_place(connection, due[0], due[2])
    [open_now] = await consult_store.find(connection, bed=bed, only_open=True)
    question = Question(bed, stay, "device", at_ns, {"was": "a", "is": "b"})
    new_once = [await ward_store.ask(connection, question) for _ in range(2)]
    [shown_question] = await ward_store.questions(connection)
    await ward_store.answer(connection, shown_question["id"], "same", "nurse")
    await ward_store.check_sound(connection, "h/icu", "nurse", heard=True)
    check = await ward_store.last_sound_check(connection, "h/icu")
    long_ago = to_datetime(at_ns - 86_400 * 400 * S)
    far = to_datetime(at_ns + 86_400 * 400 * S)
    changes = await fetch(connection, "select_changes", start=long_ago, end=far)
    await care.discharge(connection, stay, at_ns=at_ns + S, **when)
    assert await consult_store.find(connection, bed=bed, only_open=True) == []
    return (
        (care.name_of(there, VAULT), there["age"], [a.note for a in shown], gone, len(versions)),
        (pictures, place, open_now.state, open_now.advice, new_once, shown_question["kind"]),
        (check["heard"], [row["what"] for row in changes]),
    )


async def accounts_story(connection, data):
    await accounts.set_account(connection, "nurse", "long enough", "county-nurse", ("kaihua",))
    token = await accounts.open_session(connection, "nurse", 1.0, "10.0.0.1", "browser")
    found = await accounts.find_session(connection, token)
    assert found is not None
    since = to_datetime(0)
    glass = await accounts.break_glass(connection, "nurse", "changshan/icu", "transfer", 5)
    beyond = await accounts.find_session(connection, token)
    [listed] = await accounts.list_break_glass(connection, since)
    await accounts.end_break_glass(connection, glass, "charge")
    after = await accounts.find_session(connection, token)
    second = await accounts.open_session(connection, "nurse", 1.0)
    await accounts.revoke_others(connection, "nurse", second)
    [left] = await accounts.list_sessions(connection, "nurse")
    ended = await accounts.revoke_sessions(connection, session=left["id"])
    await accounts.enter(connection, "idp|1", "expert", "remote-intensivist", ())
    lines = [
        audit.Entry(at * S, "nurse", "county-nurse", "see-bed", f"kaihua/icu/b{at}", id=str(at))
        for at in range(1, 6)
    ]
    written = [await audit.append(connection, data, lines) for _ in range(2)]
    verdict = await audit.verify(connection, data)
    asked = {"start": since, "end": to_datetime(2**60), "who": None, "object": "kaihua/%"}
    shown = await fetch(connection, "select_audit", **asked, beds=["kaihua/%"], limit=3)
    gone = await audit.forget(connection, data, 400)
    return (
        found.scope,
        beyond.scope,
        after.scope,
        (listed["scope"], listed["open"]),
        ended,
        written,
        (verdict.ok, verdict.lines, gone, len(shown)),
        (await audit.verify(connection, data)).ok,
    )


async def runs_story(connection):
    run = {"id": "r1", "source": "f.csv", "speed": "max", "pack": "adult", "pack_version": "x"}
    await connection.execute(query("insert_run"), run)
    gave = dict.fromkeys(("beds", "readings", "samples", "alert_events", "rejected"), 1)
    await connection.execute(
        query("finish_run"), {"id": "r1", "first_at": None, "last_at": None, **gave}
    )


@pytest.fixture(scope="module")
def at_ns():
    import time

    return (time.time_ns() - 2 * 86_400 * S) // (3600 * S) * 3600 * S


def test_every_query_gives_the_same_answers_on_both(plain, timescaled, at_ns, monkeypatch):
    used = set()
    query.cache_clear()
    real = hub.database.files

    class Recording:
        def __init__(self, package):
            self.package = real(package)

        def joinpath(self, *parts):
            used.add(parts[-1])
            return self.package.joinpath(*parts)

    monkeypatch.setattr(hub.database, "files", Recording)
    one, ours = asyncio.run(exercise(plain, at_ns))
    other, theirs = asyncio.run(exercise(timescaled, at_ns))
    assert (one, other) == (PLAIN, TIMESCALE)
    ours["applied"], theirs["applied"] = len(ours["applied"]), len(theirs["applied"])
    for name, answer in ours.items():
        assert answer == theirs[name], name
    there = {p.name for p in real("schemas").joinpath("sql", "queries").iterdir()}
    assert there - used == set(), "queries that no answer was compared for"


def test_the_columnstore_keeps_answers_and_refuses_repeats(timescaled, at_ns):
    async def compressed():
        async with await connect(timescaled) as connection:
            asked = {
                "bed": BED,
                "start": to_datetime(at_ns - S),
                "end": to_datetime(at_ns + 7300 * S),
            }
            before = [row async for row in export_rows(connection, **asked)]
            await connection.execute(
                "SELECT compress_chunk(c, true) FROM show_chunks('numerics') AS c"
            )
            state = await (
                await connection.execute(
                    "SELECT count(*) FROM timescaledb_information.chunks"
                    " WHERE hypertable_name = 'numerics' AND is_compressed"
                )
            ).fetchone()
            store = Store(connection, TIMESCALE)
            cols = columns([pack(a_story(at_ns)[0], at_ns)])
            await store.prepare(cols)
            async with store.transaction():
                again = await store.insert_readings(cols)
            after = [row async for row in export_rows(connection, **asked)]
            return before, state[0], again, after

    before, chunks, again, after = asyncio.run(compressed())
    assert chunks >= 1
    assert again == 0
    assert after == before


def test_doctor_says_which_database_is_in_use_and_what_is_missing(hub, timescaled):
    plain = hub.json("doctor")["database"]
    assert (plain["tables"], plain["timescaledb"]["used"]) == (PLAIN, False)
    assert "docs/timescaledb.md" in plain["timescaledb"]["missing"]

    async def on_timescale():
        async with await connect(timescaled) as connection:
            return await _timescaledb(connection, await flavour_of(connection))

    found = asyncio.run(on_timescale())
    assert (found["used"], found["missing"]) == (True, None)
    assert found["installed"].startswith("2.")
    assert found["jobs"]["all"] >= 10


def test_packing_keeps_answers_and_lets_late_data_in(plain, at_ns):
    async def packed():
        async with await connect(plain) as connection:
            asked = {
                "bed": BED,
                "start": to_datetime(at_ns - S),
                "end": to_datetime(at_ns + 7300 * S),
            }

            async def answers():
                return (
                    [row async for row in export_rows(connection, **asked)],
                    await fetch(connection, "select_trend_raw", **asked),
                    await fetch(connection, "select_trend_1m", **asked),
                )

            async def rows(table):
                cursor = await connection.execute(f"SELECT count(*) FROM {table}")
                return (await cursor.fetchone())[0]

            store = Store(connection, PLAIN)
            boundary = to_datetime(at_ns + 30 * 3600 * S)
            before, many = await answers(), await rows("numerics")
            while await store.pack(boundary):
                pass
            assert (await rows("numerics"), await rows("numerics_packed") > 0) == (0, True)
            assert await answers() == before

            story = a_story(at_ns)[0]
            cols = columns([pack(story, at_ns)])
            await store.prepare(cols)
            async with store.transaction():
                assert await store.insert_readings(cols, at_ns // 1000 + 86_400_000_000) == 0
            assert (await rows("numerics"), await rows("numerics_packed")) == (many, 0)
            assert await answers() == before

            while await store.roll(boundary):
                pass
            while await store.pack(boundary):
                pass
            late = story[0]
            late.measured_ns, late.seq, late.values = at_ns + 2500 * MS, 9_000_000, {"hr": 190.0}
            cols = columns([pack([late], at_ns)])
            await store.prepare(cols)
            async with store.transaction():
                assert await store.insert_readings(cols, at_ns // 1000 + 86_400_000_000) == 1
            while await store.roll(boundary):
                pass
            return before, await answers()

    before, after = asyncio.run(packed())
    # The late reading's minute was rolled up from all of its readings, not from the late one alone.
    first = [row["hr"] for row in after[1] if row["at"] < to_datetime(at_ns + 60 * S)]
    assert after[2][0]["hr"] == pytest.approx(sum(first) / len(first), abs=0.01)
    assert len(after[0]) == len(before[0]) + 1
    assert after[2][0]["hr_max"] == 190
    assert after[2][1:] == before[2][1:]


def old_rows(connection, at_ns):
    """What version 0.1.0 left in its tables."""
    connection.execute("INSERT INTO bed (name, hospital) VALUES ('o/icu/b1', 'o')")
    connection.execute("INSERT INTO stream (bed_id, device, boot) VALUES (1, 'm', 'b')")
    day = to_datetime(at_ns).replace(hour=0, minute=0, second=0, microsecond=0)
    for parent in ("numerics", "numerics_rare"):
        connection.execute(
            "SELECT vigil_add_partition(%s, %s, %s)", (parent, day, day + timedelta(days=1))
        )
    connection.execute(
        "INSERT INTO numerics (measured_at, received_at, seq, status, bed_id, stream_id, offset_ms,"
        " late, hr, spo2) VALUES (%s, %s, 1, 768, 1, 1, 0, false, 71, 300)",
        (to_datetime(at_ns), to_datetime(at_ns)),
    )
    connection.execute(
        "INSERT INTO numerics_rare VALUES (%s, 1, 1, 1, 'fio2', 40, 0)", (to_datetime(at_ns),)
    )


@pytest.mark.parametrize("flavour", [PLAIN, TIMESCALE])
def test_an_upgrade_keeps_what_the_first_version_stored(hub, flavour, at_ns):
    if flavour == PLAIN:
        with psycopg.connect(hub.settings.database_address, autocommit=True) as connection:
            connection.execute("CREATE DATABASE upgrade")
        upgraded(named(hub, "upgrade"), at_ns)
    else:
        with timescale.serve() as url:
            upgraded(url, at_ns)


def upgraded(url, at_ns):
    name, checksum, text = migrations(PLAIN)[0]
    with psycopg.connect(url, options="-c timezone=UTC") as connection:
        connection.execute(
            "CREATE TABLE migration (name text PRIMARY KEY, checksum text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute(text.encode())
        connection.execute(
            "INSERT INTO migration (name, checksum) VALUES (%s, %s)", (name, checksum)
        )
        old_rows(connection, at_ns)

    async def after():
        assert len(await migrate(url)) == len(migrations(PLAIN)) - 1
        async with await connect(url) as connection:
            asked = {"start": to_datetime(at_ns - S), "end": to_datetime(at_ns + S)}
            return [row async for row in export_rows(connection, "o/icu/b1", **asked)]

    [row] = asyncio.run(after())
    assert (row["hr"], row["spo2"], row["rare"]) == (71, 300, {"fio2": [40, 0]})
    assert unpack_status(row["status"], row["status2"]) == {"spo2": Quality.OUT_OF_RANGE}
