"""What each role may do and see, and how names are shown."""

import pytest

from care.roles import ALLOWED, ROLES, May, masked, may
from schemas.errors import CareError
from schemas.scopes import check_scope, sees


def test_every_role_is_in_the_table_and_nobody_else_may_anything():
    assert ALLOWED.keys() == ROLES.keys()
    assert not any(may("", what) or may("visitor", what) for what in May)


def test_who_advises_does_not_answer_and_names_stay_at_the_bedside():
    for role in ROLES:
        assert not (may(role, May.ADVISE) and may(role, May.ANSWER)), role
        assert may(role, May.NAMES) == (
            role in ("county-nurse", "charge-nurse", "county-physician")
        )


def test_scope_is_of_hospitals_and_units():
    assert check_scope(["kaihua", "kaihua", "changshan/icu"]) == ("kaihua", "changshan/icu")
    for wrong in ("", "a/b/c", "A", "kaihua/", "kaihua/*"):
        with pytest.raises(CareError, match="scope"):
            check_scope([wrong])


def test_a_part_of_a_hospital_hears_of_the_whole():
    unit = ("kaihua/icu",)
    assert sees(unit, "kaihua/icu/bed-01")
    assert sees(unit, "kaihua/icu/unit")
    assert sees(unit, "kaihua/hospital/hospital")
    assert not sees(unit, "kaihua/ward/bed-01")
    assert not sees(unit, "kaihua/icu-2/bed-01")
    assert not sees(unit, "kaihua2/hospital/hospital")
    assert sees((), "anything/at/all")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("王小明", "王**"), ("Ann Lee", "A.L."), ("  ", ""), ("欧阳", "欧*"), ("lee", "L.")],
)
def test_names_are_masked(name, shown):
    assert masked(name) == shown
