"""Reading the rule set from its files: the baseline and the overlays beside it."""

from importlib.resources import files
from pathlib import Path

from alerts.rulesets import RuleSet, make_rule_set
from schemas.errors import SettingsError


def baseline_path(path: Path | None) -> Path:
    """Return the baseline's file: the adult baseline when none is named."""
    return path or Path(str(files("alerts").joinpath("packs", "adult.toml")))


def load_rules(
    path: Path | None, overlays: Path | None = None, regions: dict[str, str] | None = None
) -> RuleSet:
    """Return the checked rule set; raise SettingsError naming file, line, key and fix.

    ``overlays``: a folder; every ``*.toml`` in it is an overlay.
    """
    found = sorted(overlays.glob("*.toml")) if overlays is not None else []
    if overlays is not None and not overlays.is_dir():
        raise SettingsError(f"overlays {overlays}: no such folder; VIGIL_INTAKE__OVERLAYS")
    return make_rule_set(read(baseline_path(path)), [read(file) for file in found], regions)


def read(path: Path) -> tuple[bytes, Path]:
    """Return a file's text with its path."""
    try:
        return path.read_bytes(), path
    except OSError as error:
        raise SettingsError(f"rule pack {path}: {error}") from None
