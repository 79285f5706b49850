"""Credentials of the message bus: one for each service, gateway, edge and reader.

Of gateways only a hash is kept; what a service needs to sign in itself is kept as it is, in a file
that only our user can read. The broker enforces what each may do (``schemas.access``).
"""

import re
import secrets
from pathlib import Path
from typing import Any, Protocol

import bcrypt
import msgspec
from msgspec import Struct

from hub import secret_files
from schemas.access import Bearer, Permissions, Service, bearer_permissions, service_permissions
from schemas.errors import SettingsError
from schemas.topics import check_level

FILE = "broker.json"
OWN_ADDRESSES = ("127.0.0.1", "localhost", "::1")
COST = 4
"""Tokens are 24 random bytes: there is nothing to guess, so nothing to slow down."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class Listener(Protocol):
    """Where a broker listens, and whether it was told to let anybody in."""

    @property
    def host(self) -> str:
        """The address it listens on."""

    @property
    def anonymous(self) -> bool | None:
        """Told to, told not to, or not told."""


class Credential(Struct, frozen=True):
    """One credential as it is kept. ``user`` is ``name``, from the second on ``name.serial``."""

    name: str
    serial: int
    bearer: Bearer
    hospitals: tuple[str, ...]
    hash: str
    made_at: str

    @property
    def user(self) -> str:
        """The user name that the broker knows."""
        return self.name if self.serial == 1 else f"{self.name}.{self.serial}"


class Known(Struct):
    """All that the broker knows: services' passwords, and the hashes of everybody else's."""

    services: dict[str, str] = {}
    credentials: list[Credential] = []


def load(data: Path) -> Known:
    """Return the credentials of an installation; services get theirs at the first call."""
    path = secret_files.folder_of(data) / FILE
    try:
        known = msgspec.json.decode(path.read_bytes(), type=Known) if path.exists() else Known()
    except msgspec.DecodeError as error:
        raise SettingsError(f"{path}: {error}; restore it from a backup, or delete it") from None
    missing = [s for s in Service if s not in known.services]
    if missing:
        known.services |= {service: secrets.token_urlsafe(24) for service in missing}
        save(data, known)
    return known


def save(data: Path, known: Known) -> None:
    """Keep the credentials."""
    path = secret_files.folder_of(data) / FILE
    secret_files.write(path, msgspec.json.format(msgspec.json.encode(known)))


def written_ns(data: Path) -> int:
    """Return when the credentials were last written; 0: never."""
    path = data / secret_files.FOLDER / FILE
    return path.stat().st_mtime_ns if path.exists() else 0


def read_service(data: Path, service: Service) -> str | None:
    """Return a service's password if this installation has one and we may read it."""
    path = data / secret_files.FOLDER / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Known).services.get(service)
    except (OSError, msgspec.DecodeError):
        return None


def add(
    known: Known, name: str, bearer: Bearer, hospitals: tuple[str, ...], made_at: str
) -> tuple[Credential, str]:
    """Make a credential; return it with its token, which is kept nowhere.

    A name that exists gets one more, valid beside the old until that is revoked: so it is rotated.
    """
    if not _NAME.fullmatch(name) or name in set(Service):
        raise SettingsError(
            f"credential {name[:40]!r}: 1-32 of a-z, 0-9, '-', not the name of a service"
        )
    for hospital in hospitals:
        check_level("hospital", hospital)
    if not hospitals:
        raise SettingsError("a credential is for a hospital, or some: give --hospital")
    token = secrets.token_urlsafe(24)
    hashed = bcrypt.hashpw(token.encode(), bcrypt.gensalt(COST, b"2a")).decode()
    serial = max((c.serial for c in known.credentials if c.name == name), default=0) + 1
    made = Credential(name, serial, bearer, hospitals, hashed, made_at)
    known.credentials.append(made)
    return made, token


def revoke(known: Known, user: str) -> list[Credential]:
    """Take away one user, or with a bare name all of its credentials; return them."""
    gone = [c for c in known.credentials if user == (c.user if "." in user else c.name)]
    if not gone:
        raise SettingsError(f"credential {user[:40]!r}: there is none; `vigil credential list`")
    known.credentials = [c for c in known.credentials if c not in gone]
    return gone


def rotate(known: Known, name: str, made_at: str) -> tuple[Credential, str]:
    """Make the next credential of a name, with the same rights."""
    last = max(
        (c for c in known.credentials if c.name == name), key=lambda c: c.serial, default=None
    )
    if last is None:
        raise SettingsError(f"credential {name[:40]!r}: there is none; `vigil credential list`")
    return add(known, name, last.bearer, last.hospitals, made_at)


def authorization(known: Known, *, anonymous: bool) -> str:
    """Return the part of the broker's configuration that says who may do what."""
    users = [
        _user(service, known.services[service], service_permissions(service))
        for service in Service
        if service is not Service.LOCAL or anonymous
    ]
    users += [
        _user(c.user, c.hash, bearer_permissions(c.bearer, c.hospitals)) for c in known.credentials
    ]
    text = "authorization {\n  users: [\n" + "".join(f"    {user}\n" for user in users) + "  ]\n}\n"
    return text + (f"no_auth_user: {Service.LOCAL}\n" if anonymous else "")


def _user(name: str, password: str, may: Permissions) -> str:
    publish: dict[str, Any] = {"allow": may.publish} if may.publish else {"deny": [">"]}
    subscribe: dict[str, Any] = {"allow": may.subscribe} if may.subscribe else {"deny": [">"]}
    user = {
        "user": name,
        "password": password,
        "permissions": {"publish": publish, "subscribe": subscribe},
    }
    return msgspec.json.encode(user).decode()  # the broker reads JSON as its own language


def lets_anybody(broker: Listener) -> bool:
    """Return whether who has no credential may act as a device of any hospital.

    Unless told otherwise, only where no other machine reaches the broker.
    """
    if broker.anonymous is not None:
        return broker.anonymous
    return broker.host in OWN_ADDRESSES
