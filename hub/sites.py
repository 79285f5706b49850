"""``sites.toml``: the hospitals, units and beds, and what people call them.

[[hospital]]
id = "quzhou-kaihua"
zh = "开化县人民医院"
en = "Kaihua County People's Hospital"
  [[hospital.unit]]
  id = "icu"
  zh = "ICU"
  en = "ICU"
  beds = ["bed-01", "bed-02"]
"""

import tomllib
from pathlib import Path

import msgspec
from msgspec import Struct

from schemas.alerts import hospital_place, is_place, unit_place
from schemas.errors import SettingsError, TopicError
from schemas.topics import check_bed


class Unit(Struct, forbid_unknown_fields=True):
    """A ward: ``beds`` are the ids used in topics."""

    id: str
    zh: str
    en: str
    beds: list[str]


class Hospital(Struct, forbid_unknown_fields=True):
    """A hospital and its units."""

    id: str
    zh: str
    en: str
    unit: list[Unit] = []
    region: str = ""


class Sites(Struct, forbid_unknown_fields=True):
    """All that is registered."""

    hospital: list[Hospital] = []

    def labels(self) -> dict[str, tuple[str, str]]:
        """Return the zh and en name of every registered bed, unit and hospital.

        Beds by ``hospital/unit/bed``, units and hospitals by the place that their alerts name.
        """
        places = {hospital_place(h.id): (h.zh, h.en) for h in self.hospital}
        places |= {
            unit_place(h.id, u.id): (f"{h.zh} {u.zh}", f"{h.en} {u.en}")
            for h in self.hospital
            for u in h.unit
        }
        return places | self.beds()

    def regions(self) -> dict[str, str]:
        """Return the region of each hospital that has one."""
        return {h.id: h.region for h in self.hospital if h.region}

    def beds(self) -> dict[str, tuple[str, str]]:
        """Return the zh and en name of every registered bed, by ``hospital/unit/bed``."""
        return {
            f"{h.id}/{u.id}/{bed}": (
                f"{h.zh} {u.zh} {bed_number(bed)}床",
                f"{h.en} {u.en} bed {bed_number(bed)}",
            )
            for h in self.hospital
            for u in h.unit
            for bed in u.beds
        }


def _places(sites: Sites) -> list[str]:
    """Return a stand-in bed for each unit, so that units without beds are checked too."""
    return [f"{h.id}/{u.id}/x" for h in sites.hospital for u in h.unit]


def _check_name(bed: str) -> None:
    if is_place(bed):
        raise TopicError("topic", f"bed {bed}: the name is reserved; use another")


def bed_number(bed: str) -> str:
    """Return a bed's number as people say it.

    >>> bed_number("bed-07")
    '7'
    """
    return bed.removeprefix("bed-").lstrip("0") or bed


def load_sites(path: Path | None) -> Sites:
    """Return the registered sites; none when ``path`` is None. Raises SettingsError."""
    if path is None:
        return Sites()
    try:
        sites = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Sites)
        for bed in [*sites.beds(), *_places(sites)]:
            check_bed(bed)
            _check_name(bed)
    except (
        OSError,
        UnicodeDecodeError,
        tomllib.TOMLDecodeError,
        msgspec.ValidationError,
        TopicError,
    ) as error:
        raise SettingsError(f"sites file {path}: {error}") from None
    return sites
