"""Reading the rule set from its files: the baseline and the overlays beside it."""

from importlib.resources import files
from pathlib import Path

from alerts.rulesets import RuleSet, make_rule_set
from hub.settings import Settings
from hub.sites import load_sites
from schemas.errors import SettingsError

File = tuple[bytes, Path]
"""A file's text with its path."""


def baseline_path(path: Path | None) -> Path:
    """Return the baseline's file: the adult baseline when none is named."""
    return path or Path(str(files("alerts").joinpath("packs", "adult.toml")))


def rule_files(path: Path | None, overlays: Path | None) -> tuple[File, list[File]]:
    """Return the baseline's file and those of the overlays: every ``*.toml`` in their folder.

    Raises SettingsError for a file or folder that is not there.
    """
    if overlays is not None and not overlays.is_dir():
        raise SettingsError(f"overlays {overlays}: no such folder; VIGIL_INTAKE__OVERLAYS")
    found = sorted(overlays.glob("*.toml")) if overlays is not None else []
    return _read(baseline_path(path)), [_read(file) for file in found]


def load_rules(
    path: Path | None, overlays: Path | None = None, regions: dict[str, str] | None = None
) -> RuleSet:
    """Return the checked rule set; raise SettingsError naming file, line, key and fix."""
    return make_rule_set(*rule_files(path, overlays), regions)


def configured_rules(
    settings: Settings, pack: Path | None = None, overlays: Path | None = None
) -> RuleSet:
    """Return the rules of the settings, or what would be with another baseline or overlays."""
    return load_rules(
        pack or settings.intake.pack,
        overlays or settings.intake.overlays,
        load_sites(settings.sites).regions(),
    )


def _read(path: Path) -> File:
    try:
        return path.read_bytes(), path
    except OSError as error:
        raise SettingsError(f"rule pack {path}: {error}") from None
