"""What a hospital's system says of a patient's stay: admission, transfer, discharge. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Admission:
    """One event of a patient's stay. Times are ns UTC; ``bed`` None: the message names none.

    ``patient`` and ``visit`` are the hospital's identifiers, ``merged_from`` the one that
    ``patient`` replaces (A40).
    """

    event: str
    patient: str
    visit: str
    at_ns: int
    bed: str | None = None
    name: str = ""
    born_ns: int | None = None
    sex: str = ""
    merged_from: str = ""
