"""Identities sealed with a key outside the database (Fernet: AES-128-CBC and HMAC-SHA256).

What is sealed names whose it is, so that one row's seal cannot be put on another. The key file
holds a key a line, newest first: all open, the first seals.
"""

import base64
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from msgspec import DecodeError, json

from hub import secret_files
from schemas.errors import StoreError

KEY_FILE = "identity.key"


class Vault:
    """Seals and opens small texts."""

    def __init__(self, keys: list[bytes]) -> None:
        self._fernet = MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])

    def seal(self, owner: str, text: str) -> bytes:
        """Return ``text`` sealed for ``owner``."""
        return self._fernet.encrypt(json.encode([owner, text]))

    def open(self, owner: str, sealed: bytes) -> str:
        """Return what was sealed for ``owner``; StoreError when it was not, or not with our key."""
        try:
            whose, text = json.decode(self._fernet.decrypt(sealed), type=tuple[str, str])
        except (InvalidToken, DecodeError):
            raise StoreError(
                f"identity of {owner}: sealed with another key; restore {KEY_FILE} from a backup"
            ) from None
        if whose != owner:
            raise StoreError(f"identity of {owner}: its row was exchanged with another's")
        return text


def open_vault(data: Path, key_file: Path | None = None) -> Vault:
    """Return the vault of an installation; its key is made at the first use."""
    return Vault(secret_files.keys(data, KEY_FILE, key_file))


def rotate_key(data: Path, key_file: Path | None = None) -> Vault:
    """Put a new key before the old ones; what is sealed anew is sealed with it."""
    secret_files.keys(data, KEY_FILE, key_file)  # there is one to begin with
    secret_files.add_key(data, KEY_FILE, key_file)
    return open_vault(data, key_file)
