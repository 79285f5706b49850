"""A rule set, checked, into the history and, retained, to intake."""

from pathlib import Path

from psycopg import AsyncConnection

from alerts.rulesets import from_config
from hub.broker import Connection
from hub.clock import now_ns
from hub.database import query
from hub.packs import rule_files
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
    return await publish_config(
        settings, connection, config_of_files(settings, pack, overlays, by=by, reason=reason)
    )


def config_of_files(
    settings: Settings,
    pack: Path | None = None,
    overlays: Path | None = None,
    *,
    by: str = "",
    reason: str = "",
) -> RulesConfig:
    """Return the rules of the settings' files, or of others, as they are published."""
    baseline, above = rule_files(pack or settings.intake.pack, overlays or settings.intake.overlays)
    return RulesConfig(
        1,
        now_ns(),
        by,
        reason,
        baseline[0].decode(),
        {path.name: text.decode() for text, path in above},
        load_sites(settings.sites).regions(),
    )


async def publish_config(
    settings: Settings, connection: AsyncConnection, config: RulesConfig
) -> str:
    """Check a rule set, keep it in the history, and have intake run it from now on.

    Raises SettingsError when it is wrong or has no reason; nothing is published then.
    """
    if not config.reason.strip() or not config.by.strip():
        raise SettingsError("publishing rules needs --by and --reason")
    by, reason = config.by, config.reason
    version = from_config(config).version
    body = encode_json(config)
    async with Connection(settings.broker_address, f"vigil-rules-{config.at_ns}") as broker:
        await connection.execute(
            query("insert_rule_set"),
            {"by": by, "reason": reason, "version": version, "body": body.decode()},
        )
        await broker.publish(RULES_TOPIC, body, retain=True)
    return version
