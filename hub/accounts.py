"""Accounts and sign-ins: argon2id hashes, opaque session tokens of which only a hash is kept."""

import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from msgspec import Struct
from psycopg import AsyncConnection

from hub.database import query
from hub.reads import Row, fetch
from schemas.errors import CareError
from schemas.scopes import check_scope

SESSIONS_EACH = 20
BREAK_GLASS_MINUTES, BREAK_GLASS_OPEN = 120, 5
PASSWORD_LEAST = 10
_hasher = PasswordHasher()
_NOBODY = _hasher.hash(secrets.token_hex())
"""Verified when the name is unknown, so that a wrong name takes as long as a wrong password."""

DEMO_ACCOUNTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "expert": ("remote-intensivist", ()),
    "nurse": ("county-nurse", ()),
    "charge": ("charge-nurse", ("quzhou-kaihua",)),
    "doctor": ("county-physician", ("quzhou-kaihua",)),
    "quality": ("quality-lead", ()),
}
"""Role and scope of each account of the demo."""
DEMO_PASSWORD = "vigil-demo"  # noqa: S105 - exists only in demo mode, and the page says so


async def set_account(
    connection: AsyncConnection,
    username: str,
    password: str,
    role: str,
    scope: tuple[str, ...] = (),
    *,
    must_change: bool = False,
) -> None:
    """Create an account or set its password, role and scope (hospitals and units; none: all).

    Sessions of the account end. ``must_change``: the password is for one sign-in only.
    """
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO account (username, password_hash, role, scope, must_change) "
            "VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT (username) DO UPDATE SET password_hash = EXCLUDED.password_hash, "
            "role = EXCLUDED.role, scope = EXCLUDED.scope, must_change = EXCLUDED.must_change",
            (username, _hasher.hash(password), role, list(scope), must_change),
        )
        await revoke_sessions(connection, username=username)


async def set_password(connection: AsyncConnection, username: str, password: str) -> None:
    """Let a person have a password of their own; every session of theirs ends."""
    async with connection.transaction():
        await connection.execute(
            "UPDATE account SET password_hash = %s, must_change = false WHERE username = %s",
            (_hasher.hash(password), username),
        )
        await revoke_sessions(connection, username=username)


async def enter(
    connection: AsyncConnection, subject: str, username: str, role: str, scope: tuple[str, ...]
) -> None:
    """Have an account for a person whom the identity provider vouches for.

    Their role and scope are what the provider says now. An account with a password of that name is
    another person's: CareError.
    """
    row = await (
        await connection.execute("SELECT subject FROM account WHERE username = %s", (username,))
    ).fetchone()
    if row is not None and row[0] != subject:
        raise CareError(f"account {username[:64]!r} exists already and is not of this provider")
    await connection.execute(
        "INSERT INTO account (username, password_hash, role, scope, subject) "
        "VALUES (%s, '', %s, %s, %s) ON CONFLICT (username) DO UPDATE SET "
        "role = EXCLUDED.role, scope = EXCLUDED.scope",
        (username, role, list(scope), subject),
    )


async def first_account(connection: AsyncConnection) -> str | None:
    """Create ``admin`` with a password for one sign-in if there is no account; return it."""
    row = await (await connection.execute("SELECT count(*) FROM account")).fetchone()
    if row is None or row[0]:
        return None
    password = secrets.token_urlsafe(12)
    await set_account(connection, "admin", password, "administrator", must_change=True)
    return password


async def drop_demo(connection: AsyncConnection) -> None:
    """Take away the demo's accounts, where they still have the password that everybody knows."""
    for name in DEMO_ACCOUNTS:
        stored = await find_hash(connection, name)
        if stored is not None and verify(stored, DEMO_PASSWORD):
            await connection.execute("DELETE FROM account WHERE username = %s", (name,))


def verify(password_hash: str | None, password: str) -> bool:
    """Return whether ``password`` fits; takes as long for an account that does not exist."""
    try:
        return _hasher.verify(password_hash or _NOBODY, password) and password_hash is not None
    except (Argon2Error, InvalidHashError):
        return False


async def find_hash(connection: AsyncConnection, username: str) -> str | None:
    """Return the stored hash of an account; None when there is none."""
    row = await (
        await connection.execute(
            "SELECT password_hash FROM account WHERE username = %s", (username,)
        )
    ).fetchone()
    return row[0] if row else None


def _hash(token: str) -> bytes:
    return sha256(token.encode()).digest()


