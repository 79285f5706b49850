"""Nothing of the console is reachable without a session, and nothing changes from elsewhere."""

from contextlib import contextmanager

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

BED = "g/icu/bed-1"
ACK = f"/api/beds/{BED}/alerts/x/acknowledge"


@pytest.fixture(scope="module")
def base(hub):
    hub.account("tester")
    return f"http://127.0.0.1:{hub.settings.dashboard.port}"


def client(base, **headers):
    return httpx.Client(base_url=base, headers={"Origin": base} | headers)


@contextmanager
def signed_in(base):
    with client(base) as browser:
        answer = browser.post("/login", data={"username": "tester", "password": "long enough"})
        assert answer.status_code == 303
        yield browser


@pytest.mark.parametrize("path", ["/", "/bed/g/icu/bed-1"])
def test_page_without_a_session_goes_to_the_sign_in(base, path):
    with client(base) as browser:
        answer = browser.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/assets/screens/bed.js"),
        ("POST", "/api/consults/c1/accept"),
        ("GET", "/assets/vigil.js"),
        ("GET", "/openapi.json"),
        ("GET", "/nonsense"),
        ("POST", ACK),
        ("POST", "/logout"),
    ],
)
def test_everything_else_without_a_session_is_refused(base, method, path):
    with client(base) as browser:
        assert browser.request(method, path).status_code == 401


def test_wrong_password_and_unknown_name_read_the_same(base):
    with client(base) as browser:
        wrong, nobody = (
            browser.post("/login", data={"username": name, "password": "wrong"})
            for name in ("tester", "nobody")
        )
    assert (wrong.status_code, nobody.status_code) == (401, 401)
    assert wrong.text == nobody.text
    assert "用户名或密码错误" in wrong.text


def test_guessing_must_wait_and_locks_nobody_else_out(base):
    with client(base) as browser:
        codes = [
            browser.post("/login", data={"username": "victim", "password": "x"}).status_code
            for _ in range(7)
        ]
    assert codes[-1] == 429
    with signed_in(base) as browser:
        assert browser.get("/").status_code == 200


def test_a_change_from_another_origin_is_refused(base):
    with signed_in(base) as browser:
        for origin in ("http://evil.example", "null"):
            assert browser.post(ACK, headers={"Origin": origin}).status_code == 403
        del browser.headers["Origin"]
        assert browser.post(ACK).status_code == 403


def test_acknowledging_what_is_not_open_is_refused_with_a_reason(base):
    with signed_in(base) as browser:
        answer = browser.post(ACK)
        odd = browser.post("/api/beds/G/icu/b/alerts/x/acknowledge")
    assert (answer.status_code, odd.status_code) == (404, 422)
    assert "no such open alert" in answer.json()["detail"]


def test_signing_out_ends_the_session(base):
    with signed_in(base) as browser:
        token = browser.cookies["vigil_session"]
        assert browser.get("/").status_code == 200
        browser.post("/logout")
        browser.cookies.set("vigil_session", token)
        assert browser.get("/").status_code == 303


def test_an_oversized_form_is_refused(base):
    with client(base) as browser:
        assert browser.post("/login", data={"username": "x" * 10_000}).status_code == 413


@pytest.mark.parametrize("path", ["/ws/wall", "/ws/bed/g/icu/bed-1"])
def test_socket_without_a_session_or_from_elsewhere_is_refused(base, path):
    url = base.replace("http", "ws") + path
    with pytest.raises((InvalidStatus, ConnectionClosed)), connect(url, origin=base) as socket:
        socket.recv()
    with signed_in(base) as browser:
        cookie = f"vigil_session={browser.cookies['vigil_session']}"
    with (
        pytest.raises((InvalidStatus, ConnectionClosed)),
        connect(url, origin="http://evil.example", additional_headers={"Cookie": cookie}) as socket,
    ):
        socket.recv()
    with connect(
        base.replace("http", "ws") + "/ws/wall", origin=base, additional_headers={"Cookie": cookie}
    ) as socket:
        assert '"full":true' in socket.recv()
