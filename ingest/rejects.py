"""The count of what was refused, by device and reason: bounded, with the newest example of each.

Past ``MAX_KINDS`` kinds, further ones are counted together under the device ``(others)``.
"""

from msgspec import Struct

from schemas.wire import Rejected

MAX_KINDS = 1_000
SAMPLE_BYTES = 600
OTHERS = "(others)"


class RejectState(Struct):
    """The counts since ``epoch`` began, and the kinds that have changed since the last report."""

    epoch: str
    kinds: dict[tuple[str, str], Rejected] = {}
    changed: set[tuple[str, str]] = set()
    total: int = 0


def reject(
    state: RejectState,
    *,
    device: str,
    reason: str,
    detail: str,
    topic: str,
    payload: bytes,
    now_ns: int,
) -> None:
    """Count one refusal and keep the newest example of its kind."""
    state.total += 1
    key = (device, reason)
    if key not in state.kinds and len(state.kinds) >= MAX_KINDS:
        key = (OTHERS, reason)
    state.changed.add(key)
    kind = state.kinds.get(key)
    if kind is None:
        kind = state.kinds[key] = Rejected(
            state.epoch, key[0], reason, 0, now_ns, now_ns, "", "", ""
        )
    kind.count += 1
    kind.last_ns = now_ns
    kind.detail = printable(detail)
    kind.topic = printable(topic[:300])
    kind.sample = printable(payload[:SAMPLE_BYTES].decode("utf-8", "backslashreplace"))


def printable(text: str) -> str:
    """Return ``text`` with control characters escaped, so it can be stored and shown anywhere."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def drain(state: RejectState) -> list[Rejected]:
    """Return the kinds that changed since the last drain."""
    changed = [state.kinds[key] for key in sorted(state.changed) if key in state.kinds]
    state.changed.clear()
    return changed


def put_back(state: RejectState, kinds: list[Rejected]) -> None:
    """Have what was drained and could not be reported be reported with the next."""
    state.changed.update((kind.device, kind.reason) for kind in kinds)
