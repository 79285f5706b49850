"""Which bed a message is about: PV1-3 in its real variants, as hospital/unit/bed. Pure.

A site's file says what its own words mean, where the words themselves do not:

    hospital = "kaihua"
    [beds]
    "ICU^^5" = "icu/bed-05"             # PV1-3 as it is sent
    "00A037009B000000" = "icu/bed-07"   # a device's identifier (MSH-3, OBX-18), or
    "10.1.2.3" = "icu/bed-08"           # the address that it connects from
"""

import re
import tomllib
from hashlib import blake2b
from pathlib import PurePath

from msgspec import Struct, ValidationError, convert

from ingest.hl7.message import Segment
from schemas.errors import SettingsError, TopicError
from schemas.topics import check_bed

UNASSIGNED = "unassigned"
"""The unit of devices that say no bed and are in no file: shown, and plainly to be assigned."""
_NOT_ALLOWED = re.compile(r"[^a-z0-9]+")


class Places(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose monitors these are, and what their words for beds mean."""

    hospital: str = "local"
    unit: str = "icu"
    beds: dict[str, str] = {}

    def find(self, *words: str) -> str | None:
        """Return the bed that the file gives the first of these words that is in it."""
        for word in words:
            bed = self.beds.get(word)
            if bed is not None:
                return f"{self.hospital}/{bed}"
        return None


def parse_places(text: bytes, path: PurePath) -> Places:
    """Return a site's file of beds; raise SettingsError naming file, key and fix."""
    try:
        places = convert(tomllib.loads(text.decode()), Places)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise SettingsError(f"{path}: {error}") from None
    return check_places(places, str(path))


def check_places(places: Places, where: str) -> Places:
    """Return places whose beds can be; raise SettingsError naming the one that cannot."""
    for word, bed in {"unit": f"{places.unit}/x", **places.beds}.items():
        try:
            check_bed(f"{places.hospital}/{bed}")
        except TopicError as error:
            raise SettingsError(f"{where}: {word!r} = {bed!r}: {error}; write unit/bed") from None
    return places


def slug(word: str) -> str:
    """Return a word as a level of a topic; empty when there is nothing in it.

    What has no Latin letters or digits gets a name of its own, always the same one.

    >>> slug("Bed 5"), slug("00-0F-14"), slug("ICU/重症")
    ('bed-5', '00-0f-14', 'icu')
    """
    found = _NOT_ALLOWED.sub("-", word.lower()).strip("-")[:48].strip("-")
    if found or not word.strip():
        return found
    return "x" + blake2b(word.strip().encode(), digest_size=4).hexdigest()


def words_of(location: Segment | None) -> tuple[str, str]:
    """Return the words for unit and bed in a PV1 segment's assigned location; empty: not said.

    The bed is PV1-3.3, else 3.2. It may have parts of its own. Four or more:
    ``ICU&Bed5&3232241659&0`` (unit, bed, address, port). Fewer: ``OR&ICU&BED01`` (the bed is last),
    ``Doc1&5&1`` (the bed has letters), ``&24`` (the bed is what there is).
    """
    if location is None:
        return "", ""
    separator = location.marks.subcomponent
    parts = [*location.components(3), "", "", ""]
    unit, room, bed = (part.strip() for part in parts[:3])
    unit = unit.split(separator)[0].strip()
    inner = [one.strip() for one in (bed or room).split(separator)]
    while len(inner) > 1 and not inner[-1]:
        inner.pop()
    if len(inner) >= 4:
        return unit or inner[0], inner[1]
    named = [one for one in inner if one and not one.isdigit()]
    if len(named) < 2:
        return unit, (named or [one for one in inner if one] or [""])[0]
    return unit or named[0], named[-1]


def bed_of(places: Places, location: Segment | None, names: tuple[str, ...]) -> str | None:
    """Return the bed of a message; None when neither it nor the site's file says one.

    ``names``: other words for whoever sends: identifiers of the device, its address.
    """
    written = location.raw(3).rstrip("^& ") if location is not None else ""
    unit, bed = words_of(location)
    found = places.find(written, f"{unit}/{bed}", *(w for w in (*names, bed) if w))
    if found is not None:
        return found
    name = slug(bed)
    if not name:
        return None
    return f"{places.hospital}/{slug(unit) or places.unit}/{name}"


def unassigned(places: Places, device: str) -> str:
    """Return where a device is shown that says no bed."""
    return f"{places.hospital}/{UNASSIGNED}/{slug(device) or 'unknown'}"
