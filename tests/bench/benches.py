"""``vigil bench``: the product measured on this machine, everything embedded running beside it.

Each benchmark runs a hub of its own in a temporary folder on free ports and returns figures as
JSON. docs/performance.md holds the figures with their commands, machine and date.
"""

import asyncio
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from schemas.errors import HubError
from tests.bench import browser, compare, edge, hl7, ingest, out, rules, store
from tests.bench.stack import Stack, hub, machine


@dataclass(frozen=True, slots=True)
class Options:
    """What a benchmark is asked for; each uses what it knows."""

    beds: int = 1000
    seconds: float = 30
    rate: float | None = None
    waves: int = 0
    clients: int = 50
    days: int = 30
    rounds: int = 3


def _rate(options: Options) -> float:
    return options.beds if options.rate is None else options.rate


async def _measure(stack: Stack, what: str, o: Options) -> Any:
    rate = _rate(o)
    load = {"beds": o.beds, "rate": rate, "seconds": o.seconds}
    if what == "ingest":
        return await ingest.ingest(stack, **load, waves=o.waves)
    if what == "alerts":
        return await ingest.alerts(stack, **load)
    if what == "fanout":
        return await ingest.fanout(stack, **load, clients=o.clients)
    if what == "store":
        return await store.store(stack)
    if what == "query":
        return await store.query(stack, beds=o.beds, days=o.days)
    if what == "hl7":
        return await hl7.hl7(stack, lines=o.clients, rate=rate, seconds=o.seconds)
    if what in ("export", "fhir"):
        return await out.measure(stack, what, beds=o.beds, days=o.days)
    if what == "wall":
        return await browser.wall(stack, beds=o.beds, seconds=o.seconds)
    if what == "pages":
        return await browser.pages(stack, beds=o.beds, seconds=o.seconds)
    return await browser.sweep(stack, beds=o.beds, seconds=o.seconds)


BENCHES = (
    "rules",
    "ingest",
    "alerts",
    "fanout",
    "store",
    "query",
    "wall",
    "sweep",
    "pages",
    "compare",
    "edge",
    "hl7",
    "export",
    "fhir",
)


def run_bench(what: str, options: Options) -> dict[str, Any]:
    """Run one benchmark; return its figures."""
    if what not in BENCHES:
        raise HubError(f"bench {what!r}: one of {', '.join(BENCHES)}")
    if what == "rules":
        found = rules.measure(beds=options.beds, seconds=options.seconds)
        return {"bench": what, "machine": machine(), **found}
    if what == "edge":
        return {"bench": what, **edge.measure()}
    if what == "compare":
        found = compare.compare(rate=_rate(options), seconds=options.seconds, rounds=options.rounds)
        return {"bench": what, **found}
    with tempfile.TemporaryDirectory(prefix="vigil-bench-") as folder, hub(Path(folder)) as stack:
        figures = asyncio.run(_measure(stack, what, options))
    return {"bench": what, "options": asdict(options), "machine": machine(), **figures}


def render(result: dict[str, Any], console: Console) -> None:
    """Print the figures for a person."""
    if not sys.stdout.isatty():
        console = Console(width=100)
    console.print_json(json.dumps(result))
