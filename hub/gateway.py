"""What a gateway needs that lies above it: its site, its profiles, and where admissions go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg
from msgspec.structs import replace
from psycopg import AsyncConnection

from care import admission_store
from care.admission_store import Aliases
from hub.clock import now_ns
from hub.database import AWAY, connect
from hub.settings import Settings
from hub.vault import open_vault
from ingest.gateway import Admit
from ingest.hl7.places import Places, check_places, parse_places
from ingest.hl7.translate import Site
from schemas.admissions import Admission
from schemas.errors import SettingsError, StoreError


def site_of(settings: Settings, hospital: str | None = None) -> Site:
    """Return where a gateway stands; raise SettingsError naming the setting that cannot be."""
    told = settings.gateway
    places = Places()
    if told.beds is not None:
        try:
            places = parse_places(told.beds.read_bytes(), told.beds)
        except OSError as error:
            raise SettingsError(f"gateway.beds: {told.beds}: {error.strerror}") from None
    whose = hospital or told.hospital
    if whose is not None:
        places = check_places(replace(places, hospital=whose), "gateway.hospital")
    try:
        zone = ZoneInfo(told.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise SettingsError(
            f"gateway.timezone = {told.timezone!r}: no time zone; write it as Asia/Shanghai"
        ) from None
    return Site(places, zone)


@asynccontextmanager
async def admissions(settings: Settings, hospital: str) -> AsyncIterator[Admit]:
    """Yield what applies admissions to the database, one at a time, connecting when need be."""
    aliases = Aliases(settings.data, hospital)
    vault = open_vault(settings.data, settings.identity_key)
    lock = asyncio.Lock()
    held: list[AsyncConnection] = []

    async def admit(admission: Admission) -> str:
        async with lock:
            try:
                if not held or held[0].closed:
                    held[:] = [await connect(settings.database_address)]
                return await admission_store.admit(held[0], aliases, vault, admission, now_ns())
            except AWAY as error:
                held.clear()
                raise StoreError(
                    f"the database is away; send it again ({type(error).__name__})"
                ) from None
            except psycopg.DataError as error:
                raise StoreError(f"a value cannot be stored: {error}") from None

    try:
        yield admit
    finally:
        for connection in held:
            await connection.close()
