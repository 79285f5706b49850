"""WFDB records as recordings: digital samples as they are, never through floats.

The header is read first by us, so that what is wrong is named by file and line; the samples are
read by the ``wfdb`` package. Multi-segment and multi-frequency records are read; a record without
signals, or with more than 16 bits a sample, is refused.
"""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import RecordingError
from schemas.times import from_datetime
from schemas.waves import CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, NO_SAMPLE
from simulators.recordings import Recording, Recordings, WaveSource

INVALID = {
    "8": -128,
    "80": -128,
    "16": -32_768,
    "24": -8_388_608,
    "32": -2_147_483_648,
    "61": -32_768,
    "160": -32_768,
    "212": -2_048,
    "310": -512,
    "311": -512,
    "508": -128,
    "516": -32_768,
    "524": -8_388_608,
}
"""The sample that stands for none, by format (WFDB signal(5))."""

BITS = {"8": 8, "80": 8, "16": 16, "61": 16, "160": 16, "24": 24, "32": 32, "212": 12}
"""Bits a sample takes in its file; packed formats beside 212 are left to the package."""

NUMERICS = {
    "hr": "hr",
    "heart rate": "hr",
    "pulse": "pr",
    "pr": "pr",
    "spo2": "spo2",
    "%spo2": "spo2",
    "resp": "rr",
    "rr": "rr",
    "abp sys": "abp_sys",
    "abp dias": "abp_dia",
    "abp mean": "abp_mean",
    "abpsys": "abp_sys",
    "abpdias": "abp_dia",
    "abpmean": "abp_mean",
    "nbp sys": "nibp_sys",
    "nbp dias": "nibp_dia",
    "nbp mean": "nibp_mean",
    "nbpsys": "nibp_sys",
    "nbpdias": "nibp_dia",
    "nbpmean": "nibp_mean",
    "pap sys": "pap_sys",
    "pap dias": "pap_dia",
    "pap mean": "pap_mean",
    "papsys": "pap_sys",
    "papdias": "pap_dia",
    "papmean": "pap_mean",
    "cvp": "cvp",
    "temp": "temp",
    "tblood": "temp",
}
"""Names of numerics in PhysioNet's records: signals of at most ``NUMERIC_HZ``."""

