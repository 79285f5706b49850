"""``vigil backup`` and ``vigil restore``: the database, the secrets, the state, the configuration.

A backup is a folder: ``manifest.json`` with a checksum of every file, ``database.dump`` (pg_dump's
custom format), ``state.tar.gz``. It holds the keys: keep it as safe as the hub itself. What waits
in the broker is not in it; while a backup is made everything goes on.
"""

import asyncio
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from psycopg import AsyncConnection

from hub import audit, embedded, secret_files
from hub.database import PLAIN, TIMESCALE, applied, connect, migrations
from hub.health import VERSION
from hub.settings import Settings
from hub.up import database_there
from schemas.errors import HubError, StoreError

MANIFEST, DUMP, STATE = "manifest.json", "database.dump", "state.tar.gz"
FOLDERS = (secret_files.FOLDER, "intake", "notifier")
"""What of the data folder is taken along: keys and credentials, and what services know."""
PREFIX = "vigil-"
EXPORT = "SELECT pg_export_snapshot()"
Say = Callable[[str], None]


async def backup(settings: Settings, into: Path, say: Say, *, keep: int | None = None) -> Path:
    """Make a backup in a new folder below ``into``; return it. ``keep``: so many newest stay."""
    async with database_there(settings) as there:
        name = f"{PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        folder = into / f".{name}.part"
        await asyncio.to_thread(os.makedirs, folder, 0o700)
        try:
            say("database …")
            async with await connect(there.database_address) as link, link.transaction():
                # One picture of the database for the dump and for what is counted of it.
                await link.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                row = await (await link.execute(EXPORT)).fetchone()
                assert row is not None
                picture = (f"--snapshot={row[0]}", "--format=custom", f"--file={folder / DUMP}")
                await _run("pg_dump", there, *picture)
                counts = await _counts(link)
                known = await applied(link)
            say("secrets, state and configuration …")
            await asyncio.to_thread(_pack, settings, folder / STATE)
            manifest = {
                "vigil": VERSION,
                "made_at": datetime.now(UTC).isoformat(),
                "migrations": known,
                "counts": counts,
                "sha256": {n: await asyncio.to_thread(checksum, folder / n) for n in (DUMP, STATE)},
            }
            (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
            final = into / name
            folder.replace(final)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    audit.note(settings.data, audit.by_command("backup", str(final)))
    for old in await asyncio.to_thread(_older, into, keep):
        say(f"{old} taken away")
    return final


def _older(into: Path, keep: int | None) -> list[str]:
    """Take away all but the newest backups; return their names."""
    gone = sorted(into.glob(f"{PREFIX}*"))[: -keep if keep else 0]
    for old in gone:
        shutil.rmtree(old)
    return [old.name for old in gone]


async def restore(settings: Settings, source: Path, say: Say) -> dict[str, Any]:
    """Put a backup into an empty data folder (or database); return its manifest.

    Raises StoreError when a file is not as it was written, or something is there already.
    """
    manifest = check(source)
    unknown = set(manifest["migrations"]) - {
        name for flavour in (PLAIN, TIMESCALE) for name, _, _ in migrations(flavour)
    }
    if unknown:
        raise StoreError(f"backup of Vigil {manifest['vigil']}: newer than this one; install that")
    data = settings.data
    if settings.database.url is None and (data / "database" / "PG_VERSION").exists():
        raise StoreError(f"data folder {data}: there is a database; restore into an empty folder")
    say("secrets, state and configuration …")
    data.mkdir(parents=True, exist_ok=True)
    with tarfile.open(source / STATE) as archive:
        await asyncio.to_thread(archive.extractall, data, filter="data")
    secret_files.folder_of(data)
    say("database …")
    async with database_there(settings, migrated=False) as there:
        async with await connect(there.database_address) as connection:
            if await applied(connection):
                raise StoreError("the database has tables already; restore into an empty one")
            await _make_role(connection)
            await _run("pg_restore", there, "--no-owner", "--exit-on-error", str(source / DUMP))
            await audit.adopt(connection, data)
            counts = await _counts(connection)
        if counts != manifest["counts"]:
            raise StoreError(f"restored {counts}, the backup has {manifest['counts']}")
    audit.note(data, audit.by_command("restore", source.name))
    return manifest


def check(source: Path) -> dict[str, Any]:
    """Return the manifest of a backup whose files are as they were written; StoreError if not."""
    try:
        manifest: dict[str, Any] = json.loads((source / MANIFEST).read_text("utf-8"))
        sums = manifest["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{source}: no backup of Vigil ({error})") from None
    for name, expected in sums.items():
        if name not in (DUMP, STATE) or not (source / name).is_file():
            raise StoreError(f"{source / name}: missing")
        if checksum(source / name) != expected:
            raise StoreError(f"{source / name}: damaged, its checksum is not the manifest's")
    return manifest


def _pack(settings: Settings, path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name in FOLDERS:
            if (settings.data / name).exists():
                archive.add(settings.data / name, name, filter=_settled)
    path.chmod(0o600)


def _settled(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what is being written: a journal belongs to a checkpoint that is newer."""
    base = os.path.basename(member.name)  # noqa: PTH119 - a name within the archive
    return None if base.startswith("journal-") or base.endswith(".new") else member


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _make_role(connection: AsyncConnection) -> None:
    """Have the role that the views are granted to: roles are not in a dump of one database."""
    found = await connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'vigil_report'")
    if await found.fetchone() is None:
        await connection.execute("CREATE ROLE vigil_report NOLOGIN")


async def _run(tool: str, settings: Settings, *arguments: str) -> None:
    """Run one of PostgreSQL's tools; the password goes by the environment, not the arguments."""
    parts = urlsplit(settings.database_address)
    where = {
        "PGHOST": parts.hostname or "127.0.0.1",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": parts.username or "postgres",
        "PGPASSWORD": parts.password or "",
        "PGDATABASE": parts.path.strip("/") or "postgres",
    }
    command = str(embedded.postgres_binaries() / tool)
    if tool == "pg_restore":
        arguments = (f"--dbname={where['PGDATABASE']}", *arguments)
    process = await asyncio.create_subprocess_exec(
        command, *arguments, env=os.environ | where, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        last = said.decode("utf-8", "replace").strip().splitlines()[-3:]
        raise HubError(f"{tool}: {' '.join(last)}")


async def _counts(connection: AsyncConnection) -> dict[str, int]:
    """Return how much of what cannot be made again there is."""
    tables = ("bed", "account", "stay", "annotation", "consult_act", "rule_set")
    found = {}
    for table in tables:
        row = await (await connection.execute(f"SELECT count(*) FROM {table}")).fetchone()  # noqa: S608 - names of ours
        assert row is not None
        found[table] = int(row[0])
    return found
