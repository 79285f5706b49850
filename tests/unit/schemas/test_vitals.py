import re
from importlib.resources import files

import pytest

from schemas.vitals import (
    COMMON_NAMES,
    QUALITY_CODE,
    VITALS,
    Quality,
    pack_status,
    unpack_status,
)

SQL = files("schemas").joinpath("sql")


def test_codes_and_names_are_unique():
    codes = [v.mdc for v in VITALS.values() if v.mdc]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in VITALS)


@pytest.mark.parametrize("name", COMMON_NAMES)
def test_status_holds_every_quality_of_every_common_vital(name):
    for quality in [q for q in Quality if q is not Quality.OK]:
        packed = pack_status({name: quality})
        assert [column for column in packed if column is not None] == [sum(c or 0 for c in packed)]
        assert all(column is None or 0 < column < 2**63 for column in packed)
        assert unpack_status(*packed) == {name: quality}


@pytest.mark.parametrize("query", ["insert_numerics", "select_readings"])
def test_queries_list_the_common_vitals_in_their_order(query):
    text = SQL.joinpath("queries", f"{query}.sql").read_text("utf-8")
    found = [w for w in re.findall(r"[a-z0-9_]+", text) if w in COMMON_NAMES]
    assert tuple(found[: len(COMMON_NAMES)]) == COMMON_NAMES


def test_the_database_knows_the_same_vitals_in_the_same_slots():
    text = SQL.joinpath("migrations", "0002_widen_readings.sql").read_text("utf-8")
    listed = text[text.index("unnest(ARRAY[") : text.index("]) WITH ORDINALITY")]
    assert tuple(re.findall(r"'(\w+)'", listed)) == COMMON_NAMES


def test_raw_trends_leave_out_what_is_not_usable_by_its_own_nibble():
    text = SQL.joinpath("queries", "select_trend_raw.sql").read_text("utf-8")
    found = re.findall(r"coalesce\((\w+), 0\) >> (\d+)\) & 15 = 0 THEN (\w+) END AS (\w+)", text)
    assert found
    for column, shift, name, shown in found:
        packed = pack_status({name: Quality.FROZEN})
        status = dict(zip(("status", "status2"), packed, strict=True))[column]
        assert status is not None
        assert status >> int(shift) == QUALITY_CODE[Quality.FROZEN]
        assert shown == name
