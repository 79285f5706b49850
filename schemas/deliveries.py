"""What became of a notification to a person: secondary, and never in the alert path."""

from typing import Literal

from msgspec import Struct


class Delivery(Struct, frozen=True):
    """One attempt to tell one person of one event. ``target``: the service, never its address.

    ``unknown``: the notifier died between sending and hearing; it is not sent twice.
    """

    v: int
    id: str
    event: str
    alert: str
    bed: str
    person: str
    role: str
    target: str
    state: Literal["sent", "failed", "unknown"]
    attempts: int
    at_ns: int
    detail: str = ""
