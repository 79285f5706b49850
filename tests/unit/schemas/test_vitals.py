import re
from importlib.resources import files

import pytest

from schemas.vitals import COMMON_NAMES, VITALS, Quality, pack_status, unpack_status

SQL = files("schemas").joinpath("sql")


def test_codes_and_names_are_unique():
    codes = [v.mdc for v in VITALS.values() if v.mdc]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in VITALS)


@pytest.mark.parametrize("quality", [q for q in Quality if q is not Quality.OK])
@pytest.mark.parametrize("name", COMMON_NAMES)
def test_status_holds_every_quality_of_every_common_vital(name, quality):
    packed = pack_status({name: quality})
    assert packed is not None
    assert 0 < packed < 2**63
    assert unpack_status(packed) == {name: quality}


@pytest.mark.parametrize("query", ["insert_numerics", "select_export"])
def test_queries_list_the_common_vitals_in_their_order(query):
    text = SQL.joinpath("queries", f"{query}.sql").read_text("utf-8")
    found = [w for w in re.findall(r"[a-z0-9_]+", text) if w in COMMON_NAMES]
    assert tuple(found[: len(COMMON_NAMES)]) == COMMON_NAMES


def test_migration_filters_each_vital_by_its_own_nibble():
    text = SQL.joinpath("migrations", "0001_create_vitals.sql").read_text("utf-8")
    for slot, name in enumerate(COMMON_NAMES):
        shifts = re.findall(
            rf"min\({name}\) FILTER \(WHERE \(status IS NULL OR \(status >> (\d+)\)", text
        )
        assert shifts == [str(4 * slot)]
