"""Stays, bed states, ladders and duty in SQL. Every change is decided by ``care.stays`` first.

Each function is one transaction under one lock: two desks that admit to one bed at the same moment
are told apart here. Every change is logged, append-only, with who made it.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import psycopg
from msgspec import convert, to_builtins
from psycopg import AsyncConnection
from psycopg.types.range import TimestamptzRange

from care import stays
from care.roles import check_ladder, check_role
from care.stays import Place
from hub.database import query
from hub.reads import Row, fetch
from hub.vault import Vault
from schemas.care import BedCare, BedState, CareConfig, PatientException, Rung, UnitCare
from schemas.errors import CareError
from schemas.times import S, from_datetime, to_datetime
from schemas.topics import check_bed

LOCK = 7_470_130
LONGEST_NS = 90 * 86_400 * S
MAX_LIMIT = 100_000
YEAR_S = 365.25 * 86_400


@dataclass(frozen=True, slots=True)
class Patient:
    """What rules need to know of a patient, and the name (None: as it is), never published.

    ``spo2_ordered_by``: who ordered scale 2.
    """

    age: float | None = None
    pregnant: bool = False
    spo2_scale: int = 1
    spo2_ordered_by: str = ""
    limits: tuple[str, ...] = ()
    name: str | None = None

    def check(self) -> "Patient":
        """Return it; raise CareError naming the field that cannot be so."""
        if self.age is not None and not 0 <= self.age <= 130:
            raise CareError(f"age {self.age:g}: not within 0-130 years")
        if self.spo2_scale not in (1, 2):
            raise CareError(f"spo2_scale {self.spo2_scale}: 1 or 2")
        if self.spo2_scale == 2 and not self.spo2_ordered_by.strip():
            raise CareError("spo2_scale 2: only on a documented order; name who ordered it")
        if self.name and (len(self.name) > 80 or not self.name.isprintable()):
            raise CareError("name: at most 80 printable characters")
        if any(not limit.strip() or len(limit) > 300 for limit in self.limits):
            raise CareError("limits: each is 1-300 characters")
        return self

    def columns(self) -> dict[str, Any]:
        """Return it as the queries on stays take it."""
        return {
            "age": self.age,
            "pregnant": self.pregnant,
            "scale": self.spo2_scale,
            "ordered_by": self.spo2_ordered_by,
            "limits": list(self.limits),
        }


def _check_stay(stay: str, rows: int) -> None:
    """Raise CareError when a change of a stay has found none."""
    if not rows:
        raise CareError(f"stay {stay}: there is none of this name; `vigil care list`")


def new_stay() -> str:
    """Return an opaque name for a stay: no identity in it."""
    return f"s{datetime.now(UTC):%y%m%d}-{token_hex(4)}"


@asynccontextmanager
async def _changing(
    connection: AsyncConnection, by: str, what: str, **detail: Any
) -> AsyncIterator[None]:
    """Do one change alone, and log it; what the database refuses becomes a CareError."""
    if not by.strip():
        raise CareError("by: say who changes this")
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            yield
            await connection.execute(
                "INSERT INTO care_change (by, what, detail) VALUES (%s, %s, %s)",
                (by, what, json.dumps(detail, default=str, ensure_ascii=False)),
            )
    except (psycopg.errors.ExclusionViolation, psycopg.errors.CheckViolation) as error:
        raise CareError(f"{what}: {str(error).splitlines()[0]}") from None


async def read_places(connection: AsyncConnection) -> list[Place]:
    """Return every interval of every stay, in order."""
    return [
        Place(
            row["stay"],
            row["bed"],
            from_datetime(row["start_at"]),
            None if row["end_at"] is None else from_datetime(row["end_at"]),
        )
        for row in await fetch(connection, "select_places")
    ]


async def patient_of(connection: AsyncConnection, bed: str, at_ns: int) -> Row | None:
    """Return who lies in a bed at a time: stay, age and what else is known; None: nobody."""
    rows = await fetch(connection, "select_patient", bed=bed, now=to_datetime(at_ns))
    return rows[0] if rows else None


async def stay_at(connection: AsyncConnection, bed: str, at_ns: int) -> str:
    """Return the stay that lies in a bed at a time; empty: nobody's."""
    there = await patient_of(connection, bed, at_ns)
    return str(there["stay"]) if there else ""


async def _save(connection: AsyncConnection, before: list[Place], after: list[Place]) -> None:
    """Replace the intervals that changed."""
    for place in set(before) - set(after):
        await connection.execute(
            query("delete_place"),
            {"stay": place.stay, "start": to_datetime(place.start_ns)},
        )
    for place in sorted(set(after) - set(before), key=lambda p: p.start_ns):
        end = None if place.end_ns is None else to_datetime(place.end_ns)
        await connection.execute(
            query("insert_place"),
            {
                "stay": place.stay,
                "bed": place.bed,
                "hospital": place.bed.partition("/")[0],
                "during": TimestamptzRange(to_datetime(place.start_ns), end),
            },
        )


