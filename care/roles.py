"""Roles of people, what each may do and see, and the ladder of a unit. Pure."""

import tomllib
from enum import StrEnum
from pathlib import PurePath

from msgspec import Struct, ValidationError, convert

from schemas.care import Rung
from schemas.errors import CareError

ROLES: dict[str, tuple[str, str]] = {
    "county-nurse": ("责任护士", "Bedside nurse"),
    "charge-nurse": ("护士长", "Charge nurse"),
    "county-physician": ("主管医生", "County physician"),
    "remote-intensivist": ("远程重症医生", "Remote intensivist"),
    "quality-lead": ("质控负责人", "Quality lead"),
    "administrator": ("系统管理员", "Administrator"),
    "integrator": ("集成工程师", "Integrator"),
}
"""What an account may be, with what people call it."""

PRIORITIES = ("high", "medium", "low")


class May(StrEnum):
    """What a role may do; seeing is for everybody, within their scope."""

    ALERTS = "alerts"
    OBSERVE = "observe"
    PLACE = "place"
    EXCEPT = "except"
    LEAD = "lead"
    ANNOTATE = "annotate"
    CONSULT = "consult"
    ADVISE = "advise"
    ANSWER = "answer"
    RULES = "rules"
    TRY = "try"
    NAMES = "names"
    BREAK_GLASS = "break-glass"
    AUDIT = "audit"
    ADMINISTER = "administer"


_BEDSIDE = frozenset(
    {
        May.ALERTS,
        May.OBSERVE,
        May.PLACE,
        May.ANNOTATE,
        May.CONSULT,
        May.ANSWER,
        May.NAMES,
        May.BREAK_GLASS,
    }
)
ALLOWED: dict[str, frozenset[May]] = {
    "county-nurse": _BEDSIDE,
    "charge-nurse": _BEDSIDE | {May.EXCEPT, May.LEAD},
    "county-physician": _BEDSIDE | {May.EXCEPT, May.LEAD},
    "remote-intensivist": frozenset(
        {
            May.ALERTS,
            May.OBSERVE,
            May.EXCEPT,
            May.ANNOTATE,
            May.CONSULT,
            May.ADVISE,
            May.BREAK_GLASS,
        }
    ),
    "quality-lead": frozenset({May.ANNOTATE, May.EXCEPT, May.LEAD, May.RULES, May.TRY, May.AUDIT}),
    "administrator": frozenset(May) - {May.NAMES, May.ADVISE, May.BREAK_GLASS},
    "integrator": frozenset({May.TRY}),
}
"""``names``: sees patients' names whole; others see them masked."""


def may(role: str, what: May) -> bool:
    """Return whether a role may do something; a role that is none may nothing."""
    return what in ALLOWED.get(role, frozenset())


def masked(name: str) -> str:
    """Return a name as those see it who need not know it: a Chinese surname, or initials.

    >>> masked("王小明"), masked("Ann Mary Lee"), masked("")
    ('王**', 'A.M.L.', '')
    """
    name = name.strip()
    if not name:
        return ""
    if ord(name[0]) > 0x2E7F:
        return name[0] + "*" * (len(name) - 1)
    return "".join(f"{part[0].upper()}." for part in name.split())


class _LadderToml(Struct, forbid_unknown_fields=True):
    step: list[Rung]


def check_role(role: str) -> str:
    """Return a role that there is; raise CareError listing them."""
    if role not in ROLES:
        raise CareError(f"role {role[:40]!r}: one of {', '.join(ROLES)}")
    return role


def parse_ladder(text: bytes, path: PurePath) -> tuple[Rung, ...]:
    """Return the ladder in a TOML file of ``[[step]]``; raise CareError naming file, key and fix.

    [[step]]
    role = "county-nurse"
    after_s = { high = 0, medium = 0, low = 0 }
    """
    try:
        rungs = convert(tomllib.loads(text.decode()), _LadderToml).step
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise CareError(f"{path}: {error}") from None
    return check_ladder(tuple(rungs), str(path))


def check_ladder(rungs: tuple[Rung, ...], where: str) -> tuple[Rung, ...]:
    """Return a ladder whose steps have roles and rising times; raise CareError."""
    last = dict.fromkeys(PRIORITIES, -1.0)
    for i, rung in enumerate(rungs):
        check_role(rung.role)
        for priority, after_s in rung.after_s.items():
            if priority not in last:
                raise CareError(f"{where}: step {i + 1}: {priority!r}: one of high, medium, low")
            if after_s < 0 or after_s < last[priority]:
                raise CareError(
                    f"{where}: step {i + 1} ({rung.role}): {priority} after {after_s:g} s, not "
                    f"after the step before it ({last[priority]:g} s)"
                )
            last[priority] = after_s
    return rungs
