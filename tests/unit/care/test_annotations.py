"""Versions of an annotation: who may write the next, and what cannot be written."""

from dataclasses import replace

import pytest

from care.annotations import Annotation, edit, withdraw, write
from schemas.errors import CareError
from schemas.times import S

T0 = 1_800_000_000 * S
ONE = Annotation("n1", "kaihua/icu/bed-03", T0, T0 + 60 * S, "event", "expert", T0 + 90 * S)


def test_only_the_author_edits_and_bed_and_stay_stay():
    old = write(replace(ONE, stay="s1", signal="hr"))
    new = replace(ONE, label="rhythm", note="房颤？", bed="x/y/z", stay="s2", at_ns=T0 + 99 * S)
    after = edit(old, new)
    assert (after.version, after.label, after.bed, after.stay, after.signal) == (
        2,
        "rhythm",
        "kaihua/icu/bed-03",
        "s2",
        "hr",
    )
    with pytest.raises(CareError, match="is expert's"):
        edit(old, replace(new, by="nurse"))
    with pytest.raises(CareError, match="is expert's"):
        withdraw(old, "nurse", T0)


def test_what_was_withdrawn_stays_so():
    gone = withdraw(ONE, "expert", T0 + 100 * S)
    assert gone.withdrawn
    assert gone.version == 2
    with pytest.raises(CareError, match="was withdrawn"):
        edit(gone, ONE)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"label": "nope"}, "label"),
        ({"label": "note", "note": " "}, "note"),
        ({"note": "x" * 501}, "note"),
        ({"end_ns": T0 - 1}, "end"),
        ({"end_ns": T0 + 8 * 86_400 * S, "at_ns": T0 + 9 * 86_400 * S}, "end"),
        ({"end_ns": T0 + 3600 * S}, "end"),
    ],
)
def test_the_error_names_the_field(wrong, field):
    with pytest.raises(CareError, match=f"^{field}"):
        write(replace(ONE, **wrong))