async def _open(
    connection: AsyncConnection, patient: Patient, at_ns: int, vault: Vault | None, stay: str
) -> None:
    await connection.execute(
        query("insert_stay"), {"id": stay, "admitted": to_datetime(at_ns), **patient.columns()}
    )
    await _set_name(connection, stay, patient.name, vault)


async def _put(connection: AsyncConnection, stay: str, bed: str, when: tuple[int, int]) -> None:
    """Put a stay into a bed; ``when``: at what time, and what time it is."""
    before = await read_places(connection)
    await _save(connection, before, stays.admit(before, stay, bed, *when))


async def register(
    connection: AsyncConnection,
    patient: Patient,
    *,
    by: str,
    at_ns: int,
    vault: Vault | None = None,
) -> str:
    """Open a stay without a bed; return its name. ``vault`` seals who it is."""
    patient.check()
    stay = new_stay()
    async with _changing(connection, by, "register", stay=stay):
        await _open(connection, patient, at_ns, vault, stay)
    return stay


async def place(
    connection: AsyncConnection, stay: str, bed: str, *, by: str, at_ns: int, now_ns: int
) -> None:
    """Put a stay that lies nowhere into a bed."""
    async with _changing(connection, by, "admit", stay=stay, bed=bed, at=to_datetime(at_ns)):
        _check_stay(stay, len(await fetch(connection, "select_stay", id=stay)))
        await _put(connection, stay, bed, (at_ns, now_ns))
        await _set_state(connection, bed, BedState.MONITORED, by)


async def admit(
    connection: AsyncConnection,
    bed: str,
    patient: Patient,
    *,
    by: str,
    at_ns: int,
    now_ns: int,
    vault: Vault | None = None,
) -> str:
    """Put a new patient into a bed; return the stay's name. ``vault`` seals who it is."""
    patient.check()
    stay = new_stay()
    async with _changing(connection, by, "admit", stay=stay, bed=bed, at=to_datetime(at_ns)):
        await _open(connection, patient, at_ns, vault, stay)
        await _put(connection, stay, bed, (at_ns, now_ns))
        await _set_state(connection, bed, BedState.MONITORED, by)
    return stay


async def change_patient(
    connection: AsyncConnection,
    stay: str,
    patient: Patient,
    *,
    by: str,
    was: Patient | None = None,
    vault: Vault | None = None,
) -> None:
    """Set what is known of a patient: age, pregnancy, the order for scale 2, treatment limits.

    ``was``: what the person had before their eyes; raises CareError when it is otherwise by now.
    """
    patient.check()
    changed = to_builtins(replace(patient, name=None))
    async with _changing(connection, by, "patient", stay=stay, to=changed):
        if was is not None:
            rows = await fetch(connection, "select_stay", id=stay)
            seen = was.columns()
            if rows and any(rows[0][key] != seen[key] for key in rows[0]):
                raise CareError(f"stay {stay}: somebody changed it meanwhile; look again")
        cursor = await connection.execute(query("update_stay"), {"id": stay, **patient.columns()})
        _check_stay(stay, cursor.rowcount)
        await _set_name(connection, stay, patient.name, vault)


async def _set_name(
    connection: AsyncConnection, stay: str, name: str | None, vault: Vault | None
) -> None:
    """Seal a patient's name; None leaves it as it is."""
    if name is None:
        return
    if vault is None:
        raise CareError("name: only where identities can be sealed")
    sealed = vault.seal(stay, name)
    await connection.execute(query("upsert_identity"), {"stay": stay, "sealed": sealed})


def name_of(patient: Row, vault: Vault) -> str:
    """Return the name of whom ``patient_of`` found; empty when it is not known.

    StoreError when it cannot be opened.
    """
    return vault.open(patient["stay"], bytes(patient["sealed"])) if patient["sealed"] else ""


async def seal_anew(connection: AsyncConnection, vault: Vault) -> int:
    """Seal every identity with the newest key; return how many there are."""
    rows = await fetch(connection, "select_identities")
    async with connection.transaction():
        for row in rows:
            await _set_name(connection, row["stay"], name_of(row, vault), vault)
    return len(rows)


async def discharge(
    connection: AsyncConnection, stay: str, *, by: str, at_ns: int, now_ns: int
) -> None:
    """Let a patient leave; the bed is empty then."""
    async with _changing(connection, by, "discharge", stay=stay, at=to_datetime(at_ns)):
        before = await read_places(connection)
        bed = stays.current(before, stay, at_ns).bed
        await _save(connection, before, stays.discharge(before, stay, at_ns, now_ns))
        await _set_state(connection, bed, BedState.EMPTY, by)


