"""Admissions of the hospital's system, applied: one message, one transaction.

Hospital numbers and visit numbers are kept as keyed hashes only, beside the sealed names: enough to
know the same patient again, and no more.
"""

import hmac
from pathlib import Path

from psycopg import AsyncConnection

from care import store
from care.admissions import Decision, Step, decide, reopened, without_last
from care.stays import Place
from care.store import Patient
from hub import secret_files
from hub.database import query
from hub.reads import fetch
from hub.vault import Vault
from schemas.admissions import Admission
from schemas.errors import CareError
from schemas.times import S, from_datetime, to_datetime

BY = "HL7 ADT"
KEY = "alias.key"
YEAR_NS = int(365.25 * 86_400) * S


class Aliases:
    """Keyed hashes of a hospital's own numbers."""

    def __init__(self, data: Path, hospital: str) -> None:
        self._key = secret_files.key(data, KEY)
        self._hospital = hospital

    def of(self, kind: str, number: str) -> bytes:
        """Return the hash that stands for a number of a kind: patient or visit."""
        text = f"{self._hospital}\x1f{kind}\x1f{number}"
        return hmac.digest(self._key, text.encode(), "sha256")

    def all_of(self, admission: Admission) -> list[bytes]:
        """Return what stands for an admission: the visit's number first, the patient's next."""
        given = (("visit", admission.visit), ("patient", admission.patient))
        return [self.of(kind, number) for kind, number in given if number]


async def admit(
    connection: AsyncConnection,
    aliases: Aliases,
    vault: Vault,
    admission: Admission,
    now_ns: int,
) -> str:
    """Apply an admission; return in words what it came to. Raises CareError when it cannot be."""
    names = aliases.all_of(admission)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (store.LOCK,))
        if admission.event == "A40":
            return await _merge(connection, aliases, admission)
        mine, left_ns = await _known(connection, names)
        found = decide(admission.event, admission.at_ns, admission.bed, mine)
        if found.step is Step.ADMIT:
            await _admit(connection, names, vault, admission, (left_ns, now_ns))
        elif found.step is Step.KEEP_DISCHARGE:
            for name in names:
                await _note(connection, name, "", admission.at_ns)
        else:
            await _apply(connection, vault, admission, found, mine, now_ns)
    return found.why


async def _known(connection: AsyncConnection, names: list[bytes]) -> tuple[list[Place], int | None]:
    """Return the intervals of a patient, in order, and a discharge that came too early."""
    rows = await fetch(connection, "select_aliases", aliases=names)
    stays_known = {row["stay"] for row in rows if row["stay"]}
    left = [from_datetime(row["left_at"]) for row in rows if not row["stay"] and row["left_at"]]
    places = await store.read_places(connection)
    mine = sorted((p for p in places if p.stay in stays_known), key=lambda p: p.start_ns)
    return mine, max(left, default=None)


async def _note(
    connection: AsyncConnection, name: bytes, stay: str, left_ns: int | None = None
) -> None:
    left = None if left_ns is None else to_datetime(left_ns)
    await connection.execute(query("upsert_alias"), {"alias": name, "stay": stay, "left": left})


def _patient(admission: Admission, now_ns: int, before: Patient | None = None) -> Patient:
    age = before.age if before is not None else None
    if admission.born_ns is not None and admission.born_ns < now_ns:
        years = (now_ns - admission.born_ns) / YEAR_NS
        age = round(years, 1) if years <= 130 else age
    name = admission.name[:80] or None
    if before is None:
        return Patient(age=age, name=name)
    return Patient(
        age, before.pregnant, before.spo2_scale, before.spo2_ordered_by, before.limits, name
    )


async def _admit(
    connection: AsyncConnection,
    names: list[bytes],
    vault: Vault,
    admission: Admission,
    when: tuple[int | None, int],
) -> None:
    left_ns, now_ns = when
    assert admission.bed is not None
    stay = await store.admit(
        connection,
        admission.bed,
        _patient(admission, now_ns),
        by=BY,
        at_ns=admission.at_ns,
        now_ns=now_ns,
        vault=vault,
    )
    for name in names:
        await _note(connection, name, stay)
        await connection.execute(query("delete_early_discharge"), {"alias": name})
    if left_ns is not None and left_ns > admission.at_ns:
        await store.discharge(connection, stay, by=BY, at_ns=left_ns, now_ns=now_ns)


async def _apply(
    connection: AsyncConnection,
    vault: Vault,
    admission: Admission,
    found: Decision,
    mine: list[Place],
    now_ns: int,
) -> None:
    """Do a step for a stay that there is."""
    stay, at_ns = found.stay, admission.at_ns
    own = [p for p in mine if p.stay == stay]
    if found.step is Step.MOVE:
        assert admission.bed is not None
        await store.move(connection, stay, admission.bed, by=BY, at_ns=at_ns, now_ns=now_ns)
    elif found.step is Step.DISCHARGE:
        last = own[-1]
        if at_ns < last.start_ns:
            raise CareError("discharged before the patient came to this bed; correct it by hand")
        await store.discharge(connection, stay, by=BY, at_ns=at_ns, now_ns=now_ns)
    elif found.step is Step.CANCEL_ADMIT:
        await store.replace_places(connection, stay, [], by=BY, now_ns=now_ns)
    elif found.step is Step.CANCEL_MOVE:
        await store.replace_places(connection, stay, without_last(own), by=BY, now_ns=now_ns)
    elif found.step is Step.CANCEL_DISCHARGE:
        await store.replace_places(connection, stay, reopened(own), by=BY, now_ns=now_ns)
    if found.step in (Step.MOVE, Step.CHANGE) and (admission.name or admission.born_ns):
        before = await fetch(connection, "select_stay", id=stay)
        row = before[0]
        known = Patient(
            row["age"],
            row["pregnant"],
            row["scale"],
            row["ordered_by"],
            tuple(row["limits"]),
        )
        changed = _patient(admission, now_ns, known)
        await store.change_patient(connection, stay, changed, by=BY, vault=vault)


async def _merge(connection: AsyncConnection, aliases: Aliases, admission: Admission) -> str:
    """Let the stays of a number that was given up be those of the one that stands."""
    kept, gone = (
        aliases.of("patient", number) for number in (admission.patient, admission.merged_from)
    )
    mine, _ = await _known(connection, [kept])
    theirs, _ = await _known(connection, [gone])
    both = [p for p in (*mine, *theirs) if p.end_ns is None]
    if len({p.stay for p in both}) > 1:
        beds = " and ".join(sorted(p.bed for p in both))
        raise CareError(f"merge: both lie in a bed now ({beds}); discharge one first")
    for stay in {p.stay for p in theirs}:
        await _note(connection, kept, stay)
    return "merged" if theirs else "nothing to merge"
