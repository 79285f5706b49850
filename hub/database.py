"""The database as the services see it: connections, named queries, migrations.

Migrations are plain SQL files applied in order, each in a transaction of its own, under one lock,
with a checksum so that a file that was changed after it was applied stops the start.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import LiteralString

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import PoolTimeout

from hub import arrays
from hub.vault import Vault
from schemas.errors import StoreError

log = structlog.get_logger()

BACKOFF_MAX_S = 5.0
AWAY = (psycopg.OperationalError, PoolTimeout)
"""What says that the database is not there now."""
MIGRATION_LOCK = 7_470_126
PLAIN, TIMESCALE = "postgresql", "timescaledb"
OPTIONS = "-c statement_timeout=30000 -c timezone=UTC -c application_name=vigil"


@cache
def query(name: str) -> LiteralString:
    """Return the named query from ``schemas/sql/queries``."""
    path = files("schemas").joinpath("sql", "queries", f"{name}.sql")
    return path.read_text("utf-8")  # a file of ours, never input


async def connect(url: str, schema: str | None = None) -> AsyncConnection:
    """Return a connection; raises psycopg.OperationalError when the database is away.

    ``schema``: the namespace whose tables are meant, instead of the live ones.
    """
    options = f"{OPTIONS} -c search_path={schema}" if schema else OPTIONS
    connection = await AsyncConnection.connect(
        url, options=options, connect_timeout=5, autocommit=True
    )
    arrays.register(connection)
    return connection


async def connect_when_there(url: str, schema: str | None = None) -> AsyncConnection:
    """Return a connection, waiting for the database as long as it takes. Two log lines."""
    attempt = 0
    while True:
        try:
            connection = await connect(url, schema)
        except psycopg.OperationalError as error:
            if attempt == 0:
                log.warning("database_lost", reason=str(error).strip().splitlines()[0])
            attempt += 1
            await asyncio.sleep(random.uniform(0, min(BACKOFF_MAX_S, 0.2 * 2**attempt)))  # noqa: S311
        else:
            if attempt:
                log.info("database_regained", attempts=attempt)
            return connection


async def stay_with_database(url: str, serve: Callable[[AsyncConnection], Awaitable[None]]) -> None:
    """Call ``serve`` with a connection, and again with a new one after each loss. Never returns."""
    while True:
        database = await connect_when_there(url)
        try:
            async with database:
                await serve(database)
        except* psycopg.OperationalError as group:
            log.warning("database_lost", reason=str(group.exceptions[0]).strip())


def migrations(flavour: str) -> list[tuple[str, str, str]]:
    """Return name, checksum and text of every migration of a flavour, in order.

    A file ``NNNN_name.FLAVOUR.sql`` is for one flavour, ``NNNN_name.sql`` for both.
    """
    folder = files("schemas").joinpath("sql", "migrations")
    found = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
        and (entry.name.count(".") == 1 or entry.name.split(".")[1] == flavour)
    )
    texts = [(name, folder.joinpath(name).read_text("utf-8")) for name in found]
    return [(name, sha256(text.encode()).hexdigest(), text) for name, text in texts]


async def applied(connection: AsyncConnection) -> list[str]:
    """Return the names of the migrations that were applied, in order; none of an empty database."""
    there = await (await connection.execute("SELECT to_regclass('migration')")).fetchone()
    if there is None or there[0] is None:
        return []
    rows = await connection.execute("SELECT name FROM migration ORDER BY name")
    return [name for (name,) in await rows.fetchall()]


async def flavour_of(connection: AsyncConnection) -> str:
    """Return what the tables are made for: as they were made, else what the server offers.

    A server that offers TimescaleDB but cannot load it, or only the parts under the Apache licence
    (no columnstore, no continuous aggregates), counts as plain; ``vigil doctor`` says so.
    """
    rows = await (await connection.execute("SELECT name FROM migration")).fetchall()
    chosen = {name.split(".")[1] for (name,) in rows if name.count(".") == 2}
    if chosen:
        return str(chosen.pop())
    offered = await (
        await connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'")
    ).fetchone()
    if offered is None:
        return PLAIN
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        licence = await (await connection.execute("SHOW timescaledb.license")).fetchone()
    except psycopg.Error as error:
        log.warning("timescaledb_not_usable", reason=str(error).strip().splitlines()[0])
        return PLAIN
    if licence is None or licence[0] != "timescale":
        log.warning("timescaledb_not_usable", reason=f"timescaledb.license is {licence}")
        return PLAIN
    return TIMESCALE


async def _seal_names(connection: AsyncConnection, vault: Vault | None) -> None:
    """Move names of patients, which were in the open once, to where they are sealed."""
    rows = await (await connection.execute("SELECT id, name FROM stay WHERE name <> ''")).fetchall()
    if rows and vault is None:
        raise StoreError("names of patients are to be sealed: run `vigil up` or `vigil migrate`")
    for stay, name in rows:
        assert vault is not None
        await connection.execute(
            query("upsert_identity"), {"stay": stay, "sealed": vault.seal(stay, name)}
        )
    await connection.execute("ALTER TABLE stay DROP COLUMN name")


AFTERWARDS = {"0010_protect.sql": _seal_names}
"""What a migration needs that SQL cannot do, in its transaction."""


async def migrate(url: str, schema: str | None = None, vault: Vault | None = None) -> list[str]:
    """Apply what has not been applied; return the names. StoreError when history was rewritten.

    With ``schema`` the tables are made there, always as plain ones: a namespace of a run is small.
    ``vault`` seals names that an older version kept in the open.
    """
    applied: list[str] = []
    connection = await connect_when_there(url, schema)
    async with connection:
        await connection.execute("SET statement_timeout = 0")  # moving a year of data takes longer
        await connection.execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS migration (name text PRIMARY KEY, checksum text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        rows = await (await connection.execute("SELECT name, checksum FROM migration")).fetchall()
        known: dict[str, str] = dict(rows)
        flavour = PLAIN if schema else await flavour_of(connection)
        for name, checksum, text in migrations(flavour):
            if name in known:
                if known[name] != checksum:
                    raise StoreError(f"migration {name} was changed after it was applied")
                continue
            async with connection.transaction():
                await connection.execute(text.encode())
                if name in AFTERWARDS:
                    await AFTERWARDS[name](connection, vault)
                await connection.execute(
                    "INSERT INTO migration (name, checksum) VALUES (%s, %s)", (name, checksum)
                )
            applied.append(name)
            log.info("migration_applied", name=name)
        await connection.execute("SELECT pg_advisory_unlock(%s)", (MIGRATION_LOCK,))
    return applied
