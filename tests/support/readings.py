"""Readings for tests, one line each."""

from pathlib import Path
from typing import Any

from alerts.rulesets import RuleSet, make_rule_set
from ingest.pipeline import Limits, Outcome, Pipeline, new_state
from schemas.times import S
from schemas.wire import Reading

T0 = 1_795_000_000 * S
PACK_FILE = Path(__file__).parents[2] / "alerts" / "packs" / "adult.toml"


def rules() -> RuleSet:
    """The adult baseline, nothing above it."""
    return make_rule_set((PACK_FILE.read_bytes(), PACK_FILE))


def reading(
    t_s: float = 0,
    *,
    bed: str = "h/icu/b1",
    device: str = "m1",
    seq: int | None = None,
    boot: str = "b1",
    delay_s: float = 0.0,
    late: bool = False,
    behind: bool = False,
    flags: dict[str, Any] | None = None,
    interval_s: float = 1.0,
    numbered: bool = True,
    **values: float,
) -> Reading:
    """A reading measured ``t_s`` seconds after T0 and received ``delay_s`` later."""
    measured = T0 + int(t_s * S)
    return Reading(
        bed=bed,
        device=device,
        boot=boot,
        seq=int(t_s) if seq is None else seq,
        measured_ns=measured,
        sent_ns=measured,
        received_ns=measured + int(delay_s * S),
        values=values,
        flags=flags or {},
        interval_s=interval_s,
        numbered=numbered,
        late=late,
        behind=behind,
    )


def pipeline(**limits: Any) -> Pipeline:
    """A pipeline that has seen nothing."""
    return Pipeline(new_state("test"), rules(), {}, Limits(**limits))


def feed(line: Pipeline, item: Reading) -> Outcome:
    """Send a reading through the whole pipeline as the device would, at its receive time."""
    from schemas.codec import encode_numerics
    from schemas.topics import Kind, format_topic

    return line.message(
        format_topic(item.bed, Kind.NUMERICS), encode_numerics(item), item.received_ns
    )
