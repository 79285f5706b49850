"""HL7 messages for tests: written short, read by the whole way that the gateway goes."""

from datetime import timedelta, timezone

from ingest.hl7.places import Places
from ingest.hl7.profiles import load_profiles
from ingest.hl7.reading import Read, frames_in, read_frame
from ingest.hl7.translate import Memory, Site
from schemas.times import parse_time

ZONE = timezone(timedelta(hours=8))
NOW = parse_time("2026-11-28T08:00:00Z")
PROFILES = load_profiles()
HEAD = (
    "MSH|^~\\&|ACME^00A0370000000001^EUI-64|ACME|||20261128160000||ORU^R01^ORU_R01|7|P|2.6|||AL|NE"
)
PV1 = "PV1||I|ICU^^5"
OBR = "OBR|1|||182777000^monitoring^SCT|||20261128160000"


def site(**places: object) -> Site:
    """Return a site of the hospital ``h``."""
    return Site(Places(**{"hospital": "h", **places}), ZONE)  # type: ignore[arg-type]


def read_all(data: bytes, memory: Memory | None = None, where: Site | None = None) -> list[Read]:
    """Return what every message of some bytes is to us, on one connection."""
    memory = memory if memory is not None else Memory()
    return [read_frame(f, PROFILES, where or site(), memory, NOW) for f in frames_in(data)]


def read_one(*segments: str, memory: Memory | None = None, where: Site | None = None) -> Read:
    """Return what one message is to us: its segments, or those after the usual head."""
    lines = list(segments) if segments[0].startswith("MSH") else [HEAD, PV1, OBR, *segments]
    (one,) = read_all("\r".join(lines).encode(), memory, where)
    return one


def values(one: Read) -> dict[str, float | None]:
    """Return the vitals of a message and their values."""
    return {r.vital: r.value for r in one.outcome.readings}


def reasons(one: Read) -> list[str]:
    """Return why things were dropped."""
    return [d.reason for d in one.outcome.dropped]
