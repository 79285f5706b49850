"""What care knows, published retained for intake, which needs no database then."""

from psycopg import AsyncConnection

from care import store
from hub.broker import Connection
from schemas.care import CareConfig
from schemas.codec import encode_json
from schemas.topics import config_topic


class Publisher:
    """Publishes a hospital's configuration when it differs from what was published last."""

    def __init__(self) -> None:
        self._last: dict[str, CareConfig] = {}

    async def publish(
        self, database: AsyncConnection, broker: Connection, now_ns: int
    ) -> list[str]:
        """Publish what changed; return the hospitals. Duty, ages and expiries change with time."""
        changed = []
        for hospital, config in (await store.configs(database, now_ns)).items():
            last = self._last.get(hospital)
            if last is not None and (last.beds, last.units) == (config.beds, config.units):
                continue
            await broker.publish(config_topic(hospital, "care"), encode_json(config), retain=True)
            self._last[hospital] = config
            changed.append(hospital)
        return changed
