"""What a service says of itself: retained on its health topic, with a last will that it is gone."""

import asyncio
import os
from collections.abc import Callable

import psutil

from hub.broker import Connection
from hub.clock import now_ns
from hub.mqtt import Will
from schemas.codec import encode_json
from schemas.topics import health_topic
from schemas.wire import Health

VERSION = "0.2.0"
PERIOD_S = 2.0


class Reporter:
    """Publishes a service's counters every two seconds."""

    def __init__(self, service: str, counters: Callable[[], dict[str, float]]) -> None:
        self._service = service
        self._counters = counters
        self._started_ns = now_ns()
        self._process = psutil.Process()
        self.detail = ""

    def _health(self, *, running: bool) -> bytes:
        used = self._process.cpu_times()
        process = {
            "rss_mb": round(self._process.memory_info().rss / 2**20, 1),
            "cpu_s": round(used.user + used.system, 2),
        }
        return encode_json(
            Health(
                service=self._service,
                pid=os.getpid(),
                version=VERSION,
                started_ns=self._started_ns,
                at_ns=now_ns(),
                state=("degraded" if self.detail else "running") if running else "stopped",
                detail=self.detail,
                counters={**process, **self._counters()},
            )
        )

    def will(self) -> Will:
        """The message that the broker leaves when this service is lost."""
        return Will(health_topic(self._service), self._health(running=False))

    async def report(self, connection: Connection) -> None:
        """Publish once."""
        await connection.publish(
            health_topic(self._service), self._health(running=True), retain=True
        )

    async def leave(self, connection: Connection) -> None:
        """Take the service's word back: it is gone on purpose, and nobody need miss it."""
        await connection.publish(health_topic(self._service), b"", retain=True)

    async def run(self, connection: Connection) -> None:
        """Publish until the broker is lost."""
        while True:
            await self.report(connection)
            await asyncio.sleep(PERIOD_S)
