"""What an admission, transfer or discharge of the hospital's system means here. Pure.

Messages come twice, late and out of order, so nothing is done by an event's name alone: it is
compared with where the patient lies. What is older than what is known changes nothing. A discharge
that comes before its admission is kept until that comes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from care.stays import Place
from schemas.errors import CareError


class Step(StrEnum):
    """What is to be done."""

    ADMIT = "admit"
    MOVE = "move"
    DISCHARGE = "discharge"
    CHANGE = "change"
    CANCEL_ADMIT = "cancel_admit"
    CANCEL_MOVE = "cancel_move"
    CANCEL_DISCHARGE = "cancel_discharge"
    KEEP_DISCHARGE = "keep_discharge"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Decision:
    """A step, for which stay (empty: a new one), and why, in words for a log."""

    step: Step
    why: str
    stay: str = ""


def decide(event: str, at_ns: int, bed: str | None, mine: Sequence[Place]) -> Decision:
    """Return what an event means for a patient whose intervals are ``mine``, in order of time.

    Raises CareError when it cannot be done.
    """
    here = next((p for p in reversed(mine) if p.end_ns is None), None)
    last = mine[-1] if mine else None
    if event in ("A01", "A04", "A02"):
        return _arrive(event, at_ns, bed, here, last)
    if event == "A03":
        if here is not None:
            return Decision(Step.DISCHARGE, "discharged", here.stay)
        if last is not None:
            return Decision(Step.NOTHING, "has left already")
        return Decision(Step.KEEP_DISCHARGE, "nobody of this number was admitted yet: kept")
    if event == "A08":
        if here is None:
            return Decision(Step.NOTHING, "nobody of this number lies here")
        return Decision(Step.CHANGE, "changed", here.stay)
    return _cancel(event, here, last)


def _arrive(
    event: str, at_ns: int, bed: str | None, here: Place | None, last: Place | None
) -> Decision:
    if bed is None:
        if event == "A04":
            return Decision(Step.NOTHING, "registered without a bed")
        raise CareError("PV1-3 names no bed; send point of care and bed")
    if here is not None:
        if here.bed == bed:
            return Decision(Step.CHANGE, "lies there already", here.stay)
        if at_ns <= here.start_ns:
            return Decision(Step.NOTHING, "older than what is known of this patient")
        return Decision(Step.MOVE, "moved", here.stay)
    if last is not None and last.end_ns is not None and at_ns < last.end_ns:
        return Decision(Step.NOTHING, "older than what is known of this patient")
    return Decision(Step.ADMIT, "admitted" if event != "A02" else "transferred in, not seen before")


def _cancel(event: str, here: Place | None, last: Place | None) -> Decision:
    if event == "A11" and here is not None:
        return Decision(Step.CANCEL_ADMIT, "the admission was cancelled", here.stay)
    if event == "A12" and here is not None:
        return Decision(Step.CANCEL_MOVE, "the transfer was cancelled", here.stay)
    if event == "A13" and here is None and last is not None:
        return Decision(Step.CANCEL_DISCHARGE, "the discharge was cancelled", last.stay)
    return Decision(Step.NOTHING, "nothing to cancel")


def without_last(mine: Sequence[Place]) -> list[Place]:
    """Return a stay's intervals with its last transfer undone."""
    if len(mine) < 2:
        raise CareError("there is no transfer to cancel")
    *earlier, before, _ = mine
    return [*earlier, Place(before.stay, before.bed, before.start_ns)]


def reopened(mine: Sequence[Place]) -> list[Place]:
    """Return a stay's intervals with its discharge undone."""
    *earlier, last = mine
    return [*earlier, Place(last.stay, last.bed, last.start_ns)]