async def open_session(
    connection: AsyncConnection, username: str, hours: float, address: str = "", agent: str = ""
) -> str:
    """Return a fresh session token for a person who has proved who they are.

    A person has at most ``SESSIONS_EACH``; the oldest ends.
    """
    token = secrets.token_urlsafe(32)
    await connection.execute("DELETE FROM session WHERE expires_at < now()")
    await connection.execute(
        "INSERT INTO session (token_hash, username, expires_at, id, address, agent) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        (
            _hash(token),
            username,
            datetime.now(UTC) + timedelta(hours=hours),
            secrets.token_hex(6),
            address[:60],
            "".join(c for c in agent[:200] if c.isprintable()),
        ),
    )
    await connection.execute(
        "DELETE FROM session WHERE token_hash IN (SELECT token_hash FROM session "
        "WHERE username = %s ORDER BY opened_at DESC OFFSET %s)",
        (username, SESSIONS_EACH),
    )
    return token


class Found(Struct, frozen=True):
    """Whose a session is, what they see (``extra``: by break-glass), and until when that holds."""

    username: str
    role: str
    scope: tuple[str, ...]
    until: datetime
    must_change: bool
    extra: tuple[str, ...] = ()


async def find_session(connection: AsyncConnection, token: str) -> Found | None:
    """Return whose session this is; None when it has expired or there is none."""
    rows = await fetch(connection, "select_session", token=_hash(token))
    if not rows:
        return None
    row = rows[0]
    extra = tuple(row["extra"]) if row["scope"] else ()
    until = row["expires_at"]
    if extra:
        until = min(until, row["extra_until"])
    extra = tuple(one for one in extra if one not in row["scope"])
    scope = (*row["scope"], *extra)
    return Found(row["username"], row["role"], scope, until, row["must_change"], extra)


async def close_session(connection: AsyncConnection, token: str) -> None:
    """End a session."""
    await connection.execute("DELETE FROM session WHERE token_hash = %s", (_hash(token),))


async def list_sessions(connection: AsyncConnection, username: str | None = None) -> list[Row]:
    """Return the open sessions of one person, or of everybody."""
    return await fetch(connection, "select_sessions", username=username)


async def revoke_sessions(
    connection: AsyncConnection, *, session: str | None = None, username: str | None = None
) -> list[str]:
    """End one session by its id, all of a person's, or one of theirs; return whose they were."""
    cursor = await connection.execute(
        query("delete_sessions"), {"id": session, "username": username}
    )
    return [row[0] for row in await cursor.fetchall()]


async def revoke_others(connection: AsyncConnection, username: str, token: str) -> None:
    """End every session of a person but the one of ``token``."""
    await connection.execute(
        query("delete_other_sessions"), {"username": username, "token": _hash(token)}
    )


async def break_glass(
    connection: AsyncConnection, username: str, scope: str, reason: str, minutes: int
) -> str:
    """Let a person see a hospital or unit beyond their scope for some minutes; return its id."""
    [scope] = check_scope([scope])
    if not reason.strip():
        raise CareError("reason: say why; it is shown to those concerned and kept")
    if not 1 <= minutes <= BREAK_GLASS_MINUTES:
        raise CareError(f"minutes {minutes}: 1 to {BREAK_GLASS_MINUTES}")
    now = datetime.now(UTC)
    open_now = [r for r in await list_break_glass(connection, now) if r["username"] == username]
    if sum(row["open"] for row in open_now) >= BREAK_GLASS_OPEN:
        raise CareError(f"break-glass: {BREAK_GLASS_OPEN} are open already; end one first")
    found = secrets.token_hex(6)
    await connection.execute(
        query("insert_break_glass"),
        {
            "id": found,
            "username": username,
            "scope": scope,
            "reason": reason.strip(),
            "from": now,
            "until": now + timedelta(minutes=minutes),
        },
    )
    return found


async def list_break_glass(connection: AsyncConnection, since: datetime) -> list[Row]:
    """Return who saw beyond their scope since a time, or still does."""
    return await fetch(connection, "select_break_glass", since=since)


async def end_break_glass(connection: AsyncConnection, found: str, by: str) -> None:
    """End it before its time; CareError when there is none open."""
    cursor = await connection.execute(query("end_break_glass"), {"id": found, "by": by})
    if not cursor.rowcount:
        raise CareError(f"break-glass {found[:20]!r}: there is none open")
