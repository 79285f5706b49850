"""The settings as environment variables: their names checked, their list printed."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from pydantic import BaseModel

from hub.settings import Settings
from schemas.errors import SettingsError

NOT_SETTINGS = ("VIGIL_DEMO_", "VIGIL_TEST_")
"""Prefixes that the Makefile and the tests read themselves."""


def rows(settings: BaseModel, prefix: str = "VIGIL_") -> Iterator[tuple[str, str, str]]:
    """Yield name, value and meaning of every setting."""
    for key, field in type(settings).model_fields.items():
        value = getattr(settings, key)
        name = f"{prefix}{key}".upper()
        if isinstance(value, BaseModel):
            yield from rows(value, f"{name}__")
        else:
            yield name, "" if value is None else str(value), field.description or ""


def check_names(environment: Mapping[str, str]) -> None:
    """Raise SettingsError for a VIGIL_ variable that is no setting."""
    known = {name for name, _, _ in rows(Settings.model_construct())}
    for name in environment:
        if not name.startswith("VIGIL_") or name.startswith(NOT_SETTINGS) or name in known:
            continue
        close = get_close_matches(name, known, 1)
        hint = f"; did you mean {close[0]}?" if close else "; `vigil settings` lists every key"
        raise SettingsError(f"environment {name}: no such setting{hint}")
