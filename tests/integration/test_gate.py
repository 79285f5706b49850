"""Nothing of the console is reachable without a session, and nothing changes from elsewhere."""

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.browser import browser, open_socket

BED = "g/icu/bed-1"
ACK = f"/api/beds/{BED}/alerts/x/acknowledge"


@pytest.fixture(scope="module")
def base(hub):
    hub.account("tester")
    return hub.address


@pytest.mark.parametrize("path", ["/", "/bed/g/icu/bed-1"])
def test_page_without_a_session_goes_to_the_sign_in(base, path):
    with browser(base) as person:
        answer = person.get(path)
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
    with browser(base) as person:
        assert person.request(method, path).status_code == 401


def test_wrong_password_and_unknown_name_read_the_same(base):
    with browser(base) as person:
        wrong, nobody = (
            person.post("/login", data={"username": name, "password": "wrong"})
            for name in ("tester", "nobody")
        )
    assert (wrong.status_code, nobody.status_code) == (401, 401)
    assert wrong.text == nobody.text
    assert "用户名或密码错误" in wrong.text


def test_guessing_must_wait_and_locks_nobody_else_out(base):
    with browser(base) as person:
        codes = [
            person.post("/login", data={"username": "victim", "password": "x"}).status_code
            for _ in range(7)
        ]
    assert codes[-1] == 429
    with browser(base, "tester") as person:
        assert person.get("/").status_code == 200


def test_a_change_from_another_origin_is_refused(base):
    with browser(base, "tester") as person:
        for origin in ("http://evil.example", "null"):
            assert person.post(ACK, headers={"Origin": origin}).status_code == 403
        del person.headers["Origin"]
        assert person.post(ACK).status_code == 403


def test_acknowledging_what_is_not_open_is_refused_with_a_reason(base):
    with browser(base, "tester") as person:
        answer = person.post(ACK)
        odd = person.post("/api/beds/G/icu/b/alerts/x/acknowledge")
    assert (answer.status_code, odd.status_code) == (404, 422)
    assert "no such open alert" in answer.json()["detail"]


def test_signing_out_ends_the_session(base):
    with browser(base, "tester") as person:
        token = person.cookies["vigil_session"]
        assert person.get("/").status_code == 200
        person.post("/logout")
        person.cookies.set("vigil_session", token)
        assert person.get("/").status_code == 303


def test_an_oversized_form_is_refused(base):
    with browser(base) as person:
        assert person.post("/login", data={"username": "x" * 10_000}).status_code == 413


@pytest.mark.parametrize("path", ["/ws/wall", "/ws/bed/g/icu/bed-1"])
def test_socket_without_a_session_or_from_elsewhere_is_refused(base, path):
    with (
        browser(base) as person,
        pytest.raises((InvalidStatus, ConnectionClosed)),
        open_socket(person, path) as socket,
    ):
        socket.recv()
    with browser(base, "tester") as person:
        with (
            pytest.raises((InvalidStatus, ConnectionClosed)),
            open_socket(person, path, origin="http://evil.example") as socket,
        ):
            socket.recv()
        with open_socket(person, "/ws/wall") as socket:
            assert '"full":true' in socket.recv()