async def move(
    connection: AsyncConnection, stay: str, bed: str, *, by: str, at_ns: int, now_ns: int
) -> None:
    """Move a patient to a free bed; the old one is empty then."""
    async with _changing(connection, by, "move", stay=stay, bed=bed, at=to_datetime(at_ns)):
        before = await read_places(connection)
        old = stays.current(before, stay, at_ns).bed
        await _save(connection, before, stays.move(before, stay, bed, at_ns, now_ns))
        await _set_state(connection, old, BedState.EMPTY, by)
        await _set_state(connection, bed, BedState.MONITORED, by)


async def swap(
    connection: AsyncConnection, one: str, other: str, *, by: str, at_ns: int, now_ns: int
) -> None:
    """Let two patients change beds."""
    async with _changing(connection, by, "swap", stays=[one, other], at=to_datetime(at_ns)):
        before = await read_places(connection)
        await _save(connection, before, stays.swap(before, one, other, at_ns, now_ns))


async def correct(  # noqa: PLR0913 - what may have been wrong
    connection: AsyncConnection,
    stay: str,
    start_ns: int,
    *,
    bed: str | None = None,
    new_start_ns: int | None = None,
    new_end_ns: int | None = None,
    by: str,
    now_ns: int,
) -> None:
    """Correct an interval that was entered wrongly."""
    detail = {"stay": stay, "begins": to_datetime(start_ns), "bed": bed}
    async with _changing(connection, by, "correct", **detail):
        before = await read_places(connection)
        after = stays.correct(
            before,
            stay,
            start_ns,
            bed=bed,
            new_start_ns=new_start_ns,
            new_end_ns=new_end_ns,
            now_ns=now_ns,
        )
        await _save(connection, before, after)


async def replace_places(
    connection: AsyncConnection, stay: str, places: list[Place], *, by: str, now_ns: int
) -> None:
    """Set all the intervals of a stay: what was told before was taken back."""
    async with _changing(connection, by, "places", stay=stay, beds=[p.bed for p in places]):
        before = await read_places(connection)
        mine = [p for p in before if p.stay == stay]
        after = stays.check([*(p for p in before if p.stay != stay), *places], now_ns)
        await _save(connection, before, after)
        for bed in {p.bed for p in mine if p.end_ns is None}:
            await _set_state(connection, bed, BedState.EMPTY, by)
        for bed in {p.bed for p in places if p.end_ns is None}:
            await _set_state(connection, bed, BedState.MONITORED, by)


async def _set_state(
    connection: AsyncConnection,
    bed: str,
    state: BedState,
    by: str,
    until_ns: int | None = None,
    reason: str = "",
) -> None:
    await connection.execute(
        query("upsert_bed_state"),
        {
            "bed": bed,
            "state": state.value,
            "until": None if until_ns is None else to_datetime(until_ns),
            "reason": reason,
            "by": by,
        },
    )


async def set_state(
    connection: AsyncConnection,
    bed: str,
    state: str,
    *,
    by: str,
    until_ns: int | None = None,
    reason: str = "",
    now_ns: int,
) -> None:
    """Say that a bed is empty, monitored, or on standby until a time, for a reason."""
    check_bed(bed)
    try:
        wanted = BedState(state)
    except ValueError:
        raise CareError(f"state {state[:20]!r}: one of {', '.join(BedState)}") from None
    if wanted is BedState.STANDBY:
        if until_ns is None or until_ns <= now_ns:
            raise CareError("standby: give a time of return that lies ahead")
        if not reason.strip():
            raise CareError("standby: give a reason (外出检查, 操作, …)")
    async with _changing(connection, by, wanted.value, bed=bed, reason=reason):
        if wanted is BedState.EMPTY:
            places = await read_places(connection)
            there = [p.stay for p in places if p.bed == bed and p.holds(now_ns)]
            if there:
                raise CareError(f"bed {bed}: {there[0]} lies there; discharge or move first")
        await _set_state(connection, bed, wanted, by, until_ns, reason)


async def add_exception(
    connection: AsyncConnection, stay: str, exception: PatientException, *, now_ns: int
) -> None:
    """Change a limit for one patient: with author, reason and an end, shown on the screen."""
    if not exception.reason.strip():
        raise CareError("exception: give a reason")
    if exception.until_ns <= now_ns:
        raise CareError("exception: until lies in the past")
    if exception.until_ns > now_ns + LONGEST_NS:
        raise CareError("exception: until is more than 90 days ahead; review it sooner")
    given = [exception.above, exception.below]
    if any(value is not None and not abs(value) <= MAX_LIMIT for value in given):
        raise CareError("exception: above or below is no number that a limit can be")
    if sum(value is not None for value in given) != (0 if exception.off else 1):
        raise CareError("exception: give exactly one of above, below and off")
    detail = {"stay": stay, "exception": to_builtins(exception)}
    async with _changing(connection, exception.by, "exception", **detail):
        cursor = await connection.execute(
            query("insert_exception"),
            {
                "stay": stay,
                "rule": exception.rule,
                "above": exception.above,
                "below": exception.below,
                "off": exception.off,
                "by": exception.by,
                "reason": exception.reason,
                "until": to_datetime(exception.until_ns),
            },
        )
        _check_stay(stay, cursor.rowcount)


