"""What makes the demo a ward: patients in beds, a ladder, people on duty, what nurses observed."""

from dataclasses import replace
from uuid import uuid4

from psycopg import AsyncConnection

from care import store
from care.publish import Publisher
from care.store import Patient
from hub.broker import Connection
from hub.clock import now_ns
from hub.settings import Settings
from hub.sites import Sites
from hub.vault import Vault
from schemas.care import DEFAULT_LADDER, PatientException
from schemas.codec import encode_json
from schemas.times import MS, S
from schemas.topics import Kind, format_topic
from schemas.wire import ObservationMessage

BY = "demo"
HOUR_NS = 3600 * S
SPECIAL = {
    "quzhou-kaihua/icu/bed-02": Patient(15),
    "quzhou-changshan/icu/bed-04": Patient(76, spo2_scale=2, spo2_ordered_by="dr-wang"),
    "quzhou-changshan/icu/bed-08": Patient(31, pregnant=True),
    "quzhou-longyou/icu/bed-03": Patient(88, limits=("不插管 (DNI)",)),
}
"""Patients of whom rules must know something; every other is an adult of a usual age."""
EXCEPTION = "quzhou-changshan/icu/bed-04"
DROWSY = "quzhou-changshan/icu/bed-06"
STANDBY = "quzhou-longyou/icu/bed-08"
SURNAMES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张"
UNOBSERVED = 4
"""Every fourth bed has no observations yet: its NEWS2 is not evaluated."""


async def seed(settings: Settings, database: AsyncConnection, sites: Sites, vault: Vault) -> None:
    """Fill the demo's hospitals, once; and publish it, so that intake knows from the start."""
    now = now_ns()
    if not await store.read_places(database):
        for number, bed in enumerate(sites.beds()):
            patient = SPECIAL.get(bed, Patient(48 + 3 * (number % 11)))
            patient = replace(patient, name=SURNAMES[number % len(SURNAMES)] + "演示")
            at = now - (number % 9 + 1) * 6 * HOUR_NS
            stay = await store.admit(
                database, bed, patient, by=BY, at_ns=at, now_ns=now, vault=vault
            )
            if bed == EXCEPTION:
                exception = PatientException(
                    "spo2_low", "dr-wang", "慢阻肺，目标 88–92%", now + 48 * HOUR_NS, below=85
                )
                await store.add_exception(database, stay, exception, now_ns=now)
        for hospital in sites.hospital:
            for unit in hospital.unit:
                name = f"{hospital.id}/{unit.id}"
                await store.set_ladder(database, name, DEFAULT_LADDER, by=BY)
                for role, person in (("county-nurse", "nurse"), ("remote-intensivist", "expert")):
                    between = (now - HOUR_NS, now + 720 * HOUR_NS)
                    await store.add_duty(database, name, role, person, between, by=BY)
    back = now + HOUR_NS // 2
    await store.set_state(
        database, STANDBY, "standby", by=BY, until_ns=back, reason="外出检查 (CT)", now_ns=now
    )
    async with Connection(settings.broker_address, "vigil-demo") as broker:
        await Publisher().publish(database, broker, now)
        for number, bed in enumerate(sites.beds()):
            if number % UNOBSERVED != UNOBSERVED - 1:
                values: dict[str, float | str | bool] = {
                    "acvpu": "V" if bed == DROWSY else "A",
                    "on_oxygen": number % 3 == 0,
                }
                message = ObservationMessage(1, uuid4().hex, "nurse", now // MS, values)
                await broker.publish(format_topic(bed, Kind.OBSERVATIONS), encode_json(message))
