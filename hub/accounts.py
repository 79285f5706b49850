"""Accounts and sign-ins: argon2id hashes, opaque session tokens of which only a hash is kept."""

import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from psycopg import AsyncConnection

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
) -> None:
    """Create an account or set its password, role and scope (hospitals and units; none: all)."""
    await connection.execute(
        "INSERT INTO account (username, password_hash, role, scope) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (username) DO UPDATE SET password_hash = EXCLUDED.password_hash, "
        "role = EXCLUDED.role, scope = EXCLUDED.scope",
        (username, _hasher.hash(password), role, list(scope)),
    )


async def first_account(connection: AsyncConnection) -> str | None:
    """Create ``admin`` with a one-time password if there is no account; return the password."""
    row = await (await connection.execute("SELECT count(*) FROM account")).fetchone()
    if row is None or row[0]:
        return None
    password = secrets.token_urlsafe(12)
    await set_account(connection, "admin", password, "administrator")
    return password


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


async def open_session(connection: AsyncConnection, username: str, hours: float) -> str:
    """Return a fresh session token for a person who has proved who they are."""
    token = secrets.token_urlsafe(32)
    await connection.execute("DELETE FROM session WHERE expires_at < now()")
    await connection.execute(
        "INSERT INTO session (token_hash, username, expires_at) VALUES (%s, %s, %s)",
        (_hash(token), username, datetime.now(UTC) + timedelta(hours=hours)),
    )
    return token


async def find_session(
    connection: AsyncConnection, token: str
) -> tuple[str, str, tuple[str, ...], datetime] | None:
    """Return name, role, scope and end of a session that has not expired."""
    row = await (
        await connection.execute(
            "SELECT account.username, role, scope, expires_at "
            "FROM session JOIN account USING (username) "
            "WHERE token_hash = %s AND expires_at > now()",
            (_hash(token),),
        )
    ).fetchone()
    return (row[0], row[1], tuple(row[2]), row[3]) if row else None


async def close_session(connection: AsyncConnection, token: str) -> None:
    """End a session."""
    await connection.execute("DELETE FROM session WHERE token_hash = %s", (_hash(token),))
