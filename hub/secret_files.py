"""Secrets of this installation: files that only the service's user can read, outside the database.

A key is made at random when it is first asked for. ``vigil backup`` takes the folder along.
"""

import os
import secrets
from pathlib import Path

from schemas.errors import SettingsError

FOLDER = "secrets"
KEY_BYTES = 32
DATABASE = "database.password"


def folder_of(data: Path) -> Path:
    """Return the folder of secrets, made if need be; nobody else may look into it."""
    folder = data / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def write(path: Path, content: bytes) -> None:
    """Write a secret so that it is whole or as it was, and readable by us alone."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(path)


def key(data: Path, name: str) -> bytes:
    """Return one of our own keys: 32 bytes, made at first use."""
    return keys(data, name)[0]


def keys(data: Path, name: str, given: Path | None = None) -> list[bytes]:
    """Return the keys in the file ``given``, else in one of our own, made at first use.

    Newest first; in the file a line each, 64 hexadecimal digits.
    """
    path = given or folder_of(data) / name
    if not path.exists():
        if given is not None:
            raise SettingsError(f"key file {given}: not there; make it with 32 random bytes as hex")
        _create(path)
    try:
        found = [bytes.fromhex(line) for line in path.read_text("utf-8").split()]
    except ValueError:
        found = []
    if not found or any(len(one) != KEY_BYTES for one in found):
        raise SettingsError(f"key file {path}: expected {2 * KEY_BYTES} hexadecimal digits a line")
    return found


def add_key(data: Path, name: str, given: Path | None = None) -> None:
    """Put a fresh key before those of a file."""
    path = given or folder_of(data) / name
    write(path, f"{secrets.token_hex(KEY_BYTES)}\n{path.read_text('utf-8')}".encode())


def read(data: Path, name: str) -> str | None:
    """Return a secret of this installation; None when there is none, or it is not ours to read."""
    try:
        return (data / FOLDER / name).read_text("utf-8").strip()
    except OSError:
        return None


def _create(path: Path) -> None:
    """Make a key, unless another process has just made it."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    write(fresh, secrets.token_hex(KEY_BYTES).encode())
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink(missing_ok=True)