NUMERIC_HZ = 2.0
UNITS = {"mv": "mV", "mmhg": "mm[Hg]", "nu": "1", "pm": "1", "bpm": "/min", "%": "%", "degc": "Cel"}
_RECORD = re.compile(r"^[-\w]+(?:/(?P<segments>\d+))?\s+(?P<signals>\d+)(?:\s+(?P<rate>\S+))?")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
"""A file beside the header: a header never leads elsewhere."""
_FORMAT = re.compile(r"^(?P<format>\d+)(?:x(?P<frame>\d+))?(?::\d+)?(?:\+\d+)?$")


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a header that says something."""

    number: int
    text: str


def read_wfdb(path: Path) -> Recordings:
    """Return the record of a header file; raise RecordingError naming file, line and fix."""
    path = path.with_suffix("")
    record = Recording(path.name)
    numerics: list[tuple[str, float, float, np.ndarray[Any, Any]]] = []
    segments = _check_header(path)
    header = _wfdb(path)
    if header.base_datetime is not None:
        record.began_ns = from_datetime(header.base_datetime.replace(tzinfo=UTC))
    start_s = 0.0
    for name, samples in segments:
        if name != "~":
            part = _wfdb(path.with_name(name), samples=True)
            _take(record, numerics, part, start_s, path.with_name(name).name)
        start_s += samples / float(header.fs)
    if numerics:
        _add_numerics(record, numerics)
    if not record.waves and not numerics:
        raise RecordingError(f"{path.name}.hea: no signal that can be read")
    return Recordings({record.name: record})


def _check_header(  # noqa: C901 - one header, line by line
    path: Path, *, nested: bool = True
) -> list[tuple[str, int]]:
    """Return the segments of a record with their lengths in frames; its own name when it has none.

    Says what is wrong with a header by line: the package says only that something is. ``nested``:
    it may have segments.
    """
    file = path.with_suffix(".hea")
    try:
        text = file.read_text("utf-8", errors="replace")
    except OSError as error:
        raise RecordingError(f"{file}: {error.strerror or error}") from None
    lines = [
        _Line(number, line.strip())
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise RecordingError(f"{file.name}: empty; the first line names record, signals and rate")
    head = _RECORD.match(lines[0].text)
    if head is None:
        raise RecordingError(
            f"{file.name} line {lines[0].number}: {lines[0].text[:60]!r} is no record line; "
            "expected NAME SIGNALS RATE SAMPLES"
        )
    rate = re.match(r"\d+(\.\d*)?([eE][+-]?\d{1,2})?", head["rate"] or "250")
    if rate is None or not float(rate.group()) > 0:
        raise RecordingError(
            f"{file.name} line {lines[0].number}: rate {head['rate']!r} is not a number above 0"
        )
    wanted = int(head["segments"] or head["signals"])
    what = "segment" if head["segments"] else "signal"
    if not wanted:
        raise RecordingError(f"{file.name} line {lines[0].number}: no {what}s: nothing to read")
    if len(lines) - 1 < wanted:
        raise RecordingError(f"{file.name}: {wanted} {what}s announced, {len(lines) - 1} described")
    if head["segments"]:
        return [_segment(path, line, nested=nested) for line in lines[1 : wanted + 1]]
    count = lines[0].text.split()[3:4]
    frames = int(count[0]) if count and re.fullmatch(r"[0-9]{1,12}", count[0]) else 0
    bits: dict[str, float] = {}
    for line in lines[1 : wanted + 1]:
        name, wide = _check_signal(path, line)
        bits[name] = bits.get(name, 0) + wide
    for name, wide in bits.items():
        needed, found = int(frames * wide / 8), path.with_name(name).stat().st_size
        if found < needed:
            raise RecordingError(
                f"{file.name} line {lines[0].number}: {frames} samples need {needed} bytes, "
                f"{name} has {found}; copy the file again"
            )
    return [(path.name, frames)]


def _segment(path: Path, line: _Line, *, nested: bool) -> tuple[str, int]:
    name, _, length = line.text.partition(" ")
    if not re.fullmatch(r" *[0-9]{1,12} *", length):
        raise RecordingError(
            f"{path.name}.hea line {line.number}: {line.text[:60]!r}: expected SEGMENT SAMPLES"
        )
    where = f"{path.name}.hea line {line.number}"
    if name != "~":
        if not _PLAIN_NAME.fullmatch(name):
            raise RecordingError(f"{where}: segment {name[:60]!r} is no name of a file beside it")
        if not nested:
            raise RecordingError(f"{where}: segment {name[:60]}: a segment has none of its own")
        _check_header(path.with_name(name), nested=False)
    return name, int(length)


def _check_signal(path: Path, line: _Line) -> tuple[str, float]:
    """Check the line of a signal; return its file, and how many bits a frame it takes there."""
    where = f"{path.name}.hea line {line.number}"
    parts = line.text.split()
    if len(parts) < 2 or (found := _FORMAT.match(parts[1])) is None:
        raise RecordingError(f"{where}: {line.text[:60]!r}: expected FILE FORMAT GAIN …")
    if found["format"] not in INVALID:
        raise RecordingError(f"{where} column 2: format {found['format']} is not one that is read")
    if not _PLAIN_NAME.fullmatch(parts[0]) or not path.with_name(parts[0]).is_file():
        raise RecordingError(f"{where} column 1: {parts[0]} is not beside the header")
    if len(parts) > 2 and not re.match(r"^-?[0-9.eE+-]+(\(-?\d+\))?(/\S+)?$", parts[2]):
        raise RecordingError(f"{where} column 3: gain {parts[2][:30]!r} is not a number")
    return parts[0], int(found["frame"] or 1) * BITS.get(found["format"], 0)


def _wfdb(path: Path, *, samples: bool = False) -> Any:
    """Return a header, or a record with its digital samples; RecordingError when it cannot be."""
    import wfdb  # noqa: PLC0415 - seconds to import, and only here

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not samples:
                return wfdb.rdheader(str(path))
            return wfdb.rdrecord(str(path), physical=False, smooth_frames=False)
    except Exception as error:  # noqa: BLE001 - the package raises whatever its parts raise
        raise RecordingError(f"{path.name}.hea: {type(error).__name__}: {error}") from None


def _take(
    record: Recording,
    numerics: list[tuple[str, float, float, np.ndarray[Any, Any]]],
    part: Any,
    start_s: float,
    name: str,
) -> None:
    for i, signal in enumerate(part.sig_name):
        digital = np.asarray(part.e_d_signal[i])
        rate = float(part.fs) * part.samps_per_frame[i]
        gain = float(part.adc_gain[i]) or 200.0
        baseline = float(part.baseline[i])
        missing = digital == INVALID[part.fmt[i]]
        label = str(signal).strip()
        vital = NUMERICS.get(label.lower())
        if rate <= NUMERIC_HZ:
            physical = np.where(missing, np.nan, (digital - baseline) / gain)
            numerics.append((vital or _slug(label, "_"), rate, start_s, physical))
            continue
        if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
            raise RecordingError(
                f"{name}.hea signal {label}: {rate:g} Hz; "
                f"{MIN_RATE_HZ:g} to {MAX_RATE_HZ:g} is read"
            )
        if ((digital < -32_767) | (digital > 32_767))[~missing].any():
            raise RecordingError(f"{name}.hea signal {label}: samples beyond 16 bits are not read")
        samples = np.where(missing, NO_SAMPLE, digital).astype(np.int16)
        unit = str(part.units[i] or "1")
        record.waves.append(
            WaveSource(
                _channel(label, {w.channel for w in record.waves if w.start_s == start_s}),
                UNITS.get(unit.lower(), unit),
                rate,
                1 / gain,
                -baseline / gain,
                start_s,
                samples,
            )
        )


def _add_numerics(
    record: Recording, numerics: list[tuple[str, float, float, np.ndarray[Any, Any]]]
) -> None:
    """Put numerics signals into the rows of the record."""
    names = tuple(dict.fromkeys(name for name, *_ in numerics))
    rows: dict[float, dict[str, float]] = {}
    for name, rate, start_s, values in numerics:
        for i, value in enumerate(values.tolist()):
            rows.setdefault(start_s + i / rate, {})[name] = value
    record.vitals = names
    record.times = np.array(sorted(rows))
    record.values = np.array([[rows[t].get(n, np.nan) for n in names] for t in sorted(rows)])


def _slug(label: str, mark: str) -> str:
    return re.sub(r"[^a-z0-9]+", mark, label.lower()).strip(mark) or "unnamed"


def _channel(label: str, taken: set[str]) -> str:
    """Return the channel's name for a signal's; a number behind it when it is taken.

    >>> _channel("II", set()), _channel("MCL1", set()), _channel("ABP", {"abp"})
    ('ecg-ii', 'mcl1', 'abp-2')
    """
    slug = _slug(label, "-")[:20]
    name = f"ecg-{slug}" if f"ecg-{slug}" in CHANNELS else slug
    return next(n for n in _numbered(name) if n not in taken)


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1
