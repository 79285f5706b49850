"""What a person may see: hospitals and units. Pure."""

import re
from collections.abc import Iterable

from schemas.alerts import HOSPITAL
from schemas.errors import CareError

_SCOPE = re.compile(r"[a-z0-9][a-z0-9-]{0,47}(/[a-z0-9][a-z0-9-]{0,47})?")


def check_scope(scope: Iterable[str]) -> tuple[str, ...]:
    """Return a scope: hospitals and units; raise CareError naming what is neither."""
    found = tuple(dict.fromkeys(scope))
    for one in found:
        if not _SCOPE.fullmatch(one):
            raise CareError(f"scope {one[:60]!r}: write hospital, or hospital/unit")
    return found


def sees(scope: tuple[str, ...], bed: str) -> bool:
    """Return whether a bed, or a unit's or hospital's own place, is within a scope.

    Whoever sees a part of a hospital hears of what concerns all of it.

    >>> sees(("kaihua/icu",), "kaihua/icu/bed-01"), sees(("kaihua",), "changshan/icu/bed-01")
    (True, False)
    """
    if not scope:
        return True
    if bed.endswith(f"/{HOSPITAL}/{HOSPITAL}"):
        return any(bed.split("/", maxsplit=1)[0] == one.split("/")[0] for one in scope)
    return any(bed.startswith(f"{one}/") for one in scope)
