"""Roles of people, and the ladder of a unit as people write it. Pure."""

import tomllib
from pathlib import PurePath

from msgspec import Struct, ValidationError, convert

from schemas.care import DEFAULT_LADDER, Rung
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


__all__ = ["DEFAULT_LADDER", "ROLES", "check_ladder", "check_role", "parse_ladder"]
