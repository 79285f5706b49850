"""Getting in: one-time passwords, waits, revocation, break-glass, the hospital's provider."""

import re
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from msgspec import json

from hub.accounts import DEMO_PASSWORD
from tests.support.browser import browser, open_socket, sign_in
from tests.support.hub import Hub, free_port
from tests.support.publisher import Publisher

OWN = "a password of my own"


class Provider:
    """An identity provider of OpenID Connect, just large enough to sign people in."""

    def __init__(self):
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.key = RSAKey.generate_key(2048, parameters={"kid": "one"})
        self.claims = {}
        self.signing_key = self.key
        self.asked = {}
        self.server = HTTPServer(("127.0.0.1", self.port), self.handler())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def token(self):
        now = int(time.time())
        about = {"iss": self.issuer, "aud": "vigil", "iat": now, "exp": now + 60, "sub": "s-1"}
        claims = about | {"nonce": self.asked.get("nonce")} | self.claims
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.signing_key)

    def handler(self):
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, body):
                raw = json.encode(body)
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def do_GET(self):
                if self.path.startswith("/.well-known"):
                    base = provider.issuer
                    self.answer(
                        {
                            "issuer": base,
                            "authorization_endpoint": f"{base}/authorize",
                            "token_endpoint": f"{base}/token",
                            "jwks_uri": f"{base}/keys",
                            "id_token_signing_alg_values_supported": ["RS256"],
                        }
                    )
                else:
                    self.answer({"keys": [provider.key.as_dict(private=False)]})

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                said = {"access_token": "x", "token_type": "Bearer", "expires_in": 60}
                self.answer(said | {"id_token": provider.token()})

        return Handler


@pytest.fixture(scope="module")
def provider():
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def hub(tmp_path_factory, provider):
    hub = Hub(tmp_path_factory.mktemp("signin"), {"VIGIL_OIDC__ISSUER": provider.issuer})
    hub.start()
    publisher = Publisher(hub.settings.broker.port)
    publisher.drain({publisher.numerics(bed, 1, {"hr": 80}) for bed in ("m/icu/b1", "n/icu/b1")})
    publisher.close()
    yield hub
    hub.stop()


def test_the_first_start_makes_a_password_for_one_sign_in(hub):
    [password] = re.findall(r"admin / (\S+)", hub.output)
    with browser(hub.address, "admin", password) as admin:
        assert admin.get("/").headers["location"] == "/password"
        assert admin.get("/api/system").status_code == 403
        assert admin.get("/password").status_code == 200
        form = {"old": password, "new": "short", "again": "short"}
        assert admin.post("/password", data=form).status_code == 422
        form = {"old": "wrong", "new": OWN, "again": OWN}
        assert admin.post("/password", data=form).status_code == 401
        form = {"old": password, "new": OWN, "again": OWN}
        assert admin.post("/password", data=form).headers["location"] == "/"
        assert admin.get("/api/system").status_code == 200
    with browser(hub.address) as again:
        assert sign_in(again, "admin", password).status_code == 401
        assert sign_in(again, "admin", OWN).status_code == 303


def test_no_account_has_a_password_that_everybody_knows(hub):
    with browser(hub.address) as client:
        for name in ("expert", "nurse", "charge", "doctor", "quality"):
            assert sign_in(client, name, DEMO_PASSWORD).status_code == 401
        assert "演示" not in client.get("/login").text


def test_guessing_costs_the_guesser_and_not_the_known_browser(hub):
    hub.account("owner")
    with browser(hub.address, "owner") as owner, browser(hub.address) as guesser:
        codes = [sign_in(guesser, "owner", "guess").status_code for _ in range(8)]
        assert codes == [401] * 5 + [429] * 3
        assert sign_in(owner, "owner").status_code == 303  # same address, known
        owner.cookies.set("vigil_browser", "0" * 20)  # a forged mark is none
        assert sign_in(owner, "owner").status_code == 429


def test_a_session_that_somebody_planted_is_not_continued(hub):
    hub.account("fixed")
    with browser(hub.address) as client:
        client.cookies.set("vigil_session", "planted", domain="127.0.0.1")
        assert sign_in(client, "fixed").status_code == 303
        first = client.cookies.get("vigil_session", domain="127.0.0.1", path="/")
        assert first != "planted"
        sign_in(client, "fixed")
    with browser(hub.address, cookies={"vigil_session": str(first)}) as thief:
        assert thief.get("/api/me").status_code == 401  # signing in anew ended it


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "' OR 1=1 --", "é", "x" * 5000])
def test_a_forged_session_is_none(hub, token):
    header = {"Cookie": f"vigil_session={token}".encode("utf-8", "replace")}
    with browser(hub.address) as client:
        assert client.get("/api/me", headers=header).status_code in (400, 401)


