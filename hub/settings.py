"""All settings, one class a concern. ``VIGIL_`` + section + ``__`` + key, or a TOML file.

Built once in the composition root and passed. A wrong value stops the start with a message that
names key, value and fix. Clinical limits are packs (``alerts/packs``), not settings.
"""

import tomllib
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from hub import secret_files
from hub.credentials import read_service
from schemas.access import Service
from schemas.errors import SettingsError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BrokerSettings(_Section):
    """The MQTT broker. Without a ``url`` one is started on ``port`` (embedded)."""

    url: SecretStr | None = Field(
        None, description="mqtt[s]://[user:password@]host:port[?ca=…&cert=…&key=…]; empty: embedded"
    )
    host: str = Field("127.0.0.1", description="address that the embedded broker listens on")
    user: str | None = Field(None, description="who we are at the embedded broker; set by `up`")
    password: SecretStr | None = Field(None, description="and its password")
    anonymous: bool | None = Field(
        None,
        description="devices without a credential; empty: only while `host` is this machine's own",
    )
    tls_cert: Path | None = Field(None, description="certificate of the embedded broker (PEM)")
    tls_key: Path | None = Field(None, description="its key")
    tls_ca: Path | None = Field(None, description="who signed it, and clients' certificates")
    tls_clients: bool = Field(False, description="clients must have a certificate of `tls_ca`")
    port: int = Field(1883, ge=1, le=65535, description="MQTT port of the embedded broker")
    monitor_port: int = Field(8222, ge=1, le=65535, description="its HTTP monitoring port")
    max_payload_bytes: int = Field(
        1_048_576, ge=65_536, le=67_108_864, description="a larger message is refused by the broker"
    )
    journal_max_mb: int = Field(
        8_192, ge=64, description="disk that undelivered messages may take; then publishers wait"
    )
    ack_wait_s: float = Field(
        8.0, ge=2, le=60, description="after this the broker sends an unacknowledged message again"
    )


class DatabaseSettings(_Section):
    """PostgreSQL. Without a ``url`` one is started on ``port`` (embedded)."""

    url: SecretStr | None = Field(None, description="postgresql://…; empty: embedded")
    port: int = Field(5433, ge=1, le=65535, description="port of the embedded database")
    password: SecretStr | None = Field(None, description="its password; set by `up`")
    pool_size: int = Field(4, ge=1, le=50, description="connections a process keeps")


class IntakeSettings(_Section):
    """Judging: who may report, what is late, how often the state is saved."""

    registration: Literal["open", "registered"] = Field(
        "open",
        description="open: a bed registers by its first reading; registered: sites.toml only",
    )
    pack: Path | None = Field(None, description="rule pack (TOML); empty: the adult baseline")
    overlays: Path | None = Field(
        None, description="folder of overlays (*.toml) for region, hospital, unit, bed"
    )
    late_s: float = Field(60, ge=5, le=3600, description="older than this is judged as history")
    clock_bound_s: float = Field(2, ge=0.5, le=3600, description="device clock error that alerts")
    max_beds: int = Field(2_000, ge=1, le=100_000, description="beds in open registration")
    max_devices: int = Field(4_000, ge=1, le=200_000, description="devices known at most")
    flush_ms: int = Field(80, ge=10, le=1000, description="judged readings go out this often")
    checkpoint_ms: int = Field(
        1000, ge=100, le=5000, description="the state is saved, then messages are acknowledged"
    )