async def end_exception(
    connection: AsyncConnection, stay: str, rule: str, *, by: str, now_ns: int
) -> None:
    """End an exception before its time."""
    async with _changing(connection, by, "exception_ended", stay=stay, rule=rule):
        cursor = await connection.execute(
            query("end_exception"), {"stay": stay, "rule": rule, "now": to_datetime(now_ns)}
        )
        if not cursor.rowcount:
            raise CareError(f"stay {stay}: no exception of {rule} is in force")


async def set_ladder(
    connection: AsyncConnection, unit: str, ladder: tuple[Rung, ...], *, by: str
) -> None:
    """Set a unit's ladder; an empty one switches escalation off."""
    check_bed(f"{unit}/x")
    check_ladder(ladder, f"ladder of {unit}")
    body = json.dumps(to_builtins(ladder))
    async with _changing(connection, by, "ladder", unit=unit, ladder=to_builtins(ladder)):
        await connection.execute(query("upsert_ladder"), {"unit": unit, "ladder": body, "by": by})


async def add_duty(
    connection: AsyncConnection,
    unit: str,
    role: str,
    username: str,
    between: tuple[int, int],
    *,
    by: str,
) -> None:
    """Put a person on duty in a unit and role between two times."""
    check_bed(f"{unit}/x")
    check_role(role)
    if between[1] <= between[0]:
        raise CareError("duty: ends before it begins")
    start, end = (to_datetime(t) for t in between)
    async with _changing(connection, by, "duty", unit=unit, role=role, who=username, start=start):
        await connection.execute(
            query("insert_duty"),
            {
                "unit": unit,
                "role": role,
                "username": username,
                "during": TimestamptzRange(start, end),
            },
        )


async def configs(connection: AsyncConnection, now_ns: int) -> dict[str, CareConfig]:
    """Return what is published of each hospital of which anything is known, as of now."""
    now = to_datetime(now_ns)
    beds: dict[str, BedCare] = {}
    exceptions: dict[str, list[PatientException]] = {}
    for row in await fetch(connection, "select_exceptions", now=now):
        exceptions.setdefault(row["stay"], []).append(
            PatientException(
                row["rule"],
                row["by"],
                row["reason"],
                from_datetime(row["until"]),
                row["above"],
                row["below"],
                row["off"],
            )
        )
    for row in await fetch(connection, "select_bed_care", now=now):
        age = row["age"]
        if age is not None:  # as old as today
            age = round(age + (now - row["admitted_at"]).total_seconds() / YEAR_S, 2)
        state = BedState(row["state"] or BedState.MONITORED)
        beds[row["bed"]] = BedCare(
            state=state,
            stay=row["stay"] or "",
            until_ns=from_datetime(row["until"]) if row["until"] else 0,
            reason=row["reason"] or "",
            age=age,
            pregnant=bool(row["pregnant"]),
            spo2_scale=row["spo2_scale"] or 1,
            limits=tuple(row["limits"] or ()),
            exceptions=tuple(exceptions.get(row["stay"] or "", [])),
        )
    units = await _units(connection, now)
    found: dict[str, CareConfig] = {}
    for hospital in sorted({name.partition("/")[0] for name in [*beds, *units]}):
        mine = f"{hospital}/"
        found[hospital] = CareConfig(
            1,
            now_ns // S * S,
            {name: care for name, care in beds.items() if name.startswith(mine)},
            {name: unit for name, unit in units.items() if name.startswith(mine)},
        )
    return found


async def _units(connection: AsyncConnection, now: datetime) -> dict[str, UnitCare]:
    duty: dict[str, dict[str, list[str]]] = {}
    for row in await fetch(connection, "select_duty", now=now):
        duty.setdefault(row["unit"], {}).setdefault(row["role"], []).append(row["username"])
    ladders = {
        row["unit"]: tuple(convert(row["ladder"], list[Rung]))
        for row in await fetch(connection, "select_ladders")
    }
    return {
        unit: UnitCare(
            ladders.get(unit, ()),
            {role: tuple(people) for role, people in duty.get(unit, {}).items()},
        )
        for unit in sorted({*ladders, *duty})
    }
