r"""Profiles: what a vendor's dialect means, as data. A new monitor is a file, not a release. Pure.

    name = "acme"
    title = "Acme monitors, firmware 3"
    recognise = { sender = "(?i)acme", version = "2\\.4" }     # regular expressions; all must match
    sender = "monitor"                                           # or "gateway": of many monitors
    interval_s = 10
    sentinels = [-999]                                           # beside the ones that all have

    [codes]                        # OBX-3.1, or CODE^SYSTEM where two systems share a number
    "101" = "hr"                   # a vital of `vigil vitals`, in its own unit, or
    "240" = { vital = "etco2", unit = "kPa" }
    "52" = { ignore = "height, charted elsewhere" }
    [text]                         # the name, for those that send no number
    "SPHB" = "sphb"
    [units]                        # OBX-6.1 to UCUM
    "X12" = "mm[Hg]"

What a profile does not know is dropped with its reason, counted and kept.
"""

import re
import tomllib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Literal

from msgspec import Struct, ValidationError, convert, field

from ingest.hl7.message import Message
from schemas.errors import SettingsError
from schemas.vitals import KNOWN, SENTINELS
from schemas.waves import CHANNELS

_UNREADABLE = (
    UnicodeDecodeError,
    tomllib.TOMLDecodeError,
    ValidationError,
    re.error,
    FutureWarning,
)


class _CodeToml(Struct, forbid_unknown_fields=True):
    vital: str = ""
    wave: str = ""
    unit: str = ""
    ignore: str = ""


class _RecogniseToml(Struct, forbid_unknown_fields=True):
    sender: str = ""
    version: str = ""
    control_id: str = ""
    system: str = ""


class _ProfileToml(Struct, forbid_unknown_fields=True):
    name: str
    title: str
    recognise: _RecogniseToml = field(default_factory=_RecogniseToml)
    sender: Literal["monitor", "gateway"] = "monitor"
    interval_s: float = 10.0
    sentinels: list[float] = []
    order: int = 100
    alarm_ends_after_s: float = 0.0
    alarm_kinds: dict[str, str] = {}
    codes: dict[str, str | _CodeToml] = {}
    text: dict[str, str | _CodeToml] = {}
    units: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Own:
    """A code of a profile: kind (metric, wave, ignored), its name or the reason, its unit."""

    kind: str
    name: str
    unit: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A dialect.

    ``alarm_kinds``: the OBX-3 codes under which a message lists every alarm of a kind that is on.
    ``alarm_ends_after_s``: an alarm that is not said again for so long is over; 0: it says so.
    """

    name: str
    title: str
    recognise: dict[str, re.Pattern[str]]
    sender: str
    interval_s: float
    sentinels: frozenset[float]
    alarm_kinds: dict[str, str]
    alarm_ends_after_s: float
    codes: dict[str, Own]
    text: dict[str, Own]
    units: dict[str, str]

    def own(self, code: str, name: str, system: str) -> Own | None:
        """Return what this dialect's own code means; None when it is not one of its."""
        if not code:
            return self.text.get(name.upper())
        return self.codes.get(f"{code}^{system}") or (
            None if system.upper() == "MDC" else self.codes.get(code)
        )

    def speaks(self, facts: dict[str, str]) -> bool:
        """Return whether a message with these facts is in this dialect."""
        return all(pattern.search(facts[key]) for key, pattern in self.recognise.items())


def parse_profile(text: bytes, path: PurePath) -> tuple[int, Profile]:
    """Return a profile and its order among others; raise SettingsError naming file and fix."""
    try:
        given = convert(tomllib.loads(text.decode()), _ProfileToml)
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # what will mean something else
            recognise = {
                key: re.compile(value)
                for key in ("sender", "version", "control_id", "system")
                if (value := getattr(given.recognise, key))
            }
    except _UNREADABLE as error:
        raise SettingsError(f"{path}: {error}") from None
    codes = {code: _own(path, code, body) for code, body in given.codes.items()}
    names = {name.upper(): _own(path, name, body) for name, body in given.text.items()}
    return given.order, Profile(
        given.name,
        given.title,
        recognise,
        given.sender,
        given.interval_s,
        SENTINELS | frozenset(given.sentinels),
        given.alarm_kinds,
        given.alarm_ends_after_s,
        codes,
        names,
        given.units,
    )


def _own(path: PurePath, code: str, body: str | _CodeToml) -> Own:
    if isinstance(body, str):
        body = _CodeToml(wave=body) if body in CHANNELS else _CodeToml(vital=body)
    if body.ignore:
        return Own("ignored", body.ignore)
    if body.wave:
        return Own("wave", body.wave, body.unit)
    if body.vital not in KNOWN:
        raise SettingsError(
            f"{path}: {code!r} = {body.vital!r}: no vital of this name; `vigil vitals` lists them"
        )
    return Own("metric", body.vital, body.unit)


def load_profiles(folder: Path | None = None) -> list[Profile]:
    """Return the profiles that come with Vigil and a site's own, in the order they are asked.

    A site's profile is asked first, and stands for one of ours with the same name.
    """
    ours = [e for e in files("ingest").joinpath("hl7", "profiles").iterdir() if _is_profile(e.name)]
    found: dict[str, tuple[int, Profile]] = {}
    sources: list[tuple[str, bytes, int]] = [(e.name, e.read_bytes(), 0) for e in ours]
    if folder is not None:
        if not folder.is_dir():
            raise SettingsError(f"profiles: {folder} is no folder")
        sources += [(str(p), p.read_bytes(), -1000) for p in sorted(folder.glob("*.toml"))]
    for name, text, sooner in sources:
        order, profile = parse_profile(text, PurePath(name))
        found[profile.name] = (order + sooner, profile)
    return [p for _, p in sorted(found.values(), key=lambda pair: (pair[0], pair[1].name))]


def _is_profile(name: str) -> bool:
    return name.endswith(".toml")


def recognise(profiles: Iterable[Profile], message: Message) -> Profile:
    """Return the dialect that a message is in: the first that recognises it."""
    header = message.header
    systems = {
        part.rsplit(message.marks.component, 1)[-1]
        for segment in message.segments
        if segment.name == "OBX"
        for part in (segment.raw(3),)
        if part.count(message.marks.component) >= 2
    }
    facts = {
        "sender": f"{header.raw(3)} {header.raw(4)}",
        "version": header.component(12),
        "control_id": message.control_id,
        "system": " ".join(sorted(systems)),
    }
    for profile in profiles:
        if profile.speaks(facts):
            return profile
    raise SettingsError("profiles: none is for everything; keep one without `recognise`")