class RecorderSettings(_Section):
    """Storing: batches and retention."""

    flush_ms: int = Field(200, ge=20, le=5000, description="a batch closes after this")
    batch_rows: int = Field(4_000, ge=1, le=50_000, description="or at this many readings")
    wave_flush_ms: int = Field(500, ge=50, le=5000, description="waves are committed this often")
    raw_days: int = Field(30, ge=1, le=3650, description="raw readings are kept this long")
    minute_days: int = Field(730, ge=1, le=36500, description="1 min rollups are kept this long")
    hour_days: int = Field(3650, ge=1, le=36500, description="1 h rollups are kept this long")
    wave_hours: int = Field(72, ge=1, le=8760, description="waves are kept this long")
    pack_after_hours: int = Field(
        24, ge=1, le=8760, description="readings older than this are packed (plain PostgreSQL)"
    )
    runs_kept: int = Field(50, ge=1, le=1000, description="runs kept; older ones are dropped")


class NotifierSettings(_Section):
    """Telling people on duty: secondary to the ward station."""

    people: Path | None = Field(None, description="people.toml: who can be told, and where")
    timeout_s: float = Field(20, ge=1, le=300, description="an attempt without answer fails then")


class DashboardSettings(_Section):
    """The console."""

    host: str = Field("127.0.0.1", description="address the console listens on")
    port: int = Field(8050, ge=1, le=65535, description="its port")
    frame_ms: int = Field(105, ge=20, le=1000, description="live changes are sent this often")
    session_hours: float = Field(12, gt=0, le=168, description="a sign-in lasts this long")
    url: str | None = Field(
        None, description="address that people use, https://…: what changes must come from there"
    )
    proxies: str = Field(
        "", description="addresses of TLS proxies whose X-Forwarded-For is believed, by commas"
    )
    metrics_token: SecretStr | None = Field(
        None, description="who may read /metrics; empty: this machine only"
    )
    lag_s: float = Field(10, ge=1, le=60, description="a browser this far behind is disconnected")


class EdgeSettings(_Section):
    """A hospital that judges for itself and forwards to a hub (``vigil edge``)."""

    hub: SecretStr | None = Field(
        None, description="the hub's broker: mqtts://user:password@host:8883?ca=…; empty: no edge"
    )
    hospital: str | None = Field(None, description="whose beds this edge judges")
    lanes: int = Field(8, ge=1, le=32, description="connections that carry waveforms of before")
    window_kb: int = Field(
        2_048, ge=64, le=65_536, description="so much is on its way at once; the line's memory"
    )


class GatewaySettings(_Section):
    """The HL7 gateway: bedside monitors over MLLP (``vigil gateway hl7``)."""

    hospital: str | None = Field(
        None, description="whose monitors connect; given, `vigil up` starts the gateway"
    )
    host: str = Field("127.0.0.1", description="address that monitors connect to")
    port: int = Field(2575, ge=0, le=65535, description="its port")
    beds: Path | None = Field(
        None, description="beds.toml: which words, devices, addresses are which bed"
    )
    profiles: Path | None = Field(None, description="folder of further profiles (*.toml)")
    timezone: str = Field(
        "Asia/Shanghai", description="zone of devices' times that say none (IANA name)"
    )
    max_connections: int = Field(1_000, ge=1, le=20_000, description="monitors at once")
    hold_s: float = Field(
        10, ge=1, le=120, description="so long a message waits for a broker that is away"
    )


