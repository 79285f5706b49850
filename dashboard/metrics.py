"""The figures for Prometheus, named by its conventions: base units, ``_total`` for counters.

What services say of themselves on the bus, what the console knows, and what waits where.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dashboard.feed import Feed
from schemas.wire import Health

GAUGES = frozenset(
    {
        "audit_waiting",
        "beds",
        "devices",
        "disk_hours_left",
        "hanging",
        "line_up",
        "outbox",
        "people",
        "screens",
        "spool_messages",
        "stuck",
        "waiting",
        "wave_screens",
        "waves_waiting",
    }
)
"""What a service counts that goes up and down."""
UNITS = {"_mb": ("_bytes", 2.0**20), "_ms": ("_seconds", 1e-3), "_s": ("_seconds", 1.0)}


def name_of(service: str, counter: str) -> tuple[str, float, bool]:
    """Return a counter's name by the conventions, its factor, and whether it only grows.

    >>> name_of("intake", "received"), name_of("intake", "rss_mb")
    (('vigil_intake_received', 1.0, True), ('vigil_intake_rss_bytes', 1048576.0, False))
    """
    for ending, (unit, factor) in UNITS.items():
        if counter.endswith(ending):
            base = counter.removesuffix(ending)
            return f"vigil_{service}_{base}{unit}", factor, counter == "cpu_s"
    return f"vigil_{service}_{counter}", 1.0, counter not in GAUGES


class Figures(Collector):
    """Collected anew at every scrape."""

    def __init__(self, feed: Feed, counters: Callable[[], dict[str, float]]) -> None:
        self._feed = feed
        self._counters = counters
        self.database_up = False

    def collect(self) -> Iterator[Metric]:
        """Yield every figure."""
        services = self._feed.health()
        up = GaugeMetricFamily("vigil_service_up", "A service reports itself.", labels=["service"])
        for said in services:
            up.add_metric([said.service], float(self._feed.lives(said.service)))
        yield up
        parts = GaugeMetricFamily("vigil_part_up", "The console reaches it.", labels=["part"])
        parts.add_metric(["broker"], float(self._feed.connection is not None))
        parts.add_metric(["database"], float(self.database_up))
        yield parts
        for said in services:
            yield from _service(said)
        yield from _service(Health("console", 0, "", 0, 0, "running", "", self._counters()))
        yield from self._wall()

    def _wall(self) -> Iterator[Metric]:
        beds = GaugeMetricFamily("vigil_beds", "Beds that are known.", labels=["hospital"])
        for hospital, count in Counter(bed.split("/")[0] for bed in self._feed.views).items():
            beds.add_metric([hospital], count)
        yield beds
        labels = ["hospital", "priority", "technical"]
        alerts = GaugeMetricFamily("vigil_open_alerts", "Alerts that are open.", labels=labels)
        views = [*self._feed.views.values(), *self._feed.places.values()]
        counted = Counter(
            (view.bed.split("/")[0], event.priority.value, str(event.technical).lower())
            for view in views
            for event in view.alerts.values()
        )
        for key, count in counted.items():
            alerts.add_metric(list(key), count)
        yield alerts
        delay = GaugeMetricFamily(
            "vigil_measured_to_shown_seconds",
            "From measurement to the console, clock offset taken out.",
            labels=["hospital", "quantile"],
        )
        for hospital, found in self._feed.delays.percentiles().items():
            for name, quantile in (("p50_ms", "0.5"), ("p99_ms", "0.99")):
                delay.add_metric([hospital, quantile], found[name] / 1000)
        yield delay


def _service(said: Health) -> Iterator[Metric]:
    for counter, value in sorted(said.counters.items()):
        name, factor, grows = name_of(said.service, counter)
        about = f"{counter} of {said.service}, as it says itself."
        family = CounterMetricFamily if grows else GaugeMetricFamily
        yield family(name, about, value=value * factor)


def exposition(figures: Figures) -> bytes:
    """Return the figures in the text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(figures)
    return generate_latest(registry)
