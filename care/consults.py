"""Consults: a question, a thread, advice, and what became of it. Pure.

A consult is what its acts fold to; :func:`apply` is the one way it changes.

    (none) ──opened──▶ waiting ──accepted──▶ active ──closed──▶ closed
                          └─────withdrawn──▶ withdrawn

    advice: proposed ──agreed──▶ agreed ──done──▶ done ──measured──▶ done, with the response
               │  └──withdrawn        └──declined, with a reason
               └──declined, with a reason; or done at once

The bedside asks, or the expert offers; the other side accepts. Times are ns.
"""

import itertools
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from schemas.errors import CareError
from schemas.times import S
from schemas.topics import check_bed

TEXT = 2_000
RESPONSE_NS = 3_600 * S
"""How long after advice was done the vitals are its response."""
LONGEST_RANGE_NS = 7 * 86_400 * S
AHEAD_NS = 60 * S
ACTS_MOST = 500
ATTACHED_MOST = 8


class Side(StrEnum):
    """Who speaks: the bedside, or the expert."""

    BEDSIDE = "bedside"
    EXPERT = "expert"


class State(StrEnum):
    """Where a consult stands."""

    WAITING = "waiting"
    ACTIVE = "active"
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"


class Advised(StrEnum):
    """What became of an advice."""

    PROPOSED = "proposed"
    AGREED = "agreed"
    DECLINED = "declined"
    DONE = "done"
    WITHDRAWN = "withdrawn"


STEPS: dict[tuple[State, str], State] = {
    (State.WAITING, "accepted"): State.ACTIVE,
    (State.WAITING, "withdrawn"): State.WITHDRAWN,
    (State.WAITING, "said"): State.WAITING,
    (State.ACTIVE, "said"): State.ACTIVE,
    (State.ACTIVE, "advised"): State.ACTIVE,
    (State.ACTIVE, "answered"): State.ACTIVE,
    (State.ACTIVE, "measured"): State.ACTIVE,
    (State.CLOSED, "measured"): State.CLOSED,
    (State.ACTIVE, "closed"): State.CLOSED,
}
"""What may follow what; anything else is refused."""

ANSWERS: dict[tuple[Advised, Advised], Side] = {
    (Advised.PROPOSED, Advised.AGREED): Side.BEDSIDE,
    (Advised.PROPOSED, Advised.DECLINED): Side.BEDSIDE,
    (Advised.PROPOSED, Advised.DONE): Side.BEDSIDE,
    (Advised.AGREED, Advised.DECLINED): Side.BEDSIDE,
    (Advised.AGREED, Advised.DONE): Side.BEDSIDE,
    (Advised.PROPOSED, Advised.WITHDRAWN): Side.EXPERT,
    (Advised.AGREED, Advised.WITHDRAWN): Side.EXPERT,
}
"""What an advice may become, and by which side."""

Line = Annotated[str, Meta(max_length=TEXT)]


class Range(Struct, frozen=True):
    """A time on a bed that a message points at; ``signal``: a vital or channel, or all."""

    start_ns: int
    end_ns: int
    signal: Annotated[str, Meta(max_length=40)] = ""


class Act(Struct, frozen=True, omit_defaults=True):
    """One thing that somebody did in a consult."""

    kind: str
    by: str
    side: Side
    at_ns: int
    bed: str = ""
    stay: str = ""
    alert: str = ""
    text: Line = ""
    ranges: tuple[Range, ...] = ()
    images: tuple[str, ...] = ()
    advice: str = ""
    what: Line = ""
    why: Line = ""
    due_ns: int = 0
    answer: Advised | None = None
    reason: Line = ""
    response: dict[str, list[float | None]] = {}


class Advice(Struct, frozen=True):
    """What the expert recommends: what, why, by when; and what became of it."""

    id: str
    what: str
    why: str
    by: str
    at_ns: int
    due_ns: int
    state: Advised = Advised.PROPOSED
    reason: str = ""
    answered_by: str = ""
    answered_ns: int = 0
    done_by: str = ""
    done_ns: int = 0
    response: dict[str, list[float | None]] = {}


class Said(Struct, frozen=True):
    """A message of the thread."""

    by: str
    side: Side
    at_ns: int
    text: str
    ranges: tuple[Range, ...] = ()
    images: tuple[str, ...] = ()
    alert: str = ""