class OidcSettings(_Section):
    """Signing in with the hospital's identity provider (OpenID Connect); off without ``issuer``."""

    issuer: str | None = Field(None, description="https://…, whose /.well-known is asked")
    client_id: str = Field("vigil", description="our name there")
    client_secret: SecretStr | None = Field(None, description="our secret there")
    label: str = Field("单位账号 / Hospital account", description="what the button says")
    role_claim: str = Field("vigil_role", description="claim that names the role")
    scope_claim: str = Field("vigil_scope", description="claim that lists hospitals and units")


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="VIGIL_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    data: Path = Field(Path(".vigil"), description="data folder: broker, database, state, logs")
    sites: Path | None = Field(None, description="sites.toml: names of hospitals, units, beds")
    identity_key: Path | None = Field(
        None, description="key that seals patients' names; empty: one in the data folder"
    )
    audit_days: int = Field(
        1095, ge=183, le=36500, description="lines of the audit are kept at least so long"
    )
    demo: bool = Field(
        False, description="demo sign-ins exist, and pages say so; set by `up --demo`"
    )
    log: Literal["console", "json"] = Field("console", description="form of the logs")
    broker: BrokerSettings = BrokerSettings()
    database: DatabaseSettings = DatabaseSettings()
    intake: IntakeSettings = IntakeSettings()
    recorder: RecorderSettings = RecorderSettings()
    dashboard: DashboardSettings = DashboardSettings()
    notifier: NotifierSettings = NotifierSettings()
    oidc: OidcSettings = OidcSettings()
    edge: EdgeSettings = EdgeSettings()
    gateway: GatewaySettings = GatewaySettings()

    @property
    def broker_address(self) -> str:
        """The broker's URL, given or embedded, with what signs us in."""
        broker = self.broker
        if broker.url is not None:
            return broker.url.get_secret_value()
        who = ""
        if broker.user and broker.password:
            who = f"{broker.user}:{quote(broker.password.get_secret_value(), safe='')}@"
        if broker.tls_cert is None:
            return f"mqtt://{who}127.0.0.1:{broker.port}"
        ours: dict[str, Path | None] = {"ca": broker.tls_ca or broker.tls_cert}
        if broker.tls_clients:
            ours |= {"cert": broker.tls_cert, "key": broker.tls_key}
        return f"mqtts://{who}localhost:{broker.port}?{urlencode(ours)}"

    @property
    def is_edge(self) -> bool:
        """Whether this judges for one hospital and forwards to a hub."""
        return self.edge.hub is not None

    @property
    def database_address(self) -> str:
        """The database's URL, given or embedded."""
        if self.database.url is not None:
            return self.database.url.get_secret_value()
        password = self.database.password
        who = f"postgres:{password.get_secret_value()}" if password else "postgres"
        return f"postgresql://{who}@127.0.0.1:{self.database.port}/postgres"


def load_settings(file: Path | None = None, **overrides: object) -> Settings:
    """Return the settings from ``file`` (TOML), the environment and ``overrides``, last wins.

    Raises SettingsError naming each key, its value and what it should be.
    """
    values: dict[str, object] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"settings file {file}: {error}") from None
    try:
        from_file = Settings.model_validate(values) if values else None
        settings = Settings()
        if from_file is not None:
            settings = _merge(from_file, settings)
        given = {key: value for key, value in overrides.items() if value is not None}
        return sign_in(settings.model_copy(update=given))
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(p) for p in e['loc'])} = {e.get('input')!r}: {e['msg']}"
            for e in error.errors()
        ]
        where = f"settings file {file} or environment VIGIL_*" if file else "environment VIGIL_*"
        raise SettingsError(
            f"{where}: {len(lines)} wrong setting(s); `vigil settings` lists every key\n"
            + "\n".join(lines)
        ) from None


def sign_in(settings: Settings) -> Settings:
    """Return the settings with what signs us in at what is embedded, where it is ours to read."""
    broker, database = settings.broker, settings.database
    if broker.url is None and broker.user is None:
        password = read_service(settings.data, Service.OPERATOR)
        if password is not None:
            who = {"user": Service.OPERATOR.value, "password": SecretStr(password)}
            broker = broker.model_copy(update=who)
    if database.url is None and database.password is None:
        known = secret_files.read(settings.data, secret_files.DATABASE)
        if known is not None:
            database = database.model_copy(update={"password": SecretStr(known)})
    return settings.model_copy(update={"broker": broker, "database": database})


def _merge(file: Settings, environment: Settings) -> Settings:
    """Return the file's values with those overridden that the environment sets."""
    set_by_environment = environment.model_dump(exclude_unset=True)
    merged = file.model_dump(exclude_unset=True)
    for key, value in set_by_environment.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = {**merged[key], **value}
        else:
            merged[key] = value
    return Settings.model_validate(merged)
