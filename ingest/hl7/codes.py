"""What a code in OBX-3 means: ISO/IEEE 11073-10101 (MDC), MDIL, and vendors' own from profiles.

MDC numbers and reference identifiers stand in ``nomenclature.csv``. Both are compared: when a
sender's number and name are of different terms, neither is believed. Philips' MDIL codes are MDC's
own in hexadecimal, ``0002-4bb8`` for partition 2, term 0x4bb8, save for private terms (0xf000 up).
"""

import csv
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

from ingest.hl7.profiles import Profile
from schemas.errors import DecodeError
from schemas.vitals import KNOWN

_MDIL = re.compile(r"([0-9A-Fa-f]{4})[-*]([0-9A-Fa-f]{4})")
PRIVATE_TERMS = 0xF000
CONFLICT, UNKNOWN = "code_conflict", "unknown_code"


@dataclass(frozen=True, slots=True)
class Term:
    """One term: its kind (metric, wave, unit, event, attribute, device) and what we call it."""

    kind: str
    means: str
    refid: str
    number: int


class Nomenclature:
    """MDC numbers and names, both ways."""

    def __init__(self, lines: list[str]) -> None:
        self.by_number: dict[int, Term] = {}
        self.by_refid: dict[str, Term] = {}
        self._names: dict[int, set[str]] = {}
        for row in csv.DictReader(lines):
            term = Term(row["kind"], row["means"], row["refid"], int(row["number"]))
            self.by_number.setdefault(term.number, term)
            self.by_refid.setdefault(term.refid, term)
            self._names.setdefault(term.number, set()).add(term.refid)

    def find(self, number: int, name: str) -> Term | None:
        """Return the term of a number and a name; None when neither is known.

        Raises DecodeError when they are of different terms. Names that are no reference
        identifiers ("HR") are labels, and say nothing.
        """
        here = self.by_number.get(number)
        named = self.by_refid.get(name)
        if not name.startswith("MDC") or (here is not None and name in self._names[number]):
            return here
        if here is not None or (named is not None and number):
            right = f"{number} is {here.refid}" if here is not None else f"{name} is not {number}"
            if here is not None and named is not None:
                right += f", {name} is {named.number}"
            raise DecodeError(CONFLICT, f"{number}^{name}: {right}; neither is believed")
        return named


@cache
def nomenclature() -> Nomenclature:
    """Return the table that comes with Vigil."""
    text = files("ingest").joinpath("hl7", "nomenclature.csv").read_text("utf-8")
    return Nomenclature(text.splitlines())


