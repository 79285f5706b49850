"""Reading a rule pack from its file; the adult baseline when none is named."""

from importlib.resources import files
from pathlib import Path

from alerts.rules import Pack, parse_pack
from schemas.errors import SettingsError


def load_pack(path: Path | None) -> Pack:
    """Return the checked pack; raise SettingsError naming file, rule, key and fix."""
    if path is None:
        path = Path(str(files("alerts").joinpath("packs", "adult.toml")))
    try:
        return parse_pack(path.read_bytes(), path)
    except OSError as error:
        raise SettingsError(f"rule pack {path}: {error}") from None