def test_sessions_are_listed_and_revoked(hub):
    hub.account("lister")
    with browser(hub.address, "lister") as one, browser(hub.address, "lister") as two:
        listed = one.get("/api/access/sessions").json()
        assert len(listed) == 2
        assert {row["username"] for row in listed} == {"lister"}
        assert one.delete("/api/access/sessions").status_code == 204
        assert two.get("/api/me").status_code == 401
        assert one.get("/api/me").status_code == 200
        assert hub.run("session", "revoke", "--user", "lister").returncode == 0
        hub.wait("it is signed out", lambda: one.get("/api/me").status_code == 401, timeout=15)


def test_an_account_with_a_new_password_is_signed_out(hub):
    hub.account("changed")
    with browser(hub.address, "changed") as client:
        hub.account("changed", "another password")
        hub.wait("it is signed out", lambda: client.get("/api/me").status_code == 401, timeout=15)


def test_break_glass_opens_another_hospital_for_a_time_and_shows_it(hub):
    hub.account("far", role="county-physician", scope=("n",))
    hub.account("chief", role="charge-nurse", scope=("m",))
    bed = "/api/beds/m/icu/b1"
    with browser(hub.address, "far") as far, browser(hub.address, "chief") as chief:
        hub.wait("the bed is known", lambda: chief.get(bed).status_code == 200)
        assert far.get(bed).status_code == 403
        body = {"scope": "m", "reason": "transfer tonight", "minutes": 5}
        assert far.post("/api/access/break-glass", json=body | {"reason": ""}).status_code == 422
        assert far.post("/api/access/break-glass", json=body | {"minutes": 600}).status_code == 422
        made = far.post("/api/access/break-glass", json=body)
        assert made.status_code == 201
        assert far.get(bed).status_code == 200
        said = far.put("/api/care/beds/m/icu/b1/state", json={"state": "empty"})
        assert said.status_code == 403  # seeing, alerts and consults; not who lies where
        with open_socket(far, "/ws/bed/m/icu/b1") as socket:
            socket.recv(timeout=5)
        [shown] = chief.get("/api/access/break-glass").json()
        assert (shown["username"], shown["reason"], shown["open"]) == ("far", body["reason"], True)
        path = f"/api/access/break-glass/{made.json()['id']}"
        assert chief.delete(path).status_code == 204
        assert far.get(bed).status_code == 403

    def marked():
        lines = hub.json("audit", "list", "--who", "far") or []
        return [x for x in lines if x["object"] == "m/icu/b1" and "break_glass" in x["detail"]]

    hub.wait("the audit says that it was break-glass", marked)


@pytest.fixture
def through(hub, provider):
    """Return a function that goes through the provider's sign-in as a browser does."""

    def go(**claims):
        provider.claims, provider.signing_key = claims.pop("claims"), provider.key
        provider.signing_key = claims.pop("key", provider.key)
        with browser(hub.address) as client:
            sent = client.get("/oidc/login")
            assert sent.status_code == 302
            asked = parse_qs(urlsplit(sent.headers["location"]).query)
            assert "code_challenge" in asked
            provider.asked = {"nonce": claims.pop("nonce", asked["nonce"][0])}
            state = claims.pop("state", asked["state"][0])
            back = client.get(f"/oidc/callback?{urlencode({'code': 'c', 'state': state})}")
            return back, client.get("/api/me")

    return go


GOOD = {"preferred_username": "li.wei", "vigil_role": "remote-intensivist", "vigil_scope": ["m"]}


def test_the_hospitals_provider_signs_people_in_with_role_and_scope(through):
    back, me = through(claims=GOOD)
    assert back.status_code == 200
    assert (me.json()["username"], me.json()["role"]) == ("li.wei", "remote-intensivist")
    _, changed = through(claims=GOOD | {"vigil_role": "quality-lead"})
    assert changed.json()["role"] == "quality-lead"


@pytest.mark.parametrize(
    "wrong",
    [
        {"claims": GOOD | {"vigil_role": "root"}},
        {"claims": {k: v for k, v in GOOD.items() if k != "vigil_scope"}},
        {"claims": GOOD | {"vigil_scope": []}},
        {"claims": GOOD | {"vigil_scope": ["../etc"]}},
        {"claims": GOOD | {"preferred_username": "admin"}},
        {"claims": GOOD | {"aud": "somebody else"}},
        {"claims": GOOD | {"iss": "https://elsewhere"}},
        {"claims": GOOD | {"exp": 1}},
        {"claims": GOOD, "nonce": "replayed"},
        {"claims": GOOD, "state": "forged"},
        {"claims": GOOD, "key": RSAKey.generate_key(2048, parameters={"kid": "one"})},
    ],
    ids=lambda wrong: "-".join([*(k for k in wrong if k != "claims"), "claims"])[:20],
)
def test_what_the_provider_did_not_say_lets_nobody_in(through, wrong):
    back, me = through(**wrong)
    assert back.status_code == 403
    assert me.status_code == 401
