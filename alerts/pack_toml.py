"""The TOML of packs and overlays as typed structures, and errors that name file, line, key, fix.

What needs no more than its type checked is the rule's own structure: ``alerts.rules``.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import PurePath
from typing import TypeVar

from msgspec import Struct, ValidationError, convert

from alerts.rules import Annunciation, Perfusion, Pulse
from schemas.alerts import Priority
from schemas.errors import SettingsError
from schemas.vitals import Quality

Table = TypeVar("Table", bound=Struct)
MAX_SECONDS, MAX_NUMBER = 86_400.0, 100_000.0
_PATH = re.compile(r" - at `\$\.?([^`]*)`")


class LimitToml(Struct, forbid_unknown_fields=True):
    """``[[limit]]``: a limit on each of ``vitals``."""

    id: str
    vitals: list[str]
    priority: Priority
    zh: str
    en: str
    above: float | None = None
    below: float | None = None
    recovery: float | None = None
    hold_s: float = 0.0
    recovery_hold_s: float = 0.0
    samples: int = 1
    within_s: float = 0.0
    extreme: bool = False
    latching: bool = False
    floor: float | None = None


class ScoreToml(Struct, forbid_unknown_fields=True):
    """``[[score]]``: a score of ``at_least``, normal again at ``recovery`` or less."""

    id: str
    score: str
    at_least: float
    priority: Priority
    zh: str
    en: str
    recovery: float | None = None
    hold_s: float = 0.0
    recovery_hold_s: float = 0.0
    floor: float | None = None


class TrendToml(Struct, forbid_unknown_fields=True):
    """``[[trend]]``: ``rises`` or ``falls`` by so much against the patient's own baseline."""

    id: str
    of: str
    priority: Priority
    zh: str
    en: str
    rises: float | None = None
    falls: float | None = None
    recovery: float | None = None
    hold_s: float = 0.0
    recovery_hold_s: float = 0.0


class TermToml(Struct, forbid_unknown_fields=True):
    """One of a combination's terms."""

    of: str
    above: float | None = None
    below: float | None = None
    recovery: float | None = None


class CombinationToml(Struct, forbid_unknown_fields=True):
    """``[[combination]]``: all terms broken together."""

    id: str
    all: list[TermToml]
    priority: Priority
    zh: str
    en: str
    hold_s: float = 0.0
    recovery_hold_s: float = 0.0


class TechnicalToml(Struct, forbid_unknown_fields=True):
    """``[[technical]]``: a signal that cannot be trusted."""

    id: str
    vitals: list[str]
    priority: Priority
    zh: str
    en: str
    qualities: list[Quality] = []
    after_s: float = 0.0
    doubt_s: float = 15.0
    doubt_other_s: float = 60.0
    pi_below: float | None = None
    pr_differs: float | None = None
    pulse: Pulse | None = None
    perfusion: Perfusion | None = None


class SilenceToml(Struct, forbid_unknown_fields=True):
    """``[silence]``, ``[silence.device]``."""

    priority: Priority
    zh: str
    en: str
    after_s: float = 30.0


class SilencesToml(Struct, forbid_unknown_fields=True):
    """``[silence]`` of a bed, with those of a device and a whole hospital."""

    after_s: float
    priority: Priority
    zh: str
    en: str
    device: SilenceToml | None = None
    hospital: SilenceToml | None = None


class MonitorToml(Struct, forbid_unknown_fields=True):
    """``[[monitor]]``: the monitor's own alarms by name."""

    alarms: list[str]
    extreme: bool = False
    same_as: list[str] = []


class InhibitionToml(Struct, forbid_unknown_fields=True):
    """``[[inhibition]]``: what mutes what on the same bed."""

    source: list[str]
    target: list[str]


