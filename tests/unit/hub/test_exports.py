"""What exports are made of: pseudonyms, shifts, the dictionary, records of numbers."""

import asyncio
import csv
import errno
from io import StringIO

import numpy as np
import pytest
import wfdb
from psycopg import OperationalError

from care.stays import Place
from dashboard import api_table
from hub.arrow import NUMERICS
from hub.dataset import Wanted, whole
from hub.deidentify import DAY_NS, identified, pseudonym, subjects
from hub.dictionary import dictionary
from hub.export_wfdb import NO_NUMBER, Mark, lay_out_numerics, write_marks, write_record
from schemas.errors import HubError
from schemas.times import S, to_datetime
from schemas.vitals import COMMON, RARE

KEY, OTHER = b"k" * 32, b"o" * 32
BED = "h/icu/b1"


def test_a_beds_time_is_its_patients_and_in_between_nobodys():
    places = [Place("s1", BED, 10, 20), Place("s2", BED, 30), Place("s3", "h/icu/b2", 0)]
    found = subjects(KEY, BED, places, 0, 100)
    assert [(s.start_ns, s.end_ns, s.name[0]) for s in found] == [
        (0, 10, "b"),
        (10, 20, "p"),
        (20, 30, "b"),
        (30, 100, "p"),
    ]
    assert found[1].name != found[3].name
    assert found[0].name == found[2].name
    assert [s.end_ns for s in subjects(KEY, BED, places, 12, 35)] == [20, 30, 35]


def test_a_patient_has_one_shift_of_whole_days_wherever_they_lay():
    moved = [Place("s1", BED, 0, 50), Place("s1", "h/icu/b2", 50)]
    (here,) = subjects(KEY, BED, moved, 0, 50)
    (there,) = subjects(KEY, "h/icu/b2", moved, 50, 90)
    assert here.name == there.name
    assert here.shift_ns == there.shift_ns
    assert here.shift_ns % DAY_NS == 0
    assert -3650 * DAY_NS <= here.shift_ns <= -366 * DAY_NS


def test_without_the_key_neither_names_nor_shifts_can_be_made_again():
    place = [Place("s1", BED, 0)]
    (one,), (other,) = (subjects(key, BED, place, 0, 9) for key in (KEY, OTHER))
    assert one.name != other.name
    assert one.shift_ns != other.shift_ns
    assert pseudonym(KEY, "d", "x") == pseudonym(KEY, "d", "x")
    assert identified(BED, 0, 9)[0].name == BED


def test_what_began_before_the_export_stays_its_own_patients():
    places = [Place("s1", BED, 10 * S, 20 * S), Place("s2", BED, 20 * S)]
    wanted = Wanted([BED], to_datetime(15 * S), to_datetime(30 * S), KEY)
    first, second = wanted.subjects(BED, places)
    assert wanted.subject_at(BED, places, 12 * S).name == first.name
    later = Wanted([BED], to_datetime(25 * S), to_datetime(30 * S), KEY)
    assert later.subject_at(BED, places, 12 * S).name == first.name
    assert later.subject_at(BED, places, 12 * S).shift_ns == first.shift_ns
    assert later.subject_at(BED, places, 26 * S).name == second.name
    assert later.subject_at(BED, places, 5 * S).name.startswith("b")


def test_every_vital_is_in_the_dictionary_with_its_unit():
    rows = {r["column"]: r for r in csv.DictReader(StringIO(dictionary()))}
    for vital in (*COMMON, *RARE):
        assert rows[vital.name]["unit"] == vital.unit
    assert rows["hr"]["table"] == "numerics"
    assert rows["hr"]["mdc"] == "147842"
    assert rows["temp_2"]["table"] == "rare"


def test_numbers_become_a_record_without_a_bit_lost(tmp_path):
    times = np.array([5, 6, 8, 9], dtype=np.int64) * 1_000_000 + 250_000
    columns = {
        "hr": np.array([60, 61, np.nan, 63], dtype=np.float32),
        "temp": np.array([36.6, np.nan, 37.25, 36.8], dtype=np.float32),
        "pi": np.full(4, np.nan, dtype=np.float32),
    }
    start_ns, signals = lay_out_numerics(times, columns)
    assert start_ns == 5 * S
    assert [(s.name, s.gain) for s in signals] == [("hr", 1), ("temp", 100)]
    assert signals[0].samples.tolist() == [60, 61, NO_NUMBER, NO_NUMBER, 63]
    from fractions import Fraction

    write_record(tmp_path, "rec", (start_ns, Fraction(1), signals), ["x"])
    write_marks(tmp_path, "rec", start_ns, 1.0, [Mark(6 * S, 8 * S, "artefact")])
    record = wfdb.rdrecord(str(tmp_path / "rec"))
    back = record.p_signal[:, 1].astype(np.float32)
    assert np.array_equal(back, np.float32([36.6, np.nan, np.nan, 37.25, 36.8]), equal_nan=True)
    marks = wfdb.rdann(str(tmp_path / "rec"), "atr")
    assert list(zip(marks.sample.tolist(), marks.aux_note, strict=True)) == [
        (1, "(artefact"),
        (3, "artefact)"),
    ]


def test_a_data_set_is_whole_or_not_there(tmp_path):
    out = tmp_path / "set"

    def fill():
        with whole(out) as folder:
            (folder / "a").write_text("x")
            raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(HubError, match="disk is full"):
        fill()
    assert list(tmp_path.iterdir()) == []
    with whole(out) as folder:
        (folder / "a").write_text("x")
    assert [p.name for p in out.iterdir()] == ["a"]
    with pytest.raises(HubError, match="there already"), whole(out):
        pass


async def test_a_table_whose_database_went_away_breaks_off(monkeypatch):
    class Lost:
        def __init__(self, url):
            pass

        def bed_id(self, bed):
            return 1

        def windows(self, number, start, end):
            return iter([(0, 1), (1, 2)])

        def numerics(self, number, start, end):
            if start:
                raise OperationalError("gone")
            return NUMERICS.empty_table()

        def close(self):
            pass

    monkeypatch.setattr(api_table, "Readings", Lost)
    times = (to_datetime(0), to_datetime(9 * S))
    with pytest.raises(OperationalError):
        async for _ in api_table.numerics_stream(asyncio.Semaphore(), "", BED, times):
            pass
