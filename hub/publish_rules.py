"""A rule set, checked, into the history and, retained, to intake."""

from pathlib import Path

from psycopg import AsyncConnection

from alerts.rulesets import from_config
from hub.broker import Connection
from hub.clock import now_ns
from hub.database import query
from hub.packs import baseline_path, read
from hub.settings import Settings
from hub.sites import load_sites
from schemas.codec import encode_json
from schemas.errors import SettingsError
from schemas.topics import RULES_TOPIC
from schemas.wire import RulesConfig


async def publish_rules(
    settings: Settings,
    connection: AsyncConnection,
    pack: Path | None,
    overlays: Path | None,
    *,
    by: str,
    reason: str,
) -> str:
    """Return the version of the rule set that intake runs from now on.

    Raises SettingsError when it is wrong or has no reason; nothing is published then.
    """
    if not reason.strip() or not by.strip():
        raise SettingsError("publishing rules needs --by and --reason")
    folder = overlays or settings.intake.overlays
    texts = {}
    for file in sorted(folder.glob("*.toml")) if folder is not None else []:
        texts[file.name] = read(file)[0].decode()
    config = RulesConfig(
        1,
        now_ns(),
        by,
        reason,
        read(baseline_path(pack or settings.intake.pack))[0].decode(),
        texts,
        load_sites(settings.sites).regions(),
    )
    version = from_config(config).version
    body = encode_json(config)
    async with Connection(settings.broker_address, f"vigil-rules-{config.at_ns}") as broker:
        await connection.execute(
            query("insert_rule_set"),
            {"by": by, "reason": reason, "version": version, "body": body.decode()},
        )
        await broker.publish(RULES_TOPIC, body, retain=True)
    return version