def mdil_number(code: str) -> int | None:
    """Return the MDC number of an MDIL code; None when it is none, or private.

    >>> mdil_number("0002-4bb8"), mdil_number("0002-f0c7")
    (150456, None)
    """
    found = _MDIL.fullmatch(code)
    if found is None:
        return None
    partition, term = int(found[1], 16), int(found[2], 16)
    if term >= PRIVATE_TERMS or partition >= 0x400:
        return None
    return partition * 65_536 + term


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a code is to Vigil. ``unit``: what a value without a unit is in."""

    kind: str
    name: str
    unit: str
    code: str


@lru_cache(maxsize=20_000)
def meaning(profile: Profile, code: str, name: str, system: str) -> Meaning:
    """Return what OBX-3 means; raise DecodeError (``unknown_code``, ``code_conflict``).

    A profile's own codes come first, but never against an MDC number.
    """
    shown = code or name
    own = profile.own(code, name, system)
    if own is not None:
        return Meaning(own.kind, own.name, own.unit or _canonical(own.name), shown)
    if system.upper() in LOINC_SYSTEMS and code in LOINC:
        return Meaning("metric", LOINC[code], _canonical(LOINC[code]), code)
    number = _number(code, system)
    if number is None and not name.startswith("MDC"):
        text = profile.text.get((name or code).upper()) or profile.text.get(code.upper())
        if text is not None:
            return Meaning(text.kind, text.name, text.unit or _canonical(text.name), shown)
        raise DecodeError(UNKNOWN, f"{code}^{name}^{system}: in no profile; name it in one")
    term = nomenclature().find(number or 0, name)
    if term is None:
        raise DecodeError(UNKNOWN, f"{code}^{name}^{system}: not in the nomenclature")
    return Meaning(term.kind, term.means, _canonical(term.means), str(term.number))


LOINC_SYSTEMS = frozenset({"LN", "LOINC"})
LOINC = {
    "8867-4": "hr",
    "76282-3": "hr",
    "8889-8": "pr",
    "2708-6": "spo2",
    "59408-5": "spo2",
    "61006-3": "pi",
    "9279-1": "rr",
    "76215-3": "abp_sys",
    "76213-8": "abp_dia",
    "76214-6": "abp_mean",
    "8480-6": "bp_sys",
    "8462-4": "bp_dia",
    "8478-0": "bp_mean",
    "60985-9": "cvp",
    "8310-5": "temp",
    "8329-5": "temp_core",
    "39106-0": "temp_skin",
    "19891-1": "etco2",
    "3150-6": "fio2",
    "76248-4": "peep",
    "76222-9": "vt",
    "9269-2": "gcs",
}
"""LOINC codes that senders without MDC use. Of a pressure, 8480-6 says not where it was taken."""


def _number(code: str, system: str) -> int | None:
    if system.upper().startswith("MDIL"):
        return mdil_number(code)
    if code.isdecimal() and len(code) < 10 and (system.upper() in MDC_SYSTEMS or len(code) == 6):
        return int(code)
    return None


MDC_SYSTEMS = frozenset({"MDC", "MDCX", "ISO11073", "11073"})


def _canonical(name: str) -> str:
    vital = KNOWN.get(name)
    return vital.unit if vital is not None else ""


@lru_cache(maxsize=5_000)
def unit_of(profile: Profile, code: str, name: str, system: str) -> str | None:
    """Return a unit (OBX-6) in UCUM; None when it is not said.

    Raises DecodeError when it is not known, or its number and name are of different units.
    """
    if not code and not name:
        return None
    own = profile.units.get(code) or profile.units.get(name)
    if own is not None:
        return own
    number = _number(code, system)
    if number is not None:
        try:
            term = nomenclature().find(number, name)
        except DecodeError as error:
            raise DecodeError("unit_conflict", str(error)) from None
        if term is not None and term.kind == "unit":
            return term.means
    term = nomenclature().by_refid.get(name)
    if term is not None and term.kind == "unit":
        return term.means
    for word in (code, name):
        found = WORDS.get(word.replace(" ", "").lower())
        if found is not None:
            return found
    raise DecodeError("unit", f"{code}^{name}: no unit that is known")


WORDS: dict[str, str] = {
    "bpm": "/min",
    "rpm": "/min",
    "/min": "/min",
    "1/min": "/min",
    "次/分": "/min",
    "beats/min": "/min",
    "breaths/min": "/min",
    "{beats}/min": "/min",
    "{breaths}/min": "/min",
    "brpm": "/min",
    "br/min": "/min",
    "resp/min": "/min",
    "b/min": "/min",
    "min-1": "/min",
    "次/min": "/min",
    "%": "%",
    "percent": "%",
    "mmhg": "mm[Hg]",
    "mm[hg]": "mm[Hg]",
    "mm(hg)": "mm[Hg]",
    "torr": "mm[Hg]",
    "kpa": "kPa",
    "hpa": "hPa",
    "mbar": "mbar",
    "cmh2o": "cm[H2O]",
    "cm[h2o]": "cm[H2O]",
    "c": "Cel",
    "cel": "Cel",
    "degc": "Cel",
    "deg.c": "Cel",
    "celsius": "Cel",
    "°c": "Cel",
    "℃": "Cel",
    "f": "[degF]",
    "degf": "[degF]",
    "fahrenheit": "[degF]",
    "[degf]": "[degF]",
    "°f": "[degF]",
    "℉": "[degF]",
    "ml": "mL",
    "l": "L",
    "l/min": "L/min",
    "l/min/m2": "L/min/m2",
    "mv": "mV",
    "uv": "uV",
    "mm": "mm",
    "ms": "ms",
    "s": "s",
    "sec": "s",
    "hz": "Hz",
    "g/dl": "g/dL",
    "kg": "kg",
    "g": "g",
    "cm": "cm",
    "m": "m",
    "lb": "[lb_av]",
    "in": "[in_i]",
}
"""Units as people write them."""
