"""The broker lets nobody do what their credential does not say."""

import ssl
import time
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import psycopg
import pytest
import trustme

from tests.support.hub import Hub


class Client:
    """A stranger's MQTT client: what it was told, and what it heard."""

    def __init__(self, hub, name, user=None, password=None, tls=None):
        self.heard, self.agreed, self.code = [], [], None
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name)
        if user:
            self.client.username_pw_set(user, password)
        if tls:
            self.client.tls_set_context(tls)
        self.client.on_connect = lambda _c, _u, _f, code, _p: setattr(self, "code", code)
        self.client.on_message = lambda _c, _u, message: self.heard.append(message.topic)
        self.client.on_subscribe = lambda _c, _u, _m, codes, _p: self.agreed.extend(codes)
        self.client.connect("localhost", hub.settings.broker.port)
        self.client.loop_start()
        wait(lambda: self.code is not None)

    @property
    def inside(self):
        return self.code == 0 and self.client.is_connected()

    def publish(self, topic, payload=b"{}"):
        self.client.publish(topic, payload, 1).wait_for_publish(5)

    def subscribe(self, topic):
        before = len(self.agreed)
        self.client.subscribe(topic, 1)
        wait(lambda: len(self.agreed) > before)
        return not self.agreed[-1].is_failure

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def wait(ready, timeout=10):
    deadline = time.monotonic() + timeout
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.05)
    return ready()


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A hub that lets nobody in without a credential."""
    hub = Hub(tmp_path_factory.mktemp("closed"), {"VIGIL_BROKER__ANONYMOUS": "false"})
    hub.start()
    yield hub
    hub.stop()


def make(hub, name, *hospitals, kind="gateway"):
    flags = [part for one in hospitals for part in ("--hospital", one)]
    made = hub.json("credential", "add", name, *flags, "--kind", kind)
    return made["user"], made["password"]


def reason_count(hub, reason):
    return sum(r["count"] for r in hub.json("rejected") or [] if r["reason"] == reason)


def sign_in(hub, name, user, password):
    """Connect as soon as the broker knows the credential."""

    def attempt():
        client = Client(hub, name, user, password)
        if client.inside:
            return client
        client.close()
        return None

    return hub.wait("the credential is known", attempt)


def test_a_gateway_publishes_for_its_own_hospital_alone(closed):
    listener = sign_in(closed, "listener", *make(closed, "list", "kaihua", "other", kind="reader"))
    assert listener.subscribe("vigil/v1/kaihua/+/+/numerics")
    assert listener.subscribe("vigil/v1/other/+/+/numerics")
    gateway = sign_in(closed, "gateway", *make(closed, "kaihua-icu", "kaihua"))
    for topic in (
        "vigil/v1/other/icu/bed-01/numerics",
        "vigil/v1/kaihua/icu/bed-01/commands",
        "vigil/v1/kaihua/judged",
        "vigil/v1/kaihua/icu/bed-01/alerts/0123",
        "vigil/v1/kaihua/config/care",
        "vigil/v1/hub/config/rules",
        "vigil/v1/hub/health/intake",
        "vigil/v1/kaihua/icu/bed-01/numerics",
    ):
        gateway.publish(topic)
    assert wait(lambda: listener.heard == ["vigil/v1/kaihua/icu/bed-01/numerics"])
    for topic in ("vigil/v1/kaihua/icu/bed-01/numerics", "vigil/v1/#", "$MQTT/sub/#", "#"):
        assert not gateway.subscribe(topic), topic
    closed.wait("it is counted", lambda: reason_count(closed, "forbidden_topic") >= 7)
    gateway.close()
    listener.close()


def test_a_reader_hears_its_hospital_and_says_nothing(closed):
    reader = sign_in(closed, "reader", *make(closed, "ward-screen", "kaihua", kind="reader"))
    assert reader.subscribe("vigil/v1/kaihua/judged")
    for topic in ("vigil/v1/other/judged", "vigil/v1/+/judged", "vigil/v1/kaihua/config/care"):
        assert not reader.subscribe(topic), topic
    reader.publish("vigil/v1/kaihua/icu/bed-09/numerics")
    reader.close()
    time.sleep(0.5)
    beds = closed.json("doctor")["database"]["beds"]
    assert "kaihua/icu/bed-09" not in {bed["name"] for bed in beds}


def test_nobody_comes_in_without_a_credential(closed):
    for user, password in ((None, None), ("intake", "guess"), ("kaihua-icu", "")):
        stranger = Client(closed, "stranger", user, password)
        assert not stranger.inside
        stranger.close()
    closed.wait("it is counted", lambda: reason_count(closed, "wrong_credential") >= 1)


def test_a_credential_is_rotated_without_stopping_and_ends_when_revoked(closed):
    old = make(closed, "turning", "kaihua")
    first = sign_in(closed, "first", *old)
    again = closed.json("credential", "rotate", "turning")
    second = sign_in(closed, "second", again["user"], again["password"])
    assert first.inside
    assert second.inside
    assert closed.run("credential", "revoke", "turning").returncode == 0
    assert wait(lambda: not first.inside and not second.inside)
    for client in (first, second):
        client.close()
    assert "turning" not in str(closed.json("credential", "list"))


def test_the_database_of_credentials_has_no_token_of_a_gateway(closed):
    _, token = make(closed, "secretive", "kaihua")
    kept = (closed.data / "secrets" / "broker.json").read_text("utf-8")
    assert "secretive" in kept
    assert token not in kept
    assert (closed.data / "secrets" / "broker.json").stat().st_mode & 0o077 == 0
    assert (closed.data / "broker" / "nats.conf").stat().st_mode & 0o077 == 0


def test_over_tls_with_certificates_of_clients(tmp_path):
    authority = trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    device = authority.issue_cert("monitor.kaihua")
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key", "device")}
    authority.cert_pem.write_to_path(files["ca"])
    server.cert_chain_pems[0].write_to_path(files["cert"])
    server.private_key_pem.write_to_path(files["key"])
    device.private_key_and_cert_chain_pem.write_to_path(files["device"])
    secure = {
        "VIGIL_BROKER__TLS_CERT": str(files["cert"]),
        "VIGIL_BROKER__TLS_KEY": str(files["key"]),
        "VIGIL_BROKER__TLS_CA": str(files["ca"]),
        "VIGIL_BROKER__TLS_CLIENTS": "true",
        "VIGIL_BROKER__HOST": "0.0.0.0",
    }
    hub = Hub(tmp_path / "data", secure)
    hub.start()
    try:
        user, password = make(hub, "kaihua-icu", "kaihua")
        shown = ssl.create_default_context(cafile=str(files["ca"]))
        shown.load_cert_chain(str(files["device"]))

        def attempt():
            client = Client(hub, "monitor", user, password, shown)
            return client if client.inside else client.close()

        monitor = hub.wait("signed in", attempt)
        monitor.close()
        without = ssl.create_default_context(cafile=str(files["ca"]))
        with pytest.raises((OSError, ssl.SSLError, AssertionError)):
            assert Client(hub, "bare", user, password, without).inside
        assert Client(hub, "nobody", None, None, shown).inside is False
        assert hub.json("doctor")["services"]["intake"]["state"] == "running"
    finally:
        hub.stop()


def test_the_database_asks_for_its_password(closed):
    address = urlsplit(closed.settings.database_address)
    assert address.password
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://postgres@127.0.0.1:{address.port}/postgres")
    with psycopg.connect(closed.settings.database_address) as connection:
        row = connection.execute("SELECT count(*) FROM account").fetchone()
    assert row
    assert row[0] >= 1


def test_a_database_of_before_gets_a_password(tmp_path):
    hub = Hub(tmp_path)
    hub.start()
    hub.stop()
    (tmp_path / "secrets" / "database.password").unlink()  # as it was before there were any
    hub.start()
    try:
        assert urlsplit(hub.settings.database_address).password
        assert hub.json("doctor")["database"]["pending"] == []
    finally:
        hub.stop()