class PackToml(Struct, forbid_unknown_fields=True):
    """A baseline."""

    name: str
    silence: SilencesToml
    limit: list[LimitToml]
    score: list[ScoreToml] = []
    trend: list[TrendToml] = []
    combination: list[CombinationToml] = []
    technical: list[TechnicalToml] = []
    monitor: list[MonitorToml] = []
    inhibition: list[InhibitionToml] = []
    annunciation: Annunciation = Annunciation()


class SetToml(Struct, forbid_unknown_fields=True, frozen=True):
    """``[[set]]`` in an overlay: what it changes of a rule of the baseline."""

    rule: str
    above: float | None = None
    below: float | None = None
    at_least: float | None = None
    recovery: float | None = None
    hold_s: float | None = None
    recovery_hold_s: float | None = None
    priority: Priority | None = None
    off: bool = False


class OverlayToml(Struct, forbid_unknown_fields=True, rename={"scope": "for"}):
    """An overlay: for ``region:NAME``, a hospital, ``hospital/unit`` or ``hospital/unit/bed``."""

    name: str
    scope: str
    set: list[SetToml] = []
    limit: list[LimitToml] = []


def read(text: bytes, path: PurePath, kind: type[Table]) -> Table:
    """Return the typed content of a TOML file; raise SettingsError naming file, line, key, fix."""
    try:
        document = tomllib.loads(text.decode())
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: not UTF-8 text; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    except RecursionError:
        raise SettingsError(f"{path}: not TOML: nested too deeply") from None
    _check_numbers(document, text.decode(), path)
    try:
        return convert(document, kind)
    except ValidationError as error:
        found = _PATH.search(str(error))
        table, _, key = (found.group(1) if found else "").rpartition(".")
        name, _, index = table.partition("[")
        number = int(re.sub(r"\D.*", "", index) or 0)
        what = _PATH.sub("", str(error))
        if unknown := re.search(r"unknown field `([^`]+)`", what):
            table, key = found.group(1) if found else "", unknown.group(1)
            name, _, index = table.partition("[")
            number = int(re.sub(r"\D.*", "", index) or 0)
        line = locate(text.decode(), name, number, key)
        raise SettingsError(f"{path}:{line}: {table or 'top level'}: {key}: {what}") from None


def _check_numbers(document: dict[str, object], text: str, path: PurePath) -> None:
    """Raise SettingsError for a number that no limit or time can be: NaN, infinite, enormous."""
    for table, content in document.items():
        rows = content if isinstance(content, list) else [content]
        for index, row in enumerate(rows):
            found = {table: row} if not isinstance(row, dict) else row
            for key, value in _numbers(found):
                seconds = key.endswith("_s")
                low, high = (0, MAX_SECONDS) if seconds else (-MAX_NUMBER, MAX_NUMBER)
                if not low <= value <= high:  # NaN is not
                    line = locate(text, table if isinstance(row, dict) else "", index, key)
                    raise SettingsError(
                        f"{path}:{line}: {table}: {key}: {value:g} is not within {low:g}-{high:g}"
                    )


def _numbers(row: dict[str, object]) -> Iterator[tuple[str, float]]:
    """Yield every number of a table with its key, those of its inner tables too."""
    for key, value in row.items():
        if isinstance(value, dict):
            yield from _numbers(value)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    yield from _numbers(item)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield key, value


def locate(text: str, table: str, index: int = 0, key: str = "") -> int:
    r"""Return the line of the ``index``-th ``table`` or of its ``key``; the file's first without.

    >>> locate('name = "x"\n[[limit]]\nid = 1\n[[limit]]\nid = 2', "limit", 1, "id")
    5
    """
    lines = text.splitlines()
    headers = (f"[[{table}]]", f"[{table}]")
    starts = [i for i, line in enumerate(lines) if line.split("#")[0].strip() in headers]
    start = starts[index] if index < len(starts) else -1
    if table and start < 0:
        return 1
    for i in range(start + 1, len(lines)):
        stripped = lines[i].strip()
        if stripped.startswith("["):
            break
        if key and re.match(rf"{re.escape(key)}\s*=", stripped):
            return i + 1
    return max(1, start + 1)