class Consult(Struct, frozen=True):
    """A consult as it stands."""

    id: str
    bed: str
    stay: str
    by: str
    side: Side
    opened_ns: int
    state: State
    thread: tuple[Said, ...] = ()
    advice: tuple[Advice, ...] = ()
    accepted_by: str = ""
    accepted_ns: int = 0
    closed_by: str = ""
    closed_ns: int = 0
    acts: int = 1

    def find(self, advice: str) -> Advice:
        """Return an advice by its id; raise CareError when there is none."""
        for one in self.advice:
            if one.id == advice:
                return one
        raise CareError(f"advice {advice[:40]!r}: none of this id in consult {self.id}")


class Loops(Struct, frozen=True):
    """What is still open of a bed's consults.

    ``due_ns``: the earliest that is still to be done. ``consult``: the one to look at first.
    """

    waiting: int = 0
    active: int = 0
    proposed: int = 0
    agreed: int = 0
    due_ns: int = 0
    consult: str = ""


def opened(consult: str, act: Act) -> Consult:
    """Return a consult that somebody has just opened."""
    check_bed(act.bed)
    _check_message(act)
    said = Said(act.by, act.side, act.at_ns, act.text, act.ranges, act.images, act.alert)
    return Consult(consult, act.bed, act.stay, act.by, act.side, act.at_ns, State.WAITING, (said,))


def apply(consult: Consult, act: Act) -> Consult:
    """Return the consult after one act; raise CareError naming why it cannot be."""
    after = STEPS.get((consult.state, act.kind))
    if after is None:
        allowed = sorted(kind for state, kind in STEPS if state is consult.state)
        raise CareError(
            f"consult {consult.id} is {consult.state}: {act.kind!r} cannot be now; "
            f"{', '.join(allowed) or 'nothing more'} can"
        )
    if consult.acts >= ACTS_MOST and act.kind in ("said", "advised"):
        raise CareError(f"consult {consult.id}: has {ACTS_MOST} lines; close it, open another")
    done = _ACTS[act.kind](consult, act)
    return replace(done, state=after, acts=consult.acts + 1)


def _accepted(consult: Consult, act: Act) -> Consult:
    if act.side is consult.side:
        raise CareError(f"consult {consult.id}: the other side accepts it")
    return replace(consult, accepted_by=act.by, accepted_ns=act.at_ns)


def _withdrawn(consult: Consult, act: Act) -> Consult:
    if act.side is not consult.side:
        raise CareError(f"consult {consult.id}: only the side that opened it withdraws it")
    return replace(consult, closed_by=act.by, closed_ns=act.at_ns)


def _said(consult: Consult, act: Act) -> Consult:
    _check_message(act)
    said = Said(act.by, act.side, act.at_ns, act.text, act.ranges, act.images, act.alert)
    return replace(consult, thread=(*consult.thread, said))


def _advised(consult: Consult, act: Act) -> Consult:
    if act.side is not Side.EXPERT:
        raise CareError("advice: comes from the expert's side")
    if not act.what.strip():
        raise CareError("what: say what is to be done")
    if not act.why.strip():
        raise CareError("why: give a reason; the bedside decides by it")
    if act.due_ns <= act.at_ns:
        raise CareError("by when: lies in the past")
    advice = Advice(act.advice, act.what, act.why, act.by, act.at_ns, act.due_ns)
    return replace(consult, advice=(*consult.advice, advice))


def _answered(consult: Consult, act: Act) -> Consult:
    advice, to = consult.find(act.advice), act.answer or Advised.PROPOSED
    side = ANSWERS.get((advice.state, to))
    if side is None:
        raise CareError(f"advice {advice.id} is {advice.state}: it cannot become {to}")
    if side is not act.side:
        raise CareError(f"advice {advice.id}: only the {side} side makes it {to}")
    if to is Advised.DECLINED and not act.reason.strip():
        raise CareError("reason: say why it is declined")
    after = replace(advice, state=to, reason=act.reason or advice.reason)
    if to is not Advised.WITHDRAWN and not advice.answered_ns:  # the bedside's first answer
        after = replace(after, answered_by=act.by, answered_ns=act.at_ns)
    if to is Advised.DONE:
        after = replace(after, done_by=act.by, done_ns=act.at_ns)
    return _with(consult, after)


def _measured(consult: Consult, act: Act) -> Consult:
    advice = consult.find(act.advice)
    if advice.state is not Advised.DONE or advice.response:
        raise CareError(f"advice {advice.id}: has no response to be measured")
    return _with(consult, replace(advice, response=act.response))


