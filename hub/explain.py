"""``vigil why``: a bed's stored inputs replayed up to a moment, and the engine asked."""

import asyncio
from datetime import timedelta
from typing import Any

from msgspec import convert
from psycopg import AsyncConnection

from alerts.rulesets import RuleSet, from_config
from alerts.sentences import Label
from alerts.why import explain
from hub.reads import fetch
from hub.replay import read_inputs
from hub.runs import limits_of
from hub.settings import Settings
from ingest.pipeline import Pipeline, new_state
from ingest.rerun import in_order, rerun
from schemas.errors import StoreError
from schemas.times import to_datetime
from schemas.wire import RulesConfig

LOOKBACK = timedelta(hours=6)
"""How far back a bed's inputs are replayed: longer than any hold, and a baseline of hours."""


async def rules_at(connection: AsyncConnection, at_ns: int, otherwise: RuleSet) -> RuleSet:
    """Return the rule set that was published last before a time; else the one from files."""
    rows = await fetch(connection, "select_rule_set", at=to_datetime(at_ns))
    return from_config(convert(rows[0]["body"], RulesConfig)) if rows else otherwise


async def why(
    connection: AsyncConnection,
    settings: Settings,
    rules: RuleSet,
    labels: dict[str, Label],
    bed: str,
    at_ns: int,
    rule: str | None = None,
) -> dict[str, Any]:
    """Return every rule of a bed at a moment, with its inputs and why it did or did not fire.

    Raises StoreError when nothing of the bed is stored in the six hours before.
    """
    at = to_datetime(at_ns)
    arrivals = await read_inputs(connection, bed, at - LOOKBACK, at)
    if not arrivals:
        raise StoreError(f"bed {bed}: nothing is stored in the 6 h before {at:%Y-%m-%d %H:%M:%SZ}")
    line = Pipeline(
        new_state("why"), await rules_at(connection, at_ns, rules), labels, limits_of(settings)
    )

    def work() -> dict[str, Any]:
        for _ in rerun(line, [a for a in in_order(arrivals) if a.received_ns <= at_ns]):
            pass
        line.tick(at_ns)
        return explain(line.engine, bed, line.state.vitals.get(bed, {}), at_ns, rule)

    return await asyncio.to_thread(work)
