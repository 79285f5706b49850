"""Who may publish and hear what on the message bus: one table, enforced by the broker. Pure.

Permissions are written as NATS subjects, where ``.`` stands for ``/``, ``*`` for ``+``, ``>`` for
``#``. A credential of a hospital names its beds and nobody else's.
"""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

QOS_1_DELIVERIES = "$MQTT.sub.>"
"""What a subscription at QoS 1 is delivered on, inside the broker."""
_ROOT = "vigil.v1"
_ALL = ("*",)
_MEASURED = ("numerics", "status", "device-alarms", "waves.*")


class Bearer(StrEnum):
    """What a credential is for."""

    GATEWAY = "gateway"
    EDGE = "edge"
    READER = "reader"


class Service(StrEnum):
    """The processes of a hub, each with a credential of its own. ``local``: nobody's."""

    OPERATOR = "operator"
    INTAKE = "intake"
    RECORDER = "recorder"
    NOTIFIER = "notifier"
    DASHBOARD = "dashboard"
    SIMULATOR = "simulator"
    FORWARDER = "forwarder"
    GATEWAY = "gateway"
    LOCAL = "local"


class Permissions(Struct, frozen=True):
    """Subjects that may be published, and heard."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def _beds(hospitals: Iterable[str], kinds: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{_ROOT}.{h}.*.*.{kind}" for h in hospitals for kind in kinds)


def _of(hospitals: Iterable[str], what: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{_ROOT}.{h}.{one}" for h in hospitals for one in what)


def bearer_permissions(bearer: Bearer, hospitals: tuple[str, ...]) -> Permissions:
    """Return what a credential for some hospitals may do.

    >>> bearer_permissions(Bearer.GATEWAY, ("kaihua",)).publish[0]
    'vigil.v1.kaihua.*.*.numerics'
    """
    if bearer is Bearer.READER:
        heard = _of(hospitals, ("judged",)) + _beds(hospitals, ("alerts.*", *_MEASURED))
        return Permissions((), (*heard, QOS_1_DELIVERIES))
    if bearer is Bearer.EDGE:
        sent = _of(hospitals, ("judged", "config.line")) + _beds(hospitals, ("alerts.*", "waves.*"))
        heard = _beds(hospitals, ("commands", "observations")) + _of(hospitals, ("config.care",))
        return Permissions(sent, (*heard, f"{_ROOT}.hub.config.rules", QOS_1_DELIVERIES))
    said = [*_of(hospitals, ("rejected",)), *(f"{_ROOT}.hub.health.gateway-{h}" for h in hospitals)]
    return Permissions((*_beds(hospitals, _MEASURED), *said), ())


def service_permissions(service: Service) -> Permissions:
    """Return what a process of the hub may do. Only intake judges, only it raises alerts."""
    health = f"{_ROOT}.hub.health.{service}"
    raw = _beds(_ALL, ("*",))
    judged, alerts = _of(_ALL, ("judged",)), _beds(_ALL, ("alerts.*",))
    config, waves = _of(_ALL, ("config.*",)), _beds(_ALL, ("waves.*",))
    rejected = f"{_ROOT}.hub.rejected"
    table = {
        Service.INTAKE: ((*judged, *alerts, rejected, health), (*raw, *config)),
        Service.RECORDER: (
            (rejected, health),
            (*judged, *alerts, *waves, *_of(_ALL, ("rejected",))),
        ),
        Service.GATEWAY: (
            (*_beds(_ALL, _MEASURED), *_of(_ALL, ("rejected",)), f"{_ROOT}.hub.health.*"),
            (),
        ),
        Service.NOTIFIER: ((*judged, health), (*alerts, *config)),
        Service.DASHBOARD: (
            (*_beds(_ALL, ("commands", "observations")), *config, health),
            (*judged, *alerts, *waves, *config, *_of(_ALL, ("*.*",))),
        ),
        Service.FORWARDER: (
            (*_beds(_ALL, ("commands", "observations")), *config, health),
            (*judged, *alerts, *waves),
        ),
        Service.SIMULATOR: (_beds(_ALL, (*_MEASURED, "observations")), ()),
        Service.LOCAL: (
            _beds(_ALL, (*_MEASURED, "observations", "commands")),
            (*judged, *alerts, *waves, *raw, f"{_ROOT}.hub.health.*", rejected),
        ),
        Service.OPERATOR: ((f"{_ROOT}.>",), (f"{_ROOT}.>",)),
    }
    publish, subscribe = table[service]
    return Permissions(publish, (*subscribe, QOS_1_DELIVERIES) if subscribe else ())