def _closed(consult: Consult, act: Act) -> Consult:
    left = [a.what for a in consult.advice if a.state in (Advised.PROPOSED, Advised.AGREED)]
    if left:
        raise CareError(
            f"consult {consult.id}: {len(left)} advice still open ({left[0][:40]}); "
            "do, decline or withdraw it first"
        )
    return replace(consult, closed_by=act.by, closed_ns=act.at_ns)


_ACTS = {
    "accepted": _accepted,
    "withdrawn": _withdrawn,
    "said": _said,
    "advised": _advised,
    "answered": _answered,
    "measured": _measured,
    "closed": _closed,
}


def _with(consult: Consult, advice: Advice) -> Consult:
    return replace(
        consult, advice=tuple(advice if a.id == advice.id else a for a in consult.advice)
    )


def _check_message(act: Act) -> None:
    if not (act.text.strip() or act.ranges or act.images or act.alert):
        raise CareError("text: say something, or attach a time or a picture")
    if len(act.text) > TEXT:
        raise CareError(f"text: {len(act.text)} characters; at most {TEXT}")
    if len(act.ranges) + len(act.images) > ATTACHED_MOST:
        raise CareError(f"attached: at most {ATTACHED_MOST} to one message")
    for one in act.ranges:
        if not 0 <= one.end_ns - one.start_ns <= LONGEST_RANGE_NS:
            raise CareError("range: ends before it begins, or is longer than 7 days")
        if one.end_ns > act.at_ns + AHEAD_NS:
            raise CareError("range: lies in the future")


def loops(consults: list[Consult]) -> Loops:
    """Return what is open of some consults, as a tile says it."""
    advice = [a for c in consults if c.state is State.ACTIVE for a in c.advice]
    todo = [a for a in advice if a.state in (Advised.PROPOSED, Advised.AGREED)]
    still = [c for c in consults if c.state in (State.WAITING, State.ACTIVE)]
    urgent = [c for c in still if any(a.state is Advised.PROPOSED for a in c.advice)]
    return Loops(
        waiting=sum(c.state is State.WAITING for c in consults),
        active=sum(c.state is State.ACTIVE for c in consults),
        proposed=sum(a.state is Advised.PROPOSED for a in todo),
        agreed=sum(a.state is Advised.AGREED for a in todo),
        due_ns=min((a.due_ns for a in todo), default=0),
        consult=next((c.id for c in [*urgent, *still]), ""),
    )


def turnaround(consult: Consult) -> dict[str, float | None]:
    """Return how long each step took, seconds; None: not there yet.

    Opened to accepted, opened to the first advice, the slowest from advice to its answer and from
    advice to done, opened to closed.
    """

    def since(start_ns: int, end_ns: int) -> float | None:
        return round((end_ns - start_ns) / S, 1) if end_ns else None

    answers = [since(a.at_ns, a.answered_ns) for a in consult.advice if a.answered_ns]
    done = [since(a.at_ns, a.done_ns) for a in consult.advice if a.done_ns]
    first = min((a.at_ns for a in consult.advice), default=0)
    return {
        "accepted_s": since(consult.opened_ns, consult.accepted_ns),
        "first_advice_s": since(consult.opened_ns, first),
        "answered_s": max((s for s in answers if s is not None), default=None),
        "done_s": max((s for s in done if s is not None), default=None),
        "closed_s": since(consult.opened_ns, consult.closed_ns),
    }


MEASURED = ("hr", "spo2", "rr", "abp_mean", "nibp_mean", "temp")
"""The vitals of a response,"""
POINTS_S = (-600, 0, 900, 1800, 2700, 3600)
"""and the bounds of its pieces, seconds from when the advice was done."""


def response(
    readings: list[tuple[int, dict[str, float | None]]], done_ns: int
) -> dict[str, list[float | None]]:
    """Return means of each vital: the 10 min before, then each quarter of the hour after.

    ``readings``: measured time (ns) and vitals. A vital of which nothing came is left out.
    """
    found: dict[str, list[float | None]] = {}
    for vital in MEASURED:
        pieces: list[float | None] = []
        for start_s, end_s in itertools.pairwise(POINTS_S):
            values = [
                value
                for at_ns, row in readings
                if start_s * S <= at_ns - done_ns < end_s * S
                and (value := row.get(vital)) is not None
            ]
            pieces.append(round(sum(values) / len(values), 1) if values else None)
        if any(p is not None for p in pieces):
            found[vital] = pieces
    return found
