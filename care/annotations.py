"""Annotations: what a person says of a time on a bed. Versions, none of which is lost. Pure.

    (none) ──written──▶ v1 ──edited──▶ v2 … ──withdrawn──▶ the end

Only who wrote one may edit or withdraw it. Times are ns.
"""

from dataclasses import dataclass, replace

from schemas.errors import CareError
from schemas.times import S
from schemas.topics import check_bed

LABELS: dict[str, tuple[str, str]] = {
    "event": ("病情变化", "Change of condition"),
    "artefact": ("伪差", "Artefact"),
    "rhythm": ("心律", "Rhythm"),
    "drug": ("用药", "Drug"),
    "fluid": ("补液", "Fluid"),
    "airway": ("气道/吸痰", "Airway, suction"),
    "ventilation": ("呼吸支持", "Ventilation"),
    "procedure": ("操作", "Procedure"),
    "turn": ("翻身", "Turned"),
    "note": ("备注", "Note"),
}
"""The short list, with what people call it; free text goes beside any of them."""

LONGEST_NS = 7 * 86_400 * S
AHEAD_NS = 60 * S
TEXT = 500


@dataclass(frozen=True, slots=True)
class Annotation:
    """One version. A point in time has ``start_ns == end_ns``. ``signal``: vital or channel."""

    id: str
    bed: str
    start_ns: int
    end_ns: int
    label: str
    by: str
    at_ns: int
    signal: str = ""
    note: str = ""
    stay: str = ""
    version: int = 1
    withdrawn: bool = False


def write(new: Annotation) -> Annotation:
    """Return a first version; raise CareError naming the field that cannot be so."""
    check_bed(new.bed)
    _check(new)
    return new


def edit(old: Annotation, new: Annotation) -> Annotation:
    """Return the next version; bed and signal stay as they were, the stay is of its time."""
    _check_author(old, new.by)
    after = replace(
        new,
        id=old.id,
        bed=old.bed,
        signal=old.signal,
        version=old.version + 1,
        withdrawn=False,
    )
    _check(after)
    return after


def withdraw(old: Annotation, by: str, at_ns: int) -> Annotation:
    """Return the last version: it is shown no longer, and stays in the history."""
    _check_author(old, by)
    return replace(old, version=old.version + 1, withdrawn=True, by=by, at_ns=at_ns)


def _check_author(old: Annotation, by: str) -> None:
    if old.withdrawn:
        raise CareError(f"annotation {old.id}: was withdrawn; write a new one")
    if by != old.by:
        raise CareError(f"annotation {old.id}: is {old.by}'s; write one of your own beside it")


def _check(one: Annotation) -> None:
    if one.label not in LABELS:
        raise CareError(f"label {one.label[:40]!r}: one of {', '.join(LABELS)}")
    if one.label == "note" and not one.note.strip():
        raise CareError("note: write what there is to say, or choose another label")
    if len(one.note) > TEXT:
        raise CareError(f"note: {len(one.note)} characters; at most {TEXT}")
    if one.end_ns < one.start_ns:
        raise CareError("end: lies before start")
    if one.end_ns - one.start_ns > LONGEST_NS:
        raise CareError("end: more than 7 days after start")
    if one.end_ns > one.at_ns + AHEAD_NS:
        raise CareError("end: lies in the future")
